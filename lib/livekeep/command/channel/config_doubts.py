"""Warnings about a channel's configuration whose values are all valid: what is missing or will not work. Pure except for file
system checks.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from livekeep.core import paths
from livekeep.core.config import Channel

HIDDEN_PLACES = ("home", "root", "run/user", "tmp", "var/tmp")
"""Paths that ProtectHome= and PrivateTmp= hide from the units."""
ABSENT = "there is no such"
KEY_LIKE = re.compile(r"[a-z0-9]{4}(-[a-z0-9]{4}){3,4}")
"""The form of YouTube's stream keys."""


def warnings(name: str, channel: Channel) -> list[str]:
    """One line for each warning, beginning with its key. No line shows an ingest's URL."""
    lines = []
    if not channel.media:
        lines.append('media: is empty, so the channel is not set up; give a folder, or "s3://bucket/prefix"')
    elif not channel.media.startswith("s3://"):
        lines += [f"media: {line}" for line in place(Path(channel.media))]
        if not is_there(Path(channel.media), is_folder=True):
            lines.append(f"media: {channel.media}: {ABSENT} folder")
    lines += ingests(channel)
    lines += [f"slate: {line}" for line in place(Path(channel.slate))]
    if not is_there(Path(channel.slate)):
        lines.append(f"slate: {channel.slate}: {ABSENT} file")
    return [f"channels.{name}.{line}" for line in lines]


def ingests(channel: Channel) -> Iterator[str]:
    if not channel.ingest_urls:
        yield 'ingest_urls: is empty, so the channel is not set up; give the ingest\'s URL without the key: "rtmp://HOST/APP"'
    for url in channel.ingest_urls:
        if carries_key(url):
            yield "ingest_urls: seems to hold the stream key; store it as a credential: sudo livekeep air set-key CHANNEL"
        elif not re.match(r"[a-z]+://[^/]+/[^/]", url, re.IGNORECASE):
            yield f"ingest_urls: {url.partition('://')[2].partition('/')[0]}: names no application; YouTube's ends with /live2"


def carries_key(url: str) -> bool:
    """Whether an ingest's URL has more than its application: RTMP's form is rtmp://HOST/APP, and YouTube marks its backup."""
    path, _, query = url.partition("://")[2].partition("/")[2].partition("?")
    segments = [segment for segment in path.split("/") if segment]
    is_plain_query = re.fullmatch(r"(backup=\d)?", query)
    return not is_plain_query or len(segments) > 1 or any(map(KEY_LIKE.fullmatch, segments))


def is_there(path: Path, is_folder: bool = False) -> bool:
    """Whether the file or folder exists; assumed if it cannot be checked for lack of permission."""
    try:
        return path.is_dir() if is_folder else path.is_file()
    except OSError:
        return True


def place(path: Path, root: Path = paths.ROOT) -> Iterator[str]:
    for hidden in HIDDEN_PLACES:
        if path.is_relative_to(root / hidden):
            yield f"{path}: the units cannot see what lies in /{hidden}; put it elsewhere, such as below /srv"
