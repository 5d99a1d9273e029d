"""livekeep set-token: take the Vimeo token from a file, a prompt or a pipe, store it, and have the poller start anew with it."""

import argparse
import getpass
import sys
from pathlib import Path

from livekeep.command import credential, file, unit
from livekeep.core.errors import LivekeepError

LARGEST_BYTES = 64 * 1024


def run(arguments: argparse.Namespace) -> int:
    token = credential.clean(*read(arguments.file))
    changed = credential.store_token(token)
    print(f"{credential.credential_file()}: {'token stored' if changed else 'the token is already that one'}")
    if changed:
        start_anew()
    return 0


def read(name: str | None) -> tuple[str, str]:
    """The text that holds the token, and where it came from, for messages."""
    if name not in (None, "-"):
        return file.read_text(Path(str(name)), LARGEST_BYTES), str(name)
    if sys.stdin.isatty() and name is None:
        try:
            return getpass.getpass("Vimeo token (it is not shown): "), "what was typed"
        except EOFError as error:
            raise LivekeepError("what was typed: holds no token; nothing was changed") from error
    raw = sys.stdin.buffer.read(LARGEST_BYTES)
    try:
        return raw.decode("ascii"), "standard input"
    except UnicodeDecodeError as error:
        raise LivekeepError("standard input: a token has ASCII letters and digits only; copy it again") from error


def start_anew() -> None:
    """Restart the poller where it runs: systemd reads a credential only at the start of a unit."""
    try:
        restarted = unit.restart_if_running("livekeep-poller.service")
    except LivekeepError as error:
        raise LivekeepError(f"{error}\nThe token is stored; the poller takes it at its next start.") from error
    print("livekeep-poller was restarted with it" if restarted else "livekeep-poller does not run; it takes it when it starts")
