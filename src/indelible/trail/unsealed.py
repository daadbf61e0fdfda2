"""Lines that no checkpoint covers yet, and what becomes of them when the disk fails.

What may not move:

- Every such line stays in memory (`_pending`), until a checkpoint covers it, or its caller is told that it is not in
  the trail.
- After a failed write the file is cut back to its last whole line before anything else is written.
- After a failed sync nothing written since the last good one is believed: those lines are written again, to a new file
  (see `switch`), and the intents among them go with them. But none of which a checkpoint may be in place, or is being
  made: somebody may have kept it.
- A line whose caller is told that it is not in the trail goes altogether, with its seq and with what it did to the open
  intents: nothing brings it back.
- Whose hold on the trail is gone writes nothing more (see `lock`).
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.errors import TrailUnavailable
from indelible.trail import durable, switch
from indelible.trail.condition import Condition
from indelible.trail.entry import parse_line, stamp_line, unstamp
from indelible.trail.notice import Notice
from indelible.trail.proofs import ownwords
from indelible.trail.proofs.merkle import TILE_WIDTH
from indelible.trail.space import NO_SPACE
from indelible.trail.turn import Turn

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.errors import TrailLocked
    from indelible.trail.active import ActiveFile
    from indelible.trail.commit import Item
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout
    from indelible.trail.proofs.checkpoint import Signer
    from indelible.trail.sealer import Sealer
    from indelible.trail.start.recovery import Resume
    from indelible.trail.upkeep.housekeeping import Housekeeper

log = logging.getLogger("indelible")

PROMISED_EVENTS: Final = 4096
"""The promise: a checkpoint is never further behind."""

MAX_PENDING_EVENTS: Final = PROMISED_EVENTS - 2
"""So many may wait for one; the next append waits too. A new file's first line may come on top, after a rotation and
after a failed sync."""

MAX_PENDING_BYTES: Final = 16 << 20
"""So many bytes of pending lines are kept in memory at the most."""


FEW_TILES: Final = 4
"""Of so many or fewer, the one that is not full yet is no small part."""


class Pending(NamedTuple):
    """A moment of the trail that the sealer puts under a checkpoint: `lines`, and what was so after all there were."""

    lines: list[bytes]
    left: int
    """So many more waited, which are left for the next one."""
    file: ActiveFile
    size: int
    next_seq: int
    intents: dict[str, int]
    pruned: list[tuple[int, int]]


class Unsealed(ABC):
    """The unsealed end of a trail: what `Writer` builds on. All that begins with ``_`` happens under `_lock`."""

    _active: ActiveFile
    _sealer: Sealer
    _housekeeper: Housekeeper

    def __init__(self, layout: Layout, audit: AuditSettings, access: Access, state: Resume) -> None:
        self.layout = layout
        self.audit = audit
        self.access = access
        self._lock = threading.Lock()
        self._room = Condition(self._lock)
        self._turn = Turn(self._lock, audit.write_timeout, str(layout.active))
        self._seq = state.size
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._vouched = 0
        """The lines below this seq stay as they are: a checkpoint over them is being made, or may be in place."""
        self._intents = {str(intent.get("event_id")): int(intent["seq"]) for intent in state.intents}

        self._failure: OSError | None = None
        self._withheld: OSError | None = None
        """Why callers' events are not taken though nothing is broken (see `space`); it stands in `_failure`, too."""
        self._retry_at = self._recheck_at = 0.0
        self._stuck = False
        self._open = False
        self._lost = ""
        """Why the hold on the trail is gone; empty while it is not."""
        self._ended = ""
        """Why this object writes nothing more, ever: closed, or on the wrong side of a fork."""
        self._notice = Notice(f"{layout.active}: can be written again")

    @property
    @abstractmethod
    def signer(self) -> Signer:
        """Who signs now."""

    @abstractmethod
    def _file_opened(self, first_seq: int, extra: dict[str, Any]) -> bytes:
        """Return the line that every file begins with."""

    @abstractmethod
    def _create_active(self) -> None:
        """Make the active file with its first line."""

    @abstractmethod
    def _pause_s(self) -> float:
        """Return how long after a failure the disk is tried again."""

    @abstractmethod
    def _drain(self) -> None:
        """Write what is queued at `memory` durability, as much as may be pending."""

    def _unavailable(self) -> TrailUnavailable:
        """Return why nothing can be written."""
        failure = self._failure
        if self._ended or self._lost:
            reason = self._ended or self._lost
        elif failure is not None:
            reason = f"cannot write: {failure.strerror or failure}"
        elif not self._open:
            reason = "the trail is being closed"
        else:
            reason = "checkpoints do not keep up; the disk is too slow or does not answer"
        error = TrailUnavailable(f"{self.layout.active}: {reason}")
        error.__cause__ = failure
        return error

    # --- what waits for a checkpoint ---------------------------------------------------------------------------

    def _account(self, items: Sequence[Item], lines: list[bytes], size: int, seqs: list[int]) -> None:
        """Note that `lines`, which are `items` stamped, are in the file; add their seqs to `seqs`."""
        first = self._seq
        seqs += range(first, first + len(items))
        self._seq = first + len(items)
        self._pending += lines
        self._pending_bytes += size
        for seq, item in enumerate(items, first):
            if item.opens:
                self._intents[item.opens] = seq
            elif item.closes:
                self._intents.pop(item.closes, None)
        self._sealer.note(len(self._pending), len(lines), self._pending_bytes)

    def _behind(self) -> bool:
        return len(self._pending) >= MAX_PENDING_EVENTS or self._pending_bytes >= MAX_PENDING_BYTES

    def _usable(self) -> bool:
        """Wait for the sealer when it is too far behind; tell whether to go on."""
        if self._open and self._behind():
            self._sealer.hurry()
            if not self._stuck:  # who has waited in vain is the last to wait, until a checkpoint is made again
                self._stuck = not self._room.wait_for(
                    lambda: not self._behind() or not self._open, self.audit.write_timeout
                )
        return self._open and not self._behind()

    # --- a write that failed -----------------------------------------------------------------------------------

    @abstractmethod
    def _recheck(self) -> None:
        """See whether there is room for callers' events again."""

    def _fail(self, exc: OSError) -> None:
        self._notice.bad(f"{self.layout.active}: cannot write: {exc.strerror or exc}")
        self._failure = exc
        self._retry_at = time.monotonic() + self._pause_s()
        if self._notice.owed_s() is not None or exc.errno in NO_SPACE:
            self._sealer.wake()  # its thread says it in time, and looks for room, though nothing may be appended

    def _undo(self, exc: BaseException, active: ActiveFile, size: int, seq: int, count: int) -> None:
        """Take back an append that an exception cut short: nothing was written, and the next one cuts the file.

        Any exception: a signal's handler (Ctrl-C, an alarm) raises between the write and its accounting too.
        """
        if isinstance(exc, OSError):
            self._fail(exc)
        else:
            self._failure, self._retry_at = InterruptedError(errno.EINTR, os.strerror(errno.EINTR)), 0.0
        if active is not self._active:
            return  # cut short after a rotation: the new file's first line counts
        active.size = size
        self._drop(seq, count)

    def _drop(self, seq: int, count: int) -> None:
        """Forget the lines from `seq` on, which are those after the first `count` that are pending."""
        self._seq = seq
        del self._pending[count:]
        self._pending_bytes = sum(map(len, self._pending))
        for event_id in [event_id for event_id, at in self._intents.items() if at >= seq]:
            del self._intents[event_id]

    def _repair(self) -> bool:
        """Try to make the trail writable again for callers; tell whether it is."""
        if self._failure is self._withheld:
            if time.monotonic() >= self._recheck_at:
                self._recheck()
            return self._failure is None
        return self._mend() and self._withheld is None

    def _mend(self) -> bool:
        """Try to make the active file writable again; tell whether it is."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            if self._is_closed(self._active) and not self._active.doubtful:
                # A rotation had closed this file, and not got further.
                durable.sync_directory(self.layout.segments)
                self._create_active()
            elif self._active.doubtful or not self._active.in_place():
                self._switch()
            else:
                self._active.cut_back()
        except OSError as exc:
            self._fail(exc)
            return False
        self._failure = self._withheld
        if self._withheld is None:
            self._notice.well()
        return True

    def _is_closed(self, file: ActiveFile) -> bool:
        return file.is_at(self.layout.segment(file.first_seq))

    # --- no room for callers' events ---------------------------------------------------------------------------

    def _withhold(self, why: OSError | None) -> None:
        """Take no events of callers any more, for this reason; or, for None, take them again."""
        before, self._withheld = self._withheld, why
        if self._failure is before:
            self._failure = why
        if why is not None:
            self._recheck_at = time.monotonic() + self._pause_s()
            if before is None:
                self._notice.bad(f"{self.layout.active}: events are not recorded: {why.strerror}")
        elif before is not None and self._failure is None:
            self._notice.well()

    @contextmanager
    def _own_words(self) -> Iterator[None]:
        """What is written in here is the trail's own, and is not withheld."""
        withheld, self._withheld = self._withheld, None
        if self._failure is withheld:
            self._failure = None
        try:
            yield
        finally:
            self._withheld = withheld
            if self._failure is None:
                self._failure = withheld

    # --- a sync that failed ------------------------------------------------------------------------------------

    def failed_sync(self, exc: OSError, file: ActiveFile) -> None:
        """The sealer could not bring the active file to the disk, or found another in its place."""
        with self._lock:
            if file is self._active:
                self._repair_doubtful(exc)

    def _repair_doubtful(self, exc: OSError) -> bool:
        self._active.doubtful = True
        self._fail(exc)
        self._retry_at = 0.0
        return self._mend()

    def _after_failed_commit(
        self, exc: OSError, file: ActiveFile, items: Sequence[Item], seqs: list[int], closing: dict[str, int]
    ) -> int:
        """A batch whose sync failed: save it in a new file now, or see that it does not come back later.

        `seqs` are those of the first of `items`; `closing` the intents that were open before them and that they
        close. Return how many are safe.
        """
        if file is not self._active:  # rotated since, and synced by that, or switched, and written again
            return len(seqs)
        if self._repair_doubtful(exc):
            return len(seqs)
        keep = max(
            file.synced_seq, file.first_seq + 1, seqs[0]
        )  # the file's first line is nobody's, and is made again
        open_again = dict(closing)
        for item, seq in zip(items, seqs, strict=False):
            if seq < keep:
                open_again.pop(item.closes, None)
                if item.opens:
                    open_again[item.opens] = seq
        left = len(self._pending) - (self._seq - keep)
        gone = self._pending[left:]
        self._drop(keep, left)
        batch = set(seqs)
        own = [line for seq, line in enumerate(gone, keep) if seq not in batch]
        self._leave_out(file, file.size - sum(map(len, gone)), own)
        for item, seq in zip(items, seqs, strict=False):
            if seq >= keep and item.closes in open_again:
                self._intents[item.closes] = open_again[item.closes]
        return sum(seq < keep for seq in seqs)

    def _leave_out(self, file: ActiveFile, size: int, own: list[bytes]) -> None:
        """Let a start find nothing beyond `size` but the trail's `own` words, after a switch that failed.

        Nobody is told that these are not in the trail: they wait, like what stood before them.
        """
        with suppress(OSError):
            self.layout.next.unlink(missing_ok=True)
        lines = [self._stamp_again(seq, line) for seq, line in enumerate(own, self._seq)]
        self._seq += len(lines)
        self._pending += lines
        self._pending_bytes += sum(map(len, lines))
        if file.cut_off(size) and lines and file.in_place():
            with suppress(OSError):
                file.put(b"".join(lines))

    def _switch(self) -> None:
        """Write every line that is not known to be on the disk to a new active file.

        The new file's first line says which lines of it stood in the old one too (`rewritten`, first and last seq),
        and by how much their seqs have grown (`shift`): a reader that follows may have shown them already.
        """
        old = self._active
        removed = not old.in_place() and not self._is_closed(old)
        first_pending = self._seq - len(self._pending)
        start = max(first_pending, self._vouched, old.first_seq if removed else old.synced_seq)
        at = start - first_pending
        again = self._pending[at:]
        about: dict[str, Any] = {"reason": "the file was removed" if removed else "the disk failed"}
        if start == old.first_seq:  # the old file's own first line goes: the new file has its own
            about |= _predecessor(again[0])
            again = again[1:]
        shift = start + 1 + len(again) - self._seq
        if again:
            about |= {"rewritten": [start + 1, start + len(again)], "shift": shift}
        first = self._file_opened(start, about)
        if again:  # it stands before lines that are older than it
            first = stamp_line(start, unstamp(again[0])[0], unstamp(first)[1])
        lines = [first]
        lines += [self._stamp_again(start + 1 + index, line) for index, line in enumerate(again)]
        self._active = switch.switch(self.layout, old, lines, start, self.access, removed=removed)
        for event_id, seq in self._intents.items():
            if seq >= start:
                self._intents[event_id] = seq + shift
        self._seq = start + len(lines)
        self._pending = self._pending[:at] + lines
        self._pending_bytes = sum(map(len, self._pending))
        self._sealer.note(len(self._pending), len(self._pending), self._pending_bytes)

    def _stamp_again(self, seq: int, line: bytes) -> bytes:
        """Return a line as it stands at another seq, where the trail's own words have another signature."""
        recorded_at, body = unstamp(line)
        if ownwords.is_one(line[:-1], self.signer):
            body = ownwords.sign(self.signer, seq, body)
        return stamp_line(seq, recorded_at, body)

    # --- a hold that is gone -----------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        """Whether the last that was tried on the disk has failed."""
        return self._failure is not None

    @property
    def lost(self) -> bool:
        """Whether the hold on the trail is gone: then nothing is written any more."""
        return bool(self._lost)

    def lose(self, exc: TrailLocked) -> None:
        """Write nothing more, since somebody else may: say so once."""
        with self._lock:
            if not self._lost:
                self._lost = f"nothing more is written by this process: {exc}"
                log.error("%s: %s", self.layout.active, self._lost)
            self._open = False
            self._room.notify_all()

    # --- what the sealer asks ----------------------------------------------------------------------------------

    def covered(self, size: int) -> None:
        """Let go of lines that a checkpoint over `size` covers: who sealed them may have been interrupted before that.

        They would be put into the tree a second time.
        """
        with self._lock:
            done = size - (self._seq - len(self._pending))
            if done > 0:
                del self._pending[:done]
                self._pending_bytes = sum(map(len, self._pending))
                self._room.notify_all()

    def take_pending(self, *, in_tiles: bool = False) -> Pending | None:
        """Return everything that waits for a checkpoint, or None; repairs first what has failed.

        With `in_tiles`, only as much as fills tiles, where that is most of it.
        """
        with self._lock:
            if self._lost:
                raise self._unavailable()
            if self._failure is None or self._repair():
                self._drain()
            with self._own_words():
                if self._failure is not None and not self._repair():
                    raise self._unavailable()
            if not self._pending:
                return None
            active, pruned = self._active, list(self._housekeeper.pruned)
            left = self._seq % TILE_WIDTH if in_tiles and len(self._pending) > FEW_TILES * TILE_WIDTH else 0
            lines = self._pending[: len(self._pending) - left]
            return Pending(lines, left, active, active.size, self._seq, dict(self._intents), pruned)

    def is_active(self, file: ActiveFile) -> bool:
        """Tell whether lines go to this file, or have gone on to another."""
        with self._lock:
            return file is self._active

    def vouch(self, pending: Pending) -> bool:
        """Tell whether the lines are still those that wait, and let them stay so: a checkpoint is made of them.

        Else a switch in between has written them anew, or a commit that failed has dropped some.
        """
        with self._lock:
            if self._pending[: len(pending.lines)] != pending.lines:
                return False
            self._vouched = self._seq - len(self._pending) + len(pending.lines)
            return True

    def vouch_for(self, size: int) -> None:
        """The checkpoint was not made: the one in place covers `size` lines, the others may be written anew."""
        with self._lock:
            self._vouched = size

    def sealed_now(self, pending: Pending) -> None:
        """The lines are under a checkpoint: let go of them."""
        with self._lock:
            del self._pending[: len(pending.lines)]
            self._pending_bytes = sum(map(len, self._pending))
            self._stuck = False
            self._room.notify_all()
            if self._pending:  # what came meanwhile was not the first, and did not wake the sealer
                self._sealer.note(len(self._pending), len(self._pending), self._pending_bytes)
        self._housekeeper.sealed()

    def owed_s(self) -> float | None:
        """Return in how many seconds the log is owed a word on whether the trail can be written; None for not."""
        with self._lock:
            return self._notice.owed_s()

    def say_owed(self) -> None:
        """Say it, when it is due."""
        with self._lock:
            self._notice.say()


def _predecessor(first_line: bytes) -> dict[str, Any]:
    """Return what a file's first line says of an earlier trail, under the name that it has there; empty for nothing."""
    metadata = (parse_line(first_line) or {}).get("metadata") or {}
    return {"previous": metadata["previous"]} if "previous" in metadata else {}
