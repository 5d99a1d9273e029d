"""livekeep-worker as a process, with a real ingest and a real player at the far end; what its unit gives it lies in a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from livekeep.core import channels, state
from livekeep.core.channels import ChannelState
from livekeep.core.errors import TemporaryError
from tests.air import clips
from tests.air.ingest import Ingest, ingest
from tests.air.viewer import Viewer
from tests.outside import NotifySocket

PROGRAM = Path(__file__).resolve().parents[2] / "bin/livekeep-worker"
KEY = "k3y-that-nobody-may-see"
PATIENCE_SECONDS = 60.0
PROFILE = {
    "width": clips.CHANNEL.width,
    "height": clips.CHANNEL.height,
    "video_bitrate": clips.CHANNEL.video_bitrate,
    "audio_bitrate": clips.CHANNEL.audio_bitrate,
}


class RunningWorker:
    """The worker of the channel "main"; `server` is its ingest, `media` the folder it plays."""

    def __init__(self, folder: Path, server: Ingest, **keys: object) -> None:
        self.folder, self.server = folder, server
        self.root, self.media = folder / "root", folder / "media"
        self.states = channels.folder_of("main", self.root / "run/livekeep")
        self.log = folder / "worker.log"
        for made in (self.root / "etc/livekeep/livekeep.d", self.states, self.media, folder / "credentials"):
            made.mkdir(parents=True, exist_ok=True)
        (folder / "credentials/livekeep.stream-key").write_text(f"{KEY}\n")
        self.configure(**keys)
        self.process: subprocess.Popen[bytes] | None = None
        self._leaving = contextlib.ExitStack()

    def configure(self, **keys: object) -> None:
        slate = Path(__file__).resolve().parents[2] / "etc/pictures/slate.png"
        values = {"media": str(self.media), "ingest_urls": [self.server.url], "preset": "ultrafast", "slate": str(slate)}
        values |= {"rescan_seconds": 2} | PROFILE | keys
        lines = [f"{key} = {shown(value)}" for key, value in values.items()]
        text = "\n".join(['[log]\nlevel = "debug"', "[channels.main]", *lines])
        (self.root / "etc/livekeep/livekeep.toml").write_text(text + "\n")

    def add(self, clip: str, name: str = "") -> str:
        """Put a clip among the media, whole at once; its name there."""
        name = name or clip
        temporary = self.folder / "upload"
        shutil.copy(clips.clip(clip), temporary)
        # As an uploader does that keeps the time.
        os.utime(temporary, (1, 1))
        temporary.rename(self.media / name)
        return name

    def start(self, *arguments: str) -> None:
        self._leaving.enter_context(NotifySocket(self.folder / "notify"))
        environment = {
            "PATH": os.environ["PATH"],
            "LIVEKEEP_ROOT": str(self.root),
            "CREDENTIALS_DIRECTORY": str(self.folder / "credentials"),
            "CACHE_DIRECTORY": str(self.folder / "cache"),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, "main", *arguments], env=environment, stderr=log)

    def state(self) -> ChannelState:
        return state.read(ChannelState, self.states)

    def wait_for(self, what: str, found: Callable[[ChannelState], object], seconds: float = PATIENCE_SECONDS) -> ChannelState:
        """The first state that `found` is true of."""
        deadline = time.monotonic() + seconds
        last = None
        while time.monotonic() < deadline:
            with contextlib.suppress(TemporaryError):
                last = self.state()
                if found(last):
                    return last
            assert self.process and self.process.poll() is None, f"{what}: the worker ended\n{self.log.read_text()}"
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {seconds:g} s; {last}\n{self.log.read_text()[-4000:]}")

    def goes_on_air(self) -> ChannelState:
        return self.wait_for("on air", lambda found: found.publishing == "on-air")

    def viewer(self) -> Viewer:
        return Viewer(f"{self.server.url}/{KEY}")

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self, seconds: float = 20.0) -> int:
        """End it; its exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        finally:
            self.close()

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self._leaving.close()
        (self.folder / "notify").unlink(missing_ok=True)

    def __enter__(self) -> RunningWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def children(self) -> Sequence[int]:
        """The worker's own processes: feeders and publisher."""
        assert self.process
        pids = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                pids += [int(pid) for pid in (thread / "children").read_text().split()]
        return pids

    def plays_with(self, count: int) -> Sequence[int]:
        """The first moment at which at least `count` children run while an item plays: their process ids."""
        children: Sequence[int] = []

        def enough(found: ChannelState) -> bool:
            nonlocal children
            children = self.children()
            return found.now is not None and len(children) >= count

        self.wait_for(f"an item and {count} children", enough)
        return children


def shown(value: object) -> str:
    """As TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(shown(entry) for entry in value) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


@contextlib.contextmanager
def running(folder: Path, *clip_names: str, **keys: object) -> Iterator[RunningWorker]:
    """A worker on air with those clips, in this order."""
    with ingest(folder / "ingest") as server, RunningWorker(folder, server, **keys) as worker:
        for number, clip in enumerate(clip_names):
            worker.add(clip, f"{number:02}-{clip}")
        worker.start()
        worker.goes_on_air()
        yield worker
