"""livekeep-web as a process: started by its socket, it ends without readers, admits authorised readers, and pushes changes."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from livekeep.core.state import PlayerState
from livekeep.record.store.writer import Writer
from livekeep.record.web.application import own_path
from livekeep.record.web.door import Names, client_address
from livekeep.record.web.password import FIRST_WAIT_SECONDS, FREE_FAILURES, Guesses, Password, group
from livekeep.system import password_hash
from tests.outside import wait_until
from tests.record.entries import Job
from tests.record.running_web import PASSWORD, Box, Running, ask
from tests.record.web_site import Site


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    made = Box(tmp_path_factory.mktemp("web"))
    Writer(made.record).close()
    made.write_usual_states()
    return made


@pytest.fixture(scope="module")
def running(box: Box) -> Iterator[Running]:
    with box.web() as result:
        yield result


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Box(tmp_path_factory.mktemp("guarded"))
    made.set_password()
    with made.web() as result:
        yield result


# The socket


def test_sigterm_ends_it_at_once_with_a_reader_connected(box: Box) -> None:
    with box.web() as result:

        async def read() -> int:
            async with websockets.connect(live(result, "/"), origin=origin(result)) as socket:
                await socket.send("{}")
                return await asyncio.to_thread(result.end)

        # uvicorn of trixie ends by the signal itself, which systemd accepts as well.
        assert asyncio.run(read()) in (0, -signal.SIGTERM)


def test_without_a_socket_it_says_what_to_start(tmp_path: Path) -> None:
    made = Box(tmp_path)
    with made.web(LISTEN_FDS="0") as result:
        assert result.process.wait(15) != 0
    assert "start livekeep-web.socket" in (tmp_path / "web.log").read_text()


def test_a_change_of_the_configuration_counts_at_once(tmp_path: Path) -> None:
    made = Box(tmp_path)
    with made.web() as result:
        assert result.ask("/login", Host="tv.example").status == 421
        made.configure('[web]\nnames = ["tv.example"]\n')
        wait_until("the new name", lambda: result.ask("/login", Host="tv.example:9879").status == 200)


# Access


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9879", "localhost.evil.example", "192.0.2.7", "a b", ""])
def test_another_name_is_not_answered_on_loopback(running: Running, host: str) -> None:
    assert running.ask("/", Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9879", "127.0.0.1:1", "[::1]:80", "x.localhost"])
def test_its_own_names_are_answered(running: Running, host: str) -> None:
    assert running.ask("/", Host=host).status == 200


def test_on_a_network_its_addresses_and_names_are_its_own() -> None:
    names = Names(is_local=False, configured=("TV.example.org",))
    known = ("192.0.2.7", "192.0.2.7:9879", "[2001:db8::1]:80", "localhost", "tv.example.org.")
    assert [host for host in known if not names.knows(host)] == []
    own = Names(is_local=False)
    short = socket.gethostname().lower().partition(".")[0]
    assert own.knows(short)
    assert own.knows(f"{short}.local:9879")
    assert not own.knows(f"{short}.evil.example")
    assert not own.knows("evil.example")


def test_each_answer_binds_the_browser(running: Running) -> None:
    for path in ("/", "/login", "/nothing", "/static/x/style.css", "/screen.png"):
        headers = running.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
    assert running.ask("/").headers["cache-control"] == "no-store"


def test_files_are_kept_by_the_browser_under_the_digest_of_their_content(running: Running) -> None:
    page = running.ask("/functions").text
    for name in ("style.css", "app.js", "chart.js", "icon.svg"):
        address = next(part for part in page.split('"') if part.startswith("/static/") and part.endswith(f"/{name}"))
        result = running.ask(address)
        assert result.status == 200
        assert "immutable" in result.headers["cache-control"]
        assert running.ask(address, If_None_Match=result.headers["etag"]).status == 304
        assert running.ask(address.replace("/static/", "/static/0")).status == 404
        assert len(running.ask(address, Accept_Encoding="gzip").raw) < len(result.raw) or name == "icon.svg"


@pytest.mark.parametrize("path", ["/", "/jobs?range=7d", "/function?function=a%26b", "/screen.png", "/report", "/reports/x.pdf"])
def test_without_the_password_nothing_is_shown(guarded: Running, path: str) -> None:
    result = guarded.ask(path)
    assert result.status in (303, 401)
    assert "verdict" not in result.text
    if result.status == 303:
        assert result.headers["location"].startswith("/login?next=%2F")


def test_who_knows_the_password_is_let_in_till_it_changes(tmp_path: Path) -> None:
    made = Box(tmp_path)
    made.set_password()
    with made.web() as result:
        answer = result.log_in()
        assert (answer.status, answer.headers["location"]) == (303, "/jobs")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert result.ask("/", Cookie=answer.cookie).status == 200
        assert result.ask("/", Cookie=answer.cookie[:-1] + "x").status == 303
        assert result.ask("/", Cookie="livekeep=" + "9" * 20 + ".x.").status == 303
        assert result.ask("/logout", "POST", b"", Cookie=answer.cookie, Origin=f"http://127.0.0.1:{result.port}").status == 303
    # An end on idle changes nothing, a new password ends all.
    with made.web() as again:
        assert again.ask("/", Cookie=answer.cookie).status == 200
    made.set_password("another-password")
    with made.web() as after:
        assert after.ask("/", Cookie=answer.cookie).status == 303
        assert after.log_in().status == 403


def test_a_link_in_a_mail_does_not_end_at_the_login_of_somebody_who_is_logged_in(guarded: Running) -> None:
    """The browser withholds a strict cookie on such a request, and sends it with the page's own request."""
    result = guarded.ask("/jobs/1", Sec_Fetch_Site="cross-site")
    assert result.status == 200
    assert 'http-equiv="refresh"' in result.text
    assert guarded.ask("/jobs/1", Sec_Fetch_Site="same-origin").status == 303


