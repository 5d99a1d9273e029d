"""The TV's connection, as the kernel tells it in /sys/class/drm/cardN-CONNECTOR/{status,modes}."""

from pathlib import Path

DRM_DIRECTORY = Path("/sys/class/drm")
CHECK_SECONDS = 5.0


def connected(wanted: str = "", directory: Path = DRM_DIRECTORY) -> str:
    """The connected connector with modes that is named `wanted` (any when ""), such as "HDMI-A-1"; "" when there is none."""
    for folder in sorted(directory.glob("card*-*")):
        name = folder.name.split("-", 1)[1]
        if wanted in ("", name) and read(folder / "status") == "connected" and read(folder / "modes"):
            return name
    return ""


def read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


class Watch:
    """Notices that a TV which was gone is back. A box without connectors never had one."""

    def __init__(self, wanted: str = "", directory: Path = DRM_DIRECTORY) -> None:
        self._wanted, self._directory = wanted, directory
        self._checked_monotonic = float("-inf")
        self._was_gone = False
        self._was_there = False
        self.name = ""

    def came_back(self, now: float) -> bool:
        """Whether the TV came back since the last check; checks at most every five seconds."""
        if now - self._checked_monotonic < CHECK_SECONDS:
            return False
        self._checked_monotonic = now
        name = connected(self._wanted, self._directory)
        came_back = bool(name) and self._was_gone and self._was_there
        self._was_gone, self._was_there = not name, self._was_there or bool(name)
        self.name = name or self.name
        return came_back
