"""livekeep-air: what was on air before a reboot is on air after it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core import channels
from tests.air.running_controller import Machine, machine
from tests.outside import PATIENCE_SECONDS, PROJECT

KEYS = {"media": "/srv/lectures", "ingest_urls": ["rtmps://ingest.example/live2"]}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


def boot(at: Machine) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", PROJECT / "bin/livekeep-air"]
    return subprocess.run(command, env=at.environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_what_was_meant_to_be_on_air_is_started(at: Machine) -> None:
    channels.save("lectures", KEYS, at.directory)
    channels.save("quiet", KEYS, at.directory)
    for name in ("main", "lectures", "forgotten"):
        channels.intend(name, at.directory)
    at.tell(outcomes={"livekeep-worker@main.service": {"seconds": None}})
    done = boot(at)
    assert done.returncode == 0
    starts = ["start livekeep-worker@lectures.service inactive", "start livekeep-worker@main.service inactive"]
    assert at.calls() == starts, "it must not wait for the first"
    warning, *started = done.stderr.splitlines()
    assert warning.startswith('<4>channel "forgotten" is meant to be on air, but it is not configured')
    assert [line[:3] for line in started] == ["<6>", "<6>"]


def test_with_nothing_to_do_it_does_not_even_connect(at: Machine) -> None:
    at.bus.stop()
    done = boot(at)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_systemd_it_fails_and_is_tried_again(at: Machine) -> None:
    channels.intend("main", at.directory)
    at.bus.stop()
    done = boot(at)
    assert done.returncode == 1
    assert done.stderr.startswith("<3>the channels cannot be started: ")
    assert "Traceback" not in done.stderr


def test_a_refusal_does_not_keep_the_others_off_air(at: Machine) -> None:
    channels.save("lectures", KEYS, at.directory)
    for name in ("main", "lectures"):
        channels.intend(name, at.directory)
    at.tell(refuse="org.freedesktop.DBus.Error.AccessDenied")
    done = boot(at)
    assert done.returncode == 1
    assert len(at.calls()) == 2
    assert done.stderr.count("polkit refuses StartUnit") == 2
