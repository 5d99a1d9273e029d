"""The controller in its unit: it starts on a connection, admits clients with the token, and controls real workers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.machine import air_words as words
from tests.machine.channel import CONTROLLER, CONTROLLER_SOCKET, CREDENTIALS, INTENTIONS, ChannelRoom, worker
from tests.machine.room import Answer

TOKEN = f"{CREDENTIALS}/livekeep.api-token"
IDLE_SECONDS = 5.0
SECOND_KEY = "second-4e1b-made-up-key"
ASKS, CLIENTS = 300, 30
# Run in the machine: sends API requests, many at a time, and counts the workers meanwhile.
CROWD = """
import collections, concurrent.futures, json, pathlib, random, sys, threading, time, urllib.error, urllib.request
asks, clients, token = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text().strip()
CHOICES = [("GET", "/streams/status")] * 5 + [("GET", "/streams/main/items")] * 3 + [("GET", "/health")] * 2
CHOICES += [("POST", "/streams/start"), ("POST", "/streams/stop"), ("POST", "/streams/main/skip")]
def ask(number):
    method, path = CHOICES[number % len(CHOICES)]
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    body = b'{"channel": "main"}' if method == "POST" and "skip" not in path else None
    request = urllib.request.Request("http://127.0.0.1:9878" + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return f"{path} {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{path} {error.code}"
    except OSError as error:
        return f"{path} {error!r}"
def workers():
    found = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\\0")
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        # One of another parent is a child of a worker, which becomes ffmpeg in a moment.
        found += words[-3:-1] == [b"/usr/lib/livekeep/livekeep-worker", b"main"] and parent == "1"
    return found
most, over = 0, threading.Event()
def watch():
    global most
    while not over.wait(0.02):
        most = max(most, workers())
watcher = threading.Thread(target=watch)
watcher.start()
numbers = list(range(asks))
random.Random(4).shuffle(numbers)
began = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(clients) as threads:
    answers = collections.Counter(threads.map(ask, numbers))
over.set()
watcher.join()
print(json.dumps({"answers": answers, "most_workers": most, "seconds": time.monotonic() - began}))
"""
# Run in the machine: kills the worker of "main", and prints after how many seconds the API reports it.
KILL_AND_ASK = """
import json, os, pathlib, signal, sys, time, urllib.request
pid, token = int(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text().strip()
def told():
    request = urllib.request.Request("http://127.0.0.1:9878/streams/status", headers={"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request, timeout=20) as answer:
        (found,) = [it for it in json.load(answer)["channels"] if it["channel"] == "main"]
    return (found["last_end"] or {}).get("pid") == pid and (found["state"] or {}).get("pid") != pid
told()
os.kill(pid, signal.SIGKILL)
began = time.monotonic()
while not told() and time.monotonic() < began + 20:
    time.sleep(0.02)
print(time.monotonic() - began)
"""
# Run in the machine as the controller's user: creates links in its folder, with the names that root's command could write to.
PLANT = """
import os, pathlib
os.chdir("/var/lib/livekeep/channels")
os.symlink("/etc/roots.conf", "main.on-air")
last = int(pathlib.Path("/proc/sys/kernel/ns_last_pid").read_text())
for number in range(last, last + 3000):
    os.symlink("/etc/made-by-root", f".main.on-air.{number}")
os.mkfifo("second.json")
os.symlink("/dev/zero", "third.json")
"""
# Run in the machine as the worker's user: an end whose text forges a row, and a FIFO for a state.
FORGE = """
import json, os, pathlib
folder = pathlib.Path("/run/livekeep/worker@main")
end = json.loads((folder / "end.json").read_text()) | {"result": "x\\x1b[2J\\n  Do  sudo rm -rf /\\u202e"}
(folder / "end.json").write_text(json.dumps(end))
os.mkfifo(folder / "state.json")
"""
AS_ROOT = ("livekeep status", "livekeep air status", "livekeep health", "livekeep doctor", "livekeep status --json")


@pytest.fixture(scope="module")
def room(channel_room: ChannelRoom) -> Iterator[ChannelRoom]:
    """The room with a controller that ends soon when idle, one channel in livekeep.toml, and the key of another."""
    channel_room.write_config({"controller": {"idle_seconds": IDLE_SECONDS}})
    channel_room.store("livekeep.stream-key.second", SECOND_KEY)
    ingest = urlsplit(channel_room.settings()["channels.main"]["ingest_urls"][0]).hostname
    channel_room.store("livekeep.stream-ingest.second", ingest)
    channel_room.machine.systemctl("stop", CONTROLLER)
    yield channel_room
    for name in ("main", "second", "keyless"):
        channel_room.ask("POST", "/streams/stop", {"channel": name})
        channel_room.ask("DELETE", f"/channels/{name}")


@pytest.fixture
def on_air(room: ChannelRoom) -> ChannelRoom:
    """The room with "main" on air."""
    if room.state().get("publishing") != "on-air":
        room.ask("POST", "/streams/start", {"channel": "main"})
        room.is_on_air()
    return room


def second(room: ChannelRoom) -> dict[str, object]:
    """The keys of a channel that is created by the API."""
    ours = room.settings()["channels.main"]
    return {**ours, "media": words.make_long(room)}


def error(answer: Answer) -> dict[str, str]:
    found: dict[str, str] = json.loads(answer.body)["error"]
    return found


def on_air_by(room: ChannelRoom, channel: str) -> bool:
    (found,) = json.loads(room.ask("GET", f"/streams/status?channel={channel}").body)["channels"]
    return bool(found["on_air"])


# The controller's socket


def test_it_starts_when_somebody_asks_and_ends_when_nobody_does(room: ChannelRoom) -> None:
    """And again each time."""
    for _round in range(2):
        room.until("it has ended", lambda: room.property(CONTROLLER, "ActiveState") == "inactive")
        assert room.ask("GET", "/health").status == 200
        assert room.property(CONTROLLER, "ActiveState") == "active"
        assert room.property(CONTROLLER_SOCKET, "ActiveState") == "active"
    room.until("it has ended", lambda: room.property(CONTROLLER, "ActiveState") == "inactive")
    assert room.property(CONTROLLER, "Result") == "success"


def test_nobody_is_let_in_without_the_token(room: ChannelRoom) -> None:
    for token in ("", "wrong"):
        answer = room.ask("POST", "/streams/start", {}, token=token)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert room.property(worker(), "ActiveState") == "inactive"
    assert room.ask("GET", "/health", token="").status == 200


# Channels


def test_it_puts_a_channel_on_air_and_takes_it_off(room: ChannelRoom) -> None:
    """The only existing one, without its name."""
    answer = room.ask("POST", "/streams/start", {})
    assert answer.status in (200, 202), answer.text
    room.until("it is on air", lambda: on_air_by(room, "main"))
    assert room.is_intended()
    again = room.ask("POST", "/streams/start", {})
    assert (again.status, error(again)["type"]) == (409, "already-running")
    items = room.until("an item plays", lambda: json.loads(room.ask("GET", "/streams/main/items").body))
    assert items["running"] is True
    assert json.loads(room.ask("GET", "/health").body)["status"] == "ok"
    room.until("an item plays", lambda: room.state()["picture"] == "item")
    assert room.ask("POST", "/streams/main/skip").status == 200
    room.until("it was skipped", lambda: room.state()["items_skipped"] == 1)
    stopped = room.ask("POST", "/streams/stop", {})
    assert stopped.status == 200
    found = json.loads(stopped.body)
    assert (found["on_air"], found["intended"], found["unit"]["active"]) == (False, False, "inactive")
    assert not room.is_intended()
    assert room.ask("POST", "/streams/stop", {}).status == 404


def test_it_may_be_started_and_stopped_again_and_again(room: ChannelRoom) -> None:
    """More often than systemd would let a unit crash."""
    for _round in range(8):
        started = room.ask("POST", "/streams/start", {"channel": "main"})
        assert started.status in (200, 202), started.text
        assert room.ask("POST", "/streams/stop", {"channel": "main"}).status == 200


def test_a_channel_is_added_and_played_and_forgotten(room: ChannelRoom) -> None:
    """It survives the controller's end."""
    assert room.ask("PUT", "/channels/second", second(room)).status == 201
    file = f"{INTENTIONS}/second.json"
    assert room.machine.run(["stat", "-c", "%a %U:%G", file]).stdout == "640 livekeep-controller:livekeep\n"
    room.machine.systemctl("kill", "--signal=KILL", CONTROLLER)
    names = [it["channel"] for it in json.loads(room.ask("GET", "/channels").body)["channels"]]
    assert names == ["main", "second"]
    assert room.ask("POST", "/streams/start", {"channel": "second"}).status in (200, 202)
    room.until("it is on air", lambda: on_air_by(room, "second"))
    assert room.ingest.publishes(SECOND_KEY) == 1
    assert room.livekeep("air", "status", "second").startswith("second: on air")
    running = room.ask("DELETE", "/channels/second")
    assert (running.status, error(running)["type"]) == (409, "already-running")
    assert room.ask("POST", "/streams/stop", {"channel": "second"}).status == 200
    assert room.ask("DELETE", "/channels/second").status == 204
    assert not room.machine.exists(file)


def test_a_key_goes_to_no_server_that_the_token_s_holder_names(room: ChannelRoom) -> None:
    """Only root can confirm another server."""
    keys = {**second(room), "ingest_urls": ["rtmp://127.0.0.2:1935/live2"]}
    answer = room.ask("POST", "/streams/start", {"channel": "second", "stream_config": keys})
    assert answer.status == 424, answer.text
    said = room.machine.journal(worker("second"))
    fault = "the stream key was not stored for 127.0.0.2; if that is the right server, run: sudo livekeep air bind-key second"
    assert fault in said
    assert fault in room.machine.run("livekeep air check second", check=False).stdout
    assert room.ask("POST", "/streams/stop", {"channel": "second"}).status == 200
    assert room.ask("PUT", "/channels/second", second(room)).status == 200
    assert "The stream key goes to" in room.livekeep("air", "bind-key", "second")
    assert room.ask("POST", "/streams/start", {"channel": "second"}).status in (200, 202)
    room.until("it is on air", lambda: on_air_by(room, "second"))
    assert room.ask("POST", "/streams/stop", {"channel": "second"}).status == 200
    assert room.ask("DELETE", "/channels/second").status == 204


def test_a_worker_that_cannot_start_is_told_with_its_reason(room: ChannelRoom) -> None:
    """In the response to the start request, and for later requests."""
    answer = room.ask("POST", "/streams/start", {"channel": "keyless", "stream_config": second(room)})
    assert answer.status == 424, answer.text
    assert "its configuration or its stream key is missing or wrong" in error(answer)["message"]
    (found,) = json.loads(room.ask("GET", "/streams/status?channel=keyless").body)["channels"]
    assert (found["unit"]["active"], found["last_end"]["exit_status"]) == ("failed", "78")
    assert room.ask("POST", "/streams/stop", {"channel": "keyless"}).status == 200
    assert room.property(worker("keyless"), "ActiveState") == "inactive"
    assert room.ask("DELETE", "/channels/keyless").status == 204


def test_a_worker_that_is_killed_is_told_at_once(on_air: ChannelRoom) -> None:
    pid = on_air.property(worker(), "MainPID")
    seconds = float(on_air.machine.run(["python3", "-c", KILL_AND_ASK, pid, TOKEN]).stdout)
    # Well below a second, unless the machine is busy with other tests.
    assert seconds <= 15.0, seconds
    on_air.is_on_air()


def test_a_controller_that_is_killed_takes_no_channel_along(on_air: ChannelRoom) -> None:
    """Neither one on air nor one that it was just starting."""
    pid = on_air.state()["pid"]
    assert on_air.ask("PUT", "/channels/second", second(on_air)).status in (200, 201)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(on_air.ask, "POST", "/streams/start", {"channel": "second"})
        on_air.until("it begins", lambda: on_air.property(worker("second"), "ActiveState") in ("activating", "active"))
        on_air.machine.systemctl("kill", "--signal=KILL", CONTROLLER)
    on_air.until("it is on air", lambda: on_air_by(on_air, "second"))
    assert on_air.state()["pid"] == pid
    assert on_air.ask("POST", "/streams/stop", {"channel": "second"}).status == 200
    assert on_air.ask("DELETE", "/channels/second").status == 204


def test_a_crowd_gets_answers_and_one_worker_at_most(room: ChannelRoom) -> None:
    """Hundreds of requests, many at a time, that start, stop, skip and query."""
    room.ask("GET", "/health")
    run = room.property(CONTROLLER, "InvocationID")
    script = ["python3", "-c", CROWD, str(ASKS), str(CLIENTS), TOKEN]
    found = json.loads(room.machine.run(script, timeout=300).stdout)
    answers = Counter(found["answers"])
    statuses = {answer.rpartition(" ")[2] for answer in answers}
    assert statuses <= {"200", "202", "404", "409"}, answers
    assert sum(answers.values()) == ASKS
    assert found["most_workers"] == 1, found
    assert answers["/streams/start 200"] >= 2, answers
    room.ask("POST", "/streams/stop", {"channel": "main"})
    assert room.property(worker(), "ActiveState") == "inactive"
    assert room.property(CONTROLLER, "InvocationID") == run


# Compromised units


def test_root_is_led_nowhere_by_what_the_units_users_leave(room: ChannelRoom) -> None:
    """With a compromised controller and worker: root's command writes through no link and waits for no FIFO."""
    machine = room.machine
    room.ask("POST", "/streams/stop", {"channel": "main"})
    machine.systemctl("stop", CONTROLLER)
    machine.write("/etc/roots.conf", "root's own\n", 0o600)
    machine.run(["python3", "-c", PLANT], user="livekeep-controller")
    try:
        assert "main: on air" in machine.run("timeout 60 livekeep air start main").stdout
        assert machine.read("/etc/roots.conf") == "root's own\n"
        assert not machine.exists("/etc/made-by-root")
        found = machine.run(["stat", "-c", "%F %a %U:%G", f"{INTENTIONS}/main.on-air"]).stdout
        assert found == "regular empty file 640 livekeep-controller:livekeep\n"
        machine.run("timeout 60 livekeep air stop main")
        machine.run(["python3", "-c", FORGE], user="livekeep-worker")
        for command in AS_ROOT:
            done = machine.run(f"timeout 30 {command}", check=False)
            assert done.returncode != 124, f"{command} hangs"
            assert "Traceback" not in done.stderr, done.stderr
            said = done.stdout + done.stderr
            assert not [line for line in said.splitlines() if line.split()[:3] == ["Do", "sudo", "rm"]], said
            assert "\x1b" not in said
        assert r"x\x1b[2J\n  Do  sudo rm -rf /\u202e" in machine.run("livekeep air status main").stdout
    finally:
        machine.run("rm -f /etc/roots.conf /run/livekeep/worker@main/*.json; find /var/lib/livekeep/channels -mindepth 1 -delete")
