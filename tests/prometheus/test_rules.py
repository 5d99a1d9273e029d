"""Rules, configuration examples and dashboards: Prometheus' and Alertmanager's own tools are content, and all names exist.

`promtool test rules` runs the cases beside this file: *.cases.yml, what fires when it must and not when it must not (cases.py);
recording.yml, what the recording rules give; texts.yml, the sentences.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from livekeep.command.main import SUBCOMMANDS
from livekeep.exporter.metrics import FAMILIES, UNITS
from tests.outside import PROJECT, reserved, wait_until
from tests.prometheus import cases, expressions
from tests.prometheus.expressions import Expression

HERE = Path(__file__).parent
SHIPPED = PROJECT / "etc/prometheus"
GRAFANA = PROJECT / "etc/grafana"
DOCUMENT = (PROJECT / "docs/reference/alerts.md").read_text(encoding="utf-8")
ALERTS = expressions.alerts()
EVERY_EXPRESSION = expressions.of_dashboards() + expressions.of_rules()
TARGET_LABELS = {"job", "instance", "site", "room", "hours"}
OF_NO_BOX = ("LivekeepNoBoxes", "LivekeepFleetUnreachable", "LivekeepSiteUnreachable")


def tool(name: str) -> str:
    """The path of a tool. Its absence is a failure: a check that is skipped checks nothing."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: tests/run installs what the tests need"
    return found


def run(*command: object) -> str:
    ran = subprocess.run([str(part) for part in command], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def configuration(folder: Path, text: str) -> Path:
    """`text` as prometheus.yml in a folder that has the rules and the fleet, as /etc/prometheus has."""
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


def taken_in(path: Path, begin: str) -> str:
    """The file with the commented lines from the one that begins with `begin` on taken in, as its comment offers."""
    lines = path.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().startswith(f"# {begin}"))
    block = list(itertools.takewhile(lambda line: line.strip().startswith("#"), lines[start:]))
    lines[start : start + len(block)] = [line.replace("# ", "", 1) for line in block]
    return "\n".join(lines) + "\n"


# The tools


@pytest.mark.parametrize("path", expressions.RULES, ids=lambda path: path.name)
def test_promtool_is_content_with_the_rules(path: Path) -> None:
    assert re.search(r"SUCCESS: [1-9]\d* rules found", run(tool("promtool"), "check", "rules", path))


def test_promtool_is_content_with_the_example_and_with_an_inventory_by_http(tmp_path: Path) -> None:
    run(tool("promtool"), "check", "config", SHIPPED / "prometheus.yml")
    by_http = taken_in(SHIPPED / "prometheus.yml", "http_sd_configs:")
    assert yaml.safe_load(by_http)["scrape_configs"][0]["http_sd_configs"]
    run(tool("promtool"), "check", "config", configuration(tmp_path, by_http))


@pytest.mark.parametrize("path", cases.FILES, ids=lambda path: path.name)
def test_the_alerts_do_what_their_cases_say(path: Path, tmp_path: Path) -> None:
    document = tmp_path / "cases.yml"
    document.write_text(yaml.dump(cases.of_promtool(path)))
    run(tool("promtool"), "test", "rules", document)


def test_no_alert_about_the_picture_fires_while_the_tv_is_off_by_the_plan(tmp_path: Path) -> None:
    """Each case that fires, with the same series and a TV that is off on purpose."""
    given = cases.of_promtool(HERE / "picture.cases.yml", {"livekeep_screen_wanted": "0x240"}, "LivekeepTvNotSwitched")
    document = tmp_path / "cases.yml"
    document.write_text(yaml.dump(given))
    run(tool("promtool"), "test", "rules", document)


@pytest.mark.parametrize("name", ["recording.yml", "texts.yml"])
def test_the_rules_give_what_promtool_expects(name: str) -> None:
    run(tool("promtool"), "test", "rules", HERE / name)


def test_amtool_is_content_with_the_example_and_with_a_webhook(tmp_path: Path) -> None:
    run(tool("amtool"), "check-config", SHIPPED / "alertmanager.yml")
    webhook = taken_in(SHIPPED / "alertmanager.yml", "webhook_configs:")
    assert "webhook_configs" in yaml.safe_load(webhook)["receivers"][0]
    (tmp_path / "alertmanager.yml").write_text(webhook)
    run(tool("amtool"), "check-config", tmp_path / "alertmanager.yml")


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "at-once"), ("warning", "working-hours"), ("info", "nobody")])
def test_each_severity_has_its_receiver(severity: str, receiver: str) -> None:
    said = run(tool("amtool"), "config", "routes", "test", "--config.file", SHIPPED / "alertmanager.yml", f"severity={severity}")
    assert receiver in said.split()


