"""How screens and channels spent their time; the formatting of values for people."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record import figures
from livekeep.record.reports import airtime
from livekeep.record.reports.airtime import Change, Span
from livekeep.record.reports.content import Air

BEGIN, END = 1000.0, 1300.0
BOX = "box"


def changes(*reported: tuple[float, str, dict[str, str]]) -> list[Change]:
    return [Change(at, BOX, name, fields) for at, name, fields in reported]


def on_screen(*reported: tuple[float, str]) -> list[Change]:
    return changes(*((at, "picture-changed", {"PICTURE": picture}) for at, picture in reported))


def switched(at: float, what: str, method: str = "black") -> Change:
    return Change(at, BOX, "tv-switched", {"STATE": what, "METHOD": method})


def on_channel(*reported: tuple[float, str]) -> list[Change]:
    return changes(*((at, name, {"CHANNEL": "main"}) for at, name in reported))


def of_one(reported: list[Change], known: tuple[Span, ...] | None = None) -> Air:
    subject = (reported[0].subject, BOX)
    (result,) = airtime.airtime(reported, BEGIN, END, {} if known is None else {subject: known})
    return result


def test_what_held_before_the_period_holds_in_it() -> None:
    result = of_one(on_screen((10, "stream")))
    assert (result.share, result.shown, result.interruptions) == (1.0, (("stream", 300.0),), 0)


def test_a_screen_s_error_is_an_interruption_and_its_holding_picture_is_none() -> None:
    result = of_one(on_screen((10, "stream"), (1050, "holding"), (1100, "error"), (1130, "none"), (1160, "stream")))
    assert dict(result.shown) == {"stream": 190.0, "holding": 50.0, "error": 30.0, "no picture": 30.0}
    assert (result.good_seconds, result.interruptions, result.longest_seconds) == (240.0, 1, 60.0)


@pytest.mark.parametrize("method", ["black", "blank"])
def test_a_tv_that_is_off_on_purpose_is_no_interruption(method: str) -> None:
    """The picture goes before the TV is switched off, and comes before it is switched on."""
    seen = on_screen((10, "holding"), (1100, "none"), (1200, "holding"))
    result = of_one(sorted([*seen, switched(1102, "off", method), switched(1203, "on", method)], key=lambda change: change.at))
    assert dict(result.shown) == {"holding": 200.0, "off on purpose": 100.0}
    assert (result.share, result.known_seconds, result.interruptions) == (1.0, 200.0, 0)


def test_a_tv_in_standby_has_its_picture_and_does_not_count() -> None:
    seen = [*on_screen((10, "holding")), switched(1100, "off", "cec"), *on_screen((1150, "error")), switched(1200, "on", "cec")]
    result = of_one(seen)
    assert dict(result.shown) == {"holding": 100.0, "off on purpose": 100.0, "error": 100.0}
    assert (result.known_seconds, result.share, result.interruptions) == (200.0, 0.5, 1)


def test_a_tv_that_was_off_before_the_period_is_off_in_it() -> None:
    result = of_one([*on_screen((10, "none")), switched(12, "off")])
    assert (result.shown, result.known_seconds, result.share) == ((("off on purpose", 300.0),), 0.0, None)


def test_a_picture_after_a_reboot_means_that_the_tv_is_on() -> None:
    """What was switched off by hand is forgotten then, and nothing reports that."""
    result = of_one([*on_screen((10, "none")), switched(12, "off"), *on_screen((1100, "holding"))])
    assert (result.known_seconds, result.share) == (200.0, 1.0)


def test_before_the_first_event_nothing_is_known() -> None:
    result = of_one(on_screen((1200, "stream")))
    assert (result.known_seconds, result.share) == (100.0, 1.0)


def test_while_the_box_is_off_nothing_is_known() -> None:
    result = of_one(on_screen((10, "error")), ((1000, 1100), (1250, 1300)))
    assert (result.known_seconds, result.good_seconds, result.interruptions, result.longest_seconds) == (150.0, 0.0, 1, 150.0)


def test_a_channel_is_good_while_it_is_on_air_with_its_media() -> None:
    result = of_one(
        on_channel(
            (10, "channel-on-air"),
            (1050, "slate-shown"),
            (1080, "slate-left"),
            (1100, "publishing-failed"),
            (1110, "publishing-failed"),
            (1120, "channel-on-air"),
        )
    )
    assert dict(result.shown) == {"on air": 250.0, "slate": 30.0, "off air": 20.0}
    assert (result.interruptions, result.longest_seconds) == (2, 30.0)


def test_a_worker_that_ended_took_its_slate_along() -> None:
    result = of_one(on_channel((10, "channel-on-air"), (20, "slate-shown"), (30, "worker-ended"), (1100, "channel-on-air")))
    assert dict(result.shown) == {"off air": 100.0, "on air": 200.0}


def test_stalls_are_counted_within_the_period() -> None:
    stalls = changes(*((at, "stream-stalled", {}) for at in (10, 1001, 1299, 1300)))
    result = of_one(sorted([*on_screen((5, "stream")), *stalls], key=lambda change: change.at))
    assert (result.stalls, result.share) == (2, 1.0)


NAMES = ("channel-on-air", "publishing-failed", "channel-given-up", "worker-ended", "slate-shown", "slate-left")


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(900, 1320), st.sampled_from(NAMES)), min_size=1, max_size=15),
    st.lists(st.integers(1000, 1300), max_size=6, unique=True),
)
def test_the_time_is_that_of_each_second(reported: list[tuple[int, str]], cuts: list[int]) -> None:
    """Compared with a simulation second by second."""
    reported = sorted(reported, key=lambda entry: entry[0])
    edges = sorted(cuts)[: len(cuts) // 2 * 2]
    known = tuple(zip(map(float, edges[::2]), map(float, edges[1::2]), strict=True)) if edges else ((BEGIN, END),)
    expected: dict[str, float] = {}
    for second in range(int(BEGIN), int(END)):
        state = simulated([name for at, name in reported if at <= second])
        if state and any(first <= second < last for first, last in known):
            expected[state] = expected.get(state, 0) + 1
    result = of_one(on_channel(*reported), known)
    assert dict(result.shown) == expected
    assert result.good_seconds == expected.get("on air", 0)
    assert (result.interruptions > 0) == (set(expected) - {"on air"} != set())


def simulated(names: list[str]) -> str:
    on_air = slate = False
    for name in names:
        if name.startswith("slate"):
            slate = name == "slate-shown"
        else:
            on_air = name == "channel-on-air"
            slate = slate and name != "worker-ended"
    return ("slate" if slate else "on air") if on_air else "off air" if names else ""


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (figures.duration, None, "–"),
        (figures.duration, 0, "0 s"),
        (figures.duration, 7.4e-7, "0.74 µs"),
        (figures.duration, 0.00074, "740 µs"),
        (figures.duration, 0.9996, "1.00 s"),
        (figures.duration, 59.96, "1 min 00 s"),
        (figures.duration, 59.9, "59.9 s"),
        (figures.duration, 3599.6, "1 h 00 min"),
        (figures.duration, 86399, "1 d 00 h"),
        (figures.duration, 90000, "1 d 01 h"),
        (figures.duration, -1.5, "-1.50 s"),
        (figures.count, None, "–"),
        (figures.count, 12034, "12,034"),
        (figures.count, 5.7, "5.7"),
        (figures.percent, 0, "0 %"),
        (figures.percent, 0.0004, "< 0.1 %"),
        (figures.percent, 0.99995, "> 99.9 %"),
        (figures.percent, 0.997, "99.7 %"),
        (figures.percent, 1, "100 %"),
        (figures.change, None, ""),
        (figures.change, 0.31, "+31 %"),
        (figures.change, -0.004, "0 %"),
        (figures.change, 2.1, "×3.1"),
        (figures.change, 1e9, "> ×999"),
        (figures.size, 1023, "1023 B"),
        (figures.size, 1024 * 1024 * 12.3, "12.3 MiB"),
        (figures.size, -2048, "-2 KiB"),
        (figures.size, 5 * 1024**4, "5 TiB"),
    ],
)
def test_figures(write: Any, value: float | None, text: str) -> None:
    assert write(value) == text
