"""Runs a program as a child: with limited output and time, and killed with all its descendants.

Standard error is discarded unless requested: it may contain URLs.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livekeep.core.errors import TemporaryError
from livekeep.system.background import SECONDS_BETWEEN_CHECKS, CalledOffError

LARGEST_INPUT_BYTES = 32 * 1024
"""Fits into a pipe, so that the write cannot block."""
LARGEST_OUTPUT_BYTES = 1024 * 1024
LARGEST_ERRORS_BYTES = 64 * 1024
"""The beginning is kept."""


class ChildError(TemporaryError):
    """The program did not exit by itself. The text begins with its name."""


class NotStartedError(ChildError):
    """The program cannot be started, usually because it is not installed."""


class TooSlowError(ChildError):
    """The program did not exit in time."""


@dataclass(frozen=True)
class Ended:
    """The result of a program that ended by itself: its exit code, negative for a signal, and its output."""

    exit_code: int
    output: bytes
    errors: bytes = b""

    def text(self) -> str:
        return self.output.decode(errors="replace")


def run(
    command: Sequence[str | Path],
    seconds: float,
    environ: Mapping[str, str],
    text: str = "",
    reason_to_stop: Callable[[], str] = str,
    with_errors: bool = False,
    most_output_bytes: int = LARGEST_OUTPUT_BYTES,
    **more: Any,
) -> Ended:
    """Run `command` with `text` as its standard input; `more` are arguments of `subprocess.Popen`, such as the user.

    `reason_to_stop` is called once a second; any result but "" ends the program.
    Raises `ChildError`, `CalledOffError`.
    """
    name = Path(command[0]).name
    raw = text.encode()
    if len(raw) > LARGEST_INPUT_BYTES:
        raise ChildError(f"{name} is not given more than {LARGEST_INPUT_BYTES // 1024} KiB")
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if raw else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if with_errors else subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,
            **more,
        )
    except OSError as error:
        raise NotStartedError(f"{name} cannot be started ({error.strerror})") from error
    try:
        if child.stdin:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(raw)
                child.stdin.close()
        return attend(child, name, seconds, reason_to_stop, most_output_bytes)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


def attend(
    child: subprocess.Popen[bytes], name: str, seconds: float, reason_to_stop: Callable[[], str], most_bytes: int
) -> Ended:
    """Collect the child's output, and wait for its end."""
    too_slow = TooSlowError(f"{name} did not end within {seconds:g} s and was killed")
    deadline = time.monotonic() + seconds
    next_check = time.monotonic() + SECONDS_BETWEEN_CHECKS
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, kept in ((child.stdout, output), (child.stderr, errors)):
            if pipe:
                selector.register(pipe, selectors.EVENT_READ, kept)
        while selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                raise too_slow
            if now >= next_check:
                next_check = now + SECONDS_BETWEEN_CHECKS
                if reason := reason_to_stop():
                    raise CalledOffError(reason)
            for key, _events in selector.select(max(min(next_check, deadline) - now, 0)):
                take(selector, key)
            del errors[LARGEST_ERRORS_BYTES:]
            if len(output) > most_bytes:
                raise ChildError(f"{name} prints more than {most_bytes // 1024} KiB, which is more than a result has")
    try:
        return Ended(child.wait(max(deadline - time.monotonic(), 0.1)), bytes(output), bytes(errors))
    except subprocess.TimeoutExpired:
        raise too_slow from None


def take(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Read the available bytes; unregister a pipe at its end."""
    block = os.read(key.fd, 65536)
    key.data.extend(block)
    if not block:
        selector.unregister(key.fileobj)


def environment(proxy: str = "") -> dict[str, str]:
    """The environment of a child: the path of programs and the proxy, if any; no credentials; English messages."""
    plain = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    return plain | {"http_proxy": proxy, "https_proxy": proxy} if proxy else plain


def proxy_problem(proxy: str) -> str:
    """Why a program cannot receive this proxy, or "". Other processes of the same user can read its environment."""
    if "@" in proxy.partition("://")[2].partition("/")[0]:
        return "vimeo.proxy has a password, which is not passed to other programs"
    return "" if proxy.startswith("http://") or not proxy else "vimeo.proxy does not begin with http://"
