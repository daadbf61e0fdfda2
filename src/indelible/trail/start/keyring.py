"""The keys that sign a trail, and how one hands over to the next while the trail is written.

The rules that live here. `key.vkey` says which key signs; the source (`key`, `key_file`, `key_env`) has that one first.
When another stands before it there, the trail is handed over to that one: only who holds both can do this. A source
without the present key is refused: a changed key never signs under an old name.

What a crash may leave, and who settles it: the next start, and it is the same for a writer at work.

- the source names a new key, `key.vkey` the old one: the hand-over is done from the beginning;
- a note in `keys/` as well: it is kept when it fits;
- the `key_rotated` event as well: when no checkpoint covers it, the start finds it in the tail and does not repeat it;
- a checkpoint by both keys, `key.vkey` still the old one: the event is not repeated, `key.vkey` follows;
- `key` still holds a key whose time is over: it is taken out.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from indelible import events
from indelible.errors import ConfigError, NoteError
from indelible.trail import durable
from indelible.trail.checking.verify import ERASING
from indelible.trail.durable import Access
from indelible.trail.erased import plan_text, split_plan
from indelible.trail.proofs.checkpoint import Signer, Verifier, open_note, parse_vkey, split_note
from indelible.trail.proofs.rotation import Rotation, parse_rotation
from indelible.trail.proofs.stored import rotations_of
from indelible.trail.reader import read_small
from indelible.trail.start import keys
from indelible.trail.start.keys import HeldKey

if TYPE_CHECKING:
    from indelible.config import AuditSettings
    from indelible.trail.layout import Layout

log = logging.getLogger("indelible")

DEFAULT_OVERLAP_S: Final = 7 * 86_400.0
"""How long the old key signs on when nobody says so."""

Stamp = tuple[int, int, int]
"""Inode, size and time of a file: what changes when it is replaced."""


def time_in(seconds: float) -> str:
    """Return the time so many seconds from now, in the trail's form."""
    moment = datetime.now(UTC) + timedelta(seconds=min(seconds, 1e9))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Keyring:
    """The keys of one writer. Used by whoever makes checkpoints, one thread at a time."""

    def __init__(
        self,
        layout: Layout,
        audit: AuditSettings,
        origin: str,
        access: Access,
        now: Callable[[], str] = events.now,
    ) -> None:
        """Read the keys; a trail without any gets one of its own.

        Raises ConfigError for keys that cannot be used, or are not the trail's.
        """
        self._layout = layout
        self._audit = audit
        self._origin = origin
        self._access = access
        self._now = now
        self._path = keys.source_path(layout, audit)
        self._make_own()
        self._stamp = self._look()
        self._held = keys.read_source(layout, audit, origin)
        self._at = self._place(self._held)
        """Where in the source the key stands that `key.vkey` names: 0 unless a hand-over is due."""
        self._until: dict[Verifier, str] = self._read_until()
        self._settled = True
        self.signer = self._make_signer()
        if not self._at:
            self._forget()

    def _make_own(self) -> None:
        """Make the trail's own key, 0600 whatever group may read the rest, unless it has one or another source."""
        layout = self._layout
        if self._path != layout.key or layout.key.exists():
            return
        if layout.checkpoint.exists():
            msg = (
                f"{layout.key}: the key that signed the trail is missing; put it back, or give the trail up for a new"
                " one that names it: 'indelible keygen --lost'"
            )
            raise ConfigError(msg)
        durable.replace_file(layout.key, keys.generate_pem(), Access())

    def _place(self, held: list[HeldKey]) -> int:
        """Return where the trail's key stands among `held`. Raises ConfigError when it is not there."""
        layout, first = self._layout, held[0].verifier.vkey()
        try:
            known = layout.vkey.read_bytes()
        except FileNotFoundError:
            known = b""
        said = known.decode(errors="replace").strip()
        for at, one in enumerate(held):
            if one.verifier.vkey() == said:
                return at
        if said and layout.checkpoint.exists():
            msg = (
                f"{layout.vkey}: the key has changed: the trail was signed by {said}, the key at hand is {first};"
                " put the old key back; to change it, put the new key in front of the old one, or use"
                " 'indelible keygen --rotate'"
            )
            raise ConfigError(msg)
        durable.replace_file(layout.vkey, first.encode() + b"\n", self._access)
        return 0

    # --- who signs ---------------------------------------------------------------------------------------------

    def _read_until(self) -> dict[Verifier, str]:
        """Return until when each earlier key signs on, as the notes have it."""
        found: dict[Verifier, str] = {}
        if len(self._held) > 1:
            for rotation in rotations_of(self._layout):
                found[rotation.old] = max(rotation.until, found.get(rotation.old, ""))
        return found

    def _make_signer(self) -> Signer:
        """Return the signer of the present key and of those before it whose time is not over."""
        now, present = self._now(), self._held[self._at :]
        beside = [one.key for one in present[1:] if self._until.get(one.verifier, "") > now]
        return Signer(self._origin, present[0].key, *beside)

    def say_exposed(self) -> None:
        """Say in the log when others than its owner may use the file of the private key."""
        danger = None if self._path is None else keys.exposed(self._path)
        if danger is not None:
            log.warning("%s", danger)

    def look(self) -> bool:
        """Look whether the source has changed, which costs a stat, and whose time is over.

        Tell whether a hand-over is due. What cannot be used is said once, and the present keys go on signing.
        """
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        if self._settled and not self._at and len(self._held) > 1:
            now = self._now()
            if (
                len(self.signer.verifiers)
                > sum(self._until.get(one, now) > now for one in self.signer.verifiers) + 1
            ):
                self.signer = self._make_signer()
                self._forget()
        return self.due

    @property
    def due(self) -> bool:
        """A new key waits to take over."""
        return self._at > 0

    def changed(self) -> bool:
        """Tell whether the source is another file than the one that was read."""
        return self._path is not None and self._look() != self._stamp

    def _look(self) -> Stamp | None:
        if self._path is None:
            return None
        try:
            about = self._path.stat()
        except OSError:
            return None
        return about.st_ino, about.st_size, about.st_mtime_ns

    def _reload(self) -> None:
        if self._stamp is None:
            log.warning(
                "%s: the signing key is gone; this process goes on with the one that it has", self._path
            )
            return
        try:
            held = keys.read_source(self._layout, self._audit, self._origin)
            at = next(i for i, one in enumerate(held) if one.verifier == self.signer.verifier)
        except ConfigError as exc:
            log.warning("%s; this process goes on with the key that it has", exc)
            return
        except StopIteration:
            log.warning(
                "%s: does not hold the key that signs the trail; this process goes on with the one that it has",
                self._path,
            )
            return
        self._held, self._at = held, at
        self._until |= self._read_until()
        self.signer = self._make_signer()

    # --- handing over ------------------------------------------------------------------------------------------

    def hand_over(self, size: int) -> dict[str, Any]:
        """Write the note by which the present key names the next one; return what the trail's event says of it.

        Raises OSError.
        """
        old, new = self._held[self._at], self._held[self._at - 1]
        rotation = self._read_note(old.verifier, new.verifier)
        if rotation is None:
            rotation = Rotation(old.verifier, new.verifier, size, old.until or time_in(DEFAULT_OVERLAP_S))
            note = Signer(self._origin, old.key, new.key).sign(rotation.text())
            durable.make_directory(self._layout.rotations, self._access)
            durable.replace_file(self._layout.rotations / rotation.file_name(), note.encode(), self._access)
        self._until[old.verifier] = rotation.until
        self._pass_on_plan(Signer(self._origin, new.key, old.key))
        about = {"from": old.verifier.vkey(), "to": new.verifier.vkey(), "size": rotation.size}
        return {**about, "overlap_until": rotation.until}

    def _pass_on_plan(self, both: Signer) -> None:
        """Sign the plan of an erasure that was cut off: who finishes it may know the new key only. Raises OSError."""
        path = self._layout.directory / ERASING
        try:
            note, plan = split_plan(path.read_bytes())
            text = plan_text(self._origin, plan)
            if open_note(note, self.signer.verifiers) == text:  # one that is not ours stays refused
                durable.replace_file(path, both.sign(text).encode() + plan, Access())
        except (FileNotFoundError, NoteError):
            return

    def handed_over(self) -> None:
        """The event is in the trail: the next checkpoint is signed by both keys, whatever the overlap."""
        self._at -= 1
        self._settled = False
        old = self._held[self._at + 1].key
        beside = [
            one.key for one in self._held[self._at + 2 :] if self._until.get(one.verifier, "") > self._now()
        ]
        self.signer = Signer(self._origin, self._held[self._at].key, old, *beside)

    @property
    def settled(self) -> bool:
        """No hand-over waits for its first checkpoint, which has to cover the event that says so."""
        return self._settled

    def settle(self) -> None:
        """A checkpoint was made: `key.vkey` names the key that signed it first. Raises OSError."""
        if not self._settled:
            vkey = self.signer.verifier.vkey().encode() + b"\n"
            durable.replace_file(self._layout.vkey, vkey, self._access)
            self._settled = True

    def is_recorded(self, to: str, tail: frozenset[str]) -> bool:
        """Tell whether the trail has the event of the hand-over to the key `to` already.

        It stands in the `tail` that no checkpoint covered, or a checkpoint bears that key's signature.
        """
        if to in tail:
            return True
        try:
            _, signatures = split_note(self._layout.checkpoint.read_bytes())
        except (OSError, NoteError):
            return False
        return parse_vkey(to).key_id in {signature.key_id for signature in signatures}

    def _read_note(self, old: Verifier, new: Verifier) -> Rotation | None:
        name = Rotation(old, new, 0, "").file_name()
        try:
            rotation = parse_rotation(read_small(self._layout.rotations / name) or b"")
        except (NoteError, OSError):
            return None
        return rotation if (rotation.old, rotation.new) == (old, new) else None

    def _forget(self) -> None:
        """Take keys whose time is over out of the trail's own key file; another file is its owner's."""
        now = self._now()
        left = [self._held[0], *(one for one in self._held[1:] if self._until.get(one.verifier, "") > now)]
        if len(left) == len(self._held):
            return
        if self._path != self._layout.key:
            self._held = left
            return
        with contextlib.suppress(OSError, BlockingIOError), changing_keys(self._layout):
            if self._look() == self._stamp:
                durable.replace_file(self._layout.key, keys.format_source(left), Access())
                self._held, self._stamp = left, self._look()


@contextlib.contextmanager
def changing_keys(layout: Layout) -> Iterator[None]:
    """Keep others from changing the trail's key file meanwhile. Raises BlockingIOError when somebody does."""
    fd = os.open(layout.origin, os.O_RDONLY | os.O_CLOEXEC)  # a file that is never replaced
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
