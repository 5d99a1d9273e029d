"""The probes' results: what each probe measured at its last run, and what it has counted since boot.

Each is a state like the others (core/state.py), written by livekeep-probe-NAME, and stays between the runs: `run.last_run` says
how old it is. What could not be measured is None or absent, never 0. The results stand here because they cross the border;
how a probe measures is in its folder (probes/NAME).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from livekeep.core.state import Signed, State

Verdict = Literal["ok", "warn", "fail", "skipped"]
"""warn: it works, but badly; fail: it does not work; skipped: there was nothing to check, or it was not the time to."""
Family = Literal["ipv4", "ipv6"]
ThrottleCondition = Literal["under_voltage", "frequency_capped", "throttled", "soft_temp_limit"]
THROTTLE_CONDITIONS: tuple[ThrottleCondition, ...] = ("under_voltage", "frequency_capped", "throttled", "soft_temp_limit")


@dataclass(frozen=True)
class Run:
    """The last run of a probe, and the runs counted by outcome since boot."""

    verdict: Verdict = "skipped"
    reason: str = ""
    """One sentence in plain words; it holds no URL."""
    advice: str = ""
    since: float = 0.0
    """Since when the verdict is this one."""
    last_run: float = 0.0
    """When it last ended, skipped runs included."""
    last_success: float | None = None
    """When it last was ok or warn."""
    duration_seconds: float = 0.0
    interval_seconds: float = 0.0
    successes: int = 0
    failures: int = 0
    skips: int = 0


@dataclass(frozen=True)
class ProbeResult(State):
    """What all results share."""

    TITLE: ClassVar[str]
    """As the doctor names the probe."""
    run: Run = Run()

    @classmethod
    def probe(cls) -> str:
        """The probe's name, such as "network"."""
        return cls.FILE.partition("/")[0].removeprefix("probe-")

    def fault(self, _is_on: bool) -> str:
        """What it says against the screen's health, "" when nothing; `_is_on`: whether the stream is live or about to be."""
        return ""


@dataclass(frozen=True)
class Ping:
    """A host over one family: this run's round trips, and the packets counted since boot."""

    target: str
    """As configured: a name or an address."""
    family: Family
    sent: int = 0
    received: int = 0
    sent_total: int = 0
    received_total: int = 0
    rtt_seconds: float | None = None
    """The mean of this run, None without an answer."""
    rtt_max_seconds: float | None = None
    jitter_seconds: float | None = None
    """The mean difference of two round trips that follow each other; None with fewer than two answers."""
    problem: str = ""
    """Why nothing was sent, such as that its name is not known; "" when packets were sent."""


@dataclass(frozen=True)
class Lookup:
    """A name asked of one resolver, directly."""

    name: str
    resolver: str
    duration_seconds: float | None = None
    """Until the answer came; None without a good one."""
    problem: str = ""


@dataclass(frozen=True)
class Interface:
    """A network device other than the loopback; None where the kernel does not say."""

    device: str
    carrier: bool | None = None
    addresses: tuple[str, ...] = ()
    receive_bytes: int | None = None
    transmit_bytes: int | None = None


