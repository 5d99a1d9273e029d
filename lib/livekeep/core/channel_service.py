"""What an operator does with a channel, in one way for the API and the command: put it on air, take it off air, skip an item.

Each writes first what is meant (core/channels.py), then has systemd follow. A start keeps the intention when the worker does not
come up: it was said that the channel is meant to be on air, and the next boot tries again. A stop takes it away first, so that
nothing brings the channel back.
"""

import asyncio
import signal
from pathlib import Path
from typing import Literal, Protocol

from livekeep.core import channels

Verb = Literal["start", "restart", "stop"]


class Manager(Protocol):
    """systemd's manager; one that has not loaded a unit has nothing to stop or to forget."""

    async def run_job(self, verb: Verb, unit: str, seconds: float) -> str:
        """The job's result, "" when it has not ended within `seconds`."""

    async def kill(self, unit: str, number: int) -> None:
        """Send a signal to the main process alone."""

    async def reset_failed(self, unit: str) -> None:
        """Forget that it failed, and how often it was started."""


class ChannelService:
    """Errors are those of the manager, and `TemporaryError` when the intention cannot be written."""

    def __init__(self, manager: Manager, directory: Path = channels.DIRECTORY) -> None:
        self._manager, self._directory = manager, directory

    async def put_on_air(self, name: str, seconds: float, verb: Literal["start", "restart"] = "start") -> str:
        """The result of systemd's job; "" when it has not ended within `seconds`."""
        await asyncio.to_thread(channels.intend, name, self._directory)
        # A start on purpose must not use up those that the unit's policy allows.
        await self._manager.reset_failed(channels.worker_unit(name))
        return await self._manager.run_job(verb, channels.worker_unit(name), seconds)

    async def take_off_air(self, name: str, seconds: float) -> None:
        """Nothing brings it back: no boot, and not the timer that tries again after the worker gave up."""
        await asyncio.to_thread(channels.intend_not, name, self._directory)
        # systemd 252 did not always stop the timer along with a worker that had failed; and one after the other, for a worker
        # that takes the timer along cancels the other job.
        await self._manager.run_job("stop", channels.retry_timer(name), seconds)
        await self._manager.run_job("stop", channels.worker_unit(name), seconds)
        await self._manager.reset_failed(channels.worker_unit(name))

    async def skip(self, name: str) -> None:
        """End the present item. The worker must be up: one that starts does not yet know the signal, and would end by it."""
        await self._manager.kill(channels.worker_unit(name), signal.SIGUSR1)
