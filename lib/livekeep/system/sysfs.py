"""The kernel's small files: one short text each, which may be absent or invalid."""

from pathlib import Path

LARGEST_BYTES = 64 * 1024


def read(path: Path) -> str | None:
    """The text without surrounding white space; None if the file is absent or cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES).decode("utf-8", "replace").strip("\0 \n\t")
    except OSError:
        return None


def read_count(path: Path) -> int | None:
    """A whole number of 0 or more; None if there is none."""
    text = read(path) or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
