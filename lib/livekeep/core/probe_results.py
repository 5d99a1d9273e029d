"""The probes' results: each probe's measurements at its last run, and its counters since boot.

Each is a state as in core/state.py, written by livekeep-probe-NAME, and stays between the runs: `run.last_run` gives its age.
A value that could not be measured is None or absent, never 0. The results are in core because several parts use them;
the measurement is in the probe's folder (probes/NAME).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from livekeep.core.state import Signed, State

Verdict = Literal["ok", "warn", "fail", "skipped"]
"""warn: works, but badly; fail: doesn't work; skipped: nothing to check, or not the time for it."""
Family = Literal["ipv4", "ipv6"]
ThrottleCondition = Literal["under_voltage", "frequency_capped", "throttled", "soft_temp_limit"]
THROTTLE_CONDITIONS: tuple[ThrottleCondition, ...] = get_args(ThrottleCondition)


@dataclass(frozen=True)
class Run:
    """The last run of a probe, and the runs counted by outcome since boot."""

    verdict: Verdict = "skipped"
    reason: str = ""
    """One sentence for people, without a URL."""
    advice: str = ""
    since: float = 0.0
    """When the verdict last changed."""
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
    """The base of all results."""

    TITLE: ClassVar[str]
    """The probe's name in the doctor."""
    run: Run = Run()

    @classmethod
    def probe(cls) -> str:
        """The probe's name, such as "network"."""
        return cls.FILE.partition("/")[0].removeprefix("probe-")

    def fault(self, _is_on: bool) -> str:
        """A fault that affects the screen's health, or ""; `_is_on`: whether the stream is live or about to be."""
        return ""


@dataclass(frozen=True)
class Ping:
    """A host over one address family: this run's round-trip times, and packet counters since boot."""

    target: str
    """As configured: a name or an address."""
    family: Family
    sent: int = 0
    received: int = 0
    sent_total: int = 0
    received_total: int = 0
    rtt_seconds: float | None = None
    """The mean of this run; None without a reply."""
    rtt_max_seconds: float | None = None
    jitter_seconds: float | None = None
    """The mean difference between consecutive round-trip times; None with fewer than two replies."""
    problem: str = ""
    """Why nothing was sent, such as an unknown name; "" if packets were sent."""


@dataclass(frozen=True)
class Lookup:
    """A direct DNS query for one name to one resolver."""

    name: str
    resolver: str
    duration_seconds: float | None = None
    """Time to the response; None without a good one."""
    problem: str = ""


@dataclass(frozen=True)
class Interface:
    """A network device other than the loopback; None for values that the kernel doesn't give."""

    device: str
    carrier: bool | None = None
    addresses: tuple[str, ...] = ()
    receive_bytes: int | None = None
    transmit_bytes: int | None = None


@dataclass(frozen=True)
class NetworkResult(ProbeResult):
    """The result of livekeep-probe-network."""

    FILE = "probe-network/state.json"
    TITLE = "network probe"
    pings: tuple[Ping, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    interfaces: tuple[Interface, ...] = ()

    def fault(self, _is_on: bool) -> str:
        return "failed" if self.run.verdict == "fail" else ""


@dataclass(frozen=True)
class Analysis:
    """ffprobe's analysis of the stream; None or "" for unknown values."""

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
    """The result of livekeep-probe-stream for the stream that should be playing."""

    FILE = "probe-stream/state.json"
    TITLE = "stream probe"
    target: str = ""
    """The configured stream's name."""
    source: str = ""
    """Identifies the stream, as in `core.state.PollerState`: a name can move to another stream."""
    url_obtained_monotonic: float | None = None
    """Of the analysed URL: a newer URL is analysed again."""
    is_reachable: bool | None = None
    """None if nothing was live."""
    media_sequence: int | None = None
    last_segment: str = ""
    """The newest segment's name, without its query."""
    last_change: float | None = None
    """When the playlist last grew, as observed."""
    target_duration_seconds: float | None = None
    variants: int | None = None
    """None if the stream has no master playlist."""
    variant_bandwidth_bits_per_second: int | None = None
    """The highest bandwidth that the master playlist declares."""
    analysis: Analysis | None = None
    analysis_problem: str = ""

    def fault(self, is_on: bool) -> str:
        return "failed" if self.run.verdict == "fail" and is_on else ""


@dataclass(frozen=True)
class SpeedtestResult(ProbeResult):
    """The result of the last complete run of livekeep-probe-speedtest."""

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
    """Both: used by speed tests since boot, failed ones included as far as known."""


@dataclass(frozen=True)
class Connector:
    """A display connector as the kernel reports it."""

    name: str
    connected: bool | None = None
    mode: str = ""
    """The first mode that the TV offers, such as "1920x1080"; "" if none."""


@dataclass(frozen=True)
class HostResult(ProbeResult):
    """The result of livekeep-probe-host; None where a board has no sensor."""

    FILE = "probe-host/state.json"
    TITLE = "host probe"
    throttled: tuple[ThrottleCondition, ...] | None = None
    throttled_since_boot: tuple[ThrottleCondition, ...] | None = None
    under_voltage_events: int | None = None
    """How often under-voltage began since boot, as observed from run to run."""
    connectors: tuple[Connector, ...] = ()
    ext4_errors: Mapping[str, int] = field(default_factory=dict)
    """The kernel's error count of each mounted ext4 file system, by block device."""
    card_is_good: bool | None = None
    """Whether data written to the card could be read back."""
    card_checked_at: float | None = None
    card_problem: str = ""

    def fault(self, _is_on: bool) -> str:
        return "reports a fault" if self.run.verdict == "fail" or "under_voltage" in (self.throttled or ()) else ""


@dataclass(frozen=True)
class ClockResult(ProbeResult):
    """The result of livekeep-probe-clock: the clock and its time server; None or "" for unknown values."""

    FILE = "probe-clock/state.json"
    TITLE = "clock probe"
    synchronized: bool | None = None
    server: str = ""
    stratum: int | None = None
    offset_seconds: Signed | None = None
    """How far the clock was behind the server at its last response; negative if ahead."""
    last_contact: float | None = None
    """When the server last responded."""

    def fault(self, _is_on: bool) -> str:
        return "reports a fault" if self.synchronized is False else ""


Showing = Literal["live", "upcoming", "ended", "none", "missing", ""]
"""none: a video that is no broadcast; missing: private, deleted or never existed; "": the request to YouTube failed."""
NOT_SHOWN_SECONDS = 120.0
"""YouTube may take this long to show a stream."""
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
"""What it means if a channel is on air here and not live at YouTube, and what to do."""


@dataclass(frozen=True)
class YoutubeVideo:
    """YouTube's view of a channel's broadcast. Times in Unix seconds; None if YouTube doesn't give them."""

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
    """Since when the channel has been on air here but not live at YouTube."""

    def contradicts(self, now: float) -> bool:
        """Whether the channel has been on air here long enough to be live at YouTube. An ended broadcast counts at once."""
        if self.unshown_since is None or self.showing not in NOT_SHOWN:
            return False
        return self.showing == "ended" or now - self.unshown_since >= NOT_SHOWN_SECONDS


@dataclass(frozen=True)
class YoutubeResult(ProbeResult):
    """YouTube's view of the channels that set their video."""

    FILE = "probe-youtube/state.json"
    TITLE = "YouTube"
    videos: tuple[YoutubeVideo, ...] = ()


PROBES: dict[str, type[ProbeResult]] = {
    kind.probe(): kind for kind in (NetworkResult, StreamResult, SpeedtestResult, HostResult, ClockResult, YoutubeResult)
}
"""By the probe's name, in display order."""
