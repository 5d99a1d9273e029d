"""The alerts' cases, *.cases.yml: which series there are, and which alerts fire when; and the same as promtool takes it.

A file has `usual`, the series of every case (a case leaves one out with the value ~), and `cases`: for each alert some that begin
with `fires` and some with `quiet`, each with its series and `firing`, the alerts at each moment: [names], or {name: count}. A
series without job and instance is one of the box "chapel", and its values are promtool's, a minute apart.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.prometheus import expressions
from tests.prometheus.expressions import RULES

FILES = sorted(Path(__file__).parent.glob("*.cases.yml"))
TARGET = 'job="livekeep", instance="chapel"'
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
            given = {**document["usual"], **case.get("series", {})}
            series = {with_target(name): values for name, values in given.items() if values is not None}
            firing = {moment: counts(alerts) for moment, alerts in case["firing"].items()}
            result.append(Case(alert, "fires" in case, case["fires"] if "fires" in case else case["quiet"], series, firing))
    return result


def counts(alerts: Sequence[str] | Mapping[str, int]) -> Mapping[str, int]:
    return alerts if isinstance(alerts, Mapping) else dict.fromkeys(alerts, 1)


def with_target(series: str) -> str:
    if "job=" in series:
        return series
    name, _, labels = series.partition("{")
    return f"{name}{{{TARGET}, {labels}" if labels else f"{name}{{{TARGET}}}"


def of_promtool(path: Path) -> dict[str, Any]:
    """A file of cases as `promtool test rules` takes it."""
    return {
        "rule_files": [str(rules) for rules in RULES],
        "group_eval_order": GROUPS,
        "evaluation_interval": "1m",
        "tests": [case.of_promtool() for case in read(path)],
    }
