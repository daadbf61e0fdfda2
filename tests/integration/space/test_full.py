"""A disk that fills up, and is full: what is said, what is kept, and that everything goes on when there is room."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible import config, events
from indelible.errors import TrailUnavailable
from indelible.opening import open_recorder
from indelible.recorder import Recorder
from indelible.trail import sealer
from indelible.trail.writer import Writer
from tests.integration.space.conftest import Filler
from tests.integration.wrap.harness import INDELIBLE, Client, call, isolated, nasty, wait_for
from tests.integration.wrap.harness import events as lines_of

Mounted = Callable[..., Path]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "LOOK_S", 0.05)


def start(trail: Path, **audit: Any) -> Recorder:
    given = {"audit": {"path": str(trail), "on_failure": "allow", **audit}}
    return open_recorder(config.parse(given, where="test", env={}), caller="library")


def event(name: str, size: int = 0) -> events.Event:
    about = {"test.pad": "x " * (size // 2)} if size else None
    return events.Event(
        timestamp=events.now(),
        event_type="mcp_operation",
        event_id=name,
        outcome=events.outcome("completed", 1.0),
        metadata=about,
    )


def all_events(trail: Path) -> list[dict[str, Any]]:
    """Return every event, from closed files as well, once the trail has been verified."""
    assert indelible.verify(trail).ok
    return list(indelible.search(trail, events="all"))


def holder(recorder: Recorder) -> Writer:
    assert recorder._writer is not None
    assert recorder._writer.holder is not None
    return recorder._writer.holder


def alerts(trail: Path) -> list[tuple[str, float]]:
    return [
        (found["metadata"]["disk"], found["metadata"]["threshold"])
        for found in indelible.search(trail, events="alert")
    ]


def record_until_lost(recorder: Recorder, prefix: str) -> int:
    """Record until events are lost, and a few more; return how many were given to the recorder."""
    count = 0
    while recorder._gap.lost < 5:
        recorder.record(event(f"{prefix}{count}"))
        count += 1
    return count


def test_each_threshold_is_said_once_and_so_is_that_it_is_well(mounted: Mounted, filler: type[Filler]) -> None:
    disk = mounted("size=16m")
    trail, other = disk / "audit.jsonl", filler(disk)
    said: list[tuple[str, float]] = []
    with start(trail, on_failure="deny") as recorder:
        for percent, threshold in ((77, 75.0), (91, 90.0)):
            other.fill_to(percent)
            said.append(("above", threshold))
            wait_for(lambda: alerts(trail) == said)
            recorder.record(event(f"at-{percent}"))
        other.fill_to(96)
        said.append(("above", 95.0))
        wait_for(lambda: alerts(trail) == said)
        with pytest.raises(
            TrailUnavailable, match=r"9\d\.\d % of the file system's bytes are used, the last of"
        ):
            recorder.record(event("refused"))
        other.empty()
        said.append(("below", 75.0))
        wait_for(lambda: alerts(trail) == said)
        recorder.record(event("again"))
    assert alerts(trail) == said
    found = all_events(trail)
    assert [one["event_id"] for one in found if one["event_type"] == "mcp_operation"] == [
        "at-77",
        "at-91",
        "again",
    ]
    first = next(one for one in found if one["event_type"] == "alert")["metadata"]
    assert first["of"] == "bytes"
    assert first["path"] == str(trail) + ".d"
    assert first["used"] + first["free"] == 16 << 20
    assert 75 <= first["used_percent"] < 80


@pytest.mark.parametrize("durability", ["memory", "process", "disk"])
def test_what_is_lost_above_the_last_threshold_is_counted_exactly(
    mounted: Mounted, filler: type[Filler], durability: str
) -> None:
    disk = mounted("size=16m")
    trail, other = disk / "audit.jsonl", filler(disk)
    with start(trail, durability=durability) as recorder:
        recorder.record(event("first"))
        other.fill_to(96)
        given = record_until_lost(recorder, "full-")
        wait_for(lambda: ("above", 95.0) in alerts(trail))
        other.empty()
        wait_for(lambda: ("below", 75.0) in alerts(trail))
        recorder.record(event("last"))
    found = all_events(trail)
    recorded = [one["event_id"] for one in found if one["event_type"] == "mcp_operation"]
    gaps = [one["metadata"]["lost"] for one in found if one["event_type"] == "audit_gap"]
    assert recorded[0] == "first"
    assert recorded[-1] == "last"
    assert sum(gaps) == given - (len(recorded) - 2)
    assert recorded[1:-1] == [f"full-{number}" for number in range(len(recorded) - 2)]


@pytest.mark.parametrize("durability", ["memory", "process", "disk"])
@pytest.mark.parametrize("thresholds", [[75, 90, 95], "none"])
def test_on_a_full_disk_the_end_is_still_recorded_and_sealed(
    mounted: Mounted, filler: type[Filler], durability: str, thresholds: Any
) -> None:
    disk = mounted("size=16m")
    trail, other = disk / "audit.jsonl", filler(disk)
    recorder = start(trail, durability=durability, disk_thresholds=thresholds)
    for number in range(300):
        recorder.record(event(f"before-{number}", 500))
    holder(recorder).drain()  # at `memory`, what is queued is not written yet
    other.fill_to(100)
    given = 300 + record_until_lost(recorder, "full-")
    recorder.close()
    other.fill_to(100)  # whatever the end has left
    result = indelible.verify(trail)
    assert (result.ok, result.unsealed) == (True, 0)
    found = all_events(trail)
    recorded = [one["event_id"] for one in found if one["event_type"] == "mcp_operation"]
    gaps = [one["metadata"]["lost"] for one in found if one["event_type"] == "audit_gap"]
    assert found[-1]["event_type"] == "audit_stopped"
    assert sum(gaps) + len(recorded) == given
    assert recorded[:300] == [f"before-{number}" for number in range(300)]


def test_refusals_that_find_no_room_are_counted(mounted: Mounted, filler: type[Filler]) -> None:
    disk = mounted("size=16m")
    trail, other = disk / "audit.jsonl", filler(disk)
    recorder = start(trail, on_failure="deny")
    other.fill_to(100)
    wait_for(lambda: holder(recorder)._withheld is not None)
    with pytest.raises(TrailUnavailable):
        recorder.record(event("full"))
    for number in range(50):
        recorder.refuse(event(f"refused-{number}", 400 if number % 10 else 60_000))
    recorder.close()
    found = all_events(trail)
    refused = [one for one in found if str(one["event_id"]).startswith("refused-")]
    gaps = [one["metadata"]["lost"] for one in found if one["event_type"] == "audit_gap"]
    assert len(refused) + sum(gaps) == 50
    assert [one["event_type"] for one in found[-2:]] == ["audit_gap", "audit_stopped"]
    assert indelible.verify(trail).unsealed == 0


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_trail_that_fills_the_disk_itself_goes_on_when_it_grows(mounted: Mounted, durability: str) -> None:
    disk = mounted("size=6m")
    trail = disk / "audit.jsonl"
    recorder = start(
        trail,
        durability=durability,
        max_size_mb=0.5,
        backup_count=1000,
        disk_thresholds="none",
        record_args="full",
    )
    given = 0
    while recorder._gap.lost < 20:
        recorder.record(event(f"event-{given}", 1500))
        given += 1
    subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
    wait_for(lambda: holder(recorder)._withheld is None)
    while recorder._gap.open:
        recorder.record(event(f"event-{given}"))
        given += 1
    recorder.close()
    found = all_events(trail)
    recorded = [one["event_id"] for one in found if one["event_type"] == "mcp_operation"]
    gaps = [one["metadata"]["lost"] for one in found if one["event_type"] == "audit_gap"]
    assert len(set(recorded)) == len(recorded)
    assert len(recorded) + sum(gaps) == given
    assert recorded[-1] == f"event-{given - 1}"
    assert indelible.verify(trail).unsealed == 0


def test_a_disk_without_inodes(mounted: Mounted) -> None:
    disk = mounted("size=16m,nr_inodes=200")
    trail = disk / "audit.jsonl"
    others = [disk / f"other-{number}" for number in range(200)]
    with start(trail) as recorder:
        recorder.record(event("first"))
        with contextlib.suppress(OSError):
            for path in others:
                path.touch()
        wait_for(lambda: alerts(trail) == [("above", 75.0), ("above", 90.0), ("above", 95.0)])
        given = record_until_lost(recorder, "full-")
        for path in others:
            path.unlink(missing_ok=True)
        wait_for(lambda: alerts(trail)[-1] == ("below", 75.0))
        recorder.record(event("last"))
    found = all_events(trail)
    assert {one["metadata"]["of"] for one in found if one["event_type"] == "alert"} == {"inodes"}
    recorded = [one["event_id"] for one in found if one["event_type"] == "mcp_operation"]
    [gap] = [one["metadata"]["lost"] for one in found if one["event_type"] == "audit_gap"]
    assert gap + len(recorded) == given + 2


def test_without_any_inode_the_end_is_recorded_and_sealed_later(mounted: Mounted) -> None:
    disk = mounted("size=16m,nr_inodes=200")
    trail = disk / "audit.jsonl"
    others = [disk / f"other-{number}" for number in range(200)]
    recorder = start(trail)
    recorder.record(event("first"))
    wait_for(lambda: holder(recorder).sealed == holder(recorder).size)
    with contextlib.suppress(OSError):
        for path in others:
            path.touch()
    given = record_until_lost(recorder, "full-")
    recorder.close()
    found = all_events(trail)
    recorded = [one["event_id"] for one in found if one["event_type"] == "mcp_operation"]
    [gap] = [one["metadata"]["lost"] for one in found if one["event_type"] == "audit_gap"]
    assert gap + len(recorded) == given + 1
    assert found[-1]["event_type"] == "audit_stopped"
    for path in others:
        path.unlink(missing_ok=True)
    start(trail).close()
    assert indelible.verify(trail).unsealed == 0
    assert all_events(trail)[: len(found)] == found


# --- real processes -------------------------------------------------------------------------------------------

WRITES = """
    import sys
    import indelible
    from indelible.events import Event, new_id, now, outcome

    with indelible.open_trail(sys.argv[1], on_failure="deny", durability=sys.argv[2]) as trail:
        for line in sys.stdin:
            trail.record(Event(timestamp=now(), event_type="mcp_operation", event_id=new_id(),
                               outcome=outcome("completed", 1.0), metadata={"test.line": line.strip()}))
            print(line.strip(), flush=True)
