"""What a trail has sealed, as it lies on disk: its checkpoint, its key, its tiles. No line is read here.

The rule that lives here: a checkpoint is read once, before any tile, so that a writer at work can only add to what it
covers; and nothing is handed out as sealed before its signature was checked.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import NoteError, NotProven, TrailError
from indelible.trail.findings import TILE_MISSING, Finding
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, open_note, parse, parse_vkey, split_note
from indelible.trail.proofs.merkle import HASH_SIZE, TILE_WIDTH, tile_path
from indelible.trail.proofs.ownwords import OwnWords
from indelible.trail.proofs.proof import Proof
from indelible.trail.proofs.prove import blame, proven
from indelible.trail.proofs.rotation import (
    MAX_ROTATION_BYTES,
    MAX_ROTATIONS,
    Accepted,
    Rotation,
    open_checkpoint,
    parse_rotations,
    speakers,
    successors,
)
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.reader import names_in, read_small, reading

MAX_TILE_BYTES: Final = 2 * TILE_WIDTH * HASH_SIZE
"""A tile that is larger than it may be is read as far as shows that."""

MAX_CHAIN: Final = 8
"""Hand-overs from key to key that a proof takes along: some 600 bytes each."""

MAX_LOOKS: Final = 5
"""A trail whose checkpoint moves on while its tiles are read is looked at so often."""

_GROUP = re.compile(r"x[0-9]{3}")
_TILE = re.compile(r"[0-9]{3}(\.p)?")
"""Names in a directory of tiles (C2SP tlog-tiles, "Tiles")."""


class StoredFiles:
    """The small files and tiles in a trail's directory: a part of `indelible.trail.checking.verify.Source`."""

    def __init__(self, layout: Layout, checkpoint: bytes | None) -> None:
        """`checkpoint` is the file's content as it was read before anything else."""
        self._layout = layout
        self._checkpoint = checkpoint
        self._partials: tuple[Path, frozenset[str]] = (Path(), frozenset())

    def name(self, path: str) -> str:
        """See `indelible.trail.checking.verify.Source`."""
        return str(self._layout.directory / path)

    def small(self, path: str) -> bytes | None:
        """See `indelible.trail.checking.verify.Source`."""
        return self._checkpoint if path == "checkpoint" else read_small(self._layout.directory / path)

    def tile(self, path: str) -> bytes | None:
        """See `indelible.trail.checking.verify.Source`. What is no plain file is no tile; `name_stranger` says so."""
        try:
            return read_small(self._layout.directory / path, MAX_TILE_BYTES)
        except OSError as exc:
            if exc.errno != errno.ELOOP:  # what opening a symbolic link gives, which is not followed
                raise
            return None

    def partial_widths(self, level: int, index: int) -> list[int]:
        """See `indelible.trail.checking.verify.Source`. A directory of a thousand tiles is listed once."""
        full = self._layout.directory / tile_path(level, index)
        if self._partials[0] != full.parent:
            self._partials = (
                full.parent,
                frozenset(name for name in names_in(full.parent) if name.endswith(".p")),
            )
        if full.name + ".p" not in self._partials[1]:
            return []
        return sorted(int(name) for name in names_in(full.with_name(full.name + ".p")) if _is_width(name))

    def rotations(self) -> list[bytes]:
        """See `indelible.trail.checking.verify.Source`."""
        return rotation_notes(self._layout.rotations)

    def leaves(self) -> int:
        """See `checking.verify.Source`. No more than there are tiles for, however high a name counts."""
        return min(self._named_leaves(), self._count_tiles() * TILE_WIDTH)

    def _count_tiles(self) -> int:
        """Count the tiles of level 0, full and partial."""
        count = 0
        for root, places, files in os.walk(self._layout.tiles / "0"):
            if not root.endswith(".p"):
                count += len({name[:3] for name in (*places, *files) if _TILE.fullmatch(name)})
        return count

    def _named_leaves(self) -> int:
        """Walk down to the newest tile of level 0; return how many leaves there are up to its end."""
        place, index = self._layout.tiles / "0", 0
        while True:
            names = names_in(place)
            groups = [name for name in names if _GROUP.fullmatch(name)]
            if groups:
                place, index = place / max(groups), (index + int(max(groups)[1:])) * 1000
                continue
            tiles = [name[:3] for name in names if _TILE.fullmatch(name)]
            if not tiles:
                return 0
            last = max(tiles)
            index += int(last)
            if last in names:
                return (index + 1) * TILE_WIDTH
            return index * TILE_WIDTH + max(self.partial_widths(0, index), default=0)


