"""The locations of livekeep's files. Tests and staging set LIVEKEEP_ROOT to move them."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("LIVEKEEP_ROOT", "/"))
CONFIG_FILE = ROOT / "etc/livekeep/livekeep.toml"
DROP_IN_DIRECTORY = ROOT / "etc/livekeep/livekeep.d"
CREDENTIAL_STORE = ROOT / "etc/credstore"
STATE_DIRECTORY = ROOT / "run/livekeep"
KEPT_DIRECTORY = ROOT / "var/lib/livekeep"
"""Data that survives a reboot: the channels, the record, and install.sh's notes."""
PICTURE_DIRECTORY = ROOT / "usr/share/livekeep/pictures"
_CHECKOUT = Path(__file__).resolve().parents[3] / "bin"
PROGRAM_DIRECTORY = _CHECKOUT if _CHECKOUT.is_dir() else Path("/usr/lib/livekeep")
"""The launchers: of the checkout that contains the library, or where the packages install them."""
TOKEN_NAME = "livekeep.vimeo-token"  # noqa: S105 – a file's name
YOUTUBE_KEY_NAME = "livekeep.youtube-api-key"
