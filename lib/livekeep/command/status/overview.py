"""livekeep status: what is shown, since when and why, which channels are on air, the probes' results, what is
recorded, and each unit's state.

Reads the states, the probes' results and the configured channels; one call to systemd.
"""

import argparse
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import livekeep
from livekeep.command import unit_names
from livekeep.command.status import channels_text, probe_text, record_text
from livekeep.core import channels, config
from livekeep.core.errors import LivekeepError
from livekeep.core.state import Playback, PlayerState, PollerState
from livekeep.core.text import shown
from livekeep.status import snapshot
from livekeep.status.health import Clock, Level
from livekeep.status.screen_verdict import is_stuck, still_seconds
from livekeep.status.snapshot import Snapshot
from livekeep.system import systemd, terminal
from livekeep.system.systemd import Unit

COLOURS: dict[Level, terminal.Colour] = {"ok": "green", "degraded": "yellow", "down": "red"}
UNIT_COLOURS: dict[str, terminal.Colour] = {"active": "green", "failed": "red", "activating": "yellow"}
PICTURES = {"stream": "the stream", "holding": "the holding picture", "error": "the error picture", "none": "nothing"}
Row = tuple[str, str]


def run(arguments: argparse.Namespace) -> int:
    now = snapshot.take()
    configured = configured_channels()
    units, problem = ask_units(now.has_screen, sorted({*configured, *now.channels}))
    if arguments.json:
        terminal.say_block(terminal.json_text(document(now, configured, units)))
    else:
        terminal.say_block(text(now, configured, units, problem))
    return 0


def configured_channels(directory: Path = channels.DIRECTORY) -> tuple[str, ...]:
    """The channels of livekeep.toml and of the API, by name, as far as they can be read."""
    settings, _problems = config.load_leniently()
    try:
        return tuple(sorted(channels.load(settings, directory)[0]))
    except LivekeepError:
        return tuple(sorted(settings.channels))


def ask_units(has_screen: bool, names: Collection[str]) -> tuple[tuple[Unit, ...], str]:
    """The units, only the installed ones of health and channels; or none and systemd's error."""
    always = unit_names.SERVICES if has_screen else ()
    workers = [channels.worker_unit(name) for name in names]
    try:
        found = systemd.read_units([*unit_names.ALL, *workers])
        return tuple(entry for entry in found if entry.name in always or entry.load != "not-found"), ""
    except LivekeepError as error:
        return (), str(error)


def document(now: Snapshot, configured: Collection[str], units: tuple[Unit, ...]) -> dict[str, Any]:
    """The status for programs. An unreadable state is null, with the reason beside it."""
    return {
        "version": livekeep.__version__,
        "health": dataclasses.asdict(now.verdict().whole()),
        "now": now.clock.now,
        "now_monotonic": now.clock.now_monotonic,
        **(screen_document(now) if now.has_screen else {}),
        "channels": channels_text.document(now.channels, configured, now.clock),
        **probe_text.document(now.probe_results),
        "record": record_text.document(now.record, now.clock),
        "units": [dataclasses.asdict(entry) for entry in units],
    }


def screen_document(now: Snapshot) -> dict[str, Any]:
    return {
        "error_screen_active": now.error_screen_active,
        **state_document("poller", now.poller, now.clock),
        **state_document("player", now.player, now.clock),
    }


def state_document(name: str, state: PollerState | PlayerState | Exception, clock: Clock) -> dict[str, Any]:
    if isinstance(state, Exception):
        return {name: None, f"{name}_problem": str(state)}
    stuck = is_stuck(state, clock)
    return {name: dataclasses.asdict(state), f"{name}_problem": "stuck" if stuck else ""}


def text(now: Snapshot, configured: Collection[str], units: tuple[Unit, ...], problem: str) -> str:
    found = now.verdict().whole()
    head = f"{terminal.paint(found.level, COLOURS[found.level])}: {shown(found.sentence)}"
    screen = terminal.table([*screen_rows(now), *stream_rows(now)]) if now.has_screen else ""
    on_air = channels_text.overview(now.channels, configured, now.clock)
    probes = probe_text.overview(now.probe_results, now.clock) if now.probe_results else ""
    record = record_text.overview(now.record, now.clock)
    below = unit_table(units, now.clock) if units else f"Units: {shown(problem) or 'none of livekeep is installed'}"
    return "\n\n".join(filter(None, [head, screen, on_air, probes, record, below]))


def screen_rows(now: Snapshot) -> list[Row]:
    if now.error_screen_active:
        return [
            ("Screen", "the error screen: livekeep-display could not be started"),
            ("Do", "journalctl -u livekeep-display -n 50"),
        ]
    player, clock = now.player, now.clock
    if not isinstance(player, PlayerState):
        return [("Screen", f"not known; {player}")]
    rows = [("Screen", f"{PICTURES[player.picture]} since {terminal.since(player.since, clock.now)}")]
    rows += [(name, value) for name, value in (("Why", player.reason), ("Do", player.advice), ("Line", player.line)) if value]
    rows += [("Picture", f"{problem} (another one stands in)") for problem in player.picture_problems]
    if not player.display_up:
        rows.append(("Display", "does not answer, or no TV is connected"))
    if player.picture == "stream" or player.stream_picture == "none":
        rows.append(("Playback", playback(player)))
    rows.append(("Counted", counters(player.playback, player.display_restarts)))
    return [*rows, *stuck_row("livekeep-player", player, clock)]


