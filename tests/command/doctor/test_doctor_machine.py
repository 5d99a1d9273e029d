"""The doctor's checks of machine, picture and sound, on trees: a Pi 4 as installed, a Pi 5 prepared, a laptop, a bare box."""

import os
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from livekeep.command.doctor import doctor, host, pictures
from livekeep.command.doctor import screen as doctor_screen
from livekeep.command.doctor.doctor_base import Result, Surroundings
from livekeep.command.doctor.pictures import TRIAL
from livekeep.core.config import Config, Screen, Tv
from livekeep.screen.display.pictures import MPV_OPTIONS
from tests.command.box import TREES


def around(tree: str | Path, **screen: object) -> Surroundings:
    return Surroundings(TREES / tree, Config(screen=replace(Screen(), **screen)))  # type: ignore[arg-type]


def found(result: Result) -> tuple[str, str]:
    return result.verdict, result.finding


@pytest.mark.parametrize(
    ("name", "tree", "screen", "verdict", "says"),
    [
        ("network", "pi4", {}, "ok", "default route by eth0, link up"),
        ("network", "pi5", {}, "fail", "wlan0 has the default route but is down"),
        ("network", "laptop", {}, "ok", "default route by wlp2s0, link up"),
        ("network", "bare", {}, "fail", "no default route"),
        ("display", "pi4", {}, "ok", "HDMI-A-1 is connected, 1920x1080 preferred"),
        ("display", "pi4", {"mode": "1280x720@50"}, "ok", "HDMI-A-1 is connected, 1920x1080 preferred, shown at 1280x720@50"),
        ("display", "pi4", {"mode": "preferred"}, "ok", "HDMI-A-1 is connected, 1920x1080 preferred, shown at preferred"),
        ("display", "pi4", {"mode": "3840x2160@30"}, "fail", "HDMI-A-1 has no mode 3840x2160"),
        ("display", "pi4", {"connector": "HDMI-A-2"}, "fail", "no TV is connected (HDMI-A-2)"),
        ("display", "pi4", {"connector": "DP-7"}, "fail", "there is no connector DP-7"),
        ("display", "pi5", {}, "ok", "HDMI-A-2 is connected, 3840x2160 preferred"),
        ("display", "laptop", {}, "ok", "eDP-1 is connected, 1920x1200 preferred"),
        ("display", "laptop", {"rotate": 90}, "ok", "eDP-1 is connected"),
        ("display", "laptop", {"rotate": 90, "player": "vlc"}, "warn", "eDP-1 is connected, 1920x1200 preferred; but VLC"),
        ("display", "laptop", {"mirror": True}, "warn", "screen.mirror has no effect without a desktop"),
        ("display", "bare", {}, "fail", "the kernel has no display output"),
        ("decoder", "pi4", {}, "ok", "/dev/video10 exists (screen.hwdec = auto)"),
        ("decoder", "pi4", {"hwdec": "no"}, "warn", "disabled by screen.hwdec"),
        ("decoder", "pi5", {}, "ok", "software: this board has no H.264 decoder"),
        ("decoder", "pi5", {"hwdec": "v4l2m2m-copy"}, "warn", "this board has no v4l2m2m-copy"),
        ("decoder", "laptop", {}, "ok", "/dev/dri/renderD128 may decode"),
        ("decoder", "laptop", {"hwdec": "no"}, "ok", 'software (screen.hwdec = "no")'),
        ("decoder", "bare", {}, "ok", "software (no graphics device that decodes)"),
        ("sound", "pi4", {}, "ok", "cards: Headphones, vc4hdmi0, vc4hdmi1"),
        ("sound", "pi4", {"audio_device": "alsa/hdmi:CARD=vc4hdmi1,DEV=0"}, "ok", "alsa/hdmi:CARD=vc4hdmi1,DEV=0 exists"),
        ("sound", "pi4", {"audio_device": "alsa/plughw:2,0"}, "ok", "alsa/plughw:2,0 exists"),
        ("sound", "pi4", {"audio_device": "alsa/hw:7,0"}, "fail", "screen.audio_device: there is no card 7"),
        ("sound", "pi4", {"audio_device": "alsa/sysdefault:CARD=Gone"}, "fail", "screen.audio_device: there is no card Gone"),
        ("sound", "pi4", {"audio_device": "alsa"}, "ok", "alsa exists"),
        ("sound", "laptop", {"audio_device": "pipewire"}, "skip", "pipewire cannot be checked here; cards: PCH"),
        ("sound", "bare", {}, "warn", "there is no sound card"),
        ("sound", "bare", {"audio_device": "null"}, "ok", "disabled by screen.audio_device"),
        ("resolution", "pi4", {}, "warn", "cmdline.txt lacks video=HDMI-A-1:1920x1080@60D and vc4.force_hotplug=1"),
        ("resolution", "pi5", {}, "warn", "cmdline.txt lacks video=HDMI-A-1:1920x1080@60D"),
        ("resolution", "pi5", {"connector": "HDMI-A-2"}, "ok", "fixed in cmdline.txt"),
        ("resolution", "laptop", {}, "skip", "fixed at boot on a Raspberry Pi only"),
        ("memory limits", "pi4", {}, "warn", "the memory cgroup is off"),
        ("memory limits", "pi5", {}, "ok", "the memory cgroup is on"),
        ("memory limits", "bare", {}, "warn", "the memory cgroup is off"),
        ("disk", "pi5", {}, "warn", "/ is read-only: select, set-token and the journal cannot save"),
    ],
)
def test_a_tree(name: str, tree: str, screen: dict[str, object], verdict: str, says: str) -> None:
    check = doctor.result_of(name, around(tree, **screen))
    assert (check.verdict, check.finding.startswith(says)) == (verdict, True), check
    assert bool(check.advice) == (verdict in ("warn", "fail"))


