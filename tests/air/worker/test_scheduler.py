"""The scheduler with real feeders and a clock of the test's: items that give too little, that change, a storage that hangs.

The relay's bytes go nowhere: what is sent is the business of others.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from livekeep.air.storage.library import FolderLibrary, Library
from livekeep.air.storage.media import MediaFile
from livekeep.air.worker.item import DRY_SECONDS, START_SECONDS
from livekeep.air.worker.media_list import HUNG_SECONDS
from livekeep.air.worker.probe import probe
from livekeep.air.worker.relay import Relay
from livekeep.air.worker.scan import Scans, scan
from livekeep.air.worker.scheduler import (
    FAILURES_AT_ONCE,
    FAILURES_PAUSE_SECONDS,
    SCAN_PATIENCE_SECONDS,
    Scheduler,
)
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.core.config import Channel
from livekeep.core.service import Service
from tests.air import flv_maker
from tests.air.clips import CHANNEL, clip
from tests.air.odd_clips import odd
from tests.outside import PATIENCE_SECONDS

FRAME_MS = 40.0
PASS_SECONDS = 0.05
EXTENSIONS = (".mp4",)


class SeenError(Exception):
    """What was waited for is there."""


class Station:
    """A scheduler, its relay and a clock: it follows the real one while `flows`, and can be set forward."""

    def __init__(self, library: Library, **changes: Any) -> None:
        self.channel: Channel = replace(CHANNEL, rescan_seconds=60.0, **changes)
        self.proxy = SignedUrlProxy(library)
        self.service = Service()
        self.relay = Relay(SlateLoop(flv_maker.item(10.0), FRAME_MS), FRAME_MS)
        self.scheduler = Scheduler(self.service, self.relay, "main", self.channel, library, self.proxy, Scans(None))
        self.play_log = self.scheduler.play_log
        self.ahead_seconds = 0.0
        self.stopped_at: float | None = None
        self.relay.connect(self.now())

    def now(self) -> float:
        return (time.monotonic() if self.stopped_at is None else self.stopped_at) + self.ahead_seconds

    def until(self, what: str, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Run until `condition` holds."""
        deadline = time.monotonic() + seconds

        def one_pass(_now: float) -> float:
            self.scheduler.one_pass(self.now())
            self.relay.take(self.now())
            if condition():
                raise SeenError
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {vars(self.play_log)}"
            return time.monotonic() + PASS_SECONDS

        with pytest.raises(SeenError):
            self.service.run(one_pass, lambda: None)

    def run(self, seconds: float) -> None:
        """For so long by the real clock."""
        end = time.monotonic() + seconds
        self.until("the time is over", lambda: time.monotonic() >= end, seconds + PATIENCE_SECONDS)

    def outcomes(self) -> list[tuple[str, str]]:
        """The items that ended, the newest first."""
        return [(item.name, item.outcome) for item in self.play_log.last]

    def close(self) -> None:
        self.scheduler.stop()
        self.proxy.close()


class Tap:
    """An HTTP server whose file "a.mp4" gives out to an item's feeder only what is let through."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.limit_bytes = 10**9
        self.requests = 0
        self.free_requests = 10**9
        """The first ones, which look at the file, are answered whole."""
        self.held_requests = 0
        """So many of them are held back at `limit_bytes` whatever else is let through."""
        self.versions: dict[str, str] = {}
        self.is_cut = False
        """Whether the connections hang up."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                content = files[name]
                outer.requests += name == "a.mp4"
                number, trickle = outer.requests, 0.0
                is_free = name != "a.mp4" or number <= outer.free_requests
                first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - first))
                self.end_headers()
                try:
                    while first < len(content) and not outer.is_cut:
                        is_given = is_free or (number > outer.held_requests and outer.free_requests == 10**9)
                        end = len(content) if is_given else min(outer.limit_bytes, len(content))
                        if number <= outer.held_requests and time.monotonic() > trickle:
                            # Or ffprobe takes the connection for a dead one.
                            end, trickle = max(end, first + 1), time.monotonic() + 1.0
                        self.wfile.write(content[first:end])
                        first = max(first, end)
                        time.sleep(0.02)
                except ConnectionError:
                    pass

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 – the base class's own name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.library = Served(self.url, files, self.versions)

    def let_through(self, share: float, content: bytes) -> None:
        """Of `content`, from the next reader on that does not look at it only."""
        if self.free_requests == 10**9:
            media = probe(f"{self.url}/a.mp4", PATIENCE_SECONDS)
            scan(f"{self.url}/a.mp4", media, "a.mp4")
            self.free_requests, self.requests = self.requests, 0
        self.limit_bytes = round(len(content) * share)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Served:
    """The media of a `Tap`."""

    is_remote = True

    def __init__(self, url: str, files: dict[str, bytes], versions: dict[str, str]) -> None:
        self._url, self._files, self._versions = url, files, versions

    waiting = ()

    def list_media(self) -> tuple[MediaFile, ...]:
        return tuple(MediaFile(name, len(content), 1.0) for name, content in self._files.items())

    def locate(self, name: str) -> str:
        return f"{self._url}/{name}"

    def identify(self, name: str) -> str:
        return self._versions.get(name, "first")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


