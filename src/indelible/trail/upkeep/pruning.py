"""Deletion of closed files: what is due, the record of it, and then the deletion.

Every crash between these steps is settled by the next look:

- A deletion is recorded (`retention_applied`, sealed) before the first file goes. A file that is on record as deleted
  and still there goes at the next look, whatever the rules say by then: the trail has said that it is gone.
- `pruned`, with which every file begins, has a range before its record is written and for ever after; when the record
  cannot be written, neither is the range kept nor a file deleted; when it cannot be sealed, the next look does that.
- Before a file is put on record it is read, and judged by what it holds (`due`), and not by what is remembered of it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from indelible.errors import TrailCorrupt
from indelible.trail import durable, files, twins
from indelible.trail.files import TrailFile
from indelible.trail.proofs.stored import own_words
from indelible.trail.start import intents
from indelible.trail.upkeep.due import Rules, ends, make_plan, newest_checkpoint
from indelible.trail.upkeep.facts import FactsStore
from indelible.trail.upkeep.holds import HoldBook
from indelible.trail.upkeep.keeping import Verdict
from indelible.trail.upkeep.unshipped import Unshipped

if TYPE_CHECKING:
    from indelible.trail.proofs.ownwords import OwnWords
    from indelible.trail.writer import Writer

log = logging.getLogger("indelible")

PER_RECORD: Final = 50
"""Files of one record: what is said of each, and of the ranges, has to fit a line."""

MAX_RANGES: Final = 500
"""Ranges of deleted seqs that a file's first line has room for; more make no further hole."""

ROTATIONS: Final = 8
"""So many in a row may take the newest file away from whoever is about to read it."""


