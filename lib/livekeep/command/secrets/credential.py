"""Secrets as credentials: validated, and stored where systemd passes each to one unit only.

Writes /etc/credstore/livekeep.* (root, 0600). A secret is in no message and on no command line.
"""

import argparse
import getpass
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from livekeep.command import file
from livekeep.command.file import Ownership
from livekeep.core import paths
from livekeep.core.errors import LivekeepError
from livekeep.core.text import bare
from livekeep.system import terminal

LONGEST_CHARACTERS = 1024
LARGEST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Secret:
    """A kind of secret: its file's name, its name for people, its characters, how to get one, and the unit that receives it."""

    file_name: str
    noun: str
    unit: str
    source: str
    title: str = ""
    """The prompt, if it is more than the noun."""
    made_of: str = "ASCII letters, digits and signs"
    instead: str = ""
    """The other command that accepts a line NAME=VALUE."""

    def one(self) -> str:
        return f"{'an' if self.noun[0] in 'AEIOUaeiou' else 'a'} {self.noun}"


VIMEO_TOKEN = Secret(
    paths.TOKEN_NAME,
    "token",
    "livekeep-poller.service",
    "create one at https://developer.vimeo.com/apps",
    title="Vimeo token",
    made_of="ASCII letters and digits",
    instead=", or run: livekeep import-env FILE",
)


def read(name: str | None, secret: Secret) -> tuple[str, str]:
    """The text with the secret, from the file `name`, a prompt or a pipe, and its origin for messages."""
    if name not in (None, "-"):
        return file.read_text(Path(str(name)), LARGEST_BYTES), str(name)
    if is_asked_for(name):
        return ask(secret), "the input"
    raw = sys.stdin.buffer.read(LARGEST_BYTES)
    try:
        return raw.decode("utf-8"), "standard input"
    except UnicodeDecodeError as error:
        raise LivekeepError(f"standard input: {secret.one()} has {secret.made_of} only; copy it again") from error


def is_asked_for(name: str | None) -> bool:
    """Whether a person types it at a terminal."""
    return name is None and sys.stdin.isatty()


def ask(secret: Secret, hint: str = "it is not shown") -> str:
    title = secret.title or secret.noun[0].upper() + secret.noun[1:]
    try:
        return getpass.getpass(f"{title} ({hint}): ")
    except EOFError as error:
        raise LivekeepError(f"the input: contains no {secret.noun}; nothing was changed") from error


def clean(raw: str, where: str, secret: Secret = VIMEO_TOKEN) -> str:
    """The secret in `raw`, without surrounding characters. Raises `LivekeepError`, which never shows it."""
    found = bare(raw)
    if not found:
        raise LivekeepError(f"{where}: contains no {secret.noun}; {secret.source}")
    if any(character.isspace() for character in found):
        raise LivekeepError(f"{where}: {secret.one()} has no spaces or line breaks within; give the {secret.noun} alone")
    if not found.isascii() or not found.isprintable():
        raise LivekeepError(f"{where}: {secret.one()} has {secret.made_of} only; copy it again")
    if re.match(r"[A-Za-z_]+=[^=]", found):
        name = secret.noun.upper() if " " not in secret.noun else "VALUE"
        raise LivekeepError(f"{where}: looks like a line NAME={name}; give the {secret.noun} alone{secret.instead}")
    if len(found) > LONGEST_CHARACTERS:
        raise LivekeepError(f"{where}: {len(found)} characters are too many for {secret.one()}; is this the right file?")
    return found


def credential_file(store: Path = paths.CREDENTIAL_STORE, secret: Secret = VIMEO_TOKEN) -> Path:
    return store / secret.file_name


def store_secret(content: str, secret: Secret, store: Path = paths.CREDENTIAL_STORE) -> bool:
    """Write the credential; returns whether it changed. Raises `LivekeepError`."""
    target = credential_file(store, secret)
    file.make_folder(store, 0o700)
    try:
        same = target.read_bytes() == content.encode("ascii")
    except OSError:
        same = False
    # Written even if unchanged, to fix owner and mode.
    owner = (0, 0) if os.geteuid() == 0 else (-1, -1)
    file.replace(target, content.encode("ascii"), Ownership(0o600, *owner), keep=False)
    return not same


def tell_stored(secret: Secret, is_changed: bool) -> None:
    stored = f"{secret.noun} stored" if is_changed else f"the {secret.noun} is unchanged"
    terminal.say(f"{credential_file(secret=secret)}: {stored}")


def keep(*contents: tuple[str, Secret]) -> None:
    """Store the secrets of one unit, report them, and restart the unit if it runs: systemd reads a credential only when a unit
    starts."""
    # Only here: `livekeep card` uses this module on machines without the libraries for D-Bus.
    from livekeep.system import systemctl  # noqa: PLC0415

    is_changed = False
    for content, secret in contents:
        is_new = store_secret(content, secret)
        tell_stored(secret, is_new)
        is_changed |= is_new
    if not is_changed:
        return
    secret = contents[-1][1]
    program = secret.unit.removesuffix(".service")
    try:
        restarted = systemctl.restart_if_running(secret.unit)
    except LivekeepError as error:
        name = program.removeprefix("livekeep-").partition("@")[0]
        raise LivekeepError(f"{error}\nThe {secret.noun} is stored; the {name} uses it from its next start on.") from error
    terminal.say(f"{program} was restarted with it" if restarted else f"{program} does not run; it uses it when it starts")


def set_token(arguments: argparse.Namespace) -> int:
    """livekeep set-token: reads the Vimeo token from a file, a prompt or a pipe, stores it, and restarts the poller."""
    keep((clean(*read(arguments.file, VIMEO_TOKEN)), VIMEO_TOKEN))
    return 0
