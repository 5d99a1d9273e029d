"""install.sh --with record --without screen: the record alone, its upgrade, rollback and removal.

The tests of a machine build on each other in order, like an administrator's tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.machine import Machine, wait_for
from tests.machine.record_room import ALERTER, ENABLED, RECORDER, WEB, WEB_SOCKET
from tests.machine.standin import PROJECT
from tests.machine.test_install import EVERYWHERE, KEPT, fingerprint, installed, other_version

OPTIONS = ("--with", "record", "--without", "screen", "--without", "health")
RECORD = "/var/lib/livekeep/record"
CODE = "/usr/lib/python3/dist-packages/livekeep"
PROGRAMS = r".*/livekeep-\(recorder\|alerter\|alert\|web\|report\|record\|tidy\|clips\).*"
PART = rf"{PROGRAMS}\|.*/livekeep/record/.*"
IMPORT = "import livekeep.record as record; print(record.__file__, callable(record.monitor_execution))"


@pytest.fixture(scope="module", params=root.SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine before its first install; trixie without any of the packages, which apt installs."""
    suite: root.Suite = request.param
    is_bare = suite == "trixie"
    # Those of the room with screen and record, whose root already exists.
    packages = () if is_bare else root.packages_of(suite, "screen", "health", "record")
    with Machine(suite, packages=packages, network="host" if is_bare else "own", source=PROJECT) as machine:
        yield machine


def install(box: Machine, *options: str, program: str = "install.sh") -> str:
    done = box.run(["env", "--chdir=/root", f"/src/{program}", *options], timeout=600)
    return done.stdout + done.stderr


def files_of(box: Machine) -> list[str]:
    """The files of the part in the system's folders, except the documents."""
    places = ["/usr/lib/livekeep", "/usr/lib/systemd", CODE, "/etc", "/run/livekeep"]
    there = [place for place in places if box.exists(place)]
    return box.run(["find", *there, "-regex", PART, "!", "-path", "*/credstore/*", "!", "-type", "d"]).stdout.splitlines()


def pids(box: Machine) -> list[str]:
    return [box.unit_property(unit, "MainPID") for unit in (RECORDER, ALERTER)]


def active(box: Machine) -> list[str]:
    return box.systemctl("is-active", *ENABLED, check=False).stdout.split()


def test_one_command_begins_the_record(box: Machine) -> None:
    reported = install(box, "--yes", *OPTIONS)
    assert ("Installing packages" in reported) == (box.suite == "trixie")
    assert [box.unit_property(unit, "UnitFileState") for unit in ENABLED] == ["enabled"] * len(ENABLED)
    wait_for(lambda: active(box) == ["active"] * len(ENABLED), 30)
    wait_for(lambda: box.exists(f"{RECORD}/record.db"), 30)
    assert box.run(["stat", "-c", "%a %U:%G", RECORD]).stdout == "750 livekeep-recorder:livekeep\n"
    assert box.failed_units() == ""
    assert not box.exists("/usr/bin/mpv") or box.suite == "bookworm"
    # The analyzer has no sources.
    assert box.unit_property("livekeep-clips.timer", "UnitFileState") == "disabled"


def test_debian_s_python_finds_the_library_for_jobs(box: Machine) -> None:
    """From any folder, as any user, and in isolated mode, too."""
    for command in (["python3", "-c", IMPORT], ["/usr/bin/python3", "-I", "-c", IMPORT]):
        reported = box.run(["env", "--chdir=/tmp", *command], user="nobody").stdout
        assert reported == "/usr/lib/python3/dist-packages/livekeep/record/__init__.py True\n"


def test_the_command_works_with_the_record_alone(box: Machine) -> None:
    assert box.run(["livekeep", "health"]).stdout.startswith("ok: ")
    status = box.run(["livekeep", "status"]).stdout
    assert "\nRecord " in f"\n{status}"
    assert "livekeep-poller" not in status
    checks = box.run(["livekeep", "doctor"], check=False).stdout.splitlines()
    assert [line.split()[0] for line in checks if line.split()[1:2] in (["record"], ["web"])] == ["ok", "ok"], checks


