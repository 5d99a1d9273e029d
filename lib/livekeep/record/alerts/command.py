"""livekeep alert: open alerts and their deliveries, channel tests, silences, and addresses.

Reads the alerter's database. Changes go through the spool, because only the alerter writes to the database. Addresses go to the
credential livekeep.notify, which systemd passes to the alerter only.
"""

import argparse
import contextlib
import getpass
import json
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from livekeep.core import config, files, paths
from livekeep.core.checks import NAME
from livekeep.core.config import Config
from livekeep.core.errors import LivekeepError, not_permitted
from livekeep.core.text import shown
from livekeep.record.alerts import channels, notify, spool, store
from livekeep.record.alerts.message import moment
from livekeep.record.alerts.rules import fits
from livekeep.record.figures import duration
from livekeep.record.store import schema
from livekeep.system import systemctl, terminal
from livekeep.system.terminal import say

UNIT = "livekeep-alerter.service"
CREDENTIAL_FILE = paths.CREDENTIAL_STORE / channels.CREDENTIAL
TEST_SECONDS = 120.0
DAYS = 7
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DEFAULT_CHANNEL = "me"
LARGEST_BYTES = 64 * 1024
LONGEST_SILENCE_SECONDS = 366 * 86400.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run an action; return its exit code."""
    arguments = parser().parse_args(argv)
    return terminal.exit_code(lambda: int(arguments.run(arguments)))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="livekeep alert", description="Alerts of this box.", allow_abbrev=False)
    actions = whole.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str, run: Any) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        action.set_defaults(run=run)
        return action

    listing = add("list", "the open alerts, the rules and the channels", list_alerts)
    listing.add_argument(
        "--all", action="store_true", help=f"also what is over, and what was sent to whom, of the last {DAYS} days"
    )
    listing.add_argument("--json", action="store_true", help="print it for programs")
    showing = add("show", "the newest alerts of a rule, with the content of their messages", show)
    showing.add_argument("rule", metavar="RULE", help="the rule's name, or a pattern")
    showing.add_argument("--json", action="store_true", help="print it for programs")
    test = add("test", "send a test message to a channel, and show the result", send_test)
    test.add_argument("channel", metavar="NAME", help="the channel's name, as in [notify.NAME]")
    silencing = add("silence", "send no messages of a rule for a while", silence)
    silencing.add_argument("rule", metavar="RULE", help="the rule's name, or a pattern")
    silencing.add_argument(
        "--for", dest="seconds", metavar="TIME", type=seconds, default=2 * 3600.0, help="such as 30m, 2h, 3d (default: 2h)"
    )
    silencing.add_argument("--subject", metavar="PATTERN", default="*", help="only of this function, session, unit or channel")
    silencing.add_argument("--end", action="store_true", help="end such a silence now")
    address = add("set-address", "store a channel's address where only the alerter gets it", set_address)
    address.add_argument(
        "channel", nargs="?", metavar="NAME", default=DEFAULT_CHANNEL, help=f"the channel's name (default: {DEFAULT_CHANNEL})"
    )
    address.add_argument(
        "file", nargs="?", metavar="FILE", help="the file that holds the address; else it is asked for, or read from a pipe"
    )
    return whole


def seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text)
    if not match or not 0 < float(match[1]) * UNITS[match[2]] <= LONGEST_SILENCE_SECONDS:
        raise argparse.ArgumentTypeError(f"must be such as 30m, 2h or 3d, and a year at most, is {shown(text)}")
    return float(match[1]) * UNITS[match[2]]


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the alerter's database. Raises `LivekeepError` when it cannot be read."""
    file = store.FILE
    try:
        # SQLite does not say why it cannot open a file.
        with file.open("rb"):
            pass
        with contextlib.closing(schema.open_read_only(file)) as connection:
            yield connection
    except FileNotFoundError as error:
        raise LivekeepError(f"{file}: does not exist yet; see systemctl status livekeep-alerter") from error
    except PermissionError as error:
        raise not_permitted(error) from error
    except sqlite3.Error as error:
        raise LivekeepError(f"{file}: cannot be read ({error})") from error


# list and show


