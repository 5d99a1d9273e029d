"""livekeep air measure: plays a stream as a viewer does, and reports how evenly it arrives. Nothing is decoded.

ffprobe (package ffmpeg) prints each packet as it arrives; this module computes the metrics, without code of the air part.
The URL may contain a stream key: ffprobe receives it through a pipe, as a list of one file (ffmpeg-formats(1), concat). It is in
no message, and in no process argument but the one that the operator typed; with -, it is read from standard input.
"""

import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from livekeep.core.errors import LivekeepError
from livekeep.system import terminal

SETTLE_SECONDS = 1.0
"""A server first sends a burst from the last keyframe on: arrival times within this time are ignored."""
SILENCE_SECONDS = 15.0
"""The measurement ends if the server sends nothing for this long."""
SCHEMES = ("rtmp", "rtmps", "http", "https")
URL = re.compile(
    r"(?P<scheme>[a-z]+)://(?:[^\s/?#@]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#:@]+)(?::(?P<port>[0-9]{1,5}))?([/?]\S*)?", re.I
)
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
LONGEST_URL_CHARACTERS = 4096
MOST_ERRORS_KEPT = 20
VIDEO, AUDIO = "video", "audio"


class Packet(NamedTuple):
    """Times in seconds: decoding and presentation from the stream, arrival by the monotonic clock."""

    kind: str
    """ "video" or "audio"."""
    decoding: float
    showing: float
    arrival: float
    size_bytes: int
    is_keyframe: bool
    has_new_header: bool = False
    """Whether it carries a new decoder header."""


@dataclass(frozen=True)
class Gaps:
    """The longest steps between consecutive packets of a kind, in seconds; `back` counts decoding times that did not increase."""

    wall: float
    """By the clock, in order of arrival."""
    decoding: float
    showing: float
    """In order of presentation."""
    back: int


@dataclass(frozen=True)
class Measurement:
    """A viewer's measurements, in seconds and bits per second; None if too few packets arrived."""

    seconds: float
    """Of stream time."""
    pictures: int
    sounds: int
    video: Gaps | None
    audio: Gaps | None
    shortest_keyframe_distance: float | None
    longest_keyframe_distance: float | None
    header_changes: int
    """How often a player had to set up its video decoder again."""
    bitrate: float | None
    worst_second_bitrate: float | None
    apart: float | None
    """The largest distance between picture and sound, by decoding time, in order of arrival."""


def measured(packets: Sequence[Packet]) -> Measurement:
    pictures = [packet for packet in packets if packet.kind == VIDEO]
    sounds = [packet for packet in packets if packet.kind == AUDIO]
    times = [packet.decoding for packet in packets]
    keys = sorted(packet.showing for packet in pictures if packet.is_keyframe)
    distances = [later - earlier for earlier, later in itertools.pairwise(keys)]
    seconds = max(times) - min(times) if times else 0.0
    bits = sum(packet.size_bytes for packet in packets) * 8
    return Measurement(
        seconds=seconds,
        pictures=len(pictures),
        sounds=len(sounds),
        video=gaps_of(pictures),
        audio=gaps_of(sounds),
        shortest_keyframe_distance=min(distances, default=None),
        longest_keyframe_distance=max(distances, default=None),
        header_changes=sum(packet.has_new_header for packet in pictures[1:]),
        bitrate=bits / seconds if seconds else None,
        worst_second_bitrate=worst_second(packets),
        apart=farthest_apart(packets),
    )


def gaps_of(packets: Sequence[Packet]) -> Gaps | None:
    """Of packets of one kind, in order of arrival; None for fewer than two."""
    if len(packets) < 2:
        return None
    settled_from = packets[0].arrival + SETTLE_SECONDS
    arrivals = [max(packet.arrival, settled_from) for packet in packets]
    decodings = [packet.decoding for packet in packets]
    # Pictures that are presented between the last ones may not have arrived yet.
    showings = sorted(packet.showing for packet in packets if packet.showing <= decodings[-1])
    return Gaps(
        wall=longest_step(arrivals),
        decoding=longest_step(decodings),
        showing=longest_step(showings),
        back=sum(later <= earlier for earlier, later in itertools.pairwise(decodings)),
    )


