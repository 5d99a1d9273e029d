"""The Vimeo token, as systemd hands it to livekeep-poller: the credential livekeep.vimeo-token."""

import os
from pathlib import Path

from livekeep.core import paths, secret_text


def read_token() -> tuple[str, str]:
    """The token from the unit's credentials, and what is wrong with it; "" twice when there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return "", ""
    try:
        return token_from((Path(folder) / paths.TOKEN_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "", ""
    except (OSError, UnicodeDecodeError):
        return "", "The Vimeo token's file cannot be read, or is not text"


def token_from(text: str) -> tuple[str, str]:
    """The token in its file's text, and what is wrong with it ("" when nothing is, or when it is empty)."""
    token = secret_text.bare(text)
    if token and not all("!" <= letter <= "~" for letter in token):
        return "", "The Vimeo token's file holds more than a token: a space, a line break or a character that no token has"
    return token, ""
