"""A channel from a bucket: who holds the keys, the errors when the store or the keys fail, and the recovery.

The tests of a room build on each other in order. The store is rclone, which checks each signature.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from livekeep.core import events
from tests.machine import air_words as words
from tests.machine.air_store import BUCKET, CLIPS, KEY_ID, SECRET, AirStore
from tests.machine.channel import CREDENTIALS, STORAGE, STORAGE_SOCKET, ChannelRoom, worker
from tests.machine.room import lines_with

CLIPS_KEY, LONG_KEY = "clips-5a0c-made-up-key", "long-8b3d-made-up-key"
WRONG = "made/up+secret-of-another"
SIGNED = ("X-Amz-Signature=", "X-Amz-Credential=", SECRET, WRONG)
IDLE_SECONDS = 60.0
"""Three times the unit's wait."""


class Bucket:
    """The room with its store, and two channels that play from it: "clips" and "long"."""

    def __init__(self, room: ChannelRoom, store: AirStore) -> None:
        self.room, self.store = room, store

    def give_keys(self, secret: str = SECRET) -> str:
        """Store keys like an operator; return the output."""
        command = ["livekeep", "air", "set-storage-keys"]
        done = self.room.machine.run(command, input=f"{KEY_ID}\n{secret}\n")
        return done.stdout + done.stderr

    def shows(self, picture: str, channel: str = "long") -> None:
        self.room.until(f"{channel} shows the {picture}", lambda: self.room.state(channel).get("picture") == picture, 60)

    def problem(self, channel: str = "long") -> str:
        """The worker's message on its media."""
        return str(self.room.state(channel).get("storage_problem", ""))


@pytest.fixture(scope="module")
def bucket(channel_room: ChannelRoom) -> Iterator[Bucket]:
    room = channel_room
    with AirStore(room.network) as store:
        ours = room.settings()["channels.main"]
        room.write_config(
            {
                "storage": {"endpoint_url": store.base_url, "timeout_seconds": 5.0},
                "channels.clips": {**ours, "media": f"s3://{BUCKET}/clips"},
                "channels.long": {**ours, "media": f"s3://{BUCKET}/long/"},
            }
        )
        room.store("livekeep.stream-key.clips", CLIPS_KEY)
        room.store("livekeep.stream-key.long", LONG_KEY)
        yield Bucket(room, store)
        for name in ("clips", "long"):
            room.livekeep("air", "stop", name)


@pytest.fixture
def playing(bucket: Bucket) -> Bucket:
    """With "long" on air, playing its item."""
    if bucket.room.state("long").get("publishing") != "on-air":
        bucket.room.goes_on_air("long")
    bucket.shows("item")
    return bucket


def test_without_keys_it_is_on_air_with_the_slate(bucket: Bucket) -> None:
    """It says what is missing, and which command fixes it."""
    room, since = bucket.room, words.moment()
    assert room.property(STORAGE, "ActiveState") == "inactive"
    room.goes_on_air("long")
    room.until("the problem is told", lambda: "not set" in bucket.problem())
    assert "sudo livekeep air set-storage-keys" in bucket.problem()
    assert room.state("long")["picture"] == "slate"
    assert "Storage" in room.livekeep("air", "status", "long")
    (event,) = words.events(room, events.STORAGE_FAILED, since, CHANNEL="long")
    assert event["LIVEKEEP_ERROR_TYPE"] == "no-keys"
    assert room.property(STORAGE, "ActiveState") == "active"


def test_keys_are_stored_and_not_shown_and_mend_it(bucket: Bucket) -> None:
    """It stays on air over the same connection."""
    room = bucket.room
    pid = room.state("long")["pid"]
    told = bucket.give_keys()
    assert lines_with(told, (KEY_ID, SECRET)) == []
    for name in ("livekeep.storage-key-id", "livekeep.storage-secret"):
        assert room.machine.run(["stat", "-c", "%a %U:%G", f"{CREDENTIALS}/{name}"]).stdout == "600 root:root\n"
    bucket.shows("item")
    assert (bucket.problem(), room.state("long")["pid"]) == ("", pid)
    assert room.ingest.publishes(LONG_KEY) == 1
    assert words.events(room, events.STORAGE_BACK, CHANNEL="long")
    users = room.machine.run(["ps", "-o", "user:32=", "-p", room.property(STORAGE, "MainPID")]).stdout.split()
    assert users == ["livekeep-storage"]


def test_a_check_looks_at_each_item_of_the_bucket(bucket: Bucket) -> None:
    done = bucket.room.machine.run(["livekeep", "air", "check", "clips"], timeout=120)
    assert "1-fits.mp4: 4 s, 1.7 Mbit/s, copied" in done.stdout
    assert "5-vp8.webm: 4 s, " in done.stdout
    assert "clips: all is well" in done.stdout
    assert lines_with(done.stdout + done.stderr, (KEY_ID, *SIGNED)) == []


def test_items_of_the_bucket_go_out_over_one_connection(bucket: Bucket) -> None:
    room = bucket.room
    room.goes_on_air("clips")
    room.until("both were played", lambda: {it["name"] for it in room.state("clips")["last"]} == set(CLIPS), 60)
    modes = {it["name"]: it["mode"] for it in room.state("clips")["last"]}
    assert modes == {"1-fits.mp4": "copy", "5-vp8.webm": "normalise"}
    assert {it["outcome"] for it in room.state("clips")["last"]} == {"played"}
    assert room.ingest.publishes(CLIPS_KEY) == 1
    room.goes_off("clips")


