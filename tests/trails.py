"""Make small trails as a writer leaves them, without one: lines, segments, tiles, a signed checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.events import format_time
from indelible.trail.entry import stamp
from indelible.trail.layout import Layout
from indelible.trail.proofs import ownwords
from indelible.trail.proofs.checkpoint import Checkpoint, Signer
from indelible.trail.proofs.merkle import Tile, TileTree, leaf_hash, tile_path

ORIGIN = "indelible/00112233445566778899aabbccddeeff"
KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"a test's key").digest())
SIGNER = Signer(ORIGIN, KEY)
VKEY = SIGNER.verifier.vkey()
START_NS = 1_795_000_000 * 10**9

Body = dict[str, Any]


def at(seconds: float) -> str:
    """Return a time of the trail: so many seconds after its start."""
    return format_time(START_NS + int(seconds * 1e9))


def operation(number: int = 0, **changes: Any) -> Body:
    """Return the body of a call; `changes` are whole parts, or ``part__key`` for one key of a part."""
    body: Body = {
        "timestamp": at(number),
        "event_type": "mcp_operation",
        "event_id": f"00000000-0000-4000-8000-{number:012d}",
        "source": {"caller": "stdio", "user_id": "ada", "caller_type": "human", "session_id": "s1"},
        "target": {
            "backend": "files",
            "type": "tool",
            "capability_name": "read_file",
            "original_name": "read_file",
        },
        "request": {"request_id": f"r{number}", "args": {"path": f"/srv/{number}"}},
        "outcome": {"status": "success", "kind": "completed", "latency_ms": 1.25},
    }
    for key, value in changes.items():
        part, separator, name = key.partition("__")
        if separator:
            body[part][name] = value
        elif value is None:
            body.pop(part, None)
        else:
            body[part] = value
    return body


def encode(body: Body) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class Maker:
    """Appends to a trail; `seal` writes tiles and checkpoint over what is there."""

    def __init__(self, path: Path, *, origin: str = ORIGIN, signer: Signer = SIGNER) -> None:
        self.layout = Layout(path)
        self.origin = origin
        self.signer = signer
        self.tree = TileTree()
        self.seq = 0
        self.clock = 0.0
        self.pruned: list[list[int]] = []
        self._waiting: list[bytes] = []
        self._files: list[int] = []
        self.layout.segments.mkdir(parents=True)
        self.layout.origin.write_text(origin + "\n")
        self.layout.vkey.write_text(signer.verifier.vkey() + "\n")
        self._open()

    def _open(self) -> None:
        self.layout.active.touch()
        self._files.append(self.seq)
        metadata = {"origin": self.origin, "first_seq": self.seq, "schema": 1, "pruned": self.pruned}
        self.add(self.service("file_opened", metadata))

    def service(self, event_type: str, metadata: Body) -> Body:
        return {"timestamp": at(self.clock), "event_type": event_type, "event_id": "x", "metadata": metadata}

    def add(self, body: Body, recorded_at: str | None = None, *, forged: bool = False) -> bytes:
        """Append one line; time goes on by a second unless `recorded_at` is given.

        It is signed, as the trail's own words are, unless it is `forged`.
        """
        self.clock += 1
        data = encode(body)
        if body.get("event_type") in ownwords.KINDS and not forged:
            data = ownwords.sign(self.signer, self.seq, data)
        line = stamp(self.seq, recorded_at or at(self.clock), data)
        self.raw(line + b"\n")
        self._waiting.append(line)
        self.seq += 1
        return line

    def raw(self, data: bytes) -> None:
        with self.layout.active.open("ab") as file:
            file.write(data)

    def add_many(self, count: int, body: Callable[[int], Body] = operation) -> Maker:
        for _ in range(count):
            self.add(body(self.seq))
        return self

    def rotate(self, *, compress: bool = False) -> Path:
        """Close the active file and begin the next."""
        closed = self.layout.segment(self._files[-1])
        self.layout.active.rename(closed)
        if compress:
            packed = closed.with_name(closed.name + ".zst")
            packed.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(closed.read_bytes()))
            closed.unlink()
            closed = packed
        self._open()
        return closed

    def seal(self) -> Maker:
        filled = self.tree.extend(leaf_hash(line) for line in self._waiting)
        self._waiting.clear()
        for tile in [*filled, *self.tree.partial_tiles()]:
            self.write_tile(tile)
        checkpoint = Checkpoint(self.origin, self.tree.size, self.tree.root())
        self.layout.checkpoint.write_text(self.signer.sign(checkpoint.text()))
        return self

    def write_tile(self, tile: Tile) -> None:
        path = self.layout.directory / tile_path(tile.level, tile.number, tile.width)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tile.data())

    def delete_file(self, path: Path) -> None:
        """Delete a closed file on record."""
        first = int(path.name[:20])
        last = min(start for start in [*self._files, self.seq] if start > first) - 1
        self.add(self.service("retention_applied", {"pruned": [[first, last]], "reason": "backup_count"}))
        self.pruned.append([first, last])
        self.seal()
        path.unlink()


ERASURE = "99999999-9999-4999-8999-999999999999"


def erased(line: bytes, seq: int, record: str = ERASURE) -> bytes:
    """Return the erased form of a line."""
    return encode({"seq": seq, "erased": record, "leaf": leaf_hash(line).hex()})


def erasure(maker: Maker, *seqs: int, record: str = ERASURE) -> Body:
    """Return the body of the event that says that these were erased."""
    return {**maker.service("entry_erased", {"erased": [[seq, seq] for seq in seqs]}), "event_id": record}
