"""Switching the output off: what stands in the way. That it works is seen in the virtual machine and on the Wayland desktop."""

import time
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.config import Screen
from livekeep.core.state import PlayerState
from livekeep.screen.tv import blanking
from livekeep.screen.tv.blanking import BlankingError
from livekeep.system import drm
from tests.outside import x_server


def test_the_frame_buffers_are_those_of_graphics_cards(tmp_path: Path) -> None:
    for name, card in (("fb0", "drm/card1"), ("fb1", "")):
        (tmp_path / name / "device" / card).mkdir(parents=True)
    assert drm.frame_buffers(tmp_path) == [tmp_path / "fb0"]


def test_the_power_is_that_of_connectors_with_a_tv(tmp_path: Path) -> None:
    for name, status, dpms in (("card0-HDMI-A-1", "connected", "Off"), ("card0-HDMI-A-2", "disconnected", "On")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "status").write_text(f"{status}\n")
        (tmp_path / name / "dpms").write_text(f"{dpms}\n")
    assert drm.powers(tmp_path) == ["Off"]


def test_the_output_is_switched_off_once_the_display_has_given_up_the_screen(tmp_path: Path) -> None:
    (tmp_path / "player").mkdir()
    assert not blanking.is_released(tmp_path), "early in the boot the player comes after the display"
    for released in (False, True):
        state.write(state.stamped(PlayerState(display_released=released)), tmp_path)
        assert blanking.is_released(tmp_path) is released
    began = time.monotonic()
    assert not blanking.wait_for(lambda: False, 0.3)
    assert time.monotonic() - began >= 0.3


def test_what_cannot_be_switched_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BlankingError, match="VLC does not give up the screen") as caught:
        blanking.check(Screen(output="drm", player="vlc"))
    assert caught.value.advice == 'set screen.player = "mpv", or tv.method = "black"'
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for screen in (Screen(output="x11", x11_display=":9999"), Screen(output="wayland", wayland_display="none")):
        with pytest.raises(BlankingError, match="cannot connect") as caught:
            blanking.check(screen)
        assert caught.value.problem
        assert caught.value.advice
    with x_server() as display, pytest.raises(BlankingError, match="no power management"):
        blanking.check(Screen(output="x11", x11_display=display))
