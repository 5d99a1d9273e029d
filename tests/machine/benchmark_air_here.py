"""The host side of the air part's benchmark: a simulated day, and transcoding."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from livekeep.air.worker.probe import probe
from livekeep.air.worker.profile import plan
from livekeep.air.worker.transcode import feeder_command
from livekeep.core.config import Channel
from tests.machine import root
from tests.machine.machine import Machine
from tests.machine.standin import PROJECT

PRESETS = ("ultrafast", "superfast", "veryfast")
FULL_HD_SECONDS = 12.0
CORE = "0"
DAY = "tests/air/worker/test_relay_day.py"
Line = tuple[str, str, str]


def day() -> Line:
    """The test's own metrics: it fails when memory grows or the drift is too large."""
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}/lib:{PROJECT}", "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", DAY]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=900)
    seconds = time.monotonic() - began
    figures = next((line for line in done.stdout.splitlines() if line.startswith("a day:")), "no figures").removeprefix("a day: ")
    outcome = "" if done.returncode == 0 else "TEST FAILED; "
    growth = "memory grew by less than 1 MiB; " if done.returncode == 0 else ""
    what = "24 h through the relay on a simulated clock"
    return what, "no growth, drift ≤ 40 ms, within 10 min", f"{outcome}{figures}; {growth}{seconds:.0f} s"


def full_hd() -> Path:
    """1080p25 of a moving test picture with some noise, 8 Mbit/s, with sound."""
    file = root.cache() / f"benchmark-full-hd-{FULL_HD_SECONDS:g}s.mp4"
    with root.locked(file):
        if not file.exists():
            partial = file.with_suffix(".partial.mp4")
            source = f"testsrc2=size=1920x1080:rate=25:duration={FULL_HD_SECONDS},noise=alls=8:allf=t,format=yuv420p"
            command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source, "-f", "lavfi"]
            command += ["-i", f"sine=frequency=440:sample_rate=48000:duration={FULL_HD_SECONDS}", "-c:v", "libx264"]
            command += ["-preset", "superfast", "-b:v", "8M", "-maxrate", "8M", "-bufsize", "16M", "-g", "50", "-c:a", "aac"]
            subprocess.run([*command, str(partial)], check=True, timeout=300)
            partial.rename(file)
    return file


def normalising() -> list[Line]:
    """The feeder's own command on one core, with both releases' ffmpeg, each in its root, without writing there."""
    file = full_hd()
    media = probe(str(file), 60.0)
    rows = []
    for suite in root.SUITES:
        folder = root.ready(suite, root.packages_of(suite, "health", "air"))
        told = []
        for preset in PRESETS:
            channel = Channel(preset=preset)
            found = plan(media, channel)
            wall, used = speed(folder, file, feeder_command(f"/mnt/{file.name}", found, channel, media))
            told.append(f"{preset} {FULL_HD_SECONDS / used:.2f} × ({FULL_HD_SECONDS / wall:.2f} × by the clock)")
        version = version_of(folder)
        what = f"normalising 1080p25 to 720p25 at 3 Mbit/s on one core, ffmpeg {version}: of CPU time"
        rows.append((what, "≥ 1.3 × real time", ", ".join(told)))
    return rows


def in_root(folder: Path, file: Path | None, command: Sequence[str]) -> list[str]:
    """`command` in that root, with the folder of `file` at /mnt; the mount is private to this process."""
    bind = 'mount --bind "$1" "$2/mnt"; ' if file else ""
    script = f'set -e; {bind}root=$2; shift 2; exec taskset -c {CORE} chroot "$root" "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(file.parent if file else "/"), str(folder), *command]


def speed(folder: Path, file: Path, command: Sequence[str]) -> tuple[float, float]:
    """Seconds of wall-clock time, and of CPU time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(in_root(folder, file, command), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def version_of(folder: Path) -> str:
    said = subprocess.run(in_root(folder, None, ["ffmpeg", "-version"]), check=True, capture_output=True, text=True).stdout
    return said.split()[2].partition("-")[0]


def children(pid: int) -> list[int]:
    """The running children of a process's threads."""
    return [int(child) for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()]


def conditions(machine: Machine, load: float, small: Channel) -> str:
    """The conditions of the measurement; `load` is that of the start, `small` the default profile of the rows."""
    ask = "ffmpeg -version | cut -d' ' -f 1,3 | head -n 1; systemctl --version | head -n 1; python3 --version"
    shown = ", ".join(machine.run(ask).stdout.splitlines())
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(": ")[1] for line in facts if line.startswith("model name")), platform.machine())
    profile = f"{small.width}×{small.height}, {small.video_bitrate / 1000:.0f} kbit/s, preset {small.preset}"
    return "\n".join(
        [
            f"- Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC in a systemd-nspawn machine ({machine.suite}).",
            f"- {cpu}, {os.cpu_count()} cores, load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; {shown}.",
            "- Ingest: nginx-rtmp, on loopback. Player: ffprobe, beside it; by the clock is when it names a packet.",
            f"- Profile: 1280×720, 25 a second, 3 Mbit/s for ingest, memory, CPU and storage; {profile} for the rest.",
        ]
    )