"""


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_start_on_a_full_disk_after_a_kill_uses_the_reserve(
    mounted: Mounted, filler: type[Filler], tmp_path: Path, durability: str
) -> None:
    disk = mounted("size=16m")
    trail, other = disk / "audit.jsonl", filler(disk)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITES), str(trail), durability],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **isolated(tmp_path)},
    )
    try:
        assert process.stdin
        assert process.stdout
        for number in range(200):
            process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        assert [int(process.stdout.readline()) for _ in range(200)] == list(range(200))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    other.fill_to(100)
    recorder = start(trail)
    recorder.record(event("lost"))
    recorder.close()
    found = all_events(trail)
    recorded = [one["metadata"]["test.line"] for one in found if "test.line" in one.get("metadata", {})]
    assert recorded == [str(number) for number in range(200)]
    kinds = [one["event_type"] for one in found]
    assert kinds[-2:] == ["audit_gap", "audit_stopped"]
    assert {"audit_recovered", "audit_started"} <= set(kinds)
    assert indelible.verify(trail).unsealed == 0


def status(trail: Path, tmp_path: Path, *options: str) -> str:
    done = subprocess.run(
        [*INDELIBLE, "status", *options],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, **isolated(tmp_path)},
    )
    return done.stdout


def test_deny_refuses_calls_while_the_disk_is_full_and_status_says_why(
    mounted: Mounted, filler: type[Filler], tmp_path: Path
) -> None:
    disk = mounted("size=16m")
    trail, other = disk / "audit.jsonl", filler(disk)
    (tmp_path / "indelible.yaml").write_text(f"audit: {{path: {trail}, on_failure: deny}}\n")
    client = Client([*INDELIBLE, "wrap", "--", *nasty("behave")], cwd=tmp_path)
    try:
        client.greet()
        assert "result" in client.ask(call(5, "act", x="a"))
        assert json.loads(status(trail, tmp_path, "--json"))["disk"]["health"] == "ok"
        other.fill_to(96)
        numbers = iter(range(10, 10_000))
        answers = {}

        def refused() -> bool:
            number = next(numbers)
            answers[number] = client.ask(call(number, "act", x="b"))
            return "error" in answers[number]

        wait_for(refused)
        about = json.loads(status(trail, tmp_path, "--json"))["disk"]
        assert (about["health"], about["threshold"], about["of"]) == ("full", 95.0, "bytes")
        assert about["reserve"] == 512 * 1024
        assert "above the threshold of 95 %: calls are refused" in status(trail, tmp_path)
        other.empty()
        wait_for(lambda: not refused())
        assert client.finish() == 0
    finally:
        client.close()
    outcomes = {
        int(one["request"]["rpc_id"]): one["outcome"]["kind"] for one in lines_of(trail, "mcp_operation")
    }
    expected = {number: "denied" if "error" in answer else "completed" for number, answer in answers.items()}
    assert outcomes == {5: "completed", **expected}
    assert indelible.verify(trail).ok
