"""The HTTP server over real connections: good clients, slow ones, half-open ones, too many, nonsense."""

import contextlib
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core.errors import TemporaryError
from livekeep.exporter.pages import Environ, Response, line
from livekeep.exporter.server import IDLE_SECONDS, LARGEST_HEAD_BYTES, MOST_CONNECTIONS, SLOW_SECONDS, THREADS, listen
from tests.exporter.served import Reply, Served, descriptors, get, parse, receive, rest
from tests.outside import wait_until

BIG = bytes(range(256)) * 32768
GET = b"GET /screen.png HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Site:
    """What the tests ask for; at /screen.png, with a query that says what."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, environ: Environ) -> Response:
        self.asked.append(environ["QUERY_STRING"])
        match environ["QUERY_STRING"]:
            case "big":
                return Response(200, BIG)
            case "file":
                file = tempfile.TemporaryFile()  # noqa: SIM115 – the server closes it
                os.pwrite(file.fileno(), BIG, 0)
                return Response(200, content_type="image/png", file=file, size=len(BIG))  # type: ignore[arg-type]
            case "later":
                assert self.go_on.wait(60)
            case "bug":
                raise ZeroDivisionError
        return line(200, "small", ("X-Odd", "yes"))


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def served(site: Site, tmp_path: Path) -> Iterator[Served]:
    before = descriptors()
    with Served(tmp_path, site) as running:
        yield running
        site.go_on.set()
    assert descriptors() <= before, "something was not closed"


def request(query: str) -> bytes:
    return f"GET /screen.png?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def is_ended(client: socket.socket) -> bool:
    """Whether the server has hung up, without waiting."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_response(served: Served) -> None:
    reply = get(served.port, "/screen.png")
    assert (reply.status, reply.body) == (200, b"small\n")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert (reply.headers["cache-control"], reply.headers["x-odd"]) == ("no-store", "yes")
    assert time.strptime(reply.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
    assert "server" not in reply.headers


@pytest.mark.parametrize("path", ["/screen.png", "/screen.png?big", "/screen.png?file", "/nothing", "/metrics"])
def test_head_is_the_same_without_the_body(served: Served, path: str) -> None:
    whole = get(served.port, path)
    reply = get(served.port, path, method="HEAD")
    assert (reply.status, reply.headers["content-length"]) == (whole.status, whole.headers["content-length"])
    assert reply.body == b""


@pytest.mark.parametrize("query", ["big", "file"])
def test_what_does_not_fit_into_the_socket_comes_whole(served: Served, query: str) -> None:
    with served.connect(receive_buffer=65536) as client:
        for _ in range(2):
            client.sendall(request(query))
            assert receive(client).body == BIG


def test_a_connection_is_kept(served: Served, site: Site) -> None:
    with served.connect() as client:
        for _ in range(20):
            client.sendall(GET)
            assert receive(client).status == 200
    assert len(site.asked) == 20


def test_of_requests_that_come_together_the_first_is_answered(served: Served, site: Site) -> None:
    """The client sends the others again."""
    replies = served.ask(GET * 20).split(b"HTTP/1.1 ")[1:]
    assert [parse(b"HTTP/1.1 " + reply).headers["connection"] for reply in replies] == ["close"]
    assert len(site.asked) == 1


def test_an_old_client(served: Served) -> None:
    reply = parse(served.ask(b"GET /screen.png HTTP/1.0\r\n\r\n"))
    assert (reply.status, reply.headers["connection"], reply.body) == (200, "close", b"small\n")


def test_a_request_may_come_in_pieces(served: Served) -> None:
    with served.connect() as client:
        for letter in GET:
            client.sendall(bytes((letter,)))
            time.sleep(0.002)
        assert receive(client).status == 200


def test_a_client_that_has_sent_all_is_answered(served: Served) -> None:
    with served.connect() as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        assert parse(rest(client)).body == b"small\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"get /screen.png HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /screen.png HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /screen.png HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n", 400),
        (b"GET /" + b"x" * (LARGEST_HEAD_BYTES + 1) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET /screen.png HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 300_000, 431),
        (b"GET /screen.png HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + b"y" * 300_000, 413),
        (b"GET /screen.png HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_nonsense_is_refused_and_ends_the_connection(served: Served, site: Site, raw: bytes, status: int) -> None:
    with served.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(raw)
        reply = parse(rest(client))
    # To waitress 2.1 a first line that is none is a request for nothing.
    assert (reply.status in (status, 404), reply.headers["connection"]) == (True, "close")
    assert site.asked == []
    assert get(served.port, "/screen.png").status == 200


FOREIGN = (
    b"GET /screen.png HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /screen.png HTTP/1.1\r\nHost: evil.example:9876\r\n\r\n",
    b"GET /screen.png HTTP/1.0\r\nHost: 127.0.0.1.evil.example\r\n\r\n",
    b"POST /screen.png HTTP/1.1\r\nHost: evil.example\r\n\r\n",
)


def closing(raw: bytes) -> bytes:
    return raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("raw", FOREIGN)
def test_on_loopback_no_client_is_answered_that_means_another_name(served: Served, site: Site, raw: bytes) -> None:
    """A page whose name leads to 127.0.0.1 would read the response in its visitor's browser."""
    reply = parse(served.ask(closing(raw)))
    assert (reply.status, b"localhost" in reply.body) == (421, True)
    assert site.asked == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9876", "[::1]:9876", "box.localhost"])
def test_on_loopback_its_names_are_answered(served: Served, host: str) -> None:
    raw = f"GET /screen.png HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert parse(served.ask(raw.encode())).status == 200
    assert parse(served.ask(b"GET /screen.png HTTP/1.0\r\n\r\n")).status == 200


def test_on_a_network_every_name_is_answered(site: Site, tmp_path: Path) -> None:
    with Served(tmp_path, site, "0.0.0.0") as served:
        for raw in FOREIGN[:3]:
            assert parse(served.ask(closing(raw))).status == 200


def test_a_bug_is_answered_and_the_connection_lives_on(served: Served) -> None:
    with served.connect() as client:
        client.sendall(request("bug"))
        reply = receive(client)
        assert (reply.status, b"journalctl -u livekeep-exporter" in reply.body) == (500, True)
        client.sendall(GET)
        assert receive(client).status == 200


def reset(client: socket.socket) -> None:
    """Hang up the hard way."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_clients_that_hang_up_in_the_middle_of_anything_are_forgotten(served: Served, site: Site) -> None:
    for query in ("small", "big", "file", "bug", "later"):
        whole = request(query)
        for sent in (whole[:1], whole[:-1], whole):
            client = served.connect(receive_buffer=4096)
            client.sendall(sent)
            reset(client)
    site.go_on.set()
    served.wait_for_connections(0)
    assert get(served.port, "/screen.png").status == 200


# Deadlines


def test_a_slow_request_is_dropped_in_time_and_a_kept_connection_later(served: Served) -> None:
    """One byte after the other does not prolong it."""
    with served.connect() as idle, served.connect() as half, served.connect() as silent:
        idle.sendall(GET)
        assert receive(idle).status == 200
        half.sendall(GET[:20])
        wait_until("half a request is there", lambda: any(it.request for it in served.server.active_channels.values()))
        served.clean_up()
        half.sendall(GET[20:21])
        served.clean_up(SLOW_SECONDS - 2)
        assert not is_ended(half)
        served.clean_up(SLOW_SECONDS + 1)
        wait_until("the half request is dropped", lambda: is_ended(half))
        assert not is_ended(idle)
        assert not is_ended(silent)
        served.clean_up(IDLE_SECONDS + 1)
        wait_until("the idle ones are dropped", lambda: is_ended(idle) and is_ended(silent))


def test_a_connection_that_has_been_slow_once_lives_on(served: Served) -> None:
    with served.connect() as client:
        for later in (0.0, SLOW_SECONDS + 1):
            client.sendall(GET[:20])
            wait_until("half a request is there", lambda: any(it.request for it in served.server.active_channels.values()))
            served.clean_up(later)
            client.sendall(GET[20:])
            assert receive(client).status == 200
            wait_until("it is idle", lambda: not any(it.is_between() for it in served.server.active_channels.values()))
            served.clean_up(later)


@pytest.mark.parametrize("query", ["big", "file"])
def test_a_slow_reader_is_dropped_in_time(served: Served, query: str) -> None:
    with served.connect(receive_buffer=4096) as client:
        client.sendall(request(query))
        wait_until("it is written", lambda: any(it.total_outbufs_len > 10**6 for it in served.server.active_channels.values()))
        assert client.recv(1000)
        served.clean_up()
        served.clean_up(SLOW_SECONDS - 2)
        assert client.recv(1000)
        served.clean_up(SLOW_SECONDS + 1)
        served.wait_for_connections(0)
        assert len(rest(client)) < len(BIG)


# Many


def test_too_many_connections_cost_the_one_that_was_silent_longest(served: Served) -> None:
    clients = [served.connect() for _ in range(MOST_CONNECTIONS)]
    served.wait_for_connections(MOST_CONNECTIONS)
    # The oldest of all has just been of use.
    clients[0].sendall(GET)
    assert receive(clients[0]).status == 200
    late = [served.connect() for _ in range(2)]
    wait_until("room is made", lambda: is_ended(clients[1]) and is_ended(clients[2]))
    for client in (clients[0], clients[3], *late):
        client.settimeout(20)
        client.sendall(GET)
        assert receive(client).status == 200
    assert len(served.server.active_channels) == MOST_CONNECTIONS
    for client in clients + late:
        client.close()


def test_pages_that_wait_leave_a_thread_for_others(served: Served, site: Site) -> None:
    waiting = [served.connect() for _ in range(THREADS - 1)]
    for client in waiting:
        client.sendall(request("later"))
    wait_until("all wait", lambda: len(site.asked) == THREADS - 1)
    assert get(served.port, "/").status == 200
    site.go_on.set()
    assert [receive(client).status for client in waiting] == [200] * len(waiting)
    for client in waiting:
        client.close()


def test_many_clients_at_once(served: Served) -> None:
    replies: list[Reply] = []

    def ask() -> None:
        replies.extend(get(served.port, "/screen.png") for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.body for reply in replies] == [b"small\n"] * 600


# Listening


def test_all_networks_are_those_of_ipv4_too() -> None:
    with listen("::", 0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        listener.setblocking(True)
        accepted, where = listener.accept()
        accepted.close()
        assert where[0] == "::ffff:127.0.0.1"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "192.0.2.1",
            r"Cannot assign requested address\); this machine does not have that address: ip address; or choose another",
        ),
        ("fe80::1", r".*\); choose another exporter.address or exporter.port"),
    ],
)
def test_an_address_that_cannot_be_is_named(address: str, sentence: str) -> None:
    with pytest.raises(TemporaryError, match=rf"{address}\]?:9877: cannot listen \({sentence}"):
        listen(address, 9877)
