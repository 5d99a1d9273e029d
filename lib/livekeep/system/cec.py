"""Switches a TV on and off over HDMI-CEC, and asks it whether it is on.

Runs cec-ctl of v4l-utils. Its output tells what happened; its exit code is 0 even if no TV acknowledges a message. The kernel
keeps the logical address that is claimed here, also while the cable is unplugged, and after this program ends.
Sources: cec-ctl(1), its cec-ctl.cpp and cec-info.cpp; the kernel's userspace-api/media/cec; HDMI 1.4, supplement 1 (CEC).
"""

import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from livekeep.core.errors import AdvisedError
from livekeep.core.state import TvPower
from livekeep.system import drm, process, sysfs

DEVICES = Path("/dev")
CALL_SECONDS = 10.0
"""One call takes a tenth of a second; with a claim one second, and one more if the TV does not reply."""
CLAIM = ("--playback", "--osd-name=livekeep", "--no-rc-passthrough")
"""Without passthrough, since the keys of the TV's remote control would arrive as a keyboard's."""
CONFIRM_SECONDS = 8.0
"""TVs report the new state up to this long after the change."""
PAUSE_SECONDS = 1.5
REPEATS = 2
NO_ADDRESS = "f.f.f.f"
INPUT_ADDRESS = "0.0.0.0"  # noqa: S104 - not an IP address
"""That of a device that receives pictures, such as a capture card."""
POWER_STATES: dict[str, TvPower] = {"on": "on", "to-on": "on", "standby": "off", "to-standby": "off"}

NOT_ACKNOWLEDGED = (
    "the TV does not answer on HDMI-CEC; enable it in its menu (Anynet+, Simplink, Bravia Sync, Viera Link, EasyLink or CEC), "
    "or try another cable"
)
NO_TV = "{device}: no TV is on the HDMI cable; check the cable, and the TV's mains switch"
NO_CEC_ADDRESS = (
    "{device}: {connector} is connected but has no HDMI-CEC address; is it a TV? If a receiver or splitter is in between, "
    'connect the TV without it and restart; or set tv.method = "blank"'
)
DISTURBED = "{device}: the HDMI-CEC line does not work ({status}); try another cable, or without other HDMI devices"
REFUSED = (
    "the TV acknowledges HDMI-CEC commands but stays {power}; look in its menu for a setting that lets devices switch it {wanted}"
)
MISSING = "cec-ctl is missing, which controls the TV over HDMI-CEC; run: sudo apt install v4l-utils"
ABSENT = "{device}: no such device; choose one of /dev/cec* for tv.cec_device"
NOT_PERMITTED = "{device}: may be used by root and group video only; run with sudo"


class CecError(AdvisedError):
    """The TV cannot be reached."""


class NotPermittedError(CecError):
    """This user may not use the device."""


@dataclass(frozen=True)
class Adapter:
    """A CEC device of the kernel. `physical_address` is "" without a TV, `connector` (such as "HDMI-A-1") is "" if unknown."""

    device: str
    physical_address: str = ""
    is_claimed: bool = False
    connector: str = ""


@dataclass(frozen=True)
class Transmission:
    """A message given to cec-ctl. `is_sent`: the kernel took it; `status` is "" for plain success; `reply` is a text."""

    is_sent: bool
    status: str = ""
    reply: str = ""

    def is_acknowledged(self) -> bool:
        sending = self.status.partition(", Rx")[0]
        return self.is_sent and (not sending or ", OK" in sending)


def parse_adapter(device: str, text: str, directory: Path = drm.DRM_DIRECTORY) -> Adapter:
    """The adapter from what cec-ctl prints without messages."""
    values = dict(re.findall(r"^\s+(\S[^:\n]*?)\s*: (.*?)\s*$", text, re.MULTILINE))
    address = values.get("Physical Address", NO_ADDRESS)
    count, mask = values.get("Logical Addresses", "0"), values.get("Logical Address Mask", "0x0000")
    # Without a TV, nothing is allocated to a claim; the kernel completes the claim when there is one.
    is_claimed = not count.startswith("0") and (address == NO_ADDRESS or int(mask, 16) != 0)
    connector = connector_name(values.get("DRM Connector Info", ""), directory)
    return Adapter(device, "" if address == NO_ADDRESS else address, is_claimed, connector)


def connector_name(info: str, directory: Path) -> str:
    """The name of "card 1, connector 33"; "" on kernels that do not show the connectors' numbers (before 6.3)."""
    numbers = re.fullmatch(r"card (\d+), connector (\d+)", info)
    files = directory.glob(f"card{numbers[1]}-*/connector_id") if numbers else ()
    names = (file.parent.name.partition("-")[2] for file in files if numbers and sysfs.read(file) == numbers[2])
    return next(names, "")


def parse_transmissions(text: str) -> list[Transmission]:
    """The result of each message, from what cec-ctl prints."""
    results = []
    for block in re.split(r"^Transmit from .*$", text, flags=re.MULTILINE)[1:]:
        status = re.search(r"^\t(Tx, .*)$", block, re.MULTILINE)
        reply = block.partition("Received from")[2].partition("\tSequence:")[0]
        results.append(Transmission("\tSequence:" in block, status[1] if status else "", reply))
    return results


def power_state(transmission: Transmission) -> str:
    """What a reply reports: "on", "standby", "to-on" or "to-standby"; "" if nothing."""
    state = re.search(r"^\tpwr-state: ([\w-]+)", transmission.reply, re.MULTILINE)
    return state[1] if state else ""


