"""What a writer deletes before a follower has read it is counted, never passed over in silence."""

from __future__ import annotations

from pathlib import Path

from indelible.config import AuditSettings
from indelible.query.filters import Filter
from indelible.query.follow import Follower
from indelible.query.search import Corrupt
from indelible.trail.start.opening import open_writer
from tests.unit.trail.test_writer import body


def test_events_that_were_deleted_unseen_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditSettings(max_size=4_000, backup_count=1000)  # only the test deletes
    writer = open_writer(path, audit, "test").writer
    follower = Follower(path, Filter(), Corrupt())
    follower.start(0)
    for number in range(300):
        writer.append(body(f"e{number}"))
    writer.close()
    gone = sorted(writer.layout.segments.iterdir())[1:-2]
    lines = sum(segment.read_bytes().count(b"\n") for segment in gone)
    for segment in gone:  # as a writer does whose follower is too slow
        segment.unlink()
    seqs = [hit.row.seq for hit in follower.poll()]
    follower.close()
    assert lines > 100
    assert follower.missed == lines
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == writer.size - 2  # `audit_stopped` is the last
