"""The health part's share of the benchmark: the cost of exporter and probes, compared with node_exporter on the same machine."""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import Any

from livekeep.exporter.metrics import FAMILIES
from tests.machine.costs import Table
from tests.machine.demo import DemoScreen
from tests.machine.health_part import EXPORTER, PROBES, ask
from tests.machine.screen import PLAYER, POLLER

RIVAL = "prometheus-node-exporter.service"
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


def measure(screen: DemoScreen, table: Table) -> None:
    """All rows, from an idle screen."""
    # The current speed of the machine: the limits were set where this took 8 ms.
    used = sorted(float(screen.machine.run(["python3", "-I", "-c", BARE_RUN]).stdout) for _ in range(RUNS))
    text = f"{statistics.median(used):.0f} ms ({used[0]:.0f} to {used[-1]:.0f})"
    table.add(f"yardstick: CPU of python3 -c pass, median of {RUNS}", "8 ms where the limits were set", text)
    costs(screen, table)
    output(screen, table)
    probe(screen, table)
    crowd(screen, table)
    for name in ("exporter", *(f"probe-{name}" for name in PROBES)):
        score = screen.machine.exposure(f"livekeep-{name}.service")
        table.add(f"systemd-analyze security livekeep-{name}", "≤ 1.2" if name == "exporter" else "≤ 1.5", f"{score}")


def scraped(screen: DemoScreen, unit: str, *arguments: str) -> tuple[dict[str, Any], float]:
    """What the scraper saw of this unit, and the milliseconds of CPU that the unit used meanwhile."""
    before = cpu_milliseconds(screen, unit)
    command = ["python3", "-I", "/src/tests/machine/scraper.py", str(PORTS[unit]), *arguments]
    found: dict[str, Any] = json.loads(screen.machine.run(command, timeout=600).stdout)
    return found, cpu_milliseconds(screen, unit) - before


def cpu_milliseconds(screen: DemoScreen, unit: str) -> float:
    return int(screen.property(unit, "CPUUsageNSec")) / 1e6


def costs(screen: DemoScreen, table: Table) -> None:
    """Memory, time and CPU of consecutive scrapes, then at a realistic rate, at which the states change between two scrapes;
    node_exporter has its defaults."""
    for unit, name in ((EXPORTER, "exporter"), (RIVAL, "node_exporter")):
        ours = unit == EXPORTER
        found, used = scraped(screen, unit, str(SCRAPES))
        order = sorted(found["seconds"])
        median, late = statistics.median(order) * 1000, order[int(len(order) * 0.99)] * 1000
        what = f"{name}: scrape, median / 99th percentile, {found['samples']} samples"
        table.add(what, "–", f"{median:.2f} / {late:.2f} ms")
        table.add(f"{name}: CPU a scrape", "≤ half of node_exporter's" if ours else "–", f"{used / SCRAPES:.2f} ms")
        size = f"{screen.memory_megabytes(unit):.1f} MB"
        table.add(f"{name}: memory, PSS, after {SCRAPES:,} scrapes", "≤ 26 MB" if ours else "–", size)
    sizes = [screen.memory_megabytes(unit) for unit in (POLLER, PLAYER, EXPORTER)]
    text = f"{' + '.join(f'{size:.1f}' for size in sizes)} = {sum(sizes):.1f} MB"
    table.add("poller, player and exporter, sum of PSS", "≤ 66 MB", text)
    for unit, name in ((EXPORTER, "exporter"), (RIVAL, "node_exporter")):
        found, used = scraped(screen, unit, str(PACED), str(PACE_SECONDS))
        what = f"{name}: one scrape every {PACE_SECONDS:g} s: median, CPU a scrape"
        table.add(what, "–", f"{statistics.median(found['seconds']) * 1000:.2f} ms, {used / PACED:.2f} ms")


def output(screen: DemoScreen, table: Table) -> None:
    """The exporter's output, and promtool's check of it."""
    text = ask(screen, "/metrics").text
    present = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")} & set(FAMILIES)
    table.add("families of metrics present, idle", "–", f"{len(present)} of {len(FAMILIES)}")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if line.strip()]
    table.add("promtool check metrics", "no complaint", "; ".join(complaints) or "no complaint")


def probe(screen: DemoScreen, table: Table) -> None:
    """The network probe's runs: the program's use, including the start of Python, and with systemd's sandbox."""
    unit, own, whole = "livekeep-probe-network.service", [], []
    for _ in range(RUNS):
        own.append(float(screen.machine.run(["python3", "-I", "-c", PROBE_RUN]).stdout))
        screen.machine.systemctl("start", unit)
        whole.append(cpu_milliseconds(screen, unit))
    name = f"network probe, {len(screen.settings()['probes.network']['hosts'])} hosts, median of {RUNS}"
    table.add(f"{name}: CPU a run", "≤ 80 ms", f"{statistics.median(own):.0f} ms")
    table.add(f"{name}: the same as a unit", "–", f"{statistics.median(whole):.0f} ms")


def crowd(screen: DemoScreen, table: Table) -> None:
    """Many clients at once, including slow and half-open ones."""
    before, files = screen.memory_megabytes(EXPORTER), screen.descriptors(EXPORTER)
    found, _used = scraped(screen, EXPORTER, str(CROWD), "--crowd", str(CLIENTS))
    memory = f"PSS {before:.1f} → {screen.memory_megabytes(EXPORTER):.1f} MB"
    growth = f"{memory}, descriptors {files} → {screen.descriptors(EXPORTER)}"
    measured = f"{found['done']:,} done, {len(found['failed'])} failed in {found['seconds']:.0f} s; {growth}"
    table.add(f"{CROWD:,} scrapes from {CLIENTS} clients, slow and half-open among them", "none fails, no growth", measured)
