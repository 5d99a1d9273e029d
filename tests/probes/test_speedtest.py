"""livekeep-probe-speedtest as a process: a local server measures, stand-ins play the tools by what the real ones print."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest

from livekeep.core import state
from livekeep.core.probe_results import Run, SpeedtestResult, StreamResult
from livekeep.core.state import PollerState
from livekeep.probes.speedtest import tools
from livekeep.probes.speedtest.description import INSTALL
from livekeep.probes.speedtest.measurement import is_due, reason_to_wait
from livekeep.probes.speedtest.transfer import Used
from tests.outside import QuietHandler, wait_until
from tests.probes.running_probe import SIGNATURE, Probe
from tests.web import Reply, Request, Web, http

NOW = 1_790_000_000.0
# Printed by librespeed-cli 1.0.11 of a local server, the server's name changed; its 0 is for what it did not measure.
LIBRESPEED = (
    '[{"timestamp":"2026-11-21T13:50:19.658653898Z","server":{"name":"Local","url":"http://127.0.0.1:8080/"},"client":{"ip":"",'
    '"hostname":"","city":"","region":"","country":"","loc":"","org":"","postal":"","timezone":""},"bytes_sent":8847360,'
    '"bytes_received":163995648,"ping":14.5,"jitter":0,"upload":9.1,"download":48.2,"share":""}]'
)
# The keys of speedtest-cli 2.1.3.
SPEEDTEST_CLI = (
    '{"download": 48200000.0, "upload": 9100000.0, "ping": 14.5, "server": {"url": "http://x/", "latency": 14.5}, "timestamp":'
    ' "2026-11-21T13:50:19Z", "bytes_sent": 12000000, "bytes_received": 61000000, "share": null, "client": {"ip": "192.0.2.1"}}'
)


@pytest.fixture
def probe(tmp_path: Path) -> Probe[SpeedtestResult]:
    probe = Probe("speedtest", SpeedtestResult, tmp_path)
    probe.only_tools()
    return probe


class Sink(ThreadingHTTPServer):
    """Takes what is posted, and counts it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SinkHandler)
        self.taken_bytes = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class SinkHandler(QuietHandler):
    server: Sink

    def do_POST(self) -> None:  # noqa: N802 – the base class's own name
        wanted = int(self.headers["Content-Length"])
        while wanted > 0 and (block := self.rfile.read(min(wanted, 65536))):
            wanted -= len(block)
            self.server.taken_bytes += len(block)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Line:
    """The other end of a line: sends and takes zero bytes, as fast as it is told, and counts them."""

    def __init__(self) -> None:
        self.web = Web(self._answer)
        self.download: Reply = self._send
        self.sink = Sink()
        self.upload: Reply | Literal["taken"] = "taken"
        self.pause_seconds = 0.01
        self.sent_bytes = 0

    @property
    def settings(self) -> str:
        upload = f"http://127.0.0.1:{self.sink.server_port}" if self.upload == "taken" else self.web.url
        addresses = f'download_url = "{self.web.url}/down"\nupload_url = "{upload}/up"\n'
        return f'[probes.speedtest]\ntool = "url"\nduration_seconds = 1\n{addresses}'

    def _answer(self, request: Request) -> Reply:
        return self.download if request.path == "/down" or self.upload == "taken" else self.upload

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not self.web.is_closing.wait(self.pause_seconds):
                connection.sendall(bytes(16384))
                self.sent_bytes += 16384


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.web.close()
    line.sink.shutdown()
    line.sink.server_close()


def refuse(connection: socket.socket) -> None:
    """Say no at once, and let the other side finish, as web servers do."""
    connection.sendall(http(405))
    while connection.recv(65536):
        pass


# By our own client


def test_down_and_up_are_measured_and_counted(probe: Probe[SpeedtestResult], line: Line) -> None:
    probe.configure(line.settings)
    found = probe.run()
    assert found.run.verdict == "ok", found.run
    assert re.fullmatch(r"\S+ Mbit/s down, \S+ up, \S+ ms", found.run.reason)
    assert found.tool == "url"
    assert found.download_bytes_per_second
    assert found.upload_bytes_per_second
    assert found.latency_seconds
    assert 0 < found.latency_seconds < 5
    # 16 KiB each 10 ms or later: never faster than that, but for what the buffers held at the start.
    assert 10_000 < found.download_bytes_per_second < 4_000_000
    assert 0 < found.received_bytes_total <= line.sent_bytes
    assert found.sent_bytes_total == line.sink.taken_bytes
    again = probe.run()
    assert again.received_bytes_total > found.received_bytes_total
    assert again.sent_bytes_total > found.sent_bytes_total


