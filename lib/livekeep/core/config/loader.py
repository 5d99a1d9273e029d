"""Reads the configuration: files, merging, checks and error messages.

From tomllib into dataclasses without pydantic: 1.10 in bookworm and 2.10 in trixie differ in messages and API.
The order, where later values win: the defaults in schema.py, /etc/livekeep/livekeep.toml, then *.toml and *.json in
/etc/livekeep/livekeep.d by name.
Unknown keys, wrong types and values out of range are errors that name file and key; all are reported at once.
"""

import contextlib
import dataclasses
import json
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from livekeep.core import paths
from livekeep.core.checks import Check, NumberOr
from livekeep.core.config.schema import CHANNEL_NAME, GROUPS, NAMED, SHIPPED, TABLES, Config
from livekeep.core.errors import ConfigError

IN_FILE = ".toml: "
SUFFIXES = (".toml", ".json")
"""Of the drop-in files that are read."""
COPY_OR_HIDDEN = re.compile(r"^\.|~$|\.(bak|orig|old|swp)$|\.dpkg-[a-z]+$|\.livekeep-[0-9-]+$")
TYPESET_SIGNS = {
    **dict.fromkeys("“”„‟«»″", 'a typographic quote in place of "'),
    **dict.fromkeys("‘’‚‛‹›′", "a typographic quote in place of '"),
    **dict.fromkeys("–—−", "a dash in place of -"),
    **dict.fromkeys("\u00a0\u202f\u2009", "a space that does not break in place of a plain one"),
}


