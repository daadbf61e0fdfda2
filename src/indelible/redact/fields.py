"""What happens to each field of an event: one row a field, so that none is forgotten.

Everything that came from outside goes through the value patterns. The exceptions are words of a fixed
vocabulary, numbers, and the principal (`user_id`, `tenant`, `roles`, `on_behalf_of`): who acted is what the
trail is for, so it stays, cut to its cap and without control characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, get_args

from indelible import events
from indelible.errors import EventError
from indelible.redact.limits import MAX_ERROR_CHARS, MAX_ID_CHARS, MAX_LIST, MAX_NAME_CHARS, MAX_WORD_CHARS
from indelible.redact.plain import Plain, number
from indelible.redact.values import Values

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_ANY_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SHORT_NUMBER = re.compile(r"-?[0-9]{1,12}|\"[0-9A-Za-z-]{1,12}\"")


class Room:
    """What one event's fields are redacted with; most events never need its record of conversions."""

    __slots__ = ("_plain", "values")

    def __init__(self, values: Values) -> None:
        """Start with nothing converted."""
        self.values = values
        self._plain: Plain | None = None

    @property
    def replaced_surrogates(self) -> bool:
        """Whether any field held a lone surrogate."""
        return self._plain is not None and self._plain.replaced_surrogates

    def string(self, value: object) -> str:
        """Return any value as a text that UTF-8 can encode."""
        if self._plain is None:
            self._plain = Plain()
        converted = self._plain.convert(value)
        return converted if isinstance(converted, str) else str(converted)

    def name(self, value: object, cap: int) -> str:
        """Return a text with its secrets out, and a prefix with size and digest when it is over `cap`."""
        original = self.string(value)
        redacted = self.values.only_redact(original)
        return redacted if len(redacted) <= cap else self.values.cut(original, redacted, cap // 2)


Rule = Callable[[Room, Any], Any]


def _named(cap: int) -> Rule:
    return lambda room, value: room.name(value, cap)


def _word(vocabulary: Any) -> Rule:
    known = frozenset(get_args(vocabulary))

    def rule(room: Room, value: Any) -> Any:
        return value if type(value) is str and value in known else room.name(value, MAX_WORD_CHARS)

    return rule


def _matching(pattern: re.Pattern[str], cap: int) -> Rule:
    def rule(room: Room, value: Any) -> Any:
        return value if type(value) is str and pattern.fullmatch(value) else room.name(value, cap)

    return rule


def _time(room: Room, value: Any) -> Any:
    """RFC 3339 of any zone, in the trail's one form: searches compare times as text."""
    if type(value) is str and _ANY_TIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value).astimezone(UTC)
            return f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S.%fZ")
        except (ValueError, OverflowError):
            return value
    return room.name(value, MAX_WORD_CHARS)


def _hex(size: int) -> Rule:
    """A W3C trace or span id (Trace Context, section 3.2.2); anything else is left out."""
    pattern = re.compile(rf"(?!0+$)[0-9a-f]{{{size}}}")
    return lambda _room, value: value if type(value) is str and pattern.fullmatch(value) else None


