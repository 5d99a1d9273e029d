"""A Raspberry Pi's throttling: whether the board has under-voltage, is too hot, or is slowed down.

The firmware returns one word: bits 0 to 3 for now, 16 to 19 for since boot. These sources are tried in order:

| source                 | access                     | available on                                                         |
|------------------------|----------------------------|----------------------------------------------------------------------|
| /dev/vcio_gencmd       | vcgencmd's text command    | Raspberry Pi OS since 2026: there group video may use nothing else   |
| /dev/vcio              | the tag GET_THROTTLED      | older versions                                                       |
| soc:firmware           | its file get_throttled     | kernels that have it                                                 |
| hwmon `rpi_volt`       | its file in0_lcrit_alarm   | every kernel; it has only the current under-voltage                  |

Sources: raspberrypi/linux drivers/char/broadcom/vcio.c, drivers/hwmon/raspberrypi-hwmon.c; raspberrypi/utils vcgencmd.c.
"""

import fcntl
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from livekeep.core.probe_results import THROTTLE_CONDITIONS, ThrottleCondition
from livekeep.system import sysfs

COMMAND_DEVICE = "dev/vcio_gencmd"
PROPERTY_DEVICE = "dev/vcio"
FIRMWARE_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"
SENSORS = "sys/class/hwmon"
VOLTAGE_SENSOR = "rpi_volt"

MAILBOX_PROPERTY = 0xC0006400 | struct.calcsize("P") << 16
"""_IOWR(100, 0, char *)"""
GET_BY_TAG = struct.pack("=7I", 28, 0, 0x00030046, 4, 4, 0, 0)
"""A message with the tag GET_THROTTLED: size, code, tag, the value's size and length, the value, the end. The value 0 clears none
of the firmware's bits since boot."""
COMMAND_BYTES = 1024
GET_BY_COMMAND = (
    struct.pack("=6I", 28 + COMMAND_BYTES, 0, 0x00030080, COMMAND_BYTES, 0, 0)
    + b"get_throttled".ljust(COMMAND_BYTES, b"\0")
    + bytes(4)
)
"""A message with the tag GET_COMMAND_RESULT, whose value is an error number and the text of a command."""
SUCCESS = 0x80000000
SINCE_BOOT_SHIFT = 16

Conditions = tuple[ThrottleCondition, ...]


@dataclass(frozen=True)
class Throttling:
    """The conditions now and since boot. `since_boot` None: only under-voltage is known, not the other conditions.

    Both None: the board has no sensor.
    """

    now: Conditions | None = None
    since_boot: Conditions | None = None


ALARMS = {"0": Throttling(()), "1": Throttling(("under_voltage",))}
"""By the content of the voltage sensor's file."""


def read(root: Path) -> Throttling:
    """Read the board's state below the file tree `root`."""
    word = answered_command(converse(root / COMMAND_DEVICE, GET_BY_COMMAND))
    if word is None:
        word = answered_property(converse(root / PROPERTY_DEVICE, GET_BY_TAG))
    if word is None:
        word = hexadecimal(sysfs.read(root / FIRMWARE_FILE) or "")
    if word is not None:
        return Throttling(conditions(word), conditions(word >> SINCE_BOOT_SHIFT))
    # The sensor's number differs from boot to boot.
    for folder in sorted((root / SENSORS).glob("hwmon*")):
        if sysfs.read(folder / "name") == VOLTAGE_SENSOR:
            return ALARMS.get(sysfs.read(folder / "in0_lcrit_alarm") or "", Throttling())
    return Throttling()


def conditions(word: int) -> Conditions:
    """The conditions whose bits are set in the lowest four of `word`."""
    return tuple(name for bit, name in enumerate(THROTTLE_CONDITIONS) if word >> bit & 1)


def count_events(previous: Throttling, events: int | None, now: Throttling) -> int | None:
    """How often under-voltage began: `events`, plus one if it began since the last run. None without a sensor.

    The bit since boot also shows an event between two runs.
    """
    if now.now is None:
        return None
    pairs = ((previous.now, now.now), (previous.since_boot, now.since_boot))
    began = any("under_voltage" in (after or ()) and "under_voltage" not in (before or ()) for before, after in pairs)
    return (events or 0) + began


def answered_property(answer: bytes | None) -> int | None:
    """The word in the firmware's response to GET_BY_TAG; None if it rejected or does not know the tag."""
    if answer is None or len(answer) < len(GET_BY_TAG):
        return None
    _size, code, _tag, _room, length, word, _end = struct.unpack_from("=7I", answer)
    return int(word) if code == SUCCESS and length & SUCCESS else None


def answered_command(answer: bytes | None) -> int | None:
    """The word in a response to GET_BY_COMMAND, such as "throttled=0x50005"; None for any other response."""
    if answer is None or len(answer) < 28:
        return None
    _size, code, _tag, _room, _length, error = struct.unpack_from("=6I", answer)
    name, _, value = answer[24:].partition(b"\0")[0].decode("ascii", "replace").strip().partition("=")
    return hexadecimal(value) if code == SUCCESS and error == 0 and name == "throttled" else None


def hexadecimal(text: str) -> int | None:
    return int(text, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text) else None


def converse(device: Path, message: bytes) -> bytes | None:
    """The firmware's response to a mailbox message; None if the device is absent or may not be opened."""
    buffer = bytearray(message)
    try:
        with device.open("rb", buffering=0) as file:
            fcntl.ioctl(file, MAILBOX_PROPERTY, buffer)
    except OSError:
        return None
    return bytes(buffer)
