"""The demo behind bin/livekeep-demo --air: a channel goes on air, and stays there, in a machine that is thrown away.

Boots a Debian, installs livekeep for a machine without a screen, fills a folder with five unlike clips and lets an nginx with the
RTMP module play the ingest. All pictures and gaps are those of a player at the far end; everything it saw stays in the folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw, ImageFont

from tests.machine import root
from tests.machine.channel import MEDIA, STREAM_KEY, ChannelRoom, nearest, worker
from tests.machine.channel_clips import COLOURS, RECIPES
from tests.machine.channel_viewer import PICTURE_SIZE, FarViewer, pictures
from tests.machine.demo import run
from tests.machine.machine import MachineError
from tests.machine.room import Settings

T = TypeVar("T")

CLIP_SECONDS = 6
PATIENCE_SECONDS = 60.0
AWAY_SECONDS = 1.0
"""How long the ingest is down."""
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"
WORDS = {
    "1-fits.mp4": "H.264 1280x720, 25 a second: copied",
    "2-small.mp4": "H.264 640x360, 30 a second, mono",
    "3-hevc.mp4": "HEVC 960x540, 24 a second",
    "4-silent.mp4": "H.264 854x480, 50 a second, no sound",
    "5-vp8.webm": "VP8 320x240, 15 a second",
}
COLOUR_TAGS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
ANEW = ";\nthen a player that joins\nat the next keyframe"
TEXT, BACKGROUND = (235, 235, 235), (24, 24, 24)
LABEL_WIDTH, GAP = 420, 12


class DemoRoom(ChannelRoom):
    """A room with the demo's own media folder."""

    def settings(self) -> Settings:
        """The default profile: 720p25 at 3 Mbit/s; the fastest preset, because player and ingest need the processor, too."""
        wanted = super().settings()
        wanted["controller"] = {"idle_seconds": 5.0}
        return wanted


@dataclass(frozen=True)
class Change:
    """Two consecutive pictures of different items; their stream times."""

    before: str
    after: str
    times: tuple[float, float]
    wall_gap: float | None
    """Seconds at the player between the second one and the previous arrival."""
    shots: tuple[Image.Image, Image.Image]
    note: str = ""

    def label(self) -> str:
        if self.note:
            return self.note
        media = self.times[1] - self.times[0]
        wall = "not seen" if self.wall_gap is None else f"{self.wall_gap * 1000:.0f} ms"
        return f"{self.before} → {self.after}\ngap: {wall} wall, {media * 1000:.0f} ms media"


@dataclass
class Story:
    """The events, reported as they happen, and the pictures."""

    room: DemoRoom
    folder: Path
    began: float = field(default_factory=time.monotonic)
    changes: list[Change] = field(default_factory=list)

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def until(self, what: str, holds: Callable[[], T]) -> T:
        return self.room.until(what, holds, PATIENCE_SECONDS)

    def watch(self, name: str) -> FarViewer:
        """A player that records; returns when it has received enough to go on."""
        viewer = FarViewer(self.room.network, f"{self.room.ingest.url}/{STREAM_KEY}", self.folder / name)
        viewer.wait_for_pictures()
        return viewer


def make_clips(folder: Path) -> None:
    """The five clips of tests/machine/channel_clips.py, each with its number, its kind, and a clock."""
    for name, (size, rate, encoding) in RECIPES.items():
        write = f"drawtext=fontfile={FONT}:fontcolor=white:x=(w-tw)/2"
        steps = [
            f"color=c={COLOURS[name]}:size={size}:rate={rate}:duration={CLIP_SECONDS}",
            "noise=alls=6:allf=t",
            f"{write}:y=h*0.2:fontsize=h*0.45:text='{name[0]}'",
            f"{write}:y=h*0.68:fontsize=h*0.05:text='{WORDS[name].replace(':', chr(92) + ':')}'",
            rf"{write}:y=h*0.8:fontsize=h*0.09:text='%{{pts\:flt}} s'",
            "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p",
        ]
        tone = f"sine=frequency={220 * int(name[0])}:sample_rate=48000:duration={CLIP_SECONDS}"
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", ",".join(steps), "-f", "lavfi", "-i", tone]
        subprocess.run([*command, *encoding, *COLOUR_TAGS, str(folder / name)], check=True, timeout=120)


