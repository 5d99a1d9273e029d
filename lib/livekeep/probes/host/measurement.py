"""livekeep-probe-host: checks of the board and its card that are too expensive at scrape time.

Its unit: livekeep-probe-host.service, started by livekeep-probe-host.timer.
Reads: livekeep.toml (probes.host), its own last result; the firmware (throttle.py), /sys/class/drm,
/sys/fs/ext4. Writes: its result, the event probe-verdict-changed, and occasionally a test file that it
reads back and deletes, /var/lib/livekeep/probe-host/card-check (sd_card.py).

A TV that is off is not a fault: it may be off on purpose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from livekeep.core import paths
from livekeep.core.config import Config
from livekeep.core.probe_results import Connector, HostResult, ThrottleCondition, Verdict
from livekeep.probes.host import sd_card, throttle
from livekeep.probes.host.sd_card import CardCheck
from livekeep.probes.host.throttle import Throttling
from livekeep.probes.runner import Judgement
from livekeep.system import drm

NOW: dict[ThrottleCondition, str] = {
    "under_voltage": "the board has under-voltage now",
    "frequency_capped": "the board's frequency is capped now",
    "throttled": "the board is throttled now",
    "soft_temp_limit": "the board is at its soft temperature limit now",
}
EARLIER: dict[ThrottleCondition, str] = {
    "under_voltage": "under-voltage",
    "frequency_capped": "a capped frequency",
    "throttled": "throttling",
    "soft_temp_limit": "the soft temperature limit",
}
WARNED_OF: tuple[ThrottleCondition, ...] = ("under_voltage", "throttled")
"""The other conditions are the board's normal reaction to heat, and are only mentioned."""

REPLACE_CARD = "save what is on the card and replace it; see: journalctl -k -g 'mmc|I/O error|EXT4'"
MAKE_ROOM = "df -h /; sudo journalctl --vacuum-size=64M; sudo apt-get clean"
CHECK_CARD = "save what is on the card; check it by fsck.mode=force on the kernel's command line; see: journalctl -k -g EXT4"
BETTER_SUPPLY = "use the board's own power supply, a short cable, and fewer USB devices"
COOLER = "give the board air, a heat sink or a fan"


@dataclass(frozen=True)
class Remark:
    """One part of the verdict's reason."""

    verdict: Verdict
    sentence: str
    advice: str = ""


def connectors(directory: Path) -> tuple[Connector, ...]:
    """If two graphics cards have connectors of the same name, the one with a TV counts."""
    by_name: dict[str, Connector] = {}
    for it in drm.connectors(directory):
        if it.name not in by_name or not by_name[it.name].connected:
            by_name[it.name] = Connector(it.name, it.is_connected, it.modes[0][:40] if it.modes else "")
    return tuple(by_name.values())


def measure(settings: Config, previous: HostResult, now: float) -> tuple[HostResult, Judgement]:
    """One run of the probe."""
    root = paths.ROOT
    throttling = throttle.read(root)
    before = Throttling(previous.throttled, previous.throttled_since_boot)
    checked = CardCheck(previous.card_is_good, previous.card_checked_at, previous.card_problem)
    if sd_card.is_due(checked, now, settings.probes.host.card_check_interval_seconds):
        checked = sd_card.check(root, now)
    result = replace(
        previous,
        throttled=throttling.now,
        throttled_since_boot=throttling.since_boot,
        under_voltage_events=throttle.count_events(before, previous.under_voltage_events, throttling),
        connectors=connectors(root / "sys/class/drm"),
        ext4_errors=sd_card.ext4_errors(root),
        card_is_good=checked.is_good,
        card_checked_at=checked.checked_at,
        card_problem=checked.problem,
    )
    return result, judge(previous, result)


def judge(previous: HostResult, result: HostResult) -> Judgement:
    """All remarks at the worst level; "ok" mentions what is not a fault."""
    remarks = [*on_card(result), *on_file_systems(previous, result), *on_supply(result)]
    for verdict in ("fail", "warn"):
        found = [remark for remark in remarks if remark.verdict == verdict]
        if found:
            return Judgement(verdict, join(remark.sentence for remark in found), join(remark.advice for remark in found))
    return Judgement("ok", join(remark.sentence for remark in remarks) or "no fault found")


def join(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def on_card(result: HostResult) -> list[Remark]:
    if result.card_problem == sd_card.FULL:
        return [Remark("fail", sd_card.FULL, MAKE_ROOM)]
    if result.card_is_good is False:
        return [Remark("fail", result.card_problem, REPLACE_CARD)]
    return [Remark("ok", f"the card was not checked: {result.card_problem}")] if result.card_problem else []


def on_file_systems(previous: HostResult, result: HostResult) -> list[Remark]:
    """ext4 errors since the last run, and older ones."""
    known = previous.ext4_errors if previous.run.last_run else result.ext4_errors
    new = sd_card.new_errors(known, result.ext4_errors)
    old = {device: count for device, count in result.ext4_errors.items() if count and device not in new}
    remarks = [
        Remark("fail", f"the kernel met {count} new error(s) on the file system of {device}", REPLACE_CARD)
        for device, count in new.items()
    ]
    remarks += [
        Remark("warn", f"the file system of {device} has {count} error(s) on record", CHECK_CARD) for device, count in old.items()
    ]
    return remarks


def on_supply(result: HostResult) -> list[Remark]:
    now, since_boot = result.throttled or (), result.throttled_since_boot or ()
    advice = {"under_voltage": BETTER_SUPPLY}
    remarks = [Remark("warn" if name in WARNED_OF else "ok", NOW[name], advice.get(name, COOLER)) for name in now]
    earlier = [EARLIER[name] for name in since_boot if name not in now]
    return [*remarks, Remark("ok", f"since boot there was {', '.join(earlier)}")] if earlier else remarks
