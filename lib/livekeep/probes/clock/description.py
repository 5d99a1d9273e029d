"""The clock probe's result as metrics and as text for people."""

from collections.abc import Iterator
from typing import ClassVar

from livekeep.core.probe_results import ClockResult
from livekeep.status import probe_descriptions
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import Row
from livekeep.system import terminal
from livekeep.system.metric_family import Sample, gauge, info, known

SYNCHRONISED = {True: "synchronised", False: "not synchronised", None: "not known whether synchronised"}


class Description(probe_descriptions.Description[ClockResult]):
    metrics: ClassVar = {
        "livekeep_host_clock_synchronized": gauge("Whether the clock is synchronised."),
        "livekeep_clock_offset_seconds": gauge("How far the clock was behind the time server at its last response."),
        "livekeep_clock_stratum": gauge("How many steps the time server is from a reference clock."),
        "livekeep_clock_last_contact_timestamp_seconds": gauge("When the time server last responded."),
        "livekeep_clock_server_info": info("The time server in use.", "server"),
    }

    def samples(self, result: ClockResult) -> Iterator[Sample]:
        yield from known(
            (
                ("livekeep_host_clock_synchronized", result.synchronized),
                ("livekeep_clock_offset_seconds", result.offset_seconds),
                ("livekeep_clock_stratum", result.stratum),
                ("livekeep_clock_last_contact_timestamp_seconds", result.last_contact),
            )
        )
        if result.server:
            yield "livekeep_clock_server_info", (result.server,), 1

    def rows(self, result: ClockResult, clock: Clock) -> list[Row]:
        rows = [("Clock", SYNCHRONISED[result.synchronized])]
        if result.server:
            stratum = f", stratum {result.stratum}" if result.stratum is not None else ""
            rows.append(("Server", f"{result.server}{stratum}"))
        if result.offset_seconds is not None:
            direction = "behind" if result.offset_seconds >= 0 else "ahead"
            rows.append(("Offset", f"{terminal.short_time(abs(result.offset_seconds))} {direction}"))
        if result.last_contact is not None:
            rows.append(("Answered", f"{terminal.duration(clock.now - result.last_contact)} ago"))
        return rows
