"""``type: s3``: a bucket of Amazon S3, or of a store that speaks its API. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, Self

from indelible.sink_settings.http import check_place
from indelible.sink_settings.parts import (
    BATCH_KEYS,
    BatchSettings,
    Kind,
    Own,
    Secret,
    TlsSettings,
    parse_tls,
    resolved,
    secret_keys,
    take_batch,
    take_secret,
)
from indelible.values import MEGABYTE, one_of, parse_boolean, parse_count, parse_text, shown, split_url

Lock = Literal["none", "governance", "compliance"]
Compression = Literal["zstd", "gzip", "none"]

TIMEOUT_S: Final = 30.0
"""A batch of some megabytes goes over a slow line in this time."""

MAX_DAYS: Final = 36_500
"""What S3 takes of a retention, in days."""

SECRETS: Final = ("access_key", "secret_key", "session_token")

_BATCH: Final = BatchSettings(interval=60.0, lines=100_000, bytes=16 * MEGABYTE)
"""An object a minute while little happens; of such records some megabytes where much does."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""Amazon S3 User Guide, "General purpose bucket naming rules"."""

_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()=-]+(?:/[A-Za-z0-9!_.*'()=-]+)*")
"""Amazon S3 User Guide, "Naming Amazon S3 objects": safe characters, and ``=`` as Hive's partitions have it."""

MAX_PREFIX: Final = 512
"""A key has up to 1,024 bytes; what comes after the prefix has less than a hundred."""

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_.@+=,-]{1,2048}")


class S3Settings(Own, frozen=True, kw_only=True):
    """Where objects go, and how they are kept there."""

    bucket: str
    prefix: str = ""
    """What every key begins with, without the slash after it."""
    region: str | None = None
    endpoint: str | None = None
    """The URL of a store that is not Amazon's; None: what the environment says, else Amazon's."""
    path_style: bool | None = None
    """Whether the bucket stands in the path of a URL, not in its host; None: with an endpoint it does."""
    profile: str | None = None
    """Of the AWS configuration files: whose credentials and region count."""
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    object_lock: Lock = "none"
    retention_days: int | None = None
    storage_class: str | None = None
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: str | None = None
    tls: TlsSettings | None = None
    allow_private: bool = False
    """Whether an `endpoint` may be at an address that is not public."""
    allow_http: bool = False
    """Whether records may travel in plain text; to this machine they may."""
    compression: Compression = "zstd"
    batch: BatchSettings = _BATCH

    @property
    def url(self) -> str:
        """``s3://BUCKET/PREFIX``, as it is read back."""
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def target(self) -> str:
        """See `Own`."""
        if self.endpoint is None:
            return self.url
        from urllib.parse import urlsplit  # 3 ms, which only who has such a sink pays

        return f"{self.url} at {urlsplit(self.endpoint).netloc}"

    @property
    def alone_at(self) -> str:
        """See `Own`: an object is called after the seqs that it has, whatever its format, and whoever stores it."""
        return self.target

    @property
    def words(self) -> str:
        """See `Own`."""
        return self.bucket

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        return resolved(self, base, "tls", *SECRETS)


def parse_bucket(value: object) -> str:
    """Return the name of a bucket."""
    text = parse_text(value)
    if not _BUCKET.fullmatch(text) or ".." in text:
        raise ValueError(
            f"expected a bucket's name: 3 to 63 lower-case letters, digits, '-' and '.', found {shown(text)}"
        )
    return text


def parse_prefix(value: object) -> str:
    """Return what keys begin with, without slashes at its ends."""
    if not isinstance(value, str):
        raise ValueError("expected text, such as audit/production")
    text = value.strip("/")
    if text and (
        not _PREFIX.fullmatch(text)
        or len(text) > MAX_PREFIX
        or any(part in (".", "..") for part in text.split("/"))
    ):
        raise ValueError(
            f"expected up to {MAX_PREFIX} letters, digits and any of !_.*'()=- in parts with '/' between them"
        )
    return text


def parse_store(value: object) -> str:
    """Return the URL of a store."""
    text = parse_text(value).rstrip("/")
    wanted = "expected https://HOST[:PORT] or http://…, without a path or credentials; the bucket has a key of its own"
    if split_url(text, wanted).path or "?" in text:
        raise ValueError(wanted)
    return text


def _matching(pattern: re.Pattern[str], wanted: str) -> Any:
    def parse(value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(f"expected {wanted}")

    return parse


def _lock(value: object) -> str:
    """Return the mode in small letters: Amazon writes them in capitals."""
    return one_of("none", "governance", "compliance")(value.lower() if isinstance(value, str) else value)


def _days(value: object) -> int:
    count = parse_count(value)
    if not 1 <= count <= MAX_DAYS:
        raise ValueError(f"expected a whole number of days from 1 to {MAX_DAYS}")
    return count


def _made(values: dict[str, Any]) -> S3Settings:
    values.update({name: take_secret(values, name) for name in SECRETS})
    batch = take_batch(values)
    own = S3Settings(**values, batch=batch)
    _check_lock(own)
    _check_credentials(own)
    if own.endpoint is not None:
        check_place(
            own.endpoint,
            own.tls,
            allow_private=own.allow_private,
            allow_http=own.allow_http,
            key="endpoint",
            sends="records",
        )
    if own.kms_key_id is not None and own.sse not in ("aws:kms", "aws:kms:dsse"):
        raise ValueError("kms_key_id: needs 'sse: aws:kms'")
    return own


def _check_lock(own: S3Settings) -> None:
    if own.object_lock != "none" and own.retention_days is None:
        raise ValueError("object_lock: needs retention_days: for how long nobody may delete what was stored")
    if own.object_lock == "none" and own.retention_days is not None:
        raise ValueError("retention_days: needs 'object_lock: governance' or 'object_lock: compliance'")


def _check_credentials(own: S3Settings) -> None:
    if (own.access_key is None) != (own.secret_key is None):
        raise ValueError("access_key: needs secret_key, and secret_key an access_key (…_env or …_file each)")
    if own.session_token is not None and own.access_key is None:
        raise ValueError("session_token: needs access_key and secret_key")
    if own.profile is not None and own.access_key is not None:
        raise ValueError("profile: give it or an access key, not both")


S3: Final = Kind(
    {
        "bucket": parse_bucket,
        "prefix": parse_prefix,
        "region": _matching(_REGION, "a region, such as eu-central-1"),
        "endpoint": parse_store,
        "path_style": parse_boolean,
        "profile": parse_text,
        **secret_keys(*SECRETS),
        "object_lock": _lock,
        "retention_days": _days,
        "storage_class": _matching(_WORD, "a storage class, such as STANDARD_IA"),
        "sse": one_of("AES256", "aws:kms", "aws:kms:dsse"),
        "kms_key_id": _matching(_KMS_KEY, "the ID, alias or ARN of a KMS key"),
        "tls": parse_tls,
        "allow_private": parse_boolean,
        "allow_http": parse_boolean,
        "compression": one_of("zstd", "gzip", "none"),
        **BATCH_KEYS,
    },
    _made,
    required=("bucket",),
    defaults={
        "object_lock": "none",
        "compression": "zstd",
        "timeout": TIMEOUT_S,
        "flush_interval": _BATCH.interval,
        "flush_batch_lines": _BATCH.lines,
        "flush_batch_bytes": _BATCH.bytes,
    },
)
