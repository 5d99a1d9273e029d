"""Delivers a batch of messages to one channel, as a short-lived process: reads them from standard input, writes receipts.

It is a child of livekeep-alerter (`livekeep-alerter --deliver`), because apprise takes 27 MB once imported, and ending the child
ends a hanging connection. The address comes from standard input, never from the command line. Each receipt is a line of JSON on
standard output, which is a file that outlives both processes: a delivery is on the disk at once, whatever is killed next.

Mail: apprise parses the address, the standard library sends. So a message keeps its Message-ID over all attempts (a retry after a
lost reply does not look like a new mail), each recipient that accepted it is recorded, and certificates are checked. apprise
sends everything else.

| receipt                                              | means                                                          |
|------------------------------------------------------|----------------------------------------------------------------|
| {"message": 7, "taken": ["…"], "reason": ""}          | these recipients (digests) have it now; all that there are     |
| {"message": 7, "taken": ["…"], "reason": "550 …"}     | these have it, others do not, for that reason                  |
| {"message": 7, …, "is_channel": true}                 | the same will happen to every other message: the batch ends    |
"""

import base64
import contextlib
import email.policy
import email.utils
import hashlib
import json
import logging
import os
import re
import signal
import smtplib
import socket
import ssl
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from livekeep.core.text import shown
from livekeep.system.redaction import redacted

READ_SECONDS = 30.0
CONNECT_SECONDS = 10.0
"""Used where the address has no rto= and cto=. Many mail servers delay unknown clients."""
TAIL_BYTES = 256 * 1024
LONGEST_REASON = 200
SUBMISSION_PORT = 587
HAS_PORT = re.compile(r"[^:/]+://(?:[^/?#]*@)?[^/?#:@]+:[0-9]+")
KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
"""Severity → apprise's notification type."""


class DeliveryError(Exception):
    """Not delivered. The text says why, without secrets. `is_channel`: any other message would fail the same way."""

    def __init__(self, reason: str, is_channel: bool) -> None:
        super().__init__(reason)
        self.is_channel = is_channel


@dataclass(frozen=True)
class Item:
    """A message in the batch."""

    message: int
    token: str
    created_at: float
    severity: str
    title: str
    text: str
    html: str
    taken: frozenset[str]
    """Digests of recipients that already have it."""
    attachments: tuple[tuple[str, str, bytes], ...]


def main() -> int:
    batch = json.load(sys.stdin.buffer)
    # The parent, which would end it, may be gone.
    signal.alarm(int(batch["seconds"]))
    # The current message is completed, so that its result is known.
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    address, file = str(batch["address"]), str(batch["file"])
    if not file:
        follow_no_redirect_that_drops_the_body()
    for document in batch["messages"]:
        attachments = tuple((it["name"], it["type"], base64.b64decode(it["content"])) for it in document["attachments"])
        item = Item(**{**document, "taken": frozenset(document["taken"]), "attachments": attachments})
        taken: set[str] = set()
        reason, is_channel = "", False
        try:
            for recipient in deliver_to_file(file, item) if file else deliver(address, item):
                taken.add(recipient)
        except DeliveryError as error:
            reason, is_channel = clean(str(error), address), error.is_channel
        except Exception as error:
            # Whatever a plugin raises, the message waits and is retried.
            reason = clean(f"{type(error).__name__}: {error}", address)
        receipt = {"message": item.message, "taken": sorted(taken), "reason": reason, "is_channel": is_channel}
        os.write(1, json.dumps(receipt).encode() + b"\n")
        with contextlib.suppress(OSError):
            os.fsync(1)
        if is_channel or asked:
            break
    return 0


def digest(recipient: object) -> str:
    """The database's representation of a recipient."""
    return hashlib.sha256(repr(recipient).encode()).hexdigest()[:16]


def clean(reason: str, address: str) -> str:
    """The reason on one line, without secrets: every piece of the address except its host is removed."""
    return redacted(shown(reason), secrets_of(address))[:LONGEST_REASON] or "no reason was given"


