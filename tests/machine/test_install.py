"""install.sh and uninstall.sh: from a bare machine to the picture, and back to a bare machine.

The tests of a room build on each other in their order, as an administrator's days do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.machine import Machine, wait_for
from tests.machine.screen import DISPLAY, DROP_IN, PLAYER, POLLER, UNITS, Screen
from tests.machine.standin import PROJECT
from tests.machine.vimeo import TOKEN

MEMORY = "/var/lib/livekeep/install"
PLACES = "/usr/local /etc /var/lib/livekeep"
USERS = ("livekeep-poller", "livekeep-player", "livekeep-display", "livekeep-error-screen")
NOWHERE = "http://192.0.2.1"
RIVAL = "[Desktop Entry]\nExec=true\n"
RIVALS = (
    "/home/pi/.config/autostart/streamreturn.desktop",
    "/home/pi/.config/autostart/xrandr.desktop",
    "/root/.config/autostart/streamreturn.desktop",
)
SLEEPER = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\n"
DISPLAY_MANAGER = f"{SLEEPER}Alias=display-manager.service\nWantedBy=multi-user.target\n"
OLD_UNIT = f"{SLEEPER}WantedBy=livekeep.target\n"
OLD_UNIT_FILE = "/usr/local/lib/systemd/system/livekeep-old.service"


@pytest.fixture(scope="module", params=root.SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A machine before its first install; trixie without any of the packages, which apt brings."""
    with Screen(request.param, bare=request.param == "trixie", install=False) as screen:
        for path in RIVALS:
            screen.machine.write(path, RIVAL)
        screen.machine.run("useradd --home-dir /home/pi pi")
        screen.machine.write("/etc/systemd/system/greeter.service", DISPLAY_MANAGER)
        screen.machine.run("systemctl daemon-reload && systemctl enable --now greeter.service")
        yield screen


def fingerprint(machine: Machine) -> str:
    """All files that an install may touch: name, mode, owner, time, inode."""
    return machine.run(f"find {PLACES} -printf '%p %m %u %g %T@ %i\\n' | sort").stdout


def modes(machine: Machine) -> set[str]:
    """The same without what differs from one install to the next: the API's and the units' own leftovers apart."""
    return set(machine.run(f"find {PLACES} -path '*livekeep*' -printf '%p %m %u:%g\n'").stdout.splitlines())


def processes(screen: Screen) -> list[str]:
    """Main process and restarts of each unit."""
    names = ("MainPID", "NRestarts", "ActiveEnterTimestamp")
    return [screen.machine.unit_property(unit, name) for unit in UNITS for name in names]


def test_wrong_options_are_refused(box: Screen) -> None:
    """Before anything is changed."""
    before = fingerprint(box.machine)
    for options in (["--nonsense"], ["--token-file", "/nowhere"], ["--output", "paper"], ["--event", "sunday"]):
        done = box.machine.run(["/src/install.sh", "--yes", *options], check=False)
        assert done.returncode == 1
        assert "install.sh: " in done.stderr
    done = box.machine.run(["/src/install.sh", "--yes"], user="nobody", check=False)
    assert "must run as root" in done.stderr
    assert fingerprint(box.machine) == before


def test_staging_touches_nothing_else(box: Screen) -> None:
    """With DESTDIR, as anybody; uninstall.sh takes it away again."""
    before = fingerprint(box.machine)
    environment = {"DESTDIR": "/tmp/stage"}
    box.machine.run("install -d -o nobody /tmp/stage")
    box.machine.run(["/src/install.sh"], env=environment, user="nobody")
    for path in ("etc/livekeep/livekeep.toml", "usr/local/bin/livekeep", "usr/local/lib/systemd/system/livekeep.target"):
        assert box.machine.exists(f"/tmp/stage/{path}")
    assert box.machine.run("find /tmp/stage/etc/systemd -name livekeep.target").stdout
    assert fingerprint(box.machine) == before
    box.machine.run(["/src/uninstall.sh", "--purge"], env=environment, user="nobody")
    assert box.machine.run("find /tmp/stage ! -type d").stdout == ""


