"""A bucket of media: on AWS S3, on Cloudflare R2, or on any S3-compatible server. boto3 is imported only here, on first use.

Sources: the error codes of S3 (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), botocore.exceptions.
Errors name the bucket and the server's host, never a URL.
"""

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from livekeep.air.storage.media import MOST_FILES, ErrorType, MediaFile, StorageError, is_playable, nothing_in
from livekeep.core.config import Storage
from livekeep.system import certificate

ATTEMPTS = 2
NOT_FOUND = 404
MOST_CONNECTIONS = 16
DEFAULT_REGION = {"r2": "auto", "s3": "us-east-1"}
"""By provider; servers other than AWS rarely check it, but it is part of the signature."""
SET_KEYS = "sudo livekeep air set-storage-keys"

Words = tuple[ErrorType, str]
"""The kind of an error, and its sentence."""
KEYS_UNKNOWN: Words = ("wrong-keys", f"the storage keys are refused; check both: {SET_KEYS}")
NOT_ALLOWED: Words = (
    "wrong-keys",
    "the storage keys do not allow that; give them the right to list this bucket and to read its objects",
)
MALFORMED: Words = ("wrong-keys", f"a key or the region does not have the format that this server expects; {SET_KEYS}")
"""R2's error for a key id that is not 32 characters long."""
NO_BUCKET: Words = ("no-bucket", "there is no such bucket; check its name in the channel's media, and storage.endpoint_url")
SKEWED: Words = ("clock-skew", "this machine's clock is wrong; set it: sudo timedatectl set-ntp true")
FAILS: Words = ("server-fault", "the server fails; livekeep repeats the request")
BUSY: Words = ("server-fault", "the server is too busy; livekeep repeats the request")
ELSEWHERE: Words = ("wrong-region", "the bucket lies in another region; set storage.region to it")
NO_STORAGE: Words = ("server-fault", "the response is not from an S3 server, or was cut off; check storage.endpoint_url")
TOO_LARGE: Words = ("server-fault", "its response is larger than this program may store; check storage.endpoint_url")
NO_TLS: Words = ("unreachable", "no TLS connection; check storage.endpoint_url, and this machine's clock")
UNREACHABLE: Words = ("unreachable", "cannot be reached, or disconnected; check the network, and storage.endpoint_url")
BY_CODE: dict[str, Words] = {
    "InvalidAccessKeyId": KEYS_UNKNOWN,
    "SignatureDoesNotMatch": KEYS_UNKNOWN,
    "InvalidToken": KEYS_UNKNOWN,
    "Unauthorized": KEYS_UNKNOWN,
    "401": KEYS_UNKNOWN,
    "InvalidArgument": MALFORMED,
    "AccessDenied": NOT_ALLOWED,
    "AllAccessDisabled": NOT_ALLOWED,
    "AccountProblem": NOT_ALLOWED,
    "403": NOT_ALLOWED,
    "NoSuchBucket": NO_BUCKET,
    "InvalidBucketName": NO_BUCKET,
    "RequestTimeTooSkewed": SKEWED,
    "RequestExpired": SKEWED,
    "SlowDown": BUSY,
    "ServiceUnavailable": BUSY,
    "TooManyRequests": BUSY,
    "429": BUSY,
    "503": BUSY,
    "PermanentRedirect": ELSEWHERE,
    "TemporaryRedirect": ELSEWHERE,
    "AuthorizationHeaderMalformed": ELSEWHERE,
    "IllegalLocationConstraintException": ELSEWHERE,
    "301": ELSEWHERE,
    "307": ELSEWHERE,
    "404": NO_STORAGE,
    "405": NO_STORAGE,
}
"""An S3 error code, or the HTTP status where the response has none → its meaning."""

logger = logging.getLogger("livekeep.storage")


