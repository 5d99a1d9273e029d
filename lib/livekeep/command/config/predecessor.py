"""Translates vimeo-monitor's .env and its stream numbers into livekeep's keys. Pure.

Sources: its .env.sample, its documentation of the variables, and `self.streams` in its src/vimeo_monitor/config.py.
"""

import ast
import dataclasses
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from dotenv.parser import parse_stream
from dotenv.variables import parse_variables

from livekeep.command.doctor.pictures import display_fault
from livekeep.core import config
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
NUMBERS = {
    "CHECK_INTERVAL": "interval_seconds",
    "STREAM_CHECK_INTERVAL": "interval_seconds",
    "MAX_RETRIES": "failures_before_error",
}
STREAM_IDS = {"VIMEO_STREAM_ID": "vimeo_event", "VIMEO_VIDEO_ID": "vimeo_video"}
LEFT = (
    (r"VIMEO_(KEY|SECRET|CLIENT_ID|CLIENT_SECRET)", "not needed: the token alone is enough"),
    (r"LOG_.*", "not needed: the journal keeps and rotates the log"),
    (r"DISPLAY|XAUTHORITY|WAYLAND_DISPLAY|DISPLAY_.*", "not needed: install.sh finds the screen; see [screen] in livekeep.toml"),
    (r"(VLC|CVLC|MPV|FFPLAY)_?.*", "not needed: the display has its own settings; see [screen] in livekeep.toml"),
    (r"HEALTH_.*", "not known to livekeep; see [exporter] and [probes.…] in livekeep.toml"),
)
HEALTH = {
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
"""Each setting of the health module: table and key."""
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True)
class Entry:
    """A setting and the number of its first line; without a name it is an invalid line. The value may be a secret."""

    name: str
    value: str = field(repr=False)
    line: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of one setting. `taken` is what it set, "" if it was ignored; neither text contains a secret."""

    line: int
    name: str
    taken: str = ""
    note: str = ""


@dataclass
class Translation:
    """livekeep's keys by table, the token, and the pictures to copy, by key of [screen]."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    pictures: dict[str, Path] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

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
            value = assigned_streams(node)
            if value is not None:
                return checked_streams(ast.literal_eval(value))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise LivekeepError(f"{where}: the streams cannot be read from it; add them to livekeep.toml by hand") from error
    raise LivekeepError(f"{where}: holds no self.streams = {{1: …}}; name the right file with --streams")


def assigned_streams(node: ast.AST) -> ast.expr | None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    named = any(getattr(target, "attr", getattr(target, "id", "")) == "streams" for target in targets)
    return node.value if named and isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict) else None


def checked_streams(found: Mapping[Any, Any]) -> dict[str, str]:
    streams = {str(number): str(event) for number, event in found.items()}
    if not streams or not all(re.fullmatch(r"[0-9]+", text) for pair in streams.items() for text in pair):
        raise ValueError("not numbers")
    return streams


def translate(entries: list[Entry], streams: Mapping[str, str], folder: Path) -> Translation:
    """livekeep's keys for vimeo-monitor's settings and event numbers; relative paths are below `folder`."""
    result = Translation()
    for number, event in streams.items():
        result.set(f"streams.stream-{number}", "vimeo_event", event)
    last = {entry.name: entry for entry in entries}
    for entry in entries:
        if not entry.name:
            result.outcomes.append(Outcome(entry.line, "?", note="not NAME=VALUE; is a quote missing?"))
        elif last[entry.name] is not entry:
            result.outcomes.append(Outcome(entry.line, entry.name, note=f"set again in line {last[entry.name].line}"))
        else:
            result.outcomes.append(take(entry, result, streams, folder))
    select_default(result, streams)
    return result


def take(entry: Entry, result: Translation, streams: Mapping[str, str], folder: Path) -> Outcome:
    """Translate one setting into `result`."""
    takers: tuple[tuple[tuple[str, ...], Callable[[], str]], ...] = (
        (SECRETS, lambda: take_token(entry, result)),
        (("STREAM_SELECTION",), lambda: take_selection(entry, result, streams)),
        (tuple(STREAM_IDS), lambda: take_stream(entry, result)),
        (tuple(PICTURES), lambda: take_picture(entry, result, folder)),
        (tuple(NUMBERS), lambda: take_number(entry, result)),
        (("LOG_LEVEL",), lambda: take_level(entry, result)),
        (tuple(HEALTH), lambda: take_health(entry, result)),
    )
    for names, taker in takers:
        if entry.name in names:
            try:
                return Outcome(entry.line, entry.name, taken=taker())
            except ValueError as error:
                return Outcome(entry.line, entry.name, note=str(error))
    note = next((note for pattern, note in LEFT if re.fullmatch(pattern, entry.name)), "not known to livekeep")
    return Outcome(entry.line, entry.name, note=note)


