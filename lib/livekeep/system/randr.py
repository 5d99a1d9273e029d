"""The outputs of an X server, and the same picture on all of them: the RandR extension, by python3-xlib.

Source: randrproto.txt. Several outputs that show the same part of the X screen need no copy of the picture.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import ConnectionClosedError, DisplayError, XError
from Xlib.ext import randr

from livekeep.core.errors import TemporaryError

Size = tuple[int, int]
MILLIMETRES_PER_PIXEL = 25.4 / 96


@dataclass(frozen=True)
class Output:
    """A connected output. `modes`: each size of its modes, the preferred first, with the number of the first such mode.

    `crtc` is what feeds it, 0 if it is off, and `crtcs` what can feed it; `area` is the part of the X screen that it shows: left,
    top, width and height in pixels, all 0 if it is off.
    """

    number: int
    name: str
    modes: dict[Size, int]
    crtc: int
    crtcs: tuple[int, ...]
    area: tuple[int, int, int, int]


@contextmanager
def connection(name: str, authority: str = "") -> Iterator[Any]:
    """A connection to the X display `name`. Raises `TemporaryError` if there is none, or a request fails."""
    if authority:
        os.environ["XAUTHORITY"] = authority
    try:
        display = Display(name)
        yield display
        display.close()
    except (OSError, ValueError, DisplayError, ConnectionClosedError, XError) as error:
        raise TemporaryError(f"X display {name}: its outputs cannot be read or set ({' '.join(str(error).split())})") from error


def outputs(display: Any) -> tuple[Output, ...]:
    """The connected outputs, in the server's order."""
    # Makes the server look at its connectors again, as `xrandr` does.
    resources = display.screen().root.xrandr_get_screen_resources()
    sizes = {mode.id: (mode.width, mode.height) for mode in resources.modes}
    found = []
    for number in resources.outputs:
        about = display.xrandr_get_output_info(number, resources.config_timestamp)
        if about.connection != randr.Connected or not about.modes:
            continue
        modes: dict[Size, int] = {}
        for mode in about.modes:
            modes.setdefault(sizes[mode], mode)
        area = (0, 0, 0, 0)
        if about.crtc:
            crtc = display.xrandr_get_crtc_info(about.crtc, resources.config_timestamp)
            area = (crtc.x, crtc.y, crtc.width, crtc.height)
        found.append(Output(number, about.name, modes, about.crtc, tuple(about.crtcs), area))
    return tuple(found)


def common_size(shown: Sequence[Output]) -> Size | None:
    """The largest resolution that all outputs have, None if there is none; rather one that an output prefers."""
    common = [size for size in shown[0].modes if all(size in output.modes for output in shown)] if shown else []
    preferred = [next(iter(output.modes)) for output in shown]
    return max(common, key=lambda size: (size in preferred, size[0] * size[1]), default=None)


def is_mirrored(shown: Sequence[Output]) -> bool:
    """Whether all outputs show the same part of the X screen."""
    return len({output.area for output in shown}) <= 1


def mirror(display: Any) -> str:
    """Show the same part of the X screen on all connected outputs; returns why that is not possible, "" if it is done."""
    shown = outputs(display)
    if is_mirrored(shown):
        return ""
    names = " and ".join(output.name for output in shown)
    size = common_size(shown)
    if size is None:
        return f"{names} have no resolution in common"
    crtcs: dict[str, int] = {}
    for output in shown:
        free = [crtc for crtc in (output.crtc, *output.crtcs) if crtc and crtc not in crtcs.values()]
        if not free:
            return f"{names} cannot all be on at the same time"
        crtcs[output.name] = free[0]
    root = display.screen().root
    timestamp = root.xrandr_get_screen_resources_current().config_timestamp
    display.grab_server()
    # The X screen cannot shrink below an output that is on.
    for crtc in {output.crtc for output in shown if output.crtc}:
        display.xrandr_set_crtc_config(crtc, timestamp, 0, 0, 0, randr.Rotate_0, [], X.CurrentTime)
    root.xrandr_set_screen_size(*size, *(round(length * MILLIMETRES_PER_PIXEL) for length in size))
    for output in shown:
        display.xrandr_set_crtc_config(
            crtcs[output.name], timestamp, 0, 0, output.modes[size], randr.Rotate_0, [output.number], X.CurrentTime
        )
    display.ungrab_server()
    display.sync()
    return "" if is_mirrored(outputs(display)) else f"the X server refused to show the same on {names}"
