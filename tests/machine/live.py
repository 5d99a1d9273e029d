"""A live HLS source: a moving test picture that ffmpeg only copies, so that it needs almost no CPU time.

Each variant is encoded once into a clip (cached), then looped into a rolling playlist in real time. The picture is one saturated
colour per variant with a white bar that crosses it from left to right every eight seconds; the sound a tone. The HTTP server in
front of it can misbehave on demand. `Live` is the process, `LiveStream` the test's client.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.machine import root
from tests.machine.network import Network
from tests.machine.standin import Handler, StandIn, parse, serve
from tests.machine.tidy import end, remove_directory

FRAMES_PER_SECOND = 25
# A whole number of AAC frames at 48 kHz (64/3 ms each) and of bar periods: the loop is seamless.
CLIP_SECONDS = 32
BAR_SECONDS = 8
SEGMENT_SECONDS = 1
WINDOW_SEGMENTS = 6
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
TYPES = {".m3u8": PLAYLIST_TYPE, ".ts": "video/mp2t"}
MASTER = "master.m3u8"


@dataclass(frozen=True)
class Variant:
    """One rendition; the colour identifies it on the screen."""

    name: str
    width: int
    height: int
    colour: str
    bits_per_second: int


HD = Variant("hd", 1280, 720, "0x00A000", 2_000_000)
SD = Variant("sd", 640, 360, "0x0000C0", 700_000)
VARIANTS = {variant.name: variant for variant in (HD, SD)}


@dataclass
class State:
    """What a test can control: the kind of responses, and for which requests."""

    mode: str = "ok"
    status: int = 404
    only: str = ""
    ended: bool = False
    enforce_expiry: bool = False


class Live:
    """The encoders, one per variant, and the switches."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start nothing yet."""
        self.variants = [VARIANTS[name] for name in names]
        self.state = State()
        self.dir = Path(tempfile.mkdtemp(prefix="livekeep-live-"))
        self.encoders: list[subprocess.Popen[bytes]] = []
        # ffmpeg dies with the thread that started it, so that thread must outlive the request.
        self._starter = ThreadPoolExecutor(1)

    def start(self, sound_only: bool = False) -> None:
        """Start the encoders with an empty playlist, and wait until each has its first segment."""
        for variant in self.variants:
            folder = self.dir / variant.name
            remove_directory(folder)
            folder.mkdir()
        self.launch(sound_only)
        deadline = time.monotonic() + 20
        while not all((self.dir / v.name / "index.m3u8").exists() for v in self.variants):
            if time.monotonic() > deadline:
                raise ValueError("ffmpeg wrote no playlist")
            time.sleep(0.05)

    def launch(self, sound_only: bool = False, is_relaunch: bool = False) -> None:
        """Start the encoders, which go on with the playlists that there are."""
        for variant in self.variants:
            started = self._starter.submit(_stream, clip(variant), self.dir / variant.name, sound_only, is_relaunch)
            self.encoders.append(started.result())

    def stop(self) -> None:
        """End the encoders."""
        for encoder in self.encoders:
            encoder.kill()
            end(encoder)
        self.encoders.clear()

    def control(self, do: str, arguments: dict[str, Any]) -> Any:
        """`set` switches, `stall`, `resume`, `restart`, `relaunch`, or read the `log`."""
        if do == "set":
            for name, value in arguments.items():
                if name not in State.__dataclass_fields__:
                    raise ValueError(f"no such switch: {name}")
                setattr(self.state, name, value)
        elif do in ("stall", "resume"):
            for encoder in self.encoders:
                encoder.send_signal(signal.SIGSTOP if do == "stall" else signal.SIGCONT)
        elif do == "restart":
            self.stop()
            self.start(**arguments)
        elif do == "relaunch":
            self.stop()
            self.launch(is_relaunch=True)
        else:
            raise ValueError(f"cannot {do}")
        return None

    def file(self, path: str) -> bytes | None:
        """The body for a path, or None."""
        if path == f"/{MASTER}":
            return self._master()
        target = (self.dir / unquote(path).lstrip("/")).resolve()
        try:
            body = target.read_bytes() if target.is_relative_to(self.dir) else None
        except OSError:
            return None
        if body and self.state.ended and target.suffix == ".m3u8":
            body += b"#EXT-X-ENDLIST\n"
        return body

    def _master(self) -> bytes:
        lines = ["#EXTM3U", "#EXT-X-VERSION:3"]
        for variant in self.variants:
            size = f"RESOLUTION={variant.width}x{variant.height},FRAME-RATE={FRAMES_PER_SECOND}"
            lines.append(f'#EXT-X-STREAM-INF:BANDWIDTH={variant.bits_per_second},{size},CODECS="avc1.64001f,mp4a.40.2"')
            lines.append(f"{variant.name}/index.m3u8")
        return ("\n".join(lines) + "\n").encode()


