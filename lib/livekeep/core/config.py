"""The configuration: one frozen dataclass a table of livekeep.toml, and how it is read.

Read in this order, the later wins: the defaults below, /etc/livekeep/livekeep.toml, then *.toml and *.json in
/etc/livekeep/livekeep.d by name.
Unknown keys, wrong types and values out of range are errors that name file and key; all of them are reported at once.
The shipped livekeep.toml shows every key with its default and is tied to these dataclasses by a test.
"""

import contextlib
import dataclasses
import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from livekeep.core import paths, record_config
from livekeep.core.checks import (
    ABSOLUTE_PATH,
    NAME,
    Check,
    between,
    each,
    host,
    https_or_loopback,
    ip_address,
    key,
    matching,
    one_of,
    url_with,
    youtube_video,
)
from livekeep.core.errors import ConfigError
from livekeep.core.record_config import SHIPPED_ALERTS, Alert, Analyzer, Clips, Notify, Record, Reports, Web

STREAM_SCHEMES = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps")
"""What a stream may be opened by. mpv would also take file:, exec-like and synthetic sources."""

MOST_INGESTS = 2

LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Log:
    level: str = key("info", one_of(*LOG_LEVELS))


@dataclass(frozen=True)
class Vimeo:
    api_url: str = key("https://api.vimeo.com", url_with("https", "http"))
    proxy: str = key("", url_with("http", "https"))


@dataclass(frozen=True)
class Selection:
    selected: str = key("main")


@dataclass(frozen=True)
class Stream:
    """Where a stream comes from: exactly one of the three is set; none at all means "not set up yet"."""

    vimeo_event: str = key("", matching(r"|[0-9]+", "the event's number, as in vimeo.com/event/NUMBER"))
    vimeo_video: str = key("", matching(r"|[0-9]+", "the video's number, as in vimeo.com/NUMBER"))
    url: str = key("", url_with(*STREAM_SCHEMES, blanks=" "))

    def is_set_up(self) -> bool:
        return bool(self.vimeo_event or self.vimeo_video or self.url)


@dataclass(frozen=True)
class Poller:
    interval_seconds: float = key(10.0, between(1, 3600))
    near_start_interval_seconds: float = key(3.0, between(1, 3600))
    timeout_seconds: float = key(5.0, between(0.5, 60))
    failures_before_error: int = key(5, between(1, 1000))


@dataclass(frozen=True)
class Screen:
    player: str = key("mpv", one_of("mpv", "vlc"))
    output: str = key("auto", one_of("auto", "drm", "wayland", "x11"))
    x11_display: str = key("", matching(r"|:[0-9]+(\.[0-9]+)?", 'a local display such as ":0"'))
    x11_authority: str = key("", matching(r"|/.+", "an absolute path"))
    wayland_display: str = key("", matching(r"|[\w.-]+", 'a socket name such as "wayland-0"'))
    desktop_user: str = key("", matching(r"|[a-z_][a-z0-9_-]*", "a user's name"))
    connector: str = key("", matching(r"|[A-Za-z0-9-]+", 'a connector such as "HDMI-A-1"'))
    mode: str = key("", matching(r"|preferred|highest|[0-9]+x[0-9]+(@[0-9]+(\.[0-9]+)?)?", 'a mode such as "1920x1080@60"'))
    hwdec: str = key("auto", matching(r"[a-z0-9,_-]+", 'a decoder such as "auto", "no" or "v4l2m2m-copy"'))
    max_bitrate: int = key(0, between(0, 1_000_000_000))
    audio_device: str = key("auto", matching(r"\S.*", 'a device such as "auto" or "alsa/hdmi:CARD=vc4hdmi0"'))
    volume: int = key(100, between(0, 130))
    holding: tuple[str, ...] = key((str(paths.PICTURE_DIRECTORY / "holding.png"),), each(ABSOLUTE_PATH))
    slideshow_seconds: float = key(10.0, between(1, 86400))
    error: str = key(str(paths.PICTURE_DIRECTORY / "error.png"), ABSOLUTE_PATH)
    stall_seconds: float = key(8.0, between(2, 120))
    blank_seconds: float = key(60.0, between(0, 86400))
    frozen_seconds: float = key(600.0, between(0, 86400))
    show_next_start: bool = key(True)

    def resolved_output(self) -> str:
        """ "drm", "wayland" or "x11": as configured; "auto" takes the desktop whose display is named, else drm."""
        if self.output != "auto":
            return self.output
        if self.wayland_display:
            return "wayland"
        return "x11" if self.x11_display else "drm"


