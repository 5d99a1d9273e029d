"""Clips of a JSON file that another program writes; docs/how-to/clips.md describes its form."""

import json
from pathlib import Path
from typing import Any

from livekeep.core import files
from livekeep.record import track_performance
from livekeep.record.clips.clip import ID, MOST_CLIPS, Clip, SourceError, count_of, link_of, name_of, seconds_of
from livekeep.system import vimeo

LARGEST_BYTES = 16 * 1024 * 1024
FORM = "see docs/how-to/clips.md for its form"


@track_performance(kind="file")
def clips(path: Path) -> list[Clip]:
    """The clips of the file at `path`. Raises `SourceError`."""
    try:
        document = json.loads(files.read(path, LARGEST_BYTES))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})", "it must be readable by group livekeep") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is not valid JSON", FORM) from error
    if not isinstance(document, list):
        raise SourceError(f"{path}: must hold an array of clips", FORM)
    if len(document) > MOST_CLIPS:
        raise SourceError(f"{path}: must hold at most {MOST_CLIPS} clips, holds {len(document)}")
    try:
        listed = [clip_of(entry, number) for number, entry in enumerate(document, 1)]
    except ValueError as error:
        raise SourceError(f"{path}: {error}", FORM) from error
    if len({clip.id for clip in listed}) < len(listed):
        raise SourceError(f"{path}: an id appears twice", FORM)
    return listed


def clip_of(entry: Any, number: int) -> Clip:
    """Raises `ValueError` for an invalid entry, with its number in the file."""
    if not isinstance(entry, dict):
        raise ValueError(f"entry {number}: must be an object")
    identity = entry.get("id")
    identity = str(identity) if isinstance(identity, int) and not isinstance(identity, bool) else identity
    if not isinstance(identity, str) or not ID.fullmatch(identity):
        raise ValueError(f"entry {number}: id: must be a number, or letters, digits, - and _")
    for key in ("plays", "likes", "comments"):
        if entry.get(key) is not None and count_of(entry[key]) is None:
            raise ValueError(f"entry {number}: {key}: must be a whole number, or null")
    if entry.get("created") is not None and vimeo.moment(entry["created"]) is None:
        raise ValueError(f'entry {number}: created: must be a time such as "2026-11-29T12:00:00Z", or null')
    return Clip(
        id=identity,
        name=name_of(entry.get("name")),
        link=link_of(entry.get("link")),
        duration_seconds=seconds_of(entry.get("duration")),
        created=vimeo.moment(entry.get("created")),
        plays=count_of(entry.get("plays")),
        likes=count_of(entry.get("likes")),
        comments=count_of(entry.get("comments")),
    )
