"""A live source for a publisher's tests: one clip over and over at 3 Mbit/s, half a second ahead of the clock."""

import functools
import subprocess
import time
from collections.abc import Callable, Iterator

from livekeep.air.worker import flv
from livekeep.air.worker.publisher import Publisher
from livekeep.air.worker.publisher_end import Ended
from livekeep.air.worker.retry import Arrival
from livekeep.air.worker.tcp_info import Sample, TcpInfo
from tests.outside import PATIENCE_SECONDS

CLIP_MS = 2000
AHEAD_SECONDS = 0.5
PAUSE_SECONDS = 0.02


@functools.cache
def clip(size: str = "320x180") -> tuple[flv.Tag, ...]:
    """Two seconds with headers, whole groups of pictures, at 3 Mbit/s whatever is in the picture."""
    rate = ["-b:v", "2900k", "-minrate", "2900k", "-maxrate", "2900k", "-bufsize", "1450k"]
    form = ["-x264-params", "nal-hrd=cbr:scenecut=0:bframes=0", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50"]
    made = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-f", "lavfi", "-i", "sine=r=44100"),
            *("-t", f"{CLIP_MS / 1000}", "-threads", "1", "-c:v", "libx264", *rate, *form, "-c:a", "aac", "-ac", "2"),
            *("-f", "flv", "pipe:1"),
        ],
        check=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    return tuple(tag for tag in flv.Reader().feed(made.stdout) if tag.kind != flv.SCRIPT and tag.timestamp < CLIP_MS)


def endless() -> Iterator[tuple[int, bytes]]:
    """When each tag is due (ms), and its bytes."""
    start = 0
    while True:
        for tag in clip():
            if start == 0 or not tag.is_sequence_header:
                yield start + tag.timestamp, flv.encode(tag, start + tag.timestamp)
        start += CLIP_MS


class Sender:
    """A publisher with what a worker does around it."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.arrival = Arrival()
        self.sample: Sample | None = None
        self.ended: Ended | None = None
        self._acknowledged = TcpInfo(publisher.pid)
        self._tags = endless()
        self._due_ms, self._tag = next(self._tags)
        self._waiting = bytearray(flv.FILE_HEADER)
        self._began = time.monotonic()

    def step(self) -> None:
        now = time.monotonic()
        while self._due_ms / 1000 <= now - self._began + AHEAD_SECONDS:
            self._waiting += self._tag
            self._due_ms, self._tag = next(self._tags)
        del self._waiting[: self.publisher.write(bytes(self._waiting), now)]
        self.ended = self.publisher.poll(now)
        self.sample = None if self.ended else self._acknowledged.read()
        if self.publisher.is_publishing and not self.ended:
            self.arrival = self.arrival.seen(now, self.publisher.given_bytes, self.sample)

    def until(self, what: str, holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Go on sending until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; {self.ended}"
            self.step()
            time.sleep(PAUSE_SECONDS)

    def end(self) -> Ended:
        """How it ended, which must come."""
        self.until("the publisher ends", lambda: self.ended)
        assert self.ended
        return self.ended

    def send(self, seconds: float) -> None:
        """Go on sending for so long; it must not end."""
        until = time.monotonic() + seconds
        self.until("the time is over", lambda: self.ended or time.monotonic() > until, seconds + PATIENCE_SECONDS)
        assert self.ended is None, self.ended

    def close(self) -> None:
        self.publisher.kill()
        while self.publisher.poll(time.monotonic()) is None:
            time.sleep(PAUSE_SECONDS)
        self._acknowledged.close()