def secrets_of(address: str) -> list[str]:
    """Pieces of an address that may be a password or a token, encoded and decoded; the longest first."""
    _scheme, _, rest = address.partition("://")
    authority, *path = rest.replace("?", "/").replace("&", "/").split("/")
    user = authority.rpartition("@")[0]
    pieces = {*user.split(":", 1), *(piece.partition("=")[2] or piece for piece in path)}
    pieces |= {urllib.parse.unquote(piece) for piece in pieces}
    return sorted((piece for piece in pieces if len(piece) >= 4), key=len, reverse=True)


# A file


def deliver_to_file(name: str, item: Item) -> Iterator[str]:
    """Append a message once: the end of the file is searched for its token."""
    mark = f"[{item.token}]"
    try:
        with Path(name).open("a+b") as file:
            file.seek(max(file.tell() - TAIL_BYTES, 0))
            if mark.encode() not in file.read():
                file.write(f"{'=' * 72}\n{item.title} {mark}\n\n{item.text}\n".encode())
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise DeliveryError(f"{name}: cannot be written ({error.strerror})", is_channel=True) from error
    yield digest(name)


# Servers


def deliver(address: str, item: Item) -> Iterator[str]:
    """Return the digest of each recipient that accepted the message now. Raises `DeliveryError` when one did not."""
    service = service_of(address)
    # apprise handles messages that are encrypted for the recipient.
    if is_mail(service) and not getattr(service, "use_pgp", False):
        yield from deliver_mail(service, item)
    else:
        yield from deliver_by_apprise(service, item)


def service_of(address: str) -> Any:
    """apprise's object for an address, with our timeouts if it has none. Raises `DeliveryError` for an invalid address."""
    import apprise  # noqa: PLC0415 – what writes to a file does not need it

    logging.getLogger("apprise").addHandler(logging.NullHandler())
    service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if service is None:
        raise DeliveryError("apprise cannot use the address; give another: sudo livekeep alert set-address", is_channel=True)
    if "rto=" not in address:
        service.socket_read_timeout = READ_SECONDS
    if "cto=" not in address:
        service.socket_connect_timeout = CONNECT_SECONDS
    if is_mail(service) and not HAS_PORT.match(address) and service.secure and service.secure_mode == "ssl":
        # apprise of bookworm uses the STARTTLS port.
        service.port = smtplib.SMTP_SSL_PORT
    return service


def is_mail(service: Any) -> bool:
    return bool(service.secure_protocol == "mailtos" and service.smtp_host)


def deliver_mail(service: Any, item: Item) -> Iterator[str]:
    recipients = [target[1] for target in service.targets] + sorted(service.cc) + sorted(service.bcc)
    waiting = [recipient for recipient in dict.fromkeys(recipients) if digest(recipient) not in item.taken]
    if not recipients:
        raise DeliveryError("the address names nobody; add ?to=me@example.org", is_channel=True)
    if not waiting:
        return
    server = connect(service)
    try:
        refused = server.sendmail(service.from_addr[1], waiting, mail_of(service, item))
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except smtplib.SMTPResponseException as error:
        raise DeliveryError(answer(error.smtp_code, error.smtp_error), is_channel=False) from error
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryError(f"{service.smtp_host}: {said(error)}", is_channel=True) from error
    finally:
        # The reply does not matter: the server has the message, or not.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            if server.sock:
                server.sock.settimeout(2.0)
            server.quit()
    yield from (digest(recipient) for recipient in waiting if recipient not in refused)
    for code, text in refused.values():
        raise DeliveryError(answer(code, text), is_channel=False)


