"""What is on the TV while units are killed, stopped, restarted and misconfigured, and the power fails."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.machine.machine import wait_for
from tests.machine.screen import DISPLAY, ERROR_SCREEN, PLAYER, POLLER, Screen, is_given_up, is_retried
from tests.machine.vimeo import EVENT_ID, TOKEN

STARTS_ALLOWED = 6


def kill_until_given_up(screen: Screen, unit: str) -> None:
    """Kill a unit as often as systemd restarts it, until it waits for the retry."""
    # Resetting the counter also forgets the present start: six more are allowed.
    screen.forgive()
    for _ in range(STARTS_ALLOWED + 1):
        wait_for(lambda: screen.machine.unit_property(unit, "ActiveState") == "active", 30)
        kill(screen, unit)
    assert is_given_up(screen.machine, unit)


def kill(screen: Screen, unit: str) -> None:
    """Kill a unit's main process, and wait until it is up again or given up."""
    old = screen.signal(unit, signal.SIGKILL)

    def settled() -> bool:
        is_active = screen.machine.unit_property(unit, "ActiveState") == "active"
        return is_given_up(screen.machine, unit) or (is_active and screen.main_pid(unit) not in (0, old))

    wait_for(settled, 30, 0.02)


@pytest.mark.parametrize("unit", [PLAYER, POLLER])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_the_screen_does_not_notice(screen: Screen, unit: str, number: signal.Signals) -> None:
    """Player or poller are gone or hang: the stream plays on, and they run again by themselves."""
    screen.goes_live()
    with screen.watched() as sampler:
        screen.is_renewed(unit, screen.signal(unit, number), within=60)
        screen.moves()
    assert [label for _, label in screen.spans(sampler)] == ["stream"]
    screen.vimeo.go_off()
    screen.shows("holding")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGTERM], ids=lambda n: n.name)
def test_the_display_comes_back_with_the_right_picture(screen: Screen, number: signal.Signals) -> None:
    """The holding picture, or the stream that is still live."""
    screen.is_renewed(DISPLAY, screen.signal(DISPLAY, number), within=60)
    screen.shows("holding")
    screen.goes_live()
    screen.is_renewed(DISPLAY, screen.signal(DISPLAY, number), within=60)
    screen.moves()
    assert "display_restarts" in screen.state("player")


def test_a_display_killed_too_often_gives_way_to_the_error_screen(screen: Screen) -> None:
    """The error picture, reported as down; within about a minute the right picture again."""
    kill_until_given_up(screen, DISPLAY)
    screen.shows("error")
    assert screen.machine.unit_property(ERROR_SCREEN, "ActiveState") == "active"
    assert screen.machine.run(["livekeep", "health"], check=False).returncode == 2
    assert "error screen" in screen.livekeep("status")
    assert "written" in screen.livekeep("screenshot", "/tmp/shot.png") or screen.machine.exists("/tmp/shot.png")
    screen.vimeo.go_live(screen.live.url)
    is_retried(screen.machine, DISPLAY)
    screen.moves(60)
    assert screen.machine.unit_property(ERROR_SCREEN, "ActiveState") == "inactive"


def test_player_and_poller_killed_too_often_are_tried_again(screen: Screen) -> None:
    """The stream plays on meanwhile, and no manual action is needed."""
    screen.goes_live()
    for unit in (PLAYER, POLLER):
        kill_until_given_up(screen, unit)
    screen.moves()
    assert screen.machine.unit_property(ERROR_SCREEN, "ActiveState") == "inactive"
    for unit in (PLAYER, POLLER):
        is_retried(screen.machine, unit)
    screen.vimeo.go_off()
    screen.shows("holding")


def test_a_stop_stops_all_and_a_start_starts_all(screen: Screen) -> None:
    """Stopped units leave no state behind."""
    screen.machine.systemctl("stop", "livekeep.target")
    wait_for(lambda: screen.picture() == "black", 15)
    assert screen.state("player") == {}
    assert screen.state("poller") == {}
    assert not screen.machine.exists("/run/livekeep/stream/stream.json")
    assert screen.machine.run(["livekeep", "health"], check=False).returncode == 2
    screen.machine.systemctl("start", "livekeep.target")
    screen.shows("holding")


def test_a_good_configuration_is_taken_at_a_reload(screen: Screen) -> None:
    """Without a restart and without a black moment."""
    before = [screen.main_pid(unit) for unit in (PLAYER, POLLER)]
    with screen.watched():
        screen.configure({"screen": {"holding": "/usr/share/livekeep/pictures/error.png"}})
        screen.shows("error")
        screen.configure()
        screen.shows("holding")
    assert [screen.main_pid(unit) for unit in (PLAYER, POLLER)] == before


