"""Lines for the journal: standard error, each with systemd's priority prefix `<N>` (sd-daemon(3)); plain on a terminal."""

import logging
import sys

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def set_up(level: str) -> None:
    """Send livekeep's log lines to standard error from `level` ("debug", "info", "warning", "error") up. May be called again."""
    logger = logging.getLogger("livekeep")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter() if sys.stderr.isatty() else JournalFormatter())
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level.upper())
