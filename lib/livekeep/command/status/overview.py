"""livekeep status: what is shown, since when and why, which channels are on air, the probes' results, what is
recorded, and each unit's state.

Reads the states, the probes' results and the configured channels; one call to systemd.
"""

import argparse
import dataclasses
from collections.abc import Collection
from typing import Any

import livekeep
from livekeep.command import unit_names
from livekeep.command.status import channels_text, probe_text, record_text
from livekeep.core import channels, config
from livekeep.core.errors import LivekeepError
from livekeep.core.state import PlayerState, PollerState, StateAbsentError, TvState
from livekeep.core.text import shown
from livekeep.status import snapshot, tv_status
from livekeep.status.health import Clock
from livekeep.status.screen_verdict import is_stuck, still_seconds
from livekeep.status.snapshot import Snapshot
from livekeep.system import systemd, terminal
from livekeep.system.systemd import Unit

UNIT_COLOURS: dict[str, terminal.Colour] = {"active": "green", "failed": "red", "activating": "yellow"}
PICTURES = {"stream": "the stream", "holding": "the holding picture", "error": "the error picture", "none": "nothing"}
Row = tuple[str, str]


def run(arguments: argparse.Namespace) -> int:
    now = snapshot.take()
    configured = configured_channels()
    always = unit_names.SERVICES if now.has_screen else ()
    workers = [channels.worker_unit(name) for name in sorted({*configured, *now.channels})]
    units: tuple[Unit, ...] = ()
    problem = ""
    try:
        known = systemd.read_units([*unit_names.ALL, *workers])
        units = tuple(unit for unit in known if unit.name in always or unit.load != "not-found")
    except LivekeepError as error:
        problem = str(error)
    if arguments.json:
        terminal.say_block(terminal.json_text(document(now, configured, units)))
    else:
        terminal.say_block(text(now, configured, units, problem))
    return 0


def configured_channels() -> tuple[str, ...]:
    """The channels of livekeep.toml and of the API, as far as they can be read."""
    settings, _problems = config.load_leniently()
    try:
        return tuple(channels.load(settings)[0])
    except LivekeepError:
        return tuple(settings.channels)


def document(now: Snapshot, configured: Collection[str], units: tuple[Unit, ...]) -> dict[str, Any]:
    """The status for programs. An unreadable state is null, with the reason beside it."""
    screen: dict[str, Any] = {"error_screen_active": now.error_screen_active} if now.has_screen else {}
    for name, state in (("poller", now.poller), ("player", now.player)) if now.has_screen else ():
        if isinstance(state, Exception):
            screen |= {name: None, f"{name}_problem": str(state)}
        else:
            screen |= {name: dataclasses.asdict(state), f"{name}_problem": "stuck" if is_stuck(state, now.clock) else ""}
    if now.has_screen:
        tv = now.tv if isinstance(now.tv, TvState) else None
        screen |= {"tv": dataclasses.asdict(tv) if tv else None, "is_off_on_purpose": now.is_off_on_purpose()}
    return {
        "version": livekeep.__version__,
        "health": dataclasses.asdict(now.verdict().whole()),
        "now": now.clock.now,
        "now_monotonic": now.clock.now_monotonic,
        **screen,
        "channels": channels_text.document(now.channels, configured, now.clock),
        **probe_text.document(now.probe_results),
        "record": record_text.document(now.record, now.clock),
        "units": [dataclasses.asdict(unit) for unit in units],
    }


