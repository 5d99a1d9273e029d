"""The units of the air part under systemd: how a worker is restarted, who may start it, what the sandboxes enforce.

The worker's program is replaced by one that ends on command, because these tests are about systemd's part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.machine.channel import INTENTIONS, ChannelRoom, worker

UNIT, TIMER = worker("trial"), "livekeep-worker-retry@trial.timer"
PROGRAM, ORDER = "/usr/local/bin/trial-worker", "/etc/trial-worker"
# READY, then what the file says: an exit code, or "stay".
TRIAL = f"""#!/usr/bin/python3 -I
import os, socket, sys, time
from pathlib import Path
order = Path("{ORDER}").read_text().strip()
key = Path(os.environ["CREDENTIALS_DIRECTORY"], "livekeep.stream-key").read_text()
Path(os.environ["RUNTIME_DIRECTORY"], "key").write_text(key)
Path(os.environ["CACHE_DIRECTORY"], "slate").touch()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
if order == "decode":
    import json, subprocess
    sys.path.insert(0, "/usr/lib/python3/dist-packages")
    from livekeep.air.worker.ffmpeg import confined_leash, has_landlock
    item, key_file = "/srv/trial.mp4", os.environ["CREDENTIALS_DIRECTORY"] + "/livekeep.stream-key"
    files = (item, "/srv/other.mp4", key_file, "/etc/livekeep/livekeep.toml", "/run/livekeep/worker@trial/key", "/etc/passwd")
    def run(*command):
        return subprocess.run([*confined_leash(item), *command], capture_output=True)
    readable = [file for file in files if not run("cat", file).returncode]
    writes = not run("touch", os.environ["CACHE_DIRECTORY"] + "/made").returncode
    codec = run("ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", item).stdout.decode()
    result = dict(landlock=has_landlock(), readable=readable, writes=writes, ffprobe=codec)
    Path(os.environ["RUNTIME_DIRECTORY"], "new").write_text(json.dumps(result))
    Path(os.environ["RUNTIME_DIRECTORY"], "new").rename(os.environ["RUNTIME_DIRECTORY"] + "/decoder")
elif order != "stay":
    sys.exit(int(order))
time.sleep(3600)
"""
REPLACED = f"[Service]\nExecStart=\nExecStart={PROGRAM}\nWatchdogSec=0\n"
# The two minutes, shortened.
QUICK = "[Timer]\nOnActiveSec=\nOnActiveSec=3s\nAccuracySec=100ms\n"
UNREFUSED = "[Unit]\nStartLimitIntervalSec=0\n"
LIMITS = {UNIT: 1.6, "livekeep-storage.service": 1.5, "livekeep-controller.service": 1.5}
CONTROLLER = "livekeep-controller"
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


@pytest.fixture(scope="module")
def trial(channel_room: ChannelRoom) -> Iterator[ChannelRoom]:
    """The room with that channel."""
    machine = channel_room.machine
    machine.write(PROGRAM, TRIAL, 0o755)
    machine.write(f"{INTENTIONS}/trial.json", "{}")
    machine.write(f"/etc/systemd/system/{UNIT}.d/90-trial.conf", REPLACED)
    yield channel_room
    machine.systemctl("stop", UNIT)


@pytest.fixture
def box(trial: ChannelRoom) -> ChannelRoom:
    """Idle, intended to be on air, with a timer that soon elapses."""
    machine = trial.machine
    machine.systemctl("stop", UNIT)
    machine.systemctl("reset-failed", UNIT, check=False)
    machine.write(f"{INTENTIONS}/trial.on-air", "")
    machine.write(f"/etc/systemd/system/{TIMER}.d/90-trial.conf", QUICK)
    machine.systemctl("daemon-reload")
    return trial


def starts(box: ChannelRoom, order: str) -> None:
    """Start it, to end as ordered."""
    box.machine.write(ORDER, order)
    box.machine.systemctl("start", UNIT, check=False)


def is_waiting(box: ChannelRoom) -> bool:
    return box.property(TIMER, "ActiveState") == "active"


def has_failed(box: ChannelRoom) -> None:
    box.until(f"{UNIT} has failed", lambda: box.property(UNIT, "ActiveState") == "failed")


def runs(box: ChannelRoom) -> int:
    """The number of its starts since boot."""
    return box.machine.journal(UNIT).count(f"Started {UNIT}")


def test_the_worker_finds_its_key_and_its_folders(box: ChannelRoom) -> None:
    """A channel without a key starts, too."""
    starts(box, "stay")
    assert box.machine.read("/run/livekeep/worker@trial/key") == " "
    box.store("livekeep.stream-key.trial", "trial-key")
    box.machine.systemctl("restart", UNIT)
    assert box.machine.read("/run/livekeep/worker@trial/key") == "trial-key\n"
    for folder in ("/run/livekeep/worker@trial", "/var/cache/livekeep/worker@trial"):
        assert box.machine.run(["stat", "-c", "%a %U:%G", folder]).stdout == "750 livekeep-worker:livekeep\n"
    told = box.machine.systemctl("show", UNIT).stdout
    assert "trial-key" not in told


def test_a_decoder_opens_its_item_and_nothing_else(box: ChannelRoom) -> None:
    """In the worker's own sandbox. If setpriv has no Landlock, as on bookworm, it can open what the worker can."""
    made = "ffmpeg -loglevel error -y -f lavfi -i testsrc=size=64x36:duration=1 -pix_fmt yuv420p"
    box.machine.run(f"mkdir -p /srv && {made} /srv/trial.mp4 && cp /srv/trial.mp4 /srv/other.mp4", timeout=60)
    box.machine.run("printf key > /run/livekeep/worker@trial/key || true", check=False)
    starts(box, "decode")
    box.until("its result", lambda: box.machine.exists("/run/livekeep/worker@trial/decoder"))
    result = json.loads(box.machine.read("/run/livekeep/worker@trial/decoder"))
    assert result["ffprobe"].startswith(("h264", "mpeg4")), "ffprobe finds all that it needs"
    if box.suite == "bookworm":
        assert not result["landlock"]
        assert "/srv/other.mp4" in result["readable"]
    else:
        assert (result["landlock"], result["readable"], result["writes"]) == (True, ["/srv/trial.mp4"], False)


