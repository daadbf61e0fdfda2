"""A bucket that objects are put into: boto3 knows credentials, addresses and signatures, our own client carries.

The rules that live here:

- boto3 makes and signs each request; it is sent in `_carry` (botocore's event ``before-send``), over `web.client`. So
  `stop` ends it, it takes no longer than the time-out, goes to no address that is forbidden, and follows nobody to
  another host; and nothing is tried again but by the shipper.
- What may ask others before it knows (files, a metadata service, a token service) runs where it can be left behind
  (`Waits.call`).
- Nothing is listed, read or deleted: the only permission needed is to put objects, with a lock to put their retention.
  What the bucket says of its lock is asked for, and need not be answered.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from indelible.sink_settings.addresses import is_loopback, is_public
from indelible.sink_settings.parts import TlsSettings
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.bucket import client
from indelible.sinks.bucket.answers import DENIED, NO_LOCK, NotTaken, not_taken
from indelible.sinks.bucket.client import in_our_words
from indelible.sinks.web.client import Client, Origin, split_url

if TYPE_CHECKING:
    import ssl

    from indelible.sink_settings.s3 import S3Settings
    from indelible.sinks.waits import Waits

LOOK_S: Final = 4.5
"""How long the first question to a bucket waits, at the most: what is wrong is said within five seconds."""

MAKE_S: Final = 20.0
"""How long boto3 may take, at the most, to read its own files: work, on a machine that has none to spare."""

MAX_ANSWER_BYTES: Final = 64 << 10

OF_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""Hosts of Amazon's own, whose addresses may be private: in a VPC with an endpoint for S3 they are."""

LEFT_OUT: Final = frozenset({"expect", "transfer-encoding", "content-length", "host", "connection"})
"""Headers that are not signed, and are the client's to say."""