def test_a_start_with_a_bad_configuration(screen: Screen) -> None:
    """The TV shows the problem; once it is fixed, everything recovers without a manual restart."""
    screen.write_config({"poller": {"interval_seconds": 0}})
    screen.machine.systemctl("restart", *(DISPLAY, PLAYER, POLLER), check=False)
    screen.shows("error")
    screen.says("poller.interval_seconds")
    screen.says("livekeep check-config")
    assert screen.machine.unit_property(POLLER, "ExecMainStatus") == "78"
    screen.write_config()
    screen.machine.systemctl("reload", PLAYER)
    is_retried(screen.machine, POLLER)
    screen.shows("holding")


def test_the_power_fails(screen: Screen) -> None:
    """After a power cut in the middle of the stream it boots to the stream."""
    screen.goes_live()
    screen.machine.power_cut()
    time.sleep(1)
    screen.machine.boot()
    screen.moves(60)
    assert screen.machine.failed_units() == ""


def test_a_stream_from_the_card(screen: Screen) -> None:
    """Settings and token on the boot partition, a power cut: the next boot shows the stream and says so; the token is wiped."""
    machine = screen.machine
    machine.run(["mkdir", "-p", "/boot/firmware"])
    machine.run(["rm", "/etc/credstore/livekeep.vimeo-token"])
    text = f'[stream]\nselected = "card"\n[streams.card]\nvimeo_event = "{EVENT_ID}"\n[exporter]\nenabled = false\n'
    machine.write("/boot/firmware/livekeep.toml", text)
    machine.write("/boot/firmware/livekeep-token.txt", f"{TOKEN}\r\n")
    machine.run(["sync"])
    machine.power_cut()
    machine.boot()
    try:
        screen.says(f"Event {EVENT_ID} taken from the card, and the token", within=60)
        screen.goes_live(60)
        assert machine.run(["ls", "/boot/firmware"]).stdout == "livekeep-taken.toml\n"
        assert machine.run("stat -c '%U:%G %a' /etc/livekeep/livekeep.d/50-card.toml").stdout == "root:livekeep 640\n"
        assert machine.run("stat -c '%U:%G %a' /etc/credstore/livekeep.vimeo-token").stdout == "root:root 600\n"
        # The boot had been planned with it.
        screen.until("the exporter is off", lambda: screen.property("livekeep-exporter.service", "ActiveState") == "inactive")
        assert "taken from the card" in machine.journal("livekeep-firstboot.service")
        assert machine.failed_units() == ""
        machine.write("/boot/firmware/livekeep.toml", '[screen]\nvolume = "loud"\n')
        machine.systemctl("start", "livekeep-firstboot.service")
        screen.vimeo.go_off()
        screen.says("livekeep.toml on the card: screen.volume: must be a whole number")
        # What did not end in time is tried again.
        unit, drop_in = "livekeep-firstboot.service", "/run/systemd/system/livekeep-firstboot.service.d/50-hurried.conf"
        machine.write(drop_in, "[Service]\nTimeoutStartSec=20ms\n")
        machine.write("/boot/firmware/livekeep.toml", text)
        machine.run(f"systemctl daemon-reload; systemctl start --no-block {unit}")
        screen.until("it runs out of time", lambda: screen.property(unit, "Result") == "timeout")
        machine.run(f"rm -r $(dirname {drop_in}); systemctl daemon-reload")
        screen.until("it is tried again", lambda: machine.run("ls /boot/firmware").stdout == "livekeep-taken.toml\n", 60)
    finally:
        machine.run("rm -rf /boot/firmware /etc/livekeep/livekeep.d/50-card.toml /run/livekeep/firstboot/*")
        machine.run(["livekeep", "apply"], timeout=120)


@pytest.fixture
def wired() -> Iterator[Screen]:
    """A room whose internet is beyond a cable."""
    with Screen("trixie", outside=True, kept=True) as room:
        room.shows("holding", within=60)
        yield room


def test_the_cable_is_pulled(wired: Screen) -> None:
    """Idle: the error picture. Playing: what the buffer holds, then no frozen picture. Plugged in again: as before."""
    with wired.watched():
        wired.network.cut()
        wired.shows("error")
        wired.network.plug()
        wired.shows("holding")
        wired.goes_live()
        for cut, mend in ((wired.network.cut, wired.network.plug), (wired.network.silence, wired.network.restore)):
            cut()
            wait_for(lambda: wired.picture() in ("holding", "error"), 90)
            mend()
            wired.moves(60)
