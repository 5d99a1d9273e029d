"""Boxes to run the command on."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.box import REPOSITORY, TREES, Box
from tests.command.forking import CommandForks
from tests.web import Web, http


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandForks]:
    forks = CommandForks(tmp_path_factory.mktemp("command") / "root")
    yield forks
    forks.close()


@pytest.fixture
def root(forks: CommandForks) -> Iterator[Path]:
    """The root folder of a machine, empty for each test."""
    yield forks.root
    shutil.rmtree(forks.root, ignore_errors=True)


@pytest.fixture
def box(root: Path, forks: CommandForks) -> Iterator[Box]:
    made = Box(root, forks)
    yield made
    made.unit_bus.close()


@pytest.fixture
def pi4(root: Path, forks: CommandForks) -> Iterator[Box]:
    """A Raspberry Pi 4 as installed, in a copy that may be changed."""
    shutil.copytree(TREES / "pi4", root)
    made = Box(root, forks)
    yield made
    made.unit_bus.close()


@pytest.fixture
def open_box() -> Iterator[Box]:
    """A box and a copy of the code that another user can reach; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="livekeep-test-"))
    folder.chmod(0o755)
    shutil.copytree(REPOSITORY / "lib", folder / "code/lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "bin", folder / "code/bin")
    made = Box(folder / "root")
    yield made
    made.unit_bus.close()
    shutil.rmtree(folder)


@pytest.fixture
def api() -> Iterator[Web]:
    """Stands for Vimeo's API, and accepts the token."""
    with Web(lambda _request: http(200, {"scope": "private public", "user": {"name": "somebody"}})) as web:
        yield web
