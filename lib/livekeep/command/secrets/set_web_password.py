"""livekeep set-web-password: reads the password of the web pages from a file, a prompt or a pipe, and stores its hash.

Writes /etc/credstore/livekeep.web-password (root, 0600): a scrypt hash, never the password. All users must then log in again.
"""

import argparse

from livekeep.command.secrets import credential
from livekeep.command.secrets.credential import Secret
from livekeep.core import config, paths
from livekeep.core.errors import LivekeepError
from livekeep.system import password_hash, terminal
from livekeep.system.loopback import is_loopback_address

LEAST_CHARACTERS = 10
LONGEST_CHARACTERS = 1000
WEB_PASSWORD = Secret(
    "livekeep.web-password",
    "web password",
    "livekeep-web.service",
    f"choose one of {LEAST_CHARACTERS} characters or more",
    title=f"Password of the web pages, {LEAST_CHARACTERS} characters or more",
)


def run(arguments: argparse.Namespace) -> int:
    if credential.is_asked_for(arguments.file):
        password = checked(credential.ask(WEB_PASSWORD), "the input")
        if credential.ask(WEB_PASSWORD, "once more") != password:
            raise LivekeepError("the two passwords differ; nothing was changed")
    else:
        raw, where = credential.read(arguments.file, WEB_PASSWORD)
        lines = raw.removeprefix("\ufeff").splitlines()
        if any(line.strip() for line in lines[1:]):
            raise LivekeepError(f"{where}: contains more than one line; give only the password")
        password = checked(lines[0] if lines else "", where)
    credential.keep((password_hash.make(password), WEB_PASSWORD))
    if is_loopback_address(config.load_leniently()[0].web.address):
        terminal.say(f'For other machines: [web] address = "0.0.0.0" in {paths.CONFIG_FILE}, then: sudo livekeep apply')
    return 0


def checked(password: str, where: str) -> str:
    """Raises `LivekeepError` for a password that is invalid or too easy to guess."""
    if not password.isprintable():
        raise LivekeepError(f"{where}: a password has no control characters")
    if len(password) < LEAST_CHARACTERS:
        raise LivekeepError(f"{where}: {len(password)} characters are too few; choose {LEAST_CHARACTERS} or more")
    if len(password) > LONGEST_CHARACTERS:
        raise LivekeepError(f"{where}: {len(password)} characters are too many for a password; is this the right file?")
    if len(set(password)) < LEAST_CHARACTERS // 2:
        raise LivekeepError(f"{where}: a few characters repeated are too easy to guess")
    return password
