"""Sessions and steps: progress, outcome, time left, and the terminal's output."""

import asyncio
import json
import os
import pty
import random
import select
import subprocess
import threading
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core import events
from livekeep.record import ProgressMonitor, Session, flush, monitor_execution, progress_step, session, wire
from livekeep.record.instrument import forecast, history, terminal
from livekeep.record.instrument.forecast import Now, Run, StepNow, StepRun
from tests.outside import PATIENCE_SECONDS
from tests.record.journal_socket import JournalSocket, lines_of, ran
from tests.record.test_instrument_functions import Recorded


@pytest.fixture(autouse=True)
def _own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def states(recorded: Recorded, name: str) -> list[dict[str, Any]]:
    """The reported states of a session, in the order of the entries."""
    return [line[2] for line in lines_of(recorded.entries, "s") if line[2]["name"] == name]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.floats(0, 5)),
        st.tuples(st.just("update"), st.floats(-1, 50)),
        st.tuples(st.just("step"), st.integers(0, 3)),
        st.tuples(st.just("inner"), st.integers(0, 4)),
        st.tuples(st.just("track"), st.integers(0, 5)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    total=st.one_of(st.none(), st.integers(0, 20)),
    weights=st.one_of(st.none(), st.dictionaries(st.sampled_from("0123"), st.floats(0, 10), max_size=4)),
    actions=ACTIONS,
    ending=st.sampled_from([None, ValueError("wrong"), KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(0)]),
)
def test_property_progress_consistency(total: int | None, weights: dict[str, float] | None, actions: Any, ending: Any) -> None:
    """Percent never falls, is 100 only at a successful end, and the records match what the session did."""
    percents, steps = [], 0
    with Recorded() as recorded:
        run = session("consistent", total, steps=weights)
        try:
            with run:
                for action, value in actions:
                    steps += act(run, action, value)
                    percents.append(run.percent())
                end(ending)
        except BaseException as error:
            assert error is ending
    known = [percent for percent in percents if percent is not None]
    assert known == sorted(known)
    assert all(0 <= percent < 100 for percent in known)
    said = states(recorded, "consistent")
    assert (said[0]["outcome"], said[0]["done"]) == ("running", 0)
    assert {state["outcome"] for state in said[:-1]} == {"running"}
    last = said[-1]
    expected = {type(None): "succeeded", ValueError: "failed", SystemExit: "succeeded"}.get(type(ending), "cancelled")
    assert last["outcome"] == expected
    assert (last["percent"] == 100) == (expected == "succeeded")
    assert (last["error"] is None) == (expected == "succeeded")
    assert (last["done"], last["total"], last["left"]) == (run.done, run.total, None)
    assert last["done"] >= 0
    assert last["ended"] >= last["began"] == said[0]["began"]
    ended_steps = {line[2]: line[3] for line in lines_of(recorded.entries, "t") if line[3]["ended"] is not None}
    assert sorted(ended_steps) == list(range(1, steps + 1))
    reported = [percent for state in said if (percent := state["percent"]) is not None]
    assert reported == sorted(reported)


def end(ending: BaseException | None) -> None:
    if ending is not None:
        raise ending


def act(run: Session, action: str, value: Any) -> int:
    """One action of a job; return the number of steps that it began."""
    if action == "advance":
        run.advance(value)
    elif action == "update":
        run.update(done=value, message=f"at {value}")
    elif action == "track":
        for _ in run.track(range(value)):
            pass
    elif action == "flush":
        flush()
    elif action == "step":
        with ProgressMonitor(str(value)):
            pass
        return 1
    else:
        with ProgressMonitor(str(value), total=value, weight=value) as around:
            for _ in around.track(range(value)):
                with ProgressMonitor("within"):
                    assert ProgressMonitor.current() is not around
        return 1 + value
    return 0


def test_percent_follows_the_weights_and_what_is_done_within_a_step() -> None:
    with session("weighted", steps={"fetch": 1, "analyse": 3}) as run:
        assert run.percent() == 0
        with ProgressMonitor("fetch"):
            assert run.percent() == 0
        assert run.percent() == 25
        with ProgressMonitor("analyse", total=10) as step:
            step.advance(5)
            assert run.percent() == 62.5
    assert run.percent() == 100


def test_percent_follows_the_items_and_their_steps() -> None:
    with session("items", total=4, steps={"fetch": 1, "analyse": 3}) as run:
        for clip in run.track(range(4)):
            assert run.percent() == clip * 25
            with ProgressMonitor("fetch"):
                pass
            assert run.percent() == clip * 25 + 6.25
            with ProgressMonitor("analyse"):
                pass


@progress_step(weight=2)
def prepare() -> Any:
    return ProgressMonitor.current()


@progress_step(weight=6, name="cutting")
async def cut() -> Any:
    await asyncio.sleep(0)
    return ProgressMonitor.current()


