"""A live stream so small that an emulated processor decodes it: tests/machine's live source with one more rendition."""

from __future__ import annotations

import sys

from tests.machine import live
from tests.machine.live import LiveStream, Variant

# Green like HD: the colour by which the tests tell the stream. Its sound is HD's tone.
SMALL = Variant("small", 320, 180, "0x00A000", 150_000)
TONE_HERTZ = 440
live.VARIANTS[SMALL.name] = SMALL


class SmallStream(LiveStream):
    """Steers that source; this module is the process, too."""

    module = "tests.vm.stream"

    def __init__(self) -> None:
        """On this machine's loopback, at a free port."""
        super().__init__(variants=(SMALL,))

    @property
    def path(self) -> str:
        """The playlist's path at whatever address the player reaches it."""
        return f"/{SMALL.name}/index.m3u8"


if __name__ == "__main__":
    sys.exit(live.main())
