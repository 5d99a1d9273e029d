"""Analyses a stream with ffprobe, without its URL in an argument list or in the environment, where `ps` shows it.

ffprobe receives HLS on standard input as a master playlist with one variant, any other stream as a list for the concat demuxer.
Tested with ffprobe 5.1 and 7.1: with these options it reads about 0.4 MB of live HLS instead of 2.4 MB.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import Analysis
from livekeep.system import process
from livekeep.system.hls import Master
from livekeep.system.http import encoded

FIELDS = "stream=codec_type,codec_name,width,height,avg_frame_rate,channels,sample_rate"
# No file: an untrusted playlist must not make ffprobe read local files.
PROTOCOLS = "pipe,http,https,tcp,tls,crypto,data,udp,rtp,rtsp,rtsps,rtmp,rtmps,rtmpt"
SPARING = ("-probesize", "200000", "-analyzeduration", "500000")
HLS = ("-http_multiple", "0", "-http_persistent", "0", "-f", "hls")
CONCAT = ("-safe", "0", "-f", "concat")
NOT_INSTALLED = "ffprobe is not installed: sudo apt install ffmpeg"


class AnalysisError(TemporaryError):
    """No analysis; the text says why."""


class NotInstalledError(AnalysisError):
    pass


@dataclass(frozen=True)
class Source:
    """ffprobe's standard input, and its demuxer."""

    text: str = field(repr=False)
    is_hls: bool = True


def listed(url: str) -> Source:
    """A stream that is not HLS. A quote in the URL ends the quoting and is itself escaped."""
    quoted = url.replace("'", "'\\''")
    options = "option rtsp_flags prefer_tcp\n" if url.lower().startswith("rtsp") else ""
    return Source(f"ffconcat version 1.0\nfile '{quoted}'\n{options}", is_hls=False)


def best_of(master: Master, base: str) -> Source:
    """A master playlist with only the best variant and absolute URLs, readable from a pipe."""
    best = master.best()

    def absolute(found: re.Match[str]) -> str:
        return f'URI="{encoded(urljoin(base, found[1]))}"'

    renditions = [re.sub(r'URI="([^"]*)"', absolute, line) for line in master.renditions]
    return Source("\n".join(["#EXTM3U", *renditions, best.line, encoded(urljoin(base, best.uri)), ""]))


def media_at(url: str) -> Source:
    """The same for a stream without a master playlist."""
    return Source(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{encoded(url)}\n")


def analyse(source: Source, proxy: str, seconds: float, now: float) -> Analysis:
    """Run ffprobe for at most `seconds`. Raises `AnalysisError`."""
    program = shutil.which("ffprobe")
    if not program:
        raise NotInstalledError(NOT_INSTALLED)
    if problem := process.proxy_problem(proxy):
        raise AnalysisError(f"no analysis: {problem}")
    command = [program, "-v", "quiet", "-print_format", "json", "-show_entries", FIELDS, "-protocol_whitelist", PROTOCOLS]
    command += [*SPARING, *(HLS if source.is_hls else CONCAT), "-i", "pipe:0"]
    try:
        ended = process.run(command, seconds, process.environment(proxy), source.text)
    except process.ChildError as error:
        raise AnalysisError(str(error)) from error
    if ended.exit_code != 0:
        raise AnalysisError(f"ffprobe cannot read the stream (it ended with {ended.exit_code})")
    return analysis_of(ended.output, now)


def analysis_of(output: bytes, now: float) -> Analysis:
    """The first video and the first audio stream in ffprobe's JSON. Raises `AnalysisError` if there is neither."""
    try:
        document = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise AnalysisError("ffprobe's output is not JSON") from error
    streams = document.get("streams") if isinstance(document, dict) else None
    if not isinstance(streams, list):
        raise AnalysisError("ffprobe's output lists no streams")
    by_type: dict[Any, dict[str, Any]] = {}
    for stream in streams:
        if isinstance(stream, dict):
            by_type.setdefault(str(stream.get("codec_type")), stream)
    video, audio = by_type.get("video", {}), by_type.get("audio", {})
    if not video and not audio:
        raise AnalysisError("ffprobe found neither picture nor sound in the stream")
    return Analysis(
        analysed_at=now,
        video_codec=codec(video),
        audio_codec=codec(audio),
        width_pixels=whole(video.get("width"), 65535),
        height_pixels=whole(video.get("height"), 65535),
        frame_rate_hertz=rate(video.get("avg_frame_rate")),
        audio_channels=whole(audio.get("channels"), 64),
        audio_sample_rate_hertz=whole(audio.get("sample_rate"), 1_000_000),
    )


def codec(stream: dict[str, Any]) -> str:
    name = stream.get("codec_name")
    return name if isinstance(name, str) and re.fullmatch(r"[a-z0-9_.-]{1,32}", name) else ""


def whole(value: Any, highest: int) -> int | None:
    """A whole number from 1 to `highest`, which ffprobe writes as number or text; None if invalid."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)):
        return None
    return int(value) if 1 <= int(value) <= highest else None


def rate(value: Any) -> float | None:
    """A fraction such as "30000/1001"; None for "0/0" and other invalid values."""
    found = re.fullmatch(r"([0-9]{1,12})/([0-9]{1,12})", str(value))
    if not found or not int(found[1]) or not int(found[2]):
        return None
    hertz = int(found[1]) / int(found[2])
    return hertz if 0.01 <= hertz <= 1000 else None
