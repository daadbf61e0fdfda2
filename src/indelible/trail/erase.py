"""Erase the content of events, and leave every proof valid: the steps, in the one order that a crash cannot spoil.

What may not move:

1. Everything is sealed, and the active file closed when it holds a line that is meant: only sealed lines of closed files
   are ever changed, and of those only the bytes, never the leaf.
2. The file `erasing` says what is to go, signed by the trail's key, and is on the disk.
3. `entry_erased` events say which lines go, who asked and why; a checkpoint covers them.
4. The lines go, file by file (see `rewrite`), then what lies elsewhere (see `traces.places`).
5. `erasing` goes.

A crash before 2 leaves everything as it was. After it the next start does 3 to 5 again, each of which may be done twice:
events that are in the trail already are not written again, lines that are erased already stay as they are. So between 2
and 5 the content may still be there, and never is it gone without a record. Whoever could write `erasing` could have the
writer sign a record and erase lines, hence the signature.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import orjson

from indelible import events
from indelible.errors import ConfigError, NoteError, NotProven, TrailCorrupt, TrailError, TrailUnavailable
from indelible.trail import durable, files, keys
from indelible.trail.checkpoint import open_note
from indelible.trail.commit import Item
from indelible.trail.entry import parse_line
from indelible.trail.erased import MAX_RANGES, RECORD, Range, Selector
from indelible.trail.layout import Layout
from indelible.trail.reader import Lines, Snapshot
from indelible.trail.rewrite import Mark, rewrite, rewrite_loose
from indelible.trail.traces import Found, Held, Moment, find, leftovers, nobody_holds, places
from indelible.trail.verify import ERASING

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.files import TrailFile
    from indelible.trail.writer import Writer

_NOTE_HEAD: Final = "indelible: an erasure that is under way\n"
"""The signed text's first line: no checkpoint can begin with it, since no origin ends in these words."""

MAX_REASON_CHARS: Final = 500


class Erase(msgspec.Struct, tag_field="order", tag="erase", frozen=True, kw_only=True, omit_defaults=True):
    """Erase the content of a user's or a session's events, or of single ones."""

    id: str
    """A UUID of the order's own: given again, after the holder died, it is known by it."""
    by: Literal["user", "session", "event"]
    values: list[str]
    reason: str
    """Redacted already."""
    login: str = ""
    """Who asks, by the operating system's name."""
    dry_run: bool = False


class _Part(msgspec.Struct, frozen=True):
    """The lines of one trail that go: ranges of seqs, each with the `event_id` of the record that names it."""

    origin: str | None
    """None for the trail itself."""
    marks: list[tuple[int, int, str]]


class _Plan(msgspec.Struct, frozen=True):
    """What `erasing` says."""

    id: str
    by: Literal["user", "session", "event"]
    values: list[str]
    """What is meant in places that are no trail's: of single events only their ids."""
    size: int
    """The records are at this seq or later."""
    parts: list[_Part]
    records: list[str]
    """The events that say so, as JSON, in order."""


# --- an order ---------------------------------------------------------------------------------------------------


def erase(writer: Writer, order: Erase, uid: int, held: Held = nobody_holds) -> dict[str, Any]:
    """Erase what is meant and return what became of it; `held` tells under which hold an event is.

    An event under a hold, or one that the trail needs to be read, is refused: then nothing is erased, and the result
    says so (`refused`). Raises ConfigError for an order that cannot be, TrailError for what could not be done; when the
    record was made by then, it says that the rest is done later.
    """
    _check(order)
    resume(writer)
    moment = Moment(*writer.moment())
    writer.seal()
    founds = list(_find(writer, order, moment, held))
    result = _result(writer, order, founds)
    if order.dry_run or result["refused"] or not result["erased"]:
        return result
    if founds[0].in_active:
        writer.rotate()
        writer.seal()
    plan = _plan(writer, order, uid, founds)
    _write_plan(writer, plan)
    try:
        _record(writer, plan)
    except (OSError, TrailUnavailable) as exc:
        raise _unfinished(writer, exc) from exc
    result |= _go(writer, plan)
    return result


