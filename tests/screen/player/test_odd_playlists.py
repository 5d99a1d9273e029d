"""HLS of unusual make that mpv plays: the poller calls it live, and what it hands out plays in a real mpv."""

import gzip
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from livekeep.screen.player.driver import STREAM
from livekeep.screen.player.mpv import Mpv
from tests.outside import picture, program, wait_until
from tests.screen.player.displays import connect, show, until
from tests.screen.player.test_mpv import mpv_command
from tests.screen.poller.running_poller import RunningPoller
from tests.web import Reply, Request, Web, http

MEDIA = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n" + b"".join(b"#EXTINF:1.0,\n/%d.ts\n" % n for n in range(3))
EARLIER = b"".join(b"#EXTINF:1.0,\n/old/%d.ts?signature=%s\n" % (n, b"s" * 80) for n in range(49_000))
LONG = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:1\n" + EARLIER + MEDIA.partition(b":1\n")[2]
DECLARED = b"#EXT-X-STREAM-INF:BANDWIDTH=100000\n"
SIZE = "/größe 1.m3u8"

Pages = Callable[[Request], Reply]


def pages(found: dict[str, Reply]) -> Pages:
    return lambda request: found.get(request.path, http(404))


def with_cookie(request: Request) -> Reply:
    """A server that hands out a cookie with the master playlist, and lets nobody in without it."""
    if request.path == "/x.m3u8":
        return http(200, b"#EXTM3U\n" + DECLARED + b"media.m3u8\n", Set_Cookie="pass=1; Path=/; HttpOnly")
    return http(200, MEDIA) if "pass=1" in request.headers.get("cookie", "") else http(403)


def with_cookie_of_a_redirect(request: Request) -> Reply:
    if request.path == "/x.m3u8":
        return http(302, Location="/in/x.m3u8", Set_Cookie="pass=1; Path=/in")
    return http(200, MEDIA) if request.headers.get("cookie") == "pass=1" else http(403)


def long_way(request: Request) -> Reply:
    step = int(request.path.rpartition("=")[2] or 0) if "=" in request.path else 0
    return http(200, MEDIA) if step == 6 else http(302, Location=f"/x.m3u8?step={step + 1}")


def master(*lines: bytes) -> Reply:
    return http(200, b"\n".join([b"#EXTM3U", *lines, b""]))


ODD: dict[str, tuple[str, Pages]] = {
    "of 5 MiB": ("/x.m3u8", pages({"/x.m3u8": http(200, LONG)})),
    "of 5 MiB, packed": ("/x.m3u8", pages({"/x.m3u8": http(200, gzip.compress(LONG), Content_Encoding="gzip")})),
    "first variant gone": (
        "/x.m3u8",
        pages({"/x.m3u8": master(DECLARED + b"gone.m3u8", DECLARED + b"media.m3u8"), "/media.m3u8": http(200, MEDIA)}),
    ),
    "comment before the variant": (
        "/x.m3u8",
        pages({"/x.m3u8": master(DECLARED + b"# the only one\nmedia.m3u8"), "/media.m3u8": http(200, MEDIA)}),
    ),
    "gzip unasked": ("/x.m3u8", pages({"/x.m3u8": http(200, gzip.compress(MEDIA), Content_Encoding="gzip")})),
    "deflate unasked": ("/x.m3u8", pages({"/x.m3u8": http(200, zlib.compress(MEDIA), Content_Encoding="deflate")})),
    "cookie": ("/x.m3u8", with_cookie),
    "cookie of a redirect": ("/x.m3u8", with_cookie_of_a_redirect),
    "seven redirects": ("/x.m3u8", long_way),
    "letters and blank in the address": (SIZE, pages({quote(SIZE): http(200, MEDIA)})),
    "letters and blank in the variant": (
        "/x.m3u8",
        pages({"/x.m3u8": master(DECLARED + SIZE.encode()), quote(SIZE): http(200, MEDIA)}),
    ),
    # To FFmpeg this is no HLS: mpv plays it as a list of files.
    "byte order mark": ("/x.m3u8", pages({"/x.m3u8": http(200, b"\xef\xbb\xbf" + MEDIA.replace(b"/", b""))})),
}


@dataclass(frozen=True)
class Chain:
    """A poller, a real mpv, and the server that both ask."""

    poller: RunningPoller
    mpv: Mpv
    web: Web
    segment: bytes

    def serve(self, found: Pages) -> None:
        segment = http(200, self.segment, Content_Type="video/mp2t")
        self.web.answer = lambda request: segment if request.path.partition("?")[0].endswith(".ts") else found(request)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    source = ["-f", "lavfi", "-i", "testsrc=size=64x36:rate=10:duration=1"]
    encoding = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *source, *encoding, folder / "1.ts"], check=True)
    with (
        Web() as web,
        RunningPoller(folder / "poller", "[streams.main]\n", token=None) as poller,
        program(mpv_command(folder / "mpv.sock")),
    ):
        wait_until("mpv's socket", (folder / "mpv.sock").exists)
        mpv = connect(Mpv, folder / "mpv.sock")
        # Before that a reload would end it.
        poller.until_state("unknown", "no-stream")
        yield Chain(poller, mpv, web, (folder / "1.ts").read_bytes())
        mpv.close()


@pytest.mark.parametrize("name", ODD)
def test_a_playlist_of_unusual_make_plays(chain: Chain, tmp_path: Path, name: str) -> None:
    path, found = ODD[name]
    stream, holding = f"odd{list(ODD).index(name)}", str(picture(tmp_path / "holding.png"))
    chain.serve(found)
    chain.poller.configure(f'[stream]\nselected = "{stream}"\n[streams.{stream}]\nurl = "{chain.web.url}{path}"\n')
    chain.poller.reload()
    chain.poller.until(lambda state: state.selected == stream and state.state == "live")
    url = chain.poller.url()
    assert url
    chain.mpv.show_stream(url.url, holding)
    until(chain.mpv, f"{name} plays", lambda: chain.mpv.current == STREAM and (chain.mpv.stream.position_seconds or 0) > 0.2)
    if name == "byte order mark":
        until(chain.mpv, "the end of the list", lambda: chain.mpv.stream.phase == "ended" and chain.mpv.current == holding)
    show(chain.mpv, holding)
