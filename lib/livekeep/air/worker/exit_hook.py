"""livekeep-worker-ended: records how a channel's worker ended.

ExecStopPost= hook of livekeep-worker@CHANNEL.service, run by systemd as the worker's user in its sandbox. Reads: the environment
(systemd.exec(5): $SERVICE_RESULT, $EXIT_CODE, $EXIT_STATUS), the dead worker's state.json for its process id. Writes: end.json.
Removes state.json, whose presence means that a worker runs. An intended end is not an event.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence

from livekeep.core import channels, events, state
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import CHANNEL_NAME
from livekeep.core.errors import TemporaryError


def end_of(channel: str, pid: int, said: Mapping[str, str], now: float) -> ChannelEnd:
    """How the worker ended, from the environment of its hook."""
    return ChannelEnd(
        channel=channel,
        pid=pid,
        result=said.get("SERVICE_RESULT", ""),
        exit_code=said.get("EXIT_CODE", ""),
        exit_status=said.get("EXIT_STATUS", ""),
        ended_at=now,
    )


def sentence_of(end: ChannelEnd) -> str:
    why = end.meaning() or f"{end.result}: {end.exit_code} {end.exit_status}".rstrip()
    return f"The worker of channel {end.channel} (process {end.pid or 'unknown'}) ended: {why}"


def pid_of(channel: str) -> int:
    """The process that wrote the state; 0 if that can't be read."""
    try:
        return channels.read_state(channel).pid
    except TemporaryError:
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Always 0 for a channel: a failing hook would turn a clean exit into a failure."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1 or not CHANNEL_NAME.fullmatch(arguments[0]):
        print("<3>livekeep-worker-ended CHANNEL: is run by livekeep-worker@CHANNEL.service", file=sys.stderr)
        return 2
    (channel,) = arguments
    end = end_of(channel, pid_of(channel), os.environ, time.time())
    folder = channels.folder_of(channel)
    # First: if /run is full, this frees the space that the other file needs.
    state.remove(ChannelState, folder)
    try:
        state.write(state.stamped(end), folder)
    except TemporaryError as error:
        print(f"<3>{error}", file=sys.stderr)
    if end.result != "success":
        fields = {"RESULT": end.result, "EXIT_CODE": end.exit_code, "EXIT_STATUS": end.exit_status}
        events.emit(events.WORKER_ENDED, sentence_of(end), CHANNEL=channel, WORKER_PID=end.pid, **fields)
    return 0
