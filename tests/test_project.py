"""What holds for the project as a whole: its shipped files agree with its code, and its linters are content."""

import ast
import dataclasses
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from livekeep.core import config, events
from livekeep.core.probe_results import PROBES
from tests.outside import LIBRARY, PROJECT

UNITS = PROJECT / "units"
PARTS = sorted(folder.name for folder in (LIBRARY / "livekeep").iterdir() if (folder / "__init__.py").exists())
NOT_SHIPPED = ("bin/livekeep-demo", "etc/pictures/make.py")
SKIPPED = {".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv", "build", "livekeep-demo"}


def files() -> list[Path]:
    """Every file of the project, generated ones apart; in a worktree ".git" is a file."""
    found = []
    for folder, folders, names in os.walk(PROJECT):
        folders[:] = [name for name in folders if name not in SKIPPED]
        found += [Path(folder) / name for name in names if name != ".git"]
    return sorted(path for path in found if path.is_file())


def texts() -> dict[Path, str]:
    found = {}
    for path in files():
        raw = path.read_bytes()
        if b"\0" not in raw:
            found[path.relative_to(PROJECT)] = raw.decode(errors="replace")
    return found


def tool(name: str) -> str:
    """The path of a tool, in PATH or beside this Python; its absence is a failure: a check that is skipped checks nothing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{Path(sys.executable).parent}")
    assert found, f"{name} is not installed: tests/run installs what the tests need"
    return found


def run(*command: object) -> str:
    """What a command says in the project's folder; it fails the test when it fails."""
    ran = subprocess.run([str(part) for part in command], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


# The configuration


def test_the_shipped_configuration_is_the_defaults() -> None:
    shipped = config.load(PROJECT / "etc/livekeep.toml", PROJECT / "no-drop-ins")
    assert shipped == dataclasses.replace(config.Config(), streams={"main": config.Stream()})


def test_the_shipped_configuration_names_every_key_and_no_other() -> None:
    shipped = tomllib.loads((PROJECT / "etc/livekeep.toml").read_text())
    for group in config.GROUPS:
        shipped |= {f"{group}.{name}": keys for name, keys in shipped.pop(group).items()}
    main = shipped.pop("streams")
    assert set(main) == {"main"}
    assert list(main["main"]) == [entry.name for entry in dataclasses.fields(config.Stream)]
    assert {table: set(keys) for table, keys in shipped.items()} == {
        table: {entry.name for entry in dataclasses.fields(kind) if "open" not in entry.metadata}
        for table, kind in config.TABLES.items()
    }


def test_each_key_of_the_shipped_configuration_has_its_comment() -> None:
    for block in (PROJECT / "etc/livekeep.toml").read_text().split("\n["):
        lines = block.splitlines()
        keys = [number for number, line in enumerate(lines) if re.match(r"[a-z0-9_]+ = ", line)]
        assert not keys or any(line.startswith("#") for line in [*lines[: keys[0]], f"# [{lines[0]}"]), lines[0]


# The events


def test_the_catalog_has_each_event_once_with_fields_that_it_carries() -> None:
    text = (PROJECT / "etc/livekeep.catalog").read_text()
    entries = re.split(r"^-- ", text, flags=re.MULTILINE)[1:]
    by_id = {entry.split()[0]: entry for entry in entries}
    assert len(by_id) == len(entries)
    assert set(by_id) == {event.message_id for event in events.ALL}
    for event in events.ALL:
        entry = by_id[event.message_id]
        assert re.search(r"^Subject: \S.*\nDefined-By: livekeep\n", entry, re.MULTILINE), event.name
        assert set(re.findall(r"@([A-Z_]+)@", entry)) <= {f"LIVEKEEP_{name}" for name in event.fields}, event.name
        assert len(entry.split("\n\n", 1)[1].strip()) > 40, event.name


# The parts


def imported_parts(file: Path) -> set[str]:
    """The parts of livekeep that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("livekeep.")} & set(PARTS)


SHARED = {"core": set(), "system": {"core"}, "status": {"core", "system"}}
"""What all parts share, and what that imports beside itself; every other part may import these three and itself."""


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_core_system_status_and_itself_only(part: str) -> None:
    for file in sorted((LIBRARY / "livekeep" / part).rglob("*.py")):
        assert imported_parts(file) <= {part} | SHARED.get(part, set(SHARED)), file


def test_the_poller_and_the_rest_of_the_screen_share_their_states_only() -> None:
    """The player shows what display/ knows of pictures; neither knows the poller, nor the poller them."""
    screen = LIBRARY / "livekeep/screen"
    for file in sorted(screen.rglob("*.py")):
        others = ("player", "display") if file.parent.name == "poller" else ("poller",)
        text = file.read_text()
        assert not [other for other in others if re.search(rf"\bscreen(\.| import .*\b){other}\b", text)], file


def test_core_never_logs_and_no_program_patches_the_path_for_tests() -> None:
    for file in (LIBRARY / "livekeep/core").rglob("*.py"):
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        assert file.name == "log.py" or not [call for call in calls if call.startswith(("logging.", "logger."))], file


@pytest.mark.parametrize("program", sorted((PROJECT / "bin").iterdir()), ids=lambda path: path.name)
def test_a_launcher_is_short_executable_and_isolated(program: Path) -> None:
    lines = program.read_text().splitlines()
    assert program.stat().st_mode & 0o111
    if "python3" in lines[0]:
        assert lines[0] == "#!/usr/bin/python3 -I"
        assert len(lines) < 40


@pytest.mark.parametrize("program", sorted((PROJECT / "bin").iterdir()), ids=lambda path: path.name)
def test_a_launcher_imports_what_there_is(program: Path) -> None:
    imports = re.findall(r"^from (livekeep\.[\w.]+) import (\w+)$", program.read_text(), re.MULTILINE)
    for module, name in imports:
        file = LIBRARY / f"{module.replace('.', '/')}.py"
        assert file.is_file(), module
        assert re.search(rf"^def {name}\(", file.read_text(), re.MULTILINE), f"{module}.{name}"


# The linters


def test_ruff_is_content() -> None:
    run(tool("ruff"), "check", "--no-cache", ".")
    run(tool("ruff"), "format", "--check", "--no-cache", ".")


def test_mypy_is_content() -> None:
    run(tool("mypy"), "--strict", "--no-error-summary", "--cache-dir", os.devnull)


def shell_scripts() -> list[Path]:
    return [path for path, text in texts().items() if re.match(r"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", text)]


def test_shellcheck_is_content() -> None:
    scripts = shell_scripts()
    assert {Path("install.sh"), Path("uninstall.sh")} <= set(scripts)
    run(tool("shellcheck"), "-x", *scripts)


@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh"])
def test_a_script_stops_at_its_first_fault(name: str) -> None:
    lines = (PROJECT / name).read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == 'main "$@"'


# The units


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """In a copy whose programs are there; whatever systemd says is a fault, since it exits with 0 at an unknown key."""
    copy = tmp_path / "units"
    shutil.copytree(UNITS, copy)
    for unit in copy.rglob("*"):
        if unit.is_file():
            unit.write_text(re.sub(r"/usr/(lib/livekeep/|bin/(?=livekeep))", f"{PROJECT}/bin/", unit.read_text()))
    for name in ("poller", "player", "display"):
        folder = copy / f"livekeep-{name}.service.d"
        folder.mkdir()
        shutil.copy(copy / "restart-policy.conf", folder / "restart-policy.conf")
    for template in UNITS.glob("*@.*"):
        if template.is_file():
            shutil.copy(copy / template.name, copy / template.name.replace("@.", "@livekeep-player."))
    verified = [unit for unit in sorted(copy.iterdir()) if unit.is_file() and unit.suffix != ".conf" and "@." not in unit.name]
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{copy}:", "SYSTEMD_LOG_LEVEL": "notice"}
    ran = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=yes", *verified],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # RestartMode= and RestartSteps= come with 254; bookworm's 252 passes them over.
    newer = r"Unknown key name '(RestartMode|RestartSteps|RestartMaxDelaySec)' in section 'Service', ignoring"
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if str(copy) in line or "livekeep" in line]
    assert [line for line in said if not re.search(newer, line)] == []
    assert len(verified) >= 10


@pytest.mark.parametrize("name", [name for name in PROBES if name != "speedtest"])
def test_a_probe_s_timer_ships_with_the_default_interval(name: str) -> None:
    text = (UNITS / f"livekeep-probe-{name}.timer").read_text()
    seconds = getattr(config.Probes(), name).interval_seconds
    assert f"\nOnUnitActiveSec={seconds:g}s\n" in text


# The packages


def test_each_file_of_the_checkout_belongs_to_one_package() -> None:
    """A new program, unit or folder of the library needs a line in packaging/PACKAGE/files."""
    lists = {path.parent.name: path.read_text(encoding="utf-8").splitlines() for path in (PROJECT / "packaging").glob("*/files")}
    patterns = {name: [line.split()[0] for line in lines if line and line[0] != "#"] for name, lines in lists.items()}
    wrong = {}
    for path in (file.relative_to(PROJECT) for file in files()):
        if path.parts[0] not in ("bin", "docs", "etc", "lib", "units") or str(path) in NOT_SHIPPED:
            continue
        owners = [name for name, found in patterns.items() if any(fnmatch.fnmatch(f"{path}/", f"{one}/*") for one in found)]
        if len(owners) != 1:
            wrong[str(path)] = owners
    assert wrong == {}


# All files


def test_nothing_is_left_to_do() -> None:
    mark = "TO" + "DO"
    assert [str(path) for path, text in texts().items() if mark in text or "FIX" + "ME" in text] == []


def test_no_file_knows_a_developer_s_machine() -> None:
    places = re.compile("|".join(["/wor" + "k/", "/hom" + "e/(?!anna|admin|pi\\b)[a-z]", "/Use" + "rs/"]))
    allowed = ("tests/", "docs/", "README.md")
    found = {str(path): places.findall(text) for path, text in texts().items() if places.search(text)}
    assert {path: hits for path, hits in found.items() if not path.startswith(allowed) or any("wor" in hit for hit in hits)} == {}


def test_no_service_leaves_a_core_with_its_secrets() -> None:
    """The sandbox's drop-in is that of every service whose name begins with its own, and nothing takes the limit back."""
    services = [path.name for path in (PROJECT / "units").glob("*.service")]
    assert services
    assert [name for name in services if not name.startswith("livekeep-")] == []
    limits = {
        str(path.relative_to(PROJECT)): found
        for path in sorted((PROJECT / "units").rglob("*"))
        if path.is_file() and (found := re.findall(r"^LimitCORE=.*$", path.read_text(encoding="utf-8"), re.MULTILINE))
    }
    assert limits == {"units/livekeep-.service.d/50-sandbox.conf": ["LimitCORE=0"]}
