"""A live HLS stream whose content changes while it goes on, as that of an encoder that loses its camera."""

import contextlib
import functools
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from tests.outside import QuietHandler

Content = Literal["moving", "still", "black", "sound"]
SEGMENT_SECONDS, SEGMENTS, LISTED = 0.5, 240, 8
SOURCES: dict[Content, str] = {
    "moving": "testsrc=size=160x90:rate=10",
    "still": "smptebars=size=160x90:rate=10",
    "black": "color=black:size=160x90:rate=10",
    "sound": "",
}


class ChangingStream:
    """`content` is what the segments hold from now on; `url` is where the playlist is."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self._listed: list[Content] = []
        self._lock = threading.Lock()
        handler = partial(PlaylistHandler, self, directory=segments().name)
        self._began = time.monotonic()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/live.m3u8"

    def playlist(self) -> bytes:
        with self._lock:
            due = min(LISTED + int((time.monotonic() - self._began) / SEGMENT_SECONDS), SEGMENTS)
            self._listed += [self.content] * (due - len(self._listed))
            first = due - LISTED
            head = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
            segments = [f"#EXTINF:{SEGMENT_SECONDS},\n{self._listed[number]}{number}.ts" for number in range(first, due)]
        return "\n".join([*head, *segments, ""]).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class PlaylistHandler(QuietHandler):
    def __init__(self, stream: ChangingStream, *arguments: object, **options: object) -> None:
        self._stream = stream
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # noqa: N802 – the base class's own name
        if not self.path.startswith("/live.m3u8"):
            super().do_GET()
            return
        body = self._stream.playlist()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@functools.cache
def segments() -> "tempfile.TemporaryDirectory[str]":
    """The folder of all segments, made once; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="livekeep-segments-")
    for content in SOURCES:
        make_segments(Path(folder.name), content)
    return folder


def make_segments(folder: Path, content: Content) -> None:
    """Two minutes, each content with the same timestamps and the same PID for its sound."""
    seconds = str(SEGMENTS * SEGMENT_SECONDS)
    source = ["-f", "lavfi", "-i", SOURCES[content]] if SOURCES[content] else []
    picture = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-pix_fmt", "yuv420p"] if source else []
    sound = ["-c:a", "aac", "-b:a", "32k"]
    form = ["-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_list_size", "0"]
    # The picture takes the first PID, 256, where there is one.
    options = [] if source else ["-hls_segment_options", "mpegts_start_pid=257"]
    target = ["-hls_segment_filename", f"{folder}/{content}%d.ts", f"{folder}/{content}.m3u8"]
    command = ["ffmpeg", "-loglevel", "error", *source, "-f", "lavfi", "-i", "sine=frequency=440", "-t", seconds]
    subprocess.run([*command, *picture, *sound, *form, *options, *target], stdin=subprocess.DEVNULL, check=True)


@contextlib.contextmanager
def changing_stream(content: Content) -> Iterator[ChangingStream]:
    stream = ChangingStream(content)
    try:
        yield stream
    finally:
        stream.close()
