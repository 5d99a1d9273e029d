"""The ffmpeg that publishes a channel, FLV in, RTMP or RTMPS out; and why it ended. Unit: livekeep-worker@.

The process's arguments contain only scheme, host and port of the address; application and stream key come through a pipe
that can be read once (`-fpre`). ffmpeg checks the server's certificate, which it doesn't do by default.

ffmpeg keeps timestamps as given, including a jump forward; one that goes back becomes the one before. They wrap at 2³¹ ms.

Sources: ffmpeg-protocols(1), rtmpproto.c, ffmpeg's option fpre.
"""

import contextlib
import fcntl
import logging
import os
import re
import subprocess
from pathlib import Path

from livekeep.air.worker import ffmpeg
from livekeep.air.worker.ffmpeg import AUTHORITIES
from livekeep.air.worker.ingest_address import Address, preset_of
from livekeep.air.worker.publisher_end import ANSWER_SECONDS, Ended, PublisherLog, Why, reason_of
from livekeep.core.errors import TemporaryError
from livekeep.system import certificate, process
from livekeep.system.background import Background
from livekeep.system.redaction import redacted

START_SECONDS = 25.0
"""From the first byte written until the server takes the stream; no other time limit covers an unresponsive name server."""
STOP_SECONDS = 10.0
CERTIFICATE_SECONDS = 5.0
"""Time limit for finding out why a certificate is refused."""
PIPE_BYTES = 1024 * 1024
"""The most that ffmpeg can be given at once: a default pipe (64 KiB), filled once per pass, would carry at most 25 Mbit/s."""
LINES_LOGGED = 100
"""Per process: an error that repeats with every picture must not fill the journal."""
MOST_HELD_BACK_MICROSECONDS = 100_000
"""How much video or audio ffmpeg holds back while it waits for the other; its default is ten seconds."""

# "[rtmp @ 0x55e3aa3c8a00] [error] text": ffmpeg with -loglevel level+…
LINE = re.compile(r"(?:\[[^\]]* @ 0x[0-9a-f]+\] )?\[(panic|fatal|error|warning|info|verbose)\] (.*)")

log = logging.getLogger("livekeep.air.worker.publisher")


