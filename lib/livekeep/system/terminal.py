"""Terminal output for people: durations, local times, aligned tables, colour, and a yes-or-no question.

All output of the command passes `say`, `say_block` or `json_text`: data from units, servers and file names reaches the terminal
only as text, and only our own line breaks break lines.
"""

import json
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, TextIO

from livekeep.core.errors import LivekeepError
from livekeep.core.text import UNSAFE, escape, shown

EXIT_INTERRUPTED = 130
NARROWEST = 6
"""The narrowest that a column is shortened to."""
Colour = Literal["green", "yellow", "red", "dim", "bold", ""]
CODES: dict[Colour, str] = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
IN_BLOCK = re.compile(rf"(?!\n|\x1b\[(?:{'|'.join([*CODES.values(), '0'])})m)[{UNSAFE}]")
"""Unsafe characters, except line breaks and our colours."""


def exit_code(run: Callable[[], int]) -> int:
    """Run a command for a person or a script; returns its exit code. No traceback if the reader of the output closes it, at
    Ctrl-C, and for a `LivekeepError`, whose lines go to standard error without the journal's prefix.
    """
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head(1), has closed; Python would report it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say(to=sys.stderr)
        return EXIT_INTERRUPTED
    except LivekeepError as error:
        say_block(str(error), sys.stderr)
        return error.exit_code
    return code


def paint(text: str, colour: Colour) -> str:
    """`text` in `colour` on a terminal without NO_COLOR (no-color.org), else unchanged."""
    is_plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if is_plain or not colour else f"\033[{CODES[colour]}m{text}\033[0m"


def say(line: str = "", to: TextIO | None = None) -> None:
    """Print one line, by default to standard output."""
    print(shown(line), file=to or sys.stdout, flush=True)


def say_block(block: str, to: TextIO | None = None, end: str = "\n") -> None:
    """Print lines made of tables and of text that passed `shown`, with our colours."""
    print(IN_BLOCK.sub(escape, block), file=to or sys.stdout, end=end, flush=True)


def json_text(document: Any) -> str:
    """JSON for programs, safe for a person to read: unsafe characters are escaped."""
    raw = json.dumps(document, indent=2, ensure_ascii=False)
    return IN_BLOCK.sub(lambda found: f"\\u{ord(found[0]):04x}", raw)


def duration(seconds: float) -> str:
    """A duration in at most two units: "12 s", "3 min", "2 h 5 min", "4 days 2 h"."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return join(f"{whole // 3600} h", whole % 3600 // 60, "min")
    days = whole // 86400
    return join(f"{days} day{'s' * (days > 1)}", whole % 86400 // 3600, "h")


def short_time(seconds: float) -> str:
    """A short duration: "0.4 ms", "12 ms", "4.1 s"."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 100 else duration(seconds)
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def size(count: int) -> str:
    """Bytes in the decimal unit that suits them: "812 B", "63 MB", "1.2 GB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def join(first: str, number: int, unit: str) -> str:
    return f"{first} {number} {unit}" if number else first


def local_time(moment: float, now: float) -> str:
    """A Unix time by the local clock: "10:02:11" today, "Sunday 10:02" within six days, else with the date."""
    there, here = time.localtime(moment), time.localtime(now)
    if there[:3] == here[:3]:
        return time.strftime("%H:%M:%S", there)
    if abs(moment - now) < 6 * 86400:
        return time.strftime("%A %H:%M", there)
    return time.strftime("%Y-%m-%d %H:%M", there)


def since(moment: float, now: float) -> str:
    """ "10:02:11 (for 3 min)"; "" for the time 0."""
    return f"{local_time(moment, now)} (for {duration(now - moment)})" if moment > 0 else ""


def table(rows: Sequence[Sequence[str]], indent: int = 0, numbers: Collection[int] = (), widest: int | None = None) -> str:
    """Rows of cells in aligned columns, two spaces apart; the last column is not padded. Each cell is one line.

    The columns of `numbers` are right-aligned. `widest` limits the length of lines: the widest column is shortened.
    """
    if not rows:
        return ""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    if widest is not None:
        while (excess := indent + sum(widths) + 2 * (len(widths) - 1) - widest) > 0 and max(widths) > NARROWEST:
            column = widths.index(max(widths))
            second = max([NARROWEST, *(size for place, size in enumerate(widths) if place != column)])
            widths[column] -= min(excess, max(widths[column] - second, 1))
        rows = [[shortened(cell, size) for cell, size in zip(row, widths, strict=True)] for row in rows]
    lines = (
        "  ".join(padded(cell, size, place in numbers) for place, (cell, size) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join(" " * indent + line.rstrip() for line in lines)


def state_table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[Colour]) -> str:
    """A table under a bold head; the second cell of each row, a state, is in that row's colour."""
    first, *others = table([head, *rows]).splitlines()
    lines = [paint(first, "bold")]
    for line, row, colour in zip(others, rows, colours, strict=True):
        name = line[: len(row[0])]
        lines.append(name + line[len(name) :].replace(row[1], paint(row[1], colour), 1))
    return "\n".join(lines)


def padded(text: str, size: int, on_the_right: bool = False) -> str:
    blanks = " " * (size - width(text))
    return blanks + text if on_the_right else text + blanks


def width(text: str) -> int:
    """Columns on a terminal: two for a wide letter, none for a combining accent."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text
    )


def shortened(text: str, longest: int) -> str:
    """The beginning and the end, where names differ, in `longest` columns."""
    if width(text) <= longest:
        return text
    end = (longest - 1) // 3
    head, tail = text[: longest - end - 1], text[len(text) - end :]
    while width(head) + 1 + width(tail) > longest:
        head, tail = (head[:-1], tail) if width(head) >= width(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def confirm(question: str) -> bool:
    """Ask on the terminal; only "y" or "yes" is yes. Without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"{shown(question)} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
