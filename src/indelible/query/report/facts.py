"""What a trail shows of a framework's controls, as facts: a sentence, its numbers, and the query that gives them. Pure.

The rules of `indelible.query.report.sections` hold here: a query's one row has the numbers that its sentence names, and
nothing but times goes into it. A fact says what is in the trail. What that means for a control, and what it does not
show, stands with the control.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from indelible.query.report.scope import DENIED, WARNED, Scope
from indelible.query.report.sections import within

VERIFIED: Final = "verified"
"""The fact that is no query: what verification came to."""


class Fact(NamedTuple):
    """One thing that a trail shows."""

    name: str
    says: str
    """With ``{name}`` for each column of the query."""
    sql: str

    @property
    def query_name(self) -> str:
        """What it is called beside the sections."""
        return f"facts.{self.name}"


def facts(scope: Scope) -> dict[str, Fact]:
    """Return all facts of a period, by their names."""
    every = [*_about_calls(scope), *_about_people(scope), *_about_the_record(scope), *_about_keeping(scope)]
    return {fact.name: fact for fact in every}


def _about_calls(scope: Scope) -> list[Fact]:
    calls = f"FROM logs WHERE {within(scope)}"
    return [
        Fact(
            "calls",
            "Calls on record: {calls}; named callers: {callers}; tools, prompts and resources: {names}; servers: "
            "{backends}.",
            "SELECT count(*) AS calls, count(DISTINCT user_id) AS callers, count(DISTINCT (backend, name)) AS "
            "names, "
            f"count(DISTINCT backend) AS backends {calls}",
        ),
        Fact(
            "content",
            "Of {calls} calls: {who} say who called, {what} what was called, {outcome} what came of it, "
            "{server} which "
            "server, {address} from which address, {session} in which session.",
            "SELECT count(*) AS calls, count(user_id) AS who, count(name) AS what, count(kind) AS outcome, "
            f"count(backend) AS server, count(client_ip) AS address, count(session_id) AS session {calls}",
        ),
        Fact(
            "failures",
            "Calls that ended with an error: {errors} of {calls}; interrupted, so that their outcome is not "
            "known: "
            "{interrupted}.",
            "SELECT count(*) FILTER (status = 'error') AS errors, count(*) AS calls, "
            f"count(*) FILTER (kind = 'interrupted') AS interrupted {calls}",
        ),
        Fact(
            "destructive",
            "Calls of tools that are destructive: {calls}; their named callers: {callers}; ended with an error: "
            "{errors}; calls of tools of which nobody has said what they do: {unknown}.",
            "SELECT count(*) FILTER (effects = 'destructive') AS calls, "
            "count(DISTINCT user_id) FILTER (effects = 'destructive') AS callers, "
            "count(*) FILTER (effects = 'destructive' AND status = 'error') AS errors, "
            f"count(*) FILTER (type = 'tool' AND (effects IS NULL OR effects = 'unknown')) AS unknown {calls}",
        ),
        Fact(
            "inputs",
            "Calls whose arguments are on record, redacted: {args}; of which a keyed digest of the original "
            "is: {digests}; "
            "with a digest of the result: {results}.",
            "SELECT count(*) FILTER (args IS NOT NULL) AS args, count(args_hmac) AS digests, "
            f"count(result_hmac) AS results FROM events WHERE event_type = 'mcp_operation' AND {within(scope)}",
        ),
        Fact(
            "definitions",
            "Changes of tools' definitions on record: {changes}; definitions seen in calls: {definitions}.",
            "SELECT count(*) FILTER (event_type = 'tool_definition_changed') AS changes, "
            "count(DISTINCT tool_sha256) FILTER (event_type = 'mcp_operation') AS definitions "
            f"FROM events WHERE {within(scope)}",
        ),
        Fact(
            "asked",
            "Times that a server asked the user something: {elicitations}; or the client's model: {samplings}.",
            "SELECT count(*) FILTER (event_type = 'elicitation') AS elicitations, "
            f"count(*) FILTER (event_type = 'sampling') AS samplings FROM events WHERE {within(scope)}",
        ),
    ]


def _about_people(scope: Scope) -> list[Fact]:
    calls = f"FROM logs WHERE {within(scope)}"
    return [
        Fact(
            "identities",
            "Calls under a name that somebody checked (jwt, api_key, mtls): {checked}; under the operating "
            "system's login: "
            "{login}; under another name: {claimed}; that name nobody: {nobody}.",
            "SELECT count(*) FILTER (user_id IS NOT NULL AND auth_method IN ('jwt', 'api_key', 'mtls')) AS "
            "checked, "
            "count(*) FILTER (user_id IS NOT NULL AND auth_method = 'os') AS login, "
            "count(*) FILTER (user_id IS NOT NULL AND (auth_method IS NULL OR auth_method NOT IN "
            "('jwt', 'api_key', 'mtls', 'os'))) AS claimed, "
            f"count(*) FILTER (user_id IS NULL) AS nobody {calls}",
        ),
        Fact(
            "delegation",
            "Calls by agents: {agents}, by people: {humans}, by services: {services}; on behalf of somebody: "
            "{behalf}.",
            "SELECT count(*) FILTER (caller_type = 'agent') AS agents, count(*) FILTER (caller_type = "
            "'human') AS humans, "
            "count(*) FILTER (caller_type = 'service') AS services, "
            f"count(*) FILTER (len(on_behalf_of) > 0) AS behalf {calls}",
        ),
        Fact(
            "refusals",
            "Calls that were denied: {denied}, {unauthenticated} of them since their credential was refused; let "
            "pass with a warning: {warned}; calls about which a policy decided at all: {decided} of {calls}.",
            f"SELECT count(*) FILTER ({DENIED}) AS denied, "
            "count(*) FILTER (kind = 'unauthenticated') AS unauthenticated, "
            f"count(*) FILTER ({WARNED}) AS warned, "
            "count(*) FILTER (policy_decision IN ('allow', 'deny', 'warn')) AS decided, "
            f"count(*) AS calls {calls}",
        ),
        Fact(
            "rejected",
            "Requests that were refused before there was a session: {requests}; addresses: {addresses}.",
            "SELECT coalesce(sum(greatest(coalesce(TRY_CAST((metadata->>'count') AS BIGINT), 1), 1)), 0) AS "
            "requests, "
            "count(DISTINCT client_ip) AS addresses FROM events "
            f"WHERE event_type = 'auth_rejected' AND {within(scope)}",
        ),
    ]


def _about_the_record(scope: Scope) -> list[Fact]:
    events = f"FROM events WHERE {within(scope, 'recorded_at')}"
    return [
        Fact(
            "gaps",
            "Times that the trail says it could not record: {gaps}; events lost: {lost}; writers that died: "
            "{died}; calls interrupted: {interrupted}.",
            "SELECT count(*) FILTER (event_type = 'audit_gap') AS gaps, "
            "coalesce(sum(TRY_CAST((metadata->>'lost') AS BIGINT)) FILTER (event_type = 'audit_gap'), 0) AS "
            "lost, "
            "count(*) FILTER (event_type = 'audit_recovered') AS died, "
            "coalesce(sum(TRY_CAST((metadata->>'interrupted') AS BIGINT)) FILTER (event_type = "
            "'audit_recovered'), 0) "
            f"AS interrupted {events}",
        ),
        Fact(
            "runs",
            "Starts of recording on record: {starts}; ends: {stops}; changes of the signing key: {keys}; of "
            "the sinks: "
            "{reloads}; signs of life while nothing happened: {heartbeats}.",
            "SELECT count(*) FILTER (event_type = 'audit_started') AS starts, "
            "count(*) FILTER (event_type = 'audit_stopped') AS stops, "
            "count(*) FILTER (event_type = 'key_rotated') AS keys, "
            "count(*) FILTER (event_type = 'config_reloaded') AS reloads, "
            f"count(*) FILTER (event_type = 'audit_heartbeat') AS heartbeats {events}",
        ),
        Fact(
            "clock",
            "Times that the clock was set by more than 2 s: {steps}; the most, in seconds: {most}. Lines with "
            "a time of their "
            "own, in UTC to the microsecond: {timed} of {lines}.",
            "SELECT count(*) FILTER (event_type = 'clock_stepped') AS steps, "
            "coalesce(max(abs(TRY_CAST((metadata->>'step_s') AS DOUBLE))) FILTER (event_type = "
            "'clock_stepped'), 0) "
            f"AS most, count(timestamp) AS timed, count(*) AS lines {events}",
        ),
        Fact(
            "alerts",
            "Alerts on record: {alerts}; of these, what a monitor outside saw: {incidents}.",
            "SELECT count(*) AS alerts, count(*) FILTER (json_exists(metadata, '/incident')) AS incidents "
            f"{events} AND event_type = 'alert'",
        ),
    ]


def _about_keeping(scope: Scope) -> list[Fact]:
    events = f"FROM events WHERE {within(scope, 'recorded_at')}"
    return [
        Fact(
            "kept",
            "Oldest line that is held: {oldest}; newest: {newest}; days between: {days}; lines: {lines}.",
            "SELECT min(recorded_at) AS oldest, max(recorded_at) AS newest, "
            "date_diff('day', min(recorded_at), max(recorded_at)) AS days, count(*) AS lines FROM events",
        ),
        Fact(
            "removed",
            "Deletions of old files on record: {deletions}; erasures of content: {erasures}; legal holds "
            "placed: {placed}, "
            "released: {released}.",
            "SELECT count(*) FILTER (event_type = 'retention_applied') AS deletions, "
            "count(*) FILTER (event_type = 'entry_erased') AS erasures, "
            "count(*) FILTER (event_type = 'hold_placed') AS placed, "
            f"count(*) FILTER (event_type = 'hold_released') AS released {events}",
        ),
    ]
