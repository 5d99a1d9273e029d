"""Reports on a real machine, in their sandbox: a missed timer catches up with the right day, and the mail arrives."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import date, timedelta
from email.message import EmailMessage

import pytest

from livekeep.record.moments import midnight
from livekeep.record.reports.period import date_of
from tests.machine.machine import wait_for
from tests.machine.mailbox import text_of
from tests.machine.record_room import RecordRoom
from tests.record.entries import Job

SECOND = 1_000_000
DAILY, WEEKLY = "livekeep-report@daily", "livekeep-report@weekly"
FOLDER = "/var/lib/livekeep/reports"


@pytest.fixture(scope="module", params=("trixie",))
def box(request: pytest.FixtureRequest) -> Iterator[RecordRoom]:
    """A box whose jobs failed yesterday and in the week before, and whose mails arrive."""
    with RecordRoom(request.param, kept=True) as room:
        today = date_of(time.time())
        room.machine.write(
            "/root/jobs.jsonl", "".join(failed_job(room, today - timedelta(days)) for days in (1, today.weekday() + 3))
        )
        room.livekeep("record", "import", "/root/jobs.jsonl", check=True)
        room.machine.run(["livekeep", "alert", "set-address", "me"], input=f"{room.mailbox.url}\n")
        yield room


def failed_job(box: RecordRoom, day: date) -> str:
    """In the form of a file of LIVEKEEP_EVENTS."""
    hostname, machine_id = box.machine.run("hostname; cat /etc/machine-id").stdout.split()
    job = Job(hostname=hostname, machine=machine_id, boot="0" * 32)
    began, token = round(midnight(day) * SECOND) + 40_000 * SECOND, f"made-{day}"
    session = {"name": "clip analysis", "began": began, "ended": began + 5 * SECOND, "outcome": "failed", "total": 9, "done": 7}
    return f"{json.dumps(job.entry([('cut', began, 1000, 'failed')], [['s', token, session]], at=began, session=token))}\n"


def mail(box: RecordRoom, word: str) -> EmailMessage:
    return box.mailbox.waits_for(f"a report: {word}", lambda message: word in str(message["Subject"]), 60)


def test_a_timer_that_was_missed_reports_on_the_day_before(box: RecordRoom) -> None:
    """The box was off at half past six."""
    machine, yesterday = box.machine, date_of(time.time()) - timedelta(1)
    machine.systemctl("stop", f"{DAILY}.timer")
    machine.run(f"mkdir -p /etc/systemd/system/{DAILY}.timer.d")
    machine.write(f"/etc/systemd/system/{DAILY}.timer.d/soon.conf", "[Timer]\nRandomizedDelaySec=0\n")
    machine.run(f"touch -d '3 days ago' '/var/lib/systemd/timers/stamp-{DAILY}.timer'")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", f"{DAILY}.timer")
    message = mail(box, f"{yesterday.day} {yesterday:%B %Y}")
    assert "1 of 1 job failed" in str(message["Subject"])
    assert "clip analysis failed 1 time" in text_of(message)
    wait_for(lambda: machine.unit_property(f"{DAILY}.service", "ActiveState") == "inactive", 30)
    assert machine.unit_property(f"{DAILY}.service", "Result") == "success"
    assert f"daily-{yesterday}.html" in machine.run(["ls", FOLDER]).stdout
    assert machine.run(["stat", "-c", "%a %U:%G", FOLDER]).stdout == "750 livekeep-report:livekeep\n"


def test_a_week_comes_as_a_pdf(box: RecordRoom) -> None:
    box.machine.systemctl("start", f"{WEEKLY}.service")
    (attached,) = mail(box, "(Week ").iter_attachments()
    printed = subprocess.run(
        ["pdftotext", "-layout", "-", "-"], input=attached.get_content(), capture_output=True, check=True
    ).stdout
    assert b"clip analysis" in printed
    assert attached.get_filename() in box.machine.run(["ls", FOLDER]).stdout


def test_what_was_reported_on_is_not_reported_on_again(box: RecordRoom) -> None:
    before = len(box.mailbox.messages())
    for unit in (DAILY, WEEKLY):
        box.machine.systemctl("start", f"{unit}.service")
        assert "report is due" in box.machine.journal(f"{unit}.service")
    assert len(box.mailbox.messages()) == before
    assert box.machine.run("ls /var/lib/livekeep/alerter/spool").stdout == ""


def test_a_person_gets_one_of_any_days(box: RecordRoom) -> None:
    reported = box.livekeep("report", "--from", "yesterday", "--to", "yesterday", check=True)
    assert "1 of 1 job failed" in reported
    refused = box.machine.run(["livekeep", "report"], user="nobody", check=False)
    assert refused.returncode == 1
    assert "group livekeep" in refused.stderr
