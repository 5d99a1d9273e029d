"""The machine's figures: generated trees as a Raspberry Pi 4 and a PC have them, damaged ones, and this very machine."""

import os
import time
from pathlib import Path

import pytest

from livekeep.core.errors import TemporaryError
from livekeep.exporter import metrics, proc_file
from livekeep.exporter.host import CHECK_SECONDS, MOST_DEVICES, Host
from livekeep.exporter.proc_file import LARGEST_BYTES
from livekeep.system import network_devices

NOW = 1_790_000_000.0
Found = dict[tuple[str, tuple[str, ...]], float]
Tree = dict[str, str]

MEMINFO = (
    "MemTotal:         951304 kB\nMemFree:          120000 kB\nMemAvailable:     612344 kB\nBuffers:  25000 kB\n"
    "Cached:           480000 kB\nShmem:   9000 kB\nActive: 200000 kB\nInactive: 400000 kB\nSlab: 40000 kB\nSwapTotal:  0 kB\n"
)
NET_DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
    "    lo:       5       1    0    0    0     0          0         0        5       1    0    0    0     0       0          0\n"
    "  eth0: 123456789012 99    0    0    0     0          0         0       42       3    0    0    0     0       0          0\n"
    " wlan0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"
)
MOUNT_ROOT = "21 1 179:2 / / ro,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n"
PI4: Tree = {
    "proc/stat": "cpu  1000 20 300 40000 50 0 7 0 5 0\ncpu0 250 5 75 10000 12 0 2 0 1 0\nintr 9 0 0\nbtime 1789000000\nctxt 1\n",
    "proc/loadavg": "0.31 1.25 0.80 2/190 1234\n",
    "proc/meminfo": MEMINFO,
    "proc/net/dev": NET_DEV,
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/fs/cgroup/livekeep.slice/memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
    "proc/vmstat": "nr_free_pages 5\npgfault 11\noom_kill 2\nnr_unstable 0\n",
    "proc/self/mountinfo": MOUNT_ROOT
    + "22 21 0:22 / /run ro,nosuid - tmpfs tmpfs rw,size=189M\n"
    + "23 21 179:1 / /boot/firmware ro,relatime - vfat /dev/mmcblk0p1 rw\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48686\n",
    "sys/class/thermal/cooling_device0/type": "gpio-fan\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": "48686\n",
    **{f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq": "1500000\n" for number in range(4)},
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1500000\n",
    "sys/class/net/eth0/carrier": "1\n",
    "sys/class/net/wlan0/operstate": "down\n",
    "sys/class/net/lo/carrier": "1\n",
    "sys/class/net/bonding_masters": "\n",
}
PC: Tree = {
    **{path: text for path, text in PI4.items() if "thermal" not in path and "cpufreq" not in path},
    **{
        f"proc/pressure/{name}": f"some avg10=0.00 avg60=0.12 avg300=0.00 total={total}\n"
        for name, total in (("cpu", 3_500_000), ("io", 9))
    },
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=250000\nfull avg10=0.00 avg60=0.00 total=7\n",
    "proc/device-tree/model": "",
    "sys/class/dmi/id/product_name": "NUC8i3BEH\n",
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "51000\n",
    "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n",
    "sys/class/hwmon/hwmon0/temp2_input": "-3000\n",
    "sys/class/hwmon/hwmon3/name": "nct6775\n",
    "sys/class/hwmon/hwmon3/fan1_input": "0\n",
}


def grow(root: Path, tree: Tree) -> Path:
    for path, text in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def collect(host: Host, now: float = NOW) -> Found:
    samples = list(host.collect(now))
    found = {(family, labels): value for family, labels, value in samples}
    assert len(found) == len(samples), "a series is given twice"
    assert all(len(labels) == len(metrics.HOST[family].labels) for family, labels in found)
    assert all(type(value) is float for value in found.values())
    return found


def of(found: Found, family: str) -> dict[str, float]:
    """The values of a family by their one label; by "" without one."""
    return {labels[0] if labels else "": value for (name, labels), value in found.items() if name == f"livekeep_{family}"}


@pytest.fixture
def pi4(tmp_path: Path) -> Path:
    return grow(tmp_path, PI4)


def test_a_pc(tmp_path: Path) -> None:
    found = collect(Host(grow(tmp_path, PC)))
    assert found["livekeep_host_board_info", ("other", "NUC8i3BEH")] == 1
    assert of(found, "host_pressure_waiting_seconds_total") == {"cpu": 3.5, "memory": 0.25, "io": 9e-6}
    assert of(found, "pi_temperature_celsius") == {"coretemp Package id 0": 51, "coretemp temp2": -3}
    assert of(found, "pi_fan_speed_rpm") == {"": 0}, "it stands still, and that is known"
    assert of(found, "host_cpu_frequency_hertz") == {}


def test_values_and_devices_change(pi4: Path) -> None:
    host = Host(pi4)
    collect(host)
    grow(pi4, {"sys/class/net/eth0/carrier": "0\n", "proc/loadavg": "9.00 0.10 0.10 1/1 1\n"})
    found = collect(host, NOW + 1)
    assert (of(found, "host_network_carrier"), of(found, "host_load1")) == ({"eth0": 0}, {"": 9})
    (pi4 / "sys/class/net/eth0").rename(pi4 / "sys/class/net/eth1")
    grow(pi4, {"sys/class/net/usb0/carrier": "1\n", "proc/pressure/io": "some avg10=0.00 total=5\n"})
    found = collect(host, NOW + CHECK_SECONDS)
    assert of(found, "host_network_carrier") == {"eth1": 0, "usb0": 1}
    assert of(found, "host_pressure_waiting_seconds_total") == {"io": 5e-6}


# File systems


def test_file_systems(pi4: Path) -> None:
    (pi4 / "run").mkdir()
    (pi4 / "boot/firmware").mkdir(parents=True)
    host = Host(pi4)
    found = collect(host)
    real = os.statvfs(pi4)
    assert of(found, "host_filesystem_size_bytes") == dict.fromkeys(
        ("/", "/boot/firmware", "/run"), real.f_blocks * real.f_frsize
    )
    assert of(found, "host_filesystem_available_bytes")["/"] == pytest.approx(real.f_bavail * real.f_frsize, rel=0.1)
    assert set(of(found, "host_filesystem_readonly").values()) == {0}, "the sandbox's own ro of the mount does not count"
    (pi4 / "boot/firmware").rmdir()
    assert set(of(collect(host), "host_filesystem_size_bytes")) == {"/", "/run"}, "unmounted since"


@pytest.mark.parametrize("options", ["ro", "ro,errors=remount-ro", "rw,emergency_ro,errors=remount-ro", "rw,shutdown"])
def test_a_file_system_that_refuses_writes(pi4: Path, options: str) -> None:
    host = Host(pi4)
    collect(host)
    grow(pi4, {"proc/self/mountinfo": MOUNT_ROOT.replace(" rw\n", f" {options}\n")})
    assert of(collect(host, NOW + CHECK_SECONDS), "host_filesystem_readonly") == {"/": 1}


@pytest.mark.parametrize(
    ("more", "points"),
    [
        ("30 21 0:44 / /boot rw - autofs systemd-1 rw\n", {"/"}),
        ("30 21 0:44 / /boot rw - autofs systemd-1 rw\n31 30 179:1 / /boot rw - vfat /dev/sda1 rw\n", {"/", "/boot"}),
        ("30 21 0:50 / /var/lib/livekeep rw - nfs4 server:/x rw\n", {"/"}),
        ("30 21 0:50 / /var/lib/livekeep rw - fuse.sshfs x rw\n", {"/"}),
        ("30 21 179:2 /var/lib/livekeep /var/lib/livekeep rw - ext4 /dev/mmcblk0p2 rw\n", {"/"}),
        ("30 21 8:1 / /var/lib/livekeep rw shared:9 master:1 - ext4 /dev/sda1 rw\n", {"/", "/var/lib/livekeep"}),
        ("30 21 8:1 / /home rw - ext4 /dev/sda1 rw\n", {"/"}),
        ("30 21 8:1 / /boot\n - \n\0\n30 21 8:1 / /boot rw ext4\n30 21 8:1 / /boot rw - ext4\n", {"/", "/boot"}),
    ],
    ids=["waits", "mounted", "nfs", "fuse", "bind", "own", "home", "nonsense"],
)
def test_which_file_systems_count(pi4: Path, more: str, points: set[str]) -> None:
    (pi4 / "boot").mkdir(exist_ok=True)
    (pi4 / "var/lib/livekeep").mkdir(parents=True)
    grow(pi4, {"proc/self/mountinfo": MOUNT_ROOT + more})
    assert set(of(collect(Host(pi4)), "host_filesystem_size_bytes")) == points


# Sensors


def test_sensors_of_one_name_are_told_apart(pi4: Path) -> None:
    zones = "sys/class/thermal/thermal_zone"
    grow(
        pi4,
        {
            f"{zones}{number}/{name}": text
            for number in (2, 10)
            for name, text in (("type", "acpitz\n"), ("temp", f"{number}000\n"))
        },
    )
    grow(pi4, {f"{zones}11/temp": "11000\n", f"{zones}12/type": "ä\n", f"{zones}12/temp": "12000\n", f"{zones}13/type": "gone\n"})
    expected = {"cpu-thermal": pytest.approx(48.686), "acpitz": 2, "acpitz 2": 10, "thermal_zone11": 11, "thermal_zone12": 12}
    assert of(collect(Host(pi4)), "pi_temperature_celsius") == expected


def test_the_devices_of_containers_hide_no_real_one(pi4: Path) -> None:
    """Their names are shorter than that of the USB adapter, and others at each start of a container."""
    grow(pi4, {"sys/class/net/enx00e04c680001/carrier": "1\n", "sys/class/net/enx00e04c680001/device/uevent": ""})
    usual = of(collect(Host(pi4)), "host_network_carrier")
    grow(pi4, {f"sys/class/net/veth{number:07x}/carrier": "1\n" for number in range(40)})
    bridges = ("docker0", "br-0123456789ab", "virbr0", "vnet3", "ve-web", "cni0")
    grow(pi4, {f"sys/class/net/{name}/carrier": "1\n" for name in bridges})
    assert of(collect(Host(pi4)), "host_network_carrier") == usual == {"enx00e04c680001": 1, "eth0": 1}


def test_of_hundreds_of_devices_those_with_hardware_come_first(pi4: Path) -> None:
    grow(pi4, {f"sys/class/net/wg{number}/carrier": "1\n" for number in range(200)})
    grow(pi4, {"sys/class/net/enx00e04c680001/carrier": "1\n", "sys/class/net/enx00e04c680001/device/uevent": ""})
    found = of(collect(Host(pi4)), "host_network_carrier")
    assert ("enx00e04c680001" in found, len(found)) == (True, MOST_DEVICES)


def test_the_only_device_of_a_container_is_told(pi4: Path) -> None:
    """And a bridge, a bond, a VLAN or a tunnel that somebody has named."""
    names = ("host0", "br0", "bond0", "eth0.10", "wg0", "tun0")
    grow(pi4, {f"sys/class/net/{name}/carrier": "1\n" for name in names})
    assert set(names) < set(of(collect(Host(pi4)), "host_network_carrier"))


# Damage

BY_PSUTIL = {
    "proc/stat": {"host_cpu_seconds_total", "host_boot_time_seconds"},
    "proc/meminfo": {"host_memory_size_bytes", "host_memory_available_bytes"},
    "proc/net/dev": {"host_network_receive_bytes_total", "host_network_transmit_bytes_total"},
}
SOURCES = {
    "proc/loadavg": {"host_load1", "host_load5", "host_load15"},
    "proc/vmstat": {"host_oom_kills_total"},
    "sys/fs/cgroup/livekeep.slice/memory.events": {"oom_kills_total"},
    "proc/pressure/io": {"host_pressure_waiting_seconds_total"},
    "proc/self/mountinfo": {f"host_filesystem_{what}" for what in ("size_bytes", "available_bytes", "readonly")},
    "sys/class/net/eth0/carrier": {"host_network_carrier"},
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": {"host_cpu_frequency_hertz"},
    "sys/class/thermal/thermal_zone0/temp": {"pi_temperature_celsius"},
    "sys/class/hwmon/hwmon0/fan1_input": {"pi_fan_speed_rpm"},
}
WHOLE: Tree = {
    **PI4,
    "proc/pressure/io": "some avg10=0.00 total=5\n",
    "sys/class/hwmon/hwmon0/fan1_input": "3000\n",
}
for _number in (1, 2, 3):
    del WHOLE[f"sys/devices/system/cpu/cpu{_number}/cpufreq/scaling_cur_freq"]
NONSENSE = (
    "",
    "no such thing\n",
    "-99999999\n",
    "9" * 5000,
    "x" * 200_000,
    "\0\1\2\n\n",
    "nan inf 1e999\n",
    "oom_kill -3\nsome total=-1\n",
)
DAMAGED = [
    *((path, text, families) for path, families in SOURCES.items() for text in NONSENSE),
    *((path, text, families) for path, families in BY_PSUTIL.items() for text in ("", "no such thing\n", "cpu \nbtime \n")),
]


@pytest.mark.parametrize(("path", "text", "families"), DAMAGED)
def test_a_nonsense_file_loses_its_samples_only(tmp_path: Path, path: str, text: str, families: set[str]) -> None:
    host = Host(grow(tmp_path, WHOLE))
    whole = collect(host)
    grow(tmp_path, {path: text})
    found = collect(host, NOW + CHECK_SECONDS)
    lost = {family.removeprefix("livekeep_") for family, _ in whole.keys() - found.keys()}
    assert lost == families
    kept = {key: value for key, value in whole.items() if "filesystem" not in key[0]}
    assert {key: kept[key] for key in found if key in kept} == {key: value for key, value in found.items() if key in kept}


@pytest.mark.parametrize("path", SOURCES | BY_PSUTIL)
@pytest.mark.parametrize("how", ["absent", "pipe"])
def test_a_file_that_is_none_loses_its_samples_only(tmp_path: Path, path: str, how: str) -> None:
    whole = collect(Host(grow(tmp_path, WHOLE)))
    (tmp_path / path).unlink()
    # psutil would wait for a writer.
    if how == "pipe" and path in SOURCES:
        os.mkfifo(tmp_path / path)
    found = collect(Host(tmp_path))
    assert {family.removeprefix("livekeep_") for family, _ in whole.keys() - found.keys()} == (SOURCES | BY_PSUTIL)[path]


def test_nothing_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"proc: nothing can be read; .*ProcSubset"):
        collect(Host(tmp_path))


# This machine


def received_bytes() -> dict[str, int]:
    """As the kernel tells for each device."""
    files = Path("/sys/class/net").glob("*/statistics/rx_bytes")
    return {file.parts[-3]: int(file.read_text()) for file in files}


def test_this_machine() -> None:
    found = collect(Host(Path("/")), time.time())
    assert of(found, "host_memory_size_bytes")[""] == pytest.approx(
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), rel=0.01
    )
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert of(found, "host_boot_time_seconds")[""] == pytest.approx(boot, abs=5)
    devices = [line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    received = of(found, "host_network_receive_bytes_total")
    assert set(received) == set(network_devices.of_networks(devices))
    assert all(0 <= received[device] <= after for device, after in received_bytes().items() if device in received)
    assert "/" in of(found, "host_filesystem_size_bytes")
    assert of(found, "host_cpu_seconds_total")["user"] > 0


def test_a_file_that_comes_page_by_page_is_read_whole() -> None:
    """Of this one the kernel gives a page at a read, as of a long list of mounts."""
    assert len(proc_file.read("/proc/kallsyms")) == LARGEST_BYTES
    assert proc_file.read("/proc/kallsyms") == Path("/proc/kallsyms").read_bytes()[:LARGEST_BYTES]
