"""Reads all packets of an item with ffprobe and keeps the results; in livekeep-worker@CHANNEL and livekeep-air-check.

Blocks, so it runs in a thread: reading takes as long as the storage needs for the whole file. It decodes nothing and yields to
the items on air: it has a low priority and rests after each piece. Writes one small file per item in the worker's cache folder,
so that a file is read only once as long as its name, size, time and version stay the same.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import selectors
import subprocess
import threading
import time
from collections import OrderedDict
from pathlib import Path

from livekeep.air.storage.media import MediaFile
from livekeep.air.worker.ffmpeg import confined_leash, input_options
from livekeep.air.worker.media_info import ItemError, ItemFailure, MediaInfo, number
from livekeep.air.worker.packets import Kind, Packet, Scan, Scanner, scan_of
from livekeep.air.worker.probe import fault_of, too_slow
from livekeep.core import files
from livekeep.system import process
from livekeep.system.redaction import redacted

POLITENESS = ("nice", "-n", "10")
STALL_SECONDS = 60.0
"""Silence after which reading is abandoned."""
LONGEST_REST_SECONDS = 0.2
BLOCK_BYTES, PIPE_BYTES = 64 * 1024, 4096
LARGEST_ERRORS_BYTES = 64 * 1024
DAMAGE = re.compile(
    r"invalid nal unit|missing picture in access unit|packet corrupt|packet mismatch|pes packet size mismatch|"
    r"non-existing [ps]ps|input buffer exhausted|error parsing|invalid data found",
    re.IGNORECASE,
)
"""ffprobe's messages about damaged packets."""
CUT_OFF = re.compile(r"partial file|file ended prematurely|truncat", re.IGNORECASE)
BREAK = re.compile(r"(?:will reconnect|ends prematurely) at ([0-9]+)", re.IGNORECASE)
"""ffprobe's message about a broken connection, and its place in the file. It doesn't say whether a new connection continued."""
TAGS = re.compile(r"^(\[[^]]*\] )+")
RECIPE = 2
"""Increases when the meaning of a scan changes."""
MOST_REMEMBERED = 64
MOST_KEPT = 20_000


