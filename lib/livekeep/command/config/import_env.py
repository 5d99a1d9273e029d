"""livekeep import-env: imports vimeo-monitor's .env. Writes a drop-in, the credential, and copies of its pictures."""

import argparse
import errno
import os
import pwd
import subprocess
import tempfile
import time
from pathlib import Path

from livekeep.command import file
from livekeep.command.config import predecessor
from livekeep.command.config.check_config import OFTEN_SECONDS, last_measurement, usage
from livekeep.command.config.predecessor import Outcome, Translation
from livekeep.command.file import Ownership
from livekeep.command.secrets import credential
from livekeep.core import config, paths
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.core.text import shown
from livekeep.system import systemctl, terminal

TARGET = paths.DROP_IN_DIRECTORY / "20-imported.toml"
PICTURES = paths.ROOT / "var/lib/livekeep/pictures"
"""The display may not read home directories, and the predecessor's folder may be removed."""
LARGEST_PICTURE_BYTES = 1024**3


def run(arguments: argparse.Namespace) -> int:
    source = Path(arguments.file)
    entries = predecessor.parse(file.read_text(source))
    if not any(entry.name for entry in entries):
        raise LivekeepError(f"{source}: sets nothing; is this vimeo-monitor's .env?")
    streams, note = find_streams(arguments, source)
    translation = predecessor.translate(entries, streams, source.resolve().parent)
    if translation.token:
        credential.clean(translation.token, str(source))
    content = render(translation, source)
    settings = check(content)
    terminal.say_block("\n".join([report(translation, note), *map(shown, warnings(translation, settings))]))
    if arguments.dry_run:
        terminal.say_block("\nNothing was written. It would be:\n\n" + content, end="")
        return 0
    write(translation, content, source)
    return 0


def find_streams(arguments: argparse.Namespace, source: Path) -> tuple[dict[str, str], str]:
    """The event numbers and where they were found. A named file must contain them; the file beside the .env may be absent."""
    tree = Path(arguments.source_tree) if arguments.source_tree else source.resolve().parent
    where = Path(arguments.streams) if arguments.streams else tree / predecessor.STREAMS_FILE
    if not (arguments.streams or arguments.source_tree or where.exists()):
        return {}, f"Streams: there is no {where}; name vimeo-monitor's folder with --source-tree to take over its event numbers"
    streams = predecessor.read_streams(file.read_text(where), where)
    names = ", ".join(f"stream-{number} = {event}" for number, event in streams.items())
    return streams, f"Streams from {where}: {names}"


def render(translation: Translation, source: Path) -> str:
    """The drop-in's text, with the paths of the pictures' copies."""
    for key, picture in translation.pictures.items():
        translation.set("screen", key, str(copy_of(key, picture)))
    return predecessor.toml(translation.tables, f"Taken over from {source.name} of vimeo-monitor by livekeep import-env.")


def copy_of(key: str, picture: Path) -> Path:
    return PICTURES / f"{key}{picture.suffix.lower()}"


def check(content: str) -> Config:
    """The resulting configuration, before anything is written. Raises `ConfigError`."""
    with tempfile.TemporaryDirectory(prefix="livekeep-") as name:
        trial = Path(name)
        for drop_in in config.files(paths.CONFIG_FILE, paths.DROP_IN_DIRECTORY)[1:]:
            (trial / drop_in.name).write_text(file.read_text(drop_in), encoding="utf-8")
        (trial / TARGET.name).write_text(content, encoding="utf-8")
        settings, problems = config.load_leniently(paths.CONFIG_FILE, trial)
    if problems:
        told = [problem.replace(str(trial), str(paths.DROP_IN_DIRECTORY)) for problem in problems]
        raise ConfigError([*told, "nothing was taken over: put the configuration right first"])
    return settings


def warnings(translation: Translation, settings: Config) -> list[str]:
    """Imported settings that do more than livekeep's defaults, perhaps unintentionally."""
    found = []
    exporter, speedtest = settings.exporter, settings.probes.speedtest
    if "address" in translation.tables.get("exporter", {}) and not is_loopback(exporter.address):
        found.append(
            f'warning: exporter.address = "{exporter.address}": who reaches this box over the network can read its figures, '
            f'without a password; if Prometheus does not ask from elsewhere, set "127.0.0.1" in {TARGET}'
        )
    if "interval_seconds" in translation.tables.get("probes.speedtest", {}) and speedtest.interval_seconds < OFTEN_SECONDS:
        found.append(f"warning: {usage(speedtest, last_measurement())}")
    return found


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def report(translation: Translation, note: str) -> str:
    """The outcome of each setting, and the source of the streams."""
    rows = [("LINE", "SETTING", "BECOMES"), *map(row, translation.outcomes)]
    lines = [terminal.table(rows), "", shown(note)]
    if any(table.startswith(("exporter", "probes.")) for table in translation.tables):
        lines.append("The exporter and the probes take their settings by: sudo livekeep apply")
    return "\n".join(lines)


def row(outcome: Outcome) -> tuple[str, str, str]:
    return str(outcome.line), outcome.name, outcome.taken or f"left: {outcome.note}"


def write(translation: Translation, content: str, source: Path) -> None:
    file.make_folder(TARGET.parent, 0o755)
    copy_pictures(translation, source)
    if TARGET.exists() and file.read_text(TARGET) == content:
        terminal.say(f"{TARGET}: is already so")
    else:
        if TARGET.exists():
            terminal.say(f"{TARGET}: the old one is kept as {file.back_up(TARGET, time.time()).name}")
        file.replace(TARGET, content.encode(), file.config_ownership())
        terminal.say(f"{TARGET}: written")
    if translation.token:
        stored = credential.store_token(translation.token)
        terminal.say(f"{credential.credential_file()}: {'token stored' if stored else 'the token is already that one'}")
        terminal.say(f"The token still stands in {source}: delete that file when vimeo-monitor is no longer used.")
    take_effect()


def copy_pictures(translation: Translation, source: Path) -> None:
    for key, picture in translation.pictures.items():
        target = copy_of(key, picture)
        file.make_folder(PICTURES, 0o755)
        try:
            if picture.stat().st_size > LARGEST_PICTURE_BYTES:
                raise LivekeepError(f"{picture}: is larger than 1 GiB; make it smaller, or set screen.{key} by hand")
            content = read_as_owner_of(source, picture)
        except OSError as error:
            raise file.cannot("read", picture, error) from error
        file.replace(target, content, Ownership(0o644))
        terminal.say(f"{target}: copied from {picture}")


def read_as_owner_of(source: Path, picture: Path) -> bytes:
    """The picture, read with the permissions of `source`'s owner: a user's .env must not make root publish another user's file.
    Raises `OSError`."""
    owner = source.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return picture.read_bytes()
    try:
        account = pwd.getpwuid(owner.st_uid)
        group, groups = account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
    except KeyError:
        group, groups = owner.st_gid, []
    done = subprocess.run(
        ["cat", "--", picture], user=owner.st_uid, group=group, extra_groups=groups, capture_output=True, cwd="/", check=False
    )
    if done.returncode != 0:
        raise OSError(errno.EACCES, f"the owner of {source} may not read it", str(picture))
    return done.stdout


def take_effect() -> None:
    try:
        if systemctl.restart_if_running("livekeep-poller.service"):
            systemctl.tell("try-reload-or-restart", "livekeep-player.service")
    except LivekeepError as error:
        terminal.say(str(error))
        terminal.say("The units take this at their next start.")
