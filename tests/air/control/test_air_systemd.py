"""The client of systemd's manager, against a real bus and a stand-in for PID 1 on it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from livekeep.air.control.systemd import Systemd, Unit
from livekeep.system.dbus import BusError, CallError
from tests.air.running_controller import Machine, machine

UNIT = "livekeep-worker@main.service"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as made:
        yield made


def run(at: Machine, what: Callable[[Systemd], Awaitable[object]]) -> object:
    async def inner() -> object:
        async with contextlib.aclosing(Systemd(at.bus.socket)) as found:
            return await what(found)

    return asyncio.run(inner())


def test_a_unit_is_started_seen_and_stopped(at: Machine) -> None:
    async def what(found: Systemd) -> None:
        assert await found.units(["livekeep-worker@*.service"]) == {}
        assert await found.run_job("start", UNIT, 10) == "done"
        (unit,) = (await found.units(["livekeep-worker@*.service"])).values()
        assert (unit.active, unit.sub, unit.runs(), unit.pid, unit.restarts) == ("active", "running", True, 1001, 0)
        assert await found.units([UNIT], with_details=False) == {UNIT: Unit("active", "running")}
        await found.kill(UNIT, 10)
        assert await found.run_job("stop", UNIT, 10) == "done"
        assert not (await found.units([UNIT]))[UNIT].runs()
        at.tell(outcomes={UNIT: {"seconds": None}})
        assert await found.run_job("start", UNIT, 0.2) == ""
        assert (await found.units([UNIT]))[UNIT].active == "activating"

    run(at, what)
    assert at.calls() == [f"start {UNIT} inactive", f"kill {UNIT} main 10", f"stop {UNIT} active", f"start {UNIT} inactive"]


def test_many_jobs_at_once_find_their_ends(at: Machine) -> None:
    units = [f"livekeep-worker@c{number}.service" for number in range(16)]
    at.tell(outcomes={unit: {"result": "done" if number % 5 else "failed", "seconds": 0.01} for number, unit in enumerate(units)})

    async def what(found: Systemd) -> list[str]:
        return await asyncio.gather(*(found.run_job("start", unit, 10) for unit in units))

    assert run(at, what) == ["done" if number % 5 else "failed" for number in range(16)]


@pytest.mark.parametrize(
    "name", ["org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.systemd1.NoSuchUnit", "org.example.Odd"]
)
def test_refusals_say_what_they_are(at: Machine, name: str) -> None:
    at.tell(refuse=name)

    async def what(found: Systemd) -> None:
        with pytest.raises(CallError) as refusal:
            await found.run_job("start", UNIT, 1)
        assert refusal.value.name == name
        assert ("polkit refuses StartUnit" in str(refusal.value)) == ("AccessDenied" in name)

    run(at, what)


def test_a_lost_connection_ends_all_waits_and_the_next_question_makes_another(at: Machine) -> None:
    at.tell(outcomes={UNIT: {"seconds": None}})

    async def what(found: Systemd) -> None:
        waiting = asyncio.create_task(found.run_job("start", UNIT, 60))
        while not at.calls():
            await asyncio.sleep(0.02)
        await asyncio.to_thread(at.bus.stop)
        with pytest.raises(BusError, match="was closed"):
            await waiting
        with pytest.raises(BusError, match="system_bus_socket"):
            await found.units([UNIT])
        at.stop_systemd()
        at.bus.start()
        at.start_systemd()
        assert await found.units([UNIT]) == {}

    run(at, what)


def test_a_bus_that_hangs_up_is_said(tmp_path: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def what() -> None:
        server = await asyncio.start_unix_server(hang_up, tmp_path / "bus")
        async with server, contextlib.aclosing(Systemd(tmp_path / "bus")) as found:
            with pytest.raises(BusError, match=r"is dbus\.service running"):
                await found.units([UNIT])

    asyncio.run(what())
