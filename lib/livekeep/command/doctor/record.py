"""The doctor's checks of the record part: does it record, is the record readable, who gets the messages, are the pages served."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from livekeep.command.doctor.channels import STORES, Fault, summary
from livekeep.command.doctor.doctor_base import Check, Surroundings, is_root
from livekeep.core.config.record import Notify
from livekeep.core.errors import LivekeepError
from livekeep.core.record_states import AlerterState, RecorderState
from livekeep.status import record_status
from livekeep.status.health import Clock

PROGRAMS = "/usr/lib/livekeep"
DATABASE = "/var/lib/livekeep/record/record.db"
NOTIFY_CREDENTIAL, PASSWORD_CREDENTIAL = "livekeep.notify", "livekeep.web-password"
WEB = "livekeep-web.socket"
NOT_INSTALLED = "the record part is not installed (install.sh --with record)"
LOOPBACK = ("127.0.0.1", "::1")
SET_ADDRESS = "sudo livekeep alert set-address"
QUERY_SECONDS = 5.0


def is_installed(around: Surroundings) -> bool:
    return around.path(f"{PROGRAMS}/livekeep-recorder").exists()


def faults_of(around: Surroundings, subject: str) -> Iterator[Fault]:
    """The faults in its state. Raises `PermissionError`."""
    clock = Clock(time.time(), time.monotonic())
    for fault in record_status.read(around.path("/run/livekeep")).faults(clock):
        if fault.subject == subject:
            yield "fail" if fault.is_grave else "warn", fault.sentence, fault.advice


def check_record(around: Surroundings) -> Check:
    """Whether the record is written and readable."""
    if not is_installed(around):
        return Check("record", "skip", NOT_INSTALLED)
    try:
        faults = [Check("record", *fault) for fault in faults_of(around, "recorder")]
        state = record_status.read(around.path("/run/livekeep")).recorder
        # A recorder that has just started has not created one yet.
        if not faults or around.path(DATABASE).exists():
            faults += [Check("record", *fault) for fault in database_faults(around)]
    except PermissionError:
        return Check("record", "skip", "only root and group livekeep may look", "sudo livekeep doctor")
    size = f", {state.database_bytes / 1e6:.1f} MB" if isinstance(state, RecorderState) else ""
    return summary("record", faults, f"is written and can be read{size}")


def database_faults(around: Surroundings) -> Iterator[Fault]:
    """Raises `PermissionError`."""
    file = around.path(DATABASE)
    if not file.exists():
        yield "warn", f"{DATABASE} is not there yet", "journalctl -u livekeep-recorder -n 20"
        return
    with file.open("rb"):
        pass
    try:
        connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=QUERY_SECONDS)
        try:
            connection.execute("SELECT count(*) FROM machines").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        yield "fail", f"{DATABASE} cannot be read ({error})", "sudo livekeep record check; journalctl -u livekeep-recorder -n 20"


def check_alerts(around: Surroundings) -> Check:
    """Whether messages have a recipient, and arrive."""
    if not is_installed(around):
        return Check("alerts", "skip", NOT_INSTALLED)
    if not is_root():
        return Check("alerts", "skip", "only root may look at the addresses", "sudo livekeep doctor")
    faults = [Check("alerts", *fault) for fault in faults_of(around, "alerter")]
    stored = stored_channels(around)
    channels = channels_with_address(around.config.notify, stored)
    if not channels:
        faults.append(Check("alerts", "warn", "nobody gets a message: no channel has an address", f"{SET_ADDRESS} me"))
    for name, channel in around.config.notify.items():
        if channel.enabled and name not in channels:
            faults.append(Check("alerts", "warn", f"notify.{name}: has no address", f"{SET_ADDRESS} {name}"))
    opened = record_status.read(around.path("/run/livekeep")).alerter
    count = len(opened.open) if isinstance(opened, AlerterState) else 0
    return summary("alerts", faults, f"{count} open; messages go to {', '.join(sorted(channels))}")


def stored_channels(around: Surroundings) -> tuple[str, ...]:
    """The names of the channels whose addresses are in the credential; the addresses are not kept."""
    for store in STORES:
        # An encrypted one reveals no names.
        text = around.read(f"{store}/{NOTIFY_CREDENTIAL}") if "encrypted" not in store else ""
        if names := tuple(words[0] for line in text.splitlines() if len(words := line.split()) > 1 and words[0][0] != "#"):
            return names
    return ()


def channels_with_address(configured: Mapping[str, Notify], stored: tuple[str, ...]) -> set[str]:
    switched_off = {name for name, channel in configured.items() if not channel.enabled}
    named = {name for name, channel in configured.items() if channel.address or channel.file}
    return (named | set(stored)) - switched_off


def check_pages(around: Surroundings) -> Check:
    """Whether the socket listens, and has a password if it is open to the network."""
    title, web = "web page", around.config.web
    if not around.path(f"{PROGRAMS}/livekeep-web").exists():
        return Check(title, "skip", NOT_INSTALLED)
    if web.address not in LOOPBACK and is_root():
        stores = [around.path(store) / PASSWORD_CREDENTIAL for store in STORES]
        if not any(path.exists() for path in stores):
            where = f"web.address is {web.address}"
            return Check(title, "fail", f"{where}, but no password is set: nobody is let in", "sudo livekeep set-web-password")
    try:
        entry = around.units(WEB)[0]
    except LivekeepError as error:
        return Check(title, "skip", str(error))
    if not entry.is_active():
        advice = f"sudo systemctl start {WEB}; systemctl status {WEB}"
        return Check(title, "fail", f"{WEB} does not listen ({entry.active})", advice)
    host = f"[{web.address}]" if ":" in web.address else web.address
    return Check(title, "ok", f"http://{host}:{web.port} answers")