def choose(adapters: Sequence[Adapter], connector: str) -> Adapter | None:
    """The adapter of `connector`, else the first one with a TV, else the first one; not an HDMI input."""
    outputs = [it for it in adapters if it.physical_address != INPUT_ADDRESS]
    preferred = sorted(outputs, key=lambda it: (not connector or it.connector != connector, not it.physical_address))
    return next(iter(preferred), None)


def find(wanted_device: str = "", connector: str = "", devices: Path = DEVICES) -> "CecTv | None":
    """The TV at `wanted_device`, or for "" at the device of `connector` (for "" of the output in use); None without CEC device.

    Raises `CecError`: no such device, no permission, cec-ctl is missing.
    """
    names = [wanted_device] if wanted_device else sorted(str(path) for path in devices.glob("cec[0-9]*"))
    adapters = [parse_adapter(name, cec_ctl(name)) for name in names]
    adapter = choose(adapters, connector or drm.connected())
    return CecTv(adapter) if adapter else None


def cec_ctl(device: str, *arguments: str) -> str:
    """What cec-ctl prints. Raises `CecError` if it cannot use the device."""
    command = ["cec-ctl", f"--device={device}", *arguments]
    try:
        ended = process.run(command, CALL_SECONDS, process.environment(), with_errors=True)
    except process.NotStartedError as error:
        raise CecError(MISSING) from error
    except process.ChildError as error:
        raise CecError(f"{device}: {error}; try another cable, and restart") from error
    reason = ended.errors.decode(errors="replace").strip().rpartition(": ")[2]
    if ended.exit_code and reason == os.strerror(errno.EACCES):
        raise NotPermittedError(NOT_PERMITTED.format(device=device))
    if ended.exit_code:
        is_absent = reason == os.strerror(errno.ENOENT)
        raise CecError(ABSENT.format(device=device) if is_absent else f"{device}: {reason}; see: dmesg | grep -i cec")
    return ended.text()


class CecTv:
    """The TV at the other end of an adapter's cable."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def switch(self, is_on: bool, takes_input: bool = False) -> None:
        """Wake the TV, and bring it to our input, or send it to standby: once. Raises `CecError` if not acknowledged.

        A TV that is off may look like none: then nothing is sent to switch it off. The kernel wakes it even so.
        """
        if not is_on and not self.adapter.physical_address and not self._connected():
            return
        self._send("--image-view-on" if is_on else "--standby", *(self._active_source() if is_on and takes_input else ()))

    def take_input(self) -> None:
        """Bring the TV to our input, once. Nothing is sent while the kernel has no address."""
        if not self.adapter.physical_address:
            # A TV that was off may give it only now.
            self.adapter = parse_adapter(self.adapter.device, cec_ctl(self.adapter.device))
        if message := self._active_source():
            self._send(*message)

    def power(self) -> TvPower:
        """What the TV reports; "unknown" if it doesn't."""
        return POWER_STATES.get(self._state(), "unknown")

    def reported_state(self) -> str:
        """What the TV reports, one of `POWER_STATES`, or "". Raises `CecError` if it doesn't even acknowledge."""
        return power_state(self._send("--give-device-power-status")[0])

    def confirm(self, is_on: bool, takes_input: bool = False, is_outdated: Callable[[], bool] = bool) -> TvPower:
        """Wait until the TV reports what `switch` asked for; repeat the change twice at most, and not once it `is_outdated`.

        Returns "unknown" for a TV that reports nothing. Raises `CecError` if it stays as it was.
        """
        wanted = ("on", "to-on") if is_on else ("standby", "to-standby")
        for repeat in range(REPEATS + 1):
            if repeat:
                self.switch(is_on, takes_input)
            # A TV that is starting ignores the change of input.
            state = self._wait_for(wanted[:1] if takes_input else wanted, is_outdated)
            if not state or state in wanted or is_outdated():
                if is_on and takes_input and not is_outdated():
                    self.take_input()
                return POWER_STATES.get(state, "unknown")
        raise CecError(REFUSED.format(power="in standby" if is_on else "on", wanted="on" if is_on else "off"))

    def _wait_for(self, wanted: Sequence[str], is_outdated: Callable[[], bool]) -> str:
        """One of the wanted states, or the TV's state at the end of the time."""
        deadline = time.monotonic() + CONFIRM_SECONDS
        while (state := self._state()) not in wanted and time.monotonic() < deadline and not is_outdated():
            time.sleep(PAUSE_SECONDS)
        return state

    def _state(self) -> str:
        try:
            return self.reported_state()
        except CecError:
            return ""

    def _active_source(self) -> tuple[str, ...]:
        address = self.adapter.physical_address
        return ("--active-source", f"phys-addr={address}") if address else ()

    def _send(self, *messages: str) -> list[Transmission]:
        """Send messages, after a claim of a logical address if none is claimed. Raises `CecError`."""
        claim = () if self.adapter.is_claimed else CLAIM
        results = parse_transmissions(cec_ctl(self.adapter.device, "--skip-info", *claim, "--to=0", *messages))
        bad = next((result for result in results if not result.is_acknowledged()), None if results else Transmission(False))
        if bad:
            raise CecError(self._problem(bad))
        self.adapter = replace(self.adapter, is_claimed=True)
        return results

    def _problem(self, result: Transmission) -> str:
        adapter = self.adapter
        if "Aborted" in result.status or not adapter.physical_address:
            connector = self._connected()
            return (NO_CEC_ADDRESS if connector else NO_TV).format(device=adapter.device, connector=connector)
        if "Not Acknowledged" in result.status:
            return NOT_ACKNOWLEDGED
        return DISTURBED.format(device=adapter.device, status=result.status or "not sent")

    def _connected(self) -> str:
        """The adapter's connector if something is connected to it, any such connector if the kernel doesn't tell; else ""."""
        return drm.connected(self.adapter.connector)
