"""The library needs only Python's standard library, and costs nothing until it is used."""

import subprocess
import sys
import tomllib

import pytest

from livekeep import record
from tests.outside import LIBRARY, PATIENCE_SECONDS, PROJECT


def python(code: str, *options: str) -> str:
    prepared = f"import sys; sys.path.insert(0, {str(LIBRARY)!r}); {code}"
    done = subprocess.run(
        [sys.executable, "-I", *options, "-c", prepared],
        env={"LIVEKEEP_UNMEASURED": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_needs_nothing_but_the_standard_library() -> None:
    """Without any package folder, like in a bare virtual environment."""
    names = ", ".join(record.__all__)
    loaded = python(f"from livekeep.record import {names}; print(*sys.modules)", "-S").split()
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"livekeep", "__main__"}
    assert {name for name in foreign if not name.startswith("_")} == set()
    parts = {name.split(".")[1] for name in loaded if name.startswith("livekeep.")}
    assert parts == {"core", "record"}
    assert not {"rich", "requests", "systemd", "asyncio", "multiprocessing"} & set(loaded)


def test_pip_brings_nothing_else_and_the_types() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dependencies"] == []
    assert (LIBRARY / "livekeep/py.typed").exists()
    assert project["tool"]["setuptools"]["package-data"] == {"livekeep": ["py.typed"]}


def test_a_program_that_asks_for_no_name_imports_no_library() -> None:
    assert "livekeep.record.instrument" not in python("import livekeep.record, livekeep.record.wire; print(*sys.modules)").split()


def test_the_names_are_the_library_s_own() -> None:
    from livekeep.record import instrument

    assert sorted(record.__all__) == sorted(instrument.__all__)
    assert all(getattr(record, name) is getattr(instrument, name) for name in record.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        record.nothing  # noqa: B018


def test_an_import_starts_no_thread_and_opens_nothing() -> None:
    code = "import os, threading; before = os.listdir('/proc/self/fd'); from livekeep.record import session"
    assert python(f"{code}; print(threading.active_count(), os.listdir('/proc/self/fd') == before)") == "1 True\n"
