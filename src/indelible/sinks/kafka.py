"""Records to a topic of a Kafka cluster, one message each.

The rules that live here:

- A batch is taken when the brokers have acknowledged it. The client sends as an idempotent producer and goes on trying
  for as long as it lives, so what was under way when a broker died arrives once, in its place. A sink that is closed
  after a failure therefore keeps the client while it has records; `stop` lets go of them, and they may come again.
- A request that the brokers refuse is refused as a whole, whichever record is at fault: it is sent again in smaller
  ones, at last record by record; only what is refused alone is refused for good. Until then nothing behind it in its
  partition can arrive (librdkafka's gapless guarantee).
- What the client says of its connections comes by a callback, and an error of credentials or certificates fails no
  record: whoever waits looks at both.

Which partition a record goes to is Java's own partitioner's to say, or this sink's.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from indelible.sink_settings.kafka import KafkaSettings
from indelible.sinks.base import Delivery, Shipment, SinkUnavailable
from indelible.sinks.broker import client
from indelible.sinks.broker.flight import Flight
from indelible.sinks.broker.troubles import REFUSED, Troubles, said
from indelible.sinks.waits import STOPPED

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

SLICE_S: Final = 0.05
"""How often it is looked whether something went wrong, or somebody says stop."""

FIRST_LOOK_S: Final = 0.25
"""How long the first question for the topic waits; the following ones wait twice as long each."""

NONE_IS_UP_S: Final = 1.5
"""When every broker has been tried for so long, and none was there, it is said; one may have several addresses."""

PURGE_S: Final = 2.0
"""What is given up comes back at once."""

PARTITION_ANY: Final = -1


class KafkaSink:
    """Sends records to one topic."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `KafkaSettings`."""
        self._own = KafkaSettings.of(settings.own)
        self._timeout = settings.timeout
        self._levels = client.levels(self._own)
        self._level = 0
        self._producer: Any = None
        self._flight = Flight()
        self._out: set[int] = set()
        """Numbers of records that the client has said nothing of yet."""
        self._failed: list[tuple[int, Any]] = []
        """Numbers of records that it has given back, and why."""
        self._troubles = Troubles()
        self._is_broken = False
        """The client takes nothing any more."""
        self._stopping = threading.Event()
        self._partitions: tuple[int, ...] = ()
        self._turn = itertools.count()
        self._chosen = PARTITION_ANY

    def open(self) -> None:
        """See `Sink`. The topic is asked for: it is there, and we may see it."""
        self._check()
        self._connected()
        self._flush(0)  # what it says of the time before
        self._troubles.clear()
        begun, look = time.monotonic(), min(FIRST_LOOK_S, self._timeout)
        while not self._asked(look):
            self._check()
            if self._troubles.are_lasting:
                self._give_up()
            left = begun + self._timeout - time.monotonic()
            if left <= 0 or (self._troubles.none_is_up and left < self._timeout - NONE_IS_UP_S):
                raise SinkUnavailable(self._why())
            look = min(2 * look, max(FIRST_LOOK_S, left))
        self._troubles.clear()

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        if not self._flight.begin(shipments):  # somebody begins elsewhere, or a line was erased meanwhile
            self._drop()
            self._flight, self._out, self._failed = Flight(), set(), []
            self._flight.begin(shipments)
        try:
            self._check()
            self._carry()
        except SinkUnavailable as exc:
            if self._stopping.is_set():
                self._recall()
                self._give_back()
            exc.delivery = self._flight.take(len(shipments), settled=not self._has_some)
            raise
        return self._flight.take(len(shipments), settled=True)

    def close(self) -> None:
        """See `Sink`. What is under way stays so, and is waited for when it is opened again, unless it was stopped."""
        if not self._has_some or self._stopping.is_set():
            self._drop()

    def stop(self) -> None:
        """See `Sink`."""
        self._stopping.set()

    # --- sending ----------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        """Have all that is to be sent acknowledged, or refused for good. Raises SinkUnavailable."""
        refused = False
        while self._flight.waiting or self._has_some:
            self._hand_over()
            self._wait()
            failed, self._failed = self._failed, []
            if failed:
                refused |= self._judge(failed)
        if refused and self._level:
            self._level = 0
            self._drop()

    def _hand_over(self) -> None:
        """Give the client what is to be sent: this is done for every record there is."""
        produce, topic, reported = self._connected().produce, self._own.topic, self._reported
        out, partition, chooses = self._out, PARTITION_ANY, self._chooses
        whose: tuple[str, int] = ("", 0)
        common: tuple[tuple[str, str], ...] = ()
        for sent, (number, shipment) in enumerate(self._flight.hand_over()):
            record, seq, event_id, key, origin, schema, _ = shipment
            if (origin, schema) != whose:
                whose, common = (origin, schema), (("origin", origin), ("schema", str(schema)))
            headers = (
                [("event_id", event_id), ("seq", str(seq)), *common]
                if event_id
                else [("seq", str(seq)), *common]
            )
            if chooses:
                partition = self._partition(sent)
            try:
                produce(
                    topic,
                    record,
                    key or None,
                    partition,
                    on_delivery=partial(reported, number),
                    headers=headers,
                )
                out.add(number)
            except client.library().KafkaException as exc:
                reported(number, exc.args[0], None)

    @property
    def _chooses(self) -> bool:
        """Whether a partition is this sink's to choose."""
        return self._own.partition_strategy != "hash" and bool(self._partitions)

    def _partition(self, sent: int) -> int:
        """Return a partition, where it is not the key's to say; `sent` records of this batch went before."""
        if self._own.partition_strategy == "round_robin" or sent % self._own.batch.lines == 0:
            self._chosen = self._partitions[next(self._turn) % len(self._partitions)]
        return self._chosen

    def _reported(self, number: int, error: Any, _message: object) -> None:
        self._out.discard(number)
        if error is not None:
            self._failed.append((number, error))

    def _flush(self, seconds: float) -> int:
        """Let the client work for so long; return how many records it still has."""
        try:
            return int(self._producer.flush(seconds))
        except (client.library().KafkaException, SystemError) as exc:
            # A fatal error comes so, and not by the callback; other callbacks that follow it are said to have failed.
            fatal = exc.__cause__ if isinstance(exc, SystemError) else exc
            if fatal is None:
                raise
            self._noticed(fatal.args[0])
            return len(self._producer)

    def _noticed(self, error: Any) -> None:
        self._troubles.note(error.name(), error.str())
        self._is_broken |= error.fatal()

    def _wait(self) -> None:
        """Wait until the client has nothing any more, or cannot go on. Raises SinkUnavailable."""
        producer = self._connected()
        before, deadline = len(producer), time.monotonic() + self._timeout
        while left := self._flush(SLICE_S):
            if self._is_broken:
                self._recall()
                return
            self._check()
            if self._troubles.are_lasting:
                self._give_up()
            if left < before:
                before, deadline = left, time.monotonic() + self._timeout
            elif time.monotonic() >= deadline:
                self._asked(FIRST_LOOK_S)  # says when the topic is gone
                raise SinkUnavailable(self._why())
        if self._is_broken or self._out:
            self._recall()
        elif not self._failed:
            self._troubles.clear()

    def _recall(self) -> None:
        """Have everything back that has not arrived; what is on its way to the brokers is given time to arrive."""
        producer = self._producer
        if producer is None:
            return
        if len(producer) and not self._stopping.is_set():
            producer.purge(in_flight=False)
            self._flush(min(self._timeout, PURGE_S))
        if len(producer):
            producer.purge()
            self._flush(PURGE_S)
        self._flight.give_back(self._out)  # in doubt: better twice than not at all
        self._out.clear()
        self._let_go()

    def _give_back(self) -> None:
        """Have whatever came back sent again, and looked at then."""
        failed, self._failed = self._failed, []
        self._flight.give_back([number for number, _ in failed])

    def _give_up(self) -> NoReturn:
        """Begin anew the next time, with secrets and certificates as they are then. Raises SinkUnavailable."""
        why = self._why()
        self._recall()
        self._give_back()
        raise SinkUnavailable(why)

    def _judge(self, failed: Sequence[tuple[int, Any]]) -> bool:
        """Say what becomes of records that came back; tell whether one was refused for good.

        Raises SinkUnavailable: the others are to be tried later.
        """
        refused, level, troubles = False, self._levels[self._level], Troubles()
        self._flight.give_back([number for number, error in failed if error.name() not in REFUSED])
        for number, error in failed:
            if error.name() not in REFUSED:
                troubles.note(error.name(), error.str())
            elif level.is_single or self._flight.size(number) > level.bytes:
                self._flight.refuse(number, f"{REFUSED[error.name()]} ({said(error.name(), error.str())})")
                refused = True
            else:
                self._flight.give_back([number])
        if all(error.name() not in REFUSED for _, error in failed):
            raise SinkUnavailable(self._troubles.said() or troubles.said() or "it was not taken")
        if not refused:
            self._level += 1
            self._drop()
        return refused

    # --- the client -------------------------------------------------------------------------------------------

    @property
    def _has_some(self) -> bool:
        """Whether the client has records."""
        return self._producer is not None and len(self._producer) > 0

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = client.make(
                self._own, self._levels[self._level], self._timeout, self._noticed, self._troubles
            )
        return self._producer

    def _asked(self, seconds: float) -> bool:
        """Ask for the topic; tell whether it is there. Raises SinkUnavailable: it is not."""
        topic = self._own.topic
        try:
            found = self._connected().list_topics(topic, timeout=seconds).topics[topic]
        except client.library().KafkaException as exc:
            self._flush(0)
            if exc.args[0].name() not in ("_TRANSPORT", "_TIMED_OUT"):
                self._noticed(exc.args[0])
            return False
        if found.error is not None:
            raise SinkUnavailable(said(found.error.name(), found.error.str()))
        self._partitions = tuple(sorted(found.partitions))
        return True

    def _drop(self) -> None:
        """Let go of the client, and of what it has."""
        if self._has_some:
            self._producer.purge()
            self._flush(PURGE_S)
        self._let_go()

    def _let_go(self) -> None:
        self._producer, self._is_broken = None, False

    def _check(self) -> None:
        if self._stopping.is_set():
            raise SinkUnavailable(STOPPED)

    def _why(self) -> str:
        return self._troubles.said() or f"it does not answer within {self._timeout:g} s"
