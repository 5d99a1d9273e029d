"""livekeep-firstboot: takes over livekeep.toml and livekeep-token.txt from the card's boot partition, at every boot.

Unit: livekeep-firstboot.service, before the screen's units, as root. Reads: /boot/firmware (or /boot), and
/var/lib/livekeep/card, where cloud-init puts the same files from the user-data of `livekeep card`. Writes:
/etc/livekeep/livekeep.d/50-card.toml, the token's credential, what `livekeep apply` writes,
/var/lib/livekeep/install/card.json, and its state for the player. Removes the files, and overwrites cloud-init's copies of the
token.

The order makes it safe against a power cut at any time: a file is taken over, noted by its hash, and only then wiped. The next
boot repeats what is not noted, and finishes the wiping of what is. On a card that cannot be written, the note keeps the file from
being taken over again: a later `livekeep select` or `livekeep set-token` stays.
"""

import argparse
import contextlib
import hashlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from livekeep.command import file
from livekeep.command.card import boot_partition, copies
from livekeep.command.card.boot_partition import CONFIGURATION, TOKEN, CardFile
from livekeep.command.config import apply
from livekeep.command.file import Ownership
from livekeep.command.secrets import credential
from livekeep.core import config, events, files, paths, state
from livekeep.core.errors import ConfigError, LivekeepError, TemporaryError
from livekeep.core.state import FirstbootState
from livekeep.system import systemctl, terminal

DROP_IN = paths.DROP_IN_DIRECTORY / "50-card.toml"
NOTES = paths.KEPT_DIRECTORY / "install/card.json"
TAKEN = "livekeep-taken.toml"
MARK = "# livekeep: "
"""The beginning of the lines that livekeep writes into a person's file."""
SECRET_URL = re.compile(r"://[^\s\"']*[@?]")
"""A URL with a user, a password or a query."""


