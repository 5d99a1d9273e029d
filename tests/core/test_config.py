"""The configuration: merging, and that everything wrong with it is told at once, by file and key."""

import dataclasses
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from livekeep.core import config
from livekeep.core.config import Channel, Config, Screen, Stream, load, load_leniently
from livekeep.core.config.record import SHIPPED_ALERTS
from livekeep.core.config.schema import Controller
from livekeep.core.errors import ConfigError
from tests.outside import LIBRARY, PROJECT, UNPRIVILEGED


class Files:
    """A livekeep.toml and its drop-ins below `root`."""

    def __init__(self, root: Path) -> None:
        self.main, self.drop_ins = root / "livekeep.toml", root / "livekeep.d"
        self.drop_ins.mkdir()

    def write(self, text: str, **drop_ins: str) -> None:
        self.main.write_text(text)
        for name, content in drop_ins.items():
            (self.drop_ins / f"{name}.toml").write_text(content)

    def load(self) -> Config:
        return load(self.main, self.drop_ins)

    def problems(self) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load()
        assert str(caught.value) == "\n".join(caught.value.problems)
        return caught.value.problems


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_an_empty_file_means_the_defaults(files: Files) -> None:
    files.write("")
    assert files.load() == Config()
    assert not files.load().selected_stream().is_set_up()


def test_a_channel_s_fault_names_the_file_that_it_stands_in(files: Files) -> None:
    files.write("[channels.main]\n", a="[channels.main]\nwidth = 641\n", b='[channels.Night]\nheight = 361\nmedia = "/srv"\n')
    assert files.problems() == (
        f"{files.drop_ins}/b.toml: channels.Night: must be named with small letters, digits, - and _, 32 at most",
        f"{files.drop_ins}/b.toml: channels.Night.height: must be even, is 361",
        f"{files.drop_ins}/a.toml: channels.main.width: must be even, is 641",
    )


def test_the_place_of_a_key_is_the_last_file_that_sets_it(files: Files) -> None:
    files.write("[channels.main]\nwidth = 640\n", a='[channels.main]\nmedia = "/srv"\n', b="[log]\n")

    def place_of(*wanted: str) -> Path | None:
        return config.place_of(*wanted, file=files.main, drop_ins=files.drop_ins)

    assert place_of("channels", "main") == files.drop_ins / "a.toml"
    assert place_of("channels", "main", "width") == files.main
    assert place_of("channels", "other") is None


def test_the_later_file_wins_key_by_key(files: Files) -> None:
    files.write(
        '[poller]\ninterval_seconds = 20\n[screen]\nvolume = 10\n[streams.main]\nvimeo_event = "1"\n',
        b='[screen]\nvolume = 30\nholding = ["/b.png", "/c.png"]\n',
        a='[screen]\nvolume = 20\nerror = "/a.png"\n[streams.other]\nurl = "rtsp://camera/1"\n',
    )
    (files.drop_ins / "z.conf").write_text("not read")
    found = files.load()
    assert found.poller.interval_seconds == 20.0
    assert found.screen == Screen(volume=30, error="/a.png", holding=("/b.png", "/c.png"))
    assert found.streams == {"main": Stream(vimeo_event="1"), "other": Stream(url="rtsp://camera/1")}
    assert found.selected_stream() == Stream(vimeo_event="1")


def test_one_picture_may_be_written_without_a_list(files: Files) -> None:
    files.write('[screen]\nholding = "/one.mp4"\n')
    assert files.load().screen.holding == ("/one.mp4",)