def name_stranger(finding: Finding) -> None:
    """Say of a tile that is not to be had what stands in its place, if anything does."""
    if finding.problem != TILE_MISSING or finding.file is None:
        return
    place = Path(finding.file)
    if place.is_symlink():
        finding.found = "a symbolic link, which is not followed"
    elif place.exists():
        finding.found = "no plain file"


def _is_width(name: str) -> bool:
    return name.isascii() and name.isdigit() and name[0] != "0" and int(name) < TILE_WIDTH


def rotation_notes(directory: Path) -> list[bytes]:
    """Return the notes in `keys/`, as they stand there."""
    names = sorted(names_in(directory))[:MAX_ROTATIONS]
    notes = (read_small(directory / name, MAX_ROTATION_BYTES) for name in names)
    return [note for note in notes if note is not None]


class Sealed(NamedTuple):
    """What a trail has sealed: a signed checkpoint, and the tiles to compare with it, of which none is believed."""

    layout: Layout
    note: bytes
    """The signed checkpoint, byte for byte."""
    checkpoint: Checkpoint
    tiles: StoredTiles


def open_sealed(path: Path, vkey: Verifier | None = None) -> Sealed:
    """Open what the trail whose active file is `path` has sealed.

    The key beside the trail is believed when no `vkey` is given. Raises TrailError when there is no trail, or it cannot
    be read; NotProven when it has no checkpoint that this key has signed.
    """
    layout = Layout(path.absolute())
    with reading(layout.active):
        note = read_small(layout.checkpoint)
        files = StoredFiles(layout, note)
        if note is None:
            _refuse_nothing(layout)
        pinned = vkey or own_key(layout)
        checkpoint = _opened(layout, note or b"", pinned, successors(pinned, rotations_of(layout)))
        tiles = StoredTiles(files.tile, files.partial_widths, checkpoint.size, checkpoint.root)
    return Sealed(layout, note or b"", checkpoint, tiles)


def _refuse_nothing(layout: Layout) -> None:
    """Raise the error of a trail that has no checkpoint."""
    if not layout.directory.is_dir():
        msg = f"{layout.active}: there is no trail here, or its directory is gone"
        raise TrailError(msg)
    msg = (
        f"{layout.checkpoint}: there is no checkpoint, so nothing is sealed; a writer makes one within a second"
    )
    raise NotProven(msg)


def own_key(layout: Layout) -> Verifier:
    """Return the key that lies beside a trail. Raises NotProven."""
    text = read_small(layout.vkey)
    if text is None:
        msg = f"{layout.vkey}: the trail's public key is not there; --vkey takes one kept elsewhere"
        raise NotProven(msg)
    try:
        return parse_vkey(text.decode("utf-8", "replace"))
    except NoteError as exc:
        msg = f"{layout.vkey}: {exc}"
        raise NotProven(msg) from exc


def rotations_of(layout: Layout) -> list[Rotation]:
    """Return the hand-overs from one signing key to the next that lie beside a trail, their signatures checked."""
    return parse_rotations(rotation_notes(layout.rotations))


def own_words(layout: Layout, key: Verifier) -> OwnWords:
    """Return what tells the trail's own words; `key` signs for it now."""
    return OwnWords(lambda: speakers(key, rotations_of(layout)))


def words_beside(layout: Layout) -> OwnWords:
    """Return what tells the trail's own words by the key that lies beside it; without one every word is taken."""
    try:
        return own_words(layout, own_key(layout))
    except NotProven:
        return OwnWords(None)


def _opened(layout: Layout, note: bytes, key: Verifier, accepted: list[Accepted]) -> Checkpoint:
    try:
        checkpoint = open_checkpoint(note, accepted)
    except NoteError as exc:
        msg = f"{layout.checkpoint}: {exc}"
        raise NotProven(msg) from exc
    if checkpoint.origin != key.name:
        msg = f"{layout.checkpoint}: it is of {checkpoint.origin!r}, its key is that of {key.name!r}"
        raise NotProven(msg)
    return checkpoint


# --- a proof ------------------------------------------------------------------------------------------------------


