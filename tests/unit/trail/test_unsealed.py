"""Lines that wait for a checkpoint: how many may, and what becomes of them when the disk fails."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.config import AuditSettings
from indelible.errors import TrailUnavailable
from indelible.trail import commit, durable, switch, unsealed
from indelible.trail import writer as writer_module
from indelible.trail.active import ActiveFile
from indelible.trail.commit import GroupCommit, Item
from indelible.trail.layout import Layout
from indelible.trail.notice import EVERY_S, Notice
from indelible.trail.proofs.checkpoint import Signer
from indelible.trail.proofs.ownwords import OwnWords
from indelible.trail.proofs.rotation import Rotation, Speaker
from indelible.trail.sealer import Sealer
from indelible.trail.unsealed import Unsealed
from indelible.trail.writer import Writer

from .faults import assert_sealed, read_all
from .test_writer import body, crash, start

FULL = OSError(28, "No space left on device")
BROKEN = OSError(5, "Input/output error")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def most_pending(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After each write, how many lines were ahead of the checkpoint."""
    seen: list[int] = []
    account = Unsealed._account

    def watched(self: Unsealed, *args: Any) -> None:
        account(self, *args)
        seen.append(len(self._pending))

    monkeypatch.setattr(Unsealed, "_account", watched)
    return seen


