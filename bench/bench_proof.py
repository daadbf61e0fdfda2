"""What a proof costs: `python -m bench.bench_proof [--json FILE]`.

A trail of a million events, from the page cache. A proof is made as `indelible prove SEQ` makes it: checkpoint read and
its signature checked, tiles read, the proof checked against the signed root; start-up is not in it, and stands beside.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from bench import big_trail
from bench.report import Goal, Report
from indelible.query.find import find_event
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import parse_vkey
from indelible.trail.proofs.export import export_tiles
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.proof import open_proof
from indelible.trail.proofs.stored import open_sealed, prove

EVENTS = 1_000_000
TRAIL_BYTES = 540_000_000
PROOFS = 200
ROUNDS = 5
COMMAND = [sys.executable, "-m", "indelible"]


def timed(*command: str) -> float:
    """Return the wall seconds of a process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def lines_at(path: Path, seqs: set[int]) -> dict[int, bytes]:
    """Return some lines by their seqs."""
    with path.open("rb") as file:
        return {seq: line.rstrip(b"\n") for seq, line in enumerate(file) if seq in seqs}


def main() -> int:
    report = Report("proofs from a trail of a million events")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        events = big_trail.write(path, TRAIL_BYTES, seal=True)
        assert events >= EVENTS, events
        seqs = [0, events - 1, *random.Random(1).sample(range(events), PROOFS - 2)]
        lines, key = lines_at(path, set(seqs)), parse_vkey(Layout(path).vkey.read_text())
        made, checked, sizes = [], [], []
        prove(path, 1)  # imports what signatures need
        for seq in seqs:
            started = time.perf_counter()
            data = prove(path, seq).data()
            made.append(time.perf_counter() - started)
            started = time.perf_counter()
            shown = open_proof(data, key).shows(leaf_hash(lines[seq]))
            checked.append(time.perf_counter() - started)
            assert shown
            sizes.append(len(data))
        wanted = orjson.loads(lines[0])[
            "event_id"
        ]  # the one that is no other line's; all files are read in any case
        started = time.perf_counter()
        assert find_event([path], wanted).seq == 0
        finding = time.perf_counter() - started
        wholly = [timed(*COMMAND, "prove", str(seq), "--trail", str(path)) for seq in seqs[:ROUNDS]]
        bare = [timed(*COMMAND, "prove", "--help") for _ in range(ROUNDS)]
        started = time.process_time()
        size = open_sealed(path).checkpoint.size
        export_tiles(path, Path(folder) / "log")
        exporting = time.process_time() - started
        total = path.stat().st_size
    report.add("a proof, ms, median", 1e3 * statistics.median(made), Goal.at_most(5))
    report.add("  the slowest of 200, ms", 1e3 * max(made))
    report.add("its size, bytes, the largest", max(sizes), Goal.at_most(2_048))
    report.add("checking it, ms, median", 1e3 * statistics.median(checked))
    report.add("finding an event by its event_id, ms", 1e3 * finding)
    report.add("`indelible prove` wholly, ms, median", 1e3 * statistics.median(wholly))
    report.add("  `indelible prove --help`, ms, median", 1e3 * statistics.median(bare))
    report.add("`export --tiles`, events/s of CPU", size / exporting)
    report.add("`export --tiles`, MB/s of CPU", total / 1e6 / exporting)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
