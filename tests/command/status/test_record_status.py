"""The record part in `livekeep status`, `health` and `doctor`: what it does, what is wrong, that it harms no verdict."""

import json
import sqlite3
import time
from dataclasses import replace

import pytest

from livekeep.command.doctor.doctor_base import Check
from livekeep.core.record_states import AlerterState, ClipsState, HotClip, OpenAlert, RecorderState
from livekeep.core.state import PlayerState, PollerState
from tests.command.box import Box

UNITS = "usr/lib/systemd/system"
DATABASE = "var/lib/livekeep/record/record.db"


def recorder() -> RecorderState:
    return RecorderState(started_at=time.time() - 60, calls=1234, events=56, sessions_running=1, database_bytes=2_500_000)


def alerter() -> AlerterState:
    alert = OpenAlert("down", "", "critical", time.time() - 360, "down: the screen is dark", "Run: sudo livekeep doctor")
    return AlerterState(started_at=time.time() - 60, rules=9, channels=1, open=(alert,), delivered=1)


@pytest.fixture
def record_box(box: Box) -> Box:
    """With the part, a holding picture on the screen, and somebody who gets the mails."""
    for name in ("livekeep-recorder.service", "livekeep-web.socket"):
        box.file(f"{UNITS}/{name}", "")
    box.configure()
    box.write(PollerState("offline"), PlayerState("holding", time.time(), display_up=True), recorder(), alerter())
    box.start_units()
    for name in ("recorder.service", "alerter.service", "web.socket"):
        box.unit(f"livekeep-{name}")
    box.file("etc/credstore/livekeep.notify", "# those who care\nme mailto://example.org\n")
    file = box.file(DATABASE, "")
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE machines (id INTEGER)")
    connection.close()
    return box


def rows(box: Box) -> dict[str, str]:
    lines = [line.partition("  ") for line in box.run("status").stdout.splitlines()]
    return {name: text.strip() for name, _gap, text in reversed(lines)}


def checks(box: Box) -> dict[str, Check]:
    return {name: box.check(name) for name in ("record", "alerts")}


def test_status_says_what_is_recorded_and_which_alerts_are_open(record_box: Box) -> None:
    told = rows(record_box)
    assert told["Record"].startswith("1 session running; 1234 calls and 56 events since ")
    assert told["Record"].endswith("; 2.5 MB")
    assert told["Alert"].startswith("critical: down: the screen is dark [down], since ")
    assert told["livekeep-recorder"].startswith("active (running)")
    assert "Fault" not in told


def test_status_says_which_clips_take_off(record_box: Box) -> None:
    hot = (HotClip("ours", "987", "A day in the wood", "", 9.1, "9 × its usual rate for 3 h"),)
    record_box.write(ClipsState(time.time() - 125, 900.0, "succeeded", sources=2, clips=150, hot=hot))
    told = rows(record_box)
    assert told["Clips"] == "150 of 2 sources, last checked 2 min ago"
    assert told["Takes off"] == "A day in the wood: 9 × its usual rate for 3 h"


def test_status_of_a_box_without_the_part_has_no_word_of_it(box: Box) -> None:
    box.configure()
    box.write(PollerState("offline"), PlayerState("holding", time.time(), display_up=True))
    box.start_units()
    assert not {"Record", "Alerts", "Alert", "Fault", "livekeep-recorder"} & set(rows(box))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"problem": "the disk is full", "advice": "df -h"}, "the disk is full"),
        ({"lag_seconds": 900.0}, "the recorder is 900 s behind the journal"),
        ({"is_sound": False}, "the last check of the database found it damaged"),
        ({"lost_calls": 7, "lost_entries": 1}, "7 calls and 1 entries of the journal were lost since the recorder started"),
    ],
)
def test_a_fault_of_the_recorder_is_said_and_the_screen_is_well(record_box: Box, change: dict[str, object], fault: str) -> None:
    record_box.write(replace(recorder(), **change))  # type: ignore[arg-type]
    told = rows(record_box)
    assert told["Fault"] == fault
    assert told["Do"]
    done = record_box.run("health")
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "ok")
    check = checks(record_box)["record"]
    assert (check.verdict in ("fail", "warn"), check.finding) == (True, fault)


def test_a_stuck_recorder_and_an_alerter_that_does_not_run(record_box: Box) -> None:
    record_box.write(recorder(), age_seconds=300)
    (record_box.root / "run/livekeep/alerter/state.json").unlink()
    document = json.loads(record_box.run("status", "--json").stdout)["record"]
    assert [(fault["subject"], fault["is_grave"]) for fault in document["faults"]] == [("recorder", True), ("alerter", True)]
    assert (document["recorder"]["calls"], document["alerter"]) == (1234, None)
    assert record_box.run("health").returncode == 0
    assert {check.verdict for check in checks(record_box).values()} == {"fail"}


def test_the_doctor_finds_a_sound_part_well(record_box: Box) -> None:
    assert checks(record_box) == {
        "record": Check("record", "ok", "is written and can be read, 2.5 MB"),
        "alerts": Check("alerts", "ok", "1 open; messages go to me"),
    }


def test_a_database_that_is_none(record_box: Box) -> None:
    record_box.file(DATABASE, "no database at all" * 100)
    check = checks(record_box)["record"]
    assert (check.verdict, check.advice.partition(";")[0]) == ("fail", "sudo livekeep record check")
    assert "cannot be read (file is not a database)" in check.finding


def test_nobody_gets_a_message(record_box: Box) -> None:
    record_box.configure("[notify.hall]\n")
    (record_box.root / "etc/credstore/livekeep.notify").unlink()
    check = checks(record_box)["alerts"]
    assert check == Check(
        "alerts",
        "warn",
        "messages have no recipient: no channel has an address (and 1 more)",
        "sudo livekeep alert set-address me",
    )
    record_box.configure('[notify.hall]\nfile = "/var/log/alerts"\n')
    assert checks(record_box)["alerts"].finding == "1 open; messages go to hall"


def test_messages_that_wait_and_faulty_rules(record_box: Box) -> None:
    record_box.write(replace(alerter(), waiting=2, problems=("alerts.slow: no such function",)))
    check = checks(record_box)["alerts"]
    assert (check.verdict, check.finding) == ("warn", "alerts.slow: no such function (and 1 more)")


def test_the_pages(record_box: Box) -> None:
    assert record_box.check("web page") == Check("web page", "ok", "http://127.0.0.1:9879 answers")
    record_box.unit("livekeep-web.socket", "inactive", "dead")
    assert record_box.check("web page").finding == "livekeep-web.socket does not listen (inactive)"
    record_box.configure('[web]\naddress = "0.0.0.0"\n')
    check = record_box.check("web page")
    assert (check.verdict, check.finding) == ("fail", "web.address is 0.0.0.0, but no password is set: nobody can log in")


def test_without_the_part_it_is_skipped(box: Box) -> None:
    box.configure()
    assert {box.check(name).verdict for name in ("record", "alerts", "web page")} == {"skip"}
