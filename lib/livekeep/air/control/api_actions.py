"""The endpoints of the API: health, start, stop, skip, status, add, delete; one change at a time per channel.

Part of livekeep-controller. Reads: the configuration, channels and intentions (core/channels.py), the states and ends of the
workers, systemd. Writes: the API's channels; intentions through core/channel_service.py. FastAPI publishes the docstrings.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import Body, Response

from livekeep import __version__
from livekeep.air.control.api_models import ChannelKeys, ChannelName, StartBody, StopBody
from livekeep.air.control.api_responses import Known, Snapshot, describe, items_of, masked, why_it_ended
from livekeep.air.control.systemd import Systemd, Unit
from livekeep.core import channels, config, paths, state
from livekeep.core.channel_service import ChannelService
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.errors import LivekeepError
from livekeep.core.state import AnyState, StateAbsentError, StateBrokenError
from livekeep.system.dbus import BusError
from livekeep.system.systemd import NOT_RUNNING

START_BODY, STOP_BODY, KEYS_BODY = Body(StartBody()), Body(StopBody()), Body(...)

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
    if name in names or (name is None and len(names) == 1):
        return name or names[0]
    if not names:
        known = f"no channel is configured; add one to {channels.NEW_FILE}, or with PUT /channels/CHANNEL"
    else:
        known = f"the configured channels are {', '.join(sorted(names)[:20])}{' …' if len(names) > 20 else ''}"
    if name is None:
        raise RefusedError(422, "invalid", f"must name the channel: {known}", "channel")
    raise RefusedError(404, "unknown-channel", f'there is no channel "{name}"; {known}', "channel")


class ApiActions:
    def __init__(self, systemd: Systemd, directory: Path = channels.DIRECTORY, root: Path = paths.STATE_DIRECTORY) -> None:
        self._systemd, self._directory, self._root = systemd, directory, root
        self._service = ChannelService(systemd, directory)
        self._locks: dict[str, asyncio.Lock] = {}

    async def health(self, response: Response) -> dict[str, str]:
        """Returns whether all is well. Needs no token.

        ok: all channels that are meant to be on air are; degraded: one isn't, or a configuration is faulty; down: systemd doesn't
        respond.
        """
        try:
            statuses = (await self.status())["channels"]
        except BusError:
            response.status_code = 503
            return {"status": "down", "version": __version__}
        counted = [one for one in statuses if one["intended"] or one["unit"]["active"] not in NOT_RUNNING]
        is_ok = not self._known().problems and all(one["on_air"] for one in counted)
        return {"status": "ok" if is_ok else "degraded", "version": __version__}

    async def start(self, response: Response, body: StartBody = START_BODY) -> dict[str, Any]:
        """Puts a channel on air, now and after each reboot.

        `stream_config` first adds the API's channel of that name, or replaces it. Responds when its worker has started, or ended
        (424). The channel is on air some seconds later: request its status.
        """
        name: str | None = body.channel
        keys = body.stream_config
        if name is None or keys is None:
            name = choose(name, sorted(self._known().channels))
        async with self._turn(name):
            known = self._known()
            if (await self._unit(name)).runs():
                raise RefusedError(409, "already-running", f'channel "{name}" is already running', "channel")
            if keys is not None:
                await self._save(name, keys, known)
            elif name not in known.channels:
                raise RefusedError(404, "unknown-channel", f'channel "{name}" no longer exists', "channel")
            result = await self._service.put_on_air(name, START_SECONDS)
            snapshot = self._snapshot(name, await self._unit(name, with_details=True))
            status = describe(name, self._known(), snapshot)
        if result not in ("done", ""):
            why = why_it_ended(snapshot.unit, snapshot.end)
            more = "".join(f"; {problem}" for problem in status["problems"] if "does not run" not in problem)
            advice = f"for the cause, run: livekeep air check {name}; see also: journalctl -u {channels.worker_unit(name)}"
            text = f'channel "{name}" did not start ({result}){why}{more}; it is still meant to be on air; {advice}'
            raise RefusedError(424, "not-started", text, "channel")
        response.status_code = 200 if result else 202
        return status

    async def stop(self, body: StopBody = STOP_BODY) -> dict[str, Any]:
        """Takes a channel off air, also after a reboot."""
        name: str | None = body.channel
        if name is None:
            name = choose(name, sorted(self._known().channels))
        async with self._turn(name):
            known = self._known()
            if not (await self._unit(name)).runs() and name not in known.intended:
                choose(name, sorted(known.channels))
                raise RefusedError(404, "not-running", f'channel "{name}" is not running', "channel")
            await self._service.take_off_air(name, STOP_SECONDS)
            return describe(name, self._known(), self._snapshot(name, await self._unit(name, with_details=True)))

    async def status(self, channel: ChannelName | None = None) -> dict[str, Any]:
        """Returns the state of a channel, or of all."""
        known = self._known()
        units = await self._systemd.units([channels.worker_unit(channel or "*")])
        running = {unit.partition("@")[2].removesuffix(".service") for unit, unit_now in units.items() if unit_now.runs()}
        names = sorted({*known.channels, *known.intended, *running})
        wanted = names if channel is None else [choose(channel, names)]
        snapshots = {name: self._snapshot(name, units.get(channels.worker_unit(name), Unit())) for name in wanted}
        return {"channels": [describe(name, known, snapshot) for name, snapshot in snapshots.items()]}

    async def items(self, channel: ChannelName) -> dict[str, Any]:
        """Returns the current, the next and the last items of a channel."""
        unit = await self._unit(channel)
        if not unit.runs():
            choose(channel, sorted(self._known().channels))
        return items_of(channel, self._snapshot(channel, unit).state)

    async def skip(self, channel: ChannelName) -> dict[str, Any]:
        """Ends the current item and starts the next."""
        unit = await self._unit(channel)
        if not unit.runs():
            choose(channel, sorted(self._known().channels))
        if unit.active != "active":
            raise RefusedError(409, "not-running", f'channel "{channel}" is not playing', "channel")
        before = items_of(channel, self._snapshot(channel, unit).state)
        await self._service.skip(channel)
        return {"channel": channel, "skipped": before["now"], "next": before["next"]}

    async def channels(self) -> dict[str, Any]:
        """Returns the channels that are configured in livekeep.toml or by this API."""
        known = self._known()
        return {"channels": [self._configured(name, known) for name in sorted(known.channels)]}

    async def put(self, response: Response, channel: ChannelName, keys: ChannelKeys = KEYS_BODY) -> dict[str, Any]:
        """Adds a channel, or replaces one of this API. A running channel uses the new configuration from its next start."""
        async with self._turn(channel):
            known = self._known()
            await self._save(channel, keys, known)
            response.status_code = 200 if channel in known.channels else 201
            return self._configured(channel, self._known())

    async def delete(self, channel: ChannelName) -> None:
        """Deletes a channel of this API. The channel must be stopped."""
        async with self._turn(channel):
            known = self._known()
            if not (self._directory / f"{channel}.json").exists():
                if channel in known.settings.channels:
                    text = f'channel "{channel}" is in livekeep.toml; remove it there'
                    raise RefusedError(409, "configured-elsewhere", text, "channel")
                choose(channel, sorted(known.channels))
            if (await self._unit(channel)).runs():
                raise RefusedError(409, "already-running", f'channel "{channel}" is running; stop it first', "channel")
            if channel not in known.settings.channels:
                # First: the timer reads the intention only when it is set, not when it elapses.
                await self._service.take_off_air(channel, STOP_SECONDS)
            await asyncio.to_thread(channels.delete, channel, self._directory)

    def _known(self) -> Known:
        settings, problems = config.load_leniently()
        configured, more = channels.load(settings, self._directory)
        return Known(settings, configured, channels.intended(self._directory), (*problems, *more))

    @contextlib.asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Exclusive access to a channel for a change. Raises `RefusedError` if earlier changes take too long."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await lock.acquire()
        except TimeoutError as error:
            text = f'other clients are starting and stopping channel "{name}"; nothing was changed, try again'
            raise RefusedError(409, "busy", text, "channel") from error
        try:
            yield
        finally:
            lock.release()

    async def _unit(self, name: str, with_details: bool = False) -> Unit:
        return (await self._systemd.units([channels.worker_unit(name)], with_details)).get(channels.worker_unit(name), Unit())

    def _snapshot(self, name: str, unit: Unit) -> Snapshot:
        problems = []

        def read(kind: type[AnyState]) -> AnyState | None:
            try:
                return state.read(kind, channels.folder_of(name, self._root))
            except StateBrokenError as error:
                problems.append(str(error))
            except StateAbsentError:
                pass
            return None

        worker = read(ChannelState) if unit.runs() else None
        if worker and unit.pid and worker.pid not in (0, unit.pid):
            # From an earlier worker whose hook did not remove it.
            worker = None
        return Snapshot(unit, worker, read(ChannelEnd), tuple(problems), time.monotonic())

    def _configured(self, name: str, known: Known) -> dict[str, Any]:
        document = {"channel": name, "configured_by": known.configured_by(name), "config": masked(known.channels[name])}
        return document | {"problems": known.problems_of(name)}

    async def _save(self, name: str, keys: Mapping[str, Any], known: Known) -> None:
        if name in known.settings.channels:
            raise RefusedError(409, "configured-elsewhere", f'channel "{name}" is in livekeep.toml; change it there', "channel")
        if faults := channels.not_allowed(channels.decode(dict(keys)), known.settings.controller):
            raise RefusedError(403, "not-allowed", "; ".join(faults), faults[0].partition(":")[0])
        await asyncio.to_thread(channels.save, name, keys, self._directory)
