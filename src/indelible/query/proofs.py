"""Proofs from Python: `indelible.prove` and `indelible.verify_proof`.

The rule that lives here: what is not shown raises. Nobody has to look at a result to learn that the answer is no.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from indelible.errors import NoteError, NotProven
from indelible.query.find import find_event
from indelible.trail.checking.check import load_vkey
from indelible.trail.proofs.elsewhere import leaf_of
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.proof import open_proof
from indelible.trail.proofs.stored import prove as prove_seq


class Proven(NamedTuple):
    """What a proof shows of a line."""

    origin: str
    """The trail's name."""
    seq: int
    size: int
    """How many events the checkpoint covers that the proof leads to."""
    erased: bool = False
    """The line's content was erased; its leaf hash is what was shown."""


def prove(path: str | Path, event: int | str, vkey: str | None = None) -> bytes:
    """Return the proof that an event, by its `seq` or its `event_id`, is in the trail: a C2SP tlog-proof's file.

    `path` is the trail's active file, `vkey` its public key from somewhere else, as text or the path of a file. Raises
    NotProven when the trail cannot show it, TrailError when there is none to read, ConfigError when `vkey` is no key.
    """
    verifier = None if vkey is None else load_vkey(vkey)
    active = Path(path).absolute()
    if isinstance(event, int):
        if event < 0:
            msg = f"{active}: no event has seq {event}"
            raise NotProven(msg)
        return prove_seq(active, event, verifier).data()
    found = find_event([active], event)
    return prove_seq(active, found.seq, verifier, leaf_hash(found.line)).data()


def verify_proof(proof: bytes, line: bytes | str, vkey: str) -> Proven:
    """Return what a proof shows of a line, with nothing else at hand.

    `line` is the event's line as it stands in the trail, with or without its line feed. Raises NotProven when the proof
    is none, its checkpoint is not signed by `vkey`, or it is about another line; ConfigError when `vkey` is no key.
    """
    verifier = load_vkey(vkey)
    content = (line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line).removesuffix(b"\n")
    try:
        opened = open_proof(proof, verifier)
    except NoteError as exc:
        raise NotProven(str(exc)) from exc
    leaf, erased = leaf_of(content)
    if not opened.shows(leaf):
        msg = "the line is not the one that the proof is about, or one of them was altered"
        raise NotProven(msg)
    return Proven(opened.checkpoint.origin, opened.proof.index, opened.checkpoint.size, erased)
