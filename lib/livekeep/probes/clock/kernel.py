"""Whether the clock is synchronised: asked of the kernel, which every program for it tells (timesyncd, chrony, ntpsec).

As timedatectl(1) judges: the kernel's estimated maximum error is below 16 s. It begins there at boot and grows back to it within
nine hours without a time server. The mark STA_UNSYNC says less: some programs set it to keep the kernel off the hardware clock.
The file /run/systemd/timesync/synchronized says that it once was synchronised; it is taken where the kernel may not be asked.
"""

import ctypes
import struct
from pathlib import Path

TIMEX_BYTES = 512
"""More than struct timex takes on any machine."""
TIMEX_BEGINNING = struct.Struct("@Illl")
"""modes (0 changes nothing), offset, freq, maxerror: of the machine's own width."""
UNKNOWN_ERROR_MICROSECONDS = 16_000_000
SYNCHRONIZED_FILE = "run/systemd/timesync/synchronized"


def is_synchronized(root: Path) -> bool | None:
    """None when nobody can say."""
    error = maximum_error_microseconds()
    if error is not None:
        return error < UNKNOWN_ERROR_MICROSECONDS
    return True if (root / SYNCHRONIZED_FILE).exists() else None


def maximum_error_microseconds() -> int | None:
    """The kernel's estimate; None when it may not be asked, as in some containers."""
    buffer = ctypes.create_string_buffer(TIMEX_BYTES)
    if ctypes.CDLL(None).adjtimex(buffer) < 0:
        return None
    return int(TIMEX_BEGINNING.unpack_from(buffer.raw)[3])
