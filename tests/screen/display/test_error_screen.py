"""The error screen on a real X server and a real Wayland compositor, and what it draws."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from Xlib import X
from Xlib.display import Display

from livekeep.core import state
from livekeep.core.config import Screen
from livekeep.core.errors import TemporaryError
from livekeep.core.state import TvState
from livekeep.screen.display.error_screen import background, choose_output, render
from livekeep.screen.display.painter_wayland import WaylandPainter
from tests.outside import PATIENCE_SECONDS, PROJECT, NotifySocket, program, wait_until, x_screen, x_server

SIZE = (1280, 720)
RED, BLUE, BLACK = (200, 40, 40), (40, 90, 220), (0, 0, 0)
BRIGHT = 240
# Of the processor's time, which does not depend on what else the machine has to do. Of several tries the best counts.
TO_PICTURE_CPU_SECONDS, TRIES = 0.7, 5


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A square: a blue middle in red."""
    path = tmp_path / "error.png"
    image = Image.new("RGB", (600, 600), RED)
    image.paste(BLUE, (200, 200, 400, 400))
    image.save(path)
    # One that was copied just now would have to wait.
    os.utime(path, (1e9, 1e9))
    return path


def brightest(image: Image.Image) -> int:
    """The largest grey value in the image, 0 to 255."""
    return max(value for value, count in enumerate(image.convert("L").histogram()) if count)


def has_text(image: Image.Image, top: int) -> bool:
    """Whether something white stands below `top`, and nothing white above."""
    return brightest(image.crop((0, top, *image.size))) > BRIGHT > brightest(image.crop((0, 0, image.width, top)))


