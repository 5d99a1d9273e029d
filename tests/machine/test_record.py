"""A box with screen and record: a job is recorded and shown, the first mail arrives, nothing is lost, and no secret leaks.

The tests of a room build on each other: later ones read the record of the first.
"""

from __future__ import annotations

import json
import signal
from email.message import EmailMessage
from typing import Any

import pytest

from livekeep.core.config.record import SHIPPED_ALERTS
from tests.machine.mailbox import text_of
from tests.machine.record_room import ALERTER, ENABLED, RECORDER, WEB, WEB_SOCKET, RecordRoom
from tests.machine.screen import DISPLAY, PLAYER
from tests.machine.vimeo import TOKEN

CLIPS = "livekeep-clips.service"
LIMITS = {
    RECORDER: 1.2,
    ALERTER: 1.3,
    WEB: 0.7,
    "livekeep-report@daily.service": 0.8,
    "livekeep-tidy.service": 0.8,
    CLIPS: 1.3,
}
"""Of systemd-analyze security."""
CREDENTIAL = "/etc/credstore/livekeep.notify"
PASSWORD = "made-up-7f3a"
SECRETS = (TOKEN, PASSWORD, "geheim", "anna:secret")
"""The last two are secret arguments of the job."""
Counts = dict[str, int]


@pytest.fixture
def box(record_room: RecordRoom) -> RecordRoom:
    return record_room


def counts(box: RecordRoom) -> Counts:
    """Calls in the record, by the function's name."""
    rows = box.query("SELECT f.name, count(*) FROM calls c JOIN functions f ON f.id = c.function GROUP BY f.name")
    return dict(map(tuple, rows))


def has_all(box: RecordRoom, calls: Counts) -> bool:
    result = counts(box)
    return all(result.get(name, 0) >= count for name, count in calls.items())


def sessions(box: RecordRoom) -> list[list[Any]]:
    return box.query("SELECT token, name, outcome, done FROM sessions ORDER BY began_at")


def test_the_units_run_in_their_sandboxes(box: RecordRoom) -> None:
    states = box.machine.systemctl("is-active", *ENABLED, check=False).stdout.split()
    assert states == ["active"] * len(ENABLED)
    assert {unit: limit for unit, limit in LIMITS.items() if box.machine.exposure(unit) > limit} == {}
    assert box.machine.failed_units() == ""


def test_a_job_is_recorded_call_by_call(box: RecordRoom) -> None:
    """It runs as an unprivileged user, with Debian's Python, and without a path to the library."""
    reported = box.run_job("--clips", "4", "--calls", "500")
    box.until("all calls are in the record", lambda: has_all(box, reported["calls"]))
    assert {name: count for name, count in counts(box).items() if name in reported["calls"]} == reported["calls"]
    # Its end may be in a separate entry.
    ended = [reported["session"], "clip analysis", "succeeded", 4.0]
    box.until("its session has ended", lambda: ended in sessions(box))
    failed = box.query("SELECT e.type, e.message FROM calls c JOIN errors e ON e.id = c.error WHERE c.outcome = 1")
    assert failed == [["ValueError", "clip 3 cannot be read"]]
    assert box.query("SELECT count(*) FROM losses") == [[0]]


def test_the_command_and_the_page_show_it(box: RecordRoom) -> None:
    listed = box.livekeep("record", "sessions", check=True)
    assert "clip analysis" in listed
    status, page = box.page("/jobs")
    assert (status, "clip analysis" in page) == (200, True)
    assert "1 session" not in box.livekeep("status").partition("Record")[2].splitlines()[0]
    status, page = box.page("/")
    assert status == 200
    assert box.machine.unit_property(WEB, "ActiveState") == "active"


def test_a_job_that_fails_or_dies_ends_as_what_it_did(box: RecordRoom) -> None:
    failed = box.run_job("--clips", "1", "--fail")
    box.until("it is recorded", lambda: [row for row in sessions(box) if row[0] == failed["session"] and row[2] == "failed"])
    command = ["systemd-run", "--quiet", "--collect", "--unit=dying", "--uid=worker", "python3", "/srv/job.py", "--crash"]
    box.machine.run(command)
    running = box.until("it is recorded", lambda: [row for row in sessions(box) if row[2] == "running"])
    box.machine.run(["systemctl", "kill", "--signal=KILL", "dying"])
    ends = {failed["session"]: "failed", running[0][0]: "lost"}
    box.until("both have ended", lambda: ends.items() <= {row[0]: row[2] for row in sessions(box)}.items())


