"""Who may ask what: tools, columns, events. Pure.

The rules that live here:

- What a role may not see does not exist for it. A hidden column is in no answer, and nothing can be asked, grouped or
  sorted by it: the answer would show it all the same. An event outside its filter is found nowhere, counted nowhere,
  and explained like one that never was.
- **Only what is known is shown.** `Role.seen` makes a new line of the columns that the role sees; every answer is made
  of such lines, or of views that are (`indelible.query.engine.relations.seen`), never of the trail's own.
- A proof goes with nothing hidden: who has it can tell a right guess of a whole line from a wrong one.
- A name of a role, tool or column that is not known is an error.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from indelible.errors import ConfigError, IndelibleError
from indelible.inquiry_settings import TOOLS, InquirySettings, RoleSettings
from indelible.query.columns import COLUMNS, EVENT_COLUMNS, LOGS, Column, json_text, view_columns
from indelible.query.filters import Filter, Row, did_you_mean, parse_row, read_event
from indelible.values import nearest

FIXED: Final = ("origin", "seq", "schema", "recorded_at", "timestamp", "event_type", "event_id", "erased")
"""Columns that cannot be hidden: by them events are told apart and put in order."""

BUILT_IN: Final = {
    "auditor": RoleSettings(tools=TOOLS),
    "operator": RoleSettings(
        tools=("search", "timeline", "statistics", "explain", "verify"),
        hide=(
            "args", "args_hmac", "hmac_key_id", "result", "result_hmac", "error", "metadata", "user_id", "roles",
            "tenant", "client_ip", "auth_key_id", "issuer", "on_behalf_of", "policy_reason", "state_reason",
            "recorder_id", "recorder_uid",
        ),
    ),
}  # fmt: skip
"""Roles that are always there: `auditor` sees all of the trail; `operator` what ran, when, and how it ended."""

ASKED_BY: Final[dict[str, tuple[str, ...]]] = {
    "tool": ("type", "capability_name", "original_name"),
    "resource": ("type", "capability_name", "original_name"),
    "prompt": ("type", "capability_name", "original_name"),
    "name": ("capability_name", "original_name"),
    "type": ("type",),
    "status": ("status",),
    "kind": ("kind",),
    "policy": ("policy_decision", "kind"),
    "user": ("user_id",),
    "session": ("session_id",),
    "backend": ("backend",),
    "caller_type": ("caller_type",),
    "request_id": ("request_id",),
}
"""Filter → the columns that it looks at."""

_SAME: Final[dict[str, tuple[str, ...]]] = {
    "name": ("capability_name", "original_name"),
    "input_json": ("args",),
    "duration_ms": ("latency_ms",),
    "reason": ("policy_reason",),
}
"""Columns of `logs` that are others of `events` under another name."""


class NotAllowed(IndelibleError):  # noqa: N818 - an answer, and nobody's mistake
    """The role may not ask this."""

    exit_code = 1


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What one role may."""

    name: str
    tools: tuple[str, ...]
    hidden: frozenset[str]
    """Columns of `events`."""
    limit: int
    users: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()

    @property
    def filter(self) -> Filter:
        """The events that exist for it."""
        return Filter(events=None, user=self.users, session=self.sessions, backend=self.backends)

    @property
    def is_filtered(self) -> bool:
        """Whether there are events that do not exist for it."""
        return bool(self.users or self.sessions or self.backends)

    @property
    def sees_all(self) -> bool:
        """Whether it sees every column of every event."""
        return not self.hidden and not self.is_filtered

    def columns(self, view: Any = "events") -> tuple[str, ...]:
        """Return the columns of a view that it sees, in order."""
        without = hidden_in(view, self.hidden)
        return tuple(name for name, _ in view_columns(view) if name not in without)

    def check_tool(self, tool: str) -> None:
        """Raise NotAllowed for a tool that it may not use."""
        if tool not in self.tools:
            msg = (
                f"the role {self.name!r} may not use {tool!r}; it may use {', '.join(self.tools) or 'nothing'}"
            )
            raise NotAllowed(msg)

    def check_filters(self, names: Iterable[str]) -> None:
        """Raise NotAllowed for filters that look at what it does not see."""
        for name in names:
            unseen = [column for column in ASKED_BY.get(name, ()) if column in self.hidden]
            if unseen:
                raise NotAllowed(self._not_seen(name, unseen[0]))

    def check_columns(self, asked: str, names: Iterable[str], view: Any) -> None:
        """Raise NotAllowed for columns that it does not see, ConfigError for those that there are not."""
        every = tuple(name for name, _ in view_columns(view))
        seen = self.columns(view)
        for name in names:
            if name in seen:
                continue
            if name in every:
                raise NotAllowed(self._not_seen(asked, name))
            raise ConfigError(f"{asked}: no column {name!r}{did_you_mean(name, seen)}")

    def _not_seen(self, asked: str, column: str) -> str:
        return f"{asked}: the role {self.name!r} does not see {column}, and can ask nothing by it"

    def narrowed(self, wanted: Filter) -> Filter | None:
        """Return a filter for the events that are wanted and exist for it; None when there can be none."""
        found = wanted
        for name, own in (("user", self.users), ("session", self.sessions), ("backend", self.backends)):
            if own:
                asked: frozenset[str] = getattr(wanted, name)
                both = own & asked if asked else own
                if not both:
                    return None
                found = msgspec.structs.replace(found, **{name: both})
        return found

    def seen(self, line: bytes) -> bytes | None:
        """Return a line of what it sees of this one; None when that is nothing, or the line is no entry."""
        row = parse_row(line)
        if row is None or not _exists(self)(row):
            return None
        event = read_event(line)
        return None if event is None else json_text(_shown(event, self.hidden)).encode()


