"""The pages show the record: according to their filters, with any content, and also without a record."""

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livekeep.core import state
from livekeep.core.record_states import AlerterState, RecorderState
from livekeep.core.state import PlayerState, PollerState, TvState
from livekeep.record import figures
from livekeep.record.store.queries import Session, Step
from livekeep.record.web import pages
from livekeep.record.web.pages.jobs import bars
from livekeep.system.screen_picture import FILE
from tests.outside import wait_until
from tests.record.entries import Job, event
from tests.record.web_site import Html, Site

BEGIN = 1_700_000_000_000_000
DAY = 86400 * 1_000_000
DAYS = 12
WITHOUT_RECORD = ("/", "/alerts", "/clips", "/reports")
"""Pages that also show other data."""
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "line\rback\nnext\x1b[2J\x00",
    "\u202eright to left\u2066",
    "x" * 10_000,
    "</title></textarea></svg><b>bold</b>",
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    result = Site(tmp_path)
    yield result
    result.close()


@dataclass(frozen=True)
class MadeCall:
    function: str
    kind: str
    machine: str
    at: int
    duration: int
    outcome: str


@dataclass(frozen=True)
class MadeSession:
    name: str
    machine: str
    at: int
    outcome: str


MACHINES = ("box", "hall-2")
moments = st.integers(BEGIN, BEGIN + DAYS * DAY)
made_calls = st.builds(
    MadeCall,
    st.sampled_from(["job.fetch", "job.cut", "other [1] & <b>"]),
    st.sampled_from(["function", "api"]),
    st.sampled_from(MACHINES),
    moments,
    st.integers(1, 10**9),
    st.sampled_from(["succeeded", "succeeded", "failed", "cancelled"]),
)
made_sessions = st.builds(
    MadeSession,
    st.sampled_from(["clip analysis", "fetch", "<i>odd</i>"]),
    st.sampled_from(MACHINES),
    moments,
    st.sampled_from(["succeeded", "failed", "running", "cancelled"]),
)


def entries(calls: list[MadeCall], sessions: list[MadeSession]) -> Iterator[dict[str, str]]:
    jobs = {name: Job(hostname=name, machine=str(number) * 32) for number, name in enumerate(MACHINES, 1)}
    for call in calls:
        parts = [(call.function, call.at, call.duration, call.outcome)]
        yield jobs[call.machine].entry(calls=parts, at=call.at, kind=call.kind)
    for number, session in enumerate(sessions):
        ended = None if session.outcome == "running" else session.at + 5
        line = {"name": session.name, "began": session.at, "ended": ended, "outcome": session.outcome, "done": 1}
        yield jobs[session.machine].entry(lines=[["s", f"s{number}", line]], at=session.at)


def iso(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 1_000_000)) + f".{moment % 1_000_000:06}+00:00"


numbers = itertools.count()


@settings(deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(made_calls, max_size=30),
    st.lists(made_sessions, max_size=20),
    st.tuples(moments, moments).map(sorted),
    st.fixed_dictionaries(
        {
            "function": st.sampled_from(["", "job.fetch", "job.*", "other [1] & <b>", "nowhere"]),
            "kind": st.sampled_from(["", "function", "api"]),
            "machine": st.sampled_from(["", *MACHINES]),
            "outcome": st.sampled_from(["", "failed", "succeeded", "running"]),
        }
    ),
)
def test_dashboard_filtering_accuracy(
    site: Site, calls: list[MadeCall], sessions: list[MadeSession], between: list[int], names: dict[str, str]
) -> None:
    """A page's content for an address equals what a person finds by reading through all rows."""
    site.begin_again(f"{next(numbers)}.db")
    writer = site.writer()
    writer.ingest(entries(calls, sessions))
    writer.close()
    function, kind, machine, outcome = names.values()
    begin, end = between
    within = {"from": iso(begin), "to": iso(end), "machine": machine}

    wanted = [
        call
        for call in calls
        if begin <= call.at < end
        and machine in ("", call.machine)
        and kind in ("", call.kind)
        and (function in ("", call.function) or (function == "job.*" and call.function.startswith("job.")))
    ]
    shown = site.page("/functions?" + urlencode(within | {"function": function, "kind": kind}))
    assert shown.figures["Calls"] == f"{len(wanted)}"
    assert shown.figures["Failed"] == f"{sum(call.outcome == 'failed' for call in wanted)}"
    assert rows_of_functions(shown) == by_hand(wanted)

    chosen = [one for one in sessions if begin <= one.at < end and machine in ("", one.machine) and outcome in ("", one.outcome)]
    listed = site.page("/jobs?" + urlencode(within | {"outcome": outcome}))
    assert listed.figures["Sessions"] == f"{len(chosen)}"
    rank = {"failed": 0, "running": 1}
    in_order = sorted(chosen, key=lambda one: (rank.get(one.outcome, 2), -one.at))
    assert [(row[0], row[1].strip()) for row in listed.rows] == [(one.name, one.outcome) for one in in_order] or has_ties(chosen)
    assert sorted((row[0], row[1].strip()) for row in listed.rows) == sorted((one.name, one.outcome) for one in chosen)


