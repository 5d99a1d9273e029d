"""The kernel's command line: what is missing, what is replaced, that it stays one line; then `doctor --fix` on a real file."""

import os
import pty
import subprocess

import pytest
from conftest import Box, read_until

from livekeep.command.doctor import boot_line
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError

STOCK = "console=tty1 root=PARTUUID=4e639091-02 rootwait quiet\n"
WANTED = ["video=HDMI-A-1:1920x1080@60D", "vc4.force_hotplug=1", "cgroup_enable=memory"]


def words(text: str, **screen: str) -> list[str]:
    return [change.word for change in boot_line.missing_changes(text, Screen(**screen))]  # type: ignore[arg-type]


def test_what_a_stock_line_lacks() -> None:
    assert words(STOCK) == WANTED


@pytest.mark.parametrize(
    ("screen", "expected"),
    [
        ({"connector": "HDMI-A-2"}, ["video=HDMI-A-2:1920x1080@60D", "vc4.force_hotplug=2"]),
        ({"mode": "1280x720"}, ["video=HDMI-A-1:1280x720@60D", "vc4.force_hotplug=1"]),
        ({"mode": "1920x1080@50"}, ["video=HDMI-A-1:1920x1080@50D", "vc4.force_hotplug=1"]),
        ({"mode": "1920x1080@59.94"}, ["video=HDMI-A-1:1920x1080@59D", "vc4.force_hotplug=1"]),
        ({"mode": "preferred"}, ["video=HDMI-A-1:1920x1080@60D", "vc4.force_hotplug=1"]),
        ({"connector": "DSI-1"}, ["video=DSI-1:1920x1080@60D"]),
    ],
)
def test_connector_and_mode_are_the_configured_ones(screen: dict[str, str], expected: list[str]) -> None:
    assert words(STOCK, **screen) == [*expected, "cgroup_enable=memory"]


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (" ".join(WANTED), []),
        ("video=HDMI-A-1:1280x720@50D vc4.force_hotplug=3 cgroup_enable=memory", []),
        ("video=HDMI-A-1:1280x720@50 vc4.force_hotplug=2 cgroup_disable=memory", WANTED),
        ("video=HDMI-A-2:1280x720@50D xcgroup_enable=memory", WANTED),
    ],
)
def test_what_is_there_already_counts(present: str, missing: list[str]) -> None:
    assert words(f"root=/dev/x {present}\n") == missing


def test_a_change_replaces_what_contradicts_it_and_keeps_one_line() -> None:
    text = "root=/dev/x video=HDMI-A-1:720x576 video=HDMI-A-2:800x600D cgroup_disable=memory  quiet\n\n"
    for change in boot_line.missing_changes(text, Screen()):
        text = boot_line.with_change(text, change)
    assert (
        text
        == "root=/dev/x video=HDMI-A-2:800x600D quiet video=HDMI-A-1:1920x1080@60D vc4.force_hotplug=1 cgroup_enable=memory\n"
    )
    assert boot_line.missing_changes(text, Screen()) == ()


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n"])
def test_what_is_not_one_line_is_not_touched(text: str) -> None:
    with pytest.raises(LivekeepError, match="reads exactly one"):
        boot_line.missing_changes(text, Screen())


def config(box: Box) -> None:
    box.configure('[streams.main]\nurl = "http://127.0.0.1/live.m3u8"\n')


def test_fix_with_yes(pi4: Box) -> None:
    config(pi4)
    boot = pi4.root / "boot/firmware/cmdline.txt"
    before, mode = boot.read_text(), boot.stat().st_mode
    done = pi4.run("doctor", "--fix", "--yes")
    assert boot.read_text() == before.rstrip("\n") + " " + " ".join(WANTED) + "\n"
    assert boot.stat().st_mode == mode
    backup = next(boot.parent.glob("cmdline.txt.livekeep-*"))
    assert backup.read_text() == before
    assert str(backup) in done.stdout
    assert done.stdout.endswith("Reboot for it to take effect: sudo reboot\n")
    assert len(list(boot.parent.iterdir())) == 2
    again = pi4.run("doctor", "--fix", "--yes")
    assert "nothing was changed" in again.stdout
    assert len(list(boot.parent.iterdir())) == 2


def test_fix_asks_one_by_one(pi4: Box) -> None:
    config(pi4)
    boot = pi4.root / "boot/firmware/cmdline.txt"
    before = boot.read_text()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(pi4.command("doctor", "--fix"), stdin=theirs, stdout=theirs, stderr=theirs, env=pi4.environment)
    os.close(theirs)
    for word, answer in zip(WANTED, (b"n\n", b"yes\n", b"\n"), strict=True):
        shown = read_until(ours, b"[y/N]")
        assert f"add {word}: ".encode() in shown
        os.write(ours, answer)
    read_until(ours, b"sudo reboot")
    process.wait(timeout=20)
    os.close(ours)
    assert boot.read_text() == before.rstrip("\n") + " vc4.force_hotplug=1\n"


def test_fix_without_a_terminal_changes_nothing(pi4: Box) -> None:
    config(pi4)
    done = pi4.run("doctor", "--fix", stdin=b"y\ny\ny\n")
    assert "nothing was changed" in done.stdout
    assert len(list((pi4.root / "boot/firmware").iterdir())) == 1


def test_fix_on_other_machines_and_broken_files(pi4: Box, box: Box) -> None:
    config(pi4)
    pi4.file("boot/firmware/cmdline.txt", "root=/dev/x\nquiet\n")
    done = pi4.run("doctor", "--fix", "--yes")
    assert done.returncode == 1
    assert done.stderr.endswith("cmdline.txt: has 2 lines where the kernel reads exactly one; put that right by hand first\n")
    (pi4.root / "proc/device-tree/model").unlink()
    assert "only a Raspberry Pi has a cmdline.txt" in pi4.run("doctor", "--fix", "--yes").stdout
