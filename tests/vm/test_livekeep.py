"""livekeep on a machine with a screen, a sound card and a kernel of its own: what a container cannot show.

The tests share one machine and stand in the order of its life: first boot, a day with its troubles, a power cut, a boot
without a TV, the end. The configuration is the default but for the addresses.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.corners import corners_png, has
from tests.machine.screen import DISPLAY, ERROR_SCREEN, PLAYER, POLLER, kind
from tests.machine.vimeo import VimeoStandIn

from . import VM, build, read_wav, strength
from .box import API_PORT, LIVE_PORT, SOON_SECONDS, UNITS, Box, Note, recipe
from .stream import TONE_HERTZ, SmallStream
from .tv_line import HOUR, TvLine, remove_plan, span, switch_off_by_plan, tv_reports, write_plan

SUITES = os.environ.get("LIVEKEEP_VM_SUITES", "trixie").split(",")
# An emulated processor, on a machine that has other things to do.
BOOT_SECONDS = 240.0
RETRY_SECONDS = 60.0
EXPORTER = "livekeep-exporter.service"
MEMORY_BYTES = {PLAYER: 96 << 20, POLLER: 128 << 20, ERROR_SCREEN: 192 << 20, EXPORTER: 48 << 20}
EXPOSURE = {POLLER: 1.5, PLAYER: 0.8, DISPLAY: 4.0, EXPORTER: 1.2}
TYPED_FILE = "/root/typed"
TYPED = ("ret", *"touch", "spc", "slash", *"root", "slash", *"typed", "ret")
BRIGHT = 200


@pytest.fixture(scope="module", params=SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """The machine, powered on for the first time after livekeep was installed."""
    image = build(recipe(request.param))
    with VimeoStandIn() as vimeo, SmallStream() as live, contextlib.ExitStack() as stack:
        machine = VM(image, serve={API_PORT: vimeo.port, LIVE_PORT: live.port})
        # Powered on by the first test.
        stack.push(machine)
        yield Box(machine, vimeo, live)


def hears_tone(box: Box) -> bool:
    """Whether the last second that the sound card played is the stream's tone and no other."""
    rate, samples = read_wav(box.machine.wav)
    second = samples[-rate:]
    if not 0 < rate == len(second):
        return False
    heard = {hertz: strength(second, rate, hertz) for hertz in (220, 400, TONE_HERTZ, 480, 880)}
    return heard[TONE_HERTZ] > 1e4 and max(heard, key=lambda hertz: heard[hertz]) == TONE_HERTZ


def instance(box: Box) -> tuple[str, str]:
    """Which run of the display this is: its invocation and process."""
    return box.show(DISPLAY, "InvocationID"), box.show(DISPLAY, "MainPID")


def forgive(box: Box) -> None:
    """Forget the restarts that count towards the limit."""
    box.machine.run(f"systemctl reset-failed {' '.join(UNITS)}")


def replace_mpv(box: Box) -> None:
    """Put a program that fails in mpv's place."""
    box.machine.run("mv /usr/bin/mpv /usr/bin/mpv.away")
    box.machine.put("/usr/bin/mpv", b"#!/bin/sh\nexit 1\n", 0o755)


def restore_mpv(box: Box) -> None:
    """Put mpv back."""
    box.machine.run("mv /usr/bin/mpv.away /usr/bin/mpv")


def test_boots_to_the_holding_picture(box: Box, note: Note) -> None:
    box.machine.start(BOOT_SECONDS)
    box.shows("holding", BOOT_SECONDS)
    note("power-on to holding picture", time.monotonic() - box.machine.started_monotonic)
    assert box.machine.wait_booted(BOOT_SECONDS) == "running"
    assert box.machine.run(f"stat -c %U /proc/{box.show(DISPLAY, 'MainPID')}").stdout == "livekeep-display\n"
    assert [box.show(unit, "NRestarts") for unit in UNITS] == ["0"] * 3, box.report()
    status = box.machine.run(f"grep -E '^(CapEff|NoNewPrivs)' /proc/{box.show(DISPLAY, 'MainPID')}/status").stdout.split()
    assert status == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]


def test_a_reload_needs_no_more_than_debian_has(box: Box) -> None:
    """This machine has no procps, which has kill(1)."""
    box.machine.run(f"! command -v ps && systemctl reload {PLAYER} {POLLER} {EXPORTER}")


