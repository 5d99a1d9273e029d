"""Translates vimeo-monitor's .env and its stream numbers into livekeep's keys. Pure.

Sources: its .env.sample, its documentation of the variables, and `self.streams` in its src/vimeo_monitor/config.py.
"""

import ast
import dataclasses
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from dotenv.parser import parse_stream
from dotenv.variables import parse_variables

from livekeep.command.doctor.pictures import display_fault
from livekeep.core import config
from livekeep.core.checks import NumberOr
from livekeep.core.errors import LivekeepError

STREAMS_FILE = Path("src/vimeo_monitor/config.py")
DEFAULT_SELECTION = "1"
"""vimeo-monitor's default without STREAM_SELECTION."""
PLACEHOLDER = re.compile(r"your[_-].*|changeme|", re.IGNORECASE)
LEVELS = {"critical": "error", "fatal": "error", "warn": "warning"}
SECRETS = ("VIMEO_TOKEN", "VIMEO_ACCESS_TOKEN")
PICTURES = {
    "STATIC_IMAGE_PATH": "holding",
    "HOLDING_IMAGE_PATH": "holding",
    "ERROR_IMAGE_PATH": "error",
    "FAILURE_IMAGE_PATH": "error",
    "API_FAIL_IMAGE_PATH": "error",
}
STREAM_IDS = {"VIMEO_STREAM_ID": "vimeo_event", "VIMEO_VIDEO_ID": "vimeo_video"}
LEFT = (
    (r"VIMEO_(KEY|SECRET|CLIENT_ID|CLIENT_SECRET)", "not needed: the token alone is enough"),
    (r"LOG_.*", "not needed: the journal keeps and rotates the log"),
    (r"DISPLAY|XAUTHORITY|WAYLAND_DISPLAY|DISPLAY_.*", "not needed: install.sh finds the screen; see [screen] in livekeep.toml"),
    (r"(VLC|CVLC|MPV|FFPLAY)_?.*", "not needed: the display has its own settings; see [screen] in livekeep.toml"),
    (r"HEALTH_.*", "unknown to livekeep; see [exporter] and [probes.…] in livekeep.toml"),
)
SETTINGS = {
    "CHECK_INTERVAL": ("poller", "interval_seconds"),
    "STREAM_CHECK_INTERVAL": ("poller", "interval_seconds"),
    "MAX_RETRIES": ("poller", "failures_before_error"),
    "LOG_LEVEL": ("log", "level"),
    "HEALTH_METRICS_HOST": ("exporter", "address"),
    "HEALTH_METRICS_PORT": ("exporter", "port"),
    "HEALTH_MONITORING_ENABLED": ("exporter", "enabled"),
    "HEALTH_HARDWARE_ENABLED": ("probes.host", "enabled"),
    "HEALTH_HARDWARE_INTERVAL": ("probes.host", "interval_seconds"),
    "HEALTH_NETWORK_ENABLED": ("probes.network", "enabled"),
    "HEALTH_NETWORK_INTERVAL": ("probes.network", "interval_seconds"),
    "HEALTH_NETWORK_PING_HOSTS": ("probes.network", "hosts"),
    "HEALTH_NETWORK_SPEEDTEST_ENABLED": ("probes.speedtest", "enabled"),
    "HEALTH_NETWORK_SPEEDTEST_INTERVAL": ("probes.speedtest", "interval_seconds"),
    "HEALTH_STREAM_ENABLED": ("probes.stream", "enabled"),
    "HEALTH_STREAM_INTERVAL": ("probes.stream", "interval_seconds"),
    "HEALTH_STREAM_FFPROBE_TIMEOUT": ("probes.stream", "timeout_seconds"),
}
"""Table and key."""
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True)
class Entry:
    """A setting and the number of its first line; without a name it is an invalid line. The value may be a secret."""

    name: str
    value: str = field(repr=False)
    line: int