class Bucket:
    """The server of the buckets. Thread-safe."""

    def __init__(self, settings: Storage, key_id: str, secret: str) -> None:
        """Raises `StorageError`."""
        self._seconds = settings.timeout_seconds
        self._region = settings.region or DEFAULT_REGION[settings.provider]
        self._is_aws = settings.provider == "s3" and not settings.endpoint_url
        if settings.provider == "r2" and not settings.endpoint_url:
            raise StorageError(
                "bad-config", 'storage.endpoint_url: must be set for R2: "https://ACCOUNT-ID.r2.cloudflarestorage.com"'
            )
        self._client = make_client(settings, self._region, key_id, secret)
        self._host = self._client.meta.endpoint_url.partition("://")[2].partition("/")[0].rpartition("@")[2]

    def list_media(self, bucket: str, prefix: str, extensions: Iterable[str]) -> tuple[MediaFile, ...]:
        """The files to play below `prefix` (as `split_bucket` returns it), named without it. Raises `StorageError`.

        Includes files with unusable names: the caller, which runs for longer than this program, reports them.
        """
        endings = tuple(extensions)
        files: list[MediaFile] = []
        others = 0
        for item in self._objects(bucket, prefix):
            name = item["Key"].removeprefix(prefix)
            if item["Key"].endswith("/"):
                continue
            if not item["Size"] or not is_playable(name, endings):
                others += 1
                continue
            if len(files) == MOST_FILES:
                logger.warning("bucket %s: holds more than %d files; only so many are played", bucket, MOST_FILES)
                break
            files.append(MediaFile(name, item["Size"], item["LastModified"].timestamp()))
        if not files:
            raise nothing_in(f"bucket {bucket}{' below ' if prefix else ''}{prefix}", others, endings)
        return tuple(files)

    def sign(self, bucket: str, key: str, seconds: int) -> str:
        """A URL from which anyone can read the object for this time: a secret. Sends nothing to the server."""
        with self._errors(bucket):
            parameters = {"Bucket": bucket, "Key": key}
            return str(self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))

    def identify(self, bucket: str, key: str) -> str:
        """The version of an object: its ETag and its size, by one HEAD request; "" if it doesn't exist.

        Raises `StorageError`.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with self._errors(bucket):
            try:
                answer = self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["ResponseMetadata"].get("HTTPStatusCode") == NOT_FOUND:
                    return ""
                raise
            return f"{answer.get('ETag', '')} {answer['ContentLength']}"

    def _objects(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        deadline = time.monotonic() + ATTEMPTS * self._seconds
        with self._errors(bucket):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                if "Name" not in page:
                    raise self._error(bucket, NO_STORAGE)
                region = page["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or self._region
                if self._is_aws and region != self._region:
                    # Signed URLs would not work.
                    sentence = f'the bucket lies in another region; set storage.region = "{region}"'
                    raise self._error(bucket, ("wrong-region", sentence))
                yield from page.get("Contents", ())
                if page.get("IsTruncated") and time.monotonic() > deadline:
                    raise self._error(bucket, ("timeout", "the listing takes too long; raise storage.timeout_seconds"))

    @contextlib.contextmanager
    def _errors(self, bucket: str) -> Iterator[None]:
        """Raises `StorageError` for botocore's errors. Their texts contain whole URLs: none is used."""
        from botocore import exceptions  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        try:
            yield
        except exceptions.ClientError as error:
            code = str(error.response["Error"].get("Code", ""))
            status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
            kind, sentence = BY_CODE.get(code) or BY_CODE.get(str(status)) or FAILS
            shown = code if code.isascii() and code.isalnum() and len(code) <= 60 else status
            raise self._error(bucket, (kind, f"{sentence} (it responds {shown})")) from error
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
            sentence = f"no response within {self._seconds:g} s; check the network, and storage.endpoint_url"
            raise self._error(bucket, ("timeout", sentence)) from error
        except exceptions.SSLError as error:
            refused = certificate.cause_of(error)
            raise self._error(bucket, ("unreachable", f"it {certificate.meaning_of(refused)}") if refused else NO_TLS) from error
        except exceptions.ParamValidationError as error:
            raise self._error(bucket, NO_BUCKET) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            is_too_large = isinstance(error.kwargs.get("error"), MemoryError)
            raise self._error(bucket, TOO_LARGE if is_too_large else UNREACHABLE) from error
        except MemoryError as error:
            raise self._error(bucket, TOO_LARGE) from error
        except exceptions.BotoCoreError as error:
            raise self._error(bucket, ("server-fault", f"the request failed ({type(error).__name__})")) from error
        except (ResponseParserError, TypeError, AttributeError, KeyError) as error:
            # botocore itself fails on XML that is not S3's.
            raise self._error(bucket, NO_STORAGE) from error

    def _error(self, bucket: str, words: Words) -> StorageError:
        return StorageError(words[0], f"bucket {bucket} at {self._host}: {words[1]}")


def make_client(settings: Storage, region: str, key_id: str, secret: str) -> Any:
    """boto3's client; it costs half a second and 42 MB. Raises `StorageError`."""
    try:
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as error:
        raise StorageError("bad-config", "boto3 is missing; install it: sudo apt install python3-boto3") from error
    configuration = Config(
        signature_version="s3v4",
        connect_timeout=settings.timeout_seconds,
        read_timeout=settings.timeout_seconds,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=MOST_CONNECTIONS,
        # AWS requires the bucket in the host name; on other servers that name may not exist.
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
    )
    session = boto3.session.Session(aws_access_key_id=key_id, aws_secret_access_key=secret, region_name=region)
    try:
        return session.client("s3", endpoint_url=settings.endpoint_url or None, config=configuration)
    except ValueError as error:
        raise StorageError(
            "bad-config", "storage.endpoint_url or storage.region: is not valid for an S3 server; check both"
        ) from error
