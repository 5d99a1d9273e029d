"""livekeep-exporter under systemd with its typical clients: Prometheus, node_exporter, a web server in front, a browser."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image

from livekeep.exporter.metrics import CHANNELS, FAMILIES, RECORD
from livekeep.status.probe_descriptions import description_of
from tests.machine.health_part import (
    EXPORTER,
    PROBES,
    URL,
    applied,
    ask,
    forget,
    line_settings,
    run_probe,
    verdict,
)
from tests.machine.machine import wait_for
from tests.machine.room import CERTIFICATE, Answer, fetch, fetch_all, figures_of
from tests.machine.screen import PLAYER, POLLER, Screen, kind
from tests.machine.services import Services
from tests.machine.standin import PROJECT
from tests.outside import program

DOCUMENT = PROJECT / "docs/how-to/health.md"
TOKEN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PASSWORD = "pass-7e5c3a1f"
PICTURE_UNIT = "livekeep-screen-picture.service"
CGROUP = "/sys/fs/cgroup/livekeep.slice"

NO_BOARD = {
    "livekeep_pi_temperature_celsius", "livekeep_pi_fan_speed_rpm", "livekeep_pi_throttled", "livekeep_pi_throttled_since_boot",
    "livekeep_pi_under_voltage_events_total", "livekeep_host_cpu_frequency_hertz", "livekeep_display_connected",
    "livekeep_hardware_watchdog_timeout_seconds", "livekeep_hardware_watchdog_last_ping_timestamp_seconds",
    "livekeep_host_board_info",
}  # fmt: skip
"""A Raspberry Pi's sensors, connectors, a watchdog, the firmware's name: a container's host may have them or not."""
NO_DISK = {"livekeep_card_good", "livekeep_host_filesystem_errors_total", "livekeep_host_pressure_waiting_seconds_total"}
"""A container's files are in memory; ext4 and the kernel's pressure accounts are the host's own."""
NO_NETWORK = {"livekeep_host_network_receive_bytes_total", "livekeep_host_network_transmit_bytes_total"}
"""Its only network is its loopback."""
NO_CLOCK = {"livekeep_host_clock_synchronized"}
"""A container may not query the kernel's clock."""
NO_CHANNEL = {*CHANNELS, "livekeep_channel_health_state"}
"""A screen has none."""
NO_RECORD = {*RECORD}
"""Its part is not installed."""
CONTROLLERS = {
    "livekeep_unit_memory_bytes", "livekeep_unit_memory_peak_bytes", "livekeep_unit_tasks", "livekeep_oom_kills_total",
}  # fmt: skip
"""If the host keeps these cgroup controllers in the old hierarchy, the machine has none of them."""
WHILE_LIVE = {
    "livekeep_stream_live_since_timestamp_seconds", "livekeep_stream_url_expiry_timestamp_seconds",
    "livekeep_player_position_seconds", "livekeep_player_position_last_change_timestamp_seconds",
    "livekeep_player_cache_duration_seconds", "livekeep_player_cache_bytes", "livekeep_player_input_bytes_per_second",
    "livekeep_player_av_offset_seconds", "livekeep_player_video_frame_rate_hertz", "livekeep_player_decoder_info",
    "livekeep_stream_playlist_media_sequence", "livekeep_stream_playlist_last_change_timestamp_seconds",
    "livekeep_stream_playlist_target_duration_seconds", "livekeep_stream_video_width_pixels",
    "livekeep_stream_video_height_pixels", "livekeep_stream_video_frame_rate_hertz", "livekeep_stream_audio_channels",
    "livekeep_stream_audio_sample_rate_hertz", "livekeep_stream_info", "livekeep_stream_variant_bandwidth_bytes_per_second",
    "livekeep_player_stream_picture", "livekeep_player_picture_last_change_timestamp_seconds",
}  # fmt: skip
VERDICTS = {"network": ["ok"], "stream": ["skipped"], "speedtest": ["ok"]}
MEASURED = (*VERDICTS, "host")
"""Probes with something to measure in such a machine."""
OTHER_VERDICTS = ["ok", "warn", "skipped"]
"""Metrics of a probe of the board, which such a machine mostly lacks."""


