"""Events: changes. Each is one structured journal entry with a MESSAGE_ID, LIVEKEEP_* fields and a sentence for people.

etc/livekeep.catalog has a text for each, which `journalctl -x` shows; a test compares the two.
"""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from livekeep.core.text import shown


@dataclass(frozen=True)
class Event:
    """A kind of event: its journal MESSAGE_ID, syslog priority, writer, and the LIVEKEEP_* fields that it carries."""

    name: str
    message_id: str
    priority: int
    writer: str
    fields: tuple[str, ...]


STREAM_STATE_CHANGED = Event(
    "stream-state-changed", "f1cc95e621214af9ae42ca6c43e7bbdc", 6, "livekeep-poller", ("STREAM", "STATE", "CAUSE", "PREVIOUS")
)
STREAM_REFUSED = Event(
    "stream-refused", "f1a0044866724f98b666c498179f3ebc", 3, "livekeep-poller", ("STREAM", "STATE", "CAUSE", "PREVIOUS")
)
TOKEN_REFUSED = Event("token-refused", "96982447081945818d8dc2d9e5fe2005", 3, "livekeep-poller", ("SCOPE",))
PICTURE_CHANGED = Event(
    "picture-changed", "9e1b1d7b01a747819e8e37627fd13eea", 6, "livekeep-player", ("PICTURE", "PREVIOUS", "REASON")
)
STREAM_STALLED = Event("stream-stalled", "9bd42597607142dfa51d88dd2230491d", 4, "livekeep-player", ("POSITION", "SECONDS"))
STREAM_START_FAILED = Event("stream-start-failed", "bf8dfc7e26654d259f16398508f2e8d8", 4, "livekeep-player", ("ATTEMPT",))
DISPLAY_HUNG = Event("display-hung", "5c6eb8e0c3584fddb6e7d40d5e9c00af", 3, "livekeep-player", ("SECONDS",))
DISPLAY_RECONNECTED = Event("display-reconnected", "eb72263f741e447bb8cf9443080425ee", 5, "livekeep-player", ("CONNECTOR",))
CARD_TAKEN = Event("card-taken", "028cd628a25d45dcb77e324305e87582", 5, "livekeep-firstboot", ("CONTENT",))
CARD_REFUSED = Event("card-refused", "00323be4231640138361600d45ec5445", 3, "livekeep-firstboot", ("PROBLEM",))
TV_SWITCHED = Event("tv-switched", "81f170071b454e7ba86543fd93fb11ca", 5, "livekeep-tv", ("STATE", "METHOD", "REASON"))
TV_NOT_SWITCHED = Event("tv-not-switched", "c12063714a0043b585a1cf948de6f573", 4, "livekeep-tv", ("STATE", "METHOD", "REASON"))
PROBE_VERDICT_CHANGED = Event(
    "probe-verdict-changed", "4d9e036e34804991ad50f3a7bea0e5c8", 5, "livekeep-probe-*", ("PROBE", "VERDICT", "PREVIOUS")
)
CHANNEL_ON_AIR = Event("channel-on-air", "b97993870f95404d9036b721262f58d7", 5, "livekeep-worker", ("CHANNEL", "INGEST"))
PUBLISHING_FAILED = Event(
    "publishing-failed",
    "569f86d568cf4abf9227f7bf2483b11b",
    4,
    "livekeep-worker",
    ("CHANNEL", "ERROR_TYPE", "RETRY_COUNT", "WILL_RETRY", "SECONDS"),
)
CHANNEL_GIVEN_UP = Event(
    "channel-given-up", "5886b49e4d72424ebfbdb14522a233e5", 3, "livekeep-worker", ("CHANNEL", "ERROR_TYPE", "RETRY_COUNT")
)
ITEM_FAILED = Event(
    "item-failed",
    "10ba09ce8e2c4f09abbdbc03e3bac304",
    4,
    "livekeep-worker",
    ("CHANNEL", "ITEM", "ERROR_TYPE", "SECONDS", "DURATION"),
)
ITEM_PLAYED = Event(
    "item-played", "8fb34451d8964d10a649d1ea6884d6bf", 6, "livekeep-worker", ("CHANNEL", "ITEM", "OUTCOME", "SECONDS", "MODE")
)
SLATE_FAULTY = Event("slate-faulty", "33731fd13d994718918aa20b8be4abef", 4, "livekeep-worker", ("CHANNEL", "REASON"))
SLATE_SHOWN = Event("slate-shown", "56e8910a1008404ebaf5a88c94450394", 4, "livekeep-worker", ("CHANNEL", "REASON"))
SLATE_LEFT = Event("slate-left", "6133a00d5f024295b9abb7ae52ae99a0", 5, "livekeep-worker", ("CHANNEL", "SECONDS"))
STORAGE_FAILED = Event("storage-failed", "cc80b4a9966b463099460e30b3e11118", 4, "livekeep-worker", ("CHANNEL", "ERROR_TYPE"))
STORAGE_BACK = Event("storage-back", "1ad19754bfcd4a3c9b2eac1fb3daefdb", 5, "livekeep-worker", ("CHANNEL", "SECONDS"))
WORKER_ENDED = Event(
    "worker-ended",
    "427d9a69614c4d8daa33a07d1f503827",
    4,
    "livekeep-worker-ended",
    ("CHANNEL", "WORKER_PID", "RESULT", "EXIT_CODE", "EXIT_STATUS"),
)
SESSION_BEGAN = Event("session-began", "7d4d91a30c484affbb10a6d3fb24d846", 6, "jobs", ("SESSION", "NAME", "TOTAL"))
SESSION_ENDED = Event(
    "session-ended",
    "1c43bf4d97094dcbba6bc9a6b7ef8a3f",
    5,
    "jobs",
    ("SESSION", "NAME", "OUTCOME", "SECONDS", "DONE", "TOTAL", "ERROR"),
)
STEP_ENDED = Event(
    "step-ended",
    "6f679e9862ba4094930c40bf42de9000",
    6,
    "jobs",
    ("SESSION", "NAME", "OUTCOME", "SECONDS", "DONE", "TOTAL", "ERROR"),
)
CALL_FAILED = Event(
    "call-failed",
    "9cc41fec5c7c4fbaa89f7f74243ab48d",
    4,
    "jobs",
    ("FUNCTION", "KIND", "ERROR_TYPE", "ERROR", "SECONDS", "SESSION"),
)
CALL_SLOW = Event(
    "call-slow", "d573f587ffb24af3a6d80edb2aa6dffd", 4, "jobs", ("FUNCTION", "KIND", "SECONDS", "THRESHOLD", "SESSION")
)
CALLS_RECORDED = Event("calls-recorded", "c0a8bba309c04caab9deb9fca9678a50", 7, "jobs", ("COUNT", "RECORDS"))
SESSION_LOST = Event("session-lost", "bb3dd4aa461f4483a4228d0544f631c9", 4, "livekeep-recorder", ("SESSION", "NAME", "UNIT"))
RECORD_SET_ASIDE = Event("record-set-aside", "378d53c83a874a768d20249928d1a73d", 3, "livekeep-recorder", ("FILE", "REASON"))
RECORD_KEEPS_LESS = Event(
    "record-keeps-less", "d7c53cff48f54606b276eb5fd11efd7e", 4, "livekeep-recorder", ("DAYS", "FREE_PERCENT")
)
CLIPS_FAILED = Event("clips-failed", "bf7023cc9a204347a4977a941f0b6eaa", 4, "livekeep-clips", ("SOURCE", "REASON"))
CLIP_TAKES_OFF = Event(
    "clip-takes-off",
    "86c4067ae44b4ea0b7fafa4190cfa2d9",
    5,
    "livekeep-clips",
    ("CLIP", "NAME", "SOURCE", "SCORE", "REASON", "LINK"),
)
ALERT_BEGAN = Event("alert-began", "39e556635c3e466db2460514dca41af6", 4, "livekeep-alerter", ("RULE", "SUBJECT", "SEVERITY"))
ALERT_OVER = Event(
    "alert-over", "d3ed259132824862817f42a71bbeb55a", 5, "livekeep-alerter", ("RULE", "SUBJECT", "SEVERITY", "SECONDS")
)
DELIVERY_FAILED = Event(
    "delivery-failed", "756afacf823b4827b5a09b39b859fa72", 4, "livekeep-alerter", ("CHANNEL", "ATTEMPT", "REASON", "SECONDS")
)
WEB_LOGIN_REFUSED = Event(
    "web-login-refused", "f006dd9a382f4fd88965e4f198bae428", 4, "livekeep-web", ("ADDRESS", "ATTEMPT", "SECONDS")
)
CONFIG_REJECTED = Event("config-rejected", "e9e9e47bbe444915b1bef39f010cf9a0", 3, "any", ("PROBLEMS",))

