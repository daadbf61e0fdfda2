"""What an event is called, which signature it has and how grave it is, in every format: one table. Pure.

The rules that live here:

- An intent has a name of its own (``…Requested``), and is never taken for a call that succeeded.
- Signature ids are static: each names a kind of event, and neither changes its meaning nor is used again.
- An event that is not known here, of a later version, has its own name and `UNKNOWN`'s signature.

`docs/reference/formats.md` shows the table; a test holds the page to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.events import STATUS_OF_KIND

if TYPE_CHECKING:
    from indelible.formats.record import Entry


class Level(NamedTuple):
    """How grave an event is, in each system's scale."""

    cef: int
    """0 to 10, as LEEF's ``sev``, which begins with 1."""
    syslog: int
    """RFC 5424, section 6.2.1: 7 is debug, 0 the worst."""
    otlp: int
    """SeverityNumber of the logs data model; as its appendix B maps syslog's."""
    otlp_text: str
    ocsf: int
    """``severity_id``: 1 informational, 2 low, 3 medium, 4 high, 5 critical."""


ROUTINE: Final = Level(2, 6, 9, "INFO", 1)
ORDINARY: Final = Level(5, 6, 9, "INFO", 1)
NOTABLE: Final = Level(6, 5, 10, "INFO2", 2)
FAILED: Final = Level(7, 4, 13, "WARN", 3)
DENIED: Final = Level(8, 3, 17, "ERROR", 4)
GRAVE: Final = Level(9, 2, 18, "ERROR2", 5)

LEVELS: Final = (ROUTINE, ORDINARY, NOTABLE, FAILED, DENIED, GRAVE)


class Naming(NamedTuple):
    """What one kind of event is called."""

    name: str
    """In `cef`, `leef`, `syslog`, `otlp`, `cloudevents`."""
    hangar: str
    """In `hangar`, where a denial is a failure, with `kind`."""
    cef: str
    """Signature id (Device Event Class ID)."""
    leef: str
    """EventID."""
    level: Level
    of: str
    """Which events these are, for people."""


_FAMILIES: Final = (
    ("tool", "ToolInvocation", 100, 101),
    ("resource", "ResourceRead", 110, 111),
    ("prompt", "PromptFetch", 120, 121),
    ("", "Request", 130, 131),
)
"""`target.type`, the beginning of the name, and the first signature in CEF and in LEEF. Others have the last row."""

_STAGES: Final = (
    ("Completed", "Completed", 0, 0, ORDINARY, ("completed", "input_required")),
    (
        "Failed",
        "Failed",
        1,
        1,
        FAILED,
        ("tool_error", "protocol_error", "cancelled", "timed_out", "interrupted", "backend_unavailable"),
    ),
    ("Denied", "Failed", 3, 3, DENIED, ("denied", "unauthenticated")),
)
"""The end of the name, the same in `hangar`, what is added to the signature in CEF and LEEF, level, and kinds."""

_REQUESTED: Final = ("Requested", "Requested", 4, 4, ROUTINE, ())

_OTHERS: Final = (
    ("tool_definition_changed", 200, FAILED),
    ("auth_rejected", 201, DENIED),
    ("sampling", 202, ORDINARY),
    ("elicitation", 203, ORDINARY),
    ("alert", 300, DENIED),
    ("audit_started", 301, ROUTINE),
    ("audit_stopped", 302, NOTABLE),
    ("audit_heartbeat", 303, ROUTINE),
    ("file_opened", 304, ROUTINE),
    ("entry_erased", 305, NOTABLE),
    ("audit_gap", 306, GRAVE),
    ("audit_recovered", 307, FAILED),
    ("clock_stepped", 308, NOTABLE),
    ("config_reloaded", 309, NOTABLE),
    ("key_rotated", 310, NOTABLE),
    ("retention_applied", 311, NOTABLE),
    ("hold_placed", 312, NOTABLE),
    ("hold_released", 313, NOTABLE),
)
"""Event type, signature in CEF and LEEF alike, level."""

STATE_CHANGED: Final = Naming(
    "McpServerStateChanged", "McpServerStateChanged", "102", "103", ROUTINE, "`mcp_server_state_changed`"
)
STATE_FAILED: Final = STATE_CHANGED._replace(
    level=FAILED, of="`mcp_server_state_changed`, to `Failed` or `Degraded`"
)
ERASED: Final = Naming("ErasedLine", "ErasedLine", "314", "314", ROUTINE, "a line that was erased")
UNKNOWN: Final = Naming("UnknownEvent", "UnknownEvent", "399", "399", ORDINARY, "a type of a later version")
"""Its name is the type's own, in the form of the others, when it has one."""

