"""Files that a person puts on the card's boot partition: found, read, and removed without a trace.

The partition is FAT: no owners, no atomic rename, and a removed file's bytes stay in place. So a file is overwritten before it is
removed. A power cut in between leaves a file with zero bytes, which no text has.
"""

import codecs
import os
from dataclasses import dataclass
from pathlib import Path

from livekeep.core import files, paths
from livekeep.core.errors import LivekeepError

FOLDERS = (paths.ROOT / "boot/firmware", paths.ROOT / "boot")
"""The partition's mount points: the second is that of releases before bookworm."""
HANDED_OVER = paths.KEPT_DIRECTORY / "card"
"""Where cloud-init puts the same files, from the user-data that `livekeep card` made."""
ON_CARD = "on the card"
LARGEST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class CardFile:
    """A file on the boot partition: its name, and the names that editors on other systems give it."""

    name: str
    other_names: tuple[str, ...]

    @property
    def place(self) -> str:
        """Its place, for messages."""
        return f"{self.name} {ON_CARD}"


CONFIGURATION = CardFile("livekeep.toml", ("livekeep.toml.txt",))
TOKEN = CardFile("livekeep-token.txt", ("livekeep-token.txt.txt", "livekeep-token"))


def find(wanted: CardFile) -> Path | None:
    """The file's path, or None. Raises `LivekeepError` if there are two of them."""
    for folder in (*FOLDERS, HANDED_OVER):
        present = [folder / name for name in (wanted.name, *wanted.other_names) if (folder / name).is_file()]
        if len(present) > 1:
            raise LivekeepError(f"{wanted.place}: {present[1].name} is there too; remove one of the two")
        if present:
            return present[0]
    return None


def read(path: Path, wanted: CardFile) -> bytes:
    """The file's bytes. Raises `LivekeepError`."""
    try:
        return files.read(path, LARGEST_BYTES)
    except OSError as error:
        raise LivekeepError(f"{wanted.place}: cannot be read ({error.strerror}); write it again") from error


def text_of(raw: bytes, wanted: CardFile) -> str:
    """The text, also in the encoding that Windows calls Unicode. Raises `LivekeepError`."""
    if is_wiped(raw):
        raise LivekeepError(f"{wanted.place}: is damaged; write it again, and eject the card before you take it out")
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise LivekeepError(f"{wanted.place}: is not UTF-8 text; save it as UTF-8 (in Notepad: Save as, Encoding)") from error


def is_wiped(raw: bytes) -> bool:
    """Whether a `wipe` had begun. Even UTF-16 text has no two zero bytes in a row."""
    return b"\0\0" in raw


def wipe(path: Path) -> None:
    """Overwrite a file in place, then remove it. Raises `OSError`."""
    overwrite(path, bytes(path.stat().st_size))
    files.remove(path)


def overwrite(path: Path, content: bytes) -> None:
    """Write `content` over the beginning of a file, in the same place on the card. Raises `OSError`."""
    with path.open("r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
