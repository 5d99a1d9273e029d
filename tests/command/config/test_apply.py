"""livekeep apply: the display's drop-in for each output, and a restart only when it changed. Then tab completion."""

import getpass
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.command import file
from livekeep.command.config import desktop, wanted_units
from livekeep.command.main import SUBCOMMANDS
from livekeep.core import state
from livekeep.core.config import Config, Schedule, Screen
from livekeep.core.config.record import Analyzer, Clips, Reports, Web
from livekeep.core.probe_results import PROBES
from livekeep.core.state import TvState
from tests.command.box import CONFIG, REPOSITORY, Box

CONSOLE = "[Service]\nTTYPath=/dev/tty1\n"
DROP_IN = "etc/systemd/system/livekeep-display.service.d/60-screen.conf"


@pytest.mark.parametrize(
    ("screen", "expected"),
    [
        ({}, "drm"),
        ({"wayland_display": "wayland-1"}, "wayland"),
        ({"x11_display": ":0"}, "x11"),
        ({"x11_display": ":0", "wayland_display": "wayland-0"}, "wayland"),
        ({"output": "drm", "x11_display": ":0"}, "drm"),
        ({"output": "wayland"}, "wayland"),
        ({"output": "x11", "wayland_display": "wayland-0"}, "x11"),
    ],
)
def test_the_output_that_is_meant(screen: dict[str, str], expected: str) -> None:
    assert replace(Screen(), **screen).resolved_output() == expected  # type: ignore[arg-type]


def test_wayland() -> None:
    text = desktop.drop_in(Screen(output="wayland", desktop_user="anna", wayland_display="wayland-1"), 1000, CONSOLE)
    assert "User=anna\n" in text
    assert "BindPaths=/run/user/1000/wayland-1 -/run/user/1000/pipewire-0 " in text
    assert "Environment=XDG_RUNTIME_DIR=/run/user/1000\n" in text
    assert "tty1" not in text
    text = desktop.tv_drop_in(Screen(output="wayland", desktop_user="anna", wayland_display="wayland-1"), 1000)
    assert "User=" not in text, "it stays root, for the timer of the next change"
    assert "BindPaths=-/run/user/1000/wayland-1\nEnvironment=XDG_RUNTIME_DIR=/run/user/1000\n" in text
    assert desktop.tv_drop_in(Screen(), None) == ""


def test_x11() -> None:
    text = desktop.drop_in(Screen(output="x11", x11_authority="/home/anna/100%/.Xauthority"), None, CONSOLE)
    assert "LoadCredential=xauthority:/home/anna/100%%/.Xauthority\n" in text
    assert "[Service]" not in desktop.drop_in(Screen(output="x11"), None, CONSOLE)


def test_the_console() -> None:
    assert desktop.drop_in(Screen(), None, CONSOLE).endswith("\n\n" + CONSOLE)


def test_a_key_that_is_read_at_the_start_changes_the_text() -> None:
    standard = desktop.drop_in(Screen(), None, CONSOLE)
    others = {
        desktop.drop_in(replace(Screen(), **change), None, CONSOLE)
        for change in ({"volume": 50}, {"mode": "1280x720"}, {"hwdec": "no"})
    }  # type: ignore[arg-type]
    assert len(others | {standard}) == 4
    assert desktop.drop_in(Screen(stall_seconds=20), None, CONSOLE) == standard
    injected = desktop.drop_in(Screen(audio_device="x\n[Service]\nUser=root"), None, "")
    assert all(line.startswith("#") for line in injected.splitlines())


def test_writes_once_and_restarts_once(box: Box) -> None:
    box.configure(CONFIG)
    box.file("usr/share/livekeep/systemd/console.conf", CONSOLE)
    box.start_units()
    done = box.run("apply")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{box.root}/{DROP_IN}: written\nlivekeep-display.service: restarted\n"
    assert (box.root / DROP_IN).read_text().endswith(CONSOLE)
    assert (box.root / DROP_IN).stat().st_mode & 0o777 == 0o644
    told = [
        "daemon-reload",
        "reload livekeep-player.service",
        "reset-failed livekeep-display.service",
        "restart --no-block livekeep-display.service",
    ]
    assert box.told() == told
    assert box.run("apply").stdout == "Nothing to change\n"
    assert box.told() == told
    box.configure(CONFIG + "[screen]\nvolume = 50\n")
    assert box.run("apply").stdout.startswith(f"{box.root}/{DROP_IN}: changed\n")
    assert box.told() == told * 2


