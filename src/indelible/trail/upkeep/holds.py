"""The legal holds of one trail: which stand, found in the trail itself; placed and released on order.

The trail is the truth. Every file's first line names the holds that stand (`holds`, ids only: a person's name must be
erasable once nothing holds it), and events after it say what has changed since; what a hold is about stands in its
`hold_placed`, which it holds itself. So that it need not be looked for, `audit.jsonl.d/holds` repeats all that stands:
each entry of it is compared with the line, and what does not agree is looked for in the trail.

A trail that begins in the place of one that lost its end goes on with the holds of that: they stand from its first line
on, and are placed in it anew at the first look.

What may not move, whatever happens in between:

- A hold stands before its event is written, and until after its release is: a file that is begun meanwhile names it.
  A crash leaves a hold too many, never one too few. So does an event that could not be written after such a file was
  begun: the hold stands on, as that file says, and its event is written with the next look.
- What the trail says is the answer. The file `holds` is written last, and is no part of it: a crash before leaves an
  older one, and so does a disk that does not take it; the next look, and the next start, settle that from the trail.
"""

from __future__ import annotations

import logging
import pwd
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.errors import ConfigError, TrailCorrupt, TrailError, TrailUnavailable
from indelible.trail import durable, files
from indelible.trail.entry import parse_line
from indelible.trail.layout import Layout
from indelible.trail.upkeep import facts, holding
from indelible.trail.upkeep.holding import Hold
from indelible.trail.upkeep.standing import Standing, first_line, read_standing

if TYPE_CHECKING:
    from indelible.trail.durable import Access
    from indelible.trail.files import TrailFile
    from indelible.trail.proofs.ownwords import OwnWords
    from indelible.trail.upkeep.orders import AddHold, Asker, ReleaseHold
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")


