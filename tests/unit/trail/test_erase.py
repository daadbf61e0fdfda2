"""An erasure: what goes, what stays, what is said of it, and that no crash comes between the record and the content."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from indelible.config import AuditSettings
from indelible.errors import ConfigError, TrailError
from indelible.trail import erased as erased_module
from indelible.trail import writer as writer_module
from indelible.trail.checking.check import verify_trail
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.sealer import Sealer
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep import erase as erase_module
from indelible.trail.upkeep import holds
from indelible.trail.upkeep.erase import erase
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.holds import login_of
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.upkeep.manage import execute
from indelible.trail.upkeep.orders import AddHold, Asker, ReleaseHold, Retain
from indelible.trail.upkeep.traces import Found
from indelible.trail.writer import Writer
from tests.erasing import (
    CANARY,
    GONE,
    STAYS,
    body,
    call,
    event_id,
    leaves_of,
    lines_of,
    order,
    places_with,
)
from tests.unit.trail.faults import Crash, Disk, Mode, faulty
from tests.unit.trail.test_faults import die

CALLS = 12
ROOT = Asker(0, 1)


def settings(**changes: Any) -> AuditSettings:
    return AuditSettings(**{"max_size": 2_500, "backup_count": 1_000, "write_timeout": 0.5, **changes})


def fill(path: Path, audit: AuditSettings, *, first: int = 0) -> Writer:
    """Record calls of somebody who is to be erased among others', over several files."""
    writer = open_writer(path, audit, "test").writer
    for number in range(first, first + CALLS):
        call(writer, f"call{number}", GONE if number % 3 == 1 else STAYS)
    writer.seal()
    return writer


def records(path: Path) -> list[dict[str, Any]]:
    entries = (json.loads(line) for line in lines_of(path))
    return [entry for entry in entries if entry.get("event_type") == "entry_erased"]


def check_gone(path: Path, before: list[bytes]) -> None:
    """Nothing of that person is in any byte; everybody else's lines are what they were; every proof holds."""
    assert places_with(path.parent) == []
    assert leaves_of(path)[: len(before)] == before
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]
    assert not (Layout(path).directory / "erasing").exists()


# --- what goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_a_persons_events_go_and_nobody_elses(tmp_path: Path, *, compress: bool) -> None:
    path = tmp_path / "audit.jsonl"
    audit = settings(compress_rotated=compress)
    fill(path, audit).close()
    writer = fill(path, audit, first=CALLS)
    kept = [line for line in lines_of(path) if CANARY not in line]
    before = leaves_of(path)
    assert len(places_with(tmp_path)) > 3
    result = execute(writer, order())  # where files are compressed, too
    writer.close()
    check_gone(path, before)
    assert result["lines"] == 2 * 2 * CALLS // 3
    assert result["events"] == {"mcp_operation_started": 2 * CALLS // 3, "mcp_operation": 2 * CALLS // 3}
    assert [line for line in lines_of(path) if line in set(kept)] == kept
    assert verify_trail(path).erased == result["lines"]
    [record] = records(path)
    assert record["event_id"] == result["records"][0]
    about = record["metadata"]
    assert about["erased"] == result["seqs"]
    assert (about["lines"], about["by"], about["reason"]) == (result["lines"], "user", "ticket 4711")
    assert about["asked"] == {"uid": os.getuid(), "login": login_of(os.getuid()), "pid": os.getpid()}


def test_modes_and_links_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings(backup_count=3, retention=None))
    execute(writer, order())
    writer.close()
    for segment in writer.layout.segments.iterdir():
        assert segment.stat().st_mode & 0o777 == 0o600
    for number in (1, 2, 3):
        link = path.with_name(f"audit.jsonl.{number}")
        assert CANARY not in link.read_bytes()


def test_a_second_time_there_is_nothing_left_to_erase(tmp_path: Path) -> None:
    writer = fill(tmp_path / "audit.jsonl", settings())
    first = order()
    done = execute(writer, first)
    again = execute(writer, first)  # whoever gave it did not get the answer
    assert (again["lines"], again["lines_before"]) == (0, done["lines"])
    assert execute(writer, order())["lines_before"] == 0
    writer.close()
    assert len(records(tmp_path / "audit.jsonl")) == 1


def test_a_seq_that_was_erased_is_not_erased_again(tmp_path: Path) -> None:
    """Its line still has the seq, and another record would say that something went."""
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    first = execute(writer, order())
    lines = list(lines_of(path))
    seq = first["seqs"][0][0]
    again = execute(writer, order(by="event", values=[str(seq)]))
    assert (again["lines"], again["events"], again["records"]) == (0, {}, [])
    assert list(lines_of(path)) == lines
    writer.close()
    assert len(records(path)) == 1


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    lines = list(lines_of(path))
    result = execute(writer, order(dry_run=True))
    assert result["lines"] == 2 * CALLS // 3
    assert list(lines_of(path)) == lines
    writer.close()


