"""What a report says of the record itself: gaps, times when nobody recorded, silences; and how it is cut."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from indelible.query.engine.asking import ALL, Asked
from indelible.query.report import making
from indelible.query.report.marks import MARKS
from indelible.query.report.scope import Scope
from tests.reports import call, service, text
from tests.trails import Maker, erased

T = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
SCOPE = Scope(text(T - dt.timedelta(days=10)), text(T + dt.timedelta(days=1)))


def after(**time: float) -> str:
    return text(T + dt.timedelta(**time))


def made(path: Path, *events: tuple[str, str, dict[str, Any]]) -> dict[str, making.Table]:
    """Return the tables about a trail of these events: when each was recorded, its type, its metadata.

    The trail was begun two days before the first of them.
    """
    maker = Maker(path)
    for when, event_type, metadata in events:
        maker.add({**service(T, event_type, **metadata), "timestamp": when}, when)
    return tables(path)


def tables(path: Path, scope: Scope = SCOPE, limit: int = 0) -> dict[str, making.Table]:
    with Asked([path], ALL) as asked:
        return {table.section.name: table for table in making.make(asked, scope, limit, lambda: None).tables}


def test_a_time_when_nobody_recorded_is_from_a_last_line_to_what_the_next_start_writes_first(
    tmp_path: Path,
) -> None:
    """A start says first that the clock was set, then what it repaired, then that it began: these are one."""
    found = made(
        tmp_path / "audit.jsonl",
        (after(hours=0), "audit_started", {}),
        (after(hours=1), "audit_stopped", {}),
        (after(hours=2), "audit_started", {}),
        (after(hours=3), "mcp_operation", {}),
        (after(hours=5), "audit_recovered", {"unsealed": 1, "torn": [{}], "interrupted": 2}),
        (after(hours=5), "mcp_operation", {}),
        (after(hours=5), "audit_started", {}),
        (after(hours=6), "audit_stopped", {}),
        (after(hours=6, minutes=1), "clock_stepped", {"step_s": 3}),
        (after(hours=6, minutes=1), "audit_recovered", {}),
        (after(hours=6, minutes=2), "audit_started", {}),
        (after(hours=6, minutes=3), "clock_stepped", {"step_s": 3}),
        (after(hours=6, minutes=9), "mcp_operation", {}),
        (after(hours=6, minutes=10), "audit_started", {}),
    )
    rows = [(row["ended"], row["seconds"], row["well"]) for row in found["downtime"].rows]
    assert rows == [
        (T + dt.timedelta(hours=3), 7200.0, False),
        (T + dt.timedelta(hours=1), 3600.0, True),
        (T + dt.timedelta(hours=6, minutes=0), 120.0, True),
        (T + dt.timedelta(hours=6, minutes=9), 60.0, False),
    ]
    assert [(aside.name, number) for aside, number in found["downtime"].asides] == [("died", 2)]


def test_marks_are_told_in_words(tmp_path: Path) -> None:
    found = made(
        tmp_path / "audit.jsonl",
        (after(hours=1), "audit_gap", {"lost": 4, "reason": "disk full"}),
        (after(hours=2), "audit_recovered", {"unsealed": 1, "torn": [{}, {}], "interrupted": 2}),
        (after(hours=3), "clock_stepped", {"step_s": -3600.25}),
        (after(hours=4), "retention_applied", {"files": 3, "reason": "age"}),
        (after(hours=5), "entry_erased", {"lines": 7, "reason": "asked\nfor"}),
        (after(hours=6), "audit_gap", {}),
    )["gaps"]
    assert [row["said"] for row in reversed(found.rows)] == [
        "events lost: 4 (disk full)",
        "a writer had died; calls interrupted: 2, lines sealed late: 1, torn pieces set aside: 2",
        "the clock was set by -3600.25 s",
        "files deleted: 3 (age)",
        "lines erased: 7 (asked\nfor)",
        "events lost:  ()",
    ]
    assert {row["event_type"] for row in found.rows} == set(MARKS)
    assert [(aside.name, number) for aside, number in found.asides] == [("lost", 4)]


def test_a_silence_is_none_where_a_writer_started_or_lines_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    found = made(
        path,
        (after(hours=0), "audit_started", {}),
        (after(hours=2), "audit_heartbeat", {}),  # exactly as long as is no silence yet
        (after(hours=4, minutes=1), "audit_heartbeat", {}),
        (after(hours=10), "audit_started", {}),
        (after(hours=13), "mcp_operation", {}),
        (after(hours=16), "mcp_operation", {}),
    )["silences"]
    assert [(row["seconds"], row["gone"]) for row in found.rows] == [(10_800.0, 0), (10_800.0, 0), (7_260.0, 0)]
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:5], erased(lines[5], 5), *lines[6:]]) + b"\n")
    found = tables(path)["silences"]
    assert [(row["seconds"], row["gone"]) for row in found.rows] == [(21_600.0, 1), (7_260.0, 0)]


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (1, "hour"),
        (4, "hour"),
        (5, "day"),
        (100, "day"),
        (101, "week"),
        (700, "week"),
        (701, "month"),
        (4000, "month"),
    ],
)
def test_a_chart_has_no_more_bars_than_can_be_told_apart(days: int, bucket: str) -> None:
    assert Scope(text(T - dt.timedelta(days=days)), text(T)).bucket == bucket


def test_the_last_day_does_not_begin_before_the_period() -> None:
    assert Scope(text(T - dt.timedelta(hours=3)), text(T)).last_day == text(T - dt.timedelta(hours=3))
    assert Scope(text(T - dt.timedelta(days=3)), text(T)).last_day == text(T - dt.timedelta(days=1))


def test_rows_are_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    maker = Maker(path)
    for number in range(7):
        when = T + dt.timedelta(hours=number)
        maker.add(call(when, f"user{number}", "delete", target__effects="destructive"), text(when))
    found = tables(path, limit=3)["destructive"]
    assert (len(found.rows), found.total) == (3, 7)
    assert [row["user_id"] for row in found.rows] == ["user6", "user5", "user4"]
    assert found.rows[0]["seq"] == 7


def test_an_hour_slides_and_its_end_is_open(tmp_path: Path) -> None:
    """Three calls within an hour of two clock hours; a fourth exactly an hour after the first is not with it."""
    path = tmp_path / "audit.jsonl"
    maker = Maker(path)
    for minutes in (30, 50, 70, 90):
        when = T + dt.timedelta(minutes=minutes)
        maker.add(call(when, "ada", "read"), text(when))
    scope = SCOPE._replace(per_hour=2)
    [row] = tables(path, scope)["busy"].rows
    assert (row["most"], row["ended"], row["calls"]) == (3, T + dt.timedelta(minutes=70), 4)
    assert tables(path, SCOPE._replace(per_hour=3))["busy"].rows == []
