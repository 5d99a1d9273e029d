"""The publishing ffmpeg against real servers: that it arrives, why it ends, and that nobody sees the key."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from livekeep.air.worker.ingest_address import Address, preset_of
from livekeep.air.worker.publisher import START_SECONDS, STOP_SECONDS, Publisher
from livekeep.core import channels
from livekeep.core.errors import ConfigError
from tests.air.ingest import Certificates, Ingest, Port, encrypted, ingest
from tests.air.sender import Sender
from tests.air.viewer import Viewer
from tests.outside import wait_until

KEY = "abcd-1234=odd#key:9876"
HANDSHAKE_BYTES = 1536


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    with ingest(tmp_path_factory.mktemp("ingest")) as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "livekeep")
    return caplog


@contextlib.contextmanager
def sending(url: str, key: str = KEY, **options: Path) -> Iterator[Sender]:
    sender = Sender(Publisher(url, key, "main", **options))
    try:
        yield sender
    finally:
        sender.close()


@contextlib.contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that treats each connection so."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = listening.accept()
                    kept.append(connection)
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"rtmp://127.0.0.1:{listening.getsockname()[1]}/live"
        listening.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


@contextlib.contextmanager
def swallowing() -> Iterator[str]:
    """The URL of a port whose queue is full, so that the kernel answers no more: as behind a firewall."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield f"rtmp://127.0.0.1:{listening.getsockname()[1]}/live"


def say_nothing(_connection: socket.socket) -> None:
    pass


def shake_hands(connection: socket.socket) -> None:
    """The server's side of RTMP's handshake: version, own time and random bytes, the other's ones back."""
    with connection.makefile("rb") as stream:
        greeting = stream.read(1 + HANDSHAKE_BYTES)
        connection.sendall(b"\3" + bytes(HANDSHAKE_BYTES) + greeting[1:])
        stream.read(HANDSHAKE_BYTES)


def shake_hands_and_close(connection: socket.socket) -> None:
    shake_hands(connection)
    connection.shutdown(socket.SHUT_RDWR)


def close(connection: socket.socket) -> None:
    connection.close()


def assert_hidden(sender: Sender, lines: pytest.LogCaptureFixture) -> None:
    assert sender.ended
    for text in (sender.ended.sentence, lines.text):
        assert KEY not in text
        assert "/live" not in text
    assert "://" not in sender.ended.sentence


def test_stream_arrives_and_leaves_in_good_order(server: Ingest, lines: pytest.LogCaptureFixture) -> None:
    with sending(server.url) as sender:
        sender.until("the server takes the stream", lambda: sender.publisher.is_publishing)
        sender.until("bytes are acknowledged", lambda: sender.arrival.on_air_seconds() > 1)
        assert server.received_bytes(KEY)
        assert sender.sample
        assert sender.sample.acknowledged_bytes > 100_000
        sender.publisher.stop(time.monotonic())
        assert sender.end().why == "stopped"
        assert sender.end().sentence.endswith("stopped cleanly")
        assert_hidden(sender, lines)
    assert server.publishes(KEY) == 1
    wait_until("the server let it go", lambda: server.received_bytes(KEY) is None)


def test_player_sees_it_without_gaps(server: Ingest) -> None:
    with sending(server.url, "watched") as sender:
        sender.until("the server takes the stream", lambda: sender.publisher.is_publishing)
        with Viewer(f"{server.url}/watched") as viewer:
            sender.until("four seconds at the player", lambda: len(viewer.pictures()) > 100)
        assert viewer.gaps().decoding == pytest.approx(0.04, abs=0.002)


def test_nobody_else_sees_key_or_application(server: Ingest) -> None:
    with sending(server.url) as sender:
        sender.until("the server takes the stream", lambda: sender.publisher.is_publishing)
        process = Path(f"/proc/{sender.publisher.pid}")
        arguments = (process / "cmdline").read_bytes()
        assert f"rtmp://127.0.0.1:{server.port}".encode() in arguments
        for secret in (KEY.encode(), b"live/"):
            assert secret not in arguments + (process / "environ").read_bytes()
        # What the key came through is empty now, and no file.
        opened = {entry: str(entry.readlink()) for entry in (process / "fd").iterdir()}
        assert not [target for target in opened.values() if "memfd" in target or "deleted" in target]
        for entry in [entry for entry, target in opened.items() if int(entry.name) > 2 and target.startswith("pipe:")]:
            descriptor = os.open(entry, os.O_RDONLY | os.O_NONBLOCK)
            # ffmpeg 7.1 has pipes of its own, open at both ends and empty.
            with contextlib.suppress(BlockingIOError):
                assert os.read(descriptor, 1000) == b""
            os.close(descriptor)


def test_without_key_the_path_names_the_stream(server: Ingest) -> None:
    with sending(f"{server.url}/in-the-path", "") as sender:
        sender.until("the server takes the stream", lambda: sender.publisher.is_publishing)
        wait_until("it came under that name", lambda: server.received_bytes("in-the-path") is not None)


