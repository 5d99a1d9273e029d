"""Figures of channels, from what workers and hook write; stopped, stuck and broken ones, and what a label may never hold."""

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from livekeep.core import channels
from livekeep.core.channels import ChannelState, Publishing
from livekeep.core.probe_results import Showing, YoutubeResult, YoutubeVideo
from livekeep.exporter import channels as metrics_of_channels
from livekeep.exporter import screen
from livekeep.exporter.channels import PUBLISHING
from livekeep.exporter.metrics import CHANNELS
from livekeep.exporter.registry import registry_of
from livekeep.exporter.states import States
from tests.exporter.full_states import CHANNEL, END, RUN, Figures, collect, intend, present, write, write_channel


class Machine:
    """A machine with channels alone."""

    def __init__(self, root: Path) -> None:
        self.run, self.kept = root / "run", root / "kept"
        self.run.mkdir()
        self.states = States(self.run, self.kept)

    def faulty(self) -> tuple[Figures, str]:
        """The samples before the fault, and the fault."""
        found, fault = collect(self.states, metrics_of_channels.collect)
        return {name.removeprefix("channel_"): value for name, value in found.items()}, fault

    def collect(self) -> Figures:
        found, fault = self.faulty()
        assert not fault
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def names(found: Figures) -> set[str]:
    return {name.partition(" ")[0] for name in found}


@pytest.mark.parametrize("publishing", PUBLISHING)
def test_one_state_at_a_time(machine: Machine, publishing: Publishing) -> None:
    write_channel(replace(CHANNEL, publishing=publishing), machine.run)
    found = machine.collect()
    assert present(found, "state") == [publishing]
    assert found["on_air main"] == (publishing == "on-air")


@pytest.mark.parametrize(("silent", "on_air"), [(0.5, 1), (6.0, 0), (None, 0)])
def test_on_air_is_what_the_ingest_acknowledges(machine: Machine, silent: float | None, on_air: int) -> None:
    write_channel(CHANNEL, machine.run, silent_seconds=silent)
    assert machine.collect()["on_air main"] == on_air


def test_what_is_not_known_has_no_series(machine: Machine) -> None:
    write_channel(ChannelState(channel="main"), machine.run, silent_seconds=None)
    missing = {name.removeprefix("livekeep_channel_") for name in CHANNELS} - names(machine.collect())
    assert missing == {
        "connected_since_timestamp_seconds", "last_acknowledged_timestamp_seconds", "speed_ratio", "last_end_timestamp_seconds",
        "last_end_info", "youtube_live", "youtube_viewers",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("showing", "viewers", "told"),
    [
        ("live", None, {"youtube_live main": 1}),
        ("upcoming", None, {"youtube_live main": 0}),
        ("", None, {}),
    ],
)
def test_what_youtube_shows(machine: Machine, showing: Showing, viewers: int | None, told: dict[str, float]) -> None:
    write_channel(CHANNEL, machine.run)
    other = YoutubeVideo("other", "AAAAAAAAAAA", "live", viewers=3)
    findings = YoutubeResult(run=RUN, videos=(other, YoutubeVideo("main", "dQw4w9WgXcQ", showing, viewers=viewers)))
    write(findings, machine.run)
    assert {key: value for key, value in machine.collect().items() if key.startswith("youtube")} == told
    write(findings, machine.run, seconds_ago=211)
    assert not [key for key in machine.collect() if key.startswith("youtube")], "the result of a silent probe does not count"
    (machine.run / "probe-youtube/state.json").write_text("{")
    assert machine.collect()["on_air main"] == 1


def test_one_that_is_stopped_on_purpose_has_no_figures(machine: Machine) -> None:
    assert machine.collect() == {}
    write_channel(CHANNEL, machine.run)
    write_channel(END, machine.run)
    assert machine.collect()["intended main"] == 0
    (machine.run / "worker@main/state.json").unlink()
    assert machine.collect() == {}


def test_one_that_is_meant_to_be_on_air_and_is_not(machine: Machine) -> None:
    intend("main", machine.kept)
    assert machine.collect() == {"intended main": 1, "on_air main": 0}
    write_channel(END, machine.run)
    assert names(machine.collect()) == {"intended", "on_air", "last_end_timestamp_seconds", "last_end_info"}


def test_a_stuck_worker_is_not_on_air_and_a_fault_and_costs_nobody_else_s_figures(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run, seconds_ago=25)
    write_channel(replace(CHANNEL, channel="other"), machine.run)
    found, fault = machine.faulty()
    assert fault.startswith("worker@main/state.json: is 2")
    assert {key for key in found if "main" in key} == {"intended main", "on_air main"}
    assert (found["on_air main"], found["on_air other"], found["items_known other"]) == (0, 1, 50)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"file": "state.json", "version": 99}'])
def test_a_broken_state_is_a_fault(machine: Machine, content: str) -> None:
    write_channel(CHANNEL, machine.run)
    (machine.run / "worker@main/state.json").write_text(content)
    found, fault = machine.faulty()
    assert found == {"intended main": 0, "on_air main": 0}
    assert "worker@main/state.json" in fault


def test_a_state_of_another_channel_is_a_fault(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run)
    (machine.run / "worker@main").rename(machine.run / "worker@copied")
    found, fault = machine.faulty()
    assert "is of another channel" in fault
    assert {key.split()[1] for key in found} == {"copied"}


def test_channels_that_come_and_go_leave_nothing_behind(machine: Machine) -> None:
    for number in range(50):
        name = f"c{number}"
        write_channel(replace(CHANNEL, channel=name), machine.run)
        assert machine.collect()[f"on_air {name}"] == 1
        (channels.folder_of(name, machine.run) / "state.json").unlink()
    assert machine.collect() == {}
    assert not machine.states._cache


def test_the_verdicts_of_screen_channel_and_machine(machine: Machine) -> None:
    write_channel(CHANNEL, machine.run)

    def levels() -> dict[str, list[str]]:
        found, fault = collect(machine.states, screen.health)
        assert not fault
        sets = sorted({key.rpartition(" ")[0] for key in found})
        return {it: present(found, it) for it in sets}

    assert levels() == {"channel_health_state main": ["ok"], "health_state": ["down"], "screen_health_state": ["down"]}
    (machine.kept / "install").mkdir(parents=True)
    (machine.kept / "install/without-screen").touch()
    assert levels() == {"channel_health_state main": ["ok"], "health_state": ["ok"]}
    write_channel(replace(CHANNEL, picture="slate"), machine.run)
    assert levels() == {"channel_health_state main": ["degraded"], "health_state": ["degraded"]}


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
    text = generate_latest(registry_of({"channels": lambda clock: metrics_of_channels.collect(machine.states, clock)})).decode()
    assert 'livekeep_channel_storage_success{channel="main"} 0.0' in text
    assert "made-up" not in text
    assert "Tuesday" not in text
