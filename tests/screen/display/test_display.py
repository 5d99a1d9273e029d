"""The display's launcher: the command lines, and the launcher itself, which becomes a player program made for the test."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livekeep.core import state
from livekeep.core.config import Screen
from livekeep.core.state import TvMethod, TvState
from livekeep.screen.display import main as display
from tests.outside import PATIENCE_SECONDS, PROJECT, NotifySocket, picture, program, wait_until

PI4 = "Raspberry Pi 4 Model B Rev 1.4"


def mpv(model: str = "", connector: str = "", gpu: bool = True, shown: str = "", **screen: Any) -> list[str]:
    return display.mpv_command(Screen(**screen), connector, model, gpu, shown)


def value(command: list[str], option: str) -> str | None:
    """The value of a program's option, None when it is not given; twice the same is a fault."""
    found = [part.split("=", 1)[1] for part in command if part.startswith(f"{option}=")]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("model", "hwdec", "bitrate"),
    [
        (PI4, "v4l2m2m-copy", 8_000_000),
        ("", "auto-copy-safe", 20_000_000),
    ],
)
def test_a_board_has_its_decoder_and_cap_and_the_configuration_wins(model: str, hwdec: str, bitrate: int) -> None:
    command = mpv(model)
    assert (value(command, "--hwdec"), value(command, "--hls-bitrate")) == (hwdec, str(bitrate))
    command = mpv(model, hwdec="no", max_bitrate=1)
    assert (value(command, "--hwdec"), value(command, "--hls-bitrate")) == ("no", "1")


@pytest.mark.parametrize(
    ("model", "connector", "wanted", "device"),
    [
        (PI4, "HDMI-A-1", "auto", "alsa/sysdefault:CARD=vc4hdmi0"),
        (PI4, "HDMI-A-2", "auto", "alsa/sysdefault:CARD=vc4hdmi1"),
        (PI4, "Composite-1", "auto", "auto"),
        (PI4, "HDMI-A-2", "alsa/usb", "alsa/usb"),
        ("", "HDMI-A-1", "auto", "auto"),
    ],
)
def test_the_sound_goes_where_the_picture_goes(model: str, connector: str, wanted: str, device: str) -> None:
    assert value(mpv(model, connector, output="drm", audio_device=wanted), "--audio-device") == device


@pytest.mark.parametrize(
    ("screen", "connector", "gpu", "arguments"),
    [
        ({}, "", True, ["--vo=gpu,drm", "--gpu-context=drm"]),
        ({}, "HDMI-A-2", False, ["--vo=drm", "--drm-connector=HDMI-A-2"]),
        ({"mode": "1920x1080@60"}, "HDMI-A-1", False, ["--vo=drm", "--drm-connector=HDMI-A-1", "--drm-mode=1920x1080@60"]),
        ({"x11_display": ":0"}, "", True, ["--vo=gpu,x11"]),
        ({"output": "x11"}, "", False, ["--vo=x11"]),
        ({"wayland_display": "wayland-1", "x11_display": ":0"}, "", True, ["--vo=gpu,wlshm", "--gpu-context=wayland"]),
        ({"output": "wayland"}, "", False, ["--vo=wlshm"]),
        ({"output": "drm", "wayland_display": "wayland-1"}, "", False, ["--vo=drm"]),
    ],
)
def test_the_output_is_the_configured_one(screen: dict[str, Any], connector: str, gpu: bool, arguments: list[str]) -> None:
    assert display.output_arguments(Screen(**screen), connector, gpu) == arguments
    assert [part for part in mpv(connector=connector, gpu=gpu, **screen) if part in arguments] == arguments


def test_while_the_output_is_switched_off_mpv_leaves_it_alone() -> None:
    """On a desktop it keeps its window."""
    outputs = {"drm": "null,gpu,drm", "x11": "gpu,x11", "wayland": "gpu,wlshm"}
    for output, expected in outputs.items():
        command = display.mpv_command(Screen(output=output), "", "", True, "", is_blank=True)
        assert value(command, "--vo") == expected


def test_the_picture_comes_last_and_is_no_option() -> None:
    assert mpv(shown="/a.png")[-5:] == ["--{", "--loop-file=inf", "--vd-lavc-o=err_detect=explode", "/a.png", "--}"]
    assert "--{" not in mpv()
    assert value(mpv(volume=130), "--volume") == "130"
    assert display.vlc_command(Screen(), "", "", "/a.png")[-1] == "/a.png"


