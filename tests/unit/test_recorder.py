"""The recorder: one event for each call whatever happens in it, and an exact count of what could not be recorded."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import indelible
from indelible import events
from indelible.config import AuditSettings, Settings
from indelible.errors import ConfigError, NotInTime, TrailUnavailable
from indelible.events import Event, Request, Source, Target
from indelible.opening import open_recorder
from indelible.recorder import Recorder
from indelible.trail import durable
from indelible.trail.active import ActiveFile
from indelible.trail.gap import MAX_REFUSED
from indelible.trail.sharing import patience
from indelible.trail.start.opening import open_writer
from tests.recording import full_disk, wait_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def operations(path: Path) -> list[dict[str, Any]]:
    return [entry for entry in lines(path) if entry["event_type"] == "mcp_operation"]


def event(name: str = "call", **outcome: Any) -> Event:
    return Event(
        timestamp=events.now(),
        event_type="mcp_operation",
        event_id=name,
        source=Source(caller="library"),
        target=Target(method="tools/call", type="tool", capability_name="t"),
        request=Request(args={"a": 1}),
        outcome=events.outcome(**{"kind": "completed", **outcome}),
    )


def open_with(path: Path, on_failure: Any, **audit: Any) -> Recorder:
    settings = Settings(audit=AuditSettings(path=str(path), on_failure=on_failure, **audit))
    return open_recorder(settings, caller="library")


@pytest.mark.parametrize("owed", [False, True])
def test_a_handler_closes_on_top_of_a_record(path: Path, monkeypatch: pytest.MonkeyPatch, owed: bool) -> None:
    """Also when something is owed: that waits for locks that the call beneath may have."""
    recorder = open_with(path, "allow")
    if owed:
        with full_disk():
            recorder.record(event("lost"))
    action = ActiveFile.put

    def interrupted(self: ActiveFile, data: bytes) -> None:
        if threading.current_thread() is threading.main_thread():
            monkeypatch.undo()
            signal.raise_signal(signal.SIGUSR1)
        action(self, data)

    before = signal.signal(signal.SIGUSR1, lambda *_: recorder.close())
    try:
        monkeypatch.setattr(ActiveFile, "put", interrupted)
        recorder.record(event("e1"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    for thread in threading.enumerate():
        if thread.name == "indelible-close":
            thread.join(60)
            assert not thread.is_alive()
    assert lines(path)[-1]["event_type"] == "audit_stopped"
    open_with(path, "allow").close()  # what was lost after the end is its to say
    said = [entry["metadata"]["lost"] for entry in lines(path) if entry["event_type"] == "audit_gap"]
    assert len(operations(path)) + sum(said) == 1 + owed


# --- one operation, whatever happens --------------------------------------------------------------------------------


class Refused(Exception):  # noqa: N818
    """Somebody's own exception."""


