"""Checkpoints as the trail moves: a thread that puts what was written under a signature.

The order is the promise: lines are synced, then tiles, then the checkpoint over them is signed and put in place. After
a failure anywhere the lines stay pending and the next attempt takes them again. Its checkpoint may be in place all the
same, and somebody may have kept it: then nothing writes these lines anew (`Writer.vouch`). Before each checkpoint the
writer makes sure that the trail is still its own (see `lock`).
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

from indelible.errors import IndelibleError, TrailUnavailable
from indelible.trail import seal
from indelible.trail.notice import Notice
from indelible.trail.proofs.merkle import leaf_hashes
from indelible.trail.start import intents

if TYPE_CHECKING:
    from indelible.trail.proofs.merkle import Tile, TileTree
    from indelible.trail.start.keyring import Keyring
    from indelible.trail.unsealed import Pending
    from indelible.trail.writer import Writer

INTERVAL_S: Final = 0.5
"""How long the first pending line waits for company. The promise is 1 s; the rest is for signing and syncing.

Under load, checkpoints made before that time is over end at a full tile and leave no hint: that is half the system
calls, and each of them is a hand-over of the interpreter's lock. What they leave waits no longer than what they took
would have: then one covers all that there is, with a hint.
"""

HURRY_EVENTS: Final = 2048
"""So many pending lines start a checkpoint at once; 4,096 is the promise."""

HURRY_BYTES: Final = 4 << 20
"""So do so many bytes of them: they are kept in memory."""

RETRY_S: Final = 0.1
"""Pause after a checkpoint that could not be made."""

DRAIN_S: Final = 0.05
"""At `memory` durability, how long an event stays in the queue before it is written."""

LOOK_S: Final = 2.0
"""An idle trail looks so often for room on the disk, and whether the clock or the key was changed; a busy one does
before each checkpoint."""


class Sealer:
    """Makes the checkpoints of one writer."""

    def __init__(self, writer: Writer, keyring: Keyring, tree: TileTree) -> None:
        self._writer = writer
        self._keyring = keyring
        self._tree = tree
        self._untidy = False
        """An attempt may have left tiles beyond the checkpoint that is in place."""
        self._sealing = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stopped = False
        self._left_until = 0.0
        """When the lines that the last checkpoint left are to be under one; 0 when it left none."""
        self._notice = Notice(good="")
        self._thread = threading.Thread(target=self._run, name="indelible-sealer", daemon=True)

    @property
    def size(self) -> int:
        """How many lines the newest checkpoint covers."""
        return self._tree.size

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is pending stays so."""
        self._stopped = True
        self._wake.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Something waits to be written or sealed."""
        self._wake.set()

    def hurry(self) -> None:
        """Make a checkpoint now."""
        self._hurry.set()
        self._wake.set()

    def note(self, pending: int, added: int, pending_bytes: int) -> None:
        """`added` lines have become pending; setting the events costs, so only when something changes."""
        if pending == added:
            self._wake.set()
        if pending >= HURRY_EVENTS > pending - added or pending_bytes >= HURRY_BYTES:
            self._hurry.set()

    def _run(self) -> None:
        writer = self._writer
        heartbeat = writer.audit.heartbeat or math.inf
        beat_at = time.monotonic() + heartbeat
        while True:
            owed_s = writer.owed_s()
            pause = min(LOOK_S, beat_at - time.monotonic(), math.inf if owed_s is None else owed_s)
            woken = self._wake.wait(max(0.0, pause))
            if self._stopped:
                return
            if not woken and self._keyring.changed():
                self._hurry.set()  # though nothing else happens
            elif not woken:
                writer.say_owed()
                writer.look()
                if time.monotonic() >= beat_at:
                    writer.beat()
                    beat_at = time.monotonic() + heartbeat
                continue
            if writer.audit.durability == "memory":
                self._hurry.wait(DRAIN_S)
                writer.look()  # many may be queued, and the disk full meanwhile
                writer.drain()
            until = self._left_until or time.monotonic() + INTERVAL_S
            self._hurry.wait(max(0.0, until - time.monotonic()))
            if self._stopped:
                return
            self._wake.clear()
            self._hurry.clear()
            writer.look()
            self._left_until = until if self._try(in_tiles=time.monotonic() < until) else 0.0
            beat_at = time.monotonic() + heartbeat

    def _try(self, *, in_tiles: bool) -> bool:
        """Make a checkpoint; tell whether it left lines for the next one."""
        try:
            left = self.seal(in_tiles=in_tiles)
            self._notice.well()
        except (OSError, IndelibleError) as exc:
            if self._writer.lost:
                return False  # it has been said, and no attempt can help
            self._notice.bad(f"{self._writer.layout.active}: cannot make a checkpoint: {exc}")
            self._wake.set()
            self._hurry.wait(RETRY_S)
            return False
        return left

    def pause(self) -> threading.Lock:
        """Return the lock under which checkpoints are made, and keys hand over."""
        return self._sealing

    def seal(self, *, in_tiles: bool = False) -> bool:
        """Put everything pending under a checkpoint; with `in_tiles`, of much, only what fills tiles.

        Tell whether lines were left. Raises OSError or TrailUnavailable.
        """
        with self._sealing:
            self._writer.ensure_hold()
            try:
                return self._seal(in_tiles=in_tiles)
            except (OSError, TrailUnavailable) as exc:
                if not self._writer.make_room(exc):
                    raise
                return self._seal()

    def _seal(self, *, in_tiles: bool = False) -> bool:
        if self._keyring.look():
            self._writer.hand_over(self._keyring)
        self._writer.covered(self._tree.size)
        pending = self._writer.take_pending(in_tiles=in_tiles and self._keyring.settled)
        if pending is None:
            return False
        self._sync(pending)
        if not self._writer.vouch(pending):
            return self._seal()  # a switch wrote them anew, or a commit that failed took some along
        layout, access = self._writer.layout, self._writer.access
        tree = self._tree.copy()
        was = tree.size
        filled = tree.extend(leaf_hashes(line[:-1] for line in pending.lines))
        note = self._put_in_place(tree, filled)
        self._keyring.settle()
        self._tree = tree
        self._writer.published(note)
        self._writer.sealed_now(pending)
        seal.drop_partials(layout, filled, was)
        if not pending.left:
            signer = self._keyring.signer
            intents.write_hint(layout, signer, tree, pending.intents, pending.pruned, access)
        return pending.left > 0

    def _put_in_place(self, tree: TileTree, filled: list[Tile]) -> bytes:
        """Write the tiles that are new in `tree`, and the checkpoint over it; return its note.

        What an earlier attempt left goes first: its lines may have been written anew since.
        """
        layout, access = self._writer.layout, self._writer.access
        try:
            if self._untidy:
                seal.drop_unpublished(layout, seal.size_in_place(layout, self._tree.size, tree.size))
            self._untidy = True
            seal.write_tiles(layout, filled, tree, access)
            note = seal.write_checkpoint(layout, self._keyring.signer, tree, access)
        except BaseException:
            self._writer.vouch_for(seal.size_in_place(layout, self._tree.size, tree.size))
            raise
        self._untidy = False
        return note

    def _sync(self, pending: Pending) -> None:
        try:
            pending.file.sync(pending.size, pending.next_seq)
            if not pending.file.in_place() and self._writer.is_active(pending.file):
                raise FileNotFoundError(2, "the active file was removed or replaced", str(pending.file.path))
        except OSError as exc:
            if not self._writer.is_active(pending.file):
                return  # closed meanwhile: synced by a rotation, or by a switch written anew elsewhere
            self._writer.failed_sync(exc, pending.file)
            raise