def test_keystrokes_reach_no_login(box: Box) -> None:
    assert box.show("getty@tty1.service", "ActiveState") == "inactive"
    display = instance(box)
    box.machine.send_keys("ctrl-c", *TYPED, "ctrl-d", "q", "esc", "ctrl-alt-f2", "ctrl-alt-f1", *TYPED)
    time.sleep(3)
    assert box.machine.run(f"test -e {TYPED_FILE}", check=False).code == 1
    assert box.show("getty@tty1.service", "ActiveState") == "inactive"
    assert instance(box) == display
    box.shows("holding")


def test_memory_is_bounded_by_the_kernel(box: Box) -> None:
    for unit in (PLAYER, POLLER):
        group = box.show(unit, "ControlGroup")
        assert group.startswith("/livekeep.slice/")
        limit = int(box.machine.run(f"cat /sys/fs/cgroup{group}/memory.max").stdout)
        assert limit == MEMORY_BYTES[unit]
        assert 0 < int(box.machine.run(f"cat /sys/fs/cgroup{group}/memory.current").stdout) < limit


@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure_is_low(box: Box, unit: str) -> None:
    told = box.machine.run(f"systemd-analyze security --no-pager {unit}").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found
    assert float(found[1]) <= EXPOSURE[unit], told


@pytest.mark.nightly
def test_figures_that_a_container_cannot_have(box: Box) -> None:
    box.machine.run("systemctl start livekeep-probe-host.service", timeout=180)
    script = "import sys, urllib.request as u; sys.stdout.write(u.urlopen('http://127.0.0.1:9877/metrics').read().decode())"
    text = box.machine.run(f'python3 -c "{script}"', timeout=60).stdout
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    figures = {name: float(value) for name, value in lines}
    for unit in (PLAYER, POLLER, EXPORTER):
        assert 0 < figures[f'livekeep_unit_memory_bytes{{unit="{unit}"}}'] < MEMORY_BYTES[unit]
        assert figures[f'livekeep_unit_tasks{{unit="{unit}"}}'] >= 1
    assert figures['livekeep_display_connected{connector="Virtual-1"}'] == 1
    assert figures["livekeep_card_good"] == 1
    carriers = {name: value for name, value in figures.items() if name.startswith("livekeep_host_network_carrier{")}
    assert list(carriers.values()) == [1], carriers


@pytest.mark.nightly
def test_the_network_probe_tells_loss_and_delay(box: Box) -> None:
    """As the kernel's emulator makes them on the loopback, which a packet passes going and coming; its counters are the truth."""
    box.machine.put("/etc/livekeep/livekeep.d/60-netem.toml", b'[probes.network]\nhosts = ["127.0.0.1"]\npackets = 100\n')
    box.machine.run("systemctl stop livekeep-probe-network.timer; tc qdisc add dev lo root netem delay 100ms loss 15%")
    try:
        box.machine.run("systemctl start livekeep-probe-network.service", timeout=180)
        counted = re.search(r"dropped ([0-9]+)", box.machine.run("tc -s qdisc show dev lo").stdout)
    finally:
        box.machine.run("tc qdisc del dev lo root; rm /etc/livekeep/livekeep.d/60-netem.toml", check=False)
        box.machine.run("systemctl start livekeep-probe-network.timer")
    ping = box.state("probe-network")["pings"][0]
    assert counted
    assert ping["sent"] == 100
    assert abs(ping["sent"] - ping["received"] - int(counted[1])) <= 0.1 * int(counted[1])
    assert abs(ping["rtt_seconds"] - 0.2) <= 0.02


def test_the_system_is_read_only_to_each_unit(box: Box) -> None:
    """Also for root in their name space: in some containers /run stays writable under ProtectSystem=strict."""
    for unit in (PLAYER, POLLER):
        pid = box.show(unit, "MainPID")
        for folder in ("/run", "/usr", "/etc", "/var/lib", "/var/cache"):
            tried = box.machine.run(f"nsenter --target {pid} --mount touch {folder}/made-by-a-test 2>&1", check=False).stdout
            assert "Read-only file system" in tried, (unit, folder, tried)
        own = f"/run/livekeep/{unit.removeprefix('livekeep-').removesuffix('.service')}"
        box.machine.run(f"nsenter --target {pid} --mount sh -c 'touch {own}/made && rm {own}/made'")


