"""What the documentation says agrees with the code: keys, commands, options, events, units, reasons, links."""

import argparse
import dataclasses
import errno
import json
import re
import shlex
import socket
import ssl
import subprocess
import tomllib
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livekeep.air.control import api, api_models
from livekeep.air.control.api_actions import ApiActions
from livekeep.air.storage import media
from livekeep.air.worker import publisher_end
from livekeep.air.worker.media_info import ItemFailure
from livekeep.air.worker.play_log import PlayLog
from livekeep.command.channel import channel_status
from livekeep.command.config import desktop, predecessor
from livekeep.command.doctor import doctor
from livekeep.command.doctor.doctor_base import Surroundings
from livekeep.command.main import SUBCOMMANDS, build_parser
from livekeep.core import config, events, probe_results, state
from livekeep.core.config import NAMED, Config, Stream
from livekeep.probes.youtube import measurement as youtube
from livekeep.record import wire
from livekeep.record.alerts import command as alert_command
from livekeep.record.clips import analyzer as clips_command
from livekeep.record.command import main as record_command
from livekeep.record.reports import program
from livekeep.screen.display import error_screen
from livekeep.screen.display import main as display
from livekeep.screen.player import decision
from livekeep.screen.player.decision import Choice
from livekeep.screen.poller import stream_check, transitions, vimeo
from livekeep.screen.tv import command as tv_command
from livekeep.system import certificate, http
from livekeep.system import youtube as youtube_refusals
from livekeep.system.hls import Media
from tests.outside import PROJECT

DOCUMENTS = [
    *(PROJECT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}
UNITS = {path.name for path in (PROJECT / "units").iterdir() if path.suffix != ".conf"}
TABLES: dict[str, Any] = {**config.TABLES, **{f"{table}.NAME": kind for table, kind in NAMED.items()}}
CODE = re.compile(r"^    +\S.*$|`[^`\n]+`", re.MULTILINE)
"""Code in Markdown: an indented line, or a span between backticks."""


def code_in(text: str) -> list[str]:
    return [found.strip(" `") for found in CODE.findall(text)]


ALL_CODE = [(name, piece) for name, text in DOCS.items() for piece in code_in(text)]


def section(document: str, heading: str) -> str:
    """The text below a heading, to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", DOCS[document], re.MULTILINE)
    assert found, f"{document} has no heading {heading}"
    end = re.search(rf"^#{{1,{len(found[1])}}} ", DOCS[document][found.end() :], re.MULTILINE)
    return DOCS[document][found.end() :][: end.start() if end else None]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of the tables in a text, without the headings of their columns."""
    for table in re.findall(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n?)+)", text, re.MULTILINE):
        for line in table.splitlines():
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


# The configuration


def keys_of(table: str) -> str:
    """Where the keys of a table are described."""
    return section("probes.md" if table.startswith("probes.") else "configuration.md", table)


def fields_of(kind: Any) -> dict[str, Any]:
    """The keys of a table; DAY stands for the days of the plan."""
    return {"DAY" if "open" in entry.metadata else entry.name: entry for entry in dataclasses.fields(kind)}


def key_rows(table: str) -> list[list[str]]:
    return [cells for cells in rows(keys_of(table)) if len(cells) > 3]


@pytest.mark.parametrize(("table", "kind"), TABLES.items(), ids=list(TABLES))
def test_the_reference_has_every_key_with_its_default_and_no_other(table: str, kind: Any) -> None:
    told = {cells[0].strip("`"): cells for cells in key_rows(table)}
    fields = fields_of(kind)
    assert list(told) == list(fields)
    for name, cells in told.items():
        if name == "DAY":
            assert (cells[1], fields[name].default_factory()) == ("none", {})
            continue
        default = tomllib.loads(f"it = {cells[1].strip('`')}")["it"]
        assert (tuple(default) if isinstance(default, list) else default) == fields[name].default, name
        assert type(default) is type(fields[name].default) or isinstance(default, list), name


def test_every_table_is_in_the_reference() -> None:
    told = re.findall(r"^### (.+)$", section("configuration.md", "Keys"), re.MULTILINE)
    told += re.findall(r"^### (probes\..+)$", DOCS["probes.md"], re.MULTILINE)
    assert sorted(told) == sorted([*TABLES, *config.GROUPS])


