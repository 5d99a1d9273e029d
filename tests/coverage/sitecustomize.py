"""Notes which lines of livekeep a Python process runs.

For a run of all tests tests/run mounts it over Debian's own sitecustomize.py, which every Python loads at its start, `python3 -I`
too; tests/machine/coverage.py does so in a machine. Writes one file for each process to /mnt/coverage, which a report is made
of afterwards; without that folder it does nothing. What a process that is killed has run is not known. A test that asks how
quick a program is, or what it loads, starts it with LIVEKEEP_UNMEASURED in its environment.
"""

import os
import sys

FOLDER = "/mnt/coverage"
MODULES = tuple(f"*/{place}/livekeep/{name}" for place in ("lib", "dist-packages") for name in ("__init__.py", "*/*.py"))


def measure() -> None:
    try:
        from coverage import Coverage
    except ImportError:  # the Python of a venv
        return
    measured = Coverage(f"{FOLDER}/process", data_suffix=True, auto_data=True, config_file=False, include=MODULES)
    # livekeep's own programs are run isolated; the tests' have handlers of their own, which must find none before them.
    measured.set_option("run:sigterm", bool(sys.flags.isolated))
    measured.set_option("run:disable_warnings", ["no-data-collected", "no-ctracer"])
    measured.start()
    leave_process = os._exit

    def leave(status: int) -> None:
        measured.save()
        leave_process(status)

    def watch(event: str, _arguments: tuple[object, ...]) -> None:
        if event == "os.exec":
            measured.save()

    # Two ends that Python's own atexit does not see.
    os._exit = leave  # type: ignore[assignment]
    sys.addaudithook(watch)


if "LIVEKEEP_UNMEASURED" not in os.environ and os.access(FOLDER, os.W_OK):
    measure()
