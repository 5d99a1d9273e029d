"""Metrics of the channels: each worker's state, whether the channel is meant to be on air, how its worker last ended.

A channel that neither is meant to be on air nor runs has no samples. A channel that is meant to be on air and whose worker does
not run is off air, with no other samples. A broken or stale state is also a fault.
"""

import typing
from collections.abc import Iterator

from livekeep.core import channels
from livekeep.core.channels import ChannelState, Publishing
from livekeep.core.errors import TemporaryError
from livekeep.core.state import StateBrokenError
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import States
from livekeep.status import channel_status
from livekeep.status.channel_status import ChannelStatus
from livekeep.status.health import Clock

PUBLISHING: tuple[Publishing, ...] = typing.get_args(Publishing)


def collect(states: States, clock: Clock) -> Iterator[Sample]:
    """Raises `TemporaryError` after all readable samples."""
    faults = []
    for it in states.channels().values():
        fault = fault_of(it, clock.now_monotonic)
        if fault:
            faults.append(fault)
        worker = it.worker if isinstance(it.worker, ChannelState) and not fault else None
        channel = (it.channel,)
        yield "livekeep_channel_intended", channel, float(it.meant_since is not None)
        yield "livekeep_channel_on_air", channel, float(worker is not None and channels.is_on_air(worker, clock.now_monotonic))
        if worker:
            yield from worker_samples(worker)
        if it.end and it.end.channel == it.channel:
            yield "livekeep_channel_last_end_timestamp_seconds", channel, it.end.ended_at
            yield "livekeep_channel_last_end_info", (it.channel, it.end.result, it.end.exit_status), 1.0
        if youtube := channel_status.youtube_of(it, clock):
            yield "livekeep_channel_youtube_live", channel, float(youtube.showing == "live")
            if youtube.viewers is not None:
                yield "livekeep_channel_youtube_viewers", channel, float(youtube.viewers)
    if faults:
        raise TemporaryError("; ".join(faults))


def fault_of(it: ChannelStatus, now_monotonic: float) -> str:
    """Why the worker's own samples are missing although a state exists, or ""."""
    if isinstance(it.worker, StateBrokenError):
        return str(it.worker)
    if isinstance(it.worker, ChannelState):
        silent = now_monotonic - it.worker.written_monotonic
        if silent > channels.STALE_SECONDS:
            return f"worker@{it.channel}/state.json: is {silent:.0f} s old; its worker is stuck: see livekeep status"
        if it.worker.channel != it.channel:
            return f"worker@{it.channel}/state.json: is of another channel"
    return ""


def worker_samples(state: ChannelState) -> Iterator[Sample]:
    """The samples of a worker's state."""
    channel = (state.channel,)
    yield from (("livekeep_channel_state", (*channel, it), float(it == state.publishing)) for it in PUBLISHING)
    outcomes = {
        "played": state.items_played, "short": state.items_short, "failed": state.items_failed, "skipped": state.items_skipped,
    }  # fmt: skip
    yield from (("livekeep_channel_items_total", (*channel, outcome), count) for outcome, count in outcomes.items())
    last_acknowledged = state.last_acknowledged_monotonic
    values: dict[str, float | None] = {
        "connected_since_timestamp_seconds": state.connected_since,
        "on_backup": state.is_backup,
        "connections_total": state.connections,
        "refusals_total": state.refusals,
        "retries": state.retry_count,
        "acknowledged_bytes_total": state.acknowledged_bytes,
        # By the wall clock when the state was written.
        "last_acknowledged_timestamp_seconds": None
        if last_acknowledged is None
        else state.written_at - (state.written_monotonic - last_acknowledged),
        "items_known": state.items_known,
        "slate_active": state.picture == "slate",
        "slates_total": state.slates,
        "slate_seconds_total": state.slate_seconds,
        "storage_success": not state.storage_problem,
        "timeline_seconds_total": state.timeline_seconds,
        "speed_ratio": state.speed,
        "drift_seconds": state.drift_seconds,
    }
    yield from ((f"livekeep_channel_{name}", channel, float(value)) for name, value in values.items() if value is not None)