def test_the_examples_hold_no_secret() -> None:
    for path in [*SHIPPED.rglob("*.*"), *GRAFANA.rglob("*.*")]:
        settings = re.findall(r"^\s*-?\s*(\w*(?:password|secret|token|credentials)\w*)\s*:", path.read_text(), re.MULTILINE)
        assert not settings, path


# Every alert


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_grave_it_is_what_is_wrong_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"Livekeep([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"[1-9]\d*m", rule["for"])
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
        assert text.endswith(".") and "\n" not in text.strip() and "  " not in text
    assert rule["annotations"]["summary"].startswith("{{ $labels.instance }}: ") or name in OF_NO_BOX
    assert 80 <= len(rule["annotations"]["description"]) <= 420 or name == "LivekeepOtherUnitsFailed"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_its_heading_in_the_installed_document(name: str, stage: Path) -> None:
    """The anchor is what GitHub, GitLab and other renderers make of the heading."""
    address, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")
    document = stage / urllib.parse.urlparse(address).path.lstrip("/")
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    assert name in headings
    assert anchor == name.lower()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the core's package installs."""
    folder = tmp_path_factory.mktemp("stage")
    subprocess.run([PROJECT / "packaging/build", folder / "built", "livekeep"], check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", next((folder / "built").iterdir()), folder], check=True)
    return folder


def test_the_commands_that_alerts_name_exist() -> None:
    texts = " ".join(rule["annotations"]["description"] for rule in ALERTS.values())
    told = set(re.findall(r"sudo livekeep ([a-z-]+)", texts))
    assert told and told <= set(SUBCOMMANDS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_case_that_fires_and_one_that_must_not(name: str) -> None:
    of_it = [case for path in cases.FILES for case in cases.read(path) if case.alert == name]
    assert {case.fires for case in of_it} == {True, False}
    for case in of_it:
        assert case.fires == any(name in alerts for alerts in case.firing.values()), case.text


def test_each_alert_is_explained_in_the_documentation_with_its_severity_and_patience() -> None:
    headings = dict(re.findall(r"^### (Livekeep\w+)\n\n(\w+, after \d+ min)", DOCUMENT, re.MULTILINE))
    assert headings == {name: f"{rule['labels']['severity']}, after {rule['for'][:-1]} min" for name, rule in ALERTS.items()}


def test_what_alertmanager_inhibits_are_alerts_that_exist() -> None:
    rules = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text())["inhibit_rules"]
    matchers = [matcher for rule in rules for matcher in rule["source_matchers"] + rule["target_matchers"]]
    for matcher in matchers:
        value = matcher.partition('"')[2].rstrip('"')
        group = next(iter(re.findall(r"\(.+\)", value)), "")
        choices = [value.replace(group, choice) for choice in group.strip("()").split("|")] if group else value.split("|")
        for choice in choices:
            assert any(re.fullmatch(choice, name) for name in ALERTS), matcher
    first = rules[0]
    assert first["source_matchers"] == ['alertname="LivekeepExporterDown"'] and first["equal"] == ["job", "instance"]


# Every expression


def series_of(name: str) -> str:
    """The family that a series belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name) if name not in FAMILIES else name


@pytest.mark.parametrize("found", EVERY_EXPRESSION, ids=lambda found: found.where)
def test_an_expression_reads_metrics_and_rules_that_exist(found: Expression) -> None:
    metrics, records = expressions.metrics_in(found.raw), expressions.records_in(found.raw)
    assert metrics | records or re.search(r"\b(up|ALERTS)\{", found.raw), "it reads nothing that is known"
    assert {series_of(name) for name in metrics} <= set(FAMILIES)
    assert records <= {rule["record"] for rule in expressions.rules() if "record" in rule}


@pytest.mark.parametrize("found", EVERY_EXPRESSION, ids=lambda found: found.where)
def test_an_expression_asks_for_labels_and_values_that_exist(found: Expression) -> None:
    for name, selectors in re.findall(r"\b((?:livekeep|process)_[a-z0-9_]+)\{([^}]*)\}", found.raw):
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selectors):
            assert label in {*FAMILIES[series_of(name)].labels, *TARGET_LABELS, *(["le"] if name.endswith("_bucket") else [])}
            if known := expressions.VALUES.get((name, label)):
                asked = value.split("|") if operator.endswith("~") else [value]
                assert set(asked) <= known, f"{name}{{{label}}} is never {asked}"


def test_the_exporter_tells_of_every_unit_that_the_rules_look_at() -> None:
    assert "livekeep_unit_state" in UNITS
    told = {name for found in EVERY_EXPRESSION for name in re.findall(r'unit="([\w.@-]+)"', found.raw)}
    assert told == {"livekeep.target"}


def test_every_recording_rule_is_read_by_an_alert_a_dashboard_or_the_document() -> None:
    texts = [found.raw for found in EVERY_EXPRESSION] + [(PROJECT / "docs/how-to/dashboards.md").read_text()]
    read = {name for text in texts for name in expressions.records_in(text)}
    assert {rule["record"] for rule in expressions.rules() if "record" in rule} <= read


def test_the_lists_of_expressions_hold_only_such_as_there_are_once() -> None:
    there = {found.raw for found in expressions.of_dashboards()}
    both = expressions.hardware_only() + expressions.empty_when_well()
    assert len(set(both)) == len(both)
    assert set(both) <= there


# A running Prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus with the shipped rules and configuration, and boxes that nobody answers for."""
    folder = tmp_path_factory.mktemp("prometheus")
    reservation, nobody = reserved(), 9
    port = reservation.getsockname()[1]
    path = configuration(folder, (SHIPPED / "prometheus.yml").read_text().replace("127.0.0.1:9093", f"127.0.0.1:{nobody}"))
    (folder / "fleet/example.json").unlink()
    boxes = [
        {"targets": [f"127.0.0.2:{nobody}"], "labels": {"instance": "chapel", "site": "north"}},
        {"targets": [f"127.0.0.3:{nobody}", f"[::1]:{nobody}"]},
    ]
    (folder / "fleet/boxes.json").write_text(json.dumps(boxes))
    command = [tool("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}"]
    log = (folder / "log").open("w")
    with (
        reservation,
        log,
        subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as process,
    ):
        try:
            wait_until("Prometheus answers", lambda: answers(f"http://127.0.0.1:{port}/-/ready"), 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def asked(prometheus: str, path: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus' API. Raises `urllib.error.HTTPError` for an expression that it refuses."""
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as response:
        return json.load(response)["data"]


def test_a_box_is_called_by_its_own_name_or_by_its_host(prometheus: str) -> None:
    def targets() -> list[dict[str, str]]:
        return [target["labels"] for target in asked(prometheus, "targets")["activeTargets"]]

    wait_until("the boxes are found", lambda: len(targets()) == 4, 60)
    assert {labels["job"] for labels in targets()} == {"livekeep"}
    assert {labels["instance"] for labels in targets()} == {"this-box", "chapel", "127.0.0.3", "[::1]"}
    assert [labels["site"] for labels in targets() if labels["instance"] == "chapel"] == ["north"]


def test_prometheus_takes_every_expression_of_the_dashboards(prometheus: str) -> None:
    for found in expressions.of_dashboards({**expressions.VARIABLES, "instance": "a|b"}):
        assert asked(prometheus, "query", query=found.text)["resultType"] in ("vector", "scalar"), found.where


def test_prometheus_evaluates_every_rule(prometheus: str) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in asked(prometheus, "rules")["groups"] for rule in group["rules"]]

    assert len(rules()) == len(expressions.rules())
    wait_until("the short groups have been evaluated", lambda: sum(rule["health"] == "ok" for rule in rules()) > len(ALERTS), 120)
    assert {rule["health"] for rule in rules()} <= {"ok", "unknown"}


# The dashboards


@pytest.fixture(scope="module", params=expressions.DASHBOARDS, ids=lambda path: path.name)
def dashboard(request: pytest.FixtureRequest) -> Any:
    return json.loads(request.param.read_text())


PANEL_TYPES = {"row", "stat", "timeseries", "table", "state-timeline", "heatmap", "bargauge", "text"}
"""Those that come with Grafana 9 to 12."""


def test_a_dashboard_can_be_imported_anywhere(dashboard: Any) -> None:
    assert dashboard["id"] is None and dashboard["schemaVersion"] >= 36
    assert re.fullmatch(r"livekeep-\w+", dashboard["uid"]) and dashboard["tags"] == ["livekeep"]
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names[0] == "datasource" and len(names) == 2
    sources = re.findall(r'"uid": "([^"]*)"', json.dumps(dashboard))
    assert set(sources) == {"${datasource}", "-- Grafana --", dashboard["uid"]}


def test_every_panel_is_explained_and_has_a_place_of_its_own(dashboard: Any) -> None:
    panels = list(expressions.panels(dashboard))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(bool(panel["panels"]) == panel["collapsed"] for panel in panels if panel["type"] == "row")
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in PANEL_TYPES
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
        place = panel["gridPos"]
        cells = set(itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_asks_the_chosen_prometheus_and_numbers_its_targets(dashboard: Any) -> None:
    for panel in expressions.panels(dashboard):
        targets = panel.get("targets", [])
        assert bool(targets) == (panel["type"] not in ("row", "text")), panel["title"]
        assert [target["refId"] for target in targets] == [chr(ord("A") + number) for number in range(len(targets))]
        for target in targets:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["instant"] != target["range"]


def test_the_columns_of_a_table_are_those_that_it_colours(dashboard: Any) -> None:
    tables = [panel for panel in expressions.panels(dashboard) if panel["type"] == "table"]
    assert tables
    for panel in tables:
        assert all(target["format"] == "table" for target in panel["targets"]), panel["title"]
        organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
        expressions_of = " ".join(target["expr"] for target in panel["targets"])
        labels = {label for found in re.findall(r"by \(([^)]*)\)", expressions_of) for label in found.split(", ")}
        columns = set(organize["renameByName"].values()) | labels | {"severity"}
        for name in organize["renameByName"]:
            values = {f"Value #{target['refId']}" for target in panel["targets"]}
            assert name in values | labels | {"Value", "alertname", "instance"}, panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in columns, panel["title"]
        for column in panel["options"].get("sortBy", []):
            assert column["displayName"] in columns


def test_a_stateset_that_is_drawn_has_a_word_for_each_of_its_codes(dashboard: Any) -> None:
    coded = [panel for panel in expressions.panels(dashboard) if "or 2 * livekeep_" in json.dumps(panel.get("targets", []))]
    assert len(coded) >= 2
    for panel in coded:
        texts = json.dumps(panel["fieldConfig"])
        for target in panel["targets"]:
            codes = set(re.findall(r"(\d) \* livekeep_(?:health|display|stream)", target["expr"]))
            assert all(f'"{code}": {{"text"' in texts for code in codes), panel["title"]


def test_the_dashboards_lead_to_each_other() -> None:
    boards = {path.stem: json.loads(path.read_text()) for path in expressions.DASHBOARDS}
    assert set(boards) == {"livekeep-screen", "livekeep-fleet"}
    for uid, board in boards.items():
        assert uid == board["uid"]
        other = ({*boards} - {uid}).pop()
        assert [link["url"] for link in board["links"]] == [f"/d/{other}"]


def test_the_provisioning_is_for_prometheus_and_a_folder_of_dashboards() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/livekeep.yml").read_text())
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/livekeep.yml").read_text())
    assert source["apiVersion"] == provider["apiVersion"] == 1
    assert source["datasources"][0]["type"] == "prometheus"
    document = (PROJECT / "docs/how-to/dashboards.md").read_text()
    assert provider["providers"][0]["options"]["path"] in document
    assert os.fspath(Path("etc/grafana/provisioning")) in document


# The document


def queries() -> list[str]:
    """What the tables of docs/how-to/dashboards.md show in code that reads a metric or a recording rule."""
    code = re.findall(r"`([^`\n]+)`", (PROJECT / "docs/how-to/dashboards.md").read_text().partition("## Queries")[2])
    return [text for text in code if expressions.metrics_in(text) | expressions.records_in(text)]


def test_the_documents_queries_are_taken_and_read_what_exists(prometheus: str) -> None:
    assert len(queries()) > 30
    for query in queries():
        assert {series_of(name) for name in expressions.metrics_in(query)} <= set(FAMILIES), query
        assert expressions.records_in(query) <= {rule["record"] for rule in expressions.rules() if "record" in rule}, query
        assert asked(prometheus, "query", query=query)["resultType"] in ("vector", "scalar"), query
