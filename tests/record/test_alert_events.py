"""Events of the record: each is evaluated exactly once, however late it arrives, across restarts, clock steps and new records."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core.config.record import SHIPPED_ALERTS, Alert
from livekeep.record.alerts import event_rules, spool
from livekeep.record.alerts.rules import Clock
from livekeep.record.store import schema
from tests.record.alert_box import Box, box_in
from tests.record.watched import NOW, Watched

RULE = Alert(kind="event", event="item-failed", cooldown_seconds=0.0)
LATER = NOW + 200_000


def counted(watched: Watched) -> int:
    return int(watched.database.execute("SELECT ifnull(sum(count), 0) FROM alerts").fetchone()[0])


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("events"), st.integers(1, 40), st.floats(-200_000, 10)),
            st.tuples(st.just("look"), st.just(0), st.just(0.0)),
            st.tuples(st.just("restart"), st.just(0), st.just(0.0)),
            st.tuples(st.just("set aside"), st.just(0), st.just(0.0)),
            st.tuples(st.just("clock"), st.just(0), st.sampled_from([-4000.0, 4000.0])),
        ),
        min_size=1,
        max_size=10,
    )
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_each_event_is_judged_exactly_once(steps: list[tuple[str, int, float]], tmp_path_factory: pytest.TempPathFactory) -> None:
    with box_in(tmp_path_factory.mktemp("box")) as box:
        box.event("item-failed", "before there was an alerter", NOW - 5)
        watched = Watched(box, {"mine": RULE})
        # The rule is older than the late events.
        watched.clock = Clock(LATER, watched.clock.steady + LATER - NOW)
        put_in = 0
        for what, number, age in steps:
            if what == "events":
                for _each in range(number):
                    # Late ones, from another box.
                    box.event("item-failed", "x", LATER + age)
                put_in += number
            elif what == "restart":
                watched.begin()
            elif what == "clock":
                watched.clock = Clock(watched.clock.wall + age, watched.clock.steady)
            elif what == "set aside":
                watched.pass_time(0.5, step=0.5)
                renew(box)
            watched.pass_time(0.5, step=0.5)
        assert counted(watched) == put_in
        watched.pass_time(120)
        assert sum(int(text.split("times")[0].split()[-1]) if "times" in text else 1 for text in watched.texts()) == put_in


def test_what_happened_before_there_was_the_rule_is_no_news_when_it_arrives(box: Box) -> None:
    """A recorder's first start reads everything in the journal."""
    watched = Watched(box, {"mine": RULE})
    watched.pass_time(0.5, step=0.5)
    box.event("item-failed", "last week", NOW - 600_000)
    box.event("item-failed", "just now", NOW + 0.5)
    watched.pass_time(10, step=1)
    (text,) = watched.texts()
    assert "just now" in text
    assert "last week" not in text


def test_a_clock_that_was_ahead_at_first_makes_no_rule_deaf(box: Box) -> None:
    watched = Watched(box, {"mine": RULE})
    watched.pass_time(0.5, step=0.5)
    watched.clock = Clock(NOW - 86_400, watched.clock.steady)
    box.event("item-failed", "after the clock was set", NOW - 86_400)
    watched.pass_time(10, step=1)
    assert "after the clock was set" in watched.texts()[0]


def renew(box: Box) -> None:
    """Like the recorder with a corrupt record: set it aside, and begin a new one."""
    file = box.root / "var/lib/livekeep/record/record.db"
    box.record.close()
    file.rename(file.with_suffix(".aside"))
    box.record = schema.open_for_writing(file)
    box.machine()


def test_fifty_failures_are_one_message(box: Box) -> None:
    watched = Watched(box, {"mine": Alert(kind="event", event="item-failed", cooldown_seconds=600)})
    for number in range(50):
        box.event("item-failed", f"item {number} cannot be read", NOW)
    watched.pass_time(10, step=1)
    ((kind, title),) = watched.messages()
    assert kind == "event"
    assert title.endswith("item 0 cannot be read (and 49 more)")
    (text,) = watched.texts()
    assert "50 times" in text
    assert "item 7 cannot be read" in text
    # Within the cooldown they are gathered for the next one.
    for _each in range(30):
        box.event("item-failed", "again", NOW)
        watched.pass_time(10)
    assert len(watched.messages()) == 1
    watched.pass_time(400)
    assert len(watched.messages()) == 2
    assert "30 times" in watched.texts()[1]


@pytest.mark.parametrize(
    ("rule", "is_meant"),
    [
        (Alert(event="session-ended"), True),
        (Alert(event="session-*"), True),
        (Alert(event="item-*"), False),
        (Alert(event="session-ended", match=("OUTCOME=failed",)), True),
        (Alert(event="session-ended", match=("OUTCOME=fail*", "NAME=clip *")), True),
        (Alert(event="session-ended", match=("OUTCOME=failed", "NAME=other")), False),
        (Alert(event="session-ended", match=("OTHER=",)), True),
        (Alert(event="session-ended", match=("OUTCOME=",)), False),
        (Alert(event="*", machine="foyer"), True),
        (Alert(event="*", machine="stage"), False),
        (Alert(event="*", unit="job"), True),
        (Alert(event="*", unit="job.service"), True),
        (Alert(event="*", unit="livekeep-*"), False),
        (Alert(event="*", session="clip *"), True),
        (Alert(event="*", session="x"), False),
    ],
)
def test_what_a_rule_is_about(box: Box, rule: Alert, is_meant: bool) -> None:
    begin = event_rules.end(box.record, "x")
    box.event("session-ended", "clip analysis failed", NOW, OUTCOME="failed", NAME="clip analysis", SESSION="1f")
    (event,), _position = event_rules.unjudged(box.record, "x", begin)
    assert event_rules.matches(rule, event) == is_meant


