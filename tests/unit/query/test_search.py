"""A search finds what a plain scan finds, from whichever end, through rotation and compression."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import TrailError
from indelible.query.filters import Filter, parse_row
from indelible.query.search import Corrupt, Hit, TrailSearch, bisect_time, everything, newest
from indelible.trail.entry import line_recorded_at
from tests.effort import examples
from tests.trails import Maker, at, erased, operation

ANY = Filter(events=None)


def newest_of(path: Path, wanted: Filter, limit: int) -> tuple[list[Hit], Corrupt]:
    corrupt = Corrupt()
    with TrailSearch(path, wanted, corrupt) as search:
        return search.newest(limit), corrupt


def all_of(path: Path, wanted: Filter) -> tuple[list[Hit], Corrupt]:
    corrupt = Corrupt()
    with TrailSearch(path, wanted, corrupt) as search:
        return list(search.all()), corrupt


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """Make a trail of four files; calls take up to 40 s, so that they end in another order than they began."""
    maker = Maker(tmp_path_factory.mktemp("search") / "audit.jsonl")

    def body(seq: int) -> dict[str, Any]:
        users = ["ada", "bob", "eve"]
        return operation(
            seq,
            timestamp=at(max(0, seq - seq * 7 % 40)),
            source__user_id=users[seq % 3],
            metadata={"pad": "x" * (seq * 37 % 400)},
        )

    lines: list[bytes] = []
    for compress in (True, False, True, None):
        maker.add_many(300, body)
        if compress is not None:
            maker.rotate(compress=compress)
    import zstandard

    for path in [*sorted(maker.layout.segments.iterdir()), maker.layout.active]:
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        lines += data.split(b"\n")[:-1]
    return maker.layout.active, lines


FILTERS = st.builds(
    lambda since, until, user, every: Filter(
        since=None if since is None else at(since),
        until=None if until is None else at(until),
        user=frozenset({user}) if user else frozenset(),
        events=None if every else Filter().events,
    ),
    st.none() | st.floats(-10, 1300),
    st.none() | st.floats(-10, 1300),
    st.sampled_from([None, "ada", "bob", "nobody"]),
    st.booleans(),
)


@given(wanted=FILTERS, limit=st.integers(1, 60))
@settings(max_examples=examples(150))
def test_both_ways_agree_with_a_plain_scan(trail: tuple[Path, list[bytes]], wanted: Filter, limit: int) -> None:
    path, lines = trail
    matches = wanted.predicate()
    expected = [line for line in lines if (row := parse_row(line)) is not None and matches(row)]
    assert [hit.line for hit in all_of(path, wanted)[0]] == expected
    assert [hit.line for hit in newest_of(path, wanted, limit)[0]] == expected[-limit:]


@given(
    gaps=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=300),
    sizes=st.lists(st.integers(0, 5_000), min_size=1, max_size=20),
    where=st.floats(-0.1, 1.1),
)
def test_bisecting_leaves_out_nothing(gaps: list[int], sizes: list[int], where: float) -> None:
    moment, lines = 0.0, []
    for seq, gap in enumerate(gaps):
        moment += gap / 1e6
        body = json.dumps({"event_type": "alert", "metadata": {"pad": "x" * sizes[seq % len(sizes)]}})
        lines.append(
            b'{"seq":%d,"schema":1,"recorded_at":"%b",%b' % (seq, at(moment).encode(), body[1:].encode())
        )
    data = b"".join(line + b"\n" for line in lines)
    time = at(where * moment)
    offset = bisect_time(io.BytesIO(data), time)
    assert offset == 0 or data[offset - 1 : offset] == b"\n"
    assert all((line_recorded_at(line) or "") < time for line in data[:offset].split(b"\n") if line)


def test_bisecting_is_close(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5_000)
    data = maker.layout.active.read_bytes()
    offset = bisect_time(io.BytesIO(data), at(4_900))
    assert 0 < len(data) - offset < 300_000 < len(data)


# --- lines that cannot be read ------------------------------------------------------------------------------


@given(
    places=st.sets(st.integers(1, 99), max_size=8),
    junk=st.sampled_from([b"", b"garbage", b'{"seq":5,"x"', b"\xff\x00"]),
)
@settings(max_examples=examples(40))
def test_corrupt_lines_hide_no_others(
    tmp_path_factory: pytest.TempPathFactory, places: set[int], junk: bytes
) -> None:
    maker = Maker(tmp_path_factory.mktemp("corrupt") / "audit.jsonl").add_many(100)
    lines = maker.layout.active.read_bytes().split(b"\n")[:-1]
    kept = [line for number, line in enumerate(lines) if number not in places][1:]
    maker.layout.active.write_bytes(
        b"".join((junk if n in places else line) + b"\n" for n, line in enumerate(lines))
    )
    for hits, corrupt in (
        all_of(maker.layout.active, Filter()),
        newest_of(maker.layout.active, Filter(), 1000),
    ):
        assert [hit.line for hit in hits] == kept
        assert corrupt.count == len(places)
        if places:
            assert corrupt.first() == f"{maker.layout.active}, line {min(places) + 1}"


def test_a_time_that_was_tampered_with_hides_no_other_line(tmp_path: Path) -> None:
    """The line itself says that it was recorded before what is asked for."""
    maker = Maker(tmp_path / "audit.jsonl").add_many(3_000)
    data = maker.layout.active.read_bytes()
    wanted = Filter(since=at(500))
    expected = [hit.line for hit in all_of(maker.layout.active, wanted)[0]]
    lines = data.split(b"\n")
    lines[2_000] = lines[2_000].replace(b'"recorded_at":"2026', b'"recorded_at":"1999')
    maker.layout.active.write_bytes(b"\n".join(lines))
    others = [line for line in expected if line not in data.split(b"\n")[2_000:2_001]]
    assert len(others) == len(expected) - 1
    assert [hit.line for hit in all_of(maker.layout.active, wanted)[0]] == others
    assert [hit.line for hit in newest_of(maker.layout.active, wanted, 10_000)[0]] == others


def test_a_torn_last_line_is_counted(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5)
    maker.raw(b'{"seq":6,"schema":1,"rec')
    for hits, corrupt in (all_of(maker.layout.active, Filter()), newest_of(maker.layout.active, Filter(), 50)):
        assert (len(hits), corrupt.count) == (5, 1)
        assert corrupt.first().endswith(", line 7")


def test_megabytes_without_a_line_feed(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5)
    maker.raw(b"x" * 5_000_000 + b"\n")
    maker.add_many(5)
    for hits, corrupt in (all_of(maker.layout.active, Filter()), newest_of(maker.layout.active, Filter(), 50)):
        assert (len(hits), corrupt.count) == (10, 1)


def test_a_damaged_compressed_file_does_not_hide_the_others(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(50)
    closed = maker.rotate(compress=True)
    maker.add_many(5)
    closed.write_bytes(closed.read_bytes()[:40] + b"garbage" * 20)
    hits, corrupt = all_of(maker.layout.active, Filter())
    assert [hit.row.seq for hit in hits][-5:] == list(range(52, 57))
    assert corrupt.count >= 1


def test_of_a_compressed_file_only_what_may_be_meant_is_read_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where somebody has given single lines of the past a time of the future, or the other way round."""
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add_many(6_000, lambda seq: operation(seq, request__args={"x": "y" * 400}))
    maker.add(operation(3), recorded_at=at(3))
    maker.raw(b"torn\n")
    closed = maker.rotate(compress=True)
    maker.add_many(5)
    assert closed.name.endswith(".zst")
    wanted = Filter(events=None, since=at(5_900))
    every, _ = all_of(maker.layout.active, ANY)
    read: list[bytes] = []

    def note(line: bytes) -> Any:
        read.append(line)
        return parse_row(line)

    monkeypatch.setattr("indelible.query.search.parse_row", note)
    hits, corrupt = all_of(maker.layout.active, wanted)
    assert [hit.line for hit in hits] == [hit.line for hit in every if wanted.predicate()(hit.row)]
    assert len(hits) < len(read) < len(every) / 2
    assert (corrupt.count, corrupt.first().rpartition("/")[2]) == (1, f"{closed.name}, line 6003")
    assert newest_of(maker.layout.active, wanted, 9)[0] == hits[-9:]


