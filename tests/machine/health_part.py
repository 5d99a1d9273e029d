"""Helpers of the health part's tests: querying the exporter from inside the machine, running a probe, changing settings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from livekeep.core.probe_results import PROBES as ALL_PROBES
from tests.machine.room import Answer, Room, Tables, fetch
from tests.machine.screen import Screen
from tests.machine.services import Services

EXPORTER = "livekeep-exporter.service"
PROBES = tuple(name for name in ALL_PROBES if name != "youtube")
"""Probes of the health part alone: YouTube's comes with the air part."""
TIMERS = tuple(f"livekeep-probe-{name}.timer" for name in PROBES)
URL = "http://127.0.0.1:9877"


def ask(room: Room, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The exporter's response to a client in the machine."""
    return fetch(room.machine, f"{URL}{path}", headers=headers)


def named(found: Mapping[str, float], beginning: str) -> dict[str, float]:
    """The values whose name begins like this."""
    return {series: value for series, value in found.items() if series.startswith(beginning)}


def success(found: Mapping[str, float]) -> dict[str, float]:
    """By collector, whether it could read everything."""
    mark = 'livekeep_exporter_collector_success{collector="'
    return {series.removeprefix(mark).removesuffix('"}'): value for series, value in named(found, mark).items()}


def run_probe(screen: Screen, name: str) -> dict[str, Any]:
    """Run a probe like an operator; return its result."""
    done = screen.machine.run(["livekeep", "probe", "--json", name], check=False, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["findings"][name]
    return found


def forget(screen: Screen, probe: str) -> None:
    """Make the next run the probe's first."""
    screen.machine.run(["rm", "-f", f"/run/livekeep/probe-{probe}/state.json"])


def verdict(found: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict with its reason."""
    return found["run"]["verdict"], found["run"]["reason"]


@contextlib.contextmanager
def applied(screen: Screen, changes: Tables) -> Iterator[None]:
    """Apply these settings, and afterwards the room's own again."""
    screen.write_config(changes)
    screen.livekeep("apply", check=True)
    try:
        yield
    finally:
        screen.write_config()
        screen.livekeep("apply", check=True)


@contextlib.contextmanager
def internet(screen: Screen) -> Iterator[Services]:
    """A name server for the machine, and a server for bandwidth measurements."""
    with Services(screen.network) as services:
        screen.machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        yield services


def line_settings(services: Services, seconds: float = 1.0) -> dict[str, dict[str, Any]]:
    """Settings for a speed test against that server."""
    urls = {"download_url": f"{services.base_url}/download", "upload_url": f"{services.base_url}/upload"}
    return {"probes.speedtest": {"tool": "url", "duration_seconds": seconds, **urls}}
