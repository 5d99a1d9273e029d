"""The FLV of one ffmpeg, taken apart for tests by the part's own reader."""

import itertools
import subprocess
from dataclasses import dataclass

from livekeep.air.worker.flv import AUDIO, VIDEO, Reader, Tag


@dataclass(frozen=True)
class Flv:
    headers: tuple[bytes, ...]
    """Of the picture."""
    video: tuple[Tag, ...]
    audio: tuple[Tag, ...]

    @property
    def picture_start(self) -> int:
        return min(tag.timestamp + tag.composition_ms for tag in self.video)

    def picture_end(self, frame_ms: float) -> float:
        return max(tag.timestamp + tag.composition_ms for tag in self.video) + frame_ms

    @property
    def sound_end(self) -> float:
        return self.audio[-1].timestamp + 1024 / 44.1

    @property
    def keyframes(self) -> list[int]:
        return [index for index, tag in enumerate(self.video) if tag.is_keyframe]

    def longest_step(self) -> int:
        steps = [b.timestamp - a.timestamp for tags in (self.video, self.audio) for a, b in itertools.pairwise(tags)]
        return max(steps, default=0)


def taken_apart(data: bytes) -> Flv:
    tags = Reader().feed(data)
    media = [tag for tag in tags if not tag.is_sequence_header]
    return Flv(
        tuple(tag.body for tag in tags if tag.is_sequence_header and tag.kind == VIDEO),
        tuple(tag for tag in media if tag.kind == VIDEO),
        tuple(tag for tag in media if tag.kind == AUDIO),
    )


def output_of(command: list[str]) -> Flv:
    return taken_apart(subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60).stdout)
