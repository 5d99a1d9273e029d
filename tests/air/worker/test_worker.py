"""The worker with all but its unit real: unlike clips, ffmpeg, nginx-rtmp, a player at the far end; and what goes wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import signal
import tempfile
import time
import tomllib
from collections.abc import Iterator
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
        assert abs(seen.drift_seconds) < 1
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


def test_the_key_is_nowhere_to_be_seen(folder: Path) -> None:
    with running(folder, "long.mp4") as worker:
        looked_at = 0
        for pid in (*worker.plays_with(2), worker.process.pid if worker.process else 0):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                for name in ("cmdline", "environ"):
                    assert KEY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
                looked_at += 1
        assert looked_at >= 2
        assert KEY not in (worker.states / "state.json").read_text()


def test_files_join_and_leave(folder: Path) -> None:
    with running(folder) as worker:
        waiting = worker.wait_for("the slate", lambda found: found.picture == "slate" and found.storage_problem)
        assert "is empty" in waiting.storage_problem
        worker.add("matching.mp4", "a.mp4")
        worker.wait_for("the item", lambda found: found.now and found.now.name == "a.mp4")
        worker.add("larger.mp4", "b.mp4")
        worker.wait_for("the other one", lambda found: found.now and found.now.name == "b.mp4")
        (worker.media / "a.mp4").unlink()
        worker.wait_for("one is left", lambda found: found.items_known == 1)
        assert worker.server.publishes(KEY) == 1


def test_broken_items_are_passed_over(folder: Path) -> None:
    with running(folder, "matching.mp4", "truncated.mp4", "text.mp4", "audio-only.mp4") as worker:
        (worker.media / "zero.mp4").write_bytes(b"")
        seen = worker.wait_for("a round", lambda found: found.items_played and found.items_failed >= 2 and found.items_short)
        problems = {item.name: item.problem for item in seen.last if item.outcome == "failed"}
        assert any("text.mp4" in name for name in problems)
        assert all(problems.values())
        assert worker.server.publishes(KEY) == 1


def test_a_cache_that_cannot_be_written_keeps_nothing_off_air(folder: Path) -> None:
    (folder / "cache").write_text("")
    with running(folder, "matching.mp4") as worker:
        seen = worker.wait_for("an item", lambda found: found.now)
        assert seen.slate_problem.startswith(f"{folder / 'cache'}: the slate cannot be kept (File exists)")
        assert seen.now and seen.now.mode == "copy"
        worker.wait_for("it played", lambda found: found.items_played)


def test_only_broken_items_leave_the_slate_on_air(folder: Path) -> None:
    with running(folder, "text.mp4") as worker, worker.viewer() as viewer:
        worker.wait_for("it failed", lambda found: found.items_failed)
        viewer.wait_for_pictures(100)
        seen = worker.state()
        assert (seen.picture, seen.publishing) == ("slate", "on-air")
        assert seen.slate_seconds > 2
        assert seen.items_failed == 1


def test_skipping(folder: Path) -> None:
    with running(folder, "matching.mp4", "larger.mp4") as worker:
        first = worker.wait_for("an item", lambda found: found.now)
        worker.send(signal.SIGUSR1)
        after = worker.wait_for("skipped", lambda found: found.items_skipped == 1)
        assert first.now
        assert after.last[0].outcome == "skipped"


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


def test_an_ingest_that_dies_and_comes_back(folder: Path) -> None:
    with running(folder, "matching.mp4", "larger.mp4", "ntsc.mp4") as worker:
        worker.wait_for("some bytes", lambda found: found.acknowledged_bytes > LONG_ENOUGH_BYTES)
        before = worker.state()
        worker.server.kill()
        worker.wait_for("seen", lambda found: found.publishing != "on-air", 20)
        worker.server.start()
        after = worker.wait_for("on air again", lambda found: found.publishing == "on-air" and found.connections == 2)
        assert after.items_failed == after.items_short == 0
        assert after.acknowledged_bytes >= before.acknowledged_bytes
        worker.wait_for("it goes on", lambda found: found.items_played >= 3)


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


def test_an_ingest_that_refuses(folder: Path) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        worker.add("matching.mp4")
        server.refuse()
        worker.start()
        seen = worker.wait_for("refused", lambda found: found.publishing == "refused")
        assert (seen.error_type, seen.retry_count, seen.refusals) == ("refused", 1, 1)
        assert seen.next_retry is not None
        assert 20 < seen.next_retry - time.time() <= 30
        assert "livekeep air check main" in seen.advice
        assert worker.stop() == 0


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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda worker: (worker.folder / "credentials/livekeep.stream-key").write_text(" "), "sudo livekeep air set-key main"),
        (lambda worker: (worker.folder / "credentials/livekeep.stream-key").write_text("a key"), "holds more than a stream key"),
        (lambda worker: worker.configure(ingest_urls=[]), "ingest_urls"),
        (lambda worker: worker.configure(media=""), "channels.main.media: is not set"),
        (lambda worker: worker.configure(width=321), "channels.main.width: must be even"),
    ],
)
def test_what_a_person_must_mend_ends_it_with_78(folder: Path, change, says: str) -> None:  # type: ignore[no-untyped-def]
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        change(worker)
        worker.start()
        assert worker.process
        assert worker.process.wait(30) == 78
        assert says in worker.log.read_text()
        assert KEY not in worker.log.read_text()


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


def test_a_channel_that_is_not_there(folder: Path) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        (worker.root / "etc/livekeep/livekeep.toml").write_text("")
        worker.start()
        assert worker.process
        assert worker.process.wait(30) == 78
        assert "channels.main: there is no such channel" in worker.log.read_text()


@pytest.mark.parametrize("wrong", ["rtmp://user:made-up@host/live", "rtmp://host?made-up"])
def test_a_backup_that_cannot_be_published_to_is_told_at_the_start(folder: Path, wrong: str) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server, ingest_urls=[server.url, wrong]) as worker:
        worker.start()
        assert worker.process
        assert worker.process.wait(30) == 78
        assert "channels.main.ingest_urls: must be a URL that begins with rtmp:" in worker.log.read_text()
        assert "made-up" not in worker.log.read_text()


def test_a_mistake_elsewhere_in_the_configuration_is_logged_and_no_reason_to_end(folder: Path) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server) as worker:
        wrong = '[screen]\nplayre = "mpv"\n[channels.main2]\nwidth = 321\n[storage]\nprovider = "glacier"\n'
        (worker.root / "etc/livekeep/livekeep.d/wrong.toml").write_text(wrong)
        worker.start()
        worker.goes_on_air()
        assert worker.stop() == 0
        for place in ("screen.playre", "channels.main2.width", "storage.provider"):
            (line,) = [line for line in worker.log.read_text().splitlines() if f"{place}: " in line]
            assert line.startswith("<4>")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('[storage]\nprovider = "glacier"', "storage.provider: must be one of"),
        ("[channels.main]\nwidht = 320", "channels.main.widht: unknown key"),
        ("[[[", "is not valid TOML"),
    ],
)
def test_a_mistake_of_its_own_ends_it_with_78(folder: Path, wrong: str, says: str) -> None:
    with ingest(folder / "ingest") as server, RunningWorker(folder, server, media="s3://bucket/prefix") as worker:
        (worker.root / "etc/livekeep/livekeep.d/wrong.toml").write_text(wrong)
        worker.start()
        assert worker.process
        assert worker.process.wait(30) == 78
        assert says in worker.log.read_text()


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
