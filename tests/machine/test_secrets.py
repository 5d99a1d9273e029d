"""The token and the signatures of stream URLs: nowhere but where they belong."""

from __future__ import annotations

import re
import signal

import pytest

from tests.machine.machine import wait_for
from tests.machine.room import lines_with
from tests.machine.screen import DISPLAY, PLAYER, POLLER, Screen
from tests.machine.vimeo import TOKEN

STREAM_FILE = "/run/livekeep/stream/stream.json"
TOKEN_FILE = "/etc/credstore/livekeep.vimeo-token"
PASSWORD, KEY = "pass-1f3a5c7e", "key-2b4d6f80"
COMMANDS = (
    "livekeep status", "livekeep status --json", "livekeep health", "livekeep doctor", "livekeep doctor --json",
    "livekeep select", "livekeep check-config", "systemctl status 'livekeep*'", "systemctl show 'livekeep*'",
)  # fmt: skip
OTHERS = ("nobody", "livekeep-display", "livekeep-error-screen", "visitor")


def live_through_everything(screen: Screen) -> None:
    """A session with everything that makes programs verbose, at the level "debug"."""
    screen.configure({"log": {"level": "debug"}})
    screen.goes_live()
    for break_stream in (screen.live.stall, lambda: screen.live.answer(404), screen.live.reset):
        break_stream()
        screen.shows("holding", within=60)
        screen.live.resume()
        screen.moves(60)
    for fault in ("401", "garbage", "bad_url_scheme", "big"):
        screen.vimeo.fault(fault)
        wait_for(lambda fault=fault: screen.vimeo.requests()[-1]["fault"] == fault, 30)  # type: ignore[misc]
    screen.vimeo.ok()
    screen.machine.systemctl("reload", POLLER)
    screen.moves(60)
    for unit, number in ((DISPLAY, signal.SIGKILL), (PLAYER, signal.SIGABRT), (POLLER, signal.SIGABRT)):
        screen.is_renewed(unit, screen.signal(unit, number))
    screen.moves(60)


def live_through_a_plain_url(screen: Screen) -> None:
    """A URL with a password and a key, that works and then fails."""
    url = screen.live.url.replace("http://", f"http://user:{PASSWORD}@") + f"?key={KEY}"
    screen.configure({"log": {"level": "debug"}, "streams.main": {"vimeo_event": "", "url": url}})
    screen.moves(60)
    screen.live.answer(403)
    screen.shows("error", within=60)
    screen.live.resume()


def secrets(screen: Screen) -> set[str]:
    """The texts that must not be found."""
    signatures = {found for url in screen.vimeo.signed() for found in re.findall(r"SECRET[0-9a-f]{32}", url)}
    assert len(signatures) > 3
    return {TOKEN, PASSWORD, KEY, "hmac=", *signatures}


@pytest.fixture(scope="module")
def after_a_session(screen_room: Screen) -> Screen:
    """The room, live, after many events."""
    screen_room.restore()
    screen_room.vimeo.forget()
    live_through_everything(screen_room)
    live_through_a_plain_url(screen_room)
    screen_room.configure({"log": {"level": "debug"}})
    screen_room.machine.systemctl("reload", POLLER)
    screen_room.moves(60)
    screen_room.machine.run("useradd --groups livekeep visitor")
    return screen_room


def test_they_are_where_they_belong(after_a_session: Screen) -> None:
    """Otherwise the other tests would prove nothing: root finds them in their two places."""
    assert "hmac=SECRET" in after_a_session.machine.read(STREAM_FILE)
    assert TOKEN in after_a_session.machine.read(TOKEN_FILE)


def test_not_in_the_journal(after_a_session: Screen) -> None:
    """Every field of every entry, since boot."""
    text = after_a_session.machine.journal(None, "--all", "-o", "export")
    assert "livekeep-poller" in text
    assert lines_with(text, secrets(after_a_session)) == []


