"""What is said when systemctl cannot be asked, or refuses; in its place stands a script."""

from pathlib import Path

import pytest

from livekeep.command import unit
from livekeep.core.errors import LivekeepError


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is looked for; nothing is there yet."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "systemctl"


def test_absent(systemctl: Path) -> None:
    with pytest.raises(LivekeepError, match=r"^systemctl reload a.service: there is no systemctl here"):
        unit.tell("reload", "a.service")
    assert not systemctl.exists()
    assert unit.is_running("a.service") is False


def test_not_a_program(systemctl: Path) -> None:
    systemctl.write_text("#!/bin/sh\n")
    with pytest.raises(LivekeepError, match=r"^systemctl show: cannot be run \(Permission denied\)$"):
        unit.show(["a.service"])


def test_silent(systemctl: Path) -> None:
    systemctl.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    systemctl.chmod(0o755)
    with pytest.raises(LivekeepError, match=r"^systemctl stop a.service: no answer within 0.3 s; see systemctl list-jobs$"):
        unit.call(["stop", "a.service"], 0.3)


@pytest.mark.parametrize(("said", "told"), [("", "exit code 4"), ("No such unit.\nTry again.", "No such unit.")])
def test_refused(systemctl: Path, said: str, told: str) -> None:
    systemctl.write_text(f"#!/bin/sh\nprintf '{said}' >&2\nexit 4\n")
    systemctl.chmod(0o755)
    with pytest.raises(LivekeepError) as refused:
        unit.tell("try-restart", "a.service", "b.service")
    assert str(refused.value) == f"systemctl try-restart a.service b.service: {told}"


def test_what_it_says_is_neither_coloured_nor_translated(systemctl: Path) -> None:
    systemctl.write_text('#!/bin/sh\necho "$*|$LC_ALL|$SYSTEMD_COLORS|$SYSTEMD_PAGER"\n')
    systemctl.chmod(0o755)
    assert unit.call(["stop", "a.service"], 20) == "stop a.service|C|0|\n"
