"""When an alert begins, repeats and ends: the decisions, for simulated histories of a condition."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core.config.record import Alert
from livekeep.record.alerts import rules
from livekeep.record.alerts.rules import Clock, Ended, Standing, channels_of, decide, fits

RULE = Alert(kind="verdict", for_seconds=300.0, cooldown_seconds=600.0, repeat_seconds=7200.0)
START = 1_800_000_000.0


@dataclass
class Life:
    """One subject of a rule, whose condition is checked repeatedly."""

    rule: Alert
    clock: Clock = field(default_factory=lambda: Clock(START, 1000.0))
    standing: Standing = field(default_factory=Standing)
    ended: Ended | None = None
    reported: list[tuple[str, float]] = field(default_factory=list)
    """Each action and its time in steady seconds."""

    def check(self, is_bad: bool) -> None:
        decision = decide(self.rule, self.standing, is_bad, None if self.standing.is_open else self.ended, self.clock)
        if decision.action == "over":
            self.ended = Ended(self.clock.wall, self.standing.times)
        self.standing = decision.standing
        if decision.action in ("begin", "remind"):
            self.standing = replace(self.standing, announced_at=self.clock.wall)
        if decision.action:
            self.reported.append((decision.action, self.clock.steady))

    def pass_time(self, seconds: float) -> None:
        self.clock = Clock(self.clock.wall + seconds, self.clock.steady + seconds)

    def actions(self) -> list[str]:
        return [action for action, _at in self.reported]


def lived(rule: Alert, *stretches: tuple[bool, float], step: float = 5.0) -> Life:
    """A condition that holds, or not, for the given seconds each."""
    life = Life(rule)
    for is_bad, seconds in stretches:
        end = life.clock.steady + seconds
        while life.clock.steady < end:
            life.check(is_bad)
            life.pass_time(step)
    return life


def test_a_reminder_comes_after_each_repetition() -> None:
    life = lived(RULE, (True, 300 + 3 * 7200 + 10))
    assert life.actions() == ["begin", "remind", "remind", "remind"]


def test_what_comes_and_goes_is_reported_less_and_less() -> None:
    flapping = [(True, 60.0), (False, 120.0)] * 480
    life = lived(replace(RULE, for_seconds=0.0), *flapping)
    assert life.clock.steady - 1000 == 86400
    assert 4 <= life.actions().count("begin") <= 9
    assert life.standing.times >= 4 or (life.ended and life.ended.times >= 4)


@pytest.mark.parametrize("step", [-86400.0 * 365, 86400.0 * 365])
def test_a_clock_that_is_set_neither_begins_nor_ends_it(step: float) -> None:
    life = lived(RULE, (True, 100))
    life.clock = Clock(life.clock.wall + step, life.clock.steady)
    life.check(True)
    assert life.reported == []
    for _second in range(60):
        life.pass_time(5)
        life.check(True)
    assert life.actions() == ["begin"]
    life.clock = Clock(life.clock.wall - step, life.clock.steady)
    life.check(True)
    assert set(life.actions()) <= {"begin", "remind"}
    life.check(False)
    assert life.actions().count("over") == 0


@given(
    stretches=st.lists(st.tuples(st.booleans(), st.integers(1, 2000)), min_size=1, max_size=12),
    for_seconds=st.sampled_from([0.0, 60.0, 300.0]),
    cooldown=st.sampled_from([0.0, 120.0, 600.0]),
    step=st.sampled_from([1.0, 5.0, 7.0]),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_alert_timing(stretches: list[tuple[bool, int]], for_seconds: float, cooldown: float, step: float) -> None:
    """Compared with a model of the history: an alert begins and ends within one check of the right moment, and never before."""
    rule = replace(RULE, for_seconds=for_seconds, cooldown_seconds=cooldown, repeat_seconds=1e6)
    life = Life(rule)
    is_open, bad_since, good_since, cool_until, times, over_at = False, None, None, 0.0, 0, None
    for is_bad, seconds in stretches:
        end = life.clock.steady + seconds
        while life.clock.steady < end:
            now = life.clock.steady
            life.check(is_bad)
            bad_since = (bad_since if bad_since is not None else now) if is_bad else None
            good_since = None if is_bad else (good_since if good_since is not None else now)
            expected = ""
            if is_open and good_since is not None and now - good_since >= rules.OVER_SECONDS["verdict"]:
                expected, is_open, over_at = "over", False, now
                cool_until = now + min(cooldown * 2 ** (times - 1), 86400)
                bad_since = None
            elif not is_open and bad_since is not None and now - bad_since >= for_seconds and now >= cool_until:
                in_a_row = over_at is not None and now - over_at < (cool_until - over_at) + for_seconds + rules.ROW_SECONDS
                times = times + 1 if in_a_row else 1
                expected, is_open, good_since = "begin", True, None
            assert (life.reported[-1:] == [(expected, now)]) == bool(expected), (life.reported, expected, now)
            assert life.standing.is_open == is_open
            life.pass_time(step)


@pytest.mark.parametrize(
    ("pattern", "name", "is_meant"),
    [
        ("*", "x", True),
        ("", "x", True),
        ("clip *", "clip analysis", True),
        ("[a]", "[a]", True),
        ("a", "b", False),
        ("A*", "ab", False),
    ],
)
def test_what_a_pattern_means(pattern: str, name: str, is_meant: bool) -> None:
    assert fits(pattern, name) == is_meant


def test_who_gets_a_message() -> None:
    known = {"all": "info", "boss": "critical"}
    assert channels_of((), "warning", known) == ["all"]
    assert channels_of((), "critical", known) == ["all", "boss"]
    assert channels_of(("boss",), "critical", known) == ["boss"]
    assert channels_of(("nobody",), "critical", known) == ["all", "boss"]
    assert channels_of(("nobody", "all"), "critical", known) == ["all"]
