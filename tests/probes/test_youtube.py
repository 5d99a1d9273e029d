"""livekeep-probe-youtube as a process, asking a server that answers as YouTube's documents say, or as badly as it can."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from livekeep.core import channels, state
from livekeep.core.channels import ChannelState
from livekeep.core.probe_results import NOT_SHOWN, NOT_SHOWN_SECONDS, Showing, YoutubeResult, YoutubeVideo
from livekeep.probes.runner import Judgement
from livekeep.probes.youtube.measurement import NO_KEY, NOTHING_NAMED, ODD_KEY, STORE_KEY, judge, noted
from tests.probes.running_probe import Probe
from tests.web import Reply, Web, http

KEY = "AIza-made-up-nobody-may-see-me"
ID = "dQw4w9WgXcQ"
NOW = 1_800_000_000.0
BEGAN = 1_795_255_320.0


class Studio:
    """The probe with a key, and YouTube: `answer` is what it says to every question."""

    def __init__(self, folder: Path, web: Web) -> None:
        self.web = web
        self.probe = Probe("youtube", YoutubeResult, folder)
        self.credentials = folder / "credentials"
        self.credentials.mkdir()
        self.probe.environment["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        self.store(KEY)
        self.configure(f'[channels.main]\nyoutube_video = "{ID}"\n')

    def store(self, key: str) -> None:
        (self.credentials / "livekeep.youtube-api-key").write_text(key)

    def configure(self, tables: str, timeout_seconds: float = 15) -> None:
        address = f'[probes.youtube]\napi_url = "{self.web.url}/youtube/v3/"\ntimeout_seconds = {timeout_seconds}\n'
        self.probe.configure(address + tables)

    def say(self, reply: Reply) -> None:
        self.web.answer = lambda _request: reply

    def look(self) -> YoutubeResult:
        found = self.probe.run()
        assert KEY not in self.probe.everything_told()
        assert "Traceback" not in self.probe.said
        return found

    def goes_on_air(self, channel: str = "main") -> None:
        """As a worker writes it; a test is over long before that is old."""
        folder = channels.folder_of(channel, self.probe.root)
        folder.mkdir(exist_ok=True)
        moment = time.monotonic() + 60
        now = ChannelState(channel=channel, publishing="on-air", last_acknowledged_monotonic=moment, written_monotonic=moment)
        state.write(now, folder)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Web() as web:
        yield Studio(tmp_path, web)


def item(content: str = "live", video: str = ID, **live: str) -> dict[str, Any]:
    return {
        "kind": "youtube#video",
        "id": video,
        "snippet": {"title": "A day\n in the wood", "description": "…", "liveBroadcastContent": content, "thumbnails": {}},
        "liveStreamingDetails": live,
    }


def answer(*items: object) -> bytes:
    page = {"totalResults": len(items), "resultsPerPage": len(items)}
    return http(200, {"kind": "youtube#videoListResponse", "etag": "x", "items": list(items), "pageInfo": page})


def error(status: int, reason: str, detail: str = "") -> bytes:
    """An error in Google's form; `detail` is in the newer part of it."""
    told: dict[str, Any] = {"code": status, "message": "…", "errors": [{"domain": "global", "message": "…", "reason": reason}]}
    if detail:
        told["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": detail, "domain": "googleapis.com"}]
    return http(status, {"error": told})


# What YouTube says


def test_a_broadcast_that_is_live(studio: Studio) -> None:
    live = {"actualStartTime": "2026-11-21T10:02:00Z", "scheduledStartTime": "2026-11-21T10:00:00Z", "concurrentViewers": "12"}
    studio.say(answer(item(**live)))
    found = studio.look()
    assert (found.run.verdict, found.run.reason, found.run.interval_seconds) == ("ok", "main: live", 60)
    expected = YoutubeVideo("main", ID, "live", "A day in the wood", BEGAN - 120, BEGAN, None, 12)
    assert found.videos == (expected,)
    (request,) = studio.web.requests
    assert request.path == f"/youtube/v3/videos?part=snippet,liveStreamingDetails&id={ID}"
    assert request.headers["x-goog-api-key"] == KEY


