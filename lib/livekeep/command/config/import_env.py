"""livekeep import-env: imports vimeo-monitor's .env. Writes a drop-in, the credential, and copies of its pictures."""

import argparse
import errno
import os
import pwd
import tempfile
import time
from pathlib import Path

from livekeep.command import file
from livekeep.command.config import predecessor
from livekeep.command.config.check_config import speedtest_usage
from livekeep.command.config.predecessor import Translation
from livekeep.command.file import Ownership
from livekeep.command.secrets import credential
from livekeep.core import config, paths
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.core.text import shown
from livekeep.system import process, systemctl, terminal
from livekeep.system.loopback import is_loopback_address

TARGET = paths.DROP_IN_DIRECTORY / "20-imported.toml"
PICTURES = paths.ROOT / "var/lib/livekeep/pictures"
"""The display may not read home directories, and the predecessor's folder may be removed."""
LARGEST_PICTURE_BYTES = 1024**3
READ_SECONDS = 120.0


def run(arguments: argparse.Namespace) -> int:
    source = Path(arguments.file)
    entries = predecessor.parse(file.read_text(source))
    if not any(entry.name for entry in entries):
        raise LivekeepError(f"{source}: sets nothing; is this vimeo-monitor's .env?")
    streams, note = find_streams(arguments, source)
    translation = predecessor.translate(entries, streams, source.resolve().parent)
    if translation.token:
        credential.clean(translation.token, str(source))
    for key, picture in translation.pictures.items():
        translation.set("screen", key, str(copy_of(key, picture)))
    heading = f"Imported from {source.name} of vimeo-monitor by livekeep import-env."
    content = predecessor.toml(translation.tables, heading)
    settings = check(content)
    lines = [terminal.table([("LINE", "SETTING", "BECOMES"), *translation.outcomes]), "", shown(note)]
    if any(table.startswith(("exporter", "probes.")) for table in translation.tables):
        lines.append("To apply the settings of exporter and probes: sudo livekeep apply")
    terminal.say_block("\n".join([*lines, *map(shown, warnings(translation, settings))]))
    if arguments.dry_run:
        terminal.say_block("\nNothing was written. It would be:\n\n" + content, end="")
    else:
        write(translation, content, source)
    return 0


def find_streams(arguments: argparse.Namespace, source: Path) -> tuple[dict[str, str], str]:
    """The event numbers and where they were found. A named file must contain them; the file beside the .env may be absent."""
    tree = Path(arguments.source_tree) if arguments.source_tree else source.resolve().parent
    where = Path(arguments.streams) if arguments.streams else tree / predecessor.STREAMS_FILE
    if not (arguments.streams or arguments.source_tree or where.exists()):
        return {}, f"Streams: there is no {where}; give vimeo-monitor's folder with --source-tree to import its event numbers"
    streams = predecessor.read_streams(file.read_text(where), where)
    names = ", ".join(f"stream-{number} = {event}" for number, event in streams.items())
    return streams, f"Streams from {where}: {names}"


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
        shown_problems = [problem.replace(str(trial), str(paths.DROP_IN_DIRECTORY)) for problem in problems]
        raise ConfigError([*shown_problems, "nothing was imported: correct the configuration first"])
    return settings


def warnings(translation: Translation, settings: Config) -> list[str]:
    """Imported settings that do more than livekeep's defaults, perhaps unintentionally."""
    lines = []
    address = settings.exporter.address
    if "address" in translation.tables.get("exporter", {}) and not is_loopback_address(address):
        lines.append(
            f'warning: exporter.address = "{address}": everybody who reaches this box over the network can read its metrics '
            f'without a password; if Prometheus runs on this box, set "127.0.0.1" in {TARGET}'
        )
    if "interval_seconds" in translation.tables.get("probes.speedtest", {}) and (usage := speedtest_usage(settings)):
        lines.append(f"warning: {usage}")
    return lines


def write(translation: Translation, content: str, source: Path) -> None:
    file.make_folder(TARGET.parent, 0o755)
    copy_pictures(translation, source)
    if TARGET.exists() and file.read_text(TARGET) == content:
        terminal.say(f"{TARGET}: is unchanged")
    else:
        if TARGET.exists():
            terminal.say(f"{TARGET}: the old version is {file.back_up(TARGET, time.time()).name}")
        file.replace(TARGET, content.encode(), file.config_ownership())
        terminal.say(f"{TARGET}: written")
    if translation.token:
        credential.tell_stored(credential.VIMEO_TOKEN, credential.store_secret(translation.token, credential.VIMEO_TOKEN))
        terminal.say(f"The token is still in {source}: delete that file when vimeo-monitor is no longer used.")
    try:
        if systemctl.restart_if_running("livekeep-poller.service"):
            systemctl.tell("try-reload-or-restart", "livekeep-player.service")
    except LivekeepError as error:
        terminal.say(str(error))
        terminal.say("The units use the new settings from their next start on.")


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
    ended = process.run(
        ("cat", "--", picture),
        READ_SECONDS,
        process.environment(),
        most_output_bytes=LARGEST_PICTURE_BYTES,
        user=owner.st_uid,
        group=group,
        extra_groups=groups,
        cwd="/",
    )
    if ended.exit_code != 0:
        raise OSError(errno.EACCES, f"the owner of {source} may not read it", str(picture))
    return ended.output
