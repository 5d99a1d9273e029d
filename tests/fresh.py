"""Runs the unit tests where nothing is installed: python3 -m tests.fresh SUITE[,SUITE] [PYTEST-ARGUMENT...]

For each release mmdebstrap makes a minimal Debian, in which tests/run --unit installs what it needs. Nothing of this machine
is seen there but the network and how it is reached (resolver, apt's and pip's and npm's settings, authorities), so that a missing
install step cannot hide. The checkout is a clone: what is not committed is not tried. Needs root and mmdebstrap.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

from tests.machine import root

PROJECT = Path(__file__).parents[1]
SOURCE = "usr/src/livekeep"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
SETTINGS = (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".npmrc")
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "PIP_CERT")
# Process ids, mounts and devices of its own; the network is this machine's.
# No mere chroot: in one nobody may make a namespace of users.
ENTER = """
mount --bind "$1" "$1"; cd "$1"; shift
mount -t proc proc proc; mount --rbind /sys sys; mount -t tmpfs run run; mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir -m 1777 dev/shm; mkdir dev/pts; mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; for number in 0 1 2; do ln -s fd/$number dev/$(echo stdin stdout stderr |
    cut -d ' ' -f $((number + 1))); done
pivot_root . mnt
exec chroot . /bin/sh -euc 'umount -l /mnt; exec "$@"' sh "$@"
"""
RUN = f"""
if command -v update-ca-certificates >/dev/null; then update-ca-certificates >/dev/null; fi
exec /{SOURCE}/tests/run --unit "$@"
"""


def build(suite: root.Suite, target: Path) -> None:
    """A Debian with the packages that each one has, and the checkout."""
    authorities = sorted(AUTHORITIES.glob("*.crt"))
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
    command += [f"--aptopt={option}" for option in root.apt_options().splitlines()]
    # Whoever trusts more than Debian does needs it for apt, pip and npm.
    command += ["--include=ca-certificates"] if authorities else []
    subprocess.run([*command, suite, str(target), *root.sources(suite)], check=True)
    (target / "etc/apt/apt.conf.d/99host").write_text(root.apt_options(), encoding="utf-8")
    (target / "etc/resolv.conf").unlink(missing_ok=True)
    (target / "etc/hosts").write_text("127.0.0.1 localhost fresh\n::1 localhost\n", encoding="utf-8")
    (target / "etc/hostname").write_text("fresh\n", encoding="utf-8")
    for path in (Path("/etc/resolv.conf"), *SETTINGS, *authorities):
        if path.exists():
            (target / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.relative_to("/"))
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(PROJECT), str(target / SOURCE)], check=True)


def test(target: Path, arguments: list[str]) -> int:
    """The exit code of tests/run --unit in it."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"CI": "true", "HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    spaces = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private"]
    inside = ["/bin/sh", "-euc", RUN, "sh", *arguments]
    return subprocess.run([*spaces, "sh", "-euc", ENTER, "sh", str(target), *inside], env=environment, check=False).returncode


def main() -> int:
    suites = sys.argv[1].split(",")
    wrong = [suite for suite in suites if suite not in get_args(root.Suite)]
    if wrong:
        sys.exit(f"{wrong[0]}: must be one of {', '.join(get_args(root.Suite))}")
    failed = 0
    for suite in suites:
        print(f"\n== {suite}, fresh", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="fresh-", dir=root.cache()))
        try:
            build(suite, folder / "root")  # type: ignore[arg-type] # one of them, see above
            failed |= test(folder / "root", sys.argv[2:])
        finally:
            # Its mounts went with its processes.
            shutil.rmtree(folder)
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
