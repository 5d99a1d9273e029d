"""What is said when systemctl cannot be asked, or refuses; in its place stands a script."""

from pathlib import Path

import pytest

from livekeep.core.errors import LivekeepError
from livekeep.system import systemctl


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is looked for; nothing is there yet."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "systemctl"


def test_absent(program: Path) -> None:
    with pytest.raises(LivekeepError, match=r"^systemctl reload a.service: there is no systemctl here"):
        systemctl.tell("reload", "a.service")
    assert not program.exists()
    assert systemctl.is_running("a.service") is False


def test_not_a_program(program: Path) -> None:
    program.write_text("#!/bin/sh\n")
    with pytest.raises(LivekeepError, match=r"^systemctl start a.service: cannot be run \(Permission denied\)$"):
        systemctl.tell("start", "a.service")


def test_silent(program: Path) -> None:
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(LivekeepError, match=r"^systemctl stop a.service: no answer within 0.3 s; see systemctl list-jobs$"):
        systemctl.tell("stop", "a.service", timeout_seconds=0.3)


@pytest.mark.parametrize(("said", "told"), [("", "exit code 4"), ("No such unit.\nTry again.", "No such unit.")])
def test_refused(program: Path, said: str, told: str) -> None:
    program.write_text(f"#!/bin/sh\nprintf '{said}' >&2\nexit 4\n")
    program.chmod(0o755)
    with pytest.raises(LivekeepError) as refused:
        systemctl.tell("try-restart", "a.service", "b.service")
    assert str(refused.value) == f"systemctl try-restart a.service b.service: {told}"


def test_what_it_says_is_neither_coloured_nor_translated(program: Path) -> None:
    program.write_text('#!/bin/sh\necho "$*|$LC_ALL|$SYSTEMD_COLORS|$SYSTEMD_PAGER" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(LivekeepError, match=r"stop a.service\|C\|0\|$"):
        systemctl.tell("stop", "a.service")