class ErrorScreen:
    """The program as its unit starts it below `root`, with a socket in systemd's place."""

    def __init__(self, root: Path, systemd: NotifySocket) -> None:
        self.root, self.systemd, self.log = root, systemd, root / "log"
        self.copy = root / "picture.png"

    @contextmanager
    def running(self, picture: Path, screen: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        config = self.root / "etc/livekeep/livekeep.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f'[screen]\nerror = "{picture}"\n{screen}\n')
        own = {"LIVEKEEP_ROOT": str(self.root), "RUNTIME_DIRECTORY": str(self.root), "NOTIFY_SOCKET": str(self.systemd.path)}
        command = [PROJECT / "bin/livekeep-error-screen"]
        with program(command, env=os.environ | own | environment, stderr=self.log.open("wb")) as process:
            yield process
            process.terminate()
            process.wait(PATIENCE_SECONDS)


@pytest.fixture
def error_screen(tmp_path: Path) -> Iterator[ErrorScreen]:
    with NotifySocket(tmp_path / "notify") as systemd:
        yield ErrorScreen(tmp_path, systemd)


def test_the_picture_keeps_its_aspect_on_black_above_the_text(picture: Path) -> None:
    image = render(picture, SIZE)
    assert image.size == SIZE
    assert [image.getpixel(place) for place in ((640, 360), (300, 10), (270, 10))] == [BLUE, RED, BLACK]
    assert has_text(image, 560)
    assert image.getpixel((940, 715)) == tuple(round(part * 0.28) for part in RED), "a dark band"


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n cut"])
def test_text_is_shown_without_a_picture(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "error.png"
    if content is not None:
        path.write_bytes(content)
    image = render(path, SIZE)
    assert has_text(image, 560)
    assert image.getpixel((5, 5)) == (18, 22, 30)


def test_a_long_line_stays_on_the_screen(picture: Path) -> None:
    image = render(picture, (640, 480), ("word " * 80,))
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
    shown = background(tmp_path / "photo.jpg", (400, 400))
    colours = {
        place: "red" if shown.getpixel(where)[0] > 150 else "blue"
        for place, where in {"top": (200, 50), "bottom": (200, 350), "left": (50, 200), "right": (350, 200)}.items()
    }
    found = "{left} left of {right}" if colours["left"] != colours["right"] else "{top} above {bottom}"
    assert found.format(**colours) == upright


def test_transparent_picture_lies_on_black(tmp_path: Path) -> None:
    path = tmp_path / "error.png"
    Image.new("RGBA", (10, 10), (255, 255, 255, 0)).save(path)
    assert background(path, SIZE).getextrema() == ((0, 0), (0, 0), (0, 0))


def test_auto_takes_the_server_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    both = Screen(wayland_display="wayland-0", x11_display=":4711")
    assert choose_output(both) == "drm"
    with socket.socket(socket.AF_UNIX) as x11, socket.socket(socket.AF_UNIX) as wayland:
        x11.bind("\0/tmp/.X11-unix/X4711")
        x11.listen()
        assert choose_output(both) == "x11"
        wayland.bind(str(tmp_path / "wayland-0"))
        assert choose_output(both) == "x11", "a socket that a compositor left behind"
        wayland.listen()
        assert choose_output(both) == "wayland"
    assert choose_output(Screen(output="x11", wayland_display="wayland-0")) == "x11"


def test_x11_shows_the_picture_and_its_copy(picture: Path, error_screen: ErrorScreen) -> None:
    with x_server() as display:
        with error_screen.running(picture, f'x11_display = "{display}"'):
            error_screen.systemd.wait_for("READY=1")
            seen = x_screen(display)
            assert seen.getpixel((640, 360)) == BLUE
            assert seen.getpixel((100, 100)) == BLACK
            assert has_text(seen, 560)
            wait_until("the copy", error_screen.copy.exists)
            assert Image.open(error_screen.copy).tobytes() == seen.tobytes()
        wait_until("a blank screen", lambda: x_screen(display).getextrema() == ((0, 0), (0, 0), (0, 0)))


@pytest.mark.parametrize("rotate", [90, *(pytest.param(angle, marks=pytest.mark.nightly) for angle in (180, 270))])
def test_x11_is_upright_on_a_turned_tv(picture: Path, error_screen: ErrorScreen, rotate: int) -> None:
    with x_server() as display, error_screen.running(picture, f'x11_display = "{display}"\nrotate = {rotate}'):
        error_screen.systemd.wait_for("READY=1")
        seen = x_screen(display).rotate(rotate, expand=True)
        width, height = seen.size
        side, middle = min(seen.size), (width // 2, height // 2)
        assert [seen.getpixel(place) for place in (middle, (middle[0], (height - side) // 2 + 20))] == [BLUE, RED]
        assert has_text(seen, height * 4 // 5)
        band = seen.crop((0, height * 4 // 5, *seen.size))
        assert brightest(band.crop((0, 0, side // 30, band.height))) < BRIGHT > brightest(band.crop((width - 10, 0, *band.size)))
        wait_until("the copy", error_screen.copy.exists)
        assert Image.open(error_screen.copy).tobytes() == seen.tobytes(), "a screenshot is upright too"


def test_nothing_is_painted_while_the_tv_is_off_on_purpose(picture: Path, error_screen: ErrorScreen) -> None:
    states = error_screen.root / "run/livekeep"
    (states / "tv").mkdir(parents=True)
    state.write(state.stamped(TvState(is_wanted=False, method="blank")), states)
    with x_server() as display, error_screen.running(picture, f'output = "x11"\nx11_display = "{display}"'):
        error_screen.systemd.wait_for("STATUS=The TV is off on purpose")
        assert brightest(x_screen(display)) == 0
        state.write(state.stamped(TvState()), states)
        error_screen.systemd.wait_for("READY=1")
        assert brightest(x_screen(display)) > BRIGHT


def test_x11_comes_back_over_a_window_that_covers_it(picture: Path, error_screen: ErrorScreen) -> None:
    with x_server() as display, error_screen.running(picture, f'x11_display = "{display}"'):
        error_screen.systemd.wait_for("READY=1")
        other = Display(display)
        root = other.screen().root
        window = root.create_window(
            600, 300, 80, 120, 0, 24, X.InputOutput, override_redirect=True, background_pixel=0xFFFFFF, event_mask=X.ExposureMask
        )
        window.map()
        other.sync()
        # That it was drawn tells that it was on top.
        assert other.next_event().type == X.Expose
        wait_until("our window above it", lambda: x_screen(display).getpixel((640, 360)) == BLUE)
        stack = root.query_tree().children
        assert stack[0].id == window.id
        assert len(stack) == 2
        other.close()


def test_x11_refuses_a_depth_it_cannot_paint(picture: Path, error_screen: ErrorScreen) -> None:
    with x_server("640x480x16") as display, error_screen.running(picture, f'x11_display = "{display}"'):
        error_screen.systemd.wait_for(f"STATUS=X11 display {display}: 16 bits a pixel: start the X server with depth 24")


def test_x11_is_quick(picture: Path, error_screen: ErrorScreen) -> None:
    starts = []
    with x_server("1920x1080x24") as display:
        for _ in range(TRIES):
            seen = len(error_screen.systemd.messages)
            with error_screen.running(picture, f'x11_display = "{display}"', LIVEKEEP_UNMEASURED="1") as process:
                error_screen.systemd.wait_for("READY=1", after=seen)
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                starts.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    assert min(starts) <= TO_PICTURE_CPU_SECONDS


def test_x11_waits_for_the_server_with_one_line_and_comes_back(picture: Path, error_screen: ErrorScreen) -> None:
    with x_server() as display:
        pass
    systemd = error_screen.systemd
    with error_screen.running(picture, f'output = "x11"\nx11_display = "{display}"') as process:
        systemd.wait_for("STATUS=X11 display")
        with x_server(name=display):
            systemd.wait_for("READY=1")
            assert x_screen(display).getpixel((640, 360)) == BLUE
        lost = systemd.wait_for(f"STATUS=X11 display {display}: the connection is lost")
        with x_server(name=display):
            systemd.wait_for("READY=1", after=lost)
            assert x_screen(display).getpixel((640, 360)) == BLUE
        assert process.poll() is None
    lines = error_screen.log.read_text().splitlines()
    assert "cannot connect: start the X server" in lines[0]
    assert "the connection is lost" in lines[1]


@pytest.fixture
def compositor() -> Iterator[Path]:
    """A headless cage; the directory with its socket `wayland-0`.

    Its output is turned by half: a surface that fits an unturned one is scanned out, and grim cannot read that.
    """
    directory = Path("/tmp") / f"livekeep-wayland-{os.getpid()}"  # another user must get there
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:  # which cage refuses to be
        shutil.chown(directory, "nobody")
    headless = {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
    environment = os.environ | headless | {"XDG_RUNTIME_DIR": str(directory)}
    command = ["cage", "-r", "-r", "--", "sleep", "60"]
    with program(command, as_nobody=True, env=environment, cwd="/", stderr=subprocess.DEVNULL):
        wait_until("the compositor", (directory / "wayland-0").exists)
        yield directory
    shutil.rmtree(directory)


def wayland_pixel(directory: Path, x: int, y: int) -> tuple[int, ...]:
    """One pixel of what the compositor shows."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(directory), "WAYLAND_DISPLAY": "wayland-0"}
    command = ["grim", "-t", "ppm", "-g", f"{x},{y} 1x1", "-"]
    return tuple(subprocess.run(command, env=environment, check=True, capture_output=True).stdout[-3:])


def test_wayland_shows_the_picture(picture: Path, error_screen: ErrorScreen, compositor: Path) -> None:
    with error_screen.running(picture, 'output = "wayland"', XDG_RUNTIME_DIR=str(compositor)):
        error_screen.systemd.wait_for("READY=1")
        wait_until("the picture", lambda: wayland_pixel(compositor, 640, 360) == BLUE)
        assert wayland_pixel(compositor, 300, 10) == RED
        assert wayland_pixel(compositor, 100, 100) == BLACK
    wait_until("no picture", lambda: wayland_pixel(compositor, 640, 360) != BLUE)


@pytest.mark.nightly
@pytest.mark.parametrize("rotate", [90, 270])
def test_wayland_shows_the_picture_turned(picture: Path, error_screen: ErrorScreen, compositor: Path, rotate: int) -> None:
    """On a screen of 1280×720 the square picture is as wide as high. The text is on the screen's left, or right."""
    with error_screen.running(picture, f'output = "wayland"\nrotate = {rotate}', XDG_RUNTIME_DIR=str(compositor)):
        error_screen.systemd.wait_for("READY=1")
        wait_until("the picture", lambda: wayland_pixel(compositor, 640, 360) == BLUE)
        assert [wayland_pixel(compositor, x, 10) for x in (270, 290, 990, 1010)] == [BLACK, RED, RED, BLACK]
        turned = Image.open(error_screen.copy).rotate(-rotate, expand=True)
        places = [(x, y) for x in range(15, 1280, 50) for y in (355, 365)]
        assert [wayland_pixel(compositor, *place) for place in places] == [turned.getpixel(place) for place in places]


def test_wayland_says_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"wayland-0: cannot connect: start the Wayland compositor"):
        WaylandPainter(tmp_path / "wayland-0")
