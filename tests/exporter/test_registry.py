"""One scrape of several sources: what fails costs nobody else's figures, is told in the page, and in the log once."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from livekeep.core.errors import TemporaryError
from livekeep.exporter.metrics import Sample
from livekeep.exporter.registry import Collector, Gathering


@dataclass
class Source:
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


def scraped(sources: dict[str, Collector]) -> dict[str, float]:
    return read(Gathering(sources))


def read(gathering: Gathering) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(gathering.scrape().decode()):
        for sample in family.samples:
            found[" ".join([sample.name.removeprefix("livekeep_"), *sample.labels.values()])] = sample.value
    return found


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("livekeep").propagate = True
    caplog.set_level("DEBUG", "livekeep")
    return caplog


def test_what_all_say_is_put_together() -> None:
    found = scraped({"host": Source((LOAD,)), "player": Source((OTHER,))})
    assert (found["host_load1"], found["player_up"]) == (0.5, 1)
    assert (found["exporter_collector_success host"], found["exporter_collector_success player"]) == (1, 1)
    assert found["exporter_collector_duration_seconds host"] > 0


@pytest.mark.parametrize("is_lazy", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_one_that_fails_costs_nobody_else_s_figures(error: Exception, is_lazy: bool) -> None:
    found = scraped({"units": Source((), error, is_lazy), "host": Source((LOAD,))})
    assert found["host_load1"] == 0.5
    assert (found["exporter_collector_success units"], found["exporter_collector_success host"]) == (0, 1)


def test_what_was_said_before_the_fault_stays() -> None:
    found = scraped({"host": Source((LOAD,), TemporaryError("gone"))})
    assert (found["host_load1"], found["exporter_collector_success host"]) == (0.5, 0)


def test_a_sample_of_no_family_is_its_source_s_fault() -> None:
    found = scraped({"units": Source((LOAD, ("livekeep_what", (), 1.0))), "player": Source((OTHER,))})
    assert (found["exporter_collector_success units"], found["player_up"]) == (0, 1)


def test_a_fault_is_logged_once_and_its_end_too(logged: pytest.LogCaptureFixture) -> None:
    source = Source((LOAD,), TemporaryError("poller/state.json: is 31 s old"))
    gathering = Gathering({"poller": source})
    read(gathering)
    source.error = TemporaryError("poller/state.json: is 46 s old")
    read(gathering)
    assert logged.messages == ["poller: its figures are missing: poller/state.json: is 31 s old"]
    source.error = PermissionError(13, "Permission denied")
    read(gathering)
    source.error = None
    read(gathering)
    read(gathering)
    assert logged.messages[1] == "poller: its figures are missing: [Errno 13] Permission denied"
    assert logged.messages[2:] == ["poller: its figures are back"]
    assert not any(record.exc_info for record in logged.records)


def test_a_bug_is_logged_once_with_its_traceback(logged: pytest.LogCaptureFixture) -> None:
    gathering = Gathering({"units": Source((), ZeroDivisionError("a bug"))})
    read(gathering)
    read(gathering)
    assert [record.levelname for record in logged.records] == ["ERROR"]
    assert logged.records[0].exc_info
    assert "ZeroDivisionError: a bug" in logged.text


def test_a_source_that_has_nothing_new_gives_the_same_again() -> None:
    source = Source((LOAD,))
    gathering = Gathering({"host": source})
    assert read(gathering)["host_load1"] == 0.5
    assert read(gathering)["host_load1"] == 0.5
    source.samples = (("livekeep_host_load1", (), 0.75),)
    assert read(gathering)["host_load1"] == 0.75
    source.samples = ()
    assert "host_load1" not in read(gathering)
