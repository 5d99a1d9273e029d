"""The meaning of the probes' results, for exporter and command: each probe's folder has a description.py, found by name.

Therefore no part imports the probes, and a machine can do without them.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import ClassVar, Generic, TypeVar

from livekeep.core.config import Probes
from livekeep.core.probe_results import PROBES, ProbeResult
from livekeep.status.health import Clock
from livekeep.system.metric_family import Family, Sample

Result = TypeVar("Result", bound=ProbeResult)
Row = tuple[str, str]


class Description(Generic[Result]):
    """Everything about a probe but its measurement; its folder's description.py has a subclass of the same name."""

    metrics: ClassVar[Mapping[str, Family]] = {}
    """Its metrics in addition to the `livekeep_probe_…` of every probe."""

    def samples(self, _result: Result) -> Iterator[Sample]:
        """A result's samples of `metrics`."""
        yield from ()

    def rows(self, _result: Result, _clock: Clock) -> list[Row]:
        """The result for people: a title and a text for each line."""
        return []

    def missing(self, _settings: Probes, _is_installed: Callable[[str], bool]) -> tuple[str, str]:
        """Which required program is not installed, and what to do; two empty texts if nothing is missing."""
        return "", ""


@cache
def description_of(name: str) -> Description[ProbeResult]:
    """The description of the probe `name`, one of `core.probe_results.PROBES`."""
    description: Description[ProbeResult] = importlib.import_module(f"livekeep.probes.{name}.description").Description()
    return description


def descriptions() -> dict[str, Description[ProbeResult]]:
    return {name: description_of(name) for name in PROBES}
