"""Which field of an event goes where in `cef`, `leef` and `syslog`: one table, and how the values are read. Pure.

The rules that live here:

- A record that is too long for its receiver loses the last of `FIELDS` first.
- `IDENTITY` is what a record is found in the trail by, and what it is checked with; no limit takes it away.
- A key of CEF's dictionary is used for what the dictionary says, with its type and its length; everything else has a
  key of our own (``IndelibleMcp…``), which clashes with none.

`docs/reference/siem-fields.md` shows the table; a test holds the page to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from indelible.events import State
from indelible.formats.record import ABSENT, Outcome, Policy, json_text

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Record

Value = str | int | float | None
Takes = Literal["text", "whole", "real", "address"]
"""What a key holds: any text; an integer of 64 bits; a number; an IP address."""

OWN_KEY: Final = "IndelibleMcp"
"""What our own keys of CEF begin with: vendor and product, as its revision 27 asks."""
OWN_LIMIT: Final = 4_000
"""Of our own keys in CEF: as long as its longest custom strings."""
PARAM_LIMIT: Final = 8_192
"""Of a parameter of structured data, and of an attribute of LEEF, for which IBM names none."""


class Field(NamedTuple):
    """One field. Limits are in bytes of UTF-8, as they stand in the record, escapes and all."""

    name: str
    """Ours: also the PARAM-NAME in `syslog`, the label in `cef`, and the word in the list of what was cut."""
    path: str
    """Where it stands in the event."""
    cef: str
    leef: str
    cef_limit: int = OWN_LIMIT
    leef_limit: int = PARAM_LIMIT
    takes: Takes = "text"

    @property
    def label(self) -> str:
        """The key of CEF that names a custom one; empty where the key says what it is."""
        return f"{self.cef}Label" if self.cef[:2] in ("cs", "cn") or self.cef.startswith("cfp") else ""

    @property
    def other_cef(self) -> str:
        """Where CEF has a value that its key cannot take: an integer that is none, an address that is none."""
        return OWN_KEY + _camel(self.name) if self.takes != "text" else ""


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _own(name: str, path: str) -> Field:
    camel = _camel(name)
    return Field(name, path, OWN_KEY + camel, camel[0].lower() + camel[1:])


NAMED: Final = (
    Field("event_id", "event_id", "externalId", "eventId", 40),
    Field("origin", "the trail's origin", "deviceExternalId", "origin", 255),
)
SEQ: Final = _own("seq", "seq")
IDENTITY: Final = (*NAMED, SEQ)
"""The leaf hash belongs to it too; it stands last, since CEF loses spaces at the end of the last value."""

LEAF: Final = _own("leaf", "hash of the line, [as a leaf of the tree](trail.md#the-tree)")

TYPED: Final = (
    Field("duration_ms", "outcome.latency_ms", "cfp1", "durationMs", takes="real"),
    Field("client_ip", "source.client_ip", "src", "src", takes="address"),
    Field("cost_cents", "cost.centicents", "cn1", "costCents", takes="whole"),
    Field("cost_input_tokens", "cost.input_tokens", "cn2", "costInputTokens", takes="whole"),
    Field("cost_output_tokens", "cost.output_tokens", "cn3", "costOutputTokens", takes="whole"),
)
"""What is no text in CEF's dictionary: short, so that it stays the longest."""

