"""`indelible.search`: what `indelible log` finds, one parsed event at a time."""

import json
import shutil
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest

import indelible
from indelible.errors import ConfigError, TrailError
from indelible.query.filters import Filter
from indelible.query.library import Filters
from indelible.query.search import Corrupt, TrailSearch
from tests.trails import START_NS, Maker, at, operation

START = datetime.fromtimestamp(START_NS / 1e9, UTC)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """Make a trail of three files, one of them compressed: calls of three users, one in ten an error."""

    def body(seq: int) -> dict[str, Any]:
        failed = {"status": "error", "kind": "tool_error"}
        user = ["ada", "bob", "eve"][seq % 3]
        return operation(seq, source__user_id=user, **({"outcome": failed} if seq % 10 == 0 else {}))

    maker = Maker(tmp_path / "trails" / "audit.jsonl").add_many(100, body)
    maker.rotate(compress=True)
    maker.add_many(100, body).rotate()
    return maker.add_many(50, body).seal()


def seqs(found: indelible.Search) -> list[int]:
    return [event["seq"] for event in found]


def test_every_call_without_a_filter_oldest_first(maker: Maker) -> None:
    events = list(indelible.search(maker.layout.active))
    assert [event["seq"] for event in events] == [seq for seq in range(maker.seq) if seq not in (0, 101, 202)]
    assert {event["event_type"] for event in events} == {"mcp_operation"}
    line = maker.layout.active.read_bytes().splitlines()[-1]
    assert events[-1] == json.loads(line)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"user": "ada"}, lambda seq: seq % 3 == 0),
        ({"user": ["ada", "bob"]}, lambda seq: seq % 3 < 2),
        ({"user": ("eve",), "status": "error"}, lambda seq: seq % 3 == 2 and seq % 10 == 0),
        ({"kind": {"completed"}}, lambda seq: seq % 10 != 0),
        ({"tool": "read_file", "backend": "files"}, lambda _: True),
        ({"tool": "write_file"}, lambda _: False),
        ({"since": at(150)}, lambda seq: seq >= 150),
        ({"until": at(20)}, lambda seq: seq < 20),
        ({"since": START + timedelta(seconds=30), "until": at(33)}, lambda seq: 30 <= seq < 33),
        (
            {"since": (START + timedelta(seconds=200)).astimezone(timezone(timedelta(hours=5)))},
            lambda seq: seq >= 200,
        ),
        ({"request_id": "r77"}, lambda seq: seq == 77),
    ],
)
def test_filters_are_those_of_log(maker: Maker, filters: Filters, expected: Any) -> None:
    calls = [seq for seq in range(maker.seq) if seq not in (0, 101, 202)]
    assert seqs(indelible.search(maker.layout.active, **filters)) == [seq for seq in calls if expected(seq)]


def test_the_newest_few_oldest_first(maker: Maker) -> None:
    assert seqs(indelible.search(maker.layout.active, limit=3)) == [maker.seq - 3, maker.seq - 2, maker.seq - 1]
    assert len(seqs(indelible.search(maker.layout.active, limit=10_000))) == 250


@pytest.mark.parametrize(
    "events", ["all", ["all"], ["mcp_operation", "file_opened"], "file_opened, mcp_operation"]
)
def test_other_events_when_asked_for(maker: Maker, events: Any) -> None:
    assert seqs(indelible.search(maker.layout.active, events=events)) == list(range(maker.seq))


def test_a_directory_is_all_of_its_trails_in_the_order_of_recording(maker: Maker) -> None:
    other = Maker(maker.layout.active.with_name("audit-git-4711.jsonl")).add_many(5).seal()
    found = list(indelible.search(str(maker.layout.active.parent)))
    assert len(found) == 255
    times = [event["recorded_at"] for event in found]
    assert times == sorted(times)
    shutil.rmtree(other.layout.directory)  # it is still a trail: its first line says so
    assert len(list(indelible.search(maker.layout.active.parent))) == 255


