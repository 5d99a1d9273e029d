"""In CI and as root nothing may be skipped: a check that does not run checks nothing. And Ctrl-C works everywhere."""

from __future__ import annotations

import os
import signal

import pytest

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def must_not_skip() -> bool:
    return os.environ.get("CI") == "true" or os.geteuid() == 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if must_not_skip() and reporter and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped")
    if must_not_skip() and skipped:
        terminalreporter.section("skipped tests count as failures here", red=True)
        for report in skipped:
            terminalreporter.write_line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")
