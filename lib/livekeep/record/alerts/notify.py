"""Submits messages of other programs to livekeep-alerter: as files in its spool, which it takes at once.

Only the alerter writes its database. A program with a message, such as livekeep-report, only needs to be in group livekeep (and,
in a unit, `ReadWritePaths=-/var/lib/livekeep/alerter/spool`). Files in the spool wait while the alerter does not run. Once taken,
a message is never lost: see `outbox`. Standard library only.
"""

import base64
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from livekeep.core import files, paths
from livekeep.core.config.record import SEVERITIES
from livekeep.core.errors import TemporaryError

SPOOL = paths.ROOT / "var/lib/livekeep/alerter/spool"
SUFFIX = ".message"
LARGEST_FILE_BYTES = 24 * 1024 * 1024
LARGEST_ATTACHMENTS_BYTES = 16 * 1024 * 1024
"""Total per message; most mail servers accept no more."""
LONGEST_TITLE = 200
LONGEST_TEXT = 256 * 1024


@dataclass(frozen=True)
class Attachment:
    name: str
    """The file name that the recipient sees."""
    type: str
    """Such as "application/pdf"."""
    content: bytes


@dataclass(frozen=True)
class Message:
    """What recipients get. A channel without HTML support gets the text."""

    title: str
    text: str
    html: str = ""
    severity: str = "info"
    channels: tuple[str, ...] = ()
    """Names of [notify.NAME]; () for all that accept this severity. A named channel gets it whatever its severity."""
    attachments: tuple[Attachment, ...] = ()


def submit(message: Message, spool: Path = SPOOL) -> None:
    """Submit `message` to livekeep-alerter. When this returns, the whole message is on the disk.

    Raises `ValueError` for a message that it would refuse, and `TemporaryError` when the spool cannot be written.
    """
    encoded = [base64.b64encode(it.content).decode("ascii") for it in message.attachments]
    attachments = [
        {"name": it.name, "type": it.type, "content": content} for it, content in zip(message.attachments, encoded, strict=True)
    ]
    content = json.dumps({**vars(message), "attachments": attachments}, ensure_ascii=False).encode()
    decode(content)
    drop(content, SUFFIX, spool)


def drop(content: bytes, suffix: str, spool: Path = SPOOL) -> str:
    """Put a file in the spool atomically; return its name without suffix. Raises `TemporaryError`."""
    token = uuid.uuid4().hex
    try:
        # The owner shows who it is from; the group, livekeep, comes from the folder.
        files.replace(spool / f"{token}{suffix}", content, 0o640, (-1, -1))
    except FileNotFoundError as error:
        raise TemporaryError(f"{spool}: missing; install the part record, or run: systemd-tmpfiles --create") from error
    except OSError as error:
        advice = "; run this with sudo" if isinstance(error, PermissionError) and os.geteuid() != 0 else ""
        raise TemporaryError(f"{spool}: cannot be written ({error.strerror}){advice}") from error
    return token


def decode(content: bytes) -> Message:
    """Decode a spool file. Raises `ValueError` that says what is wrong with it."""
    document = json.loads(content)
    try:
        attachments = [
            Attachment(str(it["name"]), str(it["type"]), base64.b64decode(it["content"], validate=True))
            for it in document.get("attachments", ())
        ]
        message = Message(
            str(document["title"]),
            str(document["text"]),
            str(document.get("html", "")),
            str(document.get("severity", "info")),
            tuple(map(str, document.get("channels", ()))),
            tuple(attachments),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"is not a message ({error})") from error
    if message.severity not in SEVERITIES:
        raise ValueError(f"severity: must be one of {', '.join(SEVERITIES)}")
    if not message.title.strip() or len(message.title) > LONGEST_TITLE or not message.title.isprintable():
        raise ValueError(f"title: must be one line of at most {LONGEST_TITLE} characters")
    if len(message.text) > LONGEST_TEXT or len(message.html) > 4 * LONGEST_TEXT:
        raise ValueError(f"text: must have at most {LONGEST_TEXT} characters, and html four times as many")
    if sum(len(it.content) for it in message.attachments) > LARGEST_ATTACHMENTS_BYTES:
        raise ValueError(f"attachments: must have at most {LARGEST_ATTACHMENTS_BYTES // 1024**2} MiB together")
    for it in message.attachments:
        if not it.name.isprintable() or "/" in it.name or not it.name or not it.type.isprintable() or "/" not in it.type:
            raise ValueError('attachments: must have a file\'s name and a type such as "application/pdf"')
    return message
