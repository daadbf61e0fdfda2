"""The contract of sinks as a test: whoever writes one proves it with this, as ours do.

A sink alone cannot be judged: what counts is what its destination has. So whoever asks brings a `Destination`, which
the checks can look into, take away, bring back and make hang; what is not possible with a kind of destination is left
out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable

PATIENCE_S: Final = 60.0
"""How long the checks wait for what must come; a machine may be busy."""

SHORT_S: Final = 1.0
"""The time-out of sinks that are to run into it."""

WORDS: Final = ("Grüße", "🦊", "event-", "]}}")
"""What every record of these checks has, and no cause."""

STALLED_S: Final = 0.5
"""A sink that has taken nothing for so long waits."""


class Destination:
    """What a sink is judged with: somewhere to send to, new for each check.

    `make` and `received` are needed. Of the others those are overridden that this kind of destination can do.
    """

    largest: int = 60_000
    """Bytes of the largest record that it takes."""

    def make(self, timeout: float) -> Sink:
        """Return a new sink to this destination, not open yet, that waits at most `timeout` seconds for anything."""
        raise NotImplementedError

    def received(self) -> Sequence[bytes]:
        """Return the records that it has, in the order in which they came."""
        raise NotImplementedError

    def take_away(self) -> None:
        """Make it unreachable, as a server that is stopped or a disk that is full; what it has, it keeps."""
        raise NotImplementedError

    def bring_back(self) -> None:
        """End `take_away`."""
        raise NotImplementedError

    def hang(self) -> None:
        """Let it take nothing any more, and say nothing."""
        raise NotImplementedError

    def unfit(self) -> bytes:
        """Return a record that it refuses for good."""
        raise NotImplementedError

    def close(self) -> None:
        """Clear it away."""


def check_sink(destination: Callable[[], Destination]) -> tuple[str, ...]:
    """Judge a sink; return the names of the checks that it passed, in `CHECKS`' order.

    `destination` is called for each check. Those are left out that need what the destination does not override. Raises
    AssertionError, which says what rule of `indelible.sinks.base` is broken.
    """
    passed = []
    for name, (check, needs) in CHECKS.items():
        place = destination()
        try:
            if all(getattr(type(place), need) is not getattr(Destination, need) for need in needs):
                check(place)
                passed.append(name)
        finally:
            place.close()
    return tuple(passed)


def record(number: int, size: int = 0) -> Shipment:
    """Return a record that a receiver could take for something else: framing, headers, quotes, the end of text."""
    text = f'<134>1 2026-11-21T00:00:00Z - indelible - - - "{number}" 12 <13>x ]}}\\n Grüße \u2028 🦊 \\'
    data = text.encode()
    return Shipment(data + b"x" * (size - len(data)), number, f"event-{number}", f"key-{number % 3}")


def _in_order(place: Destination) -> None:
    sink = place.make(PATIENCE_S)
    sink.open()
    sent: list[bytes] = []
    try:
        for size in (1, 0, 2, 700, 1):
            batch = [record(len(sent) + index) for index in range(size)]
            _take_all(sink, batch)
            sent += [shipment.record for shipment in batch]
        largest = record(len(sent), place.largest)
        _take_all(sink, [largest])
        sent.append(largest.record)
    finally:
        sink.close()
    _arrive(place, sent)


def _opened_and_closed(place: Destination) -> None:
    sink = place.make(PATIENCE_S)
    sink.close()
    sent = []
    for number in range(3):
        sink.open()
        sink.open()
        _take_all(sink, [record(number)])
        sent.append(record(number).record)
        sink.close()
        sink.close()
    _arrive(place, sent)


def _absent_at_start(place: Destination) -> None:
    place.take_away()
    sink = place.make(SHORT_S)
    try:
        _unavailable(lambda: _open_and_send(sink, [record(0)]))
        place.bring_back()
        _send_until_taken(sink, [record(0), record(1)])
    finally:
        sink.close()
    _arrive(place, [record(0).record, record(1).record])


def _away_for_a_while(place: Destination) -> None:
    sink = place.make(SHORT_S)
    batches = [[record(20 * batch + index) for index in range(20)] for batch in range(3)]
    try:
        sink.open()
        _send_until_taken(sink, batches[0])
        place.take_away()
        taken = _unavailable(lambda: sink.send(batches[1])).taken
        _must(taken <= len(batches[1]), f"says that {taken} of {len(batches[1])} records were taken")
        place.bring_back()
        _send_until_taken(sink, batches[1][taken:])
        _send_until_taken(sink, batches[2])
    finally:
        sink.close()
    _arrive(place, [shipment.record for batch in batches for shipment in batch], repeated=True)


def _refused(place: Destination) -> None:
    sink = place.make(PATIENCE_S)
    batch = [record(0), Shipment(place.unfit(), 1, "unfit"), record(2)]
    try:
        sink.open()
        delivery = sink.send(batch)
        _take_all(sink, [record(3)])
    finally:
        sink.close()
    _must(delivery.taken == 3, f"a refused record counts as taken; of 3 it says {delivery.taken}")
    _must(
        [index for index, _ in delivery.refused] == [1], f"refused: {delivery.refused!r}, expected the index 1"
    )
    _one_line(delivery.refused[0][1])
    _arrive(place, [record(number).record for number in (0, 2, 3)])


def _times_out(place: Destination) -> None:
    sink = place.make(SHORT_S)
    try:
        sink.open()
        _send_until_taken(sink, [record(0)])
        place.hang()
        _unavailable(lambda: _flood(sink, place.largest, []))
    finally:
        sink.close()


def _stopped(place: Destination) -> None:
    sink = place.make(10 * PATIENCE_S)
    sink.open()
    _send_until_taken(sink, [record(0)])
    place.hang()
    calls: list[int] = []
    raised: list[BaseException] = []

    def send() -> None:
        try:
            _flood(sink, place.largest, calls)
        except BaseException as exc:  # noqa: BLE001 - looked at below
            raised.append(exc)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    _until_stalled(calls, thread)
    sink.stop()
    thread.join(PATIENCE_S)
    _must(not thread.is_alive(), "a send that hangs does not end after stop()")
    _must(isinstance(raised[0], SinkUnavailable), f"a stopped send raised {raised[0]!r}, not SinkUnavailable")
    _unavailable(lambda: sink.send([record(1)]))
    sink.close()


def _stopped_before(place: Destination) -> None:
    sink = place.make(PATIENCE_S)
    sink.stop()
    _unavailable(lambda: _open_and_send(sink, [record(0)]))
    sink.close()
    sink.stop()


CHECKS: Final[dict[str, tuple[Callable[[Destination], None], tuple[str, ...]]]] = {
    "in order": (_in_order, ()),
    "opened and closed": (_opened_and_closed, ()),
    "absent at start": (_absent_at_start, ("take_away", "bring_back")),
    "away for a while": (_away_for_a_while, ("take_away", "bring_back")),
    "refused": (_refused, ("unfit",)),
    "times out": (_times_out, ("hang",)),
    "stopped": (_stopped, ("hang",)),
    "stopped before": (_stopped_before, ()),
}
"""Name → the check, and what the destination must be able to do for it."""


def _take_all(sink: Sink, batch: Sequence[Shipment]) -> None:
    delivery = sink.send(batch)
    _must(delivery.taken == len(batch), f"of {len(batch)} records it says {delivery.taken} were taken")
    _must(not delivery.refused, f"refused: {delivery.refused!r}")


def _send_until_taken(sink: Sink, batch: Sequence[Shipment]) -> None:
    """Send as the shipper does: again, from the first one on that was not taken."""
    deadline = time.monotonic() + PATIENCE_S
    while batch:
        try:
            taken = sink.send(batch).taken
        except SinkUnavailable as exc:
            taken = exc.delivery.taken
            _quotes_nothing(str(exc))
            _must(time.monotonic() < deadline, f"it does not come back: {exc}")
            time.sleep(0.05)
        batch = batch[taken:]


def _flood(sink: Sink, size: int, calls: list[int]) -> None:
    """Send more than any buffer on the way takes."""
    for number in range(1, 1 << 20):
        sink.send([record(number, size)])
        calls.append(number)


def _until_stalled(calls: list[int], thread: threading.Thread) -> None:
    deadline = time.monotonic() + PATIENCE_S
    seen, since = -1, time.monotonic()
    while thread.is_alive() and time.monotonic() - since < STALLED_S:
        _must(time.monotonic() < deadline, "it goes on taking records while its destination hangs")
        if len(calls) != seen:
            seen, since = len(calls), time.monotonic()
        thread.join(0.02)


def _unavailable(call: Callable[[], object]) -> Delivery:
    """Return what was taken by a call that must raise SinkUnavailable, in time."""
    begun = time.monotonic()
    try:
        call()
    except SinkUnavailable as exc:
        _one_line(str(exc))
        _quotes_nothing(str(exc))
        took = time.monotonic() - begun
        _must(took < PATIENCE_S, f"took {took:.0f} s to say that it is unavailable")
        return exc.delivery
    except Exception as exc:
        msg = f"raised {exc!r}, not SinkUnavailable"
        raise AssertionError(msg) from exc
    raise AssertionError("did not raise SinkUnavailable")


def _must(holds: bool, message: str) -> None:  # noqa: FBT001 - it is what the rule comes to
    if not holds:
        raise AssertionError(message)


def _open_and_send(sink: Sink, batch: Sequence[Shipment]) -> None:
    sink.open()
    sink.send(batch)


def _one_line(text: str) -> None:
    _must(bool(text.strip()) and text.isprintable(), f"expected one clear line, not {text!r}")


def _quotes_nothing(text: str) -> None:
    quoted = [word for word in WORDS if word in text]
    _must(
        not quoted, f"quotes a record ({quoted[0] if quoted else ''}), which no erasure reaches there: {text!r}"
    )


def _arrive(place: Destination, sent: Sequence[bytes], *, repeated: bool = False) -> None:
    """Wait for the records; `repeated`: some may have come twice, which counts where they came first."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = list(dict.fromkeys(place.received())) if repeated else list(place.received())
        if found == list(sent):
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    missing = sum(data not in found for data in sent)
    raise AssertionError(
        f"of {len(sent)} records {missing} are missing; {len(found)} arrived, or in another order"
    )
