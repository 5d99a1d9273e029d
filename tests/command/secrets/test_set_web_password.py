"""livekeep set-web-password: from a pipe, a file and a prompt; what is refused; that nobody is told it."""

import os
import pty
import subprocess

import pytest
from conftest import Box, read_until

from livekeep.system import password_hash

PASSWORD = "correct horse bättery"


def stored(box: Box) -> str:
    return (box.root / "etc/credstore/livekeep.web-password").read_text()


@pytest.mark.parametrize("by_pipe", [False, True])
def test_what_is_stored_is_the_hash_of_the_first_line(box: Box, by_pipe: bool) -> None:
    text = f"{PASSWORD}\n".encode()
    done = box.run("set-web-password", stdin=text) if by_pipe else box.run("set-web-password", str(box.file("password", text)))
    assert done.returncode == 0, done.stderr
    assert password_hash.is_hash(stored(box))
    assert password_hash.matches(PASSWORD, stored(box))
    assert not password_hash.matches(PASSWORD + "x", stored(box))
    assert PASSWORD not in done.stdout + done.stderr + stored(box)
    assert "it takes it when it starts" in done.stdout
    assert (box.root / "etc/credstore/livekeep.web-password").stat().st_mode & 0o777 == 0o600


def test_two_hashes_of_one_password_differ(box: Box) -> None:
    assert password_hash.make(PASSWORD) != password_hash.make(PASSWORD)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 characters are too few"),
        ("short", "5 characters are too few"),
        ("aaaaaaaaaaaaaaaa", "the same few characters"),
        ("first line of two\nsecond line", "more than one line"),
        ("with\x07a bell inside", "no control characters"),
        ("x0123456789" * 100, "too many"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_no_good_password_is_refused(box: Box, text: str, complaint: str) -> None:
    done = box.run("set-web-password", stdin=text.encode())
    assert done.returncode == 1
    assert complaint in done.stderr
    assert not text or text not in done.stderr
    assert not (box.root / "etc/credstore/livekeep.web-password").exists()


@pytest.mark.parametrize("second", [PASSWORD, "something else"])
def test_a_person_types_it_twice_without_seeing_it(box: Box, second: str) -> None:
    ours, theirs = pty.openpty()
    command = ["setsid", "-c", "-w", *box.command("set-web-password")]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=box.environment)
    os.close(theirs)
    shown = read_until(ours, b"shown): ")
    os.write(ours, f"{PASSWORD}\n".encode())
    shown += read_until(ours, b"more): ")
    os.write(ours, f"{second}\n".encode())
    shown += read_until(ours, b"apply" if second == PASSWORD else b"alike")
    assert process.wait(timeout=20) == (0 if second == PASSWORD else 1)
    os.close(ours)
    assert PASSWORD.encode() not in shown
    assert (box.root / "etc/credstore/livekeep.web-password").exists() == (second == PASSWORD)
