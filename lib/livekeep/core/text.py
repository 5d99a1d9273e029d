"""Makes untrusted text safe to show: file names, server responses, states of units that may be compromised.

On a terminal or in a journal, a control character could clear the screen, a line break could add a forged line, such as a
command to run, and a bidirectional control could reorder the words of a line. Sources: ECMA-48; Unicode's UTS #55.
"""

import re
import time

UNSAFE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
"""Control characters, line and paragraph separators, bidirectional controls, halves of surrogate pairs, the byte order mark."""
CHARACTER = re.compile(f"[{UNSAFE}]")


def shown(text: str) -> str:
    r"""`text` on one line, with an escape such as \n, \x1b or \u202e instead of each unsafe character."""
    return text if text.isprintable() else CHARACTER.sub(escape, text)


def escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def local_time(moment: float) -> time.struct_time:
    """`moment` (Unix seconds) in the machine's current time zone. Raises `ValueError`, `OverflowError` or `OSError` like
    `time.localtime` for a moment beyond the calendar.
    """
    # The C library reads the zone only once, unless tzset() makes it check for a change; that costs one stat().
    time.tzset()
    return time.localtime(moment)


QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "”": "”", "‘": "’", "«": "»", "`": "`"}


def bare(text: str) -> str:
    """The secret in `text`, without what editors and copying add: white space, a byte order mark, one pair of quotes.

    No secret that livekeep takes begins and ends with quotes.
    """
    secret = text.strip().strip("\ufeff\u200b").strip()
    if len(secret) >= 2 and QUOTES.get(secret[0]) == secret[-1]:
        return secret[1:-1].strip()
    return secret
