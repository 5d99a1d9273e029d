"""livekeep-firstboot: what a person writes to the boot partition, what the box makes of it, and a power cut at any moment."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core import config, state
from livekeep.core.state import FirstbootState
from tests.command.box import REPOSITORY, Box

TOKEN = "made-up-0123456789abcdef"
POLLER = "livekeep-poller.service"
EVENT = '[streams.main]\nvimeo_event = "777"\n'
# Runs the program, and ends it before its file event number N: a power cut.
POWER_CUT = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from livekeep.command.card import firstboot
left = int(sys.argv[1])
def count(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "tempfile.mkdtemp", "subprocess.Popen"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
firstboot.main([])
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.configure('[streams.main]\nvimeo_event = "123"\n')
    (tmp_path / "boot/firmware").mkdir(parents=True)
    (tmp_path / "run/livekeep/firstboot").mkdir()
    yield made
    made.unit_bus.close()


def card(box: Box, name: str) -> Path:
    return box.root / "boot/firmware" / name


def boot(box: Box) -> FirstbootState:
    """Run the program; its state. Nothing that it writes for people contains a secret."""
    command = [sys.executable, "-I", str(REPOSITORY / "bin/livekeep-firstboot")]
    done = subprocess.run(command, env=box.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result = state.read(FirstbootState, box.root / "run/livekeep")
    written = done.stdout + done.stderr + (box.root / "run/livekeep/firstboot/state.json").read_text()
    assert TOKEN not in written
    assert "made-up-password" not in written
    return result


def event(box: Box) -> str:
    settings = config.load(box.root / "etc/livekeep/livekeep.toml", box.root / "etc/livekeep/livekeep.d")
    return settings.streams["main"].vimeo_event


def stored(box: Box) -> str:
    path = box.root / "etc/credstore/livekeep.vimeo-token"
    return path.read_text() if path.exists() else ""


def names(box: Box) -> list[str]:
    return sorted(path.name for path in card(box, "").iterdir())


def test_an_event_and_a_token(box: Box) -> None:
    card(box, "livekeep.toml").write_text(EVENT)
    card(box, "livekeep-token.txt").write_text(f" {TOKEN}\r\n")
    result = boot(box)
    assert result.notice == "Event 777 taken from the card, and the token"
    assert result.problems == ()
    assert (event(box), stored(box)) == ("777", TOKEN)
    assert names(box) == ["livekeep-taken.toml"]
    drop_in = box.root / "etc/livekeep/livekeep.d/50-card.toml"
    assert drop_in.stat().st_mode & 0o777 == 0o640
    copy = card(box, "livekeep-taken.toml").read_text()
    assert "edit this file, and rename it to livekeep.toml" in copy.splitlines()[0]
    assert 'vimeo_event = "777"' in copy


def test_the_next_boot_takes_nothing(box: Box) -> None:
    card(box, "livekeep.toml").write_text(EVENT)
    boot(box)
    assert boot(box) == state.read(FirstbootState, box.root / "run/livekeep")
    assert boot(box).notice == ""


def test_the_copy_renamed_and_edited_is_taken_again(box: Box) -> None:
    card(box, "livekeep.toml").write_text(EVENT)
    boot(box)
    text = card(box, "livekeep-taken.toml").read_text()
    card(box, "livekeep-taken.toml").unlink()
    card(box, "livekeep.toml").write_text(text.replace("777", "888"))
    assert boot(box).notice == "Event 888 taken from the card"
    assert event(box) == "888"
    assert card(box, "livekeep-taken.toml").read_text().count("# livekeep: ") == 1


def test_a_part_that_is_switched_on_is_started_at_this_boot(box: Box) -> None:
    """systemd has planned the boot without it; nothing waits for it."""
    box.file("usr/lib/systemd/system/livekeep-exporter.service", "")
    box.unit("livekeep-exporter.service", "inactive", "dead", UnitFileState="disabled")
    card(box, "livekeep.toml").write_text("[exporter]\nenabled = true\n")
    boot(box)
    assert "enable --quiet livekeep-exporter.service" in box.told()
    assert "start --no-block livekeep-exporter.service" in box.told()


def test_a_token_restarts_a_poller_that_runs_without_it(box: Box) -> None:
    box.unit(POLLER)
    card(box, "livekeep-token.txt").write_text(TOKEN)
    assert boot(box).notice == "The token taken from the card"
    assert box.told() == [f"reset-failed {POLLER}", f"try-restart --no-block {POLLER}"]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("livekeep.toml.txt", EVENT.encode()),
        ("livekeep.toml", EVENT.encode("utf-8-sig")),
        ("livekeep.toml", EVENT.encode("utf-16")),
        ("livekeep.toml", EVENT.replace("\n", "\r\n").encode()),
    ],
)
def test_what_notepad_makes_of_it(box: Box, name: str, raw: bytes) -> None:
    card(box, name).write_bytes(raw)
    assert boot(box).notice == "Event 777 taken from the card"
    assert names(box) == ["livekeep-taken.toml"]


def test_a_token_from_a_windows_shell(box: Box) -> None:
    card(box, "livekeep-token.txt.txt").write_bytes(f"{TOKEN}\r\n".encode("utf-16"))
    boot(box)
    assert (stored(box), names(box)) == (TOKEN, [])


FAULTY = {
    "streams.main.vimeo_event: must be": ("livekeep.toml", b'[streams.main]\nvimeo_event = "sunday"\n'),
    "is not valid TOML: line 2 holds a typographic quote": ("livekeep.toml", "[streams.main]\nvimeo_event = “777”\n".encode()),
    "unknown table or key": ("livekeep.toml", b"[strems.main]\n"),
    "set only one of": ("livekeep.toml", b'[streams.main]\nurl = "https://user:made-up-password@example.org/a"\n'),
    "is not UTF-8 text": ("livekeep.toml", b"# caf\xe9\n"),
    "is damaged": ("livekeep.toml", bytes(512)),
    "contains no token": ("livekeep-token.txt", b"\r\n"),
    "no spaces or line breaks": ("livekeep-token.txt", f"{TOKEN}\n{TOKEN}\n".encode()),
    "looks like a line NAME=": ("livekeep-token.txt", f"VIMEO={TOKEN}".encode()),
}


@pytest.mark.parametrize("problem", FAULTY)
def test_a_faulty_file_changes_nothing_and_stays(box: Box, problem: str) -> None:
    name, raw = FAULTY[problem]
    card(box, name).write_bytes(raw)
    result = boot(box)
    assert result.notice == ""
    (said,) = result.problems
    assert said.startswith(f"{name} on the card: ")
    assert problem in said
    assert str(box.root) not in said, "no path of the check's folder"
    assert card(box, name).read_bytes() == raw
    assert (event(box), stored(box), names(box)) == ("123", "", [name])


def test_a_fault_of_one_file_does_not_keep_the_other(box: Box) -> None:
    card(box, "livekeep.toml").write_text("vimeo_event = 777")
    card(box, "livekeep-token.txt").write_text(TOKEN)
    result = boot(box)
    assert (len(result.problems), stored(box)) == (1, TOKEN)


def test_two_files_of_one_kind_are_a_problem(box: Box) -> None:
    card(box, "livekeep.toml").write_text(EVENT)
    card(box, "livekeep.toml.txt").write_text(EVENT)
    assert boot(box).problems == ("livekeep.toml on the card: livekeep.toml.txt is there too; remove one of the two",)


def test_a_fault_that_the_box_had_before_is_none_of_the_card(box: Box) -> None:
    box.file("etc/livekeep/livekeep.d/20-old.toml", "[screen]\nvolume = 1000\n")
    card(box, "livekeep.toml").write_text(EVENT)
    result = boot(box)
    assert "50-card.toml" in " ".join(path.name for path in (box.root / "etc/livekeep/livekeep.d").iterdir())
    assert [problem for problem in result.problems if "the card" in problem] == []


def test_the_mount_point_before_bookworm(box: Box) -> None:
    (box.root / "boot/livekeep.toml").write_text(EVENT)
    assert boot(box).notice == "Event 777 taken from the card"


def test_the_copy_has_no_url_with_a_password(box: Box) -> None:
    box.configure("")
    url = "https://user:made-up-password@example.org/live.m3u8"
    card(box, "livekeep.toml").write_text(f'[streams.main]\nurl = "{url}"\n[screen]\nvolume = 50\n')
    assert boot(box).problems == ()
    copy = card(box, "livekeep-taken.toml").read_text()
    assert "made-up-password" not in copy
    assert "write url again" in copy
    assert "volume = 50" in copy


def test_the_bytes_are_overwritten_in_place(box: Box) -> None:
    """A second name of the same file shows what is left in its blocks."""
    for name, content in (("livekeep-token.txt", TOKEN), ("livekeep.toml", EVENT)):
        card(box, name).write_text(content)
        os.link(card(box, name), box.root / f"blocks-of-{name}")
    boot(box)
    assert (box.root / "blocks-of-livekeep-token.txt").read_bytes() == bytes(len(TOKEN))
    assert (box.root / "blocks-of-livekeep.toml").read_bytes() == bytes(len(EVENT))


def test_what_cloud_init_hands_over_and_its_copies(box: Box) -> None:
    """The token in cloud-init's files is overwritten with the same length; the copy to edit is on the card."""
    user_data = f'#cloud-config\n{{"content": "{TOKEN}\\n"}}\n'
    copies = [
        box.file("boot/firmware/user-data", user_data),
        box.file("var/lib/cloud/instances/one/user-data.txt", user_data),
        box.file("var/lib/cloud/instances/one/obj.pkl", pickle.dumps({"userdata_raw": user_data, "other": TOKEN.encode()})),
        box.file("run/cloud-init/instance-data-sensitive.json", user_data),
        box.file("var/log/cloud-init-output.log", user_data * 1000),
    ]
    (box.root / "var/lib/cloud/instance").symlink_to("instances/one")
    box.file("var/lib/livekeep/card/livekeep.toml", EVENT)
    box.file("var/lib/livekeep/card/livekeep-token.txt", TOKEN)
    sizes = [path.stat().st_size for path in copies]
    assert boot(box).notice == "Event 777 taken from the card, and the token"
    assert [path for path in copies if TOKEN.encode() in path.read_bytes()] == []
    assert [path.stat().st_size for path in copies] == sizes
    filler = "x" * len(TOKEN)
    loaded = pickle.loads(copies[2].read_bytes())  # noqa: S301 – written above
    assert loaded == {"userdata_raw": user_data.replace(TOKEN, filler), "other": filler.encode()}
    assert names(box) == ["livekeep-taken.toml", "user-data"]
    assert list((box.root / "var/lib/livekeep/card").iterdir()) == []


