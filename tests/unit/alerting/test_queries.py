"""The command that an alert names shows what its rule counted: asked of a trail, by the command line itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from indelible.alerting.words import Alert
from indelible.cli.root import root
from indelible.formats.record import Entry, Record
from indelible.query.engine.asking import ALL, Asked
from indelible.query.report.scope import Scope
from indelible.query.report.sections import summary
from tests.effort import examples
from tests.trails import ORIGIN, Maker, at, operation
from tests.unit.alerting.alerting import run, settings

Event = tuple[str, str, str | None, int | None]
"""Type, kind, decision; of a refusal how many it stands for."""

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["mcp_operation", "mcp_operation", "mcp_operation_started", "auth_rejected"]),
        st.sampled_from(["completed", "tool_error", "denied", "unauthenticated"]),
        st.sampled_from([None, "allow", "warn", "deny", "n/a"]),
        st.sampled_from([None, 0, 1, 7, -3, 2**70, "many"]),
    ),
    min_size=1,
    max_size=12,
)


def trail(folder: Path, bodies: Sequence[dict[str, Any]]) -> tuple[Path, list[Entry]]:
    """Write a trail of these events, a second between two; return its path, and them as rules see them."""
    maker = Maker(folder / "audit.jsonl")
    lines = [maker.add(body | {"timestamp": at(number)}, at(number)) for number, body in enumerate(bodies)]
    maker.seal()
    return maker.layout.active, [Record(line, ORIGIN).entry for line in lines]


def shown(alert: Alert, path: Path) -> list[int]:
    """Return the seqs of the events that the command of an alert lists."""
    assert alert.query is not None
    words = shlex.split(alert.query)[1:]
    done = CliRunner().invoke(root, [*words, "--json", "--trail", str(path)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return [json.loads(line)["seq"] for line in done.stdout.splitlines()]


def body(event: Event) -> dict[str, Any]:
    event_type, kind, decision, count = event
    status = "success" if kind == "completed" else "error"
    changes: dict[str, Any] = {"event_type": event_type, "outcome": {"status": status, "kind": kind}}
    if decision is not None:
        changes["policy"] = {"decision": decision}
    if count is not None:
        changes["metadata"] = {"count": count}
    return operation(0, **changes)


@effort(max_examples=examples(8))
@given(EVENTS)
def test_denied_is_the_same_in_a_rule_its_query_and_a_report(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    """As a plain loop has it: who was told no, and how often."""
    path, entries = trail(tmp_path_factory.mktemp("trail"), [body(event) for event in events])
    refused = [
        (entry.seq, max(count, 1) if isinstance(count, int) and count < 2**63 else 1)
        for entry, (event_type, _, _, count) in zip(entries, events, strict=True)
        if event_type == "auth_rejected"
    ]
    calls = [
        entry.seq
        for entry, (event_type, kind, decision, _) in zip(entries, events, strict=True)
        if event_type == "mcp_operation" and (kind in ("denied", "unauthenticated") or decision == "deny")
    ]
    denied = len(calls) + sum(count for _, count in refused)
    rules = settings(denials={"over": max(denied - 1, 0), "window": "1h", "by": "all"}).rules
    alerts = run(rules, entries)
    assert [one.numbers["denied"] for one in alerts] == ([denied] if denied else [])
    for alert in alerts:
        assert shown(alert, path) == sorted([*calls, *(seq for seq, _ in refused)])
    with Asked([path], ALL) as views:
        [row] = views.query(summary(Scope(at(0), at(3600))).sql).rows
    assert row[2] == len(calls)
