"""The doctor's checks of the channels, on a box of files: set-up, keys, media, slates, ffmpeg, and what is meant to be on air."""

import os
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from livekeep.command.doctor import doctor, doctor_base
from livekeep.command.doctor.doctor_base import Check
from tests.command.air_box import on_air
from tests.command.box import Box

KEY = "abcd-made-up-0123"
CHECKS = ("channels", "stream keys", "media", "slates", "ffmpeg", "on air")
CHANNEL = '[channels.main]\nmedia = "/srv/media"\ningest_urls = "rtmp://a.example/live2"\nslate = "/srv/slate.png"\n'
BUCKET = CHANNEL.replace("/srv/media", "s3://made-up/shows")
UNITS = "usr/lib/systemd/system"
needs_root = pytest.mark.skipif(not doctor_base.is_root(), reason="only root can check secrets")


@pytest.fixture
def air(box: Box) -> Box:
    """A box whose one channel has all that it needs."""
    box.file(f"{UNITS}/livekeep-worker@.service", "")
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


@pytest.mark.parametrize("name", CHECKS)
def test_a_sound_box_and_one_without_the_air_part(air: Box, name: str) -> None:
    found = air.check(name)
    expected = "skip" if name == "stream keys" and not doctor_base.is_root() else "ok"
    assert (found.verdict, found.advice) == (expected, "" if expected == "ok" else "sudo livekeep doctor")
    (air.root / UNITS / "livekeep-worker@.service").unlink()
    assert air.check(name) == Check(name, "skip", "the air part is not installed (install.sh --with air)")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "none is configured"),
        ("[channels.main]\n", "main is not set up: it lacks media and ingest_urls"),
        ('[channels.main]\nmedia = "/srv"\n', "it lacks ingest_urls"),
        (CHANNEL + "[channels.b]\n[channels.c]\n", "b is not set up: it lacks media and ingest_urls (and 1 more)"),
    ],
)
def test_channels_that_are_not_set_up(air: Box, text: str, says: str) -> None:
    air.configure(text)
    found = air.check("channels")
    assert (found.verdict, says in found.finding) == ("warn", True), found


def test_where_a_channel_is_configured_is_told(air: Box) -> None:
    air.configure("")
    assert air.check("channels").advice == "add [channels.main] to /etc/livekeep/livekeep.d/50-channel.toml"
    air.configure("[channels.main]\n")
    assert air.check("channels").advice == "set media and ingest_urls in [channels.main] of /etc/livekeep/livekeep.toml"
    last = air.file("etc/livekeep/livekeep.d/40-a.toml", '[channels.main]\nmedia = "/srv"\n')
    air.file("etc/livekeep/livekeep.d/60-b.toml", "[channels.other]\n")
    assert air.check("channels").advice == "set ingest_urls in [channels.main] of /etc/livekeep/livekeep.d/40-a.toml"
    for file in (air.configure(""), last, air.root / "etc/livekeep/livekeep.d/60-b.toml"):
        file.write_text("")
    own = "/var/lib/livekeep/channels/night.json"
    air.file(own.lstrip("/"), "{}")
    assert air.check("channels").advice == f"set media and ingest_urls in [channels.night] of {own}"


def test_a_faulty_channel_of_the_api(air: Box) -> None:
    air.file("var/lib/livekeep/channels/api.json", '{"width": 1}')
    found = air.check("channels")
    assert found.verdict == "fail"
    assert "api.json: is not a channel (width: must be from 160 to 3840" in found.finding


