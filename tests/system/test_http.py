"""The HTTP client against real servers: it ends at its deadline whatever they do, serves the next request, and keeps secrets."""

import contextlib
import gzip
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from livekeep.core.state import REQUEST_OUTCOMES
from livekeep.system.http import MOST_REDIRECTS_OF_PLAYER, Client, Response, TransportError
from tests.outside import PATIENCE_SECONDS, wait_until
from tests.web import Request, Web, http

SECRET = {"Authorization": "bearer a-token-that-nobody-may-see"}
OK = http(200, b"fine")
KIB = 1024


def get(url: str, seconds: float = PATIENCE_SECONDS, client: Client | None = None) -> Response:
    return (client or Client()).get(url, time.monotonic() + seconds, {}, SECRET)


def read(url: str, seconds: float = PATIENCE_SECONDS, client: Client | None = None) -> tuple[Response, bytes]:
    body = bytearray()

    def take(block: bytes) -> bool:
        body.extend(block)
        return True

    return (client or Client()).read(url, time.monotonic() + seconds, take), bytes(body)


def problem(work: Callable[[], object]) -> TransportError:
    with pytest.raises(TransportError) as caught:
        work()
    assert caught.value.outcome in REQUEST_OUTCOMES
    assert "127.0.0.1" not in repr(caught.value.__cause__), "what requests says holds the address"
    return caught.value


# A deadline over the whole exchange


