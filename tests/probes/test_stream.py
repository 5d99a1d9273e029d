"""livekeep-probe-stream as a process: real HLS by ffmpeg under the real ffprobe, and servers that behave as badly as they can."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core.probe_results import Analysis, StreamResult
from livekeep.core.state import Cause
from tests.outside import PATIENCE_SECONDS, LiveStream, live_stream, reserved, wait_until
from tests.probes.running_probe import SIGNATURE, Probe, descendants
from tests.web import Reply, Web, http

SETTINGS = "[probes.stream]\ntimeout_seconds = 15\n"
FFPROBE = 'print(\'{"streams": [{"codec_type": "video", "codec_name": "h264"}]}\')'
TRIES = 40
MEGABYTE = b"#" + b"x" * (1024 * 1024 - 2) + b"\n"


@pytest.fixture
def probe(tmp_path: Path) -> Probe[StreamResult]:
    return Probe("stream", StreamResult, tmp_path, SETTINGS)


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStream]:
    with live_stream(tmp_path_factory.mktemp("live") / "hls") as stream:
        (stream.folder / "master.m3u8").write_text(
            "#EXTM3U\n"
            '#EXT-X-STREAM-INF:CODECS="avc1,BANDWIDTH=9999999999",AVERAGE-BANDWIDTH=9000000,BANDWIDTH=800000\nlive.m3u8?low=1\n'
            "#EXT-X-STREAM-INF:BANDWIDTH=4500000\nlive.m3u8?best=1\n"
        )
        yield stream


def playlist(first: int, segments: int, *more: str) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, first + segments):
        lines += ["#EXTINF:2.0,", f"folder/segment{number}.ts?hmac={SIGNATURE}"]
    return "\n".join([*lines, *more, ""]).encode()


def test_live_hls_is_growing_and_analysed_by_the_real_ffprobe(probe: Probe[StreamResult], live: LiveStream) -> None:
    probe.go_live(live.url.replace("live.m3u8", "master.m3u8"))
    first = probe.run()
    assert (first.run.verdict, first.run.reason) == ("ok", "open, 2 variants up to 4.5 Mbit/s, h264 160x90 10 frames/s")
    assert first.analysis
    assert (first.analysis.video_codec, first.analysis.audio_codec) == ("h264", "")
    assert (first.analysis.width_pixels, first.analysis.height_pixels, first.analysis.frame_rate_hertz) == (160, 90, 10.0)
    assert (first.analysis.audio_channels, first.analysis.audio_sample_rate_hertz) == (None, None)
    assert (first.variants, first.variant_bandwidth_bits_per_second, first.is_reachable) == (2, 4_500_000, True)
    assert first.target == "main"
    assert first.media_sequence is not None
    second = probe.run()
    wait_until("the playlist to grow", lambda: (probe.run().media_sequence or 0) > (first.media_sequence or 0))
    grown = probe.findings()
    assert grown.run.reason.startswith("growing, 2 variants")
    assert grown.last_segment.endswith(".ts")
    assert (grown.last_change or 0) > (first.last_change or 0)
    # The analysis is not made anew by a fresh URL of the same stream.
    assert grown.analysis == second.analysis == first.analysis
    assert SIGNATURE not in probe.everything_told()


def test_another_stream_of_the_same_name_is_looked_at_afresh(probe: Probe[StreamResult], live: LiveStream) -> None:
    probe.go_live(live.url.replace("live.m3u8", "master.m3u8"))
    first = probe.run()
    probe.go_live(live.url.replace("live.m3u8", "master.m3u8"), source="two")
    second = probe.run()
    assert first.analysis
    assert second.analysis
    assert second.run.reason.startswith("open, "), "nothing is there to compare it with"
    assert second.analysis.analysed_at > first.analysis.analysed_at
    probe.poller_says("live", source="three")
    assert probe.run().run.reason == "another stream was just selected"


def test_a_playlist_that_stands_still_fails_after_three_target_durations(probe: Probe[StreamResult], web: Web) -> None:
    probe.tool("ffprobe", FFPROBE)
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.go_live(f"{web.url}/live.m3u8")
    first = probe.run()
    assert (first.run.verdict, first.run.reason) == ("ok", "open, h264")
    assert (first.media_sequence, first.last_segment, first.target_duration_seconds) == (7, "segment9.ts", 2.0)
    assert probe.run().run.verdict == "ok"
    assert probe.findings().last_change == first.last_change
    probe.remember(last_change=time.time() - 75)
    stale = probe.run()
    assert stale.run.verdict == "fail"
    grown = re.search(r"has not grown for (\d+) s;", stale.run.reason)
    assert grown
    assert 75 <= int(grown[1]) < 75 + PATIENCE_SECONDS
    assert "last 2 s" in stale.run.reason
    assert stale.is_reachable
    web.answer = lambda _request: http(200, playlist(8, 3))
    assert probe.run().run.reason == "growing, h264"
    # Another segment under the same number is growth too: a window that slides without counting.
    web.answer = lambda _request: http(200, playlist(8, 4))
    probe.remember(last_change=time.time() - 75)
    assert probe.run().run.verdict == "ok"


CANNOT = "the stream cannot be reached: "
ANOTHER_KIND = "the response is not a playlist; does this network require a login?"
FAULTS: dict[str, tuple[Reply, str]] = {
    "403": (http(403), CANNOT + "HTTP 403; has its signature expired?"),
    "garbage": (http(200, bytes(range(256))), ANOTHER_KIND),
    "ended": (http(200, playlist(1, 3, "#EXT-X-ENDLIST")), "the stream counts as live, but its playlist has ended"),
    "empty": (http(200, playlist(1, 0)), "the playlist lists no segment"),
    "no variants": (http(200, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"), "the playlist lists no variant"),
    "masters only": (
        http(200, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/x.m3u8\n"),
        "no variant has a valid playlist",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_playlist_fails_with_a_sentence_of_its_own(probe: Probe[StreamResult], web: Web, name: str) -> None:
    reply, sentence = FAULTS[name]
    probe.tool("ffprobe", "sys.exit(1)")
    web.answer = lambda _request: reply
    probe.go_live(f"{web.url}/live.m3u8")
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", sentence)
    assert found.run.advice
    assert SIGNATURE not in probe.everything_told()
    assert web.url not in probe.everything_told()


def test_a_playlist_without_end_is_left_to_ffprobe(probe: Probe[StreamResult], web: Web) -> None:
    web.answer = lambda _request: http(200, b"#EXTM3U\n" + 50 * MEGABYTE)
    probe.go_live(f"{web.url}/live.m3u8")
    probe.tool("ffprobe", FFPROBE)
    assert (probe.run().run.verdict, probe.findings().run.reason) == ("ok", "its playlist is too long to be read, h264")
    assert (probe.findings().is_reachable, probe.findings().media_sequence) == (True, None)


def test_a_host_that_is_not_there(probe: Probe[StreamResult]) -> None:
    probe.go_live("rtmp://127.0.0.1:1/live")
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", CANNOT + "the connection is refused")
    assert found.is_reachable is False


def test_what_was_known_of_the_stream_outlasts_one_look_that_failed(probe: Probe[StreamResult], web: Web) -> None:
    probe.tool("ffprobe", FFPROBE)
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.go_live(f"{web.url}/live.m3u8")
    first = probe.run()
    web.answer = lambda _request: http(500)
    failed = probe.run()
    assert failed.is_reachable is False
    assert failed.target_duration_seconds is None
    assert failed.last_change == first.last_change
    web.answer = lambda _request: http(200, playlist(8, 3))
    after = probe.run()
    assert after.run.reason == "growing, h264"
    assert after.analysis == first.analysis


@pytest.mark.parametrize("says", ["offline", "starting", "error", "unknown"])
def test_nothing_is_looked_at_when_nothing_is_live(probe: Probe[StreamResult], web: Web, live: LiveStream, says: str) -> None:
    probe.go_live(live.url.replace("live.m3u8", "master.m3u8"))
    assert probe.run().analysis
    probe.go_live(f"{web.url}/live.m3u8")
    probe.poller_says(says)  # type: ignore[arg-type]
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("skipped", "the stream is not live")
    assert web.connections == 0
    # What the stream declared stays known: the speed test measures the line by it.
    assert found == StreamResult(
        written_at=found.written_at,
        written_monotonic=found.written_monotonic,
        run=found.run,
        target="main",
        source="one",
        variant_bandwidth_bits_per_second=4_500_000,
    )


@pytest.mark.parametrize(("cause", "reachable"), [("standing-still", True), ("not-open", False)])
def test_what_the_poller_has_given_up_is_a_fault(
    probe: Probe[StreamResult], web: Web, live: LiveStream, cause: Cause, reachable: bool
) -> None:
    """The player shows the holding picture then, and the URL is withdrawn: without a word here nobody would be told."""
    probe.go_live(live.url.replace("live.m3u8", "master.m3u8"))
    before = probe.run()
    probe.poller_says("starting", cause=cause, reason="The stream stands still")
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", "The stream stands still")
    assert found.is_reachable is reachable
    assert (found.analysis, found.last_change) == (before.analysis, before.last_change)


def test_without_a_poller_it_is_skipped(probe: Probe[StreamResult]) -> None:
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("skipped", "livekeep-poller is not running")


def test_without_the_url_it_is_skipped(probe: Probe[StreamResult]) -> None:
    probe.poller_says("live")
    assert probe.run().run.verdict == "skipped"
    assert "stream.json" in probe.findings().run.reason


# ffprobe


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('all is well')", "ffprobe's output is not JSON"),
        ("print('[]')", "ffprobe's output lists no streams"),
        ('print(\'{"streams": [{"codec_type": "data"}, 7]}\')', "neither picture nor sound"),
        (f"print('http://x/?{SIGNATURE}', file=sys.stderr); sys.exit(3)", "ffprobe cannot read the stream (it ended with 3)"),
    ],
)
def test_an_ffprobe_that_talks_nonsense_is_a_warning(probe: Probe[StreamResult], web: Web, script: str, words: str) -> None:
    probe.tool("ffprobe", script)
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.go_live(f"{web.url}/live.m3u8")
    found = probe.run()
    assert found.run.verdict == "warn"
    assert words in found.run.reason
    assert words in found.analysis_problem
    assert found.analysis
    assert found.analysis == Analysis(analysed_at=found.analysis.analysed_at)
    # It is not tried again at once.
    (probe.tools / "ffprobe").unlink()
    assert probe.run().analysis == found.analysis
    assert SIGNATURE not in probe.everything_told()


def test_without_ffprobe_it_says_how_to_install_it(probe: Probe[StreamResult], web: Web) -> None:
    probe.only_tools()
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.go_live(f"{web.url}/live.m3u8")
    found = probe.run()
    assert (found.run.verdict, found.analysis) == ("warn", None)
    assert found.run.reason == "open, ffprobe is not installed: sudo apt install ffmpeg"
    # Once it is there it is used at once.
    probe.tool("ffprobe", 'print(\'{"streams": [{"codec_type": "audio", "codec_name": "aac"}]}\')')
    assert probe.run().run.verdict == "ok"


# Streams without a playlist


def test_a_plain_web_stream_is_judged_by_its_analysis(probe: Probe[StreamResult], web: Web, live: LiveStream) -> None:
    segments = sorted(live.folder.glob("*.ts"), key=lambda path: path.stat().st_mtime)
    body = b"".join(path.read_bytes() for path in segments[:3])
    web.answer = lambda _request: http(200, body, Content_Type="video/mp2t")
    probe.go_live(f"{web.url}/stream.ts?it's=1")
    found = probe.run()
    assert found.run.verdict == "ok"
    assert found.run.reason.startswith("its server responds (there is no playlist to check), h264 160x90")
    assert (found.media_sequence, found.last_change, found.variants) == (None, None, None)
    web.answer = lambda _request: http(200, "<html>not on air", Content_Type="text/html")
    assert probe.run().run.reason == ANOTHER_KIND


def test_an_rtmp_server_that_is_none_fails(probe: Probe[StreamResult], web: Web) -> None:
    probe.configure("[probes.stream]\ntimeout_seconds = 4\n")
    probe.go_live(f"rtmp://127.0.0.1:{web.port}/live/key")
    found = probe.run()
    assert found.run.verdict == "fail"
    assert found.run.reason.startswith("the stream cannot be read: ffprobe")
    assert found.is_reachable is False


def test_a_real_rtmp_stream(probe: Probe[StreamResult], live: LiveStream) -> None:
    reservation = reserved()
    port = reservation.getsockname()[1]
    source = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10", "-c:v", "libx264", "-preset", "ultrafast", "-g", "5"]
    target = ["-pix_fmt", "yuv420p", "-f", "flv", "-listen", "1", f"rtmp://127.0.0.1:{port}/live/key"]
    # The connection of the look alone ends ffmpeg's little server: it is begun anew until the analysis meets it.
    script = f"while [ ! -e {probe.folder}/enough ]; do ffmpeg -nostdin -v quiet {' '.join([*source, *target])}; done"
    server = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        probe.go_live(f"rtmp://127.0.0.1:{port}/live/key")
        for _ in range(TRIES):
            found = probe.run()
            if found.run.verdict == "ok":
                break
            if found.analysis:
                probe.remember(analysis=None, analysis_problem="")
        assert found.run.reason == "its server responds (there is no playlist to check), h264 160x90 10 frames/s"
    finally:
        (probe.folder / "enough").touch()
        for pid in reversed(descendants(server.pid)):
            subprocess.run(["kill", "-KILL", str(pid)], check=False)
        server.wait()
        reservation.close()


# Through a proxy


def test_the_look_and_ffprobe_go_through_the_proxy(probe: Probe[StreamResult], web: Web) -> None:
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.tool("ffprobe", "open(FOLDER + '/proxy', 'w').write(os.environ['http_proxy']); sys.exit(1)")
    probe.configure(f'[vimeo]\nproxy = "{web.url}"\n')
    probe.go_live("http://stream.invalid/live.m3u8")
    assert probe.run().is_reachable
    assert web.requests[0].line.startswith("GET http://stream.invalid/live.m3u8?signature=")
    assert (probe.folder / "proxy").read_text() == web.url


def test_the_password_of_a_proxy_goes_to_the_proxy_and_nowhere_else(probe: Probe[StreamResult], web: Web) -> None:
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.tool("ffprobe", "open(FOLDER + '/was-run', 'w').close()")
    probe.configure(f'[vimeo]\nproxy = "http://anna:geheim@127.0.0.1:{web.port}"\n')
    probe.go_live("http://stream.invalid/live.m3u8")
    found = probe.run()
    assert web.requests[0].headers["proxy-authorization"] == "Basic YW5uYTpnZWhlaW0="
    assert found.run.verdict == "warn"
    assert "no analysis: vimeo.proxy has a password" in found.run.reason
    assert not (probe.folder / "was-run").exists()
    assert "geheim" not in probe.everything_told()
