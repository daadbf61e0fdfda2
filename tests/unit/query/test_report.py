"""A report's figures are those of a plain loop over the lines, at every edge of an hour, a day and the period."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.query.columns import row_of
from indelible.query.engine.asking import ALL, Asked
from indelible.query.filters import EVENT_TYPES
from indelible.query.report import making
from indelible.query.report.facts import facts
from indelible.query.report.scope import Scope, moment
from indelible.trail.entry import stamp
from indelible.trail.layout import Layout
from tests.effort import examples
from tests.trails import ORIGIN, erased

Row = dict[str, Any]
UNTIL = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
MICRO = dt.timedelta(microseconds=1)


def text(when: dt.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


SCOPE = Scope(text(UNTIL - 10 * DAY), text(UNTIL), per_hour=2, error_percent="33.5", min_calls=3)


# --- the plain loop ---------------------------------------------------------------------------------------


def is_call(row: Row) -> bool:
    return bool(row["event_type"] == "mcp_operation")


def is_denied(row: Row) -> bool:
    return row["kind"] in ("denied", "unauthenticated") or row["policy_decision"] == "deny"


def is_warned(row: Row) -> bool:
    return row["policy_decision"] == "warn" and not is_denied(row)


def within(row: Row, scope: Scope, column: str = "timestamp") -> bool:
    at = row[column]
    return at is not None and moment(scope.since) <= at < moment(scope.until)


def calls_of(rows: list[Row], scope: Scope) -> list[Row]:
    return [row for row in rows if is_call(row) and within(row, scope)]


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in keys)].append(row)
    return found


def busy(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    found = []
    for (user,), calls in grouped(calls_of(rows, scope), "user_id").items():
        times = [call["timestamp"] for call in calls]
        in_window = {end: sum(1 for time in times if end - HOUR < time <= end) for end in times}
        most = max(in_window.values())
        if most > scope.per_hour:
            found.append((user, most, min(end for end in times if in_window[end] == most), len(times)))
    return found


def errors(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    found = []
    tools = [row for row in calls_of(rows, scope) if row["type"] == "tool"]
    for (backend, name), calls in grouped(tools, "backend", "capability_name").items():
        wrong = sum(call["status"] == "error" for call in calls)
        rate = Fraction(wrong, len(calls))
        if len(calls) >= scope.min_calls and rate > scope.error_share:
            found.append((backend, name, len(calls), wrong, round(100 * wrong / len(calls), 9)))
    return found


def refused(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in calls_of(rows, scope):
        if not is_denied(row) and not is_warned(row):
            continue
        what = "denied" if is_denied(row) else "warned"
        target = (row["backend"], row["capability_name"])
        found[what, row["user_id"], *target, row["kind"], row["policy_rule"]].append(row)
    return [(*key, len(calls), max(call["timestamp"] for call in calls)) for key, calls in found.items()]


def first_seen(rows: Iterable[Row], scope: Scope, *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return what was seen before the end, of which nothing is from before the period."""
    known = [row for row in rows if row["timestamp"] is not None and row["timestamp"] < moment(scope.until)]
    return {
        key: some
        for key, some in grouped(known, *keys).items()
        if min(row["timestamp"] for row in some) >= moment(scope.since)
    }


