"""Says how much of lib/ the measured processes ran, and fails below what is wanted.

python3 tests/coverage/report.py FOLDER FILE: FOLDER holds what sitecustomize.py wrote, FILE takes the lines of every module that
were not run. Prints the total and the modules that are covered worst. Exit code 1: less than WANTED_PERCENT.
"""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coverage import Coverage

PROJECT = Path(__file__).resolve().parents[2]
LIBRARY = PROJECT / "lib/livekeep"
# The same modules elsewhere: installed, copied by a test, bound into a machine.
ELSEWHERE = ("*/lib/livekeep", "*/dist-packages/livekeep")
WANTED_PERCENT = 90.0
WORST = 10


@dataclass(frozen=True)
class Module:
    """`missing` as text: the numbers of the lines that were not run."""

    name: str
    lines: int
    lines_run: int
    missing: str


def percent(modules: Sequence[Module]) -> float:
    """Of all their lines together."""
    return 100 * sum(module.lines_run for module in modules) / max(sum(module.lines for module in modules), 1)


def row(module: Module) -> str:
    return f"{percent([module]):5.1f} %  {module.lines_run:4d} of {module.lines:4d}  {module.name}"


def read(folder: Path) -> list[Module]:
    """Every module of the library, those that no process has loaded too."""
    measured = Coverage(str(folder / "process"), config_file=False, messages=False)
    measured.set_option("paths", {"library": [str(LIBRARY), *ELSEWHERE]})
    measured.set_option("report:exclude_lines", ["pragma: no cover", "if TYPE_CHECKING:"])
    with warnings.catch_warnings():
        # A process that is killed leaves half a file.
        warnings.simplefilter("ignore")
        measured.combine([str(folder)])
    modules = []
    for path in sorted(LIBRARY.rglob("*.py")):
        _, statements, _, missing, text = measured.analysis2(str(path))
        modules.append(Module(str(path.relative_to(LIBRARY)), len(statements), len(statements) - len(missing), text))
    return modules


def main() -> int:
    folder, file = map(Path, sys.argv[1:])
    modules = read(folder)
    worst = sorted(modules, key=lambda module: percent([module]) if module.lines else 100.0)
    file.write_text("".join(f"{row(module)}  {module.missing}\n" for module in worst), encoding="utf-8")
    total, lines = percent(modules), sum(module.lines for module in modules)
    print(f"\n== coverage of lib/: {total:.1f} % of {lines} lines; wanted: {WANTED_PERCENT:g} %")
    print("\n".join(row(module) for module in worst[:WORST]))
    print(f"The lines of all modules that were not run: {file}")
    return int(total < WANTED_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
