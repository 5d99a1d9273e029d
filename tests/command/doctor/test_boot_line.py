"""The kernel's command line: what is missing, what is replaced, that it stays one line; then `doctor --fix` on a real file."""

import pytest

from livekeep.command.doctor import boot_line
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError
from tests.command.box import Box

STOCK = "console=tty1 root=PARTUUID=4e639091-02 rootwait quiet\n"
VIDEO, HOTPLUG, CGROUP = WANTED = ("video=HDMI-A-1:1920x1080@60D", "vc4.force_hotplug=1", "cgroup_enable=memory")


@pytest.mark.parametrize(
    ("line", "screen", "missing"),
    [
        (STOCK, {}, WANTED),
        (STOCK, {"connector": "HDMI-A-2"}, ("video=HDMI-A-2:1920x1080@60D", "vc4.force_hotplug=2", CGROUP)),
        (STOCK, {"mode": "1280x720"}, ("video=HDMI-A-1:1280x720@60D", HOTPLUG, CGROUP)),
        (STOCK, {"mode": "1920x1080@59.94"}, ("video=HDMI-A-1:1920x1080@59D", HOTPLUG, CGROUP)),
        (STOCK, {"mode": "preferred"}, WANTED),
        (STOCK, {"connector": "DSI-1"}, ("video=DSI-1:1920x1080@60D", CGROUP)),
        (" ".join(WANTED), {}, ()),
        ("video=HDMI-A-1:1280x720@50D vc4.force_hotplug=3 cgroup_enable=memory", {}, ()),
        ("video=HDMI-A-1:1280x720@50 vc4.force_hotplug=2 cgroup_disable=memory", {}, WANTED),
        ("video=HDMI-A-2:1280x720@50D xcgroup_enable=memory", {}, WANTED),
    ],
)
def test_what_a_line_lacks(line: str, screen: dict[str, str], missing: tuple[str, ...]) -> None:
    assert tuple(change.word for change in boot_line.missing_changes(line, Screen(**screen))) == missing  # type: ignore[arg-type]


def test_a_change_replaces_what_contradicts_it_and_keeps_one_line() -> None:
    text = "root=/dev/x video=HDMI-A-1:720x576 video=HDMI-A-2:800x600D cgroup_disable=memory  quiet\n\n"
    for change in boot_line.missing_changes(text, Screen()):
        text = boot_line.with_change(text, change)
    assert text == f"root=/dev/x video=HDMI-A-2:800x600D quiet {VIDEO} {HOTPLUG} {CGROUP}\n"


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n"])
def test_what_is_not_one_line_is_not_touched(text: str) -> None:
    with pytest.raises(LivekeepError, match="reads exactly one"):
        boot_line.missing_changes(text, Screen())


@pytest.fixture
def pi4(pi4: Box) -> Box:
    pi4.configure('[streams.main]\nurl = "http://127.0.0.1/live.m3u8"\n')
    return pi4


def test_fix_with_yes(pi4: Box) -> None:
    boot = pi4.root / "boot/firmware/cmdline.txt"
    before, mode = boot.read_text(), boot.stat().st_mode
    done = pi4.run("doctor", "--fix", "--yes")
    assert boot.read_text() == before.rstrip("\n") + " " + " ".join(WANTED) + "\n"
    assert boot.stat().st_mode == mode
    backup = next(boot.parent.glob("cmdline.txt.livekeep-*"))
    assert backup.read_text() == before
    assert str(backup) in done.stdout
    assert done.stdout.endswith("Reboot for it to take effect: sudo reboot\n")
    assert "nothing was changed" in pi4.run("doctor", "--fix", "--yes").stdout
    assert sorted(boot.parent.iterdir()) == sorted([boot, backup])


def test_fix_asks_one_by_one(pi4: Box) -> None:
    boot = pi4.root / "boot/firmware/cmdline.txt"
    before = boot.read_text()
    prompts = [f"add {word}: ".encode() for word in WANTED]
    answers = [(b"[y/N]", answer) for answer in (b"n\n", b"yes\n", b"\n")]
    _status, shown = pi4.dialog(("doctor", "--fix"), *answers)
    assert [prompt for prompt in prompts if prompt not in shown] == []
    assert b"sudo reboot" in shown
    assert boot.read_text() == f"{before.rstrip()} {HOTPLUG}\n"


def test_fix_without_a_terminal_changes_nothing(pi4: Box) -> None:
    assert "nothing was changed" in pi4.run("doctor", "--fix", stdin=b"y\ny\ny\n").stdout
    assert len(list((pi4.root / "boot/firmware").iterdir())) == 1


def test_fix_on_other_machines_and_broken_files(pi4: Box) -> None:
    pi4.file("boot/firmware/cmdline.txt", "root=/dev/x\nquiet\n")
    done = pi4.run("doctor", "--fix", "--yes")
    assert done.returncode == 1
    assert done.stderr.endswith("cmdline.txt: has 2 lines, but the kernel reads exactly one; correct the file first\n")
    (pi4.root / "proc/device-tree/model").unlink()
    assert "only a Raspberry Pi has a cmdline.txt" in pi4.run("doctor", "--fix", "--yes").stdout