def test_player_has_no_network(box: Box) -> None:
    pid = box.show(PLAYER, "MainPID")
    spaces = box.machine.run(f"readlink /proc/1/ns/net /proc/{pid}/ns/net").stdout.split()
    assert spaces[0] != spaces[1]
    links = box.machine.run(f"nsenter --target {pid} --net ip -brief link").stdout.splitlines()
    assert [line.split()[0] for line in links] == ["lo"]
    assert "proceeding without" not in box.journal(PLAYER, ERROR_SCREEN)


@pytest.mark.nightly
def test_hung_mpv_is_started_anew_from_within_that_sandbox(box: Box, note: Note) -> None:
    forgive(box)
    before = instance(box)
    began = time.monotonic()
    box.machine.run(f"kill -STOP {before[1]}")
    box.machine.wait_for(lambda: before[1] not in instance(box) and box.show(DISPLAY, "ActiveState") == "active", SOON_SECONDS)
    box.machine.wait_for(lambda: box.state("player").get("picture") == "holding", SOON_SECONDS)
    note("mpv hung to running again", time.monotonic() - began)
    box.shows("holding")
    assert box.state("player")["display_restarts"] == 1


def test_goes_live_with_sound_and_off(box: Box, note: Note) -> None:
    began = time.monotonic()
    box.goes_live()
    box.shows("stream")
    note("live to stream", time.monotonic() - began)
    box.moves()
    box.machine.wait_for(lambda: hears_tone(box), SOON_SECONDS, pause=1)
    began = time.monotonic()
    box.vimeo.go_off()
    box.shows("holding")
    note("off air to holding picture", time.monotonic() - began)


def power(box: Box) -> str:
    """What the kernel says of the output: "On", "Off"."""
    return box.machine.run("cat /sys/class/drm/card0-Virtual-1/dpms").stdout.strip()


def switch(box: Box, word: str) -> None:
    said = box.machine.run(f"livekeep tv {word} 2>&1", check=False, timeout=BOOT_SECONDS)
    assert said.code == 0, (said.stdout, box.report())


def mappings(box: Box) -> int:
    """How many of the card's buffers mpv has in its memory."""
    return int(box.machine.run(f"grep -c /dev/dri/ /proc/{box.show(DISPLAY, 'MainPID')}/maps", check=False).stdout)


def test_the_output_is_switched_off_and_on(box: Box, note: Note) -> None:
    """Nothing lights it up meanwhile, and the same mpv takes it again."""
    forgive(box)
    restarts = box.state("player")["display_restarts"]
    began = time.monotonic()
    switch(box, "off")
    note("TV switched off", time.monotonic() - began)
    assert (power(box), box.picture()) == ("Off", "black")
    assert box.state("tv")["method"] == "blank"
    box.machine.run("echo '<0>a message of the kernel' >/dev/kmsg; echo text >/dev/tty1")
    box.machine.send_keys(*TYPED, "ctrl-c")
    time.sleep(3)
    assert power(box) == "Off"
    before = instance(box)
    began = time.monotonic()
    switch(box, "on")
    box.shows("holding")
    note("TV switched on to holding picture", time.monotonic() - began)
    assert (power(box), instance(box), box.state("player")["display_restarts"]) == ("On", before, restarts)


@pytest.mark.nightly
def test_a_night_with_troubles_stays_dark(box: Box) -> None:
    forgive(box)
    held = mappings(box)
    switch(box, "off")
    box.machine.run(f"systemctl kill --signal=SIGKILL {DISPLAY}")
    box.machine.wait_for(lambda: box.state("player").get("display_released") is False, SOON_SECONDS)
    box.machine.wait_for(lambda: box.state("player").get("display_released"), BOOT_SECONDS)
    for unit in (PLAYER, POLLER, DISPLAY):
        box.machine.run(f"systemctl restart {unit}", timeout=BOOT_SECONDS)
        box.machine.wait_for(lambda: box.state("player").get("display_released"), BOOT_SECONDS)
    box.machine.connect_tv(connected=False)
    time.sleep(20)
    box.machine.connect_tv(connected=True)
    time.sleep(20)
    player = box.state("player")
    assert (player["picture"], player["display_released"], player["display_restarts"]) == ("none", True, 0)
    assert "is off: switched by hand" in player["reason"], player
    assert box.picture() == "black"
    assert box.show(ERROR_SCREEN, "ActiveState") == "inactive"
    switch(box, "on")
    box.shows("holding")
    for _ in range(3):
        switch(box, "off")
        assert power(box) == "Off"
        switch(box, "on")
        box.shows("holding")
        forgive(box)
    assert mappings(box) == held, "mpv keeps the buffers of earlier times"


