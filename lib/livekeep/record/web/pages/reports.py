"""Reports: those made by the timers, and one made on request from the address."""

from collections.abc import Mapping
from typing import Any, cast

from livekeep.core.errors import TemporaryError
from livekeep.record import reports
from livekeep.record.reading import NoRecordError
from livekeep.record.reports import files
from livekeep.record.store import queries
from livekeep.record.web.address import METRICS, View
from livekeep.record.web.pages.page import Download, NotThereError
from livekeep.record.web.sources import Sources

MOST_NAMES = 1000


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    content: dict[str, Any] = {"formats": reports.FORMATS, "metrics": METRICS, "stored": (), "problem": ""}
    content |= {"function_names": (), "kinds": (), "machines": ()}
    try:
        content["stored"] = files.stored()
    except TemporaryError as error:
        content["problem"] = str(error)
    try:
        connection = sources.connection()
    except NoRecordError:
        return content
    return content | {
        "function_names": queries.function_names(connection)[:MOST_NAMES],
        "kinds": queries.kinds(connection),
        "machines": queries.machines(connection),
    }


def collect_made(sources: Sources, view: View) -> Download:
    """A report on the view's range, made now; the browser shows it, except CSV and JSON."""
    name = view.get("format") or "html"
    if name not in reports.FORMATS:
        raise NotThereError(f"A report has no format “{name}”")
    format_ = cast(reports.Format, name)
    try:
        content = reports.make(view.filter, format_, view.get("metric"), sources.connection())
    except ValueError as error:
        raise NotThereError(f"No such report: {error}") from error
    is_data = format_ in ("csv", "json")
    return Download(content, reports.TYPES[format_], f"livekeep-report{reports.SUFFIXES[format_]}" if is_data else "")


def collect_stored(sources: Sources, view: View, name: str) -> Download:
    try:
        content = files.content(name)
    except (ValueError, OSError) as error:
        raise NotThereError(f"There is no report {name}") from error
    format_ = next(format_ for format_, suffix in reports.SUFFIXES.items() if name.endswith(suffix))
    return Download(content, reports.TYPES[format_])
