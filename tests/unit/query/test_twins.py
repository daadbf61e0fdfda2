"""An answer is the same with twins, without them, and from a plain loop over the lines, however they are stored."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query import quick
from indelible.query.engine import judging, making, twinned
from indelible.query.engine.asking import ALL, Asked
from indelible.query.engine.parts import Part
from indelible.query.filters import Filter
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail import twins
from indelible.trail.durable import Access
from indelible.trail.entry import stamp
from indelible.trail.twins import TwinsBusyError
from tests.effort import examples
from tests.trails import Maker, at, encode, operation
from tests.unit.query.test_engine import FILTERS, TEXTS, VALUES, comparable, looped

pytestmark = pytest.mark.slow

CHUNK = 4096
"""Bytes of a chunk of the active file in these tests."""


def make(path: Path, **how: Any) -> making.Made:
    return making.make(path, Access(), chunk=CHUNK, **how)


def lines_of(path: Path, wanted: Filter = ALL) -> list[bytes]:
    """Return what a plain loop over all files finds."""
    matches = wanted.predicate()
    with TrailSearch(path, ALL, Corrupt()) as search:
        every = list(search.all())
    return [hit.line for hit in every if matches(hit.row)]


def asked(path: Path, wanted: Filter = ALL, *, with_twins: bool = True) -> list[dict[str, Any]]:
    with Asked([path], wanted, with_twins=with_twins) as asking:
        result = asking.query("FROM events ORDER BY seq")
        return [comparable(dict(zip(result.names, row, strict=True))) for row in result.rows]


def used(path: Path) -> list[tuple[int, int]]:
    """Return the ranges of seqs that are answered from twins."""
    with TrailSearch(path, ALL, Corrupt()) as search:
        cover = twinned.Cover(search)
        found = []
        for order in range(len(search.files)):
            pieces = cover.pieces(order)
            found += [(one.twin.first, one.twin.end) for one in pieces if isinstance(one, twinned.Rows)]
            twinned.close(pieces)
    return found


# --- every storage form ---------------------------------------------------------------------------------------


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Return a call in which some values are hostile, and some are of another type than they should be."""
    changes = {
        key: draw(TEXTS)
        for key in draw(
            st.sets(
                st.sampled_from(
                    ["source__user_id", "source__session_id", "target__capability_name", "outcome__status"]
                ),
                max_size=3,
            )
        )
    }
    body = operation(draw(st.integers(0, 90)), **changes)
    if not draw(st.integers(0, 4)):
        body["timestamp"] = draw(VALUES["time"])
    if not draw(st.integers(0, 4)):
        body["request"]["args"] = draw(VALUES["json"])
    whole: dict[str, Any] = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    return whole


def add(maker: Maker, body: dict[str, Any]) -> None:
    """Append a call that was not received after it was recorded: no clock makes such a one (rule 2 of the trail)."""
    recorded_at = at(maker.clock + 1)
    if isinstance(body["timestamp"], str):
        body = {**body, "timestamp": min(body["timestamp"], recorded_at)}
    maker.add(body, recorded_at)


FORMS = ("plain", "packed", "unmade")
"""Of a closed file: with a twin, compressed with a twin, without one."""


@given(
    files=st.lists(
        st.tuples(st.lists(bodies(), min_size=1, max_size=12), st.sampled_from(FORMS)), min_size=1, max_size=3
    ),
    late=st.lists(bodies(), max_size=6),
    torn=st.booleans(),
    wanted=FILTERS,
    limit=st.integers(1, 9),
)
@settings(max_examples=examples(12), deadline=None)
def test_every_storage_form_answers_as_a_loop_over_the_lines_does(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[tuple[list[dict[str, Any]], str]],
    late: list[dict[str, Any]],
    torn: bool,
    wanted: Filter,
    limit: int,
) -> None:
    maker = Maker(tmp_path_factory.mktemp("t") / "audit.jsonl")
    path = maker.layout.active
    for some, form in files:
        for body in some:
            add(maker, body)
        maker.rotate(compress=form == "packed")
        if form != "unmade":
            maker.seal()
            making.make(path, Access(), chunk=700)
    for body in late:
        add(maker, body)
    maker.seal()
    making.make(path, Access(), chunk=700)
    add(maker, operation(50))
    if torn:
        maker.raw(b'{"seq":99,"torn')
    expected = lines_of(path, wanted)
    assert asked(path, wanted) == asked(path, wanted, with_twins=False) == looped(expected)
    with pytest.MonkeyPatch.context() as patch, quick.open_search(path, wanted, Corrupt()) as search:
        patch.setattr(quick, "LEAST_BYTES", 0)
        patch.setattr(quick, "NEAR_BYTES", limit * 200)
        assert [hit.line for hit in search.all()] == expected
        assert [hit.line for hit in search.newest(limit)] == expected[-limit:]
        corrupt, alone = Corrupt(), Corrupt()
        assert quick.count([path], wanted, corrupt) == len(expected)
        with TrailSearch(path, wanted, alone) as plain:
            assert len(list(plain.all())) == len(expected)
        assert (corrupt.count, corrupt.first()) == (alone.count, alone.first())
    with Asked([path], wanted) as asking:
        assert list(asking.summary(None, [], None, None, 0).rows) == [(len(expected),)]
        by_seq = [hit.line for hit in asking.sorted(None, ("seq", False), 0)]
        assert by_seq == expected
        (trail,) = asking.trails("seq >= 0")
        assert [hit.line for hit in trail.all()] == expected
        assert [hit.line for hit in trail.newest(limit)] == expected[-limit:]


