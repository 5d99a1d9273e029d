"""The feeder of one item: the ffmpeg that turns it into FLV, and its error messages. Runs in livekeep-worker@CHANNEL.

The kernel kills ffmpeg when the thread that started it ends, so the worker's MAIN thread makes the feeders: a thread of a pool
would take its ffmpeg along when the pool ends it. The pipe holds a few seconds of the stream. When it is full, ffmpeg waits: a
feeder made early is ready, and costs nothing until it is read.
A separate thread reads the error messages, because a full pipe of them would block ffmpeg. It also reaps ffmpeg.
"""

import contextlib
import fcntl
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterable

from livekeep.air.worker import transcode
from livekeep.air.worker.ffmpeg import CHATTER, confined_leash
from livekeep.air.worker.media_info import MediaInfo
from livekeep.air.worker.profile import Plan
from livekeep.core.config import Channel
from livekeep.core.errors import TemporaryError
from livekeep.system import process
from livekeep.system.redaction import redacted

PIPE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
MOST_LOGGED_LINES = 20
"""Per item: a corrupt file prints thousands."""
MOST_KEPT_LINES = 20
LONGEST_LINE_BYTES = 4096
LAST_WORDS_SECONDS = 0.02
"""How long `read` waits at the end of the stream for the last messages, which follow immediately."""
LEVELS = {"[fatal] ": logging.ERROR, "[panic] ": logging.ERROR, "[error] ": logging.WARNING, "[warning] ": logging.INFO}
"""ffmpeg's log levels → the levels used here: a faulty item is not an error of the channel."""

logger = logging.getLogger("livekeep.worker")


class Feeder:
    """An item as FLV. One thread makes and uses it; its methods never block for longer than `LAST_WORDS_SECONDS`.

    `channel_name` is only for the log. Raises `TemporaryError` when ffmpeg can't be started.
    """

    def __init__(
        self,
        source: str,
        name: str,
        plan: Plan,
        media: MediaInfo,
        channel: Channel,
        channel_name: str,
    ) -> None:
        self.errors: deque[str] = deque(maxlen=MOST_KEPT_LINES)
        """ffmpeg's last lines, without URLs."""
        self._label = f"{channel_name}: {name}"
        command = [*confined_leash(source), *transcode.feeder_command(source, plan, channel, media)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=process.environment(),
            )
        except OSError as error:
            raise TemporaryError(f"{command[0]}: cannot be started ({error.strerror}); is util-linux installed?") from error
        assert self._process.stdout  # noqa: S101 – it is a pipe
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        # Beyond /proc/sys/fs/pipe-user-pages-soft the kernel refuses, and the pipe stays at 64 KiB.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._output.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._listener = threading.Thread(target=self._listen, name="ffmpeg's errors", daemon=True)
        self._listener.start()

    def fileno(self) -> int:
        """For polling until there is something to read; closed after the end or `stop`."""
        return self._output.fileno()

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self) -> bytes | None:
        """The bytes available now: b"" if there are none yet, None at the end."""
        if self._output.closed:
            return None
        try:
            data = os.read(self._output.fileno(), READ_BYTES)
        except BlockingIOError:
            return b""
        if data:
            return data
        self._output.close()
        self._listener.join(LAST_WORDS_SECONDS)
        return None

    def stop(self) -> None:
        """Kill ffmpeg if it runs, without waiting. Can be called repeatedly."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._output.close()

    def _listen(self) -> None:
        """Keep and log what ffmpeg prints until it closes its standard error, then reap it."""
        assert self._process.stderr  # noqa: S101 – it is a pipe
        count = 0
        with self._process.stderr as stream:
            for raw in lines_of(stream.fileno()):
                count += 1
                line = raw.decode(errors="replace")
                text = redacted(line)
                if text in CHATTER:
                    continue
                self.errors.append(text)
                if count <= MOST_LOGGED_LINES:
                    level = next((level for word, level in LEVELS.items() if word in line), logging.INFO)
                    logger.log(level, "%s: %s", self._label, text)
        self._process.wait()
        if count > MOST_LOGGED_LINES:
            logger.info("%s: and %d lines more", self._label, count - MOST_LOGGED_LINES)


def lines_of(descriptor: int) -> Iterable[bytes]:
    """The lines written to a pipe until its end; an overlong line is cut into pieces."""
    rest = b""
    while block := os.read(descriptor, 16384):
        *whole, rest = (rest + block).split(b"\n")
        yield from (line[:LONGEST_LINE_BYTES] for line in whole if line.strip())
        if len(rest) > LONGEST_LINE_BYTES:
            yield rest[:LONGEST_LINE_BYTES]
            rest = b""
    if rest.strip():
        yield rest