class HoldBook:
    """The holds of a trail that this process writes. Read from the trail when they are first asked for."""

    def __init__(self, layout: Layout, access: Access, own: Callable[[], OwnWords]) -> None:
        """`own` returns what tells the trail's own words."""
        self._own = own
        self._layout = layout
        self._access = access
        self._loading = threading.Lock()
        self._standing: dict[str, Hold] | None = None
        """Replaced, never changed."""
        self.released: dict[str, str] = {}
        """Holds that were released in the newest file: the request that did it, by id."""
        self._carried: list[Hold] = []
        self._named: frozenset[str] = frozenset()
        """Those that the newest file's first line names, if this process has begun it."""
        self.kept: dict[str, int] = {}
        """How many closed files each hold kept from deletion at the last look."""
        self._searched: dict[tuple[int, str], bool] = {}
        """Whether a closed file (first seq) has something of a hold: neither changes while the hold stands."""

    @property
    def standing(self) -> dict[str, Hold]:
        """The holds that stand, by id. Raises OSError when the trail cannot be read."""
        found = self._standing
        if found is None:
            with self._loading:
                found = self._standing
                if found is None:
                    found = self._load()
                    if next(files.newest_first(self._layout), None) is not None:
                        self._standing = (
                            found  # before its first line a trail says nothing yet of those it goes on with
                        )
        return found

    def name(self) -> list[str]:
        """Return the ids of the holds that stand, for a file's first line. Raises OSError."""
        self._named = frozenset(self.standing)
        return list(self.standing)

    def _load(self) -> dict[str, Hold]:
        try:
            found = files.looking_again(lambda: read_standing(self._layout, self._own()))
        except TrailCorrupt as exc:
            raise OSError(5, str(exc)) from exc
        self.released, self._carried = found.released, found.carried
        return found.standing

    def carry_over(self, writer: Writer) -> None:
        """Place what stands and has no event yet: an earlier trail has placed it, or a disk did not take the event.

        Raises OSError, TrailError.
        """
        if self.standing and self._carried:
            while self._carried:
                hold = self._carried[0]
                metadata = {**_about(hold), "asked": {"login": hold.placed_by}, "placed_at": hold.placed_at}
                writer.write_service_events([writer.service_event("hold_placed", metadata)])
                del self._carried[0]
            writer.seal()
            self._standing = None  # as the trail has them now

    def save(self) -> None:
        """Write the file `holds`, when it does not say what is so. Raises OSError."""
        kept = {one: count for one, count in sorted(self.kept.items()) if one in self.standing}
        data = msgspec.json.encode(Standing(list(self.standing.values()), kept))
        if self.standing or self._layout.holds.exists():
            try:
                if self._layout.holds.read_bytes() == data:
                    return
            except FileNotFoundError:
                pass
            durable.replace_file(self._layout.holds, data, self._access)

    def held(self, event: dict[str, Any]) -> str | None:
        """Return the id of a hold that an event (as it stands in its line) is under, or None. Raises OSError."""
        return holding.held(event, self.standing.values())

    def holds_file(self, file: TrailFile, since: str, ended: str) -> str | None:
        """Return the id of a hold that holds a closed file, or may hold it; None when none does. Raises OSError."""
        for hold in self.standing.values():
            key = (file.first_seq, hold.id)
            if key not in self._searched:
                self._searched[key] = has_held(file, hold, since, ended)
            if self._searched[key]:
                return hold.id
        return None

    # --- orders: on the housekeeper's thread -------------------------------------------------------------------

    def place(self, writer: Writer, order: AddHold, asker: Asker) -> Hold:
        """Place a hold, unless it stands already. Raises ConfigError, TrailError."""
        hold = order.hold
        holding.check(hold)
        before = self.standing
        if hold.id in before:
            self.carry_over(writer)
            return self.standing[hold.id]
        if len(before) >= holding.MAX_HOLDS:
            msg = f"{holding.MAX_HOLDS} holds stand already; release one first"
            raise ConfigError(msg)
        metadata = {**_about(hold), "asked": describe_asker(asker)}
        item = writer.service_event("hold_placed", metadata)
        placed = msgspec.structs.replace(hold, placed_at=_timestamp(item.body), placed_by=login_of(asker.uid))
        self._standing = {**before, hold.id: placed}
        try:
            writer.write_service_events([item])
        except BaseException as exc:
            self._not_placed(placed, before, exc)
            raise
        self._seal(writer, f"hold {hold.id} is placed")
        self._remember()
        return placed

    def _not_placed(self, hold: Hold, before: dict[str, Hold], exc: BaseException) -> None:
        """Take a hold back whose event could not be written, unless a file names it already: then it stands."""
        if hold.id not in self._named or not self._is_in_first_line(hold):
            self._standing = before
            return
        self._carried = [*self._carried, hold]
        if isinstance(exc, TrailUnavailable):
            msg = f"{self._layout.active}: hold {hold.id} stands, but is not on record yet: {exc}"
            raise TrailError(msg) from exc

    def _is_in_first_line(self, hold: Hold) -> bool:
        """Tell whether the newest file names a hold: its first line was made, but the file may not have been."""
        try:
            _, ids = first_line(self._layout, self._own())
        except (OSError, TrailCorrupt):
            return True  # it is not known, and what is kept for nothing does no harm
        return ids is not None and hold.id in ids

    def release(self, writer: Writer, order: ReleaseHold, asker: Asker) -> Hold | None:
        """Release a hold; None: this very order has done so before. Raises ConfigError, TrailError."""
        hold = self.standing.get(order.id)
        if hold is None:
            if self.released.get(order.id) == order.request:
                return None
            msg = f"no hold {order.id[:80]!r} stands; 'indelible hold list' shows those that do"
            raise ConfigError(msg)
        holding.check(msgspec.structs.replace(hold, reason=order.reason))
        metadata = {
            "hold": {"id": hold.id},
            "reason": order.reason,
            "request": order.request[:64],
            "asked": describe_asker(asker),
        }
        writer.write_service_events([writer.service_event("hold_released", metadata)])
        self._standing = {one: other for one, other in self.standing.items() if one != hold.id}
        self._carried = [one for one in self._carried if one.id != hold.id]
        self._searched = {key: found for key, found in self._searched.items() if key[1] != hold.id}
        self.released[hold.id] = order.request
        self._seal(writer, f"hold {hold.id} is released")
        self._remember()
        return hold

    def _seal(self, writer: Writer, what: str) -> None:
        try:
            writer.seal()
        except (OSError, TrailUnavailable) as exc:
            why = (isinstance(exc, OSError) and exc.strerror) or exc
            msg = f"{self._layout.active}: {what}, but not sealed yet: {why}"
            raise TrailError(msg) from exc

    def _remember(self) -> None:
        """Write the file `holds`, if that can be: it is on record already what stands."""
        try:
            self.save()
        except OSError as exc:
            log.warning(
                "%s: cannot be written: %s; the trail itself says which holds stand",
                exc.filename or self._layout.holds, exc.strerror or exc,
            )  # fmt: skip


def _about(hold: Hold) -> dict[str, Any]:
    """Return what an event says of the hold that it places."""
    named = {key: getattr(hold, key) for key in _NAMED if getattr(hold, key) is not None}
    return {"hold": named, **({"reason": hold.reason} if hold.reason else {})}


_NAMED: Final = ("id", "user", "session", "since", "until")


def _timestamp(body: bytes) -> str | None:
    return msgspec.json.decode(body).get("timestamp")  # type: ignore[no-any-return]


def login_of(uid: int) -> str:
    """Return a user's name on this machine, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def describe_asker(asker: Asker) -> dict[str, Any]:
    """Return who gave an order, as it goes into the trail."""
    return {"uid": asker.uid, "login": login_of(asker.uid), "pid": asker.pid}


# --- files that a hold keeps ----------------------------------------------------------------------------------------


def has_held(file: TrailFile, hold: Hold, since: str, ended: str) -> bool:
    """Tell whether a closed file has an event that a hold holds, or may have one.

    `since` and `ended` are the earliest time in it and the one when the next was begun. Raises OSError, TrailCorrupt.
    """
    if hold.of_anybody:
        return hold.overlaps(since, ended)
    return any(hold.matches(event) for event in _candidates(file, hold))


def _candidates(file: TrailFile, hold: Hold) -> Iterator[dict[str, Any]]:
    """Yield the events of a file in which all that a hold names stands as it would be written, or in other letters."""
    *texts, own = hold.needles

    def may(data: bytes) -> bool:
        return own in data or b"\\u" in data or all(text in data for text in texts)

    for block in facts.whole_lines(file):
        if may(block):
            for line in block.splitlines():
                event = parse_line(line) if may(line) else None
                if event is not None:
                    yield event