def resume(writer: Writer) -> bool:
    """Finish an erasure that was cut off; tell whether there was one. Raises TrailError."""
    plan = _read_plan(writer)
    if plan is None:
        return False
    try:
        _record(writer, plan)
    except (OSError, TrailUnavailable) as exc:
        raise _unfinished(writer, exc) from exc
    _go(writer, plan)
    return True


def _check(order: Erase) -> None:
    if not order.values or not all(order.values):
        msg = "erase: expected a user, a session or an event"
        raise ConfigError(msg)
    if not order.reason.strip():
        msg = "erase: expected a reason: it stays in the trail"
        raise ConfigError(msg)


def _find(writer: Writer, order: Erase, moment: Moment, held: Held) -> Iterator[Found]:
    """Yield what is meant in the trail, then in the earlier ones that were set aside."""
    selector = Selector(order.by, order.values)
    for layout in places(writer.layout).trails:
        if layout is not writer.layout and layout.active != writer.layout.active:
            moment = Moment(2**53, frozenset())
            if order.by == "event":  # a seq is one of the trail itself
                selector = Selector("event", [value for value in order.values if not value.isdigit()])
        if selector.values:
            yield find(layout, selector, moment, held, order.id)


def _result(writer: Writer, order: Erase, founds: list[Found]) -> dict[str, Any]:
    """Return what an erasure comes to, or would."""
    held: dict[str, int] = {}
    types: dict[str, int] = {}
    for found in founds:
        held = _added(held, found.held)
        types = _added(types, found.types)
    refused = "held" if held else "lasting" if order.by == "event" and founds[0].lasting else None
    count = sum(found.count for found in founds)
    return {
        "trail": str(writer.layout.active),
        "dry_run": order.dry_run,
        "refused": refused,
        "erased": 0 if refused else count,
        "erased_before": founds[0].told_before,
        "events": types,
        "seqs": [list(pair) for pair in founds[0].seqs],
        "earlier_trails": sum(found.count for found in founds[1:]),
        "held": held,
        "lasting": sum(found.lasting for found in founds),
        "under_way": founds[0].under_way,
        "loose": 0,
        "records": [],
    }


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


# --- the plan -----------------------------------------------------------------------------------------------------


def _plan(writer: Writer, order: Erase, uid: int, founds: list[Found]) -> _Plan:
    parts, records = [], []
    about = _about(writer, order, uid)
    for found in founds:
        if not found.count:
            continue
        origin = None if found is founds[0] else keys.read_origin(found.layout)
        ranges = list(found.seqs)
        marks: list[tuple[int, int, str]] = []
        for at in range(0, len(ranges), MAX_RANGES):
            some = ranges[at : at + MAX_RANGES]
            event_id, body = _record_of(writer, about, some, origin)
            records.append(body)
            marks += [(first, last, event_id) for first, last in some]
        parts.append(_Part(origin, marks))
    values = order.values
    if order.by == "event":
        values = [*(value for value in values if not value.isdigit()), *(key for one in founds for key in one.ids)]
    return _Plan(order.id, order.by, sorted(set(values)), writer.size, parts, records)


def _about(writer: Writer, order: Erase, uid: int) -> dict[str, Any]:
    """Return what every record of an erasure says: nothing that tells whose content it was to who has not the key."""
    from indelible.redact.digest import Digester

    key, key_id = keys.derive_erasure_key(keys.open_digest_secret(writer.layout))
    selector = Selector(order.by, order.values)
    asker: dict[str, Any] = {"uid": uid}
    if order.login and selector.hide(order.login) == order.login:
        asker["login"] = order.login
    values = sorted(set(order.values))
    return {
        "erasure": order.id,
        "by": order.by,
        "hmac": [Digester(key).hex(value.encode("utf-8", "surrogatepass")) for value in values],
        "hmac_key_id": key_id,
        "reason": selector.hide(order.reason)[:MAX_REASON_CHARS],
        "requested_by": asker,
    }


