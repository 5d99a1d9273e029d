"""The real livekeep-exporter as a process, with a datagram socket in systemd's place."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.exporter.served import Reply, get
from tests.outside import PATIENCE_SECONDS, PROJECT, NotifySocket, reserved

PROGRAM = PROJECT / "bin/livekeep-exporter"


class RunningExporter:
    """The process, its files below `folder`, and what it told systemd."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", settings: str = "", as_user: Sequence[str] = ()) -> None:
        """`as_user`: the beginning of the command, such as setpriv."""
        self.as_user = as_user
        self.folder, self.address = folder, address
        self._reserved = reserved(address)
        self.port: int = self._reserved.getsockname()[1]
        self.states = folder / "run/livekeep"
        self.config = folder / "etc/livekeep/livekeep.toml"
        self.errors = folder / "stderr"
        self.settings = settings

    def __enter__(self) -> Self:
        for path in (self.states, self.config.parent, self.folder / "credentials"):
            path.mkdir(parents=True, exist_ok=True)
        self.configure(self.settings)
        self.systemd = NotifySocket(self.folder / "notify")
        self.systemd.__enter__()
        environment = {
            **environment_for(self.folder),
            "CREDENTIALS_DIRECTORY": str(self.folder / "credentials"),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": "4000000",
            # As its unit has it.
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_TRIM_THRESHOLD_": "131072",
        }
        self.process = subprocess.Popen([*self.as_user, PROGRAM], env=environment, stderr=self.errors.open("wb"))
        self.systemd.wait_for("READY=1")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.systemd.__exit__()
        self._reserved.close()

    def configure(self, settings: str) -> None:
        text = f'[exporter]\naddress = "{self.address}"\nport = {self.port}\n{settings}'
        self.config.write_text(text, encoding="utf-8")

    def get(self, path: str, *headers: str, method: str = "GET") -> Reply:
        return get(self.port, path, *headers, method=method, host=self.address)

    def figures(self) -> dict[str, float]:
        """The samples of a scrape by name and values of the labels."""
        families = text_string_to_metric_families(self.get("/metrics").body.decode())
        samples = (sample for family in families for sample in family.samples)
        return {" ".join([it.name.removeprefix("livekeep_"), *it.labels.values()]): it.value for it in samples}

    def reload(self) -> None:
        heard = len(self.systemd.messages)
        self.process.send_signal(signal.SIGHUP)
        self.systemd.wait_for("READY=1", after=self.systemd.wait_for("RELOADING=1", after=heard))

    def stop(self) -> float:
        """End it by SIGTERM; gives the seconds that took."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.errors.read_text()
        return time.monotonic() - began

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def switches(self) -> int:
        """How often it has gone to sleep of its own will."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")))


def environment_for(folder: Path) -> dict[str, str]:
    return {"LIVEKEEP_ROOT": str(folder), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program to its end."""
    command = [str(PROGRAM), *arguments]
    return subprocess.run(command, env=environment_for(folder), capture_output=True, text=True, timeout=60, check=False)
