"""A channel's media as its worker sees them: the same from a folder and from a bucket, errors too."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livekeep.air.storage import library
from livekeep.air.storage.library import BucketLibrary, FolderLibrary, open_library
from livekeep.air.storage.media import StorageError
from tests.air.object_stores import TEMPORARY_NAME, Activator, rclone
from tests.outside import LIBRARY, PATIENCE_SECONDS, wait_until

EXTENSIONS = (".mp4",)


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
        with pytest.raises(StorageError, match="leads out of it"):
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
    found = FolderLibrary(tmp_path, EXTENSIONS, rest_seconds=0.5)
    moment = time.time() + 100_000
    for content in (b"1", b"12"):
        (tmp_path / "future.mp4").write_bytes(content)
        os.utime(tmp_path / "future.mp4", (moment, moment))
        assert found.list_media() == ()
        assert found.waiting == ("future.mp4",)
    wait_until("it has not changed for half a second", found.list_media)
    assert [file.size_bytes for file in found.list_media()] == [2]
    assert found.waiting == ()


def test_a_bucket(tmp_path: Path) -> None:
    file = tmp_path / "store/media/p" / TEMPORARY_NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(b"123")
    with rclone(tmp_path / "store") as store, Activator(tmp_path / "unit", store) as unit:
        bucket = BucketLibrary("s3://media/p/", EXTENSIONS, 5.0, unit.path)
        assert [(found.name, found.size_bytes) for found in bucket.list_media()] == [(TEMPORARY_NAME, 3)]
        assert "X-Amz-Signature" in bucket.locate(TEMPORARY_NAME)
        with pytest.raises(StorageError, match=r"bucket media below absent/: is empty") as caught:
            BucketLibrary("s3://media/absent", EXTENSIONS, 5.0, unit.path).list_media()
        assert caught.value.error_type == "empty"
        # A request that comes as it is killed is repeated.
        for _ in range(2):
            assert unit.process
            unit.process.kill()
            assert bucket.locate("a.mp4")


def test_without_the_unit_it_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "left.sock"))
    for name in ("absent.sock", "left.sock"):
        with pytest.raises(StorageError, match=r"nobody listens there .* enable --now livekeep-storage\.socket") as caught:
            BucketLibrary("s3://b", EXTENSIONS, 5.0, tmp_path / name).list_media()
        assert caught.value.error_type == "unreachable"


@contextlib.contextmanager
def answering(
    path: Path, answer: Callable[[socket.socket], object], seconds: float = PATIENCE_SECONDS
) -> Iterator[BucketLibrary]:
    """A library whose unit reads a line and does as told."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield BucketLibrary("s3://b", EXTENSIONS, (seconds - library.START_SECONDS) / 2, path)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("raw", "error_type"),
    [
        (b"half a line", "server-fault"),
        (b"no JSON\n", "server-fault"),
        (b"[]\n", "server-fault"),
        (b"{}\n", "server-fault"),
        (b'{"files": [["a", "x", 1]]}\n', "server-fault"),
        (b'{"files": [["two\\nlines.mp4", 1, 1]]}\n', "empty"),
        (b'{"error_type": "clock-skew", "message": "so"}\n', "clock-skew"),
        (b'{"error_type": "of-tomorrow", "message": "so"}\n', "other"),
    ],
)
def test_each_response_is_understood_or_refused(tmp_path: Path, raw: bytes, error_type: str) -> None:
    with answering(tmp_path / "s", lambda connection: connection.sendall(raw)) as bucket:
        with pytest.raises(StorageError) as caught:
            bucket.list_media()
        assert caught.value.error_type == error_type


def test_a_unit_that_does_not_respond_is_left_in_time(tmp_path: Path) -> None:
    over = threading.Event()
    with answering(tmp_path / "s", lambda _connection: over.wait(), 0.5) as bucket:
        try:
            with pytest.raises(StorageError, match="does not respond in time") as caught:
                bucket.locate("a")
        finally:
            over.set()
    assert caught.value.error_type == "timeout"


def test_the_worker_s_side_brings_no_large_library() -> None:
    imports = "from livekeep.air.storage import library; from livekeep.air.worker import playlist, signed_url_proxy"
    program = f"import sys; {imports}; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in said.stdout.split()} | set(said.stdout.split())
    assert not loaded & {"boto3", "botocore", "urllib.request", "asyncio", "argparse", "requests", "http", "email", "ssl"}
