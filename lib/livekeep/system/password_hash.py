"""A stored password: its scrypt hash with salt and parameters, on one line of ASCII.

Written by `livekeep set-web-password`, read by livekeep-web. Sources: RFC 7914; OWASP's Password Storage Cheat Sheet.
"""

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode

LOG2_N, R, P = 14, 8, 1
"""16 MB of memory and about 50 ms; five times as long on a small board."""
MEMORY_BYTES = 64 * 1024 * 1024
SALT_BYTES = 16
FORM = re.compile(r"scrypt\$([0-9]{1,2})\$([0-9]{1,2})\$([0-9]{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")


def make(password: str) -> str:
    salt = os.urandom(SALT_BYTES)
    digest = scrypt(password, salt, LOG2_N, R, P)
    return f"scrypt${LOG2_N}${R}${P}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def is_hash(text: str) -> bool:
    return FORM.fullmatch(text) is not None


def matches(password: str, stored: str) -> bool:
    """Whether a password matches the stored hash, compared in constant time."""
    found = FORM.fullmatch(stored)
    if not found:
        return False
    log2_n, r, p = (int(text) for text in found.groups()[:3])
    return hmac.compare_digest(scrypt(password, b64decode(found[4]), log2_n, r, p), b64decode(found[5]))


def scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=2**log2_n, r=r, p=p, maxmem=MEMORY_BYTES, dklen=32)
