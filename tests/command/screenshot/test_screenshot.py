"""livekeep screenshot: from mpv's JSON IPC, VLC's rc interface and the error screen, over real sockets."""

import contextlib
import io
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
from PIL import Image

from tests.command.box import Box
from tests.outside import UNPRIVILEGED

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05"
    b"\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82"
)
VLC = '[screen]\nplayer = "vlc"\n'

Answer = Callable[[bytes], bytes]
"""The bytes to send back for a line."""


class Display:
    """A Unix socket server that answers line by line."""

    def __init__(self, path: Path, answer: Answer) -> None:
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


class Tv(Box):
    """A box with a display that the test plays."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folder, self.out = root / "run/livekeep/display", root / "out.png"
        self.folder.mkdir()
        self.displays: list[Display] = []

    def listen(self, answer: Answer, name: str = "mpv.sock") -> Display:
        self.displays.append(Display(self.folder / name, answer))
        return self.displays[-1]

    def mpv(self, modes: tuple[str, ...] = ("window", "subtitles"), content: bytes = PNG) -> Display:
        """Answers as mpv does (mpv(1), JSON IPC): an event, then request_id, data and error; saves a file for known modes."""

        def reply(line: bytes) -> bytes:
            command, file, *rest = json.loads(line)["command"]
            mode = rest[0] if rest else ""
            works = command == "screenshot-to-file" and mode in modes
            if works:
                Path(file).write_bytes(content)
            event = b'{"event":"property-change","id":1,"name":"time-pos","data":1.5}\n'
            return event + reply_to(line, "success" if works else "error running command")

        return self.listen(reply)

    def fails(self, target: Path | None = None) -> str:
        """What the command says when it fails and leaves nothing."""
        done = self.run("screenshot", str(target or self.out))
        assert done.returncode == 1
        assert not self.out.exists()
        return done.stderr

    def shoots(self) -> bytes:
        done = self.run("screenshot", str(self.out))
        assert done.returncode == 0, done.stderr
        return self.out.read_bytes()

    def names(self, folder: str = "") -> list[str]:
        return sorted(path.name for path in (self.folder / folder).iterdir())


def reply_to(line: bytes, error: str = "success") -> bytes:
    return json.dumps({"data": None, "request_id": json.loads(line)["request_id"], "error": error}).encode() + b"\n"


@pytest.fixture
def tv() -> Iterator[Tv]:
    """A box with a short path: a Unix socket's name may not be longer than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lk-") as folder:
        tv = Tv(Path(folder))
        tv.configure()
        yield tv
        for display in tv.displays:
            display.close()


def test_mpv_with_the_callers_umask(tv: Tv) -> None:
    display = tv.mpv()
    done = tv.run("screenshot", str(tv.out), umask=0o027)
    assert done.returncode == 0, done.stderr
    assert tv.out.read_bytes() == PNG
    assert tv.out.stat().st_mode & 0o777 == 0o640
    assert [json.loads(line)["command"][2] for line in display.lines] == ["window"]
    assert tv.names() == ["mpv.sock"], "the temporary is gone"


def test_mpv_falls_back_to_the_videos_own_picture(tv: Tv) -> None:
    display = tv.mpv(modes=("subtitles",))
    done = subprocess.run(tv.command("screenshot", "-"), capture_output=True, check=True, timeout=60, env=tv.environment)
    assert (done.stdout, done.stderr) == (PNG, b"")
    assert [json.loads(line)["command"][2] for line in display.lines] == ["window", "subtitles"]


def test_mpv_that_cannot_or_saves_no_picture(tv: Tv) -> None:
    old = tv.file("run/livekeep/display/screenshot.png", PNG)
    display = tv.mpv(modes=())
    assert "mpv could not save its picture (error running command)" in tv.fails()
    display.answer = reply_to
    assert f"{old}: the display's picture cannot be read (No such file or directory)" in tv.fails(), "that of yesterday"
    secret = tv.file("etc/secret", PNG)

    def save(content: bytes | None) -> Answer:
        def answer(line: bytes) -> bytes:
            # Its unit owns the folder: a link there to a file of root's must not be followed.
            if content is None:
                old.symlink_to(secret)
            else:
                old.write_bytes(content)
            return reply_to(line)

        return answer

    for content, complaint in ((None, "cannot be read"), (b"GIF89a", "no PNG")):
        display.answer = save(content)
        assert complaint in tv.fails()


def test_the_picture_of_a_turned_tv_is_upright(tv: Tv) -> None:
    tv.configure("[screen]\nrotate = 90\n")
    turned = io.BytesIO()
    image = Image.new("RGB", (3, 2), "blue")
    image.putpixel((2, 0), (255, 0, 0))
    image.save(turned, "PNG")
    tv.mpv(content=turned.getvalue())
    tv.shoots()
    upright = Image.open(tv.out)
    assert (upright.size, upright.getpixel((0, 0))) == ((2, 3), (255, 0, 0)), "what is on the right is on top for a viewer"


def test_a_turned_picture_that_is_not_whole(tv: Tv) -> None:
    tv.configure("[screen]\nrotate = 90\n")
    tv.mpv(content=PNG[:40])
    assert "the display saved no valid PNG; restart livekeep-display" in tv.fails()


