"""livekeep-worker-ended: records how a channel's worker ended.

ExecStopPost= hook of livekeep-worker@CHANNEL.service, run by systemd as the worker's user in its sandbox. Reads: the environment
(systemd.exec(5): $SERVICE_RESULT, $EXIT_CODE, $EXIT_STATUS), the dead worker's state.json for its process id. Writes: end.json.
Removes state.json, whose presence means that a worker runs. An intended end is not an event.
"""

import os
import sys
import time
from collections.abc import Sequence

from livekeep.core import channels, events, state
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import CHANNEL_NAME
from livekeep.core.errors import TemporaryError


def sentence_of(end: ChannelEnd) -> str:
    why = end.meaning() or f"{end.result}: {end.exit_code} {end.exit_status}".rstrip()
    return f"The worker of channel {end.channel} (process {end.pid or 'unknown'}) ended: {why}"


def main(argv: Sequence[str] | None = None) -> int:
    """Always 0 for a channel: a failing hook would turn a clean exit into a failure."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1 or not CHANNEL_NAME.fullmatch(arguments[0]):
        print("<3>livekeep-worker-ended CHANNEL: is run by livekeep-worker@CHANNEL.service", file=sys.stderr)
        return 2
    (channel,) = arguments
    try:
        pid = channels.read_state(channel).pid
    except TemporaryError:
        pid = 0
    result, exit_code, exit_status = (os.environ.get(name, "") for name in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"))
    end = ChannelEnd(channel=channel, pid=pid, result=result, exit_code=exit_code, exit_status=exit_status, ended_at=time.time())
    folder = channels.folder_of(channel)
    # First: if /run is full, this frees the space that the other file needs.
    state.remove(ChannelState, folder)
    try:
        state.write(state.stamped(end), folder)
    except TemporaryError as error:
        print(f"<3>{error}", file=sys.stderr)
    if result != "success":
        fields = {"RESULT": result, "EXIT_CODE": exit_code, "EXIT_STATUS": exit_status}
        events.emit(events.WORKER_ENDED, sentence_of(end), CHANNEL=channel, WORKER_PID=pid, **fields)
    return 0
