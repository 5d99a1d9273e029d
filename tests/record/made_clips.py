#!/usr/bin/python3
"""Made clips, played as real ones are: levels far apart, falling with age, a daily rhythm, bursts; and some of them take off.

- `MadeClips`: the figures of all clips at any later moment, from a seed; for the tests and the benchmark of the score.
- `Site`: an HTTP server that answers for them as Vimeo does, paging included, with faults on demand: `site.status = 500`,
  `site.delay_seconds = 2.0`.
- A program for the demo, which needs Python and livekeep alone:

      made_clips.py history [--hours 48]   fills clips.db with snapshots of the source "made", a quarter of an hour apart, until
                                           now, as runs of the analyzer would have left it; three clips took off in the last
                                           hours. As root it gives the database to livekeep-clips.
      made_clips.py serve [--port 8099]    answers on 127.0.0.1 for the same clips, which go on being played. PUT /fault with
                                           {"status": 500} or {"delay_seconds": 2} breaks or slows it until {} is PUT, such as:
                                           curl -X PUT --data '{"status": 500}' http://127.0.0.1:8099/fault

  The configuration for it: [vimeo] api_url = "http://127.0.0.1:8099" and [clips.made] vimeo = "users/1", with any token. So:
  `history`; `serve &`; start livekeep-clips.service: three clips take off, an event each. A fault, and start it again: a failed
  session with an event. A delay of 2 s, and start it again: a run that is far slower than those before.
"""

import argparse
import http.server
import json
import math
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))

from livekeep.record.clips import snapshots
from livekeep.record.clips.clip import Clip

STEP_SECONDS = 900.0
DAY = 86400.0
WORDS = ("Market", "Choir", "Harbour", "Summer", "Council", "Railway", "Garden", "Winter", "Bakery", "River", "School", "Forest")


@dataclass
class MadeClip:
    number: int
    name: str
    created: float
    level: float
    plays: int = 0
    takes_off_at: float = math.inf
    factor: float = 1.0
    lasts_seconds: float = math.inf
    burst: float = 1.0
    """The factor of this hour's plays."""

    def rate(self, at: float) -> float:
        """Plays an hour."""
        if at < self.created:
            return 0.0
        age_hours = (at - self.created) / 3600
        rhythm = 1 + 0.6 * math.sin(2 * math.pi * (at / DAY - 0.4))
        is_off = self.takes_off_at <= at < self.takes_off_at + self.lasts_seconds
        return self.level * (age_hours + 2) ** -0.8 * rhythm * (self.factor if is_off else 1.0)


