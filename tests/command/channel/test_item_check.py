"""livekeep air check: with real clips, a real port and the real ffprobe; what it tells, in which form, and when interrupted."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livekeep.command.channel import item_check
from livekeep.command.channel.item_check import Report
from livekeep.core.config import Channel
from tests.air.clips import CHANNEL, clip
from tests.air.ingest import Certificates, Port, encrypted
from tests.command.box import Box, read_until
from tests.outside import PATIENCE_SECONDS, picture, wait_until

KEY = "made-up-abcd-efgh-0123"
ITEMS = ("matching.mp4", "larger.mp4", "text.mp4")


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody takes connections, as an ingest does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def channel(box_root: Path, *urls: str, **changes: Any) -> str:
    """A channel in livekeep.toml, with the small profile of the clips."""
    profile = ("width", "height", "frame_rate", "video_bitrate", "audio_bitrate", "preset")
    keys = {"media": str(box_root / "srv/media"), "slate": str(box_root / "slate.png")}
    keys |= {name: getattr(CHANNEL, name) for name in profile} | ({"ingest_urls": list(urls)} if urls else {}) | changes
    return "[channels.main]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())


def configure(box: Box, *urls: str, **changes: Any) -> None:
    box.configure(channel(box.root, *urls, **changes))


def fill(box: Box, *names: str) -> Path:
    folder = box.root / "srv/media"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(clip(name).read_bytes())
        # Not one that is still being written.
        os.utime(folder / name, (1, 1))
    return folder


@pytest.fixture
def ready(box: Box, port: int) -> Box:
    """A channel with which all is well, but for one of its items."""
    configure(box, f"rtmp://127.0.0.1:{port}/live2")
    fill(box, *ITEMS)
    picture(box.root / "slate.png")
    box.file("etc/credstore/livekeep.stream-key.main", KEY).chmod(0o600)
    return box


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stdout.splitlines()


def test_each_item_is_checked(ready: Box, port: int) -> None:
    done = ready.run("air", "check")
    assert done.returncode == 1
    assert done.stderr == ""
    lines = lines_of(done)
    assert lines[0] == "ok    configuration: channels.main is set up"
    assert lines[1] == (
        "ok    stream key: is stored, for root alone" if os.geteuid() == 0 else "skip  stream key: only root can check it"
    )
    assert re.fullmatch(r"ok    ffmpeg: version \S+ can do all that is needed", lines[2])
    assert lines[3] == f"ok    ingest: 127.0.0.1:{port} accepts connections"
    assert lines[4] == f"ok    slate: {ready.root}/slate.png can be shown"
    assert lines[5] == f"ok    media: 3 items in {ready.root}/srv/media"
    assert lines[6].startswith("ok    larger.mp4: 3 s, 0.4 Mbit/s, transcoded: size is 640x360, not 320x180")
    assert re.fullmatch(r"ok    matching.mp4: 3 s, 0\.\d Mbit/s, copied", lines[7])
    assert lines[8].startswith("fail  text.mp4: is no video file")
    assert re.fullmatch(r"3 items, \d+ kB, 6 s in all: 1 copied, 1 transcoded, 1 cannot be played", lines[10])
    assert re.fullmatch(r"The profile: 320x180, 25 frames/s, 0.5 Mbit/s; copied items have up to 0\.\d Mbit/s", lines[11])
    assert lines[12] == "main: wrong: items"
    assert KEY not in done.stdout


def test_all_is_well_for_programs(ready: Box) -> None:
    """An item that was put there just now is waited for."""
    (ready.root / "srv/media/text.mp4").unlink()
    (ready.root / "srv/media/fresh.mp4").write_bytes(clip("matching.mp4").read_bytes())
    done = ready.run("air", "check", "main", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["channel"], found["ok"], found["complete"], found["items_known"]) == ("main", True, True, 3)
    assert [it["name"] for it in found["checks"]] == ["configuration", "stream key", "ffmpeg", "ingest", "slate", "media"]
    _fresh, larger, matching = found["items"]
    assert (larger["mode"], larger["problem"], larger["error_type"]) == ("normalise", "", "")
    assert larger["reasons"][0] == "size is 640x360, not 320x180"
    assert (matching["name"], matching["mode"], matching["reasons"]) == ("matching.mp4", "copy", [])
    assert matching["bits_per_second"] == pytest.approx(400_000, rel=0.5)


def test_everything_that_is_wrong_is_reported(box: Box) -> None:
    # Bound, so that nobody else takes it, and not listening.
    port = Port("127.0.0.1")
    closed = port.number
    box.file("slate.png", "no picture")
    configure(box, f"rtmp://127.0.0.1:{closed}/live2/{KEY}", "rtmps://nowhere.invalid/live2", media=str(box.root / "absent"))
    done = box.run("air", "check")
    port.close()
    assert done.returncode == 1
    shown = done.stdout
    assert "warn  configuration: channels.main.ingest_urls: seems to hold the stream key" in shown
    assert f"fail  ingest: 127.0.0.1:{closed}: accepts no connection (Connection refused)" in shown
    assert "fail  backup ingest: nowhere.invalid: its address cannot be found" in shown
    assert f"fail  slate: {box.root}/slate.png: cannot be used as slate" in shown
    assert f"fail  media: {box.root}/absent: there is no such folder" in shown
    if os.geteuid() == 0:
        assert f"fail  stream key: {box.root}/etc/credstore/livekeep.stream-key.main: does not exist" in shown
        assert "      sudo livekeep air set-key main" in shown
    assert "wrong: " in lines_of(done)[-1]
    assert KEY not in shown


def test_a_refused_certificate_is_reported_with_what_to_do(ready: Box, port: int, tmp_path: Path) -> None:
    ready.file("etc/ssl/certs/ca-certificates.crt", Certificates(tmp_path / "others").authority.read_text())
    with encrypted(("127.0.0.1", port), Certificates(tmp_path / "certificates")) as encrypted_port:
        configure(ready, f"rtmps://localhost:{encrypted_port}/live2")
        done = ready.run("air", "check")
    where = f"localhost:{encrypted_port}"
    assert f"fail  ingest: {where} has a certificate from an authority that this machine does not trust" in done.stdout
    assert "      put its certificate into /usr/local/share/ca-certificates " in done.stdout


def test_a_bucket_without_livekeep_storage(ready: Box, port: int) -> None:
    configure(ready, f"rtmp://127.0.0.1:{port}/live2", media="s3://bucket/prefix")
    shown = ready.run("air", "check").stdout
    assert "fail  media: " in shown
    assert "storage.sock: nobody listens there" in shown


def test_a_channel_that_is_not_set_up(box: Box) -> None:
    picture(box.root / "slate.png")
    configure(box, media="")
    done = box.run("air", "check")
    assert done.returncode == 1
    assert "fail  configuration: channels.main.media: is empty, so the channel is not set up" in done.stdout
    assert "fail  configuration: channels.main.ingest_urls: is empty, so the channel is not set up" in done.stdout
    assert "  media: " not in done.stdout
    assert done.stdout.count(f"\n      in {box.root}/etc/livekeep/livekeep.toml\n") == 2


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("made up", 0o600, "a stream key has no spaces or line breaks within"),
        ("rtmp://a/live2/made-up", 0o600, "looks like a full URL"),
        ("made-up", 0o644, "other users may read it (mode 644)"),
        ("", 0o600, "contains no stream key"),
    ],
)
def test_a_stored_key_that_is_none(tmp_path: Path, content: str, mode: int, says: str) -> None:
    store = tmp_path / "credstore"
    store.mkdir()
    (store / "livekeep.stream-key.main").write_text(content)
    (store / "livekeep.stream-key.main").chmod(mode)
    found = item_check.key_check("main", store)
    assert found.verdict == "fail"
    assert says in found.finding
    assert "made" not in found.finding


def test_an_encrypted_key_is_found(tmp_path: Path) -> None:
    (tmp_path / "credstore.encrypted").mkdir()
    (tmp_path / "credstore.encrypted/livekeep.stream-key.main").write_text("x")
    assert item_check.key_check("main", tmp_path / "credstore").verdict == "ok"


def test_root_runs_it_as_the_worker() -> None:
    command = item_check.command_for("main", has_user=True)
    assert command[:4] == ["setpriv", "--reuid=livekeep-worker", "--regid=livekeep", "--init-groups"]
    assert command[-2:] == [str(item_check.PROGRAM), "main"]
    assert item_check.PROGRAM.is_file()
    assert "--reuid=livekeep-worker" not in item_check.command_for("main", has_user=False)


# Long checks


@pytest.fixture
def long_one(ready: Box) -> Box:
    """So many items that it takes minutes."""
    folder = fill(ready)
    for number in range(300):
        os.link(folder / "matching.mp4", folder / f"clip{number}.mp4")
    return ready


@contextlib.contextmanager
def started(box: Box, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(box.command("air", "check"), env=box.environment, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_interrupted_it_tells_what_it_found_so_far(long_one: Box) -> None:
    output = long_one.root / "output"
    with output.open("wb") as file, started(long_one, stdout=file, stderr=subprocess.STDOUT) as process:
        wait_until("some items", lambda: output.read_text().count("copied") >= 2, 120)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
    lines = output.read_text().splitlines()
    found = re.fullmatch(r"main: interrupted after (\d+) of 303 items", lines[-1])
    assert found
    assert 2 <= int(found[1]) < 303
    assert sum(": 3 s, " in line for line in lines) == int(found[1])
    assert not [line for line in lines if "Traceback" in line]


def test_it_ends_with_who_asked(long_one: Box) -> None:
    """As when the terminal is closed: the program behind it does not go on."""
    with started(long_one, stdout=subprocess.DEVNULL) as process:
        wait_until("its program", lambda: children(process.pid))
        (child,) = children(process.pid)
        process.kill()
        process.wait()
        wait_until("the program's end", lambda: is_dead(child))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_dead(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_bar_on_a_terminal(long_one: Box) -> None:
    ours, theirs = pty.openpty()
    with started(long_one, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = read_until(ours, b"] 1 of 303  ")
    os.close(ours)
    assert b"\r\x1b[Kmaking the slate" in shown
    assert re.search(rb"\r\x1b\[K\[\.{24}\] 0 of 303  clip0\.mp4", shown)
    # The line is cleared before a finding is printed in its place.
    assert re.search(rb"\r\x1b\[K(\x1b\[32m)?ok  (\x1b\[0m)?  clip0\.mp4: 3 s", shown)


def test_the_texts_of_a_report() -> None:
    report = Report("main", total=2)
    rich = {"kind": "item", "name": "a.mp4", "size_bytes": 9_000_000, "duration_seconds": 10.0, "mode": "copy", "problem": ""}
    report.take(rich | {"reasons": [], "error_type": ""})
    report.is_complete = True
    lines = item_check.summary(report, Channel()).splitlines()[1:]
    assert lines[0] == "1 item, 9 MB, 10 s in all: 1 copied, 0 transcoded, 0 cannot be played"
    assert lines[1].endswith("3.1 Mbit/s; copied items have up to 7.2 Mbit/s, 1 of them much more than the profile")
    assert lines[2:] == ["main: all is well"]