@pytest.fixture
def trail(tmp_path: Path) -> Maker:
    """Make a trail of a closed file, a compressed one, and an active one with two chunks and a tail; all twinned."""
    maker = Maker(tmp_path / "it's [x]*.jsonl")
    for compress in (False, True):
        maker.add_many(30, lambda seq: operation(seq, source__user_id=f"u{seq % 3}"))
        maker.rotate(compress=compress)
    maker.add_many(30, lambda seq: operation(seq, source__user_id=f"u{seq % 3}"))
    maker.seal()
    made = make(maker.layout.active)
    assert len(made.made) >= 4
    assert all(one.rows for one in made.made)
    maker.add_many(2)
    return maker


def count(path: Path, sql: str = "SELECT count(*) FROM events", **how: Any) -> int:
    with Asked([path], ALL, **how) as asking:
        ((number,),) = asking.query(sql).rows
    return int(number)


def test_twins_cover_the_sealed_lines_and_nothing_else(trail: Maker) -> None:
    ranges = used(trail.layout.active)
    assert ranges[:2] == [(0, 31), (31, 62)]
    assert [first for first, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert 62 < ranges[-1][1] <= trail.seq - 2
    assert asked(trail.layout.active) == looped(lines_of(trail.layout.active))
    assert make(trail.layout.active) == making.Made([], 0)


def test_lines_without_a_checkpoint_get_no_twin(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(10).seal()
    maker.add_many(40)
    maker.rotate()
    make(maker.layout.active)
    assert used(maker.layout.active) == []
    maker.seal()
    make(maker.layout.active)
    assert used(maker.layout.active) == [(0, 51)]


def test_a_closed_file_s_twin_takes_the_place_of_its_chunks(trail: Maker) -> None:
    first = [pair for pair in used(trail.layout.active) if pair[0] >= 62]
    trail.rotate()
    assert [pair for pair in used(trail.layout.active) if pair[0] >= 62] == first
    trail.seal()
    done = make(trail.layout.active)
    assert done.removed == 2 * len(first)
    assert used(trail.layout.active)[2:] == [(62, 95)]


# --- twins that do not fit --------------------------------------------------------------------------------------


def rows_of(trail: Maker, number: int) -> Path:
    return sorted(trail.layout.twins.glob("*.parquet"))[number]


def truncate(trail: Maker, number: int) -> None:
    os.truncate(rows_of(trail, number), 100)


def flip(trail: Maker, number: int) -> None:
    path = rows_of(trail, number)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(trail: Maker, number: int) -> None:
    """Put another twin in its place."""
    rows_of(trail, number).write_bytes(rows_of(trail, (number + 1) % 4).read_bytes())


def delete(trail: Maker, number: int) -> None:
    rows_of(trail, number).unlink()


def garble(trail: Maker, number: int) -> None:
    rows_of(trail, number).with_suffix(".json").write_bytes(b'{"version":1')


def age(trail: Maker, number: int) -> None:
    """Make it one of a later version."""
    note = rows_of(trail, number).with_suffix(".json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "version": 2}))


def link(trail: Maker, number: int) -> None:
    path = rows_of(trail, number)
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("damage", [truncate, flip, swap, delete, garble, age, link])
def test_a_damaged_twin_is_as_if_it_were_not_there_and_is_made_anew(
    trail: Maker, damage: Callable[[Maker, int], None], number: int
) -> None:
    path, before = trail.layout.active, used(trail.layout.active)
    expected = looped(lines_of(path))
    damage(trail, number)
    assert set(used(path)) < set(before)
    assert asked(path) == expected
    make(path)
    assert used(path) == before
    assert asked(path) == expected


def forge(trail: Maker, number: int, data: bytes) -> None:
    """Give a twin other rows and a note that says that they are its own."""
    path = rows_of(trail, number)
    path.write_bytes(data)
    note = path.with_suffix(".json")
    stamp = twins.stamp_of(path.stat())
    said = {
        "inode": stamp.inode, "size": stamp.size, "mtime_ns": stamp.mtime_ns, "ctime_ns": stamp.ctime_ns
    }  # fmt: skip
    note.write_text(json.dumps({**json.loads(note.read_text()), "rows": said}))


def test_rows_that_are_no_parquet_or_too_few_are_passed_over_though_their_note_vouches_for_them(
    trail: Maker,
) -> None:
    path, expected = trail.layout.active, looped(lines_of(trail.layout.active))
    chunk = rows_of(trail, 2).read_bytes()
    for data in (b"", b"PAR1 no parquet PAR1", chunk[:-9], chunk):
        forge(trail, 0, data)
        assert asked(path) == expected
        assert count(path) == len(expected)


def test_checking_finds_a_twin_that_says_otherwise_than_its_lines(trail: Maker, tmp_path: Path) -> None:
    path = trail.layout.active
    assert judging.check(path, lambda _: lambda _: None) == judging.Checked(len(used(path)), [])
    import duckdb

    lie = tmp_path / "lie.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * REPLACE ('u9' AS user_id) FROM read_parquet('{_quoted(rows_of(trail, 1))}')) "
            f"TO '{_quoted(lie)}' (FORMAT parquet)"
        )
    forge(trail, 1, lie.read_bytes())
    found = judging.check(path, lambda _: lambda _: None)
    assert [(one["problem"], one["first"]) for one in found.findings] == [(judging.OTHER, 31)]


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def alter(path: Path) -> None:
    """Change a line in place, as nobody may."""
    data = path.read_bytes()
    assert b'"u1"' in data
    path.write_bytes(data.replace(b'"u1"', b'"u7"', 1))


def test_a_closed_file_that_was_altered_is_read_itself(trail: Maker) -> None:
    segment = trail.layout.segment(0)
    alter(segment)
    path = trail.layout.active
    assert used(path)[0] == (31, 62)
    assert asked(path) == looped(lines_of(path))
    assert count(path, "SELECT count(*) FROM events WHERE user_id = 'u7'") == 1


def test_another_active_file_under_the_name_has_no_twins(trail: Maker) -> None:
    path = trail.layout.active
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)
    assert used(path) == [(0, 31), (31, 62)]
    assert asked(path) == looped(lines_of(path))
    make(path)
    assert len(used(path)) > 2


def test_lines_that_have_to_be_read_one_by_one_get_a_note_and_are_counted_each_time(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(20)
    maker.raw(b'{"seq":5,"torn\n')
    maker.add_many(20)
    maker.rotate()
    maker.add_many(10)
    maker.seal()
    path = maker.layout.active
    (note, *_) = make(path).made
    assert (note.first, note.end, note.rows) == (0, 41, None)
    assert make(path).made == []
    for _ in range(2):
        with Asked([path], ALL) as asking:
            assert list(asking.query("SELECT count(*) FROM events").rows) == [(maker.seq,)]
            assert asking.corrupt.count == 1


def test_a_chunk_that_has_to_be_read_lies_between_others(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(12)
    maker.raw(b"torn\n")
    maker.add_many(40)
    maker.seal()
    path = maker.layout.active
    made = make(path).made
    assert [one.rows is None for one in made][:3] == [False, True, False]
    with Asked([path], ALL) as asking:
        rows = list(asking.query("SELECT seq FROM events").rows)
        assert rows == [(seq,) for seq in range(maker.seq)]
        assert (asking.corrupt.count, asking.corrupt.first()) == (1, f"{path}, line 14")


# --- from a time on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twinned_", [False, True])
def test_what_was_recorded_before_a_time_is_not_read(tmp_path: Path, *, twinned_: bool) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    path = maker.layout.active
    lines = [
        stamp(seq, at(seq), encode(operation(seq, request__args={"x": "y" * 400}))) for seq in range(1, 3000)
    ]
    maker.raw(b"\n".join(lines) + b"\n")
    maker._waiting += lines
    maker.seq = 3000
    maker.seal()
    if twinned_:
        making.make(path, Access(), chunk=200_000)
    maker.raw(b"torn\n")
    wanted = Filter(events=None, since=at(2900), until=at(2990))
    with Asked([path], wanted) as asking:
        (part,) = (group for group in asking._trails[0].groups if isinstance(group, Part))
        assert os.fstat(part._fd).st_size < path.stat().st_size / 3
        assert list(asking.query("SELECT min(seq), max(seq), count(*) FROM events").rows) == [(2900, 2989, 90)]
        assert (asking.corrupt.count, asking.corrupt.first()) == (1, f"{path}, line 3001")
        (trail,) = asking.trails(None)
        assert [hit.row.seq for hit in trail.newest(3)] == [2987, 2988, 2989]


# --- searching without SQL ---------------------------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let twins be asked whatever the trail's size."""
    monkeypatch.setattr(quick, "LEAST_BYTES", 0)
    monkeypatch.setattr(quick, "NEAR_BYTES", 0)


def searched(path: Path, wanted: Filter, limit: int | None = None) -> tuple[list[bytes], int]:
    corrupt = Corrupt()
    with quick.open_search(path, wanted, corrupt) as search:
        assert isinstance(search, quick.QuickSearch)
        hits = search.newest(limit) if limit else list(search.all())
    return [hit.line for hit in hits], corrupt.count


U1 = Filter(user=frozenset({"u1"}), events=None)


@pytest.mark.usefixtures("eager")
def test_a_search_reads_the_lines_that_twins_name_and_nothing_more(
    trail: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = trail.layout.active, lines_of(trail.layout.active, U1)
    read: list[tuple[int, int]] = []
    hits_of = quick.QuickSearch.hits_of

    def note(self: quick.QuickSearch, order: int, begin: int, stop: int | None) -> Any:
        read.append((order, begin))
        return hits_of(self, order, begin, stop)

    monkeypatch.setattr(quick.QuickSearch, "hits_of", note)
    assert searched(path, U1) == (expected, 0)
    assert [order for order, _ in read] == [2]
    assert read[0][1] > 0
    for limit in (1, 2, 11, 99):
        assert searched(path, U1, limit) == (expected[-limit:], 0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_twin_that_names_other_lines_is_not_believed(trail: Maker, tmp_path: Path, number: int) -> None:
    import duckdb

    path, expected = trail.layout.active, lines_of(trail.layout.active, U1)
    lie = tmp_path / "lie.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * REPLACE ('u1' AS user_id) FROM read_parquet('{_quoted(rows_of(trail, number))}')) "
            f"TO '{_quoted(lie)}' (FORMAT parquet)"
        )
    forge(trail, number, lie.read_bytes())
    assert searched(path, U1) == (expected, 0)
    assert searched(path, U1, 9) == (expected[-9:], 0)


@pytest.mark.usefixtures("eager")
def test_lines_that_cannot_be_read_are_counted_beside_twins(trail: Maker) -> None:
    trail.raw(b"torn\n")
    trail.add(operation(1, source__user_id="u1"))
    expected = lines_of(trail.layout.active, U1)
    assert searched(trail.layout.active, U1) == (expected, 1)
    corrupt = Corrupt()
    assert (quick.count([trail.layout.active], U1, corrupt), corrupt.count) == (len(expected), 1)


@pytest.mark.usefixtures("eager")
def test_counting_asks_the_twins_and_reads_the_rest(trail: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trail.layout.active
    expected = len(lines_of(path, U1))
    read: list[tuple[int, int, int | None]] = []
    hits_of = quick.QuickSearch.hits_of

    def note(self: quick.QuickSearch, order: int, begin: int, stop: int | None) -> Any:
        read.append((order, begin, stop))
        return hits_of(self, order, begin, stop)

    monkeypatch.setattr(quick.QuickSearch, "hits_of", note)
    assert quick.count([path, path], U1, Corrupt()) == 2 * expected
    assert [(order, stop) for order, _, stop in read] == 2 * [(2, None)]
    for data in (b"PAR1 no parquet PAR1", rows_of(trail, 2).read_bytes()):  # of another range: too few rows
        forge(trail, 0, data)
        assert quick.count([path], U1, Corrupt()) == expected
    monkeypatch.setattr(quick, "READ_BYTES", 100)
    assert quick.count([path], U1, Corrupt()) is None


@pytest.mark.usefixtures("eager")
def test_duckdb_is_started_where_a_twin_fits_and_nowhere_else(
    trail: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(quick, "_begin", lambda: begun.append(True))
    path = trail.layout.active
    expected = lines_of(path, U1)
    assert quick.count([path], U1, Corrupt()) == len(expected)
    assert begun
    begun.clear()
    for note in trail.layout.twins.glob("*.json"):
        note.write_text(json.dumps({**json.loads(note.read_text()), "columns": "of an earlier version"}))
    assert quick.count([path], U1, Corrupt()) == len(expected)
    with quick.QuickSearch(path, U1, Corrupt()) as search:
        assert [hit.line for hit in search.newest(3)] == expected[-3:]
    with quick.QuickSearch(path, U1, Corrupt()) as search:
        assert [hit.line for hit in search.all()] == expected
    assert not begun
    found = making.standing(path)
    assert (found.twins, found.events) == (0, 0)
    assert found.unfit > 0


@pytest.mark.usefixtures("eager")
def test_without_duckdb_lines_are_read(trail: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("duckdb", "_duckdb"):
        monkeypatch.setitem(sys.modules, name, None)
    expected = lines_of(trail.layout.active, U1)
    with quick.QuickSearch(trail.layout.active, U1, Corrupt()) as search:
        assert [hit.line for hit in search.all()] == expected
    assert quick.count([trail.layout.active], U1, Corrupt()) == len(expected)
    with quick.open_search(trail.layout.active, U1, Corrupt()) as plain:
        assert not isinstance(plain, quick.QuickSearch)


# --- making ---------------------------------------------------------------------------------------------------


def test_two_do_not_make_twins_at_once(trail: Maker) -> None:
    with twins.alone(trail.layout, Access()), pytest.raises(TwinsBusyError, match="somebody else"):
        make(trail.layout.active, rebuild=True)


def test_what_a_crash_has_left_is_removed(trail: Maker) -> None:
    for name in (".x.parquet.tmp", f"{5:020}-{9:020}.parquet", f"{5:020}-{9:020}.json", "stranger"):
        (trail.layout.twins / name).write_bytes(b"x")
    assert make(trail.layout.active).removed == 4
    assert len(list(trail.layout.twins.iterdir())) == 2 * len(used(trail.layout.active)) + 1


def test_behind_a_link_nothing_is_removed_but_what_was_made_for_twins(trail: Maker, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    trail.layout.twins.rename(elsewhere)
    trail.layout.twins.symlink_to(elsewhere)
    (elsewhere / "letters.odt").write_bytes(b"somebody's own")
    (elsewhere / f".{5:020}-{9:020}.parquet.tmp").write_bytes(b"x")
    assert make(trail.layout.active).removed == 1
    assert used(trail.layout.active)
    make(trail.layout.active, rebuild=True)
    twins.forget(trail.layout, [(0, 10**9)])
    assert {one.name for one in elsewhere.iterdir()} == {"letters.odt", ".lock"}


def test_a_directory_among_twins_is_in_nobody_s_way(trail: Maker) -> None:
    (trail.layout.twins / "mine").mkdir()
    assert make(trail.layout.active, rebuild=True).made
    twins.forget(trail.layout, [(0, 10**9)])
    assert {one.name for one in trail.layout.twins.iterdir()} == {"mine", ".lock"}


def test_nothing_is_made_while_an_erasure_is_under_way(trail: Maker) -> None:
    trail.layout.erasing.write_bytes(b"{}")
    with pytest.raises(making.StoppedError, match="erasure"):
        make(trail.layout.active)


def test_a_file_that_changes_while_its_twin_is_made_gets_none(
    trail: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trail.layout.active
    write = making._write

    def late(*args: Any) -> bool:
        done = write(*args)
        alter(trail.layout.segment(0))
        return done

    monkeypatch.setattr(making, "_write", late)
    truncate(trail, 0)
    assert make(path).made == []
    assert not list(trail.layout.twins.glob(f"{0:020}-*"))
    assert not list(trail.layout.twins.glob(".*.tmp"))


def test_the_files_have_the_trail_s_modes(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(40)
    maker.rotate()
    maker.seal()
    making.make(maker.layout.active, Access(0o640, 0o750, os.getgid()))
    modes = {path.name[-4:]: path.stat().st_mode & 0o777 for path in maker.layout.twins.glob("0*")}
    assert modes == {"quet": 0o640, "json": 0o640}
    assert maker.layout.twins.stat().st_mode & 0o777 == 0o750


FEW_DESCRIPTORS = """
import resource, sys
from pathlib import Path
from tests.unit.query.test_twins import count
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(count(Path(sys.argv[1])))
"""


def test_many_files_need_no_more_descriptors_than_a_process_has(tmp_path: Path) -> None:
    """In a process of its own: what others have open in this one is nobody's business here."""
    maker = Maker(tmp_path / "a.jsonl")
    for _ in range(60):
        maker.add_many(1)
        maker.rotate()
    maker.seal()
    done = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, str(maker.layout.active), "40"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{maker.seq}\n", "")
