"""`indelible redact test` and `redact scan`, run as a user runs them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.definitions import DefinitionStore, describe
from tests import canaries
from tests.integration.cli.conftest import Run
from tests.trails import Maker, operation

MAIL = "ada@example.com"


def lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def with_args(args: Any, **more: Any) -> Any:
    body = operation(0, **more)
    return {**body, "request": {**body["request"], "args": args}}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


# --- test -----------------------------------------------------------------------------------------------


def test_text_by_line_and_column(run: Run, here: Path) -> None:
    (here / "notes.txt").write_text(f"ünder\n  mail {MAIL}\nclean\n")
    done = run("redact", "test", "notes.txt")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[0].split() == ["2:8", "EMAIL", "full", "15", "characters"]
    assert MAIL.encode() not in done.stdout + done.stderr
    assert run("redact", "test", "notes.txt", "--json").stdout == (
        b'{"input":"text","findings":[{"rule":"EMAIL","line":2,"column":8,"strategy":"full","inside":[],'
        b'"begin":13,"end":28}],' + '"redacted":"ünder\\n  mail [EMAIL]\\nclean\\n"}\n'.encode()
    )
    done = run("redact", "test", "--redacted", "notes.txt")
    assert (done.returncode, done.stdout) == (1, "ünder\n  mail [EMAIL]\nclean\n".encode())
    assert b"EMAIL" in done.stderr


def test_nothing_is_exit_code_0(run: Run, here: Path) -> None:
    (here / "plain.txt").write_bytes(b"nothing here\n\xff\xfe")
    assert run("redact", "test", "plain.txt").returncode == 0
    (here / "empty").touch()
    assert run("redact", "test", "empty").returncode == 0
    assert run("redact", "test").returncode == 0, "standard input, which is empty"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_with_a_byte_order_mark(run: Run, here: Path, encoding: str) -> None:
    """As shells and editors of Windows write: what is in it is looked at, and nothing else."""
    (here / "in").write_text(f"ünder\n  mail {MAIL}\n", encoding=encoding)
    done = run("redact", "test", "in")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[0].split()[:2] == ["2:8", "EMAIL"]
    (here / "in").write_text('{"pin": 7}', encoding=encoding)
    assert json.loads(run("redact", "test", "--json", "in").stdout)["input"] == "json"


@pytest.mark.parametrize(
    ("content", "kind", "paths"),
    [
        ('{"a": {"note": "ada@example.com"}, "pin": 7}', "json", [".a.note", ".pin"]),
        (' ["--token", "x"]', "json", [".[1]"]),
        ('{"a": NaN, "b": "ada@example.com"}', "json", [".b"]),
        ('{"a": 1}\n\n{"pin": 2}\n', "json lines", [".pin"]),
        ('{"a": 1}\nnot json ada@example.com\n', "text", []),
        ("[" * 5000, "text", []),
    ],
)
def test_json_by_path(run: Run, here: Path, content: str, kind: str, paths: list[str]) -> None:
    (here / "in").write_text(content)
    done = run("redact", "test", "in", "--json")
    found = json.loads(done.stdout)
    assert found["input"] == kind
    assert [one["path"] for one in found["findings"] if "path" in one] == paths
    assert done.returncode == (1 if found["findings"] else 0)
    if kind == "json lines":
        assert [one["line"] for one in found["findings"]] == [3]


def test_paths_are_those_of_jq(run: Run, here: Path) -> None:
    value = {"a b": [{'q"x': {"note": MAIL}}], "é": MAIL, MAIL: {"x": MAIL}, "list": [[MAIL]]}
    (here / "in.json").write_text(json.dumps(value))
    found = json.loads(run("redact", "test", "in.json", "--json").stdout)
    for one in found["findings"]:
        if one["part"] == "value":
            shown = subprocess.run(
                ["jq", "-r", one["path"]],
                input=json.dumps(found["redacted"]).encode(),
                capture_output=True,
                check=True,
                timeout=60,
            )
            assert shown.stdout == b"[EMAIL]\n", one
    assert len(found["findings"]) == 5


def test_the_configuration_counts(run: Run, here: Path) -> None:
    (here / "in.json").write_text('{"patient": "x", "note": "EMP-123456", "reset_token": "y"}')
    plain = json.loads(run("redact", "test", "in.json", "--json").stdout)
    assert [one["path"] for one in plain["findings"]] == [".reset_token"]
    (here / "indelible.yaml").write_text(
        'redaction: {keys: [patient], allow_keys: [reset_token], patterns: {EMPLOYEE: "EMP-[0-9]{6}"}}'
    )
    own = json.loads(run("redact", "test", "in.json", "--json").stdout)
    assert [(one["rule"], one["path"]) for one in own["findings"]] == [
        ("key", ".patient"),
        ("EMPLOYEE", ".note"),
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ("redact", "test", "missing"),
            b"indelible: FILE: missing: cannot be read: No such file or directory\n",
        ),
        (("redact", "test", "."), b"indelible: FILE: .: cannot be read: Is a directory\n"),
        (("redact", "test", "--json", "--redacted", "-"), b"--json has what stays, too"),
        (("redact", "scan", "a", "--trail", "b"), b"give one of them"),
        (("redact", "scan", "--since", "soon"), b"--since: expected a time"),
    ],
)
def test_mistakes_are_one_line(run: Run, args: tuple[str, ...], said: bytes) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert not done.stdout


def test_a_wrong_pattern_is_one_line(run: Run, here: Path) -> None:
    (here / "indelible.yaml").write_text("redaction: {patterns: {X: '('}}")
    for args in (("test", "-"), ("scan", "audit.jsonl")):
        done = run("redact", *args)
        assert done.returncode == 2
        assert b"redaction.patterns.X" in done.stderr
        assert done.stderr.count(b"\n") == 1


# --- scan -----------------------------------------------------------------------------------------------


def test_nothing_is_found_in_what_was_recorded(run: Run, here: Path) -> None:
    """Whatever the trail says of itself is no finding either: keys, holds, rotations, erasures."""
    path = here / "audit.jsonl"
    with indelible.open_trail(path) as trail:
        for canary in canaries.canaries(seed=3):
            with trail.operation("tools/call", "try", args={"v": canary.value, canary.value: [1]}):
                pass
    assert run("hold", "add", "--trail", path, "--user", MAIL, "--reason", "case 7").returncode == 0
    assert run("keygen", "--rotate", "--trail", path).returncode == 0
    done = run("redact", "scan", path)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout.decode()
    assert done.stdout.startswith(b"nothing found in ")


def test_every_class_is_found_and_never_shown(run: Run, here: Path) -> None:
    maker = Maker(here / "audit.jsonl")
    for name, make in canaries.CLASSES.items():
        value, _ = make(random.Random(5))
        maker.add(with_args({"class": name, "note": value}))
    maker.seal()
    done = run("redact", "scan", "audit.jsonl", "--json")
    assert done.returncode == 1
    *found, last = lines(done)
    assert {one["seq"] for one in found} == set(range(1, len(canaries.CLASSES) + 1))
    assert {one["path"] for one in found} == {".request.args.note"}
    assert last == {
        **last,
        "ok": False,
        "findings": len(found),
        "events": len(canaries.CLASSES) + 1,
        "unread": [],
    }
    for make in canaries.CLASSES.values():
        assert not canaries.found(make(random.Random(5))[1], done.stdout + done.stderr)
    people = run("redact", "scan", "audit.jsonl")
    assert b"seq 1 " in people.stdout
    for make in canaries.CLASSES.values():
        assert not canaries.found(make(random.Random(5))[1], people.stdout + people.stderr)


def test_all_files_of_all_trails(run: Run, here: Path) -> None:
    for name in ("one", "two"):
        maker = Maker(here / f"{name}.jsonl")
        for number in range(3):
            maker.add(with_args({"note": MAIL}))
            if number < 2:
                maker.rotate(compress=bool(number))
        maker.seal()
    *found, last = lines(run("redact", "scan", ".", "--json"))
    assert (last["findings"], last["files"]) == (6, 6)
    assert {Path(one["trail"]).name for one in found} == {"one.jsonl", "two.jsonl"}
    assert sum(one["file"].endswith(".zst") for one in found) == 2
    shown = run("redact", "scan", "--trail", here).stdout.decode()
    assert shown.count("one.jsonl:") == shown.count("two.jsonl:") == 1


def test_what_cannot_be_read_is_said_and_hides_nothing(run: Run, here: Path) -> None:
    maker = Maker(here / "audit.jsonl")
    maker.add(with_args({"note": "clean"}))
    damaged = maker.rotate(compress=True)
    maker.add(with_args({"note": "clean"}))
    maker.raw(f'{{"seq": 9, torn {MAIL}\n'.encode())
    maker.add(with_args({"note": "clean"}))
    maker.seal()
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (damaged.parent / "notes").write_text("a stranger")
    done = run("redact", "scan", "audit.jsonl", "--json")
    *found, last = lines(done)
    assert done.returncode == 1
    assert [(one["seq"], one["line"], one["rule"]) for one in found] == [(None, 3, "EMAIL")]
    assert last["broken_lines"] == [{"path": str(here / "audit.jsonl"), "count": 1, "first": 3}]
    assert {Path(one["path"]).name for one in last["unread"]} == {"notes", damaged.name}
    people = run("redact", "scan", "audit.jsonl")
    assert people.stderr.count(b"not searched: ") == 2
    assert b"audit.jsonl: 1 line is no entry (the first: line 3); searched as text\n" in people.stderr
    assert MAIL.encode() not in people.stdout + people.stderr


def test_unread_and_nothing_found_is_no_good_news(run: Run, here: Path) -> None:
    maker = Maker(here / "audit.jsonl")
    maker.add(with_args({"note": "clean"}))
    maker.raw(b"garbage\n")
    assert run("redact", "scan", "audit.jsonl").returncode == 3
    done = run("redact", "scan", "missing.jsonl")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"there is no trail here" in done.stderr


def test_since(run: Run, here: Path) -> None:
    maker = Maker(here / "audit.jsonl")
    times = [f"2026-11-21T0{hour}:00:00.000000Z" for hour in range(1, 5)]
    for time in times:
        maker.add(with_args({"note": MAIL}, timestamp=time), recorded_at=time)
    *found, last = lines(run("redact", "scan", "audit.jsonl", "--json", "--since", times[2]))
    assert [one["seq"] for one in found] == [3, 4]
    assert last["events"] == 2


def test_marks_of_the_tools_count(run: Run, here: Path) -> None:
    maker = Maker(here / "audit.jsonl")
    body = with_args({"diagnosis": "broken leg", "ward": "4"}, target__method="tools/call")
    tool = {"name": body["target"]["capability_name"]}
    schema = {"type": "object", "properties": {"diagnosis": {"type": "string", "sensitive": True}}}
    described = describe({**tool, "inputSchema": schema})
    assert described is not None
    DefinitionStore(maker.layout.definitions).save(body["target"].get("backend", ""), [described])
    for args in (
        {"diagnosis": "broken leg"},
        {"diagnosis": "[REDACTED]"},
        {"diagnosis": f"[DIGEST hmac:{'a' * 32}]"},
    ):
        maker.add({**body, "request": {**body["request"], "args": args}})
    *found, _ = lines(run("redact", "scan", "audit.jsonl", "--json"))
    assert [(one["seq"], one["rule"], one["path"]) for one in found] == [(1, "mark", ".request.args.diagnosis")]


ENDPOINT = """
mxcp: 1
tool:
  name: find
  source: {code: select 1}
  parameters: [{name: badge, type: integer, sensitive: true}]
  return: {type: object, properties: {salary: {type: number, sensitive: true}}}