def test_the_plan_switches_the_tv_over_hdmi_cec(box: Box) -> None:
    display, line = instance(box), TvLine(box.machine)
    switch_off_by_plan(box, line)
    box.shows("holding")
    remove_plan(box)
    tv_reports(box, "on")
    assert line.names() == ["STANDBY", "IMAGE_VIEW_ON"]
    assert instance(box) == display
    line.remove()


@pytest.mark.nightly
def test_the_picture_is_there_at_the_time_of_the_plan(box: Box, note: Note) -> None:
    forgive(box)
    ahead = float(box.machine.run("date +%s.%N").stdout) - time.time()
    due = (time.time() + ahead + 50) // 60 * 60 + 60
    write_plan(box, span(due, due + 6 * HOUR))
    box.machine.wait_for(lambda: power(box) == "Off", SOON_SECONDS)
    assert box.picture() == "black"
    box.shows("holding", SOON_SECONDS + 60)
    late = time.time() + ahead - due
    note("plan says on to holding picture", late)
    assert 0 <= late < SOON_SECONDS
    remove_plan(box)


@pytest.mark.nightly
def test_turned_picture_and_error_screen(box: Box) -> None:
    """As on a TV that is mounted on its side, without a desktop."""

    def seen() -> Image.Image:
        width, height, pixels = box.machine.screendump()
        return Image.frombytes("RGB", (width, height), pixels).rotate(90, expand=True)

    forgive(box)
    picture, settings = "/var/lib/livekeep/pictures/corners.png", "/etc/livekeep/livekeep.d/60-turned.toml"
    box.machine.put(picture, corners_png())
    box.machine.put(settings, f'[screen]\nrotate = 90\nholding = ["{picture}"]\n'.encode())
    applied = box.machine.run("livekeep apply", check=False)
    assert applied.code == 0, (applied, box.report())
    box.machine.wait_for(lambda: has(seen()), SOON_SECONDS, pause=1)
    box.machine.run("livekeep screenshot /root/tv.png")
    shot = box.machine.run("base64 --wrap=0 /root/tv.png").stdout
    assert has(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")), "upright"
    box.machine.run(f"systemctl stop {PLAYER} {DISPLAY}; systemctl start {ERROR_SCREEN}")
    image = seen()
    bottom = image.crop((0, image.height * 9 // 10, *image.size)).convert("L")
    assert bottom.point(lambda value: 255 * (value > BRIGHT)).histogram()[255] > 500, "its text"
    assert kind([image.getpixel((x, image.height // 2)) for x in range(100, 600, 50)]) == "error"  # type: ignore[misc]
    box.machine.run(f"rm {settings}; livekeep apply; systemctl stop {ERROR_SCREEN}; systemctl start {DISPLAY} {PLAYER}")
    box.shows("holding")


def test_error_screen_when_mpv_cannot_start(box: Box, note: Note) -> None:
    forgive(box)
    replace_mpv(box)
    began = time.monotonic()
    box.machine.run(f"systemctl kill --signal=SIGKILL {DISPLAY}")
    box.shows("error", RETRY_SECONDS)
    note("mpv gone for good to error picture", time.monotonic() - began)
    assert box.machine.run(f"stat -c %U /proc/{box.show(ERROR_SCREEN, 'MainPID')}").stdout == "livekeep-error-screen\n"
    group = box.show(ERROR_SCREEN, "ControlGroup")
    assert int(box.machine.run(f"cat /sys/fs/cgroup{group}/memory.max").stdout) == MEMORY_BYTES[ERROR_SCREEN]
    width, height, pixels = box.machine.screendump()
    text = sum(1 for at in range(width * height * 9 // 10 * 3, len(pixels), 3) if min(pixels[at : at + 3]) > BRIGHT)
    assert text > 500
    began = time.monotonic()
    restore_mpv(box)
    box.shows("holding", RETRY_SECONDS + SOON_SECONDS)
    note("mpv back to holding picture", time.monotonic() - began)
    assert box.show(ERROR_SCREEN, "ActiveState") == "inactive"


@pytest.mark.nightly
def test_error_screen_waits_for_mpv_and_follows_the_tv(box: Box) -> None:
    """Only one program can have the screen."""
    forgive(box)
    box.machine.run(f"systemctl stop {PLAYER}; systemctl start --no-block {ERROR_SCREEN}")
    box.machine.wait_for(lambda: "end the program that has the display" in box.journal(ERROR_SCREEN), SOON_SECONDS)
    assert box.picture() == "holding"
    box.machine.run(f"systemctl stop {DISPLAY}")
    box.shows("error")
    box.machine.connect_tv(connected=False)
    box.machine.wait_for(lambda: "no TV is connected" in box.show(ERROR_SCREEN, "StatusText"), SOON_SECONDS)
    box.machine.connect_tv(connected=True)
    box.shows("error")
    box.machine.run(f"systemctl stop {ERROR_SCREEN}; systemctl start {DISPLAY} {PLAYER}")
    box.shows("holding")


@pytest.mark.nightly
def test_tv_that_is_unplugged_and_plugged(box: Box, note: Note) -> None:
    forgive(box)
    before, restarts = instance(box), box.state("player")["display_restarts"]
    box.machine.connect_tv(connected=False)
    time.sleep(15)
    assert box.show(DISPLAY, "ActiveState") in ("active", "activating")
    began = time.monotonic()
    box.machine.connect_tv(connected=True)
    box.shows("holding")
    note("TV plugged in again to holding picture", time.monotonic() - began)
    # The player notices within five seconds.
    box.machine.wait_for(lambda: instance(box) != before, 30)
    after = instance(box)
    box.shows("holding")
    time.sleep(20)
    assert instance(box) == after
    assert box.state("player")["display_restarts"] == restarts + 1
    assert box.picture() == "holding"


@pytest.mark.nightly
def test_power_cut_while_live(box: Box, note: Note) -> None:
    box.goes_live()
    box.moves()
    kept = "sha256sum /etc/livekeep/livekeep.toml /etc/livekeep/livekeep.d/* /etc/credstore/*"
    before = box.machine.run(kept).stdout
    box.machine.power_cut()
    box.machine.start(BOOT_SECONDS)
    box.shows("stream", BOOT_SECONDS)
    note("power-on to stream", time.monotonic() - box.machine.started_monotonic)
    box.moves()
    assert box.machine.wait_booted(BOOT_SECONDS) == "running"
    assert box.machine.run(kept).stdout == before
    assert [box.show(unit, "NRestarts") for unit in UNITS] == ["0"] * 3, box.report()
    box.vimeo.go_off()


@pytest.mark.nightly
def test_tv_that_is_absent_at_boot(box: Box, note: Note) -> None:
    box.machine.run("sync")
    box.machine.power_cut()
    box.machine.kernel_options = "video=Virtual-1:d"
    box.machine.start(BOOT_SECONDS)
    box.machine.wait_for(lambda: "Waiting for a TV" in box.show(DISPLAY, "StatusText"), BOOT_SECONDS)
    began = instance(box)
    box.machine.wait_for(lambda: box.state("poller").get("state") == "offline", BOOT_SECONDS)
    time.sleep(20)
    assert box.show(DISPLAY, "NRestarts") == "0"
    assert box.machine.run(f"systemctl is-failed {' '.join(UNITS)}", check=False).code == 1
    assert instance(box) == began
    assert box.show(ERROR_SCREEN, "ActiveState") == "inactive"
    assert box.journal(DISPLAY).count("Waiting for a TV") == 1
    plugged = time.monotonic()
    box.machine.connect_tv(connected=True)
    box.shows("holding")
    note("TV plugged in to holding picture", time.monotonic() - plugged)
    assert box.show(DISPLAY, "NRestarts") == "0"


@pytest.mark.nightly
def test_uninstall_gives_the_console_back(box: Box) -> None:
    box.machine.run("apt-get -qq -y remove livekeep", timeout=180)
    box.machine.wait_for(lambda: box.show("getty@tty1.service", "ActiveState") == "active", SOON_SECONDS)
    time.sleep(5)
    box.machine.send_keys(*TYPED)
    box.machine.wait_for(lambda: box.machine.run(f"test -e {TYPED_FILE}", check=False).code == 0, SOON_SECONDS)
    left = box.machine.run("systemctl list-units --all --plain --no-legend 'livekeep*'; ls -A /run/livekeep", check=False).stdout
    assert left == ""
