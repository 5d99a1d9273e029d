"""Metric families and samples, for the exporter and for the parts whose results it serves.

Units are the base ones (seconds, bytes, celsius, hertz); a `_total` only counts up; moments are Unix times; what is not known
has no sample; no label holds a URL, a title or an error.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "info", "stateset"]
"""info: always 1, what it says is in its labels. stateset: one series for each value of its last label, 1 for the present one."""
Sample = tuple[str, tuple[str, ...], float]
"""The family's name, the values of its labels in the family's order, the figure."""


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
    """Samples without labels, except those whose value is not known."""
    return ((name, (), float(value)) for name, value in values if value is not None)