def longest_step(moments: Iterable[float]) -> float:
    return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)


def worst_second(packets: Iterable[Packet]) -> float | None:
    """The bits of the largest full second of stream time; None if there is none."""
    seconds: dict[int, int] = {}
    for packet in packets:
        second = math.floor(packet.decoding)
        seconds[second] = seconds.get(second, 0) + packet.size_bytes * 8
    return max(list(seconds.values())[1:-1], default=None)


def farthest_apart(packets: Iterable[Packet]) -> float | None:
    last: dict[str, float] = {}
    apart: list[float] = []
    for packet in packets:
        last[packet.kind] = packet.decoding
        if len(last) == 2:
            apart.append(abs(last[VIDEO] - last[AUDIO]))
    return max(apart, default=None)


class Player:
    """Plays `url` from construction until `close`; `packets` grows as packets arrive.

    `inside` wraps the command, such as to run it in another network namespace. Raises `LivekeepError`.
    """

    def __init__(self, url: str, inside: Callable[[list[str]], list[str]] = list) -> None:
        self.packets: list[Packet] = []
        self.errors: list[str] = []
        try:
            self._process = subprocess.Popen(
                inside(command()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            )
        except OSError as error:
            raise LivekeepError(f"{command()[0]}: cannot be started ({error.strerror})") from error
        assert self._process.stdin  # noqa: S101 – it is a pipe
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(script(url).encode())
        self._threads = [threading.Thread(target=self._read, daemon=True), threading.Thread(target=self._listen, daemon=True)]
        for thread in self._threads:
            thread.start()

    @property
    def is_running(self) -> bool:
        return self._threads[0].is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until the stream ends, for `seconds` at most."""
        self._threads[0].join(seconds)

    def close(self) -> list[Packet]:
        """Stop playing; returns all packets."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        return self.packets

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101 – it is a pipe
        with self._process.stdout as stream:
            for line in stream:
                if packet := packet_of(line.decode(errors="replace"), time.monotonic()):
                    self.packets.append(packet)

    def _listen(self) -> None:
        assert self._process.stderr  # noqa: S101 – it is a pipe
        with self._process.stderr as stream:
            for line in stream:
                self.errors.append(line.decode(errors="replace").strip())
                del self.errors[:-MOST_ERRORS_KEPT]


def command() -> list[str]:
    """The ffprobe command, which reads the list from standard input and prints a line for each packet."""
    # Line by line: by default, the output would come in blocks of 4 KiB.
    probe = ["stdbuf", "-oL", "ffprobe", "-v", "error", "-fflags", "+nofillin+noparse", "-analyzeduration", "1000000"]
    entries = "packet=codec_type,dts_time,pts_time,size,flags:packet_side_data=side_data_type"
    protocols = ["-protocol_whitelist", "pipe,rtmp,rtmps,tcp,tls,http,https,httpproxy,crypto"]
    # The automatic conversion of H.264 is not needed here and would remove new headers (7.1).
    listed = ["-safe", "0", "-auto_convert", "0", "-f", "concat", "pipe:0"]
    return [*probe, "-show_entries", entries, "-of", "compact=p=0:nk=0", *protocols, *listed]


def script(url: str) -> str:
    """The list of one file, with a quote escaped as '\\''."""
    options = {"rw_timeout": f"{SILENCE_SECONDS * 1e6:.0f}"}
    if url.lower().startswith("rtmp"):
        options["rtmp_live"] = "live"
    if url.lower().startswith(("rtmps", "https")):
        options |= {"tls_verify": "1", "ca_file": AUTHORITIES}
    lines = [f"option {name} {value}" for name, value in options.items()]
    return "\n".join(["ffconcat version 1.0", "file '" + url.replace("'", r"'\''") + "'", *lines, ""])


def packet_of(line: str, arrival: float) -> Packet | None:
    """The packet in a line of ffprobe; None without times."""
    found = dict(part.split("=", 1) for part in line.strip().split("|") if "=" in part)
    try:
        times = float(found["dts_time"]), float(found["pts_time"])
        kind, size, flags = found["codec_type"], int(found["size"]), found["flags"]
    except (KeyError, ValueError):
        return None
    # The name before it differs in 7.1.
    return Packet(kind, *times, arrival, size, flags.startswith("K"), "=New Extradata" in line)


def measure(arguments: argparse.Namespace) -> int:
    """Returns exit code 0 if the stream lasted for the whole measurement, 1 if it ended earlier. Raises `LivekeepError`."""
    url, shown = checked(arguments.url)
    if sys.stderr.isatty():
        terminal.say(f"Watching {shown} for {arguments.seconds:g} s …", to=sys.stderr)
    player, began = Player(url), time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        while not player.packets and player.is_running:
            player.wait(0.1)
        player.wait(arguments.seconds)
    is_over = not player.is_running
    found = measured(player.close())
    if not found.pictures and not found.sounds:
        raise LivekeepError(f"{shown} cannot be played: {reason_of(player.errors, url)}")
    if arguments.json:
        terminal.say_block(terminal.json_text(dataclasses.asdict(found) | {"url": shown, "is_over": is_over}))
    else:
        terminal.say_block(terminal.table(rows_of(found, shown)))
    if is_over:
        terminal.say(f"{shown} ended after {time.monotonic() - began:.0f} s", to=sys.stderr)
    return int(is_over)


def checked(given: str) -> tuple[str, str]:
    """The URL, and its scheme, host and port: the rest may be a secret.

    Raises `LivekeepError`, whose text contains nothing of the URL.
    """
    url = (sys.stdin.readline(LONGEST_URL_CHARACTERS) if given == "-" else given).strip()
    found = URL.fullmatch(url)
    if not found or found["scheme"].lower() not in SCHEMES or len(url) >= LONGEST_URL_CHARACTERS or not url.isprintable():
        raise LivekeepError(f"URL: must be one that a player opens: {', '.join(f'{name}://…' for name in SCHEMES)}")
    return url, f"{found['scheme'].lower()}://{found['host']}" + (f":{found['port']}" if found["port"] else "")


def reason_of(errors: Sequence[str], url: str) -> str:
    """ffprobe's last message, without its prefix; messages with a part of the URL are dropped."""
    hidden = [part for part in re.split(r"[/?&=]", url.partition("://")[2])[1:] if part]
    reasons = [line.rpartition(": ")[2] for line in errors if ": " in line]
    told = [reason for reason in reasons if reason and "://" not in reason and not any(part in reason for part in hidden)]
    return told[-1] if told else "nothing was received; is it published now?"


def rows_of(found: Measurement, shown: str) -> list[list[str]]:
    rows = [["Watched", f"{found.seconds:.0f} s of {shown}: {found.pictures} pictures, {found.sounds} frames of sound"]]
    rows += [[name, gaps_text(gaps)] for name, gaps in (("Pictures", found.video), ("Sound", found.audio))]
    if found.longest_keyframe_distance is not None and found.shortest_keyframe_distance is not None:
        rows.append(["Keyframes", f"{found.shortest_keyframe_distance:.2f} to {found.longest_keyframe_distance:.2f} s apart"])
    changes = found.header_changes
    rows.append(["Headers", f"of the picture changed {changes} time{'s' * (changes != 1)}" if changes else "stay the same"])
    if found.bitrate is not None:
        worst = f", worst second {found.worst_second_bitrate / 1e6:.2f}" if found.worst_second_bitrate else ""
        rows.append(["Bit rate", f"mean {found.bitrate / 1e6:.2f}{worst} Mbit/s"])
    if found.apart is not None:
        rows.append(["Sync", f"picture and sound come {milliseconds(found.apart)} apart at most"])
    return rows


def gaps_text(gaps: Gaps | None) -> str:
    if gaps is None:
        return "none received"
    by = f"{milliseconds(gaps.wall)} by the clock, {milliseconds(gaps.decoding)} decoded, {milliseconds(gaps.showing)} shown"
    return f"longest gap {by}; " + (f"{gaps.back} times out of order" if gaps.back else "in order")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
