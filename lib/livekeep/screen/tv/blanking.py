"""Switches the output off, so that the TV has no signal and goes to standby by itself, and on again.

Reads: player/state.json, /sys/class/drm. Writes: /sys/class/graphics/fbN/blank on the bare console.

| output  | how                                                                                              |
|---------|--------------------------------------------------------------------------------------------------|
| drm     | the frame buffer's `blank`, which works only while no program has the screen: mpv gives it up    |
| x11     | the server's power management (DPMS)                                                             |
| wayland | wlr-output-power-management, which compositors of the wlroots family have: labwc, sway, Wayfire  |

Sources: the kernel's fb.h and kd.h; X11's DPMS extension; wlr-output-power-management-unstable-v1.xml.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livekeep.core import state
from livekeep.core.config import Screen
from livekeep.core.errors import AdvisedError
from livekeep.core.state import PlayerState
from livekeep.screen.display import outputs
from livekeep.system import drm

if TYPE_CHECKING:
    from livekeep.screen.tv.wayland_power import WaylandPower

CONSOLE = Path("/dev/tty0")
"""The virtual terminal in the foreground."""
UNBLANK, POWER_DOWN = "0", "4"
KDSETMODE, KD_GRAPHICS = 0x4B3A, 1
RELEASE_SECONDS = 60.0
"""The longest time for the display to give up the screen: on a slow board it may start again for that."""
SETTLE_SECONDS = 5.0
"""How long the output is watched after it was switched off: the display starts again about then."""


class BlankingError(AdvisedError):
    """The output cannot be switched."""


def check(screen: Screen) -> None:
    """Raises `BlankingError` if the output cannot be switched off."""
    output = screen.resolved_output()
    if output == "x11":
        with contextlib.closing(x11_power(screen)):
            return
    if output == "wayland":
        with contextlib.closing(wayland_power(screen)):
            return
    if screen.player == "vlc":
        raise BlankingError('VLC does not give up the screen; set screen.player = "mpv", or tv.method = "black"')
    if not drm.frame_buffers():
        raise BlankingError('no graphics card has a frame buffer (/sys/class/graphics); set tv.method = "black"')


def switch(screen: Screen, is_on: bool, root: Path) -> None:
    """Switch the output of the TV. Raises `BlankingError` if that has no effect.

    For "off", the TV's state says so already: this waits until the player shows black and the display has given up the screen.
    """
    output = screen.resolved_output()
    if not is_on:
        # Early in the boot the player comes after the display.
        wait_for(lambda: is_released(root) or (output == "drm" and not drm.powers()), RELEASE_SECONDS)
    if output == "x11":
        switch_x11(screen, is_on)
    elif output == "wayland":
        with contextlib.closing(wayland_power(screen)) as power:
            power.switch(is_on)
    elif not is_on:
        switch_console_off()
    elif isinstance(state.read_or_error(PlayerState, root), state.StateAbsentError):
        # Otherwise the display takes the screen by itself, and the console's text never appears.
        write_blank(UNBLANK)


def is_released(root: Path) -> bool:
    player = state.read_or_error(PlayerState, root)
    return isinstance(player, PlayerState) and player.display_released


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds


def keep_off() -> None:
    """Switch the console's output off again: a program that opens and closes the graphics card lights it up."""
    if "On" in drm.powers():
        write_blank(POWER_DOWN)


def write_blank(value: str) -> None:
    for folder in drm.frame_buffers():
        # Refused while a program has the screen.
        with contextlib.suppress(OSError):
            (folder / "blank").write_text(value, encoding="ascii")


def switch_console_off() -> None:
    # In text mode a key would light up the output, also one of a TV's remote control. The next login sets text mode again; to do
    # it here, when the output is on again, would take the screen from the display.
    with contextlib.suppress(OSError), CONSOLE.open("rb", buffering=0) as console:
        fcntl.ioctl(console, KDSETMODE, KD_GRAPHICS)
    write_blank(POWER_DOWN)
    settled = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < settled:
        time.sleep(0.2)
        keep_off()
    if "On" in drm.powers():
        raise BlankingError(
            "the kernel does not switch the output off; see which program has the screen: fuser -v /dev/dri/card*"
        )


def x11_power(screen: Screen) -> Any:
    """A connection to an X server that has power management. Raises `BlankingError`."""
    # Only on this output: the unit starts faster without it.
    from Xlib.display import Display  # noqa: PLC0415
    from Xlib.error import ConnectionClosedError, DisplayError, XNoAuthError  # noqa: PLC0415

    from livekeep.screen.display.main import environment  # noqa: PLC0415

    name = screen.x11_display or ":0"
    os.environ.update(environment(screen, ""))
    try:
        display = Display(name)
    except (DisplayError, ConnectionClosedError, XNoAuthError, OSError) as error:
        reason = " ".join(str(error).split())
        raise BlankingError(f"X11 display {name}: cannot connect ({reason}); check screen.x11_authority") from error
    if not display.has_extension("DPMS") or not display.dpms_capable().capable:
        display.close()
        raise BlankingError(f'X11 display {name}: the server has no power management (DPMS); set tv.method = "black"')
    return display


def wayland_power(screen: Screen) -> "WaylandPower":
    """A connection to a compositor that can switch outputs. Raises `BlankingError`."""
    # Only on this output: the unit starts faster without it.
    from livekeep.screen.tv.wayland_power import WaylandPower  # noqa: PLC0415

    return WaylandPower(outputs.wayland_socket(screen))


def switch_x11(screen: Screen, is_on: bool) -> None:
    with contextlib.closing(x11_power(screen)) as display:
        from Xlib.ext import dpms  # noqa: PLC0415 - as above

        display.dpms_enable()
        display.dpms_force_level(dpms.DPMSModeOn if is_on else dpms.DPMSModeOff)
        if is_on:
            # As mpv does when it starts: otherwise the server's own timeouts would switch the output off.
            display.dpms_disable()
        display.sync()
