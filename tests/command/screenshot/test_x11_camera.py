"""The picture of a real X screen."""

import io
import socket
import struct
from pathlib import Path

import pytest
from PIL import Image
from Xlib import X
from Xlib.display import Display

from livekeep.command.screenshot.screenshot import take_x11
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError
from tests.outside import x_server

COLOUR, BLACK = (10, 120, 230), (0, 0, 0)
SIZE = (320, 200)
LOCAL = 256
"""FamilyLocal of X11/Xauth.h."""


def authority(number: str) -> bytes:
    """An Xauthority file with one key."""
    fields = (socket.gethostname().encode(), number.encode(), b"MIT-MAGIC-COOKIE-1", bytes(range(16)))
    return struct.pack(">H", LOCAL) + b"".join(struct.pack(">H", len(field)) + field for field in fields)


def test_it_is_the_whole_screen_in_its_colours() -> None:
    colour = int.from_bytes(bytes(COLOUR), "big")
    with x_server("320x200x24") as display:
        client = Display(display)
        root = client.screen().root
        root.create_window(100, 50, 200, 100, 0, 24, X.InputOutput, override_redirect=True, background_pixel=colour).map()
        client.sync()
        picture = Image.open(io.BytesIO(take_x11(Screen(x11_display=display))))
        client.close()
    assert (picture.format, picture.size) == ("PNG", SIZE)
    places = ((101, 51), (299, 149), (99, 51), (300, 149))
    assert [picture.getpixel(place) for place in places] == [COLOUR, COLOUR, BLACK, BLACK]


@pytest.mark.parametrize("name", [":987", "no display"])
def test_a_screen_that_is_not_there(name: str) -> None:
    with pytest.raises(LivekeepError, match=rf"^X display {name}: no picture can be taken of it; is the desktop running"):
        take_x11(Screen(x11_display=name))


def test_the_desktops_key_opens_its_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAUTHORITY", "/nowhere")
    key = tmp_path / "key"
    key.write_bytes(authority(""))
    with x_server("320x200x24", "-auth", str(key)) as display:
        with pytest.raises(LivekeepError, match=r"no picture can be taken"):
            take_x11(Screen(x11_display=display))
        key.write_bytes(authority(display.removeprefix(":")))
        picture = Image.open(io.BytesIO(take_x11(Screen(x11_display=display, x11_authority=str(key)))))
    assert picture.size == SIZE
