"""A probe's real program as a process, with the state of poller and player as files, and its findings."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from livekeep.core import state
from livekeep.core.probe_results import ProbeResult
from livekeep.core.state import Picture, PlayerState, PollerState, StreamState, StreamUrl
from tests.outside import PATIENCE_SECONDS, PROJECT

SIGNATURE = "hmac-nobody-may-see-me"
Result = TypeVar("Result", bound=ProbeResult)


@dataclass
class Probe(Generic[Result]):
    """`said` is all that its runs have printed until now."""

    name: str
    kind: type[Result]
    folder: Path
    settings: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def __post_init__(self) -> None:
        self.root = self.folder / "run/livekeep"
        for path in (self.root / "poller", self.root / "stream", self.root / "player", self.folder / "etc/livekeep", self.tools):
            path.mkdir(parents=True)
        self.configure(self.settings)

    @property
    def tools(self) -> Path:
        """A folder for stand-ins of tools; the only one in PATH once `only_tools` was called."""
        return self.folder / "tools"

    def only_tools(self) -> None:
        self.environment["PATH"] = str(self.tools)

    def tool(self, name: str, script: str) -> Path:
        """A stand-in for an outside tool: a Python program, found before the real one."""
        path = self.tools / name
        path.write_text(f"#!{sys.executable}\nimport os, subprocess, sys, time\nFOLDER = {str(self.folder)!r}\n{script}\n")
        path.chmod(0o755)
        return path

    def configure(self, settings: str) -> None:
        (self.folder / "etc/livekeep/livekeep.toml").write_text(settings)

    def poller_says(self, says: StreamState, **more: Any) -> None:
        state.write(state.stamped(PollerState(state=says, **{"selected": "main", "source": "one", **more})), self.root)

    def player_shows(self, picture: Picture) -> None:
        state.write(state.stamped(PlayerState(picture=picture)), self.root)

    def go_live(self, url: str, source: str = "one") -> None:
        """Live by a URL with a signature, which the poller has just obtained."""
        signed = f"{url}{'&' if '?' in url else '?'}signature={SIGNATURE}"
        state.write(state.stamped(StreamUrl(url=signed, obtained_monotonic=time.monotonic(), source=source)), self.root)
        self.poller_says("live", source=source)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {"LIVEKEEP_ROOT": str(self.folder), "PATH": f"{self.tools}:{os.environ['PATH']}", **self.environment}
        command = [PROJECT / "bin/livekeep-probe", self.name, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process: subprocess.Popen[str]) -> int:
        """The exit code of a run that has been started."""
        try:
            self.said += "".join(process.communicate(timeout=4 * PATIENCE_SECONDS))
        finally:
            process.kill()
        return process.wait()

    def run(self, *arguments: str) -> Result:
        """One run, which must end well; what it found."""
        assert self.finish(self.start(*arguments)) == 0, self.said
        return self.findings()

    def findings(self) -> Result:
        return state.read(self.kind, self.root)

    def remember(self, **changed: Any) -> None:
        """Let the last run have found something else."""
        state.write(state.stamped(replace(self.findings(), **changed)), self.root)

    def everything_told(self) -> str:
        """All that others can read of the runs: output and state."""
        return self.said + state.path_of(self.kind, self.root).read_text()


def descendants(pid: int) -> list[int]:
    """The process and all that it has started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found
