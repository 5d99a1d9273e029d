"""Caches what install.sh changes in a root as an overlay layer, so that not every room needs to run it.

The cache has one directory per root, choice of parts and content of the checkout: any change there creates a new one, except of
the tests, which are not installed.
Directories unused for a day are removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

from tests.machine import coverage, root
from tests.machine.machine import Machine
from tests.machine.standin import PROJECT

IGNORED = (".git", "__pycache__", "livekeep-demo", "tests")
KEPT_SECONDS = 86400.0
INSTALL_TIMEOUT_SECONDS = 600.0
_held: list[TextIOWrapper] = []
"""Locks of the layers in use by this process."""


def installed(suite: root.Suite, packages: Sequence[str], options: Sequence[str], files: Mapping[str, str]) -> Path:
    """The directory with the changes by install.sh with these options, on a root with `packages` and `files`.

    Only the files' names count, not their content, which varies (such as ports): every room writes its own. Nothing is started.
    """
    base = root.ready(suite, packages)
    measured = coverage.VARIABLE if coverage.measures(suite) else ""
    words = "\n".join([base.name, *options, *sorted(files), measured, contents(PROJECT)])
    target = root.cache() / f"{suite}-installed-{hashlib.sha256(words.encode()).hexdigest()[:12]}"
    lock = Path(f"{target}.lock").open("a", encoding="utf-8")  # noqa: SIM115 - held for as long as the process lives
    fcntl.flock(lock, fcntl.LOCK_SH)
    while not target.exists():
        # The first process builds it; the others wait here, and find it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _forget_the_old()
            _build(suite, packages, options, files, target)
        fcntl.flock(lock, fcntl.LOCK_SH)
    os.utime(lock.fileno())
    _held.append(lock)
    return target


def contents(folder: Path) -> str:
    """A hash of all files below a folder, including names and modes."""
    digest = hashlib.sha256()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in IGNORED)
        for name in sorted(set(names) - set(IGNORED)):
            path = Path(place, name)
            body = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            digest.update(f"{path.relative_to(folder)}\0{path.lstat().st_mode:o}\0{len(body)}\0".encode())
            digest.update(body)
    return digest.hexdigest()


def _build(suite: root.Suite, packages: Sequence[str], options: Sequence[str], files: Mapping[str, str], target: Path) -> None:
    partial = root.fresh(target)
    with Machine(suite, packages=packages, source=PROJECT, files=files) as machine:
        machine.run(["/src/install.sh", "--yes", "--no-start", *options], timeout=INSTALL_TIMEOUT_SECONDS)
        machine.poweroff()
        machine.keep(partial)
    # The journal belongs to another machine.
    shutil.rmtree(partial / "var/log/journal", ignore_errors=True)
    partial.rename(target)


def _forget_the_old() -> None:
    for path in root.cache().glob("*-installed-*.lock"):
        with path.open("a", encoding="utf-8") as lock, contextlib.suppress(BlockingIOError):
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()