@pytest.fixture
def station(media: Path) -> Iterator[Station]:
    made = Station(FolderLibrary(media, EXTENSIONS))
    yield made
    made.close()


@pytest.fixture
def content() -> bytes:
    return clip("matching-faststart.mp4").read_bytes()


@pytest.fixture
def tap(content: bytes) -> Iterator[Tap]:
    made = Tap({"a.mp4": content, "b.mp4": content})
    yield made
    made.close()


@pytest.fixture
def tapped(tap: Tap) -> Iterator[Station]:
    made = Station(tap.library)
    yield made
    made.close()


def put(file: Path, name: str) -> None:
    """As an uploader does that shows whole files only."""
    put_whole(file, clip(name).read_bytes())


def put_whole(file: Path, content: bytes) -> None:
    hidden = file.with_name(f".{file.name}")
    hidden.write_bytes(content)
    long_ago = time.time() - 1000
    os.utime(hidden, (long_ago, long_ago))
    hidden.rename(file)


def put_long(file: Path) -> None:
    """39 s."""
    made = file.with_name(f".{file.name}")
    command = ["ffmpeg", "-v", "error", "-stream_loop", "12", "-i", clip("matching.mp4"), "-c", "copy", made]
    subprocess.run(command, check=True)
    put_whole(file, made.read_bytes())


def has_come(station: Station) -> bool:
    return any(buffer.first_ms is not None for buffer in station.relay.queue)


def test_an_item_that_gives_too_little_to_begin_with_is_left(tapped: Station, tap: Tap, content: bytes) -> None:
    tap.let_through(0.25, content)
    tapped.until("a little of it", lambda: has_come(tapped))
    tapped.ahead_seconds += START_SECONDS - 15
    tapped.run(0.5)
    assert not tapped.play_log.last
    tapped.ahead_seconds += 15
    tapped.until("it is left", lambda: tapped.play_log.last)
    assert "it delivered too little" in tapped.play_log.last[0].problem
    tapped.until("the other one", lambda: ("b.mp4", "played") in tapped.outcomes())


def test_an_item_that_came_late_may_run_dry_like_any_other(tapped: Station, tap: Tap, content: bytes) -> None:
    tap.let_through(0.25, content)
    tapped.until("the slate, and a little of it", lambda: tapped.relay.is_on_slate and has_come(tapped))
    tapped.ahead_seconds += DRY_SECONDS + 1
    tapped.run(0.2)
    tap.let_through(0.5, content)
    tapped.until("it begins", lambda: tapped.play_log.now)
    tapped.until("it has run dry", lambda: tapped.relay.interrupted)
    tapped.run(0.5)
    assert tapped.play_log.slate_reason == "a.mp4: it did not continue in time"
    assert not tapped.play_log.last
    tap.let_through(1.0, content)
    tapped.until("it is over", lambda: tapped.play_log.last)
    assert tapped.outcomes() == [("a.mp4", "played")]


