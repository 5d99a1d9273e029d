"""set-token, set-web-password and `air set-…`: secrets from files, pipes and prompts; what is refused; that none is shown."""

import re
from typing import NamedTuple

import pytest

from livekeep.system import password_hash
from tests.command.air_box import CHANNELS, WORKER
from tests.command.box import Box

SECRET = "made-up-abcd-0123456789"
PASSWORD = "correct horse bättery"
STORAGE = "livekeep-storage.service"


class Kind(NamedTuple):
    """A secret: the command that stores it, its file, its name for people, and the unit that receives it."""

    words: tuple[str, ...]
    file: str
    noun: str
    unit: str


KINDS = (
    Kind(("set-token",), "livekeep.vimeo-token", "token", "livekeep-poller.service"),
    Kind(("air", "set-key", "main"), "livekeep.stream-key.main", "stream key", WORKER),
    Kind(("air", "set-api-token"), "livekeep.api-token", "API token", "livekeep-controller.service"),
    Kind(("air", "set-youtube-key"), "livekeep.youtube-api-key", "YouTube API key", "livekeep-probe-youtube.service"),
)
TOKEN, STREAM_KEY, API_TOKEN, YOUTUBE_KEY = KINDS
of_each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.noun for kind in KINDS])


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(CHANNELS)
    return box


def stored(box: Box, name: str) -> str:
    file = box.root / "etc/credstore" / name
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    return file.read_text()


@of_each_kind
def test_from_a_file_and_again_from_a_pipe(box: Box, kind: Kind) -> None:
    """The unit is restarted with it; the same secret again only corrects the file's mode."""
    box.unit(kind.unit)
    done = box.run(*kind.words, str(box.file("secret", f"  {SECRET}\r\n")))
    assert done.returncode == 0, done.stderr
    assert stored(box, kind.file) == SECRET
    told = [f"reset-failed {kind.unit}", f"try-restart {kind.unit}"]
    assert box.told() == told
    assert f"{kind.unit.removesuffix('.service')} was restarted with it\n" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    (box.root / "etc/credstore" / kind.file).chmod(0o644)
    again = box.run(*kind.words, stdin=SECRET.encode())
    assert f"the {kind.noun} is unchanged\n" in again.stdout
    assert stored(box, kind.file) == SECRET
    assert box.told() == told


@of_each_kind
def test_for_a_unit_that_does_not_run(box: Box, kind: Kind) -> None:
    done = box.run(*kind.words, "-", stdin=f"{SECRET}\n".encode())
    assert done.returncode == 0, done.stderr
    assert stored(box, kind.file) == SECRET
    assert f"{kind.unit.removesuffix('.service')} does not run; it uses it when it starts\n" in done.stdout


@pytest.mark.parametrize("around", ['"{}"', "'{}'\n", "“{}”", "\ufeff{}", "\ufeff „{}“ ", "`{}`"])
@pytest.mark.parametrize("by_pipe", [False, True])
def test_what_editors_and_copying_put_around_it_is_left_out(box: Box, around: str, by_pipe: bool) -> None:
    text = around.format(SECRET).encode()
    done = box.run("set-token", stdin=text) if by_pipe else box.run("set-token", str(box.file("token", text)))
    assert done.returncode == 0, done.stderr
    assert stored(box, TOKEN.file) == SECRET


NO_SECRET = [
    *((kind, b"", f"contains no {kind.noun}; ") for kind in (TOKEN, STREAM_KEY, YOUTUBE_KEY)),
    *((kind, b"made up", "no spaces or line breaks within") for kind in KINDS),
    (TOKEN, b"VIMEO_TOKEN=made-up", "looks like a line NAME=TOKEN; give the token alone, or run: livekeep import-env"),
    (STREAM_KEY, b"STREAM_KEY=made-up", "looks like a line NAME=VALUE; give the stream key alone"),
    (TOKEN, b" \n\t\n", "contains no token"),
    (TOKEN, b"made-up\nmade-up", "no spaces or line breaks within"),
    (TOKEN, "made-up-tökén".encode(), "ASCII letters and digits only"),
    (TOKEN, b"made\x00up", "ASCII"),
    (TOKEN, b"m" * 2000, "too many"),
    (STREAM_KEY, b"made\x07up", "ASCII letters, digits and signs only"),
    (STREAM_KEY, b"rtmp://a.example/live2/made-up", "looks like a full URL; the stream key is the part after its last /"),
    (STREAM_KEY, b"/live2/made-up", "contains a path instead of a stream key"),
]


