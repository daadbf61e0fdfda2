"""Whoever keeps something from one question to the next answers each as one who reads every line anew."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import TrailError
from indelible.inquiry import questions
from indelible.inquiry.questions import Answered, Bounds, Place, Question, answer
from indelible.query import kept as keeping
from indelible.query import quick
from indelible.query.engine import making
from indelible.query.engine.connection import Connection
from indelible.query.engine.twinned import Rows
from indelible.query.filters import Filter, Row, parse_row
from indelible.query.kept import Kept
from indelible.query.search import Corrupt
from indelible.trail import twins
from indelible.trail.durable import Access
from indelible.trail.reader import open_snapshot
from tests.effort import examples
from tests.trails import Body, Maker, erased, erasure, operation
from tests.unit.inquiry.asking import AUDITOR

pytestmark = pytest.mark.slow

CHUNK = 4096
"""Bytes of a chunk of the active file in these tests."""

WANTED = {"user": ["ada"], "status": ["error"]}


def various(number: int) -> Body:
    return operation(
        number,
        source__user_id=("ada", "bob")[number % 2],
        outcome__status=("error", "success")[number % 3 == 0],
    )


def twin(maker: Maker) -> None:
    making.make(maker.layout.active, Access(), chunk=CHUNK)


def make(path: Path) -> Maker:
    """Make a trail of a closed file, a compressed one, an active one of two chunks, all with twins, and a tail."""
    maker = Maker(path)
    for compress in (False, True):
        maker.add_many(30, various).rotate(compress=compress)
    maker.add_many(40, various).seal()
    twin(maker)
    return maker.add_many(4, various)


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let twins be asked whatever the trail's size."""
    monkeypatch.setattr(quick, "LEAST_BYTES", 0)
    monkeypatch.setattr(quick, "NEAR_BYTES", 0)


@pytest.fixture
def trail(tmp_path: Path) -> Maker:
    return make(tmp_path / "audit.jsonl")


@pytest.fixture
def kept() -> Iterator[Kept]:
    one = Kept()
    yield one
    one.close()


def ask(path: Path, kept: Kept | None, tool: str = "statistics", **arguments: Any) -> Any:
    place = Place(path, named=True)
    return answer(Question(tool, arguments or WANTED, AUDITOR, place, Bounds(60, 400, 1 << 20), kept)).body


def looped(path: Path) -> int:
    """Count by a plain loop over the lines that can be read."""
    lines: list[bytes] = []
    with open_snapshot(path) as snapshot:
        for file in snapshot.files:
            with file.open() as stream:
                lines += stream.read().splitlines()
    count = 0
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        about = event.get("source", {}).get("user_id"), event.get("outcome", {}).get("status")
        count += event.get("event_type") == "mcp_operation" and about == ("ada", "error")
    return count


