"""One scrape into a file for node_exporter's textfile collector, by the program itself."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.exporter.full_states import write_all
from tests.exporter.running_exporter import PROGRAM, environment_for, run
from tests.outside import program


def test_a_scrape_is_written_for_everybody_to_read(tmp_path: Path) -> None:
    write_all(tmp_path / "run/livekeep")
    target = tmp_path / "livekeep.prom"
    target.write_text("old")
    target.chmod(0o600)
    ran = run(tmp_path, "--textfile", str(target))
    assert ran.returncode == 0, ran.stderr
    text = target.read_text()
    assert 'livekeep_stream_state{state="live"} 1.0\n' in text
    assert text.endswith("\n")
    assert not text.endswith("# EOF\n")
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["livekeep.prom"]


def test_what_node_exporter_has_itself_is_left_out(tmp_path: Path) -> None:
    target = tmp_path / "livekeep.prom"
    assert run(tmp_path, "--textfile", str(target)).returncode == 0
    names = {line.split("{")[0].split()[0] for line in target.read_text().splitlines() if not line.startswith("#")}
    assert names
    assert all(name.startswith("livekeep_") for name in names)


def test_promtool_is_content(tmp_path: Path) -> None:
    write_all(tmp_path / "run/livekeep")
    target = tmp_path / "livekeep.prom"
    run(tmp_path, "--textfile", str(target))
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: tests/run installs what the tests need"
    ran = subprocess.run([promtool, "check", "metrics"], input=target.read_bytes(), capture_output=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("livekeep.txt", "node_exporter reads files that end in .prom; name it livekeep.prom"),
        ("livekeep", "node_exporter reads files that end in .prom; name it livekeep.prom"),
        (".prom", "node_exporter reads files that end in .prom; name it .prom.prom"),
    ],
)
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    ran = run(tmp_path, "--textfile", str(tmp_path / name))
    assert ran.returncode == 1
    assert sentence in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    target = tmp_path / "nowhere/livekeep.prom"
    ran = run(tmp_path, "--textfile", str(target))
    assert (ran.returncode, f"{target}: cannot be written (No such file or directory); make its folder first" in ran.stderr) == (
        1,
        True,
    )


def test_a_target_that_is_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "livekeep.prom").mkdir()
    ran = run(tmp_path, "--textfile", str(tmp_path / "livekeep.prom"))
    assert (ran.returncode, "livekeep.prom: cannot be written (Is a directory)" in ran.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["livekeep.prom"]


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