def test_mpv_knows_the_options_of_every_output() -> None:
    for screen in (Screen(output="x11"), Screen(output="wayland"), Screen(output="drm", mode="preferred")):
        command = display.mpv_command(screen, "HDMI-A-1", PI4, True, "")
        known = [part for part in command[1:] if not part.startswith(("--config-dir", "--input-ipc-server", "--no-terminal"))]
        ran = subprocess.run(["mpv", "--no-config", *known, "--version"], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


PLAYER = """#!/usr/bin/python3
import json, os, socket, sys, time
from pathlib import Path
path = Path([part.split("=", 1)[1] for part in sys.argv if part.startswith(("--input-ipc-server=", "--rc-unix="))][0])
children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
told = {"pid": os.getpid(), "argv": sys.argv, "display": os.environ.get("DISPLAY"), "stale": path.exists(), "children": children}
listener = socket.socket(socket.AF_UNIX)
time.sleep(0.3)
os.umask(0o077)
listener.bind(str(path))
Path(os.environ["TOLD"]).write_text(json.dumps(told))
time.sleep(60)
"""
NUMBER = 20_000 + os.getpid() % 10_000
"""Of an X display that the tests alone have."""


class Launcher:
    """A machine below `root` with a desktop that the tests open; mpv and VLC are the player program above."""

    def __init__(self, root: Path, systemd: NotifySocket) -> None:
        self.root, self.systemd, self.log = root, systemd, root / "log"
        (root / "run/livekeep/display").mkdir(parents=True)
        (root / "etc/livekeep").mkdir(parents=True)
        self.programs = root / "bin"
        self.programs.mkdir()
        for name in ("mpv", "vlc"):
            (self.programs / name).write_text(PLAYER)
            (self.programs / name).chmod(0o755)
        self.configure("")

    def configure(self, screen: str) -> None:
        text = f'[screen]\noutput = "x11"\nx11_display = ":{NUMBER}"\n{screen}\n'
        (self.root / "etc/livekeep/livekeep.toml").write_text(text)

    def start(self) -> Any:
        environment = {
            "LIVEKEEP_ROOT": str(self.root),
            "NOTIFY_SOCKET": str(self.systemd.path),
            "PATH": str(self.programs),
            "TOLD": str(self.root / "told"),
        }
        return program([PROJECT / "bin/livekeep-display"], env=environment, stderr=self.log.open("wb"))

    def told(self) -> Any:
        """What the player program said of itself."""
        wait_until(f"the player program; {self.log.read_text()}", (self.root / "told").exists)
        wait_until("all that it tells", lambda: (self.root / "told").read_text().endswith("}"))
        return json.loads((self.root / "told").read_text())


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    # A socket's path is short; pytest's folders are long.
    root = Path(tempfile.mkdtemp(prefix="livekeep-display-"))
    with NotifySocket(root / "notify") as systemd:
        yield Launcher(root, systemd)
    shutil.rmtree(root)


@pytest.fixture
def desktop() -> Iterator[socket.socket]:
    """An X server's socket in the abstract name space; whether it listens is up to the test."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0/tmp/.X11-unix/X{NUMBER}")
        yield listener


@pytest.mark.parametrize("name", ["mpv", "vlc"])
def test_the_launcher_becomes_the_player_and_opens_its_socket(launcher: Launcher, desktop: socket.socket, name: str) -> None:
    desktop.listen()
    holding = str(picture(launcher.root / "holding.png"))
    # One that was copied just now would have to wait.
    os.utime(holding, (1e9, 1e9))
    launcher.configure(f'player = "{name}"\nholding = ["/nowhere.png", "{holding}"]')
    path = launcher.root / f"run/livekeep/display/{name}.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with launcher.start() as process:
        launcher.systemd.wait_for("READY=1")
        assert path.stat().st_mode & 0o777 == 0o660
        told = launcher.told()
        assert told["pid"] == process.pid, "one process, by exec"
        assert not told["stale"], "a stale socket would be taken for the new one"
        assert told["children"] == ""
        assert told["display"] == f":{NUMBER}"
        assert holding in told["argv"][-2:]
    assert launcher.systemd.messages == [f"STATUS=Showing pictures by {name} on x11", "READY=1"]


@pytest.mark.parametrize("method", ["blank", "black", "cec"])
def test_a_display_that_starts_while_the_tv_is_off_is_black(launcher: Launcher, desktop: socket.socket, method: TvMethod) -> None:
    desktop.listen()
    folder = launcher.root / "usr/share/livekeep/pictures"
    folder.mkdir(parents=True)
    holding, black = (str(picture(folder / name)) for name in ("holding.png", "black.png"))
    (launcher.root / "run/livekeep/tv").mkdir()
    state.write(state.stamped(TvState(is_wanted=False, method=method)), launcher.root / "run/livekeep")
    with launcher.start():
        assert launcher.told()["argv"][-2] == (holding if method == "cec" else black)


def test_it_waits_for_the_screen_saying_so_once(launcher: Launcher, desktop: socket.socket) -> None:
    with launcher.start() as process:
        launcher.systemd.wait_for(f"STATUS=Waiting for the desktop's /tmp/.X11-unix/X{NUMBER}")
        assert not launcher.systemd.receive(2.5), "nothing more while it waits"
        assert process.poll() is None
        assert len(launcher.log.read_text().splitlines()) == 1
        assert not (launcher.root / "told").exists()
        desktop.listen()
        launcher.systemd.wait_for("READY=1")


def test_a_missing_player_program_is_an_error_that_says_what_to_do(launcher: Launcher, desktop: socket.socket) -> None:
    desktop.listen()
    (launcher.programs / "mpv").unlink()
    with launcher.start() as process:
        assert process.wait(PATIENCE_SECONDS) == 78
    assert "<3>mpv: cannot be started (No such file or directory); install it: sudo apt install mpv" in launcher.log.read_text()
    assert not any(str(launcher.root) in text for text in environments()), "the process that waits for the socket stays behind"


def environments() -> Iterator[str]:
    """The environment of each process that may be looked at."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            yield file.read_text(errors="replace")
