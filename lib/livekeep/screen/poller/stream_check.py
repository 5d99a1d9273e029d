"""Checks whether a plain URL is open, and whether an HLS playlist grows. One bounded check each: system.hls, rtsp.py, or RTMP.

A plain URL has no API that explains a failure: if it is missing, refuses the connection or is no playlist, it is off air, not
broken. A check reports without deciding: what it can't judge is left to the player program.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from livekeep.core.state import Cause
from livekeep.screen.poller.vimeo import LOGIN, LOGIN_STATUS, Answer, outage
from livekeep.system import hls
from livekeep.system.hls import Media
from livekeep.system.http import Client, Response, TransportError, outcome_of

CHECK_URL = "correct the url in /etc/livekeep/livekeep.toml, then run: sudo systemctl reload livekeep-poller"
SERVER = "The stream's server"
SHORT_BYTES = 256 * 1024
"""How much of a playing stream's playlist is read: its picture shows more than the rest could."""


def standstill(first: Media | None, check: Answer) -> Cause:
    """Why the stream can't go on after a stall, "" if it can; `first` is the first playlist since then.

    Also "" if only the player program can tell.
    """
    if check.media is None:
        return "" if check.verdict in ("live", "refused") else "not-open"
    if check.media.has_ended:
        return "ended"
    return "" if hls.has_grown(first, check.media) else "standing-still"


def ask(client: Client, url: str, deadline: float, is_shown: bool) -> Answer:
    """Whether a plain URL of any kind is on air; while the screen shows it (`is_shown`), only an outage contradicts that."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    try:
        if scheme in ("http", "https"):
            answer = check(client, url, deadline, SHORT_BYTES if is_shown else hls.LARGEST_BYTES)
        elif scheme in ("rtsp", "rtsps"):
            from livekeep.screen.poller import rtsp  # noqa: PLC0415 - only cameras need it

            status = rtsp.describe(client, parts, deadline)
            answer = Answer("live", "2xx", status=status) if status == 200 else of_status(status, "RTSP")
        else:
            # RTMP reports a stream only after its own handshake: here an open port is enough.
            client.talk(parts, deadline, lambda connection: None)
            answer = Answer("live", "2xx")
    except TransportError as error:
        answer = of_fault(error)
    if is_shown and answer.verdict != "outage":
        answer = Answer("live", answer.outcome, status=answer.status)
    return replace(answer, url=url) if answer.verdict == "live" else answer


def check(client: Client, url: str, deadline: float, most_bytes: int = hls.LARGEST_BYTES) -> Answer:
    """Check the playlist behind an http(s) URL; for a master playlist, the first readable variant."""
    try:
        stream = hls.read(client, url, deadline, most_bytes)
    except TransportError as error:
        return of_fault(error)
    if not stream.is_playlist:
        return of_response(stream.response, urlsplit(url).path.lower().endswith((".m3u8", ".m3u")))
    if stream.media or stream.is_cut:
        return of_media(stream.media)
    if isinstance(stream.last, TransportError):
        return of_fault(stream.last)
    return of_response(stream.last, True) if stream.last else not_open("2xx", "its master playlist names no media playlist")


def of_media(media: Media | None) -> Answer:
    """A playlist; None for one that can't be judged."""
    if media and media.has_ended:
        return Answer("offline", "2xx", "ended", "The stream has ended", status=200, media=media)
    if media and not media.segments:
        return Answer("offline", "2xx", "not-open", "The stream has not begun", status=200, media=media)
    return Answer("live", "2xx", status=200, media=media)


def of_response(response: Response, must_be_playlist: bool) -> Answer:
    """A response that is not a playlist."""
    if response.status != 200:
        return of_status(response.status)
    media_type = response.headers.get("content-type", "").lower()
    if media_type.startswith(("text/html", "application/xhtml")):
        return not_open("2xx", f"its response is a web page; {LOGIN}", 200)
    if must_be_playlist or "mpegurl" in media_type:
        return not_open("2xx", f"its response is not a playlist; {LOGIN}", 200)
    return Answer("live", "2xx", status=200)


def of_status(status: int, protocol: str = "HTTP") -> Answer:
    """A status that is not a success, of HTTP or RTSP."""
    outcome, text = outcome_of(status), f"{protocol} {status}"
    if status in (401, 403):
        return Answer("refused", outcome, "refused", f"The stream's server refuses access ({text})", CHECK_URL, status=status)
    if status >= 500 or status in (408, 429):
        return outage(outcome, f"{text}; {LOGIN}" if status == LOGIN_STATUS else f"it has a fault ({text})", SERVER, status)
    return not_open(outcome, text, status)


def of_fault(error: TransportError) -> Answer:
    """A refused connection or a response of another kind means that there is no stream; other failures can be temporary."""
    if error.is_refused or error.outcome in ("invalid", "3xx"):
        return not_open(error.outcome, str(error))
    return outage(error.outcome, str(error), SERVER)


def not_open(outcome: str, text: str, status: int | None = None) -> Answer:
    return Answer("offline", outcome, "not-open", f"The stream is not open ({text})", status=status)
