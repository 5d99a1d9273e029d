"""One scrape of several sources: what fails costs nobody else's figures, is told in the page, and in the log once."""

import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from livekeep.core.errors import TemporaryError
from livekeep.exporter.metrics import FAMILIES, Sample
from livekeep.exporter.registry import registry_of


@dataclass
class Stub:
    """Gives its samples, then fails if it has an error. `is_lazy`: the error comes while the samples are taken."""

    samples: tuple[Sample, ...] = ()
    error: Exception | None = None
    is_lazy: bool = True

    def collect(self, now: float) -> Iterable[Sample]:
        assert now > 1_700_000_000
        if self.error and not self.is_lazy:
            raise self.error
        return self._lazily() if self.error else self.samples

    def _lazily(self) -> Iterator[Sample]:
        yield from self.samples
        if self.error:
            raise self.error


LOAD: Sample = ("livekeep_host_load1", (), 0.5)
OTHER: Sample = ("livekeep_player_up", (), 1)
EXPECTED = [TemporaryError("gone"), OSError(5, "Input/output error"), ValueError("what?")]
ERRORS = [*EXPECTED, ZeroDivisionError("a bug"), RecursionError()]


def scraped(sources: dict[str, Stub]) -> dict[str, float]:
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


def test_what_all_say_is_put_together() -> None:
    found = scraped({"host": Stub((LOAD,)), "player": Stub((OTHER,))})
    assert (found["host_load1"], found["player_up"]) == (0.5, 1)
    assert (found["exporter_collector_success host"], found["exporter_collector_success player"]) == (1, 1)
    assert found["exporter_collector_duration_seconds host"] > 0


@pytest.mark.parametrize("is_lazy", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_one_that_fails_costs_nobody_else_s_figures(error: Exception, is_lazy: bool) -> None:
    found = scraped({"units": Stub((), error, is_lazy), "host": Stub((LOAD,))})
    assert found["host_load1"] == 0.5
    assert (found["exporter_collector_success units"], found["exporter_collector_success host"]) == (0, 1)


def test_what_was_said_before_the_fault_stays() -> None:
    found = scraped({"host": Stub((LOAD,), TemporaryError("gone"))})
    assert (found["host_load1"], found["exporter_collector_success host"]) == (0.5, 0)


def test_a_fault_is_logged_once_and_its_end_too(logged: pytest.LogCaptureFixture) -> None:
    source = Stub((LOAD,), TemporaryError("poller/state.json: is 31 s old"))
    registry = registry_of({"poller": source})
    read(registry)
    source.error = TemporaryError("poller/state.json: is 46 s old")
    read(registry)
    assert logged.messages == ["poller: its metrics are missing: poller/state.json: is 31 s old"]
    source.error = PermissionError(13, "Permission denied")
    read(registry)
    source.error = None
    read(registry)
    read(registry)
    assert logged.messages[1] == "poller: its metrics are missing: [Errno 13] Permission denied"
    assert logged.messages[2:] == ["poller: its metrics are back"]
    assert not any(record.exc_info for record in logged.records)


def test_a_bug_is_logged_once_with_its_traceback(logged: pytest.LogCaptureFixture) -> None:
    registry = registry_of({"units": Stub((), ZeroDivisionError("a bug"))})
    read(registry)
    read(registry)
    assert [record.levelname for record in logged.records] == ["ERROR"]
    assert logged.records[0].exc_info
    assert "ZeroDivisionError: a bug" in logged.text


def test_a_source_that_has_nothing_new_gives_the_same_again() -> None:
    source = Stub((LOAD,))
    registry = registry_of({"host": source})
    assert read(registry)["host_load1"] == 0.5
    assert read(registry)["host_load1"] == 0.5
    source.samples = (("livekeep_host_load1", (), 0.75),)
    assert read(registry)["host_load1"] == 0.75
    source.samples = ()
    assert "host_load1" not in read(registry)


# What a page holds


def every_sample() -> tuple[Sample, ...]:
    """One of each family, and one histogram that is right."""
    samples: list[Sample] = []
    for name, family in FAMILIES.items():
        if name.startswith("livekeep_exporter_collector_"):
            continue
        if family.kind == "histogram":
            samples += [(f"{name}_bucket", ("0.5",), 3), (f"{name}_bucket", ("+Inf",), 4), (f"{name}_count", (), 4)]
            samples.append((f"{name}_sum", (), 2.25))
        else:
            samples.append((name, tuple(f"a {label}" for label in family.labels), 1))
    return tuple(samples)


@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_every_family_is_read_back(is_openmetrics: bool) -> None:
    registry = registry_of({"units": Stub(every_sample())})
    text = (generate_openmetrics if is_openmetrics else generate_latest)(registry).decode()
    families = {family.name: family for family in (read_openmetrics if is_openmetrics else read_text)(text)}
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
    first = Stub((("livekeep_probe_success", ("dns", "b"), 1), LOAD))
    second = Stub((("livekeep_probe_success", ("dns", "a"), 0), ("livekeep_stream_state", ("live",), 1)))
    lines = generate_latest(registry_of({"a": first, "b": second})).decode().splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert types[:3] == ["livekeep_stream_state", "livekeep_probe_success", "livekeep_host_load1"]


@pytest.mark.parametrize("label", ['a "quoted" one', "back\\slash", "two\nlines", "\\n", "", "Übung ✓", "a,b}c=1"])
@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_a_label_is_read_back_as_it_was(label: str, is_openmetrics: bool) -> None:
    registry = registry_of({"host": Stub((("livekeep_host_filesystem_size_bytes", (label,), 5),))})
    text = (generate_openmetrics if is_openmetrics else generate_latest)(registry).decode()
    families = {family.name: family for family in (read_openmetrics if is_openmetrics else read_text)(text)}
    (sample,) = families["livekeep_host_filesystem_size_bytes"].samples
    assert (sample.labels, sample.value) == ({"mountpoint": label}, 5)


def test_a_label_that_is_no_text_does_not_spoil_the_page() -> None:
    assert "host_filesystem_size_bytes /media/?" in scraped(
        {"host": Stub((("livekeep_host_filesystem_size_bytes", ("/media/\udcff",), 5),))}
    )


def test_not_a_number_has_no_sample() -> None:
    found = scraped({"host": Stub((("livekeep_host_load1", (), math.nan), ("livekeep_host_load5", (), 2)))})
    assert "host_load1" not in found
    assert found["host_load5"] == 2


def test_a_sample_that_is_given_twice_stands_there_once() -> None:
    found = scraped({"host": Stub((LOAD, ("livekeep_host_load1", (), 2))), "units": Stub((("livekeep_host_load1", (), 3),))})
    assert found["host_load1"] == 3


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
    assert scraped({"host": Stub((sample,))})["exporter_collector_success host"] == 0
    assert re.search(r"is no metric|has the labels|could not convert", logged.text)