def test_without_an_address_for_it_there_is_no_upload(probe: Probe[SpeedtestResult], line: Line) -> None:
    probe.configure(line.settings.partition("upload_url")[0])
    found = probe.run()
    assert (found.run.verdict, found.upload_bytes_per_second, found.sent_bytes_total) == ("ok", None, 0)
    assert " up" not in found.run.reason


def test_a_file_that_ends_before_its_time_is_measured_by_its_own(probe: Probe[SpeedtestResult], line: Line) -> None:
    line.download = http(200, bytes(3_000_000))
    probe.configure(line.settings.replace("duration_seconds = 1", "duration_seconds = 30").partition("upload_url")[0])
    found = probe.run()
    assert (found.run.verdict, found.received_bytes_total) == ("ok", 3_000_000)
    assert found.run.duration_seconds < 25


@pytest.mark.parametrize(
    ("side", "reply", "sentence"),
    [
        ("download", http(404), "the download failed: HTTP 404"),
        ("download", http(200, bytes(1000)), "the download failed: 1 kB is too little to measure; use a larger file"),
        ("upload", refuse, "the upload failed: HTTP 405"),
    ],
)
def test_a_transfer_that_is_refused_fails_and_keeps_the_last_measurement(
    probe: Probe[SpeedtestResult], line: Line, side: str, reply: Reply, sentence: str
) -> None:
    probe.configure(line.settings)
    good = probe.run()
    setattr(line, side, reply)
    probe.configure(line.settings)
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", sentence)
    assert found.run.advice
    assert (found.measured_at, found.download_bytes_per_second) == (good.measured_at, good.download_bytes_per_second)
    assert found.received_bytes_total >= good.received_bytes_total
    if side == "upload":
        # What the failed test had used by then.
        assert found.received_bytes_total > good.received_bytes_total


def test_a_server_that_is_not_there(probe: Probe[SpeedtestResult]) -> None:
    probe.configure(f'[probes.speedtest]\ntool = "url"\ndownload_url = "http://127.0.0.1:1/?{SIGNATURE}"\n')
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", "the download failed: the connection is refused")
    assert SIGNATURE not in probe.everything_told()


def test_a_line_too_slow_for_the_stream_is_a_warning(probe: Probe[SpeedtestResult]) -> None:
    probe.tool("librespeed-cli", f"print({LIBRESPEED!r})")
    (probe.root / "probe-stream").mkdir()
    for bandwidth, verdict in ((32_000_000, "ok"), (33_000_000, "warn"), (None, "ok")):
        state.write(state.stamped(StreamResult(variant_bandwidth_bits_per_second=bandwidth)), probe.root)
        assert probe.run().run.verdict == verdict, bandwidth
        assert ("needs 49.5 Mbit/s" in probe.findings().run.reason) is (verdict == "warn")


# By the tools


@pytest.mark.parametrize(
    ("name", "printed", "options", "received", "sent"),
    [
        ("librespeed-cli", LIBRESPEED, "--json --secure --no-icmp --duration 3", 163_995_648, 8_847_360),
        ("speedtest-cli", SPEEDTEST_CLI, "--json --secure", 61_000_000, 12_000_000),
    ],
)
def test_what_the_real_tools_print_is_understood(
    probe: Probe[SpeedtestResult], name: str, printed: str, options: str, received: int, sent: int
) -> None:
    probe.configure("[probes.speedtest]\nduration_seconds = 3\n")
    probe.tool(name, f"open(FOLDER + '/options', 'w').write(' '.join(sys.argv[1:]))\nprint({printed!r})")
    found = probe.run()
    assert (probe.folder / "options").read_text() == options
    assert (found.run.verdict, found.run.reason) == ("ok", "48.2 Mbit/s down, 9.1 up, 14.5 ms")
    assert found.tool == name
    assert found.download_bytes_per_second == pytest.approx(6_025_000)
    assert found.upload_bytes_per_second == pytest.approx(1_137_500)
    assert found.latency_seconds == pytest.approx(0.0145)
    assert (found.received_bytes_total, found.sent_bytes_total) == (received, sent)
    assert probe.run().received_bytes_total == 2 * received


