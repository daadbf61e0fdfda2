"""Calls under way when a writer died: intents whose outcome nobody recorded.

The writer leaves a hint after a checkpoint, under load after about two a second (which intents are open, which files
were deleted), so that the next start need not read the trail; so does a start that seals what the last writer left,
since a writer that is killed soon after each start would else make each of them longer. A writer that died before the
next leaves that of an earlier checkpoint: what was sealed since is read then. The hint is a convenience: one that does
not belong to this trail is ignored, and the files are read back to the last start instead. So is one that the trail's
key has not signed: what a hint says of deleted files goes into the next file's first line, which the writer signs, and
would excuse a file that somebody took away. Verification never looks at it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec
import orjson

from indelible.errors import NoteError
from indelible.trail import durable, files
from indelible.trail.durable import Access
from indelible.trail.entry import line_seq, parse_line, pruned_in
from indelible.trail.files import TrailFile
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import open_note

if TYPE_CHECKING:
    from indelible.trail.proofs.checkpoint import Checkpoint, Signer, Verifier
    from indelible.trail.proofs.merkle import TileTree
    from indelible.trail.proofs.ownwords import OwnWords

Entry = dict[str, Any]

MAX_BISECTED: Final = 64
"""So many entries of one file are found one by one; for more it is read once."""

_STARTED: Final = b'"event_type":"audit_started"'
LEFT_OPEN: Final = "open_calls"
"""In the metadata of an `audit_started`: how many calls it left open, since their recorders live."""


class Hint:
    """What the last writer left beside a checkpoint: open intents (`event_id` to seq) and deleted ranges."""

    def __init__(self, size: int, intents: dict[str, int], pruned: list[tuple[int, int]]) -> None:
        """`size` is that of the trail when it was left."""
        self.size = size
        self.intents = intents
        self.pruned = pruned


HINT_HEAD: Final = "indelible: a hint for the next start"
"""The first line of what is signed of a hint."""


def _hint_text(origin: str, hint: Entry) -> str:
    """Return the text that is signed: it can be taken for no checkpoint, which begins with an origin."""
    return f"{HINT_HEAD}\n{origin}\n{sha256(json.dumps(hint).encode()).hexdigest()}\n"


def write_hint(
    layout: Layout,
    signer: Signer,
    tree: TileTree,
    intents: dict[str, int],
    pruned: list[tuple[int, int]],
    access: Access,
) -> None:
    """Leave the hint for a checkpoint over `tree`. Not synced: a start does without it."""
    hint = {"size": tree.size, "root": tree.root().hex(), "open": intents, "pruned": pruned}
    text = _hint_text(signer.verifier.name, hint)
    signed = {**hint, "signed": signer.sign(text).removeprefix(text + "\n")}
    durable.replace_file(layout.state, json.dumps(signed).encode() + b"\n", access, durable=False)


def read_hint(
    layout: Layout, key: Verifier, checkpoint: Checkpoint | None, root_at: Callable[[int], bytes | None]
) -> Hint | None:
    """Return the hint if `key` signed it, at this checkpoint or an earlier one of this trail, else None.

    `root_at` returns the root of so many first leaves, None when that is not known.
    """
    if checkpoint is None:
        return None
    try:
        hint = orjson.loads(layout.state.read_bytes())
        signatures = str(hint.pop("signed"))
        open_note(f"{_hint_text(key.name, hint)}\n{signatures}".encode(), [key])
        size = int(hint["size"])
        root = root_at(size) if 0 < size <= checkpoint.size else None
        if root is None or hint["root"] != root.hex():
            return None
        intents = {str(event_id): int(seq) for event_id, seq in hint["open"].items()}
        pruned = [(int(first), int(last)) for first, last in hint["pruned"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NoteError):
        return None
    return Hint(size, intents, pruned)


def recorder_of(entry: Entry) -> tuple[str, int] | None:
    """Return id and pid of the process that recorded an event, as its line has them."""
    source = entry.get("source")
    recorder = source.get("recorder") if isinstance(source, dict) else None
    if not isinstance(recorder, dict) or not isinstance(recorder.get("pid"), int):
        return None
    return str(recorder.get("id")), int(recorder["pid"])


class _Request(msgspec.Struct):
    intent: str | None = None


class _Head(msgspec.Struct):
    event_type: str | None = None
    event_id: str | None = None
    request: _Request | None = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


_TELLING: Final = rb'"(?:mcp_operation_started|intent|audit_stopped|retention_applied|file_opened)"|\\u'
"""A sealed line without it neither opens nor closes an intent, nor says what was deleted, and need not be decoded (an
escape may hide one of these words; few lines have any)."""


_DELETED: Final = (b'"file_opened"', b'"retention_applied"')


class Tracker:
    """Follows lines, keeps the intents that are open, and what was deleted."""

    def __init__(self, own: OwnWords) -> None:
        """`own` tells whether the trail itself has said that something was deleted."""
        self.own = own
        self.open: dict[str, bytes] = {}
        """Their lines by `event_id`."""
        self.closed: set[str] = set()
        """Intents from before the first line seen here that an outcome has closed."""
        self.stopped: set[tuple[str, int] | None] = set()
        """Recorders that have ended well: nothing of theirs is open."""
        self.pruned: list[tuple[int, int]] = []

    def take(self, line: bytes) -> None:
        """Note what a line, without its LF, opens, closes or says to be deleted. What is no event says nothing."""
        try:
            head = _decode_head(line)
        except (ValueError, RecursionError):  # a part has another type than it should, or it is no event
            head = _head_of(parse_line(line) or {})
        kind = head.event_type
        if kind == "mcp_operation_started":
            self.open[str(head.event_id)] = line
        elif kind == "mcp_operation":
            intent = head.request.intent if head.request is not None else None
            if intent is not None and self.open.pop(intent, None) is None:
                self.closed.add(intent)
        elif kind == "audit_stopped":
            who = recorder_of(parse_line(line) or {})
            self.stopped.add(who)
            self.open = {
                event_id: intent
                for event_id, intent in self.open.items()
                if recorder_of(parse_line(intent) or {}) != who
            }
        elif kind in ("file_opened", "retention_applied"):
            self.pruned += self.pruned_in(line)

    def pruned_in(self, line: bytes) -> list[tuple[int, int]]:
        """Return the ranges of seqs whose files a line says were deleted, if that is the trail's own word."""
        entry = parse_line(line)
        return pruned_in(entry) if self.own.has(entry) else []