@dataclass
class Translation:
    """livekeep's keys by table, the token, the pictures to copy, by key of [screen], and a row for each setting: its line, its
    name, and what it becomes or why it is ignored. No row contains a secret."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    pictures: dict[str, Path] = field(default_factory=dict)
    outcomes: list[tuple[str, str, str]] = field(default_factory=list)

    def set(self, table: str, key: str, value: Any) -> str:
        self.tables.setdefault(table, {})[key] = value
        return f"{table}.{key} = {literal(value)}"


def parse(text: str) -> list[Entry]:
    """The settings of a .env in order; a name set twice appears twice.

    python-dotenv parses them, as in vimeo-monitor. Its `dotenv_values` would drop line numbers, skip invalid lines, and expand
    ${NAME} from this process's environment.
    """
    entries: list[Entry] = []
    known: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(text)):
        # A binding includes the blank lines before it.
        blank = re.match(r"\s*", binding.original.string)
        line = binding.original.line + (blank[0].count("\n") if blank else 0)
        if binding.error:
            entries.append(Entry("", "", line))
        elif binding.key and binding.value is not None:
            value = "".join(piece.resolve(known) for piece in parse_variables(binding.value))
            known[binding.key] = value
            entries.append(Entry(binding.key, value, line))
    return entries


def read_streams(source: str, where: Path) -> dict[str, str]:
    """The event numbers in vimeo-monitor's config.py, by their selection number. The file is parsed, never run.

    Raises `LivekeepError` if there are none.
    """
    try:
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(target, "attr", getattr(target, "id", "")) == "streams" for target in targets):
                streams = {str(number): str(event) for number, event in ast.literal_eval(node.value).items()}
                if streams and all(re.fullmatch(r"[0-9]+", text) for pair in streams.items() for text in pair):
                    return streams
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise LivekeepError(f"{where}: the streams cannot be read from it; add them to livekeep.toml by hand") from error
    raise LivekeepError(f"{where}: has no self.streams = {{1: …}} with numbers; give the right file with --streams")


def translate(entries: list[Entry], streams: Mapping[str, str], folder: Path) -> Translation:
    """livekeep's keys for vimeo-monitor's settings and event numbers; relative paths are below `folder`."""
    result = Translation()
    for number, event in streams.items():
        result.set(f"streams.stream-{number}", "vimeo_event", event)
    last = {entry.name: entry for entry in entries}
    for entry in entries:
        if not entry.name:
            outcome = "ignored: not NAME=VALUE; is a quote missing?"
        elif last[entry.name] is not entry:
            outcome = f"ignored: set again in line {last[entry.name].line}"
        else:
            try:
                outcome = take(entry.name, entry.value.strip(), result, streams, folder)
            except ValueError as error:
                outcome = f"ignored: {error}"
        result.outcomes.append((str(entry.line), entry.name or "?", outcome))
    if "selected" not in result.tables.get("stream", {}) and DEFAULT_SELECTION in streams:
        result.set("stream", "selected", f"stream-{DEFAULT_SELECTION}")
    return result


def take(name: str, value: str, result: Translation, streams: Mapping[str, str], folder: Path) -> str:
    """Translate one setting into `result`; returns what it becomes. Raises `ValueError`: why it is ignored."""
    if name in SECRETS:
        return take_token(value, result)
    if name == "STREAM_SELECTION":
        if not streams:
            raise ValueError("the event numbers were not found; give vimeo-monitor's folder with --source-tree")
        if value not in streams:
            raise ValueError(f"must be one of {', '.join(streams)}")
        return result.set("stream", "selected", f"stream-{value}")
    if name in STREAM_IDS:
        return take_stream(STREAM_IDS[name], value, result)
    if name in PICTURES:
        return take_picture(PICTURES[name], value, result, folder)
    if name in SETTINGS:
        table, key = SETTINGS[name]
        text = LEVELS.get(value.lower(), value.lower()) if key == "level" else value
        return result.set(table, key, converted(config.TABLES[table], key, text))
    raise ValueError(next((note for pattern, note in LEFT if re.fullmatch(pattern, name)), "unknown to livekeep"))


def take_token(value: str, result: Translation) -> str:
    if PLACEHOLDER.fullmatch(value):
        raise ValueError("empty, or the sample's placeholder; set it with: sudo livekeep set-token")
    if result.token and result.token != value:
        raise ValueError("another token was already imported")
    result.token = value
    return "the credential livekeep.vimeo-token"


def take_stream(key: str, value: str, result: Translation) -> str:
    if PLACEHOLDER.fullmatch(value):
        raise ValueError("empty, or the sample's placeholder")
    name = "main" if key == "vimeo_event" else "video"
    taken = result.set(f"streams.{name}", key, converted(config.Stream, key, value))
    if "selected" not in result.tables.get("stream", {}):
        result.set("stream", "selected", name)
    return taken


def take_picture(key: str, value: str, result: Translation, folder: Path) -> str:
    picture = folder / value
    if not value:
        raise ValueError("empty; livekeep's own picture is shown")
    if not picture.is_file():
        raise ValueError("there is no such file; livekeep's own picture is shown")
    if fault := display_fault(picture):
        raise ValueError(f"{fault} livekeep's own picture is shown")
    result.pictures[key] = picture
    return f"screen.{key}: the picture is copied"


def converted(kind: Any, key: str, text: str) -> Any:
    """A setting's text as the value of a key. Raises `ValueError`, which says what it must be."""
    entry = next(entry for entry in dataclasses.fields(kind) if entry.name == key)
    default, check = entry.default, entry.metadata.get("check")
    value: Any = text
    if isinstance(default, bool):
        if text.lower() not in (*TRUE, *FALSE):
            raise ValueError("must be true or false")
        value = text.lower() in TRUE
    elif isinstance(default, tuple):
        value = [part for part in re.split(r"[\s,;]+", text) if part]
    elif isinstance(default, int | float) or isinstance(check, NumberOr):
        if not re.fullmatch(r"[0-9]+", text):
            raise ValueError("is not a whole number")
        value = int(text)
    config.convert(value, default, check)
    return value


def literal(value: Any) -> str:
    """A value as TOML."""
    return str(tomlkit.item(value).as_string())


def toml(tables: Mapping[str, Mapping[str, Any]], heading: str) -> str:
    """The tables as a TOML file with a comment above."""
    blocks = [f"# {heading}"]
    blocks += [
        "\n".join([f"[{name}]", *(f"{key} = {literal(value)}" for key, value in keys.items())]) for name, keys in tables.items()
    ]
    return "\n\n".join(blocks) + "\n"
