"""The probes and their timers under systemd, and that the screen does not depend on the health part."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

from tests.machine.health_part import (
    EXPORTER,
    PROBES,
    TIMERS,
    applied,
    ask,
    forget,
    line_settings,
    named,
    run_probe,
    success,
    verdict,
)
from tests.machine.machine import wait_for
from tests.machine.room import lines_with
from tests.machine.screen import PLAYER, POLLER, UNITS, Screen
from tests.machine.services import Services

LIBRARY, UNIT_FILES = "/usr/lib/python3/dist-packages/livekeep", "/usr/lib/systemd/system"
STREAM_FILE = "/run/livekeep/stream/stream.json"
SPEEDTEST = "livekeep-probe-speedtest.service"
LIMITS = {EXPORTER: 1.2, "livekeep-screen-picture.service": 1.2, **{f"livekeep-probe-{name}.service": 1.5 for name in PROBES}}
# What --without-health leaves out, in any place.
PARTS = r".*/livekeep-\(exporter\|probe\).*\|.*/dist-packages/livekeep/\(exporter\|probes\)/.*"


def pids(screen: Screen) -> list[int]:
    return [screen.main_pid(unit) for unit in UNITS]


def test_after_the_install(box: Screen) -> None:
    for unit in (EXPORTER, *TIMERS):
        names = ("ActiveState", "UnitFileState")
        assert [box.machine.unit_property(unit, name) for name in names] == ["active", "enabled"], unit
    assert box.machine.failed_units() == ""
    for name in PROBES:
        if name != "speedtest":
            run_probe(box, name)
    told = box.livekeep("status").splitlines()
    assert next(line for line in told if line.startswith("network ")).split()[1] == "ok"
    assert {f"livekeep-probe-{name}.timer" for name in PROBES} <= {line.split()[0] for line in told if line}
    assert box.machine.failed_units() == ""


def test_the_sandboxes_hold(box: Screen) -> None:
    """As rated by the systemd that runs the units."""
    assert {unit: limit for unit, limit in LIMITS.items() if box.machine.exposure(unit) > limit} == {}


def test_a_stream_is_looked_at_while_it_is_live(box: Screen) -> None:
    """ffprobe's result is right; a playlist that stands still is a fault; while off air there is nothing to check."""
    # Otherwise the player would give the stream up, and so would the poller.
    box.configure({"screen": {"stall_seconds": 120.0}})
    box.goes_live()
    forget(box, "stream")
    first = run_probe(box, "stream")
    assert verdict(first)[0] == "ok", verdict(first)
    seen = first["analysis"]
    assert (seen["video_codec"], seen["width_pixels"], seen["height_pixels"], seen["audio_codec"]) == ("h264", 1280, 720, "aac")
    box.live.stall()
    still = wait_for(lambda: found if verdict(found := run_probe(box, "stream"))[0] == "fail" else None, 60, 0.5)
    assert verdict(still)[1].startswith("the playlist has not grown for ")
    assert box.figures()['livekeep_probe_success{probe="stream",target="main"}'] == 0
    box.live.resume()
    wait_for(lambda: verdict(run_probe(box, "stream"))[0] == "ok", 60, 0.5)
    box.vimeo.go_off()
    box.shows("holding")
    assert verdict(run_probe(box, "stream")) == ("skipped", "the stream is not live")
    assert named(box.figures(), "livekeep_stream_video") == {}
    assert box.machine.failed_units() == ""


def test_a_stream_that_the_player_has_given_up_is_a_fault(box: Screen) -> None:
    """It stands still for longer than the player waits: the holding picture is shown, and the probe gives the reason."""
    box.goes_live()
    box.live.stall()
    box.shows("holding")
    wait_for(lambda: verdict(run_probe(box, "stream"))[0] == "fail", 30, 0.5)
    assert box.figures()['livekeep_probe_success{probe="stream",target="main"}'] == 0
    box.live.resume()
    box.moves()
    wait_for(lambda: verdict(run_probe(box, "stream"))[0] == "ok", 60, 0.5)


