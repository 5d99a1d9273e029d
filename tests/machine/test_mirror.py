"""screen.mirror: two outputs of a real X server show the same. Its driver has outputs, but no TVs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.machine import root
from tests.machine.room import Room, Settings
from tests.machine.screen import DISPLAY, kind
from tests.machine.vimeo import EVENT_ID, TOKEN, VimeoStandIn

NUMBER = 5
X_SERVER = f"""\
[Service]
ExecStart=/usr/bin/Xorg :{NUMBER} -config /etc/xorg.conf -noreset -nolisten tcp -ac -seat seat-of-a-test
"""
XORG = """\
Section "Device"
  Identifier "device"
  Driver "dummy"
  VideoRam 64000
EndSection
Section "Monitor"
  Identifier "monitor"
  HorizSync 5-1000
  VertRefresh 5-200
EndSection
Section "Screen"
  Identifier "screen"
  Device "device"
  Monitor "monitor"
  DefaultDepth 24
EndSection
"""
SIDE_BY_SIDE = f"""\
from Xlib import X, display
server = display.Display(":{NUMBER}")
root = server.screen().root
resources = root.xrandr_get_screen_resources()
sizes = {{mode.id: (mode.width, mode.height) for mode in resources.modes}}
number = {{size: mode for mode, size in sizes.items()}}
first, second = resources.outputs[:2]
server.xrandr_add_output_mode(second, number[1280, 720])
# The time of this change.
resources = root.xrandr_get_screen_resources()
for crtc in resources.crtcs[:2]:
    server.xrandr_set_crtc_config(crtc, resources.config_timestamp, 0, 0, 0, 1, [])
root.xrandr_set_screen_size(3200, 1080, 800, 300)
for output, left, size in ((first, 0, (1920, 1080)), (second, 1920, (1280, 720))):
    crtc = server.xrandr_get_output_info(output, resources.config_timestamp).crtcs[0]
    server.xrandr_set_crtc_config(crtc, resources.config_timestamp, left, 0, number[size], 1, [output])
server.sync()
"""
AREAS = f"""\
from livekeep.system import randr
with randr.connection(":{NUMBER}") as display:
    print([output.area for output in randr.outputs(display)])
"""

pytestmark = pytest.mark.nightly


class TwoTvs(Room):
    """A room with an X server inside."""

    options = ("--output", "x11", "--token-file", "/root/token")

    def __init__(self, suite: root.Suite) -> None:
        super().__init__(suite, (*root.packages_of(suite), "xserver-xorg-core", "xserver-xorg-video-dummy"))
        self.vimeo = VimeoStandIn(self.network)
        self.parts.append(self.vimeo)

    def _prepare(self) -> None:
        self.machine.write("/etc/systemd/system/desktop.service", X_SERVER)
        self.machine.write("/etc/xorg.conf", XORG)
        self.machine.systemctl("daemon-reload")
        self.machine.systemctl("start", "desktop.service")
        self.until("the X server's socket", lambda: self.machine.exists(f"/tmp/.X11-unix/X{NUMBER}"))
        self.write_config()
        self.machine.write("/root/token", f"{TOKEN}\n", 0o600)

    def settings(self) -> Settings:
        return {
            **super().settings(),
            "vimeo": {"api_url": self.vimeo.base_url},
            "screen": {"output": "x11", "x11_display": f":{NUMBER}", "mirror": True},
            "streams.main": {"vimeo_event": EVENT_ID},
        }

    def areas(self) -> str:
        """The part of the X screen that each output shows."""
        return self.machine.run(["python3", "-c", AREAS]).stdout.strip()

    def picture(self) -> tuple[str, tuple[int, int]]:
        """What the X screen shows, and its size."""
        done = self.machine.run("livekeep screenshot - | base64 --wrap=0", check=False)
        if not done.stdout:
            return "", (0, 0)
        image = Image.open(io.BytesIO(base64.b64decode(done.stdout))).convert("RGB")
        places = [(image.width * x // 10, image.height // 2) for x in range(1, 10)]
        return kind([image.getpixel(place) for place in places]), image.size  # type: ignore[misc]

    def report(self) -> str:
        return f"{self.areas()}\n{super().report()}\n{self.machine.journal('desktop.service', '--lines=30')}"


@pytest.fixture(scope="module", params=root.SUITES)
def room(request: pytest.FixtureRequest) -> Iterator[TwoTvs]:
    with TwoTvs(request.param) as room:
        yield room


def test_both_outputs_show_the_same(room: TwoTvs) -> None:
    room.until("the holding picture", lambda: room.picture()[0] == "holding")
    room.machine.run(["python3", "-c", SIDE_BY_SIDE])
    assert room.areas() == "[(0, 0, 1920, 1080), (1920, 0, 1280, 720)]"
    assert "DUMMY0 and DUMMY1 do not show the same" in room.livekeep("doctor")
    room.machine.systemctl("restart", DISPLAY)
    # The largest resolution of this driver.
    room.until("the same on both", lambda: room.areas() == "[(0, 0, 2048, 1536), (0, 0, 2048, 1536)]")
    room.until("the holding picture on both", lambda: room.picture() == ("holding", (2048, 1536)))
    assert "do not show the same" not in room.livekeep("doctor")
    assert "screen.mirror" not in room.machine.journal(DISPLAY)