def test_an_item_that_stays_dry_is_left(tapped: Station, tap: Tap, content: bytes) -> None:
    tap.let_through(0.5, content)
    tapped.until("it has run dry", lambda: tapped.relay.interrupted)
    tapped.run(0.2)
    tapped.ahead_seconds += DRY_SECONDS + 1
    tapped.until("it is left", lambda: tapped.play_log.last)
    assert tapped.outcomes() == [("a.mp4", "short")]
    assert "it delivered nothing for 15 s" in tapped.play_log.last[0].problem


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_an_item_that_is_waited_for_can_be_skipped(tapped: Station, tap: Tap, content: bytes, share: float) -> None:
    """Before it begins, and after it has run dry."""
    tap.let_through(share, content)
    if share < 0.5:
        tapped.until("a little of it", lambda: has_come(tapped))
        assert tapped.play_log.slate_reason == "the next item is not ready"
    else:
        tapped.until("it has run dry", lambda: tapped.relay.interrupted)
    tapped.scheduler.skip()
    tapped.until("the other one", lambda: tapped.play_log.now and tapped.play_log.now.name == "b.mp4")
    assert tapped.outcomes() == [("a.mp4", "skipped")]


def test_an_object_that_is_replaced_while_it_plays_ends_with_that_reason(tapped: Station, tap: Tap, content: bytes) -> None:
    tap.let_through(0.5, content)
    tapped.until("it plays", lambda: tapped.play_log.now)
    tap.versions["a.mp4"] = "second"
    tap.is_cut = True
    tapped.until("the other one", lambda: (tapped.play_log.now and tapped.play_log.now.name == "b.mp4") or tapped.play_log.last)
    tap.is_cut = False
    tapped.until("it has ended", lambda: tapped.play_log.last)
    assert tapped.outcomes()[-1] == ("a.mp4", "short")
    assert tapped.play_log.last[-1].problem == "it was replaced or removed in the bucket while it was read"


def test_an_object_that_stays_plays_on_after_its_connection_broke(tapped: Station, tap: Tap, content: bytes) -> None:
    tap.let_through(0.5, content)
    tapped.until("it plays", lambda: tapped.play_log.now)
    tap.limit_bytes = len(content)
    tap.is_cut = True
    tapped.run(0.5)
    tap.is_cut = False
    tapped.until("it has ended", lambda: tapped.play_log.last)
    assert tapped.outcomes() == [("a.mp4", "played")]


def test_a_file_that_grows_joins_when_it_is_whole(station: Station, media: Path) -> None:
    content = clip("matching.mp4").read_bytes()
    half = len(content) // 2
    (media / "a.mp4").write_bytes(content[:half])
    # So that no pause of this machine makes it look whole.
    os.utime(media / "a.mp4", (time.time() + 1000,) * 2)
    station.until("it is seen", lambda: station.play_log.slate_reason == "a.mp4: is still being written")
    (media / "a.mp4").write_bytes(content)
    assert not station.play_log.items_known and not station.play_log.last and not station.play_log.storage_problem
    station.until("it plays", lambda: station.play_log.now)
    station.until("it has ended", lambda: station.play_log.last)
    assert station.outcomes() == [("a.mp4", "played")]


class TestRead:
    """Items are copied when they are read to their end, and not before."""

    def test_an_item_is_read_before_it_plays(self, station: Station, media: Path) -> None:
        put(media / "a.mp4", "matching.mp4")
        station.until("it plays", lambda: station.play_log.now)
        assert station.play_log.now and station.play_log.now.mode == "copy"

    def test_one_that_cannot_be_read_in_time_is_encoded_and_copied_the_next_time(
        self, tapped: Station, tap: Tap, content: bytes
    ) -> None:
        probe(f"{tap.url}/a.mp4", PATIENCE_SECONDS)
        looks, tap.requests = tap.requests, 0
        # The look is answered, and the feeder; what reads ahead gets nothing.
        tap.free_requests, tap.limit_bytes = looks, 1000
        tapped.until("it is being read", lambda: tap.requests > looks)
        assert tapped.play_log.next and tapped.play_log.next.mode == "normalise"
        assert tapped.play_log.now is None
        tapped.ahead_seconds += SCAN_PATIENCE_SECONDS
        tapped.until("it is not waited for", lambda: tap.requests > looks + 1)
        tap.limit_bytes = len(content)
        tapped.until("it plays", lambda: tapped.play_log.now and tapped.play_log.now.name == "a.mp4")
        assert tapped.play_log.now and tapped.play_log.now.mode == "normalise"
        # Or the time after that: a busy machine may take longer to read it than it plays.
        tapped.until("it was copied", lambda: any(item.mode == "copy" for item in tapped.play_log.last))
        modes = [item.mode for item in tapped.play_log.last if item.name == "a.mp4"]
        assert (modes[0], modes[-1], set(modes)) == ("copy", "normalise", {"copy", "normalise"})

    @pytest.mark.parametrize(
        ("name", "outcome", "seconds"),
        [
            ("wrong-header.flv", "played", 4.0),
            ("again.flv", "played", 4.0),
            ("late-start.mkv", "played", 3.0),
            ("truncated.mp4", "short", 6.0),
        ],
    )
    def test_what_was_played_is_held_against_the_packets(self, media: Path, name: str, outcome: str, seconds: float) -> None:
        put_whole(media / name, odd(name).read_bytes())
        station = Station(FolderLibrary(media, (".mp4", ".flv", ".mkv")))
        try:
            station.until("it has ended", lambda: station.play_log.last)
            (item,) = station.play_log.last
            assert (item.outcome, item.duration_seconds) == (outcome, pytest.approx(seconds, abs=0.1))
            assert ("it is cut off: " in item.problem) is (outcome == "short")
            if outcome == "played":
                assert item.played_seconds == pytest.approx(seconds, abs=0.15)
        finally:
            station.close()