ALL = tuple(entry for entry in tuple(globals().values()) if isinstance(entry, Event))


def emit(event: Event, sentence: str, **fields: object) -> None:
    """Write `event` to the journal. `fields` are the event's fields, each sent as LIVEKEEP_NAME; they contain no secret.

    Each is one line (core/text.py). If the journal doesn't accept the entry (it restarts, or too many files are open), the
    sentence goes to standard error and the program continues.
    """
    if set(fields) != set(event.fields):
        raise ValueError(f"event {event.name} carries {event.fields}, not {tuple(fields)}")
    # Probes start every half minute and rarely have an event.
    from systemd import journal  # noqa: PLC0415

    caller = sys._getframe(1)
    try:
        journal.send(
            shown(sentence),
            # Passed here, because the library would read source files to find it.
            CODE_FILE=caller.f_code.co_filename,
            CODE_LINE=caller.f_lineno,
            CODE_FUNC=caller.f_code.co_name,
            MESSAGE_ID=event.message_id,
            PRIORITY=event.priority,
            SYSLOG_IDENTIFIER=Path(sys.argv[0]).name,
            LIVEKEEP_EVENT=event.name,
            **{f"LIVEKEEP_{name}": shown(str(value)) for name, value in fields.items()},
        )
    except OSError as error:
        # Standard error may go to the same journal.
        with contextlib.suppress(OSError):
            print(f"<{event.priority}>{shown(sentence)} (not in the journal: {error.strerror})", file=sys.stderr, flush=True)
