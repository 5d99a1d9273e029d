"""The harness itself: machines boot, the screen can be read, the stand-ins work, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.machine import root
from tests.machine.live import HD, SD, LiveStream
from tests.machine.machine import Machine, wait_for
from tests.machine.network import OUTSIDE_ADDRESS, Network
from tests.machine.standin import PROJECT
from tests.machine.tidy import CGROUPS, RUN
from tests.machine.tv import TV, Colour, Sampler
from tests.machine.vimeo import EVENT_ID, TOKEN, VIDEO_ID, VimeoStandIn
from tests.machine.vimeo_faults import ODD_BODIES

PACKAGES = (
    "mpv",
    "vlc",
    "python3-systemd",
    "python3-sdnotify",
    "python3-requests",
    "python3-pil",
    "python3-xlib",
)
MPV = ("mpv", "--no-config", "--fs", "--really-quiet", "--no-terminal", "--vo=x11", "--ao=null")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a machine needs root")


class Room(NamedTuple):
    """A booted machine, its TV, and stand-ins for the internet."""

    machine: Machine
    tv: TV
    live: LiveStream
    vimeo: VimeoStandIn


@pytest.fixture(scope="module", params=root.SUITES)
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    """One room per suite, shared by the tests of this module."""
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        tv = stack.enter_context(TV(network))
        live = stack.enter_context(LiveStream(network))
        vimeo = stack.enter_context(VimeoStandIn(network))
        machine = Machine(request.param, packages=PACKAGES, network=network, tv=tv, source=PROJECT)
        yield Room(stack.enter_context(machine), tv, live, vimeo)


@pytest.fixture
def vimeo() -> Iterator[VimeoStandIn]:
    """A stand-in on the host's loopback."""
    with VimeoStandIn() as standin:
        yield standin


def green(colour: Colour) -> bool:
    """Whether this is the HD stream's background."""
    return abs(colour[1] - 160) < 12 and colour[0] < 12 and colour[2] < 12


def get(url: str, token: str = TOKEN, timeout: float = 15) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of a GET with a bearer token."""
    headers = {"Accept": "application/vnd.vimeo.*+json;version=3.4"} | ({"Authorization": f"bearer {token}"} if token else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=timeout) as answer:
            return answer.status, answer.read(10_000), dict(answer.headers)
    except HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def decoded(body: bytes) -> Any:
    """JSON."""
    return json.loads(body)


def test_boots_healthy(room: Room) -> None:
    """Real systemd as PID 1, the bus up, nothing failed."""
    machine = room.machine
    assert 0 < machine.boot_seconds < 60
    assert machine.systemctl("--failed", "--no-legend").stdout == ""
    assert machine.suite in machine.read("/etc/os-release")
    assert machine.exists("/src/tests/machine/machine.py")
    assert machine.run("touch /src/x", check=False).returncode != 0


def test_main_pid_is_the_same_process_outside(room: Room) -> None:
    """A SIGKILL from outside hits the unit's process, and systemd restarts it."""
    unit = "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=50ms\n"
    room.machine.write("/etc/systemd/system/nap.service", unit)
    room.machine.systemctl("daemon-reload")
    room.machine.systemctl("start", "nap.service")
    first = room.machine.main_pid("nap.service")
    os.kill(first.host, signal.SIGKILL)
    room.machine.wait_for(lambda: room.machine.unit_property("nap.service", "NRestarts") == "1", 15)
    assert room.machine.main_pid("nap.service").inside != first.inside
    assert room.machine.run("id -un", user="nobody").stdout == "nobody\n"
    assert any(e.get("UNIT") == "nap.service" for e in room.machine.journal_entries("nap.service"))


