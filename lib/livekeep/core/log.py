"""Lines for the journal: standard error, each with systemd's priority prefix `<N>` (sd-daemon(3)); plain on a terminal."""

import logging
import sys

from livekeep.core.text import shown

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class LineFormatter(logging.Formatter):
    """Exactly one line for each record, and one for each line of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if sys.stderr.isatty() else f"<{PRIORITIES.get(record.levelno, 6)}>"
        lines = [record.getMessage()]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        return "\n".join(prefix + shown(line) for line in lines)


def set_up(level: str) -> None:
    """Send livekeep's log lines to standard error from `level` ("debug", "info", "warning", "error") up. May be called again."""
    logger = logging.getLogger("livekeep")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter())
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level.upper())
