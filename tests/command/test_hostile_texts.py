"""What units, files' names and servers say reaches a terminal as text alone: no row that is not ours, no control sequence.

Each text of each state is hostile here, as a unit that an attacker has taken over could write it.
"""

import ast
import dataclasses
import itertools
import json
import os
import re
import shlex
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from livekeep.command.doctor import channels as doctor_channels
from livekeep.command.doctor import host
from livekeep.command.doctor.doctor_base import Surroundings
from livekeep.command.status import probe_text
from livekeep.core import channels, state
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import Channel, Config
from livekeep.core.probe_results import PROBES, Run, YoutubeResult
from livekeep.core.state import PlayerState, PollerState
from livekeep.status.health import Clock
from livekeep.system import terminal
from tests.command.air_box import CHANNELS
from tests.command.box import CONFIG, REPOSITORY, Box

FORGED = "sudo rm -rf /"
HOSTILE = (
    f"\x1b[2J\x1b]0;owned\x07ok\r\nDo  {FORGED}\u2028Do  {FORGED}\x85Do  {FORGED}\x0bDo  {FORGED}"
    "\u202e\u2066\u200f\ud800\x9b31m\x7f"
)
UNSAFE = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def hostile(kind: Any) -> Any:
    """A value of a state's type, with the hostile text wherever a text may stand, and one entry in each list and mapping."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = state.hints_of(typing.cast(type, kind))
        return typing.cast(type, kind)(**{name: hostile(hint) for name, hint in hints.items()})
    if origin is Literal:
        return next(value for value in reversed(arguments) if value)
    if origin is tuple:
        return (hostile(arguments[0]),)
    if origin is Mapping:
        return {HOSTILE: hostile(arguments[1])}
    if arguments and kind is not state.Signed:
        return hostile(arguments[0])
    return {str: HOSTILE, bool: True, int: 7}.get(kind, 7.0)


@pytest.fixture
def attacked(box: Box) -> Box:
    box.configure(CONFIG + CHANNELS)
    box.start_units()
    box.unit("livekeep-worker@main.service")
    for kind in (PollerState, PlayerState, *PROBES.values()):
        box.write(hostile(kind))
    box.write(YoutubeResult(run=hostile(Run), videos=(dataclasses.replace(hostile(YoutubeResult).videos[0], channel="main"),)))
    worker = channels.folder_of("main", box.root / "run/livekeep")
    worker.mkdir()
    for kind in (ChannelState, ChannelEnd):
        state.write(state.stamped(hostile(kind)), worker)
    box.file("var/lib/livekeep/channels/main.on-air", "")
    box.file("var/lib/livekeep/channels/broken.json", json.dumps({HOSTILE: 1, "media": HOSTILE}))
    return box


@pytest.mark.parametrize(
    "line",
    ["health", "air status main", "air start main", "air skip", "check-config", "select", "select nothing"]
    + [f"{line}{option}" for line in ("status", "air status", "probe", "doctor") for option in ("", " --json")],
)
def test_a_text_is_shown_as_text(attacked: Box, line: str) -> None:
    done = attacked.run(*line.split())
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert UNSAFE.findall(said) == []
    assert [row for row in said.splitlines() if re.match(rf"\W*(Do\W+)?{re.escape(FORGED)}", row)] == []
    if line.endswith("--json"):
        json.loads(done.stdout)


def test_the_hostile_text_is_there_to_be_shown(attacked: Box) -> None:
    """Escaped, so that a person sees what somebody tried."""
    for line in ("status", "air status", "probe"):
        assert r"\x1b[2J\x1b]0;owned\x07ok\r\nDo  sudo rm -rf /\u2028Do" in attacked.run(*line.split()).stdout
    said = attacked.run("status", "--json").stdout
    assert json.loads(said)["poller"]["reason"] == HOSTILE
    assert r"\u202e" in said


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_s_texts_are_shown_as_text(attacked: Box, name: str) -> None:
    found = state.read(PROBES[name], attacked.root / "run/livekeep")
    said = probe_text.report(name, found, Clock(2e9, 1e6))  # type: ignore[arg-type]
    assert UNSAFE.findall(said) == []
    assert [row for row in said.splitlines() if row.startswith("Do") and row.split()[1:3] == ["sudo", "rm"]] == []
    assert r"ok\r\nDo  sudo rm -rf /" in said


def test_colours_are_ours_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal a block has colours; a text in it has none, and no other sequence passes at all."""
    terminal.say_block(f"\x1b[32mok\x1b[0m\n{terminal.table([('Do', chr(27) + '[31mred')])}\n\x1b[8mhidden\x1b[0;1m")
    assert capsys.readouterr().out == "\x1b[32mok\x1b[0m\nDo  \\x1b[31mred\n\\x1b[8mhidden\\x1b[0;1m\n"


def test_everything_that_the_command_prints_passes_the_terminal() -> None:
    """A print of its own would let a text through."""
    found = [
        f"{file.name}:{node.lineno}"
        for file in sorted((REPOSITORY / "lib/livekeep/command").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write", "input")
    ]
    # The progress bar escapes its text itself.
    assert [place for place in found if not place.startswith("progress.py:")] == []


# Commands that are advised


ODD = '/srv/it\'s $(touch owned); "a"'
"""A folder's name, as an uploader may choose it."""


def words_of(advice: str, command: str) -> list[str]:
    """The words of `command` in an advice, as a shell splits them."""
    lexer = shlex.shlex(advice[advice.index(f"{command} ") :], posix=True, punctuation_chars=";,")
    lexer.whitespace_split = True
    return list(itertools.takewhile(lambda word: not set(word) <= set(";,"), lexer))


def test_a_folder_s_name_is_one_word_of_the_advised_command(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, Config())
    channel = Channel(media=ODD)
    ((verdict, _finding, advice),) = doctor_channels.media_faults(around, "main", channel)
    assert verdict == "fail"
    assert words_of(advice, "mkdir") == ["mkdir", "-p", ODD]


def test_a_home_s_name_is_one_word_of_the_advised_command(tmp_path: Path) -> None:
    home = tmp_path / "home/it's $(touch owned)"
    (home / ".config/autostart").mkdir(parents=True)
    entry = home / ".config/autostart/streamreturn.desktop"
    entry.write_text("[Desktop Entry]\n")
    ((_verdict, _finding, advice),) = host.autostarts(Surroundings(tmp_path, Config()))
    assert words_of(advice, "mv") == ["mv", "-T", str(entry), f"{entry}.disabled"]


@pytest.mark.parametrize("unfit", ["FIFO", "link to an endless device"])
def test_the_doctor_waits_for_nothing_in_a_home(tmp_path: Path, unfit: str) -> None:
    """It runs as root, and reads what the users' desktops start."""
    home = tmp_path / "home/anna/.config/autostart"
    home.mkdir(parents=True)
    if unfit == "FIFO":
        os.mkfifo(home / "streamreturn.desktop")
    else:
        (home / "streamreturn.desktop").symlink_to("/dev/zero")
    assert list(host.autostarts(Surroundings(tmp_path, Config()))) == []


def test_every_path_in_an_advised_command_is_quoted() -> None:
    """A command for root with a bare path in it would run what the path's name says."""
    command = re.compile(
        r"(?:sudo |; |: )?\b(?:chmod|chown|chgrp|mkdir|namei|mv|cp|rm|cat|ls)\b[^{}]*\{(?!quote\(|name\})[^}]*\}"
    )
    found = [
        f"{file.name}:{number}: {line.strip()}"
        for file in sorted((REPOSITORY / "lib/livekeep").rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"\bf[\"']", line) and command.search(line)
    ]
    assert found == []
