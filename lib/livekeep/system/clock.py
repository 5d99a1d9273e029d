"""Whether the clock is synchronised, from the kernel, which knows it from any time program (timesyncd, chrony, ntpsec).

As in timedatectl(1), the clock is synchronised if the kernel's estimated maximum error is below 16 s. The error starts at 16 s at
boot and grows back to it within nine hours without a time server. timedate1 gives the same result, but each call starts
systemd-timedated. The flag STA_UNSYNC is less reliable: some programs set it to keep the kernel from writing the hardware clock.
If the kernel's value may not be read, the file /run/systemd/timesync/synchronized is used, which shows that the clock was once
synchronised.
"""

import ctypes
import struct
from pathlib import Path

TIMEX_BYTES = 512
"""More than struct timex needs on any machine."""
TIMEX_BEGINNING = struct.Struct("@Illl")
"""modes (0 changes nothing), offset, freq, maxerror: in native sizes."""
UNKNOWN_ERROR_MICROSECONDS = 16_000_000
SYNCHRONIZED_FILE = "run/systemd/timesync/synchronized"


def is_synchronized(root: Path) -> bool | None:
    """None if unknown: the kernel's estimate may not be read in some containers."""
    buffer = ctypes.create_string_buffer(TIMEX_BYTES)
    if ctypes.CDLL(None).adjtimex(buffer) >= 0:
        return int(TIMEX_BEGINNING.unpack_from(buffer.raw)[3]) < UNKNOWN_ERROR_MICROSECONDS
    return was_synchronized(root)


def was_synchronized(root: Path) -> bool | None:
    """Whether systemd-timesyncd has synchronised the clock since boot; None if unknown."""
    return True if (root / SYNCHRONIZED_FILE).exists() else None
