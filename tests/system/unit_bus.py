"""Stands for the system bus and PID 1 on it, in threads of the test: lists units and gives their properties from files.

A file is named like its unit and holds lines NAME=VALUE, as `systemctl show` prints them; one whose Id= differs is an alias, and
a unit without a file is not found. Each method that is called leaves a line in the file `calls` beside them. timedate1 says that
the clock is synchronised, unless there is a file `clock-is-not-synchronized`.
"""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

from jeepney import HeaderFields, Message, Parser, new_error, new_method_return

from livekeep.system.systemd import path_of

TYPES = {"NRestarts": "u", "StateChangeTimestampMonotonic": "t"}
ABSENT = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "Result": "success"}


class UnitBus:
    def __init__(self, path: Path, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        self._path = path

    def close(self) -> None:
        """No bus any more."""
        self._path.unlink(missing_ok=True)
        # Ends the thread's accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            received = client.recv(4096)
            client.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            while b"BEGIN\r\n" not in received:
                received += client.recv(4096)
            parser = Parser()
            parser.add_data(received.partition(b"BEGIN\r\n")[2])
            while True:
                while call := parser.get_next_message():
                    client.sendall(self._reply(call).serialise(serial=call.header.serial))
                data = client.recv(65536)
                if not data:
                    return
                parser.add_data(data)

    def _reply(self, call: Message) -> Message:
        member = call.header.fields[HeaderFields.member]
        if member == "Hello":
            return new_method_return(call, "s", (":1.9",))
        with (self._folder / "calls").open("a") as calls:
            calls.write(f"D-Bus {member}\n")
        if member == "ListUnitsByNames":
            return new_method_return(call, "a(ssssssouso)", ([self._row(name) for name in call.body[0]],))
        _interface, name = call.body
        if name == "NTPSynchronized":
            return new_method_return(call, "v", (("b", not (self._folder / "clock-is-not-synchronized").exists()),))
        value = self._values(self._paths[call.header.fields[HeaderFields.path]]).get(name)
        if value is None:
            return new_error(call, "org.freedesktop.DBus.Error.UnknownProperty", "s", (f"Unknown property {name}",))
        kind = TYPES.get(name, "s")
        return new_method_return(call, "v", ((kind, value if kind == "s" else int(value)),))

    def _row(self, asked: str) -> tuple[Any, ...]:
        values = self._values(asked)
        name = values["Id"]
        self._paths[path_of(name)] = asked
        states = (values["LoadState"], values["ActiveState"], values["SubState"])
        return (name, "", *states, "", path_of(name), 0, "", "/")

    def _values(self, name: str) -> dict[str, str]:
        file = self._folder / name
        if not file.exists():
            return {"Id": name} | ABSENT
        return {"Id": name} | dict(line.split("=", 1) for line in file.read_text().splitlines())
