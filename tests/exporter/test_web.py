"""The HTTP side over real connections: good clients, slow ones, half-open ones, too many, nonsense."""

import os
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Iterator

import pytest

from livekeep.core.errors import TemporaryError
from livekeep.exporter.listener import listen
from livekeep.exporter.request import Request
from livekeep.exporter.web import ANSWER_SECONDS, IDLE_SECONDS, MOST_CONNECTIONS, REQUEST_SECONDS, Answer, Later, line
from tests.exporter.served import Reply, Served, descriptors, get, parse, receive, rest
from tests.outside import wait_until

BIG = bytes(range(256)) * 32768
GET = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Site:
    """What the tests ask for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.later: Answer | None = None

    def respond(self, request: Request) -> Answer | Later:
        self.asked.append(f"{request.method} {request.path}")
        match request.path:
            case "/small":
                return line(200, "small", ("X-Odd", "yes"))
            case "/big":
                return Answer(200, BIG)
            case "/file":
                return Answer(200, content_type="image/png", **self.opened(BIG))
            case "/later":
                return lambda: self.later
            case "/bug":
                raise ZeroDivisionError
            case "/later-bug":
                return lambda: Answer(200, str(1 // 0).encode())
        return line(404, "nothing")

    def opened(self, content: bytes) -> dict[str, int]:
        file, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108
        os.pwrite(file, content, 0)
        return {"file": file, "size": len(content)}


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def served(site: Site) -> Iterator[Served]:
    before = descriptors()
    with Served(site.respond) as running:
        yield running
    assert descriptors() == before, "something was not closed"


def is_ended(client: socket.socket) -> bool:
    """Whether the server has hung up, without waiting."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_an_answer(served: Served) -> None:
    reply = get(served.port, "/small")
    assert (reply.status, reply.body) == (200, b"small\n")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert (reply.headers["cache-control"], reply.headers["x-odd"]) == ("no-store", "yes")
    assert time.strptime(reply.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize("path", ["/small", "/big", "/file", "/nothing"])
def test_head_is_the_same_without_the_body(served: Served, path: str) -> None:
    told = get(served.port, path)
    reply = get(served.port, path, method="HEAD")
    assert (reply.status, reply.headers["content-length"]) == (told.status, told.headers["content-length"])
    assert reply.body == b""


@pytest.mark.parametrize("path", ["/big", "/file"])
def test_what_does_not_fit_into_the_socket_comes_whole(served: Served, path: str) -> None:
    with served.connect(receive_buffer=65536) as client:
        for _ in range(2):
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert receive(client).body == BIG


def test_a_connection_is_kept_and_requests_may_come_together(served: Served, site: Site) -> None:
    with served.connect() as client:
        client.sendall(GET)
        assert receive(client).headers["connection"] == "keep-alive"
        client.sendall(GET * 20 + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        replies = rest(client).split(b"HTTP/1.1 ")[1:]
    assert [parse(b"HTTP/1.1 " + reply).status for reply in replies] == [200] * 20 + [404]
    assert site.asked == ["GET /small"] * 21 + ["GET /nothing"]


def test_requests_that_come_together_are_answered_one_a_pass(served: Served, site: Site) -> None:
    """Else one client could hold up the watchdog."""
    with served.connect() as client:
        client.sendall(GET * 10)
        assert rest_of(client, 10) == [200] * 10


def rest_of(client: socket.socket, count: int) -> list[int]:
    got = b""
    while got.count(b"small\n") < count:
        got += client.recv(65536)
    return [parse(b"HTTP/1.1 " + reply).status for reply in got.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_an_old_client(served: Served, ending: bytes) -> None:
    reply = parse(served.ask(b"GET /small HTTP/1.0" + ending * 2))
    assert (reply.status, reply.headers["connection"], reply.body) == (200, "close", b"small\n")


def test_an_old_client_may_keep_the_connection(served: Served) -> None:
    with served.connect() as client:
        for _ in range(3):
            client.sendall(b"GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert receive(client).headers["connection"] == "keep-alive"


def test_a_request_may_come_in_pieces(served: Served) -> None:
    with served.connect() as client:
        for letter in GET:
            client.sendall(bytes((letter,)))
            time.sleep(0.002)
        assert receive(client).status == 200


def test_a_client_that_has_said_all_is_answered(served: Served) -> None:
    with served.connect() as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        assert parse(rest(client)).body == b"small\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /small HTTP/1.1\r\n\r\n", 400),
        (b"GET /small HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET /small HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 300_000, 431),
        (b"GET /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + b"y" * 300_000, 413),
        (b"GET /small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", 413),
        (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ],
)
def test_nonsense_is_refused_and_ends_the_connection(served: Served, site: Site, raw: bytes, status: int) -> None:
    reply = parse(served.ask(raw))
    assert (reply.status, reply.headers["connection"]) == (status, "close")
    assert reply.body.endswith(b"\n")
    assert site.asked == []
    assert get(served.port, "/small").status == 200


FOREIGN = (
    b"GET /small HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /small HTTP/1.1\r\nHost: evil.example:9876\r\n\r\n",
    b"GET /small HTTP/1.0\r\nHost: 127.0.0.1.evil.example\r\n\r\n",
    b"GET http://evil.example/small HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: evil.example\r\n\r\n",
)


@pytest.mark.parametrize("raw", FOREIGN)
def test_on_loopback_nobody_is_answered_who_means_another_name(served: Served, site: Site, raw: bytes) -> None:
    """A page whose name leads to 127.0.0.1 would read the answer in its visitor's browser."""
    reply = parse(served.ask(raw))
    assert (reply.status, reply.headers["connection"]) == (421, "close")
    assert b"localhost" in reply.body
    assert site.asked == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9876", "[::1]:9876", "box.localhost"])
def test_on_loopback_its_names_are_answered(served: Served, host: str) -> None:
    assert parse(served.ask(f"GET /small HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())).status == 200
    assert parse(served.ask(b"GET /small HTTP/1.0\r\n\r\n")).status == 200


def test_on_a_network_every_name_is_answered(site: Site) -> None:
    with Served(site.respond, address="0.0.0.0") as served:
        for raw in FOREIGN[:4]:
            assert parse(served.ask(raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))).status == 200


@pytest.mark.parametrize(
    ("beginning", "sentence"),
    [
        (bytes.fromhex("160301020001000001fc0303"), b"plain HTTP is spoken here, not HTTPS: the address begins with http://\n"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"this is no HTTP request\n"),
        (bytes.fromhex("0300002f2ae00000000000"), b"this is no HTTP request\n"),
        (b"GET /small\r\n", b"this is no HTTP request\n"),
    ],
    ids=["TLS", "SSH", "RDP", "HTTP/0.9"],
)
def test_another_protocol_is_refused_at_once(served: Served, site: Site, beginning: bytes, sentence: bytes) -> None:
    """Its client waits for an answer and says no more. No deadline of ours comes in this test."""
    with served.connect() as client:
        client.sendall(beginning)
        reply = receive(client)
        assert (reply.status, reply.body) == (400, sentence)
        # Nothing more comes: the client may hang up.
        assert client.recv(1) == b""
    assert site.asked == []


def test_a_request_may_begin_with_any_method(served: Served) -> None:
    """Byte by byte: what may become a request is waited for."""
    with served.connect() as client:
        for byte in b"\r\nGET /small HTTP/1.1\r\nHost: localhost\r\n\r\n":
            client.sendall(bytes((byte,)))
        assert receive(client).status == 200


def test_a_client_of_tls_learns_at_once_that_this_is_none(served: Served) -> None:
    """A real hello of TLS."""
    context = ssl.create_default_context()
    with served.connect() as client, pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number|record layer"):
        context.wrap_socket(client, server_hostname="localhost")


def test_a_body_of_another_method_ends_the_connection(served: Served) -> None:
    raw = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n" + b"y" * 200_000
    reply = parse(served.ask(raw))
    assert (reply.status, reply.headers["connection"]) == (404, "close")


@pytest.mark.parametrize("path", ["/bug", "/later-bug"])
def test_a_bug_is_answered_and_the_connection_lives_on(served: Served, path: str) -> None:
    with served.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reply = receive(client)
        assert (reply.status, b"journalctl -u livekeep-exporter" in reply.body) == (500, True)
        client.sendall(GET)
        assert receive(client).status == 200


def test_an_answer_that_takes_its_time_holds_up_nobody(served: Served, site: Site) -> None:
    with served.connect() as patient, served.connect() as gone:
        for client in (patient, gone):
            client.sendall(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET)
        wait_until("both have asked", lambda: site.asked.count("GET /later") == 2)
        reset(gone)
        assert get(served.port, "/small").status == 200
        assert served.due < time.monotonic() + 1, "it is looked after"
        site.later = line(200, "at last")
        assert receive_two(patient) == [b"at last\n", b"small\n"]


def receive_two(client: socket.socket) -> list[bytes]:
    got = b""
    while not got.endswith(b"small\n"):
        got += client.recv(65536)
    return [parse(b"HTTP/1.1 " + reply).body for reply in got.split(b"HTTP/1.1 ")[1:]]


def reset(client: socket.socket) -> None:
    """Hang up the hard way."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_who_hangs_up_in_the_middle_of_anything_is_forgotten(served: Served) -> None:
    for path in (b"/small", b"/big", b"/file", b"/later", b"/bug"):
        whole = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for sent in (whole[:1], whole[:-1], whole):
            client = served.connect(receive_buffer=4096)
            client.sendall(sent)
            reset(client)
    wait_until("all are forgotten", lambda: not served.web._connections)
    assert get(served.port, "/small").status == 200


def test_a_file_that_becomes_shorter_ends_the_connection(served: Served, site: Site) -> None:
    opened = site.opened(BIG)
    site.later = Answer(200, file=opened["file"], size=opened["size"] + 1)
    reply = parse(served.ask(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    assert reply.headers["content-length"] == str(len(BIG) + 1)
    assert reply.body == BIG


# Deadlines


def test_a_request_half_sent_is_dropped_in_time_and_a_kept_connection_later(served: Served) -> None:
    with served.connect() as idle, served.connect() as half, served.connect() as silent:
        idle.sendall(GET)
        assert receive(idle).status == 200
        half.sendall(GET[:20])
        wait_until("it has begun", lambda: served.due < time.monotonic() + REQUEST_SECONDS + 1)
        served.later_seconds = REQUEST_SECONDS - 2
        time.sleep(0.1)
        assert not is_ended(half)
        served.later_seconds = REQUEST_SECONDS + 0.5
        wait_until("the half request is dropped", lambda: is_ended(half))
        assert not is_ended(idle)
        assert not is_ended(silent)
        served.later_seconds = IDLE_SECONDS + 0.5
        wait_until("the idle ones are dropped", lambda: is_ended(idle) and is_ended(silent))
        assert served.due == float("inf"), "nothing is left to wait for"


def test_one_byte_after_the_other_does_not_prolong_a_request(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"G")
        wait_until("it has begun", lambda: served.due < time.monotonic() + REQUEST_SECONDS + 1)
        served.later_seconds = REQUEST_SECONDS - 2
        client.sendall(b"E")
        time.sleep(0.1)
        served.later_seconds = REQUEST_SECONDS + 0.5
        wait_until("it is dropped", lambda: is_ended(client))


@pytest.mark.parametrize("path", ["/big", "/file"])
def test_a_slow_reader_is_dropped_in_time(served: Served, path: str) -> None:
    with served.connect(receive_buffer=4096) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(1000)
        served.later_seconds = ANSWER_SECONDS - 2
        time.sleep(0.1)
        assert client.recv(1000)
        served.later_seconds = ANSWER_SECONDS + 0.5
        wait_until("it is forgotten", lambda: not served.web._connections)
        assert len(rest(client)) < len(BIG)


# Many


def test_too_many_connections_cost_the_one_that_was_silent_longest(served: Served) -> None:
    clients = [served.connect() for _ in range(MOST_CONNECTIONS)]
    wait_until("all are connected", lambda: len(served.web._connections) == MOST_CONNECTIONS)
    # The oldest of all has just been of use.
    clients[0].sendall(GET)
    assert receive(clients[0]).status == 200
    clients[2].sendall(GET[:10])
    late = [served.connect() for _ in range(2)]
    wait_until("room is made", lambda: is_ended(clients[1]) and is_ended(clients[2]))
    for client in (clients[0], clients[3], *late):
        client.settimeout(20)
        client.sendall(GET)
        assert receive(client).status == 200
    assert len(served.web._connections) == MOST_CONNECTIONS
    for client in clients + late:
        client.close()


def test_new_clients_are_served_while_all_places_are_taken(served: Served, site: Site) -> None:
    waiting = [served.connect() for _ in range(MOST_CONNECTIONS)]
    for client in waiting:
        client.sendall(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_until("all wait", lambda: len(site.asked) == MOST_CONNECTIONS)
    assert get(served.port, "/small").status == 200
    for client in waiting:
        client.close()


def test_many_clients_at_once(served: Served) -> None:
    replies: list[Reply] = []

    def ask() -> None:
        replies.extend(get(served.port, "/small") for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.body for reply in replies] == [b"small\n"] * 600


# Listening


def test_ipv6() -> None:
    with listen("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"


def test_all_networks_are_those_of_ipv4_too() -> None:
    with listen("::", 0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        listener.setblocking(True)
        accepted, where = listener.accept()
        accepted.close()
        assert where[0] == "::ffff:127.0.0.1"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_named(address: str) -> None:
    with listen(address, 0) as listener:
        port = listener.getsockname()[1]
        shown = f"[{address}]" if ":" in address else address
        with pytest.raises(TemporaryError) as refused:
            listen(address, port)
    assert str(refused.value) == (
        f"{shown}:{port}: cannot listen (Address already in use); another program holds the port: "
        f"ss -ltnp 'sport = :{port}'; or choose another exporter.port"
    )


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(TemporaryError) as refused:
        listen("192.0.2.1", 9877)
    assert str(refused.value) == (
        "192.0.2.1:9877: cannot listen (Cannot assign requested address); "
        "this machine does not have that address: ip address; or choose another exporter.address"
    )


def test_an_address_that_nobody_can_have_is_named() -> None:
    advice = "choose another exporter.address or exporter.port"
    with pytest.raises(TemporaryError, match=rf"^\[fe80::1\]:9877: cannot listen \(.*\); {advice}$"):
        listen("fe80::1", 9877)
