"""An erasure: what goes, what stays, what is said of it, and that no crash comes between the record and the content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from indelible.config import AuditSettings, Bound, Retention
from indelible.errors import ConfigError, NotProven, TrailError
from indelible.trail import durable
from indelible.trail import erased as erased_module
from indelible.trail.checking.check import verify_trail
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.shipping import letters
from indelible.trail.start import keys, maintain, restore, retire
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep import again, holds, plans
from indelible.trail.upkeep import erase as erase_module
from indelible.trail.upkeep.again import erase_again
from indelible.trail.upkeep.erase import erase
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.holds import login_of
from indelible.trail.upkeep.manage import execute
from indelible.trail.upkeep.orders import AddHold, Asker, ReleaseHold, Retain
from indelible.trail.upkeep.traces import Found
from indelible.trail.writer import Writer
from tests.erasing import (
    CANARY,
    GONE,
    STAYS,
    await_compressed,
    body,
    call,
    event_id,
    leaves_of,
    lines_of,
    order,
    places_with,
)
from tests.unit.trail.faults import Crash, Disk, Mode, die, faulty, without_threads

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
    if compress:
        await_compressed(writer, whole=True)
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


def test_a_record_does_not_go_by_what_is_remembered_of_older_files(tmp_path: Path) -> None:
    """Power that went before they were forgotten leaves what was remembered of the files before the erasure."""
    path = tmp_path / "audit.jsonl"
    with without_threads(look_after=False):
        writer = fill(path, settings(retention=None))
        execute(writer, AddHold(hold=Hold(id="0a1b2c3d4e5f", session="plain-call0-session")))
        for number in range(CALLS, 2 * CALLS):
            call(writer, f"call{number}", STAYS)
        writer.seal()
        by_class = Retention(default=Bound(age=1e9), classes={"auth_rejected": Bound(age=1.0)})
        execute(writer, Retain(retention=by_class))  # which has each file read
        before = {file.name: file.read_bytes() for file in writer.layout.facts.iterdir()}
        execute(writer, order())
        for number in range(2 * CALLS, 4 * CALLS):
            call(writer, f"call{number}", STAYS)
        writer.close()
        for name, data in before.items():
            (writer.layout.facts / name).write_bytes(data)
        writer = open_writer(path, settings(retention=None), "test").writer
        assert execute(writer, Retain(backup_count=1))["kept"]["erasure"] == 1
        writer.close()
    assert verify_trail(path).ok


# --- other places ----------------------------------------------------------------------------------------------------


def test_dead_letters_of_the_events_go_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    origin = writer.layout.origin.read_text().strip()
    by_id = {event_id(f"call{number}"): number for number in (3, 4, 7)}
    seqs = {by_id.get(json.loads(line)["event_id"]): json.loads(line)["seq"] for line in lines_of(path)}
    sent = f"suser={GONE} in no form that JSON has".encode()
    for number, said, record in ((3, event_id("call3"), b"other"), (4, event_id("call4"), sent), (7, "", sent)):
        letters.add(writer.layout, [letters.letter("siem", origin, seqs[number], said, "no", record)])
    half = letters.path_of(writer.layout).with_name(".dead-letter.jsonl.tmp")
    half.write_bytes(sent)  # of a shipper that was killed
    result = execute(writer, order())
    assert result["loose"] == 1
    writer.close()
    assert not places_with(tmp_path)
    assert [one.data for one in letters.read(writer.layout)] == [b"other"]
    assert letters.path_of(writer.layout).stat().st_mode & 0o777 == 0o600


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


# --- crashes and failures: every one of them in tests/integration/operations --------------------------------------


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


MODES: tuple[Mode, ...] = ("crash", "crash-after", "error", "error-after", "no-space")


def test_a_plan_that_nobody_signed_is_not_carried_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = fill(path, settings())
    plans: list[bytes] = []

    def note(original: Callable[..., Any], *args: Any) -> Any:
        plans.append((writer.layout.directory / "erasing").read_bytes())
        return original(*args)

    real = erase_module.carry_out
    erase_module.carry_out = lambda *args: note(real, *args)
    try:
        execute(writer, order())
    finally:
        erase_module.carry_out = real
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


# --- in a trail that is set aside meanwhile --------------------------------------------------------------------------


def planned(path: Path, at: int = 0, mode: Mode = "crash") -> bool:
    """Make a trail whose erasure was cut off at one of the operations that follow its plan; False: it was finished."""
    scenario(path)
    real = erase_module.carry_out

    def dead(*args: Any) -> Any:
        with faulty(Disk(mode, at)):
            return real(*args)

    with mock.patch.object(erase_module, "carry_out", dead), contextlib.suppress(Crash, TrailError):
        run(path)
    die(path.parent)
    return (Layout(path).directory / "erasing").exists()


def lose_end(path: Path) -> Path:
    """The last line is gone, which a checkpoint covers."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return path