def test_a_page_of_somebody_else_cannot_log_in_or_out(guarded: Running) -> None:
    assert guarded.log_in(Origin="http://evil.example").status == 403
    assert guarded.ask("/logout", "POST", b"", Cookie=guarded.log_in().cookie, Origin="http://evil.example").status == 403


@pytest.mark.parametrize("given", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\r\nb"])
def test_a_login_leads_to_our_own_pages_alone(given: str) -> None:
    assert own_path(given) == "/"


def test_wrong_passwords_cost_time_and_an_end_when_idle_forgets_none(tmp_path: Path) -> None:
    made = Box(tmp_path)
    made.set_password()
    file = made.states / "web/wrong-passwords.json"
    with made.web() as result:
        assert [result.log_in("wrong").status for _ in range(FREE_FAILURES)] == [403] * FREE_FAILURES
    assert "Wrong password number 2 for the web pages from 127.0.0.1" in (tmp_path / "web.log").read_text()
    assert json.loads(file.read_text())["127.0.0.1"][0] == FREE_FAILURES
    # More failures than these, whose wait a busy machine may use up.
    file.write_text(json.dumps({"127.0.0.1": [FREE_FAILURES + 6, time.time()]}))
    with made.web() as again:
        refused = again.log_in("wrong")
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
        # The right one is not tried either: the wait reveals nothing.
        assert again.log_in().status == 429
    file.write_text(json.dumps({"127.0.0.1": [FREE_FAILURES, time.time() - FIRST_WAIT_SECONDS]}))
    with made.web() as after:
        assert after.log_in().status == 303


def test_waits_grow_for_each_address_and_a_little_for_all() -> None:
    guesses, now = Guesses(), 1000.0
    waits = []
    for _ in range(20):
        guesses.note_failure("192.0.2.1", now)
        waits.append(guesses.wait_seconds("192.0.2.1", now))
    assert waits[:6] == [0, 0, 2, 4, 8, 16]
    assert max(waits) == 900
    assert guesses.wait_seconds("192.0.2.2", now) == 0
    for number in range(40):
        guesses.note_failure(f"198.51.100.{number}", now)
    assert 0 < guesses.wait_seconds("192.0.2.2", now) <= 10
    assert guesses.wait_seconds("192.0.2.1", now + 4000) == 0


def test_an_ipv6_household_is_one_guesser() -> None:
    assert group("2001:db8:1:2:aaaa::1") == group("2001:db8:1:2:bbbb::2")
    assert group("2001:db8:1:3::1") != group("2001:db8:1:2::1")
    assert group("::ffff:192.0.2.1") == "192.0.2.1"


def test_without_a_password_another_machine_reads_how_to_set_one(tmp_path: Path) -> None:
    site = Site(tmp_path, is_local=False)

    def answer_to(client: str, **headers: str) -> tuple[int, str]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": "/login", "raw_path": b"/login", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"192.0.2.1")], "client": (client, 1), "server": ("192.0.2.1", 80), "scheme": "http",
        }  # fmt: skip
        assert client_address(scope) == client
        asyncio.run(site.door(scope, receive, send))
        return sent[0]["status"], sent[1]["body"].decode()

    status, text = answer_to("192.0.2.9")
    assert status == 403
    assert "sudo livekeep set-web-password" in text
    assert answer_to("127.0.0.1")[0] == 200
    assert answer_to("::ffff:127.0.0.1")[0] == 200
    site.close()


