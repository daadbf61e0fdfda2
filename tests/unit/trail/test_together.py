"""Where erasure, holds, retention, a new key, restored trails and a full disk meet in one trail."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from indelible.config import AuditSettings, Bound, Retention
from indelible.errors import TrailUnavailable
from indelible.trail import durable
from indelible.trail.checking.check import verify_trail
from indelible.trail.layout import Layout
from indelible.trail.sealer import Sealer
from indelible.trail.space import Usage
from indelible.trail.start import restore
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep import erase as erase_module
from indelible.trail.upkeep.erase import erase
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.housekeeping import Housekeeper
from indelible.trail.upkeep.manage import execute
from indelible.trail.upkeep.orders import AddHold, Asker, ReleaseHold, Retain
from indelible.trail.writer import Writer
from tests.erasing import GONE, STAYS, body, call, leaves_of, lines_of, order, places_with

from .faults import die
from .test_rotation import put_in_front

AUDIT = AuditSettings(max_size=2_500, backup_count=1_000, retention=None, write_timeout=0.5)
ROOT = Asker(0, 1)
CALLS = 12
EVERYTHING = Retention(default=Bound(age=0.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live" / "audit.jsonl"


def begin(path: Path, audit: AuditSettings = AUDIT) -> Writer:
    return open_writer(path, audit, "test").writer


def fill(writer: Writer, first: int = 0) -> Writer:
    """Record calls of somebody who is to be erased among others', over several files."""
    for number in range(first, first + CALLS):
        call(writer, f"call{number}", GONE if number % 3 == 1 else STAYS)
    writer.seal()
    return writer


def hold(**about: Any) -> Hold:
    return Hold(id=uuid.uuid4().hex[:12], **about)


def place(writer: Writer, about: Hold) -> None:
    execute(writer, AddHold(hold=about))


def entries(path: Path, kind: str) -> list[dict[str, Any]]:
    found = (json.loads(line) for line in lines_of(path))
    return [entry["metadata"] for entry in found if entry.get("event_type") == kind]


def check_ok(path: Path, **how: Any) -> Any:
    result = verify_trail(path, **how)
    assert result.ok, [str(finding) for finding in result.findings]
    return result


def fill_disk(writer: Writer) -> None:
    """The disk is above the last threshold, for all that the writer can see."""
    writer._space._usage = lambda _: Usage("bytes", 99, 1)
    writer.look()
    with pytest.raises(TrailUnavailable):
        writer.append(body("refused", STAYS))


# --- a new key -------------------------------------------------------------------------------------------------


class Cut(BaseException):
    """The process dies here."""


def cut_erasure(writer: Writer, where: str) -> None:
    def die_here(*_: Any) -> None:
        raise Cut

    with mock.patch.object(erase_module, where, die_here), pytest.raises(Cut):
        erase(writer, order(), ROOT)


@pytest.mark.parametrize("where", ["_record", "_go"])
@pytest.mark.parametrize("overlap_s", [0.0, 3600.0])
def test_an_erasure_that_was_cut_off_is_finished_under_the_next_key(
    path: Path, where: str, overlap_s: float
) -> None:
    # Nobody gets to the erasure before the old key's time is over.
    with mock.patch.object(Housekeeper, "sealed"), mock.patch.object(Sealer, "start"):
        writer = fill(begin(path))
        before = leaves_of(path)
        cut_erasure(writer, where)
        die(path.parent)
        put_in_front(writer.layout, overlap_s)
        writer = begin(path)
        for name in ("more", "still more"):
            writer.append(body(name, STAYS))
            writer.seal()
        die(path.parent)
    assert (Layout(path).directory / "erasing").exists()
    begin(path).close()
    assert places_with(path.parent) == []
    assert leaves_of(path)[: len(before)] == before
    check_ok(path)
    assert len(entries(path, "entry_erased")) == 1


# --- a full disk -----------------------------------------------------------------------------------------------


def test_a_full_disk_stops_no_order(path: Path) -> None:
    writer = fill(begin(path))
    call(writer, "young", GONE)
    fill_disk(writer)
    old = writer.layout.vkey.read_text()
    put_in_front(writer.layout)
    writer.seal()
    assert writer.layout.vkey.read_text() != old
    about = hold(user=STAYS)
    place(writer, about)
    result = execute(writer, order())
    assert result["lines"]
    assert places_with(path.parent) == []
    execute(writer, ReleaseHold(id=about.id, reason="over", request="request"))
    done = execute(writer, Retain(retention=EVERYTHING, backup_count=0))
    assert done["deleted_files"]
    writer._space._usage = lambda _: Usage("bytes", 10, 90)
    writer.look()
    writer.append(body("taken", STAYS))
    assert writer.layout.reserve.exists()
    writer.close()
    check_ok(path)


def test_a_disk_without_any_room_stops_no_deletion(path: Path) -> None:
    """What is written for convenience only must not keep files that would give room."""
    real = durable.replace_file

    def no_room(target: Path, *args: Any, **kwargs: Any) -> None:
        if target.parent.name == "facts" or target.name == "holds":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real(target, *args, **kwargs)

    with mock.patch.object(Housekeeper, "sealed"):
        writer = fill(begin(path))
        place(writer, hold(session="canary-call1-session"))
        rules = Retention(default=Bound(age=0.0), classes={"mcp_operation": Bound(age=0.0)})
        with mock.patch.object(durable, "replace_file", no_room):
            done = execute(writer, Retain(retention=rules, backup_count=0))
        writer.close()
    assert done["deleted_files"]
    check_ok(path)


# --- restored trails -------------------------------------------------------------------------------------------


def test_a_hold_of_a_trail_that_a_restore_replaces_stands(path: Path, tmp_path: Path) -> None:
    writer = fill(begin(path))
    writer.close()
    backup = tmp_path / "backup"
    shutil.copytree(path.parent, backup, symlinks=True)
    writer = begin(path)
    place(writer, hold(user=GONE))
    fill(writer, CALLS).close()
    restore.restore(restore.plan(backup / path.name, path, replace=True), AUDIT)
    writer = begin(path)
    result = execute(writer, order())
    assert result["refused"] == "held"
    execute(writer, Retain(retention=EVERYTHING, backup_count=0))
    writer.close()
    check_ok(path)
    writer = begin(path)
    assert len(writer.housekeeper.holds.standing) == 1
    [placed] = writer.housekeeper.holds.standing
    execute(writer, ReleaseHold(id=placed, reason="over", request="request"))
    call(writer, "young", GONE)
    assert execute(writer, order())["of_earlier_trails"]
    writer.close()
    assert places_with(path.parent) == []
    check_ok(path)
