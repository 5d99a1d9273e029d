"""A unit's credentials: secrets that systemd passes to one user, as files in $CREDENTIALS_DIRECTORY (systemd.exec(5))."""

import os
from pathlib import Path

from livekeep.core.text import bare

LARGEST_BYTES = 64 * 1024


def read(name: str) -> str:
    """The text of the credential `name`, without surrounding blanks, quotes and line breaks; "" if there is none.

    Raises `OSError` if it cannot be read, and `ValueError` if it is not UTF-8 text.
    """
    return bare(read_text(name))


def read_key(name: str) -> str:
    """The key or token `name`, one word of ASCII; "" if there is none.

    Raises `OSError` if it cannot be read, and `ValueError` if its file contains anything else, or more.
    """
    key = read(name)
    if not all("!" <= letter <= "~" for letter in key):
        raise ValueError("a space, a line break or a character that no key has")
    return key


def read_text(name: str) -> str:
    """The whole text of the credential `name`; "" when there is none. Raises as `read` does."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return ""
    try:
        return (Path(folder) / name).read_bytes()[:LARGEST_BYTES].decode()
    except FileNotFoundError:
        return ""
