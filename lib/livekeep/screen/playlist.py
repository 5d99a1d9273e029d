"""Is a plain URL open, and does an HLS playlist still grow? One bounded look each; HLS (RFC 8216), RTSP by its own module, RTMP.

A plain URL has no API that explains itself: what is not there, refuses the connection or is no playlist is off air, not broken.
"""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from livekeep.core.state import Cause
from livekeep.screen.transport import Client, Response, TransportError
from livekeep.screen.vimeo import DOCTOR, Answer, outcome_of

HLS_MARK = b"#EXTM3U"
CHECK_URL = "correct the url in /etc/livekeep/livekeep.toml, then run: sudo systemctl reload livekeep-poller"
JUMP_BACK_SEGMENTS = 10
"""A playlist that is so far behind was begun anew; a smaller step back is another server of the same stream."""


@dataclass(frozen=True)
class Fingerprint:
    """What tells two moments of an HLS media playlist apart; the last segment's name is without its signature."""

    media_sequence: int
    segments: int
    last_segment: str = field(default="", repr=False)
    has_ended: bool = False

    def position(self) -> int:
        """The number of the segment that comes next."""
        return self.media_sequence + self.segments


@dataclass(frozen=True)
class Look:
    """One look at a stream's playlist: `open` with a fingerprint, `open` without one (no HLS), `not-open`, or out of reach."""

    kind: Literal["open", "not-open", "refused", "outage"]
    outcome: str
    text: str = ""
    fingerprint: Fingerprint | None = None
    status: int | None = None


@dataclass(frozen=True)
class Recovery:
    """The player reported the end or a stall: the stream is handed out again once its playlist has grown.

    `first` is the first fingerprint seen since; `began_monotonic` and `next_look_monotonic` pace the looks.
    """

    began_monotonic: float
    next_look_monotonic: float
    first: Fingerprint | None = None
    has_grown: bool = False


Progress = Literal["grown", "standing-still", "ended", "not-open"]


def progress(recovery: Recovery, look: Look) -> Progress:
    """What a look says after a stall; a stream that is no HLS counts as grown when it is open."""
    if look.kind != "open":
        return "not-open"
    if look.fingerprint is None:
        return "grown"
    if look.fingerprint.has_ended:
        return "ended"
    return "grown" if has_grown(recovery.first, look.fingerprint) else "standing-still"


def has_grown(first: Fingerprint | None, now: Fingerprint) -> bool:
    """Whether the playlist went on since `first`; one step back is another server's copy, a long one a new stream."""
    if first is None or not now.segments:
        return False
    ahead = now.position() - first.position()
    if ahead == 0:
        return first.has_ended
    return ahead > 0 or ahead <= -JUMP_BACK_SEGMENTS or first.has_ended


def fingerprint(text: str) -> Fingerprint | None:
    """The fingerprint of a media playlist, None for a master playlist."""
    segments = [line for line in lines_of(text) if not line.startswith("#")]
    if "#EXT-X-STREAM-INF" in text:
        return None
    sequence = re.search(r"^#EXT-X-MEDIA-SEQUENCE:\s*([0-9]{1,18})", text, re.MULTILINE)
    last = urlsplit(segments[-1]).path.rpartition("/")[2] if segments else ""
    has_ended = re.search(r"^#EXT-X-ENDLIST", text, re.MULTILINE) is not None
    return Fingerprint(int(sequence[1]) if sequence else 0, len(segments), last, has_ended)


def first_variant(text: str) -> str | None:
    """The first variant's URI in a master playlist."""
    lines = lines_of(text)
    for index, line in enumerate(lines[:-1]):
        if line.startswith("#EXT-X-STREAM-INF") and not lines[index + 1].startswith("#"):
            return lines[index + 1]
    return None


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def look(client: Client, url: str, deadline: float) -> Look:
    """Look at the playlist behind an http(s) URL; of a master playlist, at its first variant."""
    try:
        response = client.get(url, deadline, {}, {}, HLS_MARK)
        variant = first_variant(text_of(response)) if is_playlist(response) else None
        if variant is not None:
            response = client.get(urljoin(response.url, variant), deadline, {}, {}, HLS_MARK)
        if not is_playlist(response):
            return look_of_other(response, url, variant is not None)
        found = fingerprint(text_of(response))
    except TransportError as error:
        return look_of_fault(error)
    except ValueError:
        return Look("not-open", "invalid", "its playlist names no usable address")
    if found is None:
        return Look("not-open", "2xx", "its master playlist names no media playlist")
    return Look("open", "2xx", fingerprint=found, status=200)


