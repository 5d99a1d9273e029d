"""More stand-ins for a room's internet: a name server, and a server for speed tests.

The name server answers on port 53, which is free in a room's own network.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.machine.standin import Handler, StandIn, parse, serve
from tests.probes.name_server import NameServer

NAMES = {"api.vimeo.com": ["192.0.2.7"]}
BLOCK = bytes(256 * 1024)
DOWNLOAD_BYTES = 64 << 30
"""More than any client waits for."""


@dataclass
class Counted:
    """The bytes of all bodies."""

    sent: int = 0
    received: int = 0


COUNTED = Counted()
LOCK = threading.Lock()


class LineHandler(Handler):
    """An endless download, and an upload that is discarded."""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Send zeros until the client has enough."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(DOWNLOAD_BYTES))
        self.end_headers()
        self.close_connection = True
        for _ in range(DOWNLOAD_BYTES // len(BLOCK)):
            # Counted before: everything that the client received is counted.
            with LOCK:
                COUNTED.sent += len(BLOCK)
            self.wfile.write(BLOCK)

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Read all of a body of known length."""
        left = int(self.headers["Content-Length"])
        while left and (block := self.rfile.read(min(left, len(BLOCK)))):
            left -= len(block)
            with LOCK:
                COUNTED.received += len(block)
        self.answer(200, b"", "text/plain")


class Services(StandIn):
    """Controls them."""

    module = "tests.machine.services"

    def counted(self) -> Counted:
        """The traffic of the speed tests until now."""
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
