"""The resource use of calls, and the libraries whose requests and statements are recorded."""

import asyncio
import sqlite3
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record import instrument_requests, instrument_sqlite, track, track_performance
from livekeep.record.instrument.libraries import RecordedConnection, request_name, statement_name
from tests.record.journal_socket import JournalSocket, calls_of
from tests.record.test_instrument_functions import Recorded

KINDS = st.one_of(st.sampled_from(["function", "api", "database"]), st.text(min_size=1, max_size=20))


def burn(seconds: float) -> None:
    """Use CPU time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def as_function(seconds: float, kind: str, fails: bool) -> None:
    @track_performance(kind=kind, name="burning")
    def function() -> None:
        burn(seconds)
        assert not fails

    function()


def as_coroutine(seconds: float, kind: str, fails: bool) -> None:
    @track_performance(kind=kind, name="burning")
    async def coroutine() -> None:
        burn(seconds / 2)
        await asyncio.sleep(0.005)
        burn(seconds / 2)
        assert not fails

    async def beside() -> None:
        await asyncio.gather(coroutine(), others())

    async def others() -> None:
        """Work that does not belong to the coroutine."""
        for _ in range(3):
            burn(0.01)
            await asyncio.sleep(0)

    asyncio.run(beside())


def as_generator(seconds: float, kind: str, fails: bool) -> None:
    @track_performance(kind=kind, name="burning")
    def generator() -> Iterator[int]:
        burn(seconds / 2)
        yield 1
        burn(seconds / 2)
        assert not fails

    for _ in generator():
        burn(0.02)


def as_block(seconds: float, kind: str, fails: bool) -> None:
    with track("burning", kind=kind):
        burn(seconds)
        assert not fails


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    way=st.sampled_from([as_function, as_coroutine, as_generator, as_block]),
    seconds=st.floats(0.001, 0.02),
    kind=KINDS,
    fails=st.booleans(),
)
def test_property_universal_performance_tracking(way: Any, seconds: float, kind: str, fails: bool) -> None:
    with Recorded() as recorded:
        if fails:
            with pytest.raises(AssertionError):
                way(seconds, kind, fails)
        else:
            way(seconds, kind, fails)
    ((name, kind_told, call),) = calls_of(recorded.entries)
    assert (name, kind_told) == ("burning", kind.encode("utf-8", "backslashreplace").decode())
    assert call.outcome == ("failed" if fails else "succeeded")
    assert call.cpu is not None
    # Only its own CPU time; the kernel's accounting and the thread's clock differ slightly.
    assert seconds * 1e6 - 500 <= call.cpu < seconds * 1e6 + 10_000
    assert call.duration >= seconds * 1e6
    assert None not in (call.memory, call.read, call.written)
    assert min(call.memory or 0, call.read or 0, call.written or 0) >= 0


TAKES = """
    from livekeep.record import track_performance

    @track_performance
    def takes():
        return len(b"x" * 200_000_000)

    takes()
    takes()
"""


SPAWNS = """
    import subprocess, sys

    filled = b"x" * 500_000_000
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


@pytest.mark.parametrize("is_spawned_by_a_large_one", [False, True])
def test_memory_is_the_growth_of_the_peak(is_spawned_by_a_large_one: bool) -> None:
    """In a separate process: the tests' process had a peak before. exec(2) keeps the previous process's peak."""
    with JournalSocket() as journal:
        script = textwrap.dedent(TAKES)
        done = journal.run(SPAWNS, script) if is_spawned_by_a_large_one else journal.run(TAKES)
        assert done.returncode == 0, done.stderr
    first, second = (call.memory for _name, _kind, call in calls_of(journal.entries))
    assert first is not None
    assert first > 100_000_000
    assert second is not None
    assert second < 50_000_000


# requests


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.split("/")[1][:3])
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200/again")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as http:
        threading.Thread(target=http.serve_forever).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_requests_are_calls_of_the_api(server: str) -> None:
    with Recorded() as recorded, requests.Session() as session:
        assert instrument_requests(instrument_requests(session)) is session
        assert session.get(f"{server}/200/videos?key=geheim").text == "ok"
        assert session.get(f"{server}/404").status_code == 404
        assert session.get(f"{server}/302").url.endswith("/again")
        with pytest.raises(requests.ConnectionError):
            session.get("http://127.0.0.1:1/v3/channels")
    seen = [(name, kind, call.outcome, call.arguments) for name, kind, call in calls_of(recorded.entries)]
    assert seen == [
        ("GET 127.0.0.1/…/videos", "api", "succeeded", "status=200"),
        ("GET 127.0.0.1/…", "api", "failed", "status=404"),
        ("GET 127.0.0.1/…/again", "api", "succeeded", "status=200"),
        ("GET 127.0.0.1/…", "api", "succeeded", "status=200"),
        ("GET 127.0.0.1/v3/channels", "api", "failed", None),
    ]
    assert "geheim" not in str(recorded.entries)
    assert list(recorded.calls[1].error or ()) == ["HTTP 404", "", "HTTP 404"]
    assert recorded.calls[2].parent == recorded.calls[3].number