def test_one_command_brings_the_picture(box: Screen) -> None:
    """From a bare machine, without a question."""
    told = box.install("--token-file", "/root/token")
    assert ("Installing packages" in told) == (box.suite == "trixie")
    assert "holding picture" in told
    assert TOKEN not in told
    box.shows("holding")
    assert box.machine.unit_property("livekeep.target", "UnitFileState") == "enabled"
    assert box.machine.systemctl("--failed", "--no-legend", "--plain").stdout == ""
    assert box.machine.run("stat -c '%a %U' /etc/credstore/livekeep.vimeo-token").stdout == "600 root\n"
    box.goes_live()
    box.vimeo.go_off()
    box.shows("holding")


def test_rivals_are_disabled(box: Screen) -> None:
    """The predecessor's autostart and the display manager."""
    for path in RIVALS:
        assert not box.machine.exists(path)
        assert box.machine.read(f"{path}.disabled-by-livekeep") == RIVAL
    assert box.machine.unit_property("greeter.service", "ActiveState") == "inactive"
    assert box.machine.run("systemctl is-enabled greeter.service", check=False).stdout != "enabled\n"


def test_a_second_run_changes_nothing(box: Screen) -> None:
    """No file, no process."""
    before = fingerprint(box.machine), processes(box)
    told = box.install()
    assert "Nothing to change" in told
    assert "Restarted" not in told
    after = fingerprint(box.machine), processes(box)
    assert sorted(set(after[0].splitlines()) ^ set(before[0].splitlines())) == []
    assert after[1] == before[1]


def test_an_upgrade(box: Screen) -> None:
    """What is no longer shipped is stopped and removed, what changed is restarted, what is the operator's stays."""
    machine = box.machine
    module = "/usr/local/lib/livekeep/lib/livekeep/screen/player/next_start_text.py"
    machine.run(f"echo '# older' >>{module}")
    machine.write(OLD_UNIT_FILE, OLD_UNIT)
    machine.run(f"echo {OLD_UNIT_FILE} >>{MEMORY}/files && LC_ALL=C sort -o {MEMORY}/files {MEMORY}/files")
    machine.run("systemctl daemon-reload && systemctl enable --now livekeep-old.service")
    machine.run("sed -i 's/^slideshow_seconds = .*/slideshow_seconds = 11/' /etc/livekeep/livekeep.toml")
    config, drop_in = machine.read("/etc/livekeep/livekeep.toml"), machine.read(DROP_IN)
    pids = {unit: box.main_pid(unit) for unit in UNITS}
    with box.watched():
        told = box.install()
        assert "livekeep-display" not in told.partition("Restarted: ")[2].splitlines()[0]
        box.is_renewed(PLAYER, pids[PLAYER])
        box.is_renewed(POLLER, pids[POLLER])
        box.shows("holding")
    assert f"Removed, no longer part of livekeep: {OLD_UNIT_FILE}" in told
    assert machine.unit_property("livekeep-old.service", "LoadState") == "not-found"
    assert machine.unit_property("livekeep-old.service", "ActiveState") == "inactive"
    assert "older" not in machine.read(module)
    assert (machine.read("/etc/livekeep/livekeep.toml"), machine.read(DROP_IN)) == (config, drop_in)
    assert box.main_pid(DISPLAY) == pids[DISPLAY]


def test_the_journal_is_kept_when_asked(box: Screen) -> None:
    """And stays so in later runs."""
    drop_in = "/etc/systemd/journald.conf.d/livekeep.conf"
    assert not box.machine.exists(drop_in)
    box.install("--keep-logs")
    assert "Storage=persistent" in box.machine.read(drop_in)
    box.install()
    assert box.machine.exists(drop_in)
    box.shows("holding")


def test_a_reboot_without_the_internet(box: Screen) -> None:
    """The holding picture by itself; then the error picture says what is wrong."""
    box.write_config({"vimeo": {"api_url": NOWHERE}})
    box.machine.reboot()
    box.shows("holding", within=60)
    box.shows("error", within=90)
    box.says("cannot be reached")
    box.configure()
    box.shows("holding")


