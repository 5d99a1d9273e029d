"""livekeep-display.service: waits until there is a screen, then becomes mpv (or VLC) by exec; one long-lived process.

Reads: livekeep.toml ([screen]), the TV's state, /sys/class/drm, the board's model. Writes: nothing; mpv creates its IPC socket.
A configuration error never keeps the screen dark: defaults replace faulty values.
"""

import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import sdnotify

from livekeep.core import config as configuration
from livekeep.core import log, paths, state
from livekeep.core.config import Screen
from livekeep.core.errors import ConfigError, TemporaryError
from livekeep.core.state import TvState
from livekeep.screen.display import outputs, pictures
from livekeep.system import drm

logger = logging.getLogger("livekeep.display")

CHECK_SECONDS = 2.0
SOCKET_SECONDS = 30
DIRECTORY = paths.STATE_DIRECTORY / "display"
MPV_SETTINGS = paths.ROOT / "usr/share/livekeep/mpv"

BOARDS: tuple[tuple[str, str, int], ...] = (
    # The 5 has no H.264 hardware decoder, but its cores can decode 1080p.
    ("Raspberry Pi 5", "auto-copy-safe", 10_000_000),
    ("Raspberry Pi 4", "v4l2m2m-copy", 8_000_000),
    ("Raspberry Pi Compute Module 5", "auto-copy-safe", 10_000_000),
    ("Raspberry Pi Compute Module 4", "v4l2m2m-copy", 8_000_000),
    ("Raspberry Pi", "v4l2m2m-copy", 4_500_000),
)
"""Prefix of the board's model → hardware decoder, bitrate cap in bit/s. From reports, not measured on boards."""
OTHER_BOARD = ("auto-copy-safe", 20_000_000)
PORTRAIT_MARGIN = 300
"""On both sides of mpv's text, in 720ths of the TV's height: libass wraps lines for the TV's width, and a turned line must fit in
its height."""


def tuning(screen: Screen, model: str) -> tuple[str, int]:
    """The hardware decoder and the cap in bit/s: as configured, else the board's."""
    fitting = next(((hwdec, cap) for name, hwdec, cap in BOARDS if model.startswith(name)), OTHER_BOARD)
    return (fitting[0] if screen.hwdec == "auto" else screen.hwdec), screen.max_bitrate or fitting[1]


def audio_device(screen: Screen, connector: str, model: str) -> str:
    """mpv's audio device: as configured, else on a Raspberry Pi the HDMI port in use, else the system's default."""
    if screen.audio_device != "auto" or not model.startswith("Raspberry Pi"):
        return screen.audio_device
    card = {"HDMI-A-1": "vc4hdmi0", "HDMI-A-2": "vc4hdmi1"}.get(connector)
    return f"alsa/sysdefault:CARD={card}" if card else "auto"


def audio_outputs(screen: Screen, cards: Path = Path("/sys/class/sound")) -> str:
    """mpv's audio outputs, in order of preference.

    On a desktop without a sound card it is silence, or ALSA would fill the journal at each start of the stream; on the console
    the card can appear after the display.
    """
    output = screen.resolved_output()
    if output == "wayland":
        return "pipewire,pulse,alsa"
    return "alsa" if output == "drm" or screen.audio_device != "auto" or any(cards.glob("card*")) else "null"


def output_arguments(screen: Screen, connector: str, has_gpu: bool, is_blank: bool = False) -> list[str]:
    """mpv's video output. Without a GPU, its software OpenGL would cost 100 MB and finally be rejected.

    `is_blank`: the output is switched off on purpose; on the bare console mpv leaves it alone until the player says otherwise.
    """
    output = screen.resolved_output()
    if output == "x11":
        return ["--vo=gpu,x11" if has_gpu else "--vo=x11"]
    if output == "wayland":
        return ["--vo=gpu,wlshm", "--gpu-context=wayland"] if has_gpu else ["--vo=wlshm"]
    released = outputs.NO_OUTPUT if is_blank else ""
    arguments = [f"--vo={released}gpu,drm", "--gpu-context=drm"] if has_gpu else [f"--vo={released}drm"]
    if connector:
        arguments.append(f"--drm-connector={connector}")
    if screen.mode:
        arguments.append(f"--drm-mode={screen.mode}")
    return arguments


def rotation_arguments(rotate: int) -> list[str]:
    """mpv turns the picture; the player turns its text."""
    margin = [f"--osd-margin-x={PORTRAIT_MARGIN}"] if rotate in (90, 270) else []
    return [f"--video-rotate={rotate}", *margin] if rotate else []


def mpv_command(screen: Screen, connector: str, model: str, has_gpu: bool, picture: str, is_blank: bool = False) -> list[str]:
    """The command line of mpv; options independent of the configuration are in the shipped mpv.conf."""
    hwdec, cap = tuning(screen, model)
    options = [f"--{name}={value}" for name, value in pictures.mpv_options(picture).items()]
    return [
        "mpv",
        # Here too, or mpv's messages about its settings would reach the journal, with the URL if it can't be opened.
        "--no-terminal",
        f"--config-dir={MPV_SETTINGS}",
        f"--input-ipc-server={DIRECTORY / 'mpv.sock'}",
        *output_arguments(screen, connector, has_gpu, is_blank),
        *rotation_arguments(screen.rotate),
        f"--hwdec={hwdec}",
        f"--hls-bitrate={cap}",
        f"--ao={audio_outputs(screen)}",
        f"--audio-device={audio_device(screen, connector, model)}",
        f"--volume={screen.volume}",
        "--volume-max=130",
        *(["--{", *options, picture, "--}"] if picture else []),
    ]