def test_a_feeder_knows_the_proxy_s_address_alone(playing: Bucket) -> None:
    """Any user can see its arguments."""
    (feeder, *_) = playing.room.until("it is fed", lambda: words.feeders(playing.room, "long"))
    urls = [word for word in feeder.words if "://" in word]
    assert len(urls) == 1
    assert urls[0].startswith("http://127.0.0.1:")
    assert not urls[0].startswith(playing.store.base_url)
    assert "?" not in urls[0]


def test_a_store_that_dies_within_an_item_is_waited_for(playing: Bucket) -> None:
    """The slate goes out over the same connection; when the store is back, the scheduler continues by itself."""
    room, connections = playing.room, playing.room.state("long")["connections"]
    since = words.moment()
    playing.store.ask("end")
    try:
        playing.shows("slate")
        room.until("the problem is told", playing.problem)
        assert room.state("long")["publishing"] == "on-air"
        assert words.events(room, events.SLATE_SHOWN, since, CHANNEL="long")
    finally:
        playing.store.ask("start")
    playing.shows("item")
    room.until("nothing is wrong", lambda: playing.problem() == "")
    assert room.state("long")["connections"] == connections
    assert room.ingest.publishes(LONG_KEY) == connections


def test_a_store_that_answers_503_is_waited_for(playing: Bucket) -> None:
    room, connections = playing.room, playing.room.state("long")["connections"]
    since = words.moment()
    playing.store.ask("fail")
    try:
        room.until("the problem is told", lambda: "too busy" in playing.problem())
        playing.shows("slate")
        assert words.events(room, events.STORAGE_FAILED, since, CHANNEL="long", ERROR_TYPE="server-fault")
    finally:
        playing.store.ask("recover")
    playing.shows("item")
    room.until("nothing is wrong", lambda: playing.problem() == "")
    assert room.state("long")["connections"] == connections


def test_a_wrong_secret_is_named_and_mended_without_a_restart(playing: Bucket) -> None:
    """Opened items play on; a worker that starts then shows the slate."""
    room, since = playing.room, words.moment()
    playing.give_keys(WRONG)
    room.until("the problem is told", lambda: "the storage keys are refused" in playing.problem())
    assert words.events(room, events.STORAGE_FAILED, since, CHANNEL="long", ERROR_TYPE="wrong-keys")
    room.livekeep("air", "restart", "long", check=True)
    room.until("the problem is told", lambda: "the storage keys are refused" in playing.problem())
    assert (room.state("long")["picture"], room.state("long")["publishing"]) == ("slate", "on-air")
    health = room.machine.run(["livekeep", "health"], check=False)
    assert health.returncode == 1
    assert "channel long is on air, but it shows the slate" in health.stdout
    pid = room.state("long")["pid"]
    playing.give_keys()
    playing.shows("item")
    assert room.state("long")["pid"] == pid


def test_no_signature_and_no_key_is_anywhere_but_where_it_belongs(playing: Bucket) -> None:
    """Not in the journal, a state, an argument or an environment; and nobody else can read the keys."""
    machine = playing.room.machine
    assert machine.read(f"{CREDENTIALS}/livekeep.storage-secret").strip() == SECRET
    told = machine.journal(None, "--all", "-o", "export")
    assert "LIVEKEEP_EVENT=storage-failed" in told
    states = machine.run("find /run/livekeep /var/lib/livekeep /var/cache/livekeep -type f -size -200k -exec cat {} +").stdout
    assert '"storage_problem"' in states
    known = machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'", check=False).stdout
    assert "livekeep-worker" in known
    for text in (told, states, known):
        assert lines_with(text, SIGNED) == []
    held = f"/run/credentials/{STORAGE}/livekeep.storage-secret"
    assert machine.read(held).strip() == SECRET
    for user in ("livekeep-worker", "livekeep-controller", "nobody"):
        assert machine.run(["cat", held], user=user, check=False).returncode != 0, user


def test_nobody_else_may_ask_for_addresses(bucket: Bucket) -> None:
    """The socket belongs to the workers; and if it is open by mistake, the service checks the client."""
    script = "import socket; socket.socket(socket.AF_UNIX).connect('/run/livekeep/storage.sock')"
    as_probe = ["setpriv", "--reuid=livekeep-probe-network", "--regid=livekeep", "--clear-groups", "--"]
    for user in (["setpriv", "--reuid=nobody", "--clear-groups", "--"], as_probe):
        done = bucket.room.machine.run([*user, "python3", "-c", script], check=False)
        assert "PermissionError" in done.stderr, user
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/livekeep/storage.sock'); "
        "s.settimeout(20); s.sendall(b'{}\\n'); print(s.recv(9999))"
    )
    bucket.room.machine.run(["chmod", "666", "/run/livekeep/storage.sock"])
    try:
        assert bucket.room.machine.run([*as_probe, "python3", "-c", ask], check=False).stdout in ("b''\n", "")
    finally:
        bucket.room.machine.run(["chmod", "600", "/run/livekeep/storage.sock"])
    assert "bad-request" in bucket.room.machine.run(["python3", "-c", ask]).stdout, "root may ask"
    as_worker = ["setpriv", "--reuid=livekeep-worker", "--regid=livekeep", "--clear-groups", "--"]
    bucket.room.machine.run([*as_worker, "python3", "-c", script])


def test_it_ends_when_nobody_asks_and_starts_again(bucket: Bucket) -> None:
    room = bucket.room
    room.livekeep("air", "stop", "long")
    room.until("it has ended", lambda: room.property(STORAGE, "ActiveState") == "inactive", IDLE_SECONDS)
    assert [room.property(STORAGE, "Result"), room.property(STORAGE_SOCKET, "ActiveState")] == ["success", "active"]
    room.goes_on_air("long")
    bucket.shows("item")
    assert room.property(STORAGE, "ActiveState") == "active"
    assert room.property(worker("long"), "NRestarts") == "0"
