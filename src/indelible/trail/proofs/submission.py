"""What is said to a witness and what it answers: `add-checkpoint` of C2SP tlog-witness.

    old <size>\\n                 the tree that the witness cosigned last
    <hash, base64>\\n …           the consistency proof from there, at most 63
    \\n
    <signed checkpoint, as it stands>

answered with signature lines, or with `409 Conflict` and the size that the witness has.

Pure: bytes in, values out. What parses raises NoteError and nothing else, whatever it is given.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import canonical_base64, split_note
from indelible.trail.proofs.merkle import HASH_SIZE

if TYPE_CHECKING:
    from indelible.trail.proofs.cosignature import WitnessKey

PATH: Final = "add-checkpoint"
"""Below the witness's submission prefix."""

SIZE_TYPE: Final = "text/x.tlog.size"
"""Content type of a 409's body."""

MAX_PROOF_LINES: Final = 63
"""A client must not send more (C2SP tlog-witness, "add-checkpoint")."""

MAX_SUBMISSION_BYTES: Final = 65_536
"""63 hashes are 2,835 bytes, a checkpoint with a dozen cosignatures 2,000, with post-quantum ones 3,300 each."""

_NUMBER = re.compile(rb"0|[1-9][0-9]{0,18}")
_OLD: Final = b"old "


@dataclass(frozen=True)
class Submission:
    """A checkpoint for a witness, and the proof that it extends the one that the witness has."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes
    """The signed checkpoint, byte for byte."""

    def data(self) -> bytes:
        """Return the request's body."""
        lines = b"".join(base64.b64encode(item) + b"\n" for item in self.proof)
        return b"%s%d\n%s\n%s" % (_OLD, self.old, lines, self.note)


def parse_submission(data: bytes) -> Submission:
    """Parse a request's body; the note in it is not opened. Raises NoteError."""
    if len(data) > MAX_SUBMISSION_BYTES:
        msg = f"more than {MAX_SUBMISSION_BYTES} bytes"
        raise NoteError(msg)
    head, separator, note = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    number = first.removeprefix(_OLD)
    if number == first or not _NUMBER.fullmatch(number) or int(number) >> 63:
        msg = "the first line is not 'old' and a size"
        raise NoteError(msg)
    if not separator:
        msg = "no empty line, and no checkpoint after it"
        raise NoteError(msg)
    if len(lines) > MAX_PROOF_LINES:
        msg = f"{len(lines)} hashes; at most {MAX_PROOF_LINES} may come"
        raise NoteError(msg)
    return Submission(int(number), tuple(_hash(line, at) for at, line in enumerate(lines, 1)), note)


def _hash(line: bytes, at: int) -> bytes:
    value = canonical_base64(line.decode("ascii", "replace"), f"hash {at}")
    if len(value) != HASH_SIZE:
        msg = f"hash {at} has {len(value)} bytes"
        raise NoteError(msg)
    return value


def parse_size(body: bytes) -> int:
    """Return the size in a 409's body. Raises NoteError."""
    number = body.removesuffix(b"\n")
    if not _NUMBER.fullmatch(number) or int(number) >> 63:
        msg = f"not a tree size: {number[:24]!r}"
        raise NoteError(msg)
    return int(number)


def cosigned(note: bytes, answer: bytes, key: WitnessKey) -> tuple[bytes, int]:
    """Return the note with the witness's cosignature from its `answer` added, and the cosignature's time.

    Lines by other keys are left out. Raises NoteError when there is none by `key`, or it is wrong.
    """
    text, _ = split_note(note)
    same, signatures = split_note(text.encode() + b"\n" + answer)
    if same != text:
        msg = "an empty line in it"
        raise NoteError(msg)
    for signature in signatures:
        if (signature.name, signature.key_id) != (key.name, key.key_id):
            continue
        time = key.verified(text, signature.value)
        if time is None:
            msg = f"the cosignature by {key.name} is wrong"
            raise NoteError(msg)
        value = base64.b64encode(signature.key_id + signature.value).decode()
        return note + f"— {key.name} {value}\n".encode(), time
    names = ", ".join(sorted({f"{item.name[:80]}+{item.key_id.hex()}" for item in signatures}))
    msg = f"no cosignature by {key.name}+{key.key_id.hex()}; signed by {names}"
    raise NoteError(msg)
