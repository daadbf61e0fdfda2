"""The state of a trail whose files move while it is being looked at."""

from pathlib import Path
from typing import Any
from unittest import mock

import zstandard

from indelible.query import state
from indelible.trail.reader import Snapshot, open_snapshot
from tests.trails import Body, Maker, operation


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

    def moving(path: Path) -> Snapshot:
        found = open_snapshot(path)
        oldest.unlink()
        compress(second)
        compress(newest)
        return found

    with mock.patch.object(state, "open_snapshot", moving):
        found = state.trail_state(maker.layout.active, backup_count=3)
    assert (found["first_seq"], found["events"]) == (sizes[0], maker.seq)
    assert found["looked_back_to"] == maker.seq - 6  # the active file alone could be read from its end
    assert (found["checkpoint"], found["unsealed"]) == (maker.seq, 0)


def recorded_by(pid: int, event_type: str, number: int = 0, **changes: Any) -> Body:
    """Return an event of process `pid`."""
    body = operation(
        number, event_type=event_type, source={"recorder": {"id": "library", "uid": 0, "pid": pid}}
    )
    return {**body, **changes, "event_id": f"{event_type}-{pid}-{number}"}


def open_calls(maker: Maker) -> int:
    found = state.trail_state(maker.layout.active)["open_calls"]
    assert isinstance(found, int)
    return found


def test_a_good_bye_settles_the_calls_of_who_said_it_and_no_others(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add(recorded_by(1, "audit_started", metadata={}))
    for pid in (1, 2, 3):
        maker.add(recorded_by(pid, "mcp_operation_started"))
    assert open_calls(maker) == 3
    maker.add(recorded_by(2, "mcp_operation", request={"intent": "mcp_operation_started-2-0"}))
    assert open_calls(maker) == 2
    maker.add(recorded_by(1, "audit_stopped"))
    assert open_calls(maker) == 1


def test_a_start_settles_what_is_before_it_unless_it_left_calls_open(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add(recorded_by(1, "mcp_operation_started"))
    maker.add(recorded_by(2, "mcp_operation_started"))
    maker.add(recorded_by(1, "mcp_operation", request={"intent": "mcp_operation_started-1-0"}))
    maker.add(recorded_by(3, "audit_started", metadata={"open_calls": 1}))
    assert open_calls(maker) == 1
    maker.add(recorded_by(3, "mcp_operation_started"))
    assert open_calls(maker) == 2
    maker.add(recorded_by(3, "audit_stopped"))
    assert open_calls(maker) == 1  # the other process's, which nobody has closed
    maker.add(recorded_by(4, "audit_started", metadata={}))
    assert open_calls(maker) == 0
