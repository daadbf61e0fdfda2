"""Records to a topic of a Kafka cluster, one message each.

The rules that live here:

- A batch is taken when the brokers have acknowledged it. The client sends as an idempotent producer and goes on trying
  for as long as it lives, so what was under way when a broker died arrives once, in its place. A sink that is closed
  after a failure therefore keeps the client while it has records; `stop` lets go of them, and they may come again.
- The client says what it failed, and nothing of what it did not: once it has nothing any more, the rest of what it was
  given has arrived, and not before. Where it may have been kept from saying all, the rest is in doubt, and sent again.
  What is behind those that failed, or are in doubt, is not handed over before them, whichever client they were with.
- A request that the brokers refuse is refused as a whole, whichever record is at fault: it is sent again in smaller
  ones, at last record by record; only what is refused alone is refused for good. Until then nothing behind it in its
  partition can arrive (librdkafka's gapless guarantee).
- A refusal counts of brokers that take other records. Where they refuse whatever they are sent, it is the topic that
  wants something else, or none of ours: then nothing is given up (`CREDIT`).
- What the client says of its connections comes by a callback, and an error of credentials or certificates fails no
  record: whoever waits looks at both.

Which partition a record goes to is Java's own partitioner's to say, or this sink's.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from indelible.sink_settings.kafka import KafkaSettings
from indelible.sinks.base import Delivery, Shipment, SinkUnavailable
from indelible.sinks.broker import client
from indelible.sinks.broker.flight import Flight
from indelible.sinks.broker.troubles import NO_ANSWER, REFUSED, Troubles, said
from indelible.sinks.waits import Waits

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

SLICE_S: Final = 0.05
"""How often it is looked whether something went wrong, or somebody says stop."""

FIRST_LOOK_S: Final = 0.25
"""How long the first question for the topic waits; the following ones wait twice as long each."""

CREDIT: Final = 3
"""So many refusals in a row, with nothing taken beside them, are believed of a topic that takes records."""

LOOK_S: Final = 300.0
"""Where partitions are this sink's to choose, new ones are noticed after this; the client's own do as often."""

NONE_IS_UP_S: Final = 1.5
"""When every broker has been tried for so long, and none was there, it is said; one may have several addresses."""

SAY_S: Final = 4.0
"""Of brokers that do not answer it is said after this, whatever the time-out: what is wrong is told within five
seconds. The client stays, and goes on connecting, until its time is over; the next attempt has all of the time-out, so
that whoever comes back is not waited for in pauses alone."""

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
        self._was_refused = False
        """Whether a record was refused since requests became smaller: it was the cause, and not their size."""
        self._credit = 0
        self._arrived = False
        """Whether a record has, since that was asked last."""
        self._producer: Any = None
        self._flight = Flight()
        self._tellers: list[Callable[[Any, object], None]] = []
        """What is called when the record at this place of the flight is given back: made once."""
        self._out: list[int] = []
        """Numbers of records that it was given, until it is known which of them have arrived."""
        self._failed: list[tuple[int, Any]] = []
        """Numbers of records that it has given back, and why."""
        self._in_doubt = False
        """Whether it may have failed others, and was kept from saying so."""
        self._troubles = Troubles()
        self._is_broken = False
        """The client takes nothing any more."""
        self._waits = Waits(settings.timeout)
        self._looked = float("-inf")
        """When it was asked for the topic last."""
        self._asked_since: float | None = None
        """Since when this client was asked, and has not answered; None: it has, or there is none."""
        self._is_away = False
        """It was said that nobody answers, and nobody has since."""
        self._work: Callable[[], None] = _nothing
        """What is done while records are on their way."""
        self._partitions: tuple[int, ...] = ()
        self._turn = itertools.count()
        self._chosen = PARTITION_ANY

    def meanwhile(self, work: Callable[[], None]) -> None:
        """See `Idling`."""
        self._work = work

    def open(self) -> None:
        """See `Sink`. The topic is asked for: it is there, and we may see it."""
        self._waits.check()
        begun = time.monotonic()
        until = self._begin(begun) + self._timeout
        if not self._is_away:
            until = min(until, begun + SAY_S)
        look = min(FIRST_LOOK_S, self._timeout)
        while not self._asked(look):
            self._waits.check()
            if self._troubles.are_lasting:
                self._give_up()
            now = time.monotonic()
            if self._troubles.none_is_up and now > begun + NONE_IS_UP_S and not self._has_some:
                self._asked_since = None
                raise SinkUnavailable(self._why())
            if now >= until:
                self._is_away = True
                raise SinkUnavailable(self._why())
            look = min(2 * look, max(FIRST_LOOK_S, until - now))
        self._troubles.clear()

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        if not self._flight.begin(shipments):  # somebody begins elsewhere, or a line was erased meanwhile
            self._drop()
            self._flight, self._out, self._failed, self._in_doubt = Flight(), [], [], False
            self._flight.begin(shipments)
        try:
            self._waits.check()
            self._carry()
        except SinkUnavailable as exc:
            if self._waits.stopped:
                self._recall()
                self._give_back()
            if self._is_settled and not self._are_believed:
                self._flight.disbelieve()
            exc.delivery = self._flight.take(len(shipments), settled=self._is_settled)
            raise
        return self._flight.take(len(shipments), settled=True)

    def close(self) -> None:
        """See `Sink`. What is under way stays so, and is waited for when it is opened again, unless it was stopped."""
        if self._waits.stopped or not (self._has_some or self._is_coming(time.monotonic())):
            self._drop()
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    # --- sending ----------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        """Have all that is to be sent acknowledged, or refused for good. Raises SinkUnavailable."""
        work = self._work
        while self._flight.waiting or not self._is_settled:
            if not (self._failed or self._in_doubt):  # else what comes behind those would arrive before them
                self._hand_over()
            work()
            work = _nothing
            self._wait()
            failed, self._failed = self._failed, []
            if failed:
                self._judge(failed)
        if not self._are_believed:
            count = self._flight.refused
            which = "the record" if count == 1 else f"each of {count} records"
            why = f"it refuses {which}, and takes no other: {self._flight.disbelieve()}"
            raise SinkUnavailable(why, refuses=True)
        self._credit, self._arrived = (CREDIT if self._arrived else self._credit) - self._alone, False
        if self._was_refused:
            self._was_refused = False
            if self._level:
                self._level = 0
                self._drop()

    @property
    def _alone(self) -> int:
        """How many records were refused with none that arrived beside them."""
        return 0 if self._arrived else self._flight.refused

    @property
    def _are_believed(self) -> bool:
        """Whether refusals are the records' fault, as far as anybody can tell."""
        return self._alone <= self._credit

    def _hand_over(self) -> None:
        """Give the client what is to be sent: this is done for every record there is."""
        if self._own.partition_strategy != "hash" and time.monotonic() - self._looked > LOOK_S:
            self._asked(FIRST_LOOK_S)
        produce, topic = self._connected().produce, self._own.topic
        failure, partition, chooses = client.library().KafkaException, PARTITION_ANY, self._chooses
        first, tellers = self._flight.first, self._tellers
        tellers += [partial(self._reported, place) for place in range(len(tellers), len(self._flight))]
        numbers, shipments = self._flight.hand_over()
        origin, schema, given = "", None, 0
        whole: dict[str, str] = {}  # headers, of which the client makes a copy
        erased: dict[str, str] = {}
        try:
            for given, (number, shipment) in enumerate(zip(numbers, shipments, strict=True)):
                if shipment.schema != schema or shipment.origin != origin:
                    origin, schema = shipment.origin, shipment.schema
                    erased = {"seq": "", "origin": origin, "schema": str(schema)}
                    whole = {**erased, "event_id": ""}
                headers = whole if shipment.event_id else erased
                headers["seq"] = str(shipment.seq)
                if shipment.event_id:
                    headers["event_id"] = shipment.event_id
                if chooses:
                    partition = self._partition(given)
                tell = tellers[number - first]
                try:  # by place: names cost 0.4 µs more
                    produce(topic, shipment.record, shipment.key or None, partition, tell, None, 0, headers)
                except failure as exc:
                    tell(exc.args[0], None)
            given = len(numbers)
        finally:
            self._out += numbers[:given]
            self._flight.give_back(numbers[given:])

    @property
    def _chooses(self) -> bool:
        """Whether a partition is this sink's to choose."""
        return self._own.partition_strategy != "hash" and bool(self._partitions)

    def _partition(self, sent: int) -> int:
        """Return a partition, where it is not the key's to say; `sent` records of this batch went before."""
        if self._own.partition_strategy == "round_robin" or sent % self._own.batch.lines == 0:
            self._chosen = self._partitions[next(self._turn) % len(self._partitions)]
        return self._chosen

    def _reported(self, place: int, error: Any, _message: object) -> None:
        self._failed.append((self._flight.first + place, error))  # the first stays while the client has some

    def _flush(self, seconds: float = SLICE_S) -> int:
        """Let the client work for so long, a slice at the most; return how many records it still has.

        When a callback raises it calls no other, and we get that at once. Out of a longer wait, which it divides, we
        would get it at the end only, and what it calls meanwhile would fail.
        """
        try:
            return int(self._producer.flush(seconds))
        except client.library().KafkaException as exc:  # a fatal error comes so, and not by the callback
            self._noticed(exc.args[0])
            return len(self._producer)
        except BaseException:
            self._in_doubt = True
            raise

    def _drain(self, seconds: float) -> int:
        """Let the client work until it has nothing, for so long at the most; return how many records it still has."""
        until = time.monotonic() + seconds
        while (left := self._flush()) and time.monotonic() < until:
            pass
        return left

    def _noticed(self, error: Any) -> None:
        self._troubles.note(error.name(), error.str())
        self._is_broken |= error.fatal()

    def _wait(self) -> None:
        """Wait until the client has nothing any more, or cannot go on. Raises SinkUnavailable."""
        producer = self._connected()
        before, since = len(producer), time.monotonic()
        patience = max(self._timeout - FIRST_LOOK_S - SLICE_S, self._timeout / 2)
        while left := self._flush():
            if self._is_broken:
                self._recall()
                return
            self._waits.check()
            if self._troubles.are_lasting:
                self._give_up()
            quiet = time.monotonic() - since
            none_is_up = self._troubles.none_is_up and quiet >= NONE_IS_UP_S
            if left < before:
                before, since = left, time.monotonic()
            elif none_is_up or quiet >= patience:
                if self._asked(FIRST_LOOK_S) and none_is_up:  # it also says when the topic is gone
                    self._troubles.somebody_is_up()
                else:
                    self._is_away = True
                    raise SinkUnavailable(self._why())
        if self._is_broken:
            self._recall()
            return
        self._settle()
        if not self._failed:
            self._troubles.clear()

    def _settle(self) -> None:
        """Find out what has arrived, of what the client has no more."""
        back = {number for number, _ in self._failed}
        rest = [number for number in self._out if number not in back] if back else self._out
        if self._in_doubt:
            self._flight.give_back(rest)  # better twice than not at all
        elif rest:
            self._arrived = True
        self._out, self._in_doubt = [], False

    def _recall(self) -> None:
        """Have everything back that has not arrived; what is on its way to the brokers is given time to arrive."""
        producer = self._producer
        left = len(producer) if producer is not None else 0
        if left and not self._waits.stopped:
            producer.purge(in_flight=False)
            left = self._drain(min(self._timeout, PURGE_S))
        if left:
            producer.purge()
            left = self._drain(PURGE_S if self._waits.stopped else max(PURGE_S, self._timeout))
        self._in_doubt |= left > 0
        self._settle()
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

    def _judge(self, failed: Sequence[tuple[int, Any]]) -> None:
        """Say what becomes of records that came back. Raises SinkUnavailable: they are to be tried later."""
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
            self._troubles.add(troubles)
            raise SinkUnavailable(self._troubles.said() or "it was not taken")
        self._troubles.clear()
        self._was_refused |= refused
        if not refused:
            self._level += 1
            self._drop()

    # --- the client -------------------------------------------------------------------------------------------

    @property
    def _is_settled(self) -> bool:
        """Whether it is known of each record what became of it."""
        return not (self._has_some or self._out or self._failed)

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

    def _begin(self, now: float) -> float:
        """Have a client that is to be asked; return since when it is: a slow one goes on until its time is over.

        One that has records is the same all through an outage, and says the same of it only twice a minute.
        """
        if self._asked_since is None or not self._is_coming(now):
            if not self._has_some:
                self._drop()
                self._troubles.clear()
            self._connected()
            self._asked_since = now
        return self._asked_since

    def _is_coming(self, now: float) -> bool:
        """Whether the client may still answer what it was asked."""
        return self._asked_since is not None and now < self._asked_since + self._timeout

    def _asked(self, seconds: float) -> bool:
        """Ask for the topic; tell whether it is there. Raises SinkUnavailable: it is not."""
        topic = self._own.topic
        ask = partial(self._connected().list_topics, topic, timeout=seconds)
        try:
            found = self._waits.call(ask).topics[topic]
        except TimeoutError:
            self._flush(0)
            return False
        except client.library().KafkaException as exc:
            self._flush(0)
            if exc.args[0].name() not in ("_TRANSPORT", "_TIMED_OUT"):
                self._noticed(exc.args[0])
            return False
        self._asked_since, self._is_away = None, False
        if found.error is not None:
            raise SinkUnavailable(said(found.error.name(), found.error.str()))
        self._partitions = tuple(sorted(found.partitions))
        self._looked = time.monotonic()
        return True

    def _drop(self) -> None:
        """Let go of the client, and of what it has."""
        if self._has_some:
            self._producer.purge()
            self._drain(PURGE_S)
        self._let_go()

    def _let_go(self) -> None:
        self._producer, self._is_broken, self._asked_since = None, False, None

    def _why(self) -> str:
        return self._troubles.said() or NO_ANSWER


def _nothing() -> None:
    """Nobody has anything to do."""
