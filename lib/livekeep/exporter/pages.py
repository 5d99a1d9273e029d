"""The exporter's pages, as a WSGI application (PEP 3333).

/metrics has the formats of prometheus_client, which selects one by the header Accept; /healthz is the verdict in one line.
"""

import gzip
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from livekeep.core.errors import LivekeepError
from livekeep.exporter.states import States
from livekeep.status.health import Clock
from livekeep.system.loopback import is_loopback_address, is_loopback_name

Environ = dict[str, Any]
GZIP_LEVEL = 1
"""A third of the default level's time, for a page of 10 kB instead of 8 kB."""
METHODS = ("GET", "HEAD")
FOREIGN_HOST = "this address serves only this machine, as localhost or 127.0.0.1; see exporter.address"
BROKEN = "internal error: journalctl -u livekeep-exporter"
START_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>livekeep</title></head>
<body>
<h1>livekeep</h1>
<ul>
<li><a href="/metrics">/metrics</a>: the metrics, for Prometheus</li>
<li><a href="/healthz">/healthz</a>: whether the screen and the channels are healthy, in one line</li>
<li><a href="/screen.png">/screen.png</a>: the TV's picture, if enabled, for clients with the token</li>
</ul>
</body>
</html>
"""

logger = logging.getLogger("livekeep.exporter")


@dataclass(frozen=True)
class Response:
    """`file` is an open file of `size` bytes, sent instead of `body`; the server closes it."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    file: BinaryIO | None = None
    size: int = 0


Page = Callable[[Environ], Response]


def line(status: int, sentence: str, *headers: tuple[str, str]) -> Response:
    return Response(status, f"{sentence}\n".encode(), headers=headers)


class Pages:
    """The application. `address` is the server's listening address."""

    def __init__(self, address: str, states: States, registry: CollectorRegistry, screen_picture: Page) -> None:
        self._is_local = is_loopback_address(address)
        self._states, self._registry = states, registry
        self._lock = threading.Lock()
        """Held while the sources are read, because they cache earlier values."""
        self._pages: dict[str, Page] = {
            "/": lambda _environ: Response(200, START_PAGE, "text/html; charset=utf-8"),
            "/metrics": self.metrics,
            "/healthz": self.healthz,
            "/screen.png": screen_picture,
        }

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            response = self.respond(environ)
        except Exception:
            logger.exception("%s: no response", environ["PATH_INFO"])
            response = line(500, BROKEN)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(response.size or len(response.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *response.headers,
        ]
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            if response.file:
                response.file.close()
            return []
        if response.file:
            chunks: Iterable[bytes] = environ["wsgi.file_wrapper"](response.file)
            return chunks
        return [response.body]

    def respond(self, environ: Environ) -> Response:
        host = environ.get("HTTP_HOST", "")
        if self._is_local and host and not is_loopback_name(host):
            return line(421, FOREIGN_HOST)
        page = self._pages.get(environ["PATH_INFO"])
        if not page:
            return line(404, "not found; / lists the pages")
        if environ["REQUEST_METHOD"] not in METHODS:
            return line(405, "only GET and HEAD are allowed", ("Allow", ", ".join(METHODS)))
        return page(environ)

    def metrics(self, environ: Environ) -> Response:
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        with self._lock:
            body = encode(self._registry)
        headers: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            body, headers = gzip.compress(body, GZIP_LEVEL), (*headers, ("Content-Encoding", "gzip"))
        return Response(200, body, content_type, headers)

    def healthz(self, _environ: Environ) -> Response:
        try:
            with self._lock:
                verdict = self._states.verdict(Clock(time.time(), time.monotonic())).whole()
        except LivekeepError as error:
            return line(503, f"down: {error}")
        return line(503 if verdict.level == "down" else 200, f"{verdict.level}: {verdict.sentence}")

    def wait_for_sources(self) -> None:
        """Wait until no source is being read; blocks if a source never returns."""
        with self._lock:
            pass
