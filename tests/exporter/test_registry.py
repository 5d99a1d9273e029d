"""One scrape of several sources: what fails costs nobody else's figures, is told in the page, and in the log once."""

import logging
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from livekeep.core.errors import TemporaryError
from livekeep.exporter.metrics import FAMILIES, Sample
from livekeep.exporter.registry import Source, registry_of
from livekeep.status.health import Clock

LOAD: Sample = ("livekeep_host_load1", (), 0.5)
OTHER: Sample = ("livekeep_player_up", (), 1)
EXPECTED = [TemporaryError("gone"), OSError(5, "Input/output error"), ValueError("what?")]
ERRORS = [*EXPECTED, ZeroDivisionError("a bug"), RecursionError()]
FORMATS = pytest.mark.parametrize(
    ("generate", "parse"), [(generate_latest, read_text), (generate_openmetrics, read_openmetrics)], ids=["text", "openmetrics"]
)


def source(*samples: Sample, error: Exception | None = None) -> Source:
    """Gives its samples, then fails if it has an error."""

    def collect(_clock: Clock) -> Iterator[Sample]:
        yield from samples
        if error:
            raise error

    return collect


def scraped(**sources: Source) -> dict[str, float]:
    return read(registry_of(sources))


def read(registry: CollectorRegistry) -> dict[str, float]:
    """The samples of the page by name and labels."""
    found = {}
    for family in read_text(generate_latest(registry).decode()):
        for sample in family.samples:
            name = " ".join([sample.name.removeprefix("livekeep_"), *sample.labels.values()])
            assert name not in found, "a sample stands there twice"
            found[name] = sample.value
    return found


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("livekeep").propagate = True
    caplog.set_level("DEBUG", "livekeep")
    return caplog


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_source_that_fails_costs_the_others_nothing(error: Exception) -> None:
    found = scraped(units=source(OTHER, error=error), host=source(LOAD))
    assert (found["player_up"], found["host_load1"]) == (1, 0.5), "what came before the error stays"
    assert (found["exporter_collector_success units"], found["exporter_collector_success host"]) == (0, 1)
    assert found["exporter_collector_duration_seconds host"] > 0


def test_a_fault_is_logged_once_and_its_end_too(logged: pytest.LogCaptureFixture) -> None:
    errors: list[Exception | None] = [TemporaryError("is 31 s old"), TemporaryError("is 46 s old"), PermissionError(13, "Denied")]
    errors += [None, None]

    def collect(_clock: Clock) -> Iterator[Sample]:
        yield from ()
        if error := errors.pop(0):
            raise error

    registry = registry_of({"poller": collect})
    while errors:
        read(registry)
    missing = "poller: its metrics are missing: "
    assert logged.messages == [f"{missing}is 31 s old", f"{missing}[Errno 13] Denied", "poller: its metrics are back"]
    assert not any(record.exc_info for record in logged.records)


def test_a_bug_is_logged_once_with_its_traceback(logged: pytest.LogCaptureFixture) -> None:
    registry = registry_of({"units": source(error=ZeroDivisionError("a bug"))})
    read(registry)
    read(registry)
    assert [record.levelname for record in logged.records] == ["ERROR"]
    assert "ZeroDivisionError: a bug" in logged.text


# What a page holds


def every_sample() -> Iterator[Sample]:
    """One of each family, and one histogram that is right."""
    for name, family in FAMILIES.items():
        if name.startswith("livekeep_exporter_collector_"):
            continue
        if family.kind == "histogram":
            yield f"{name}_bucket", ("0.5",), 3
            yield f"{name}_bucket", ("+Inf",), 4
            yield f"{name}_count", (), 4
            yield f"{name}_sum", (), 2.25
        else:
            yield name, tuple(f"a {label}" for label in family.labels), 1


@FORMATS
def test_every_family_is_read_back(generate: Any, parse: Any) -> None:
    text = generate(registry_of({"units": source(*every_sample())})).decode()
    families = {family.name: family for family in parse(text)}
    assert len(families) == len(FAMILIES)
    for name, family in FAMILIES.items():
        # The parser of the older format drops the suffix of a counter too.
        found = families[name.removesuffix("_total")]
        assert found.type == (family.kind if family.kind in ("counter", "histogram") else "gauge")
        assert found.documentation == family.help
        for sample in found.samples:
            assert sample.name.startswith(name)
            assert set(sample.labels) - {"le"} == set(family.labels)


def test_the_families_keep_their_order_whatever_source_gives_them() -> None:
    first = source(("livekeep_probe_success", ("dns", "b"), 1), LOAD)
    second = source(("livekeep_probe_success", ("dns", "a"), 0), ("livekeep_stream_state", ("live",), 1))
    lines = generate_latest(registry_of({"a": first, "b": second})).decode().splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert types[:3] == ["livekeep_stream_state", "livekeep_probe_success", "livekeep_host_load1"]


@pytest.mark.parametrize("label", ['a "quoted" one', "back\\slash", "two\nlines", "", "Übung ✓", "a,b}c=1"])
@FORMATS
def test_a_label_is_read_back_as_it_was(label: str, generate: Any, parse: Any) -> None:
    text = generate(registry_of({"host": source(("livekeep_host_filesystem_size_bytes", (label,), 5))})).decode()
    families = {family.name: family for family in parse(text)}
    (sample,) = families["livekeep_host_filesystem_size_bytes"].samples
    assert (sample.labels, sample.value) == ({"mountpoint": label}, 5)


def test_odd_samples_do_not_spoil_the_page() -> None:
    """A label that is no text, a value that is no number, and one sample from two sources."""
    odd = source(("livekeep_host_filesystem_size_bytes", ("/media/\udcff",), 5), ("livekeep_host_load5", (), math.nan), LOAD)
    found = scraped(host=odd, units=source(("livekeep_host_load1", (), 3)))
    assert found["host_filesystem_size_bytes /media/?"] == 5
    assert found["host_load1"] == 3
    assert "host_load5" not in found


@pytest.mark.parametrize(
    "sample",
    [
        ("livekeep_no_such_thing", (), 1.0),
        ("livekeep_host_load1", ("one too many",), 1.0),
        ("livekeep_host_cpu_seconds_total", (), 1.0),
        ("livekeep_api_request_duration_seconds", (), 1.0),
        ("livekeep_api_request_duration_seconds_bucket", (), 1.0),
        ("livekeep_host_load1", (), "many"),
    ],
)
def test_a_sample_that_is_no_member_of_its_family_is_refused(sample: Sample, logged: pytest.LogCaptureFixture) -> None:
    assert scraped(host=source(sample))["exporter_collector_success host"] == 0
    assert re.search(r"is no metric|has the labels|could not convert", logged.text)
