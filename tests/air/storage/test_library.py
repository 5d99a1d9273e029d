"""A channel's media as its worker sees them: the same from a folder and from a bucket, errors too."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from livekeep.air.storage import library
from livekeep.air.storage.library import BucketLibrary, FolderLibrary, open_library
from livekeep.air.storage.media import (
    KINDS,
    NothingThereError,
    ServerFaultError,
    StorageError,
    StorageTimeoutError,
    StorageUnreachableError,
    UnreadableError,
    warn_once,
)
from tests.air.object_stores import KEY_ID, SECRET, TEMPORARY_NAME, Activator, StandIn, listing, rclone, s3_error
from tests.outside import LIBRARY

EXTENSIONS = (".mp4",)


def test_what_media_says_decides() -> None:
    assert isinstance(open_library("s3://bucket/p", EXTENSIONS), BucketLibrary)
    assert isinstance(open_library("/srv/media", EXTENSIONS), FolderLibrary)


def put(file: Path, content: bytes, age_seconds: float = 1000.0) -> None:
    file.write_bytes(content)
    moment = time.time() - age_seconds
    os.utime(file, (moment, moment))


def test_a_folder(tmp_path: Path) -> None:
    put(tmp_path / TEMPORARY_NAME, b"1")
    folder = open_library(str(tmp_path), EXTENSIONS)
    (file,) = folder.list_media()
    assert Path(folder.locate(file.name)).read_bytes() == b"1"
    for name in ("../x.mp4", "/etc/passwd", "a/../../x", "a\0b"):
        with pytest.raises(UnreadableError):
            folder.locate(name)


def test_a_file_that_is_still_being_written_waits(tmp_path: Path) -> None:
    found = FolderLibrary(tmp_path, EXTENSIONS, rest_seconds=500)
    put(tmp_path / "old.mp4", b"1")
    for content in (b"1", b"12", b"123"):
        put(tmp_path / "growing.mp4", content, age_seconds=1)
        assert [file.name for file in found.list_media()] == ["old.mp4"]
        assert found.waiting == ("growing.mp4",)
    put(tmp_path / "growing.mp4", b"123")
    assert [(file.name, file.size_bytes) for file in found.list_media()] == [("growing.mp4", 3), ("old.mp4", 1)]
    assert found.waiting == ()
    # It goes on.
    put(tmp_path / "growing.mp4", b"1234", age_seconds=1)
    assert [file.name for file in found.list_media()] == ["old.mp4"]


def test_a_file_of_the_future_waits_until_it_stays_as_it_is(tmp_path: Path) -> None:
    found = FolderLibrary(tmp_path, EXTENSIONS, rest_seconds=1.0)
    moment = time.time() + 100_000
    for content in (b"1", b"12"):
        (tmp_path / "future.mp4").write_bytes(content)
        os.utime(tmp_path / "future.mp4", (moment, moment))
        assert found.list_media() == ()
        assert found.waiting == ("future.mp4",)
    time.sleep(1.1)
    assert [file.size_bytes for file in found.list_media()] == [2]
    assert found.waiting == ()


def test_one_that_was_moved_here_joins_at_once(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere.mp4", b"1")
    (tmp_path / "media").mkdir()
    (tmp_path / "elsewhere.mp4").rename(tmp_path / "media/a.mp4")
    assert len(open_library(str(tmp_path / "media"), EXTENSIONS).list_media()) == 1


def test_a_bucket(tmp_path: Path) -> None:
    file = tmp_path / "store/media/p" / TEMPORARY_NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(b"123")
    with rclone(tmp_path / "store") as store, Activator(tmp_path / "unit", store) as unit:
        bucket = BucketLibrary("s3://media/p/", EXTENSIONS, 5.0, unit.path)
        assert [(found.name, found.size_bytes) for found in bucket.list_media()] == [(TEMPORARY_NAME, 3)]
        assert "X-Amz-Signature" in bucket.locate(TEMPORARY_NAME)
        with pytest.raises(NothingThereError, match=r"bucket media below absent/: is empty"):
            BucketLibrary("s3://media/absent", EXTENSIONS, 5.0, unit.path).list_media()
        # Asked just as it is stopped: it is started anew, and asked again.
        for _ in range(2):
            assert unit.process
            unit.process.kill()
            assert bucket.locate("a.mp4")


def test_a_key_that_is_no_line_is_left_out_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    found = listing("p/two&#10;lines.mp4", "p/two&#10;lines.txt", "p/3.45.12\u202fPM.mp4")
    with StandIn(lambda _target, _headers: found) as server, Activator(tmp_path, server.store) as unit:
        bucket = BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path)
        for _ in range(2):
            assert [file.name for file in bucket.list_media()] == ["3.45.12\u202fPM.mp4"]
        assert [message for message in caplog.messages if "left out" in message] == [
            r"media/p: 'two\nlines.mp4': is left out, for its name holds a line break or another control character; rename it"
        ]
        found = listing("p/two&#10;lines.mp4")
        with pytest.raises(NothingThereError, match="no file has a name that can be used"):
            bucket.list_media()


def test_errors_come_back_as_the_same_kinds(tmp_path: Path) -> None:
    with (
        StandIn(lambda _target, _headers: s3_error(403, "RequestTimeTooSkewed")) as server,
        Activator(tmp_path, server.store, (KEY_ID, SECRET)) as unit,
        pytest.raises(KINDS["clock-skew"], match="this machine's clock is wrong"),
    ):
        BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path).list_media()


def test_no_unit_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageUnreachableError, match=r"enable --now livekeep-storage\.socket"):
        BucketLibrary("s3://b", EXTENSIONS, 5.0, tmp_path / "absent.sock").list_media()
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(tmp_path / "left.sock"))
    left_behind.close()
    with pytest.raises(StorageUnreachableError, match="nobody listens there"):
        BucketLibrary("s3://b", EXTENSIONS, 5.0, tmp_path / "left.sock").locate("a")


def answering(path: Path, answer: Callable[[socket.socket], None]) -> socket.socket:
    """Something that listens at `path`, reads a line and does as told."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", ServerFaultError),
        (b"half a line", ServerFaultError),
        (b"no JSON\n", ServerFaultError),
        (b"[]\n", ServerFaultError),
        (b"{}\n", ServerFaultError),
        (b'{"files": [[1]]}\n', ServerFaultError),
        (b'{"files": [["a", "x", 1]]}\n', ServerFaultError),
        (b'{"files": []}\n', NothingThereError),
        (b'{"error_type": "of-tomorrow", "message": "later"}\n', StorageError),
        *((json.dumps({"error_type": name, "message": "so"}).encode() + b"\n", kind) for name, kind in KINDS.items()),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_each_answer_is_understood_or_refused(tmp_path: Path, raw: bytes, kind: type[StorageError]) -> None:
    listener = answering(tmp_path / "s", lambda connection: connection.sendall(raw))
    try:
        with pytest.raises(kind) as caught:
            BucketLibrary("s3://b", EXTENSIONS, 5.0, tmp_path / "s").list_media()
        assert type(caught.value) is kind
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_unit_that_gives_no_answer_is_left_in_time(tmp_path: Path) -> None:
    over = threading.Event()
    listener = answering(tmp_path / "s", lambda _connection: void(over.wait(20)))
    try:
        with pytest.raises(StorageTimeoutError, match="gives no answer in time"):
            BucketLibrary("s3://b", EXTENSIONS, (0.5 - library.START_SECONDS) / 2, tmp_path / "s").locate("a")
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def void(_: Any) -> None:
    pass


def test_the_worker_s_side_brings_no_large_library() -> None:
    imports = "from livekeep.air.storage import library; from livekeep.air.worker import playlist, signed_url_proxy"
    program = f"import sys; {imports}; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in said.stdout.split()} | set(said.stdout.split())
    assert not loaded & {"boto3", "botocore", "urllib.request", "asyncio", "argparse", "requests", "http", "email", "ssl"}
