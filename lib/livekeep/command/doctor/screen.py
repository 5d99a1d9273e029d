"""The doctor's checks of picture and sound: the TV, the decoder, the sound device."""

import re
import socket
from pathlib import Path

from livekeep.command.config import desktop
from livekeep.command.doctor.doctor_base import Check, Surroundings
from livekeep.core.config import Screen
from livekeep.system import drm

PI_DECODER = "/dev/video10"
"""bcm2835-codec's decoder, on every Pi before the 5."""
HARDWARE_BOARDS = ("Raspberry Pi 4", "Raspberry Pi 3", "Raspberry Pi 2", "Raspberry Pi Zero", "Raspberry Pi Compute Module 4")


def check_display(around: Surroundings) -> Check:
    output = around.config.screen.resolved_output()
    if output == "drm":
        return check_connector(around, around.config.screen)
    return check_wayland(around) if output == "wayland" else check_x11(around)


def check_connector(around: Surroundings, screen: Screen) -> Check:
    found = {it.name: it for it in drm.connectors(around.path("/sys/class/drm"))}
    if not found:
        return Check("display", "fail", "the kernel knows no display output", "check the graphics driver: dmesg | grep -i drm")
    if screen.connector and screen.connector not in found:
        names = ", ".join(found)
        return Check("display", "fail", f"there is no connector {screen.connector}", f"set screen.connector to one of {names}")
    chosen = {screen.connector: found[screen.connector]} if screen.connector else found
    for it in chosen.values():
        if it.is_connected:
            return judge_modes(it.name, list(it.modes), screen)
    return Check(
        "display", "fail", f"no TV is connected ({', '.join(chosen)})", "switch the TV on, check the cable and its input"
    )


def judge_modes(name: str, modes: list[str], screen: Screen) -> Check:
    if not modes:
        return Check(
            "display", "fail", f"{name} is connected but tells no modes", "try another cable; sudo livekeep doctor --fix"
        )
    size = screen.mode.partition("@")[0]
    if "x" in size and size not in modes:
        return Check(
            "display", "fail", f"{name} has no mode {size}", f"set screen.mode to one of {', '.join(dict.fromkeys(modes))}"
        )
    other = f", shown at {screen.mode}" if screen.mode else ""
    return Check("display", "ok", f"{name} is connected, {modes[0]} preferred{other}")


def check_wayland(around: Surroundings) -> Check:
    screen = around.config.screen
    uid = around.uid(screen.desktop_user) if screen.desktop_user else None
    if uid is None:
        text = f'no user "{screen.desktop_user}"' if screen.desktop_user else "screen.desktop_user is not set"
        return Check(
            "display", "fail", f"wayland: {text}", "set it to the user whose session is on the TV, then: sudo livekeep apply"
        )
    return check_socket(around.path(desktop.wayland_socket(screen, uid)), f"log {screen.desktop_user} in on the TV")


def check_x11(around: Surroundings) -> Check:
    screen = around.config.screen
    if screen.x11_authority and not around.path(screen.x11_authority).is_file():
        return Check(
            "display", "fail", f"{screen.x11_authority}: no such file", "set screen.x11_authority, then: sudo livekeep apply"
        )
    number = (screen.x11_display or ":0").lstrip(":").partition(".")[0]
    return check_socket(around.path(f"/tmp/.X11-unix/X{number}"), "start the X server, or set screen.x11_display")  # noqa: S108 - X's own


def check_socket(path: Path, advice: str) -> Check:
    """Whether something listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
        except PermissionError:
            return Check("display", "skip", f"{path}: only root may try it", "sudo livekeep doctor")
        except OSError as error:
            return Check("display", "fail", f"{path}: nothing listens ({error.strerror or error})", advice)
    return Check("display", "ok", f"{path} answers")


def check_decoder(around: Surroundings) -> Check:
    screen, board = around.config.screen, around.board()
    if not board:
        return check_render_node(around, screen.hwdec)
    if board.startswith("Raspberry Pi 5") or "Compute Module 5" in board or "Pi 500" in board:
        if "v4l2m2m" in screen.hwdec:
            return Check("decoder", "warn", f"this board has no {screen.hwdec}", 'set screen.hwdec = "auto"')
        return Check("decoder", "ok", "software: this board has no H.264 decoder, and does 1080p without")
    if not board.startswith(HARDWARE_BOARDS):
        return Check("decoder", "skip", f"nothing is known of {board}")
    return check_pi_decoder(around, screen.hwdec)


def check_pi_decoder(around: Surroundings, hwdec: str) -> Check:
    if not around.path(PI_DECODER).exists():
        return Check(
            "decoder", "warn", f"{PI_DECODER} is absent: software decodes, and drops frames", "sudo modprobe bcm2835-codec; dmesg"
        )
    if hwdec == "no":
        return Check(
            "decoder", "warn", "switched off by screen.hwdec: software decodes, and drops frames", 'set screen.hwdec = "auto"'
        )
    return Check("decoder", "ok", f"{PI_DECODER} is there (screen.hwdec = {hwdec})")


def check_render_node(around: Surroundings, hwdec: str) -> Check:
    nodes = sorted(around.path("/dev/dri").glob("renderD*"))
    if hwdec == "no" or not nodes:
        reason = 'screen.hwdec = "no"' if hwdec == "no" else "no graphics device that decodes"
        return Check("decoder", "ok", f"software ({reason})")
    return Check(
        "decoder", "ok", f"/dev/dri/{nodes[0].name} may decode (screen.hwdec = {hwdec}); livekeep status shows whether it does"
    )


def check_sound(around: Surroundings) -> Check:
    """Whether a sound card exists, and the configured one. Without any it is a warning: the picture needs none."""
    cards = dict(re.findall(r"^\s*(\d+)\s+\[(\S+)\s*\]", around.read("/proc/asound/cards"), re.MULTILINE))
    device = around.config.screen.audio_device
    if device in ("null", "no"):
        return Check("sound", "ok", "switched off by screen.audio_device")
    if not cards:
        return Check("sound", "warn", "there is no sound card", "an HDMI TV's appears when it is connected; see: aplay -l")
    names = ", ".join(cards.values())
    if device == "auto":
        return Check("sound", "ok", f"cards: {names}")
    if not device.startswith("alsa"):
        return Check("sound", "skip", f"{device} cannot be looked up here; cards: {names}")
    named = re.search(r":(?:CARD=)?([^,]+)", device)
    card = named[1] if named else ""
    if card and card not in (*cards, *cards.values()):
        return Check(
            "sound",
            "fail",
            f"screen.audio_device: there is no card {card}",
            f"choose one of: {names}; see: mpv --audio-device=help",
        )
    return Check("sound", "ok", f"{device} is there")
