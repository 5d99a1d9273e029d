"""Helpers of the health part's tests: querying the exporter from inside the machine, running a probe, changing settings."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from livekeep.core.probe_results import PROBES as ALL_PROBES
from tests.machine.screen import Screen, Tables
from tests.machine.services import Services

EXPORTER = "livekeep-exporter.service"
PROBES = tuple(name for name in ALL_PROBES if name != "youtube")
"""Probes of the health part alone: YouTube's comes with the air part."""
TIMERS = tuple(f"livekeep-probe-{name}.timer" for name in PROBES)
URL = "http://127.0.0.1:9877"
# Run in the machine: URL, headers, number of concurrent requests.
FETCH = """
import base64, concurrent.futures, json, sys, urllib.error, urllib.request
asked, headers, clients = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
def fetch(_number):
    try:
        answer = urllib.request.urlopen(urllib.request.Request(asked, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    fields = {name.lower(): value for name, value in answer.headers.items()}
    return answer.status, fields, base64.b64encode(answer.read()).decode()
with concurrent.futures.ThreadPoolExecutor(clients) as threads:
    print(json.dumps(list(threads.map(fetch, range(clients)))))
"""


class Answer(NamedTuple):
    """One HTTP response; `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask_at_once(screen: Screen, path: str, headers: Mapping[str, str], clients: int, url: str = URL) -> list[Answer]:
    """The responses to several concurrent clients in the machine."""
    command = ["python3", "-c", FETCH, f"{url}{path}", json.dumps(dict(headers)), str(clients)]
    done = screen.machine.run(command, env={"SSL_CERT_FILE": "/root/livekeep.crt"})
    return [Answer(status, fields, base64.b64decode(body)) for status, fields, body in json.loads(done.stdout)]


def ask(screen: Screen, path: str, headers: Mapping[str, str] | None = None, url: str = URL) -> Answer:
    """The response to a client in the machine."""
    return ask_at_once(screen, path, headers or {}, 1, url)[0]


def figures(screen: Screen) -> dict[str, float]:
    """The values of one scrape by name and labels as written: `livekeep_display_mode{mode="stream"}`."""
    answer = ask(screen, "/metrics")
    assert answer.status == 200
    return figures_of(answer.text)


def figures_of(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            assert series not in found
            found[series] = float(value)
    return found


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
