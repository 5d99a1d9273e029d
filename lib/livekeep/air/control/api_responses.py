"""The JSON documents of a channel: its status, its items, its configuration.

Part of livekeep-controller. Pure: configuration and observed state go in, documents for the API come out.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livekeep.air.control.systemd import Unit
from livekeep.core import channels
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import Channel, Config
from livekeep.system.systemd import NOT_RUNNING


@dataclass(frozen=True)
class Known:
    """The configuration and its problems."""

    settings: Config
    channels: Mapping[str, Channel]
    intended: tuple[str, ...]
    problems: tuple[str, ...]

    def configured_by(self, name: str) -> str | None:
        if name in self.settings.channels:
            return "livekeep.toml"
        return "api" if name in self.channels else None

    def problems_of(self, name: str) -> list[str]:
        """The problems that name this channel or its file."""
        named = re.compile(rf"(channels\.|/){re.escape(name)}(?![a-z0-9_-])")
        return [problem for problem in self.problems if named.search(problem)]


@dataclass(frozen=True)
class Snapshot:
    """A channel's observed state at one moment."""

    unit: Unit
    state: ChannelState | None
    end: ChannelEnd | None
    problems: tuple[str, ...]
    now_monotonic: float

    def is_on_air(self) -> bool:
        return bool(self.unit.runs() and self.state and channels.is_on_air(self.state, self.now_monotonic))


def describe(name: str, known: Known, snapshot: Snapshot) -> dict[str, Any]:
    """A channel's status for the API. One that is off on purpose and configured correctly has no problems."""
    problems = [*known.problems_of(name), *snapshot.problems]
    channel, state = known.channels.get(name), snapshot.state
    if channel is None:
        problems.append("it is no longer configured")
    elif not channel.is_set_up():
        problems.append("it is not set up: media and ingest_urls are needed")
    if state:
        if snapshot.now_monotonic - state.written_monotonic > channels.STALE_SECONDS:
            problems.append("its worker is stuck: its state is old")
        problems += [state.slate_problem] if state.slate_problem else []
        problems += [text for text in (state.reason, state.advice, state.storage_problem) if text and not snapshot.is_on_air()]
    elif name in known.intended and snapshot.unit.active in NOT_RUNNING:
        problems.append(f"it is meant to be on air and its worker does not run{why_it_ended(snapshot.unit, snapshot.end)}")
    return {
        "channel": name,
        "configured_by": known.configured_by(name),
        "intended": name in known.intended,
        "on_air": snapshot.is_on_air(),
        "unit": {"name": channels.worker_unit(name), **dataclasses.asdict(snapshot.unit)},
        "state": dataclasses.asdict(state) if state else None,
        "last_end": dataclasses.asdict(snapshot.end) if snapshot.end else None,
        "problems": list(dict.fromkeys(problems)),
    }


def why_it_ended(unit: Unit, end: ChannelEnd | None) -> str:
    """How the worker ended, as the end of a sentence; "" if unknown."""
    status = str(unit.exit_status) if unit.exit_status is not None else (end.exit_status if end else "")
    result = unit.result if unit.result not in ("", "success") else (end.result if end else "")
    if result in ("", "success"):
        return ""
    known = channels.EXIT_MEANINGS.get(status) if result == "exit-code" else None
    return f": {known or f'it ended with {result} {status}'.rstrip()}"


def items_of(name: str, state: ChannelState | None) -> dict[str, Any]:
    if state is None:
        return {"channel": name, "running": False, "picture": None, "now": None, "next": None, "last": []}
    values = dataclasses.asdict(state)
    return {"channel": name, "running": True} | {key: values[key] for key in ("picture", "now", "next", "last")}


def masked(channel: Channel) -> dict[str, Any]:
    """A channel's keys for a response: ingest URLs are cut after the application, because a stream key may follow."""
    document = channels.as_document(channel)
    document["ingest_urls"] = []
    for url in channel.ingest_urls:
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        application, more, _ = re.split(r"[?#]", path, maxsplit=1)[0].partition("/")
        is_cut = more or "?" in url or "#" in url
        document["ingest_urls"].append(f"{scheme}://{host}{slash}{application}{'/…' if is_cut else ''}")
    return document
