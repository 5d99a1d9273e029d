"""The doctor's checks of the machine: network, clock, disk, memory limits, the units, and other programs on the screen."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from shlex import quote

from livekeep.command import unit_names
from livekeep.command.doctor import boot_line
from livekeep.command.doctor.doctor_base import LARGEST_BYTES, Result, Surroundings
from livekeep.core import files
from livekeep.core.errors import LivekeepError
from livekeep.system import dbus
from livekeep.system.dbus import BusError

MIB = 1024 * 1024
FIX = "sudo livekeep doctor --fix"
OLDEST_YEAR = 2025
AUTOSTART = {
    "streamreturn.desktop": "starts vimeo-monitor, which takes the screen",
    "xrandr.desktop": "changes the screen's resolution at login",
}
TIME_AND_DATE = "org.freedesktop.timedate1"
NTP_SYNCHRONIZED = dbus.get(TIME_AND_DATE, "/org/freedesktop/timedate1", TIME_AND_DATE, "NTPSynchronized")


def check_network(around: Surroundings) -> Result:
    interface = default_interface(around)
    if not interface:
        return Result("fail", "no default route", "connect a cable or Wi-Fi; see: ip route, nmcli device")
    state = around.read(f"/sys/class/net/{interface}/operstate") or "unknown"
    if state not in ("up", "unknown"):
        return Result("fail", f"{interface} has the default route but is {state}", f"check the cable or Wi-Fi of {interface}")
    return Result("ok", f"default route by {interface}, link {state}")


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


def check_clock(around: Surroundings) -> Result:
    year = time.localtime().tm_year
    if year < OLDEST_YEAR:
        return Result("fail", f"the year is {year}: certificates are rejected", "sudo timedatectl set-ntp true")
    is_synchronised = around.path("/run/systemd/timesync/synchronized").exists()
    with contextlib.suppress(BusError):
        is_synchronised |= dbus.call_once(NTP_SYNCHRONIZED, around.path(dbus.SYSTEM_BUS)) == (True,)
    if is_synchronised:
        return Result("ok", "synchronised")
    return Result("warn", "not synchronised (yet)", "sudo timedatectl set-ntp true; then: timedatectl timesync-status")


def check_memory(around: Surroundings) -> Result:
    if "memory" in around.read("/sys/fs/cgroup/cgroup.controllers").split():
        return Result("ok", "the memory cgroup is on")
    path = around.boot_file()
    if path and "cgroup_enable=memory" in around.read(path).split():
        return Result("warn", "the memory cgroup is enabled from the next boot on", "sudo reboot")
    advice = FIX if around.board() else "start the kernel with cgroup_enable=memory and systemd.unified_cgroup_hierarchy=1"
    return Result("warn", "the memory cgroup is off: the units' limits have no effect", advice)


def check_boot_line(around: Surroundings) -> Result:
    """Whether the output's resolution is fixed, for a TV that is off at boot or connected later."""
    path = around.boot_file()
    if not around.board():
        return Result("skip", "fixed at boot on a Raspberry Pi only")
    if path is None:
        return Result("warn", "no cmdline.txt on the boot partition", "mount it: findmnt /boot/firmware")
    try:
        missing = boot_line.missing_changes(around.read(path), around.config.screen)
    except LivekeepError as error:
        return Result("fail", f"{path}: {error}", f"edit {path}: everything on one line")
    words = [change.word for change in missing if not change.word.startswith("cgroup")]
    if words:
        return Result("warn", f"cmdline.txt lacks {' and '.join(words)}", FIX)
    return Result("ok", "fixed in cmdline.txt; the output stays on without a TV")


def check_disk(around: Surroundings) -> Result:
    options = [
        fields[3] for line in around.read("/proc/mounts").splitlines() if len(fields := line.split()) > 3 and fields[1] == "/"
    ]
    # The last mount on / counts.
    if options and "ro" in options[-1].split(","):
        return Result("warn", "/ is read-only: select, set-token and the journal cannot save", "sudo mount -o remount,rw /")
    results = []
    for name in ("/", "/run"):
        path = around.path(name)
        space = os.statvfs(path if path.exists() else around.root)
        results.append(judge_space(name, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize))
    good = Result("ok", "; ".join(result.finding for result in results))
    return next((result for result in results if result.verdict != "ok"), good)


def judge_space(name: str, free: int, size: int) -> Result:
    """Whether `free` of `size` bytes at `name` is enough: /run holds little, / holds the journal and upgrades."""
    least, comfortable = (2 * MIB, 8 * MIB) if name == "/run" else (50 * MIB, 300 * MIB)
    finding = f"{name} has {free // MIB} MiB of {size // MIB} free"
    advice = "df -h /run; du -sh /run/*" if name == "/run" else "sudo journalctl --vacuum-size=64M; sudo apt-get clean"
    if free < comfortable:
        return Result("fail" if free < least else "warn", finding, advice)
    return Result("ok", finding)


def check_units(around: Surroundings) -> Result:
    *services, error_screen, target = around.units(*unit_names.SERVICES, unit_names.TARGET)
    if absent := [unit.name for unit in (*services, target) if unit.load == "not-found"]:
        return Result("fail", f"not installed: {', '.join(absent)}", "run install.sh again")
    if error_screen.is_active():
        finding = "the error screen is on: the display could not be started"
        return Result("fail", finding, "journalctl -u livekeep-display -n 50")
    if idle := [unit for unit in services if unit.active not in ("active", "reloading")]:
        names = [unit.name.removesuffix(".service") for unit in idle]
        states = ", ".join(f"{name} ({unit.active or 'unknown'})" for name, unit in zip(names, idle, strict=True))
        advice = f"sudo systemctl start livekeep.target; journalctl -u {names[0]} -n 50"
        return Result("fail", f"not running: {states}", advice)
    if not target.enabled.startswith("enabled"):
        return Result("warn", "running, but they will not start at boot", "sudo systemctl enable livekeep.target")
    return Result("ok", "enabled and running")


def check_rivals(around: Surroundings) -> Result:
    """Whether another program uses or changes the screen."""
    rivals = [*rival_units(around), *autostarts(around)]
    if not rivals:
        return Result("ok", "no other program uses the screen")
    return Result("fail", "; ".join(it.finding for it in rivals), "; ".join(it.advice for it in rivals))


def rival_units(around: Surroundings) -> Iterator[Result]:
    try:
        desktop_manager, predecessor = around.units("display-manager.service", "vimeo-monitor.service")
    except LivekeepError:
        return
    if desktop_manager.is_active() and around.config.screen.resolved_output() == "drm":
        advice = "sudo systemctl disable --now display-manager, or set screen.output to wayland or x11"
        yield Result("fail", "a display manager uses the screen, but the output is drm", advice)
    if predecessor.is_active():
        yield Result("fail", "vimeo-monitor.service runs", "sudo systemctl disable --now vimeo-monitor")


def autostarts(around: Surroundings) -> Iterator[Result]:
    """The predecessor's enabled autostart files, in any home directory."""
    for home in (*sorted(around.path("/home").glob("*")), around.path("/root")):
        for name, harm in AUTOSTART.items():
            entry = home / ".config/autostart" / name
            try:
                # Another user's file: not a FIFO, a device or a link.
                text = files.read(entry, LARGEST_BYTES).decode("utf-8", "replace")
            except OSError:
                continue
            if text and not re.search(r"^Hidden[ \t]*=[ \t]*true", text, re.MULTILINE | re.IGNORECASE):
                yield Result("fail", f"{entry} {harm}", f"mv -T {quote(str(entry))} {quote(f'{entry}.disabled')}")
