"""On a Wayland desktop: the display and the error screen in the session of an ordinary user, on a headless compositor.

grim, the compositor's screenshot tool, reads what it shows.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator, Sequence

import pytest
from PIL import Image

from tests.corners import corners_png, has
from tests.machine import root
from tests.machine.live import LiveStream
from tests.machine.machine import wait_for
from tests.machine.room import Room, Settings
from tests.machine.screen import DISPLAY, ERROR_SCREEN, PLAYER, UNITS, is_given_up, is_retried, kind
from tests.machine.vimeo import EVENT_ID, TOKEN, VimeoStandIn

USER, RUNTIME_DIRECTORY, SOCKET = "anna", "/run/user/1000", "wayland-1"
WIDTH, HEIGHT = 1280, 720
GRID = 8
SOON_SECONDS = 60.0
OWN_PICTURES = "/var/lib/livekeep/pictures"
# An ordinary desktop without a screen or a graphics card; grim cannot read a surface that is scanned out directly.
COMPOSITOR = f"""\
[Service]
User={USER}
Environment=XDG_RUNTIME_DIR={RUNTIME_DIRECTORY} WLR_BACKENDS=headless WLR_RENDERER=pixman WLR_LIBINPUT_NO_DEVICES=1
Environment=WLR_SCENE_DISABLE_DIRECT_SCANOUT=1
ExecStartPre=+install --directory --mode=0700 --owner={USER} --group={USER} {RUNTIME_DIRECTORY}
ExecStart=/usr/bin/sway --config /etc/desktop.conf
"""
SWAY = f"""\
output HEADLESS-1 resolution {WIDTH}x{HEIGHT} background #404040 solid_color
seat * hide_cursor 1
"""


class Desktop(Room):
    """A room whose screen is a user's desktop; livekeep is installed, the desktop runs."""

    options = ("--output", "wayland", "--token-file", "/root/token")

    def __init__(self, suite: root.Suite) -> None:
        super().__init__(suite, (*root.packages_of(suite), "sway", "grim"))
        self.live = LiveStream(self.network)
        self.vimeo = VimeoStandIn(self.network)
        self.parts += [self.live, self.vimeo]

    def _prepare(self) -> None:
        self.machine.run(["useradd", "--create-home", "--uid=1000", "--shell=/bin/bash", USER])
        self.machine.write("/etc/systemd/system/desktop.service", COMPOSITOR)
        self.machine.write("/etc/desktop.conf", SWAY)
        self.machine.systemctl("daemon-reload")
        self.machine.systemctl("start", "desktop.service")
        self.until("the desktop has a socket", lambda: self.machine.exists(f"{RUNTIME_DIRECTORY}/{SOCKET}"), SOON_SECONDS)
        self.write_config()
        self.machine.write("/root/token", f"{TOKEN}\n", 0o600)

    def settings(self) -> Settings:
        return {
            **super().settings(),
            "vimeo": {"api_url": self.vimeo.base_url},
            "screen": {"output": "wayland", "wayland_display": SOCKET, "desktop_user": USER, "stall_seconds": 4.0},
            "streams.main": {"vimeo_event": EVENT_ID},
            "poller": {"interval_seconds": 2.0},
        }

    def pixels(self) -> bytes:
        """The desktop's pixels: rows of 3 bytes per pixel; empty when they cannot be read."""
        environment = {"XDG_RUNTIME_DIR": RUNTIME_DIRECTORY, "WAYLAND_DISPLAY": SOCKET}
        done = self.machine.run("grim -t ppm - | base64 --wrap=0", env=environment, user=USER, check=False)
        return base64.b64decode(done.stdout)[-WIDTH * HEIGHT * 3 :]

    def seen(self, rotate: int) -> Image.Image:
        """What a viewer of the turned TV sees; black when it cannot be read."""
        data = self.pixels() or bytes(WIDTH * HEIGHT * 3)
        return Image.frombytes("RGB", (WIDTH, HEIGHT), data).rotate(rotate, expand=True)

    def grid(self) -> Sequence[tuple[int, int, int]]:
        """The colours of 64 points, the middles of equal cells."""
        data = self.pixels()
        columns = [(2 * index + 1) * WIDTH // (2 * GRID) for index in range(GRID)]
        rows = [(2 * index + 1) * HEIGHT // (2 * GRID) for index in range(GRID)]
        places = [(y * WIDTH + x) * 3 for y in rows for x in columns] if data else []
        return [(data[at], data[at + 1], data[at + 2]) for at in places] or [(0, 0, 0)]

    def picture(self) -> str:
        """What the desktop shows: "stream", "holding", "error", "black" or "other"."""
        return kind(self.grid())

    def shows(self, picture: str, within: float = SOON_SECONDS) -> None:
        """Wait until the desktop shows this."""
        self.until(f"the desktop shows {picture}", lambda: self.picture() == picture, within)

    def report(self) -> str:
        desktop = self.machine.journal("desktop.service", "--lines=20")
        return f"the desktop: {self.picture()} {self.grid()[:3]}\n{super().report()}\n{desktop}"

    def owner(self, unit: str) -> str:
        """The user that runs a unit's main process."""
        pid = self.machine.main_pid(unit).inside
        return self.machine.run(["stat", "--format=%U", f"/proc/{pid}"]).stdout.strip()


@pytest.fixture(scope="module", params=root.SUITES)
def desktop(request: pytest.FixtureRequest) -> Iterator[Desktop]:
    """A desktop with livekeep on it."""
    with Desktop(request.param) as room:
        yield room


def is_output_on(desktop: Desktop) -> bool:
    """What the compositor says of its output."""
    outputs = desktop.machine.run("swaymsg --socket $(echo /run/user/1000/sway-ipc.*) --raw --type get_outputs", user=USER).stdout
    output = json.loads(outputs)[0]
    return bool(output.get("power", output["dpms"]))


def test_holding_picture_in_the_users_session(desktop: Desktop) -> None:
    desktop.shows("holding")
    assert desktop.owner(DISPLAY) == USER
    assert desktop.owner(PLAYER) == "livekeep-player"


def test_display_sees_nothing_of_the_session_but_its_sockets(desktop: Desktop) -> None:
    pid = desktop.machine.main_pid(DISPLAY).inside
    seen = desktop.machine.run(["ls", "-A", f"/proc/{pid}/root{RUNTIME_DIRECTORY}"]).stdout.split()
    assert seen == [SOCKET]
    assert desktop.machine.run(["ls", "-A", f"/proc/{pid}/root/home"]).stdout == ""


def test_goes_live_and_off(desktop: Desktop) -> None:
    desktop.vimeo.go_live(desktop.live.url)
    desktop.shows("stream")
    before = desktop.pixels()
    wait_for(lambda: desktop.pixels() != before and desktop.picture() == "stream", SOON_SECONDS, 0.2)
    desktop.vimeo.go_off()
    desktop.shows("holding")


def test_the_output_is_switched_off_and_on(desktop: Desktop) -> None:
    desktop.shows("holding")
    before = desktop.machine.unit_property(DISPLAY, "InvocationID")
    done = desktop.machine.run(["livekeep", "tv", "off"], check=False)
    state = desktop.json_of("tv/state.json")
    if desktop.suite == "trixie":
        assert not is_output_on(desktop)
        assert (done.returncode, state["method"], state["problem"]) == (0, "blank", "")
    else:
        # bookworm's compositor refuses it for an output without hardware, as one may for any other reason.
        assert is_output_on(desktop)
        assert (done.returncode, state["method"]) == (1, "black")
        assert state["problem"] == "the Wayland compositor does not switch its outputs off"
    assert desktop.json_of("player/state.json")["picture"] == "none"
    desktop.machine.run(["livekeep", "tv", "on"])
    assert is_output_on(desktop)
    desktop.shows("holding")
    assert desktop.machine.unit_property(DISPLAY, "InvocationID") == before


def test_error_screen_when_the_display_cannot_start(desktop: Desktop) -> None:
    desktop.machine.systemctl("reset-failed", DISPLAY)
    desktop.machine.run(["mv", "/usr/bin/mpv", "/usr/bin/mpv.away"])
    desktop.machine.write("/usr/bin/mpv", "#!/bin/sh\nexit 1\n", 0o755)
    desktop.machine.systemctl("kill", "--signal=SIGKILL", DISPLAY)
    desktop.shows("error")
    assert desktop.owner(ERROR_SCREEN) == USER
    desktop.machine.run(["mv", "/usr/bin/mpv.away", "/usr/bin/mpv"])
    is_retried(desktop.machine, DISPLAY)
    desktop.shows("holding")
    assert desktop.machine.unit_property(ERROR_SCREEN, "ActiveState") == "inactive"


@pytest.mark.nightly
def test_turned_picture_error_screen_and_screenshot(desktop: Desktop) -> None:
    for rotate in (90, 180, 270):
        desktop.machine.write(f"{OWN_PICTURES}/corners.png.base64", base64.b64encode(corners_png()).decode())
        desktop.machine.run(f"cd {OWN_PICTURES}; base64 -d corners.png.base64 >corners.png; touch -d @0 corners.png")
        desktop.write_config({"screen": {"rotate": rotate, "holding": [f"{OWN_PICTURES}/corners.png"]}})
        desktop.livekeep("apply", check=True)
        desktop.until(f"turned by {rotate}", lambda rotate=rotate: has(desktop.seen(rotate)))  # type: ignore[misc]
        shot = desktop.machine.run("livekeep screenshot - | base64 --wrap=0").stdout
        assert has(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"))
    desktop.machine.systemctl("stop", PLAYER, DISPLAY)
    desktop.machine.systemctl("start", ERROR_SCREEN)
    # The shipped error picture: nearly as large as fits, with bars above and below.
    seen = desktop.seen(270)
    assert kind([seen.getpixel((x, seen.height // 2)) for x in range(100, 600, 50)]) == "error"  # type: ignore[misc]
    assert seen.getpixel((seen.width // 2, seen.height // 5)) == (0, 0, 0)
    desktop.machine.systemctl("stop", ERROR_SCREEN)
    desktop.write_config()
    desktop.livekeep("apply", check=True)
    desktop.machine.systemctl("start", DISPLAY, PLAYER)
    desktop.shows("holding")


def test_desktop_that_starts_anew(desktop: Desktop) -> None:
    """As after a log-out and log-in: the compositor's socket is a new one."""
    desktop.machine.systemctl("reset-failed", DISPLAY)
    desktop.machine.systemctl("restart", "desktop.service")
    desktop.shows("holding", within=150)


def test_desktop_that_comes_after_the_display(desktop: Desktop) -> None:
    """As at boot: nobody is logged in yet."""
    desktop.machine.systemctl("stop", "livekeep.target", "desktop.service")
    desktop.machine.run(["rm", "-rf", RUNTIME_DIRECTORY])
    desktop.machine.systemctl("reset-failed", *UNITS, check=False)
    desktop.machine.systemctl("start", "--no-block", "livekeep.target")
    time.sleep(5)
    desktop.machine.systemctl("start", "desktop.service")
    wait_for(lambda: is_given_up(desktop.machine, DISPLAY) or desktop.picture() == "holding", 150, 0.2)
    if is_given_up(desktop.machine, DISPLAY):
        is_retried(desktop.machine, DISPLAY)
    desktop.shows("holding", within=150)
