"""The writer in one process: order, rotation, links, deletion, repair, and what a start finds."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from indelible.config import AuditSettings
from indelible.errors import ConfigError, TrailCorrupt, TrailError, TrailLocked, TrailUnavailable
from indelible.trail import durable, files, seal, unsealed
from indelible.trail.checking.check import verify_trail
from indelible.trail.commit import Item
from indelible.trail.layout import Layout
from indelible.trail.proofs import checkpoint, merkle
from indelible.trail.sealer import HURRY_EVENTS, Sealer
from indelible.trail.start import recovery
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer

from .faults import assert_sealed, die, read_all

AUDIT = AuditSettings()


def body(name: str, event_type: str = "mcp_operation", **more: Any) -> bytes:
    head = {"timestamp": "2026-01-01T00:00:00.000000Z", "event_type": event_type, "event_id": name}
    return msgspec.json.encode({**head, **more})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "audit.jsonl"


def start(path: Path, audit: AuditSettings = AUDIT, **options: Any) -> Writer:
    return open_writer(path, audit, "test", **options).writer


def kinds(path: Path) -> list[str]:
    return [entry["event_type"] for entry in read_all(path)]


def test_a_trail_from_first_event_to_last(path: Path) -> None:
    writer = start(path)
    writer.append(body("a"))
    writer.close()
    assert kinds(path) == ["file_opened", "audit_started", "mcp_operation", "audit_stopped"]
    assert_sealed(path, read_all(path))


def test_files_and_directories_are_private(path: Path) -> None:
    start(path).close()
    for found in [path, *Layout(path).directory.rglob("*")]:
        assert found.stat().st_mode & 0o777 == (0o700 if found.is_dir() else 0o600), found


def test_a_group_may_read_all_but_the_secrets(path: Path) -> None:
    import grp

    group = grp.getgrgid(os.getgid()).gr_name
    start(path, AuditSettings(group=group)).close()
    layout = Layout(path)
    secret = {layout.key, layout.hmac_key}
    for found in [path, *layout.directory.rglob("*")]:
        expected = 0o600 if found in secret else 0o750 if found.is_dir() else 0o640
        assert found.stat().st_mode & 0o777 == expected, found


@pytest.mark.parametrize("durability", ["memory", "process", "disk"])
def test_threads_lose_nothing_and_keep_their_own_order(path: Path, durability: Any) -> None:
    writer = start(path, AuditSettings(durability=durability, max_size=60_000, backup_count=1000))

    def work(thread: int) -> None:
        for number in range(200):
            writer.append(body(f"{thread}.{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    found = read_all(path)
    assert_sealed(path, found)
    for thread_number in range(8):
        own = [e["event_id"] for e in found if e["event_id"].startswith(f"{thread_number}.")]
        assert own == [f"{thread_number}.{number}" for number in range(200)]


def test_submitted_events_are_acknowledged_in_order_when_they_are_on_the_disk(path: Path) -> None:
    writer = start(path, AuditSettings(durability="disk"))
    finished = threading.Event()
    order: list[int] = []

    def acknowledge(number: int) -> Callable[[int, TrailUnavailable | None], None]:
        def note(safe: int, error: TrailUnavailable | None) -> None:
            assert (safe, error) == (3, None)
            order.append(number)
            if number == 299:
                finished.set()

        return note

    for number in range(300):
        writer.submit([Item(body(f"{number}.{part}")) for part in range(3)], acknowledge(number))
    assert finished.wait(30)
    writer.close()
    assert order == list(range(300))
    names = [entry["event_id"] for entry in read_all(path) if entry["event_type"] == "mcp_operation"]
    assert names == [f"{number}.{part}" for number in range(300) for part in range(3)]


def test_rotation_names_links_and_first_lines(path: Path) -> None:
    writer = start(path, AuditSettings(max_size=2000, backup_count=3))
    for number in range(60):
        writer.append(body(str(number), padding="x" * 100))
    writer.close()
    layout = Layout(path)
    segments = files.segments(layout)
    assert len(segments) > 4  # retention keeps what backup_count alone would not
    for file in segments:
        with files.open_file(file) as stream:
            first = json.loads(stream.readline())
        assert (first["event_type"], first["seq"]) == ("file_opened", file.first_seq)
        assert first["metadata"]["origin"] == layout.origin.read_text().strip()
        assert file.path.stat().st_size <= 2000
    for number, file in enumerate(reversed(segments[-3:]), 1):
        assert path.with_name(f"audit.jsonl.{number}").resolve() == file.path.resolve()
    assert not path.with_name("audit.jsonl.4").exists()
    assert_sealed(path, read_all(path))


def test_compressed_segments_read_back_and_are_linked_under_their_own_name(path: Path) -> None:
    audit = AuditSettings(max_size=2000, backup_count=2, compress_rotated=True)
    writer = start(path, audit)
    for number in range(30):
        writer.append(body(str(number), padding="x" * 100))
    writer.seal()
    writer.close()
    writer = start(path, audit)  # what was closed last is compressed by the next, after its first checkpoint
    writer.seal()
    deadline = time.monotonic() + 30
    while not all(file.compressed for file in files.segments(Layout(path))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.close()
    assert path.with_name("audit.jsonl.2.zst").is_symlink()
    assert_sealed(path, read_all(path))


def test_without_retention_backup_count_deletes_and_the_record_says_so(path: Path) -> None:
    audit = AuditSettings(max_size=2000, backup_count=2, retention=None)
    writer = start(path, audit)
    for number in range(40):
        writer.append(body(str(number), padding="x" * 100))
        writer.seal()
    layout = Layout(path)
    deadline = time.monotonic() + 60
    while len(files.segments(layout)) > 2:
        assert time.monotonic() < deadline, "the housekeeper does not keep up"
        time.sleep(0.01)
    writer.close()
    segments = files.segments(layout)
    assert len(segments) <= 3  # the last word may have closed one
    lines = [
        line for file in [*segments, files.TrailFile(path, 0, compressed=False)] for line in lines_of(file)
    ]
    pruned = [
        tuple(pair) for e in lines if e["event_type"] == "retention_applied" for pair in e["metadata"]["pruned"]
    ]
    assert pruned
    assert pruned[-1][1] + 1 == segments[0].first_seq
    newest = json.loads(path.read_bytes().split(b"\n", 1)[0])
    assert newest["metadata"]["pruned"][0][0] == 0


def lines_of(file: files.TrailFile) -> Iterator[dict[str, Any]]:
    with files.open_file(file) as stream:
        yield from map(json.loads, stream)


def test_seqs_and_times_never_go_back_whatever_the_clock_does(path: Path) -> None:
    hour = 3600 * 10**9
    times = [10 * hour, 11 * hour, 9 * hour, 9 * hour + 1, 12 * hour]
    clock = {"now": 10 * hour}
    writer = start(path, clock=lambda: clock["now"])
    for moment in times:
        clock["now"] = moment
        writer.append(body(str(moment)))
    writer.close()
    recorded = [entry["recorded_at"] for entry in read_all(path)]
    assert recorded == sorted(recorded)
    clock["now"] = 5 * hour
    writer = start(path, clock=lambda: clock["now"])
    writer.append(body("after"))
    writer.close()
    recorded = [entry["recorded_at"] for entry in read_all(path)]
    assert recorded == sorted(recorded)


def test_an_idle_trail_says_that_it_lives(path: Path) -> None:
    writer = start(path, AuditSettings(heartbeat=0.01))
    deadline = time.monotonic() + 30
    while b'"audit_heartbeat"' not in path.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.close()
    assert_sealed(path, read_all(path))


def test_a_checkpoint_follows_within_a_second(path: Path) -> None:
    writer = start(path)
    took: list[float] = []
    for number in range(5):
        writer.append(body(str(number)))
        written = time.monotonic()
        while writer.sealed < number + 3:
            assert time.monotonic() < written + 30, "no checkpoint came"
            time.sleep(0.005)
        took.append(time.monotonic() - written)
    writer.close()
    assert min(took) < 1, "the promise is at most 1 s behind"  # a busy machine may hold up some of them


def test_when_no_checkpoint_can_be_made_one_caller_waits_and_the_others_are_told_at_once(path: Path) -> None:
    writer = start(path, AuditSettings(write_timeout=0.3))

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    with mock.patch.object(seal, "write_checkpoint", fail):
        for number in range(unsealed.MAX_PENDING_EVENTS):
            try:
                writer.append(body(str(number)))
            except TrailUnavailable:
                break
        else:
            with pytest.raises(TrailUnavailable, match="checkpoints do not keep up"):
                writer.append(body("x"))
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(TrailUnavailable):
                writer.append(body("y"))
        assert time.monotonic() - started < 20 * 0.3 / 2, "each of them waited"
    writer.seal()
    writer.append(body("z"))
    writer.close()
    assert_sealed(path, read_all(path))


# --- what a start finds ----------------------------------------------------------------------------------------


def crash(path: Path, writer: Writer) -> None:
    """Leave the trail as a killed process does."""
    writer._sealer.stop()
    writer._housekeeper.close()  # threads of a dead process do not go on
    die(path.parent)


@pytest.mark.parametrize(
    "tail", [b'{"seq":', b"\0" * 100, b"garbage\n", b'{"seq":7,"x":1}\n{"seq', b"\xff\xfe\n\n"]
)
def test_a_torn_tail_goes_to_quarantine_and_is_recorded(path: Path, tail: bytes) -> None:
    writer = start(path)
    writer.append(body("a"))
    crash(path, writer)
    with path.open("ab") as file:
        file.write(tail)
    start(path).close()
    found = read_all(path)
    assert_sealed(path, found)
    recovered = next(e for e in found if e["event_type"] == "audit_recovered")
    [torn] = recovered["metadata"]["torn"]
    assert torn["bytes"] == len(tail)
    assert (Layout(path).directory / torn["quarantine"]).read_bytes() == tail
    assert [e["event_id"] for e in found].count("a") == 1


def test_calls_that_were_under_way_are_recorded_as_interrupted(path: Path) -> None:
    writer = start(path)
    writer.append(
        body("i1", "mcp_operation_started", request={"request_id": "r1", "args": {"a": 1}}), opens="i1"
    )
    writer.append(body("i2", "mcp_operation_started", request={"request_id": "r2"}), opens="i2")
    writer.seal()
    writer.append(body("o2", request={"request_id": "r2", "intent": "i2"}), closes="i2")
    writer.append(body("i3", "mcp_operation_started", request={"request_id": "r3"}), opens="i3")
    crash(path, writer)
    start(path).close()
    start(path).close()  # and not again
    found = read_all(path)
    interrupted = [e for e in found if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == ["i1", "i3"]
    assert interrupted[0]["request"]["args"] == {"a": 1}
    assert interrupted[0]["outcome"] == {"status": "error", "kind": "interrupted"}


def test_under_load_checkpoints_end_at_a_full_tile_and_a_crash_finds_the_calls_all_the_same(path: Path) -> None:
    writer = start(path)
    writer._sealer.stop()  # its thread makes none in between
    for name in ("before", "ends"):
        writer.append(body(name, "mcp_operation_started", request={"request_id": name}), opens=name)
    writer.seal()
    partial = Layout(path).directory / merkle.tile_path(0, 0, writer.sealed)
    assert partial.is_file()

    def burst(count: int) -> None:
        for number in range(count):
            writer.append(body(str(number)))

    burst(1000)
    writer.append(body("o", request={"request_id": "ends", "intent": "ends"}), closes="ends")
    writer.append(body("under", "mcp_operation_started", request={"request_id": "under"}), opens="under")
    burst(1000)
    writer._sealer.seal(in_tiles=True)
    assert writer.sealed == writer.size - writer.size % 256 < writer.size
    assert not partial.parent.exists()
    writer.append(body("after", "mcp_operation_started", request={"request_id": "after"}), opens="after")
    burst(1500)
    writer._sealer.seal(in_tiles=True)
    assert writer.sealed == writer.size - writer.size % 256
    assert not list((Layout(path).tiles / "0").glob("*.p"))
    crash(path, writer)
    start(path).close()
    found = read_all(path)
    assert_sealed(path, found)
    interrupted = [e for e in found if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == ["before", "under", "after"]


def test_a_few_lines_are_not_split_at_a_tile_and_a_seal_that_is_asked_for_covers_all(path: Path) -> None:
    writer = start(path)
    writer._sealer.stop()
    for number in range(700):
        writer.append(body(str(number)))
    writer._sealer.seal(in_tiles=True)
    assert writer.sealed == writer.size
    for number in range(3000):
        writer.append(body(str(number)))
    writer.seal()
    assert writer.sealed == writer.size
    writer.close()
    assert_sealed(path, read_all(path))


def no_checkpoint(*_: Any) -> None:
    raise OSError(5, "Input/output error")


def test_tiles_that_came_to_no_checkpoint_say_nothing_of_lines_that_were_lost_after_a_crash(path: Path) -> None:
    writer = start(path)
    writer._sealer.stop()
    writer.append(body("a"))
    writer.seal()
    tiles, size = Layout(path).tiles / "0", path.stat().st_size
    before = {one.name for one in (tiles / "000.p").iterdir()}
    for number in range(600):
        writer.append(body(str(number)))
    with mock.patch.object(seal, "write_checkpoint", no_checkpoint), pytest.raises(OSError, match="Input"):
        writer.seal()
    assert (tiles / "001").is_file()
    assert list((tiles / "002.p").iterdir())
    crash(path, writer)
    os.truncate(path, size)
    writer = start(path)
    writer.append(body("b"))
    writer.seal()
    assert {one.name for one in (tiles / "000.p").iterdir()} == before | {str(writer.sealed)}
    assert not (tiles / "001").exists()
    assert verify_trail(path).ok
    writer.close()
    assert verify_trail(path).ok


def test_lines_that_have_waited_their_time_are_all_under_the_next_checkpoint(path: Path) -> None:
    """A part of them left for the one after it would be twice as far behind as is promised."""
    writer = start(path)
    sealed: queue.SimpleQueue[int] = queue.SimpleQueue()
    writer.on_sealed = lambda: sealed.put(writer.sealed)
    writer.append(body("first"))
    while sealed.get(timeout=60) < writer.size:
        pass
    writer.append_all([Item(body(str(number))) for number in range(HURRY_EVENTS // 2 + 100)])
    assert sealed.get(timeout=60) == writer.size
    writer.close()


def test_open_calls_whose_recorder_lives_are_told_from_the_others_at_one_look(path: Path) -> None:
    """There may be 65,536 of them: none is compared with another."""
    writer = start(path)
    for number in range(60):
        writer.append(body(f"i{number}", "mcp_operation_started"), opens=f"i{number}")
    crash(path, writer)
    looked: list[str] = []

    class Alone(dict[str, Any]):
        __hash__ = None

        def __eq__(self, other: object) -> bool:
            pytest.fail("compared")

    def lives(intent: dict[str, Any]) -> bool:
        looked.append(intent["event_id"])
        return int(intent["event_id"][1:]) % 2 == 0

    def resume(*args: Any) -> recovery.Resume:
        state = found(*args)
        state.intents = [Alone(intent) for intent in state.intents]
        return state

    found = recovery.resume
    with mock.patch.object(recovery, "resume", resume):
        opened = open_writer(path, AUDIT, "test", lives=lives)
    opened.writer.close()
    assert looked == [f"i{number}" for number in range(60)]
    assert [intent["event_id"] for intent in opened.spared] == [f"i{number}" for number in range(0, 60, 2)]
    ended = [
        e["request"]["intent"] for e in read_all(path) if e.get("outcome", {}).get("kind") == "interrupted"
    ]
    assert ended == [f"i{number}" for number in range(1, 60, 2)]


def test_without_the_hint_open_calls_are_found_all_the_same(path: Path) -> None:
    writer = start(path, AuditSettings(max_size=3000, compress_rotated=True, backup_count=100))
    writer.append(body("i1", "mcp_operation_started"), opens="i1")
    for number in range(40):
        writer.append(body(str(number), padding="x" * 200))
    writer.seal()
    crash(path, writer)
    Layout(path).state.unlink()
    start(path).close()
    interrupted = [e for e in read_all(path) if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == ["i1"]


def test_a_trail_shorter_than_its_checkpoint_is_set_aside_and_named(path: Path) -> None:
    writer = start(path)
    for number in range(10):
        writer.append(body(str(number)))
    writer.close()
    layout = Layout(path)
    old_origin = layout.origin.read_text().strip()
    old_note = layout.checkpoint.read_bytes()
    old_lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(old_lines[:5]) + b"\n")

    start(path).close()
    first = json.loads(path.read_bytes().split(b"\n", 1)[0])
    previous = first["metadata"]["previous"]
    assert (previous["origin"], previous["size"], previous["end"]) == (old_origin, 13, 5)
    assert layout.origin.read_text().strip() != old_origin
    assert_sealed(path, read_all(path))
    retired = path.parent / previous["moved_to"]
    assert retired.read_bytes() == b"\n".join(old_lines[:5]) + b"\n"
    assert Layout(retired).checkpoint.read_bytes() == old_note
    verifier = checkpoint.parse_vkey(Layout(retired).vkey.read_text())
    assert checkpoint.parse(checkpoint.open_note(old_note, [verifier])).root.hex() == previous["root"]


def test_an_altered_end_is_refused_and_left_as_it_is(path: Path) -> None:
    writer = start(path)
    writer.append(body("a"))
    writer.close()
    altered = path.read_bytes().replace(b'"audit_stopped"', b'"audit_st0pped"')
    path.write_bytes(altered)
    with pytest.raises(TrailCorrupt, match="seq 3 is not the one that the checkpoint covers"):
        start(path)
    assert path.read_bytes() == altered


@pytest.mark.parametrize("what", ["tile", "checkpoint", "key"])
def test_a_damaged_seal_is_refused(path: Path, what: str) -> None:
    start(path).close()
    layout = Layout(path)
    if what == "tile":
        [tile] = [found for found in layout.tiles.rglob("*") if found.is_file() and found.name == "3"]
        tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    elif what == "checkpoint":
        layout.checkpoint.write_bytes(layout.checkpoint.read_bytes().replace(b"\n3\n", b"\n2\n"))
    else:
        layout.key.unlink()
    before = path.read_bytes()
    with pytest.raises((TrailCorrupt, ConfigError)):
        start(path)
    assert path.read_bytes() == before


def test_an_active_file_that_somebody_removes_does_not_swallow_what_follows(path: Path) -> None:
    with mock.patch.object(Sealer, "start"):  # no thread: the seal below is the one that finds it
        writer = start(path)
    writer.append(body("a"))
    writer.seal()
    path.unlink()
    writer.append(body("b"))
    with pytest.raises(OSError, match="removed or replaced"):
        writer.seal()
    writer.append(body("c"))
    writer.close()
    names = [json.loads(line)["event_id"] for line in path.read_bytes().splitlines()]
    assert [name for name in names if name in "abc"] == ["b", "c"]


# --- who may write ------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_has_the_trail(path: Path) -> None:
    writer = start(path)
    with pytest.raises(TrailLocked, match=rf"is being written by process {os.getpid()} \("):
        start(path)
    writer.close()
    start(path).close()


def test_a_forked_child_neither_writes_nor_holds_the_lock(path: Path) -> None:
    writer = start(path)
    pid = os.fork()
    if pid == 0:
        try:
            writer.append(body("child"))
        except TrailUnavailable as exc:
            os._exit(0 if "fork" in str(exc) else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    writer.append(body("parent"))
    writer.close()
    assert "child" not in [entry["event_id"] for entry in read_all(path)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file/audit.jsonl", "Not a directory"),
        ("link/audit.jsonl", "cannot write"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("nowhere/at/all")
    with pytest.raises(TrailError, match=message) as caught:
        start(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["pipe", "link", "dangling", "directory"])
def test_what_is_no_file_is_refused_and_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "audit.jsonl"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to("other" if what == "link" else "nowhere")
        (tmp_path / "other").write_text("not ours\n")
    before = sorted(found.name for found in tmp_path.iterdir())
    with pytest.raises(
        ConfigError, match={"pipe": "pipe", "directory": "directory"}.get(what, "symbolic link")
    ):
        start(path)
    assert sorted(found.name for found in tmp_path.iterdir()) == before
    assert not path.is_file() or (tmp_path / "other").read_text() == "not ours\n"


def test_calls_stay_open_when_a_start_could_not_say_what_became_of_them(path: Path) -> None:
    writer = start(path)
    writer.append(body("i1", "mcp_operation_started"), opens="i1")
    crash(path, writer)
    with (
        mock.patch.object(Writer, "write_service_events", side_effect=TrailUnavailable("full")),
        pytest.raises(TrailUnavailable),
    ):
        start(path)
    start(path).close()
    interrupted = [e for e in read_all(path) if e.get("outcome", {}).get("kind") == "interrupted"]
    assert [e["request"]["intent"] for e in interrupted] == ["i1"]


def test_a_network_file_system_is_refused() -> None:
    mounts = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /srv/with\\040space rw - nfs4 server:/x rw\n"
        "31 22 0:41 / /home rw shared:1 - cifs //server/home rw\n"
        "32 31 8:2 / /home/local rw - xfs /dev/sdb rw\n"
    )
    kinds = {
        "/srv/with space/logs": "nfs4",
        "/srv/without": "ext4",
        "/home/u": "cifs",
        "/home/local/u": "xfs",
    }
    for place, kind in kinds.items():
        assert durable.file_system_of(Path(place), mounts) == kind
        assert (kind in durable.NETWORK_FILE_SYSTEMS) == (kind in ("nfs4", "cifs"))


def test_the_end_of_the_process_closes_the_trail(path: Path) -> None:
    code = "import sys, indelible; indelible.open_trail(sys.argv[1]).operation('tools/call', 'x').__enter__()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert kinds(path)[-1] == "audit_stopped"
    assert_sealed(path, read_all(path))


def test_tiles_are_the_trees(path: Path) -> None:
    writer = start(path)
    for number in range(600):
        writer.append(body(str(number)))
    writer.close()
    leaves = [entry["leaf"] for entry in read_all(path)]
    for index in range(2):
        tile = Layout(path).directory / merkle.tile_path(0, index)
        assert tile.read_bytes() == b"".join(leaves[index * 256 : index * 256 + 256])
        assert not tile.with_name(tile.name + ".p").exists()


INTERRUPTED = """
import random, signal, sys
from pathlib import Path
from indelible.config import AuditSettings
from indelible.trail.start.opening import open_writer

