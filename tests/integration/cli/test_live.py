"""Readers beside a writer at work: nothing is lost, doubled, or blamed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.cli.conftest import COMMAND, Run
from tests.trails import Maker, operation

WRITER = """
import sys, time
import indelible
count, path = int(sys.argv[1]), sys.argv[2]
with indelible.open_trail(path, config=sys.argv[3]) as trail:
    print("open", flush=True)
    for number in range(count):
        with trail.operation("tools/call", "echo", args={"number": number, "pad": "x y " * 60}) as op:
            op.result({"ok": True})
        time.sleep(0.0005)
    sys.stdin.readline()
"""


@contextmanager
def started(*args: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(args, env=env, **pipes) as process:  # type: ignore[call-overload] # the pipes are pipes
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


class Collected:
    """What a process prints, line by line, as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.lines: list[bytes] = []
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._thread.start()

    def _read(self, stream: Iterator[bytes]) -> None:
        self.lines.extend(iter(stream))

    def wait(self, enough: Callable[[list[bytes]], bool], seconds: float = 60) -> list[bytes]:
        end = time.monotonic() + seconds
        while not enough(self.lines):
            assert time.monotonic() < end, f"only {len(self.lines)} lines came"
            time.sleep(0.02)
        return list(self.lines)


@pytest.fixture
def small_files(tmp_path: Path) -> Path:
    config = tmp_path / "small.yaml"
    config.write_text(
        "audit: {max_size_mb: 0.05, backup_count: 20, compress_rotated: true, retention: none, durability: process}\n"
    )
    return config


def test_a_trail_that_is_being_written_verifies_and_is_followed_through_rotation(
    tmp_path: Path, home: dict[str, str], small_files: Path
) -> None:
    path = tmp_path / "live" / "audit.jsonl"
    count = 1_500
    tail_args = [*COMMAND, "tail", "--trail", str(path), "--events", "all", "--json"]
    writer_args = [sys.executable, "-c", WRITER, str(count), str(path), str(small_files)]
    with ExitStack() as processes:
        tail = processes.enter_context(started(*tail_args, env=home))
        assert tail.stderr is not None
        assert tail.stderr.readline() == f"indelible: {path}: waiting for a trail\n".encode()
        writer = processes.enter_context(started(*writer_args, env=home))
        collected = Collected(tail)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        looks = 0
        while len(collected.lines) < 2 * count and writer.poll() is None and looks < 12:
            result = subprocess.run(
                [*COMMAND, "verify", "--trail", str(path), "--json"], env=home, capture_output=True, check=False
            )
            value = json.loads(result.stdout)
            assert value["ok"], value["findings"][:3]
            looks += 1
        status = subprocess.run(
            [*COMMAND, "status", "--trail", str(path), "--json"], env=home, capture_output=True, check=True
        )
        assert json.loads(status.stdout)["held_by"]["pid"] == writer.pid
        writer.communicate(b"\n", timeout=60)
        assert writer.returncode == 0
        lines = collected.wait(lambda got: any(b'"audit_stopped"' in line for line in got[-3:]))
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 0
        assert tail.stderr.read() == b""
    seqs = [json.loads(line)["seq"] for line in lines]
    assert seqs == list(range(len(seqs)))
    assert sum(b'"event_type":"mcp_operation",' in line for line in lines) == count
    final = subprocess.run(
        [*COMMAND, "verify", "--trail", str(path), "--json"], env=home, capture_output=True, check=False
    )
    value = json.loads(final.stdout)
    assert value["ok"], value["findings"][:3]
    assert value["pruned"] > 0
    assert value["events"] + value["pruned"] == len(seqs)


def test_tail_never_shows_a_part_of_a_line(tmp_path: Path, home: dict[str, str]) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20)
    with started(*COMMAND, "tail", "--trail", str(maker.layout.active), "--json", "-n", "2", env=home) as tail:
        collected = Collected(tail)
        collected.wait(lambda got: len(got) == 2)
        maker.raw(b'{"seq":21,"schema":1,"recorded_at":"2026-11-18T11:')
        time.sleep(0.35)  # several looks at the half line: nothing may come of them
        assert len(collected.lines) == 2
        data = maker.layout.active.read_bytes()
        maker.layout.active.write_bytes(data[: data.rfind(b"\n") + 1])  # as a recovery cuts it off, in place
        maker.add_many(2)
        lines = collected.wait(lambda got: len(got) >= 4)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 0
        assert tail.stderr is not None
        assert tail.stderr.read() == b""
    assert [json.loads(line)["seq"] for line in lines] == [19, 20, 21, 22]


def test_tail_follows_several_rotations_between_two_looks(tmp_path: Path, home: dict[str, str]) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(20)
    args = [*COMMAND, "tail", "--trail", str(maker.layout.active), "--events", "all", "--json", "-n", "1"]
    with started(*args, env=home) as tail:
        collected = Collected(tail)
        collected.wait(lambda got: len(got) == 1)
        for number in range(5):
            maker.add_many(7).rotate(compress=bool(number % 2))
        maker.add_many(3)
        lines = collected.wait(lambda got: len(got) >= maker.seq - 20)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 0
    assert [json.loads(line)["seq"] for line in lines] == list(range(20, maker.seq))


def test_tail_filters_and_prints_a_table(tmp_path: Path, home: dict[str, str]) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(5)
    with started(*COMMAND, "tail", "--trail", str(maker.layout.active), "--user", "eve", env=home) as tail:
        collected = Collected(tail)
        maker.add_many(5)
        from tests.trails import operation

        maker.add(operation(maker.seq, source__user_id="eve"))
        lines = collected.wait(lambda got: len(got) >= 2)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 0
    assert lines[0].startswith(b"TIME (UTC)")
    assert b" eve " in lines[1]


def test_status_does_not_get_in_a_writers_way(
    run: Run, tmp_path: Path, small_files: Path, home: dict[str, str]
) -> None:
    path = tmp_path / "audit.jsonl"
    Maker(path).add_many(3).seal()
    lock = path.with_name("audit.jsonl.d") / "lock"
    lock.write_text(json.dumps({"pid": 2**22 + 1, "command": "gone", "since": "then"}))
    value = json.loads(run("status", "--trail", path, "--json").stdout)
    assert value["held_by"] is None


def test_a_condition_is_asked_of_what_comes(tmp_path: Path, home: dict[str, str]) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    for user in ("ada", "bob", "ada"):
        maker.add(operation(maker.seq, source__user_id=user))
    args = ["log", "-f", "--where", "user_id = 'ada'", "--json", "-n", "0", "--trail", str(maker.layout.active)]
    with started(*COMMAND, *args, env=home) as follower:
        shown = Collected(follower)
        assert len(shown.wait(lambda lines: len(lines) >= 2)) == 2
        for user in ("bob", "ada'; --", "ada", "bob"):
            maker.add(operation(maker.seq, source__user_id=user))
        maker.rotate()
        maker.add(operation(maker.seq, source__user_id="ada"))
        shown.wait(lambda lines: len(lines) >= 4)
        follower.send_signal(signal.SIGINT)
        _, said = follower.communicate(timeout=60)
    assert (follower.returncode, said) == (0, b"")
    assert [json.loads(line)["source"]["user_id"] for line in shown.lines] == ["ada"] * 4
