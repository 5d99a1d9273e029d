"""The worker with all but its unit real: unlike clips, ffmpeg, nginx-rtmp, a player at the far end; and what goes wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import signal
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livekeep.air.worker.relay import Relay
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.air.worker.uplink import GivenUpError, Uplink
from livekeep.core import state
from livekeep.core.record_states import ClipsState, HotClip
from livekeep.core.service import Service
from tests.air import flv_maker
from tests.air.clips import CHANNEL
from tests.air.ingest import ingest
from tests.air.running_worker import KEY, RunningWorker, running
from tests.outside import wait_until

UNLIKE = ("larger.mp4", "no-audio.mp4", "ntsc.mp4", "hevc.mp4", "film.mp4")
LONG_ENOUGH_BYTES = 20_000


@pytest.fixture
def folder() -> Iterator[Path]:
    # A socket's path has 108 bytes at most.
    with tempfile.TemporaryDirectory(prefix="worker") as name:
        yield Path(name)


def test_unlike_items_over_one_connection(folder: Path) -> None:
    with running(folder, *UNLIKE) as worker, worker.viewer() as viewer:
        viewer.wait_for_pictures(30)
        seen = worker.wait_for("five items were played", lambda found: found.items_played >= 5)
        assert worker.server.publishes(KEY) == 1
        assert seen.items_short == seen.items_failed == 0
        assert [item.outcome for item in seen.last[:5]] == ["played"] * 5
        # Without the last ones: pictures that are shown between them may still be on their way.
        shows = sorted(packet.showing for packet in viewer.pictures()[25:])[:-4]
        assert max(later - earlier for earlier, later in itertools.pairwise(shows)) <= 0.100
        found = viewer.measured()
        assert found.video
        assert found.audio
        assert max(found.video.decoding, found.audio.decoding) <= 0.080
        assert (found.video.back, found.audio.back) == (0, 0)
        worker.wait_for("it keeps time", lambda found: abs(found.drift_seconds) < 1)
        assert seen.acknowledged_bytes > LONG_ENOUGH_BYTES
        assert worker.stop() == 0
    assert KEY not in worker.log.read_text()


def test_where_nothing_is_copied_the_headers_stay_the_same(folder: Path) -> None:
    """From the slate on, whatever the items are like: also where each of them could be copied."""
    with running(folder, copy="never") as worker, worker.viewer() as viewer:
        viewer.wait_for_pictures(30)
        for number, name in enumerate(("matching.mp4", "larger.mp4", "matching-b-frames.mp4", "no-audio.mp4")):
            worker.add(name, f"{number}.mp4")
        seen = worker.wait_for("four items were played", lambda found: found.items_played >= 4)
        assert {item.mode for item in seen.last} == {"normalise"}
        assert worker.server.publishes(KEY) == 1
        found = viewer.measured()
        assert found.header_changes == 0
        assert found.longest_keyframe_distance is not None
        assert found.longest_keyframe_distance <= 2.080
        assert found.video
        assert max(found.video.decoding, found.video.showing) <= 0.080


def test_a_cache_that_cannot_be_written_keeps_nothing_off_air(folder: Path) -> None:
    (folder / "cache").write_text("")
    with running(folder, "matching.mp4") as worker:
        seen = worker.wait_for("an item", lambda found: found.now)
        assert seen.slate_problem.startswith(f"{folder / 'cache'}: the slate cannot be kept (File exists)")
        assert seen.now and seen.now.mode == "copy"
        worker.wait_for("it played", lambda found: found.items_played)


def test_only_broken_items_leave_the_slate_on_air(folder: Path) -> None:
    with running(folder, "text.mp4", "audio-only.mp4") as worker, worker.viewer() as viewer:
        worker.wait_for("they failed", lambda found: found.items_failed == 2)
        viewer.wait_for_pictures(100)
        seen = worker.wait_for("the slate is counted", lambda found: found.slate_seconds > 2)
        assert (seen.picture, seen.publishing) == ("slate", "on-air")
        assert [(item.outcome, bool(item.problem)) for item in seen.last] == [("failed", True)] * 2
        assert worker.server.publishes(KEY) == 1


def test_a_clip_that_takes_off_comes_again(folder: Path) -> None:
    states = folder / "root/run/livekeep"
    (states / "clips").mkdir(parents=True)
    found = ClipsState(interval_seconds=900, hot=(HotClip(clip="0", name="07-half"),))
    state.write(state.stamped(found), states)
    with running(folder, *["half.mp4"] * 8, order="hot") as worker:
        seen = worker.wait_for("some items", lambda found: found.items_played >= 6)
        names = [item.name for item in reversed(seen.last)]
        assert names[:5] == ["00-half.mp4", "01-half.mp4", "02-half.mp4", "03-half.mp4", "07-half.mp4"]
        # Without the analyzer it goes on by name.
        (states / "clips/state.json").unlink()
        worker.wait_for("it goes on", lambda found: found.items_played >= 12)


def test_an_ingest_that_drops_each_connection(folder: Path) -> None:
    with running(folder, "matching.mp4") as worker:
        for connections in (1, 2, 3):
            worker.wait_for(
                "on air", lambda found, wanted=connections: found.publishing == "on-air" and found.connections == wanted
            )
            assert not worker.state().advice
            worker.server.kill()
            worker.server.start()
        # Still tried: it may be the network's fault.
        seen = worker.wait_for("advice", lambda found: found.advice)
        assert "stream key" in seen.advice
        assert seen.error_type == "dropped"
        worker.wait_for("on air, and no advice", lambda found: found.publishing == "on-air" and not found.advice)


def test_a_backup_ingest(folder: Path) -> None:
    with (
        ingest(folder / "ingest") as server,
        ingest(folder / "other") as other,
        RunningWorker(folder, other, ingest_urls=[server.url, other.url]) as worker,
    ):
        worker.add("matching.mp4")
        server.kill()
        worker.start()
        seen = worker.goes_on_air()
        assert seen.is_backup
        assert seen.ingest == f"{other.host}:{other.port}"
        assert worker.stop() == 0


def test_an_ingest_that_stops_reading(folder: Path) -> None:
    with running(folder, "matching.mp4", "larger.mp4") as worker:
        worker.wait_for("steady", lambda found: found.acknowledged_bytes > LONG_ENOUGH_BYTES)
        worker.server.stall()
        worker.wait_for("stalled", lambda found: found.error_type == "stalled", 60)
        worker.server.go_on()
        worker.wait_for("on air again", lambda found: found.publishing == "on-air" and found.connections == 2)


def test_a_new_connection_before_the_timeline_wraps(folder: Path) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        worker.add("matching.mp4")
        worker.start(f"--first-ms={2**31 - 610_000}")
        worker.goes_on_air()
        seen = worker.wait_for("a second connection", lambda found: found.connections == 2)
        assert seen.retry_count == 0
        assert server.publishes(KEY) == 2
        assert worker.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_end_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    with running(folder, "long.mp4") as worker:
        children = worker.plays_with(2)
        worker.send(number)
        assert worker.process
        assert worker.process.wait(20) in (0, -9)
        wait_until("its children have ended", lambda: not any(is_running(pid) for pid in children))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def put_key(worker: RunningWorker, key: str) -> None:
    (worker.folder / "credentials/livekeep.stream-key").write_text(key)


def add_configuration(worker: RunningWorker, text: str) -> None:
    (worker.root / "etc/livekeep/livekeep.d/wrong.toml").write_text(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda worker: put_key(worker, " "), "sudo livekeep air set-key main"),
        (lambda worker: put_key(worker, "a key"), "contains more than a stream key"),
        (lambda worker: worker.configure(ingest_urls=[]), "ingest_urls"),
        (lambda worker: worker.configure(media=""), "channels.main.media: is not set"),
        (lambda worker: worker.configure(width=321), "channels.main.width: must be even"),
        (lambda worker: (worker.root / "etc/livekeep/livekeep.toml").write_text(""), "channels.main: there is no such channel"),
        # A backup too: now, not when it is needed.
        (
            lambda worker: worker.configure(ingest_urls=[worker.server.url, "rtmp://user:made-up@host/live"]),
            "channels.main.ingest_urls: must be a URL that begins with rtmp:",
        ),
        (
            lambda worker: (
                worker.configure(media="s3://bucket/prefix"),
                add_configuration(worker, '[storage]\nprovider = "glacier"'),
            ),
            "storage.provider: must be one of",
        ),
        (lambda worker: add_configuration(worker, "[channels.main]\nwidht = 320"), "channels.main.widht: unknown key"),
        (lambda worker: add_configuration(worker, "[[["), "is not valid TOML"),
    ],
)
def test_what_a_person_must_fix_ends_it_with_78(folder: Path, change: Callable[[RunningWorker], object], says: str) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        change(worker)
        worker.start()
        assert worker.process
        assert worker.process.wait(30) == 78
        said = worker.log.read_text()
        assert says in said
        assert KEY not in said
        assert "made-up" not in said


@pytest.mark.parametrize(("stored_for", "status"), [(" ", 78), ("a.example b.example", 78), ("other.example 127.0.0.1", None)])
def test_a_key_goes_to_the_servers_that_it_was_stored_for_alone(folder: Path, stored_for: str, status: int | None) -> None:
    """The channel is one of the API: whoever has its token may name any server."""
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        worker.add("matching.mp4")
        text = (worker.root / "etc/livekeep/livekeep.toml").read_text()
        log, _title, keys = text.partition("[channels.main]\n")
        (worker.root / "etc/livekeep/livekeep.toml").write_text(log)
        (worker.root / "var/lib/livekeep/channels").mkdir(parents=True)
        (worker.root / "var/lib/livekeep/channels/main.json").write_text(json.dumps(tomllib.loads(keys)))
        (worker.folder / "credentials/livekeep.stream-ingest").write_text(stored_for)
        worker.start()
        assert worker.process
        if status is None:
            worker.goes_on_air()
            return
        assert worker.process.wait(30) == status
        said = worker.log.read_text()
        assert "livekeep.stream-ingest.main: the stream key was not stored for 127.0.0.1" in said
        assert "run: sudo livekeep air bind-key main" in said
        assert KEY not in said


def test_a_mistake_elsewhere_in_the_configuration_is_logged_and_no_reason_to_end(folder: Path) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        wrong = '[screen]\nplayre = "mpv"\n[channels.main2]\nwidth = 321\n[storage]\nprovider = "glacier"\n'
        add_configuration(worker, wrong)
        worker.start()
        worker.goes_on_air()
        assert worker.stop() == 0
        for place in ("screen.playre", "channels.main2.width", "storage.provider"):
            (line,) = [line for line in worker.log.read_text().splitlines() if f"{place}: " in line]
            assert line.startswith("<4>")


def test_a_run_counts_the_refusals_of_its_own(folder: Path) -> None:
    """Each of two ingests refuses three times; the clock is set forward to the next attempt."""
    relay = Relay(SlateLoop(flv_maker.item(10.0), 40.0), 40.0)
    with ingest(folder / "ingest") as server:
        server.refuse()
        channel = dataclasses.replace(CHANNEL, ingest_urls=(server.url, server.url))
        uplink = Uplink(Service(), relay, "main", channel, KEY)
        ahead_seconds = 0.0
        deadline = time.monotonic() + 60
        with pytest.raises(GivenUpError, match="given up after 3 refusals: "):
            while time.monotonic() < deadline:
                now = time.monotonic() + ahead_seconds
                wanted = uplink.one_pass(now)
                ahead_seconds += max(wanted - now - 1, 0)
                time.sleep(0.02)
        assert uplink.refusals == 6