def test_a_second_run_changes_nothing(box: Machine) -> None:
    before, running = fingerprint(box), pids(box)
    assert "Nothing to change: this version" in install(box, "--yes")
    own = (RECORD, "/var/lib/livekeep/alerter", "/var/lib/livekeep ")
    changed = set(fingerprint(box).splitlines()) ^ set(before.splitlines())
    assert sorted(line for line in changed if not line.startswith(own)) == []
    assert pids(box) == running


def test_an_upgrade_and_back_restart_the_services(box: Machine) -> None:
    """And the socket stays open."""
    socket, version = box.unit_property(WEB_SOCKET, "ActiveEnterTimestampMonotonic"), installed(box)
    newer = other_version(box, "9.0.0")
    for command, expected in ((f"{newer}/install.sh --yes", "9.0.0"), ("/src/install.sh --yes --rollback", version)):
        before = pids(box)
        box.run(command, timeout=300)
        assert installed(box) == expected
        wait_for(lambda before=before: not set(pids(box)) & {*before, "0"}, 30)  # type: ignore[misc]
        wait_for(lambda: active(box) == ["active"] * len(ENABLED), 30)
        assert box.unit_property(WEB_SOCKET, "ActiveEnterTimestampMonotonic") == socket


def test_the_pages_move_where_the_configuration_says(box: Machine) -> None:
    """Also while somebody reads them."""
    fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).status)"
    assert box.run(["python3", "-c", fetch, "http://127.0.0.1:9879/"]).stdout == "200\n"
    assert box.unit_property(WEB, "ActiveState") == "active"
    box.write("/etc/livekeep/livekeep.d/50-web.toml", "[web]\nport = 9899\n")
    assert "livekeep-web.socket: restarted" in box.run(["livekeep", "apply"]).stdout
    assert box.run(["python3", "-c", fetch, "http://127.0.0.1:9899/"]).stdout == "200\n"
    box.run(["rm", "/etc/livekeep/livekeep.d/50-web.toml"])
    box.run(["livekeep", "apply"])
    assert box.run(["python3", "-c", fetch, "http://127.0.0.1:9879/"]).stdout == "200\n"


def test_a_report_that_is_switched_off_has_no_timer(box: Machine) -> None:
    box.write("/etc/livekeep/livekeep.d/50-reports.toml", '[reports]\nweekly = false\n[clips.ours]\nfile = "/srv/clips.json"\n')
    box.run(["livekeep", "apply"])
    expected = {"report@daily": "active", "report@weekly": "inactive", "clips": "active"}
    assert {name: box.unit_property(f"livekeep-{name}.timer", "ActiveState") for name in expected} == expected
    box.run(["rm", "/etc/livekeep/livekeep.d/50-reports.toml"])
    box.run(["livekeep", "apply"])


def test_without_record_and_back(box: Machine) -> None:
    """The record itself stays."""
    reported = install(box, "--yes", "--without", "record")
    assert "Removed the record part" in reported
    assert files_of(box) == []
    assert box.exists(f"{RECORD}/record.db")
    assert box.run("ps -eo user:32 | grep '^livekeep'", check=False).stdout == ""
    assert box.run(["python3", "-c", IMPORT], check=False).returncode != 0
    assert box.run(["livekeep", "record", "sessions"], check=False).stderr == (
        "the record part is not installed: run install.sh --with record\n"
    )
    install(box, "--yes", "--with", "record")
    wait_for(lambda: active(box) == ["active"] * len(ENABLED), 30)
    assert box.failed_units() == ""


def test_a_person_is_asked_once(box: Machine) -> None:
    """On a terminal; after a "no" there is no second question."""
    install(box, "--yes", "--without", "record")
    asked = 'printf "n\\n" | script -qec "/src/install.sh" /dev/null'
    assert "A web page and mails about this box" in box.run(asked, timeout=300).stdout
    assert "A web page and mails about this box" not in box.run(asked, timeout=300).stdout
    assert files_of(box) == []


def test_uninstalling_leaves_nothing(box: Machine) -> None:
    install(box, "--yes", "--with", "record")
    box.run(["/src/uninstall.sh", "--purge"], timeout=300)
    result = box.run(EVERYWHERE).stdout.split()
    assert [path for path in result if not path.startswith(KEPT)] == []
    assert box.run("ps -eo user:32,args | grep '^livekeep'", check=False).stdout == ""
    assert box.run("getent passwd | grep livekeep", check=False).stdout == ""
    assert box.failed_units() == ""
