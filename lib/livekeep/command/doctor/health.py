"""The doctor's checks of the health part: each probe's last result, its requirements, and whether the exporter responds."""

import time

from livekeep.command.doctor.channels import credential_faults, load
from livekeep.command.doctor.doctor_base import Result, Surroundings, Verdict, is_root
from livekeep.command.secrets.air_keys import YOUTUBE_KEY
from livekeep.core import probe_results, state
from livekeep.core.probe_results import PROBES
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.status import probe_status
from livekeep.status.health import Clock, age
from livekeep.status.probe_descriptions import description_of
from livekeep.system.http import Client, TransportError

PLACES = ("/usr/local/bin", "/usr/bin", "/bin")
VERDICTS: dict[probe_results.Verdict, Verdict] = {"ok": "ok", "warn": "warn", "fail": "fail", "skipped": "skip"}
EXPORTER = "livekeep-exporter.service"
ANSWER_TIMEOUT_SECONDS = 3.0
ANSWERS = (200, 503)
"""The statuses of /healthz, healthy or not. In both cases the exporter works."""


def check_youtube(around: Surroundings) -> Result:
    """YouTube's last response, and whether the API key exists if a channel sets its video."""
    if not around.is_installed("livekeep-probe-youtube.service"):
        return Result("skip", "the air part is not installed (install.sh --with air)")
    last = check_probe("youtube", around)
    if not around.config.probes.youtube.enabled or not is_root():
        return last
    if not any(channel.youtube_video for channel in load(around)[0].values()):
        return last
    fault = next(credential_faults(around, YOUTUBE_KEY.file_name, "sudo livekeep air set-youtube-key"), None)
    return fault._replace(verdict="warn") if fault else last


def check_probe(name: str, around: Surroundings) -> Result:
    """What is missing, or else the last result."""
    if not getattr(around.config.probes, name).enabled:
        return Result("skip", f"disabled by probes.{name}.enabled")
    missing, advice = description_of(name).missing(
        around.config.probes, lambda program: any(around.path(f"{place}/{program}").exists() for place in PLACES)
    )
    return Result("warn", missing, advice) if missing else last_result(around, name)


def last_result(around: Surroundings, name: str) -> Result:
    clock = Clock(time.time(), time.monotonic())
    last = state.read_or_error(PROBES[name], around.path("/run/livekeep"))
    if isinstance(last, StateAbsentError):
        return Result("skip", "has not run yet")
    last = probe_status.with_interval(last, around.config.probes)
    if isinstance(last, StateBrokenError):
        return Result("warn", str(last), f"sudo livekeep probe {name}")
    if probe_status.is_silent(last, clock):
        advice = f"systemctl status livekeep-probe-{name}.timer; journalctl -u livekeep-probe-{name} -n 20; sudo livekeep apply"
        return Result("fail", f"silent: last run {age(last, clock)} ago", advice)
    return Result(VERDICTS[last.run.verdict], last.run.reason or "no problem found", last.run.advice)


def check_exporter(around: Surroundings) -> Result:
    """Whether its unit runs and it responds at the configured address."""
    settings, journal = around.config.exporter, f"journalctl -u {EXPORTER} -n 20"
    if not settings.enabled:
        return Result("skip", "disabled by exporter.enabled")
    unit = around.units(EXPORTER)[0]
    if not unit.is_active():
        return Result("fail", f"not running ({unit.active})", f"sudo systemctl start {EXPORTER}; {journal}")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.address, settings.address)  # noqa: S104 - asked here, not listened on
    where, asked = (f"http://{f'[{it}]' if ':' in it else it}:{settings.port}" for it in (settings.address, host))
    try:
        deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
        status = Client().get(f"{asked}/healthz", deadline, {}, {}, most_redirects=0).status
    except TransportError as error:
        return Result("fail", f"{where} does not answer ({error})", f"sudo livekeep apply; {journal}")
    if status not in ANSWERS:
        return Result("fail", f"{where}/healthz answers {status}", "does another program listen there? See: ss -ltnp")
    return Result("ok", f"{where} answers")
