"""The harness itself, as far as a fault of it would let tests of livekeep pass that must fail."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.machine import root
from tests.machine.live import LiveStream
from tests.machine.machine import Machine, wait_for
from tests.machine.network import Network
from tests.machine.tv import TV, Colour, Sampler
from tests.machine.vimeo import EVENT_ID, TOKEN, VimeoStandIn

MPV = ("mpv", "--no-config", "--fs", "--really-quiet", "--no-terminal", "--vo=x11", "--ao=null")
PLAYBACK = f"/me/live_events/{EVENT_ID}/m3u8_playback"


class Room(NamedTuple):
    """A booted machine, its TV, and stand-ins for the internet."""

    machine: Machine
    tv: TV
    live: LiveStream
    vimeo: VimeoStandIn


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        tv = stack.enter_context(TV(network))
        live = stack.enter_context(LiveStream(network))
        vimeo = stack.enter_context(VimeoStandIn(network))
        machine = Machine("trixie", packages=root.packages_of("trixie"), network=network, tv=tv)
        yield Room(stack.enter_context(machine), tv, live, vimeo)


@pytest.fixture
def vimeo() -> Iterator[VimeoStandIn]:
    """A stand-in on the host's loopback."""
    with VimeoStandIn() as standin:
        yield standin


def get(url: str, token: str = TOKEN) -> tuple[int, Any]:
    """Status and decoded body of a GET with a bearer token."""
    try:
        with urlopen(Request(url, headers={"Authorization": f"bearer {token}"} if token else {}), timeout=15) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def green(colour: Colour) -> bool:
    """Whether this is the HD stream's background."""
    return abs(colour[1] - 160) < 12 and colour[0] < 12 and colour[2] < 12


def test_the_tv_shows_black_the_stream_and_black_again(room: Room) -> None:
    """Otherwise a black moment would not be noticed, or a frozen picture taken for the stream."""
    wait_for(room.tv.is_black, 15)
    player = room.machine.popen([*MPV, room.live.url], env={"DISPLAY": room.tv.display})
    with Sampler(room.tv) as sampler:
        try:
            wait_for(lambda: sum(map(green, room.tv.grid())) > 40, 60)
            first = room.tv.checksum()
            wait_for(lambda: room.tv.checksum() != first, 15)
            room.live.stall()
            wait_for(lambda: stands_still(room.tv), 60)
            room.live.resume()
        finally:
            player.kill()
            player.communicate(timeout=10)
        wait_for(room.tv.is_black, 15)
    labels = [label for _, _, label in sampler.spans()]
    assert (labels[:2], labels[-1]) == (["black", "picture"], "black")


def stands_still(tv: TV) -> bool:
    before = tv.checksum()
    time.sleep(2)
    return tv.checksum() == before


def test_the_machine_reaches_the_stand_in_only(room: Room) -> None:
    """The stand-in answers on the machine's loopback; the host's network is unreachable."""
    room.vimeo.go_live(room.live.url)
    script = (
        "import requests\n"
        f"headers = {{'Authorization': 'bearer {TOKEN}'}}\n"
        f"answer = requests.get('{room.vimeo.base_url}{PLAYBACK}', headers=headers, timeout=15).json()\n"
        "print(requests.get(answer['m3u8_playback_url'], timeout=15).text)\n"
    )
    assert room.machine.run(["python3", "-"], input=script).stdout.startswith("#EXTM3U")
    assert room.machine.run("ip route", check=False).stdout == ""


def test_unknown_faults_are_refused(vimeo: VimeoStandIn) -> None:
    """A typo in a test must not pass as good behaviour."""
    with pytest.raises(ValueError, match="no such fault"):
        vimeo.fault("hnag")


def test_tokens_scopes_and_limits(vimeo: VimeoStandIn) -> None:
    """No token, a wrong one, one without `private`, and one request too many; each URL has its own signature."""
    playback = f"{vimeo.base_url}{PLAYBACK}"
    assert get(playback, token="")[1]["error_code"] == 8003
    assert get(playback, token="wrong")[0] == 401
    vimeo.token(scope="public")
    assert get(playback)[0] == 403
    vimeo.token()
    vimeo.go_live("http://127.0.0.1:1/x.m3u8")
    assert len({get(playback)[1]["m3u8_playback_url"] for _ in range(3)} & set(vimeo.signed())) == 3
    vimeo.limit(2)
    assert [get(playback)[0] for _ in range(3)] == [200, 200, 429]
    assert [entry["authorized"] for entry in vimeo.requests()][:3] == [False, False, True]


def test_a_url_that_has_expired_is_refused() -> None:
    with LiveStream() as live:
        live.enforce_expiry()
        statuses = []
        for moment in (time.time() + 60, time.time() - 60):
            try:
                with urlopen(f"{live.url}?exp={moment:.0f}~hmac=x", timeout=15) as answer:
                    statuses.append(answer.status)
            except HTTPError as error:
                statuses.append(error.code)
        assert statuses == [200, 403]
