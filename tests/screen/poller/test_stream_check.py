"""Is a plain URL open, and does a playlist grow? Against real sockets."""

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from livekeep.core.config import Stream
from livekeep.screen.poller import rtsp as rtsp_module
from livekeep.screen.poller import stream_check
from livekeep.screen.poller.stream_check import StreamCheck
from livekeep.screen.poller.vimeo import Answer, Api
from livekeep.system.hls import Media
from livekeep.system.http import Client
from tests.web import MASTER, Reply, Request, Web, http
from tests.web import playlist as media


def ask(url: str, seconds: float = 20.0, is_shown: bool = False) -> Answer:
    return stream_check.ask(Client(), url, time.monotonic() + seconds, is_shown)


def look(url: str) -> StreamCheck:
    return stream_check.check(Client(), url, time.monotonic() + 20)


EVENT = Stream(vimeo_event="12345")
FIRST = Media(100, 5, "s104.ts")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (FIRST, "standing-still"),
        (Media(101, 5, "s105.ts"), "grown"),
        (Media(100, 6, "s105.ts"), "grown"),
        (Media(102, 3, "s104.ts"), "standing-still"),
        (Media(99, 5, "s103.ts"), "standing-still"),
        (Media(0, 3, "n2.ts"), "grown"),
        (Media(101, 5, "s105.ts", has_ended=True), "ended"),
        (Media(0, 0), "standing-still"),
    ],
)
def test_growth(now: Media, expected: str) -> None:
    assert stream_check.progress(FIRST, StreamCheck("open", "2xx", media=now)) == expected


def test_growth_is_never_seen_at_the_first_look_nor_where_nothing_is_open() -> None:
    assert stream_check.progress(None, StreamCheck("open", "2xx", media=FIRST)) == "standing-still"
    assert stream_check.progress(FIRST, StreamCheck("not-open", "4xx")) == "not-open"
    assert stream_check.progress(FIRST, StreamCheck("outage", "timeout")) == "not-open"
    ended = Media(100, 5, "s104.ts", has_ended=True)
    assert stream_check.progress(ended, StreamCheck("open", "2xx", media=FIRST)) == "grown"


def test_a_master_playlist_is_followed_to_its_first_variant() -> None:
    def answer(request: Request) -> bytes:
        return http(200, media(7, 3) if request.path == "/a/low/index.m3u8?sig=1" else MASTER)

    with Web(answer) as web:
        assert look(f"{web.url}/a/master.m3u8?sig=2").media == Media(7, 3, "segment9.ts", 2.0)
        assert ask(f"{web.url}/a/master.m3u8").verdict == "live"


