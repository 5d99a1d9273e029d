"""livekeep air set-key, set-storage-keys, set-api-token, set-youtube-key: from files, pipes, prompts; what is refused."""

import os
import pty
import re
import subprocess

import pytest
from air_box import CHANNELS, WORKER
from conftest import Box, read_until

KEY = "made-up-abcd-efgh-0123"
STORAGE = "livekeep-storage.service"


def stored(box: Box, name: str) -> str:
    file = box.root / "etc/credstore" / name
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    return file.read_text()


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(CHANNELS)
    return box


# The stream key


def test_the_stream_key_from_a_file(box: Box) -> None:
    box.unit(WORKER)
    done = box.run("air", "set-key", "main", str(box.file("key", f" {KEY}\r\n")))
    assert done.returncode == 0, done.stderr
    assert stored(box, "livekeep.stream-key.main") == KEY
    assert box.told() == [f"reset-failed {WORKER}", f"try-restart {WORKER}"]
    assert KEY not in done.stdout + done.stderr
    assert done.stdout.endswith("livekeep-worker@main was restarted with it\n")


def test_the_same_stream_key_restarts_nothing(box: Box) -> None:
    box.unit(WORKER)
    box.file("etc/credstore/livekeep.stream-key.main", KEY).chmod(0o644)
    box.root.joinpath("etc/credstore").chmod(0o700)
    done = box.run("air", "set-key", "main", stdin=KEY.encode())
    assert "the stream key is already that one" in done.stdout
    assert stored(box, "livekeep.stream-key.main") == KEY
    assert box.told() == []


def test_a_stream_key_with_signs(box: Box) -> None:
    """Other services' keys hold what YouTube's do not."""
    key = "FB-1-0-Ab_c?s_bl=1&s_ps=1&a=Abx%2B"
    assert box.run("air", "set-key", "main", "-", stdin=key.encode()).returncode == 0
    assert stored(box, "livekeep.stream-key.main") == key


def test_a_key_is_stored_with_the_servers_that_its_channel_names(box: Box) -> None:
    """Before the worker is restarted with it; and later only by a command of root's."""
    box.unit(WORKER)
    done = box.run("air", "set-key", "main", stdin=KEY.encode())
    assert "The stream key goes to ingest.example alone\n" in done.stdout
    assert stored(box, "livekeep.stream-ingest.main") == "ingest.example"
    box.file(
        "var/lib/livekeep/channels/lectures.json",
        '{"media": "/srv/l", "ingest_urls": ["rtmps://B.example/x", "rtmp://a.example"]}',
    )
    done = box.run("air", "bind-key", "lectures")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The stream key goes to a.example, b.example alone\n")
    assert stored(box, "livekeep.stream-ingest.lectures") == "a.example b.example"
    assert box.run("air", "bind-key", "nobody").stderr.startswith('there is no channel "nobody"')


def test_a_stream_key_before_its_channel(box: Box) -> None:
    done = box.run("air", "set-key", "later", stdin=KEY.encode())
    assert done.returncode == 0
    assert 'There is no channel "later" yet; the configured ones are "main"' in done.stdout
    assert stored(box, "livekeep.stream-key.later") == KEY


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no stream key; copy it from the service"),
        (b"made up", "no spaces or line breaks within"),
        (b"made\nup", "no spaces or line breaks within"),
        ("made-üp".encode(), "ASCII letters, digits and signs only"),
        (b"made\x07up", "ASCII letters, digits and signs only"),
        (b"STREAM_KEY=made-up", "looks like a line NAME=VALUE; give the stream key alone"),
        (b"rtmp://a.example/live2/made-up", "looks like a whole URL; the stream key is what stands behind its last /"),
        (b"/live2/made-up", "no stream key but a path"),
        (b"m" * 2000, "too many for a stream key"),
    ],
)
def test_what_is_no_stream_key_is_refused_without_showing_it(box: Box, content: bytes, says: str) -> None:
    box.file("etc/credstore/livekeep.stream-key.main", "the old one")
    done = box.run("air", "set-key", "main", stdin=content)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "made" not in done.stderr + done.stdout
    assert (box.root / "etc/credstore/livekeep.stream-key.main").read_text() == "the old one"


def test_a_name_that_no_channel_can_have(box: Box) -> None:
    done = box.run("air", "set-key", "../../etc/x", stdin=KEY.encode())
    assert done.returncode == 1
    assert "a channel is named with small letters" in done.stderr
    assert not (box.root / "etc/credstore").exists()


