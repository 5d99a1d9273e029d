"""Debian roots for test machines, built by mmdebstrap and cached.

`bare()` is like a Raspberry Pi OS Lite with a working apt; `ready()` adds packages, so that a test need not wait for them. Both
are read-only by convention: a machine mounts an overlay on them. The cache is `$LIVEKEEP_CACHE` or /var/cache/livekeep-tests, one
directory per hash of its inputs. The Debian mirror comes from the apt configuration of the machine that runs the tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Suite = Literal["trixie", "bookworm"]
SUITES: tuple[Suite, ...] = ("trixie", "bookworm")
SPEED_TESTS: dict[Suite, str] = {"trixie": "librespeed-cli", "bookworm": "speedtest-cli"}

# What Raspberry Pi OS Lite has by default, without kernel, firmware and desktop.
BARE_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "netbase",
    "polkitd",
    "procps",
    "python3",
    "sudo",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
)

# Part of the hash: increase it when this module builds a different root from the same packages.
RECIPE = 2

PACKAGING = Path(__file__).parents[2] / "packaging"

# Units that wait for hardware or a network that the container lacks.
MASKED_UNITS = ("systemd-networkd-wait-online.service", "systemd-timesyncd.service", "console-getty.service")

BUILD_TIMEOUT_SECONDS = 1200


class RootError(Exception):
    """A root cannot be built; the message says what to do."""


def cache() -> Path:
    """The directory of all roots and clips; created when absent."""
    path = Path(os.environ.get("LIVEKEEP_CACHE", "/var/cache/livekeep-tests"))
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def bare(suite: Suite) -> Path:
    """The directory of the cached bare root, built first when absent. Raises RootError."""
    target = cache() / f"{suite}-bare-{_key(suite, BARE_PACKAGES)}"
    with locked(target):
        if not target.exists():
            _build_bare(suite, target)
    return target


def ready(suite: Suite, packages: Sequence[str]) -> Path:
    """The directory of a cached root with `packages` installed as well, built first when absent. Raises RootError.

    Most rooms need what a screen needs, and something more: their root is built from the screen's, which is quicker.
    """
    wanted = sorted(set(packages))
    if not wanted:
        return bare(suite)
    base = ready(suite, packages_of(suite)) if set(packages_of(suite)) < set(wanted) else bare(suite)
    target = cache() / f"{suite}-ready-{_key(suite, [base.name, *wanted])}"
    with locked(target):
        if not target.exists():
            _build_ready(base, wanted, target)
    return target


def packages_of(suite: Suite, *parts: str) -> tuple[str, ...]:
    """The packages that install.sh would install for these parts: screen and health by default."""
    return (*needed_by(*(parts or ("screen", "health"))), SPEED_TESTS[suite])


def needed_by(*parts: str) -> tuple[str, ...]:
    """What the packages of these parts depend on, from their control files; without systemd, which each machine has,
    and without alternatives, that is the speed test."""
    names = []
    for package in ("livekeep", *(f"livekeep-{part}" for part in parts)):
        control = (PACKAGING / package / "control").read_text(encoding="utf-8")
        depends = re.search(r"^Depends: (.*)$", control, re.MULTILINE)
        assert depends
        names += [name for name in depends[1].split(", ") if name != "systemd" and not re.search(r"[(|]", name)]
    return tuple(dict.fromkeys(names))


def mirrors() -> tuple[str, str | None]:
    """The Debian archive's URI and the security archive's (or None), from this machine's own apt configuration."""
    uris = list(_source_uris())
    main = [uri for uri, suites in uris if any(re.fullmatch(r"[a-z]+", s) for s in suites) and "security" not in uri]
    security = [uri for uri, suites in uris if any(s.endswith("-security") for s in suites)]
    if not main:
        raise RootError("no Debian mirror in /etc/apt: add a deb line or a .sources file for Debian")
    return main[0], security[0] if security else None


def sources(suite: Suite) -> list[str]:
    """The one-line apt sources for `suite` on this machine's mirror."""
    main, security = mirrors()
    lines = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    if security:
        lines.append(f"deb {security} {suite}-security main")
    return lines


def _source_uris() -> Iterator[tuple[str, list[str]]]:
    """Every (URI, suites) of a Debian archive, deb822 files first: their order is that of preference."""
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if "debian" in fields.get("Signed-By", "") or "debian" in fields.get("URIs", ""):
                for uri in fields.get("URIs", "").split():
                    yield uri, fields.get("Suites", "").split()
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]:
        if not path.exists():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+debian\S*)\s+(\S+)", line)
            if match:
                yield match[1], [match[2]]


def apt_options() -> str:
    """This machine's proxy and date checks as apt.conf text: a mirror that needs them here needs them in the root, too."""
    dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    wanted = r"^Acquire::(?:https?::Proxy|https?::Verify-\S+|Check-Valid-Until|Check-Date) \".+\";$"
    return "".join(f"{line}\n" for line in re.findall(wanted, dump, re.MULTILINE))


def _key(suite: str, packages: Sequence[str]) -> str:
    text = "\n".join([str(RECIPE), suite, *packages])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Only one process builds a root; the others wait for it."""
    with Path(f"{target}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_bare(suite: Suite, target: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise RootError("mmdebstrap is missing: apt-get install mmdebstrap")
    partial = fresh(target)
    command = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"]
    command += [
        f"--include={','.join(BARE_PACKAGES)}",
        *(f"--aptopt={o}" for o in apt_options().splitlines()),
    ]
    _checked([*command, suite, str(partial), *sources(suite)])
    _settle(partial)
    partial.rename(target)


def _settle(root: Path) -> None:
    """Complete what the installed packages leave open, and what only a container needs."""
    (root / "etc/apt/apt.conf.d/99host").write_text(apt_options(), encoding="utf-8")
    (root / "etc/hostname").write_text("livekeep-test\n", encoding="utf-8")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("", encoding="utf-8")
    hosts = "127.0.0.1 localhost livekeep-test\n::1 localhost\n"
    (root / "etc/hosts").write_text(hosts, encoding="utf-8")
    # Otherwise booting would empty the screen's socket directory, which is bound from outside.
    tmpfiles = root / "etc/tmpfiles.d"
    tmpfiles.mkdir(exist_ok=True)
    (tmpfiles / "x11.conf").symlink_to("/dev/null")
    for unit in MASKED_UNITS:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")


def _build_ready(base: Path, packages: Sequence[str], target: Path) -> None:
    partial = fresh(target)
    _checked(["cp", "-a", "--reflink=auto", str(base), str(partial)])
    script = (
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -q && "
        'apt-get install -q -y --no-install-recommends "$@" && apt-get clean'
    )
    resolv = partial / "etc/resolv.conf"
    shutil.copyfile("/etc/resolv.conf", resolv)
    policy = partial / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    try:
        _checked(
            ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={partial}/proc"]  # noqa: RUF005 - reads in two halves
            + ["chroot", str(partial), "/bin/sh", "-c", script, "sh", *packages]
        )
    finally:
        policy.unlink()
        resolv.write_text("", encoding="utf-8")
    partial.rename(target)


def fresh(target: Path) -> Path:
    """A name for the unfinished root; removes the remains of an interrupted build."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    return partial


def _checked(command: list[str]) -> None:
    # Bytecode belongs beside its source: the setting of tests/run would create a folder of that name in the root.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=BUILD_TIMEOUT_SECONDS, env=environment)
    if done.returncode != 0:
        raise RootError(f"{command[0]} failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
