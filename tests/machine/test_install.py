"""install.sh and uninstall.sh: from a bare machine to the picture, and back to a bare machine.

The tests of a room build on each other in order, like an administrator's tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.machine import Machine, wait_for
from tests.machine.room import DROP_IN
from tests.machine.screen import DISPLAY, PLAYER, POLLER, UNITS, Screen
from tests.machine.standin import PROJECT
from tests.machine.vimeo import TOKEN

PLACES = (
    "/usr/bin/livekeep /usr/lib/livekeep /usr/lib/python3/dist-packages/livekeep /usr/lib/systemd /usr/lib/sysusers.d "
    "/usr/lib/tmpfiles.d /usr/share/livekeep /usr/share/polkit-1 /etc /var/lib/livekeep /var/lib/dpkg/status"
)
EVERYWHERE = "find / -xdev -iname '*livekeep*' ! -path '/src*' ! -path '/proc/*' ! -path '/tmp/*' 2>&1"
# The last is the root's own, if the tests' cache is on the host.
KEPT = ("/var/log/journal", "/root", "/var/cache/livekeep-tests")
USERS = ("livekeep-poller", "livekeep-player", "livekeep-display", "livekeep-error-screen")
NOWHERE = "http://192.0.2.1"
RIVAL = "[Desktop Entry]\nExec=true\n"
RIVALS = (
    "/home/pi/.config/autostart/streamreturn.desktop",
    "/home/pi/.config/autostart/xrandr.desktop",
    "/root/.config/autostart/streamreturn.desktop",
)
DISPLAY_MANAGER = (
    "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nAlias=display-manager.service\nWantedBy=multi-user.target\n"
)
GONE_UNIT = "livekeep-gone.service"
# Files of an install.sh from before the packages.
OLD_UNITS, OLD_MEMORY = "/usr/local/lib/systemd/system", "/var/lib/livekeep/install"
OLD_FILES = (
    f"{OLD_UNITS}/livekeep.target",
    f"{OLD_UNITS}/livekeep-player.service",
    "/usr/local/lib/livekeep/bin/livekeep-player",
)


@pytest.fixture(scope="module", params=root.SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A machine before its first install; trixie without any of the packages, which apt installs."""
    with Screen(request.param, bare=request.param == "trixie", install=False) as screen:
        for path in RIVALS:
            screen.machine.write(path, RIVAL)
        screen.machine.run("useradd --home-dir /home/pi pi")
        screen.machine.write("/etc/systemd/system/greeter.service", DISPLAY_MANAGER)
        screen.machine.run("systemctl daemon-reload && systemctl enable --now greeter.service")
        yield screen


def fingerprint(machine: Machine) -> str:
    """All files that an install may change: name, mode, owner, time, inode."""
    return machine.run(f"find {PLACES} -printf '%p %m %u %g %T@ %i\\n' | sort").stdout


def processes(screen: Screen) -> list[str]:
    """Main process and number of restarts of each unit."""
    names = ("MainPID", "NRestarts", "ActiveEnterTimestamp")
    return [screen.machine.unit_property(unit, name) for unit in UNITS for name in names]


def test_wrong_options_are_refused(box: Screen) -> None:
    """Before any change."""
    before = fingerprint(box.machine)
    for options in (["--nonsense"], ["--token-file", "/nowhere"], ["--output", "paper"], ["--event", "sunday"]):
        done = box.machine.run(["/src/install.sh", "--yes", *options], check=False)
        assert done.returncode == 1
        assert "install.sh: " in done.stderr
    done = box.machine.run(["/src/install.sh", "--yes"], user="nobody", check=False)
    assert "must run as root" in done.stderr
    assert fingerprint(box.machine) == before


def test_one_command_brings_the_picture(box: Screen) -> None:
    """On a bare machine, without a question."""
    told = box.install("--token-file", "/root/token")
    assert ("Installing packages" in told) == (box.suite == "trixie")
    # On a busy machine the picture may come later than setup waits for it.
    assert "holding picture" in told or "No picture after 15 s" in told
    assert TOKEN not in told
    box.shows("holding")
    assert box.machine.unit_property("livekeep.target", "UnitFileState") == "enabled"
    assert box.machine.failed_units() == ""
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
    assert "Nothing to change: this version" in told
    assert "Restarted" not in told
    after = fingerprint(box.machine), processes(box)
    changed = set(after[0].splitlines()) ^ set(before[0].splitlines())
    # Where the host probe writes when it is due.
    own = ("/var/lib/livekeep ", "/var/lib/livekeep/probe-host ")
    assert sorted(line for line in changed if not line.startswith(own)) == []
    assert after[1] == before[1]


