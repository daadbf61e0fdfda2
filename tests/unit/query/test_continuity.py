"""What readers say of missing and of newer lines is what a plain loop over the files finds, whatever is in them."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query import continuity, library, quick
from indelible.query.engine import making
from indelible.query.engine.asking import ALL, Asked
from indelible.query.filters import Filter
from indelible.query.follow import Follower
from indelible.query.readback import Readback
from indelible.query.search import Corrupt, Hit, TrailSearch
from indelible.query.sources.files import FileSource
from indelible.trail.durable import Access
from indelible.trail.entry import stamp
from tests.effort import examples
from tests.trails import Maker, at, encode, erased, operation

FEW = Filter(user=frozenset({"nobody"}))
"""Of all lines it means none: they are looked at all the same."""

CHUNK = 4096
"""Bytes of a chunk of the active file that gets a twin in these tests."""


class Found(NamedTuple):
    """How many lines are missing, are of a newer schema, and cannot be read."""

    missing: int
    newer: int
    unreadable: int


def found_by(corrupt: Corrupt) -> Found:
    return Found(corrupt.missing().lines, corrupt.newer, corrupt.count)


# --- the plain loop -------------------------------------------------------------------------------------------


def content(path: Path) -> bytes:
    data = path.read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data


def read(path: Path) -> list[bytes]:
    data = content(path)
    return data.removesuffix(b"\n").split(b"\n") if data else []


def seq_and_schema(line: bytes) -> tuple[int, Any] | None:
    """Return what a line says, None when it cannot be read."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not line.startswith(b'{"seq":') or not isinstance(value, dict) or type(value["seq"]) is not int:
        return None
    return value["seq"], value.get("schema")