def anew(path: Path, tool: str = "statistics", **arguments: Any) -> Any:
    """Answer by reading every line, and keep nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick, "may_help", lambda _path: False)
        return ask(path, None, tool, **arguments)


def check(path: Path, kept: Kept) -> None:
    """Ask the same twice, and other things between."""
    expected = anew(path)
    assert expected["rows"] == [[looped(path)]]
    assert ask(path, kept) == expected
    others: list[dict[str, Any]] = [{"user": ["bob"]}, {"status": ["success"], "events": ["all"]}]
    for other in others:
        assert ask(path, kept, **other) == anew(path, **other)
    found: dict[str, Any] = {**WANTED, "limit": 1_000}
    assert ask(path, kept, "search", **found) == anew(path, "search", **found)
    assert ask(path, kept) == expected


# --- what becomes of a trail --------------------------------------------------------------------------------------


def grow(maker: Maker) -> None:
    maker.add_many(3, various)


def grow_much(maker: Maker) -> None:
    maker.add_many(40, various).seal()
    twin(maker)


def rotate(maker: Maker) -> None:
    maker.rotate()
    maker.add_many(2, various)


def rotate_and_compress(maker: Maker) -> None:
    maker.rotate(compress=True)


def rotate_and_twin(maker: Maker) -> None:
    maker.rotate()
    maker.seal()
    twin(maker)


def compress(maker: Maker) -> None:
    """Compress the oldest plain file, as a housekeeper does after a rotation."""
    import zstandard

    for closed in sorted(maker.layout.segments.glob("*.jsonl"))[:1]:
        packed = closed.with_name(closed.name + ".zst")
        packed.write_bytes(zstandard.ZstdCompressor().compress(closed.read_bytes()))
        closed.unlink()


def erase(maker: Maker) -> None:
    """Erase a call of the oldest plain file: its twin goes, the file is written anew, with another inode."""
    path = next(iter(sorted(maker.layout.segments.glob("*.jsonl"))), maker.layout.active)
    lines = path.read_bytes().splitlines()
    at = next((i for i, line in enumerate(lines) if b'"ada"' in line and b'"error"' in line), None)
    if at is None:
        return
    seq = json.loads(lines[at])["seq"]
    maker.add(erasure(maker, seq))
    maker.seal()
    with twins.alone(maker.layout, Access()):
        twins.forget(maker.layout, [(seq, seq)])
    if path == maker.layout.active:
        lines = path.read_bytes().splitlines()
    lines[at] = erased(lines[at], seq)
    new = path.with_name("new")
    new.write_bytes(b"".join(line + b"\n" for line in lines))
    new.replace(path)


def alter(maker: Maker) -> None:
    """Alter a closed file in place, to no other size."""
    path = next(iter(sorted(maker.layout.segments.glob("*.jsonl"))), None)
    if path is not None:
        with path.open("r+b") as file:
            data = file.read()
            file.seek(0)
            file.write(data.replace(b'"user_id":"bob"', b'"user_id":"ada"'))


def erase_and_twin(maker: Maker) -> None:
    """The same, and another twin of the same lines has its name."""
    erase(maker)
    twin(maker)


def alter_and_twin(maker: Maker) -> None:
    alter(maker)
    twin(maker)


def alter_tail(maker: Maker) -> None:
    """Alter a line that has no twin in place, to no other size."""
    with maker.layout.active.open("r+b") as file:
        data = file.read()
        at = data.rfind(b'"user_id":"')
        if at >= 0:
            file.seek(at)
            file.write(b'"user_id":"ada"' if b"bob" in data[at : at + 16] else b'"user_id":"bob"')


def prune(maker: Maker) -> None:
    """Delete the oldest closed file on record, as retention does."""
    closed = sorted(maker.layout.segments.iterdir())
    if closed:
        maker.delete_file(closed[0])
        twins.drop_outdated(maker.layout)


def lose(maker: Maker) -> None:
    """Delete the oldest closed file, and say so nowhere."""
    for path in sorted(maker.layout.segments.iterdir())[:1]:
        path.unlink()


def write_newer(maker: Maker) -> None:
    line = maker.add(various(maker.seq))
    data = maker.layout.active.read_bytes().replace(line, line.replace(b'"schema":1', b'"schema":3'))
    maker.layout.active.write_bytes(data)


def write_newer_and_twin(maker: Maker) -> None:
    write_newer(maker)
    grow_much(maker)


def tear(maker: Maker) -> None:
    maker.raw(b'{"seq":5,"torn\n')


def leave_torn(maker: Maker) -> None:
    """Leave the beginning of a line, which the next one is written behind."""
    maker.raw(b'{"seq":')


def cut(maker: Maker) -> None:
    """Take lines out of the active file's end."""
    lines = maker.layout.active.read_bytes().splitlines(keepends=True)
    if len(lines) > 5:
        maker.layout.active.write_bytes(b"".join([*lines[:-3], lines[-1]]))


