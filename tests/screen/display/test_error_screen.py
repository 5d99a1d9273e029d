"""The error screen on a real X server and a real Wayland compositor, and what it draws."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from livekeep.core.errors import TemporaryError
from livekeep.screen.display.error_screen import ErrorScreenSettings, choose_output, render
from tests.outside import PATIENCE_SECONDS

LIB = Path(__file__).parents[3] / "lib"
SIZE = (1280, 720)
RED, BLUE = (200, 40, 40), (40, 90, 220)
# Of the processor's time, which does not depend on what else the machine has to do.
TO_PICTURE_CPU_SECONDS = 0.7
TO_END_SECONDS = 0.5
# Of several tries the best counts.
TRIES = 5


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A square: a blue middle in red."""
    path = tmp_path / "error.png"
    image = Image.new("RGB", (600, 600), RED)
    image.paste(BLUE, (200, 200, 400, 400))
    image.save(path)
    return path


def settings(picture: Path, **changes: Any) -> ErrorScreenSettings:
    fields: dict[str, Any] = {
        "output": "auto",
        "x11_display": "",
        "connector": "",
        "mode": "",
        "wayland_display": "",
        "picture": picture,
        "lines": (),
    }
    return ErrorScreenSettings(**(fields | changes))


def brightest(image: Image.Image) -> int:
    """The largest grey value in the image, 0 to 255."""
    return max(value for value, count in enumerate(image.convert("L").histogram()) if count)


def has_text(image: Image.Image, top: int) -> bool:
    """Whether something white stands below `top`, and nothing white above."""
    below = image.crop((0, top, *image.size))
    return brightest(below) > 240 > brightest(image.crop((0, 0, image.width, top)))