def test_the_name_of_a_request_stands_for_many() -> None:
    assert request_name("GET", "https://api.vimeo.com/videos/76979871?fields=uri") == "GET api.vimeo.com/videos/…"
    assert request_name("POST", "https://x.org/bot12:AbC/send") == "POST x.org/…/send"
    assert request_name("GET", "https://me:geheim@x.org/youtube/v3/videos") == "GET x.org/youtube/v3/videos"


# sqlite3


def use(connection: sqlite3.Connection) -> list[Any]:
    """Typical uses of a connection."""
    seen: list[Any] = []
    connection.row_factory = sqlite3.Row
    with connection:
        connection.execute("CREATE TABLE clips (number INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO clips VALUES (?, ?)", ((number, f"clip {number}") for number in range(10)))
    cursor = connection.cursor()
    seen.append(cursor.execute("SELECT * FROM clips WHERE number = ?", (3,)).fetchone()["name"])
    seen.append([tuple(row) for row in cursor.execute("SELECT * FROM clips WHERE number < 4")])
    seen.append([tuple(row) for row in cursor.execute("SELECT number FROM clips").fetchmany(3)])
    seen.append(cursor.execute("UPDATE clips SET name = 'geheim'").rowcount)
    connection.rollback()
    for wrong in ("SELECT nothing", "INSERT INTO clips VALUES (1, 'twice')"):
        try:
            connection.execute(wrong)
        except sqlite3.Error as error:
            seen.append((type(error), str(error)))
    try:
        with connection:
            connection.execute("DELETE FROM clips")
            {}["undone"]
    except KeyError:
        seen.append(connection.execute("SELECT count(*) FROM clips").fetchone()[0])
    connection.executescript("CREATE TABLE a (b); DROP TABLE a;")
    seen += [connection.total_changes, connection.in_transaction, "\n".join(connection.iterdump())]
    cursor.close()
    connection.close()
    return seen


def test_a_recorded_connection_does_what_a_connection_does(tmp_path: Path) -> None:
    bare = use(sqlite3.connect(tmp_path / "bare.db"))
    with Recorded() as recorded:
        assert use(instrument_sqlite(sqlite3.connect(tmp_path / "recorded.db"))) == bare
    calls = [(name, call.outcome) for name, kind, call in calls_of(recorded.entries) if kind == "database"]
    assert ("SELECT * FROM clips WHERE number = ?", "succeeded") in calls
    assert ("INSERT INTO clips VALUES (?, …)", "succeeded") in calls
    assert ("SELECT nothing", "failed") in calls
    assert [name for name, _outcome in calls].count("COMMIT") >= 1
    assert [name for name, _outcome in calls].count("ROLLBACK") == 2
    assert "geheim" not in str(recorded.entries)
    assert "twice" not in str(recorded.entries)


def test_a_query_s_time_is_that_of_its_rows_and_not_of_the_job_between_them() -> None:
    connection = instrument_sqlite(sqlite3.connect(":memory:"))
    assert instrument_sqlite(connection) is connection
    assert isinstance(connection, RecordedConnection)
    connection.create_function("wait", 0, lambda: threading.Event().wait(0.02))
    between = 0.0
    with Recorded() as recorded:
        began = time.perf_counter()
        for _ in connection.execute("SELECT wait() UNION ALL SELECT wait() UNION ALL SELECT wait()"):
            paused = time.perf_counter()
            threading.Event().wait(0.1)
            between += time.perf_counter() - paused
        took = time.perf_counter() - began
    (call,) = recorded.calls
    assert 60_000 <= call.duration <= (took - between) * 1_000_000


@given(st.text(max_size=300))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_no_text_breaks_a_statement_s_name(text: str) -> None:
    assert 0 < len(statement_name(text)) <= 200


def test_a_statement_s_name_stands_for_many() -> None:
    assert statement_name("INSERT  INTO t VALUES\n(1, 2.5, 'it''s', ?)  -- a comment") == "INSERT INTO t VALUES (?, …)"
    assert statement_name("SELECT a1 FROM t2 WHERE b = 0xff") == "SELECT a1 FROM t2 WHERE b = ?"
