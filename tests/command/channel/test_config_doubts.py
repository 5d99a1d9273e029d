"""livekeep check-config of channels: what is doubtful is told, and no ingest's URL is shown."""

from pathlib import Path

import pytest

from livekeep.command.channel import config_doubts
from livekeep.core.config import Channel
from tests.command.air_box import CHANNELS
from tests.command.box import Box

NO_INGEST = 'ingest_urls: is empty, so the channel is not set up; give the ingest\'s URL without the key: "rtmp://HOST/APP"'
KEY = "abcd-efgh-0123-wxyz"


def test_each_doubt_is_a_line(box: Box) -> None:
    box.configure(
        '[channels.main]\n[channels.hall]\nmedia = "/no/such/folder"\ningest_urls = "rtmp://h/app"\nslate = "/no/slate.png"\n'
    )
    done = box.run("check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ok",
        "warning: channels.hall.media: /no/such/folder: there is no such folder",
        "warning: channels.hall.slate: /no/slate.png: there is no such file",
        'warning: channels.main.media: is empty, so the channel is not set up; give a folder, or "s3://bucket/prefix"',
        f"warning: channels.main.{NO_INGEST}",
        f"warning: channels.main.slate: {box.root}/usr/share/livekeep/pictures/slate.png: there is no such file",
    ]


def test_a_channel_that_is_well(box: Box) -> None:
    box.file("usr/share/livekeep/pictures/slate.png", b"")
    folder = box.root / "srv/media"
    folder.mkdir(parents=True)
    box.configure(CHANNELS.replace("/srv/media", str(folder)))
    assert box.run("check-config").stdout == "ok\n"
    box.configure(CHANNELS.replace("/srv/media", "s3://bucket/prefix"))
    assert box.run("check-config").stdout == "ok\n"


def test_channels_of_the_api(box: Box) -> None:
    box.configure("")
    box.file(
        "var/lib/livekeep/channels/web.json", '{"media": "s3://bucket", "ingest_urls": ["rtmp://h/a"], "slate": "/none.png"}'
    )
    box.file("var/lib/livekeep/channels/wide.json", '{"width": 333}')
    lines = box.run("check-config").stdout.splitlines()
    assert lines[0] == "ok"
    assert "wide.json: is not a channel (width: must be even, is 333)" in lines[1]
    assert lines[2:] == ["warning: channels.web.slate: /none.png: there is no such file"]


@pytest.mark.parametrize(
    ("url", "is_doubtful"),
    [
        ("rtmp://a.rtmp.youtube.com/live2", False),
        ("rtmps://a.rtmps.youtube.com:443/live2/", False),
        ("rtmp://[::1]:1935/live", False),
        ("rtmp://b.rtmp.youtube.com/live2?backup=1", False),
        (f"rtmp://a.rtmp.youtube.com/live2/{KEY}", True),
        (f"rtmp://a.rtmp.youtube.com/live2/{KEY}-pqrs", True),
        (f"rtmp://a.rtmp.youtube.com/{KEY}", True),
        ("rtmp://live.example/app/live_1_made-up", True),
        ("rtmp://live.example/app?key=made-up", True),
    ],
)
def test_a_url_that_seems_to_hold_the_key(url: str, is_doubtful: bool) -> None:
    found = list(config_doubts.ingests(Channel(ingest_urls=(url,))))
    assert [line for line in found if "seems to hold the stream key" in line] == (found if is_doubtful else [])
    assert is_doubtful or not found
    assert not [line for line in found if KEY in line or "made-up" in line]


def test_a_url_without_an_application() -> None:
    (line,) = config_doubts.ingests(Channel(ingest_urls=("rtmp://live.example:1935",)))
    assert line.startswith("ingest_urls: live.example:1935: names no application")


@pytest.mark.parametrize("place", ["/home/me/media", "/root", "/tmp/x", "/var/tmp/x", "/run/user/1000/media"])
def test_what_the_units_cannot_see(place: str) -> None:
    (line,) = config_doubts.place(Path(place), Path("/"))
    assert line.startswith(f"{place}: the units cannot see what lies in /")
    assert list(config_doubts.place(Path("/srv") / place.lstrip("/"), Path("/"))) == []