def text(now: Snapshot, configured: Collection[str], units: tuple[Unit, ...], problem: str) -> str:
    health = now.verdict().whole()
    head = f"{terminal.paint(health.level, channels_text.COLOURS[health.level])}: {shown(health.sentence)}"
    screen = terminal.table([*tv_rows(now), *screen_rows(now), *stream_rows(now)]) if now.has_screen else ""
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
        return [("Screen", f"unknown; {player}")]
    rows = [("Screen", f"{PICTURES[player.picture]} since {terminal.since(player.since, clock.now)}")]
    rows += present(("Why", player.reason), ("Do", player.advice), ("Line", player.line))
    rows += [("Picture", f"{problem} (another one is shown instead)") for problem in player.picture_problems]
    if not player.display_up:
        rows.append(("Display", "does not answer, or no TV is connected"))
    if player.picture == "stream" or player.stream_picture == "none":
        rows.append(("Playback", playback(player)))
    it = player.playback
    counters = (
        f"{it.dropped_by_decoder} frames dropped by the decoder, {it.dropped_by_output} by the output; "
        f"{it.stalls} stalls ({it.stalled_seconds:.0f} s); {it.starts} starts, {it.failed_starts} failed; "
        f"{player.display_restarts} display restarts"
    )
    return [*rows, ("Counted", counters), *stuck_row("livekeep-player", player, clock)]


def tv_rows(now: Snapshot) -> list[Row]:
    """Nothing without a plan."""
    tv, clock = now.tv, now.clock
    if isinstance(tv, StateAbsentError):
        return []
    if not isinstance(tv, TvState):
        return [("TV", f"unknown; {tv}")]
    fault = tv_status.trouble(tv, clock)
    return [("TV", tv_status.wanted_text(tv, clock)), *present(("TV fault", fault), ("Do", tv.advice))]


def present(*rows: Row) -> list[Row]:
    """The rows with a value."""
    return [row for row in rows if row[1]]


def playback(player: PlayerState) -> str:
    found, still = player.playback, still_seconds(player)
    if found.position_seconds is None:
        movement = "position not known"
    elif found.buffering:
        movement = "waiting for data"
    else:
        movement = f"position unchanged for {still:.0f} s" if still > 1.5 else "position moving"
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


def stream_rows(now: Snapshot) -> list[Row]:
    poller, clock = now.poller, now.clock
    if not isinstance(poller, PollerState):
        return [("Stream", f"unknown; {poller}")]
    name = f' "{poller.selected}"' if poller.selected else ""
    kind = f" ({poller.kind})" if poller.kind else ""
    rows = [("Stream", f"{poller.state}{name}{kind} since {terminal.since(poller.since, clock.now)}".removesuffix(" since "))]
    rows += present(("Reason", poller.reason), ("Do", poller.advice))
    if poller.next_start:
        rows.append(("Next start", terminal.local_time(poller.next_start, clock.now)))
    asked = "no good answer yet"
    if poller.last_success:
        asked = f"last good answer {terminal.duration(clock.now - poller.last_success)} ago"
    if poller.consecutive_failures:
        asked += f", {poller.consecutive_failures} failures since"
    wait = poller.next_request_monotonic - clock.now_monotonic
    if wait >= 1:
        asked += f"; asks again in {terminal.duration(wait)}"
    return [*rows, ("Asked", asked), *stuck_row("livekeep-poller", poller, clock)]


def stuck_row(name: str, state: PollerState | PlayerState, clock: Clock) -> list[Row]:
    if not is_stuck(state, clock):
        return []
    seconds = clock.now_monotonic - state.written_monotonic
    return [("Stuck", f"{name} wrote this {terminal.duration(seconds)} ago: sudo systemctl restart {name}")]


def unit_table(units: tuple[Unit, ...], clock: Clock) -> str:
    rows = []
    for unit in units:
        name = unit.name.removesuffix(".service")
        if unit.load == "not-found":
            rows.append((name, "not installed", "", ""))
            continue
        result = f", {unit.result}" if unit.active == "failed" else ""
        changed = clock.now - (clock.now_monotonic - unit.changed_monotonic)
        moment = terminal.since(changed, clock.now) if unit.changed_monotonic else ""
        restarts = str(unit.restarts) if unit.name.endswith(".service") else ""
        rows.append((name, f"{unit.active} ({unit.sub}{result})", restarts, moment))
    colours = [UNIT_COLOURS.get(unit.active, "") for unit in units]
    return terminal.state_table(("UNIT", "STATE", "RESTARTS", "SINCE"), rows, colours)