@dataclass(frozen=True)
class Exporter:
    enabled: bool = key(True)
    address: str = key("127.0.0.1", ip_address)
    port: int = key(9877, between(1024, 65535))
    screen_picture: bool = key(False)


@dataclass(frozen=True)
class NetworkProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(30.0, between(5, 86400))
    hosts: tuple[str, ...] = key(("8.8.8.8", "1.1.1.1", "vimeo.com"), each(host))
    packets: int = key(5, between(1, 100))
    names: tuple[str, ...] = key(("api.vimeo.com",), each(host))
    timeout_seconds: float = key(2.0, between(0.1, 10))


@dataclass(frozen=True)
class StreamProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(60.0, between(10, 86400))
    timeout_seconds: float = key(15.0, between(1, 300))
    analysis_interval_seconds: float = key(21600.0, between(60, 2592000))


@dataclass(frozen=True)
class SpeedtestProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(86400.0, between(300, 2592000))
    tool: str = key("auto", one_of("auto", "librespeed-cli", "speedtest-cli", "url"))
    download_url: str = key("", url_with("http", "https"))
    upload_url: str = key("", url_with("http", "https"))
    duration_seconds: float = key(10.0, between(1, 60))


@dataclass(frozen=True)
class HostProbe:
    enabled: bool = key(True)
    interval_seconds: float = key(60.0, between(10, 86400))
    card_check_interval_seconds: float = key(3600.0, between(60, 2592000))


@dataclass(frozen=True)
class YoutubeProbe:
    """Its key is the credential livekeep.youtube-api-key."""

    enabled: bool = key(True)
    interval_seconds: float = key(60.0, between(30, 86400))
    timeout_seconds: float = key(10.0, between(1, 60))
    api_url: str = key("https://www.googleapis.com/youtube/v3", https_or_loopback)


@dataclass(frozen=True)
class Probes:
    network: NetworkProbe = NetworkProbe()
    stream: StreamProbe = StreamProbe()
    speedtest: SpeedtestProbe = SpeedtestProbe()
    host: HostProbe = HostProbe()
    youtube: YoutubeProbe = YoutubeProbe()


INGEST = re.compile(r"(?i:rtmps?)://([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/\S*)?")
LONGEST_INGEST_BYTES = 900


def ingest_url(value: str) -> str | None:
    """As a channel can be published to: the rest of the URL goes to ffmpeg in lines of 1000 bytes, and no password with it."""
    is_good = INGEST.fullmatch(value) and value.isprintable() and len(value.encode()) <= LONGEST_INGEST_BYTES
    example = '"rtmps://a.rtmps.youtube.com/live2"'
    return None if is_good else f"must be a URL that begins with rtmp://, rtmps://, such as {example}, without user and password"


MEDIA = matching(
    r"|/[^\0]*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0]*)?", 'a folder such as "/srv/media", or "s3://bucket/prefix"'
)
EXTENSION = matching(r"\.[a-z0-9]{1,8}", 'in small letters with its dot, such as ".mp4"')


@dataclass(frozen=True)
class Channel:
    """What a channel plays, where to, and in which shape. Its stream key is the credential livekeep.stream-key.CHANNEL."""

    media: str = key("", MEDIA)
    order: str = key("name", one_of("name", "oldest", "newest", "shuffle", "hot"))
    loop: bool = key(True)
    extensions: tuple[str, ...] = key(
        (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".flv", ".avi", ".mpg", ".mpeg"), each(EXTENSION)
    )
    rescan_seconds: float = key(60.0, between(2, 86400))
    ingest_urls: tuple[str, ...] = key((), each(ingest_url))
    width: int = key(1280, between(160, 3840))
    height: int = key(720, between(90, 2160))
    frame_rate: float = key(25.0, between(5, 60))
    video_bitrate: int = key(3_000_000, between(100_000, 50_000_000))
    audio_bitrate: int = key(128_000, between(32_000, 512_000))
    keyframe_seconds: float = key(2.0, between(0.5, 4))
    copy: str = key("auto", one_of("auto", "never"))
    preset: str = key("superfast", one_of("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"))
    slate: str = key(str(paths.PICTURE_DIRECTORY / "slate.png"), ABSOLUTE_PATH)
    rotate_hours: float = key(0.0, between(0, 590))
    youtube_video: str = key("", youtube_video)

    def is_set_up(self) -> bool:
        return bool(self.media and self.ingest_urls)


