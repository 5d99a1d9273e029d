"""Checks the stream that should be playing: livekeep-probe-stream.service, by its timer.

Reads the poller's state and the signed URL, checks the playlist (RFC 8216) and, rarely, analyses the stream with ffprobe. Writes
probe-stream/state.json. If nothing is live, the probe reads nothing from the network.
"""

import time
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from livekeep.core import state
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import Analysis, StreamResult
from livekeep.core.state import Cause, PollerState, StateAbsentError, StreamUrl
from livekeep.probes.runner import Judgement
from livekeep.probes.stream import analysis
from livekeep.probes.stream.analysis import Source
from livekeep.probes.stream.description import picture_of
from livekeep.system import hls
from livekeep.system.hls import JUMP_BACK_SEGMENTS, Media
from livekeep.system.http import Client, RefusedStatusError, TransportError

STALE_TARGET_DURATIONS = 3
USUAL_TARGET_SECONDS = 6.0
"""For a playlist without the required target duration."""
PAUSE_BETWEEN_ANALYSES_SECONDS = 600.0
"""Before a failed analysis is retried, and before a stream that started again is analysed again."""
BROKEN: tuple[Cause, ...] = ("standing-still", "not-open")
"""The poller's causes for a stream that should be live but sends nothing."""
NO_PLAYLIST = "its server responds (there is no playlist to check)"
DOCTOR = "run: sudo livekeep doctor"
ENCODER = "check the encoder that sends the stream, and its network"


@dataclass(frozen=True)
class Seen:
    """One check: `media` is None for a stream without a playlist, and for a playlist that was not read to its end (`is_cut`).

    `fault` says why the check failed.
    """

    media: Media | None = None
    variants: int | None = None
    bandwidth_bits_per_second: int | None = None
    source: Source | None = field(default=None, repr=False)
    is_cut: bool = False
    fault: str = ""
    advice: str = ""


def is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def noted(previous: StreamResult, seen: Seen, now: float) -> StreamResult:
    """The result of a check. `previous` is of the same stream; its position is kept if the check failed."""
    if seen.fault:
        return replace(previous, is_reachable=False, target_duration_seconds=None, variants=None)
    found = replace(
        previous,
        is_reachable=True,
        variants=seen.variants,
        variant_bandwidth_bits_per_second=seen.bandwidth_bits_per_second,
        target_duration_seconds=None,
        media_sequence=None,
        last_segment="",
        last_change=None,
    )
    if seen.media is None:
        return found
    found = replace(
        found,
        media_sequence=seen.media.media_sequence,
        last_segment=seen.media.last_segment,
        target_duration_seconds=seen.media.target_duration_seconds,
    )
    position, before = (found.media_sequence, found.last_segment), (previous.media_sequence, previous.last_segment)
    is_unchanged = previous.last_change is not None and position == before
    return replace(found, last_change=previous.last_change if is_unchanged else now)


def analysis_is_due(previous: StreamResult, found: StreamResult, interval_seconds: float, now: float) -> bool:
    """Whether to run ffprobe. `previous.analysis` is of the same stream; without a codec it is a failed attempt.

    The poller obtains a new URL with every request, so a new URL alone is no reason.
    """
    is_other_kind = (previous.media_sequence is None) != (found.media_sequence is None)
    if previous.analysis is None or is_other_kind:
        return True
    age = now - previous.analysis.analysed_at
    if age < 0 or age >= interval_seconds:
        return True
    has_restarted = (found.media_sequence or 0) < (previous.media_sequence or 0) - JUMP_BACK_SEGMENTS
    return (has_restarted or bool(previous.analysis_problem)) and age >= PAUSE_BETWEEN_ANALYSES_SECONDS


def judge(previous: StreamResult, found: StreamResult, seen: Seen, now: float) -> Judgement:
    """The verdict; `found` includes the analysis."""
    if seen.fault:
        return Judgement("fail", seen.fault, seen.advice)
    if seen.media is None:
        if not found.is_reachable:
            return Judgement("fail", f"the stream cannot be read: {found.analysis_problem}", DOCTOR)
        return with_analysis(["its playlist is too long to be read" if seen.is_cut else NO_PLAYLIST], found)
    if seen.media.has_ended or not seen.media.segments:
        ended = "the stream counts as live, but its playlist has ended"
        return Judgement("fail", ended if seen.media.has_ended else "the playlist lists no segment", ENCODER)
    target = found.target_duration_seconds or USUAL_TARGET_SECONDS
    still = now - (found.last_change or now)
    if still > STALE_TARGET_DURATIONS * target:
        return Judgement("fail", f"the playlist has not grown for {still:.0f} s; its segments last {target:g} s", ENCODER)
    # The first check has nothing to compare with.
    growing = "growing" if previous.last_change is not None else "open"
    variants = f"{found.variants} variant{'s' if found.variants != 1 else ''}" if found.variants else ""
    if found.variants and found.variant_bandwidth_bits_per_second:
        variants += f" up to {found.variant_bandwidth_bits_per_second / 1e6:.3g} Mbit/s"
    return with_analysis([growing, variants], found)


