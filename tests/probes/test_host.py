"""The host probe's judgement, and the program as a process on the trees of real boards."""

import errno
import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from host_boards import HostBox, pc, pi4, pi5, put, zero2

from livekeep.core.probe_results import Connector, HostResult, Run
from livekeep.probes.host import sd_card
from livekeep.probes.host.measurement import judge
from livekeep.probes.runner import Judgement

GOOD = HostResult(
    run=Run("ok", last_run=1_800_000_000.0),
    throttled=(),
    throttled_since_boot=(),
    under_voltage_events=0,
    connectors=(Connector("HDMI-A-1", True, "1920x1080"),),
    ext4_errors={"mmcblk0p2": 0},
    card_is_good=True,
    card_checked_at=1_800_000_000.0,
)


# The judgement


def test_nothing_wrong() -> None:
    assert judge(GOOD, GOOD) == Judgement("ok", "no fault found")


def test_a_board_without_any_sensor_is_well() -> None:
    assert judge(HostResult(), HostResult()) == Judgement("ok", "no fault found")


def test_a_tv_that_is_off_is_no_fault() -> None:
    off = replace(GOOD, connectors=(Connector("HDMI-A-1", False),))
    assert judge(GOOD, off).verdict == "ok"


Fault = tuple[dict[str, object], str, str, str]
FAULTS: list[Fault] = [
    ({"card_is_good": False, "card_problem": sd_card.READ_ONLY}, "fail", "mounted read-only", "replace it"),
    ({"card_is_good": False, "card_problem": sd_card.UNREADABLE}, "fail", "input/output error", "replace it"),
    ({"card_is_good": False, "card_problem": sd_card.DIFFERENT}, "fail", "other bytes", "replace it"),
    ({"card_is_good": None, "card_problem": sd_card.FULL}, "fail", "the card is full", "vacuum"),
    ({"ext4_errors": {"mmcblk0p2": 3}}, "fail", "3 new error(s) on the file system of mmcblk0p2", "replace it"),
    ({"throttled": ("under_voltage",)}, "warn", "under-voltage now", "power supply"),
    ({"throttled": ("throttled",)}, "warn", "is throttled now", "heat sink"),
]


@pytest.mark.parametrize(("change", "verdict", "says", "advises"), FAULTS)
def test_each_fault(change: dict[str, object], verdict: str, says: str, advises: str) -> None:
    found = judge(GOOD, replace(GOOD, **change))  # type: ignore[arg-type]
    assert found.verdict == verdict
    assert says in found.reason
    assert advises in found.advice


@pytest.mark.parametrize(("one", "other"), itertools.combinations(FAULTS, 2))
def test_the_worst_of_two_faults_counts(one: Fault, other: Fault) -> None:
    found = judge(GOOD, replace(GOOD, **{**one[0], **other[0]}))  # type: ignore[arg-type]
    assert found.verdict == ("fail" if "fail" in (one[1], other[1]) else "warn")
    assert "\n" not in found.reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"throttled_since_boot": ("under_voltage", "throttled")}, "since boot there was under-voltage, throttling"),
        ({"throttled": ("soft_temp_limit",)}, "the board is at its soft temperature limit now"),
        ({"card_is_good": None, "card_problem": "/x lies in memory"}, "the card was not checked: /x lies in memory"),
        ({"throttled": None, "throttled_since_boot": None}, "no fault found"),
    ],
)
def test_what_is_only_mentioned(change: dict[str, object], says: str) -> None:
    assert judge(GOOD, replace(GOOD, **change)) == Judgement("ok", says)  # type: ignore[arg-type]


def test_old_errors_of_a_file_system_are_a_warning() -> None:
    old = replace(GOOD, ext4_errors={"mmcblk0p2": 3})
    assert judge(old, old).verdict == "warn"
    assert "3 error(s) on record" in judge(old, old).reason
    grown = replace(GOOD, ext4_errors={"mmcblk0p2": 5})
    assert "2 new error(s)" in judge(old, grown).reason
    cleared = replace(GOOD, ext4_errors={"mmcblk0p2": 0})
    assert judge(old, cleared).verdict == "ok"


def test_errors_that_the_first_run_meets_are_old() -> None:
    assert judge(HostResult(), replace(GOOD, ext4_errors={"mmcblk0p2": 3})).verdict == "warn"


