"""The errors of livekeep, named by what to do about them.

`ConfigError` needs a person: exit 78 (`EX_CONFIG` of sysexits.h), which systemd does not restart. `TemporaryError` can resolve
itself: it is retried. Any other exception is a bug: it ends the program with a traceback and exit 1.
"""

import sys
from collections.abc import Callable, Sequence

from livekeep.core.text import shown

EXIT_CONFIG = 78


class LivekeepError(Exception):
    """The root. Its text says what is wrong, where, and what to do; it never contains a secret."""

    exit_code = 1


class ConfigError(LivekeepError):
    """The configuration cannot be used. `problems` holds one line for each error, at least one."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class TemporaryError(LivekeepError):
    """Something outside the program fails now; the same call may succeed later."""


class AdvisedError(TemporaryError):
    """One whose text is `problem`, a semicolon, and `advice`, which says what to do: a state holds them apart."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problem, _, self.advice = text.partition("; ")


def not_permitted(error: PermissionError) -> LivekeepError:
    """The error for a file that this user may not read, with what to do."""
    return LivekeepError(
        f"{error.filename}: may be read by root and group livekeep only; run with sudo, "
        "or once: sudo adduser $USER livekeep, and log in again"
    )


def exit_with_sentence(main: Callable[[], int]) -> int:
    """Run `main`; turn a `LivekeepError` into its lines on standard error (priority 3) and its exit code."""
    try:
        return main()
    except LivekeepError as error:
        for line in str(error).split("\n"):
            prefix = "" if sys.stderr.isatty() else "<3>"
            print(f"{prefix}{shown(line)}", file=sys.stderr)
        return error.exit_code
