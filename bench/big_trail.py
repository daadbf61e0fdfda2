"""Make a large trail as a writer leaves it, quickly: lines of one size, and, when asked for, tiles and checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from indelible.events import (
    Event,
    Request,
    Source,
    Target,
    encode_body,
    format_time,
    new_id,
    outcome,
)
from indelible.trail.entry import stamp
from indelible.trail.layout import Layout
from indelible.trail.proofs import ownwords
from indelible.trail.proofs.checkpoint import Checkpoint
from indelible.trail.proofs.merkle import Tile, TileTree, leaf_hashes, tile_path
from indelible.trail.start.keys import generate_pem, load_signer, new_origin

BATCH = 16_384
START_NS = 1_795_000_000 * 10**9
STEP_NS = 5_000_000  # 200 events a second


def body(number: int, size: int) -> bytes:
    """Return a call whose line has about `size` bytes."""
    event = Event(
        timestamp=format_time(START_NS + number * STEP_NS),
        event_type="mcp_operation",
        event_id=new_id(),
        source=Source(caller="stdio", session_id="s1", user_id="ada", caller_type="human"),
        target=Target(backend="files", type="tool", capability_name="read_file", method="tools/call"),
        request=Request(request_id=f"r{number}", args={"path": "x" * max(1, size - 470)}),
        outcome=outcome("completed", 1.25),
    )
    return encode_body(event)


def write(path: Path, total_bytes: int, *, line_bytes: int = 500, seal: bool = False) -> int:
    """Write a trail of one file with about `total_bytes` and return how many events it has."""
    layout = Layout(path)
    layout.directory.mkdir(parents=True)
    pem = generate_pem()
    signer = load_signer(pem, new_origin())
    origin = signer.verifier.name
    layout.origin.write_text(origin + "\n")
    layout.vkey.write_text(signer.verifier.vkey() + "\n")
    layout.key.write_bytes(pem)
    layout.key.chmod(0o600)
    opened = Event(
        timestamp=format_time(START_NS),
        event_type="file_opened",
        event_id=new_id(),
        metadata={"origin": origin, "first_seq": 0, "schema": 1, "pruned": []},
    )
    tree, seq, bodies = TileTree(), 0, [ownwords.sign(signer, 0, encode_body(opened))]
    with path.open("wb") as file:
        while file.tell() < total_bytes:
            recorded = format_time(START_NS + seq * STEP_NS)
            bodies += [body(seq, line_bytes)] * (BATCH - len(bodies))
            lines = [stamp(seq + index, recorded, item) for index, item in enumerate(bodies)]
            file.write(b"\n".join(lines) + b"\n")
            if seal:
                for tile in tree.extend(leaf_hashes(lines)):
                    write_tile(layout, tile)
            seq, bodies = seq + BATCH, []
    if seal:
        for tile in tree.partial_tiles():
            write_tile(layout, tile)
        layout.checkpoint.write_text(signer.sign(Checkpoint(origin, tree.size, tree.root()).text()))
    return seq


def write_apart(path: Path, total_bytes: int) -> None:
    """Write a trail without a seal in a process of its own.

    A process that is started takes over the peak memory of the one that starts it: ours has to stay small.
    """
    args = [sys.executable, "-m", "bench.big_trail", str(path), str(total_bytes)]
    subprocess.run(args, check=True)


def write_tile(layout: Layout, tile: Tile) -> None:
    """Write one tile of a trail's tree."""
    path = layout.directory / tile_path(tile.level, tile.number, tile.width)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tile.data())


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