def test_a_stored_hash_that_is_none_lets_nobody_in() -> None:
    assert not Password("").knows("1.2.3", 0.0)
    assert not Password("").is_right("")
    assert not password_hash.matches("x", "scrypt$14$8$1$bad")
    password = Password(password_hash.make(PASSWORD))
    cookie = password.cookie(0.0)
    assert password.knows(cookie, 1.0)
    assert not password.knows(cookie, 31 * 86400.0)


# Updates


def live(result: Running, page: str) -> str:
    return f"ws://127.0.0.1:{result.port}/live?page={page}"


def origin(result: Running) -> Any:
    return f"http://127.0.0.1:{result.port}"


def stamps(result: Running, page: str) -> dict[str, str]:
    """The first message of a page of ours: the fragments that it has."""
    text = result.ask(page).text
    return {
        part.split('"')[1]: part.split('data-live="')[1].split('"')[0]
        for part in text.split("<div id")[1:]
        if "data-live" in part
    }


def test_what_changes_is_pushed_and_only_that(box: Box, running: Running) -> None:
    async def read() -> dict[str, Any]:
        async with websockets.connect(live(running, "/"), origin=origin(running)) as socket:
            await socket.send(json.dumps(stamps(running, "/")))
            writer = Writer(box.record)
            now = int(time.time() * 1_000_000)
            session = {"name": "pushed <b>", "began": now, "outcome": "running", "total": 8, "done": 2, "percent": 25}
            writer.ingest([Job().entry(lines=[["s", "s", session]], at=now)])
            writer.close()
            result: dict[str, Any] = {}
            while "pushed &lt;b&gt;" not in str(result.get("running_now")):
                result = json.loads(await asyncio.wait_for(socket.recv(), 15))
            return result

    assert "screen" not in asyncio.run(read())


def test_a_state_that_changes_is_pushed(box: Box, running: Running) -> None:
    async def read() -> str:
        async with websockets.connect(live(running, "/"), origin=origin(running)) as socket:
            await socket.send(json.dumps(stamps(running, "/")))
            box.write(PlayerState(picture="none", display_up=False))
            result = {}
            while "verdict_now" not in result:
                result = json.loads(await asyncio.wait_for(socket.recv(), 15))
            return str(result["verdict_now"]["html"])

    assert "Out of order" in asyncio.run(read())
    box.write_usual_states()


async def handshake(result: Running, given: Any) -> int:
    """The status of a request for updates."""
    try:
        async with websockets.connect(live(result, "/"), origin=given):
            return 101
    except websockets.exceptions.InvalidHandshake as error:
        return int(getattr(error, "status_code", 0) or error.response.status_code)  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [None, "http://evil.example", "null"])
def test_a_page_of_somebody_else_is_pushed_nothing(running: Running, given: Any) -> None:
    assert asyncio.run(handshake(running, given)) == 403


def test_without_the_password_nothing_is_pushed(guarded: Running) -> None:
    assert asyncio.run(handshake(guarded, origin(guarded))) == 403


@pytest.mark.parametrize("message", ["nonsense", "[1]", '{"a": 1', "x" * 100_000, ""])
def test_nonsense_ends_the_connection_and_nothing_else(running: Running, message: str) -> None:
    async def read() -> None:
        async with websockets.connect(live(running, "/"), origin=origin(running)) as socket:
            await socket.send(message)
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 15)

    asyncio.run(read())
    assert ask(running.port, "/").status == 200


def test_an_idle_reader_keeps_it_and_costs_next_to_nothing(tmp_path: Path) -> None:
    """A reader of a page without changes stays connected, and uses less than a twentieth of a processor."""
    made = Box(tmp_path)
    made.configure("[web]\nidle_seconds = 5\n")
    Writer(made.record).close()
    with made.web() as result:

        async def watch() -> float:
            async with websockets.connect(live(result, "/jobs"), origin=origin(result)) as socket:
                await socket.send(json.dumps(stamps(result, "/jobs")))
                await asyncio.sleep(0.5)
                before = cpu_seconds(result.process.pid)
                await asyncio.sleep(6)
                assert result.process.poll() is None
                return cpu_seconds(result.process.pid) - before

        assert asyncio.run(watch()) < 0.3


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_behind_a_server_with_tls_that_passes_the_name_on_it_works(tmp_path: Path) -> None:
    made = Box(tmp_path)
    made.configure('[web]\nnames = ["tv.example"]\n')
    made.set_password()
    with made.web() as result:
        in_front = {"Host": "tv.example", "Origin": "https://tv.example"}
        cookie = result.log_in(**in_front).cookie
        assert result.ask("/", Host="tv.example", Cookie=cookie).status == 200
