"""States that hold all that a unit can know, as the units write them, and what the exporter makes of them."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from livekeep.core import channels, state
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import (
    Analysis,
    ClockResult,
    Connector,
    HostResult,
    Interface,
    Lookup,
    NetworkResult,
    Ping,
    Run,
    SpeedtestResult,
    StreamResult,
    YoutubeResult,
    YoutubeVideo,
)
from livekeep.core.record_states import AlerterState, ClipsState, HotClip, OpenAlert, RecorderState
from livekeep.core.state import REQUEST_OUTCOMES, Playback, PlayerState, PollerState, Requests, State, TvState
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import States
from livekeep.status.health import Clock

Figures = dict[str, float]
NOW = 1_800_000_000.0
RUN = Run("ok", "", "", NOW - 100, NOW - 5, NOW - 6, 1.5, 60.0, 10, 2, 3)
REQUESTS = Requests({**dict.fromkeys(REQUEST_OUTCOMES, 0), "2xx": 55, "4xx": 2}, (1, 20, 50, 55, 55, 56, 56, 56), 57, 32.25)
POLLER = PollerState(
    state="live",
    since=NOW - 600,
    live_since=NOW - 600,
    next_start=NOW + 3600,
    last_success=NOW - 3,
    consecutive_failures=1,
    url_expires=NOW + 600,
    ratelimit_remaining=480,
    requests=REQUESTS,
)
PLAYBACK = Playback(
    position_seconds=12.5,
    position_changed_at=NOW - 1,
    picture_changed_at=NOW - 700,
    buffering=True,
    cache_duration_seconds=4.0,
    cache_bytes=123456,
    input_bytes_per_second=654321.5,
    frame_rate_hertz=25.0,
    av_offset_seconds=-0.01,
    video_codec="h264",
    hwdec="v4l2m2m-copy",
    dropped_by_decoder=3,
    dropped_by_output=4,
    stalls=2,
    stalled_seconds=8.5,
)
PLAYER = PlayerState(
    picture="stream", stream_picture="frozen", since=NOW - 600, display_up=True, display_restarts=1, playback=PLAYBACK
)
PINGS = (
    Ping("vimeo.com", "ipv4", 5, 4, 500, 499, 0.0123, 0.02, 0.001),
    Ping("vimeo.com", "ipv6", 0, 0, 0, 0, problem="there is no IPv6 here"),
    Ping("8.8.8.8", "ipv4", 5, 0, 500, 400),
)
LOOKUPS = (Lookup("api.vimeo.com", "192.0.2.1", 0.0321), Lookup("api.vimeo.com", "192.0.2.2", problem="no answer"))
INTERFACES = (Interface("eth0", True, ("192.0.2.7",), 1, 2),)
FINDINGS: dict[str, Any] = {
    "network": NetworkResult(run=RUN, pings=PINGS, lookups=LOOKUPS, interfaces=INTERFACES),
    "stream": StreamResult(
        run=RUN,
        target="main",
        is_reachable=True,
        media_sequence=123,
        last_change=NOW - 2,
        target_duration_seconds=6.0,
        variants=3,
        variant_bandwidth_bits_per_second=5_000_000,
        analysis=Analysis(NOW - 100, "h264", "aac", 1920, 1080, 25.0, 2, 48000),
    ),
    "speedtest": SpeedtestResult(
        run=RUN,
        tool="url",
        measured_at=NOW - 1000,
        download_bytes_per_second=6e6,
        upload_bytes_per_second=1.5e6,
        latency_seconds=0.013,
        received_bytes_total=63_000_000,
        sent_bytes_total=16_000_000,
    ),
    "host": HostResult(
        run=RUN,
        throttled=("under_voltage",),
        throttled_since_boot=("under_voltage", "throttled"),
        under_voltage_events=2,
        connectors=(Connector("HDMI-A-1", True, "1920x1080"), Connector("HDMI-A-2", None)),
        ext4_errors={"mmcblk0p2": 7},
        card_is_good=True,
        card_checked_at=NOW - 99,
    ),
    "youtube": YoutubeResult(
        run=RUN,
        videos=(YoutubeVideo("main", "dQw4w9WgXcQ", "live", "A day in the wood", None, NOW - 3600, None, 12),),
    ),
    "clock": ClockResult(
        run=RUN, synchronized=True, server="ntp.example", stratum=2, offset_seconds=-0.25, last_contact=NOW - 30
    ),
}
TV = TvState(since=NOW - 3600, reason="the plan (daily 08:00-22:00)", until=None, method="cec", power="on")
CHANNEL = ChannelState(
    channel="main",
    pid=4711,
    started_at=NOW - 7200,
    publishing="on-air",
    since=NOW - 3600,
    last_health_check=NOW - 1,
    ingest="a.rtmps.example:443",
    is_backup=True,
    connected_since=NOW - 3600,
    acknowledged_bytes=1_400_000_000,
    last_acknowledged_monotonic=0.0,
    picture="item",
    now=Played("shows/Tuesday.mp4", "copy", 1800.0, NOW - 60, 60.0),
    next=Played("shows/Wednesday.mp4", "normalise", 1750.0),
    last=(Played("shows/Monday.mp4", "copy", 1700.0, NOW - 1760, 1700.0, "played"),),
    items_known=50,
    items_played=7,
    items_short=1,
    items_failed=2,
    items_skipped=3,
    slates=4,
    slate_seconds=12.5,
    connections=3,
    refusals=2,
    retry_count=0,
    timeline_seconds=7190.0,
    drift_seconds=-0.02,
    speed=1.0,
)
END = ChannelEnd("main", 4700, "signal", "killed", "KILL", NOW - 7201)
RECORDER = RecorderState(
    started_at=NOW - 7200,
    entries=900,
    calls=123_456,
    events=78,
    sessions_running=2,
    duplicates=3,
    lost_entries=1,
    lost_calls=45,
    commits=120,
    lag_seconds=0.7,
    last_commit_at=NOW - 2,
    database_bytes=71_000_000,
    oldest_call_at=NOW - 90 * 86400,
    checked_at=NOW - 3600,
)
ALERTER = AlerterState(
    started_at=NOW - 7200,
    problems=("alerts.slow: there is no function of that name",),
    rules=9,
    channels=1,
    open=(
        OpenAlert("down", "", "critical", NOW - 400, "the screen is dark", "sudo livekeep doctor"),
        OpenAlert("hot", "", "warning", NOW - 900, "81 °C"),
    ),
    waiting=1,
    delivered=12,
    failed=2,
    last_delivered_at=NOW - 60,
)
CLIPS = ClipsState(
    ran_at=NOW - 300,
    interval_seconds=900.0,
    outcome="succeeded",
    sources=2,
    clips=150,
    hot=(HotClip("ours", "987", "A day in the wood", "https://vimeo.com/987", 9.1, "9 × its usual rate for 3 h"),),
)
ALL: tuple[State, ...] = (POLLER, PLAYER, *FINDINGS.values())
OF_RECORD: tuple[State, ...] = (RECORDER, ALERTER, CLIPS)


def write(written: State, root: Path, seconds_ago: float = 0.0) -> None:
    """Write a state below the state directory `root` as its unit does, or did so long ago."""
    path = state.path_of(type(written), root)
    path.parent.mkdir(parents=True, exist_ok=True)
    moment = {"written_at": time.time() - seconds_ago, "written_monotonic": time.monotonic() - seconds_ago}
    state.write(dataclasses.replace(written, **moment), root)  # type: ignore[arg-type]


def write_all(root: Path, seconds_ago: float = 0.0) -> None:
    for each in (*ALL, TV, *OF_RECORD):
        write(each, root, seconds_ago)


def write_channel(
    written: ChannelState | ChannelEnd, root: Path, seconds_ago: float = 0.0, silent_seconds: float | None = 0.5
) -> None:
    """As `write`, below the channel's own folder. The last bytes were acknowledged so long before; never, when that is None."""
    if isinstance(written, ChannelState):
        moment = None if silent_seconds is None else time.monotonic() - seconds_ago - silent_seconds
        written = dataclasses.replace(written, last_acknowledged_monotonic=moment)
    write(written, channels.folder_of(written.channel, root), seconds_ago)


def intend(channel: str, kept: Path, seconds_ago: float = 3600.0) -> None:
    """Note that the channel is meant to be on air, since so long ago."""
    directory = kept / "channels"
    directory.mkdir(parents=True, exist_ok=True)
    channels.intend(channel, directory)
    moment = time.time() - seconds_ago
    os.utime(directory / f"{channel}.on-air", (moment, moment))


def collect(states: States, source: Callable[[States, Clock], Iterable[Sample]]) -> tuple[Figures, str]:
    """The samples of a source by name and labels, and the fault that came after them, or ""."""
    found: Figures = {}
    try:
        for name, labels, value in source(states, Clock(time.time(), time.monotonic())):
            key = " ".join([name.removeprefix("livekeep_"), *labels])
            assert key not in found, "a sample is given twice"
            found[key] = float(value)
    except TemporaryError as error:
        return found, str(error)
    return found, ""


def present(found: Figures, family: str) -> list[str]:
    """The values of a state set that are 1."""
    return [key.rpartition(" ")[2] for key, value in found.items() if key.startswith(f"{family} ") and value]
