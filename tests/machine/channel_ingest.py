"""The far end of a channel: nginx-rtmp in the room's network, which can be killed, stopped, and made to refuse.

`ChannelIngest` is the test's client; see tests/air/ingest.py for the server itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.air.ingest import Ingest
from tests.machine.standin import Handler, StandIn, parse, serve

DOINGS = ("start", "kill", "stall", "go_on", "refuse", "accept", "publishes", "received_bytes")


class ChannelIngest(StandIn):
    """The ingest, which runs from the start, at `url`.

    `ask("kill")` kills it like a crash, and "start" starts it again on the same port; "stall" makes it read nothing, but keep the
    connections, until "go_on"; "refuse" answers publishers with 403, until "accept".
    """

    module = "tests.machine.channel_ingest"
    url = ""

    def _make(self) -> None:
        super()._make()
        self.url = self.ask("url")

    def publishes(self, name: str) -> int:
        """How often a publisher of stream `name` was accepted."""
        return int(self.ask("publishes", name=name))

    def received_bytes(self, name: str) -> int | None:
        """The bytes received from the current publisher of stream `name`, None when there is none."""
        received: int | None = self.ask("received_bytes", name=name)
        return received


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
