"""Checks of configuration values: what a key of livekeep.toml accepts, and the text that describes it.

A check is an object with readable limits: the API's schema and the reference are generated from it or compared with it.
"""

import contextlib
import math
import re
import socket
from dataclasses import dataclass, field
from typing import Any, Protocol

PASSWORD_IN_PIECES = re.compile(r"[^:]*://(?:[^/]*[@?#][^/]*@|[^/?#@:.]*:[^/?#@]*/[^/]+@)")
"""A URL whose user or password has a raw @, ?, # or /: part of the password would be parsed as the host or the path."""
LABEL = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*\.?")
LOOKS_LIKE_ADDRESS = re.compile(r"[0-9.]+|.*:.*", re.DOTALL)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""A table name that the operator chooses: it is also a file name, a credential name and a label."""


class Check(Protocol):
    def problem(self, value: Any, /) -> str | None:
        """The problem with `value`, as text to follow the key, such as "must be from 1 to 10"; None for a valid one."""


@dataclass(frozen=True)
class Range:
    low: float
    high: float

    def problem(self, value: float) -> str | None:
        return None if self.low <= value <= self.high else f"must be from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    choices: tuple[str, ...] | tuple[int, ...]

    def problem(self, value: str | int) -> str | None:
        listed = ", ".join(f'"{choice}"' if isinstance(choice, str) else f"{choice}" for choice in self.choices)
        return None if value in self.choices else f"must be one of {listed}"


@dataclass(frozen=True)
class Pattern:
    """A text that `regex` matches in full; `meaning` describes it in words."""

    regex: str
    meaning: str

    def problem(self, value: str) -> str | None:
        return None if re.fullmatch(self.regex, value) else f"must be {self.meaning}"


@dataclass(frozen=True)
class Url:
    """A URL with one of the schemes, or an empty text. With `has_blanks`, its path and query may contain blanks."""

    schemes: tuple[str, ...]
    has_blanks: bool = False

    def problem(self, value: str) -> str | None:
        if PASSWORD_IN_PIECES.match(value):
            return "must have the signs of its user and password percent-encoded: @ as %40, # as %23, / as %2F, ? as %3F"
        # Not urllib.parse: it costs the player 0.6 MB.
        rest = r"[/?#]\S*( +\S+)*" if self.has_blanks else r"[/?#]\S*"
        server = r"([^\s/?#@]*@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?"
        is_good = value == "" or (
            re.fullmatch(rf"(?i:{'|'.join(self.schemes)})://{server}({rest})?", value) and value.isprintable()
        )
        return None if is_good else "must be a URL that begins with " + ", ".join(f"{scheme}://" for scheme in self.schemes)


@dataclass(frozen=True)
class HttpsUrl:
    """The URL of a server that receives a secret."""

    def problem(self, value: str) -> str | None:
        server = r"(?i:https://[^\s/?#@]+|http://(127\.[0-9.]+|localhost|\[::1\])(:[0-9]{1,5})?)"
        is_good = re.fullmatch(rf"{server}(/[^\s?#]*)?", value) and value.isprintable()
        advice = "without a question mark (http:// for this machine alone)"
        return None if is_good else f"must be a URL that begins with https://, {advice}"


@dataclass(frozen=True)
class IngestUrl:
    """An ingest that a channel can publish to. ffmpeg receives the rest of the URL in lines of 1000 bytes, and no password."""

    regex: str = r"(?i:rtmps?)://([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/\S*)?"
    longest_bytes: int = 900

    def problem(self, value: str) -> str | None:
        is_short = len(value.encode()) <= self.longest_bytes
        is_good = re.fullmatch(self.regex, value) and value.isprintable() and is_short
        example = "rtmps://a.rtmps.youtube.com/live2"
        meaning = f'a URL that begins with rtmp://, rtmps://, such as "{example}", without user and password'
        return None if is_good else f"must be {meaning}"

    def host(self, value: str) -> str:
        """The host of a valid URL, in lower case; "" for an invalid one."""
        match = re.fullmatch(self.regex, value)
        return match[1].lower() if match else ""


@dataclass(frozen=True)
class VideoId:
    """The id of a YouTube video, or an empty text. If a full URL is given, the problem shows the id."""

    regex: str = r"|[A-Za-z0-9_-]{11}"

    def problem(self, value: str) -> str | None:
        if re.fullmatch(self.regex, value):
            return None
        inside = re.search(r"(?:[?&]v=|youtu\.be/|/(?:live|embed|shorts|video)/)([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])", value)
        meaning = f'here "{inside[1]}"' if inside else "the 11 characters behind v= in its address"
        return f"must be the video's id alone, {meaning}"


@dataclass(frozen=True)
class IpAddress:
    def problem(self, value: str) -> str | None:
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError, ValueError):
                socket.inet_pton(family, value)
                return None
        return 'must be an IP address such as "127.0.0.1" or "::"'


@dataclass(frozen=True)
class Host:
    """A DNS name or an IP address."""

    def problem(self, value: str) -> str | None:
        is_address = LOOKS_LIKE_ADDRESS.fullmatch(value)
        is_good = IpAddress().problem(value) is None if is_address else HOST_NAME.fullmatch(value)
        return None if is_good else 'must be a name or an address, such as "vimeo.com"'


@dataclass(frozen=True)
class NumberOr:
    """A number, or the text `word` instead."""

    word: str
    low: float = -math.inf
    high: float = math.inf

    def problem(self, value: str | float) -> str | None:
        is_good = value == self.word if isinstance(value, str) else self.low <= value <= self.high
        numbers = "a number" if self.high == math.inf else f"from {self.low:g} to {self.high:g}"
        return None if is_good else f'must be {numbers}, or "{self.word}"'


@dataclass(frozen=True)
class Each:
    """A list whose entries `check` accepts, none of them empty."""

    check: Check

    def problem(self, values: tuple[str, ...]) -> str | None:
        if "" in values:
            return "must not hold an empty text"
        return next((problem for value in values if (problem := self.check.problem(value))), None)


ABSOLUTE_PATH = Pattern(r"/.+", "an absolute path")


def key(default: Any, check: Check | None = None) -> Any:
    """A key with its default and its check."""
    return field(default=default, metadata={"check": check})


def open_keys(name: Check, value: Check) -> Any:
    """The field for all keys whose names the operator chooses: a mapping of texts, with the checks of names and values."""
    return field(default_factory=dict, metadata={"open": name, "check": value})


def number_key(default: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """A key that holds a number within the limits, or the text `default`."""
    return key(default, NumberOr(default, low, high))
