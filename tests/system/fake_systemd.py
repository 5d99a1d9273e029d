"""Stands for PID 1 on a private bus: answers as org.freedesktop.systemd1(5) says, from a file of answers; run as a process.

    fake_systemd.py ANSWERS LOG

ANSWERS is read at every call: {"units": [row of ListUnits…], "properties": {path: {interface.name: [D-Bus type, value]}},
"listing": [D-Bus type, value] in place of the list, "silent": whether to say nothing at all}. LOG gets a line for each call.
"""

import json
import sys
from pathlib import Path
from typing import Any

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
TYPES = {"t": dbus.UInt64, "u": dbus.UInt32, "s": dbus.String, "i": dbus.Int32, "b": dbus.Boolean, "d": dbus.Double}


class UnknownProperty(dbus.DBusException):
    _dbus_error_name = "org.freedesktop.DBus.Error.UnknownProperty"


class Systemd(dbus.service.FallbackObject):
    def __init__(self, connection: Any, answers: Path, log: Path) -> None:
        super().__init__(connection, ROOT)
        self.answers, self.log = answers, log

    def asked(self, what: str) -> Any:
        with self.log.open("a") as file:
            file.write(what + "\n")
        return json.loads(self.answers.read_text())

    @dbus.service.method(
        f"{NAME}.Manager",
        in_signature="asas",
        out_signature="v" if "--odd" in sys.argv else "a(ssssssouso)",
        async_callbacks=("answer", "refuse"),
    )
    def ListUnitsByPatterns(self, states: Any, patterns: Any, answer: Any, refuse: Any) -> None:  # noqa: N802
        given = self.asked("list " + " ".join(patterns))
        if given.get("refuses"):
            refuse(UnknownProperty("not now"))
        elif not given.get("silent"):
            answer([tuple(row) for row in given["units"]] if "--odd" not in sys.argv else dbus.String("nothing"))

    @dbus.service.method(
        "org.freedesktop.DBus.Properties",
        in_signature="ss",
        out_signature="v",
        path_keyword="path",
        async_callbacks=("answer", "refuse"),
    )
    def Get(self, interface: Any, name: Any, answer: Any, refuse: Any, path: Any = None) -> None:  # noqa: N802
        given = self.asked(f"{path.removeprefix(ROOT)} {name}")
        kind, value = given["properties"].get(path, {}).get(f"{interface}.{name}", (None, None))
        if kind is None:
            refuse(UnknownProperty(f"Unknown interface {interface} or property {name}."))
        elif not given.get("silent"):
            answer(TYPES[kind](value, variant_level=0))


def main() -> None:
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    connection = dbus.SystemBus()
    systemd = Systemd(connection, Path(sys.argv[1]), Path(sys.argv[2]))
    owned = dbus.service.BusName(NAME, connection, do_not_queue=True)
    print(owned.get_name(), systemd.locations is not None, flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
