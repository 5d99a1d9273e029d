"""Whether a picture is wanted: the plan against a slow clock that goes minute by minute, events, and switching by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core.config import Schedule
from livekeep.core.config.schedule import DAYS
from livekeep.core.state import TvByHand
from livekeep.screen.tv.plan import Decision, Events, decide, switched_by_hand

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = Schedule(days={"mon-fri": "08:00-22:00", "fri": "08:00-12:00, 20:00-02:00", "2026-12-24": "off"})
MINUTE, HOUR = 60.0, 3600.0
NO_EVENTS = Events()


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def decided(
    now: float, events: Events = NO_EVENTS, schedule: Schedule = WEEK, by_hand: TvByHand | None = None, is_clock_set: bool = True
) -> Decision:
    return decide(schedule, BERLIN, events, now, is_clock_set, by_hand)


# The plan


@pytest.mark.parametrize(
    ("now", "is_wanted", "until", "reason"),
    [
        ("2026-12-01T07:59:59", False, "2026-12-01T08:00", "the plan (mon-fri 08:00-22:00)"),
        ("2026-12-01T08:00", True, "2026-12-01T22:00", "the plan (mon-fri 08:00-22:00)"),
        ("2026-12-01T22:00", False, "2026-12-02T08:00", "the plan (mon-fri 08:00-22:00)"),
        ("2026-12-04T12:00", False, "2026-12-04T20:00", "the plan (fri 08:00-12:00, 20:00-02:00)"),
        ("2026-12-05T01:59", True, "2026-12-05T02:00", "the plan (fri 08:00-12:00, 20:00-02:00)"),
        ("2026-12-05T02:00", False, "2026-12-07T08:00", "the plan (sat off)"),
        ("2026-12-23T23:00", False, "2026-12-25T08:00", "the plan (mon-fri 08:00-22:00)"),
        ("2026-12-31T21:00", True, "2026-12-31T22:00", "the plan (mon-fri 08:00-22:00)"),
        ("2027-01-01T21:00", True, "2027-01-02T02:00", "the plan (fri 08:00-12:00, 20:00-02:00)"),
    ],
)
def test_the_plan(now: str, is_wanted: bool, until: str, reason: str) -> None:
    assert decided(at(now)) == Decision(is_wanted, reason, at(until))


def test_spans_that_meet_are_one_time() -> None:
    schedule = Schedule(days={"daily": "18:00-24:00", "sun": "on", "mon": "00:00-02:00, 18:00-24:00"})
    assert decided(at("2026-12-05T19:00"), schedule=schedule).until == at("2026-12-07T02:00")


def test_always_on_and_always_off_know_no_change() -> None:
    now = at("2026-12-05T19:00")
    assert decided(now, schedule=Schedule(days={"daily": "on"})) == Decision(True, "the plan (daily on)")
    assert decided(now, schedule=Schedule(days={"daily": "off"})) == Decision(False, "the plan (daily off)")


def test_without_a_plan_a_picture_is_always_wanted() -> None:
    assert decided(at("2026-12-05T03:00"), schedule=Schedule()) == Decision(True, "there is no plan")


def test_until_the_clock_is_set_nothing_goes_off_as_planned() -> None:
    assert decided(at("2026-12-05T03:00"), is_clock_set=False) == Decision(True, "the clock is not set yet")


def test_a_span_that_begins_in_the_skipped_hour_begins_at_its_end() -> None:
    schedule = Schedule(days={"daily": "02:30-05:00"})
    spring = at("2027-03-28T03:00")
    assert decided(spring - 1, schedule=schedule).until == spring
    assert decided(spring, schedule=schedule).until == spring + 2 * HOUR


def test_in_the_doubled_hour_the_first_one_counts() -> None:
    schedule = Schedule(days={"daily": "02:30-05:00", "sat": "20:00-02:30"})
    first, second = at("2027-10-31T02:30"), at("2027-10-31T02:30", fold=1)
    assert second - first == HOUR
    assert decided(first, schedule=Schedule(days={"daily": "02:30-05:00"})).until == first + 3.5 * HOUR
    assert decided(second - 1, schedule=Schedule(days={"daily": "02:30-05:00"})).is_wanted
    assert decided(first - 1, schedule=Schedule(days={"sat": "20:00-02:30"})).until == first
    assert not decided(second - 1, schedule=Schedule(days={"sat": "20:00-02:30"})).is_wanted
    assert decided(second - 1, schedule=schedule).is_wanted


ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC")]
TIMES = st.sampled_from(["00:00", "00:30", "01:00", "02:00", "02:15", "02:30", "03:00", "08:00", "22:00", "23:45"])
SPANS = st.tuples(TIMES, TIMES).filter(lambda both: both[0] != both[1]).map(lambda both: f"{both[0]}-{both[1]}")
VALUES = st.one_of(st.sampled_from(["on", "off"]), SPANS)
NAMES = st.one_of(
    st.sampled_from([*DAYS, "daily", "mon-fri", "sat-sun", "fri-mon"]),
    st.dates(date(2027, 3, 25), date(2027, 3, 30)).map(str),
    st.dates(date(2027, 10, 29), date(2027, 11, 2)).map(str),
)
SCHEDULES = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4).map(lambda days: Schedule(days=days))
MOMENTS = st.one_of(
    st.datetimes(datetime(2026, 12, 29), datetime(2027, 12, 31)),  # noqa: DTZ001 - UTC is added
    *(
        st.datetimes(day - timedelta(hours=30), day + timedelta(hours=30))
        for day in (datetime(2027, 3, 28), datetime(2027, 10, 31), datetime(2027, 4, 4), datetime(2027, 11, 7))  # noqa: DTZ001
    ),
).map(lambda moment: moment.replace(second=0, microsecond=0, tzinfo=UTC).timestamp())


class SlowClock:
    """The plan as a person follows it on a clock that is never turned back, from minute to minute."""

    def __init__(self, schedule: Schedule, zone: ZoneInfo, begin: float) -> None:
        self.schedule, self.zone = schedule, zone
        self.highest = datetime.fromtimestamp(begin, zone).replace(tzinfo=None)

    def is_wanted(self, now: float) -> bool:
        """To be called with each minute in turn."""
        self.highest = max(self.highest, datetime.fromtimestamp(now, self.zone).replace(tzinfo=None))
        return self.is_in_span(self.highest.date(), 0) or self.is_in_span(self.highest.date() - timedelta(days=1), 24 * 60)

    def is_in_span(self, day: date, minutes_later: int) -> bool:
        minute = self.highest.hour * 60 + self.highest.minute + minutes_later
        return any(begin <= minute < end for begin, end in self.schedule.spans_on(day))


@settings(max_examples=60, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES), MOMENTS)
def test_the_plan_is_what_a_slow_clock_shows(schedule: Schedule, zone: ZoneInfo, now: float) -> None:
    begin, minutes = now - 25 * HOUR, 3 * 24 * 60
    clock = SlowClock(schedule, zone, begin)
    shown = {moment: clock.is_wanted(moment) for moment in (begin + number * MINUTE for number in range(minutes))}
    decision = decide(schedule, zone, NO_EVENTS, now, True, None)
    later = [moment for moment, is_wanted in shown.items() if moment > now and is_wanted != shown[now]]
    assert decision.is_wanted == shown[now]
    if later:
        assert decision.until == later[0]
    else:
        assert decision.until is None or decision.until > max(shown)


# Events


NIGHT = at("2026-12-02T23:30")


def test_a_picture_is_wanted_while_the_stream_is_live_whatever_the_plan_says() -> None:
    assert decided(NIGHT, Events(is_live=True)) == Decision(True, "the stream is live", None, "live")


def test_a_picture_is_wanted_before_a_known_start_and_for_as_long_after_it() -> None:
    start = at("2026-12-03T01:00")
    begin, end = start - 15 * MINUTE, start + 15 * MINUTE
    events = Events(next_start=start)
    assert decided(NIGHT, events).until == begin
    assert decided(begin, events) == Decision(True, "the stream starts at 01:00", end, "near")
    assert decided(start, events) == Decision(True, "the stream is due since 01:00", end, "near")
    assert not decided(end, events).is_wanted


def test_a_stream_that_drops_out_at_night_does_not_make_the_tv_flap() -> None:
    events = Events(last_live=NIGHT)
    assert decided(NIGHT + 1, events) == Decision(True, "the stream was live until 23:30", NIGHT + 15 * MINUTE, "near")
    assert not decided(NIGHT + 15 * MINUTE, events).is_wanted


def test_an_event_prolongs_the_plan() -> None:
    start = at("2026-12-02T22:10")
    decision = decided(at("2026-12-02T21:00"), Events(next_start=start))
    assert (decision.reason, decision.until) == ("the plan (mon-fri 08:00-22:00)", start + 15 * MINUTE)


def test_around_events_can_be_none() -> None:
    schedule = Schedule(around_events="0", days=WEEK.days)
    assert not decided(NIGHT + 1, Events(last_live=NIGHT, next_start=NIGHT + 2), schedule).is_wanted
    assert decided(NIGHT, Events(is_live=True), schedule).is_wanted


def test_with_force_only_the_plan_counts() -> None:
    schedule = Schedule(force=True, days=WEEK.days)
    decision = decided(NIGHT, Events(is_live=True, last_live=NIGHT, next_start=NIGHT), schedule)
    assert decision == Decision(False, "the plan (mon-fri 08:00-22:00)", at("2026-12-03T08:00"))


AWAY = st.none() | st.integers(-3 * 3600, 3 * 86400).map(float)


@settings(max_examples=100, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES), MOMENTS, AWAY, st.none() | st.integers(0, 3600), st.sampled_from(["0", "15m", "2h"]))
def test_until_is_the_first_change(
    schedule: Schedule, zone: ZoneInfo, now: float, start_in: float | None, live_ago: int | None, around: str
) -> None:
    schedule = replace(schedule, around_events=around)
    events = Events(
        last_live=None if live_ago is None else now - live_ago, next_start=None if start_in is None else now + start_in
    )
    decision = decide(schedule, zone, events, now, True, None)
    if decision.until is None:
        return
    assert decision.until > now
    steps = [now + (decision.until - 1 - now) * part / 5 for part in range(6)]
    assert {decide(schedule, zone, events, moment, True, None).is_wanted for moment in steps} == {decision.is_wanted}
    assert decide(schedule, zone, events, decision.until, True, None).is_wanted != decision.is_wanted


@settings(max_examples=100, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES), MOMENTS, st.booleans())
def test_never_off_while_live_and_never_on_for_an_event_with_force(
    schedule: Schedule, zone: ZoneInfo, now: float, force: bool
) -> None:
    events = Events(is_live=True, last_live=now, next_start=now)
    live = decide(replace(schedule, force=force), zone, events, now, True, None)
    assert live.is_wanted == (decide(schedule, zone, NO_EVENTS, now, True, None).is_wanted if force else True)


# By hand


def switched(is_on: bool, now: float, events: Events = NO_EVENTS, schedule: Schedule = WEEK) -> TvByHand:
    return switched_by_hand(is_on, decided(now, events, schedule), now)


NOON, EVENING = at("2026-12-02T12:00"), at("2026-12-02T22:00")


def test_off_by_hand_holds_until_the_next_change_of_the_plan() -> None:
    by_hand = switched(False, NOON)
    decision = decided(NOON, by_hand=by_hand)
    assert decision == Decision(False, "switched by hand", EVENING, by_hand=by_hand)
    assert decided(EVENING - 1, by_hand=by_hand).by_hand == by_hand
    after = decided(EVENING, by_hand=by_hand)
    assert (after.reason, after.by_hand) == ("the plan (mon-fri 08:00-22:00)", None)


def test_on_by_hand_holds_through_the_night() -> None:
    by_hand = switched(True, NIGHT)
    assert decided(NIGHT, by_hand=by_hand).until == at("2026-12-03T08:00")
    assert decided(NIGHT + HOUR, by_hand=by_hand).is_wanted
    assert decided(at("2026-12-03T08:00"), by_hand=by_hand).by_hand is None


def test_by_hand_is_over_if_two_changes_have_passed_since_the_last_run() -> None:
    assert decided(NOON + 24 * HOUR, by_hand=switched(False, NOON)).is_wanted


def test_the_begin_of_an_event_ends_what_was_switched_by_hand() -> None:
    by_hand = switched(False, NOON)
    events = Events(next_start=NOON + HOUR)
    assert decided(NOON, events, by_hand=by_hand).until == NOON + 45 * MINUTE
    assert decided(NOON + 45 * MINUTE, events, by_hand=by_hand).by_hand is None
    assert decided(NOON, Events(is_live=True), by_hand=by_hand).is_wanted


def test_off_by_hand_during_an_event_holds_to_the_next_one() -> None:
    by_hand = switched(False, NOON, Events(is_live=True))
    during = decided(NOON + MINUTE, Events(is_live=True), by_hand=by_hand)
    assert (during.is_wanted, during.by_hand) == (False, by_hand)
    # A drop-out is no end.
    after = decided(NOON + 10 * MINUTE, Events(last_live=NOON + 5 * MINUTE), by_hand=by_hand)
    assert after.by_hand is not None
    assert (after.is_wanted, after.by_hand.event) == (False, "live")
    again = decided(NOON + 12 * MINUTE, Events(is_live=True), by_hand=after.by_hand)
    assert not again.is_wanted
    over = decided(NOON + HOUR, Events(last_live=NOON + 5 * MINUTE), by_hand=after.by_hand)
    assert over.by_hand is not None
    assert (over.is_wanted, over.by_hand.event, over.until) == (False, "none", EVENING)
    assert decided(NOON + 2 * HOUR, Events(is_live=True), by_hand=over.by_hand).is_wanted


@pytest.mark.parametrize("events", [Events(last_live=NOON - MINUTE), Events(next_start=NOON + MINUTE)])
def test_off_by_hand_after_or_before_an_event_holds_until_the_stream_is_live(events: Events) -> None:
    by_hand = switched(False, NOON, events)
    assert not decided(NOON, events, by_hand=by_hand).is_wanted
    assert decided(NOON + 2 * MINUTE, replace(events, is_live=True), by_hand=by_hand).is_wanted


def test_by_hand_follows_a_changed_plan() -> None:
    by_hand = switched(False, NOON)
    longer = Schedule(days={"wed": "08:00-23:00"})
    decision = decided(NOON + HOUR, schedule=longer, by_hand=by_hand)
    assert (decision.is_wanted, decision.until) == (False, at("2026-12-02T23:00"))
    over = Schedule(days={"wed": "08:00-13:00"})
    assert decided(NOON + HOUR, schedule=over, by_hand=by_hand).by_hand is None


def test_by_hand_without_a_plan_holds_until_an_event() -> None:
    by_hand = switched(False, NOON, schedule=Schedule())
    assert decided(NOON + 99 * HOUR, schedule=Schedule(), by_hand=by_hand) == Decision(False, "switched by hand", by_hand=by_hand)
    assert decided(NOON, Events(is_live=True), Schedule(), by_hand).is_wanted


def test_by_hand_while_the_clock_is_not_set_ends_when_the_plan_says_otherwise() -> None:
    by_hand = switched_by_hand(False, decided(NOON, is_clock_set=False), NOON)
    assert not decided(NOON, by_hand=by_hand, is_clock_set=False).is_wanted
    assert not decided(NOON, by_hand=by_hand).is_wanted
    assert decided(NIGHT, by_hand=by_hand).by_hand is None