@pytest.mark.parametrize(
    ("items", "showing"),
    [
        ([item("upcoming", scheduledStartTime="2026-11-21T10:00:00.5Z")], "upcoming"),
        ([item("none", actualStartTime="2026-11-21T10:02:00Z", actualEndTime="2026-11-21T11:02:00Z")], "ended"),
        ([{"id": ID, "snippet": {"title": "An old film", "liveBroadcastContent": "none"}}], "none"),
        ([], "missing"),
        ([item("live", "AAAAAAAAAAA")], "missing"),
    ],
)
def test_a_broadcast_that_is_not_live(studio: Studio, items: list[object], showing: Showing) -> None:
    studio.say(answer(*items))
    found = studio.look()
    assert (found.videos[0].showing, found.videos[0].viewers) == (showing, None)
    assert found.run.verdict == ("warn" if showing == "missing" else "ok"), "off air here, there is nothing to contradict"
    studio.goes_on_air()
    assert studio.look().videos[0].unshown_since == pytest.approx(time.time(), abs=60)
    studio.probe.remember(videos=(replace(studio.probe.findings().videos[0], unshown_since=time.time() - 125),))
    wrong = studio.look()
    assert (wrong.run.verdict, wrong.run.reason) == ("warn", f"channel main: {NOT_SHOWN[showing][0]}")
    assert wrong.run.advice == NOT_SHOWN[showing][1]


def test_one_question_for_all_channels_those_of_the_api_too(studio: Studio) -> None:
    directory = studio.probe.folder / "var/lib/livekeep/channels"
    directory.mkdir(parents=True)
    channels.save("api", {"youtube_video": "AAAAAAAAAAA"}, directory)
    mine = "".join(f'[channels.c{number}]\nyoutube_video = "{number:011}"\n' for number in range(49))
    studio.configure(f'{mine}[channels.again]\nyoutube_video = "{1:011}"\n[channels.other]\nmedia = "/srv"\n')
    studio.say(answer(item("live", "AAAAAAAAAAA"), item("upcoming", f"{1:011}")))
    found = {video.channel: video.showing for video in studio.look().videos}
    assert (found["api"], found["c1"], found["again"], found["c2"], "other" in found) == (
        "live", "upcoming", "upcoming", "missing", False,
    )  # fmt: skip
    assert len(studio.web.requests) == 1
    studio.configure(f'{mine}[channels.more]\nyoutube_video = "BBBBBBBBBBB"\n')
    studio.web.requests.clear()
    studio.look()
    assert [path.count(",") for path in studio.web.paths()] == [50, 1], "one between the parts, and one between two ids"


# Nothing to ask


def test_without_a_video_or_a_key_nothing_is_asked(studio: Studio) -> None:
    studio.store(" ")
    found = studio.look()
    assert (found.run.verdict, found.run.reason, found.run.advice, found.videos) == ("skipped", NO_KEY, STORE_KEY, ())
    (studio.credentials / "livekeep.youtube-api-key").unlink()
    assert studio.look().run.reason == NO_KEY
    studio.configure("")
    assert (studio.look().run.verdict, studio.look().run.reason) == ("skipped", NOTHING_NAMED)
    assert studio.web.connections == 0


@pytest.mark.parametrize("content", [b"AIza with-space", b"AIza\nX-Other: header", b"\xff\xfe", "AIzä".encode()])
def test_what_is_no_key_is_never_sent(studio: Studio, content: bytes) -> None:
    (studio.credentials / "livekeep.youtube-api-key").write_bytes(content)
    found = studio.look()
    assert (found.run.verdict, found.run.reason, studio.web.connections) == ("fail", ODD_KEY, 0)


# Faults


