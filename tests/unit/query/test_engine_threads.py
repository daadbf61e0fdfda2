"""No thread that has to do with DuckDB outlives its question: at the interpreter's end it takes the process down."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from indelible.errors import TrailError
from indelible.query.engine.asking import ALL, Asked
from indelible.query.engine.connection import Caps
from tests.trails import Maker

LINGERS_S = 0.05


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a trail; every thread that is started takes its time to end once its work is done."""
    path = Maker(tmp_path / "a.jsonl").add_many(5).layout.active
    run = threading.Thread.run
    timed = threading.Timer.run

    def linger(self: threading.Thread) -> None:
        run(self)
        time.sleep(LINGERS_S)

    def linger_timed(self: threading.Timer) -> None:
        timed(self)
        time.sleep(LINGERS_S)

    monkeypatch.setattr(threading.Thread, "run", linger)
    monkeypatch.setattr(threading.Timer, "run", linger_timed)
    return path


def ask(path: Path, sql: str, **caps: Any) -> list[tuple[Any, ...]]:
    with Asked([path], ALL, caps=Caps(**caps)) as asked:
        return list(asked.query(sql).rows)


def test_after_an_answer(path: Path) -> None:
    before = set(threading.enumerate())
    assert ask(path, "SELECT count(*) FROM events") == [(6,)]  # with the line that the file begins with
    assert set(threading.enumerate()) == before


def test_after_a_mistake_and_after_a_time_that_was_over(path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(TrailError, match="took longer"):
        ask(path, "SELECT sum(i) FROM generate_series(1, 1000000000000) t(i)", seconds=0.3)
    with pytest.raises(Exception, match="convert"):
        ask(path, "SELECT CAST(event_type AS INTEGER) FROM events")
    assert set(threading.enumerate()) == before
