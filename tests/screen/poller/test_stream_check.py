"""Is a plain URL open, and does a playlist grow? Against real sockets."""

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable

import pytest

from livekeep.core.config import Stream
from livekeep.screen.poller import stream_check
from livekeep.screen.poller.vimeo import Answer, Api
from livekeep.system.hls import Media
from livekeep.system.http import Client
from tests.web import MASTER, Reply, Request, Web, http
from tests.web import playlist as media


def ask(url: str, seconds: float = 20.0, is_shown: bool = False) -> Answer:
    return stream_check.ask(Client(), url, time.monotonic() + seconds, is_shown)


EVENT = Stream(vimeo_event="12345")
FIRST = Media(100, 5, "s104.ts")


@pytest.mark.parametrize(
    ("first", "check", "cause"),
    [
        (FIRST, FIRST, "standing-still"),
        (FIRST, Media(101, 5, "s105.ts"), ""),
        (FIRST, Media(100, 6, "s105.ts"), ""),
        (FIRST, Media(102, 3, "s104.ts"), "standing-still"),
        (FIRST, Media(99, 5, "s103.ts"), "standing-still"),
        (FIRST, Media(0, 3, "n2.ts"), ""),
        (FIRST, Media(101, 5, "s105.ts", has_ended=True), "ended"),
        (FIRST, Media(0, 0), "standing-still"),
        (None, FIRST, "standing-still"),
        (Media(100, 5, "s104.ts", has_ended=True), FIRST, ""),
    ],
)
def test_growth(first: Media | None, check: Media, cause: str) -> None:
    assert stream_check.standstill(first, stream_check.of_media(check)) == cause


@pytest.mark.parametrize(
    ("check", "cause"),
    [
        (stream_check.not_open("4xx", "HTTP 404"), "not-open"),
        (Answer("outage", "timeout"), "not-open"),
        (Answer("live", "2xx"), ""),
        (stream_check.of_status(403), ""),
    ],
)
def test_what_cannot_be_judged_is_left_to_the_player(check: Answer, cause: str) -> None:
    assert stream_check.standstill(FIRST, check) == cause


@pytest.mark.parametrize(
    ("path", "reply", "verdict", "cause"),
    [
        ("/x.m3u8", http(200, media(1, 3)), "live", ""),
        ("/x.m3u8", http(200, media(1, 3, ended=True)), "offline", "ended"),
        ("/x.m3u8", http(200, media(1, 0)), "offline", "not-open"),
        ("/x.m3u8", http(200, MASTER), "offline", "not-open"),
        ("/x.m3u8", http(200, "<html>log in</html>"), "offline", "not-open"),
        ("/x.m3u8", http(404), "offline", "not-open"),
        ("/x.m3u8", http(401), "refused", "refused"),
        ("/x.m3u8", http(403), "refused", "refused"),
        ("/x.m3u8", http(500), "outage", "outage"),
        ("/x.m3u8", b"garbage\r\n\r\n", "offline", "not-open"),
        ("/x.m3u8", None, "outage", "outage"),
        ("/x.m3u8", http(302, Location="file:///etc/passwd"), "offline", "not-open"),
        ("/live", http(200, media(1, 3)), "live", ""),
        ("/live.ts", http(200, b"\x47" * 188, Content_Type="video/mp2t"), "live", ""),
        ("/live.ts", http(200, "<html>log in</html>", Content_Type="text/html"), "offline", "not-open"),
        ("/live", http(200, b"", Content_Type="application/vnd.apple.mpegurl"), "offline", "not-open"),
        ("/x.m3u8", http(511, "<html>log in</html>"), "outage", "outage"),
    ],
)
def test_a_plain_web_address(path: str, reply: Reply, verdict: str, cause: str) -> None:
    with Web(lambda request: reply) as web:
        answer = ask(web.url + path)
    assert (answer.verdict, answer.cause) == (verdict, cause)
    assert answer.url == (web.url + path if verdict == "live" else "")
    assert bool(answer.reason) == (verdict != "live")


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/x.m3u8", http(200, "<html>log in</html>", Content_Type="text/html")),
        ("/live", http(200, "<html>log in</html>", Content_Type="text/html; charset=utf-8")),
        ("/x.m3u8", http(200, "<html>log in</html>")),
        ("/x.m3u8", http(511, "<html>log in</html>")),
    ],
)
def test_a_login_page_in_between_is_named(path: str, reply: bytes) -> None:
    """A guest network answers every request itself until somebody has logged in, or sends it on to such a page."""
    with Web(lambda request: reply) as portal, Web(lambda request: http(302, Location=f"{portal.url}{path}")) as web:
        for server in (portal, web):
            assert "does this network ask for a login?" in ask(server.url + path).reason
        assert "does this network ask for a login?" in Api(portal.url, "").ask(Client(), EVENT, time.monotonic() + 15).reason


