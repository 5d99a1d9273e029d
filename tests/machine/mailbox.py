"""A mail server in the room's network: accepts and keeps every message, and can refuse or stay silent.

`Mailbox` is the test's client; the process implements the SMTP that a client without encryption and password needs.
"""

from __future__ import annotations

import email
import email.policy
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from typing import Any

from tests.machine.machine import wait_for
from tests.machine.standin import StandIn, parse, serve

OK = dict.fromkeys(("MAIL", "RCPT", "RSET", "NOOP"), "250 ok")
ANSWERS = {"HELO": "250 mailbox", "EHLO": "250-mailbox\r\n250 AUTH PLAIN LOGIN", **OK}
LONGEST_LINE_BYTES = 1 << 20


class Post:
    """The process's received messages, and its behaviour."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.messages: list[dict[str, Any]] = []
        self.refuses = False

    def control(self, do: str, arguments: dict[str, Any]) -> Any:
        with self.lock:
            if do == "messages":
                return self.messages
            if do == "forget":
                self.messages = []
            if do == "refuse":
                self.refuses = bool(arguments["on"])
        return None


POST = Post()


class SmtpHandler(socketserver.StreamRequestHandler):
    """One connection."""

    timeout = 60

    def handle(self) -> None:
        self.say("220 mailbox ESMTP")
        while line := self.rfile.readline(LONGEST_LINE_BYTES):
            word = line[:4].decode("ascii", "replace").upper()
            if word == "QUIT":
                self.say("221 bye")
                return
            if word == "DATA":
                self.take()
            elif word == "AUTH":
                self.let_in(line)
            elif word == "MAIL" and POST.refuses:
                self.say("451 not now")
            else:
                self.say(ANSWERS.get(word, "502 not here"))

    def let_in(self, line: bytes) -> None:
        """Accept any login; a client may send name and password separately."""
        words = line.split()
        for question in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")[len(words) - 2 :] if words[1].upper() == b"LOGIN" else ():
            self.say(f"334 {question}")
            self.rfile.readline(LONGEST_LINE_BYTES)
        self.say("235 come in")

    def take(self) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline(LONGEST_LINE_BYTES)) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        with POST.lock:
            POST.messages.append({"at": time.time(), "raw": b"".join(lines).decode("utf-8", "replace")})
        self.say("250 taken")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class Mailbox(StandIn):
    """The test's client."""

    module = "tests.machine.mailbox"

    @property
    def url(self) -> str:
        """In apprise's form."""
        return f"mailto://{self.address}?from=box@example.org&to=me@example.org"

    def messages(self) -> list[EmailMessage]:
        """All received messages, the oldest first."""
        return [read(it["raw"]) for it in self.ask("messages")]

    def waits_for(self, what: str, fits: Callable[[EmailMessage], bool], within: float) -> EmailMessage:
        """The first message that fits. Raises `TimeoutError` with the subjects of the others."""
        try:
            return wait_for(lambda: next(filter(fits, self.messages()), None), within, 0.2)  # type: ignore[return-value]
        except TimeoutError as error:
            came = [str(message["Subject"]) for message in self.messages()]
            raise TimeoutError(f"no mail: {what}; came: {came}") from error

    def forget(self) -> None:
        self.ask("forget")

    def refuse(self, on: bool = True) -> None:
        """Refuse all messages for now."""
        self.ask("refuse", on=on)


def read(raw: str) -> EmailMessage:
    message = email.message_from_string(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    """All that a reader sees: the words of the text and the HTML."""
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n".join(str(part.get_content()) for part in parts)


def main(argv: Sequence[str] | None = None) -> int:
    return serve(SmtpHandler, POST.control, parse(argv))


if __name__ == "__main__":
    sys.exit(main())
