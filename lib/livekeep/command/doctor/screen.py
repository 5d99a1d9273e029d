"""The doctor's checks of picture and sound: the TV, how it is switched off, the decoder, the sound device."""

import re
import socket
from pathlib import Path

from livekeep.command.config import desktop
from livekeep.command.doctor.doctor_base import Result, Surroundings, Verdict
from livekeep.system import cec, drm

PI_DECODER = "/dev/video10"
"""bcm2835-codec's decoder, on every Pi before the 5."""
HARDWARE_BOARDS = ("Raspberry Pi 4", "Raspberry Pi 3", "Raspberry Pi 2", "Raspberry Pi Zero", "Raspberry Pi Compute Module 4")


def check_display(around: Surroundings) -> Result:
    output = around.config.screen.resolved_output()
    result = {"drm": check_connector, "wayland": check_wayland, "x11": check_x11}[output](around)
    if result.verdict == "ok" and around.config.screen.mirror and (fault := mirror_fault(around)):
        return fault
    if result.verdict == "ok" and around.config.screen.player == "vlc" and around.config.screen.rotate:
        return Result("warn", f"{result.finding}; but VLC shows no text on a turned picture", 'set screen.player = "mpv"')
    return result


def check_connector(around: Surroundings) -> Result:
    screen = around.config.screen
    connectors = {it.name: it for it in drm.connectors(around.path("/sys/class/drm"))}
    if not connectors:
        return Result("fail", "the kernel has no display output", "check the graphics driver: dmesg | grep -i drm")
    if screen.connector and screen.connector not in connectors:
        advice = f"set screen.connector to one of {', '.join(connectors)}"
        return Result("fail", f"there is no connector {screen.connector}", advice)
    chosen = [connectors[screen.connector]] if screen.connector else list(connectors.values())
    connected = next((it for it in chosen if it.is_connected), None)
    if connected is None:
        names = ", ".join(it.name for it in chosen)
        return Result("fail", f"no TV is connected ({names})", "switch the TV on, check the cable and its input")
    if not connected.modes:
        return Result("fail", f"{connected.name} is connected but has no modes", "try another cable; sudo livekeep doctor --fix")
    size = screen.mode.partition("@")[0]
    if "x" in size and size not in connected.modes:
        advice = f"set screen.mode to one of {', '.join(dict.fromkeys(connected.modes))}"
        return Result("fail", f"{connected.name} has no mode {size}", advice)
    other = f", shown at {screen.mode}" if screen.mode else ""
    return Result("ok", f"{connected.name} is connected, {connected.modes[0]} preferred{other}")


def mirror_fault(around: Surroundings) -> Result | None:
    """Why not all TVs show the same picture."""
    screen = around.config.screen
    if screen.resolved_output() == "wayland":
        return Result("warn", "screen.mirror has no effect on Wayland", "use X11, wl-mirror or an HDMI splitter")
    if screen.resolved_output() == "drm":
        finding = "screen.mirror has no effect without a desktop: one TV shows the picture"
        return Result("warn", finding, "use an HDMI splitter, or a desktop with X11")
    from livekeep.system import randr  # noqa: PLC0415 – few need it

    with randr.connection(screen.x11_display or ":0", screen.x11_authority) as display:
        shown = randr.outputs(display)
    if randr.is_mirrored(shown):
        return None
    names = " and ".join(output.name for output in shown)
    if not randr.common_size(shown):
        return Result("warn", f"{names} have no resolution in common", "use TVs of the same resolution, or an HDMI splitter")
    return Result("warn", f"{names} do not show the same", "run: sudo systemctl restart livekeep-display")


def check_wayland(around: Surroundings) -> Result:
    screen = around.config.screen
    # The user database of the machine below `root`.
    uid = re.search(rf"^{re.escape(screen.desktop_user)}:[^:]*:(\d+):", around.read("/etc/passwd"), re.MULTILINE)
    if not screen.desktop_user or not uid:
        text = f'no user "{screen.desktop_user}"' if screen.desktop_user else "screen.desktop_user is not set"
        return Result("fail", f"wayland: {text}", "set it to the user whose session is on the TV, then: sudo livekeep apply")
    return check_socket(around.path(desktop.wayland_socket(screen, int(uid[1]))), f"log {screen.desktop_user} in on the TV")


def check_x11(around: Surroundings) -> Result:
    screen = around.config.screen
    if screen.x11_authority and not around.path(screen.x11_authority).is_file():
        return Result("fail", f"{screen.x11_authority}: no such file", "set screen.x11_authority, then: sudo livekeep apply")
    number = (screen.x11_display or ":0").lstrip(":").partition(".")[0]
    return check_socket(around.path(f"/tmp/.X11-unix/X{number}"), "start the X server, or set screen.x11_display")  # noqa: S108 - X's own


