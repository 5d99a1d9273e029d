"""A progress line on a terminal; nothing elsewhere, where it would only fill a log."""

import shutil
import sys
from types import TracebackType

from livekeep.core.text import shown

BAR_CHARACTERS = 24


class Progress:
    """A context manager that clears the line at its end."""

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Replace the line with `text`."""
        if self.is_shown:
            # A line that wraps could not be cleared.
            width = max(shutil.get_terminal_size().columns - 1, 1)
            sys.stderr.write(f"\r\033[K{shown(text)[:width]}")
            sys.stderr.flush()

    def clear(self) -> None:
        self.show("")


def bar(done: int, total: int, text: str) -> str:
    """ "[######..........]  3 of 8  intro.mp4"; `total` 0 counts as all done."""
    share = min(done / total, 1.0) if total else 1.0
    full = int(share * BAR_CHARACTERS)
    return f"[{'#' * full}{'.' * (BAR_CHARACTERS - full)}] {done} of {total}  {text}"
