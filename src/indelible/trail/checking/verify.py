"""Verification of a trail: what is on disk against the tree that was signed. Pure.

The rules that may not move: nothing is believed for standing in a file; the signed root vouches for tiles, tiles for
lines. The checkpoint is read before the lines and the tiles, so that a writer at work can only add to what it
covers. The first finding is never the last; what cannot be checked is always said.

A `Source` hands over bytes; `indelible.trail.reader` has the one that reads a disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final, Protocol

from indelible.errors import NoteError, TrailCorrupt
from indelible.trail import findings as words
from indelible.trail.checking.walk import Block, Gap, Walk
from indelible.trail.erased import PLAN_HEAD, Erasures, Ranges, not_erased, split_plan
from indelible.trail.findings import AcceptedKey, Finding, VerifyResult
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, parse_vkey, split_note
from indelible.trail.proofs.ownwords import OwnWords
from indelible.trail.proofs.rotation import Accepted, open_checkpoint, parse_rotations, speakers, successors
from indelible.trail.proofs.tiles import StoredTiles

ROLLBACK: Final = "a rollback to an earlier checkpoint cannot be seen without a checkpoint kept elsewhere"
KEY_NOT_PINNED: Final = "key not pinned: the key beside the trail was believed; --vkey takes one kept elsewhere"


class LineFile(Protocol):
    """One file of lines, oldest file first."""

    name: str
    first_seq: int | None
    """What the file's name says; None for the active one."""

    def blocks(self) -> Generator[Block, None, None]:
        """Yield the whole lines in order. Raises TrailCorrupt when the file cannot be decoded."""

    def rest(self) -> bytes:
        """Return, after `blocks`, what follows the last LF, cut to a line's length."""


class Source(Protocol):
    """A trail as bytes. Paths are below the trail's directory."""

    trail: str

    def name(self, path: str) -> str:
        """Return how people know a path."""

    def small(self, path: str) -> bytes | None:
        """Return a small file (``checkpoint``, ``origin``, ``key.vkey``, ``erasing``), or None when there is none."""

    def tile(self, path: str) -> bytes | None:
        """Return a tile's file, or None."""

    def partial_widths(self, level: int, index: int) -> Sequence[int]:
        """Return the widths of the partial tiles that are there."""

    def rotations(self) -> list[bytes]:
        """Return the notes by which one key names the next, as they stand in ``keys/``."""

    def leaves(self) -> int:
        """Return how many leaves the stored tiles of level 0 hold, for a trail without a usable checkpoint."""

    def strangers(self) -> list[tuple[str, str]]:
        """Return (file, why) of what lies among the segments and is none of them."""

    def links(self) -> list[tuple[str, str, str]]:
        """Return (file, what belongs there, what stands there) of the trail's links that are none of its own."""

    def notes(self) -> list[str]:
        """Return what else lies there and is not checked."""

    def files(self) -> Iterator[LineFile]:
        """Yield the files of lines, oldest first."""


ERASING: Final = "erasing"
"""The file that stands in a trail's directory while an erasure is under way, or was cut off."""


def verify(
    source: Source,
    vkey: Verifier | None = None,
    erased: Mapping[str, Mapping[str, Ranges]] | None = None,
) -> VerifyResult:
    """Check a whole trail. `vkey` is the key that the caller trusts; without it the trail's own is used.

    `erased` is what a later trail's sealed events say was erased of earlier ones: by origin, then by the event.
    Memory is bounded; every finding says file, line, seq, what was expected and what was found.
    """
    result = VerifyResult(source.trail)
    checkpoint, signed = _checkpoint(source, vkey, result)
    if checkpoint is not None:
        result.size, result.root = checkpoint.size, checkpoint.root
    _origin(source, checkpoint.origin if checkpoint is not None and signed else None, result)
    erasing = _is_erasing(source, vkey)  # after the checkpoint, before the lines: see `_erased`
    for file, why in source.strangers():
        result.add(Finding(words.FILE_FOREIGN, file, found=why, expected="segments only, as plain files"))
    for file, expected, found in source.links():
        detail = "who reads it does not see the trail; take it away, and the next writer links again"
        result.add(Finding(words.LINK_ALTERED, file, expected=expected, found=found, detail=detail))
    erasures = Erasures((erased or {}).get(result.origin or ""))
    own = (
        _own_words(source, vkey, result) if signed else OwnWords(None)
    )  # no line is vouched for, and that is said
    walk = Walk(_tiles(source, checkpoint, signed=signed), result, result.origin, source.name, erasures, own)
    _read(source, walk, result)
    walk.finish()
    _excuse(walk.gaps, walk.recorded, result)
    _erased(erasures, result, erasing=erasing)
    _caveats(source, result)
    if vkey is None:
        result.not_checked.insert(0, KEY_NOT_PINNED)
    return result