def scan(
    source: str, media: MediaInfo, name: str, *, timeout_seconds: float = math.inf, may_read: threading.Event | None = None
) -> Scan:
    """Scan all packets of the streams that `media` plays. With `may_read`, it yields to others, and rests while that is not set.

    Raises `ItemError`: timeout, or when the item can't be read.
    """
    entries = "packet=stream_index,pts_time,dts_time,duration_time,size,pos,flags"
    arguments = ["-hide_banner", "-loglevel", "level+warning", "-show_entries", entries, "-of", "csv=p=0", *input_options(source)]
    politeness = () if may_read is None else POLITENESS
    try:
        child = subprocess.Popen(
            [*confined_leash(source), *politeness, "ffprobe", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=process.environment(),
        )
    except OSError as error:
        raise ItemError(
            ItemFailure.UNREADABLE, f"{name}: setpriv cannot be started ({error.strerror}); is util-linux installed?"
        ) from error
    reader = Reader(media)
    with child:
        try:
            errors = follow(child, reader, name, time.monotonic() + timeout_seconds, may_read)
        finally:
            child.kill()
    if any(int(offset) >= reader.reached_bytes for offset in BREAK.findall(errors)):
        raise ItemError(ItemFailure.UNREACHABLE, f"{name}: could not be read to its end; the storage closed the connection")
    damage = next((redacted(TAGS.sub("", line)) for line in errors.splitlines() if DAMAGE.search(line)), "")
    result = reader.scanner.result(damage, cut_off=bool(CUT_OFF.search(errors)))
    if not result.video.packets:
        raise fault_of(errors, name, source)
    return result


class Reader:
    """Passes the packets of the streams that `media` plays to its scanner."""

    def __init__(self, media: MediaInfo) -> None:
        self.scanner = Scanner(media.container)
        self.reached_bytes = 0
        """Where in the file the last packet ends."""
        self._kinds: dict[int, Kind] = {media.video.index: "video"}
        if media.audio:
            self._kinds[media.audio.index] = "audio"

    def take(self, line: bytes) -> None:
        """Parse a line "stream,pts,dts,duration,size,position,flags"; lines about side data have fewer fields."""
        fields = line.split(b",")
        if len(fields) < 7 or not fields[0].isdigit() or not fields[4].isdigit():
            return
        size = int(fields[4])
        if fields[5].isdigit():
            self.reached_bytes = max(self.reached_bytes, int(fields[5]) + size)
        if kind := self._kinds.get(int(fields[0])):
            flags = fields[6]
            times = number(fields[1]), number(fields[2]), number(fields[3])
            self.scanner.take(Packet(kind, *times, size, flags[:1] == b"K", b"D" in flags))


def follow(child: subprocess.Popen[bytes], reader: Reader, name: str, deadline: float, may_read: threading.Event | None) -> str:
    """Pass all packets to `reader`; ffprobe's error messages. Raises `ItemError`."""
    assert child.stdout and child.stderr  # noqa: S101 – both are pipes
    rest, errors = b"", bytearray()
    if may_read:
        # A small pipe keeps ffprobe from running ahead while it should rest.
        with contextlib.suppress(OSError):
            fcntl.fcntl(child.stdout.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        selector.register(child.stderr, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(min(STALL_SECONDS, max(deadline - time.monotonic(), 0)))
            if not ready or time.monotonic() > deadline:
                raise too_slow(name)
            for key, _events in ready:
                began, block = time.monotonic(), os.read(key.fd, BLOCK_BYTES)
                if not block:
                    selector.unregister(key.fileobj)
                elif key.fileobj is child.stderr:
                    errors += block[: LARGEST_ERRORS_BYTES - len(errors)]
                else:
                    *lines, rest = (rest + block).split(b"\n")
                    for line in lines:
                        reader.take(line)
                    if may_read:
                        # Meanwhile ffprobe waits, because its pipe is full.
                        time.sleep(min(time.monotonic() - began, LONGEST_REST_SECONDS))
                        may_read.wait()
    return errors.decode(errors="replace")


class Scans:
    """The stored scans. Thread-safe."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: where scans are stored, created if missing; with None or on a full disk they stay in memory only."""
        self._folder = folder
        self._remembered: OrderedDict[tuple[str, ...], Scan] = OrderedDict()

    def load(self, file: MediaFile, version: str) -> Scan | None:
        """The scan of exactly this file; None if there is none."""
        identity = identity_of(file, version)
        if known := self._remembered.get(identity):
            return known
        if self._folder is None:
            return None
        try:
            document = json.loads(path_of(self._folder, file).read_bytes())
            return scan_of(document["scan"]) if tuple(document["of"]) == identity else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def keep(self, file: MediaFile, version: str, result: Scan) -> None:
        identity = identity_of(file, version)
        self._remembered[identity] = result
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        if self._folder is None:
            return
        document = json.dumps({"of": identity, "scan": result.as_document()})
        # If it can't be stored, it is scanned again after the worker's next start.
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            files.replace(path_of(self._folder, file), document.encode(), is_durable=False)

    def tidy(self) -> None:
        """Delete the oldest scans beyond the number of files that a channel can list."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            kept = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in kept[: max(len(kept) - MOST_KEPT, 0)]:
                path.unlink()


def path_of(folder: Path, file: MediaFile) -> Path:
    return folder / f"{hashlib.sha256(file.name.encode()).hexdigest()[:32]}.json"


def identity_of(file: MediaFile, version: str) -> tuple[str, ...]:
    return (f"{RECIPE}", file.name, f"{file.size_bytes}", f"{file.modified!r}", version)
