"""Whose signature a batch's checkpoint must bear. Pure.

The rule that lives here: a manifest names its key, and anybody may have written the manifest. The key that counts is
the pinned one; without any it is that of the newest manifest, for all batches of the trail alike. Keys that handed over
to it, or took over from it, count for the sizes that signed notes give them (`rotation`), wherever these were found.
"""

from __future__ import annotations

from collections.abc import Iterable

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, parse_vkey, split_note
from indelible.trail.proofs.keptfiles import notes_in
from indelible.trail.proofs.manifest import Manifest
from indelible.trail.proofs.rotation import MAX_ROTATIONS, Rotation, parse_rotations, speakers, successors


class TrailKeys:
    """The keys of one trail, by the pinned one."""

    def __init__(self, pinned: Verifier, rotations: Iterable[Rotation] = ()) -> None:
        self.pinned = pinned
        self._rotations = list(rotations)
        self._texts: set[str] = set()

    def learn(self, manifest: Manifest) -> None:
        """Take the notes that a manifest brings: each is believed for its signatures alone."""
        text = manifest.rotations
        if text is None or text in self._texts or len(self._rotations) >= MAX_ROTATIONS:
            return
        self._texts.add(text)
        known = set(self._rotations)
        found = parse_rotations(notes_in(text.encode()).notes[:MAX_ROTATIONS])
        self._rotations += [one for one in found if one not in known]

    def of_size(self, size: int) -> list[Verifier]:
        """Return the keys that may sign a checkpoint over so many events."""
        begins = {one.verifier: one.size for one in successors(self.pinned, self._rotations)}
        known = speakers(self.pinned, self._rotations)
        return [one.key for one in known if begins.get(one.key, 0) <= size <= one.end]

    def open(self, note: bytes) -> Checkpoint:
        """Return a checkpoint of this trail that one of its keys has signed. Raises NoteError."""
        claimed = parse(split_note(note)[0])
        checkpoint = parse(open_note(note, self.of_size(claimed.size)))
        if checkpoint.origin != self.pinned.name:
            msg = f"it is of {checkpoint.origin[:80]!r}, the key of {self.pinned.name[:80]!r}"
            raise NoteError(msg)
        return checkpoint


def claimed_key(manifest: Manifest) -> Verifier | None:
    """Return the key that a manifest names, when it is one of the manifest's trail."""
    try:
        found = parse_vkey(manifest.vkey or "")
    except NoteError:
        return None
    return found if found.name == manifest.origin else None
