"""The doctor's checks of the channels: are they set up, do keys, media, slates and ffmpeg exist, and are they on air.

They use no network: `livekeep air check` checks that, and each item.
"""

import grp
import pwd
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shlex import quote

from livekeep.command.doctor.doctor_base import Check, Surroundings, Verdict, is_root
from livekeep.command.doctor.pictures import HIDDEN
from livekeep.command.status import channels_text
from livekeep.core import channels, config
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.status import channel_status
from livekeep.status.channel_status import ChannelStatus
from livekeep.status.health import Clock

WORKER = "/usr/lib/livekeep/livekeep-worker"
WORKER_USER, WORKER_GROUP = "livekeep-worker", "livekeep"
BOOT_UNIT = "livekeep-air.service"
KEPT, STATES = "/var/lib/livekeep", "/run/livekeep"
NEW_FILE = "/etc/livekeep/livekeep.d/50-channel.toml"
STORES = ("/etc/credstore", "/etc/credstore.encrypted")
STORAGE_KEYS = ("livekeep.storage-key-id", "livekeep.storage-secret")
NOT_INSTALLED = "channels are not installed (install.sh --with air)"
NOT_ROOT = "only root may look"
ENCODERS, PROTOCOLS = ("libx264", "aac"), ("rtmp", "rtmps")
TIMEOUT_SECONDS = 10.0
Fault = tuple[Verdict, str, str]
"""A check without its name."""
FaultsOf = Callable[[Surroundings, str, Channel], Iterator[Fault]]


def is_installed(around: Surroundings) -> bool:
    return around.path(WORKER).exists()


def load(around: Surroundings) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """All channels, and the errors in those of the API. Raises `LivekeepError` if they may not be read."""
    return channels.load(around.config, around.path(f"{KEPT}/{channels.DIRECTORY.name}"))


def place_of(around: Surroundings, name: str) -> Path:
    """The file that configures a channel."""
    etc = around.path("/etc/livekeep")
    found = config.place_of("channels", name, file=etc / "livekeep.toml", drop_ins=etc / "livekeep.d")
    return found or around.path(f"{KEPT}/{channels.DIRECTORY.name}/{name}.json")


def set_up(around: Surroundings) -> dict[str, Channel]:
    """The channels that can go on air. Raises `LivekeepError`."""
    return {name: channel for name, channel in load(around)[0].items() if channel.is_set_up()}


def summary(name: str, faults: Sequence[Check], good: str) -> Check:
    """The most severe fault, and the number of others; `good` if there is none."""
    if not faults:
        return Check(name, "ok", good)
    first = next((fault for fault in faults if fault.verdict == "fail"), faults[0])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Check(name, first.verdict, first.finding + more, first.advice)


def check_channels(around: Surroundings) -> Check:
    """Whether each channel has media and an ingest."""
    if not is_installed(around):
        return Check("channels", "skip", NOT_INSTALLED)
    try:
        found, problems = load(around)
    except LivekeepError as error:
        return Check("channels", "skip", str(error))
    faults = [Check("channels", "fail", problem, "sudo livekeep check-config") for problem in problems]
    for name, channel in found.items():
        missing = [key for key in ("media", "ingest_urls") if not getattr(channel, key)]
        if missing:
            place = around.machine_path(place_of(around, name))
            advice = f"set {' and '.join(missing)} in [channels.{name}] of {place}"
            faults.append(Check("channels", "warn", f"{name} is not set up: it lacks {' and '.join(missing)}", advice))
    if not found and not faults:
        return Check("channels", "warn", "none is configured", f"add [channels.main] to {NEW_FILE}")
    return summary("channels", faults, f"set up: {', '.join(found)}")


def check_stream_keys(around: Surroundings) -> Check:
    """Whether each channel that is set up has its key, readable only by root."""
    return check_each(around, "stream keys", stream_key_faults, needs_root=True)


def check_media(around: Surroundings) -> Check:
    """Whether the worker may read each folder, and the buckets' keys exist."""
    return check_each(around, "media", media_faults)


def check_slates(around: Surroundings) -> Check:
    return check_each(around, "slates", slate_faults)


def check_each(around: Surroundings, title: str, faults_of: FaultsOf, needs_root: bool = False) -> Check:
    """Run one check on each channel that is set up."""
    if not is_installed(around):
        return Check(title, "skip", NOT_INSTALLED)
    if needs_root and not is_root():
        return Check(title, "skip", NOT_ROOT, "sudo livekeep doctor")
    try:
        found = set_up(around)
    except LivekeepError as error:
        return Check(title, "skip", str(error))
    if not found:
        return Check(title, "skip", "no channel is set up")
    faults = [Check(title, *fault) for name, channel in found.items() for fault in faults_of(around, name, channel)]
    return summary(title, faults, f"well, for {', '.join(found)}")


def stream_key_faults(around: Surroundings, name: str, _channel: Channel) -> Iterator[Fault]:
    return credential_faults(around, f"livekeep.stream-key.{name}", f"sudo livekeep air set-key {name}")


def credential_faults(around: Surroundings, file_name: str, advice: str) -> Iterator[Fault]:
    """The faults of a secret's file, checked as root. They don't reveal its content."""
    found = next((path for store in STORES if (path := around.path(store) / file_name).exists()), None)
    if found is None:
        yield "fail", f"{STORES[0]}/{file_name} is not there", advice
        return
    shown, status = around.machine_path(found), found.stat()
    if status.st_uid != 0 or stat.S_IMODE(status.st_mode) & 0o077:
        name = quote(shown)
        yield (
            "fail",
            f"{shown} can be read by others than root",
            f"sudo chown root:root {name}; sudo chmod 600 {name}",
        )
    if not around.read(found).strip():
        yield "fail", f"{shown} is empty", advice


