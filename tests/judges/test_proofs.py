"""Golang's sumdb and Tessera judge what `prove` and `export` make of trails that our writer wrote."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import indelible
from indelible.config import AuditSettings
from indelible.events import encode_body
from indelible.trail.layout import Layout
from indelible.trail.proofs.export import export_tiles
from indelible.trail.proofs.prove import consistency_proof, root_at
from indelible.trail.proofs.stored import open_sealed, prove
from indelible.trail.start.opening import open_writer
from tests.integration.trail.test_shared import Sharer, holder_of, wait_until
from tests.judges.fsck import TIMEOUT_S, fsck
from tests.judges.test_fsck import ROTATES, operation, record, trail_of, vkey
from tests.judges.tiles import trail_lines

Judge = Callable[[str], str]

MAX_PROOF_BYTES = 2_000
APPENDER = Path(__file__).parents[1] / "integration" / "trail" / "appender.py"
SIZES = [10, 1_000, 70_000, pytest.param(1_000_000, marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=SIZES)
def trail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of exactly so many lines; shared, since the largest takes a while."""
    return trail_of(tmp_path_factory.mktemp("trail") / "audit.jsonl", request.param)


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Make a trail of many files, some compressed, in three runs; `older` beside it is the first run's checkpoint."""
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        record(path, 400, ROTATES)
        older = path.with_name("older")
        if not older.exists():
            older.write_bytes(Layout(path).checkpoint.read_bytes())
    assert list(Layout(path).segments.iterdir()), "nothing was rotated"
    return path


