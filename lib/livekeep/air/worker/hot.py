"""Which files of a channel are clips that take off, for `order = "hot"`: by what livekeep-clips has found (clips/state.json).

A file belongs to a clip when its name carries the clip's number or id, or its name. Without that state, or with an old one,
nothing takes off, and the channel plays by name.
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
"""The hottest ones: more would be most of what a channel plays."""
LEAST_DIGITS = 4
"""A shorter number in a file's name may be anything."""
LEAST_ID_CHARACTERS = 6
LEAST_NAME_CHARACTERS = 8
"""Of a clip's name that is found within a file's; a shorter one, or one of a single word, must be all of it."""
OLD_INTERVALS = 4
LEAST_OLD_SECONDS = 3600.0
"""A state that is older than both is that of an analyzer which no longer runs."""


def hot_files(names: Iterable[str], clips: Iterable[HotClip]) -> tuple[str, ...]:
    """The files of the hottest clips, the hottest first, each once. `clips` are in order, `names` paths below the media."""
    stems = {name: name.rpartition("/")[2].rpartition(".")[0] for name in names}
    files: dict[str, None] = {}
    for clip in list(clips)[:MOST_CLIPS]:
        matches = {name: how_well(stem, clip.clip, clip.name) for name, stem in stems.items()}
        best = max(matches.values(), default=0)
        if best:
            files |= dict.fromkeys(sorted(name for name, quality in matches.items() if quality == best))
    return tuple(files)


def how_well(stem: str, identity: str, name: str) -> int:
    """How well a file's name without its end fits a clip: 3 by its number or id, 2 and 1 by its name, 0 not at all."""
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
    """`text` in small letters without accents and signs, a blank between words."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter))
    return " ".join("".join(letter if letter.isalnum() else " " for letter in plain).split())


def hot_clips(root: Path = paths.STATE_DIRECTORY) -> tuple[HotClip, ...]:
    """The clips that take off now, the hottest first."""
    try:
        newest = state.read(ClipsState, root)
    except TemporaryError:
        return ()
    age = time.monotonic() - newest.written_monotonic
    return newest.hot if age <= max(OLD_INTERVALS * newest.interval_seconds, LEAST_OLD_SECONDS) else ()
