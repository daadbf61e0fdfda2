"""Every system call on the trail's files fails, is cut short, or is the last one; the kernel itself says so (strace).

A fixed run, which rotates, compresses and makes checkpoints, is traced once. Then it runs again for each of its calls:
at the k-th of a kind strace makes the call fail, or kills the process before it. What the run was told (`acked`,
`failed`) is compared with what a start without strace finds: nothing acknowledged is lost, nothing stands twice,
nothing whose caller was told that it is not recorded is there, and each event's caller was told one or the other.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from indelible import verify
from indelible.config import Durability
from indelible.errors import TrailError
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from tests.copying import copy_trail
from tests.effort import LONG, sample
from tests.integration.faults.fixed_run import EVENTS, PADDING, SEAL_EVERY, Case, body, settings
from tests.integration.faults.tracing import Call, Outcome, Recorders
from tests.unit.trail.faults import assert_sealed, read_all

CHANGING: Final = (
    "openat", "write", "pwrite64", "fdatasync", "fsync", "rename", "link", "symlink", "close", "mkdir", "unlink",
    "unlinkat", "rmdir", "ftruncate", "flock",
)  # fmt: skip
LOOKING: Final = ("read", "newfstatat", "getdents64", "lseek", "readlink")
ERRORS: Final = ("EIO", "ENOSPC", "EINTR")
MOST_CALLS: Final = 300
"""So many calls of a kind the fixed run may make: each of them is a case."""
MOST_LOOKS: Final = 400
"""The same of calls that change nothing."""

DURABILITIES: Final[tuple[Durability, ...]] = ("process", "disk")
THREADED_CALLS: Final = 40
"""With the trail's own threads counts differ from run to run: so many calls of each thread are tried, there or not."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong: at the `at`-th call (from 1) of a kind."""

    durability: Durability
    call: str
    what: str
    at: int
    start: str = "new"
    """The trail that the run begins with: none, or one whose writer was killed."""
    threads: bool = False
    short: int = 0

    @property
    def options(self) -> list[str]:
        """How strace is told."""
        if self.what in ("short", "short, then full"):
            last = self.at if self.what == "short" else self.at + 1
            how = f"signal=USR1:when={self.at - 1}..{last}+{last - self.at + 1}"
        elif self.what == "SIGKILL":
            how = f"signal=KILL:when={self.at}"
        else:
            how = f"error={self.what}:when={self.at}"
        return ["-y", "-e", "trace=" + ",".join(CHANGING), "-e", f"inject={self.call}:{how}"]