def list_alerts(arguments: argparse.Namespace) -> int:
    """Exit code 0 when no alert is open, else 1."""
    now = time.time()
    settings, _problems = config.load_leniently()
    rules = {name: rule.kind for name, rule in settings.alerts.items() if rule.enabled}
    with database() as connection:
        opened = [dict(row) for row in store.open_alerts(connection)]
        silences = [dict(row) for row in store.silences(connection, now)]
        begin = now - DAYS * 86400 if arguments.all else now
        past = [dict(row) for row in store.alerts_since(connection, begin) if row["over_at"] is not None]
        deliveries = [dict(row) for row in store.deliveries_since(connection, begin)]
        known = channel_rows(connection, settings)
    if arguments.json:
        document = {"open": opened, "silences": silences, "channels": known, "rules": rules}
        document |= {"past": past, "deliveries": deliveries} if arguments.all else {}
        print(terminal.json_text(document))
        return 1 if opened else 0
    for row in opened:
        say(f"{row['severity']}: {row['sentence']}")
        say(f"    rule {row['rule']}, since {moment(row['since'])} ({duration(now - row['since'])})")
        if row["advice"]:
            say(f"    {row['advice']}")
    if not opened:
        say("No alert is open.")
    for row in silences:
        say(f"Silenced: {row['rule']}{about(row['subject'])} until {moment(row['until'])}")
    say()
    for channel in known:
        said = f"; the last failure: {channel['reason']}" if channel["waiting"] and channel["reason"] else ""
        say(f"Channel {channel['name']}: {channel['delivered']} delivered, {channel['waiting']} waiting{said}")
    if not known:
        say("No channel receives messages. Add an address: sudo livekeep alert set-address")
    say(f"Rules: {', '.join(sorted(rules))}")
    if arguments.all:
        list_past(past, deliveries)
    return 1 if opened else 0


def list_past(past: Sequence[dict[str, Any]], deliveries: Sequence[dict[str, Any]]) -> None:
    say()
    for row in past:
        times = f", {row['count']} times" if row["count"] > 1 else ""
        say(f"{moment(row['began_at'])}  {row['rule']}: {row['sentence']} ({duration(row['over_at'] - row['since'])}{times})")
    say()
    for row in deliveries:
        reason = f": {row['reason']}" if row["reason"] else ""
        tries = f"{row['state']} after {row['attempts']} attempts{reason}"
        say(f"{moment(row['created_at'])}  {row['channel']}: {tries}: {row['title']}")


def about(subject: str) -> str:
    return "" if subject in ("", "*") else f" ({subject})"


def channel_rows(connection: sqlite3.Connection, settings: Config) -> list[dict[str, Any]]:
    """The status of each channel: those in the configuration, and those that have received messages."""
    rows = connection.execute(
        "SELECT channel AS name, sum(state = 'delivered') AS delivered, sum(state IN ('waiting', 'held')) AS waiting, "
        "max(CASE WHEN state = 'waiting' THEN reason ELSE '' END) AS reason FROM deliveries GROUP BY channel ORDER BY channel"
    ).fetchall()
    by_name = {row["name"]: dict(row) for row in rows}
    secret: dict[str, str] = {}
    # Readable by root only; others see the channels that have received messages.
    with contextlib.suppress(OSError):
        secret, _problems = channels.addresses(files.read(CREDENTIAL_FILE, LARGEST_BYTES).decode(errors="replace"))
    blank = {"delivered": 0, "waiting": 0, "reason": ""}
    by_name |= {name: {"name": name, **blank} for name in {*secret, *settings.notify} if name not in by_name}
    return [by_name[name] for name in sorted(by_name)]


def show(arguments: argparse.Namespace) -> int:
    with database() as connection:
        rows = [dict(row) for row in store.alerts_since(connection, 0.0, 5, arguments.rule)]
        messages = connection.execute(
            "SELECT * FROM messages WHERE rule GLOB ? ORDER BY id DESC LIMIT 5", [arguments.rule]
        ).fetchall()
    if arguments.json:
        print(terminal.json_text({"alerts": rows, "messages": [dict(row) for row in messages]}))
        return 0
    if not rows:
        check_rule(arguments.rule)
        say("No alert of this rule yet.")
    for row in rows:
        end = f"over {moment(row['over_at'])}" if row["over_at"] is not None else "open"
        say(f"{row['rule']}{about(row['subject'])}, {row['severity']}, since {moment(row['since'])}, {end}")
        say(f"    {row['sentence']}")
        for line in [*row["why"].splitlines(), *row["log"].splitlines()]:
            say(f"        {line}")
        if row["advice"]:
            say(f"    {row['advice']}")
    return 0


# test and silence


