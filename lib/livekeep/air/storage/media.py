"""The media of a channel: the files, their order, and the errors of reading them.

Used by folder, bucket and their callers.
"""

import functools
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from livekeep.core.errors import TemporaryError

BUCKET_SCHEME = "s3://"
MOST_FILES = 20_000
"""The most files listed per channel; the worker holds all of them in memory."""
NO_TEXT = re.compile(r"[\ud800-\udfff]")
"""Python's stand-ins for bytes that are not UTF-8."""
NO_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that control a terminal or end a line; other invisible ones also occur in valid names, such as those of macOS."""

ErrorType = Literal[
    "timeout", "unreachable", "bad-config", "wrong-keys", "no-keys", "no-bucket", "wrong-region", "clock-skew", "empty",
    "no-folder", "unreadable", "server-fault", "other",
]  # fmt: skip
ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)

logger = logging.getLogger("livekeep.media")


@dataclass(frozen=True, slots=True)
class MediaFile:
    name: str
    """Its path below the channel's media, "/"-separated."""
    size_bytes: int
    modified: float
    """Unix seconds."""


class StorageError(TemporaryError):
    """The media can't be listed or read now. The text is one line without any URL; `error_type` names the kind."""

    def __init__(self, error_type: ErrorType, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def is_bucket(media: str) -> bool:
    return media.startswith(BUCKET_SCHEME)


def split_bucket(media: str) -> tuple[str, str]:
    """The bucket of "s3://bucket/a/b", and the prefix of its keys, "a/b/" ("" for the whole bucket)."""
    bucket, _slash, prefix = media.removeprefix(BUCKET_SCHEME).partition("/")
    prefix = prefix.strip("/")
    return bucket, prefix and f"{prefix}/"


def is_playable(name: str, extensions: Iterable[str]) -> bool:
    """Whether a file of that name belongs to the channel: right extension, no hidden part in its path."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and name.lower().endswith(tuple(extensions))


def usable(files: Iterable[MediaFile], where: str) -> tuple[MediaFile, ...]:
    """The files whose names are safe in logs, states and URLs; each other name is logged once.

    Raises `StorageError` when none is left.
    """
    accepted = []
    for file in files:
        if NO_TEXT.search(file.name):
            fault = "is not UTF-8 text"
        elif NO_LINE.search(file.name):
            fault = "holds a line break or another control character"
        else:
            accepted.append(file)
            continue
        warn_once(f"{where}: {file.name!a}: is left out, for its name {fault}; rename it")
    if not accepted:
        raise StorageError("empty", f"{where}: nothing to play: no file has a name that can be used; rename them")
    return tuple(accepted)


@functools.lru_cache(maxsize=256)
def warn_once(sentence: str) -> None:
    logger.warning(sentence)


def nothing_in(where: str, others: int, extensions: Iterable[str]) -> StorageError:
    """The error of media without a file to play; `others` is the number of other files."""
    kinds = ", ".join(extensions)
    if not others:
        return StorageError("empty", f"{where}: is empty; upload files that end in one of {kinds}")
    some = "the only file" if others == 1 else f"each of the {others} files"
    return StorageError("empty", f"{where}: nothing to play: {some} is hidden, empty, or ends in none of {kinds}")


def natural(name: str) -> tuple[list[list[str | int]], str]:
    """The sort key of a name: clip2 before clip10, case-insensitive, a folder's files together."""
    # Text and number in turn, beginning with text, so that equal types are compared.
    parts = [re.split(r"([0-9]{1,18})", part) for part in name.casefold().split("/")]
    return [[int(piece) if index % 2 else piece for index, piece in enumerate(pieces)] for pieces in parts], name


def ordered(files: Iterable[MediaFile], order: str, previous: tuple[str, ...], random: Random) -> tuple[MediaFile, ...]:
    """The files of one round in the channel's `order`: "name" (as is "hot"), "oldest", "newest" or "shuffle".

    `previous`: the names of the previous round; a shuffled round never begins with the last of them.
    """
    by_name = sorted(files, key=lambda file: natural(file.name))
    if order == "oldest":
        by_name.sort(key=lambda file: file.modified)
    elif order == "newest":
        by_name.sort(key=lambda file: -file.modified)
    elif order == "shuffle":
        random.shuffle(by_name)
        if len(by_name) > 1 and previous and by_name[0].name == previous[-1]:
            other = random.randrange(1, len(by_name))
            by_name[0], by_name[other] = by_name[other], by_name[0]
    return tuple(by_name)
