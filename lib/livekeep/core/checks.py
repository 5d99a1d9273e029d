"""Checks of configuration values: what a key of livekeep.toml accepts, and the words that say so.

A check takes a value and returns None, or what the value must be, such as "must be from 1 to 10".
"""

import contextlib
import re
import socket
from collections.abc import Callable
from dataclasses import field
from typing import Any

Check = Callable[[Any], str | None]
"""Gives None for a good value, or what is wrong with it, to stand behind the key: "must be …"."""


def between(low: float, high: float) -> Check:
    def check(value: float) -> str | None:
        return None if low <= value <= high else f"must be from {low:g} to {high:g}"

    return check


def one_of(*choices: str) -> Check:
    def check(value: str) -> str | None:
        return None if value in choices else "must be one of " + ", ".join(f'"{choice}"' for choice in choices)

    return check


def matching(pattern: str, meaning: str) -> Check:
    def check(value: str) -> str | None:
        return None if re.fullmatch(pattern, value) else f"must be {meaning}"

    return check


PASSWORD_IN_PIECES = re.compile(r"[^:]*://(?:[^/]*[@?#][^/]*@|[^/?#@:.]*:[^/?#@]*/[^/]+@)")
"""A URL whose user or password holds a raw @, ?, # or /, so that a piece of the password would pass for the host or the path."""


def url_with(*schemes: str, blanks: str = "") -> Check:
    """A URL with one of the schemes; with `blanks=" "` one that may have blanks in its path and query."""
    # No urllib.parse: it costs the player 0.6 MB.
    rest = rf"[/?#]\S*({blanks}+\S+)*" if blanks else r"[/?#]\S*"
    url = re.compile(rf"(?i:{'|'.join(schemes)})://([^\s/?#@]*@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{{1,5}})?({rest})?")

    def check(value: str) -> str | None:
        if PASSWORD_IN_PIECES.match(value):
            return "must have the signs of its user and password percent-encoded: @ as %40, # as %23, / as %2F, ? as %3F"
        good = value == "" or (url.fullmatch(value) and value.isprintable())
        return None if good else "must be a URL that begins with " + ", ".join(f"{scheme}://" for scheme in schemes)

    return check


def key(default: Any, check: Check | None = None) -> Any:
    """A key with its default and its check."""
    return field(default=default, metadata={"check": check})


def each(check: Check) -> Check:
    def check_all(values: tuple[str, ...]) -> str | None:
        if "" in values:
            return "must not hold an empty text"
        return next((complaint for value in values if (complaint := check(value))), None)

    return check_all


def youtube_video(value: str) -> str | None:
    """Checks a video's id; who pasted the video's whole address is told which part of it that is."""
    if re.fullmatch(r"|[A-Za-z0-9_-]{11}", value):
        return None
    inside = re.search(r"(?:[?&]v=|youtu\.be/|/(?:live|embed|shorts|video)/)([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])", value)
    meaning = f'here "{inside[1]}"' if inside else "the 11 characters behind v= in its address"
    return f"must be the video's id alone, {meaning}"


def https_or_loopback(value: str) -> str | None:
    """Checks the address of a server that is sent a secret."""
    server = r"(?i:https://[^\s/?#@]+|http://(127\.[0-9.]+|localhost|\[::1\])(:[0-9]{1,5})?)"
    good = re.fullmatch(rf"{server}(/[^\s?#]*)?", value) and value.isprintable()
    return None if good else "must be a URL that begins with https://, without a question mark (http:// for this machine alone)"


ABSOLUTE_PATH = matching(r"/.+", "an absolute path")


LABEL = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*\.?")
LOOKS_LIKE_ADDRESS = re.compile(r"[0-9.]+|.*:.*", re.DOTALL)


def ip_address(value: str) -> str | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, value)
            return None
    return 'must be an IP address such as "127.0.0.1" or "::"'


def host(value: str) -> str | None:
    """Checks a name of the domain name system, or an address."""
    good = ip_address(value) is None if LOOKS_LIKE_ADDRESS.fullmatch(value) else HOST_NAME.fullmatch(value)
    return None if good else 'must be a name or an address, such as "vimeo.com"'


NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""A name that the operator gives to a table: it is also a file's name, a credential's name and a label."""


def number_or(word: str) -> Check:
    """Checks a number, or the text `word` in its place."""

    def check(value: str | float) -> str | None:
        if isinstance(value, str) and value != word:
            return f'must be a number, or "{word}"'
        return None

    return check


def number_key(default: str) -> Any:
    """A key that holds a number, or the text `default`."""
    return field(default=default, metadata={"check": number_or(default), "is_number": True})
