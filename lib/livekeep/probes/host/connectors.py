"""The display connectors as the kernel knows them: /sys/class/drm/card*-*/status, and the first line of modes."""

from pathlib import Path

from livekeep.core.probe_results import Connector
from livekeep.system import sysfs

FOLDER = "sys/class/drm"
NO_CONNECTOR = "Writeback"
"""A connector into memory, which the Raspberry Pi's driver has beside the real ones."""
CONNECTED = {"connected": True, "disconnected": False}


def read(root: Path) -> tuple[Connector, ...]:
    """All of them in the kernel's order. Of two graphics cards' connectors of the same name, the one with a TV counts."""
    found: dict[str, Connector] = {}
    for folder in sorted((root / FOLDER).glob("card*-*")):
        name = folder.name.partition("-")[2]
        if name.startswith(NO_CONNECTOR) or (name in found and found[name].connected):
            continue
        modes = (sysfs.read(folder / "modes") or "").splitlines()
        found[name] = Connector(name, CONNECTED.get(sysfs.read(folder / "status") or ""), modes[0][:40] if modes else "")
    return tuple(found.values())
