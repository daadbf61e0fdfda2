"""Sealed batches made by hand, in a bucket that is a dictionary: to be read, and tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import zstandard

from indelible.query.store.objects import GONE, Gone, Read
from indelible.trail.entry import line_recorded_at
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.manifest import SUFFIX, Manifest, batch_stem, encode, hour_directory
from indelible.trail.proofs.stored import open_sealed
from indelible.trail.proofs.subset import proven_subset
from tests.trails import Maker


class FakeBucket:
    """See `indelible.query.store.objects.Bucket`."""

    def __init__(self) -> None:
        self.name = "s3://audit"
        self.objects: dict[str, bytes] = {}
        self.opened: list[str] = []
        self.on_open: Callable[[str], None] = lambda _key: None

    def keys(self, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > after:
                yield key, len(self.objects[key])

    def directories(self, prefix: str) -> list[str]:
        rests = [key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)]
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def open(self, key: str) -> Read:
        self.opened.append(key)
        self.on_open(key)
        if key not in self.objects:
            raise Gone(GONE)
        data, at = self.objects[key], 0

        def read(size: int) -> bytes:
            nonlocal at
            at += size
            return data[at - size : at]

        return read


def packed(lines: Sequence[bytes]) -> bytes:
    return zstandard.ZstdCompressor().compress(b"".join(line + b"\n" for line in lines))


def unpacked(data: bytes) -> list[bytes]:
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 28).splitlines()


class Batches:
    """Stores what a trail has sealed, as the sink does."""

    def __init__(self, maker: Maker, bucket: FakeBucket, prefix: str = "prod/") -> None:
        self.maker = maker
        self.bucket = bucket
        self.prefix = prefix
        self.last: int | None = None
        self.keys: list[str] = []
        """Of the objects, in the order in which they were stored."""

    def lines(self) -> list[bytes]:
        return self.maker.layout.active.read_bytes().splitlines()

    def put(self, seqs: Sequence[int], *, manifest: bool = True, **changes: Any) -> str:
        """Store the lines with these seqs as one batch under the trail's present checkpoint; return its key."""
        every = self.lines()
        lines = [every[seq] for seq in seqs]
        sealed = open_sealed(self.maker.layout.active, self.maker.signer.verifier)
        proof = proven_subset(
            sealed.tiles, [(seq, leaf_of(line)[0]) for seq, line in zip(seqs, lines, strict=True)]
        )
        assert proof is not None
        body = packed(lines)
        times = [time for time in map(line_recorded_at, lines) if time]
        stem = batch_stem(self.maker.origin, seqs[0], seqs[-1])
        key = f"{self.prefix}{hour_directory(times[0])}/{stem}.jsonl.zst"
        said = Manifest(
            manifest=1,
            name=f"{stem}.jsonl.zst",
            format="indelible",
            origin=self.maker.origin,
            schema=1,
            size=len(body),
            sha256=sha256(body).hexdigest(),
            lines=len(lines),
            first_seq=seqs[0],
            last_seq=seqs[-1],
            first_time=times[0],
            last_time=times[-1],
            after=self.last,
            complete=len(seqs) == seqs[-1] - seqs[0] + 1,
            checkpoint=sealed.note.decode(),
            vkey=self.maker.signer.verifier.vkey(),
            proof=tuple(proof),
        )
        self.bucket.objects[key] = body
        if manifest:
            self.bucket.objects[manifest_key(key)] = encode(msgspec.structs.replace(said, **changes))
            self.last = seqs[-1]
        self.keys.append(key)
        return key

    def change(self, key: str, **changes: Any) -> None:
        """Change what a batch's manifest says; names are those of its JSON."""
        name = manifest_key(key)
        self.bucket.objects[name] = json.dumps({**json.loads(self.bucket.objects[name]), **changes}).encode()

    def rewrite(self, key: str, lines: Sequence[bytes], *, fitting: bool = True) -> None:
        """Exchange a batch's object for one with other lines; `fitting`, with the manifest's digest and size."""
        body = self.bucket.objects[key] = packed(lines)
        if fitting:
            self.change(key, sha256=sha256(body).hexdigest(), bytes=len(body))


def manifest_key(key: str) -> str:
    directory, slash, name = key.rpartition("/")
    return directory + slash + name.partition(".")[0] + SUFFIX
