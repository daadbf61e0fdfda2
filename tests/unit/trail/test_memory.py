"""At `memory` durability: what was accepted is written once, whatever comes in between."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.errors import TrailUnavailable
from indelible.trail import queued
from indelible.trail.commit import Item
from indelible.trail.queued import Queue
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer
from tests.recording import LIMIT_S

from .faults import read_all, without_threads
from .test_writer import body


class Rung(Exception):  # noqa: N818
    """What a signal's handler raises."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    with without_threads():
        yield open_writer(path, AuditSettings(durability="memory"), "test").writer


def names(path: Path) -> list[str]:
    return [entry["event_id"] for entry in read_all(path) if entry["event_type"] == "mcp_operation"]


def elsewhere(call: Callable[[], None]) -> None:
    """Run something to its end on another thread."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_what_other_processes_send_while_this_one_says_its_last_words_is_taken(
    writer: Writer, path: Path
) -> None:
    answers: list[tuple[int, TrailUnavailable | None]] = []
    writer.last_words()
    elsewhere(lambda: answers.append(writer.append_all([Item(body("a")), Item(body("b"))])))
    writer.close()
    assert answers == [(2, None)]
    assert names(path) == ["a", "b"]


def test_nothing_is_accepted_once_the_queue_was_emptied_for_the_last_time(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end may wait for a checkpoint then, and lets go of the lock meanwhile."""
    accepted: list[str] = []
    give_up = writer._give_queue_up

    def append() -> None:
        with contextlib.suppress(TrailUnavailable):
            writer._enqueue(Item(body("late")))  # it had looked before whether this is being closed
            accepted.append("late")

    def waits() -> None:
        give_up()
        writer._lock.release()
        try:
            elsewhere(append)
        finally:
            writer._lock.acquire()

    monkeypatch.setattr(writer, "_give_queue_up", waits)
    writer.append(body("a"))
    writer.close()
    assert names(path) == ["a", *accepted]


@pytest.mark.parametrize("when", ["write", "put", "rest"])
def test_who_is_interrupted_while_it_empties_the_queue_writes_nothing_twice(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A signal's handler raises: within the write, right after it, or as what is written is taken off."""
    monkeypatch.setattr(queued, "MAX_QUEUED", 4)
    rings = [True]

    def ring() -> None:
        if rings:
            rings.pop()
            raise Rung

    place: object = {"write": writer._active, "put": writer, "rest": Queue}[when]
    attribute = {"write": "put", "put": "_put_all", "rest": "rest"}[when]
    real = getattr(place, attribute)

    def interrupted(*args: object) -> object:
        done = real(*args)
        ring()
        return done

    acknowledged = []
    for number in range(12):
        if number == 4:
            monkeypatch.setattr(place, attribute, interrupted)
        try:
            writer.append(body(str(number)))
            acknowledged.append(str(number))
        except Rung:
            continue
    writer.close()
    assert not rings
    found = names(path)
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert found == sorted(found, key=int)


def test_the_queue_counts_what_is_in_it_whatever_was_cut_short() -> None:
    queue = Queue()
    for number in range(3):
        queue.put(Item(b"x" * number))
    queue.seqs += [7, 8]
    queue.take_back(8)
    rest = queue.rest()
    assert [len(item.body) for item in rest.items] == [1, 2]
    assert (rest.size, rest.seqs) == (3, [])
