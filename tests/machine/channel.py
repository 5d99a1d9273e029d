"""A room for channels: a booted machine with livekeep's air part and no screen, a folder of clips, and the ingest at the far end.

The machine has a separate network; the ingest listens on its loopback. All packages are already installed for `install.sh`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tests.machine import layer, root
from tests.machine.channel_clips import COLOURS, clips
from tests.machine.channel_ingest import ChannelIngest
from tests.machine.health_part import Answer
from tests.machine.machine import Machine, MachineError, wait_for
from tests.machine.network import Network
from tests.machine.screen import DROP_IN, SPEED_TESTS, Settings, Tables, merged, toml
from tests.machine.standin import PROJECT
from tests.machine.tidy import Disposable

T = TypeVar("T")

OPTIONS = ("--with", "air", "--without", "screen")
STORAGE_SOCKET, CONTROLLER_SOCKET = "livekeep-storage.socket", "livekeep-controller.socket"
STORAGE, CONTROLLER, BOOT = "livekeep-storage.service", "livekeep-controller.service", "livekeep-air.service"
AIR_UNITS = (STORAGE_SOCKET, CONTROLLER_SOCKET, BOOT)
MEDIA, INTENTIONS, CREDENTIALS = "/srv/media", "/var/lib/livekeep/channels", "/etc/credstore"
STREAM_KEY = "abcd-1234-efgh-5678-made-up"
API = "http://127.0.0.1:9878"
SOON_SECONDS = 45.0
"""The longest time for anything on a busy machine."""
# Run in the machine: method, URL, headers, body.
FETCH = """
import base64, json, sys, urllib.error, urllib.request
method, url, headers, body = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body.encode() or None, headers, method=method), timeout=60)
except urllib.error.HTTPError as error:
    answer = error
fields = {name.lower(): value for name, value in answer.headers.items()}
print(json.dumps([answer.status, fields, base64.b64encode(answer.read()).decode()]))
"""


def worker(channel: str = "main") -> str:
    """The unit of the channel's worker."""
    return f"livekeep-worker@{channel}.service"


def packages_of(suite: root.Suite) -> tuple[str, ...]:
    """The packages that install.sh --with air --without screen would install."""
    return (*root.needed_by("health", "air"), SPEED_TESTS[suite])


