"""What the next writer does before it writes: find the end, cut off what is torn, seal what is left.

The rules that may not move:

- Nothing under the checkpoint is ever changed. A trail that is shorter than its checkpoint, or whose last sealed
  line is not the one the tree has, is not mended: the first is set aside whole and a new origin begins, which
  names the old one; the second is refused.
- What lies after the checkpoint is kept line by line as long as each line is whole and its seq is the next one.
  From the first line that is not, the bytes go to `quarantine/`, never away, and nothing is glued to them.
- Lines, then tiles, then the checkpoint: in that order they reach the disk, here as in the writer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from indelible import events
from indelible.errors import NoteError, TrailCorrupt
from indelible.trail import durable, files, seal
from indelible.trail.durable import Access
from indelible.trail.entry import line_recorded_at, parse_line
from indelible.trail.erased import erased_leaf
from indelible.trail.files import TrailFile
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Checkpoint, Signer, open_note, parse
from indelible.trail.proofs.merkle import HASH_SIZE, TileTree, edge_widths, leaf_hash, leaf_hashes, tile_path
from indelible.trail.proofs.prove import TileMissing, root_at
from indelible.trail.proofs.stored import own_words
from indelible.trail.proofs.tiles import StoredTiles
from indelible.trail.start import intents
from indelible.trail.start.intents import Tracker

SEAL_BATCH: Final = 4096
"""How many lines are hashed at once while a tail is sealed: bounds memory when a checkpoint is missing."""


@dataclass
class Torn:
    """Bytes that were no whole line, and where they went."""

    file: str
    bytes: int
    sha256: str
    quarantine: str


@dataclass
class Resume:
    """Where the writer goes on. Everything below `size` is sealed."""

    size: int
    tree: TileTree
    recorded_at: str = ""
    active_first_seq: int | None = None
    active_bytes: int = 0
    intents: list[dict[str, Any]] = field(default_factory=list)
    """The intents whose outcome nobody recorded, as they stand in the trail."""
    pruned: list[tuple[int, int]] = field(default_factory=list)
    torn: list[Torn] = field(default_factory=list)
    resealed: int = 0
    """How many lines lay after the checkpoint."""
    clean: bool = True
    """The last writer said good-bye."""
    rotated: frozenset[str] = frozenset()
    """The vkeys of signing keys that the lines after the checkpoint introduce."""


def resume(layout: Layout, signer: Signer, access: Access) -> Resume:
    """Find the end of the trail, repair it, seal it, and return where to go on.

    Raises TrailCorrupt for what must not be mended, OSError for what could not be done.
    """
    checkpoint = read_checkpoint(layout, signer)
    sealed = checkpoint.size if checkpoint else 0
    hint = intents.read_hint(
        layout, signer.verifier, checkpoint, lambda size: _root_at(layout, checkpoint, size)
    )
    hint, tracker = intents.follow_sealed(layout, hint, sealed, own_words(layout, signer.verifier))
    tree = _load_tree(layout, checkpoint)
    if checkpoint and sealed:
        _check_last_sealed(layout, checkpoint, tree)
        seal.drop_unpublished(layout, sealed)
    state = Resume(size=sealed, tree=tree)
    tail = _Tail(layout, state, access, tracker)
    tail.read()
    state.pruned = intents.pruned_ranges(layout, hint, tracker)
    if not state.clean or tracker.open or hint is None or hint.intents:  # other processes' calls stay open
        state.intents = intents.open_intents(layout, hint, tracker)
    if tail.leaves:
        _sync_tail(layout, sealed)
        seal.write_tiles(layout, tail.filled, tree, access)
        seal.write_checkpoint(layout, signer, tree, access)
        still: dict[Any, int] = {entry.get("event_id"): int(entry["seq"]) for entry in state.intents}
        if all(isinstance(name, str) for name in still):  # a line without is no writer's; a hint cannot name it
            intents.write_hint(layout, signer, tree, still, state.pruned, access)
    return state


def read_checkpoint(layout: Layout, signer: Signer) -> Checkpoint | None:
    """Return the trail's checkpoint, or None when there is none yet. Raises TrailCorrupt when it is not ours."""
    try:
        note = layout.checkpoint.read_bytes()
    except FileNotFoundError:
        return None
    try:
        checkpoint = parse(open_note(note, [signer.verifier]))
    except NoteError as exc:
        msg = f"{layout.checkpoint}: {exc}; nothing was written; 'indelible verify' says more"
        raise TrailCorrupt(msg) from exc
    if checkpoint.origin != signer.verifier.name:
        msg = f"{layout.checkpoint}: is of {checkpoint.origin}, the trail is {signer.verifier.name}"
        raise TrailCorrupt(msg)
    return checkpoint


