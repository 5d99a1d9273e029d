"""File trees of /sys as real boards show them: Raspberry Pi 4, 5 and Zero 2 W on Raspberry Pi OS, and a plain PC."""

from pathlib import Path

TV_MODES = "1920x1080\n1920x1080\n1280x720\n720x576\n"


def put(root: Path, name: str, content: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def connector(root: Path, name: str, status: str, modes: str = "") -> None:
    put(root, f"sys/class/drm/{name}/status", f"{status}\n")
    put(root, f"sys/class/drm/{name}/modes", modes)


def hwmon(root: Path, number: int, name: str, **files: str) -> None:
    put(root, f"sys/class/hwmon/hwmon{number}/name", f"{name}\n")
    for file, content in files.items():
        put(root, f"sys/class/hwmon/hwmon{number}/{file}", f"{content}\n")


def pi4(root: Path) -> Path:
    """A kernel with get_throttled: 0x50000, under-voltage and throttling since boot. The TV is on its first output."""
    put(root, "sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    hwmon(root, 0, "cpu_thermal", temp1_input="55017")
    hwmon(root, 1, "rpi_volt", in0_lcrit_alarm="0")
    connector(root, "card1-HDMI-A-1", "connected", TV_MODES)
    connector(root, "card1-HDMI-A-2", "disconnected")
    connector(root, "card1-Writeback-1", "unknown")
    put(root, "sys/class/drm/version", "drm 1.1.0 20060810\n")
    put(root, "sys/class/drm/card0/dev", "226:0\n")
    put(root, "sys/fs/ext4/features/lazy_itable_init", "supported\n")
    put(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n")
    return root


def pi5(root: Path) -> Path:
    """No get_throttled file, the voltage sensor behind the fan; the TV on the second output; an NVMe disk beside the card."""
    hwmon(root, 0, "cpu_thermal", temp1_input="48150")
    hwmon(root, 1, "rp1_adc", in1_input="1472")
    hwmon(root, 2, "pwmfan", fan1_input="2400")
    hwmon(root, 3, "rpi_volt", in0_lcrit_alarm="0")
    connector(root, "card2-HDMI-A-1", "disconnected")
    connector(root, "card2-HDMI-A-2", "connected", "3840x2160\n1920x1080\n")
    connector(root, "card2-Writeback-1", "unknown")
    put(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n")
    put(root, "sys/fs/ext4/nvme0n1p1/errors_count", "0\n")
    return root


def zero2(root: Path) -> Path:
    """One small output, nothing in it."""
    hwmon(root, 0, "rpi_volt", in0_lcrit_alarm="0")
    connector(root, "card0-HDMI-A-1", "disconnected")
    put(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n")
    return root


def pc(root: Path) -> Path:
    """Two graphics cards with connectors of the same names; no sensor of the Raspberry Pi."""
    hwmon(root, 0, "coretemp", temp1_input="41000")
    hwmon(root, 1, "nct6775", in0_lcrit_alarm="1")
    connector(root, "card0-DP-1", "disconnected")
    connector(root, "card0-HDMI-A-1", "connected", "2560x1440\n")
    connector(root, "card1-DP-1", "connected", "1920x1200\n")
    connector(root, "card1-HDMI-A-1", "disconnected")
    put(root, "sys/fs/ext4/nvme0n1p2/errors_count", "0\n")
    put(root, "sys/fs/ext4/dm-0/errors_count", "0\n")
    return root