def loop(maker: Maker) -> Found:
    """Count, with sets and lists of single seqs."""
    paths = [*sorted(maker.layout.segments.iterdir()), maker.layout.active]
    limits = [int(path.name[:20]) for path in paths[1:-1]]
    first = re.match(rb'{"seq":([0-9]+)[,}]', next(iter(read(paths[-1])), b""))  # a torn one still says it
    limits += [int(first[1]) if first is not None else 10**30] * (len(paths) > 1)
    entries: list[int | None] = []
    newer = 0
    for path, limit in zip(paths, [*limits, 10**30], strict=True):
        for line in read(path):
            said = seq_and_schema(line)
            if said is None:
                entries.append(None)
            elif said[0] < limit:
                entries.append(said[0])
                newer += type(said[1]) is int and said[1] > 1
    last = [seq for seq in entries if seq is not None][-5:]
    end = max([sealed(maker), *(seq + 1 for seq in last)])
    absent = set(range(end)) - set(entries)
    for low, high in (pair for path in paths for line in whole_lines(path) for pair in deleted_in(line)):
        absent -= set(range(low, high + 1))
    return Found(len(absent - covered(entries, absent, end)), newer, entries.count(None))


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines that end: a record that was never written to its end deletes nothing."""
    return content(path).split(b"\n")[:-1]


def deleted_in(line: bytes) -> list[list[int]]:
    """Return the ranges that a line says were deleted."""
    if seq_and_schema(line) is None:
        return []
    event = json.loads(line)
    kinds = ("file_opened", "retention_applied")
    return event["metadata"]["pruned"] if event.get("event_type") in kinds else []


def covered(entries: list[int | None], absent: set[int], end: int) -> set[int]:
    """Return seqs in whose places lines stand that cannot be read."""
    places: set[int] = set()
    before, torn = -1, 0
    for entry in [*(one for one in entries if one is None or 0 <= one < end), end]:
        if entry is None:
            torn += 1
            continue
        places |= set(sorted(seq for seq in absent - places if before < seq < entry)[:torn])
        before, torn = entry, 0
    return places


def sealed(maker: Maker) -> int:
    try:
        return int(maker.layout.checkpoint.read_text().splitlines()[1])
    except FileNotFoundError:
        return 0


# --- damage ---------------------------------------------------------------------------------------------------


def rewrite(path: Path, lines: list[bytes], end: bytes = b"\n") -> None:
    data = b"\n".join(lines) + (end if lines else b"")
    new = path.with_name(f".{path.name}.tmp")  # as an editor does: a twin of the active file is of its inode
    new.write_bytes(zstandard.ZstdCompressor().compress(data) if path.suffix == ".zst" else data)
    new.replace(path)


def with_seq(line: bytes, seq: int) -> bytes:
    return b'{"seq":%d,' % seq + line.partition(b",")[2]


def with_schema(line: bytes, schema: str) -> bytes:
    return line.replace(b'"schema":1', b'"schema":' + schema.encode(), 1)


DAMAGE = ["delete", "tear", "seq", "swap", "double", "cut", "newer", "insert", "all newer", "erase"]


@st.composite
def damaged(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:  # noqa: PLR0911 - one for each
    """Return lines to which one thing was done."""
    at = draw(st.integers(0, len(lines) - 1))
    to = draw(st.integers(at, min(len(lines), at + 6)))
    other = draw(st.integers(0, len(lines) - 1))
    line = lines[at]
    match draw(st.sampled_from(DAMAGE)):
        case "delete":
            return [*lines[:at], *lines[to:]]
        case "tear":
            return [*lines[:at], *(one[: len(one) // 2] for one in lines[at:to]), *lines[to:]]
        case "seq":
            seq = draw(st.sampled_from([0, 1, 3, 20, 40, 500, -4]) | st.integers(0, 60))
            return [*lines[:at], with_seq(line, seq), *lines[at + 1 :]]
        case "swap":
            lines = list(lines)
            lines[at], lines[other] = lines[other], lines[at]
            return lines
        case "double":
            return [*lines[:other], line, *lines[other:]]
        case "cut":
            return [*lines[:at], line[: len(line) // 3]]
        case "newer":
            schema = draw(st.sampled_from(["2", "7", "0", "null", '"2"', "true", "2.0", "9223372036854775807"]))
            return [*lines[:at], with_schema(line, schema), *lines[at + 1 :]]
        case "all newer":
            return [*lines[:at], *(with_schema(one, "2") for one in lines[at:])]
        case "erase":
            said = seq_and_schema(line)
            return lines if said is None else [*lines[:at], erased(line, said[0]), *lines[at + 1 :]]
        case _:
            return [*lines[:at], b"not a line", *lines[at:]]


@st.composite
def trails(draw: st.DrawFn, make: Callable[[], Maker], *, with_twins: bool = False) -> Maker:
    """Return a trail in several files to which several things were done."""
    maker = make()
    for _ in range(draw(st.integers(0, 3))):
        maker.add_many(draw(st.integers(0, 9)), operation).rotate(compress=draw(st.booleans()))
    maker.add_many(draw(st.integers(0, 25)), operation)
    if draw(st.booleans()) or with_twins:
        maker.seal()
    closed = sorted(maker.layout.segments.iterdir())
    if with_twins and draw(st.booleans()):
        making.make(maker.layout.active, Access(), chunk=CHUNK)
    if draw(st.booleans()) and closed:
        maker.delete_file(closed.pop(0))
        maker.rotate() if draw(st.booleans()) else None
        maker.add_many(draw(st.integers(0, 4)), operation)
    for _ in range(draw(st.integers(0, 3))):
        path: Path = draw(st.sampled_from([*closed, maker.layout.active]))
        if path.exists() and (lines := read(path)):
            rewrite(path, draw(damaged(lines)), draw(st.sampled_from([b"\n", b""])))
    if closed and draw(st.integers(0, 3)) == 0:
        gone: Path = draw(st.sampled_from(closed))
        gone.unlink(missing_ok=True)
    if with_twins:
        making.make(maker.layout.active, Access(), chunk=CHUNK)
    return maker


def readers(path: Path, wanted: Filter) -> dict[str, Corrupt]:
    """Return what each of those who read the lines has noticed."""
    every = {name: Corrupt() for name in ("all", "newest", "quick", "quick newest", "counted")}
    with TrailSearch(path, wanted, every["all"]) as search:
        list(search.all())
    with TrailSearch(path, wanted, every["newest"]) as search:
        search.newest(10_000)
    with quick.QuickSearch(path, wanted, every["quick"]) as search:
        list(search.all())
    with quick.QuickSearch(path, wanted, every["quick newest"]) as search:
        search.newest(10_000)
    quick.count([path], wanted, every["counted"])
    return every


def questions(path: Path, wanted: Filter, *, with_twins: bool) -> dict[str, Corrupt]:
    """Return what each of those who ask with SQL has noticed."""
    every = {}
    asks: dict[str, Callable[[Asked], Any]] = {
        "sql": lambda asked: list(asked.query("SELECT count(*) FROM events").rows),
        "sql twice": lambda asked: [list(asked.query("FROM logs").rows) for _ in range(2)],
        "where": lambda asked: list(asked.trails("true")[0].all()),
        "where newest": lambda asked: asked.trails("true")[0].newest(10_000),
        "sort": lambda asked: list(asked.sorted(None, ("seq", True), 3)),
        "group": lambda asked: list(asked.summary(None, ["name"], None, None, 0).rows),
    }
    for name, ask in asks.items():
        with Asked([path], wanted, with_twins=with_twins) as asked:
            ask(asked)
            every[name] = asked.corrupt
    return every


@given(st.data())
@settings(max_examples=examples(150), deadline=None)
def test_who_reads_notices_what_a_loop_finds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("trail") / "audit.jsonl"
    maker = data.draw(trails(lambda: Maker(path)))
    expected = loop(maker)
    for wanted in (ALL, FEW):
        noticed = {name: found_by(corrupt) for name, corrupt in readers(path, wanted).items()}
        assert noticed == dict.fromkeys(noticed, expected)
    found = library.search(path)
    list(found)
    assert (found.missing, found.newer, found.unreadable) == expected


@pytest.mark.slow
@given(st.data())
@settings(max_examples=examples(12), deadline=None)
def test_who_asks_with_sql_and_twins_notices_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("trail") / "audit.jsonl"
    patched = pytest.MonkeyPatch()
    patched.setattr(quick, "LEAST_BYTES", 1)
    with patched.context():
        maker = data.draw(trails(lambda: Maker(path), with_twins=True))
        wanted = data.draw(st.sampled_from([ALL, FEW]))
        expected = loop(maker)
        noticed = {name: found_by(corrupt) for name, corrupt in readers(path, wanted).items()}
        for with_twins in (True, False):
            asked = questions(path, wanted, with_twins=with_twins)
            noticed |= {f"{name}, {with_twins}": found_by(corrupt) for name, corrupt in asked.items()}
        assert noticed == dict.fromkeys(noticed, expected)
    patched.undo()


# --- words, and what is looked at ---------------------------------------------------------------------------------


def without(path: Path, *seqs: int) -> None:
    rewrite(path, [line for line in read(path) if (seq_and_schema(line) or (-1, 0))[0] not in seqs])


def missing_of(path: Path, wanted: Filter = ALL, limit: int = 0) -> tuple[int, str]:
    corrupt = Corrupt()
    with TrailSearch(path, wanted, corrupt) as search:
        search.newest(limit) if limit else list(search.all())
    return corrupt.missing().lines, corrupt.missing().place()


def test_the_place_of_what_is_missing_is_told(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    closed = maker.add_many(9).rotate()
    maker.add_many(9).seal()
    path = maker.layout.active
    assert missing_of(path) == (0, "")
    without(path, 13, 14)
    assert missing_of(path) == (2, f"between seq 12 and 15 of {path}")
    without(path, 19)
    assert missing_of(path) == (3, f"between seq 12 and 15 of {path}")
    without(closed, 0, 1, 9)
    assert missing_of(path) == (6, f"before seq 2 of {closed}")
    closed.unlink()
    assert missing_of(path) == (13, f"before seq 10 of {path}")


def test_what_follows_the_last_line_up_to_the_checkpoint_is_missing(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(9).seal()
    without(maker.layout.active, 8, 9)
    assert missing_of(maker.layout.active) == (2, f"after seq 7 of {maker.layout.active}")


def test_what_was_not_looked_at_is_not_told(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    closed = [maker.add_many(20).rotate() for _ in range(3)]
    maker.add_many(20)
    without(closed[0], 5)
    without(maker.layout.active, 75)
    path = maker.layout.active
    assert missing_of(path)[0] == 2
    assert missing_of(path, ALL, 4) == (0, "")
    assert missing_of(path, ALL, 12)[0] == 1
    assert missing_of(path, Filter(events=None, since=at(50)))[0] == 1


def test_a_file_alone_is_no_trail_from_its_first_line(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(9)
    alone = tmp_path / "alone.jsonl"
    rewrite(alone, read(maker.layout.active)[4:])
    assert missing_of(alone) == (0, "")
    without(alone, 6)
    assert missing_of(alone) == (1, f"between seq 5 and 7 of {alone}")


def test_a_seq_of_any_size_costs_nothing(tmp_path: Path) -> None:
    path = Maker(tmp_path / "audit.jsonl").add_many(9).layout.active
    lines = read(path)
    rewrite(path, [*lines[:3], with_seq(lines[3], 2**63), *lines[4:]])
    assert missing_of(path) == (1, f"between seq 2 and 4 of {path}")
    rewrite(path, [*lines[:-1], with_seq(lines[-1], 2**63)])
    assert missing_of(path) == (2**63 - 9, f"between seq 8 and {2**63} of {path}")


def test_a_trail_full_of_holes_is_counted_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(200).seal()
    without(maker.layout.active, *range(1, 200, 2))
    assert missing_of(maker.layout.active)[0] == 100
    monkeypatch.setattr(continuity, "MAX_RUNS", 10)
    corrupt = Corrupt()
    with TrailSearch(maker.layout.active, ALL, corrupt) as search:
        list(search.all())
    missing = corrupt.missing()
    assert missing.at_least
    assert 5 <= missing.lines <= 20


# --- what is read as it comes, and what is read elsewhere ----------------------------------------------------------


def test_a_follower_tells_what_is_missing_of_new_lines(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5).seal()
    corrupt = Corrupt()
    follower = Follower(maker.layout.active, ALL, corrupt)
    follower.start(0)
    lines = [stamp(seq, at(seq), encode(operation(seq))) for seq in (6, 7, 10, 11)]
    lines[1] = with_schema(lines[1], "2")
    maker.raw(b"".join(line + b"\n" for line in lines))
    assert [hit.row.seq for hit in follower.poll()] == [6, 7, 10, 11]
    follower.close()
    assert corrupt.missing() == (2, 1, 7, 10, maker.layout.active, False)
    assert (follower.missed, corrupt.newer) == (0, 1)


@given(st.data())
@settings(max_examples=examples(40), deadline=None)
def test_of_a_trails_own_file_elsewhere_the_same_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    maker = Maker(tmp_path_factory.mktemp("trail") / "audit.jsonl").add_many(6)
    maker.rotate().unlink()
    closed = maker.add_many(data.draw(st.integers(0, 20))).rotate(compress=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(0, 2))):
        if lines := read(closed):
            rewrite(closed, data.draw(damaged(lines)))
    copy = tmp_path_factory.mktemp("elsewhere") / closed.name
    copy.write_bytes(closed.read_bytes())
    back = Readback([FileSource(str(copy))], ALL)
    list(back.newest(1))
    said = [seq_and_schema(line) for line in read(closed)]
    seqs = [None if one is None else one[0] for one in said]
    end = max([7, *(seq + 1 for seq in [seq for seq in seqs if seq is not None][-5:])])
    absent = set(range(7, end)) - set(seqs)
    first = [None if seq is None else seq - 7 for seq in seqs]
    torn = covered(first, {seq - 7 for seq in absent}, end - 7)
    newer = [one for one in said if one is not None and type(one[1]) is int and one[1] > 1]
    assert (back.missing().lines, back.newer) == (len(absent) - len(torn), len(newer))


def test_what_a_sink_was_sent_is_not_held_against_it(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(9)
    sent = tmp_path / "sent.jsonl"
    rewrite(sent, read(maker.layout.active)[::2])
    back = Readback([FileSource(str(sent))], ALL)
    assert len(list(back.newest(100))) == 5
    assert not back.missing().lines


WAYS: dict[str, Callable[[Asked], Iterable[Hit]]] = {
    "all": lambda asked: asked.trails("true")[0].all(),
    "newest": lambda asked: asked.trails("true")[0].newest(260),
    "all matches": lambda asked: asked.matches("true", 0),
    "sorted": lambda asked: asked.sorted(None, ("seq", False), 0),
}


def edited(tmp_path: Path, change: str) -> tuple[Path, list[bytes]]:
    """Make a trail whose twin fits, though lines of it are others now: both ends and the length are as they were."""
    maker = Maker(tmp_path / "audit.jsonl").add_many(300, operation).seal()
    path = maker.layout.active
    making.make(path, Access(), chunk=1 << 16)
    lines = read(path)
    if change == "swap":
        lines[150], lines[152] = lines[152], lines[150]
    else:
        lines[150] = with_seq(lines[150], 999)
    size = path.stat().st_size
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert path.stat().st_size == size
    return path, lines


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", ["swap", "number"])
def test_lines_that_are_not_as_their_twin_says_are_read_with_all_after_them(
    tmp_path: Path, change: str, way: str
) -> None:
    """Within a file that both ends still tell for the same: what was edited in place and is as long as before."""
    path, lines = edited(tmp_path, change)

    answers, noticed, told = [], [], []
    for with_twins in (True, False):
        with Asked([path], ALL, with_twins=with_twins) as asked:
            assert any(trail.twins for trail in asked._trails) == with_twins
            answers.append(sorted(hit.line for hit in WAYS[way](asked)))
            noticed.append(found_by(asked.corrupt))
            told.append(asked.corrupt.misfit)

    assert answers[0] == answers[1]
    assert len(answers[0]) == (260 if way == "newest" else len(lines))
    assert noticed == [Found(change == "number", 0, 0)] * 2
    assert told == [path, None]


@pytest.mark.parametrize("limit", [0, 260])
@pytest.mark.parametrize(
    "sql", ["seq >= (SELECT min(seq) FROM events)", "seq > (SELECT max(seq) FROM events) - 200"]
)
@pytest.mark.parametrize("change", ["swap", "number"])
def test_a_condition_that_asks_others_besides_has_the_lines_answer_where_a_twin_is_found_wrong(
    tmp_path: Path, change: str, sql: str, limit: int
) -> None:
    """Its other question was asked of the twin, too: all is asked anew, and nothing was given before."""
    path, lines = edited(tmp_path, change)
    other = Maker(tmp_path / "other.jsonl").add_many(3, operation).seal().layout.active
    answers = []
    for with_twins in (True, False):
        with Asked([path, other], ALL, with_twins=with_twins) as asked:
            answers.append([hit.line for hit in asked.matches(sql, limit)])
            assert asked.corrupt.misfit == (path if with_twins else None)
            assert found_by(asked.corrupt) == Found(change == "number", 0, 0)
    assert answers[0] == answers[1]
    every = [(json.loads(line)["seq"], line) for line in (*lines, *read(other))]
    lowest = min(every)[0] if "min" in sql else max(every)[0] - 199
    expected = sorted(line for seq, line in every if seq >= lowest)
    if limit:
        assert len(answers[0]) == min(limit, len(expected))
        assert set(answers[0]) <= set(expected)
    else:
        assert sorted(answers[0]) == expected
