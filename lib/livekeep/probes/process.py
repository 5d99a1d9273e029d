"""A tool run as a child: its output is limited, its time too, and it is killed with all that it started.

What it prints on standard error is thrown away unless asked for: it may hold URLs.
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

from livekeep.core.errors import TemporaryError

LARGEST_INPUT_BYTES = 32 * 1024
"""Fits into a pipe, so that writing it cannot block."""
LARGEST_OUTPUT_BYTES = 1024 * 1024
SECONDS_BETWEEN_CHECKS = 1.0


class ChildError(TemporaryError):
    """It did not come to an end of its own. The text begins with the tool's name."""


class CalledOffError(TemporaryError):
    """It was ended because it was asked for; the text is the reason."""


@dataclass(frozen=True)
class Ended:
    """How a tool ended by itself: its exit code, negative for a signal, and what it printed."""

    exit_code: int
    output: bytes


def goes_on() -> str:
    return ""


def run(
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str],
    text: str = "",
    reason_to_stop: Callable[[], str] = goes_on,
    with_errors: bool = False,
) -> Ended:
    """Run `command` with `text` as its standard input; with `with_errors`, what it prints on standard error is output too.

    `reason_to_stop` is asked once a second, and with an answer other than "" the tool is ended.
    Raises `ChildError`, `CalledOffError`.
    """
    name = Path(command[0]).name
    raw = text.encode()
    if len(raw) > LARGEST_INPUT_BYTES:
        raise ChildError(f"{name} is not given more than {LARGEST_INPUT_BYTES // 1024} KiB")
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_errors else subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise ChildError(f"{name} cannot be started ({error.strerror})") from error
    try:
        return attend(child, raw, name, seconds, reason_to_stop)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


def attend(child: subprocess.Popen[bytes], raw: bytes, name: str, seconds: float, reason_to_stop: Callable[[], str]) -> Ended:
    """Feed the child, collect what it prints, and wait for its end."""
    assert child.stdin and child.stdout  # noqa: S101 – both are pipes
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(raw)
        child.stdin.close()
    too_long = ChildError(f"{name} did not end within {seconds:g} s and was killed")
    deadline = time.monotonic() + seconds
    output = bytearray()
    next_check = time.monotonic() + SECONDS_BETWEEN_CHECKS
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now >= deadline:
                raise too_long
            if now >= next_check:
                next_check = now + SECONDS_BETWEEN_CHECKS
                if reason := reason_to_stop():
                    raise CalledOffError(reason)
            if not selector.select(max(min(next_check, deadline) - now, 0)):
                continue
            block = os.read(child.stdout.fileno(), 65536)
            if not block:
                break
            output += block
            if len(output) > LARGEST_OUTPUT_BYTES:
                raise ChildError(f"{name} prints more than {LARGEST_OUTPUT_BYTES // 1024} KiB, which is no result")
    try:
        return Ended(child.wait(max(deadline - time.monotonic(), 0.1)), bytes(output))
    except subprocess.TimeoutExpired:
        raise too_long from None


def environment_of_tool(proxy: str) -> dict[str, str]:
    """What a tool gets to know of ours: where programs are, and the proxy, if any."""
    found = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    return found | {"http_proxy": proxy, "https_proxy": proxy} if proxy else found


def proxy_problem(proxy: str) -> str:
    """Why a tool cannot be told of this proxy, or "". Its environment can be read by others who share its user."""
    if "@" in proxy.partition("://")[2].partition("/")[0]:
        return "the proxy of vimeo.proxy asks for a password, which is not handed to other programs"
    return "" if proxy.startswith("http://") or not proxy else "the proxy of vimeo.proxy is no http:// one"
