"""Records in CEF, LEEF and RFC 5424, read back by the one table of their fields. Pure."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

from indelible.formats.back_parts import (
    CORE,
    MILLISECOND,
    NAMES,
    Event,
    Said,
    event_of,
    of_epoch,
    time_in,
    typed_by,
)
from indelible.formats.fields import NAMED, TEXTS
from indelible.formats.found import CEF, LEEF, SYSLOG, Fields, Found
from indelible.formats.names import event_type_of, family_of

FAMILIES: Final = {CEF: "cef", LEEF: "leef", SYSLOG: "syslog"}
_PARTS: Final = {
    "session": "session_id",
    "backend": "mcp_server_id",
    "name": "tool_name",
    "original_name": "original_name",
    "user": "caller_id",
    "decision": "policy_decision",
    "kind": "kind",
    "status": "status",
    "error": "error",
    "event_type": "event_type",
    "args": "args",
    "latency": "duration_ms",
}
"""Part of an event → name of the field in `indelible.formats.fields`."""
_FILTERS: Final = {
    "session_id": {"session"},
    "mcp_server_id": {"backend"},
    "tool_name": NAMES | {"name"},
    "original_name": NAMES | {"name"},
    "caller_id": {"user"},
    "policy_decision": {"policy"},
    "kind": {"kind", "status"},
    "status": {"status"},
    "request_id": {"request_id"},
    "caller_type": {"caller_type"},
    "event_type": {"events"},
}
"""Which filters cannot be answered when a field was cut, or left out."""


def _keys(family: str) -> dict[str, str]:
    own = {field.name: field.name for field in (*NAMED, *TEXTS)} | {"args": "args"}
    if family == SYSLOG:
        return {**own, "duration_ms": "duration_ms"}
    named = {field.name: field.cef if family == CEF else field.leef for field in (*NAMED, *TEXTS)}
    return named | {"args": "requestContext" if family == CEF else "args",
                    "duration_ms": "cfp1" if family == CEF else "durationMs"}  # fmt: skip


_READ: Final = frozenset({*_PARTS.values(), *_FILTERS, "erased"})
_KEYS: Final = {
    family: [(name, (key,)) for name, key in _keys(family).items() if name in _READ] for family in FAMILIES
}
"""Of each family (our name of a field, where `Found.fields` has it), of what is read."""
_SIGNATURE: Final = {CEF: "signature", LEEF: "eventName", SYSLOG: "MSGID"}
_CUT: Final = {
    CEF: (("IndelibleMcpCut",), ("IndelibleMcpLeftOut",)),
    LEEF: (("cut",), ("leftOut",)),
    SYSLOG: (("cut",), ("left_out",)),
}


def of_pairs(found: Found) -> Said:
    """Return what a record says."""
    fields = found.fields
    held: Event = {name: value for name, key in _KEYS[found.family] if (value := fields.get(key))}
    called = str(fields.get((_SIGNATURE[found.family],)))
    stamp = {key: held.get(key) for key in ("request_id", "caller_type", "erased")}
    parts: dict[str, Any] = {part: held.get(name) for part, name in _PARTS.items()}
    parts["latency"] = _number(parts["latency"])
    parts["event_type"] = parts["event_type"] or event_type_of(called)
    event = event_of(stamp, **parts, time=_time_of(found.family, fields), type=family_of(called))
    cut, left_out = _CUT[found.family]
    if cut in fields or left_out in fields:
        return event, _says(called) - _unsaid(found.family, fields, held)
    return event, _says(called)


@functools.lru_cache(maxsize=256)
def _says(called: str) -> frozenset[str]:
    return CORE | {"session", "backend", "policy"} | typed_by(called)


def _unsaid(family: str, fields: Fields, held: Event) -> frozenset[str]:
    """Return the filters that a record which was cut to a limit cannot answer."""
    cut, left_out = _CUT[family]
    names = {item.partition(":")[0] for item in str(fields.get(cut, "")).split(",")}
    if fields.get(left_out):
        names |= {name for name in _FILTERS if name not in held}
    return frozenset().union(*(_FILTERS.get(name, set()) for name in names))


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _time_of(family: str, fields: Fields) -> str | None:
    if family == SYSLOG:
        return time_in(fields.get(("TIMESTAMP",)))
    return of_epoch(fields.get(("rt" if family == CEF else "devTime",)), MILLISECOND)