@pytest.fixture(scope="module")
def starts(recorders: Recorders, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    """Trails that a run begins with: with lines that no checkpoint covers, half a line, half a rotation."""
    folder = tmp_path_factory.mktemp("starts")
    found: dict[str, Path | None] = {"new": None}
    for name, call, at in (("killed in a write", "write", 40), ("killed in a rotation", "link", 3)):
        path = folder / name / "audit.jsonl"
        outcome = recorders.run(
            Case(str(path), name="s"), Fault("process", call, "SIGKILL", at).options, folder / f"{at}.trace"
        )
        assert outcome.killed
        if call == "write":
            with path.open("ab") as file:
                file.write(b'{"seq":')
        found[name] = path.parent
    return found


def traced(recorders: Recorders, tmp_path: Path, fault: Fault, origin: Path | None) -> tuple[Path, Outcome]:
    path = tmp_path / "audit.jsonl"
    if origin is not None:
        copy_trail(origin, tmp_path)
    case = Case(str(path), fault.durability, threads=fault.threads, short=fault.short)
    return path, recorders.run(case, fault.options, tmp_path.with_suffix(".trace"))


def calls_of_a_whole_run(
    recorders: Recorders, folder: Path, durability: Durability, origin: Path | None
) -> list[Call]:
    """Run without a fault; return the calls."""
    path = folder / "audit.jsonl"
    if origin is not None:
        copy_trail(origin, folder)
    kinds = "trace=" + ",".join(CHANGING + LOOKING)
    outcome = recorders.run(Case(str(path), durability), ["-y", "-e", kinds], folder.with_suffix(".trace"))
    assert outcome.status == 0
    assert outcome.names("acked") == [f"e{number}" for number in range(EVENTS)]
    assert outcome.said.count("sealed") == EVENTS // SEAL_EVERY
    assert len(list(Layout(path).segments.glob("*.zst"))) >= 3, "a run rotates, and compresses what it closes"
    return outcome.calls()


def faults_of(calls: list[Call], durability: Durability, start: str) -> Iterator[Fault]:
    for kind, count in Counter(call.name for call in calls).items():
        most = MOST_CALLS if kind in CHANGING else MOST_LOOKS
        assert count <= most, f"{count} calls of {kind}: a fixed run is shorter"
        whats = (*ERRORS, "SIGKILL") if kind in CHANGING else ("EIO",)
        for what in whats:
            for at in range(1, count + 1):
                yield Fault(durability, kind, what, at, start)
    yield from _short_writes(calls, durability, start)


def _short_writes(calls: list[Call], durability: Durability, start: str) -> Iterator[Fault]:
    """For each write to a file: the kernel takes half of it, and the rest (a) then, or (b) not either."""
    sizes: dict[int, int] = {}
    at = 0
    for call in calls:
        size = call.result or 0
        if call.name == "openat" and "O_CREAT" in call.args:
            sizes[size] = 0
        if call.name == "write":
            at += 1
            before = sizes.get(call.descriptor)
            if at == 1 or size < 2 or before is None:  # of a file from before the length is not known
                continue
            for what in ("short", "short, then full"):
                yield Fault(durability, "write", what, at, start, short=before + size // 2)
            sizes[call.descriptor] = before + size


def check(path: Path, fault: Fault, outcome: Outcome) -> None:
    """Start again without strace, and compare what is there with what the run was told."""
    acked, failed = outcome.names("acked"), outcome.names("failed")
    if fault.what == "SIGKILL":
        assert outcome.killed or outcome.said[-1] == "closed"
    else:
        assert outcome.status == 0, f"it ended with {outcome.status}: {outcome.said[-3:]}"
        if not any(line.startswith("refused") for line in outcome.said):
            told = Counter(acked + failed)
            assert told == Counter(f"e{number}" for number in range(EVENTS)), "not everybody was told"
            assert outcome.said[-1] == "closed"
    assert [line for line in outcome.said if "\n" in line or "Traceback" in line] == []
    writer = open_writer(path, settings(fault.durability), "test").writer
    writer.append(body("after"))
    writer.close()
    found = read_all(path)
    times = Counter(entry["event_id"] for entry in found)
    assert [name for name in [*acked, "after"] if times[name] == 0] == [], "acknowledged and lost"
    assert [name for name, count in times.items() if count > 1] == [], "there twice"
    if not outcome.killed:
        assert [name for name in failed if times[name]] == [], "there, though its caller was told otherwise"
    assert_sealed(path, found)
    result = verify(path)
    assert result.ok, result.findings


def go_through(
    recorders: Recorders, starts: dict[str, Path | None], faults: list[Fault], folder: Path
) -> list[Outcome]:
    """Run with each fault, and say of all that went wrong how."""
    outcomes, wrong = [], []
    for number, fault in enumerate(faults):
        place = folder / str(number)
        place.mkdir()
        path, outcome = traced(recorders, place, fault, starts[fault.start])
        outcomes.append(outcome)
        try:
            check(path, fault, outcome)
        except (AssertionError, TrailError) as exc:
            wrong.append(f"{fault}\n    {exc}".replace("\n", "\n    ") + f"\n    {outcome.said[-6:]}")
            continue
        shutil.rmtree(place)
    assert not wrong, f"{len(wrong)} of {len(faults)}:\n" + "\n".join(wrong[:40])
    return outcomes


@pytest.mark.sampled
@pytest.mark.timeout(7200 if LONG else 300)
@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("start", ["new", "killed in a write", "killed in a rotation"])
def test_every_system_call_goes_wrong(
    recorders: Recorders, starts: dict[str, Path | None], tmp_path: Path, durability: Durability, start: str
) -> None:
    calls = calls_of_a_whole_run(recorders, tmp_path / "whole", durability, starts[start])
    kinds = Counter(call.name for call in calls)
    assert min(kinds[kind] for kind in ("rename", "link", "symlink", "fdatasync", "fsync", "unlink")) >= 1
    faults = list(faults_of(calls, durability, start))
    assert len(faults) > 1000
    outcomes = go_through(recorders, starts, sample(faults, 18, f"{durability} {start}"), tmp_path)
    assert any(outcome.killed for outcome in outcomes)
    felt = {line.split(" ", 1)[0] for outcome in outcomes for line in outcome.said}
    assert felt & {"failed", "refused", "unsealed", "logged"}, "no fault was felt: the test shows nothing"


@pytest.mark.sampled
@pytest.mark.timeout(7200 if LONG else 300)
@pytest.mark.parametrize("durability", DURABILITIES)
def test_with_the_trails_own_threads(
    recorders: Recorders, starts: dict[str, Path | None], tmp_path: Path, durability: Durability
) -> None:
    """Each of the threads meets the fault at its own k-th call."""
    faults = [
        Fault(durability, kind, what, at, threads=True)
        for kind in CHANGING
        for what in (*ERRORS, "SIGKILL")
        for at in range(1, THREADED_CALLS + 1)
    ]
    go_through(recorders, starts, sample(faults, 10, f"threads {durability}"), tmp_path)


def test_a_short_write_is_the_kernels_own(recorders: Recorders, tmp_path: Path) -> None:
    """The limit on a file's size makes the kernel take half a line, twice as the run goes on, and say so."""
    calls = calls_of_a_whole_run(recorders, tmp_path / "whole", "process", None)
    fault = next(
        fault
        for fault in _short_writes(calls, "process", "new")
        if fault.what == "short, then full"
        and fault.short > PADDING + 500  # beyond the file's own first line
        and calls_of_kind(calls, "write")[fault.at - 1].path.endswith(".active.tmp")
    )
    path, outcome = traced(recorders, tmp_path / "run", fault, None)
    writes = calls_of_kind(outcome.calls(), "write")
    whole = calls_of_kind(calls, "write")[fault.at - 1].result
    assert whole is not None
    assert writes[fault.at - 1].result == whole // 2
    assert writes[fault.at].rest.lstrip().startswith("EFBIG")
    assert len(outcome.names("failed")) == 1
    check(path, fault, outcome)


def calls_of_kind(calls: list[Call], kind: str) -> list[Call]:
    return [call for call in calls if call.name == kind]
