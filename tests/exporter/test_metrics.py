"""The families: their names keep Prometheus' conventions, and docs/reference/metrics.md tells all of them and no other."""

import re

import pytest

from livekeep.exporter import metrics
from livekeep.exporter.metrics import FAMILIES, Family
from tests.outside import PROJECT

PAGE = "".join((PROJECT / f"docs/reference/{name}.md").read_text(encoding="utf-8") for name in ("metrics", "probes"))


@pytest.mark.parametrize(("name", "family"), FAMILIES.items(), ids=list(FAMILIES))
def test_a_name_keeps_the_conventions(name: str, family: Family) -> None:
    assert re.fullmatch(r"(livekeep|process)_[a-z0-9]+(_[a-z0-9]+)*", name)
    assert name.endswith("_total") == (family.kind == "counter")
    assert name.endswith("_info") == (family.kind == "info")
    assert not re.search(r"_(ms|milliseconds|percent|bits|mbps|kbps|kilobytes)(_|$)", name)
    if "timestamp" in name or "_time_" in name:
        assert name.endswith(("_timestamp_seconds", "_time_seconds"))
    assert len(set(family.labels)) == len(family.labels)
    assert not {"le", "quantile", "job", "instance"} & set(family.labels)
    assert bool(family.labels) or family.kind not in ("info", "stateset")


@pytest.mark.parametrize(("name", "family"), FAMILIES.items(), ids=list(FAMILIES))
def test_a_help_text_is_a_sentence(name: str, family: Family) -> None:
    assert re.fullmatch(r"[A-Z][^\n\\\"]{10,120}\.", family.help), name


def test_no_family_is_in_two_groups() -> None:
    groups = [metrics.HEALTH, metrics.POLLER, metrics.PLAYER, metrics.TV, metrics.CHANNELS, metrics.PROBES, metrics.RECORD]
    assert sum(map(len, [*groups, metrics.HOST, metrics.UNITS, metrics.EXPORTER])) == len(FAMILIES)


def test_the_page_tells_every_family_and_no_other() -> None:
    told = {}
    for name, kind, labels, text in re.findall(r"^\| `(\w+)` \| (\w[\w ]*) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE):
        told[name] = Family(kind.replace("state set", "stateset"), tuple(re.findall(r"`(\w+)`", labels)), text)
    assert told == FAMILIES


def test_what_else_the_page_names_exists() -> None:
    named = set(re.findall(r"\b(?:livekeep|process)_[a-z0-9_]+[a-z0-9]\b", PAGE))
    assert named == set(FAMILIES)