@pytest.mark.parametrize(
    "reply",
    [http(404), http(403), http(200, media(1, 3, ended=True)), b"garbage\r\n\r\n"],
)
def test_a_stream_that_is_shown_is_on_air_whatever_its_playlist_says(reply: bytes) -> None:
    with Web(lambda request: reply) as web:
        answer = ask(f"{web.url}/x.m3u8", is_shown=True)
        assert (answer.verdict, answer.url) == ("live", f"{web.url}/x.m3u8")
        assert ask(f"{web.url}/x.m3u8").verdict in ("offline", "refused")
        web.answer = lambda request: http(503)
        assert ask(f"{web.url}/x.m3u8", is_shown=True).verdict == "outage"


def test_of_a_long_playlist_little_is_read_while_it_is_shown() -> None:
    sent: list[int] = []

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n#EXTM3U\n")
        with contextlib.suppress(OSError):
            while True:
                sent.append(connection.send(b"#" + b"x" * 1023 + b"\n"))

    with Web(lambda request: pour) as web:
        assert ask(f"{web.url}/x.m3u8", is_shown=True).verdict == "live"
        # What the sockets' buffers hold is sent and never read.
        assert sum(sent) < 16 * 1024 * 1024


def test_nobody_there_is_off_air_and_silence_is_an_outage() -> None:
    with Web(lambda request: web.hang) as web:
        assert ask(f"{web.url}/x.m3u8", 0.3).verdict == "outage"
    assert (ask(f"{web.url}/x.m3u8").verdict, ask(f"{web.url}/x.m3u8").cause) == ("offline", "not-open")
    assert ask("http://no-such-name.invalid/x.m3u8", 8).verdict == "outage"


def test_user_and_password_of_an_address_are_sent_as_such() -> None:
    with Web(lambda request: http(200, media(1, 2))) as web:
        ask(web.url.replace("//", "//user:secret@") + "/x.m3u8")
    assert web.requests[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert web.requests[0].headers["host"] == f"127.0.0.1:{web.port}"
    assert "secret" not in web.requests[0].line


def rtsp(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"RTSP/1.0 {status} DocumentResponse", "CSeq: 1", *headers, "", ""]).encode()


def with_password(header: str) -> Callable[[Request], bytes]:
    return lambda request: rtsp(200) if "authorization" in request.headers else rtsp(401, f"WWW-Authenticate: {header}")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, "live"), (404, "offline"), (454, "offline"), (401, "refused"), (403, "refused"), (500, "outage")],
)
def test_rtsp(status: int, verdict: str) -> None:
    with Web(lambda request: rtsp(status)) as web:
        answer = ask(f"rtsp://127.0.0.1:{web.port}/camera")
    assert answer.verdict == verdict
    assert web.requests[0].line == f"DESCRIBE rtsp://127.0.0.1:{web.port}/camera RTSP/1.0"


@pytest.mark.parametrize(
    ("challenge", "credentials"),
    [
        ('Basic realm="cam"', "Basic dXNlcjpzZWNyZXQ="),
        # RFC 2069.
        (
            'Digest realm="cam", nonce="abc"',
            'Digest username="user", realm="cam", nonce="abc", uri="{url}", response="{response}"',
        ),
    ],
)
def test_rtsp_with_a_password(challenge: str, credentials: str) -> None:
    with Web(with_password(challenge)) as web:
        assert ask(f"rtsp://user:secret@127.0.0.1:{web.port}/camera").verdict == "live"
    url = f"rtsp://127.0.0.1:{web.port}/camera"
    response = md5(f"{md5('user:cam:secret')}:abc:{md5(f'DESCRIBE:{url}')}")
    assert web.requests[1].headers["authorization"] == credentials.format(url=url, response=response)
    assert "secret" not in str(web.requests)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - as cameras require it


def test_another_server_than_rtsp_is_off_air() -> None:
    with Web(lambda request: http(200)) as web:
        assert ask(f"rtsp://127.0.0.1:{web.port}/camera").verdict == "offline"


def test_rtmp_is_open_when_its_port_is() -> None:
    with Web() as web:
        assert ask(f"rtmp://127.0.0.1:{web.port}/live/key").verdict == "live"
    assert ask(f"rtmp://127.0.0.1:{web.port}/live/key").verdict == "offline"
    assert "key" not in ask(f"rtmp://127.0.0.1:{web.port}/live/key").reason
