"""HLS playlists (RFC 8216): one parser for all stream checks. It parses a playlist block by block as it arrives.

It is as lenient as the players, and keeps little of a playlist of any length: the beginning, until it proves to be a media
playlist, and the counters. The playlist of an event with rewind has some megabytes.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin

from livekeep.system.http import Client, Cookies, Response, TransportError

MARK = b"#EXTM3U"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGEST_BYTES = 64 * 1024 * 1024
"""Unpacked. A day of two-second segments with long URLs takes 15 MB."""
LARGEST_MASTER_BYTES = 512 * 1024
LONGEST_LINE_BYTES = 64 * 1024
MOST_VARIANTS_TRIED = 6
LONGEST_NAME = 100
LONGEST_SEGMENT_SECONDS = 86_400.0
JUMP_BACK_SEGMENTS = 10
"""A playlist that falls back this far has started again; a smaller step back is another server of the same stream."""

URI_LINE = re.compile(rb"^[ \t]*[^#\s].*$", re.MULTILINE)
ENDED = re.compile(rb"^[ \t]*#EXT-X-ENDLIST", re.MULTILINE)
IS_MASTER = re.compile(rb"^[ \t]*#EXT-X-STREAM-INF", re.MULTILINE)


@dataclass(frozen=True)
class Variant:
    """One quality of the stream: its URL as written, and the line that declares it."""

    uri: str = field(repr=False)
    line: str = field(repr=False)
    bandwidth_bits_per_second: int | None = None


@dataclass(frozen=True)
class Master:
    """The variants in the order of the playlist, and the lines of their renditions, such as separate sound."""

    variants: tuple[Variant, ...]
    renditions: tuple[str, ...] = field(default=(), repr=False)

    def highest_bandwidth(self) -> int | None:
        return max((variant.bandwidth_bits_per_second or 0 for variant in self.variants), default=0) or None

    def best(self) -> Variant:
        return max(self.variants, key=lambda variant: variant.bandwidth_bits_per_second or 0)


@dataclass(frozen=True)
class Media:
    """A snapshot of a media playlist. `last_segment` is a name without folder and query, which may be a signature."""

    media_sequence: int = 0
    segments: int = 0
    last_segment: str = field(default="", repr=False)
    target_duration_seconds: float | None = None
    has_ended: bool = False

    def position(self) -> int:
        """The number of the next segment."""
        return self.media_sequence + self.segments


@dataclass(frozen=True)
class Stream:
    """A stream as its playlists describe it; `media` is None if no media playlist was read to its end.

    `response` is the response to the URL. If no variant has a playlist, `last` is the last variant's response or error.
    `is_cut` marks a playlist that was not read to its end: it is too long, or arrives too slowly.
    """

    response: Response
    is_playlist: bool
    master: Master | None = None
    media: Media | None = None
    is_cut: bool = False
    last: Response | TransportError | None = None


class Reader:
    """Parses one playlist: pass its bytes to `take`; `media` and `master` return the result."""

    def __init__(self, most_bytes: int = LARGEST_BYTES) -> None:
        self.is_cut = False
        """Whether reading stopped before its end."""
        self._most_bytes = most_bytes
        self._total = 0
        self._rest = b""
        self._beginning: bytearray | None = bytearray()
        self._is_playlist: bool | None = None
        self._is_master = self._has_ended = False
        self._segments = 0
        self._last_uri = b""
        self._sequence: float | None = None
        self._target: float | None = None

    def take(self, block: bytes) -> bool:
        """Parse the next bytes; returns whether more are wanted."""
        self._total += len(block)
        # All three kinds of line break occur.
        text = self._rest + block.replace(b"\r", b"\n")
        if self._is_playlist is None:
            text = text.removeprefix(BYTE_ORDER_MARK)
            if len(text) >= len(MARK):
                self._is_playlist = text.startswith(MARK)
        if self._is_playlist is False:
            return False
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        self._take_lines(text[:end])
        is_too_large = self._beginning is not None and len(self._beginning) > LARGEST_MASTER_BYTES
        self.is_cut = self._total > self._most_bytes or len(self._rest) > LONGEST_LINE_BYTES or is_too_large
        return not self.is_cut

    def is_playlist(self) -> bool:
        """Whether it begins like a playlist."""
        return self._is_playlist is True

    def close(self) -> None:
        """End the input: the last line may lack a line break."""
        self._take_lines(self._rest)
        self._rest = b""

    def master(self) -> Master | None:
        """The master playlist, perhaps without variants; None for a media playlist."""
        if not self._is_master or self._beginning is None:
            return None
        text = bytes(self._beginning).decode("utf-8", "replace")
        lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
        variants, declared = [], ""
        for line in lines:
            if line.startswith("#EXT-X-STREAM-INF"):
                declared = line
            # The URL may come some lines after its declaration, with comments in between.
            elif declared and not line.startswith("#"):
                # Quoted text may contain anything.
                match = re.search(r"[:,]\s*BANDWIDTH=([0-9]{1,12})", re.sub(r'"[^"]*"', "", declared))
                variants.append(Variant(line, declared, int(match[1]) if match else None))
                declared = ""
        return Master(tuple(variants), tuple(line for line in lines if line.startswith("#EXT-X-MEDIA:")))

    def media(self) -> Media | None:
        """The media playlist; None for a master playlist, and for one that was not read to its end."""
        if self._is_master or self.is_cut or not self.is_playlist():
            return None
        name = name_of(self._last_uri.decode("utf-8", "replace"))
        target = self._target if self._target and self._target <= LONGEST_SEGMENT_SECONDS else None
        return Media(int(self._sequence or 0), self._segments, name, target, self._has_ended)

    def _take_lines(self, lines: bytes) -> None:
        if not lines:
            return
        if self._beginning is not None:
            self._beginning += lines
            self._is_master = self._is_master or IS_MASTER.search(lines) is not None
        if self._is_master:
            return
        uris = URI_LINE.findall(lines)
        if uris:
            # It is a media playlist: in a master playlist, EXT-X-STREAM-INF comes before the first URI.
            self._beginning = None
            self._segments += len(uris)
            self._last_uri = uris[-1].strip()
        self._has_ended = self._has_ended or ENDED.search(lines) is not None
        self._sequence = number_after(b"#EXT-X-MEDIA-SEQUENCE:", lines) if self._sequence is None else self._sequence
        self._target = number_after(b"#EXT-X-TARGETDURATION:", lines) if self._target is None else self._target


def read(client: Client, url: str, deadline: float, most_bytes: int = LARGEST_BYTES) -> Stream:
    """Read the playlist of an http(s) URL as the player does; for a master playlist, the first variant that can be read.

    `deadline` is in monotonic seconds. A playlist that is not read to its end in time has no `media`. Raises `TransportError`
    if the URL gives no response.
    """
    cookies = Cookies()
    reader, response = read_one(client, url, deadline, cookies, most_bytes)
    master = reader.master()
    if master is None:
        return Stream(response, reader.is_playlist(), None, reader.media(), reader.is_cut)
    last: Response | TransportError | None = None
    for variant in master.variants[:MOST_VARIANTS_TRIED]:
        try:
            reader, last = read_one(client, urljoin(response.url, variant.uri), deadline, cookies, most_bytes)
        except TransportError as error:
            last = error
        except ValueError:
            last = TransportError("invalid", "its playlist contains no usable URL")
        else:
            if reader.is_playlist() and reader.master() is None:
                return Stream(response, True, master, reader.media(), reader.is_cut)
    return Stream(response, True, master, last=last)


def read_one(client: Client, url: str, deadline: float, cookies: Cookies, most_bytes: int) -> tuple[Reader, Response]:
    """One playlist and its response. Raises `TransportError` if there is none."""
    reader = Reader(most_bytes)
    try:
        response = client.read(url, deadline, reader.take, cookies)
    except TransportError:
        if not reader.is_playlist():
            raise
        # The playlist exists, but reading it takes longer than the deadline.
        reader.is_cut = True
        return reader, Response(200, {}, b"", url)
    reader.close()
    return reader, response


def number_after(tag: bytes, lines: bytes) -> float | None:
    match = re.search(rb"^[ \t]*" + re.escape(tag) + rb"\s*([0-9]{1,15}(\.[0-9]{1,6})?)[ \t\r]*$", lines, re.MULTILINE)
    return float(match[1]) if match else None


def name_of(uri: str) -> str:
    """The last part of the path: a query, or its equivalent, may be a signature."""
    name = re.split(r"[?#;]", uri, maxsplit=1)[0].rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_NAME]


def has_grown(first: Media | None, now: Media) -> bool:
    """Whether the playlist advanced since `first`. A short step back is another server's copy, a long one a new stream."""
    if first is None or not now.segments:
        return False
    ahead = now.position() - first.position()
    if ahead == 0:
        return first.has_ended
    return ahead > 0 or ahead <= -JUMP_BACK_SEGMENTS or first.has_ended
