"""livekeep-probe-clock.service: which time server sets the clock, and how far the clock was from it.

Reads over D-Bus what systemd-timesyncd learned from the server's last answer (org.freedesktop.timesync1(5)), as timedatectl(1)
shows it. Where another program sets the clock, such as chrony, nobody tells its offset on D-Bus, and the run is skipped. Writes
probe-clock/state.json (core/probe_results.py).
"""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from livekeep.core.config import Config
from livekeep.core.probe_results import ClockResult
from livekeep.probes.runner import Judgement
from livekeep.system import terminal
from livekeep.system.dbus import BUS, Bus, BusError, Call, get_all

SERVICE, PATH, INTERFACE = "org.freedesktop.timesync1", "/org/freedesktop/timesync1", "org.freedesktop.timesync1.Manager"
BUS_SECONDS = 5.0
NOT_RUNNING = "systemd-timesyncd does not run: nobody says how far off the clock is"
NO_ANSWER = "no time server has answered yet"
CHECK_SERVER = "does the network let UDP port 123 out? See: timedatectl timesync-status"


class Answer(NamedTuple):
    """A time server's last answer, the property NTPMessage; moments are microseconds of Unix time."""

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
        """How far the clock was behind the server's; less than 0: ahead of it (RFC 5905, section 8)."""
        return ((self.server_received - self.sent) + (self.server_sent - self.received)) / 2e6


def result_of(properties: Mapping[str, Any]) -> ClockResult:
    """What the properties of timesyncd say; without an answer since it started, the server's name alone."""
    server, answer = str(properties.get("ServerName", "")), Answer(*properties["NTPMessage"])
    if not answer.packets:
        return ClockResult(server=server)
    return ClockResult(
        server=server, stratum=answer.stratum, offset_seconds=answer.offset_seconds(), last_contact=answer.received / 1e6
    )


def judge(result: ClockResult) -> Judgement:
    if result.offset_seconds is None:
        return Judgement("warn", f"{NO_ANSWER} ({result.server})" if result.server else NO_ANSWER, CHECK_SERVER)
    direction = "behind" if result.offset_seconds >= 0 else "ahead of"
    return Judgement("ok", f"the clock was {terminal.short_time(abs(result.offset_seconds))} {direction} {result.server}")


def measure(_settings: Config, _previous: ClockResult, _now: float) -> tuple[ClockResult, Judgement]:
    """One run of the probe."""
    try:
        with contextlib.closing(Bus(seconds=BUS_SECONDS)) as bus:
            # Asked first, since a call would start a service that is switched off.
            if not bus.call(Call(*BUS, "NameHasOwner", "s", (SERVICE,)))[0]:
                return ClockResult(), Judgement("skipped", NOT_RUNNING)
            result = result_of(bus.call(get_all(SERVICE, PATH, INTERFACE))[0])
    except BusError as error:
        return ClockResult(), Judgement("fail", str(error))
    except (KeyError, TypeError) as error:
        return ClockResult(), Judgement("fail", f"systemd-timesyncd does not send what it documents ({type(error).__name__})")
    return result, judge(result)