@pytest.mark.parametrize(("kind", "content", "says"), NO_SECRET)
def test_what_is_no_secret_is_refused_without_showing_it(box: Box, kind: Kind, content: bytes, says: str) -> None:
    old = box.file(f"etc/credstore/{kind.file}", "the old one")
    done = box.run(*kind.words, stdin=content)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "made" not in done.stderr + done.stdout
    assert old.read_text() == "the old one"
    assert box.told() == []


def test_files_that_cannot_be_read(box: Box) -> None:
    absent = box.root / "absent"
    assert box.run("set-token", str(absent)).stderr == f"{absent}: cannot be read (No such file or directory)\n"
    assert box.run("set-token", str(box.root)).stderr == f"{box.root}: cannot be read (Is a directory)\n"
    assert "is not UTF-8" in box.run("set-token", str(box.file("token", b"\xff\xfe\x00made-up"))).stderr
    assert "larger than 64 KiB" in box.run("set-token", str(box.file("token", b"m" * 100_000))).stderr
    done = box.run("set-token", stdin=b"\xff\xfemade-up")
    assert done.stderr == "standard input: a token has ASCII letters and digits only; copy it again\n"
    assert not (box.root / "etc/credstore").exists()


def test_a_secret_is_never_an_argument(box: Box) -> None:
    assert box.run("air", "set-key").returncode == 2
    assert "cannot be read (No such file or directory)" in box.run("air", "set-key", "main", SECRET).stderr


def test_a_restart_that_fails_is_told_and_the_token_is_kept(box: Box) -> None:
    box.start_units()
    (box.systemd / "fail-try-restart").write_text("Job for livekeep-poller.service failed.\n")
    done = box.run("set-token", stdin=SECRET.encode())
    assert done.returncode == 1
    assert "The token is stored; the poller uses it from its next start on." in done.stderr
    assert stored(box, TOKEN.file) == SECRET


# On a terminal


def test_from_a_prompt_without_echo(box: Box) -> None:
    status, shown = box.dialog(("set-token",), (b"shown): ", f"{SECRET}\n".encode()))
    assert (status, stored(box, TOKEN.file)) == (0, SECRET)
    assert SECRET.encode() not in shown


@pytest.mark.parametrize(
    ("typed", "code", "says"), [(b"\x04", 1, b"the input: contains no token; nothing was changed"), (b"\x03", 130, b"")]
)
def test_a_prompt_that_is_left_changes_nothing(box: Box, typed: bytes, code: int, says: bytes) -> None:
    """By Ctrl-D and Ctrl-C."""
    box.start_units()
    status, shown = box.dialog(("set-token",), (b"shown): ", typed))
    assert (status, says in shown, b"Traceback" in shown) == (code, True, False), shown
    assert not (box.root / "etc/credstore").exists()
    assert box.told() == []


# The stream key


def test_a_stream_key_with_signs(box: Box) -> None:
    """Other services' keys contain what YouTube's do not."""
    key = "FB-1-0-Ab_c?s_bl=1&s_ps=1&a=Abx%2B"
    assert box.run("air", "set-key", "main", "-", stdin=key.encode()).returncode == 0
    assert stored(box, STREAM_KEY.file) == key


def test_a_key_is_stored_with_the_servers_that_its_channel_names(box: Box) -> None:
    """Before the worker is restarted with it; and later only by a command of root's."""
    box.unit(WORKER)
    done = box.run("air", "set-key", "main", stdin=SECRET.encode())
    assert "The stream key goes to ingest.example only\n" in done.stdout
    assert stored(box, "livekeep.stream-ingest.main") == "ingest.example"
    box.file(
        "var/lib/livekeep/channels/lectures.json",
        '{"media": "/srv/l", "ingest_urls": ["rtmps://B.example/x", "rtmp://a.example"]}',
    )
    done = box.run("air", "bind-key", "lectures")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The stream key goes to a.example, b.example only\n")
    assert stored(box, "livekeep.stream-ingest.lectures") == "a.example b.example"
    assert box.run("air", "bind-key", "nobody").stderr.startswith('there is no channel "nobody"')


def test_a_stream_key_for_an_impossible_channel_and_before_its_channel(box: Box) -> None:
    done = box.run("air", "set-key", "../../etc/x", stdin=SECRET.encode())
    assert (done.returncode, "a channel's name has at most 32 small letters" in done.stderr) == (1, True)
    assert not (box.root / "etc/credstore").exists()
    done = box.run("air", "set-key", "later", stdin=SECRET.encode())
    assert done.returncode == 0
    assert 'There is no channel "later" yet; the configured ones are "main"' in done.stdout
    assert stored(box, "livekeep.stream-key.later") == SECRET


