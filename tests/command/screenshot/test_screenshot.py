"""livekeep screenshot: from mpv's JSON IPC, VLC's rc interface and the error screen, over real sockets."""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Box

from tests.outside import UNPRIVILEGED

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05"
    b"\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82"
)


@pytest.fixture
def tv() -> Iterator[Box]:
    """A box with a short path: a Unix socket's name may not be longer than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lk-") as folder:
        box = Box(Path(folder))
        box.configure()
        (box.root / "run/livekeep/display").mkdir()
        yield box


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Display:
    """A Unix socket server that answers line by line: `answer(line)` gives the bytes to send back."""

    def __init__(self, path: Path, answer: Callable[[bytes], bytes]) -> None:
        self.lines: list[bytes] = []
        self.answer = answer
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _peer = self.server.accept()
            except OSError:
                return
            # A client that goes without reading resets the connection.
            with connection, connection.makefile("rb") as lines, contextlib.suppress(ConnectionError):
                for line in lines:
                    self.lines.append(line)
                    connection.sendall(self.answer(line))

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(timeout=5)


class Mpv(Display):
    """Answers as mpv does (mpv(1), JSON IPC): an event, then request_id, data and error; saves a file for known modes."""

    def __init__(self, box: Box, modes: tuple[str, ...] = ("window", "subtitles"), content: bytes = PNG) -> None:
        self.modes, self.content = modes, content
        super().__init__(box.root / "run/livekeep/display/mpv.sock", self.reply)

    def reply(self, line: bytes) -> bytes:
        request = json.loads(line)
        command, file, mode = request["command"]
        works = command == "screenshot-to-file" and mode in self.modes
        if works:
            Path(file).write_bytes(self.content)
        error = "success" if works else "error running command"
        event = b'{"event":"property-change","id":1,"name":"time-pos","data":1.5}\n'
        return event + json.dumps({"data": None, "request_id": request["request_id"], "error": error}).encode() + b"\n"


def test_mpv_with_the_callers_umask(tv: Box) -> None:
    display = Mpv(tv)
    done = tv.run("screenshot", str(tv.root / "out.png"), umask=0o027)
    assert done.returncode == 0, done.stderr
    assert (tv.root / "out.png").read_bytes() == PNG
    assert (tv.root / "out.png").stat().st_mode & 0o777 == 0o640
    assert [json.loads(line)["command"][2] for line in display.lines] == ["window"]
    assert names(tv.root / "run/livekeep/display") == ["mpv.sock"], "the temporary is gone"
    display.close()


def test_mpv_falls_back_to_the_videos_own_picture(tv: Box) -> None:
    display = Mpv(tv, modes=("subtitles",))
    assert tv.run("screenshot", str(tv.root / "out.png")).returncode == 0
    assert [json.loads(line)["command"][2] for line in display.lines] == ["window", "subtitles"]
    display.close()


def test_standard_output(tv: Box) -> None:
    display = Mpv(tv)
    done = subprocess.run(tv.command("screenshot", "-"), capture_output=True, check=True, timeout=20, env=tv.environment)
    assert (done.stdout, done.stderr) == (PNG, b"")
    display.close()


def test_mpv_that_cannot(tv: Box) -> None:
    display = Mpv(tv, modes=())
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert "mpv could not save its picture (error running command)" in done.stderr
    assert not (tv.root / "out.png").exists()
    display.close()


def test_an_old_picture_is_never_taken_for_the_new_one(tv: Box) -> None:
    """mpv says success but saves nothing, and a file of yesterday lies there."""
    old = tv.file("run/livekeep/display/screenshot.png", PNG)
    display = Display(
        tv.root / "run/livekeep/display/mpv.sock",
        lambda line: json.dumps({"request_id": json.loads(line)["request_id"], "error": "success"}).encode() + b"\n",
    )
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert f"{old}: the display's picture cannot be read (No such file or directory)" in done.stderr
    display.close()


def test_a_display_that_hangs_or_babbles() -> None:
    babble = b"nonsense\n" * 100 + b"[" * 50_000 + b"\n[1]\n{}\n"
    with tempfile.TemporaryDirectory(prefix="lk-") as folder, ThreadPoolExecutor() as pool:
        for done, seconds in pool.map(lambda number: shoot(Path(folder) / str(number), (b"", babble)[number]), range(2)):
            assert done.returncode == 1
            assert "no answer within 5 s" in done.stderr
            assert seconds < 9


def shoot(root: Path, answer: bytes) -> tuple[subprocess.CompletedProcess[str], float]:
    """A screenshot from a display that gives this answer to everything, and how long it took."""
    box = Box(root)
    (root / "run/livekeep/display").mkdir()
    display = Display(root / "run/livekeep/display/mpv.sock", lambda _line: answer)
    start = time.monotonic()
    done = box.run("screenshot", str(root / "out.png"))
    display.close()
    return done, time.monotonic() - start


def test_the_display_cannot_lend_a_file_of_roots(tv: Box) -> None:
    """Its unit owns the folder: a link there must not be followed."""
    secret = tv.file("etc/secret", PNG)

    def link(line: bytes) -> bytes:
        (tv.root / "run/livekeep/display/screenshot.png").symlink_to(secret)
        return json.dumps({"request_id": json.loads(line)["request_id"], "error": "success"}).encode() + b"\n"

    display = Display(tv.root / "run/livekeep/display/mpv.sock", link)
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert not (tv.root / "out.png").exists()
    display.close()


def test_what_is_no_png_is_refused(tv: Box) -> None:
    display = Mpv(tv, content=b"GIF89a")
    assert "no PNG" in tv.run("screenshot", str(tv.root / "out.png")).stderr
    display.close()


def test_no_display(tv: Box) -> None:
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "mpv.sock: the display cannot be reached (No such file or directory); does livekeep-display run? See livekeep status\n"
    )
    tv.file("run/livekeep/display/plain", b"")
    socket.socket(socket.AF_UNIX).bind(str(tv.root / "run/livekeep/display/mpv.sock"))
    assert "Connection refused" in tv.run("screenshot", str(tv.root / "out.png")).stderr


def test_the_error_screens_own_picture_comes_first(tv: Box) -> None:
    display = Mpv(tv)
    tv.file("run/livekeep/error-screen/picture.png", PNG + b"error screen")
    assert tv.run("screenshot", str(tv.root / "out.png")).returncode == 0
    assert (tv.root / "out.png").read_bytes() == PNG + b"error screen"
    assert display.lines == []
    assert (tv.root / "run/livekeep/error-screen/picture.png").exists()
    display.close()


def test_vlc(tv: Box) -> None:
    """VLC answers nothing of use, and writes the file in place, slowly."""
    tv.configure('[screen]\nplayer = "vlc"\n')
    folder = tv.root / "run/livekeep/display/snapshots"
    tv.file("run/livekeep/display/snapshots/vlcsnap-old.png", PNG + b"old")

    def save(line: bytes) -> bytes:
        def write() -> None:
            with (folder / "vlcsnap-new.png").open("wb") as file:
                file.write(PNG[:40])
                file.flush()
                time.sleep(0.3)
                file.write(PNG[40:])

        assert line == b"snapshot\n"
        threading.Thread(target=write).start()
        return b"> "

    display = Display(tv.root / "run/livekeep/display/vlc.sock", save)
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 0, done.stderr
    assert (tv.root / "out.png").read_bytes() == PNG
    assert names(folder) == ["vlcsnap-old.png"]
    display.close()


def test_vlc_that_saves_nothing_whole(tv: Box) -> None:
    """Neither into a folder that is not there yet, nor more than the beginning of a picture."""
    tv.configure('[screen]\nplayer = "vlc"\n')
    folder = tv.root / "run/livekeep/display/snapshots"

    def save(_line: bytes) -> bytes:
        folder.mkdir()
        (folder / "vlcsnap-short.png").write_bytes(PNG[:4])
        (folder / "vlcsnap-half.png").write_bytes(PNG[:40])
        return b"> "

    display = Display(tv.root / "run/livekeep/display/vlc.sock", save)
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert f"{folder}: VLC saved no picture within 5 s" in done.stderr
    assert not (tv.root / "out.png").exists()
    display.close()


def test_a_snapshot_folder_that_is_none(tv: Box) -> None:
    tv.configure('[screen]\nplayer = "vlc"\n')
    tv.file("run/livekeep/display/snapshots", b"")
    display = Display(tv.root / "run/livekeep/display/vlc.sock", lambda _line: b"> ")
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert "cannot be reached (Not a directory)" in done.stderr
    assert display.lines == []
    display.close()


@pytest.mark.parametrize("unfit", ["FIFO", "link to a picture of root's", "endless device"])
def test_vlc_s_snapshot_that_is_no_plain_file(tv: Box, unfit: str) -> None:
    """A FIFO that nobody writes to would hang root's command."""
    tv.configure('[screen]\nplayer = "vlc"\n')
    folder = tv.root / "run/livekeep/display/snapshots"
    folder.mkdir()
    secret = tv.file("etc/secret", PNG)

    def save(_line: bytes) -> bytes:
        if unfit == "FIFO":
            os.mkfifo(folder / "vlcsnap-new.png")
        else:
            (folder / "vlcsnap-new.png").symlink_to("/dev/zero" if unfit == "endless device" else secret)
        return b"> "

    display = Display(tv.root / "run/livekeep/display/vlc.sock", save)
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert f"{folder}: VLC saved no picture within 5 s" in done.stderr
    assert not (tv.root / "out.png").exists()
    assert secret.read_bytes() == PNG
    display.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a link to another user")