def test_a_session(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    execute(writer, order(by="session", values=["canary-call1-session"]))
    assert places_with(tmp_path, b'"canary-call1-session"') == []
    assert places_with(tmp_path, b"canary-call4-session")
    writer.close()


@pytest.mark.parametrize("which", ["outcome", "intent", "seq"])
def test_a_single_event_takes_the_other_half_of_its_call_along(tmp_path: Path, which: str) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    seq = next(json.loads(line)["seq"] for line in lines_of(path) if event_id("call4").encode() in line)
    value = {"outcome": event_id("call4"), "intent": event_id("call4-intent"), "seq": str(seq)}[which]
    result = execute(writer, order(by="event", values=[value]))
    assert result["lines"] == 2
    assert places_with(tmp_path, b"canary-call4") == []
    for name in ("call4", "call4-intent"):  # the random part that keeps the content from being guessed
        assert places_with(tmp_path, event_id(name).encode()) == []
    assert places_with(tmp_path, b"canary-call7")
    writer.close()
    check = verify_trail(path)
    assert (check.ok, check.erased) == (True, 2)


def test_whoever_acted_on_behalf_of_somebody_is_erased_with_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, settings(), "test").writer
    source = {"user_id": "agent", "on_behalf_of": ["broker", GONE]}
    writer.append(body("delegated", STAYS, source=source))
    escaped = body("escaped", STAYS, source={"user_id": "agent"}).replace(b'"agent"', b'"\\u0063anary-person"')
    writer.append(escaped)
    assert execute(writer, order())["lines"] == 2
    assert places_with(tmp_path, GONE.encode()) == []
    assert places_with(tmp_path, b"u0063anary") == []
    writer.close()


# --- what stays ------------------------------------------------------------------------------------------------


def test_what_the_trail_needs_to_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    lines = list(lines_of(path))
    result = execute(writer, order(by="event", values=["0", "5"]))
    assert (result["refused"], result["lines"], result["lasting"]) == ("lasting", 0, 1)
    assert list(lines_of(path)) == lines
    writer.close()


def test_an_event_under_a_hold_stops_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    writer.layout.quarantine.mkdir()
    (writer.layout.quarantine / "event-1.json").write_bytes(body("call4", GONE) + b"\n")
    execute(writer, AddHold(hold=Hold(id="0a1b2c3d4e5f", session="canary-call4-session")))
    result = execute(writer, order())
    assert (result["refused"], result["held"], result["lines"]) == ("held", {"0a1b2c3d4e5f": 2}, 0)
    assert places_with(tmp_path)
    assert records(path) == []
    execute(writer, ReleaseHold(id="0a1b2c3d4e5f", reason="closed", request="r"))
    before = leaves_of(path)
    execute(writer, order())
    execute(writer, order(by="session", values=["canary-call4-session"]))  # the hold's own event names it
    writer.close()
    check_gone(path, before)


def test_a_call_that_is_under_way_stays_and_is_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    writer.append(body("open", GONE, kind="mcp_operation_started"), opens=event_id("open"))
    result = execute(writer, order())
    assert (result["under_way"], result["lines"]) == (1, 2 * CALLS // 3)
    writer.append(body("ended", GONE, intent="open"), closes=event_id("open"))
    assert execute(writer, order())["lines"] == 2
    writer.close()
    assert places_with(tmp_path) == []


def test_after_an_erasure_no_call_is_recorded_a_second_time(tmp_path: Path) -> None:
    """Not even by a start that knows nothing but the lines: intents and outcomes went together."""
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    execute(writer, order())
    writer.close(good_bye=False)
    writer.layout.state.unlink()
    open_writer(path, settings(), "test").writer.close()
    assert not [line for line in lines_of(path) if b'"kind":"interrupted"' in line]


# --- what is said -------------------------------------------------------------------------------------------------


def test_the_record_does_not_say_whose_content_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    reason = f"{GONE} asked; Canary-Person, not canary-personal"
    monkeypatch.setattr(holds, "login_of", lambda _uid: GONE)  # who asks is the person
    execute(writer, order(reason=reason))
    writer.close()
    [record] = records(path)
    assert record["metadata"]["reason"] == "[ERASED] asked; [ERASED], not canary-personal"
    assert record["metadata"]["asked"] == {"uid": os.getuid(), "pid": os.getpid()}
    [digest] = record["metadata"]["hmac"]
    assert len(digest) == 64
    assert digest != leaf_hash(GONE.encode()).hex()


def test_the_digest_answers_who_has_the_key(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    execute(writer, order())
    writer.append(body("later", GONE))
    execute(writer, order())
    execute(writer, order(values=[STAYS]))
    writer.close()
    first, second, third = (record["metadata"]["hmac"] for record in records(path))
    assert first == second != third


def test_many_ranges_need_several_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase_module, "MAX_RANGES", 2)
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    before = leaves_of(path)
    result = execute(writer, order())
    writer.close()
    check_gone(path, before)
    assert len(result["records"]) == len(records(path)) == -(-len(result["seqs"]) // 2) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {"values": []},
        {"values": [""]},
        {"reason": " "},
        {"by": "event", "values": [str(n) for n in range(201)]},
    ],
)
def test_orders_that_cannot_be(tmp_path: Path, changes: dict[str, Any]) -> None:
    writer = open_writer(tmp_path / "audit.jsonl", settings(), "test").writer
    with pytest.raises(ConfigError):
        execute(writer, order(**changes))
    writer.close()


