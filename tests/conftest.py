"""In CI and as root nothing may be skipped: a check that does not run checks nothing. And Ctrl-C works everywhere.

The tests of a module are a group, which one process runs in their order; the groups that take longest begin first.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

ELSEWHERE = {"machine", "vm"}
"""Folders that have groups of their own."""
LONGEST_FIRST = (
    "test_worker", "test_stream", "test_profile", "test_youtube", "test_speedtest", "test_scheduler", "test_player", "test_rules",
    "test_slate", "test_api", "test_mpv", "test_controller", "test_bucket", "test_item_check", "test_publisher", "test_poller",
    "test_poller_url_requests", "test_exporter", "test_item_probe", "test_storage_unit", "test_signed_url_proxy",
    "test_error_screen", "test_holes",
)  # fmt: skip
SHARING_NOTHING = ("test_worker", "test_youtube", "test_speedtest", "test_scheduler")
"""Long modules whose tests are spread, each a group of its own."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into its group, and the groups in their order."""
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    here = [item for item in items if item.path.relative_to(Path(__file__).parent).parts[0] not in ELSEWHERE]
    for item in here:
        if item.path.stem not in SHARING_NOTHING:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    here.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))
    elsewhere = set(items) - set(here)
    items[:] = [*here, *(item for item in items if item in elsewhere)]


def must_not_skip() -> bool:
    return os.environ.get("CI") == "true" or os.geteuid() == 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = bool(must_not_skip() and reporter and reporter.stats.get("skipped"))
    # What tests/run may try once more: nothing unless the failed tests are all that is wrong.
    if reporter and "LIVEKEEP_FAILED" in os.environ:
        failed = reporter.stats.get("failed", []) + reporter.stats.get("error", [])
        # Without the group that pytest-xdist appends.
        names = sorted({re.sub(r"@[\w-]+$", "", report.nodeid) for report in failed})
        is_all = session.exitstatus == pytest.ExitCode.TESTS_FAILED and not skipped
        Path(os.environ["LIVEKEEP_FAILED"]).write_text("".join(f"{name}\n" for name in names if is_all), encoding="utf-8")
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped")
    if must_not_skip() and skipped:
        terminalreporter.section("skipped tests count as failures here", red=True)
        for report in skipped:
            terminalreporter.write_line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")