class Shy(Exception):  # noqa: N818
    """One whose text cannot be had."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("raised", "kind", "error_type"),
    [
        (None, "completed", None),
        (ValueError("no"), "tool_error", "ValueError"),
        (Refused("no"), "tool_error", "Refused"),
        (TimeoutError("slow"), "timed_out", "TimeoutError"),
        (asyncio.CancelledError(), "cancelled", "CancelledError"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
        (Shy(), "tool_error", "Shy"),
        (
            ExceptionGroup("tasks", [ExceptionGroup("more", [TimeoutError("slow")])]),
            "timed_out",
            "TimeoutError",
        ),
    ],
)
def test_every_end_of_an_operation_leaves_one_event(
    path: Path, raised: BaseException | None, kind: str, error_type: str | None
) -> None:
    with indelible.open_trail(path) as trail:
        if raised is None:
            with trail.operation("tools/call", "t", args={"x": 1}, user_id="ada"):
                pass
        else:
            with pytest.raises(type(raised)), trail.operation("tools/call", "t", args={"x": 1}, user_id="ada"):
                raise raised
    [intent] = [entry for entry in lines(path) if entry["event_type"] == "mcp_operation_started"]
    [operation] = operations(path)
    assert operation["outcome"]["kind"] == kind
    assert operation["outcome"]["status"] == ("success" if kind == "completed" else "error")
    assert operation["outcome"].get("error_type") == error_type
    assert operation["request"]["intent"] == intent["event_id"]
    assert operation["request"]["request_id"] == intent["request"]["request_id"]
    assert operation["source"]["user_id"] == "ada"
    assert operation["timestamp"] == intent["timestamp"]
    assert operation["outcome"]["latency_ms"] >= 0


def test_async_operations_are_recorded_when_their_task_is_cancelled(path: Path) -> None:
    async def main() -> None:
        with indelible.open_trail(path, durability="disk") as trail:
            entered = asyncio.Event()

            async def call() -> None:
                async with trail.operation("tools/call", "slow"):
                    entered.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(call())
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert [entry["outcome"]["kind"] for entry in operations(path)] == ["cancelled"]


@pytest.mark.parametrize(("mode", "read_only", "write"), [("all", 1, 1), ("writes", 0, 1), ("none", 0, 0)])
def test_intents_as_configured(path: Path, mode: Any, read_only: int, write: int) -> None:
    with open_with(path, "allow", intent=mode) as trail:
        with trail.operation("tools/call", "reader", effects="read_only"):
            pass
        with trail.operation("tools/call", "writer", effects="destructive"):
            pass
    started = Counter(
        entry["target"]["capability_name"]
        for entry in lines(path)
        if entry["event_type"] == "mcp_operation_started"
    )
    assert (started["reader"], started["writer"]) == (read_only, write)


def test_512_tasks_at_once_on_the_disk(path: Path) -> None:
    async def main() -> None:
        with indelible.open_trail(path, durability="disk") as trail:
            await asyncio.gather(*(trail.arecord(event(f"e{number}")) for number in range(512)))

    asyncio.run(main())
    assert {entry["event_id"] for entry in operations(path)} == {f"e{number}" for number in range(512)}


def test_one_loop_after_the_other_and_none_is_kept(path: Path) -> None:
    """As where an application makes a loop for each of its requests."""
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    def alive() -> list[object]:
        gc.collect()
        return [loop() for loop in loops if loop() is not None]

    async def main(number: int) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(*(trail.arecord(event(f"e{number}-{task}")) for task in range(3)))
        if number == 7:  # it ends with one on its way
            task = asyncio.ensure_future(trail.arecord(event("last")))
            await asyncio.sleep(0)
            task.cancel()

    with open_with(path, "allow", durability="disk") as trail:
        for number in range(8):
            asyncio.run(main(number))
        trail.record(event("end"))  # after which nothing is on its way
        wait_for(lambda: not alive())  # the thread that has told the last one may not have come back from it
    wanted = {f"e{number}-{task}" for number in range(8) for task in range(3)}
    assert {entry["event_id"] for entry in operations(path)} - {"last", "end"} == wanted


# --- when it cannot be recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_allow_goes_on_and_counts_exactly(path: Path, durability: Any) -> None:
    with open_with(path, "allow", durability=durability) as trail:
        trail.record(event("before"))
        with full_disk():
            for number in range(37):
                trail.record(event(f"lost{number}"))
        trail.record(event("after"))
    found = lines(path)
    [gap] = [entry for entry in found if entry["event_type"] == "audit_gap"]
    assert gap["metadata"]["lost"] == 37
    assert "No space left" in gap["metadata"]["reason"]
    assert gap["metadata"]["since"] <= gap["metadata"]["until"]
    order = [entry["event_id"] for entry in found if entry["event_id"] in ("before", "after", gap["event_id"])]
    assert order == ["before", gap["event_id"], "after"]
    assert indelible.verify(path).ok


def test_allow_records_the_gap_at_the_end_when_nothing_follows(path: Path) -> None:
    with open_with(path, "allow") as trail, full_disk():
        trail.record(event("lost"))
    assert [e["metadata"]["lost"] for e in lines(path) if e["event_type"] == "audit_gap"] == [1]


def test_deny_raises_and_the_refusals_are_recorded_when_writing_works_again(path: Path) -> None:
    refused = event("refused", kind="denied", error_type="audit_unavailable")
    with open_with(path, "deny") as trail:
        with full_disk():
            with pytest.raises(TrailUnavailable, match="No space left"):
                trail.record(event("x"))
            trail.refuse(refused)
        trail.record(event("after"))
    names = [entry["event_id"] for entry in operations(path)]
    assert names == ["refused", "after"]
    assert operations(path)[0]["outcome"]["error_type"] == "audit_unavailable"


class Disk:
    """One that hangs in each sync, when it is told to, for as long as it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers, self.asked = threading.Event(), threading.Event()
        self.answers.set()

        def sync(_: int) -> None:
            self.asked.set()
            self.answers.wait(60)

        monkeypatch.setattr(durable, "datasync", sync)