def test_the_record_is_kept_as_long_as_an_erased_line_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = settings(retention=None, backup_count=1_000)
    writer = fill(path, audit)
    execute(writer, AddHold(hold=Hold(id="0a1b2c3d4e5f", session="plain-call0-session")))
    for number in range(CALLS, 4 * CALLS):
        if number == 2 * CALLS:
            execute(writer, order())
        call(writer, f"call{number}", STAYS)
    rules = Retain(backup_count=1)
    done = execute(writer, rules)
    assert done["deleted_files"] > 0
    assert done["kept"]["erasure"] == 1
    assert records(path)
    execute(writer, ReleaseHold(id="0a1b2c3d4e5f", reason="closed", request="r"))
    assert "erasure" not in execute(writer, rules)["kept"]
    assert records(path) == []
    writer.close()
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]


# --- other places ----------------------------------------------------------------------------------------------------


def test_quarantine_twins_and_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    layout = writer.layout
    quarantine = layout.quarantine
    quarantine.mkdir()
    torn = b'{"seq":900,"schema":1,' + body("torn", GONE)[1:200]
    kept = b'{"seq":901,"schema":1,' + body("kept", STAYS)[1:]
    (quarantine / "a.bin").write_bytes(kept + b"\n" + torn)
    (quarantine / "event-1.json").write_bytes(body("killer", GONE) + b"\n")
    (quarantine / "noise.bin").write_bytes(bytes(range(256)) * 9)
    segment = min(layout.segments.iterdir())
    (segment.with_name(segment.name + ".zst")).write_bytes(b"canary: a twin of a compression that was cut off")
    (segment.with_name(f".{segment.name}.zst.tmp")).write_bytes(b"canary")
    os.link(segment, layout.directory / ".active.tmp")
    half = layout.retired / ".restoring" / "audit.jsonl.d" / "segments"  # what an interrupted restore leaves
    half.mkdir(parents=True)
    (half / segment.name).write_bytes(segment.read_bytes()[:-9])
    before = leaves_of(path)
    result = execute(writer, order())
    assert result["loose"] == 2
    writer.close()
    check_gone(path, before)
    first, second = (quarantine / "a.bin").read_bytes().split(b"\n")
    assert first == kept
    assert json.loads(second)["erased"] == result["records"][0]
    assert (quarantine / "noise.bin").read_bytes() == bytes(range(256)) * 9


def test_a_person_who_is_in_quarantine_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, settings(), "test").writer
    writer.layout.quarantine.mkdir()
    (writer.layout.quarantine / "event-1.json").write_bytes(body("killer", GONE) + b"\n")
    before = leaves_of(path)
    result = execute(writer, order())
    assert (result["lines"], result["loose"]) == (0, 1)
    writer.close()
    check_gone(path, before)
    assert records(path)[0]["metadata"]["loose"] == 1


def test_earlier_trails_that_were_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for run in range(2):  # each time the trail loses its end
        fill(path, settings(), first=run * CALLS).close()
        path.unlink()
    writer = fill(path, settings(), first=2 * CALLS)
    earlier = [Layout(place / path.name) for place in sorted(writer.layout.retired.iterdir())]
    assert len(earlier) == 2
    before, leaves = leaves_of(path), [leaves_of(place.active) for place in earlier]
    result = execute(writer, order())
    assert result["of_earlier_trails"] > 0
    writer.close()
    check_gone(path, before)
    assert [leaves_of(place.active) for place in earlier] == leaves
    assert [previous.ok for previous in verify_trail(path).previous] == [True, True]
    origins = {record["metadata"].get("origin") for record in records(path)}
    assert origins == {None, *(place.origin.read_text().strip() for place in earlier)}
    assert not verify_trail(earlier[0].active).ok  # by itself it does not say who had it erased


