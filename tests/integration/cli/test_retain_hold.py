"""``indelible retain`` and ``indelible hold`` as processes: what they print, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.trail import files
from indelible.trail.layout import Layout
from tests.integration.cli.conftest import Run
from tests.integration.cli.test_commands import one_line

CONFIG = """
audit:
  path: audit.jsonl
  max_size_mb: 0.02
  backup_count: 2
  retention: {default: none, classes: {mcp_operation: 1000d, alert: 0s}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "indelible.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def trail(config: Path) -> Path:
    path = config.with_name("audit.jsonl")
    with indelible.open_trail(config=config) as opened:
        for number in range(120):
            user = "alice" if number == 60 else f"u{number % 7}"
            with opened.operation("tools/call", "count", args={"n": number}, user_id=user, session_id="s1"):
                pass
    return path


def expire(config: Path) -> None:
    config.write_text(CONFIG.replace("1000d", "0s").replace("default: none", "default: 0s"))


def content(path: Path) -> dict[str, bytes]:
    return {str(found): found.read_bytes() for found in path.parent.rglob("*") if found.is_file()}


def succeeded(result: Any) -> str:
    assert result.returncode == 0, result.stderr.decode()
    assert result.stderr == b""
    text: str = result.stdout.decode()
    return text


def test_a_dry_run_says_what_would_become_of_each_file_and_changes_nothing(
    run: Run, trail: Path, config: Path
) -> None:
    closed = files.segments(Layout(trail))
    before = content(trail)
    text = succeeded(run("retain", "--dry-run", "-c", str(config)))
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [file.path.name for file in closed]
    assert all("kept" in line and "retention" in line and "1000d" in line for line in lines[1:-1])
    assert lines[-1].endswith(f"0 of {len(closed)} closed files would be deleted, 0 bytes; nothing was deleted")
    assert content(trail) == before
    expire(config)
    before = content(trail)
    value = json.loads(succeeded(run("retain", "--dry-run", "--json", "-c", str(config))))
    assert content(trail) == before
    assert (value["would_delete"], len(value["files"])) == (len(closed), len(closed))
    assert value["retention"] == "0s (alert: 0s, mcp_operation: 0s)"
    row = value["files"][1]
    assert row["last"] - row["first"] + 1 == sum(row["events"].values())
    assert (row["goes"], row["rule"]) == (True, "retention")


def test_what_a_dry_run_has_said_is_done(run: Run, trail: Path, config: Path) -> None:
    text = succeeded(run("retain", "-c", str(config)))
    assert text.splitlines()[-1].startswith(f"{trail}: 0 files deleted, 0 bytes; kept: ")
    expire(config)
    foreseen = json.loads(succeeded(run("retain", "--dry-run", "--json", "-c", str(config))))["files"]
    done = json.loads(succeeded(run("retain", "--json", "-c", str(config))))
    assert [(one["first"], one["last"]) for one in done["deleted"]] == [
        (one["first"], one["last"]) for one in foreseen if one["goes"]
    ]
    verified = run("verify", "--json", "-c", str(config))
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["pruned"] == foreseen[-1]["last"] + 1


def test_a_hold_keeps_its_file_until_it_is_released(run: Run, trail: Path, config: Path) -> None:
    where = ("-c", str(config))
    hold = json.loads(succeeded(run("hold", "add", "--user", "alice", "--reason", "case 7", "--json", *where)))
    assert hold["user"] == "alice"
    assert hold["reason"] == "case 7"
    assert hold["id"] in succeeded(run("hold", "list", *where))
    expire(config)
    table = succeeded(run("retain", "--dry-run", *where))
    assert [line.split()[-1] for line in table.splitlines() if " hold " in line] == [hold["id"]]
    assert "kept: 1 by hold" in succeeded(run("retain", *where))
    assert b'"user_id":"alice"' in b"".join(content(trail).values())
    status = succeeded(run("status", *where))
    assert f"{hold['id']}: user alice; keeps 1 file that would be deleted" in status
    said = succeeded(run("hold", "release", hold["id"], "--reason", "closed", *where))
    assert said == f"hold {hold['id']} is released\n"
    assert succeeded(run("hold", "list", *where)) == "no hold stands\n"
    assert succeeded(run("hold", "list", "--json", *where)) == "[]\n"
    succeeded(run("retain", *where))
    kept = {name: data for name, data in content(trail).items() if "audit.jsonl" in name}
    assert b'"user_id":"alice"' not in b"".join(kept.values())
    assert run("verify", *where).returncode == 0


def test_a_hold_is_placed_by_whoever_knows_no_configuration_and_deletes_nothing(
    run: Run, trail: Path, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "here" / "indelible.yaml").write_text(
        "audit: {path: other.jsonl, retention: none, backup_count: 0}\n"
    )
    before = files.segments(Layout(trail))
    succeeded(run("hold", "add", "--session", "s1", "--trail", str(trail)))
    assert files.segments(Layout(trail)) == before
    refused = one_line(run("retain", "--trail", str(trail)), 2)
    assert "what may be deleted is not known; name this one's with -c FILE" in refused
    assert files.segments(Layout(trail)) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("retain",), 2, "what may be deleted is not known; name this one's with -c FILE"),
        (("retain", "--dry-run"), 2, "what may be deleted is not known"),
        (("hold", "list"), 3, "there is no trail here"),
        (("hold", "add", "--user", "alice"), 3, "there is no trail here"),
        (("hold", "add"), 2, "a hold names a user, a session, or both ends of a time"),
        (("hold", "add", "--since", "1h"), 2, "both ends of a time"),
        (("hold", "add", "--since", "someday", "--until", "1h"), 2, "--since"),
        (("hold", "add", "--since", "1h", "--until", "2h"), 2, "nothing would be held"),
        (("hold", "add", "--user", ""), 2, "--user: expected 1 to 512 characters"),
        (("hold", "add", "--user", "a", "--reason", " "), 2, "--reason: expected 1 to 500 characters"),
        (("hold", "release", "4f1a09c2d7be"), 2, "--reason"),
        (("retain", "--dry"), 2, "did you mean --dry-run?"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    path = tmp_path / "nothing" / "audit.jsonl"
    assert said in one_line(run(*arguments, "--trail", str(path)), code)
    assert not path.parent.exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_no_trail_is_one_clear_line(run: Run, config: Path, dry: tuple[str, ...]) -> None:
    assert "there is no trail here" in one_line(run("retain", *dry, "-c", str(config)), 3)
    assert not config.with_name("audit.jsonl.d").exists()


def test_whoever_holds_the_trail_knows_its_rules(run: Run, trail: Path, config: Path) -> None:
    expire(config)
    kept = config.with_name("kept.yaml")
    kept.write_text(CONFIG.replace("default: none", "default: 1000d"))
    with indelible.open_trail(config=kept):
        done = json.loads(succeeded(run("retain", "--json", "--trail", str(trail))))
        assert (done["retention"], done["deleted"]) == ("1000d (alert: 0s, mcp_operation: 1000d)", [])
        assert json.loads(succeeded(run("retain", "--json", "-c", str(config))))["deleted_files"] > 2


def test_a_hold_that_does_not_stand_cannot_be_released(run: Run, trail: Path, config: Path) -> None:
    said = one_line(run("hold", "release", "4f1a09c2d7be", "--reason", "x", "-c", str(config)), 2)
    assert f"no hold '4f1a09c2d7be' stands; 'indelible hold list -c {config}' shows those that do" in said
