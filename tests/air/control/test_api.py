"""The API's paths: real FastAPI and uvicorn, a stand-in for systemd, channels in a tree of the test's own."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from livekeep.air.control.api_models import ChannelKeys
from livekeep.core import channels, config
from livekeep.core.config import Channel
from tests.air.running_controller import CONFIG, TOKEN, Machine, Running, machine

KEYS: dict[str, Any] = {"media": "/srv/lectures", "ingest_urls": ["rtmps://ingest.example/live2"]}
UNIT = "livekeep-worker@main.service"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Running]]:
    with machine(tmp_path_factory.mktemp("api")) as made, made.controller() as running:
        yield made, running


@pytest.fixture
def at(shared: tuple[Machine, Running]) -> Iterator[Machine]:
    made, running = shared
    made.tell()
    made.configure(CONFIG)
    yield made
    made.tell()
    for name in ("main", "lectures", "other", "gone"):
        running.ask("POST", "/streams/stop", {"channel": name})
        running.ask("DELETE", f"/channels/{name}")
    made.tell(force={f"livekeep-worker@{name}.service": ["inactive", "dead"] for name in ("main", "lectures", "gone")})
    running.ask("GET", "/streams/status")
    for file in (*made.root.glob("run/livekeep/worker@*"), *made.directory.iterdir()):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    made.calls()


@pytest.fixture
def api(shared: tuple[Machine, Running], at: Machine) -> Running:
    assert at is shared[0]
    return shared[1]


def test_start_and_stop_record_the_intention_and_ask_systemd(at: Machine, api: Running) -> None:
    assert api.ask("POST", "/streams/stop").status == 404
    started = api.ask("POST", "/streams/start", {"channel": "main"})
    assert started.status == 200
    assert (started.document["unit"]["active"], started.document["intended"]) == ("active", True)
    assert not started.document["on_air"], "a worker that says nothing is not on air"
    assert at.intended() == ("main",)
    again = api.ask("POST", "/streams/start")
    assert (again.status, again.error["type"], again.error["field"]) == (409, "already-running", "channel")
    stopped = api.ask("POST", "/streams/stop", {"channel": "main"})
    assert (stopped.status, stopped.document["unit"]["active"], stopped.document["intended"]) == (200, "inactive", False)
    assert at.intended() == ()
    retry = UNIT.replace("worker@", "worker-retry@").replace(".service", ".timer")
    forgiven = f"reset-failed {UNIT}"
    assert at.calls() == [forgiven, f"start {UNIT} inactive", f"stop {retry} inactive", f"stop {UNIT} active", forgiven]


def test_without_a_name_the_only_channel_is_meant(at: Machine, api: Running) -> None:
    assert api.ask("POST", "/streams/start", {}).document["channel"] == "main"
    assert api.ask("PUT", "/channels/lectures", KEYS).status == 201
    for path in ("start", "stop"):
        unnamed, unknown = api.ask("POST", f"/streams/{path}", {}), api.ask("POST", f"/streams/{path}", {"channel": "nobody"})
        assert (unnamed.status, unnamed.error["field"]) == (422, "channel")
        assert (unknown.status, unknown.error["type"], unknown.error["field"]) == (404, "unknown-channel", "channel")
        for refused in (unnamed, unknown):
            assert "the configured channels are lectures, main" in refused.error["message"]
    at.configure("")
    assert api.ask("DELETE", "/channels/lectures").status == 204
    none = api.ask("POST", "/streams/start", {})
    assert (none.status, none.error["field"]) == (422, "channel")
    assert "PUT /channels" in none.error["message"]


def test_a_worker_that_ends_at_once_gives_the_reason_and_stays_intended(at: Machine, api: Running) -> None:
    at.tell(outcomes={UNIT: {"result": "failed", "exit_status": 78}})
    refused = api.ask("POST", "/streams/start")
    assert (refused.status, refused.error["type"]) == (424, "not-started")
    assert "its configuration or its stream key is missing or wrong" in refused.error["message"]
    assert "livekeep air check main" in refused.error["message"]
    assert at.intended() == ("main",)
    (status,) = api.ask("GET", "/streams/status").document["channels"]
    assert status["last_end"]["exit_status"] == "78"
    assert status["unit"]["exit_status"] == 78
    assert any("does not run" in problem for problem in status["problems"])
    assert api.ask("GET", "/health").document["status"] == "degraded"
    at.tell()
    at.calls()
    assert api.ask("POST", "/streams/start").status == 200
    assert at.calls() == [f"reset-failed {UNIT}", f"start {UNIT} inactive"]


def test_a_channel_that_waits_for_a_retry_can_be_stopped(at: Machine, api: Running) -> None:
    at.tell(outcomes={UNIT: {"result": "failed", "exit_status": 69}})
    assert "refused the stream" in api.ask("POST", "/streams/start").error["message"]
    assert api.ask("POST", "/streams/stop").status == 200
    assert at.intended() == ()
    assert api.ask("GET", "/health").document["status"] == "ok"


def status_of(api: Running) -> dict[str, Any]:
    (status,) = api.ask("GET", "/streams/status?channel=main").document["channels"]
    assert isinstance(status, dict)
    return status


def test_the_status_contains_the_worker_s_state(at: Machine, api: Running) -> None:
    assert api.ask("POST", "/streams/start").status == 200
    at.write_state(acknowledged_bytes=12345)
    status = status_of(api)
    assert (status["on_air"], status["configured_by"], status["problems"]) == (True, "livekeep.toml", [])
    assert status["state"]["acknowledged_bytes"] == 12345
    assert api.ask("GET", "/health").document["status"] == "ok"
    at.write_state(publishing="refused", reason="The ingest refuses the stream.", storage_problem="The bucket is gone.")
    status = status_of(api)
    assert (status["on_air"], status["problems"]) == (False, ["The ingest refuses the stream.", "The bucket is gone."])
    at.write_state()
    (at.root / "run/livekeep/worker@main/state.json").write_text('{"file": ')
    status = status_of(api)
    assert status["state"] is None
    assert "is not a state" in status["problems"][0]
    assert api.ask("GET", "/streams/main/items").document["now"] is None
    at.write_state()
    at.tell(force={UNIT: ["failed", "failed"]})
    status = status_of(api)
    assert (status["on_air"], status["state"], status["unit"]["active"]) == (False, None, "failed"), "a worker that was killed"


def test_items_and_skip(at: Machine, api: Running) -> None:
    nothing = {"picture": None, "now": None, "next": None, "last": []}
    assert api.ask("GET", "/streams/main/items").document == {"channel": "main", "running": False} | nothing
    assert api.ask("POST", "/streams/main/skip").status == 409
    assert api.ask("POST", "/streams/start").status == 200
    at.write_state()
    assert api.ask("GET", "/streams/main/items").document["now"]["name"] == "one.mp4"
    skipped = api.ask("POST", "/streams/main/skip").document
    assert (skipped["skipped"]["name"], skipped["next"]["name"]) == ("one.mp4", "two.mp4")
    assert at.calls()[-1] == f"kill {UNIT} main 10"
    at.tell(force={UNIT: ["activating", "start"]})
    assert api.ask("POST", "/streams/main/skip").status == 409, "a worker that starts would die of the signal"
    assert api.ask("POST", "/streams/nobody/skip").status == api.ask("GET", "/streams/nobody/items").status == 404


def test_channels_of_the_api(at: Machine, api: Running) -> None:
    assert api.ask("PUT", "/channels/lectures", KEYS | {"width": 640, "height": 360}).status == 201
    replaced = api.ask("PUT", "/channels/lectures", KEYS)
    assert (replaced.status, replaced.document["configured_by"], replaced.document["config"]["width"]) == (200, "api", 1280)
    found = api.ask("GET", "/channels").document["channels"]
    assert [(one["channel"], one["configured_by"]) for one in found] == [("lectures", "api"), ("main", "livekeep.toml")]
    assert json.loads((at.directory / "lectures.json").read_text()) == KEYS
    assert api.ask("POST", "/streams/start", {"channel": "lectures"}).status == 200
    assert api.ask("DELETE", "/channels/lectures").status == 409
    assert api.ask("POST", "/streams/stop", {"channel": "lectures"}).status == 200
    assert api.ask("DELETE", "/channels/lectures").status == 204
    assert api.ask("DELETE", "/channels/lectures").status == 404
    for method, body in (("PUT", KEYS), ("DELETE", None)):
        refused = api.ask(method, "/channels/main", body)
        assert (refused.status, refused.error["type"]) == (409, "configured-elsewhere")


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (KEYS | {"ingest_urls": ["rtmp://thief.example/live"]}, "ingest_urls"),
        (KEYS | {"ingest_urls": [*KEYS["ingest_urls"], "rtmp://ingest.example.thief.example/live"]}, "ingest_urls"),
        (KEYS | {"media": "/srv/lectures-of-others"}, "media"),
        (KEYS | {"media": "/srv/lectures/../private"}, "media"),
        (KEYS | {"media": "s3://bucket"}, "media"),
        (KEYS | {"media": "s3://bucket/live-private"}, "media"),
    ],
)
def test_the_token_reaches_no_further_than_the_configuration_lets_it(
    at: Machine, api: Running, keys: dict[str, Any], field: str
) -> None:
    limits = '[controller]\nallowed_ingests = ["Ingest.example"]\nallowed_media = ["/srv/lectures", "s3://bucket/live/"]\n'
    with at.configured(limits):
        for method, path, body in (
            ("PUT", "/channels/lectures", keys),
            ("POST", "/streams/start", {"channel": "lectures", "stream_config": keys}),
        ):
            refused = api.ask(method, path, body)
            assert (refused.status, refused.error["type"], refused.error["field"]) == (403, "not-allowed", field)
        assert not (at.directory / "lectures.json").exists()
        for good in ({}, {"media": "/srv/lectures/2026"}, {"media": "s3://bucket/live"}, {"media": "s3://bucket/live/a"}):
            assert api.ask("PUT", "/channels/lectures", KEYS | good).status in (200, 201)
        # What was written there by other means is no channel either: for no worker, and not for the storage.
        (at.directory / "lectures.json").write_text(json.dumps(keys))
        found, problems = channels.load(config.load(at.root / "etc/livekeep/livekeep.toml", at.root / "absent"), at.directory)
        assert (found, len(problems)) == ({}, 1)
        assert f"lectures.json: {field}: " in problems[0]


def test_a_start_may_bring_its_channel(at: Machine, api: Running) -> None:
    body = {"channel": "lectures", "stream_config": KEYS}
    assert api.ask("POST", "/streams/start", body).document["configured_by"] == "api"
    assert at.intended() == ("lectures",)
    body["stream_config"] = KEYS | {"media": "/srv/other"}
    assert api.ask("POST", "/streams/start", body).status == 409
    assert "/srv/lectures" in (at.directory / "lectures.json").read_text(), "a refused start must change nothing"
    assert api.ask("POST", "/streams/start", {"channel": "main", "stream_config": KEYS}).status == 409
    assert at.intended() == ("lectures",)


def test_a_broken_file_of_the_api_can_be_deleted(at: Machine, api: Running) -> None:
    (at.directory / "gone.json").write_text("{")
    assert api.ask("GET", "/health").document["status"] == "degraded"
    assert api.ask("DELETE", "/channels/gone").status == 204
    assert api.ask("GET", "/health").document["status"] == "ok"


def test_a_deleted_channel_is_not_tried_again(at: Machine, api: Running) -> None:
    """The timer that is set when a worker gave up looks at the intention no more."""
    worker, retry = "livekeep-worker@lectures.service", "livekeep-worker-retry@lectures.timer"
    assert api.ask("POST", "/streams/start", {"channel": "lectures", "stream_config": KEYS}).status == 200
    at.tell(force={worker: ["failed", "failed"], retry: ["active", "waiting"]})
    at.calls()
    assert api.ask("DELETE", "/channels/lectures").status == 204
    at.tell()
    assert at.calls() == [f"stop {retry} active", f"stop {worker} failed", f"reset-failed {worker}"]
    assert at.intended() == ()
    assert not list(at.directory.iterdir())


def test_a_file_behind_livekeep_toml_is_deleted_without_harm(at: Machine, api: Running) -> None:
    assert api.ask("POST", "/streams/start").status == 200
    at.tell(force={UNIT: ["failed", "failed"]})
    (at.directory / "main.json").write_text("{}")
    at.calls()
    assert api.ask("DELETE", "/channels/main").status == 204
    assert (at.calls(), at.intended()) == ([], ("main",))


def test_a_channel_that_is_gone_from_the_configuration_can_be_stopped(at: Machine, api: Running) -> None:
    assert api.ask("POST", "/streams/start").status == 200
    at.configure("")
    (status,) = api.ask("GET", "/streams/status").document["channels"]
    assert (status["configured_by"], status["problems"]) == (None, ["it is no longer configured"])
    assert api.ask("POST", "/streams/stop", {"channel": "main"}).status == 200
    assert api.ask("GET", "/streams/status").document["channels"] == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/streams/start", {"channel": "Main"}, "channel"),
        ("/streams/start", {"chanel": "main"}, "chanel"),
        ("/streams/start", {"channel": "x", "stream_config": {"width": 641}}, "stream_config.width"),
        ("/streams/start", {"channel": "x", "stream_config": {"colour": 1}}, "stream_config.colour"),
        ("/streams/start", {"stream_config": {"loop": 1}}, "stream_config.loop"),
        ("/streams/Upper/skip", None, "channel"),
        ("/streams/start", b"[]", None),
        ("/streams/start", b"{", None),
        ("/streams/start", b'{"channel": NaN}', None),
        ("/streams/start", b'{"channel": "main", "channel": "main"}', None),
        ("/streams/start", b'{"channel": "\\ud800"}', None),
        ("/streams/start", b'{"channel": "\xff"}', None),
        ("/streams/start", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, None),
        ("/streams/start", b'{"channel": ' + b"9" * 5000 + b"}", None),
    ],
)
def test_bad_input_names_its_field(at: Machine, api: Running, path: str, body: object, field: str | None) -> None:
    answer = api.ask("POST", path, body)
    assert (answer.status, answer.error["type"], answer.error.get("field")) == (422, "invalid", field), answer.raw
    assert "/" not in answer.error["message"].partition("known are")[0]
    assert at.calls() == []


def test_bad_keys_of_a_channel_name_their_field(at: Machine, api: Running) -> None:
    answer = api.ask("PUT", "/channels/lectures", KEYS | {"ingest_urls": ["http://ingest.example/a-secret"]})
    assert (answer.status, answer.error["field"]) == (422, "ingest_urls")
    assert b"a-secret" not in answer.raw
    assert api.ask("PUT", "/channels/lectures", KEYS | {"ingest_urls": ""}).error["field"] == "ingest_urls"
    assert api.ask("PUT", "/channels/a.b", KEYS).error["field"] == "channel"
    assert not list(at.directory.iterdir())


def test_no_key_in_any_answer(at: Machine, api: Running) -> None:
    answers = [api.ask("GET", "/channels"), api.ask("POST", "/streams/start"), api.ask("GET", "/streams/status")]
    assert "rtmps://backup.example:443/app/…" in answers[0].document["channels"][0]["config"]["ingest_urls"]
    told = b"".join(answer.raw for answer in answers) + at.log.read_bytes()
    for secret in (b"a-key-that-should-not-be-here", b"more=secret", TOKEN.encode()):
        assert secret not in told


def test_the_schema_says_what_is_taken() -> None:
    """Each bound that programs are told is where core begins to refuse."""
    assert set(ChannelKeys.SCHEMA["properties"]) == set(channels.as_document(Channel()))
    for name, told in ChannelKeys.SCHEMA["properties"].items():
        channels.decode({name: told["default"]} if "default" in told else {})
        if "minimum" in told:
            step = 2 if told["type"] == "integer" else 0.25
            for good, bad in ((told["minimum"], told["minimum"] - step), (told["maximum"], told["maximum"] + step)):
                channels.decode({name: good})
                with pytest.raises(ValueError, match=name):
                    channels.decode({name: bad})
        for choice in told.get("enum", []):
            channels.decode({name: choice})
        if "enum" in told:
            with pytest.raises(ValueError, match=" ".join(told["enum"][:1])) as refusal:
                channels.decode({name: "none of them"})
            assert all(f'"{choice}"' in str(refusal.value) for choice in told["enum"])
            assert str(refusal.value).count('"') == 2 * len(told["enum"]) + 2


def test_many_requests_at_once_make_one_worker(at: Machine, api: Running) -> None:
    at.tell(outcomes={f"livekeep-worker@{name}.service": {"seconds": 0.002} for name in ("main", "lectures")})
    assert api.ask("PUT", "/channels/lectures", KEYS).status == 201
    requests = [
        ("POST", "/streams/start", {"channel": "main"}),
        ("POST", "/streams/stop", {"channel": "main"}),
        ("POST", "/streams/start", {"channel": "lectures"}),
        ("GET", "/streams/status", None),
    ]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: api.ask(*requests[number % len(requests)]), range(160)))
    counted = Counter(answer.status for answer in answers)
    assert set(counted) <= {200, 404, 409}, counted
    starts = [call for call in at.calls() if call.startswith("start")]
    assert starts
    assert all(call.endswith(" inactive") for call in starts), "a worker was started while one ran"
    assert sum("lectures" in call for call in starts) == 1


def test_what_systemd_does_not_answer_is_503(at: Machine, api: Running) -> None:
    at.tell(refuse="org.freedesktop.DBus.Error.InteractiveAuthorizationRequired")
    answer = api.ask("POST", "/streams/start")
    assert (answer.status, answer.error["type"]) == (503, "systemd")
    assert "polkit refuses ResetFailedUnit" in answer.error["message"]
    assert answer.headers["retry-after"]
    assert at.intended() == ("main",), "the operator said so, and the next boot tries again"


def test_a_disk_that_takes_nothing_is_507(at: Machine, api: Running) -> None:
    at.directory.rename(at.directory.with_name("away"))
    try:
        at.directory.write_text("in the way")
        answer = api.ask("PUT", "/channels/lectures", KEYS)
        assert (answer.status, answer.error["type"]) == (507, "storage")
        assert api.ask("POST", "/streams/start").status == 507
        assert at.calls() == [], "nothing may run that would not be there after a reboot"
    finally:
        at.directory.unlink()
        at.directory.with_name("away").rename(at.directory)


def test_methods_and_paths_that_are_not_there(at: Machine, api: Running) -> None:
    for method in ("OPTIONS", "TRACE", "GET", "PATCH"):
        answer = api.ask(method, "/channels/main")
        assert (answer.status, answer.headers["allow"], answer.error["type"]) == (405, "DELETE, PUT", "unknown-method")
    assert api.ask("POST", "/health").headers["allow"] == "GET, HEAD"
    assert api.ask("GET", "/nothing").error["type"] == "unknown-path"
    assert api.ask("GET", "/channels/").status == 404
    head = api.ask("HEAD", "/health")
    assert (head.status, head.raw, int(head.headers["content-length"]) > 10) == (200, b"", True)
    assert at.calls() == []


def test_the_published_document(at: Machine, api: Running) -> None:
    document = api.ask("GET", "/openapi.json", token=None).document
    assert at.root.name not in json.dumps(document["info"])
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in operations)
    assert [path for path, there in document["paths"].items() if not any(one.get("security") for one in there.values())] == [
        "/health"
    ]
    for path in ("/docs", "/redoc"):
        assert api.ask("GET", path).status == 404, "it would load scripts from elsewhere"