@pytest.mark.parametrize("hangs", ["intent", "outcome"])
@pytest.mark.parametrize("waits", [False, True])
def test_deny_leaves_one_outcome_of_a_call_that_is_recorded_after_its_caller_was_told_otherwise(
    path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str, waits: bool
) -> None:
    disk = Disk(monkeypatch)

    def call(recorder: Recorder) -> None:
        operation = recorder.operation("tools/call", "late")
        if hangs == "intent":
            disk.answers.clear()
        with operation:
            disk.answers.clear()

    async def acall(recorder: Recorder) -> None:
        operation = recorder.operation("tools/call", "late")
        if hangs == "intent":
            disk.answers.clear()
        async with operation:
            disk.answers.clear()

    with open_with(path, "deny", durability="disk", write_timeout=1.0) as recorder:
        recorder.record(event("before"))
        with pytest.raises(NotInTime):
            asyncio.run(acall(recorder)) if waits else call(recorder)
        disk.answers.set()
    intents = [e["event_id"] for e in lines(path) if e["event_type"] == "mcp_operation_started"]
    [outcome] = [e for e in operations(path) if e["event_id"] != "before"]
    assert [outcome["request"]["intent"]] == intents
    assert outcome["outcome"]["kind"] == ("denied" if hangs == "intent" else "completed")
    assert not [e for e in lines(path) if e["event_type"] == "audit_gap"]


def test_deny_owes_the_outcome_of_a_call_that_was_cancelled_while_its_intent_was_on_its_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def cancelled(recorder: Recorder) -> None:
        operation = recorder.operation("tools/call", "late")
        disk.answers.clear()
        begins = asyncio.create_task(operation.__aenter__())
        for _ in range(2):  # it hands its intent over
            await asyncio.sleep(0)
        assert await asyncio.to_thread(disk.asked.wait, 60)
        begins.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begins

    with open_with(path, "deny", durability="disk", write_timeout=60) as recorder:
        assert recorder._writer is not None
        assert recorder._writer.holder is not None
        recorder._writer.holder._group._timeout = 0.1  # for the outcome
        with recorder._writer.holder.keys_stay():  # no checkpoint's sync
            disk.asked.clear()
            asyncio.run(cancelled(recorder))
        disk.answers.set()
    intents = [e["event_id"] for e in lines(path) if e["event_type"] == "mcp_operation_started"]
    [outcome] = operations(path)
    assert [outcome["request"]["intent"]] == intents
    assert outcome["outcome"]["kind"] == "cancelled"


@pytest.mark.parametrize("on_failure", ["allow", "deny"])
def test_events_whose_tasks_are_cancelled_while_the_disk_hangs_are_recorded_counted_or_owed(
    path: Path, monkeypatch: pytest.MonkeyPatch, on_failure: Any
) -> None:
    """Clients give up just then. One of two is on its way to the disk, the other waits for its turn."""
    disk = Disk(monkeypatch)

    async def cancelled(recorder: Recorder) -> list[BaseException | None]:
        disk.answers.clear()
        tasks = []
        for name in ("under way", "its neighbour", "waits", "waits beside it"):
            tasks.append(asyncio.create_task(recorder.arecord(event(name))))
            if name == "its neighbour":
                for _ in range(2):  # they are handed over
                    await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with open_with(path, on_failure, durability="disk", write_timeout=1.0) as recorder:
        told = asyncio.run(cancelled(recorder))
        disk.answers.set()
    open_with(path, on_failure).close()
    assert [type(told[at]) for at in (0, 2)] == [asyncio.CancelledError] * 2
    found = {entry["event_id"] for entry in operations(path)}
    lost = sum(entry["metadata"]["lost"] for entry in lines(path) if entry["event_type"] == "audit_gap")
    if on_failure == "allow":
        assert (found, lost) == ({"under way", "its neighbour"}, 2)
    else:  # whoever is told that his is not recorded owes it himself
        assert (found, lost) == ({"under way", "its neighbour", "waits"}, 0)
        assert [type(told[at]) for at in (1, 3)] == [NotInTime, TrailUnavailable]