def lose_active(path: Path) -> Path:
    """All of the active file is gone, and with it the records."""
    path.unlink()
    return path


def copy_back(path: Path) -> Path:
    """What stands there is a copy."""
    target = path.parent.with_name(path.parent.name + "-copy")
    shutil.copytree(path.parent, target, symlinks=True)
    shutil.rmtree(path.parent)
    return target / path.name


def restore_backup(path: Path) -> Path:
    """A backup that was made in the midst of it is restored elsewhere, to a place with another key."""
    target = path.parent.with_name(path.parent.name + "-restored") / path.name
    open_writer(target, settings(), "test").writer.close()
    with contextlib.suppress(FileNotFoundError):
        (Layout(path).directory / "lock").unlink()
    planned_ = restore.plan(path, target, replace=True)
    restore.restore(planned_, settings())
    shutil.rmtree(path.parent)
    return target


def lose_key(path: Path) -> Path:
    Layout(path).key.unlink()
    maintain.give_up_key(path, settings())
    return path


HOW: list[Callable[[Path], Path]] = [lose_end, lose_active, copy_back, restore_backup, lose_key]


def check_gone_everywhere(path: Path) -> None:
    assert places_with(path.parent) == []
    assert not list(path.parent.rglob("erasing"))
    result = verify_trail(path)
    assert result.ok, [str(finding) for finding in result.findings]


def test_a_plan_that_nobody_signed_is_not_carried_out_in_an_earlier_trail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    with without_threads(look_after=False):
        planned(path)
        plan = Layout(path).directory / "erasing"
        note, text = plan.read_bytes().split(b"\n{", 1)
        lose_end(path)
        opened_ = open_writer(path, settings(), "test").writer
        opened_.close = lambda *_, **__: None  # type: ignore[method-assign]
        die(tmp_path)
        [home] = [Layout(place / path.name) for place in Layout(path).retired.iterdir()]
        forged = note + b"\n{" + text.replace(GONE.encode(), STAYS.encode())
        (home.directory / "erasing").write_bytes(forged)
        lines = list(lines_of(home.active))
        writer = opened(path)
        assert "no key at hand has signed its plan" in caplog.text
        assert list(lines_of(home.active)) == lines
        erase(writer, order(values=["somebody"]), ROOT)
        assert (home.directory / "erasing").read_bytes() == forged
        erase(writer, order(values=[STAYS]), ROOT)
        assert not (home.directory / "erasing").exists()  # it names who was erased
        erase(writer, order(), ROOT)
        writer.close()
        check_gone_everywhere(path)


def test_a_first_line_that_somebody_wrote_into_vouches_for_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with without_threads(look_after=False):
        planned(path)
        Layout(path).key.unlink()
        with mock.patch.object(erase_module, "resume"):
            maintain.give_up_key(path, settings())
        [home] = [Layout(place / path.name) for place in Layout(path).retired.iterdir()]
        note, text = (home.directory / "erasing").read_bytes().split(b"\n{", 1)
        text = b"{" + text.replace(GONE.encode(), STAYS.encode())
        told = next(lines_of(path))
        old = json.loads(told)["metadata"]["previous"]["erasing"].encode()
        (home.directory / "erasing").write_bytes(note + b"\n" + text)
        oldest = min(Layout(path).segments.glob("*.jsonl"), default=path)
        lines = list(lines_of(home.active))
        writer = open_writer(path, settings(), "test").writer
        oldest.write_bytes(oldest.read_bytes().replace(old, hashlib.sha256(text).hexdigest().encode()))
        writer.seal()
        writer.housekeeper._look_after()
        assert list(lines_of(home.active)) == lines
        assert (home.directory / "erasing").exists()
        die(tmp_path)


