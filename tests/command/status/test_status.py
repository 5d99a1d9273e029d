"""livekeep status: the text for people, the document for programs, and what stands there when something is missing."""

import json
import re
import subprocess
import time

from livekeep.core import state
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.core.probe_results import HostResult, NetworkResult, Run, SpeedtestResult
from livekeep.core.state import Playback, PlayerState, PollerState, TvState
from livekeep.system import terminal
from tests.command.air_box import on_air
from tests.command.box import Box


def fill(box: Box, age_seconds: float = 0.0) -> None:
    now = time.time()
    playback = Playback(
        position_seconds=100.0, position_changed_at=now, cache_duration_seconds=4.4, input_bytes_per_second=250_000.0,
        frame_rate_hertz=25.0, width_pixels=1280, height_pixels=720, video_codec="h264", hwdec="v4l2m2m-copy",
        dropped_by_decoder=1, dropped_by_output=12, stalls=2, stalled_seconds=9.5, starts=3, failed_starts=1,
    )  # fmt: skip
    poller = PollerState(
        "live", reason="The event is live", since=now - 200, selected="main", kind="vimeo_event", last_success=now - 80,
        next_start=now + 86400 * 30, next_request_monotonic=time.monotonic() + 160,
    )  # fmt: skip
    player = PlayerState("stream", now - 190, "The stream is live", display_up=True, playback=playback, display_restarts=1)
    box.write(poller, player, age_seconds=age_seconds)
    box.start_units()


def test_says_why_the_owner_s_picture_is_not_on_the_tv(box: Box) -> None:
    problem = "/srv/hall.jpg: cannot be shown; is it a picture, and whole? Copy it again"
    box.write(PollerState("offline"), PlayerState("holding", time.time(), display_up=True, picture_problems=(problem,)))
    box.start_units()
    assert row(box.run("status").stdout, "Picture") == f"{problem} (another one is shown instead)"


def row(text: str, name: str) -> str:
    return next(line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(name))


def test_tells_what_is_shown_since_when_and_why(box: Box) -> None:
    fill(box)
    done = box.run("status")
    assert done.returncode == 0
    assert done.stdout.startswith("ok: the stream is shown: The stream is live\n")
    assert row(done.stdout, "Screen").startswith("the stream since ")
    assert row(done.stdout, "Screen").endswith("(for 3 min)")
    assert row(done.stdout, "Why") == "The stream is live"
    assert row(done.stdout, "Stream").startswith('live "main" (vimeo_event) since ')
    assert row(done.stdout, "Playback") == (
        "position moving, 1280x720, 25 frames/s, h264, decoded by v4l2m2m-copy, 2.0 Mbit/s, 4 s cached"
    )
    assert row(done.stdout, "Counted") == (
        "1 frames dropped by the decoder, 12 by the output; 2 stalls (10 s); 3 starts, 1 failed; 1 display restarts"
    )
    assert row(done.stdout, "Asked") == "last good answer 1 min ago; asks again in 2 min"
    assert row(done.stdout, "Next start").startswith("20")


def test_tells_that_the_tv_is_off_on_purpose(box: Box) -> None:
    plan, until = "the plan (daily 08:00-22:00)", time.time() + 10 * 86400
    off = TvState(is_wanted=False, reason=plan, until=until, method="cec")
    box.write(PollerState("offline"), PlayerState("none", time.time(), display_up=False), off)
    box.start_units()
    moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(until))
    text = box.run("status").stdout
    expected = f"off on purpose until {moment} (switched off over HDMI-CEC): {plan}"
    assert text.startswith(f"ok: the TV is {expected}\n")
    assert row(text, "TV") == expected
    document = json.loads(box.run("status", "--json").stdout)
    assert (document["is_off_on_purpose"], document["tv"]["method"], document["health"]["level"]) == (True, "cec", "ok")


def test_tells_what_to_do_about_a_tv_that_does_not_obey(box: Box) -> None:
    now = time.time()
    fault = TvState(reason="the plan (daily)", until=now + 10 * 86400, problem="the TV is mute", advice="Switch on CEC")
    box.write(PollerState("offline"), PlayerState("holding", now, display_up=True), fault)
    box.start_units()
    done = box.run("status")
    assert done.stdout.startswith("degraded: the holding picture is shown, but the TV is mute\n")
    assert row(done.stdout, "TV fault") == "the TV is mute"
    assert row(done.stdout, "Do") == "Switch on CEC"
    box.write(TvState(is_wanted=False, until=now - 3600))
    assert box.run("health").returncode == 2


