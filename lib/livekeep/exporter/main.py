"""livekeep-exporter: tells Prometheus, uptime checkers and people with a browser how this machine is.

Unit: livekeep-exporter.service. Reads: the configuration, all states below /run/livekeep, /proc and /sys, systemd over D-Bus.
Writes nothing, but for --textfile. Nothing of livekeep depends on it.

Everything is read when it is asked for (`registry`), in families that stand in one list (`metrics`), and answered from one loop
without threads (`web`).
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from livekeep.core import config, events, log, paths
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.core.service import Service
from livekeep.exporter import exposition, textfile
from livekeep.exporter.listener import listen
from livekeep.exporter.picture import Camera
from livekeep.exporter.process import Process
from livekeep.exporter.registry import Gathering, collectors_of
from livekeep.exporter.request import Request, accepts_gzip, accepts_openmetrics
from livekeep.exporter.states import States
from livekeep.exporter.web import Answer, Later, Web, line
from livekeep.status.health import Clock

USAGE = "usage: livekeep-exporter [--check-config | --textfile PATH.prom]"
METHODS = ("GET", "HEAD")
START_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>livekeep</title></head>
<body>
<h1>livekeep</h1>
<ul>
<li><a href="/metrics">/metrics</a>: the figures, for Prometheus</li>
<li><a href="/healthz">/healthz</a>: whether the screen and the channels are well, in one line</li>
<li><a href="/screen.png">/screen.png</a>: what the TV shows, if that is switched on, for who knows the token</li>
</ul>
</body>
</html>
"""

logger = logging.getLogger("livekeep.exporter")


class Exporter:
    """What is answered to whom."""

    def __init__(self, settings: Config, states: States, gathering: Gathering) -> None:
        self._states, self._gathering = states, gathering
        self.camera = Camera(states.root, settings.exporter.screen_picture)
        self._pages: dict[str, Callable[[Request], Answer | Later]] = {
            "/": start_page,
            "/metrics": self.metrics,
            "/healthz": self.healthz,
            "/screen.png": self.camera.answer,
        }

    def respond(self, request: Request) -> Answer | Later:
        found = self._pages.get(request.path)
        if not found:
            return line(404, "there is nothing here; see / for what there is")
        if request.method not in METHODS:
            return line(405, "only GET and HEAD are answered here", ("Allow", ", ".join(METHODS)))
        return found(request)

    def metrics(self, request: Request) -> Answer:
        is_openmetrics = accepts_openmetrics(request)
        body = self._gathering.scrape(is_openmetrics)
        headers: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
        if accepts_gzip(request):
            body, headers = exposition.gzipped(body), (*headers, ("Content-Encoding", "gzip"))
        return Answer(200, body, exposition.OPENMETRICS if is_openmetrics else exposition.TEXT, headers)

    def healthz(self, _request: Request) -> Answer:
        try:
            found = self._states.judgement(Clock(time.time(), time.monotonic())).whole()
        except LivekeepError as error:
            return line(503, f"down: {error}")
        return line(503 if found.level == "down" else 200, f"{found.level}: {found.sentence}")


def start_page(_request: Request) -> Answer:
    return Answer(200, START_PAGE, "text/html; charset=utf-8")


def reload() -> None:
    """Take over the log's level; the rest needs a restart. A faulty configuration changes nothing."""
    try:
        log.set_up(config.load().log.level)
    except ConfigError as error:
        sentence = f"The new configuration is refused, the old one stays: {error.problems[0]}"
        events.emit(events.CONFIG_REJECTED, sentence, PROBLEMS="; ".join(error.problems))


def write_textfile(target: Path) -> int:
    """One scrape into a file. Raises `LivekeepError`."""
    textfile.check(target)
    log.set_up("warning")
    # No process_…: node_exporter has its own of these names, and would refuse the file.
    states = States(paths.STATE_DIRECTORY, probes=config.load_leniently()[0].probes)
    textfile.write(target, Gathering(collectors_of(states, paths.ROOT)).scrape())
    return 0


def serve(settings: Config) -> int:
    """Run until SIGTERM. Raises `TemporaryError` when the address cannot be listened on."""
    log.set_up(settings.log.level)
    address, port = settings.exporter.address, settings.exporter.port
    states = States(paths.STATE_DIRECTORY, probes=settings.probes)
    gathering = Gathering({**collectors_of(states, paths.ROOT), "process": Process()})
    exporter = Exporter(settings, states, gathering)
    web = Web(listen(address, port), exporter.respond)
    service = Service()
    service.watch(web, web.handle)
    service.status(f"listening on {address} port {port}")
    service.run(lambda now: min(exporter.camera.one_pass(now), web.one_pass(now)), reload)
    web.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, or do what the option says. Raises `ConfigError` for a faulty configuration."""
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
