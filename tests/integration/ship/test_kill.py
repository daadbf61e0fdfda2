"""kill -9 of the shipper at random moments: nothing is missing, and what comes twice is told by its seq."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tests.effort import LONG
from tests.integration.ship.shipped import configure, run, seqs_of, start, until
from tests.trails import Maker, operation

KILLS = 200 if LONG else 20
LINES = 3_000 * KILLS // (2 if LONG else 1)


def _restarts(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Return where a later event was followed by an earlier one."""
    return [(one, other) for one, other in pairwise(seqs) if other <= one]


def test_a_shipper_that_is_killed_again_and_again(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    for number in range(6):
        maker.add_many(LINES // 6, lambda seq: operation(seq, request={"request_id": str(seq)}))
        if number < 5:
            maker.rotate(compress=number % 2 == 0)
    maker.seal()
    out = tmp_path / "out.log"
    configure(
        tmp_path,
        {"type": "file", "path": "out.log", "start": "beginning", "max_size_mb": 4, "backup_count": 500},
    )
    chance = random.Random() if LONG else random.Random("shipper")
    killed = 0
    for _ in range(KILLS):
        before = _written(out)
        process = start(tmp_path)
        goal = before + chance.randrange(700_000)
        until(lambda: _written(out) >= goal or _is_whole(maker), "an event")  # noqa: B023 - called at once
        process.kill()
        process.communicate()
        killed += 1
    assert killed == KILLS
    assert run(tmp_path, "--once").returncode == 0
    seqs = seqs_of(out)
    assert set(seqs) == set(range(maker.seq))
    assert len(_restarts(seqs)) <= KILLS
    firsts = list(dict.fromkeys(seqs))
    assert firsts == sorted(firsts)
    assert all(later == earlier + 1 for earlier, later in pairwise(seqs) if later > earlier)


def _written(out: Path) -> int:
    """Return how many bytes stand in a file sink's files; one that is being rotated counts once or not at all."""
    total = 0
    for path in out.parent.glob("out.log*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total


def _is_whole(maker: Maker) -> bool:
    """Tell whether everything was shipped, so that no more bytes come."""
    cursor = maker.layout.cursors / "out.log.json"
    return cursor.exists() and f'"next":{maker.seq}' in cursor.read_text()
