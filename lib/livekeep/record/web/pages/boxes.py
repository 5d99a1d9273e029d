"""Boxes: processor, memory, temperature and disk over time, and the units with the largest use."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from livekeep.record.store import queries
from livekeep.record.store.queries import Sample
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
    units = {(it.hostname, it.unit): it for it in queries.unit_samples(connection, recent, UNIT_POINTS)}
    samples: dict[str, list[Sample]] = {}
    for sample in queries.samples(connection, view.filter, POINTS):
        samples.setdefault(sample.hostname, []).append(sample)
    return {
        "boxes": samples,
        # The mean of each, the one with the most memory first.
        "units_of": sorted(units.values(), key=lambda sample: -(sample.memory_bytes or 0)),
        "units": queries.units(connection),
        "machines": queries.machines(connection),
    }
