"""The operator's actions on a channel, shared by the API and the command: put it on air, take it off air, skip an item.

Each action first writes the intention (core/channels.py), then changes the unit. If the worker fails to start, the intention
stays: the channel is still meant to be on air, and the next boot tries again. A stop removes the intention first, so that
nothing restarts the channel.
"""

import asyncio
import signal
from pathlib import Path
from typing import Literal, Protocol

from livekeep.core import channels

Verb = Literal["start", "restart", "stop"]


class Manager(Protocol):
    """systemd's manager. For a unit that it has not loaded, stopping and resetting do nothing."""

    async def run_job(self, verb: Verb, unit: str, seconds: float) -> str:
        """The job's result; "" if the job takes longer than `seconds`."""

    async def kill(self, unit: str, number: int) -> None:
        """Send a signal to the main process alone."""

    async def reset_failed(self, unit: str) -> None:
        """Reset its failed state and its start counter."""


class ChannelService:
    """Raises the manager's errors, and `TemporaryError` when the intention cannot be written."""

    def __init__(self, manager: Manager, directory: Path = channels.DIRECTORY) -> None:
        self._manager, self._directory = manager, directory

    async def put_on_air(self, name: str, seconds: float, verb: Literal["start", "restart"] = "start") -> str:
        """The result of systemd's job; "" if the job takes longer than `seconds`."""
        await asyncio.to_thread(channels.intend, name, self._directory)
        # An operator's start must not count against the unit's start limit.
        await self._manager.reset_failed(channels.worker_unit(name))
        return await self._manager.run_job(verb, channels.worker_unit(name), seconds)

    async def take_off_air(self, name: str, seconds: float) -> None:
        """Nothing restarts the channel: neither a boot nor the timer that retries after the worker gave up."""
        await asyncio.to_thread(channels.intend_not, name, self._directory)
        # systemd 252 did not always stop the timer together with a failed worker. One after the other, because a worker
        # that stops its timer cancels the other job.
        await self._manager.run_job("stop", channels.retry_timer(name), seconds)
        await self._manager.run_job("stop", channels.worker_unit(name), seconds)
        await self._manager.reset_failed(channels.worker_unit(name))

    async def skip(self, name: str) -> None:
        """End the current item. The worker must be up: while it starts, it does not handle the signal yet, which would end it."""
        await self._manager.kill(channels.worker_unit(name), signal.SIGUSR1)
