"""systemd's manager on D-Bus: start, stop and signal units, wait for their jobs, and see how they are.

Part of livekeep-controller and livekeep-air. One connection to the system bus, made at the first question and made anew after it
broke. What may be asked of systemd is in etc/polkit/livekeep-air.rules; looking needs no right.
Sources: org.freedesktop.systemd1(5); the D-Bus Specification 0.38. Of jeepney only what 0.8 and 0.9 share is used.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.io.asyncio import DBusConnection, open_dbus_connection

from livekeep.core import paths
from livekeep.core.errors import TemporaryError

SYSTEM_BUS = paths.ROOT / "run/dbus/system_bus_socket"
NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER = DBusAddress(ROOT, bus_name=NAME, interface=f"{NAME}.Manager")
BUS = DBusAddress("/org/freedesktop/DBus", bus_name="org.freedesktop.DBus", interface="org.freedesktop.DBus")
JOB_REMOVED = f"type='signal',sender='{NAME}',path='{ROOT}',interface='{NAME}.Manager',member='JobRemoved'"
ANSWER_SECONDS = 10.0
"""systemd answers in milliseconds, but not while it reloads its units; polkit is started by the first question."""
REMEMBERED_JOBS = 256
NOT_ALLOWED = ("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed", "NotAuthorized")
NOT_RUNNING = ("inactive", "failed")

logger = logging.getLogger("livekeep.systemd")


class SystemdError(TemporaryError):
    """systemd cannot be asked, or does not do what it is asked to."""


class NotLoadedError(SystemdError):
    """systemd does not know the unit just now: it does not run, and has not failed."""


@dataclass(frozen=True)
class Unit:
    """How a unit is, in systemd's words."""

    active: str = "inactive"
    sub: str = "dead"
    pid: int | None = None
    restarts: int | None = None
    """By systemd itself, since the unit was last started by somebody."""
    result: str = ""
    exit_status: int | None = None

    def runs(self) -> bool:
        """Whether it is up, or on its way up or down."""
        return self.active not in NOT_RUNNING


def path_of(unit: str) -> str:
    """The object's path: whatever is no letter or digit is written as its hexadecimal code."""
    return f"{ROOT}/unit/" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


class Connection:
    """One connection, from Hello to its end: replies find who asked, and ended jobs who waits for them."""

    def __init__(self, bus: DBusConnection) -> None:
        self._bus = bus
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._serial = 1_000_000
        """Hello's was a small one."""
        self.receiver = asyncio.create_task(self._receive())

    async def call(self, to: DBusAddress, member: str, signature: str = "", *arguments: Any) -> tuple[Any, ...]:
        """What a method answers. Raises `SystemdError`."""
        self._serial += 1
        serial, reply = self._serial, asyncio.get_running_loop().create_future()
        self._replies[serial] = reply
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._bus.send(new_method_call(to, member, signature or None, arguments), serial=serial)
                return content_of(await reply, member)
        except TimeoutError as error:
            raise SystemdError(f"systemd: no answer to {member} within {ANSWER_SECONDS:g} s; does it reload just now?") from error
        except (OSError, EOFError) as error:
            raise closed() from error
        finally:
            self._replies.pop(serial, None)

    async def end_of(self, job: str) -> str:
        """Wait for a job's end; its result: done, failed, canceled, timeout, dependency, skipped. Raises `SystemdError`."""
        if job in self._ended:
            return self._ended[job]
        if job not in self._waiting:
            self._waiting[job] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._waiting[job])

    async def _receive(self) -> None:
        try:
            while True:
                self._take(await self._bus.receive())
        # Whatever a message breaks in the reader, the connection is over, and the next question makes another.
        except Exception:
            logger.debug("the system bus: the connection ended", exc_info=True)
        finally:
            for future in (*self._replies.values(), *self._waiting.values()):
                if not future.done():
                    future.set_exception(closed())
                    # Nobody may be waiting any more.
                    future.exception()
            self._bus.writer.close()

    def _take(self, message: Message) -> None:
        fields = message.header.fields
        reply = self._replies.get(fields.get(HeaderFields.reply_serial, 0))
        if reply and not reply.done():
            reply.set_result(message)
        elif message.header.message_type == MessageType.signal and fields.get(HeaderFields.member) == "JobRemoved":
            _number, job, _unit, result = message.body
            self._ended[job] = result
            if len(self._ended) > REMEMBERED_JOBS:
                self._ended.popitem(last=False)
            waiting = self._waiting.pop(job, None)
            if waiting and not waiting.done():
                waiting.set_result(result)


def closed() -> SystemdError:
    return SystemdError("systemd: the connection to the system bus was closed; see journalctl -u dbus.service")


