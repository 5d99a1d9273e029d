"""The exporter's collectors with a real systemd, as an unprivileged user in the shared sandbox: they report its values."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.machine import Machine, wait_for
from tests.machine.screen import packages_of
from tests.machine.standin import PROJECT

POLLER, PLAYER, PROBE, TIMER, LOOKER = (
    f"livekeep-{name}"
    for name in ("poller.service", "player.service", "probe-network.service", "probe-network.timer", "exporter.service")
)
SOON_SECONDS = 30.0
SAMPLES = "/run/livekeep-looker/samples.json"
# Notifies systemd that it works, like poller and player.
WORKER = """\
import sdnotify, time
notifier = sdnotify.SystemdNotifier()
notifier.notify("READY=1")
while True:
    notifier.notify("WATCHDOG=1")
    time.sleep(1)
"""
# The two collectors in one process, like in the exporter.
LOOKER_PROGRAM = f"""\
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, "/src/lib")
from livekeep.core.errors import TemporaryError
from livekeep.exporter.host import Host
from livekeep.exporter.units import Units
host, units = Host(Path("/")), Units(Path("/"))
while True:
    try:
        samples = [*host.collect(time.time()), *units.collect(time.time())]
    except TemporaryError as error:
        # While it reloads, PID 1 is silent.
        print(error, flush=True)
        continue
    Path("{SAMPLES}.new").write_text(json.dumps([os.geteuid(), samples]))
    os.rename("{SAMPLES}.new", "{SAMPLES}")
    time.sleep(0.2)
"""
SERVICE = """\
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/python3 /usr/local/share/worker.py
WatchdogSec=20s
Restart=always
RestartSec=100ms
"""
LOOKER_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 -B /usr/local/share/looker.py
User=daemon
RuntimeDirectory=livekeep-looker
PrivateUsers=yes
PrivateDevices=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX
"""
PROBE_UNIT = """\
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'exit $(cat /run/outcome)'
"""
UNITS = "/etc/systemd/system"

Found = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(scope="module", params=root.SUITES)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Poller and player that only notify the watchdog, a probe with its timer, and the collectors in place of the exporter."""
    with Machine(request.param, packages=packages_of(request.param), source=PROJECT) as made:
        made.write("/usr/local/share/worker.py", WORKER)
        made.write("/usr/local/share/looker.py", LOOKER_PROGRAM)
        sandbox = (PROJECT / "units/livekeep-.service.d/50-sandbox.conf").read_text(encoding="utf-8")
        made.write(f"{UNITS}/livekeep-.service.d/50-sandbox.conf", sandbox)
        made.write(f"{UNITS}/{LOOKER}.d/60-sandbox.conf", "[Service]\nProcSubset=all\n")
        for unit, text in ((POLLER, SERVICE), (PLAYER, SERVICE), (LOOKER, LOOKER_UNIT), (PROBE, PROBE_UNIT)):
            made.write(f"{UNITS}/{unit}", text)
        made.write(f"{UNITS}/{TIMER}", "[Timer]\nOnActiveSec=1h\n")
        made.write(f"{UNITS}/livekeep.target", f"[Unit]\nWants={POLLER} {PLAYER}\n")
        made.write("/run/outcome", "0")
        made.systemctl("daemon-reload")
        made.systemctl("start", "livekeep.target", TIMER, LOOKER)
        wait_for(lambda: made.exists(SAMPLES), SOON_SECONDS)
        yield made


def found(machine: Machine) -> Found:
    """The collectors' last results."""
    _, samples = json.loads(machine.read(SAMPLES))
    return {(family, tuple(labels)): value for family, labels, value in samples}


def state(machine: Machine, unit: str) -> str:
    """The unit's state according to the collector; "" when it reports none."""
    states = [labels[1] for (family, labels), value in found(machine).items() if family == "livekeep_unit_state" and value]
    units = [labels[0] for (family, labels), value in found(machine).items() if family == "livekeep_unit_state" and value]
    return dict(zip(units, states, strict=True)).get(unit, "")


def seconds(machine: Machine, unit: str, name: str) -> float:
    """A time that systemctl shows, in Unix seconds."""
    return float(machine.run(["date", "+%s", "--date", machine.unit_property(unit, name)]).stdout)