def test_a_running_box_without_a_console_gets_none(box: Box) -> None:
    box.configure(CONFIG)
    box.file("usr/share/livekeep/systemd/console.conf", CONSOLE)
    box.file("run/systemd/system/.keep", "")
    assert box.run("apply").returncode == 0
    assert "tty1" not in (box.root / DROP_IN).read_text()
    box.file("dev/tty1", "")
    assert box.run("apply").returncode == 0
    assert (box.root / DROP_IN).read_text().endswith(CONSOLE)


@pytest.mark.parametrize("arguments", [("--no-restart",), ()])
def test_no_restart_when_asked_or_when_nothing_runs(box: Box, arguments: tuple[str, ...]) -> None:
    box.configure(CONFIG)
    if arguments:
        box.start_units()
    assert box.run("apply", *arguments).returncode == 0
    assert box.told() == ["daemon-reload"]


def test_the_desktops_user_must_exist(box: Box) -> None:
    box.configure(CONFIG + '[screen]\noutput = "wayland"\ndesktop_user = "nobody-of-that-name"\n')
    done = box.run("apply")
    assert done.returncode == 78
    assert done.stderr == 'screen.desktop_user: there is no user "nobody-of-that-name"; see getent passwd\n'
    assert not (box.root / DROP_IN).exists()
    box.configure(CONFIG + f'[screen]\noutput = "wayland"\ndesktop_user = "{getpass.getuser()}"\n')
    assert box.run("apply").returncode == 0
    assert f"BindPaths=/run/user/{os.getuid()}/wayland-0" in (box.root / DROP_IN).read_text()


def test_a_faulty_configuration_changes_nothing(box: Box) -> None:
    box.configure("[screen]\nvolume = 500\n")
    assert box.run("apply").returncode == 78
    assert not (box.root / DROP_IN).exists()


UNIT_FOLDER = "usr/lib/systemd/system"
TIMERS = tuple(f"livekeep-probe-{name}.timer" for name in PROBES)
HEALTH_UNITS = ("livekeep-exporter.service", *TIMERS)


@pytest.fixture
def healthy(box: Box) -> Box:
    """A box with the health part installed and running, and the display's drop-in in place."""
    box.configure(CONFIG)
    for name in HEALTH_UNITS:
        box.file(f"{UNIT_FOLDER}/{name}", "[Unit]\n")
        box.unit(name, UnitFileState="enabled")
    box.run("apply")
    (box.systemd / "calls").unlink()
    return box


def override(box: Box, unit: str, name: str) -> Path:
    return box.root / f"etc/systemd/system/{unit}.d/{name}"


def test_what_is_not_enabled_yet_is_enabled_and_started(healthy: Box) -> None:
    assert healthy.run("apply").stdout == "Nothing to change\n"
    for name in HEALTH_UNITS:
        healthy.unit(name, "inactive", "dead", UnitFileState="disabled")
    done = healthy.run("apply")
    assert done.stdout == "".join(f"{name}: enabled and started\n" for name in HEALTH_UNITS)
    assert healthy.told() == [f"enable --quiet --now {name}" for name in HEALTH_UNITS]


def test_an_interval_goes_to_its_timer_and_back(healthy: Box) -> None:
    drop_in = override(healthy, "livekeep-probe-network.timer", "60-interval.conf")
    healthy.configure(CONFIG + "[probes.network]\ninterval_seconds = 10\n")
    done = healthy.run("apply")
    assert done.stdout == f"{drop_in}: written\nlivekeep-probe-network.timer: restarted\n"
    lines = drop_in.read_text().splitlines()
    assert lines[-3:] == ["OnCalendar=", "OnBootSec=10s", "OnUnitActiveSec=10s"]
    assert healthy.told() == ["daemon-reload", "restart livekeep-probe-network.timer"]
    healthy.configure(CONFIG)
    assert healthy.run("apply").stdout.startswith(f"{drop_in}: removed\n")
    assert not drop_in.parent.exists()


