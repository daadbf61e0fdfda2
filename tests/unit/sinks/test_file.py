"""The file sink: whole lines whatever happens, rotation as people know it, and whoever else touches the file."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigError
from indelible.registry import make_sink
from indelible.sink_settings import SinkSettings
from indelible.sink_settings.files import FileSettings
from indelible.sinks.base import Shipment, SinkUnavailable
from indelible.sinks.file import FileSink
from indelible.trail import durable
from tests.effort import KILLS, LONG, examples


def sink_to(path: Path, **settings: Any) -> FileSink:
    own = FileSettings(path=str(path), **{"backup_count": 0, **settings})
    sink = make_sink(SinkSettings(type="file", name="f", own=own))
    assert isinstance(sink, FileSink)
    return sink


def shipments(*records: bytes) -> list[Shipment]:
    return [Shipment(record, number, f"id-{number}") for number, record in enumerate(records)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.log"


@pytest.fixture
def sink(path: Path) -> Iterator[FileSink]:
    made = sink_to(path)
    made.open()
    yield made
    made.close()


def test_the_file_and_its_directories_are_made_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.log"
    sink = sink_to(path)
    sink.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    sink.close()


@pytest.mark.parametrize(
    ("torn", "left"),
    [
        (b"", b""),
        (b"one\n", b"one\n"),
        (b'{"a":1}\n{"b', b'{"a":1}\n'),
        (b"CEF:0|a\nC", b"CEF:0|a\n"),
        (b"<134>1 a\n<13", b"<134>1 a\n"),
        (b'{"a":1}\n{' + b"x" * 200_000, b'{"a":1}\n'),
        (b'{"a":1}\n\0\0\0', b'{"a":1}\n'),
        (b'{"a":' + b"x" * 200_000 + b'}\n{"b', b'{"a":' + b"x" * 200_000 + b"}\n"),
        # What may be somebody's, and no torn record, stays.
        (b"nothing but this", b"nothing but this\n"),
        (b"one\ntw", b"one\ntw\n"),
        (b"audit:\n  path: x", b"audit:\n  path: x\n"),
        (b"{\n  1\n}", b"{\n  1\n}\n"),
        (b"one\n\0\0\0", b"one\n\0\0\0\n"),
    ],
)
def test_a_torn_end_is_settled_before_anything_follows(path: Path, torn: bytes, left: bytes) -> None:
    path.write_bytes(torn)
    sink = sink_to(path)
    sink.open()
    assert sink.send(shipments(b"next")).taken == 1
    sink.close()
    assert path.read_bytes() == left + b"next\n"


def test_where_nothing_may_be_cut_a_torn_end_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a file that `chattr +a` lets grow only."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    path.write_bytes(b"{1}\n{2")
    monkeypatch.setattr(os, "ftruncate", refuse)
    sink = sink_to(path)
    sink.open()
    sink.send(shipments(b"next"))
    sink.close()
    assert path.read_bytes() == b"{1}\n{2\nnext\n"


@pytest.mark.parametrize(
    ("kind", "said"), [("link", "symbolic link"), ("fifo", "pipe"), ("directory", "directory")]
)
def test_what_is_no_plain_file_is_refused(path: Path, tmp_path: Path, kind: str, said: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    if kind == "link":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ConfigError, match=said) as caught:
        sink_to(path).open()
    assert str(caught.value).startswith(f"{path}: ")
    assert target.read_bytes() == b"precious"


def test_a_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="device"):
        sink_to(Path("/dev/null")).open()


def test_a_link_that_takes_the_files_place_is_not_followed(sink: FileSink, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious\n")
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(SinkUnavailable, match="symbolic link") as caught:
        sink.send(shipments(b"one"))
    assert caught.value.delivery.taken == 0
    assert target.read_bytes() == b"precious\n"


def test_one_sink_a_file(sink: FileSink, path: Path) -> None:
    other = sink_to(path)
    with pytest.raises(SinkUnavailable, match="another sink or process writes to it"):
        other.open()
    sink.close()
    other.open()
    other.close()


def test_a_forked_child_lets_go_of_the_file(sink: FileSink, path: Path) -> None:
    """Else it would hold the lock when its parent is gone."""
    forked, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(go[1])
        os.write(forked[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    try:
        assert os.read(forked[0], 1) == b"x"
        assert sink.send(shipments(b"one")).taken == 1
        sink.close()
        other = sink_to(path)
        other.open()
        other.close()
    finally:
        for fd in (*forked, *go):
            os.close(fd)
        os.waitpid(child, 0)


def test_rotation_has_the_names_of_rotating_file_handler(path: Path) -> None:
    sink = sink_to(path, max_size=30, backup_count=3)
    sink.open()
    for number in range(7):
        sink.send(shipments(b"%02d-------" % (2 * number), b"%02d-------" % (2 * number + 1)))
    sink.send(shipments(b"x" * 100))
    sink.close()
    found = {file.name: [line[:2] for line in file.read_text().splitlines()] for file in path.parent.iterdir()}
    assert found == {
        "out.log": ["xx"],
        "out.log.1": ["12", "13"],
        "out.log.2": ["09", "10", "11"],
        "out.log.3": ["06", "07", "08"],
    }


def test_without_backups_or_a_size_it_never_rotates(path: Path) -> None:
    for keys in ({"max_size": 10, "backup_count": 0}, {"max_size": None, "backup_count": 5}):
        sink = sink_to(path, **keys)
        sink.open()
        sink.send(shipments(*[b"0123456789"] * 5))
        sink.close()
    assert [file.name for file in path.parent.iterdir()] == ["out.log"]
    assert path.read_bytes() == b"0123456789\n" * 10


def test_whoever_may_read_the_file_may_read_the_next_one(path: Path) -> None:
    path.touch()
    path.chmod(0o640)
    sink = sink_to(path, max_size=10, backup_count=1)
    sink.open()
    sink.send(shipments(b"0123456789", b"0123456789"))
    sink.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.with_name("out.log.1").exists()


@pytest.mark.parametrize("done", range(5))
def test_a_crash_between_the_renames_loses_no_file(
    path: Path, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        path.with_name(f"out.log.{number}").write_text(f"{number}\n")
    path.write_text("0\n")
    renames = 0
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        nonlocal renames
        if renames == done:
            raise KeyboardInterrupt
        renames += 1
        return rename(self, target)

    sink = sink_to(path, max_size=3, backup_count=4)
    sink.open()
    monkeypatch.setattr(Path, "rename", renamed)
    try:
        sink.send(shipments(b"x"))
    except KeyboardInterrupt:
        sink.close()
        monkeypatch.undo()
        sink = sink_to(path, max_size=3, backup_count=4)
        sink.open()
        assert sink.send(shipments(b"x")).taken == 1
    sink.close()
    files = [path, *(path.with_name(f"out.log.{number}") for number in range(1, 6))]
    assert [file.read_text().strip() for file in files if file.exists()] == ["x", "0", "1", "2", "3"]


def test_a_file_that_was_renamed_is_made_anew(sink: FileSink, path: Path) -> None:
    sink.send(shipments(b"one"))
    path.rename(path.with_name("rotated"))
    sink.send(shipments(b"two"))
    assert path.read_bytes() == b"two\n"
    assert path.with_name("rotated").read_bytes() == b"one\n"


def test_a_file_that_was_emptied_or_added_to_is_gone_on_with(sink: FileSink, path: Path) -> None:
    sink.send(shipments(b"one"))
    os.truncate(path, 0)
    sink.send(shipments(b"two"))
    assert path.read_bytes() == b"two\n"
    with path.open("ab") as file:
        file.write(b"somebody el")
    sink.send(shipments(b"three"))
    assert path.read_bytes() == b"two\nsomebody el\nthree\n"


def test_what_went_into_a_deleted_file_is_written_again(
    sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted between the look and the sync, as by a logrotate that compresses at once."""
    datasync, syncs = durable.datasync, 0

    def deleted(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == 1:
            path.unlink()
        if syncs == 2:
            os.truncate(path, 0)
        datasync(fd)

    monkeypatch.setattr(durable, "datasync", deleted)
    assert sink.send(shipments(b"one", b"two")).taken == 2
    assert path.read_bytes() == b"one\ntwo\n"
    assert syncs == 3


def test_a_file_that_is_always_taken_away_is_unavailable(
    sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "datasync", lambda _: path.unlink())
    with pytest.raises(SinkUnavailable, match="again and again") as caught:
        sink.send(shipments(b"one"))
    assert caught.value.delivery.taken == 0


@settings(max_examples=examples(60))
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    room_for=st.integers(0, 400),
    refused=st.sets(st.integers(0, 11)),
)
def test_on_a_full_disk_the_count_is_that_of_the_whole_lines_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], room_for: int, refused: set[int]
) -> None:
    path = tmp_path_factory.mktemp("full") / "out.log"
    records = [b"%d:" % index + b"x" * size for index, size in enumerate(sizes)]
    records = [record + b"\n!" if index in refused else record for index, record in enumerate(records)]
    sink = sink_to(path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_for, limit[1]))
    try:
        sink.open()
        delivery = sink.send(shipments(*records))
    except SinkUnavailable as exc:
        delivery = exc.delivery
        assert delivery.taken < len(records)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    good = [record + b"\n" for index, record in enumerate(records) if index not in refused]
    kept = [record + b"\n" for index, record in enumerate(records[: delivery.taken]) if index not in refused]
    assert path.read_bytes() == b"".join(kept)
    assert {index for index, _ in delivery.refused} == {index for index in refused if index < delivery.taken}
    sink.send(shipments(*records)[delivery.taken :])
    sink.close()
    assert path.read_bytes() == b"".join(good)