def test_a_worker_that_is_killed_is_back_at_once(box: ChannelRoom) -> None:
    starts(box, "stay")
    before = box.property(UNIT, "MainPID")
    box.machine.systemctl("kill", "--signal=KILL", UNIT)
    box.until("it runs again", lambda: box.property(UNIT, "MainPID") not in ("0", before))
    assert not is_waiting(box)


def test_a_refusal_is_tried_again_later(box: ChannelRoom) -> None:
    """Not at once, and for as long as the channel is intended to be on air."""
    before = runs(box)
    starts(box, "69")
    box.until("the timer waits", lambda: is_waiting(box))
    assert runs(box) == before + 1
    assert box.property(UNIT, "NRestarts") == "0"
    box.until("it was tried again", lambda: runs(box) >= before + 3)
    box.machine.write(ORDER, "stay")
    box.until("it stays", lambda: box.property(UNIT, "ActiveState") == "active" and box.property(UNIT, "SubState") == "running")


def test_what_is_not_meant_to_be_on_air_is_not_tried_again(box: ChannelRoom) -> None:
    box.machine.run(["rm", f"{INTENTIONS}/trial.on-air"])
    starts(box, "69")
    has_failed(box)
    assert not is_waiting(box)


def test_a_faulty_configuration_is_not_tried_again(box: ChannelRoom) -> None:
    """Until somebody starts it; then it is retried as before."""
    starts(box, "78")
    has_failed(box)
    assert (is_waiting(box), box.property(UNIT, "NRestarts")) == (False, "0")
    starts(box, "69")
    box.until("the timer waits", lambda: is_waiting(box))


def test_a_crash_loop_goes_on_for_ever_but_slowly(box: ChannelRoom) -> None:
    """Six starts, then a pause; the shipped pause is longer than the shipped limit, so that the next start is not refused."""
    text = {name: box.machine.read(f"/usr/lib/systemd/system/{name.replace('trial', '')}") for name in (UNIT, TIMER)}
    assert "\nStartLimitIntervalSec=100\n" in text[UNIT]
    assert "\nOnActiveSec=120\n" in text[TIMER]
    before = runs(box)
    starts(box, "1")
    box.until("it is paused", lambda: is_waiting(box))
    assert runs(box) == before + 6
    # With a limit that is shorter than the shortened pause.
    limit = "[Unit]\nStartLimitIntervalSec=2s\n"
    box.machine.write(f"/etc/systemd/system/{UNIT}.d/91-limit.conf", limit)
    box.machine.systemctl("daemon-reload")
    box.until("it was tried again", lambda: runs(box) > before + 6)
    box.machine.run(["rm", f"/etc/systemd/system/{UNIT}.d/91-limit.conf"])
    box.machine.systemctl("daemon-reload")


def test_a_stop_by_hand_ends_the_waiting(box: ChannelRoom) -> None:
    """Like the command and the API: the intention is removed first."""
    box.machine.run(["rm", f"/etc/systemd/system/{TIMER}.d/90-trial.conf"])
    box.machine.systemctl("daemon-reload")
    starts(box, "69")
    box.until("the timer waits", lambda: is_waiting(box))
    box.machine.run(["rm", f"{INTENTIONS}/trial.on-air"])
    box.machine.systemctl("stop", TIMER)
    box.machine.systemctl("stop", UNIT)
    box.until("nothing waits", lambda: not is_waiting(box), 15)