def _checkpoint(source: Source, vkey: Verifier | None, result: VerifyResult) -> tuple[Checkpoint | None, bool]:
    """Return the checkpoint, and whether it is signed; one whose signature is wrong still says what it covers."""
    where = source.name("checkpoint")
    note = source.small("checkpoint")
    if note is None:
        result.add(Finding(words.CHECKPOINT_MISSING, where, expected="a signed checkpoint", found="no file"))
        return None, False
    key = vkey or _own_key(source, result)
    accepted = [] if key is None else successors(key, parse_rotations(source.rotations()))
    if vkey is not None:
        _compare_own_key(source, vkey, accepted, result)
    try:
        checkpoint = open_checkpoint(note, accepted)
    except NoteError as exc:
        expected = " or ".join(item.verifier.vkey() for item in accepted) or None
        result.add(Finding(words.CHECKPOINT_INVALID, where, expected=expected, detail=str(exc)))
        return _unsigned(note), False
    if len(accepted) > 1:
        signed = {signature.key_id for signature in split_note(note)[1]}
        result.keys = [
            AcceptedKey(item.verifier.vkey(), item.size, item.verifier.key_id in signed) for item in accepted
        ]
    if key is not None and checkpoint.origin != key.name:
        detail = "the checkpoint is of another trail than its key"
        result.add(Finding(words.ORIGIN_MISMATCH, where, None, None, key.name, checkpoint.origin, detail))
    return checkpoint, True


def _own_key(source: Source, result: VerifyResult) -> Verifier | None:
    """Return the key that lies beside the trail."""
    text = source.small("key.vkey")
    where = source.name("key.vkey")
    try:
        if text is None:
            raise NoteError("there is no file; pass --vkey")
        return parse_vkey(text.decode("utf-8", "replace"))
    except NoteError as exc:
        result.add(Finding(words.CHECKPOINT_INVALID, where, expected="the trail's public key", detail=str(exc)))
        return None


def _own_words(source: Source, vkey: Verifier | None, result: VerifyResult) -> OwnWords:
    """Return what tells the trail's own words: by the last of the trusted keys that signed the checkpoint, and others.

    Those before it have spoken in their time, and those after it may do so by now.
    """
    newest = next((one.vkey for one in reversed(result.keys) if one.signed), None)
    try:
        if newest is not None:
            key = parse_vkey(newest)
        else:
            key = vkey or parse_vkey((source.small("key.vkey") or b"").decode("utf-8", "replace"))
    except NoteError:
        return OwnWords(None)
    return OwnWords(lambda: speakers(key, parse_rotations(source.rotations())))


def _compare_own_key(
    source: Source, vkey: Verifier, accepted: Sequence[Accepted], result: VerifyResult
) -> None:
    """The key beside the trail is not needed when another is trusted, but must be it, or named by it."""
    text = source.small("key.vkey")
    said = None if text is None else text.decode("utf-8", "replace").removesuffix("\n")
    if said is not None and said not in {item.verifier.vkey() for item in accepted}:
        result.add(
            Finding(words.KEY_MISMATCH, source.name("key.vkey"), expected=vkey.vkey(), found=repr(said[:200]))
        )


def _unsigned(note: bytes) -> Checkpoint | None:
    """Return what a note says that nobody vouches for: it helps to say more about the lines, nothing else."""
    try:
        return parse(split_note(note)[0])
    except NoteError:
        return None


def _origin(source: Source, signed: str | None, result: VerifyResult) -> None:
    """Compare the trail's name with the one that was signed, if any."""
    data = source.small("origin")
    said = None if data is None else data.decode("utf-8", "replace").removesuffix("\n")
    result.origin = signed or said
    if said is None or (signed is not None and said != signed):
        found = "no file" if said is None else repr(said[:80])
        where = source.name("origin")
        result.add(Finding(words.ORIGIN_MISMATCH, where, expected=signed or "the trail's name", found=found))


