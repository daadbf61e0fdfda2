"""The writer's clock: steps are seen once, sleep and stopped processes are none, and time never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.config import AuditSettings
from indelible.events import format_time
from indelible.trail import sealer
from indelible.trail.clock import STEP_NS, TrailClock, last_seen
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer

from .faults import assert_sealed, read_all
from .test_writer import AUDIT, body

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_800_000_000 * SECOND


class World:
    """True time, and a clock on the wall that somebody sets."""

    def __init__(self) -> None:
        self.true = 5 * HOUR
        self.off = START

    def wall(self) -> int:
        return self.true + self.off

    def steady(self) -> int:
        return self.true

    def start(self, path: Path, audit: AuditSettings = AUDIT) -> Writer:
        return open_writer(path, audit, "test", clock=self.wall, steady=self.steady).writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def steps(path: Path) -> list[dict[str, Any]]:
    return [entry["metadata"] for entry in read_all(path) if entry["event_type"] == "clock_stepped"]


def lines(path: Path) -> list[tuple[str, str]]:
    """Return the names of calls and the types of other events, with `recorded_at`, and check that this never falls."""
    entries = read_all(path)
    times = [entry["recorded_at"] for entry in entries]
    assert times == sorted(times)
    assert [entry["seq"] for entry in entries] == list(range(len(entries)))
    names = [
        entry["event_id"] if entry["event_type"] == "mcp_operation" else entry["event_type"]
        for entry in entries
    ]
    return list(zip(names, times, strict=True))


@pytest.mark.parametrize("hours", [1, -1])
def test_a_step_is_recorded_once_before_the_first_event_that_it_concerns(path: Path, hours: int) -> None:
    world = World()
    writer = world.start(path)
    writer.append(body("before"))
    world.true += 10 * SECOND
    world.off += hours * HOUR
    writer.append(body("after"))
    world.true += 10 * SECOND
    writer.append(body("later"))
    writer.close()
    [about] = steps(path)
    assert about == {
        "from": format_time(START + 5 * HOUR + 10 * SECOND),
        "to": format_time(START + 5 * HOUR + 10 * SECOND + hours * HOUR),
        "step_s": hours * 3600.0,
    }
    names = [name for name, _ in lines(path)]
    assert names[-5:] == ["before", "clock_stepped", "after", "later", "audit_stopped"]
    assert_sealed(path, read_all(path))


def test_after_a_step_back_time_stands_still_where_the_clock_would_be(path: Path) -> None:
    world = World()
    writer = world.start(path)
    writer.append(body("before"))
    world.true += 600 * SECOND
    ahead = world.wall()
    world.off -= HOUR
    writer.append(body("at once"))
    world.true += HOUR - SECOND
    writer.append(body("still"))
    world.true += 2 * SECOND
    writer.append(body("on"))
    writer.close()
    found = dict(lines(path))
    assert found["at once"] == found["still"] == format_time(ahead)
    assert found["on"] == format_time(ahead + SECOND)


def test_an_idle_trail_says_it_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "LOOK_S", 0.01)
    world = World()
    writer = world.start(path)
    world.off -= HOUR
    wait(lambda: b'"clock_stepped"' in path.read_bytes())
    writer.close()
    assert len(steps(path)) == 1


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_sleep_is_no_step(path: Path) -> None:
    world = World()
    writer = world.start(path)
    world.true += 9 * HOUR  # CLOCK_BOOTTIME counts it
    writer.append(body("awake"))
    writer.close()
    assert steps(path) == []
    assert dict(lines(path))["awake"] == format_time(START + 14 * HOUR)


def test_a_process_that_is_stopped_between_two_readings_has_seen_no_step() -> None:
    world = World()
    stopped: list[int] = []

    def wall() -> int:
        now = world.wall()
        if stopped:
            world.true += stopped.pop()
        return now

    clock = TrailClock("", wall, world.steady)
    for length in (3 * SECOND, HOUR):
        stopped.append(length)
        before = clock.tick()
        assert clock.tick() >= before
    assert clock.steps == []
    assert clock.tick().decode() == format_time(world.wall())


@given(drifts=st.lists(st.integers(-STEP_NS, STEP_NS), max_size=50))
def test_small_ones_are_none_and_nothing_shown_is_ever_later_than_what_is_recorded(drifts: list[int]) -> None:
    world = World()
    clock = TrailClock("", world.wall, world.steady)
    shown = 0
    for drift in drifts:
        shown = max(shown, world.wall())
        world.true += SECOND
        world.off += drift
        clock.look()
        assert clock.tick().decode() >= format_time(shown)
    assert clock.steps == []


# --- between two runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_a_step_back_between_two_runs_is_recorded_by_the_second_and_no_other(path: Path, clean: bool) -> None:
    world = World()
    writer = world.start(path)
    writer.append(body("first"))
    end(writer, clean=clean)
    seen = world.wall()
    world.off -= HOUR
    for run in range(3):
        world.true += 60 * SECOND
        writer = world.start(path)
        writer.append(body(f"run {run}"))
        end(writer, clean=clean)
    [about] = steps(path)
    assert about["between_runs"]
    assert about["from"] == format_time(seen)
    assert about["to"] == format_time(seen - HOUR + 60 * SECOND)
    lines(path)


def end(writer: Writer, *, clean: bool) -> None:
    """Close a trail, or leave it as kill -9 does."""
    if clean:
        writer.close()
        return
    writer._sealer.stop()
    writer._trail_lock.release()


def test_it_is_known_after_a_rotation_too(path: Path) -> None:
    world = World()
    audit = AuditSettings(max_size=2_000, backup_count=100)
    world.start(path, audit).close()
    world.off -= HOUR
    for run in range(4):
        writer = world.start(path, audit)
        for number in range(20):
            writer.append(body(f"{run}-{number}"))
        writer.close()
        world.true += SECOND
    assert len(steps(path)) == 1


def test_a_second_step_back_while_time_stands_still_is_another(path: Path) -> None:
    world = World()
    world.start(path).close()
    for _ in range(2):
        world.off -= HOUR
        world.start(path).close()
    assert [about["step_s"] for about in steps(path)] == [-3600.0, -3600.0]


def test_what_the_last_clock_was_needs_a_trail(tmp_path: Path) -> None:
    assert (
        last_seen(Layout(tmp_path / "audit.jsonl"), "2026-01-01T00:00:00.000000Z")
        == "2026-01-01T00:00:00.000000Z"
    )


def test_heartbeats_and_checkpoints_do_not_hang_on_the_wall_clock(path: Path) -> None:
    writer = open_writer(
        path, AuditSettings(heartbeat=0.02), "test", clock=lambda: START, steady=lambda: 0
    ).writer
    wait(lambda: path.read_bytes().count(b'"audit_heartbeat"') > 2)
    writer.append(body("one"))
    size = writer.size
    wait(lambda: writer.sealed >= size)
    writer.close()
