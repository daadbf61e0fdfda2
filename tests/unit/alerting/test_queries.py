"""The command that an alert names shows what its rule counted: asked of a trail, by the command line itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from indelible.alerting.words import Alert, as_metadata
from indelible.cli.root import root
from indelible.formats.record import Entry, Record
from indelible.query.engine.asking import ALL, Asked
from indelible.query.report.scope import Scope
from indelible.query.report.sections import summary
from indelible.trail.upkeep.orders import MAX_ALERT_BYTES
from tests.effort import examples
from tests.trails import ORIGIN, Maker, at, operation
from tests.unit.alerting.alerting import entry, own, run, settings

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


def as_a_shell_reads(command: str) -> list[str]:
    """Return the words of a command."""
    shell = shutil.which("bash")
    assert shell is not None
    asked = command.replace("indelible", "printf '%s\\0' indelible", 1)
    said = subprocess.run([shell, "-c", asked], capture_output=True, check=True).stdout
    return said.decode().split("\0")[:-1]


def shown(alert: Alert, path: Path) -> list[int]:
    """Return the seqs of the events that the command of an alert lists."""
    assert alert.query is not None
    words = as_a_shell_reads(alert.query)[1:]
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


NAMES = st.sampled_from(
    [None, "", " ", "ada", "a'b", "\x1b[31m\n", "\u202egnp", "`id`$(id)", "x" * 600, "é" * 300]
)
PARTS = {
    "all": (),
    "actor": (("source", "user_id"), ("source", "auth_key_id"), ("source", "client_ip")),
    "session": (("source", "session_id"),),
    "backend": (("target", "backend"),),
    "tool": (("target", "backend"), ("target", "capability_name"), ("target", "type")),
}


def about(body: dict[str, Any], by: str) -> tuple[Any, ...]:
    """Return by what an event is counted: of an actor the first name that is known."""
    values = [(key, body[part].get(key)) for part, key in PARTS[by]]
    return next(((one,) for one in values if one[1] is not None), ()) if by == "actor" else tuple(values)


@st.composite
def named(draw: st.DrawFn) -> dict[str, Any]:
    body = operation(0, source={}, target__type=draw(st.sampled_from(["tool", "prompt"])))
    body["event_type"] = draw(st.sampled_from(["mcp_operation", "mcp_operation", "elicitation", "alert"]))
    body["outcome"]["status"] = draw(st.sampled_from(["success", "error"]))
    for part, key in {place for places in PARTS.values() for place in places} - {("target", "type")}:
        value = draw(NAMES)
        body[part].pop(key, None)
        if value is not None:
            body[part][key] = value
    return body


@effort(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(named(), min_size=1, max_size=6),
    st.sampled_from(sorted(PARTS)),
    st.sampled_from(
        [None, "status == 'error'", "event_type != 'elicitation'", "status == 'error' && has(args.path)"]
    ),
)
def test_the_query_of_ones_own_rule_shows_what_it_counted(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[dict[str, Any]], by: str, where: str | None
) -> None:
    path, entries = trail(tmp_path_factory.mktemp("trail"), bodies)
    keys = {"when": "count > 0.0", "window": "1h", "by": by, **({} if where is None else {"where": where})}
    for alert in run(own(**keys), entries):
        body = bodies[(alert.seq or 0) - entries[0].seq]
        counted = [
            entry.seq
            for entry, one in zip(entries, bodies, strict=True)
            if entry.seq <= (alert.seq or 0) and about(one, by) == about(body, by) and is_counted(one, where)
        ]
        found = shown(alert, path)
        if alert.query_note:
            assert set(found) >= set(counted)
        else:
            assert found == counted
        is_long = any(len(value or "") > 512 for _, value in about(body, by))
        assert bool(alert.query_note) == (is_long or "args" in (where or ""))


def is_counted(body: dict[str, Any], where: str | None) -> bool:
    if where is None:
        return bool(body["event_type"] == "mcp_operation")
    if "elicitation" in where:
        is_so = bool(body["event_type"] != "elicitation")
    else:
        is_so = bool(body["outcome"]["status"] == "error")
    return is_so and body["event_type"] != "alert"


def test_an_alert_of_the_longest_names_is_recorded() -> None:
    """A quote in a name is five signs of a shell's word, twice in SQL; the order to record one has its limit."""
    where = " || ".join(["latency_ms >= 1.0", "user == ''"] * 14)
    name = "'" * 512
    entries = [entry(0, 0, tool=name, target={"backend": name, "type": name})]
    for rules in (own(when="count > 0.0", by="tool", where=where), own(when="count > 0.0", by="tool")):
        [alert] = run(rules, entries)
        said = as_metadata(alert, ORIGIN)
        assert len(json.dumps(said)) < MAX_ALERT_BYTES
        assert ("query" in said) != ("query_note" in said)


@pytest.mark.parametrize(
    ("user", "within", "said"),
    [
        ("", "1d", "actor without a name: first use of the destructive tool rm of files in 1 day"),
        (" ", "90d", "actor without a name: first use of the destructive tool rm of files in 90 days"),
        ("ada", "36h", "actor ada: first use of the destructive tool rm of files in 1.5 days"),
    ],
)
def test_a_sentence_says_who_and_how_long(user: str, within: str, said: str) -> None:
    rules = settings(first_destructive={"within": within}).rules
    told = run(rules, [entry(0, 0, user=user, tool="rm", effects="destructive")])
    assert [as_metadata(one, ORIGIN)["summary"] for one in told] == [said]
