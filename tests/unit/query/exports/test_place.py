"""Where an export may go, and that a place has the old file or the new one, and nothing else beside it."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from indelible.errors import ConfigError, TrailError
from indelible.query.exports.duckdb_file import DuckdbFile
from indelible.query.exports.exporting import Kind, export, make_orders
from indelible.query.exports.place import Target, Workroom, find_target
from indelible.query.exports.sqlite_file import SqliteFile
from indelible.query.filters import Filter
from indelible.query.search import Corrupt, Hit, TrailSearch
from tests.trails import Maker

OPTION = "--export-csv"
KINDS: tuple[Kind, ...] = ("csv", "sqlite", "duckdb", "parquet")


@pytest.fixture
def hits(tmp_path: Path) -> list[Hit]:
    maker = Maker(tmp_path / "trails" / "audit.jsonl").add_many(5)
    maker.rotate()
    maker.seal()
    (tmp_path / "trails" / "audit.jsonl.1").hardlink_to(maker.layout.segment(0))
    with TrailSearch(maker.layout.active, Filter(), Corrupt()) as search:
        return list(search.all())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "audit.jsonl",
        "audit.jsonl.1",
        "audit.jsonl.2.zst",
        "audit.jsonl.d/x.csv",
        "audit.jsonl.d/segments/x.csv",
        "audit.jsonl.d/../audit.jsonl",
        "link",
        "into/x.csv",
    ],
)
@pytest.mark.usefixtures("hits")
def test_what_belongs_to_a_trail_is_not_written_over(tmp_path: Path, name: str) -> None:
    trails = tmp_path / "trails"
    (trails / "link").symlink_to("audit.jsonl")
    (trails / "into").symlink_to("audit.jsonl.d/segments")
    with pytest.raises(ConfigError, match="belongs to a trail"):
        find_target(OPTION, f"{trails}/{name}", streams=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "expected the name of a file"),
        ("a\0b", "expected the name of a file"),
        (".", "is a directory"),
        ("new/", "is a directory"),
        ("nowhere/x.csv", "there is no such directory"),
        ("fifo", "not a plain file; a pipe or a device cannot be replaced"),
        ("/dev/stdout", "not a plain file; a pipe or a device cannot be replaced"),
        ("/dev/null", "not a plain file; a pipe or a device cannot be replaced"),
        ("-", "does not go to standard output; name a file"),
        ("loop", "links that lead nowhere"),
    ],
)
def test_other_places_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("loop").symlink_to("loop")
    with pytest.raises((ConfigError, TrailError), match=said):
        find_target(OPTION, name, streams=False)


def test_standard_output_is_no_pipe(tmp_path: Path) -> None:
    """A report's page goes to the one, and not to others."""
    os.mkfifo(tmp_path / "fifo")
    assert find_target(OPTION, "-", stdout=True).is_stream
    with pytest.raises(ConfigError, match="not a plain file"):
        find_target(OPTION, str(tmp_path / "fifo"), stdout=True)


def test_a_trail_that_is_named_by_a_link_is_not_written_over_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").touch()
    (tmp_path / "audit.jsonl").symlink_to("data.jsonl")
    assert find_target(OPTION, str(tmp_path / "data.jsonl")).path.name == "data.jsonl"
    with pytest.raises(ConfigError, match="belongs to a trail"):
        find_target(OPTION, str(tmp_path / "data.jsonl"), trails=[tmp_path / "audit.jsonl"])