@dataclass(frozen=True)
class Storage:
    """The server of the buckets. Its keys are the credentials livekeep.storage-key-id and livekeep.storage-secret."""

    provider: str = key("s3", one_of("s3", "r2"))
    endpoint_url: str = key("", url_with("https", "http"))
    region: str = key("", matching(r"|[a-z0-9-]{1,40}", 'a region such as "eu-central-1"'))
    url_seconds: int = key(300, between(60, 604800))
    timeout_seconds: float = key(10.0, between(1, 60))


@dataclass(frozen=True)
class Controller:
    cors_origins: tuple[str, ...] = key((), each(url_with("https", "http")))
    allowed_ingests: tuple[str, ...] = key((), each(host))
    allowed_media: tuple[str, ...] = key((), each(MEDIA))
    idle_seconds: float = key(60.0, between(5, 86400))


@dataclass(frozen=True)
class Config:
    """All of livekeep.toml. `streams` is keyed by the name that `stream.selected` takes, `channels` by the unit's instance."""

    log: Log = Log()
    vimeo: Vimeo = Vimeo()
    stream: Selection = Selection()
    streams: Mapping[str, Stream] = field(default_factory=dict)
    poller: Poller = Poller()
    screen: Screen = Screen()
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
        """The stream to show; one that is not set up when there is none of that name and no stream at all."""
        return self.streams.get(self.stream.selected, Stream())


GROUPS = {"probes": Probes}
"""Tables of tables: [probes.network] and its like."""
NAMED = {"streams": Stream, "channels": Channel, "alerts": Alert, "notify": Notify, "clips": Clips}
"""Tables of tables whose names are the operator's: [streams.main] and its like."""
SHIPPED: Mapping[str, Mapping[str, Any]] = {"alerts": SHIPPED_ALERTS}
"""Named tables that are there without a line of configuration; one of the operator's changes single keys."""
TABLES = {entry.name: type(entry.default) for entry in dataclasses.fields(Config) if entry.name not in (*NAMED, *GROUPS)}
TABLES |= {f"{name}.{entry.name}": type(entry.default) for name, group in GROUPS.items() for entry in dataclasses.fields(group)}
"""Every table with fixed keys by its name as TOML writes it."""
CHANNEL_NAME = NAME
"""A channel's name is a unit's instance, too."""
SUFFIXES = (".toml", ".json")
"""Of the files in the drop-in folder that are read."""
COPY_OR_HIDDEN = re.compile(r"^\.|~$|\.(bak|orig|old|swp)$|\.dpkg-[a-z]+$|\.livekeep-[0-9-]+$")
TYPESET_SIGNS = {
    **dict.fromkeys("“”„‟«»″", 'a typographic quote in place of "'),
    **dict.fromkeys("‘’‚‛‹›′", "a typographic quote in place of '"),
    **dict.fromkeys("–—−", "a dash in place of -"),
    **dict.fromkeys("\u00a0\u202f\u2009", "a space that does not break in place of a plain one"),
}