def test_mpv_shows_the_live_stream(room: Room) -> None:
    """Green on the screen, a bar that moves, and black again when the player is gone."""
    wait_for(room.tv.is_black, 15)
    player = room.machine.popen([*MPV, room.live.url], env={"DISPLAY": room.tv.display})
    with Sampler(room.tv) as sampler:
        try:
            wait_for(lambda: sum(map(green, room.tv.grid())) > 40, 20)
            # Rows differ in the bar's position only while it crosses a cell's middle: the whole picture shows it sooner.
            sums = set()
            for _ in range(10):
                sums.add(room.tv.checksum())
                time.sleep(0.2)
        finally:
            player.kill()
            player.communicate(timeout=10)
        wait_for(room.tv.is_black, 15)
    assert len(sums) >= 8
    assert [label for _, _, label in sampler.spans()][:2] == ["black", "picture"]
    assert sampler.achieved_hz() > 25
    shot = room.tv.screenshot(RUN / "shot.png")
    assert shot.read_bytes().startswith(b"\x89PNG")
    shot.unlink()


def test_the_machine_reaches_the_stand_in_only(room: Room) -> None:
    """The stand-in answers on the machine's loopback; the host's network is unreachable."""
    room.vimeo.go_live(room.live.url)
    url = f"{room.vimeo.base_url}/me/live_events/{EVENT_ID}/m3u8_playback"
    script = (
        "import requests, sys\n"
        f"a = requests.get({url!r}, headers={{'Authorization': 'bearer {TOKEN}'}}, timeout=15).json()\n"
        "print(requests.get(a['m3u8_playback_url'], timeout=15).text)\n"
    )
    assert room.machine.run(["python3", "-"], input=script).stdout.startswith("#EXTM3U")
    assert room.machine.run("ip route", check=False).stdout == ""


def test_files_survive_a_reboot_and_a_power_cut() -> None:
    """Files stay; processes do not."""
    with Machine("trixie") as machine:
        machine.copy_in(Path(__file__), "/opt/there/test.py")
        machine.reboot()
        assert "survive" in machine.read("/opt/there/test.py")
        machine.power_cut()
        machine.boot()
        assert machine.exists("/opt/there/test.py")
        machine.poweroff()


def test_apt_installs_inside() -> None:
    """With the host's network, apt works in the machine from the copied sources."""
    with Machine("trixie", network="host") as machine:
        machine.run("apt-get update -q && apt-get install -q -y --no-install-recommends hello", timeout=180)
        assert "Hello" in machine.run("hello").stdout


def test_an_outside_link_is_cut_and_silenced() -> None:
    """A cut is noticed at once, silence is not; afterwards everything works."""
    with (
        Network(outside=True) as network,
        VimeoStandIn(network) as vimeo,
        Machine(network=network) as machine,
    ):
        probe = f"timeout 2 python3 -c \"import socket; socket.create_connection(('{OUTSIDE_ADDRESS}', {vimeo.port}))\""

        def reach() -> int:
            return machine.run(probe, check=False).returncode

        wait_for(lambda: reach() == 0, 20)
        network.silence()
        assert reach() == 124
        network.restore()
        wait_for(lambda: reach() == 0, 20)
        network.cut()
        assert reach() != 0
        assert "NO-CARRIER" in machine.run("ip link show uplink").stdout
        network.plug()
        wait_for(lambda: reach() == 0, 20)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("403", 403, 3200), ("404", 404, 5000), ("4020", 500, 4020), ("2204", 400, 2204), ("429", 429, 9000),
     ("401", 401, None), ("500", 500, None)],
)  # fmt: skip
def test_refusals_have_the_documented_shape(vimeo: VimeoStandIn, name: str, status: int, code: int | None) -> None:
    """Status, code, media type and the keys of an error."""
    vimeo.fault(name)
    answered, body, headers = get(f"{vimeo.base_url}/me/live_events/{EVENT_ID}/m3u8_playback")
    error = decoded(body)
    assert (answered, error.get("error_code")) == (status, code)
    assert headers["Content-Type"] == "application/vnd.vimeo.error+json"
    assert set(error) >= ({"error", "developer_message", "link"} if code else {"error"})
    if name == "429":
        reset = datetime.fromisoformat(headers["X-RateLimit-Reset"])
        assert timedelta(0) < reset - datetime.now(UTC) < timedelta(seconds=31)
    vimeo.ok()
    assert get(f"{vimeo.base_url}/oauth/verify")[0] == 200