def test_a_stop_by_hand_at_any_moment_is_not_undone(box: ChannelRoom) -> None:
    """Before, during and after the timer's retry."""
    quickest = QUICK.replace("3s", "500ms").replace("100ms", "1ms")
    box.machine.write(f"/etc/systemd/system/{TIMER}.d/90-trial.conf", quickest)
    box.machine.write(f"/etc/systemd/system/{UNIT}.d/91-limit.conf", UNREFUSED)
    box.machine.systemctl("daemon-reload")
    box.machine.write(ORDER, "69")
    script = f"""
for round in $(seq 1 15); do
    systemctl reset-failed {UNIT} 2>/dev/null
    touch {INTENTIONS}/trial.on-air
    systemctl start --no-block {UNIT}
    until systemctl is-failed -q {UNIT}; do sleep 0.02; done
    sleep "$(printf '0.%02d' $((35 + round * 2)))"
    rm {INTENTIONS}/trial.on-air
    systemctl stop {TIMER}
    systemctl stop {UNIT}
    run=$(systemctl show --value --property=InvocationID {UNIT})
    systemctl is-active -q {UNIT} && echo "round $round: it runs"
    sleep 0.8
    later=$(systemctl show --value --property=InvocationID {UNIT})
    [ -z "$later" ] || [ "$run" = "$later" ] || echo "round $round: it was started"
    systemctl is-active -q {TIMER} && echo "round $round: the timer waits"
done
exit 0
"""
    assert box.machine.run(script, timeout=180).stdout == ""
    box.machine.run(["rm", f"/etc/systemd/system/{UNIT}.d/91-limit.conf"])


def test_a_channel_is_started_at_boot_when_it_is_meant_to_be_on_air(box: ChannelRoom) -> None:
    """And no other; without any further action."""
    box.machine.write(ORDER, "stay")
    box.machine.systemctl("restart", "livekeep-air.service")
    box.until("it runs", lambda: box.property(UNIT, "ActiveState") == "active")
    box.machine.systemctl("stop", UNIT)
    box.machine.run(["rm", f"{INTENTIONS}/trial.on-air"])
    box.machine.systemctl("restart", "livekeep-air.service")
    assert box.property(UNIT, "ActiveState") == "inactive"


def test_the_sandboxes_hold(box: ChannelRoom) -> None:
    """As rated by the systemd that runs the units."""
    assert {unit: limit for unit, limit in LIMITS.items() if box.machine.exposure(unit) > limit} == {}


def test_ffmpeg_runs_in_the_worker_s_sandbox(box: ChannelRoom) -> None:
    """Tied to the worker by setpriv, with the encoders that a channel needs."""
    encode = (
        "setpriv --pdeathsig KILL -- ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=s=640x360:d=1 -f lavfi -i sine=d=1"
        " -vf scale=320:180,bwdif,format=yuv420p -c:v libx264 -preset ultrafast -c:a aac -f flv -y /dev/null"
    )
    once = f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={encode}\nWatchdogSec=0\n"
    name = worker("encoder")
    box.machine.write(f"/etc/systemd/system/{name}.d/90-trial.conf", once.replace("setpriv", "/usr/bin/setpriv"))
    box.machine.systemctl("daemon-reload")
    done = box.machine.systemctl("start", name, check=False)
    assert done.returncode == 0, box.machine.journal(name)


def asks(box: ChannelRoom, user: str, method: str, *arguments: str) -> bool:
    """Whether `user` may request it from systemd."""
    command = ["busctl", "call", "--allow-interactive-authorization=no", *MANAGER, method, *arguments]
    done = box.machine.run(command, user=user, check=False)
    refusal = "Access denied" in done.stderr or "authentication required" in done.stderr.lower()
    assert (done.returncode == 0) != refusal, done.stderr
    return not refusal


def test_the_controller_may_steer_workers(box: ChannelRoom) -> None:
    box.machine.write(ORDER, "stay")
    assert asks(box, CONTROLLER, "StartUnit", "ss", UNIT, "replace")
    box.until("it runs", lambda: box.property(UNIT, "ActiveState") == "active")
    assert asks(box, CONTROLLER, "KillUnit", "ssi", UNIT, "main", "28")
    assert asks(box, CONTROLLER, "RestartUnit", "ss", UNIT, "replace")
    assert asks(box, CONTROLLER, "StopUnit", "ss", UNIT, "replace")


@pytest.mark.parametrize(
    ("user", "method", "arguments"),
    [
        (CONTROLLER, "StartUnit", ("ss", "livekeep-exporter.service", "replace")),
        (CONTROLLER, "StopUnit", ("ss", "livekeep-storage.socket", "replace")),
        (CONTROLLER, "StartUnit", ("ss", "livekeep-worker@Loud.service", "replace")),
        (CONTROLLER, "StartUnit", ("ss", "livekeep-worker-retry@trial.timer", "replace")),
        (CONTROLLER, "ReloadUnit", ("ss", UNIT, "replace")),
        (CONTROLLER, "SetUnitProperties", ("sba(sv)", UNIT, "true", "1", "MemoryMax", "t", "1")),
        (CONTROLLER, "Reload", ()),
        (CONTROLLER, "EnableUnitFiles", ("asbb", "1", "livekeep-air.service", "false", "false")),
        ("livekeep-worker", "StartUnit", ("ss", UNIT, "replace")),
        ("livekeep-storage", "StopUnit", ("ss", UNIT, "replace")),
        ("nobody", "StartUnit", ("ss", UNIT, "replace")),
    ],
)
def test_nobody_may_do_more(box: ChannelRoom, user: str, method: str, arguments: tuple[str, ...]) -> None:
    assert not asks(box, user, method, *arguments)
