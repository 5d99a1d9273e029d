"""/screen.png: who gets it, when a new picture is taken, and what is said when none comes."""

import select
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from livekeep.exporter.picture import MOST_WAITING, PicturePage
from livekeep.system.screen_picture import AGAIN_SECONDS, FILE, PATIENCE_SECONDS, start_unit
from tests.exporter.served import Reply, Served, get, receive
from tests.outside import wait_until

TOKEN = "a-token-that-nobody-guesses"
GOOD = f"Authorization: Bearer {TOKEN}"
REQUEST = f"GET /screen.png HTTP/1.1\r\nHost: localhost\r\n{GOOD}\r\n\r\n".encode()
PNG = b"\x89PNG\r\n\x1a\n"


class Studio:
    """A camera whose unit is a script of the test's, behind the HTTP side. Each run leaves a line in `runs`."""

    def __init__(self, root: Path) -> None:
        self.root, self.script, self.runs = root, root / "start", root / "runs"
        self.picture = root / FILE
        self.picture.parent.mkdir()
        self.takes()
        self.later_seconds = 0.0
        """What has gone by for the page's deadline."""
        self.page = PicturePage(root, True, self.start, lambda: time.monotonic() + self.later_seconds)

    def start(self) -> str:
        subprocess.run([self.script], check=True)
        return "job"

    def does(self, *lines: str) -> None:
        self.script.write_text("\n".join(["#!/bin/sh", f"echo run >>{self.runs}", *lines, ""]))
        self.script.chmod(0o755)

    def takes(self, delay_seconds: float = 0.1) -> None:
        """The unit takes a picture: the file comes later than the start is answered, and as a whole."""
        new = self.root / "new.png"
        steps = f"sleep {delay_seconds}; printf '\\211PNG\\r\\n\\032\\n%s' $$ >{new}; mv {new} {self.picture}"
        self.does(f"({steps}) >/dev/null 2>&1 &")

    def count(self) -> int:
        return len(self.runs.read_text().splitlines()) if self.runs.exists() else 0


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "livekeep.screen-token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


@pytest.fixture
def studio(tmp_path: Path, credentials: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def gallery(studio: Studio) -> Iterator[Served]:
    with Served(studio.root, studio.page) as running:
        yield running
        # Those that still wait need not.
        studio.later_seconds = PATIENCE_SECONDS + 1


def ask(gallery: Served, *headers: str) -> Reply:
    return get(gallery.port, "/screen.png", *headers)


def test_a_picture_is_taken_and_given(gallery: Served, studio: Studio) -> None:
    reply = ask(gallery, GOOD)
    assert (reply.status, reply.headers["content-type"], reply.headers["cache-control"]) == (200, "image/png", "no-store")
    assert reply.body == studio.picture.read_bytes()
    assert reply.body.startswith(PNG)


def test_an_old_picture_is_not_given_as_new(gallery: Served, studio: Studio) -> None:
    studio.picture.write_bytes(PNG + b"yesterday")
    reply = ask(gallery, GOOD)
    assert reply.status == 200
    assert b"yesterday" not in reply.body


def test_no_new_picture_is_told_after_a_while(gallery: Served, studio: Studio) -> None:
    studio.picture.write_bytes(PNG + b"yesterday")
    studio.does("exit 0")
    with gallery.connect() as client:
        client.sendall(REQUEST)
        wait_until("the unit is started", lambda: studio.count() == 1)
        studio.later_seconds = PATIENCE_SECONDS + 1
        reply = receive(client)
    told = f"no picture came within {PATIENCE_SECONDS:g} s: journalctl -u livekeep-screen-picture".encode()
    assert (reply.status, told in reply.body) == (504, True)


def test_who_asks_at_once_waits_for_the_same_one(gallery: Served, studio: Studio) -> None:
    studio.takes(0.5)
    clients = [gallery.connect() for _ in range(MOST_WAITING)]
    for client in clients:
        client.sendall(REQUEST)
    replies = [receive(client) for client in clients]
    for client in clients:
        client.close()
    assert {reply.status for reply in replies} == {200}
    assert (len({reply.body for reply in replies}), studio.count()) == (1, 1)


def test_more_clients_than_may_wait_are_refused_and_other_pages_served(gallery: Served, studio: Studio) -> None:
    studio.does("exit 0")
    clients = [gallery.connect() for _ in range(MOST_WAITING + 1)]
    for client in clients:
        client.sendall(REQUEST)
    (refused, *_), _, _ = select.select(clients, [], [], PATIENCE_SECONDS)
    assert receive(refused).status == 503
    assert get(gallery.port, "/").status == 200
    studio.later_seconds = PATIENCE_SECONDS + 1
    assert {receive(client).status for client in clients if client is not refused} == {504}
    for client in clients:
        client.close()


def test_a_new_one_is_taken_later(gallery: Served, studio: Studio) -> None:
    first = ask(gallery, GOOD).body
    time.sleep(AGAIN_SECONDS + 0.1)
    assert ask(gallery, GOOD).body != first
    assert studio.count() == 2


def test_a_start_that_fails_is_reported_and_not_repeated_at_once(tmp_path: Path, credentials: Path) -> None:
    page = PicturePage(tmp_path, True, partial(start_unit, tmp_path / "absent"))
    with Served(tmp_path, page) as running:
        bodies = [(reply.status, reply.body) for reply in (ask(running, GOOD) for _ in range(3))]
    assert set(bodies) == {bodies[0]}
    assert (bodies[0][0], b"absent: No such file or directory; is dbus.service running?" in bodies[0][1]) == (502, True)


@pytest.mark.parametrize(
    "header",
    [
        "X: y",
        "Authorization: Bearer",
        f"Authorization: Basic {TOKEN}",
        f"Authorization: {TOKEN}",
        f"Authorization: Bearer {TOKEN}x",
        "Authorization: Bearer \u00fc",
    ],
)
def test_nobody_without_the_token_gets_it(gallery: Served, studio: Studio, header: str) -> None:
    reply = ask(gallery, header)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="livekeep"'
    assert TOKEN.encode() not in reply.body
    assert studio.count() == 0


@pytest.mark.parametrize("content", ["", " ", None])
def test_without_a_token_nobody_gets_it(gallery: Served, studio: Studio, credentials: Path, content: str | None) -> None:
    token = credentials / "livekeep.screen-token"
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
    for header in (GOOD, "Authorization: Bearer ", "X: y"):
        reply = ask(gallery, header)
        assert (reply.status, reply.body.startswith(b"no token is set: put one into ")) == (503, True)
    assert studio.count() == 0


def test_switched_off_it_is_not_there(tmp_path: Path, credentials: Path) -> None:
    with Served(tmp_path, PicturePage(tmp_path, False)) as served:
        reply = get(served.port, "/screen.png", GOOD)
    assert (reply.status, b"exporter.screen_picture = true" in reply.body) == (404, True)


@pytest.mark.parametrize("kind", ["link", "folder", "FIFO", "empty"])
def test_what_is_no_plain_file_is_not_given(gallery: Served, studio: Studio, kind: str) -> None:
    secret = studio.root / "secret"
    secret.write_text("nobody may see me")
    made = {
        "link": f"ln -s {secret} {studio.picture}",
        "folder": f"mkdir {studio.picture}",
        "FIFO": f"mkfifo {studio.picture}",
        "empty": f": >{studio.picture}",
    }
    studio.does(made[kind])
    reply = ask(gallery, GOOD)
    assert reply.status == 502
    assert b"nobody may see me" not in reply.body