# The program


def test_pi4(tmp_path: Path) -> None:
    found = HostBox(pi4(tmp_path)).look()
    assert found["throttled"] == []
    assert found["throttled_since_boot"] == ["under_voltage", "throttled"]
    assert found["under_voltage_events"] == 1
    assert found["connectors"] == [
        {"name": "HDMI-A-1", "connected": True, "mode": "1920x1080"},
        {"name": "HDMI-A-2", "connected": False, "mode": ""},
    ]
    assert found["ext4_errors"] == {"mmcblk0p2": 0}
    assert found["card_is_good"] is True
    assert found["card_problem"] == ""
    assert found["run"]["verdict"] == "ok"
    assert found["run"]["interval_seconds"] == 60
    assert list((tmp_path / "var/lib/livekeep/probe-host").iterdir()) == []


def test_pi5(tmp_path: Path) -> None:
    found = HostBox(pi5(tmp_path)).look()
    assert (found["throttled"], found["throttled_since_boot"], found["under_voltage_events"]) == ([], None, 0)
    assert [(it["name"], it["connected"], it["mode"]) for it in found["connectors"]] == [
        ("HDMI-A-1", False, ""),
        ("HDMI-A-2", True, "3840x2160"),
    ]
    assert found["ext4_errors"] == {"mmcblk0p2": 0, "nvme0n1p1": 0}


def test_zero2(tmp_path: Path) -> None:
    found = HostBox(zero2(tmp_path)).look()
    assert (found["throttled"], found["under_voltage_events"]) == ([], 0)
    assert found["connectors"] == [{"name": "HDMI-A-1", "connected": False, "mode": ""}]


def test_a_plain_pc(tmp_path: Path) -> None:
    found = HostBox(pc(tmp_path)).look()
    assert (found["throttled"], found["throttled_since_boot"], found["under_voltage_events"]) == (None, None, None)
    assert [(it["name"], it["connected"], it["mode"]) for it in found["connectors"]] == [
        ("DP-1", True, "1920x1200"),
        ("HDMI-A-1", True, "2560x1440"),
    ]


def test_a_machine_that_shows_nothing(tmp_path: Path) -> None:
    found = HostBox(tmp_path).look()
    assert (found["throttled"], found["under_voltage_events"], found["connectors"], found["ext4_errors"]) == (None, None, [], {})


def test_files_that_say_nonsense(tmp_path: Path) -> None:
    root = pi4(tmp_path)
    put(root, "sys/devices/platform/soc/soc:firmware/get_throttled", "none of your business\n")
    put(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "maybe\n")
    put(root, "sys/fs/ext4/mmcblk0p2/errors_count", "-7\n")
    put(root, "sys/class/drm/card1-HDMI-A-1/status", "perhaps\n")
    (root / "sys/class/drm/card1-HDMI-A-1/modes").write_bytes(b"\xff" * 5000)
    (root / "sys/class/drm/card1-HDMI-A-2/status").unlink()
    found = HostBox(root).look()
    assert (found["throttled"], found["throttled_since_boot"], found["under_voltage_events"]) == (None, None, None)
    assert found["ext4_errors"] == {}
    assert [it["connected"] for it in found["connectors"]] == [None, None]
    assert len(found["connectors"][0]["mode"]) <= 40


def test_under_voltage_is_counted_from_run_to_run(tmp_path: Path) -> None:
    box = HostBox(pi5(tmp_path))
    alarm = tmp_path / "sys/class/hwmon/hwmon3/in0_lcrit_alarm"
    counts = []
    for value in ("0", "1", "1", "0", "1"):
        alarm.write_text(f"{value}\n")
        counts.append(box.look()["under_voltage_events"])
    assert counts == [0, 1, 1, 1, 2]
    assert box.findings()["run"]["verdict"] == "warn"
    assert "under-voltage" in box.findings()["run"]["reason"]


def test_the_runs_are_counted(tmp_path: Path) -> None:
    box = HostBox(pi5(tmp_path))
    box.look()
    put(tmp_path, "sys/fs/ext4/mmcblk0p2/errors_count", "4\n")
    found = box.look()
    assert found["run"]["verdict"] == "fail"
    assert (found["run"]["successes"], found["run"]["failures"]) == (1, 1)
    assert found["run"]["advice"]