class Program:
    """The program as its unit starts it, with a socket in systemd's place."""

    def __init__(self, directory: Path, arguments: list[str], **environment: str) -> None:
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(directory / "notify"))
        self.notified.settimeout(PATIENCE_SECONDS)
        self.copy = directory / "copy.png"
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "livekeep.screen.display.error_screen", "--copy-to", str(self.copy), *arguments],
            env=os.environ | {"PYTHONPATH": str(LIB), "NOTIFY_SOCKET": str(directory / "notify")} | environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> float:
        """Seconds from exec to READY=1."""
        while b"READY=1" not in self.notified.recv(4096).split(b"\n"):
            pass
        return time.monotonic() - self.began

    def stop(self) -> float:
        """Seconds from SIGTERM to its end."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        return time.monotonic() - begin

    def end(self) -> str:
        """End it in any case; its standard error."""
        self.process.terminate()
        self.notified.close()
        return self.process.communicate(timeout=PATIENCE_SECONDS)[1]


@contextmanager
def program(directory: Path, arguments: list[str], **environment: str) -> Iterator[Program]:
    directory.mkdir(exist_ok=True)
    (directory / "notify").unlink(missing_ok=True)
    running = Program(directory, arguments, **environment)
    try:
        yield running
    finally:
        running.end()


@contextmanager
def x_server(size: str = "1280x720x24", name: str | None = None) -> Iterator[str]:
    """A virtual X server; its display."""
    reader, writer = os.pipe()
    command = [
        "Xvfb",
        *([name] if name else ["-displayfd", str(writer)]),
        "-screen",
        "0",
        size,
        "-nolisten",
        "tcp",
    ]
    with subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        try:
            yield name or f":{os.read(reader, 16).decode().strip()}"
        finally:
            os.close(reader)
            server.terminate()


def x_screen(display: str) -> Image.Image:
    """What the X server shows."""
    from Xlib import X
    from Xlib.display import Display

    connection = Display(display)
    try:
        root = connection.screen().root
        shape = root.get_geometry()
        data = root.get_image(0, 0, shape.width, shape.height, X.ZPixmap, 0xFFFFFFFF).data
        return Image.frombytes("RGB", (shape.width, shape.height), data, "raw", "BGRX")
    finally:
        connection.close()


def test_picture_keeps_its_aspect_on_black(picture: Path) -> None:
    image = render(settings(picture), SIZE)
    assert image.size == SIZE
    assert image.getpixel((640, 360)) == BLUE
    assert image.getpixel((300, 10)) == RED
    assert image.getpixel((270, 10)) == (0, 0, 0)
    assert image.getpixel((1010, 710)) == (0, 0, 0)


def test_text_stands_in_a_dark_band_at_the_bottom(picture: Path) -> None:
    image = render(settings(picture, lines=("The stream cannot be shown.", "See the journal.")), SIZE)
    assert has_text(image, 560)
    assert image.getpixel((640, 715)) == tuple(round(part * 0.28) for part in RED)


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n cut"])
def test_text_is_shown_without_a_picture(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "error.png"
    if content is not None:
        path.write_bytes(content)
    image = render(settings(path, lines=("The stream cannot be shown.",)), SIZE)
    assert has_text(image, 600)
    assert image.getpixel((5, 5)) == (18, 22, 30)


def test_long_lines_and_many_lines_stay_on_the_screen(picture: Path) -> None:
    lines = tuple(f"{number} {'word ' * 80}" for number in range(60))
    image = render(settings(picture, lines=lines), (640, 480))
    assert brightest(image.crop((621, 0, 640, 480))) < 100


@pytest.mark.parametrize(
    ("turn", "upright"),
    [(1, "red above blue"), (3, "blue above red"), (6, "blue left of red"), (8, "red left of blue")],
)
def test_picture_stands_upright_as_its_camera_says(tmp_path: Path, turn: int, upright: str) -> None:
    """By EXIF's orientation, as mpv does; phones store each photograph in the sensor's own direction."""
    image = Image.new("RGB", (400, 400), BLUE)
    image.paste(RED, (0, 0, 400, 200))
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    shown = render(settings(tmp_path / "photo.jpg"), (400, 400))
    colours = {
        place: "red" if shown.getpixel(where)[0] > 150 else "blue"
        for place, where in {"top": (200, 50), "bottom": (200, 350), "left": (50, 200), "right": (350, 200)}.items()
    }
    found = "{left} left of {right}" if colours["left"] != colours["right"] else "{top} above {bottom}"
    assert found.format(**colours) == upright


def test_transparent_picture_lies_on_black(tmp_path: Path) -> None:
    path = tmp_path / "error.png"
    Image.new("RGBA", (10, 10), (255, 255, 255, 0)).save(path)
    assert render(settings(path), SIZE).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_auto_takes_the_server_that_is_there(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    both = settings(picture, wayland_display="wayland-0", x11_display=":4711")
    assert choose_output(both) == "drm"
    assert choose_output(settings(picture, x11_display="other:0")) == "x11"
    (tmp_path / "wayland-0").touch()
    assert choose_output(both) == "wayland"
    assert choose_output(settings(picture, output="x11", wayland_display="wayland-0")) == "x11"


def test_x11_shows_the_picture_and_its_copy(picture: Path, tmp_path: Path) -> None:
    arguments = ["--output", "x11", "--picture", str(picture), "--line", "The stream cannot be shown."]
    with (
        x_server() as display,
        program(tmp_path / "run", [*arguments, "--x11-display", display]) as running,
    ):
        running.wait_ready()
        seen = x_screen(display)
        assert seen.getpixel((640, 360)) == BLUE
        assert seen.getpixel((100, 100)) == (0, 0, 0)
        assert has_text(seen, 600)
        wait_for(running.copy.exists)
        assert Image.open(running.copy).tobytes() == seen.tobytes()
        running.stop()
        assert running.process.returncode == 0
        assert not running.copy.exists()
        assert x_screen(display).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_x11_comes_back_over_a_window_that_covers_it(picture: Path, tmp_path: Path) -> None:
    from Xlib import X
    from Xlib.display import Display

    with (
        x_server() as display,
        program(tmp_path / "run", ["--output", "x11", "--picture", str(picture), "--x11-display", display]) as running,
    ):
        running.wait_ready()
        other = Display(display)
        root = other.screen().root
        window = root.create_window(
            600, 300, 80, 120, 0, 24, X.InputOutput, override_redirect=True, background_pixel=0xFFFFFF, event_mask=X.ExposureMask
        )
        window.map()
        other.sync()
        # That it was drawn tells that it was on top.
        assert other.next_event().type == X.Expose
        wait_for(lambda: x_screen(display).getpixel((640, 360)) == BLUE)
        stack = root.query_tree().children
        assert stack[0].id == window.id
        assert len(stack) == 2
        other.close()


def test_x11_refuses_a_depth_it_cannot_paint(tmp_path: Path, picture: Path) -> None:
    with x_server("640x480x16") as display:
        arguments = ["--output", "x11", "--picture", str(picture), "--x11-display", display]
        with program(tmp_path / "run", arguments) as running:
            assert b"start the X server with depth 24" in running.notified.recv(4096)


def cpu_seconds(pid: int) -> float:
    """What the process has taken so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_x11_is_quick(picture: Path, tmp_path: Path) -> None:
    starts, ends = [], []
    with x_server("1920x1080x24") as display:
        for _ in range(TRIES):
            arguments = ["--output", "x11", "--picture", str(picture), "--x11-display", display]
            with program(tmp_path / "run", arguments, LIVEKEEP_UNMEASURED="1") as running:
                running.wait_ready()
                starts.append(cpu_seconds(running.process.pid))
                wait_for(running.copy.exists)
                ends.append(running.stop())
    assert min(starts) <= TO_PICTURE_CPU_SECONDS
    assert min(ends) <= TO_END_SECONDS


