"""A report's delivery: the real program, the real alerter, a mail server."""

import email
import email.policy
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from livekeep.record.moments import midnight
from livekeep.record.reports.period import date_of
from tests.outside import PROJECT
from tests.record.alert_box import Box, MailServer, box_in, wait_for


@pytest.fixture
def box(tmp_path: Path, mail: MailServer) -> Iterator[Box]:
    with box_in(tmp_path) as made:
        (tmp_path / "var/lib/livekeep/reports").mkdir()
        made.configure(f'[notify.me]\naddress = "{mail.address()}"\n')
        today = date_of(time.time())
        for days_ago in (1, today.weekday() + 3):
            made.session("clip <analysis> – größer", "failed", midnight(today - timedelta(days_ago)) + 50_000)
        yield made


def report(box: Box, kind: str) -> None:
    ran = subprocess.run(
        [PROJECT / "bin/livekeep-report", "--scheduled", kind], env=box.environment(), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def received(mail: MailServer) -> EmailMessage:
    wait_for(lambda: mail.mails, "a mail")
    (raw,) = mail.mails
    message = email.message_from_string(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, kind: str) -> str:
    result = message.get_body((kind,))
    assert isinstance(result, EmailMessage)
    return str(result.get_content())


def test_a_daily_report_arrives_as_text_and_html(box: Box, mail: MailServer) -> None:
    box.start()
    report(box, "daily")
    message = received(mail)
    assert "foyer: 1 of 1 job failed" in str(message["Subject"])
    assert "clip <analysis> – größer failed 1 time" in " ".join(part(message, "plain").split())
    assert "clip &lt;analysis&gt; – größer failed 1 time" in part(message, "html")
    assert list(message.iter_attachments()) == []


def test_a_weekly_report_arrives_with_its_pdf_after_the_alerter_was_away(box: Box, mail: MailServer) -> None:
    report(box, "weekly")
    box.start()
    message = received(mail)
    assert "(Week " in str(message["Subject"])
    (attached,) = message.iter_attachments()
    assert attached.get_content_type() == "application/pdf"
    pdf = attached.get_content()
    assert [path.name for path in (box.root / "var/lib/livekeep/reports").glob("*.pdf")] == [attached.get_filename()]
    text = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
    assert "job failed" in text or "jobs failed" in text
    assert "clip <analysis> – größer" in text
