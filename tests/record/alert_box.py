"""A box for the alerter: a root with a record, the program itself, and mail and web servers with configurable behaviour."""

import base64
import contextlib
import http.server
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from livekeep.record.store import schema
from livekeep.record.store.summaries import Summaries
from tests.outside import PROJECT

Result = TypeVar("Result")
LONGEST_WAIT_SECONDS = 60.0
SECOND = 1_000_000


def wait_for(condition: Callable[[], Result], what: str = "", seconds: float = LONGEST_WAIT_SECONDS) -> Result:
    """The first true result of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what or condition}")


class MailServer:
    """Accepts mail on 127.0.0.1 as in RFC 5321. `refuse`: a recipient, or a command such as "DATA", and the reply to it."""

    def __init__(self, certificate: Path | None = None, is_tls_from_the_start: bool = False) -> None:
        """`certificate`: with its key in the same file; the server then offers STARTTLS, or speaks TLS from the first byte on."""
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._is_tls_from_the_start = is_tls_from_the_start
        self.connections = 0
        self.was_encrypted: list[bool] = []
        self.logins: list[str] = []
        self.mails: list[str] = []
        self.recipients: list[list[str]] = []
        self.refuse: dict[str, str] = {}
        self.delay_seconds = 0.0
        self.cuts_after_data = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def address(self, to: str = "me@example.org", options: str = "") -> str:
        return f"mailto://127.0.0.1:{self.port}?from=tv@example.org&to={to}{options}"

    def subjects(self) -> list[str]:
        return [re.sub(r"\r\n\s", " ", re.search(r"^Subject: ((?:.|\r\n\s)*?)\r\n\S", mail, re.M)[1]) for mail in self.mails]  # type: ignore[index]

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, ValueError):
            if self._context and self._is_tls_from_the_start:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                time.sleep(self.delay_seconds)
                connection.sendall(b"220 mail.example.org\r\n")
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        file = connection.makefile("rwb")

        def say(line: str) -> None:
            file.write(f"{line}\r\n".encode())
            file.flush()

        is_encrypted = isinstance(connection, ssl.SSLSocket)
        recipients: list[str] = []
        while line := file.readline().decode().strip():
            word = line.split()[0].upper()
            result = re.search(r"TO:<(.*?)>", line, re.I)
            refusal = self.refuse.get(result[1] if result else word)
            if refusal:
                say(refusal)
                continue
            if result:
                recipients.append(result[1])
            if word == "AUTH":
                self.logins.append(base64.b64decode(line.split()[2]).decode())
            say(self._reply(word, is_encrypted))
            if word == "QUIT":
                return
            if word == "STARTTLS" and self._context:
                self._talk(self._context.wrap_socket(connection, server_side=True))
                return
            if word == "DATA":
                self._take(file, recipients, is_encrypted)
                recipients = []
                if self.cuts_after_data:
                    return
                say("250 taken")

    def _reply(self, word: str, is_encrypted: bool) -> str:
        offer = "AUTH PLAIN" if is_encrypted or not self._context else "STARTTLS"
        replies = {"QUIT": "221 bye", "DATA": "354 go on", "AUTH": "235 welcome", "STARTTLS": "220 go on"}
        return f"250-mail.example.org\r\n250 {offer}" if word == "EHLO" else replies.get(word, "250 well")

    def _take(self, file: Any, recipients: list[str], is_encrypted: bool) -> None:
        lines = []
        while (part := file.readline()) not in (b".\r\n", b""):
            lines.append(part)
        self.recipients.append(recipients)
        self.was_encrypted.append(is_encrypted)
        self.mails.append(b"".join(lines).decode())


class WebHook:
    """Accepts POSTs on 127.0.0.1 and responds with `status`; None: never."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.tries = 0
        self.status: int | None = 200
        self.location = ""
        self._hang = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.tries += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status is None:
                    hook._hang.wait()
                    return
                if hook.status < 300:
                    hook.taken.append(json.loads(body))
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def address(self, options: str = "") -> str:
        return f"json://127.0.0.1:{self.port}/hook{options}"

    def titles(self) -> list[str]:
        return [document["title"] for document in self.taken]

    def close(self) -> None:
        self._hang.set()
        self._server.shutdown()
        self._server.server_close()