FAULTS = {
    "silent": (b"", False),
    "half a header": (b"HTTP/1.1 200 OK\r\nX-Half: ", False),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf", False),
    "half a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n90\r\nhalf", False),
    "a dripping status line": (b"", True),
    "a dripping header": (b"HTTP/1.1 200 OK\r\nX-Slow: ", True),
    "a dripping body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", True),
    "a dripping body without an end": (b"HTTP/1.1 200 OK\r\n\r\n", True),
}
"""What a server sends at once, and whether a byte at a time follows without an end."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [get, read])
def test_it_ends_at_its_deadline_and_the_next_request_is_served(fault: str, call: Callable[..., object]) -> None:
    begin, drips = FAULTS[fault]

    def answer(connection: socket.socket) -> None:
        connection.sendall(begin)
        while drips and not web.is_closing.wait(0.05):
            connection.sendall(b"a")
        web.hang(connection)

    with Web(lambda request: answer) as web:
        client, began = Client(), time.monotonic()
        error = problem(lambda: call(web.url, 0.4, client))
        assert time.monotonic() - began < PATIENCE_SECONDS
        assert error.outcome == "timeout"
        # What is left of the 0.4 s when the request begins: less on a busy machine, or nothing.
        assert re.fullmatch(r"no answer within \S+ s", str(error))
        web.answer = lambda request: OK
        assert get(web.url, client=client).body == b"fine"
    wait_until("the threads' end", lambda: not [thread for thread in threading.enumerate() if thread.name == "within"])


def test_a_silent_server_can_be_given_up_before_the_deadline() -> None:
    with Web(lambda request: web.hang) as web:
        began = time.monotonic()
        error = problem(lambda: get(web.url, 600, Client(longest_silence_seconds=0.3)))
        assert time.monotonic() - began < PATIENCE_SECONDS
    assert str(error) == "no answer within 0.3 s"


# A limit on the body


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"a" * 1_000_000)


def packed(size: int) -> bytes:
    return http(200, gzip.compress(bytes(size)), Content_Encoding="gzip")


LARGE = {
    "endless": lambda: endless,
    "packed": lambda: packed(200 * 1024 * KIB),
    "one more": lambda: http(200, bytes(1024 * KIB + 1)),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_body_is_limited_also_when_it_is_unpacked(kind: str) -> None:
    answer: Any = LARGE[kind]()
    with Web(lambda request: answer) as web:
        client = Client()
        error = problem(lambda: get(web.url, client=client))
        assert (error.outcome, str(error)) == ("invalid", "its response is larger than 1 MiB")
        web.answer = lambda request: OK
        assert get(web.url, client=client).body == b"fine"


def test_a_bomb_is_unpacked_in_small_blocks_as_far_as_they_are_wanted() -> None:
    blocks: list[int] = []

    def take(block: bytes) -> bool:
        blocks.append(len(block))
        return sum(blocks) < 300 * KIB

    with Web(lambda request: packed(200 * 1024 * KIB)) as web:
        Client().read(web.url, time.monotonic() + PATIENCE_SECONDS, take)
    assert 300 * KIB <= sum(blocks) < 400 * KIB
    assert max(blocks) <= 64 * KIB


@pytest.mark.parametrize("packing", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_a_packed_body_is_unpacked(packing: str) -> None:
    with Web(lambda request: http(200, gzip.compress(b"text" * 500), Content_Encoding=packing)) as web:
        assert read(web.url)[1] == get(web.url).body == b"text" * 500


def test_what_is_not_packed_as_it_says_is_invalid() -> None:
    with Web(lambda request: http(200, b"plain", Content_Encoding="gzip")) as web:
        assert problem(lambda: read(web.url)).outcome == "invalid"


@pytest.mark.parametrize("call", [get, read])
@pytest.mark.parametrize("rest", [b"Content-Length: 900\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n90\r\nhalf"])
def test_a_body_that_ends_too_soon_was_broken_off(call: Callable[..., object], rest: bytes) -> None:
    with Web(lambda request: lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" + rest)) as web:
        error = problem(lambda: call(web.url))
    assert (error.outcome, str(error)) == ("connect", "the connection was interrupted")


def test_a_body_comes_to_the_sink_as_it_was_sent() -> None:
    body = bytes(range(256)) * 3000
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:70_000], body[70_000:]))
    with Web(lambda request: http(200, body)) as web:
        assert read(web.url)[1] == body
        web.answer = lambda request: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        assert read(web.url)[1] == body


# The connection


def test_the_connection_is_kept() -> None:
    with Web(lambda request: OK) as web:
        client = Client()
        assert [get(web.url, client=client).status for _ in range(3)] == [200] * 3
        read(web.url, client=client)
        assert web.connections == 1
    assert web.requests[0].headers["user-agent"].startswith("livekeep/")
    assert web.requests[0].headers["host"] == f"127.0.0.1:{web.port}"
    assert web.requests[3].headers["user-agent"] == "libmpv"
    assert "accept-encoding" not in web.requests[3].headers, "as mpv"


def test_a_kept_connection_that_the_server_closed_is_no_fault() -> None:
    answers = [OK, None, OK]
    with Web(lambda request: answers.pop(0)) as web:
        client = Client()
        assert [get(web.url, client=client).status for _ in range(2)] == [200] * 2
        assert web.connections == 2


def test_a_broken_and_a_refused_connection_are_told_apart() -> None:
    with Web(lambda request: None) as web:
        assert str(problem(lambda: get(web.url))) == "the connection was interrupted"
        assert len(web.requests) == 1
    refused = problem(lambda: get(web.url))
    assert (refused.outcome, refused.is_refused) == ("connect", True)


def test_a_name_that_does_not_exist_is_a_matter_of_dns() -> None:
    assert problem(lambda: get("http://no-such-name.invalid")).outcome == "dns"


@pytest.mark.parametrize("raw", [b"garbage\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x00" * 70_000])
def test_what_is_not_http_is_invalid(raw: bytes) -> None:
    with Web(lambda request: lambda connection: connection.sendall(raw)) as web:
        assert problem(lambda: get(web.url)).outcome in ("invalid", "connect")


@pytest.mark.parametrize("url", ["http://", "http://[bad/", "http://a:99999/", "gopher://a/", "http://a b/"])
def test_what_is_no_address_is_invalid(url: str) -> None:
    assert problem(lambda: get(url)).outcome in ("invalid", "dns")


def test_any_kind_of_server_can_be_talked_to() -> None:
    def greet(connection: socket.socket) -> str:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return connection.recv(8).decode()

    with Web(lambda request: OK) as web:
        parts = urlsplit(web.url.replace("http", "rtsp"))
        assert Client().talk(parts, time.monotonic() + PATIENCE_SECONDS, greet) == "HTTP/1.1"
        web.answer = lambda request: web.hang
        assert problem(lambda: Client().talk(parts, time.monotonic() + 0.3, greet)).outcome == "timeout"


def test_a_body_is_posted_with_its_length() -> None:
    class Zeros:
        def __len__(self) -> int:
            return 30

        def __iter__(self) -> Any:
            yield from [bytes(10)] * 3

    with Web(lambda request: http(201)) as web:
        response = Client().post(web.url, time.monotonic() + PATIENCE_SECONDS, {"Content-Type": "a/b"}, Zeros())
    assert response.status == 201
    assert web.requests[0].line == "POST / HTTP/1.1"
    assert web.requests[0].headers["content-length"] == "30"
    assert "transfer-encoding" not in web.requests[0].headers


# Redirects


@pytest.mark.parametrize(("call", "most"), [(get, 3), (read, MOST_REDIRECTS_OF_PLAYER)])
def test_a_redirect_loop_ends(call: Callable[..., object], most: int) -> None:
    with Web(lambda request: http(302, Location=request.path)) as web:
        client = Client()
        assert problem(lambda: call(web.url, client=client)).outcome == "3xx"
        assert len(web.requests) == most + 1
        web.answer = lambda request: OK
        assert get(web.url, client=client).status == 200
        assert web.connections == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://a.example/", "javascript:1"])
def test_a_redirect_to_another_kind_of_address_is_not_followed(target: str) -> None:
    with Web(lambda request: http(302, Location=target)) as web:
        assert problem(lambda: get(web.url)).outcome == "3xx"


def test_a_secret_goes_to_no_other_host_and_not_back_either() -> None:
    with Web() as web, Web(lambda request: http(302, Location=f"{web.url}/back")) as other:
        web.answer = lambda request: OK if request.path == "/back" else http(307, Location=f"{other.url}/else")
        assert get(web.url).url == f"{web.url}/back"
    assert "authorization" in web.requests[0].headers
    assert "authorization" not in other.requests[0].headers
    assert "authorization" not in web.requests[1].headers


def test_a_redirect_within_the_host_keeps_the_secret() -> None:
    def answer(request: Request) -> bytes:
        return OK if request.path == "/there" else http(301, Location="/there")

    with Web(answer) as web:
        assert get(f"{web.url}/here").status == 200
    assert web.requests[1].headers["authorization"] == SECRET["Authorization"]


def test_an_address_is_asked_for_as_it_is_signed() -> None:
    path = "/exp=1~acl=%2f*~hmac=%7Ea/x.m3u8?b=%7e&a=a%20b"
    with Web(lambda request: OK) as web:
        read(web.url + path)
        read(web.url.replace("//", "//us%40er:p%C3%A4ss@") + "/#part")
    assert web.requests[0].path.lower() == path.lower(), "only the case of a percent-encoding may differ"
    assert web.requests[1].path == "/"
    assert web.requests[1].headers["authorization"] == "Basic dXNAZXI6cMOkc3M="


# Proxies and TLS


def test_a_proxy_gets_the_whole_address_and_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Web(lambda request: OK) as proxy:
        assert get(proxy.url).status == 200, "the environment is not asked"
        client = Client(proxy.url.replace("//", "//user:pass%20word@"))
        assert get("http://api.example/a?b", client=client).status == 200
    assert proxy.requests[1].line == "GET http://api.example/a?b HTTP/1.1"
    assert proxy.requests[1].headers["host"] == "api.example"
    assert proxy.requests[1].headers["proxy-authorization"] == "Basic dXNlcjpwYXNzIHdvcmQ="


def test_a_proxy_is_asked_for_a_tunnel_without_the_secret() -> None:
    with Web(lambda request: http(407)) as proxy:
        error = problem(lambda: get("https://api.example", client=Client(proxy.url)))
    assert (error.outcome, error.is_proxy) == ("connect", True)
    assert str(error) == "the proxy refuses the connection (HTTP 407)"
    assert proxy.requests[0].line.startswith("CONNECT api.example:443 HTTP/1.")
    assert "a-token" not in str(proxy.requests)


def test_a_proxy_that_drips_ends_at_the_deadline() -> None:
    with Web(lambda request: proxy.drip) as proxy:
        assert problem(lambda: get("https://api.example", 0.4, Client(proxy.url))).outcome == "timeout"


def certificate_for(folder: Path, name: str) -> Path:
    """A certificate and its key in one file."""
    file = folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", f"subjectAltName={name}", "-keyout", "-", "-out", "-"]
    file.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return file


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificate_for(tmp_path, "IP:127.0.0.1")


def secure(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_must_be_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Web(lambda request: OK, secure(certificate)) as web:
        error = problem(lambda: get(web.url))
        assert error.outcome == "tls"
        assert "is the clock right?" in str(error)
        assert web.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client = Client()
        assert [get(web.url, client=client).status for _ in range(2)] == [200] * 2
        assert web.connections == 2
        web.answer = lambda request: web.drip
        assert problem(lambda: get(web.url, 0.4, client)).outcome == "timeout"
        web.answer = lambda request: OK
        assert get(web.url, client=client).status == 200


def test_authorities_are_found_in_the_system_s_folder(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificate], check=True, capture_output=True, text=True
    )
    shutil.copy(certificate, folder / f"{hashed.stdout.strip()}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with Web(lambda request: OK, secure(certificate)) as web:
        assert get(web.url).status == 200


@pytest.mark.parametrize("name", ["IP:127.0.0.2", "DNS:other.example"])
def test_a_certificate_must_be_for_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    certificate = certificate_for(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Web(lambda request: OK, secure(certificate)) as web:
        assert problem(lambda: get(web.url)).outcome == "tls"
        assert problem(lambda: get(web.url.replace("127.0.0.1", "localhost"))).outcome == "tls"
        assert web.requests == []


def test_a_server_without_tls_is_a_matter_of_tls() -> None:
    def speak_plainly(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=speak_plainly, args=(listener,), daemon=True).start()
        assert problem(lambda: get(f"https://127.0.0.1:{listener.getsockname()[1]}")).outcome == "tls"


def test_a_server_that_never_greets_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert problem(lambda: get(f"https://127.0.0.1:{listener.getsockname()[1]}", 0.4)).outcome == "timeout"


@pytest.mark.parametrize("proxy_has_tls", [False, True])
def test_a_proxy_passes_tls_through(certificate: Path, monkeypatch: pytest.MonkeyPatch, proxy_has_tls: bool) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    def pass_through(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", web.port)) as onward:
            threading.Thread(target=copy, args=(onward, connection), daemon=True).start()
            copy(connection, onward)

    with Web(lambda request: OK, secure(certificate)) as web:
        with Web(lambda request: pass_through, secure(certificate) if proxy_has_tls else None) as proxy:
            client = Client(proxy.url)
            assert [get(web.url, client=client).status for _ in range(2)] == [200] * 2
            client.close()
        assert proxy.requests[0].line.startswith(f"CONNECT 127.0.0.1:{web.port} HTTP/1.")
        assert "a-token" not in str(proxy.requests)
        assert web.requests[0].headers["authorization"] == SECRET["Authorization"]


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)


# Secrets


def test_no_fault_and_no_log_tells_an_address_or_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Web(lambda request: http(302, Location="http://[bad/?hmac=signature")) as web:
        error = problem(lambda: get(f"{web.url}/?hmac=signature"))
        assert error.outcome == "invalid"
        web.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n: odd\r\nno header\r\n\r\n"
        answers = [error, get(f"{web.url}/?hmac=signature")]
    assert "signature" not in f"{answers!r} {error} {caplog.text}"
    assert "a-token" not in f"{answers!r} {error} {caplog.text}"
