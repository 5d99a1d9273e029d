"""The TV's connection, read from trees like the kernel's."""

from pathlib import Path

import pytest

from livekeep.screen.display.outputs import board
from livekeep.system.drm import CHECK_SECONDS, Watch, connected

TREES = Path(__file__).parents[1] / "command/trees"


def plug(drm: Path, name: str, status: str = "connected", modes: str = "1920x1080\n1280x720\n") -> None:
    folder = drm / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text(f"{status}\n")
    (folder / "modes").write_text(modes)


@pytest.mark.parametrize(
    ("tree", "wanted", "found"),
    [
        ("pi4", "", "HDMI-A-1"),
        ("pi4", "HDMI-A-1", "HDMI-A-1"),
        ("pi4", "HDMI-A-2", ""),
        ("pi5", "HDMI-A-9", ""),
        ("laptop", "", "eDP-1"),
        ("bare", "", ""),
    ],
)
def test_the_connector_with_a_tv_is_found(tree: str, wanted: str, found: str) -> None:
    assert connected(wanted, TREES / tree / "sys/class/drm") == found


@pytest.mark.parametrize(("tree", "model"), [("pi4", "Raspberry Pi 4"), ("pi5", "Raspberry Pi 5"), ("laptop", "")])
def test_the_board_is_known_by_its_firmware(tree: str, model: str) -> None:
    found = board(TREES / tree / "proc/device-tree/model")
    assert found.startswith(model)
    assert "\0" not in found
    assert bool(found) == bool(model)


def test_the_first_one_with_a_picture_to_give_is_taken(tmp_path: Path) -> None:
    (tmp_path / "card0").mkdir()
    (tmp_path / "version").write_text("drm 1.1.0 20060810")
    plug(tmp_path, "card0-VGA-1", "disconnected")
    plug(tmp_path, "card1-HDMI-A-1", modes="")
    plug(tmp_path, "card1-Writeback-1", "unknown")
    assert connected("", tmp_path) == ""
    plug(tmp_path, "card1-HDMI-A-2")
    assert connected("", tmp_path) == "HDMI-A-2"
    (tmp_path / "card1-HDMI-A-2/modes").unlink()
    assert connected("", tmp_path) == ""


def test_a_tv_that_was_gone_and_is_back_is_noticed_once(tmp_path: Path) -> None:
    plug(tmp_path, "card1-HDMI-A-1")
    watch, now, noticed = Watch("", tmp_path), 0.0, []
    for status in ("connected", "disconnected", "disconnected", "connected", "connected", "disconnected", "connected"):
        plug(tmp_path, "card1-HDMI-A-1", status)
        noticed.append(watch.came_back(now))
        now += CHECK_SECONDS
    assert noticed == [False, False, False, True, False, False, True]
    assert watch.name == "HDMI-A-1"


def test_it_looks_at_most_every_few_seconds(tmp_path: Path) -> None:
    plug(tmp_path, "card1-HDMI-A-1")
    watch = Watch("", tmp_path)
    watch.came_back(0.0)
    plug(tmp_path, "card1-HDMI-A-1", "disconnected")
    watch.came_back(CHECK_SECONDS - 0.1)
    plug(tmp_path, "card1-HDMI-A-1")
    assert not watch.came_back(CHECK_SECONDS), "nobody saw it go"


def test_a_tv_that_comes_late_for_the_first_time_did_not_come_back(tmp_path: Path) -> None:
    watch = Watch("", tmp_path)
    assert not watch.came_back(0.0)
    plug(tmp_path, "card1-HDMI-A-1")
    assert not watch.came_back(CHECK_SECONDS)
