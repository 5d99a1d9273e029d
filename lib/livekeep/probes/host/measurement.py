"""livekeep-probe-host: checks of the board and its card that are too expensive at scrape time.

Its unit: livekeep-probe-host.service, started by livekeep-probe-host.timer.
Reads: livekeep.toml (probes.host), its own last result; the firmware (throttle.py), /sys/class/drm,
/sys/fs/ext4. Writes: its result, the event probe-verdict-changed, and occasionally a test file that it
reads back and deletes, /var/lib/livekeep/probe-host/card-check (sd_card.py).

A TV that is off is not a fault: it may be off on purpose.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from livekeep.core import paths
from livekeep.core.config import Config
from livekeep.core.probe_results import Connector, HostResult, ThrottleCondition
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


def measure(settings: Config, previous: HostResult, now: float) -> tuple[HostResult, Judgement]:
    """One run of the probe."""
    root = paths.ROOT
    throttling = throttle.read(root)
    before = Throttling(previous.throttled, previous.throttled_since_boot)
    checked = CardCheck(previous.card_is_good, previous.card_checked_at, previous.card_problem)
    if sd_card.is_due(checked, now, settings.probes.host.card_check_interval_seconds):
        checked = sd_card.check(root, now)
    connectors: dict[str, Connector] = {}
    for it in drm.connectors(root / "sys/class/drm"):
        # If two graphics cards have connectors of the same name, the one with a TV counts.
        if it.name not in connectors or not connectors[it.name].connected:
            connectors[it.name] = Connector(it.name, it.is_connected, it.modes[0][:40] if it.modes else "")
    result = replace(
        previous,
        throttled=throttling.now,
        throttled_since_boot=throttling.since_boot,
        under_voltage_events=throttle.count_events(before, previous.under_voltage_events, throttling),
        connectors=tuple(connectors.values()),
        ext4_errors=sd_card.ext4_errors(root),
        card_is_good=checked.is_good,
        card_checked_at=checked.checked_at,
        card_problem=checked.problem,
    )
    return result, judge(previous, result)


def judge(previous: HostResult, result: HostResult) -> Judgement:
    """All remarks at the worst level; "ok" mentions what is not a fault."""
    remarks = [*on_storage(previous, result), *on_supply(result)]
    for verdict in ("fail", "warn"):
        found = [remark for remark in remarks if remark.verdict == verdict]
        if found:
            return Judgement(verdict, join(remark.reason for remark in found), join(remark.advice for remark in found))
    return Judgement("ok", join(remark.reason for remark in remarks) or "no fault found")


def join(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def on_storage(previous: HostResult, result: HostResult) -> Iterator[Judgement]:
    """On the card, and on ext4 errors: those since the last run, and older ones."""
    if result.card_problem == sd_card.FULL:
        yield Judgement("fail", sd_card.FULL, MAKE_ROOM)
    elif result.card_is_good is False:
        yield Judgement("fail", result.card_problem, REPLACE_CARD)
    elif result.card_problem:
        yield Judgement("ok", f"the card was not checked: {result.card_problem}")
    known = previous.ext4_errors if previous.run.last_run else result.ext4_errors
    for device, count in result.ext4_errors.items():
        # The errors of a device that was not known are older, not new.
        new = count - known.get(device, count)
        if new > 0:
            yield Judgement("fail", f"the kernel counted {new} new error(s) on the file system of {device}", REPLACE_CARD)
        elif count:
            yield Judgement("warn", f"the file system of {device} has {count} error(s) on record", CHECK_CARD)


def on_supply(result: HostResult) -> Iterator[Judgement]:
    now = result.throttled or ()
    for name in now:
        yield Judgement("warn" if name in WARNED_OF else "ok", NOW[name], BETTER_SUPPLY if name == "under_voltage" else COOLER)
    if earlier := [EARLIER[name] for name in result.throttled_since_boot or () if name not in now]:
        yield Judgement("ok", f"since boot there was {', '.join(earlier)}")
