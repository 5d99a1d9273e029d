"""The machine's metrics: from psutil, and from /proc and /sys for what psutil lacks.

psutil has no pressure, no out-of-memory kills, no carrier of a network device, no name of the board. It reports whether a mount
is read-only, but not whether its file system is. It prefers hwmon's names of temperatures to those of the thermal zones, and
omits the numbers of processors and fans. It takes the load from libc, which reads only this machine's /proc.

It needs all of /proc, not only the processes (ProcSubset=all). Sources: proc(5), and the
kernel's Documentation/ABI, accounting/psi.rst and hwmon/sysfs-interface.rst. The lists of devices and file systems are
updated every half minute, with each file system's read-only flag.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil

from livekeep.core.errors import TemporaryError
from livekeep.exporter import proc_file
from livekeep.exporter.metrics import Sample
from livekeep.exporter.proc_file import figure_after, is_there
from livekeep.system import network_devices

CHECK_SECONDS = 30.0
MOST_DEVICES = 32
"""Of one kind."""
CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
RESOURCES = ("cpu", "memory", "io")
LOADS = ("livekeep_host_load1", "livekeep_host_load5", "livekeep_host_load15")

MOUNT_POINTS = ("/", "/boot/firmware", "/boot", "/run", "/var/lib/livekeep")
LOCAL_TYPES = frozenset(
    ("btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ntfs3", "overlay", "ramfs", "squashfs", "tmpfs", "vfat", "xfs")
)
"""Reading the size of any other may block forever, on a server that doesn't respond."""
READ_ONLY = frozenset(("ro", "emergency_ro", "shutdown"))
"""Options of the file system, not of the mount: the sandbox mounts everything read-only. ext4 has the others since Linux 6.15."""

COLDEST_MILLICELSIUS, HOTTEST_MILLICELSIUS = -50_000, 150_000
FASTEST_KILOHERTZ = 100_000_000
FASTEST_FAN = 100_000
LONGEST_LABEL = 64
DAMAGED = (OSError, ValueError, TypeError, LookupError, RuntimeError)
"""What psutil raises for a file that is absent or malformed."""


class Mount(NamedTuple):
    """A file system to export: its mount point, and whether it is read-only."""

    point: str
    is_read_only: bool


class NumberFile(NamedTuple):
    """A file with one whole number: its family and labels, the range of valid values, and their factor."""

    path: str
    family: str
    labels: tuple[str, ...]
    least: int = 0
    most: int = 2**64 - 1
    scale: float = 1.0


def load(content: bytes) -> Iterator[Sample]:
    """From /proc/loadavg."""
    values = [float(word) for word in content.split()[:3]]
    if len(values) != 3 or not all(0 <= value < 1e9 for value in values):
        raise ValueError("no load")
    return ((family, (), value) for family, value in zip(LOADS, values, strict=True))


def out_of_memory_kills(family: str) -> Callable[[bytes], Iterator[Sample]]:
    """From /proc/vmstat, or memory.events of a cgroup."""

    def kills(content: bytes) -> Iterator[Sample]:
        yield family, (), float(figure_after(content, b"\noom_kill "))

    return kills


def pressure(resource: str) -> Callable[[bytes], Iterator[Sample]]:
    """From /proc/pressure/RESOURCE."""

    def waiting(content: bytes) -> Iterator[Sample]:
        if not content.startswith(b"some "):
            raise ValueError("no pressure")
        yield "livekeep_host_pressure_waiting_seconds_total", (resource,), figure_after(content, b" total=") / 1e6

    return waiting


def mounts(content: bytes) -> list[Mount]:
    """The local file systems at MOUNT_POINTS in /proc/self/mountinfo, each once.

    Of several mounts on one point the last counts; invalid lines are skipped.
    """
    found: dict[str, tuple[str, Mount | None]] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        mount, parted, system = line.partition(" - ")
        words, (kind, _, options) = mount.split(" "), (system.split(" ") + [""] * 3)[:3]
        if not parted or len(words) < 6 or words[4] not in MOUNT_POINTS:
            continue
        read_only = not READ_ONLY.isdisjoint(options.split(","))
        found[words[4]] = (words[2], Mount(words[4], read_only) if kind in LOCAL_TYPES else None)
    kept: dict[str, Mount] = {}
    for point in MOUNT_POINTS:
        device, good = found.get(point, ("", None))
        if good:
            kept.setdefault(device, good)
    return list(kept.values())


def names_in(folder: Path, beginning: str = "") -> list[str]:
    """The entries of a folder that are valid labels, in numeric order; none if it is absent."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    good = [name for name in names if name.startswith(beginning) and is_label(name)]
    return sorted(good, key=lambda name: (len(name), name))


def is_label(name: str) -> bool:
    return name.isascii() and name.isprintable()


def text_in(path: Path) -> str:
    """The short text in a file of /sys; "" if it is not a valid label."""
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_LABEL + 1).decode("ascii").strip("\0 \n")
    except (OSError, ValueError):
        return ""
    return text if len(text) <= LONGEST_LABEL and text.isprintable() else ""


def sensors(root: Path) -> Iterator[tuple[Path, str]]:
    """The files with temperatures and their sensors' names: the thermal zones; if there are none, the hardware monitors."""
    folder = root / "sys/class/thermal"
    zones = [zone for name in names_in(folder, "thermal_zone") if is_there((zone := folder / name) / "temp")]
    for zone in zones:
        yield zone / "temp", text_in(zone / "type") or zone.name
    for monitor in [] if zones else monitors(root):
        chip = text_in(monitor / "name") or monitor.name
        for name in names_in(monitor, "temp"):
            if name.endswith("_input"):
                sensor = name.removesuffix("_input")
                yield monitor / name, f"{chip} {text_in(monitor / f'{sensor}_label') or sensor}"