def test_deny_owes_nothing_of_what_is_nobodys_call_and_is_recorded_late(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    with open_with(path, "deny", durability="disk", write_timeout=1.0) as recorder:
        disk.answers.clear()
        recorder.record_or_owe(event("late"))
        disk.answers.set()
    assert [entry["event_id"] for entry in operations(path)] == ["late"]


def test_more_refusals_than_are_kept_are_counted(path: Path) -> None:
    with open_with(path, "deny") as trail:
        with full_disk():
            for number in range(MAX_REFUSED + 5):
                trail.refuse(event(f"r{number}", kind="denied"))
        trail.record(event("after"))
    assert len(operations(path)) == MAX_REFUSED + 1
    assert [e["metadata"]["lost"] for e in lines(path) if e["event_type"] == "audit_gap"] == [5]


@pytest.mark.parametrize("on_failure", ["allow", "deny"])
def test_after_the_end_nothing_is_taken_as_recorded(
    path: Path, on_failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trail = open_with(path, on_failure)
    trail.close()
    trail.close()
    if on_failure == "deny":
        with pytest.raises(TrailUnavailable, match="closed"):
            trail.record(event())
    else:
        trail.record(event())
        assert "the trail is closed" in caplog.text


def test_nothing_is_recorded_when_it_is_switched_off(path: Path) -> None:
    with open_with(path, "allow", enabled=False) as trail:
        assert not trail.enabled
        trail.record(event())
        with trail.operation("tools/call", "t"):
            pass
    assert not path.exists()


def test_two_recorders_write_one_trail(path: Path) -> None:
    settings = Settings(audit=AuditSettings(path=str(path)))
    with open_recorder(settings, caller="stdio") as first:
        with open_recorder(settings, caller="stdio", label="files") as second:
            second.record(event("second"))
            assert second.path == path
            assert second.notice is None
        first.record(event("first"))
    assert [entry["event_id"] for entry in operations(path)] == ["second", "first"]


def test_beside_a_holder_that_lets_nobody_in_a_label_writes_beside_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "START_S", 0.1)
    settings = Settings(audit=AuditSettings(path=str(path)))
    holder = open_writer(path, settings.audit, "alone").writer  # it does not listen
    try:
        with open_recorder(settings, caller="stdio", label="files") as second:
            second.record(event("beside"))
            beside = second.path
            assert beside is not None
            assert beside.name == f"audit-files-{os.getpid()}.jsonl"
            assert second.notice is not None
            assert str(beside) in second.notice
            assert "\n" not in second.notice
    finally:
        holder.close()
    assert [entry["event_id"] for entry in operations(beside)] == ["beside"]
    assert operations(path) == []


def test_what_a_dead_recorder_left_beside_is_closed_by_the_next(path: Path) -> None:
    beside = path.with_name("audit-files-999999.jsonl")
    pid = os.fork()
    if pid == 0:
        trail = indelible.open_trail(beside)
        trail.operation("tools/call", "t").__enter__()
        os._exit(0)  # no good-bye
    os.waitpid(pid, 0)
    settings = Settings(audit=AuditSettings(path=str(path)))
    recorder = open_recorder(settings, caller="stdio", label="files")
    assert recorder._sweeper is not None
    recorder._sweeper._thread.join()
    recorder.close()
    assert [entry["outcome"]["kind"] for entry in operations(beside)] == ["interrupted"]
    assert lines(beside)[-1]["event_type"] == "audit_stopped"
    assert indelible.verify(beside).ok


def test_digests_are_the_same_in_two_runs_and_different_for_two_recorders(path: Path) -> None:
    for _ in range(2):
        with indelible.open_trail(path) as trail:
            trail.record(event())
    settings = Settings(audit=AuditSettings(path=str(path)))
    with open_recorder(settings, caller="stdio", label="x") as other:
        other.record(event())
    digests = [entry["request"]["args_hmac"] for entry in operations(path)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("durability", ["paper", "", 3])
def test_a_durability_that_is_none(path: Path, durability: Any) -> None:
    with pytest.raises(ConfigError, match="memory, process, disk"):
        indelible.open_trail(path, durability=durability)


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().audit.path = "x"  # type: ignore[misc]
    assert msgspec.structs.replace(AuditSettings(), path="x").path == "x"


@pytest.mark.parametrize("durability", ["memory", "process", "disk"])
def test_a_time_that_is_yet_to_come_is_a_claim(path: Path, durability: Any) -> None:
    """Searches by time leave out what was recorded before."""
    ahead = {"a": 3_600, "b": 1, "c": -3_600}
    claims = {name: events.format_time(time.time_ns() + by * 10**9) for name, by in ahead.items()}
    with open_with(path, "deny", durability=durability) as recorder:
        for name, claimed in claims.items():
            recorder.record(msgspec.structs.replace(event(name), timestamp=claimed))
        zoned = msgspec.structs.replace(event("d"), timestamp="2026-11-21T07:38:34+02:00")
        recorder.record(zoned)
    late, *others, in_utc = operations(path)
    assert late["timestamp"] == late["recorded_at"]
    assert late["metadata"] == {"claimed_timestamp": claims["a"]}
    assert [(one["event_id"], one["timestamp"]) for one in others] == [("b", claims["b"]), ("c", claims["c"])]
    assert in_utc["timestamp"] == "2026-11-21T05:38:34.000000Z"
    assert not any("metadata" in one for one in (*others, in_utc))
    assert indelible.verify(path).ok
