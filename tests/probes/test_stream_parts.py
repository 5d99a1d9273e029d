"""The parts of livekeep-probe-stream: playlists, ffprobe's answers, when an analysis is due, a tool that is kept in bounds."""

from dataclasses import replace

import pytest

from livekeep.core.probe_results import Analysis, StreamResult
from livekeep.probes.stream import analysis
from livekeep.probes.stream.measurement import Seen, analysis_is_due, judge, noted, summary
from livekeep.system import hls
from livekeep.system.hls import Media

NOW = 1_790_000_000.0


def test_a_master_playlist_for_a_pipe_has_its_best_variant_with_absolute_addresses() -> None:
    text = (
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="sound/a.m3u8?sig=1"\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=900000\nlow.m3u8\n"
        '#EXT-X-STREAM-INF:PROGRAM-ID=1, BANDWIDTH=4500000,AUDIO="a"\n../best.m3u8?sig=2\n'
        "#EXT-X-STREAM-INF:RESOLUTION=1x1\nunknown.m3u8\n"
    )
    reader = hls.Reader()
    reader.take(text.encode())
    reader.close()
    found = reader.master()
    assert found
    assert (len(found.variants), found.highest_bandwidth()) == (3, 4_500_000)
    assert analysis.best_of(found, "https://cdn.example/live/event/master.m3u8?sig=0").text == (
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="https://cdn.example/live/event/sound/a.m3u8?sig=1"\n'
        '#EXT-X-STREAM-INF:PROGRAM-ID=1, BANDWIDTH=4500000,AUDIO="a"\n'
        "https://cdn.example/live/best.m3u8?sig=2\n"
    )


def test_what_ffprobe_says_of_picture_and_sound() -> None:
    # As ffprobe 5.1 prints it of a stream of two programs' worth of entries.
    output = b"""{"programs": [], "streams": [
        {"codec_name": "h264", "codec_type": "video", "width": 1280, "height": 720, "avg_frame_rate": "30000/1001"},
        {"codec_name": "aac", "codec_type": "audio", "sample_rate": "48000", "channels": 2, "avg_frame_rate": "0/0"},
        {"codec_name": "mp3", "codec_type": "audio", "sample_rate": "44100", "channels": 1, "avg_frame_rate": "0/0"}]}"""
    found = analysis.analysis_of(output, NOW)
    assert found == Analysis(NOW, "h264", "aac", 1280, 720, 30000 / 1001, 2, 48000)
    assert summary(found) == "h264 1280x720 29.97 frames/s, aac"


@pytest.mark.parametrize(
    "entries",
    [
        '"width": 0, "height": -1, "avg_frame_rate": "0/0", "codec_name": "H264; rm -rf"',
        '"width": 99999999, "height": "tall", "avg_frame_rate": "25/0", "codec_name": 264',
        '"width": true, "height": 1.5, "avg_frame_rate": "99999/1", "codec_name": null',
        '"width": NaN, "height": null, "avg_frame_rate": 25, "codec_name": ""',
        '"width": [], "height": {}, "avg_frame_rate": "1/99999999"',
    ],
)
def test_nonsense_of_ffprobe_is_unknown(entries: str) -> None:
    output = f'{{"streams": [{{"codec_type": "video", {entries}}}]}}'
    assert analysis.analysis_of(output.encode(), NOW) == Analysis(analysed_at=NOW)
    assert summary(Analysis(analysed_at=NOW)) == ""


def analysed(age: float, **more: object) -> StreamResult:
    return replace(StreamResult(analysis=Analysis(NOW - age, "h264"), media_sequence=100), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("previous", "media_sequence", "is_due"),
    [
        (StreamResult(), 100, True),
        (analysed(10), 101, False),
        (analysed(21599), 101, False),
        (analysed(21601), 101, True),
        # The clock was set back.
        (analysed(-10), 101, True),
        (analysed(599, analysis_problem="it hung"), 101, False),
        (analysed(601, analysis_problem="it hung"), 101, True),
        # A step back is another server's copy; a leap back is a new broadcast.
        (analysed(601), 95, False),
        (analysed(601), 3, True),
        (analysed(599), 3, False),
        # Another kind of stream under the same name.
        (analysed(10), None, True),
    ],
)
def test_when_an_analysis_is_due(previous: StreamResult, media_sequence: int | None, is_due: bool) -> None:
    found = replace(previous, media_sequence=media_sequence, url_obtained_monotonic=5.0)
    assert analysis_is_due(previous, found, 21600.0, NOW) is is_due


def test_a_playlist_without_target_duration_is_measured_by_the_usual_one() -> None:
    previous = StreamResult(media_sequence=1, last_segment="a.ts", last_change=NOW - 17, is_reachable=True)
    seen = Seen(Media(1, 3, "a.ts"))
    assert judge(previous, noted(previous, seen, NOW), seen, NOW).verdict == "ok"
    assert judge(previous, noted(previous, seen, NOW + 2), seen, NOW + 2).verdict == "fail"


def test_the_words_for_one_variant_of_unknown_bandwidth() -> None:
    seen = Seen(Media(1, 3, "a.ts", 6.0), variants=1)
    assert judge(StreamResult(), noted(StreamResult(), seen, NOW), seen, NOW).reason == "open, 1 variant"


def test_a_url_with_a_quote_cannot_leave_its_quotes_in_the_list() -> None:
    assert analysis.listed("http://x/it's").text == "ffconcat version 1.0\nfile 'http://x/it'\\''s'\n"
    assert "rtsp_flags" in analysis.listed("RTSP://x/y").text
