"""Arguments of a call as a short text without secrets.

Immutable values (numbers, short texts) are kept and described when the batch is sent; others are described at the call, since the
function may change them. A value takes 80 characters at most, all arguments of a call 200.
"""

import contextlib
import functools
import inspect
import re
import threading
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any

MOST_CHARACTERS = 200
MOST_OF_A_VALUE = 80
MOST_ITEMS = 5
DEEPEST = 3
LONGEST_KEPT = 200
"""The longest text that is kept until the batch is sent, in characters."""
REDACTED = "[redacted]"
UNSHOWABLE = "[no repr]"

SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|authorization|cookie|signature|(^|_)(auth|pin|pwd)$|(^|[_a-z])keys?$",
    re.IGNORECASE,
)
"""Parameter names and dictionary keys whose values never leave the process."""
IN_URL = re.compile(r"(?<=://)[^/@\s'\"]*:[^/@\s'\"]*(?=@)")
IN_QUERY = re.compile(r"(?i)([?&][a-z_-]*(?:key|token|secret|password|passwd|signature|sig|auth)=)[^&\s'\"#]+")
IN_HEADER = re.compile(r"(?i)\b(bearer|basic) [a-z0-9._~+/=-]{8,}")
SUSPICIOUS = re.compile(r"://|[?&]|earer|asic")
"""A text without these needs no masking."""

Captured = str | tuple[tuple[Any, ...], Mapping[str, Any]] | None
"""The description of a call's arguments, or the values that it is made from later."""

ATOMS = frozenset({int, float, bool, complex, type(None)})


BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


class Busy(threading.local):
    """Whether this thread is describing a value: a `__repr__` may call recorded functions."""

    now = False


busy = Busy()


class Parameters:
    """Describes the arguments of one function."""

    def __init__(self, function: Callable[..., Any], redact: Collection[str]) -> None:
        self.redact = frozenset([redact] if isinstance(redact, str) else redact)
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):
            parameters = []
        positional = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        self.skip = 1 if positional and positional[0] in ("self", "cls", "mcs") else 0
        self.names = positional[self.skip :]
        rest = next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), "")
        self.is_rest_secret = self.is_secret(rest)
        self.prefixes = [f"{name}=" for name in self.names]
        self.open_names = next((place for place, name in enumerate(self.names) if self.is_secret(name)), len(self.names))
        """How many leading parameters are no secrets."""

    def is_secret(self, name: str) -> bool:
        return name in self.redact or has_secret_name(name)

    def capture(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Captured:
        """Never raises an `Exception`."""
        if self.skip:
            args = args[1:]
        for value in args:
            kind = type(value)
            if kind not in ATOMS and (kind is not str or len(value) > LONGEST_KEPT):
                return self.describe(args, kwargs)
        for value in kwargs.values():
            kind = type(value)
            if kind not in ATOMS and (kind is not str or len(value) > LONGEST_KEPT):
                return self.describe(args, kwargs)
        return (args, kwargs)

    def describe(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Describes arguments without a method's own object."""
        try:
            parts = [self.describe_positional(place, value) for place, value in enumerate(args)]
            parts += [self.describe_named(name, value) for name, value in kwargs.items()]
            return shortened(masked(", ".join(parts)), MOST_CHARACTERS)
        except Exception:
            return UNSHOWABLE

    def describe_positional(self, place: int, value: Any) -> str:
        if place >= len(self.names):
            return REDACTED if self.is_rest_secret else described(value, self.is_secret)
        return self.describe_named(self.names[place], value)

    def describe_named(self, name: str, value: Any) -> str:
        return f"{name}={REDACTED if self.is_secret(name) else described(value, self.is_secret)}"

    def text(self, captured: Captured) -> str | None:
        """The text of the result of `capture`."""
        if captured is None or isinstance(captured, str):
            return captured
        args, kwargs = captured
        if not kwargs and len(args) <= self.open_names:
            # Python may refuse to print a number with very many digits.
            with contextlib.suppress(ValueError):
                text = ", ".join([f"{prefix}{value!r}" for prefix, value in zip(self.prefixes, args, strict=False)])
                if len(text) <= MOST_OF_A_VALUE and not SUSPICIOUS.search(text):
                    return text or None
        return self.describe(args, kwargs) or None

    def secrets(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
        """The texts among the arguments that must not leave the process."""
        values = list(zip(self.names, args[self.skip :], strict=False)) + list(kwargs.items())
        if self.is_rest_secret:
            values += [("", value) for value in args[self.skip + len(self.names) :]]
        texts = [value for name, value in values if name == "" or self.is_secret(name)]
        return [value for value in texts if type(value) is str and len(value) > 2]


@functools.lru_cache(maxsize=1024)
def has_secret_name(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


def described(value: Any, is_secret: Callable[[str], bool] = has_secret_name, depth: int = DEEPEST) -> str:
    """A short text for `value`, which shows only the first few items of a container. `is_secret` checks keys."""
    kind = type(value)
    if kind is str:
        return repr(value if len(value) <= MOST_OF_A_VALUE else value[: MOST_OF_A_VALUE - 1] + "…")
    if kind in (bytes, bytearray):
        return repr(value) if len(value) <= MOST_OF_A_VALUE // 4 else f"{kind.__name__} of {len(value)}"
    if kind in (list, tuple, set, frozenset, dict):
        return described_container(value, kind, is_secret, depth)
    if busy.now:
        return f"<{kind.__name__}>"
    busy.now = True
    try:
        return shortened(str(repr(value)), MOST_OF_A_VALUE)
    except Exception:
        return f"<{kind.__name__}>"
    finally:
        busy.now = False


def described_container(value: Any, kind: type, is_secret: Callable[[str], bool], depth: int) -> str:
    if kind is list and len(value) <= MOST_ITEMS and ATOMS.issuperset(map(type, value)):
        return shortened(repr(value), MOST_OF_A_VALUE * 2)
    opening, closing = BRACKETS[kind]
    if depth == 0 and value:
        return f"{opening}…{closing}"
    parts = []
    for item in islice(value, MOST_ITEMS):
        text = described(item, is_secret, depth - 1)
        if kind is dict:
            is_hidden = isinstance(item, str) and is_secret(item)
            text = f"{text}: {REDACTED if is_hidden else described(value[item], is_secret, depth - 1)}"
        parts.append(text)
    if len(value) > MOST_ITEMS:
        parts.append(f"… {len(value)} in all")
    return shortened(f"{opening}{', '.join(parts)}{closing}", MOST_OF_A_VALUE * 2)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def masked(text: str) -> str:
    """`text` without passwords in URLs and headers."""
    if "://" in text:
        text = IN_URL.sub(REDACTED, text)
    if "=" in text:
        text = IN_QUERY.sub(rf"\1{REDACTED}", text)
    return IN_HEADER.sub(rf"\1 {REDACTED}", text) if "earer " in text or "asic " in text else text
