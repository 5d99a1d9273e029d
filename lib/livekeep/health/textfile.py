"""livekeep-exporter --textfile PATH: one scrape into a file for node_exporter's textfile collector.

It is replaced as a whole, since node_exporter may read it at any moment.
"""

import contextlib
import os
from pathlib import Path

from livekeep.core.errors import LivekeepError, TemporaryError

SUFFIX = ".prom"
MODE = 0o644


def check(target: Path) -> None:
    """Raises `LivekeepError` for a name that node_exporter would pass over."""
    if target.suffix != SUFFIX:
        raise LivekeepError(
            f"{target}: node_exporter reads files that end in {SUFFIX}; name it {target.stem or 'livekeep'}{SUFFIX}"
        )


def write(target: Path, text: bytes) -> None:
    """Raises `TemporaryError`."""
    # Without the suffix it is not read while it is being written.
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(descriptor, MODE)
        temporary.rename(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        advice = "make its folder first" if isinstance(error, FileNotFoundError) else "who runs this must own the folder"
        raise TemporaryError(f"{target}: cannot be written ({error.strerror}); {advice}") from error