@needs_root
def test_stream_keys(air: Box) -> None:
    secret(air, "livekeep.stream-key.main", mode=0o640)
    found = air.check("stream keys")
    assert "/etc/credstore/livekeep.stream-key.main can be read by other users" in found.finding
    assert KEY not in repr(found)
    path = secret(air, "livekeep.stream-key.main", content=" \n")
    assert air.check("stream keys").finding.endswith("is empty")
    path.unlink()
    found = air.check("stream keys")
    assert (found.verdict, found.advice) == ("fail", "sudo livekeep air set-key main")
    air.file("etc/credstore.encrypted/livekeep.stream-key.main", b"sealed").chmod(0o600)
    assert air.check("stream keys").verdict == "ok"


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("media", "", "", "channels.main.media: /srv/media is not a folder"),
        ("media", "/srv/media", "/home/anna/Videos", "the worker has no access to /home/anna/Videos"),
        ("slates", "", "", "channels.main.slate: /srv/slate.png does not exist"),
        ("slates", "/srv/slate.png", "/root/slate.png", "the worker has no access to /root/slate.png"),
    ],
)
def test_media_and_slates_that_the_worker_cannot_read(air: Box, name: str, old: str, new: str, says: str) -> None:
    (air.root / "srv/media").rmdir()
    (air.root / "srv/slate.png").unlink()
    air.configure(CHANNEL.replace(old, new) if old else CHANNEL)
    found = air.check(name)
    assert (found.verdict, says in found.finding) == ("fail", True), found


@needs_root
def test_buckets(air: Box) -> None:
    air.configure(BUCKET + '[storage]\nprovider = "r2"\n')
    assert "storage.endpoint_url is not set" in air.check("media").finding
    air.configure(BUCKET)
    assert "/etc/credstore/livekeep.storage-key-id does not exist (and 1 more)" in air.check("media").finding
    secret(air, "livekeep.storage-key-id")
    secret(air, "livekeep.storage-secret", mode=0o604)
    assert "storage-secret can be read by other users" in air.check("media").finding
    secret(air, "livekeep.storage-secret")
    assert air.check("media").verdict == "ok"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo ' V....D libx264 H.264'; echo ' A....D aac AAC'; echo rtmp; echo rtmps", "has libx264"),
        ("echo ' V....D h264_v4l2m2m'; echo aac; echo rtmp", "lacks libx264, rtmps"),
        ("exit 3", "ffmpeg fails (exit code 3)"),
        ("", "ffmpeg is not installed"),
    ],
)
def test_ffmpeg_s_abilities(air: Box, script: str, says: str) -> None:
    if script:
        air.install("ffmpeg", f"#!/bin/sh\n{script}\n")
    else:
        air.environment["PATH"] = str(air.programs)
    found = air.check("ffmpeg")
    assert found.finding.startswith(says)
    assert found.verdict == ("ok" if says.startswith("has") else "fail")


def test_what_is_meant_to_be_on_air(air: Box) -> None:
    assert air.check("on air").finding == "no channel is meant to be on air"
    air.intend("main")
    if time.monotonic() > 60:
        found = air.check("on air")
        assert (found.verdict, "does not run" in found.finding) == ("fail", True)
        assert "sudo livekeep air start main" in found.advice
    air.write(on_air())
    assert air.check("on air") == Check("on air", "ok", "main")
    air.write(on_air(picture="slate", slate_reason="it is empty", advice="put something there"))
    found = air.check("on air")
    assert (found.verdict, found.advice) == ("warn", "put something there")
    air.intend("unknown")
    found = air.check("on air")
    assert "channel unknown is meant to be on air, but is not configured (and 1 more)" in found.finding
    assert "sudo livekeep air stop unknown" in found.advice


def test_channels_that_would_not_start_at_boot(air: Box) -> None:
    air.unit("livekeep-air.service", "inactive", "dead", UnitFileState="disabled")
    found = air.check("on air")
    assert (found.verdict, found.advice) == ("warn", "sudo systemctl enable livekeep-air.service")


def test_without_the_screen_its_checks_are_left_out(air: Box) -> None:
    air.file("var/lib/livekeep/install/without-screen", b"")
    with patch.dict(os.environ, air.environment):
        found = {entry.name: entry for entry in doctor.examine(air.around())}
    without = {name for name, entry in found.items() if entry.finding.startswith("the screen part is not installed")}
    assert without == {name for name, (_check, part) in doctor.CHECKS.items() if part == "screen"}
    assert found["config"] == Check("config", "ok", "valid")
    assert (found["channels"].verdict, found["on air"].verdict) == ("ok", "ok")
    air.configure("= nonsense")
    assert '"verdict": "fail"' in air.run("doctor", "--json").stdout