@dataclass
class Notes:
    """The hash of each file that was taken over and is still on the card, by its name; no file if there is none."""

    seals: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def read() -> "Notes":
        # Without the notes a file is only taken over once more.
        with contextlib.suppress(LivekeepError, ValueError):
            seals = json.loads(file.read_text(NOTES))
            return Notes({str(name): str(seal) for name, seal in seals.items()} if isinstance(seals, dict) else {})
        return Notes()

    def write(self) -> None:
        if not self.seals:
            files.remove(NOTES)
            return
        file.make_folder(NOTES.parent, 0o755)
        file.replace(NOTES, json.dumps(self.seals).encode(), Ownership(0o600), keep=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Take over what is on the card; a fault of one file does not keep the other from being taken over."""
    argparse.ArgumentParser(prog="livekeep-firstboot", description=__doc__.partition("\n")[0]).parse_args(argv)
    notes = Notes.read()
    taken: list[str] = []
    remarks: list[str] = []
    problems: list[str] = []
    for wanted, take_over in ((CONFIGURATION, take_configuration), (TOKEN, take_token)):
        try:
            content, remark = process(wanted, take_over, notes)
            taken += filter(None, [content])
            remarks += filter(None, [remark])
        except ConfigError as error:
            problems += error.problems
        except LivekeepError as error:
            problems.append(str(error))
    report(sentence(taken), remarks, problems)
    return 0


def process(wanted: CardFile, take_over: Callable[[bytes], str], notes: Notes) -> tuple[str, str]:
    """Take a file over and remove it from the card. Returns what was taken, and a remark; "" for none. Raises `LivekeepError`."""
    path = boot_partition.find(wanted)
    if path is None:
        if notes.seals.pop(wanted.name, None):
            notes.write()
        return "", ""
    raw = boot_partition.read(path, wanted)
    seal, noted = hashlib.sha256(raw).hexdigest(), notes.seals.get(wanted.name)
    content = ""
    if noted != seal and not (noted and boot_partition.is_wiped(raw)):
        content = take_over(raw)
        notes.seals[wanted.name] = seal
        notes.write()
    try:
        remove(path, wanted, raw)
    except OSError as error:
        name = Path(error.filename or path).name
        return content, f"{name} cannot be removed from the card ({error.strerror}); it was taken over: delete it yourself"
    del notes.seals[wanted.name]
    notes.write()
    return content, ""


def remove(path: Path, wanted: CardFile, raw: bytes) -> None:
    """Wipe the file; of the configuration, a copy to edit stays on the card. Raises `OSError`."""
    if boot_partition.is_wiped(raw):
        boot_partition.wipe(path)
        return
    if wanted is TOKEN:
        # Before the file: it holds what to search for.
        copies.overwrite(credential.clean(boot_partition.text_of(raw, TOKEN), TOKEN.place))
        boot_partition.wipe(path)
        return
    copy = next(filter(Path.is_dir, boot_partition.FOLDERS), path.parent) / TAKEN
    text = copy_to_edit(boot_partition.text_of(raw, wanted), time.time()).encode()
    is_written = write_copy(copy, text)
    boot_partition.wipe(path)
    if not is_written:
        # The card was full.
        write_copy(copy, text)


def write_copy(path: Path, content: bytes) -> bool:
    """Whether the copy could be written; it is a help only."""
    try:
        path.write_bytes(content)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return False
    return True


def copy_to_edit(text: str, now: float) -> str:
    """The configuration as it stays on the card: the first line says how to change it; lines with a secret URL are left out."""
    date = time.strftime("%Y-%m-%d", time.localtime(now))
    lines = [f"{MARK}taken over on {date}. To change something: edit this file, and rename it to {CONFIGURATION.name}"]
    for line in text.splitlines():
        if SECRET_URL.search(line):
            key = re.match(r"\s*([\w.-]+)\s*=", line)
            lines.append(f"{MARK}write {key[1] if key else 'the address'} again: it was removed, since it may contain a password")
        elif not line.startswith(MARK):
            lines.append(line)
    # Line ends for any editor.
    return "\r\n".join(lines) + "\r\n"


def take_token(raw: bytes) -> str:
    """Store the token, and restart a poller that runs without it. Raises `LivekeepError`."""
    token = credential.clean(boot_partition.text_of(raw, TOKEN), TOKEN.place)
    if credential.store_secret(token, credential.VIMEO_TOKEN) and systemctl.is_running(credential.VIMEO_TOKEN.unit):
        systemctl.forgive(credential.VIMEO_TOKEN.unit)
        systemctl.tell("try-restart", "--no-block", credential.VIMEO_TOKEN.unit)
    return "the token"


def take_configuration(raw: bytes) -> str:
    """Check the settings with the machine's, store and apply them. Raises `ConfigError` for faulty ones; nothing changes then."""
    text = boot_partition.text_of(raw, CONFIGURATION)
    if problems := problems_of(text):
        raise ConfigError(problems)
    file.make_folder(DROP_IN.parent, 0o750)
    heading = f"{MARK}from {CONFIGURATION.place}; the next one there replaces this file.\n"
    file.replace(DROP_IN, (heading + text).encode(), file.config_ownership(), keep=False)
    apply.apply_during_boot()
    return stream_name(config.load())


def problems_of(text: str) -> list[str]:
    """The problems that the machine's configuration has with this text from the card, and only with it."""
    _settings, before = config.load_leniently()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in config.files(paths.CONFIG_FILE, paths.DROP_IN_DIRECTORY)[1:]:
            if path.name != DROP_IN.name:
                (folder / path.name).symlink_to(path)
        (folder / DROP_IN.name).write_text(text, encoding="utf-8")
        _settings, after = config.load_leniently(paths.CONFIG_FILE, folder)
    others = {problem.replace(f"{paths.DROP_IN_DIRECTORY}/", f"{folder}/") for problem in before}
    return [f"{CONFIGURATION.place}: {problem.partition(': ')[2]}" for problem in after if problem not in others]


def stream_name(settings: config.Config) -> str:
    """The selected stream for people, without its URL."""
    stream = settings.streams.get(settings.stream.selected)
    if stream and stream.vimeo_event:
        return f"event {stream.vimeo_event}"
    return f"video {stream.vimeo_video}" if stream and stream.vimeo_video else "the settings"


def sentence(taken: Sequence[str]) -> str:
    """ "Event 123 taken from the card", a line for the TV; "" if nothing was taken."""
    if not taken:
        return ""
    return ", and ".join([f"{taken[0][:1].upper()}{taken[0][1:]} taken from the card", *taken[1:]])


def report(notice: str, remarks: Sequence[str], problems: Sequence[str]) -> None:
    """Write the journal's events and the state for the player."""
    if notice:
        events.emit(events.CARD_TAKEN, notice, CONTENT=notice)
    for line in remarks:
        terminal.say(f"<4>{line}", sys.stderr)
    for problem in problems:
        events.emit(events.CARD_REFUSED, f"Not taken over: {problem}", PROBLEM=problem)
    line = ". ".join(filter(None, [notice, *remarks]))
    try:
        state.write(state.stamped(FirstbootState(notice=line, problems=tuple(problems))))
    except TemporaryError as error:
        terminal.say(f"<4>{error}", sys.stderr)