def truncate(maker: Maker) -> None:
    os.truncate(maker.layout.active, maker.layout.active.stat().st_size * 2 // 3)


def replace(maker: Maker) -> None:
    """Put another trail of the same name in its place."""
    path = maker.layout.active
    shutil.rmtree(maker.layout.directory)
    path.unlink()
    other = Maker(path).add_many(25, lambda seq: various(seq + 1))
    other.rotate()
    other.add_many(7, various).seal()
    vars(maker).update(vars(other))


def drop_twins(maker: Maker) -> None:
    shutil.rmtree(maker.layout.twins, ignore_errors=True)


def spoil_rows(maker: Maker) -> None:
    """Damage a twin in place."""
    for rows in sorted(maker.layout.twins.glob("*.parquet"))[:1]:
        data = bytearray(rows.read_bytes())
        data[len(data) // 2] ^= 255
        rows.write_bytes(data)


def spoil_note(maker: Maker) -> None:
    for note in sorted(maker.layout.twins.glob("*.json"))[-1:]:
        note.write_bytes(b'{"version":1')


def forge(maker: Maker) -> None:
    """Put rows of other lines into a twin, with a note that vouches for them."""
    notes = sorted(maker.layout.twins.glob("*.json"))
    if len(notes) > 1:
        rows = notes[0].with_suffix(".parquet")
        rows.write_bytes(notes[1].with_suffix(".parquet").read_bytes()[:-9])
        said = msgspec.to_builtins(twins.stamp_of(rows.stat()))
        notes[0].write_text(json.dumps({**json.loads(notes[0].read_text()), "rows": said}))


def rebuild(maker: Maker) -> None:
    maker.seal()
    making.make(maker.layout.active, Access(), chunk=CHUNK, rebuild=True)


def tidy(maker: Maker) -> None:
    making.tidy(maker.layout.active, Access())


SEEN = [
    erase, erase_and_twin, alter, alter_and_twin, alter_tail, prune, lose, write_newer, write_newer_and_twin, tear, cut,
    truncate, replace,
]  # fmt: skip
"""What changes an answer."""

CHANGES = [
    *SEEN, grow, grow_much, rotate, rotate_and_compress, rotate_and_twin, compress, leave_torn, drop_twins, spoil_rows,
    spoil_note, forge, rebuild, tidy,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_second_question_sees_what_became_of_the_trail(
    trail: Maker, kept: Kept, change: Callable[[Maker], None]
) -> None:
    path = trail.layout.active
    check(path, kept)
    before = anew(path)
    change(trail)
    check(path, kept)
    if change in SEEN:
        assert anew(path) != before  # else nothing was there to be seen
    grow(trail)
    check(path, kept)


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.sampled_from(CHANGES), max_size=6))
def test_whatever_becomes_of_it(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Callable[[Maker], None]]
) -> None:
    place = tmp_path_factory.mktemp("kept")
    maker, kept = make(place / "audit.jsonl"), Kept()
    check(maker.layout.active, kept)
    for change in changes:
        change(maker)
        check(maker.layout.active, kept)
    kept.close()
    shutil.rmtree(place)


# --- what is kept -------------------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """Note what is done anew: None for DuckDB that is started, and each line that becomes a row."""
    found: list[bytes | None] = []
    connection = keeping._connection

    def start(every: Sequence[Rows]) -> Connection:
        found.append(None)
        return connection(every)

    def parse(line: bytes) -> Row | None:
        found.append(line)
        return parse_row(line)

    monkeypatch.setattr(keeping, "_connection", start)
    monkeypatch.setattr(keeping, "parse_row", parse)
    return found


def test_of_a_trail_that_has_grown_only_the_new_lines_are_looked_into(
    trail: Maker, kept: Kept, made: list[bytes | None]
) -> None:
    path = trail.layout.active
    ask(path, kept)
    assert made.count(None) == 1
    made.clear()
    ask(path, kept, user=["bob"])
    ask(path, kept, "search", user=["bob"], limit=1_000)
    assert made == []
    new = [trail.add(various(number)) for number in range(3)]
    assert ask(path, kept) == anew(path)
    assert made == new
    made.clear()
    trail.add_many(40, various).seal()
    twin(trail)
    ask(path, kept)
    assert made.count(None) == 1  # another twin: DuckDB is let read what it was started for, and nothing else