def test_x11_waits_for_the_server_with_one_line_and_comes_back(picture: Path, tmp_path: Path) -> None:
    with x_server() as display:
        pass
    arguments = ["--output", "x11", "--picture", str(picture), "--x11-display", display]
    with program(tmp_path / "run", arguments) as running:
        assert b"cannot connect" in running.notified.recv(4096)
        assert running.process.poll() is None
        for _ in range(2):  # the second time after the server's end
            with x_server(name=display):
                running.wait_ready()
                assert x_screen(display).getpixel((640, 360)) == BLUE
        running.stop()
        lines = running.end().splitlines()
    assert len(lines) == 2
    assert "cannot connect: start the X server" in lines[0]
    assert "the connection is lost" in lines[1]


@pytest.fixture
def compositor() -> Iterator[Path]:
    """A headless cage; the directory with its socket `wayland-0`.

    Its output is turned by half: a surface that fits an unturned one is scanned out, and grim cannot read that.
    """
    directory = Path("/tmp") / f"livekeep-wayland-{os.getpid()}"  # another user must get there
    directory.mkdir(mode=0o700)
    headless = {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
    is_root = os.getuid() == 0  # which cage refuses to be
    if is_root:
        shutil.chown(directory, "nobody")
    with subprocess.Popen(
        ["cage", "-r", "-r", "--", "sleep", "60"],
        env=os.environ | headless | {"XDG_RUNTIME_DIR": str(directory)},
        user="nobody" if is_root else None,
        group="nogroup" if is_root else None,
        extra_groups=[] if is_root else None,
        cwd="/",
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for((directory / "wayland-0").exists)
        yield directory
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
        process.kill()
    shutil.rmtree(directory)


def wayland_pixel(directory: Path, x: int, y: int) -> tuple[int, ...]:
    """One pixel of what the compositor shows."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(directory), "WAYLAND_DISPLAY": "wayland-0"}
    command = ["grim", "-t", "ppm", "-g", f"{x},{y} 1x1", "-"]
    return tuple(subprocess.run(command, env=environment, check=True, capture_output=True).stdout[-3:])


def test_wayland_shows_the_picture(picture: Path, tmp_path: Path, compositor: Path) -> None:
    arguments = ["--output", "wayland", "--picture", str(picture), "--wayland-display", "wayland-0"]
    with program(tmp_path / "run", arguments, XDG_RUNTIME_DIR=str(compositor)) as running:
        running.wait_ready()
        wait_for(lambda: wayland_pixel(compositor, 640, 360) == BLUE)
        assert wayland_pixel(compositor, 300, 10) == RED
        assert wayland_pixel(compositor, 100, 100) == (0, 0, 0)
        running.stop()
        assert running.process.returncode == 0
        wait_for(lambda: wayland_pixel(compositor, 640, 360) != BLUE)


def test_wayland_says_what_is_absent(tmp_path: Path) -> None:
    from livekeep.screen.display.painter_wayland import WaylandPainter

    with pytest.raises(TemporaryError, match=r"wayland-0: cannot connect: start the Wayland compositor"):
        WaylandPainter(tmp_path / "wayland-0")


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
