"""The units as systemd knows them, asked and told through systemctl(1)."""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from livekeep.core.errors import LivekeepError
from livekeep.core.probe_results import PROBES

SERVICES = (
    "livekeep-poller.service",
    "livekeep-display.service",
    "livekeep-player.service",
    "livekeep-error-screen.service",
)
HEALTH_UNITS = (
    "livekeep-exporter.service",
    *(f"livekeep-probe-{name}.timer" for name in PROBES),
)
"""Those of the health part, which need not be installed."""
RECORD_UNITS = (
    "livekeep-recorder.service",
    "livekeep-alerter.service",
    "livekeep-web.socket",
    "livekeep-web.service",
    "livekeep-tidy.timer",
    "livekeep-report@daily.timer",
    "livekeep-report@weekly.timer",
    "livekeep-clips.timer",
)
"""Those of the record part."""
TARGET = "livekeep.target"
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NRestarts",
    "Result",
    "StateChangeTimestampMonotonic",
)
TIMEOUT_SECONDS = 10
ACTION_TIMEOUT_SECONDS = 120
"""A restart waits for the old process to end and the new one to be ready."""


@dataclass(frozen=True)
class Unit:
    """A unit as `systemctl show` tells of it. `changed_monotonic` is 0 when its state never changed since boot."""

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""
    restarts: int = 0
    result: str = ""
    changed_monotonic: float = 0.0

    def is_active(self) -> bool:
        return self.active in ("active", "reloading", "refreshing", "activating")


def worker(channel: str) -> str:
    """The unit that keeps `channel` on air."""
    return f"livekeep-worker@{channel}.service"


def retry(channel: str) -> str:
    """The timer that starts it again after it gave up."""
    return f"livekeep-worker-retry@{channel}.timer"


def show(names: Sequence[str] = SERVICES) -> tuple[Unit, ...]:
    """The units in the order of `names`, by one call. Raises `LivekeepError` when systemd cannot be asked."""
    output = call(["show", "--no-pager", f"--property={','.join(PROPERTIES)}", "--", *names], TIMEOUT_SECONDS)
    found = {unit.name: unit for unit in parse(output)}
    return tuple(found.get(name, Unit(name)) for name in names)


def parse(output: str) -> list[Unit]:
    """The blocks of `systemctl show`: lines NAME=VALUE, an empty line between two units."""
    return [
        unit_of(dict(line.partition("=")[::2] for line in block.splitlines())) for block in output.split("\n\n") if block.strip()
    ]


def unit_of(values: dict[str, str]) -> Unit:
    return Unit(
        name=values.get("Id", ""),
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState", ""),
        restarts=number(values.get("NRestarts", "")),
        result=values.get("Result", ""),
        changed_monotonic=number(values.get("StateChangeTimestampMonotonic", "")) / 1e6,
    )


def number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def tell(verb: str, *names: str) -> None:
    """Run `systemctl VERB NAME…`. Raises `LivekeepError` with what systemctl says."""
    call([verb, *names], ACTION_TIMEOUT_SECONDS)


def forgive(name: str) -> None:
    """Forget a unit's failure, and the starts that its policy has counted; a unit that systemd has not in mind has neither."""
    with contextlib.suppress(LivekeepError):
        tell("reset-failed", name)


def is_running(name: str) -> bool:
    """Whether a unit is active; not, where systemd does not run or cannot be asked."""
    try:
        return show([name])[0].is_active()
    except LivekeepError:
        return False


def restart_if_running(name: str) -> bool:
    """Restart a unit that runs; give whether it did. A restart on purpose must not use up the starts that its policy allows."""
    if not is_running(name):
        return False
    tell("reset-failed", name)
    tell("try-restart", name)
    return True


def call(arguments: list[str], timeout_seconds: float) -> str:
    command = ["systemctl", *arguments]
    line = "systemctl show" if arguments[0] == "show" else " ".join(command)
    try:
        # A pager or colours would wait for a person or stand between the values.
        environment = {**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "LC_ALL": "C"}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise LivekeepError(f"{line}: there is no systemctl here; livekeep's units need systemd") from error
    except OSError as error:
        raise LivekeepError(f"{line}: cannot be run ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise LivekeepError(f"{line}: no answer within {timeout_seconds:g} s; see systemctl list-jobs") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise LivekeepError(f"{line}: {said[0]}")
    return done.stdout
