"""livekeep-worker@CHANNEL: keeps one channel on air, from its media to its ingest, over one connection.

Reads the configuration (channels, storage), the credential livekeep.stream-key, and the channel's media. Writes
/run/livekeep/worker@CHANNEL/state.json and events; makes the slate in its cache. SIGUSR1 skips the current item. SIGTERM
disconnects cleanly, within ten seconds. Exit codes: 78 for a fault that a person must fix, 69 after three refusals by the ingest.

One loop: the scheduler (what plays) fills the relay (one timeline), and the uplink (where to) empties it.
"""

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence

from livekeep.air.storage.library import open_library
from livekeep.air.storage.media import is_bucket
from livekeep.air.worker import ffmpeg, flv
from livekeep.air.worker.ingest_address import Address, preset_of
from livekeep.air.worker.item import Item
from livekeep.air.worker.relay import Relay
from livekeep.air.worker.scan import Scans
from livekeep.air.worker.scheduler import Scheduler
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy
from livekeep.air.worker.slate import make_slate
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.air.worker.uplink import Uplink
from livekeep.core import channels, config, log, paths, state
from livekeep.core.channels import ChannelState
from livekeep.core.config import CHANNEL_NAME, Channel, Config
from livekeep.core.errors import ConfigError, TemporaryError
from livekeep.core.service import Service
from livekeep.system import credentials

logger = logging.getLogger("livekeep.worker")

KEY_NAME = "livekeep.stream-key"
INGEST_NAME = "livekeep.stream-ingest"
LEAST_WAIT_SECONDS = 0.02
"""Between two passes of the relay: sends several tags together."""
SCHEDULE_SECONDS = 0.1
"""Between two passes of the scheduler, unless an event needs one sooner."""
CHECK_SECONDS = 0.2
"""Between two checks for changes of the state."""
STATE_SECONDS = 2.0
SPEED_SECONDS = 10.0
USAGE = "usage: livekeep-worker CHANNEL"


class Worker:
    """The loop of one channel."""

    def __init__(self, service: Service, name: str, scheduler: Scheduler, uplink: Uplink, relay: Relay[Item]) -> None:
        self._service, self._name = service, name
        self._scheduler, self._uplink, self._relay = scheduler, uplink, relay
        self._root = channels.folder_of(name)
        self._started_at = time.time()
        self._next_schedule = self._next_check = self._next_state = 0.0
        self._written: ChannelState | None = None
        self._write_failed = False
        self._wants_skip = False
        self._speeds: deque[tuple[float, float]] = deque()

    def skip(self) -> None:
        """Skip the current item in the next pass, as the operator requested."""
        self._wants_skip = True
        self._service.wake()

    def one_pass(self, now: float) -> float:
        if self._wants_skip:
            self._wants_skip = False
            self._scheduler.skip()
        wanted = self._uplink.one_pass(now)
        if self._relay.changes or now >= self._next_schedule:
            self._next_schedule = min(self._scheduler.one_pass(now), now + SCHEDULE_SECONDS)
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._report(now)
        return max(min(wanted, self._next_schedule, self._next_check), now + LEAST_WAIT_SECONDS)

    def stop(self) -> None:
        """Disconnect cleanly, reporting `stopping` meanwhile."""
        self._uplink.publishing = "stopping"
        self._report(time.monotonic())
        self._uplink.stop(time.sleep)
        self._scheduler.stop()

    def _report(self, now: float) -> None:
        """Write the state when it changes, and every two seconds for its metrics."""
        fresh = self._state()
        if self._written and now < self._next_state and without_figures(fresh) == without_figures(self._written):
            return
        self._speeds.append((now, self._relay.media_seconds))
        while now - self._speeds[0][0] > SPEED_SECONDS + STATE_SECONDS:
            self._speeds.popleft()
        began, media_seconds = self._speeds[0]
        if now - began >= SPEED_SECONDS - STATE_SECONDS:
            speed = (self._relay.media_seconds - media_seconds) / (now - began)
            fresh = dataclasses.replace(fresh, speed=round(speed, 3))
        self._written = state.stamped(fresh)
        self._next_state = now + STATE_SECONDS
        shown = fresh.now.name if fresh.picture == "item" and fresh.now else f"slate ({fresh.slate_reason})"
        self._service.status(f"{fresh.publishing}: {shown}{f'. {fresh.reason}' if fresh.reason else ''}")
        try:
            state.write(self._written, self._root)
            self._write_failed = False
        except TemporaryError as error:
            if not self._write_failed:
                logger.error("%s", error)  # noqa: TRY400 – the sentence says it all
            self._write_failed = True

    def _state(self) -> ChannelState:
        play_log, uplink, relay = self._scheduler.play_log, self._uplink, self._relay
        return ChannelState(
            channel=self._name,
            pid=os.getpid(),
            started_at=self._started_at,
            publishing=uplink.publishing,
            since=uplink.since,
            reason=uplink.reason,
            advice=uplink.advice,
            error_type=uplink.error_type,
            retry_count=uplink.retry_count,
            next_retry=uplink.next_retry,
            last_health_check=uplink.last_check,
            ingest=uplink.ingest,
            is_backup=uplink.is_backup,
            connected_since=uplink.connected_since,
            acknowledged_bytes=uplink.acknowledged_bytes,
            last_acknowledged_monotonic=uplink.last_acknowledged_monotonic,
            picture="item" if relay.current else "slate",
            slate_reason="" if relay.current else play_log.slate_reason,
            slate_problem=play_log.slate_problem,
            now=self._scheduler.present(),
            next=play_log.next,
            last=play_log.last,
            items_known=play_log.items_known,
            storage_problem=play_log.storage_problem,
            items_played=play_log.items_played,
            items_short=play_log.items_short,
            items_failed=play_log.items_failed,
            items_skipped=play_log.items_skipped,
            slates=play_log.slates,
            slate_seconds=round(relay.slate_seconds, 3),
            connections=uplink.connections,
            refusals=uplink.refusals,
            timeline_seconds=round(relay.media_seconds, 3),
            drift_seconds=round(relay.drift_seconds, 3),
        )


