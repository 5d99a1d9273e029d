"""What else a room's internet has: a name server, and a server that a line's speed is measured by.

The name server answers on port 53, which is free in a room's own network.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.machine.network import Network
from tests.machine.standin import Handler, StandIn, parse, serve
from tests.probes.name_server import NameServer

NAMES = {"api.vimeo.com": ["192.0.2.7"]}
BLOCK = bytes(256 * 1024)
DOWNLOAD_BYTES = 64 << 30
"""More than anybody waits for."""


@dataclass
class Counted:
    """The bytes of all bodies."""

    sent: int = 0
    received: int = 0


COUNTED = Counted()
LOCK = threading.Lock()


class LineHandler(Handler):
    """A download without end, and an upload that is thrown away."""

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        """Zeros until the client has enough."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(DOWNLOAD_BYTES))
        self.end_headers()
        self.close_connection = True
        for _ in range(DOWNLOAD_BYTES // len(BLOCK)):
            # Counted before: what the client takes has been counted.
            with LOCK:
                COUNTED.sent += len(BLOCK)
            self.wfile.write(BLOCK)

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        """Take all of a body whose length is known."""
        left = int(self.headers["Content-Length"])
        while left and (block := self.rfile.read(min(left, len(BLOCK)))):
            left -= len(block)
            with LOCK:
                COUNTED.received += len(block)
        self.answer(200, b"", "text/plain")


class Services(StandIn):
    """Steers them."""

    module = "tests.machine.services"

    def __init__(self, network: Network | None) -> None:
        """Nothing is made yet."""
        super().__init__(network)

    def counted(self) -> Counted:
        """What the speed tests have used up to now."""
        return Counted(**self.ask("counted"))


def control(do: str, arguments: dict[str, Any]) -> Any:
    """`counted`."""
    if do != "counted" or arguments:
        raise ValueError(f"cannot {do}")
    return asdict(COUNTED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run both until standard input closes."""
    with NameServer(names=NAMES, address=("127.0.0.1", 53)):
        return serve(LineHandler, control, parse(argv))


if __name__ == "__main__":
    sys.exit(main())
