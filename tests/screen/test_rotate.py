"""screen.rotate on a real X server: what a viewer of the turned TV sees of mpv's pictures, its text and the screenshots."""

import contextlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from livekeep.command.screenshot import mpv_camera, screenshot
from livekeep.core.config import Screen
from livekeep.screen.display.main import mpv_command
from livekeep.screen.player.mpv import Mpv
from tests.corners import CORNERS, corners, has
from tests.outside import PROJECT, program, wait_until, x_screen, x_server
from tests.screen.player.changing_stream import changing_stream
from tests.screen.player.displays import connect, show, until

ANGLES = [90, *(pytest.param(angle, marks=pytest.mark.nightly) for angle in (180, 270))]
BRIGHT = 170


class TurnedTv:
    """A TV of 1280×720 that hangs turned, with mpv on it as the display starts it."""

    def __init__(self, rotate: int, display: str) -> None:
        self.screen = Screen(output="x11", x11_display=display, rotate=rotate)

    def command(self, socket: Path, picture: Path) -> list[str]:
        own = [f"--config-dir={PROJECT / 'etc/mpv'}", f"--input-ipc-server={socket}", "--ao=null"]
        names = {option.partition("=")[0] for option in own}
        command = mpv_command(self.screen, "", "", False, str(picture))
        return ["mpv", *own, *(part for part in command[1:] if part.partition("=")[0] not in names)]

    def seen(self) -> Image.Image:
        """What a viewer sees."""
        return x_screen(self.screen.x11_display).rotate(self.screen.rotate, expand=True)

    def shows(self, colours: tuple[tuple[int, int, int], ...]) -> None:
        wait_until(f"{colours}", lambda: has(self.seen(), colours))

    def text(self) -> tuple[Image.Image, tuple[int, int, int, int]]:
        """The bright parts of what a viewer sees, in black and white, and their box; waits until there are some."""
        found: list[Image.Image] = []

        def is_there() -> bool:
            red, green, blue = self.seen().split()
            found[:] = [ImageChops.darker(ImageChops.darker(red, green), blue).point(lambda value: 255 * (value > BRIGHT))]
            return found[0].getbbox() is not None

        wait_until("text", is_there)
        box = found[0].getbbox()
        assert box
        return found[0], box


@pytest.fixture(params=ANGLES)
def turned(request: pytest.FixtureRequest) -> Iterator[TurnedTv]:
    with x_server() as display:
        yield TurnedTv(request.param, display)


@pytest.fixture
def mpv(turned: TurnedTv, tmp_path: Path) -> Iterator[Mpv]:
    picture, socket = tmp_path / "corners.png", tmp_path / "mpv.sock"
    corners().save(picture)
    with program(turned.command(socket, picture), env=os.environ | {"DISPLAY": turned.screen.x11_display}):
        wait_until("mpv's socket", socket.exists)
        with contextlib.closing(connect(Mpv, socket)) as found:
            until(found, "the picture", lambda: found.current == str(picture))
            yield found


def test_picture_text_and_screenshots_are_upright(turned: TurnedTv, mpv: Mpv, tmp_path: Path) -> None:
    turned.shows(CORNERS)
    seen = turned.seen()
    assert Image.open(io.BytesIO(screenshot.take_x11(turned.screen))).convert("RGB").tobytes() == seen.tobytes()
    saved = tmp_path / "saved.png"
    mpv_camera.take(tmp_path / "mpv.sock", saved, turned.screen.rotate in (90, 270))
    own = Image.open(io.BytesIO(screenshot.upright(saved.read_bytes(), saved, turned.screen.rotate)))
    assert own.size in ((640, 360), seen.size), "the picture alone, or the whole window"
    assert has(own.convert("RGB"))

    mpv.write(("W" * 20, "i"))
    mask, (left, top, right, bottom) = turned.text()
    middle = (top + bottom) // 2
    above, below = (mask.crop((left, *rows)).histogram()[255] for rows in ((top, right, middle), (middle, right, bottom)))
    assert above > 5 * below, "the first line, which is larger, is above"
    assert right - left > 5 * (bottom - top)
    assert seen.height * 0.75 < top < bottom < seen.height * 0.9
    assert abs((left + right) / 2 - seen.width / 2) < 5

    mpv.write(("The stream cannot be reached, since the server refuses each connection, and has done so all day long",))
    wait_until("the whole line", lambda: turned.text()[1][3] - turned.text()[1][1] > (bottom - top))
    _mask, (left, _top, right, bottom) = turned.text()
    assert 5 < left < right < seen.width - 5
    assert bottom < seen.height * 0.95


def test_a_photo_stands_as_its_camera_says(turned: TurnedTv, mpv: Mpv, tmp_path: Path) -> None:
    """mpv adds the angles: this one was taken with the camera turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    corners().rotate(90, expand=True).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    mpv.show_picture(str(tmp_path / "photo.jpg"))
    until(mpv, "the photo", lambda: mpv.current.endswith("photo.jpg"))
    turned.shows(CORNERS)


@pytest.mark.nightly
def test_streams_are_turned_and_so_is_the_picture_beside_sound(turned: TurnedTv, mpv: Mpv, tmp_path: Path) -> None:
    """And the small copies for the check of the stream's picture are taken as ever."""
    # Of ffmpeg's smptebars.
    bars = ((191, 191, 191), (192, 0, 0), (0, 62, 105), (9, 9, 9))
    holding = str(tmp_path / "corners.png")
    with changing_stream("still") as stream:
        mpv.show_stream(stream.url, holding)
        until(mpv, "the stream", lambda: mpv.current == "stream")
        turned.shows(bars)
        mpv.sample_picture()
        until(mpv, "a copy", lambda: mpv.motion.judge(time.monotonic(), 0.01, 0.01) == "frozen")
    show(mpv, holding)
    with changing_stream("sound") as stream:
        mpv.show_stream(stream.url, holding)
        until(mpv, "the sound", lambda: mpv.has_picture is False and mpv.current == holding)
        turned.shows(CORNERS)
