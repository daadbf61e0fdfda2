"""What a sink is: the contract between the shipper and whatever carries records away.

The rules that live here:

- `Sink.send` returns when the destination has what it says is taken, and not before: the shipper moves its cursor by
  that word, and never sends those records again.
- What was not taken is sent again, from the first one on: what a destination gets is in order, and whole but for what
  it refused for good.
- A sink is used by one thread. It may be stopped while it waits (`Sink.stop`, from any thread), and never waits longer
  than its own time-out for anything. Stopped is for good: another sink is made where it is to go on.
- What SinkUnavailable says names the destination and the cause, and quotes nothing of a record: it stands in `status`
  and in logs, where no erasure comes. What a destination says of a record is the reason of its refusal
  (`Delivery.refused`): that stands with the dead letter, and goes with it.
- After SinkUnavailable the next `send` tries again, whatever that takes; who would rather close and open again can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec


class Shipment(msgspec.Struct, frozen=True, gc=False):
    """One record on its way. They have no cycles, and nothing looks through them for some: a backlog is millions."""

    record: bytes
    """What the format made of the event; no line end."""
    seq: int
    event_id: str
    """Empty for an erased line."""
    key: str = ""
    """What is kept in order, for destinations that have partitions."""
    origin: str = ""
    """The trail's; empty where nobody said it."""
    schema: int = 1
    """Of the event, as its line has it."""
    line: bytes = b""
    """The trail's, for what a destination is told beside the record, such as the event's time; as `origin`."""


class Delivery(NamedTuple):
    """What became of records."""

    taken: int
    """So many, from the first on, need not be sent again: the destination has them, or has refused them for good."""
    refused: Sequence[tuple[int, str]] = ()
    """(index, reason) of those among them that it will never take."""


NOTHING: Final = Delivery(0)


def delivered(taken: int, refused: Sequence[tuple[int, str]]) -> Delivery:
    """Return what became of records; of the refused ones those that are among the taken."""
    return Delivery(taken, tuple(item for item in refused if item[0] < taken)) if taken else NOTHING


class SinkUnavailable(Exception):  # noqa: N818 - a state, and it passes
    """The destination cannot take anything now: one clear line. What was not taken is tried again later."""

    def __init__(
        self,
        message: str,
        delivery: Delivery = NOTHING,
        *,
        retry_after: float | None = None,
        refuses: bool = False,
    ) -> None:
        """`retry_after` is how many seconds the destination asks to be left alone.

        `refuses`: it is there, and refuses whatever it was sent, so that nobody can tell whose fault that is.
        """
        super().__init__(message)
        self.delivery = delivery
        self.retry_after = retry_after
        self.refuses = refuses


class Sink(Protocol):
    """A transport to one destination."""

    def open(self) -> None:
        """Connect, where that is not done. Raises SinkUnavailable; ConfigError for what will not be better tomorrow."""

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """Carry records there, in order. Raises SinkUnavailable, which says how many were taken before."""

    def close(self) -> None:
        """Let go of it.

        Whatever was taken is there, or was never said to be. It may be closed twice, and opened again.
        """

    def stop(self) -> None:
        """Make an `open` or `send` end soon, with SinkUnavailable: one under way, or a later one. From any thread."""


class Seal(NamedTuple):
    """What shows of some records that they are of a trail, and whole: for destinations that keep it beside them."""

    checkpoint: str
    """The signed note over all of them (C2SP tlog-checkpoint)."""
    vkey: str
    """The key that signed it, as its trail has it."""
    proof: tuple[bytes, ...] | None = None
    """Of their lines under the checkpoint's root (`indelible.trail.proofs.subset`), when asked for and to be had."""
    rotations: str | None = None
    """The notes by which earlier keys of the trail handed over to this one, oldest first."""


class TooScattered(Exception):  # noqa: N818 - what to do
    """A proof of so many records so far from each other would be too long: ask for fewer of them."""


class Sealer(Protocol):
    """What a sink may ask of the trail that it is sent records of, while a `send` lasts."""

    def before(self, origin: str) -> int | None:
        """Return the seq of the last record of a trail that this sink took before this `send`.

        None where there was none, or nobody knows: nothing is said then of what may lie before these records.
        """

    def seal(self, origin: str, shipments: Sequence[Shipment], *, proves: bool) -> Seal | None:
        """Return what shows of records, whose seqs ascend, that they are of a trail; None when it has no checkpoint.

        `proves`: with the proof of their lines. Raises TooScattered: only of fewer of them.
        """


@runtime_checkable
class Idling(Protocol):
    """A sink that has nothing to do while what it has sent is on its way."""

    def meanwhile(self, work: Callable[[], None]) -> None:
        """Have this done then: once in each `send`, and on its thread. It raises nothing."""


@runtime_checkable
class Sealing(Protocol):
    """A sink that takes a sealer: once, before it is opened. One that is used without makes no seals."""

    def seal_with(self, sealer: Sealer) -> None:
        """Ask this one from now on."""
