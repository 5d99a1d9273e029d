"""livekeep-air-check CHANNEL: checks what the channel needs except publishing; for `livekeep air check`, as the worker's user.

Reads the configuration and the media as the worker does. Connects to each ingest and checks its certificate; publishes nothing.
Writes one JSON object per line to standard output as soon as it has a result; `kind` is one of:
- "doing": `text`, the current check; for items also `number` and `total`
- "check": `name`, `verdict` (ok, warn, fail), `finding`, `advice`; the check of the media also has the number of `items`
- "item": `name`, `size_bytes`, `duration_seconds`, `mode` (copy, normalise, "" if it can't be played), `reasons`,
  `error_type`, `problem`
It reads an item of a folder to its end, as the worker does. For an item of a bucket, that would cost as much traffic as playing
it, so the check uses the worker's earlier scan, or the headers alone.
No line contains a URL. The exit code is 0 when all checks ran, whatever their verdicts.
"""

import json
import logging
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from livekeep.air.storage.library import REST_SECONDS, open_library
from livekeep.air.storage.media import MediaFile, StorageError, natural
from livekeep.air.worker.ffmpeg import AUTHORITIES
from livekeep.air.worker.ingest_address import Address
from livekeep.air.worker.media_info import ItemError, ItemFailure, scanned
from livekeep.air.worker.probe import probe
from livekeep.air.worker.profile import UNREAD, plan
from livekeep.air.worker.scan import Scans, scan
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy
from livekeep.air.worker.slate import make_slate
from livekeep.core import channels, config
from livekeep.core.config import Channel
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.system import certificate, process
from livekeep.system.background import OverdueError, within

PROBE_SECONDS = 30.0
SCAN_SECONDS = 600.0
"""Time limit for reading an item of a folder to its end."""
CONNECT_SECONDS = 5.0
LOOK_UP_SECONDS = 8.0
"""Time limit for the DNS lookup and the connection together."""
PROGRAM_SECONDS = 20.0
HEADERS_ONLY = "as far as its headers tell; all of it is read before it is played"
ENCODERS = ("libx264", "aac")

Line = dict[str, Any]


def check(name: str, verdict: str, finding: str, advice: str = "") -> Line:
    return {"kind": "check", "name": name, "verdict": verdict, "finding": finding, "advice": advice}


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    # The command reports the lines received until then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    settings = config.load()
    configured = channels.load(settings)[0]
    if len(arguments) != 1 or arguments[0] not in configured:
        raise ConfigError([f"livekeep-air-check: give a channel: {', '.join(configured) or 'none is configured'}"])
    scans = Scans(channels.cache_of(arguments[0]) / "scans")
    for line in examine(configured[arguments[0]], settings.storage.timeout_seconds, scans):
        print(json.dumps(line), flush=True)
    return 0


class Warnings(logging.Handler):
    """Context manager that collects what the parts of the worker would log to the journal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())

    def __enter__(self) -> "Warnings":
        logging.getLogger("livekeep").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("livekeep").removeHandler(self)


def examine(channel: Channel, storage_timeout_seconds: float, scans: Scans) -> Iterator[Line]:
    yield ffmpeg(channel)
    for number, url in enumerate(channel.ingest_urls):
        yield {"kind": "doing", "text": "connecting to the ingest"}
        yield ingest(url, is_backup=number > 0)
    yield {"kind": "doing", "text": "making the slate"}
    yield slate(channel)
    if channel.media:
        yield {"kind": "doing", "text": "listing the media"}
        yield from media(channel, storage_timeout_seconds, scans)


# The programs


def ffmpeg(channel: Channel) -> Line:
    """Whether ffmpeg can do what this channel needs."""
    try:
        encoders, protocols = said_by("ffmpeg", "-encoders"), said_by("ffmpeg", "-protocols").partition("Output:")[2]
        version = said_by("ffprobe", "-version").split()[2:3]
    except process.ChildError as error:
        return check("ffmpeg", "fail", str(error), "sudo apt-get install ffmpeg")
    needed = {url.partition(":")[0].lower() for url in channel.ingest_urls}
    missing = [f"the encoder {name}" for name in ENCODERS if not re.search(rf"^ [VA]\S+ {name} ", encoders, re.MULTILINE)]
    missing += [f"the protocol {name}" for name in sorted(needed) if not re.search(rf"^\s+{name}$", protocols, re.MULTILINE)]
    if missing:
        return check("ffmpeg", "fail", f"ffmpeg lacks {', '.join(missing)}", "install Debian's own: sudo apt-get install ffmpeg")
    return check("ffmpeg", "ok", f"version {''.join(version)} can do all that is needed")


def said_by(program: str, argument: str) -> str:
    """The program's output. Raises `process.ChildError`."""
    return process.run([program, "-hide_banner", argument], PROGRAM_SECONDS, process.environment()).text()