class Store:
    """One bucket. Of one thread; `Waits.stop` may come from any."""

    def __init__(self, own: S3Settings, waits: Waits) -> None:
        self._own = own
        self._waits = waits
        self._s3: Any = None
        self._credentials: Any = None
        self._client: Client | None = None
        self._origin: Origin | None = None
        self._secrets: tuple[str, ...] = ()

    def look(self) -> None:
        """See whether objects can be put there, as far as that can be told without one.

        Raises NotTaken, SinkUnavailable, OSError, ConfigError.
        """
        s3 = self._made()
        with self._within(min(self._waits.timeout, LOOK_S)):
            try:
                with in_our_words():
                    s3.get_object_lock_configuration(Bucket=self._own.bucket)
            except NotTaken as exc:
                if exc.is_lasting or (self._own.object_lock != "none" and exc.code != DENIED):
                    raise _about_lock(exc) from exc

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Store an object; it is there when this returns. Raises NotTaken, SinkUnavailable, OSError, ConfigError."""
        s3 = self._made()
        self._freshen()
        # MD5 is what every store takes, and what Amazon asks for with a lock; a newer checksum not every one knows.
        digest = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
        with in_our_words():
            s3.put_object(
                Bucket=self._own.bucket,
                Key=key,
                Body=body,
                ContentMD5=digest,
                ContentType=content_type,
                **self._kept(),
            )

    def close(self) -> None:
        """Let go of the connection; secrets, files and addresses are looked at again by the next one."""
        if self._client is not None:
            self._client.close()
        self._client = self._origin = self._s3 = self._credentials = None

    def clean(self, text: str) -> str:
        """Return a text without what is secret: a store may repeat in an answer what it was sent."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    def _kept(self) -> dict[str, Any]:
        """Return how an object is to be kept."""
        own = self._own
        kept: dict[str, Any] = {
            "StorageClass": own.storage_class,
            "ServerSideEncryption": own.sse,
            "SSEKMSKeyId": own.kms_key_id,
        }
        if own.object_lock != "none" and own.retention_days is not None:
            kept["ObjectLockMode"] = own.object_lock.upper()
            kept["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=own.retention_days)
        return {name: value for name, value in kept.items() if value is not None}

    # --- who is who ---------------------------------------------------------------------------------------------

    def _made(self) -> Any:
        """Return boto3's client. Raises SinkUnavailable, ConfigError, TimeoutError."""
        if self._s3 is None:
            boto3 = client.library()
            with self._within(max(self._waits.timeout, MAKE_S)):
                made, credentials, found = self._left_behind(lambda: _make(self._own, boto3))
            made.meta.events.register("before-send.s3", self._carry)
            self._secrets = tuple(one for one in (found.secret_key, found.token) if one)
            self._s3, self._credentials = made, credentials
        return self._s3

    def _freshen(self) -> None:
        """Have credentials that end made anew in time, where that can be left behind."""
        if self._credentials is not None and hasattr(self._credentials, "refresh_needed"):
            self._left_behind(self._credentials.get_frozen_credentials)

    def _left_behind(self, function: Callable[[], Any]) -> Any:
        """Return what a function returns that may ask others for credentials. Raises SinkUnavailable, ConfigError."""
        try:
            with in_our_words():
                return self._waits.call(function)
        except TimeoutError:
            raise SinkUnavailable(f"credentials cannot be had within {self._waits.timeout:g} s") from None

    # --- a request ----------------------------------------------------------------------------------------------

    def _carry(self, request: Any, **_: Any) -> Any:
        """Send a request that is made and signed; return its answer. Raises NotTaken, SinkUnavailable, OSError."""
        from botocore.awsrequest import AWSResponse

        origin, target = split_url(request.url)
        body = _bytes_of(request.body)
        headers = [
            ("Host", str(origin).partition("://")[2]),
            *(
                (name, _text_of(value))
                for name, value in request.headers.items()
                if name.lower() not in LEFT_OUT
            ),
            ("Content-Length", str(len(body))),
        ]
        answer = self._client_of(origin).ask(request.method, target, headers, body, MAX_ANSWER_BYTES)
        if answer.status >= 300:
            raise not_taken(answer)
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))

    def _client_of(self, origin: Origin) -> Client:
        if self._client is None or self._origin != origin:
            if self._client is not None:
                self._client.close()
            self._origin = origin
            own_tls = self._own.tls or TlsSettings()
            self._client = Client(
                origin,
                self._waits,
                forbidden=self._forbidden,
                tls=self._context,
                server_name=own_tls.server_name,
            )
        return self._client

    def _context(self) -> ssl.SSLContext:
        from indelible.sinks import tls

        return tls.context(self._own.tls or TlsSettings())

    def _forbidden(self, address: str) -> str:
        """Return why an address may not be connected to; empty when it may."""
        origin = self._origin
        if origin is None:
            return ""
        if origin.scheme == "http" and not self._own.allow_http and not is_loopback(address):
            return f"{address} is not this machine, and records would go in plain text; see 'allow_http'"
        if not self._own.allow_private and not is_public(address) and not origin.host.endswith(OF_AMAZON):
            return f"{address} is not a public address; see 'allow_private'"
        return ""

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Have whatever is waited for meanwhile take so long at the most."""
        before, self._waits.timeout = self._waits.timeout, seconds
        try:
            yield
        finally:
            self._waits.timeout = before


def _make(own: S3Settings, boto3: Any) -> tuple[Any, Any, Any]:
    """Return boto3's client, its credentials, and what these are now."""
    made, credentials = client.make(own, boto3)
    return made, credentials, credentials.get_frozen_credentials()


class _Raw(BytesIO):
    """A body, as botocore reads one."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """Yield all of it."""
        yield self.read()


def _bytes_of(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    return bytes(body.read() if hasattr(body, "read") else body)


def _text_of(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _about_lock(exc: NotTaken) -> NotTaken:
    """Return what a bucket's answer means where a lock is asked for."""
    if exc.is_lasting or exc.code == NO_LOCK:
        return exc
    return NotTaken(f"it does not say that the bucket has an object lock: {exc}", exc.status, exc.code)
