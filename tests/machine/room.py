"""What all rooms have in common: a booted machine with livekeep installed, its configuration, and helpers for tests."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from tests.machine import layer, root
from tests.machine.costs import pss_megabytes
from tests.machine.machine import Machine, MachineError, wait_for
from tests.machine.network import Network
from tests.machine.standin import PROJECT
from tests.machine.tidy import Disposable

T = TypeVar("T")
Tables = Mapping[str, Mapping[str, Any]]
Settings = dict[str, dict[str, Any]]

DROP_IN = "/etc/livekeep/livekeep.d/50-test.toml"
SOON_SECONDS = 45.0
"""The longest time for anything when nothing is known to slow it: the processor is shared."""
CLIENTS = 8
CERTIFICATE = "/root/livekeep.crt"
# Run in the machine: requests [method, URL, headers, body] on standard input, several at a time; responses on standard output.
FETCH = f"""
import base64, concurrent.futures, json, sys, urllib.error, urllib.request
def fetch(request):
    method, url, headers, body = request
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, body and body.encode(), headers, method=method), timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        return 0, {{}}, base64.b64encode(str(error).encode()).decode()
    fields = {{name.lower(): value for name, value in answer.headers.items()}}
    return answer.status, fields, base64.b64encode(answer.read()).decode()
with concurrent.futures.ThreadPoolExecutor({CLIENTS}) as threads:
    print(json.dumps(list(threads.map(fetch, json.load(sys.stdin)))))
"""


class Answer(NamedTuple):
    """One HTTP response; `headers` by lower-case name; status 0 without a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def fetch_all(machine: Machine, urls: Sequence[str], headers: Mapping[str, str] | None = None) -> list[Answer]:
    """The responses to clients in the machine, several at a time."""
    return _fetched(machine, [("GET", url, dict(headers or {}), None) for url in urls])


def fetch(
    machine: Machine, url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: str | None = None
) -> Answer:
    """The response to a client in the machine."""
    return _fetched(machine, [(method, url, dict(headers or {}), body)])[0]


def _fetched(machine: Machine, requests: Sequence[object]) -> list[Answer]:
    environment = {"SSL_CERT_FILE": CERTIFICATE}
    done = machine.run(["python3", "-c", FETCH], input=json.dumps(requests), timeout=180, env=environment)
    return [Answer(status, fields, base64.b64decode(body)) for status, fields, body in json.loads(done.stdout)]


def figures_of(text: str) -> dict[str, float]:
    """The values of a scrape by name and labels as written: `livekeep_display_mode{mode="stream"}`."""
    figures = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            assert series not in figures
            figures[series] = float(value)
    return figures


def figures(machine: Machine) -> dict[str, float]:
    """The values of one scrape of the machine's exporter."""
    answer = fetch(machine, "http://127.0.0.1:9877/metrics")
    assert answer.status == 200
    return figures_of(answer.text)


def toml(tables: Tables) -> str:
    """Tables of plain values as TOML: JSON's notation of texts, numbers, booleans and lists is also TOML's."""
    lines = []
    for name, keys in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def merged(base: Tables, changes: Tables) -> Settings:
    """`base` with the keys of `changes` in their tables."""
    names = [*base, *(name for name in changes if name not in base)]
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in names}


def lines_with(text: str, wanted: Collection[str]) -> list[str]:
    """The lines of `text` that contain one of these, which nobody may see."""
    return [line[:300] for line in text.splitlines() if any(secret in line for secret in wanted)]


