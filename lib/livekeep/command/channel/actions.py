"""Dispatches `livekeep air ACTION`: selects the channel and the action's module.

Reads the configuration and the channels' states (core/channels.py). An action's module is loaded when it is called.
"""

import argparse
import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from livekeep.core import channels, config
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError, not_permitted

ACTIONS = {
    "start": ("channel.channel_control", "start"),
    "stop": ("channel.channel_control", "stop"),
    "restart": ("channel.channel_control", "restart"),
    "skip": ("channel.channel_control", "skip"),
    "status": ("channel.channel_status", "status"),
    "check": ("channel.item_check", "check"),
    "measure": ("channel.measure", "measure"),
    "set-key": ("secrets.air_keys", "set_key"),
    "bind-key": ("secrets.air_keys", "bind_key"),
    "set-storage-keys": ("secrets.air_keys", "set_storage_keys"),
    "set-api-token": ("secrets.air_keys", "set_api_token"),
    "set-youtube-key": ("secrets.air_keys", "set_youtube_key"),
}
"""Name: module, function."""
NONE_THERE = f"no channel is configured; add [channels.main] to {channels.NEW_FILE}"
NOT_INSTALLED = "the air part is not installed: run install.sh --with air"


@dataclass(frozen=True)
class Known:
    """The configured channels by name, problems in their files, and channels that only run or are only meant to be on air."""

    configured: dict[str, Channel]
    problems: tuple[str, ...] = ()
    others: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        return sorted({*self.configured, *self.others})


def run(arguments: argparse.Namespace) -> int:
    module, function = ACTIONS[arguments.action]
    code = getattr(importlib.import_module(f"livekeep.command.{module}"), function)(arguments)
    return int(code)


def known() -> Known:
    """All channels, despite errors in other parts of the configuration. Raises `LivekeepError`."""
    settings, _problems = config.load_leniently()
    configured, problems = channels.load(settings)
    try:
        alive = {*channels.intended(), *channels.running()}
    except PermissionError as error:
        raise not_permitted(error) from error
    return Known(configured, problems, frozenset(alive - set(configured)))


def one_of(names: Iterable[str], name: str | None) -> str:
    """The named channel; without a name, the only one. Raises `LivekeepError`, which lists the channels."""
    there = sorted(names)
    if name is None and len(there) == 1:
        return there[0]
    if name is None:
        raise LivekeepError(f"name the channel: {names_of(there)}" if there else NONE_THERE)
    if name not in there:
        raise LivekeepError(f'there is no channel "{name}"; the configured ones are {names_of(there)}')
    return name


def names_of(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names)) or "none yet"
