"""livekeep-probe-youtube as its unit, with a channel on air: a small server on the loopback stands in for YouTube."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.machine.channel import MEDIA, ChannelRoom

UNIT, TIMER = "livekeep-probe-youtube.service", "livekeep-probe-youtube.timer"
STATE = "/run/livekeep/probe-youtube/state.json"
KEY, ID = "AIza-made-up-nobody-may-see-me", "dQw4w9WgXcQ"
FOLDER = "/run/youtube"
# Answers each request with the file "answer": its status, a space, its body; after the delay in the file "delay", in seconds.
SERVER = f"""
import http.server, pathlib, time
folder = pathlib.Path("{FOLDER}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        (folder / "asked").write_text(self.headers.get("X-Goog-Api-Key", "") + " " + self.path)
        time.sleep(float((folder / "delay").read_text()))
        status, _, body = (folder / "answer").read_text().partition(" ")
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(body.encode())
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
(folder / "port").write_text(str(server.server_port))
server.serve_forever()
"""
LIVE = {"actualStartTime": "2026-11-21T10:02:00Z", "concurrentViewers": "12"}


def answer(box: ChannelRoom, status: int, body: Any) -> None:
    box.machine.write(f"{FOLDER}/answer", f"{status} {json.dumps(body)}")


def broadcast(box: ChannelRoom, content: str, **live: str) -> None:
    item = {"id": ID, "snippet": {"title": "A day", "liveBroadcastContent": content}, "liveStreamingDetails": live}
    answer(box, 200, {"items": [item]})


def probe(box: ChannelRoom) -> tuple[str, str]:
    """Run it like an operator; return its verdict with the reason."""
    done = box.machine.run(["livekeep", "probe", "--json", "youtube"], check=False)
    found = json.loads(done.stdout)["findings"]["youtube"]["run"]
    return found["verdict"], found["reason"]


def figures(box: ChannelRoom) -> dict[str, float]:
    """Metrics of the channels, from one scrape."""
    return {series: value for series, value in box.figures().items() if series.startswith("livekeep_channel_youtube")}


@pytest.fixture(scope="module")
def box(channel_room: ChannelRoom) -> Iterator[ChannelRoom]:
    """The room with that server; the probe runs on request, not by its timer."""
    machine = channel_room.machine
    machine.write(f"{FOLDER}/delay", "0")
    machine.write("/usr/local/bin/youtube", f"#!/usr/bin/python3 -I{SERVER}", 0o755)
    machine.run(["systemd-run", "--quiet", "--unit=youtube", "/usr/local/bin/youtube"])
    channel_room.until("the server listens", lambda: machine.exists(f"{FOLDER}/port"))
    address = f"http://127.0.0.1:{machine.read(f'{FOLDER}/port')}/youtube/v3"
    ours = {"media": MEDIA, "youtube_video": ID}
    channel_room.write_config({"channels.main": ours, "probes.youtube": {"api_url": address}, "log": {"level": "debug"}})
    assert [channel_room.property(TIMER, name) for name in ("ActiveState", "UnitFileState")] == ["active", "enabled"]
    machine.systemctl("stop", TIMER)
    yield channel_room


def test_without_a_key_nothing_is_asked_and_it_says_what_to_do(box: ChannelRoom) -> None:
    assert probe(box) == ("skipped", "no request to YouTube: no API key is stored")
    assert "sudo livekeep air set-youtube-key" in box.livekeep("probe", "youtube")
    assert not box.machine.exists(f"{FOLDER}/asked")
    assert "warn  YouTube" in box.livekeep("doctor")


def test_what_youtube_shows_stands_beside_what_the_ingest_acknowledges(box: ChannelRoom) -> None:
    box.machine.run(["livekeep", "air", "set-youtube-key"], input=f"{KEY}\n")
    broadcast(box, "live", **LIVE)
    box.goes_on_air()
    assert probe(box) == ("ok", "main: live")
    assert box.machine.read(f"{FOLDER}/asked") == f"{KEY} /youtube/v3/videos?part=snippet,liveStreamingDetails&id={ID}"
    owner = box.machine.run(["stat", "-c", "%U %G %a", STATE]).stdout
    assert owner == "livekeep-probe-youtube livekeep 640\n"
    for command in (("status",), ("air", "status")):
        assert ", 12 viewers (asked " in box.livekeep(*command), command
    assert "ok    YouTube" in box.livekeep("doctor")
    labels = '{channel="main"}'
    assert figures(box) == {f"livekeep_channel_youtube_live{labels}": 1, f"livekeep_channel_youtube_viewers{labels}": 12}


def test_a_broadcast_that_youtube_has_ended_degrades_the_channel(box: ChannelRoom) -> None:
    broadcast(box, "none", actualEndTime="2026-11-21T11:02:00Z")
    assert probe(box) == ("warn", "channel main: YouTube has ended its broadcast")
    done = box.machine.run(["livekeep", "health"], check=False)
    assert (done.returncode, done.stdout) == (1, "degraded: channel main is on air, but YouTube has ended its broadcast\n")
    assert figures(box) == {'livekeep_channel_youtube_live{channel="main"}': 0}


def test_while_youtube_cannot_be_asked_nothing_is_known(box: ChannelRoom) -> None:
    answer(box, 403, {"error": {"code": 403, "errors": [{"reason": "quotaExceeded"}]}})
    assert probe(box) == ("fail", "YouTube cannot be asked: the API key's quota of today is used up")
    assert box.machine.run(["livekeep", "health"], check=False).stdout == "ok: channel main is on air\n"
    assert figures(box) == {}
    assert box.machine.failed_units() == ""


def test_nobody_is_told_the_key(box: ChannelRoom) -> None:
    """Neither during a request nor afterwards; earlier ones are in the journal, too."""
    machine = box.machine
    broadcast(box, "live", **LIVE)
    machine.run(["rm", f"{FOLDER}/asked"])
    machine.write(f"{FOLDER}/delay", "4")
    machine.systemctl("start", "--no-block", UNIT)
    box.until("it asks", lambda: machine.exists(f"{FOLDER}/asked"))
    assert machine.run("pgrep -fc 'bin/livekeep-probe youtube'", check=False).stdout.strip() != "0"
    assert KEY not in machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true").stdout
    assert KEY not in machine.systemctl("show", UNIT).stdout
    box.until("it has ended", lambda: box.property(UNIT, "ActiveState") == "inactive")
    machine.write(f"{FOLDER}/delay", "0")
    assert KEY not in machine.run("cat /run/livekeep/*/*.json").stdout
    assert KEY not in machine.journal()
    assert "probe-verdict-changed" in machine.journal(UNIT, "-o", "json")


def test_the_sandbox_is_as_narrow_as_the_others(box: ChannelRoom) -> None:
    assert box.machine.exposure(UNIT) <= 1.5
