"""Off on purpose is no fault: a simulated week in which only what is wrong alerts, by Prometheus' rules and by the box's own.

The plan, the verdict, the exporter's sources, the rules and the alerter are livekeep's own; `promtool` evaluates the rules.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from livekeep.core.config import Config
from livekeep.core.config.record import Alert
from livekeep.record.alerts.rules import Clock
from tests.outside import PROJECT
from tests.prometheus import cases
from tests.record.alert_box import box_in
from tests.record.watched import Watched
from tests.week import series, week
from tests.week.week import BEGIN, END, STEP_SECONDS, Box, Stretch, at

SHIPPED = PROJECT / "etc/prometheus"
JOIN = "unless on (job, instance) (livekeep_screen_wanted == 0)"
OTHERS = 9
"""Boxes that are up all the time, so that a power cut in this house is not one of the whole fleet."""
TUESDAY = at("tue 00:00")
AFTER_SECONDS = 10 * 60
"""Averages over some minutes end later than what they are of."""


def samples_of(boxes: list[Box], root: Path, end: float) -> dict[str, str]:
    """The week until `end`, as promtool takes it."""
    found = series.of_week(boxes, root, end)
    length = len(next(iter(found.values())))
    others = {f'up{{job="livekeep", instance="other-{number}"}}': f"1x{length}" for number in range(OTHERS)}
    return {**{name: series.of_promtool(values) for name, values in found.items()}, **others}


Alerts = Mapping[str, set[str]]
"""The boxes, by the alert that fires on them."""
EVERY = {box.name for box in week.boxes()}
CEC = {box.name for box in week.boxes() if box.method == "cec"}
EXPECTED: list[tuple[Stretch, Alerts]] = [
    (week.STREAM_NOT_SHOWN, {"LivekeepLiveStreamNotShown": EVERY, "LivekeepScreenDown": EVERY}),
    (week.POWER_CUTS[0], {"LivekeepExporterDown": EVERY}),
    (
        week.REFUSED_AT_NOON,
        {"LivekeepErrorPictureShown": EVERY, "LivekeepScreenDown": EVERY, "LivekeepApiRefuses": EVERY},
    ),
    (week.POWER_CUTS[1], {"LivekeepExporterDown": EVERY}),
    (week.TV_IS_DEAF, {"LivekeepTvNotSwitched": CEC, "LivekeepScreenDegraded": {"cec"}}),
    (
        week.PLAN_NOT_FOLLOWED,
        {
            "LivekeepTvNotSwitched": EVERY,
            "LivekeepScreenDown": EVERY - {"cec-gone"},
            "LivekeepBlackScreen": EVERY - CEC,
        },
    ),
]


def stretches(end: float) -> list[tuple[Stretch, Alerts]]:
    """The week until `end`: the faults, and the quiet between them."""
    found, begin = [], BEGIN
    for fault, alerts in sorted(EXPECTED, key=lambda each: each[0].begin):
        if fault.begin < end:
            over = fault.end + AFTER_SECONDS
            found += [(Stretch(begin, fault.begin), {}), (Stretch(fault.begin, over), alerts)]
            begin = over
    return [*found, (Stretch(begin, end), {})]


def of_stretch(part: Stretch, alerts: Alerts) -> dict[str, object]:
    """Which alerts have fired within a part of the week, and on which boxes."""
    minutes = round((part.end - part.begin) / 60) - 1
    fired = f'ALERTS{{alertstate="firing"}}[{minutes}m]'
    pairs = sorted((alert, box) for alert, boxes in alerts.items() for box in boxes)
    return {
        "expr": f"count by (alertname, instance) (count_over_time({fired}))",
        "eval_time": f"{round((part.end - BEGIN) / 60) - 1}m",
        "exp_samples": [{"labels": f'{{alertname="{alert}", instance="{box}"}}', "value": 1} for alert, box in pairs],
    }


def rules_in(folder: Path, left_out: str = "") -> list[Path]:
    """The shipped rules, except those of thirty days, which no alert reads; without the line `left_out`."""
    files = []
    for file in sorted(SHIPPED.glob("*.rules.yml"), reverse=True):
        text = file.read_text()
        lines = [line for line in text.splitlines() if line.strip() != left_out]
        document = yaml.safe_load("\n".join(lines))
        document["groups"] = [group for group in document["groups"] if group["name"] != "livekeep-availability"]
        files.append(folder / file.name)
        files[-1].write_text(yaml.dump(document))
    return files


def judged(folder: Path, samples: Mapping[str, str], parts: list[tuple[Stretch, Alerts]], left_out: str = "") -> str:
    """What `promtool test rules` complains about, or ""."""
    test = {
        "interval": f"{STEP_SECONDS}s",
        "input_series": [{"series": name, "values": values} for name, values in samples.items()],
        "promql_expr_test": [of_stretch(*part) for part in parts],
    }
    files = [str(file) for file in rules_in(folder, left_out)]
    groups = [name for name in cases.GROUPS if name != "livekeep-availability"]
    document = folder / "week.yml"
    settings = {"rule_files": files, "group_eval_order": groups, "evaluation_interval": "1m", "tests": [test]}
    document.write_text(yaml.dump(settings))
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: tests/run installs what the tests need"
    ran = subprocess.run([promtool, "test", "rules", document], capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def monday(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The first day, on two of the boxes: the plan, an event, a fault by day, and one at night."""
    boxes = [box for box in week.boxes() if box.name in ("blank", "cec-gone")]
    return samples_of(boxes, tmp_path_factory.mktemp("boxes"), TUESDAY)


