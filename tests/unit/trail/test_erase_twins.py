"""No twin outlives the lines that it was made of: not an erasure, nor a deletion, whatever is cut off where."""

import contextlib
from pathlib import Path

import pytest

from indelible.config import Bound, Retention
from indelible.errors import TrailError
from indelible.query.engine import making
from indelible.trail import twins
from indelible.trail.durable import Access
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep import erase as erase_module
from indelible.trail.upkeep.erase import carry_out
from indelible.trail.upkeep.manage import execute
from indelible.trail.upkeep.orders import Retain
from indelible.trail.writer import Writer
from tests.erasing import GONE, STAYS, lines_of, order
from tests.unit.trail.faults import Crash, Disk, die, faulty, without_threads
from tests.unit.trail.test_erase import fill, opened, run, settings

pytestmark = pytest.mark.slow

MOST_STEPS = 400
"""More operations than an erasure of this trail has."""


def filled(path: Path) -> Writer:
    """Make a trail of several files with a twin each, and leave what a killed builder leaves."""
    writer = fill(path, settings())
    made = making.make(path, Access(), chunk=500).made
    assert len(made) > 3
    assert all(one.rows for one in made)
    (writer.layout.twins / f".{made[0].name}.parquet.tmp").write_bytes(b"canary")
    return writer


def ranges(path: Path) -> list[tuple[int, int]]:
    """Return of what there are files of rows, whatever stands beside them."""
    found = Layout(path).twins.glob("[0-9]*.parquet")
    return sorted((int(one.name[:20]), int(one.name[21:41])) for one in found)


def told(path: Path) -> list[int]:
    """Return the seqs of whoever's events are to go in any file of rows, whole or not."""
    import duckdb

    found: list[int] = []
    for one in Layout(path).twins.glob("*.parquet"):
        with duckdb.connect() as database:
            query = "SELECT seq FROM read_parquet(?) WHERE user_id = ? OR args LIKE '%canary%'"
            found += [seq for (seq,) in database.execute(query, [str(one), GONE]).fetchall()]
    return found


def check(path: Path) -> None:
    """Nothing of an erased line is in a twin, nor anything unfinished of one."""
    erased = {seq for seq, line in enumerate(lines_of(path)) if erased_leaf(line) is not None}
    assert not erased & set(told(path))
    if erased:
        assert not list(Layout(path).twins.glob(".*.tmp"))


def test_an_erasure_takes_the_twins_of_its_lines_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = filled(path)
    before = ranges(path)
    result = execute(writer, order())
    gone = [pair for pair in before if any(low < pair[1] and high >= pair[0] for low, high in result["seqs"])]
    assert gone
    assert ranges(path) == [pair for pair in before if pair not in gone]
    assert not list(Layout(path).twins.glob(".*.tmp"))
    check(path)
    writer.seal()
    making.make(path, Access(), chunk=500)
    assert {first for first, _ in ranges(path)} >= {
        int(one.name[:20]) for one in writer.layout.segments.iterdir()
    }
    writer.close()


def test_a_dry_run_and_an_erasure_of_nobody_leave_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = filled(path)
    before = ranges(path)
    execute(writer, order(dry_run=True))
    execute(writer, order(values=["nobody"]))
    assert ranges(path) == before
    writer.close()


@pytest.mark.long
@pytest.mark.parametrize("mode", ["crash", "crash-after", "error"])
def test_wherever_an_erasure_is_cut_off_no_twin_says_what_is_on_record_as_erased(
    tmp_path: Path, mode: str
) -> None:
    for at in range(0, MOST_STEPS, 5):
        with without_threads(look_after=False):
            if cut_off(tmp_path / str(at) / "audit.jsonl", Disk(mode, at)):  # type: ignore[arg-type]
                return
    pytest.fail("an erasure has more steps than that")


def cut_off(path: Path, disk: Disk) -> bool:
    """Erase until the disk fails, look at what is left, and let the next writer finish; tell whether nothing failed."""
    path.parent.mkdir()
    filled(path).close()

    def dead(*args: object) -> object:
        with faulty(disk):
            return carry_out(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Crash, TrailError):
        patch.setattr(erase_module, "carry_out", dead)
        run(path)
    die(path.parent)
    check(path)
    if any(b'"entry_erased"' in line for line in lines_of(path)):
        assert told(path) == []
    finished = not Layout(path).erasing.exists()
    opened(path).close()
    making.make(path, Access(), chunk=500)
    assert told(path) == []
    return finished


def test_who_makes_a_twin_meanwhile_is_waited_for_and_else_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    monkeypatch.setattr(twins, "PATIENCE_S", 0.0)
    with without_threads(look_after=False):  # else the housekeeper's next look may come in between
        writer = filled(path)
        with twins.alone(writer.layout, Access()), pytest.raises(TrailError, match="not finished"):
            execute(writer, order())
        assert Layout(path).erasing.exists()
        with pytest.raises(making.StoppedError):
            making.make(path, Access())
        writer.housekeeper._erase_at = 0.0
        writer.housekeeper._finish_erasure()
        assert not Layout(path).erasing.exists()
        check(path)
        writer.close()


def test_an_erasure_reaches_the_twins_of_an_earlier_trail(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    filled(path).close()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    writer = open_writer(path, settings(), "test").writer
    (earlier,) = (one for one in Layout(path).retired.iterdir() if not one.name.startswith("."))
    assert ranges(earlier / path.name)
    execute(writer, order())
    check(earlier / path.name)
    assert not list(Layout(earlier / path.name).twins.glob(".*.tmp"))
    writer.close()


def test_a_deleted_file_takes_its_twin_along(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = filled(path)
    execute(writer, Retain(retention=Retention(default=Bound()), backup_count=1))
    left = {int(one.name[:20]) for one in writer.layout.segments.iterdir()}
    assert 0 not in left
    assert min(first for first, _ in ranges(path)) >= min(left)
    writer.close()


def test_what_outlived_its_file_is_removed_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = filled(path)
    segment = min(writer.layout.segments.iterdir())
    segment.unlink()
    twins.drop_outdated(writer.layout)
    assert min(ranges(path)) > (0, 0)
    assert not list(writer.layout.twins.glob(f"{0:020}-*"))
    writer.close()


def test_nobody_else_s_content_is_kept(tmp_path: Path) -> None:
    """A person's twin goes though the events of others stand in it, and is made anew of what is left."""
    path = tmp_path / "audit.jsonl"
    writer = filled(path)
    execute(writer, order(values=[STAYS]))
    check(path)
    writer.close()