"""


def test_marks_of_results_and_of_endpoint_files_count(run: Run, here: Path) -> None:
    (here / "endpoints").mkdir()
    (here / "endpoints" / "find.yml").write_text(ENDPOINT)
    (here / "indelible.yaml").write_text("redaction: {schemas: ['endpoints/*.yml']}\n")
    maker = Maker(here / "audit.jsonl")
    body = with_args({"badge": 5}, target__method="tools/call")
    backend, listed = body["target"].get("backend", ""), body["target"]["capability_name"]
    schema = {"type": "object", "properties": {"note": {"type": "string", "sensitive": True}}}
    described = describe({"name": listed, "inputSchema": {}, "outputSchema": schema})
    assert described is not None
    DefinitionStore(maker.layout.definitions).save(backend, [described])
    text = [{"type": "text", "text": "ill"}]
    for name in (listed, "find"):
        outcome: dict[str, Any] = {"status": "success", "kind": "completed", "latency_ms": 1.0}
        structured = {"note": "ill", "salary": 5}
        outcome["result"] = {"structuredContent": structured, "content": text, "isError": False}
        target = {**body["target"], "capability_name": name, "original_name": name}
        maker.add({**body, "target": target, "outcome": outcome})
    *found, _ = lines(run("redact", "scan", "audit.jsonl", "--json"))
    assert {(one["seq"], one["rule"], one["path"]) for one in found} == {
        (1, "mark", ".outcome.result.structuredContent.note"),
        (1, "mark", ".outcome.result.content[0].text"),
        (2, "mark", ".request.args.badge"),
        (2, "mark", ".outcome.result.structuredContent.salary"),
        (2, "mark", ".outcome.result.content[0].text"),
    }


def test_memory_does_not_grow_with_the_trail(home: dict[str, str], here: Path, run: Run) -> None:
    """A trail of 20 MB, every line of which has a finding."""
    maker = Maker(here / "audit.jsonl")
    line = maker.add(with_args({"note": MAIL, "text": "word " * 400}))
    with maker.layout.active.open("ab") as file:
        for _ in range(20):
            file.write((line + b"\n") * 500)
    small = subprocess.run(
        [sys.executable, "-c", _PEAK, "redact", "scan", "nothing.jsonl"],
        cwd=here,
        env=home,
        capture_output=True,
        timeout=120,
        check=False,
    )
    large = subprocess.run(
        [sys.executable, "-c", _PEAK, "redact", "scan", "audit.jsonl"],
        cwd=here,
        env=home,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert b"10001 findings" in large.stdout
    size = maker.layout.active.stat().st_size
    grown = (int(large.stderr.split()[-1]) - int(small.stderr.split()[-1])) * 1024
    assert size > 20 << 20
    assert grown < size / 2


_PEAK = """
import resource, sys
from indelible.cli import main
main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