def media_faults(around: Surroundings, name: str, channel: Channel) -> Iterator[Fault]:
    if channel.media.startswith("s3://"):
        yield from bucket_faults(around)
        return
    folder, key = around.path(channel.media), f"channels.{name}.media"
    if f"{channel.media}/".startswith(HIDDEN):
        yield "fail", f"{key}: the worker may not look into {channel.media}", "move the media to /srv/media, say, and name that"
    elif not folder.is_dir():
        yield "fail", f"{key}: {channel.media} is no folder", f"sudo mkdir -p {quote(channel.media)}, or name the right one"
    elif not may_read(folder):
        advice = f"sudo chmod o+rx {quote(channel.media)}; see: namei -l {quote(channel.media)}"
        yield "fail", f"{key}: {WORKER_USER} may not read {channel.media}", advice


def bucket_faults(around: Surroundings) -> Iterator[Fault]:
    if around.config.storage.provider == "r2" and not around.config.storage.endpoint_url:
        yield "fail", "storage.endpoint_url is not set", "set it to https://ACCOUNT.r2.cloudflarestorage.com"
    if is_root():
        for key in STORAGE_KEYS:
            yield from credential_faults(around, key, "sudo livekeep air set-storage-keys")


def slate_faults(around: Surroundings, name: str, channel: Channel) -> Iterator[Fault]:
    slate, key = around.path(channel.slate), f"channels.{name}.slate"
    shown = around.machine_path(channel.slate)
    advice = "name a picture or a video, such as one in /usr/share/livekeep/pictures"
    if shown.startswith(HIDDEN):
        yield "fail", f"{key}: the worker may not look at {shown}", advice
    elif not slate.is_file():
        yield "fail", f"{key}: {shown} is not there", advice
    elif not may_read(slate):
        yield "fail", f"{key}: {WORKER_USER} may not read {shown}", f"sudo chmod o+r {quote(shown)}; see: namei -l {quote(shown)}"


def may_read(path: Path) -> bool:
    """Whether the worker's user may read a file, or list and enter a folder; assumed if this cannot be tried."""
    try:
        user, group = pwd.getpwnam(WORKER_USER), grp.getgrnam(WORKER_GROUP)
    except KeyError:
        return True
    if not is_root():
        return True
    tests = ["-r", str(path), "-a", "-x", str(path)] if path.is_dir() else ["-r", str(path)]
    command = ["test", *tests]
    done = subprocess.run(command, user=user.pw_uid, group=group.gr_gid, extra_groups=[], check=False, timeout=TIMEOUT_SECONDS)
    return done.returncode == 0


def check_encoder(around: Surroundings) -> Check:
    """Whether ffmpeg can encode and publish."""
    if not is_installed(around):
        return Check("ffmpeg", "skip", NOT_INSTALLED)
    try:
        encoders, protocols = told_by_ffmpeg("-encoders"), told_by_ffmpeg("-protocols")
        told_by_ffmpeg("-version", "ffprobe")
    except FileNotFoundError as error:
        return Check("ffmpeg", "fail", f"{error.filename} is not installed", "sudo apt install ffmpeg")
    except (OSError, subprocess.SubprocessError) as error:
        return Check("ffmpeg", "fail", f"does not run ({error})", "sudo apt install --reinstall ffmpeg")
    missing = [name for name in ENCODERS if name not in encoders] + [name for name in PROTOCOLS if name not in protocols]
    if missing:
        return Check(
            "ffmpeg", "fail", f"lacks {', '.join(missing)}", "which ffmpeg; Debian's package has them: sudo apt install ffmpeg"
        )
    return Check("ffmpeg", "ok", f"has {', '.join((*ENCODERS, *PROTOCOLS))}")


def told_by_ffmpeg(option: str, program: str = "ffmpeg") -> set[str]:
    """The words of the program's output. Raises `OSError` or `subprocess.SubprocessError`."""
    command = [program, "-hide_banner", option]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL)
    return set(done.stdout.split())


def check_on_air(around: Surroundings) -> Check:
    """Whether the channels that are meant to be on air are, and will be after a reboot."""
    if not is_installed(around):
        return Check("on air", "skip", NOT_INSTALLED)
    clock = Clock(time.time(), time.monotonic())
    try:
        found = channel_status.read(around.path(STATES), around.path(KEPT) / channels.DIRECTORY.name)
        configured = load(around)[0]
    except (LivekeepError, PermissionError):
        return Check("on air", "skip", "only root and group livekeep may look", "sudo livekeep doctor")
    faults = [Check("on air", *fault) for it in found.values() if it.counts() for fault in on_air_faults(it, configured, clock)]
    if not is_started_at_boot(around):
        advice = f"sudo systemctl enable {BOOT_UNIT}"
        faults.append(Check("on air", "warn", "channels will not come back after a restart of the machine", advice))
    names = ", ".join(name for name, it in found.items() if it.counts())
    return summary("on air", faults, names or "no channel is meant to be on air")


def on_air_faults(it: ChannelStatus, configured: dict[str, Channel], clock: Clock) -> Iterator[Fault]:
    if it.channel not in configured:
        advice = f"configure it, or: sudo livekeep air stop {it.channel}"
        yield "fail", f"channel {it.channel} is meant to be on air, but there is no such channel", advice
        return
    verdict = channel_status.verdict(it, clock)
    if verdict.level != "ok":
        yield "fail" if verdict.level == "down" else "warn", verdict.sentence, channels_text.advice(it, clock)


def is_started_at_boot(around: Surroundings) -> bool:
    """Whether the unit is enabled; assumed if systemd doesn't reply."""
    try:
        return around.units(BOOT_UNIT)[0].enabled.startswith("enabled")
    except LivekeepError:
        return True
