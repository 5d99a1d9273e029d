"""Random faults, one after the other; each round must end with the right picture, and nothing may grow.

LIVEKEEP_SOAK_ROUNDS sets their number (`tests/run --soak`: 200), LIVEKEEP_SOAK_SEED repeats a run, LIVEKEEP_SOAK_SUITE sets the
release.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.machine import root
from tests.machine.screen import DISPLAY, ERROR_SCREEN, PLAYER, POLLER, UNITS, Screen

ROUNDS = int(os.environ.get("LIVEKEEP_SOAK_ROUNDS", "12"))
SEED = int(os.environ.get("LIVEKEEP_SOAK_SEED", "0")) or random.randrange(1, 10**9)
SUITE = cast(root.Suite, os.environ.get("LIVEKEEP_SOAK_SUITE", "trixie"))

# The restarts that the policy allows before it gives the unit up, and the healthy time after which they are forgotten.
STARTS_ALLOWED = 5
FORGOTTEN_AFTER_SECONDS = 310.0

API_FAULTS = ("500", "503", "hang", "reset", "garbage", "html200", "429", "401", "403", "404", "deep_json", "redirect_loop")
BAD_CONFIG = "/etc/livekeep/livekeep.d/90-bad.toml"
RIGHT_PICTURE_SECONDS = 90.0
# A process reaches its working size in its first rounds; with fewer samples, growth is undecided.
WARM_UP_SAMPLES = 8
LEAST_SAMPLES = 20
MEGABYTES_ALLOWED = {PLAYER: 2, POLLER: 4, DISPLAY: 24}
DESCRIPTORS_ALLOWED = 3


@dataclass
class Budget:
    """How often each unit may still be restarted."""

    starts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    last: dict[str, float] = field(default_factory=lambda: dict.fromkeys(UNITS, 0.0))

    def allows(self, unit: str) -> bool:
        """Whether the policy allows one more start."""
        if time.monotonic() - self.last[unit] > FORGOTTEN_AFTER_SECONDS:
            self.starts[unit] = 0
        return self.starts[unit] < STARTS_ALLOWED

    def spend(self, unit: str) -> None:
        """Count one more start."""
        self.starts[unit] += 1
        self.last[unit] = time.monotonic()


@dataclass
class Growth:
    """Memory and descriptors of every process, sampled on the holding picture."""

    samples: dict[tuple[str, int], list[tuple[float, int]]] = field(default_factory=dict)

    def sample(self, screen: Screen) -> None:
        """One more sample of each unit."""
        for unit in UNITS:
            pid = screen.main_pid(unit)
            self.samples.setdefault((unit, pid), []).append((screen.memory_megabytes(unit), screen.descriptors(unit)))

    def grown(self) -> list[str]:
        """Processes whose last samples exceed their first ones."""
        found = []
        for (unit, pid), samples in self.samples.items():
            if len(samples) < LEAST_SAMPLES:
                continue
            warm = samples[WARM_UP_SAMPLES:]
            third = len(warm) // 3
            first, last = warm[:third], warm[-third:]
            memory = statistics.median(s[0] for s in last) - statistics.median(s[0] for s in first)
            files = statistics.median(s[1] for s in last) - statistics.median(s[1] for s in first)
            if memory > MEGABYTES_ALLOWED[unit] or files > DESCRIPTORS_ALLOWED:
                found.append(f"{unit} ({pid}): {memory:+.1f} MB, {files:+.0f} files over {len(samples)} samples")
        return found


@pytest.fixture(scope="module")
def room() -> Iterator[Screen]:
    """One release is enough for this: the other modules run on both."""
    with Screen(SUITE, kept=True) as screen:
        screen.shows("holding", within=60)
        yield screen


def hurt_unit(screen: Screen, chance: random.Random, budget: Budget) -> str:
    """Kill, stop or restart a unit that may still be restarted; do nothing if there is none."""
    units = [unit for unit in UNITS if budget.allows(unit)]
    if not units:
        return hurt_stream(screen, chance, budget)
    unit, way = chance.choice(units), chance.choice(("SIGKILL", "SIGSTOP", "SIGSEGV", "restart"))
    old = screen.main_pid(unit)
    budget.spend(unit)
    if way == "restart":
        screen.machine.systemctl("restart", unit)
    else:
        screen.signal(unit, signal.Signals[way])
    screen.is_renewed(unit, old, within=60)
    return f"{way} {unit}"


def hurt_stream(screen: Screen, chance: random.Random, budget: Budget) -> str:
    """The stream stands still, fails or ends for some seconds."""
    ways: dict[str, Callable[[], None]] = {
        "stall": screen.live.stall,
        "404": lambda: screen.live.answer(404),
        "hang": screen.live.hang,
        "reset": screen.live.reset,
        "end": screen.live.end,
        "restart": screen.live.restart,
    }
    way = chance.choice(sorted(ways))
    ways[way]()
    time.sleep(chance.uniform(1, 12))
    return f"stream: {way}"


def hurt_api(screen: Screen, chance: random.Random, budget: Budget) -> str:
    """The API misbehaves for some seconds."""
    name = chance.choice(API_FAULTS)
    screen.vimeo.fault(name, seconds=5)
    time.sleep(chance.uniform(1, 10))
    return f"API: {name}"


def reload(screen: Screen, chance: random.Random, budget: Budget) -> str:
    """A reload with a good or a bad configuration."""
    if chance.random() < 0.5:
        screen.configure({"screen": {"slideshow_seconds": chance.uniform(5, 20)}})
        return "reload: good"
    screen.machine.write(BAD_CONFIG, chance.choice(("[poller\n", "[screen]\nvolume = 'loud'\n", "[nonsense]\n")))
    failed = screen.machine.systemctl("reload", PLAYER, POLLER, check=False).returncode
    screen.machine.run(["rm", BAD_CONFIG])
    assert failed
    return "reload: bad"


def play_round(screen: Screen, chance: random.Random, budget: Budget) -> str:
    """One fault while idle or playing, then back to healthy: the right picture must be shown."""
    playing = chance.random() < 0.6
    if playing:
        screen.goes_live(RIGHT_PICTURE_SECONDS)
    hurt = chance.choice((hurt_unit, hurt_unit, hurt_stream, hurt_api, reload))
    told = hurt(screen, chance, budget)
    screen.vimeo.ok()
    screen.live.restart() if told == "stream: end" else screen.live.resume()
    if playing:
        screen.moves(RIGHT_PICTURE_SECONDS)
        screen.vimeo.go_off()
    screen.shows("holding", RIGHT_PICTURE_SECONDS)
    active = screen.machine.systemctl("is-active", *UNITS, ERROR_SCREEN, check=False).stdout.split()
    assert active == ["active"] * 3 + ["inactive"], screen.report()
    return f"{'playing' if playing else 'idle'}, {told}"


def test_random_faults(room: Screen) -> None:
    """Whatever happens, the right picture returns, and nothing grows."""
    chance, budget, growth = random.Random(SEED), Budget(), Growth()
    print(f"\n{ROUNDS} rounds on {SUITE}, LIVEKEEP_SOAK_SEED={SEED}", flush=True)
    room.forgive()
    for number in range(1, ROUNDS + 1):
        began = time.monotonic()
        try:
            told = play_round(room, chance, budget)
        except AssertionError as error:
            raise AssertionError(f"round {number} of seed {SEED}: {error}") from error
        growth.sample(room)
        print(f"{number:3d}  {time.monotonic() - began:5.1f} s  {told}", flush=True)
    grown = growth.grown()
    assert not grown, "; ".join(grown)
