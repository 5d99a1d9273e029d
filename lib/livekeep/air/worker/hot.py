"""The files of a channel that are clips taking off, for `order = "hot"`; from the results of livekeep-clips (clips/state.json).

A file belongs to a clip when its name contains the clip's number, id or name. Without that state, or with an outdated one,
no clip takes off, and the channel plays by name.
"""

import functools
import re
import time
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from livekeep.core import paths, state
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import ClipsState, HotClip

MOST_CLIPS = 5
"""The hottest ones: more would dominate the channel."""
LEAST_DIGITS = 4
"""A shorter number in a file's name can mean anything."""
LEAST_ID_CHARACTERS = 6
LEAST_NAME_CHARACTERS = 8
"""Of a clip's name that is part of a file's name; a shorter or single-word one must be the whole name."""
OLD_INTERVALS = 4
LEAST_OLD_SECONDS = 3600.0
"""A state older than both comes from an analyzer that no longer runs."""


def hot_files(names: Iterable[str], clips: Iterable[HotClip]) -> tuple[str, ...]:
    """The files of the hottest clips, hottest first, each once. `clips` are in order, `names` are paths below the media."""
    stems = {name: name.rpartition("/")[2].rpartition(".")[0] for name in names}
    files: dict[str, None] = {}
    for clip in list(clips)[:MOST_CLIPS]:
        matches = {name: how_well(stem, clip.clip, clip.name) for name, stem in stems.items()}
        best = max(matches.values(), default=0)
        if best:
            files |= dict.fromkeys(sorted(name for name, quality in matches.items() if quality == best))
    return tuple(files)


def how_well(stem: str, identity: str, name: str) -> int:
    """How well a file's name without its extension matches a clip: 3 by its number or id, 2 and 1 by its name, 0 not at all."""
    if carries_identity(stem, identity):
        return 3
    wanted, there = words(name), words(stem)
    if not wanted:
        return 0
    if wanted == there:
        return 2
    is_long = len(wanted) >= LEAST_NAME_CHARACTERS and " " in wanted
    return int(is_long and f" {wanted} " in f" {there} ")


def carries_identity(stem: str, identity: str) -> bool:
    if identity not in stem:
        return False
    if identity.isdecimal():
        return len(identity) >= LEAST_DIGITS and identity in re.findall("[0-9]+", stem)
    if len(identity) < LEAST_ID_CHARACTERS:
        return False
    return re.search(rf"(?<![A-Za-z0-9_-]){re.escape(identity)}(?![A-Za-z0-9_-])", stem) is not None


@functools.lru_cache(maxsize=32_768)
def words(text: str) -> str:
    """`text` in lowercase without accents and punctuation, a space between words."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter))
    return " ".join("".join(letter if letter.isalnum() else " " for letter in plain).split())


def hot_clips(root: Path = paths.STATE_DIRECTORY) -> tuple[HotClip, ...]:
    """The clips that are taking off now, hottest first."""
    try:
        newest = state.read(ClipsState, root)
    except TemporaryError:
        return ()
    age = time.monotonic() - newest.written_monotonic
    return newest.hot if age <= max(OLD_INTERVALS * newest.interval_seconds, LEAST_OLD_SECONDS) else ()
