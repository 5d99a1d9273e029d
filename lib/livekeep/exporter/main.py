"""livekeep-exporter: serves metrics and health over HTTP, for Prometheus, uptime checkers and people with a browser.

Unit: livekeep-exporter.service. Reads: the configuration, all states below /run/livekeep, /proc and /sys, systemd over D-Bus.
Writes nothing, except with --textfile. Nothing in livekeep depends on it.

Everything is read at the time of the request (`registry`), into the metrics listed in `metrics`.
"""

import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import generate_latest

from livekeep.core import config, events, files, log, paths
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, LivekeepError, TemporaryError
from livekeep.core.service import Service
from livekeep.exporter.pages import Pages
from livekeep.exporter.picture import PicturePage
from livekeep.exporter.process import Process
from livekeep.exporter.registry import registry_of, sources_of
from livekeep.exporter.server import Server, listen
from livekeep.exporter.states import States

USAGE = "usage: livekeep-exporter [--check-config | --textfile PATH.prom]"
TEXTFILE_SUFFIX = ".prom"
TEXTFILE_MODE = 0o644


def reload() -> None:
    """Apply the log level; the rest needs a restart. An invalid configuration changes nothing."""
    try:
        log.set_up(config.load().log.level)
    except ConfigError as error:
        sentence = f"The new configuration is refused, the old one stays: {error.problems[0]}"
        events.emit(events.CONFIG_REJECTED, sentence, PROBLEMS="; ".join(error.problems))


def write_textfile(target: Path) -> int:
    """Write one scrape to a file for node_exporter's textfile collector. Raises `LivekeepError`."""
    if target.suffix != TEXTFILE_SUFFIX:
        name = f"{target.stem or 'livekeep'}{TEXTFILE_SUFFIX}"
        raise LivekeepError(f"{target}: node_exporter reads files that end in {TEXTFILE_SUFFIX}; name it {name}")
    log.set_up("warning")
    # No process_…: node_exporter has metrics of the same names, and would reject the file.
    states = States(paths.STATE_DIRECTORY, probes=config.load_leniently()[0].probes)
    text = generate_latest(registry_of(sources_of(states, paths.ROOT)))
    try:
        # node_exporter may read it at any time; until it is complete, it has another suffix.
        files.replace(target, text, TEXTFILE_MODE, is_durable=False)
    except OSError as error:
        advice = "make its folder first" if isinstance(error, FileNotFoundError) else "who runs this must own the folder"
        raise TemporaryError(f"{target}: cannot be written ({error.strerror}); {advice}") from error
    return 0


def serve(settings: Config) -> int:
    """Run until SIGTERM. Raises `TemporaryError` if it cannot listen on the address."""
    log.set_up(settings.log.level)
    of_waitress = logging.getLogger("waitress")
    of_waitress.handlers = logging.getLogger("livekeep").handlers
    # It warns about each request that waits for a thread, and about each client that disconnects.
    of_waitress.setLevel(logging.ERROR)
    address, port = settings.exporter.address, settings.exporter.port
    states = States(paths.STATE_DIRECTORY, probes=settings.probes)
    registry = registry_of({"process": Process().collect, **sources_of(states, paths.ROOT)})
    picture = PicturePage(states.root, settings.exporter.screen_picture)
    pages = Pages(address, states, registry, picture)
    server = Server(pages, listen(address, port))
    service = Service()
    service.status(f"listening on {address} port {port}")

    def one_pass(_now: float) -> float:
        # The watchdog detects a stuck loop, and a source that never returns.
        server.pass_completely()
        pages.wait_for_sources()
        return math.inf

    server.start()
    service.run(one_pass, reload)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or perform the option's action. Raises `ConfigError` for an invalid configuration."""
    match list(sys.argv[1:] if argv is None else argv):
        case []:
            return serve(config.load())
        case ["--check-config"]:
            config.load()
            return 0
        case ["--textfile", target]:
            return write_textfile(Path(target))
        case _:
            print(USAGE, file=sys.stderr)
            return 2
