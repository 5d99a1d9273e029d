"""livekeep clips: the ranking, all clips of a source, one clip with its take-offs and days; and an immediate run.

Reads clips.db and clips/state.json; contains no logic of the analysis.
"""

import argparse
import sqlite3
import time
from contextlib import closing
from typing import Any

from livekeep.core import state
from livekeep.core.errors import LivekeepError, TemporaryError
from livekeep.core.record_states import ClipsState
from livekeep.record import figures
from livekeep.record.clips.snapshots import FILE, MICROSECONDS
from livekeep.record.store.schema import open_read_only
from livekeep.system import systemctl, terminal

UNIT = "livekeep-clips.service"
LONGEST_RUN_SECONDS = 1260.0
"""Longer than the unit's TimeoutStartSec=, which ends it."""
SHOWN = 20
DAYS = 14
NAME_WIDTH = 40
COLUMNS = """
    SELECT sources.name AS source, clips.clip AS clip, clips.name AS name, clips.link AS link, clips.plays AS plays,
        clips.likes AS likes, clips.comments AS comments, clips.created_at AS created_at,
        clips.duration_seconds AS duration_seconds, ranking.score AS score, ranking.ratio AS ratio,
        ranking.plays AS recent_plays, ranking.hours AS recent_hours, ranking.reason AS reason, clips.id AS number,
        EXISTS (SELECT 1 FROM takeoffs WHERE takeoffs.clip = clips.id AND ended_at IS NULL) AS is_hot
    FROM clips JOIN sources ON sources.id = clips.source LEFT JOIN ranking ON ranking.clip = clips.id
    WHERE gone_at IS NULL
"""
"""Each listed clip, with its result of the newest run; livekeep-web uses it, too."""
ORDER = "ORDER BY is_hot DESC, score DESC, ratio DESC, recent_plays DESC, number"
RANKED = f"{COLUMNS} AND ranking.score IS NOT NULL {ORDER} LIMIT ?"


def add_arguments(subcommands: Any) -> None:
    listing = subcommands.add_parser("list", help="the clips that take off first, then the others by score (the default)")
    listing.add_argument("--all", action="store_true", help="all clips, the most played first")
    listing.add_argument("--source", default="", metavar="NAME", help="of [clips.NAME] alone")
    one = subcommands.add_parser("show", help="one clip: its figures, its take-offs, its days")
    one.add_argument("clip", metavar="CLIP", help="its number or id at its source")
    run_now = subcommands.add_parser("run", help="read the clips now, by starting livekeep-clips.service")
    for parser in (listing, one, run_now):
        # No default here, so that the option may also stand before the subcommand.
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 for a failed run. Raises `LivekeepError`."""
    if arguments.subcommand == "run":
        try:
            systemctl.tell("start", UNIT, timeout_seconds=LONGEST_RUN_SECONDS)
        except LivekeepError as error:
            raise LivekeepError(f"{error}; run this with sudo") from error
    try:
        newest: ClipsState | None = state.read(ClipsState)
    except TemporaryError:
        newest = None
    try:
        with closing(open_read_only(FILE)) as connection:
            if arguments.subcommand == "show":
                show_clip(connection, arguments.clip, arguments.json)
            else:
                show_list(connection, newest, arguments)
    except sqlite3.OperationalError as error:
        if not FILE.exists():
            reason = newest.reason if newest else "livekeep-clips has not run yet"
            raise LivekeepError(f"there are no clips: {reason}; see docs/how-to/clips.md") from error
        raise LivekeepError(f"{FILE}: cannot be read ({error}); run this with sudo, or as a user of group livekeep") from error
    return int(arguments.subcommand == "run" and newest is not None and newest.outcome == "failed")


def show_list(connection: sqlite3.Connection, newest: ClipsState | None, arguments: argparse.Namespace) -> None:
    if arguments.all:
        rows = connection.execute(f"{COLUMNS} ORDER BY plays DESC, number").fetchall()
    else:
        rows = connection.execute(RANKED, (SHOWN if not arguments.source else -1,)).fetchall()
    rows = [row for row in rows if arguments.source in ("", row["source"])]
    if arguments.json:
        run_of = None if newest is None else {name: getattr(newest, name) for name in ("ran_at", "outcome", "reason", "advice")}
        terminal.say_block(terminal.json_text({"run": run_of, "clips": [document_of(row) for row in rows]}))
        return
    if newest is not None:
        ago = max(time.time() - newest.ran_at, 0) / 60
        problem = f": {newest.reason}" if newest.reason else ""
        clips, sources = figures.plural(newest.clips, "clip"), figures.plural(newest.sources, "source")
        terminal.say(f"{clips} of {sources}, read {ago:.0f} min ago ({newest.outcome}{problem})")
    head = ["", "CLIP", "NAME", "SOURCE", "PLAYS", "SCORE", "WHY"]
    body = [
        [
            "↑" if row["is_hot"] else "",
            row["clip"],
            row["name"][:NAME_WIDTH],
            row["source"],
            figures.count(row["plays"]),
            "" if row["score"] is None else f"{row['score']:.1f}",
            row["reason"] or "",
        ]
        for row in rows
    ]
    terminal.say_block(terminal.table([head, *body]))


def show_clip(connection: sqlite3.Connection, clip: str, as_json: bool) -> None:
    rows = connection.execute(f"{COLUMNS} AND clips.clip = ?", (clip,)).fetchall()
    if not rows:
        raise LivekeepError(f'there is no clip "{clip}"; see: livekeep clips list --all')
    documents = []
    for row in rows:
        days = connection.execute(
            "SELECT date(at / 1000000, 'unixepoch', 'localtime') AS day, sum(gained) AS plays FROM snapshots"
            " JOIN fetches ON fetches.id = fetch WHERE clip = ? GROUP BY day ORDER BY day DESC LIMIT ?",
            (row["number"], DAYS),
        )
        takeoffs = connection.execute(
            "SELECT began_at / 1e6 AS began_at, ended_at / 1e6 AS ended_at, score, reason FROM takeoffs"
            " WHERE clip = ? ORDER BY takeoffs.began_at",
            (row["number"],),
        )
        history = {"days": [dict(day) for day in days][::-1], "takeoffs": [dict(takeoff) for takeoff in takeoffs]}
        documents.append(document_of(row) | history)
    if as_json:
        terminal.say_block(terminal.json_text(documents if len(documents) > 1 else documents[0]))
        return
    for document in documents:
        terminal.say(f"{document['name'] or document['clip']} ({document['source']})  {document['link']}")
        counters = [f"{figures.count(document[key])} {key}" for key in ("plays", "likes", "comments")]
        terminal.say(f"  {', '.join(counters)}" + (f"; {document['reason']}" if document["reason"] else ""))
        rows_of_days = [["DAY", "PLAYS"], *([day["day"], str(day["plays"])] for day in document["days"])]
        terminal.say_block(terminal.table(rows_of_days, indent=2))
        for takeoff in document["takeoffs"]:
            until = f" until {figures.moment(takeoff['ended_at'])}" if takeoff["ended_at"] else ""
            terminal.say(f"  took off {figures.moment(takeoff['began_at'])}{until}: {takeoff['reason']}")


def document_of(row: sqlite3.Row) -> dict[str, Any]:
    document = {name: row[name] for name in row.keys() if name not in ("number", "created_at")}  # noqa: SIM118 – a row is no mapping
    created = row["created_at"]
    return document | {"is_hot": bool(row["is_hot"]), "created_at": None if created is None else created / MICROSECONDS}