@pytest.mark.parametrize(("table", "kind"), TABLES.items(), ids=list(TABLES))
def test_the_values_of_the_reference_are_those_that_are_taken(table: str, kind: Any) -> None:
    fields = fields_of(kind)
    for key, _default, values, *_rest in key_rows(table):
        entry = fields[key.strip("`")]
        check = entry.metadata["check"]
        if found := re.match(r"([0-9.]+) to ([0-9.]+)(?:, `|$)", values):
            assert (check.low, check.high) == (float(found[1]), float(found[2])), key
        for text in re.findall(r'`"([^"]*)"`', values):
            assert check is None or check.problem(text) is None, f"{key}: {text}"
        if check and (entry.default == "" or "or empty" in values):
            assert check.problem("") is None, key


def test_the_reference_says_which_keys_of_the_screen_need_an_apply() -> None:
    forces = {cells[0].strip("`"): cells[3] for cells in rows(keys_of("screen"))}
    assert {name for name, force in forces.items() if force == "apply"} == set(desktop.TAKEN_AT_START)


def test_a_key_that_is_named_exists() -> None:
    words = re.compile(r"(?<![\w/.-])([a-z]+)\.([a-z0-9]+(?:_[a-z]+)*)\b")
    named = [(document, *found) for document, piece in ALL_CODE for found in words.findall(piece)]
    known = {(table, entry.name) for table, kind in config.TABLES.items() for entry in dataclasses.fields(kind)}
    assert len(named) > 20
    assert [it for it in named if it[1] in config.TABLES and it[1:] not in known and it[2] not in ("com", "json", "png")] == []


def test_the_examples_of_the_configuration_are_taken(tmp_path: Path) -> None:
    """Each indented block that begins with a comment which names a drop-in."""
    found = 0
    for text in DOCS.values():
        for block in re.findall(r"^    # /etc/livekeep/livekeep\.d/\S+\n((?:    .*\n|\n(?=    ))+)", text, re.MULTILINE):
            lines = [line.removeprefix("    ") for line in block.split("\n    sudo ")[0].splitlines()]
            (tmp_path / "livekeep.toml").write_text("\n".join(lines))
            config.load(tmp_path / "livekeep.toml", tmp_path / "no-drop-ins")
            found += 1
    assert found >= 4


# The command and the scripts


HANDED_OVER: dict[str, Any] = {
    "tv": tv_command.build_parser,
    "record": record_command.build_parser,
    "alert": alert_command.parser,
    "report": program.build_parser,
    "clips": clips_command.build_parser,
}
"""What builds the parser of a subcommand that has a launcher, by its name."""


def options_of(name: str) -> set[str]:
    """The options of a subcommand as its help shows them; of all its actions, when it is handed over."""
    if name in HANDED_OVER:
        return options_in(HANDED_OVER[name]())
    if name == "setup":
        done = subprocess.run([PROJECT / "bin/livekeep-setup", "--help"], capture_output=True, text=True, check=True)
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.stdout)) | {"--help"}
    subparsers = next(action for action in build_parser()._actions if action.dest == "subcommand")
    assert isinstance(subparsers.choices, dict)
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", subparsers.choices[name].format_help()))


def options_in(parser: argparse.ArgumentParser) -> set[str]:
    found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", parser.format_help()))
    for action in parser._actions:
        if isinstance(action.choices, dict):
            found = found.union(*map(options_in, action.choices.values()))
    return found


def test_every_subcommand_is_in_the_reference_with_its_options() -> None:
    overview = DOCS["command.md"].partition("\n## ")[0]
    told = {cells[0].strip("`").split()[0]: cells[1] for cells in rows(overview)}
    assert list(told) == list(SUBCOMMANDS)
    for name, options in told.items():
        assert set(re.findall(r"--[a-z-]+", options)) == options_of(name) - {"--help"}, name


def test_a_subcommand_that_is_named_exists_with_its_options() -> None:
    for document, piece in ALL_CODE:
        for name, rest in re.findall(r"(?:^|sudo |&& |\| )livekeep ([a-z][a-z-]*)([^&|;]*)", piece.split(" # ")[0]):
            assert name in SUBCOMMANDS, f"{document}: {piece}"
            assert set(re.findall(r"(?<![\w-])--[a-z-]+", rest)) <= options_of(name), f"{document}: {piece}"


