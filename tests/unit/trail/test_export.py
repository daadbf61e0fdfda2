"""A trail laid out as a C2SP tlog-tiles log; that others accept it is shown in tests/judges."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from unittest import mock

import pytest

from indelible.errors import ConfigError, NotProven, TrailCorrupt, TrailError
from indelible.trail.proofs import export
from indelible.trail.proofs.export import LeftOut, export_tiles
from tests.judges import tiles
from tests.trails import Maker, erased
from tests.unit.trail.verify.sealed import edit_lines


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "t" / "audit.jsonl").add_many(300)
    maker.rotate(compress=True)
    maker.add_many(300).rotate()
    return maker.add_many(100).seal().add_many(3)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_what_the_judges_lay_out_from_the_lines(maker: Maker, log: Path, tmp_path: Path) -> None:
    exported = export_tiles(maker.layout.active, log)
    assert (exported.size, exported.bundles, exported.left_out) == (703, 3, [])
    tiles.export(maker.layout.active, tmp_path / "judges")
    assert content(log) == content(tmp_path / "judges")
    assert exported.tiles + exported.bundles + 1 == len(content(log))


def test_it_is_as_private_as_the_trail(maker: Maker, log: Path) -> None:
    export_tiles(maker.layout.active, log)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [log, *log.rglob("*")]}
    assert modes == {0o600, 0o700}


def test_an_empty_directory_is_taken_and_any_other_refused(maker: Maker, log: Path, tmp_path: Path) -> None:
    log.mkdir()
    export_tiles(maker.layout.active, log)
    for target, why in (
        (log, "not empty"),
        (maker.layout.active, "no directory"),
        (tmp_path / "a" / "b", "cannot be made"),
    ):
        before = content(tmp_path)
        with pytest.raises(ConfigError, match=why):
            export_tiles(maker.layout.active, target)
        assert content(tmp_path) == before


@pytest.mark.parametrize("at", [0, 1, 3, 4, 6, 7])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_cut_off_is_taken_away(maker: Maker, log: Path, at: int, error: BaseException) -> None:
    real, calls = export._write, []

    def write(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) > at:
            raise error
        real(path, data)

    expected = TrailError if isinstance(error, OSError) else KeyboardInterrupt
    with mock.patch.object(export, "_write", write), pytest.raises(expected):
        export_tiles(maker.layout.active, log)
    assert not log.exists()


def test_the_checkpoint_comes_last(maker: Maker, log: Path) -> None:
    """What kill -9 leaves behind has none, so nobody takes it for a log; the next export says so."""
    order: list[str] = []
    real = export._write

    def write(path: Path, data: bytes) -> None:
        assert not (log / "checkpoint").exists()
        order.append(path.name)
        real(path, data)

    with mock.patch.object(export, "_write", write):
        export_tiles(maker.layout.active, log)
    assert order[-1] == "checkpoint.part"
    (log / "checkpoint").unlink()
    with pytest.raises(ConfigError, match="cut off"):
        export_tiles(maker.layout.active, log)


def test_what_retention_deleted_is_left_out_and_said(maker: Maker, log: Path, tmp_path: Path) -> None:
    maker.delete_file(next(maker.layout.segments.glob("*.zst")))
    exported = export_tiles(maker.layout.active, log)
    assert exported.left_out == [LeftOut(0, 300, "no file has them: deleted, or lost")]
    assert exported.bundles == 1
    assert [name for name in content(log) if "entries" in name] == [f"tile/entries/002.p/{exported.size - 512}"]
    assert (log / "tile" / "0" / "000").exists()


def test_what_was_erased_is_left_out_and_said(maker: Maker, log: Path) -> None:
    path = maker.layout.active
    edit_lines(path, lambda lines: lines.__setitem__(5, erased(lines[5], 607)))
    exported = export_tiles(path, log)
    assert exported.left_out == [LeftOut(607, 607, "erased")]
    assert exported.bundles == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: lines.__setitem__(5, lines[5].replace(b"files", b"filez")),
        lambda lines: lines.pop(5),
        lambda lines: lines.insert(5, lines[5]),
        lambda lines: lines.__setitem__(5, erased(lines[6], 607)),
        lambda lines: lines.__setitem__(5, lines[5] + b" " * 70_000),
    ],
    ids=["altered", "taken out", "doubled", "erased wrongly", "too long"],
)
def test_lines_that_were_not_sealed_are_not_exported(maker: Maker, log: Path, edit: object) -> None:
    edit_lines(maker.layout.active, edit)  # type: ignore[arg-type]
    with pytest.raises(NotProven, match="not the one that was sealed"):
        export_tiles(maker.layout.active, log)
    assert not log.exists()


@pytest.mark.parametrize("name", ["0/000", "0/002.p/191", "1/000.p/2"])
def test_tiles_that_the_root_does_not_vouch_for_are_not_exported(maker: Maker, log: Path, name: str) -> None:
    tile = maker.layout.tiles / name
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    with pytest.raises(NotProven, match="signed root"):
        export_tiles(maker.layout.active, log)
    assert not log.exists()


def test_a_damaged_closed_file_is_named(maker: Maker, log: Path) -> None:
    packed = next(maker.layout.segments.glob("*.zst"))
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(TrailCorrupt, match=packed.name):
        export_tiles(maker.layout.active, log)
    assert not log.exists()


def test_a_wrong_checkpoint_exports_nothing(maker: Maker, log: Path) -> None:
    maker.layout.checkpoint.write_text("hello\n")
    with pytest.raises(NotProven):
        export_tiles(maker.layout.active, log)
    assert not log.exists()
    shutil.rmtree(maker.layout.directory)
    with pytest.raises(TrailError, match="no trail"):
        export_tiles(maker.layout.active, log)
