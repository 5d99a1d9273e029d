"""Builds the disk of a virtual machine: a Debian root by mmdebstrap, then an ext4 image by mke2fs.

Two things are cached in $LIVEKEEP_CACHE (default /var/cache/livekeep-tests), each named by a hash of what it is
made from: the bare root with its packages (minutes), and the image with the files put into it (seconds).
Needs root, mmdebstrap, e2fsprogs and the machine's own Debian mirror.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.machine import root

BASE_PACKAGES = (
    "linux-image-amd64",  # the cloud kernel has no DRM
    "systemd",
    "systemd-sysv",
    "udev",
    "kmod",
    "dbus",
    "polkitd",
    "python3",
    "iproute2",
    "alsa-utils",  # sets the sound card up at boot: it is mute otherwise
)
KEPT_SECONDS = 86400.0
AGENT = Path(__file__).with_name("agent.py")
AGENT_UNIT = """\
[Unit]
Description=Runs the tests' commands
# Ready before the rest of the boot, so that a test can watch it.
DefaultDependencies=no
After=systemd-remount-fs.service
Conflicts=shutdown.target

[Service]
ExecStart=/usr/bin/python3 -I /usr/local/sbin/vm-agent
# What a command leaves in the background outlives the agent.
KillMode=process
Restart=always

[Install]
WantedBy=sysinit.target
"""
# Three modules instead of all: without KVM a full initrd takes ten seconds longer.
INITRAMFS = "MODULES=list\nCOMPRESS=gzip\nFSTYPE=ext4\n"
INITRAMFS_MODULES = "virtio_pci\nvirtio_blk\next4\n"
MASKED = (
    "serial-getty@ttyS0.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
)
NOT_UNPACKED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# What every root has in common: another one is built when it changes.
MADE_OF = (
    *BASE_PACKAGES,
    AGENT.read_text(),
    AGENT_UNIT,
    INITRAMFS,
    INITRAMFS_MODULES,
    *MASKED,
    *NOT_UNPACKED,
)


@dataclass(frozen=True)
class Recipe:
    """What a machine's disk is made of.

    `put` is called with the unpacked root before the image is made; `put_key` names what it puts there (a hash of
    the project's files, say): the image is made anew when it changes.
    """

    suite: str = "trixie"
    packages: tuple[str, ...] = ()
    put: Callable[[Path], None] | None = None
    put_key: str = ""
    size: str = "4G"


@dataclass(frozen=True)
class Image:
    """A built disk: a raw ext4 image without partitions, and the kernel and initrd that belong to it."""

    disk: Path
    kernel: Path
    initrd: Path


def build(recipe: Recipe) -> Image:
    """Return the recipe's image, from the cache if it is there.

    Raises subprocess.CalledProcessError when a tool fails (its output is on stderr).
    """
    base = digest(recipe.suite, *recipe.packages, *MADE_OF)
    name = f"vm-{recipe.suite}-{digest(base, recipe.put_key, recipe.size)}"
    directory = root.cache() / name
    image = Image(directory / "disk.img", directory / "vmlinuz", directory / "initrd.img")
    with root.locked(root.cache() / f"vm-{recipe.suite}-{base}"):
        if not directory.is_dir():
            tarball = build_root(recipe, root.cache() / f"vm-{recipe.suite}-{base}.tar")
            build_image(recipe, tarball, directory)
        os.utime(directory)
    remove_unused()
    return image


def remove_unused() -> None:
    """Remove the images that nobody has asked for since a day: each change of the project makes a new one."""
    for directory in root.cache().glob("vm-*/"):
        if time.time() - directory.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(directory, ignore_errors=True)


def digest(*parts: str) -> str:
    """Return a short name for these strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def build_root(recipe: Recipe, tarball: Path) -> Path:
    """Make the root with its packages and the tests' agent, as a tar file, unless it is there already."""
    if tarball.exists():
        return tarball
    with tempfile.TemporaryDirectory(dir=root.cache()) as scratch:
        partial = Path(scratch) / "root.tar"
        files = Path(scratch) / "files"
        write_agent(files)
        command = [
            "mmdebstrap",
            "--mode=root",
            "--variant=apt",
            f"--include={','.join(dict.fromkeys(BASE_PACKAGES + recipe.packages))}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--aptopt={line}" for line in root.apt_options().splitlines()),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in NOT_UNPACKED),
            f"--customize-hook=cp -a {files}/. $1/",
            "--customize-hook=chroot $1 update-initramfs -u -k all",
            "--customize-hook=systemctl --root=$1 enable vm-agent.service",
            f"--customize-hook=systemctl --root=$1 mask {' '.join(MASKED)}",
            recipe.suite,
            str(partial),
            *root.sources(recipe.suite),
        ]
        subprocess.run(command, check=True)
        partial.rename(tarball)
    return tarball


def write_agent(files: Path) -> None:
    """Write what every machine has besides its packages."""
    contents = {
        "usr/local/sbin/vm-agent": AGENT.read_text(),
        "etc/systemd/system/vm-agent.service": AGENT_UNIT,
        "etc/initramfs-tools/conf.d/livekeep": INITRAMFS,
        "etc/initramfs-tools/modules": INITRAMFS_MODULES,
        "etc/hostname": "livekeep-test\n",
        # Any id: without one the first boot asks questions on the console.
        "etc/machine-id": f"{'1234' * 8}\n",
    }
    for name, text in contents.items():
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (files / "usr/local/sbin/vm-agent").chmod(0o755)


def build_image(recipe: Recipe, tarball: Path, directory: Path) -> None:
    """Unpack the root, put the recipe's files into it, and make the disk of it."""
    with tempfile.TemporaryDirectory(dir=root.cache()) as scratch:
        unpacked = Path(scratch) / "root"
        result = Path(scratch) / "result"
        unpacked.mkdir()
        result.mkdir()
        subprocess.run(["tar", "--numeric-owner", "-xf", tarball, "-C", unpacked], check=True)
        if recipe.put:
            recipe.put(unpacked)
        for name in ("etc/.updated", "var/.updated"):
            (unpacked / name).touch()  # newer than /usr: the first boot need not catch up (ldconfig, sysusers)
        for name, link in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
            shutil.copy(sorted((unpacked / "boot").glob(link))[-1], result / name)
        command = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(unpacked), str(result / "disk.img"), recipe.size]
        subprocess.run(command, check=True)
        result.rename(directory)
