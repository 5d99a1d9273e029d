"""livekeep-air: at boot, what was meant to be on air is put on air again.

Unit: livekeep-air.service, once at boot, as user livekeep-controller. Reads: the configuration, the API's channels and the
intentions (core/channels.py). It asks systemd to start one worker for each, and waits for none: what becomes of them is theirs.
"""

import asyncio
import sys

from livekeep.air.api_answers import unit_of
from livekeep.air.systemd import SystemdError, connected
from livekeep.core import channels, config


def to_start(intended: tuple[str, ...], known: set[str]) -> tuple[list[str], list[str]]:
    """The channels to start, and a complaint for each that is meant to be on air but is not configured."""
    unknown = [name for name in intended if name not in known]
    complaints = [
        f'channel "{name}" is meant to be on air, but there is none of that name; livekeep air stop {name} forgets it'
        for name in unknown
    ]
    return [name for name in intended if name in known], complaints


async def start(names: list[str]) -> list[str]:
    """Ask systemd to start the worker of each; what did not work, one line each."""
    faults = []
    async with connected() as systemd:
        for name in names:
            try:
                await systemd.start(unit_of(name), 0)
            except SystemdError as error:
                faults.append(f'channel "{name}": cannot be started: {error}')
    return faults


def main() -> int:
    """1 when systemd could not be asked: it tries again."""
    settings, problems = config.load_leniently()
    found, more = channels.load(settings)
    names, complaints = to_start(channels.intended(), set(found))
    faults = asyncio.run(start(names)) if names else []
    for line in (*problems, *more, *complaints):
        print(f"<4>{line}", file=sys.stderr)
    for line in faults:
        print(f"<3>{line}", file=sys.stderr)
    for name in names if not faults else []:
        print(f'<6>channel "{name}" is started: it was meant to be on air', file=sys.stderr)
    return 1 if faults else 0