class Room(Disposable):
    """A machine in a network of its own, with stand-ins (`parts`) that start before it."""

    options: ClassVar[tuple[str, ...]] = ()
    """Of install.sh."""

    def __init__(
        self, suite: root.Suite, packages: Sequence[str], *, bare: bool = False, outside: bool = False, install: bool = True,
        kept: bool = False,
    ) -> None:  # fmt: skip
        """Nothing is made yet.

        `bare`: without packages and on the host's network; `outside`: the internet is beyond a cable; `kept`: boot the cached
        result of install.sh that all rooms share, instead of running it here.
        """
        super().__init__()
        self.suite = suite
        self.network = Network(outside=outside)
        self.machine = Machine(suite, packages=() if bare else packages, network="host" if bare else self.network, source=PROJECT)
        self.parts: list[Disposable] = [] if bare else [self.network]
        self._bare, self._install, self._kept = bare, install, kept

    def _make(self) -> None:
        for part in self.parts:
            self._stack.enter_context(part)
        if self._kept:
            self._lay()
        self._stack.enter_context(self.machine)
        self._prepare()
        if self._install and not self._kept:
            self.install(*self.options)

    def _lay(self) -> None:
        """Boot the cached result of install.sh."""
        self.machine.files = {DROP_IN: toml(self.settings())}
        self.machine.layer = layer.installed(self.suite, self.machine.packages, self.options, self.machine.files)

    def _prepare(self) -> None:
        """What the booted machine needs before an installation."""
        self.write_config()

    def install(self, *options: str, check: bool = True) -> str:
        """Run install.sh with --yes as an administrator would, from the home directory; return its output."""
        command = ["env", "--chdir=/root", "/src/install.sh", "--yes", *options]
        done = self.machine.run(command, timeout=600, check=check)
        return done.stdout + done.stderr

    # Configuration

    def settings(self) -> Settings:
        """The base configuration of every test: faster than the defaults, so that the tests are, too."""
        # The room has no internet.
        return {"probes.network": {"hosts": ["127.0.0.1"]}}

    def write_config(self, changes: Tables | None = None) -> None:
        """Write the drop-in; no service is notified, though some notice each write."""
        self.machine.write(DROP_IN, toml(merged(self.settings(), changes or {})))

    # What a test asks

    def livekeep(self, *arguments: str, check: bool = False) -> str:
        """Return output and errors of the `livekeep` command."""
        done = self.machine.run(["livekeep", *arguments], check=check, timeout=120)
        return done.stdout + done.stderr

    def json_of(self, path: str) -> dict[str, Any]:
        """A file below /run/livekeep; empty when it is absent."""
        done = self.machine.run(["cat", f"/run/livekeep/{path}"], check=False)
        state: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 and done.stdout else {}
        return state

    def property(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.machine.unit_property(unit, name)

    def figures(self) -> dict[str, float]:
        """The values of one scrape of the exporter."""
        return figures(self.machine)

    def until(self, what: str, holds: Callable[[], T], within: float = SOON_SECONDS) -> T:
        """Wait until `holds()` is true, and return that; a failure shows diagnostics."""
        with self._explained(f"not so: {what}"):
            return wait_for(holds, within, 0.2)

    def main_pid(self, unit: str) -> int:
        """The pid inside the machine; 0 when it does not run."""
        return int(self.property(unit, "MainPID") or 0)

    def signal(self, unit: str, number: signal.Signals) -> int:
        """Send a signal to a unit's main process; its pid inside the machine."""
        pid = self.machine.main_pid(unit)
        os.kill(pid.host, number)
        return pid.inside

    def is_renewed(self, unit: str, old: int, within: float = SOON_SECONDS) -> None:
        """Wait until the unit is active in another process."""
        self.until(
            f"{unit} runs in another process",
            lambda: self.main_pid(unit) not in (0, old) and self.property(unit, "ActiveState") == "active",
            within,
        )

    def memory_megabytes(self, unit: str) -> float:
        """The proportional set size of a unit's main process."""
        return pss_megabytes(self.machine.main_pid(unit).host)

    def descriptors(self, unit: str) -> int:
        """How many files a unit's main process has open."""
        return len(list(Path(f"/proc/{self.machine.main_pid(unit).host}/fd").iterdir()))

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise MachineError(f"{what}; {error}\n{self.report()}") from error

    def report(self) -> str:
        """The diagnostics after a failure."""
        units = self.machine.systemctl("list-units", "--all", "--no-legend", "--plain", "livekeep*").stdout
        return f"{units}\n{self.machine.journal(None, '--lines=60', '--unit=livekeep*')}"
