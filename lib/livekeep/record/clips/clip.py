"""A clip with its counters, in the form that every source kind returns; and parsing of external values."""

import re
from dataclasses import dataclass
from typing import Any

from livekeep.core.errors import TemporaryError
from livekeep.system import vimeo

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST_NAME = 200
LONGEST_LINK = 500
LARGEST_COUNT = 10**15
LONGEST_SECONDS = 10.0**7
MOST_CLIPS = 20_000
"""Per source: the newest ones, if there are more."""


@dataclass(frozen=True, slots=True)
class Clip:
    """`created` is in Unix seconds. A counter is None if the source omits it, such as plays that the owner hides."""

    id: str
    name: str = ""
    link: str = ""
    duration_seconds: float | None = None
    created: float | None = None
    plays: int | None = None
    likes: int | None = None
    comments: int | None = None


class SourceError(TemporaryError):
    """A source cannot be read now. The text is one sentence without a server's URL; `advice` says what to do, or is ""."""

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice


def name_of(value: Any) -> str:
    """A name on one line, shortened."""
    text = value if isinstance(value, str) else ""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text.strip()[:LONGEST_NAME]


def link_of(value: Any) -> str:
    """A web address that is safe as a link on a page; "" for anything else."""
    good = isinstance(value, str) and len(value) <= LONGEST_LINK and re.fullmatch(r"https?://[^\s<>\"']+", value)
    return str(value) if good and value.isprintable() else ""


def count_of(value: Any) -> int | None:
    """A counter; None for an invalid value of any type."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    number = vimeo.count(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    return number if number is not None and number <= LARGEST_COUNT else None


def seconds_of(value: Any) -> float | None:
    """A length in seconds; None when invalid. Vimeo returns 0 while the length is unknown."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_SECONDS
    return float(value) if good else None
