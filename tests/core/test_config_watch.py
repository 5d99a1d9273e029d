"""The configuration as it changes: each change once, at once; a faulty one changes nothing and is told of."""

import select
from pathlib import Path

import pytest
from systemd import journal

from livekeep.core.config.watch import ConfigWatch


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "livekeep.toml").write_text("[record]\ncall_days = 5\n")
    return tmp_path


def watch_of(etc: Path) -> ConfigWatch:
    return ConfigWatch(etc / "livekeep.toml", etc / "livekeep.d")


def wait(watch: ConfigWatch) -> None:
    assert select.select([watch], [], [], 15)[0]
    watch.drain()


def test_each_change_is_taken_once(etc: Path) -> None:
    watch = watch_of(etc)
    assert watch.changed() is None
    (etc / "livekeep.toml").write_text("[record]\ncall_days = 6\n")
    wait(watch)
    taken = watch.changed()
    assert taken
    assert taken.record.call_days == 6
    assert watch.changed() is None


def test_a_drop_in_counts_when_it_comes_and_when_it_goes(etc: Path) -> None:
    watch = watch_of(etc)
    (etc / "livekeep.d").mkdir()
    wait(watch)
    (etc / "livekeep.d/50-mine.toml").write_text("[record]\ncall_days = 7\n")
    wait(watch)
    taken = watch.changed()
    assert taken
    assert taken.record.call_days == 7
    (etc / "livekeep.d/50-mine.toml").unlink()
    wait(watch)
    taken = watch.changed()
    assert taken
    assert taken.record.call_days == 5


def test_a_faulty_one_changes_nothing_and_is_told_of(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(journal, "send", lambda sentence, **fields: told.append((fields["LIVEKEEP_EVENT"], sentence)))
    watch = watch_of(etc)
    (etc / "livekeep.toml").write_text("[record]\ncall_days = -1\n")
    wait(watch)
    assert watch.changed() is None
    assert watch.changed() is None
    assert [(event, "call_days" in sentence) for event, sentence in told] == [("config-rejected", True)]
    assert watch.changed(anyway=True) is None
