"""What people do with MXCP's audit log, done to records in its words: of a file sink, and of a live `tail`."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import COMMAND
from tests.trails import Maker, operation

KEYS = [
    "timestamp", "caller", "type", "name", "input_json", "duration_ms", "policy_decision", "reason", "status", "error",
]  # fmt: skip
HOSTILE = 'x"},\n{"policy_decision":"deny","name":"forged\t\u2028'


def add_calls(maker: Maker) -> None:
    maker.add(operation(1, policy={"decision": "allow"}))
    denied = {"status": "error", "kind": "denied", "error": "denied", "latency_ms": 0.4}
    decision = {"decision": "deny", "reason": "not you"}
    maker.add(operation(2, target__capability_name="drop_table", policy=decision, outcome=denied))
    maker.add(operation(3, target__capability_name=HOSTILE, request__args={HOSTILE: HOSTILE}))
    maker.add(operation(4, target__capability_name="search",
                        outcome={"status": "error", "kind": "timed_out", "latency_ms": 99.9}))  # fmt: skip


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    maker = Maker(tmp_path / "audit.jsonl")
    add_calls(maker)
    return maker


@pytest.fixture(params=["log", "sink"])
def records(request: pytest.FixtureRequest, maker: Maker, home: dict[str, str], tmp_path: Path) -> Path:
    """Return a file of records in `mxcp`: as `log` prints them, and as a file sink has them."""
    maker.rotate()
    maker.seal()
    out = tmp_path / "audit.mxcp.jsonl"
    trail = str(maker.layout.active)
    if request.param == "log":
        with out.open("wb") as file:
            command = [*COMMAND, "log", "--trail", trail, "-n", "0", "--format", "mxcp"]
            subprocess.run(command, env=home, check=True, stdout=file, timeout=60)
        return out
    sink: dict[str, Any] = {"type": "file", "path": str(out), "format": "mxcp", "start": "beginning"}
    config = tmp_path / "indelible.yaml"
    config.write_text(json.dumps({"audit": {"path": trail, "sinks": [sink]}}))
    subprocess.run([*COMMAND, "ship", "--once", "-c", str(config)], env=home, check=True, timeout=120)
    return out


def shell(script: str, *args: str | Path) -> str:
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {script}", "bash", *map(str, args)],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.decode()


def test_the_one_liners(records: Path, tmp_path: Path) -> None:
    """One test of four: what they read is made once."""
    value = json.loads(records.read_bytes().split(b"\n")[0])
    assert list(value) == [*KEYS, "indelible"]
    assert records.read_bytes().count(b"\n") == 4

    denied = shell("""grep '"policy_decision":"deny"' "$1" """, records)
    assert [json.loads(line)["name"] for line in denied.split("\n")[:-1]] == ["drop_table"]

    failed = shell("""jq 'select(.status == "error") | .name' "$1" """, records)
    assert failed == '"drop_table"\n"search"\n'

    shell(
        """mlr --ijson --ocsv cut -o -f name,status,input_json "$1" > "$2" """, records, tmp_path / "calls.csv"
    )
    with (tmp_path / "calls.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == ["read_file", "drop_table", HOSTILE, "search"]
    assert json.loads(table[2]["input_json"]) == {HOSTILE: HOSTILE}

    body = shell("""jq -c '{create: {_id: .indelible.event_id}}, .' "$1" """, records)
    documents = bulk(body.encode())
    assert [document["name"] for document in documents.values()] == [
        "read_file",
        "drop_table",
        HOSTILE,
        "search",
    ]


def bulk(body: bytes) -> dict[str, dict[str, Any]]:
    """Read a body as Elasticsearch's bulk API takes it: an action and a document a line, ended by a line feed."""
    assert body.endswith(b"\n"), "The bulk request must be terminated by a newline"
    lines = body[:-1].split(b"\n")
    assert len(lines) % 2 == 0
    found: dict[str, dict[str, Any]] = {}
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        asked = json.loads(action)
        assert list(asked) == ["create"]
        assert asked["create"]["_id"] not in found
        found[asked["create"]["_id"]] = json.loads(document)
    return found


@contextmanager
def pipeline(script: str, *args: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a pipeline in a group of its own, which ends with it."""
    command = ["bash", "-c", script, "bash", *args]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_tail_is_grepped_live_and_through_rotation(maker: Maker, home: dict[str, str]) -> None:
    tail = f'{sys.executable} -m indelible tail --trail "$1" --format mxcp'
    script = tail + """ | grep --line-buffered '"policy_decision":"deny"'"""
    with pipeline(script, str(maker.layout.active), env=home) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        denied = {"status": "error", "kind": "denied"}
        for number in range(5, 8):
            maker.add(operation(number))
            maker.add(operation(10 + number, policy={"decision": "deny"}, outcome=denied))
            maker.rotate(compress=number == 6)
        maker.add(operation(20, policy={"decision": "deny"}, outcome=denied))
        found = [first, *(json.loads(process.stdout.readline()) for _ in range(4))]
    assert [one["indelible"]["event_id"][-2:] for one in found] == ["02", "15", "16", "17", "20"]
    assert {one["indelible"]["origin"] for one in found} == {maker.origin}


def test_a_reader_that_goes_away_is_no_failure(maker: Maker, home: dict[str, str]) -> None:
    maker.add_many(3000)
    script = (
        f'{sys.executable} -m indelible log -n 0 --trail "$1" --format cef | head -1; echo "${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(maker.layout.active)],
        env=home,
        capture_output=True,
        check=True,
        timeout=120,
    )
    first, code = done.stdout.split(b"\n")[:2]
    assert first.startswith(b"CEF:0|")
    assert code in (b"0", b"141")
    assert done.stderr == b""
