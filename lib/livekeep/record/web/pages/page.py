"""The definition of a page: its address, its template, and the function that collects its content."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'none'"


class NotThereError(Exception):
    """Nothing has that name or number. The text is a sentence for people."""


@dataclass(frozen=True)
class Download:
    """A generated file in place of a page."""

    content: bytes
    content_type: str
    name: str = ""
    """The name to save it under; "" for one that the browser shows."""

    def headers(self) -> dict[str, str]:
        # A report has its own style; it must not load or run anything.
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return headers | ({"Content-Disposition": f'attachment; filename="{self.name}"'} if self.name else {})


@dataclass(frozen=True)
class Page:
    title: str
    pattern: re.Pattern[str]
    template: str
    collect: Callable[..., Mapping[str, Any] | Download]
    """`collect(sources, view, **values of the pattern)` returns the template's content. Raises `NotThereError`."""
    menu: str = ""
    """The menu entry that it belongs to."""
    default_range: str = "24h"
    has_picture: bool = False
    has_charts: bool = False
    is_slow: bool = False
    """It takes seconds: run one at a time, in parallel to the others."""
