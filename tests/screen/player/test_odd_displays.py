"""A program at the display's socket that is not mpv, or not well: its connection is over, and the player goes on."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.state import PlayerState
from livekeep.screen.player.decision import StreamReport
from livekeep.screen.player.display_socket import DisplayGoneError
from livekeep.screen.player.driver import STREAM, Driver
from livekeep.screen.player.mpv import Mpv
from livekeep.screen.player.vlc import Vlc

NESTED = "[" * 20_000
GONE = {
    "no JSON": b"nonsense",
    "not UTF-8": b'{"event": "\xff\xfe"}',
    "null": b"null",
    "a list of the word": b"[1, 2]",
    "nested lists": NESTED.encode(),
    "a number of 5000 digits": b'{"request_id": ' + b"9" * 5000 + b"}",
    "a list for the request": b'{"request_id": [1], "data": 1}',
    "a list for the entry": b'{"event": "start-file", "playlist_entry_id": []}',
    "a playlist of texts": b'{"request_id": 3, "data": ["one", "two"]}',
    "an entry's id that is a text": b'{"request_id": 3, "data": [{"id": "first"}]}',
    "an entry's id without end": b'{"request_id": 3, "data": [{"id": 1e999}]}',
    "half a surrogate pair for a name": b'{"request_id": 3, "data": [{"id": 1, "filename": "/a/\\ud800.png", "playing": true}]}',
}
"""What no mpv sends."""
BORNE = {
    "an unknown event": b'{"event": "some-day"}',
    "an event that is no text": b'{"event": [1]}',
    "an answer to nobody": b'{"request_id": 999, "data": {"x": 1}}',
    "an empty object": b"{}",
    "a playlist that is none": b'{"request_id": 3, "data": "none"}',
    "a message without words": b'{"event": "client-message", "args": [[], {}, null]}',
}
"""What is passed over."""
METRICS = {
    "time-pos": [1e999, float("nan"), -1e300, 10**400, True, "1", None, {}],
    "width": [-1, 1e999, float("nan"), 10**400, "wide", [], 2**70],
    "estimated-vf-fps": [-25, float("inf"), 10**400, "25"],
    "avsync": [1e300, -1e300, float("nan")],
    "video-codec": [7, None, [], True],
    "demuxer-cache-state": [{"fw-bytes": "many", "raw-input-rate": None}, {"fw-bytes": -1, "raw-input-rate": 1e999}, [], "none"],
    "demuxer-cache-duration": [-3, 1e999, "long"],
}


class Display:
    """Listens where mpv would; `say` sends it a line."""

    def __init__(self, path: Path, kind: type[Driver]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.player = kind(path)
        self._connection, _peer = self._listener.accept()

    def say(self, line: bytes) -> None:
        self._connection.sendall(line + b"\n")

    def close(self) -> None:
        self.player.close()
        self._connection.close()
        self._listener.close()


@contextlib.contextmanager
def display(folder: Path, kind: type[Driver] = Mpv) -> Iterator[Display]:
    found = Display(folder / "display.sock", kind)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.parametrize("odd", GONE)
def test_what_is_no_message_ends_the_connection(tmp_path: Path, odd: str) -> None:
    with display(tmp_path) as it:
        # The third request is that for the playlist, of which the player takes over what is shown.
        assert json.loads(it._connection.recv(65536).splitlines()[-1])["command"][0] == "get_property"
        it.player._asked[3] = "playlist"  # type: ignore[attr-defined]
        it.say(GONE[odd])
        with pytest.raises(DisplayGoneError, match=r"mpv's socket does not speak as mpv does \(\w+: .*\)$|sends no lines"):
            it.player.receive()


@pytest.mark.parametrize("odd", BORNE)
def test_what_says_nothing_is_passed_over(tmp_path: Path, odd: str) -> None:
    with display(tmp_path) as it:
        it.say(BORNE[odd])
        it.player.receive()
        assert it.player.stream.phase == "none"


@pytest.mark.parametrize("name", METRICS)
def test_an_impossible_number_is_none(tmp_path: Path, name: str) -> None:
    """The player's state stays readable, whatever the display says of the stream."""
    (tmp_path / "player").mkdir()
    for value in METRICS[name]:
        with display(tmp_path) as it:
            mpv = it.player
            assert isinstance(mpv, Mpv)
            mpv.stream, mpv._starting = StreamReport("playing", 1.0, 2.5, 1.0), STREAM
            mpv._asked[77] = name
            with contextlib.suppress(DisplayGoneError):
                it.say(json.dumps({"request_id": 77, "data": value}).encode())
                mpv.receive()
            found = mpv.playback()
            assert (found.position_seconds, found.width_pixels, found.frame_rate_hertz) == (2.5, None, None), value
            assert (found.av_offset_seconds, found.video_codec, found.cache_duration_seconds) == (None, "", None), value
            assert (found.cache_bytes or 0, found.input_bytes_per_second or 0) == (0, 0), value
            state.write(PlayerState(playback=found), tmp_path)
            assert state.read(PlayerState, tmp_path).playback == found
        (tmp_path / "display.sock").unlink()


@pytest.mark.parametrize(
    "line",
    [
        b"| frames displayed :     " + b"9" * 5000,
        b"| frames displayed :     999999999999",
        b"| demux bitrate    :     " + b"9" * 400 + b" kb/s",
        b"\xff\xfe\x00",
        b"status change: ( new input: \xff )",
        b"status change: ( stop state: " + b"9" * 5000 + b" )",
    ],
)
def test_an_odd_line_of_vlc_s_harms_nobody(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "player").mkdir()
    with display(tmp_path, Vlc) as it:
        vlc = it.player
        assert isinstance(vlc, Vlc)
        vlc.stream, vlc._seen_input = StreamReport("playing", 1.0, 2.5, 1.0), STREAM
        it.say(line)
        vlc.receive()
        state.write(PlayerState(playback=vlc.playback()), tmp_path)
        assert state.read(PlayerState, tmp_path).playback.position_seconds in (None, 2.5)