def test_all_problems_are_told_at_once_with_their_file(files: Files) -> None:
    files.write("[poller]\ninterval_seconds = 0\nspeed = 3\n[scren]\nx = 1\n", drop='[screen]\nvolume = "loud"\n', broken="[a\n")
    problems = files.problems()
    assert len(problems) == 5
    main, drop, broken = files.main, files.drop_ins / "drop.toml", files.drop_ins / "broken.toml"
    assert f'{main}: poller.interval_seconds: must be from 1 to 3600, or "auto", is 0' in problems
    assert f'{drop}: screen.volume: must be a whole number, is "loud"' in problems
    assert any(line.startswith(f"{main}: poller.speed: unknown key; known are interval_seconds, ") for line in problems)
    assert any(line.startswith(f"{main}: scren: unknown table") for line in problems)
    assert any(line.startswith(f"{broken}: is not valid TOML: ") and "line 1" in line for line in problems)


BAD_VALUES = (
    ("log", "level", '"loud"', 'must be one of "debug", "info", "warning", "error"'),
    ("log", "level", "3", "must be text in quotes"),
    ("vimeo", "api_url", '"ftp://api.vimeo.com"', "must be a URL that begins with https://, http://"),
    ("poller", "interval_seconds", "true", "must be a number"),
    ("poller", "interval_seconds", "nan", "must be from 1 to 3600"),
    ("poller", "interval_seconds", "inf", "must be from 1 to 3600"),
    ("poller", "interval_seconds", "1" + "0" * 400, "must be from 1 to 3600"),
    ("poller", "failures_before_error", "2.5", "must be a whole number"),
    ("poller", "failures_before_error", "true", "must be a whole number"),
    ("probes.youtube", "api_url", '"http://youtube.example"', "must be a URL that begins with https://"),
    ("probes.youtube", "api_url", '"http://127.0.0.1.example/"', "must be a URL that begins with https://"),
    ("probes.youtube", "api_url", '"https://youtube.example/?key=1"', "must be a URL that begins with https://"),
    ("probes.youtube", "api_url", '"https://me@youtube.example"', "must be a URL that begins with https://"),
    ("probes.youtube", "api_url", '""', "must be a URL that begins with https://"),
    ("screen", "x11_display", '"far:0"', "must be a local display"),
    ("screen", "x11_authority", '"Xauthority"', "must be an absolute path"),
    ("screen", "wayland_display", '"../wayland-0"', "must be a socket name"),
    ("screen", "desktop_user", '"-root"', "must be a user's name"),
    ("screen", "connector", '"HDMI A 1"', "must be a connector"),
    ("screen", "mode", '"full"', "must be a mode"),
    ("screen", "hwdec", '""', "must be a decoder"),
    ("screen", "audio_device", '""', "must be a device"),
    ("screen", "holding", "[]", "must be a text or a list of texts, not empty"),
    ("screen", "holding", '["/a.png", 3]', "must be a text or a list of texts"),
    ("screen", "holding", '["/a.png", "b.png"]', "must be an absolute path"),
    ("screen", "show_next_start", '"yes"', "must be true or false"),
    ("storage", "region", '"EU west"', "must be a region"),
    ("controller", "cors_origins", '["*"]', "must be a URL that begins with https://, http://"),
    ("channels.main", "media", '"media"', "must be a folder"),
    ("channels.main", "media", '"s3://B/x"', "must be a folder"),
    ("channels.main", "extensions", '["mp4"]', "must be in small letters with its dot"),
    ("channels.main", "ingest_urls", '["srt://host:1"]', "must be a URL that begins with rtmp://, rtmps://"),
    ("streams.main", "vimeo_event", '"12a"', "must be the event's number"),
    ("streams.main", "vimeo_video", '"vimeo.com/1"', "must be the video's number"),
)


BAD_VALUES += tuple(
    ("probes.network", key, f'["{name}"]', 'must be a name or an address, such as "vimeo.com"')
    for key in ("names", "hosts")
    for name in ("a..b", ".a", "a b.example", "-a.example", "x" * 64 + ".example", "1.2.3.400", "1.2.3", ":::", "fe80::g")
)
BAD_VALUES += tuple(
    ("exporter", "address", f'"{address}"', 'must be an IP address such as "127.0.0.1" or "::"')
    for address in ("300.1.1.1", "1.2.3", ":::", "localhost", "")
)
WITH_NAMED = {"streams.main": Config(streams={"main": Stream()}), "channels.main": Config(channels={"main": Channel()})}


