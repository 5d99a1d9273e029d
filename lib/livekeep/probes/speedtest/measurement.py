"""Measures the connection's speed: livekeep-probe-speedtest.service, about once a day at a random time.

Reads poller's and player's state, so that it never takes the stream's bandwidth: with --may-run (the unit's ExecCondition=) it
only checks whether a test may run now, and a stream that starts during a test ends it. Writes probe-speedtest/state.json.
"""

import os
from dataclasses import asdict, replace
from typing import Any

from livekeep.core import config, state
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import SpeedtestResult, StreamResult
from livekeep.core.state import PlayerState, PollerState, StateAbsentError
from livekeep.probes import runner
from livekeep.probes.runner import Judgement
from livekeep.probes.speedtest import tools
from livekeep.probes.speedtest.tools import Measurement
from livekeep.probes.speedtest.transfer import Used
from livekeep.system.background import CalledOffError

QUIET_BEFORE_START_SECONDS = 15 * 60.0
EARLY_SHARE = 0.5
EARLIEST_SECONDS = 600.0
"""A test is due a little before its interval is over: the timer is not exact."""
NEEDED_TIMES_BANDWIDTH = 1.5
"""A multiple of the stream's highest declared bandwidth: with less, the player cannot refill its cache."""
DOCTOR = "run: sudo livekeep doctor"


def is_due(previous: SpeedtestResult, interval_seconds: float, now: float) -> bool:
    """Whether the last test, successful or failed, is long enough ago; a skipped one used no data and does not count."""
    tests = [previous.measured_at or 0.0]
    if previous.run.verdict != "skipped":
        tests.append(previous.run.last_run)
    age = now - max(tests)
    return age < 0 or age >= interval_seconds - min(EARLY_SHARE * interval_seconds, EARLIEST_SECONDS)


def reason_to_wait(
    poller: PollerState | TemporaryError, player: PlayerState | TemporaryError, now: float, quiet_seconds: float
) -> str:
    """Why a test would disturb the stream, or "". An unreadable state is passed as its error."""
    if isinstance(player, PlayerState) and player.picture == "stream":
        return "the stream is on the screen"
    if isinstance(poller, StateAbsentError):
        # No poller runs: there is no stream to disturb.
        return ""
    if isinstance(poller, TemporaryError):
        return f"it is unknown whether the stream is live: {poller}"
    if poller.state in ("live", "starting"):
        return "the stream is live" if poller.state == "live" else "the stream is about to start"
    if poller.next_start is not None and 0 <= poller.next_start - now <= quiet_seconds:
        return f"the stream starts in {(poller.next_start - now) / 60:.0f} min"
    return ""


def megabits(bits_per_second: float) -> str:
    value = bits_per_second / 1e6
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def judge(found: Measurement, bandwidth_bits_per_second: int | None) -> Judgement:
    """The verdict on a measurement, compared with the stream's bandwidth if known."""
    words = [f"{megabits(found.download_bytes_per_second * 8)} Mbit/s down"]
    if found.upload_bytes_per_second is not None:
        words.append(f"{megabits(found.upload_bytes_per_second * 8)} up")
    if found.latency_seconds is not None:
        words.append(f"{found.latency_seconds * 1000:.3g} ms")
    needed = NEEDED_TIMES_BANDWIDTH * (bandwidth_bits_per_second or 0)
    if found.download_bytes_per_second * 8 >= needed:
        return Judgement("ok", ", ".join(words))
    words.append(f"too slow for the stream, which needs {megabits(needed)} Mbit/s at its best quality")
    return Judgement("warn", ", ".join(words), "ask for a faster line, use a cable, or lower screen.max_bitrate")


def read(kind: type[state.AnyState]) -> state.AnyState | TemporaryError:
    try:
        return state.read(kind)
    except TemporaryError as error:
        return error


def reason_now(now: float, quiet_seconds: float = 0.0) -> str:
    return reason_to_wait(read(PollerState), read(PlayerState), now, quiet_seconds)


def measure(settings: Config, previous: SpeedtestResult, now: float) -> tuple[SpeedtestResult, Judgement]:
    """One test. If it fails, the last measurement stays."""
    if reason := reason_now(now, QUIET_BEFORE_START_SECONDS):
        return previous, Judgement("skipped", reason)
    used = Used()
    changes: dict[str, Any] = {}
    try:
        found = tools.measure(settings.probes.speedtest, settings.vimeo.proxy, used, lambda: reason_now(now))
        changes = {"measured_at": now, **asdict(found)}
        stream = read(StreamResult)
        judgement = judge(found, stream.variant_bandwidth_bits_per_second if isinstance(stream, StreamResult) else None)
    except tools.NoToolError as error:
        judgement = Judgement("skipped", str(error), error.advice)
    except CalledOffError as error:
        judgement = Judgement("skipped", f"the test was cancelled: {error}")
    except tools.MeasureError as error:
        judgement = Judgement("fail", str(error), DOCTOR)
    changes["received_bytes_total"] = previous.received_bytes_total + used.received_bytes
    changes["sent_bytes_total"] = previous.sent_bytes_total + used.sent_bytes
    return replace(previous, **changes), judgement


def may_run(now: float) -> bool:
    """Whether a test may run now; a test that is due but may not run is recorded as skipped."""
    # systemd sets it when the timer starts the unit. A manual start requests a test now.
    if "TRIGGER_UNIT" in os.environ:
        settings, _problems = config.load_leniently()
        if not is_due(runner.last_result(SpeedtestResult), settings.probes.speedtest.interval_seconds, now):
            return False
    reason = reason_now(now, QUIET_BEFORE_START_SECONDS)
    if reason:
        skipped = Judgement("skipped", reason)
        runner.run_once(SpeedtestResult, lambda _settings, previous, _now: (previous, skipped))
    return not reason