def test_uninstalling_leaves_config_and_gives_back_the_rest(box: Screen) -> None:
    """No file, no unit, no process of livekeep; autostart and display manager as they were."""
    machine = box.machine
    files = machine.read(f"{MEMORY}/files").split("\n")[:-1]
    machine.run(["/src/uninstall.sh"], timeout=120)
    assert [path for path in files if machine.exists(path)] == []
    assert machine.run("find /usr/local /etc/systemd /run -name '*livekeep*' ! -path '/run/credentials*'").stdout == ""
    assert machine.systemctl("list-units", "--all", "--no-legend", "--plain", "livekeep*").stdout == ""
    assert machine.run("ps -eo user:32,args | grep '^livekeep'", check=False).stdout == ""
    assert [machine.read(path) for path in RIVALS] == [RIVAL] * len(RIVALS)
    wait_for(lambda: machine.unit_property("greeter.service", "ActiveState") == "active", 30)
    assert machine.exists(DROP_IN)
    assert machine.exists("/etc/livekeep/livekeep.toml")
    assert machine.exists("/etc/credstore/livekeep.vimeo-token")


def test_installing_again_takes_up_config_and_token(box: Screen) -> None:
    """The picture is there at once."""
    box.install()
    assert "slideshow_seconds = 11" in box.machine.read("/etc/livekeep/livekeep.toml")
    box.goes_live()
    box.vimeo.go_off()
    box.shows("holding")


def test_without_a_token(box: Screen) -> None:
    """It is installed all the same, and the TV says what is missing."""
    box.machine.run("bash /usr/local/share/livekeep/uninstall.sh && rm /etc/credstore/livekeep.vimeo-token", timeout=120)
    box.machine.run(["/src/install.sh", "--yes"], timeout=300)
    box.shows("holding")
    box.says("token is missing")
    box.says("livekeep set-token")


def test_the_umask_does_not_matter(box: Screen) -> None:
    """Nobody but root may write where root reads, and all users may read what is theirs to read."""
    listings = {}
    for umask in ("022", "000", "027", "077"):
        for command in ("/src/uninstall.sh --purge", "/src/install.sh --yes --no-start"):
            box.machine.run(f"cd /root && umask {umask} && {command}", timeout=300)
        listings[umask] = modes(box.machine)
    assert [line for line in listings["022"] if re.search(r" [0-7]*[2367] ", line) and " 777 " not in line] == []
    for umask in ("000", "027", "077"):
        assert sorted(listings[umask] ^ listings["022"]) == [], umask
    box.write_config()
    box.machine.systemctl("start", "livekeep.target")
    box.shows("holding")


def test_purging_leaves_nothing(box: Screen) -> None:
    """Config, token, users, and with --packages what install.sh had brought."""
    machine = box.machine
    had = machine.run("dpkg-query -Wf '${db:Status-Status} ${Package}\n' | grep -c ^installed").stdout
    machine.run(["/src/uninstall.sh", "--purge", "--packages"], timeout=300)
    found = machine.run("find / -xdev -iname '*livekeep*' ! -path '/src*' ! -path '/proc/*' ! -path '/tmp/*' 2>&1").stdout.split()
    assert [path for path in found if not path.startswith(("/var/log/journal", "/root"))] == []
    for user in USERS:
        assert machine.run(["id", user], check=False).returncode != 0
    assert machine.run("getent group livekeep", check=False).returncode != 0
    has = machine.run("dpkg-query -Wf '${db:Status-Status} ${Package}\n' | grep -c ^installed").stdout
    assert (int(has) < int(had) - 50) == (box.suite == "trixie")
    assert machine.exists("/usr/bin/mpv") == (box.suite == "bookworm")
    assert machine.systemctl("--failed", "--no-legend", "--plain").stdout == ""


def test_without_a_network_apt_says_so() -> None:
    """One sentence that says what to try, and nothing half installed."""
    with Machine("trixie", source=PROJECT) as machine:
        done = machine.run(["/src/install.sh", "--yes"], check=False, timeout=300)
        assert done.returncode == 1
        assert "is the network up?" in done.stderr
        assert machine.run("find /usr/local /etc -name '*livekeep*'").stdout == ""
