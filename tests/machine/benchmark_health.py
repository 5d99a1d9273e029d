"""The health part's share of the benchmark: the cost of exporter and probes, compared with node_exporter on the same machine."""

import json
import statistics
import subprocess
from typing import Any, Protocol

from livekeep.exporter.metrics import FAMILIES
from tests.machine.costs import pss_megabytes
from tests.machine.demo import DemoScreen
from tests.machine.health_part import PROBES
from tests.machine.screen import PLAYER, POLLER

EXPORTER, RIVAL = "livekeep-exporter.service", "prometheus-node-exporter.service"
PORTS = {EXPORTER: 9877, RIVAL: 9100}
PACKAGE = "prometheus-node-exporter"
SCRAPES, CROWD, CLIENTS, RUNS = 1000, 10_000, 50, 10
PACED, PACE_SECONDS = 12, 5.0
BARE_RUN = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) * 1000)
"""
PROBE_RUN = """
import resource, subprocess
user = "livekeep-probe-network"
drop = ["setpriv", f"--reuid={user}", "--regid=livekeep", "--clear-groups", "--inh-caps=+net_raw", "--ambient-caps=+net_raw"]
subprocess.run([*drop, "/usr/lib/livekeep/livekeep-probe", "network"], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) * 1000)
"""


class Table(Protocol):
    """The rows' destination."""

    screen: DemoScreen

    def add_text(self, scenario: str, wanted: str, measured: str) -> None: ...


def measure(table: Table) -> None:
    """All rows, from an idle screen."""
    yardstick(table)
    costs(table)
    pace(table)
    output(table)
    probe(table)
    crowd(table)
    security(table)


def scraped(screen: DemoScreen, port: int, *arguments: str) -> dict[str, Any]:
    done = screen.machine.run(["python3", "-I", "/src/tests/machine/scraper.py", str(port), *arguments], timeout=600)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cpu_milliseconds(screen: DemoScreen, unit: str) -> float:
    return int(screen.machine.unit_property(unit, "CPUUsageNSec")) / 1e6


def pss(screen: DemoScreen, unit: str) -> float:
    return pss_megabytes(screen.machine.main_pid(unit).host)


def yardstick(table: Table) -> None:
    """The current speed of the machine: the limits were set where this took 8 ms."""
    used = sorted(float(table.screen.machine.run(["python3", "-I", "-c", BARE_RUN]).stdout) for _ in range(RUNS))
    text = f"{statistics.median(used):.0f} ms ({used[0]:.0f} to {used[-1]:.0f})"
    table.add_text(f"yardstick: CPU of python3 -c pass, median of {RUNS}", "8 ms where the limits were set", text)


def costs(table: Table) -> None:
    """Memory, time and CPU of consecutive scrapes; node_exporter has its defaults."""
    for unit, name in ((EXPORTER, "exporter"), (RIVAL, "node_exporter")):
        ours = unit == EXPORTER
        before = cpu_milliseconds(table.screen, unit)
        found = scraped(table.screen, PORTS[unit], str(SCRAPES))
        used = cpu_milliseconds(table.screen, unit) - before
        order = sorted(found["seconds"])
        median, late = statistics.median(order) * 1000, order[int(len(order) * 0.99)] * 1000
        table.add_text(
            f"{name}: scrape, median / 99th percentile, {found['samples']} samples",
            "–",
            f"{median:.2f} / {late:.2f} ms",
        )
        table.add_text(f"{name}: CPU a scrape", "≤ half of node_exporter's" if ours else "–", f"{used / SCRAPES:.2f} ms")
        table.add_text(
            f"{name}: memory, PSS, after {SCRAPES:,} scrapes", "≤ 26 MB" if ours else "–", f"{pss(table.screen, unit):.1f} MB"
        )
    sizes = {unit: pss(table.screen, unit) for unit in (POLLER, PLAYER, EXPORTER)}
    text = " + ".join(f"{size:.1f}" for size in sizes.values())
    table.add_text("poller, player and exporter, sum of PSS", "≤ 66 MB", f"{text} = {sum(sizes.values()):.1f} MB")


def pace(table: Table) -> None:
    """The same at a realistic rate: the states change between two scrapes, and nothing is cached."""
    for unit, name in ((EXPORTER, "exporter"), (RIVAL, "node_exporter")):
        before = cpu_milliseconds(table.screen, unit)
        found = scraped(table.screen, PORTS[unit], str(PACED), str(PACE_SECONDS))
        used = cpu_milliseconds(table.screen, unit) - before
        table.add_text(
            f"{name}: one scrape every {PACE_SECONDS:g} s: median, CPU a scrape",
            "–",
            f"{statistics.median(found['seconds']) * 1000:.2f} ms, {used / PACED:.2f} ms",
        )


def output(table: Table) -> None:
    """The exporter's output, and promtool's check of it."""
    script = "import sys, urllib.request as u; sys.stdout.write(u.urlopen('http://127.0.0.1:9877/metrics').read().decode())"
    text = table.screen.machine.run(["python3", "-c", script]).stdout
    present = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")} & set(FAMILIES)
    table.add_text("families of metrics present, idle", "–", f"{len(present)} of {len(FAMILIES)}")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if line.strip()]
    table.add_text("promtool check metrics", "no complaint", "; ".join(complaints) or "no complaint")


def probe(table: Table) -> None:
    """The network probe's runs: the program's use, including the start of Python, and with systemd's sandbox."""
    unit, own, whole = "livekeep-probe-network.service", [], []
    for _ in range(RUNS):
        own.append(float(table.screen.machine.run(["python3", "-I", "-c", PROBE_RUN]).stdout))
        table.screen.machine.systemctl("start", unit)
        whole.append(cpu_milliseconds(table.screen, unit))
    name = f"network probe, {len(table.screen.settings()['probes.network']['hosts'])} hosts, median of {RUNS}"
    table.add_text(f"{name}: CPU a run", "≤ 80 ms", f"{statistics.median(own):.0f} ms")
    table.add_text(f"{name}: the same as a unit", "–", f"{statistics.median(whole):.0f} ms")


def crowd(table: Table) -> None:
    """Many clients at once, including slow and half-open ones."""
    screen = table.screen
    before, files = pss(screen, EXPORTER), screen.descriptors(EXPORTER)
    found = scraped(screen, PORTS[EXPORTER], str(CROWD), "--crowd", str(CLIENTS))
    growth = f"PSS {before:.1f} → {pss(screen, EXPORTER):.1f} MB, descriptors {files} → {screen.descriptors(EXPORTER)}"
    measured = f"{found['done']:,} done, {len(found['failed'])} failed in {found['seconds']:.0f} s; {growth}"
    table.add_text(f"{CROWD:,} scrapes from {CLIENTS} clients, slow and half-open among them", "none fails, no growth", measured)


def security(table: Table) -> None:
    for name in ("exporter", *(f"probe-{name}" for name in PROBES)):
        unit = f"livekeep-{name}.service"
        lines = table.screen.machine.run(["systemd-analyze", "security", "--no-pager", unit]).stdout.splitlines()
        score = lines[-1].partition(": ")[2].split()[0] if lines else "unknown"
        table.add_text(f"systemd-analyze security livekeep-{name}", "≤ 1.2" if name == "exporter" else "≤ 1.5", score)
