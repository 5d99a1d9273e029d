"""livekeep-exporter --textfile PATH: one scrape into a file for node_exporter's textfile collector.

It is replaced as a whole, since node_exporter may read it at any moment.
"""

from pathlib import Path

from livekeep.core import files
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
    try:
        # Until it is whole it has another suffix, and is not read.
        files.replace(target, text, MODE, is_durable=False)
    except OSError as error:
        advice = "make its folder first" if isinstance(error, FileNotFoundError) else "who runs this must own the folder"
        raise TemporaryError(f"{target}: cannot be written ({error.strerror}); {advice}") from error
