"""Records in an object store: ``s3://BUCKET/PREFIX``, as the `s3` sink has stored them.

The rules that live here:

- Objects are read by trail and seq, whatever hour they lie in: a listing says which there are.
- A batch lies in the hour in which its first line was recorded, and an event is recorded after it was received: what
  was recorded before ``--since`` is not opened. Nothing can be left out after ``--until``: a long call comes late.
- What else lies there is passed over, and counted.
- No secret stands in a URL: a sink of the configuration says how to come in, or what AWS's own tools look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.errors import ConfigError
from indelible.query.sources.base import Block, Unread
from indelible.query.store.bucket import S3Bucket
from indelible.query.store.objects import Chain, Listing
from indelible.sink_settings.s3 import S3Settings, parse_bucket
from indelible.sink_settings.sinks import parse_sinks
from indelible.trail.proofs.manifest import hour_directory, parse_key
from indelible.values import shown

if TYPE_CHECKING:
    from indelible.query.store.objects import Bucket
    from indelible.sink_settings import SinkSettings

MAX_PREFIX: Final = 1_024
"""Bytes that a key has at the most (Amazon S3 User Guide, "Naming Amazon S3 objects")."""

NEIGHBOUR: Final = timedelta(hours=1, seconds=2)
"""So much earlier is begun than is asked for: a clock may have been set."""

_YEAR = re.compile(r"[0-9]{4}")
_PART = re.compile(r"(?:.*/)?[0-9]{4}(?:/[0-9]{2}){0,3}")
"""A prefix that ends within the hours: a year's, a month's, a day's batches, or an hour's."""


class S3Source:
    """What lies below one prefix of a bucket."""

    def __init__(self, url: str, sink: SinkSettings | None = None, since: str | None = None) -> None:
        """`sink` says how to come in; `since` is a time in the trail's form. Raises ConfigError."""
        own, prefix = _settings(url, sink)
        self.bucket: Bucket = S3Bucket(own)
        self._prefix = prefix
        self._since = since
        self._listed: Listing | None = None
        self.name = f"{self.bucket.name}/{prefix}" if prefix else self.bucket.name
        self.unread: list[Unread] = []
        self.files = 0
        self.unclaimed = 0
        """Objects without a manifest: they were read, too."""

    @property
    def is_whole(self) -> bool:
        """Whether all batches of a trail should lie here, and not those of a year, a day or an hour only."""
        return not _PART.fullmatch(self._prefix) and parse_key(self._prefix) is None

    @property
    def others(self) -> int:
        """Objects that are none of ours."""
        return self._listing().others

    def size(self) -> int:
        """See `indelible.query.sources.base.Source`. Raises SourceError: the bucket is listed."""
        return self._listing().bytes

    def chains(self) -> Iterator[Chain]:
        """Yield what there is, each trail under each prefix by itself. Raises SourceError."""
        return self._listing().chains(self.bucket)

    def blocks(self) -> Iterator[Block]:
        """See `indelible.query.sources.base.Source`."""
        for chain in self.chains():
            origin = chain.origin()
            for batch in chain.batches():
                if not batch.objects:
                    self.unread.append(Unread(batch.where, "the object that it speaks of is not there"))
                self.unclaimed += 0 if batch.has_manifest else len(batch.objects)
                for stored in batch.objects:
                    self.files += 1
                    yield from stored.blocks(origin)
                    if stored.trouble is not None:
                        self.unread.append(Unread(stored.where, str(stored.trouble)))

    def _listing(self) -> Listing:
        if self._listed is None:
            self._listed = Listing(self._begin())
            for key, size in self.bucket.keys(*self._place()):
                self._listed.add(key, size)
        return self._listed

    def _begin(self) -> str:
        """Return the first hour that can have what is asked for; empty when all are asked for."""
        if self._since is None:
            return ""
        try:
            return hour_directory((datetime.fromisoformat(self._since) - NEIGHBOUR).isoformat())
        except OverflowError:
            return ""

    def _place(self) -> tuple[str, str]:
        """Return what keys are to begin with, and after which of them the listing may begin."""
        key = parse_key(self._prefix)
        if key is not None:  # one batch: its object and its manifest, whichever of them was named
            return f"{key.directory}{key.stem}.", ""
        prefix = f"{self._prefix}/" if self._prefix else ""
        begin = self._begin()
        if not begin or _PART.fullmatch(self._prefix):
            return prefix, ""
        years = self.bucket.directories(prefix)
        return prefix, f"{prefix}{begin}" if all(map(_YEAR.fullmatch, years)) else ""


def _settings(url: str, sink: SinkSettings | None) -> tuple[S3Settings, str]:
    """Return what a URL and a sink make together, and the prefix."""
    expected = "expected s3://BUCKET or s3://BUCKET/PREFIX"
    bucket, _, rest = url.removeprefix("s3://").partition("/")
    if "@" in bucket or ":" in bucket:
        raise ConfigError(
            "--from: s3://: no key, password, host or port stands in it: name a sink with --sink, which says them, or "
            "set AWS_ENDPOINT_URL"
        )
    prefix = rest.strip("/")
    try:
        parse_bucket(bucket)
        if len(prefix.encode()) > MAX_PREFIX or any(char < " " for char in prefix):
            raise ValueError("no prefix of any key")
    except ValueError as exc:
        raise ConfigError(f"--from: {shown(url)}: {expected}: {exc}") from None
    if sink is None:
        made = parse_sinks([{"type": "s3", "bucket": bucket}])[0].own
        return S3Settings.of(made), prefix
    if not isinstance(sink.own, S3Settings):
        raise ConfigError(f"--sink {sink.name}: it is of type {sink.type}, not s3")
    if sink.own.tls is not None and sink.own.tls.server_name is not None:
        raise ConfigError(
            f"--sink {sink.name}: its 'tls: server_name' cannot be kept while reading: name another sink, whose "
            "'endpoint' has the name of the certificate"
        )
    return msgspec.structs.replace(sink.own, bucket=bucket), prefix
