"""Twins against their lines: each one's rows once more of the lines, and compared. Nothing is written.

A twin that does not fit its file any more is none, and no finding: nobody asks it. One that fits and says otherwise is:
somebody has changed it, or the disk has. What is found is in the twin; the lines are `indelible verify`'s to judge.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from indelible.query.engine import twinned
from indelible.query.engine.asking import ALL
from indelible.query.engine.connection import Connection
from indelible.query.engine.making import CAPS, Progress
from indelible.query.engine.parts import WHOLE, Part, Range
from indelible.query.engine.relations import literal
from indelible.query.engine.twinned import Cover, Rows
from indelible.query.search import Corrupt, TrailSearch
from indelible.trail.layout import Layout

OTHER: Final = "the twin says something else than its lines"
UNREADABLE: Final = "the twin cannot be read"
NOT_PLAIN: Final = "the twin has rows of lines that have to be read one by one"


class Checked(NamedTuple):
    """What came of it."""

    checked: int
    findings: list[dict[str, Any]]


def check(path: Path, progress: Callable[[int], Progress]) -> Checked:
    """Compare every twin of a trail that fits with its lines. Raises TrailError."""
    findings: list[dict[str, Any]] = []
    with TrailSearch(path, ALL, Corrupt()) as search, contextlib.ExitStack() as stack:
        cover = Cover(search, Layout(path))
        found = []
        for order in range(len(search.files)):
            pieces = cover.pieces(order)
            stack.callback(twinned.close, pieces)
            found += [piece for piece in pieces if isinstance(piece, Rows)]
        step = progress(sum(one.twin.stop - one.twin.begin for one in found))
        for one in found:
            problem = _problem(search, one)
            if problem is not None:
                about = {"file": f"{one.twin.name}.parquet", "first": one.twin.first, "last": one.twin.end - 1}
                findings.append({"problem": problem, **about})
            step(one.twin.stop - one.twin.begin)
    return Checked(len(found), findings)


def _problem(search: TrailSearch, one: Rows) -> str | None:
    twin = one.twin
    span = WHOLE if twin.ends is None else Range(twin.begin, twin.stop)
    part = Part(search, one.order, one.file, twin.end, span)
    with contextlib.closing(part), Connection([*part.paths(), one.path], CAPS) as connection:
        part.settle(connection, Corrupt())
        if not part.is_plain:
            return NOT_PLAIN
        names = ", ".join(f'"{name}"' for name in twinned.NAMES)
        lines = connection.trial(_digest(names, f"({part.rows()})"))
        rows = connection.trial(_digest(names, f"read_parquet({literal(one.path)})"))
    return UNREADABLE if rows is None else None if rows == lines else OTHER


def _digest(names: str, relation: str) -> str:
    """Return a query for what stands for rows, whatever their order; the seq is in each."""
    return f"SELECT count(*), sum(hash({names})), bit_xor(hash({names}, 1)) FROM {relation}"