@pytest.mark.parametrize("name", sorted(ODD_BODIES | {"garbage": b"", "html200": b"", "big": b""}))
def test_odd_bodies_come_with_200(vimeo: VimeoStandIn, name: str) -> None:
    """A 200 whose body has no playable URL."""
    vimeo.fault(name)
    status, body, _ = get(f"{vimeo.base_url}/me/live_events/{EVENT_ID}/m3u8_playback")
    assert status == 200
    if name in ("no_url", "null_url", "wrong_type", "bad_url_scheme"):
        assert not str(decoded(body).get("m3u8_playback_url")).startswith("http")
    else:
        with pytest.raises((ValueError, RecursionError, AttributeError)):
            decoded(body).get("m3u8_playback_url")


@pytest.mark.parametrize(("name", "status"), [("html502", 502), ("503", 503), ("redirect_loop", 302)])
def test_proxies_answer_html(vimeo: VimeoStandIn, name: str, status: int) -> None:
    """No JSON, and a redirect that leads nowhere."""
    vimeo.fault(name)
    answered, _, headers = get(f"{vimeo.base_url}/oauth/verify")
    assert answered == status
    assert headers["Content-Type"].startswith("text/html")


def test_unknown_faults_are_refused(vimeo: VimeoStandIn) -> None:
    """A typo in a test must not pass as good behaviour."""
    with pytest.raises(ValueError, match="no such fault"):
        vimeo.fault("hnag")


