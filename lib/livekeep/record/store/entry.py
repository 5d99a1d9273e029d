"""Parses a journal entry: its writer, time and content. Any process may have written the content."""

import json
import re
from collections.abc import Mapping
from hashlib import blake2b

from livekeep.core import events
from livekeep.record import wire
from livekeep.record.store import records
from livekeep.record.store.records import integer, text

LONGEST_MESSAGE, LONGEST_FIELD, MOST_FIELDS = 8000, 4000, 64
SUPPRESSED = "a596d6fe7bfa4994828e72309e95d61e"
"""MESSAGE_ID of journald's "Suppressed N messages from UNIT"; this and the next: sd-messages.h."""
UNIT_EVENTS = {
    "d9b373ed55a64feb8242e02dbe79a49c": "unit-failed",
    "98e322203f7a4ed290d09fe03c09fe15": "unit-exited",
    "fe6faa94e7774663a0da52717891d8ef": "unit-out-of-memory",
}
UNIT_FIELDS = ("UNIT", "USER_UNIT", "UNIT_RESULT", "EXIT_CODE", "EXIT_STATUS", "COMMAND", "INVOCATION_ID", "USER_INVOCATION_ID")
WORST_LOG_PRIORITY = 3
"""Priority up to which plain lines of livekeep's units are kept as events "log": errors and worse."""
RECORDER = "livekeep-recorder.service"
CARRIER = events.CALLS_RECORDED.name
"""The event of an entry that carries calls, and is not for people."""
NOT_FIELDS = {wire.EVENT, wire.PROCESS, wire.SEQUENCE, wire.SENT, wire.COUNT, wire.RECORDS}

Entry = Mapping[str, str]
"""Fields of a journal entry, with __REALTIME_TIMESTAMP and, where it has one, __CURSOR."""


def is_own_error(entry: Entry) -> bool:
    """Whether a livekeep unit reports an error in a plain line. Excludes the recorder's own, which would cause more of them."""
    unit = entry.get("_SYSTEMD_UNIT", "")
    return unit.startswith("livekeep-") and unit != RECORDER and priority_of(entry) <= WORST_LOG_PRIORITY


def fields_of(entry: Entry) -> dict[str, str]:
    """An event's LIVEKEEP_* fields, without the prefix."""
    names = [name for name in entry if name.startswith("LIVEKEEP_") and name not in NOT_FIELDS]
    return {name.removeprefix("LIVEKEEP_"): text(entry[name], LONGEST_FIELD) for name in sorted(names)[:MOST_FIELDS]}


def identity_of(entry: Entry) -> bytes:
    """The same for every copy of an entry: its boot, its monotonic time, and the hash of its content."""
    cursor = dict(part.partition("=")[::2] for part in entry.get("__CURSOR", "").split(";"))
    if {"b", "m", "x"} <= cursor.keys():
        content = f"{cursor['b']};{cursor['m']};{cursor['x']}"
    else:
        content = json.dumps(sorted((name, str(value)) for name, value in entry.items()))
    return digest(content)


def digest(content: str) -> bytes:
    return blake2b(content.encode(errors="replace"), digest_size=16).digest()


def moment_of(entry: Entry) -> int:
    """When the journal received it, in us since 1970."""
    moment = whole(entry.get("__REALTIME_TIMESTAMP", "0"))
    return min(max(moment, records.EARLIEST), records.LATEST)


def monotonic_of(entry: Entry) -> int | None:
    """us since boot, from the cursor."""
    match = re.search(r"(?:^|;)m=([0-9a-f]{1,13})(?:;|$)", entry.get("__CURSOR", ""))
    return int(match[1], 16) if match else None


def priority_of(entry: Entry) -> int:
    priority = whole(entry.get("PRIORITY", "6"))
    return priority if 0 <= priority <= 7 else 6


def natural(value: str) -> int:
    """Raises `ValueError` unless it is a number of zero or more."""
    number = integer(int(value))
    if number < 0:
        raise ValueError("less than zero")
    return number


def whole(value: str) -> int:
    """A number from journald; -1 if invalid."""
    try:
        return integer(int(value))
    except ValueError:
        return -1
