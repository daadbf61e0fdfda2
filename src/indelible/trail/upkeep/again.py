"""What a backup brings back of what was erased since, erased again.

The rule that lives here: (origin, seq) is one event, wherever it lies, so a sealed record that its content goes is
about every copy of it. A record counts when the trail in which it stands has it under a checkpoint that a key at hand
has signed, and the trail's key has signed the record itself: whoever could have made one up could have lines erased.

What a hold is about by now stays. For the rest it is an erasure like any other (see `erase`): with a plan, and the same
records, repeated as of an earlier trail. What was set aside as no line is not reached: a record does not say whose
content it was.
"""

from __future__ import annotations

import contextlib
import logging
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from indelible import events
from indelible.errors import TrailError
from indelible.trail import files
from indelible.trail.entry import line_seq, parse_line
from indelible.trail.erased import RECORD, Selector, record_in
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.stored import open_sealed, own_words
from indelible.trail.start import keys
from indelible.trail.upkeep import plans
from indelible.trail.upkeep.facts import whole_lines
from indelible.trail.upkeep.plans import Part, Plan
from indelible.trail.upkeep.rewrite import Mark, standing
from indelible.trail.upkeep.traces import places

if TYPE_CHECKING:
    from indelible.trail.layout import Layout
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

_RECORD: Final = RECORD.encode()

Records = dict[str, dict[str, tuple[dict[str, Any], list[Mark]]]]
"""By the origin that they are about, then by `event_id`: the record, and what it says goes."""


def plan_again(writer: Writer) -> Plan | None:
    """Return what has to be erased again in earlier trails; None when there is nothing. Raises TrailError, OSError."""
    trails = places(writer.layout).trails
    if len(trails) == 1:
        return None
    writer.seal()
    known: Records = {}
    for place in trails:
        for origin, record in _sealed_records(writer, place):
            found = record_in(record)
            if found is not None:
                marks = [Mark(first, last, found.event_id) for first, last in found.ranges]
                known.setdefault(found.origin or origin, {}).setdefault(found.event_id, (record, marks))
    parts: list[Part] = []
    bodies: dict[str, str] = {}
    for place in trails[1:]:
        about = known.get(keys.read_origin(place) or "", {})
        marks = _apart(mark for _, some in about.values() for mark in some)
        if marks and any(standing(file, marks) for file in files.oldest_first(place)):
            hold = _hold_on(writer, place, marks)
            if hold is not None:
                log.warning(
                    "%s: holds content that was erased since it was copied, and that is under hold %s: it stays",
                    place.active, hold,
                )  # fmt: skip
                continue
            parts.append(
                Part(place.active.parent.name, [(mark.first, mark.last, mark.record) for mark in marks])
            )
            bodies |= {one: _as_of(record, place) for one, (record, _) in about.items()}
    if not parts:
        return None
    return Plan(events.new_id(), Selector("event", []), [], 0, parts, list(bodies.values()))


def _hold_on(writer: Writer, place: Layout, marks: list[Mark]) -> str | None:
    """Return the id of a hold under which one of the marked lines is, or None."""
    firsts = [mark.first for mark in marks]
    for file in files.oldest_first(place):
        with files.open_file(file) as stream:
            for _, line, whole in files.iter_lines(stream):
                seq = line_seq(line) if whole else None
                at = -1 if seq is None else bisect_right(firsts, seq) - 1
                if seq is not None and at >= 0 and seq <= marks[at].last:
                    hold = writer.housekeeper.holds.held(parse_line(line) or {})
                    if hold is not None:
                        return hold
    return None


def _sealed_records(writer: Writer, place: Layout) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the origin of a trail with each record in it that is sealed by a key at hand."""
    origin = keys.read_origin(place)
    if origin is None:
        return
    with contextlib.suppress(TrailError):
        verifiers = writer.signer.verifiers
        if place.directory != writer.layout.directory:
            verifiers = [one.verifier for one in keys.read_source(writer.layout, writer.audit, origin)]
        sealed = open_sealed(place.active, verifiers[0])
        own = own_words(place, verifiers[0])
        for file in files.oldest_first(place):
            for block in whole_lines(file):
                for line in block.splitlines() if _RECORD in block else ():
                    entry = (parse_line(line) if _RECORD in line else None) or {}
                    seq = entry.get("seq")
                    if entry.get("event_type") != RECORD or type(seq) is not int:
                        continue
                    if (
                        own.has(entry)
                        and sealed.tiles.leaf(seq) == leaf_hash(line)
                        and sealed.tiles.trusted(0, seq >> 8)
                    ):
                        yield origin, entry


def _apart(marks: Iterator[Mark]) -> list[Mark]:
    """Return marks in order, none of which reaches into another."""
    found: list[Mark] = []
    for mark in sorted(marks):
        first = max(mark.first, found[-1].last + 1) if found else mark.first
        if first <= mark.last:
            found.append(mark._replace(first=first))
    return found


def _as_of(record: dict[str, Any], place: Layout) -> str:
    """Return the body of a record as it is repeated in the trail that follows."""
    metadata = {**record["metadata"]}
    metadata.setdefault("origin", keys.read_origin(place))
    body = {key: value for key, value in record.items() if key not in ("seq", "schema", "recorded_at")}
    return orjson.dumps({**body, "metadata": metadata}).decode()


def erase_again(writer: Writer) -> int:
    """Erase again what a copy has brought back; return in how many earlier trails. Raises TrailError, OSError."""
    from indelible.trail.upkeep.erase import carry_out, resume

    resume(writer)
    plan = plan_again(writer)
    if plan is None:
        return 0
    plans.write(writer, plan)
    carry_out(writer, plan)
    return len(plan.parts)
