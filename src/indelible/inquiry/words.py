"""One event in words: who did what, when, with which outcome, and what was taken out. Pure.

The rule that lives here: what somebody wrote stands in quotes, and the sentence around it says what it is. A
sentence is made only of what is given, which is what the role sees.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

Shown = dict[str, Any]

MARK: Final = re.compile(r"\[[A-Z][A-Z0-9_]{2,40}\]|\b(?:hmac|tok):[0-9a-f]{16,64}")
"""What redaction leaves in a value's place: a class of values, or a keyed digest of it."""

MAX_MARKS: Final = 20

ENDS: Final = {
    "completed": "It completed.",
    "input_required": "It asked for input, and was not finished by this call.",
    "tool_error": "The tool failed.",
    "protocol_error": "It was refused as a wrong request.",
    "denied": "It was denied.",
    "unauthenticated": "Its credential was refused.",
    "cancelled": "The caller cancelled it, or went away.",
    "timed_out": "It took too long.",
    "interrupted": "The recording process died before the outcome: what became of it is not known.",
    "backend_unavailable": "The server died, or could not be reached.",
}
"""What each `kind` says; the table in docs/reference/outcomes.md says more."""

EVENTS: Final = {
    "mcp_operation": "The outcome of a call.",
    "mcp_operation_started": "The intent of a call: it was about to be made. Its outcome is an event of its own.",
    "mcp_server_state_changed": "An MCP server came into another phase.",
    "tool_definition_changed": "A server describes a tool in other words, or with another schema, than before.",
    "auth_rejected": "A request was refused before any session.",
    "sampling": "A server asked its client for a model's answer.",
    "elicitation": "A server asked its client's user for input.",
    "audit_started": "A recorder began to write the trail.",
    "audit_stopped": "A recorder ended in order.",
    "audit_heartbeat": "The trail says that it is alive.",
    "file_opened": "A file of the trail begins.",
    "entry_erased": "On somebody's request the content of events was erased.",
    "audit_gap": "Events could not be recorded: so many are missing.",
    "audit_recovered": "What could not be recorded can be again.",
    "clock_stepped": "The machine's clock was set.",
    "config_reloaded": "The configuration was read again.",
    "key_rotated": "The trail's key named the one that follows it.",
    "retention_applied": "Files were deleted, as old as they were to become.",
    "hold_placed": "A legal hold was placed.",
    "hold_released": "A legal hold was released.",
    "alert": "Something that somebody should look at.",
}
"""What each type of event says."""


def quoted(value: object) -> str:
    """Return what somebody wrote, in quotes that it cannot end."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def in_words(event: Shown) -> list[str]:
    """Return sentences about an event, as it is shown."""
    if event.get("erased"):
        return ["Its content was erased on request; its leaf hash stays, so that every proof holds."]
    return [*_kind(event), *_who(event), *_what(event), *_outcome(event), *_policy(event), *_cost(event)]


def _kind(event: Shown) -> Iterator[str]:
    kind = str(event.get("event_type", ""))
    yield EVENTS.get(kind, f"An event of a type that this version does not know: {quoted(kind)}.")
    if "timestamp" in event:
        yield f"It was received at {event['timestamp']}, and recorded at {event.get('recorded_at', 'an unknown time')}."


def _who(event: Shown) -> Iterator[str]:
    said = []
    if "user_id" in event:
        said.append(f"the user {quoted(event['user_id'])}")
    if "caller_type" in event:
        said.append(f"of the kind {quoted(event['caller_type'])}")
    if "client" in event:
        said.append(f"with the client {quoted(event['client'])}")
    if "caller" in event:
        said.append(f"over {quoted(event['caller'])}")
    if "session_id" in event:
        said.append(f"in the session {quoted(event['session_id'])}")
    if said:
        yield f"Who: {', '.join(said)}."
    if event.get("auth_method") == "none":
        yield "Nobody was authenticated: who it was is only said."
    if "on_behalf_of" in event:
        yield f"On behalf of: {', '.join(map(quoted, event['on_behalf_of']))}."


def _what(event: Shown) -> Iterator[str]:
    said = [quoted(event["method"])] if "method" in event else []
    if "capability_name" in event:
        said.append(f"the {_family(event)} {quoted(event['capability_name'])}")
    if "backend" in event:
        said.append(f"of the server {quoted(event['backend'])}")
    if said:
        yield f"What: {', '.join(said)}."
    effects = event.get("effects")
    if effects is not None:
        yield f"By the server's own word, or the configuration's, its effects are {quoted(effects)}."


def _family(event: Shown) -> str:
    family = event.get("type")
    return family if family in ("tool", "resource", "prompt") else "capability"


def _outcome(event: Shown) -> Iterator[str]:
    kind = event.get("kind")
    if kind is not None:
        yield ENDS.get(kind, f"It ended as {quoted(kind)}.")
    if "latency_ms" in event:
        yield f"It took {event['latency_ms']} ms."
    if "error" in event or "error_type" in event or "error_code" in event:
        parts = [quoted(event[key]) for key in ("error_type", "error_code", "error") if key in event]
        yield f"Error: {', '.join(parts)}."


def _policy(event: Shown) -> Iterator[str]:
    decision = event.get("policy_decision")
    if decision is not None:
        rule = f" by the rule {quoted(event['policy_rule'])}" if "policy_rule" in event else ""
        reason = f": {quoted(event['policy_reason'])}" if "policy_reason" in event else ""
        yield f"The policy decided {quoted(decision)}{rule}{reason}."


def _cost(event: Shown) -> Iterator[str]:
    if "cost_centicents" in event:
        yield f"It cost {event['cost_centicents']} hundredths of a cent."


def redactions(event: Shown) -> list[Shown]:
    """Return the marks that redaction has left, by column; a caller may have written the same by himself."""
    found = Counter(
        (name, "[…] a keyed digest" if mark[0] != "[" else mark)
        for name, value in event.items()
        if isinstance(value, str)
        for mark in MARK.findall(value)
    )
    return [
        {"column": name, "mark": mark, "count": count} for (name, mark), count in found.most_common(MAX_MARKS)
    ]
