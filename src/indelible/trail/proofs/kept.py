"""Trails compared with checkpoints that were kept elsewhere, and with what witnesses said of them.

The rules that live here. A trail that was only appended to extends every tree that it ever signed (RFC 9162, section
2.1.4): a smaller one was rolled back, another root at the same size or below is a fork. A kept checkpoint counts only
when the right key signed it; where no comparison could be made, that is a finding, never a silence. A witness counts
for a trail when it cosigned a checkpoint that the trail extends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from indelible.errors import NoteError, NotProven
from indelible.trail import findings as words
from indelible.trail.checking.verify import ROLLBACK
from indelible.trail.findings import Finding, KeptCheckpoint, Previous, VerifyResult, Witnessed
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, split_note
from indelible.trail.proofs.cosignature import WitnessKey, cosignatures
from indelible.trail.proofs.keptfiles import notes_in
from indelible.trail.proofs.merkle import verify_consistency
from indelible.trail.proofs.prove import TileMissing, consistency_proof, root_at
from indelible.trail.proofs.rotation import relatives
from indelible.trail.proofs.stored import StoredFiles, own_key, rotations_of
from indelible.trail.proofs.tiles import StoredTiles

_UNBELIEVED = frozenset({words.CHECKPOINT_INVALID, words.CHECKPOINT_MISSING})


class Quorum(NamedTuple):
    """Which witnesses are asked for, and how many of them are enough."""

    keys: tuple[WitnessKey, ...] = ()
    needed: int = 0


class Comparison:
    """Compares verified trails with files of kept checkpoints, and adds to their results what there is to say.

    The trail of a checkpoint's origin is the one that is compared, or the earlier one of that origin that a trail
    names. Every finding is added to a result.
    """

    def __init__(
        self, results: list[VerifyResult], vkey: Verifier | None = None, quorum: Quorum | None = None
    ) -> None:
        """With `vkey` that key must have signed every checkpoint; else the one beside its trail is believed."""
        self._results = results
        self._vkey = vkey
        self._quorum = quorum or Quorum()
        self._witnessed: dict[tuple[str, WitnessKey], tuple[int, int, str]] = {}
        """(origin, witness) → size, time and file of the newest that it cosigned."""

    def add(self, name: str, data: bytes, progress: Callable[[int], None] | None = None) -> None:
        """Compare with what a file holds; `name` is what people call it. `progress` is told how many bytes are done."""
        notes, others = notes_in(data)
        if others:
            self._results[0].not_checked.append(f"{name}: {others} lines that hold no checkpoint")
        if not notes:
            self._refuse(name, "there is no signed checkpoint in it")
        unlike = dict.fromkeys(notes)
        for number, note in enumerate(unlike, 1):
            self._compare(name, name if len(unlike) == 1 else f"{name}, checkpoint {number}", note)
            if progress is not None:
                progress(len(data) * number // len(unlike) - len(data) * (number - 1) // len(unlike))

    def finish(self) -> None:
        """Say what is left of the caveat about rollbacks, and which witnesses there are."""
        for result in self._results:
            _limit_caveat(result)
            if self._quorum.keys:
                self._count_witnesses(result)

    def _refuse(self, name: str, why: str) -> None:
        expected = self._vkey.vkey() if self._vkey is not None else "a checkpoint signed by the trail's key"
        self._results[0].add(Finding(words.CHECKPOINT_INVALID, name, expected=expected, detail=why))
        self._results[0].not_checked.append(f"{name}: no trail was compared with it")

    def _compare(self, file: str, name: str, note: bytes) -> None:
        """Compare with one checkpoint."""
        try:
            claimed = parse(split_note(note)[0])
            result, earlier = _of_origin(self._results, claimed.origin)
            if result is None:
                _say_foreign(self._results, claimed, name)
                return
            kept = _signed(note, _keys_of(result, earlier, self._vkey))
            witnesses = cosignatures(note, self._quorum.keys)
        except NoteError as exc:
            self._refuse(name, str(exc))
            return
        before = len(result.findings) + result.omitted
        if earlier is not None:
            _compare_earlier(kept, earlier, name, result)
        else:
            _compare_own(kept, name, result)
        ok = len(result.findings) + result.omitted == before
        _note_kept(result, file, kept, ok=ok)
        if ok and earlier is None:
            for key, time in witnesses.items():
                place = (kept.origin, key)
                self._witnessed[place] = max(self._witnessed.get(place, (0, 0, "")), (kept.size, time, name))

    def _count_witnesses(self, result: VerifyResult) -> None:
        """Compare how many witnesses cosigned a trail with how many are asked for; name the others."""
        found, missing = [], []
        for key in self._quorum.keys:
            seen = self._witnessed.get((str(result.origin), key))
            if seen is None:
                missing.append(f"{key.name}+{key.key_id.hex()}")
                continue
            size, time, file = seen
            found.append(Witnessed(key.vkey(), size, _utc(time), file))
        result.witnesses = found
        if len(found) < self._quorum.needed:
            detail = f"no checkpoint that the trail extends was cosigned by {', '.join(missing)}"
            expected, counted = f"{self._quorum.needed} witnesses", f"{len(found)} of {len(self._quorum.keys)}"
            where = result.trail
            result.add(Finding(words.NOT_WITNESSED, where, None, None, expected, counted, detail))
        else:
            result.not_checked += [f"witness {name}: no cosignature by it was at hand" for name in missing]


def count_cosignatures(note: bytes, size: int, quorum: Quorum, result: VerifyResult) -> None:
    """Compare how many witnesses cosigned the checkpoint of a proof with how many are asked for."""
    try:
        seen = cosignatures(note, quorum.keys)
    except NoteError as exc:
        result.add(Finding(words.PROOF_INVALID, result.trail, detail=str(exc)))
        seen = {}
    result.witnesses = [
        Witnessed(key.vkey(), size, _utc(seen[key]), result.trail) for key in quorum.keys if key in seen
    ]
    missing = [f"{key.name}+{key.key_id.hex()}" for key in quorum.keys if key not in seen]
    if len(seen) < quorum.needed:
        detail = f"the proof's checkpoint was not cosigned by {', '.join(missing)}"
        expected, found = f"{quorum.needed} witnesses", f"{len(seen)} of {len(quorum.keys)}"
        result.add(Finding(words.NOT_WITNESSED, result.trail, None, None, expected, found, detail))
    else:
        result.not_checked += [f"witness {name}: no cosignature by it is in the proof" for name in missing]


def _utc(time: int) -> str:
    """Return seconds since 1970 as RFC 3339; far beyond what a clock shows, the number itself."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{time} s after 1970"