def _within(first: int, last: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(low <= first and last <= high for low, high in ranges)


class Pruner:
    """Deletes closed files of the trail that a writer holds. On the housekeeper's thread only."""

    def __init__(self, writer: Writer, pruned: list[tuple[int, int]]) -> None:
        self.pruned = list(pruned)
        """The ranges of seqs (first and last) whose files were deleted. Replaced, never changed."""
        self._said: list[tuple[int, int]] | None = None
        """Those that a line of the trail has on record; None: not read yet."""
        self.holds = HoldBook(writer.layout, writer.access, self._own_words)
        self._writer = writer
        self._layout = writer.layout
        self._store = FactsStore(writer.layout, writer.access)
        self._warned: set[str] = set()
        """The sinks of which it was said that their backlog is nearly full."""

    def prune(
        self, rules: Rules, stop: Callable[[], bool], asked: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Delete what nothing keeps any more; return what was deleted and what is kept why.

        `stop` tells to begin nothing more, and is asked before each file. Raises OSError, IndelibleError, Stopped.
        """
        self.finish()
        self.holds.carry_over(self._writer)
        standing = self.holds.standing
        finder = self.holds.holds_file if standing else None
        plan = make_plan(self._layout, rules, self._writer.sealed, self._store, finder, self.pruned, stop)
        under = [verdict.why for verdict in plan.verdicts if verdict.rule == "hold"]
        self.holds.kept = {one: under.count(one) for one in under}
        with contextlib.suppress(OSError):  # the next look writes it; a full disk is to get room now
            self.holds.save()
        self._warn(plan.unshipped)
        removed: list[dict[str, Any]] = []
        for some in self._batches(plan.due, stop):
            removed += self._delete(some, asked, plan.unshipped)
        left = {file.first_seq for file in files.segments(self._layout)}
        self._store.forget(left)
        if plan.unreadable is not None and not isinstance(plan.unreadable, FileNotFoundError):
            raise plan.unreadable
        kept: dict[str, int] = {}
        for verdict in plan.verdicts:
            if verdict.file.first in left:
                kept[verdict.rule] = kept.get(verdict.rule, 0) + 1
        size = sum(one["bytes"] for one in removed)
        return {"deleted": removed, "deleted_files": len(removed), "deleted_bytes": size, "kept": kept}

    def forget_facts(self, first_seq: int) -> None:
        """A closed file has changed: what is remembered of it is not so any more."""
        self._store.drop(first_seq)

    def _own_words(self) -> OwnWords:
        return own_words(self._layout, self._writer.signer.verifier)

    def finish(self) -> None:
        """Delete what is on record as deleted: by the word of the trail's lines, not of the hint beside them."""
        if self._said is None:  # the last record may be younger than the hint
            self._said = self._read_said()
            self.pruned = intents.merge_ranges([*self.pruned, *self._said])
        closed = files.segments(self._layout)
        left = [
            file
            for file, end in zip(closed, ends(self._layout, closed, self.pruned), strict=True)
            if _within(file.first_seq, end - 1, self._said)
        ]
        if left:
            self._writer.seal()  # the record, if it is not yet
            self._unlink(left)

    def _read_said(self) -> list[tuple[int, int]]:
        """Return what the newest file says; a rotation may rename it just before it is opened: then the next one."""
        for _ in range(ROTATIONS):
            with contextlib.suppress(FileNotFoundError):
                return intents.pruned_ranges(self._layout, None, intents.Tracker(self._own_words()))
        return intents.pruned_ranges(self._layout, None, intents.Tracker(self._own_words()))

    def _unlink(self, gone: Sequence[TrailFile]) -> None:
        firsts = [*(file.first_seq for file in files.segments(self._layout)), 2**63]
        ranges = [
            (file.first_seq, min(first for first in firsts if first > file.first_seq) - 1) for file in gone
        ]
        twins.remove_over(self._layout, ranges)
        for file in gone:
            file.path.unlink()
        durable.sync_directory(self._layout.segments)

    def _still_goes(self, file: TrailFile, verdict: Verdict) -> bool:
        """Tell whether a file holds indeed what it was judged by; if not, the next look judges it anew."""
        about = verdict.file
        if verdict.facts is None:
            return True  # judged by its neighbour's first line
        look = self._store.get if self._store.is_fresh(about.first) else self._store.learn
        if look(file, about.last, about.ended) == verdict.facts:
            return True
        log.warning("%s: was remembered wrongly, and is judged anew", file.path)
        return False

    def _batches(
        self, due: list[tuple[TrailFile, Verdict]], stop: Callable[[], bool]
    ) -> Iterator[list[tuple[TrailFile, Verdict]]]:
        """Yield what goes, as many as a record has room for; what was read before the stop goes, too."""
        some: list[tuple[TrailFile, Verdict]] = []
        for pair in due:
            if stop():
                break
            if self._still_goes(*pair):
                some.append(pair)
            if len(some) == PER_RECORD:
                yield from filter(None, [self._without_new_holes(some)])
                some = []
        yield from filter(None, [self._without_new_holes(some)])

    def _without_new_holes(self, due: list[tuple[TrailFile, Verdict]]) -> list[tuple[TrailFile, Verdict]]:
        """Leave out what would make more ranges than a first line has room for."""
        ranges, kept = self.pruned, []
        for file, verdict in due:
            more = intents.merge_ranges([*ranges, (file.first_seq, verdict.file.last)])
            if len(more) <= max(MAX_RANGES, len(ranges)):
                ranges = more
                kept.append((file, verdict))
        return kept

    def _delete(
        self,
        due: list[tuple[TrailFile, Verdict]],
        asked: dict[str, Any] | None,
        unshipped: Unshipped,
    ) -> list[dict[str, Any]]:
        """Record that files go, and what is lost to which sink by it, then delete them."""
        removed = [self._describe(file, verdict) for file, verdict in due]
        alerts = unshipped.lost(intents.merge_ranges([(one["first"], one["last"]) for one in removed]))
        for about in alerts:
            log.error("%s: %s", self._layout.active, unshipped.describe(about))
        self._record(removed, asked, alerts)
        self._unlink([file for file, _ in due])
        return removed

    def _describe(self, file: TrailFile, verdict: Verdict) -> dict[str, Any]:
        facts, about = verdict.facts, verdict.file
        if facts is None:
            try:
                facts = self._store.get(file, about.last, about.ended)
            except TrailCorrupt:
                facts = None
        events = None if facts is None else {kind: one.count for kind, one in facts.classes.items()}
        return {
            "first": about.first,
            "last": about.last,
            "bytes": file.path.stat().st_size,
            "rule": verdict.rule,
            "why": verdict.why,
            "events": events,
        }

    def _warn(self, unshipped: Unshipped) -> None:
        """Say once of which sinks the backlog is nearly full, and when it is not any more."""
        near = {one.sink: one for one in unshipped.nearly_full()}
        for sink in sorted(near.keys() - self._warned):
            about = near[sink].about()
            log.warning("%s: %s", self._layout.active, unshipped.describe(about))
            self._writer.write_service_events([self._writer.service_event("alert", {"backlog": about})])
        self._warned = set(near)

    def _record(
        self, removed: list[dict[str, Any]], asked: dict[str, Any] | None, alerts: list[dict[str, Any]]
    ) -> None:
        ranges = intents.merge_ranges([(one["first"], one["last"]) for one in removed])
        found = newest_checkpoint(self._layout)
        metadata = {
            "pruned": [list(pair) for pair in ranges],
            "files": len(removed),
            "bytes": sum(one["bytes"] for one in removed),
            "reason": ", ".join(sorted({one["rule"] for one in removed})),
            "removed": removed,
            "checkpoint": None if found is None else {"size": found.size, "root": found.root.hex()},
            **({"asked": asked} if asked else {}),
        }
        before, said = self.pruned, self._said or []
        self.pruned = intents.merge_ranges([*before, *ranges])  # a file that is opened meanwhile says it too
        try:
            about = [self._writer.service_event("alert", {"backlog": one}) for one in alerts]
            about.append(self._writer.service_event("retention_applied", metadata))
            self._writer.write_service_events(about)
        except BaseException:  # not on record, for all that is known: the next look reads what is
            self.pruned, self._said = before, None
            raise
        self._said = intents.merge_ranges([*said, *ranges])
        self._writer.seal()  # when this fails, the next look finishes it
