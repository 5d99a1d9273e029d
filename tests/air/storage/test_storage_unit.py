"""livekeep-storage as a process behind its socket, with real stores. tests/machine shows it in its unit."""

import json
import re
import resource
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from livekeep.air.storage import main as storage
from livekeep.air.storage.bucket import Bucket
from livekeep.air.storage.media import StorageError
from livekeep.core.config import Channel
from tests.air.object_stores import BUCKET, KEY_ID, SECRET, Activator, Reply, StandIn, Store, listing, rclone
from tests.outside import PATIENCE_SECONDS, PROJECT, wait_until

MEDIA = f"s3://{BUCKET}/p"
LIST = {"list": {"media": MEDIA, "extensions": [".mp4"]}}
SIGN = {"sign": {"media": MEDIA, "name": "a.mp4"}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("buckets") / "store"
    (folder / BUCKET / "p").mkdir(parents=True)
    (folder / BUCKET / "p/a.mp4").write_bytes(b"123")
    with rclone(folder) as found:
        yield found


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Activator]:
    with Activator(tmp_path_factory.mktemp("unit"), store) as activator:
        yield activator


def ask(activator: Activator, *lines: bytes | dict[str, Any]) -> list[dict[str, Any]]:
    """The responses to lines on one connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(activator.path))
        with connection.makefile("rwb") as stream:
            responses = []
            for line in lines:
                stream.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
                stream.flush()
                responses.append(json.loads(stream.readline()))
            return responses


def test_it_starts_on_a_request_and_logs_no_secret(unit: Activator) -> None:
    listed, signed = ask(unit, LIST, SIGN)
    ((name, size, modified),) = listed["files"]
    assert (name, size) == ("a.mp4", 3)
    assert abs(modified - time.time()) < 3600
    assert f"/{BUCKET}/p/a.mp4?" in signed["url"]
    assert "X-Amz-Expires=300" in signed["url"]
    wait_until("the log", lambda: "signed 'a.mp4' in bucket media" in unit.log.read_text())
    log = unit.log.read_text()
    assert re.search(r"<7>answered in [0-9.]+ s: 1 files in bucket media", log)
    assert not [secret for secret in (KEY_ID, SECRET, "http", "X-Amz") if secret in log]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"[" * 60000 + b"\n",
        b'{"list": {"media": "/srv", "extensions": []}}\n',
        b'{"list": {"media": "s3://b", "extensions": ".mp4"}}\n',
        b'{"sign": {"media": "s3://b"}}\n',
    ],
    ids=lambda line: repr(line[:40]),
)
def test_an_invalid_request_is_refused_and_the_next_one_served(unit: Activator, line: bytes) -> None:
    bad, good = ask(unit, line, LIST)
    assert bad["error_type"] == "bad-request"
    assert good["files"]


NO_MEDIA, NO_FILE = "no configured channel plays it", "no configured channel plays a file of that name there"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"list": {"media": "s3://private", "extensions": [".mp4"]}}, f"s3://private: {NO_MEDIA}"),
        ({"list": {"media": f"s3://{BUCKET}", "extensions": [".mp4"]}}, f"s3://{BUCKET}: {NO_MEDIA}"),
        ({"list": {"media": MEDIA, "extensions": [".mp4", ".txt", ""]}}, f"{MEDIA}: no configured channel plays , .txt there"),
        ({"sign": {"media": f"s3://{BUCKET}/", "name": "p/a.mp4"}}, NO_MEDIA),
        ({"sign": {"media": MEDIA, "name": "ledger.csv"}}, NO_FILE),
        ({"sign": {"media": MEDIA, "name": ".hidden/a.mp4"}}, NO_FILE),
        ({"identify": {"media": MEDIA, "name": "ledger.csv"}}, NO_FILE),
    ],
)
def test_what_no_channel_plays_is_neither_listed_nor_signed(unit: Activator, request_: dict[str, Any], message: str) -> None:
    """Whoever breaks into a worker gets no other object of the account."""
    (refused,) = ask(unit, request_)
    assert refused["error_type"] == "bad-config"
    assert message in refused["message"]


def test_a_channel_counts_as_soon_as_it_is_configured(tmp_path: Path, store: Store) -> None:
    """Mistakes elsewhere in the configuration don't matter."""
    with Activator(tmp_path, store) as unit:
        file = tmp_path / "etc/livekeep/livekeep.toml"
        text = file.read_text() + '[screen]\nplayre = "mpv"\n[storages]\nx = 1\n[channels.main]\nwidth = 321\n'
        file.write_text(text)
        sign = {"sign": {"media": f"s3://{BUCKET}/new", "name": "a.mp4"}}
        assert "url" not in ask(unit, sign)[0]
        file.write_text(f'[channels.new]\nmedia = "s3://{BUCKET}/new"\n{text}')
        assert "url" in ask(unit, sign)[0]
        file.write_text(text)
        assert "url" not in ask(unit, sign)[0]
        assert unit.starts == 1


def test_an_endless_line_ends_its_connection_only(unit: Activator) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(unit.path))
        connection.settimeout(PATIENCE_SECONDS)
        with pytest.raises(BrokenPipeError):
            while True:
                connection.sendall(b"x" * 65536)
    assert ask(unit, LIST)[0]["files"]