def test_erased_lines_are_entries(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5)
    lines = maker.layout.active.read_bytes().split(b"\n")
    lines[3] = erased(lines[3], 3)
    maker.layout.active.write_bytes(b"\n".join(lines))
    hits, corrupt = all_of(maker.layout.active, ANY)
    assert ([hit.row.seq for hit in hits], corrupt.count) == (list(range(6)), 0)
    assert [hit.row.seq for hit in newest_of(maker.layout.active, Filter(), 50)[0]] == [1, 2, 4, 5]


# --- several trails, and none ---------------------------------------------------------------------------------


def test_several_trails_are_merged_in_the_order_of_recording(tmp_path: Path) -> None:
    searches, corrupt = [], Corrupt()
    for number in range(3):
        maker = Maker(tmp_path / f"audit-{number}.jsonl")
        for step in range(20):
            maker.add(operation(step), recorded_at=at(3 * step + number))
        searches.append(TrailSearch(maker.layout.active, Filter(), corrupt))
    times = [hit.row.recorded_at for hit in everything(searches)]
    assert times == [at(step) for step in range(60)]
    assert [hit.row.recorded_at for hit in newest(searches, 7)] == times[-7:]
    for search in searches:
        search.__exit__()


def test_no_trail(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="there is no trail here"):
        TrailSearch(tmp_path / "audit.jsonl", ANY, Corrupt())
