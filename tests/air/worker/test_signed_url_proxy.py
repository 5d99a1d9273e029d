"""The proxy between ffmpeg and a bucket, with real stores, a real livekeep-storage, ffmpeg and ffprobe."""

import contextlib
import errno
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from livekeep.air.storage.library import BucketLibrary, open_library
from livekeep.air.storage.media import StorageError
from livekeep.air.worker.ffmpeg import input_options
from livekeep.air.worker.probe import fault_of
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy, quote, uid_of, unquote
from tests.air.ingest import Certificates, encrypted
from tests.air.object_stores import TEMPORARY_NAME, Activator, Reply, StandIn, Store, rclone
from tests.outside import LIBRARY, UNPRIVILEGED

EXTENSIONS = (".mp4", ".ts")
SECONDS, RATE = 2, 25


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 whose index stands at its end: ffmpeg jumps about in it."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    source = f"testsrc=size=128x72:rate={RATE}:duration={SECONDS}"
    encoding = ["-threads", "1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *encoding, file], check=True)
    return file


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("buckets") / "store"
    (folder / "media/p").mkdir(parents=True)
    for name in ("clip.mp4", TEMPORARY_NAME):
        (folder / "media/p" / name).write_bytes(clip.read_bytes())
    with rclone(folder) as found:
        yield found


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Activator]:
    with Activator(tmp_path_factory.mktemp("unit"), store) as activator:
        yield activator


@pytest.fixture
def proxy(unit: Activator) -> Iterator[SignedUrlProxy]:
    made = SignedUrlProxy(BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path))
    yield made
    made.close()


def parts_of(address: str) -> tuple[int, str]:
    """The port and the target."""
    port, _slash, rest = address.removeprefix("http://127.0.0.1:").partition("/")
    return int(port), f"/{rest}"