# YouTube, storage, API


def test_a_youtube_key_without_a_channel_that_needs_it(box: Box) -> None:
    done = box.run("air", "set-youtube-key", stdin=SECRET.encode())
    assert done.stdout.endswith("/etc/livekeep/livekeep.d/50-channel.toml\n")
    box.configure(f'{CHANNELS}youtube_video = "dQw4w9WgXcQ"\n')
    assert "No channel" not in box.run("air", "set-youtube-key", stdin=SECRET.encode()).stdout


def test_the_storage_key_from_two_lines(box: Box) -> None:
    box.unit(STORAGE)
    done = box.run("air", "set-storage-keys", stdin=b"made-up-id\n\n made-up-secret/+= \n")
    assert done.returncode == 0, done.stderr
    assert stored(box, "livekeep.storage-key-id") == "made-up-id"
    assert stored(box, "livekeep.storage-secret") == "made-up-secret/+="
    assert box.told() == [f"reset-failed {STORAGE}", f"try-restart {STORAGE}"]
    assert "made-up" not in done.stdout + done.stderr
    again = box.run("air", "set-storage-keys", stdin=b"made-up-id\nmade-up-secret/+=\n")
    assert again.stdout.count("is unchanged") == 2
    assert len(box.told()) == 2


def test_the_storage_key_from_prompts(box: Box) -> None:
    steps = (
        (b"Id of the storage key (it is not shown): ", b"made-up-id\n"),
        (b"Its secret (it is not shown): ", b"made-up-secret\n"),
    )
    status, shown = box.dialog(("air", "set-storage-keys"), *steps)
    assert (status, b"made-up" in shown) == (0, False), shown
    assert (stored(box, "livekeep.storage-key-id"), stored(box, "livekeep.storage-secret")) == ("made-up-id", "made-up-secret")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must be two lines, the storage key's id and its secret, but has 0"),
        (b"made-up\nmade-up\nmade-up\n", "but has 3"),
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


def test_an_api_token_is_created_and_shown_once(box: Box) -> None:
    box.unit(API_TOKEN.unit)
    done = box.run("air", "set-api-token")
    assert done.returncode == 0, done.stderr
    token = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert stored(box, API_TOKEN.file) == token
    assert "livekeep-controller was restarted with it" in done.stdout
    assert box.run("air", "set-api-token").stdout.splitlines()[-1] != token


# The web pages' password


@pytest.mark.parametrize("by_pipe", [False, True])
def test_what_is_stored_of_a_password_is_the_hash_of_the_first_line(box: Box, by_pipe: bool) -> None:
    text = f"{PASSWORD}\n".encode()
    done = box.run("set-web-password", stdin=text) if by_pipe else box.run("set-web-password", str(box.file("password", text)))
    assert done.returncode == 0, done.stderr
    kept = stored(box, "livekeep.web-password")
    assert password_hash.matches(PASSWORD, kept)
    assert not password_hash.matches(PASSWORD + "x", kept)
    assert PASSWORD not in done.stdout + done.stderr + kept
    assert "livekeep-web does not run; it uses it when it starts" in done.stdout
    assert password_hash.make(PASSWORD) != kept, "two hashes of one password differ"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 characters are too few"),
        ("short", "5 characters are too few"),
        ("aaaaaaaaaaaaaaaa", "a few characters repeated"),
        ("first line of two\nsecond line", "more than one line"),
        ("with\x07a bell inside", "no control characters"),
        ("x0123456789" * 100, "too many"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_no_good_password_is_refused(box: Box, text: str, complaint: str) -> None:
    done = box.run("set-web-password", stdin=text.encode())
    assert done.returncode == 1
    assert complaint in done.stderr
    assert not text or text not in done.stderr
    assert not (box.root / "etc/credstore").exists()


@pytest.mark.parametrize("second", [PASSWORD, "something else"])
def test_a_person_types_a_password_twice_without_seeing_it(box: Box, second: str) -> None:
    steps = ((b"shown): ", f"{PASSWORD}\n".encode()), (b"more): ", f"{second}\n".encode()))
    status, shown = box.dialog(("set-web-password",), *steps)
    assert (status == 0, b"passwords differ" in shown) == (second == PASSWORD, second != PASSWORD), shown
    assert PASSWORD.encode() not in shown
    assert (box.root / "etc/credstore/livekeep.web-password").exists() == (second == PASSWORD)
