"""`indelible erase` and what the other commands make of erased events, as processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indelible.config import AuditSettings
from indelible.trail.layout import Layout
from indelible.trail.start.opening import open_writer
from tests.erasing import GONE, STAYS, call, event_id, places_with
from tests.integration.cli.conftest import Run
from tests.integration.cli.test_commands import one_line

CALLS = 30


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """Make a trail of several files."""
    path = tmp_path / "trails" / "audit.jsonl"
    writer = open_writer(path, AuditSettings(max_size=6_000, backup_count=100), "test").writer
    for number in range(CALLS):
        call(writer, f"call{number}", GONE if number % 3 == 1 else STAYS)
    writer.close()
    return path


def test_from_a_dry_run_to_the_end(run: Run, trail: Path, tmp_path: Path) -> None:
    where = ("--trail", trail)
    dry = run("erase", "--user", GONE, "--dry-run", *where)
    assert (dry.returncode, b"20 events would be erased" in dry.stdout) == (0, True)
    assert places_with(trail.parent)
    done = run("erase", "--user", GONE, "--reason", "request 7", "--yes", *where)
    assert (
        done.returncode,
        b": 20 events erased (10 mcp_operation, 10 mcp_operation_started" in done.stdout,
    ) == (0, True)
    assert b"cannot be reached" in done.stderr
    assert places_with(trail.parent) == []
    verified = run("verify", *where)
    assert verified.returncode == 0
    assert b"20 erased" in verified.stdout
    again = run("erase", "--user", GONE, "--reason", "request 7", "--yes", "--json", *where)
    answer = json.loads(again.stdout)
    assert (again.returncode, answer["ok"], answer["erased"]) == (0, True, 0)


def prove_some(run: Run, trail: Path, folder: Path) -> list[tuple[int, Path]]:
    """Write proofs of a line that is erased and of one that is not."""
    folder.mkdir()
    pairs = [(seq, folder / f"{seq}.tlog-proof") for seq in (5, 8)]
    for seq, path in pairs:
        assert run("prove", str(seq), "-o", path, "--trail", trail).returncode == 0
    return pairs


def test_what_readers_show(run: Run, trail: Path, tmp_path: Path) -> None:
    where = ("--trail", trail)
    before = run("log", "-n", "0", "--json", *where).stdout.splitlines()
    proofs = prove_some(run, trail, tmp_path / "early")
    done = run("erase", "--user", GONE, "--reason", "request 7", "--yes", "--json", *where)
    erased = json.loads(done.stdout)["trails"][0]["seqs"]
    proofs += prove_some(run, trail, tmp_path / "late")
    after = run("log", "-n", "0", "--json", *where)
    assert after.stderr == b""  # nothing counts as damage
    assert after.stdout.splitlines() == [line for line in before if b"canary" not in line]
    everything = run("log", "-n", "0", "--json", "--events", "all", *where).stdout.splitlines()
    blank = [json.loads(line) for line in everything if b'"erased":"' in line]
    assert {item["seq"] for item in blank} == {seq for first, last in erased for seq in range(first, last + 1)}
    assert [set(item) for item in blank] == [{"seq", "erased", "leaf"}] * 20
    for filters in (("--until", "0s"), ("--since", "1d"), ("--user", GONE), ("--status", "success")):
        shown = run("log", "-n", "0", "--json", "--events", "all", *filters, *where).stdout
        assert b'"erased":"' not in shown
    table = run("log", "--events", "all", "-n", "0", *where).stdout
    assert table.count(b"on record as " + blank[0]["erased"].encode()) == 20
    vkey = tmp_path / "vkey"
    vkey.write_bytes(run("keygen", "--show", *where).stdout)
    for seq, proof in proofs:
        line = tmp_path / f"{seq}.json"
        line.write_bytes(next(item for item in everything if json.loads(item)["seq"] == seq) + b"\n")
        checked = run("verify", "--proof", proof, "--line", line, "--vkey", vkey)
        assert checked.returncode == 0, checked.stdout
        assert run("verify", "--line", line, *where).returncode == 0
    status = json.loads(run("status", "--json", *where).stdout)
    assert status["last"]["entry_erased"]["metadata"]["lines"] == 20
    gone = run("prove", event_id("call1"), *where)
    assert (gone.returncode, b"erased lines only the seq is known" in gone.stderr) == (1, True)


def test_an_export_after_it_leaves_the_bundles_out(run: Run, trail: Path, tmp_path: Path) -> None:
    run("erase", "--user", GONE, "--reason", "request 7", "--yes", "--trail", trail)
    done = run("export", "--tiles", tmp_path / "log", "--trail", trail)
    assert done.returncode == 1
    assert b"cannot be exported (erased)" in done.stderr
    assert not (tmp_path / "log" / "tile" / "entries").exists()
    assert (tmp_path / "log" / "checkpoint").read_bytes() == Layout(trail).checkpoint.read_bytes()


def test_several_trails_are_erased_together_or_not_at_all(run: Run, trail: Path) -> None:
    other = trail.with_name("other.jsonl")
    writer = open_writer(other, AuditSettings(), "test").writer
    call(writer, "elsewhere", GONE)
    writer.close()
    folder = trail.parent
    hold = run("hold", "add", "--user", GONE, "--reason", "case 1", "--json", "--trail", other)
    held = run("erase", "--user", GONE, "--reason", "request 7", "--yes", "--trail", folder)
    assert held.returncode == 1
    assert b"held: 3 events by hold" in held.stdout
    assert b'"entry_erased"' not in trail.read_bytes()
    run("hold", "release", json.loads(hold.stdout)["id"], "--reason", "closed", "--trail", other)
    done = run("erase", "--user", GONE, "--reason", "request 7", "--yes", "--json", "--trail", folder)
    assert (done.returncode, json.loads(done.stdout)["erased"]) == (0, 23)
    assert places_with(folder) == []


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--user", "x"), 2, "--reason is missing"),
        (("--reason", "r"), 2, "expected one of --user, --session and --event"),
        (("--user", "x", "--session", "y", "--reason", "r"), 2, "expected one of"),
        (("--user", "", "--reason", "r"), 2, "expected an id"),
        (("--event", "1" * 30, "--reason", "r"), 2, "16 digits"),
        (("--user", GONE, "--reason", " "), 2, "--reason: expected 1 to 500"),
        (("--user", GONE, "--reason", "r"), 2, "would be erased for good; --yes"),
        (("--user", GONE, "--reason", "r", "--trail", "/nowhere/audit.jsonl"), 3, "no trail here"),
        (("--event", "0", "--reason", "r", "--yes"), 1, ""),
    ],
)
def test_mistakes_are_one_line(run: Run, trail: Path, args: tuple[str, ...], code: int, said: str) -> None:
    where = () if "--trail" in args else ("--trail", str(trail))
    result = run("erase", *args, *where)
    assert result.returncode == code
    if said:
        assert said in one_line(result, code)
    assert places_with(trail.parent)
