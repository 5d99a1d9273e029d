"""The password of the pages: its hash, the login cookie, and the limit of attempts.

Part of livekeep-web. The hash is the credential livekeep.web-password, which `livekeep set-web-password` makes. The cookie holds
its expiry time, signed with a key derived from the hash: it stays valid when the program ends on idle, and a new password
invalidates it. Sources: RFC 7914 (scrypt), RFC 6265.
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
"""This many wrong passwords cause no wait."""
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 900.0
FORGET_SECONDS = 3600.0
"""After this long without a wrong password, an address's count starts again."""
FREE_FAILURES_OF_ALL = 50
"""From all addresses together; beyond it everybody waits, a little."""
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
        """Takes the same time for any password, and some 20 MB of memory."""
        return self.is_set and password_hash.matches(given, self._stored)

    def cookie(self, now: float) -> str:
        """A new cookie's value."""
        content = f"{int(now + SESSION_SECONDS)}.{secrets.token_urlsafe(9)}"
        return f"{content}.{self._signature(content)}"

    def knows(self, cookie: str, now: float) -> bool:
        """Whether a cookie's value was issued here and has not expired."""
        content, _, signature = cookie.rpartition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._signature(content).encode())
        ends = content.partition(".")[0]
        return self.is_set and is_ours and ends.isascii() and ends.isdigit() and int(ends) > now

    def _signature(self, content: str) -> str:
        return urlsafe_b64encode(hmac.digest(self._key, content.encode(), "sha256")).decode().rstrip("=")


def read() -> tuple[Password, str]:
    """Read the password from the unit's credentials; return it and the problem, "" when there is none."""
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
    """The number of wrong passwords per address, and the resulting wait. Kept in a file, across ends on idle."""

    file: Path | None = None
    failures: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Per address, and for everybody: the count, and the time of the last one (Unix seconds)."""

    def read(self) -> None:
        """Read the file; an unreadable one counts as empty."""
        try:
            document = json.loads(files.read(self.file, LARGEST_BYTES)) if self.file else {}
            self.failures = {str(key): (int(count), float(at)) for key, (count, at) in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.failures = {}

    def wait_seconds(self, address: str, now: float) -> float:
        """How long `address` must wait before its next attempt; 0 when it need not."""
        own = self._wait(group(address), FREE_FAILURES, LONGEST_WAIT_SECONDS, now)
        return max(own, self._wait(EVERYBODY, FREE_FAILURES_OF_ALL, LONGEST_WAIT_OF_ALL_SECONDS, now))

    def count(self, address: str, now: float) -> int:
        """The recent number of wrong passwords from `address`."""
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
        # A time in the future was noted while the clock was wrong.
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
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which one household owns as a whole."""
    if ":" not in address:
        return address
    if address.lower().startswith("::ffff:"):
        return address[7:]
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
