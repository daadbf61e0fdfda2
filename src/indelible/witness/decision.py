"""What a submission is answered: C2SP tlog-witness, "add-checkpoint". Pure.

The order of the checks is the specification's: who asks (404, 403) comes before what is asked (400, 409, 422), so that
nobody learns or changes anything of a log whose checkpoint its key has not signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from indelible.errors import NoteError
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, split_note
from indelible.trail.proofs.merkle import EMPTY_ROOT, verify_consistency
from indelible.trail.proofs.submission import SIZE_TYPE, Submission

Logs = Mapping[str, Sequence[Verifier]]
"""Origin → the keys that may sign for it; several while a log changes its key."""

TEXT_TYPE: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """A status, and what goes with it."""

    status: int
    body: bytes
    content_type: str = TEXT_TYPE


class Signed(NamedTuple):
    """A checkpoint whose log has signed it."""

    text: str
    """What a witness cosigns: the note without its signatures."""
    checkpoint: Checkpoint
    note: bytes
    """Text and the signatures of the log's own keys; all others are left out."""


def refuse(status: int, why: str) -> Answer:
    """Return a refusal with a line that says why."""
    return Answer(status, f"{why}\n".encode())


def identify(submission: Submission, logs: Logs) -> Signed | Answer:
    """Say whose checkpoint it is, when its log's key has signed it."""
    try:
        text, signatures = split_note(submission.note)
        claimed = parse(text)
    except NoteError as exc:
        return refuse(400, str(exc))
    keys = logs.get(claimed.origin)
    if keys is None:
        return refuse(404, "this log is not known here")
    try:
        open_note(submission.note, list(keys))
    except NoteError as exc:
        return refuse(403, str(exc))
    known = {(key.name, key.key_id) for key in keys}
    lines = submission.note[len(text.encode()) + 1 :].split(b"\n")
    own = b"".join(
        line + b"\n" for line, item in zip(lines, signatures, strict=False) if (item.name, item.key_id) in known
    )
    return Signed(text, claimed, text.encode() + b"\n" + own)


def judge(submission: Submission, checkpoint: Checkpoint, latest: Checkpoint | None) -> Answer | None:
    """Return None when the checkpoint may be cosigned, being that of `latest` or one that extends it."""
    size, root = (0, EMPTY_ROOT) if latest is None else (latest.size, latest.root)
    if submission.old > checkpoint.size:
        return refuse(400, "the old size is larger than the checkpoint's")
    if submission.old != size:
        return Answer(409, b"%d\n" % size, SIZE_TYPE)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return refuse(422, "a tree without leaves has another root")
    if size == 0 and submission.proof:
        return refuse(422, "from an empty tree on there is nothing to prove")
    if not verify_consistency(size, checkpoint.size, root, checkpoint.root, submission.proof):
        same = (
            "another root at the same size"
            if size == checkpoint.size
            else "the proof does not show that it extends"
        )
        return refuse(422, f"{same} the checkpoint that was cosigned before")
    return None