def test_a_probe_that_is_switched_off_is_stopped_and_forgotten(healthy: Box) -> None:
    findings = healthy.file("run/livekeep/probe-speedtest/state.json", "{}")
    healthy.configure(CONFIG + "[probes.speedtest]\nenabled = false\n")
    assert healthy.run("apply").stdout == "livekeep-probe-speedtest.timer: disabled and stopped\n"
    assert healthy.told() == ["disable --quiet --now livekeep-probe-speedtest.timer"]
    assert not findings.exists()


def test_the_exporter_is_restarted_when_its_settings_changed(healthy: Box) -> None:
    drop_in = override(healthy, "livekeep-exporter.service", "60-exporter.conf")
    healthy.configure(CONFIG + '[exporter]\naddress = "0.0.0.0"\n')
    assert healthy.run("apply").stdout == f"{drop_in}: written\nlivekeep-exporter.service: restarted\n"
    assert [line for line in drop_in.read_text().splitlines() if not line.startswith("#")] == []
    assert healthy.run("apply").stdout == "Nothing to change\n"


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_an_address_that_the_box_lacks_is_told_with_what_to_do(healthy: Box, address: str) -> None:
    """The rest is put in force all the same, and the exporter that runs is left alone."""
    healthy.configure(CONFIG + f'[exporter]\naddress = "{address}"\n[probes.network]\ninterval_seconds = 10\n')
    done = healthy.run("apply")
    assert done.returncode == 1
    assert done.stderr.startswith(f'exporter.address: this machine cannot listen on "{address}" (')
    every = "::" if ":" in address else "0.0.0.0"
    assert f'; see which it has: ip -brief address; or "{every}" for all of them; then: sudo livekeep apply\n' in done.stderr
    assert healthy.told() == ["daemon-reload", "restart livekeep-probe-network.timer"]


def test_an_exporter_that_is_off_needs_no_address(healthy: Box) -> None:
    healthy.configure(CONFIG + '[exporter]\nenabled = false\naddress = "192.0.2.7"\n')
    assert healthy.run("apply").returncode == 0
    healthy.configure(CONFIG + '[exporter]\naddress = "192.0.2.7"\n')
    assert healthy.run("apply", "--no-restart").returncode == 0, "an image is made elsewhere than it runs"


def test_without_the_health_part_its_leftovers_go(healthy: Box) -> None:
    healthy.configure(CONFIG + "[exporter]\nport = 9000\n")
    healthy.run("apply")
    (healthy.root / UNIT_FOLDER / "livekeep-exporter.service").unlink()
    drop_in = override(healthy, "livekeep-exporter.service", "60-exporter.conf")
    assert healthy.run("apply").stdout == f"{drop_in}: removed\n"


def test_speed_tests_are_spread(healthy: Box) -> None:
    healthy.configure(CONFIG + "[probes.speedtest]\ninterval_seconds = 7200\n")
    exporter = override(healthy, "livekeep-exporter.service", "60-exporter.conf")
    # Its timer ticks often enough; the exporter tells Prometheus when the probe is silent.
    assert healthy.run("apply").stdout == f"{exporter}: written\nlivekeep-exporter.service: restarted\n"
    healthy.configure(CONFIG + "[probes.speedtest]\ninterval_seconds = 1200\n")
    healthy.run("apply", "--no-restart")
    text = override(healthy, "livekeep-probe-speedtest.timer", "60-interval.conf").read_text()
    assert "OnBootSec=60s\nOnUnitActiveSec=1200s\nRandomizedDelaySec=300s\n" in text
    assert healthy.told() == ["daemon-reload", "restart livekeep-exporter.service", "daemon-reload"]


