"""The doctor's checks of the channels, on a box of files: set-up, keys, media, slates, ffmpeg, and what is meant to be on air."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from conftest import Box

from livekeep.command.doctor import channels, doctor, doctor_base
from livekeep.command.doctor.doctor_base import Check, Surroundings
from livekeep.core import config, state
from livekeep.core.channels import ChannelState

KEY = "abcd-made-up-0123"
CHECKS: dict[str, Callable[[Surroundings], Check]] = {
    "channels": channels.check_channels,
    "stream keys": channels.check_stream_keys,
    "media": channels.check_media,
    "slates": channels.check_slates,
    "ffmpeg": channels.check_encoder,
    "on air": channels.check_on_air,
}
CHANNEL = '[channels.main]\nmedia = "/srv/media"\ningest_urls = "rtmp://a.example/live2"\nslate = "/srv/slate.png"\n'
BUCKET = CHANNEL.replace("/srv/media", "s3://made-up/shows")


@pytest.fixture
def air(box: Box) -> Box:
    """A box whose one channel has all that it needs."""
    box.file("usr/lib/livekeep/livekeep-worker", "")
    box.configure(CHANNEL)
    (box.root / "srv/media").mkdir(parents=True)
    box.file("srv/slate.png", b"a picture")
    secret(box, "livekeep.stream-key.main")
    box.unit("livekeep-air.service", "active", "exited", UnitFileState="enabled")
    return box


def secret(box: Box, name: str, content: str = KEY, mode: int = 0o600) -> Path:
    path = box.file(f"etc/credstore/{name}", content)
    path.chmod(mode)
    return path


def around(box: Box) -> Surroundings:
    etc = box.root / "etc/livekeep"
    return Surroundings(box.root, *config.load_leniently(etc / "livekeep.toml", etc / "livekeep.d"))


def check(box: Box, name: str) -> Check:
    with patch.dict(os.environ, box.environment):
        found = CHECKS[name](around(box))
    assert found.name == name
    assert KEY not in repr(found)
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_all_is_well(air: Box, name: str) -> None:
    if name == "stream keys" and not doctor_base.is_root():
        assert check(air, name).verdict == "skip"
        return
    assert (check(air, name).verdict, check(air, name).advice) == ("ok", "")


@pytest.mark.parametrize("name", CHECKS)
def test_without_the_air_part_nothing_is_looked_at(box: Box, name: str) -> None:
    assert check(box, name) == Check(name, "skip", channels.NOT_INSTALLED)


@pytest.mark.parametrize(
    ("text", "verdict", "says"),
    [
        ("", "warn", "none is configured"),
        ("[channels.main]\n", "warn", "main is not set up: it lacks media and ingest_urls"),
        ('[channels.main]\nmedia = "/srv"\n', "warn", "it lacks ingest_urls"),
        (CHANNEL + "[channels.b]\n[channels.c]\n", "warn", "b is not set up: it lacks media and ingest_urls (and 1 more)"),
    ],
)
def test_channels_that_are_not_set_up(air: Box, text: str, verdict: str, says: str) -> None:
    air.configure(text)
    found = check(air, "channels")
    assert (found.verdict, says in found.finding) == (verdict, True), found


def test_where_a_channel_is_configured_is_told(air: Box) -> None:
    air.configure("")
    assert check(air, "channels").advice == "add [channels.main] to /etc/livekeep/livekeep.d/50-channel.toml"
    air.configure("[channels.main]\n")
    assert check(air, "channels").advice == "set media and ingest_urls in [channels.main] of /etc/livekeep/livekeep.toml"
    air.file("etc/livekeep/livekeep.d/40-a.toml", '[channels.main]\nmedia = "/srv"\n')
    air.file("etc/livekeep/livekeep.d/60-b.toml", "[channels.other]\n")
    assert check(air, "channels").advice == "set ingest_urls in [channels.main] of /etc/livekeep/livekeep.d/40-a.toml"
    air.configure("")
    air.file("etc/livekeep/livekeep.d/40-a.toml", "")
    air.file("etc/livekeep/livekeep.d/60-b.toml", "")
    air.file("var/lib/livekeep/channels/night.json", "{}")
    assert (
        check(air, "channels").advice == "set media and ingest_urls in [channels.night] of /var/lib/livekeep/channels/night.json"
    )


def test_a_faulty_channel_of_the_api(air: Box) -> None:
    air.file("var/lib/livekeep/channels/api.json", '{"width": 1}')
    found = check(air, "channels")
    assert found.verdict == "fail"
    assert "api.json: is not a channel (width: must be from 160 to 3840" in found.finding


def test_stream_keys(air: Box) -> None:
    if not doctor_base.is_root():
        assert check(air, "stream keys").finding == "only root may look"
        return
    secret(air, "livekeep.stream-key.main", mode=0o640)
    assert "/etc/credstore/livekeep.stream-key.main can be read by others" in check(air, "stream keys").finding
    path = secret(air, "livekeep.stream-key.main", content=" \n")
    assert check(air, "stream keys").finding.endswith("is empty")
    path.unlink()
    found = check(air, "stream keys")
    assert (found.verdict, found.advice) == ("fail", "sudo livekeep air set-key main")
    air.file("etc/credstore.encrypted/livekeep.stream-key.main", b"sealed").chmod(0o600)
    assert check(air, "stream keys").verdict == "ok"


def test_folders(air: Box) -> None:
    (air.root / "srv/media").rmdir()
    assert "channels.main.media: /srv/media is no folder" in check(air, "media").finding
    air.configure(CHANNEL.replace("/srv/media", "/home/anna/Videos"))
    assert "the worker may not look into /home/anna/Videos" in check(air, "media").finding


def test_buckets(air: Box) -> None:
    air.configure(BUCKET + '[storage]\nprovider = "r2"\n')
    assert "storage.endpoint_url is not set" in check(air, "media").finding
    air.configure(BUCKET)
    found = check(air, "media")
    if not doctor_base.is_root():
        assert found.verdict == "ok"
        return
    assert "/etc/credstore/livekeep.storage-key-id is not there (and 1 more)" in found.finding
    secret(air, "livekeep.storage-key-id")
    secret(air, "livekeep.storage-secret", mode=0o604)
    assert "storage-secret can be read by others" in check(air, "media").finding
    secret(air, "livekeep.storage-secret")
    assert check(air, "media").verdict == "ok"


def test_slates(air: Box) -> None:
    (air.root / "srv/slate.png").unlink()
    assert "channels.main.slate: /srv/slate.png is not there" in check(air, "slates").finding
    air.configure(CHANNEL.replace("/srv/slate.png", "/root/slate.png"))
    assert "the worker may not look at /root/slate.png" in check(air, "slates").finding


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("#!/bin/sh\necho ' V....D libx264 H.264'; echo ' A....D aac AAC'; echo rtmp; echo rtmps\n", "has libx264"),
        ("#!/bin/sh\necho ' V....D h264_v4l2m2m'; echo aac; echo rtmp\n", "lacks libx264, rtmps"),
        ("#!/bin/sh\nexit 3\n", "does not run"),
    ],
)
def test_ffmpeg_s_abilities(air: Box, script: str, says: str) -> None:
    air.install("ffmpeg", script)
    found = check(air, "ffmpeg")
    assert found.finding.startswith(says)
    assert found.verdict == ("ok" if says.startswith("has") else "fail")


def test_no_ffmpeg(air: Box) -> None:
    air.environment["PATH"] = str(air.programs)
    assert check(air, "ffmpeg") == Check("ffmpeg", "fail", "ffmpeg is not installed", "sudo apt install ffmpeg")


def intend(box: Box, name: str) -> None:
    path = box.file(f"var/lib/livekeep/channels/{name}.on-air", b"")
    os.utime(path, (time.time() - 3600, time.time() - 3600))


def write(box: Box, **more: object) -> None:
    start = ChannelState(channel="main", publishing="on-air", picture="item", last_acknowledged_monotonic=time.monotonic())
    folder = box.root / "run/livekeep/worker@main"
    folder.mkdir(exist_ok=True)
    state.write(state.stamped(dataclasses.replace(start, **more)), folder)  # type: ignore[arg-type]


def test_what_is_meant_to_be_on_air(air: Box) -> None:
    assert check(air, "on air").finding == "no channel is meant to be on air"
    intend(air, "main")
    if time.monotonic() > 60:
        found = check(air, "on air")
        assert (found.verdict, "does not run" in found.finding) == ("fail", True)
        assert "sudo livekeep air start main" in found.advice
    write(air)
    assert check(air, "on air") == Check("on air", "ok", "main")
    write(air, picture="slate", slate_reason="it is empty", advice="put something there")
    found = check(air, "on air")
    assert (found.verdict, found.advice) == ("warn", "put something there")
    intend(air, "unknown")
    found = check(air, "on air")
    assert "channel unknown is meant to be on air, but there is no such channel (and 1 more)" in found.finding
    assert "sudo livekeep air stop unknown" in found.advice


def test_channels_that_would_not_come_back(air: Box) -> None:
    air.unit("livekeep-air.service", "inactive", "dead", UnitFileState="disabled")
    found = check(air, "on air")
    assert (found.verdict, found.advice) == ("warn", "sudo systemctl enable livekeep-air.service")


def test_without_the_screen_its_checks_are_left_out(air: Box) -> None:
    air.file("var/lib/livekeep/install/without-screen", b"")
    with patch.dict(os.environ, air.environment):
        found = {entry.name: entry for entry in doctor.examine(around(air))}
        air.configure("= nonsense")
        faulty = {entry.name: entry for entry in doctor.examine(around(air))}
    screen = set(doctor.OF_THE_SCREEN.values())
    assert {name for name, entry in found.items() if entry.finding == "livekeep is installed without the screen"} == screen
    assert found["config"] == Check("config", "ok", "sound")
    assert (found["channels"].verdict, found["on air"].verdict) == ("ok", "ok")
    assert faulty["config"].verdict == "fail"


def test_the_names_of_the_screen_s_checks_are_their_own(air: Box) -> None:
    with patch.dict(os.environ, air.environment):
        named = {check: check(around(air)).name for check in doctor.OF_THE_SCREEN}
    assert named == doctor.OF_THE_SCREEN