def test_ipv6(tmp_path: Path) -> None:
    with ingest(tmp_path / "six", "::1") as server, sending(server.url) as sender:
        sender.until("bytes are acknowledged", lambda: sender.arrival.on_air_seconds() > 0.5)
        assert sender.publisher.address.shown == f"[::1]:{server.port}"


@pytest.mark.parametrize("call", ["publish", "connect"])
def test_server_that_refuses(server: Ingest, lines: pytest.LogCaptureFixture, call: str) -> None:
    server.refuse(call)
    try:
        with sending(server.url) as sender:
            assert sender.end().why == "refused"
            assert "check the key" in sender.end().sentence
            assert f"127.0.0.1:{server.port}" in sender.end().sentence
            assert_hidden(sender, lines)
    finally:
        server.accept(call)


def test_name_in_use_gives_the_words_of_the_server(server: Ingest, lines: pytest.LogCaptureFixture) -> None:
    with sending(server.url) as first, sending(server.url) as second:
        first.until("the server takes the first", lambda: first.publisher.is_publishing)
        second.end()
        assert second.end().why == "refused"
        assert '"Already publishing"' in second.end().sentence
        assert_hidden(second, lines)
        first.send(0.2)


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """The URL of a port where nobody listens."""
    port = Port("127.0.0.1")
    yield f"rtmp://127.0.0.1:{port.number}/live"
    port.close()


@pytest.mark.parametrize(
    ("server_of", "why", "sentence"),
    [
        (lambda: listener(shake_hands_and_close), "refused", "closed the connection before the stream began"),
        (lambda: listener(close), "unreachable", "does not answer as an ingest does"),
        (nobody, "unreachable", "cannot be connected to (Connection refused)"),
        (lambda: contextlib.nullcontext("rtmps://ingest.invalid/live"), "unreachable", "ingest.invalid:443 cannot be resolved"),
    ],
    ids=["closes after the handshake", "closes at once", "does not listen", "has an unknown name"],
)
def test_server_that_takes_no_stream(
    lines: pytest.LogCaptureFixture, server_of: Callable[[], AbstractContextManager[str]], why: str, sentence: str
) -> None:
    with server_of() as url, sending(url) as sender:
        assert sender.end().why == why
        assert sentence in sender.end().sentence
        assert_hidden(sender, lines)


def test_silent_servers_are_not_waited_for_without_end(lines: pytest.LogCaptureFixture) -> None:
    """All at once, since each takes its ten seconds."""
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(listener(say_nothing))
        urls = [
            silent,
            stack.enter_context(listener(shake_hands)),
            stack.enter_context(swallowing()),
            silent.replace("rtmp:", "rtmps:"),
        ]
        senders = [stack.enter_context(sending(url)) for url in urls]
        began = time.monotonic()
        while any(sender.ended is None for sender in senders):
            assert time.monotonic() - began < START_SECONDS + 20
            for sender in senders:
                if sender.ended is None:
                    sender.step()
            time.sleep(0.02)
        for sender in senders:
            assert sender.ended
            assert sender.ended.why == "unreachable", sender.ended
            assert_hidden(sender, lines)
        assert "Connection timed out" in str(senders[2].ended)


def test_start_that_takes_too_long_is_ended() -> None:
    with listener(say_nothing) as url, sending(url) as sender:
        sender.until("it is given something", lambda: sender.publisher.given_bytes)
        assert sender.publisher.poll(time.monotonic() + START_SECONDS - 15) is None
        sender.publisher.poll(time.monotonic() + START_SECONDS)
        assert sender.end().why == "unreachable"
        assert "in time" in sender.end().sentence


def test_killed_server_is_noticed_and_published_to_again(tmp_path: Path, lines: pytest.LogCaptureFixture) -> None:
    with ingest(tmp_path / "ingest") as server:
        with sending(server.url) as sender:
            sender.until("bytes are acknowledged", lambda: sender.arrival.on_air_seconds() > 0.5)
            server.kill()
            assert sender.end().why == "dropped"
            assert "ended the connection" in sender.end().sentence
            assert_hidden(sender, lines)
        server.start()
        with sending(server.url) as sender:
            sender.until("bytes are acknowledged again", lambda: sender.arrival.on_air_seconds() > 0.5)


def test_stop_that_takes_too_long_is_ended_by_force(tmp_path: Path) -> None:
    with ingest(tmp_path / "ingest") as server, sending(server.url) as sender:
        sender.until("bytes are acknowledged", lambda: sender.arrival.on_air_seconds() > 0.5)
        os.kill(sender.publisher.pid, signal.SIGSTOP)
        began = time.monotonic()
        sender.publisher.stop(began)
        assert sender.publisher.poll(began + STOP_SECONDS - 1) is None
        sender.publisher.poll(began + STOP_SECONDS)
        ended = sender.end()
        assert ended.why == "stopped"
        assert "by force" in ended.sentence