def test_lines_that_cannot_be_read_are_counted_and_end_nothing(maker: Maker) -> None:
    path = maker.layout.active
    lines = path.read_bytes().split(b"\n")
    lines[4], lines[7] = b"garbage", lines[7][:30]
    path.write_bytes(b"\n".join(lines) + b'{"seq":9')
    found = indelible.search(path)
    assert (found.unreadable, found.first_unreadable) == (0, None)
    assert len(list(found)) == 248
    assert (found.unreadable, found.first_unreadable) == (3, f"{path}, line 5")
    assert len(list(found)) == 248  # a new look, not what is left of the old one
    assert found.unreadable == 3


@pytest.mark.parametrize("filters", [{}, {"since": at(1)}, {"limit": 1000}, {"limit": 1000, "since": at(1)}])
def test_a_damaged_compressed_file_ends_nothing(maker: Maker, filters: Any) -> None:
    [packed] = maker.layout.segments.glob("*.zst")
    packed.write_bytes(packed.read_bytes()[:10])
    found = indelible.search(maker.layout.active, **filters)
    assert len(list(found)) == 150
    assert found.unreadable == 1


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"tool": ""}, "tool: an empty value, which nothing is called; leave it out, or say what to look for"),
        ({"user": ["ada", " "]}, "user: an empty value, which nothing is called; leave it out, or say what to"),
        ({"status": "succes"}, "status: no such value 'succes'; did you mean 'success'?"),
        ({"kind": ["completed", "denid"]}, "kind: no such value 'denid'; did you mean 'denied'?"),
        ({"events": "alerts"}, "events: no event type 'alerts'; did you mean 'alert'?"),
        ({"since": "yesterday"}, "since: expected a time such as"),
        ({"since": 5}, "since: expected a text or a datetime, found 5"),
        ({"until": datetime(2026, 11, 21)}, "until: a datetime without a zone"),  # noqa: DTZ001 - that is the test
        ({"since": "1h", "until": "2h"}, "nothing can lie between them"),
        ({"since": at(3), "until": at(3)}, "nothing can lie between them"),
        ({"user": 5}, "user: expected a text, or several, found 5"),
        ({"user": ["ada", None]}, "user: expected a text, or several, found nothing"),
        ({"tool": []}, "tool: expected a text, or several, found []"),
        ({"tol": "x"}, "search: no filter 'tol'"),
        ({"limit": 0}, "limit: expected a number from 1 on"),
        ({"limit": True}, "limit: expected a number from 1 on"),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_is_refused_in_one_line(maker: Maker, filters: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        indelible.search(maker.layout.active, **filters)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_trail_is_said_at_once(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(TrailError, match="there is no trail"):
            indelible.search(path)


def test_a_trail_that_goes_away_is_our_error(maker: Maker) -> None:
    found = indelible.search(maker.layout.active)
    maker.layout.active.unlink()
    maker.layout.active.mkdir()
    with pytest.raises(TrailError):
        list(found)


def test_memory_does_not_grow_with_the_trail(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        maker = Maker(tmp_path / str(count) / "audit.jsonl")
        line = maker.add(operation(1, metadata={"pad": "x" * 1_000}))
        maker.raw((line + b"\n") * count)
        found = iter(indelible.search(maker.layout.active))
        next(found)
        tracemalloc.start()
        try:
            assert sum(1 for _ in found) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(3_000), peak(12_000)
    assert large < 1.5 * small


def test_leaving_early_closes_the_files(maker: Maker) -> None:
    def held() -> list[str]:
        return [
            file.path for file in psutil.Process().open_files() if str(maker.layout.active.parent) in file.path
        ]

    found = iter(indelible.search(maker.layout.active))
    next(found)
    assert held()
    found.close()  # type: ignore[attr-defined] # a generator
    assert held() == []


@pytest.mark.timeout(30)
def test_a_tail_of_a_million_empty_lines_is_read_in_one_pass(tmp_path: Path) -> None:
    """Where each of them stands was once counted from the beginning of its block: hours."""
    maker = Maker(tmp_path / "audit.jsonl").add_many(10).seal()
    maker.raw(b"\n" * 1_000_000)
    corrupt = Corrupt()
    with TrailSearch(maker.layout.active, Filter(), corrupt) as search:
        assert len(search.newest(50)) == 10
    assert (corrupt.count, corrupt.first()) == (1_000_000, f"{maker.layout.active}, line 12")
