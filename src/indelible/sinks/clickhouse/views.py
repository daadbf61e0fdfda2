"""The views over the table of events, as data. Pure.

The rule that lives here: every view reads the table with FINAL, or another view that does, so that an event which came
twice is counted once (`schema`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from indelible.sinks.clickhouse.columns import OF_CALLS


class View(NamedTuple):
    """One view."""

    name: str
    about: str
    """What it shows, for the comment before it."""
    select: str
    """Its query; TABLE is the table of events, OPERATIONS the view of that name."""


def _list(names: tuple[str, ...], width: int = 100) -> str:
    """Return columns as a query has them, on lines of some length."""
    lines, line = [], ""
    for name in names:
        if len(line) + len(name) > width:
            lines.append(line.rstrip())
            line = ""
        line += f"{name}, "
    return ("\n    ".join([*lines, line.rstrip()])).rstrip(",")


OPERATIONS: Final = View(
    "operations",
    "Every call, once: what became of it, who made it, what it was asked for.",
    "SELECT\n    " + _list(OF_CALLS) + "\nFROM TABLE FINAL\nWHERE event_type = 'mcp_operation'",
)

VIEWS: Final = (
    OPERATIONS,
    View(
        "logs",
        "The same in the words of MXCP's audit log, and what it takes to check a row against the trail.",
        """SELECT
    timestamp,
    nullIf(caller, '') AS caller,
    nullIf(type, '') AS type,
    nullIf(capability_name, '') AS name,
    if(args = '', '{}', args) AS input_json,
    accurateCastOrNull(round(latency_ms), 'Int64') AS duration_ms,
    if(policy_decision = '', 'n/a', policy_decision) AS policy_decision,
    nullIf(policy_reason, '') AS reason,
    nullIf(status, '') AS status,
    nullIf(error, '') AS error,
    event_id, origin, seq, leaf
FROM OPERATIONS""",
    ),
    View(
        "errors",
        "Calls that did not come to a good end, denials among them.",
        """SELECT
    timestamp, backend, method, type, capability_name, kind, error_type, error_code, error, latency_ms,
    user_id, client, session_id, request_id, event_id, origin, seq
FROM OPERATIONS
WHERE status = 'error'""",
    ),
    View(
        "denials",
        "Calls that were denied, and credentials that were refused before there was a call.",
        """SELECT
    timestamp, event_type, backend, method, capability_name, kind, policy_rule, policy_reason, error, user_id,
    caller_type, roles, client, client_ip, session_id, request_id, metadata, event_id, origin, seq
FROM TABLE FINAL
WHERE event_type = 'auth_rejected'
    OR (event_type = 'mcp_operation' AND (kind IN ('denied', 'unauthenticated') OR policy_decision = 'deny'))""",
    ),
    View(
        "tool_latency",
        "How long each tool takes, by day (UTC), in milliseconds.",
        """SELECT
    toDate(timestamp, 'UTC') AS day,
    backend,
    capability_name AS tool,
    count() AS calls,
    countIf(status = 'error') AS failed,
    quantileExact(0.5)(latency_ms) AS p50_ms,
    quantileExact(0.95)(latency_ms) AS p95_ms,
    quantileExact(0.99)(latency_ms) AS p99_ms,
    max(latency_ms) AS max_ms
FROM OPERATIONS
WHERE type = 'tool'
GROUP BY day, backend, tool""",
    ),
    View(
        "costs",
        "What calls cost, by day (UTC): `cost` is `centicents` / 10,000, exactly.",
        """SELECT
    toDate(timestamp, 'UTC') AS day,
    user_id,
    backend,
    capability_name,
    cost_model,
    count() AS calls,
    sum(cost_input_tokens) AS input_tokens,
    sum(cost_output_tokens) AS output_tokens,
    sum(cost_centicents) AS centicents,
    sum(toDecimal128(cost_centicents, 4)) / 10000 AS cost
FROM OPERATIONS
WHERE cost_centicents IS NOT NULL OR cost_input_tokens IS NOT NULL OR cost_output_tokens IS NOT NULL
GROUP BY day, user_id, backend, capability_name, cost_model""",
    ),
    View(
        "coverage",
        "How much of each trail is here: `missing` is 0 of a sink without a filter and with 'intents: true'.",
        """SELECT
    origin,
    min(seq) AS first_seq,
    max(seq) AS last_seq,
    count() AS events,
    last_seq - first_seq + 1 - events AS missing,
    sum(erased) AS erased_events,
    max(recorded_at) AS newest_recorded_at,
    max(inserted_at) AS newest_inserted_at
FROM TABLE FINAL
GROUP BY origin""",
    ),
)
