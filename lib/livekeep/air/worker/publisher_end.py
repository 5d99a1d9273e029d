"""Why a publisher ended, from what its ffmpeg printed. Pure.

What Debian's ffmpeg 5.1 and 7.1 both do, tested with real servers:

| the server …                            | ends after | with                                           | why         |
|-----------------------------------------|------------|------------------------------------------------|-------------|
| does not listen                         | 0.1 s      | Connection refused                             | unreachable |
| has an unknown name                     | 0.1 s      | Failed to resolve hostname                     | unreachable |
| drops the packets (a firewall)          | 10 s       | Connection timed out (rw_timeout)              | unreachable |
| accepts the connection, sends nothing   | 10 s       | Cannot read RTMP handshake response            | unreachable |
| closes it at once                       | 0.1 s      | Cannot read RTMP handshake response            | unreachable |
| has a wrong certificate                 | 0.1 s      | Peer certificate failed verification: no reason| unreachable |
| sends nothing after the handshake       | 10 s       | Input/output error                             | unreachable |
| closes it after the handshake           | 0.1 s      | Input/output error                             | refused     |
| refuses the application, or the stream  | 0.3 s      | Input/output error: nginx-rtmp gives no reason | refused     |
| has a publisher of that name            | 0.3 s      | Server error: Already publishing               | refused     |
| dies during the stream                  | 0.02 s     | Broken pipe, or Connection reset by peer       | dropped     |
| reports an error during the stream      | 0.2 s      | Server error: its message                      | dropped     |
| reports that it has ended the stream    | never      | nothing: `retry.Listener` counts the bytes     | –           |
| stops reading                           | 20 s       | Connection timed out: buffers fill up first    | stalled     |
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from livekeep.system import certificate

ANSWER_SECONDS = 10
"""The server must accept the connection, and send each response, within this time."""
Why = Literal["dropped", "refused", "unreachable", "stalled", "stopped", "crashed"]


class Ended(NamedTuple):
    """How a publisher ended. The sentence names host and port, never the URL or the key."""

    why: Why
    sentence: str


@dataclass
class PublisherLog:
    """The connection's state, from ffmpeg's output so far."""

    connected_at: float | None = None
    has_published: bool = False
    """The server responded that it takes the stream."""
    server_words: str = ""
    has_no_connection: bool = False
    has_wrong_certificate: bool = False
    certificate_fault: str = ""
    """What is wrong with the certificate, if that could be determined."""
    has_no_name: bool = False
    cause: str = ""
    """The last error, such as "Broken pipe"."""

    def note(self, now: float, level: str, text: str) -> None:
        """Record a line from ffmpeg, without secrets."""
        if text.startswith("Successfully connected to "):
            self.connected_at = now
        elif text.startswith("Output #0"):
            self.has_published = True
        elif level in ("error", "fatal", "panic"):
            # The text before it names the place, possibly the URL.
            self.cause = self.cause if text.startswith("Error opening output file ") else text.rpartition(": ")[2]
            self.has_no_connection |= "RTMP handshake response" in text or "Cannot open connection" in text
            self.has_wrong_certificate |= "certificate" in text
            self.has_no_name |= text.startswith("Failed to resolve hostname")
            if text.startswith("Server error: "):
                self.server_words = text.removeprefix("Server error: ").strip()


def reason_of(log: PublisherLog, now: float, exit_code: int, shown: str) -> Ended:
    """Why a publisher ended that was neither stopped nor killed; `shown` is its server."""
    cause = f" ({log.cause})" if log.cause else ""
    is_slow = log.connected_at is not None and now - log.connected_at >= ANSWER_SECONDS - 1
    verdicts: tuple[tuple[object, Why, str], ...] = (
        (exit_code < 0, "crashed", f"the publishing ffmpeg was killed by signal {-exit_code}"),
        (log.has_published and log.server_words, "dropped", f'{shown} ended the stream: "{log.server_words}"'),
        (log.has_published and log.cause, "dropped", f"{shown} ended the connection{cause}"),
        (log.has_published, "crashed", f"the publishing ffmpeg ended by itself, code {exit_code}"),
        (log.has_wrong_certificate, "unreachable", f"{shown} {log.certificate_fault or certificate.PLAIN}"),
        (log.has_no_name, "unreachable", f"the name of {shown} cannot be resolved: is the network up, is the name right?"),
        (log.server_words, "refused", f'{shown} refused the stream: "{log.server_words}"'),
        (log.has_no_connection and log.connected_at is None, "unreachable", f"{shown} cannot be connected to{cause}"),
        (log.connected_at is None, "crashed", f"the publishing ffmpeg did not start to connect, code {exit_code}{cause}"),
        (log.has_no_connection or is_slow, "unreachable", f"{shown} does not answer as an ingest does{cause}"),
    )
    refused = Ended("refused", f"{shown} closed the connection before the stream began: check the key and ingest_urls")
    return next((Ended(why, sentence) for holds, why, sentence in verdicts if holds), refused)
