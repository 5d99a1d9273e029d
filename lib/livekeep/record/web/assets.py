"""The files that the pages load: our style sheet and script, and Debian's Chart.js. Each has its digest in its address, so that a
browser caches it forever and never uses an old one.

Part of livekeep-web.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).with_name("static")
CHART = Path("/usr/share/javascript/chart.js/chart.min.js")
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    content: bytes
    compressed: bytes
    content_type: str
    tag: str
    """The digest of its content; in its address, and the ETag."""


class Assets:
    """Assets by name, each read on first use."""

    def __init__(self) -> None:
        self._files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
        if CHART.exists():
            self._files["chart.js"] = CHART
        self._read: dict[str, Asset] = {}

    def get(self, name: str) -> Asset | None:
        if name not in self._files:
            return None
        if name not in self._read:
            path = self._files[name]
            content = path.read_bytes()
            tag = hashlib.blake2b(content, digest_size=9).hexdigest()
            self._read[name] = Asset(content, gzip.compress(content, 6, mtime=0), TYPES[path.suffix], tag)
        return self._read[name]

    def address(self, name: str) -> str:
        """The address of a file for a page; "" if it is not installed."""
        asset = self.get(name)
        return f"/static/{asset.tag}/{name}" if asset else ""
