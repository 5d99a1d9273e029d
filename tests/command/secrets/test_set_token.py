"""livekeep set-token: from a file, a pipe and a prompt; what is refused; and that the token is told nobody."""

import os
import pty
import subprocess
import tempfile

import pytest
from conftest import Box, read_until

TOKEN = "made-up-token-0123456789"


def stored(box: Box) -> str:
    return (box.root / "etc/credstore/livekeep.vimeo-token").read_text()


def test_from_a_file(box: Box) -> None:
    box.start_units()
    done = box.run("set-token", str(box.file("token", f"  {TOKEN}\r\n")))
    assert done.returncode == 0, done.stderr
    assert stored(box) == TOKEN
    store = box.root / "etc/credstore"
    assert store.stat().st_mode & 0o777 == 0o700
    assert (store / "livekeep.vimeo-token").stat().st_mode & 0o777 == 0o600
    assert box.told() == ["reset-failed livekeep-poller.service", "try-restart livekeep-poller.service"]
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("around", ['"{}"', "'{}'\n", "“{}”", "\ufeff{}", "\ufeff „{}“ ", "`{}`"])
@pytest.mark.parametrize("by_pipe", [False, True])
def test_what_editors_and_copying_put_around_it_is_left_out(box: Box, around: str, by_pipe: bool) -> None:
    text = around.format(TOKEN).encode()
    done = box.run("set-token", stdin=text) if by_pipe else box.run("set-token", str(box.file("token", text)))
    assert done.returncode == 0, done.stderr
    assert stored(box) == TOKEN


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_from_a_pipe(box: Box, arguments: tuple[str, ...]) -> None:
    done = box.run("set-token", *arguments, stdin=f"{TOKEN}\n".encode())
    assert done.returncode == 0
    assert stored(box) == TOKEN
    assert "it takes it when it starts" in done.stdout


def test_from_a_prompt_without_echo(box: Box) -> None:
    ours, theirs = pty.openpty()
    # setsid -c makes the terminal the controlling one, which getpass opens as /dev/tty.
    command = ["setsid", "-c", "-w", *box.command("set-token")]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=box.environment)
    os.close(theirs)
    shown = read_until(ours, b"shown): ")
    os.write(ours, f"{TOKEN}\n".encode())
    shown += read_until(ours, b"starts")
    assert process.wait(timeout=20) == 0
    os.close(ours)
    assert stored(box) == TOKEN
    assert TOKEN.encode() not in shown


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [(b"\x04", 1, b"what was typed: holds no token; nothing was changed"), (b"\x03", 130, b"")],
)
def test_a_prompt_that_is_left_changes_nothing(box: Box, typed: bytes, code: int, says: bytes) -> None:
    """By Ctrl-D and Ctrl-C."""
    box.start_units()
    ours, theirs = pty.openpty()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["setsid", "-c", "-w", *box.command("set-token")], stdin=theirs, stdout=theirs, stderr=errors, env=box.environment
        )
        os.close(theirs)
        read_until(ours, b"shown): ")
        os.write(ours, typed)
        assert process.wait(timeout=20) == code
        os.close(ours)
        errors.seek(0)
        assert errors.read().strip() == says
    assert not (box.root / "etc/credstore").exists()
    assert box.told() == []


def test_bytes_from_a_pipe_that_are_no_token(box: Box) -> None:
    done = box.run("set-token", stdin=b"\xff\xfemade-up")
    assert done.returncode == 1
    assert done.stderr == "standard input: a token has ASCII letters and digits only; copy it again\n"
    assert not (box.root / "etc/credstore").exists()


def test_the_mode_of_an_old_one_is_put_right_and_the_same_token_restarts_nothing(box: Box) -> None:
    box.start_units()
    box.file("etc/credstore/livekeep.vimeo-token", TOKEN).chmod(0o644)
    done = box.run("set-token", stdin=TOKEN.encode())
    assert "already that one" in done.stdout
    assert (box.root / "etc/credstore/livekeep.vimeo-token").stat().st_mode & 0o777 == 0o600
    assert box.told() == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no token"),
        (b" \n\t\n", "holds no token"),
        (b"two words", "no spaces or line breaks within"),
        (b"made-up\nmade-up", "no spaces or line breaks within"),
        ("made-up-tökén".encode(), "ASCII"),
        (b"made\x00up", "ASCII"),
        (b"\xff\xfe\x00made-up", "UTF-8"),
        (b"VIMEO_TOKEN=made-up", "import-env"),
        (b"m" * 2000, "too many"),
        (b"m" * 100_000, "larger than 64 KiB"),
    ],
)
def test_what_is_no_token_is_refused_without_showing_it(box: Box, content: bytes, says: str) -> None:
    box.file("etc/credstore/livekeep.vimeo-token", "the old one")
    done = box.run("set-token", str(box.file("token", content)))
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "made" not in done.stderr + done.stdout
    assert stored(box) == "the old one"


def test_files_that_cannot_be_read(box: Box) -> None:
    absent = box.root / "absent"
    assert box.run("set-token", str(absent)).stderr == f"{absent}: cannot be read (No such file or directory)\n"
    assert box.run("set-token", str(box.root)).stderr == f"{box.root}: cannot be read (Is a directory)\n"


def test_a_restart_that_fails_is_told_and_the_token_is_kept(box: Box) -> None:
    box.start_units()
    (box.systemd / "fail-try-restart").write_text("Job for livekeep-poller.service failed.\n")
    done = box.run("set-token", stdin=TOKEN.encode())
    assert done.returncode == 1
    assert "The token is stored; the poller takes it at its next start." in done.stderr
    assert stored(box) == TOKEN
