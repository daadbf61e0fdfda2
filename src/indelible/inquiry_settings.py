"""Settings of `mcp`: who may ask what through `indelible mcp`, and how much one answer may cost.

No I/O here. Names of columns are checked where the columns are known (`indelible.inquiry.roles`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from indelible.values import (
    Parser,
    nearest,
    parse_duration,
    parse_limit,
    parse_text,
    parse_texts,
    shown,
)

TOOLS: Final = ("search", "timeline", "statistics", "explain", "verify", "prove", "sql")
"""What can be asked, in the order in which it is listed."""

BUILT_IN: Final = ("auditor", "operator")
"""Roles that are always there; see `indelible.inquiry.roles`."""

MAX_LIMIT: Final = 10_000
"""Events or rows in one answer, whatever a configuration says."""

MAX_SECONDS: Final = 86_400.0

MIN_KB: Final = 16
"""One event has room in so much, whatever is in it."""

MAX_KB: Final = 16_384


class RoleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One role. Whatever it does not name it may not."""

    tools: tuple[str, ...] = ("search", "timeline", "statistics", "explain", "verify")
    hide: tuple[str, ...] = ()
    """Columns that it never sees, asks by or counts by."""
    limit: int | None = None
    """Events or rows in one answer; None: that of all roles."""
    users: frozenset[str] = frozenset()
    """With any, only events of these users exist for it; the same of the other two."""
    sessions: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()


class InquirySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the trail answers agents. Times are in seconds."""

    role: str = "operator"
    """Who asks, unless the command says otherwise."""
    roles: Mapping[str, RoleSettings] = msgspec.field(default_factory=dict)
    limit: int = 500
    """Events or rows in one answer, at the most."""
    max_answer_kb: int = 64
    """Size of an answer, at the most, in kB of 1,024 bytes."""
    timeout: float = 30.0
    verify_timeout: float = 600.0
    memory_mb: int = 400
    """Memory of one SQL query, in MB of 1,048,576 bytes."""
    at_once: int = 2
    """Questions that are answered at the same time; others wait."""


def _values(value: object) -> frozenset[str]:
    texts = parse_texts(value)
    if not texts or not all(text.strip() for text in texts):
        raise ValueError("expected a list of at least one text; leave it out for all")
    return frozenset(texts)


def _tools(value: object) -> tuple[str, ...]:
    texts = parse_texts(value)
    for text in texts:
        if text not in TOOLS:
            raise ValueError(f"there is no tool {shown(text)}{nearest(text, list(TOOLS))}")
    return tuple(dict.fromkeys(texts))


def _limit(value: object) -> int:
    limit: int = parse_limit(value)
    if limit > MAX_LIMIT:
        raise ValueError(f"expected a number up to {MAX_LIMIT}")
    return limit


def _seconds(value: object) -> float:
    seconds = parse_duration(value)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("expected a duration up to a day, such as 30s")
    return seconds


def _megabytes(value: object) -> int:
    size: int = parse_limit(value)
    if not 64 <= size <= 1 << 20:
        raise ValueError("expected a number of MB, 64 or more")
    return size


def _kilobytes(value: object) -> int:
    size: int = parse_limit(value)
    if not MIN_KB <= size <= MAX_KB:
        raise ValueError(f"expected a number of kB from {MIN_KB} to {MAX_KB}")
    return size


def _processes(value: object) -> int:
    count: int = parse_limit(value)
    if count > 64:
        raise ValueError("expected a number up to 64")
    return count


ROLE_KEYS: Final[dict[str, tuple[str, Parser]]] = {
    "tools": ("tools", _tools),
    "hide": ("hide", parse_texts),
    "limit": ("limit", _limit),
    "users": ("users", _values),
    "sessions": ("sessions", _values),
    "backends": ("backends", _values),
}
"""Key of a role in the file → field of `RoleSettings`, parser."""


def _roles(value: object) -> dict[str, RoleSettings]:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping of roles' names to what each may")
    found = {}
    for name, body in value.items():
        parse_text(name)
        if name in BUILT_IN:
            raise ValueError(f"{name}: this role is built in; give yours another name")
        try:
            found[name] = _role({} if body is None else body)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return found


def _role(body: object) -> RoleSettings:
    if not isinstance(body, dict):
        raise ValueError("expected a mapping such as {tools: [search], hide: [args]}")
    values: dict[str, Any] = {}
    for key, value in body.items():
        if key not in ROLE_KEYS:
            raise ValueError(f"unknown key {shown(key)}{nearest(str(key), list(ROLE_KEYS))}")
        field, parser = ROLE_KEYS[key]
        try:
            values[field] = parser(value)
        except ValueError as exc:
            raise ValueError(f"{key}: {exc}") from None
    return RoleSettings(**values)


MCP_KEYS: Final[dict[str, tuple[str, Parser]]] = {
    "role": ("role", parse_text),
    "roles": ("roles", _roles),
    "limit": ("limit", _limit),
    "max_answer_kb": ("max_answer_kb", _kilobytes),
    "timeout": ("timeout", _seconds),
    "verify_timeout": ("verify_timeout", _seconds),
    "memory_mb": ("memory_mb", _megabytes),
    "at_once": ("at_once", _processes),
}
"""Key of the section in the file → field of `InquirySettings`, parser."""
