"""Search from Python: what `indelible log` finds, as parsed events, one at a time.

What the trail holds is not trusted: a line that cannot be read is counted, and never ends a search.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from indelible.errors import ConfigError, TrailError
from indelible.query.filters import (
    CHOICES,
    Filter,
    check_choices,
    check_given,
    check_interval,
    parse_event,
    parse_event_types,
    parse_time,
    trail_time,
)
from indelible.query.search import Corrupt, Hit, TrailSearch, everything, newest
from indelible.trail.reader import is_there, reading, trails_in, with_earlier
from indelible.values import shown, user_path

Wanted = str | Iterable[str]
"""A value, or several of which any matches."""


class Filters(TypedDict, total=False):
    """The filters of `indelible log`, under the names of its options."""

    tool: Wanted
    resource: Wanted
    prompt: Wanted
    name: Wanted
    type: Wanted
    user: Wanted
    session: Wanted
    backend: Wanted
    request_id: Wanted
    status: Wanted
    kind: Wanted
    policy: Wanted
    caller_type: Wanted
    events: Wanted
    since: str | datetime
    until: str | datetime


class Search:
    """The events of a search, oldest first, each as its line has it: read while they are iterated over.

    Each iteration is a new look at the trail.
    """

    def __init__(self, paths: list[Path], wanted: Filter, limit: int | None) -> None:
        self._paths = paths
        self._wanted = wanted
        self._limit = limit
        self._corrupt = Corrupt()

    @property
    def unreadable(self) -> int:
        """How many lines the last iteration has met that were torn, altered, or no events at all."""
        return self._corrupt.count

    @property
    def first_unreadable(self) -> str | None:
        """Where the first of them stands: ``FILE, line N``."""
        return self._corrupt.first() or None

    @property
    def missing(self) -> int:
        """How many lines stand nowhere that should stand between those of the last iteration."""
        return self._corrupt.missing().lines

    @property
    def first_missing(self) -> str | None:
        """Where the first of them should stand: ``between seq A and B of FILE``."""
        return self._corrupt.missing().place() or None

    @property
    def newer(self) -> int:
        """How many lines a newer version wrote, which were read as if this one had."""
        return self._corrupt.newer

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._corrupt = corrupt = Corrupt()
        with reading(self._paths[0]):
            for hit in self._hits(corrupt):
                event = parse_event(hit.line)
                if event is not None:
                    yield event

    def _hits(self, corrupt: Corrupt) -> Iterator[Hit]:
        with contextlib.ExitStack() as stack:
            searches = [stack.enter_context(TrailSearch(path, self._wanted, corrupt)) for path in self._paths]
            yield from everything(searches) if self._limit is None else newest(searches, self._limit)


def search(path: str | Path, *, limit: int | None = None, **filters: Unpack[Filters]) -> Search:
    """Return the events of a trail that the filters ask for; without any, every call.

    `path` is a trail's active file, or a directory: all trails in it, merged by `recorded_at`; and with each those that
    it follows, since they were restored or had lost their end. Of each filter any value matches, of different filters
    all must (of `tool`, `resource` and `prompt` one is enough). `events` are event types, or ``all``; `since` and
    `until` are texts as `indelible log` takes them, or datetimes with a zone. `limit` keeps the newest so many, in
    memory; without it memory does not grow with what is found.

    Raises ConfigError for a filter that cannot be, TrailError when there is no trail, or it cannot be read.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        msg = f"limit: expected a number from 1 on, or None for all, found {shown(limit)}"
        raise ConfigError(msg)
    return Search(_trails(user_path(path).absolute()), make_filter(filters), limit)


def _trails(path: Path) -> list[Path]:
    with reading(path):
        found = trails_in(path) if path.is_dir() else [path] if is_there(path) else []
    if not found:
        msg = f"{path}: there is no trail {'in this directory' if path.is_dir() else 'here'}"
        raise TrailError(msg)
    return with_earlier(found)


def make_filter(filters: Filters) -> Filter:
    """Return the filter that the keywords ask for. Raises ConfigError, one line, naming the keyword."""
    values: dict[str, Any] = dict(filters)
    events, since, until = (values.pop(key, None) for key in ("events", "since", "until"))
    unknown = [key for key in values if key not in Filters.__annotations__]
    if unknown:
        msg = f"search: no filter {shown(unknown[0])}; there are {', '.join(Filters.__annotations__)}"
        raise ConfigError(msg)
    sets = {key: _values(key, value) for key, value in values.items()}
    for key, chosen in sets.items():
        check_given(key, chosen)
    for key, known in CHOICES.items():
        check_choices(key, sets.get(key, ()), known)
    begin, end = _time("since", since), _time("until", until)
    check_interval(begin, end, ("since", "until"))
    types = () if events is None else _values("events", events)
    return Filter(events=parse_event_types(types, "events"), since=begin, until=end, **sets)


def _values(key: str, value: object) -> frozenset[str]:
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    values = list(value) if several else [value]  # type: ignore[call-overload] # mypy loses what `several` says
    wrong = [item for item in values if not isinstance(item, str)]
    if wrong or not values:
        msg = f"{key}: expected a text, or several, found {shown(wrong[0] if wrong else value)}"
        raise ConfigError(msg)
    return frozenset(values)


def _time(key: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            msg = f"{key}: a datetime without a zone; say which one: {value.isoformat()}"
            raise ConfigError(msg)
        return trail_time(value)
    if not isinstance(value, str):
        msg = f"{key}: expected a text or a datetime, found {shown(value)}"
        raise ConfigError(msg)
    try:
        return parse_time(value, datetime.now(UTC))
    except ValueError as exc:
        msg = f"{key}: {exc}, found {shown(value)}"
        raise ConfigError(msg) from None
