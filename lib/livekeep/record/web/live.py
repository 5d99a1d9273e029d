"""Live updates: when the record or a state changes, a page's fragments are rendered again, and those that differ are sent over
the reader's WebSocket.

Part of livekeep-web. The record's PRAGMA data_version and the states' files are checked only while somebody reads. Readers of the
same address share the result. However much changes, rendering takes a quarter of a processor at most.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path

from starlette.websockets import WebSocket, WebSocketDisconnect

from livekeep.record.reading import CurrentRecord, NoRecordError
from livekeep.record.store.queries import Watch
from livekeep.record.web.rendering import stamp

TICK_SECONDS = 0.15
REST = 3.0
"""After rendering fragments, the pause before the next rendering is this multiple of the time that it took."""
MOST_READERS = 64
TOO_MANY = 1013
"""RFC 6455's registry: try again later."""
PICTURE = "screen-picture/screen.png"

logger = logging.getLogger("livekeep.web")


class Reader:
    """An open page: its address, and the stamps of its current fragments."""

    def __init__(self, address: str, stamps: dict[str, str]) -> None:
        self.address, self.stamps = address, stamps
        self.newest: Mapping[str, str] = {}
        self.is_new = asyncio.Event()

    async def message(self) -> str:
        """Wait for a difference; return it as the text to send."""
        while True:
            await self.is_new.wait()
            self.is_new.clear()
            different = {
                name: {"stamp": new, "html": fragment}
                for name, fragment in self.newest.items()
                if name in self.stamps and (new := stamp(fragment)) != self.stamps[name]
            }
            if different:
                self.stamps |= {name: new["stamp"] for name, new in different.items()}
                return json.dumps(different, ensure_ascii=False, separators=(",", ":"))


class Changes:
    """Whether the record or a state changed since the last call. Belongs to one thread."""

    def __init__(self, record: CurrentRecord, states: Path) -> None:
        self._record, self._states = record, states
        self._watch: Watch | None = None
        self._connection: object = None
        self._seen: object = None

    def have_come(self) -> bool:
        try:
            connection = self._record.connection()
        except NoRecordError:
            has_changed, self._watch, self._connection = self._watch is not None, None, None
        else:
            if self._watch is None or connection is not self._connection:
                self._watch, self._connection, has_changed = Watch(connection), connection, True
            else:
                has_changed = self._watch.has_changed()
        # The states' files: their identity, and when they were replaced.
        try:
            folders = os.listdir(self._states)  # noqa: PTH208 – several times a second
        except OSError:
            folders = []
        files = [*(f"{self._states}/{folder}/state.json" for folder in folders), f"{self._states}/{PICTURE}"]
        before, self._seen = self._seen, [signature(file) for file in files]
        return has_changed or self._seen != before


def signature(file: str) -> tuple[str, int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError:
        return None
    return file, status.st_ino, status.st_mtime_ns


class Live:
    """`make(address)` renders the fragments of a page; it runs in `executor`. `attend` is called periodically while somebody
    reads, with the addresses being read."""

    def __init__(
        self,
        changes: Changes,
        make: Callable[[str], Mapping[str, str]],
        executor: Executor,
        attend: Callable[[set[str]], None] = lambda addresses: None,
    ) -> None:
        self._changes, self._make, self._executor, self._attend = changes, make, executor, attend
        self.readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one reader until it disconnects. The page's first message holds the stamps of its fragments."""
        if len(self.readers) >= MOST_READERS:
            await websocket.close(TOO_MANY)
            return
        await websocket.accept()
        sender: asyncio.Task[None] | None = None
        reader = None
        try:
            stamps = json.loads(await websocket.receive_text())
            reader = Reader(websocket.query_params.get("page", "/"), {str(name): str(text) for name, text in stamps.items()})
            self._add(reader)
            sender = asyncio.create_task(self._send(reader, websocket))
            while True:
                await websocket.receive_text()
        except (WebSocketDisconnect, ValueError, AttributeError, KeyError):
            # An invalid message ends the connection.
            pass
        finally:
            if sender:
                sender.cancel()
            if reader:
                self.readers.discard(reader)

    async def _send(self, reader: Reader, websocket: WebSocket) -> None:
        while True:
            await websocket.send_text(await reader.message())

    def _add(self, reader: Reader) -> None:
        self.readers.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        else:
            self._is_behind = True

    _is_behind = False
    """A new reader may have an older version than the others."""

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_behind = True
        while self.readers:
            self._attend({reader.address for reader in self.readers})
            spent = 0.0
            if self._changes.have_come() or self._is_behind:
                self._is_behind = False
                began = time.monotonic()
                for address in {reader.address for reader in self.readers}:
                    try:
                        fragments = await loop.run_in_executor(self._executor, self._make, address)
                    except Exception:
                        logger.exception("a bug, while making the fragments of %s", address[:200])
                        continue
                    for reader in self.readers:
                        if reader.address == address:
                            reader.newest = fragments
                            reader.is_new.set()
                spent = time.monotonic() - began
            await asyncio.sleep(max(TICK_SECONDS, spent * REST))