def test_the_card_is_checked_after_its_interval_and_again_while_it_fails(tmp_path: Path) -> None:
    box = HostBox(pi5(tmp_path))
    first = box.look()["card_checked_at"]
    assert box.look()["card_checked_at"] == first
    box.configure("[probes.host]\ncard_check_interval_seconds = 60\n")
    assert box.look()["card_checked_at"] == first
    # A folder where the file should be is no card's fault, but it is tried again at once.
    (tmp_path / "run/livekeep/probe-host/state.json").unlink()
    (box.state_folder / "card-check").mkdir()
    second = box.look()
    assert (second["card_is_good"], "Is a directory" in second["card_problem"]) == (None, True)
    (box.state_folder / "card-check").rmdir()
    third = box.look()
    assert third["card_checked_at"] > second["card_checked_at"]
    assert third["card_is_good"] is True


def test_what_a_killed_run_left_is_no_harm(tmp_path: Path) -> None:
    box = HostBox(pi5(tmp_path))
    (box.state_folder / "card-check").write_bytes(b"x" * 100_000)
    assert box.look()["card_is_good"] is True
    assert list(box.state_folder.iterdir()) == []


def test_without_its_folder_nothing_is_said_of_the_card(tmp_path: Path) -> None:
    box = HostBox(pi5(tmp_path))
    box.state_folder.rmdir()
    found = box.look()
    assert found["card_is_good"] is None
    assert found["card_problem"].endswith("probe-host cannot be written (No such file or directory)")


def test_what_lies_in_memory_is_no_card(tmp_path: Path) -> None:
    box = HostBox(pi4(tmp_path))
    device = box.state_folder.stat().st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    mounts = f"22 1 0:999 / /proc rw - proc proc rw\n30 1 {numbers} / / rw shared:1 - overlay overlay rw\n"
    put(tmp_path, "proc/self/mountinfo", mounts)
    found = box.look()
    assert found["card_is_good"] is None
    assert found["card_problem"].endswith("lies in memory, not on a card")


def test_a_foreign_state_is_begun_anew(tmp_path: Path) -> None:
    box = HostBox(pi5(tmp_path))
    put(tmp_path, "run/livekeep/probe-host/state.json", "{half")
    assert box.look()["run"]["successes"] == 1


# The card


def test_a_check_is_due() -> None:
    now = 1_800_000_000.0
    good = sd_card.CardCheck(True, now - 100)
    assert sd_card.is_due(sd_card.CardCheck(), now, 3600)
    assert not sd_card.is_due(good, now, 3600)
    assert sd_card.is_due(good, now + 3500, 3600)
    assert sd_card.is_due(good, now - 200, 3600), "the clock was set back"
    assert sd_card.is_due(replace(good, is_good=False, problem=sd_card.UNREADABLE), now, 3600)


@pytest.mark.parametrize(
    ("number", "is_good", "says"),
    [
        (errno.EROFS, False, "read-only"),
        (errno.EIO, False, "input/output error"),
        (errno.ENOSPC, None, "full"),
        (errno.EDQUOT, None, "full"),
        (errno.EACCES, None, "cannot be written (Permission denied)"),
    ],
)
def test_each_error_has_its_sentence(number: int, is_good: bool | None, says: str) -> None:
    found = sd_card.judge(OSError(number, os.strerror(number)), Path("/var/lib/livekeep/probe-host"), 7.0)
    assert (found.is_good, found.checked_at) == (is_good, 7.0)
    assert says in found.problem


def test_a_full_device_says_so() -> None:
    """/dev/full takes nothing: ENOSPC, as a full card."""
    full = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(OSError, match="No space left") as caught:
        sd_card.comes_back(full, b"x" * 100)
    os.close(full)
    assert sd_card.judge(caught.value, Path("/x"), 1.0).problem == sd_card.FULL


def test_a_file_that_holds_something_else_is_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other bytes")
    for name, flags, same in (("file", os.O_APPEND, False), ("new", os.O_CREAT, True)):
        descriptor = os.open(tmp_path / name, os.O_RDWR | flags)
        assert sd_card.comes_back(descriptor, b"abc" * 1000) is same
        os.close(descriptor)
