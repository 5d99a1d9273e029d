"""A system bus of a test's own: Debian's dbus-daemon below a folder, and stand-ins for its services, systemd above all."""

import contextlib
import copy
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jeepney import HeaderFields, Message, MessageType, message_bus, new_error, new_method_return
from jeepney.io.blocking import open_dbus_connection

from livekeep.system.systemd import path_of
from tests.outside import program, wait_until

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy>
</busconfig>
"""
SYSTEMD = "org.freedesktop.systemd1"
ROOT = "/org/freedesktop/systemd1"
UNKNOWN_PROPERTY = "org.freedesktop.DBus.Error.UnknownProperty"
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


def row(unit: str, state: str = "active", load: str = "loaded", job: int = 0) -> list[Any]:
    """What systemd lists of a unit."""
    return [unit, f"about {unit}", load, state, "running", "", path_of(unit), job, "", "/"]


class BusService:
    """Owns a name on the bus, and answers the calls to it in a thread of the test."""

    def __init__(self, bus: SystemBus, name: str) -> None:
        self.bus, self.name = bus, name

    def start(self) -> None:
        self._connection = open_dbus_connection(f"unix:path={self.bus.socket}")
        self._connection.send_and_get_reply(message_bus.RequestName(self.name))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        # Ends the thread's receive().
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def reply(self, call: Message) -> Message | None:
        """The answer to a call; None for silence."""
        raise NotImplementedError

    def _serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                call = self._connection.receive()
                if call.header.message_type == MessageType.method_call and (reply := self.reply(call)):
                    self._connection.send(reply)


class FakeSystemd(BusService):
    """Answers as org.freedesktop.systemd1(5) says.

    A test changes `units` and `properties` and calls `tell`.
    """

    def __init__(self, bus: SystemBus) -> None:
        super().__init__(bus, SYSTEMD)
        self.units: list[list[Any]] = []
        self.properties: dict[str, dict[str, Any]] = {}
        self._answers: dict[str, Any] = {}
        self._calls: list[str] = []

    def tell(self, **more: Any) -> None:
        """Answer so from now on; `silent`: not at all, `refuses`: with an error, `is_odd`: with a text in place of the list."""
        self._answers = copy.deepcopy({"units": self.units, "properties": self.properties, **more})

    def set(self, unit: str, interface: str, **values: Any) -> None:
        """Properties of a unit ("" is the manager) as (D-Bus type, value)."""
        known = self.properties.setdefault(path_of(unit) if unit else ROOT, {})
        known |= {f"{SYSTEMD}.{interface}.{name}": value for name, value in values.items()}

    def calls(self) -> list[str]:
        """What was asked since this was called last."""
        calls, self._calls = self._calls, []
        return calls

    def reply(self, call: Message) -> Message | None:
        answers, path = self._answers, call.header.fields[HeaderFields.path]
        if call.header.fields[HeaderFields.member] == "ListUnitsByPatterns":
            self._calls.append("list " + " ".join(call.body[1]))
            if answers.get("refuses"):
                return new_error(call, UNKNOWN_PROPERTY, "s", ("not now",))
            signature, body = (
                ("v", ("s", "nothing")) if answers.get("is_odd") else ("a(ssssssouso)", [*map(tuple, answers["units"])])
            )
        else:
            interface, name = call.body
            self._calls.append(f"{path.removeprefix(ROOT)} {name}")
            signature, body = "v", answers["properties"].get(path, {}).get(f"{interface}.{name}")
            if body is None:
                return new_error(call, UNKNOWN_PROPERTY, "s", (f"Unknown interface {interface} or property {name}.",))
        return None if answers.get("silent") else new_method_return(call, signature, (body,))


@contextlib.contextmanager
def fake_systemd(bus: SystemBus) -> Iterator[FakeSystemd]:
    systemd = FakeSystemd(bus)
    systemd.tell()
    systemd.start()
    try:
        yield systemd
    finally:
        systemd.stop()
