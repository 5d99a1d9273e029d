"""install.sh --with air --without screen: a machine without a TV, its parts, rollback and removal.

The tests of a room build on each other in order, like an administrator's tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.channel import (
    AIR_UNITS,
    CONTROLLER_SOCKET,
    CREDENTIALS,
    INTENTIONS,
    STORAGE_SOCKET,
    ChannelRoom,
    worker,
)
from tests.machine.test_install import EVERYWHERE, KEPT, fingerprint, installed, other_version

MEMORY = "/var/lib/livekeep/install"
TOKEN = f"{CREDENTIALS}/livekeep.api-token"
CODE = "/usr/lib/python3/dist-packages/livekeep"
SLEEPER = worker("sleeper")
OWN = [f"/etc/systemd/system/{SLEEPER}.d", f"/etc/systemd/system/{SLEEPER}.d/90-test.conf"]
# Represents a channel on air: install.sh's actions don't depend on what it sends.
SLEEPING = "[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep infinity\nWatchdogSec=0\n"
# Files of a part that is left out, in any place; except the documents.
AIR = r".*/livekeep-\(air\|controller\|probe-youtube\|storage\|worker\).*\|.*/livekeep/air/.*"
SCREEN = r".*/livekeep-\(display\|player\|poller\|error-screen\|screen-picture\).*\|.*/livekeep/screen/.*\|.*/livekeep\.target"


@pytest.fixture(scope="module", params=root.SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[ChannelRoom]:
    """A machine before its first install; trixie without any of the packages, which apt installs."""
    with ChannelRoom(request.param, bare=request.param == "trixie", install=False) as room:
        yield room


def files_of(box: ChannelRoom, pattern: str) -> list[str]:
    """The files of a part in the system's folders."""
    places = ["/usr/lib/livekeep", "/usr/lib/systemd", "/usr/share/polkit-1", "/etc", "/var/cache", "/var/lib/livekeep", "/run"]
    there = [place for place in (*places, CODE) if box.machine.exists(place)]
    found = box.machine.run(["find", *there, "-regex", pattern, "!", "-path", "/run/credentials/*"]).stdout.splitlines()
    elsewhere = ("/run/systemd/", "/var/lib/livekeep/packages/", f"{CREDENTIALS}/")
    return [path for path in found if not path.startswith(elsewhere)]


def test_wrong_choices_are_refused(box: ChannelRoom) -> None:
    """Before any change."""
    before = fingerprint(box.machine)
    for options in (["--with"], ["--with", "radio"], ["--without", "--yes"], ["--rollback"]):
        done = box.machine.run(["/src/install.sh", "--yes", *options], check=False)
        assert done.returncode == 1, options
        assert "install.sh: " in done.stderr
    assert fingerprint(box.machine) == before


def test_one_command_makes_a_channel_s_machine(box: ChannelRoom) -> None:
    """The sockets listen, nothing runs, and nothing of the screen is installed."""
    told = box.install()
    assert ("Installing packages" in told) == (box.suite == "trixie")
    for unit in (STORAGE_SOCKET, CONTROLLER_SOCKET):
        assert [box.property(unit, name) for name in ("ActiveState", "UnitFileState")] == ["active", "enabled"], unit
    assert [box.property(unit, "UnitFileState") for unit in AIR_UNITS] == ["enabled"] * len(AIR_UNITS)
    assert box.machine.run("stat -c '%a %U:%G' /run/livekeep/storage.sock").stdout == "600 livekeep-worker:livekeep-worker\n"
    assert box.machine.run(["stat", "-c", "%a %U:%G", INTENTIONS]).stdout == "750 livekeep-controller:livekeep\n"
    assert files_of(box, SCREEN) == []
    assert box.machine.exists(f"{MEMORY}/without-screen")
    assert not box.machine.exists("/usr/bin/mpv")
    assert box.machine.failed_units() == ""


def test_the_api_s_token_is_made_and_kept_secret(box: ChannelRoom) -> None:
    token = box.machine.read(TOKEN).strip()
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", token)
    assert box.machine.run(["stat", "-c", "%a %U:%G", TOKEN]).stdout == "600 root:root\n"
    told = box.install()
    assert token not in told
    assert token not in box.machine.journal()
    assert box.machine.read(TOKEN).strip() == token


def test_keys_that_were_stored_before_are_bound_once_to_where_they_go(box: ChannelRoom) -> None:
    """An upgrade keeps the API's channels on air; afterwards only root binds a key."""
    bound = "/etc/credstore/livekeep.stream-ingest.old"
    box.machine.write(f"{INTENTIONS}/old.json", '{"media": "/srv/media", "ingest_urls": ["rtmp://ingest.example/live2"]}')
    box.store("livekeep.stream-key.old", "a-key")
    box.machine.run(f"rm -f {MEMORY}/keys-bound")
    box.machine.run("dpkg-reconfigure livekeep-air")
    assert box.machine.read(bound) == "ingest.example"
    box.machine.run(["rm", bound])
    box.machine.run("dpkg-reconfigure livekeep-air")
    assert not box.machine.exists(bound)
    box.machine.run(["rm", f"{INTENTIONS}/old.json", "/etc/credstore/livekeep.stream-key.old"])


