"""The count of what could not be recorded: exact when events come late, whole after any death, nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.config import AuditSettings
from indelible.errors import NotInTime, TrailUnavailable
from indelible.events import EventType
from indelible.trail import gapfile
from indelible.trail.batching import Batcher
from indelible.trail.commit import Done, Item, Partly, id_of, together
from indelible.trail.durable import Access
from indelible.trail.gap import MAX_REFUSED, Gap
from indelible.trail.gapdead import report_the_dead
from indelible.trail.gapfile import FILE_BYTES, SLOT_BYTES, Count, GapFile
from indelible.trail.layout import Layout
from indelible.trail.sealer import Sealer
from indelible.trail.sharing.link import Job
from indelible.trail.start.opening import open_writer

if TYPE_CHECKING:
    from indelible.trail.sharing.shared import SharedWriter


class Trail:
    """What a gap writes to: takes events, or does not."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self.error: TrailUnavailable | None = None

    def append(self, body: bytes, opens: str, closes: str) -> None:
        if self.error is not None:
            raise self.error
        self.found.append({"id": id_of(body)})

    def service_event(self, event_type: EventType, metadata: dict[str, Any]) -> Item:
        self.found.append({"made": event_type, **metadata})
        return Item(body(f"gap{len(self.found)}"))

    @property
    def said(self) -> list[int]:
        """What each `audit_gap` that got into the trail says."""
        there = {entry["id"] for entry in self.found if "id" in entry}
        return [
            entry["lost"] for at, entry in enumerate(self.found, 1) if "made" in entry and f"gap{at}" in there
        ]


def body(name: str) -> bytes:
    return b'{"timestamp":"t","event_type":"mcp_operation","event_id":"%b"}' % name.encode()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "audit.jsonl")
    layout.directory.mkdir()
    return layout


@pytest.fixture(params=["memory", "beside"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "beside":
        monkeypatch.setattr(gapfile, "SHARED_MEMORY", tmp_path / "nowhere")
    return str(request.param)


def kill(gap: Gap) -> None:
    """Leave what a dead process leaves."""
    keeper = gap._keeper
    assert keeper is None or keeper.stop()
    gap._file.close()


LIMIT_S = 60.0
FULL, SLOW = TrailUnavailable("full"), NotInTime("slow")


# --- exact ------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(["lost", "late", "late, then lost"]), st.booleans()), min_size=1, max_size=12
    )
)
def test_an_event_that_comes_late_is_not_counted(events: list[tuple[str, bool]]) -> None:
    gap, trail = Gap(), Trail()
    lost = 0
    for number, (how, came) in enumerate(events):
        if how == "lost":
            gap.lose(FULL, "t", body(f"e{number}"))
            lost += 1
            continue
        steps: list[Callable[[], None]] = [
            lambda number=number: gap.lose(SLOW, "t", body(f"e{number}")),  # type: ignore[misc]
            lambda number=number, came=came: gap.late(f"e{number}", came),  # type: ignore[misc]
        ]
        if how == "late, then lost":  # the answer is faster than whoever waits for it
            steps.reverse()
        for step in steps:
            step()
        lost += not came
    gap.catch_up(trail)
    assert trail.said == ([lost] if lost else [])
    assert not gap.open


def test_no_gap_is_recorded_while_an_event_may_come() -> None:
    gap, trail = Gap(), Trail()
    gap.lose(FULL, "t", body("gone"))
    gap.lose(SLOW, "t", body("slow"))
    gap.catch_up(trail)
    assert trail.said == []
    assert gap.open
    gap.late("slow", came=True)
    gap.catch_up(trail)
    assert trail.said == [1]


