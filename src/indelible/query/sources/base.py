"""What a source is: the contract between a place that holds records and who reads them back.

The rules that live here:

- A source hands out every record that it can read, each with where it stands, and never ends for the sake of one:
  what it could not read is in `Source.unread`, with the reason.
- It holds one block at a time, however much there is, and whatever somebody packed to fill a memory.
- It believes nothing: what stands beside a record (a header of a topic) is a claim like the record itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from indelible.formats.found import MAX_RECORD_BYTES

LIMIT: Final = MAX_RECORD_BYTES
"""Bytes of a record. One that is longer is handed out cut to one byte more: no format makes such."""


class Block(NamedTuple):
    """Some records, in the order in which they stand there."""

    where: str
    """The file, or the partition of a topic."""
    records: Sequence[bytes]
    """Without line ends."""
    numbers: Sequence[int]
    """Where each stands in it: the number of its line, from 1, or its offset."""
    size: int = 0
    """How many bytes of the source were read for it."""
    unit: str = "line"
    """What the numbers count."""
    torn: bool = False
    """Nothing ends the last one: it may have been cut off."""
    origins: Sequence[str] | None = None
    """Which trail each is of, as its transport says beside it; None where a transport has no room for that."""


class Unread(NamedTuple):
    """What could not be read, and why."""

    where: str
    why: str


class Source(Protocol):
    """A place that holds records."""

    name: str
    """What people call it."""
    unread: list[Unread]
    files: int
    """How many files or partitions were read from."""

    def size(self) -> int:
        """Return about how many bytes there are to read; 0 when nobody knows."""

    def blocks(self) -> Iterator[Block]:
        """Yield all that is there. Raises SourceError when the place cannot be read at all, or any more."""


def place(block: Block, index: int) -> str:
    """Return where a record stands, for people: ``FILE, line N``."""
    return f"{block.where}, {block.unit} {block.numbers[index]}"
