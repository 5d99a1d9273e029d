"""The real program livekeep-clips in a separate root, with a server in place of Vimeo and YouTube, and its output."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from livekeep.core import state
from livekeep.core.record_states import ClipsState
from tests.outside import PATIENCE_SECONDS, PROJECT
from tests.web import Reply, Request, Web, http

TOKEN = "token-nobody-may-see-me"
KEY = "AIza-made-up-nobody-may-see-me"


class ClipsBox:
    """`said` is the output of all its runs; `events` are their recorded events, as JSON lines."""

    def __init__(self, folder: Path, web: Web, sources: str = '[clips.hall]\nvimeo = "me"\n', timeout_seconds: float = 5) -> None:
        self.folder, self.web = folder, web
        self.root = folder / "run/livekeep"
        self.database = folder / "var/lib/livekeep/clips/clips.db"
        self.events_file = folder / "events.jsonl"
        self.credentials = folder / "credentials"
        for path in (self.root, self.credentials, folder / "etc/livekeep"):
            path.mkdir(parents=True)
        self.said = ""
        self.store("livekeep.vimeo-token", TOKEN)
        self.store("livekeep.youtube-api-key", KEY)
        self.configure(sources, timeout_seconds)

    def store(self, name: str, content: str) -> None:
        (self.credentials / name).write_text(content)

    def configure(self, sources: str, timeout_seconds: float = 5) -> None:
        addresses = f'[vimeo]\napi_url = "{self.web.url}"\n[analyzer]\nyoutube_api_url = "{self.web.url}/youtube/v3"\n'
        (self.folder / "etc/livekeep/livekeep.toml").write_text(f"{addresses}timeout_seconds = {timeout_seconds}\n{sources}")

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "LIVEKEEP_ROOT": str(self.folder),
            "PATH": os.environ["PATH"],
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "LIVEKEEP_EVENTS": str(self.events_file),
            **more,
        }
        done = subprocess.run(
            [PROJECT / "bin/livekeep-clips", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=4 * PATIENCE_SECONDS,
        )
        self.said += done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def run(self, **more: str) -> ClipsState:
        """One run, which must succeed; return its results."""
        done = self.command("analyze", **more)
        assert done.returncode == 0, done.stderr
        everything = self.said + state.path_of(ClipsState, self.root).read_text()
        everything += self.events_file.read_text() if self.events_file.exists() else ""
        assert TOKEN not in everything
        assert KEY not in everything
        return self.state()

    def state(self) -> ClipsState:
        return state.read(ClipsState, self.root)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(sql, values).fetchall()

    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.events_file.read_text().splitlines()]


def entry(number: int, plays: int | None = 0, created: str = "2026-01-01T00:00:00+00:00", **more: Any) -> dict[str, Any]:
    """A clip in Vimeo's form."""
    return {
        "uri": f"/videos/{number}",
        "name": f"Clip {number}",
        "link": f"https://vimeo.com/{number}",
        "duration": 61,
        "created_time": created,
        "stats": {"plays": plays},
        "metadata": {"connections": {"likes": {"total": 3}, "comments": {"total": None}}},
        **more,
    }


def page(request: Request, entries: list[dict[str, Any]], next_page: str | None = "") -> bytes:
    """Vimeo's response to a list request; with `next_page` instead of the right one."""
    parts = urlsplit(request.path)
    query = parse_qs(parts.query)
    number, size = int(query.get("page", ["1"])[0]), int(query["per_page"][0])
    following: str | None = None
    if number * size < len(entries):
        following = f"{parts.path}?{parts.query.partition('&page=')[0]}&page={number + 1}"
    paging = {"next": following if next_page == "" else next_page, "previous": None, "first": "…", "last": "…"}
    shown = entries[(number - 1) * size : number * size]
    return http(200, {"total": len(entries), "page": number, "per_page": size, "paging": paging, "data": shown})


def lists(*entries: dict[str, Any]) -> Callable[[Request], Reply]:
    return lambda request: page(request, list(entries))