def take_token(entry: Entry, result: Translation) -> str:
    if PLACEHOLDER.fullmatch(entry.value.strip()):
        raise ValueError("empty, or the sample's placeholder; set it with: sudo livekeep set-token")
    if result.token and result.token != entry.value.strip():
        raise ValueError("another token was already taken")
    result.token = entry.value.strip()
    return "the credential livekeep.vimeo-token"


def take_selection(entry: Entry, result: Translation, streams: Mapping[str, str]) -> str:
    if not streams:
        raise ValueError("the event numbers were not found; name vimeo-monitor's folder with --source-tree")
    if entry.value.strip() not in streams:
        raise ValueError(f"must be one of {', '.join(streams)}")
    return result.set("stream", "selected", f"stream-{entry.value.strip()}")


def take_stream(entry: Entry, result: Translation) -> str:
    if PLACEHOLDER.fullmatch(entry.value.strip()):
        raise ValueError("empty, or the sample's placeholder")
    key = STREAM_IDS[entry.name]
    checked(config.Stream, key, entry.value.strip())
    taken = result.set("streams.main" if key == "vimeo_event" else "streams.video", key, entry.value.strip())
    if "selected" not in result.tables.get("stream", {}):
        result.set("stream", "selected", "main" if key == "vimeo_event" else "video")
    return taken


def take_picture(entry: Entry, result: Translation, folder: Path) -> str:
    if not entry.value.strip():
        raise ValueError("empty; livekeep's own picture is shown")
    picture = folder / entry.value.strip()
    if not picture.is_file():
        raise ValueError("there is no such file; livekeep's own picture is shown")
    key = PICTURES[entry.name]
    if fault := display_fault(picture):
        raise ValueError(f"{fault} livekeep's own is shown")
    result.pictures[key] = picture
    return f"screen.{key}: the picture is copied"


def take_number(entry: Entry, result: Translation) -> str:
    key = NUMBERS[entry.name]
    if not re.fullmatch(r"[0-9]+", entry.value.strip()):
        raise ValueError("is not a whole number")
    return result.set("poller", key, checked(config.Poller, key, int(entry.value)))


def take_level(entry: Entry, result: Translation) -> str:
    level = entry.value.strip().lower()
    return result.set("log", "level", checked(config.Log, "level", LEVELS.get(level, level)))


def take_health(entry: Entry, result: Translation) -> str:
    table, key = HEALTH[entry.name]
    kind = config.TABLES[table]
    value = checked(kind, key, read_as(default_of(kind, key), entry.value.strip()))
    return result.set(table, key, value)


def read_as(default: Any, text: str) -> Any:
    """A setting's text converted to the type of the key's default. Raises `ValueError`."""
    if isinstance(default, bool):
        if text.lower() not in (*TRUE, *FALSE):
            raise ValueError("must be true or false")
        return text.lower() in TRUE
    if isinstance(default, tuple):
        return [part for part in re.split(r"[\s,;]+", text) if part]
    if isinstance(default, int | float) and not re.fullmatch(r"[0-9]+", text):
        raise ValueError("is not a whole number")
    return int(text) if isinstance(default, int | float) else text


def default_of(kind: Any, key: str) -> Any:
    return next(entry.default for entry in dataclasses.fields(kind) if entry.name == key)


def checked(kind: Any, key: str, value: Any) -> Any:
    """`value`, checked and converted for that key. Raises `ValueError`, which says what it must be."""
    entry = next(entry for entry in dataclasses.fields(kind) if entry.name == key)
    default = entry.default
    config.convert(value, default, entry.metadata.get("check"))
    return value


def select_default(result: Translation, streams: Mapping[str, str]) -> None:
    if "selected" not in result.tables.get("stream", {}) and DEFAULT_SELECTION in streams:
        result.set("stream", "selected", f"stream-{DEFAULT_SELECTION}")


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
