"""livekeep-storage as a process behind its socket, with real stores; and its units."""

import dataclasses
import json
import os
import re
import resource
import select
import shutil
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
from livekeep.air.storage.media import NoKeysError, WrongKeysError
from livekeep.core.config import Channel
from tests.air.object_stores import BUCKET, KEY_ID, SECRET, Activator, Reply, StandIn, Store, listing, rclone
from tests.outside import PATIENCE_SECONDS, PROJECT, wait_until

MEDIA = f"s3://{BUCKET}/p"
LIST = {"list": {"media": MEDIA, "extensions": [".mp4"]}}


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
    """The answers to lines on one connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(activator.path))
        with connection.makefile("rwb") as stream:
            answers = []
            for line in lines:
                stream.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
                stream.flush()
                answers.append(json.loads(stream.readline()))
            return answers


def test_it_starts_when_asked_and_answers(unit: Activator) -> None:
    listed, signed = ask(unit, LIST, {"sign": {"media": MEDIA, "name": "a.mp4"}})
    ((name, size, modified),) = listed["files"]
    assert (name, size) == ("a.mp4", 3)
    assert abs(modified - time.time()) < 3600
    assert f"/{BUCKET}/p/a.mp4?" in signed["url"]
    assert "X-Amz-Expires=300" in signed["url"]


def test_its_log_tells_of_each_question_and_holds_no_secret(unit: Activator) -> None:
    ask(unit, LIST, {"sign": {"media": MEDIA, "name": "a.mp4"}})
    wait_until("the log", lambda: "signed 'a.mp4' in bucket media" in unit.log.read_text())
    said = unit.log.read_text()
    assert re.search(r"<7>answered in [0-9.]+ s: 1 files in bucket media", said)
    assert not [secret for secret in (KEY_ID, SECRET, "http", "X-Amz") if secret in said]
    assert unit.process
    arguments = Path(f"/proc/{unit.process.pid}/cmdline").read_bytes() + Path(f"/proc/{unit.process.pid}/environ").read_bytes()
    assert SECRET.encode() not in arguments


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe\n",
        b"{\n",
        b"[" * 60000 + b"\n",
        b'{"list": 1}\n',
        b'{"list": {"media": "/srv", "extensions": []}}\n',
        b'{"list": {"media": "s3://b", "extensions": ".mp4"}}\n',
        b'{"sign": {"media": "s3://b"}}\n',
        b'{"sign": {"media": 1, "name": "x"}}\n',
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_bad_question_is_refused_and_the_next_one_answered(unit: Activator, line: bytes) -> None:
    bad, good = ask(unit, line, LIST)
    assert bad["error_type"] == "bad-request"
    assert good["files"]


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"list": {"media": "s3://private", "extensions": [".mp4"]}}, "s3://private: no configured channel plays it"),
        ({"list": {"media": f"s3://{BUCKET}", "extensions": [".mp4"]}}, f"s3://{BUCKET}: no configured channel plays it"),
        ({"list": {"media": f"s3://{BUCKET}/p/q", "extensions": [".mp4"]}}, "/p/q: no configured channel plays it"),
        ({"list": {"media": MEDIA, "extensions": [".mp4", ".txt", ""]}}, f"{MEDIA}: no configured channel plays , .txt there"),
        ({"sign": {"media": "s3://private", "name": "a.mp4"}}, "s3://private: no configured channel plays it"),
        ({"sign": {"media": f"s3://{BUCKET}/", "name": "p/a.mp4"}}, "no configured channel plays it"),
        ({"sign": {"media": MEDIA, "name": "ledger.csv"}}, "no configured channel plays a file of that name there"),
        ({"identify": {"media": MEDIA, "name": "ledger.csv"}}, "no configured channel plays a file of that name there"),
        ({"sign": {"media": MEDIA, "name": ".hidden/a.mp4"}}, "no configured channel plays a file of that name there"),
    ],
)
def test_what_no_channel_plays_is_neither_listed_nor_signed(unit: Activator, question: dict[str, Any], says: str) -> None:
    """Whoever breaks into a worker gets no other object of the account."""
    refused, good = ask(unit, question, LIST)
    assert refused["error_type"] == "bad-config"
    assert says in refused["message"]
    assert good["files"]


def test_a_channel_that_is_configured_later_is_served_and_one_that_is_removed_is_not(tmp_path: Path, store: Store) -> None:
    with Activator(tmp_path, store) as unit:
        file = tmp_path / "etc/livekeep/livekeep.toml"
        text = file.read_text()
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
        connection.settimeout(20)
        with pytest.raises(BrokenPipeError):
            while True:
                connection.sendall(b"x" * 65536)
    assert ask(unit, LIST)[0]["files"]


def test_many_ask_at_once_and_one_that_is_silent_holds_nobody_up(unit: Activator) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(unit.path))
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(len(ask(unit, LIST, LIST)))) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [2] * 30


def test_an_answer_without_end_costs_no_more_memory_than_the_unit_allows(tmp_path: Path) -> None:
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
        assert "its answer is larger than this program may hold" in refused["message"]
        peak = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{unit.process.pid}/status").read_text())[0]
        assert int(peak) < (megabytes + 100) * 1024, "libraries are not data"
        server.decide = lambda _target, _headers: normal
        assert ask(unit, LIST)[0]["files"], "and it goes on"
        assert unit.starts == 1


def test_sigterm_ends_it_while_it_waits_for_a_server(tmp_path: Path) -> None:
    with (
        StandIn(lambda _target, _headers: Reply(stall_seconds=30)) as server,
        Activator(tmp_path, server.store) as unit,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(str(unit.path))
        connection.sendall(json.dumps(LIST).encode() + b"\n")
        wait_until("the server is asked", lambda: server.requests)
        process = unit.process
        assert process
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("keys", "extra", "error_type", "words"),
    [
        ((" ", " "), "", "no-keys", "not set; set both: sudo livekeep air set-storage-keys"),
        ((KEY_ID, "\n"), "", "no-keys", "livekeep.storage-secret: not set"),
        ((KEY_ID, "two words"), "", "wrong-keys", "livekeep.storage-secret: holds more than a key"),
        ((f"{KEY_ID}\nsecond line", SECRET), "", "wrong-keys", "livekeep.storage-key-id: holds more than a key"),
        ((KEY_ID, "wrong"), "", "wrong-keys", "SignatureDoesNotMatch"),
        (None, 'provider = "glacier"', "bad-config", 'storage.provider: must be one of "s3", "r2"'),
        (None, "buckets = 3", "bad-config", "storage.buckets: unknown key"),
        (None, "[[[", "bad-config", "is not valid TOML"),
    ],
)
def test_what_is_wrong_at_its_start_is_told_to_whoever_asks(
    tmp_path: Path, store: Store, keys: tuple[str, str] | None, extra: str, error_type: str, words: str
) -> None:
    with Activator(tmp_path, store, keys, extra) as unit:
        (answer,) = ask(unit, LIST)
        assert answer["error_type"] == error_type
        assert words in answer["message"]
        assert not [key for key in keys or () if key.strip() and key.strip() in answer["message"]]
        assert error_type == "wrong-keys" or words in unit.log.read_text()
        assert unit.starts == 1


@pytest.mark.parametrize(
    "extra", ['[screen]\nplayre = "mpv"', "screen_of = 1", "[storages]\nx = 1", "[channels.main]\nwidth = 321"]
)
def test_a_mistake_elsewhere_is_none_of_its_business(tmp_path: Path, store: Store, extra: str) -> None:
    with Activator(tmp_path, store) as unit:
        file = tmp_path / "etc/livekeep/livekeep.d/wrong.toml"
        file.parent.mkdir()
        file.write_text(extra)
        listed, signed = ask(unit, LIST, {"sign": {"media": MEDIA, "name": "a.mp4"}})
        assert listed["files"][0][0] == "a.mp4"
        assert "url" in signed


def test_it_ends_when_idle_and_no_question_is_lost_as_it_ends(tmp_path: Path) -> None:
    """The server is started anew whenever somebody waits, as systemd does it, and is idle after a moment."""
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

    with StandIn(lambda _target, _headers: listing("p/a.mp4")) as server:
        bucket = Bucket(server.store.settings(), KEY_ID, SECRET)
        thread = threading.Thread(target=keep_serving, args=(bucket,))
        thread.start()
        random = Random(1)
        for _ in range(150):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(tmp_path / "s"))
                connection.sendall(json.dumps({"sign": {"media": MEDIA, "name": "a.mp4"}}).encode() + b"\n")
                assert b'"url"' in connection.recv(65536)
            time.sleep(random.random() * 0.008)
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    listener.close()
    assert starts > 10


def test_it_reads_a_changed_configuration_at_its_next_start(tmp_path: Path, store: Store) -> None:
    with Activator(tmp_path, store) as unit:
        file = tmp_path / "etc/livekeep/livekeep.toml"
        assert "X-Amz-Expires=300" in ask(unit, {"sign": {"media": MEDIA, "name": "a.mp4"}})[0]["url"]
        file.write_text(file.read_text() + "url_seconds = 600\n")
        assert unit.process
        first = unit.process
        first.send_signal(signal.SIGTERM)
        first.wait(PATIENCE_SECONDS)
        assert "X-Amz-Expires=600" in ask(unit, {"sign": {"media": MEDIA, "name": "a.mp4"}})[0]["url"]
        assert unit.starts == 2


def test_without_its_socket_it_says_how_it_is_started() -> None:
    for arguments, status, words in (([], 1, "sudo systemctl enable --now livekeep-storage.socket"), (["-x"], 2, "usage:")):
        ran = subprocess.run([PROJECT / "bin/livekeep-storage", *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == status
        assert words in ran.stderr


def test_the_forms_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(NoKeysError, match=r"livekeep\.storage-key-id and livekeep\.storage-secret: not set"):
        storage.read_keys()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / storage.KEY_ID_NAME).write_text(f"{KEY_ID}\n")
    with pytest.raises(NoKeysError, match=r": livekeep\.storage-secret: not set"):
        storage.read_keys()
    (tmp_path / storage.SECRET_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(WrongKeysError, match="is not text"):
        storage.read_keys()
    (tmp_path / storage.SECRET_NAME).write_text(SECRET)
    assert storage.read_keys() == (KEY_ID, SECRET)


def test_r2_without_an_endpoint_is_told(tmp_path: Path, store: Store) -> None:
    with Activator(tmp_path, dataclasses.replace(store, endpoint_url=""), extra='provider = "r2"') as unit:
        (answer,) = ask(unit, LIST)
        assert answer["error_type"] == "bad-config"
        assert "storage.endpoint_url: must be set for R2" in answer["message"]


def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    """With the drop-in that all services share."""
    unit = tmp_path / "livekeep-storage.service"
    shutil.copy(PROJECT / "units/livekeep-storage.service", unit)
    shared = (PROJECT / "units/livekeep-.service.d/50-sandbox.conf").read_text()
    with unit.open("a") as stream:
        stream.write("\n" + shared)
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