def content_of(reply: Message, member: str) -> tuple[Any, ...]:
    if reply.header.message_type != MessageType.error:
        return tuple(reply.body)
    name = str(reply.header.fields.get(HeaderFields.error_name, "an error without a name"))
    if name.endswith(NOT_ALLOWED):
        raise SystemdError(
            f"systemd: polkit refuses {member}; is livekeep-air.rules in /etc/polkit-1/rules.d? Run install.sh again"
        )
    text = str(reply.body[0]).splitlines()[0] if reply.body and isinstance(reply.body[0], str) and reply.body[0] else name
    if name.endswith("NoSuchUnit"):
        raise NotLoadedError(f"systemd: {text}")
    raise SystemdError(f"systemd: {member} is refused: {text}")


class Systemd:
    """The manager. All methods raise `SystemdError` when it cannot be asked, or refuses."""

    def __init__(self, bus: Path = SYSTEM_BUS) -> None:
        self._bus = bus
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        if self._connection:
            self._connection.receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connection.receiver
            self._connection = None

    async def connection(self) -> Connection:
        async with self._connecting:
            if not self._connection or self._connection.receiver.done():
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = Connection(await open_dbus_connection(f"unix:path={self._bus}"))
        except TimeoutError as error:
            raise SystemdError(f"{self._bus}: no answer; see systemctl status dbus.service") from error
        # jeepney raises what comes: for a refused login or a bus that hangs up in the middle too.
        except Exception as error:
            raise SystemdError(f"{self._bus}: {error or type(error).__name__}; is dbus.service running?") from error
        # Once for each connection: else it is not told of jobs that end.
        await connection.call(BUS, "AddMatch", "s", JOB_REMOVED)
        await connection.call(MANAGER, "Subscribe")
        return connection

    async def _call(self, to: DBusAddress, member: str, signature: str = "", *arguments: Any) -> tuple[Any, ...]:
        return await (await self.connection()).call(to, member, signature, *arguments)

    async def start(self, unit: str, seconds: float) -> str:
        """Start `unit`; the job's result, or "" when it has not ended within `seconds`; 0 does not wait."""
        return await self._run_job("StartUnit", unit, seconds)

    async def stop(self, unit: str, seconds: float) -> str:
        """Stop `unit`, as `start`; one that is not known has nothing to stop."""
        try:
            return await self._run_job("StopUnit", unit, seconds)
        except NotLoadedError:
            return "done"

    async def _run_job(self, member: str, unit: str, seconds: float) -> str:
        connection = await self.connection()
        (job,) = await connection.call(MANAGER, member, "ss", unit, "replace")
        if seconds <= 0:
            return ""
        try:
            async with asyncio.timeout(seconds):
                return await connection.end_of(job)
        except TimeoutError:
            return ""

    async def kill(self, unit: str, signal: int) -> None:
        """Send `signal` to the main process of `unit` alone. Raises `NotLoadedError`."""
        await self._call(MANAGER, "KillUnit", "ssi", unit, "main", signal)

    async def reset_failed(self, unit: str) -> None:
        """Forget that `unit` failed, and how often it was started. One that is not known has nothing to forget."""
        with contextlib.suppress(NotLoadedError):
            await self._call(MANAGER, "ResetFailedUnit", "s", unit)

    async def units(self, patterns: Iterable[str], with_details: bool = True) -> Mapping[str, Unit]:
        """The units that systemd knows just now, by name; one that is not among them is inactive."""
        (rows,) = await self._call(MANAGER, "ListUnitsByPatterns", "asas", [], list(patterns))
        found = {row[0]: Unit(active=row[3], sub=row[4]) for row in rows}
        if with_details:
            detailed = await asyncio.gather(*(self._detailed(name, unit) for name, unit in found.items()))
            found = dict(zip(found, detailed, strict=True))
        return found

    async def _detailed(self, name: str, unit: Unit) -> Unit:
        names = ("MainPID", "NRestarts", "Result", "ExecMainStatus")
        properties = DBusAddress(path_of(name), bus_name=NAME, interface="org.freedesktop.DBus.Properties")
        calls = (self._call(properties, "Get", "ss", f"{NAME}.Service", wanted) for wanted in names)
        try:
            pid, restarts, result, status = [answer[0][1] for answer in await asyncio.gather(*calls)]
        except NotLoadedError:
            return Unit()
        has_ended = result not in ("", "success")
        return Unit(unit.active, unit.sub, pid or None, restarts, result, status if has_ended else None)


@contextlib.asynccontextmanager
async def connected(bus: Path = SYSTEM_BUS) -> AsyncIterator[Systemd]:
    systemd = Systemd(bus)
    try:
        yield systemd
    finally:
        await systemd.close()
