"""The doctor's checks of the machine: network, clock, disk, memory limits, the units, and rivals for the screen."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from livekeep.command import unit_names
from livekeep.command.doctor import boot_line
from livekeep.command.doctor.doctor_base import LARGEST_BYTES, Check, Surroundings
from livekeep.core import files
from livekeep.core.errors import LivekeepError
from livekeep.system import dbus
from livekeep.system.dbus import BusError
from livekeep.system.systemd import Unit

MIB = 1024 * 1024
FIX = "sudo livekeep doctor --fix"
OLDEST_YEAR = 2025
AUTOSTART = {
    "streamreturn.desktop": "starts vimeo-monitor, which takes the screen",
    "xrandr.desktop": "changes the screen's resolution at login",
}
TIME_AND_DATE = "org.freedesktop.timedate1"
NTP_SYNCHRONIZED = dbus.get(TIME_AND_DATE, "/org/freedesktop/timedate1", TIME_AND_DATE, "NTPSynchronized")
RIVALS = ("display-manager.service", "vimeo-monitor.service")


def check_network(around: Surroundings) -> Check:
    interface = default_interface(around)
    if not interface:
        return Check("network", "fail", "no default route", "connect a cable or Wi-Fi; see: ip route, nmcli device")
    state = around.read(f"/sys/class/net/{interface}/operstate") or "unknown"
    if state not in ("up", "unknown"):
        return Check(
            "network", "fail", f"{interface} has the default route but is {state}", f"check the cable or Wi-Fi of {interface}"
        )
    return Check("network", "ok", f"default route by {interface}, link {state}")


def default_interface(around: Surroundings) -> str:
    """The interface of an IPv4 or IPv6 default route; "" for none."""
    for line in around.read("/proc/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" == fields[7] and int(fields[3], 16) & 1:
            return fields[0]
    for line in around.read("/proc/net/ipv6_route").splitlines():
        fields = line.split()
        if len(fields) == 10 and fields[1] == "00" and fields[0] == "0" * 32 and fields[9] != "lo":
            return fields[9]
    return ""


def check_clock(around: Surroundings) -> Check:
    year = time.localtime().tm_year
    if year < OLDEST_YEAR:
        return Check("clock", "fail", f"the year is {year}: certificates will be refused", "sudo timedatectl set-ntp true")
    if synchronised(around):
        return Check("clock", "ok", "synchronised")
    return Check("clock", "warn", "not synchronised (yet)", "sudo timedatectl set-ntp true; then: timedatectl timesync-status")


def synchronised(around: Surroundings) -> bool:
    with contextlib.suppress(BusError):
        if dbus.call_once(NTP_SYNCHRONIZED, around.path(dbus.SYSTEM_BUS)) == (True,):
            return True
    return around.path("/run/systemd/timesync/synchronized").exists()


def check_memory(around: Surroundings) -> Check:
    if "memory" in around.read("/sys/fs/cgroup/cgroup.controllers").split():
        return Check("memory limits", "ok", "the memory cgroup is on")
    path = around.boot_file()
    if path and "cgroup_enable=memory" in around.read(path).split():
        return Check("memory limits", "warn", "the memory cgroup comes on at the next start", "sudo reboot")
    advice = FIX if around.board() else "start the kernel with cgroup_enable=memory and systemd.unified_cgroup_hierarchy=1"
    return Check("memory limits", "warn", "the memory cgroup is off: the units' limits have no effect", advice)


def check_boot_line(around: Surroundings) -> Check:
    """Whether the output's resolution is fixed, for a TV that is off at boot or connected later."""
    path = around.boot_file()
    if not around.board():
        return Check("resolution", "skip", "fixed at boot on a Raspberry Pi only")
    if path is None:
        return Check("resolution", "warn", "no cmdline.txt on the boot partition", "mount it: findmnt /boot/firmware")
    try:
        missing = boot_line.missing_changes(around.read(path), around.config.screen)
    except LivekeepError as error:
        return Check("resolution", "fail", f"{path}: {error}", f"edit {path}: everything on one line")
    words = [change.word for change in missing if not change.word.startswith("cgroup")]
    if words:
        return Check("resolution", "warn", f"cmdline.txt lacks {' and '.join(words)}", FIX)
    return Check("resolution", "ok", "fixed in cmdline.txt; the output stays on without a TV")


