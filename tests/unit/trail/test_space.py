"""How full a disk is, what is said of it, and the reserve: sizes beyond a float's, quotas, what a crash can leave."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.config import AuditSettings, parse
from indelible.errors import ConfigError, TrailUnavailable
from indelible.trail import space
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.space import Level, Space, Usage
from indelible.trail.start.opening import open_writer

from .faults import assert_sealed, read_all
from .test_writer import body

THRESHOLDS = (75.0, 90.0, 95.0)
HUGE = 2**63


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "audit.jsonl")
    found.directory.mkdir()
    return found


def used(percent: float, total: int = 10**9) -> Usage:
    part = round(total * percent / 100)
    return Usage("bytes", part, total - part)


# --- thresholds ---------------------------------------------------------------------------------------------


def test_a_jump_passes_each_threshold_once_and_a_fall_is_said_once() -> None:
    level = Level(THRESHOLDS)
    assert level.take(used(10)) == []
    assert level.take(used(96)) == [("above", 75.0), ("above", 90.0), ("above", 95.0)]
    assert level.at_last
    assert level.take(used(99)) == []
    assert level.take(used(92)) == [("below", 95.0)]
    assert level.take(used(20)) == [("below", 75.0)]
    assert level.take(used(75)) == [("above", 75.0)]


@given(
    parts=st.lists(st.floats(0, 100), max_size=60),
    thresholds=st.lists(st.floats(0.1, 100), max_size=5, unique=True).map(sorted),
)
def test_what_is_said_is_true_and_nothing_is_said_twice(parts: list[float], thresholds: list[float]) -> None:
    level = Level(tuple(thresholds))
    above: list[float] = []
    for part in parts:
        usage = used(part)
        for side, threshold in level.take(usage):
            if side == "above":
                assert usage.at_least(threshold)
                assert threshold not in above
                above.append(threshold)
            else:
                assert not usage.at_least(threshold)
                assert threshold in above
                above = [other for other in above if other < threshold]
        assert above == thresholds[: level.passed]
        assert all(other in above for other in thresholds if usage.at_least(other))


@given(about=st.floats(-0.49, 0.49), turns=st.integers(1, 30), threshold=st.sampled_from(THRESHOLDS))
def test_what_flaps_about_a_threshold_is_said_once(about: float, turns: int, threshold: float) -> None:
    level = Level((threshold,))
    said = [level.take(used(threshold + side * abs(about))) for side in (1, -1) * turns]
    assert sum(map(len, said)) == 1


def test_sizes_beyond_what_a_float_holds() -> None:
    total = 2**70
    edge = total * 95 // 100
    assert Usage("bytes", edge + 1, total - edge - 1).at_least(95)
    assert not Usage("bytes", edge - 1, total - edge + 1).at_least(95)
    assert not Usage("bytes", 0, 0).at_least(1)


def test_the_scarcer_of_bytes_and_inodes_counts_and_blocks_for_root_are_no_room(tmp_path: Path) -> None:
    def disk(**fields: int) -> os.statvfs_result:
        names = ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "flag", "namemax")
        return os.statvfs_result([fields.get(name, 4096) for name in names])

    bytes_short = disk(blocks=1000, bfree=100, bavail=50, files=100, ffree=90, favail=90)
    inodes_short = disk(blocks=1000, bfree=900, bavail=900, files=100, ffree=4, favail=4)
    no_inodes = disk(blocks=1000, bfree=500, bavail=500, files=0, ffree=0, favail=0)
    with mock.patch.object(os, "statvfs", side_effect=[bytes_short, inodes_short, no_inodes]):
        assert space.measure(tmp_path) == Usage("bytes", 900 * 4096, 50 * 4096)
        assert space.measure(tmp_path) == Usage("inodes", 96, 4)
        assert space.measure(tmp_path).of == "bytes"


# --- what alerts say ----------------------------------------------------------------------------------------


def test_an_alert_holds_no_number_that_readers_cannot(layout: Layout) -> None:
    watched = Space(layout, THRESHOLDS, Access(), usage=lambda _: Usage("bytes", HUGE, HUGE // 4))
    [about] = watched.look()
    assert about["used"] == about["free"] // 1 == 2**53 - 1
    assert (about["disk"], about["threshold"], about["used_percent"]) == ("above", 75.0, 80.0)


def test_what_was_said_is_not_said_by_the_next(layout: Layout) -> None:
    for parts, said in (((80, 92), 2), ((92,), 0), ((10,), 1), ((10,), 0)):
        found = []
        watched = Space(layout, THRESHOLDS, Access())
        for part in parts:
            watched._usage = lambda _, part=part: used(part)  # type: ignore[misc]
            found += watched.look()
            watched.remember()
        assert len(found) == said


@pytest.mark.parametrize("content", [b"", b"[]", b'{"above": 7}', b"\xff\x00", b'{"above": ["75"]}'])
def test_what_is_remembered_is_not_believed(layout: Layout, content: bytes) -> None:
    layout.disk.write_bytes(content)
    assert len(Space(layout, THRESHOLDS, Access(), usage=lambda _: used(80)).look()) == 1


# --- the reserve --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [None, b"", b"x" * 1000])
def test_a_reserve_that_a_crash_left_is_made_whole(layout: Layout, left: bytes | None) -> None:
    if left is not None:
        layout.reserve.write_bytes(left)
    assert space.make_reserve(layout, Access()) == 0
    about = layout.reserve.stat()
    assert about.st_size == about.st_blocks * 512 == space.RESERVE_BYTES
    assert about.st_mode & 0o077 == 0 or left is not None


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_allocate_is_written_to(layout: Layout, code: int) -> None:
    with mock.patch.object(os, "posix_fallocate", side_effect=OSError(code, "no such thing")):
        assert space.make_reserve(layout, Access()) == 0
    data = layout.reserve.read_bytes()
    assert len(data) == space.RESERVE_BYTES
    assert len(set(data)) > 200, "zeros are nothing where data is compressed"


@pytest.mark.parametrize("what", ["directory", "link"])
def test_something_else_in_its_place_is_left_alone_and_stops_nothing(
    layout: Layout, tmp_path: Path, what: str
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    if what == "directory":
        layout.reserve.mkdir()
    else:
        layout.reserve.symlink_to(mine)
    watched = Space(layout, THRESHOLDS, Access())
    watched.look()
    assert watched.full is None
    assert mine.read_bytes() == b"mine"


def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path: Path) -> None:
    """No threshold sees a quota: what the system says when it writes is all there is."""
    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, AuditSettings(), "test").writer
    writer.append(body("before"))
    quota = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    with mock.patch.object(os, "posix_fallocate", side_effect=quota):
        assert writer.make_room(quota)
        left = layout_of(path).reserve
        assert not left.exists() or not left.stat().st_size
        with pytest.raises(TrailUnavailable, match="Disk quota exceeded"):
            writer.append(body("refused"))
        writer.close()
    kinds = [entry["event_id"] if entry["event_type"] == "mcp_operation" else "" for entry in read_all(path)]
    assert [kind for kind in kinds if kind] == ["before"]
    assert read_all(path)[-1]["event_type"] == "audit_stopped"
    assert_sealed(path, read_all(path))


def layout_of(path: Path) -> Layout:
    return Layout(path)


def test_a_clean_end_leaves_no_reserve_where_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = open_writer(path, AuditSettings(disk_thresholds=()), "test").writer
    assert layout_of(path).reserve.stat().st_size == space.RESERVE_BYTES
    writer.close()
    assert not layout_of(path).reserve.exists()


# --- the configuration --------------------------------------------------------------------------------------


def settings(value: Any) -> tuple[float, ...]:
    return parse({"audit": {"disk_thresholds": value}}, where="test", env={}).audit.disk_thresholds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([75, 90, 95], (75.0, 90.0, 95.0)), ("80%, 97.5 %", (80.0, 97.5)), (50, (50.0,)), ([], ()), (0, ()),
        ("none", ()), (None, ()),
    ],
)  # fmt: skip
def test_thresholds_are_read(value: Any, expected: tuple[float, ...]) -> None:
    assert settings(value) == expected


@pytest.mark.parametrize(
    "value", [[90, 75], [75, 75], [101], [-1], [True], "many", {"at": 5}, [[75]], float("nan")]
)
def test_thresholds_that_make_no_sense_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"audit.disk_thresholds: expected percentages that rise.*, found"):
        settings(value)


def test_defaults_rise() -> None:
    defaults = AuditSettings().disk_thresholds
    assert all(low < high for low, high in itertools.pairwise(defaults))