def other_version(machine: Machine, version: str) -> str:
    """A folder with another version: one module differs, and there is one more unit; its install.sh is run."""
    folder = f"/root/livekeep-{version}"
    machine.run(f"rm -rf {folder}; mkdir {folder} && tar -C /src --exclude=.git --exclude=tests -c . | tar -C {folder} -x")
    machine.run(f"sed -i 's/^__version__ = .*/__version__ = \"{version}\"/' {folder}/lib/livekeep/__init__.py")
    machine.run(f"echo '# of {version}' >>{folder}/lib/livekeep/screen/player/main.py")
    unit = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=livekeep.target\n"
    machine.write(f"{folder}/units/{GONE_UNIT}", unit)
    machine.run(f"echo 'units/{GONE_UNIT} usr/lib/systemd/system/' >>{folder}/packaging/livekeep-screen/files")
    return folder


def installed(machine: Machine) -> str:
    """The version of all packages, which is the same for all."""
    query = "dpkg-query -Wf '${db:Status-Status} ${Version}\n' 'livekeep*' | sed -n 's/^installed //p' | sort -u"
    words = machine.run(query).stdout.split()
    assert len(words) == 1, words
    return words[0]


def test_an_upgrade_and_back(box: Screen) -> None:
    """Poller and player restart, the display does not, the operator's files stay; a removed unit is stopped."""
    machine = box.machine
    before = installed(machine)
    machine.run("sed -i 's/^slideshow_seconds = .*/slideshow_seconds = 11/' /etc/livekeep/livekeep.toml")
    config, drop_in = machine.read("/etc/livekeep/livekeep.toml"), machine.read(DROP_IN)
    newer = other_version(machine, "9.0.0")
    box.goes_live()
    for command, version in ((f"{newer}/install.sh --yes", "9.0.0"), ("/src/install.sh --yes --rollback", before)):
        pids = {unit: box.main_pid(unit) for unit in UNITS}
        with box.watched() as sampler:
            told = machine.run(command, timeout=300)
            box.is_renewed(PLAYER, pids[PLAYER])
            box.is_renewed(POLLER, pids[POLLER])
            box.moves()
        assert {sample.label for sample in sampler.samples} == {"stream"}, box.spans(sampler)
        assert box.main_pid(DISPLAY) == pids[DISPLAY]
        assert "Restarted: livekeep-poller livekeep-player\n" in told.stdout + told.stderr
        assert installed(machine) == version
        assert (machine.read("/etc/livekeep/livekeep.toml"), machine.read(DROP_IN)) == (config, drop_in)
        if version == "9.0.0":
            machine.systemctl("enable", "--now", GONE_UNIT)
    assert f"From livekeep 9.0.0 back to {before}" in told.stdout
    assert machine.unit_property(GONE_UNIT, "ActiveState") == "inactive"
    assert machine.run(f"find /etc/systemd -name {GONE_UNIT}").stdout == ""
    box.vimeo.go_off()
    box.shows("holding")


def test_a_changed_file_is_repaired(box: Screen) -> None:
    module = "/usr/lib/python3/dist-packages/livekeep/screen/player/main.py"
    original = box.machine.read(module)
    box.machine.run(f"echo broken >>{module}")
    assert "Nothing to change: this version" not in box.install()
    assert box.machine.read(module) == original
    box.shows("holding")


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
    """The holding picture appears by itself; then the error picture gives the cause."""
    box.write_config({"vimeo": {"api_url": NOWHERE}})
    box.machine.reboot()
    box.shows("holding", within=60)
    box.shows("error", within=90)
    box.says("cannot be reached")
    box.configure()
    box.shows("holding")


def test_uninstalling_leaves_config_and_gives_back_the_rest(box: Screen) -> None:
    """No file, unit or process of livekeep; autostart and display manager as before."""
    machine = box.machine
    files = machine.run("dpkg -L livekeep livekeep-screen livekeep-health | grep livekeep | sort -u").stdout.split()
    machine.run(["/src/uninstall.sh"], timeout=120)
    assert [path for path in files if machine.exists(path) and path != "/etc/livekeep"] == []
    found = machine.run("find /usr /etc/systemd /run -name '*livekeep*' ! -path '/run/credentials*' ! -path '/src*'").stdout
    assert found == ""
    assert machine.systemctl("list-units", "--all", "--no-legend", "--plain", "livekeep*").stdout == ""
    assert machine.run("ps -eo user:32,args | grep '^livekeep'", check=False).stdout == ""
    assert [machine.read(path) for path in RIVALS] == [RIVAL] * len(RIVALS)
    wait_for(lambda: machine.unit_property("greeter.service", "ActiveState") == "active", 30)
    assert machine.exists(DROP_IN)
    assert machine.exists("/etc/livekeep/livekeep.toml")
    assert machine.exists("/etc/credstore/livekeep.vimeo-token")


def test_installing_again_takes_up_config_and_token(box: Screen) -> None:
    """The picture appears at once."""
    box.install()
    assert "slideshow_seconds = 11" in box.machine.read("/etc/livekeep/livekeep.toml")
    box.goes_live()
    box.vimeo.go_off()
    box.shows("holding")