def test_more_clients_than_connections_wait_for_their_turn(unit: Activator) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(unit.path))
        counts: list[int] = []
        threads = [threading.Thread(target=lambda: counts.append(len(ask(unit, LIST, LIST)))) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [2] * 30


def test_an_endless_response_uses_no_more_memory_than_the_unit_allows(tmp_path: Path) -> None:
    """Raspberry Pi OS has no memory cgroup; the limit of the process is what bounds it there."""
    unit_file = (PROJECT / "units/livekeep-storage.service").read_text()
    megabytes = int(re.findall(r"^LimitDATA=(\d+)M$", unit_file, re.MULTILINE)[0])
    endless = Reply(200, b"<" * ((megabytes + 64) * 1024**2), {"Content-Type": "application/xml"})
    normal = listing("p/a.mp4")
    with StandIn(lambda _target, _headers: normal) as server, Activator(tmp_path, server.store) as unit:
        assert ask(unit, LIST)[0]["files"]
        assert unit.process
        resource.prlimit(unit.process.pid, resource.RLIMIT_DATA, (megabytes * 1024**2,) * 2)
        server.decide = lambda _target, _headers: endless
        (refused,) = ask(unit, LIST)
        assert refused["error_type"] == "server-fault"
        assert "its response is larger than this program may store" in refused["message"]
        peak = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{unit.process.pid}/status").read_text())[0]
        assert int(peak) < (megabytes + 100) * 1024, "libraries are not data"
        server.decide = lambda _target, _headers: normal
        assert ask(unit, LIST)[0]["files"], "and it goes on"
        assert unit.starts == 1


def test_sigterm_ends_it_while_it_waits_for_a_server(tmp_path: Path) -> None:
    with (
        StandIn(lambda _target, _headers: Reply(stall_seconds=3600)) as server,
        Activator(tmp_path, server.store) as unit,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(str(unit.path))
        connection.sendall(json.dumps(LIST).encode() + b"\n")
        wait_until("the server is asked", lambda: server.requests)
        assert unit.process
        unit.process.send_signal(signal.SIGTERM)
        assert unit.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("keys", "extra", "error_type", "words"),
    [
        (("\n", " "), "", "no-keys", "not set; set both: sudo livekeep air set-storage-keys"),
        (None, "buckets = 3", "bad-config", "storage.buckets: unknown key"),
        (None, "[[[", "bad-config", "is not valid TOML"),
    ],
)
def test_what_is_wrong_at_its_start_is_the_response(
    tmp_path: Path, store: Store, keys: tuple[str, str] | None, extra: str, error_type: str, words: str
) -> None:
    with Activator(tmp_path, store, keys, extra) as unit:
        (refused,) = ask(unit, LIST)
        assert refused["error_type"] == error_type
        assert words in refused["message"]
        assert words in unit.log.read_text()
        assert unit.starts == 1


def test_it_ends_when_idle_and_no_request_is_lost_as_it_ends(tmp_path: Path) -> None:
    """The server is started whenever somebody waits, as systemd does it, and is idle after a moment."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen(64)
    starts = 0
    is_over = threading.Event()

    def keep_serving(bucket: Bucket) -> None:
        nonlocal starts
        while True:
            select.select([listener], [], [])
            if is_over.is_set():
                return
            starts += 1
            storage.Server(listener, storage.Answerer(bucket, 60, lambda: [Channel(media=MEDIA)]), 0.003).run()

    bucket = Bucket(Store("http://127.0.0.1:9", KEY_ID, SECRET).settings(), KEY_ID, SECRET)
    thread = threading.Thread(target=keep_serving, args=(bucket,))
    thread.start()
    random = Random(1)
    for _ in range(150):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(tmp_path / "s"))
            connection.sendall(json.dumps(SIGN).encode() + b"\n")
            assert b'"url"' in connection.recv(65536)
        time.sleep(random.random() * 0.008)
    is_over.set()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()
    assert starts > 10


def test_without_its_socket_it_says_how_it_is_started() -> None:
    ran = subprocess.run([PROJECT / "bin/livekeep-storage"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "sudo systemctl enable --now livekeep-storage.socket" in ran.stderr


@pytest.mark.parametrize(
    ("key_id", "secret", "error_type", "words"),
    [
        (None, None, "no-keys", "livekeep.storage-key-id and livekeep.storage-secret: not set"),
        (f"{KEY_ID}\n", None, "no-keys", ": livekeep.storage-secret: not set"),
        (KEY_ID, b"\xff\xfe", "wrong-keys", "livekeep.storage-secret: cannot be read, or is not text"),
        (KEY_ID, "two words", "wrong-keys", "livekeep.storage-secret: holds more than a key"),
        (f"{KEY_ID}\nsecond line", SECRET, "wrong-keys", "livekeep.storage-key-id: holds more than a key"),
    ],
)
def test_faulty_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_id: str | None, secret: str | bytes | None, error_type: str, words: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name, key in ((storage.KEY_ID_NAME, key_id), (storage.SECRET_NAME, secret)):
        if key is not None:
            (tmp_path / name).write_bytes(key if isinstance(key, bytes) else key.encode())
    with pytest.raises(StorageError) as caught:
        storage.read_keys()
    assert caught.value.error_type == error_type
    assert words in str(caught.value)
    assert not [key for key in ("two words", "second line", SECRET) if key in str(caught.value)]
