"""Notification channels: [notify.NAME] of livekeep.toml, and the lines NAME ADDRESS of the credential livekeep.notify."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from livekeep.core.checks import NAME
from livekeep.core.config.record import Alert, Notify
from livekeep.core.text import shown
from livekeep.system import credentials

CREDENTIAL = "livekeep.notify"


@dataclass(frozen=True)
class Channel:
    """A destination for messages. Exactly one of `address` and `file` is set."""

    name: str
    address: str = field(default="", repr=False)
    file: str = ""
    severity: str = "info"
    limit_per_hour: int = 20


def addresses(text: str) -> tuple[dict[str, str], list[str]]:
    """Parse the credential's text: addresses by name, and the errors in its lines. No error contains an address."""
    by_name: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        name, _, address = line.strip().partition(" ")
        if not name:
            continue
        if not NAME.fullmatch(name) or "://" not in address:
            problems.append(
                f"{CREDENTIAL}: line {number} is not a name and an address; run: sudo livekeep alert set-address NAME"
            )
            continue
        by_name[name] = address.strip()
    return by_name, problems


def read_addresses() -> tuple[dict[str, str], list[str]]:
    """Read the addresses that systemd passed to this unit."""
    try:
        return addresses(credentials.read_text(CREDENTIAL))
    except (OSError, ValueError) as error:
        return {}, [f"{CREDENTIAL}: cannot be read ({error}); run: sudo livekeep alert set-address NAME"]


def channels(notify: Mapping[str, Notify], secret: Mapping[str, str]) -> tuple[dict[str, Channel], list[str]]:
    """The enabled channels by name, and the errors in the others."""
    by_name: dict[str, Channel] = {}
    problems = []
    for name in sorted({*notify, *secret}):
        table = notify.get(name, Notify())
        if not table.enabled:
            continue
        channel = Channel(name, table.address, table.file, table.severity, table.limit_per_hour)
        if not channel.file and not channel.address:
            channel = replace(channel, address=secret.get(name, ""))
        if not channel.file and not channel.address:
            problems.append(f"notify.{name}: has neither address nor file; run: sudo livekeep alert set-address {name}")
            continue
        if channel.file and not os.access(Path(channel.file).parent, os.W_OK):
            folder = Path(channel.file).parent
            problems.append(f"notify.{name}.file: livekeep-alerter may not write to {shown(str(folder))}; use /var/log/livekeep")
        by_name[name] = channel
    return by_name, problems


def unknown_names(alerts: Mapping[str, Alert], known: Mapping[str, Channel]) -> list[str]:
    """Errors about unknown channel names in rules. Messages of such a rule go to its known channels, or to all if it has none."""
    return [
        f'alerts.{rule}.notify: there is no channel "{name}"; known are {", ".join(known) or "none"}'
        for rule, alert in alerts.items()
        if alert.enabled
        for name in alert.notify
        if name not in known
    ]