SCRIPTS = [
    ("install.sh", "installer.md", "Options"),
    ("uninstall.sh", "install.md", "Uninstalling"),
    ("tests/run", "testing.md", "Testing"),
    ("packaging/image", "image.md", "Options"),
]


@pytest.mark.parametrize(("script", "reference", "heading"), SCRIPTS)
def test_every_option_of_a_script_is_told_and_no_other(script: str, reference: str, heading: str) -> None:
    ran = subprocess.run([PROJECT / script, "--help"], capture_output=True, text=True, check=True)
    existing = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ran.stdout)) | {"--help"}
    told = {cells[0].strip("`").split()[0] for cells in rows(section(reference, heading))}
    assert {name for name in told if name.startswith("--")} == existing
    for document, piece in ALL_CODE:
        for rest in re.findall(rf"(?:^|[ /]){re.escape(script)}((?: +[^#;&]+)?)", piece):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)) <= existing, f"{document}: {piece}"


def test_every_check_of_the_doctor_is_told(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, Config())
    told = [cells[0] for cells in rows(section("command.md", "doctor"))]
    probes = told.index("each [probe](probes.md)")
    told[probes : probes + 1] = [kind.TITLE for name, kind in probe_results.PROBES.items() if name != "youtube"]
    assert told == [check.name for check in doctor.examine(around)]


def test_the_packages_are_told() -> None:
    cell = next(cells[1] for cells in rows(section("installer.md", "Questions and changes")) if cells[0] == "packages")
    assert cell.partition(", and their dependencies")[0].split(", ")[1:] == list(depends_of("livekeep"))
    told = {cells[0].strip("`"): cells[3].partition(";")[0].split(", ") for cells in rows(section("installer.md", "Parts"))}
    assert told == {part: list(depends_of(f"livekeep-{part}")) for part in told}
    assert len(told) == 4


def depends_of(package: str) -> Iterator[str]:
    """What the package needs besides livekeep and what livekeep needs."""
    control = (PROJECT / "packaging" / package / "control").read_text(encoding="utf-8")
    for name in re.findall(r"^Depends: (.*)$", control, re.MULTILINE)[0].split(", "):
        if not name.startswith("livekeep ") and (package == "livekeep" or name != "python3"):
            yield name.replace(" | ", " or ")


def test_every_setting_of_the_predecessor_is_told() -> None:
    table = rows(section("migrating.md", "What becomes of the settings"))
    told = {name: cells[1] for cells in table for name in re.findall(r"`([A-Z_]+)`", cells[0])}
    assert {*predecessor.SECRETS, *predecessor.STREAM_IDS, "STREAM_SELECTION"} <= set(told)
    keys = {name: ("screen", key) for name, key in predecessor.PICTURES.items()} | predecessor.SETTINGS
    assert [name for name, (table, key) in keys.items() if table not in told[name] or key not in told[name]] == []


# The events


def test_every_event_is_told_with_its_fields() -> None:
    told = {cells[0].strip("`"): cells[1:] for cells in rows(section("journal.md", "Events")) if len(cells) == 5}
    assert list(told) == [event.name for event in events.ALL]
    for event in events.ALL:
        priority, unit, fields, _when = told[event.name]
        assert (int(priority.split()[0]), unit) == (event.priority, event.writer), event.name
        assert re.findall(r"`LIVEKEEP_([A-Z_]+)`", fields) == list(event.fields), event.name


def test_every_identity_is_told() -> None:
    told = [(cells[0].strip("`"), cells[1].strip("`")) for cells in rows(section("journal.md", "Identities"))]
    assert told == [(event.name, event.message_id) for event in events.ALL]


def test_every_state_is_told() -> None:
    kinds = (state.PollerState, state.OnAir, state.StreamUrl, state.PlayerState, state.OpenStream, state.TvState, state.TvByHand,
             state.FirstbootState)  # fmt: skip
    told = re.findall(r"^\| `/run/livekeep/(\S+\.json)` \|", DOCS["architecture.md"], re.MULTILINE)
    assert told[: len(kinds)] == [kind.FILE for kind in kinds]


def test_every_cause_is_told() -> None:
    told = [cells[0].strip("`").replace("(empty)", "") for cells in rows(section("journal.md", "Causes"))]
    assert sorted(told) == sorted(typing.get_args(state.Cause))


