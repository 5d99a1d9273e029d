"""Events for people, and known losses of the record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from livekeep.record.store import queries
from livekeep.record.web.address import View
from livekeep.record.web.sources import Sources

ROWS = 100
LOSSES = 20
PRIORITIES = ((3, "errors"), (4, "warnings and errors"), (5, "notices and more severe"), (7, "all"))
WORDS = {3: "error", 4: "warning", 5: "notice", 6: "info", 7: "debug"}


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    connection = sources.connection()
    wanted = replace(view.filter, event=view.get("name") or "*", priority=priority(view), text=view.get("text"))
    page = queries.events(connection, wanted, ROWS, view.place())
    return {
        "events": page.rows,
        "after": page.after,
        "searched_to": page.searched_to,
        "losses": queries.losses(connection, view.filter, LOSSES).rows,
        "event_names": queries.event_names(connection),
        "units": queries.units(connection),
        "machines": queries.machines(connection),
        "priorities": PRIORITIES,
        "priority": priority(view),
        "words": WORDS,
    }


def priority(view: View) -> int:
    text = view.get("priority")
    return int(text) if text in ("0", "1", "2", "3", "4", "5", "6", "7") else 7
