"""What a page is: its address, its template, and what collects what it shows."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'none'"


class NotThereError(Exception):
    """There is nothing of that name or number: a sentence for people."""


@dataclass(frozen=True)
class Download:
    """A file that is made for the reader, in place of a page."""

    content: bytes
    content_type: str
    name: str = ""
    """Under which it is saved; "" for one that the browser shows."""

    def headers(self) -> dict[str, str]:
        # A report carries its own style; it may load and run nothing.
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return headers | ({"Content-Disposition": f'attachment; filename="{self.name}"'} if self.name else {})


@dataclass(frozen=True)
class Page:
    title: str
    pattern: re.Pattern[str]
    template: str
    collect: Callable[..., Mapping[str, Any] | Download]
    """`collect(sources, view, **what the pattern matched)` gives what the template shows. Raises `NotThereError`."""
    menu: str = ""
    """The menu's entry that it belongs to."""
    default_range: str = "24h"
    has_picture: bool = False
    has_charts: bool = False
    is_slow: bool = False
    """It takes seconds: one at a time, and beside the others."""
