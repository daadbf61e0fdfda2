"""What sinks refused for good: `cursors/dead-letter.jsonl`, one JSON object a line.

The rules that live here. A dead letter is on the disk before the cursor passes its event. It holds content: so it
stands among the places that an erasure goes through (`upkeep.traces`), and carries `event_id`, origin and seq, by which
that finds it. Shippers add and take out while an erasure rewrites the file: everybody who changes it holds
`dead-letter.lock`, which the kernel gives back when its holder dies. An erasure rewrites the trail's files first and
this one last; whoever adds a letter looks afterwards whether its event was erased meanwhile, and takes it out then: so
none stays. A crash while one is added leaves a torn last line, which counts for nothing and is ended by the next one;
then the cursor has not passed its event, which is refused again.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from indelible import events
from indelible.trail import durable

if TYPE_CHECKING:
    from pathlib import Path

    from indelible.trail.durable import Access
    from indelible.trail.layout import Layout

NAME: Final = "dead-letter.jsonl"
LOCK: Final = "dead-letter.lock"
MAX_REASON_CHARS: Final = 500
ACCESS: Final = durable.Access()
"""Nobody else reads dead letters, whatever `audit.group` says of the trail."""


class Letter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event that a sink will never take as it is."""

    sink: str
    origin: str
    seq: int
    event_id: str
    refused_at: str
    reason: str
    record: str = ""
    """What was refused, as text."""
    record_base64: str = ""
    """The same, of what is no text."""

    @property
    def data(self) -> bytes:
        """What was refused."""
        return base64.b64decode(self.record_base64) if self.record_base64 else self.record.encode()

    @property
    def key(self) -> tuple[str, str, int]:
        """By which one that was refused twice is told."""
        return self.sink, self.origin, self.seq


def letter(sink: str, origin: str, seq: int, event_id: str, reason: str, record: bytes) -> Letter:
    """Return a dead letter of now."""
    text, coded = "", ""
    try:
        text = record.decode()
    except UnicodeDecodeError:
        coded = base64.b64encode(record).decode()
    return Letter(
        sink=sink, origin=origin, seq=seq, event_id=event_id, refused_at=events.now(),
        reason=reason[:MAX_REASON_CHARS], record=text, record_base64=coded,
    )  # fmt: skip


def path_of(layout: Layout) -> Path:
    """Return where the dead letters of a trail stand."""
    return layout.cursors / NAME


@contextlib.contextmanager
def locked(layout: Layout, access: Access) -> Iterator[None]:
    """Have the dead letters to oneself; waits for whoever has them."""
    durable.make_directory(layout.cursors, access)
    fd = os.open(layout.cursors / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, access.file_mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def rewrite(layout: Layout, change: Callable[[Path], None]) -> None:
    """Have the dead letters changed as a whole, if there are any; what a crash has left of them goes."""
    path = path_of(layout)
    if layout.cursors.is_dir():
        with locked(layout, ACCESS):
            durable.sweep(path)
            if path.exists():
                change(path)


def add(layout: Layout, more: Sequence[Letter], access: Access = ACCESS) -> None:
    """Add dead letters, and bring them to the disk. Raises OSError."""
    path = path_of(layout)
    with locked(layout, access):
        is_new = not path.exists()
        fd = (
            durable.create_file(path, access)
            if is_new
            else os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        )
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            data = b"".join(msgspec.json.encode(one) + b"\n" for one in more)
            durable.write_all(fd, b"\n" + data if torn else data)
            durable.datasync(fd)
        finally:
            os.close(fd)
        if is_new:
            durable.sync_directory(layout.cursors)


def read(layout: Layout) -> Iterator[Letter]:
    """Yield the dead letters, oldest first; what is torn, or was erased, is none. Raises OSError."""
    try:
        file = path_of(layout).open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            with contextlib.suppress(msgspec.DecodeError):
                yield _decode(line)


_decode = msgspec.json.Decoder(Letter).decode


def remove(layout: Layout, keys: Collection[tuple[str, str, int]], access: Access = ACCESS) -> None:
    """Take out the dead letters that were taken after all. Raises OSError; then all of them may still be there."""
    with locked(layout, access):
        kept = []
        with path_of(layout).open("rb") as file:
            for line in file:
                try:
                    if _decode(line).key in keys:
                        continue
                except msgspec.DecodeError:
                    pass
                kept.append(line)
        if kept:
            durable.replace_file(path_of(layout), b"".join(kept), access)
        else:
            path_of(layout).unlink()
            durable.sync_directory(layout.cursors)


def counts(layout: Layout) -> dict[str, int]:
    """Return how many events of each sink stand there; one that was refused twice counts once."""
    found: dict[str, set[tuple[str, str, int]]] = {}
    for one in read(layout):
        found.setdefault(one.sink, set()).add(one.key)
    return {sink: len(keys) for sink, keys in found.items()}
