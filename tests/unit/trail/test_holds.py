"""Legal holds: what they match, that they keep it, and that no crash and no lost file makes one be forgotten."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import verify
from indelible.config import KEEP_ALL, AuditSettings, Bound, Retention
from indelible.errors import ConfigError, TrailError
from indelible.trail import files
from indelible.trail.layout import Layout
from indelible.trail.upkeep import holding, holds
from indelible.trail.upkeep.due import Rules
from indelible.trail.upkeep.duties import carry_out
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.upkeep.orders import AddHold, Asker, ReleaseHold
from indelible.trail.upkeep.standing import Standing, read_cache, read_standing
from indelible.trail.writer import Writer

from .test_retention import Clock, fill
from .test_writer import body, start

AUDIT = AuditSettings(max_size=3000, backup_count=100, retention=KEEP_ALL)
ALL_GO = Rules(Retention(default=Bound(age=0.0)), 0)
ASKER = Asker(0, 4711)
ID, OTHER_ID = "4f1a09c2d7be", "0123456789ab"
ALICE = Hold(id=ID, user="alice", reason="case 7")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def quiet() -> Any:
    return mock.patch.object(Housekeeper, "sealed")


def add(writer: Writer, hold: Hold = ALICE) -> dict[str, Any]:
    return carry_out(writer, AddHold(hold=hold), ASKER)


def release(writer: Writer, hold_id: str = ID, request: str = "r1") -> dict[str, Any]:
    return carry_out(writer, ReleaseHold(id=hold_id, reason="over", request=request), ASKER)


def prune(writer: Writer) -> dict[str, Any]:
    writer.seal()
    return writer.housekeeper.pruner.prune(ALL_GO, lambda: False)


def event(name: str, **source: Any) -> bytes:
    return body(name, source=source, padding="x" * 300)


def names(path: Path) -> set[str]:
    found = set()
    for file in files.newest_first(Layout(path)):
        with files.open_file(file) as stream:
            found |= {json.loads(line)["event_id"] for line in stream}
    return found


# --- what matches ---------------------------------------------------------------------------------------------------

T = "2026-05-01T00:00:00.000000Z"


def line(timestamp: str = T, recorded_at: str = T, **source: Any) -> dict[str, Any]:
    return {"timestamp": timestamp, "recorded_at": recorded_at, "event_type": "mcp_operation", "source": source}


@pytest.mark.parametrize(
    ("about", "found", "held"),
    [
        ({"user": "alice"}, line(user_id="alice"), True),
        ({"user": "alice"}, line(user_id="Alice"), False),
        ({"user": "alice"}, line(user_id="bob", on_behalf_of=["carol", "alice"]), True),
        ({"user": "alice"}, line(), False),
        ({"user": "alice"}, {"event_type": "audit_started", "source": None}, False),
        ({"session": "s1"}, line(session_id="s1"), True),
        ({"session": "s1"}, line(session_id="s2", user_id="s1"), False),
        ({"user": "alice", "session": "s1"}, line(user_id="alice", session_id="s1"), True),
        ({"user": "alice", "session": "s1"}, line(user_id="alice", session_id="s2"), False),
        ({"since": T, "until": "2026-05-02"}, line(), True),
        ({"since": "2026-04-01", "until": T}, line(), False),
        ({"since": "2026-04-01", "until": T}, line("2026-04-30T00:00:00.000000Z"), True),  # received before
        ({"since": T, "until": "2026-05-02"}, line("2026-04-30T00:00:00.000000Z"), True),  # and ended after
        ({"user": "alice", "since": "2026-05-02"}, line(user_id="alice"), False),
        ({"user": "alice", "until": "2026-05-02"}, line(user_id="alice"), True),
        ({"user": "alice"}, {"event_type": "hold_placed", "metadata": {"hold": {"id": ID}}}, True),
        ({"user": "alice"}, {"event_type": "hold_placed", "metadata": {"hold": {"id": OTHER_ID}}}, False),
        ({"user": "alice"}, {"event_type": "hold_released", "metadata": {"hold": {"id": ID}}}, False),
        ({"user": "alice"}, {"seq": 3, "erased": "x", "leaf": "y"}, False),
    ],
)
def test_a_hold_matches_all_that_it_names(about: dict[str, Any], found: dict[str, Any], held: bool) -> None:
    hold = Hold(id=ID, **about)
    assert hold.matches(found) is held
    assert holding.held(found, [hold]) == (ID if held else None)


TEXTS = st.text(max_size=6) | st.sampled_from(["alice", 'a"b', "\\", "ä", "\u2028", "\x7f", "a/b", "\t"])


@given(TEXTS.filter(bool), st.lists(TEXTS, max_size=4), st.booleans())
def test_a_file_is_searched_as_its_events_are_matched(
    tmp_path_factory: pytest.TempPathFactory, user: str, others: list[str], ascii_only: bool
) -> None:
    """Also where another program has written a name with escapes."""
    hold = Hold(id=ID, user=user)
    events = [{"seq": at, **line(user_id=other)} for at, other in enumerate(others)]
    path = tmp_path_factory.mktemp("held") / "00000000000000000000.jsonl"
    written = (json.dumps(one, ensure_ascii=ascii_only, separators=(",", ":")) for one in events)
    path.write_bytes(b"".join(text.encode("utf-8", "replace") + b"\n" for text in written))
    file = files.TrailFile(path, 0, compressed=False)
    assert holds.has_held(file, hold, T, T) == any(hold.matches(one) for one in events)
    shutil.rmtree(path.parent)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, "a hold names a user, a session, or both ends of a time"),
        ({"since": T}, "both ends of a time"),
        ({"user": ""}, "--user: expected 1 to 512 characters"),
        ({"user": "x" * 513}, "--user: expected 1 to 512 characters"),
        ({"session": "a\0b"}, "--session"),
        ({"user": "a", "since": "yesterday"}, "--since: expected a time"),
        ({"since": T, "until": T}, "nothing would be held"),
        ({"user": "a", "id": "x"}, "12 hex digits"),
    ],
)
def test_what_cannot_be_a_hold_is_one_clear_line(path: Path, about: dict[str, Any], said: str) -> None:
    writer = start(path, AUDIT)
    with pytest.raises(ConfigError, match=said):
        add(writer, Hold(**{"id": ID, **about}))
    assert writer.housekeeper.holds.standing == {}
    writer.close()


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("about", [{"user": "alice"}, {"session": "s7"}])
def test_what_a_hold_is_about_is_never_deleted(path: Path, about: dict[str, Any], compressed: bool) -> None:
    with quiet():
        writer = start(path, AUDIT, clock=Clock())
        fill(writer, 2)
        writer.append(event("held-1", user_id="alice", session_id="s7"))
        fill(writer, 3)
        writer.append(event("held-2", user_id="alice", session_id="s7"))
        fill(writer, 2)
        add(writer, Hold(id=ID, **about))
        fill(writer, 2)
        writer.append(event("held-3", user_id="alice", session_id="s7"))  # after it was placed
        fill(writer, 2)
        if compressed:
            writer.housekeeper.compress()
        done = prune(writer)
        assert done["deleted_files"] >= 6
        assert done["kept"]["hold"] == 4  # one of them for the record of the hold
        assert {"held-1", "held-2", "held-3"} <= names(path)
        assert verify(path).ok
        cache = read_cache(writer.layout.holds)
        assert cache is not None
        assert cache.files == {ID: 4}
        release(writer)
        prune(writer)
        assert not {"held-1", "held-2", "held-3"} & names(path)
        assert verify(path).ok
        writer.close()


def test_a_time_is_held_whoever_it_was(path: Path) -> None:
    clock = Clock()
    with quiet():
        writer = start(path, AUDIT, clock=clock)
        fill(writer, 3)
        clock.now += 10**12
        since = (b"" + writer._tick()).decode()
        fill(writer, 2)
        until = (b"" + writer._tick()).decode()
        clock.now += 10**12
        fill(writer, 3)
        add(writer, Hold(id=ID, since=since, until=until))
        fill(writer, 1)
        prune(writer)
        kept = [file.path.read_bytes().splitlines() for file in files.segments(writer.layout)]
        times = [json.loads(line)["recorded_at"] for lines in kept for line in lines]
        assert sum(since <= time < until for time in times) > 10
        assert len(files.segments(writer.layout)) < 8
        writer.close()


# --- what is remembered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["nothing", "file", "torn", "older", "lying"])
@pytest.mark.parametrize("rotations", [0, 3])
def test_the_trail_knows_its_holds_whatever_became_of_the_file(path: Path, lost: str, rotations: int) -> None:
    with quiet():
        writer = start(path, AUDIT, clock=Clock())
        add(writer, Hold(id=OTHER_ID, session="s1"))
        fill(writer, rotations)
        older = writer.layout.holds.read_bytes()
        add(writer)
        fill(writer, rotations)
        standing = writer.housekeeper.holds.standing
        file = writer.layout.holds
        writer.close()
        if lost == "file":
            file.unlink()
        elif lost == "torn":
            file.write_bytes(file.read_bytes()[:30])
        elif lost == "older":
            file.write_bytes(older)
        elif lost == "lying":
            lie = [Hold(id=OTHER_ID, session="s2", placed_at=T), Hold(id="aaaaaaaaaaaa", user="mallory")]
            file.write_bytes(msgspec.json.encode(Standing(lie)))
        assert read_standing(Layout(path)).standing == standing
        writer = start(path, AUDIT)
        assert writer.housekeeper.holds.standing == standing
        prune(writer)
        cache = read_cache(file)
        assert cache is not None
        assert cache.holds == list(standing.values())
        assert prune(writer)["kept"].get("hold", 0) == (2 if rotations else 0)
        release(writer)
        fill(writer, rotations)
        writer.close()
    assert list(read_standing(Layout(path)).standing) == [OTHER_ID]


def test_every_file_names_the_holds_that_stand_and_no_person(path: Path) -> None:
    with quiet():
        writer = start(path, AUDIT, clock=Clock())
        fill(writer, 1)
        add(writer)
        fill(writer, 2)
        release(writer)
        fill(writer, 2)
        writer.close()
    first = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        with files.open_file(file) as stream:
            first.append(json.loads(stream.readline())["metadata"].get("holds"))
    assert first[1:4] == [None, [ID], [ID]] or first[:4] == [None, None, [ID], [ID]]
    assert first[-1] is None


def test_a_hold_whose_record_is_gone_holds_everything(path: Path) -> None:
    with quiet():
        writer = start(path, AUDIT, clock=Clock())
        add(writer)
        fill(writer, 2)
        layout = writer.layout
        writer.close()
        files.segments(layout)[0].path.unlink()
        layout.holds.unlink()
        standing = read_standing(layout).standing
    assert standing[ID].matches(line(user_id="anybody"))
    assert standing[ID].overlaps(T, T)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("rotations", [0, 2])
def test_a_trail_in_the_place_of_one_that_lost_its_end_goes_on_with_its_holds(
    path: Path, rotations: int, cache: bool
) -> None:
    with quiet():
        writer = start(path, AUDIT)
        add(writer)
        add(writer, Hold(id=OTHER_ID, session="s1"))
        size = path.stat().st_size
        writer.append(event("lost"))
        writer.close()
        before = writer.origin
        with path.open("r+b") as file:
            file.truncate(size)
        if not cache:
            Layout(path).holds.unlink()
        writer = start(path, AUDIT)
        origin = writer.origin
        assert origin != before
        assert set(writer.housekeeper.holds.standing) == {ID, OTHER_ID}
        writer.append(event("held", user_id="alice"))
        fill(writer, rotations)
        writer.close()
        assert read_standing(Layout(path)).standing[ID].user == "alice"
        writer = start(path, AUDIT)
        prune(writer)
        assert "held" in names(path)
        release(writer, OTHER_ID)
        fill(writer, rotations)
        writer.close()
        writer = start(path, AUDIT)
        assert writer.origin == origin
        [(one, hold)] = writer.housekeeper.holds.standing.items()
        assert (one, hold.user, hold.reason) == (ID, "alice", "case 7")
        prune(writer)
        writer.close()
        placed = []
        for file_ in files.newest_first(Layout(path)):
            placed += [one for one in file_.path.read_bytes().splitlines() if b'"hold_placed"' in one]
        assert len(placed) in (1, 2), "placed anew once"
    assert verify(path).ok


def test_an_order_that_is_given_twice_is_carried_out_once(path: Path) -> None:
    writer = start(path, AUDIT)
    first, second = add(writer), add(writer)
    assert first == second
    released, again = release(writer), release(writer)
    assert released["released"]["user"] == "alice"
    assert again == {"released": {"id": ID}}
    with pytest.raises(ConfigError, match="no hold '4f1a09c2d7be' stands"):
        release(writer, request="r2")
    writer.close()
    kinds = Counter(json.loads(one)["event_type"] for one in path.read_bytes().splitlines())
    assert (kinds["hold_placed"], kinds["hold_released"]) == (1, 1)
    writer = start(path, AUDIT)
    assert release(writer) == {"released": {"id": ID}}  # the next holder knows it, too
    writer.close()


def test_more_holds_than_a_first_line_has_room_for_are_refused(path: Path) -> None:
    with quiet():
        writer = start(path, AuditSettings())
        ids = [f"{number:012x}" for number in range(holding.MAX_HOLDS)]
        writer.housekeeper.holds._standing = {one: Hold(id=one, user="u" * 512) for one in ids}
        with pytest.raises(ConfigError, match="stand already; release one first"):
            add(writer)
        writer.housekeeper.pruner.pruned = [(10 * at, 10 * at + 1) for at in range(10**15, 10**15 + 500)]
        assert len(writer._file_opened(2**50, {})) < 65_535
        writer.close()


def test_who_asked_and_why_is_on_record(path: Path) -> None:
    writer = start(path, AUDIT)
    add(writer)
    release(writer)
    writer.close()
    said = [json.loads(one)["metadata"] for one in path.read_bytes().splitlines() if b'"hold_' in one]
    asked = {"uid": 0, "login": "root", "pid": 4711}
    assert all(one.pop("signed") for one in said)
    assert said == [
        {"hold": {"id": ID, "user": "alice"}, "reason": "case 7", "asked": asked},
        {"hold": {"id": ID}, "reason": "over", "request": "r1", "asked": asked},
    ]


# --- crashes: in tests/integration/operations ------------------------------------------------------------------------


def scenario(path: Path) -> Writer:
    writer = start(path, AuditSettings(max_size=900, retention=KEEP_ALL), clock=Clock())
    fill(writer, 1)
    return writer


def test_a_hold_that_a_file_names_stands_though_its_event_was_not_written(path: Path) -> None:
    with quiet():
        writer = start(path, AUDIT)
        writer.append(event("some"))
        real = writer._stamp_some

        def full(items: Any, at: int) -> Any:
            if any(b'"hold_placed"' in item.body for item in items):
                if writer._active.first_seq == 0:
                    return [], 0  # rotate first
                raise OSError(28, "No space left on device")
            return real(items, at)

        with (
            mock.patch.object(writer, "_stamp_some", full),
            pytest.raises(TrailError, match="stands, but is not"),
        ):
            add(writer)
        assert writer.housekeeper.holds.standing[ID].user == "alice"
        writer.try_again()
        prune(writer)
        assert writer.housekeeper.holds.standing[ID].user == "alice"
        writer.close()
    assert read_standing(Layout(path)).standing[ID].user == "alice"


def test_a_hold_of_an_earlier_trail_that_was_released_is_not_placed_again(path: Path) -> None:
    with quiet():
        writer = start(path, AUDIT)
        add(writer)
        add(writer, Hold(id=OTHER_ID, session="s1"))
        size = path.stat().st_size
        writer.append(event("lost"))
        writer.close()
        with path.open("r+b") as file:
            file.truncate(size)
        writer = start(path, AUDIT)
        assert set(writer.housekeeper.holds.standing) == {ID, OTHER_ID}
        release(writer)
        prune(writer)
        assert set(writer.housekeeper.holds.standing) == {OTHER_ID}
        writer.close()
    assert set(read_standing(Layout(path)).standing) == {OTHER_ID}


def test_what_was_searched_for_a_hold_is_forgotten_with_it(path: Path) -> None:
    """An id that is used again is about somebody else."""
    with quiet():
        writer = start(path, AUDIT)
        writer.append(event("bobs", user_id="bob"))
        fill(writer, 1)
        add(writer)
        for file in files.segments(writer.layout):
            writer.housekeeper.holds.holds_file(file, T, "")
        release(writer)
        add(writer, Hold(id=ID, user="bob"))
        prune(writer)
        writer.close()
    assert "bobs" in names(path)


def test_holds_are_read_though_the_newest_file_is_closed_just_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation renames it between the look at its name and the look into it."""
    with quiet():
        writer = start(path, AUDIT)
        add(writer)
        book = writer.housekeeper.holds
        book._standing = None

        def closed(file: files.TrailFile) -> bytes:
            monkeypatch.undo()
            file.path.rename(file.path.with_name("away"))
            try:
                return files.first_line(file)
            finally:
                file.path.with_name("away").rename(file.path)

        monkeypatch.setattr(files, "first_line", closed)
        assert list(book.standing) == [ID]
        writer.close()