def test_the_command_works_without_a_screen(box: ChannelRoom) -> None:
    """It reports nothing as missing that is not installed on purpose."""
    assert box.machine.run(["livekeep", "check-config"], check=False).returncode == 0
    done = box.machine.run(["livekeep", "health"], check=False)
    assert done.returncode == 0, done.stdout
    assert "PICTURE" not in box.livekeep("status", check=True)


def test_a_second_run_changes_nothing(box: ChannelRoom) -> None:
    before = fingerprint(box.machine)
    assert "Nothing to change: this version" in box.install("--yes")
    after = fingerprint(box.machine)
    changed = set(after.splitlines()) ^ set(before.splitlines())
    # Where the host probe writes when it is due, and reads again.
    own = ("/var/lib/livekeep ", "/var/lib/livekeep/probe-host ")
    assert sorted(line for line in changed if not line.startswith(own)) == []


def test_an_upgrade_and_back_leave_a_channel_on_air(box: ChannelRoom) -> None:
    """It says how to activate the new version."""
    box.machine.write(f"/etc/systemd/system/{SLEEPER}.d/90-test.conf", SLEEPING)
    box.machine.systemctl("daemon-reload")
    box.machine.systemctl("start", SLEEPER)
    before, version = box.main_pid(SLEEPER), installed(box.machine)
    newer = other_version(box.machine, "9.0.0")
    for command, expected in ((f"{newer}/install.sh --yes", "9.0.0"), ("/src/install.sh --yes --rollback", version)):
        done = box.machine.run(command, timeout=300)
        assert "sudo livekeep air restart sleeper\n" in done.stdout + done.stderr
        assert installed(box.machine) == expected
        assert box.main_pid(SLEEPER) == before != 0
        assert box.machine.failed_units() == ""
    assert re.search(rf"^From livekeep 9\.0\.0 back to {re.escape(version)}$", done.stdout, re.MULTILINE), done.stdout
    assert "Nothing to change: this version" in box.install("--yes")


def test_going_back_from_another_choice_of_parts(box: ChannelRoom) -> None:
    """A removed part is back and runs, and later runs keep that choice."""
    token = box.machine.read(TOKEN)
    box.install("--without", "health")
    assert not box.machine.exists(f"{CODE}/exporter")
    told = box.install("--rollback")
    assert box.property("livekeep-exporter.service", "ActiveState") == "active", told
    assert "Nothing to change: this version" in box.install("--yes")
    assert box.machine.read(TOKEN) == token


def test_an_interrupted_run_does_not_forget_the_version_before(box: ChannelRoom) -> None:
    """The next run completes the upgrade, and --rollback still leads to the version that ran last."""
    version, newer = installed(box.machine), other_version(box.machine, "9.0.1")
    script = box.machine.read(f"{newer}/packaging/livekeep-air/postinst")
    box.machine.write(f"{newer}/packaging/livekeep-air/postinst", "exit 1\n")
    assert box.machine.run([f"{newer}/install.sh", "--yes"], check=False, timeout=300).returncode == 1
    box.machine.write(f"{newer}/packaging/livekeep-air/postinst", script)
    box.machine.run([f"{newer}/install.sh", "--yes"], timeout=300)
    assert installed(box.machine) == "9.0.1"
    box.install("--rollback")
    assert installed(box.machine) == version
    assert box.machine.failed_units() == ""


def test_without_air_and_back(box: ChannelRoom) -> None:
    """Channels are stopped and no longer intended to be on air; their settings and keys stay."""
    machine = box.machine
    machine.write(f"{INTENTIONS}/sleeper.on-air", "")
    machine.write(f"{INTENTIONS}/other.json", "{}")
    told = box.install("--without", "air")
    assert "Removed the air part" in told
    assert files_of(box, AIR) == OWN
    assert machine.systemctl("list-units", "--all", "--no-legend", "--plain", *AIR_UNITS, "livekeep-worker*").stdout == ""
    assert machine.run("ps -eo args | grep '[s]leep infinity'", check=False).stdout == ""
    assert machine.run(["find", INTENTIONS, "-type", "f", "-printf", "%f\n"]).stdout == "other.json\n"
    assert machine.exists(TOKEN)
    assert machine.run(["livekeep", "health"], check=False).returncode == 0
    assert "Nothing to change: this version" in box.install("--yes")
    assert files_of(box, AIR) == OWN
    box.install("--with", "air")
    assert box.property(CONTROLLER_SOCKET, "ActiveState") == "active"
    assert box.property(SLEEPER, "ActiveState") == "inactive"
    assert box.machine.failed_units() == ""


def test_uninstalling_stops_the_channels_and_leaves_nothing(box: ChannelRoom) -> None:
    """No file, process or user."""
    machine = box.machine
    machine.systemctl("start", SLEEPER)
    machine.run(["/src/uninstall.sh", "--purge"], timeout=300)
    machine.run(["rm", "-r", f"/etc/systemd/system/{SLEEPER}.d"])
    found = machine.run(EVERYWHERE).stdout.split()
    assert [path for path in found if not path.startswith(KEPT)] == []
    assert machine.run("ps -eo user:32,args | grep -E '^livekeep|[s]leep infinity'", check=False).stdout == ""
    assert machine.run("getent passwd | grep livekeep", check=False).stdout == ""
    assert box.machine.failed_units() == ""