def test_decorated_steps_know_their_weight_and_their_session() -> None:
    with Recorded() as recorded, session("decorated") as run:
        first = prepare()
        assert run.percent() == 25
        second = asyncio.run(cut())
    assert isinstance(first, ProgressMonitor)
    assert (first.name, first.weight, first.session) == ("prepare", 2, run)
    assert (second.name, second.weight, second.session) == ("cutting", 6, run)
    assert [line[3]["name"] for line in lines_of(recorded.entries, "t") if line[3]["ended"]] == ["prepare", "cutting"]
    assert recorded.calls == []


def test_a_step_outside_of_a_session_is_an_ordinary_call() -> None:
    with Recorded() as recorded:
        prepare().advance()
    assert recorded.names == ["prepare"]
    assert lines_of(recorded.entries, "s", "t") == []


def test_several_sessions_nested_and_at_once_keep_apart() -> None:
    @monitor_execution
    def work() -> None: ...

    def other(number: int) -> None:
        with session(f"thread {number}", total=3) as run:
            for _ in run.track(range(3)):
                work()

    with Recorded() as recorded:
        threads = [threading.Thread(target=other, args=(number,)) for number in range(4)]
        with session("outer", total=1) as outer, session("inner", total=2) as inner:
            for thread in threads:
                thread.start()
            work()
            inner.advance()
            for thread in threads:
                thread.join()
        work()
    ids = {line[1]: line[2] for line in lines_of(recorded.entries, "s")}
    assert ids[inner.id]["parent"] == outer.id
    assert (ids[inner.id]["done"], ids[outer.id]["done"]) == (1, 0)
    by_session = [call.session for call in recorded.calls]
    assert sorted(by_session.count(one) for one in set(by_session)) == [1, 1, 3, 3, 3, 3]
    assert by_session.count(inner.id) == by_session.count(None) == 1


def test_a_step_that_fails_says_why() -> None:
    with Recorded() as recorded, pytest.raises(ValueError, match="broken"), session("failing"), ProgressMonitor("cut"):
        raise ValueError("broken")
    entries = {entry[wire.EVENT]: entry for entry in recorded.entries}
    assert entries["step-ended"]["LIVEKEEP_ERROR"] == entries["session-ended"]["LIVEKEEP_ERROR"] == "ValueError: broken"
    assert set(entries) >= {events.STEP_ENDED.name, events.SESSION_ENDED.name}
    assert 'raise ValueError("broken")' in states(recorded, "failing")[-1]["error"][2]


def test_odd_numbers_and_names_disturb_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with Recorded() as recorded, session("a\nb\udcff" * 1000, total=-5) as run:
        run.update(done="many", message="\x1b[2J\n")  # type: ignore[arg-type]
        run.advance(float("nan"))
        run.update(done=3)
    assert len(states(recorded, run.name)) >= 2
    assert "\x1b" not in capsys.readouterr().err


# Time left


def run_of(seconds: dict[str, float], speed: float = 1.0, total: float | None = None) -> Run:
    steps = {name: StepRun(1, value * speed) for name, value in seconds.items()}
    return Run(sum(step.seconds for step in steps.values()), total, steps)


def test_without_history_the_share_decides() -> None:
    assert forecast.left([], Now(10.0, 4, 1, 0.25, {})) == pytest.approx(30)
    assert forecast.left([], Now(10.0, None, 0, None, {})) is None


def test_the_history_of_the_steps_times_the_speed_of_this_run() -> None:
    past = [run_of({"fetch": 10, "analyse": 80, "upload": 10})]
    now = Now(20.0, None, 0, None, {"fetch": StepNow(1, 20.0)})
    assert forecast.left(past, now) == pytest.approx(90 * 2, rel=0.15)
    begun = {"fetch": StepNow(1, 10.0), "analyse": StepNow(0, 0, 1, 40.0, 0.5)}
    assert forecast.left(past, Now(50.0, None, 0, None, begun)) == pytest.approx(50, rel=0.01)


def test_more_items_take_longer() -> None:
    past = [Run(100.0, 10, {"fetch": StepRun(10, 40.0), "cut": StepRun(10, 50.0), "report": StepRun(1, 10.0)})]
    assert forecast.left(past, Now(0.0, 20, 0, 0.0, {})) == pytest.approx(190)


def simulated(generator: random.Random) -> list[float]:
    """Errors of the estimate over one run of a job whose steps and runs vary."""
    usual = {f"step {number}": generator.lognormvariate(3, 1) for number in range(6)}

    def once() -> dict[str, float]:
        speed = generator.lognormvariate(0, 0.3)
        return {name: seconds * speed * generator.lognormvariate(0, 0.05) for name, seconds in usual.items()}

    past = [run_of(once()) for _ in range(generator.choice([1, 2, 5]))]
    now, errors = once(), []
    whole = sum(now.values())
    for tenth in range(1, 10):
        elapsed, rest, steps = whole * tenth / 10, whole * tenth / 10, {}
        for name, seconds in now.items():
            if rest >= seconds:
                steps[name] = StepNow(1, seconds)
            elif rest > 0:
                steps[name] = StepNow(0, 0.0, 1, rest, None)
            rest = max(0.0, rest - seconds)
        estimate = forecast.left(past, Now(elapsed, None, 0, None, steps))
        assert estimate is not None
        errors.append(abs(estimate - (whole - elapsed)) / (whole - elapsed))
    return errors