@pytest.mark.parametrize(("table", "key", "value", "complaint"), BAD_VALUES, ids=[f"{at[1]}={at[2]:.12}" for at in BAD_VALUES])
def test_a_bad_value_is_told_and_leaves_the_default(files: Files, table: str, key: str, value: str, complaint: str) -> None:
    files.write(f"[{table}]\n{key} = {value}\n")
    (line,) = files.problems()
    assert line.startswith(f"{files.main}: {table}.{key}: {complaint}")
    assert ", is " in line
    found = load_leniently(files.main, files.drop_ins)[0]
    assert found == WITH_NAMED.get(table, Config())


GOOD_HOSTS = ("vimeo.com", "vimeo.com.", "a", "_dmarc.a-b.example", "x" * 63 + ".example", "192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize("name", GOOD_HOSTS)
def test_a_name_or_an_address_is_taken(files: Files, name: str) -> None:
    files.write(f'[probes.network]\nnames = ["{name}"]\nhosts = ["{name}"]\n')
    assert files.load().probes.network.names == files.load().probes.network.hosts == (name,)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/shadow",
        "exec:rm",
        "lavfi://testsrc",
        "av://v4l2",
        "https://",
        "/x",
        "http://a b/",
        "http://[::1/",
        "http://a/\\nquit",
    ],
)
def test_a_stream_is_opened_by_its_schemes_only(files: Files, url: str) -> None:
    files.write(f'[streams.main]\nurl = "{url}"\n')
    (line,) = files.problems()
    assert "streams.main.url: must be a URL that begins with http://, https://, rtmp://" in line


@pytest.mark.parametrize("scheme", config.STREAM_SCHEMES)
def test_every_scheme_of_a_stream_is_taken_in_any_case(files: Files, scheme: str) -> None:
    files.write(f'[streams.main]\nurl = "{scheme.upper()}://host/path?x=1"\n')
    assert files.load().selected_stream().is_set_up()


@pytest.mark.parametrize(
    "url",
    [
        '"htp://user:hunter2@host/x?sig=hunter2"',
        '"htp://user:hun/hunter2@host/x"',
        '"htp://host/x#hunter2"',
        '"htp:user:hunter2@h"',
        '["htp://user:hunter2@host"]',
    ],
)
def test_a_message_shows_no_secret_of_a_url(files: Files, url: str) -> None:
    files.write(f"[streams.main]\nurl = {url}\n[vimeo]\nproxy = {url}\n")
    problems = files.problems()
    assert len(problems) == 2
    assert all("htp:" in line and "hunter2" not in line for line in problems)


def test_a_stream_has_one_source_and_the_selected_one_exists(files: Files) -> None:
    files.write('[stream]\nselected = "hall"\n[streams.main]\nvimeo_event = "1"\nurl = "http://host/"\n')
    both, selected = files.problems()
    assert both == f"{files.main}: streams.main: set only one of vimeo_event, vimeo_video, url"
    assert selected == f'{files.main}: stream.selected: must be one of the configured streams "main", is "hall"'