def _root_at(layout: Layout, checkpoint: Checkpoint | None, size: int) -> bytes | None:
    """Return the root of the first `size` sealed lines, as the tiles have it; None when they do not."""
    if checkpoint is None or size == checkpoint.size:
        return checkpoint.root if checkpoint else None

    def load(path: str) -> bytes | None:
        try:
            return (layout.directory / path).read_bytes()
        except FileNotFoundError:
            return None

    try:
        return root_at(StoredTiles(load, lambda *_: (), checkpoint.size, checkpoint.root), size)
    except TileMissing:
        return None


# --- the end of the trail -------------------------------------------------------------------------------


def end_of(layout: Layout, enough: int) -> int:
    """Return the seq after the highest in a whole line, as far as it matters: below `enough` it is exact.

    0 for an empty trail. Each file is read backwards once, and no further than to a line that is enough: what follows
    the sealed lines may be anything that a crash has left there, a line of old among it.
    """
    candidates = [layout.active] if layout.active.exists() else []
    candidates += [file.path for file in reversed(files.segments(layout)) if not file.compressed][:2]
    end = 0
    for path in candidates:
        end = max(end, _end_in(path, enough))
        if end >= enough:
            return end
    closed = files.segments(layout)
    return files.end_of_compressed(closed[-1]) if closed and not end else end


def _end_in(path: Path, enough: int) -> int:
    """Return the seq after the highest in a plain file's whole lines, or the first one from the end that is enough."""
    end = 0
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()
        for _, lines in files.blocks_backward(fd, files.end_of_lines(fd)):
            for line in reversed(lines):
                entry = parse_line(line)
                if entry is not None:
                    end = max(end, int(entry["seq"]) + 1)
                    if end >= enough:
                        return end
    return end


def _load_tree(layout: Layout, checkpoint: Checkpoint | None) -> TileTree:
    """Return the tree at the checkpoint, from its partial tiles. Raises TrailCorrupt when they do not fit it."""
    if checkpoint is None:
        return TileTree()
    size = checkpoint.size
    edge: list[list[bytes]] = []
    for level, width in enumerate(edge_widths(size)):
        data = b""
        if width:
            path = layout.directory / tile_path(level, size >> 8 * (level + 1), width)
            data = _read_tile(path, width)
        edge.append([data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)])
    tree = TileTree.from_edge(size, edge)
    if tree.root() != checkpoint.root:
        msg = (
            f"{layout.tiles}: the tiles at the right edge do not give the root that the checkpoint of"
            f" {size} events has; nothing was written; 'indelible verify' says where"
        )
        raise TrailCorrupt(msg)
    return tree


def _read_tile(path: Path, width: int) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        msg = f"{path}: the tile is missing; nothing was written; 'indelible verify' says more"
        raise TrailCorrupt(msg) from exc
    if len(data) != width * HASH_SIZE:
        msg = f"{path}: the tile has {len(data)} bytes, expected {width * HASH_SIZE}; nothing was written"
        raise TrailCorrupt(msg)
    return data


def _check_last_sealed(layout: Layout, checkpoint: Checkpoint, tree: TileTree) -> None:
    """Refuse a trail whose last sealed line, where it is at hand in a plain file, is not the tree's."""
    seq = checkpoint.size - 1
    located = locate(layout, seq)
    if located is None:
        return
    path, offset = located
    with path.open("rb") as file:
        file.seek(offset)
        line = file.readline(events.MAX_LINE_BYTES + 1).rstrip(b"\n")
    if tree.edge[0]:
        expected = tree.edge[0][-1]
    else:
        expected = (layout.directory / tile_path(0, seq >> 8)).read_bytes()[-HASH_SIZE:]
    if (erased_leaf(line) or leaf_hash(line)) != expected:
        msg = (
            f"{path}: the line with seq {seq} is not the one that the checkpoint covers; nothing was written;"
            f" 'indelible verify' says more"
        )
        raise TrailCorrupt(msg)


def locate(layout: Layout, seq: int) -> tuple[Path, int] | None:
    """Return the plain file and offset of the line with `seq`, or None."""
    for file in _plain_files_down(layout):
        if file.first_seq <= seq:
            with file.path.open("rb") as stream:
                offset = files.find_seq(stream, seq)
            return None if offset is None else (file.path, offset)
    return None


def _plain_files_down(layout: Layout) -> Iterator[TrailFile]:
    """Yield the files from the newest down, until the first compressed one."""
    return itertools.takewhile(lambda file: not file.compressed, files.newest_first(layout))


# --- the tail ---------------------------------------------------------------------------------------------


