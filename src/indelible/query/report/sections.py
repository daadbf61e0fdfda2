"""The analyses of a report, as data: what each is, its query, and its columns. Pure.

The rules that live here:

- A section's rows are what its query gives, and its query may be asked by anybody: `indelible sql` with the text that
  stands here gives the same rows. So a query asks the views `logs` and `events` and nothing else, and a shell takes it
  as it stands between double quotes: it has no double quote, dollar sign, backquote, backslash or exclamation mark.
- Calls are the rows of `logs`: outcomes, never intents. Of a call without a time nobody knows whether it is in the
  period; it is counted aside (`held`), and in no section.
- The order of rows is total but for rows that are equal, so that two looks at one trail print the same.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from indelible.events import SCHEMA
from indelible.query.report.scope import DENIED, HABIT_DAYS, HABIT_LEAST, WARNED, Scope

Kind = Literal["text", "time", "bucket", "count", "percent", "money", "ms", "seconds", "truth"]


class Column(NamedTuple):
    """A column: its name in the query and in JSON, its heading, and what its values are."""

    name: str
    heading: str
    kind: Kind


class Aside(NamedTuple):
    """A number beside a table: what of it cannot be told, or is left out; said when it is not 0."""

    name: str
    sql: str
    says: str
    """What is said, with ``{n}`` for the number."""


class Section(NamedTuple):
    """One analysis of one period."""

    name: str
    title: str
    says: str
    """What is in it, precisely."""
    columns: tuple[Column, ...]
    sql: str
    asides: tuple[Aside, ...] = ()
    is_new: bool = False
    """Whether it is about what was not there before: nobody can tell where the trail does not go back so far."""
    none: str = "none"
    """What is said when there are no rows."""


CALLER: Final = Column("user_id", "Caller", "text")
BACKEND: Final = Column("backend", "Server", "text")
NAME: Final = Column("name", "Tool", "text")
CALLS: Final = Column("calls", "Calls", "count")
FIRST: Final = Column("first", "First call", "time")


def command(sql: str) -> str:
    """Return the command that gives the same rows; options such as ``--trail`` go behind it."""
    return f'indelible sql "{sql}"'


def within(scope: Scope, column: str = "timestamp") -> str:
    """Return the condition that an event is of the period."""
    return f"{column} >= '{scope.since}' AND {column} < '{scope.until}'"


def summary(scope: Scope) -> Section:
    """Return the figures of the whole period: one row."""
    return Section(
        "summary",
        "The period",
        "All calls received in the period.",
        (
            CALLS,
            Column("errors", "Errors", "count"),
            Column("denied", "Denied", "count"),
            Column("warned", "Warned", "count"),
            Column("destructive", "Destructive", "count"),
            Column("callers", "Named callers", "count"),
            Column("sessions", "Sessions", "count"),
            Column("tools", "Tools", "count"),
            Column("centicents", "Cost", "money"),
        ),
        "SELECT count(*) AS calls, count(*) FILTER (status = 'error') AS errors, "
        f"count(*) FILTER ({DENIED}) AS denied, count(*) FILTER ({WARNED}) AS warned, "
        "count(*) FILTER (effects = 'destructive') AS destructive, count(DISTINCT user_id) AS callers, "
        "count(DISTINCT session_id) AS sessions, count(DISTINCT (backend, name)) FILTER (type = 'tool') AS tools, "
        f"sum(cost_centicents) AS centicents FROM logs WHERE {within(scope)}",
    )


def held(scope: Scope) -> Section:
    """Return what the trail holds at all: one row."""
    return Section(
        "held",
        "What the trail holds",
        "All lines that can be read, of every time. Erased lines say nothing any more; what a newer version wrote "
        "(its schema is greater) is taken as if this one had, and may mean something else; calls without a time that "
        "can be read, and those at the end of the period or later, are in no section.",
        (
            Column("oldest", "Oldest line (UTC)", "time"),
            Column("newest", "Newest line (UTC)", "time"),
            Column("events", "Lines", "count"),
            Column("erased", "Erased lines", "count"),
            Column("newer", "Lines of a newer version", "count"),
            Column("timeless", "Calls without a time", "count"),
            Column("later", "Calls after the period", "count"),
        ),
        "SELECT min(recorded_at) AS oldest, max(recorded_at) AS newest, count(*) AS events, "
        f"count(*) FILTER (erased) AS erased, count(*) FILTER (schema > {SCHEMA}) AS newer, "
        "count(*) FILTER (event_type = 'mcp_operation' AND timestamp IS NULL) AS timeless, "
        f"count(*) FILTER (event_type = 'mcp_operation' AND timestamp >= '{scope.until}') AS later FROM events",
    )


def sections(scope: Scope) -> list[Section]:
    """Return the analyses of calls, in the order of a report."""
    return [
        _activity(scope),
        _destructive(scope),
        _busy(scope),
        _errors(scope),
        _refused(scope),
        _rejected(scope),
        _new_tools(scope),
        _new_callers(scope),
        _definitions(scope),
        _cost(scope),
        _slow(scope),
        _hours(scope),
    ]


def _activity(scope: Scope) -> Section:
    return Section(
        "activity",
        "Activity",
        f"Calls by {scope.bucket} (UTC) in which they were received; {scope.bucket}s without any are left out.",
        (
            Column("start", scope.bucket.capitalize(), "bucket"),
            CALLS,
            Column("errors", "Errors", "count"),
            Column("denied", "Denied", "count"),
            Column("destructive", "Destructive", "count"),
        ),
        f"SELECT date_trunc('{scope.bucket}', timestamp) AS start, count(*) AS calls, "
        f"count(*) FILTER (status = 'error') AS errors, count(*) FILTER ({DENIED}) AS denied, "
        "count(*) FILTER (effects = 'destructive') AS destructive "
        f"FROM logs WHERE {within(scope)} GROUP BY start ORDER BY start DESC",
    )


def _destructive(scope: Scope) -> Section:
    return Section(
        "destructive",
        "Destructive calls of the last day",
        "Calls of the last 24 hours of the period whose tool is destructive, by its own word or the configuration's; "
        "the newest first.",
        (
            Column("timestamp", "Received (UTC)", "time"),
            CALLER,
            BACKEND,
            Column("name", "What", "text"),
            Column("kind", "Outcome", "text"),
            Column("seq", "Seq", "count"),
        ),
        "SELECT timestamp, user_id, backend, name, kind, seq FROM logs WHERE effects = 'destructive' "
        f"AND timestamp >= '{scope.last_day}' AND timestamp < '{scope.until}' "
        "ORDER BY timestamp DESC, seq DESC, origin",
        (
            Aside(
                "unknown_effects",
                "SELECT count(*) AS n FROM logs WHERE (effects IS NULL OR effects = 'unknown') AND type = 'tool' "
                f"AND timestamp >= '{scope.last_day}' AND timestamp < '{scope.until}'",
                "Calls of tools of which nobody has said whether they are destructive, not among these: {n}",
            ),
        ),
    )


def _busy(scope: Scope) -> Section:
    return Section(
        "busy",
        "High-frequency callers",
        f"Callers with more than {scope.per_hour} calls received within some 60 minutes of the period, wherever these "
        "begin: the window slides. Two calls exactly 60 minutes apart are not within one. The first window with the "
        "most is shown by its last call.",
        (
            CALLER,
            Column("most", "Most in an hour", "count"),
            Column("ended", "Last call of that hour", "time"),
            Column("calls", "Calls in the period", "count"),
        ),
        "WITH counted AS (SELECT user_id, timestamp, count(*) OVER (PARTITION BY user_id) AS calls, "
        "count(*) OVER (PARTITION BY user_id ORDER BY timestamp "
        "RANGE BETWEEN INTERVAL '3599.999999 seconds' PRECEDING AND CURRENT ROW) AS most "
        f"FROM logs WHERE {within(scope)}) "
        f"SELECT user_id, most, timestamp AS ended, calls FROM counted WHERE most > {scope.per_hour} "
        "QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY most DESC, timestamp) = 1 "
        "ORDER BY most DESC, user_id NULLS FIRST",
    )


def _errors(scope: Scope) -> Section:
    by_tool = f"FROM logs WHERE type = 'tool' AND {within(scope)} GROUP BY backend, name"
    return Section(
        "errors",
        "Error rate by tool",
        f"Tools of which more than {scope.error_percent} % of the calls ended with status error, whatever the kind, "
        f"of at least {scope.min_calls} calls.",
        (BACKEND, NAME, CALLS, Column("errors", "Errors", "count"), Column("percent", "Rate", "percent")),
        "SELECT backend, name, count(*) AS calls, count(*) FILTER (status = 'error') AS errors, "
        f"100.0 * errors / calls AS percent {by_tool} "
        f"HAVING calls >= {scope.min_calls} AND 100 * errors > {scope.error_percent} * calls "
        "ORDER BY percent DESC, calls DESC, backend NULLS FIRST, name NULLS FIRST",
        (
            Aside(
                "too_few_calls",
                "SELECT count(*) AS n FROM (SELECT count(*) AS calls, count(*) FILTER (status = 'error') AS errors "
                f"{by_tool} HAVING calls < {scope.min_calls} AND errors > 0)",
                f"Tools with errors and fewer than {scope.min_calls} calls, which are not judged: {{n}}",
            ),
        ),
    )


def _refused(scope: Scope) -> Section:
    return Section(
        "refused",
        "Denied and warned",
        "Calls that were denied, or that a policy let pass with a warning, by caller, target, outcome and rule. Denied "
        "is what ended as denied or unauthenticated, and what a policy decided to deny, whatever came of it.",
        (
            Column("what", "What", "text"),
            CALLER,
            BACKEND,
            Column("name", "Target", "text"),
            Column("kind", "Outcome", "text"),
            Column("rule", "Rule", "text"),
            CALLS,
            Column("newest", "Newest (UTC)", "time"),
        ),
        f"SELECT CASE WHEN {DENIED} THEN 'denied' ELSE 'warned' END AS what, "
        "user_id, backend, name, kind, policy_rule AS rule, count(*) AS calls, max(timestamp) AS newest FROM logs "
        f"WHERE ({DENIED} OR policy_decision = 'warn') AND {within(scope)} "
        "GROUP BY ALL ORDER BY calls DESC, what, user_id NULLS FIRST, backend NULLS FIRST, name NULLS FIRST, "
        "kind NULLS FIRST, rule NULLS FIRST",
    )


def _rejected(scope: Scope) -> Section:
    return Section(
        "rejected",
        "Refused before a session",
        "Requests that HTTP refused before there was a session (auth_rejected), by address and reason. They are no "
        "calls; one event may stand for many.",
        (
            Column("client_ip", "Address", "text"),
            Column("error", "Why", "text"),
            Column("requests", "Requests", "count"),
            Column("newest", "Newest (UTC)", "time"),
        ),
        "SELECT client_ip, error, sum(greatest(coalesce(TRY_CAST((metadata->>'count') AS BIGINT), 1), 1)) AS requests, "
        f"max(timestamp) AS newest FROM events WHERE event_type = 'auth_rejected' AND {within(scope)} "
        "GROUP BY client_ip, error ORDER BY requests DESC, client_ip NULLS FIRST, error NULLS FIRST",
    )


def _new_tools(scope: Scope) -> Section:
    return Section(
        "new_tools",
        "New tools",
        "Tools (a server's, by name) that were called in the period, and never before in what the trail holds.",
        (BACKEND, NAME, FIRST, CALLS, Column("callers", "Named callers", "count")),
        "SELECT backend, name, min(timestamp) AS first, count(*) AS calls, count(DISTINCT user_id) AS callers "
        f"FROM logs WHERE type = 'tool' AND timestamp < '{scope.until}' GROUP BY backend, name "
        f"HAVING first >= '{scope.since}' ORDER BY first, backend NULLS FIRST, name NULLS FIRST",
        is_new=True,
    )


def _new_callers(scope: Scope) -> Section:
    return Section(
        "new_callers",
        "New callers",
        "Callers that called in the period, and never before in what the trail holds; calls that name nobody are one "
        "of them.",
        (CALLER, FIRST, CALLS, Column("names", "Targets", "count"), Column("sessions", "Sessions", "count")),
        "SELECT user_id, min(timestamp) AS first, count(*) AS calls, count(DISTINCT name) AS names, "
        f"count(DISTINCT session_id) AS sessions FROM logs WHERE timestamp < '{scope.until}' GROUP BY user_id "
        f"HAVING first >= '{scope.since}' ORDER BY first, user_id NULLS FIRST",
        is_new=True,
    )


def _definitions(scope: Scope) -> Section:
    return Section(
        "definitions",
        "New and changed tool definitions",
        "Digests of tools' definitions that were first seen in the period, in a call or in an announced change "
        "(tool_definition_changed). Changed: the tool was seen before with another definition.",
        (
            BACKEND,
            NAME,
            Column("tool_sha256", "Definition (SHA-256)", "text"),
            Column("first", "First seen", "time"),
            CALLS,
            Column("announced", "Announced", "count"),
            Column("changed", "Changed", "truth"),
        ),
        "WITH seen AS (SELECT backend, capability_name AS name, tool_sha256, min(timestamp) AS first, "
        "count(*) FILTER (event_type = 'mcp_operation') AS calls, "
        "count(*) FILTER (event_type = 'tool_definition_changed') AS announced FROM events "
        "WHERE event_type IN ('mcp_operation', 'tool_definition_changed') AND tool_sha256 IS NOT NULL "
        f"AND timestamp < '{scope.until}' GROUP BY ALL), "
        "compared AS (SELECT *, first > min(first) OVER (PARTITION BY backend, name) OR announced > 0 AS changed "
        "FROM seen) "
        f"SELECT backend, name, tool_sha256, first, calls, announced, changed FROM compared "
        f"WHERE first >= '{scope.since}' ORDER BY first, backend NULLS FIRST, name NULLS FIRST, tool_sha256",
        is_new=True,
    )


def _cost(scope: Scope) -> Section:
    return Section(
        "cost",
        "Cost by caller and tool",
        "What the calls that have a cost add up to. The trail counts hundredths of a cent and names no currency; shown "
        "are whole units (1.0000 is 100 cents).",
        (
            CALLER,
            BACKEND,
            Column("name", "What", "text"),
            CALLS,
            Column("centicents", "Cost", "money"),
            Column("input_tokens", "Tokens in", "count"),
            Column("output_tokens", "Tokens out", "count"),
        ),
        "SELECT user_id, backend, name, count(*) AS calls, sum(cost_centicents) AS centicents, "
        "sum(cost_input_tokens) AS input_tokens, sum(cost_output_tokens) AS output_tokens FROM logs "
        f"WHERE cost_centicents IS NOT NULL AND {within(scope)} GROUP BY user_id, backend, name "
        "ORDER BY centicents DESC, user_id NULLS FIRST, backend NULLS FIRST, name NULLS FIRST",
        (
            Aside(
                "without_cost",
                f"SELECT count(*) AS n FROM logs WHERE cost_centicents IS NULL AND {within(scope)}",
                "Calls of the period without a cost, not in these: {n}",
            ),
        ),
        none="no call of the period has a cost",
    )


def _slow(scope: Scope) -> Section:
    return Section(
        "slow",
        "Slowest tools",
        "Latency of every call of a tool that has one, whatever its outcome. A percentile is the latency of a call: of "
        "n calls in order, p95 is that of number 0.95 n, rounded up. The greatest p95 first.",
        (
            BACKEND,
            NAME,
            CALLS,
            Column("p50", "p50", "ms"),
            Column("p95", "p95", "ms"),
            Column("p99", "p99", "ms"),
            Column("longest", "Longest", "ms"),
        ),
        "SELECT backend, name, count(*) AS calls, quantile_disc(latency_ms, 0.5) AS p50, "
        "quantile_disc(latency_ms, 0.95) AS p95, quantile_disc(latency_ms, 0.99) AS p99, max(latency_ms) AS longest "
        f"FROM logs WHERE type = 'tool' AND latency_ms IS NOT NULL AND {within(scope)} GROUP BY backend, name "
        "ORDER BY p95 DESC, longest DESC, calls DESC, backend NULLS FIRST, name NULLS FIRST",
    )


_HABITS: Final = (
    "WITH seen AS (SELECT user_id, date_trunc('hour', timestamp) AS start, count(*) AS calls FROM logs "
    "WHERE user_id IS NOT NULL AND timestamp < '{until}' GROUP BY ALL), "
    "compared AS (SELECT *, lag(start) OVER (PARTITION BY user_id, date_part('hour', start) ORDER BY start) AS before, "
    "count(DISTINCT date_trunc('day', start)) OVER (PARTITION BY user_id ORDER BY start "
    f"RANGE BETWEEN INTERVAL {HABIT_DAYS} DAYS PRECEDING AND INTERVAL 1 HOUR PRECEDING) AS days FROM seen) "
)


def _hours(scope: Scope) -> Section:
    habits = _HABITS.format(until=scope.until)
    unusual = f"start >= '{scope.since}' AND (before IS NULL OR before < start - INTERVAL {HABIT_DAYS} DAYS)"
    return Section(
        "hours",
        "Unusual hours",
        f"Clock hours (UTC) that begin in the period, in which somebody called who had not called in that hour of any "
        f"of the {HABIT_DAYS} days before. Only of those who called on at least {HABIT_LEAST} of these days: of others "
        "no hour is usual.",
        (
            CALLER,
            Column("start", "Hour (UTC)", "time"),
            CALLS,
            Column("days", f"Days with calls, of {HABIT_DAYS} before", "count"),
            Column("before", "That hour was last used", "time"),
        ),
        f"{habits}SELECT user_id, start, calls, days, before FROM compared "
        f"WHERE {unusual} AND days >= {HABIT_LEAST} ORDER BY start DESC, user_id",
        (
            Aside(
                "no_habit",
                f"{habits}SELECT count(DISTINCT user_id) AS n FROM compared WHERE {unusual} AND days < {HABIT_LEAST}",
                f"Callers of whom some hours are not judged, since they had called on fewer than {HABIT_LEAST} of the "
                f"{HABIT_DAYS} days before: {{n}}",
            ),
        ),
    )