def test_an_erasure_reaches_a_trail_that_has_a_plan_of_its_own(tmp_path: Path) -> None:
    """Somebody else's erasure does not take the plan away."""
    path = tmp_path / "audit.jsonl"
    with without_threads(look_after=False):
        planned(path)
        lose_end(path)
        writer = open_writer(path, settings(), "test").writer
        erase(writer, order(values=["somebody"]), ROOT)
        writer.close()
        check_gone_everywhere(path)


def test_the_record_is_kept_as_long_as_the_earlier_trail_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, settings()).close()
    path.unlink()
    writer = fill(path, settings(retention=None), first=CALLS)
    execute(writer, order())
    for number in range(2 * CALLS, 4 * CALLS):
        call(writer, f"call{number}", STAYS)
    done = execute(writer, Retain(backup_count=0))
    assert done["kept"]["erasure"] == 1
    assert verify_trail(path).ok
    shutil.rmtree(writer.layout.retired)
    assert "erasure" not in execute(writer, Retain(backup_count=0))["kept"]
    assert not any(record["metadata"].get("origin") for record in records(path))
    writer.close()


def test_a_key_that_takes_over_meanwhile_leaves_no_plan_that_it_cannot_read(tmp_path: Path) -> None:
    """The plan is written while the new key waits: it is signed by whoever signs then, or passed on."""
    path = tmp_path / "audit.jsonl"
    with without_threads(look_after=False):
        scenario(path)
        writer = opened(path)
        layout = writer.layout
        real = durable.replace_file
        handing: list[threading.Thread] = []

        def slow(target: Path, *args: Any, **kwargs: Any) -> None:
            if target.name == "erasing" and not handing:
                held = keys.parse_source(keys.generate_pem(), writer.origin, "")
                old = keys.read_source(layout, settings(), writer.origin)
                both = keys.format_source([*held, old[0]._replace(until="2026-01-01T00:00:00.000000Z")])
                real(layout.key, both, durable.Access())
                handing.append(threading.Thread(target=writer.seal))
                handing[0].start()
                handing[0].join(0.5)  # it waits, or has handed over
            real(target, *args, **kwargs)

        with (
            mock.patch.object(durable, "replace_file", slow),
            mock.patch.object(erase_module, "carry_out", side_effect=Crash),
            pytest.raises(Crash),
        ):
            erase(writer, order(), ROOT)
        handing[0].join(60)
        writer.seal()
        writer.seal()
        with mock.patch.object(erase_module, "resume"):
            writer.close()
        die(tmp_path)
        pem = layout.key.read_bytes()
        layout.key.write_bytes(pem[: pem.index(b"-----END PRIVATE KEY-----") + 26])  # the old one is gone
        opened(path).close()
        check_gone_everywhere(path)


# --- brought back by a backup ----------------------------------------------------------------------------------------


def backed_up(path: Path) -> Path:
    """Make a trail, a backup of it, and then an erasure in the trail; return the backup's path."""
    fill(path, settings()).close()
    backup = path.parent.with_name("backup") / path.name
    shutil.copytree(path.parent, backup.parent, symlinks=True)
    writer = open_writer(path, settings(), "test").writer
    assert execute(writer, order())["lines"] == 2 * CALLS // 3
    writer.close()
    return backup


def test_a_backup_that_replaces_a_trail_brings_nothing_back_that_was_erased_since(tmp_path: Path) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    backup = backed_up(path)
    leaves = leaves_of(backup)
    restore.restore(restore.plan(backup, path, replace=True), settings())
    check_gone_everywhere(path)
    result = verify_trail(path)
    assert [previous.why for previous in result.previous] == ["restored", "replaced"]
    assert leaves_of(Path(str(result.previous[0].trail))) == leaves
    [record] = records(path)
    assert record["metadata"]["origin"] == result.previous[0].origin
    assert verify_trail(backup).erased == 0  # which stays as it is