def _principal(room: Room, value: Any) -> str:
    shown = _CONTROL.sub("\ufffd", room.string(value))
    return shown if len(shown) <= MAX_ID_CHARS else room.values.cut_plain(shown, MAX_ID_CHARS // 2)


def _principals(room: Room, value: Any) -> list[str]:
    items = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    kept = [_principal(room, item) for item in items[:MAX_LIST]]
    if len(items) > MAX_LIST:
        kept.append(f"[TRUNCATED] {len(items) - MAX_LIST} more")
    return kept


def _integer(room: Room, value: Any) -> Any:
    if type(value) is int:
        return value if -events.MAX_INTEGER <= value <= events.MAX_INTEGER else room.name(value, MAX_WORD_CHARS)
    return room.name(value, MAX_WORD_CHARS)


def _float(room: Room, value: Any) -> Any:
    return number(value) if type(value) is float else _integer(room, value)


def free_text(room: Room, value: Any) -> str:
    """A text of several words: redacted, and cut to the cap of errors."""
    return room.values.short(room.string(value), MAX_ERROR_CHARS)


_NAME: Final = _named(MAX_NAME_CHARS)
_ID: Final = _named(MAX_ID_CHARS)

SOURCE: Final[Mapping[str, Rule]] = {
    "caller": _word(events.Caller),
    "session_id": _ID,
    "client_ip": _ID,
    "client": _ID,
    "user_id": _principal,
    "caller_type": _word(events.CallerType),
    "roles": _principals,
    "tenant": _principal,
    "auth_method": _word(events.AuthMethod),
    "auth_key_id": _ID,
    "issuer": _NAME,
    "on_behalf_of": _principals,
}
RECORDER: Final[Mapping[str, Rule]] = {"id": _ID, "uid": _integer, "pid": _integer}
TARGET: Final[Mapping[str, Rule]] = {
    "backend": _ID,
    "method": _ID,
    "type": _ID,
    "capability_name": _NAME,
    "original_name": _NAME,
    "effects": _word(events.Effects),
    "server_version": _ID,
    "protocol_version": _ID,
    "tool_sha256": _ID,
}
REQUEST: Final[Mapping[str, Rule]] = {
    "request_id": _matching(_UUID, MAX_ID_CHARS),
    "intent": _matching(_UUID, MAX_ID_CHARS),
    "rpc_id": _matching(_SHORT_NUMBER, MAX_ID_CHARS),
    "trace_id": _hex(32),
    "span_id": _hex(16),
    "continues": _matching(_UUID, MAX_ID_CHARS),
}
POLICY: Final[Mapping[str, Rule]] = {"decision": _word(events.Decision), "rule": _ID, "reason": free_text}
OUTCOME: Final[Mapping[str, Rule]] = {
    "status": _word(events.Status),
    "kind": _word(events.Kind),
    "latency_ms": _float,
    "error": free_text,
    "error_type": _ID,
    "error_code": _integer,
    "result_bytes": _integer,
}
COST: Final[Mapping[str, Rule]] = {
    "centicents": _integer,
    "model": _ID,
    "input_tokens": _integer,
    "output_tokens": _integer,
}
STATE: Final[Mapping[str, Rule]] = {"from_": _ID, "to": _ID, "reason": free_text}
EVENT: Final[Mapping[str, Rule]] = {
    "timestamp": _time,
    "event_type": _word(events.EventType),
    "event_id": _matching(_UUID, MAX_WORD_CHARS),
}
"""The parts of an event have tables of their own; `args`, `result` and `metadata` are JSON values."""


def apply(room: Room, part: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return the fields of a part that are set, redacted."""
    found = ((name, getattr(part, name, None)) for name in rules)
    return {name: rules[name](room, value) for name, value in found if value is not None}


STATUSES: Final = frozenset(get_args(events.Status))
KINDS: Final = frozenset(get_args(events.Kind))
SIGNED_TYPES: Final = frozenset(get_args(events.SignedEventType))
TYPES: Final = frozenset(get_args(events.EventType)) - SIGNED_TYPES
"""What a recorder may say; the rest the trail alone says, and its key signs it."""
ordinary: Final = re.compile(rf'"{_UUID.pattern}(?:\\n(?:{_UUID.pattern}|[0-9]{{1,12}}))*"'.encode()).fullmatch
"""Matches the small strings of most calls, encoded: ids of our own, and a number."""
_head = re.compile(_TIME.pattern + _UUID.pattern, re.ASCII).fullmatch

_trace, _span = _hex(32), _hex(16)


def trace_id(value: Any) -> str | None:
    """Return a W3C trace id, or None when it is not one."""
    found: str | None = _trace(None, value)  # type: ignore[arg-type]
    return found


def span_id(value: Any) -> str | None:
    """Return a W3C span id, or None when it is not one."""
    found: str | None = _span(None, value)  # type: ignore[arg-type]
    return found


def size(value: Any) -> int | None:
    """Return a number of bytes that a capture has measured, or None when it is no such number."""
    return value if type(value) is int and 0 <= value <= events.MAX_INTEGER else None


def head(room: Room, event: Any) -> tuple[Any, Any, Any]:
    """Return timestamp, type and id of an event, each redacted unless it is what it should be."""
    timestamp, kind, event_id = event.timestamp, event.event_type, event.event_id
    if (
        type(timestamp) is type(event_id) is str
        and _head(timestamp + event_id)
        and type(kind) is str
        and kind in TYPES
    ):
        return timestamp, kind, event_id
    if type(kind) is str and kind in SIGNED_TYPES:
        msg = f"{kind} is an event of the trail's own"
        raise EventError(msg)
    timestamp, kind, event_id = (rule(room, getattr(event, name)) for name, rule in EVENT.items())
    return timestamp, kind, event_id


def proper_head(event: Any) -> dict[str, str]:
    """Return those of timestamp, type and id that are what they should be."""
    found = {name: getattr(event, name, None) for name in EVENT}
    checks: dict[str, Callable[[str], object]] = {
        "timestamp": _TIME.fullmatch,
        "event_type": TYPES.__contains__,
        "event_id": _UUID.fullmatch,
    }
    return {name: value for name, value in found.items() if type(value) is str and checks[name](value)}