_BAD_PHASES: Final = frozenset({"Failed", "Degraded"})
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _own_name(event_type: str) -> str:
    return "".join(word.capitalize() for word in event_type.split("_"))


def _staged(
    family: tuple[str, str, int, int], stage: tuple[str, str, int, int, Level, tuple[str, ...]]
) -> Naming:
    target, begins, cef, leef = family
    ends, hangar, more, more_leef, level, kinds = stage
    event = "mcp_operation" if kinds else "mcp_operation_started"
    which = f"`{event}`, type `{target}`" if target else f"`{event}`, any other type"
    of = f"{which}: {', '.join(f'`{kind}`' for kind in kinds)}" if kinds else which
    return Naming(begins + ends, begins + hangar, str(cef + more), str(leef + more_leef), level, of)


def _of_calls() -> dict[tuple[str, str], Naming]:
    made = {}
    for family in _FAMILIES:
        made[family[0], ""] = _staged(family, _REQUESTED)
        for stage in _STAGES:
            naming = _staged(family, stage)
            made.update({(family[0], kind): naming for kind in stage[-1]})
    return made


_CALLS: Final = _of_calls()
"""(`target.type`, `outcome.kind`) → naming; no kind is an intent's."""

_EVENTS: Final = {
    event_type: Naming(
        _own_name(event_type), _own_name(event_type), str(number), str(number), level, f"`{event_type}`"
    )
    for event_type, number, level in _OTHERS
}

NAMINGS: Final = (
    *dict.fromkeys(_CALLS.values()),
    STATE_CHANGED,
    STATE_FAILED,
    *_EVENTS.values(),
    ERASED,
    UNKNOWN,
)
"""All there are, in the order of the page."""


def naming(entry: Entry) -> Naming:
    """Return what an entry is called; every entry is called something."""
    if entry.event_type == "mcp_operation":
        outcome = entry.outcome
        if outcome is None:  # no call without an outcome is written; whatever this is, it is no success
            return _call(entry.target.type, "protocol_error")
        return _call(entry.target.type, outcome.kind, outcome.status)
    if entry.event_type == "mcp_operation_started":
        return _call(entry.target.type, "")
    if entry.event_type == "mcp_server_state_changed":
        return STATE_FAILED if entry.state is not None and entry.state.to in _BAD_PHASES else STATE_CHANGED
    return _EVENTS.get(entry.event_type) or (ERASED if entry.erased else _unknown(entry.event_type))


def _call(target: str | None, kind: str, status: str = "error") -> Naming:
    found = _CALLS.get((target or "", kind))
    if found is not None:
        return found
    if kind and kind not in STATUS_OF_KIND:  # of a later version
        kind = "completed" if status == "success" else "protocol_error"
    return _CALLS.get((target or "", kind)) or _CALLS["", kind]


def _unknown(event_type: str) -> Naming:
    if not _TYPE.fullmatch(event_type):
        return UNKNOWN
    name = _own_name(event_type)
    return UNKNOWN._replace(name=name, hangar=name)


# --- and back -----------------------------------------------------------------------------------------------------


def _codes() -> dict[str, tuple[str | None, str | None]]:
    """Return (event type, `target.type`) by name and by signature in CEF; a call's type, a service event's None."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for (family, kind), naming_ in _CALLS.items():
        event_type = "mcp_operation" if kind else "mcp_operation_started"
        for code in (naming_.name, naming_.hangar, naming_.cef):
            found[code] = event_type, family or None
    for event_type, naming_ in _EVENTS.items():
        found[naming_.name] = found[naming_.cef] = event_type, None
    for naming_ in (STATE_CHANGED, STATE_FAILED):
        found[naming_.name] = found[naming_.cef] = "mcp_server_state_changed", None
    return found


_CODES: Final = _codes()


def event_type_of(code: str) -> str | None:
    """Return the event type that a name or a signature in CEF stands for; None when it is none of ours."""
    return _CODES.get(code, (None, None))[0]


def family_of(code: str) -> str | None:
    """Return the `target.type` that a name or a signature in CEF tells; None where it tells none."""
    return _CODES.get(code, (None, None))[1]