def test_what_livekeep_itself_does_is_recorded(box: RecordRoom) -> None:
    box.goes_live()
    box.vimeo.go_off()
    box.shows("holding")
    names = box.until(
        "the picture's changes are there", lambda: box.query("SELECT DISTINCT unit FROM events WHERE name = 'picture-changed'")
    )
    assert names == [[PLAYER]]


def test_the_address_is_all_that_mails_need(box: RecordRoom) -> None:
    """It is read from a pipe, stored for root only, and tested."""
    url = box.mailbox.url.replace("mailto://", f"mailto://somebody:{PASSWORD}@")
    done = box.machine.run(["livekeep", "alert", "set-address", "me"], input=f"{url}\n")
    assert PASSWORD not in done.stdout + done.stderr
    assert box.machine.run(["stat", "-c", "%a %U", CREDENTIAL]).stdout == "600 root\n"
    box.livekeep("alert", "test", "me", check=True)
    box.mailbox.waits_for("the trial", lambda _message: True, 30)
    box.mailbox.forget()


def fits(*words: str) -> Any:
    """A mail with these words in its subject or text."""

    def of(message: EmailMessage) -> bool:
        text = f"{message['Subject']}\n{text_of(message)}"
        return all(word in text for word in words)

    return of


def test_the_first_mail_comes_when_the_screen_is_dark(box: RecordRoom) -> None:
    """With the reason; another one when it is over. The default is five minutes; the room's is five seconds."""
    assert (SHIPPED_ALERTS["down"].kind, SHIPPED_ALERTS["down"].for_seconds) == ("verdict", 300.0)
    box.machine.systemctl("stop", DISPLAY)
    mail = box.mailbox.waits_for("that the screen is dark", fits("down", "sudo livekeep doctor"), 90)
    assert "livekeep-display" in text_of(mail) or "display" in str(mail["Subject"])
    opened = box.part_state("alerter")["open"]
    assert [alert["rule"] for alert in opened if alert["rule"] == "down"] == ["down"]
    assert "Alert" in box.livekeep("status")
    box.mailbox.forget()
    box.machine.systemctl("start", DISPLAY)
    box.shows("holding", within=60)
    box.mailbox.waits_for("that it is over", fits("down", "over"), 90)
    box.until("no alert is open", lambda: not [it for it in box.part_state("alerter")["open"] if it["rule"] == "down"])


def test_a_new_rule_counts_at_once_and_a_faulty_one_changes_nothing(box: RecordRoom) -> None:
    pids = [box.main_pid(unit) for unit in (RECORDER, ALERTER)]
    rules = box.part_state("alerter")["rules"]
    box.write_config({"alerts.mine": {"kind": "event", "event": "session-ended", "match": ["OUTCOME=succeeded"]}})
    box.until("it knows the rule", lambda: box.part_state("alerter")["rules"] == rules + 1)
    box.write_config({"alerts.mine": {"kind": "nonsense"}})
    box.until("it is said", lambda: "alerts.mine.kind" in box.machine.journal(ALERTER, "LIVEKEEP_EVENT=config-rejected"))
    assert box.part_state("alerter")["rules"] == rules + 1
    box.write_config()
    box.until("it is as before", lambda: box.part_state("alerter")["rules"] == rules)
    assert [box.main_pid(unit) for unit in (RECORDER, ALERTER)] == pids


def test_a_recorder_that_is_killed_loses_nothing_and_doubles_nothing(box: RecordRoom) -> None:
    before = counts(box)
    reported = None
    for _round in range(3):
        pid = box.signal(RECORDER, signal.SIGKILL)
        reported = box.run_job("--clips", "2", "--calls", "2000")
        box.is_renewed(RECORDER, pid)
        expected = {name: before.get(name, 0) + count for name, count in reported["calls"].items()}
        box.until("all calls are in the record", lambda expected=expected: has_all(box, expected))  # type: ignore[misc]
        result = counts(box)
        assert {name: result[name] for name in expected} == expected
        before = result
    assert box.query("SELECT count(*) FROM losses WHERE reason = 'gap'") == [[0]]