def test_after_a_failed_sync_nothing_of_the_batch_is_believed(
    sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    sink.send(shipments(b"one"))
    with monkeypatch.context() as patched:
        patched.setattr(durable, "datasync", fail)
        with pytest.raises(SinkUnavailable, match="Input/output error") as caught:
            sink.send(shipments(b"two", b"three"))
    assert caught.value.delivery.taken == 0
    assert path.read_bytes() == b"one\n"
    assert sink.send(shipments(b"two", b"three")).taken == 2
    assert path.read_bytes() == b"one\ntwo\nthree\n"


KILLED = """
import sys
from pathlib import Path
from indelible.sink_settings import SinkSettings
from indelible.sink_settings.files import FileSettings
from indelible.sinks.base import Shipment
from indelible.sinks.file import FileSink
from indelible.trail import durable

path, start = sys.argv[1], int(sys.argv[2])
sink = FileSink(SinkSettings(type="file", name="f", own=FileSettings(path=path, max_size=300_000, backup_count=400)))
sink.open()
print("open", flush=True)
while True:
    numbers = range(start, start + 40)
    batch = [Shipment(b'{"%d":"%b"}' % (number, b"x" * (number % 9000)), number, "") for number in numbers]
    start += sink.send(batch).taken
    print(start, flush=True)
"""


@pytest.mark.sampled
def test_kill_9_at_any_moment_leaves_whole_lines_and_everything_that_was_taken(path: Path) -> None:
    """Each time another process goes on from what was last said to be taken."""
    start = 0
    for kill in range(KILLS if LONG else 8):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(start)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2 + kill % 3)]
            assert said[-1].strip().isdigit()
            process.kill()
            said += process.stdout.read().split()
        start = max(int(word) for word in said if word.strip().isdigit())
    sink = sink_to(path)
    sink.open()
    sink.close()
    names = [path.with_name(f"out.log.{number}") for number in range(400, 0, -1)]
    data = b"".join(file.read_bytes() for file in [*names, path] if file.exists())
    found: list[int] = []
    for record in data.split(b"\n")[:-1]:
        number = int(record.split(b'"')[1])
        assert record == b'{"%d":"%b"}' % (number, b"x" * (number % 9000))
        found.append(number)
    assert list(dict.fromkeys(found))[:start] == list(range(start))


def test_a_lock_of_somebody_else_is_respected(path: Path) -> None:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sink = sink_to(path)
        with pytest.raises(SinkUnavailable, match=f"^{path}: another"):
            sink.open()
