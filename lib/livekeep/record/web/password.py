"""The password of the pages: its hash, the cookie of who gave it, and how many may be tried.

Part of livekeep-web. The hash is the credential livekeep.web-password, which `livekeep set-web-password` makes. The cookie
carries the moment at which it ends, signed by a key that is made of the hash: it outlives an end of the program when idle, and a
new password ends it. Sources: RFC 7914 (scrypt), RFC 6265.
"""

import hmac
import ipaddress
import json
import logging
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

from livekeep.core import files
from livekeep.system import credentials, password_hash

COOKIE = "livekeep"
CREDENTIAL = "livekeep.web-password"
SESSION_SECONDS = 30 * 86400
FREE_FAILURES = 3
"""So many wrong passwords cost no wait."""
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 900.0
FORGET_SECONDS = 3600.0
"""After so long without a wrong password an address begins from nothing."""
FREE_FAILURES_OF_ALL = 50
"""From all addresses together; from then on everybody waits, a little."""
LONGEST_WAIT_OF_ALL_SECONDS = 10.0
MOST_ADDRESSES = 1000
LARGEST_BYTES = 256 * 1024
EVERYBODY = "*"

logger = logging.getLogger("livekeep.web")


class Password:
    """`stored` is the hash, "" when none is set."""

    def __init__(self, stored: str) -> None:
        self.is_set = bool(stored)
        self._stored = stored
        self._key = hmac.digest(stored.encode(), b"livekeep web session", "sha256")

    def is_right(self, given: str) -> bool:
        """Takes as long for any password, and some 20 MB of memory."""
        return self.is_set and password_hash.matches(given, self._stored)

    def cookie(self, now: float) -> str:
        """A new cookie's value."""
        content = f"{int(now + SESSION_SECONDS)}.{secrets.token_urlsafe(9)}"
        return f"{content}.{self._signature(content)}"

    def knows(self, cookie: str, now: float) -> bool:
        """Whether a cookie's value is one that was given out and has not ended."""
        content, _, signature = cookie.rpartition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._signature(content).encode())
        ends = content.partition(".")[0]
        return self.is_set and is_ours and ends.isascii() and ends.isdigit() and int(ends) > now

    def _signature(self, content: str) -> str:
        return urlsafe_b64encode(hmac.digest(self._key, content.encode(), "sha256")).decode().rstrip("=")


def read() -> tuple[Password, str]:
    """The password from the unit's credentials, and what is wrong with it, "" when nothing is."""
    advice = "sudo livekeep set-web-password"
    try:
        stored = credentials.read(CREDENTIAL)
    except (OSError, ValueError) as error:
        return Password(""), f"the password cannot be read ({error}): {advice}"
    if stored and not password_hash.is_hash(stored):
        return Password(""), f"the password is stored in an unknown form: {advice}"
    return Password(stored), ""


@dataclass
class Guesses:
    """Who gave wrong passwords how often, and who has to wait for it. Kept in a file, over an end when idle."""

    file: Path | None = None
    failures: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By address, and for everybody: how many, and when the last one was (Unix seconds)."""

    def read(self) -> None:
        """What was kept; a file that cannot be read counts as none."""
        try:
            document = json.loads(files.read(self.file, LARGEST_BYTES)) if self.file else {}
            self.failures = {str(key): (int(count), float(at)) for key, (count, at) in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.failures = {}

    def wait_seconds(self, address: str, now: float) -> float:
        """So long must `address` wait before it may try again; 0 when it may now."""
        own = self._wait(group(address), FREE_FAILURES, LONGEST_WAIT_SECONDS, now)
        return max(own, self._wait(EVERYBODY, FREE_FAILURES_OF_ALL, LONGEST_WAIT_OF_ALL_SECONDS, now))

    def count(self, address: str, now: float) -> int:
        """How many wrong passwords `address` gave lately."""
        return self._count(group(address), now)

    def note_failure(self, address: str, now: float) -> None:
        for key in (group(address), EVERYBODY):
            self.failures[key] = (self._count(key, now) + 1, now)
        if len(self.failures) > MOST_ADDRESSES:
            oldest = min((key for key in self.failures if key != EVERYBODY), key=lambda key: self.failures[key][1])
            del self.failures[oldest]
        self._write()

    def note_success(self, address: str) -> None:
        if self.failures.pop(group(address), None):
            self._write()

    def _count(self, key: str, now: float) -> int:
        count, at = self.failures.get(key, (0, 0.0))
        # A moment that is still to come was noted while the clock was wrong.
        return count if 0 <= now - at < FORGET_SECONDS else 0

    def _wait(self, key: str, free: int, longest: float, now: float) -> float:
        count = self._count(key, now)
        if count < free:
            return 0.0
        seconds = min(FIRST_WAIT_SECONDS * 2.0 ** min(count - free, 20), longest)
        return max(self.failures[key][1] + seconds - now, 0.0)

    def _write(self) -> None:
        if not self.file:
            return
        try:
            files.replace(self.file, json.dumps(self.failures).encode(), is_durable=False)
        except OSError as error:
            logger.warning("%s: cannot be written (%s)", self.file, error.strerror)


def group(address: str) -> str:
    """Who counts as one: an IPv4 address, or the /64 of an IPv6 address, of which one household has them all."""
    if ":" not in address:
        return address
    if address.lower().startswith("::ffff:"):
        return address[7:]
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
