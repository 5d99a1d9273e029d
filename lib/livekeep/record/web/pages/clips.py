"""Clips: those that take off, and all others by how unusual their plays are. Read from the clip analyzer's own database."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from livekeep.core.record_states import ClipsState
from livekeep.record.clips.show import COLUMNS, ORDER
from livekeep.record.clips.snapshots import FILE
from livekeep.record.store.schema import open_read_only
from livekeep.record.web.address import View
from livekeep.record.web.sources import Sources

ROWS = 200
TAKE_OFFS = """
    SELECT clips.name AS name, clips.clip AS clip, sources.name AS source, began_at, ended_at, takeoffs.reason AS reason
    FROM takeoffs JOIN clips ON clips.id = takeoffs.clip JOIN sources ON sources.id = clips.source
    WHERE began_at >= ? AND began_at < ? ORDER BY began_at DESC LIMIT ?
"""


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    newest = sources.state(ClipsState)
    content: dict[str, Any] = {"newest": newest, "clips": (), "takeoffs": (), "problem": ""}
    content["names"] = sorted(sources.settings.clips)
    try:
        with closing(open_read_only(FILE)) as connection:
            rows = connection.execute(f"{COLUMNS} {ORDER} LIMIT ?", (ROWS,)).fetchall()
            content["clips"] = [row for row in rows if view.get("name") in ("", row["source"])]
            takeoffs = connection.execute(TAKE_OFFS, (view.begin, view.end, ROWS)).fetchall()
            content["takeoffs"] = [row for row in takeoffs if view.get("name") in ("", row["source"])]
    except sqlite3.Error as error:
        if FILE.exists():
            content["problem"] = f"the clip analyzer's database cannot be read ({error})"
    return content | {"safe_link": safe_link}


def safe_link(link: str) -> str:
    """A clip's link if it is a web address; "" for anything else, which must not become a link."""
    return link if link.startswith(("https://", "http://")) else ""
