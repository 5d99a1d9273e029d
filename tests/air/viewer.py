"""A real player at the far end: ffprobe reads rtmp://…/live/NAME; each packet with its times and the moment it came."""

import itertools
import subprocess
import threading
import time
from typing import NamedTuple

from tests.outside import PATIENCE_SECONDS, wait_until


class Packet(NamedTuple):
    """Times in seconds: of decoding and of showing as the stream says, and of arrival by the monotonic clock."""

    kind: str
    """ "video" or "audio"."""
    decoding: float
    showing: float
    arrival: float
    size_bytes: int
    is_keyframe: bool


class Gap(NamedTuple):
    """The longest way from one picture to the next, by the clock and by the stream's own time, in seconds."""

    wall: float
    media: float


class Viewer:
    """Watches `url` from when it is made until `close`, for at most `seconds`."""

    def __init__(self, url: str, seconds: float = 600.0) -> None:
        self.packets: list[Packet] = []
        # Line by line, or its lines would come when 4 KB are full.
        command = [
            "stdbuf",
            "-oL",
            "ffprobe",
            "-v",
            "error",
            "-rw_timeout",
            f"{PATIENCE_SECONDS * 1e6:.0f}",
            "-rtmp_live",
            "live",
        ]
        reading = ["-fflags", "+nofillin+noparse", "-analyzeduration", "1000000", "-read_intervals", f"%+{seconds:g}"]
        showing = ["-show_entries", "packet=codec_type,dts_time,pts_time,size,flags", "-of", "compact=p=0:nk=0"]
        self._process = subprocess.Popen([*command, *reading, *showing, url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            arrival = time.monotonic()
            found = dict(part.split("=", 1) for part in line.decode().strip().split("|") if "=" in part)
            if "size" not in found or "N/A" in (found["dts_time"], found["pts_time"]):
                continue
            kind, decoding, showing = found["codec_type"], float(found["dts_time"]), float(found["pts_time"])
            self.packets.append(Packet(kind, decoding, showing, arrival, int(found["size"]), found["flags"].startswith("K")))

    def pictures(self) -> list[Packet]:
        return [packet for packet in list(self.packets) if packet.kind == "video"]

    def wait_for_pictures(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        wait_until(f"{count} pictures at the player, have {len(self.pictures())}", lambda: len(self.pictures()) >= count, seconds)

    def longest_gap(self, first: int = 50) -> Gap:
        """Among the pictures from number `first` on: a player gets the beginning in one go."""
        seen = self.pictures()[first:]
        pairs = list(itertools.pairwise(seen))
        assert pairs, "the player saw no pictures"
        return Gap(
            max(later.arrival - earlier.arrival for earlier, later in pairs),
            max(later.decoding - earlier.decoding for earlier, later in pairs),
        )

    def close(self) -> list[Packet]:
        """What it saw in all."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        return self.packets

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