class MadeClips:
    """`began`: the time before which nothing happens. `advance` only goes forward, in steps of a quarter of an hour."""

    def __init__(self, seed: int, count: int, began: float, burst_size: float = 4.0) -> None:
        self.random = Random(seed)
        self.now = began
        self.burst_size = burst_size
        self.clips = [self._made(number, began) for number in range(1, count + 1)]

    def _made(self, number: int, began: float) -> MadeClip:
        # Most are old; some are published meanwhile.
        created = began - 200 * DAY * self.random.random() ** 2 + 3 * DAY * (self.random.random() < 0.1)
        name = f"{self.random.choice(WORDS)} {self.random.choice(WORDS).lower()} {number}"
        level = 60 * self.random.lognormvariate(0, 1.6)
        age_hours = max(began - created, 0.0) / 3600
        return MadeClip(900_000_000 + number, name, created, level, plays=round(5 * level * ((age_hours + 2) ** 0.2 - 2**0.2)))

    def take_off(self, number: int, at: float, factor: float, lasts_seconds: float = math.inf) -> MadeClip:
        clip = self.clips[number]
        clip.takes_off_at, clip.factor, clip.lasts_seconds = at, factor, lasts_seconds
        return clip

    def advance(self, until: float) -> None:
        while self.now + STEP_SECONDS <= until:
            is_new_hour = self.now % 3600 < STEP_SECONDS
            for clip in self.clips:
                if is_new_hour:
                    clip.burst = self.random.gammavariate(self.burst_size, 1 / self.burst_size)
                clip.plays += poisson(self.random, clip.rate(self.now) * clip.burst * STEP_SECONDS / 3600)
            self.now += STEP_SECONDS

    def figures(self) -> list[Clip]:
        """In the form of a source's result."""
        return [
            Clip(str(it.number), it.name, link_of(it), 60.0, it.created, it.plays, it.plays // 50, it.plays // 400)
            for it in self.published()
        ]

    def published(self) -> list[MadeClip]:
        """The newest first."""
        return sorted((clip for clip in self.clips if clip.created <= self.now), key=lambda clip: -clip.created)


def poisson(random: Random, mean: float) -> int:
    if mean > 50:
        return max(round(random.gauss(mean, math.sqrt(mean))), 0)
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


def link_of(clip: MadeClip) -> str:
    return f"https://vimeo.com/{clip.number}"


def entry_of(clip: MadeClip) -> dict[str, Any]:
    """In Vimeo's form, with the fields that the analyzer requests."""
    return {
        "uri": f"/videos/{clip.number}",
        "name": clip.name,
        "link": link_of(clip),
        "duration": 60,
        "created_time": datetime.fromtimestamp(clip.created, UTC).isoformat(),
        "stats": {"plays": clip.plays},
        "metadata": {"connections": {"likes": {"total": clip.plays // 50}, "comments": {"total": clip.plays // 400}}},
    }


@dataclass
class Site:
    """Serves until `close`. Any of its faults may change at any time."""

    made: MadeClips
    port: int = 0
    status: int = 200
    delay_seconds: float = 0.0
    is_living: bool = False
    """Whether the clips gain plays with the clock."""
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.requests.append(self.path)
                time.sleep(site.delay_seconds)
                status, document = site.answer(self.path)
                self.reply(status, document)

            def do_PUT(self) -> None:
                wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                site.status, site.delay_seconds = wanted.get("status", 200), wanted.get("delay_seconds", 0.0)
                self.reply(200, wanted)

            def reply(self, status: int, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[int, object]:
        if self.status != 200:
            return self.status, {"error": "Something strange occurred."}
        if self.is_living:
            self.made.advance(time.time())
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        page, per_page = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["25"])[0])
        clips = self.made.published()
        shown = clips[(page - 1) * per_page : page * per_page]
        more = f"{parts.path}?{parts.query.partition('&page=')[0]}&page={page + 1}" if page * per_page < len(clips) else None
        paging = {"next": more, "previous": None, "first": None, "last": None}
        return 200, {"total": len(clips), "page": page, "per_page": per_page, "paging": paging, "data": [*map(entry_of, shown)]}


# The program


def demo_clips(began: float, hours: float) -> MadeClips:
    """The clips of the demo, with plays since a given time; three of them take off near its end."""
    made = MadeClips(seed=7, count=300, began=began)
    busy = sorted(made.clips, key=lambda clip: -clip.rate(began + hours * 3600 / 2))[3:30:12]
    for place, clip in enumerate(busy):
        made.take_off(made.clips.index(clip), began + (hours - 4 + place) * 3600, factor=(14.0, 10.0, 12.0)[place])
    return made


def fill_history(hours: float) -> None:
    folder = snapshots.FILE.parent
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    began = time.time() - hours * 3600
    (folder / "made-began").write_text(f"{began!r} {hours!r}")
    made = demo_clips(began, hours)
    connection = snapshots.open_for_writing()
    # Durability after a power cut is not needed.
    connection.execute("PRAGMA synchronous = OFF")
    store = snapshots.Snapshots(connection)
    source = store.source("made")
    while made.now + STEP_SECONDS <= time.time():
        made.advance(made.now + STEP_SECONDS)
        store.take(source, made.figures(), made.now)
    connection.close()
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "livekeep-clips", "livekeep")


def serve(port: int) -> None:
    began, hours = map(float, (snapshots.FILE.parent / "made-began").read_text().split())
    site = Site(demo_clips(began, hours), port=port, is_living=True)
    print(f"serves {site.url}", flush=True)
    threading.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("history", "serve"))
    parser.add_argument("--hours", type=float, default=48.0)
    parser.add_argument("--port", type=int, default=8099)
    arguments = parser.parse_args()
    if arguments.what == "history":
        fill_history(arguments.hours)
    else:
        serve(arguments.port)


if __name__ == "__main__":
    main()