@pytest.mark.parametrize(
    ("reply", "says", "advises"),
    [
        (error(400, "badRequest", "API_KEY_INVALID"), "it does not accept the API key (HTTP 400)", "set-youtube-key"),
        (error(403, "quotaExceeded"), "the API key's quota of today is used up", "Pacific time"),
        (error(403, "rateLimitExceeded"), "there were too many requests at once", "interval_seconds"),
        (http(429), "there were too many requests at once", "interval_seconds"),
        (error(403, "accessNotConfigured", "SERVICE_DISABLED"), "API v3 is not enabled", "enable it"),
        (error(403, "forbidden", "API_KEY_IP_ADDRESS_BLOCKED"), "restrictions exclude this machine", "change them"),
        (http(403, "<html>"), "it does not accept the API key (HTTP 403)", "set-youtube-key"),
        (http(500, '{"error": {"errors": [7]}}'), "it has a fault (HTTP 500)", ""),
        (http(302, b"", Location="https://elsewhere.example/"), "it responds with HTTP 302", ""),
        (http(200, b"<html>"), "its response is not as documented", ""),
        (http(200, b"[" * 100_000), "its response is not as documented", ""),
        (http(200, b'{"items": [], "x": "' + b"x" * 2_100_000 + b'"}'), "its response is larger than 1 MiB", "probe network"),
        (http(200, {"items": None}), "its response is not as documented", ""),
        (answer("text"), "its response is not as documented", ""),
        (answer({"id": ID}), "its response is not as documented", ""),
        (answer(item() | {"id": 7}), "its response is not as documented", ""),
        (answer(item() | {"liveStreamingDetails": []}), "its response is not as documented", ""),
        (answer(item("completed")), "its response is not as documented", ""),
        (answer(item(concurrentViewers="-7")), "its response is not as documented", ""),
        (answer(item(concurrentViewers="9" * 400)), "its response is not as documented", ""),
        (answer(item(actualStartTime="yesterday")), "its response is not as documented", ""),
        (None, "the connection was interrupted", "probe network"),
    ],
)
def test_a_fault_is_told_in_one_sentence_and_nothing_is_known(studio: Studio, reply: Reply, says: str, advises: str) -> None:
    studio.say(answer(item("upcoming")))
    studio.goes_on_air()
    since = studio.look().videos[0].unshown_since
    studio.say(reply)
    found = studio.look()
    assert found.run.verdict == "fail"
    assert found.run.reason.startswith("YouTube cannot be asked: ")
    assert says in found.run.reason
    assert (advises in found.run.advice) and bool(advises) == bool(found.run.advice)
    # It is remembered since when the two differ, but until YouTube says so again, nothing is held against the channel.
    assert found.videos == (YoutubeVideo("main", ID, unshown_since=since),)
    assert since is not None and not found.videos[0].contradicts(since + 10 * NOT_SHOWN_SECONDS)


def test_a_server_that_is_slow_or_not_there(studio: Studio) -> None:
    studio.configure(f'[channels.main]\nyoutube_video = "{ID}"\n', timeout_seconds=1)
    studio.web.answer = lambda _request: studio.web.hang
    assert studio.look().run.reason == "YouTube cannot be asked: no answer within 1 s"
    studio.web.answer = lambda _request: studio.web.drip
    assert studio.look().run.reason == "YouTube cannot be asked: no answer within 1 s"
    studio.web.close()
    assert studio.look().run.reason == "YouTube cannot be asked: the connection is refused"


def test_channels_that_cannot_be_listed_are_a_fault_of_one_sentence(studio: Studio) -> None:
    directory = studio.probe.folder / "var/lib/livekeep/channels"
    directory.parent.mkdir(parents=True)
    directory.write_text("no folder")
    found = studio.look()
    assert found.run.verdict == "fail"
    assert "channels: cannot be read (Not a directory)" in found.run.reason


# The judgement


def video(showing: Showing, unshown_since: float | None = None, channel: str = "main") -> YoutubeVideo:
    return YoutubeVideo(channel, ID, showing, unshown_since=unshown_since)


@pytest.mark.parametrize("showing", ["upcoming", "none", "missing", "ended"])
def test_youtube_is_given_time_to_show_what_it_is_sent_but_an_end_is_final(showing: Showing) -> None:
    first = noted(video(showing), None, True, NOW)
    assert first.unshown_since == NOW
    again = noted(video(showing), first, True, NOW + NOT_SHOWN_SECONDS)
    assert again.unshown_since == NOW
    assert again.contradicts(NOW + NOT_SHOWN_SECONDS)
    assert first.contradicts(NOW + NOT_SHOWN_SECONDS - 1) == (showing == "ended")
    assert not noted(video(showing), again, False, NOW + 999).contradicts(NOW + 999)


def test_since_when_is_forgotten_when_it_is_shown_or_is_another_video_or_the_clock_was_set_back() -> None:
    before = video("upcoming", NOW - 500)
    assert noted(video("live"), before, True, NOW).unshown_since is None
    assert noted(video("upcoming"), replace(before, video="AAAAAAAAAAA"), True, NOW).unshown_since == NOW
    assert noted(video("upcoming"), before, True, NOW - 800).unshown_since == NOW - 800
    assert noted(video(""), before, True, NOW).unshown_since == NOW - 500
    assert noted(video(""), None, True, NOW).unshown_since is None
    assert not video("live", NOW - 500).contradicts(NOW)


def test_live_there_and_off_here_is_no_fault() -> None:
    assert judge([video("live"), video("upcoming", channel="hall")], NOW) == Judgement("ok", "main: live; hall: upcoming")


def test_many_faults_are_told_in_short() -> None:
    wrong = [video("ended", NOW, f"c{number}") for number in range(5)]
    found = judge([video("live"), *wrong], NOW)
    assert (found.verdict, found.advice) == ("warn", NOT_SHOWN["ended"][1])
    assert found.reason.count("YouTube has ended its broadcast") == 3
    assert found.reason.endswith(" and 2 more")