TEXTS: Final = (
    Field("event_type", "event_type", "cat", "cat", 1_023),
    Field("status", "outcome.status", "outcome", "status", 63),
    _own("kind", "outcome.kind"),
    Field("tool_name", "target.capability_name", "cs2", "action"),
    Field("mcp_server_id", "target.backend", "cs1", "resource"),
    Field("caller_id", "source.user_id", "suser", "usrName", 1_023, 255),
    _own("request_id", "request.request_id"),
    Field("caller_type", "source.caller_type", "cs3", "callerType"),
    Field("caller_roles", "source.roles", "spriv", "role", 1_023),
    Field("policy_decision", "policy.decision", "act", "policyDecision", 63),
    Field("policy_rule", "policy.rule", "IndelibleMcpPolicyRule", "policy"),
    Field("session_id", "source.session_id", "cs5", "sessionId"),
    Field("cost_model", "cost.model", "cs4", "costModel"),
    Field("tenant", "source.tenant", "cs6", "tenant"),
    _own("state_from", "state.from"),
    _own("state_to", "state.to"),
    _own("state_reason", "state.reason"),
    Field("error_type", "outcome.error_type", "reason", "reason", 1_023),
    _own("error_code", "outcome.error_code"),
    Field("error", "outcome.error", "msg", "error", 1_023),
    _own("policy_reason", "policy.reason"),
    _own("method", "target.method"),
    _own("original_name", "target.original_name"),
    _own("effects", "target.effects"),
    _own("transport", "source.caller"),
    Field("client", "source.client", "requestClientApplication", "client", 1_023),
    _own("auth_method", "source.auth_method"),
    _own("auth_key_id", "source.auth_key_id"),
    _own("issuer", "source.issuer"),
    _own("on_behalf_of", "source.on_behalf_of"),
    _own("recorder", "source.recorder.id"),
    _own("trace_id", "request.trace_id"),
    _own("server_version", "target.server_version"),
    _own("tool_sha256", "target.tool_sha256"),
    _own("erased", "erased"),
)

JSON: Final = (
    Field("args", "request.args", "requestContext", "args", 2_048),
    _own("metadata", "metadata"),
    _own("result", "outcome.result"),
)
"""Each one escaped text."""

FIELDS: Final = (*TYPED, *TEXTS, *JSON)
"""In the order of how long a record that is too long for its receiver keeps them."""

MENDED: Final = _own("mended", "text that was not Unicode was replaced: `true`")
CUT: Final = _own("cut", "[what was cut](#what-is-cut)")
LEFT_OUT: Final = _own("left_out", "how many fields were left out")

NO_OUTCOME: Final = Outcome(status="", kind="")
NO_POLICY: Final = Policy(decision="")
NO_STATE: Final = State()


def typed_values(entry: Entry) -> tuple[Value, ...]:
    """Return what `TYPED` and `JSON` hold; None or an empty text for nothing."""
    request, cost, outcome = entry.request, entry.cost, entry.outcome or NO_OUTCOME
    return (
        outcome.latency_ms,
        entry.source.client_ip,
        cost.centicents,
        cost.input_tokens,
        cost.output_tokens,
        None if request.args is ABSENT else json_text(request.args),
        None if entry.metadata is ABSENT else json_text(entry.metadata),
        None if outcome.result is ABSENT else json_text(outcome.result),
    )


def texts(record: Record) -> tuple[str | None, ...]:
    """Return what `NAMED` and `TEXTS` hold; None or an empty text for nothing."""
    entry = record.entry
    source, target, request = entry.source, entry.target, entry.request
    outcome, policy, state = entry.outcome or NO_OUTCOME, entry.policy or NO_POLICY, entry.state or NO_STATE
    code, recorder = outcome.error_code, source.recorder
    return (
        entry.event_id,
        record.origin,
        entry.event_type,
        outcome.status,
        outcome.kind,
        target.capability_name,
        target.backend,
        source.user_id,
        request.request_id,
        source.caller_type,
        joined(source.roles) if source.roles else None,
        policy.decision,
        policy.rule,
        source.session_id,
        entry.cost.model,
        source.tenant,
        state.from_,
        state.to,
        state.reason,
        outcome.error_type,
        None if code is None else str(code),
        outcome.error,
        policy.reason,
        target.method,
        target.original_name,
        target.effects,
        source.caller,
        source.client,
        source.auth_method,
        source.auth_key_id,
        source.issuer,
        joined(source.on_behalf_of) if source.on_behalf_of else None,
        recorder.id if recorder else None,
        request.trace_id,
        target.server_version,
        target.tool_sha256,
        entry.erased,
    )


def joined(items: list[str]) -> str:
    """Return a list as one text: a comma inside of an item is written ``\\u002c``, so that it makes no other item."""
    text = ",".join(items)
    if text.count(",") < len(items):
        return text
    return ",".join(item.replace(",", "\\u002c") for item in items)
