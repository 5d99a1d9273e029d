"""livekeep-probe-stream as a process: real HLS by ffmpeg under the real ffprobe, and servers that behave as badly as they can."""

import contextlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livekeep.core.probe_results import Analysis, StreamResult
from livekeep.core.state import Cause
from tests.outside import PATIENCE_SECONDS, LiveStream, live_stream, wait_until
from tests.probes.running_probe import SIGNATURE, Probe, descendants, is_running
from tests.web import Reply, Web, http

SETTINGS = "[probes.stream]\ntimeout_seconds = 15\n"
HASTY = "[probes.stream]\ntimeout_seconds = 1\n"
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
    probe.tool("ffprobe", 'print(\'{"streams": [{"codec_type": "video", "codec_name": "h264"}]}\')')
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


def endless(beginning: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n" + beginning)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(MEGABYTE)

    return answer


def drip(connection: socket.socket) -> None:
    """A playlist, a byte at a time: no single wait is long."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n#EXTM3U\n#")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)


CANNOT = "the stream cannot be reached: "
ANOTHER_KIND = "the playlist is none: the answer is of another kind; does this network ask for a login?"
FAULTS: dict[str, tuple[Reply, str]] = {
    "endless garbage": (endless(b"\0\1\2"), ANOTHER_KIND),
    "broken off": (None, CANNOT + "the connection was interrupted"),
    "redirects in a circle": (http(302, Location="/again.m3u8"), CANNOT + "it redirects too often"),
    "redirect to a file": (
        http(302, Location="file:///etc/passwd"),
        CANNOT + "it redirects to an address that is not http or https",
    ),
    "redirect to nonsense": (http(302, Location="http://[nonsense/"), CANNOT + "its response is not valid HTTP"),
    "403": (http(403), CANNOT + "HTTP 403; has its signature expired?"),
    "404": (http(404), CANNOT + "HTTP 404"),
    "500": (http(500), CANNOT + "HTTP 500"),
    "no HTTP": (b"nonsense\r\n\r\n", CANNOT + "its response is not valid HTTP"),
    "garbage": (http(200, bytes(range(256))), ANOTHER_KIND),
    "ended": (http(200, playlist(1, 3, "#EXT-X-ENDLIST")), "the stream has ended, says its playlist, though it counts as live"),
    "empty": (http(200, playlist(1, 0)), "the playlist lists no segment"),
    "no variants": (http(200, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"), "the playlist names no variant"),
    "masters only": (
        http(200, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/x.m3u8\n"),
        "the playlist of each variant is none",
    ),
    "variant nowhere": (
        http(200, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://[nonsense/\n"),
        CANNOT + "its playlist contains no usable URL",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_playlist_fails_with_a_sentence_of_its_own(probe: Probe[StreamResult], web: Web, name: str) -> None:
    reply, sentence = FAULTS[name]
    probe.configure(SETTINGS)
    probe.tool("ffprobe", "sys.exit(1)")
    web.answer = lambda _request: reply
    probe.go_live(f"{web.url}/live.m3u8")
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", sentence)
    assert found.run.advice
    assert SIGNATURE not in probe.everything_told()
    assert web.url not in probe.everything_told()
    assert len(web.requests) <= 9


UNKNOWN: dict[str, Reply] = {
    "50 MB": http(200, b"#EXTM3U\n" + 50 * MEGABYTE),
    "endless": endless(b"#EXTM3U\n"),
    "slow drip": drip,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_playlist_without_end_is_left_to_ffprobe(probe: Probe[StreamResult], web: Web, name: str) -> None:
    probe.configure(HASTY)
    web.answer = lambda _request: UNKNOWN[name]
    probe.go_live(f"{web.url}/live.m3u8")
    probe.tool("ffprobe", 'print(\'{"streams": [{"codec_type": "video", "codec_name": "h264"}]}\')')
    assert (probe.run().run.verdict, probe.findings().run.reason) == ("ok", "its playlist is too long to be read, h264")
    assert (probe.findings().is_reachable, probe.findings().media_sequence) == (True, None)


def test_a_server_that_takes_connections_and_says_nothing(probe: Probe[StreamResult]) -> None:
    probe.configure(HASTY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        probe.go_live(f"http://127.0.0.1:{silent.getsockname()[1]}/live.m3u8")
        assert probe.run().run.reason == CANNOT + "no answer within 1 s"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://127.0.0.1:1/live.m3u8", "the connection is refused"),
        ("http://nowhere.invalid/live.m3u8", "its name cannot be looked up"),
        ("rtmp://127.0.0.1:1/live", "the connection is refused"),
    ],
)
def test_a_host_that_is_not_there(probe: Probe[StreamResult], url: str, word: str) -> None:
    probe.go_live(url)
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", CANNOT + word)
    assert found.is_reachable is False


def test_a_certificate_that_nobody_vouches_for(probe: Probe[StreamResult], tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *options], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Web(lambda _request: http(200, playlist(7, 3)), context) as server:
        probe.go_live(f"{server.url}/live.m3u8")
        assert probe.run().run.reason.startswith(CANNOT + "its certificate is not accepted (self")
        assert not server.requests


def test_a_secure_address_of_a_server_that_is_not(probe: Probe[StreamResult]) -> None:
    def answer_nonsense(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.0 400 Speak plainly\r\n\r\n" * 100)
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_nonsense, args=(listener,), daemon=True).start()
        probe.go_live(f"https://127.0.0.1:{listener.getsockname()[1]}/live.m3u8")
        assert probe.run().run.reason == CANNOT + "no secure connection can be made"


def test_what_was_known_of_the_stream_outlasts_one_look_that_failed(probe: Probe[StreamResult], web: Web) -> None:
    probe.tool("ffprobe", 'print(\'{"streams": [{"codec_type": "video", "codec_name": "h264"}]}\')')
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
        ("print('all is well')", "what ffprobe printed is no JSON"),
        ("print('[' * 100000)", "what ffprobe printed is no JSON"),
        ("print('[]')", "what ffprobe printed names no streams"),
        ('print(\'{"streams": [{"codec_type": "data"}, 7]}\')', "neither picture nor sound"),
        (f"print('http://x/?{SIGNATURE}', file=sys.stderr); sys.exit(3)", "ffprobe cannot read the stream (it ended with 3)"),
        ("os.kill(os.getpid(), 11)", "ffprobe cannot read the stream (it ended with -11)"),
        ("while True: print('x' * 1000)", "ffprobe prints more than 1024 KiB"),
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


def test_an_ffprobe_that_hangs_is_killed_with_what_it_started(probe: Probe[StreamResult], web: Web) -> None:
    probe.configure("[probes.stream]\ntimeout_seconds = 3\n")
    script = """
child = subprocess.Popen(["sleep", "600"])
open(FOLDER + "/new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(FOLDER + "/new", FOLDER + "/pids")
time.sleep(600)
"""
    probe.tool("ffprobe", script)
    web.answer = lambda _request: http(200, playlist(7, 3))
    probe.go_live(f"{web.url}/live.m3u8")
    found = probe.run()
    assert (found.run.verdict, found.analysis_problem) == ("warn", "ffprobe did not end within 3 s and was killed")
    pids = [int(word) for word in (probe.folder / "pids").read_text().split()]
    assert len(pids) == 2
    wait_until("both to be gone", lambda: not any(map(is_running, pids)))


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


def test_the_signature_is_in_no_argument_list_and_no_environment(probe: Probe[StreamResult], live: LiveStream) -> None:
    """Looked at in /proc while probe and ffprobe run; ffprobe gets the signed URL all the same."""
    probe.tool(
        "ffprobe",
        "open(FOLDER + '/is-there', 'w').close()\n"
        "while not os.path.exists(FOLDER + '/go-on'): time.sleep(0.02)\n"
        "text = sys.stdin.read()\n"
        "open(FOLDER + '/was-given', 'w').write(text)\n"
        "sys.exit(subprocess.run(['/usr/bin/ffprobe', *sys.argv[1:]], input=text.encode()).returncode)",
    )
    probe.go_live(live.url)
    process = probe.start()
    try:
        wait_until("ffprobe to run", (probe.folder / "is-there").exists)
        seen = b""
        pids = descendants(process.pid)
        for pid in pids:
            seen += Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        (probe.folder / "go-on").touch()
        assert probe.finish(process) == 0
    assert len(pids) >= 2
    assert b"-protocol_whitelist" in seen
    assert SIGNATURE.encode() not in seen
    assert b"live.m3u8" not in seen
    assert SIGNATURE in (probe.folder / "was-given").read_text()
    assert probe.findings().run.verdict == "ok"
    assert SIGNATURE not in probe.everything_told()


# Streams without a playlist


def test_a_plain_web_stream_is_judged_by_its_analysis(probe: Probe[StreamResult], web: Web, live: LiveStream) -> None:
    segments = sorted(live.folder.glob("*.ts"), key=lambda path: path.stat().st_mtime)
    body = b"".join(path.read_bytes() for path in segments[:3])
    web.answer = lambda _request: http(200, body, Content_Type="video/mp2t")
    probe.go_live(f"{web.url}/stream.ts?it's=1")
    found = probe.run()
    assert found.run.verdict == "ok"
    assert found.run.reason.startswith("its server answers (it has no playlist to look at), h264 160x90")
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
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
        assert found.run.reason == "its server answers (it has no playlist to look at), h264 160x90 10 frames/s"
    finally:
        (probe.folder / "enough").touch()
        for pid in reversed(descendants(server.pid)):
            subprocess.run(["kill", "-KILL", str(pid)], check=False)
        server.wait()


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


def test_a_proxy_that_refuses_the_way_to_a_secure_server(probe: Probe[StreamResult], web: Web) -> None:
    web.answer = lambda _request: http(403)
    probe.configure(f'[vimeo]\nproxy = "{web.url}"\n')
    probe.go_live("https://stream.invalid/live.m3u8")
    assert probe.run().run.reason == CANNOT + "the proxy refuses the connection (HTTP 403)"
    assert web.requests[0].line.startswith("CONNECT stream.invalid:443")
