"""A test machine: a disposable Debian that systemd-nspawn boots, with its own cgroup, network and file system.

Its files are an in-memory overlay on a cached root. Commands run in it through nsenter, as root. It needs root on the host,
cgroup v2 mounted, and no systemd as PID 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from tests.machine import coverage, root
from tests.machine.network import Network
from tests.machine.tidy import (
    CGROUPS,
    Disposable,
    directory,
    end,
    end_cgroup,
    remove_directory,
    unique,
)
from tests.machine.tv import TV

T = TypeVar("T")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}

# The child cgroup for a test's commands, beside nspawn's own two.
COMMANDS = "commands"

DISK_BYTES = 4 << 30
BOOT_TIMEOUT_SECONDS = 60
POWEROFF_TIMEOUT_SECONDS = 30


class Pid(NamedTuple):
    """One process: its pid on the host (for os.kill) and inside the machine."""

    host: int
    inside: int


class Machine(Disposable):
    """A Debian with real systemd; booted by `with`, removed after it.

    `packages` are preinstalled. `network` is "own" (created and removed with the machine), "host" (for apt), or a Network shared
    with a TV and stand-ins. `source` is bound read-only at /src. `layer` covers the root with the changes of another machine, see
    `keep()`. `files` exist before the first boot, by their path.
    """

    def __init__(
        self,
        suite: root.Suite = "trixie",
        *,
        packages: Sequence[str] = (),
        network: Network | Literal["own", "host"] = "own",
        tv: TV | None = None,
        source: Path | None = None,
        layer: Path | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Create nothing yet."""
        super().__init__()
        self.suite = suite
        self.packages = tuple(packages)
        self.tv = tv
        self.network: Network | None = network if isinstance(network, Network) else None
        self._makes_network = network == "own"
        self._source = source
        self.layer = layer
        self.files = dict(files or {})
        self.name = unique()
        self.leader = -1
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._dir = Path()

    # Commands and files

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        input: str | None = None,  # noqa: A002 - named as in subprocess.run
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line or an argument list; output is text. With `check`, a failure raises MachineError."""
        full = self._command(command, user)
        done = subprocess.run(
            full,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            input=input,
            env=ENVIRONMENT | dict(env or {}),
        )
        if check and done.returncode != 0:
            raise MachineError(f"{command!r} in {self.suite}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(
        self, command: str | Sequence[str], *, env: Mapping[str, str] | None = None, user: str | None = None
    ) -> subprocess.Popen[str]:
        """Start a command with pipes; it ends with the machine at the latest."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command(command, user),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=ENVIRONMENT | dict(env or {}),
        )

    def read(self, path: str) -> str:
        """A file's text. Raises MachineError when it cannot be read."""
        return self.run(["cat", path]).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, with its directories; a reader meanwhile finds the old content or the new."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1.new" && chmod "$2" "$1.new" && mv -f "$1.new" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=text)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.run(["test", "-e", path], check=False).returncode == 0

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a host's file, or a directory's content, to `target`, owned by root."""
        command = ["tar", "--create", "--owner=0", "--group=0"]
        whole = source.is_dir()
        command += ["--directory", str(source if whole else source.parent), "." if whole else source.name]
        archive = subprocess.run(command, check=True, capture_output=True).stdout
        into = target if whole else str(Path(target).parent)
        script = 'mkdir -p "$1" && tar --extract --no-same-owner --directory "$1"'
        done = subprocess.run(
            self._command(["sh", "-c", script, "sh", into], None),
            input=archive,
            check=False,
            capture_output=True,
            env=ENVIRONMENT,
        )
        if done.returncode != 0:
            raise MachineError(f"copy to {target}: {done.stderr.decode(errors='replace')}")
        if not whole and source.name != Path(target).name:
            self.run(["mv", f"{into}/{source.name}", target])

    # systemd

    def systemctl(self, *arguments: str, check: bool = True, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """`systemctl`, with its output."""
        return self.run(["systemctl", *arguments], check=check, timeout=timeout)

    def unit_property(self, unit: str, name: str) -> str:
        """One property of a unit, as `systemctl show` prints it."""
        return self.systemctl("show", "--value", f"--property={name}", unit).stdout.strip()

    def failed_units(self) -> str:
        """A line for each unit that has failed."""
        return self.systemctl("--failed", "--no-legend", "--plain").stdout

    def exposure(self, unit: str) -> float:
        """The rating of a unit's sandbox by the machine's own systemd: from 0 for none to 10."""
        last = self.run(["systemd-analyze", "security", "--no-pager", unit]).stdout.splitlines()[-1]
        return float(last.partition(": ")[2].split()[0])

    def main_pid(self, unit: str) -> Pid:
        """The main process of a unit. Raises MachineError when it has none."""
        inside = int(self.unit_property(unit, "MainPID") or 0)
        for host, pids in self._processes():
            if inside and pids[-1] == inside:
                return Pid(host, inside)
        raise MachineError(f"{unit} has no main process")

    def journal(self, unit: str | None = None, *arguments: str) -> str:
        """The journal as text with monotonic times, of one unit or all, with all that was said until now."""
        command = ["journalctl", "--no-pager", "-o", "short-monotonic", *([f"--unit={unit}"] if unit else []), *arguments]
        return self.run(f"journalctl --sync; exec {shlex.join(command)}", timeout=120).stdout

    def journal_entries(self, unit: str | None = None, *arguments: str) -> list[dict[str, Any]]:
        """The journal's entries with all their fields."""
        return [json.loads(line) for line in self.journal(unit, "--all", "-o", "json", *arguments).splitlines()]

    # Power

    def boot(self) -> None:
        """Boot, and wait until systemd is done and the system bus responds."""
        began = time.monotonic()
        group = CGROUPS / self.name
        group.mkdir()
        (group / COMMANDS).mkdir()
        # exec must happen in the machine's cgroup, or two machines share units of the same name.
        script = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
        command = ["sh", "-c", script, "sh", str(group), *self._nspawn_command()]
        environment = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with (self._dir / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                start_new_session=True,
            )
        self.leader = self._until(lambda: next((host for host, pids in self._processes() if pids[-1] == 1), 0), began)
        self._until(self._is_up, began)

    def poweroff(self) -> None:
        """Shut down cleanly; the files stay, `boot()` starts the machine again."""
        self.systemctl("--no-block", "poweroff")
        self._gone()

    def reboot(self) -> None:
        """Reboot cleanly."""
        self.systemctl("--no-block", "reboot")
        self._gone()
        self.boot()

    def power_cut(self) -> None:
        """Kill everything at once; the files stay as they were written, `boot()` starts the machine again."""
        end_cgroup(CGROUPS / self.name)
        self._gone()

    def keep(self, target: Path) -> None:
        """Copy the changes that this powered-off machine made to its root, as a layer for another machine."""
        upper = self._dir / "disk/upper"
        subprocess.run(["cp", "-a", str(upper if upper.exists() else self._dir / "root"), str(target)], check=True)

    def console(self) -> str:
        """The boot's console output."""
        return (self._dir / "console").read_text(encoding="utf-8", errors="replace")

    def _make(self) -> None:
        base = root.ready(self.suite, self.packages)
        if self._makes_network:
            self.network = Network().start()
            self._stack.callback(self.network.close)
        self._dir = directory(self.name)
        self._stack.callback(remove_directory, self._dir)
        self._mount(base)
        self._stack.callback(self._off)
        self.boot()

    def _mount(self, base: Path) -> None:
        disk, merged = self._dir / "disk", self._dir / "root"
        disk.mkdir()
        merged.mkdir()
        # In memory: a disposable machine must not wait for the host's disk at every fsync.
        options = f"size={DISK_BYTES},mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, self.name, str(disk)], check=True, capture_output=True)
        for name in ("upper", "work"):
            (disk / name).mkdir()
        lower = [self.layer, base] if self.layer else [base]
        options = f"lowerdir={':'.join(map(str, lower))},upperdir={disk}/upper,workdir={disk}/work"
        done = subprocess.run(["mount", "-t", "overlay", "-o", options, self.name, str(merged)], check=False)
        if done.returncode != 0:
            shutil.rmtree(disk / "upper")
            for path in reversed(lower):
                subprocess.run(["cp", "-a", "--reflink=auto", f"{path}/.", str(merged)], check=True)
        # Without a machine id, systemd would treat every boot as the first and enable all presets.
        (merged / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
        for place, text in self.files.items():
            path = merged / place.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def _nspawn_command(self) -> list[str]:
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--timezone=off", "--link-journal=no"]
        command += ["--console=pipe", f"--machine={self.name}", f"--directory={self._dir}/root"]
        # Like a real machine; bookworm's nspawn refuses these.
        command.append("--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self")
        if self.network:
            command += [f"--network-namespace-path={self.network.path}", "--resolv-conf=off"]
        else:
            command += ["--resolv-conf=replace-host"]
        if self.tv:
            command += ["--bind=/tmp/.X11-unix"]
        if self._source:
            command.append(f"--bind-ro={self._source}:/src")
        return command + coverage.options(self.suite, "/src" if self._source else "", self._dir)

    def _command(self, command: str | Sequence[str], user: str | None) -> list[str]:
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        # nsenter forks: without --pdeathsig its child would outlive a terminated or timed-out nsenter.
        change = ["setpriv", "--pdeathsig=KILL"]
        if user:
            group = self.run(["id", "--group", user]).stdout.strip()
            change += [f"--reuid={user}", f"--regid={group}", "--init-groups"]
        script = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
        enter = ["sh", "-c", script, "sh", str(CGROUPS / self.name / COMMANDS)]
        return [*enter, "nsenter", "--target", str(self.leader), "--all", "--", *change, "--", *words]

    def _processes(self) -> list[tuple[int, list[int]]]:
        """Every process of the machine as (host pid, its pids from the outermost namespace inwards)."""
        found = []
        # Tolerates groups that vanish during the scan.
        for group, _, _ in os.walk(CGROUPS / self.name):
            with contextlib.suppress(OSError):
                words = Path(group, "cgroup.procs").read_text(encoding="ascii").split()
                found += [(int(word), _pids(int(word))) for word in words]
        return [(host, pids) for host, pids in found if len(pids) > 1]

    def _is_up(self) -> bool:
        state = self.systemctl("is-system-running", check=False).stdout.strip()
        has_bus = self.run(["busctl", "status", "org.freedesktop.systemd1"], check=False).returncode == 0
        return state in ("running", "degraded") and has_bus

    def _until(self, predicate: Callable[[], T], began: float) -> T:
        """`wait_for` that fails at once when the machine has died, and shows its console."""

        def alive_or_done() -> T:
            if self._nspawn is None or self._nspawn.poll() is not None:
                raise MachineError(f"{self.suite} did not boot:\n{self.console()[-3000:]}")
            return predicate()

        try:
            return wait_for(alive_or_done, BOOT_TIMEOUT_SECONDS - (time.monotonic() - began), 0.05)
        except TimeoutError as error:
            raise MachineError(f"{self.suite} did not come up:\n{self.console()[-3000:]}") from error

    def _gone(self) -> None:
        if self._nspawn:
            self._nspawn.wait(POWEROFF_TIMEOUT_SECONDS)
        end_cgroup(CGROUPS / self.name)
        self._nspawn = None
        self.leader = -1

    def _off(self) -> None:
        if self._nspawn and coverage.measures(self.suite):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self.systemctl(*coverage.END, check=False, timeout=POWEROFF_TIMEOUT_SECONDS)
        end_cgroup(CGROUPS / self.name)
        if self._nspawn:
            end(self._nspawn)


class MachineError(AssertionError):
    """The machine failed to do something; an AssertionError, so that a test reports a failure."""


def wait_for(predicate: Callable[[], T], timeout: float, every: float = 0.05) -> T:
    """Wait until `predicate` returns something true, and return it; in seconds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout:.1f} s; last value: {value!r}")
        time.sleep(every)


def _pids(host: int) -> list[int]:
    try:
        status = Path(f"/proc/{host}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid:")
    return [int(word) for word in line.split()[1:]]