def is_playlist(response: Response) -> bool:
    return response.status == 200 and response.body.startswith(HLS_MARK)


def text_of(response: Response) -> str:
    return response.body.decode("utf-8", "replace")


def look_of_other(response: Response, url: str, must_be_playlist: bool) -> Look:
    """An answer that is no playlist."""
    status, outcome = response.status, outcome_of(response.status)
    if status == 200:
        promised = must_be_playlist or urlsplit(url).path.lower().endswith((".m3u8", ".m3u"))
        media_type = response.headers.get("content-type", "").lower()
        if promised or "mpegurl" in media_type or media_type.startswith(("text/html", "application/xhtml")):
            return Look("not-open", outcome, "its answer is no playlist", status=status)
        return Look("open", outcome, status=status)
    if status in (401, 403):
        return Look("refused", outcome, f"HTTP {status}", status=status)
    if status >= 500 or status in (408, 429):
        return Look("outage", outcome, f"it has a fault (HTTP {status})", status=status)
    return Look("not-open", outcome, f"HTTP {status}", status=status)


def ask(client: Client, url: str, deadline: float) -> Answer:
    """Whether a plain URL of any kind is on air."""
    parts = urlsplit(url)
    if parts.scheme.lower() in ("http", "https"):
        seen = look(client, url, deadline)
    elif parts.scheme.lower() in ("rtsp", "rtsps"):
        seen = look_by_rtsp(client, parts, deadline)
    else:
        seen = connect(client, parts, deadline)
    return answer_of(seen, url)


def answer_of(seen: Look, url: str) -> Answer:
    """What a look at a plain URL means for the screen."""
    if seen.kind == "open" and seen.fingerprint and (seen.fingerprint.has_ended or not seen.fingerprint.segments):
        cause: Cause = "ended" if seen.fingerprint.has_ended else "not-open"
        return Answer("offline", seen.outcome, cause, "The stream has ended" if cause == "ended" else "The stream has not begun")
    if seen.kind == "open":
        return Answer("live", seen.outcome, url=url, status=seen.status)
    if seen.kind == "refused":
        reason = f"The stream's server does not let us in ({seen.text})"
        return Answer("refused", seen.outcome, "refused", reason, CHECK_URL, status=seen.status)
    if seen.kind == "outage":
        reason = f"The stream's server cannot be reached: {seen.text}"
        return Answer("outage", seen.outcome, "outage", reason, DOCTOR, status=seen.status)
    return Answer("offline", seen.outcome, "not-open", f"The stream is not open ({seen.text})", status=seen.status)


def connect(client: Client, parts: SplitResult, deadline: float) -> Look:
    """RTMP says only after a handshake of its own what it has: here an open port counts."""
    try:
        client.open_socket(parts, deadline).hang_up()
    except TransportError as error:
        return look_of_fault(error)
    return Look("open", "2xx")


def look_by_rtsp(client: Client, parts: SplitResult, deadline: float) -> Look:
    """A DESCRIBE tells whether the stream is there."""
    from livekeep.screen import rtsp  # noqa: PLC0415 - only cameras need it

    try:
        status = rtsp.describe(client, parts, deadline)
    except TransportError as error:
        return look_of_fault(error)
    if status == 200:
        return Look("open", "2xx", status=status)
    if status in (401, 403):
        return Look("refused", "4xx", f"RTSP {status}", status=status)
    if status >= 500:
        return Look("outage", "5xx", f"it has a fault (RTSP {status})", status=status)
    return Look("not-open", outcome_of(status), f"RTSP {status}", status=status)


def look_of_fault(error: TransportError) -> Look:
    """A refused connection or an answer of another kind means that nobody streams there; all else may pass."""
    is_absent = error.is_refused or error.outcome in ("invalid", "3xx")
    return Look("not-open" if is_absent else "outage", error.outcome, str(error))


def after_look(recovery: Recovery, seen: Look, now: float) -> Recovery:
    """Remember the first fingerprint; the next look is a second later, two when it takes long."""
    first = recovery.first or seen.fingerprint
    pause = 1.0 if now - recovery.began_monotonic < 60 else 2.0
    return Recovery(recovery.began_monotonic, now + pause, first, recovery.has_grown)
