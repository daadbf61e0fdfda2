"""Find one event by its `event_id`: the line, and the seq that it claims.

Ids are random, so nothing can be bisected: every file is read, a piece at a time, and only lines in which the id stands
are parsed. What is found is a claim like every line; `indelible.trail.proofs.stored.prove` compares it with the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from indelible.errors import NotProven, TrailCorrupt
from indelible.trail.entry import parse_line
from indelible.trail.reader import Lines, TrailFile, open_snapshot, reading


class Found(NamedTuple):
    """A line with the id that was asked for."""

    path: Path
    seq: int
    line: bytes


def find_event(paths: list[Path], event_id: str) -> Found:
    """Return the one event of these trails that has the id.

    Raises NotProven when there is none, or more than one; TrailError when a trail cannot be read.
    """
    found: list[Found] = []
    damaged: list[str] = []
    for path in paths:
        for one in lines_with(path, event_id, damaged):
            if found:
                seqs = f"seq {found[0].seq} of {found[0].path} and seq {one.seq} of {path}"
                msg = f"event_id {event_id[:80]!r} stands in more than one event: {seqs}; say which by its seq"
                raise NotProven(msg)
            found.append(one)
    if not found:
        where = str(paths[0]) if len(paths) == 1 else f"{len(paths)} trails"
        unread = f"; {damaged[0]}" if damaged else ""
        shown = repr(event_id[:80])
        msg = f"{where}: no line has event_id {shown} (of deleted files and erased lines only the seq is known){unread}"
        raise NotProven(msg)
    return found[0]


def lines_with(path: Path, event_id: str, damaged: list[str]) -> Iterator[Found]:
    """Yield the lines of a trail that have the id; what cannot be unpacked is noted in `damaged`."""
    try:
        needle = b'"event_id":' + orjson.dumps(event_id)
    except orjson.JSONEncodeError:  # half a surrogate pair: no line can hold it
        return
    with reading(path), open_snapshot(path) as snapshot:
        for file in snapshot.files:
            try:
                yield from _in_file(path, file, event_id, needle)
            except FileNotFoundError:  # deleted by the writer's retention since the files were listed
                continue
            except TrailCorrupt as exc:
                damaged.append(f"{file.path}: {exc}")


def _in_file(path: Path, file: TrailFile, event_id: str, needle: bytes) -> Iterator[Found]:
    with file.open() as stream:
        for some, raw in Lines(stream):
            if needle not in raw:
                continue
            for line in some:
                entry = parse_line(line) if needle in line else None
                if entry is not None and entry.get("event_id") == event_id:
                    yield Found(path, entry["seq"], line)
