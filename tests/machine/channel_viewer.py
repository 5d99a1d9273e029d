"""A player at the far end of a channel, in the room's network: records what arrives, when, and optionally the stream itself.

The player is that of `livekeep air measure`; ffmpeg records the same stream without changing it.
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from livekeep.command.channel.measure import Measurement, Packet, Player, measured
from tests.machine.network import Network
from tests.machine.tidy import end

PATIENCE_SECONDS = 60.0
SETTLED_PICTURES = 50
"""The first pictures arrive in one burst: the ingest sends a player everything since the last keyframe."""
LOOKING = ("-fflags", "+nofillin+noparse", "-analyzeduration", "1000000")
PICTURE_SIZE = (384, 216)


class Gap(NamedTuple):
    """The longest gap between two pictures, in arrival time and in stream time."""

    wall: float
    media: float

    def __str__(self) -> str:
        return f"{self.wall * 1000:.0f} ms wall, {self.media * 1000:.0f} ms media"


class FarViewer:
    """Watches `url` from its creation until `close`; `recording` is an FLV file for what it received."""

    def __init__(self, network: Network, url: str, recording: Path | None = None) -> None:
        self._network = network
        self._player = Player(url, inside=network.in_servers)
        self._recorder = None
        if recording:
            patience = ("-rw_timeout", f"{PATIENCE_SECONDS * 1e6:.0f}", "-rtmp_live", "live")
            whole = ["-map", "0", "-c", "copy", "-copyts", "-f", "flv", "-y", str(recording)]
            self._recorder = self._start(["ffmpeg", "-nostdin", "-v", "fatal", *patience, *LOOKING, "-i", url, *whole])

    @property
    def packets(self) -> list[Packet]:
        """Packets of the picture."""
        return [packet for packet in list(self._player.packets) if packet.kind == "video"]

    def measured(self) -> Measurement:
        """Everything that it received so far."""
        return measured(list(self._player.packets))

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        full = self._network.in_servers(list(command))
        return subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def wait_for_pictures(self, count: int = SETTLED_PICTURES + 1, seconds: float = PATIENCE_SECONDS) -> None:
        """Return when it has that many. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while len(self.packets) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the player has {len(self.packets)} pictures of {count} after {seconds:g} s")
            time.sleep(0.05)

    def gap(self, since: float = 0.0, until: float = float("inf"), counts: Callable[[Packet], bool] | None = None) -> Gap:
        """The longest gap (seconds) among pictures that arrived between two times; `counts` selects the pictures after a gap."""
        seen = self.packets[SETTLED_PICTURES:]

        def pairs(order: list[Packet]) -> list[tuple[Packet, Packet]]:
            near = [(a, b) for a, b in itertools.pairwise(order) if since <= b.arrival and a.arrival <= until]
            return [(a, b) for a, b in near if counts is None or counts(b)]

        came, shown = pairs(seen), pairs(sorted(seen, key=lambda packet: packet.showing))
        if not came or not shown:
            return Gap(float("nan"), float("nan"))
        return Gap(max(b.arrival - a.arrival for a, b in came), max(b.showing - a.showing for a, b in shown))

    def wall_gap(self, showing: float) -> float | None:
        """Seconds from the previously arrived picture to the one shown at that stream time; None when neither is known.

        Not from the one shown before it, which may have arrived earlier: pictures arrive in a different order.
        """
        pairs = itertools.pairwise(self.packets)
        return next((later.arrival - one.arrival for one, later in pairs if abs(later.showing - showing) < 0.002), None)

    def close(self) -> None:
        """Stop watching and recording."""
        self._player.close()
        if self._recorder:
            end(self._recorder)
            if self._recorder.stdout:
                self._recorder.stdout.close()

    def __enter__(self) -> FarViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pictures(recording: Path) -> Iterator[tuple[float, bytes]]:
    """Each picture of a recording as a player shows it: its stream time, and its pixels (RGB, of PICTURE_SIZE)."""
    asked = ["ffprobe", "-v", "fatal", "-select_streams", "v", "-show_entries", "frame=best_effort_timestamp_time"]
    told = subprocess.run([*asked, "-of", "csv=p=0", str(recording)], check=False, capture_output=True, text=True).stdout
    times = [float(line.rstrip(",")) for line in told.split() if line.rstrip(",") not in ("", "N/A")]
    width, height = PICTURE_SIZE
    command = ["ffmpeg", "-nostdin", "-v", "fatal", "-threads", "1", "-copyts", "-i", str(recording), "-fps_mode", "passthrough"]
    command += ["-vf", f"scale={width}:{height}:flags=area", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for at in times:
            pixels = process.stdout.read(width * height * 3)
            if len(pixels) < width * height * 3:
                return
            yield at, pixels
