"""Which events a search is about. Pure: a line's bytes in, yes or no out.

Within one filter any of its values matches, between filters all must. Every value is just a value: no patterns, no
quoting. Times compare as text, since the trail writes all of them in one form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

import msgspec
import orjson

from indelible.errors import ConfigError
from indelible.events import MAX_LINE_BYTES, CallerType, Decision, EventType, Kind, Status
from indelible.trail.entry import CLOCK_SLACK, SEQ_PREFIX
from indelible.values import closest, parse_duration, shown

EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)
CALLS: Final = frozenset({"mcp_operation"})
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "status": get_args(Status),
    "kind": get_args(Kind),
    "policy": get_args(Decision),
    "caller_type": get_args(CallerType),
}
"""Filters that have a fixed vocabulary, by the name of the field of `Filter`."""

MAX_BRACKETS: Final = 1_000
"""With fewer brackets no line is nested too deep for anybody."""

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)\s*([Zz]|[+-]\d{2}:?\d{2}))?", re.ASCII
)


class _Lenient(msgspec.Struct, frozen=True, gc=False):
    """Base of the parts that filters look at; whatever else a line has is skipped."""


class _Source(_Lenient, frozen=True, gc=False):
    user_id: Any = None
    caller_type: Any = None
    session_id: Any = None


class _Target(_Lenient, frozen=True, gc=False):
    backend: Any = None
    type: Any = None
    capability_name: Any = None
    original_name: Any = None


class _Request(_Lenient, frozen=True, gc=False):
    request_id: Any = None


class _Policy(_Lenient, frozen=True, gc=False):
    decision: Any = None


class _Outcome(_Lenient, frozen=True, gc=False):
    status: Any = None
    kind: Any = None


_NO_SOURCE, _NO_TARGET, _NO_REQUEST = _Source(), _Target(), _Request()
_NO_POLICY, _NO_OUTCOME = _Policy(), _Outcome()


class Row(_Lenient, frozen=True, gc=False):
    """What filters look at in a line."""

    seq: int
    schema: Any = None
    recorded_at: str = ""
    timestamp: str = ""
    event_type: str = ""
    source: _Source = _NO_SOURCE
    target: _Target = _NO_TARGET
    request: _Request = _NO_REQUEST
    policy: _Policy = _NO_POLICY
    outcome: _Outcome = _NO_OUTCOME


_decode = msgspec.json.Decoder(Row).decode


def parse_row(line: bytes) -> Row | None:
    """Return what filters look at, or None when the line is torn, altered or no entry at all."""
    if len(line) > MAX_LINE_BYTES or not line.startswith(SEQ_PREFIX):
        return None
    try:
        row = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        # What `parse_event` would not read is read by nobody: of larger integers it makes no integers.
        return row if -(2**63) <= row.seq < 2**64 and not _is_too_deep(line) else None
    value = parse_event(line)  # valid JSON of an unforeseen shape is still an entry
    if value is None:
        return None
    fits = {key: item for key, item in value.items() if isinstance(item, _SHAPE.get(key, ()))}
    return msgspec.convert({"seq": value["seq"], **fits}, Row)


def earlier(time: str) -> str:
    """Return a time less the clock's slack, in the trail's form: nothing recorded before was received at that time."""
    try:
        moment = datetime.fromisoformat(time) - CLOCK_SLACK
    except OverflowError:
        return time
    return f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S.%f") + "Z"


RFC3339: Final = (
    r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
)
"""What is read as a time, in full (RFC 3339, section 5.6); Python and RE2 read this pattern alike."""

_INSTANT = re.compile(RFC3339, re.ASCII)


def moment_of(text: str) -> datetime | None:
    """Return the time that a text is; None for everything else."""
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_before(text: str, time: str) -> bool:
    """Tell whether a text is a time, and one before another in the trail's form."""
    moment = moment_of(text)
    return moment is not None and moment < datetime.fromisoformat(time)


def _is_too_deep(line: bytes) -> bool:
    """Tell whether a line is nested deeper than `parse_event` reads: how deep msgspec does is the program's to set."""
    if len(line) <= MAX_BRACKETS or line.count(b"[") + line.count(b"{") <= MAX_BRACKETS:
        return False
    return parse_event(line) is None


_SHAPE: Final[dict[str, type]] = {
    "schema": int,
    **dict.fromkeys(("recorded_at", "timestamp", "event_type"), str),
    **dict.fromkeys(("source", "target", "request", "policy", "outcome"), dict),
}