def test_the_time_left_is_right_within_ten_percent_from_the_second_run_on() -> None:
    generator = random.Random(17)
    errors = [error for _ in range(200) for error in simulated(generator)]
    assert median(errors) <= 0.10


def test_a_second_run_knows_its_time_from_the_beginning() -> None:
    for _ in range(2):
        with session("again", total=2, steps={"cut": 1}) as run:
            before = run.left()
            for _ in run.track(range(2)):
                with ProgressMonitor("cut"):
                    threading.Event().wait(0.05)
    first, _second = history.runs("again")
    assert first.seconds >= 0.1
    assert before == pytest.approx(first.seconds, rel=0.1)


def test_a_failed_run_is_no_history() -> None:
    with pytest.raises(ValueError, match="x"), session("bad") as run:
        raise ValueError("x")
    assert history.runs(run.name) == []


DAMAGED = (
    b"",
    b"{",
    b"[]",
    b'{"version": 1, "sessions": []}',
    b'{"version": 1, "sessions": {"s": [1, {}]}}',
    b"\xff" * 99,
)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_history_counts_as_none(content: bytes) -> None:
    path = history.file()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert history.runs("s") == []
    history.add("s", run_of({"a": 1.0}))
    assert history.runs("s") == [run_of({"a": 1.0})]


def test_the_history_stays_small() -> None:
    for number in range(30):
        history.add("often", run_of({"a": float(number)}))
    assert [run.seconds for run in history.runs("often")] == list(map(float, range(10, 30)))
    assert history.file().stat().st_mode & 0o777 == 0o600


def test_a_unit_s_history_lies_in_its_state_directory() -> None:
    assert history.file({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a") / history.FILE_NAME


def test_without_a_place_for_its_history_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    with session("x"):
        pass
    assert capsys.readouterr().err == ""


# Output

BATCH = """
    import time
    from livekeep.record import session
    with session("clip analysis", total=3) as run:
        for clip in run.track(range(3)):
            run.update(message=f"clip {clip}")
            print("clip", clip, flush=True)
            time.sleep(0.3)
"""


def test_on_a_terminal_there_is_a_bar() -> None:
    with JournalSocket() as journal:
        ours, theirs = pty.openpty()
        environment = {**journal.environment, "TERM": "xterm", "COLUMNS": "100"}
        with subprocess.Popen(journal.command(BATCH), env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as job:
            os.close(theirs)
            shown = b""
            while select.select([ours], [], [], PATIENCE_SECONDS)[0]:
                try:
                    shown += os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
        assert job.returncode == 0
        os.close(ours)
    text = shown.decode()
    assert "━" in text
    assert "3 of 3" in text
    assert text.count("clip 2") >= 1


def test_elsewhere_a_short_run_prints_nothing_and_no_carriage_return() -> None:
    done, _entries = ran(BATCH)
    assert done.stdout == "clip 0\nclip 1\nclip 2\n"
    assert done.stderr == ""


def test_plain_lines_come_every_ten_seconds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = terminal.Lines()
    with session("clip analysis", total=10, show=False) as run:
        lines.show(run)
        now = terminal.time.monotonic()
        for second in range(1, 36):
            run.update(done=second / 4, message="clip\r17")
            # Only the clock is not real here.
            monkeypatch.setattr(terminal.time, "monotonic", lambda second=second: now + second)
            lines.show(run)
        monkeypatch.undo()
    lines.show(run)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert said[0].startswith("clip analysis: 25 %, 2.5 of 10, ")
    assert said[0].endswith(r"left, clip\r17")
    assert said[-1].startswith("clip analysis succeeded after ")


def test_a_failure_is_said_even_if_it_comes_soon() -> None:
    done, _entries = ran('from livekeep.record import session\nwith session("clips", total=3): raise ValueError("wrong")')
    assert done.stderr.splitlines()[0].startswith("clips failed after ")
    assert done.stderr.splitlines()[0].endswith("0 of 3: ValueError: wrong")


def test_show_false_prints_nothing() -> None:
    done, _entries = ran('from livekeep.record import session\nwith session("clips", show=False): raise SystemExit(3)')
    assert (done.returncode, done.stderr) == (3, "")


def test_the_history_is_json_that_people_can_read() -> None:
    history.add("clip analysis", Run(2.0, 3.0, {"cut": StepRun(3, 1.5)}))
    assert json.loads(history.file().read_text()) == {
        "version": 1,
        "sessions": {"clip analysis": [{"seconds": 2.0, "total": 3.0, "steps": {"cut": [3, 1.5]}}]},
    }
