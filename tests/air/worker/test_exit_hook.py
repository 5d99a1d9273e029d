"""The hook that notes how a worker ended: run as systemd runs it."""

import os
import subprocess
from pathlib import Path

import pytest

from livekeep.air.worker.exit_hook import sentence_of
from livekeep.core import channels, state
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.state import StateAbsentError
from tests.outside import PROJECT

HOOK = PROJECT / "bin/livekeep-worker-ended"
GOOD = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = channels.folder_of("main", tmp_path / "run/livekeep")
    made.mkdir(parents=True)
    return made


def run(root: Path, *arguments: str, **said: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "LIVEKEEP_ROOT": str(root)} | said
    return subprocess.run([HOOK, *arguments], env=environment, capture_output=True, text=True, timeout=20, check=False)


def test_a_broken_state_or_none_harms_nothing(tmp_path: Path, folder: Path) -> None:
    for content in (b'{"file"', b"\xff" * 1000, b"[" * 100_000, None):
        (folder / "state.json").unlink(missing_ok=True)
        if content is not None:
            (folder / "state.json").write_bytes(content)
        assert run(tmp_path, "main", **GOOD).returncode == 0
        assert channels.read_end("main", tmp_path / "run/livekeep").pid == 0
        assert not (folder / "state.json").exists()


def test_a_full_disk_leaves_no_state_behind(tmp_path: Path, folder: Path) -> None:
    """Another file fills a tiny tmpfs; what the dead state frees is room for the end."""
    state.write(state.stamped(ChannelState(channel="main", pid=7)), folder)
    saved = (folder / "state.json").read_bytes()
    script = f'mount -t tmpfs -o size=64k none "{folder}"; cat >"{folder}/state.json"; cat /dev/zero >"{folder}/full"'
    script += f'; "{HOOK}" main; ls "{folder}"'
    environment = {"PATH": os.environ["PATH"], "LIVEKEEP_ROOT": str(tmp_path)} | GOOD
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, env=environment, input=saved, capture_output=True, timeout=20, check=True)
    assert done.stdout.split() == [b"end.json", b"full"], done


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "main", **GOOD)
    assert done.returncode == 0
    assert done.stderr.startswith("<3>")
    assert "end.json: cannot be written" in done.stderr
    with pytest.raises(StateAbsentError):
        channels.read_end("main", tmp_path / "run/livekeep")


@pytest.mark.parametrize("arguments", [[], ["main", "more"], ["../main"], ["Main"], [""]])
def test_anything_but_a_channel_is_refused(tmp_path: Path, folder: Path, arguments: list[str]) -> None:
    assert run(tmp_path, *arguments, **GOOD).returncode == 2
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("result", "exit_code", "exit_status", "reason"),
    [
        ("exit-code", "exited", "78", "its configuration or its stream key is missing or wrong"),
        ("exit-code", "exited", "1", "exit-code: exited 1"),
        ("signal", "killed", "KILL", "signal: killed KILL"),
    ],
)
def test_the_sentence_says_why(result: str, exit_code: str, exit_status: str, reason: str) -> None:
    end = ChannelEnd(channel="main", pid=12, result=result, exit_code=exit_code, exit_status=exit_status)
    assert sentence_of(end) == f"The worker of channel main (process 12) ended: {reason}"
