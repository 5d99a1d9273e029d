"""A real Prometheus on the box: it accepts the shipped configuration unchanged, every panel has data, and faults raise alerts.

It is set up as docs/how-to/health.md says. For the alerts a minute in the rules lasts two seconds; tests/prometheus tests their
real times. One fault may fire several alerts, and unrelated faults are injected together.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping

import pytest

from livekeep.exporter.metrics import FAMILIES
from tests.machine import root
from tests.machine.health_part import EXPORTER, internet, line_settings, run_probe, verdict
from tests.machine.machine import wait_for
from tests.machine.prometheus import ETC, THIS_BOX, UNIT, Alert, Prometheus
from tests.machine.room import Settings, Tables, merged
from tests.machine.screen import PLAYER, POLLER, Screen
from tests.machine.standin import PROJECT
from tests.machine.test_exporter import NO_BOARD, NO_CHANNEL, cannot_have
from tests.machine.test_survival import kill_until_given_up
from tests.prometheus import expressions
from tests.prometheus.expressions import Expression

SUITES: tuple[root.Suite, ...] = ("trixie",)
PICTURE_ALERTS = {
    "LivekeepLiveStreamNotShown", "LivekeepOffAirStreamShown", "LivekeepErrorPictureShown", "LivekeepStreamStandsStill",
    "LivekeepStreamStalls", "LivekeepFramesDropped", "LivekeepBlackScreen", "LivekeepPlayerSilent", "LivekeepScreenDown",
    "LivekeepScreenDegraded", "LivekeepScreenUnitFailed", "LivekeepStreamWithoutPicture", "LivekeepStreamFrozen",
}  # fmt: skip
SENSORS = {
    "livekeep_pi_temperature_celsius": "/sys/class/thermal/thermal_zone* /sys/class/hwmon/hwmon*",
    "livekeep_pi_throttled": "/sys/devices/platform/soc/*firmware/get_throttled /sys/class/hwmon/hwmon*",
    "livekeep_host_cpu_frequency_hertz": "/sys/devices/system/cpu/cpu*/cpufreq",
    "livekeep_display_connected": "/sys/class/drm/card*-*",
}
"""Metrics of hardware that a container's host may have or not."""
QUICK_PROBES: Tables = {
    "probes.network": {"interval_seconds": 5.0, "timeout_seconds": 1.0},
    "probes.stream": {"interval_seconds": 10.0},
    "probes.host": {"interval_seconds": 10.0},
}
SMALL_DISK = "/boot/firmware"
HOST_PROBE = "/usr/lib/python3/dist-packages/livekeep/probes/host"
UNREADABLE = r"no value|\{\{|\}\}|error expanding|%!|NaN|Inf\b|\d\.\d{5}|  |\(\)|:\s*$"
"""In the text of an alert: an unfilled template, or a raw number."""
LONGEST_PICTURE_SECONDS = 20.0
"""Twice the longest wait of the critical alerts about the picture here."""


class Watched(Screen):
    """A room whose probes run often, and which has a server for bandwidth measurements."""

    probes: Tables = QUICK_PROBES

    def settings(self) -> Settings:
        return merged(super().settings(), self.probes)


