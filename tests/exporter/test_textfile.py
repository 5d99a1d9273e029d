"""One scrape into a file for node_exporter's textfile collector, by the program itself."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.exporter.full_states import write_all
from tests.exporter.running_exporter import PROGRAM, environment_for, run
from tests.outside import program


def test_a_scrape_is_written_for_everybody_to_read(tmp_path: Path) -> None:
    """Without what node_exporter has itself."""
    write_all(tmp_path / "run/livekeep")
    target = tmp_path / "livekeep.prom"
    target.write_text("old")
    target.chmod(0o600)
    ran = run(tmp_path, "--textfile", str(target))
    assert ran.returncode == 0, ran.stderr
    lines = target.read_text().splitlines()
    assert 'livekeep_stream_state{state="live"} 1.0' in lines
    assert all(line.startswith("livekeep_") for line in lines if not line.startswith("#"))
    assert "# EOF" not in lines
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["livekeep.prom"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("livekeep.txt", "node_exporter reads files that end in .prom; name it livekeep.prom"),
        (".prom", "node_exporter reads files that end in .prom; name it .prom.prom"),
        ("nowhere/livekeep.prom", "cannot be written (No such file or directory); make its folder first"),
        ("folder.prom", "folder.prom: cannot be written (Is a directory)"),
    ],
)
def test_a_target_that_cannot_be_is_refused_and_leaves_nothing_behind(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder.prom").mkdir()
    ran = run(tmp_path, "--textfile", str(tmp_path / name))
    assert (ran.returncode, sentence in ran.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.prom"]


def test_a_folder_of_somebody_else_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # The test's own folder is root's alone.
        root = Path(folder)
        root.chmod(0o755)
        (root / "theirs").mkdir(mode=0o555)
        target = root / "theirs/livekeep.prom"
        command = [PROGRAM, "--textfile", target]
        with program(command, as_nobody=True, env=environment_for(root), stderr=subprocess.PIPE) as process:
            _out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{target}: cannot be written (Permission denied); who runs this must own the folder".encode() in said