CEC_RECORDED = Path(__file__).parents[2] / "screen/tv/cec/1.30"
NO_ANSWER = "the TV does not answer on HDMI-CEC"


@pytest.mark.parametrize(
    ("method", "screen", "has_frame_buffer", "verdict", "says"),
    [
        ("auto", Screen(), True, "ok", "the kernel can switch it off"),
        ("auto", Screen(), False, "ok", "no graphics card has a frame buffer: the picture is black instead"),
        ("blank", Screen(), False, "warn", "no graphics card has a frame buffer: the picture is black instead"),
        ("blank", Screen(player="vlc"), True, "warn", "VLC does not give up the screen: the picture is black instead"),
        ("cec", Screen(player="vlc"), True, "ok", 'not used (tv.method = "cec")'),
        ("blank", Screen(output="x11"), False, "ok", "the desktop switches it; to try it: sudo livekeep tv off"),
    ],
)
def test_output_off(tmp_path: Path, method: str, screen: Screen, has_frame_buffer: bool, verdict: str, says: str) -> None:
    if has_frame_buffer:
        (tmp_path / "sys/class/graphics/fb0/device/drm").mkdir(parents=True)
    check = doctor_screen.check_blanking(Surroundings(tmp_path, Config(screen=screen, tv=Tv(method=method))))
    assert found(check) == (verdict, says)


