"""Every tile of every level is looked at, and blamed instead of the lines when it is at fault."""

import os
from pathlib import Path

import pytest

from indelible.trail import findings as words
from indelible.trail.checking.check import verify_trail
from tests.trails import VKEY, Maker, encode, operation
from tests.unit.trail.verify.sealed import EVENTS, directory, edit_lines, only

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"])
def test_a_removed_tile_is_missing_and_the_lines_still_agree(trail: Path, name: str) -> None:
    (directory(trail) / name).unlink()
    result = verify_trail(trail, VKEY)
    finding = only(result)
    assert (finding.problem, finding.file) == (words.TILE_MISSING, str(directory(trail) / name))
    assert result.events == EVENTS


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"])
@pytest.mark.parametrize("kind", ["link", "loop", "directory", "pipe"])
def test_what_is_no_plain_file_is_no_tile_and_said(trail: Path, name: str, kind: str) -> None:
    """A link may lead anywhere, also to a tile that is as it was: what was sealed here is not here any more."""
    tile = directory(trail) / name
    tile.rename(trail.with_name("kept"))
    if kind == "directory":
        tile.mkdir()
    elif kind == "pipe":
        os.mkfifo(tile)
    else:
        tile.symlink_to(trail.with_name("kept") if kind == "link" else tile.name)
    result = verify_trail(trail, VKEY)
    finding = only(result)
    assert (finding.problem, finding.file) == (words.TILE_MISSING, str(tile))
    is_link = kind in ("link", "loop")
    assert finding.found == ("a symbolic link, which is not followed" if is_link else "no plain file")
    assert result.events == EVENTS


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2"])
@pytest.mark.parametrize("garbage", [b"", b"x", bytes(32), bytes(8192)])
def test_a_tile_of_garbage_is_blamed_and_not_the_lines(trail: Path, name: str, garbage: bytes) -> None:
    (directory(trail) / name).write_bytes(garbage)
    result = verify_trail(trail, VKEY)
    assert only(result).file == str(directory(trail) / name)
    assert result.events == EVENTS


def test_a_line_and_a_tile_altered_are_told_apart(trail: Path) -> None:
    tile = directory(trail) / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    edit_lines(trail, lambda lines: lines.__setitem__(80, lines[80].replace(b"ada", b"eve")))
    result = verify_trail(trail, VKEY)
    assert [finding.problem for finding in result.findings] == [words.TILE_ALTERED, words.LINE_ALTERED]


def test_a_lingering_partial_tile_is_looked_at(trail: Path) -> None:
    stray = directory(trail) / "tile/0/002.p/10"
    good = (directory(trail) / "tile/0/002.p/188").read_bytes()[:320]
    stray.write_bytes(good)
    assert verify_trail(trail, VKEY).ok
    stray.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert only(verify_trail(trail, VKEY)).file == str(stray)
    for shorter in (b"", good[:-32], good[:-1]):
        stray.write_bytes(shorter)
        assert only(verify_trail(trail, VKEY)).file == str(stray)


def test_the_scale_of_a_real_trail_keeps_every_level(tmp_path: Path) -> None:
    """70,000 leaves: level 1 is full once and level 2 begins; a bit flipped there is found there."""
    maker = Maker(tmp_path / "audit.jsonl")
    body = encode(operation())
    lines = [
        b'{"seq":%d,"schema":1,"recorded_at":"2026-11-18T11:10:10.000000Z",' % seq + body[1:]
        for seq in range(1, 70_000)
    ]
    maker.raw(b"".join(line + b"\n" for line in lines))
    maker._waiting += lines
    maker.seal()
    assert verify_trail(maker.layout.active, VKEY).ok
    for name in ("tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/0/200"):
        path = maker.layout.directory / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert only(verify_trail(maker.layout.active, VKEY)).file == str(path)
        path.write_bytes(data)
