"""Buckets: listed and signed with real stores, and each way to fail told in one line without a URL."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.air.storage.bucket import Bucket
from livekeep.air.storage.media import MediaFile, StorageError
from livekeep.core.config import Storage
from tests.air.ingest import Certificates, encrypted
from tests.air.object_stores import (
    BUCKET,
    KEY_ID,
    S3RVER_KEY,
    SECRET,
    TEMPORARY_NAME,
    Reply,
    StandIn,
    Store,
    listing,
    rclone,
    s3_error,
    s3rver,
)

EXTENSIONS = (".mp4", ".mkv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bucket's folder of the store."""
    bucket = tmp_path_factory.mktemp("buckets") / "store" / BUCKET
    for name in ("p/a.mp4", "p/b/C.MKV", "p/notes.txt", "p/.hidden.mp4", "p2/other.mp4", f"p/{TEMPORARY_NAME}", "top.mp4"):
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).write_bytes(name.encode())
    (bucket / "p/empty.mp4").touch()
    (bucket / "texts").mkdir()
    (bucket / "texts/a.txt").write_text("a")
    (bucket / "many").mkdir()
    for number in range(1003):
        (bucket / f"many/{number}.mp4").write_bytes(b"1")
    return bucket


@pytest.fixture(scope="module")
def real(folder: Path) -> Iterator[Store]:
    with rclone(folder.parent) as store:
        yield store


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with s3rver(tmp_path_factory.mktemp("s3rver")) as store:
        for key in ("p/a.mp4", f"p/{TEMPORARY_NAME}", "p2/other.mp4", "p/folder/"):
            store.put(key, key.encode())
        yield store


@pytest.fixture(scope="module")
def stand_in() -> Iterator[tuple[StandIn, Bucket]]:
    """A stand-in and one client of it: to make a client takes a third of a second."""
    with StandIn(lambda _target, _headers: Reply()) as server:
        yield server, bucket_of(server.store)


def list_from(stand_in: tuple[StandIn, Bucket], *replies: Reply, prefix: str = "") -> list[str]:
    """The names in a listing from a server that gives these replies, the last one to all further requests."""
    server, bucket = stand_in
    waiting = list(replies)
    server.decide = lambda _target, _headers: waiting.pop(0) if len(waiting) > 1 else waiting[0]
    server.requests.clear()
    return names(bucket.list_media(BUCKET, prefix, EXTENSIONS))


def bucket_of(store: Store) -> Bucket:
    return Bucket(store.settings(), store.key_id, store.secret)


def names(found: tuple[MediaFile, ...]) -> list[str]:
    return sorted(file.name for file in found)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())


def test_a_prefix_is_listed_as_a_folder(real: Store, folder: Path) -> None:
    found = bucket_of(real).list_media(BUCKET, "p/", EXTENSIONS)
    assert names(found) == sorted(["a.mp4", "b/C.MKV", TEMPORARY_NAME])
    (one,) = (file for file in found if file.name == "a.mp4")
    assert one.size_bytes == len("p/a.mp4")
    assert abs(one.modified - (folder / "p/a.mp4").stat().st_mtime) < 1.5


def test_the_other_store_lists_the_same(other: Store) -> None:
    assert names(bucket_of(other).list_media(BUCKET, "p/", EXTENSIONS)) == sorted(["a.mp4", TEMPORARY_NAME])
    assert "p2/other.mp4" in names(bucket_of(other).list_media(BUCKET, "", EXTENSIONS))


def test_more_than_a_page_is_listed_and_joining_and_leaving_files_are_seen(real: Store, folder: Path) -> None:
    bucket = bucket_of(real)
    assert len(bucket.list_media(BUCKET, "many/", EXTENSIONS)) == 1003
    (folder / "many/new.mp4").write_bytes(b"1")
    (folder / "many/7.mp4").unlink()
    found = names(bucket.list_media(BUCKET, "many/", EXTENSIONS))
    assert ("new.mp4" in found, "7.mp4" in found, len(found)) == (True, False, 1003)


@pytest.mark.parametrize("name", ["a.mp4", TEMPORARY_NAME])
def test_a_signed_address_gives_the_object(real: Store, other: Store, name: str) -> None:
    for store in (real, other):
        assert get(bucket_of(store).sign(BUCKET, f"p/{name}", 60)) == f"p/{name}".encode()