def parse_event(line: bytes) -> dict[str, Any] | None:
    """Return a line's whole object, or None.

    Half a surrogate pair in an escape does not make a line unreadable, nor a number that no double holds: that is None.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = _parse_slowly(line) if _SLOW.search(line) else None
    if not isinstance(value, dict) or type(value.get("seq")) is not int:  # true is an int, too
        return None
    return value


def read_event(line: bytes) -> dict[str, Any] | None:
    """Return the whole object of a line that `parse_row` reads, None for every other line."""
    if len(line) > MAX_LINE_BYTES or not line.startswith(SEQ_PREFIX):
        return None
    return parse_event(line)


def reads_alike(line: bytes) -> bool:
    """Tell whether `read_event` reads a line, and nothing in it as something else than what stands there."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return read_event(line) is not None


_SLOW: Final = re.compile(rb"\\u[dD]|[0-9]{200}|[eE]\+?[0-9]{3}")
"""What a line has that JSON allows and orjson does not read."""


def _parse_slowly(line: bytes) -> Any:
    import json

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        return json.loads(line.decode(), parse_constant=refuse, parse_int=_whole, parse_float=_number)
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> int | float | None:
    """Return what orjson makes of a whole number."""
    value = int(text) if len(text) <= len(str(-(2**63))) else 2**64
    return value if -(2**63) <= value < 2**64 else _number(text)


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


# --- filters --------------------------------------------------------------------------------------------


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What a search asks for. An empty set of values asks for nothing in particular."""

    events: frozenset[str] | None = CALLS
    """Event types; None is all of them, erased entries included."""
    tool: frozenset[str] = frozenset()
    resource: frozenset[str] = frozenset()
    prompt: frozenset[str] = frozenset()
    name: frozenset[str] = frozenset()
    type: frozenset[str] = frozenset()
    status: frozenset[str] = frozenset()
    kind: frozenset[str] = frozenset()
    policy: frozenset[str] = frozenset()
    user: frozenset[str] = frozenset()
    session: frozenset[str] = frozenset()
    backend: frozenset[str] = frozenset()
    caller_type: frozenset[str] = frozenset()
    request_id: frozenset[str] = frozenset()
    since: str | None = None
    """An event's `timestamp` is at or after this (`parse_time` gives the form).

    And it was not recorded before, clocks aside: the writer lets no `timestamp` be later than `recorded_at`, and where
    one is, in an old trail or an altered line, nobody is to find it who reads all, and not who begins in the middle.
    """
    until: str | None = None
    """An event's `timestamp` is before this."""

    def predicate(self) -> Callable[[Row], bool]:
        """Return a function that tells whether an event is asked for; it looks at nothing that was not asked."""
        checks = [
            check for check in (self._check_event(), *self._check_values(), *self._check_names()) if check
        ]
        since, until = self.since, self.until
        if since is not None:
            earliest = earlier(since)
            checks.append(
                lambda row: (
                    row.timestamp >= since
                    and (row.recorded_at >= earliest or not is_before(row.recorded_at, earliest))
                )
            )
        if until is not None:
            checks.append(lambda row: "" < row.timestamp < until)  # of an erased entry no time is known
        if len(checks) == 1:
            return checks[0]
        return lambda row: all(check(row) for check in checks)

    def _check_event(self) -> Check | None:
        events = self.events
        return None if events is None else lambda row: row.event_type in events

    def _check_values(self) -> list[Check | None]:
        return [
            _one_of(self.user, lambda row: row.source.user_id),
            _one_of(self.session, lambda row: row.source.session_id),
            _one_of(self.caller_type, lambda row: row.source.caller_type),
            _one_of(self.backend, lambda row: row.target.backend),
            _one_of(self.type, lambda row: row.target.type),
            _one_of(self.status, lambda row: row.outcome.status),
            _one_of(self.kind, lambda row: row.outcome.kind),
            _one_of(self.policy, _decision),
            _one_of(self.request_id, lambda row: row.request.request_id),
        ]

    def _check_names(self) -> list[Check | None]:
        """Check names: as exposed, or as the backend knows it.

        Nothing is a tool and a prompt at once: of ``--tool``, ``--resource`` and ``--prompt`` one is enough.
        """
        typed = {"tool": self.tool, "resource": self.resource, "prompt": self.prompt}

        def has_typed_name(row: Row) -> bool:
            return _is_named(row.target, typed.get(_value(row.target.type) or "", frozenset()))

        return [
            (lambda row: _is_named(row.target, self.name)) if self.name else None,
            has_typed_name if any(typed.values()) else None,
        ]


