"""An erasure in real processes: killed at any moment, and with the trail held by somebody else."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.trail.checking.check import verify_trail
from indelible.trail.erased import erased_leaf
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep.manage import manage
from tests.copying import copy_trail
from tests.erasing import GONE, STAYS, await_compressed, body, call, leaves_of, lines_of, order, places_with

SCRIPT = Path(__file__).with_name("eraser.py")
ROOT = Path(__file__).parents[3]
AUDIT = AuditSettings(max_size=20_000, backup_count=1_000, compress_rotated=True)
CALLS = 400
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of many files, most of them compressed, in which every fifth call is to be erased."""
    folder = tmp_path_factory.mktemp("made")
    writer = open_writer(folder / "audit.jsonl", AUDIT, "test").writer
    for number in range(CALLS):
        call(writer, f"call{number}", GONE if number % 5 == 2 else STAYS)
    writer.layout.quarantine.mkdir()
    (writer.layout.quarantine / "event-1.json").write_bytes(body("killer", GONE) + b"\n")
    await_compressed(writer)
    writer.close()
    assert len(list(writer.layout.segments.iterdir())) > 10
    return folder


@contextmanager
def process(path: Path, what: str) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), str(path), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"open\n"
            yield running
        finally:
            running.kill()


def is_settled(path: Path) -> bool:
    """Open the trail as the next process does, and wait until its housekeeper has done what was left."""
    erasing = Layout(path).directory / "erasing"
    there = erasing.exists()
    writer = open_writer(path, AUDIT, "next").writer
    end = time.monotonic() + PATIENCE_S
    while erasing.exists() and time.monotonic() < end:
        time.sleep(0.01)
    writer.close()
    assert not erasing.exists()
    return there


def test_killed_at_random_moments(made: Path, tmp_path: Path, kills: int) -> None:
    """Either nothing was on record, and everything is as it was, or the next start finishes it: nothing in between."""
    before = leaves_of(made / "audit.jsonl")
    copy_trail(made, tmp_path / "whole")
    with process(tmp_path / "whole" / "audit.jsonl", "erase") as running:
        began = time.monotonic()
        assert running.stdout is not None
        assert running.stdout.readline() == b"done %d\n" % (2 * CALLS // 5)
        took = time.monotonic() - began
    dice, outcomes = random.Random(4711), {"before": 0, "amid": 0, "after": 0}
    for number in range(max(8, kills // 14)):
        folder = tmp_path / str(number)
        copy_trail(made, folder)
        path = folder / "audit.jsonl"
        with process(path, "erase") as running:
            if number % 2:  # amid it, for sure
                erasing = Layout(path).directory / "erasing"
                while not erasing.exists() and running.poll() is None:
                    time.sleep(0.0005)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(dice.uniform(0, took / (1 + 3 * (number % 2))))
            running.kill()
            running.wait()
        recorded = any(b'"event_type":"entry_erased"' in line for line in lines_of(path))
        assert recorded or not any(map(erased_leaf, lines_of(path))), "erased, and nobody says so"
        unfinished = is_settled(path)
        result = verify_trail(path)
        assert result.ok, [str(finding) for finding in result.findings]
        assert leaves_of(path)[: len(before)] == before
        if recorded or unfinished:
            assert places_with(folder) == []
            assert result.erased == 2 * CALLS // 5
        else:
            assert result.erased == 0
        outcomes["amid" if unfinished else "after" if recorded else "before"] += 1
        shutil.rmtree(folder)
    assert outcomes["amid"] > 0, outcomes


def test_while_another_process_holds_the_trail_and_readers_look_on(made: Path, tmp_path: Path) -> None:
    copy_trail(made, tmp_path / "held")
    path = tmp_path / "held" / "audit.jsonl"
    before, results, stop = leaves_of(path), [], threading.Event()

    def look_on() -> None:
        while not stop.is_set():
            results.append(verify_trail(path))

    with process(path, "hold") as running:
        assert running.stdin is not None
        reader = threading.Thread(target=look_on)
        reader.start()
        try:
            for _ in range(50):
                running.stdin.write(b"\n")
            running.stdin.flush()
            done = manage(path, AUDIT, order())
            results.append(verify_trail(path))
        finally:
            stop.set()
            reader.join()
        running.stdin.close()
        running.wait(PATIENCE_S)
    assert (done["lines"], done["loose"]) == (2 * CALLS // 5, 1)
    assert [finding for result in results for finding in result.findings] == []
    assert places_with(path.parent) == []
    assert leaves_of(path)[: len(before)] == before
    assert sum(b'"plain-held' in line for line in lines_of(path)) == 50


def test_the_holder_is_killed_in_the_midst_of_it(made: Path, tmp_path: Path) -> None:
    """Whoever gave the order gives it again, to itself; what the dead one had begun is finished, and said once."""
    copy_trail(made, tmp_path / "held")
    path = tmp_path / "held" / "audit.jsonl"
    before = leaves_of(path)
    erasing = Layout(path).directory / "erasing"
    with process(path, "hold") as running:

        def kill_amid() -> None:
            end = time.monotonic() + PATIENCE_S
            while not erasing.exists() and time.monotonic() < end:
                pass
            running.kill()

        killer = threading.Thread(target=kill_amid)
        killer.start()
        done = manage(path, AUDIT, order())
        killer.join()
    assert done["lines"] + done["lines_before"] == 2 * CALLS // 5
    assert places_with(path.parent) == []
    assert leaves_of(path)[: len(before)] == before
    assert verify_trail(path).ok
    records = [json.loads(line) for line in lines_of(path) if b'"event_type":"entry_erased"' in line]
    assert sum(record["metadata"]["lines"] for record in records) == 2 * CALLS // 5