def load(file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> Config:
    """Read, merge and check the configuration. Raises `ConfigError` with every problem."""
    config, problems = load_leniently(file, drop_ins)
    if problems:
        raise ConfigError(problems)
    return config


def load_leniently(file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> tuple[Config, tuple[str, ...]]:
    """The configuration with the default for each invalid value, and the problems, for a unit that must show something."""
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
    problems += check_tables(config, file, {path: source for path, (source, _value) in values.items()})
    return config, tuple(problems)


def files(file: Path, drop_ins: Path) -> list[Path]:
    """The files of the configuration in reading order; the main file is always included."""
    with contextlib.suppress(FileNotFoundError):
        return [file, *sorted(entry for entry in drop_ins.iterdir() if entry.suffix in SUFFIXES)]
    return [file]


def place_of(*wanted: str, file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> Path | None:
    """The last file that sets a key or a named table, such as "channels", "main": its value applies. None if no file does."""
    try:
        sources = files(file, drop_ins)
    except OSError:
        sources = [file]
    for source in reversed(sources):
        if any(path[: len(wanted)] == wanted for path, _value in flatten(read_document(source, []), source, [])):
            return source
    return None


def ignored_files(drop_ins: Path = paths.DROP_IN_DIRECTORY) -> tuple[Path, ...]:
    """The files of the drop-in folder whose name keeps them from being read, such as `hall.toml.txt` or `hall.conf`, by name.

    Hidden files and backup copies of editors and packages are ignored on purpose and not included.
    """
    try:
        names = sorted(path for path in drop_ins.iterdir() if path.suffix not in SUFFIXES and path.is_file())
    except OSError:
        return ()
    return tuple(path for path in names if not COPY_OR_HIDDEN.search(path.name))


def read_document(source: Path, problems: list[str]) -> dict[str, Any]:
    """The tables in a TOML or JSON file; none, and an added problem, if it cannot be read."""
    text, form = "", source.suffix.removeprefix(".").upper()
    try:
        # Editors on Windows add a byte order mark.
        text = source.read_text(encoding="utf-8-sig")
        document = json.loads(text) if form == "JSON" else tomllib.loads(text)
        if isinstance(document, dict):
            return document
        problems.append(f"{source}: must hold an object with a table's name and its keys")
    except FileNotFoundError:
        problems.append(f"{source}: missing; run install.sh again, or copy the example from /usr/share/livekeep")
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
    """The first typographic character, such as a word processor inserts, and its line; "" if there is none."""
    for number, line in enumerate(text.splitlines(), 1):
        # Within straight quotes and comments, such characters are text.
        bare = re.sub(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*', "", line)
        for sign in bare:
            if sign in TYPESET_SIGNS:
                return f"line {number} holds {TYPESET_SIGNS[sign]} ({sign.strip() or hex(ord(sign))}); type it again by keyboard"
    return ""


def flatten(document: dict[str, Any], source: Path, problems: list[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk a document: yields (table…, key) with its value, and (table, name) for each named table; reports unknown tables."""
    for table, content in document.items():
        has_inner = table in (*GROUPS, *NAMED)
        if has_inner and not isinstance(content, dict):
            problems.append(f"{source}: {table}: must be a table, written [{table}.NAME]")
            continue
        for path, keys in [((table, name), inner) for name, inner in content.items()] if has_inner else [((table,), content)]:
            name = ".".join(path)
            if table not in NAMED and name not in TABLES:
                known = ", ".join(it for it in (*TABLES, *NAMED) if table not in GROUPS or it.startswith(f"{table}."))
                problems.append(f"{source}: {name}: unknown table or key; known tables are {known}")
            elif not isinstance(keys, dict):
                problems.append(f"{source}: {name}: must be a table, written [{name}]")
            else:
                if table in NAMED:
                    # It counts even if it is empty.
                    yield path, None
                yield from (((*path, key), value) for key, value in keys.items())


def build(
    kind: Any, prefix: tuple[str, ...], values: dict[tuple[str, ...], tuple[Path, Any]], problems: list[str], shipped: Any = None
) -> Any:
    """One dataclass from the values below `prefix`; an invalid value keeps the default and is reported.

    Absent keys are as in `shipped`, or have their defaults.
    """
    fields = {entry.name: entry for entry in dataclasses.fields(kind) if "open" not in entry.metadata}
    opened = next((entry for entry in dataclasses.fields(kind) if "open" in entry.metadata), None)
    values_of_keys: dict[str, Any] = {opened.name: {}} if opened else {}
    for path, (source, value) in values.items():
        if path[:-1] != prefix:
            continue
        where = f"{source}: {'.'.join(path)}"
        entry = fields.get(path[-1])
        if not entry and (not opened or (fault := opened.metadata["open"].problem(path[-1]))):
            known = ", ".join(fields)
            problems.append(f"{where}: {fault}, or one of {known}" if opened else f"{where}: unknown key; known are {known}")
            continue
        try:
            if entry:
                values_of_keys[entry.name] = convert(value, entry.default, entry.metadata.get("check"))
            elif opened:
                values_of_keys[opened.name][path[-1]] = convert(value, "", opened.metadata["check"])
        except ValueError as error:
            problems.append(f"{where}: {error}, is {shown(path[-1], value)}")
    return dataclasses.replace(shipped, **values_of_keys) if shipped else kind(**values_of_keys)


TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), 'text in quotes, such as "…"'),
    tuple: ((str, list), "a text or a list of texts, not empty"),
}
"""The type of a key's default → the accepted TOML types, and their name in messages."""


def convert(value: Any, default: Any, check: Check | None) -> Any:
    """`value`, checked, in the type of `default` (or a number for a `number_key`). Raises `ValueError`: what it must be."""
    accepted, name = TYPES[float if isinstance(check, NumberOr) and not isinstance(value, str) else type(default)]
    # In Python, true and false are also integers.
    if not isinstance(value, accepted) or (isinstance(value, bool) and accepted != (bool,)):
        raise ValueError(f"must be {name}")
    if float in accepted:
        # An integer may be beyond the range of float.
        value = float(max(min(typing.cast(float, value), 1e300), -1e300))
    if isinstance(default, tuple):
        value = (value,) if isinstance(value, str) else tuple(value)
        # The value may be empty only if the default is.
        if (default and not value) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"must be {name}")
    complaint = check.problem(value) if check else None
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


def check_tables(config: Config, file: Path, places: dict[tuple[str, ...], Path]) -> list[str]:
    """Errors in the named tables beyond their single values. `file` is livekeep.toml; `places`: each key's and table's file."""
    problems = []
    for name, stream in config.streams.items():
        if sum(map(bool, (stream.vimeo_event, stream.vimeo_video, stream.url))) > 1:
            problems.append(f"{file}: streams.{name}: set only one of vimeo_event, vimeo_video, url")
    if config.streams and config.stream.selected not in config.streams:
        names = ", ".join(f'"{name}"' for name in config.streams)
        problems.append(f'{file}: stream.selected: must be one of the configured streams {names}, is "{config.stream.selected}"')
    faults = [(("schedule", fault.partition(":")[0]), fault) for fault in config.schedule.faults()]
    problems += [f"{places.get(key, file)}: schedule.{fault}" for key, fault in faults]
    for table in ("channels", "alerts", "notify", "clips"):
        for name, entry in getattr(config, table).items():
            place = places.get((table, name), file)
            if not CHANNEL_NAME.fullmatch(name):
                problems.append(f"{place}: {table}.{name}: must be named with small letters, digits, - and _, 32 at most")
            for fault in entry.faults():
                file_of_key = places.get((table, name, fault.partition(":")[0]), place)
                problems.append(f"{file_of_key}: {table}.{name}.{fault}")
    return problems


def concerns(problem: str, *tables: str) -> bool:
    """Whether a problem is in one of `tables`, or is a file that could not be read at all.

    An error in a table that a program does not read must not stop that program.
    """
    _file, is_in_file, said = problem.partition(IN_FILE)
    # A key's place is "table.key"; an unreadable file has none: "/etc/livekeep/livekeep.toml: is not valid TOML: …".
    place, _, text = said.partition(": ")
    if not is_in_file or not text or " " in place:
        return True
    return any(place == table or place.startswith(f"{table}.") for table in tables)