# The ingest


def ingest(url: str, is_backup: bool) -> Line:
    """Whether the ingest's host resolves and accepts a connection; sends nothing."""
    name = "backup ingest" if is_backup else "ingest"
    server = Address.parse(url)
    host, port, where = server.host.strip("[]"), server.port, server.shown
    try:
        # The resolver has no timeout.
        address = within(LOOK_UP_SECONDS, lambda: connect(host, port))
    except socket.gaierror as error:
        return check(name, "fail", f"{host}: its address cannot be found ({error.strerror})", "check its spelling, and the DNS")
    except TimeoutError:
        return check(name, "fail", f"{where}: no answer within {LOOK_UP_SECONDS:g} s", "does a firewall let it through?")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return check(name, "fail", f"{where}: accepts no connection ({reason})", "is that the right host and port?")
    if server.scheme == "rtmps" and (fault := certificate_fault(host, port)):
        what, _colon, advice = fault.partition(": ")
        return check(name, "fail", f"{where} {what}", advice)
    return check(name, "ok", f"{where} accepts connections{f' at {address}' if address != host else ''}")


def certificate_fault(host: str, port: int) -> str:
    """What is wrong with the certificate; "" if nothing is, or if the check takes too long."""
    try:
        return within(LOOK_UP_SECONDS, lambda: certificate.fault_of(host, port, AUTHORITIES))
    except OverdueError:
        return ""


def connect(host: str, port: int) -> str:
    """The address that accepted the connection."""
    if port > 65535:
        raise OSError(0, f"there is no port {port}")
    with socket.create_connection((host, port), CONNECT_SECONDS) as connection:
        return str(connection.getpeername()[0])


# Media


def slate(channel: Channel) -> Line:
    """Whether the slate can be made; runs the worker's own code."""
    with Warnings() as warnings:
        try:
            make_slate(channel, None)
        except LivekeepError as error:
            warnings.sentences.append(str(error))
    if warnings.sentences:
        advice = "set the channel's slate to a picture or a video that group livekeep may read"
        return check("slate", "fail", "; ".join(warnings.sentences), advice)
    return check("slate", "ok", f"{channel.slate} can be shown")


def media(channel: Channel, timeout_seconds: float, scans: Scans) -> Iterator[Line]:
    """The listing, then each item."""
    with Warnings() as warnings:
        try:
            library = open_library(channel.media, channel.extensions, timeout_seconds)
            files = sorted(library.list_media(), key=lambda file: natural(file.name))
            if library.waiting:
                # Files that have just been copied there are not complete yet.
                yield {"kind": "doing", "text": "waiting for files that are still being written"}
                time.sleep(REST_SECONDS)
                files = sorted(library.list_media(), key=lambda file: natural(file.name))
        except StorageError as error:
            yield check("media", "fail", str(error))
            return
    yield from (check("media", "warn", sentence) for sentence in warnings.sentences)
    for name in library.waiting:
        yield check("media", "warn", f"{name}: is still being written; it is played once its size stops changing")
    count = f"{len(files)} item{'s' * (len(files) != 1)}"
    yield {**check("media", "ok", f"{count} in {channel.media}"), "items": len(files)}
    proxy = SignedUrlProxy(library)
    for number, file in enumerate(files, 1):
        yield {"kind": "doing", "text": file.name, "number": number, "total": len(files)}
        yield item(file, proxy, channel, scans, is_read=not library.is_remote)


def item(file: MediaFile, proxy: SignedUrlProxy, channel: Channel, scans: Scans, is_read: bool) -> Line:
    line: Line = {"kind": "item", "name": file.name, "size_bytes": file.size_bytes, "duration_seconds": None}
    line |= {"mode": "", "reasons": [], "error_type": "", "problem": ""}
    try:
        source = proxy.address_of(file.name)
        media = probe(source, PROBE_SECONDS, file.name)
        known = scans.load(file, proxy.version_of(source))
        if known is None and is_read:
            known = scan(source, media, file.name, timeout_seconds=SCAN_SECONDS)
        media = scanned(media, known) if known else media
    except (ItemError, StorageError) as error:
        return line | {"error_type": error.error_type, "problem": str(error)}
    line["duration_seconds"] = media.duration_seconds
    if media.lack:
        return line | {"error_type": ItemFailure.TRUNCATED, "problem": f"{file.name}: {media.lack}"}
    wanted = plan(media, channel)
    if wanted.reasons == (UNREAD,):
        return line | {"mode": "copy", "reasons": [HEADERS_ONLY]}
    return line | {"mode": wanted.mode, "reasons": list(wanted.reasons)}
