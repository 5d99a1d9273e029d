"""The pages, read from the record and the states; one module per one or two pages."""

import re

from livekeep.record.web.pages import boxes, clips, events, functions, jobs, now, reports
from livekeep.record.web.pages.page import Download, NotThereError, Page

__all__ = ["MENU", "PAGES", "Download", "NotThereError", "Page"]

NUMBER = "(?P<number>[0-9]{1,19})"
PAGES: tuple[Page, ...] = (
    Page("Now", re.compile("/"), "now.html", now.collect, "Now", has_picture=True),
    Page("Jobs", re.compile("/jobs"), "jobs.html", jobs.collect, "Jobs", "7d"),
    Page("Session", re.compile(f"/jobs/{NUMBER}"), "session.html", jobs.collect_session, "Jobs", has_charts=True),
    Page("Call", re.compile(f"/calls/{NUMBER}"), "call.html", jobs.collect_call, "Jobs"),
    Page("Functions", re.compile("/functions"), "functions.html", functions.collect, "Functions", "7d", has_charts=True),
    Page("Function", re.compile("/function"), "function.html", functions.collect_one, "Functions", "30d", has_charts=True),
    Page("Compare", re.compile("/compare"), "compare.html", functions.collect_comparison, "Compare", "7d"),
    Page("Events", re.compile("/events"), "events.html", events.collect, "Events"),
    Page("Alerts", re.compile("/alerts"), "alerts.html", events.collect_alerts, "Alerts", "7d"),
    Page("Clips", re.compile("/clips"), "clips.html", clips.collect, "Clips", "7d"),
    Page("Boxes", re.compile("/boxes"), "boxes.html", boxes.collect, "Boxes", has_charts=True),
    Page("Reports", re.compile("/reports"), "reports.html", reports.collect, "Reports", "7d"),
    Page("Report", re.compile("/report"), "", reports.collect_made, "Reports", "7d", is_slow=True),
    Page("Report", re.compile("/reports/(?P<name>[a-zA-Z0-9.-]{1,64})"), "", reports.collect_stored, "Reports"),
)
MENU: tuple[tuple[str, str], ...] = (
    ("Now", "/"),
    ("Jobs", "/jobs"),
    ("Functions", "/functions"),
    ("Compare", "/compare"),
    ("Events", "/events"),
    ("Alerts", "/alerts"),
    ("Clips", "/clips"),
    ("Boxes", "/boxes"),
    ("Reports", "/reports"),
)
