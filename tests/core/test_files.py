"""Files in folders of another user: read without hanging or filling the memory, written without following what lies there."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core import channels, files
from livekeep.core.errors import TemporaryError
from tests.outside import LIBRARY, UNPRIVILEGED

ROOTS = "root's own\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "roots.conf"
    file.write_text(ROOTS)
    file.chmod(0o600)
    return file


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of another user, as the controller's is to root."""
    if os.geteuid() != 0:
        pytest.skip("only root can make one")
    folder = tmp_path / "channels"
    folder.mkdir()
    os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    return folder


def plant(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.chown(link, UNPRIVILEGED, UNPRIVILEGED, follow_symlinks=False)


# Reading


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """What waits for a FIFO would wait forever."""

    def give_up(_number: int, _frame: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_plain_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "it"
    for content in (b"", b"x", b"y" * 4096):
        file.write_bytes(content)
        assert files.read(file, 4096) == content


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "it"
    file.touch()
    for size in (4097, 2**40):
        os.truncate(file, size)
        with pytest.raises(files.UnfitFileError, match="larger than 4096 bytes"):
            files.read(file, 4096)


@pytest.mark.parametrize("kind", ["FIFO", "folder", "device"])
def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    file = tmp_path / kind
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file = Path("/dev/zero")
    with pytest.raises(files.UnfitFileError, match="not a plain file"):
        files.read(file, 4096)


def test_a_link_is_not_followed(tmp_path: Path, victim: Path) -> None:
    for target in (victim, Path("/dev/zero"), tmp_path / "nothing"):
        link = tmp_path / "link"
        link.symlink_to(target)
        with pytest.raises(files.UnfitFileError, match="a symbolic link"):
            files.read(link, 4096)
        link.unlink()


def test_what_is_absent_is_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "nothing", 4096)


# Writing


def test_what_is_written_replaces_the_old_one_with_the_given_mode(tmp_path: Path) -> None:
    file = tmp_path / "it"
    for content, mode in ((b"one", 0o640), (b"two", 0o600)):
        files.replace(file, content, mode)
        assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (content, mode)
    before = os.umask(0o027)
    try:
        files.replace(file, b"three", None)
    finally:
        os.umask(before)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"three", 0o640)
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(tmp_path / "it", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


def test_root_writes_through_no_link_that_lies_in_the_way(theirs: Path, victim: Path) -> None:
    """A controller that was taken over plants links under every name that root could write to."""
    plant(theirs / "main.on-air", victim)
    for number in range(os.getpid() - 50, os.getpid() + 50):
        plant(theirs / f".main.on-air.{number}", victim)
        plant(theirs / f".new.on-air.{number}", victim.with_name("made-by-root"))
    channels.intend("main", theirs)
    channels.intend("new", theirs)
    assert victim.read_text() == ROOTS
    assert not victim.with_name("made-by-root").exists()
    assert not (theirs / "main.on-air").is_symlink()
    assert channels.intended(theirs) == ("main", "new")


def test_root_s_file_is_the_folder_s_owner_s(theirs: Path) -> None:
    """The controller goes on with it, as it does with its own."""
    channels.intend("main", theirs)
    found = (theirs / "main.on-air").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (UNPRIVILEGED, UNPRIVILEGED, 0o640)


def test_root_removes_a_link_and_not_what_it_leads_to(theirs: Path, victim: Path) -> None:
    plant(theirs / "main.on-air", victim)
    channels.intend_not("main", theirs)
    assert victim.read_text() == ROOTS
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("part", ["the folder", "one above it"])
def test_root_goes_into_no_folder_by_a_link_of_another_user(tmp_path: Path, theirs: Path, part: str) -> None:
    """Else a file of root's would come to lie wherever the link leads."""
    roots = tmp_path / "etc"
    (roots / "deeper").mkdir(parents=True)
    plant(theirs / "link", roots / "deeper" if part == "the folder" else roots)
    target = theirs / ("link" if part == "the folder" else "link/deeper")
    for act in (channels.intend, channels.intend_not):
        with pytest.raises(TemporaryError, match='"link" on the way is a symbolic link of another user'):
            act("main", target)
    assert list((roots / "deeper").iterdir()) == []


def test_root_s_own_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real/deeper").mkdir(parents=True)
    (tmp_path / "real/up").symlink_to("../real/deeper")
    (tmp_path / "absolute").symlink_to(tmp_path / "real/up")
    files.replace(tmp_path / "absolute/it", b"here")
    assert (tmp_path / "real/deeper/it").read_bytes() == b"here"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        files.replace(tmp_path / "loop/it", b"nowhere")


def test_two_writers_at_once_never_meet(theirs: Path) -> None:
    """root's command and the controller may write the same file."""
    script = (
        "import pathlib, sys\nfrom livekeep.core import channels\n"
        "for _ in range(200): channels.intend('main', pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-B", "-c", script, str(theirs)]
    writers = [subprocess.Popen(command, env={"PYTHONPATH": str(LIBRARY)}) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [file.name for file in theirs.iterdir()] == ["main.on-air"]