def _tiles(source: Source, checkpoint: Checkpoint | None, *, signed: bool) -> StoredTiles:
    """Return the tree to compare with: the signed one; failing that, what the tiles themselves make up."""
    if checkpoint is not None:
        tiles = StoredTiles(source.tile, source.partial_widths, checkpoint.size, checkpoint.root)
        if signed or (
            tiles.anchored and checkpoint.size <= 2 * source.leaves()
        ):  # else a size that nobody vouches for
            return tiles
    return StoredTiles(source.tile, source.partial_widths, source.leaves(), None)


def _read(source: Source, walk: Walk, result: VerifyResult) -> None:
    """Feed every file to the walk."""
    torn: tuple[LineFile, bytes] | None = None
    for file in source.files():
        if torn is not None:
            walk.unended(torn[1], last=False)
        walk.start_file(file.name, file.first_seq)
        result.files += 1
        try:
            with contextlib.closing(file.blocks()) as blocks:
                for block in blocks:
                    if walk.is_anothers(block):
                        break
                    walk.block(block)
        except TrailCorrupt as exc:
            result.add(Finding(words.FILE_UNREADABLE, file.name, detail=str(exc)))
        rest = file.rest()
        torn = (file, rest) if rest else None
    if torn is not None:
        walk.unended(torn[1], last=torn[0].first_seq is None)


def _excuse(gaps: list[Gap], recorded: list[tuple[int, int]], result: VerifyResult) -> None:
    """Take back what was said of files whose deletion a sealed line records."""
    for gap in gaps:
        rest = gap.first
        for first, last in sorted(recorded):
            if first <= rest <= last:
                rest = last + 1
        if rest >= gap.end:
            result.pruned += gap.end - gap.first
            kept = [finding for finding in result.findings if finding is not gap.finding]
            result.omitted -= len(kept) == len(result.findings)  # it was one too many to be kept
            result.findings = kept
        elif rest > gap.first:
            result.pruned += rest - gap.first
            gap.finding.seq, gap.finding.expected = rest, f"seq {rest} to {gap.end - 1}"


def _is_erasing(source: Source, vkey: Verifier | None) -> bool:
    """Tell whether an erasure is under way, or was cut off: its plan stands there, signed by the trail's key."""
    data = source.small(ERASING)
    text = source.small("key.vkey") or b""
    try:
        key = vkey or parse_vkey(text.decode("utf-8", "replace"))
        accepted = [item.verifier for item in successors(key, parse_rotations(source.rotations()))]
        return data is not None and open_note(split_plan(data)[0], accepted).startswith(
            f"{PLAN_HEAD}\n{key.name}\n"
        )
    except NoteError:
        return False


def _erased(erasures: Erasures, result: VerifyResult, *, erasing: bool) -> None:
    """Compare the erased lines with what sealed events say of them.

    A record is sealed before the first line goes, and the file that says so is there from before the record until after
    the last line: a look that began without that file finds either no record or no content.
    """
    result.erasures, result.own_erasures = dict(erasures.elsewhere), erasures.own
    # A record may be about another trail of this origin, of which this one is a shorter copy.
    if result.size is not None:
        erasures.absent(result.size + result.unsealed, 2**53)
    for finding in erasures.unrecorded():
        result.add(finding)
    left = list(erasures.still_there())
    if left and erasing:
        count = result.to_erase = sum(last - first + 1 for first, last in left)
        plural = "s are" if count > 1 else " is"
        result.not_checked.append(
            f"{count} event{plural} on record as erased, and not erased yet: whoever writes the trail finishes that"
        )
        return
    for first, last in left:
        result.add(not_erased(first, last, result.trail))


def _caveats(source: Source, result: VerifyResult) -> None:
    """Say what nobody can know from this disk alone, and what was left out."""
    said = result.not_checked
    if result.size is None:
        said.append("without a checkpoint nothing vouches for any line")
    if result.unsealed:
        plural = "s" if result.unsealed > 1 else ""
        said.append(f"{result.unsealed} event{plural} after the last checkpoint: form and order only")
    if result.erased:
        said.append(f"the content of {result.erased} erased events: their leaf hashes were checked")
    if result.pruned:
        said.append(f"the content of {result.pruned} events whose files were deleted on record")
    said.extend(source.notes())
    said.append(ROLLBACK)