@dataclass(frozen=True)
class NetworkResult(ProbeResult):
    """What livekeep-probe-network saw."""

    FILE = "probe-network/state.json"
    TITLE = "network probe"
    pings: tuple[Ping, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    interfaces: tuple[Interface, ...] = ()

    def fault(self, _is_on: bool) -> str:
        return "failed" if self.run.verdict == "fail" else ""


@dataclass(frozen=True)
class Analysis:
    """What ffprobe says of the stream; None or "" where it cannot say."""

    analysed_at: float = 0.0
    video_codec: str = ""
    audio_codec: str = ""
    width_pixels: int | None = None
    height_pixels: int | None = None
    frame_rate_hertz: float | None = None
    audio_channels: int | None = None
    audio_sample_rate_hertz: int | None = None


@dataclass(frozen=True)
class StreamResult(ProbeResult):
    """What livekeep-probe-stream saw of the stream that should be playing."""

    FILE = "probe-stream/state.json"
    TITLE = "stream probe"
    target: str = ""
    """The configured stream's name."""
    source: str = ""
    """Which stream that was, as in `core.state.PollerState`: the name may be given to another one."""
    url_obtained_monotonic: float | None = None
    """Of the URL that was analysed: another one is analysed again."""
    is_reachable: bool | None = None
    """None when nothing was live."""
    media_sequence: int | None = None
    last_segment: str = ""
    """The name of the newest segment, without its query."""
    last_change: float | None = None
    """When the playlist was last seen to have grown."""
    target_duration_seconds: float | None = None
    variants: int | None = None
    """None when the stream has no master playlist."""
    variant_bandwidth_bits_per_second: int | None = None
    """The highest that the master playlist declares."""
    analysis: Analysis | None = None
    analysis_problem: str = ""

    def fault(self, is_on: bool) -> str:
        return "failed" if self.run.verdict == "fail" and is_on else ""


@dataclass(frozen=True)
class SpeedtestResult(ProbeResult):
    """What livekeep-probe-speedtest measured when it last ran to its end."""

    FILE = "probe-speedtest/state.json"
    TITLE = "speed test"
    tool: str = ""
    """The tool's name, or "url"."""
    measured_at: float | None = None
    download_bytes_per_second: float | None = None
    upload_bytes_per_second: float | None = None
    latency_seconds: float | None = None
    received_bytes_total: int = 0
    sent_bytes_total: int = 0
    """Used by speed tests since boot, failed ones included as far as they are known."""


@dataclass(frozen=True)
class Connector:
    """A display connector as the kernel knows it."""

    name: str
    connected: bool | None = None
    mode: str = ""
    """The first mode that the TV offers, such as "1920x1080"; "" when there is none."""


@dataclass(frozen=True)
class HostResult(ProbeResult):
    """What livekeep-probe-host saw; a board without a sensor has None."""

    FILE = "probe-host/state.json"
    TITLE = "host probe"
    throttled: tuple[ThrottleCondition, ...] | None = None
    throttled_since_boot: tuple[ThrottleCondition, ...] | None = None
    under_voltage_events: int | None = None
    """Times that under-voltage began, as seen from run to run since boot."""
    connectors: tuple[Connector, ...] = ()
    ext4_errors: Mapping[str, int] = field(default_factory=dict)
    """Errors that the kernel counted on each mounted ext4 file system, by block device."""
    card_is_good: bool | None = None
    """Whether what was written to the card could be read again."""
    card_checked_at: float | None = None
    card_problem: str = ""

    def fault(self, _is_on: bool) -> str:
        return "finds fault" if self.run.verdict == "fail" or "under_voltage" in (self.throttled or ()) else ""


@dataclass(frozen=True)
class ClockResult(ProbeResult):
    """What livekeep-probe-clock learned of the clock and its time server; None or "" where nobody says."""

    FILE = "probe-clock/state.json"
    TITLE = "clock probe"
    synchronized: bool | None = None
    server: str = ""
    stratum: int | None = None
    offset_seconds: Signed | None = None
    """How far the clock was behind the server at its last answer; less than 0: ahead of it."""
    last_contact: float | None = None
    """When the server last answered."""

    def fault(self, _is_on: bool) -> str:
        return "finds fault" if self.synchronized is False else ""


Showing = Literal["live", "upcoming", "ended", "none", "missing", ""]
"""none: a video that is no broadcast; missing: private, deleted, or there never was one; "": YouTube could not be asked."""
NOT_SHOWN_SECONDS = 120.0
"""So long may YouTube take to show what it is sent."""
NOT_SHOWN: dict[Showing, tuple[str, str]] = {
    "upcoming": (
        "YouTube only announces its broadcast",
        "is youtube_video the video of this stream key, and is its auto-start on? See YouTube Studio",
    ),
    "none": ("YouTube says that its video is no broadcast", "is youtube_video the video of this stream key? See YouTube Studio"),
    "ended": ("YouTube has ended its broadcast", "begin a new one in YouTube Studio, and set youtube_video to its video"),
    "missing": (
        "YouTube has no such video: it is private, deleted or mistyped",
        "set youtube_video to a video that is public or unlisted",
    ),
}
"""What it means that a channel is on air here and not live there, and what to do."""


@dataclass(frozen=True)
class YoutubeVideo:
    """What YouTube shows of a channel's broadcast. Moments are Unix seconds, None where YouTube does not say."""

    channel: str
    video: str
    """The video's id."""
    showing: Showing = ""
    title: str = ""
    scheduled_start: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    viewers: int | None = None
    unshown_since: float | None = None
    """Since when the channel has been on air here without being live there."""

    def contradicts(self, now: float) -> bool:
        """Whether the channel is on air here for long enough that it should be live there. An end counts at once."""
        if self.unshown_since is None or self.showing not in NOT_SHOWN:
            return False
        return self.showing == "ended" or now - self.unshown_since >= NOT_SHOWN_SECONDS


@dataclass(frozen=True)
class YoutubeResult(ProbeResult):
    """YouTube's answer about the channels that name their video."""

    FILE = "probe-youtube/state.json"
    TITLE = "YouTube"
    videos: tuple[YoutubeVideo, ...] = ()


PROBES: dict[str, type[ProbeResult]] = {
    kind.probe(): kind for kind in (NetworkResult, StreamResult, SpeedtestResult, HostResult, ClockResult, YoutubeResult)
}
"""By the probe's name, in the order in which people see them."""
