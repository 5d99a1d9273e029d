"""The host probe's judgement, and the program as a process on the trees of real boards."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.core.probe_results import Connector, HostResult, Run
from livekeep.probes.host import sd_card
from livekeep.probes.host.measurement import judge
from livekeep.probes.runner import Judgement
from tests.probes.host_boards import pc, pi4, pi5, put, zero2
from tests.probes.running_probe import Probe

STATE_FOLDER = "var/lib/livekeep/probe-host"
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


Fault = tuple[dict[str, object], str, str, str]
FAULTS: list[Fault] = [
    ({"card_is_good": False, "card_problem": sd_card.READ_ONLY}, "fail", "mounted read-only", "replace it"),
    ({"card_is_good": False, "card_problem": sd_card.UNREADABLE}, "fail", "input/output error", "replace it"),
    ({"card_is_good": False, "card_problem": sd_card.DIFFERENT}, "fail", "returned other data", "replace it"),
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


def test_the_worst_of_several_faults_counts() -> None:
    """The others of that level are named too."""
    worn = {"ext4_errors": {"mmcblk0p2": 3}, "card_is_good": False, "card_problem": sd_card.UNREADABLE}
    found = judge(GOOD, replace(GOOD, throttled=("under_voltage",), **worn))  # type: ignore[arg-type]
    assert found.verdict == "fail"
    assert found.reason == f"{sd_card.UNREADABLE}; the kernel counted 3 new error(s) on the file system of mmcblk0p2"
    assert found.advice.count("replace it") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "no fault found"),
        ({"connectors": (Connector("HDMI-A-1", False),)}, "no fault found"),
        ({"throttled": None, "throttled_since_boot": None}, "no fault found"),
        ({"throttled_since_boot": ("under_voltage", "throttled")}, "since boot there was under-voltage, throttling"),
        ({"throttled": ("soft_temp_limit",)}, "the board is at its soft temperature limit now"),
        ({"card_is_good": None, "card_problem": "/x is in memory"}, "the card was not checked: /x is in memory"),
    ],
)
def test_what_is_only_mentioned(change: dict[str, object], says: str) -> None:
    """A TV that is off is no fault."""
    assert judge(GOOD, replace(GOOD, **change)) == Judgement("ok", says)  # type: ignore[arg-type]


def test_old_errors_of_a_file_system_are_a_warning() -> None:
    old = replace(GOOD, ext4_errors={"mmcblk0p2": 3})
    assert judge(old, old).verdict == "warn"
    assert "3 error(s) on record" in judge(old, old).reason
    grown = replace(GOOD, ext4_errors={"mmcblk0p2": 5})
    assert "2 new error(s)" in judge(old, grown).reason
    assert judge(old, GOOD).verdict == "ok"
    assert judge(HostResult(), old).verdict == "warn", "those of the first run are old"


# The program


@pytest.fixture
def probe(tmp_path: Path) -> Probe[HostResult]:
    (tmp_path / STATE_FOLDER).mkdir(parents=True)
    return Probe("host", HostResult, tmp_path)


TV = Connector("HDMI-A-1", True, "1920x1080")
Board = tuple[Callable[[Path], Path], object, object, int | None, tuple[Connector, ...], dict[str, int]]
BOARDS: list[Board] = [
    (pi4, (), ("under_voltage", "throttled"), 1, (TV, Connector("HDMI-A-2", False)), {"mmcblk0p2": 0}),
    (
        pi5, (), None, 0, (Connector("HDMI-A-1", False), Connector("HDMI-A-2", True, "3840x2160")),
        {"mmcblk0p2": 0, "nvme0n1p1": 0},
    ),
    (zero2, (), None, 0, (Connector("HDMI-A-1", False),), {"mmcblk0p2": 0}),
    (
        pc, None, None, None, (Connector("DP-1", True, "1920x1200"), Connector("HDMI-A-1", True, "2560x1440")),
        {"dm-0": 0, "nvme0n1p2": 0},
    ),
    (lambda root: root, None, None, None, (), {}),
]  # fmt: skip


@pytest.mark.parametrize(("board", "now", "since_boot", "events", "connectors", "errors"), BOARDS)
def test_a_board(
    probe: Probe[HostResult],
    board: Callable[[Path], Path],
    now: object,
    since_boot: object,
    events: int | None,
    connectors: tuple[Connector, ...],
    errors: dict[str, int],
) -> None:
    board(probe.folder)
    found = probe.run()
    assert (found.throttled, found.throttled_since_boot, found.under_voltage_events) == (now, since_boot, events)
    assert (found.connectors, found.ext4_errors) == (connectors, errors)
    assert (found.card_is_good, found.card_problem, found.run.verdict) == (True, "", "ok")
    assert list((probe.folder / STATE_FOLDER).iterdir()) == []


def test_files_that_say_nonsense(probe: Probe[HostResult]) -> None:
    root = pi4(probe.folder)
    put(root, "sys/devices/platform/soc/soc:firmware/get_throttled", "none of your business\n")
    put(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "maybe\n")
    put(root, "sys/fs/ext4/mmcblk0p2/errors_count", "-7\n")
    put(root, "sys/class/drm/card1-HDMI-A-1/status", "perhaps\n")
    (root / "sys/class/drm/card1-HDMI-A-1/modes").write_bytes(b"\xff" * 5000)
    (root / "sys/class/drm/card1-HDMI-A-2/status").unlink()
    found = probe.run()
    assert (found.throttled, found.throttled_since_boot, found.under_voltage_events) == (None, None, None)
    assert found.ext4_errors == {}
    assert [it.connected for it in found.connectors] == [None, None]
    assert len(found.connectors[0].mode) <= 40


def test_under_voltage_is_counted_from_run_to_run(probe: Probe[HostResult]) -> None:
    pi5(probe.folder)
    counts = []
    for value in ("0", "1", "1", "0", "1"):
        put(probe.folder, "sys/class/hwmon/hwmon3/in0_lcrit_alarm", f"{value}\n")
        counts.append(probe.run().under_voltage_events)
    assert counts == [0, 1, 1, 1, 2]
    assert probe.findings().run.verdict == "warn"


def test_the_card_is_checked_after_its_interval_and_again_while_it_fails(probe: Probe[HostResult]) -> None:
    first = probe.run().card_checked_at
    assert probe.run().card_checked_at == first
    # A folder where the file should be is no card's fault, but it is tried again at once.
    card_check = probe.folder / STATE_FOLDER / "card-check"
    card_check.mkdir()
    probe.remember(card_checked_at=1.0)
    second = probe.run()
    assert (second.card_is_good, "Is a directory" in second.card_problem) == (None, True)
    card_check.rmdir()
    card_check.write_bytes(b"left by a run that was killed" * 10_000)
    third = probe.run()
    assert (third.card_is_good, third.card_checked_at != second.card_checked_at) == (True, True)
    assert not card_check.exists()


def test_without_its_folder_nothing_is_said_of_the_card(probe: Probe[HostResult]) -> None:
    (probe.folder / STATE_FOLDER).rmdir()
    found = probe.run()
    assert found.card_is_good is None
    assert found.card_problem.endswith("probe-host cannot be written (No such file or directory)")


def test_what_is_in_memory_is_no_card(probe: Probe[HostResult]) -> None:
    device = (probe.folder / STATE_FOLDER).stat().st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    mounts = f"22 1 0:999 / /proc rw - proc proc rw\n30 1 {numbers} / / rw shared:1 - overlay overlay rw\n"
    put(probe.folder, "proc/self/mountinfo", mounts)
    found = probe.run()
    assert found.card_is_good is None
    assert found.card_problem.endswith("is in memory, not on a card")


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
