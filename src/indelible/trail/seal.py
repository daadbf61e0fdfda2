"""Put tiles and checkpoints on disk, in the one order that is safe.

Lines are synced by the caller; then `write_tiles`; then `write_checkpoint`. A crash between any two of these leaves
tiles that no checkpoint covers, which the next attempt writes again with the same content.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from indelible.errors import NoteError
from indelible.trail import durable
from indelible.trail.durable import Access
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Signer, parse, split_note
from indelible.trail.proofs.merkle import Tile, TileTree, edge_widths, tile_path

REACH: Final = 8192
"""Lines beyond a checkpoint of which there may be tiles: twice as many as may wait for one."""


def write_full_tiles(layout: Layout, tiles: Iterable[Tile], access: Access) -> None:
    """Write tiles and sync them."""
    place = layout.directory
    durable.write_once(
        ((f"{place}/{tile_path(tile.level, tile.number, tile.width)}", tile.data()) for tile in tiles), access
    )


def write_tiles(layout: Layout, filled: Iterable[Tile], tree: TileTree, access: Access) -> None:
    """Write the tiles that became full and the partial ones of the present size.

    Of `filled`, those without hashes are on disk already.
    """
    full = [tile for tile in filled if tile.hashes]
    write_full_tiles(layout, [*full, *tree.partial_tiles()], access)


def write_checkpoint(layout: Layout, signer: Signer, tree: TileTree, access: Access) -> bytes:
    """Sign the tree as it stands, put the checkpoint in the place of the one before, and return its note."""
    checkpoint = Checkpoint(signer.verifier.name, tree.size, tree.root())
    note = signer.sign(checkpoint.text()).encode()
    durable.replace_file(layout.checkpoint, note, access)
    return note


def size_in_place(layout: Layout, least: int, most: int) -> int:
    """Return how many lines the checkpoint covers that is in its place: `least`, or more after an attempt that failed.

    When that cannot be seen, it is `most`.
    """
    try:
        found = parse(split_note(layout.checkpoint.read_bytes())[0]).size
    except FileNotFoundError:
        return least
    except (OSError, NoteError):
        return most
    return max(least, min(found, most))


def drop_partials(layout: Layout, filled: Iterable[Tile], before: int) -> None:
    """Remove the partial tiles of tiles that are full now and lie under a published checkpoint.

    C2SP tlog-tiles, "Partial Tiles": they may go once the full tile is there. What cannot be removed stays. Only the
    tile at the edge of the tree of `before` leaves, one a level, can have had any.
    """
    for tile in filled:
        if tile.number == before >> 8 * (tile.level + 1):
            full = layout.directory / tile_path(tile.level, tile.number)
            with contextlib.suppress(OSError):
                shutil.rmtree(full.with_name(full.name + ".p"))


def drop_unpublished(layout: Layout, size: int) -> None:
    """Remove tiles beyond the checkpoint over `size`, of an attempt that came to no checkpoint of its own.

    Its lines may have been lost since, or written anew: what such a partial tile says would look as if somebody had
    altered it. `size` is that of the one which is in place, though it may be of an attempt that failed. What cannot be
    removed stays. Raises OSError when names cannot be synced.
    """
    changed: set[Path] = set()
    for level, width in enumerate([*edge_widths(size), 0]):
        first = size >> 8 * (level + 1)
        reach = range(first, first + (REACH >> 8 * (level + 1)) + 2)
        for full in _there(layout.directory / tile_path(level, number) for number in reach):
            if full.name.endswith(".p"):
                edge = full.with_suffix("") == layout.directory / tile_path(level, first)
                with contextlib.suppress(OSError):
                    _drop_wider(full, width if edge else 0, changed)
            else:
                with contextlib.suppress(OSError):
                    full.unlink()
                    changed.add(full.parent)
    durable.sync_directories(changed)


def _there(tiles: Iterable[Path]) -> Iterator[Path]:
    """Those of `tiles` that are there, and the folders of their partial ones, for a listing of each folder."""
    of_folder: dict[Path, set[str]] = {}
    for tile in tiles:
        of_folder.setdefault(tile.parent, set()).update((tile.name, tile.name + ".p"))
    for folder, names in of_folder.items():
        with contextlib.suppress(OSError):
            yield from [path for path in folder.iterdir() if path.name in names]


def _drop_wider(partials: Path, widest: int, changed: set[Path]) -> None:
    for path in list(partials.iterdir()):
        if path.name.isdecimal() and int(path.name) > widest:
            path.unlink()
            changed.add(partials)
