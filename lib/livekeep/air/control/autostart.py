"""livekeep-air: at boot, puts the intended channels on air again.

Unit: livekeep-air.service, once at boot, as user livekeep-controller. Reads: the configuration, the API's channels and the
intentions (core/channels.py). Requests systemd to start one worker for each, without waiting for the result.
"""

import sys

from livekeep.core import channels, config
from livekeep.system import systemd
from livekeep.system.dbus import Bus, BusError, CallError


def start(names: list[str]) -> list[str]:
    """Request systemd to start each channel's worker; one line per failure."""
    try:
        results = Bus().calls([systemd.job("start", channels.worker_unit(name)) for name in names])
    except BusError as error:
        return [f"the channels cannot be started: {error}"]
    failed = [(name, result) for name, result in zip(names, results, strict=True) if isinstance(result, CallError)]
    return [f'channel "{name}": cannot be started: {error}' for name, error in failed]


def main() -> int:
    """1 when systemd can't be reached: systemd then retries the unit."""
    settings, problems = config.load_leniently()
    configured, more = channels.load(settings)
    intended = channels.intended()
    names = [name for name in intended if name in configured]
    unknown = [
        f'channel "{name}" is meant to be on air, but it is not configured; to forget it: livekeep air stop {name}'
        for name in intended
        if name not in configured
    ]
    faults = start(names) if names else []
    for line in (*problems, *more, *unknown):
        print(f"<4>{line}", file=sys.stderr)
    for line in faults:
        print(f"<3>{line}", file=sys.stderr)
    for name in names if not faults else []:
        print(f'<6>channel "{name}" is started: it was meant to be on air', file=sys.stderr)
    return 1 if faults else 0