def playback(player: PlayerState) -> str:
    found, still = player.playback, still_seconds(player)
    if found.position_seconds is None:
        movement = "position not known"
    elif found.buffering:
        movement = "waiting for data"
    else:
        movement = f"position stands still for {still:.0f} s" if still > 1.5 else "position moving"
    seen = "sound only" if player.stream_picture == "none" else "one colour" if player.stream_picture == "blank" else ""
    if player.stream_picture == "frozen" and found.picture_changed_at is not None:
        seen = f"the same picture for {terminal.duration(player.written_at - found.picture_changed_at)}"
    size = f"{found.width_pixels}x{found.height_pixels}" if found.width_pixels and found.height_pixels else ""
    rate = f"{found.frame_rate_hertz:.4g} frames/s" if found.frame_rate_hertz else ""
    decoder = found.hwdec if found.hwdec not in ("", "no") else "software"
    codec = f"{found.video_codec}, decoded by {decoder}" if found.video_codec else ""
    bits = f"{found.input_bytes_per_second * 8 / 1e6:.1f} Mbit/s" if found.input_bytes_per_second else ""
    cache = f"{found.cache_duration_seconds:.0f} s cached" if found.cache_duration_seconds is not None else ""
    return ", ".join(filter(None, (movement, seen, size, rate, codec, bits, cache)))


def counters(found: Playback, display_restarts: int) -> str:
    return (
        f"{found.dropped_by_decoder} frames dropped by the decoder, {found.dropped_by_output} by the output; "
        f"{found.stalls} stalls ({found.stalled_seconds:.0f} s); {found.starts} starts, {found.failed_starts} failed; "
        f"{display_restarts} display restarts"
    )


def stream_rows(now: Snapshot) -> list[Row]:
    poller, clock = now.poller, now.clock
    if not isinstance(poller, PollerState):
        return [("Stream", f"not known; {poller}")]
    name = f' "{poller.selected}"' if poller.selected else ""
    kind = f" ({poller.kind})" if poller.kind else ""
    rows = [("Stream", f"{poller.state}{name}{kind} since {terminal.since(poller.since, clock.now)}".removesuffix(" since "))]
    rows += [(label, value) for label, value in (("Reason", poller.reason), ("Do", poller.advice)) if value]
    if poller.next_start:
        rows.append(("Next start", terminal.local_time(poller.next_start, clock.now)))
    rows.append(("Asked", asked(poller, clock)))
    return [*rows, *stuck_row("livekeep-poller", poller, clock)]


def asked(poller: PollerState, clock: Clock) -> str:
    last = (
        f"last good answer {terminal.duration(clock.now - poller.last_success)} ago"
        if poller.last_success
        else "no good answer yet"
    )
    failures = f", {poller.consecutive_failures} failures since" if poller.consecutive_failures else ""
    wait = poller.next_request_monotonic - clock.now_monotonic
    following = f"; asks again in {terminal.duration(wait)}" if wait >= 1 else ""
    return last + failures + following


def stuck_row(name: str, state: PollerState | PlayerState, clock: Clock) -> list[Row]:
    if not is_stuck(state, clock):
        return []
    seconds = clock.now_monotonic - state.written_monotonic
    return [("Stuck", f"{name} wrote this {terminal.duration(seconds)} ago: sudo systemctl restart {name}")]


def unit_table(units: tuple[Unit, ...], clock: Clock) -> str:
    rows = [("UNIT", "STATE", "RESTARTS", "SINCE"), *(unit_row(entry, clock) for entry in units)]
    lines = terminal.table(rows).splitlines()
    coloured = [
        line.replace(row[1], terminal.paint(row[1], UNIT_COLOURS.get(entry.active, "")), 1)
        for line, row, entry in zip(lines[1:], rows[1:], units, strict=True)
    ]
    return "\n".join([terminal.paint(lines[0], "bold"), *coloured])


def unit_row(entry: Unit, clock: Clock) -> tuple[str, str, str, str]:
    name = entry.name.removesuffix(".service")
    if entry.load == "not-found":
        return name, "not installed", "", ""
    result = f", {entry.result}" if entry.active == "failed" else ""
    changed = clock.now - (clock.now_monotonic - entry.changed_monotonic)
    moment = terminal.since(changed, clock.now) if entry.changed_monotonic else ""
    restarts = str(entry.restarts) if entry.name.endswith(".service") else ""
    return name, f"{entry.active} ({entry.sub}{result})", restarts, moment