class Box:
    """A root for the alerter; `start` and `kill` it as often as needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (
            "etc/livekeep/livekeep.d",
            "run/livekeep/alerter",
            "run/livekeep/recorder",
            "var/lib/livekeep/record",
            "var/lib/livekeep/alerter/spool",
            "creds",
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("var/lib/livekeep/install", "var/lib/livekeep/channels"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "var/lib/livekeep/install/without-screen").touch()
        self.config = root / "etc/livekeep/livekeep.toml"
        self.spool = root / "var/lib/livekeep/alerter/spool"
        self.log = root / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.configure("")
        self.record = schema.open_for_writing(root / "var/lib/livekeep/record/record.db")
        self.machine()
        self._counter = 0

    # The configuration

    def configure(self, text: str, shipped: bool = False) -> None:
        """Without the shipped rules, unless a test is about them."""
        off = (
            ""
            if shipped
            else "".join(f"[alerts.{name}]\nenabled = false\n" for name in shipped_names() if f"[alerts.{name}]" not in text)
        )
        temporary = self.config.with_suffix(".new")
        temporary.write_text(f"{text}\n{off}")
        temporary.rename(self.config)

    def credential(self, text: str) -> None:
        (self.root / "creds/livekeep.notify").write_text(text)

    # The program

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LIVEKEEP_ROOT": str(self.root), "CREDENTIALS_DIRECTORY": str(self.root / "creds")}

    def start(self) -> None:
        with self.log.open("ab") as log:
            program = [sys.executable, "-I", PROJECT / "bin/livekeep-alerter"]
            self.process = subprocess.Popen(program, env=self.environment(), stderr=log, stdout=log)
        began = time.time()
        wait_for(lambda: self.state().get("written_at", 0) >= began, "the alerter's state")

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def state(self) -> dict[str, Any]:
        try:
            result: dict[str, Any] = json.loads((self.root / "run/livekeep/alerter/state.json").read_text())
        except FileNotFoundError:
            return {}
        return result

    def rows(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        """Rows of the alerter's database."""
        with contextlib.closing(schema.open_read_only(self.root / "var/lib/livekeep/alerter/alerts.db")) as database:
            return database.execute(sql, parameters).fetchall()

    def alert(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-I", PROJECT / "bin/livekeep-alert", *arguments]
        return subprocess.run(program, env=self.environment(), capture_output=True, text=True, input=text, check=False)

    def close(self) -> None:
        self.kill()
        self.record.close()

    # The record

    def machine(self, hostname: str = "foyer") -> int:
        cursor = self.record.execute("INSERT INTO machines (machine_id, hostname) VALUES (?, ?)", [hostname * 4, hostname])
        number = int(cursor.lastrowid or 0)
        self.record.execute(
            "INSERT INTO processes (machine, boot_id, token, pid, uid, unit, program, first_at, last_at, next_sequence, "
            "calls_sent) VALUES (?, 'b', ?, 1, 0, 'job.service', 'job', 0, 0, 1, 0)",
            [number, hostname],
        )
        return number

    def next_id(self, at: float) -> int:
        self._counter += 1
        return int(at * SECOND) * 1000 + self._counter % 1000

    def event(
        self, name: str, message: str = "", at: float | None = None, machine: int = 1, unit: str = "job.service", **fields: str
    ) -> None:
        self.record.execute(
            "INSERT INTO events (id, machine, process, session, unit, name, priority, message, fields) "
            "VALUES (?, ?, 1, ?, ?, ?, 4, ?, ?)",
            [
                self.next_id(at or time.time()),
                machine,
                fields.pop("session_id", None),
                unit,
                name,
                message or name,
                json.dumps(fields),
            ],
        )

    def call(
        self, function: str, at: float | None = None, seconds: float = 0.01, error: str = "", kind: str = "function"
    ) -> None:
        self.record.execute("INSERT OR IGNORE INTO functions (name, kind) VALUES (?, ?)", [function, kind])
        number = self.record.execute("SELECT id FROM functions WHERE name = ? AND kind = ?", [function, kind]).fetchone()[0]
        identity = None
        if error:
            self.record.execute(
                "INSERT OR IGNORE INTO errors (digest, type, message, traceback) VALUES (?, 'ValueError', ?, ?)",
                [error.encode(), error, f"Traceback\n  File x\nValueError: {error}"],
            )
            identity = self.record.execute("SELECT id FROM errors WHERE digest = ?", [error.encode()]).fetchone()[0]
        self.record.execute(
            "INSERT INTO calls (id, function, machine, process, number, parent, duration, outcome, error) "
            "VALUES (?, ?, 1, 1, 1, 0, ?, ?, ?)",
            [self.next_id(at or time.time()), number, int(seconds * SECOND), 1 if error else 0, identity],
        )

    def summarise(self) -> None:
        """Build the summaries of all calls, as the recorder does continuously."""
        summaries = Summaries()
        for row in self.record.execute("SELECT id, function, machine, duration, outcome FROM calls").fetchall():
            summaries.add(row["function"], row["machine"], row["id"] // 1000, row["duration"], row["outcome"] == 1)
        self.record.execute("BEGIN")
        summaries.write(self.record)
        self.record.execute("COMMIT")

    def session(self, name: str, outcome: str, at: float) -> None:
        self.record.execute(
            "INSERT INTO sessions (token, machine, process, name, began_at, ended_at, updated_at, outcome) "
            "VALUES (?, 1, 1, ?, ?, ?, ?, ?)",
            [str(self.next_id(at)), name, int((at - 1) * SECOND), int(at * SECOND), int(at * SECOND), outcome],
        )

    def sample(self, at: float, machine: int = 1, **values: float) -> None:
        moment = int(at * SECOND)
        self.record.execute("INSERT INTO samples (at, machine) VALUES (?, ?)", [moment, machine])
        for name, value in values.items():
            self.record.execute(f"UPDATE samples SET {name} = ? WHERE at = ? AND machine = ?", [value, moment, machine])  # noqa: S608


def shipped_names() -> tuple[str, ...]:
    from livekeep.core.config.record import SHIPPED_ALERTS

    return tuple(SHIPPED_ALERTS)


@contextlib.contextmanager
def box_in(root: Path) -> Iterator[Box]:
    box = Box(root)
    try:
        yield box
    finally:
        box.close()