def without_figures(channel_state: ChannelState) -> ChannelState:
    """The part of the state whose changes are written immediately."""
    return dataclasses.replace(
        channel_state,
        written_at=0.0,
        written_monotonic=0.0,
        last_health_check=0.0,
        acknowledged_bytes=0,
        last_acknowledged_monotonic=None,
        now=channel_state.now and dataclasses.replace(channel_state.now, played_seconds=0.0),
        slate_seconds=0.0,
        timeline_seconds=0.0,
        drift_seconds=0.0,
        speed=None,
    )


def channel_of(settings: Config, problems: Sequence[str], name: str) -> Channel:
    """The channel's configuration, checked as far as the start needs; `problems` are those of the whole configuration.

    Logs the problems of other channels. Raises `ConfigError` for its own, and for those of the storage that it plays from.
    """
    configured, more = channels.load(settings)
    tables = [f"channels.{name}"]
    if name in configured and is_bucket(configured[name].media):
        tables.append("storage")
    own = [problem for problem in problems if config.concerns(problem, *tables)]
    for problem in problems:
        if problem not in own:
            logger.warning("%s", problem)
    if own:
        raise ConfigError(own)
    if name not in configured:
        about = [problem for problem in more if f"/{name}.json" in problem]
        raise ConfigError(about or [f"{channels.NEW_FILE}: channels.{name}: there is no such channel; add [channels.{name}]"])
    channel = configured[name]
    missing = [key for key in ("media", "ingest_urls") if not getattr(channel, key)]
    if missing:
        raise ConfigError([f"{channels.place_of(name)}: channels.{name}.{key}: is not set" for key in missing])
    return channel


def stream_key(settings: Config, channel: Channel, name: str) -> str:
    """The channel's stream key, from the unit's credentials.

    Raises `ConfigError`, also when the key was stored for servers other than the channel's, or when one of the ingests can't be
    used: now, not hours later when a backup is first used.
    """
    where = f"{paths.CREDENTIAL_STORE}/{KEY_NAME}.{name}"
    try:
        key = credentials.read_key(KEY_NAME)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{where}: cannot be read, or is not text; run: sudo livekeep air set-key {name}"]) from error
    except ValueError as error:
        raise ConfigError([f"{where}: contains more than a stream key; run: sudo livekeep air set-key {name}"]) from error
    if not key:
        raise ConfigError([f"{where}: there is no stream key; run: sudo livekeep air set-key {name}"])
    stored_for = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        stored_for = credentials.read_text(INGEST_NAME)
    if fault := channels.key_fault(name, channel, settings, stored_for):
        raise ConfigError([f"{paths.CREDENTIAL_STORE}/{INGEST_NAME}.{name}: {fault}"])
    for url in channel.ingest_urls:
        preset_of(Address.parse(url), key)
    return key


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM. Raises `ConfigError`, and `GivenUpError` (exit 69)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Begins near the wrap of the timeline, which otherwise takes 24 days to reach.
    first_ms = int(arguments.pop()[len("--first-ms=") :]) if arguments and arguments[-1].startswith("--first-ms=") else 0
    if len(arguments) != 1 or not CHANNEL_NAME.fullmatch(arguments[0]):
        print(USAGE, file=sys.stderr)
        return 2
    name = arguments[0]
    settings, problems = config.load_leniently()
    log.set_up(settings.log.level)
    channel = channel_of(settings, problems, name)
    key = stream_key(settings, channel, name)
    made = make_slate(channel, channels.cache_of(name))
    frame_ms = 1000 / channel.frame_rate
    relay: Relay[Item] = Relay(SlateLoop(made.content, frame_ms), frame_ms, flv.metadata(channel))
    if not ffmpeg.has_landlock():
        logger.info("Decoders may read what this worker may: kernel or setpriv has no Landlock (Debian trixie has)")
    service = Service()
    proxy = SignedUrlProxy(library := open_library(channel.media, channel.extensions, settings.storage.timeout_seconds))
    scans = Scans(channels.cache_of(name) / "scans")
    scans.tidy()
    scheduler = Scheduler(service, relay, name, channel, library, proxy, scans)
    scheduler.play_log.note_slate(made.problem)
    worker = Worker(service, name, scheduler, Uplink(service, relay, name, channel, key, first_ms), relay)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: worker.skip())
    service.run(worker.one_pass, lambda: log.set_up(config.load_leniently()[0].log.level))
    worker.stop()
    return 0
