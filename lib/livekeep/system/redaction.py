"""Prepares the output of other programs for the journal: without secrets, on one line, and short.

A URL may have a stream key in its path, a signature in its query or a password before its host: only scheme and host remain.
"""

import re
from collections.abc import Iterable

LONGEST_CHARACTERS = 300

URL = re.compile(
    r"\b([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#'\"<>@]*@)?(\[[0-9A-Fa-f:.%]*\](?::[0-9]+)?|[^\s/?#'\"<>@\\]*)([/?#][^\s'\"<>]*)?"
)
QUERY = re.compile(r"\?[^\s'\"?]*=[^\s'\"]*")
PARAMETER = re.compile(
    r"(?i)\b((?:x-amz-[a-z-]+|signature|awsaccesskeyid|rtmp_playpath|playpath|authorization)\s*[=:]\s*)[^\s&'\"]+"
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with "…" for each of `secrets` and for all of a URL after its host; control characters become blanks."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    text = URL.sub(lambda found: f"{found[1]}{found[2]}/…" if found[3] else f"{found[1]}{found[2]}", text)
    text = QUERY.sub("?…", text)
    text = PARAMETER.sub(r"\1…", text)
    text = "".join(character if character.isprintable() else " " for character in text).strip()
    return text if len(text) <= LONGEST_CHARACTERS else text[: LONGEST_CHARACTERS - 1] + "…"
