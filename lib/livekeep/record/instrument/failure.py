"""An exception as text. Its frames are noted when it passes, without a reference; source lines are read when it is sent."""

import contextlib
import linecache
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from livekeep.record.instrument.arguments import REDACTED, masked, shortened

OWN_FOLDER = str(Path(__file__).parent)
MOST_OF_A_MESSAGE = 1000
MOST_OF_A_TRACEBACK = 8000
FIRST_FRAMES, LAST_FRAMES = 8, 16
LONGEST_SEARCHED = 100_000
"""Characters of a message that are searched for secrets; the rest is cut off."""
MOST_LINKS = 5
"""The longest chain of exceptions."""
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"

recent_secrets: deque[str] = deque(maxlen=64)
"""Redacted arguments of failed calls: the same exception passes through callers that don't know them."""


class Frame(NamedTuple):
    file: str
    line: int
    function: str


class Link(NamedTuple):
    """One exception of a chain."""

    kind: str
    message: str
    frames: tuple[Frame, ...]
    joint: str
    """The text between it and the exception that follows from it."""


class Failure(NamedTuple):
    chain: tuple[Link, ...]
    """The newest first."""

    @property
    def kind(self) -> str:
        return self.chain[0].kind

    @property
    def message(self) -> str:
        return self.chain[0].message

    def texts(self) -> tuple[str, str, str]:
        """Type, message and traceback."""
        parts: list[str] = []
        for link in reversed(self.chain):
            parts += [link_text(link), link.joint] if link.joint else [link_text(link)]
        text, most = scrubbed("\n\n".join(parts)), MOST_OF_A_TRACEBACK
        if len(text) > most:
            text = f"{text[: most // 4]}\n  …\n{text[-most * 3 // 4 :]}"
        return self.kind, self.message, text


def capture(error: BaseException, secrets: Iterable[str] = ()) -> Failure:
    """Never raises an `Exception`."""
    recent_secrets.extend(secret for secret in secrets if secret not in recent_secrets)
    links: list[Link] = []
    seen: set[int] = set()
    following: BaseException | None = error
    joint = ""
    while following is not None and id(following) not in seen and len(links) < MOST_LINKS:
        seen.add(id(following))
        kind = type(following)
        name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
        links.append(Link(name, message_of(following), frames_of(following.__traceback__), joint))
        if following.__cause__ is not None:
            following, joint = following.__cause__, CAUSE
        elif following.__suppress_context__:
            following = None
        else:
            following, joint = following.__context__, CONTEXT
    return Failure(tuple(links))


def message_of(error: BaseException) -> str:
    try:
        return shortened(scrubbed(clean(str(error)[:LONGEST_SEARCHED])), MOST_OF_A_MESSAGE)
    except Exception:
        return ""


def clean(text: str) -> str:
    """`text` in a form that UTF-8 can encode: surrogate halves become escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def scrubbed(text: str) -> str:
    for secret in list(recent_secrets):
        for form in {secret, repr(secret)[1:-1], clean(secret)}:
            text = text.replace(form, REDACTED)
    return masked(text)


def frames_of(traceback: TracebackType | None) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(OWN_FOLDER):
            frames.append(Frame(code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    if len(frames) > FIRST_FRAMES + LAST_FRAMES:
        left_out = Frame("", len(frames) - FIRST_FRAMES - LAST_FRAMES, "")
        frames[FIRST_FRAMES:-LAST_FRAMES] = [left_out]
    return tuple(frames)


def link_text(link: Link) -> str:
    lines = ["Traceback (most recent call last):"] if link.frames else []
    for frame in link.frames:
        if not frame.file:
            lines.append(f"  … {frame.line} more …")
            continue
        lines.append(f'  File "{frame.file}", line {frame.line}, in {frame.function}')
        # Whatever a module's loader raises, the rest of the traceback is reported.
        with contextlib.suppress(Exception):
            if source := linecache.getline(frame.file, frame.line).strip():
                lines.append(f"    {source}")
    lines.append(f"{link.kind}: {link.message}" if link.message else link.kind)
    return clean("\n".join(lines))