def test_the_signed_url_is_nowhere_while_ffprobe_runs(box: Screen) -> None:
    """Nor afterwards: not on a command line, in an environment, a state, the journal, a metric or a report."""
    box.vimeo.forget()
    box.goes_live()
    forget(box, "stream")
    # So ffprobe waits for as long as the test reads.
    box.live.hang(only=".ts")
    command = box.machine.popen(["livekeep", "probe", "stream"])
    processes = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'"
    text = wait_for(lambda: found if "ffprobe" in (found := box.machine.run(processes, check=False).stdout) else "", 60)
    box.live.resume()
    report, _errors = command.communicate(timeout=120)
    assert report.startswith("stream: ")
    text += report + ask(box, "/metrics").text
    text += box.machine.run(f"find /run/livekeep -type f ! -path {STREAM_FILE} -exec cat {{}} +").stdout
    text += box.machine.journal(None, "--all", "-o", "export")
    text += box.machine.systemctl("show", "livekeep-probe-stream.service").stdout
    assert '"probe-stream/state.json"' in text
    secrets = {"hmac=", "SECRET", *(url.partition("hmac=")[2] for url in box.vimeo.signed())}
    assert lines_with(box.machine.read(STREAM_FILE), secrets)
    assert lines_with(text, secrets) == []


def test_the_line_is_measured(box: Screen, services: Services) -> None:
    """Against a server in the room; its traffic is counted, and the start of a stream ends it."""
    before = services.counted()
    with applied(box, line_settings(services)):
        forget(box, "speedtest")
        found = run_probe(box, "speedtest")
        used = services.counted()
        assert verdict(found)[0] == "ok", verdict(found)
        assert 0 < found["latency_seconds"] < 10
        assert 1e6 < found["received_bytes_total"] <= used.sent - before.sent
        # The server has the whole body before it responds.
        assert found["sent_bytes_total"] == used.received - before.received > 0
        for way, total in (("download", "received"), ("upload", "sent")):
            speed = found[f"{way}_bytes_per_second"]
            # The configured second, and never less.
            assert 0 < speed <= found[f"{total}_bytes_total"], way
            assert box.figures()[f"livekeep_speedtest_{way}_bytes_per_second"] == speed
    with applied(box, line_settings(services, seconds=60.0)):
        box.machine.systemctl("start", "--no-block", SPEEDTEST)
        wait_for(lambda: services.counted().sent > used.sent, 60)
        box.goes_live(within=60)
        wait_for(lambda: box.machine.unit_property(SPEEDTEST, "ActiveState") == "inactive", 60)
        state: dict[str, Any] = json.loads(box.machine.read("/run/livekeep/probe-speedtest/state.json"))
        # Poller or player, whichever reports first.
        assert (verdict(state)[0], verdict(state)[1].split(": ")[0]) == ("skipped", "the test was cancelled")
        assert state["received_bytes_total"] > found["received_bytes_total"]
        assert state["measured_at"] == found["measured_at"]
        # Nor does one start.
        assert verdict(run_probe(box, "speedtest")) == ("skipped", "the stream is on the screen")
        assert box.machine.unit_property(SPEEDTEST, "Result") == "exec-condition"
        assert box.machine.failed_units() == ""


