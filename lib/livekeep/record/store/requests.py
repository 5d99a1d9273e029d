"""Requests to the record's only writer: files in a separate folder.

livekeep-tidy and `livekeep record import` change the record, but must not write it themselves. So they put a file into the
folder, which the recorder watches, and wait until it is gone. A stopped recorder handles the files when it starts.
"""

import os
import shutil
import time
from pathlib import Path

from livekeep.core import files
from livekeep.core.errors import LivekeepError
from livekeep.record.store import schema

FOLDER_NAME = "requests"
TIDY_NAME = "tidy"
IMPORT_SUFFIX = ".jsonl"
POLL_SECONDS = 0.1


def folder_of(file: Path = schema.FILE) -> Path:
    return file.parent / FOLDER_NAME


def request_import(source: Path, file: Path = schema.FILE) -> Path:
    """Pass a file of JSON lines, in the form of LIVEKEEP_EVENTS, to the recorder of the record `file`; return the request.

    The recorder drops known entries, so a file may be imported twice. Raises `OSError`, and `LivekeepError` when there is no
    recorder on this machine.
    """
    folder = folder_of(file)
    if not folder.is_dir():
        raise LivekeepError(f"{folder}: is not there; start the recorder first: sudo systemctl start livekeep-recorder")
    owner = folder.stat()
    target = folder / f"{os.urandom(8).hex()}{IMPORT_SUFFIX}"
    unfinished = folder / f".{target.name}.new"
    try:
        with source.open("rb") as reader, unfinished.open("xb") as writer:
            shutil.copyfileobj(reader, writer)
            os.fchmod(writer.fileno(), 0o600)
            if os.geteuid() == 0:
                os.fchown(writer.fileno(), owner.st_uid, owner.st_gid)
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def request_tidy(file: Path = schema.FILE) -> Path:
    """Have the recorder delete what is too old; return the request. Raises `OSError`."""
    target = folder_of(file) / TIDY_NAME
    files.replace(target, b"", 0o600)
    return target


def wait(request: Path, seconds: float) -> bool:
    """Whether the recorder has completed the request within `seconds`."""
    until = time.monotonic() + seconds
    while request.exists():
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_SECONDS)
    return True