def test_an_item_that_ended_before_it_was_read_is_judged_afterwards(tmp_path: Path) -> None:
    """Its header tells of what goes out, its packets of twice as much."""
    content = odd("again.mkv").read_bytes()
    slow = Tap({"a.mp4": content})
    station = Station(slow.library)
    try:
        media = probe(f"{slow.url}/a.mp4", PATIENCE_SECONDS)
        assert media.duration_seconds == pytest.approx(2, abs=0.1)
        looks, slow.requests = slow.requests, 0
        slow.free_requests = looks
        # The look is answered; what reads ahead gets nothing, what plays gets all.
        slow.limit_bytes = 1000
        station.until("it is being read", lambda: slow.requests > looks)
        slow.free_requests, slow.held_requests = 10**9, slow.requests
        station.ahead_seconds += SCAN_PATIENCE_SECONDS
        station.until("it has ended", lambda: station.play_log.last)
        assert station.outcomes() == [("a.mp4", "played")]
        assert station.play_log.items_short == 0
        slow.held_requests = 0
        slow.limit_bytes = len(content)
        station.until("it is judged", lambda: station.play_log.items_short)
        item = station.play_log.last[-1]
        assert (item.outcome, item.duration_seconds) == ("short", pytest.approx(4, abs=0.1))
        assert item.problem == "its header states less than its length, and the rest was not played"
    finally:
        station.close()
        slow.close()


def test_time_without_a_connection_leaves_no_item(tapped: Station, tap: Tap, content: bytes) -> None:
    tap.let_through(0.5, content)
    tapped.until("it has run dry", lambda: tapped.relay.interrupted)
    tapped.run(0.2)
    tapped.relay.disconnect(tapped.now())
    tapped.ahead_seconds += DRY_SECONDS + 1
    tap.let_through(1.0, content)
    tapped.scheduler.one_pass(tapped.now())
    tapped.relay.connect(tapped.now())
    tapped.until("it is over", lambda: tapped.play_log.last)
    assert tapped.outcomes() == [("a.mp4", "played")]


def test_a_file_that_is_replaced_while_it_is_next_is_looked_at_anew(station: Station, media: Path) -> None:
    put_long(media / "a.mp4")
    put(media / "b.mp4", "matching.mp4")
    station.until("the next one was looked at", lambda: station.play_log.next and station.play_log.next.mode == "copy")
    put(media / "b.mp4", "larger.mp4")
    station.ahead_seconds += station.channel.rescan_seconds
    station.until("it was looked at anew", lambda: station.play_log.next and station.play_log.next.mode == "normalise")
    (media / "b.mp4").unlink()
    station.ahead_seconds += station.channel.rescan_seconds
    station.until("it is gone", lambda: station.play_log.next and station.play_log.next.name == "a.mp4")
    assert not station.play_log.items_failed