class ChannelRoom(Disposable):
    """One room. Its channel "main" plays the clips of /srv/media to the ingest, where its stream is called STREAM_KEY."""

    def __init__(
        self,
        suite: root.Suite,
        *,
        bare: bool = False,
        outside: bool = False,
        install: bool = True,
        kept: bool = False,
        more_packages: Sequence[str] = (),
    ) -> None:
        """Nothing is made yet.

        `bare`: without packages and on the host's network; `outside`: the ingest is beyond a cable; `kept`: boot the cached
        result of install.sh that all rooms share, instead of running it here.
        """
        super().__init__()
        self.suite = suite
        self.network = Network(outside=outside)
        self.ingest = ChannelIngest(self.network)
        packages = () if bare else (*packages_of(suite), *more_packages)
        self.machine = Machine(suite, packages=packages, network="host" if bare else self.network, source=PROJECT)
        self._parts: tuple[Disposable, ...] = (self.machine,) if bare else (self.network, self.ingest, self.machine)
        self._bare, self._install, self._kept = bare, install, kept

    def _make(self) -> None:
        for part in self._parts:
            if part is self.machine and self._kept:
                files = {DROP_IN: toml(self.settings())}
                self.machine.layer = layer.installed(self.suite, self.machine.packages, OPTIONS, files)
                self.machine.files = files
            self._stack.enter_context(part)
        if not self._bare:
            self.machine.copy_in(clips(), MEDIA)
            self.write_config()
            self.store("livekeep.stream-key.main", STREAM_KEY)
        if self._install and not self._kept:
            self.install()

    # Installing and configuring

    def install(self, *options: str, check: bool = True) -> str:
        """Run install.sh for a machine without a screen as an administrator would, from the home directory; return its output."""
        command = ["env", "--chdir=/root", "/src/install.sh", "--yes", *(options or OPTIONS)]
        done = self.machine.run(command, timeout=600, check=check)
        return done.stdout + done.stderr

    def settings(self) -> Settings:
        """The base configuration of every test: faster than the defaults, so that the tests are, too."""
        return {
            "channels.main": {
                "media": MEDIA,
                "ingest_urls": [self.ingest.url],
                "rescan_seconds": 2.0,
                "preset": "ultrafast",
            },
            # The room has no internet.
            "probes.network": {"hosts": ["127.0.0.1"]},
        }

    def write_config(self, changes: Tables | None = None) -> None:
        """Write the drop-in; a worker applies it at its next start, storage and controller when they restart."""
        self.machine.write(DROP_IN, toml(merged(self.settings(), changes or {})))

    def store(self, name: str, text: str) -> None:
        """Store a credential as root's file."""
        self.machine.write(f"{CREDENTIALS}/{name}", f"{text}\n", 0o600)

    # The channel

    def livekeep(self, *arguments: str, check: bool = False) -> str:
        """Return output and errors of the `livekeep` command."""
        done = self.machine.run(["livekeep", *arguments], check=check, timeout=120)
        return done.stdout + done.stderr

    def goes_on_air(self, channel: str = "main") -> None:
        """Put it on air like an operator, and wait until the ingest accepts it."""
        self.livekeep("air", "start", channel, check=True)
        self.is_on_air(channel)

    def goes_off(self, channel: str = "main") -> None:
        """Take it off the air like an operator."""
        self.livekeep("air", "stop", channel, check=True)

    def is_on_air(self, channel: str = "main", within: float = SOON_SECONDS) -> dict[str, Any]:
        """Wait until the worker reports that the ingest accepts the stream; return the state."""

        def found() -> dict[str, Any]:
            state = self.state(channel)
            return state if state.get("publishing") == "on-air" else {}

        return self.until(f"{channel} is on air", found, within)

    def state(self, channel: str = "main") -> dict[str, Any]:
        """The worker's state; empty when it does not run."""
        return self._json(f"/run/livekeep/worker@{channel}/state.json")

    def end(self, channel: str = "main") -> dict[str, Any]:
        """How it last ended; empty when it never ended."""
        return self._json(f"/run/livekeep/worker@{channel}/end.json")

    def is_intended(self, channel: str = "main") -> bool:
        """Whether it is marked as intended to be on air."""
        return self.machine.exists(f"{INTENTIONS}/{channel}.on-air")

    def colour(self, name: str = STREAM_KEY) -> str:
        """The name of the clip whose colour a viewer of the stream sees now; "other" for a slate or a change."""
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", f"{self.ingest.url}/{name}", "-frames:v", "1"]
        command += ["-vf", "scale=1:1:flags=area,format=rgb24", "-f", "rawvideo", "pipe:1"]
        done = subprocess.run(self.network.in_servers(command), check=True, capture_output=True, timeout=SOON_SECONDS)
        return nearest(done.stdout)

    # The API

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The controller's response. `token` None is the right one, "" none at all."""
        fields = dict(headers or {})
        if token is None:
            token = self.machine.read(f"{CREDENTIALS}/livekeep.api-token").strip()
        if token:
            fields["Authorization"] = f"Bearer {token}"
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        text = "" if body is None else json.dumps(body)
        command = ["python3", "-c", FETCH, method, f"{API}{path}", json.dumps(fields), text]
        status, found, content = json.loads(self.machine.run(command, timeout=90).stdout)
        return Answer(status, found, base64.b64decode(content))

    # Helpers for tests

    def until(self, what: str, holds: Callable[[], T], within: float = SOON_SECONDS) -> T:
        """Wait until `holds()` is true, and return that; a failure shows diagnostics."""
        with self._explained(what):
            return wait_for(holds, within, 0.2)

    def property(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.machine.unit_property(unit, name)

    def report(self) -> str:
        """The diagnostics after a failure."""
        units = self.machine.systemctl("list-units", "--all", "--no-legend", "--plain", "livekeep*").stdout
        journal = self.machine.journal(None, "--lines=60", "--unit=livekeep*")
        return f"state: {self.state()}\nend: {self.end()}\n{units}\n{journal}"

    def _json(self, path: str) -> dict[str, Any]:
        done = self.machine.run(["cat", path], check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 and done.stdout else {}
        return found

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise MachineError(f"not so: {what}; {error}\n{self.report()}") from error


def nearest(pixel: bytes, limit: int = 60) -> str:
    """The clip with the colour nearest to this one (red, green, blue)."""

    def distance(name: str) -> int:
        wanted = bytes.fromhex(COLOURS[name].removeprefix("0x"))
        return max(abs(one - other) for one, other in zip(pixel, wanted, strict=True))

    name = min(COLOURS, key=distance)
    return name if distance(name) < limit else "other"
