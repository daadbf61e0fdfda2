"""What a writer deletes before a follower has read it is counted, never passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.query.filters import Filter
from indelible.query.follow import Follower
from indelible.query.search import Corrupt
from indelible.trail.entry import stamp
from indelible.trail.start.opening import open_writer
from tests.trails import at, encode
from tests.unit.trail.test_writer import body


@pytest.mark.parametrize("on_record", [True, False])
def test_events_that_were_deleted_unseen_are_counted(tmp_path: Path, *, on_record: bool) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditSettings(max_size=4_000, backup_count=1000)  # only the test deletes
    writer = open_writer(path, audit, "test").writer
    corrupt = Corrupt()
    follower = Follower(path, Filter(), corrupt)
    follower.start(0)
    for number in range(300):
        writer.append(body(f"e{number}"))
    writer.close()
    gone = sorted(writer.layout.segments.iterdir())[1:-2]
    lines = sum(segment.read_bytes().count(b"\n") for segment in gone)
    for segment in gone:  # as a writer does whose follower is too slow
        segment.unlink()
    if on_record:
        first = int(gone[0].name[:20])
        record = {"event_type": "retention_applied", "metadata": {"pruned": [[first, first + lines - 1]]}}
        with path.open("ab") as file:
            file.write(stamp(writer.size, at(0), encode(record)) + b"\n")
    seqs = [hit.row.seq for hit in follower.poll()]
    follower.close()
    assert lines > 100
    assert (follower.missed, corrupt.missing().lines) == ((lines, 0) if on_record else (0, lines))
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == writer.size - 2  # `audit_stopped` is the last
