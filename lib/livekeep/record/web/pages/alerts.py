"""Alerts: open ones, earlier ones, and their deliveries. Read from the alerter's own database."""

import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from livekeep.core.record_states import AlerterState
from livekeep.record.alerts import store
from livekeep.record.web.address import SECOND, View
from livekeep.record.web.sources import Sources

ROWS = 200


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    alerter = sources.state(AlerterState)
    content: dict[str, Any] = {"alerter": alerter, "alerts": (), "deliveries": (), "silences": (), "problem": ""}
    content["rules"] = sorted(sources.settings.alerts)
    try:
        connection = store.open_read_only()
        try:
            begin = view.begin / SECOND
            content |= {
                "alerts": in_range(store.alerts_since(connection, begin, ROWS, view.get("name") or "*"), "began_at", view),
                "deliveries": in_range(store.deliveries_since(connection, begin, ROWS), "created_at", view),
                "silences": store.silences(connection, time.time()),
            }
        finally:
            connection.close()
    except sqlite3.Error as error:
        content["problem"] = f"the alerter's database cannot be read ({error})"
    return content


def in_range(rows: list[sqlite3.Row], column: str, view: View) -> list[sqlite3.Row]:
    return [row for row in rows if row[column] * SECOND < view.end]
