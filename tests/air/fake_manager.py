"""Stands for PID 1 on a private bus, where it starts and stops workers: org.freedesktop.systemd1(5); run as a process.

    fake_manager.py SCRIPT LOG HOOK

SCRIPT is read at every call: {"outcomes": {unit: {"result": of the job, "exit_status": …, "seconds": till then}}, "force": {unit:
[active, sub]}, "refuse": name of the error for every change}. LOG gets a line for each change that was asked for. A worker that
fails at its start has its HOOK run, as by ExecStopPost=.
"""

import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
NEW = {"active": "inactive", "sub": "dead", "pid": 0, "restarts": 0, "result": "success", "status": 0}


class SystemdFault(dbus.DBusException):
    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self._dbus_error_name = name


def path_of(unit: str) -> str:
    return f"{ROOT}/unit/" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


class Manager(dbus.service.FallbackObject):
    def __init__(self, connection: Any, script: Path, log: Path, hook: Path) -> None:
        super().__init__(connection, ROOT)
        self.script, self.log, self.hook = script, log, hook
        self.units: dict[str, dict[str, Any]] = {}
        self.jobs = 0
        self.pid = 1000

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.script.read_text())
        for unit, (active, sub) in told.get("force", {}).items():
            self.units.setdefault(unit, dict(NEW)).update(active=active, sub=sub)
        return told

    def change(self, what: str) -> dict[str, Any]:
        with self.log.open("a") as file:
            file.write(what + "\n")
        told = self.told()
        if told.get("refuse"):
            raise SystemdFault(told["refuse"], "Interactive authentication required.")
        return told

    def new_job(self) -> str:
        self.jobs += 1
        return f"{ROOT}/job/{self.jobs}"

    @dbus.service.signal(f"{NAME}.Manager", signature="uoss")
    def JobRemoved(self, number: int, job: str, unit: str, result: str) -> None:  # noqa: N802
        pass

    def end_job(self, job: str, unit: str, outcome: str, **now: Any) -> bool:
        self.units[unit].update(now)
        if now["active"] == "failed":
            said = {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": str(now["status"])}
            subprocess.run([self.hook, unit.partition("@")[2].removesuffix(".service")], env=os.environ | said, check=True)
        self.JobRemoved(int(job.rpartition("/")[2]), dbus.ObjectPath(job), unit, outcome)
        return False

    @dbus.service.method(f"{NAME}.Manager")
    def Subscribe(self) -> None:  # noqa: N802
        pass

    @dbus.service.method(f"{NAME}.Manager", in_signature="ss", out_signature="o", async_callbacks=("answer", "refuse"))
    def StartUnit(self, unit: str, mode: str, answer: Any, refuse: Any) -> None:  # noqa: N802
        known = self.units.setdefault(str(unit), dict(NEW))
        try:
            told = self.change(f"start {unit} {known['active']}")
        except SystemdFault as error:
            refuse(error)
            return
        outcome = {"result": "done", "seconds": 0.02, "exit_status": 78} | told.get("outcomes", {}).get(str(unit), {})
        job = self.new_job()
        answer(dbus.ObjectPath(job))
        self.pid += 1
        # RuntimeDirectory=
        instance = str(unit).removeprefix("livekeep-").removesuffix(".service")
        Path(os.environ["LIVEKEEP_ROOT"], "run/livekeep", instance).mkdir(parents=True, exist_ok=True)
        known.update(active="activating", sub="start", pid=self.pid, result="success")
        if outcome["result"] == "done":
            after = {"active": "active", "sub": "running"}
        else:
            after = {"active": "failed", "sub": "failed", "pid": 0, "result": "exit-code", "status": outcome["exit_status"]}
        if outcome["seconds"] is not None:
            GLib.timeout_add(int(outcome["seconds"] * 1000), lambda: self.end_job(job, str(unit), outcome["result"], **after))

    @dbus.service.method(f"{NAME}.Manager", in_signature="ss", out_signature="o")
    def StopUnit(self, unit: str, mode: str) -> Any:  # noqa: N802
        known = self.units.setdefault(str(unit), dict(NEW))
        self.change(f"stop {unit} {known['active']}")
        known.update(active="deactivating", sub="stop-sigterm")
        job = self.new_job()
        GLib.timeout_add(20, lambda: self.end_job(job, str(unit), "done", active="inactive", sub="dead", pid=0))
        return dbus.ObjectPath(job)

    @dbus.service.method(f"{NAME}.Manager", in_signature="ssi")
    def KillUnit(self, unit: str, whom: str, number: int) -> None:  # noqa: N802
        self.change(f"kill {unit} {whom} {number}")

    @dbus.service.method(f"{NAME}.Manager", in_signature="s")
    def ResetFailedUnit(self, unit: str) -> None:  # noqa: N802
        self.change(f"reset-failed {unit}")
        if str(unit) not in self.units:
            raise SystemdFault(f"{NAME}.NoSuchUnit", f"Unit {unit} not loaded.")
        self.units[str(unit)].update(active="inactive", sub="dead")

    @dbus.service.method(f"{NAME}.Manager", in_signature="asas", out_signature="a(ssssssouso)")
    def ListUnitsByPatterns(self, states: Any, patterns: Any) -> Any:  # noqa: N802
        self.told()
        return [
            (name, "", "loaded", unit["active"], unit["sub"], "", dbus.ObjectPath(path_of(name)), 0, "", dbus.ObjectPath("/"))
            for name, unit in self.units.items()
            if any(fnmatch.fnmatchcase(name, str(pattern)) for pattern in patterns)
        ]

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v", path_keyword="path")
    def Get(self, interface: str, name: str, path: Any = None) -> Any:  # noqa: N802
        (unit,) = [unit for known, unit in self.units.items() if path_of(known) == path]
        return {
            "MainPID": dbus.UInt32(unit["pid"]),
            "NRestarts": dbus.UInt32(unit["restarts"]),
            "Result": dbus.String(unit["result"]),
            "ExecMainStatus": dbus.Int32(unit["status"]),
        }[str(name)]


def main() -> None:
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    connection = dbus.SystemBus()
    manager = Manager(connection, *(Path(argument) for argument in sys.argv[1:4]))
    owned = dbus.service.BusName(NAME, connection, do_not_queue=True)
    print(owned.get_name(), manager.locations is not None, flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