def test_without_a_plan_there_is_no_row_of_the_tv(box: Box) -> None:
    fill(box)
    assert "\nTV" not in box.run("status").stdout
    document = json.loads(box.run("status", "--json").stdout)
    assert (document["tv"], document["is_off_on_purpose"]) == (None, False)


def test_tells_what_each_unit_does(box: Box) -> None:
    fill(box)
    box.unit("livekeep-display.service", "failed", "failed", Result="start-limit-hit", NRestarts="6")
    (box.systemd / "livekeep-player.service").unlink()
    text = box.run("status").stdout
    assert row(text, "livekeep-poller").split("  ")[0] == "active (running)"
    assert row(text, "livekeep-poller").endswith("(for 2 min)")
    assert row(text, "livekeep-display").startswith("failed (failed, start-limit-hit)  6")
    assert row(text, "livekeep-player") == "not installed"
    assert row(text, "livekeep-error-screen").startswith("inactive (dead)")


def test_asks_systemd_once(box: Box) -> None:
    fill(box)
    box.run("status")
    calls = (box.systemd / "calls").read_text().splitlines()
    assert [call for call in calls if call != "D-Bus Get"] == ["D-Bus ListUnitsByNames"]


def test_an_old_state_is_said_to_be_stuck(box: Box) -> None:
    fill(box, age_seconds=90)
    text = box.run("status").stdout
    assert text.startswith("down: livekeep-player is stuck")
    assert "livekeep-player wrote this 1 min ago: sudo systemctl restart livekeep-player" in text
    assert "livekeep-poller wrote this 1 min ago: sudo systemctl restart livekeep-poller" in text


def test_nothing_runs(box: Box) -> None:
    done = box.run("status")
    assert done.returncode == 0
    assert done.stdout.startswith("down: ")
    assert "player/state.json: absent; its unit is not running" in row(done.stdout, "Screen")
    assert row(done.stdout, "livekeep-poller") == "not installed"


def test_without_systemd_the_states_are_still_told(box: Box) -> None:
    fill(box)
    box.unit_bus.close()
    done = box.run("status")
    assert done.returncode == 0
    assert row(done.stdout, "Why") == "The stream is live"
    assert "system_bus_socket: No such file or directory; is dbus.service running?" in done.stdout


def test_the_error_screen_and_what_to_do(box: Box) -> None:
    fill(box)
    box.file("run/livekeep/error-screen/picture.png", b"")
    text = box.run("status").stdout
    assert row(text, "Screen").startswith("the error screen")
    assert row(text, "Do") == "journalctl -u livekeep-display -n 50"


def test_json(box: Box) -> None:
    fill(box)
    (box.root / "run/livekeep/poller/state.json").unlink()
    found = json.loads(box.run("status", "--json").stdout)
    assert found["health"]["level"] == "degraded"
    assert found["player"]["picture"] == "stream"
    assert found["player"]["playback"]["dropped_by_output"] == 12
    assert found["player_problem"] == ""
    assert found["poller"] is None
    assert "absent" in found["poller_problem"]
    assert [unit["name"] for unit in found["units"]] == [
        "livekeep-poller.service", "livekeep-display.service", "livekeep-player.service", "livekeep-error-screen.service",
    ]  # fmt: skip
    assert found["units"][0]["active"] == "active"


def find(box: Box) -> None:
    """Three probes have run, one of them long ago; a fourth one's findings are from another version."""
    box.write(
        NetworkResult(run=Run("ok", "All hosts answer", interval_seconds=30.0)),
        HostResult(run=Run("fail", "The card is mounted read-only", interval_seconds=60.0), card_is_good=False),
    )
    box.write(SpeedtestResult(run=Run("ok", "48 Mbit/s", interval_seconds=3600.0)), age_seconds=20_000)
    box.file("run/livekeep/probe-stream/state.json", "{}")


