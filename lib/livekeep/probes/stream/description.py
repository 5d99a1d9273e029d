"""The stream probe's result as metrics and as text for people."""

from collections.abc import Callable, Iterator
from typing import ClassVar

from livekeep.core.config import Probes
from livekeep.core.probe_results import Analysis, StreamResult
from livekeep.status import probe_descriptions
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import Row
from livekeep.system import terminal
from livekeep.system.metric_family import Sample, gauge, info, known
from livekeep.system.terminal import short_time

BITS_PER_BYTE = 8


class Description(probe_descriptions.Description[StreamResult]):
    metrics: ClassVar = {
        "livekeep_stream_variant_bandwidth_bytes_per_second": gauge(
            "The bandwidth of the best variant, as the playlist declares it."
        ),
        "livekeep_stream_playlist_media_sequence": gauge("The media sequence number of the playlist."),
        "livekeep_stream_playlist_last_change_timestamp_seconds": gauge("When the playlist last grew, as observed."),
        "livekeep_stream_playlist_target_duration_seconds": gauge("The longest segment that the playlist declares."),
        "livekeep_stream_video_width_pixels": gauge("The width of the stream's video."),
        "livekeep_stream_video_height_pixels": gauge("The height of the stream's video."),
        "livekeep_stream_video_frame_rate_hertz": gauge("The frame rate of the stream's video."),
        "livekeep_stream_audio_channels": gauge("The channels of the stream's sound."),
        "livekeep_stream_audio_sample_rate_hertz": gauge("The sample rate of the stream's sound."),
        "livekeep_stream_info": info("The codecs of the stream.", "video_codec", "audio_codec"),
    }

    def samples(self, result: StreamResult) -> Iterator[Sample]:
        bits = result.variant_bandwidth_bits_per_second
        yield from known(
            (
                ("livekeep_stream_variant_bandwidth_bytes_per_second", None if bits is None else bits / BITS_PER_BYTE),
                ("livekeep_stream_playlist_media_sequence", result.media_sequence),
                ("livekeep_stream_playlist_last_change_timestamp_seconds", result.last_change),
                ("livekeep_stream_playlist_target_duration_seconds", result.target_duration_seconds),
            )
        )
        analysis = result.analysis
        if analysis is None:
            return
        yield from known(
            (
                ("livekeep_stream_video_width_pixels", analysis.width_pixels),
                ("livekeep_stream_video_height_pixels", analysis.height_pixels),
                ("livekeep_stream_video_frame_rate_hertz", analysis.frame_rate_hertz),
                ("livekeep_stream_audio_channels", analysis.audio_channels),
                ("livekeep_stream_audio_sample_rate_hertz", analysis.audio_sample_rate_hertz),
            )
        )
        if analysis.video_codec or analysis.audio_codec:
            yield "livekeep_stream_info", (analysis.video_codec, analysis.audio_codec), 1

    def rows(self, result: StreamResult, clock: Clock) -> list[Row]:
        rows = [("Stream", f'"{result.target}"')] if result.target else []
        if result.is_reachable is None:
            return rows
        grew = f", last grew {terminal.duration(clock.now - result.last_change)} ago" if result.last_change is not None else ""
        number = f", at number {result.media_sequence}" if result.media_sequence is not None else ""
        rows.append(("Playlist", ("reachable" if result.is_reachable else "not reachable") + number + grew))
        if result.target_duration_seconds is not None:
            rows.append(("Segments", f"at most {short_time(result.target_duration_seconds)} long"))
        if result.variants is not None:
            top = result.variant_bandwidth_bits_per_second
            rows.append(("Variants", f"{result.variants}" + (f", up to {top / 1e6:.1f} Mbit/s" if top is not None else "")))
        if result.analysis:
            rows += analysis_rows(result.analysis, clock)
        if result.analysis_problem:
            rows.append(("Analysis", result.analysis_problem))
        return rows

    def missing(self, _settings: Probes, is_installed: Callable[[str], bool]) -> tuple[str, str]:
        if is_installed("ffprobe"):
            return "", ""
        return "ffprobe is not installed: the stream is not analysed", "sudo apt install ffmpeg"


def picture_of(analysis: Analysis) -> list[str]:
    """Codec, size and rate, as far as known."""
    size = f"{analysis.width_pixels}x{analysis.height_pixels}" if analysis.width_pixels and analysis.height_pixels else ""
    rate = f"{analysis.frame_rate_hertz:.4g} frames/s" if analysis.frame_rate_hertz else ""
    return list(filter(None, (analysis.video_codec, size, rate)))


def analysis_rows(analysis: Analysis, clock: Clock) -> list[Row]:
    channels = f"{analysis.audio_channels} channels" if analysis.audio_channels else ""
    sampling = f"{analysis.audio_sample_rate_hertz / 1000:g} kHz" if analysis.audio_sample_rate_hertz else ""
    return [
        ("Video", ", ".join(picture_of(analysis)) or "none"),
        ("Audio", ", ".join(filter(None, (analysis.audio_codec, channels, sampling))) or "none"),
        ("Analysed", terminal.since(analysis.analysed_at, clock.now).replace("(for ", "(").replace(")", " ago)")),
    ]