def complete(box: Box, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    script = (
        'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _livekeep; '
        '((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = REPOSITORY / "etc/bash-completion/livekeep"
    command = ["bash", "-c", script, str(path), str(REPOSITORY / "bin/livekeep"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=box.environment, cwd=box.root, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_completion(box: Box) -> None:
    box.configure(CONFIG)
    box.file("out dir/x", "")
    assert complete(box, "s") == ["status", "select", "screenshot", "set-token", "set-web-password", "setup"]
    assert complete(box, "doctor", "--") == ["--json", "--fix", "--yes", "--help"]
    assert complete(box, "select", "") == ["Youth\\,\\ 2nd\\ hall", "main"]
    assert complete(box, "select", "ma") == ["main"]
    assert complete(box, "screenshot", "out") == ["out dir"]
    assert complete(box, "import-env", "--source-tree", "ou") == ["out dir"]
    assert complete(box, "health", "") == []


def test_completion_knows_every_subcommand(box: Box) -> None:
    assert set(complete(box, "")) == {*SUBCOMMANDS, "--help"}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_folder_that_is_made_has_its_mode_under_any_umask(tmp_path: Path, umask: int) -> None:
    """A drop-in of a unit lies there: whoever may write beside it is root."""
    before = os.umask(umask)
    try:
        file.make_folder(tmp_path / "a/b/unit.d", 0o755)
        file.make_folder(tmp_path / "a/credstore", 0o700)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/unit.d", "a/credstore")]
    assert modes == [0o755, 0o755, 0o755, 0o700]


RECORD = {
    "livekeep-recorder.service": True,
    "livekeep-alerter.service": True,
    "livekeep-tidy.timer": True,
    "livekeep-web.socket": True,
    "livekeep-report@daily.timer": True,
    "livekeep-report@weekly.timer": True,
    "livekeep-clips.timer": False,
}


def test_the_record_s_units_as_shipped() -> None:
    """All but the analyzer's, which has nothing to look at."""
    assert {entry.unit: entry.is_enabled for entry in wanted_units.wanted_of_record(Config())} == RECORD
    assert [entry.drop_in for entry in wanted_units.wanted_of_record(Config()) if entry.drop_in] == []


def test_the_record_s_units_as_configured() -> None:
    settings = replace(
        Config(),
        reports=Reports(daily=False),
        web=Web(address="::", port=8080),
        analyzer=Analyzer(interval_seconds=300),
        clips={"ours": Clips(vimeo="me")},
    )
    wanted = {entry.unit: entry for entry in wanted_units.wanted_of_record(settings)}
    assert {name: entry.is_enabled for name, entry in wanted.items()} == RECORD | {
        "livekeep-report@daily.timer": False,
        "livekeep-clips.timer": True,
    }
    socket = wanted["livekeep-web.socket"].drop_in
    assert "\nListenStream=\nListenStream=[::]:8080\n" in socket
    assert "\nIPAddressAllow=any\n" in socket
    assert "IPAddressAllow" not in wanted_units.socket_drop_in(Web(port=8080))
    assert "\nOnCalendar=\nOnBootSec=60s\nOnUnitActiveSec=300s\n" in wanted["livekeep-clips.timer"].drop_in


def test_the_record_s_units_are_put_in_force(box: Box) -> None:
    """Those that are installed; the report's two timers are of one template. A socket gives way only without its service."""
    for name in ("livekeep-recorder.service", "livekeep-report@.timer", "livekeep-web.socket"):
        box.file(f"usr/lib/systemd/system/{name}", "[Unit]\n")
    box.configure(CONFIG)
    assert box.run("apply").returncode == 0
    enabled = [line for line in box.told() if line.startswith("enable")]
    names = ("recorder.service", "web.socket", "report@daily.timer", "report@weekly.timer")
    assert enabled == [f"enable --quiet --now livekeep-{name}" for name in names]
    box.unit("livekeep-web.socket", ActiveState="active", UnitFileState="enabled")
    before = len(box.told())
    box.configure(CONFIG + "[web]\nport = 8080\n")
    assert "livekeep-web.socket: restarted\n" in box.run("apply").stdout
    told = box.told()[before:]
    assert told.index("stop livekeep-web.socket livekeep-web.service") < told.index("restart livekeep-web.socket")


TV_UNITS = ("livekeep-tv.timer", "livekeep-tv.path")


def calendar(schedule: Schedule) -> list[str]:
    """The times of the timer's drop-in; systemd must accept each."""
    lines = wanted_units.plan_drop_in(schedule).splitlines()
    entries = [line.removeprefix("OnCalendar=") for line in lines if line.startswith("OnCalendar=")]
    for entry in entries:
        subprocess.run(["systemd-analyze", "calendar", entry], check=True, capture_output=True)
    return entries


def test_each_switch_of_the_plan_wakes_the_tv_s_timer() -> None:
    assert calendar(Schedule()) == []
    days = {"mon-fri": "08:00-22:00", "sat": "20:00-02:00", "2026-12-24": "10:00-24:00", "2026-12-27-2027-01-06": "09:00-10:00"}
    assert calendar(Schedule(time_zone="Europe/Berlin", days=days)) == [
        "Sun 02:00:00 Europe/Berlin",
        "Mon,Tue,Wed,Thu,Fri 08:00:00 Europe/Berlin",
        "*-*-* 09:00:00 Europe/Berlin",
        "*-*-* 10:00:00 Europe/Berlin",
        "Sat 20:00:00 Europe/Berlin",
        "Mon,Tue,Wed,Thu,Fri 22:00:00 Europe/Berlin",
        "2026-12-24 10:00:00 Europe/Berlin",
        "2026-12-25 00:00:00 Europe/Berlin",
    ]
    assert calendar(Schedule(days={"daily": "08:00-22:00", "sun": "off"})) == ["*-*-* 08:00:00", "*-*-* 22:00:00"]
    assert calendar(Schedule(days={"2026-12-31": "on"})) == ["2026-12-31 00:00:00", "2027-01-01 00:00:00"]


def test_the_tv_s_units_run_only_with_a_plan(box: Box) -> None:
    for name in ("livekeep-tv.service", *TV_UNITS):
        box.file(f"{UNIT_FOLDER}/{name}", "[Unit]\n")
    (box.root / "run/livekeep/tv").mkdir()
    box.configure(CONFIG)
    assert box.run("apply").returncode == 0
    assert [line for line in box.told() if "livekeep-tv" in line] == []
    box.configure(CONFIG + '[schedule]\nmon-fri = "08:00-22:00"\n')
    done = box.run("apply")
    drop_in = box.root / "etc/systemd/system/livekeep-tv.timer.d/60-plan.conf"
    assert f"{drop_in}: written\n" in done.stdout
    assert [line for line in box.told() if "livekeep-tv" in line] == [
        "enable --quiet --now livekeep-tv.timer",
        "enable --quiet --now livekeep-tv.path",
        "start --no-block livekeep-tv.service",
    ]
    for name in TV_UNITS:
        box.unit(name, ActiveState="active", UnitFileState="enabled")
    before = len(box.told())
    box.configure(CONFIG + '[schedule]\nmon-fri = "08:00-23:00"\n')
    assert box.run("apply").returncode == 0
    changed = [line for line in box.told()[before:] if "livekeep-tv" in line]
    assert changed == ["restart livekeep-tv.timer", "start --no-block livekeep-tv.service"]
    # Without the plan it runs once more, to switch on what the plan had switched off.
    before = len(box.told())
    state.write(state.stamped(TvState(is_wanted=False)), box.root / "run/livekeep")
    box.configure(CONFIG)
    assert box.run("apply").returncode == 0
    changed = [line for line in box.told()[before:] if "livekeep-tv" in line]
    assert changed == [
        "disable --quiet --now livekeep-tv.timer",
        "disable --quiet --now livekeep-tv.path",
        "start --no-block livekeep-tv.service",
    ]
    assert not drop_in.exists()