def test_a_line_for_each_probe(box: Box) -> None:
    fill(box)
    find(box)
    # Its interval is the longer one of then and now.
    assert not box.run("health").stdout.startswith("degraded: the stream is shown, but the speedtest probe is silent: ")
    box.configure("[probes.speedtest]\ninterval_seconds = 3600\n")
    assert box.run("health").stdout.startswith("degraded: the stream is shown, but the speedtest probe is silent: ")
    text = box.run("status").stdout
    assert text.startswith("degraded: the stream is shown, but the speedtest probe is silent: ")
    block = next(part for part in text.split("\n\n") if part.startswith("PROBE "))
    lines = [line.split(maxsplit=1) for line in block.splitlines()[1:]]
    assert [name for name, _rest in lines] == ["network", "stream", "speedtest", "host"]
    told = {name: " ".join(rest.split()) for name, rest in lines}
    assert re.fullmatch(r"ok \d+ s ago All hosts answer", told["network"])
    assert told["speedtest"] == "silent 5 h 33 min ago 48 Mbit/s"
    assert told["host"].startswith("fail ")
    assert told["stream"].startswith("unknown ")
    assert "probe-stream/state.json" in told["stream"]


def test_no_probes_no_block(box: Box) -> None:
    fill(box)
    assert "PROBE" not in box.run("status").stdout


def test_the_findings_for_programs(box: Box) -> None:
    fill(box)
    assert json.loads(box.run("status", "--json").stdout)["findings"] == {}
    find(box)
    document = json.loads(box.run("status", "--json").stdout)
    assert set(document["findings"]) == {"network", "stream", "speedtest", "host"}
    assert document["findings"]["network"]["run"]["reason"] == "All hosts answer"
    assert document["findings"]["stream"] is None
    assert list(document["findings_problems"]) == ["stream"]


def test_the_units_of_the_health_part_where_they_are_installed(box: Box) -> None:
    fill(box)
    assert "livekeep-exporter" not in box.run("status").stdout
    box.unit("livekeep-exporter.service")
    box.unit("livekeep-probe-network.timer", "active", "waiting")
    text = box.run("status").stdout
    assert row(text, "livekeep-exporter").startswith("active (running)")
    assert row(text, "livekeep-probe-network.timer").startswith("active (waiting)")
    assert "livekeep-probe-host.timer" not in text


def playing(name: str, **more: object) -> ChannelState:
    now, item = time.time(), Played("shows/Tuesday.mp4", "copy", 60.0, time.time() - 5, 5.0)
    acknowledged = time.monotonic() + 60
    values = {"connected_since": now - 3700, "now": item, "last_acknowledged_monotonic": acknowledged, "ingest": "a.example:443"}
    return on_air(**{"channel": name, **values, **more})


def put(box: Box, *states: state.State) -> None:
    """Write them with a time to come, so that they are not old on a busy machine."""
    box.write(*states, age_seconds=-60)


def channels_block(text: str) -> list[list[str]]:
    """The cells of the table of channels."""
    block = next(part for part in text.split("\n\n") if part.startswith("CHANNEL "))
    return [re.split(r"  +", line.strip()) for line in block.splitlines()[1:]]


def test_the_channels(box: Box) -> None:
    fill(box)
    box.configure('[channels.main]\nmedia = "/srv"\ningest_urls = "rtmp://a.example"\n[channels.spare]\n')
    box.file("var/lib/livekeep/channels/api.json", '{"media": "/srv/api"}')
    put(box, playing("main", is_backup=True))
    box.intend("main")
    box.unit("livekeep-worker@main.service")
    box.unit("livekeep-controller.service", "inactive", "dead")
    done = box.run("status")
    assert done.stdout.startswith("ok: the stream is shown: The stream is live; channel main is on air\n")
    rows = channels_block(done.stdout)
    assert rows[0] == ["api", "off"]
    assert rows[1][:2] == ["main", "on air"]
    assert rows[1][2].endswith("(for 1 h 1 min)")
    assert rows[1][3:] == ["shows/Tuesday.mp4", "a.example:443 (backup)"]
    assert rows[2] == ["spare", "off"]
    assert "Do " not in done.stdout
    assert row(done.stdout, "livekeep-worker@main").startswith("active (running)")
    assert row(done.stdout, "livekeep-controller").startswith("inactive (dead)")
    assert "livekeep-worker@spare" not in done.stdout