@pytest.mark.parametrize("text", ['screen = "x"\n', "streams = 3\n", "[streams]\nmain = 3\n", "[[screen]]\n"])
def test_a_table_must_be_one(files: Files, text: str) -> None:
    files.write(text)
    (line,) = files.problems()
    assert "must be a table, written [" in line


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:p@ss#1@host/",
        "rtsp://admin:p@ss@host/",
        "rtsp://admin:p#ss@host/",
        "rtsp://admin:p?ss@host/",
        "rtsp://admin:12/34@host/",
        "http://admin#1:x@host/live.m3u8",
    ],
)
def test_a_password_with_a_raw_sign_is_refused_and_no_piece_of_it_shown(files: Files, url: str) -> None:
    """Else what stands before the sign would be taken for the host, and go to the resolver."""
    files.write(f'[streams.main]\nurl = "{url}"\n')
    (line,) = files.problems()
    scheme = url.partition(":")[0]
    wanted = "must have the signs of its user and password percent-encoded: @ as %40, # as %23, / as %2F, ? as %3F"
    assert line == f'{files.main}: streams.main.url: {wanted}, is "{scheme}:…"'


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:p%40ss%231@host:554/1",
        "http://host/@user/live.m3u8",
        "http://host:8080/live/a@b.m3u8",
        "http://host/live?mail=a@b#x@y",
        "http://user:p@host/a@b",
        "rtsp://192.168.1.10:554/user=admin&password=p@ss&channel=1",
    ],
)
def test_an_at_sign_behind_the_host_is_no_password_s(files: Files, url: str) -> None:
    files.write(f'[streams.main]\nurl = "{url}"\n')
    assert files.load().streams["main"].url == url


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(files: Files) -> None:
    files.main.write_bytes(b'\xef\xbb\xbf[streams.main]\r\nvimeo_event = "1"\r\n')
    (files.drop_ins / "a.toml").write_bytes(b"\xef\xbb\xbf[screen]\nvolume = 30\n")
    assert files.load().streams == {"main": Stream(vimeo_event="1")}
    assert files.load().screen.volume == 30


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# “so”\n[screen]\nerror = “/a.png”\n", 'line 3 holds a typographic quote in place of " (“)'),
        ("[screen]\nerror = ‘/a.png’\n", "line 2 holds a typographic quote in place of ' (‘)"),
        ("[screen]\nerror = „/a.png“\n", 'line 2 holds a typographic quote in place of " („)'),
        ("[poller]\ninterval_seconds =\u00a010\n", "line 2 holds a space that does not break in place of a plain one (0xa0)"),
        ("[screen]\nvolume = –1\n", "line 2 holds a dash in place of - (–)"),
    ],
)
def test_signs_of_a_word_processor_are_named_with_their_line(files: Files, text: str, says: str) -> None:
    files.write(text)
    (line,) = files.problems()
    assert line == f"{files.main}: is not valid TOML: {says}; type it again by keyboard"


def test_signs_of_a_word_processor_within_a_text_are_text(files: Files) -> None:
    files.write('[streams."“Youth” – hall"]\nvimeo_event = "1"\n[stream]\nselected = "“Youth” – hall"\n')
    assert list(files.load().streams) == ["“Youth” – hall"]
    files.write('[streams."“Youth”"]\nvimeo_event = "1\n')
    assert "typographic" not in files.problems()[0]


def test_files_that_are_passed_over_for_their_name_are_known(files: Files) -> None:
    for name in (
        "a.toml",
        "hall.toml.txt",
        "hall.conf",
        "B.TOML",
        ".hidden",
        "a.toml~",
        "a.toml.bak",
        "a.toml.dpkg-old",
        "a.toml.livekeep-20260101-101010",
    ):
        (files.drop_ins / name).touch()
    (files.drop_ins / "folder").mkdir()
    assert [path.name for path in config.ignored_files(files.drop_ins)] == ["B.TOML", "hall.conf", "hall.toml.txt"]
    assert config.ignored_files(files.drop_ins / "absent") == ()