@pytest.mark.parametrize(
    ("path", "reply", "verdict", "cause"),
    [
        ("/x.m3u8", http(200, media(1, 3)), "live", ""),
        ("/x.m3u8", http(200, media(1, 3, ended=True)), "offline", "ended"),
        ("/x.m3u8", http(200, media(1, 0)), "offline", "not-open"),
        ("/x.m3u8", http(200, MASTER), "offline", "not-open"),
        ("/x.m3u8", http(200, "<html>log in</html>"), "offline", "not-open"),
        ("/x.m3u8", http(404), "offline", "not-open"),
        ("/x.m3u8", http(410), "offline", "not-open"),
        ("/x.m3u8", http(401), "refused", "refused"),
        ("/x.m3u8", http(403), "refused", "refused"),
        ("/x.m3u8", http(500), "outage", "outage"),
        ("/x.m3u8", http(503), "outage", "outage"),
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


def long_playlist(segments: int, ended: bool = False) -> bytes:
    lines = [b"#EXTM3U", b"#EXT-X-TARGETDURATION:2", b"#EXT-X-PLAYLIST-TYPE:EVENT"]
    lines += [b"#EXTINF:2.0,\nsegment%d.ts?hmac=%s" % (number, b"s" * 80) for number in range(segments)]
    return b"\n".join([*lines, *([b"#EXT-X-ENDLIST"] if ended else []), b""])


@pytest.mark.parametrize("ended", [False, True])
def test_a_playlist_of_five_mebibytes_is_judged_by_its_end(ended: bool) -> None:
    """An event of 29 hours that can be rewound."""
    body = long_playlist(52_200, ended)
    assert len(body) > 5 * 1024 * 1024
    with Web(lambda request: http(200, body)) as web:
        seen = look(f"{web.url}/x.m3u8")
        assert seen.media == Media(0, 52_200, "segment52199.ts", 2.0, ended)
        assert ask(f"{web.url}/x.m3u8").verdict == ("offline" if ended else "live")
        web.answer = lambda request: http(200, long_playlist(52_201))
        assert stream_check.progress(seen.media, look(f"{web.url}/x.m3u8")) == "grown"


def test_what_cannot_be_judged_is_left_to_the_player_program() -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n#EXTM3U\n")
        while True:
            connection.sendall(b"#" + b"x" * 65535)

    too_long = http(200, gzip.compress(b"#EXTM3U\n" + b"#EXTINF:2\n" * 10_000_000, 1), Content_Encoding="gzip")
    replies: tuple[Reply, ...] = (pour, too_long, http(403))
    for reply in replies:
        with Web(lambda request, reply=reply: reply) as web:
            assert stream_check.progress(FIRST, look(f"{web.url}/x.m3u8")) == "unknown"
            assert ask(f"{web.url}/x.m3u8").verdict == ("refused" if reply == http(403) else "live")
    assert stream_check.progress(FIRST, StreamCheck("open", "2xx")) == "unknown"


@pytest.mark.parametrize(
    "reply",
    [http(404), http(403), http(200, "<html>"), http(200, media(1, 0)), http(200, media(1, 3, ended=True)), b"garbage\r\n\r\n"],
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


def test_an_endless_body_is_not_read() -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        while True:
            connection.sendall(b"\x47" * 65536)

    with Web(lambda request: pour) as web:
        began = time.monotonic()
        assert ask(f"{web.url}/live.ts").verdict == "live"
        assert time.monotonic() - began < 15


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


def test_rtsp_with_a_password() -> None:
    with Web(with_password('Digest realm="cam", nonce="abc"')) as web:
        assert ask(f"rtsp://user:secret@127.0.0.1:{web.port}/camera").verdict == "live"
    assert web.requests[1].headers["authorization"].startswith('Digest username="user", realm="cam", nonce="abc"')
    assert "secret" not in str(web.requests)
    with Web(with_password('Basic realm="cam"')) as web:
        assert ask(f"rtsp://user:secret@127.0.0.1:{web.port}/camera").verdict == "live"
    assert web.requests[1].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="


def test_the_digest_is_that_of_the_standard() -> None:
    parts = urlsplit("rtsp://Mufasa:CircleOfLife@host/dir/index.html")
    found = rtsp_module.credentials(parts, 'Digest realm="testrealm@host.com", nonce="dcd98b"')
    ha1, ha2 = rtsp_module.md5("Mufasa:testrealm@host.com:CircleOfLife"), rtsp_module.md5("DESCRIBE:rtsp://host/dir/index.html")
    assert f'response="{rtsp_module.md5(f"{ha1}:dcd98b:{ha2}")}"' in found


def test_rtsp_that_is_none_and_rtsp_that_is_silent() -> None:
    with Web(lambda request: http(200)) as web:
        assert ask(f"rtsp://127.0.0.1:{web.port}/camera").verdict == "offline"
        web.answer = lambda request: web.hang
        assert ask(f"rtsp://127.0.0.1:{web.port}/camera", 0.3).verdict == "outage"
    assert ask(f"rtsp://127.0.0.1:{web.port}/camera").verdict == "offline"


def test_rtmp_is_open_when_its_port_is() -> None:
    with Web() as web:
        assert ask(f"rtmp://127.0.0.1:{web.port}/live/key").verdict == "live"
    assert ask(f"rtmp://127.0.0.1:{web.port}/live/key").verdict == "offline"
    assert "key" not in ask(f"rtmp://127.0.0.1:{web.port}/live/key").reason


def test_rtmps_needs_tls() -> None:
    def no_tls(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"no TLS here, sorry\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=no_tls, args=(listener,), daemon=True).start()
        answer = ask(f"rtmps://127.0.0.1:{listener.getsockname()[1]}/live")
    assert (answer.verdict, answer.outcome) == ("outage", "tls")