class Alarm(Exception):
    pass

def ring(*_):
    raise Alarm

path, durability = Path(sys.argv[1]), sys.argv[2]
writer = open_writer(path, AuditSettings(durability=durability), "test").writer
signal.signal(signal.SIGALRM, ring)
body = b'{"timestamp":"2026-01-01T00:00:00.000000Z","event_type":"mcp_operation","event_id":"%d"}'
number = 0
acknowledged = []
for _ in range(60):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.003))
        for _ in range(1000):
            number += 1
            writer.append(body % number)
            acknowledged.append(number)
    except Alarm:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
writer.close()
print(*acknowledged, sep=chr(10))
"""


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_signal_handlers_that_raise_lose_nothing_and_stop_nobody(path: Path, durability: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(path), durability]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    entries = read_all(path)
    assert_sealed(path, entries)
    found = [entry["event_id"] for entry in entries if entry["event_type"] == "mcp_operation"]
    acknowledged = {line for line in ended.stdout.splitlines() if line}
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)


def test_a_burst_at_memory_durability_is_written_without_another_event(path: Path) -> None:
    writer = start(path, AuditSettings(durability="memory"))
    for number in range(6000):
        writer.append(body(str(number)))
    deadline = time.monotonic() + 60
    while writer.sealed < 6002:
        assert time.monotonic() < deadline, "what was queued is still not written"
        time.sleep(0.01)
    writer.close()


def test_an_active_file_removed_right_before_a_rotation_loses_nothing_that_was_pending(path: Path) -> None:
    writer = start(path, AuditSettings(max_size=20_000, backup_count=50))
    for number in range(300):
        writer.append(body(str(number)))
    writer.seal()
    path.unlink()
    with mock.patch.object(Sealer, "seal"):  # the rotation finds it, not the sealer
        for number in range(300, 500):
            writer.append(body(str(number)))
    writer.close()
    entries = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        entries += [json.loads(line) for line in file.path.read_bytes().splitlines()]
    assert {str(number) for number in range(300, 500)} <= {entry["event_id"] for entry in entries}
    times = [entry["recorded_at"] for entry in entries]
    assert times == sorted(times)


def test_events_submitted_after_the_end_are_refused_not_forgotten(path: Path) -> None:
    writer = start(path, AuditSettings(durability="disk"))
    done = threading.Event()
    writer.submit([Item(body("a"))], lambda *_: done.set())
    writer.close()
    assert done.is_set()
    with pytest.raises(TrailUnavailable, match="closed"):
        writer.submit([Item(body("b"))], lambda *_: None)


@pytest.mark.parametrize(
    "line",
    [
        b'{"seq":%d,"schema":1,"recorded_at":"z","event_type":"mcp_operation"}',
        b'{"seq":%d,"schema":1,"recorded_at":"2026-01-01T00:00:00.000000Z","event_type":"mcp_operation",'
        b'"request":{"intent":[]}}',
        b'{"seq":%d,"schema":1,"recorded_at":"2026-01-01T00:00:00.000000Z",'
        b'"event_type":"mcp_operation_started","request":"x"}',
    ],
)
def test_strange_lines_after_the_checkpoint_stop_no_start(path: Path, line: bytes) -> None:
    start(path).close()
    with path.open("ab") as file:
        file.write(line % len(read_all(path)) + b"\n")
    start(path).close()
    assert_sealed(path, read_all(path))


def test_a_deletion_that_could_not_be_recorded_is_recorded_before_the_file_goes(path: Path) -> None:
    writer = start(path, AuditSettings(max_size=20_000, backup_count=2, retention=None))
    keeper = writer._housekeeper
    with mock.patch.object(keeper, "sealed"):  # the test keeps the house
        for number in range(800):
            writer.append(body(str(number)))
        writer.seal()
        full = mock.patch.object(writer, "write_service_events", side_effect=TrailUnavailable("full"))
        with full, pytest.raises(TrailUnavailable):
            keeper.prune()
        keeper.prune()
        writer.close()
    entries = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        entries += [json.loads(line) for line in file.path.read_bytes().splitlines()]
    said = [entry["metadata"]["pruned"] for entry in entries if entry["event_type"] == "retention_applied"]
    assert said[0][0][0] == 0
    assert said[-1][0][1] == entries[0]["seq"] - 1
