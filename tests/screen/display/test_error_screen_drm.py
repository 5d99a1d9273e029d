"""What the painter of the bare screen decides and how it speaks to the kernel; the painting itself is in tests/vm."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from livekeep.core.errors import TemporaryError
from livekeep.screen.display import painter_drm
from livekeep.screen.display.painter_drm import Connector, Mode, choose_connector, choose_mode, parse_mode

FULL_HD = Mode(1920, 1080, 60, True, b"")
SLOW = Mode(1920, 1080, 24, False, b"")
UHD = Mode(3840, 2160, 30, False, b"")
MODES = (SLOW, FULL_HD, UHD)


@pytest.mark.parametrize(
    ("wanted", "mode"),
    [
        ("", FULL_HD),
        ("preferred", FULL_HD),
        ("highest", UHD),
        ("1920x1080@24", SLOW),
        ("1920x1080@59.94", FULL_HD),
        ("3840x2160", UHD),
        ("640x480@60", FULL_HD),
    ],
)
def test_mode_is_the_wanted_one_or_the_preferred(wanted: str, mode: Mode) -> None:
    assert choose_mode(MODES, wanted) == mode


def test_first_mode_serves_a_tv_that_prefers_none() -> None:
    assert choose_mode((SLOW, UHD), "") == SLOW


def test_connector_is_one_with_a_tv() -> None:
    empty = Connector(1, "HDMI-A-1", False, (), 0, ())
    asleep = Connector(2, "HDMI-A-2", True, (), 0, ())
    usable = Connector(3, "DP-1", True, MODES, 0, ())
    assert choose_connector([empty, asleep, usable], "") == usable
    assert choose_connector([empty, asleep, usable], "DP-1") == usable
    assert choose_connector([empty, asleep, usable], "HDMI-A-1") is None
    assert choose_connector([empty, asleep], "") is None


def test_mode_is_read_from_the_kernels_structure() -> None:
    # 1280x720 as virtio_gpu gave it, its name included.
    raw = painter_drm.MODE.pack(
        74500, 1280, 1390, 1430, 1650, 0, 720, 725, 730, 750, 0, 60, 5, painter_drm.PREFERRED, b"1280x720"
    )
    mode = parse_mode(raw)
    assert (mode.width, mode.height, mode.hertz, mode.is_preferred, mode.raw) == (1280, 720, 60, True, raw)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        # The numbers that include/uapi/drm/drm.h gives by _IOWR, on every architecture.
        (painter_drm.RESOURCES, 0xC04064A0),
        (painter_drm.SET_CRTC, 0xC06864A2),
        (painter_drm.GET_ENCODER, 0xC01464A6),
        (painter_drm.GET_CONNECTOR, 0xC05064A7),
        (painter_drm.ADD_FB, 0xC01C64AE),
        (painter_drm.REMOVE_FB, 0xC00464AF),
        (painter_drm.CREATE_DUMB, 0xC02064B2),
        (painter_drm.MAP_DUMB, 0xC01064B3),
        (painter_drm.DESTROY_DUMB, 0xC00464B4),
    ],
)
def test_request_numbers_are_the_kernels(request_: tuple[int, struct.Struct], code: int) -> None:
    assert painter_drm.request_code(request_) == code


def test_a_machine_without_a_card_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="no card is there yet: load the display's driver"):
        painter_drm.find_screen("", cards=tmp_path)


def test_a_card_that_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "card0").touch()
    with pytest.raises(TemporaryError, match="no TV is connected to HDMI-A-1: plug it in"):
        painter_drm.find_screen("HDMI-A-1", cards=tmp_path)