def test_it_says_what_systemctl_says(machine: Machine) -> None:
    now = found(machine)
    assert json.loads(machine.read(SAMPLES))[0] != 0
    for unit in (POLLER, PLAYER, LOOKER):
        assert now["livekeep_unit_state", (unit, machine.unit_property(unit, "ActiveState"))] == 1
        assert now["livekeep_unit_restarts_total", (unit,)] == int(machine.unit_property(unit, "NRestarts"))
        assert now["livekeep_unit_result_info", (unit, machine.unit_property(unit, "Result"))] == 1
        start = now["livekeep_unit_start_time_seconds", (unit,)]
        assert 0 <= start - seconds(machine, unit, "ActiveEnterTimestamp") < 1
        used = int(machine.unit_property(unit, "CPUUsageNSec")) / 1e9
        assert 0 < now["livekeep_unit_cpu_seconds_total", (unit,)] <= used
    assert now["livekeep_unit_watchdog_timeout_seconds", (POLLER,)] == 20
    assert ("livekeep_unit_watchdog_timeout_seconds", (LOOKER,)) not in now
    assert now["livekeep_unit_state", ("livekeep.target", "active")] == 1
    assert now["livekeep_unit_state", (PROBE, "inactive")] == 1
    # An hour away, except for the test in which it elapses.
    has_elapsed = bool(machine.unit_property(TIMER, "LastTriggerUSec"))
    assert (("livekeep_timer_last_trigger_timestamp_seconds", (TIMER,)) in now) == has_elapsed
    assert now["livekeep_systemd_failed_units", ()] == int(machine.systemctl("show", "--value", "--property=NFailedUnits").stdout)
    assert not [labels for _, labels in now if "livekeep-display.service" in labels], "there is none here"


def test_a_ping_is_seen(machine: Machine) -> None:
    key = ("livekeep_unit_watchdog_last_ping_timestamp_seconds", (PLAYER,))
    before = found(machine)[key]
    assert 0 <= float(machine.run(["date", "+%s.%N"]).stdout) - before < 20
    wait_for(lambda: found(machine)[key] > before, SOON_SECONDS)


def test_a_killed_unit_counts_as_restarted(machine: Machine) -> None:
    before = found(machine)
    os.kill(machine.main_pid(PLAYER).host, signal.SIGKILL)
    key = ("livekeep_unit_restarts_total", (PLAYER,))
    wait_for(lambda: found(machine)[key] == before[key] + 1, SOON_SECONDS)
    wait_for(lambda: state(machine, PLAYER) == "active", SOON_SECONDS)
    start = ("livekeep_unit_start_time_seconds", (PLAYER,))
    assert found(machine)[start] > before[start]
    assert ("livekeep_unit_cpu_seconds_total", (PLAYER,)) in found(machine)
    assert found(machine)["livekeep_unit_restarts_total", (POLLER,)] == before["livekeep_unit_restarts_total", (POLLER,)]


def test_a_stopped_unit_is_inactive(machine: Machine) -> None:
    machine.systemctl("stop", PLAYER)
    wait_for(lambda: state(machine, PLAYER) == "inactive", SOON_SECONDS)
    families = {family for family, labels in found(machine) if PLAYER in labels}
    assert "livekeep_unit_restarts_total" in families
    running_only = {"start_time_seconds", "cpu_seconds_total", "watchdog_last_ping_timestamp_seconds"}
    assert not families & {f"livekeep_unit_{name}" for name in running_only}
    machine.systemctl("start", PLAYER)
    wait_for(lambda: state(machine, PLAYER) == "active", SOON_SECONDS)
    assert ("livekeep_unit_start_time_seconds", (PLAYER,)) in found(machine)


def test_a_probe_that_fails_and_its_timer(machine: Machine) -> None:
    machine.write("/run/outcome", "3")
    machine.write(f"{UNITS}/{TIMER}", "[Timer]\nOnActiveSec=0\nAccuracySec=1ms\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", TIMER)
    wait_for(lambda: state(machine, PROBE) == "failed", SOON_SECONDS)
    assert found(machine)["livekeep_unit_result_info", (PROBE, "exit-code")] == 1
    wait_for(lambda: found(machine)["livekeep_systemd_failed_units", ()] == 1, SOON_SECONDS)
    key = ("livekeep_timer_last_trigger_timestamp_seconds", (TIMER,))
    wait_for(lambda: key in found(machine), SOON_SECONDS)
    assert 0 <= found(machine)[key] - seconds(machine, TIMER, "LastTriggerUSec") < 1
    machine.write("/run/outcome", "0")
    machine.systemctl("start", PROBE)
    wait_for(lambda: state(machine, PROBE) == "inactive", SOON_SECONDS)
    assert found(machine)["livekeep_unit_result_info", (PROBE, "success")] == 1


def test_the_sandbox_hides_nothing_of_the_host(machine: Machine) -> None:
    """Every mount is read-only there, but the card is not reported as such."""
    now = found(machine)
    assert now["livekeep_host_filesystem_readonly", ("/",)] == 0
    assert now["livekeep_host_filesystem_readonly", ("/run",)] == 0
    assert {"livekeep_host_load1", "livekeep_host_memory_available_bytes", "livekeep_host_oom_kills_total"} <= {
        key[0] for key in now
    }
    devices = machine.run(["ls", "/sys/class/net"]).stdout.split()
    linked = {labels[0] for family, labels in now if family == "livekeep_host_network_carrier"}
    assert linked <= set(devices) - {"lo"}
    # /sys is that of the machine's host, but shows only its own network, which has no device.
    assert not any(family == "livekeep_host_network_receive_bytes_total" for family, _ in now)