def connect(service: Any) -> smtplib.SMTP:
    """Open a session with the mail server that can take a message. Raises `DeliveryError`."""
    context = ssl.create_default_context()
    if not service.verify_certificate:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    is_tls = service.secure and service.secure_mode == "ssl"
    port = service.port or (SUBMISSION_PORT if service.secure else smtplib.SMTP_PORT)
    name = socket.gethostname()
    try:
        server: smtplib.SMTP
        # Includes the greeting, which a busy server may delay.
        seconds = max(service.socket_connect_timeout, service.socket_read_timeout)
        if is_tls:
            server = smtplib.SMTP_SSL(service.smtp_host, port, name, timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(service.smtp_host, port, name, timeout=seconds)
        if server.sock:
            server.sock.settimeout(service.socket_read_timeout)
        if service.secure and not is_tls:
            server.starttls(context=context)
        if service.user and service.password:
            server.login(service.user, service.password)
    except smtplib.SMTPResponseException as error:
        raise DeliveryError(answer(error.smtp_code, error.smtp_error), is_channel=True) from error
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryError(f"{service.smtp_host}: {said(error)}", is_channel=True) from error
    return server


def mail_of(service: Any, item: Item) -> bytes:
    host = socket.gethostname()
    name = service.from_addr[0] if service.from_addr[0] not in (False, None, "", "Apprise") else "livekeep"
    mail = EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
    mail["Subject"] = item.title
    mail["From"] = email.utils.formataddr((name, service.from_addr[1]))
    mail["To"] = ", ".join(email.utils.formataddr((target[0] or "", target[1])) for target in service.targets)
    if service.cc:
        mail["Cc"] = ", ".join(sorted(service.cc))
    if service.reply_to:
        mail["Reply-To"] = ", ".join(sorted(service.reply_to))
    mail["Date"] = email.utils.formatdate(item.created_at, localtime=True)
    mail["Message-ID"] = f"<livekeep.{item.token}@{host}>"
    mail["Auto-Submitted"] = "auto-generated"
    for header, value in service.headers.items():
        if header.lower() not in {known.lower() for known in mail}:
            mail[header] = value
    mail.set_content(item.text)
    if item.html:
        mail.add_alternative(item.html, subtype="html")
    for file, kind, content in item.attachments:
        main, _, sub = kind.partition("/")
        mail.add_attachment(content, maintype=main, subtype=sub, filename=file)
    return mail.as_bytes()


def answer(code: int, text: bytes | str) -> str:
    """The mail server's reply."""
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"the mail server says {code} {words}".strip()


def said(error: Exception) -> str:
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


class Words(logging.Handler):
    """Keeps apprise's last warning, because apprise only returns yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def deliver_by_apprise(service: Any, item: Item) -> Iterator[str]:
    words = Words()
    logging.getLogger("apprise").addHandler(words)
    targets = getattr(service, "targets", None)
    # One by one, because the result covers the whole call: a recipient must not get it again because of another.
    parts = list(targets) if isinstance(targets, list) and len(targets) > 1 else [None]
    failed = ""
    with tempfile.TemporaryDirectory(prefix="livekeep-") as folder:
        files = []
        for file_name, _kind, content in item.attachments:
            file = Path(folder, file_name)
            file.write_bytes(content)
            files.append(str(file))
        for part in parts:
            if part is not None:
                service.targets = [part]
            name = digest(part if part is not None else "all")
            if name in item.taken:
                continue
            if send(service, item, files):
                yield name
            else:
                failed = words.text or "it was not accepted"
    if failed:
        raise DeliveryError(failed, is_channel=len(parts) == 1)


def send(service: Any, item: Item, files: list[str]) -> bool:
    import apprise  # noqa: PLC0415

    is_html = service.notify_format == apprise.NotifyFormat.HTML and bool(item.html)
    sender = apprise.Apprise()
    sender.add(service)
    return bool(
        sender.notify(
            body=item.html if is_html else item.text,
            title=item.title,
            notify_type=KINDS[item.severity],
            body_format=apprise.NotifyFormat.HTML if is_html else apprise.NotifyFormat.TEXT,
            attach=files or None,
        )
    )


def follow_no_redirect_that_drops_the_body() -> None:
    """On 301, 302 and 303 the library sends a GET without the message, and takes that page for success."""
    import requests  # noqa: PLC0415

    follow = requests.Session.get_redirect_target

    def careful(session: requests.Session, response: requests.Response) -> str | None:
        return follow(session, response) if response.status_code in (307, 308) else None

    requests.Session.get_redirect_target = careful
