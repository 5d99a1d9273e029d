"""Metrics of the screen: the health verdict, livekeep-poller's state of the stream, what livekeep-player shows, and whether
livekeep-tv wants a picture.

An absent state has no samples and is not a fault: its unit is stopped. A broken or stale state has no samples and is a fault.
"""

import typing
from collections.abc import Iterable, Iterator

from livekeep.core.state import (
    DURATION_BUCKETS_SECONDS,
    Cause,
    Picture,
    PlayerState,
    PollerState,
    StateBrokenError,
    StreamPicture,
    StreamState,
    TvState,
)
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import States
from livekeep.status import tv_status
from livekeep.status.health import LEVELS, Clock
from livekeep.status.screen_verdict import is_stuck
from livekeep.system.metric_family import known

STREAM_STATES: tuple[StreamState, ...] = typing.get_args(StreamState)
CAUSES = tuple(cause or "none" for cause in typing.get_args(Cause))
STREAM_PICTURES: tuple[StreamPicture, ...] = tuple(filter(None, typing.get_args(StreamPicture)))
MODES: dict[Picture, str] = {"stream": "stream", "holding": "holding", "error": "error", "none": "off"}


def one_of(name: str, values: Iterable[str], present: str) -> Iterator[Sample]:
    """A state set."""
    return ((name, (value,), float(value == present)) for value in values)


def poller(states: States, clock: Clock) -> Iterator[Sample]:
    """Raises `TemporaryError`."""
    state = states.current(PollerState, clock, is_stuck)
    if state is None:
        return
    yield from one_of("livekeep_stream_state", STREAM_STATES, state.state)
    yield from one_of("livekeep_stream_cause", CAUSES, state.cause or "none")
    yield from known(
        (
            ("livekeep_stream_live_since_timestamp_seconds", state.live_since),
            ("livekeep_stream_next_start_timestamp_seconds", state.next_start),
            ("livekeep_stream_url_expiry_timestamp_seconds", state.url_expires),
            ("livekeep_api_consecutive_failures", state.consecutive_failures),
            ("livekeep_api_last_success_timestamp_seconds", state.last_success),
            ("livekeep_api_ratelimit_remaining", state.ratelimit_remaining),
        )
    )
    requests, duration = state.requests, "livekeep_api_request_duration_seconds"
    for outcome, count in requests.by_outcome.items():
        yield "livekeep_api_requests_total", (outcome,), count
    for bound, count in zip(DURATION_BUCKETS_SECONDS, requests.duration_buckets, strict=True):
        yield f"{duration}_bucket", (str(bound),), count
    yield f"{duration}_bucket", ("+Inf",), requests.duration_count
    yield f"{duration}_count", (), requests.duration_count
    yield f"{duration}_sum", (), requests.duration_sum_seconds


def player(states: States, clock: Clock) -> Iterator[Sample]:
    """Also whether the error screen has taken the player's place. Raises `TemporaryError`."""
    is_error = states.error_screen_is_active()
    if is_error:
        yield from one_of("livekeep_display_mode", MODES.values(), "error")
    state = states.current(PlayerState, clock, is_stuck)
    if state is None:
        return
    if not is_error:
        yield from one_of("livekeep_display_mode", MODES.values(), MODES[state.picture])
    if state.stream_picture:
        yield from one_of("livekeep_player_stream_picture", STREAM_PICTURES, state.stream_picture)
    playback = state.playback
    yield from known(
        (
            ("livekeep_player_up", state.display_up),
            ("livekeep_display_restarts_total", state.display_restarts),
            ("livekeep_player_position_seconds", playback.position_seconds),
            ("livekeep_player_position_last_change_timestamp_seconds", playback.position_changed_at),
            ("livekeep_player_picture_last_change_timestamp_seconds", playback.picture_changed_at),
            ("livekeep_player_cache_duration_seconds", playback.cache_duration_seconds),
            ("livekeep_player_cache_bytes", playback.cache_bytes),
            ("livekeep_player_input_bytes_per_second", playback.input_bytes_per_second),
            ("livekeep_player_buffering", playback.buffering),
            ("livekeep_player_stalls_total", playback.stalls),
            ("livekeep_player_stalled_seconds_total", playback.stalled_seconds),
            ("livekeep_player_av_offset_seconds", playback.av_offset_seconds),
            ("livekeep_player_video_frame_rate_hertz", playback.frame_rate_hertz),
        )
    )
    yield "livekeep_player_dropped_frames_total", ("decoder",), playback.dropped_by_decoder
    yield "livekeep_player_dropped_frames_total", ("output",), playback.dropped_by_output
    if playback.video_codec:
        yield "livekeep_player_decoder_info", (playback.video_codec, playback.hwdec), 1


def tv(states: States, clock: Clock) -> Iterator[Sample]:
    """Raises `TemporaryError`."""
    if not states.has_screen():
        return
    state = states.read(TvState)
    yield "livekeep_screen_wanted", (), not tv_status.is_off(state, clock)
    if isinstance(state, StateBrokenError):
        raise state
    yield "livekeep_tv_problem", (), tv_status.trouble(state, clock) != ""


def health(states: States, clock: Clock) -> Iterator[Sample]:
    """The verdict. Raises `TemporaryError`."""
    verdict = states.verdict(clock)
    yield from one_of("livekeep_health_state", LEVELS, verdict.whole().level)
    if verdict.screen:
        yield from one_of("livekeep_screen_health_state", LEVELS, verdict.screen.level)
    for channel, health_of_it in verdict.channels.items():
        for level in LEVELS:
            yield "livekeep_channel_health_state", (channel, level), float(level == health_of_it.level)