def test_an_earlier_trail_without_its_name(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, settings()).close()
    path.unlink()
    writer = open_writer(path, settings(), "test").writer
    call(writer, "other", STAYS)
    [earlier] = writer.layout.retired.iterdir()
    Layout(earlier / path.name).origin.unlink()
    before = leaves_of(path)
    assert execute(writer, order())["of_earlier_trails"] > 0
    writer.close()
    assert places_with(tmp_path) == []
    assert leaves_of(path)[: len(before)] == before
    assert not any(map(erased_leaf, lines_of(path))), "the present trail has nothing of that person"


def test_the_longest_record_fits_a_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, settings(max_size=10_000_000), "test").writer
    found = Found(writer.layout)
    for number in range(erased_module.MAX_RANGES):
        found.seqs.add(2**53 - 10 * number - 2, 2**53 - 10 * number - 1)
    named = order(by="event", values=[f"{n:036}" for n in range(200)], reason="\x7f\u202e" * 250)
    plan = erase_module._plan(writer, named, ROOT, [found], 10**9)
    assert len(plan.records) == 1
    writer.close()


# --- crashes and failures ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def without_threads() -> Iterator[None]:
    """Checkpoints are made where the scenario says, and closed files looked after where `opened` does."""
    with (
        mock.patch.object(Sealer, "start"),
        mock.patch.object(Housekeeper, "sealed"),
        mock.patch.object(writer_module, "RETRY_S", 0.0),
    ):
        yield


def opened(path: Path) -> Writer:
    """Open a trail as the next process does, and do what its housekeeper does after the first checkpoint."""
    writer = open_writer(path, settings(compress_rotated=True), "test").writer
    writer.seal()
    writer.housekeeper._look_after()
    return writer


def scenario(path: Path) -> list[bytes]:
    writer = fill(path, settings(compress_rotated=True))
    writer.housekeeper._look_after()
    writer.layout.quarantine.mkdir()
    (writer.layout.quarantine / "event-1.json").write_bytes(body("killer", GONE) + b"\n")
    before = leaves_of(path)
    writer.close()
    return before


def run(path: Path) -> None:
    """Erase as `manage` does when nobody holds the trail; what the disk does is the scenario's."""
    writer = opened(path)
    try:
        erase(writer, order(), ROOT)
    finally:
        writer.close()


def operations(path: Path) -> int:
    with without_threads():
        scenario(path)
        with faulty(Disk("count")) as disk:
            run(path)
    assert disk.calls.count("rename") > 5
    return len(disk.calls)


MODES: tuple[Mode, ...] = ("crash", "crash-after", "error", "error-after", "no-space")


@pytest.mark.sampled
@pytest.mark.parametrize("mode", MODES)
def test_every_operation_goes_wrong(tmp_path: Path, mode: Mode, fault_stride: int) -> None:
    """After it the content is there with no record, or it is on record and the next start erases it."""
    count = operations(tmp_path / "count" / "audit.jsonl")
    for at in range(0, count, fault_stride):
        path = tmp_path / str(at) / "audit.jsonl"
        with without_threads():
            before = scenario(path)
            with faulty(Disk(mode, at)), contextlib.suppress(Crash, TrailError, OSError):
                run(path)
            die(tmp_path)
            recorded = bool(records(path))
            blanked = [line for line in lines_of(path) if erased_leaf(line)]
            assert recorded or not blanked, f"{mode} at {at}: erased, and nobody says so"
            erasing = (Layout(path).directory / "erasing").exists()
            opened(path).close()
            if recorded or erasing:
                check_gone(path, before)
            else:
                assert leaves_of(path)[: len(before)] == before
                assert verify_trail(path).ok
                run(path)
                check_gone(path, before)
        assert len(records(path)) == 1


def test_a_plan_that_nobody_signed_is_not_carried_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    plans: list[bytes] = []

    def note(original: Callable[..., Any], *args: Any) -> Any:
        plans.append((writer.layout.directory / "erasing").read_bytes())
        return original(*args)

    real = erase_module._carry_out
    erase_module._carry_out = lambda *args: note(real, *args)
    try:
        execute(writer, order())
    finally:
        erase_module._carry_out = real
    writer.close()
    lines = list(lines_of(path))
    for forged in (b"", b"{}", plans[0].replace(b'"size":', b'"size": '), plans[0].partition(b"\n")[0] + b"\n"):
        (writer.layout.directory / "erasing").write_bytes(forged)
        again = open_writer(path, settings(), "test").writer
        with pytest.raises(TrailError, match="signed"):
            execute(again, order(values=[STAYS]))
        again.close()
    assert list(lines_of(path))[: len(lines)] == lines
    (writer.layout.directory / "erasing").write_bytes(
        plans[0]
    )  # an old one, put back: it comes to nothing more
    again = open_writer(path, settings(), "test").writer
    assert execute(again, order())["lines"] == 0
    again.close()
    assert not (writer.layout.directory / "erasing").exists()
    assert len(records(path)) == 1