Check = Callable[[Row], bool]


def _one_of(wanted: frozenset[str], get: Callable[[Row], Any]) -> Check | None:
    return (lambda row: _value(get(row)) in wanted) if wanted else None


def _decision(row: Row) -> str | None:
    """Return what was decided; of an outcome that nobody decided about, what its words are for that."""
    return _value(row.policy.decision) or ("n/a" if _value(row.outcome.kind) else None)


def _is_named(target: _Target, names: frozenset[str]) -> bool:
    return _value(target.capability_name) in names or _value(target.original_name) in names


def _value(value: object) -> str | None:
    return value if isinstance(value, str) else None


# --- what users write -----------------------------------------------------------------------------------


def parse_time(text: str, now: datetime) -> str:
    """Return the trail's form of a time: ``10s``, ``5m``, ``2h``, ``1d`` before `now`, or RFC 3339, or a date.

    A date alone is its first moment, UTC, and a leap second the moment after it. Raises ValueError, with what was
    expected, for anything else.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        try:
            moment = now - timedelta(seconds=_ago(text))
        except (ValueError, OverflowError):
            raise ValueError(_EXPECTED) from None
        return trail_time(moment)
    day, clock, zone = match.groups()
    clock = clock or "00:00"
    seconds, _, fraction = clock.partition(".")
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    leap = seconds.endswith(":60")
    if leap:  # which Python has none of
        seconds, fraction = seconds[:-2] + "59", ""
    try:
        moment = datetime.fromisoformat(f"{day}T{seconds}.{fraction[:6]:0<6}{zone}")
        if leap and moment.astimezone(UTC).strftime("%H:%M") != "23:59":
            raise ValueError(_EXPECTED)
        return trail_time(moment + timedelta(seconds=leap))
    except (ValueError, OverflowError):
        raise ValueError(_EXPECTED) from None


_EXPECTED: Final = "expected a time such as 10s, 5m, 2h or 1d ago, 2026-11-21, or 2026-11-21T08:30:00Z"


def _ago(text: str) -> float:
    """Return seconds; a bare number has no unit and is refused."""
    if not text.isascii() or not text.strip() or text.strip()[-1].isdigit():
        raise ValueError(text)
    return parse_duration(text)


def trail_time(moment: datetime) -> str:
    """Return the trail's form of a time that knows its zone."""
    utc = moment.astimezone(UTC)
    return f"{utc.year:04d}" + utc.strftime("-%m-%dT%H:%M:%S.%f") + "Z"


def check_choices(asked: str, wanted: Iterable[str], known: tuple[str, ...]) -> None:
    """Raise ConfigError for a value outside a fixed vocabulary; `asked` is what the user calls the filter."""
    for value in wanted:
        if value not in known:
            msg = f"{asked}: no such value {shown(value)}{did_you_mean(value, known)}"
            raise ConfigError(msg)


def check_given(asked: str, wanted: Iterable[str]) -> None:
    """Raise ConfigError for an empty value, such as a shell's variable that is not set: it would find nothing."""
    if not all(value.strip() for value in wanted):
        msg = f"{asked}: an empty value, which nothing is called; leave it out, or say what to look for"
        raise ConfigError(msg)


def check_interval(since: str | None, until: str | None, asked: tuple[str, str]) -> None:
    """Raise ConfigError when nothing can be at or after `since` and before `until`, times in the trail's form."""
    if since is not None and until is not None and since >= until:
        msg = f"{asked[0]} ({since}) is not before {asked[1]} ({until}): nothing can lie between them"
        raise ConfigError(msg)


def parse_event_types(texts: Iterable[str], asked: str = "--events") -> frozenset[str] | None:
    """Return the event types that ``--events`` names, separated by commas; None for ``all``.

    Without any, the calls. Raises ConfigError for one that does not exist; `asked` is what the user calls it.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    if not names:
        return CALLS
    if "all" in names:
        return None
    for name in names:
        if name not in EVENT_TYPES:
            raise ConfigError(
                f"{asked}: no event type {shown(name)}{did_you_mean(name, ('all', *EVENT_TYPES))}"
            )
    return frozenset(names)


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """Return ``; did you mean 'x'?``, or what there is when nothing is near."""
    close = closest(word, known)
    return f"; did you mean '{close}'?" if close else f"; there are {', '.join(known)}"
