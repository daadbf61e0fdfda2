"""Sealed batches as they lie in an object store: which there are, in what order, and the lines of each.

The rules that live here:

- A listing is a claim like all else there: what is listed may be gone, or be another object, when it is opened.
- Batches come by trail and seq, whatever hour they lie in; the newest version of each object is what is read.
- Memory grows with the number of objects, some 500 bytes a batch, and never with what is in one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, Protocol

from indelible.errors import NoteError
from indelible.query.sources.base import Block
from indelible.query.sources.files import lines_of
from indelible.query.sources.unpacking import PIECE_BYTES, Damaged
from indelible.trail.proofs.manifest import MAX_BYTES, SUFFIX, BatchKey, decode, parse_key, trail_digits

MAX_LOOKS: Final = 10
"""So many manifests are looked into for a trail's name, or its keys: where these are damaged, findings say so."""

GONE: Final = "it is gone since it was listed"

Read = Callable[[int], bytes]


class Unreadable(Exception):  # noqa: N818 - a state of an object, not a mistake of anybody's
    """One object cannot be read; the message says why."""


class Gone(Unreadable):
    """There is no such object, or no longer."""


class Bucket(Protocol):
    """A place with objects."""

    name: str
    """What people call it: ``s3://BUCKET``."""

    def keys(self, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of all that begin with `prefix` and come after `after`. Raises SourceError."""

    def directories(self, prefix: str) -> list[str]:
        """Return what stands below a prefix, up to the next slash: the first thousand. Raises SourceError."""

    def open(self, key: str) -> Read:
        """Return what reads up to so many bytes of an object, none at its end.

        Raises Unreadable, as each reading does; SourceError when nothing can be read here any more.
        """


class StoredObject:
    """An object of records. What it is comes out while it is read."""

    def __init__(self, bucket: Bucket, key: BatchKey) -> None:
        self._bucket = bucket
        self.key = key
        self.where = f"{bucket.name}/{key.directory}{key.name}"
        self.size = 0
        """Bytes that were read of it."""
        self.trouble: Unreadable | Damaged | None = None
        """Why it could not be read, or not to its end."""
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of what was read, as hex."""
        return self._hash.hexdigest()

    def blocks(self, origin: str) -> Iterator[Block]:
        """Yield its lines, all of the trail `origin`. Raises SourceError."""
        try:
            read = self._bucket.open(f"{self.key.directory}{self.key.name}")
            yield from self._blocks(self._counted(read), origin)
        except Unreadable as exc:
            self.trouble = exc

    def _blocks(self, read: Read, origin: str) -> Iterator[Block]:
        try:
            for block in lines_of(self.where, read):
                yield block._replace(origins=[origin] * len(block.records)) if origin else block
        except Damaged as exc:
            self.trouble = exc
            while read(PIECE_BYTES):  # the digest is that of all of it
                pass

    def _counted(self, read: Read) -> Read:
        def counted(size: int) -> bytes:
            piece = read(size)
            self.size += len(piece)
            self._hash.update(piece)
            return piece

        return counted


class StoredBatch:
    """What is there of one batch: its object, its manifest, or both; or several objects, of which one counts."""

    def __init__(self, bucket: Bucket, keys: Sequence[BatchKey], next_first: int | None) -> None:
        self._bucket = bucket
        self.key = keys[0]
        self.objects = [StoredObject(bucket, key) for key in keys if not key.is_manifest]
        self.has_manifest = any(key.is_manifest for key in keys)
        """Whether one was listed."""
        self.next_first = next_first
        """The first seq of the batch after this one; None when it is the last."""
        self.where = f"{bucket.name}/{self.key.directory}{self.key.stem}{SUFFIX}"
        """Where the manifest is, or should be."""

    def manifest(self) -> bytes:
        """Return the manifest, listed or not: it may be there since. Raises Unreadable, SourceError."""
        return _read_all(self._bucket, f"{self.key.directory}{self.key.stem}{SUFFIX}")


class Chain:
    """The batches of one trail under one prefix."""

    def __init__(self, bucket: Bucket, keys: Sequence[BatchKey]) -> None:
        self._bucket = bucket
        self._keys = keys
        self.trail, self.prefix = keys[0].trail, keys[0].prefix

    def batches(self) -> Iterator[StoredBatch]:
        """Yield them by seq."""
        before: list[BatchKey] = []
        for _, group in groupby(self._keys, key=lambda key: key[:5]):
            keys = list(group)
            if before:
                yield StoredBatch(self._bucket, before, keys[0].first_seq)
            before = keys
        yield StoredBatch(self._bucket, before, None)

    def newest_manifest(self) -> bytes | None:
        """Return that of the highest seqs, which knows most of the trail's keys; None when none can be read."""
        for key in [key for key in self._keys if key.is_manifest][: -MAX_LOOKS - 1 : -1]:
            with contextlib.suppress(Unreadable):
                return _read_all(self._bucket, key.directory + key.name)
        return None

    def origin(self) -> str:
        """Return the trail's name: the one of a manifest that agrees with the objects' names; empty when none does."""
        for key in [key for key in self._keys if key.is_manifest][:MAX_LOOKS]:
            try:
                origin = decode(_read_all(self._bucket, key.directory + key.name)).origin
            except (Unreadable, NoteError):
                continue
            if trail_digits(origin) == self.trail:
                return origin
        return ""


class Listing:
    """All objects of ours that were listed."""

    def __init__(self, begin: str = "") -> None:
        """Batches of hours before `begin` (``YYYY/MM/DD/HH``) are passed over."""
        self._begin = begin
        self._keys: list[BatchKey] = []
        self._words: dict[str, str] = {}
        self.bytes = 0
        """What the objects take together, without manifests."""
        self.others = 0
        """Objects that are none of ours."""

    def add(self, key: str, size: int) -> None:
        """Take an object."""
        found = parse_key(key)
        if found is None:
            self.others += 1
            return
        if found.hour < self._begin:
            return
        self._keys.append(
            found._replace(  # of which there are few: one copy of each is kept
                trail=self._once(found.trail),
                prefix=self._once(found.prefix),
                hour=self._once(found.hour),
                ending=self._once(found.ending),
            )
        )
        self.bytes += 0 if found.is_manifest else size

    def _once(self, word: str) -> str:
        return self._words.setdefault(word, word)

    def __len__(self) -> int:
        return len(self._keys)

    def chains(self, bucket: Bucket) -> Iterator[Chain]:
        """Yield what there is, each trail under each prefix by itself."""
        self._keys.sort()
        for _, group in groupby(self._keys, key=lambda key: key[:2]):
            yield Chain(bucket, list(group))


def _read_all(bucket: Bucket, key: str) -> bytes:
    """Return a manifest's bytes, no more than show that it is none. Raises Unreadable, SourceError."""
    read, parts, left = bucket.open(key), [], MAX_BYTES + 1
    while left and (piece := read(min(left, PIECE_BYTES))):
        parts.append(piece)
        left -= len(piece)
    return b"".join(parts)