def test_lines_are_kept_up_to_a_size(trail: Maker, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LINES_BYTES", 1_000)
    check(trail.layout.active, kept)
    assert kept._size == 0
    trail.add_many(2, various)
    check(trail.layout.active, kept)


def of_twins() -> list[str]:
    """Return which twins this process has open."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is what listed them
            found.append(str(fd.readlink()))
    return [name for name in found if ".parquet" in name]


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc here")


@needs_proc
def test_a_twin_that_is_removed_is_let_go_of_though_nobody_asks(trail: Maker, kept: Kept) -> None:
    path = trail.layout.active
    ask(path, kept)
    kept.look()
    assert len(of_twins()) == len(list(trail.layout.twins.glob("*.parquet")))
    erase(trail)
    kept.look()
    assert of_twins() == []
    assert not kept._blocks
    check(path, kept)
    kept.close()
    assert of_twins() == []


@needs_proc
def test_a_long_question_of_another_kind_keeps_nothing_from_being_let_go_of(
    trail: Maker, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification may take ten minutes, and what is erased meanwhile is not held as long."""
    path = trail.layout.active
    ask(path, kept)

    def verify(question: Question, _asked: object) -> Answered:
        assert question.kept is kept
        erase(trail)
        kept.look()
        assert of_twins() == []
        assert not kept._blocks
        return Answered({}, "")

    monkeypatch.setitem(questions._ANSWERS, "verify", verify)
    answer(Question("verify", {}, AUDITOR, Place(path, named=True), Bounds(60, 400, 1 << 20), kept))
    check(path, kept)


@needs_proc
def test_nothing_is_kept_when_nobody_has_asked_for_a_while(
    trail: Maker, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(trail.layout.active, kept)
    kept.look()
    assert kept.is_open
    monkeypatch.setattr(keeping, "IDLE_S", 0.0)
    kept.look()
    assert not kept.is_open
    assert of_twins() == []
    check(trail.layout.active, kept)


def test_a_look_waits_for_no_question(trail: Maker, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "IDLE_S", 0.0)
    ask(trail.layout.active, kept)
    with kept.question():
        kept.look()
        assert kept.is_open
    kept.look()
    assert not kept.is_open


@needs_proc
def test_after_a_question_that_failed_nothing_is_kept(trail: Maker, kept: Kept) -> None:
    path = trail.layout.active
    check(path, kept)
    trail.layout.directory.rename(trail.layout.directory.with_name("away"))
    path.rename(path.with_name("gone"))
    with pytest.raises(TrailError):
        ask(path, kept)
    assert not kept.is_open
    assert not kept._blocks
    assert of_twins() == []
    path.with_name("gone").rename(path)
    trail.layout.directory.with_name("away").rename(trail.layout.directory)
    check(path, kept)


def test_a_database_that_has_failed_is_not_asked_again(
    trail: Maker, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trail.layout.active
    expected = ask(path, kept)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "trial", lambda *_: None)
        assert ask(path, kept) == expected
    assert not kept.is_open
    check(path, kept)
    assert kept.is_open


def test_without_descriptors_to_spare_the_answer_is_the_same(
    trail: Maker, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_every: object) -> keeping.Opened:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(keeping, "_open", none_left)
    check(trail.layout.active, kept)
    assert not kept.is_open


def test_two_trails_are_asked_by_turns(trail: Maker, kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other" / "audit.jsonl")
    for _ in range(2):
        check(trail.layout.active, kept)
        grow(other)
        check(other.layout.active, kept)


def test_a_directory_is_asked_whatever_appears_in_it(trail: Maker, kept: Kept) -> None:
    place = trail.layout.active.parent
    count = looped(trail.layout.active)
    assert ask(place, kept)["rows"] == ask(place, kept)["rows"] == [[count]]
    other = make(place / "second.jsonl")
    for _ in range(2):
        both = count + looped(other.layout.active)
        assert ask(place, kept)["rows"] == [[both]]
        found = ask(place, kept, "search", **WANTED, limit=1_000)
        assert len(found["events"]) == both
        other.add_many(5, various)


@pytest.mark.parametrize("which", [0, 1])
def test_lines_of_a_newer_version_are_those_of_the_trail_that_has_them(
    tmp_path: Path, kept: Kept, which: int
) -> None:
    """Though the twins of both begin with the same seq."""
    for number in range(2):
        maker = Maker(tmp_path / f"{number}.jsonl").add_many(30, various)
        if number == which:
            write_newer(maker)
        maker.rotate()
        twin(maker.add_many(3, various).seal())
    expected = anew(tmp_path)
    assert expected["newer_lines"] == 1
    assert ask(tmp_path, None) == expected
    for _ in range(2):
        assert ask(tmp_path, kept) == expected


def test_what_is_lent_is_not_lent_twice(trail: Maker, kept: Kept) -> None:
    path = trail.layout.active
    wanted = Filter(user=frozenset({"ada"}))
    with quick.QuickSearch(path, wanted, Corrupt(), kept) as one:
        hits = one.all()
        first = next(hits)
        with quick.QuickSearch(path, wanted, Corrupt(), kept) as other:
            every = [hit.line for hit in other.all()]
        assert [first.line, *(hit.line for hit in hits)] == every