@pytest.mark.parametrize(
    ("method", "recorded", "verdict", "says"),
    [
        ("auto", "power-on", "ok", "/dev/cec1: the TV answers, and says that it is on"),
        ("cec", "power-to-standby", "ok", "/dev/cec1: the TV answers, and says that it is off"),
        ("auto", "silent", "ok", "/dev/cec1: the TV answers, and does not say whether it is on"),
        ("auto", "not-acknowledged", "ok", f"{NO_ANSWER}: not used"),
        ("cec", "not-acknowledged", "fail", NO_ANSWER),
        ("black", "power-on", "ok", 'not used (tv.method = "black")'),
        ("auto", "", "ok", "this machine has no HDMI-CEC device: not used"),
        ("cec", "", "fail", "this machine has no HDMI-CEC device"),
    ],
)
def test_hdmi_cec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, recorded: str, verdict: str, says: str) -> None:
    """A stand-in for cec-ctl repeats what the real one printed: see the recordings' README.md."""
    program = tmp_path / "bin/cec-ctl"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\ncase $* in *power*) cat {CEC_RECORDED}/{recorded}.txt ;; *) cat {CEC_RECORDED}/claimed.txt ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    if recorded:
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev/cec1").touch()
    check = doctor_screen.check_cec(Surroundings(tmp_path, Config(tv=Tv(method=method))))
    assert found(check) == (verdict, says)
    assert bool(check.advice) == (verdict == "fail")


