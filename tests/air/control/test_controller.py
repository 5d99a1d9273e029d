"""The controller as a process: its socket, its token, its end when idle, and invalid requests."""

import asyncio
import contextlib
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from starlette.responses import JSONResponse

from livekeep.air.control.api_middleware import LARGEST_BYTES, ApiEntrance, ApiProtocol, Guard
from livekeep.air.control.main import read_token
from livekeep.system.http_server import Server
from tests.air.running_controller import CONFIG, TOKEN, Machine, Running, ask, listener, machine
from tests.outside import PATIENCE_SECONDS, NotifySocket, wait_until


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("controller")) as made:
        yield made


@pytest.fixture(scope="module")
def running(at: Machine) -> Iterator[Running]:
    with at.controller() as found:
        yield found


def raw(port: int, data: bytes, seconds: float = PATIENCE_SECONDS) -> bytes:
    """What comes back for bytes as they are, till the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(data)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                found += part
        return found


# The token


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "ä" * 26])
def test_nobody_gets_in_without_the_token(running: Running, token: str | None) -> None:
    for method, path in (("GET", "/streams/status"), ("POST", "/streams/start"), ("PUT", "/channels/x"), ("GET", "/nothing")):
        refused = running.ask(method, path, {} if method != "GET" else None, token=token)
        assert (refused.status, refused.error["type"], refused.headers["www-authenticate"]) == (401, "no-token", "Bearer")
    assert set(running.ask("GET", "/health", token=token).document) == {"status", "version"}


def test_the_token_is_a_bearer(running: Running) -> None:
    assert running.ask("GET", "/channels", token=None, Authorization=f"bearer  {TOKEN}").status == 200
    assert running.ask("GET", "/channels", token=None, Authorization=f"Basic {TOKEN}").status == 401


@pytest.mark.parametrize("content", ["", "short"])
def test_without_a_usable_token_the_message_says_how(at: Machine, content: str) -> None:
    with at.token(content), at.controller() as found:
        for given in ("", content, "Bearer"):
            refused = found.ask("GET", "/streams/status", token=given)
            assert refused.status == 401
            assert "set-api-token" in refused.error["message"]
        assert found.ask("GET", "/health", token=None).status == 200
    assert "set-api-token" in at.log.read_text()


def test_what_a_token_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    def token_from(content: bytes) -> tuple[str, str]:
        (tmp_path / "livekeep.api-token").write_bytes(content)
        return read_token()

    assert read_token() == ("", ""), "there is none"
    assert token_from(b" abcdefghijklmnop\n") == ("abcdefghijklmnop", "")
    assert token_from("\ufeff“abcdefghijklmnop”\n".encode()) == ("abcdefghijklmnop", ""), "as editors and copying leave it"
    assert token_from(b" ") == ("", "")
    for wrong in (b"short", b"two words that are long", b"\xff" * 20):
        token, fault = token_from(wrong)
        assert not token
        assert "set-api-token" in fault
        assert "words" not in fault.replace("one word", "")


# Request ids and the log


def test_request_ids_come_back_and_stand_in_the_journal(at: Machine, running: Running) -> None:
    given = running.ask("POST", "/streams/start", {"channel": "nobody"}, X_Request_ID="from.the-client_7")
    assert given.headers["x-request-id"] == given.document["request_id"] == "from.the-client_7"
    line = "<6>POST /streams/start: 404 in "

    def lines() -> list[str]:
        return [found for found in at.log.read_text().splitlines() if found.startswith(line)]

    wait_until("its line in the journal", lambda: any(found.endswith(" ms [from.the-client_7]") for found in lines()))
    ids = {running.ask("GET", "/health", X_Request_ID=wrong).headers["x-request-id"] for wrong in ("", "a b", "x" * 129, "é")}
    assert len(ids) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)


def test_paths_cannot_forge_log_lines(at: Machine, running: Running) -> None:
    assert running.ask("GET", "/a%0A%3C3%3Eforged?token=secret-in-a-query").status == 404
    wait_until("its line in the journal", lambda: "<6>GET /a\\n<3>forged: 404" in at.log.read_text())
    log = at.log.read_text()
    assert "\n<3>forged" not in log
    assert "secret-in-a-query" not in log


# Requests that are no good


def test_bodies_have_a_size(running: Running) -> None:
    for size in (LARGEST_BYTES + 1, 20 * LARGEST_BYTES):
        refused = running.ask("POST", "/streams/start", b" " * size)
        assert (refused.status, refused.error["type"]) == (413, "too-large")
    padded = b'{"channel": "nobody"' + b" " * (LARGEST_BYTES - 21) + b"}"
    assert running.ask("POST", "/streams/start", padded).status == 404


def test_bodies_are_json(running: Running) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"):
        refused = running.ask("POST", "/streams/start", b"{}", Content_Type=kind)
        assert (refused.status, refused.error["type"]) == (415, "no-json")
    taken = running.ask("POST", "/streams/start", b'{"channel": "nobody"}', Content_Type="application/json; charset=utf-8")
    assert taken.status == 404


@pytest.mark.parametrize("data", [b"\0\1\2\3\r\n\r\n", b"GET / FTP/1.1\r\n\r\n", b"GET\r\n\r\n", b"A" * 200_000])
def test_what_is_no_request_gets_an_error_of_ours(running: Running, data: bytes) -> None:
    head, _, body = raw(running.port, data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b'"type": "invalid"' in body
    assert running.ask("GET", "/health").status == 200


@pytest.mark.parametrize("path", ["/health", "/streams/status", "/openapi.json"])
def test_who_means_another_name_is_not_answered(running: Running, path: str) -> None:
    """A page whose name leads to 127.0.0.1, in the browser of somebody on this machine."""
    for host in ("evil.example", "evil.example:9878", "127.0.0.1.evil.example"):
        refused = running.ask("GET", path, Host=host)
        assert (refused.status, refused.error["type"]) == (421, "wrong-host")
    for host in ("localhost", "127.0.0.1:9878", "[::1]:9878"):
        assert running.ask("GET", path, Host=host).status == 200


def test_odd_requests_are_answered(running: Running) -> None:
    for lines in (
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        found = raw(running.port, lines)
        assert found.startswith(b"HTTP/1.1 200 "), found
        assert b"connection: close" in found.lower()
        assert found.count(b"HTTP/1.1 ") == 1


def test_slow_clients_and_those_that_go_away_hold_up_nobody(at: Machine, running: Running) -> None:
    with contextlib.ExitStack() as stack:
        for data in (b"", b"GET /hea", b"POST /streams/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"):
            for _ in range(20):
                slow = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), PATIENCE_SECONDS))
                slow.sendall(data)
            with socket.create_connection(("127.0.0.1", running.port), PATIENCE_SECONDS) as gone:
                gone.sendall(data)
        assert running.ask("GET", "/health").status == 200
        # The last of them began its body and gets a response; the silent ones are cut off.
        assert slow.recv(12) == b"HTTP/1.1 408"
        connections = f"/proc/{running.process.pid}/fd"
        wait_until("the silent ones are gone", lambda: len(list(Path(connections).iterdir())) < 25)
    assert "bug in" not in at.log.read_text()


def test_cors_admits_the_configured_pages_only(at: Machine, running: Running) -> None:
    found = running.ask("GET", "/health", Origin="https://page.example")
    assert not [name for name in found.headers if name.startswith("access-control")], "off by default"
    with at.configured('[controller]\ncors_origins = ["https://page.example/"]\n' + CONFIG), at.controller() as allowing:
        asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "authorization"}
        flight = allowing.ask("OPTIONS", "/channels/main", token=None, Origin="https://page.example", **asked)
        assert (flight.status, flight.headers["access-control-allow-origin"]) == (200, "https://page.example")
        refused = allowing.ask("GET", "/streams/status", token=None, Origin="https://page.example")
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://page.example")
        other = allowing.ask("GET", "/health", Origin="https://other.example")
        assert "access-control-allow-origin" not in other.headers


# systemd


def test_systemd_away_is_said_and_systemd_back_is_found(at: Machine, running: Running) -> None:
    assert running.ask("GET", "/streams/status").status == 200
    at.stop_systemd()
    assert running.ask("GET", "/streams/status").status == 503
    at.bus.stop()
    down = running.ask("GET", "/health", token=None)
    assert (down.status, down.document["status"]) == (503, "down")
    refused = running.ask("POST", "/streams/start")
    assert (refused.status, refused.error["type"]) == (503, "systemd")
    at.bus.start()
    at.start_systemd()
    assert running.ask("GET", "/streams/status").status == 200
    assert running.ask("GET", "/channels").status == 200


def test_it_notifies_systemd_and_ends_during_a_request(at: Machine, tmp_path: Path) -> None:
    with NotifySocket(tmp_path / "notify") as systemd, at.controller(NOTIFY_SOCKET=str(systemd.path)) as found:
        ready = systemd.wait_for("READY=1")
        systemd.wait_for("WATCHDOG=1", after=ready + 1)
        with socket.create_connection(("127.0.0.1", found.port), PATIENCE_SECONDS) as half_sent:
            half_sent.sendall(b"POST /streams/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            assert found.ask("GET", "/health").status == 200
            # uvicorn of trixie ends by the signal itself, which systemd accepts too.
            assert found.end() in (0, -signal.SIGTERM)
        systemd.wait_for("STOPPING=1")


def test_without_a_socket_it_says_what_to_start(at: Machine) -> None:
    before = len(at.log.read_text())
    with at.controller(LISTEN_FDS="0") as found:
        assert found.process.wait(PATIENCE_SECONDS) == 1
    assert "start livekeep-controller.socket" in at.log.read_text()[before:]


def test_a_faulty_configuration_keeps_nobody_out(at: Machine) -> None:
    with at.configured("[channels.main]\nwidth = 7\n"), at.controller() as found:
        assert found.ask("GET", "/health").document["status"] == "degraded"
        (status,) = found.ask("GET", "/streams/status").document["channels"]
        assert any("channels.main.width" in problem for problem in status["problems"])


def test_no_request_is_lost_when_it_ends() -> None:
    """Hundreds of requests from several clients around dozens of idle ends, on one socket, as systemd holds it."""
    over = threading.Event()
    ends = []

    def activate() -> None:
        while not over.is_set():
            if select.select([listening], [], [], 0.02)[0]:
                server = Server(ApiEntrance(Guard(JSONResponse({}), "")), 0.05, lambda text: None, ApiProtocol)
                asyncio.run(server.serve(sockets=[listening.dup()]))
                ends.append(time.monotonic())

    def client(seed: int) -> list[int]:
        random = Random(seed)
        statuses = []
        for _ in range(16):
            statuses.append(ask(port, "GET", "/health").status)
            time.sleep(random.uniform(0.1, 0.35))
        return statuses

    with listener() as listening:
        port = listening.getsockname()[1]
        systemd = threading.Thread(target=activate)
        systemd.start()
        statuses: list[int] = []
        clients = [threading.Thread(target=lambda seed=seed: statuses.extend(client(seed))) for seed in range(3)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        over.set()
        systemd.join()
    assert statuses == [200] * 48
    assert len(ends) > 3


def test_its_argv_and_environment_hold_no_token(running: Running) -> None:
    assert running.ask("GET", "/health").status == 200
    folder = Path(f"/proc/{running.process.pid}")
    for name in ("cmdline", "environ"):
        assert TOKEN.encode() not in (folder / name).read_bytes()
