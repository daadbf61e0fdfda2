"""A bucket that is read: listed a page at a time, its objects as streams. boto3 does the rest, an optional package.

The rules that live here:

- Only s3:ListBucket and s3:GetObject are needed; nothing is written, and the newest version is what is read.
- A stream that breaks is taken up again where it broke, of the same object (its ETag), a few times; what then is
  missing is an error of the place, and never taken for the end of an object.
- What one object is to blame for (gone, forbidden, archived) ends nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.errors import ConfigError, SourceError
from indelible.query.store.objects import GONE, Gone, Read, Unreadable
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.bucket.answers import DENIED, refused
from indelible.sinks.bucket.client import library, make
from indelible.sinks.bucket.store import OF_AMAZON
from indelible.sinks.web.answers import printable

if TYPE_CHECKING:
    from indelible.sink_settings.s3 import S3Settings

CONNECT_S: Final = 10
READ_S: Final = 30
"""So long a store may be silent."""
ATTEMPTS: Final = 3
"""So often a request is made, and a stream taken up again."""

MAX_CAUSES: Final = 40
"""Errors that one is made of, and values in them, that are looked at."""

NOT_OURS: Final = "we may not read there; needed are s3:ListBucket and s3:GetObject"
OF_THE_OBJECT: Final = {
    DENIED: NOT_OURS,
    "InvalidObjectState": "it is archived: restore it first",
    "PreconditionFailed": "another object was stored under its name while it was read",
    "InvalidRange": "another object was stored under its name while it was read",
}
ABSENT: Final = frozenset({"NoSuchKey", "404", "NoSuchVersion"})


class S3Bucket:
    """One bucket of Amazon S3, or of a store that speaks its API; see `objects.Bucket`."""

    def __init__(self, own: S3Settings) -> None:
        self._own = own
        self._s3: Any = None
        self.name = f"s3://{own.bucket}"

    def keys(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """See `objects.Bucket`."""
        with self._translated():
            pages = self._client().get_paginator("list_objects_v2")
            begin = {"StartAfter": after} if after else {}
            for page in pages.paginate(Bucket=self._own.bucket, Prefix=prefix, **begin):
                for one in page.get("Contents", ()):
                    yield str(one["Key"]), int(one["Size"])

    def directories(self, prefix: str) -> list[str]:
        """See `objects.Bucket`."""
        with self._translated():
            page = self._client().list_objects_v2(Bucket=self._own.bucket, Prefix=prefix, Delimiter="/")
            return [str(one["Prefix"])[len(prefix) : -1] for one in page.get("CommonPrefixes", ())]

    def open(self, key: str) -> Read:
        """See `objects.Bucket`."""
        return _Stream(self._get, key).read

    def _get(self, key: str, at: int, etag: str) -> tuple[Any, str]:
        """Return the stream of an object from a place on, and its ETag. Raises Unreadable, SourceError."""
        more = {"Range": f"bytes={at}-", "IfMatch": etag} if at else {}
        with self._translated(of_object=True):
            answer = self._client().get_object(Bucket=self._own.bucket, Key=key, **more)
            return answer["Body"], str(answer.get("ETag", ""))

    @contextlib.contextmanager
    def _translated(self, *, of_object: bool = False) -> Iterator[None]:
        """Translate what boto3 raises, once."""
        self._client()  # before anything of an optional package is looked for
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as exc:
            raise self._refused(exc, of_object=of_object) from None
        except (BotoCoreError, ValueError, OSError) as exc:
            raise self._failed(_cause(exc)) from None

    def _refused(self, exc: Any, *, of_object: bool) -> Unreadable | SourceError:
        found = refused(exc.response)
        if of_object and found.code in ABSENT:
            return Gone(GONE)
        if of_object and found.code in OF_THE_OBJECT:
            return Unreadable(f"cannot be read: {OF_THE_OBJECT[found.code]}")
        return self._failed(NOT_OURS if found.code == DENIED else str(found))

    def _failed(self, why: str) -> SourceError:
        return SourceError(f"{self.name}: cannot be read: {why}")

    # --- the client -------------------------------------------------------------------------------------------------

    def _client(self) -> Any:
        if self._s3 is None:
            try:
                session = library()
            except SinkUnavailable as exc:
                raise SourceError(f"s3://: {exc}") from None
            self._s3 = self._made(session)
        return self._s3

    def _made(self, boto3: Any) -> Any:
        from botocore.exceptions import BotoCoreError

        try:
            client = self._connected(self._own, boto3)
            is_open = client.meta.config.s3["addressing_style"] == "auto"
            if is_open and not _is_amazon(client.meta.endpoint_url):  # as a file of AWS's own tools has it
                client = self._connected(msgspec.structs.replace(self._own, path_style=True), boto3)
        except SinkUnavailable:
            raise ConfigError(
                f"{self.name}: no credentials: name a sink with --sink, or give them as the AWS CLI takes them "
                "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, …)"
            ) from None
        except (BotoCoreError, ValueError) as exc:
            raise ConfigError(f"{self.name}: {printable(str(exc))}") from None
        return client

    def _connected(self, own: S3Settings, boto3: Any) -> Any:
        tls = own.tls
        return make(
            own,
            boto3,
            verify=None if tls is None else tls.ca_file,
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            client_cert=None if tls is None or tls.cert_file is None else (tls.cert_file, tls.key_file),
        )[0]


class _Stream:
    """An object's bytes, in order, however often its stream breaks."""

    def __init__(self, get: Callable[[str, int, str], tuple[Any, str]], key: str) -> None:
        self._get = get
        self._key = key
        self._at = 0
        self._body, self._etag = get(key, 0, "")

    def read(self, size: int) -> bytes:
        from botocore.exceptions import BotoCoreError

        for left in range(ATTEMPTS, 0, -1):
            try:
                piece: bytes = self._body.read(size)
            except (BotoCoreError, OSError) as exc:
                if left == 1:
                    raise SourceError(f"{self._key}: cannot be read on: {_cause(exc)}") from None
                self._body, self._etag = self._get(self._key, self._at, self._etag)
            else:
                self._at += len(piece)
                return piece
        raise AssertionError


def _is_amazon(url: str) -> bool:
    from urllib.parse import urlsplit

    return (urlsplit(url).hostname or "").endswith(OF_AMAZON)


def _cause(exc: BaseException) -> str:
    """Return in a few words why nothing came over the network; what boto3 says of it, when that is all."""
    import socket
    import ssl

    from indelible.sinks.tls import reason

    for one in _causes(exc):
        if isinstance(one, ssl.SSLError):
            return reason(one)
        if isinstance(one, socket.gaierror):
            return "its name is not known"
        if isinstance(one, ConnectionRefusedError):
            return "nothing listens there"
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    return printable(str(exc))


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield what an error was made of, as boto3 and the library below it wrap them."""
    waiting: list[Any] = [exc]
    for _ in range(MAX_CAUSES):
        if not waiting:
            return
        one = waiting.pop(0)
        if isinstance(one, BaseException):
            yield one
            more = (getattr(one, "kwargs", {}).get("error"), getattr(one, "reason", None), *one.args)
            waiting += [*more, one.__cause__, one.__context__]
