"""The name server: which one this machine uses, and how long a direct query takes (DNS over UDP, RFC 1035).

Without dnspython, whose import takes 150 to 350 ms at each run.
The query bypasses the C library, which has no timeout, and its caches. The names of hosts to ping are resolved by the C library,
as in every other program, in threads that are left behind if they take too long.
"""

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from livekeep.core import paths
from livekeep.core.probe_results import Lookup

RESOLVER_FILE = paths.ROOT / "etc/resolv.conf"
PORT = 53
LARGEST_BYTES = 4096
HEADER_BYTES = 12
LARGEST_LABEL = 63
ADDRESS_QUESTION = b"\0\1\0\1"
"""Type A, class IN."""

NO_RESOLVER = "no resolver configured"
NO_SUCH_NAME = "no such name"
NO_ANSWER = "no answer"
PROBLEMS = {
    1: "the resolver does not understand the query",
    2: "the resolver has a failure",
    3: NO_SUCH_NAME,
    5: "the resolver refuses",
}
"""By response code."""

NOT_A_NAME = "it is not a name"
NAME_FAULTS = (NO_SUCH_NAME, NOT_A_NAME)
"""No resolver has an answer for these."""

NAME_UNKNOWN = "its name is not known"
NAME_SILENT = "its name cannot be looked up: no answer"
NAME_FAULTY = "its name cannot be looked up"
NAME_PROBLEMS = (NAME_UNKNOWN, NAME_SILENT, NAME_FAULTY)
"""Why a host's name has no address."""


class Addresses(NamedTuple):
    """The first addresses of a host; "" for none. `problem` is one of `NAME_PROBLEMS`, or "" if there is an address."""

    ipv4: str = ""
    ipv6: str = ""
    problem: str = ""


# The packets


def question(name: str, identifier: int) -> bytes:
    """The query for the IPv4 address of `name`. Raises `ValueError` for an invalid name."""
    labels = name.removesuffix(".").encode("ascii").split(b".")
    if not all(0 < len(label) <= LARGEST_LABEL for label in labels):
        raise ValueError(f"{name!r:.40} is not a name")
    # Recursion desired; one question.
    header = identifier.to_bytes(2) + b"\1\0" + b"\0\1" + bytes(6)
    return header + b"".join(bytes((len(label),)) + label for label in labels) + b"\0" + ADDRESS_QUESTION


def problem_in(answer: bytes, query: bytes) -> str | None:
    """The error in a response, "" if none; None if it does not belong to `query`.

    A truncated response is valid. An error may omit the question.
    """
    if len(answer) < HEADER_BYTES or answer[:2] != query[:2] or answer[2] & 0xF8 != 0x80:
        return None
    code, truncated = answer[3] & 15, answer[2] & 2
    questions, answers = int.from_bytes(answer[4:6]), int.from_bytes(answer[6:8])
    echoes = questions == 1 and answer[HEADER_BYTES : len(query)].lower() == query[HEADER_BYTES:].lower()
    if not echoes and (questions or not code):
        return None
    if answers and not truncated and len(answer) <= len(query):
        return None
    return PROBLEMS.get(code, f"the resolver returns error {code}") if code else ""


# Queries


