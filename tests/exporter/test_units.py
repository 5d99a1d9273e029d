"""The units' figures: a stand-in for systemd on a real bus, and cgroups as generated trees. The real systemd: tests/machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.exporter import metrics
from livekeep.exporter.units import OFTEN_SECONDS, SELDOM_SECONDS, STATES, UNITS, Units
from livekeep.system.dbus import BusError
from tests.system.systembus import FakeSystemd, SystemBus, fake_systemd, row, system_bus

NOW = 1_790_000_000.0
POLLER, PLAYER, PROBE, TIMER = (
    f"livekeep-{name}" for name in ("poller.service", "player.service", "probe-network.service", "probe-network.timer")
)
FOREVER = 2**64 - 1
Found = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SystemBus]:
    with system_bus(tmp_path) as found:
        yield found


@pytest.fixture
def systemd(bus: SystemBus) -> Iterator[FakeSystemd]:
    """A poller with a watchdog, a probe that has run, its timer, the target."""
    with fake_systemd(bus) as found:
        found.units = [row(POLLER), row(PROBE, "inactive"), row(TIMER), row("livekeep.target")]
        for unit in (POLLER, PROBE, TIMER, "livekeep.target"):
            found.set(unit, "Unit", ActiveEnterTimestamp=("t", 1_789_000_000_250_000 if unit != PROBE else 0))
        found.set(POLLER, "Service", NRestarts=("u", 3), Result=("s", "success"), WatchdogUSec=("t", 15_000_000))
        found.set(POLLER, "Service", WatchdogTimestamp=("t", 1_789_999_999_500_000))
        found.set(PROBE, "Service", NRestarts=("u", 0), Result=("s", "exit-code"), WatchdogUSec=("t", FOREVER))
        found.set(PROBE, "Service", WatchdogTimestamp=("t", 0))
        found.set(TIMER, "Timer", LastTriggerUSec=("t", 1_789_999_990_000_000))
        found.set("", "Manager", NFailedUnits=("u", 2), RuntimeWatchdogUSec=("t", 10_000_000))
        found.set("", "Manager", WatchdogLastPingTimestamp=("t", 1_789_999_998_000_000))
        found.tell()
        yield found


@pytest.fixture
def units(tmp_path: Path) -> Units:
    files = {"cgroup.procs": "41\n42\n", "cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "pids.current": "3\n"}
    cgroup(tmp_path, POLLER, files)
    return Units(tmp_path)


def cgroup(root: Path, unit: str, files: dict[str, str], hierarchy: str = "sys/fs/cgroup") -> None:
    folder = root / hierarchy / "livekeep.slice" / unit
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def collect(units: Units, now: float = NOW) -> Found:
    samples = list(units.collect(now))
    found = {(family, labels): value for family, labels, value in samples}
    assert len(found) == len(samples), "a series is given twice"
    assert all(len(labels) == len(metrics.UNITS[family].labels) for family, labels in found)
    return found


def without_states(found: Found) -> Found:
    return {key: value for key, value in found.items() if key[0] != "livekeep_unit_state"}


def states(found: Found) -> dict[str, str]:
    return {labels[0]: labels[1] for (family, labels), value in found.items() if family == "livekeep_unit_state" and value == 1}


EXPECTED: Found = {
    ("livekeep_unit_start_time_seconds", (POLLER,)): 1_789_000_000.25,
    ("livekeep_unit_start_time_seconds", (TIMER,)): 1_789_000_000.25,
    ("livekeep_unit_start_time_seconds", ("livekeep.target",)): 1_789_000_000.25,
    ("livekeep_unit_restarts_total", (POLLER,)): 3,
    ("livekeep_unit_restarts_total", (PROBE,)): 0,
    ("livekeep_unit_result_info", (POLLER, "success")): 1,
    ("livekeep_unit_result_info", (PROBE, "exit-code")): 1,
    ("livekeep_unit_watchdog_timeout_seconds", (POLLER,)): 15,
    ("livekeep_unit_watchdog_last_ping_timestamp_seconds", (POLLER,)): 1_789_999_999.5,
    ("livekeep_unit_cpu_seconds_total", (POLLER,)): 1.5,
    ("livekeep_unit_tasks", (POLLER,)): 3,
    ("livekeep_timer_last_trigger_timestamp_seconds", (TIMER,)): 1_789_999_990,
    ("livekeep_systemd_failed_units", ()): 2,
    ("livekeep_hardware_watchdog_timeout_seconds", ()): 10,
    ("livekeep_hardware_watchdog_last_ping_timestamp_seconds", ()): 1_789_999_998,
}


def test_everything_that_is_known_is_told(systemd: FakeSystemd, units: Units, tmp_path: Path) -> None:
    cgroup(tmp_path, POLLER, {"memory.current": "1048576\n", "memory.peak": "2097152\n"})
    found = collect(units)
    memory = {("livekeep_unit_memory_bytes", (POLLER,)): 1 << 20, ("livekeep_unit_memory_peak_bytes", (POLLER,)): 2 << 20}
    assert without_states(found) == EXPECTED | memory
    assert {family for family, _ in found} == set(metrics.UNITS)
    assert states(found) == {POLLER: "active", PROBE: "inactive", TIMER: "active", "livekeep.target": "active"}
    assert sum(family == "livekeep_unit_state" for family, _ in found) == 4 * len(STATES)
    assert collect(units) == found, "the second time as the first"


def test_other_units_and_names_without_a_unit_are_left_out(systemd: FakeSystemd, units: Units) -> None:
    strange = ("livekeep-stable@livekeep-poller.timer", "livekeep.slice", "livekeep-poller.serviceX")
    systemd.units = [row(PLAYER, "inactive", "not-found"), *(row(name) for name in strange), row("livekeep-exporter.service")]
    systemd.tell()
    assert set(states(collect(units))) == {"livekeep-exporter.service"} < UNITS


def test_the_units_of_the_channels(systemd: FakeSystemd, units: Units, tmp_path: Path) -> None:
    """Each channel's worker, sockets, and what a socket has not started yet; nothing else of that name."""
    worker, socket = "livekeep-worker@main-2_b.service", "livekeep-controller.socket"
    others = (
        "livekeep-worker@.service",
        "livekeep-worker@UPPER.service",
        "livekeep-worker-retry@main.timer",
        "livekeep-other.socket",
    )
    systemd.units = [row(worker), row(socket), row("livekeep-controller.service", "inactive"), *(row(name) for name in others)]
    systemd.set(worker, "Service", NRestarts=("u", 4), Result=("s", "signal"))
    systemd.set(socket, "Unit", ActiveEnterTimestamp=("t", 1_789_000_000_250_000))
    systemd.tell()
    cgroup(tmp_path, worker, {"cgroup.procs": "41\n", "cpu.stat": "usage_usec 2500000\n", "pids.current": "5\n"})
    found = collect(units)
    assert states(found) == {worker: "active", socket: "active", "livekeep-controller.service": "inactive"}
    assert found["livekeep_unit_restarts_total", (worker,)] == 4
    assert found["livekeep_unit_result_info", (worker, "signal")] == 1
    assert found["livekeep_unit_cpu_seconds_total", (worker,)] == 2.5
    assert found["livekeep_unit_start_time_seconds", (socket,)] == 1_789_000_000.25