def load(file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> Config:
    """Read, merge and check the configuration. Raises `ConfigError` with every problem found."""
    config, problems = load_leniently(file, drop_ins)
    if problems:
        raise ConfigError(problems)
    return config


def load_leniently(file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> tuple[Config, tuple[str, ...]]:
    """The configuration with the default in place of each faulty value, and the problems, for a unit that must show something."""
    problems: list[str] = []
    values: dict[tuple[str, ...], tuple[Path, Any]] = {}
    try:
        sources = files(file, drop_ins)
    except OSError as error:
        problems.append(
            f"{drop_ins}: cannot be read ({error.strerror}); it must be readable by group livekeep: chgrp livekeep, chmod 750"
        )
        sources = [file]
    for source in sources:
        for path, value in flatten(read_document(source, problems), source, problems):
            values[path] = (source, value)
    built = {name: build(kind, tuple(name.split(".")), values, problems) for name, kind in TABLES.items()}
    tables = {name: table for name, table in built.items() if "." not in name}
    for group, members in GROUPS.items():
        tables[group] = members(**{entry.name: built[f"{group}.{entry.name}"] for entry in dataclasses.fields(members)})
    for table, kind in NAMED.items():
        names = sorted({path[1] for path in values if path[0] == table})
        shipped = SHIPPED.get(table, {})
        tables[table] = {
            name: build(kind, (table, name), values, problems, shipped.get(name)) for name in sorted({*shipped, *names})
        }
    config = Config(**tables)
    problems += check_streams(config, file)
    places = {path: source for path, (source, _value) in values.items()}
    problems += check_channels(config, places)
    problems += check_record(config, places)
    return config, tuple(problems)


def files(file: Path, drop_ins: Path) -> list[Path]:
    """The files that make up the configuration, the first read first; the main one is always among them."""
    with contextlib.suppress(FileNotFoundError):
        return [file, *sorted(found for found in drop_ins.iterdir() if found.suffix in SUFFIXES)]
    return [file]


def place_of(*wanted: str, file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> Path | None:
    """The file that sets a key or a named table, such as "channels", "main"; the last one, which counts. None when none does."""
    try:
        sources = files(file, drop_ins)
    except OSError:
        sources = [file]
    for source in reversed(sources):
        if any(path[: len(wanted)] == wanted for path, _value in flatten(read_document(source, []), source, [])):
            return source
    return None


def ignored_files(drop_ins: Path = paths.DROP_IN_DIRECTORY) -> tuple[Path, ...]:
    """The files of the drop-in folder that are not read for their name, such as `hall.toml.txt` or `hall.conf`, by name.

    Hidden files and the copies that editors and packages leave are meant to be ignored, and are not among them.
    """
    try:
        names = sorted(path for path in drop_ins.iterdir() if path.suffix not in SUFFIXES and path.is_file())
    except OSError:
        return ()
    return tuple(path for path in names if not COPY_OR_HIDDEN.search(path.name))


def read_document(source: Path, problems: list[str]) -> dict[str, Any]:
    """The tables in a file of TOML or JSON; none, and a problem more, when it cannot be read."""
    text, form = "", source.suffix.removeprefix(".").upper()
    try:
        # Windows' editors put a byte order mark in front.
        text = source.read_text(encoding="utf-8-sig")
        document = json.loads(text) if form == "JSON" else tomllib.loads(text)
        if isinstance(document, dict):
            return document
        problems.append(f"{source}: must hold an object with a table's name and its keys")
    except FileNotFoundError:
        problems.append(f"{source}: missing; run install.sh again, or copy the example from /usr/local/share/livekeep")
    except OSError as error:
        name = quote(str(source))
        advice = f"it must be readable by group livekeep: sudo chgrp livekeep {name}; sudo chmod 640 {name}"
        problems.append(f"{source}: cannot be read ({error.strerror}); {advice}")
    except UnicodeDecodeError:
        problems.append(f"{source}: is not UTF-8 text; save it as UTF-8 (in Windows' Notepad: Save as, Encoding)")
    except (ValueError, RecursionError) as error:
        problems.append(f"{source}: is not valid {form}: {typesetting(text) or error}")
    return {}


def typesetting(text: str) -> str:
    """The first sign that a word processor or a web page put in place of a plain one, and its line; "" when there is none."""
    for number, line in enumerate(text.splitlines(), 1):
        # Within straight quotes and comments such signs are text.
        bare = re.sub(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*', "", line)
        for sign in bare:
            if sign in TYPESET_SIGNS:
                return f"line {number} holds {TYPESET_SIGNS[sign]} ({sign.strip() or hex(ord(sign))}); type it again by keyboard"
    return ""


def flatten(document: dict[str, Any], source: Path, problems: list[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk a document; give (table…, key) and its value, (table, name) for each named table; complain of unknown tables."""
    for table, content in document.items():
        if table in TABLES:
            yield from keys_of((table,), content, source, problems)
        elif table not in (*GROUPS, *NAMED):
            known = ", ".join([*TABLES, *NAMED])
            problems.append(f"{source}: {table}: unknown table or key; known tables are {known}")
        elif not isinstance(content, dict):
            problems.append(f"{source}: {table}: must be a table, written [{table}.NAME]")
        else:
            for name, inner in content.items():
                if table in GROUPS and f"{table}.{name}" not in TABLES:
                    known = ", ".join(known for known in TABLES if known.startswith(f"{table}."))
                    problems.append(f"{source}: {table}.{name}: unknown table or key; known tables are {known}")
                    continue
                yield from keys_of((table, name), inner, source, problems)


def keys_of(path: tuple[str, ...], content: Any, source: Path, problems: list[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys of one table; a named one counts also when it is empty."""
    if not isinstance(content, dict):
        name = ".".join(path)
        problems.append(f"{source}: {name}: must be a table, written [{name}]")
        return
    if path[0] in NAMED:
        yield path, None
    yield from (((*path, key), value) for key, value in content.items())


def build(
    kind: Any, prefix: tuple[str, ...], values: dict[tuple[str, ...], tuple[Path, Any]], problems: list[str], shipped: Any = None
) -> Any:
    """One dataclass from the values below `prefix`; a faulty one is left at its default and complained of.

    Keys that are not there are as in `shipped`, or have their defaults.
    """
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    found: dict[str, Any] = {}
    for path, (source, value) in values.items():
        if path[:-1] != prefix:
            continue
        where = f"{source}: {'.'.join(path)}"
        if path[-1] not in fields:
            problems.append(f"{where}: unknown key; known are {', '.join(fields)}")
            continue
        entry = fields[path[-1]]
        try:
            found[entry.name] = convert(value, entry.default, entry.metadata.get("check"), entry.metadata.get("is_number", False))
        except ValueError as error:
            problems.append(f"{where}: {error}, is {shown(path[-1], value)}")
    return dataclasses.replace(shipped, **found) if shipped else kind(**found)


TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), 'text in quotes, such as "…"'),
    tuple: ((str, list), "a text or a list of texts, not empty"),
}
"""The type of a key's default → the types that TOML may give for it, and what to call them."""


def convert(value: Any, default: Any, check: Check | None, is_number: bool = False) -> Any:
    """`value` in the type of `default`, or a number for one of `number_key`, checked. Raises `ValueError`: what it must be."""
    accepted, name = TYPES[float if is_number and not isinstance(value, str) else type(default)]
    # To Python true and false are whole numbers too.
    if not isinstance(value, accepted) or (isinstance(value, bool) and accepted != (bool,)):
        raise ValueError(f"must be {name}")
    if float in accepted:
        # A whole number may be beyond any float.
        value = float(max(min(typing.cast(float, value), 1e300), -1e300))
    if isinstance(default, tuple):
        value = (value,) if isinstance(value, str) else tuple(value)
        # Where the default is empty, so may the value be.
        if (default and not value) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"must be {name}")
    complaint = check(value) if check else None
    if complaint:
        raise ValueError(complaint)
    return value


def shown(name: str, value: Any) -> str:
    """A value for a message: short, and never a URL's user, password or query."""
    if name == "proxy" or name.endswith(("url", "urls")):
        return f'"{str(value).split(":")[0].strip("[{")[:20]}:…"'
    if not isinstance(value, str):
        return repr(value)[:60]
    return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}…"'


def check_record(config: Config, places: dict[tuple[str, ...], Path]) -> list[str]:
    """What is wrong with the record part's named tables beyond their single values. `places`: as `check_channels` has them."""
    faults: list[tuple[str, str, list[str]]] = [
        *(("alerts", name, record_config.faults_of_alert(it)) for name, it in config.alerts.items()),
        *(("notify", name, record_config.faults_of_notify(it)) for name, it in config.notify.items()),
        *(("clips", name, record_config.faults_of_clips(it)) for name, it in config.clips.items()),
    ]
    problems = []
    for table, name, complaints in faults:
        place = places.get((table, name), paths.CONFIG_FILE)
        if not CHANNEL_NAME.fullmatch(name):
            problems.append(f"{place}: {table}.{name}: must be named with small letters, digits, - and _, 32 at most")
        for complaint in complaints:
            file = places.get((table, name, complaint.partition(":")[0]), place)
            problems.append(f"{file}: {table}.{name}.{complaint}")
    return problems


def check_channels(config: Config, places: dict[tuple[str, ...], Path]) -> list[str]:
    """`places`: the file of each key and named table."""
    problems = []
    for name, channel in config.channels.items():
        table = places["channels", name]
        if not CHANNEL_NAME.fullmatch(name):
            problems.append(f"{table}: channels.{name}: must be named with small letters, digits, - and _, 32 at most")
        for complaint in faults_of_channel(channel):
            place = places.get(("channels", name, complaint.partition(":")[0]), table)
            problems.append(f"{place}: channels.{name}.{complaint}")
    return problems


def faults_of_channel(channel: Channel) -> list[str]:
    """What is wrong with a channel beyond its single values, each beginning with the key."""
    odd = [name for name in ("width", "height") if getattr(channel, name) % 2]
    faults = [f"{name}: must be even, is {getattr(channel, name)}" for name in odd]
    if len(channel.ingest_urls) > MOST_INGESTS:
        faults.append(f"ingest_urls: must be a primary and at most one backup, are {len(channel.ingest_urls)}")
    return faults


def check_streams(config: Config, file: Path) -> list[str]:
    problems = []
    for name, stream in config.streams.items():
        if sum(map(bool, (stream.vimeo_event, stream.vimeo_video, stream.url))) > 1:
            problems.append(f"{file}: streams.{name}: set only one of vimeo_event, vimeo_video, url")
    if config.streams and config.stream.selected not in config.streams:
        names = ", ".join(f'"{name}"' for name in config.streams)
        problems.append(f'{file}: stream.selected: must be one of the configured streams {names}, is "{config.stream.selected}"')
    return problems
