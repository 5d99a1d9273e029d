"""livekeep set-token: take the Vimeo token from a file, a prompt or a pipe, store it, and have the poller start anew with it."""

import argparse

from livekeep.command.secrets import credential
from livekeep.command.secrets.credential import VIMEO_TOKEN


def run(arguments: argparse.Namespace) -> int:
    token = credential.clean(*credential.read(arguments.file, VIMEO_TOKEN))
    changed = credential.store_token(token)
    credential.tell_stored(VIMEO_TOKEN, changed)
    if changed:
        credential.start_anew(VIMEO_TOKEN)
    return 0
