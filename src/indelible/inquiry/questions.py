"""What each tool does: a question in, an answer out. Reads trails, and writes nothing anywhere.

The rules that live here:

- A question carries its role. Everything that is looked at goes through the role's filter and columns first.
- Trails are looked for anew for each question: they grow, rotate, appear and vanish meanwhile. What is kept of the
  question before (`indelible.query.kept`) saves time, and is asked about nothing that may have changed.
- What cannot be read is counted in the answer, and never ends it.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from indelible.errors import ConfigError, TrailError
from indelible.inquiry import tools
from indelible.inquiry.answers import (
    Cursor,
    Shown,
    cursor_after,
    fitting,
    json_value,
    noted,
    parse_cursor,
    shown_event,
    shown_line,
)
from indelible.inquiry.explaining import explain, prove
from indelible.inquiry.roles import Role, hidden_in
from indelible.inquiry.verifying import verify
from indelible.query import quick
from indelible.query.engine.bounds import bounded
from indelible.query.engine.connection import MEMORY_MB, SECONDS, Caps
from indelible.query.filters import (
    Filter,
    check_given,
    check_interval,
    parse_event_types,
    parse_time,
    trail_time,
)
from indelible.query.kept import Kept
from indelible.query.search import Corrupt, Hit, TrailSearch
from indelible.query.timeline import Item, make_timeline
from indelible.trail.reader import reading, trails_at, with_earlier
from indelible.values import shown

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """Which trails are asked."""

    path: Path
    named: bool = False
    """It was named: a directory is all trails in it, and a file that one alone."""
    vkeys: tuple[str, ...] = ()
    """Public keys from elsewhere."""

    def paths(self) -> list[Path]:
        """Return the active files, those set aside before them included. Raises TrailError."""
        return with_earlier(self.living())

    def living(self) -> list[Path]:
        """Return the active files. Raises TrailError when there are none."""
        found = trails_at(self.path, named=self.named)
        if not found:
            msg = f"{self.path}: there is no trail in this directory"
            raise TrailError(msg)
        return found


class Bounds(NamedTuple):
    """What one answer may cost."""

    seconds: float = SECONDS
    memory_mb: int = MEMORY_MB
    bytes: int = 64 * 1024

    def caps(self) -> Caps:
        """Return the same as the SQL engine has it."""
        return Caps(
            self.seconds, self.memory_mb, None, "raise mcp.timeout in the configuration",
            "raise mcp.memory_mb in the configuration",
        )  # fmt: skip


class Question(NamedTuple):
    """One call of a tool."""

    tool: str
    arguments: Any
    role: Role
    place: Place
    bounds: Bounds
    kept: Kept | None = None
    """What whoever answers keeps from one question to the next; it goes nowhere."""


class Answered(NamedTuple):
    """An answer, and one line about it."""

    body: Shown
    summary: str


def answer(question: Question) -> Answered:
    """Answer a question. Raises IndelibleError, whose message is for whoever asked."""
    question.role.check_tool(question.tool)
    asked = tools.parse(tools.BY_NAME[question.tool], question.arguments)
    kept = question.kept if question.tool in _FROM_KEPT else None
    using = contextlib.nullcontext() if kept is None else kept.question()
    with using, reading(question.place.path), bounded(question.bounds.caps()):
        return _ANSWERS[question.tool](question, asked)


# --- search -------------------------------------------------------------------------------------------------


def _search(question: Question, asked: tools.Search) -> Answered:
    role, limit = question.role, min(asked.limit, question.role.limit)
    before = parse_cursor(asked.cursor)
    wanted = role.narrowed(make_filter(asked, role))
    corrupt = Corrupt()
    if wanted is None:
        found: list[Shown] = []
    elif asked.where is not None:
        found = _by_condition(question, wanted, asked.where, before, limit, corrupt)
    else:
        found = [
            one
            for hit in newest(question, wanted, before, limit + 1, corrupt)
            if (one := _shown_hit(hit, role)) is not None
        ]
    kept = fitting(found[:limit], question.bounds.bytes)
    more = len(found) > len(kept)
    body = noted(events=kept, next=_next(kept, before, more=more), truncated=more, **_unread(corrupt))
    return Answered(body, f"{_many(len(kept), 'event')}{', and there are more' if more else ''}")


def _shown_hit(hit: Hit, role: Role) -> Shown | None:
    line = role.seen(hit.line)
    return None if line is None else shown_line(line, hit.origin)


def _by_condition(
    question: Question, wanted: Filter, where: str, before: Cursor | None, limit: int, corrupt: Corrupt
) -> list[Shown]:
    from indelible.query.engine.asking import Page

    role = question.role
    in_logs = set(role.columns("logs"))
    columns = [name for name in role.columns() if name in in_logs]
    page = Page(limit + 1) if before is None else Page(limit + 1, before.until, before.skip)
    with _asked(question, wanted, corrupt) as engine:
        rows = engine.newest(where, columns, page).rows
        return [shown_event(dict(zip(columns, row, strict=True))) for row in rows]


def newest(
    question: Question, wanted: Filter, before: Cursor | None, limit: int, corrupt: Corrupt
) -> list[Hit]:
    """Return the newest matches of all trails, the newest first, from where a cursor stands on."""
    skip, until = (before.skip, before.until) if before is not None else (0, None)
    found: list[list[Hit]] = []
    for path in question.place.paths():
        with _opened(path, wanted, corrupt, until, question.kept) as search:
            found.append(search.newest(limit + skip)[::-1])
    merged = heapq.merge(*found, key=lambda hit: hit.row.recorded_at, reverse=True)
    return list(islice(merged, skip, skip + limit))


def _opened(path: Path, wanted: Filter, corrupt: Corrupt, until: str | None, kept: Kept | None) -> TrailSearch:
    """Open a trail for a page: the first by twins, where they help; for those after it the lines are read."""
    if until is None:
        return quick.open_search(path, wanted, corrupt, kept=kept)
    return TrailSearch(path, wanted, corrupt, recorded_until=until)


def make_filter(asked: tools.Filters, role: Role) -> Filter:
    """Return the filter that is asked. Raises ConfigError, NotAllowed."""
    role.check_filters(asked.given())
    values: dict[str, Any] = {
        name: frozenset(getattr(asked, name)) for name in Filter.__struct_fields__ if name in _VALUES
    }
    for name, chosen in values.items():
        check_given(name, chosen)
    now = datetime.now(UTC)
    since, until = _time("since", asked.since, now), _time("until", asked.until, now)
    check_interval(since, until, ("since", "until"))
    events = parse_event_types(asked.events, "events")
    return Filter(events=events, since=since, until=until, **values)


_VALUES: Final = frozenset(tools.Filters.__struct_fields__) - {"since", "until", "events"}


def _time(name: str, text: str | None, now: datetime) -> str | None:
    try:
        return None if text is None else parse_time(text, now)
    except ValueError as exc:
        raise ConfigError(f"{name}: {exc}, found {shown(text)}") from None


def _next(kept: Sequence[Shown], before: Cursor | None, *, more: bool) -> str | None:
    if not more or not kept:
        return None
    return cursor_after([str(one.get("recorded_at", "")) for one in kept], before)


def _unread(corrupt: Corrupt) -> Shown:
    missing = corrupt.missing()
    return {
        "unreadable_lines": corrupt.count,
        "first_unreadable": corrupt.first() or None,
        "missing_lines": missing.lines,
        "first_missing": missing.place() or None,
        "newer_lines": corrupt.newer,
    }


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


# --- timeline -----------------------------------------------------------------------------------------------


def _timeline(question: Question, asked: tools.Timeline) -> Answered:
    role, limit = question.role, min(asked.limit, question.role.limit)
    role.check_filters(["session"])
    check_given("session", [asked.session])
    before = parse_cursor(asked.cursor)
    wanted = role.narrowed(Filter(events=None, session=frozenset({asked.session})))
    corrupt, hits = Corrupt(), list[Hit]()
    if wanted is not None:
        hits = newest(question, wanted, before, limit + 1, corrupt)
    room = question.bounds.bytes
    while True:
        kept = hits[:limit]
        items, begin, length = _items(kept, role)
        fits = fitting(items, room)
        if len(fits) == len(items) or limit <= 1:
            break
        limit = max(len(kept) * len(fits) // max(len(items), 1), 1) if len(kept) > 1 else 1
    more = len(hits) > len(kept)
    times = [hit.row.recorded_at for hit in kept]
    body = noted(
        session=json_value(asked.session),
        first=None if begin is None else trail_time(EPOCH + timedelta(microseconds=begin)),
        length_ms=length / 1000,
        items=fits,
        next=cursor_after(times, before) if more else None,
        truncated=more,
        **_unread(corrupt),
    )
    return Answered(body, f"{_many(len(fits), 'item')}{', and there are earlier ones' if more else ''}")


def _items(hits: Sequence[Hit], role: Role) -> tuple[list[Shown], int | None, int]:
    lines = [line for hit in reversed(hits) if (line := role.seen(hit.line)) is not None]
    timeline = make_timeline(lines)
    begin = timeline.items[0].at if timeline.items else None
    return [_item(one, begin, role) for one in timeline.items], begin, timeline.whole.length


def _item(item: Item, begin: int | None, role: Role) -> Shown:
    known = None if item.at is None else _moment(item.at)
    shown_item: Shown = {
        "began": known,
        "offset_ms": None if item.at is None or begin is None else (item.at - begin) / 1000,
        "event_type": json_value(item.event_type),
        "open": item.open,
    }
    if "latency_ms" not in role.hidden:
        shown_item["took_ms"] = None if item.took is None else item.took / 1000
    for name in ("name", "backend", "user", "kind"):
        if value := getattr(item, name):
            shown_item[name] = json_value(value)
    return shown_item


def _moment(micros: int) -> str | None:
    try:
        return trail_time(EPOCH + timedelta(microseconds=micros))
    except OverflowError:
        return None


# --- numbers ------------------------------------------------------------------------------------------------


def _statistics(question: Question, asked: tools.Statistics) -> Answered:
    role = question.role
    wanted = role.narrowed(make_filter(asked, role))
    columns = _Columns(asked, role)
    corrupt, limit = Corrupt(), min(asked.limit, role.limit)
    if wanted is None:
        names = [*columns.group_by, "count", *([] if asked.sum is None else [f"sum_{asked.sum}"])]
        rows = [] if columns.group_by else [[0, *([] if asked.sum is None else [None])]]
        return _table(names, rows, limit, question, corrupt)
    if not asked.group_by and asked.sum is None and asked.where is None:
        count = quick.count(question.place.paths(), wanted, corrupt, question.kept)
        if count is not None:
            return _table(["count"], [[count]], limit, question, corrupt)
    with _asked(question, wanted, corrupt) as engine:
        if asked.where is not None:
            engine.check_condition(asked.where)
        result = engine.summary(asked.where, columns.group_by, asked.sum, columns.sort, limit + 1)
        found = [list(row) for row in islice(result.rows, limit + 1)]
    return _table(result.names, found, limit, question, corrupt)


class _Columns:
    """The columns that are named, all of which the role sees."""

    def __init__(self, asked: tools.Statistics, role: Role) -> None:
        self.group_by = list(dict.fromkeys(asked.group_by))
        role.check_columns("group_by", self.group_by, "logs")
        if asked.sum is not None:
            role.check_columns("sum", [asked.sum], "logs")
            _check_number(asked.sum)
        self.sort = self._sort(asked)

    def _sort(self, asked: tools.Statistics) -> tuple[str, bool] | None:
        if asked.sort is None:
            return None
        name, _, way = asked.sort.partition(":")
        known = [*self.group_by, "count", *([] if asked.sum is None else [f"sum_{asked.sum}"])]
        if way not in ("", "asc", "desc") or name not in known or not self.group_by:
            there = ", ".join(known) if self.group_by else "nothing without group_by"
            raise ConfigError(
                f"sort: expected COLUMN, COLUMN:asc or COLUMN:desc of {there}, found {asked.sort!r}"
            )
        return name, way == "desc"


def _check_number(name: str) -> None:
    from indelible.query.columns import view_columns

    numbers = [column for column, type_ in view_columns("logs") if type_ in ("BIGINT", "DOUBLE")]
    if name not in numbers:
        raise ConfigError(f"sum: {name} is no column of numbers; there are {', '.join(numbers)}")


def _sql(question: Question, asked: tools.Sql) -> Answered:
    limit, corrupt = min(asked.limit, question.role.limit), Corrupt()
    wanted = question.role.narrowed(Filter(events=None))
    assert wanted is not None  # noqa: S101 - nothing beside the role's own filter
    with _asked(question, wanted, corrupt) as engine:
        result = engine.query(asked.query)
        found = [list(row) for row in islice(result.rows, limit + 1)]
    return _table(result.names, found, limit, question, corrupt)


def _table(
    names: Sequence[str], rows: Sequence[Sequence[Any]], limit: int, question: Question, corrupt: Corrupt
) -> Answered:
    columns = fitting([json_value(name) for name in names], question.bounds.bytes // 4)
    shown_rows = [[json_value(value) for value in row[: len(columns)]] for row in rows[:limit]]
    kept = fitting(shown_rows, question.bounds.bytes * 3 // 4)
    more = len(rows) > len(kept) or len(columns) < len(names)
    body = noted(columns=columns, rows=kept, truncated=more, **_unread(corrupt))
    return Answered(body, f"{_many(len(kept), 'row')}{', and there are more' if more else ''}")


@contextlib.contextmanager
def _asked(question: Question, wanted: Filter, corrupt: Corrupt) -> Iterator[Any]:
    """Open the trails for SQL as the role sees them; what could not be read is noted in `corrupt`."""
    from indelible.query.engine.asking import Asked, Sight

    role, caps = question.role, question.bounds.caps()
    sight = None if role.sees_all else Sight(role.hidden, hidden_in("logs", role.hidden))
    with Asked(question.place.paths(), wanted, caps, sight=sight) as engine:
        yield engine
        corrupt.take(engine.corrupt)


# --- one event, and the whole -------------------------------------------------------------------------------


def _explain(question: Question, asked: tools.Explain) -> Answered:
    body, summary = explain(question.place.paths(), question.role, asked, question.bounds.bytes)
    return Answered(body, summary)


def _prove(question: Question, asked: tools.Prove) -> Answered:
    body, summary = prove(question.place.paths(), question.role, asked, question.place.vkeys)
    return Answered(body, summary)


def _verify(question: Question, _asked: tools.Verify) -> Answered:
    body, summary = verify(question.place.living(), question.role, question.place.vkeys, question.bounds.bytes)
    return Answered(body, summary)


_ANSWERS: Final[dict[str, Callable[[Question, Any], Answered]]] = {
    "search": _search,
    "timeline": _timeline,
    "statistics": _statistics,
    "explain": _explain,
    "verify": _verify,
    "prove": _prove,
    "sql": _sql,
}

_FROM_KEPT: Final = frozenset({"search", "timeline", "statistics"})
"""What uses what is kept. While anything else is answered, which may take minutes, it may be let go of."""
