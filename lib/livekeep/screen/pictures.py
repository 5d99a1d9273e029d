"""The pictures that may stand on the screen: which is next, and what to show in place of one that cannot be shown."""

import os
from pathlib import Path

from livekeep.core import paths


class Slides:
    """The holding pictures in turn. A picture that cannot be shown is passed over; the shipped one stands in for all."""

    def __init__(self, holding: tuple[str, ...], seconds: float) -> None:
        self._holding, self._seconds = holding, seconds
        self._rejected: set[str] = set()
        self._index = 0
        self._shown_since: float | None = None

    def present(self) -> str:
        """The path of the picture whose turn it is; "" when there is none at all."""
        usable = self._usable()
        if usable:
            return usable[self._index % len(usable)]
        return self.shipped(is_error=False)

    def error_picture(self, wanted: str) -> str:
        """The path of the error picture: `wanted`, else the shipped one, else ""."""
        return wanted if self._is_usable(wanted) else self.shipped(is_error=True)

    def advance(self, now: float, visible: bool) -> None:
        """Go to the next picture when the present one has been visible for its time."""
        if not visible:
            self._shown_since = None
        elif self._shown_since is None:
            self._shown_since = now
        elif now - self._shown_since >= self._seconds - 0.01 and len(self._usable()) > 1:
            self._index += 1
            self._shown_since = now

    def next_change(self) -> float:
        """When (monotonic) the next picture is due; infinity when there is but one."""
        if self._shown_since is None or len(self._usable()) < 2:
            return float("inf")
        return self._shown_since + self._seconds

    def reject(self, path: str) -> None:
        self._rejected.add(path)

    def _usable(self) -> list[str]:
        return [path for path in self._holding if self._is_usable(path)]

    def shipped(self, is_error: bool) -> str:
        """The path of the picture that livekeep ships; "" when it is gone."""
        path = str(paths.PICTURE_DIRECTORY / ("error.png" if is_error else "holding.png"))
        return path if self._is_usable(path) else ""

    def _is_usable(self, path: str) -> bool:
        return path not in self._rejected and Path(path).is_file() and os.access(path, os.R_OK)