def send_test(arguments: argparse.Namespace) -> int:
    """Exit code 0 when the channel accepted the test."""
    token = notify.drop(json.dumps({"channel": arguments.channel}).encode(), spool.TEST, notify.SPOOL)
    end = time.monotonic() + TEST_SECONDS
    while time.monotonic() < end:
        time.sleep(0.2)
        if (notify.SPOOL / f"{token}{spool.TEST}").exists():
            if time.monotonic() > end - TEST_SECONDS + 10:
                raise LivekeepError("livekeep-alerter does not take it; is it running? See systemctl status livekeep-alerter")
            continue
        with database() as connection:
            row = connection.execute(
                "SELECT d.* FROM messages m JOIN deliveries d ON d.message = m.id WHERE m.token = ?", [token]
            ).fetchone()
        if row is None:
            name = shown(arguments.channel)
            raise LivekeepError(f"there is no channel {name}; store its address: sudo livekeep alert set-address {name}")
        if row["state"] == "delivered":
            say(f"{arguments.channel}: the test message was delivered")
            return 0
        if row["reason"]:
            raise LivekeepError(f"{arguments.channel}: {shown(row['reason'])}\nIt waits, and is tried again.")
    raise LivekeepError(f"{arguments.channel}: no answer within {TEST_SECONDS:.0f} s\nIt waits, and is tried again.")


def silence(arguments: argparse.Namespace) -> int:
    until = 0.0 if arguments.end else time.time() + arguments.seconds
    check_rule(arguments.rule)
    # In a test the spool's owner is not root.
    owner = notify.SPOOL.stat().st_uid if notify.SPOOL.exists() else 0
    if os.geteuid() not in (0, owner):
        raise LivekeepError("only root may silence alerts; run this with sudo")
    document = {"rule": arguments.rule, "subject": arguments.subject, "until": until}
    notify.drop(json.dumps(document).encode(), spool.SILENCE, notify.SPOOL)
    what = f"{arguments.rule}{about(arguments.subject)}"
    say(f"{what}: no longer silenced" if arguments.end else f"{what}: no messages until {moment(until)}")
    return 0


def check_rule(pattern: str) -> None:
    """Raises `LivekeepError` when no enabled rule matches."""
    names = [name for name, rule in config.load_leniently()[0].alerts.items() if rule.enabled]
    if not any(fits(pattern, name) for name in names):
        raise LivekeepError(f"there is no rule {shown(pattern)}; there are {', '.join(names)}")


# set-address


def set_address(arguments: argparse.Namespace) -> int:
    name = arguments.channel
    if not NAME.fullmatch(name):
        raise LivekeepError(f"{shown(name)}: a channel is named with small letters, digits, - and _, 32 at most")
    address = read_address(arguments.file)
    try:
        before = files.read(CREDENTIAL_FILE, LARGEST_BYTES).decode() if CREDENTIAL_FILE.exists() else ""
    except (OSError, ValueError) as error:
        raise LivekeepError(f"{CREDENTIAL_FILE}: cannot be read ({error}); run this with sudo") from error
    known, _problems = channels.addresses(before)
    known[name] = address
    content = "".join(f"{channel} {stored}\n" for channel, stored in sorted(known.items()))
    try:
        CREDENTIAL_FILE.parent.mkdir(mode=0o700, exist_ok=True)
        files.replace(CREDENTIAL_FILE, content.encode(), 0o600, (0, 0) if os.geteuid() == 0 else (-1, -1))
    except OSError as error:
        raise LivekeepError(f"{CREDENTIAL_FILE}: cannot be written ({error.strerror}); run this with sudo") from error
    say(f"{CREDENTIAL_FILE}: the address of {name} is stored")
    try:
        # systemd reads a credential only when the unit starts.
        systemctl.tell("try-restart", UNIT)
    except LivekeepError as error:
        say(f"{error}; the alerter takes the address at its next start.")
    say(f"Try it: sudo livekeep alert test {name}")
    return 0


def read_address(file: str | None) -> str:
    """Read it from a file, a prompt or a pipe, and check it. Raises `LivekeepError`, whose text never contains the address."""
    try:
        if file not in (None, "-"):
            text = files.read(Path(str(file)).absolute(), LARGEST_BYTES).decode()
        elif file is None and sys.stdin.isatty():
            text = getpass.getpass("Address, such as mailtos://USER:PASSWORD@gmail.com?to=me@example.org (it is not shown): ")
        else:
            text = sys.stdin.buffer.read(LARGEST_BYTES).decode()
    except OSError as error:
        raise LivekeepError(f"{file}: cannot be read ({error.strerror})") from error
    except (EOFError, UnicodeDecodeError):
        text = ""
    address = text.strip()
    if not address:
        raise LivekeepError("this is not an address; nothing was changed")
    if len(address.split()) != 1 or not address.isprintable():
        raise LivekeepError("an address is one line without blanks; write %20 for a blank in it. Nothing was changed")
    try:
        import apprise  # noqa: PLC0415 – it takes long
    except ImportError as error:
        raise LivekeepError("apprise is missing: apt-get install apprise") from error
    if apprise.Apprise.instantiate(address, suppress_exceptions=True) is None:
        advice = "see docs/how-to/alerting.md, and write signs such as @ and / within a password as %40 and %2F"
        raise LivekeepError(f"apprise cannot use this address; {advice}. Nothing was changed")
    return address
