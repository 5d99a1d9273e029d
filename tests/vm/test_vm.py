"""The machine itself, and the error screen on its bare screen: what no container can show."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image as Picture

from . import GUEST_HOST, VM, Recipe, build, read_wav, strength

pytestmark = pytest.mark.nightly

LIB = Path(__file__).parents[2] / "lib"
SUITES = os.environ.get("LIVEKEEP_VM_SUITES", "trixie").split(",")
PACKAGES = ("mpv", "python3-pil", "python3-sdnotify", "python3-xlib", "fonts-dejavu-core")
RED, BLUE, GREEN = (200, 40, 40), (40, 90, 220), (0, 160, 0)
BLACK = (0, 0, 0)
TONE_HERTZ = 880
# Of an emulated processor that has other things to do too; 20 to 30 when it is left alone.
BOOT_TO_PICTURE_SECONDS = 90
SANDBOX = """
User=nobody
SupplementaryGroups=video render
DevicePolicy=closed
DeviceAllow=char-drm rw
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
UMask=0027
"""
PAINTER = f"""
[Service]
Type=notify
TimeoutStartSec=infinity
Environment=PYTHONPATH=/opt/livekeep/lib PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 -m livekeep.screen.display.error_screen --output drm --picture /opt/livekeep/error.png \\
    --line "The stream cannot be shown." --line "See the journal." --copy-to /run/painter/copy.png
RuntimeDirectory=painter
PrivateNetwork=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
{SANDBOX}
[Install]
WantedBy=multi-user.target
"""
PLAYER = f"""
[Service]
ExecStart=/usr/bin/mpv --no-config --no-terminal --image-display-duration=inf --ao=alsa \\
    --audio-device=alsa/plughw:0,0 $PLAY
