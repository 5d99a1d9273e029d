"""tests/run itself, in a checkout of its own: it fails when a test fails or is skipped, and leaves out what is nightly."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.outside import PROJECT

TESTS = {
    "passes": "def test_passes():\n    pass\n",
    "fails": "def test_fails():\n    assert False\n",
    "skips": "import pytest\n\n\ndef test_skips():\n    pytest.skip('no time')\n",
    "nightly": "import pytest\n\n\n@pytest.mark.nightly\ndef test_nightly():\n    assert False\n",
    "nothing": "",
    "unstable": (
        "from pathlib import Path\n\nMARK = Path(__file__).with_suffix('.mark')\n\n\n"
        "def test_unstable():\n    again = MARK.exists()\n    MARK.touch()\n    assert again\n"
    ),
    "many": "import pytest\n\n\n@pytest.mark.parametrize('number', range(4))\ndef test_many(number):\n    assert False\n",
}


def run(checkout: Path, names: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `tests/run` makes of these tests, without other processes of its own."""
    (checkout / "tests").mkdir()
    for name in ("pyproject.toml", "tests/run", "tests/packages.sh", "tests/conftest.py"):
        shutil.copy(PROJECT / name, checkout / name)
    for name in names:
        (checkout / f"tests/test_{name}.py").write_text(TESTS[name])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "LIVEKEEP_COVERAGE"))}
    return subprocess.run(
        [checkout / "tests/run", "--unit", *arguments, "-n", "0"],
        env=environment | {"CI": "true"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "arguments", "code", "words"),
    [
        (("passes",), (), 0, ["1 passed in", "== unit tests: passed in 0 min"]),
        (("passes", "fails"), (), 1, ["1 failed, 1 passed in", "== unit tests: FAILED in"]),
        (("passes", "skips"), (), 1, ["skipped tests count as failures here", "== unit tests: FAILED in"]),
        (("passes", "nightly"), (), 0, ["1 passed, 1 deselected in"]),
        (("passes", "nightly"), ("--all",), 1, ["1 failed, 1 passed in"]),
        (("passes", "fails"), ("tests/test_passes.py",), 0, ["1 passed in"]),
        (("passes", "fails"), ("-k", "passes"), 0, ["1 passed, 1 deselected in"]),
        (("nothing",), (), 1, ["no tests ran in"]),
        (
            ("passes", "unstable"),
            (),
            0,
            ["1 failed, 1 passed in", "== UNSTABLE, passed only the second time: tests/test_unstable.py::"],
        ),
        (("fails", "unstable"), (), 1, ["2 failed in", "1 failed, 1 passed in"]),
        (("unstable", "skips"), (), 1, ["1 failed, 1 skipped in"]),
    ],
)
def test_the_exit_code_tells(
    tmp_path: Path, names: tuple[str, ...], arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    done = run(tmp_path, names, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert all(word in done.stdout for word in words), done.stdout


def test_more_than_three_failures_are_not_tried_again(tmp_path: Path) -> None:
    done = run(tmp_path, ("many",))
    assert done.returncode == 1
    assert "once more, alone" not in done.stdout


def test_a_test_of_another_suite_is_a_mistake() -> None:
    command = [PROJECT / "tests/run", "--unit", "tests/machine/test_screen.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none of the tests that are named is one of --unit" in done.stderr
