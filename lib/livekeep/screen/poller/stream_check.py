"""Checks whether a plain URL is open, and whether an HLS playlist grows. One bounded check each: system.hls, rtsp.py, or RTMP.

A plain URL has no API that explains a failure: if it is missing, refuses the connection or is no playlist, it is off air, not
broken. A check reports without deciding: what it can't judge is left to the player program.
"""

from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from livekeep.core.state import Cause
from livekeep.screen.poller.vimeo import DOCTOR, LOGIN, LOGIN_STATUS, Answer
from livekeep.system import hls
from livekeep.system.hls import Media
from livekeep.system.http import Client, Response, TransportError, outcome_of

CHECK_URL = "correct the url in /etc/livekeep/livekeep.toml, then run: sudo systemctl reload livekeep-poller"
SHORT_BYTES = 256 * 1024
"""How much of a playing stream's playlist is read: its picture shows more than the rest could."""


@dataclass(frozen=True)
class StreamCheck:
    """A check's result: `open`, `not-open`, or out of reach. `media` is None if it is not HLS or can't be judged."""

    kind: Literal["open", "not-open", "refused", "outage"]
    outcome: str
    text: str = ""
    media: Media | None = None
    status: int | None = None


Progress = Literal["grown", "standing-still", "ended", "not-open", "unknown"]


def progress(first: Media | None, check: StreamCheck) -> Progress:
    """A check's result after a stall; `first` is the first playlist since then. `unknown`: only the player program can tell."""
    if check.kind == "refused":
        return "unknown"
    if check.kind != "open":
        return "not-open"
    if check.media is None:
        return "unknown"
    if check.media.has_ended:
        return "ended"
    return "grown" if hls.has_grown(first, check.media) else "standing-still"


def check(client: Client, url: str, deadline: float, most_bytes: int = hls.LARGEST_BYTES) -> StreamCheck:
    """Check the playlist behind an http(s) URL; for a master playlist, the first readable variant."""
    try:
        stream = hls.read(client, url, deadline, most_bytes)
    except TransportError as error:
        return check_of_fault(error)
    if not stream.is_playlist:
        return check_of_other(stream.response, url, False)
    if stream.media or stream.is_cut:
        return StreamCheck("open", "2xx", media=stream.media, status=200)
    if isinstance(stream.last, TransportError):
        return check_of_fault(stream.last)
    if stream.last:
        return check_of_other(stream.last, url, True)
    return StreamCheck("not-open", "2xx", "its master playlist names no media playlist")


def check_of_other(response: Response, url: str, must_be_playlist: bool) -> StreamCheck:
    """A response that is not a playlist."""
    status, outcome = response.status, outcome_of(response.status)
    if status == 200:
        return check_of_content(response, must_be_playlist or urlsplit(url).path.lower().endswith((".m3u8", ".m3u")))
    if status in (401, 403):
        return StreamCheck("refused", outcome, f"HTTP {status}", status=status)
    if status >= 500 or status in (408, 429):
        text = f"HTTP {status}; {LOGIN}" if status == LOGIN_STATUS else f"it has a fault (HTTP {status})"
        return StreamCheck("outage", outcome, text, status=status)
    return StreamCheck("not-open", outcome, f"HTTP {status}", status=status)


def check_of_content(response: Response, must_be_playlist: bool) -> StreamCheck:
    media_type = response.headers.get("content-type", "").lower()
    if media_type.startswith(("text/html", "application/xhtml")):
        return StreamCheck("not-open", "2xx", f"its answer is a web page; {LOGIN}", status=200)
    if must_be_playlist or "mpegurl" in media_type:
        return StreamCheck("not-open", "2xx", f"its answer is no playlist; {LOGIN}", status=200)
    return StreamCheck("open", "2xx", status=200)


def ask(client: Client, url: str, deadline: float, is_shown: bool) -> Answer:
    """Whether a plain URL of any kind is on air; while the screen shows it (`is_shown`), only an outage contradicts that."""
    parts = urlsplit(url)
    if parts.scheme.lower() in ("http", "https"):
        seen = check(client, url, deadline, SHORT_BYTES if is_shown else hls.LARGEST_BYTES)
    elif parts.scheme.lower() in ("rtsp", "rtsps"):
        seen = check_by_rtsp(client, parts, deadline)
    else:
        seen = connect(client, parts, deadline)
    if is_shown and seen.kind != "outage":
        return Answer("live", seen.outcome, url=url, status=seen.status)
    return answer_of(seen, url)


def answer_of(seen: StreamCheck, url: str) -> Answer:
    """What a check of a plain URL means for the screen."""
    if seen.kind == "open" and seen.media and (seen.media.has_ended or not seen.media.segments):
        cause: Cause = "ended" if seen.media.has_ended else "not-open"
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


def unless_ended(answer: Answer, client: Client, deadline: float) -> Answer:
    """The API's "live", unless the playlist has ended: the player would replay the ended event from its beginning."""
    if not answer.url.lower().startswith(("http://", "https://")):
        return answer
    seen = check(client, answer.url, deadline)
    if seen.media is None or not seen.media.has_ended:
        return answer
    return replace(answer, verdict="offline", cause="ended", reason="The stream has ended, says its playlist", url="")


def connect(client: Client, parts: SplitResult, deadline: float) -> StreamCheck:
    """RTMP reports a stream only after its own handshake: here an open port is enough."""
    try:
        client.talk(parts, deadline, lambda connection: None)
    except TransportError as error:
        return check_of_fault(error)
    return StreamCheck("open", "2xx")


def check_by_rtsp(client: Client, parts: SplitResult, deadline: float) -> StreamCheck:
    """A DESCRIBE shows whether the stream exists."""
    from livekeep.screen.poller import rtsp  # noqa: PLC0415 - only cameras need it

    try:
        status = rtsp.describe(client, parts, deadline)
    except TransportError as error:
        return check_of_fault(error)
    if status == 200:
        return StreamCheck("open", "2xx", status=status)
    if status in (401, 403):
        return StreamCheck("refused", "4xx", f"RTSP {status}", status=status)
    if status >= 500:
        return StreamCheck("outage", "5xx", f"it has a fault (RTSP {status})", status=status)
    return StreamCheck("not-open", outcome_of(status), f"RTSP {status}", status=status)


def check_of_fault(error: TransportError) -> StreamCheck:
    """A refused connection or a response of another kind means that there is no stream; other failures can be temporary."""
    is_absent = error.is_refused or error.outcome in ("invalid", "3xx")
    return StreamCheck("not-open" if is_absent else "outage", error.outcome, str(error))
