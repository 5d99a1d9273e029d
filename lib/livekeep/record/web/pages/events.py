"""Events for people, and known losses of the record; alerts and their deliveries, from the alerter's own database."""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from livekeep.core.record_states import AlerterState
from livekeep.record.alerts import store
from livekeep.record.store import queries, schema
from livekeep.record.web.address import SECOND, View
from livekeep.record.web.sources import Sources

ROWS = 100
LOSSES = 20
ALERTS = 200
PRIORITIES = ((3, "errors"), (4, "warnings and errors"), (5, "notices and more severe"), (7, "all"))
WORDS = {3: "error", 4: "warning", 5: "notice", 6: "info", 7: "debug"}


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    connection, text = sources.connection(), view.get("priority")
    priority = int(text) if text in ("0", "1", "2", "3", "4", "5", "6", "7") else 7
    wanted = replace(view.filter, event=view.get("name") or "*", priority=priority, text=view.get("text"))
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
        "priority": priority,
        "words": WORDS,
    }


def collect_alerts(sources: Sources, view: View) -> Mapping[str, Any]:
    """Open alerts, and earlier ones."""
    content: dict[str, Any] = {"alerter": sources.state(AlerterState), "rules": sorted(sources.settings.alerts)}
    content |= {"alerts": (), "deliveries": (), "silences": (), "problem": ""}
    begin, rule = view.begin / SECOND, view.get("name") or "*"
    try:
        with closing(schema.open_read_only(store.FILE)) as connection:
            alerts, deliveries = (
                store.alerts_since(connection, begin, ALERTS, rule),
                store.deliveries_since(connection, begin, ALERTS),
            )
            content["alerts"] = [row for row in alerts if row["began_at"] * SECOND < view.end]
            content["deliveries"] = [row for row in deliveries if row["created_at"] * SECOND < view.end]
            content["silences"] = store.silences(connection, time.time())
    except sqlite3.Error as error:
        content["problem"] = f"the alerter's database cannot be read ({error})"
    return content
