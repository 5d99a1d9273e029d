"""Boxes: processor, memory, temperature and disk over time, and the units with the largest use."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from livekeep.record.store import queries
from livekeep.record.store.queries import Sample, UnitSample
from livekeep.record.web.address import SECOND, View
from livekeep.record.web.sources import Sources

POINTS = 120
"""Per curve."""
UNIT_POINTS = 1
UNITS_FOR = 86400 * SECOND
"""Units are read for this long before the end of the range: they have many samples."""


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    connection = sources.connection()
    recent = replace(view.filter, begin=max(view.begin, view.end - UNITS_FOR))
    samples: dict[str, list[Sample]] = {}
    for sample in queries.samples(connection, view.filter, POINTS):
        samples.setdefault(sample.hostname, []).append(sample)
    return {
        "boxes": samples,
        "units_of": heaviest(queries.unit_samples(connection, recent, UNIT_POINTS)),
        "units": queries.units(connection),
        "machines": queries.machines(connection),
    }


def heaviest(samples: Sequence[UnitSample]) -> tuple[UnitSample, ...]:
    """The mean per unit, the one with the most memory first."""
    newest = {(sample.hostname, sample.unit): sample for sample in samples}
    return tuple(sorted(newest.values(), key=lambda sample: -(sample.memory_bytes or 0)))
