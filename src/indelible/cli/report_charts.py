"""The charts of a report's page: SVG in the page itself, no script, nothing loaded.

Every chart is drawn of rows that stand in a table beside it, so that nothing can be seen in it that cannot be read.
Its words are ours; its values are numbers and times, never a text of a caller's.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from indelible.cli.report_values import BUCKETS

WIDTH: Final = 720
HEIGHT: Final = 200
LEFT: Final = 56
"""Room for the numbers of the scale."""
BOTTOM: Final = 28
TOP: Final = 8
"""Units of the drawing; the page scales it to its width."""

LINES: Final = 4
"""So many lines of the scale above zero, at the most."""

LABELS: Final = 6
"""So many times are written below, at the most."""


class Bar(NamedTuple):
    """One stretch of time: its beginning, all calls of it, and those of them that ended with an error."""

    start: datetime
    calls: int
    errors: int


def activity(rows: Sequence[dict[str, Any]], since: datetime, until: datetime, bucket: str) -> str:
    """Return the chart of calls over a period; stretches without any are empty."""
    bars = [Bar(row["start"], row["calls"], row["errors"]) for row in rows]
    most = max((bar.calls for bar in bars), default=0)
    if not most:
        return ""
    top = _scale(most)
    long = _length(bucket)
    first = min([since, *(bar.start for bar in bars)])
    span = max((until - first).total_seconds(), long.total_seconds())
    drawn = []
    for bar in bars:
        x = LEFT + (WIDTH - LEFT) * (bar.start - first).total_seconds() / span
        wide = max((WIDTH - LEFT) * min(long, until - bar.start).total_seconds() / span * 0.86, 0.5)
        drawn.append(_bar(bar, x, wide, top, bucket))
    total, errors = sum(bar.calls for bar in bars), sum(bar.errors for bar in bars)
    title = f"Calls by {bucket}: {total:,}, of which {errors:,} ended with an error"
    about = f"At most {most:,} in one {bucket}. The table below has the same figures."
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="activity-title activity-about">'
        f'<title id="activity-title">{html.escape(title)}</title><desc id="activity-about">{html.escape(about)}</desc>'
        f"{_grid(top)}{''.join(drawn)}{_times(first, span, bucket)}</svg>\n"
        f'<p class="legend">{_key("ok")} without an error {_key("bad")} ended with an error</p>\n'
    )


def _key(kind: str) -> str:
    rect = f'<rect class="{kind}" width="10" height="10"/>'
    return f'<svg class="key" viewBox="0 0 10 10" aria-hidden="true">{rect}</svg>'


def _length(bucket: str) -> timedelta:
    return {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}.get(
        bucket, timedelta(days=30)
    )


def _scale(most: int) -> int:
    """Return the least round number (1, 2, 4, 5 or 10 times a power of ten) that is not below the most."""
    power: int = 10 ** (len(str(most)) - 1)
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= most)


def _height(value: float, top: int) -> float:
    return (HEIGHT - BOTTOM - TOP) * value / top


def _bar(bar: Bar, x: float, wide: float, top: int, bucket: str) -> str:
    base = HEIGHT - BOTTOM
    good, bad = _height(bar.calls - bar.errors, top), _height(bar.errors, top)
    when = bar.start.isoformat(" ")[: BUCKETS[bucket]]
    said = html.escape(f"{when}: {bar.calls:,} calls, {bar.errors:,} errors")
    rects = f'<rect class="ok" x="{x:.2f}" y="{base - good:.2f}" width="{wide:.2f}" height="{good:.2f}"/>'
    if bar.errors:
        rects += (
            f'<rect class="bad" x="{x:.2f}" y="{base - good - bad:.2f}" width="{wide:.2f}" height="{bad:.2f}"/>'
        )
    return f"<g><title>{said}</title>{rects}</g>"


def _grid(top: int) -> str:
    step = next(top // count for count in (LINES, 2, 1) if top % count == 0)
    drawn = []
    for value in range(0, top + 1, step):
        y = HEIGHT - BOTTOM - _height(value, top)
        drawn.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.2f}" y2="{y:.2f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 3.5:.2f}" text-anchor="end">{_short(value)}</text>'
        )
    return "".join(drawn)


def _short(value: int) -> str:
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if value >= size:
            unit = 1000 if sign == "k" else size
            return f"{value / unit:g} {sign}"
    return str(value)


def _times(first: datetime, span: float, bucket: str) -> str:
    length = {"hour": 16, "month": 7}.get(bucket, 10)
    drawn = []
    for at in range(LABELS):
        share = at / LABELS
        when = (first + timedelta(seconds=span * share)).isoformat(" ")[:length]
        drawn.append(f'<text x="{LEFT + (WIDTH - LEFT) * share:.2f}" y="{HEIGHT - 8}">{when}</text>')
    return "".join(drawn)


def share(value: float, most: float, *, bad: bool = False) -> str:
    """Return a bar of a table's row: how much a value is of the greatest. The row itself says the number."""
    wide = 0.0 if most <= 0 else max(min(100.0 * value / most, 100.0), 0.0)
    return (
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{"bad" if bad else "ok"}" width="{wide:.2f}" height="10"/></svg>'
    )