def test_only_what_is_wrong_alerts_in_a_day(monday: dict[str, str], tmp_path: Path) -> None:
    named = {"blank", "cec-gone"}
    parts = [(part, {alert: boxes & named for alert, boxes in alerts.items()}) for part, alerts in stretches(TUESDAY)]
    assert judged(tmp_path, monday, parts) == ""


def test_without_the_join_the_first_night_alerts(monday: dict[str, str], tmp_path: Path) -> None:
    """That the weeks can fail."""
    complaint = judged(tmp_path, monday, [(Stretch(BEGIN, at("mon 01:00")), {})], left_out=JOIN)
    assert 'alertname="LivekeepBlackScreen", instance="blank"' in complaint


@pytest.mark.nightly
def test_only_what_is_wrong_alerts_in_a_week(tmp_path: Path) -> None:
    """14 switches of the plan, two power cuts, an event at night and the end of summer time; about two minutes."""
    boxes = week.boxes()
    assert judged(tmp_path, samples_of(boxes, tmp_path / "boxes", END), stretches(END)) == ""
    planned = {at(f"{day} {hour}") for day in week.DAYS[:5] for hour in ("08:00", "22:00")}
    planned |= {at(f"{day} {hour}") for day in week.DAYS[5:] for hour in ("09:00", "14:00")}
    assert len(planned) == 14
    # One falls into a power cut, one comes late.
    planned = planned - {at("wed 08:00"), at("sun 09:00")} | {week.PLAN_NOT_FOLLOWED.end}
    for box in boxes:
        assert set(box.switches) == planned | {at("fri 03:42"), at("sat 19:45"), at("sat 21:45")}


# The box's own alerts

RULES = {
    "down": Config().alerts["down"],
    "degraded": Alert(kind="verdict", verdict="degraded", for_seconds=300.0, severity="info"),
}
DOWN = ("down", "degraded")


def expected_messages(box: Box) -> list[tuple[Stretch, set[str]]]:
    """The rules that send a message about each part of the week."""
    is_cec, is_gone = box.method == "cec", box.drops_connection
    return [
        (week.PLAYER_DEAD_AT_NIGHT, set() if is_gone else {"degraded"}),
        (week.STREAM_NOT_SHOWN, set(DOWN)),
        (week.REFUSED_AT_NOON, set(DOWN)),
        (week.TV_IS_DEAF, set(DOWN) if is_gone else {"degraded"} if is_cec else set()),
        (week.PLAN_NOT_FOLLOWED, set(DOWN)),
    ]


@pytest.mark.parametrize("name", [box.name for box in week.boxes()])
def test_the_alerter_reports_only_what_is_wrong(name: str, tmp_path: Path) -> None:
    """The same week, also for an operator who wants to know when the box is degraded."""
    tv = next(box for box in week.boxes() if box.name == name)
    sent: list[tuple[float, str]] = []
    with box_in(tmp_path) as machine:
        (tmp_path / "var/lib/livekeep/install/without-screen").unlink()
        watched = Watched(machine, RULES, BEGIN)
        was_on = True
        for now in week.steps():
            tv.live(now)
            if tv.states and not (tv.is_settled(now) and was_on):
                series.write(tv.states, tmp_path / "run/livekeep", tv.clock(now), time.monotonic())
                if not was_on:
                    watched.clock = Clock(tv.clock(now), now)
                    watched.begin()
                count = len(watched.messages())
                watched.one_pass(Clock(tv.clock(now), now))
                sent += [(now, title) for kind, title in watched.messages()[count:] if kind == "begin"]
            was_on = bool(tv.states)
    for part, rules in expected_messages(tv):
        assert {"down" if "critical" in title else "degraded" for now, title in sent if now in part} == rules, (part, sent)
    assert [it for it in sent if not any(it[0] in part for part, _rules in expected_messages(tv))] == []