def test_a_display_that_hangs_or_babbles() -> None:
    babble = b"nonsense\n" * 100 + b"[" * 50_000 + b"\n[1]\n{}\n"
    with tempfile.TemporaryDirectory(prefix="lk-") as folder, ThreadPoolExecutor() as pool:
        boxes = [Tv(Path(folder) / str(number)) for number in range(2)]
        displays = [box.listen(lambda _line, reply=reply: reply) for box, reply in zip(boxes, (b"", babble), strict=True)]  # type: ignore[misc]
        assert all("no answer within 5 s" in complaint for complaint in pool.map(Tv.fails, boxes))
        for display in displays:
            assert len(display.lines) == 1, "asked once"
            display.close()


def test_no_display(tv: Tv) -> None:
    assert tv.fails().endswith(
        "mpv.sock: the display cannot be reached (No such file or directory); does livekeep-display run? See livekeep status\n"
    )
    socket.socket(socket.AF_UNIX).bind(str(tv.folder / "mpv.sock"))
    assert "Connection refused" in tv.fails()


def test_the_error_screens_own_picture_comes_first(tv: Tv) -> None:
    display = tv.mpv()
    picture = tv.file("run/livekeep/error-screen/picture.png", PNG + b"error screen")
    assert tv.shoots() == PNG + b"error screen"
    assert display.lines == []
    assert picture.exists()


def test_vlc(tv: Tv) -> None:
    """VLC answers nothing of use, and writes the file in place, slowly."""
    tv.configure(VLC)
    tv.file("run/livekeep/display/snapshots/vlcsnap-old.png", PNG + b"old")

    def write() -> None:
        with (tv.folder / "snapshots/vlcsnap-new.png").open("wb") as file:
            file.write(PNG[:40])
            file.flush()
            time.sleep(0.3)
            file.write(PNG[40:])

    def save(line: bytes) -> bytes:
        assert line == b"snapshot\n"
        threading.Thread(target=write).start()
        return b"> "

    tv.listen(save, "vlc.sock")
    assert tv.shoots() == PNG
    assert tv.names("snapshots") == ["vlcsnap-old.png"]


UNFIT: tuple[Callable[[Path, Path], object], ...] = (
    lambda new, secret: new.write_bytes(PNG[:40]),
    # Nobody writes to it: it would hang root's command.
    lambda new, secret: os.mkfifo(new),
    lambda new, secret: new.symlink_to(secret),
    lambda new, secret: new.symlink_to("/dev/zero"),
)


def test_vlc_s_snapshot_that_is_no_whole_plain_file() -> None:
    """In a folder that is not there before: half a picture, a FIFO, a link to a picture of root's, an endless device."""

    def fails(root: Path, make: Callable[[Path, Path], object]) -> None:
        tv = Tv(root)
        tv.configure(VLC)
        folder, secret = tv.folder / "snapshots", tv.file("etc/secret", PNG)

        def save(_line: bytes) -> bytes:
            folder.mkdir()
            make(folder / "vlcsnap-new.png", secret)
            return b"> "

        display = tv.listen(save, "vlc.sock")
        assert f"{folder}: VLC saved no picture within 5 s" in tv.fails()
        assert secret.read_bytes() == PNG
        display.close()

    with tempfile.TemporaryDirectory(prefix="lk-") as folder, ThreadPoolExecutor() as pool:
        list(pool.map(fails, (Path(folder) / str(number) for number in range(len(UNFIT))), UNFIT))


def test_a_snapshot_folder_that_is_none(tv: Tv) -> None:
    tv.configure(VLC)
    tv.file("run/livekeep/display/snapshots", b"")
    display = tv.listen(lambda _line: b"> ", "vlc.sock")
    assert "cannot be reached (Not a directory)" in tv.fails()
    assert display.lines == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a link to another user")
def test_a_snapshot_folder_elsewhere_is_not_gone_into(tv: Tv) -> None:
    """Its unit may make it a link: root would read and remove a picture of somebody else's."""
    tv.configure(VLC)
    (tv.root / "pictures").mkdir()
    link = tv.folder / "snapshots"
    link.symlink_to(tv.root / "pictures")
    os.chown(link, UNPRIVILEGED, UNPRIVILEGED, follow_symlinks=False)
    tv.listen(lambda _line: tv.file("pictures/new.png", PNG) and b"> ", "vlc.sock")
    assert '"snapshots" on the way is a symbolic link of another user' in tv.fails()


def test_targets_that_cannot_be(tv: Tv) -> None:
    """root saves into a folder of another user, who has put something there; the display is not troubled."""
    display = tv.mpv()
    victim = tv.file("etc/roots.conf", b"root's own")
    folder, absent, link, pipe = (tv.root / name for name in ("etc", "absent/out.png", "link.png", "pipe.png"))
    link.symlink_to(victim)
    os.mkfifo(pipe)
    for target, complaint in (
        (folder, f"is a folder; name a file in it, such as {folder}/tv.png"),
        (absent, f"there is no folder {absent.parent}; make it first"),
        (link, 'is a symbolic link, which is not followed; name the file itself, or "-" for standard output'),
        (pipe, 'is not a plain file; name another one, or "-" for standard output'),
        (Path("/dev/null"), 'is not a plain file; name another one, or "-" for standard output'),
    ):
        assert tv.fails(target) == f"{target}: {complaint}\n"
    assert victim.read_bytes() == b"root's own"
    assert display.lines == []
    assert "cannot be written" in tv.fails(Path("/proc/tv.png"))


def test_a_link_that_comes_while_the_picture_is_taken_is_replaced(tv: Tv) -> None:
    victim = tv.file("etc/roots.conf", b"root's own")
    display = tv.mpv()
    save = display.answer
    display.answer = lambda line: (tv.out.symlink_to(victim), save(line))[1]
    assert tv.shoots() == PNG
    assert victim.read_bytes() == b"root's own"
    assert not tv.out.is_symlink()
