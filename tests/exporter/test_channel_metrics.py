"""Figures of channels, from what workers and hook write; stopped, stuck and broken ones, and what a label may never hold."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from livekeep.core import channels
from livekeep.core.channels import ChannelState, Publishing
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import Showing, YoutubeResult, YoutubeVideo
from livekeep.exporter.channels import PUBLISHING, Channels
from livekeep.exporter.metrics import CHANNELS, Sample
from livekeep.exporter.registry import registry_of
from livekeep.exporter.screen import Verdict
from livekeep.exporter.states import States
from tests.exporter.full_states import CHANNEL, END, FINDINGS, NOW, RUN, intend, write, write_channel

Figures = dict[tuple[str, ...], float]


class Machine:
    """A machine with channels alone."""

    def __init__(self, root: Path) -> None:
        self.run, self.kept = root / "run", root / "kept"
        self.run.mkdir()
        self.states = States(self.run, self.kept)
        self.collector = Channels(self.states)

    def collect(self) -> Figures:
        return figures(self.collector.collect(time.time()))

    def faulty(self) -> tuple[Figures, str]:
        """The figures before the fault, and the fault."""
        found: list[Sample] = []
        with pytest.raises(TemporaryError) as fault:
            found.extend(self.collector.collect(time.time()))
        return figures(found), str(fault.value)


def figures(samples: Iterable[Sample]) -> Figures:
    """By name without its beginning, and labels; that no series comes twice is part of it."""
    found = list(samples)
    assert len({(name, labels) for name, labels, _value in found}) == len(found)
    return {(name.removeprefix("livekeep_channel_"), *labels): float(value) for name, labels, value in found}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_all_that_a_worker_says(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run)
    write_channel(END, machine.run)
    write(FINDINGS["youtube"], machine.run)
    intend("main", machine.kept)
    found = machine.collect()
    expected = {
        "intended": 1, "on_air": 1, "connected_since_timestamp_seconds": NOW - 3600, "on_backup": 1, "connections_total": 3,
        "refusals_total": 2, "retries": 0, "acknowledged_bytes_total": 1.4e9, "items_known": 50, "slate_active": 0,
        "slates_total": 4, "slate_seconds_total": 12.5, "storage_success": 1, "timeline_seconds_total": 7190, "speed_ratio": 1,
        "drift_seconds": -0.02, "last_end_timestamp_seconds": NOW - 7201,
        "youtube_live": 1, "youtube_viewers": 12,
    }  # fmt: skip
    assert {name: found[name, "main"] for name in expected} == expected
    assert found["last_acknowledged_timestamp_seconds", "main"] == pytest.approx(time.time() - 0.5, abs=60)
    assert {key[2]: value for key, value in found.items() if key[0] == "items_total"} == {
        "played": 7, "short": 1, "failed": 2, "skipped": 3,
    }  # fmt: skip
    assert found["last_end_info", "main", "signal", "KILL"] == 1
    assert {f"livekeep_channel_{key[0]}" for key in found} == set(CHANNELS), "each family has a source"


@pytest.mark.parametrize("publishing", PUBLISHING)
def test_one_state_at_a_time(machine: Machine, publishing: Publishing) -> None:
    write_channel(replace(CHANNEL, publishing=publishing), machine.run)
    found = machine.collect()
    assert [key[2] for key, value in found.items() if key[0] == "state" and value] == [publishing]
    assert sum(key[0] == "state" for key in found) == len(PUBLISHING)
    assert found["on_air", "main"] == (publishing == "on-air")


@pytest.mark.parametrize(("silent", "on_air"), [(0.5, 1), (6.0, 0), (None, 0)])
def test_on_air_is_what_the_ingest_acknowledges(machine: Machine, silent: float | None, on_air: int) -> None:
    write_channel(CHANNEL, machine.run, silent_seconds=silent)
    assert machine.collect()["on_air", "main"] == on_air


def test_what_is_not_known_has_no_series(machine: Machine) -> None:
    write_channel(ChannelState(channel="main"), machine.run, silent_seconds=None)
    found = {key[0] for key in machine.collect()}
    missing = {name.removeprefix("livekeep_channel_") for name in CHANNELS} - found
    assert missing == {
        "connected_since_timestamp_seconds", "last_acknowledged_timestamp_seconds", "speed_ratio", "last_end_timestamp_seconds",
        "last_end_info", "youtube_live", "youtube_viewers",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("showing", "viewers", "told"),
    [
        ("live", None, {"youtube_live": 1}),
        ("upcoming", None, {"youtube_live": 0}),
        ("missing", None, {"youtube_live": 0}),
        ("ended", None, {"youtube_live": 0}),
        ("", None, {}),
    ],
)
def test_what_youtube_shows(machine: Machine, showing: Showing, viewers: int | None, told: dict[str, float]) -> None:
    write_channel(CHANNEL, machine.run)
    other = YoutubeVideo("other", "AAAAAAAAAAA", "live", viewers=3)
    findings = YoutubeResult(run=RUN, videos=(other, YoutubeVideo("main", "dQw4w9WgXcQ", showing, viewers=viewers)))
    write(findings, machine.run)
    assert {key[0]: value for key, value in machine.collect().items() if key[0].startswith("youtube")} == told
    write(findings, machine.run, seconds_ago=211)
    assert not [key for key in machine.collect() if key[0].startswith("youtube")], "what a silent probe said is not known now"
    (machine.run / "probe-youtube/state.json").write_text("{")
    assert machine.collect()["on_air", "main"] == 1


def test_one_that_is_stopped_on_purpose_has_no_figures(machine: Machine) -> None:
    assert machine.collect() == {}
    write_channel(CHANNEL, machine.run)
    write_channel(END, machine.run)
    assert machine.collect()["intended", "main"] == 0
    (machine.run / "worker@main/state.json").unlink()
    assert machine.collect() == {}


def test_one_that_is_meant_to_be_on_air_and_is_not(machine: Machine) -> None:
    intend("main", machine.kept)
    assert machine.collect() == {("intended", "main"): 1, ("on_air", "main"): 0}
    write_channel(END, machine.run)
    told = [key[0] for key in machine.collect()]
    assert told == ["intended", "on_air", "last_end_timestamp_seconds", "last_end_info"]


def test_a_stuck_worker_is_not_on_air_and_a_fault_and_costs_nobody_else_s_figures(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run, seconds_ago=11)
    write_channel(replace(CHANNEL, channel="other"), machine.run)
    found, fault = machine.faulty()
    assert fault.startswith("worker@main/state.json: is 11 s old")
    assert {key for key in found if "main" in key} == {("intended", "main"), ("on_air", "main")}
    assert (found["on_air", "main"], found["on_air", "other"], found["items_known", "other"]) == (0, 1, 50)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"file": "state.json", "version": 99}'])
def test_a_broken_state_is_a_fault(machine: Machine, content: str) -> None:
    write_channel(CHANNEL, machine.run)
    (machine.run / "worker@main/state.json").write_text(content)
    found, fault = machine.faulty()
    assert found == {("intended", "main"): 0, ("on_air", "main"): 0}
    assert "worker@main/state.json" in fault


def test_a_state_of_another_channel_is_a_fault(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run)
    (machine.run / "worker@main").rename(machine.run / "worker@copied")
    found, fault = machine.faulty()
    assert "is of another channel" in fault
    assert {key[1] for key in found} == {"copied"}


def test_states_are_read_anew_when_they_change_and_only_then(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run)
    assert machine.collect()["items_total", "main", "played"] == 7
    first = machine.states.channels()["main"].worker
    assert machine.states.channels()["main"].worker is first
    write_channel(replace(CHANNEL, items_played=8), machine.run)
    assert machine.collect()["items_total", "main", "played"] == 8
    assert machine.states.channels()["main"].worker is not first


def test_channels_that_come_and_go_leave_nothing_behind(machine: Machine) -> None:
    for number in range(50):
        name = f"c{number}"
        write_channel(replace(CHANNEL, channel=name), machine.run)
        assert machine.collect()["on_air", name] == 1
        (channels.folder_of(name, machine.run) / "state.json").unlink()
    assert machine.collect() == {}
    assert len(machine.states._of_channels) == 0


def test_the_verdicts_of_screen_channel_and_machine(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run)
    verdict = Verdict(machine.states)

    def levels() -> dict[tuple[str, ...], str]:
        samples = [(name.removeprefix("livekeep_"), labels) for name, labels, value in verdict.collect(time.time()) if value]
        return {(name, *labels[:-1]): labels[-1] for name, labels in samples}

    assert levels() == {("health_state",): "down", ("screen_health_state",): "down", ("channel_health_state", "main"): "ok"}
    (machine.kept / "install").mkdir(parents=True)
    (machine.kept / "install/without-screen").touch()
    assert levels() == {("health_state",): "ok", ("channel_health_state", "main"): "ok"}
    write_channel(replace(CHANNEL, picture="slate"), machine.run)
    assert levels() == {("health_state",): "degraded", ("channel_health_state", "main"): "degraded"}


def test_a_scrape_reads_each_channel_once(machine: Machine) -> None:
    """Verdict and figures are of the same moment."""
    write_channel(CHANNEL, machine.run)
    registry = registry_of({"health": Verdict(machine.states), "channels": machine.collector})
    for played in (7, 8, 9):
        write_channel(replace(CHANNEL, items_played=played), machine.run)
        text = generate_latest(registry).decode()
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert values["livekeep_channel_items_total", "main", "played"] == played
        assert values["livekeep_exporter_collector_success", "channels"] == 1


def test_no_name_reason_or_address_is_in_the_page(machine: Machine) -> None:
    secret = replace(
        CHANNEL,
        reason="made-up-reason",
        advice="made-up-advice",
        slate_reason="made-up-slate",
        storage_problem="made-up-storage",
        error_type="made-up-type",
        ingest="made-up-host:1935",
    )
    write_channel(secret, machine.run)
    text = generate_latest(registry_of({"channels": machine.collector})).decode()
    assert 'livekeep_channel_storage_success{channel="main"} 0.0' in text
    assert "made-up" not in text
    assert "Tuesday" not in text
