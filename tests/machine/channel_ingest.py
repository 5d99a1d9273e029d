"""The far end of a channel: nginx-rtmp in the room's network, which can be killed, stopped, and made to refuse.

`ChannelIngest` is the test's client; see tests/air/ingest.py for the server itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.air.ingest import Ingest
from tests.machine.network import Network
from tests.machine.standin import Handler, StandIn, parse, serve

DOINGS = ("start", "kill", "stall", "go_on", "refuse", "accept", "publishes", "refusals", "received_bytes")


class ChannelIngest(StandIn):
    """Controls the ingest, which runs from the start."""

    module = "tests.machine.channel_ingest"

    def __init__(self, network: Network) -> None:
        """Nothing is made yet."""
        super().__init__(network)
        self.url = ""

    def _make(self) -> None:
        super()._make()
        self.url = self.ask("url")

    def start_again(self) -> None:
        """After `kill()`, on the same port."""
        self.ask("start")

    def kill(self) -> None:
        """Kill it, like a crash."""
        self.ask("kill")

    def stall(self) -> None:
        """Read nothing from now on, but keep the connections."""
        self.ask("stall")

    def go_on(self) -> None:
        """End `stall()`."""
        self.ask("go_on")

    def refuse(self) -> None:
        """Respond with 403 to publishers from now on."""
        self.ask("refuse")

    def accept(self) -> None:
        """End `refuse()`."""
        self.ask("accept")

    def publishes(self, name: str) -> int:
        """How often a publisher of stream `name` was accepted."""
        return int(self.ask("publishes", name=name))

    def refusals(self) -> int:
        """How often one was refused."""
        return int(self.ask("refusals"))

    def received_bytes(self, name: str) -> int | None:
        """The bytes received from the current publisher of stream `name`, None when there is none."""
        found: int | None = self.ask("received_bytes", name=name)
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run it until standard input closes."""
    arguments = parse(argv)
    ingest = Ingest(Path(arguments.control).with_name("ingest"))
    ingest.start()

    def control(do: str, arguments: dict[str, Any]) -> Any:
        if do == "url":
            return ingest.url
        if do not in DOINGS:
            raise ValueError(f"cannot {do}")
        return getattr(ingest, do)(**arguments)

    try:
        return serve(Handler, control, arguments)
    finally:
        ingest.close()


if __name__ == "__main__":
    sys.exit(main())
