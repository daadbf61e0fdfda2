"""Proofs of single events as files: C2SP tlog-proof.

    c2sp.org/tlog-proof@v1\\n
    [extra <base64>\\n]
    index <decimal>\\n
    <hash, base64>\\n …            from the leaf's sibling up
    \\n
    <signed checkpoint, as it stands>

Pure: bytes in, values out. `parse_proof` and `open_proof` raise NoteError and nothing else, whatever they are given.

The rule that lives here: a proof holds no content. Until somebody brings the line, only its shape can be judged: its
form, the checkpoint's signature, and that there are as many hashes as index and size ask for.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Verifier,
    canonical_base64,
    parse,
    split_note,
)
from indelible.trail.proofs.keptfiles import notes_in
from indelible.trail.proofs.merkle import HASH_SIZE, inclusion_length, verify_inclusion
from indelible.trail.proofs.rotation import (
    MAX_ROTATIONS,
    Accepted,
    open_checkpoint,
    parse_rotations,
    successors,
)

HEADER: Final = "c2sp.org/tlog-proof@v1"

MAX_HASHES: Final = 63
"""A tree whose size fits 63 bits has no longer way from a leaf to its root."""

_EXTRA: Final = "extra "
_INDEX: Final = "index "
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Proof:
    """A proof that an entry is number `index` of the tree that the checkpoint in `note` is about."""

    index: int
    hashes: tuple[bytes, ...]
    """From the leaf's sibling up to the root's child, 32 bytes each (RFC 6962, section 2.1.1)."""
    note: bytes
    """The signed checkpoint, byte for byte."""
    extra: bytes | None = None
    """Opaque, and vouched for by nobody."""

    def cosigners(self) -> list[str]:
        """Return the names on the note beside the trail's own, unchecked. Raises NoteError."""
        text, signatures = split_note(self.note)
        return list(dict.fromkeys(one.name for one in signatures if one.name != parse(text).origin))

    def data(self) -> bytes:
        """Return the proof's file (C2SP tlog-proof, "Format")."""
        lines = [HEADER, f"{_INDEX}{self.index}", *(base64.b64encode(item).decode() for item in self.hashes)]
        if self.extra is not None:
            lines.insert(1, _EXTRA + base64.b64encode(self.extra).decode())
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note


def parse_proof(data: bytes) -> Proof:
    """Parse a proof's file. Nothing is judged but its form; the note in it is not opened. Raises NoteError."""
    if len(data) > MAX_NOTE_BYTES:
        msg = f"not a proof: more than {MAX_NOTE_BYTES} bytes"
        raise NoteError(msg)
    if b"\r" in data:
        msg = "not a proof: carriage returns in it; something on its way changed the line ends"
        raise NoteError(msg)
    head, separator, note = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        msg = f"not a proof: byte {exc.start} is no ASCII"
        raise NoteError(msg) from exc
    if first != HEADER:
        msg = f"not a proof: the first line is not {HEADER}"
        raise NoteError(msg)
    if not separator:
        msg = "not a proof: no empty line, and no checkpoint after it"
        raise NoteError(msg)
    extra = None
    if lines and lines[0].startswith(_EXTRA):
        extra = canonical_base64(lines.pop(0).removeprefix(_EXTRA), "proof: extra")
    index = _parse_index(lines.pop(0) if lines else "")
    return Proof(index, _parse_hashes(lines), note, extra)


def _parse_index(line: str) -> int:
    number = line.removeprefix(_INDEX)
    if number == line or not _NUMBER.fullmatch(number) or int(number) >> 63:
        msg = f"not a proof: expected 'index' and a number, found {line[:40]!r}"
        raise NoteError(msg)
    return int(number)


def _parse_hashes(lines: list[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_HASHES:
        msg = f"not a proof: {len(lines)} hashes, no tree needs more than {MAX_HASHES}"
        raise NoteError(msg)
    hashes = tuple(canonical_base64(line, f"proof: hash {number}") for number, line in enumerate(lines, 1))
    for number, item in enumerate(hashes, 1):
        if len(item) != HASH_SIZE:
            msg = f"not a proof: hash {number} has {len(item)} bytes"
            raise NoteError(msg)
    return hashes


class OpenedProof(NamedTuple):
    """A proof whose checkpoint is signed by the right key, and whose shape is right."""

    proof: Proof
    checkpoint: Checkpoint
    keys: list[Accepted]
    """The pinned key, and those after it that the proof's own hand-overs lead to."""

    @property
    def signed_by(self) -> list[Verifier]:
        """The keys of these whose signature the checkpoint bears."""
        signatures = {(one.name, one.key_id) for one in split_note(self.proof.note)[1]}
        return [one.verifier for one in self.keys if (one.verifier.name, one.verifier.key_id) in signatures]

    def shows(self, leaf: bytes) -> bool:
        """Tell whether the entry with this leaf hash stands at the proof's index (RFC 9162, section 2.1.3.2)."""
        proof, checkpoint = self.proof, self.checkpoint
        return verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)


def open_proof(data: bytes, verifier: Verifier) -> OpenedProof:
    """Parse a proof's file and judge all of it that can be judged without its entry.

    `extra` may hold the notes by which the trail's keys handed over, one after the other: a later key counts when the
    chain begins with `verifier`, and for checkpoints from the size on that the note says. Of keys before `verifier`
    none counts: it was replaced for a reason.

    Raises NoteError: the form, the signature of the checkpoint, its origin, an index beyond the tree, hashes too many
    or too few.
    """
    proof = parse_proof(data)
    rotations = parse_rotations(notes_in(proof.extra or b"").notes[:MAX_ROTATIONS])
    accepted = successors(verifier, rotations)
    try:
        checkpoint = open_checkpoint(proof.note, accepted)
    except NoteError as exc:
        raise NoteError(f"{exc}{_other_key(proof.note, verifier, accepted)}") from exc
    if checkpoint.origin != verifier.name:
        msg = f"the checkpoint is of {checkpoint.origin[:80]!r}, the key of {verifier.name[:80]!r}"
        raise NoteError(msg)
    if proof.index >= checkpoint.size:
        msg = f"index {proof.index} is not in a tree of {checkpoint.size} events"
        raise NoteError(msg)
    wanted = inclusion_length(proof.index, checkpoint.size)
    if len(proof.hashes) != wanted:
        where = f"index {proof.index} in a tree of {checkpoint.size}"
        msg = f"{where} takes {wanted} hashes, the proof has {len(proof.hashes)}"
        raise NoteError(msg)
    return OpenedProof(proof, checkpoint, accepted)


def _other_key(note: bytes, pinned: Verifier, accepted: list[Accepted]) -> str:
    """Return what else there is to say of a checkpoint that no accepted key has signed."""
    try:
        signatures = split_note(note)[1]
    except NoteError:
        return ""
    known = {one.verifier.key_id for one in accepted}
    ours = [one for one in signatures if one.name == pinned.name]
    if not ours or any(one.key_id in known for one in ours):
        return ""
    return (
        "; it is another key under the same name: that of a trail whose key was changed, before or after, which the"
        " key at hand says nothing of, or anybody's. Ask for a new proof, which names the keys in between, or take the"
        " trail's key of that time from a place that you trust"
    )
