"""Reads an item's headers with ffprobe before it is played, in livekeep-worker@CHANNEL; its errors say why one can't be played.

scan.py reads the packets, without which nothing is copied. Blocks, so it runs in a thread. ffprobe dies with the thread that
started it; `probe` waits for ffprobe's end, so the thread outlives it.
"""

import contextlib
import json
from pathlib import Path

from livekeep.air.worker.ffmpeg import confined_leash, input_options
from livekeep.air.worker.media_info import ItemError, ItemFailure, MediaInfo, media_of
from livekeep.system import process

LARGEST_OUTPUT_BYTES = 2 * 1024 * 1024
ENTRIES = (
    "format=format_name,duration,bit_rate,start_time"
    ":stream=index,codec_type,codec_name,profile,width,height,sample_aspect_ratio,pix_fmt,field_order,r_frame_rate"
    ",avg_frame_rate,start_time,duration,bit_rate,sample_rate,channels"
    ":stream_tags=DURATION:stream_disposition=attached_pic,default:stream_side_data=rotation"
)


def probe(source: str, timeout_seconds: float, name: str = "") -> MediaInfo:
    """An item by its headers, within `timeout_seconds`. `name` is for messages; default: the last part of `source`.

    Raises `ItemError`: missing, empty, unreadable, unreachable, forbidden, timeout, not-media, truncated, no-video.
    """
    name = name or (source.partition("?")[0] if "://" in source else source).rpartition("/")[2]
    if "://" not in source:
        check_file(source, name)
    command = [*confined_leash(source), "ffprobe", "-hide_banner", "-loglevel", "error", "-show_entries", ENTRIES]
    command += ["-of", "json=compact=1", *input_options(source)]
    try:
        ended = process.run(
            command, timeout_seconds, process.environment(), with_errors=True, most_output_bytes=LARGEST_OUTPUT_BYTES
        )
    except process.NotStartedError as error:
        raise ItemError(ItemFailure.UNREADABLE, f"{name}: {error}; is util-linux installed?") from error
    except process.TooSlowError as error:
        raise too_slow(name) from error
    except process.ChildError as error:
        raise ItemError(ItemFailure.NOT_MEDIA, f"{name}: {error}") from error
    try:
        document = json.loads(ended.text()) if ended.exit_code == 0 else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not document.get("streams"):
        raise fault_of(ended.errors.decode(errors="replace"), name, source)
    media = media_of(document)
    if media is None:
        raise ItemError(ItemFailure.NO_VIDEO, f"{name}: contains no video")
    return media


def check_file(path: str, name: str) -> None:
    """Check the file itself before ffprobe opens it. Raises `ItemError`."""
    try:
        with Path(path).open("rb") as file:
            beginning = file.read(1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ItemError(ItemFailure.MISSING, f"{name}: no longer exists") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or "a name that no file can have"
        sentence = f"{name}: cannot be read ({reason}); group livekeep must be able to read it"
        raise ItemError(ItemFailure.UNREADABLE, sentence) from error
    if not beginning:
        raise ItemError(ItemFailure.EMPTY, f"{name}: is an empty file")


NO_CERTIFICATE = "cannot be read: the storage has no valid certificate for its name: is the clock right?"
FAULTS = (
    ("404 not found", ItemFailure.MISSING, "no longer exists"),
    ("no such file", ItemFailure.MISSING, "no longer exists"),
    ("410 gone", ItemFailure.MISSING, "was replaced by another object"),
    ("403 forbidden", ItemFailure.FORBIDDEN, "may not be read from the bucket; check the storage's keys"),
    ("401 unauthorized", ItemFailure.FORBIDDEN, "may not be read from the bucket; check the storage's keys"),
    ("permission denied", ItemFailure.UNREADABLE, "cannot be read (permission denied); group livekeep must be able to read it"),
    ("server returned 5xx", ItemFailure.UNREACHABLE, "cannot be read: the storage answers with an error"),
    ("http error 5", ItemFailure.UNREACHABLE, "cannot be read: the storage answers with an error"),
    ("certificate failed verification", ItemFailure.UNREACHABLE, NO_CERTIFICATE),
    ("certificate's owner does not match", ItemFailure.UNREACHABLE, NO_CERTIFICATE),
    ("connection refused", ItemFailure.UNREACHABLE, "cannot be read: nothing listens at the storage's address"),
    ("connection timed out", ItemFailure.UNREACHABLE, "cannot be read: the storage does not answer"),
    ("connection reset", ItemFailure.UNREACHABLE, "cannot be read: the storage closed the connection"),
    ("failed to resolve", ItemFailure.UNREACHABLE, "cannot be read: the storage's name is not known"),
    ("network is unreachable", ItemFailure.UNREACHABLE, "cannot be read: there is no network"),
    ("input/output error", ItemFailure.UNREACHABLE, "cannot be read: the storage gave an error or ended too early"),
    ("partial file", ItemFailure.TRUNCATED, "is cut off: its end with the index is missing"),
)
"""ffprobe's messages in lowercase, and their meanings."""


def fault_of(errors: str, name: str, source: str) -> ItemError:
    """Why ffprobe could not open an item."""
    lower = errors.lower()
    for beginning, error_type, sentence in FAULTS:
        if beginning in lower:
            return ItemError(error_type, f"{name}: {sentence}")
    if "moov atom not found" in lower:
        # Of an MP4 that is there, the index is missing.
        with contextlib.suppress(OSError, ValueError), Path(source).open("rb") as file:
            if file.read(8)[4:] == b"ftyp":
                return ItemError(ItemFailure.TRUNCATED, f"{name}: is cut off: its end with the index is missing")
    return ItemError(ItemFailure.NOT_MEDIA, f"{name}: is no video file that can be played, or was cut off")


def too_slow(name: str) -> ItemError:
    return ItemError(ItemFailure.TIMEOUT, f"{name}: could not be read in time; is the storage slow?")