def test_the_pages_end_when_nobody_reads(box: RecordRoom) -> None:
    """And start again with the next reader."""
    box.write_config({"web": {"idle_seconds": 5.0}})
    box.page("/")
    box.until("it has ended", lambda: box.machine.unit_property(WEB, "ActiveState") == "inactive", 60)
    assert box.page("/jobs")[0] == 200
    assert box.machine.unit_property(WEB_SOCKET, "ActiveState") == "active"
    box.write_config()


def test_the_record_goes_on_after_a_restart_of_the_machine(box: RecordRoom) -> None:
    before = counts(box)
    box.machine.reboot()
    box.until(
        "the part is back",
        lambda: box.machine.systemctl("is-active", *ENABLED, check=False).stdout.split() == ["active"] * len(ENABLED),
    )
    reported = box.run_job("--clips", "1", "--calls", "10")
    expected = {name: before.get(name, 0) + count for name, count in reported["calls"].items()}
    box.until("all calls are in the record", lambda: has_all(box, expected))
    assert {name: counts(box)[name] for name in expected} == expected
    assert box.page("/")[0] == 200


def test_no_secret_is_where_others_can_read_it(box: RecordRoom) -> None:
    """Not in the journal, in states, among the processes, or in the record."""
    box.page("/")
    machine = box.machine
    places = "/run/livekeep /var/lib/livekeep /var/log/livekeep"
    processes = machine.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False).stdout
    assert [secret for secret in SECRETS if secret in processes] == []
    for secret in SECRETS:
        # The job's own unit does not show its input anywhere.
        assert machine.run(["journalctl", "--no-pager", "--all", "-o", "export", f"--grep={secret}"], check=False).stdout == ""
        assert machine.run(f"grep -rl -- '{secret}' {places}", check=False).stdout == "", secret
    commands = ("livekeep status", "livekeep status --json", "livekeep alert list", "livekeep doctor")
    reported = "".join(machine.run(command, check=False).stdout for command in commands)
    assert [secret for secret in SECRETS if secret in reported] == []


def test_the_clip_analyzer_runs_as_its_unit_and_others_read_its_results(box: RecordRoom) -> None:
    box.machine.write("/srv/clips.json", '[{"id": 1024, "name": "Winter choir", "plays": 5}]')
    box.write_config({"clips.hall": {"file": "/srv/clips.json"}})
    box.machine.systemctl("start", CLIPS)
    result = box.part_state("clips")
    assert (result["outcome"], result["clips"], result["reason"]) == ("succeeded", 1, "")
    as_web = ["setpriv", "--reuid=livekeep-web", "--regid=livekeep", "--clear-groups"]
    shown = box.machine.run([*as_web, "livekeep", "clips", "list", "--all", "--json"]).stdout
    assert [clip["name"] for clip in json.loads(shown)["clips"]] == ["Winter choir"]
    runs = "SELECT s.outcome FROM sessions s JOIN processes p ON p.id = s.process WHERE p.unit = ? AND s.outcome <> 'running'"
    box.until("the run is on record", lambda: box.query(runs, CLIPS) == [["succeeded"]])
    of_run = "SELECT s.id FROM sessions s JOIN processes p ON p.id = s.process WHERE p.unit = ?"
    steps = box.query(f"SELECT DISTINCT name FROM steps WHERE session IN ({of_run})", CLIPS)  # noqa: S608
    assert sorted(name for (name,) in steps) == ["fetch", "publish", "score", "snapshot"]


def test_clips_that_cannot_be_fetched_are_an_event_once(box: RecordRoom) -> None:
    box.machine.write("/srv/clips.json", "[")
    for _ in range(2):
        box.machine.systemctl("start", CLIPS)
    assert box.part_state("clips")["outcome"] == "failed"
    entries = box.machine.journal_entries(None, "LIVEKEEP_EVENT=clips-failed")
    fields = [[entry[f"LIVEKEEP_{name}"] for name in ("SOURCE", "REASON")] for entry in entries]
    assert fields == [["hall", "/srv/clips.json: is not valid JSON"]]
    box.until("the event is in the record", lambda: box.query("SELECT count(*) FROM events WHERE name = 'clips-failed'") == [[1]])
    box.write_config()
