"""`incident add`: what a monitor saw is one event, redacted, at the time that was seen, by whoever holds the trail."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from indelible import events, verify
from indelible.cli.root import root
from indelible.config import AuditSettings
from indelible.errors import ConfigError, TrailError, WireError
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.upkeep import manage, orders
from indelible.trail.upkeep.orders import AddIncident

Add = Callable[..., Result]
SECRET = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def trail(path: Path) -> Path:
    """Make a trail that nobody holds."""
    SharedWriter(path, AuditSettings(), "before").close()
    return path


@pytest.fixture
def holder(path: Path) -> Iterator[SharedWriter]:
    shared = SharedWriter(path, AuditSettings(), "holder")
    yield shared
    shared.close()


@pytest.fixture
def add(path: Path) -> Add:
    def run(*args: str) -> Result:
        command = ["incident", "add", "--trail", str(path), *args]
        return CliRunner().invoke(root, command, standalone_mode=False)

    return run


def incidents(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [event for event in found if "incident" in (event.get("metadata") or {})]


def test_through_a_holder_at_the_time_that_was_seen(holder: SharedWriter, add: Add, path: Path) -> None:
    result = add(
        "--at", "2026-01-02T03:04:05+02:00", "--note", "checkout answers 502", "--backend", "shop", "--json"
    )
    assert result.return_value == 0, result.exception
    (event,) = incidents(path)
    assert (event["event_type"], event["timestamp"]) == ("alert", "2026-01-02T01:04:05.000000Z")
    assert event["recorded_at"] > event["timestamp"]
    assert event["target"] == {"backend": "shop"}
    assert event["metadata"]["incident"] == {"note": "checkout answers 502"}
    assert set(event["metadata"]["asked"]) == {"uid", "login", "pid"}
    assert event["source"]["recorder"]["id"] == "holder"
    assert json.loads(result.stdout) == {
        "trail": str(path), "event_id": event["event_id"], "at": event["timestamp"], "note": "checkout answers 502",
        "backend": "shop",
    }  # fmt: skip


def test_without_a_holder_the_trail_is_opened_and_verifies_after(trail: Path, add: Add) -> None:
    result = add("--note", "down")
    assert result.return_value == 0, result.exception
    assert result.stdout.startswith("recorded for 2")
    (event,) = incidents(trail)
    assert "target" not in event
    assert event["event_id"] in result.stdout
    assert verify(trail).ok
    log = ["log", "--trail", str(trail), "--events", "alert", "--json", "--since", "1h"]
    found = CliRunner().invoke(root, log, standalone_mode=False).stdout
    assert json.loads(found)["event_id"] == event["event_id"]


@pytest.mark.usefixtures("holder")
def test_the_note_and_the_name_are_redacted_before_they_leave_the_command(add: Add, path: Path) -> None:
    result = add("--note", f"curl -H 'Authorization: Bearer {SECRET}'\x1b[2J\n{{", "--backend", SECRET)
    assert result.return_value == 0, result.exception
    assert SECRET not in path.read_text()
    assert SECRET not in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stdout.count("\n") == 1
    assert add("--note", "half a \udcff pair").return_value == 0
    assert len(incidents(path)) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--note", " "], "--note: expected 1 to 500 characters"),
        (["--note", "x" * 501], "--note: expected 1 to 500 characters"),
        (["--note", "x", "--backend", ""], "--backend: expected 1 to 256 characters"),
        (["--note", "x", "--at", "yesterday"], "--at: expected a time such as 10s"),
        (["--note", "x", "--at", "2999-01-01"], "is later than now"),
    ],
)
@pytest.mark.usefixtures("holder")
def test_a_mistake_is_said_and_nothing_is_recorded(
    arguments: list[str], said: str, add: Add, path: Path
) -> None:
    result = add(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert incidents(path) == []


def test_where_there_is_no_trail_none_is_made(add: Add, path: Path) -> None:
    result = add("--note", "x")
    assert isinstance(result.exception, TrailError)
    assert "there is no trail here" in str(result.exception)
    assert not path.exists()


@pytest.mark.usefixtures("holder")
def test_given_twice_it_stands_once(path: Path) -> None:
    order = AddIncident(id=events.new_id(), at=events.now(), note="down")
    first = manage.manage(path, AuditSettings(), order)
    assert manage.manage(path, AuditSettings(), order) == first
    assert [event["event_id"] for event in incidents(path)] == [order.id]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "x"}, {"id": "g" * 36}, {"at": "now"}, {"at": "2026-11-22T05:10:00Z"}, {"note": ""},
        {"note": "x" * 4001}, {"backend": "x" * 257}, {"at": "2026-11-22T05:10:00.000000Z\n"}, {"note": 7},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_of_another_shape_is_none(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {
        "order": "incident_add",
        "id": events.new_id(),
        "at": events.now(),
        "note": "down",
    }
    assert isinstance(orders.decode(json.dumps(good).encode()), AddIncident)
    with pytest.raises(WireError):
        orders.decode(json.dumps({**good, **wrong}).encode())