@pytest.fixture
def recovered(tmp_path: Path) -> Path:
    """Make a trail whose writers were killed in the midst of writing, and recovered by the next."""
    path = tmp_path / "audit.jsonl"
    for acknowledged in (300, 700):
        command = [sys.executable, str(APPENDER), str(path), "process", "50000", "events"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(acknowledged):
                assert process.stdout.readline()
            process.kill()
    open_writer(path, AuditSettings(max_size=50_000, backup_count=1_000), "test").writer.close()
    assert len(list(Layout(path).segments.iterdir())) > 2
    return path


LINES = 2_100
"""More than fit a pipe, so that the last of them were said after a holder was there, and by all others through it: an
event that is tried again just as the next holder is killed, too, would be set aside, and whoever records it be told."""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Make a trail that four processes wrote at once, through rotations; whoever held it was killed, three times."""
    path = tmp_path / "audit.jsonl"
    alive = [Sharer(path, "process") for _ in range(4)]
    try:
        assert all(sharer.opened.wait(60) for sharer in alive)
        for _ in range(3):
            wait_until(lambda: any(one.process.pid == holder_of(path) for one in alive))
            before = {one: len(one.said) for one in alive}
            wait_until(lambda before=before: all(len(one.said) > before[one] + LINES for one in alive))  # type: ignore[misc]
            victim = next(one for one in alive if one.process.pid == holder_of(path))
            alive.remove(victim)
            victim.kill()
        wait_until(lambda: any(one.process.pid == holder_of(path) for one in alive))
    finally:
        codes = [sharer.end() for sharer in alive]
    assert codes == [0]
    assert len(list(Layout(path).segments.iterdir())) > 2
    return path


def some(size: int) -> list[int]:
    """Return places in a tree where proofs differ in form: ends of tiles, of perfect subtrees, of the tree."""
    places = {0, 1, 255, 256, 257, 511, 512, size // 3, size // 2, 65_535, 65_536, size - 2, size - 1}
    return sorted(place for place in places if 0 <= place < size)


def proofs_of(trail: Path, folder: Path, seqs: list[int]) -> list[str]:
    """Write the lines and their proofs; return their paths, in pairs."""
    wanted, pairs = set(seqs), []
    for seq, line in enumerate(trail_lines(trail)):
        if seq in wanted:
            data = prove(trail, seq).data()
            assert len(data) <= MAX_PROOF_BYTES
            for name, content in ((f"{seq}.json", line + b"\n"), (f"{seq}.tlog-proof", data)):
                (folder / name).write_bytes(content)
                pairs.append(str(folder / name))
    return pairs


def judged(*command: str, said: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=600)


def assert_provable(trail: Path, folder: Path, judge: Judge) -> None:
    size = open_sealed(trail).checkpoint.size
    seqs = some(size)
    done = judged(judge("proofcheck"), "record", str(vkey(trail)), *proofs_of(trail, folder, seqs))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [{"index": seq, "size": size} for seq in seqs]


def assert_exportable(trail: Path, log: Path, judge: Judge, *older: Path) -> None:
    exported = export_tiles(trail, log)
    assert exported.left_out == []
    ok, said = fsck(judge("fsck"), log, vkey(trail), TIMEOUT_S + exported.size / 2_000)
    assert ok, said
    done = judged(judge("proofcheck"), "log", str(vkey(trail)), str(log), *map(str, older))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"entries": exported.size}


def test_sumdb_checks_our_inclusion_proofs(trail: Path, tmp_path: Path, judge: Judge) -> None:
    assert_provable(trail, tmp_path, judge)


def test_sumdb_refuses_another_line(trail: Path, tmp_path: Path, judge: Judge) -> None:
    first, proof, second, _ = proofs_of(trail, tmp_path, [3, 4])
    assert judged(judge("proofcheck"), "record", str(vkey(trail)), first, proof).returncode == 0
    done = judged(judge("proofcheck"), "record", str(vkey(trail)), second, proof)
    assert (done.returncode, done.stderr) == (1, "invalid transparency proof\n")


def test_sumdb_checks_our_consistency_proofs(trail: Path, judge: Judge) -> None:
    sealed = open_sealed(trail)
    tiles, size = sealed.tiles, sealed.checkpoint.size
    asked = []
    for old in [place + 1 for place in some(size)]:
        path, root = [item.hex() for item in consistency_proof(tiles, old)], root_at(tiles, old).hex()
        about = {
            "size1": old,
            "size2": size,
            "root1": root,
            "root2": sealed.checkpoint.root.hex(),
            "proof": path,
        }
        asked += [(about, True), ({**about, "root1": "00" * 32}, False)]
        if path:
            asked.append(({**about, "proof": path[:-1]}, False))
    text = "".join(json.dumps(about) + "\n" for about, _ in asked)
    done = judged(judge("proofcheck"), "trees", said=text)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["ok"] for line in done.stdout.splitlines()] == [ok for _, ok in asked]


def test_an_export_is_accepted(trail: Path, tmp_path: Path, judge: Judge) -> None:
    assert_exportable(trail, tmp_path / "log", judge)


def test_after_rotations(rotated: Path, tmp_path: Path, judge: Judge) -> None:
    assert_provable(rotated, tmp_path, judge)
    assert_exportable(rotated, tmp_path / "log", judge, rotated.with_name("older"))


def test_after_kills_and_recovery(recovered: Path, tmp_path: Path, judge: Judge) -> None:
    assert_provable(recovered, tmp_path, judge)
    assert_exportable(recovered, tmp_path / "log", judge)


def test_after_several_writers_and_their_deaths(shared: Path, tmp_path: Path, judge: Judge) -> None:
    recorders = {
        entry["source"]["recorder"]["pid"]
        for entry in map(json.loads, trail_lines(shared))
        if entry["event_type"] == "mcp_operation" and entry["outcome"]["kind"] == "completed"
    }
    assert len(recorders) == 4
    assert_provable(shared, tmp_path, judge)
    assert_exportable(shared, tmp_path / "log", judge)


def test_a_proof_of_an_event_whose_file_was_deleted(tmp_path: Path, judge: Judge) -> None:
    trail = tmp_path / "audit.jsonl"
    writer = open_writer(trail, AuditSettings(max_size=20_000, backup_count=1, retention=None), "test").writer
    writer.append(encode_body(operation(0)))
    line = trail.read_bytes().splitlines()[-1]
    for number in range(1, 20_000):
        writer.append(encode_body(operation(number)))
        if not number % 200:
            writer.seal()
            if not Layout(trail).segment(0).exists():
                break
    writer.close()
    seq = json.loads(line)["seq"]
    assert indelible.verify(trail).pruned > seq
    (tmp_path / "line").write_bytes(line)
    (tmp_path / "proof").write_bytes(prove(trail, seq).data())
    pair = (str(tmp_path / "line"), str(tmp_path / "proof"))
    done = judged(judge("proofcheck"), "record", str(vkey(trail)), *pair)
    assert done.returncode == 0, done.stderr
