"""livekeep select: lists the streams, or selects one. Writes stream.selected; reloads the poller."""

import argparse
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from livekeep.command import file
from livekeep.core import config, paths
from livekeep.core.config import Config, Stream
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.core.text import shown
from livekeep.system import systemctl, terminal

POLLER = "livekeep-poller.service"


def run(arguments: argparse.Namespace) -> int:
    settings, _problems = config.load_leniently()
    if arguments.names:
        terminal.say_block("\n".join(map(shown, settings.streams)))
    elif arguments.name is None:
        terminal.say_block(listing(settings))
    else:
        select(arguments.name, settings.streams)
    return 0


def listing(settings: Config) -> str:
    """The streams, one per line, the selected one marked."""
    if not settings.streams:
        return f'No streams are configured; add one to {paths.CONFIG_FILE}:\n[streams.main]\nvimeo_event = "NUMBER"'
    width = max(map(len, settings.streams))
    return "\n".join(
        f"{'*' if name == settings.stream.selected else ' '} {name.ljust(width)}  {source(stream)}"
        for name, stream in settings.streams.items()
    )


def source(stream: Stream) -> str:
    """A stream's source, without a URL's user, password, query and fragment."""
    if stream.vimeo_event:
        return f"Vimeo event {stream.vimeo_event}"
    if stream.vimeo_video:
        return f"Vimeo video {stream.vimeo_video}"
    parts = urlsplit(stream.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if stream.url else "not set up"


def select(name: str, streams: Mapping[str, Stream]) -> None:
    """Write the selection and reload the poller. Raises `LivekeepError`, also for an unknown name."""
    if name not in streams:
        known = ", ".join(f'"{known}"' for known in streams) or "none yet"
        raise LivekeepError(f'there is no stream "{name}"; the configured ones are {known}')
    changed = write(name)
    terminal.say(f'{changed}: stream.selected = "{name}"')
    _settings, problems = config.load_leniently()
    if problems:
        raise ConfigError([*problems, "the poller was not reloaded, because this configuration is not valid"])
    if not systemctl.is_running(POLLER):
        terminal.say("livekeep-poller does not run; it uses this when it starts")
        return
    systemctl.tell("reload", POLLER)
    terminal.say("livekeep-poller uses it now")


def write(name: str) -> Path:
    """Set stream.selected in the last file that sets it, else in the main file; returns that file."""
    target = next(filter(sets_selection, reversed(config.files(paths.CONFIG_FILE, paths.DROP_IN_DIRECTORY))), paths.CONFIG_FILE)
    try:
        text = with_selection(file.read_text(target), name)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{target}: is not valid TOML: {error}"]) from error
    if text is None:
        raise LivekeepError(f'{target}: stream.selected cannot be changed automatically; set it to "{name}" by hand')
    file.replace(target, text.encode(), file.config_ownership())
    return target


def sets_selection(path: Path) -> bool:
    try:
        stream = tomllib.loads(file.read_text(path)).get("stream")
        return isinstance(stream, dict) and "selected" in stream
    except (LivekeepError, tomllib.TOMLDecodeError):
        return False


def with_selection(text: str, name: str) -> str | None:
    """`text` with stream.selected set to `name`, keeping comments and layout; None if `stream` is not a table.

    Raises `tomllib.TOMLDecodeError`.
    """
    # Only here, because command-line completion loads this module too.
    import tomlkit  # noqa: PLC0415

    wanted = tomllib.loads(text)
    if not isinstance(wanted.setdefault("stream", {}), dict):
        return None
    wanted["stream"]["selected"] = name
    document = tomlkit.parse(text if text.endswith("\n") or not text else f"{text}\n")
    document.setdefault("stream", tomlkit.table())["selected"] = name
    changed: str = tomlkit.dumps(document)
    # Whatever tomlkit does with an odd layout, nothing else may change unnoticed.
    return changed if tomllib.loads(changed) == wanted else None
