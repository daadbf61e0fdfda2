"""The ids of the newest events: what a new holder has to know again when recorders send events a second time."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.events import ENVELOPE_BYTES
from indelible.trail import files
from indelible.trail.entry import line_seq
from indelible.trail.sharing.wire import HEAD_BYTES

if TYPE_CHECKING:
    from indelible.trail.layout import Layout

_HEAD: Final = HEAD_BYTES + ENVELOPE_BYTES
"""Bytes of a line in which its id stands: nothing that a caller chose stands before it."""

_EVENT_ID: Final = re.compile(rb'"event_id":"([^"\\]+)"')


_END: Final = 1 << 53
"""Beyond every seq."""


class _Recorder(msgspec.Struct):
    uid: int


class _Source(msgspec.Struct):
    recorder: _Recorder


class _Line(msgspec.Struct):
    event_id: str
    source: _Source


_decode: Final = msgspec.json.Decoder(_Line).decode


def _id_of(line: bytes) -> str | None:
    """Return what an event is known by to processes of one user: its id."""
    match = _EVENT_ID.search(line, 0, _HEAD)
    return match[1].decode() if match else None


def _id_of_user(line: bytes) -> str | None:
    """Return what an event is known by where there are several users: nobody's can stand for another's."""
    try:
        found = _decode(line)
    except (ValueError, RecursionError):
        return None
    return f"{found.source.recorder.uid} {found.event_id}"


def recent_ids(layout: Layout, size: int, count: int, *, by_user: bool = False) -> list[str]:
    """Return the ids of the last `count` events of a trail of `size`, oldest first; across rotations.

    With `by_user`, each is ``UID ID``: the user who recorded it stands before it.
    Raises OSError or TrailCorrupt where a file cannot be read.
    """
    mark = _id_of_user if by_user else _id_of
    return files.looking_again(lambda: _read(layout, size, max(0, size - count), mark))


def find_ids(layout: Layout, ids: set[str], since: int) -> set[str]:
    """Return those of `ids` that are in a trail, after its first `since` lines; across rotations.

    Raises OSError or TrailCorrupt where a file cannot be read.
    """
    return set(files.looking_again(lambda: _read(layout, _END, since, lambda line: _one_of(ids, line))))


def _one_of(ids: set[str], line: bytes) -> str | None:
    found = _id_of(line)
    return found if found in ids else None


def _read(layout: Layout, size: int, wanted: int, mark: Callable[[bytes], str | None]) -> list[str]:
    found: list[str] = []
    for file in files.newest_first(layout):
        ids = []
        with files.open_file(file) as stream:
            if not file.compressed and line_seq(stream.read(_HEAD)) != file.first_seq:
                raise FileNotFoundError(errno.ENOENT, "was rotated while it was looked for", str(file.path))
            start = None if file.compressed else 0  # a compressed one cannot be sought in
            if not file.compressed and file.first_seq < wanted:
                start = files.find_seq(stream, wanted) or 0
            for _, line, _ in files.iter_lines(stream, start):
                seq = line_seq(line)
                if seq is not None and wanted <= seq < size and (known := mark(line)) is not None:
                    ids.append(known)
        found = ids + found
        if file.first_seq <= wanted:
            break
    return found