def test_an_event_a_field_and_an_identity_that_are_named_exist() -> None:
    suites = {"LIVEKEEP_SOAK_ROUNDS", "LIVEKEEP_SOAK_SEED", "LIVEKEEP_SOAK_SUITE", "LIVEKEEP_VM_SUITES", "LIVEKEEP_FRESH_SUITES"}
    suites |= {"LIVEKEEP_CUTS", "LIVEKEEP_CUT_SEED", "LIVEKEEP_IMAGE_ARCHITECTURES"}
    wire_fields = {wire.PROCESS, wire.SEQUENCE, wire.SENT}
    variables = {"LIVEKEEP_EVENT", "LIVEKEEP_CACHE", "LIVEKEEP_UNMEASURED", "LIVEKEEP_EVENTS", *wire_fields} | suites
    fields = {f"LIVEKEEP_{name}" for event in events.ALL for name in event.fields} | variables
    for document, piece in ALL_CODE:
        assert set(re.findall(r"\bLIVEKEEP_[A-Z_]+\b", piece)) <= fields, f"{document}: {piece}"
        assert set(re.findall(r"LIVEKEEP_EVENT=([a-z-]+)", piece)) <= {event.name for event in events.ALL}, f"{document}: {piece}"
        assert set(re.findall(r"MESSAGE_ID=([0-9a-f]+)", piece)) <= {event.message_id for event in events.ALL}, document


# On air


def test_every_kind_of_failure_is_told() -> None:
    told = {cells[0]: set(re.findall(r"`([a-z-]+)`", cells[1])) for cells in rows(section("journal.md", "Kinds of failures"))}
    publishing, storage, item = told.values()
    assert publishing == set(typing.get_args(publisher_end.Why)) - {"stopped"}
    assert storage == set(media.ERROR_TYPES)
    assert item - {"storage-failed"} == set(ItemFailure) - {"other"}
    mended = [cells[0] for cells in rows(section("troubleshooting.md", "Storage fails"))]
    assert set(re.findall(r"`([a-z-]+)`", " ".join(mended))) == set(media.ERROR_TYPES) - {"other"}


def refused(code: int) -> ssl.SSLCertVerificationError:
    """A certificate that OpenSSL does not accept, for the reason of that number."""
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "unsuitable certificate purpose"
    return error


def assert_all_told(texts: Iterable[str]) -> None:
    """Each is in italics in the troubleshooting, where a row of dots stands for anything."""
    told = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", DOCS["troubleshooting.md"])
    patterns = [re.compile(".+".join(re.escape(part) for part in text.split("…"))) for text in told]
    assert [text for text in texts if not any(pattern.fullmatch(text) for pattern in patterns)] == []


def test_every_reason_of_a_channel_is_told() -> None:
    faults = ["", *(certificate.meaning_of(refused(code)) for code in (2, 9, 10, 18, 19, 20, 21, 26, 62, 64))]
    unlike = (
        *(publisher_end.PublisherLog(has_wrong_certificate=True, certificate_fault=fault) for fault in faults),
        publisher_end.PublisherLog(has_no_name=True),
        publisher_end.PublisherLog(has_no_connection=True, cause="Connection refused"),
        publisher_end.PublisherLog(has_no_connection=True, cause="Connection timed out"),
        publisher_end.PublisherLog(connected_at=0.0, has_no_connection=True),
    )
    verdicts = [publisher_end.reason_of(log, 20.0, 1, "ingest.example:1935") for log in unlike]
    assert {why for why, _sentence in verdicts} == {"unreachable"}
    words = [word for state, word in channel_status.WORDS.items() if state != "stopping"]
    assert_all_told([PlayLog("main").slate_reason, *(sentence for _why, sentence in verdicts), *words])


def test_every_answer_of_youtube_is_told() -> None:
    refusals = {str(youtube_refusals.refusal(status, b"")) for status in (400, 401, 403, 429, 500, 503)}
    texts = [*refusals, youtube.NO_KEY, *(said for said, _advice in probe_results.NOT_SHOWN.values())]
    texts += [said for _reasons, said, _advice in youtube_refusals.REFUSALS]
    assert_all_told(texts)


def openapi() -> dict[str, Any]:
    """The API's own document; nothing is asked of systemd for it."""
    made: dict[str, Any] = api.application(ApiActions(typing.cast(Any, None))).openapi()
    return made