class Dead(BaseException):
    """The process is no more."""


def test_a_restore_that_dies_is_finished_by_the_next_writer_with_all_that_goes_again(tmp_path: Path) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    backup = backed_up(path)
    with mock.patch.object(restore, "open_for_maintenance", side_effect=Dead), pytest.raises(Dead):
        restore.restore(restore.plan(backup, path, replace=True), settings())
    assert retire.pending(Layout(path)) is not None
    open_writer(path, settings(), "test").writer.close()
    assert retire.pending(Layout(path)) is None
    check_gone_everywhere(path)
    assert verify_trail(path).ok


def test_what_cannot_be_erased_again_is_said_and_tried_at_each_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    backup = backed_up(path)
    with mock.patch.object(restore, "open_for_maintenance", side_effect=Dead), pytest.raises(Dead):
        restore.restore(restore.plan(backup, path, replace=True), settings())
    for _ in range(2):
        with mock.patch.object(plans, "write", side_effect=OSError(errno.EIO, "Input/output error")):
            open_writer(path, settings(), "test").writer.close()
        assert "is not erased again: [Errno 5] Input/output error" in caplog.text
        caplog.clear()
        assert retire.pending(Layout(path)) is not None
    open_writer(path, settings(), "test").writer.close()
    assert retire.pending(Layout(path)) is None
    check_gone_everywhere(path)
    result = verify_trail(path)
    assert result.ok, result.findings
    assert [previous.why for previous in result.previous] == ["restored", "replaced"]


def test_a_backup_from_the_midst_of_it_whose_plan_was_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    with without_threads(look_after=False):
        while not planned(path, 16):
            pytest.fail("it was finished")
    (Layout(path).directory / "erasing").unlink()
    target = tmp_path / "new" / path.name
    with pytest.raises(NotProven, match="erased line is back"):
        restore.plan(path, target)
    restore.restore(restore.plan(path, target, damaged=True), settings())
    # what stood in quarantine is no line, and no record says whose it was
    assert places_with(target.parent) in (
        [],
        [name for name in places_with(target.parent) if "quarantine" in name],
    )
    assert verify_trail(target).ok


def test_what_a_copy_brought_back_is_found(tmp_path: Path) -> None:
    """A record in one trail of an origin is about every other one of it."""
    path = tmp_path / "trail" / "audit.jsonl"
    backup = backed_up(path)
    with mock.patch.object(again, "plan_again", return_value=None):
        restore.restore(restore.plan(backup, path, replace=True), settings())
    result = verify_trail(path)
    assert {finding.problem for finding in result.findings} == {"erased line is back"}
    assert [previous.ok for previous in result.previous] == [False, True]
    writer = open_writer(path, settings(), "test").writer
    assert erase_again(writer) == 1
    assert erase_again(writer) == 0
    writer.close()
    check_gone_everywhere(path)


def test_what_is_under_a_hold_by_now_stays_in_a_backup(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    backup = backed_up(path)
    writer = open_writer(path, settings(), "test").writer
    execute(writer, AddHold(hold=Hold(id="0a1b2c3d4e5f", user=GONE)))
    writer.close()
    restore.restore(restore.plan(backup, path, replace=True), settings())
    assert "is under hold 0a1b2c3d4e5f" in caplog.text
    restored = Path(str(verify_trail(path).previous[0].trail))
    assert list(lines_of(restored)) == list(lines_of(backup))


def test_a_record_that_nobody_sealed_erases_nothing_again(tmp_path: Path) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    backup = backed_up(path)
    with mock.patch.object(again, "plan_again", return_value=None):
        restore.restore(restore.plan(backup, path, replace=True), settings())
    replaced = Path(str(verify_trail(path).previous[1].trail))
    for file in (replaced, *Layout(replaced).segments.iterdir()):
        file.write_bytes(file.read_bytes().replace(b"ticket 4711", b"ticket 4712"))
    writer = open_writer(path, settings(), "test").writer
    assert erase_again(writer) == 0
    writer.close()