def _head_of(entry: Entry) -> _Head:
    request = entry.get("request")
    intent = request.get("intent") if isinstance(request, dict) else None
    return _Head(
        event_type=str(entry.get("event_type")),
        event_id=str(entry.get("event_id")),
        request=_Request(intent if isinstance(intent, str) else None),
    )


def open_intents(layout: Layout, hint: Hint | None, since: Tracker) -> list[Entry]:
    """Return the intents that no outcome closed, in the order of their seqs.

    `hint` knows what was open when it was left; `since` has followed everything that came after it.
    """
    found = {
        event_id: entry for event_id, line in since.open.items() if (entry := parse_line(line)) is not None
    }
    if hint is not None:
        still = {event_id: seq for event_id, seq in hint.intents.items() if event_id not in since.closed}
        entries = _entries_at(layout, set(still.values()))
        for event_id, seq in still.items():
            entry = entries.get(seq)
            if (
                entry is not None
                and entry.get("event_id") == event_id
                and recorder_of(entry) not in since.stopped
            ):
                found[event_id] = entry
    return sorted(found.values(), key=lambda entry: int(entry["seq"]))


def follow_sealed(layout: Layout, hint: Hint | None, sealed: int, own: OwnWords) -> tuple[Hint | None, Tracker]:
    """Follow the sealed lines, which are the first `sealed`, from the hint on, or from the last start on without one.

    Return the hint, None when it is of no use, and the tracker. Everything that `open_intents` will read is read here,
    before anything is changed. Raises TrailCorrupt.
    """
    tracker = Tracker(own)
    if hint is not None and _follow(layout, tracker, hint.size, sealed):
        for file, _ in _holding(layout, set(hint.intents.values())):
            if file.compressed:
                files.end_of_compressed(file)
        return hint, tracker
    tracker = Tracker(own)
    _follow(layout, tracker, _last_start(layout, sealed), sealed)
    return None, tracker


def _follow(layout: Layout, tracker: Tracker, first: int, end: int) -> bool:
    """Let a tracker take the lines with seqs from `first` up to `end`; tell whether the first of them is there."""
    if first >= end:
        return True
    chosen: list[TrailFile] = []
    for file in files.newest_first(layout):
        if file.first_seq < end:
            chosen.append(file)
        if file.first_seq <= first:
            break
    found = bool(chosen) and chosen[-1].first_seq <= first
    for file in reversed(chosen):
        with files.open_file(file) as stream:
            start: int | None = None if file.compressed else 0
            if file.first_seq < first and not file.compressed:
                start = files.find_seq(stream, first)
                found = start is not None
            if file.first_seq >= first or file.compressed or start is not None:
                _take_lines(tracker, stream, start, first, end)
    return found


def _take_lines(tracker: Tracker, stream: BinaryIO, start: int | None, first: int, end: int) -> None:
    if start:
        stream.seek(start)
    for line in files.lines_with(stream, _find_telling()):
        seq = line_seq(line)
        if seq is not None and first <= seq < end:
            tracker.take(line)


def _find(part: bytes) -> files.Find:
    return lambda data, start, end: data.find(part, start, end)


def _find_telling() -> files.Find:
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    search = re2.compile(_TELLING, options).search

    def find(data: bytes, start: int, end: int) -> int:
        match = search(data, start, end)
        return match.start() if match else -1

    return find


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
        line = files.find_line(stream, seq)
        if line is not None:
            yield line


def _last_start(layout: Layout, sealed: int) -> int:
    """Return the seq of the last sealed start of a writer that left no call open; 0 when there is none.

    Earlier intents need no look: a start records what it found open as interrupted, and then that it began; it says so
    when it left calls open whose recorder lived.
    """
    for file in files.newest_first(layout):
        with files.open_file(file) as stream:
            starts = [line_seq(line) for line in files.lines_with(stream, _find(_STARTED)) if _is_start(line)]
        newest = max((seq for seq in starts if seq is not None and seq < sealed), default=None)
        if newest is not None:
            return newest
    return 0


def _is_start(line: bytes) -> bool:
    """Tell whether a line is a start that left no call open; a call's arguments may hold the same key and value."""
    entry = parse_line(line)
    if entry is None or entry.get("event_type") != "audit_started":
        return False
    metadata = entry.get("metadata")
    return not (isinstance(metadata, dict) and LEFT_OPEN in metadata)


def pruned_ranges(layout: Layout, hint: Hint | None, since: Tracker) -> list[tuple[int, int]]:
    """Return the ranges of seqs whose files were deleted, merged, oldest first.

    Without a hint: what the newest file says of itself, since every file begins with what was deleted before it.
    """
    if hint is not None:
        return merge_ranges(hint.pruned + since.pruned)
    ranges = list(since.pruned)
    for newest in itertools.islice(files.newest_first(layout), 1):
        for said in _DELETED:
            with files.open_file(newest) as stream:
                for line in files.lines_with(stream, _find(said)):
                    ranges += since.pruned_in(line)
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
