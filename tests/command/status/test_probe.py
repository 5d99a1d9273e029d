"""livekeep probe: running one through its unit, what it shows, and what it says when there is nothing to show."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.command.status import probe_text
from livekeep.command.status.probe import WITHOUT_AIR
from livekeep.core.probe_results import (
    PROBES,
    Analysis,
    Connector,
    HostResult,
    Interface,
    Lookup,
    NetworkResult,
    Ping,
    ProbeResult,
    Run,
    SpeedtestResult,
    StreamResult,
    YoutubeResult,
    YoutubeVideo,
)
from livekeep.status.health import Clock
from livekeep.system import terminal
from tests.command.box import HERE, REPOSITORY, Box, as_nobody

NOT_INSTALLED = "the health part is not installed: run install.sh --with health"
NOW = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
RUN = Run("ok", "All hosts answer", "", NOW - 7200, NOW - 12, duration_seconds=4.07, interval_seconds=30.0, successes=120)
CLOCK = Clock(NOW, 1012.0)


# All of what one found


def shown(findings: ProbeResult) -> dict[str, str]:
    """The rows of a report by their label."""
    text = probe_text.report("it", replace(findings, written_monotonic=1000.0), CLOCK)
    return dict(re.findall(r"^(\S+(?: \S+)*?)  +(.+)$", text, re.MULTILINE))


def test_what_a_run_says_of_itself() -> None:
    rows = shown(NetworkResult(run=replace(RUN, failures=2, skips=3)))
    assert rows["Ran"] == "12 s ago, took 4.07 s, every 30 s"
    assert rows["So far"] == "since boot 120 good runs, 2 failed, 3 skipped"
    assert rows["Since"] == "ok since 10:00:00 (for 2 h)"
    assert "Do" not in rows
    assert "Last ok" not in rows


def test_a_failed_and_a_silent_run() -> None:
    failed = replace(RUN, verdict="fail", reason="No host answers", advice="check the cable", last_success=NOW - 90)
    text = probe_text.report("network", NetworkResult(run=failed, written_monotonic=500.0), CLOCK)
    assert text.startswith("network: fail: No host answers\n\nDo ")
    assert re.search(r"^Last ok +11:58:30$", text, re.MULTILINE)
    assert "it has missed its runs since" in text
    assert probe_text.report("host", HostResult(run=Run("ok")), CLOCK).startswith("host: ok\n")


def test_network() -> None:
    rows = shown(
        NetworkResult(
            run=RUN,
            pings=(
                Ping("8.8.8.8", "ipv4", 5, 5, rtt_seconds=0.0123, rtt_max_seconds=0.0141, jitter_seconds=0.0009),
                Ping("1.1.1.1", "ipv4", 5, 0),
                Ping("vimeo.com", "ipv6", problem="its name is not known"),
            ),
            lookups=(
                Lookup("api.vimeo.com", "10.0.0.1", 0.018),
                Lookup("other.example", "10.0.0.1", None, "no answer in 2 s"),
                Lookup("third.example", "", None, "no resolver configured"),
            ),
            interfaces=(Interface("eth0", True, ("192.168.1.20",), 1_234_000_000, 63_000), Interface("wlan0", False)),
        )
    )
    assert rows["Ping 8.8.8.8 (IPv4)"] == "5 of 5 answered, mean 12 ms, longest 14 ms, jitter 0.9 ms"
    assert rows["Ping 1.1.1.1 (IPv4)"] == "0 of 5 answered"
    assert rows["Ping vimeo.com (IPv6)"] == "nothing sent: its name is not known"
    assert rows["Name api.vimeo.com"] == "18 ms by 10.0.0.1"
    assert rows["Name other.example"] == "no answer in 2 s (asked 10.0.0.1)"
    assert rows["Name third.example"] == "no resolver configured"
    assert rows["Device eth0"] == "link up, 192.168.1.20, received 1.23 GB, sent 63 kB"
    assert rows["Device wlan0"] == "no link"


def test_stream() -> None:
    analysis = Analysis(NOW - 3600, "h264", "aac", 1920, 1080, 29.97, 2, 44100)
    rows = shown(
        StreamResult(
            run=RUN, target="main", is_reachable=True, media_sequence=815, last_change=NOW - 3, target_duration_seconds=6.0,
            variants=3, variant_bandwidth_bits_per_second=4_500_000, analysis=analysis,
        )
    )  # fmt: skip
    assert rows["Stream"] == '"main"'
    assert rows["Playlist"] == "reachable, at number 815, last grew 3 s ago"
    assert rows["Segments"] == "at most 6 s long"
    assert rows["Variants"] == "3, up to 4.5 Mbit/s"
    assert rows["Video"] == "h264, 1920x1080, 29.97 frames/s"
    assert rows["Audio"] == "aac, 2 channels, 44.1 kHz"
    assert rows["Analysed"] == "11:00:00 (1 h ago)"


def test_a_stream_that_is_gone_and_one_that_is_off_air() -> None:
    rows = shown(StreamResult(run=RUN, target="main", is_reachable=False, analysis_problem="ffprobe gave up"))
    assert (rows["Playlist"], rows["Analysis"]) == ("not reachable", "ffprobe gave up")
    assert set(shown(StreamResult(run=RUN, target="main"))) == {"Stream", "Ran", "So far", "Since"}


def test_speedtest() -> None:
    rows = shown(
        SpeedtestResult(
            run=RUN, tool="librespeed-cli", measured_at=NOW - 7200, download_bytes_per_second=6_025_000.0,
            upload_bytes_per_second=1_400_000.0, latency_seconds=0.0124, received_bytes_total=63_000_000, sent_bytes_total=999,
        )
    )  # fmt: skip
    assert rows["Measured"] == "10:00:00 by librespeed-cli"
    assert (rows["Download"], rows["Upload"], rows["Latency"]) == ("48.2 Mbit/s", "11.2 Mbit/s", "12 ms")
    assert rows["Data used"] == "63 MB received, 999 B sent since boot"
    assert set(shown(SpeedtestResult(run=RUN))) == {"Data used", "Ran", "So far", "Since"}


def test_host() -> None:
    rows = shown(
        HostResult(
            run=RUN, throttled=("under_voltage",), throttled_since_boot=("under_voltage", "throttled"), under_voltage_events=2,
            connectors=(Connector("HDMI-A-1", True, "1920x1080"), Connector("HDMI-A-2", False), Connector("DSI-1")),
            ext4_errors={"mmcblk0p2": 3}, card_is_good=True, card_checked_at=NOW - 720,
        )
    )  # fmt: skip
    assert rows["Throttling"] == "under-voltage; since boot: under-voltage, throttled"
    assert rows["Under-voltage"] == "began 2 times since boot, as seen from run to run"
    assert rows["Output HDMI-A-1"] == "connected, 1920x1080"
    assert rows["Output HDMI-A-2"] == "not connected"
    assert rows["Output DSI-1"] == "not known whether connected"
    assert rows["Files on mmcblk0p2"] == "3 errors on record"
    assert rows["Card"] == "data can be written and read back, checked 12 min ago"


def test_a_host_that_can_say_little() -> None:
    bare = shown(HostResult(run=RUN))
    assert (bare["Throttling"], bare["Card"]) == ("this board has no sensor", "not checked")
    assert "Under-voltage" not in bare
    bad = HostResult(run=RUN, throttled=(), card_is_good=False, card_problem="It is read-only")
    some = shown(bad)
    assert some["Card"] == "It is read-only"
    assert some["Throttling"] == "none now (this board reports only under-voltage)"


def test_figures() -> None:
    assert [terminal.short_time(value) for value in (0.0004, 0.00123, 0.012, 0.4567, 1, 4.126, 59.9, 600)] == [
        "0.4 ms", "1.2 ms", "12 ms", "457 ms", "1 s", "4.13 s", "59.9 s", "10 min",
    ]  # fmt: skip
    assert [terminal.size(value) for value in (0, 999, 1000, 999_600, 63_000_000, 5 * 10**9, 27 * 10**12)] == [
        "0 B", "999 B", "1 kB", "1 MB", "63 MB", "5 GB", "27 TB",
    ]  # fmt: skip


# The command


@pytest.fixture
def health_box(box: Box) -> Box:
    """The health part is installed, and `systemctl start` of the host probe really runs it."""
    for name in PROBES:
        box.unit(f"livekeep-probe-{name}.service", "inactive", "dead")
    program = f"{sys.executable} -I {REPOSITORY}/bin/livekeep-probe host"
    box.install("fake-systemctl", (HERE / "fake-systemctl").read_text())
    box.install(
        "systemctl",
        f'#!/bin/sh\n"{box.programs}/fake-systemctl" "$@" || exit\n'
        f'case "$*" in "start livekeep-probe-host.service") exec {program} ;; esac\n',
    )
    (box.root / "var/lib/livekeep/probe-host").mkdir(parents=True)
    box.configure()
    return box


def as_root(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the user id 0, which may be one of a user namespace only."""
    if os.geteuid() == 0:
        return box.run(*arguments)
    become = ["unshare", "--user", "--map-root-user", *box.command(*arguments)]
    return subprocess.run(become, capture_output=True, text=True, timeout=60, check=False, env=box.environment)