def test_every_endpoint_is_told_with_what_it_answers() -> None:
    answers = {}
    for path, methods in openapi()["paths"].items():
        for method, described in methods.items():
            common = set() if path == "/health" else {str(status) for status in api.ALWAYS}
            answers[f"{method.upper()} {path}"] = set(described["responses"]) - common - {"200"}
    told = {cells[0].strip("`"): set(cells[2].split(", ")) for cells in rows(section("api.md", "Endpoints"))}
    assert told == answers


def test_every_error_of_the_api_is_told() -> None:
    table = list(rows(section("api.md", "Errors")))
    assert [int(cells[0]) for cells in table] == sorted({*api.MEANINGS, 405})
    always = re.search(r"^([0-9, ]+ and [0-9]+) may come from every path", section("api.md", "Errors"), re.MULTILINE)
    assert always
    assert tuple(map(int, re.findall("[0-9]+", always[1]))) == api.ALWAYS


def curls() -> Iterator[tuple[str, str, Any]]:
    """Method, path and body of each example that asks the API."""
    for document, piece in ALL_CODE:
        if not (piece.startswith("curl ") and ":9878/" in piece):
            continue
        words = shlex.split(piece.partition(" | ")[0])
        body = words[words.index("--json") + 1] if "--json" in words else None
        method = words[words.index("-X") + 1] if "-X" in words else "GET" if body is None else "POST"
        url = next(word for word in words if word.startswith("http://127.0.0.1:9878/"))
        assert document in ("api.md", "air.md", "README.md", "troubleshooting.md")
        yield method, url.partition(":9878")[2].partition("?")[0], None if body is None else json.loads(body)


def test_the_examples_of_the_api_are_what_it_takes() -> None:
    paths = openapi()["paths"]
    bodies = {"/streams/start": api_models.StartBody, "/streams/stop": api_models.StopBody}
    asked = set()
    for method, path, body in curls():
        templates = [one for one in paths if re.fullmatch(re.sub(r"\{[a-z]+\}", "[a-z]+", one), path)]
        if path == "/openapi.json":
            continue
        assert len(templates) == 1, path
        assert method.lower() in paths[templates[0]], f"{method} {path}"
        asked.add((method, templates[0]))
        if path in bodies and body is not None:
            bodies[path](**body)
        elif method == "PUT":
            api_models.ChannelKeys.check(body)
    assert asked == {(method.upper(), path) for path, methods in paths.items() for method in methods}


# The reasons on the screen

REFUSALS = ((400, 2204), (401, 8000), (401, 3200), (403, 3200), (404, 5000), (429, 9000))
OTHERS = ((204, 0), (400, 10008), (500, 0), (503, 7900), (511, 0))
UNUSABLE = (b"<html>", b"{}", b'{"m3u8_playback_url": "file:///etc/passwd"}')


def reasons_of_vimeo() -> Iterator[str]:
    for status, code in (*REFUSALS, *OTHERS):
        yield vimeo.classify(status, {}, f'{{"error_code": {code}}}'.encode()).reason
    for body in UNUSABLE:
        yield vimeo.classify(200, {}, body).reason
    yield vimeo.scope_problem(200, {"scope": "public"})[0]  # type: ignore[index]


def reasons_of_plain_urls() -> Iterator[str]:
    answers = [stream_check.of_media(media) for media in (Media(1, 1, has_ended=True), Media(1, 0))]
    answers += [stream_check.of_status(status) for status in (403, 404, 500)]
    yield from (answer.reason for answer in answers)


def reasons_of_our_own() -> Iterator[str]:
    yield from transitions.WAITING.values()
    for stream in (Stream(), Stream(vimeo_event="1")):
        yield transitions.not_askable(stream, "", "")[1]  # type: ignore[index]
    yield decision.choose(None, 61.0, "none", Choice("holding", "")).reason
    yield decision.choose(state.PollerState(state="error"), 0.0, "none", Choice("holding", "")).reason
    yield error_screen.LINES[0]


