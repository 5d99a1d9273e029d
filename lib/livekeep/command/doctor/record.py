"""The doctor's checks of the record part: does it record, is the record readable, who gets the messages, are the pages served."""

import sqlite3
import time
from collections.abc import Iterator
from urllib.parse import quote

from livekeep.command.doctor.channels import STORES
from livekeep.command.doctor.doctor_base import Result, Surroundings, is_root, summary
from livekeep.core.record_states import AlerterState, RecorderState
from livekeep.status import record_status
from livekeep.status.health import Clock
from livekeep.system.loopback import is_loopback_address

DATABASE = "/var/lib/livekeep/record/record.db"
NOTIFY_CREDENTIAL, PASSWORD_CREDENTIAL = "livekeep.notify", "livekeep.web-password"
WEB = "livekeep-web.socket"
SET_ADDRESS = "sudo livekeep alert set-address"
QUERY_SECONDS = 5.0


def faults_of(status: record_status.RecordStatus, subject: str) -> list[Result]:
    faults = status.faults(Clock(time.time(), time.monotonic()))
    return [Result("fail" if it.is_grave else "warn", it.sentence, it.advice) for it in faults if it.subject == subject]


def check_record(around: Surroundings) -> Result:
    """Whether the record is written and readable."""
    status = record_status.read(around.path("/run/livekeep"))
    faults = faults_of(status, "recorder")
    # A recorder that has just started has not created one yet.
    if not faults or around.path(DATABASE).exists():
        faults += database_faults(around)
    size = f", {status.recorder.database_bytes / 1e6:.1f} MB" if isinstance(status.recorder, RecorderState) else ""
    return summary(faults, f"is written and can be read{size}")


def database_faults(around: Surroundings) -> Iterator[Result]:
    """Raises `PermissionError`."""
    file = around.path(DATABASE)
    if not file.exists():
        yield Result("warn", f"{DATABASE} does not exist yet", "journalctl -u livekeep-recorder -n 20")
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
        advice = "sudo livekeep record check; journalctl -u livekeep-recorder -n 20"
        yield Result("fail", f"{DATABASE} cannot be read ({error})", advice)


def check_alerts(around: Surroundings) -> Result:
    """Whether messages have a recipient, and arrive."""
    if not is_root():
        return Result("skip", "only root can read the addresses", "sudo livekeep doctor")
    status = record_status.read(around.path("/run/livekeep"))
    faults = faults_of(status, "alerter")
    configured = around.config.notify
    # The addresses are not kept. An encrypted credential reveals no names.
    lines = [line.split() for line in around.read(f"{STORES[0]}/{NOTIFY_CREDENTIAL}").splitlines()]
    stored = {words[0] for words in lines if len(words) > 1 and words[0][0] != "#"}
    named = stored | {name for name, channel in configured.items() if channel.address or channel.file}
    receivers = named - {name for name, channel in configured.items() if not channel.enabled}
    if not receivers:
        faults.append(Result("warn", "messages have no recipient: no channel has an address", f"{SET_ADDRESS} me"))
    for name, channel in configured.items():
        if channel.enabled and name not in receivers:
            faults.append(Result("warn", f"notify.{name}: has no address", f"{SET_ADDRESS} {name}"))
    count = len(status.alerter.open) if isinstance(status.alerter, AlerterState) else 0
    return summary(faults, f"{count} open; messages go to {', '.join(sorted(receivers))}")


def check_pages(around: Surroundings) -> Result:
    """Whether the socket listens, and has a password if it is open to the network."""
    web = around.config.web
    has_password = not is_root() or any((around.path(store) / PASSWORD_CREDENTIAL).exists() for store in STORES)
    if not is_loopback_address(web.address) and not has_password:
        finding = f"web.address is {web.address}, but no password is set: nobody can log in"
        return Result("fail", finding, "sudo livekeep set-web-password")
    socket = around.units(WEB)[0]
    if not socket.is_active():
        return Result("fail", f"{WEB} does not listen ({socket.active})", f"sudo systemctl start {WEB}; systemctl status {WEB}")
    host = f"[{web.address}]" if ":" in web.address else web.address
    return Result("ok", f"http://{host}:{web.port} answers")
