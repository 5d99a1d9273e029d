"""Messages of other programs: put in the spool atomically, taken unchanged, and refused at submission if invalid."""

from pathlib import Path

import pytest

from livekeep.core.errors import TemporaryError
from livekeep.record.alerts import notify
from livekeep.record.alerts.notify import Attachment, Message

REPORT = Message(
    "Week 48", "Text – signs", "<p>HTML</p>", "warning", ("me", "team"), (Attachment("w.pdf", "application/pdf", b"\0%PDF"),)
)


def test_a_message_arrives_as_it_was_given(tmp_path: Path) -> None:
    notify.submit(REPORT, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.suffix == notify.SUFFIX
    assert notify.decode(file.read_bytes()) == REPORT


@pytest.mark.parametrize(
    "unfit",
    [
        Message("", "x"),
        Message("two\nlines", "x"),
        Message("x", "x", severity="loud"),
        Message("x", "x" * (notify.LONGEST_TEXT + 1)),
        Message("x", "x", attachments=(Attachment("../x", "text/plain", b""),)),
        Message("x", "x", attachments=(Attachment("x", "text", b""),)),
    ],
)
def test_an_unfit_message_is_refused_before_it_is_dropped(unfit: Message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must"):
        notify.submit(unfit, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"title": "x"}', b'{"title": "x", "text": "y", "attachments": [1]}'])
def test_what_is_no_message_is_named_so(content: bytes) -> None:
    with pytest.raises(ValueError):
        notify.decode(content)


def test_without_a_spool_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="install the part record"):
        notify.submit(REPORT, tmp_path / "none")