def test_not_in_states(after_a_session: Screen) -> None:
    """Not in any file below /run/livekeep except one."""
    command = f"find /run/livekeep -type f ! -path {STREAM_FILE} -exec cat {{}} +"
    text = after_a_session.machine.run(command).stdout
    assert '"picture"' in text
    assert lines_with(text, secrets(after_a_session)) == []


def test_not_on_command_lines_nor_in_environments(after_a_session: Screen) -> None:
    """Of any process."""
    text = after_a_session.machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'", check=False).stdout
    assert "mpv" in text
    assert lines_with(text, secrets(after_a_session)) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_not_in_what_commands_print(after_a_session: Screen, command: str) -> None:
    """Even when root runs them."""
    done = after_a_session.machine.run(command, check=False)
    assert done.stdout + done.stderr
    assert lines_with(done.stdout + done.stderr, secrets(after_a_session)) == []


def test_not_in_a_screenshot_nor_on_the_disk(after_a_session: Screen) -> None:
    """The file contains only the picture; and nothing is written to the disk except the credential."""
    machine = after_a_session.machine
    machine.run(["livekeep", "screenshot", "/root/shot.png"])
    wanted = "\n".join(sorted(secrets(after_a_session)))
    places = "/root/shot.png /etc /var /usr/local /tmp"
    done = machine.run(f"grep -rlaFf - {places}", input=wanted, check=False)
    # The journal on the disk has a separate test; the drop-in is the administrator's own.
    assert set(done.stdout.split()) == {TOKEN_FILE}
    assert machine.run("grep -caFf - /run/livekeep/stream/stream.json", input=wanted).stdout.strip() != "0"


def test_nobody_else_can_read_them(after_a_session: Screen) -> None:
    """The signed URL belongs to player and poller; the token to root, and by systemd to the poller."""
    machine = after_a_session.machine
    credential = "/run/credentials/livekeep-poller.service/livekeep.vimeo-token"
    for user in OTHERS:
        for path in (STREAM_FILE, TOKEN_FILE, credential):
            assert machine.run(["cat", path], user=user, check=False).returncode != 0, (user, path)
    assert machine.run(["cat", credential], user="livekeep-player", check=False).returncode != 0
    as_unit = "setpriv --reuid=livekeep-player --regid=livekeep --groups=livekeep-player"
    assert machine.run(f"{as_unit} cat {STREAM_FILE}").returncode == 0
    as_group = "setpriv --reuid=nobody --regid=livekeep --clear-groups"
    assert machine.run(f"{as_group} cat {STREAM_FILE}", check=False).returncode != 0


def test_nobody_else_can_command_the_display(after_a_session: Screen) -> None:
    """mpv's socket runs any command: it belongs to the player only."""
    script = "import socket; socket.socket(socket.AF_UNIX).connect('/run/livekeep/display/mpv.sock')"
    for user in ("nobody", "livekeep-poller", "livekeep-error-screen", "visitor"):
        done = after_a_session.machine.run(["python3", "-c", script], user=user, check=False)
        assert "PermissionError" in done.stderr, user
    as_unit = "setpriv --reuid=livekeep-player --regid=livekeep --groups=livekeep-display"
    after_a_session.machine.run(f'{as_unit} python3 -c "{script}"')


def test_the_player_may_restart_the_display_and_nothing_else(after_a_session: Screen) -> None:
    """As polkit allows."""
    machine = after_a_session.machine
    after_a_session.forgive()

    def asks(verb: str, unit: str) -> int:
        call = f"busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager {verb}"
        return machine.run(f"{call} ss {unit} replace", user="livekeep-player", check=False).returncode

    assert asks("RestartUnit", DISPLAY) == 0
    assert asks("StopUnit", DISPLAY) != 0
    assert asks("RestartUnit", POLLER) != 0
    assert asks("RestartUnit", "systemd-journald.service") != 0
    after_a_session.moves(60)
