"""The throttle bits: what the firmware's answers say, which door is taken, and how under-voltage is counted."""

import struct
from pathlib import Path

import pytest

from livekeep.probes.host import throttle
from livekeep.probes.host.throttle import Throttling
from tests.probes.host_boards import pi4, pi5, put

ALL = ("under_voltage", "frequency_capped", "throttled", "soft_temp_limit")


@pytest.mark.parametrize(
    ("word", "now", "since_boot"),
    [
        (0x0, (), ()),
        (0x50000, (), ("under_voltage", "throttled")),
        (0x50005, ("under_voltage", "throttled"), ("under_voltage", "throttled")),
        (0xE0002, ("frequency_capped",), ("frequency_capped", "throttled", "soft_temp_limit")),
        (0xFFFFFFF0, (), ALL),
    ],
)
def test_the_bits_of_the_kernel_s_file(tmp_path: Path, word: int, now: tuple[str, ...], since_boot: tuple[str, ...]) -> None:
    for form in ("{:x}\n", "0x{:x}", "{:X}\n"):
        put(tmp_path, throttle.FIRMWARE_FILE, form.format(word))
        assert throttle.read(tmp_path) == Throttling(now, since_boot)


@pytest.mark.parametrize("text", ["", "throttled", "-5", "5 5", "0x", "123456789", "throttled=0x0"])
def test_a_file_that_says_nonsense_is_passed_over(tmp_path: Path, text: str) -> None:
    put(pi5(tmp_path), throttle.FIRMWARE_FILE, text)
    assert throttle.read(tmp_path) == Throttling((), None)


def test_the_voltage_sensor_knows_one_condition(tmp_path: Path) -> None:
    pi5(tmp_path)
    assert throttle.read(tmp_path) == Throttling((), None)
    put(tmp_path, "sys/class/hwmon/hwmon3/in0_lcrit_alarm", "1\n")
    assert throttle.read(tmp_path) == Throttling(("under_voltage",), None)
    (tmp_path / "sys/class/hwmon/hwmon3/in0_lcrit_alarm").unlink()
    assert throttle.read(tmp_path) == Throttling()


def test_a_door_that_is_none_is_passed_by(tmp_path: Path) -> None:
    """A file answers no ioctl, as a door that may not be opened: the next one is asked."""
    pi4(tmp_path)
    put(tmp_path, throttle.COMMAND_DEVICE, "")
    put(tmp_path, throttle.PROPERTY_DEVICE, "")
    assert throttle.read(tmp_path) == Throttling((), ("under_voltage", "throttled"))
    assert throttle.converse(tmp_path / throttle.PROPERTY_DEVICE, bytes(28)) is None
    assert throttle.converse(tmp_path / "absent", bytes(28)) is None


def test_the_request_number_has_the_width_of_a_pointer() -> None:
    assert {4: 0xC0046400, 8: 0xC0086400}[struct.calcsize("P")] == throttle.MAILBOX_PROPERTY


def test_the_question_by_a_tag() -> None:
    message = throttle.GET_BY_TAG
    assert struct.unpack("=7I", message) == (len(message), 0, 0x00030046, 4, 4, 0, 0)


def answer_by_tag(code: int = 0x80000000, length: int = 0x80000004, word: int = 0x50005) -> bytes:
    return struct.pack("=7I", 28, code, 0x00030046, 4, length, word, 0)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (answer_by_tag(), 0x50005),
        (answer_by_tag(word=0), 0),
        (answer_by_tag(code=0x80000001), None),
        (answer_by_tag(length=4), None),
        (answer_by_tag()[:20], None),
        (b"", None),
        (None, None),
    ],
)
def test_the_answer_by_a_tag(answer: bytes | None, word: int | None) -> None:
    assert throttle.answered_property(answer) == word


def test_the_question_by_a_command() -> None:
    message = throttle.GET_BY_COMMAND
    assert struct.unpack_from("=6I", message) == (len(message), 0, 0x00030080, 1024, 0, 0)
    assert message[24:38] == b"get_throttled\0"
    assert message[-4:] == bytes(4)
    assert len(message) == 6 * 4 + 1024 + 4


def answer_by_command(text: bytes, code: int = 0x80000000, error: int = 0) -> bytes:
    return struct.pack("=6I", 1052, code, 0x00030080, 1024, 0x80000400, error) + text.ljust(1024, b"\0") + bytes(4)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (answer_by_command(b"throttled=0x50005"), 0x50005),
        (answer_by_command(b"throttled=0x0\n"), 0),
        (answer_by_command(b"throttled=0x0", code=0), None),
        (answer_by_command(b"throttled=0x0", error=1), None),
        (answer_by_command(b'error=1 error_msg="Command not registered"'), None),
        (answer_by_command(b"throttled=lots"), None),
        (answer_by_command(b"\xff" * 1024), None),
        (b"short", None),
        (None, None),
    ],
)
def test_the_answer_by_a_command(answer: bytes | None, word: int | None) -> None:
    assert throttle.answered_command(answer) == word


LOW, FINE = ("under_voltage",), ()


@pytest.mark.parametrize(
    ("before", "events", "now", "expected"),
    [
        (Throttling(), None, Throttling(), None),
        (Throttling(FINE, FINE), 3, Throttling(), None),
        (Throttling(), None, Throttling(FINE, FINE), 0),
        (Throttling(), None, Throttling(LOW, LOW), 1),
        (Throttling(), None, Throttling(FINE, LOW), 1),
        (Throttling(FINE, FINE), 2, Throttling(LOW, LOW), 3),
        (Throttling(LOW, LOW), 2, Throttling(LOW, LOW), 2),
        (Throttling(LOW, LOW), 2, Throttling(FINE, LOW), 2),
        (Throttling(FINE, LOW), 2, Throttling(LOW, LOW), 3),
        (Throttling(FINE, FINE), 2, Throttling(FINE, LOW), 3),
        (Throttling(FINE, None), 2, Throttling(LOW, None), 3),
        (Throttling(("throttled",), FINE), 2, Throttling(("throttled", "soft_temp_limit"), FINE), 2),
    ],
)
def test_the_count_of_events(before: Throttling, events: int | None, now: Throttling, expected: int | None) -> None:
    assert throttle.count_events(before, events, now) == expected