def ask(address: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, Location and body."""
    port, target = parts_of(address)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, target)
    answer = connection.getresponse()
    found = answer.status, answer.getheader("Location", ""), answer.read().decode()
    connection.close()
    return found


def frames_of(address: str, *options: str) -> int:
    """How many frames ffmpeg reads there."""
    command = ["ffmpeg", "-nostdin", "-v", "error", *options, "-i", address, "-f", "null", "-progress", "pipe:1", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(said.stdout.rpartition("frame=")[2].split()[0])


def test_a_folder_needs_no_proxy(tmp_path: Path) -> None:
    made = SignedUrlProxy(open_library(str(tmp_path), EXTENSIONS))
    assert made.address_of("a b.mp4") == str(tmp_path / "a b.mp4")
    made.close()


@pytest.mark.parametrize("name", ["clip.mp4", TEMPORARY_NAME])
def test_ffprobe_and_ffmpeg_read_what_it_sends_them_to(proxy: SignedUrlProxy, name: str) -> None:
    address = proxy.address_of(name)
    assert address.isascii()
    entries = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
    duration = subprocess.run(["ffprobe", *entries, address], capture_output=True, text=True, check=True).stdout
    assert float(duration) == SECONDS
    assert frames_of(address, *input_options(address)[:-2]) == SECONDS * RATE


def test_get_and_head_are_sent_on_and_nobody_keeps_it(proxy: SignedUrlProxy, store: Store) -> None:
    address = proxy.address_of("clip.mp4")
    for method in ("GET", "HEAD"):
        status, location, body = ask(address, method)
        assert (status, body) == (302, "")
        assert location.startswith(f"{store.endpoint_url}/media/p/clip.mp4?X-Amz-")
    port, target = parts_of(address)
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        assert b"\r\nCache-Control: no-store\r\n" in connection.makefile("rb").read()


def test_what_was_not_given_out_is_not_there(proxy: SignedUrlProxy) -> None:
    address = proxy.address_of("clip.mp4")
    token = parts_of(address)[1].split("/")[2]
    base = address.partition(token)[0]
    for wrong in (
        f"{address}x",
        proxy.address_of("other.mp4").replace("other", "clip"),
        f"{base}{'0' * len(token)}/clip.mp4",
        f"{base}{token}",
        f"{base}clip.mp4",
        f"{base}{token}//clip.mp4",
        base,
    ):
        status, location, _body = ask(wrong)
        assert (status, location) == (404, "")
    assert ask(address, "POST")[0] == 405


def test_an_object_that_was_replaced_is_gone_for_a_reader_of_the_other(proxy: SignedUrlProxy, store: Store, clip: Path) -> None:
    content = clip.read_bytes()
    for other in (content + b"longer", bytes(reversed(content))):
        store.put("p/other.mp4", content)
        address = proxy.address_of("other.mp4")
        assert ask(address)[0] == 302
        store.put("p/other.mp4", other)
        assert not proxy.was_replaced(address)
        status, location, body = ask(address)
        assert (status, location, body) == (410, "", "it was replaced or removed\n")
        assert proxy.was_replaced(address)
        again = proxy.address_of("other.mp4")
        assert ask(again)[0] == 302
        assert proxy.version_of(again) != proxy.version_of(address)
        assert not proxy.was_replaced(again)


def test_a_storage_that_does_not_tell_versions_is_read_all_the_same(tmp_path: Path) -> None:
    with StandIn(lambda _target, _headers: Reply(200, b"content")) as server, Activator(tmp_path / "unit", server.store) as unit:
        made = SignedUrlProxy(BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path))
        assert ask(made.address_of("clip.mp4"))[0] == 302
        made.close()


def test_each_start_has_another_token(proxy: SignedUrlProxy, unit: Activator) -> None:
    other = SignedUrlProxy(BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path))
    assert parts_of(other.address_of("a.mp4"))[1] != parts_of(proxy.address_of("a.mp4"))[1]
    other.close()


def test_another_user_is_refused(proxy: SignedUrlProxy) -> None:
    port, target = parts_of(proxy.address_of("clip.mp4"))
    program = (
        "import socket, sys\n"
        "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20)\n"
        "connection.sendall(b'GET ' + sys.argv[2].encode() + b' HTTP/1.1\\r\\n\\r\\n')\n"
        "print(connection.makefile('rb').read().decode())"
    )
    own = [sys.executable, "-I", "-c", program, str(port), target]
    assert "302 Found" in subprocess.run(own, capture_output=True, text=True, check=True).stdout
    # Without root's rights there is no second user to be had.
    is_other = os.geteuid() == 0
    others = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", "--"] if is_other else []
    said = subprocess.run([*others, *own], capture_output=True, text=True, check=True).stdout
    assert said.startswith("HTTP/1.1 403 Forbidden" if is_other else "HTTP/1.1 302 Found")
    assert ("X-Amz" in said) is not is_other


def test_a_connection_that_is_none_has_no_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        accepted, peer = listener.accept()
        with accepted:
            assert uid_of(peer, accepted.getsockname()) == os.geteuid()
            assert uid_of((peer[0], accepted.getsockname()[1]), accepted.getsockname()) is None


def test_a_storage_that_fails_is_told_in_a_line_and_logged(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StorageError):
        SignedUrlProxy(BucketLibrary("s3://media/p", EXTENSIONS, 5.0, tmp_path / "absent.sock")).address_of("clip.mp4")
    with Activator(tmp_path / "unit", store) as unit:
        made = SignedUrlProxy(BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path))
        address = made.address_of("clip.mp4")
    status, location, body = ask(address)
    made.close()
    assert (status, location) == (502, "")
    assert "sudo systemctl enable --now livekeep-storage.socket\n" in body
    assert "clip.mp4: cannot be read now: " in caplog.text


def test_bad_requests_do_no_harm(proxy: SignedUrlProxy) -> None:
    address = proxy.address_of("clip.mp4")
    port, target = parts_of(address)
    good = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    random = Random(1)
    bad = [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\0" * 100,
        b"GET / HTTP/9\r\n\r\n",
        b"x" * 100_000,
        b"GET http://x/ HTTP/1.1\r\n\r\n",
    ]
    bad += [bytes(random.randrange(256) for _ in range(random.randrange(1, 300))) + b"\r\n\r\n" for _ in range(40)]
    for _ in range(80):
        spoilt = bytearray(good)
        for _ in range(random.randrange(1, 6)):
            spoilt[random.randrange(len(spoilt) - 4)] = random.randrange(256)
        bad.append(bytes(spoilt))
    for raw in bad:
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.makefile("rb").read()
            except OSError as error:
                # It has hung up already.
                assert isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN
                continue
            assert answer.startswith(b"HTTP/1.1 ")
    assert ask(address)[0] == 302


def test_those_who_say_nothing_hold_up_nobody_for_long(proxy: SignedUrlProxy) -> None:
    address = proxy.address_of("clip.mp4")
    silent = [socket.create_connection(("127.0.0.1", parts_of(address)[0])) for _ in range(4)]
    assert ask(address)[0] == 302
    for connection in silent:
        # It still waits for this one's request.
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.close()


def test_more_at_once_than_are_served_at_once(proxy: SignedUrlProxy) -> None:
    address = proxy.address_of("clip.mp4")
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(ask(address)[0])) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [302] * 40


def test_it_closes(proxy: SignedUrlProxy) -> None:
    port, _target = parts_of(proxy.address_of("clip.mp4"))
    proxy.close()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_ffmpeg_comes_back_for_a_fresh_address_when_it_is_cut_off(tmp_path: Path, clip: Path) -> None:
    """As with a signed address that expired meanwhile: one whose answer was cut off is good no more."""
    stream = tmp_path / "clip.ts"
    subprocess.run(["ffmpeg", "-v", "error", "-i", clip, "-c", "copy", stream], check=True)
    content = stream.read_bytes()
    expired: list[str] = []
    starts: list[int] = []

    def decide(target: str, headers: dict[str, str]) -> Reply:
        signature = target.partition("X-Amz-Signature=")[2]
        if signature in expired:
            return Reply(403)
        start = int(headers.get("range", "bytes=0-")[6:].partition("-")[0])
        head = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", "Accept-Ranges": "bytes"}
        starts.append(start)
        if len(expired) == 2:
            return Reply(206, content[start:], head)
        expired.append(signature)
        # A signature's time has no parts of a second: the next one must be of another.
        return Reply(206, content[start:], head, cut_after_bytes=len(content) // 3, stall_seconds=1.2)

    with StandIn(decide) as server, Activator(tmp_path / "unit", server.store) as unit:
        made = SignedUrlProxy(BucketLibrary("s3://media/p", EXTENSIONS, 5.0, unit.path))
        options = ["-reconnect", "1", "-reconnect_streamed", "1", "-reconnect_on_network_error", "1", "-reconnect_delay_max", "5"]
        frames = frames_of(made.address_of("clip.ts"), *options)
        made.close()
    assert frames == SECONDS * RATE
    assert 0 < starts[1] < starts[2]


# A process of its own, since where the authorities stand is read as it begins.
READER = """
import json, sys, time
from pathlib import Path
from livekeep.air.worker import profile
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy
from livekeep.air.worker.feeder import Feeder
from livekeep.air.worker.ffmpeg import input_options
from livekeep.air.storage.library import BucketLibrary
from livekeep.air.worker.probe import probe
from livekeep.core.config import Channel
proxy = SignedUrlProxy(BucketLibrary("s3://media/p", (".mp4",), 5.0, Path(sys.argv[1])))
address = proxy.address_of("clip.mp4")
print(json.dumps(input_options(address)), flush=True)
if sys.argv[2] == "play":
    media, channel = probe(address, 20), Channel(width=128, height=72, preset="ultrafast")
    feeder, size = Feeder(address, "clip.mp4", profile.plan(media, channel), media, channel, "main"), 0
    while (block := feeder.read()) is not None:
        size += len(block)
        time.sleep(0.01)
    print(json.dumps([media.duration_seconds, size]), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def reader(folder: Path, store: Store, served: Certificates, trusted: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """READER behind TLS in front of `store`, where `trusted` is the one authority."""
    authorities = folder / "etc/ssl/certs/ca-certificates.crt"
    authorities.parent.mkdir(parents=True)
    authorities.write_bytes(trusted.read_bytes())
    host, _, port = store.host.partition(":")
    with encrypted((host, int(port)), served) as secure_port:
        secure = Store(f"https://localhost:{secure_port}", store.key_id, store.secret)
        with Activator(folder / "unit", secure) as unit:
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(LIBRARY), "LIVEKEEP_ROOT": str(folder)}
            with subprocess.Popen(
                [sys.executable, "-c", READER, unit.path, mode],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                yield process
                process.kill()


def refusal(program: str, options: list[str], *rest: str) -> str:
    """What ffmpeg or ffprobe says when it refuses to read, at once instead of after eleven seconds of new tries."""
    command = [program, "-v", "error", *options[:-2], "-reconnect_on_network_error", "0", *options[-2:], *rest]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode
    return said.stderr


def test_an_item_is_read_over_https(tmp_path: Path, store: Store) -> None:
    certificates = Certificates(tmp_path / "certificates")
    with reader(tmp_path, store, certificates, certificates.authority, "play") as process:
        assert process.stdout
        process.stdout.readline()
        duration, size = json.loads(process.stdout.readline())
    assert duration == SECONDS
    assert size > 10_000


@pytest.mark.parametrize("fault", ["authority", "name"])
def test_https_without_a_valid_certificate_is_not_read(tmp_path: Path, store: Store, fault: str) -> None:
    certificates = Certificates(tmp_path / "certificates", "elsewhere.example" if fault == "name" else "localhost")
    other = Certificates(tmp_path / "other")
    trusted = other.authority if fault == "authority" else certificates.authority
    with reader(tmp_path, store, certificates, trusted, "wait") as process:
        assert process.stdout
        options = json.loads(process.stdout.readline())
        address = options[-1]
        for program, rest in (("ffprobe", []), ("ffmpeg", ["-f", "null", "-"])):
            found = fault_of(refusal(program, options, *rest), "clip.mp4", address)
            assert found.error_type == "unreachable"
            assert str(found).startswith("clip.mp4: cannot be read: the storage has no valid certificate for its name: ")
        # Neither is it to be had by an address that leads to http.
        assert ask(address)[0] == 302
        assert ask(address.replace("/https/", "/http/"))[0] == 502


def test_an_address_of_http_never_leads_to_https(tmp_path: Path, store: Store) -> None:
    certificates = Certificates(tmp_path / "certificates")
    host, _, port = store.host.partition(":")
    with encrypted((host, int(port)), certificates) as secure_port:
        elsewhere = Reply(302, b"", {"Location": f"https://localhost:{secure_port}/media/p/clip.mp4"})
        with StandIn(lambda _target, _headers: elsewhere) as server:
            options = input_options(f"{server.store.endpoint_url}/http/token/clip.mp4")
            assert "not on whitelist" in refusal("ffprobe", options)


@pytest.mark.parametrize("name", [TEMPORARY_NAME, "a/b c.mp4", "%41.mp4", "+ .mp4", "a\\b.mp4", "..mp4"])
def test_a_name_survives_its_address(name: str) -> None:
    assert unquote(quote(name)) == name
    assert quote(name).isascii()
    assert not set(quote(name)) & set(" \"'<>?#\\")
    # No name has these addresses.
    assert (unquote("%ff"), unquote("%zz%4")) == ("\ufffd", "%zz%4")