def test_a_folder_that_vanishes_fails_no_items(station: Station, media: Path) -> None:
    for name in "abcdefgh":
        put(media / f"{name}.mp4", "matching.mp4")
    station.until("the first one", lambda: station.play_log.now)
    media.rename(media.with_name("elsewhere"))
    station.ahead_seconds += station.channel.rescan_seconds
    station.until("it is told", lambda: station.relay.is_on_slate and station.play_log.storage_problem)
    station.run(2.0)
    assert "media" in station.play_log.slate_reason
    assert station.play_log.items_known == 0
    # Not all of them: those that were being prepared.
    assert station.play_log.items_failed <= 3
    played = station.play_log.items_played
    media.with_name("elsewhere").rename(media)
    station.ahead_seconds += 30
    station.until("it plays on", lambda: station.play_log.items_played > played)
    assert not station.play_log.storage_problem


def test_failures_soon_follow_each_other_slowly(station: Station, media: Path) -> None:
    for number in range(FAILURES_AT_ONCE + 5):
        put_whole(media / f"{number:02}.mp4", b"no film")
    station.stopped_at = time.monotonic()
    station.until("some failures", lambda: station.play_log.items_failed == FAILURES_AT_ONCE, 3 * PATIENCE_SECONDS)
    station.run(1.0)
    assert station.play_log.items_failed == FAILURES_AT_ONCE
    station.ahead_seconds += FAILURES_PAUSE_SECONDS
    station.until("one more", lambda: station.play_log.items_failed == FAILURES_AT_ONCE + 1)


def test_a_listing_that_hangs_is_told(media: Path) -> None:
    answers = threading.Event()

    class Hanging(FolderLibrary):
        def list_media(self) -> tuple[MediaFile, ...]:
            answers.wait(PATIENCE_SECONDS)
            return super().list_media()

    put(media / "a.mp4", "matching.mp4")
    station = Station(Hanging(media, EXTENSIONS), media="/srv/far")
    try:
        station.run(0.3)
        assert not station.play_log.storage_problem
        station.ahead_seconds += HUNG_SECONDS
        station.until("it is told", lambda: station.play_log.storage_problem)
        assert station.play_log.slate_reason.startswith("/srv/far: does not answer for")
        answers.set()
        station.until("it plays", lambda: station.play_log.now)
        assert not station.play_log.storage_problem
    finally:
        answers.set()
        station.close()


def test_after_the_last_item_the_slate_says_so(media: Path) -> None:
    put(media / "a.mp4", "matching.mp4")
    station = Station(FolderLibrary(media, EXTENSIONS), loop=False)
    try:
        station.until("all is played", lambda: station.relay.is_on_slate and station.play_log.items_played == 1)
        station.until("it says so", lambda: station.play_log.slate_reason == "everything was played")
    finally:
        station.close()


def test_an_item_that_breaks_the_connection_twice_at_one_place_is_told(station: Station, media: Path) -> None:
    """Its length is known, and most of it may have been played."""
    put(media / "a.mp4", "matching.mp4")
    station.until("it plays", lambda: station.relay.current and station.relay.current.played_seconds > 0.5)
    for _ in range(2):
        station.relay.disconnect(station.now())
        station.relay.note_break()
        station.relay.connect(station.now())
    station.until("it is left", lambda: station.play_log.last)
    (last,) = station.play_log.last
    assert (last.name, last.outcome) == ("a.mp4", "short")
    assert last.problem.startswith("the connection broke twice at ")
    assert station.play_log.items_short == 1


def test_behind_items_that_are_over_at_once_the_next_follows_at_once(station: Station, media: Path) -> None:
    for name, clip_name in (("a", "matching.mp4"), ("b", "one-frame.mp4"), ("c", "half.mp4"), ("d", "matching.mp4")):
        put(media / f"{name}.mp4", clip_name)
    station.until("the first one", lambda: station.play_log.now)
    # All that follows is made ready while the first one lasts, however slow the machine is.
    station.stopped_at = time.monotonic()
    station.until("the others wait", lambda: [buffer.name for buffer in station.relay.queue] == ["b.mp4", "c.mp4", "d.mp4"])
    station.until("they are ready", lambda: all(buffer.is_ready for buffer in station.relay.queue))
    assert station.play_log.next
    assert station.play_log.next.name == "b.mp4"
    station.ahead_seconds, station.stopped_at = station.stopped_at - time.monotonic(), None
    station.until("the last one", lambda: station.play_log.now and station.play_log.now.name == "d.mp4")
    assert station.outcomes() == [(f"{name}.mp4", "played") for name in "cba"]
    # The one before the first item.
    assert station.play_log.slates == 1