def test_apply_puts_intervals_in_force(box: Screen) -> None:
    """The timer's interval really changes, at once; a probe that is off leaves nothing behind; and back."""
    timer = "livekeep-probe-network.timer"

    def wait() -> float:
        """Seconds until the next run; the machine uses the host's clock."""
        (row,) = json.loads(box.machine.systemctl("list-timers", "--output=json", timer).stdout)
        return row["next"] / 1e6 - time.time() if row["next"] else 0.0

    run_probe(box, "network")
    run_probe(box, "host")
    wait_for(lambda: 0 < wait() < 120, 60)
    with applied(box, {"probes.network": {"interval_seconds": 3600}, "probes.host": {"enabled": False}}):
        wait_for(lambda: 600 < wait() < 4200, 60)
        run_probe(box, "network")
        found = box.figures()
        assert found['livekeep_probe_interval_seconds{probe="network"}'] == 3600
        assert box.machine.systemctl("is-enabled", "livekeep-probe-host.timer", check=False).stdout == "disabled\n"
        # systemd forgets a unit that is disabled and unreferenced.
        assert found.get('livekeep_unit_state{state="active",unit="livekeep-probe-host.timer"}', 0) == 0
        assert not box.machine.exists("/run/livekeep/probe-host/state.json")
        assert [series for series in found if 'probe="host"' in series] == []
        assert success(found)["probe-host"] == 1
        assert "host: disabled by probes.host.enabled" in box.livekeep("probe")
        assert "Nothing to change" in box.livekeep("apply")
    wait_for(lambda: 0 < wait() < 120, 60)
    wait_for(lambda: 'livekeep_probe_success{probe="host",target=""}' in box.figures(), 60, 0.5)


def test_a_broken_state_costs_nobody_else_s_figures(box: Screen) -> None:
    """The state of the hanging player, and a probe's."""
    run_probe(box, "network")
    pid = box.machine.main_pid(PLAYER).host
    box.signal(PLAYER, signal.SIGSTOP)
    try:
        for name in ("player", "probe-network"):
            box.machine.run(f"echo 'no state at all' >/run/livekeep/{name}/state.json")
        found, health = box.figures(), ask(box, "/healthz")
        same = box.livekeep("health")
    finally:
        box.signal(PLAYER, signal.SIGCONT)
    assert pid == box.machine.main_pid(PLAYER).host
    assert {name for name, good in success(found).items() if not good} == {"player", "probe-network"}
    for beginning in ("livekeep_player_", "livekeep_display_mode", "livekeep_ping_"):
        assert named(found, beginning) == {}
    assert [series for series in named(found, "livekeep_probe_") if '"network"' in series] == []
    assert found['livekeep_stream_state{state="offline"}'] == 1
    assert found['livekeep_health_state{level="down"}'] == 1
    assert (health.status, health.text) == (503, same)
    assert run_probe(box, "network")["run"]["successes"] == 1
    wait_for(lambda: all(success(box.figures()).values()), 60, 0.5)
    assert "its metrics are missing" in box.machine.journal(EXPORTER)


def test_healthz_is_the_verdict_s_line(box: Screen) -> None:
    def agrees(status: int, level: str) -> bool:
        """At least at one moment: each of the two reads the clock."""
        answer = ask(box, "/healthz")
        return (answer.status, answer.text) == (status, box.livekeep("health")) and answer.text.startswith(f"{level}: ")

    run_probe(box, "network")
    wait_for(lambda: agrees(200, "ok") or agrees(200, "degraded"), 60)
    box.machine.systemctl("stop", PLAYER)
    wait_for(lambda: agrees(503, "down"), 60)
    box.machine.systemctl("start", PLAYER)
    box.shows("holding")
    wait_for(lambda: agrees(200, "ok") or agrees(200, "degraded"), 60)


def test_the_exporter_outlives_the_screen(box: Screen) -> None:
    """It is off on purpose: the exporter reports no error, only fewer metrics."""
    box.machine.systemctl("stop", "livekeep.target")
    wait_for(lambda: all(box.machine.unit_property(unit, "ActiveState") == "inactive" for unit in UNITS), 60)
    found = box.figures()
    assert found['livekeep_unit_state{state="inactive",unit="livekeep.target"}'] == 1
    assert set(success(found).values()) == {1}
    assert named(found, "livekeep_player_") == named(found, "livekeep_stream_state") == {}
    assert ask(box, "/healthz").status == 503
    assert verdict(run_probe(box, "stream")) == ("skipped", "livekeep-poller is not running")
    box.machine.systemctl("start", "livekeep.target")
    box.shows("holding")
    wait_for(lambda: box.figures().get('livekeep_display_mode{mode="holding"}') == 1, 60)


