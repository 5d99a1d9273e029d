"""The alerts' cases, *.cases.yml: which series there are, and which alerts fire when; and the same as promtool takes it.

A file has `usual`, the series of every case (a case leaves one out with the value ~), and `cases`: for each alert some that begin
with `fires` and some with `quiet`, each with its series and `firing`, the alerts at each moment: [names], or {name: count}. A
series without job and instance is one of the box "chapel", and its values are promtool's, a minute apart. A state set is written
in one line, as its states in turn: `'livekeep_stream_state': offlinex5 livex100` (one that stays: `live`).
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from livekeep.exporter.metrics import FAMILIES
from tests.prometheus import expressions
from tests.prometheus.expressions import RULES

FILES = sorted(Path(__file__).parent.glob("*.cases.yml"))
TARGET = 'job="livekeep", instance="chapel"'
STATE = re.compile(r"([a-z]+?)(x\d+)?(?=\s|$)")
STATE_SETS = {
    name: family.labels[0] for name, family in FAMILIES.items() if family.kind == "stateset" and len(family.labels) == 1
}
"""The label of each state set that has no other."""
# The alerts are of what the recording rules have just written.
GROUPS = [
    *(f"livekeep-{name}" for name in ("screen", "on-air", "network", "api", "host", "fleet", "availability")),
    *(f"livekeep-{name}" for name in ("picture", "stream", "units", "record")),
]


@dataclass(frozen=True)
class Case:
    alert: str
    fires: bool
    text: str
    series: Mapping[str, str]
    firing: Mapping[str, Mapping[str, int]]
    """For each moment, such as "4m": how many alerts of which name fire."""

    def of_promtool(self) -> dict[str, Any]:
        return {
            "name": f"{self.alert} {'fires' if self.fires else 'is quiet'}: {self.text}",
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": moment,
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}"}}', "value": count} for alert, count in sorted(alerts.items())
                    ],
                }
                for moment, alerts in self.firing.items()
            ],
        }


@functools.cache
def read(path: Path) -> list[Case]:
    document, result = expressions.parse(path), []
    for alert, cases in document["cases"].items():
        for case in cases:
            given = dict([*expanded(document["usual"]), *expanded(case.get("series", {}))])
            series = {with_target(name): values for name, values in given.items() if values is not None}
            firing = {moment: counts(alerts) for moment, alerts in case["firing"].items()}
            result.append(Case(alert, "fires" in case, case["fires"] if "fires" in case else case["quiet"], series, firing))
    return result


def expanded(series: Mapping[str, str | None]) -> Iterator[tuple[str, str | None]]:
    """The series, with a series of 0 and 1 for each state of a state set."""
    for name, values in series.items():
        label = STATE_SETS.get(name)
        if label is None:
            yield name, values
            continue
        for state in sorted(expressions.VALUES[name, label]):
            sequence = f"{values}x240" if values and values.isalpha() else values
            yield f'{name}{{{label}="{state}"}}', sequence and re.sub(STATE, functools.partial(bit, state), sequence)


def bit(state: str, found: re.Match[str]) -> str:
    return found[0] if found[1] == "stale" else f"{int(found[1] == state)}{found[2] or ''}"


def counts(alerts: Sequence[str] | Mapping[str, int]) -> Mapping[str, int]:
    return alerts if isinstance(alerts, Mapping) else dict.fromkeys(alerts, 1)


def with_target(series: str) -> str:
    if "job=" in series:
        return series
    name, _, labels = series.partition("{")
    return f"{name}{{{TARGET}, {labels}" if labels else f"{name}{{{TARGET}}}"


def of_promtool(path: Path, quieting: Mapping[str, str] | None = None, except_for: str = "") -> dict[str, Any]:
    """A file of cases as `promtool test rules` takes it; with series that keep every alert quiet, except one."""
    found = read(path)
    if quieting:
        more = {with_target(name): values for name, values in quieting.items()}
        found = [quieted(case, more) for case in found if case.fires and case.alert != except_for]
    return {
        "rule_files": [str(rules) for rules in RULES],
        "group_eval_order": GROUPS,
        "evaluation_interval": "1m",
        "tests": [case.of_promtool() for case in found],
    }


def quieted(case: Case, series: Mapping[str, str]) -> Case:
    return replace(case, fires=False, series={**case.series, **series}, firing={moment: {} for moment in case.firing})