def test_a_signed_address_is_good_for_that_object_and_that_time_only(real: Store, other: Store) -> None:
    signed = bucket_of(real).sign(BUCKET, "p/a.mp4", 60)
    with pytest.raises(urllib.error.HTTPError):
        get(signed.replace("/p/a.mp4", "/top.mp4"))
    short = [bucket_of(store).sign(BUCKET, "p/a.mp4", 1) for store in (real, other)]
    time.sleep(2.1)
    for url in short:
        with pytest.raises(urllib.error.HTTPError, match=r"40[03]"):
            get(url)


@pytest.mark.parametrize(
    ("keys", "bucket", "prefix", "error_type", "words"),
    [
        (("AKIDUNKNOWN", SECRET), BUCKET, "", "wrong-keys", "check both: sudo livekeep air set-storage-keys"),
        ((KEY_ID, "wrong"), BUCKET, "", "wrong-keys", "(it responds SignatureDoesNotMatch)"),
        ((KEY_ID, SECRET), "absent", "", "no-bucket", "bucket absent at 127.0.0.1:"),
        ((KEY_ID, SECRET), "Not A Bucket", "", "no-bucket", "check its name"),
        ((KEY_ID, SECRET), BUCKET, "absent/", "empty", "bucket media below absent/: is empty; upload"),
        ((KEY_ID, SECRET), BUCKET, "texts/", "empty", "the only file is hidden, empty, or ends in none of .mp4, .mkv"),
    ],
)
def test_a_real_store_refuses(real: Store, keys: tuple[str, str], bucket: str, prefix: str, error_type: str, words: str) -> None:
    with pytest.raises(StorageError) as caught:
        Bucket(real.settings(), *keys).list_media(bucket, prefix, EXTENSIONS)
    check(caught.value, error_type, words)


def test_the_other_store_refuses_too(other: Store) -> None:
    with pytest.raises(StorageError, match="InvalidAccessKeyId"):
        Bucket(other.settings(), "AKIDUNKNOWN", S3RVER_KEY).list_media(BUCKET, "", EXTENSIONS)


def check(error: StorageError, error_type: str, words: str) -> None:
    """One line with the words, and nothing secret."""
    text = str(error)
    assert (error.error_type, words in text, "\n" in text) == (error_type, True, False), text
    assert not [secret for secret in (SECRET, "http:", "https:", "list-type", "X-Amz", "AKID", "password") if secret in text]


PAGE = b"<html><body><h1>Welcome</h1><p>Not S3<br></body></html>"
HTML = {"Content-Type": "text/html"}
WHOLE = listing("a.mp4")