SupplementaryGroups=audio
DeviceAllow=char-alsa rw
{SANDBOX}
"""


def picture(colour: tuple[int, int, int], middle: tuple[int, int, int]) -> bytes:
    """A PNG of 16:9 with another colour in its middle."""
    image = Picture.new("RGB", (640, 360), colour)
    image.paste(middle, (220, 80, 420, 280))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def files() -> dict[str, bytes]:
    """What is put into the root besides the library."""
    return {
        "opt/livekeep/error.png": picture(RED, BLUE),
        "opt/livekeep/green.png": picture(GREEN, GREEN),
        "etc/systemd/system/painter.service": PAINTER.encode(),
        "etc/systemd/system/player.service": PLAYER.encode(),
    }


def put(root: Path) -> None:
    shutil.copytree(LIB, root / "opt/livekeep/lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def put_key() -> str:
    """What `put` puts there, as a hash."""
    contents = [path.read_bytes() for path in sorted(LIB.rglob("*.py"))] + list(files().values())
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


class Greeter(BaseHTTPRequestHandler):
    """Stands for a service outside: answers with the path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    """A web server on this machine; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module", params=SUITES)
def machine(request: pytest.FixtureRequest, service: int) -> Iterator[VM]:
    with VM(build(Recipe(request.param, PACKAGES, put, put_key())), serve={80: service}) as booted:
        yield booted


def test_machine_boots_with_a_screen_and_runs_commands(machine: VM) -> None:
    assert machine.wait_booted() == "running"
    width, height, pixels = machine.screendump()
    assert (width, height, len(pixels)) == (1280, 720, 1280 * 720 * 3)
    result = machine.run("cat; echo problem >&2; exit 3", check=False, stdin=b"words")
    assert (result.code, result.stdout, result.stderr) == (3, "words", "problem\n")
    assert machine.run("sleep 60", check=False, timeout=1).code == 124
    assert machine.run("id -un", user="nobody").stdout == "nobody\n"
    machine.put("/root/large", bytes(range(256)) * 4096)
    assert machine.get("/root/large") == bytes(range(256)) * 4096
    assert machine.run("cat /sys/fs/cgroup/system.slice/memory.max").stdout == "max\n"


def test_machine_reaches_what_is_served_and_nothing_else(machine: VM) -> None:
    machine.network_up()
    fetch = "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read().decode())'"
    for name in ("one", "two"):
        assert machine.run(f"{fetch} http://{GUEST_HOST}/{name}").stdout == f"/{name}\n"
    assert machine.run(f"{fetch} http://10.0.2.2:{machine.serve[80]}/", check=False).code == 1


def test_error_screen_paints_without_privileges_and_ends(machine: VM) -> None:
    machine.run("systemctl start painter")
    assert machine.pixel(640, 300) == BLUE
    assert machine.pixel(100, 100) == RED
    width, height, pixels = machine.screendump()
    machine.wait_for(lambda: machine.run("test -e /run/painter/copy.png", check=False).code == 0)
    copy = Picture.open(io.BytesIO(machine.get("/run/painter/copy.png")))
    assert copy.size == (width, height)
    assert copy.tobytes() == pixels
    text = copy.crop((0, 560, width, height)).convert("L").histogram()
    assert sum(text[240:]) > 1000
    machine.run("systemctl stop painter")
    assert machine.run("systemctl show -P Result painter").stdout == "success\n"
    assert machine.pixel(640, 300) == BLACK


def play(machine: VM, what: str) -> None:
    """Start mpv with these arguments, in the sandbox of its unit."""
    machine.run(f"systemctl set-environment 'PLAY={what}' && systemctl start player")


def test_mpv_paints_without_privileges(machine: VM) -> None:
    play(machine, "--vo=drm /opt/livekeep/green.png")
    machine.wait_for(lambda: machine.shows(640, 360, GREEN), 60)
    machine.screenshot(machine.directory / "mpv.png")


def test_error_screen_waits_until_the_player_has_let_go(machine: VM) -> None:
    machine.run("systemctl start --no-block painter")
    said = "journalctl -u painter -o cat | grep -c 'cannot be painted: end the program that has the display'"
    machine.wait_for(lambda: machine.run(said, check=False).stdout == "1\n")
    assert machine.shows(640, 360, GREEN)
    machine.run("systemctl stop player")
    machine.wait_for(lambda: machine.shows(640, 300, BLUE))
    assert machine.run(said).stdout == "1\n"
    machine.run("systemctl stop painter")


def test_error_screen_follows_the_tv(machine: VM) -> None:
    machine.run("systemctl start painter")
    machine.connect_tv(connected=False)
    status = "systemctl show -P StatusText painter"
    machine.wait_for(lambda: "no TV is connected to Virtual-1" in machine.run(status).stdout)
    machine.connect_tv(connected=True)
    machine.wait_for(lambda: machine.shows(640, 300, BLUE))
    machine.run("systemctl stop painter")


def test_sound_of_mpv_is_recorded(machine: VM) -> None:
    play(machine, f"--video=no av://lavfi:sine=f={TONE_HERTZ}:r=48000")

    def hears_tone() -> bool:
        rate, samples = read_wav(machine.wav)
        second = samples[-rate:]
        return 0 < rate == len(second) and strength(second, rate, TONE_HERTZ) > 1e5

    machine.wait_for(hears_tone, 60, pause=1)
    rate, samples = read_wav(machine.wav)
    heard = {hertz: strength(samples[-rate // 2 :], rate, hertz) for hertz in (440, 800, TONE_HERTZ, 960, 1760)}
    assert max(heard, key=lambda hertz: heard[hertz]) == TONE_HERTZ
    machine.run("systemctl stop player")


def test_power_cut_and_a_boot_without_a_tv(machine: VM) -> None:
    machine.run("systemctl enable painter && sync")
    machine.power_cut()
    machine.kernel_options = "video=Virtual-1:d"
    machine.start()
    state = "systemctl show -P ActiveState,StatusText painter"
    machine.wait_for(lambda: "no TV is connected to any connector" in machine.run(state).stdout, 60)
    machine.connect_tv(connected=True)
    machine.wait_for(lambda: machine.shows(640, 300, BLUE))
    assert "active\n" in machine.run(state).stdout


def test_boot_ends_with_the_picture(machine: VM, record_property: Callable[[str, object], None]) -> None:
    machine.shut_down()
    machine.kernel_options = ""
    machine.start()
    machine.wait_for(lambda: machine.shows(640, 300, BLUE), 60)
    seconds = time.monotonic() - machine.started_monotonic
    record_property("seconds from power-on to picture", round(seconds, 1))
    assert seconds < BOOT_TO_PICTURE_SECONDS