def with_analysis(words: list[str], found: StreamResult) -> Judgement:
    if found.analysis_problem:
        return Judgement("warn", ", ".join(filter(None, [*words, found.analysis_problem])))
    return Judgement("ok", ", ".join(filter(None, [*words, summary(found.analysis)])))


def summary(found: Analysis | None) -> str:
    """ "h264 1280x720 25 frames/s, aac"."""
    if found is None:
        return ""
    return ", ".join(filter(None, [" ".join(picture_of(found)), found.audio_codec]))


def measure(settings: Config, previous: StreamResult, now: float) -> tuple[StreamResult, Judgement]:
    """One run of the probe."""
    try:
        poller = state.read(PollerState)
    except TemporaryError as error:
        return skip(previous, "livekeep-poller is not running" if isinstance(error, StateAbsentError) else str(error))
    target = poller.selected or settings.stream.selected
    if (previous.target, previous.source) != (target, poller.source):
        previous = StreamResult(target=target, source=poller.source)
    if poller.state == "starting" and poller.cause in BROKEN:
        # The poller has already checked the playlist and provides no URL: the previous result stays.
        return replace(previous, is_reachable=poller.cause != "not-open"), Judgement("fail", poller.reason, ENCODER)
    if poller.state != "live":
        return skip(previous, "the stream is not live")
    try:
        secret = state.read(StreamUrl)
    except TemporaryError as error:
        return skip(previous, f"the stream's URL cannot be read: {error}")
    if secret.source != poller.source:
        return skip(previous, "another stream was just selected")
    seen = see(secret.url, settings)
    found = replace(noted(previous, seen, now), url_obtained_monotonic=secret.obtained_monotonic)
    if seen.source and analysis_is_due(previous, found, settings.probes.stream.analysis_interval_seconds, now):
        found = analysed(found, seen.source, settings, now)
    if seen.media is None and seen.source and found.analysis_problem not in ("", analysis.NOT_INSTALLED):
        # Only the analysis shows whether such a stream can be read; a web server at least responded.
        found = replace(found, is_reachable=is_web(secret.url))
    return found, judge(previous, found, seen, now)


def analysed(found: StreamResult, source: Source, settings: Config, now: float) -> StreamResult:
    try:
        result = analysis.analyse(source, settings.vimeo.proxy, settings.probes.stream.timeout_seconds, now)
    except analysis.NotInstalledError as error:
        return replace(found, analysis=None, analysis_problem=str(error))
    except analysis.AnalysisError as error:
        # The time of the attempt delays the next one.
        return replace(found, analysis=Analysis(analysed_at=now), analysis_problem=str(error))
    return replace(found, analysis=result, analysis_problem="")


def skip(previous: StreamResult, reason: str) -> tuple[StreamResult, Judgement]:
    """No check: only the declared bandwidth stays, which the speed test compares with."""
    bandwidth = previous.variant_bandwidth_bits_per_second
    left = StreamResult(target=previous.target, source=previous.source, variant_bandwidth_bits_per_second=bandwidth)
    return left, Judgement("skipped", reason)


class PlaylistError(ValueError):
    """A playlist that cannot be played."""


def see(url: str, settings: Config) -> Seen:
    """One check, with errors as `fault`."""
    try:
        return checked(url, settings.vimeo.proxy, settings.probes.stream.timeout_seconds)
    except TransportError as error:
        is_expired = isinstance(error, RefusedStatusError) and error.status == 403
        advice = "if this persists, run: sudo systemctl restart livekeep-poller" if is_expired else DOCTOR
        return Seen(fault=f"the stream cannot be reached: {error}", advice=advice)
    except PlaylistError as error:
        return Seen(fault=str(error), advice=ENCODER)


def checked(url: str, proxy: str, seconds: float) -> Seen:
    """Check the playlist; for a master playlist, the first variant that can be read.

    Raises `TransportError`, `PlaylistError`.
    """
    if not is_web(url):
        Client().talk(urlsplit(url), time.monotonic() + seconds, lambda connection: None)
        return Seen(source=analysis.listed(url))
    stream = hls.read(Client(proxy), url, time.monotonic() + seconds)
    response = stream.response
    if not stream.is_playlist:
        if response.status != 200:
            raise RefusedStatusError(response.status)
        path, media_type = url.partition("?")[0].lower(), response.headers.get("content-type", "").lower()
        # It should have been a playlist, or is an HTML page, such as a login.
        if path.endswith((".m3u8", ".m3u")) or "mpegurl" in media_type or "html" in media_type:
            raise PlaylistError("the response is not a playlist; does this network require a login?")
        return Seen(source=analysis.listed(url))
    if stream.master is None:
        return Seen(stream.media, source=analysis.media_at(response.url), is_cut=stream.is_cut)
    if not stream.master.variants:
        raise PlaylistError("the playlist lists no variant")
    if stream.media is None and not stream.is_cut:
        if isinstance(stream.last, TransportError):
            raise stream.last
        if stream.last and stream.last.status != 200:
            raise RefusedStatusError(stream.last.status)
        raise PlaylistError("no variant has a valid playlist")
    source = analysis.best_of(stream.master, response.url)
    return Seen(stream.media, len(stream.master.variants), stream.master.highest_bandwidth(), source, stream.is_cut)