def has_ties(sessions: list[MadeSession]) -> bool:
    """Whether two began in the same microsecond, so that their order is arbitrary."""
    return len({one.at for one in sessions}) < len(sessions)


def rows_of_functions(page: Html) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Calls, failures and mean by function and kind."""
    result = {}
    for row in page.rows if page.tables and page.tables[-1][0][0] == "Function" else []:
        name, _, kind = row[0].partition(" api")
        result[name if row[0].endswith(" api") else row[0], "api" if row[0].endswith(" api") else "function"] = (
            row[1],
            row[2].partition(" ")[0],
            row[6],
        )
        assert not kind
    return result


def by_hand(calls: list[MadeCall]) -> dict[tuple[str, str], tuple[str, str, str]]:
    result = {}
    for key in {(call.function, call.kind) for call in calls}:
        own = [call for call in calls if (call.function, call.kind) == key]
        mean = round(sum(call.duration for call in own) / len(own))
        failures = sum(call.outcome == "failed" for call in own)
        result[key] = (str(len(own)), str(failures), figures.duration(mean / 1_000_000))
    return result


def addresses(site: Site) -> list[str]:
    """Every page, with data of the record."""
    lists = (site.page("/jobs?from=2001-01-01"), site.page("/functions?from=2001-01-01"))
    own = [link for page in lists for link in page.links if link.startswith(("/jobs/", "/function?"))]
    own += {link for address in own for link in site.page(address).links if link.startswith("/calls/")}
    menu = [f"{path}?from=2001-01-01" if path != "/" else path for _name, path in pages.MENU]
    return [*menu, *own, "/login"]


def test_hostile_texts_are_shown_as_text_in_every_field(site: Site) -> None:
    writer = site.writer()
    now = int(time.time() * 1_000_000)
    for text in HOSTILE:
        job = Job(unit=text, hostname=text, machine=text[:32].ljust(32, "x"))
        error = [text, text, f"Traceback\n{text}"]
        session = {
            "name": text,
            "began": now - 50_000_000,
            "outcome": "running",
            "total": 9,
            "done": 3,
            "message": text,
            "error": error,
        }
        step = {"name": text, "began": now - 40_000_000, "outcome": "running", "weight": 1, "done": 1, "total": 2, "error": error}
        call = ["c", 1, 0, now - 30_000_000, 5, "failed", 0, "s", text, text, error]
        lines = [["s", "s", session], ["t", "s", 1, step], ["f", 0, text, text], call]
        event = {"LIVEKEEP_EVENT": text, "MESSAGE": text, "LIVEKEEP_NAME": text, "LIVEKEEP_SESSION": "s", "PRIORITY": "3"}
        writer.ingest([job.entry(lines=lines, at=now, **event)])
    writer.close()
    seen = addresses(site)
    for beginning in ("/jobs/", "/calls/", "/function?"):
        assert len([address for address in seen if address.startswith(beginning)]) == len(HOSTILE), beginning
    for address in seen:
        response = site.browser.get(address)
        assert response.status_code == 200, (address[:200], response.text[-500:])
        page = Html(response.text)
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (address[:100], tag)
            assert tag != "b", address[:100]
            if tag == "script":
                assert (attributes.get("src") or "").startswith("/static/"), address[:100]
            if tag == "img":
                assert (attributes.get("src") or "").startswith(("/static/", "/screen.png")), address[:100]
        assert not set(re.findall(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2066]", response.text)), address[:100]
        assert "49" not in [text.strip() for text in page.texts if "7 * 7" in text]
    shown = site.page("/jobs?from=2001-01-01").text
    assert "<script>alert(1)</script>" in shown
    assert r"line\rback" in shown
    assert r"\u202eright to left" in shown


@pytest.mark.parametrize("address", [path for _name, path in pages.MENU if path not in WITHOUT_RECORD])
def test_without_a_record_a_page_says_what_to_do(site: Site, address: str) -> None:
    response = site.browser.get(address)
    assert response.status_code == 503
    assert "There is no record yet" in response.text
    assert "livekeep-recorder" in response.text


@pytest.mark.parametrize("address", WITHOUT_RECORD)
def test_pages_that_need_no_record_are_there_without_one(site: Site, address: str) -> None:
    assert site.browser.get(address).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "range=forever",
        "from=yesterday",
        "from=2026-13-45",
        "from=2026-11-20&to=2026-11-01",
        "metric=speed",
        "after=nonsense",
        "after=1-2",
        "after=9999999999999999999",
        "from=0001-01-01&to=9999-12-31",
        "machine=%00&function=%ff&kind=*",
        "priority=x&text=%25&name=[",
        "unknown=1&" + "&".join(f"a{n}=1" for n in range(200)),
    ],
    ids=lambda query: query[:20],
)
def test_an_address_that_says_nonsense_gets_a_page_all_the_same(site: Site, query: str) -> None:
    site.writer().close()
    for address in [path for _name, path in pages.MENU] + ["/function", "/jobs/1", "/calls/1", "/jobs/9999999999999999999"]:
        status = site.browser.get(f"{address}?{query}").status_code
        assert status in (200, 400, 404), address


def test_what_is_not_there_says_so(site: Site) -> None:
    site.writer().close()
    for address in ("/nothing", "/jobs/7", "/calls/7", "/function", "/reports/no.pdf", "/reports/..%2f..%2fetc%2fpasswd"):
        response = site.browser.get(address)
        assert response.status_code == 404, address


def test_a_step_that_is_its_own_parent_is_shown() -> None:
    session = Session(1, "s", "box", "u", "p", 1, None, 0, 100, 100, "succeeded", None, 1, None, None, None, "", None)
    steps = [
        Step(1, 1, "own parent", 1, 0, 50, "succeeded", None, 0, None),
        Step(2, 9, "parent unknown", 1, 50, None, "running", None, 0, None),
        Step(3, 2, "child", 1, 60, 80, "failed", None, 0, None),
    ]
    shown = bars(session, steps, 100)
    assert [(bar.step.name, bar.depth, bar.x, bar.width) for bar in shown] == [
        ("own parent", 0, 0.0, 50.0),
        ("parent unknown", 0, 50.0, 50.0),
        ("child", 1, 60.0, 20.0),
    ]


def read_to_the_end(site: Site, address: str, column: int, table: int = -1) -> list[str]:
    texts = []
    while address:
        page = site.page(address)
        texts += [row[column] for row in page.tables[table][1:]]
        links = [attributes for tag, attributes in page.tags if tag == "a" and attributes.get("rel") == "next"]
        address = links[0]["href"] or "" if links else ""
    return texts


def test_lists_are_read_to_their_end_page_by_page(site: Site) -> None:
    writer = site.writer()
    names = [f"number {number:03}" for number in range(230)]
    writer.ingest(entries([], [MadeSession(name, "box", BEGIN + n * 1000, "succeeded") for n, name in enumerate(names)]))
    job = Job()
    calls = [(name, BEGIN + n * 1000, 5, "succeeded") for n, name in enumerate(names)]
    line = {"name": "one of many calls", "began": BEGIN - 5, "outcome": "running", "done": 0}
    writer.ingest([job.entry(calls=calls, lines=[["s", "many", line]], session="many", at=BEGIN)])
    writer.ingest([event("made", name, at=BEGIN + n * 1000) for n, name in enumerate(names)])
    writer.close()
    assert read_to_the_end(site, "/jobs?from=2001-01-01", 0) == ["one of many calls", *reversed(names)]
    number = next(link for link in site.page("/jobs?session=one*&from=2001-01-01").links if link.startswith("/jobs/"))
    assert read_to_the_end(site, number, 0, 0) == list(reversed(names))
    messages = read_to_the_end(site, "/events?from=2001-01-01&name=made", 2)
    assert [text.strip() for text in messages] == list(reversed(names))


def test_the_page_has_a_picture_of_the_screen_taken_and_shows_it(tmp_path: Path) -> None:
    picture = tmp_path / "run" / FILE
    picture.parent.mkdir(parents=True)
    may_take = tmp_path / "may take"

    def take() -> str:
        wait_until("the picture may be taken", may_take.exists)
        new = picture.with_suffix(".new")
        new.write_text("made-up")
        new.rename(picture)
        return "job"

    site = Site(tmp_path, start_camera=take)
    assert site.browser.get("/screen.png").status_code == 404
    assert "No picture of the screen yet" in site.page("/").text
    may_take.touch()
    wait_until("the picture", picture.exists)
    page = site.page("/")
    shown = next(
        attributes["src"] or "" for tag, attributes in page.tags if tag == "img" and "screen.png" in str(attributes["src"])
    )
    answer = site.browser.get(shown)
    assert (answer.content, answer.headers["content-type"]) == (b"made-up", "image/png")
    site.close()


def test_a_tv_that_is_off_on_purpose_is_well_and_says_until_when(site: Site) -> None:
    def write(*written: state.State) -> None:
        for it in written:
            (site.root / "run" / it.FILE).parent.mkdir(exist_ok=True)
            state.write(state.stamped(it), site.root / "run")

    until = time.time() + 10 * 86400
    off = TvState(is_wanted=False, reason="the plan (daily 08:00-22:00)", until=until, method="black")
    write(off, PollerState("offline"), PlayerState("none"))
    page = site.page("/").text
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(until))
    assert f"The TV is off on purpose until {moment} (black picture): the plan (daily 08:00-22:00)." in page
    assert "All is well" in page
    write(replace(off, is_wanted=True, problem="the TV is mute", advice="Enable CEC"), PlayerState("holding", display_up=True))
    page = site.page("/").text
    assert "off on purpose" not in page
    assert "The holding picture is shown, but the TV is mute." in page
    assert "Enable CEC" in page


def test_a_box_without_a_screen_shows_none(site: Site) -> None:
    (site.root / "kept/install").mkdir()
    (site.root / "kept/install/without-screen").touch()
    page = site.page("/")
    assert "On the screen" not in page.text
    assert "the recorder does not run" in page.text.lower()
    site.writer().close()
    for written in (RecorderState(), AlerterState()):
        (site.root / "run" / written.FILE).parent.mkdir()
        state.write(state.stamped(written), site.root / "run")
    assert "All is well" in site.page("/").text


@pytest.mark.parametrize(
    ("format_", "beginning"), [("html", b"<!"), ("pdf", b"%pdf-"), ("csv", b""), ("json", b"{"), ("text", b"")]
)
def test_a_report_is_made_as_the_address_says(site: Site, format_: str, beginning: bytes) -> None:
    writer = site.writer()
    writer.ingest(entries([MadeCall("job.fetch", "function", "box", BEGIN, 5_000_000, "failed")] * 3, []))
    writer.close()
    answer = site.browser.get(f"/report?format={format_}&from=2023-11-01&to=2023-11-30&function=job.fetch")
    assert answer.status_code == 200
    assert answer.content.lower().startswith(beginning)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    if format_ != "pdf":
        assert "job.fetch" in answer.text