FAULTS = (
    TimeoutError(),
    socket.gaierror(),
    ssl.SSLError(),
    ConnectionRefusedError(),
    ConnectionResetError(),
    OSError("Tunnel connection failed: 407 Proxy Authentication Required"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    ValueError(),
)
"""Why a request has no response."""


def test_every_reason_is_told() -> None:
    faults = [str(http.fault(cause, 5.0)) for cause in FAULTS]
    assert_all_told([*reasons_of_vimeo(), *reasons_of_plain_urls(), *reasons_of_our_own(), *faults])


# Hardware


def test_the_boards_are_told_as_the_code_has_them() -> None:
    told = [(cells[0], cells[1].strip("`"), int(cells[2].split()[0])) for cells in rows(section("hardware.md", "Boards"))]
    assert [(hwdec, cap) for _board, hwdec, cap in told[-2:]] == [display.BOARDS[-1][1:], display.OTHER_BOARD]
    models = {"Raspberry Pi " + board.removeprefix("Raspberry Pi "): row for row in told[:-2] for board in row[0].split(", ")}
    assert {beginning for beginning, _hwdec, _cap in display.BOARDS[:-1]} <= set(models)
    for model, (_boards, hwdec, cap) in models.items():
        assert display.tuning(config.Screen(), f"{model} Rev 1.0") == (hwdec, cap), model


# Names and links


def test_a_unit_that_is_named_exists() -> None:
    """Programs, users and folders bear the units' names."""
    stems = {name.split(".")[0].rstrip("@") for name in UNITS} | {path.name for path in (PROJECT / "bin").iterdir()}
    stems |= {path.parent.name for path in (PROJECT / "packaging").glob("*/control")}
    for document, text in DOCS.items():
        for name in re.findall(r"(?<![\w/.-])livekeep(?:-[a-z-]+)?@?\.(?:service|timer|target|slice|socket|path)\b", text):
            assert name in UNITS, f"{document}: {name}"
        for name in re.findall(r"(?<![\w/.-])livekeep-[a-z][a-z-]*(?![\w.*/-])", text):
            assert name in stems or name == "livekeep-before", f"{document}: {name}"


def test_every_unit_is_told() -> None:
    for name in {name for name in UNITS if not name.endswith(".d")}:
        assert f"`{name}`" in DOCS["architecture.md"] + DOCS["probes.md"], name


def test_a_file_of_the_source_that_is_named_exists() -> None:
    folders = r"(?<![\w/.-])(?:bin|etc|lib|units|tests|docs)/[\w./-]*\w"
    named = {(document, name) for document, piece in ALL_CODE for name in re.findall(folders, piece)}
    assert named
    assert sorted((document, name) for document, name in named if not (PROJECT / name).exists()) == []


def anchors(text: str) -> set[str]:
    """The headings' anchors as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not re.match(r"https?://", target) and not leads_somewhere(document, target)] == []


def leads_somewhere(document: Path, target: str) -> bool:
    """Whether a relative link in a document leads to a file of the project and, with an anchor, to a heading in it."""
    file, _, anchor = target.partition("#")
    path = (document.parent / file).resolve() if file else document
    is_there = path.is_file() and path.is_relative_to(PROJECT)
    return is_there and (anchor == "" or anchor in anchors(path.read_text(encoding="utf-8")))


def test_the_index_names_every_document() -> None:
    docs = PROJECT / "docs"
    for path in sorted(docs.rglob("*.md")):
        assert path.name == "index.md" or f"]({path.relative_to(docs)})" in DOCS["index.md"], path.name
    assert "](docs/index.md)" in DOCS["README.md"]


def test_each_document_has_a_name_of_its_own() -> None:
    """The tests find a document by its name alone."""
    assert len(DOCS) == len(DOCUMENTS)


# The threat model


def test_each_line_of_the_threat_model_names_tests_that_exist() -> None:
    modules = (path.read_text(encoding="utf-8") for path in sorted((PROJECT / "tests").rglob("test_*.py")))
    defined = {name for text in modules for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    table = list(rows(section("SECURITY.md", "Threat model")))
    assert len(table) >= 10
    for compromised, _reaches, _not, held in table:
        named = re.findall(r"`(test_\w+)`", held)
        assert named, f"no test holds the line of {compromised}"
        assert set(named) <= defined, compromised


def test_make_calls_what_is_there() -> None:
    recipes = re.findall(r"^\t([\w./-]+)", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipes
    assert [recipe for recipe in recipes if not (PROJECT / recipe).is_file()] == []