@pytest.mark.parametrize(
    ("reply", "error_type", "words"),
    [
        (s3_error(403, "RequestTimeTooSkewed"), "clock-skew", "sudo timedatectl set-ntp true"),
        (s3_error(503, "SlowDown"), "server-fault", "too busy"),
        (
            s3_error(500, "InternalError"),
            "server-fault",
            "the server fails; livekeep repeats the request (it responds InternalError)",
        ),
        (s3_error(400, "<b>http://x/?X-Amz-Signature=1</b>"), "server-fault", "not from an S3 server"),
        (Reply(200, PAGE, HTML), "server-fault", "not from an S3 server, or was cut off; check storage.endpoint_url"),
        (Reply(200, b"<html><body></body></html>"), "server-fault", "not from an S3 server"),
        (Reply(200, b""), "server-fault", "bucket media at "),
        (Reply(404, PAGE, HTML), "server-fault", "not from an S3 server, or was cut off; check storage.endpoint_url"),
        (Reply(403, PAGE, HTML), "wrong-keys", "(it responds 403)"),
        (Reply(502, PAGE, HTML), "server-fault", "(it responds 502)"),
        (Reply(301, b"", {"Location": "/elsewhere"}), "wrong-region", "set storage.region"),
        (listing("a.txt", "b.txt"), "empty", "each of the 2 files"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_responses_that_no_real_store_gives_on_demand(
    stand_in: tuple[StandIn, Bucket], reply: Reply, error_type: str, words: str
) -> None:
    with pytest.raises(StorageError) as caught:
        list_from(stand_in, reply)
    check(caught.value, error_type, words)
    assert len(stand_in[0].requests) <= 3


def test_a_listing_that_is_cut_off(stand_in: tuple[StandIn, Bucket]) -> None:
    # Which of the two depends on the release of urllib3.
    with pytest.raises(StorageError, match=r"cut off|disconnected"):
        list_from(stand_in, Reply(200, WHOLE.body, WHOLE.headers, cut_after_bytes=len(WHOLE.body) // 2))


def test_a_server_that_is_busy_once_is_asked_again(stand_in: tuple[StandIn, Bucket]) -> None:
    assert list_from(stand_in, s3_error(503, "SlowDown"), WHOLE) == ["a.mp4"]


def test_keys_that_end_with_a_slash_are_folders(stand_in: tuple[StandIn, Bucket]) -> None:
    assert list_from(stand_in, listing("p/", "p/x.mp4/", "p/x.mp4"), prefix="p/") == ["x.mp4"]


def test_a_bucket_in_another_region_is_reported_before_urls_are_signed_in_vain(stand_in: tuple[StandIn, Bucket]) -> None:
    server, _ = stand_in
    aws = bucket_of(server.store)
    aws._is_aws = True
    assert list_from((server, aws), replace(WHOLE, headers=WHOLE.headers | {"x-amz-bucket-region": "us-east-1"})) == ["a.mp4"]
    with pytest.raises(StorageError) as caught:
        list_from((server, aws), replace(WHOLE, headers=WHOLE.headers | {"x-amz-bucket-region": "eu-west-1"}))
    check(caught.value, "wrong-region", 'set storage.region = "eu-west-1"')


@pytest.mark.parametrize(
    ("endpoint", "error_type", "words"),
    [
        ("http://127.0.0.1:9", "unreachable", "cannot be reached, or disconnected; check the network"),
        ("http://user:password@127.0.0.1:9", "unreachable", "at 127.0.0.1:9: "),
        ("http://livekeep.invalid", "unreachable", "cannot be reached"),
        ("https://{real}", "unreachable", "no TLS connection"),
        ("{stalled}", "timeout", "no response within 1 s"),
    ],
)
def test_a_server_that_cannot_be_reached(
    real: Store, stand_in: tuple[StandIn, Bucket], endpoint: str, error_type: str, words: str
) -> None:
    server, _ = stand_in
    server.decide = lambda _target, _headers: Reply(stall_seconds=3600)
    url = endpoint.format(real=real.host, stalled=server.store.endpoint_url)
    settings = Storage(endpoint_url=url, timeout_seconds=1.0 if error_type == "timeout" else 10.0)
    with pytest.raises(StorageError) as caught:
        Bucket(settings, KEY_ID, SECRET).list_media(BUCKET, "", EXTENSIONS)
    check(caught.value, error_type, words)


@pytest.mark.parametrize(
    ("years", "words"),
    [
        ((2020, 2021), "it has a certificate that has expired: if the clock is right (it says "),
        ((2090, 2099), "it has a certificate that is not valid yet: is the clock right"),
        ((2020, 2099), "it has a certificate from an authority that this machine does not trust: put its certificate into "),
    ],
)
def test_a_certificate_that_is_refused_is_refused_for_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: tuple[int, int], words: str
) -> None:
    made = Certificates(tmp_path, "localhost", *years)
    if years != (2020, 2099):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(made.authority))
    with encrypted(("127.0.0.1", 9), made) as port, pytest.raises(StorageError) as caught:
        endpoint = f"https://localhost:{port}"
        Bucket(Storage(endpoint_url=endpoint, timeout_seconds=5.0), KEY_ID, SECRET).list_media(BUCKET, "", EXTENSIONS)
    check(caught.value, "unreachable", words)


def test_r2_is_addressed_by_path_in_the_region_auto() -> None:
    settings = Storage(provider="r2", endpoint_url="https://0123abcd.r2.cloudflarestorage.com")
    url = Bucket(settings, KEY_ID, SECRET).sign(BUCKET, "p/a.mp4", 86400)
    assert url.startswith("https://0123abcd.r2.cloudflarestorage.com/media/p/a.mp4?")
    assert "%2Fauto%2Fs3%2Faws4_request" in url
    assert "X-Amz-Expires=86400" in url
    with pytest.raises(StorageError, match="must be set for R2"):
        Bucket(Storage(provider="r2"), KEY_ID, SECRET)


def test_aws_is_addressed_by_the_bucket_s_name_in_its_region() -> None:
    url = Bucket(Storage(region="eu-central-1"), KEY_ID, SECRET).sign(BUCKET, "p/a.mp4", 60)
    assert url.startswith("https://media.s3.")
    assert url.partition("?")[0].endswith("amazonaws.com/p/a.mp4")
    assert "%2Feu-central-1%2Fs3%2Faws4_request" in url
