"""Calls under way when a writer died: intents whose outcome nobody recorded.

The writer leaves a hint beside each checkpoint (which intents are open, which files were deleted), so that the next
start need not read the trail. The hint is a convenience: one that does not fit the checkpoint is ignored, and the
files are read instead. Verification never looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson

from indelible.events import MAX_LINE_BYTES
from indelible.trail import durable, files
from indelible.trail.durable import Access
from indelible.trail.entry import line_seq, parse_line, pruned_in
from indelible.trail.files import TrailFile
from indelible.trail.layout import Layout

if TYPE_CHECKING:
    from indelible.trail.checkpoint import Checkpoint
    from indelible.trail.merkle import TileTree

Entry = dict[str, Any]

MAX_BISECTED: Final = 64
"""So many entries of one file are found one by one; for more it is read once."""

_STARTED: Final = b'"event_type":"audit_started"'
LEFT_OPEN: Final = "open_calls"
"""In the metadata of an `audit_started`: how many calls it left open, since their recorders live."""


class Hint:
    """What the last writer left beside the checkpoint: open intents (`event_id` to seq) and deleted ranges."""

    def __init__(self, intents: dict[str, int], pruned: list[tuple[int, int]]) -> None:
        self.intents = intents
        self.pruned = pruned


def write_hint(
    layout: Layout, tree: TileTree, intents: dict[str, int], pruned: list[tuple[int, int]], access: Access
) -> None:
    """Leave the hint for a checkpoint over `tree`. Not synced: it is not trusted for anything."""
    hint = {"size": tree.size, "root": tree.root().hex(), "open": intents, "pruned": pruned}
    durable.replace_file(layout.state, json.dumps(hint).encode() + b"\n", access, durable=False)


def read_hint(layout: Layout, checkpoint: Checkpoint | None) -> Hint | None:
    """Return the hint if it belongs to this very checkpoint, else None."""
    if checkpoint is None:
        return None
    try:
        hint = orjson.loads(layout.state.read_bytes())
        if hint["size"] != checkpoint.size or hint["root"] != checkpoint.root.hex():
            return None
        intents = {str(event_id): int(seq) for event_id, seq in hint["open"].items()}
        pruned = [(int(first), int(last)) for first, last in hint["pruned"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Hint(intents, pruned)


def recorder_of(entry: Entry) -> tuple[str, int] | None:
    """Return id and pid of the process that recorded an event, as its line has them."""
    source = entry.get("source")
    recorder = source.get("recorder") if isinstance(source, dict) else None
    if not isinstance(recorder, dict) or not isinstance(recorder.get("pid"), int):
        return None
    return str(recorder.get("id")), int(recorder["pid"])


class Tracker:
    """Follows entries and keeps the intents that are open."""

    def __init__(self) -> None:
        self.open: dict[str, Entry] = {}
        self.closed: set[str] = set()
        """Intents from before the first entry seen here that an outcome has closed."""

    def take(self, entry: Entry) -> None:
        """Note that an entry opens or closes an intent."""
        kind = entry.get("event_type")
        if kind == "mcp_operation_started":
            self.open[str(entry.get("event_id"))] = entry
        elif kind == "mcp_operation":
            request = entry.get("request")
            intent = request.get("intent") if isinstance(request, dict) else None
            if isinstance(intent, str) and self.open.pop(intent, None) is None:
                self.closed.add(intent)
        elif kind == "audit_stopped":
            who = recorder_of(entry)
            self.open = {
                event_id: intent for event_id, intent in self.open.items() if recorder_of(intent) != who
            }


def open_intents(layout: Layout, hint: Hint | None, tail: Tracker) -> list[Entry]:
    """Return the intents that no outcome closed, in the order of their seqs.

    `tail` has followed what lies after the checkpoint; `hint` knows what was open at it.
    """
    if hint is None:
        found = _scan(layout)
    else:
        found = dict(tail.open)
        still = {event_id: seq for event_id, seq in hint.intents.items() if event_id not in tail.closed}
        entries = _entries_at(layout, set(still.values()))
        for event_id, seq in still.items():
            entry = entries.get(seq)
            if entry is not None and entry.get("event_id") == event_id:
                found[event_id] = entry
    return sorted(found.values(), key=lambda entry: int(entry["seq"]))


def check_readable(layout: Layout, hint: Hint | None) -> None:
    """Read what `open_intents` may have to read, before anything is changed. Raises TrailCorrupt."""
    if hint is None:
        _scan(layout)
        return
    for file, _ in _holding(layout, set(hint.intents.values())):
        if file.compressed:
            files.end_of_compressed(file)


def _entries_at(layout: Layout, seqs: set[int]) -> dict[int, Entry]:
    """Return the entries with these seqs, as far as they are there."""
    found: dict[int, Entry] = {}
    for file, wanted in _holding(layout, seqs):
        with files.open_file(file) as stream:
            for line in _lines_at(stream, wanted, bisect=len(wanted) <= MAX_BISECTED and not file.compressed):
                entry = parse_line(line)
                if entry is not None:
                    found[int(entry["seq"])] = entry
    return found


def _holding(layout: Layout, seqs: set[int]) -> Iterator[tuple[TrailFile, set[int]]]:
    """Yield the files that hold these seqs, the newest first, each with those of them that are its own."""
    left = set(seqs)
    for file in files.newest_first(layout):
        if not left:
            return
        own = {seq for seq in left if seq >= file.first_seq}
        left -= own
        if own:
            yield file, own


def _lines_at(stream: BinaryIO, wanted: set[int], *, bisect: bool) -> Iterator[bytes]:
    """Yield the lines with these seqs: found one by one, or in one pass."""
    if not bisect:
        yield from (line for _, line, whole in files.iter_lines(stream) if whole and line_seq(line) in wanted)
        return
    for seq in wanted:
        offset = files.find_seq(stream, seq)
        if offset is not None:
            stream.seek(offset)
            yield stream.readline(MAX_LINE_BYTES + 1).rstrip(b"\n")


def _scan(layout: Layout) -> dict[str, Entry]:
    """Without a hint: read back to the last start of a writer that left no call open, and forward from there.

    Earlier intents need no look: a start records what it found open as interrupted, and then that it began; it says so
    when it left calls open whose recorder lived.
    """
    chosen: list[TrailFile] = []
    for file in files.newest_first(layout):
        chosen.append(file)
        with files.open_file(file) as stream:
            if any(_is_start(line) for _, line, _ in files.iter_lines(stream)):
                break
    tracker = Tracker()
    for file in reversed(chosen):
        with files.open_file(file) as stream:
            for _, line, whole in files.iter_lines(stream):
                if whole and (b'"mcp_operation' in line or b'"audit_stopped"' in line):
                    entry = parse_line(line)
                    if entry is not None:
                        tracker.take(entry)
    return tracker.open


def _is_start(line: bytes) -> bool:
    """Tell whether a line is a start that left no call open; a call's arguments may hold the same key and value."""
    entry = parse_line(line) if _STARTED in line else None
    if entry is None or entry.get("event_type") != "audit_started":
        return False
    metadata = entry.get("metadata")
    return not (isinstance(metadata, dict) and LEFT_OPEN in metadata)


def pruned_ranges(layout: Layout, hint: Hint | None) -> list[tuple[int, int]]:
    """Return the ranges of seqs whose files were deleted, merged, oldest first.

    Without a hint: what the newest file says of itself, since every file begins with what was deleted before it.
    """
    if hint is not None:
        return merge_ranges(hint.pruned)
    newest = next(files.newest_first(layout), None)
    if newest is None:
        return []
    ranges: list[tuple[int, int]] = []
    with files.open_file(newest) as stream:
        for _, line, _ in files.iter_lines(stream):
            if b'"file_opened"' in line or b'"retention_applied"' in line:
                ranges += pruned_in(parse_line(line))
    return merge_ranges(ranges)


def merge_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (first, last, both included) sorted, with those that touch made one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