def resolver(file: Path = RESOLVER_FILE) -> str:
    """The address of the first name server in a resolv.conf(5); "" if none is configured."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for words in map(str.split, lines):
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    return ""


def ask(names: Iterable[str], server: str, timeout_seconds: float, port: int = PORT) -> tuple[Lookup, ...]:
    """Query `server` for all names at once, one packet each; wait at most `timeout_seconds`."""
    if not server:
        return tuple(Lookup(name, "", problem=NO_RESOLVER) for name in names)
    found: list[Question | Lookup] = []
    try:
        for name in names:
            try:
                found.append(Question(name, server, port))
            except (OSError, ValueError) as error:
                found.append(Lookup(name, server, problem=why(error)))
        collect([entry for entry in found if isinstance(entry, Question)], timeout_seconds)
        return tuple(entry.result(timeout_seconds) if isinstance(entry, Question) else entry for entry in found)
    finally:
        for entry in found:
            if isinstance(entry, Question):
                entry.socket.close()


def collect(questions: Sequence["Question"], timeout_seconds: float) -> None:
    """Receive until every query is settled or the time is over."""
    unsettled = {asked.socket.fileno(): asked for asked in questions}
    waiting = select.poll()
    for descriptor in unsettled:
        waiting.register(descriptor, select.POLLIN)
    until_monotonic = time.monotonic() + timeout_seconds
    while unsettled and (left_seconds := until_monotonic - time.monotonic()) > 0:
        for descriptor, _event in waiting.poll(left_seconds * 1000):
            if unsettled[descriptor].receive():
                waiting.unregister(descriptor)
                del unsettled[descriptor]


class Question:
    """A query for one name. Raises `OSError` if it cannot be sent, `ValueError` for an invalid name."""

    def __init__(self, name: str, server: str, port: int) -> None:
        self.name, self.server = name, server
        self._query = question(name, int.from_bytes(os.urandom(2)))
        self._duration_seconds: float | None = None
        self._problem = ""
        self._got_nonsense = False
        self.socket = connected(server, port)
        self._sent_monotonic = time.monotonic()
        try:
            self.socket.send(self._query)
        except OSError:
            self.socket.close()
            raise

    def receive(self) -> bool:
        """Receive a packet; returns whether it settles the query."""
        try:
            packet = self.socket.recv(LARGEST_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._problem = why(error)
            return True
        duration = time.monotonic() - self._sent_monotonic
        problem = problem_in(packet, self._query)
        if problem is None:
            # Perhaps from another sender; the valid response may still come.
            self._got_nonsense = True
            return False
        self._problem = problem
        self._duration_seconds = None if problem else duration
        return True

    def result(self, timeout_seconds: float) -> Lookup:
        problem = self._problem
        if self._duration_seconds is None and not problem:
            problem = f"{'no valid answer' if self._got_nonsense else NO_ANSWER} within {timeout_seconds:g} s"
        return Lookup(self.name, self.server, self._duration_seconds, problem)


def why(error: OSError | ValueError) -> str:
    """Why a query failed, for people."""
    if isinstance(error, ValueError):
        return NOT_A_NAME
    if isinstance(error, socket.gaierror):
        return "the nameserver in /etc/resolv.conf is not an address"
    if isinstance(error, ConnectionRefusedError):
        return "no resolver runs at its address"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "there is no route to the resolver"
    return f"the resolver cannot be queried ({error.strerror})"


def connected(server: str, port: int) -> socket.socket:
    """A socket that receives only from the server. Raises `OSError`."""
    family, kind, protocol, _name, address = socket.getaddrinfo(
        # As bytes: a string would load the codec for international names.
        server.encode(),
        port,
        type=socket.SOCK_DGRAM,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )[0]
    asking = socket.socket(family, kind, protocol)
    try:
        asking.setblocking(False)
        asking.connect(address)
    except OSError:
        asking.close()
        raise
    return asking


# The C library's resolver


def literal(host: str) -> Addresses | None:
    """The addresses of a host that is an IP address; None for a name."""
    for family, found in ((socket.AF_INET, Addresses(ipv4=host)), (socket.AF_INET6, Addresses(ipv6=host))):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return found
    return None


class Resolution:
    """The addresses of hosts, resolved in parallel in the background."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._found: dict[str, Addresses] = {}
        self._threads = []
        for host in dict.fromkeys(hosts):
            address = literal(host)
            if address:
                self._found[host] = address
                continue
            thread = threading.Thread(target=self._resolve, args=(host,), daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # Too many names: the unit's task limit is reached.
                self._found[host] = Addresses(problem=NAME_FAULTY)
            else:
                self._threads.append(thread)

    def wait(self, until_monotonic: float) -> dict[str, Addresses]:
        """The addresses known when all are resolved, or at `until_monotonic`; unresolved hosts are left out."""
        for thread in self._threads:
            thread.join(max(until_monotonic - time.monotonic(), 0))
        return dict(self._found)

    def _resolve(self, host: str) -> None:
        self._found[host] = resolve(host)


def resolve(host: str) -> Addresses:
    """The addresses of a name; may block as long as the C library does."""
    try:
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_RAW)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return Addresses(problem=NAME_UNKNOWN)
        return Addresses(problem=NAME_SILENT if error.errno == socket.EAI_AGAIN else NAME_FAULTY)
    except (OSError, UnicodeError):
        return Addresses(problem=NAME_FAULTY)
    first = {family: str(address[0]) for family, _type, _protocol, _name, address in reversed(found)}
    addresses = Addresses(first.get(socket.AF_INET, ""), first.get(socket.AF_INET6, ""))
    return addresses if addresses != Addresses() else Addresses(problem=NAME_UNKNOWN)
