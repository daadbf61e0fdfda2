"""What `indelible incident` prints: nothing beyond the terminal's edge, nothing that a caller chose as it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from indelible.cli.root import root
from indelible.cli.text import width
from indelible.errors import ConfigError
from tests.trails import Body, Maker, at, operation

HOSTILE = "\x1b[2Jé漢字\u202e\n; rm -rf / '\""


def run(*args: str, columns: int = 80) -> Result:
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(root, ["incident", *args], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done


def failed(seconds: float, backend: str = "files", why: str = "exited with code 1", **source: str) -> Body:
    return {
        "timestamp": at(seconds), "event_type": "mcp_server_state_changed", "event_id": "f", "source": source,
        "target": {"backend": backend}, "state": {"from": "Ready", "to": "Failed", "reason": why},
    }  # fmt: skip


def call(number: int, seconds: float, latency_ms: float, backend: str = "files", **more: Any) -> Body:
    outcome = {"status": "success", "kind": "completed", "latency_ms": latency_ms}
    return {
        **operation(number, target__backend=backend, outcome=outcome, **more),
        "timestamp": at(seconds),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a trail in which a server fails while one of two calls is under way, and another one has ended."""
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add(call(1, 1, 500), recorded_at=at(2))
    maker.add(call(2, 3, 500, backend="shop"), recorded_at=at(4))
    maker.add(failed(5), recorded_at=at(5))
    maker.add(call(3, 4, 3000, request__args_bytes=77), recorded_at=at(7))
    maker.add(
        {"timestamp": at(8), "event_type": "audit_stopped", "event_id": "s", "metadata": {}}, recorded_at=at(8)
    )
    return maker.layout.active


def names(calls: list[dict[str, Any]]) -> list[str]:
    return [one["request_id"] for one in calls]


def test_as_json(path: Path) -> None:
    found = json.loads(run("--trail", str(path), "--json").stdout)
    (one,) = found["incidents"]
    assert (one["kind"], one["at"], one["backend"], one["reason"]) == (
        "server", at(5), "files", "exited with code 1",
    )  # fmt: skip
    assert names(one["in_flight"]["calls"]) == ["r3"]
    assert one["in_flight"]["calls"][0]["args"] == {"path": "/srv/3"}
    assert names(one["before"]["calls"]) == ["r1"]
    assert (found["more"], found["unreadable"]) == (False, 0)


def test_the_moment_itself_when_nothing_is_on_record_of_it(path: Path) -> None:
    found = json.loads(run("--trail", str(path), "--json", "--at", at(3.2), "--window", "1s").stdout)
    (one,) = found["incidents"]
    assert (one["kind"], names(one["in_flight"]["calls"])) == ("moment", ["r2"])
    (one,) = json.loads(run("--trail", str(path), "--json", "--at", at(3.2)).stdout)["incidents"]
    assert one["kind"] == "server"


def test_all_trails_of_a_directory(path: Path) -> None:
    other = Maker(path.with_name("other.jsonl"))
    other.add(call(9, 4.5, 9000), recorded_at=at(14))
    other.add(
        {"timestamp": at(15), "event_type": "audit_stopped", "event_id": "s", "metadata": {}},
        recorded_at=at(15),
    )
    (one,) = json.loads(run("--trail", str(path.parent), "--json").stdout)["incidents"]
    assert names(one["in_flight"]["calls"]) == ["r3", "r9"]


def test_what_callers_chose_is_shown_and_does_nothing(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    for number in range(12):
        more: dict[str, Any] = {"target__capability_name": HOSTILE * (number + 1), "request__args": HOSTILE}
        body = call(number, number, 60_000 if number % 2 else 1, backend=HOSTILE, **more)
        maker.add(body, recorded_at=at(61 + number) if number % 2 else at(number))
    body = failed(11.5, HOSTILE, HOSTILE, session_id=HOSTILE)
    body["source"] = {}
    maker.add(body, recorded_at=at(12))
    for columns in (52, 80, 200):
        printed = run("--trail", str(maker.layout.active), columns=columns).stdout
        shown, _, commands = click.unstyle(printed).partition("  more:\n")
        assert max(width(row) for row in shown.splitlines()) <= columns
        assert all(char.isprintable() or char == "\n" for char in shown + commands)
        assert shown.count("completed") == 12


def test_what_cannot_be_read_is_counted(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"seq":\nnonsense\n')
    done = run("--trail", str(path))
    assert "2 lines could not be read" in done.stderr
    assert "files failed" in done.stdout


def test_options_of_the_group_go_after_its_command(path: Path) -> None:
    with pytest.raises(click.UsageError, match="--trail goes after add"):
        run("--trail", str(path), "add", "--note", "x")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--window", "2d"], "--window: expected more than nothing and at most 1d"),
        (["--window", "x"], "--window: expected a duration"),
        (["--at", "2999-01-01"], "later than now"),
        (["--backend", ""], "--backend: an empty value"),
        (["--since", "1h", "--until", "2h"], "nothing can lie between them"),
    ],
)
def test_wrong_usage_says_why(path: Path, args: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run("--trail", str(path), *args)


def test_a_moment_or_a_stretch(path: Path) -> None:
    with pytest.raises(click.UsageError, match="say which"):
        run("--trail", str(path), "--at", "1h", "--since", "2h")


def test_how_many_lines_are_too_old_to_be_looked_at_is_said(tmp_path: Path) -> None:
    maker, day = Maker(tmp_path / "audit.jsonl"), 86_400.0
    intent = operation(1, outcome=None, event_type="mcp_operation_started")
    maker.add(intent, recorded_at=at(1))
    maker.add(failed(30 * day), recorded_at=at(30 * day))
    maker.add(failed(40 * day, backend="other"), recorded_at=at(40 * day))
    maker.add({"timestamp": at(8), "event_type": "audit_stopped", "event_id": "s"}, recorded_at=at(41 * day))
    first, second = json.loads(run("--trail", str(maker.layout.active), "--json").stdout)["incidents"]
    assert (first["in_flight"]["count"], first["older_lines"]) == (1, 0)
    assert (second["in_flight"]["count"], second["older_lines"]) == (0, 2)
    said = run("--trail", str(maker.layout.active), "--backend", "other", columns=200).stdout
    assert "more than 30 days before and have no outcome: at most 2 older lines are not looked at" in said
