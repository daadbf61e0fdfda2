"""The state of a trail whose files move while it is being looked at."""

from pathlib import Path
from unittest import mock

import zstandard

from indelible.query import state
from indelible.trail.reader import Snapshot
from tests.trails import Maker


def compress(path: Path) -> None:
    """Do to a closed file what the writer at work does."""
    path.with_name(path.name + ".zst").write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
    path.unlink()


def test_files_deleted_and_compressed_between_the_listing_and_the_look_are_gone_past(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(10)
    oldest = maker.rotate()
    second = maker.add_many(10).rotate()
    newest = maker.add_many(10).rotate()
    maker.add_many(5).seal()
    sizes = [len(path.read_bytes().splitlines()) for path in (oldest, second)]

    def moving(layout: object) -> Snapshot:
        found = Snapshot(layout)  # type: ignore[arg-type] # the layout that was asked for
        oldest.unlink()
        compress(second)
        compress(newest)
        return found

    with mock.patch.object(state, "Snapshot", moving):
        found = state.trail_state(maker.layout.active, backup_count=3)
    assert (found["first_seq"], found["events"]) == (sizes[0], maker.seq)
    assert found["looked_back_to"] == maker.seq - 6  # the active file alone could be read from its end
    assert (found["checkpoint"], found["unsealed"]) == (maker.seq, 0)
