"""Debian's Prometheus in a room: set up as docs/how-to/health.md says, and queried from inside the machine.

For tests of alerts it runs faster: it scrapes every second, and a minute in a rule lasts two seconds. tests/prometheus tests the
rules with their real times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.machine.machine import MachineError, wait_for
from tests.machine.room import Answer, fetch_all
from tests.machine.screen import Screen
from tests.machine.standin import PROJECT

UNIT = "prometheus.service"
URL = "http://127.0.0.1:9090"
ETC = "/etc/prometheus"
THIS_BOX = "this-box"
"""The box that Prometheus runs on, in the shipped configuration."""
HEALTH = PROJECT / "docs/how-to/health.md"
MINUTE_SECONDS = 2
FIRES_SECONDS = 90.0
Alert = dict[str, Any]
Vector = list[dict[str, Any]]


def documented(document: Path, heading: str) -> list[str]:
    """The shell lines below a document's heading."""
    text = document.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^    (sudo .+)$", text, re.MULTILINE)


def quicker(text: str) -> str:
    """A configuration that scrapes every second, or rules in which a minute lasts `MINUTE_SECONDS`; days stay days."""
    text = re.sub(r"\b(scrape_interval|evaluation_interval|scrape_timeout): \d+s", r"\1: 1s", text)
    text = re.sub(r"\binterval: \d+m", "interval: 1s", text)

    def shortened(found: re.Match[str]) -> str:
        minutes = int(found[2]) * (60 if found[3] == "h" else 1)
        return f"{found[1]}{minutes * MINUTE_SECONDS}s"

    return re.sub(r"(\[|\bfor: )(\d+)([mh])\b", shortened, text)


class Prometheus:
    """The test's client."""

    def __init__(self, box: Screen) -> None:
        """Nothing is made yet."""
        self.box = box

    # Making it

    def set_up(self) -> None:
        """As the document says, except the package, which is installed."""
        commands = documented(HEALTH, "From nothing to a graph")
        assert commands[0] == "sudo apt install prometheus", commands
        assert commands[-1] == f"sudo systemctl restart {UNIT.removesuffix('.service')}", commands
        for command in commands[1:]:
            self.box.machine.run(command)
        self.is_ready()

    def hasten(self) -> None:
        """Make it faster."""
        for path in self.box.machine.run(f"ls {ETC}/*.yml").stdout.split():
            self.box.machine.write(path, quicker(self.box.machine.read(path)))
        self.box.machine.systemctl("restart", UNIT)
        self.is_ready()

    def is_ready(self) -> None:
        """Wait until it responds."""
        wait_for(lambda: self.fetch(["/-/ready"])[0].status == 200, 60, 0.5)

    # Queries

    def fetch(self, paths: Sequence[str]) -> list[Answer]:
        """A response per path; status 0 without one."""
        return fetch_all(self.box.machine, [f"{URL}{path}" for path in paths])

    def ask(self, path: str) -> Any:
        """The data of an API response."""
        return data_of(self.fetch([f"/api/v1/{path}"])[0])

    def query_all(self, expressions: Sequence[str]) -> list[Vector]:
        """The current result of each; a bare number counts as one sample. Raises MachineError for an invalid one."""
        found = map(data_of, self.fetch([f"/api/v1/query?{urlencode({'query': text})}" for text in expressions]))
        return [data["result"] if data["resultType"] == "vector" else [{"value": data["result"]}] for data in found]

    def query(self, expression: str) -> Vector:
        return self.query_all([expression])[0]

    def rules(self) -> list[dict[str, Any]]:
        """The loaded rules, with their health."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def names(self) -> set[str]:
        """Of all metrics that it has."""
        return set(self.ask("label/__name__/values"))

    # Alerts

    def active(self, instance: str = THIS_BOX) -> list[Alert]:
        """Pending or firing alerts of one box, with labels, annotations and state."""
        return [alert for alert in self.ask("alerts")["alerts"] if alert["labels"].get("instance") == instance]

    def firing(self, instance: str = THIS_BOX) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.active(instance) if alert["state"] == "firing"}

    def fire(self, *names: str, within: float = FIRES_SECONDS, instance: str = THIS_BOX) -> dict[str, Alert]:
        """Wait until all of these have fired, together or one after the other; return each as it was then, by name."""
        seen: dict[str, Alert] = {}

        def have_all() -> bool:
            for alert in self.active(instance):
                if alert["state"] == "firing":
                    seen.setdefault(alert["labels"]["alertname"], alert)
            return set(names) <= set(seen)

        try:
            wait_for(have_all, within, 0.5)
        except TimeoutError:
            missing, now = sorted(set(names) - set(seen)), [(a["labels"]["alertname"], a["state"]) for a in self.active(instance)]
            raise MachineError(f"{missing} did not fire within {within:.0f} s; active: {now}\n{self.box.report()}") from None
        return {name: seen[name] for name in names}

    def rest(self, *names: str, within: float = FIRES_SECONDS, instance: str = THIS_BOX) -> None:
        """Wait until none of these fires; without names, until no alert fires."""

        def still() -> set[str]:
            return self.firing(instance) & set(names) if names else self.firing(instance)

        try:
            wait_for(lambda: not still(), within, 0.5)
        except TimeoutError:
            raise MachineError(f"{sorted(still())} fire after {within:.0f} s\n{self.box.report()}") from None

    def waited(self, name: str) -> bool:
        """Whether an alert was pending within the last minutes, before it fired."""
        return bool(self.query(f'count_over_time(ALERTS{{alertname="{name}",alertstate="pending"}}[5m])'))

    def fired_since(self, began: float, instance: str = THIS_BOX) -> set[str]:
        """The alerts that fired at any time since then, in Unix seconds."""
        (now,) = self.query("time()")
        window = max(1, round(float(now["value"][1]) - began))
        found = self.query(f'count_over_time(ALERTS{{instance="{instance}",alertstate="firing"}}[{window}s])')
        return {series["metric"]["alertname"] for series in found}


def data_of(answer: Answer) -> Any:
    """Of an API response. Raises MachineError for an error."""
    if answer.status != 200:
        raise MachineError(f"Prometheus answers {answer.status}: {answer.text}")
    return json.loads(answer.text)["data"]
