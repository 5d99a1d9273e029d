"""The sources of clips, against a real server that answers as documented, or as badly as possible."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record.clips import file_source
from livekeep.record.clips.clip import LARGEST_COUNT, Clip, SourceError, count_of, link_of, name_of
from livekeep.record.clips.vimeo_source import VimeoSource, clips_in, wait_seconds
from livekeep.record.clips.youtube_source import YoutubeSource, duration_of
from tests.record.running_clips import KEY, TOKEN, entry, lists, page
from tests.web import Reply, Request, Web, error, http


def vimeo(web: Web, seconds: float = 5.0) -> VimeoSource:
    return VimeoSource(web.url, "", TOKEN, seconds)


def youtube(web: Web, seconds: float = 5.0) -> YoutubeSource:
    return YoutubeSource(f"{web.url}/youtube/v3", "", KEY, seconds)


def problem_of(read: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(SourceError) as caught:
        read()
    assert TOKEN not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    return str(caught.value), caught.value.advice


# Vimeo


@pytest.mark.parametrize("of", ["me", "users/7", "channels/staffpicks", "albums/42"])
def test_a_list_of_vimeo(web: Web, of: str) -> None:
    web.answer = lists(entry(7, 12), entry(8, None, duration=0, created_time="odd", link="javascript:alert(1)"))
    result = vimeo(web).clips(of)
    created = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert result == [
        Clip("7", "Clip 7", "https://vimeo.com/7", 61.0, created, 12, 3, None),
        Clip("8", "Clip 8", "", None, None, None, 3, None),
    ]
    (request,) = web.requests
    parts = urlsplit(request.path)
    query = parse_qs(parts.query)
    assert parts.path == f"/{of}/videos"
    assert query["per_page"] == ["100"]
    assert query["sort"] == ["date"]
    assert "stats.plays" in query["fields"][0]
    assert request.headers["authorization"] == f"bearer {TOKEN}"
    assert request.headers["accept"] == "application/vnd.vimeo.*+json;version=3.4"


def test_ten_thousand_clips_of_vimeo_come_by_a_hundred_pages_on_one_connection(web: Web) -> None:
    entries = [entry(number, number) for number in range(10_000)]
    web.answer = lambda request: page(request, entries)
    result = vimeo(web).clips("me")
    assert [clip.plays for clip in result] == list(range(10_000))
    assert len(web.requests) == 100
    assert web.connections == 1


def test_a_list_without_an_end_is_read_to_a_bound_and_a_clip_counts_once(web: Web) -> None:
    web.answer = lambda request: page(request, [entry(1, 5)], next_page="/me/videos?per_page=100&page=1")
    assert [clip.id for clip in vimeo(web).clips("me")] == ["1"]
    assert len(web.requests) == 200


def test_the_list_never_leads_the_token_to_another_server(web: Web) -> None:
    with Web() as other:
        other.answer = lists(entry(666))
        for target in (f"{other.url}/me/videos?per_page=100", f"//127.0.0.1:{other.port}/x", "http://[bad/", "ftp://127.0.0.1/x"):
            web.answer = lambda request, target=target: page(request, [entry(1)], next_page=target)
            said, _advice = problem_of(lambda: vimeo(web).clips("me"))
            assert said == "Vimeo's list continues at another server, which livekeep does not trust"
        web.answer = lambda _request: http(302, Location=f"{other.url}/me/videos?per_page=100")
        assert problem_of(lambda: vimeo(web).clips("me"))[0] == "Vimeo's response is unexpected (HTTP 302)"
        assert other.connections == 0


def test_a_page_past_the_end_is_the_end(web: Web) -> None:
    def answer(request: Request) -> bytes:
        return page(request, [entry(1)], "/me/videos?per_page=100&page=2") if "page=2" not in request.path else error(404, 2286)

    web.answer = answer
    assert [clip.id for clip in vimeo(web).clips("me")] == ["1"]


@pytest.mark.parametrize(
    ("reply", "says", "advises"),
    [
        (error(401, 8003), "Vimeo does not accept the token (HTTP 401, code 8003)", "set-token"),
        (error(401), "Vimeo does not accept the token (HTTP 401)", "set-token"),
        (error(403, 3200), "the Vimeo token may not see these clips (HTTP 403, code 3200)", "set-token"),
        (error(404, 5000), "Vimeo has no such user, channel or showcase (HTTP 404, code 5000)", "[clips.NAME]"),
        (error(404, 2286), "Vimeo has no such user, channel or showcase (HTTP 404, code 2286)", "[clips.NAME]"),
        (error(400, 2204), "Vimeo's response is unexpected (HTTP 400, code 2204)", ""),
        (error(500, 4000), "Vimeo has a fault (HTTP 500)", ""),
        (http(502, "<html>bad gateway"), "Vimeo has a fault (HTTP 502)", ""),
        (http(200, "<html>log in here"), "Vimeo's response is not as documented", "login"),
        (http(200, '{"data": [{'), "Vimeo's response is not as documented", "login"),
        (http(200, b"[" * 100_000), "Vimeo's response is not as documented", "login"),
        (http(200, {"data": {"1": 2}}), "Vimeo's response is not as documented", "login"),
        (http(200, []), "Vimeo's response is not as documented", "login"),
        (http(200, b"x" * 2_000_000), "Vimeo cannot be reached: its response is larger than 1 MiB", "doctor"),
        (b"SSH-2.0-OpenSSH\r\n", "Vimeo cannot be reached: its response is not valid HTTP", "doctor"),
        (None, "Vimeo cannot be reached: the connection was interrupted", "doctor"),
    ],
    ids=str.split("401 401-old 403 404 404-first-page 400 500 502 html half deep object array large ssh closed"),
)
def test_a_fault_of_vimeo_is_one_sentence_with_advice(web: Web, reply: Reply, says: str, advises: str) -> None:
    web.answer = lambda _request: reply
    said, advice = problem_of(lambda: vimeo(web).clips("me"))
    assert said == says
    assert advises in advice
    assert bool(advises) == bool(advice)
    # Transient faults are tried three times, others once.
    assert len(web.requests) in ((3,) if "fault" in says or "reached" in says else (1,))


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_server_that_hangs_or_drips_costs_three_timeouts(web: Web, how: str) -> None:
    web.answer = lambda _request: getattr(web, how)
    began = time.monotonic()
    said, _advice = problem_of(lambda: vimeo(web, 0.3).clips("me"))
    assert said == "Vimeo cannot be reached: no answer within 0.3 s"
    assert time.monotonic() - began > 3 * 0.3
    assert len(web.requests) == 3


def test_a_page_that_fails_once_is_read_again(web: Web) -> None:
    entries = [entry(number) for number in range(250)]
    faults: list[Reply] = [http(503), None]

    def answer(request: Request) -> Reply:
        return faults.pop() if faults and "&page=2" in request.path else page(request, entries)

    web.answer = answer
    assert len(vimeo(web).clips("me")) == 250
    assert len(web.requests) == 5


def test_the_rate_limit_is_waited_for_until_its_reset(web: Web) -> None:
    reported = [datetime.now(UTC)]

    def answer(request: Request) -> bytes:
        if len(web.requests) > 1:
            return page(request, [entry(1)])
        reported[0] = datetime.now(UTC) + timedelta(seconds=1)
        return error(429, 9000, X_RateLimit_Reset=reported[0].isoformat())

    web.answer = answer
    assert len(vimeo(web).clips("me")) == 1
    assert datetime.now(UTC) > reported[0]
    assert len(web.requests) == 2


def test_a_long_rate_limit_is_left_to_the_next_run(web: Web) -> None:
    web.answer = lambda _request: error(429, 9000, X_RateLimit_Reset=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    said, advice = problem_of(lambda: vimeo(web).clips("me"))
    assert said == "Vimeo asks us to wait: too many requests with this token"
    assert "analyzer.interval_seconds" in advice
    assert len(web.requests) == 1


def test_some_of_the_limit_is_left_to_others(web: Web) -> None:
    entries = [entry(number) for number in range(101)]
    reset = datetime.now(UTC) + timedelta(hours=1)
    few = {"X_RateLimit_Remaining": "5", "X_RateLimit_Reset": reset.isoformat()}
    web.answer = lambda request: page(request, entries).replace(b"\r\n", b"".join(
        [b"\r\n", *(f"{name.replace('_', '-')}: {value}\r\n".encode() for name, value in few.items())]), 1)  # fmt: skip
    assert "asks us to wait" in problem_of(lambda: vimeo(web).clips("me"))[0]
    # A single page needs no further request.
    entries[1:] = []
    assert len(vimeo(web).clips("me")) == 1


def test_how_long_the_limit_is_waited_for() -> None:
    assert wait_seconds(1010.0, 1000.0) == 10.5
    assert wait_seconds(990.0, 1000.0) == 0.5
    assert wait_seconds(None, 1000.0) == 60.5


KEYS = ["uri", "name", "stats", "plays", "metadata", "connections", "likes", "total", "link", "created_time", "duration"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(JSON | st.fixed_dictionaries({"uri": st.just("/videos/7"), "stats": JSON, "metadata": JSON, "name": JSON})))
def test_whatever_a_page_holds_it_gives_clips_or_none(entries: list[Any]) -> None:
    for clip in clips_in({"data": entries}):
        assert clip.id.isdecimal()
        assert all(count is None or 0 <= count <= LARGEST_COUNT for count in (clip.plays, clip.likes, clip.comments))


# YouTube

CHANNEL = "UC" + "a" * 22


class Tube:
    """YouTube with a channel of `count` videos."""

    def __init__(self, count: int) -> None:
        self.ids = [f"video{number:06}" for number in range(count)]
        self.missing: set[str] = set()

    def answer(self, request: Request) -> bytes:
        assert request.headers["x-goog-api-key"] == KEY
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        call = parts.path.removeprefix("/youtube/v3/")
        if call == "channels":
            playlists = {"relatedPlaylists": {"uploads": "UU" + CHANNEL[2:]}}
            return http(200, {"items": [{"contentDetails": playlists}] if query["id"] == CHANNEL else []})
        if call == "playlistItems":
            assert (query["playlistId"], query["maxResults"]) == ("UU" + CHANNEL[2:], "50")
            start = int(query.get("pageToken", "p0")[1:])
            body: dict[str, Any] = {"items": [{"contentDetails": {"videoId": it}} for it in self.ids[start : start + 50]]}
            return http(200, body | ({"nextPageToken": f"p{start + 50}"} if start + 50 < len(self.ids) else {}))
        wanted = query["id"].split(",")
        assert len(wanted) <= 50
        assert query["part"] == "snippet,statistics,contentDetails"
        return http(200, {"items": [self.item(identity) for identity in wanted if identity not in self.missing]})

    def item(self, identity: str) -> dict[str, Any]:
        return {
            "id": identity,
            "snippet": {"title": f"Title\n{identity}", "publishedAt": "2026-11-21T10:02:00Z"},
            "statistics": {"viewCount": "1234", "likeCount": "5"},
            "contentDetails": {"duration": "PT1H2M3S"},
        }


def test_a_channel_of_youtube_by_fifty(web: Web) -> None:
    tube = Tube(120)
    tube.missing = {"video000007"}
    web.answer = tube.answer
    result = youtube(web).clips(CHANNEL)
    assert len(result) == 119
    created = datetime(2026, 11, 21, 10, 2, tzinfo=UTC).timestamp()
    link = "https://www.youtube.com/watch?v=video000000"
    assert result[0] == Clip("video000000", "Title video000000", link, 3723.0, created, 1234, 5, None)
    assert len(web.requests) == 1 + 3 + 3
    assert web.connections == 1


def test_a_large_channel_is_read_to_a_bound(web: Web) -> None:
    web.answer = Tube(3000).answer
    assert len(youtube(web).clips(CHANNEL)) == 2000
    assert len(web.requests) == 81


def test_what_is_wrong_with_youtube_is_one_sentence_with_advice(web: Web) -> None:
    web.answer = Tube(1).answer
    assert problem_of(lambda: youtube(web).clips("UC" + "b" * 22)) == (
        "YouTube has no such channel", "correct youtube_channel in [clips.NAME]",
    )  # fmt: skip
    quota = {"error": {"errors": [{"reason": "quotaExceeded"}]}}
    web.answer = lambda _request: http(403, quota)
    said, advice = problem_of(lambda: youtube(web).clips(CHANNEL))
    assert said == "YouTube cannot be asked: the API key's quota of today is used up"
    assert "Pacific" in advice
    for reply in (http(200, {"items": [7]}), http(200, {"items": [{"contentDetails": {}}]}), http(200, "<html>"), http(200, [])):
        web.answer = lambda _request, reply=reply: reply
        assert problem_of(lambda: youtube(web).clips(CHANNEL))[0] == (
            "YouTube cannot be asked: its response is not as documented"
        )
    web.requests.clear()
    web.answer = lambda _request: http(503)
    assert problem_of(lambda: youtube(web).clips(CHANNEL))[0] == "YouTube cannot be asked: it has a fault (HTTP 503)"
    assert len(web.requests) == 3
    web.answer = lambda _request: web.hang
    assert "no answer within 0.2 s" in problem_of(lambda: youtube(web, 0.2).clips(CHANNEL))[0]


def test_an_id_that_would_change_the_address_is_refused(web: Web) -> None:
    tube = Tube(1)
    tube.ids = ["a&key=b"]
    web.answer = tube.answer
    assert "not as documented" in problem_of(lambda: youtube(web).clips(CHANNEL))[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1H2M3S", 3723.0), ("PT59S", 59.0), ("P1DT1S", 86401.0), ("P0D", None), ("PT", None), ("1:02", None), (7, None)],
)
def test_durations_of_youtube(text: object, seconds: float | None) -> None:
    assert duration_of(text) == seconds


# A file


def test_a_file_of_clips(tmp_path: Path) -> None:
    file = tmp_path / "clips.json"
    full = {"id": 1024, "name": "Winter\nchoir", "link": "https://example.org/1024", "duration": 95.5,
            "created": "2026-11-29T12:00:00Z", "plays": 1520, "likes": 12, "comments": None}  # fmt: skip
    file.write_text(json.dumps([full, {"id": "a-b_c"}]))
    created = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
    first = Clip("1024", "Winter choir", "https://example.org/1024", 95.5, created, 1520, 12, None)
    assert file_source.clips(file) == [first, Clip("a-b_c")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not valid JSON"),
        (b'[{"id": 1', "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"id": 1}', "must hold an array of clips"),
        (b'[{"id": 1}, 7]', "entry 2: must be an object"),
        (b'[{"id": 1}, {"name": "x"}]', "entry 2: id: must be a number, or letters, digits, - and _"),
        (b'[{"id": "a b"}]', "entry 1: id: must be a number, or letters, digits, - and _"),
        (b'[{"id": true}]', "entry 1: id: must be a number, or letters, digits, - and _"),
        (b'[{"id": 1, "plays": -3}]', "entry 1: plays: must be a whole number, or null"),
        (b'[{"id": 1, "likes": 1.5}]', "entry 1: likes: must be a whole number, or null"),
        (b'[{"id": 1, "created": "soon"}]', 'entry 1: created: must be a time such as "2026-11-29T12:00:00Z", or null'),
        (b'[{"id": 1}, {"id": "1"}]', "an id appears twice"),
        (json.dumps([{"id": number} for number in range(20_001)]).encode(), "must hold at most 20000 clips, holds 20001"),
    ],
    ids=range(14),
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "clips.json"
    file.write_bytes(content)
    assert problem_of(lambda: file_source.clips(file))[0] == f"{file}: {says}"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in problem_of(lambda: file_source.clips(tmp_path / "none"))[0]
    assert "cannot be read" in problem_of(lambda: file_source.clips(tmp_path))[0]


# External values


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (7, 7), ("12", 12), (3.0, 3), (3.5, None), (-1, None), (True, None), (None, None), ("x", None), (10**16, None),
     ([], None), (float("inf"), None), (float("nan"), None)],
)  # fmt: skip
def test_a_figure(value: object, count: int | None) -> None:
    assert count_of(value) == count


def test_a_name_is_one_line_and_short_and_a_link_is_a_link() -> None:
    assert name_of("a\n\x1b[31mb" + "x" * 500) == ("a  [31mb" + "x" * 500)[:200]
    assert name_of(7) == ""
    assert link_of("https://vimeo.com/1/abc?x=1") == "https://vimeo.com/1/abc?x=1"
    for bad in ("javascript:alert(1)", 'https://x/"><script>', "https://x/ y", "https://" + "x" * 600, "", None, 7):
        assert link_of(bad) == ""