def test_what_to_do_about_channels_that_are_not_well(box: Box) -> None:
    fill(box)
    advised = {"reason": "the key is not taken", "advice": "look at the broadcast's page"}
    put(box, playing("a", publishing="refused", **advised), playing("b", picture="slate", slate_reason="it is empty"))
    box.intend("gone")
    put(box, ChannelEnd("gone", 9, "exit-code", "exited", "78", time.time() - 5))
    (box.root / "run/livekeep/worker@half").mkdir()
    box.file("run/livekeep/worker@half/state.json", "{")
    text = box.run("status").stdout
    assert text.startswith("down: channel a: the ingest refuses it: the key is not taken (and 3 more)\n")
    assert {cells[0]: cells[1] for cells in channels_block(text)} == {
        "a": "refused", "b": "on air", "gone": "not running", "half": "unknown",
    }  # fmt: skip
    assert channels_block(text)[1][3] == "the slate"
    blocks = [part.splitlines() for part in text.split("\n\n") if part.startswith("Why  channel ")]
    told = {lines[0].split()[2].rstrip(":"): lines for lines in blocks}
    assert told["a"][1] == "Do   look at the broadcast's page"
    assert "sudo livekeep air check b" in told["b"][1]
    assert "its configuration or its stream key is missing or wrong" in told["gone"][0]
    assert "journalctl -u livekeep-worker@gone -n 50" in told["gone"][1]
    assert "sudo livekeep air restart half" in told["half"][1]


def test_the_channels_for_programs(box: Box) -> None:
    fill(box)
    assert json.loads(box.run("status", "--json").stdout)["channels"] == {}
    box.configure("[channels.spare]\n")
    put(box, playing("main"), ChannelEnd("main", 9, "signal", "killed", "KILL", 5.0))
    found = json.loads(box.run("status", "--json").stdout)["channels"]
    assert list(found) == ["main", "spare"]
    main = found["main"]
    assert (main["state"], main["intended"], main["on_air"], main["worker_problem"]) == ("on air", False, True, "")
    assert main["health"] == {"level": "ok", "sentence": "channel main is on air"}
    assert main["worker"]["now"]["name"] == "shows/Tuesday.mp4"
    assert main["last_end"]["exit_status"] == "KILL"
    assert found["spare"]["worker"] is found["spare"]["health"] is None


def test_a_machine_without_a_screen(box: Box) -> None:
    box.file("var/lib/livekeep/install/without-screen", b"")
    put(box, playing("main"))
    box.unit("livekeep-worker@main.service")
    done = box.run("status")
    assert done.stdout.startswith("ok: channel main is on air\n")
    assert not re.search(r"^(Screen|Stream|livekeep-player)", done.stdout, re.MULTILINE)
    found = json.loads(box.run("status", "--json").stdout)
    assert not {"player", "poller", "error_screen_active"} & set(found)
    assert [unit["name"] for unit in found["units"]] == ["livekeep-worker@main.service"]
    health = box.run("health")
    assert (health.returncode, health.stdout) == (0, "ok: channel main is on air\n")


def test_nothing_is_meant_to_be_on_air(box: Box) -> None:
    box.file("var/lib/livekeep/install/without-screen", b"")
    done = box.run("health")
    assert (done.returncode, done.stdout) == (0, "ok: no channel is meant to be on air\n")
    box.intend("main")
    done = box.run("health")
    assert done.returncode == (2 if time.monotonic() > 60 else 1)
    assert done.stdout.startswith("down: channel main is meant to be on air" if done.returncode == 2 else "degraded: ")


def test_no_colour_but_on_a_terminal(box: Box) -> None:
    fill(box)
    assert "\033" not in box.run("status").stdout
    script = " ".join(box.command("status"))
    box.environment["TERM"] = "xterm"
    coloured = subprocess.run(
        ["script", "-qec", script, "/dev/null"], capture_output=True, text=True, check=True, env=box.environment, timeout=60
    ).stdout
    assert "\033[32mok\033[0m" in coloured


def test_durations_and_times() -> None:
    seconds = (0, -3, 59.9, 60, 3599, 3600, 7500, 86400, 90_000, 200_000)
    assert [terminal.duration(value) for value in seconds] == [
        "0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "2 h 5 min", "1 day", "1 day 1 h", "2 days 7 h",
    ]  # fmt: skip
    noon = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    assert terminal.local_time(noon, noon + 60) == "12:00:00"
    assert terminal.local_time(noon, noon + 86400) == "Saturday 12:00"
    assert terminal.local_time(noon, noon + 30 * 86400) == "2026-11-21 12:00"
    assert terminal.since(0.0, noon) == ""
    assert terminal.table([("a", "bb", "c"), ("aaa", "b", "")]) == "a    bb  c\naaa  b"
