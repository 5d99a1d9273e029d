"""A card image from power-on to the picture with nobody at a keyboard, and with its power cut at random moments.

LIVEKEEP_CUTS says how many cuts (50), LIVEKEEP_CUT_SEED repeats those of another run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machine import root
from tests.machine.room import toml
from tests.machine.vimeo import TOKEN, VimeoStandIn

from .box import API_PORT, CONFIG, LIVE_PORT, Box
from .card import CardMachine, PiCardMachine, build_card
from .stream import SmallStream

pytestmark = pytest.mark.nightly

SUITES = os.environ.get("LIVEKEEP_VM_SUITES", "trixie").split(",")
ARCHITECTURES = os.environ.get("LIVEKEEP_IMAGE_ARCHITECTURES", "amd64").split(",")
# It takes half an hour to make one for a Raspberry Pi.
CARDS = [card for card in (("amd64", ""), ("amd64", "--read-only"), ("arm64", "--read-only")) if card[0] in ARCHITECTURES]
CUTS = int(os.environ.get("LIVEKEEP_CUTS", "50"))
SETTINGS, TOKEN_FILE = "livekeep.toml", "livekeep-token.txt"
TAKEN = "/etc/livekeep/livekeep.d/50-card.toml"
# Emulated, and for a PC; nothing is promised for an emulated ARM.
PICTURE_SECONDS = 240.0
# Among other machines on the same processors, the cuts are about what is shown, not when.
PATIENCE_SECONDS = 900.0
# Replaces two files again and again, so that a cut comes amid it: one of many blocks, and the settings.
WRITER = f"""
while :; do
    dd if=/dev/urandom of=/var/lib/livekeep/new bs=64k count=8 conv=fsync; mv /var/lib/livekeep/new /var/lib/livekeep/written
    cp -p {TAKEN} {TAKEN}.new; sync; mv {TAKEN}.new {TAKEN}
done"""


@dataclass
class Setup:
    """A card in a machine that is off, and the box around it."""

    card: CardMachine
    box: Box
    say: Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints what was measured."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    return write


@contextlib.contextmanager
def inserted(image: Path, say: Callable[[str], None], kind: type[CardMachine] = CardMachine) -> Iterator[Setup]:
    """A copy of the image in a machine that is off."""
    with VimeoStandIn() as vimeo, SmallStream() as live, contextlib.ExitStack() as stack:
        card = kind(image, serve={API_PORT: vimeo.port, LIVE_PORT: live.port})
        stack.push(card)
        yield Setup(card, Box(card, vimeo, live), say)


def fill(card: CardMachine, word: str) -> None:
    """As a volunteer does with the card in a laptop; another `word` makes the settings other ones."""
    card.write_boot(SETTINGS, f"# {word}\n{toml(CONFIG)}".encode())
    card.write_boot(TOKEN_FILE, f"{TOKEN}\n".encode())


def shows_stream(setup: Setup, within: float = PICTURE_SECONDS) -> float:
    """Wait for the stream; seconds since power-on."""
    setup.box.shows("stream", within)
    return time.monotonic() - setup.card.started_monotonic


def contents(disk: Path, number: int) -> str:
    """What a partition contains, as a hash."""
    start, size = partition(disk, number)
    with disk.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(size)).hexdigest()


def partition(disk: Path, number: int) -> tuple[int, int]:
    """A partition's start and size in bytes."""
    table = subprocess.run(["sfdisk", "--dump", disk], capture_output=True, check=True, text=True).stdout
    line = next(line for line in table.splitlines() if line.startswith(f"{disk}{number} "))
    start, size = (int(field.split("=")[1]) for field in line.split(":", 1)[1].split(",")[:2])
    return start * 512, size * 512


def check_taken(setup: Setup, word: str) -> None:
    """The settings with this word are in force."""
    setup.card.run(f"grep -q '# {word}$' {TAKEN}")


def check_wiped(card: CardMachine) -> None:
    """The card in a laptop shows no token, nor do the blocks of its FAT partition."""
    names = [name.lower() for name in card.boot_files()]
    assert SETTINGS not in names and TOKEN_FILE not in names, names
    start, size = partition(card.disk, 1)
    with card.disk.open("rb") as file:
        file.seek(start)
        assert TOKEN.encode() not in file.read(size)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("architecture", "option"), CARDS)
