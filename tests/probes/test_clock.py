"""livekeep-probe-clock as a process, on a bus of its own, where a stand-in answers as systemd-timesyncd does."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livekeep.core.probe_results import ClockResult
from livekeep.probes.clock import measurement
from livekeep.probes.runner import Judgement
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import description_of
from livekeep.system.clock import is_synchronized
from tests.outside import program
from tests.probes.running_probe import Probe
from tests.system.systembus import PYTHON, SystemBus, system_bus

SERVER = "2.debian.pool.ntp.org"
TIMESYNCD = """
import sys
import dbus, dbus.mainloop.glib, dbus.service
from gi.repository import GLib

packets, odd = int(sys.argv[1]), sys.argv[2] == "odd"
MOMENT = 1_800_000_000_000_000
# Sent; received and sent by the server 300 ms later by its clock; received back after 20 ms.
moments = [dbus.UInt64(MOMENT + added) for added in (0, 310_000, 310_500, 20_500)]
head = [dbus.UInt32(value) for value in (0, 4, 4, 2)] + [dbus.Int32(-23), dbus.UInt64(15_000), dbus.UInt64(900)]
message = (*head, dbus.ByteArray(b"\\xc0\\0\\2\\1"), *moments, dbus.Boolean(False), dbus.UInt64(packets), dbus.UInt64(250))

class Timesyncd(dbus.service.Object):
    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="s", out_signature="a{sv}")
    def GetAll(self, interface):
        assert interface == "org.freedesktop.timesync1.Manager"
        known = {} if odd else {"NTPMessage": dbus.Struct(message, signature="uuuuittayttttbtt")}
        return {"ServerName": "%s", **known}

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
connection = dbus.SystemBus()
timesyncd = Timesyncd(connection, "/org/freedesktop/timesync1")
name = dbus.service.BusName("org.freedesktop.timesync1", connection, do_not_queue=True)
print(name.get_name(), flush=True)
GLib.MainLoop().run()
""".replace("%s", SERVER)


@contextlib.contextmanager
def timesyncd(bus: SystemBus, packets: int = 7, kind: str = "good") -> Iterator[None]:
    environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus.socket}"}
    reading, writing = os.pipe()
    with open(reading) as ready, contextlib.ExitStack() as stack:  # noqa: PTH123 – a descriptor
        command = [PYTHON, "-c", TIMESYNCD, str(packets), kind]
        stack.enter_context(program(command, env=environment, stdout=writing, stderr=sys.stderr))
        os.close(writing)
        assert ready.readline().startswith("org.freedesktop.timesync1"), "the stand-in did not start"
        yield


@pytest.fixture
def probe(tmp_path: Path) -> Probe[ClockResult]:
    return Probe("clock", ClockResult, tmp_path)


def told(result: ClockResult) -> dict[str, str]:
    return dict(description_of("clock").rows(result, Clock(1_800_000_060.0, 100.0)))


def samples(result: ClockResult) -> dict[tuple[str, ...], float]:
    return {(name, *labels): value for name, labels, value in description_of("clock").samples(result)}


def test_the_offset_is_that_of_the_last_answer(probe: Probe[ClockResult]) -> None:
    with system_bus(probe.folder) as bus, timesyncd(bus):
        result = probe.run()
    assert result.synchronized == is_synchronized(Path("/nowhere"))
    result = dataclasses.replace(result, synchronized=True)
    assert measurement.judge(result, "") == Judgement("ok", f"the clock was 300 ms behind {SERVER}")
    assert (result.server, result.stratum, result.offset_seconds) == (SERVER, 2, 0.3)
    assert result.last_contact == 1_800_000_000.0205
    assert told(result) == {
        "Clock": "synchronised",
        "Server": f"{SERVER}, stratum 2",
        "Offset": "300 ms behind",
        "Answered": "59 s ago",
    }
    assert samples(result) == {
        ("livekeep_host_clock_synchronized",): 1,
        ("livekeep_clock_offset_seconds",): 0.3,
        ("livekeep_clock_stratum",): 2,
        ("livekeep_clock_last_contact_timestamp_seconds",): 1_800_000_000.0205,
        ("livekeep_clock_server_info", SERVER): 1,
    }


def test_a_clock_may_be_ahead() -> None:
    answer: list[Any] = [0, 4, 4, 1, -23, 0, 0, b"", 10_000_000, 8_000_000, 8_000_000, 10_000_000, False, 1, 0]
    result = measurement.result_of({"ServerName": SERVER, "NTPMessage": tuple(answer)})
    assert result.offset_seconds == -2.0
    assert measurement.judge(result, "").reason == f"the clock was 2 s ahead of {SERVER}"
    assert told(result)["Offset"] == "2 s ahead"


def test_a_server_that_has_not_answered_yet(probe: Probe[ClockResult]) -> None:
    with system_bus(probe.folder) as bus, timesyncd(bus, packets=0):
        result = probe.run()
    assert (result.offset_seconds, result.stratum, result.last_contact) == (None, None, None)
    assert told(result)["Server"] == SERVER
    unknown = dataclasses.replace(result, synchronized=None)
    assert measurement.judge(unknown, "") == Judgement("skipped", f"no time server has responded yet ({SERVER})")


def test_a_clock_that_is_not_synchronised_is_a_fault_whatever_else_is_known() -> None:
    for offset, problem in ((0.3, ""), (None, ""), (None, measurement.NOT_RUNNING)):
        result = ClockResult(synchronized=False, offset_seconds=offset)
        verdict = measurement.judge(result, problem)
        assert (verdict.verdict, verdict.reason) == ("warn", "the clock is not synchronised")
        assert "set-ntp true" in verdict.advice
        assert result.fault(False)
    assert not ClockResult(synchronized=None).fault(False)


def test_where_another_program_sets_the_clock_its_offset_is_not_known(probe: Probe[ClockResult]) -> None:
    with system_bus(probe.folder):
        result = probe.run()
    assert measurement.NOT_RUNNING in result.run.reason or result.synchronized is False
    assert (result.server, result.offset_seconds) == ("", None)
    good = measurement.judge(ClockResult(synchronized=True), measurement.NOT_RUNNING)
    assert (good.verdict, good.reason) == ("ok", f"the clock is synchronised; {measurement.NOT_RUNNING}")
    assert measurement.judge(ClockResult(), measurement.NOT_RUNNING).verdict == "skipped"
    assert list(told(ClockResult())) == ["Clock"]
    assert samples(ClockResult()) == {}


def test_a_bus_that_is_gone_and_one_that_sends_nonsense(tmp_path: Path) -> None:
    with system_bus(tmp_path) as bus, timesyncd(bus, kind="odd"):
        result, problem = measurement.ask_timesyncd(bus.socket)
    assert (result, problem) == (ClockResult(), "systemd-timesyncd sends unexpected data (KeyError)")
    result, problem = measurement.ask_timesyncd(bus.socket)
    assert "is dbus.service running?" in problem
    assert measurement.judge(result, problem) == Judgement("warn", problem)
