"""The doctor's checks of the channels: are they set up, do keys, media, slates and ffmpeg exist, and are they on air.

They use no network: `livekeep air check` checks that, and each item.
"""

import stat
import time
from collections.abc import Callable, Iterator
from shlex import quote

from livekeep.command.doctor.doctor_base import TIMEOUT_SECONDS, Result, Surroundings, as_user, is_root, may_read, summary
from livekeep.command.doctor.pictures import HIDDEN
from livekeep.command.status import channels_text
from livekeep.core import channels, config
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.status import channel_status
from livekeep.status.health import Clock
from livekeep.system import process

WORKER_USER = "livekeep-worker"
BOOT_UNIT = "livekeep-air.service"
API_CHANNELS = f"/var/lib/livekeep/{channels.DIRECTORY.name}"
STORES = ("/etc/credstore", "/etc/credstore.encrypted")
STORAGE_KEYS = ("livekeep.storage-key-id", "livekeep.storage-secret")
ENCODERS, PROTOCOLS = ("libx264", "aac"), ("rtmp", "rtmps")


def load(around: Surroundings) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """All channels, and the errors in those of the API. Raises `LivekeepError` if they may not be read."""
    return channels.load(around.config, around.path(API_CHANNELS))


def check_channels(around: Surroundings) -> Result:
    """Whether each channel has media and an ingest."""
    known, problems = load(around)
    faults = [Result("fail", problem, "sudo livekeep check-config") for problem in problems]
    etc = around.path("/etc/livekeep")
    for name, channel in known.items():
        if missing := " and ".join(key for key in ("media", "ingest_urls") if not getattr(channel, key)):
            place = config.place_of("channels", name, file=etc / "livekeep.toml", drop_ins=etc / "livekeep.d")
            shown = around.machine_path(place or f"{API_CHANNELS}/{name}.json")
            faults.append(
                Result("warn", f"{name} is not set up: it lacks {missing}", f"set {missing} in [channels.{name}] of {shown}")
            )
    if not known and not faults:
        return Result("warn", "none is configured", f"add [channels.main] to {channels.NEW_FILE}")
    return summary(faults, f"set up: {', '.join(known)}")


def check_stream_keys(around: Surroundings) -> Result:
    """Whether each channel that is set up has its key, readable only by root."""
    if not is_root():
        return Result("skip", "only root can check this", "sudo livekeep doctor")
    return check_each(
        lambda around, name, _: credential_faults(around, f"livekeep.stream-key.{name}", f"sudo livekeep air set-key {name}"),
        around,
    )


def check_each(faults_of: Callable[[Surroundings, str, Channel], Iterator[Result]], around: Surroundings) -> Result:
    """Run one check on each channel that is set up."""
    known = {name: channel for name, channel in load(around)[0].items() if channel.is_set_up()}
    if not known:
        return Result("skip", "no channel is set up")
    faults = [fault for name, channel in known.items() for fault in faults_of(around, name, channel)]
    return summary(faults, f"OK for {', '.join(known)}")


def credential_faults(around: Surroundings, file_name: str, advice: str) -> Iterator[Result]:
    """The faults of a secret's file, checked as root. They don't reveal its content."""
    file = next((path for store in STORES if (path := around.path(store) / file_name).exists()), None)
    if file is None:
        yield Result("fail", f"{STORES[0]}/{file_name} does not exist", advice)
        return
    shown, status = around.machine_path(file), file.stat()
    if status.st_uid != 0 or stat.S_IMODE(status.st_mode) & 0o077:
        repair = f"sudo chown root:root {quote(shown)}; sudo chmod 600 {quote(shown)}"
        yield Result("fail", f"{shown} can be read by other users than root", repair)
    if not around.read(file).strip():
        yield Result("fail", f"{shown} is empty", advice)


