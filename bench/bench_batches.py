"""What an event costs in an object store: `python -m bench.bench_batches [--json FILE]`.

- Bytes an event, of objects and of the manifests beside them, for batches of several sizes, with zstd and with gzip:
  of calls no two of which are alike, beside the trail's own lines and a webhook's requests of the same calls with gzip.
- How many events a second `indelible ship --once` brings to a real store on this machine, and its peak memory with a
  fifth of the backlog and with all of it.

The store takes its share of the same processors.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.bench_http import lines
from bench.report import Goal, Report
from indelible.sinks.http import GZIP_LEVEL
from tests.objects import ENV, PLAIN, Store, keys
from tests.servers import running
from tests.trails import Maker

EVENTS = 200_000
FEW = 4_000
"""Of these are the small batches."""

ROUNDS = 5
SIZES = {"50 events an object": (FEW, 50), "2,000": (FEW, 2000), "as many as fit 16 MB": (EVENTS, 100_000)}
A_REQUEST = 2000
"""Events in one request of a webhook."""


MEASURED = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A process that is started takes over the peak memory of the one that starts it: this one's is small."""


class Shipped(NamedTuple):
    """What a shipping took, and what came of it."""

    seconds: float
    peak: int
    objects: int
    object_bytes: int
    manifest_bytes: int


def trail(place: Path, events: list[bytes]) -> None:
    """Write a sealed trail of these lines; the first one gives way to what begins a file."""
    maker = Maker(place / "audit.jsonl")
    maker.raw(b"\n".join(events[1:]) + b"\n")
    maker._waiting += events[1:]
    maker.seq = len(events)
    maker.seal()


def shipped(place: Path, store: Store, **more: object) -> Shipped:
    """Ship a trail as a whole, to where nothing is."""
    shutil.rmtree(place / "audit.jsonl.d" / "cursors", ignore_errors=True)
    sink = keys(store, **more)
    config = place / "ship.yaml"
    config.write_text(
        json.dumps({"audit": {"path": str(place / "audit.jsonl"), "ship": "off", "sinks": [sink]}})
    )
    command = [sys.executable, "-m", "indelible", "ship", "--once", "-c", str(config)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, env={**os.environ, **ENV}, check=False
    )
    if done.returncode != 0:
        sys.exit(f"bench_batches: the shipper ended with {done.returncode}: {done.stderr.decode()}")
    seconds, peak = map(float, done.stdout.split())
    found = list(store.client().list_objects(PLAIN, sink["prefix"], recursive=True))
    is_manifest = [str(one.object_name).endswith(".manifest.json") for one in found]
    sizes = [0, 0]
    for one, at in zip(found, is_manifest, strict=True):
        sizes[at] += one.size or 0
    return Shipped(seconds, int(peak), is_manifest.count(False), *sizes)


def main() -> int:
    """Measure, print."""
    report = Report(f"batches to an object store, {EVENTS:,} calls no two of which are alike")
    events = lines(EVENTS)
    plain = statistics.fmean(map(len, events)) + 1
    report.add("bytes of a line in the trail, with its end", plain)
    asked = [b"\n".join(events[at : at + A_REQUEST]) for at in range(0, FEW, A_REQUEST)]
    packed = sum(len(gzip.compress(body, GZIP_LEVEL, mtime=0)) for body in asked) / FEW
    report.add(f"a webhook's requests of {A_REQUEST:,} lines with gzip: bytes an event", packed)
    folder = Path(tempfile.mkdtemp(prefix="indelible-bench-"))
    try:
        places = {count: folder / str(count) for count in (FEW, EVENTS // 5, EVENTS)}
        for count, place in places.items():
            place.mkdir()
            trail(place, events[:count])
        (folder / "store").mkdir()
        store = Store(folder / "store")
        with running(store):
            for name, (count, most) in SIZES.items():
                for compression in ("zstd", "gzip"):
                    found = shipped(places[count], store, compression=compression, flush_batch_lines=most)
                    report.add(f"{name}, {compression}: bytes an event", found.object_bytes / count)
                    report.add("  of the trail's", found.object_bytes / count / plain, Goal.at_most(0.4))
                    report.add("  bytes of manifests an event", found.manifest_bytes / count)
            rounds = [shipped(places[EVENTS], store) for _ in range(ROUNDS)]
            report.add(
                "events/s to MinIO, with start-up", EVENTS / statistics.median(one.seconds for one in rounds)
            )
            report.add("peak memory in MB", max(one.peak for one in rounds) / 2**20)
            fewer = shipped(places[EVENTS // 5], store).peak
            report.add("  against a fifth of the backlog", rounds[0].peak / fewer, Goal.at_most(1.3))
    finally:
        shutil.rmtree(folder)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
