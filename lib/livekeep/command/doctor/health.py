"""The doctor's checks of the health part: each probe's last result, its requirements, and whether the exporter responds."""

import time
from functools import partial

from livekeep.command.doctor.channels import credential_faults, load
from livekeep.command.doctor.doctor_base import Check, Surroundings, Verdict, is_root
from livekeep.command.secrets.air_keys import YOUTUBE_KEY
from livekeep.core import state
from livekeep.core.config import Exporter
from livekeep.core.errors import LivekeepError
from livekeep.core.probe_results import PROBES, Run
from livekeep.core.probe_results import Verdict as Found
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.status import probe_status
from livekeep.status.health import Clock, age
from livekeep.status.probe_descriptions import description_of
from livekeep.system.http import Client, TransportError

UNITS = "/usr/lib/systemd/system"
PLACES = ("/usr/local/bin", "/usr/bin", "/bin")
VERDICTS: dict[Found, Verdict] = {"ok": "ok", "warn": "warn", "fail": "fail", "skipped": "skip"}
NOT_INSTALLED = "the health part is not installed"
EXPORTER = "livekeep-exporter.service"
ANSWER_TIMEOUT_SECONDS = 3.0
ANSWERS = (200, 503)
"""The statuses of /healthz, healthy or not. In both cases the exporter works."""


def check_youtube(around: Surroundings) -> Check:
    """YouTube's last response, and whether the API key exists if a channel sets its video."""
    title = PROBES["youtube"].TITLE
    if not around.path(f"{UNITS}/livekeep-probe-youtube.service").exists():
        return Check(title, "skip", "the health part, or the channels, are not installed")
    found = check_probe("youtube", around)
    if not around.config.probes.youtube.enabled or not is_root():
        return found
    try:
        is_named = any(channel.youtube_video for channel in load(around)[0].values())
    except LivekeepError as error:
        return Check(title, "skip", str(error))
    faults = credential_faults(around, YOUTUBE_KEY.file_name, "sudo livekeep air set-youtube-key") if is_named else ()
    return next((Check(title, "warn", finding, advice) for _verdict, finding, advice in faults), found)


def check_probe(name: str, around: Surroundings) -> Check:
    """What is missing, or else the last result."""
    title = PROBES[name].TITLE
    if not around.path(f"{UNITS}/livekeep-probe-{name}.service").exists():
        return Check(title, "skip", NOT_INSTALLED)
    if not getattr(around.config.probes, name).enabled:
        return Check(title, "skip", f"switched off by probes.{name}.enabled")
    missing, advice = description_of(name).missing(around.config.probes, partial(is_installed, around))
    return Check(title, "warn", missing, advice) if missing else last_result(around, name)


def last_result(around: Surroundings, name: str) -> Check:
    title, clock = PROBES[name].TITLE, Clock(time.time(), time.monotonic())
    try:
        found = state.read_or_error(PROBES[name], around.path("/run/livekeep"))
    except PermissionError:
        return Check(title, "skip", "only root and group livekeep may read it", "sudo livekeep doctor")
    if isinstance(found, StateAbsentError):
        return Check(title, "skip", "has not run yet")
    found = probe_status.with_interval(found, around.config.probes)
    if isinstance(found, StateBrokenError):
        return Check(title, "warn", str(found), f"sudo livekeep probe {name}")
    if probe_status.is_silent(found, clock):
        advice = f"systemctl status livekeep-probe-{name}.timer; journalctl -u livekeep-probe-{name} -n 20; sudo livekeep apply"
        return Check(title, "fail", f"silent: last run {age(found, clock)} ago", advice)
    return of_run(title, found.run)


def of_run(title: str, run: Run) -> Check:
    """The verdict of a probe's last run; a skipped run is skipped here too."""
    return Check(title, VERDICTS[run.verdict], run.reason or "nothing to complain of", run.advice)


def is_installed(around: Surroundings, program: str) -> bool:
    return any(around.path(f"{place}/{program}").exists() for place in PLACES)


def check_exporter(around: Surroundings) -> Check:
    """Whether its unit runs and it responds at the configured address."""
    settings = around.config.exporter
    if not settings.enabled:
        return Check("exporter", "skip", "switched off by exporter.enabled")
    try:
        entry = around.units(EXPORTER)[0]
    except LivekeepError as error:
        return Check("exporter", "skip", str(error))
    if entry.load == "not-found":
        return Check("exporter", "skip", NOT_INSTALLED)
    if not entry.is_active():
        return Check("exporter", "fail", f"not running ({entry.active})", f"sudo systemctl start {EXPORTER}; {journal()}")
    return ask_exporter(settings)


def ask_exporter(settings: Exporter) -> Check:
    where = f"http://{shown(settings.address)}:{settings.port}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.address, settings.address)  # noqa: S104 - asked here, not listened on
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    try:
        status = Client().get(f"http://{shown(host)}:{settings.port}/healthz", deadline, {}, {}, most_redirects=0).status
    except TransportError as error:
        return Check("exporter", "fail", f"{where} does not answer ({error})", f"sudo livekeep apply; {journal()}")
    if status not in ANSWERS:
        return Check("exporter", "fail", f"{where}/healthz answers {status}", "does another program listen there? See: ss -ltnp")
    return Check("exporter", "ok", f"{where} answers")


def shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def journal() -> str:
    return f"journalctl -u {EXPORTER} -n 20"