class Publisher:
    """ffmpeg, killed when the thread that made it ends: so the worker's main thread makes it.

    `channel` is its name, for the log. Raises `ConfigError` for an unusable address or key, `TemporaryError` when ffmpeg can't be
    started.
    """

    def __init__(self, url: str, key: str, channel: str, authorities: Path = AUTHORITIES) -> None:
        self.address = Address.parse(url)
        self.given_bytes = 0
        self._channel, self._authorities = channel, authorities
        # A short name would match in every line.
        self._secrets = tuple(secret for secret in (key, self.address.application) if len(secret) > 4)
        self._certificate: Background[str] = Background(lambda: None)
        self._log = PublisherLog()
        self._text = b""
        self._lines_logged = 0
        self._given_since: float | None = None
        self._kill_at: float | None = None
        self._is_stopping = False
        self._killed: Why | None = None
        self._left_for = ""
        self._ended: Ended | None = None
        secret_options = preset_of(self.address, key)
        # They fit into a pipe, and the process that inherits it can read them once.
        preset, writing = os.pipe()
        os.write(writing, secret_options)
        os.close(writing)
        try:
            self._process = subprocess.Popen(
                [*ffmpeg.LEASH, *command(self.address, f"/proc/self/fd/{preset}", authorities)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[preset],
                env=process.environment(),
                bufsize=0,
            )
        except OSError as error:
            raise TemporaryError(f"the publishing ffmpeg cannot be started ({error.strerror})") from error
        finally:
            os.close(preset)
        assert self._process.stdin and self._process.stderr  # noqa: S101 – both are pipes
        self._input, self._output = self._process.stdin, self._process.stderr
        os.set_blocking(self._input.fileno(), False)
        # Beyond /proc/sys/fs/pipe-user-pages-soft the kernel refuses, and the pipe keeps its default size.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._input.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._output.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_publishing(self) -> bool:
        """Whether the server takes the stream, as of the last `poll`."""
        return self._log.has_published

    def errors_fileno(self) -> int:
        """Readable when `poll` has something to read, such as the end."""
        return self._output.fileno()

    def write(self, data: bytes, now: float) -> int:
        """The number of bytes accepted; 0 when ffmpeg can't accept any, or has ended: `poll` shows which."""
        try:
            taken = os.write(self._input.fileno(), data)
        except (BlockingIOError, BrokenPipeError, ValueError):
            return 0
        if self._given_since is None:
            self._given_since = now
        self.given_bytes += taken
        return taken

    def stop(self, now: float) -> None:
        """Begin a clean end: ffmpeg disconnects from the server. `poll` kills it after `STOP_SECONDS`."""
        if not self._is_stopping:
            self._is_stopping = True
            self._kill_at = now + STOP_SECONDS
            self._input.close()

    def leave(self, sentence: str, now: float) -> None:
        """Begin a clean end because the server has presumably ended the stream: `poll` returns "dropped" with that sentence."""
        self._left_for = sentence
        self.stop(now)

    def kill(self) -> None:
        """Kill it immediately: when a stream doesn't arrive, or no time is left to stop. `poll` reaps it and returns the reason.

        The reason is "stalled" if the server ever took the stream, else "unreachable".
        """
        self._kill("stalled" if self._log.has_published else "unreachable")

    def poll(self, now: float) -> Ended | None:
        """How it ended, None while it runs. Call it when `errors_fileno` is readable, and once a second."""
        if self._ended:
            return self._ended
        is_at_end = self._read(now)
        if not self._is_stopping and not self._log.has_published and self._given_since is not None:
            if now - self._given_since >= START_SECONDS:
                self._kill("unreachable")
        elif self._kill_at is not None and now >= self._kill_at:
            self._kill("stopped")
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its output ends a moment before the process does.
            exit_code = self._process.wait(0.05 if is_at_end else 0)
            self._read(now)
            if self._certificate.is_busy:
                # Why the server's certificate is refused is still being determined.
                fault = self._certificate.take(now)
                if fault is None:
                    return None
                self._log.certificate_fault = fault if isinstance(fault, str) else ""
            self._ended = self._conclude(now, exit_code)
            self._input.close()
            self._output.close()
        return self._ended

    def _kill(self, why: Why) -> None:
        if self._killed is None and self._ended is None:
            self._killed = why
            self._process.kill()

    def _conclude(self, now: float, exit_code: int) -> Ended:
        shown = self.address.shown
        if self._left_for:
            return Ended("dropped", self._left_for)
        if self._is_stopping:
            how = "stopped cleanly" if exit_code == 0 and not self._killed else "stopped by force"
            return Ended("stopped", f"publishing to {shown} was {how}")
        if self._killed == "unreachable":
            return Ended("unreachable", f"{shown} did not accept the stream in time")
        if self._killed:
            return Ended("stalled", f"{shown} accepts no more data, although the connection is open")
        return reason_of(self._log, now, exit_code, shown)

    def _read(self, now: float) -> bool:
        """Read ffmpeg's output; whether it has ended."""
        while True:
            try:
                block = os.read(self._output.fileno(), 65536)
            except BlockingIOError:
                return False
            *lines, self._text = (self._text + block).split(b"\n")
            self._text = self._text[-4096:]
            for line in lines:
                self._note_line(now, line.decode(errors="replace"))
            if not block:
                return True

    def _note_line(self, now: float, line: str) -> None:
        match = LINE.fullmatch(line.strip())
        level, text = match.groups() if match else ("error", line)
        text = redacted(text, self._secrets)
        if not text or text in ffmpeg.CHATTER:
            return
        had_wrong_certificate = self._log.has_wrong_certificate
        self._log.note(now, level, text)
        if self._log.has_wrong_certificate and not had_wrong_certificate:
            host, port, authorities = self.address.host.strip("[]"), self.address.port, self._authorities
            self._certificate.start(lambda: certificate.fault_of(host, port, authorities), CERTIFICATE_SECONDS)
        if level in ("info", "verbose") or (level == "warning" and self._is_stopping):
            return
        self._lines_logged += 1
        if self._lines_logged <= LINES_LOGGED:
            log.warning("channel %s: publisher: %s", self._channel, text)


def command(address: Address, preset: str, authorities: Path) -> list[str]:
    """The arguments of the publishing ffmpeg; `preset` is the file of `preset_of`."""
    trust = ["-tls_verify", "1", "-ca_file", str(authorities)] if address.scheme == "rtmps" else []
    return [
        *("ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-loglevel", "repeat+level+verbose"),
        # Keeps timestamps unchanged; discards the last tag if a stop cut it off.
        *("-protocol_whitelist", "pipe,file", "-fflags", "+nofillin+noparse+discardcorrupt", "-analyzeduration", "500000"),
        *("-f", "flv", "-i", "pipe:0", "-c", "copy", "-fpre", preset),
        *("-rw_timeout", f"{ANSWER_SECONDS * 1_000_000}", "-tcp_nodelay", "1", *trust),
        # The relay sends in order: where one of the two streams pauses, ffmpeg must not hold the other one back for it.
        *("-max_interleave_delta", f"{MOST_HELD_BACK_MICROSECONDS}"),
        # A live stream has no length to write into its header afterwards.
        *("-flvflags", "no_duration_filesize", "-f", "flv", f"{address.scheme}://{address.host}:{address.port}"),
    ]