def test_a_new_card_shows_the_stream_and_nobody_pressed_a_key(
    suite: root.Suite, architecture: str, option: str, say: Callable[[str], None]
) -> None:
    options = list(filter(None, [option]))
    kind, limit = (CardMachine, PICTURE_SECONDS) if architecture == "amd64" else (PiCardMachine, PATIENCE_SECONDS)
    with inserted(build_card(suite, *options, architecture=architecture), say, kind) as setup:
        card, box = setup.card, setup.box
        before = partition(card.disk, 3 if options else 2)
        fill(card, "first")
        card.start(limit)
        box.shows("holding", limit)
        holding = time.monotonic() - card.started_monotonic
        box.goes_live()
        seconds = shows_stream(setup, limit)
        card_name = f"{suite}, {architecture}, {option or 'writable'}"
        say(f"{card_name}: power-on to holding picture {holding:.0f} s, to stream {seconds:.0f} s")
        assert seconds <= limit
        check_taken(setup, "first")
        # The display keeps the console from the login.
        card.run("grep -q tty1 /etc/systemd/system/livekeep-display.service.d/60-screen.conf")
        assert card.wait_booted(limit) == "running", card.run("systemctl --failed --no-pager").stdout
        # Left alone, it recovers from a panic of its kernel too.
        card.run("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        card.wait_for(lambda: box.picture() != "stream", 60)
        box.shows("stream", limit)
        assert "Kernel panic" in card.console
        kinds = card.run("for folder in / /etc; do findmnt -n -o FSTYPE --target $folder; done").stdout.split()
        assert kinds == (["overlay", "overlay"] if options else ["ext4", "ext4"])
        card.run("systemctl poweroff", check=False)
        card.wait_for(card.is_off, 120)
        card.stop()
        check_wiped(card)
        after = partition(card.disk, 3 if options else 2)
        # Behind it growpart leaves room for another kind of partition table.
        assert 0 <= card.disk.stat().st_size - sum(after) < 1 << 20 < sum(after) - sum(before)


@pytest.mark.parametrize("suite", SUITES)
def test_a_card_whose_data_is_gone_shows_the_stream_all_the_same(suite: root.Suite, say: Callable[[str], None]) -> None:
    with inserted(build_card(suite, "--read-only"), say) as setup:
        start, size = partition(setup.card.disk, 3)
        with setup.card.disk.open("r+b") as file:
            file.seek(start)
            file.write(b"\xff" * size)
        setup.box.goes_live()
        fill(setup.card, "again")
        setup.card.start(PICTURE_SECONDS)
        shows_stream(setup)
        check_taken(setup, "again")


@pytest.mark.parametrize("suite", SUITES)
def test_power_cuts_at_random_moments(suite: root.Suite, say: Callable[[str], None]) -> None:
    """Each is followed by a boot to the stream, with the settings and the token that were on the card last."""
    seed = int(os.environ.get("LIVEKEEP_CUT_SEED", time.time_ns() % 10**6))
    say(f"{suite}: {CUTS} power cuts, LIVEKEEP_CUT_SEED={seed}")
    dice = random.Random(seed)
    with inserted(build_card(suite, "--read-only"), say) as setup:
        card = setup.card
        before = contents(card.disk, 2)
        setup.box.goes_live()
        word = "round-0"
        fill(card, word)
        card.start(PATIENCE_SECONDS)
        usual = shows_stream(setup, PATIENCE_SECONDS)
        begins, ends = (since_power_on(card, f"ExecMain{name}TimestampMonotonic") for name in ("Start", "Exit"))
        say(f"power-on to stream {usual:.0f} s; the card is taken over from {begins:.0f} to {ends:.0f} s")
        for number in range(1, CUTS + 1):
            kind = dice.choice(["boot", "taking over", "live", "writing"])
            if kind in ("boot", "taking over"):
                card.power_cut()
                if kind == "taking over":
                    word = f"round-{number}"
                    fill(card, word)
                moment = dice.uniform(1, usual + 5) if kind == "boot" else dice.uniform(begins - 1, ends + 1)
                card.power_on()
            else:
                moment = dice.uniform(0, 10)
                if kind == "writing":
                    card.run(f"nohup sh -c '{WRITER}' >/dev/null 2>&1 &")
            time.sleep(moment)
            card.power_cut()
            card.start(PATIENCE_SECONDS)
            seconds = shows_stream(setup, PATIENCE_SECONDS)
            # Rarely the kernel panics while it patches its own code (int3): most likely a race of the emulator's processors.
            panic = "; the kernel panicked and started again" if "Kernel panic" in card.console else ""
            say(f"cut {number}, {kind}, after {moment:.1f} s: stream {seconds:.0f} s after power-on{panic}")
            check_taken(setup, word)
        setup.box.moves()
        assert card.wait_booted(PATIENCE_SECONDS) == "running", card.run("systemctl --failed --no-pager").stdout
        card.power_cut()
        check_wiped(card)
        assert contents(card.disk, 2) == before, "something has written to the root"


def since_power_on(card: CardMachine, timestamp: str) -> float:
    """Seconds from power-on to this moment of livekeep-firstboot in the present boot."""
    moment = int(card.run(f"systemctl show --value --property={timestamp} livekeep-firstboot.service").stdout) / 1e6
    uptime = float(card.run("cut -d ' ' -f 1 /proc/uptime").stdout)
    return time.monotonic() - card.started_monotonic - uptime + moment