def test_a_snapshot_folder_elsewhere_is_not_gone_into(tv: Box) -> None:
    """Its unit may make it a link: root would read and remove a picture of somebody else's."""
    tv.configure('[screen]\nplayer = "vlc"\n')
    (tv.root / "pictures").mkdir()
    link = tv.root / "run/livekeep/display/snapshots"
    link.symlink_to(tv.root / "pictures")
    os.chown(link, UNPRIVILEGED, UNPRIVILEGED, follow_symlinks=False)
    display = Display(tv.root / "run/livekeep/display/vlc.sock", lambda _line: tv.file("pictures/new.png", PNG) and b"> ")
    done = tv.run("screenshot", str(tv.root / "out.png"))
    assert done.returncode == 1
    assert '"snapshots" on the way is a symbolic link of another user' in done.stderr
    assert not (tv.root / "out.png").exists()
    display.close()


def test_what_lies_at_the_target_is_not_written_through(tv: Box) -> None:
    """root saves into a folder of another user, who has put something there."""
    display = Mpv(tv)
    victim = tv.file("etc/roots.conf", b"root's own")
    link, pipe = tv.root / "link.png", tv.root / "pipe.png"
    link.symlink_to(victim)
    os.mkfifo(pipe)
    assert tv.run("screenshot", str(link)).stderr == (
        f'{link}: is a symbolic link, which is not followed; name the file itself, or "-" for standard output\n'
    )
    assert "is not a plain file" in tv.run("screenshot", str(pipe)).stderr
    assert "is not a plain file" in tv.run("screenshot", "/dev/null").stderr
    assert victim.read_bytes() == b"root's own"
    assert display.lines == []
    display.close()


def test_a_link_that_comes_while_the_picture_is_taken_is_replaced(tv: Box) -> None:
    victim = tv.file("etc/roots.conf", b"root's own")
    target = tv.root / "out.png"
    display = Mpv(tv)
    save = display.answer
    display.answer = lambda line: (target.symlink_to(victim), save(line))[1]
    done = tv.run("screenshot", str(target))
    assert done.returncode == 0, done.stderr
    assert victim.read_bytes() == b"root's own"
    assert not target.is_symlink()
    assert target.read_bytes() == PNG
    display.close()


def test_targets_that_cannot_be(tv: Box) -> None:
    display = Mpv(tv)
    folder, absent = tv.root / "etc", tv.root / "absent/out.png"
    assert tv.run("screenshot", str(folder)).stderr == f"{folder}: is a folder; name a file in it, such as {folder}/tv.png\n"
    assert tv.run("screenshot", str(absent)).stderr == f"{absent}: there is no folder {absent.parent}; make it first\n"
    assert display.lines == [], "the display is not troubled"
    assert "cannot be written" in tv.run("screenshot", "/proc/tv.png").stderr
    display.close()
