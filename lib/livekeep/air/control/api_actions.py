"""The actions of the API on channels: start, stop, skip, status, add, delete; one change at a time per channel.

Part of livekeep-controller. Reads: the configuration, channels and intentions (core/channels.py), the states and ends of the
workers, systemd. Writes: the API's channels; intentions through core/channel_service.py.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from livekeep.air.control.api_responses import Known, Snapshot, channel_of, describe, items_of, masked, why_it_ended
from livekeep.air.control.systemd import Systemd, Unit
from livekeep.core import channels, config, paths
from livekeep.core.channel_service import ChannelService
from livekeep.core.config import Config
from livekeep.core.errors import LivekeepError
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.system.systemd import NOT_RUNNING

START_SECONDS = 15.0
STOP_SECONDS = 20.0
"""The worker gives its publisher ten seconds; systemd ends both after fifteen."""
TURN_SECONDS = 25.0
"""How long a request waits for earlier ones; with its own work that is less than a connection's lifetime (http_server.py)."""


class RefusedError(LivekeepError):
    """A rejected request: the HTTP status, a short code for programs, and the field with the error."""

    def __init__(self, status: int, error_type: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.error_type, self.field = status, error_type, field


def choose(name: str | None, names: list[str]) -> str:
    """The requested channel; if none is named, the only one there is. Raises `RefusedError`."""
    if name is not None:
        if name not in names:
            raise RefusedError(404, "unknown-channel", f'there is no channel "{name}"; {among(names)}', "channel")
        return name
    if len(names) != 1:
        raise RefusedError(422, "invalid", f"must name the channel: {among(names)}", "channel")
    return names[0]


def among(names: list[str]) -> str:
    if not names:
        return f"no channel is configured; add one to {channels.NEW_FILE}, or by PUT /channels/CHANNEL"
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(sorted(names)[:20])}{' …' if len(names) > 20 else ''}"


