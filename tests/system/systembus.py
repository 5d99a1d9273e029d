"""A system bus of a test's own: Debian's dbus-daemon below a folder, and a stand-in for systemd on it."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.outside import program, wait_until

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy>
</busconfig>
"""
SYSTEMD = "org.freedesktop.systemd1"
ROOT = "/org/freedesktop/systemd1"
# Debian's own Python: python3-dbus and python3-gi are packages of its.
PYTHON = "/usr/bin/python3"


class SystemBus:
    """dbus-daemon at ROOT/run/dbus/system_bus_socket; `start` and `stop` as a test likes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "run/dbus/system_bus_socket"
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        config = self.root / "bus.conf"
        config.write_text(CONFIG.format(socket=self.socket))
        self._stack.enter_context(program(["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]))
        wait_until("the bus at its socket", self._listens)

    def _listens(self) -> bool:
        """The socket is there a moment before it takes connections."""
        with socket.socket(socket.AF_UNIX) as trial:
            return trial.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def system_bus(root: Path) -> Iterator[SystemBus]:
    bus = SystemBus(root)
    try:
        bus.start()
        yield bus
    finally:
        bus.stop()


def path_of(unit: str) -> str:
    """A unit's object path, escaped as systemd does."""
    return f"{ROOT}/unit/" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


def row(unit: str, state: str = "active", load: str = "loaded", job: int = 0) -> list[Any]:
    """What systemd lists of a unit."""
    return [unit, f"about {unit}", load, state, "running", "", path_of(unit), job, "", "/"]


class FakeSystemd:
    """The stand-in's process and its answers. A test changes `units` and `properties` and calls `tell`."""

    def __init__(self, bus: SystemBus, folder: Path) -> None:
        self.bus = bus
        self._answers, self._log = folder / "answers.json", folder / "calls"
        self.units: list[list[Any]] = []
        self.properties: dict[str, dict[str, Any]] = {}
        self._stack = contextlib.ExitStack()

    def tell(self, **more: Any) -> None:
        """Answer so from now on."""
        new = self._answers.with_suffix(".new")
        new.write_text(json.dumps({"units": self.units, "properties": self.properties, **more}))
        new.rename(self._answers)

    def set(self, unit: str, interface: str, **values: Any) -> None:
        """Properties of a unit ("" is the manager) as (D-Bus type, value)."""
        known = self.properties.setdefault(path_of(unit) if unit else ROOT, {})
        known |= {f"{SYSTEMD}.{interface}.{name}": value for name, value in values.items()}

    def calls(self) -> list[str]:
        """What was asked since this was called last."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return lines

    def start(self, *options: str) -> None:
        environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.bus.socket}"}
        script = Path(__file__).with_name("fake_systemd.py")
        reading, writing = os.pipe()
        with open(reading) as ready:  # noqa: PTH123 – a descriptor
            command = [PYTHON, script, self._answers, self._log, *options]
            self._stack.enter_context(program(command, env=environment, stdout=writing, stderr=sys.stderr))
            os.close(writing)
            assert ready.readline().startswith(SYSTEMD), "the stand-in for systemd did not start"

    def stop(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def fake_systemd(bus: SystemBus, folder: Path) -> Iterator[FakeSystemd]:
    systemd = FakeSystemd(bus, folder)
    systemd.tell()
    try:
        systemd.start()
        yield systemd
    finally:
        systemd.stop()
