"""Alertmanager with the shipped example: how many messages it sends, and to whom; a local server stands for the mail.

Only the waiting times are shorter than shipped, and a night is made to be now, or not.
"""

import datetime
import json
import os
import queue
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.outside import PATIENCE_SECONDS, PROJECT, reserved, wait_until
from tests.prometheus.test_rules import answers, tool

EXAMPLE = PROJECT / "etc/prometheus/alertmanager.yml"
CRITICAL = {"job": "livekeep", "severity": "critical"}
FLEET = {**CRITICAL, "alertname": "LivekeepFleetUnreachable"}
BOXES = [{**CRITICAL, "alertname": "LivekeepExporterDown", "instance": f"box-{number}"} for number in range(50)]
MARKER = {**CRITICAL, "alertname": "LivekeepCardFails", "instance": "this-box"}
"""Sent after the others: when it arrives, whatever they send has been sent."""


def with_its_template(program: Path) -> list[str]:
    """The command that starts it. Debian's build reads a template below /usr/share; where the package was only unpacked, that
    folder is seen to hold the package's too, by this process alone.
    """
    share = program.parents[1] / "share"
    if share == Path("/usr/share"):
        return [str(program)]
    script = 'mount -t overlay -o "lowerdir=$1:/usr/share" overlay /usr/share; shift; exec "$@"'
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *as_root, "sh", "-ec", script, "sh", str(share), str(program)]


class Alertmanager:
    """The program, with `example` as its configuration but that every receiver is this object."""

    def __init__(self, folder: Path, example: dict[str, Any]) -> None:
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        messages = self.messages

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                messages.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 – the base class's own name
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        for receiver in example["receivers"]:
            url = f"http://127.0.0.1:{self._server.server_port}/{receiver['name']}"
            receiver.pop("email_configs", None)
            if receiver["name"] != "nobody":
                receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
        example["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        config = folder / "alertmanager.yml"
        config.write_text(yaml.safe_dump(example))
        self._reserved = reserved()
        self.url = f"http://127.0.0.1:{self._reserved.getsockname()[1]}"
        program = Path(tool("prometheus-alertmanager"))
        command = [*with_its_template(program), f"--config.file={config}", f"--storage.path={folder / 'data'}"]
        command += [f"--web.listen-address={self.url.removeprefix('http://')}", "--cluster.listen-address="]
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        url, process = self.url, self._process
        wait_until("Alertmanager answers", lambda: process.poll() is not None or answers(f"{url}/-/ready"), 60)
        assert self._process.poll() is None, (folder / "log").read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._server.shutdown()
        self._server.server_close()
        self._reserved.close()

    def fire(self, *alerts: dict[str, str]) -> None:
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        request = urllib.request.Request(f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            assert response.status == 200

    def until_the_marker(self) -> list[tuple[str, str]]:
        """Name and instance of each alert that is told, until that of MARKER; a message a group."""
        told = []
        while True:
            for alert in self.messages.get(timeout=60)["alerts"]:
                labels = alert["labels"]
                if labels["alertname"] == MARKER["alertname"]:
                    return told
                told.append((labels["alertname"], labels.get("instance", "")))


@pytest.fixture
def example() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return found


@pytest.fixture
def night(request: pytest.FixtureRequest, example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The example with a night that is now, or on another day of the week; both far from midnight."""
    today = datetime.datetime.now().astimezone()
    day = today if request.param else today + datetime.timedelta(days=3)
    days = [f"{it:%A}".lower() for it in (day - datetime.timedelta(days=1), day, day + datetime.timedelta(days=1))]
    for interval in example["time_intervals"]:
        if interval["name"] == "night":
            interval["time_intervals"] = [{"weekdays": days, "location": "Local"}]
    return example


def test_a_whole_fleet_that_is_silent_is_one_message(example: dict[str, Any], tmp_path: Path) -> None:
    with Alertmanager(tmp_path, example) as running:
        running.fire(FLEET, {**CRITICAL, "alertname": "LivekeepSiteUnreachable", "site": "north"})
        running.fire(*BOXES)
        wait_until("the message is there", lambda: not running.messages.empty(), 60)
        running.fire(MARKER)
        assert running.until_the_marker() == [("LivekeepFleetUnreachable", "")]


def test_a_whole_site_that_is_silent_is_one_message(example: dict[str, Any], tmp_path: Path) -> None:
    """A box of another site is told beside it."""
    north = [{**box, "site": "north"} for box in BOXES[:10]]
    with Alertmanager(tmp_path, example) as running:
        running.fire({**CRITICAL, "alertname": "LivekeepSiteUnreachable", "site": "north"})
        running.fire(*north, {**BOXES[20], "site": "south"})
        wait_until("the messages are there", lambda: running.messages.qsize() == 2, 60)
        running.fire(MARKER)
        assert set(running.until_the_marker()) == {("LivekeepSiteUnreachable", ""), ("LivekeepExporterDown", "box-20")}


def test_some_boxes_that_are_silent_are_a_message_each(example: dict[str, Any], tmp_path: Path) -> None:
    with Alertmanager(tmp_path, example) as running:
        running.fire(*BOXES[:2])
        wait_until("both messages are there", lambda: running.messages.qsize() == 2, 60)
        running.fire(MARKER)
        assert sorted(running.until_the_marker()) == [("LivekeepExporterDown", "box-0"), ("LivekeepExporterDown", "box-1")]


@pytest.mark.parametrize("night", [True, False], ids=["night", "day"], indirect=True)
def test_a_box_whose_mains_is_off_at_night_is_told_by_day_only(
    night: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_night = request.node.callspec.params["night"]
    by_day = {**BOXES[0], "instance": "by-day", "hours": "day"}
    with Alertmanager(tmp_path, night) as running:
        running.fire(by_day)
        running.fire(BOXES[1])
        wait_until("the others are told", lambda: running.messages.qsize() == (1 if is_night else 2), 60)
        running.fire(MARKER)
        expected = {("LivekeepExporterDown", "box-1")} | (set() if is_night else {("LivekeepExporterDown", "by-day")})
        assert set(running.until_the_marker()) == expected


def test_the_example_mutes_at_night_and_in_no_other_hour() -> None:
    (interval,) = (it for it in yaml.safe_load(EXAMPLE.read_text())["time_intervals"] if it["name"] == "night")
    times = [(it["start_time"], it["end_time"]) for it in interval["time_intervals"][0]["times"]]
    assert times == [("21:00", "24:00"), ("00:00", "07:30")]
