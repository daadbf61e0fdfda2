"""What stands in a trail's files and is no writer's: nobody stumbles over it, and nothing of it is thrown away."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import zstandard

import indelible
from indelible.config import AuditSettings
from indelible.errors import ConfigError, TrailCorrupt, TrailError
from indelible.query.state import trail_state
from indelible.trail import durable, files, packed, switch
from indelible.trail.checking.check import verify_trail
from indelible.trail.entry import pruned_in
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint
from indelible.trail.proofs.merkle import TileTree
from indelible.trail.reader import Lines, Snapshot, trails_at
from indelible.trail.sealer import Sealer
from indelible.trail.sharing.sidetrails import Sweeper
from indelible.trail.upkeep.housekeeping import Housekeeper
from tests.trails import ORIGIN, SIGNER, Maker

from .faults import read_all
from .test_writer import body, crash, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_arguments_that_look_like_a_start_hide_no_open_call(path: Path) -> None:
    writer = start(path, AuditSettings(max_size=1000, backup_count=100))
    writer.append(body("i0", "mcp_operation_started"), opens="i0")
    for number in range(9):
        writer.append(body(f"e{number}", request={"args": {"event_type": "audit_started"}}, padding="x" * 300))
    writer.seal()
    crash(path, writer)
    assert len(files.segments(Layout(path))) > 2
    Layout(path).state.unlink()
    start(path).close()
    interrupted = [e for e in read_all(path) if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == ["i0"]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        "x",
        {},
        {"pruned": 7},
        {"pruned": {"a": 1}},
        {"pruned": [7, [1], [1, 2, 3], ["1", 2], [None, 2], {}]},
    ],
)
def test_deleted_ranges_in_another_form_are_none(metadata: Any) -> None:
    assert pruned_in({"event_type": "file_opened", "metadata": metadata}) == []
    assert pruned_in({"event_type": "mcp_operation", "metadata": {"pruned": [[1, 2]]}}) == []
    good = {"event_type": "retention_applied", "metadata": {"pruned": [[1, 2], "x", [5, 9]]}}
    assert pruned_in(good) == [(1, 2), (5, 9)]


def test_a_start_goes_past_deleted_ranges_in_another_form(path: Path) -> None:
    writer = start(path)
    writer.append(body("a"))
    writer.seal()
    crash(path, writer)
    Layout(path).state.unlink()
    path.write_bytes(path.read_bytes().replace(b'"pruned":[]', b'"pruned":7', 1))
    start(path).close()
    assert [finding.seq for finding in verify_trail(path).findings] == [0]


@pytest.mark.parametrize("time", [b"2026-99-99T99:99:99.999999Z", b"2026-01-01T00:00:00.0000000"])
def test_a_closed_file_whose_age_nobody_can_tell_is_kept(path: Path, time: bytes) -> None:
    with (
        mock.patch.object(Housekeeper, "sealed"),
        mock.patch.object(Housekeeper, "rotated"),
    ):  # it looks when asked
        writer = start(path, AuditSettings(max_size=1000, backup_count=0, retention=0.0))
        for number in range(9):
            writer.append(body(f"e{number}", padding="x" * 300))
        writer.seal()
        closed = files.segments(Layout(path))
        second = closed[1].path
        data = second.read_bytes()
        at = data.index(b'"recorded_at":"') + len(b'"recorded_at":"')
        second.write_bytes(data[:at] + time + data[at + len(time) :])
        writer._housekeeper.prune()
        left = files.segments(Layout(path))
        assert left[0] == closed[0]  # nobody can tell when it ended
        assert not {file.path for file in closed[1:]} & {file.path for file in left}
        writer.seal()
        second.write_bytes(data)  # on record as deleted, and there again
        writer._housekeeper.prune()
        assert not second.exists()
        assert not {file.path for file in closed} & {file.path for file in files.segments(Layout(path))}
        writer.close()


def test_a_directory_that_cannot_be_searched_for_side_trails_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.object(
        files, "trails_in", side_effect=PermissionError(13, "Permission denied", str(path.parent))
    ):
        Sweeper(path, AuditSettings()).stop()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "Permission denied" in record.message


def test_what_took_a_cut_files_place_before_the_new_one_did_is_kept(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):  # nothing is sealed yet: all of the file goes
        writer = start(path)
    writer._housekeeper.close()
    for name in ("a", "b"):
        writer.append(body(name))
    with (
        mock.patch.object(
            durable, "datasync", side_effect=chain([OSError(5, "Input/output error")], repeat(None))
        ),
        mock.patch.object(switch, "settle", side_effect=OSError(5, "Input/output error")),
        mock.patch.object(writer, "close"),
        pytest.raises(OSError, match="Input"),
    ):
        writer.seal()
    crash(path, writer)
    assert Layout(path).next.exists()
    assert not path.exists()
    path.write_bytes(b"somebody's own, without a line feed")
    start(path).close()
    names = [entry["event_id"] for entry in read_all(path) if entry["event_type"] == "mcp_operation"]
    assert names == ["a", "b"]
    (kept,) = Layout(path).quarantine.iterdir()
    assert kept.read_bytes() == b"somebody's own, without a line feed"


@pytest.mark.parametrize("name", ["x999/x999/x999/999", "x001/x000/000.p/7", "x²²²/000", "²²²", "x999"])
def test_a_name_among_the_tiles_makes_no_trail_larger_than_its_tiles(path: Path, name: str) -> None:
    maker = Maker(path).add_many(300).seal()
    maker.layout.checkpoint.unlink()
    expected = [str(finding) for finding in verify_trail(path).findings]
    place = maker.layout.tiles / "0" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    found = verify_trail(path)
    assert expected == [str(finding) for finding in found.findings][: len(expected)]
    assert len(found.findings) <= len(expected) + 8


def test_a_size_that_nobody_signed_is_believed_no_further_than_the_tiles_go(path: Path) -> None:
    maker = Maker(path).add_many(9).seal()
    huge, row = 256**4 + 1, b"x" * 32
    tree = TileTree.from_edge(huge, [[row], [], [], [], [row]])
    for tile in tree.partial_tiles():
        maker.write_tile(tile)
    maker.layout.checkpoint.write_text(
        SIGNER.sign(Checkpoint(ORIGIN, huge, tree.root()).text())[:-9] + "AAAAAAA=\n"
    )
    assert "checkpoint invalid" in [finding.problem for finding in verify_trail(path).findings]


@pytest.mark.parametrize(
    "look", [indelible.verify, lambda path: list(indelible.search(path))], ids=["verify", "search"]
)
def test_a_path_that_cannot_be_one_is_an_error_of_ours(tmp_path: Path, look: Callable[[Path], Any]) -> None:
    with pytest.raises(TrailError, match="File name too long"):
        look(tmp_path / ("a" * 300))


def damaged(kind: str, content: bytes) -> bytes:
    whole = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return {
        "empty": b"",
        "no frame": b"x" * 100,
        "header only": whole[:6],
        "cut": whole[: len(whole) // 2],
        "end missing": whole[:-5],
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "no frame", "header only", "cut", "end missing"])
def test_a_damaged_compressed_file_is_said_to_be_on_both_sides(path: Path, kind: str) -> None:
    maker = Maker(path).add_many(50)
    closed = maker.rotate(compress=True)
    maker.add_many(3).seal()
    plain = zstandard.ZstdDecompressor().decompress(closed.read_bytes())
    closed.write_bytes(damaged(kind, plain))
    with pytest.raises(
        TrailCorrupt, match=rf"{closed.name}: cannot be decompressed: .*'indelible verify' says more"
    ):
        files.end_of_compressed(files.segments(maker.layout)[0])
    with (
        Snapshot(maker.layout) as snapshot,
        snapshot.files[0].open() as stream,
        pytest.raises(TrailCorrupt, match=r"^cannot be decompressed: (?!.*says more)"),
    ):
        list(Lines(stream))
    result = verify_trail(path)
    assert ("file unreadable", str(closed)) in [(finding.problem, finding.file) for finding in result.findings]
    state = trail_state(path)
    assert (state["oldest"], state["events"]) == (None, maker.seq)


def test_a_compressed_file_of_several_frames_is_read_whole(tmp_path: Path) -> None:
    lines = [b"line %d\n" % number for number in range(10)]
    file = tmp_path / "packed.zst"
    file.write_bytes(b"".join(zstandard.ZstdCompressor().compress(line) for line in lines))
    with packed.unpack(file.open("rb")) as stream:
        assert stream.readall() == b"".join(lines)


@pytest.mark.parametrize("pack", [zstandard.ZstdCompressor().compress, gzip.compress])
def test_a_compressed_file_is_no_trail_to_name(path: Path, pack: Callable[[bytes], bytes]) -> None:
    """As lines its bytes are none, and an empty answer would be a wrong one."""
    maker = Maker(path).add_many(3)
    packed_file = path.with_name("old.jsonl.packed")
    packed_file.write_bytes(pack(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"old\.jsonl\.packed: a compressed file.*log --from FILE"):
        trails_at(packed_file, named=True)
    link = path.with_name("link")
    link.symlink_to(packed_file)
    with pytest.raises(ConfigError, match="a compressed file"):
        trails_at(link, named=True)
    maker.rotate(compress=True)
    assert trails_at(path, named=True) == [path]
    assert trails_at(path.parent, named=True) == [path]
    os.mkfifo(pipe := path.with_name("pipe"))
    assert trails_at(pipe, named=True) == [pipe]
