"""Driving a real player program as the player does: connecting, asking, waiting."""

import contextlib
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from livekeep.screen.player.display_socket import DisplayGoneError
from livekeep.screen.player.driver import Driver
from tests.outside import PATIENCE_SECONDS, wait_until

Kind = TypeVar("Kind", bound=Driver)


def connect(kind: type[Kind], socket: Path) -> Kind:
    """A connection to the program that listens there, once it has said what it shows."""
    found: list[Kind] = []

    def attempt() -> bool:
        with contextlib.suppress(DisplayGoneError):
            found.append(kind(socket))
        return bool(found)

    wait_until("the program listens", attempt)
    until(found[0], "what it shows is known", lambda: found[0].is_known)
    return found[0]


def until(display: Driver, what: str, holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Take in what the program says, asking as the player does, until it holds."""
    deadline, asked = time.monotonic() + seconds, 0.0
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; current {display.current}, {display.stream}"
        if time.monotonic() - asked > 0.3 and display.waiting_since is None and (display.is_known or display.name == "vlc"):
            asked = time.monotonic()
            display.ask(True)
        select.select([display], [], [], 0.1)
        display.receive()


def show(display: Driver, path: str) -> None:
    display.show_picture(path)
    until(display, path, lambda: display.current == path)
