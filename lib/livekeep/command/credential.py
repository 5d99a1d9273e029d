"""The Vimeo token as a credential: checked for what no token can be, and stored where systemd hands it to the poller alone.

Writes /etc/credstore/livekeep.vimeo-token (root, 0600). The token is in no message and on no command line.
"""

import os
import re
from pathlib import Path

from livekeep.command import file
from livekeep.command.file import Ownership
from livekeep.core import paths
from livekeep.core.errors import LivekeepError

LONGEST_CHARACTERS = 1024


def clean(raw: str, where: str) -> str:
    """The token in `raw`, without space around it. Raises `LivekeepError` that says what is wrong but never shows it."""
    token = raw.strip()
    if not token:
        raise LivekeepError(f"{where}: holds no token; make one at https://developer.vimeo.com/apps")
    if any(character.isspace() for character in token):
        raise LivekeepError(f"{where}: a token has no spaces or line breaks within; give the token alone")
    if not token.isascii() or not token.isprintable():
        raise LivekeepError(f"{where}: a token has ASCII letters and digits only; copy it again")
    if re.match(r"[A-Za-z_]+=", token):
        raise LivekeepError(f"{where}: looks like a line NAME=TOKEN; give the token alone, or use: livekeep import-env FILE")
    if len(token) > LONGEST_CHARACTERS:
        raise LivekeepError(f"{where}: {len(token)} characters are too many for a token; is this the right file?")
    return token


def credential_file(store: Path = paths.CREDENTIAL_STORE) -> Path:
    return store / paths.TOKEN_NAME


def store_token(token: str, store: Path = paths.CREDENTIAL_STORE) -> bool:
    """Write the credential; give whether it differs from before. Raises `LivekeepError`."""
    target = credential_file(store)
    file.make_folder(store, 0o700)
    try:
        same = target.read_bytes() == token.encode("ascii")
    except OSError:
        same = False
    # Written even when it is the same, for the owner and the mode.
    file.replace(target, token.encode("ascii"), Ownership(0o600, *root_where_possible()), keep=False)
    return not same


def root_where_possible() -> tuple[int, int]:
    return (0, 0) if os.geteuid() == 0 else (-1, -1)
