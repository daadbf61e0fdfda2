"""What was erased in trails that are at hand, and still stands in a store: objects keep what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indelible.query.filters import Filter
from indelible.query.search import Corrupt, TrailSearch, everything
from indelible.query.store.chain import ChainCheck
from indelible.trail.entry import parse_line
from indelible.trail.erased import RECORD, Ranges, record_in
from indelible.trail.reader import with_earlier


def erased_in(paths: Sequence[Path]) -> dict[str, Ranges]:
    """Return which seqs of which trails (by origin) are on record as erased. Raises TrailError."""
    found: dict[str, Ranges] = {}
    for path in with_earlier(list(paths)):
        with TrailSearch(path, Filter(events=frozenset({RECORD})), Corrupt()) as search:
            for hit in everything([search]):
                record = record_in(parse_line(hit.line) or {})
                for first, last in record.ranges if record is not None else ():
                    found.setdefault((record and record.origin) or hit.origin, Ranges()).add(first, last)
    return found


def still_stored(chains: Sequence[ChainCheck], erased: dict[str, Ranges]) -> int:
    """Return how many lines of a store still have the content that their trail has erased."""
    count = 0
    for chain in chains:
        ranges = erased.get(chain.origin or "")
        count += 0 if ranges is None else sum(chain.whole_lines(first, last) for first, last in ranges)
    return count
