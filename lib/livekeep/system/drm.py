"""The kernel's display connectors, /sys/class/drm/cardN-CONNECTOR, and frame buffers, /sys/class/graphics/fbN."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from livekeep.system import sysfs

DRM_DIRECTORY = Path("/sys/class/drm")
FRAME_BUFFERS = Path("/sys/class/graphics")
CHECK_SECONDS = 5.0
NO_CONNECTOR = "Writeback"
"""A connector to memory, which the Raspberry Pi's driver adds to the real ones."""


@dataclass(frozen=True)
class Connector:
    """`name` is like "HDMI-A-1", `modes` like "1920x1080", the preferred one first; `is_connected` is None when unknown."""

    name: str
    is_connected: bool | None
    modes: tuple[str, ...]


def connectors(directory: Path = DRM_DIRECTORY) -> Iterator[Connector]:
    """All connectors in the kernel's order; two graphics cards may have connectors of the same name."""
    for folder in sorted(directory.glob("card*-*")):
        name = folder.name.partition("-")[2]
        if not name.startswith(NO_CONNECTOR):
            is_connected = {"connected": True, "disconnected": False}.get(sysfs.read(folder / "status") or "")
            yield Connector(name, is_connected, tuple((sysfs.read(folder / "modes") or "").split()))


def connected(wanted: str = "", directory: Path = DRM_DIRECTORY) -> str:
    """The first connected connector with modes that is named `wanted` (any for ""); "" if there is none."""
    names = (it.name for it in connectors(directory) if wanted in ("", it.name) and it.is_connected and it.modes)
    return next(names, "")


def powers(directory: Path = DRM_DIRECTORY) -> list[str | None]:
    """The power state of each connector with a TV, such as "On"."""
    folders = directory.glob("card*-*")
    return [sysfs.read(folder / "dpms") for folder in folders if sysfs.read(folder / "status") == "connected"]


def frame_buffers(directory: Path = FRAME_BUFFERS) -> list[Path]:
    """The folders of the graphics cards' frame buffers."""
    return [card.parents[1] for card in sorted(directory.glob("fb*/device/drm"))]


class Watch:
    """Detects that a disconnected TV is back. A machine without connectors never has one."""

    def __init__(self, wanted: str = "", directory: Path = DRM_DIRECTORY) -> None:
        self._wanted, self._directory = wanted, directory
        self._checked_monotonic = float("-inf")
        self._was_gone = False
        self._was_there = False
        self.name = ""

    def came_back(self, now: float) -> bool:
        """Whether the TV was reconnected since the last check; checks at most every five seconds."""
        if now - self._checked_monotonic < CHECK_SECONDS:
            return False
        self._checked_monotonic = now
        name = connected(self._wanted, self._directory)
        came_back = bool(name) and self._was_gone and self._was_there
        self._was_gone, self._was_there = not name, self._was_there or bool(name)
        self.name = name or self.name
        return came_back
