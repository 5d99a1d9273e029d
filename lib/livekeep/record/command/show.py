"""livekeep record show: one session with its steps on a timeline, its errors and its earlier durations; or one call."""

import argparse
import sqlite3
from statistics import median

from livekeep.core.errors import LivekeepError
from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.command import output
from livekeep.record.command.lists import done, left, sentence, took, why
from livekeep.record.store import queries
from livekeep.record.store.queries import Error, Filter, Session, Step
from livekeep.system import terminal

LONGEST_SESSION_NUMBER = 12
"""Digits of a session's number; a call's id has more."""
BAR = 30
"""Character cells of a timeline."""
MOST_ERRORS, MOST_SLOW = 10, 5
TRACEBACK_LINES = 12


def run_show(connection: sqlite3.Connection, arguments: argparse.Namespace, now: float) -> int:
    name = arguments.name
    if name.isascii() and name.isdigit() and len(name) > LONGEST_SESSION_NUMBER:
        show_call(connection, int(name), arguments.json, now)
        return 0
    row = find(connection, name)
    wanted = Filter(session_id=row.id)
    steps, earlier = queries.steps(connection, row.id), queries.earlier_sessions(connection, row)
    errors = queries.error_groups(connection, wanted, MOST_ERRORS)
    slowest = queries.slowest_of_session(connection, row.id, MOST_SLOW)
    if arguments.json:
        document = {
            **output.document(row),
            "steps": output.document(steps),
            "errors": output.document(errors),
            "slowest_calls": output.document(slowest),
            "earlier": output.document(earlier),
        }
        terminal.say_block(terminal.json_text(document))
        return 0
    terminal.say_block(terminal.paint(shown(title(row, now)), output.COLOURS.get(row.outcome, "bold")))
    terminal.say()
    terminal.say_block(terminal.table(facts(row, earlier, now), widest=output.columns()))
    of_errors = [(figures.count(it.count), it.name, sentence(it.error)) for it in errors]
    of_calls = [(output.duration(it.duration), it.name, str(it.id), it.arguments or "") for it in slowest]
    parts = (
        step_table(steps, row, round(now * 1_000_000)),
        output.table(("FAILED", "FUNCTION", "ERROR"), of_errors, (0,)) if errors else "",
        traceback(row.error or next((group.error for group in errors), None)),
        output.table(("TOOK", "SLOWEST CALL", "ID", "ARGUMENTS"), of_calls, (0,)) if slowest else "",
    )
    for part in filter(None, parts):
        terminal.say()
        terminal.say_block(part)
    return 0


def find(connection: sqlite3.Connection, name: str) -> Session:
    """Find it by number, or the newest with a name. Raises `LivekeepError`."""
    row = queries.session(connection, int(name)) if name.isascii() and name.isdigit() else None
    if row is None:
        newest = queries.sessions(connection, Filter(session=name), 1, failed_first=False).rows
        row = newest[0] if newest else None
    if row is None:
        raise LivekeepError(f'there is no session "{name}"; livekeep record sessions --from 90d lists them')
    return row


def title(row: Session, now: float) -> str:
    if row.outcome == "running":
        return f"{row.name} (session {row.id}): running for {took(row, now)}"
    end = output.moment(row.ended_at or row.updated_at, now)
    return f"{row.name} (session {row.id}): {row.outcome} at {end}, after {took(row, now)}"


def facts(row: Session, earlier: tuple[Session, ...], now: float) -> list[tuple[str, str]]:
    good = [run.duration for run in earlier if run.outcome == "succeeded"]
    usual = f"{figures.plural(len(good), 'run')} took {output.duration(median(good))} in the median" if good else ""
    rows = [
        ("Why", why(row) if row.outcome in ("failed", "lost", "cancelled") else ""),
        ("Began", output.moment(row.began_at, now)),
        ("Done", done(row)),
        ("Left", left(row)),
        ("Rate", f"{figures.three(row.rate)} a second" if row.rate else ""),
        ("Message", row.message),
        ("By", f"{row.unit or row.program or 'a program'} on {row.hostname}, PID {row.pid}"),
        ("Earlier", usual),
    ]
    return [(name, text) for name, text in rows if text]


def step_table(steps: tuple[Step, ...], row: Session, now: int) -> str:
    """Each step with its position in the session's time."""
    if not steps:
        return ""
    end = row.ended_at or (now if row.outcome == "running" else row.updated_at)
    depths: dict[int, int] = {}
    rows = []
    for step in steps:
        depths[step.number] = depths.get(step.parent or 0, -1) + 1
        ended = step.ended_at or end
        rows.append(
            (
                "  " * depths[step.number] + step.name,
                output.duration(max(ended - step.began_at, 0)),
                bar(step.began_at - row.began_at, ended - row.began_at, end - row.began_at),
                step.outcome if not step.error else f"{step.outcome}: {step.error.type}",
            )
        )
    return output.table(("STEP", "TOOK", "WHEN", "OUTCOME"), rows, (1,), [step.outcome for step in steps])


def bar(begin: int, end: int, whole: int) -> str:
    """ "··██····": at least one full cell."""
    if whole <= 0:
        return "█" * BAR
    first = min(max(begin, 0) * BAR // whole, BAR - 1)
    last = min(max(-(-end * BAR // whole), first + 1), BAR)
    return "·" * first + "█" * (last - first) + "·" * (BAR - last)


def traceback(error: Error | None) -> str:
    """Its last lines."""
    lines = error.traceback.rstrip().split("\n") if error else []
    return "\n".join(f"  {shown(line)}" for line in lines[-TRACEBACK_LINES:] if line)


def show_call(connection: sqlite3.Connection, id_: int, for_programs: bool, now: float) -> None:
    """A call and the calls within it. Raises `LivekeepError`."""
    root = queries.call(connection, id_)
    if root is None:
        raise LivekeepError(f"there is no call {id_}; calls older than [record] call_days are deleted")
    tree = queries.call_tree(connection, root)
    if for_programs:
        terminal.say_block(terminal.json_text({**output.document(root), "tree": output.document(tree)}))
        return
    terminal.say(f"{root.name}: {root.outcome}, {output.duration(root.duration)}, at {output.moment(root.began_at, now)}")
    facts_of_call = [
        ("Arguments", root.arguments or ""),
        ("Error", sentence(root.error) if root.error else ""),
        ("CPU", output.duration(root.cpu) if root.cpu is not None else ""),
        ("Memory", f"{figures.size(root.memory_bytes)} more at its peak" if root.memory_bytes else ""),
        ("Read", figures.size(root.read_bytes) if root.read_bytes is not None else ""),
        ("Written", figures.size(root.written_bytes) if root.written_bytes is not None else ""),
        ("By", f"{root.unit or 'a program'} on {root.hostname}" + (f", session {root.session}" if root.session else "")),
    ]
    terminal.say()
    terminal.say_block(terminal.table([(name, text) for name, text in facts_of_call if text], widest=output.columns()))
    if root.error:
        terminal.say_block(traceback(root.error))
    if len(tree) > 1:
        terminal.say()
        rows = [("  " * row.depth + row.call.name, output.duration(row.call.duration), row.call.outcome) for row in tree]
        terminal.say_block(output.table(("CALL", "TOOK", "OUTCOME"), rows, (1,), [row.call.outcome for row in tree]))