def check_socket(path: Path, advice: str) -> Result:
    """Whether something listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
        except PermissionError:
            return Result("skip", f"{path}: only root can connect", "sudo livekeep doctor")
        except OSError as error:
            return Result("fail", f"{path}: nothing listens ({error.strerror or error})", advice)
    return Result("ok", f"{path} answers")


def check_cec(around: Surroundings) -> Result:
    """Whether the TV answers on HDMI-CEC. It need not unless the configuration says so: its output can be blanked."""
    tv = around.config.tv
    if tv.method in ("blank", "black"):
        return Result("ok", f'not used (tv.method = "{tv.method}")')
    must = tv.method == "cec"
    try:
        device = cec.find(tv.cec_device, around.config.screen.connector, devices=around.path("/dev"))
        state = device.reported_state() if device else ""
    except cec.NotPermittedError as error:
        return Result("skip", error.problem, "sudo livekeep doctor")
    except cec.CecError as error:
        return Result("fail", error.problem, error.advice) if must else Result("ok", f"{error.problem}: not used")
    if device is None:
        finding = "this machine has no HDMI-CEC device"
        return Result("fail", finding, 'set tv.method = "auto"') if must else Result("ok", f"{finding}: not used")
    says = f"says that it is {cec.POWER_STATES[state]}" if state in cec.POWER_STATES else "does not say whether it is on"
    return Result("ok", f"{around.machine_path(device.adapter.device)}: the TV answers, and {says}")


def check_blanking(around: Surroundings) -> Result:
    """Whether a TV that HDMI-CEC can't switch gets no signal while it is off; otherwise its picture is black."""
    screen, method = around.config.screen, around.config.tv.method
    if method in ("cec", "black"):
        return Result("ok", f'not used (tv.method = "{method}")')
    if screen.resolved_output() != "drm":
        return Result("ok", "the desktop switches it; to try it: sudo livekeep tv off")
    bad: Verdict = "warn" if method == "blank" else "ok"
    if screen.player == "vlc":
        return Result(bad, "VLC does not give up the screen: the picture is black instead", 'set screen.player = "mpv"')
    if not drm.frame_buffers(around.path("/sys/class/graphics")):
        advice = "check the graphics driver: dmesg | grep -i drm"
        return Result(bad, "no graphics card has a frame buffer: the picture is black instead", advice)
    return Result("ok", "the kernel can switch it off")


def check_decoder(around: Surroundings) -> Result:
    hwdec, board = around.config.screen.hwdec, around.board()
    if not board:
        nodes = sorted(around.path("/dev/dri").glob("renderD*"))
        if hwdec == "no" or not nodes:
            reason = 'screen.hwdec = "no"' if hwdec == "no" else "no graphics device that decodes"
            return Result("ok", f"software ({reason})")
        return Result(
            "ok", f"/dev/dri/{nodes[0].name} may decode (screen.hwdec = {hwdec}); livekeep status shows whether it does"
        )
    if board.startswith("Raspberry Pi 5") or "Compute Module 5" in board or "Pi 500" in board:
        if "v4l2m2m" in hwdec:
            return Result("warn", f"this board has no {hwdec}", 'set screen.hwdec = "auto"')
        return Result("ok", "software: this board has no H.264 decoder, and does 1080p without")
    if not board.startswith(HARDWARE_BOARDS):
        return Result("skip", f"unknown board: {board}")
    return check_pi_decoder(around, hwdec)


def check_pi_decoder(around: Surroundings, hwdec: str) -> Result:
    if not around.path(PI_DECODER).exists():
        finding = f"{PI_DECODER} does not exist: the CPU decodes, and drops frames"
        return Result("warn", finding, "sudo modprobe bcm2835-codec; dmesg")
    if hwdec == "no":
        return Result("warn", "disabled by screen.hwdec: the CPU decodes, and drops frames", 'set screen.hwdec = "auto"')
    return Result("ok", f"{PI_DECODER} exists (screen.hwdec = {hwdec})")


def check_sound(around: Surroundings) -> Result:
    """Whether a sound card exists, and the configured one. Without any it is a warning: the picture needs none."""
    cards = dict(re.findall(r"^\s*(\d+)\s+\[(\S+)\s*\]", around.read("/proc/asound/cards"), re.MULTILINE))
    device, names = around.config.screen.audio_device, ", ".join(cards.values())
    if device in ("null", "no"):
        return Result("ok", "disabled by screen.audio_device")
    if not cards:
        return Result("warn", "there is no sound card", "an HDMI TV's appears when it is connected; see: aplay -l")
    if device == "auto":
        return Result("ok", f"cards: {names}")
    if not device.startswith("alsa"):
        return Result("skip", f"{device} cannot be checked here; cards: {names}")
    named = re.search(r":(?:CARD=)?([^,]+)", device)
    if named and named[1] not in (*cards, *cards.values()):
        advice = f"choose one of: {names}; see: mpv --audio-device=help"
        return Result("fail", f"screen.audio_device: there is no card {named[1]}", advice)
    return Result("ok", f"{device} exists")