def test_what_systemd_does_not_know_or_says_wrongly_has_no_series(systemd: FakeSystemd, units: Units) -> None:
    systemd.properties.clear()
    systemd.set(POLLER, "Service", NRestarts=("s", "many"), Result=("u", 3), WatchdogUSec=("t", 0), WatchdogTimestamp=("t", 5))
    systemd.set(PROBE, "Service", NRestarts=("i", -1), Result=("s", "x" * 65), WatchdogUSec=("d", 1.5))
    systemd.set(TIMER, "Timer", LastTriggerUSec=("t", FOREVER))
    systemd.set("", "Manager", NFailedUnits=("u", 1), RuntimeWatchdogUSec=("t", FOREVER), WatchdogLastPingTimestamp=("t", 9))
    systemd.units[3] = row("livekeep.target", "maintenance")
    systemd.tell()
    found = collect(units)
    assert set(states(found)) == {POLLER, PROBE, TIMER}
    assert without_states(found) == {
        ("livekeep_unit_cpu_seconds_total", (POLLER,)): 1.5,
        ("livekeep_unit_tasks", (POLLER,)): 3,
        ("livekeep_systemd_failed_units", ()): 1,
    }


def test_a_scrape_where_nothing_changed_asks_one_question(systemd: FakeSystemd, units: Units) -> None:
    collect(units)
    systemd.calls()
    for second in range(3):
        collect(units, NOW + second)
    assert systemd.calls() == ["list livekeep*"] * 3


def test_what_moves_is_asked_every_few_seconds(systemd: FakeSystemd, units: Units) -> None:
    collect(units)
    systemd.calls()
    systemd.set(POLLER, "Service", WatchdogTimestamp=("t", 1_790_000_009_000_000))
    systemd.set("", "Manager", NFailedUnits=("u", 0))
    systemd.tell()
    found = collect(units, NOW + OFTEN_SECONDS)
    assert found["livekeep_unit_watchdog_last_ping_timestamp_seconds", (POLLER,)] == 1_790_000_009
    assert found["livekeep_systemd_failed_units", ()] == 0
    asked = sorted(call.rpartition(" ")[2] for call in systemd.calls())
    assert asked == ["LastTriggerUSec", "NFailedUnits", "WatchdogLastPingTimestamp", "WatchdogTimestamp", "livekeep*"]


