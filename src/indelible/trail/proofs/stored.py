"""What a trail has sealed, as it lies on disk: its checkpoint, its key, its tiles. No line is read here.

The rule that lives here: a checkpoint is read once, before any tile, so that a writer at work can only add to what it
covers; and nothing is handed out as sealed before its signature was checked.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import NoteError, NotProven, TrailError
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Verifier, parse_vkey
from indelible.trail.proofs.merkle import HASH_SIZE, TILE_WIDTH, tile_path
from indelible.trail.proofs.proof import Proof
from indelible.trail.proofs.prove import blame, proven
from indelible.trail.proofs.rotation import (
    MAX_ROTATION_BYTES,
    MAX_ROTATIONS,
    Accepted,
    Rotation,
    open_checkpoint,
    parse_rotations,
    successors,
)
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.reader import names_in, read_small, reading

MAX_TILE_BYTES: Final = 2 * TILE_WIDTH * HASH_SIZE
"""A tile that is larger than it may be is read as far as shows that."""

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
        """See `indelible.trail.checking.verify.Source`."""
        return read_small(self._layout.directory / path, MAX_TILE_BYTES)

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


def prove(path: Path, seq: int, vkey: Verifier | None = None, leaf: bytes | None = None) -> Proof:
    """Return the proof that the event with `seq` is in the trail; `leaf` is the hash that it should have, if known.

    From the tiles alone: the event's file may be gone. Raises NotProven when the checkpoint does not cover the event,
    or the tiles do not lead to the signed root; TrailError as `open_sealed`.
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
            msg = f"{fault}; no proof can rest on it, 'indelible verify' says more"
            raise NotProven(msg)
    if leaf is not None and leaf != found[0]:
        msg = f"{path}: the line with seq {seq} is not the one that was sealed; 'indelible verify' says more"
        raise NotProven(msg)
    return Proof(seq, tuple(found[1]), sealed.note)


def not_covered(sealed: Sealed, seq: int) -> str:
    """Return what to say of an event that the checkpoint does not cover."""
    size = sealed.checkpoint.size
    covers = f"seq 0 to {size - 1}" if size else "nothing"
    return f"{sealed.layout.active}: seq {seq} cannot be proved: the checkpoint covers {covers}"