def test_without_a_token(box: Screen) -> None:
    """It is installed anyway, and the TV says what is missing."""
    box.machine.run("/src/uninstall.sh && rm /etc/credstore/livekeep.vimeo-token", timeout=120)
    box.machine.run(["/src/install.sh", "--yes"], timeout=300)
    box.shows("holding")
    box.says("token is missing")
    box.says("livekeep set-token")


def test_an_install_from_before_the_packages_is_replaced(box: Screen) -> None:
    """Its files and links go; its parts, configuration and installed packages are taken over."""
    machine = box.machine
    machine.run(["/src/uninstall.sh", "--purge"], timeout=120)
    box.write_config()
    for path in OLD_FILES:
        machine.write(path, "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
    machine.systemctl("enable", "livekeep.target", check=False)
    machine.run("cp /src/etc/livekeep.toml /etc/livekeep/livekeep.toml")
    machine.run("sed -i 's,/usr/share/livekeep/,/usr/local/share/livekeep/,' /etc/livekeep/livekeep.toml")
    machine.run("sed -i 's/^slideshow_seconds = .*/slideshow_seconds = 11/' /etc/livekeep/livekeep.toml")
    machine.write(f"{OLD_MEMORY}/files", "".join(f"{path}\n" for path in OLD_FILES))
    machine.write(f"{OLD_MEMORY}/without-health", "")
    machine.write(f"{OLD_MEMORY}/packages", "alsa-utils\n")
    machine.write("/root/token", f"{TOKEN}\n", 0o600)
    box.install("--token-file", "/root/token")
    box.shows("holding")
    assert [path for path in OLD_FILES if machine.exists(path)] == []
    assert not machine.exists("/usr/lib/livekeep/livekeep-exporter")
    config = machine.read("/etc/livekeep/livekeep.toml")
    assert "slideshow_seconds = 11" in config
    assert "/usr/local" not in config
    assert machine.unit_property("livekeep.target", "UnitFileState") == "enabled"
    assert machine.run("apt-mark showauto alsa-utils").stdout == "alsa-utils\n"
    assert "Nothing to change: this version" in box.install()
    box.install("--with", "health")


def test_nobody_but_root_may_write_what_root_reads(box: Screen) -> None:
    """Whatever the umask is."""
    for umask in ("000", "077"):
        for command in ("/src/uninstall.sh --purge", "/src/install.sh --yes --no-start"):
            box.machine.run(f"cd /root && umask {umask} && {command}", timeout=300)
        places = "/usr/lib/livekeep /usr/lib/python3/dist-packages/livekeep /usr/share/livekeep /etc/livekeep /var/lib/livekeep"
        assert box.machine.run(f"find {places} ! -type l -perm /022 ! -path '*/spool'").stdout == ""
        assert box.machine.run(
            "stat -c '%a %U:%G' /etc/livekeep /etc/livekeep/livekeep.toml /etc/livekeep/livekeep.d"
        ).stdout == ("755 root:root\n640 root:livekeep\n750 root:livekeep\n")
        assert box.machine.run(["livekeep", "check-config"], user="nobody", check=False).returncode != 0
        box.machine.run("su -s /bin/sh -c 'python3 -c \"import livekeep.core\"' nobody")
    box.write_config()
    box.machine.systemctl("start", "livekeep.target")
    box.shows("holding")


def test_purging_leaves_nothing(box: Screen) -> None:
    """Config, token, users, and with --packages what install.sh installed."""
    machine = box.machine
    had = machine.run("dpkg-query -Wf '${db:Status-Status} ${Package}\n' | grep -c ^installed").stdout
    machine.run(["/src/uninstall.sh", "--purge", "--packages"], timeout=300)
    found = machine.run(EVERYWHERE).stdout.split()
    assert [path for path in found if not path.startswith(KEPT)] == []
    for user in USERS:
        assert machine.run(["id", user], check=False).returncode != 0
    assert machine.run("getent group livekeep", check=False).returncode != 0
    has = machine.run("dpkg-query -Wf '${db:Status-Status} ${Package}\n' | grep -c ^installed").stdout
    assert (int(has) < int(had) - 50) == (box.suite == "trixie")
    assert machine.exists("/usr/bin/mpv") == (box.suite == "bookworm")
    assert machine.failed_units() == ""


def test_without_a_network_apt_says_so() -> None:
    """One sentence that says what to try, and no partial installation."""
    with Machine("trixie", source=PROJECT) as machine:
        done = machine.run(["/src/install.sh", "--yes"], check=False, timeout=300)
        assert done.returncode == 1
        assert "is the network up?" in done.stderr
        assert machine.run("find /usr /etc /var -name '*livekeep*' ! -path '/src*'").stdout == ""
