"""Every expression of the shipped rules and dashboards, as Prometheus takes it: with the variables of Grafana filled in."""

import functools
import json
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from livekeep.core import channels, state
from livekeep.status.health import LEVELS
from tests.outside import PROJECT

RULES = sorted((PROJECT / "etc/prometheus").glob("*.rules.yml"))
DASHBOARDS = sorted((PROJECT / "etc/grafana").glob("*.json"))
LISTS = Path(__file__).parent

Kind = Literal["panel", "variable", "annotation", "record", "alert"]
VARIABLES: Mapping[str, str] = {
    "instance": ".+",
    "site": ".*",
    "datasource": "Prometheus",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}
"""What stands for a variable of Grafana when nothing else is asked for: any box."""


VALUES = {
    ("livekeep_display_mode", "mode"): {"stream", "holding", "error", "off"},
    ("livekeep_stream_state", "state"): set(typing.get_args(state.StreamState)),
    ("livekeep_stream_cause", "cause"): {cause or "none" for cause in typing.get_args(state.Cause)},
    ("livekeep_health_state", "level"): set(LEVELS),
    ("livekeep_screen_health_state", "level"): set(LEVELS),
    ("livekeep_channel_health_state", "level"): set(LEVELS),
    ("livekeep_channel_state", "state"): set(typing.get_args(channels.Publishing)),
    ("livekeep_channel_items_total", "outcome"): set(typing.get_args(channels.Outcome)) - {"playing"},
    ("livekeep_player_stream_picture", "picture"): set(filter(None, typing.get_args(state.StreamPicture))),
    ("livekeep_api_requests_total", "outcome"): set(state.REQUEST_OUTCOMES),
    ("livekeep_unit_state", "state"): {"active", "reloading", "inactive", "failed", "activating", "deactivating"},
    ("livekeep_probe_runs_total", "outcome"): {"success", "failure", "skipped"},
    ("livekeep_host_board_info", "board"): {"raspberry-pi", "other"},
}
"""The values of a label."""


@dataclass(frozen=True)
class Expression:
    """`raw` is as it stands in the file; `text` is the same with the variables filled in, for Prometheus."""

    kind: Kind
    where: str
    """The file's name and the panel's title, the variable's name, or the rule's name."""
    raw: str
    text: str


def filled_in(raw: str, variables: Mapping[str, str] = VARIABLES) -> str:
    """`raw` with the values of `variables` for $name and ${name}. A box that is any box is matched as a pattern.

    Raises `KeyError` that names a variable without a value.
    """
    loose = re.sub(r'="(\$\{?instance\}?)"', r'=~"\1"', raw)
    return re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda found: variables[found[1]], loose)


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those inside of rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def of_dashboard(path: Path, variables: Mapping[str, str] = VARIABLES) -> Iterator[Expression]:
    """The expressions of the panels, the variables and the annotations of one dashboard."""
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield expression("panel", f"{path.name}: {panel['title']}", target["expr"], variables)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector = re.fullmatch(r"label_values\((.+), *\w+\)", variable["query"]["query"])
            if selector is None:
                raise ValueError(f"{path}: the variable {variable['name']} is no label_values(…): it cannot be checked")
            yield expression("variable", f"{path.name}: {variable['name']}", selector[1], variables)
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield expression("annotation", f"{path.name}: {annotation['name']}", annotation["expr"], variables)


def expression(kind: Kind, where: str, raw: str, variables: Mapping[str, str]) -> Expression:
    return Expression(kind, where, raw, filled_in(raw, variables))


def of_dashboards(variables: Mapping[str, str] = VARIABLES) -> list[Expression]:
    return [found for path in DASHBOARDS for found in of_dashboard(path, variables)]


@functools.cache
def parse(path: Path) -> Any:
    """What a YAML file says; read once, since it takes its time."""
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)


def rules() -> list[dict[str, Any]]:
    """Every rule, as it stands in its file."""
    groups = [group for path in RULES for group in parse(path)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def of_rules() -> list[Expression]:
    """The expressions of the rules. An alert's gives nothing while all is well."""
    return [
        Expression("alert" if "alert" in rule else "record", rule.get("alert") or rule["record"], rule["expr"], rule["expr"])
        for rule in rules()
    ]


def listed(name: str) -> list[str]:
    """The expressions of tests/prometheus/NAME, as they stand in the dashboards: one a line, # begins a comment."""
    lines = (LISTS / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def hardware_only() -> list[str]:
    """What gives data only on a real Raspberry Pi, or on a machine with hardware that a test machine lacks."""
    return listed("hardware-only.txt")


def empty_when_well() -> list[str]:
    """What gives nothing while nothing is wrong, or before a stream has played."""
    return listed("empty-when-well.txt")


METRIC = re.compile(r"\b(?:livekeep|process)_[a-z0-9_]+\b(?!:)")


def metrics_in(text: str) -> set[str]:
    """The exporter's metrics that an expression reads: not the recording rules, nor what stands in quotes."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    bare = re.sub(r"[a-z_]+:[a-z0-9_]+(?::[a-z0-9_]+)?", "", bare)
    return set(METRIC.findall(bare))


def records_in(text: str) -> set[str]:
    """The recording rules that an expression reads."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    return set(re.findall(r"\b[a-z_]+:[a-z0-9_]+:[a-z0-9_]+\b", bare))