def _note_kept(result: VerifyResult, file: str, kept: Checkpoint, *, ok: bool) -> None:
    """Put a compared checkpoint to those of its file and origin."""
    for known in result.kept:
        if (known.file, known.origin) == (file, kept.origin):
            break
    else:
        known = KeptCheckpoint(file, kept.origin, 0, -1, "")
        result.kept.append(known)
    known.count += 1
    known.ok = known.ok and ok
    if kept.size > known.size:
        known.size, known.root = kept.size, kept.root.hex()


def _signed(note: bytes, keys: list[Verifier]) -> Checkpoint:
    """Return what a kept note says when one of the keys of its origin signed it. Raises NoteError."""
    if not keys:
        msg = "the key of its trail is not there to check the signature with; --vkey takes one"
        raise NoteError(msg)
    kept = parse(open_note(note, keys))
    if keys[0].name != kept.origin:
        msg = f"it is of {kept.origin[:80]!r}, the key of {keys[0].name[:80]!r}"
        raise NoteError(msg)
    return kept


def _of_origin(results: list[VerifyResult], origin: str) -> tuple[VerifyResult | None, Previous | None]:
    """Return the trail of an origin; or the one that succeeds it, and what that says of it."""
    for result in results:
        if result.origin == origin:
            return result, None
    for result in results:
        for earlier in result.previous:
            if earlier.origin == origin:
                return result, earlier
    return None, None


def _keys_of(result: VerifyResult | None, earlier: Previous | None, vkey: Verifier | None) -> list[Verifier]:
    """Return the trusted key, or the one beside the trail, and those that it names: a kept checkpoint may be older."""
    trail = earlier.trail if earlier is not None else result.trail if result is not None else None
    if trail is None:
        return [] if vkey is None else [vkey]
    layout = Layout(Path(trail))
    try:
        return relatives(vkey or own_key(layout), rotations_of(layout))
    except NotProven:
        return []


def _say_foreign(results: list[VerifyResult], kept: Checkpoint, name: str) -> None:
    """Nothing here is of the checkpoint's origin."""
    mine = ", ".join(sorted(str(result.origin) for result in results))
    detail = "the kept checkpoint is of another trail, which is neither here nor named as an earlier one"
    results[0].add(Finding(words.ORIGIN_MISMATCH, name, None, None, mine, kept.origin, detail))
    results[0].not_checked.append(f"{name}: no trail was compared with it")


