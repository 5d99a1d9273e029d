"""A picture of the shipped dashboard: `sudo python3 -m tests.machine.draw_dashboard docs/images/dashboard.png`.

Boots a room with livekeep and Debian's Prometheus, which has the shipped rules and configuration, but asks more often; plays a
short evening; then asks Prometheus all that the dashboard's panels ask, and draws the answers. Nothing in the picture is made up.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.machine.health_part import internet
from tests.machine.live import HD, SD, LiveStream
from tests.machine.machine import wait_for
from tests.machine.prometheus import ETC, THIS_BOX, UNIT, Prometheus
from tests.machine.room import Tables, merged
from tests.machine.screen import Screen
from tests.machine.standin import PROJECT
from tests.prometheus import expressions
from tests.prometheus.draw import Series, Span, draw

DASHBOARD = PROJECT / "etc/grafana/livekeep-screen.json"
ROWS = 36
"""The upper part of the dashboard, in units of its grid."""
STEP_SECONDS = 2
# An evening of minutes needs values every second, and no rule that is evaluated every five minutes.
QUICKER = (
    (r"(scrape|evaluation)_interval: 15s", rf"\1_interval: {STEP_SECONDS}s"),
    (r"scrape_timeout: 10s", f"scrape_timeout: {STEP_SECONDS}s"),
    (r"( +)interval: 5m", r"\1interval: 10s"),
)
COLOURS_IN_FILE = 255


class Evening(Screen):
    """The room; the stream comes in two sizes, as Vimeo's does."""

    def __init__(self) -> None:
        """Nothing is made yet."""
        super().__init__("trixie", more_packages=["prometheus"])
        self.live = LiveStream(self.network, variants=(HD, SD))
        self.parts = [self.network, self.tv, self.live, self.vimeo]

    def settings(self) -> dict[str, dict[str, Any]]:
        """The probes run often enough for such a short evening."""
        often: Tables = {"probes.network": {"interval_seconds": 10.0}, "probes.stream": {"interval_seconds": 10.0}}
        return merged(super().settings(), often)


def quicker(prometheus: Prometheus) -> None:
    """Have Prometheus scrape every second, and wait for the first results of its rules."""
    machine = prometheus.box.machine
    for path in machine.run(f"ls {ETC}/*.yml").stdout.split():
        text = machine.read(path)
        for pattern, replacement in QUICKER:
            text = re.sub(pattern, replacement, text)
        machine.write(path, text)
    machine.systemctl("restart", UNIT)
    prometheus.is_ready()
    wait_for(lambda: prometheus.query("instance:livekeep_picture_right:avg_over_time30d"), 60, 1)


def play(screen: Evening) -> None:
    """The evening: off air, live, an outage of the API while live, a stall, off air, live again."""
    time.sleep(35)
    screen.goes_live()
    time.sleep(45)
    screen.vimeo.fault("500")
    time.sleep(40)
    screen.vimeo.ok()
    time.sleep(35)
    screen.live.stall()
    screen.shows("holding")
    time.sleep(20)
    screen.live.resume()
    screen.moves()
    time.sleep(35)
    screen.vimeo.go_off()
    screen.shows("holding")
    time.sleep(30)
    screen.goes_live()
    time.sleep(40)


def series(found: Mapping[str, Any], legend: str) -> Series:
    """A series of Prometheus' response, named by the panel's legend."""
    points = found["values"] if "values" in found else [found["value"]]
    labels = found["metric"]
    name = re.sub(r"\{\{ *(\w+) *\}\}", lambda label: labels.get(label[1], ""), legend)
    return Series(name, labels, [(float(at), float(value)) for at, value in points if value != "NaN"])


def ask_panel(prometheus: Prometheus, panel: Mapping[str, Any], span: Span) -> list[Series]:
    """Prometheus' response to a panel's own expressions."""
    variables = {**expressions.VARIABLES, "instance": THIS_BOX, "__rate_interval": f"{4 * STEP_SECONDS}s"}
    found = []
    for target in panel.get("targets", []):
        when = {"time": span.end} if target["instant"] else {"start": span.begin, "end": span.end, "step": span.step}
        asked = urlencode({"query": expressions.filled_in(target["expr"], variables), **when})
        answer = prometheus.ask(f"query?{asked}" if target["instant"] else f"query_range?{asked}")
        found += [series(one, target["legendFormat"]) for one in answer["result"]]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the picture; 0 when it is written."""
    parser = argparse.ArgumentParser(prog="draw_dashboard", description=__doc__)
    parser.add_argument("to", type=Path, help="the PNG file to write")
    path = parser.parse_args(argv).to
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= ROWS]
    print("Boots a Debian with livekeep and Prometheus, and plays an evening of five minutes …", flush=True)
    with Evening() as screen, internet(screen):
        screen.livekeep("apply", check=True)
        prometheus = Prometheus(screen)
        prometheus.set_up()
        quicker(prometheus)
        begin = time.time()
        play(screen)
        span = Span(begin, time.time(), STEP_SECONDS)
        answers = {panel["id"]: ask_panel(prometheus, panel, span) for panel in panels}
    picture = draw(dashboard, answers, span, {"Prometheus": "Prometheus", "Box": THIS_BOX})
    picture.quantize(COLOURS_IN_FILE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
