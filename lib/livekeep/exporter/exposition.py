"""Samples as text: Prometheus' format 0.0.4 and OpenMetrics 1.0.0, families in a fixed order.

prometheus_client would do it, but its text formats import http.server, email and ssl: 5 MB more, and the writing is slower. The
tests compare what stands here with its parsers, and with promtool.
Sources: prometheus.io/docs/instrumenting/exposition_formats, openmetrics.io.
"""

import zlib
from collections.abc import Iterable, Mapping

from livekeep.exporter.metrics import FAMILIES, Family, Sample

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
GZIP_LEVEL = 1
GZIP_FORM = 31
"""zlib's window bits for gzip's frame."""
GZIP_MEMORY_LEVEL = 6
"""A page is small: the usual tables cost more to be cleared than the page to be packed."""
MOST_KEPT = 5000
"""Series: units and mounts that come and go must not pile up."""
HISTOGRAM_PARTS: dict[str, tuple[str, ...]] = {"_bucket": ("le",), "_count": (), "_sum": ()}

Block = dict[str, dict[str, str]]
"""By family, its lines by their beginning, so that no series stands there twice."""


def series_of(families: Mapping[str, Family]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The names that samples may have, with their family and labels: those of the families, and the parts of a histogram."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, family in families.items():
        parts: dict[str, tuple[str, ...]] = HISTOGRAM_PARTS if family.kind == "histogram" else {"": ()}
        found |= {name + part: (name, family.labels + more) for part, more in parts.items()}
    return found


def head(name: str, family: Family, is_openmetrics: bool) -> str:
    """The two lines above a family's samples; an info and a state set are gauges to every reader."""
    kind = family.kind if family.kind in ("counter", "histogram") else "gauge"
    shown = name.removesuffix("_total") if is_openmetrics else name
    return f"# HELP {shown} {escaped(family.help)}\n# TYPE {shown} {kind}\n"


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


SERIES = series_of(FAMILIES)
HEADS = [(name, head(name, family, False), head(name, family, True)) for name, family in FAMILIES.items()]


INFINITIES = {"inf": "+Inf", "-inf": "-Inf"}


def number(value: float) -> str:
    text = repr(float(value))
    if text.endswith(".0"):
        return text[:-2]
    return INFINITIES[text] if text.endswith("f") else text


class Series:
    """A series' family, the beginning of its line, and the line as it was last written."""

    __slots__ = ("family", "line", "start", "value")

    def __init__(self, family: str, start: str) -> None:
        self.family, self.start, self.line = family, start, ""
        # Differs from every figure, itself included.
        self.value = float("nan")


class Writer:
    """Turns samples into lines and keeps them: most figures are those of the scrape before."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}

    def write(self, samples: Iterable[Sample], block: Block) -> None:
        """Add the samples to `block`; NaN is left out. Raises `ValueError` for one that its family does not allow."""
        known = self._series
        for name, labels, value in samples:
            found = known.get((name, labels))
            if found is None:
                if len(known) >= MOST_KEPT:
                    known.clear()
                found = known[name, labels] = Series(*beginning(name, labels))
            if value != found.value:
                if value != value:  # noqa: PLR0124 – only NaN is not itself
                    continue
                found.value, found.line = value, f"{found.start}{number(value)}\n"
            lines = block.get(found.family)
            if lines is None:
                lines = block[found.family] = {}
            lines[found.start] = found.line


def beginning(name: str, labels: tuple[str, ...]) -> tuple[str, str]:
    """The family of a sample, and its line as far as the figure. Raises `ValueError`."""
    if name not in SERIES:
        raise ValueError(f"{name}: is no family; see metrics.py")
    family, names = SERIES[name]
    if len(names) != len(labels):
        raise ValueError(f"{name}: has the labels {names}, not {len(labels)} of them")
    pairs = ",".join(f'{label}="{escaped(value)}"' for label, value in zip(names, labels, strict=True))
    return family, f"{name}{{{pairs}}} " if pairs else f"{name} "


def page(blocks: Iterable[Block], is_openmetrics: bool) -> bytes:
    """The whole answer."""
    together: dict[str, list[dict[str, str]]] = {}
    for block in blocks:
        for name, lines in block.items():
            together.setdefault(name, []).append(lines)
    parts = []
    for name, plain, openmetrics in HEADS:
        if found := together.get(name):
            lines = found[0] if len(found) == 1 else {start: line for lines in found for start, line in lines.items()}
            parts.append(openmetrics if is_openmetrics else plain)
            parts += lines.values()
    if is_openmetrics:
        parts.append("# EOF\n")
    # A mount point may have any bytes in its name.
    return "".join(parts).encode("utf-8", "replace")


def gzipped(text: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORM, GZIP_MEMORY_LEVEL)
    return packer.compress(text) + packer.flush()
