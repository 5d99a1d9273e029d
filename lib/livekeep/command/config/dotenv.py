"""The predecessor's .env, in the syntax of python-dotenv: `export`, quotes, comments, values over several lines, ${NAME}."""

import re
from dataclasses import dataclass, field

NAME = re.compile(r"[ \t]*(?:export[ \t]+)?(?:'([^']+)'|([^=#\s]+))[ \t]*")
SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
BARE = re.compile(r"[^\r\n]*")
REST = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
VARIABLE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class Entry:
    """A setting and the number of the line where it begins. The value may be a secret."""

    name: str
    value: str = field(repr=False)
    line: int


def parse(text: str) -> list[Entry]:
    """The settings in their order; a name set twice stands there twice. Lines that set nothing are passed over."""
    entries: list[Entry] = []
    known: dict[str, str] = {}
    position = 0
    while position < len(text):
        start = position
        name, value, position = binding(text, position)
        if name and value is not None:
            expanded = VARIABLE.sub(lambda found: known.get(found[1]) or found[2] or "", value)
            known[name] = expanded
            entries.append(Entry(name, expanded, text.count("\n", 0, start) + 1))
    return entries


def binding(text: str, position: int) -> tuple[str, str | None, int]:
    """One `NAME=VALUE` from `position` on: its name ("" for none), its value (None for none), and where the next line begins."""
    name = NAME.match(text, position)
    if not name or text[name.end() : name.end() + 1] != "=":
        return "", None, line_end(text, position)
    gap = re.compile(r"[ \t]*").match(text, name.end() + 1)
    value, after = read_value(text, gap.end() if gap else name.end() + 1)
    return name[1] or name[2], value, line_end(text, after)


def read_value(text: str, position: int) -> tuple[str, int]:
    """A quoted or bare value, and where it ends."""
    if quoted := SINGLE.match(text, position):
        return re.sub(r"\\([\\'])", r"\1", quoted[1]), quoted.end()
    if quoted := DOUBLE.match(text, position):
        return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[0]), quoted[1], flags=re.DOTALL), quoted.end()
    bare = BARE.match(text, position)
    content = bare[0] if bare else ""
    return re.sub(r"\s+#.*", "", content).strip(), position + len(content)


def line_end(text: str, position: int) -> int:
    rest = REST.match(text, position)
    return max(rest.end() if rest else len(text), position + 1)
