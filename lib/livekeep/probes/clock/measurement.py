"""livekeep-probe-clock.service: whether the clock is synchronised, by which time server, and how far the clock was from it.

The kernel knows the synchronisation (system/clock.py). The rest comes from systemd-timesyncd over D-Bus: the server's last
response (org.freedesktop.timesync1(5)). Other time programs, such as chrony, don't publish it on D-Bus. Writes
probe-clock/state.json (core/probe_results.py).
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from livekeep.core import paths
from livekeep.core.config import Config
from livekeep.core.probe_results import ClockResult
from livekeep.probes.runner import Judgement
from livekeep.system import terminal
from livekeep.system.clock import is_synchronized
from livekeep.system.dbus import BUS, SYSTEM_BUS, Bus, BusError, Call, get_all

SERVICE, PATH, INTERFACE = "org.freedesktop.timesync1", "/org/freedesktop/timesync1", "org.freedesktop.timesync1.Manager"
BUS_SECONDS = 5.0
NOT_RUNNING = "systemd-timesyncd is not running: the clock's offset is unknown"
NO_ANSWER = "no time server has responded yet"
SET_CLOCK = "sudo timedatectl set-ntp true; does the network allow UDP port 123? See: timedatectl timesync-status"


class Answer(NamedTuple):
    """A time server's last response, the property NTPMessage; times are microseconds of Unix time."""

    leap: int
    version: int
    mode: int
    stratum: int
    precision: int
    root_delay: int
    root_dispersion: int
    reference: bytes
    sent: int
    server_received: int
    server_sent: int
    received: int
    is_spike: bool
    packets: int
    jitter: int

    def offset_seconds(self) -> float:
        """How far the clock was behind the server's; negative if ahead (RFC 5905, section 8)."""
        return ((self.server_received - self.sent) + (self.server_sent - self.received)) / 2e6


def result_of(properties: Mapping[str, Any]) -> ClockResult:
    """The result from timesyncd's properties; only the server's name if it has not responded since timesyncd started."""
    server, answer = str(properties.get("ServerName", "")), Answer(*properties["NTPMessage"])
    if not answer.packets:
        return ClockResult(server=server)
    return ClockResult(
        server=server, stratum=answer.stratum, offset_seconds=answer.offset_seconds(), last_contact=answer.received / 1e6
    )


def judge(result: ClockResult, problem: str) -> Judgement:
    """The verdict on a result; `problem`: why nothing is known about a time server."""
    if result.synchronized is False:
        return Judgement("warn", "the clock is not synchronised", SET_CLOCK)
    if result.offset_seconds is not None:
        direction = "behind" if result.offset_seconds >= 0 else "ahead of"
        return Judgement("ok", f"the clock was {terminal.short_time(abs(result.offset_seconds))} {direction} {result.server}")
    if problem == NOT_RUNNING:
        return Judgement("ok", f"the clock is synchronised; {problem}") if result.synchronized else Judgement("skipped", problem)
    if problem:
        return Judgement("warn", problem)
    return Judgement("skipped", f"{NO_ANSWER} ({result.server})" if result.server else NO_ANSWER)


def measure(_settings: Config, _previous: ClockResult, _now: float) -> tuple[ClockResult, Judgement]:
    """One run of the probe."""
    result, problem = ask_timesyncd()
    result = dataclasses.replace(result, synchronized=is_synchronized(paths.ROOT))
    return result, judge(result, problem)


def ask_timesyncd(socket: Path = SYSTEM_BUS) -> tuple[ClockResult, str]:
    """timesyncd's data, or why there is none."""
    try:
        with contextlib.closing(Bus(socket, BUS_SECONDS)) as bus:
            # Checked first, because a call would start a disabled service.
            if not bus.call(Call(*BUS, "NameHasOwner", "s", (SERVICE,)))[0]:
                return ClockResult(), NOT_RUNNING
            return result_of(bus.call(get_all(SERVICE, PATH, INTERFACE))[0]), ""
    except BusError as error:
        return ClockResult(), str(error)
    except (KeyError, TypeError) as error:
        return ClockResult(), f"systemd-timesyncd sends unexpected data ({type(error).__name__})"