def vlc_command(screen: Screen, connector: str, model: str, picture: str) -> list[str]:
    """The command line of VLC."""
    from livekeep.screen.player import vlc  # noqa: PLC0415 – mpv's start need not wait for it

    video = {"x11": ["--vout=xcb_x11"], "wayland": ["--vout=wl_shm"], "drm": ["--vout=drm_vout"]}[screen.resolved_output()]
    socket, snapshots = DIRECTORY / "vlc.sock", DIRECTORY / "snapshots"
    device = audio_device(screen, connector, model).removeprefix("alsa/")
    sound = ["--no-audio"]
    if audio_outputs(screen) != "null":
        sound = [f"--gain={screen.volume / 100:g}"]
        sound += [] if device == "auto" else ["--aout=alsa", f"--alsa-audio-device={device}"]
    # Its text can't be turned.
    text = [f"--sub-source=marq{{position=8,size=44,file={vlc.TEXT_FILE},refresh=1000}}"]
    quiet = ["--quiet", "--no-osd", "--no-video-title-show", "--no-interact", "--no-metadata-network-access"]
    return [
        "vlc",
        *["--intf", "oldrc", "--rc-fake-tty", f"--rc-unix={socket}"],
        *quiet,
        *video,
        *sound,
        f"--avcodec-hw={'none' if screen.hwdec == 'no' else 'any'}",
        *["--fullscreen", "--image-duration=-1", "--network-caching=1500"],
        *(["--video-filter=transform", f"--transform-type={screen.rotate}"] if screen.rotate else text),
        *[f"--snapshot-path={snapshots}", "--snapshot-format=png", "--no-snapshot-preview"],
        *([picture] if picture else []),
    ]


def environment(screen: Screen, proxy: str) -> dict[str, str]:
    """The environment variables for desktop and stream, added to the current ones."""
    variables = dict(os.environ)
    if proxy:
        # FFmpeg uses it for https too, unlike mpv's own option.
        variables["http_proxy"] = proxy
    output = screen.resolved_output()
    if output == "x11":
        variables["DISPLAY"] = screen.x11_display or ":0"
        cookie = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / "xauthority"
        if cookie.exists():
            variables["XAUTHORITY"] = str(cookie)
    elif output == "wayland":
        variables["WAYLAND_DISPLAY"] = screen.wayland_display or "wayland-0"
    return variables


def mirror_outputs(name: str, authority: str) -> None:
    """Make all outputs of the X display show the same. Without that there is still a picture on one of them."""
    from livekeep.system import randr  # noqa: PLC0415 – few need it

    try:
        with randr.connection(name, authority) as display:
            problem = randr.mirror(display)
    except TemporaryError as error:
        problem = str(error)
    if problem:
        logger.warning("screen.mirror: %s", problem)


def open_socket_to_player(path: Path) -> None:
    """Once the socket exists, give its group access and notify systemd; kill a program that creates none.

    mpv restricts its socket to its own user, whatever the umask. This runs in a process that is not this program's child, because
    the player program that replaces this one would never reap it.
    """
    program = os.getpid()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    deadline = time.monotonic() + SOCKET_SECONDS
    while not path.is_socket() and time.monotonic() < deadline:
        time.sleep(0.005)
    if path.is_socket():
        path.chmod(0o660)
        sdnotify.SystemdNotifier().notify("READY=1")
    else:
        logger.error("%s: not made within %d s; the player program is ended", path, SOCKET_SECONDS)
        os.kill(program, signal.SIGKILL)
    os._exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    config, problems = configuration.load_leniently()
    log.set_up(config.log.level)
    if "--check-config" in (sys.argv[1:] if argv is None else argv):
        if problems:
            raise ConfigError(problems)
        return 0
    for problem in problems:
        logger.error("%s; the default is used", problem)
    screen = config.screen
    notifier, said = sdnotify.SystemdNotifier(), ""
    # A machine without a TV waits here, without failing or filling the journal.
    while problem := outputs.obstacle(screen):
        if problem != said:
            logger.warning("%s", problem)
            notifier.notify(f"STATUS={problem}")
            said = problem
        time.sleep(CHECK_SECONDS)
    notifier.notify(f"STATUS=Showing pictures by {screen.player} on {screen.resolved_output()}")
    tv = TvState()
    with contextlib.suppress(TemporaryError):
        tv = state.read(TvState)
    slides = pictures.Slides(screen.holding, screen.slideshow_seconds)
    # A crash at night must not light up the TV.
    picture = slides.black() if tv.is_dark else slides.present()
    connector, model = drm.connected(screen.connector), outputs.board()
    if screen.player == "vlc":
        # Without the folder, VLC would write a single file of that name.
        (DIRECTORY / "snapshots").mkdir(exist_ok=True)
        command = vlc_command(screen, connector, model, picture)
    else:
        command = mpv_command(screen, connector, model, outputs.has_gpu(), picture, tv.is_dark and tv.method == "blank")
    path = DIRECTORY / f"{screen.player}.sock"
    # A stale socket would be mistaken for the new one.
    path.unlink(missing_ok=True)
    advice = f"install it: sudo apt install {command[0]}"
    if not shutil.which(command[0]):
        raise ConfigError([f"{command[0]}: cannot be started (No such file or directory); {advice}"])
    variables = environment(screen, config.vimeo.proxy)
    if screen.mirror and screen.resolved_output() == "x11":
        mirror_outputs(variables["DISPLAY"], variables.get("XAUTHORITY", ""))
    open_socket_to_player(path)
    try:
        os.execvpe(command[0], command, variables)  # noqa: S606 – the unit becomes the player itself
    except OSError as error:
        raise ConfigError([f"{command[0]}: cannot be started ({error.strerror}); {advice}"]) from error
