"""Jinja2 for the pages: filters for values and times, and the fragments of a page with live updates.

Part of livekeep-web. Each block of a page's template that the layout lacks is a fragment: `live("NAME")` inserts it into the
page, and it is sent again when it changes. All texts are escaped, and their control characters are made visible.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from livekeep.core.text import CHARACTER, local_time
from livekeep.core.text import escape as escape_character
from livekeep.record import figures
from livekeep.record.web.address import RANGES, SECOND

TEMPLATES = Path(__file__).with_name("templates")
LAYOUT = "layout.html"
UNKNOWN = "–"
IN_BLOCK = re.compile(rf"(?![\n\t]){CHARACTER.pattern}")


class Renderer:
    """Renders pages. `assets` gives the address of a file of ours; `globals_` are the variables of every page."""

    def __init__(self, **globals_: Any) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            finalize=finalize,
        )
        self.environment.filters |= {
            "seconds": figures.duration,
            "duration": lambda micros: figures.duration(None if micros is None else micros / SECOND),
            "count": figures.count,
            "percent": figures.percent,
            "change": figures.change,
            "size": figures.size,
            "moment": moment,
            "moment_of": lambda seconds: moment(None if seconds is None else int(seconds * SECOND)),
            "day": lambda micros: moment(micros, "day"),
            # A multi-line text, such as a traceback, keeps its line breaks.
            "text": lambda text: Markup("{}").format(IN_BLOCK.sub(escape_character, text)),
            "pair": lambda value: (value, value),
        }
        self.environment.globals |= {"plural": figures.plural, "ranges": RANGES, **globals_}
        self.environment.globals["ui"] = self.environment.get_template("ui.html").module

    def fragments(self, name: str, context: Mapping[str, Any]) -> dict[str, str]:
        """The fragments of a page by name."""
        template = self.environment.get_template(name)
        layout = self.environment.get_template(LAYOUT)
        own = {block: render for block, render in template.blocks.items() if block not in layout.blocks}
        return {block: "".join(render(template.new_context(dict(context)))) for block, render in own.items()}

    def page(self, name: str, context: Mapping[str, Any]) -> str:
        fragments = self.fragments(name, context)

        def live(block: str, is_announced: bool = False) -> Markup:
            attributes = ' aria-live="polite"' if is_announced else ""
            # Both are trusted: the name is a block's, the fragment was rendered with escaping.
            return Markup(f'<div id="{block}" data-live="{stamp(fragments[block])}"{attributes}>{fragments[block]}</div>')  # noqa: S704

        return str(self.environment.get_template(name).render({**context, "live": live}))


def stamp(fragment: str) -> str:
    """Distinguishes versions of a fragment."""
    return hashlib.blake2b(fragment.encode(), digest_size=9).hexdigest()


def finalize(value: Any) -> Any:
    """The output for a value in a template: control characters become escapes, None becomes empty."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return CHARACTER.sub(escape_character, value)
    return value


def moment(micros: int | None, form: str = "") -> Markup | str:
    """A <time> in the machine's zone; scripts convert it to the reader's. `form`: "" with seconds, "day" the date alone."""
    if micros is None:
        return UNKNOWN
    try:
        local = local_time(micros / SECOND)
        shown = time.strftime("%Y-%m-%d" if form == "day" else "%Y-%m-%d %H:%M:%S", local)
        iso = datetime.fromtimestamp(micros / SECOND, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return str(micros)
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(iso, form, shown)
