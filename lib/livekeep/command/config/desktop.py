"""The display unit's settings for the output in use: the desktop user's session, or the bare console. Pure functions."""

import dataclasses
import shlex
from pathlib import Path

from livekeep.core.config import Screen

HEADING = "# Written by `livekeep apply` from [screen] of livekeep.toml; changes made here are lost.\n"
TAKEN_AT_START = (
    "player",
    "output",
    "x11_display",
    "x11_authority",
    "wayland_display",
    "desktop_user",
    "connector",
    "mode",
    "rotate",
    "mirror",
    "hwdec",
    "max_bitrate",
    "audio_device",
    "volume",
)
"""The keys of [screen] that the display reads only when it starts: a change requires a restart."""


def wayland_socket(screen: Screen, uid: int) -> Path:
    return Path(f"/run/user/{uid}") / (screen.wayland_display or "wayland-0")


def drop_in(screen: Screen, uid: int | None, console: str) -> str:
    """The drop-in for livekeep-display.service.

    `uid` is that of screen.desktop_user, None if not needed; `console` is the text for the output drm, "" for none.
    A comment lists the values in force, so that a changed value changes the text and the display is restarted.
    """
    values, standard = dataclasses.asdict(screen), dataclasses.asdict(Screen())
    in_force = "".join(f"# {key} = {values[key]!a}\n" for key in TAKEN_AT_START if values[key] != standard[key])
    body = session(screen, uid) or (console if screen.resolved_output() == "drm" else "")
    return HEADING + in_force + ("\n" + body if body else "")


def session_drop_in(screen: Screen, uid: int | None) -> str:
    """The drop-in for livekeep-error-screen.service, which draws in the same session; "" if it needs none."""
    body = session(screen, uid)
    return HEADING + "\n" + body if body else ""


def tv_drop_in(screen: Screen, uid: int | None) -> str:
    """The drop-in for livekeep-tv.service, which switches the desktop's output; "" if it needs none."""
    if screen.resolved_output() != "wayland" or uid is None:
        return session_drop_in(screen, uid)
    socket = wayland_socket(screen, uid)
    return f"""{HEADING}
[Service]
# The compositor's socket is open to its own user only.
CapabilityBoundingSet=CAP_DAC_OVERRIDE
# Only that is let into the empty /run/user.
ProtectHome=tmpfs
BindPaths=-{quoted(socket)}
Environment=XDG_RUNTIME_DIR={socket.parent}
"""


def quoted(path: Path) -> str:
    """The path as systemd's settings take it."""
    return shlex.quote(str(path).replace("%", "%%"))


def session(screen: Screen, uid: int | None) -> str:
    """The settings that give a unit access to the desktop's session; "" on the bare console."""
    output = screen.resolved_output()
    if output == "wayland" and uid is not None:
        socket = wayland_socket(screen, uid)
        return f"""[Service]
# A compositor takes clients of its own user only.
User={screen.desktop_user}
# Only the compositor's socket is let into the empty /run/user, and the desktop's sound.
ProtectHome=tmpfs
BindPaths={quoted(socket)} -{socket.parent}/pipewire-0 -{socket.parent}/pulse
Environment=XDG_RUNTIME_DIR={socket.parent}
"""
    if output == "x11" and screen.x11_authority:
        return f"""[Service]
# The cookie lies in the user's home directory, which the display may not see; systemd hands it over.
LoadCredential=xauthority:{screen.x11_authority.replace("%", "%%")}
"""
    return ""
