"""Make a large trail of calls no two of which are alike, in files as a writer rotates them, sealed.

    python -m bench.many_calls PATH EVENTS

`SESSIONS` sessions go on at once, and the newest call ends now. Every second closed file is compressed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import zstandard

from bench.big_trail import write_tile
from indelible.events import Event, Request, Source, Target, encode_body, format_time, outcome
from indelible.trail.entry import stamp
from indelible.trail.layout import Layout
from indelible.trail.proofs import ownwords
from indelible.trail.proofs.checkpoint import Checkpoint, Signer
from indelible.trail.proofs.merkle import TileTree, leaf_hashes
from indelible.trail.start.keys import generate_pem, load_signer, new_origin

A_SECOND: Final = 20
"""Events a second, so that 2,000,000 are 28 hours."""

FILE_BYTES: Final = 100 * 1024 * 1024
"""The default of `max_size_mb`."""

SESSIONS: Final = 40
PER_SESSION: Final = 500
"""Calls of one session, which takes a quarter of an hour then."""

BATCH: Final = 16_384

TOOLS: Final = {
    "read_file": 30, "list_directory": 15, "search": 15, "query": 10, "write_file": 8, "fetch": 8, "send_mail": 5,
    "create_issue": 4, "delete_file": 2, "drop_table": 1, "run": 1, "whoami": 1,
}  # fmt: skip
"""Tool → how often, in percent."""

_WORDS: Final = """
audit backup customer delete export find invoice join key list mail note order page query report store ticket user value
week year zone draft plan team branch merge deploy host disk cache table index
"""


def session(number: int) -> str:
    """Return the session that an event belongs to."""
    return f"session-{number // (SESSIONS * PER_SESSION) * SESSIONS + number % SESSIONS:08d}"


def call(chance: random.Random, number: int, at_ns: int) -> Event:
    """Return one call."""
    tool = chance.choices(list(TOOLS), list(TOOLS.values()))[0]
    user = f"user-{number % SESSIONS % 17:03d}"
    failed = chance.random() < 0.03
    latency = round(chance.lognormvariate(3, 1.2), 3)
    words = " ".join(chance.choices(_WORDS.split(), k=12))
    return Event(
        timestamp=format_time(at_ns - int(latency * 1e6)),
        event_type="mcp_operation",
        event_id=f"{chance.getrandbits(128):032x}",
        source=Source(
            caller="stdio", session_id=session(number), user_id=user, caller_type="agent", client="bench/1.0"
        ),
        target=Target(
            backend="files", type="tool", method="tools/call", capability_name=tool, effects="unknown",
        ),
        request=Request(
            request_id=f"{chance.getrandbits(64):016x}", args={"text": words, "path": f"/srv/{number % 9973}"}
        ),
        outcome=outcome("tool_error", latency, error="it failed") if failed else outcome("completed", latency),
    )  # fmt: skip


def lines(signer: Signer, first: int, events: int, end_ns: int) -> Iterator[bytes]:
    """Yield the lines of a file that begins with seq `first`; it ends where its writer stops."""
    chance = random.Random(first)
    for seq in range(first, events):
        at_ns = end_ns - (events - seq) * (10**9 // A_SECOND)
        if seq == first:
            metadata = {"origin": signer.verifier.name, "first_seq": seq, "schema": 1, "pruned": []}
            opened = Event(
                timestamp=format_time(at_ns), event_type="file_opened", event_id="x", metadata=metadata
            )
            yield stamp(seq, format_time(at_ns), ownwords.sign(signer, seq, encode_body(opened)))
        else:
            yield stamp(seq, format_time(at_ns), encode_body(call(chance, seq, at_ns)))


def write(path: Path, events: int) -> None:
    """Write the trail."""
    layout = Layout(path)
    layout.segments.mkdir(parents=True)
    pem = generate_pem()
    signer = load_signer(pem, new_origin())
    layout.origin.write_text(signer.verifier.name + "\n")
    layout.vkey.write_text(signer.verifier.vkey() + "\n")
    layout.key.write_bytes(pem)
    layout.key.chmod(0o600)
    tree, end_ns, first, number = TileTree(), time.time_ns(), 0, 0
    while first < events:
        waiting: list[bytes] = []
        with path.open("wb") as file:
            for line in lines(signer, first, events, end_ns):
                waiting.append(line)
                if len(waiting) == BATCH:
                    _put(layout, tree, waiting, file)
                    if file.tell() >= FILE_BYTES:
                        break
            _put(layout, tree, waiting, file)
        if tree.size < events:
            _close(layout, first, compress=number % 2 == 1)
        first, number = tree.size, number + 1
    for tile in tree.partial_tiles():
        write_tile(layout, tile)
    layout.checkpoint.write_text(signer.sign(Checkpoint(signer.verifier.name, tree.size, tree.root()).text()))


def _put(layout: Layout, tree: TileTree, waiting: list[bytes], file: IO[bytes]) -> None:
    if waiting:
        file.write(b"\n".join(waiting) + b"\n")
        for tile in tree.extend(leaf_hashes(waiting)):
            write_tile(layout, tile)
        waiting.clear()


def _close(layout: Layout, first: int, *, compress: bool) -> None:
    closed = layout.segment(first)
    layout.active.rename(closed)
    if compress:
        packed = closed.with_name(closed.name + ".zst")
        with closed.open("rb") as source, packed.open("wb") as target:
            zstandard.ZstdCompressor(write_checksum=True).copy_stream(
                source, target, size=closed.stat().st_size
            )
        closed.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