def test_a_link_is_followed(tmp_path: Path, hits: list[Hit]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.csv").write_text("old")
    (tmp_path / "two").symlink_to("real/a.csv")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    export(hits, make_orders({"csv": str(tmp_path / "one")}), Filter())
    assert (tmp_path / "one").is_symlink()
    assert (tmp_path / "real" / "a.csv").read_bytes().startswith(b"timestamp,")
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["a.csv"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")
def test_what_is_another_users_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    os.chown(tmp_path / "theirs", 12345, -1)
    with pytest.raises(ConfigError, match="another user"):
        find_target(OPTION, str(tmp_path / "theirs"), streams=True)
    (tmp_path / "link").symlink_to("mine")
    os.chown(tmp_path / "link", 12345, -1, follow_symlinks=False)
    with pytest.raises(ConfigError, match="a link of another user's"):
        find_target(OPTION, str(tmp_path / "link"), streams=True)
    target = find_target(OPTION, str(tmp_path / "new"), streams=True)
    room = tmp_path / ".new.exporting"
    room.mkdir()
    os.chown(room, 12345, -1)
    with pytest.raises(ConfigError, match="another user's; remove it"):
        Workroom(target)


def test_one_place_takes_one_export(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(ConfigError, match="is where --export-csv goes"):
        make_orders({"csv": str(tmp_path / "a"), "sqlite": str(tmp_path / "x" / ".." / "a")})


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_export_replaces_the_old_one(tmp_path: Path, hits: list[Hit], kind: Kind) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    orders = make_orders({kind: str(folder / "a")})
    export(hits, orders, Filter())
    first = (folder / "a").stat()
    (folder / "a").chmod(0o644)
    export(hits[:2], orders, Filter())
    assert (folder / "a").stat().st_ino != first.st_ino
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    assert list(contents(folder)) == ["a"]


@pytest.mark.parametrize(
    "name", ["it's [x]*", "new\nline", os.fsdecode(b"\xff"), "-x", "a;b--", "日本", "x" * 150]
)  # SQLite takes 512 bytes of a path, with the names of the tests' own folders before this
def test_places_are_called_what_they_are_called(tmp_path: Path, hits: list[Hit], name: str) -> None:
    folder = tmp_path / f"in {name}"
    folder.mkdir()
    export(hits, make_orders({kind: str(folder / f"{name}.{kind}") for kind in KINDS}), Filter())
    assert sorted(contents(folder)) == sorted(f"{name}.{kind}" for kind in KINDS)


def test_duckdb_takes_a_question_mark_for_something_else(tmp_path: Path, hits: list[Hit]) -> None:
    orders = make_orders({"csv": str(tmp_path / "a?.csv"), "duckdb": str(tmp_path / "a?.duckdb")})
    with pytest.raises(ConfigError, match="no path with a question mark"):
        export(hits, orders, Filter())
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, TrailError("gone"), OSError("gone")])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, hits: list[Hit], kind: Kind, error: BaseException
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a").write_text("old")

    def failing() -> object:
        yield from hits
        raise error

    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever it is
        export(failing(), make_orders({kind: str(folder / "a")}), Filter())  # type: ignore[arg-type]
    assert contents(folder) == {"a": b"old"}
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_of_several_none_is_named_before_all_are_whole(
    tmp_path: Path, hits: list[Hit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: SqliteFile) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(SqliteFile, "end", fail)
    orders = make_orders({"csv": str(tmp_path / "a.csv"), "sqlite": str(tmp_path / "a.db")})
    with pytest.raises(TrailError, match=r"a\.db: cannot be written: No space left on device"):
        export(hits, orders, Filter())
    assert sorted(contents(tmp_path)) == []


def test_what_a_crash_left_is_removed_by_the_next_export(tmp_path: Path, hits: list[Hit]) -> None:
    folder = tmp_path / "out"
    room = folder / ".a.exporting"
    (room / "deep").mkdir(parents=True)
    (room / "export").write_text("half")
    export(hits, make_orders({"csv": str(folder / "a")}), Filter())
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_of_two_at_once_one_is_refused(tmp_path: Path, hits: list[Hit]) -> None:
    target = Target("a", tmp_path / "a")
    with Workroom(target), pytest.raises(TrailError, match="another export to it is under way"):
        Workroom(target)
    export(hits, make_orders({"csv": str(tmp_path / "a")}), Filter())


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_in_the_way_stays(tmp_path: Path, kind: str) -> None:
    way = tmp_path / ".a.exporting"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    way.symlink_to("elsewhere") if kind == "link" else way.touch()
    with pytest.raises(ConfigError, match="is in the way"):
        Workroom(Target("a", tmp_path / "a"))
    assert (tmp_path / "elsewhere" / "precious").exists()


def test_journals_of_the_old_database_go_with_it(tmp_path: Path, hits: list[Hit]) -> None:
    for name in ("a.db-wal", "a.db-shm", "a.db-journal", "a.duckdb.wal", "a.db-mine"):
        (tmp_path / name).write_text("of the old one")
    orders = make_orders({"sqlite": str(tmp_path / "a.db"), "duckdb": str(tmp_path / "a.duckdb")})
    export(hits, orders, Filter())
    assert sorted(contents(tmp_path)) == ["a.db", "a.db-mine", "a.duckdb"]


def test_csv_goes_through_a_pipe(tmp_path: Path, hits: list[Hit]) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.stdout.write(open({str(fifo)!r}).read())"],
        stdout=subprocess.PIPE,
    )
    export(hits, make_orders({"csv": str(fifo)}), Filter())
    out, _ = reader.communicate(timeout=60)
    assert len(out.splitlines()) == 6
    assert fifo.is_fifo()


def test_ctrl_c_in_the_midst_of_duckdb_is_ctrl_c(tmp_path: Path) -> None:
    endless = "SELECT sum(hash(a.range * b.range)) FROM range(10000000) a, range(10000000) b"
    with DuckdbFile(find_target("--export-duckdb", str(tmp_path / "a"), streams=False)) as writer:
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt), writer.translated():
            writer.do(endless)
    assert contents(tmp_path) == {}