class Settings:
    """The configuration, reloaded when one of its files changes."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, int, int, int]] = []
        self._loaded: tuple[Config, tuple[str, ...]] | None = None

    def read(self) -> tuple[Config, tuple[str, ...]]:
        """The configuration, with defaults in place of faulty values, and the problems."""
        seen = self._stamps()
        if self._loaded is None or seen != self._seen:
            self._seen, self._loaded = seen, config.load_leniently()
        return self._loaded

    @staticmethod
    def _stamps() -> list[tuple[str, int, int, int]]:
        try:
            files = config.files(paths.CONFIG_FILE, paths.DROP_IN_DIRECTORY)
            stats = [(str(file), file.stat()) for file in files]
        except OSError:
            return []
        return [(name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats]


class ApiActions:
    """All actions of the API; they return JSON documents."""

    def __init__(self, systemd: Systemd, directory: Path = channels.DIRECTORY, root: Path = paths.STATE_DIRECTORY) -> None:
        self.systemd, self.directory, self.root = systemd, directory, root
        self.service = ChannelService(systemd, directory)
        self.settings = Settings()
        self._locks: dict[str, asyncio.Lock] = {}

    def known(self) -> Known:
        settings, problems = self.settings.read()
        configured, more = channels.load(settings, self.directory)
        return Known(settings, configured, channels.intended(self.directory), (*problems, *more))

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Exclusive access to a channel for a change. Raises `RefusedError` if earlier changes take too long."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await lock.acquire()
        except TimeoutError as error:
            text = f'channel "{name}" is being started and stopped by others; nothing was changed, ask again'
            raise RefusedError(409, "busy", text, "channel") from error
        try:
            yield
        finally:
            lock.release()

    async def unit(self, name: str, with_details: bool = False) -> Unit:
        return (await self.systemd.units([channels.worker_unit(name)], with_details)).get(channels.worker_unit(name), Unit())

    def snapshot(self, name: str, unit: Unit) -> Snapshot:
        problems = []
        state = end = None
        try:
            state = channels.read_state(name, self.root) if unit.runs() else None
        except StateBrokenError as error:
            problems.append(str(error))
        except StateAbsentError:
            pass
        if state and unit.pid and state.pid not in (0, unit.pid):
            # From an earlier worker whose hook did not remove it.
            state = None
        try:
            end = channels.read_end(name, self.root)
        except StateBrokenError as error:
            problems.append(str(error))
        except StateAbsentError:
            pass
        return Snapshot(unit, state, end, tuple(problems), time.monotonic())

    async def status(self, name: str) -> dict[str, Any]:
        return describe(name, self.known(), self.snapshot(name, await self.unit(name, with_details=True)))

    async def all(self, name: str | None = None) -> list[dict[str, Any]]:
        """The status of all channels, or of one. Raises `RefusedError` and `BusError`."""
        known = self.known()
        units = await self.systemd.units([channels.worker_unit(name or "*")])
        running = {channel_of(unit): unit_now for unit, unit_now in units.items() if unit_now.runs()}
        names = sorted({*known.channels, *known.intended, *running})
        wanted = names if name is None else [choose(name, names)]
        return [describe(one, known, self.snapshot(one, units.get(channels.worker_unit(one), Unit()))) for one in wanted]

    async def start(self, name: str | None, keys: Mapping[str, Any] | None) -> tuple[bool, dict[str, Any]]:
        """Put a channel on air, with `keys` as the API's channel of that name; whether systemd's job ended, and the status."""
        if name is None or keys is None:
            name = choose(name, sorted(self.known().channels))
        async with self.turn(name):
            known = self.known()
            unit = await self.unit(name)
            if unit.runs():
                raise RefusedError(409, "already-running", f'channel "{name}" runs already', "channel")
            if keys is not None:
                await self._save(name, keys, known)
            elif name not in known.channels:
                raise RefusedError(404, "unknown-channel", f'there is no channel "{name}" any more', "channel")
            result = await self.service.put_on_air(name, START_SECONDS)
            status = await self.status(name)
        if result not in ("done", ""):
            raise RefusedError(424, "not-started", self._not_started(name, result, status), "channel")
        return result == "done", status

    def _not_started(self, name: str, result: str, status: Mapping[str, Any]) -> str:
        why = why_it_ended(
            Unit(**{key: value for key, value in status["unit"].items() if key != "name"}), self.snapshot(name, Unit()).end
        )
        more = "".join(f"; {problem}" for problem in status["problems"] if "does not run" not in problem)
        advice = f"livekeep air check {name} tells more, as does journalctl -u {channels.worker_unit(name)}"
        return f'channel "{name}" did not start ({result}){why}{more}; it stays meant to be on air: {advice}'

    async def stop(self, name: str | None) -> dict[str, Any]:
        """Take a channel off air. Raises `RefusedError` when it neither runs nor is meant to."""
        if name is None:
            name = choose(name, sorted(self.known().channels))
        async with self.turn(name):
            known = self.known()
            unit = await self.unit(name)
            if not unit.runs() and name not in known.intended:
                choose(name, sorted({*known.channels, *known.intended}))
                raise RefusedError(404, "not-running", f'channel "{name}" does not run', "channel")
            await self.service.take_off_air(name, STOP_SECONDS)
            return await self.status(name)

    async def skip(self, name: str) -> dict[str, Any]:
        """End the current item; how much of it the worker has played. Raises `RefusedError` if the channel does not run."""
        unit = await self.unit(name)
        if not unit.runs():
            choose(name, sorted(self.known().channels))
        if unit.active != "active":
            raise RefusedError(409, "not-running", f'channel "{name}" does not play', "channel")
        before = items_of(name, self.snapshot(name, unit).state)
        await self.service.skip(name)
        return {"channel": name, "skipped": before["now"], "next": before["next"]}

    async def items(self, name: str) -> dict[str, Any]:
        unit = await self.unit(name)
        if not unit.runs():
            choose(name, sorted(self.known().channels))
        return items_of(name, self.snapshot(name, unit).state)

    async def configured(self) -> list[dict[str, Any]]:
        known = self.known()
        return [self._configured(name, known) for name in sorted(known.channels)]

    def _configured(self, name: str, known: Known) -> dict[str, Any]:
        document = {"channel": name, "configured_by": known.configured_by(name), "config": masked(known.channels[name])}
        return document | {"problems": known.problems_of(name)}

    async def put(self, name: str, keys: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Add or replace a channel of the API; whether it is new, and its configuration."""
        async with self.turn(name):
            known = self.known()
            await self._save(name, keys, known)
            return name not in known.channels, self._configured(name, self.known())

    async def _save(self, name: str, keys: Mapping[str, Any], known: Known) -> None:
        if name in known.settings.channels:
            raise RefusedError(409, "configured-elsewhere", f'channel "{name}" is in livekeep.toml; change it there', "channel")
        if faults := channels.not_allowed(channels.decode(dict(keys)), known.settings.controller):
            raise RefusedError(403, "not-allowed", "; ".join(faults), faults[0].partition(":")[0])
        await asyncio.to_thread(channels.save, name, keys, self.directory)

    async def delete(self, name: str) -> None:
        """Delete a channel of the API, and the intention to have it on air."""
        async with self.turn(name):
            known = self.known()
            has_file = (self.directory / f"{name}.json").exists()
            if not has_file and name in known.settings.channels:
                raise RefusedError(
                    409, "configured-elsewhere", f'channel "{name}" is in livekeep.toml; remove it there', "channel"
                )
            if not has_file:
                choose(name, sorted(known.channels))
            unit = await self.unit(name)
            if unit.runs():
                raise RefusedError(409, "already-running", f'channel "{name}" runs; stop it first', "channel")
            if name not in known.settings.channels:
                # First: the timer reads the intention only when it is set, not when it elapses.
                await self.service.take_off_air(name, STOP_SECONDS)
            await asyncio.to_thread(channels.delete, name, self.directory)

    async def health(self) -> str:
        """ok: every channel meant to be on air is; degraded: one is not, or there is a problem. Raises `BusError`."""
        known = self.known()
        statuses = await self.all()
        counted = [one for one in statuses if one["intended"] or one["unit"]["active"] not in NOT_RUNNING]
        return "ok" if not known.problems and all(one["on_air"] for one in counted) else "degraded"
