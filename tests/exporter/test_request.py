"""HTTP requests as they come over the wire."""

import pytest

from livekeep.exporter.request import LARGEST_BYTES, RefusedError, Request, accepts_gzip, accepts_openmetrics, parse, take_head

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def request(*lines: str, first: str = "GET /metrics HTTP/1.1") -> Request:
    return parse("\r\n".join([first, "Host: it", *lines]).encode("latin-1"))


def test_a_request_is_read() -> None:
    found = request("X-Odd:  a value \t", "accept: text/plain", "Accept: text/html")
    assert (found.method, found.path, found.is_1_0, found.has_body) == ("GET", "/metrics", False, False)
    assert found.headers == {"host": "it", "x-odd": "a value", "accept": "text/plain, text/html"}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/metrics", "/metrics"),
        ("/metrics?collect[]=host", "/metrics"),
        ("/metrics#top", "/metrics"),
        ("//metrics", "//metrics"),
        ("http://127.0.0.1:9877/metrics", "/metrics"),
        ("HTTPS://[::1]:9877/metrics?x", "/metrics"),
        ("http://127.0.0.1:9877", "/"),
        ("http://127.0.0.1:9877?x", "/"),
        ("/http://elsewhere/", "/http://elsewhere/"),
    ],
)
def test_the_path_of_a_target(target: str, path: str) -> None:
    assert request(first=f"GET {target} HTTP/1.1").path == path


@pytest.mark.parametrize("target", ["*", "metrics", "127.0.0.1:443", "ftp://it/metrics", "?x", "http:///metrics"])
def test_a_target_that_is_none(target: str) -> None:
    with pytest.raises(RefusedError, match="the request's target is no path") as refused:
        request(first=f"GET {target} HTTP/1.1")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /metrics", 400),
        (b"", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET  /metrics HTTP/1.1\r\nHost: it", 400),
        (b"GET /met rics HTTP/1.1\r\nHost: it", 400),
        (b"G(T /metrics HTTP/1.1\r\nHost: it", 400),
        (b"GET /metrics HTTP/1.1 \r\nHost: it", 400),
        (b"GET /metrics http/1.1\r\nHost: it", 400),
        (b"GET /metrics HTTP/11\r\nHost: it", 400),
        (b"GET /metrics HTTP/2.0\r\nHost: it", 505),
        (b"GET /metrics HTTP/0.9", 505),
        (b"GET /metrics HTTP/1.1", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\nHost: it", 400),
        (b"GET /metrics HTTP/1.1\r\nHost : it", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\n folded", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\nnonsense", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\n: empty", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\nContent-Length: -1", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: it\r\nContent-Length: many", 400),
    ],
)
def test_what_is_no_request_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(head)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("first", "header", "keeps_alive"),
    [
        ("GET / HTTP/1.1", "X: y", True),
        ("GET / HTTP/1.1", "Connection: close", False),
        ("GET / HTTP/1.1", "Connection: Upgrade, Close", False),
        ("GET / HTTP/1.0", "X: y", False),
        ("GET / HTTP/1.0", "Connection: Keep-Alive", True),
    ],
)
def test_whether_the_connection_is_kept(first: str, header: str, keeps_alive: bool) -> None:
    assert request(header, first=first).keeps_alive == keeps_alive


def test_an_old_client_need_not_name_the_host() -> None:
    assert parse(b"GET / HTTP/1.0").path == "/"


@pytest.mark.parametrize(
    ("header", "has_body"),
    [
        ("Content-Length: 0", False),
        ("Content-Length: 5", True),
        ("Content-Length: 9999999999999999999999999", True),
        ("Transfer-Encoding: chunked", True),
        ("X: y", False),
    ],
)
def test_whether_there_is_a_body(header: str, has_body: bool) -> None:
    assert request(header).has_body == has_body


def test_a_head_is_cut_off_once_it_is_whole() -> None:
    received = bytearray(b"\r\n\nGET / HTTP/1.1\r\nHost")
    assert take_head(received) is None
    received += b": it\r\n\r\nGET /next HTTP/1.0\n\nmore"
    assert take_head(received) == b"GET / HTTP/1.1\r\nHost: it"
    assert take_head(received) == b"GET /next HTTP/1.0"
    assert (take_head(received), received) == (None, b"more")


def test_a_head_may_be_so_long_and_no_longer() -> None:
    assert len(take_head(bytearray(b"x" * LARGEST_BYTES + b"\r\n\r\n")) or b"") == LARGEST_BYTES
    for too_much in (b"x" * (LARGEST_BYTES + 1), b"x" * (LARGEST_BYTES + 1) + b"\r\n\r\n"):
        with pytest.raises(RefusedError, match="more than 8192 bytes") as refused:
            take_head(bytearray(too_much))
        assert refused.value.status == 431


@pytest.mark.parametrize(
    ("accepted", "is_accepted"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("gzip; q=0.000", False),
        ("gzip;q=nonsense", False),
        ("identity", False),
        ("", False),
        ("xgzip", False),
    ],
)
def test_whether_gzip_is_accepted(accepted: str, is_accepted: bool) -> None:
    assert accepts_gzip(request(f"Accept-Encoding: {accepted}")) == is_accepted


@pytest.mark.parametrize(
    ("accepted", "is_accepted"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.5", False),
        ("text/plain;version=0.0.4", False),
        (BROWSER, False),
        ("*/*", False),
        ("", False),
    ],
)
def test_whether_openmetrics_is_accepted(accepted: str, is_accepted: bool) -> None:
    assert accepts_openmetrics(request(f"Accept: {accepted}")) == is_accepted
    assert not accepts_openmetrics(request())