@pytest.mark.parametrize("came", [True, False])
def test_a_gap_that_comes_late_itself_stands_there_once(came: bool) -> None:
    gap, trail = Gap(), Trail()
    gap.lose(FULL, "t", body("gone"))
    trail.error = SLOW
    gap.catch_up(trail)
    trail.error = None
    gap.catch_up(trail)
    assert trail.said == []  # it is not known yet
    gap.late(f"gap{len(trail.found)}", came)
    gap.catch_up(trail)
    assert trail.said == ([] if came else [1])
    assert not gap.open


@pytest.mark.parametrize("came", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_a_refusal_that_is_late_is_in_the_trail_or_counted(came: bool, early: bool) -> None:
    gap, trail = Gap(), Trail()

    class Late(Trail):
        def append(self, body: bytes, opens: str, closes: str) -> None:
            if early:  # the answer is faster than whoever waits for it
                gap.late(id_of(body), came)
            raise SLOW

    gap.refuse(Item(body("refused")), "t")
    gap.catch_up(Late())
    if not early:
        gap.catch_up(trail)
        assert not trail.found
        gap.late("refused", came)
    gap.catch_up(trail)
    assert trail.said == ([] if came else [1])
    assert not gap.open


@pytest.mark.parametrize("came", [True, False])
@pytest.mark.parametrize("when", ["before it is told", "before it is owed", "later"])
def test_a_refusal_in_the_place_of_an_outcome_that_may_come_is_owed_when_it_does_not(
    came: bool, when: str
) -> None:
    """A call has one outcome; both have one `event_id`."""
    gap, trail = Gap(), Trail()
    if when == "before it is told":
        gap.late("outcome", came)
    gap.doubt("outcome")
    if when == "before it is owed":
        gap.late("outcome", came)
    gap.refuse(Item(body("outcome")), "t")
    gap.refuse(Item(body("another")), "t")
    gap.catch_up(trail)
    if when == "later":
        assert not trail.found
        gap.late("outcome", came)
        gap.catch_up(trail)
    assert [found["id"] for found in trail.found] == (["another"] if came else ["outcome", "another"])
    assert not gap.open


@pytest.mark.parametrize("came", [True, False])
def test_at_the_end_what_may_come_yet_is_counted_unless_it_comes(came: bool) -> None:
    gap, trail = Gap(), Trail()
    gap.doubt("outcome")
    gap.refuse(Item(body("outcome")), "t")
    gap.refuse(Item(body("another")), "t")
    gap.catch_up(trail, last=True)
    assert [found["id"] for found in trail.found] == ["another"]
    gap.late("outcome", came)
    gap.catch_up(trail, last=True)
    assert trail.said == ([] if came else [1])
    assert not gap.open


@pytest.mark.parametrize("came", [True, False])
def test_of_refusals_without_room_those_that_may_come_are_taken_off_when_they_do(came: bool) -> None:
    gap, trail = Gap(), Trail()
    gap.refuse(Item(body("refused")), "t")
    gap.doubt("outcome")
    gap.refuse(Item(body("outcome")), "t")
    trail.error = FULL
    gap.catch_up(trail, last=True)
    trail.error = None
    gap.catch_up(trail)
    assert trail.said == []  # it is not known yet how many
    gap.late("outcome", came)
    gap.catch_up(trail)
    assert trail.said == [1 if came else 2]
    assert not gap.open


@pytest.mark.parametrize("came", [True, False])
def test_of_more_outcomes_that_may_come_than_refusals_are_kept_none_is_there_twice(came: bool) -> None:
    gap, trail = Gap(), Trail()
    for number in range(3 * MAX_REFUSED):  # of what is nobody's call, no refusal is owed
        gap.doubt(f"before{number}")
    names = [f"outcome{number}" for number in range(MAX_REFUSED + 3)]
    for name in names:
        gap.doubt(name)
        gap.refuse(Item(body(name)), "t")
    assert len(gap._fates) <= 2 * MAX_REFUSED
    for name in names:
        gap.late(name, came)
    gap.catch_up(trail)
    found = [entry["id"] for entry in trail.found if entry.get("id") in names]
    assert found == ([] if came else names[:MAX_REFUSED])
    assert trail.said == ([] if came else [3])
    assert not gap.open


def test_who_is_stuck_in_the_write_of_what_is_owed_holds_nobody_else() -> None:
    stuck, answers = threading.Event(), threading.Event()

    class Hangs(Trail):
        def append(self, body: bytes, opens: str, closes: str) -> None:
            stuck.set()
            answers.wait(LIMIT_S)
            super().append(body, opens, closes)

    gap, trail = Gap(timeout=0.1), Hangs()
    gap.lose(FULL, "t", body("e1"))
    first = threading.Thread(target=gap.catch_up, args=(trail,))
    first.start()
    assert stuck.wait(LIMIT_S)
    with pytest.raises(TrailUnavailable, match="not recorded in time"):
        gap.catch_up(trail)
    gap.lose(FULL, "t", body("e2"))
    answers.set()
    first.join(LIMIT_S)
    end = time.monotonic() + LIMIT_S
    while gap.open and time.monotonic() < end:
        with contextlib.suppress(TrailUnavailable):  # the gap's own thread is at it
            gap.catch_up(trail)
    assert trail.said == [1, 1]
    assert not gap.open


def test_a_loss_is_counted_also_where_no_thread_can_be_started(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    gap, trail = Gap(layout), Trail()
    monkeypatch.setattr(threading.Thread, "start", fail)
    gap.lose(FULL, "t", body("e1"))
    gap.catch_up(trail)
    assert trail.said == [1]
    gap.close()


def test_in_the_end_refusals_without_room_are_counted() -> None:
    class Small(Trail):
        """Has room for an `audit_gap` only."""

        def append(self, body: bytes, opens: str, closes: str) -> None:
            if id_of(body).startswith("refused"):
                raise FULL
            super().append(body, opens, closes)

    gap, trail = Gap(), Small()
    for number in range(3):
        gap.refuse(Item(body(f"refused{number}")), "t")
    gap.lose(FULL, "t", body("e"))
    gap.catch_up(trail)
    assert trail.said == []
    gap.catch_up(trail, last=True)
    assert trail.said == [4]
    assert not gap.open


def test_of_events_that_went_together_only_those_refused_are_lost() -> None:
    done: list[tuple[int, TrailUnavailable | None]] = []
    job = Job(4, lambda safe, error: done.append((safe, error)))
    calls = [job.settle(error) for error in (None, FULL, None, FULL)]
    assert calls[:3] == [None] * 3
    assert calls[3] is not None
    calls[3]()
    [(safe, error)] = done
    assert safe == 1
    assert isinstance(error, Partly)
    assert sorted(error.errors) == [1, 3]
    assert together({2: FULL, 3: FULL}, 4) == (2, FULL)


def test_who_gives_up_is_told_which_may_come_yet() -> None:
    done: list[tuple[int, TrailUnavailable | None]] = []
    job = Job(3, lambda safe, error: done.append((safe, error)))
    job.settle(None)
    call = job.give_up(FULL, under_way=1)
    assert call is not None
    call()
    [(safe, error)] = done
    assert safe == 1
    assert isinstance(error, Partly)
    assert [type(error.errors[at]) for at in (1, 2)] == [NotInTime, TrailUnavailable]


# --- whole --------------------------------------------------------------------------------------------------------


def test_the_dead_ones_count_is_recorded_by_the_next(layout: Layout, place: str) -> None:
    gap, trail = Gap(layout, recorder="one"), Trail()
    for number in range(5):
        gap.lose(FULL, f"t{number}", body(f"e{number}"))
    gap.refuse(Item(body("refused")), "t9")
    report_the_dead(layout, trail, holds=True)
    assert trail.found == []  # it lives
    kill(gap)
    trail.error = FULL
    report_the_dead(layout, trail, holds=True)
    trail.error = None
    for _ in range(2):
        report_the_dead(layout, trail, holds=True)
    assert trail.said == [6]
    said = next(entry for entry in trail.found if entry.get("made"))
    assert (said["since"], said["until"], said["reason"]) == ("t0", "t9", "full")
    assert said["of"] == {"recorder": "one", "pid": os.getpid()}
    assert (place, list(layout.gaps.iterdir())) == (place, [])


def test_who_owes_nothing_leaves_nothing(layout: Layout, place: str) -> None:
    gap, trail = Gap(layout), Trail()
    gap.lose(FULL, "t", body("e"))
    gap.catch_up(trail)
    gap.close()
    assert list(layout.gaps.iterdir()) == []
    assert trail.said == [1]
    memory = gapfile.memory_directory(layout)
    assert memory is not None
    assert (place, list(memory.iterdir()) if memory.exists() else []) == (place, [])


@given(cut=st.integers(0, SLOT_BYTES), stores=st.integers(1, 4))
def test_a_store_that_is_cut_short_leaves_the_count_from_before(cut: int, stores: int) -> None:
    file = bytearray(b" " * FILE_BYTES)
    counts = [
        Count("r", 1, lost=number, reason="x" * 1000, generation=number) for number in range(1, stores + 2)
    ]
    for count in counts[:-1]:
        at = count.generation % 2 * SLOT_BYTES
        file[at : at + SLOT_BYTES] = gapfile._pack(count)
    at = counts[-1].generation % 2 * SLOT_BYTES
    file[at : at + cut] = gapfile._pack(counts[-1])[:cut]
    found = gapfile._newest(bytes(file))
    assert found is not None
    assert found.lost in (counts[-2].lost, counts[-1].lost)
    assert found.lost == counts[-1].lost or cut < SLOT_BYTES


@given(st.binary(max_size=FILE_BYTES))
def test_whatever_lies_there_is_a_count_or_none(data: bytes) -> None:
    found = gapfile._newest(data.ljust(FILE_BYTES))
    assert found is None or isinstance(found, Count)


class Killed(BaseException):
    """The process is gone; nothing in the product catches it."""


class Fatal:
    """A real trail, and the moment at which whoever writes to it is killed, or interrupted."""

    def __init__(self, layout: Layout, *, at: int = -1, appended: bool = True) -> None:
        with mock.patch.object(Sealer, "start"):
            self.writer = open_writer(layout.active, AuditSettings(), "test").writer
        self._left, self._appended = at, appended

    def append(self, body: bytes, opens: str, closes: str) -> None:
        self._left -= 1
        if self._left == -1 and not self._appended:
            raise Killed
        self.writer.append(body, opens, closes)
        if self._left == -1:
            raise Killed

    def service_event(self, event_type: EventType, metadata: dict[str, Any]) -> Item:
        return self.writer.service_event(event_type, metadata)

    def told(self) -> tuple[list[str], int]:
        """Return the refusals in the trail, and how many events its `audit_gap`s say are lost; closes it."""
        self.writer.close()
        entries = [json.loads(line) for line in self.writer.layout.active.read_bytes().splitlines()]
        refused = [entry["event_id"] for entry in entries if entry["event_type"] == "mcp_operation"]
        return refused, sum(
            entry["metadata"]["lost"] for entry in entries if entry["event_type"] == "audit_gap"
        )


REFUSED = [f"refused{number}" for number in range(3)]


@pytest.mark.parametrize("appended", [True, False])
@pytest.mark.parametrize("at", range(4))
def test_killed_between_a_refusals_record_and_its_count_it_is_counted_once(
    tmp_path: Path, place: str, at: int, appended: bool
) -> None:
    layout = Layout(tmp_path / "audit.jsonl")
    trail = Fatal(layout, at=at, appended=appended)
    gap = Gap(layout, recorder=place)
    gap.lose(FULL, "t", body("lost"))
    for name in REFUSED:
        gap.refuse(Item(body(name)), "t")
    with pytest.raises(Killed):
        gap.catch_up(trail)
    kill(gap)
    for _ in range(2):
        report_the_dead(layout, trail, holds=True)
    found, lost = trail.told()
    assert found == REFUSED[: at + appended]
    assert lost == 1 + len(REFUSED) - len(found)


@pytest.mark.parametrize("appended", [True, False])
def test_a_refusal_whose_record_was_interrupted_stands_there_once(tmp_path: Path, appended: bool) -> None:
    """A signal's handler raises, and the process goes on."""
    layout = Layout(tmp_path / "audit.jsonl")
    trail = Fatal(layout, at=1, appended=appended)
    gap = Gap(layout)
    for name in REFUSED:
        gap.refuse(Item(body(name)), "t")
    with pytest.raises(Killed):
        gap.catch_up(trail)
    gap.catch_up(trail)
    assert not gap.open
    gap.close()
    assert trail.told() == (REFUSED, 0)


@pytest.mark.parametrize("came", [True, False])
@pytest.mark.parametrize("what", ["an event", "a refusal", "what is refused", "what is refused after the end"])
def test_killed_before_it_is_known_what_came_the_next_one_looks(
    tmp_path: Path, place: str, what: str, came: bool
) -> None:
    layout = Layout(tmp_path / "audit.jsonl")
    trail = Fatal(layout)
    gap = Gap(layout, recorder=place)
    if what == "a refusal":
        slow = Trail()
        slow.error = SLOW
        gap.refuse(Item(body("e")), "t")
        gap.catch_up(slow)
    elif what == "an event":
        gap.lose(SLOW, "t", body("e"))
    else:
        if what == "what is refused after the end":
            gap.close()
        gap.doubt("e")
        gap.refuse(Item(body("e")), "t")
    if came:
        trail.append(body("e"), "", "")
    kill(gap)
    report_the_dead(layout, trail, holds=False)
    assert len(list(layout.gaps.iterdir())) == (0 if came else 1)  # what did not come may come yet
    report_the_dead(layout, trail, holds=True)
    assert trail.told() == (["e"] if came else [], 0 if came else 1)


def test_what_is_lost_after_the_end_is_the_next_recorders_to_say(layout: Layout, place: str) -> None:
    gap, trail = Gap(layout, recorder=place), Trail()
    gap.lose(FULL, "t", body("before"))
    gap.catch_up(trail)
    gap.close()
    for number in range(2):  # those were under way as it was closed
        gap.lose(FULL, "t", body(f"after{number}"))
        gap.refuse(Item(body(f"refused{number}")), "t")
    assert len(list(layout.gaps.iterdir())) == 1
    report_the_dead(layout, trail, holds=True)
    assert trail.said == [1, 4]
    gap.lose(FULL, "t", body("later"))
    report_the_dead(layout, trail, holds=True)
    assert trail.said == [1, 4, 1]
    assert list(layout.gaps.iterdir()) == []


# --- nobody else's -----------------------------------------------------------------------------------------------


def test_what_others_can_write_is_not_believed(layout: Layout, tmp_path: Path) -> None:
    gap, trail = Gap(layout), Trail()
    gap.lose(FULL, "t", body("e"))
    [name] = [file.name for file in layout.gaps.iterdir()]
    memory = gapfile.memory_directory(layout)
    assert memory is not None
    kill(gap)
    (memory / name).unlink()
    stored = (layout.gaps / name).read_bytes()
    (layout.gaps / name).chmod(0o666)
    report_the_dead(layout, trail, holds=True)
    assert trail.found == []
    (layout.gaps / name).unlink()
    (tmp_path / "elsewhere").write_bytes(stored)
    (layout.gaps / name).symlink_to(tmp_path / "elsewhere")
    report_the_dead(layout, trail, holds=True)
    assert trail.found == []


def test_a_directory_in_shared_memory_that_others_can_write_is_not_used(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gapfile, "SHARED_MEMORY", tmp_path / "shm")
    memory = gapfile.memory_directory(layout)
    assert memory is not None
    memory.parent.mkdir(parents=True)
    memory.parent.chmod(0o777)
    file = GapFile.create(layout, Access(), "r")
    assert not file.in_memory
    assert file.survives
    file.remove()


def test_a_forked_child_counts_its_own(layout: Layout) -> None:
    gap, trail = Gap(layout), Trail()
    gap.lose(FULL, "t", body("e"))
    with gap._lock:  # another thread may have it at the fork
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            gap.lose(FULL, "t", body("f"))
            gap.lose(FULL, "t", body("g"))
            keeper = gap._keeper
            status = int(gap.lost != 2 or (keeper is not None and not keeper.stop()))
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    report_the_dead(layout, trail, holds=True)
    assert trail.said == [2]
    gap.catch_up(trail)
    assert trail.said == [2, 1]
    gap.close()


# --- from an event loop -----------------------------------------------------------------------------------------------


class Slow:
    """A writer that answers when the test says."""

    def __init__(self) -> None:
        self.audit = AuditSettings(write_timeout=0.05)
        self.done: asyncio.Queue[Done] = asyncio.Queue()
        self.came: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()

    def submit(self, items: list[Item], done: Done) -> None:
        self.done.put_nowait(done)

    def too_late(self) -> TrailUnavailable:
        return TrailUnavailable("late")

    def came_late(self, event_id: str, came: bool) -> None:
        self.came.put_nowait((event_id, came))


def test_each_task_is_told_of_its_own_event() -> None:
    async def main() -> list[object]:
        slow = Slow()
        batcher = Batcher(cast("SharedWriter", slow), asyncio.get_running_loop())
        futures = [batcher.add(Item(body(f"e{number}"))) for number in range(4)]
        done = await slow.done.get()
        done(1, Partly("full", {1: FULL, 3: FULL}))
        return list(await asyncio.gather(*futures, return_exceptions=True))

    found = asyncio.run(main())
    assert [type(one) for one in found] == [type(None), TrailUnavailable, type(None), TrailUnavailable]


def test_a_task_does_not_wait_for_a_disk_that_hangs_and_hears_what_came() -> None:
    async def main() -> None:
        slow = Slow()
        batcher = Batcher(cast("SharedWriter", slow), asyncio.get_running_loop())
        first = [batcher.add(Item(body(f"e{number}"))) for number in range(2)]
        done = await slow.done.get()
        waiting = batcher.add(Item(body("waiting")))
        found = await asyncio.gather(*first, waiting, return_exceptions=True)
        assert [type(one) for one in found] == [NotInTime, NotInTime, TrailUnavailable]
        with pytest.raises(TrailUnavailable):
            await batcher.add(Item(body("at once")))
        done(1, FULL)
        assert [await slow.came.get(), await slow.came.get()] == [("e0", True), ("e1", False)]
        again = batcher.add(Item(body("again")))
        done = await slow.done.get()
        done(1, None)
        await again

    asyncio.run(main())


def test_what_came_late_is_told_though_the_loop_is_closed() -> None:
    """Else nobody would ever know, and no refusal or `audit_gap` be recorded while the process lives."""

    async def main() -> tuple[Slow, Done]:
        slow = Slow()
        batcher = Batcher(cast("SharedWriter", slow), asyncio.get_running_loop())
        futures = [batcher.add(Item(body(f"e{number}"))) for number in range(2)]
        done = await slow.done.get()
        assert [type(one) for one in await asyncio.gather(*futures, return_exceptions=True)] == [NotInTime] * 2
        return slow, done

    slow, done = asyncio.run(main())
    done(1, FULL)
    assert [slow.came.get_nowait(), slow.came.get_nowait()] == [("e0", True), ("e1", False)]


class Impatient:
    """Tasks that are cancelled while they wait, and what is told in their place."""

    def __init__(self, timeout: float) -> None:
        self.slow = Slow()
        self.slow.audit = AuditSettings(write_timeout=timeout)
        self.batcher = Batcher(cast("SharedWriter", self.slow), asyncio.get_running_loop())
        self.told: list[TrailUnavailable] = []

    def begin(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._record(name))

    async def _record(self, name: str) -> None:
        future = self.batcher.add(Item(body(name)))
        try:
            await future
        except asyncio.CancelledError:
            self.batcher.forsake(future, self.told.append)
            raise


@pytest.mark.parametrize("error", [None, FULL, SLOW])
@pytest.mark.parametrize("when", ["before", "in between", "after", "given up", "loop closed"])
def test_what_becomes_of_an_event_whose_task_was_cancelled_is_told(
    when: str, error: TrailUnavailable | None
) -> None:
    """Whether it is known before the task notices that it was cancelled, or after."""

    async def main() -> tuple[Impatient, Callable[[], None]]:
        some = Impatient(0.05 if when == "given up" else LIMIT_S)
        task = some.begin("e")
        answer = partial(await some.slow.done.get(), int(error is None), error)
        steps = {"in between": [answer, task.cancel], "after": [task.cancel, answer]}
        for step in steps.get(when, [task.cancel]):
            step()
        await asyncio.gather(task, return_exceptions=True)
        while when == "given up" and not some.batcher.hung:  # noqa: ASYNC110 - a timer of its own
            await asyncio.sleep(0.01)
        if when in ("before", "given up"):
            answer()
        for _ in range(3):
            await asyncio.sleep(0)
        return some, answer

    some, answer = asyncio.run(main())
    if when == "loop closed":
        answer()
    assert some.told == ([] if error is None else [error])
    assert not some.batcher._forsaken
    assert not some.batcher._unheard


@pytest.mark.parametrize("closed", [True, False])
def test_an_event_that_waits_for_its_turn_when_its_task_is_cancelled_is_told_to_be_lost(closed: bool) -> None:
    async def main() -> tuple[Impatient, Done]:
        some = Impatient(LIMIT_S if closed else 0.05)
        first = some.begin("first")
        done = await some.slow.done.get()
        task = some.begin("e")
        await asyncio.sleep(0)
        task.cancel()
        if not closed:
            await asyncio.gather(first, task, return_exceptions=True)
        return some, done

    some, done = asyncio.run(main())  # cancels whoever waits yet
    done(1, None)
    assert [type(one) for one in some.told] == [TrailUnavailable]
    assert not some.batcher._forsaken


def test_behind_a_service_the_count_is_in_shared_memory_alone(tmp_path: Path) -> None:
    """There is no directory of the trail's; and whether a claimed `audit_gap` came, nobody there can look up."""
    layout = Layout(tmp_path / "record.sock")
    layout.socket = layout.active
    gap, trail = Gap(layout), Trail()
    gap.lose(FULL, "t", body("e"))
    trail.error = SLOW
    gap.catch_up(trail)
    kill(gap)
    memory = gapfile.memory_directory(layout)
    assert memory is not None
    assert len(list(memory.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    trail.error = None
    report_the_dead(layout, trail, holds=False)
    assert trail.said == []  # it may still be on its way
    report_the_dead(layout, trail, holds=True)
    assert trail.said == [1]
    assert not memory.exists()


def test_nothing_stays_in_shared_memory_when_nothing_is_owed(tmp_path: Path) -> None:
    """The last one takes the directory along, whoever makes a file there just then."""
    layout = Layout(tmp_path / "record.sock")
    layout.socket = layout.active  # behind a service: there is nothing but shared memory
    memory = gapfile.memory_directory(layout)
    assert memory is not None
    kept = []

    def come_and_go() -> None:
        for _ in range(100):
            file = GapFile.create(layout, Access(), "r")
            kept.append(file.in_memory)
            file.remove()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [True] * 300
    assert not memory.exists()
