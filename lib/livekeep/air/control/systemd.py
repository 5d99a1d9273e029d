"""Asynchronous client for systemd's manager: start, stop and signal units, wait for their jobs, and read their state.

Part of livekeep-controller. Uses one connection to the system bus, made at the first call and again after it broke. The permitted
calls are in etc/polkit/livekeep-air.rules; reading needs no permission. The calls are those of system/systemd.py.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeepney import HeaderFields, Message, MessageType
from jeepney.io.asyncio import DBusConnection, open_dbus_connection

from livekeep.core.channel_service import Verb
from livekeep.system import dbus, systemd
from livekeep.system.dbus import CALL_SECONDS, SYSTEM_BUS, BusError, Call, CallError
from livekeep.system.systemd import NOT_RUNNING

JOB_REMOVED = f"type='signal',sender='{systemd.NAME}',path='{systemd.ROOT}',interface='{systemd.MANAGER}',member='JobRemoved'"
REMEMBERED_JOBS = 256

logger = logging.getLogger("livekeep.systemd")


@dataclass(frozen=True)
class Unit:
    """A unit's state, in systemd's terms."""

    active: str = "inactive"
    sub: str = "dead"
    pid: int | None = None
    restarts: int | None = None
    """By systemd itself, since the unit was last started by request."""
    result: str = ""
    exit_status: int | None = None

    def runs(self) -> bool:
        """Whether it is up, starting or stopping."""
        return self.active not in NOT_RUNNING


class Connection:
    """One connection, from Hello to its end: dispatches replies and ended jobs to their waiting callers."""

    def __init__(self, bus: DBusConnection) -> None:
        self._bus = bus
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._serial = 1_000_000
        """Larger than that of Hello."""
        self.receiver = asyncio.create_task(self._receive())

    async def call(self, call: Call) -> tuple[Any, ...]:
        """A method's return values. Raises `CallError` for an error from systemd, `BusError` if no reply comes in time."""
        self._serial += 1
        serial, reply = self._serial, asyncio.get_running_loop().create_future()
        self._replies[serial] = reply
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._bus.send(call.message(), serial=serial)
                return dbus.result_of(await reply, call)
        except TimeoutError as error:
            raise BusError(f"systemd: no reply to {call.member} within {CALL_SECONDS:g} s; is it reloading?") from error
        except (OSError, EOFError) as error:
            raise closed() from error
        finally:
            self._replies.pop(serial, None)

    async def end_of(self, job: str) -> str:
        """Wait for a job's end; its result: done, failed, canceled, timeout, dependency, skipped. Raises `BusError`."""
        if job in self._ended:
            return self._ended[job]
        if job not in self._waiting:
            self._waiting[job] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._waiting[job])

    async def _receive(self) -> None:
        try:
            while True:
                self._take(await self._bus.receive())
        # Any error in the reader ends the connection; the next call makes a new one.
        except Exception:
            logger.debug("the system bus: the connection ended", exc_info=True)
        finally:
            for future in (*self._replies.values(), *self._waiting.values()):
                if not future.done():
                    future.set_exception(closed())
                    # There may be no waiting caller.
                    future.exception()
            self._bus.writer.close()

    def _take(self, message: Message) -> None:
        reply = self._replies.get(dbus.replied_serial(message))
        if reply and not reply.done():
            reply.set_result(message)
        elif message.header.message_type == MessageType.signal and message.header.fields.get(HeaderFields.member) == "JobRemoved":
            _number, job, _unit, result = message.body
            self._ended[job] = result
            if len(self._ended) > REMEMBERED_JOBS:
                self._ended.popitem(last=False)
            waiting = self._waiting.pop(job, None)
            if waiting and not waiting.done():
                waiting.set_result(result)


def closed() -> BusError:
    return BusError("systemd: the connection to the system bus was closed; see journalctl -u dbus.service")


class Systemd:
    """The manager. All methods raise `BusError` if it does not reply, or refuses."""

    def __init__(self, bus: Path = SYSTEM_BUS) -> None:
        self._bus = bus
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    async def aclose(self) -> None:
        if self._connection:
            self._connection.receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connection.receiver
            self._connection = None

    async def connection(self) -> Connection:
        async with self._connecting:
            if self._connection and not self._connection.receiver.done():
                return self._connection
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    connection = Connection(await open_dbus_connection(f"unix:path={self._bus}"))
            except TimeoutError as error:
                raise BusError(f"{self._bus}: no reply; see systemctl status dbus.service") from error
            # jeepney raises various exceptions, also for a refused login or a bus that disconnects during it.
            except Exception as error:
                raise BusError(f"{self._bus}: {error or type(error).__name__}; is dbus.service running?") from error
            # Once per connection: otherwise no signal comes when a job ends.
            await connection.call(Call(*dbus.BUS, "AddMatch", "s", (JOB_REMOVED,)))
            await connection.call(systemd.manager("Subscribe"))
            self._connection = connection
            return connection

    async def _call(self, call: Call) -> tuple[Any, ...]:
        return await (await self.connection()).call(call)

    async def run_job(self, verb: Verb, unit: str, seconds: float) -> str:
        """The job's result; "" if it has not ended within `seconds`. Stopping a unit that is not loaded is a success."""
        call = systemd.job(verb, unit)
        connection = await self.connection()
        try:
            (job,) = await connection.call(call)
        except CallError as error:
            if verb != "stop" or error.name != systemd.NO_SUCH_UNIT:
                raise
            return "done"
        try:
            async with asyncio.timeout(seconds):
                return await connection.end_of(job)
        except TimeoutError:
            return ""

    async def kill(self, unit: str, number: int) -> None:
        """Send a signal to the main process of `unit` alone."""
        await self._call(systemd.manager("KillUnit", "ssi", unit, "main", number))

    async def reset_failed(self, unit: str) -> None:
        """Clear `unit`'s failure and start count. A unit that is not loaded has none."""
        try:
            await self._call(systemd.manager("ResetFailedUnit", "s", unit))
        except CallError as error:
            if error.name != systemd.NO_SUCH_UNIT:
                raise

    async def units(self, patterns: Iterable[str], with_details: bool = True) -> Mapping[str, Unit]:
        """The units that systemd has loaded, by name; a missing unit is inactive."""
        listed = systemd.listed_units(await self._call(systemd.list_by_patterns(patterns)))
        units = {entry.name: Unit(active=entry.active, sub=entry.sub) for entry in listed}
        if with_details:
            detailed = await asyncio.gather(*(self._detailed(entry.path, units[entry.name]) for entry in listed))
            units = dict(zip(units, detailed, strict=True))
        return units

    async def _detailed(self, path: str, unit: Unit) -> Unit:
        names = ("MainPID", "NRestarts", "Result", "ExecMainStatus")
        calls = (self._call(systemd.get(path, systemd.SERVICE, name)) for name in names)
        try:
            pid, restarts, result, status = [value for (value,) in await asyncio.gather(*calls)]
        except CallError as error:
            if error.name != systemd.NO_SUCH_UNIT:
                raise
            return Unit()
        has_ended = result not in ("", "success")
        return Unit(unit.active, unit.sub, pid or None, restarts, result, status if has_ended else None)
