"""A unit's credentials: secrets that systemd hands to one user, as files in $CREDENTIALS_DIRECTORY (systemd.exec(5))."""

import os
from pathlib import Path

from livekeep.core import secret_text

LARGEST_BYTES = 64 * 1024


def read(name: str) -> str:
    """The text of the credential `name`, without blanks, quotes and line breaks around it; "" when there is none.

    Raises `OSError` when it cannot be read, and `ValueError` when it is no UTF-8 text.
    """
    return secret_text.bare(read_text(name))


def read_text(name: str) -> str:
    """The whole text of the credential `name`; "" when there is none. Raises as `read` does."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return ""
    try:
        return (Path(folder) / name).read_bytes()[:LARGEST_BYTES].decode()
    except FileNotFoundError:
        return ""