def test_the_better_tool_is_taken_and_the_other_on_demand(probe: Probe[SpeedtestResult]) -> None:
    probe.tool("librespeed-cli", f"print({LIBRESPEED!r})")
    probe.tool("speedtest-cli", f"print({SPEEDTEST_CLI!r})")
    assert probe.run().tool == "librespeed-cli"
    probe.configure('[probes.speedtest]\ntool = "speedtest-cli"\n')
    assert probe.run().tool == "speedtest-cli"


@pytest.mark.parametrize(
    ("settings", "reason", "advice"),
    [
        ("", "no speed test tool is installed", INSTALL),
        ('tool = "librespeed-cli"', "librespeed-cli is not installed", INSTALL),
        ('tool = "url"', "no download URL is set", "set probes.speedtest.download_url"),
    ],
)
def test_without_a_tool_it_says_what_to_install(probe: Probe[SpeedtestResult], settings: str, reason: str, advice: str) -> None:
    probe.configure(f"[probes.speedtest]\n{settings}\n")
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("skipped", reason)
    assert found.run.advice.startswith(advice)


def test_an_address_is_used_when_no_tool_is_there(probe: Probe[SpeedtestResult], line: Line) -> None:
    probe.configure(line.settings.replace('tool = "url"', 'tool = "auto"'))
    assert probe.run().tool == "url"


@pytest.mark.parametrize(
    ("name", "script", "words"),
    [
        ("librespeed-cli", "print('Retrieving configuration…')", "librespeed-cli's output is not JSON"),
        ("speedtest-cli", f"print('http://x/?{SIGNATURE}', file=sys.stderr); sys.exit(2)", "speedtest-cli ended with 2"),
    ],
)
def test_a_tool_that_does_not_do_its_work_fails_the_test(
    probe: Probe[SpeedtestResult], name: str, script: str, words: str
) -> None:
    probe.tool(name, script)
    found = probe.run()
    assert found.run.verdict == "fail"
    assert words in found.run.reason
    assert found == SpeedtestResult(written_at=found.written_at, written_monotonic=found.written_monotonic, run=found.run)
    assert SIGNATURE not in probe.everything_told()


@pytest.mark.parametrize("tool", ["librespeed-cli", "speedtest-cli"])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a result"),
        (b'{"download": 0, "upload": 5}', "measured no download"),
        (b'{"download": NaN}', "measured no download"),
        (b'{"download": 1e300}', "measured no download"),
        (b'{"download": true}', "measured no download"),
    ],
)
def test_what_is_no_result(tool: str, output: bytes, words: str) -> None:
    with pytest.raises(tools.MeasureError, match=words):
        tools.measurement_of(tool, output, Used())


def test_a_tool_without_a_download_has_used_bytes_all_the_same() -> None:
    used = Used()
    with pytest.raises(tools.MeasureError):
        tools.measurement_of("librespeed-cli", b'[{"download": 0, "bytes_received": 1000, "bytes_sent": 20}]', used)
    assert used == Used(1000, 20)


def test_nonsense_beside_a_good_download_is_unknown(probe: Probe[SpeedtestResult]) -> None:
    probe.tool(
        "speedtest-cli", 'print(\'{"download": 8e6, "upload": -1, "ping": 1e9, "bytes_sent": "x", "bytes_received": -5}\')'
    )
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("ok", "8 Mbit/s down")
    assert (found.upload_bytes_per_second, found.latency_seconds) == (None, None)
    assert (found.received_bytes_total, found.sent_bytes_total) == (0, 0)


def test_a_stream_that_begins_ends_the_test(probe: Probe[SpeedtestResult]) -> None:
    probe.tool("speedtest-cli", f"print({SPEEDTEST_CLI!r})")
    good = probe.run()
    probe.tool("speedtest-cli", "open(FOLDER + '/started', 'w').close(); time.sleep(600)")
    process = probe.start()
    wait_until("the tool to run", (probe.folder / "started").exists)
    probe.player_shows("stream")
    assert probe.finish(process) == 0
    found = probe.findings()
    assert (found.run.verdict, found.run.reason) == ("skipped", "the test was cancelled: the stream is on the screen")
    assert (found.measured_at, found.received_bytes_total) == (good.measured_at, good.received_bytes_total)