def test_alerts_of_alerts_are_not_made(box: Box) -> None:
    watched = Watched(box, {"all": Alert(kind="event", event="*")})
    for name in ("alert-began", "alert-over", "delivery-failed"):
        box.event(name, unit="livekeep-alerter.service", at=NOW)
    watched.pass_time(30)
    assert watched.messages() == []


def test_the_last_lines_are_those_of_the_session_with_the_traceback_and_without_secrets(box: Box) -> None:
    watched = Watched(box, {"mine": Alert(kind="event", event="session-ended")})
    traceback = "Traceback\n  File x, line 3\nE: password=hunter22 x"
    box.record.execute("INSERT INTO errors (id, digest, type, message, traceback) VALUES (9, x'00', 'E', 'm', ?)", [traceback])
    box.session("clip analysis", "failed", NOW)
    box.record.execute("UPDATE sessions SET error = 9 WHERE id = 1")
    box.event("note", "fetched https://anna:geheim@cdn.example.org/a?sig=abc", NOW - 2, session_id="1")
    box.event("other", "of another session", NOW - 1)
    box.event("session-ended", "clip analysis failed", NOW, session_id="1")
    watched.pass_time(10)
    (text,) = watched.texts()
    assert "fetched https://cdn.example.org/…" in text
    assert "  File x, line 3" in text
    assert "of another session" not in text
    assert not any(secret in text for secret in ("geheim", "hunter22", "sig=abc"))


def test_a_silence_holds_messages_back_and_its_end_tells_what_is_still_open(box: Box) -> None:
    rule = Alert(kind="failures", number=1, window_seconds=10_000)
    watched = Watched(box, {"mine": rule, "events": RULE})
    spool.take_silence(watched.database, b'{"rule": "*", "subject": "*", "until": %d}' % (NOW + 600), 0, NOW)
    box.call("fetch", NOW - 1, error="x")
    box.event("item-failed", at=NOW)
    watched.pass_time(500)
    assert watched.messages() == []
    assert [alert.is_silenced for alert in watched.engine.open_alerts(watched.clock.wall)] == [True]
    watched.pass_time(120)
    assert watched.kinds() == ["begin"]


def test_what_begins_and_ends_in_a_silence_is_never_reported(box: Box) -> None:
    watched = Watched(box, {"mine": Alert(kind="failures", number=1, window_seconds=60)})
    spool.take_silence(watched.database, b'{"rule": "m*", "subject": "*", "until": %d}' % (NOW + 600), 0, NOW)
    box.call("fetch", NOW, error="x")
    watched.pass_time(50)
    assert len(watched.engine.open_alerts(watched.clock.wall)) == 1
    watched.pass_time(900)
    assert watched.engine.open_alerts(watched.clock.wall) == ()
    assert watched.messages() == []


def test_with_nothing_going_on_it_sleeps(box: Box) -> None:
    watched = Watched(box, dict(SHIPPED_ALERTS))
    watched.pass_time(30)
    waits = []
    for _look in range(50):
        due = watched.engine.one_pass(watched.clock)
        waits.append(due - watched.clock.steady)
        watched.clock = Clock(watched.clock.wall + waits[-1], due)
    assert min(waits) >= 0
    assert sum(waits) / len(waits) >= 2.0


def test_a_unit_may_not_silence(box: Box) -> None:
    watched = Watched(box, {})
    with pytest.raises(ValueError, match="only root"):
        spool.take_silence(watched.database, b'{"rule": "*", "subject": "*", "until": 1}', 998, NOW)


def test_open_alerts_survive_a_restart_and_are_not_announced_again(box: Box) -> None:
    rule = Alert(kind="failures", number=1, window_seconds=100_000, repeat_seconds=50_000)
    watched = Watched(box, {"mine": rule})
    box.call("fetch", NOW - 1, error="x")
    watched.pass_time(10)
    for _restart in range(3):
        watched.begin()
        watched.pass_time(30)
    assert watched.kinds() == ["begin"]
    watched.pass_time(51_500, step=500)
    assert watched.kinds() == ["begin", "reminder"]
    watched.pass_time(60_000, step=500)
    assert watched.kinds()[-1] == "over"


def test_a_rule_that_is_taken_away_ends_its_alerts_without_a_word(box: Box) -> None:
    watched = Watched(box, {"mine": Alert(kind="failures", number=1, window_seconds=100_000)})
    box.call("fetch", NOW - 1, error="x")
    watched.pass_time(30)
    watched.settings = watched.settings.__class__(alerts={})
    watched.engine.adopt(watched.settings, watched.clock)
    watched.pass_time(10)
    assert watched.kinds() == ["begin"]
    assert watched.engine.open_alerts(watched.clock.wall) == ()
    assert watched.database.execute("SELECT outcome FROM alerts").fetchone()[0] == "removed"