class _Tail:
    """The lines after the checkpoint: read, checked, hashed, and cut where they end."""

    def __init__(self, layout: Layout, state: Resume, access: Access, tracker: Tracker) -> None:
        """`tracker` has followed what is sealed."""
        self.layout = layout
        self.state = state
        self.access = access
        self.leaves = 0
        self.filled: list[Any] = []
        self.tracker = tracker
        self.last: dict[str, Any] | None = None
        self._batch: list[bytes] = []

    def read(self) -> None:
        """Go through all files that hold lines after the checkpoint, oldest first."""
        broken = False
        for file in self._files():
            if broken:  # nothing after a gap can belong to the trail
                self._quarantine(file, 0)
                continue
            broken = not self._read_file(file)
        self._hash()
        self._note_active()

    def _files(self) -> list[TrailFile]:
        """Return the files from the one in which the sealed part ends, oldest first."""
        chosen: list[TrailFile] = []
        if self.layout.active.exists():
            first = files.first_seq(self.layout.active)
            chosen.append(TrailFile(self.layout.active, -1 if first is None else first, compressed=False))
        for segment in reversed(files.segments(self.layout)):
            if segment.compressed or (chosen and 0 <= chosen[-1].first_seq <= self.state.size):
                break  # only sealed files are ever compressed
            chosen.append(segment)
        return chosen[::-1]

    def _read_file(self, file: TrailFile) -> bool:
        """Take in one file's lines; cut it where they end. Tells whether it was whole."""
        with file.path.open("rb") as stream:
            offset = self._start(file, stream)
            for at, line, whole in files.iter_lines(stream, offset):
                entry = parse_line(line) if whole and line_recorded_at(line) else None
                if entry is None or entry["seq"] != self.state.size or "event_type" not in entry:
                    self._quarantine(file, at)
                    return False
                self._take(line, entry)
        return True

    def _start(self, file: TrailFile, stream: Any) -> int:
        """Return the offset of the first line that is not sealed; the file's end when all are."""
        if file.first_seq < 0 or file.first_seq >= self.state.size:
            return 0
        before = files.find_seq(stream, self.state.size - 1)
        if before is None:
            msg = (
                f"{file.path}: the line with seq {self.state.size - 1}, which the checkpoint covers, is not there;"
                " nothing was written; 'indelible verify' says more"
            )
            raise TrailCorrupt(msg)
        stream.seek(before)
        line = stream.readline()
        if self.last is None:
            self.last = parse_line(line.rstrip(b"\n"))
        return before + len(line)

    def _take(self, line: bytes, entry: dict[str, Any]) -> None:
        self.leaves += 1
        self.last = entry
        self.state.size += 1
        self._batch.append(line)
        if len(self._batch) >= SEAL_BATCH:
            self._hash()
        self.tracker.take(line)
        if entry["event_type"] == "key_rotated" and self.tracker.own.has(entry):
            about = entry.get("metadata")
            self.state.rotated |= {str(about.get("to"))} if isinstance(about, dict) else set()

    def _hash(self) -> None:
        if not self._batch:
            return
        filled = self.state.tree.extend(leaf_hashes(self._batch))
        self._batch.clear()
        seal.write_full_tiles(self.layout, filled, self.access)
        self.filled += [tile._replace(hashes=()) for tile in filled]  # their data is on disk now

    def _quarantine(self, file: TrailFile, offset: int) -> None:
        """Move everything from `offset` on out of a file, and the file away when nothing is left."""
        size = file.path.stat().st_size
        if offset < size:
            self.state.torn.append(self._copy_out(file.path, offset, size))
        if offset == 0:
            file.path.unlink()
        else:
            fd = os.open(file.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, offset)
                durable.datasync(fd)
            finally:
                os.close(fd)
        durable.sync_directory(file.path.parent)

    def _copy_out(self, path: Path, offset: int, size: int) -> Torn:
        durable.make_directory(self.layout.quarantine, self.access)
        stamp = f"{self.state.size:020d}-{os.getpid()}-{len(self.state.torn)}"
        target = self.layout.quarantine / f"{stamp}.bin"
        digest = sha256()
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        fd = durable.create_file(target, self.access)
        try:
            with path.open("rb") as source:
                source.seek(offset)
                while chunk := source.read(files.CHUNK_BYTES):
                    digest.update(chunk)
                    durable.write_all(fd, chunk)
            durable.datasync(fd)
        finally:
            os.close(fd)
        durable.sync_directory(self.layout.quarantine)
        return Torn(path.name, size - offset, digest.hexdigest(), f"quarantine/{target.name}")

    def _note_active(self) -> None:
        state = self.state
        state.resealed = self.leaves
        state.clean = not state.size or (
            self.last is not None and self.last.get("event_type") == "audit_stopped"
        )
        state.active_first_seq = files.first_seq(self.layout.active)
        if state.active_first_seq is not None:
            state.active_bytes = self.layout.active.stat().st_size
        else:  # made, and died before its first line
            self.layout.active.unlink(missing_ok=True)
        if self.last is not None:
            state.recorded_at = str(self.last.get("recorded_at", ""))


def _sync_tail(layout: Layout, sealed: int) -> None:
    """Bring every file with lines at or after `sealed` to the disk: they are about to be signed."""
    for file in _plain_files_down(layout):
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            durable.datasync(fd)
        finally:
            os.close(fd)
        if file.first_seq <= sealed:
            break
    for directory in (layout.segments, layout.active.parent):
        if directory.exists():
            durable.sync_directory(directory)