@pytest.mark.parametrize("name", ["hang", "slow_drip"])
def test_a_stuck_answer_is_stuck(vimeo: VimeoStandIn, name: str) -> None:
    """The client gives up, not the stand-in."""
    vimeo.fault(name)
    with socket.create_connection(("127.0.0.1", vimeo.port), timeout=1.5) as connection:
        connection.sendall(b"GET /oauth/verify HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        with pytest.raises(TimeoutError):
            deadline = time.monotonic() + 3
            while part := connection.recv(4096):
                received += part
                if time.monotonic() > deadline:
                    raise TimeoutError
    assert not received.endswith(b"}")


def test_a_reset_is_a_reset(vimeo: VimeoStandIn) -> None:
    """RST, once, then the ordinary answer."""
    vimeo.fault("reset", times=1)
    with pytest.raises(ConnectionResetError):
        get(f"{vimeo.base_url}/oauth/verify")
    assert get(f"{vimeo.base_url}/oauth/verify")[0] == 200


def test_states_of_an_event(vimeo: VimeoStandIn) -> None:
    """Offline, starting, live with a fresh URL each time, and the responses for the event and the video."""
    playback = f"{vimeo.base_url}/me/live_events/{EVENT_ID}/m3u8_playback"
    assert decoded(get(playback)[1])["error_code"] == 10008
    vimeo.starting()
    assert decoded(get(playback)[1])["error_code"] == 7900
    vimeo.go_live("http://127.0.0.1:1/x.m3u8")
    urls = [decoded(get(playback)[1])["m3u8_playback_url"] for _ in range(3)]
    assert len(set(urls)) == 3
    assert vimeo.signed() == urls
    soon = datetime.now(UTC) + timedelta(hours=1)
    vimeo.schedule(soon)
    event = decoded(get(f"{vimeo.base_url}/live_events/{EVENT_ID}?fields=status,metadata.connections.live_video.status")[1])
    assert event == {
        "status": "started",
        "metadata": {"connections": {"live_video": {"status": "streaming"}}},
    }
    assert decoded(get(f"{vimeo.base_url}/videos/{VIDEO_ID}")[1])["live"]["status"] == "streaming"
    assert get(f"{vimeo.base_url}/me/videos/{VIDEO_ID}/m3u8_playback")[0] == 200


def test_tokens_scopes_and_limits(vimeo: VimeoStandIn) -> None:
    """No token, a wrong one, one without `private`, and one request too many."""
    playback = f"{vimeo.base_url}/users/1111/live_events/{EVENT_ID}/m3u8_playback"
    assert decoded(get(playback, token="")[1])["error_code"] == 8003
    assert set(decoded(get(playback, token="wrong")[1])) == {"error"}
    vimeo.token(scope="public")
    assert get(playback)[0] == 403
    vimeo.token()
    vimeo.limit(2)
    answers = [get(playback) for _ in range(3)]
    assert [status for status, _, _ in answers] == [400, 400, 429]
    assert [headers["X-RateLimit-Remaining"] for _, _, headers in answers] == ["1", "0", "0"]
    assert [entry["authorized"] for entry in vimeo.requests()][:3] == [False, False, True]


def test_the_live_source_stalls_ends_and_refuses() -> None:
    """The playlist grows, stops growing, grows again, ends, and is refused, as requested."""
    with LiveStream(variants=(HD, SD)) as live:
        assert get(live.url)[1].count(b"#EXT-X-STREAM-INF") == 2
        media = f"{live.base_url}/hd/index.m3u8"

        def playlist() -> bytes:
            return get(media)[1]

        before = playlist()
        wait_for(lambda: playlist() != before, 15)
        live.stall()
        stuck = playlist()
        time.sleep(2.5)
        assert playlist() == stuck
        live.resume()
        wait_for(lambda: playlist() != stuck, 15)
        live.answer(403, only=".m3u8")
        assert get(media)[0] == 403
        live.resume()
        live.end()
        assert playlist().rstrip().endswith(b"#EXT-X-ENDLIST")
        live.restart()
        assert b"MEDIA-SEQUENCE:0" in playlist()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(ending: signal.Signals) -> None:
    """A stopped run cleans up; the next run cleans up after a killed one."""
    script = (
        "import signal\nfrom tests.machine.machine import Machine\nfrom tests.machine.network import Network\n"
        "from tests.machine.tv import TV\nfrom tests.machine.vimeo import VimeoStandIn\n"
        "with Network() as n, TV(n) as t, VimeoStandIn(n) as v, Machine(network=n, tv=t) as m:\n"
        "    print('up', flush=True)\n    signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    ) as run:
        assert run.stdout
        assert run.stdout.readline() == "up\n"
        mark = f"lkt{run.pid}-"
        assert leftovers(mark)
        run.send_signal(ending)
        run.wait(20)
    if ending == signal.SIGKILL:
        subprocess.run([sys.executable, "-c", "from tests.machine import tidy; tidy.sweep()"], cwd=PROJECT, check=True)
    wait_for(lambda: not leftovers(mark), 15)


def test_several_runs_may_tidy_up_at_once() -> None:
    """It is no error if one removes what another is reading."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait(15)
    group = CGROUPS / f"lkt{ended.pid}-1"
    for number in range(400):
        (group / f"payload/{number % 20}/{number}").mkdir(parents=True)
    command = [sys.executable, "-c", "from tests.machine import tidy; tidy.sweep()"]
    runs = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    assert [(run.communicate(timeout=60)[1], run.returncode) for run in runs] == [("", 0)] * 6
    wait_for(lambda: not group.exists(), 15)


def leftovers(mark: str) -> list[str]:
    """Directories, namespaces, cgroups, mounts and processes with this mark."""
    found = [str(p) for place in (RUN, Path("/run/netns"), CGROUPS) for p in place.glob(f"{mark}*")]
    found += [line for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines() if mark in line]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in words:
            found.append(words)
    return found
