"""The display's output: which one, and whether it can be opened yet."""

import os
import socket
from pathlib import Path

from livekeep.core.config import Screen
from livekeep.system import drm

X11_SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108 – the X Window System's own path, not ours
# A unit with ProcSubset=pid can't see /proc/device-tree.
DEVICE_TREE_MODEL = Path("/sys/firmware/devicetree/base/model")
SOFTWARE_DRIVERS = ("virtio-pci", "virtio_gpu", "vgem", "vkms")
"""Drivers of virtual machines: they have a render node, but software OpenGL on it crashes or is very slow."""

NO_OUTPUT = "null,"
"""In front of mpv's video outputs (vo), of which it takes the first that works: the screen stays free."""


def obstacle(screen: Screen) -> str:
    """Why the output can't be opened yet, in plain words; "" if it can."""
    output = screen.resolved_output()
    if output == "drm":
        if drm.connected(screen.connector):
            return ""
        return f"Waiting for a TV on {screen.connector or 'any connector'}; is it plugged in and on?"
    path = x11_socket(screen) if output == "x11" else wayland_socket(screen)
    return "" if accepts(path) else f"Waiting for the desktop's {path}; is the desktop running?"


def x11_socket(screen: Screen) -> Path:
    number = (screen.x11_display or ":0").lstrip(":").split(".")[0]
    return X11_SOCKETS / f"X{number}"


def wayland_socket(screen: Screen) -> Path:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/run/user/1000"))
    return runtime / (screen.wayland_display or "wayland-0")


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        for address in (str(path), f"\0{path}"):
            try:
                probe.connect(address)
            except OSError:
                continue
            return True
    return False


def board(file: Path = DEVICE_TREE_MODEL) -> str:
    """The board's model, such as "Raspberry Pi 4 Model B Rev 1.4"; "" where the firmware doesn't report it."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def has_gpu(directory: Path = Path("/sys/class/drm")) -> bool:
    """Whether there is a GPU that renders: a device renderDN whose driver is not a software driver."""
    drivers = ((node / "device/driver").resolve().name for node in directory.glob("renderD*"))
    return any(driver not in SOFTWARE_DRIVERS for driver in drivers)