def test_a_tool_is_told_of_a_proxy_but_of_no_password(probe: Probe[SpeedtestResult]) -> None:
    probe.tool("speedtest-cli", f"open(FOLDER + '/proxy', 'w').write(os.environ['https_proxy'])\nprint({SPEEDTEST_CLI!r})")
    probe.configure('[vimeo]\nproxy = "http://proxy.example:3128"\n')
    assert probe.run().run.verdict == "ok"
    assert (probe.folder / "proxy").read_text() == "http://proxy.example:3128"
    probe.configure('[vimeo]\nproxy = "http://anna:geheim@proxy.example:3128"\n')
    found = probe.run()
    assert found.run.verdict == "fail"
    assert "vimeo.proxy has a password" in found.run.reason
    assert "geheim" not in probe.everything_told()


# Whether it may run


def test_a_test_waits_while_the_stream_is_live_and_the_last_measurement_stays(probe: Probe[SpeedtestResult]) -> None:
    probe.tool("speedtest-cli", f"print({SPEEDTEST_CLI!r})")
    probe.poller_says("offline")
    assert probe.finish(probe.start("--may-run")) == 0
    good = probe.run()
    probe.poller_says("live")
    assert probe.finish(probe.start("--may-run")) == 1
    found = probe.findings()
    assert (found.run.verdict, found.run.reason, found.run.skips) == ("skipped", "the stream is live", 1)
    assert found.download_bytes_per_second == good.download_bytes_per_second
    # By hand without the condition the same holds.
    assert probe.run().run.skips == 2
    assert probe.findings().measured_at == good.measured_at


def test_the_timer_is_told_no_until_a_test_is_due_and_nothing_is_written(probe: Probe[SpeedtestResult]) -> None:
    probe.tool("speedtest-cli", f"print({SPEEDTEST_CLI!r})")
    good = probe.run()
    assert probe.finish(probe.start("--may-run")) == 0
    probe.environment["TRIGGER_UNIT"] = "livekeep-probe-speedtest.timer"
    assert probe.finish(probe.start("--may-run")) == 1
    assert probe.findings() == good
    long_ago = time.time() - 90_000
    probe.remember(measured_at=long_ago, run=replace(good.run, last_run=long_ago))
    assert probe.finish(probe.start("--may-run")) == 0


def test_a_state_that_cannot_be_read_puts_the_test_off(probe: Probe[SpeedtestResult]) -> None:
    (probe.root / "poller/state.json").write_text("{")
    assert probe.finish(probe.start("--may-run")) == 1
    assert "it is unknown whether the stream is live" in probe.findings().run.reason


@pytest.mark.parametrize(
    ("poller", "reason"),
    [
        (PollerState(state="live"), "the stream is live"),
        (PollerState(state="starting"), "the stream is about to start"),
        (PollerState(state="offline"), ""),
        (PollerState(state="offline", next_start=NOW + 899), "the stream starts in 15 min"),
        (PollerState(state="offline", next_start=NOW + 901), ""),
        (PollerState(state="offline", next_start=NOW - 1), ""),
        (state.StateAbsentError("absent"), ""),
    ],
)
def test_why_a_test_waits(poller: PollerState | state.StateAbsentError, reason: str) -> None:
    absent = state.StateAbsentError("absent")
    assert reason_to_wait(poller, absent, NOW, 900.0) == reason


@pytest.mark.parametrize(
    ("measured_ago", "ended_ago", "verdict", "interval", "due"),
    [
        (None, None, "skipped", 86400, True),
        (3600, 3580, "ok", 86400, False),
        (85700, 85680, "ok", 86400, False),
        (85900, 85880, "ok", 86400, True),
        (None, 3600, "fail", 86400, False),
        (None, 3600, "skipped", 86400, True),
        (3600, 60, "skipped", 86400, False),
        (90000, 60, "skipped", 86400, True),
        # The predecessor's interval: the timer ticks 300 s after the last test began.
        (300, 270, "ok", 300, True),
        (100, 70, "ok", 300, False),
        # The clock was set back.
        (-3600, -3580, "ok", 86400, True),
    ],
)
def test_when_a_test_is_due(
    measured_ago: float | None, ended_ago: float | None, verdict: str, interval: float, due: bool
) -> None:
    run = Run(verdict, last_run=0.0 if ended_ago is None else NOW - ended_ago)  # type: ignore[arg-type]
    previous = SpeedtestResult(run=run, measured_at=None if measured_ago is None else NOW - measured_ago)
    assert is_due(previous, interval, NOW) is due