class LiveStream(StandIn):
    """Controls the live source; `url` is its playlist as seen from the machine."""

    module = "tests.machine.live"

    def __init__(self, network: Network | None = None, *, variants: Sequence[Variant] = (HD,)) -> None:
        """`variants` are HD (green) and SD (blue); with more than one, `url` is a master playlist."""
        names = ",".join(variant.name for variant in variants)
        super().__init__(network, "--variants", names)
        self.variants = tuple(variants)
        # Encoded here, so that the first use does not delay the start of the process.
        for variant in variants:
            clip(variant)

    @property
    def url(self) -> str:
        """The playlist's URL."""
        path = MASTER if len(self.variants) > 1 else f"{self.variants[0].name}/index.m3u8"
        return f"{self.base_url}/{path}"

    def stall(self) -> None:
        """Stop the playlist's growth; requests are still answered."""
        self.ask("stall")

    def resume(self) -> None:
        """Return to normal; after a stall the encoder catches up at once."""
        self.ask("set", mode="ok", ended=False)
        self.ask("resume")

    def restart(self, sound_only: bool = False) -> None:
        """Begin a new broadcast: media sequence from 0, new segments."""
        self.ask("restart", sound_only=sound_only)
        self.ask("set", mode="ok", ended=False)

    def relaunch(self) -> None:
        """Restart the encoder within the broadcast: timestamps from 0, different size and rate of picture and sound."""
        self.ask("relaunch")

    def end(self) -> None:
        """End the broadcast: the playlist stays and contains ENDLIST."""
        self.ask("stall")
        self.ask("set", ended=True)

    def answer(self, status: int, only: str = "") -> None:
        """Respond with this status, for paths that contain `only` (".m3u8", ".ts", "hd/")."""
        self.ask("set", mode="status", status=status, only=only)

    def hang(self, only: str = "") -> None:
        """Accept requests and never respond."""
        self.ask("set", mode="hang", only=only)

    def reset(self, only: str = "") -> None:
        """Reset connections."""
        self.ask("set", mode="reset", only=only)

    def enforce_expiry(self, on: bool = True) -> None:
        """Respond with 403 to a playlist request whose signed `exp` has passed."""
        self.ask("set", enforce_expiry=on)


def clip(variant: Variant) -> Path:
    """The encoded clip of a variant, with a key frame at every segment; created once."""
    target = root.cache() / f"clip1-{variant.name}-{variant.width}x{variant.height}-{variant.colour}-{SEGMENT_SECONDS}s.ts"
    if target.exists():
        return target
    partial = target.with_suffix(f".{os.getpid()}.partial")
    size, rate = f"{variant.width}x{variant.height}", FRAMES_PER_SECOND
    bar = f"color=white:s={variant.width // 16}x{variant.height}:r={rate}"
    move = f"[0][1]overlay=x='mod(t,{BAR_SECONDS})*W/{BAR_SECONDS}',format=yuv420p"
    # Converted and tagged; otherwise players guess the matrix from the size and show a different green.
    move += ",scale=in_color_matrix=bt601:out_color_matrix=bt709"
    tags = [word for name in ("colorspace", "color_primaries", "color_trc") for word in (f"-{name}", "bt709")]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", f"color={variant.colour}:s={size}:r={rate}"]
    command += ["-f", "lavfi", "-i", bar, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    command += ["-filter_complex", move, "-map", "2:a", "-t", str(CLIP_SECONDS)]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-bf", "0", *tags]
    command += ["-b:v", str(variant.bits_per_second), "-g", str(rate * SEGMENT_SECONDS), "-sc_threshold", "0"]
    command += ["-c:a", "aac", "-ac", "2", "-b:a", "96k", "-f", "mpegts", str(partial)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    partial.rename(target)
    return target


def _stream(source: Path, folder: Path, sound_only: bool, is_relaunch: bool) -> subprocess.Popen[bytes]:
    command = ["setpriv", "--pdeathsig", "KILL", "ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1"]
    command += ["-i", str(source), "-c", "copy", *(["-map", "0:a"] if sound_only else [])]
    if is_relaunch:
        command += ["-s", "640x360", "-r", "30", "-c:v", "libx264", "-preset", "ultrafast", "-g", str(30 * SEGMENT_SECONDS)]
        command += ["-pix_fmt", "yuv420p", "-sc_threshold", "0", "-c:a", "aac", "-ar", "44100"]
    # Some more segments than the playlist lists: a player may still be fetching one that just left it.
    command += ["-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_list_size", str(WINDOW_SEGMENTS)]
    flags = "delete_segments+omit_endlist+temp_file" + ("+append_list+discont_start" if is_relaunch else "")
    command += ["-hls_delete_threshold", "5", "-hls_flags", flags, "-hls_segment_filename", str(folder / "%06d.ts")]
    return subprocess.Popen([*command, str(folder / "index.m3u8")], stdin=subprocess.DEVNULL)


LIVE: Live


class LiveHandler(Handler):
    """One request for a playlist or a segment."""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Respond, or misbehave as configured."""
        parts, state = urlsplit(self.path), LIVE.state
        mode = state.mode if state.only in parts.path else "ok"
        if mode == "hang":
            self.hang(lambda: state.mode == "hang")
        elif mode == "reset":
            self.reset()
        elif mode == "status":
            self.answer(state.status, b"no\n", "text/plain")
        else:
            self._serve(parts.path, parts.query)

    def _serve(self, path: str, query: str) -> None:
        expiry = re.search(r"exp=(\d+)", query)
        if LIVE.state.enforce_expiry and expiry and time.time() > int(expiry[1]):
            self.answer(403, b"expired\n", "text/plain")
            return
        body = LIVE.file(path)
        if body is None:
            self.answer(404, b"not found\n", "text/plain")
            return
        kind = TYPES.get(Path(path).suffix, "application/octet-stream")
        self.answer(200, body, kind, {"Cache-Control": "max-age=1"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the live source until standard input closes."""
    global LIVE  # noqa: PLW0603 - http.server creates its handlers itself
    arguments = parse(argv, ("--variants", HD.name))
    LIVE = Live(arguments.variants.split(","))
    try:
        LIVE.start()
        return serve(LiveHandler, LIVE.control, arguments)
    finally:
        LIVE.stop()
        remove_directory(LIVE.dir)


if __name__ == "__main__":
    sys.exit(main())