def check_disk(around: Surroundings) -> Check:
    if mounted_read_only(around):
        return Check(
            "disk", "warn", "/ is read-only: select, set-token and the journal cannot save", "sudo mount -o remount,rw /"
        )
    found = [(name, *space(around, name)) for name in ("/", "/run")]
    worst = [judge_space(name, free, size) for name, free, size in found]
    return next(
        (check for check in worst if check.verdict != "ok"), Check("disk", "ok", "; ".join(check.finding for check in worst))
    )


def space(around: Surroundings, name: str) -> tuple[int, int]:
    """Free and total bytes; for an absent path, those of the tree's root."""
    path = around.path(name)
    found = os.statvfs(path if path.exists() else around.root)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def judge_space(name: str, free: int, size: int) -> Check:
    """Whether `free` of `size` bytes at `name` is enough: /run holds little, / holds the journal and upgrades."""
    least, comfortable = (2 * MIB, 8 * MIB) if name == "/run" else (50 * MIB, 300 * MIB)
    finding = f"{name} has {free // MIB} MiB of {size // MIB} free"
    advice = "df -h /run; du -sh /run/*" if name == "/run" else "sudo journalctl --vacuum-size=64M; sudo apt-get clean"
    if free < least:
        return Check("disk", "fail", finding, advice)
    return Check("disk", "warn", finding, advice) if free < comfortable else Check("disk", "ok", finding)


def mounted_read_only(around: Surroundings) -> bool:
    """Whether / is mounted read-only; the last mount on / counts."""
    options = [
        fields[3] for line in around.read("/proc/mounts").splitlines() if len(fields := line.split()) > 3 and fields[1] == "/"
    ]
    return bool(options) and "ro" in options[-1].split(",")


def check_units(around: Surroundings) -> Check:
    try:
        *services, error_screen, target = around.units(*unit_names.SERVICES, unit_names.TARGET)
    except LivekeepError as error:
        return Check("units", "skip", str(error))
    absent = [entry.name for entry in (*services, target) if entry.load == "not-found"]
    if absent:
        return Check("units", "fail", f"not installed: {', '.join(absent)}", "run install.sh again")
    if error_screen.is_active():
        return Check(
            "units", "fail", "the error screen is on: the display could not be started", "journalctl -u livekeep-display -n 50"
        )
    idle = [short(entry) for entry in services if entry.active not in ("active", "reloading")]
    if idle:
        name = idle[0].partition(" ")[0]
        return Check(
            "units",
            "fail",
            f"not running: {', '.join(idle)}",
            f"sudo systemctl start livekeep.target; journalctl -u {name} -n 50",
        )
    if not target.enabled.startswith("enabled"):
        return Check("units", "warn", "running, but they will not start at boot", "sudo systemctl enable livekeep.target")
    return Check("units", "ok", "enabled and running")


def short(entry: Unit) -> str:
    return f"{entry.name.removesuffix('.service')} ({entry.active or 'unknown'})"


def check_rivals(around: Surroundings) -> Check:
    """Whether another program uses or changes the screen."""
    found = [*rival_units(around), *autostarts(around)]
    if not found:
        return Check("other programs", "ok", "none fights for the screen")
    findings, advice = zip(*found, strict=True)
    return Check("other programs", "fail", "; ".join(findings), "; ".join(advice))


def rival_units(around: Surroundings) -> Iterator[tuple[str, str]]:
    try:
        desktop_manager, predecessor = around.units(*RIVALS)
    except LivekeepError:
        return
    if desktop_manager.is_active() and around.config.screen.resolved_output() == "drm":
        yield (
            "a display manager holds the screen, but the output is drm",
            "sudo systemctl disable --now display-manager, or set screen.output to wayland or x11",
        )
    if predecessor.is_active():
        yield "vimeo-monitor.service runs", "sudo systemctl disable --now vimeo-monitor"


def autostarts(around: Surroundings) -> Iterator[tuple[str, str]]:
    """The predecessor's enabled autostart files, in any home directory."""
    for home in (*sorted(around.path("/home").glob("*")), around.path("/root")):
        for name, harm in AUTOSTART.items():
            entry = home / ".config/autostart" / name
            text = read_foreign(entry)
            if text and not re.search(r"^Hidden[ \t]*=[ \t]*true", text, re.MULTILINE | re.IGNORECASE):
                yield f"{entry} {harm}", f"mv -T {quote(str(entry))} {quote(f'{entry}.disabled')}"


def read_foreign(file: Path) -> str:
    """A small text file of another user; "" if it is not one."""
    try:
        return files.read(file, LARGEST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