def _compare_own(kept: Checkpoint, name: str, result: VerifyResult) -> None:
    if (
        result.size is None
        or result.root is None
        or any(item.problem in _UNBELIEVED for item in result.findings)
    ):
        detail = "the trail's own checkpoint is not signed, so there is nothing to compare the kept one with"
        result.add(Finding(words.CHECKPOINT_INVALID, name, detail=detail))
        return
    if result.size < kept.size:
        detail = "the trail was rolled back, or its end was cut off together with the checkpoint over it"
        if result.unsealed:
            detail += f"; {result.unsealed} lines after its checkpoint are vouched for by nobody"
        expected, found = f"{kept.size} events or more", f"{result.size} events"
        result.add(Finding(words.ROLLED_BACK, name, None, result.size, expected, found, detail))
        return
    _compare_trees(kept, Path(result.trail), result.size, result.root, name, result)


def _compare_earlier(kept: Checkpoint, earlier: Previous, name: str, result: VerifyResult) -> None:
    """Compare with the trail that lost its end; what a line of its successor says of it is sealed."""
    if earlier.size < kept.size:
        detail = f"the earlier trail {earlier.origin} was rolled back before its end was lost"
        expected, found = f"{kept.size} events or more", f"{earlier.size} events"
        result.add(Finding(words.ROLLED_BACK, name, None, earlier.size, expected, found, detail))
        return
    if earlier.end < kept.size:
        detail = f"the earlier trail {earlier.origin} lost its end, as the first line of its successor says"
        expected, found = f"{kept.size} events", f"{earlier.end} events"
        result.add(Finding(words.TAIL_CUT, earlier.trail or name, None, earlier.end, expected, found, detail))
    if earlier.trail is not None:
        _compare_trees(kept, Path(earlier.trail), earlier.size, bytes.fromhex(earlier.root), name, result)
    elif (kept.size, kept.root.hex()) != (earlier.size, earlier.root):
        detail = f"the earlier trail {earlier.origin} is not there to be compared with"
        result.add(Finding(words.PREVIOUS_MISMATCH, name, detail=detail))


def _compare_trees(
    kept: Checkpoint, trail: Path, size: int, root: bytes, name: str, result: VerifyResult
) -> None:
    """Check that the tree of `size` leaves under `root` extends the kept one, by a proof made from the tiles."""
    files = StoredFiles(Layout(trail), None)
    tiles = StoredTiles(files.tile, files.partial_widths, size, root)
    try:
        proof, found = consistency_proof(tiles, kept.size), root_at(tiles, kept.size)
    except TileMissing as exc:
        detail = "without it the trail cannot be compared with the kept checkpoint"
        result.add(Finding(words.TILE_MISSING, files.name(tiles.path(exc.level, exc.index)), detail=detail))
        return
    if verify_consistency(kept.size, size, kept.root, root, proof):
        return
    if verify_consistency(kept.size, size, found, root, proof):
        what = (
            "at the same size the trail has another root"
            if kept.size == size
            else "the trail does not extend it"
        )
        detail = f"{what}: its history was written anew from some event before seq {kept.size} on"
        where = (None, None, kept.root.hex(), found.hex(), detail)
        result.add(Finding(words.FORKED, name, *where))
        return
    detail = (
        "the tiles do not lead to the signed root, so the trail cannot be compared with the kept checkpoint"
    )
    result.add(Finding(words.TILE_ALTERED, files.name("tile"), detail=detail))


def _limit_caveat(result: VerifyResult) -> None:
    """A rollback past the newest kept checkpoint would have been seen: say only what is left of that caveat."""
    own = [kept for kept in result.kept if kept.ok and kept.origin == result.origin]
    if not own:
        return
    newest = max(own, key=lambda kept: kept.size)
    where = f"{newest.file} ({newest.size} events)"
    said = f"a rollback to a state after {where} cannot be seen without a later checkpoint"
    result.not_checked = [said if text == ROLLBACK else text for text in result.not_checked]


def quorum_of(keys: Sequence[WitnessKey], needed: int | None) -> Quorum:
    """Return the quorum of distinct keys; without a number, all of them are needed."""
    distinct = tuple(dict.fromkeys(keys))
    return Quorum(distinct, len(distinct) if needed is None else needed)
