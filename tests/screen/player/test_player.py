"""The real player program with a real mpv, a real stream, and a datagram socket in systemd's place."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from livekeep.core.state import FirstbootState, OpenStream, PlayerState, PollerState, StreamUrl, TvMethod, TvState
from livekeep.screen.display.pictures import REST_SECONDS
from livekeep.screen.player.card_notice import ADVICE
from livekeep.screen.player.mpv import Mpv
from tests.outside import PATIENCE_SECONDS, PROJECT, LiveStream, NotifySocket, picture, program, wait_until
from tests.screen.player.changing_stream import changing_stream

pytest_plugins = ["tests.screen.player.streams"]

CONFIG = '[screen]\noutput = "x11"\nstall_seconds = 30\n'
"""On a busy machine mpv may stand still for seconds without a stall of the stream."""
SOON_STALLED = CONFIG.replace("30", "2")
PICTURES = "usr/share/livekeep/pictures"
URL = "http://127.0.0.1:9/live.m3u8"


class Box:
    """A machine below `root` with a display; the tests are its poller."""

    def __init__(self, root: Path, systemd: NotifySocket) -> None:
        self.root, self.run, self.systemd = root, root / "run/livekeep", systemd
        self.config, self.log = root / "etc/livekeep/livekeep.toml", root / "log"
        self.socket = self.run / "display/mpv.sock"
        for folder in ("poller", "player", "display", "stream", "tv"):
            (root / "run/livekeep" / folder).mkdir(parents=True)
        (root / PICTURES).mkdir(parents=True)
        self.config.parent.mkdir(parents=True)
        self.config.write_text(CONFIG)
        self.holding = str(picture(root / PICTURES / "holding.png"))
        self.error = str(picture(root / PICTURES / "error.png", "darkred"))
        self.black = str(picture(root / PICTURES / "black.png", "black"))
        self.bus = root / "run/dbus/system_bus_socket"
        self.poller: PollerState | None = None
        self.url = ""

    @contextlib.contextmanager
    def player(self) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            "LIVEKEEP_ROOT": str(self.root),
            "NOTIFY_SOCKET": str(self.systemd.path),
            "WATCHDOG_USEC": "2000000",
            "PATH": os.environ["PATH"],
            # Never the machine's own.
            "TZ": "UTC",
        }
        errors = self.log.open("ab")
        with program([PROJECT / "bin/livekeep-player"], env=environment, stderr=errors, stdout=subprocess.DEVNULL) as process:
            yield process
            process.terminate()
            wait_until("the player's end", lambda: process.poll() is not None)

    def display(self) -> Any:
        self.socket.unlink(missing_ok=True)
        shipped = f"--config-dir={PROJECT / 'etc/mpv'}"
        return program(["mpv", "--no-terminal", shipped, "--vo=null", "--ao=null", f"--input-ipc-server={self.socket}"])

    def open_socket(self) -> None:
        """What the display's launcher does once mpv has made its socket."""
        wait_until("mpv's socket", self.socket.exists)
        self.socket.chmod(0o660)

    def say(self, name: str, cause: str = "", reason: str = "", url: str = "", source: str = "one", **more: Any) -> None:
        """Write the poller's state, and the secret beside it, as the poller does."""
        now = time.monotonic()
        self.url = url
        if url:
            state.write(state.stamped(StreamUrl(url, now, source)), self.run)
        obtained = now if url else None
        told = {"state": name, "cause": cause, "reason": reason, "source": source, "url_obtained_monotonic": obtained, **more}
        self.poller = state.stamped(PollerState(**told))
        state.write(self.poller, self.run)

    def switch_tv(self, is_wanted: bool, method: TvMethod = "black") -> None:
        """Write what livekeep-tv does."""
        state.write(state.stamped(TvState(is_wanted=is_wanted, reason="the plan", method=method)), self.run)

    def shown(self) -> PlayerState:
        try:
            return state.read(PlayerState, self.run)
        except TemporaryError:
            return PlayerState()

    def until(self, what: str, holds: Callable[[PlayerState], object], seconds: float = PATIENCE_SECONDS) -> PlayerState:
        """The player's state once it is so; meanwhile a request for a fresh URL is granted when there is one."""

        def look() -> bool:
            shown, poller = self.shown(), self.poller
            if (
                shown.url_request
                and self.url
                and poller
                and shown.url_request.requested_monotonic > (poller.url_obtained_monotonic or 0)
            ):
                self.say(poller.state, poller.cause, poller.reason, self.url, poller.source)
            return bool(holds(shown))

        try:
            wait_until(what, look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.shown()}\n{self.log.read_text()}") from None
        return self.shown()

    def property(self, name: str) -> Any:
        """What mpv itself says of one of its properties, over a connection of the test's own."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(self.socket))
            connection.sendall(json.dumps({"command": ["get_property", name], "request_id": 1}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answers = (json.loads(line) for line in lines)
                return next(answer for answer in answers if answer.get("request_id") == 1).get("data")

    def size(self) -> tuple[object, object]:
        """Width and height in pixels of what mpv shows."""
        return self.property("width"), self.property("height")

    def until_shown(self, wanted: str, reason: str = "") -> PlayerState:
        return self.until(f"{wanted} on the screen", lambda now: now.picture == wanted and reason in now.reason)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Box]:
    """A machine on which nothing runs."""
    with NotifySocket(tmp_path / "notify") as systemd:
        yield Box(tmp_path, systemd)


@pytest.fixture
def box(bare: Box) -> Iterator[Box]:
    """A machine whose display runs."""
    with bare.display():
        bare.open_socket()
        yield bare


def test_what_was_taken_from_the_card_is_on_the_picture(box: Box) -> None:
    """As soon as it is known, above what the picture says anyway."""
    (box.run / "firstboot").mkdir()
    with box.player():
        box.say("unknown", "no-token", "No token is stored")
        box.until("the reason", lambda now: now.line == "No token is stored")
        state.write(state.stamped(FirstbootState(problems=("livekeep-token.txt on the card: contains no token",))), box.run)
        wanted = f"livekeep-token.txt on the card: contains no token · {ADVICE} · No token is stored"
        box.until("the card's problem", lambda now: now.line == wanted)
        state.write(state.stamped(FirstbootState(notice="The token taken from the card")), box.run)
        box.say("offline", reason="Off air")
        box.until("what was taken", lambda now: now.line == "The token taken from the card")


def test_from_live_to_off_air_and_refused(box: Box, endless: LiveStream) -> None:
    with box.player():
        box.systemd.wait_for("READY=1")
        shown = box.until_shown("holding", "Waiting for livekeep-poller")
        assert shown.picture_file == box.holding
        assert shown.display_up
        box.say("live", url=endless.url)
        box.until_shown("stream", "live")
        shown = box.until("the start is counted", lambda now: now.playback.starts == 1 and now.url_request is None)
        assert (shown.playback.failed_starts, shown.playback.stalls) == (0, 0)

        box.say("error", "outage", "Vimeo does not answer")
        shown = box.until("the outage is known", lambda now: "plays on although: Vimeo does not answer" in now.reason)
        assert (shown.picture, shown.line) == ("stream", "")
        (box.run / "poller/state.json").unlink()
        box.say("starting")
        box.until_shown("stream", "plays")

        box.say("offline", reason="The event has ended", next_start=time.time() + 300.5)
        shown = box.until_shown("holding", "The event has ended")
        assert shown.picture_file == box.holding
        first = box.until("the countdown", lambda now: now.line.startswith("Live in ")).line
        box.until("a second less", lambda now: now.line.startswith("Live in ") and now.line != first)

        box.say("error", "refused", "The token is refused", advice="sudo livekeep set-token")
        shown = box.until_shown("error", "The token is refused")
        assert shown.picture_file == box.error
        assert shown.line == "The token is refused · Run: sudo livekeep set-token"
        assert shown.advice == "sudo livekeep set-token"
        box.say("live", url=endless.url)
        box.until_shown("stream")
        box.systemd.wait_for("WATCHDOG=1", after=len(box.systemd.messages))
    box.systemd.wait_for("STOPPING=1")
    assert not (box.run / "player/state.json").exists()
    assert state.read(OpenStream, box.run).source == "one", "for the next run"
    told = box.log.read_text() + (box.run / "player/open.json").read_text() + str(box.systemd.messages)
    assert "made-up" not in told, "the signature"


def test_a_stall_brings_the_holding_picture_a_url_request_and_the_stream_again(box: Box, live: LiveStream) -> None:
    box.config.write_text(SOON_STALLED)
    box.say("live", url=live.url)
    with box.player():
        box.until_shown("stream")
        box.url = ""
        live.stall()
        shown = box.until("the URL request", lambda now: now.picture == "holding" and now.url_request)
        assert shown.url_request
        assert shown.url_request.reason == "stall"
        assert shown.url_request.requested_monotonic <= time.monotonic()
        assert shown.playback.stalls == 1
        time.sleep(0.5)
        assert box.shown().picture == "holding", "the old URL is not opened again"
        live.go_on()
        box.url = live.url
        box.until("the stream again", lambda now: now.picture == "stream" and now.url_request is None)


def test_the_end_brings_the_holding_picture_and_a_url_request(box: Box, live: LiveStream) -> None:
    """Not with a short time for stalls, which would end before mpv has read the end."""
    box.say("live", url=live.url)
    with box.player():
        box.until_shown("stream")
        live.end()
        box.url = ""
        shown = box.until("the URL request", lambda now: now.picture == "holding" and now.url_request)
        assert shown.url_request
        assert shown.url_request.reason == "end"


def test_a_stream_that_does_not_open_leaves_the_holding_picture_and_is_tried_again(box: Box) -> None:
    with box.player():
        box.until_shown("holding")
        box.say("live", url=URL)
        shown = box.until("a second attempt", lambda now: now.playback.failed_starts >= 2, 40)
        assert shown.picture == "holding"
        assert "127.0.0.1" not in box.log.read_text()


def test_a_broken_or_old_poller_state_keeps_what_is_shown(box: Box) -> None:
    """It must be written every ten seconds, however seldom the poller polls."""
    box.config.write_text(f"{CONFIG}\n[poller]\ninterval_seconds = 3600\n")
    box.say("offline", reason="first")
    file = box.run / "poller/state.json"
    whole = file.read_bytes()
    written = f'"written_monotonic": {json.loads(whole)["written_monotonic"]}'.encode()
    with box.player() as process:
        box.until_shown("holding", "first")
        for content, reason in (
            (whole[: len(whole) // 2], "Waiting for livekeep-poller"),
            (whole.replace(written, b'"written_monotonic": 1.0'), "Waiting for livekeep-poller"),
            (whole.replace(b'"next_start": null', b'"next_start": 1e11'), "first"),
        ):
            assert content != whole
            (box.run / "poller/.new").write_bytes(content)
            (box.run / "poller/.new").rename(file)
            box.until_shown("holding", reason)
            box.say("offline", reason="well")
            box.until_shown("holding", "well")
        assert process.poll() is None


def photograph(path: Path, size: tuple[int, int]) -> bytes:
    """The bytes of a JPEG of that size, large enough to be copied for a while."""
    Image.effect_noise(size, 60).convert("RGB").save(path, "JPEG", quality=90)
    return path.read_bytes()


def test_a_picture_replaced_under_its_name_is_shown_when_it_is_whole(box: Box) -> None:
    """By a copy that takes its time, and by one that breaks off: nothing half is shown, and status says what is wrong."""
    mine = box.root / "mine.jpg"
    first, second = photograph(mine, (640, 360)), photograph(box.root / "second.jpg", (800, 600))
    mine.write_bytes(first)
    box.config.write_text(CONFIG + f'holding = "{mine}"\n')
    box.say("offline")
    with box.player():
        box.until("the owner's picture", lambda now: now.picture_file == str(mine))
        wait_until("the first", lambda: box.size() == (640, 360))
        sizes, longest, written = set(), 0.0, time.monotonic()
        with mine.open("wb", buffering=0) as file:
            for part in range(0, len(second), len(second) // 20 + 1):
                file.write(second[part : part + len(second) // 20 + 1])
                longest, written = max(longest, time.monotonic() - written), time.monotonic()
                sizes.add(box.size())
                time.sleep(0.1)
        longest = max(longest, time.monotonic() - written)
        # On a very busy machine the copy may have paused, and counted as whole.
        assert sizes == {(640, 360)} or longest >= REST_SECONDS, "the old one stands until the new one is whole"
        wait_until("the second", lambda: box.size() == (800, 600))
        (box.root / "new.jpg").write_bytes(first)
        (box.root / "new.jpg").rename(mine)
        wait_until("the first again", lambda: box.size() == (640, 360))
        mine.write_bytes(second[: len(second) // 2])
        problem = f"{mine}: cannot be shown; is it a picture, and whole? Copy it again"
        box.until("what is wrong", lambda now: now.picture_problems == (problem,) and now.picture_file == box.holding)
        assert box.size() not in ((800, 600), (640, 360))
        mine.write_bytes(second)
        box.until("nothing wrong any more", lambda now: now.picture_problems == () and now.picture_file == str(mine))
        wait_until("the second", lambda: box.size() == (800, 600))


def test_a_picture_replaced_while_the_player_is_away_is_shown_when_it_is_back(box: Box) -> None:
    mine = box.root / "mine.jpg"
    photograph(mine, (640, 360))
    box.config.write_text(CONFIG + f'holding = "{mine}"\n')
    box.say("offline")
    with box.player():
        wait_until("the first", lambda: box.size() == (640, 360))
    photograph(mine, (800, 600))
    with box.player():
        wait_until("the second", lambda: box.size() == (800, 600))


def test_without_any_picture_the_reason_still_stands_there(box: Box) -> None:
    Path(box.holding).unlink()
    Path(box.error).unlink()
    box.say("error", "refused", "No token")
    with box.player() as process:
        box.until("the reason", lambda now: now.picture == "none" and now.line == "No token")
        picture(Path(box.error))
        box.until_shown("error")
        assert process.poll() is None


def test_one_picture_may_serve_for_both(box: Box) -> None:
    box.config.write_text(CONFIG + f'holding = "{box.holding}"\nerror = "{box.holding}"\n')
    box.say("offline", next_start=time.time() + 3000)
    with box.player():
        box.until("the holding picture with its line", lambda now: now.picture == "holding" and now.line.startswith("Next: "))


def test_a_display_that_comes_late_goes_and_comes_back_is_taken(bare: Box) -> None:
    bare.say("offline")
    with bare.player():
        bare.until("no display", lambda now: now.reason and not now.display_up)
        for _ in range(2):
            with bare.display():
                bare.open_socket()
                bare.until("the picture", lambda now: now.picture == "holding" and now.display_up)
            bare.until("no display", lambda now: now.picture == "none" and not now.display_up)


def test_a_display_that_hangs_has_systemd_asked_for_its_restart(bare: Box) -> None:
    """That the bus is asked; what the call does is seen in the machine tests."""
    bare.say("offline")
    with socket.socket(socket.AF_UNIX) as bus, bare.display() as mpv:
        bare.bus.parent.mkdir(parents=True)
        bus.bind(str(bare.bus))
        bus.listen()
        bus.settimeout(PATIENCE_SECONDS)
        bare.open_socket()
        with bare.player():
            bare.until_shown("holding")
            mpv.send_signal(signal.SIGSTOP)
            caller = bus.accept()[0]
            assert b"AUTH EXTERNAL" in caller.recv(4096)
            caller.close()
            bare.until("the restart is counted", lambda now: now.display_restarts == 1)
            bare.until("the refusal is told", lambda _: "cannot be restarted" in bare.log.read_text())


def test_a_tv_that_is_off_on_purpose_has_a_black_picture_and_no_stream(box: Box, endless: LiveStream) -> None:
    box.say("live", url=endless.url)
    with box.player():
        box.until_shown("stream")
        box.switch_tv(False)
        shown = box.until_shown("none", "The TV is off: the plan")
        assert (shown.line, shown.picture_file, shown.display_up) == ("", "", True)
        assert (box.property("path"), box.property("keepaspect"), box.property("playlist-count")) == (box.black, False, 1)
        box.until("the output can be switched off", lambda now: now.display_released)
        assert box.property("vo") == [{"name": "null", "enabled": True, "params": {}}], "on a desktop mpv keeps its window"
        box.say("error", "refused", "The token is refused")
        box.systemd.wait_for("WATCHDOG=1", after=len(box.systemd.messages))
        assert box.shown().picture == "none"
    # The next run of the player finds it as it is.
    box.say("live", url=endless.url)
    with box.player():
        shown = box.until("it is off", lambda now: now.picture == "none" and now.display_released)
        assert box.property("path") == box.black
        box.switch_tv(True)
        shown = box.until_shown("stream")
        assert not shown.display_released
        assert shown.playback.starts == 1
        box.say("offline")
        box.until_shown("holding")
        assert box.property("keepaspect") is True
    assert box.black not in box.log.read_text(), "no word of a lost picture"


def test_on_the_bare_console_the_display_gives_up_the_screen_and_takes_it_again(box: Box) -> None:
    box.config.write_text(CONFIG.replace("x11", "drm"))
    box.say("offline")
    before = box.property("vo")
    with box.player():
        box.until_shown("holding")
        box.switch_tv(False, "black")
        box.until_shown("none")
        assert box.property("vo") == before
        box.switch_tv(False, "blank")
        box.until("the release", lambda now: now.display_released)
        assert [output["name"] for output in box.property("vo")] == ["null", before[0]["name"]]
        box.switch_tv(True)
        box.until("the holding picture", lambda now: now.picture == "holding" and not now.display_released)
        assert box.property("vo") == before
        box.switch_tv(False, "cec")
        box.systemd.wait_for("WATCHDOG=1", after=len(box.systemd.messages))
        assert box.shown().picture == "holding"
    assert box.shown().display_restarts == 0


def another(stream: LiveStream) -> str:
    """The address of another stream, which plays as well."""
    return f"{stream.url}&stream=two"


def test_another_stream_of_any_name_takes_the_place_of_the_open_one(box: Box, endless: LiveStream) -> None:
    box.say("live", url=endless.url, selected="main")
    with box.player():
        shown = box.until_shown("stream")
        since = shown.since
        box.say("live", url=endless.url, selected="renamed")
        box.say("live", url=another(endless), source="two", selected="main")
        shown = box.until("a second start", lambda now: now.playback.starts == 2 and now.picture == "stream")
        wait_until("the corrected address", lambda: box.property("path") == another(endless))
        assert shown.since == since, "straight from the one to the other"
        # Without a fresh URL, the holding picture takes its place until there is one.
        box.say("live", url=endless.url, source="one", url_obtained_monotonic=time.monotonic() - 60)
        box.url = ""
        shown = box.until("the URL request", lambda now: now.picture == "holding" and now.url_request)
        assert shown.url_request
        assert shown.url_request.reason == "start"
        box.url = endless.url
        box.until_shown("stream")
        wait_until("the first address", lambda: box.property("path") == endless.url)


@pytest.mark.parametrize("selected", ["one", "two"])
def test_an_outage_keeps_the_selected_stream_alone_on_the_screen(box: Box, endless: LiveStream, selected: str) -> None:
    box.say("live", url=endless.url)
    with box.player():
        box.until_shown("stream")
        box.say("unknown", "outage", "The server answers 503", source=selected)
        box.until_shown("stream" if selected == "one" else "holding", "The server answers 503")
        box.say("error", "outage", "The server answers 503 still", source=selected)
        box.until_shown("stream" if selected == "one" else "error", "The server answers 503 still")
        assert box.property("path") == (endless.url if selected == "one" else box.error)


def test_what_was_wrong_with_another_stream_is_not_said_of_this_one(box: Box) -> None:
    box.say("error", "refused", "The event is gone")
    with box.player():
        box.until_shown("error", "The event is gone")
        box.say("unknown", "outage", "The server answers 503", source="two")
        box.until_shown("holding", "The server answers 503")


@pytest.mark.parametrize("meanwhile", ["", "another is selected", "no memory", "the memory of another display"])
def test_a_second_player_keeps_on_what_is_selected_alone(box: Box, endless: LiveStream, meanwhile: str) -> None:
    box.say("live", url=endless.url)
    with box.player() as first:
        box.until_shown("stream")
        first.kill()
        first.wait()
    began, url, file = time.monotonic(), endless.url, box.run / "player/open.json"
    if meanwhile == "another is selected":
        url = another(endless)
        box.say("live", url=url, source="two")
    elif meanwhile == "no memory":
        file.unlink()
    elif meanwhile == "the memory of another display":
        state.write(replace(state.read(OpenStream, box.run), display="1-1"), box.run)
    with box.player():
        box.until(
            "the stream is its own",
            lambda now: now.picture == "stream" and now.written_monotonic > began and now.playback.starts == bool(meanwhile),
        )
        wait_until("the selected stream", lambda: box.property("path") == url)


def test_a_stream_without_pictures_gives_its_sound_beside_the_holding_picture(box: Box) -> None:
    """Its pictures come in mid-stream, and vanish again."""
    box.config.write_text(SOON_STALLED)
    with changing_stream("sound") as stream:
        box.say("live", url=stream.url)
        with box.player():
            shown = box.until("sound only", lambda now: now.stream_picture == "none" and now.picture == "holding")
            assert shown.reason == "The stream is live, but it has no picture, only sound: the holding picture is shown"
            assert shown.advice == "check the camera, and the encoder that sends the stream"
            assert (shown.picture_file, shown.playback.starts, shown.url_request) == (box.holding, 1, None)
            assert box.property("path") == stream.url, "the sound plays on"
            stream.content = "moving"
            shown = box.until("pictures", lambda now: now.picture == "stream" and now.stream_picture != "none")
            assert (shown.reason, shown.playback.failed_starts) == ("The stream is live", 0)
            stream.content = "sound"
            box.until("a stall", lambda now: now.playback.stalls)
            shown = box.until("sound only again", lambda now: now.stream_picture == "none" and now.picture == "holding")
            assert box.property("path") == stream.url


def test_a_picture_that_does_not_move_is_told_and_stays(box: Box) -> None:
    box.config.write_text(CONFIG + "blank_seconds = 2\nfrozen_seconds = 4\n")
    with changing_stream("black") as stream:
        box.say("live", url=stream.url)
        with box.player():
            for content, seen, reason in (
                ("black", "blank", "The stream is live, but its picture is of one colour, such as black"),
                ("moving", "moving", "The stream is live"),
                ("still", "frozen", "The stream is live, but its picture does not change any more"),
            ):
                stream.content = content  # type: ignore[assignment]
                shown = box.until(seen, lambda now, seen=seen: now.stream_picture == seen)  # type: ignore[misc]
                assert (shown.picture, shown.reason) == ("stream", reason)
            assert shown.playback.picture_changed_at
            assert shown.written_at - shown.playback.picture_changed_at >= 4
            assert shown.playback.starts == 1


def test_an_mpv_that_forgot_its_picture_is_given_it_again(box: Box, endless: LiveStream) -> None:
    """Whatever the cause; here another program says stop."""
    with box.player():
        box.until_shown("holding")
        other = Mpv(box.socket)
        other.show_nothing()
        box.until_shown("none")
        box.until_shown("holding")
        assert box.log.read_text().count("mpv shows nothing instead of its picture") == 1
        box.say("live", url=endless.url)
        box.until_shown("stream")
        other.show_nothing()
        box.until("another start", lambda now: now.picture == "stream" and now.playback.starts == 2)
        other.close()


def test_fifty_changes_leave_nothing_behind(box: Box) -> None:
    box.say("offline", reason="0")
    with box.player() as process:
        box.until_shown("holding", "0")

        def descriptors() -> int:
            return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))

        # The state's file is open for moments.
        before = min(descriptors() for _ in range(100))
        for number in range(1, 51):
            name, cause, wanted = (("offline", "", "holding"), ("error", "refused", "error"))[number % 2]
            box.say(name, cause, f"reason {number}")
            box.until(wanted, lambda now, number=number: now.reason == f"reason {number}")  # type: ignore[misc]
        box.until_shown("holding", "reason 50")
        wait_until("no descriptor more", lambda: descriptors() <= before)