def test_a_key_is_never_an_argument(box: Box) -> None:
    assert box.run("air", "set-key").returncode == 2
    done = box.run("air", "set-key", "main", KEY)
    assert done.returncode == 1
    assert "cannot be read (No such file or directory)" in done.stderr


# YouTube's key


def test_the_youtube_key(box: Box) -> None:
    done = box.run("air", "set-youtube-key", stdin=b" AIza-made-up\n")
    assert done.returncode == 0, done.stderr
    assert stored(box, "livekeep.youtube-api-key") == "AIza-made-up"
    assert "YouTube API key stored" in done.stdout
    assert "livekeep-probe-youtube does not run; it takes it when it starts" in done.stdout
    assert done.stdout.endswith("/etc/livekeep/livekeep.d/50-channel.toml\n")
    assert "made-up" not in done.stdout + done.stderr
    box.configure(f'{CHANNELS}youtube_video = "dQw4w9WgXcQ"\n')
    again = box.run("air", "set-youtube-key", str(box.file("key", "AIza-made-up")))
    assert "the YouTube API key is already that one" in again.stdout
    assert "No channel" not in again.stdout


def test_what_is_no_youtube_key_is_refused_without_showing_it(box: Box) -> None:
    for content, says in (
        (b"", "make one in Google's Cloud console"),
        (b"made up", "no spaces"),
        (b"KEY=made-up", "a line NAME="),
    ):
        done = box.run("air", "set-youtube-key", stdin=content)
        assert (done.returncode, says in done.stderr, "made" in done.stderr.replace("make", "")) == (1, True, False)
    assert not (box.root / "etc/credstore").exists()


# The storage's key


def test_the_storage_key_from_two_lines(box: Box) -> None:
    box.unit(STORAGE)
    done = box.run("air", "set-storage-keys", stdin=b"made-up-id\n\n made-up-secret/+= \n")
    assert done.returncode == 0, done.stderr
    assert stored(box, "livekeep.storage-key-id") == "made-up-id"
    assert stored(box, "livekeep.storage-secret") == "made-up-secret/+="
    assert box.told() == [f"reset-failed {STORAGE}", f"try-restart {STORAGE}"]
    assert "made-up" not in done.stdout + done.stderr
    again = box.run("air", "set-storage-keys", stdin=b"made-up-id\nmade-up-secret/+=\n")
    assert again.stdout.count("already that one") == 2
    assert len(box.told()) == 2


def test_the_storage_key_from_a_prompt_without_echo(box: Box) -> None:
    ours, theirs = pty.openpty()
    command = ["setsid", "-c", "-w", *box.command("air", "set-storage-keys")]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=box.environment)
    os.close(theirs)
    shown = read_until(ours, b"Id of the storage key (it is not shown): ")
    os.write(ours, b"made-up-id\n")
    shown += read_until(ours, b"Its secret (it is not shown): ")
    os.write(ours, b"made-up-secret\n")
    shown += read_until(ours, b"starts")
    assert process.wait(timeout=20) == 0
    os.close(ours)
    assert (stored(box, "livekeep.storage-key-id"), stored(box, "livekeep.storage-secret")) == ("made-up-id", "made-up-secret")
    assert b"made-up" not in shown


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold two lines, the storage key's id and its secret, and holds 0"),
        (b"made-up-id\n", "and holds 1"),
        (b"made-up\nmade-up\nmade-up\n", "and holds 3"),
        (b"made up\nmade-up\n", "a storage key's id has no spaces"),
        (b"made-up\nAWS_SECRET_ACCESS_KEY=made-up\n", "give the storage secret alone"),
    ],
)
def test_what_is_no_storage_key_stores_neither(box: Box, content: bytes, says: str) -> None:
    done = box.run("air", "set-storage-keys", stdin=content)
    assert done.returncode == 1
    assert says in done.stderr
    assert "made" not in done.stderr
    assert not (box.root / "etc/credstore").exists()


# The API's token


def test_an_api_token_is_made_and_shown_once(box: Box) -> None:
    box.unit("livekeep-controller.service")
    done = box.run("air", "set-api-token")
    assert done.returncode == 0, done.stderr
    token = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert stored(box, "livekeep.api-token") == token
    assert "livekeep-controller was restarted with it" in done.stdout
    assert box.run("air", "set-api-token").stdout.splitlines()[-1] != token


def test_an_api_token_of_the_operators(box: Box) -> None:
    done = box.run("air", "set-api-token", str(box.file("token", "made-up-token\n")))
    assert done.returncode == 0
    assert stored(box, "livekeep.api-token") == "made-up-token"
    assert "made-up" not in done.stdout + done.stderr
    assert "an API token has no spaces" in box.run("air", "set-api-token", stdin=b"made up").stderr
