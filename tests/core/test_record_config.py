"""The record part's tables: each wrong value is an error that names its file and key, and all of them are told at once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core import config
from livekeep.core.checks import NumberOr
from livekeep.core.config.record import SHIPPED_ALERTS, Alert, Clips, Notify
from livekeep.core.errors import ConfigError

FIXED = ("record", "web", "reports", "analyzer")
NAMED = {"alerts": "mine", "notify": "mine", "clips": "mine"}
TABLES: dict[str, Any] = {
    **{name: config.TABLES[name] for name in FIXED},
    **{f"{table}.{name}": config.NAMED[table] for table, name in NAMED.items()},
}
KEYS = [(table, entry) for table, kind in TABLES.items() for entry in dataclasses.fields(kind)]
WORDS = ["", "*", "auto", "x y", "/a", "Ä", "a\nb", "http://x", "mailto://x", "event", "figure", "p95", "UC" + "x" * 22, "A=b"]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(-1e12, 1e12),
    st.sampled_from(WORDS),
    st.lists(st.one_of(st.sampled_from(["", "me", "No Name", "OUTCOME=failed", "a=b"]), st.integers(0, 3)), max_size=3),
    st.none(),
    st.just({}),
)
# What a table needs besides, so that it is whole without the key in question.
WHOLE: dict[str, dict[str, Any]] = {
    "alerts.mine": {"kind": "regression"},
    "clips.mine": {"file": "/a"},
}


def load(folder: Path, document: dict[str, Any]) -> config.Config:
    main = folder / "livekeep.toml"
    main.write_text("")
    (folder / "livekeep.d").mkdir(exist_ok=True)
    (folder / "livekeep.d/50-mine.json").write_text(json.dumps(document))
    return config.load(main, folder / "livekeep.d")


def document_of(table: str, keys: dict[str, Any]) -> dict[str, Any]:
    group, _, name = table.partition(".")
    return {group: {name: keys}} if name else {group: keys}


def is_good(entry: Any, value: Any) -> bool:
    """By the key's type and its own check, as the reference documents them."""
    default = entry.default
    if isinstance(entry.metadata["check"], NumberOr) and not isinstance(value, str):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return False
    if isinstance(default, int):
        fits = isinstance(value, int)
    elif isinstance(default, float):
        fits = isinstance(value, int | float)
    elif isinstance(default, tuple):
        value = (value,) if isinstance(value, str) else value
        fits = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        value = tuple(value) if fits else value
    else:
        fits = isinstance(value, str)
    check = entry.metadata["check"]
    return fits and (check is None or check.problem(value) is None)


@given(
    chosen=st.lists(
        st.tuples(st.sampled_from(KEYS), VALUES), min_size=1, max_size=4, unique_by=lambda it: (it[0][0], it[0][1].name)
    )
)
@settings(deadline=None, max_examples=400, derandomize=True)
def test_configuration_validation_completeness(chosen: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("etc")
    document: dict[str, Any] = {}
    for (table, entry), value in chosen:
        group, _, name = table.partition(".")
        keys = document.setdefault(group, {})
        keys = keys.setdefault(name, dict(WHOLE.get(table, {}))) if name else keys
        keys[entry.name] = value
    wrong = {f"{table}.{entry.name}" for (table, entry), value in chosen if not is_good(entry, value)}
    try:
        loaded, problems = load(folder, document), ()
    except ConfigError as error:
        loaded, problems = None, error.problems
    source = folder / "livekeep.d/50-mine.json"
    named = {problem.split(": ")[1] for problem in problems}
    assert all(problem.startswith(f"{source}: ") for problem in problems)
    assert wrong <= named
    # What is told besides is a key that does not go with the others.
    assert {name.split(".")[0] for name in named - wrong} <= {"alerts", "notify", "clips"}
    if loaded:
        for (table, entry), value in chosen:
            group, _, name = table.partition(".")
            held = getattr(getattr(loaded, group)[name] if name else getattr(loaded, group), entry.name)
            assert held == (((value,) if isinstance(value, str) else tuple(value)) if isinstance(entry.default, tuple) else value)


@pytest.mark.parametrize(
    ("table", "keys", "key"),
    [
        ("alerts.mine", {}, "alerts.mine.event"),
        ("alerts.mine", {"figure": "disk_percent", "above": 5}, "alerts.mine.event"),
        ("alerts.mine", {"kind": "failures"}, "alerts.mine.number"),
        ("alerts.mine", {"kind": "slow", "threshold": 0}, "alerts.mine.threshold"),
        ("alerts.mine", {"kind": "figure"}, "alerts.mine.figure"),
        ("alerts.mine", {"kind": "figure", "figure": "disk_percent"}, "alerts.mine.above"),
        ("alerts.mine", {"kind": "figure", "figure": "disk_percent", "above": 5, "below": 6}, "alerts.mine.below"),
        ("alerts.mine", {"kind": "verdict", "unit": "livekeep-poller"}, "alerts.mine.unit"),
        ("alerts.mine", {"event": "x", "notify": ["No Name"]}, "alerts.mine.notify"),
        ("alerts.Mine", {"event": "x"}, "alerts.Mine"),
        ("alerts.hot", {"above": ""}, "alerts.hot.above"),
        ("alerts.mine", {"event": "x", "colour": "red"}, "alerts.mine.colour"),
        ("notify.mine", {"address": "json://x", "file": "/x"}, "notify.mine.file"),
        ("notify.Mine", {}, "notify.Mine"),
        ("clips.mine", {}, "clips.mine.vimeo"),
        ("clips.mine", {"vimeo": "me", "file": "/x"}, "clips.mine.vimeo"),
        ("reports", {"notify": ["a b"]}, "reports.notify"),
    ],
)
def test_keys_that_do_not_go_together_are_named(tmp_path: Path, table: str, keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document_of(table, keys))
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [key]
    assert caught.value.problems[0].startswith(f"{tmp_path / 'livekeep.d/50-mine.json'}: ")


def test_the_shipped_rules_are_good() -> None:
    assert {name: rule.faults() for name, rule in SHIPPED_ALERTS.items()} == {name: [] for name in SHIPPED_ALERTS}


@pytest.mark.parametrize(
    ("table", "keys", "expected"),
    [
        ("alerts.mine", {"kind": "slow", "threshold": 2}, Alert(kind="slow", threshold=2.0)),
        ("alerts.mine", {"event": "x", "match": "A=b"}, Alert(event="x", match=("A=b",))),
        ("notify.mine", {}, Notify()),
        ("clips.mine", {"vimeo": "albums/12"}, Clips(vimeo="albums/12")),
    ],
)
def test_what_is_whole_is_taken(tmp_path: Path, table: str, keys: dict[str, Any], expected: object) -> None:
    group, _, name = table.partition(".")
    assert getattr(load(tmp_path, document_of(table, keys)), group)[name] == expected
