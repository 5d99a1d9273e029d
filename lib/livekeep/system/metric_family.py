"""Metric families and samples, for the exporter and the parts whose results it serves.

Units are base units (seconds, bytes, celsius, hertz); a `_total` only counts up; times are Unix times; an unknown value has
no sample; no label contains a URL, a title or an error.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "info", "stateset"]
"""info: always 1, with the data in its labels. stateset: one series for each value of its last label, 1 for the current one."""
Sample = tuple[str, tuple[str, ...], float]
"""The family's name, the label values in the family's order, the value."""


class Family(NamedTuple):
    """`help` is a sentence for people."""

    kind: Kind
    labels: tuple[str, ...]
    help: str


def counter(text: str, *labels: str) -> Family:
    return Family("counter", labels, text)


def gauge(text: str, *labels: str) -> Family:
    return Family("gauge", labels, text)


def info(text: str, *labels: str) -> Family:
    return Family("info", labels, text)


def stateset(text: str, *labels: str) -> Family:
    return Family("stateset", labels, text)


def known(values: Iterable[tuple[str, float | None]]) -> Iterator[Sample]:
    """Samples without labels, for the known values."""
    return ((name, (), float(value)) for name, value in values if value is not None)