@pytest.fixture(scope="module")
def screen_room(request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A room with livekeep and Prometheus, name resolution and a line to measure."""
    with Watched(request.param, kept=True, more_packages=["prometheus"]) as room, internet(room) as services:
        room.probes = merged(room.probes, line_settings(services))
        room.write_config()
        room.livekeep("apply", check=True)
        room.shows("holding", within=60)
        yield room


@pytest.fixture(scope="module")
def prometheus(screen_room: Screen) -> Prometheus:
    """As shipped."""
    found = Prometheus(screen_room)
    found.set_up()
    return found


@pytest.fixture(scope="module")
def quick(prometheus: Prometheus) -> Prometheus:
    """With a minute that lasts two seconds."""
    prometheus.hasten()
    return prometheus


@pytest.fixture
def box(screen: Screen, quick: Prometheus) -> Screen:
    """The room, idle; no alert fires."""
    quick.rest()
    return screen


def well_told(alerts: Mapping[str, Alert], prometheus: Prometheus) -> None:
    """Their texts are filled in, name the box and say what to do; and each was pending before it fired."""
    rules = expressions.alerts()
    for name, alert in alerts.items():
        summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]
        assert summary.startswith(f"{alert['labels']['instance']}: "), summary
        for text in (summary, description):
            assert not re.search(UNREADABLE, text), (name, text)
        assert re.search(r'"(?:sudo |systemctl|journalctl|timedatectl)[^"]+"|Try to|Check', description), (name, description)
        assert alert["labels"]["severity"] == rules[name]["labels"]["severity"]
        assert prometheus.waited(name), name


def test_the_document_s_commands_make_it_watch_the_box(screen: Screen, prometheus: Prometheus) -> None:
    """Unchanged: the box is found, every rule is loaded and works, and there are no complaints."""
    assert screen.machine.run(f"promtool check config {ETC}/prometheus.yml").returncode == 0
    run_probe(screen, "network")

    def evaluated() -> set[str]:
        """The health of the rules, except those that are evaluated every five minutes."""
        return {rule["health"] for rule in prometheus.rules() if not rule["name"].endswith("30d")}

    wait_for(lambda: prometheus.query("up == 1") and evaluated() == {"ok"}, 90, 1)
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert (target["labels"], target["lastError"]) == ({"job": "livekeep", "instance": THIS_BOX}, "")
    assert target["lastScrapeDuration"] < 10
    rules = prometheus.rules()
    assert sorted(rule["name"] for rule in rules) == sorted(rule.get("alert") or rule["record"] for rule in expressions.rules())
    assert {rule.get("lastError", "") for rule in rules} == {""}
    assert prometheus.firing() == set()
    # The queries of the document, and its page.
    assert prometheus.fetch(["/graph"])[0].status == 200
    wait_for(lambda: all(prometheus.query_all(["livekeep_health_state", "livekeep_ping_rtt_seconds"])), 60, 1)
    assert screen.machine.unit_property(UNIT, "ActiveState") == "active"
    journal = screen.machine.journal(None, f"_SYSTEMD_INVOCATION_ID={screen.machine.unit_property(UNIT, 'InvocationID')}")
    assert "Server is ready to receive web requests" in journal
    assert re.findall(r"^.*level=(?:warn|error).*$", journal, re.MULTILINE) == []


def reads(found: Expression) -> set[str]:
    """The metric families that an expression reads, including those in its recording rules."""
    recorded = {rule["record"]: rule["expr"] for rule in expressions.rules() if "record" in rule}
    texts = [found.raw, *(recorded[name] for name in expressions.records_in(found.raw))]
    return {name for text in texts for name in expressions.metrics_in(text)}


def series_names(families: set[str]) -> set[str]:
    parts = ("_bucket", "_sum", "_count")
    return {f"{name}{part}" for name in families for part in (parts if FAMILIES[name].kind == "histogram" else ("",))}


def test_every_panel_has_data_while_the_stream_is_live(box: Watched, quick: Prometheus) -> None:
    """And every recording rule, except the listed ones, of which each is needed. No family is missing."""
    assert {name: verdict(run_probe(box, name))[0] for name in ("speedtest", "network", "host")} == {
        "speedtest": "ok", "network": "ok", "host": "ok",
    }  # fmt: skip
    box.vimeo.go_live(f"{box.live.base_url}/master.m3u8")
    box.moves()
    assert verdict(run_probe(box, "stream"))[0] == "ok"
    hardware, well = set(expressions.hardware_only()), set(expressions.empty_when_well())
    lacks = cannot_have(box)
    wanted = [found for found in (*expressions.of_dashboards(), *expressions.of_rules()) if found.kind != "alert"]

    def excused(found: Expression) -> bool:
        """In a container; recording rules that read the sensors are excused like the panels that read them."""
        if found.kind == "record":
            return reads(found) <= set(SENSORS) or reads(found) <= NO_CHANNEL
        return found.raw in hardware | well or (bool(reads(found)) and reads(found) <= lacks - NO_BOARD)

    def split() -> tuple[list[Expression], list[Expression]]:
        """Those without data, and those with data."""
        answers = quick.query_all([found.text for found in wanted])
        pairs = list(zip(wanted, answers, strict=True))
        return [found for found, data in pairs if not data], [found for found, data in pairs if data]

    def empty() -> list[str]:
        return [f"{found.where}: {found.text}" for found in split()[0] if not excused(found)]

    try:
        wait_for(lambda: not empty(), 90, 2)
    except TimeoutError:
        assert empty() == []
    # On a busy machine the player may have dropped frames at its start.
    quick.rest()
    _, filled = split()
    there = {name for name, places in SENSORS.items() if box.machine.run(f"ls -d {places}", check=False).stdout}
    assert [found.where for found in filled if found.raw in hardware and not reads(found) & there] == []
    assert [found.where for found in filled if found.raw in well] == [], quick.active()
    planned = {"livekeep_stream_next_start_timestamp_seconds"}
    wait_for(lambda: series_names(set(FAMILIES) - lacks - planned) <= quick.names(), 60, 2)
    assert {rule["health"] for rule in quick.rules()} == {"ok"}
    assert quick.firing() == set()


def test_the_api_fails_while_the_stream_plays(box: Screen, quick: Prometheus) -> None:
    """Nobody in front of the TV notices."""
    box.goes_live()
    box.vimeo.fault("500")
    began = time.time()
    told = quick.fire("LivekeepApiUnreachable")
    well_told(told, quick)
    assert re.search(r"The last \d+ requests", told["LivekeepApiUnreachable"]["annotations"]["description"])
    assert box.picture() == "stream"
    assert quick.fired_since(began) & PICTURE_ALERTS == set()
    box.vimeo.ok()
    quick.rest()


def test_the_stream_freezes_and_all_behind_it_fails(box: Screen, quick: Prometheus) -> None:
    """Packets are lost, names cannot be resolved, the disk is full, and a probe cannot run any more."""
    box.configure({"screen": {"stall_seconds": 120.0}})
    box.goes_live()
    machine = box.machine
    machine.run(f"mkdir -p {SMALL_DISK} && mount -t tmpfs -o size=16m small {SMALL_DISK}")
    # It would look for new file systems by itself, but only every half minute.
    machine.systemctl("restart", EXPORTER)
    try:
        box.live.stall()
        answer_pings(box, False)
        machine.write("/etc/resolv.conf", "nameserver 127.0.0.2\n")
        machine.run(f"mv {HOST_PROBE} {HOST_PROBE}.away; head -c 20m /dev/zero >{SMALL_DISK}/filling", check=False)
        behind = ("LivekeepPacketLoss", "LivekeepDnsFails", "LivekeepDiskFull", "LivekeepDiskFilling")
        probe = ("LivekeepProbeSilent", "LivekeepUnitFailed")
        stream = ("LivekeepPlaylistStale", "LivekeepStreamUnreachable", "LivekeepStreamStandsStill", "LivekeepScreenDown")
        told = quick.fire(*behind, *probe, *stream, within=150)
        well_told(told, quick)
        assert box.picture() == "stream"
        assert "100% of the packets" in told["LivekeepPacketLoss"]["annotations"]["summary"]
        assert "api.vimeo.com" in told["LivekeepDnsFails"]["annotations"]["summary"]
        assert told["LivekeepDiskFull"]["labels"]["mountpoint"] == SMALL_DISK
        assert told["LivekeepProbeSilent"]["labels"]["probe"] == "host"
        assert told["LivekeepUnitFailed"]["labels"]["unit"] == "livekeep-probe-host.service"
    finally:
        machine.run(f"umount {SMALL_DISK}; mv {HOST_PROBE}.away {HOST_PROBE}", check=False)
        machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        answer_pings(box, True)
        box.live.resume()
    box.moves(60)
    quick.rest()


def answer_pings(box: Screen, yes: bool) -> None:
    """Whether the pinged host answers."""
    command = f"echo {int(not yes)} >/proc/sys/net/ipv4/icmp_echo_ignore_all"
    subprocess.run(box.network.in_machine(["sh", "-c", command]), check=True)


def test_the_api_refuses(box: Screen, quick: Prometheus) -> None:
    """The error picture appears."""
    box.vimeo.fault("401")
    box.shows("error")
    well_told(quick.fire("LivekeepApiRefuses", "LivekeepErrorPictureShown", "LivekeepScreenDown"), quick)
    box.vimeo.ok()
    box.shows("holding", within=60)
    quick.rest()


def test_the_stream_is_live_but_gives_no_picture(box: Screen, quick: Prometheus) -> None:
    """Its playlist exists and grows; the segments in it do not exist."""
    box.live.answer(404, only=".ts")
    box.vimeo.go_live(box.live.url)
    well_told(quick.fire("LivekeepLiveStreamNotShown"), quick)
    assert box.picture() == "holding"
    box.live.resume()
    box.moves(60)
    quick.rest("LivekeepLiveStreamNotShown")


def test_nobody_chooses_the_picture_any_more(box: Screen, quick: Prometheus) -> None:
    """The player is stopped; the poller is killed until systemd gives up for a minute."""
    box.machine.systemctl("stop", PLAYER)
    kill_until_given_up(box, POLLER)
    names = ("LivekeepPlayerSilent", "LivekeepScreenDown", "LivekeepUnitRestarts", "LivekeepScreenUnitFailed")
    told = quick.fire(*names)
    well_told(told, quick)
    assert told["LivekeepUnitRestarts"]["labels"]["unit"] == told["LivekeepScreenUnitFailed"]["labels"]["unit"] == POLLER
    box.restore()
    quick.rest()


def test_the_screen_is_off_on_purpose(box: Screen, quick: Prometheus) -> None:
    """That is no fault. Whether a TV is connected is unknown here, so that is not what suppresses the alerts."""
    assert quick.query("livekeep_display_connected == 0") == []
    wait_for(lambda: quick.query("instance:livekeep_screen_wanted:bool == 1"), 60, 0.5)
    began = time.time()
    box.machine.systemctl("stop", "livekeep.target")
    wait_for(lambda: quick.query("instance:livekeep_screen_wanted:bool == 0"), 60, 0.5)
    assert box.picture() == "black"
    time.sleep(LONGEST_PICTURE_SECONDS)
    assert quick.fired_since(began) == set()
    assert [series["value"][1] for series in quick.query('job_level:livekeep_boxes:count{level="off"}')] == ["1"]
    box.machine.systemctl("start", "livekeep.target")
    box.shows("holding")
    wait_for(lambda: quick.query("instance:livekeep_picture_right:bool == 1"), 60, 0.5)
    assert quick.fired_since(began) == set()


def test_a_box_of_the_fleet_is_dead(box: Screen, quick: Prometheus) -> None:
    """Only it alerts, with the name and place from the example; then this one, too, when it is no longer scraped."""
    example: list[dict[str, object]] = json.loads((PROJECT / "etc/prometheus/fleet/example.json").read_text(encoding="utf-8"))
    alive, dead = example[:2]
    alive["targets"], dead["targets"] = ["localhost:9877"], ["127.0.0.1:9"]
    box.machine.write(f"{ETC}/fleet/boxes.json", json.dumps([alive, dead]))
    wait_for(lambda: len(quick.query("up")) == 3, 60, 0.5)
    told = quick.fire("LivekeepExporterDown", instance="foyer")
    well_told(told, quick)
    assert told["LivekeepExporterDown"]["labels"]["room"] == "foyer"
    assert quick.firing("foyer") == {"LivekeepExporterDown"}
    assert quick.firing("chapel") == quick.firing() == set()
    assert quick.query('livekeep_health_state{instance="chapel", level="ok", site="north"} == 1')
    box.machine.run(["rm", f"{ETC}/fleet/boxes.json"])
    wait_for(lambda: len(quick.query("up")) == 1, 60, 0.5)


def test_the_exporter_is_gone(box: Screen, quick: Prometheus) -> None:
    """Then nothing else is known about the box, and nothing else alerts."""
    began = time.time()
    box.machine.systemctl("stop", EXPORTER)
    well_told(quick.fire("LivekeepExporterDown"), quick)
    assert quick.fired_since(began) == {"LivekeepExporterDown"}
    box.machine.systemctl("start", EXPORTER)
    quick.rest()
