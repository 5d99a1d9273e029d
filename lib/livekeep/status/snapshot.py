"""What the units wrote, as the operator's command reads it: each state, or the error that says why there is none."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from livekeep.core import config, paths
from livekeep.core.config import Probes
from livekeep.core.errors import not_permitted
from livekeep.core.probe_results import ProbeResult
from livekeep.core.state import PlayerState, PollerState, StateAbsentError, StateBrokenError
from livekeep.status import health, record_status
from livekeep.status.channel_status import Broadcast
from livekeep.status.health import Clock, Health, Judgement
from livekeep.status.record_status import Record


@dataclass(frozen=True)
class Reading:
    """What the units wrote, all at one moment. `findings` by the probe's name; those that never ran are not in it.

    `broadcasts` by the channel's name: those that are meant to be on air, or run.
    """

    poller: PollerState | StateAbsentError | StateBrokenError
    player: PlayerState | StateAbsentError | StateBrokenError
    error_screen_active: bool
    clock: Clock
    record: Record
    findings: Mapping[str, ProbeResult | StateBrokenError] = field(default_factory=dict)
    broadcasts: Mapping[str, Broadcast] = field(default_factory=dict)
    has_screen: bool = True

    def judgement(self) -> Judgement:
        on_air = health.channel_verdicts(self.broadcasts, self.clock)
        if not self.has_screen:
            return Judgement(None, on_air)
        known = health.readable(self.findings)
        return Judgement(health.verdict(self.poller, self.player, self.error_screen_active, self.clock, known), on_air)

    def health(self) -> Health:
        return self.judgement().whole()


def take(root: Path = paths.STATE_DIRECTORY, kept: Path = health.KEPT_DIRECTORY) -> Reading:
    """Read everything now. Raises `LivekeepError` when this user may not read it."""
    clock = Clock(time.time(), time.monotonic())
    try:
        return Reading(
            health.look(PollerState, root),
            health.look(PlayerState, root),
            health.error_screen_is_active(root),
            clock,
            record_status.read(root),
            health.read_findings(root, configured_probes()),
            health.read_broadcasts(root, kept),
            health.has_screen(kept),
        )
    except PermissionError as error:
        raise not_permitted(error) from error


def take_findings(root: Path = paths.STATE_DIRECTORY) -> dict[str, ProbeResult | StateBrokenError]:
    """What the probes found, by name. Raises `LivekeepError` when this user may not read it."""
    try:
        return health.read_findings(root, configured_probes())
    except PermissionError as error:
        raise not_permitted(error) from error


def configured_probes() -> Probes:
    """A faulty key has its default here, as it has for the probes."""
    return config.load_leniently()[0].probes
