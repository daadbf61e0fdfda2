"""Hands checkpoints out as they are made: a thread for each anchor, beside the writer that holds the trail.

The sealer says `published` and goes on. A thread takes the newest checkpoint when its anchor is due, and tries again,
with growing pauses, while that fails. What may not move: an append, a checkpoint and the end of the writer wait for no
anchor (the end: at most `CLOSE_S`, for those that are well); a failure is in the anchor's state and in the log.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from indelible.errors import AnchorError, IndelibleError, NoteError
from indelible.trail import durable
from indelible.trail.anchors import Handing, make_anchor
from indelible.trail.anchors.state import SUFFIX, StateFile
from indelible.trail.notice import Notice
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse
from indelible.trail.proofs.merkle import verify_consistency
from indelible.trail.proofs.prove import TileMissing, consistency_proof
from indelible.trail.proofs.stored import StoredFiles
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.reader import names_in, read_small

if TYPE_CHECKING:
    from collections.abc import Callable

    from indelible.anchor_settings import AnchorSettings
    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 300.0
"""An anchor that was away for a day is tried again within five minutes."""

CLOSE_S: Final = 2.0
"""How long the end of a writer waits for its last checkpoint to be handed out; the next start does what is left."""


class HandOut:
    """The anchors of one writer, from `start` until `close`."""

    def __init__(
        self,
        layout: Layout,
        anchors: tuple[AnchorSettings, ...],
        keys: Callable[[], list[Verifier]],
        access: Access,
    ) -> None:
        """`keys` returns those that sign the trail's checkpoints now. Raises ConfigError."""
        self._layout = layout
        self._access = access
        self._followers = [_Follower(layout, settings, keys, access) for settings in anchors]

    def start(self) -> None:
        """Begin: what was not handed out before goes at once."""
        if not self._followers:
            return
        self._forget_others()
        newest = None
        with contextlib.suppress(OSError):
            newest = read_small(self._layout.checkpoint)
        for follower in self._followers:
            follower.start(newest)

    def published(self, note: bytes) -> None:
        """A checkpoint was published. Returns at once."""
        for follower in self._followers:
            follower.published(note)

    def stop(self) -> None:
        """Begin nothing more but what is newest now."""
        for follower in self._followers:
            follower.stop()

    def close(self) -> None:
        """Hand the last checkpoint to the anchors that are well, and end."""
        self.stop()
        deadline = time.monotonic() + CLOSE_S
        for follower in self._followers:
            follower.join(max(0.0, deadline - time.monotonic()))

    def _forget_others(self) -> None:
        """Remove the states of anchors that are configured no more: `status` would say that they are behind."""
        names = {f"{follower.name}{SUFFIX}" for follower in self._followers}
        for name in names_in(self._layout.anchors):
            if name not in names:
                try:
                    (self._layout.anchors / name).unlink()
                except OSError:
                    pass


class _Follower:
    """One anchor and its thread."""

    def __init__(
        self, layout: Layout, settings: AnchorSettings, keys: Callable[[], list[Verifier]], access: Access
    ) -> None:
        self.name = settings.name
        self._layout = layout
        self._settings = settings
        self._keys = keys
        self._access = access
        self._anchor = make_anchor(settings, access)
        self._state: StateFile
        self._notice = Notice(good=f"anchor {settings.name}: checkpoints are handed out again")
        self._turn = threading.Condition()
        self._newest: bytes | None = None
        self._handed: bytes | None = None
        self._stopped = False
        self._due = 0.0
        """When the next attempt may be made, by the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name=f"indelible-anchor-{self.name}", daemon=True)

    def start(self, newest: bytes | None) -> None:
        self._newest = newest
        self._state = StateFile(self._layout, self._settings, self._keys()[0].name, self._access)
        if newest is not None and self._state.covers(newest):
            self._handed = newest
        with contextlib.suppress(OSError):  # the first attempt says what is wrong
            self._state.begin()
        self._thread.start()

    def published(self, note: bytes) -> None:
        with self._turn:
            self._newest = note
            self._turn.notify()

    def stop(self) -> None:
        with self._turn:
            self._stopped = True
            self._turn.notify()

    def join(self, timeout: float) -> None:
        """Wait for the last hand-out, unless the ones before it have failed, too."""
        if self._thread.is_alive() and not self._state.state.failures:
            self._thread.join(timeout)

    # --- its thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (note := self._next()) is not None:
            try:
                self._hand(note)
            except (OSError, IndelibleError) as exc:
                self._failed(exc)
            except Exception as exc:  # noqa: BLE001 - a bug of ours ends no thread that nobody would miss
                self._failed(AnchorError(f"internal error: {type(exc).__name__}: {exc}"))

    def _next(self) -> bytes | None:
        """Wait for a checkpoint that is due; None at the end."""
        while True:
            with self._turn:
                waiting = self._newest is not None and self._newest != self._handed
                left = self._due - time.monotonic()
                well = not self._state.state.failures
                if waiting and (left <= 0 or (self._stopped and well)):
                    return self._newest
                if self._stopped:
                    return None
                self._turn.wait(left if waiting else self._notice.owed_s())
            self._notice.say()  # without the lock: a log that nobody reads must not hold `published`

    def _hand(self, note: bytes) -> None:
        checkpoint = parse(open_note(note, self._keys()))
        old = self._state.state.size
        handing = Handing(note, checkpoint, old, lambda size: self._prove(checkpoint, size))
        cosigned = self._anchor.hand(handing)
        self._due = time.monotonic() + self._settings.every
        if cosigned is not None:
            durable.make_directory(self._layout.witnessed, self._access)
            durable.replace_file(self._layout.witnessed / self.name, cosigned, self._access)
        self._state.taken(checkpoint)
        self._handed = note
        self._notice.well()

    def _prove(self, checkpoint: Checkpoint, old: int) -> list[bytes]:
        """Return the consistency proof from `old` events on. Checked here when the root of then is known."""
        if not old or old == checkpoint.size:
            return []
        files = StoredFiles(self._layout, None)
        tiles = StoredTiles(files.tile, files.partial_widths, checkpoint.size, checkpoint.root)
        try:
            proof = consistency_proof(tiles, old)
        except TileMissing as exc:
            msg = (
                f"{files.name(tiles.path(exc.level, exc.index))}: the tile is missing, so nothing can be proved"
            )
            raise AnchorError(msg) from exc
        state = self._state.state
        if old == state.size and not verify_consistency(
            old, checkpoint.size, bytes.fromhex(state.root), checkpoint.root, proof
        ):
            msg = f"the trail does not extend the {old} events that this anchor has: it was forked, or a tile altered"
            raise AnchorError(msg)
        return proof

    def _failed(self, exc: Exception) -> None:
        """Say what went wrong, and when to try again: later each time, and not all anchors of all trails at once."""
        why = str(exc) if isinstance(exc, NoteError | AnchorError) else _system_says(exc)
        failures = self._state.state.failures
        pause = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 20))
        self._due = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, hides nothing
        about = f"anchor {self.name} ({self._settings.target}): {why}"
        try:
            self._state.failed(why)
        except OSError as unwritten:
            about += f"; nor can its state be written: {_system_says(unwritten)}"
        self._notice.bad(about)


def _system_says(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename is not None else ""
        return f"{where}{exc.strerror or exc}"
    return str(exc)