@functools.lru_cache(maxsize=16)
def _exists(role: Role) -> Callable[[Row], bool]:
    return role.filter.predicate()


def _shown(event: dict[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for column in EVENT_COLUMNS:
        if column.name not in hidden:
            _copy(event, shown, column)
    return shown


def _copy(event: dict[str, Any], shown: dict[str, Any], column: Column) -> None:
    *parts, last = column.path
    for part in parts:
        inner = event.get(part)
        if not isinstance(inner, dict):
            return
        event = inner
    if last in event:
        for part in parts:
            shown = shown.setdefault(part, {})
        shown[last] = event[last]


def hidden_in(view: Any, hidden: frozenset[str]) -> frozenset[str]:
    """Return the columns of a view that show something of the hidden ones."""
    if view == "events" or not hidden:
        return hidden
    made = {name for name, _, of in LOGS if not hidden.isdisjoint(re.findall(r"\w+", of))}
    return hidden | made


# --- from the configuration ---------------------------------------------------------------------------------


class _Known(NamedTuple):
    columns: tuple[str, ...]
    others: tuple[str, ...]


_KNOWN: Final = _Known(tuple(one.name for one in COLUMNS), tuple(_SAME))


def make_role(settings: InquirySettings, name: str, asked: str = "mcp.role") -> Role:
    """Return a role by its name. Raises ConfigError: there is none, or it is not one that can be kept to."""
    every = {**BUILT_IN, **settings.roles}
    if name not in every:
        raise ConfigError(f"{asked}: there is no role {name!r}{nearest(name, list(every))}")
    said = every[name]
    where = f"mcp.roles.{name}"
    hidden = frozenset(_columns(where, said.hide))
    if "prove" in said.tools and hidden:
        raise ConfigError(
            f"{where}: tools: prove does not go with hide: who has a proof can check guesses of what is hidden"
        )
    limit = min(said.limit or settings.limit, settings.limit)
    return Role(
        name=name, tools=said.tools, hidden=hidden, limit=limit, users=said.users, sessions=said.sessions,
        backends=said.backends,
    )  # fmt: skip


def check_roles(settings: InquirySettings) -> None:
    """Raise ConfigError when a role of the configuration, or the one that is chosen, is none."""
    for name in (*settings.roles, settings.role):
        make_role(settings, name)


def _columns(where: str, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        if name in FIXED:
            raise ConfigError(f"{where}: hide: {name} cannot be hidden: by it events are told apart")
        if name not in _KNOWN.columns and name not in _KNOWN.others:
            raise ConfigError(
                f"{where}: hide: no column {name!r}{nearest(name, [*_KNOWN.columns, *_KNOWN.others])}"
            )
        yield from _SAME.get(name, (name,))