def test_what_is_no_stream_is_a_crash() -> None:
    publisher = Publisher("rtmp://127.0.0.1:9/live", KEY, "main")
    publisher.write(b"no FLV at all" * 100, time.monotonic())
    publisher.stop(time.monotonic())
    wait_until("it ends", lambda: publisher.poll(time.monotonic()))
    assert publisher.write(b"more", time.monotonic()) == 0


def test_certificate_is_checked(server: Ingest, certificates: Certificates) -> None:
    with (
        encrypted(("127.0.0.1", server.port), certificates) as port,
        sending(f"rtmps://localhost:{port}/live", "secure", authorities=certificates.authority) as sender,
    ):
        sender.until("bytes are acknowledged", lambda: sender.arrival.on_air_seconds() > 0.5)
        assert server.received_bytes("secure")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unknown", "has a certificate from an authority that this machine does not trust: put its certificate into "),
        ("self-made", "has a self-signed certificate: put it into /usr/local/share/ca-certificates "),
        ("expired", "has a certificate that has expired: if the clock is right (it says "),
        ("early", "has a certificate that is not valid yet: is the clock right (timedatectl; it says "),
        ("misnamed", "has a certificate for another name: is the address right"),
    ],
)
def test_a_certificate_that_is_refused_is_refused_for_a_reason(server: Ingest, tmp_path: Path, fault: str, told: str) -> None:
    years = {"expired": (2020, 2021), "early": (2090, 2099)}.get(fault, (2020, 2099))
    made = Certificates(tmp_path / "own", "elsewhere.invalid" if fault == "misnamed" else "localhost", *years)
    other = Certificates(tmp_path / "other")
    if fault == "self-made":
        made.vouch_for_themselves()
    trusted = other.authority if fault in ("unknown", "self-made") else made.authority
    with (
        encrypted(("127.0.0.1", server.port), made) as port,
        sending(f"rtmps://localhost:{port}/live", fault, authorities=trusted) as sender,
    ):
        assert sender.end().why == "unreachable"
        assert sender.end().sentence.startswith(f"localhost:{port} {told}")
    assert server.publishes(fault) == 0


@pytest.mark.parametrize(
    ("url", "shown", "application"),
    [
        ("rtmps://a.rtmps.youtube.com/live2", "a.rtmps.youtube.com:443", "live2"),
        ("rtmp://b.rtmp.youtube.com/live2?backup=1", "b.rtmp.youtube.com:1935", "live2?backup=1"),
        ("RTMP://[2001:db8::1]:1936/one/two/", "[2001:db8::1]:1936", "one/two"),
        ("rtmp://host", "host:1935", ""),
    ],
)
def test_address(url: str, shown: str, application: str) -> None:
    address = Address.parse(url)
    assert (address.shown, address.application) == (shown, application)


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("rtmps://a.rtmps.youtube.com/live2", True),
        ("rtmp://b.rtmp.youtube.com/live2?backup=1", True),
        ("RTMP://[2001:db8::1]:1936/one/two/", True),
        ("rtmp://host", True),
        ("rtmp://höst/live", True),
        ("rtmp://user:made-up@host/live", False),
        ("rtmp://made-up@host/live", False),
        ("rtmp://host?made-up", False),
        ("rtmp://host#made-up", False),
        ("rtmp://host:123456/made-up", False),
        ("http://host/made-up", False),
        ("rtmp://host/made-up\a", False),
        ("rtmp://host/made-up\nlive", False),
        (f"rtmp://host/made-up{'x' * 900}", False),
        ("rtmp://ho st/made-up", False),
    ],
    ids=lambda it: repr(it)[:40],
)
def test_the_configuration_takes_what_can_be_published_to(url: str, is_taken: bool) -> None:
    """Else a backup would be found wanting in the very moment that it is needed."""
    if is_taken:
        assert channels.decode({"ingest_urls": ["rtmp://host/live", url]}).ingest_urls[1] == url
        preset_of(Address.parse(url), KEY)
        return
    with pytest.raises(ConfigError) as refused:
        preset_of(Address.parse(url), KEY)
    with pytest.raises(ValueError, match="ingest_urls: must be a URL that begins with rtmp:") as error:
        channels.decode({"ingest_urls": ["rtmp://host/live", url]})
    assert "made-up" not in f"{refused.value} {error.value}"


def test_a_pass_of_the_highest_bit_rate_is_taken_at_once() -> None:
    """50 Mbit/s, every 20 ms, by an ffmpeg that does not read just now."""
    with listener(say_nothing) as url, sending(url) as sender:
        os.kill(sender.publisher.pid, signal.SIGSTOP)
        passes = [bytes(125_000)] * 5
        assert [sender.publisher.write(data, time.monotonic()) for data in passes] == [len(data) for data in passes]


@pytest.mark.parametrize("key", ["two\nlines", "x" * 901, "bell\a"])
def test_key_that_cannot_be_used(key: str) -> None:
    with pytest.raises(ConfigError, match="stream key") as error:
        preset_of(Address.parse("rtmp://host/live"), key)
    assert key not in str(error.value)
