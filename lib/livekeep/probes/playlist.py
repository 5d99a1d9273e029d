"""HLS playlists (RFC 8216) as far as a probe needs them: variants with their bandwidth, and how far a stream has got."""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin

MARK = b"#EXTM3U"
LONGEST_NAME = 100


class PlaylistError(ValueError):
    """A text that begins like a playlist and is none that can be played; the text ends "the playlist …"."""


@dataclass(frozen=True)
class Variant:
    """One quality of the stream: its address as written, and the line that declares it."""

    uri: str = field(repr=False)
    line: str = field(repr=False)
    bandwidth_bits_per_second: int | None = None


@dataclass(frozen=True)
class Master:
    """The variants in the order of the playlist, and the lines of what goes with them, such as separate sound."""

    variants: tuple[Variant, ...]
    renditions: tuple[str, ...] = field(default=(), repr=False)

    def highest_bandwidth(self) -> int | None:
        return max((variant.bandwidth_bits_per_second or 0 for variant in self.variants), default=0) or None

    def best(self) -> Variant:
        return max(self.variants, key=lambda variant: variant.bandwidth_bits_per_second or 0)


@dataclass(frozen=True)
class Media:
    """A moment of a media playlist. `last_segment` is a name without folder and query."""

    media_sequence: int = 0
    segments: int = 0
    last_segment: str = ""
    target_duration_seconds: float | None = None
    has_ended: bool = False


def parse(text: str) -> Master | Media:
    """Raises `PlaylistError` for a master playlist without a variant."""
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        return parse_master(lines)
    uris = [line for line in lines if not line.startswith("#")]
    sequence = number_after("#EXT-X-MEDIA-SEQUENCE:", lines)
    return Media(
        media_sequence=int(sequence or 0),
        segments=len(uris),
        last_segment=name_of(uris[-1]) if uris else "",
        target_duration_seconds=number_after("#EXT-X-TARGETDURATION:", lines) or None,
        has_ended="#EXT-X-ENDLIST" in lines,
    )


def parse_master(lines: list[str]) -> Master:
    variants = []
    for line, following in zip(lines, [*lines[1:], "#"], strict=True):
        if line.startswith("#EXT-X-STREAM-INF") and not following.startswith("#"):
            # Quoted text may hold anything.
            found = re.search(r"[:,]\s*BANDWIDTH=([0-9]{1,12})", re.sub(r'"[^"]*"', "", line))
            variants.append(Variant(following, line, int(found[1]) if found else None))
    if not variants:
        raise PlaylistError("names no variant")
    return Master(tuple(variants), tuple(line for line in lines if line.startswith("#EXT-X-MEDIA:")))


def number_after(tag: str, lines: list[str]) -> float | None:
    for line in lines:
        if line.startswith(tag):
            found = re.fullmatch(r"\s*([0-9]{1,15}(\.[0-9]{1,6})?)\s*", line.removeprefix(tag))
            return float(found[1]) if found else None
    return None


def name_of(uri: str) -> str:
    """The last part of the path: a query, or what stands in for one, may be a signature."""
    name = re.split(r"[?#;]", uri, maxsplit=1)[0].rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_NAME]


def master_of(master: Master, base: str) -> str:
    """A master playlist of the best variant alone, its addresses made absolute: it can be read from a pipe."""
    best = master.best()
    renditions = [re.sub(r'URI="([^"]*)"', lambda found: f'URI="{urljoin(base, found[1])}"', line) for line in master.renditions]
    return "\n".join(["#EXTM3U", *renditions, best.line, urljoin(base, best.uri), ""])


def master_of_one(url: str) -> str:
    """The same for a stream that has no master playlist."""
    return f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n"
