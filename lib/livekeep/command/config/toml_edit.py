"""One text value in a TOML file, changed in place: comments, order and spacing stay.

The standard library reads TOML but does not write it. Each place that may hold the value is tried, and the first result that
parses to exactly the wanted document is taken; so no TOML grammar is needed here, and nothing else can change unnoticed.
"""

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any


def value_of(text: str, table: str, key: str) -> Any:
    """The value of `table`.`key`, or None when the document does not set it. Raises `tomllib.TOMLDecodeError`."""
    content = tomllib.loads(text).get(table)
    return content.get(key) if isinstance(content, dict) else None


def with_value(text: str, table: str, key: str, value: str) -> str | None:
    """`text` with `table`.`key` set to `value`, or None when no simple edit does exactly that."""
    wanted = copy.deepcopy(tomllib.loads(text))
    content = wanted.setdefault(table, {})
    if not isinstance(content, dict):
        return None
    content[key] = value
    return next((candidate for candidate in candidates(text, table, key, quoted(value)) if parses_to(candidate, wanted)), None)


def candidates(text: str, table: str, key: str, literal: str) -> Iterator[str]:
    """The text with the value replaced wherever it may stand; then added below the table's header; then in a new table."""
    setting = re.compile(rf"""(["']?\b{re.escape(key)}\b["']?[ \t]*=[ \t]*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s#,}}]+)""")
    for match in setting.finditer(text):
        yield f"{text[: match.start(2)]}{literal}{text[match.end(2) :]}"
    for match in re.finditer(rf"^[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\][^\n]*(\n|\Z)", text, re.MULTILINE):
        line = match.group() if match.group().endswith("\n") else match.group() + "\n"
        yield f"{text[: match.start()]}{line}{key} = {literal}\n{text[match.end() :]}"
    yield f"{text.rstrip()}\n\n[{table}]\n{key} = {literal}\n".lstrip()


def parses_to(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def quoted(value: str) -> str:
    """`value` as a TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