def media_faults(around: Surroundings, name: str, channel: Channel) -> Iterator[Result]:
    """Whether the worker may read the folder, or the bucket's keys exist."""
    folder, key = around.path(channel.media), f"channels.{name}.media"
    if channel.media.startswith("s3://"):
        if around.config.storage.provider == "r2" and not around.config.storage.endpoint_url:
            yield Result("fail", "storage.endpoint_url is not set", "set it to https://ACCOUNT.r2.cloudflarestorage.com")
        for file_name in STORAGE_KEYS if is_root() else ():
            yield from credential_faults(around, file_name, "sudo livekeep air set-storage-keys")
    elif f"{channel.media}/".startswith(HIDDEN):
        advice = "move the media, for example to /srv/media, and set that"
        yield Result("fail", f"{key}: the worker has no access to {channel.media}", advice)
    elif not folder.is_dir():
        advice = f"sudo mkdir -p {quote(channel.media)}, or set the right one"
        yield Result("fail", f"{key}: {channel.media} is not a folder", advice)
    elif not may_read(folder, as_user(WORKER_USER, "livekeep")):
        advice = f"sudo chmod o+rx {quote(channel.media)}; see: namei -l {quote(channel.media)}"
        yield Result("fail", f"{key}: {WORKER_USER} may not read {channel.media}", advice)


def slate_faults(around: Surroundings, name: str, channel: Channel) -> Iterator[Result]:
    slate, key = around.path(channel.slate), f"channels.{name}.slate"
    shown = around.machine_path(channel.slate)
    advice = "set a picture or a video, such as one in /usr/share/livekeep/pictures"
    if shown.startswith(HIDDEN):
        yield Result("fail", f"{key}: the worker has no access to {shown}", advice)
    elif not slate.is_file():
        yield Result("fail", f"{key}: {shown} does not exist", advice)
    elif not may_read(slate, as_user(WORKER_USER, "livekeep")):
        advice = f"sudo chmod o+r {quote(shown)}; see: namei -l {quote(shown)}"
        yield Result("fail", f"{key}: {WORKER_USER} may not read {shown}", advice)


def check_encoder(around: Surroundings) -> Result:
    """Whether ffmpeg can encode and publish."""
    abilities: set[str] = set()
    for program, option in (("ffmpeg", "-encoders"), ("ffmpeg", "-protocols"), ("ffprobe", "-version")):
        try:
            ended = process.run([program, "-hide_banner", option], TIMEOUT_SECONDS, process.environment())
        except process.NotStartedError:
            return Result("fail", f"{program} is not installed", "sudo apt install ffmpeg")
        except process.ChildError as error:
            return Result("fail", str(error), "sudo apt install --reinstall ffmpeg")
        if ended.exit_code != 0:
            return Result("fail", f"{program} fails (exit code {ended.exit_code})", "sudo apt install --reinstall ffmpeg")
        abilities.update(ended.text().split())
    needed = (*ENCODERS, *PROTOCOLS)
    if missing := [name for name in needed if name not in abilities]:
        advice = "which ffmpeg; Debian's package has them: sudo apt install ffmpeg"
        return Result("fail", f"lacks {', '.join(missing)}", advice)
    return Result("ok", f"has {', '.join(needed)}")


def check_on_air(around: Surroundings) -> Result:
    """Whether the channels that are meant to be on air are, and will be after a reboot."""
    clock = Clock(time.time(), time.monotonic())
    configured = load(around)[0]
    meant = [it for it in channel_status.read(around.path("/run/livekeep"), around.path(API_CHANNELS)).values() if it.counts()]
    faults = []
    for it in meant:
        verdict = channel_status.verdict(it, clock)
        if it.channel not in configured:
            advice = f"configure it, or: sudo livekeep air stop {it.channel}"
            faults.append(Result("fail", f"channel {it.channel} is meant to be on air, but is not configured", advice))
        elif verdict.level != "ok":
            advice = channels_text.advice(it, clock)
            faults.append(Result("fail" if verdict.level == "down" else "warn", verdict.sentence, advice))
    if not is_started_at_boot(around):
        faults.append(Result("warn", "channels will not start after a reboot", f"sudo systemctl enable {BOOT_UNIT}"))
    return summary(faults, ", ".join(it.channel for it in meant) or "no channel is meant to be on air")


def is_started_at_boot(around: Surroundings) -> bool:
    """Whether the unit is enabled; assumed if systemd doesn't reply."""
    try:
        return around.units(BOOT_UNIT)[0].enabled.startswith("enabled")
    except LivekeepError:
        return True