# --- who is interrupted while it seals --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["published", "sealed_now"])
def test_lines_whose_sealing_was_interrupted_are_in_the_tree_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The checkpoint over them is there, and a signal's handler raises before they are let go."""
    writer = start(path)
    real, me = getattr(writer, step), threading.get_ident()

    def interrupted(about: Any) -> None:
        if threading.get_ident() == me:
            monkeypatch.undo()
            raise KeyboardInterrupt
        real(about)

    with writer._sealer.pause():  # the sealer's own thread comes too late
        for number in range(5):
            writer.append(body(f"before {number}"))
        monkeypatch.setattr(writer, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer._sealer._seal()
    writer.seal()
    writer.append(body("after"))
    writer.close()
    assert_sealed(path, read_all(path))


# --- how many may wait ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_size", [100 << 20, 60_000])
def test_a_batch_of_any_size_stays_within_the_promise(
    path: Path, most_pending: list[int], max_size: int
) -> None:
    writer = start(path, AuditSettings(durability="disk", max_size=max_size, write_timeout=60))
    told: list[tuple[int, Any]] = []
    finished = threading.Event()

    def done(safe: int, error: TrailUnavailable | None) -> None:
        told.append((safe, error))
        finished.set()

    count = 3 * unsealed.PROMISED_EVENTS
    writer.submit([Item(body(str(number))) for number in range(count)], done)
    assert finished.wait(60)
    writer.close()
    assert told == [(count, None)]
    assert max(most_pending) <= unsealed.PROMISED_EVENTS
    found = read_all(path)
    assert_sealed(path, found)
    names = [entry["event_id"] for entry in found if entry["event_type"] == "mcp_operation"]
    assert names == [str(number) for number in range(count)]


def test_many_callers_at_once_stay_within_the_promise(path: Path, most_pending: list[int]) -> None:
    writer = start(path, AuditSettings(durability="process", max_size=200_000, write_timeout=60))

    def work() -> None:
        for number in range(3000):
            writer.append(body(str(number)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert len(read_all(path)) > 12_000
    assert max(most_pending) <= unsealed.PROMISED_EVENTS


def test_a_start_that_finds_many_open_calls_stays_within_the_promise(
    path: Path, most_pending: list[int]
) -> None:
    writer = start(path)
    count = unsealed.PROMISED_EVENTS + 100
    for number in range(count):
        writer.append(body(f"i{number}", "mcp_operation_started"), opens=f"i{number}")
    crash(path, writer)
    start(path, AuditSettings(write_timeout=60)).close()
    assert max(most_pending) <= unsealed.PROMISED_EVENTS
    found = read_all(path)
    assert_sealed(path, found)
    interrupted = [e for e in found if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == [f"i{number}" for number in range(count)]


def test_a_start_that_dies_before_it_has_said_all_leaves_the_rest_to_the_next(path: Path) -> None:
    writer = start(path)
    for number in range(5):
        writer.append(body(f"i{number}", "mcp_operation_started"), opens=f"i{number}")
    crash(path, writer)
    write = Writer.write_service_events

    def some(self: Writer, items: list[Item]) -> None:
        write(self, items[:3])  # what was repaired, and two of the calls
        self.seal()
        crash(path, self)
        raise KeyboardInterrupt

    with mock.patch.object(Writer, "write_service_events", some), pytest.raises(KeyboardInterrupt):
        start(path)
    Layout(path).state.unlink()
    start(path).close()
    found = read_all(path)
    assert_sealed(path, found)
    interrupted = [e for e in found if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == [f"i{number}" for number in range(5)]


def test_one_sync_takes_along_so_many_events_at_the_most() -> None:
    batches: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def write(items: list[Item]) -> int:
        batches.append(len(items))
        first.set()
        assert go_on.wait(30)
        return len(items)

    group = GroupCommit(write, lambda: TrailUnavailable("x"), 30)
    told: list[int] = []
    for _ in range(7):
        group.submit([Item(b"{}")] * 1000, lambda safe, _: told.append(safe))
        assert first.wait(30)  # all others come while the first is being written
    go_on.set()
    group.close()
    assert batches == [1000, 2000, 2000, 2000]
    assert told == [1000] * 7


def test_what_waits_for_the_disk_is_bounded_by_bytes_too() -> None:
    started, go_on = threading.Event(), threading.Event()

    def write(items: list[Item]) -> int:
        started.set()
        assert go_on.wait(30)
        return len(items)

    group = GroupCommit(write, lambda: TrailUnavailable("x"), 0.05)
    large = Item(bytes(60_000))
    group.submit([large], lambda *_: None)
    assert started.wait(30)
    for _ in range(commit.MAX_QUEUED_BYTES // 60_000):
        group.submit([large], lambda *_: None)
    with pytest.raises(TrailUnavailable, match="wait for the disk already"):
        group.submit([large], lambda *_: None)
    go_on.set()
    group.close()


def test_what_is_queued_at_memory_durability_is_bounded_by_bytes_too(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):  # nobody empties the queue
        writer = start(path, AuditSettings(durability="memory", write_timeout=0.05))
    large = body("x", padding="x" * 60_000)
    for _ in range(commit.MAX_QUEUED_BYTES // len(large)):
        writer.append(large)
    with mock.patch.object(ActiveFile, "put", side_effect=FULL), pytest.raises(TrailUnavailable, match="space"):
        writer.append(large)
    queued = writer._queue.size
    assert commit.MAX_QUEUED_BYTES - len(large) < queued <= commit.MAX_QUEUED_BYTES
    writer.try_again()
    writer.seal()
    assert writer._queue.size == sum(len(item.body) for item in writer._queue.items)
    assert queued - 1.1 * unsealed.MAX_PENDING_BYTES < writer._queue.size < queued
    writer.close()
    assert writer._queue.size == 0
    assert_sealed(path, read_all(path))


# --- what a failed commit leaves --------------------------------------------------------------------------------


def interrupted_after(path: Path, writer: Writer) -> list[str]:
    """Kill the writer and return what the next start calls interrupted."""
    writer.try_again()
    writer.append(body("after"))
    writer.seal()
    crash(path, writer)
    start(path).close()
    found = read_all(path)
    assert_sealed(path, found)
    return [e["request"]["intent"] for e in found if e.get("outcome", {}).get("kind") == "interrupted"]


def test_an_intent_whose_line_was_dropped_is_not_called_interrupted(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):
        writer = start(path, AuditSettings(durability="disk"))
    writer.append(body("i0", "mcp_operation_started"), opens="i0")
    with (
        mock.patch.object(durable, "datasync", side_effect=BROKEN),
        mock.patch.object(switch, "switch", side_effect=BROKEN),
        pytest.raises(TrailUnavailable),
    ):
        writer.append(body("i1", "mcp_operation_started"), opens="i1")
    assert writer._intents.keys() == {"i0"}
    assert interrupted_after(path, writer) == ["i0"]


def test_an_intent_whose_outcome_was_dropped_is_open_again(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):
        writer = start(path, AuditSettings(durability="disk"))
    writer.append(body("i0", "mcp_operation_started"), opens="i0")
    before = dict(writer._intents)
    with (
        mock.patch.object(durable, "datasync", side_effect=BROKEN),
        mock.patch.object(switch, "switch", side_effect=BROKEN),
        pytest.raises(TrailUnavailable),
    ):
        writer.append(body("o0", request={"intent": "i0"}), closes="i0")
    assert writer._intents == before
    assert interrupted_after(path, writer) == ["i0"]


def test_what_one_dropped_batch_both_opened_and_closed_leaves_nothing(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):
        writer = start(path, AuditSettings(durability="disk"))
    items = [
        Item(body("i1", "mcp_operation_started"), opens="i1"),
        Item(body("o1", request={"intent": "i1"}), closes="i1"),
        Item(body("i2", "mcp_operation_started"), opens="i2"),
    ]
    told: list[int] = []
    finished = threading.Event()

    def done(safe: int, _: TrailUnavailable | None) -> None:
        told.append(safe)
        finished.set()

    with (
        mock.patch.object(durable, "datasync", side_effect=BROKEN),
        mock.patch.object(switch, "switch", side_effect=BROKEN),
    ):
        writer.submit(items, done)
        assert finished.wait(30)
    assert told == [0]
    assert writer._intents == {}
    assert interrupted_after(path, writer) == []


def test_a_batch_that_began_a_file_on_a_disk_that_failed_then_leaves_a_trail_that_goes_on(path: Path) -> None:
    """What was written before the rotation is safe; of the new file nothing is, not even its own first line."""
    with mock.patch.object(Sealer, "start"):
        writer = start(path, AuditSettings(durability="disk", max_size=6_000))
    items = [Item(body(f"e{number}")) for number in range(80)]
    create, broken = writer._create_active, mock.patch.multiple(ActiveFile, put=fail, sync=fail)

    def breaks() -> None:
        create()
        broken.start()

    try:
        with (
            mock.patch.object(switch, "switch", side_effect=FULL),
            mock.patch.object(writer, "_create_active", breaks),
        ):
            safe = writer._commit(items)
    finally:
        broken.stop()
    assert 0 < safe < len(items)
    writer.try_again()
    writer.append(body("after"))
    writer.close()
    found = read_all(path)
    assert_sealed(path, found)
    expected = [*(f"e{number}" for number in range(safe)), "after"]
    assert [e["event_id"] for e in found if e["event_type"] == "mcp_operation"] == expected
    assert "the disk failed" in [e["metadata"].get("reason") for e in found if e["event_type"] == "file_opened"]


def fail(self: ActiveFile, *_: Any) -> None:
    self.doubtful = True
    raise FULL


# --- lines that were written again ------------------------------------------------------------------------------


def test_the_trails_own_words_are_signed_for_where_they_stand_now(path: Path) -> None:
    """By whichever of two keys that sign: one has just handed over. What somebody else says so is not signed."""
    with mock.patch.object(Sealer, "start"):
        writer = start(path)
    writer.append(body("a"))
    writer.seal()
    metadata = {"hold": {"id": "h1", "user": "ada"}}
    writer.write_service_events([writer.service_event("hold_placed", metadata)])
    writer.append(body("b", "hold_released", metadata={"hold": {"id": "h1"}}))
    before = {entry["event_id"]: entry["seq"] for entry in read_all(path)}
    old = writer.signer
    new = Signer(old.verifier.name, Ed25519PrivateKey.generate(), old._keys[0][1])
    note = Rotation(old.verifier, new.verifier, writer.sealed, "2026-11-21T05:38:34.123456Z")
    writer.layout.rotations.mkdir()
    (writer.layout.rotations / note.file_name()).write_text(new.sign(note.text()))
    with (
        mock.patch.object(ActiveFile, "sync", side_effect=BROKEN),
        mock.patch.object(writer._keyring, "signer", new),
        pytest.raises(OSError, match="Input"),
    ):
        writer.seal()
    found = {entry["event_type"]: entry for entry in read_all(path) if entry["seq"] >= writer.sealed}
    assert all(entry.pop("leaf") for entry in found.values())
    assert found["hold_placed"]["seq"] == before[found["hold_placed"]["event_id"]] + 1
    own = OwnWords(lambda: [Speaker(new.verifier, 2**53)])  # no other needs to be known by now
    assert {kind: own.has(entry) for kind, entry in found.items()} == {
        "file_opened": True, "hold_placed": True, "hold_released": False
    }  # fmt: skip
    writer.abandon()


@pytest.mark.parametrize("sealed", [True, False])
def test_a_new_file_says_which_lines_of_it_stood_in_the_old_one(path: Path, sealed: bool) -> None:
    with mock.patch.object(Sealer, "start"):
        writer = start(path)
    writer.append(body("a"))
    if sealed:
        writer.seal()
    writer.append(body("b"))
    writer.append(body("c"))
    before = {entry["event_id"]: entry["seq"] for entry in read_all(path)}
    with mock.patch.object(ActiveFile, "sync", side_effect=BROKEN), pytest.raises(OSError, match="Input"):
        writer.seal()
    writer.append(body("d"))
    writer.close()
    found = read_all(path)
    assert_sealed(path, found)
    opened = [e for e in found if e["event_type"] == "file_opened"][-1]
    first, last = opened["metadata"]["rewritten"]
    shift = opened["metadata"]["shift"]
    again = {e["event_id"]: e["seq"] - shift for e in found if first <= e["seq"] <= last}
    assert again == {name: seq for name, seq in before.items() if name in again}
    assert {"b", "c"} <= again.keys()
    assert ("a" in again) is not sealed
    assert "d" not in again


# --- what the log says ------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_flapping_state_is_said_seldom_and_a_lasting_one_always(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "indelible")
    clock = Clock()
    notice = Notice("well again", clock)
    notice.well()
    assert caplog.messages == []
    for _ in range(int(3 * EVERY_S / 0.1)):
        notice.bad("broken")
        clock.now += 0.05
        notice.well()
        clock.now += 0.05
    assert 2 <= len(caplog.messages) <= 8
    assert all(a != b for a, b in zip(caplog.messages, caplog.messages[1:], strict=False)), "said twice"
    for last in ("broken", "well again"):
        if last == "broken":
            notice.bad(last)
        else:
            notice.well()
        owed = notice.owed_s()
        clock.now += owed or 0.0
        notice.say()
        assert caplog.messages[-1] == last
        assert notice.owed_s() is None


def test_a_state_that_is_back_before_it_could_be_said_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    notice = Notice("well again", clock)
    notice.bad("broken")
    notice.well()
    notice.bad("broken")
    assert notice.owed_s() == EVERY_S
    notice.well()
    assert notice.owed_s() is None
    assert caplog.messages == ["broken", "well again"]


def test_a_disk_that_flaps_does_not_flood_the_log_and_the_last_word_is_true(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.trail.notice.EVERY_S", 0.5)
    writer = start(path)
    put = ActiveFile.put
    began = time.monotonic()
    with mock.patch.object(writer_module, "RETRY_S", 0.0):
        for number in range(200):
            with mock.patch.object(ActiveFile, "put", side_effect=FULL), pytest.raises(TrailUnavailable):
                writer.append(body(f"no{number}"))
            assert ActiveFile.put is put
            writer.append(body(f"yes{number}"))
    took = time.monotonic() - began
    deadline = time.monotonic() + 30
    while not caplog.messages[-1].endswith("can be written again") or writer.owed_s() is not None:
        assert time.monotonic() < deadline, "the log still says that it cannot be written"
        time.sleep(0.01)
    about = [message for message in caplog.messages if "written again" in message or "cannot write" in message]
    assert len(about) <= 4 + 2 * took / 0.5
    writer.close()
    assert_sealed(path, read_all(path))


def test_a_file_that_was_closed_while_the_sealer_synced_it_is_no_failure(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start(path)
    sync = ActiveFile.sync
    rotated: list[ActiveFile] = []

    def closed_meanwhile(self: ActiveFile, size: int, next_seq: int) -> None:
        if not rotated:
            rotated.append(self)
            writer.rotate()
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sync(self, size, next_seq)

    with mock.patch.object(ActiveFile, "sync", closed_meanwhile):
        writer.append(body("e1"))
        writer.seal()
    writer.seal()
    assert rotated
    assert writer.sealed == writer.size
    assert caplog.messages == []
    writer.close()
    assert_sealed(path, read_all(path))


def test_a_lasting_failure_that_began_in_the_silence_is_said(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.trail.notice.EVERY_S", 2.0)
    writer = start(path)
    with mock.patch.object(ActiveFile, "put", side_effect=FULL), pytest.raises(TrailUnavailable):
        writer.append(body("no"))
    writer.try_again()
    writer.append(body("yes"))
    deadline = time.monotonic() + 30
    while writer.sealed < 3 or writer._sealer._wake.is_set():  # then its thread has no reason to look again
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with (
        mock.patch.object(ActiveFile, "put", side_effect=FULL),
        mock.patch.object(ActiveFile, "cut_back", side_effect=FULL),
    ):
        with pytest.raises(TrailUnavailable):
            writer.append(body("no"))
        deadline = time.monotonic() + 30
        while "cannot write" not in about_writing(caplog)[-1]:
            assert time.monotonic() < deadline, "nobody hears that nothing is written"
            time.sleep(0.01)
    writer.try_again()
    writer.close()
    assert about_writing(caplog)[-1].endswith("can be written again")


def about_writing(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [message for message in caplog.messages if "checkpoint" not in message]
    return [message for message in said if "can be written again" in message or "cannot write" in message]