# The scenes


def items_change(story: Story) -> None:
    """All five, and the first again: their changes, as seen by the player."""
    room = story.room
    story.tell(room.livekeep("air", "start", check=True).strip())
    first = room.is_on_air()
    story.tell(f"on air {first['written_at'] - first['started_at']:.1f} s after its worker began")
    with story.watch("items.flv") as viewer:
        story.until("five items were played", lambda: room.state().get("items_played", 0) >= len(COLOURS) + 1)
        time.sleep(1)
    story.changes += changes_in(story.folder / "items.flv", viewer)
    for change in story.changes:
        story.tell(change.label().replace("\n", ": "))
    seen = {name for change in story.changes for name in (change.before, change.after)}
    if missing := set(COLOURS) - seen:
        raise MachineError(f"the player never saw {', '.join(sorted(missing))}; see {story.folder}\n{room.report()}")
    publishes = room.ingest.publishes(STREAM_KEY)
    story.tell(f"publishes so far: {publishes}; worst of all gaps in these pictures: {viewer.gap()}")
    if publishes != 1:
        raise MachineError(f"{publishes} publishes instead of one\n{room.report()}")


def ingest_dies(story: Story) -> None:
    """Killed, and back after a second; the item continues where it was."""
    room = story.room
    viewer = story.watch("before-the-ingest-died.flv")
    publishes = room.ingest.publishes(STREAM_KEY)
    room.ingest.ask("kill")
    story.until("the worker has seen it", lambda: room.state().get("publishing") != "on-air")
    before = room.state()
    story.tell(f"ingest killed; the worker says: {before['publishing']} ({before['reason']})")
    viewer.close()
    time.sleep(AWAY_SECONDS)
    room.ingest.ask("start")
    at = time.monotonic()
    story.until("it publishes again", lambda: room.ingest.publishes(STREAM_KEY) > publishes)
    story.until("the ingest gets bytes", lambda: (room.ingest.received_bytes(STREAM_KEY) or 0) > 0)
    story.tell(f"ingest back: it gets the stream again after {time.monotonic() - at:.1f} s")
    after = room.is_on_air()
    held, resumed = (f"{state['now']['name']} at {state['now']['played_seconds']:.1f} s" for state in (before, after))
    lost = after["items_failed"] + after["items_short"]
    story.tell(f"position: {held} while it was away, {resumed} once on air; {lost} items lost")
    compare(story, "before-the-ingest-died.flv", "after-the-ingest-died.flv", f"ingest killed,\nback after 1 s{ANEW}")


def worker_dies(story: Story) -> None:
    """Killed by SIGKILL: systemd notices and restarts it."""
    room, unit = story.room, worker()
    viewer = story.watch("before-the-worker-died.flv")
    pid = room.machine.main_pid(unit)
    at = time.monotonic()
    os.kill(pid.host, signal.SIGKILL)
    end = story.until("it is noted", lambda: room.end() if room.end().get("pid") == pid.inside else None)
    story.tell(f"worker killed by SIGKILL; noted after {time.monotonic() - at:.1f} s: {end['result']} {end['exit_status']}")
    viewer.close()
    story.until("it runs again", lambda: room.state().get("pid", pid.inside) != pid.inside)
    room.is_on_air()
    story.tell(f"on air again after {time.monotonic() - at:.1f} s")
    compare(story, "before-the-worker-died.flv", "after-the-worker-died.flv", f"worker killed\n(SIGKILL){ANEW}")