def test_the_exporter_comes_back(box: Screen) -> None:
    with box.watched():
        box.is_renewed(EXPORTER, box.signal(EXPORTER, signal.SIGKILL), within=60)
        assert box.figures()[f'livekeep_unit_restarts_total{{unit="{EXPORTER}"}}'] == 1
    assert box.machine.unit_property(EXPORTER, "StartLimitIntervalUSec") == "0", "it restarts forever"
    assert box.picture() == "holding"


def test_the_screen_needs_none_of_it(box: Screen) -> None:
    """Stopped, and even with its files deleted: the screen goes live and off, also after a restart. An install repairs it."""
    try:
        with box.watched() as sampler:
            box.machine.systemctl("stop", EXPORTER, *TIMERS)
            box.machine.run(f"cd {LIBRARY} && rm -r exporter probes")
            box.machine.run("cd /usr/lib/livekeep && rm livekeep-exporter livekeep-probe")
            box.machine.run(f"rm -r /run/livekeep/probe-* {UNIT_FILES}/livekeep-exporter* {UNIT_FILES}/livekeep-probe-*")
            box.machine.systemctl("daemon-reload")
            box.machine.systemctl("restart", POLLER, PLAYER)
            box.goes_live()
            box.vimeo.go_off()
            box.shows("holding")
        assert [label for _, label in box.spans(sampler) if label != "other"] == ["holding", "stream", "holding"]
        assert box.machine.run(["livekeep", "health"], check=False).returncode == 0
        assert "holding" in box.livekeep("status", check=True)
    finally:
        box.install()
    assert box.figures()['livekeep_display_mode{mode="holding"}'] == 1
    assert verdict(run_probe(box, "network"))[0] == "ok"


def no_health(screen: Screen) -> None:
    """Nothing of it is installed, and nothing misses it."""
    # The previous version is kept for a rollback; what all probes share belongs to the core, because a channel has one, too.
    skipped = r"-path /proc -o -path /sys -o -path /src -o -path '*/doc/livekeep' -o -path /var/lib/livekeep/packages"
    skipped += f" -o -path {UNIT_FILES}/livekeep-probe-.service.d"
    found = screen.machine.run(rf"find / \( {skipped} \) -prune -o ! -type d -regex '{PARTS}' -print")
    assert found.stdout == ""
    units = screen.machine.systemctl("list-units", "--all", "--no-legend", "livekeep-exporter*", "livekeep-probe*")
    assert units.stdout == ""
    users = screen.machine.run("stat -c %U /proc/[0-9]*", check=False).stdout.split()
    assert [user for user in users if user.startswith(("livekeep-exporter", "livekeep-probe"))] == []
    # The probes' results would soon count as silent.
    assert screen.machine.run(["find", "/run/livekeep", "-name", "probe-*"]).stdout == ""
    assert "PROBE" not in screen.livekeep("status")
    assert "the health part is not installed" in screen.livekeep("probe")
    assert screen.machine.run(["livekeep", "health"], check=False).returncode == 0


def test_no_program_has_logged_a_traceback(box: Screen) -> None:
    """Each probe has run in its sandbox by now, which hides files that a library may expect."""
    for name in PROBES:
        box.machine.systemctl("start", f"livekeep-probe-{name}.service", check=False)
    told = box.machine.journal()
    assert "livekeep-probe-network" in told
    assert lines_with(told, ("Traceback (most recent call last)",)) == []


def test_a_box_without_health_and_back(box: Screen) -> None:
    """As install.sh was last run; the screen's processes stay the same."""
    for name in ("network", "host"):
        run_probe(box, name)
    before = pids(box)
    with box.watched():
        box.install("--without-health")
        no_health(box)
        assert "Nothing to change" in box.install()
        no_health(box)
        box.install("--with-health")
        assert pids(box) == before
    assert all(box.machine.unit_property(unit, "ActiveState") == "active" for unit in (EXPORTER, *TIMERS))
    assert verdict(run_probe(box, "network"))[0] == "ok"
    assert box.machine.failed_units() == ""
