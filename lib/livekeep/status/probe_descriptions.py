"""What the probes' results mean, for exporter and command: each probe's folder has a description.py, which is found by its name.

So no part imports the probes, and a machine without them needs none of it.
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
    """What there is to know of a probe beside how it measures; its folder's description.py has a subclass of the same name."""

    metrics: ClassVar[Mapping[str, Family]] = {}
    """What it has beside the `livekeep_probe_…` of every probe."""

    def samples(self, _result: Result) -> Iterator[Sample]:
        """The samples of `metrics` in a result."""
        yield from ()

    def rows(self, _result: Result, _clock: Clock) -> list[Row]:
        """The result for people, a title and a text for each line."""
        return []

    def missing(self, _settings: Probes, _is_installed: Callable[[str], bool]) -> tuple[str, str]:
        """Which program is not installed that the probe needs, and what to do; two empty texts when nothing is missing."""
        return "", ""


@cache
def description_of(name: str) -> Description[ProbeResult]:
    """The description of the probe `name`, one of `core.probe_results.PROBES`."""
    description: Description[ProbeResult] = importlib.import_module(f"livekeep.probes.{name}.description").Description()
    return description


def descriptions() -> dict[str, Description[ProbeResult]]:
    return {name: description_of(name) for name in PROBES}
