"""Erase the content of events, and leave every proof valid: the steps, in the one order that a crash cannot spoil.

What may not move:

1. Everything is sealed, and the active file closed when it holds a line that is meant: only sealed lines of closed
   files are ever changed, and of those only the bytes, never the leaf.
2. The file `erasing` says what is to go, signed by the trail's key, and is on the disk (see `plans`).
3. `entry_erased` events say which lines go, who asked and why; a checkpoint covers them.
4. The lines go, file by file (see `rewrite`), then what lies elsewhere (see `traces.places`).
   Twins of these lines go before 3: nothing is lost with them, and none is made until 4 is done.
5. `erasing` goes.

A crash before 2 leaves everything as it was. After it the next start does 3 to 5 again, each of which may be done
twice: events that are in the trail already are not written again, lines that are erased already stay as they are. So
between 2 and 5 the content may still be there, and never is it gone without a record. When the trail was set aside
meanwhile, its successor does that: it records what goes as of an earlier trail, in its own lines.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from indelible.errors import ConfigError, TrailCorrupt, TrailError, TrailUnavailable
from indelible.events import MAX_BODY_BYTES
from indelible.trail import durable, files, twins
from indelible.trail.commit import OwnWord
from indelible.trail.entry import parse_line
from indelible.trail.erased import MAX_RANGES, RECORD, Range, Selector
from indelible.trail.files import TrailFile
from indelible.trail.proofs.stored import own_words
from indelible.trail.reader import Lines, Snapshot
from indelible.trail.shipping import letters
from indelible.trail.start import keys
from indelible.trail.twins import TwinsBusyError
from indelible.trail.upkeep import plans
from indelible.trail.upkeep.holds import describe_asker
from indelible.trail.upkeep.plans import Part, Plan, Unfinished
from indelible.trail.upkeep.rewrite import Mark, pieces, rewrite, rewrite_loose
from indelible.trail.upkeep.standing import Standing, read_cache
from indelible.trail.upkeep.traces import Found, Held, Moment, find, leftovers, nobody_holds, places

if TYPE_CHECKING:
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.ownwords import OwnWords
    from indelible.trail.upkeep.orders import Asker, Erase
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

_RECORD: Final = RECORD.encode()

_told: Final[set[Path]] = set()
"""Plans that nobody can believe, and of which this process has said so."""

MAX_REASON_CHARS: Final = 500

MAX_VALUES: Final = 200
"""Events that are named one by one: with their digests, the most ranges and the longest reason a record fits a line."""


# --- an order ---------------------------------------------------------------------------------------------------


def erase(writer: Writer, order: Erase, asker: Asker, held: Held = nobody_holds) -> dict[str, Any]:
    """Erase what is meant and return what became of it; `held` tells under which hold an event is.

    Nothing is erased, and `refused` says why, when one of the events is under a hold, or is asked for by itself and is
    one that the trail needs to be read. Raises ConfigError for an order that cannot be, TrailError for what could not
    be done: when that was after the plan was made, the rest is done later, and the message says so.
    """
    _check(order)
    resume(writer)
    moment = Moment(*writer.moment())
    writer.seal()
    founds = list(_find(writer, order, moment, held))
    ids = [event_id for found in founds for event_id in found.ids]
    loose, held_loose = _count_loose(writer, _meant(_elsewhere(order), ids), held)
    result = _result(writer, order, founds, loose, held_loose)
    if order.dry_run or not (result["lines"] or result["loose"]):
        return result
    if founds[0].in_active:
        writer.rotate()
        writer.seal()
    plan = _plan(writer, order, asker, founds, loose)
    plans.write(writer, plan)
    return {**result, "records": carry_out(writer, plan)}


def resume(writer: Writer) -> bool:
    """Finish what was cut off, here or in a trail that was set aside meanwhile; tell whether there was anything.

    Raises TrailError.
    """
    plan = plans.read(writer.layout, writer.origin, writer.signer.verifiers)
    if plan is not None:
        carry_out(writer, plan)
    left, unknown = plans.unfinished(writer)
    for one in left:
        carry_out(writer, _taken_over(writer, one), one.home)
    for path in unknown if not _told.issuperset(unknown) else ():
        _told.add(path)
        log.warning(
            "%s: an erasure was not finished when this trail was set aside, and no key at hand has signed its plan:"
            " give the order again, or take the file away", path,
        )  # fmt: skip
    return plan is not None or bool(left)


def _taken_over(writer: Writer, left: Unfinished) -> Plan:
    """Return the plan of a trail that was set aside, as its successor carries it out.

    The records are the same, by `event_id`, wherever the earlier trail got: here they say in whose lines. All that lies
    there under the same origin is the same trail, such as a backup of it.
    """
    told = [orjson.loads(body) for body in left.plan.records]
    for record in told:
        record["metadata"].setdefault("origin", left.origin)
    origins = {str(record["event_id"]): str(record["metadata"]["origin"]) for record in told}
    parts = []
    for place in places(writer.layout).trails[1:]:
        name = place.active.parent.name
        origin = keys.read_origin(place) or name
        marks = [mark for part in left.plan.parts for mark in part.marks if origins.get(mark[2]) == origin]
        if marks:
            parts.append(Part(name, sorted(set(marks))))
    bodies = [orjson.dumps(record).decode() for record in told]
    return msgspec.structs.replace(left.plan, size=0, parts=parts, records=bodies)


def _check(order: Erase) -> None:
    if not order.values or not all(order.values):
        msg = "erase: expected a user, a session or an event"
        raise ConfigError(msg)
    if len(order.values) > MAX_VALUES:
        msg = f"erase: {len(order.values)} events are named; at most {MAX_VALUES} go into one record"
        raise ConfigError(msg)
    if not order.reason.strip():
        msg = "erase: expected a reason: it stays in the trail"
        raise ConfigError(msg)


def _find(writer: Writer, order: Erase, moment: Moment, held: Held) -> Iterator[Found]:
    """Yield what is meant in the trail, then in the earlier ones that were set aside."""
    all_places = places(writer.layout)
    letter_ids = (letter.event_id for home in _letter_homes(writer.layout) for letter in letters.read(home))
    noted = frozenset(filter(None, [*map(_noted, all_places.ids), *letter_ids]))
    yield find(writer.layout, Selector(order.by, order.values), moment, held, order.id, noted)
    selector = _elsewhere(order)
    for layout in all_places.trails[1:] if selector.values else []:
        yield find(layout, selector, Moment(2**53, frozenset()), held, order.id, noted)


def _elsewhere(order: Erase) -> Selector:
    """Return what is meant in other places than the trail itself: a seq is one of the trail's."""
    if order.by != "event":
        return Selector(order.by, order.values)
    return Selector("event", [value for value in order.values if not value.isdigit()])


