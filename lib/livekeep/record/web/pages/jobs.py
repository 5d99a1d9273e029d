"""Jobs: the sessions, failed ones first; one session with its steps on a timeline, its calls, errors, events, earlier durations;
one call with the calls within it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from livekeep.record.store import queries
from livekeep.record.store.queries import Session, Step
from livekeep.record.web.address import LARGEST, SECOND, View
from livekeep.record.web.pages.page import NotThereError
from livekeep.record.web.sources import Sources

ROWS = 50
CALLS = 25
EARLIER = 30
EVENTS = 20
MOST_STEPS = 500
DEEPEST = 3
"""The deepest indentation of nested steps."""
MOST_CALLS_OF_ERRORS = 200_000
OUTCOMES = ("failed", "lost", "running", "cancelled", "succeeded")


@dataclass(frozen=True)
class Bar:
    """A step on the timeline: its start and width, in percent of the session."""

    step: Step
    depth: int
    x: float
    width: float
    duration: int


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    connection = sources.connection()
    page = queries.sessions(connection, view.filter, ROWS, view.place(3))
    return {
        "sessions": page.rows,
        "after": page.after,
        "totals": queries.session_totals(connection, view.filter),
        "session_names": queries.session_names(connection),
        "units": queries.units(connection),
        "machines": queries.machines(connection),
        "outcomes": OUTCOMES,
    }


def collect_session(sources: Sources, view: View, number: str) -> Mapping[str, Any]:
    connection = sources.connection()
    session = queries.session(connection, int(number)) if int(number) <= LARGEST else None
    if not session:
        raise NotThereError(f"There is no session {number}")
    now = int(time.time() * SECOND)
    # The session's own time applies, whatever range the address gives.
    own = queries.Filter(session.began_at, queries.EVER, session_id=session.id)
    calls = queries.calls(connection, replace(own, outcome=view.get("outcome") or "*"), CALLS, view.place())
    return {
        "title": session.name,
        "session": session,
        "bars": bars(session, queries.steps(connection, session.id, MOST_STEPS), now),
        "calls": calls.rows,
        "after": calls.after,
        "errors": queries.error_groups(connection, own),
        "events": queries.events(connection, own, EVENTS).rows,
        "earlier": tuple(reversed((session, *queries.earlier_sessions(connection, session, EARLIER)))),
        "parent": queries.session(connection, session.parent) if session.parent else None,
    }


def collect_call(sources: Sources, view: View, number: str) -> Mapping[str, Any]:
    connection = sources.connection()
    call = queries.call(connection, int(number)) if int(number) <= LARGEST else None
    if not call:
        raise NotThereError(f"There is no call {number}")
    return {"title": call.name, "call": call, "tree": queries.call_tree(connection, call)}


def bars(session: Session, steps: Sequence[Step], now: int) -> tuple[Bar, ...]:
    """The steps in tree order: each after its parent."""
    end = session.ended_at or (now if session.outcome == "running" else session.updated_at)
    length = max(end - session.began_at, 1)
    children: dict[int | None, list[Step]] = {}
    known = {step.number for step in steps}
    for step in steps:
        # A missing parent, or a step that is its own parent, must not hide a step.
        parent = step.parent if step.parent in known and step.parent != step.number else None
        children.setdefault(parent, []).append(step)
    in_order: list[Bar] = []
    waiting = [(step, 0) for step in reversed(children.get(None, []))]
    while waiting:
        step, depth = waiting.pop()
        ended = step.ended_at or (end if step.outcome in ("running", "lost") else step.began_at)
        x = min(max((step.began_at - session.began_at) / length * 100, 0), 99.5)
        width = min(max((ended - step.began_at) / length * 100, 0.5), 100 - x)
        in_order.append(Bar(step, min(depth, DEEPEST), round(x, 2), round(width, 2), ended - step.began_at))
        waiting += [(child, depth + 1) for child in reversed(children.get(step.number, []))]
    return tuple(in_order)
