"""What the kernel sees after a sync failed: the descriptor is not synced again, and the batch goes to another file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.effort import sample
from tests.integration.faults.fixed_run import Case
from tests.integration.faults.test_system_calls import Fault, check
from tests.integration.faults.tracing import Call, Outcome, Recorders

TRACED = "openat,open,creat,dup,dup2,dup3,fcntl,close,write,pwrite64,fdatasync,fsync,sync_file_range,rename,link,unlink"
OPTIONS = ["-y", "-s", "4000000", "-e", f"trace={TRACED}"]
"""All of what is written, and every call that makes, ends or syncs a descriptor. `dup` makes another of the same open
file description (open(2)), which would be the same to the kernel: there must be none."""


def lines_in(call: Call) -> set[str]:
    """Return the ids of the run's events among what a call writes."""
    return set(re.findall(r'\\"event_id\\":\\"(e\d+)\\"', call.args))  # the trail's own have UUIDs


def run(recorders: Recorders, folder: Path, at: int, error: str) -> tuple[Path, Outcome, list[Call]]:
    folder.mkdir()
    path = folder / "audit.jsonl"
    options = [*OPTIONS, "-e", f"inject=fdatasync:error={error}:when={at}"]
    outcome = recorders.run(Case(str(path), "disk"), options, folder.with_suffix(".trace"))
    assert outcome.status == 0, outcome.said
    return path, outcome, outcome.calls()


def after_the_failure(calls: list[Call]) -> tuple[list[Call], Call, list[Call]]:
    at = next(index for index, call in enumerate(calls) if call.injected)
    return calls[:at], calls[at], calls[at + 1 :]


def written_since_last_sync(before: list[Call], failed: Call) -> set[str]:
    """Return the events that were written to the descriptor since it was last synced or opened."""
    names: set[str] = set()
    for call in before:
        opened = call.name == "openat" and call.result == failed.descriptor
        if opened or (call.name, call.descriptor) == ("fdatasync", failed.descriptor):
            names = set()
        elif (call.name, call.descriptor) == ("write", failed.descriptor):
            names |= lines_in(call)
    return names


@pytest.mark.sampled
def test_a_failed_sync_is_not_tried_again_and_its_batch_goes_elsewhere(
    recorders: Recorders, tmp_path: Path
) -> None:
    path = tmp_path / "whole" / "audit.jsonl"
    whole = recorders.run(Case(str(path), "disk"), OPTIONS, tmp_path / "whole.trace").calls()
    syncs = [call for call in whole if call.name == "fdatasync"]
    of_the_active = [at for at, call in enumerate(syncs, 1) if ".active.tmp" in call.path]
    assert len(of_the_active) > 20
    rewritten = 0
    for at in sample(of_the_active, 4, "failed sync"):
        for error in ("EIO", "ENOSPC"):
            trail, outcome, calls = run(recorders, tmp_path / f"{at}-{error}", at, error)
            assert not [call for call in calls if call.name.startswith("dup")]
            before, failed, after = after_the_failure(calls)
            assert ".active.tmp" in failed.path
            own = [call for call in after if call.descriptor == failed.descriptor]
            closed = next(index for index, call in enumerate(own) if call.name == "close")
            assert [call for call in own[:closed] if call.name in ("fdatasync", "fsync", "write")] == []

            batch = written_since_last_sync(before, failed)
            elsewhere = {
                name
                for call in after
                if call.name == "write" and "next.jsonl" in call.path
                for name in lines_in(call)
            }
            assert batch <= elsewhere, f"{batch - elsewhere} were left to the page cache"
            assert batch <= set(outcome.names("acked"))
            rewritten += bool(batch)
            check(trail, Fault("disk", "fdatasync", error, at), outcome)
    assert rewritten, "no failure came when anything was unsynced: the test shows nothing"
