"""The driver against a real VLC on its real socket, on a virtual X server or with dummy outputs; VLC refuses to run as root."""

import io
import os
import select
import shutil
import signal
import socket as sockets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from livekeep.command.screenshot import screenshot, vlc_camera
from livekeep.core.config import Screen
from livekeep.screen.display import main as display
from livekeep.screen.player.vlc import INPUT, Vlc
from tests.outside import LIBRARY, PATIENCE_SECONDS, LiveStream, NotifySocket, picture, program, wait_until, x_screen, x_server
from tests.screen.player.displays import connect, show, until
from tests.screen.player.test_player import Box

pytest_plugins = ["tests.screen.player.streams"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that VLC's user may use too; pytest's own are for the user of the tests alone."""
    path = Path(tempfile.mkdtemp(prefix="livekeep-vlc-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def vlc_command(folder: Path, first: str) -> list[str]:
    """The display's own command line, without a screen and a sound card."""
    command = display.vlc_command(Screen(output="x11"), "", "", first)
    placed = [part.replace(str(display.DIRECTORY), str(folder)) for part in command]
    return [{"--vout=xcb_x11": "--vout=vdummy"}.get(part, part) for part in placed] + ["--aout=adummy"]  # the last one counts


@pytest.fixture
def holding(folder: Path) -> str:
    return str(picture(folder / "holding.png"))


@pytest.fixture
def process(folder: Path, holding: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": "none:"}
    with program(vlc_command(folder, holding), as_nobody=True, env=environment, stderr=subprocess.DEVNULL) as running:
        wait_until("VLC's socket", (folder / "vlc.sock").exists)
        yield running


@pytest.fixture
def vlc(process: subprocess.Popen[bytes], folder: Path) -> Iterator[Vlc]:
    found = connect(Vlc, folder / "vlc.sock")
    yield found
    found.close()


def test_pictures_are_shown_one_after_the_other(vlc: Vlc, folder: Path, holding: str) -> None:
    until(vlc, "the first picture", lambda: vlc.current == holding)
    for name in ("error.png", "two words ü.png"):
        path = str(picture(folder / name))
        show(vlc, path)
        assert vlc.wanted == path
        assert vlc.stream.phase == "none"


@pytest.mark.nightly
def test_the_picture_is_turned_and_its_snapshot_turned_back(folder: Path) -> None:
    """A video: without a window manager, VLC sometimes does not draw a still picture that is turned."""
    source = "color=red:size=640x360:rate=5:duration=60,drawbox=y=180:color=blue:thickness=fill"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", source, folder / "two.mkv"], check=True)
    with x_server() as screen:
        turned = Screen(output="x11", x11_display=screen, rotate=90)
        command = display.vlc_command(turned, "", "", str(folder / "two.mkv"))
        command = [part.replace(str(display.DIRECTORY), str(folder)) for part in command]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": "none:", "DISPLAY": screen}
        (folder / "snapshots").mkdir()
        (folder / "snapshots").chmod(0o777)
        with program(command, as_nobody=True, env=environment, stderr=subprocess.DEVNULL):
            wait_until("VLC's socket", (folder / "vlc.sock").exists)
            wait_until("a turned picture", lambda: is_turned(x_screen(screen)))
            own = vlc_camera.take(folder / "vlc.sock", folder / "snapshots", 1 << 24)
    assert is_turned(Image.open(io.BytesIO(own)).convert("RGB"))
    back = Image.open(io.BytesIO(screenshot.upright(own, folder, 90))).convert("RGB")
    assert is_turned(back.rotate(-90, expand=True))


def is_turned(seen: Image.Image) -> bool:
    """Whether blue is left of red; without a window manager, VLC's window is small."""
    box = seen.getbbox()
    if not box:
        return False
    left, right = (seen.getpixel((x, (box[1] + box[3]) // 2)) for x in (box[0] + 9, box[2] - 9))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    return left[2] > 150 > left[0] and right[0] > 150 > right[2]


def test_a_stream_plays_stalls_and_gives_way_to_the_picture_at_its_end(vlc: Vlc, live: LiveStream, holding: str) -> None:
    show(vlc, holding)
    vlc.show_stream(live.url, holding)
    assert vlc.stream.phase == "loading"
    until(vlc, "the stream", lambda: vlc.stream.phase == "playing")
    assert vlc.current == "stream"
    first = vlc.stream
    until(vlc, "a move", lambda: vlc.stream.changed_monotonic > first.changed_monotonic)
    until(vlc, "its metrics", lambda: vlc.playback().input_bytes_per_second)
    live.stall()
    until(vlc, "a stall", lambda: time.monotonic() - vlc.stream.changed_monotonic > 1.5)
    live.go_on()
    live.end()
    until(vlc, "the end", lambda: vlc.stream.phase == "ended")
    until(vlc, "the holding picture by itself", lambda: vlc.current == holding)


def test_a_stream_that_cannot_be_opened_leaves_the_picture(vlc: Vlc, holding: str) -> None:
    show(vlc, holding)
    vlc.show_stream("http://127.0.0.1:9/live.m3u8", holding)
    until(vlc, "the end", lambda: vlc.stream.phase == "ended")
    until(vlc, "the holding picture", lambda: vlc.current == holding)


def test_a_second_player_takes_over_what_plays(vlc: Vlc, folder: Path, live: LiveStream, holding: str) -> None:
    vlc.show_stream(live.url, holding)
    until(vlc, "the stream", lambda: vlc.stream.phase == "playing")
    vlc.close()
    second = connect(Vlc, folder / "vlc.sock")
    until(second, "the stream moves", lambda: second.stream.position_seconds)
    assert (second.current, second.stream.phase) == ("stream", "playing")
    show(second, holding)
    second.close()


def input_of(socket: Path) -> str:
    """What VLC itself says that it plays; it speaks with one at a time."""
    with sockets.socket(sockets.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(socket))
        connection.sendall(b"status\n")
        with connection.makefile(encoding="utf-8") as lines:
            return next(found[1] for line in lines if (found := INPUT.match(line)))


def test_another_stream_takes_the_place_of_the_open_one(folder: Path, endless: LiveStream) -> None:
    """Of the program: while it runs, and after it was killed meanwhile."""
    urls = [f"{endless.url}&stream={name}" for name in ("one", "two", "three")]
    with NotifySocket(folder / "notify") as systemd:
        box = Box(folder, systemd)
        box.config.write_text('[screen]\nplayer = "vlc"\noutput = "x11"\n')
        display_folder = box.run / "display"
        socket, environment = display_folder / "vlc.sock", {"PATH": os.environ["PATH"], "HOME": str(folder)}
        display_folder.chmod(0o777)
        with program(vlc_command(display_folder, box.holding), as_nobody=True, env=environment, stderr=subprocess.DEVNULL):
            wait_until("VLC's socket", socket.exists)
            box.say("live", url=urls[0], source="one")
            with box.player() as first:
                box.until_shown("stream")
                box.say("live", url=urls[1], source="two")
                box.until("the second start", lambda now: now.playback.starts == 2 and now.picture == "stream")
                first.kill()
                first.wait()
            # The player counts a start before VLC has obeyed.
            wait_until("the second stream", lambda: input_of(socket) == urls[1])
            began = time.monotonic()
            with box.player():
                found = box.until("it is taken over", lambda now: now.written_monotonic > began and now.picture == "stream")
                assert found.playback.starts == 0
                box.say("error", "outage", "The server answers 503", source="three")
                box.until_shown("error")
                box.say("live", url=urls[2], source="three")
                box.until_shown("stream")
            wait_until("the third stream", lambda: input_of(socket) == urls[2])


def test_the_text_lies_in_the_file_that_vlc_reads(process: subprocess.Popen[bytes], folder: Path) -> None:
    """In a process of its own, which has `folder` for the machine's root."""
    (folder / "run/livekeep/player").mkdir(parents=True)
    script = (
        "import pathlib, sys\nfrom livekeep.screen.player.vlc import Vlc\nvlc = Vlc(pathlib.Path('vlc.sock'))\n"
        "for text in sys.argv[1:]: vlc.write(tuple(text.split('|')) if text else ())"
    )
    environment = {"PYTHONPATH": str(LIBRARY), "LIVEKEEP_ROOT": str(folder)}
    file = folder / "run/livekeep/player/line.txt"
    for texts, content in ((["one", "größer|two"], "größer\ntwo"), ([""], "")):
        subprocess.run([sys.executable, "-c", script, *texts], cwd=folder, env=environment, check=True)
        assert file.read_text(encoding="utf-8") == content
    shutil.rmtree(file.parent)
    subprocess.run([sys.executable, "-c", script, "the picture matters more"], cwd=folder, env=environment, check=True)


def test_silence_is_seen_and_nothing_blocks(vlc: Vlc, process: subprocess.Popen[bytes]) -> None:
    until(vlc, "an answer", lambda: vlc.waiting_since is None)
    os.kill(process.pid, signal.SIGSTOP)
    while select.select([vlc], [], [], 0.3)[0]:
        vlc.receive()
    began = time.monotonic()
    vlc.ask(True)
    first_asked = time.monotonic()
    for _ in range(20000):
        vlc.ask(True)
    vlc.receive()
    assert vlc.waiting_since is not None
    assert began <= vlc.waiting_since <= first_asked, "since the first question without an answer"