def test_a_tv_without_modes(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/drm/card0-HDMI-A-1"
    folder.mkdir(parents=True)
    (folder / "status").write_text("connected\n")
    (folder / "modes").write_text("")
    assert found(doctor_screen.check_display(around(tmp_path))) == ("fail", "HDMI-A-1 is connected but has no modes")


def test_x11_and_wayland_are_asked_by_their_sockets() -> None:
    with tempfile.TemporaryDirectory(prefix="lk-") as folder:
        root = Path(folder)
        for name in ("tmp/.X11-unix", "run/user/1000", "etc"):
            (root / name).mkdir(parents=True)
        (root / "etc/passwd").write_text("anna:x:1000:1000:Anna:/home/anna:/bin/bash\n")
        x11 = around(root, x11_display=":1.0")
        wayland = around(root, output="wayland", desktop_user="anna")
        assert doctor_screen.check_display(x11).finding.endswith("tmp/.X11-unix/X1: nothing listens (No such file or directory)")
        assert doctor_screen.check_display(wayland).advice == "log anna in on the TV"
        servers = [listen(root / "tmp/.X11-unix/X1"), listen(root / "run/user/1000/wayland-0")]
        assert doctor_screen.check_display(x11).verdict == "ok"
        assert doctor_screen.check_display(wayland).verdict == "ok"
        absent = doctor_screen.check_display(around(root, x11_display=":1", x11_authority="/home/anna/.Xauthority"))
        assert found(absent) == ("fail", "/home/anna/.Xauthority: no such file")
        stranger = doctor_screen.check_display(around(root, output="wayland", desktop_user="bert"))
        assert found(stranger) == ("fail", 'wayland: no user "bert"')
        for server in servers:
            server.close()


def listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


@pytest.mark.parametrize(("model", "verdict"), [("Raspberry Pi 3 Model B Plus Rev 1.3", "warn"), ("Raspberry Pi 9", "skip")])
def test_decoder_of_other_boards(tmp_path: Path, model: str, verdict: str) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text(model + "\0")
    assert doctor_screen.check_decoder(around(tmp_path)).verdict == verdict


def test_disk() -> None:
    free = os.statvfs(TREES)
    assert f"of {free.f_blocks * free.f_frsize // host.MIB} free" in host.check_disk(around("pi4")).finding


@pytest.mark.parametrize(("name", "least", "comfortable"), [("/", 50, 300), ("/run", 2, 8)])
def test_free_space(name: str, least: int, comfortable: int) -> None:
    sizes = {least - 1: "fail", least: "warn", comfortable - 1: "warn", comfortable: "ok"}
    assert {free: host.judge_space(name, free * host.MIB, 10**10).verdict for free in sizes} == sizes


def test_autostart_files_of_the_predecessor() -> None:
    findings = [rival.finding for rival in host.autostarts(around("pi4"))]
    home = TREES / "pi4/home/admin/.config/autostart"
    assert findings == [
        f"{home}/streamreturn.desktop starts vimeo-monitor, which takes the screen",
        f"{home}/xrandr.desktop changes the screen's resolution at login",
    ]
    assert list(host.autostarts(around("laptop"))) == [], "Hidden=true switches an entry off"


PICTURE = (TREES.parent / "predecessor/media/holding.png").read_bytes()


SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="64" height="36"><rect width="64" height="36" fill="red"/></svg>
"""


def made(name: str, *arguments: str, **options: Any) -> bytes:
    """What ffmpeg, or Pillow with `options`, makes of a small picture."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        if options:
            Image.new("RGB", (64, 36), "red").save(file, **options)
        else:
            source = ["-f", "lavfi", "-i", "testsrc=size=64x36:rate=5:duration=1"]
            subprocess.run(["ffmpeg", "-loglevel", "error", *source, *arguments, file], check=True)
        return file.read_bytes()


MP4 = made("a.mp4", "-pix_fmt", "yuv420p")
JPEG = made("a.jpg", quality=95)
FRAMES = [Image.new("RGB", (64, 36), colour) for colour in ("blue", "green")]
CANNOT = "mpv cannot show it; is it a picture, and complete?"


def test_pictures_are_tried_with_the_player_s_options() -> None:
    given = {f"--{name}={value}" for name, value in MPV_OPTIONS.items()}
    assert given - set(TRIAL) == {"--loop-file=inf"}


@pytest.mark.parametrize(
    ("content", "key", "verdict", "says"),
    [
        (PICTURE, "holding", "ok", "own.png can be shown"),
        (PICTURE, "error", "ok", "own.png can be shown"),
        (MP4, "holding", "ok", "own.png can be shown"),
        (MP4, "error", "warn", "the error screen cannot draw it: it shows only its text"),
        (MP4[: MP4.index(b"moov")], "holding", "fail", CANNOT),
        (made("a.webp", save_all=True, append_images=FRAMES), "holding", "fail", CANNOT),
        (SVG, "holding", "ok", "own.png can be shown"),
        (SVG, "error", "warn", "the error screen cannot draw it: it shows only its text"),
        (JPEG[: len(JPEG) - 40], "holding", "fail", CANNOT),
        (PICTURE[: len(PICTURE) // 2], "holding", "fail", CANNOT),
        (b"", "holding", "fail", "is empty"),
        (b"#!/bin/sh\n", "error", "fail", CANNOT),
        (None, "holding", "fail", "No such file or directory"),
    ],
    ids=range(13),
)
def test_a_picture(tmp_path: Path, content: bytes | None, key: str, verdict: str, says: str) -> None:
    own = "/var/lib/livekeep/pictures/own.png"
    file = tmp_path / own.lstrip("/")
    file.parent.mkdir(parents=True)
    if content is not None:
        file.write_bytes(content)
    check = pictures.check_picture(around(tmp_path), own, f"screen.{key}")
    assert (check.verdict, says in check.finding) == (verdict, True), check
    assert verdict == "ok" or check.finding.startswith(f"screen.{key}: {own}: ")


def test_the_worst_of_all_pictures_is_reported(tmp_path: Path) -> None:
    for name, content in {"good.png": PICTURE, "empty.png": b"", "video.mp4": MP4}.items():
        (tmp_path / name).write_bytes(content)
    holding = ("/good.png", "/empty.png")
    check = pictures.check_pictures(around(tmp_path, holding=holding, error="/video.mp4"))
    assert found(check) == ("fail", "screen.holding: /empty.png: is empty")
    check = pictures.check_pictures(around(tmp_path, holding=holding[:1], error="/video.mp4"))
    assert check.verdict == "warn"


def test_a_picture_where_the_display_may_not_look(tmp_path: Path) -> None:
    (tmp_path / "home/admin").mkdir(parents=True)
    (tmp_path / "home/admin/own.png").write_bytes(PICTURE)
    check = pictures.check_pictures(around(tmp_path, holding=("/home/admin/own.png",), error="/home/admin/own.png"))
    assert found(check) == ("fail", "screen.holding: /home/admin/own.png: the display has no access to this folder")
