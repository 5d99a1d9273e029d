"""The reader of HLS playlists: what it makes of a text, in whatever pieces that comes."""

import time
import tracemalloc

import pytest

from livekeep.system import hls
from livekeep.system.hls import Media, Reader
from livekeep.system.http import Client, TransportError
from tests.web import MASTER, Request, Web, http
from tests.web import playlist as media


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"#EXTM3U\n", Media()),
        (b"#EXTM3U", Media()),
        (b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE: 12 \n#EXT-X-TARGETDURATION:6\n#EXTINF:6\na.ts\n", Media(12, 1, "a.ts", 6.0)),
        (b"#EXTM3U\r\n#EXTINF:6\r\nhttp://x/y/a.ts?sig=1#f\r\n", Media(0, 1, "a.ts")),
        (b"#EXTM3U\r#EXT-X-MEDIA-SEQUENCE:7\r#EXTINF:6\ra.ts\r", Media(7, 1, "a.ts")),
        (b"#EXTM3U\n#EXTINF:6\n/y/a.ts;jsessionid=1/2\n", Media(0, 1, "a.ts")),
        (b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:-5\n#EXT-X-TARGETDURATION:nan\na\x00b.ts", Media(0, 1, "ab.ts")),
        (b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:99999999999999999999\n#EXT-X-TARGETDURATION:0\n", Media()),
        (b"#EXTM3U\n#EXT-X-ENDLIST\n" + b"x" * 500, Media(0, 1, "x" * 100, None, True)),
        (b"#EXTM3U\n#EXTINF:6\ngr\xc3\xb6\xc3\x9fe 1.ts\n#EXT-X-ENDLIST", Media(0, 1, "größe 1.ts", None, True)),
        (b"\xef\xbb\xbf#EXTM3U\n#EXTINF:6\na.ts\n", Media(0, 1, "a.ts")),
        # Parts of a segment that is still being made are no segment yet.
        (b'#EXTM3U\n#EXTINF:6\na.ts\n#EXT-X-PART:DURATION=1,URI="b.0"\n#EXT-X-PRELOAD-HINT:URI="b.1"\n', Media(0, 1, "a.ts")),
        (b"<html>", None),
        (b"", None),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_media_playlist(text: bytes, expected: Media | None, size: int) -> None:
    reader = Reader()
    for start in range(0, len(text), size):
        reader.take(text[start : start + size])
    reader.close()
    assert (reader.media(), reader.master(), reader.is_playlist()) == (expected, None, expected is not None)


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("between", ["", "# a comment\n", "\n\n#EXT-X-ODD:1\n# and one more\n"])
def test_a_variant_is_the_next_address_after_its_declaration(between: str, size: int) -> None:
    declared = ("#EXT-X-STREAM-INF:BANDWIDTH=900000", "#EXT-X-STREAM-INF:RESOLUTION=1x1")
    text = f"#EXTM3U\n{declared[0]}\n{between}low.m3u8\n{declared[1]}\nhigh.m3u8\n".encode()
    reader = Reader()
    for start in range(0, len(text), size):
        reader.take(text[start : start + size])
    reader.close()
    master = reader.master()
    assert master
    assert [(variant.uri, variant.bandwidth_bits_per_second) for variant in master.variants] == [
        ("low.m3u8", 900_000), ("high.m3u8", None),
    ]  # fmt: skip
    assert reader.media() is None


def test_a_master_playlist_without_bandwidth_declares_none() -> None:
    reader = Reader()
    reader.take(b"#EXTM3U\n#EXT-X-STREAM-INF:RESOLUTION=1x1\nx.m3u8\n")
    found = reader.master()
    assert found
    assert found.highest_bandwidth() is None


def test_a_long_playlist_is_counted_to_its_end_in_little_memory() -> None:
    """An event that can be rewound: 100,000 segments, 9 MB."""
    head = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n"
    piece = b"".join(b"#EXTINF:2.0,\nsegment%d.ts?hmac=%s\n" % (number, b"s" * 64) for number in range(1000))
    reader = Reader()
    tracemalloc.start()
    assert reader.take(head)
    for _ in range(100):
        for start in range(0, len(piece), 65536):
            assert reader.take(piece[start : start + 65536])
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.take(b"#EXT-X-ENDLIST\n")
    reader.close()
    assert reader.media() == Media(5, 100_000, "segment999.ts", 2.0, True)
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "piece",
    [b"#" * 65536, b"#EXT-X-STREAM-INF:BANDWIDTH=1\nx\n" * 2000, b"#EXTINF:1\na.ts\n" * 4000],
    ids=["a line", "variants", "segments"],
)
def test_a_playlist_without_end_is_given_up_and_unknown(piece: bytes) -> None:
    reader = Reader(most_bytes=8_000_000)
    reader.take(b"#EXTM3U\n")
    assert any(not reader.take(piece) for _ in range(1000))
    assert reader.is_playlist()
    assert reader.is_cut
    assert reader.media() is None


def read(url: str, seconds: float = 15.0) -> hls.Stream:
    return hls.read(Client(), url, time.monotonic() + seconds)


def test_the_next_variant_is_read_where_the_first_is_gone() -> None:
    def answer(request: Request) -> bytes | None:
        return {"/m.m3u8": http(200, MASTER), "/high.m3u8": http(200, media(7, 3))}.get(request.path, http(404))

    with Web(answer) as web:
        stream = read(f"{web.url}/m.m3u8")
        assert (stream.media, stream.master and len(stream.master.variants)) == (Media(7, 3, "segment9.ts", 2.0), 2)
        web.answer = lambda request: http(200, MASTER) if request.path == "/m.m3u8" else None
        stream = read(f"{web.url}/m.m3u8")
        assert stream.media is None
        assert isinstance(stream.last, TransportError)


def test_few_of_many_variants_are_tried() -> None:
    master = b"#EXTM3U\n" + b"".join(b"#EXT-X-STREAM-INF:BANDWIDTH=1\nv%d.m3u8\n" % number for number in range(1000))
    with Web(lambda request: http(200, master) if request.path == "/m.m3u8" else http(404)) as web:
        stream = read(f"{web.url}/m.m3u8")
        assert (stream.media, len(web.requests)) == (None, 7)


def test_a_playlist_that_comes_too_slowly_is_there_and_unknown() -> None:
    def dawdle(connection: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + media(1, 3))  # type: ignore[attr-defined]
        web.hang(connection)  # type: ignore[arg-type]

    with Web(lambda request: dawdle) as web:
        stream = read(f"{web.url}/x.m3u8", 4.0)
    assert (stream.is_playlist, stream.is_cut, stream.media) == (True, True, None)


def test_the_connection_is_kept_from_one_playlist_to_the_next() -> None:
    def answer(request: Request) -> bytes:
        return http(200, MASTER if request.path == "/m.m3u8" else media(7, 3))

    with Web(answer) as web:
        client = Client()
        for _ in range(3):
            assert hls.read(client, f"{web.url}/m.m3u8", time.monotonic() + 15).media == Media(7, 3, "segment9.ts", 2.0)
        assert web.connections == 1