def test_youtube_s_words_are_told() -> None:
    live = YoutubeVideo("main", "dQw4w9WgXcQ", "live", "A day", started_at=NOW - 60, viewers=12)
    told = shown(YoutubeResult(run=RUN, videos=(live, YoutubeVideo("hall", "AAAAAAAAAAA"))))
    assert re.fullmatch(r'dQw4w9WgXcQ "A day": live since .* \(for 1 min\), 12 viewers', told["Channel main"])
    assert told["Channel hall"] == "AAAAAAAAAAA: not known"


def test_it_is_run_through_its_unit_and_shown(health_box: Box) -> None:
    health_box.file("sys/fs/ext4/mmcblk0p2/errors_count", "0\n")
    done = as_root(health_box, "probe", "host")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("host: ok: ")
    assert re.search(r"^Files on mmcblk0p2 +0 errors on record$", done.stdout, re.MULTILINE)
    assert health_box.told() == ["start livekeep-probe-host.service"]
    assert done.stderr == ""
    health_box.file("sys/fs/ext4/mmcblk0p2/errors_count", "9\n")
    done = as_root(health_box, "probe", "host", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["findings"]["host"]["run"]["verdict"] == "fail"
    assert document["findings"]["host"]["ext4_errors"] == {"mmcblk0p2": 9}


def test_the_findings_of_a_probe_that_is_off_are_not_kept(health_box: Box) -> None:
    health_box.configure("[probes.host]\nenabled = false\n")
    assert as_root(health_box, "probe", "host").stdout.startswith("host: ")
    assert health_box.told()[-1] == "clean --what=runtime livekeep-probe-host.service"


def test_a_unit_that_fails_to_run_cannot_tell(health_box: Box) -> None:
    health_box.systemd.joinpath("fail-start").write_text("Job for livekeep-probe-host.service failed.\n")
    done = as_root(health_box, "probe", "host")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "Job for livekeep-probe-host.service failed.; see: journalctl -u livekeep-probe-host.service -n 20" in done.stderr


def test_a_unit_whose_condition_does_not_hold(health_box: Box) -> None:
    health_box.write(SpeedtestResult(run=Run("ok", "48 Mbit/s", interval_seconds=86400.0)))
    done = as_root(health_box, "probe", "speedtest")
    assert done.returncode == 0
    assert done.stdout.startswith("speedtest: ok: 48 Mbit/s\n")
    assert "this takes up to 40 s and uses the whole line" in done.stderr.splitlines()[0]
    assert "It did not run now" in done.stderr.splitlines()[1]


def test_a_result_that_cannot_be_read_or_is_absent(health_box: Box) -> None:
    done = as_root(health_box, "probe", "network")
    assert (done.returncode, done.stderr) == (3, "network: has not run yet; now: sudo livekeep probe network\n")
    done = as_root(health_box, "probe")
    assert (done.returncode, len(done.stdout.splitlines())) == (3, len(PROBES))
    health_box.file("run/livekeep/probe-network/state.json", "{")
    done = as_root(health_box, "probe", "network")
    assert done.returncode == 3
    assert "probe-network/state.json: is not a state of this version" in done.stderr


def test_without_channels_there_is_nothing_to_ask_youtube(health_box: Box) -> None:
    (health_box.systemd / "livekeep-probe-youtube.service").unlink()
    done = as_root(health_box, "probe", "youtube")
    assert (done.returncode, done.stderr) == (3, f"{WITHOUT_AIR}\n")
    assert WITHOUT_AIR in as_root(health_box, "probe").stdout.splitlines()


@pytest.mark.parametrize("arguments", [("probe",), ("probe", "network"), ("probe", "host", "--json")])
def test_without_the_health_part(box: Box, arguments: tuple[str, ...]) -> None:
    done = as_root(box, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"{NOT_INSTALLED}\n")
    assert box.told() == []


def test_without_root_the_last_result_is_shown(open_box: Box) -> None:
    open_box.write(NetworkResult(run=Run("warn", "A host is slow", interval_seconds=86400.0)), age_seconds=7500)
    for folder in ("", "/probe-network", "/probe-network/state.json"):
        (open_box.root / f"run/livekeep{folder}").chmod(0o755)
    done = as_nobody(open_box, "probe", "network")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("network: warn: A host is slow\n")
    assert "2 h 5 min ago" in done.stdout
    assert done.stderr == "This is the last result. To run the probe now: sudo livekeep probe network\n"
    assert open_box.told() == []


def test_without_a_name_a_line_for_each(health_box: Box) -> None:
    health_box.configure("[probes.stream]\nenabled = false\n")
    health_box.write(NetworkResult(run=Run("ok", "All hosts answer", interval_seconds=30.0)))
    done = as_root(health_box, "probe")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["PROBE", "VERDICT", "LAST", "RUN", "REASON"]
    assert re.fullmatch(r"network +ok +\d+ s ago +All hosts answer", lines[1])
    assert lines[2] == "stream: disabled by probes.stream.enabled in livekeep.toml; once: sudo livekeep probe stream"
    assert lines[3] == "speedtest: has not run yet; now: sudo livekeep probe speedtest"
    health_box.write(HostResult(run=Run("fail", "The card is bad", interval_seconds=60.0)))
    assert as_root(health_box, "probe").returncode == 1
    document = json.loads(as_root(health_box, "probe", "--json").stdout)
    assert set(document["findings"]) == {"network", "host"}


def test_an_unknown_probe(health_box: Box) -> None:
    done = as_root(health_box, "probe", "weather")
    assert done.returncode == 2
    assert all(name in done.stderr for name in PROBES)


def test_the_completion_knows_the_installed_probes(tmp_path: Path) -> None:
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for name in ("host", "speedtest", "stream"):
        (units / f"livekeep-probe-{name}.timer").touch()
    words = f"LIVEKEEP_ROOT={tmp_path}; COMP_WORDS=(livekeep probe s); COMP_CWORD=2"
    script = f". {REPOSITORY}/etc/bash-completion/livekeep; {words}; _livekeep; echo ${{COMPREPLY[*]}}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout == "speedtest stream\n"
