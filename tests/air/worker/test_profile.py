"""What is copied and what is normalised; every normalised clip through real ffmpeg."""

import dataclasses

import pytest

from livekeep.air.worker import profile, transcode
from livekeep.air.worker.media_info import MediaInfo
from tests.air.clips import CHANNEL, MATCHING, PLAYABLE, known
from tests.air.flv_output import Flv, output_of
from tests.air.odd_clips import odd

ENCODED = tuple(name for name in PLAYABLE if name not in MATCHING)
MOST_BESIDE_MS = 75.0
"""How far the sound may end from the picture: two frames of AAC and the rounding of the rate."""


def media_of(name: str) -> MediaInfo:
    return known(odd(name))


def fed(name: str, plan: profile.Plan) -> Flv:
    return output_of(transcode.feeder_command(str(odd(name)), plan, CHANNEL, media_of(name)))


@pytest.mark.parametrize("name", [name for name in MATCHING if not name.endswith(".ts")])
def test_what_fits_is_copied(name: str) -> None:
    plan = profile.plan(media_of(name), CHANNEL)
    assert plan == profile.Plan(copies_video=True, copies_audio=True)
    assert plan.mode == "copy"
    found = fed(name, plan)
    assert len(found.video) == 75 and found.keyframes == [0, 50]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("larger.mp4", "size is 640x360, not 320x180"),
        ("larger.mp4", "frame rate is 30, not 25"),
        ("hevc.mp4", "picture is hevc, not h264"),
        ("portrait.mp4", "picture is turned by "),
        ("anamorphic.mp4", "pixels are not square (16/11)"),
        ("interlaced.mp4", "picture is interlaced"),
        ("varying-rate.mp4", "frame rate varies"),
        ("ten-bit.mp4", "pixels are yuv420p10le, not yuv420p"),
        ("full-range.mp4", "pixels are yuvj420p, not yuv420p"),
        ("long-gop.mp4", "keyframes are "),
        ("high-bitrate.mp4", "bit rate of the picture is "),
        ("late-picture.mkv", "picture begins 1.0 s after the sound"),
        ("long-sound.mp4", "sound continues for 3.0 s after the picture"),
        # Only all the packets show these.
        ("hole-in-picture.mkv", "picture has a hole of 6.0 s at 22.0 s"),
        ("hole-in-both.mkv", "picture has a hole of 6.0 s at 4.0 s"),
        ("late-keyframes.mp4", "keyframes are 12"),
        ("burst.mp4", "picture has up to "),
        ("lossless.mp4", "picture has H.264's profile High 4:4:4 Predictive"),
        ("again.flv", "its timestamps restart at 2.0 s"),
        ("again-silent.ts", "its timestamps restart at 2.0 s"),
        ("corrupt.mp4", "is damaged (Invalid NAL unit size"),
        ("damaged.ts", "is damaged (Packet corrupt"),
    ],
)
def test_a_picture_that_does_not_fit_is_encoded_for_a_reason(name: str, reason: str) -> None:
    plan = profile.plan(media_of(name), CHANNEL)
    assert not plan.copies_video and plan.mode == "normalise"
    assert any(found.startswith(reason) for found in plan.reasons), plan.reasons


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no-audio.mp4", "has no sound"),
        ("mono-48k.mp4", "sound has 48000 Hz, not 44100"),
        ("surround.mp4", "sound has 6 channels, not 2"),
        ("mp3.mp4", "sound is mp3, not aac LC"),
        ("short-sound.mp4", "sound and picture end 2.0 s apart"),
        ("late-sound.mp4", "sound begins 1.0 s after the picture"),
        ("hole-in-sound.mp4", "sound has a hole of 2.0 s at 2.0 s"),
    ],
)
def test_a_picture_is_copied_beside_sound_that_is_encoded(name: str, reason: str) -> None:
    plan = profile.plan(media_of(name), CHANNEL)
    assert plan.copies_video and not plan.copies_audio
    assert reason in plan.reasons
    found = fed(name, plan)
    assert len(found.video) == (150 if name == "hole-in-sound.mp4" else 75)
    assert abs(found.sound_end - found.picture_end(40)) <= MOST_BESIDE_MS
    assert found.longest_step() <= 40


def test_every_item_is_normalised_to_the_same_headers_rate_and_length() -> None:
    headers = set()
    for name in ENCODED:
        found = fed(name, profile.Plan())
        headers.update(found.headers)
        assert found.video and found.audio, name
        assert found.keyframes == list(range(0, len(found.video), 50)), name
        assert abs(found.audio[0].timestamp - found.picture_start) <= 41, name
        assert abs(found.sound_end - found.picture_end(40)) <= MOST_BESIDE_MS, name
        assert {tag.composition_ms for tag in found.video[:1]} <= {0, 40}, name
        if name != "changing.ts":
            assert found.longest_step() <= 40, name
        media = media_of(name)
        wanted = max(profile.end_of(media.video) or 0, profile.end_of(media.audio) or 0 if media.audio else 0)
        assert len(found.video) * 0.04 == pytest.approx(wanted or media.duration_seconds or 0, abs=0.13), name
    assert len(headers) == 1


def test_an_item_that_is_cut_off_ends_with_both_picture_and_sound() -> None:
    found = fed("truncated.mp4", profile.Plan())
    assert len(found.video) < 100
    assert abs(found.sound_end - found.picture_end(40)) <= 3 * MOST_BESIDE_MS


@pytest.mark.parametrize(
    ("rate", "shown"), [(25.0, "25"), (29.97, "30000/1001"), (23.976, "24000/1001"), (12.5, "25/2"), (30.0, "30")]
)
def test_the_rate_is_exact(rate: float, shown: str) -> None:
    assert str(profile.rate_of(dataclasses.replace(CHANNEL, frame_rate=rate))) == shown


def test_what_is_not_known_is_not_copied() -> None:
    media = media_of("matching.mp4")
    for unknown in ("bitrate", "frame_rate", "has_constant_rate", "is_interlaced"):
        video = dataclasses.replace(media.video, **{unknown: None})
        assert profile.plan(dataclasses.replace(media, video=video), CHANNEL).copies_video is False, unknown