def families(text: str) -> set[str]:
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def check(text: str) -> None:
    """Prometheus' own check reports nothing."""
    ran = subprocess.run([tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: tests/run provides what the tests need"
    return found


def missing(text: str) -> set[str]:
    return set(FAMILIES) - families(text)


def cannot_have(screen: Screen) -> set[str]:
    of_others = {name for probe in PROBES if probe not in MEASURED for name in description_of(probe).metrics}
    cannot = NO_BOARD | NO_DISK | NO_NETWORK | NO_CLOCK | NO_CHANNEL | NO_RECORD | of_others
    return cannot if screen.machine.exists(f"{CGROUP}/memory.current") else cannot | CONTROLLERS


def test_every_family_is_there_while_idle(box: Screen, services: Services) -> None:
    """Except those that such a machine cannot have, and those of a stream."""
    # Results of an earlier stream for the line are kept.
    forget(box, "stream")
    box.vimeo.schedule(datetime.now(UTC) + timedelta(days=3))
    box.machine.systemctl("restart", POLLER)
    with applied(box, line_settings(services)):
        found = {name: run_probe(box, name)["run"] for name in PROBES}
    assert [run["verdict"] in VERDICTS.get(name, OTHER_VERDICTS) for name, run in found.items()] == [True] * len(PROBES), found
    box.shows("holding")
    box.says("Next: ")
    # A timer has a value from its first run on, and the exporter reads those only occasionally.
    wait_for(lambda: missing(ask(box, "/metrics").text) <= cannot_have(box) | WHILE_LIVE, 100, 0.5)
    text = ask(box, "/metrics").text
    check(text)
    assert families(text) - set(FAMILIES) == set()
    assert families(text) & WHILE_LIVE == set()
    assert missing(text) - cannot_have(box) - WHILE_LIVE == set()


def test_a_live_stream_s_figures(box: Screen) -> None:
    """All of them, with their values."""
    box.vimeo.go_live(f"{box.live.base_url}/master.m3u8")
    box.moves()
    assert verdict(run_probe(box, "stream"))[0] == "ok"
    text = wait_for(lambda: seen if not WHILE_LIVE & missing(seen := ask(box, "/metrics").text) else "", 60, 0.5)
    check(text)
    first = figures_of(text)
    assert first['livekeep_display_mode{mode="stream"}'] == 1
    assert first['livekeep_player_stream_picture{picture="moving"}'] == 1
    assert first['livekeep_stream_state{state="live"}'] == 1
    assert first['livekeep_stream_info{audio_codec="aac",video_codec="h264"}'] == 1
    assert (first["livekeep_stream_video_width_pixels"], first["livekeep_stream_video_height_pixels"]) == (1280, 720)
    assert first["livekeep_stream_variant_bandwidth_bytes_per_second"] == 250_000
    assert first['livekeep_probe_success{probe="stream",target="main"}'] == 1
    changed = "livekeep_player_position_last_change_timestamp_seconds"
    wait_for(lambda: box.figures()[changed] > first[changed], 60, 0.5)


def seconds(box: Screen, unit: str, name: str) -> float:
    """A time that systemctl shows, in Unix seconds."""
    return float(box.machine.run(["date", "+%s", "--date", box.property(unit, name)]).stdout)


def test_units_are_as_systemctl_says(box: Screen) -> None:
    """And as the kernel says: every mount is read-only in the sandbox, but the card is not reported as such."""

    def differences() -> list[str]:
        found, wrong = box.figures(), []
        for unit in (POLLER, PLAYER, EXPORTER):
            label = f'unit="{unit}"'
            start = found.get(f"livekeep_unit_start_time_seconds{{{label}}}", 0) - seconds(box, unit, "ActiveEnterTimestamp")
            used = int(box.property(unit, "CPUUsageNSec")) / 1e9
            holds = {
                "state": found.get(f'livekeep_unit_state{{state="{box.property(unit, "ActiveState")}",{label}}}') == 1,
                "restarts": found.get(f"livekeep_unit_restarts_total{{{label}}}") == int(box.property(unit, "NRestarts")),
                "result": found.get(f'livekeep_unit_result_info{{result="{box.property(unit, "Result")}",{label}}}') == 1,
                "start": 0 <= start < 1,
                "cpu": 0 < found.get(f"livekeep_unit_cpu_seconds_total{{{label}}}", 0) <= used,
            }
            wrong += [f"{unit}: {name}" for name, is_right in holds.items() if not is_right]
        return wrong

    box.until("the exporter says the same", lambda: not differences())
    first = box.figures()
    ping = f'livekeep_unit_watchdog_last_ping_timestamp_seconds{{unit="{PLAYER}"}}'
    box.until("a ping is seen", lambda: box.figures()[ping] > first[ping])
    assert [first[f'livekeep_host_filesystem_readonly{{mountpoint="{place}"}}'] for place in ("/", "/run")] == [0, 0]


def test_a_unit_that_is_stopped_or_fails(box: Screen) -> None:
    """A probe fails whose program is replaced; the player has no figures of a running process while it is stopped."""
    probe, folder = "livekeep-probe-host.service", "/run/systemd/system/livekeep-probe-host.service.d"
    box.machine.write(f"{folder}/90-fails.conf", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    box.machine.systemctl("daemon-reload")
    box.machine.systemctl("start", probe, check=False)
    box.machine.systemctl("stop", PLAYER)
    wanted = {
        f'livekeep_unit_state{{state="failed",unit="{probe}"}}': 1,
        f'livekeep_unit_result_info{{result="exit-code",unit="{probe}"}}': 1,
        f'livekeep_unit_state{{state="inactive",unit="{PLAYER}"}}': 1,
        "livekeep_systemd_failed_units": 1,
    }
    names = ("start_time_seconds", "cpu_seconds_total", "watchdog_last_ping_timestamp_seconds")
    gone = {f'livekeep_unit_{name}{{unit="{PLAYER}"}}' for name in names}
    try:
        box.until("it is seen", lambda: wanted.items() <= (found := box.figures()).items() and not gone & set(found))
    finally:
        box.machine.run(["rm", "-r", folder])
        box.machine.systemctl("daemon-reload")
        box.machine.systemctl("start", probe, PLAYER)
    box.until("nothing has failed", lambda: box.figures()["livekeep_systemd_failed_units"] == 0)


def test_the_forms_of_an_answer(box: Screen) -> None:
    packed = ask(box, "/metrics", {"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert len(figures_of(gzip.decompress(packed.body).decode())) > 100
    newer = ask(box, "/metrics", {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"})
    assert newer.headers["content-type"].startswith("application/openmetrics-text; version=")
    assert newer.text.endswith("\n# EOF\n")
    assert "# TYPE livekeep_api_requests counter\n" in newer.text
    plain = ask(box, "/metrics")
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert fetch(box.machine, f"{URL}/metrics", "DELETE").status == 405


def test_node_exporter_takes_the_textfile(box: Screen, tmp_path: Path) -> None:
    """In the way the document says."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (command,) = re.findall(r"^    sudo (\S+ --textfile \S+)$", text, re.MULTILINE)
    target = command.split()[-1]
    box.machine.run(["mkdir", "-p", str(Path(target).parent)])
    box.machine.run(command)
    assert box.machine.run(["ls", "-A", str(Path(target).parent)]).stdout == "livekeep.prom\n"
    text = box.machine.read(target)
    check(text)
    (tmp_path / "livekeep.prom").write_text(text, encoding="utf-8")
    url = "http://127.0.0.1:9100"
    options = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={tmp_path}"]
    rival = [tool("prometheus-node-exporter"), *options, "--web.listen-address=127.0.0.1:9100"]
    with (tmp_path / "log").open("wb") as log, program(box.network.in_machine(rival), stdout=log, stderr=log):
        wait_for(lambda: fetch(box.machine, url).status, 60)
        found = figures_of(fetch(box.machine, f"{url}/metrics").text)
    assert found["node_textfile_scrape_error"] == 0
    assert sum(found[f'livekeep_health_state{{level="{level}"}}'] for level in ("ok", "degraded", "down")) == 1
    assert any(series.startswith("node_textfile_mtime_seconds") for series in found)


@contextlib.contextmanager
def web_server(screen: Screen, folder: Path) -> Iterator[str]:
    """The document's nginx in front of the exporter, with its files in `folder`; return its URL."""
    text = DOCUMENT.read_text(encoding="utf-8")
    block = text.partition("# /etc/nginx/conf.d/livekeep.conf\n")[2].partition("\n\n")[0]
    assert "listen 9443 ssl;" in block
    (words,) = re.findall(r"^    printf '(prometheus:%s\\n)' \"\$\(openssl passwd -6\)\"", text, re.MULTILINE)
    hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True)
    (folder / "livekeep.htpasswd").write_text(words.replace("%s\\n", hashed.stdout), encoding="ascii")
    certify = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=box"
    files = "-addext subjectAltName=IP:127.0.0.1 -keyout livekeep.key -out livekeep.crt"
    subprocess.run(f"{certify} {files}".split(), cwd=folder, check=True, capture_output=True)
    screen.machine.copy_in(folder / "livekeep.crt", CERTIFICATE)
    block = re.sub(r"/etc/(ssl|nginx)/livekeep", f"{folder}/livekeep", block)
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # What Debian's own nginx.conf has around it, with the test's own paths; as root its workers can read those, too.
    top = f"user root;\ndaemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{top}http {{\naccess_log off;\n{paths}{block}\n}}\n", encoding="utf-8")
    command = [tool("nginx"), "-p", str(folder), "-c", f"{folder}/nginx.conf", "-g", "master_process off;"]
    with (folder / "log").open("wb") as log, program(screen.network.in_machine(command), stdout=log, stderr=log):
        wait_for(lambda: fetch(screen.machine, "https://127.0.0.1:9443").status, 60)
        yield "https://127.0.0.1:9443"


def test_a_web_server_in_front_asks_for_a_password(box: Screen, tmp_path: Path) -> None:
    def basic(password: str) -> dict[str, str]:
        return {"Authorization": f"Basic {subprocess.check_output(['base64', '-w0'], input=f'prometheus:{password}', text=True)}"}

    with web_server(box, tmp_path) as url:
        answers = [fetch(box.machine, f"{url}/metrics", headers=headers) for headers in ({}, basic("guess"), basic(PASSWORD))]
        assert [answer.status for answer in answers] == [401, 401, 200]
        assert figures_of(answers[-1].text)["livekeep_player_up"] == 1


def picture_of(answer: Answer) -> str:
    """The kind of a picture, determined as for the TV's own."""
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.body)) as image:
        small = image.convert("RGB").resize((16, 9))
    pixels = small.tobytes()
    return kind([(pixels[at], pixels[at + 1], pixels[at + 2]) for at in range(0, len(pixels), 3)])


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


def test_the_picture_is_for_who_knows_the_token(box: Screen) -> None:
    """Off by default; then it is what the TV shows, the same for all concurrent clients; the token appears nowhere."""
    off = ask(box, "/screen.png", bearer())
    assert (off.status, off.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert "exporter.screen_picture" in off.text
    box.machine.run("install -m 600 /dev/stdin /etc/credstore/livekeep.screen-token", input=TOKEN)
    with applied(box, {"exporter": {"screen_picture": True}}):
        for headers in ({}, {"Authorization": "Bearer guess"}, {"Authorization": f"Basic {TOKEN}"}):
            assert ask(box, "/screen.png", headers).status == 401
        assert PICTURE_UNIT not in box.machine.journal(PICTURE_UNIT)
        found = fetch_all(box.machine, [f"{URL}/screen.png"] * 4, bearer())
        assert {picture_of(answer) for answer in found} == {"holding"}
        assert len({answer.body for answer in found}) == 1
        assert box.machine.journal(PICTURE_UNIT).count(f"Finished {PICTURE_UNIT}") == 1
        box.goes_live()
        # The previous one may still be served.
        wait_for(lambda: picture_of(ask(box, "/screen.png", bearer())) == "stream", 60, 1)
        seen = box.machine.journal(None, "--all", "-o", "export")
        seen += box.machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ", check=False).stdout
        seen += box.machine.systemctl("show", EXPORTER, PICTURE_UNIT).stdout + ask(box, "/metrics").text
        assert EXPORTER in seen
        assert TOKEN not in seen
    assert ask(box, "/screen.png", bearer()).status == 404