def prove(path: Path, seq: int, vkey: Verifier | None = None, leaf: bytes | None = None) -> Proof:
    """Return the proof that the event with `seq` is in the trail; `leaf` is the hash that it should have, if known.

    From the tiles alone: the event's file may be gone. Its checkpoint is the one over the event that most witnesses
    cosigned, the newest of these, with all their lines; without any, the trail's own. `extra` are the notes by which
    the trail's keys have handed over, the last `MAX_CHAIN` of them: for who pinned an earlier one.

    Raises NotProven when the checkpoint does not cover the event, or the tiles do not lead to the signed root;
    TrailError as `open_sealed`.
    """
    looks = 0
    while True:
        looks += 1
        sealed = open_sealed(path, vkey)
        size = sealed.checkpoint.size
        if seq >= size:
            raise NotProven(not_covered(sealed, seq))
        found = proven(sealed.tiles, seq)
        if found is not None:
            break
        if looks == MAX_LOOKS or read_small(sealed.layout.checkpoint) == sealed.note:
            fault = blame(sealed.tiles, seq)
            fault.file = str(sealed.layout.directory / (fault.file or ""))
            name_stranger(fault)
            msg = f"{fault}; no proof can rest on it, 'indelible verify' says more"
            raise NotProven(msg)
    if leaf is not None and leaf != found[0]:
        msg = f"{path}: the line with seq {seq} is not the one that was sealed; 'indelible verify' says more"
        raise NotProven(msg)
    signer = signer_of(sealed, vkey)
    extra = hand_overs(sealed.layout, signer) or None
    for note, checkpoint in _witnessed(sealed, signer):
        files = StoredFiles(sealed.layout, None)
        tiles = StoredTiles(files.tile, files.partial_widths, checkpoint.size, checkpoint.root)
        earlier = proven(tiles, seq) if seq < checkpoint.size else None
        if earlier is not None and earlier[0] == found[0]:
            return Proof(seq, tuple(earlier[1]), note, extra)
    return Proof(seq, tuple(found[1]), sealed.note, extra)


def signer_of(sealed: Sealed, vkey: Verifier | None) -> Verifier:
    """Return the newest key that has signed the checkpoint: of those that the pinned one has named."""
    pinned = vkey or own_key(sealed.layout)
    text, signatures = split_note(sealed.note)
    signed = {(one.name, one.key_id): one.value for one in signatures}
    for one in reversed(successors(pinned, rotations_of(sealed.layout))):
        value = signed.get((one.verifier.name, one.verifier.key_id))
        if value is not None and one.size <= sealed.checkpoint.size and one.verifier.verify(text, value):
            return one.verifier
    return pinned


def hand_overs(layout: Layout, key: Verifier) -> bytes:
    """Return the notes by which keys before `key` have handed over, up to it, oldest first, one after the other."""
    by_new: dict[Verifier, tuple[Rotation, bytes]] = {}
    for note in rotation_notes(layout.rotations):
        for rotation in parse_rotations([note]):
            by_new.setdefault(rotation.new, (rotation, note))
    found: list[bytes] = []
    while key in by_new and len(found) < MAX_CHAIN:
        rotation, note = by_new.pop(key)
        found.insert(0, note)
        key = rotation.old
    return b"".join(found)


def _witnessed(sealed: Sealed, signer: Verifier) -> list[tuple[bytes, Checkpoint]]:
    """Return the checkpoints of the trail that witnesses cosigned, each once with the lines of all: best first.

    Only those that the `signer` has signed: what an earlier key signed alone, nobody who pins this one believes.
    """
    lines: dict[bytes, dict[bytes, None]] = {}
    try:
        kept = witnessed_notes(sealed.layout)
    except (OSError, NoteError):
        return []
    for _, data in kept:
        try:
            checkpoint = parse(open_note(data, [signer]))
        except NoteError:
            continue
        if checkpoint.origin == sealed.checkpoint.origin and checkpoint.size <= sealed.checkpoint.size:
            text, _, block = data.rpartition(b"\n\n")
            lines.setdefault(text, {}).update(dict.fromkeys(block.splitlines(keepends=True)))
    notes = [text + b"\n\n" + b"".join(block) for text, block in lines.items()]
    found = [(len(split_note(note)[1]), parse(split_note(note)[0]), note) for note in notes]
    found.sort(key=lambda one: (one[0], one[1].size), reverse=True)
    return [(note, checkpoint) for _, checkpoint, note in found]


def witnessed_notes(layout: Layout) -> list[tuple[str, bytes]]:
    """Return (path, note) of the cosigned checkpoints that are kept beside a trail. Raises OSError, NoteError."""
    notes = []
    for name in sorted(names_in(layout.witnessed)):
        if name[0] == ".":
            continue
        data = read_small(layout.witnessed / name)
        if data is None:
            msg = f"{layout.witnessed / name}: no plain file"
            raise NoteError(msg)
        notes.append((str(layout.witnessed / name), data))
    return notes


def not_covered(sealed: Sealed, seq: int | str) -> str:
    """Return what to say of an event that the checkpoint does not cover; a seq may be a text of any length."""
    size = sealed.checkpoint.size
    covers = f"seq 0 to {size - 1}" if size else "nothing"
    return f"{sealed.layout.active}: seq {seq} cannot be proved: the checkpoint covers {covers}"