def new_tools(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    tools = [row for row in rows if is_call(row) and row["type"] == "tool"]
    return [
        (*key, min(row["timestamp"] for row in some), len(some), len({row["user_id"] for row in some} - {None}))
        for key, some in first_seen(tools, scope, "backend", "capability_name").items()
    ]


def new_callers(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    return [
        (
            *key, min(row["timestamp"] for row in some), len(some),
            len({row["capability_name"] for row in some} - {None}), len({row["session_id"] for row in some} - {None}),
        )
        for key, some in first_seen(filter(is_call, rows), scope, "user_id").items()
    ]  # fmt: skip


def definitions(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    said = [
        row
        for row in rows
        if row["event_type"] in ("mcp_operation", "tool_definition_changed") and row["tool_sha256"] is not None
    ]
    found = []
    for key, some in first_seen(said, scope, "backend", "capability_name", "tool_sha256").items():
        first = min(row["timestamp"] for row in some)
        announced = sum(not is_call(row) for row in some)
        earlier = any(
            (row["backend"], row["capability_name"]) == key[:2] and row["timestamp"] < first
            for row in said
            if row["timestamp"] is not None
        )
        found.append((*key, first, len(some) - announced, announced, earlier or announced > 0))
    return found


def total(rows: list[Row], column: str) -> int | None:
    values = [row[column] for row in rows if row[column] is not None]
    return sum(values) if values else None


def cost(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    priced = [row for row in calls_of(rows, scope) if row["cost_centicents"] is not None]
    return [
        (
            *key,
            len(some),
            *(total(some, f"cost_{name}") for name in ("centicents", "input_tokens", "output_tokens")),
        )
        for key, some in grouped(priced, "user_id", "backend", "capability_name").items()
    ]


def slow(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    timed = [row for row in calls_of(rows, scope) if row["type"] == "tool" and row["latency_ms"] is not None]
    found = []
    for key, some in grouped(timed, "backend", "capability_name").items():
        taken = sorted(row["latency_ms"] for row in some)
        of = [taken[math.ceil(Fraction(part, 100) * len(taken)) - 1] for part in (50, 95, 99)]
        found.append((*key, len(taken), *of, taken[-1]))
    return found


def hours(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    used: Counter[tuple[str, dt.datetime]] = Counter()
    for row in rows:
        at = row["timestamp"]
        if is_call(row) and row["user_id"] is not None and at is not None and at < moment(scope.until):
            used[row["user_id"], at.replace(minute=0, second=0, microsecond=0)] += 1
    found = []
    for (user, start), calls in used.items():
        mine = [hour for other, hour in used if other == user and hour < start]
        days = {hour.date() for hour in mine if hour >= start - 30 * DAY}
        same = [hour for hour in mine if hour.hour == start.hour]
        usual = any(hour >= start - 30 * DAY for hour in same)
        if start >= moment(scope.since) and not usual and len(days) >= 5:
            found.append((user, start, calls, len(days), max(same, default=None)))
    return found


def activity(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    assert scope.bucket == "day"
    found = defaultdict(list)
    for row in calls_of(rows, scope):
        found[row["timestamp"].replace(hour=0, minute=0, second=0, microsecond=0)].append(row)
    return [
        (
            day, len(some), sum(row["status"] == "error" for row in some), sum(is_denied(row) for row in some),
            sum(row["effects"] == "destructive" for row in some),
        )
        for day, some in found.items()
    ]  # fmt: skip


def destructive(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    return [
        tuple(row[name] for name in ("timestamp", "user_id", "backend", "capability_name", "kind", "seq"))
        for row in calls_of(rows, scope)
        if row["effects"] == "destructive" and row["timestamp"] >= moment(scope.until) - DAY
    ]


def summary(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    calls = calls_of(rows, scope)
    tools = {(row["backend"], row["capability_name"]) for row in calls if row["type"] == "tool"}
    return [
        (
            len(calls), sum(row["status"] == "error" for row in calls), sum(is_denied(row) for row in calls),
            sum(is_warned(row) for row in calls),
            sum(row["effects"] == "destructive" for row in calls),
            len({row["user_id"] for row in calls} - {None}), len({row["session_id"] for row in calls} - {None}),
            len(tools), total(calls, "cost_centicents"),
        )
    ]  # fmt: skip


def held(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    recorded = [row["recorded_at"] for row in rows if row["recorded_at"] is not None]
    times = [row["timestamp"] for row in rows if is_call(row)]
    return [
        (
            min(recorded, default=None), max(recorded, default=None), len(rows), sum(row["erased"] for row in rows),
            sum((row["schema"] or 0) > 1 for row in rows), times.count(None),
            sum(time is not None and time >= moment(scope.until) for time in times),
        )
    ]  # fmt: skip


def rejected(rows: list[Row], scope: Scope) -> list[tuple[Any, ...]]:
    found = []
    events = [row for row in rows if row["event_type"] == "auth_rejected" and within(row, scope)]
    for key, some in grouped(events, "client_ip", "error").items():
        counts = [max(number(row["metadata"], "count"), 1) for row in some]
        found.append((*key, sum(counts), max(row["timestamp"] for row in some)))
    return found


LOOPS: dict[str, Callable[[list[Row], Scope], list[tuple[Any, ...]]]] = {
    "summary": summary,
    "held": held,
    "activity": activity,
    "destructive": destructive,
    "busy": busy,
    "errors": errors,
    "refused": refused,
    "rejected": rejected,
    "new_tools": new_tools,
    "new_callers": new_callers,
    "definitions": definitions,
    "cost": cost,
    "slow": slow,
    "hours": hours,
}


def number(metadata: str | None, key: str) -> int:
    value = json.loads(metadata or "{}").get(key)
    return value if isinstance(value, int) else 0


def facts_of(rows: list[Row], scope: Scope) -> dict[str, dict[str, Any]]:
    """Return the numbers of every fact."""
    calls = calls_of(rows, scope)
    seen = [row for row in rows if within(row, scope)]
    lines = [row for row in rows if within(row, scope, "recorded_at")]

    def has(some: list[Row], column: str) -> int:
        return sum(row[column] is not None for row in some)

    def sees(some: list[Row], column: str, *values: str) -> int:
        return sum(row[column] in values for row in some)

    def of(event_type: str) -> list[Row]:
        return [row for row in lines if row["event_type"] == event_type]

    destroying = [row for row in calls if row["effects"] == "destructive"]
    named = [row for row in calls if row["user_id"] is not None]
    refusals = [row for row in seen if row["event_type"] == "auth_rejected"]
    recorded = [row["recorded_at"] for row in rows if row["recorded_at"] is not None]
    checked, login = sees(named, "auth_method", "jwt", "api_key", "mtls"), sees(named, "auth_method", "os")
    return {
        "calls": {
            "calls": len(calls), "callers": len({row["user_id"] for row in calls} - {None}),
            "names": len({(row["backend"], row["capability_name"]) for row in calls}),
            "backends": len({row["backend"] for row in calls} - {None}),
        },
        "content": {
            "calls": len(calls), "who": has(calls, "user_id"), "what": has(calls, "capability_name"),
            "outcome": has(calls, "kind"), "server": has(calls, "backend"), "address": has(calls, "client_ip"),
            "session": has(calls, "session_id"),
        },
        "failures": {
            "errors": sees(calls, "status", "error"), "calls": len(calls),
            "interrupted": sees(calls, "kind", "interrupted"),
        },
        "destructive": {
            "calls": len(destroying), "callers": len({row["user_id"] for row in destroying} - {None}),
            "errors": sees(destroying, "status", "error"),
            "unknown": sum(row["type"] == "tool" and row["effects"] in (None, "unknown") for row in calls),
        },
        "inputs": {
            "args": has(calls, "args"), "digests": has(calls, "args_hmac"), "results": has(calls, "result_hmac"),
        },
        "definitions": {
            "changes": sees(seen, "event_type", "tool_definition_changed"),
            "definitions": len({row["tool_sha256"] for row in calls} - {None}),
        },
        "asked": {
            "elicitations": sees(seen, "event_type", "elicitation"), "samplings": sees(seen, "event_type", "sampling"),
        },
        "identities": {
            "checked": checked, "login": login, "claimed": len(named) - checked - login,
            "nobody": len(calls) - len(named),
        },
        "delegation": {
            "agents": sees(calls, "caller_type", "agent"), "humans": sees(calls, "caller_type", "human"),
            "services": sees(calls, "caller_type", "service"),
            "behalf": sum(bool(row["on_behalf_of"]) for row in calls),
        },
        "refusals": {
            "denied": sum(is_denied(row) for row in calls), "warned": sum(is_warned(row) for row in calls),
            "unauthenticated": sees(calls, "kind", "unauthenticated"),
            "decided": sees(calls, "policy_decision", "allow", "deny", "warn"), "calls": len(calls),
        },
        "rejected": {
            "requests": sum(max(number(row["metadata"], "count"), 1) for row in refusals),
            "addresses": len({row["client_ip"] for row in refusals} - {None}),
        },
        "gaps": {
            "gaps": len(of("audit_gap")), "lost": sum(number(row["metadata"], "lost") for row in of("audit_gap")),
            "died": len(of("audit_recovered")),
            "interrupted": sum(number(row["metadata"], "interrupted") for row in of("audit_recovered")),
        },
        "runs": {
            "starts": len(of("audit_started")), "stops": len(of("audit_stopped")), "keys": len(of("key_rotated")),
            "reloads": len(of("config_reloaded")), "heartbeats": len(of("audit_heartbeat")),
        },
        "clock": {
            "steps": len(of("clock_stepped")),
            "most": max((abs(number(row["metadata"], "step_s")) for row in of("clock_stepped")), default=0),
            "timed": has(lines, "timestamp"), "lines": len(lines),
        },
        "alerts": {
            "alerts": len(of("alert")),
            "incidents": sum("incident" in json.loads(row["metadata"] or "{}") for row in of("alert")),
        },
        "kept": {
            "oldest": min(recorded, default=None), "newest": max(recorded, default=None),
            "days": (max(recorded).date() - min(recorded).date()).days if recorded else None, "lines": len(rows),
        },
        "removed": {
            "deletions": len(of("retention_applied")), "erasures": len(of("entry_erased")),
            "placed": len(of("hold_placed")), "released": len(of("hold_released")),
        },
    }  # fmt: skip


# --- lines ------------------------------------------------------------------------------------------------

PLACES = [
    UNTIL,
    UNTIL - DAY,
    UNTIL - 10 * DAY,
    *(UNTIL - days * DAY - 5 * HOUR for days in (1, 2, 3, 4, 5, 29, 35, 40)),
]
OFFSETS = [
    dt.timedelta(0),
    MICRO,
    -MICRO,
    HOUR,
    HOUR - MICRO,
    HOUR + MICRO,
    -HOUR,
    2 * HOUR,
    30 * DAY,
    -30 * DAY,
]
TIMES = st.builds(lambda place, offset: text(place + offset), st.sampled_from(PLACES), st.sampled_from(OFFSETS))
NAMES = st.sampled_from(["read", "delete", "'; DROP VIEW logs; --", "a\nb", "<b>x</b>", "é\u202e", ""])
USERS = st.none() | st.sampled_from(["ada", "bob"])
KINDS = st.sampled_from(["completed", "completed", "tool_error", "denied", "unauthenticated", "interrupted"])


METADATA = st.sampled_from(
    [{"count": 1}, {"count": 12, "lost": 3}, {"count": 0}, {"lost": 2, "interrupted": 4}, {"step_s": -7200},
     {"step_s": "no", "lost": "many", "interrupted": None}, {"incident": {"note": "x"}}, {}]
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> Row:
    kind = draw(KINDS)
    types = ["mcp_operation"] * 30 + [name for name in EVENT_TYPES if name != "mcp_operation"]
    body: Row = {
        "timestamp": draw(TIMES) if draw(st.integers(0, 15)) else "never",
        "event_type": draw(st.sampled_from(types)),
        "source": {
            "user_id": draw(USERS),
            "session_id": draw(st.sampled_from(["s1", "s2"])),
            "client_ip": "10.0.0.1",
            "auth_method": draw(st.sampled_from(["os", "jwt", "none", None])),
            "caller_type": draw(st.sampled_from(["agent", "human", None])),
            "on_behalf_of": draw(st.sampled_from([None, [], ["bob"]])),
        },
        "target": {
            "backend": draw(st.sampled_from(["files", None])),
            "type": draw(st.sampled_from(["tool", "tool", "tool", "resource"])),
            "capability_name": draw(NAMES),
            "effects": draw(st.sampled_from(["destructive", "read_only", "unknown"])),
            "tool_sha256": draw(st.sampled_from([None, "a" * 64, "b" * 64])),
        },
        "policy": draw(st.none() | st.fixed_dictionaries({"decision": st.sampled_from(["allow", "deny", "warn"])})),
        "outcome": {
            "kind": kind,
            "status": "success" if kind == "completed" else "error",
            "latency_ms": draw(st.none() | st.sampled_from([0.5, 1, 1.5, 2, 300, -1, "no"])),
        },
        "cost": {
            "centicents": draw(st.none() | st.sampled_from([1, 9_999, 2**53])),
            "input_tokens": draw(st.none() | st.just(7)),
        },
        "request": draw(st.sampled_from([None, {"args": {"a": 1}, "args_hmac": "x"}, {"args": None}])),
        "metadata": draw(st.none() | METADATA),
    }  # fmt: skip
    return {key: value for key, value in body.items() if value is not None}


def write(path: Path, bodies: list[Row], more: list[bytes] | None = None) -> list[bytes]:
    """Write a trail of these events, and whatever lines stand behind them; return its lines."""
    layout = Layout(path)
    layout.segments.mkdir(parents=True, exist_ok=True)
    layout.origin.write_text(ORIGIN + "\n")
    start = UNTIL - 60 * DAY
    lines = [
        stamp(seq, text(start + seq * 0.01 * DAY), json.dumps(body, separators=(",", ":")).encode())
        for seq, body in enumerate(bodies)
    ]
    lines += more or []
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return lines


def asked(path: Path, scope: Scope = SCOPE) -> making.Report:
    with Asked([path], ALL) as views:
        return making.make(views, scope, 0, lambda: None)


def plain(table: making.Table) -> list[tuple[Any, ...]]:
    def value(item: Any) -> Any:
        if isinstance(item, dt.datetime):
            return item.astimezone(dt.UTC)
        return round(item, 9) if isinstance(item, float) else item

    return [tuple(value(row[column.name]) for column in table.section.columns) for row in table.rows]


def in_order(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


@pytest.mark.slow
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some=st.lists(bodies(), max_size=60), again=st.integers(1, 3))
def test_every_figure_is_that_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, some: list[Row], again: int
) -> None:
    path = tmp_path_factory.mktemp("trail") / "audit.jsonl"
    gone = erased(b"x", len(some) * again)
    later = [line.replace(b'"schema":1', b'"schema":2', 1) for line in write(path, some[:2])]
    path.unlink()
    lines = write(path, some * again, [gone, *later, b"torn", b'{"seq":1'])
    rows = [row for line in lines if (row := row_of(line, ORIGIN)) is not None]
    report = asked(path)
    found = {table.section.name: table for table in (report.summary, report.held, *report.tables)}
    for name, loop in LOOPS.items():
        assert in_order(plain(found[name])) == in_order(loop(rows, SCOPE)), name
        assert found[name].total == len(found[name].rows)
    wanted = facts_of(rows, SCOPE)
    with Asked([path], ALL) as views:
        for name, fact in facts(SCOPE).items():
            result = views.query(fact.sql)
            [numbers] = result.rows
            assert dict(zip(result.names, numbers, strict=True)) == wanted[name], name
