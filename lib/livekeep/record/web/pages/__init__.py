"""The pages: what each shows, read from the record and from the states; one module a page or two."""

import re

from livekeep.record.web.pages import now
from livekeep.record.web.pages.page import Download, NotThereError, Page

__all__ = ["MENU", "PAGES", "Download", "NotThereError", "Page"]

PAGES: tuple[Page, ...] = (Page("Now", re.compile("/"), "now.html", now.collect, "Now", has_picture=True),)
MENU: tuple[tuple[str, str], ...] = (("Now", "/"),)
