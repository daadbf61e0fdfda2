"""Answers: what is shown of events and rows, how much of it, and how to go on. Pure.

The rules that live here:

- An answer is made of what a role sees (`indelible.inquiry.roles`), in plain texts (`indelible.inquiry.plain`).
- It has a size, whatever was found: what does not fit is left out from its end, `truncated` says so, and `next` is
  where it goes on. The first item is always there, with its texts cut shorter until it fits.
- A cursor says where a search stands, and nothing about who may see what.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from indelible.errors import ConfigError
from indelible.inquiry.plain import NOTE, SHORT, plain, plain_value
from indelible.inquiry.roles import FIXED
from indelible.query.columns import row_of
from indelible.query.filters import trail_time

OVERHEAD: Final = 2_000
"""Bytes of an answer beside its items."""

SHORTER: Final = (200, 64, 10)
"""Limits of texts, the first with which an item fits."""

WHOLE: Final = (*FIXED, "began")
"""Never cut: by these events are told apart, put in order, and gone on from."""

MAX_SKIP: Final = 10_000
"""Events of one moment that a cursor passes over."""

Shown = dict[str, Any]


class Cursor(NamedTuple):
    """Where a search goes on: what was recorded until then, but for so many."""

    until: str
    skip: int

    def text(self) -> str:
        """Return the cursor as a caller gets it."""
        return base64.urlsafe_b64encode(orjson.dumps([self.until, self.skip])).decode().rstrip("=")


def parse_cursor(text: str | None) -> Cursor | None:
    """Return a cursor that a caller gives back. Raises ConfigError."""
    if text is None:
        return None
    try:
        until, skip = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error):
        until = skip = None
    if not isinstance(until, str) or len(until) > 64 or type(skip) is not int or not 0 <= skip <= MAX_SKIP:
        raise ConfigError("cursor: expected `next` of an earlier answer")
    return Cursor(until, skip)


def cursor_after(times: Sequence[str], before: Cursor | None) -> str:
    """Return the cursor behind events that were recorded at these times, the newest first."""
    last = times[-1]
    same = sum(1 for _ in _while(times, last))
    again = before.skip if before is not None and before.until == last and same == len(times) else 0
    return Cursor(last, same + again).text()


def _while(times: Sequence[str], last: str) -> Any:
    for one in reversed(times):
        if one != last:
            return
        yield one


# --- events -------------------------------------------------------------------------------------------------


def shown_line(line: bytes, origin: str, limit: int = SHORT) -> Shown | None:
    """Return the columns of a line that a role sees; None when it is no entry."""
    row = row_of(line, origin)
    return None if row is None else shown_event(row, limit)


def shown_event(row: Shown, limit: int = SHORT) -> Shown:
    """Return what is known of an event, by column. `limit` is that of each text."""
    return {
        name: json_value(value, limit)
        for name, value in row.items()
        if value is not None and not (name == "erased" and value is False)
        and not (name == "policy_decision" and value == "n/a")
    }  # fmt: skip


def json_value(value: Any, limit: int = SHORT) -> Any:
    """Return a value of a query as JSON has it; what has no form there is text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, datetime):
        return trail_time(value) if value.tzinfo is not None else value.isoformat()
    if isinstance(value, int):
        return value if -(2**53) <= value <= 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {plain(str(key), limit): json_value(item, limit) for key, item in list(value.items())[:limit]}
    if isinstance(value, list | tuple):
        return plain_value([json_value(item, limit) for item in value[: limit + 1]], limit)
    return plain(value if isinstance(value, str) else str(value), limit)


# --- size ---------------------------------------------------------------------------------------------------


def size_of(value: Any) -> int:
    """Return how many bytes a value has as JSON."""
    return len(orjson.dumps(value))


def fitting(items: Sequence[Any], room: int) -> list[Any]:
    """Return as many of the first items as there is room for, the first one whatever it is."""
    kept: list[Any] = []
    used = OVERHEAD
    for item in items:
        used += size_of(item) + 1
        if kept and used > room:
            break
        kept.append(item)
    if len(kept) == 1:
        kept[0] = fitted(kept[0], room)
    return kept


def fitted(item: Any, room: int) -> Any:
    """Return an item, an event or a row, with its texts cut until it fits."""
    for limit in SHORTER:
        if size_of(item) + OVERHEAD <= room:
            return item
        if isinstance(item, dict):
            item = {name: value if name in WHOLE else _cut(value, limit) for name, value in item.items()}
        elif isinstance(item, list):
            item = [_cut(value, limit) for value in item]
        else:
            item = _cut(item, limit)
    if isinstance(item, list) and size_of(item) + OVERHEAD > room:
        return ["…"] * len(item)
    return item


def _cut(value: Any, limit: int) -> Any:
    """Return a value of an answer, which is plain already, as a shorter one."""
    if isinstance(value, list | dict):
        text = orjson.dumps(value).decode()
        return value if len(text) <= limit else f"{text[:limit]}…"
    return value if not isinstance(value, str) or len(value) <= limit else f"{value[:limit]}…"


def noted(**answer: Any) -> Shown:
    """Return an answer with the note about its values in front."""
    return {"note": NOTE, **answer}
