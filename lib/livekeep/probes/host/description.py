"""The host probe's result as metrics and as text for people."""

from collections.abc import Iterator
from typing import ClassVar

from livekeep.core.probe_results import THROTTLE_CONDITIONS, HostResult, ThrottleCondition
from livekeep.status import probe_descriptions
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import Row
from livekeep.system import terminal
from livekeep.system.metric_family import Sample, counter, gauge, known

CONDITIONS: dict[ThrottleCondition, str] = {
    "under_voltage": "under-voltage",
    "frequency_capped": "frequency capped",
    "throttled": "throttled",
    "soft_temp_limit": "soft temperature limit",
}
CONNECTED = {True: "connected", False: "not connected", None: "not known whether connected"}


class Description(probe_descriptions.Description[HostResult]):
    metrics: ClassVar = {
        "livekeep_display_connected": gauge("Whether a TV is connected.", "connector"),
        "livekeep_pi_throttled": gauge("What slows the Raspberry Pi down now.", "condition"),
        "livekeep_pi_throttled_since_boot": gauge("What has slowed the Raspberry Pi down since boot.", "condition"),
        "livekeep_pi_under_voltage_events_total": counter("Times that under-voltage began, as observed."),
        "livekeep_host_filesystem_errors_total": counter("Errors that the kernel counted on an ext4 file system.", "device"),
        "livekeep_card_good": gauge("Whether data written to the card could be read back."),
        "livekeep_card_last_check_timestamp_seconds": gauge("When the card was last checked."),
    }

    def samples(self, result: HostResult) -> Iterator[Sample]:
        # Without the bits since boot, only the voltage is monitored; the rest is unknown.
        known_conditions = THROTTLE_CONDITIONS if result.throttled_since_boot is not None else ("under_voltage",)
        yield from throttle_samples("livekeep_pi_throttled", result.throttled, known_conditions)
        yield from throttle_samples("livekeep_pi_throttled_since_boot", result.throttled_since_boot)
        for connector in result.connectors:
            if connector.connected is not None:
                yield "livekeep_display_connected", (connector.name,), connector.connected
        for device, count in result.ext4_errors.items():
            yield "livekeep_host_filesystem_errors_total", (device,), count
        yield from known(
            (
                ("livekeep_pi_under_voltage_events_total", result.under_voltage_events),
                ("livekeep_card_good", result.card_is_good),
                ("livekeep_card_last_check_timestamp_seconds", result.card_checked_at),
            )
        )

    def rows(self, result: HostResult, clock: Clock) -> list[Row]:
        rows = [("Throttling", throttling_text(result))]
        if result.under_voltage_events is not None:
            rows.append(("Under-voltage", f"began {result.under_voltage_events} times since boot, as seen from run to run"))
        rows += [(f"Output {it.name}", ", ".join(filter(None, (CONNECTED[it.connected], it.mode)))) for it in result.connectors]
        rows += [(f"Files on {device}", f"{count} errors on record") for device, count in result.ext4_errors.items()]
        return [*rows, ("Card", card_text(result, clock))]


def throttle_samples(
    name: str,
    present: tuple[ThrottleCondition, ...] | None,
    conditions: tuple[ThrottleCondition, ...] = THROTTLE_CONDITIONS,
) -> Iterator[Sample]:
    if present is not None:
        yield from ((name, (condition,), condition in present) for condition in conditions)


def throttling_text(result: HostResult) -> str:
    if result.throttled is None:
        return "this board has no sensor"
    now = ", ".join(CONDITIONS[name] for name in result.throttled) or "none now"
    if result.throttled_since_boot is None:
        return f"{now} (this board reports only under-voltage)"
    earlier = ", ".join(CONDITIONS[name] for name in result.throttled_since_boot) or "none"
    return f"{now}; since boot: {earlier}"


def card_text(result: HostResult, clock: Clock) -> str:
    checked = f", checked {terminal.duration(clock.now - result.card_checked_at)} ago" if result.card_checked_at else ""
    if result.card_is_good:
        return f"data can be written and read back{checked}"
    return f"{result.card_problem or 'not checked'}{checked}"