def test_a_card_that_cannot_be_written(box: Box) -> None:
    """It is taken over once; what the operator changes later stays."""
    for name, content in (("livekeep-token.txt", TOKEN), ("livekeep.toml", EVENT)):
        card(box, name).write_text(content)
    with read_only(card(box, "")):
        result = boot(box)
        assert result.notice.startswith("Event 777 taken from the card, and the token. livekeep.toml cannot be removed")
        assert (event(box), stored(box)) == ("777", TOKEN)
        box.file("etc/credstore/livekeep.vimeo-token", "another")
        box.file("etc/livekeep/livekeep.d/50-card.toml", EVENT.replace("777", "999"))
        assert "delete it yourself" in boot(box).notice
        assert (event(box), stored(box)) == ("999", "another")
    assert TOKEN not in (box.root / "var/lib/livekeep/install/card.json").read_text()
    boot(box)
    assert (event(box), stored(box), names(box)) == ("999", "another", ["livekeep-taken.toml"])


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder is mounted read-only."""
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield


@contextlib.contextmanager
def mounted(folder: Path, *what: str) -> Iterator[None]:
    subprocess.run(["mount", *what, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_card(box: Box) -> None:
    """There is room for the copy to edit only when the file that was taken over is gone."""
    with mounted(card(box, ""), "-t", "tmpfs", "-o", "size=8k", "tmpfs"):
        card(box, "kernel").write_bytes(bytes(4096))
        card(box, "livekeep.toml").write_text(EVENT)
        assert boot(box).notice == "Event 777 taken from the card"
        assert (event(box), names(box)) == ("777", ["kernel", "livekeep-taken.toml"])
        assert 'vimeo_event = "777"' in card(box, "livekeep-taken.toml").read_text()


def test_a_wipe_that_a_power_cut_tore_is_completed(box: Box) -> None:
    """The first sector is wiped, the second is not; the token that is stored stays."""
    box.file("etc/credstore/livekeep.vimeo-token", TOKEN)
    box.file("var/lib/livekeep/install/card.json", json.dumps({"livekeep-token.txt": "a hash"}))
    card(box, "livekeep-token.txt").write_bytes(bytes(512) + b"rest")
    result = boot(box)
    assert (result.problems, stored(box), names(box)) == ((), TOKEN, [])


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_power_cut_at_any_moment(box: Box, step: int) -> None:
    """Afterwards each of the two is the old or the new one, and the next boot completes it."""
    cuts = 0
    while True:
        for path in (box.root / "etc/livekeep/livekeep.d/50-card.toml", box.root / "etc/credstore/livekeep.vimeo-token"):
            path.unlink(missing_ok=True)
        card(box, "livekeep-taken.toml").unlink(missing_ok=True)
        card(box, "livekeep.toml").write_text(EVENT)
        card(box, "livekeep-token.txt").write_text(TOKEN)
        command = [sys.executable, "-c", POWER_CUT, str(cuts), str(REPOSITORY / "lib")]
        # Files that a measurement of coverage writes would count.
        environment = {**box.environment, "LIVEKEEP_UNMEASURED": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (event(box), stored(box)) in (("123", ""), ("777", ""), ("777", TOKEN)), cuts
        is_complete = names(box) == ["livekeep-taken.toml"]
        # Whoever had no settings yet has the files still.
        assert event(box) == "777" or card(box, "livekeep.toml").exists()
        assert stored(box) == TOKEN or card(box, "livekeep-token.txt").exists()
        boot(box)
        assert (event(box), stored(box), names(box)) == ("777", TOKEN, ["livekeep-taken.toml"]), cuts
        assert not (box.root / "var/lib/livekeep/install/card.json").exists()
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        cuts += step
    assert is_complete
    assert cuts > 30