FOREIGN = {
    "missing": (None, "missing; run install.sh again"),
    "UTF-16": ("[log]".encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n\xff", "is not UTF-8 text"),
    "JSON": (b'{"poller": 1}', "is not valid TOML"),
    "nested": (b"a = " + b"[" * 10_000, "is not valid TOML"),
    "a number without end": (b"[poller]\ninterval_seconds = 1" + b"0" * 5000, "interval_seconds"),
    "a key twice": (b"[log]\nlevel = 'info'\nlevel = 'info'\n", "is not valid TOML"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_gives_one_line_and_the_defaults(files: Files, kind: str) -> None:
    content, complaint = FOREIGN[kind]
    if content is not None:
        files.main.write_bytes(content)
    (line,) = files.problems()
    assert str(files.main) in line
    assert complaint in line or "is not valid TOML" in line
    config, (told,) = load_leniently(files.main, files.drop_ins)
    assert config == Config()
    # The parser's own words vary with the depth of the call.
    assert told.partition("valid TOML:")[:2] == line.partition("valid TOML:")[:2]


def test_a_folder_in_place_of_the_file_is_told(files: Files) -> None:
    files.main.mkdir()
    (line,) = files.problems()
    assert line.startswith(f"{files.main}: cannot be read (Is a directory)")


@pytest.mark.parametrize("unreadable", ["livekeep.toml", "livekeep.d/x.toml", "livekeep.d"])
def test_what_may_not_be_read_is_told(tmp_path: Path, unreadable: str) -> None:
    world = Files(tmp_path)
    world.write("", x="[screen]\nvolume = 50\n")
    (tmp_path / unreadable).chmod(0)
    drop = [f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"] if os.geteuid() == 0 else []
    script = (
        "import pathlib, sys; from livekeep.core.config import load_leniently\n"
        "print(*load_leniently(pathlib.Path('livekeep.toml'), pathlib.Path('livekeep.d'))[1], sep='\\n')"
    )
    tmp_path.chmod(0o755)
    command = [*(["setpriv", *drop, "--"] if drop else []), sys.executable, "-c", script]
    # The working folder is inherited: the folders above need not be passable for the other user.
    ran = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, check=False)
    (tmp_path / unreadable).chmod(stat.S_IRWXU)
    assert ran.stdout.startswith(f"{unreadable}: cannot be read (Permission denied)"), ran.stdout + ran.stderr
    assert ran.stdout.count("\n") == 1


# Channels


def test_a_channel_has_two_ingests_at_most_and_an_even_size(files: Files) -> None:
    urls = '["rtmp://a/1", "rtmp://a/2", "rtmps://b/3"]'
    files.write(f'[channels.main]\nwidth = 321\ningest_urls = {urls}\n[channels."Two words"]\n')
    size, ingests, name = sorted(files.problems(), key=lambda line: ("Two" in line, "ingest" in line))
    assert size == f"{files.main}: channels.main.width: must be even, is 321"
    assert ingests == f"{files.main}: channels.main.ingest_urls: must be a primary and at most one backup, are 3"
    assert name == f"{files.main}: channels.Two words: must be named with small letters, digits, - and _, 32 at most"


def test_a_channel_is_set_up_with_media_and_an_ingest(files: Files) -> None:
    files.write(
        '[channels.a]\nmedia = "/srv/media"\n[channels.b]\nmedia = "s3://bucket/some/prefix"\ningest_urls = "rtmps://host/app"\n'
    )
    channels = files.load().channels
    assert [(name, channel.is_set_up()) for name, channel in channels.items()] == [("a", False), ("b", True)]
    assert channels["b"].ingest_urls == ("rtmps://host/app",)


@pytest.mark.parametrize("value", ["", "dQw4w9WgXcQ", "-_-_-_-_-_-"])
def test_a_video_s_id(files: Files, value: str) -> None:
    files.write(f'[channels.main]\nyoutube_video = "{value}"\n')
    assert files.load().channels["main"].youtube_video == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=10s", 'here "dQw4w9WgXcQ"'),
        ("https://www.youtube.com/watch?feature=share&v=dQw4w9WgXcQ", 'here "dQw4w9WgXcQ"'),
        ("https://youtu.be/dQw4w9WgXcQ?si=abc", 'here "dQw4w9WgXcQ"'),
        ("youtube.com/live/dQw4w9WgXcQ", 'here "dQw4w9WgXcQ"'),
        ("https://studio.youtube.com/video/dQw4w9WgXcQ/livestreaming", 'here "dQw4w9WgXcQ"'),
        ("https://www.youtube.com/@somebody/live", "the 11 characters behind v= in its address"),
        ("dQw4w9WgXc", "the 11 characters behind v= in its address"),
        ("dQw4w9WgXcQ\\n", "the 11 characters behind v= in its address"),
    ],
)
def test_what_is_no_video_s_id_is_told_where_it_stands(files: Files, value: str, says: str) -> None:
    files.write(f'[channels.main]\nyoutube_video = "{value}"\n')
    with pytest.raises(ConfigError, match=re.escape(f"channels.main.youtube_video: must be the video's id alone, {says}, is ")):
        files.load()


@pytest.mark.parametrize("value", ["https://a.example", "HTTPS://a.example:8443/v3/", "http://localhost:1/v3", "http://[::1]:80"])
def test_where_a_key_may_be_sent(files: Files, value: str) -> None:
    files.write(f'[probes.youtube]\napi_url = "{value}"\n')
    assert files.load().probes.youtube.api_url == value


def test_a_list_may_be_empty_where_its_default_is(files: Files) -> None:
    files.write("[channels.main]\ningest_urls = []\n[controller]\ncors_origins = []\n")
    assert files.load() == Config(controller=Controller(), channels={"main": Channel()})


EXAMPLES = (("channels", "main"), ("notify", "me"), ("alerts", "mine"), ("clips", "mine"))


def example() -> str:
    """The shipped configuration with its examples put into force: each # that stands right before a key or table."""
    return re.sub(r"^#(?=[a-z_\[])", "", (PROJECT / "etc/livekeep.toml").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(("table", "name"), EXAMPLES)
def test_an_example_names_every_key_once(table: str, name: str) -> None:
    shown = tomllib.loads(example())[table]
    assert list(shown) == [name]
    assert set(shown[name]) == {entry.name for entry in dataclasses.fields(config.NAMED[table])}


def test_the_examples_hold_the_defaults(files: Files) -> None:
    files.write(example())
    loaded, problems = load_leniently(files.main, files.drop_ins)
    # They lack the one key that says what is meant.
    assert [problem.split(": ")[1] for problem in problems] == ["alerts.mine.event", "clips.mine.vimeo"]
    for table, name in EXAMPLES:
        assert getattr(loaded, table)[name] == config.NAMED[table]()


def test_a_shipped_rule_is_changed_key_by_key(files: Files) -> None:
    files.write("[alerts.hot]\nabove = 70\n")
    alerts = files.load().alerts
    assert alerts["hot"] == dataclasses.replace(SHIPPED_ALERTS["hot"], above=70.0)
    assert {name: rule for name, rule in alerts.items() if name != "hot"} == {
        name: rule for name, rule in SHIPPED_ALERTS.items() if name != "hot"
    }


@pytest.mark.parametrize("value", ['"much"', "true", "[1]"])
def test_where_a_number_or_a_word_is_taken_nothing_else_is(files: Files, value: str) -> None:
    files.write(f"[alerts.mine]\nthreshold = {value}\n")
    with pytest.raises(ConfigError, match=r"livekeep.toml: alerts.mine.threshold: must be a number"):
        files.load()


def test_a_drop_in_may_be_json(files: Files) -> None:
    files.write("")
    mine = '{"record": {"call_days": 30}, "alerts": {"mine": {"kind": "slow", "threshold": 2}}}'
    (files.drop_ins / "40-mine.json").write_text(mine)
    (files.drop_ins / "50-mine.toml").write_text("[record]\nsummary_days = 40\n")
    loaded = files.load()
    assert (loaded.record.call_days, loaded.record.summary_days, loaded.alerts["mine"].threshold) == (30, 40, 2.0)


@pytest.mark.parametrize(
    ("text", "says"), [("[1]", "must hold an object"), ('{"record": ', "is not valid JSON"), ("", "is not valid JSON")]
)
def test_a_json_drop_in_that_is_none_is_told(files: Files, text: str, says: str) -> None:
    files.write("")
    (files.drop_ins / "40-mine.json").write_text(text)
    with pytest.raises(ConfigError, match=f"40-mine.json: {says}"):
        files.load()
