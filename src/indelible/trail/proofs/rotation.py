"""Which keys count under a trail's origin: signed notes by which one key names the next. Pure.

The rule that lives here: that a checkpoint bears two signatures says nothing of the second key, since whoever holds a
signed note can add a signature of his own. A key counts because the one before it has signed its name, in a note that
cannot be taken for a checkpoint (C2SP signed-note; the second line is no number):

    <origin>\\n
    key rotation\\n
    <size, decimal>\\n        the new key signs checkpoints of this size on
    <time, RFC 3339>\\n       until then the old key signs beside it
    <old vkey>\\n
    <new vkey>\\n
    \\n
    — <origin> <by the old key>\\n
    — <origin> <by the new key>\\n

Both sign: the old one hands over, the new one shows that it is there and whose successor it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from indelible.errors import NoteError
from indelible.events import MAX_INTEGER
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, parse_vkey, split_note

KIND: Final = "key rotation"
MAX_ROTATIONS: Final = 1_000
"""So many are looked at: a trail whose key is rolled daily has three years of them."""

MAX_ROTATION_BYTES: Final = 4096
"""Two keys, two signatures, and an origin: a sixth of it."""

STRAGGLERS: Final = 8192
"""So many lines after its hand-over a key may still have signed words of the trail's own: those that were written and
not sealed when the note was made, twice as many as may be."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class Rotation(NamedTuple):
    """One key hands over to the next."""

    old: Verifier
    new: Verifier
    size: int
    """The new key signs checkpoints over so many events or more."""
    until: str
    """RFC 3339 UTC: before that, the old key signs beside the new one."""

    def text(self) -> str:
        """Return the note's text."""
        lines = (self.new.name, KIND, str(self.size), self.until, self.old.vkey(), self.new.vkey())
        return "".join(line + "\n" for line in lines)

    def file_name(self) -> str:
        """Return the name of its file in `keys/`: the two key ids."""
        return f"{self.old.key_id.hex()}-{self.new.key_id.hex()}"


class Accepted(NamedTuple):
    """A key that counts, and from which size on; the pinned one from 0."""

    verifier: Verifier
    size: int


class Speaker(NamedTuple):
    """A key that signs words of the trail's own (see `ownwords`), in lines before `end`."""

    key: Verifier
    end: int


def parse_rotation(note: bytes) -> Rotation:
    """Parse a rotation's note and check both signatures. Raises NoteError."""
    text, _ = split_note(note)
    lines = text.split("\n")
    if len(lines) != 7 or lines[1] != KIND or not _SIZE.fullmatch(lines[2]) or not _TIME.fullmatch(lines[3]):
        msg = "not a key rotation: expected origin, 'key rotation', size, time, and two keys, a line each"
        raise NoteError(msg)
    old, new = parse_vkey(lines[4]), parse_vkey(lines[5])
    rotation = Rotation(old, new, int(lines[2]), lines[3])
    if old.name != lines[0] or new.name != lines[0] or old == new or rotation.text() != text:
        msg = "not a key rotation: both keys have the origin's name, and are two"
        raise NoteError(msg)
    for key in (old, new):
        open_note(note, [key])
    return rotation


def parse_rotations(notes: Iterable[bytes]) -> list[Rotation]:
    """Return those of `notes` that are rotations; what is none names no key."""
    found = []
    for note in notes:
        try:
            found.append(parse_rotation(note))
        except NoteError:
            continue
    return found


def successors(pinned: Verifier, rotations: Iterable[Rotation]) -> list[Accepted]:
    """Return the pinned key and every key that was named after it, by a chain that begins with it."""
    accepted = {pinned: Accepted(pinned, 0)}
    waiting, known = [pinned], list(rotations)
    while waiting:
        key = waiting.pop(0)
        for rotation in known:
            if rotation.old == key and rotation.new not in accepted:
                accepted[rotation.new] = Accepted(rotation.new, rotation.size)
                waiting.append(rotation.new)
    return list(accepted.values())


def open_checkpoint(note: bytes, accepted: Sequence[Accepted]) -> Checkpoint:
    """Return a checkpoint that one of the accepted keys has signed, at a size from which that key counts.

    Raises NoteError.
    """
    checkpoint = parse(open_note(note, [item.verifier for item in accepted]))
    counting = [item.verifier for item in accepted if item.size <= checkpoint.size]
    open_note(note, counting)
    return checkpoint


def relatives(pinned: Verifier, rotations: Iterable[Rotation]) -> list[Verifier]:
    """Return the pinned key, those named after it, and those that it names as its predecessors.

    For what was signed at any time: a checkpoint kept before a rotation is signed by a predecessor, which the pinned
    key has vouched for by signing the rotation too.
    """
    known = list(rotations)
    found, waiting = [pinned], [pinned]
    while waiting:
        key = waiting.pop(0)
        for rotation in known:
            if rotation.new == key and rotation.old not in found:
                found.append(rotation.old)
                waiting.append(rotation.old)
    return found + [item.verifier for item in successors(pinned, known) if item.verifier not in found]


def speakers(newest: Verifier, rotations: Iterable[Rotation]) -> list[Speaker]:
    """Return the keys that speak for the trail when `newest` does: those after it, and those before it in their time.

    Who holds a key whose time is over signs nothing more for the trail, wherever he adds a line.
    """
    known = list(rotations)
    named, going_on = relatives(newest, known), {item.verifier for item in successors(newest, known)}
    found = []
    for key in named:
        end = max(rotation.size for rotation in known if rotation.old == key) if key not in going_on else None
        found.append(Speaker(key, MAX_INTEGER + 1 if end is None else end + STRAGGLERS))
    return found