def steering(story: Story) -> None:
    """The operator's tools: the command, and the API."""
    room = story.room
    status = room.livekeep("air", "status", check=True)
    answer = room.ask("GET", "/streams/status")
    document = json.dumps(json.loads(answer.text), indent=2)
    print(f"\n$ livekeep air status\n{status}")
    shown = json.loads(answer.text)["channels"][0]
    short = {key: shown[key] for key in ("channel", "on_air", "intended", "last_end", "problems")}
    print(f"$ curl 127.0.0.1:9878/streams/status  → HTTP {answer.status}, request {answer.headers.get('x-request-id')}; of it:")
    print(json.dumps(short, indent=2))
    texts = {"status.txt": status, "api-status.json": document, "state.json": json.dumps(room.state(), indent=2)}
    texts["journal.txt"] = room.machine.journal(None, "--unit=livekeep-*")
    for name, text in texts.items():
        (story.folder / name).write_text(text, encoding="utf-8")
    if any(STREAM_KEY in text for text in texts.values()):
        raise MachineError(f"the stream key is to be read in {story.folder}")
    print(room.livekeep("air", "stop", check=True).strip())
    if answer.status != 200 or not shown["on_air"]:
        raise MachineError(f"the API does not say that it is on air: {document}")


# The pictures


def item_of(pixels: bytes) -> str:
    """The clip of a picture, from the colour of its middle near the upper edge; "other" for the slate."""
    width = PICTURE_SIZE[0]
    places = [(y * width + width // 2 + x) * 3 for y in range(8, 16) for x in range(-4, 4)]
    return nearest(bytes(sum(pixels[place + channel] for place in places) // len(places) for channel in range(3)))


def shot(pixels: bytes) -> Image.Image:
    return Image.frombytes("RGB", PICTURE_SIZE, pixels)


def changes_in(recording: Path, viewer: FarViewer) -> list[Change]:
    """Where a recording's pictures change to another item, with the player's data on their packets."""
    found, last = [], None
    for at, pixels in pictures(recording):
        name = item_of(pixels)
        if last and last[0] != name:
            before = last[1]
            found.append(Change(last[0], name, (before, at), viewer.wall_gap(at), (shot(last[2]), shot(pixels))))
        last = name, at, pixels
    return found


def compare(story: Story, before: str, after: str, note: str) -> None:
    """The last picture of one recording, and the first of a new one."""
    story.watch(after).close()
    ends = [list(pictures(story.folder / name)) for name in (before, after)]
    if not all(ends):
        raise MachineError(f"{before} or {after} holds no picture; see {story.folder}")
    (at, last), (again, first) = ends[0][-1], ends[1][0]
    shots = shot(last), shot(first)
    story.changes.append(Change(item_of(last), item_of(first), (at, again), None, shots, note))


def sheet(story: Story) -> Path:
    """One picture of all changes: a row each, the last picture before it and the first after it."""
    width, height = PICTURE_SIZE
    size = LABEL_WIDTH + 2 * (width + GAP), len(story.changes) * (height + GAP) + GAP
    made = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(made)
    large, small = ImageFont.truetype(FONT, 18), ImageFont.truetype(FONT, 15)
    for row, change in enumerate(story.changes):
        top = GAP + row * (height + GAP)
        draw.multiline_text((GAP, top + height // 3), change.label(), TEXT, large, spacing=8)
        for column, picture in enumerate(change.shots):
            left = LABEL_WIDTH + column * (width + GAP)
            made.paste(picture, (left, top))
            caption = f"stream at {change.times[column]:.3f} s"
            draw.text((left + 6, top + 4), caption, TEXT, small, stroke_width=2, stroke_fill=BACKGROUND)
    path = story.folder / "changes.png"
    made.save(path, optimize=True)
    return path


def show(suite: root.Suite, folder: Path) -> None:
    print(f"Booting a Debian {suite} with an ingest beside it (built first: 1 to 3 min) …")
    (folder / "media").mkdir(exist_ok=True)
    make_clips(folder / "media")
    with DemoRoom(suite, install=False) as room:
        story = Story(room, folder)
        room.install()
        story.tell("installed: livekeep on air, without a screen")
        room.machine.run(["rm", "-r", MEDIA])
        room.machine.copy_in(folder / "media", MEDIA)
        for scene in (items_change, ingest_dies, worker_dies, steering):
            scene(story)
        print(f"\nThe changes at a glance: {sheet(story)}; recordings, states and journal lie beside it.")


if __name__ == "__main__":
    sys.exit(run("livekeep-demo --air", __doc__, show))
