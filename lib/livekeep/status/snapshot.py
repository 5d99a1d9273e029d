"""A snapshot of all units' states, and the verdict on it: for command, exporter, web pages and alerts."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from livekeep.core import channels, config, paths, state
from livekeep.core.config import Probes
from livekeep.core.errors import not_permitted
from livekeep.core.state import PlayerState, PollerState, ReadState, StateAbsentError, StateBrokenError, TvState
from livekeep.status import channel_status, probe_status, record_status, screen_verdict, tv_status
from livekeep.status.channel_status import ChannelStatus
from livekeep.status.health import Clock, Verdict
from livekeep.status.probe_status import ProbeResults
from livekeep.status.record_status import RecordStatus
from livekeep.status.tv_status import ReadTv

ERROR_SCREEN_PICTURE = "error-screen/picture.png"
"""livekeep-error-screen's picture, below the state directory; it exists only while that unit runs."""
WITHOUT_SCREEN = "install/without-screen"
"""A file below the kept directory, present if livekeep was installed without the screen."""


@dataclass(frozen=True)
class Snapshot:
    """An unreadable state is replaced by its error. `channels`: those that are meant to be on air, or run."""

    clock: Clock
    poller: PollerState | StateAbsentError | StateBrokenError
    player: PlayerState | StateAbsentError | StateBrokenError
    error_screen_active: bool
    record: RecordStatus
    probe_results: ProbeResults = field(default_factory=dict)
    channels: Mapping[str, ChannelStatus] = field(default_factory=dict)
    has_screen: bool = True
    tv: ReadTv = field(default_factory=StateAbsentError)

    def is_off_on_purpose(self) -> bool:
        """Whether no picture is wanted on the TV now, by plan or by hand."""
        return tv_status.is_off(self.tv, self.clock)

    def verdict(self) -> Verdict:
        on_air = channel_status.verdicts(self.channels, self.clock)
        if not self.has_screen:
            return Verdict(None, on_air)
        screen = screen_verdict.verdict(
            self.poller, self.player, self.error_screen_active, self.clock, self.probe_results, self.tv
        )
        return Verdict(screen, on_air)


def read(
    clock: Clock,
    root: Path = paths.STATE_DIRECTORY,
    kept: Path = paths.KEPT_DIRECTORY,
    probes: Probes | None = None,
    read_state: ReadState = state.read_or_error,
) -> Snapshot:
    """All states below `root`, and the channels' intentions; `probes`: their current intervals.

    Raises `PermissionError` or `TemporaryError` when they cannot be read.
    """
    return Snapshot(
        clock,
        read_state(PollerState, root),
        read_state(PlayerState, root),
        error_screen_is_active(root),
        record_status.read(root, read_state),
        probe_status.read(probes, root, read_state),
        channel_status.read(root, kept / channels.DIRECTORY.name, read_state),
        has_screen(kept),
        read_state(TvState, root),
    )


def take() -> Snapshot:
    """The current snapshot, for the operator. Raises `LivekeepError` if this user may not read it."""
    try:
        # An invalid key has its default here, as in the probes.
        return read(Clock(time.time(), time.monotonic()), probes=config.load_leniently()[0].probes)
    except PermissionError as error:
        raise not_permitted(error) from error


def has_screen(kept: Path = paths.KEPT_DIRECTORY) -> bool:
    """Whether livekeep was installed with the screen."""
    # Not by a Path: this runs at each scrape, and a folder without access is not an error.
    return not os.path.exists(f"{kept}/{WITHOUT_SCREEN}")  # noqa: PTH110


def error_screen_is_active(root: Path = paths.STATE_DIRECTORY) -> bool:
    """Whether livekeep-error-screen holds the screen. Raises `PermissionError` without access."""
    try:
        (root / ERROR_SCREEN_PICTURE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