def _noted(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(64).decode(errors="replace").strip()
    except OSError:
        return ""


def _result(
    writer: Writer, order: Erase, founds: list[Found], loose: int, held_loose: dict[str, int]
) -> dict[str, Any]:
    """Return what an erasure comes to, or would."""
    held, types = held_loose, dict[str, int]()
    for found in founds:
        held, types = _added(held, found.held), _added(types, found.types)
    lasting = sum(found.lasting for found in founds)
    refused = "held" if held else "lasting" if order.by == "event" and lasting else None
    return {
        "trail": str(writer.layout.active),
        "dry_run": order.dry_run,
        "refused": refused,
        "lines": 0 if refused else sum(found.count for found in founds),
        "of_earlier_trails": sum(found.count for found in founds[1:]),
        "loose": 0 if refused else loose,
        "events": types,
        "seqs": [list(pair) for pair in founds[0].seqs],
        "held": held,
        "lasting": lasting,
        "under_way": founds[0].under_way,
        "lines_before": founds[0].told_before,
        "records": [],
    }


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


# --- what is no line of a trail -----------------------------------------------------------------------------------


def _meant(selector: Selector, ids: list[str]) -> Callable[[bytes], bool]:
    """Return a function that tells whether a piece of a file is of an event that is meant.

    What can be read as an event is; of a torn one it is enough that a value that is meant stands in it.
    """
    ours = Selector("event", ids)
    needles = [*(selector.needles() if selector.values else ()), *ours.needles()]

    def meant(piece: bytes) -> bool:
        entry = _event(piece)
        if entry is None:
            return any(needle in piece for needle in needles)
        return selector.means(entry) or ours.means(entry)

    return meant


def _event(piece: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(piece) if piece[:1] == b"{" else None
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) and "event_type" in entry else None


def _count_loose(writer: Writer, meant: Callable[[bytes], bool], held: Held) -> tuple[int, dict[str, int]]:
    """Return how many pieces are meant, and how many of them are under which hold."""
    count, holds = 0, dict[str, int]()
    for path in places(writer.layout).loose:
        for piece in pieces(path):
            if not meant(piece):
                continue
            count += 1
            hold = held(_event(piece) or {})
            if hold is not None:
                holds[hold] = holds.get(hold, 0) + 1
    return count, holds


# --- the plan -----------------------------------------------------------------------------------------------------


def _plan(writer: Writer, order: Erase, asker: Asker, founds: list[Found], loose: int) -> Plan:
    about = _about(writer, order, asker)
    parts: list[Part] = []
    records: list[str] = []
    for found in founds:
        place = None if found is founds[0] else found.layout.active.parent.name
        origin = None if place is None else keys.read_origin(found.layout) or place
        ranges = list(found.seqs)
        marks: list[tuple[int, int, str]] = []
        for at in range(0, len(ranges), MAX_RANGES):
            some = ranges[at : at + MAX_RANGES]
            event_id, body = _record_of(writer, about, some, origin, 0 if records else loose)
            records.append(body)
            marks += [(first, last, event_id) for first, last in some]
        parts.append(Part(place, marks))
    if not records:
        records.append(_record_of(writer, about, [], None, loose)[1])
    ids = sorted({event_id for found in founds for event_id in found.ids})
    return Plan(order.id, _elsewhere(order), ids, writer.size, parts, records)


def _about(writer: Writer, order: Erase, asker: Asker) -> dict[str, Any]:
    """Return what every record of an erasure says: nothing that tells whose content it was to who has not the key."""
    key, key_id = keys.derive_erasure_key(keys.open_digest_secret(writer.layout))
    selector = Selector(order.by, order.values)
    asked = describe_asker(asker)
    if selector.hide(asked["login"]) != asked["login"]:  # somebody erases themself
        del asked["login"]
    return {
        "erasure": order.id,
        "by": order.by,
        "hmac": sorted(hmac.new(key, value.encode(), sha256).hexdigest() for value in set(order.values)),
        "hmac_key_id": key_id,
        "reason": selector.hide(order.reason)[:MAX_REASON_CHARS],
        "asked": asked,
    }


def _record_of(
    writer: Writer, about: dict[str, Any], some: list[Range], origin: str | None, loose: int
) -> tuple[str, str]:
    """Return the `event_id` and the body of the event that says that these ranges go."""
    metadata: dict[str, Any] = {
        "erased": [list(pair) for pair in some],
        "lines": sum(last - first + 1 for first, last in some),
    }
    if origin is not None:
        metadata["origin"] = origin
    if loose:
        metadata["loose"] = loose
    body = writer.service_event(RECORD, {**metadata, **about}).body
    if len(body) > MAX_BODY_BYTES:  # no reader would take it for a line
        msg = f"{writer.layout.active}: the record of the erasure does not fit a line; nothing was erased"
        raise TrailError(msg)
    return str(orjson.loads(body)["event_id"]), body.decode()


# --- what is done, as often as it takes ---------------------------------------------------------------------------


def carry_out(writer: Writer, plan: Plan, home: Layout | None = None) -> list[str]:
    """Do all that a plan says and return the ids of its records; what fails leaves the plan for the next attempt.

    `home` is where the plan stands, when a trail that was set aside has it.
    """
    records = [str(orjson.loads(body)["event_id"]) for body in plan.records]
    try:
        with (
            writer.housekeeper.erasing,
            _without_twins(writer, plan),
        ):  # a restore does so on its own thread, too
            _record(writer, plan, records)
            _go(writer, plan, records[0])
            _done(writer.layout if home is None else home)
    except (OSError, TrailUnavailable) as exc:
        where = (isinstance(exc, OSError) and exc.filename) or writer.layout.active
        why = (isinstance(exc, OSError) and exc.strerror) or exc
        msg = f"{where}: {why}; the erasure is not finished: whoever writes the trail goes on with it"
        raise TrailError(msg) from exc
    except TrailCorrupt as exc:
        msg = f"{exc}; the erasure is not finished"
        raise TrailCorrupt(msg) from exc
    except TwinsBusyError as exc:
        msg = f"{exc}; the erasure is not finished: whoever writes the trail goes on with it"
        raise TrailError(msg) from exc
    return records


@contextlib.contextmanager
def _without_twins(writer: Writer, plan: Plan) -> Iterator[None]:
    """Remove the twins of the lines that go, and let nobody make any before they are gone."""
    writer.housekeeper.twins.pause()
    marks = {part.place: [(first, last) for first, last, _ in part.marks] for part in plan.parts}
    with contextlib.ExitStack() as stack:
        for place in places(writer.layout).twins:
            stack.enter_context(twins.alone(place, writer.access, twins.PATIENCE_S))
            own = place.directory == writer.layout.directory
            twins.forget(place, marks.get(None if own else place.active.parent.name, []))
        yield


def _record(writer: Writer, plan: Plan, records: list[str]) -> None:
    """Have the records in the trail, and sealed."""
    there = _records_from(writer.layout, plan.size, own_words(writer.layout, writer.signer.verifier))
    items = [
        OwnWord(body.encode())
        for event_id, body in zip(records, plan.records, strict=True)
        if event_id not in there
    ]
    if items:
        writer.write_service_events(items)
    writer.seal()


def _records_from(layout: Layout, seq: int, own: OwnWords) -> set[str]:
    """Return the ids of the trail's own records at `seq` or later."""
    found: set[str] = set()
    with Snapshot(layout) as snapshot:
        ends = [file.named_seq for file in snapshot.files[1:]]
        for file, end in zip(snapshot.files, [*ends, None], strict=False):
            if end is None or end > seq:
                with file.open() as stream:
                    for lines, raw in Lines(stream):
                        found.update(_records_in(lines, seq, own) if _RECORD in raw else ())
    return found


def _records_in(lines: list[bytes], seq: int, own: OwnWords) -> Iterator[str]:
    for line in lines:
        entry = (parse_line(line) if _RECORD in line else None) or {}
        if entry.get("event_type") == RECORD and int(entry["seq"]) >= seq and own.has(entry):
            yield str(entry.get("event_id"))


def _go(writer: Writer, plan: Plan, record: str) -> None:
    """Have the content gone everywhere, then the plan."""
    writer.ensure_hold()
    layout, access = writer.layout, writer.access
    all_places = places(layout)
    earlier = {place.active.parent.name: place for place in all_places.trails[1:]}
    for part in plan.parts:
        marks = [Mark(*mark) for mark in part.marks]
        if part.place is None:
            for file in _rewrite_trail(layout, marks, access, active=False):
                writer.housekeeper.pruner.forget_facts(file.first_seq)
        elif part.place in earlier:
            list(_rewrite_trail(earlier[part.place], marks, access, active=True))
    for place in earlier.values():
        _forget_holds(place, plan.selector, access)
    meant = _meant(plan.selector, plan.ids)
    homes = _letter_homes(layout)
    for path in all_places.loose:
        if path not in map(letters.path_of, homes):
            rewrite_loose(path, meant, record, access)
    for home in homes:
        letters.rewrite(home, lambda path: rewrite_loose(path, meant, record, letters.ACCESS))
        _forget_letters(writer, home, plan, earlier)
    for path in all_places.ids:
        if _noted(path) in plan.ids:
            durable.replace_file(path, b"", access)
    left = [path for path in (*leftovers(layout), *_outdated(writer, plan)) if path.exists()]
    for path in left:
        path.unlink()
    writer.forget_twin()
    durable.sync_directories([layout.directory, *(path.parent for path in left)])


def _done(home: Layout) -> None:
    """Nothing of the plan is left to do."""
    with contextlib.suppress(FileNotFoundError):
        plans.path_of(home).unlink()
        durable.sync_directory(home.directory)


def _outdated(writer: Writer, plan: Plan) -> Iterator[Path]:
    """Yield plans of earlier trails that nobody believes and that name who is meant here: what they name is gone."""
    needles = plan.selector.needles() if plan.selector.values else []
    for path in plans.unfinished(writer)[1]:
        if any(needle in piece for piece in pieces(path) for needle in needles):
            yield path


def _forget_holds(layout: Layout, selector: Selector, access: Access) -> None:
    """Take holds that name who is meant out of what an earlier trail remembers of its own: none of them stands."""
    cache = read_cache(layout.holds)
    if cache is None:
        return
    left = [one for one in cache.holds if getattr(one, selector.by, None) not in selector.values]
    if len(left) < len(cache.holds):
        durable.replace_file(layout.holds, msgspec.json.encode(Standing(left)), access)


def _letter_homes(layout: Layout) -> tuple[Layout, Layout]:
    """Return where dead letters stand: those of sinks, and those of alerts' channels."""
    return layout, layout.for_alerts()


def _forget_letters(writer: Writer, home: Layout, plan: Plan, earlier: Mapping[str, Layout]) -> None:
    """Take out the dead letters of what went: whatever a format has made of it, its seq stands there."""
    gone: dict[str, list[tuple[int, int]]] = {}
    for part in plan.parts:
        place = writer.layout if part.place is None else earlier.get(part.place)
        origin = None if place is None else keys.read_origin(place) or part.place
        if origin is not None:
            gone.setdefault(origin, []).extend((first, last) for first, last, _ in part.marks)
    dead = {
        letter.key
        for letter in letters.read(home)
        if any(first <= letter.seq <= last for first, last in gone.get(letter.origin, ()))
    }
    if dead:
        letters.remove(home, dead)


def _rewrite_trail(layout: Layout, marks: list[Mark], access: Access, *, active: bool) -> Iterator[TrailFile]:
    """Erase the marked lines of a trail's closed files, and of the `active` one where nobody appends to it.

    Yields the files in which there are any.
    """
    closed = files.segments(layout)
    first = files.first_seq(layout.active)
    if active and first is not None:
        closed.append(TrailFile(layout.active, first, compressed=False))
    ends = [*(file.first_seq for file in closed[1:]), 2**63]
    for file, end in zip(closed, ends, strict=False):
        own = [mark for mark in marks if mark.first < end and mark.last >= file.first_seq]
        if own:
            rewrite(file, own, access)
            yield file
