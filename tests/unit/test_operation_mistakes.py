"""What a program may do wrong with an operation is said in one line; nothing is recorded twice or lost for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import indelible


@pytest.mark.parametrize("kind", ["done", "Completed", "", None, ["completed"], "x" * 1000])
def test_an_outcome_of_no_known_kind_is_named(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with (
        indelible.open_trail(path) as trail,
        pytest.raises(
            indelible.EventError, match=r"^finish: no outcome is of the kind .{2,60}; there are completed, "
        ),
        trail.operation("tools/call", "act") as op,
    ):
        op.finish(kind)
    [event] = indelible.search(path)
    assert (event["outcome"]["kind"], event["outcome"]["error_type"]) == ("tool_error", "EventError")


def test_an_operation_is_entered_once(tmp_path: Path) -> None:
    """What it left a second time would have the id of the first, and be taken for it."""
    path = tmp_path / "audit.jsonl"
    with indelible.open_trail(path) as trail:
        plain, within, later = (trail.operation("tools/call", name) for name in ("plain", "within", "later"))
        with plain:
            pass
        with pytest.raises(indelible.EventError, match="make one for each call"), plain:
            pass
        with within, pytest.raises(indelible.EventError), within:
            pass
        assert indelible.current_request_id() is None

        async def twice() -> None:
            async with later:
                pass
            async with later:
                pass

        with pytest.raises(indelible.EventError):
            asyncio.run(twice())
    assert [event["target"]["capability_name"] for event in indelible.search(path)] == [
        "plain",
        "within",
        "later",
    ]
