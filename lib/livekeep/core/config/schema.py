"""The schema of livekeep.toml: one frozen dataclass for each table, each key with its default and its check.

The shipped livekeep.toml shows every key with its default; a test compares it with these dataclasses. The tables of the record
part are in record.py, [schedule] and [tv] in schedule.py.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from livekeep.core import paths
from livekeep.core.checks import (
    ABSOLUTE_PATH,
    NAME,
    Each,
    Host,
    HttpsUrl,
    IngestUrl,
    IpAddress,
    OneOf,
    Pattern,
    Range,
    Url,
    VideoId,
    key,
    number_key,
)
from livekeep.core.config.record import SHIPPED_ALERTS, Alert, Analyzer, Clips, Notify, Record, Reports, Web
from livekeep.core.config.schedule import Schedule, Tv

STREAM_SCHEMES = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps")
"""The URL schemes that a stream may have. mpv would also open file:, exec-like and synthetic sources."""

MOST_INGESTS = 2

LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Log:
    level: str = key("info", OneOf(LOG_LEVELS))


@dataclass(frozen=True)
class Vimeo:
    api_url: str = key("https://api.vimeo.com", Url(("https", "http")))
    proxy: str = key("", Url(("http", "https")))


@dataclass(frozen=True)
class Selection:
    selected: str = key("main")


@dataclass(frozen=True)
class Stream:
    """The source of a stream: exactly one of the three keys is set; none means "not set up yet"."""

    vimeo_event: str = key("", Pattern(r"|[0-9]+", "the event's number, as in vimeo.com/event/NUMBER"))
    vimeo_video: str = key("", Pattern(r"|[0-9]+", "the video's number, as in vimeo.com/NUMBER"))
    url: str = key("", Url(STREAM_SCHEMES, has_blanks=True))

    def is_set_up(self) -> bool:
        return bool(self.vimeo_event or self.vimeo_video or self.url)


@dataclass(frozen=True)
class Poller:
    interval_seconds: str | float = number_key("auto", 1, 3600)
    near_start_interval_seconds: float = key(3.0, Range(1, 3600))
    timeout_seconds: float = key(5.0, Range(0.5, 60))
    failures_before_error: int = key(5, Range(1, 1000))


@dataclass(frozen=True)
class Screen:
    player: str = key("mpv", OneOf(("mpv", "vlc")))
    output: str = key("auto", OneOf(("auto", "drm", "wayland", "x11")))
    x11_display: str = key("", Pattern(r"|:[0-9]+(\.[0-9]+)?", 'a local display such as ":0"'))
    x11_authority: str = key("", Pattern(r"|/.+", "an absolute path"))
    wayland_display: str = key("", Pattern(r"|[\w.-]+", 'a socket name such as "wayland-0"'))
    desktop_user: str = key("", Pattern(r"|[a-z_][a-z0-9_-]*", "a user's name"))
    connector: str = key("", Pattern(r"|[A-Za-z0-9-]+", 'a connector such as "HDMI-A-1"'))
    mode: str = key("", Pattern(r"|preferred|highest|[0-9]+x[0-9]+(@[0-9]+(\.[0-9]+)?)?", 'a mode such as "1920x1080@60"'))
    rotate: int = key(0, OneOf((0, 90, 180, 270)))
    mirror: bool = key(False)
    hwdec: str = key("auto", Pattern(r"[a-z0-9,_-]+", 'a decoder such as "auto", "no" or "v4l2m2m-copy"'))
    max_bitrate: int = key(0, Range(0, 1_000_000_000))
    audio_device: str = key("auto", Pattern(r"\S.*", 'a device such as "auto" or "alsa/hdmi:CARD=vc4hdmi0"'))
    volume: int = key(100, Range(0, 130))
    holding: tuple[str, ...] = key((str(paths.PICTURE_DIRECTORY / "holding.png"),), Each(ABSOLUTE_PATH))
    slideshow_seconds: float = key(10.0, Range(1, 86400))
    error: str = key(str(paths.PICTURE_DIRECTORY / "error.png"), ABSOLUTE_PATH)
    stall_seconds: float = key(8.0, Range(2, 120))
    blank_seconds: float = key(60.0, Range(0, 86400))
    frozen_seconds: float = key(600.0, Range(0, 86400))
    show_next_start: bool = key(True)

    def resolved_output(self) -> str:
        """ "drm", "wayland" or "x11": as configured; "auto": a desktop with a display, else drm."""
        if self.output != "auto":
            return self.output
        if self.wayland_display:
            return "wayland"
        return "x11" if self.x11_display else "drm"


@dataclass(frozen=True)
class Exporter:
    enabled: bool = key(True)
    address: str = key("127.0.0.1", IpAddress())
    port: int = key(9877, Range(1024, 65535))
    screen_picture: bool = key(False)


@dataclass(frozen=True)
class NetworkProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(30.0, Range(5, 86400))
    hosts: tuple[str, ...] = key(("8.8.8.8", "1.1.1.1", "vimeo.com"), Each(Host()))
    packets: int = key(5, Range(1, 100))
    names: tuple[str, ...] = key(("api.vimeo.com",), Each(Host()))
    timeout_seconds: float = key(2.0, Range(0.1, 10))


@dataclass(frozen=True)
class StreamProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(60.0, Range(10, 86400))
    timeout_seconds: float = key(15.0, Range(1, 300))
    analysis_interval_seconds: float = key(21600.0, Range(60, 2592000))


@dataclass(frozen=True)
class SpeedtestProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(86400.0, Range(300, 2592000))
    tool: str = key("auto", OneOf(("auto", "librespeed-cli", "speedtest-cli", "url")))
    download_url: str = key("", Url(("http", "https")))
    upload_url: str = key("", Url(("http", "https")))
    duration_seconds: float = key(10.0, Range(1, 60))


@dataclass(frozen=True)
class HostProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(60.0, Range(10, 86400))
    card_check_interval_seconds: float = key(3600.0, Range(60, 2592000))


@dataclass(frozen=True)
class ClockProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(60.0, Range(10, 86400))


@dataclass(frozen=True)
class YoutubeProbe:
    """Its key is the credential livekeep.youtube-api-key."""

    enabled: bool = key(True)
    interval_seconds: float = key(60.0, Range(30, 86400))
    timeout_seconds: float = key(10.0, Range(1, 60))
    api_url: str = key("https://www.googleapis.com/youtube/v3", HttpsUrl())


@dataclass(frozen=True)
class Probes:
    network: NetworkProbe = NetworkProbe()
    stream: StreamProbe = StreamProbe()
    speedtest: SpeedtestProbe = SpeedtestProbe()
    host: HostProbe = HostProbe()
    clock: ClockProbe = ClockProbe()
    youtube: YoutubeProbe = YoutubeProbe()


INGEST_URL = IngestUrl()
MEDIA = Pattern(
    r"|/[^\0]*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0]*)?", 'a folder such as "/srv/media", or "s3://bucket/prefix"'
)
EXTENSION = Pattern(r"\.[a-z0-9]{1,8}", 'in small letters with its dot, such as ".mp4"')


@dataclass(frozen=True)
class Channel:
    """What a channel plays, where to, and in which format. Its stream key is the credential livekeep.stream-key.CHANNEL."""

    media: str = key("", MEDIA)
    order: str = key("name", OneOf(("name", "oldest", "newest", "shuffle", "hot")))
    loop: bool = key(True)
    extensions: tuple[str, ...] = key(
        (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".flv", ".avi", ".mpg", ".mpeg"), Each(EXTENSION)
    )
    rescan_seconds: float = key(60.0, Range(2, 86400))
    ingest_urls: tuple[str, ...] = key((), Each(INGEST_URL))
    width: int = key(1280, Range(160, 3840))
    height: int = key(720, Range(90, 2160))
    frame_rate: float = key(25.0, Range(5, 60))
    video_bitrate: int = key(3_000_000, Range(100_000, 50_000_000))
    audio_bitrate: int = key(128_000, Range(32_000, 512_000))
    keyframe_seconds: float = key(2.0, Range(0.5, 4))
    copy: str = key("auto", OneOf(("auto", "never")))
    preset: str = key("superfast", OneOf(("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")))
    slate: str = key(str(paths.PICTURE_DIRECTORY / "slate.png"), ABSOLUTE_PATH)
    rotate_hours: float = key(0.0, Range(0, 590))
    youtube_video: str = key("", VideoId())

    def is_set_up(self) -> bool:
        return bool(self.media and self.ingest_urls)

    def faults(self) -> list[str]:
        """Errors beyond the single values, each beginning with the key."""
        odd = [name for name in ("width", "height") if getattr(self, name) % 2]
        faults = [f"{name}: must be even, is {getattr(self, name)}" for name in odd]
        if len(self.ingest_urls) > MOST_INGESTS:
            faults.append(f"ingest_urls: must be a primary and at most one backup, are {len(self.ingest_urls)}")
        return faults


@dataclass(frozen=True)
class Storage:
    """The server of the buckets. Its keys are the credentials livekeep.storage-key-id and livekeep.storage-secret."""

    provider: str = key("s3", OneOf(("s3", "r2")))
    endpoint_url: str = key("", Url(("https", "http")))
    region: str = key("", Pattern(r"|[a-z0-9-]{1,40}", 'a region such as "eu-central-1"'))
    url_seconds: int = key(300, Range(60, 604800))
    timeout_seconds: float = key(10.0, Range(1, 60))


@dataclass(frozen=True)
class Controller:
    cors_origins: tuple[str, ...] = key((), Each(Url(("https", "http"))))
    allowed_ingests: tuple[str, ...] = key((), Each(Host()))
    allowed_media: tuple[str, ...] = key((), Each(MEDIA))
    idle_seconds: float = key(60.0, Range(5, 86400))


@dataclass(frozen=True)
class Config:
    """All of livekeep.toml. `streams` is keyed by the name that `stream.selected` takes, `channels` by the unit's instance."""

    log: Log = Log()
    vimeo: Vimeo = Vimeo()
    stream: Selection = Selection()
    streams: Mapping[str, Stream] = field(default_factory=dict)
    poller: Poller = Poller()
    screen: Screen = Screen()
    schedule: Schedule = Schedule()
    tv: Tv = Tv()
    exporter: Exporter = Exporter()
    probes: Probes = Probes()
    storage: Storage = Storage()
    controller: Controller = Controller()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    record: Record = Record()
    web: Web = Web()
    reports: Reports = Reports()
    analyzer: Analyzer = Analyzer()
    alerts: Mapping[str, Alert] = field(default_factory=lambda: dict(SHIPPED_ALERTS))
    notify: Mapping[str, Notify] = field(default_factory=dict)
    clips: Mapping[str, Clips] = field(default_factory=dict)

    def selected_stream(self) -> Stream:
        """The stream to show; one that is not set up if none has that name and no stream is configured."""
        return self.streams.get(self.stream.selected, Stream())


GROUPS = {"probes": Probes}
"""Tables of tables, such as [probes.network]."""
NAMED = {"streams": Stream, "channels": Channel, "alerts": Alert, "notify": Notify, "clips": Clips}
"""Tables of tables whose names the operator chooses, such as [streams.main]."""
SHIPPED: Mapping[str, Mapping[str, Any]] = {"alerts": SHIPPED_ALERTS}
"""Named tables that exist by default; an operator's table of the same name overrides single keys."""
TABLES = {entry.name: type(entry.default) for entry in dataclasses.fields(Config) if entry.name not in (*NAMED, *GROUPS)}
TABLES |= {f"{name}.{entry.name}": type(entry.default) for name, group in GROUPS.items() for entry in dataclasses.fields(group)}
"""Every table with fixed keys, by its TOML name."""
CHANNEL_NAME = NAME
"""A channel's name is also the instance of its unit."""