def test_each_minute_all_is_read_again_one_unit_at_a_time(systemd: FakeSystemd, units: Units) -> None:
    collect(units)
    systemd.set(POLLER, "Service", NRestarts=("u", 0))
    systemd.set(PROBE, "Service", Result=("s", "exec-condition"))
    systemd.tell()
    now = NOW + SELDOM_SECONDS
    for _ in range(5):
        found = collect(units, now)
        systemd.calls()
    assert found["livekeep_unit_restarts_total", (POLLER,)] == 0
    assert ("livekeep_unit_result_info", (PROBE, "exec-condition")) in found
    collect(units, now)
    assert systemd.calls() == ["list livekeep*"], "each was asked once"


def test_a_changed_state_is_followed_at_once(systemd: FakeSystemd, units: Units) -> None:
    collect(units)
    systemd.calls()
    systemd.units[0] = row(POLLER, "failed")
    systemd.set(POLLER, "Service", Result=("s", "watchdog"), WatchdogTimestamp=("t", 0))
    systemd.tell()
    found = collect(units)
    assert states(found)[POLLER] == "failed"
    assert ("livekeep_unit_result_info", (POLLER, "watchdog")) in found
    gone = {family for family, labels in EXPECTED if POLLER in labels} - {family for family, labels in found if POLLER in labels}
    assert gone == {
        "livekeep_unit_start_time_seconds",
        "livekeep_unit_watchdog_last_ping_timestamp_seconds",
        "livekeep_unit_cpu_seconds_total",
        "livekeep_unit_tasks",
    }
    assert not [call for call in systemd.calls() if "probe" in call], "the others are left alone"


def test_a_restart_between_two_scrapes_is_noticed_by_the_processes(systemd: FakeSystemd, units: Units, tmp_path: Path) -> None:
    collect(units)
    cgroup(tmp_path, POLLER, {"cgroup.procs": "77\n"})
    systemd.set(POLLER, "Service", NRestarts=("u", 4))
    systemd.tell()
    assert collect(units)["livekeep_unit_restarts_total", (POLLER,)] == 4


def test_units_come_and_go(systemd: FakeSystemd, units: Units, tmp_path: Path) -> None:
    before = collect(units)
    kept, systemd.units = systemd.units, systemd.units[1:]
    systemd.tell()
    assert not [labels for _, labels in collect(units) if POLLER in labels]
    systemd.units = [*kept, row(PLAYER)]
    systemd.set(PLAYER, "Service", NRestarts=("u", 1))
    systemd.tell()
    cgroup(tmp_path, PLAYER, {"cpu.stat": "usage_usec 5\n"})
    found = collect(units)
    assert found["livekeep_unit_cpu_seconds_total", (PLAYER,)] == 5e-6
    assert {key: value for key, value in found.items() if PLAYER not in key[1]} == before
    systemd.units = kept
    systemd.tell()
    assert collect(units) == before


@pytest.mark.parametrize("nonsense", ["", "max\n", "-1\n", "9" * 30, "usage_usec\n", "usage_usec -5\n", "x" * 70_000])
def test_a_nonsense_cgroup_file_loses_its_series_only(systemd: FakeSystemd, units: Units, tmp_path: Path, nonsense: str) -> None:
    cgroup(tmp_path, POLLER, {"cpu.stat": nonsense, "memory.current": nonsense})
    found = collect(units)
    assert {family for family, labels in found if labels == (POLLER,)} >= {"livekeep_unit_tasks", "livekeep_unit_restarts_total"}
    assert ("livekeep_unit_cpu_seconds_total", (POLLER,)) not in found
    assert ("livekeep_unit_memory_bytes", (POLLER,)) not in found


def test_cgroups_beside_those_of_the_first_version(systemd: FakeSystemd, tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    cgroup(tmp_path, POLLER, {"pids.current": "5\n"}, "sys/fs/cgroup/unified")
    (tmp_path / "sys/fs/cgroup/unified/cgroup.controllers").write_text("")
    assert collect(Units(tmp_path))["livekeep_unit_tasks", (POLLER,)] == 5


def test_a_silent_systemd_is_told_and_forgiven(systemd: FakeSystemd, units: Units) -> None:
    before = collect(units)
    systemd.tell(silent=True)
    for _ in range(2):
        with pytest.raises(BusError, match="no reply within"):
            collect(units)
    systemd.tell()
    assert collect(units) == before


def test_a_systemd_that_refuses_or_is_gone_is_told_and_forgiven(systemd: FakeSystemd, units: Units) -> None:
    before = collect(units)
    systemd.tell(refuses=True)
    with pytest.raises(BusError, match=r"ListUnitsByPatterns is refused: not now"):
        collect(units)
    systemd.tell()
    systemd.stop()
    with pytest.raises(BusError, match=r"ListUnitsByPatterns is refused: .*not provided"):
        collect(units)
    systemd.start()
    systemd.tell(is_odd=True)
    with pytest.raises(BusError, match=r"something else than units"):
        collect(units)
    systemd.tell()
    assert collect(units) == before


def test_a_machine_without_a_bus(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="system_bus_socket"):
        collect(Units(tmp_path))
