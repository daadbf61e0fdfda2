"""Checkpoints whose making fails, late or early, and what may become of the lines meanwhile: none forks the trail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from indelible import verify
from indelible.config import AuditSettings
from indelible.errors import TrailUnavailable
from indelible.trail import durable, seal, switch
from indelible.trail import findings as words
from indelible.trail.active import ActiveFile
from indelible.trail.layout import Layout
from indelible.trail.proofs import checkpoint
from indelible.trail.proofs.checkpoint import Checkpoint
from indelible.trail.sealer import Sealer
from indelible.trail.start import recovery
from indelible.trail.unsealed import Pending
from indelible.trail.writer import Writer

from .faults import assert_sealed, read_all, without_threads
from .test_unsealed import BROKEN, FULL
from .test_writer import body, start

LINES = (20, 300, 600)
"""So that tiles are left that are partial, or full, at the tree's edge and beyond it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def kept(path: Path) -> Checkpoint:
    """What somebody who copies the checkpoint now has."""
    layout = Layout(path)
    key = checkpoint.parse_vkey(layout.vkey.read_text())
    return checkpoint.parse(checkpoint.open_note(layout.checkpoint.read_bytes(), [key]))


def assert_extends(path: Path, before: Checkpoint) -> None:
    now = kept(path)
    assert now.size >= before.size
    assert recovery._root_at(Layout(path), now, before.size) == before.root, "forked"


def with_a_file_of_its_own(path: Path, count: int) -> Writer:
    """Return a writer whose active file holds so many lines that no checkpoint covers, and no other."""
    writer = start(path)
    writer.append(body("a"))
    writer.seal()
    writer.rotate()
    for number in range(count):
        writer.append(body(str(number)))
    return writer


def fails(real: Callable[..., object], *, late: bool) -> Callable[..., None]:
    def failing(*args: Any, **options: Any) -> None:
        if late:
            real(*args, **options)
        raise BROKEN

    return failing


@pytest.mark.parametrize("count", LINES)
@pytest.mark.parametrize("late", [True, False])
def test_a_checkpoint_that_is_in_place_though_its_making_failed_stays_true(
    path: Path, count: int, late: bool
) -> None:
    """Somebody removes the file in between: what no checkpoint covers is written again, with another first line."""
    with without_threads():
        writer = with_a_file_of_its_own(path, count)
        before = kept(path).size
        failing = fails(durable.replace_file, late=late)
        with mock.patch.object(durable, "replace_file", failing), pytest.raises(OSError, match="Input"):
            writer.seal()
        published = kept(path)
        assert (published.size > before) == late
        path.unlink()
        with pytest.raises(OSError, match="removed or replaced"):
            writer.seal()
        writer.append(body("b"))
        writer.seal()
        assert_extends(path, published)
        for number in range(600):
            writer.append(body(f"more{number}"))
        writer.close()
    assert_extends(path, published)
    result = verify(path)
    if late:  # what it covers was in the file that is gone
        assert {finding.problem for finding in result.findings} <= {words.FILE_MISSING, words.LINE_MISSING}
        assert published.size <= min(entry["seq"] for entry in lines_of_active(path))
    else:
        assert result.ok, result.findings
        assert_sealed(path, read_all(path))


def lines_of_active(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("count", LINES)
def test_a_switch_while_a_checkpoint_is_made_changes_none_of_its_lines(path: Path, count: int) -> None:
    with without_threads():
        writer = with_a_file_of_its_own(path, count)
        write_tiles = seal.write_tiles

        def meanwhile(*args: Any) -> None:
            write_tiles(*args)
            path.unlink()
            with mock.patch.object(ActiveFile, "put", side_effect=FULL), pytest.raises(TrailUnavailable):
                writer.append(body("no"))
            writer.try_again()
            writer.append(body("meanwhile"))

        with mock.patch.object(seal, "write_tiles", meanwhile):
            writer.seal()
        published = kept(path)
        writer.append(body("after"))
        writer.close()
    assert_extends(path, published)
    entries = lines_of_active(path)
    assert [entry["seq"] for entry in entries] == list(range(published.size, published.size + len(entries)))
    assert {"meanwhile", "after"} <= {entry["event_id"] for entry in entries}
    problems = {finding.problem for finding in verify(path).findings}
    assert problems <= {words.FILE_MISSING, words.LINE_MISSING}


@pytest.mark.parametrize("count", LINES)
def test_attempts_that_fail_leave_no_tile_that_contradicts_what_was_written_since(
    path: Path, count: int
) -> None:
    """Each of several attempts; the lines are written anew after each, since the file goes."""
    with without_threads():
        writer = with_a_file_of_its_own(path, count)
        failing = fails(seal.write_checkpoint, late=False)
        for number in range(3):
            with mock.patch.object(seal, "write_checkpoint", failing), pytest.raises(OSError, match="Input"):
                writer.seal()
            path.unlink()
            with pytest.raises(OSError, match="removed or replaced"):
                writer.seal()
            writer.append(body(f"b{number}"))
        writer.seal()
        assert verify(path).ok
        for number in range(600):
            writer.append(body(f"more{number}"))
        writer.close()
    assert_sealed(path, read_all(path))
    assert verify(path).ok


def test_what_a_failed_commit_takes_from_under_a_checkpoint_leaves_no_line_unsealed(path: Path) -> None:
    """Who asked for the checkpoint relies on it, and nobody may ever append again."""
    with without_threads():
        writer = start(path, AuditSettings(durability="disk"))
        writer.seal()
        writer.append(body("safe"))
        found: list[Pending | None] = []

        def sync(*_: object) -> None:
            found.append(writer.take_pending())
            raise BROKEN

        with (
            mock.patch.object(ActiveFile, "sync", sync),
            mock.patch.object(switch, "switch", side_effect=BROKEN),
            pytest.raises(TrailUnavailable),
        ):
            writer.append(body("dropped"))
        writer.try_again()
        take = writer.take_pending

        def early(**how: bool) -> Pending | None:
            return found.pop() if found else take(**how)

        with mock.patch.object(writer, "take_pending", early), mock.patch.object(Sealer, "_sync"):
            writer.seal()
        assert not found
        assert writer.sealed == writer.size
        writer.close()
    found_names = [entry["event_id"] for entry in read_all(path)]
    assert "safe" in found_names
    assert "dropped" not in found_names
    assert verify(path).ok
