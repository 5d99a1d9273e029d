"""The host probe under systemd: its timer, its sandbox, a full or read-only card, and the operator's view."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.machine.health_part import PROBES
from tests.machine.screen import Screen

SERVICE = "livekeep-probe-host.service"
FOLDER = "/var/lib/livekeep/probe-host"
STATE = "/run/livekeep/probe-host/state.json"
OTHERS = tuple(name for name in PROBES if name != "host")


def findings(screen: Screen) -> dict[str, Any]:
    """The results of a probe run that starts now."""
    screen.machine.systemctl("start", SERVICE)
    document: dict[str, Any] = json.loads(screen.machine.read(STATE))
    return document


def probe(screen: Screen, *arguments: str) -> tuple[int, str]:
    done = screen.machine.run(["livekeep", "probe", *arguments], check=False)
    return done.returncode, done.stdout + done.stderr


@contextlib.contextmanager
def mounted(screen: Screen, options: str) -> Iterator[None]:
    """A small separate file system at the checked path, owned as systemd created the folder."""
    owner = "uid=$(id -u livekeep-probe-host),gid=$(getent group livekeep | cut -d: -f3),mode=0750"
    screen.machine.run(f"mount -t tmpfs -o {options},{owner} card {FOLDER}")
    try:
        yield
    finally:
        screen.machine.run(["umount", FOLDER])


@pytest.fixture
def alone(screen: Screen) -> Iterator[Screen]:
    """Without the other probes' results: the room's network does not matter here."""
    timers = [f"livekeep-probe-{name}.timer" for name in OTHERS]
    screen.machine.systemctl("stop", *timers)
    for name in OTHERS:
        screen.machine.systemctl("clean", "--what=runtime", f"livekeep-probe-{name}.service")
    yield screen
    screen.machine.systemctl("start", *timers)


def test_it_finds_what_the_machine_shows_and_leaves_nothing(screen: Screen) -> None:
    found = findings(screen)
    assert found["run"]["verdict"] in ("ok", "warn")
    # A container has neither the board's firmware nor its own card.
    assert (found["throttled"], found["under_voltage_events"], found["card_is_good"]) == (None, None, None)
    assert found["card_problem"].endswith("in memory, not on a card")
    assert screen.machine.run(["ls", "-A", FOLDER]).stdout == ""
    owner = screen.machine.run(["stat", "--format=%U %G %a", STATE, FOLDER]).stdout.splitlines()
    assert owner == ["livekeep-probe-host livekeep 640", "livekeep-probe-host livekeep 750"]
    assert screen.machine.unit_property(SERVICE, "Result") == "success"


def test_a_door_that_is_none_is_no_fault(screen: Screen) -> None:
    """Nodes with the firmware's names that do not respond, and may or may not be opened."""
    screen.machine.run("for door in vcio vcio_gencmd; do mknod -m 660 /dev/$door c 1 3; done")
    try:
        for group in ("video", "root"):
            screen.machine.run(["chgrp", group, "/dev/vcio", "/dev/vcio_gencmd"])
            assert findings(screen)["throttled"] is None
            assert screen.machine.unit_property(SERVICE, "Result") == "success"
    finally:
        screen.machine.run("rm /dev/vcio /dev/vcio_gencmd")


@pytest.mark.parametrize(
    ("options", "sentence", "is_good"),
    [
        ("size=16k", "the card is full: nothing can be saved", None),
        ("ro", "the card is mounted read-only: nothing can be saved", False),
    ],
)
def test_a_card_that_takes_nothing_is_told_everywhere(alone: Screen, options: str, sentence: str, is_good: bool | None) -> None:
    screen = alone
    # The previous result is forgotten: the next run checks at once.
    screen.machine.systemctl("clean", "--what=runtime", SERVICE)
    with mounted(screen, options):
        code, said = probe(screen, "host")
        assert code == 1
        assert said.startswith(f"host: fail: {sentence}")
        assert json.loads(screen.machine.read(STATE))["card_is_good"] is is_good
        assert sentence in screen.livekeep("status")
        health = screen.machine.run(["livekeep", "health"], check=False)
        assert (health.returncode, sentence in health.stdout) == (1, True), health.stdout
        event = screen.machine.journal_entries(SERVICE, "LIVEKEEP_EVENT=probe-verdict-changed")[-1]
        assert (event["LIVEKEEP_PROBE"], event["LIVEKEEP_VERDICT"]) == ("host", "fail")
        # While it fails, every run checks it again.
        first = findings(screen)["card_checked_at"]
        assert findings(screen)["card_checked_at"] > first
    assert findings(screen)["run"]["verdict"] in ("ok", "warn")
    health = screen.machine.run(["livekeep", "health"], check=False)
    assert health.returncode == 0, health.stdout


def test_one_that_is_off_is_run_by_hand_and_not_kept(screen: Screen) -> None:
    screen.write_config({"probes.host": {"enabled": False}})
    code, said = probe(screen, "host")
    assert (code, said.startswith("host: ")) == (0, True)
    assert not screen.machine.exists(STATE)
    screen.write_config()
    findings(screen)
