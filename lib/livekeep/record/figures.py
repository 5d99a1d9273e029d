"""Formats values for people: durations, counts, shares, sizes. Pages, reports, messages and tables share one format each."""

import time

from livekeep.core.text import local_time

UNKNOWN = "–"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def duration(seconds: float | None) -> str:
    """Three significant digits: "740 µs", "1.24 s", "12 min 05 s", "2 h 03 min", "3 d 04 h"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0:
        return f"-{duration(-seconds)}"
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        # 999.6 ms is 1 s, not 1000 ms.
        if seconds < (999.5 * size if size < 1 else 59.95):
            return f"{three(seconds / size)} {unit}" if seconds else "0 s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / MINUTE)
    if minutes < DAY / MINUTE:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / HOUR)
    return f"{hours // 24} d {hours % 24:02} h"


def three(value: float) -> str:
    """Three significant digits: "1.50", "12.3", "740"."""
    places = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{places}f}"


def digits(value: float) -> str:
    """The same without trailing zeros after the point: "0", "1.5", "12.3", "740"."""
    text = three(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: float | None) -> str:
    """ "12,034"; at most one digit after the point."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.1f}"


def percent(share: float | None) -> str:
    """Of a share of 1. Only zero is "0 %", and only one is "100 %"."""
    if share is None:
        return UNKNOWN
    value = share * 100
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{digits(round(value, 1))} %"


def change(share: float | None) -> str:
    """The relative change: "+31 %", "-8 %", "0 %", "×3.1" from a factor of three on, "" when unknown."""
    if share is None:
        return ""
    if share >= 2:
        return f"×{digits(share + 1)}" if share < 998.5 else "> ×999"
    return f"{share * 100:+.0f} %" if abs(share) >= 0.005 else "0 %"


def size(count_bytes: float | None) -> str:
    """In binary units as systemd formats them: "12.3 MiB"."""
    if count_bytes is None:
        return UNKNOWN
    value = abs(count_bytes)
    sign = "-" if count_bytes < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1023.5:
            return f"{sign}{digits(value)} {unit}"
        value /= 1024
    return f"{sign}{digits(value)} TiB"


def moment(seconds: float | None) -> str:
    """In the machine's time zone: "2026-11-28 14:03"."""
    return UNKNOWN if seconds is None else time.strftime("%Y-%m-%d %H:%M", local_time(seconds))


def plural(value: float, word: str, many: str = "") -> str:
    """ "1 job", "12 jobs"."""
    return f"{count(value)} {word if value == 1 else many or word + 's'}"


def iso(seconds: float) -> str:
    """For programs: local time with its UTC offset, "2026-11-28T14:03:07+01:00"."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", local_time(seconds))
    return f"{text[:-2]}:{text[-2:]}"