def _record_of(writer: Writer, about: dict[str, Any], some: list[Range], origin: str | None) -> tuple[str, str]:
    lines = sum(last - first + 1 for first, last in some)
    metadata = {"erased": [list(pair) for pair in some], "lines": lines, **about}
    body = writer.service_event(RECORD, {**metadata, "origin": origin} if origin else metadata).body
    return str(orjson.loads(body)["event_id"]), body.decode()


def _path(layout: Layout) -> Path:
    return layout.directory / ERASING


def _write_plan(writer: Writer, plan: _Plan) -> None:
    try:
        note = writer.signer.sign(_NOTE_HEAD + writer.origin + "\n" + msgspec.json.encode(plan).decode() + "\n")
        durable.replace_file(_path(writer.layout), note.encode(), durable.Access())
    except OSError as exc:
        with contextlib.suppress(OSError):
            _path(writer.layout).unlink()
        msg = f"{exc.filename or _path(writer.layout)}: {exc.strerror or exc}; nothing was erased"
        raise TrailError(msg) from exc


def _read_plan(writer: Writer) -> _Plan | None:
    """Return the plan of an erasure that was cut off, or None. Raises TrailCorrupt for one that we have not signed."""
    path = _path(writer.layout)
    try:
        note = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        msg = f"{path}: {exc.strerror}"
        raise TrailError(msg) from exc
    try:
        text = open_note(note, [writer.signer.verifier])
        head, origin, plan = text.split("\n", 2)
        if head + "\n" != _NOTE_HEAD or origin != writer.origin:
            raise ValueError
        return msgspec.json.decode(plan, type=_Plan)
    except (NoteError, ValueError) as exc:
        msg = f"{path}: is no plan of an erasure that this trail has signed; nothing is erased; take it away"
        raise TrailCorrupt(msg) from exc


def _unfinished(writer: Writer, exc: Exception) -> TrailError:
    why = (exc.strerror if isinstance(exc, OSError) else None) or exc
    where = getattr(exc, "filename", None) or writer.layout.active
    return TrailError(f"{where}: {why}; the erasure is not finished: whoever writes the trail next does it")


# --- what is done, as often as it takes ---------------------------------------------------------------------------


def _record(writer: Writer, plan: _Plan) -> None:
    """Have the records in the trail, and sealed."""
    there = _ids_from(writer.layout, plan.size)
    items = [Item(body.encode()) for body in plan.records if orjson.loads(body)["event_id"] not in there]
    if items:
        writer.write_service_events(items)
    writer.seal()


def _ids_from(layout: Layout, seq: int) -> set[str]:
    """Return the ids of the records at `seq` or later."""
    found = set()
    with Snapshot(layout) as snapshot:
        starts = [file.named_seq for file in snapshot.files]
        for file, end in zip(snapshot.files, [*starts[1:], None], strict=True):
            if end is not None and end <= seq:
                continue
            with file.open() as stream:
                for lines, raw in Lines(stream):
                    if RECORD.encode() not in raw:
                        continue
                    for line in lines:
                        entry = (parse_line(line) or {}) if RECORD.encode() in line else {}
                        if entry.get("event_type") == RECORD and int(entry["seq"]) >= seq:
                            found.add(str(entry.get("event_id")))
    return found


def _go(writer: Writer, plan: _Plan) -> dict[str, Any]:
    """Have the content gone everywhere, then the plan. Raises TrailError; then the plan stays."""
    try:
        all_places = places(writer.layout)
        of = {None if place is writer.layout else keys.read_origin(place): place for place in all_places.trails}
        of[None] = writer.layout
        changed = 0
        for part in plan.parts:
            if part.origin in of:
                changed += _rewrite_trail(writer, of[part.origin], [Mark(*mark) for mark in part.marks])
        loose = _rewrite_loose(writer, plan, all_places.loose)
        _forget_ids(plan, all_places.ids)
        for path in leftovers(writer.layout):
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            _path(writer.layout).unlink()
            durable.sync_directory(writer.layout.directory)
    except OSError as exc:
        raise _unfinished(writer, exc) from exc
    except TrailCorrupt as exc:
        msg = f"{exc}; the erasure is not finished"
        raise TrailCorrupt(msg) from exc
    return {"loose": loose, "lines": changed, "records": [orjson.loads(body)["event_id"] for body in plan.records]}
