"""A folder of media, with real files, links and rights."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from shlex import quote

import pytest

from livekeep.air.storage.folder import list_media
from livekeep.air.storage.media import StorageError, warn_once
from tests.air.object_stores import TEMPORARY_NAME
from tests.outside import LIBRARY, UNPRIVILEGED

EXTENSIONS = (".mp4", ".mkv")


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in list_media(folder, EXTENSIONS))


def test_files_at_any_depth(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", "b/c.MKV", "b/d e/f'g.mp4", "b/notes.txt", "日本.mp4")
    os.utime(tmp_path / "a.mp4", (1.0, 1234.5))
    assert names_in(tmp_path) == ["a.mp4", "b/c.MKV", "b/d e/f'g.mp4", "日本.mp4"]
    (file,) = (file for file in list_media(tmp_path, EXTENSIONS) if file.name == "a.mp4")
    assert (file.size_bytes, file.modified) == (5, 1234.5)


def test_hidden_empty_and_special_files_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4", ".b.mp4", ".upload/c.mp4")
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    (tmp_path / "itself.mp4").symlink_to("itself.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert names_in(tmp_path) == ["a.mp4"]


def test_links_are_followed_but_never_round_and_round(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.mp4", "elsewhere/b.mp4")
    channel = tmp_path / "channel"
    fill(channel, "z/c.mp4")
    (channel / "again.mp4").symlink_to("z/c.mp4")
    (channel / "a-loop").symlink_to(".")
    (channel / "z/up").symlink_to("..")
    (channel / "a-way-to-z").symlink_to("z")
    (channel / "other").symlink_to(tmp_path / "elsewhere")
    assert names_in(channel) == ["again.mp4", "other/b.mp4", "z/c.mp4"]


def test_a_name_that_is_no_text_is_left_out_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "a.mp4", "two\nlines.txt", TEMPORARY_NAME)
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))).write_bytes(b"1")
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "livekeep.media"):
        assert names_in(tmp_path) == names_in(tmp_path) == [TEMPORARY_NAME, "a.mp4"]
    (message,) = caplog.messages
    assert message.endswith("is left out, for its name is not UTF-8 text; rename it")


@pytest.mark.parametrize(
    ("folder", "error_type", "words"),
    [
        ("absent", "no-folder", "absent: there is no such folder; make it"),
        ("texts/a.txt", "no-folder", "there is no such folder"),
        ("empty", "empty", "is empty; upload files that end in one of .mp4, .mkv"),
        ("one", "empty", "the only file is hidden, empty, or ends in none of .mp4, .mkv"),
        ("texts", "empty", "each of the 2 files is hidden"),
    ],
)
def test_a_folder_with_nothing_to_play(tmp_path: Path, folder: str, error_type: str, words: str) -> None:
    fill(tmp_path, "texts/a.txt", "texts/b/.hidden.mp4", "one/a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError) as caught:
        list_media(tmp_path / folder, EXTENSIONS)
    assert caught.value.error_type == error_type
    assert words in str(caught.value)


def list_as_nobody(folder: Path) -> str:
    """What it says to a user without root's rights."""
    program = (
        "import sys, logging; from pathlib import Path; logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
        "from livekeep.air.storage.folder import list_media; from livekeep.air.storage.media import StorageError\n"
        "try: print([file.name for file in list_media(Path(sys.argv[1]), ('.mp4',))])\n"
        "except StorageError as error: print(error.error_type, error)"
    )
    rights = (
        ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", "--"] if os.geteuid() == 0 else []
    )
    command = [*rights, sys.executable, "-c", program, folder]
    return subprocess.run(command, env={"PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, check=True).stdout


def test_what_may_not_be_read_says_what_to_do(tmp_path: Path) -> None:
    for folder in (
        tmp_path,
        *(parent for parent in tmp_path.parents if parent.owner() == tmp_path.owner() and len(parent.parts) > 2),
    ):
        folder.chmod(0o755)
    shut = tmp_path / "it's $(touch shut)"
    fill(tmp_path, "open/a.mp4", "open/closed/b.mp4")
    fill(shut, "c.mp4")
    (tmp_path / "open/closed").chmod(0)
    shut.chmod(0)
    try:
        said = list_as_nobody(tmp_path / "open")
        assert "closed: is left out, for it cannot be read (Permission denied); the user livekeep-worker must" in said
        assert said.endswith("['a.mp4']\n")
        said = list_as_nobody(shut)
        assert said.startswith("unreadable ")
        assert f"the user livekeep-worker must be able to: sudo chmod -R o+rX {quote(str(shut))}, and" in said
    finally:
        (tmp_path / "open/closed").chmod(0o755)
        shut.chmod(0o755)