def monitors(root: Path) -> list[Path]:
    folder = root / "sys/class/hwmon"
    return [folder / name for name in names_in(folder, "hwmon")]


def number_files(root: Path) -> Iterator[NumberFile]:
    """The files of the present devices: carriers, frequencies, temperatures, the first fan."""
    folder = root / "sys/class/net"
    for device in [name for name in network_devices.names(folder) if is_label(name)][:MOST_DEVICES]:
        # Reading it fails for a device that is down.
        yield NumberFile(f"{folder}/{device}/carrier", "livekeep_host_network_carrier", (device,), 0, 1)
    folder = root / "sys/devices/system/cpu"
    for name in [name for name in names_in(folder, "cpu") if name[3:].isdigit()][:MOST_DEVICES]:
        path = f"{folder}/{name}/cpufreq/scaling_cur_freq"
        yield NumberFile(path, "livekeep_host_cpu_frequency_hertz", (name[3:],), 1, FASTEST_KILOHERTZ, 1000.0)
    names = Counter[str]()
    for file, sensor in islice(sensors(root), MOST_DEVICES):
        names[sensor] += 1
        label = f"{sensor} {names[sensor]}" if names[sensor] > 1 else sensor
        limits = COLDEST_MILLICELSIUS, HOTTEST_MILLICELSIUS
        yield NumberFile(str(file), "livekeep_pi_temperature_celsius", (label,), *limits, 0.001)
    # A Raspberry Pi has only one.
    fans = [fan for monitor in monitors(root) if is_there(fan := monitor / "fan1_input")]
    for fan in fans[:1]:
        yield NumberFile(str(fan), "livekeep_pi_fan_speed_rpm", (), 0, FASTEST_FAN)


class Host:
    """The source. Absent or invalid values have no sample; `collect` raises `TemporaryError` if there are no samples at all."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._checked_at = float("-inf")
        self._numbers: list[NumberFile] = []
        self._mounts: list[Mount] = []
        self._board = ""
        proc = root / "proc"
        psutil.PROCFS_PATH = str(proc)
        self._files: dict[str, Callable[[bytes], Iterator[Sample]]] = {
            f"{proc}/loadavg": load,
            f"{proc}/vmstat": out_of_memory_kills("livekeep_host_oom_kills_total"),
            f"{proc_file.cgroups(root)}/{proc_file.SLICE}/memory.events": out_of_memory_kills("livekeep_oom_kills_total"),
            **{f"{proc}/pressure/{resource}": pressure(resource) for resource in RESOURCES},
        }

    def collect(self, now: float) -> Iterator[Sample]:
        """All samples; `now` in seconds of a clock that never goes back."""
        if now - self._checked_at >= CHECK_SECONDS:
            self._check_devices()
            self._checked_at = now
        samples = [*self._psutil_samples(), *self._file_samples()]
        if not samples:
            raise TemporaryError(f"{self._root}/proc: nothing can be read; does the unit have ProcSubset=all?")
        yield from samples
        if self._board:
            kind = "raspberry-pi" if self._board.startswith("Raspberry Pi") else "other"
            yield "livekeep_host_board_info", (kind, self._board), 1.0

    def _psutil_samples(self) -> Iterator[Sample]:
        with contextlib.suppress(*DAMAGED):
            times = psutil.cpu_times()
            # Guest time is part of user time.
            yield from [("livekeep_host_cpu_seconds_total", (mode,), float(getattr(times, mode))) for mode in CPU_MODES]
        with contextlib.suppress(*DAMAGED):
            # It changes when the clock is set.
            yield "livekeep_host_boot_time_seconds", (), float(psutil.boot_time())
        with contextlib.suppress(*DAMAGED):
            memory = psutil.virtual_memory()
            yield "livekeep_host_memory_size_bytes", (), float(memory.total)
            yield "livekeep_host_memory_available_bytes", (), float(memory.available)
        with contextlib.suppress(*DAMAGED):
            counters = psutil.net_io_counters(pernic=True, nowrap=False)
            devices = network_devices.of_networks(filter(is_label, counters), self._root / "sys/class/net")
            for device in devices[:MOST_DEVICES]:
                yield "livekeep_host_network_receive_bytes_total", (device,), float(counters[device].bytes_recv)
                yield "livekeep_host_network_transmit_bytes_total", (device,), float(counters[device].bytes_sent)
        for mount in self._mounts:
            # It may be unmounted since.
            with contextlib.suppress(OSError):
                usage = psutil.disk_usage(str(self._root / mount.point.lstrip("/")))
                if usage.total:
                    yield "livekeep_host_filesystem_size_bytes", (mount.point,), float(usage.total)
                    yield "livekeep_host_filesystem_available_bytes", (mount.point,), float(usage.free)
                    yield "livekeep_host_filesystem_readonly", (mount.point,), float(mount.is_read_only)

    def _file_samples(self) -> Iterator[Sample]:
        for path, parse in self._files.items():
            with contextlib.suppress(ValueError, IndexError):
                yield from parse(proc_file.read(path))
        for file in self._numbers:
            with contextlib.suppress(ValueError):
                value = int(proc_file.read(file.path))
                if file.least <= value <= file.most:
                    yield file.family, file.labels, value * file.scale

    def _check_devices(self) -> None:
        """List the devices and file systems."""
        root = self._root
        self._mounts = mounts(proc_file.read(f"{root}/proc/self/mountinfo"))
        self._board = text_in(root / "proc/device-tree/model") or text_in(root / "sys/class/dmi/id/product_name")
        self._numbers = list(number_files(root))
