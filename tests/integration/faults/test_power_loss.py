"""The power goes, and with it what was not synced: the trail loses an end at the most, and never forks.

A run is traced (strace); `power.Disk` makes from it what may be on the disk after each of its calls. On each a writer
is started, and what it makes of the trail is compared with every checkpoint that was published until then, which
somebody may have kept, and with what was acknowledged.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from indelible import verify
from indelible.config import Durability
from indelible.errors import TrailError
from indelible.trail import files
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from tests.effort import LONG, sample
from tests.integration.faults.fixed_run import SEAL_EVERY, Case, settings
from tests.integration.faults.power import Disk, draw, everything
from tests.integration.faults.tracing import Call, Recorders
from tests.unit.trail.faults import read_all

TRACED = "openat,close,write,pwrite64,ftruncate,fdatasync,fsync,rename,link,symlink,unlink,unlinkat,rmdir,mkdir,sendto"
SHARES = (0.0, 1.1, 0.5, 0.5, 0.2, 0.8)
"""How likely each change is on the disk that was not synced: none, all, and several draws between."""


@dataclass
class Moment:
    """What was so when the power went."""

    at: int
    """After so many calls."""
    acked: list[str] = field(default_factory=list)
    published: list[tuple[int, bytes]] = field(default_factory=list)
    """Size and root of every checkpoint that was ever in place."""


def traced(recorders: Recorders, folder: Path, durability: Durability) -> tuple[Path, list[Call]]:
    folder.mkdir()
    path = folder / "audit.jsonl"
    options = ["-xx", "-s", "10000000", "-e", f"trace={TRACED}"]
    outcome = recorders.run(Case(str(path), durability), options, folder.with_suffix(".trace"))
    assert outcome.said[-1] == "closed"
    return path, outcome.calls()


def moments(path: Path, calls: list[Call]) -> list[Moment]:
    """Return a moment after each call that changed what is on the disk."""
    disk, found = Disk(path.parent), []
    moment = Moment(0)
    checkpoint = str(Layout(path).checkpoint)
    for at, call in enumerate(calls, 1):
        changed = disk.follow(call)
        if call.name == "rename" and changed and call.args.endswith(_hex(checkpoint)):
            moment.published.append(parse_checkpoint(disk.read(checkpoint)))
        if call.name == "sendto" and (name := acked(call)):
            moment.acked.append(name)
        if changed:
            found.append(Moment(at, list(moment.acked), list(moment.published)))
    return found


def _hex(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def acked(call: Call) -> str:
    said = bytes.fromhex(call.args.split('"')[1].replace("\\x", "")).decode()
    return said.removeprefix("acked ") if said.startswith("acked ") else ""


def parse_checkpoint(note: bytes) -> tuple[int, bytes]:
    """C2SP tlog-checkpoint: origin, size, root in base64."""
    _, size, root = note.decode().split("\n")[:3]
    return int(size), base64.b64decode(root)


def root_of(lines: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it stands there: nothing of ours."""
    if not lines:
        return hashlib.sha256().digest()
    if len(lines) == 1:
        return hashlib.sha256(b"\0" + lines[0]).digest()
    half = 1 << (len(lines) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root_of(lines[:half]) + root_of(lines[half:])).digest()


def lines_of(path: Path) -> list[bytes]:
    found: list[bytes] = []
    for file in reversed(list(files.newest_first(Layout(path)))):
        with files.open_file(file) as stream:
            found += [line.removesuffix(b"\n") for line in stream]
    return found


def check(path: Path, durability: Durability, moment: Moment) -> None:
    layout = Layout(path)
    open_writer(path, settings(durability), "test").writer.close()
    assert not layout.retired.exists(), "a disk that keeps its word never loses what a checkpoint covers"
    lines = lines_of(path)
    for size, root in moment.published:
        assert root_of(lines[:size]) == root, f"forked from the checkpoint of {size} that somebody may have"
    found = read_all(path)
    times = Counter(entry["event_id"] for entry in found)
    assert [name for name, count in times.items() if count > 1] == []
    there = [name for name in moment.acked if times[name]]
    if durability == "disk":
        assert there == moment.acked, "acknowledged at disk, and lost"
    else:
        assert there == moment.acked[: len(there)], "something else than the end was lost"
    if there:  # it says what it found
        recovered = [entry["metadata"] for entry in found if entry["event_type"] == "audit_recovered"]
        stopped = [entry for entry in found if entry["event_type"] == "audit_stopped"]
        assert len(recovered) == 1 or len(stopped) == 2
        for torn in (torn for said in recovered for torn in said["torn"]):
            assert (layout.directory / torn["quarantine"]).stat().st_size == torn["bytes"]
    result = verify(path)
    assert result.ok, result.findings


@pytest.mark.sampled
@pytest.mark.timeout(7200 if LONG else 300)
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_the_power_goes_at_any_moment(recorders: Recorders, tmp_path: Path, durability: Durability) -> None:
    path, calls = traced(recorders, tmp_path / "run", durability)
    all_moments = moments(path, calls)
    assert len(all_moments[-1].published) >= 4
    cases = [(moment, number) for moment in all_moments for number in range(len(SHARES))]
    before_a_checkpoint = next(moment for moment in all_moments if len(moment.acked) == SEAL_EVERY - 1)
    cases_tried = [(before_a_checkpoint, 0), *sample(cases, 60, f"power {durability}")]
    chosen = sorted(cases_tried, key=lambda case: case[0].at)
    disk, followed, wrong, lost, doubtful = Disk(path.parent), 0, [], 0, 0
    for moment, number in chosen:
        for call in calls[followed : moment.at]:
            disk.follow(call)
        followed = moment.at
        doubtful += disk.uncertain > 0
        place = tmp_path / "after"
        place.mkdir()
        disk.leave(draw(f"{durability} {moment.at} {number}", SHARES[number]), place)
        Layout(place / path.name).place.unlink(
            missing_ok=True
        )  # the files are others here; on a disk they stay
        try:
            check(place / path.name, durability, moment)
        except (AssertionError, TrailError) as exc:
            wrong.append(
                f"after call {moment.at} ({calls[moment.at - 1].name}), {SHARES[number]}, {number}: {exc}"
            )
        else:
            ids = {entry["event_id"] for entry in read_all(place / path.name)}
            lost += not ids.issuperset(moment.acked)
        shutil.rmtree(place)
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:40])
    assert doubtful > len(chosen) // 2
    assert (lost > 0) == (durability == "process"), "nothing was ever lost: the model does not lose anything"


def test_the_model_is_the_disk_when_nothing_is_lost(recorders: Recorders, tmp_path: Path) -> None:
    path, calls = traced(recorders, tmp_path / "run", "process")
    disk = Disk(path.parent)
    for call in calls:
        disk.follow(call)
    (tmp_path / "model").mkdir()
    disk.leave(everything, tmp_path / "model")

    def content(root: Path) -> dict[str, object]:
        return {
            str(file.relative_to(root)): file.readlink()
            if file.is_symlink()
            else file.is_dir() or file.read_bytes()
            for file in root.rglob("*")
        }

    assert content(tmp_path / "model") == content(path.parent)
