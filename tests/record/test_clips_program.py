"""livekeep-clips as a process: a run's results, its error messages, and the command's output."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from livekeep.core.config.record import Analyzer
from livekeep.record.clips import snapshots
from livekeep.record.clips.snapshots import Snapshots
from tests.outside import PROJECT
from tests.record.made_clips import STEP_SECONDS, MadeClips, Site
from tests.record.running_clips import ClipsBox, entry, lists, page
from tests.web import Web, error

BOTH = '[clips.hall]\nvimeo = "me"\n[clips.town]\nfile = "FILE"\n'


@pytest.fixture
def box(tmp_path: Path, web: Web) -> ClipsBox:
    web.answer = lists(entry(7, 12), entry(8, None))
    return ClipsBox(tmp_path, web)


def with_both(box: ClipsBox, content: str) -> Path:
    file = box.folder / "town.json"
    file.write_text(content)
    box.configure(BOTH.replace("FILE", str(file)))
    return file


def test_a_run_keeps_the_figures_and_says_how_it_went(box: ClipsBox, web: Web) -> None:
    result = box.run()
    assert (result.outcome, result.sources, result.clips, result.hot, result.reason) == ("succeeded", 1, 2, (), "")
    assert result.interval_seconds == 900
    web.answer = lists(entry(7, 20))
    assert box.run().clips == 1
    assert box.rows("SELECT clip, plays, gone_at IS NULL FROM clips") == [("7", 20, 1), ("8", None, 0)]
    assert box.rows("SELECT plays, gained FROM snapshots ORDER BY fetch, clip") == [(12, 0), (None, 0), (20, 8)]
    assert box.database.stat().st_mode & 0o777 == 0o644 & ~0o022
    assert box.rows("PRAGMA user_version") == [(1,)]


def test_a_run_is_on_record_as_a_session_with_its_steps_requests_and_statements(box: ClipsBox) -> None:
    box.run()
    entries = box.written()
    ended = [it for it in entries if it.get("LIVEKEEP_EVENT") == "session-ended"]
    assert [(it["LIVEKEEP_NAME"], it["LIVEKEEP_OUTCOME"]) for it in ended] == [("clip analysis", "succeeded")]
    records = [json.loads(line) for it in entries for line in it.get("LIVEKEEP_RECORDS", "").splitlines()]
    steps = {line[3]["name"] for line in records if line[0] == "t"}
    assert steps == {"fetch", "snapshot", "score", "publish"}
    functions = [(line[2], line[3]) for line in records if line[0] == "f"]
    assert any(name.endswith("VimeoSource.get") and kind == "api" for name, kind in functions)
    assert any("INSERT INTO snapshots" in name and kind == "database" for name, kind in functions)


@pytest.mark.parametrize("sink", ["/nowhere/events", "/dev/full", ""])
def test_without_a_record_the_analyzer_works_the_same(box: ClipsBox, sink: str) -> None:
    assert box.run(LIVEKEEP_EVENTS=sink, LIVEKEEP_JOURNAL_SOCKET="/nowhere/journal").outcome == "succeeded"
    assert box.rows("SELECT count(*) FROM snapshots") == [(2,)]


def test_a_source_that_fails_does_not_keep_the_others(box: ClipsBox, web: Web) -> None:
    file = with_both(box, '[{"id": 1, "plays": 5}]')
    web.answer = lambda _request: error(401, 8003)
    result = box.run()
    assert (result.outcome, result.sources, result.clips) == ("partly", 2, 1)
    assert result.reason == "hall: Vimeo does not accept the token (HTTP 401, code 8003)"
    assert result.advice == "sudo livekeep set-token"
    file.write_text("[")
    result = box.run()
    assert result.outcome == "failed"
    assert result.reason.endswith(f"; town: {file}: is not valid JSON")
    ended = [it for it in box.written() if it.get("LIVEKEEP_EVENT") == "session-ended"]
    assert [it["LIVEKEEP_OUTCOME"] for it in ended] == ["succeeded", "failed"]
    web.answer = lists(entry(7, 12))
    file.write_text("[]")
    assert box.run().outcome == "succeeded"
    assert [name for (name,) in box.rows("SELECT outcome FROM sources")] == ["succeeded", "succeeded"]


def test_a_source_keeps_since_when_it_fails(box: ClipsBox, web: Web) -> None:
    web.answer = lambda _request: error(401, 8003)
    box.run()
    since = box.rows("SELECT outcome, reason, advice, outcome_since FROM sources")
    assert since[0][:3] == ("failed", "Vimeo does not accept the token (HTTP 401, code 8003)", "sudo livekeep set-token")
    box.run()
    assert box.rows("SELECT outcome, reason, advice, outcome_since FROM sources") == since
    web.answer = lists(entry(7, 12))
    box.run()
    assert box.rows("SELECT outcome, reason, advice FROM sources") == [("succeeded", "", "")]
    assert box.rows("SELECT outcome_since FROM sources")[0] > since[0][3:]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("livekeep.vimeo-token", " ", "hall: no Vimeo token is stored"),
        ("livekeep.vimeo-token", "two words", "hall: the Vimeo token's file holds more than that, or cannot be read"),
        ("livekeep.vimeo-token", "two\nlines: x", "hall: the Vimeo token's file holds more than that, or cannot be read"),
    ],
    ids=["blank", "words", "lines"],
)
def test_without_a_usable_token_nothing_is_asked(box: ClipsBox, web: Web, name: str, content: str, says: str) -> None:
    box.store(name, content)
    result = box.run()
    assert (result.outcome, result.reason, result.advice) == ("failed", says, "sudo livekeep set-token")
    assert web.connections == 0


def test_a_source_that_says_not_where_its_clips_are(box: ClipsBox, web: Web) -> None:
    box.configure('[clips.a]\n[clips.b]\nvimeo = "me"\nfile = "/x"\n')
    result = box.run()
    assert result.outcome == "failed"
    assert result.reason.count("it names no place of its clips, or more than one") == 2
    assert web.connections == 0


def test_without_sources_it_is_skipped(box: ClipsBox) -> None:
    box.configure("")
    result = box.run()
    assert (result.outcome, result.reason) == ("skipped", "no source of clips is configured")
    assert not box.database.exists()


def test_a_source_that_is_no_longer_configured_is_no_longer_listed(box: ClipsBox) -> None:
    with_both(box, '[{"id": 1, "plays": 5}]')
    box.run()
    box.configure('[clips.hall]\nvimeo = "me"\n')
    assert box.run().clips == 2
    assert box.rows("SELECT clip FROM clips WHERE gone_at IS NULL ORDER BY clip") == [("7",), ("8",)]


def test_a_damaged_database_is_set_aside_and_a_new_one_begun(box: ClipsBox) -> None:
    box.run()
    box.database.write_bytes(b"no database" * 1000)
    done = box.command("analyze")
    assert done.returncode == 1
    assert "was damaged (file is not a database), and is set aside as clips.db.damaged" in done.stderr
    assert box.state().outcome == "failed"
    assert box.run().outcome == "succeeded"
    assert (box.database.parent / "clips.db.damaged").exists()


def test_a_database_that_cannot_be_written_is_reported(box: ClipsBox) -> None:
    box.run()
    with closing(sqlite3.connect(box.database)) as connection:
        connection.execute("PRAGMA user_version = 9")
    done = box.command("analyze")
    assert done.returncode == 1
    assert "cannot be used (it is of version 9, and this program knows 1)" in done.stderr
    assert "is of version 9" in box.state().reason
    assert not (box.database.parent / "clips.db.damaged").exists()


def test_the_timer_ships_with_the_default_interval() -> None:
    assert f"\nOnUnitActiveSec={Analyzer.interval_seconds:g}s\n" in (PROJECT / "units/livekeep-clips.timer").read_text()


# Take-offs


def with_history(box: ClipsBox, made: MadeClips, until: float) -> None:
    """As after runs every quarter of an hour."""
    box.database.parent.mkdir(parents=True)
    connection = snapshots.open_for_writing(box.database)
    connection.execute("PRAGMA synchronous = OFF")
    store = Snapshots(connection)
    source = store.source("hall")
    while made.now + 2 * STEP_SECONDS < until:
        made.advance(made.now + STEP_SECONDS)
        store.take(source, made.figures(), made.now)
    connection.close()


def test_a_clip_that_takes_off_is_reported_once_and_stands_first(tmp_path: Path) -> None:
    now = time.time()
    made = MadeClips(3, 60, now - 40 * 3600)
    busy = max((clip for clip in made.clips if clip.created < made.now), key=lambda clip: clip.rate(now))
    made.take_off(made.clips.index(busy), now - 3 * 3600, 12)
    site = Site(made)
    with Web() as web:
        box = ClipsBox(tmp_path, web)
    (tmp_path / "etc/livekeep/livekeep.toml").write_text(f'[vimeo]\napi_url = "{site.url}"\n[clips.hall]\nvimeo = "users/1"\n')
    with_history(box, made, now)
    made.advance(now)
    result = box.run()
    assert [clip.clip for clip in result.hot] == [str(busy.number)]
    hot = result.hot[0]
    assert (hot.source, hot.name, hot.link) == ("hall", busy.name, f"https://vimeo.com/{busy.number}")
    assert hot.score > 5
    assert " × its usual rate for " in hot.reason
    assert "1 take off" in box.said
    assert [it.clip for it in box.run().hot] == [str(busy.number)]
    assert "0 take off" in box.said
    assert box.rows("SELECT count(*) FROM takeoffs") == [(1,)]
    shown = box.command("list").stdout
    assert f"↑  {busy.number}" in shown.splitlines()[2]
    document = json.loads(box.command("list", "--json").stdout)
    assert document["run"]["outcome"] == "succeeded"
    assert [it["is_hot"] for it in document["clips"]] == [True, *[False] * (len(document["clips"]) - 1)]
    one = json.loads(box.command("show", str(busy.number), "--json").stdout)
    assert (
        sum(day["plays"] for day in one["days"])
        == box.rows(
            "SELECT sum(gained) FROM snapshots JOIN clips ON clips.id = snapshots.clip WHERE clips.clip = ?", str(busy.number)
        )[0][0]
    )
    assert len(one["takeoffs"]) == 1
    site.status = 503
    failed = box.run()
    assert (failed.outcome, [it.clip for it in failed.hot]) == ("failed", [str(busy.number)])
    site.close()


# The command


def test_what_the_command_shows(box: ClipsBox) -> None:
    done = box.command("list")
    assert done.returncode == 1
    assert "there are no clips: livekeep-clips has not run yet; see docs/how-to/clips.md" in done.stderr
    box.run()
    assert "2 clips of 1 source, read 0 min ago (succeeded)" in box.command().stdout
    everything = box.command("list", "--all").stdout
    assert [line.split()[0] for line in everything.splitlines()[2:]] == ["7", "8"]
    assert json.loads(box.command("list", "--all", "--json").stdout)["clips"][0]["plays"] == 12
    assert json.loads(box.command("--json").stdout)["clips"] == []
    assert "Clip 7 (hall)  https://vimeo.com/7" in box.command("show", "7").stdout
    assert box.command("list", "--all", "--source", "other").stdout.count("\n") == 2
    done = box.command("show", "666")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert 'there is no clip "666"' in done.stderr


def test_a_name_cannot_control_the_terminal(box: ClipsBox, web: Web) -> None:
    web.answer = lambda request: page(request, [entry(7, 1, name="evil\x1b[2J\nrun: rm -rf")])
    box.run()
    shown = box.command("list", "--all").stdout + box.command("show", "7").stdout
    assert "\x1b" not in shown
    assert "evil [2J run: rm -rf" in shown
