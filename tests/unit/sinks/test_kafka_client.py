"""Whatever a Kafka client does: what counts as taken has arrived, and in its order; what is refused is at fault."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import NOTHING, Delivery, Shipment, Sink, SinkUnavailable
from indelible.sinks.broker import client
from tests.effort import examples

pytestmark = pytest.mark.slow

COUNT = 12
"""Records, all of one partition."""

TURNS = ("slow", "silent", "fails", "breaks", "raises")
"""What a client may do in one; silent is it until somebody asks for the topic."""

MISHAPS = (*TURNS, "away", "there", "no memory")

ATTEMPTS = 200
"""More than any of these stories needs."""


class Story:
    """What happens to some records, as chance has it; after some mishaps all goes well."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.unfit = set(self.chance.sample(range(COUNT), self.chance.choice([0, 0, 1, 3])))
        """What the brokers never take."""
        self.arrived: list[int] = []
        self.mishaps = 14
        self.kinds = self.chance.sample(MISHAPS, self.chance.randint(1, len(MISHAPS)))
        """Of few kinds: those that need each other come together more often than of all."""
        self.may_repeat = False
        """Whether the client has not told all that it knew."""

    def happens(self, well: str, *others: str) -> str:
        """Return what happens next: all is well, or one of the others."""
        others = tuple(one for one in others if one in self.kinds)
        found = self.chance.choice([well, *others]) if self.mishaps else well
        self.mishaps -= found != well
        return found

    def some(self, most: int) -> int:
        return self.chance.randint(0, most)


class Chancy:
    """A client of one partition, as librdkafka is one: in order, gapless unless each record goes alone."""

    story: Story

    def __init__(self, settings: dict[str, Any], **_: object) -> None:
        assert settings["delivery.report.only.error"] is True
        self.is_single = settings["batch.num.messages"] == 1
        self.is_gapless = settings["enable.gapless.guarantee"]
        self.held: list[tuple[int, Any]] = []
        self.untold: list[tuple[Any, int]] = []
        self.is_broken = self.is_fatal_untold = self.is_silent = False

    def __len__(self) -> int:
        return len(self.held) + len(self.untold) + self.is_fatal_untold

    def produce(self, _topic: str, record: bytes, *given: Any) -> None:
        if self.is_broken:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if self.story.some(20) == 0 and self.story.happens("taken", "no memory") == "no memory":
            raise MemoryError
        assert given[5]["seq"] == record.decode()
        self.held.append((int(record), given[2]))

    def flush(self, seconds: float) -> int:
        assert seconds < 0.2
        turn = "silent" if self.is_silent else self.story.happens("well", *TURNS)
        if turn == "silent":
            self.is_silent = True
            return len(self)
        if turn == "fails" and self.is_gapless:
            self._fail(1 + self.story.some(COUNT), KafkaError.TOPIC_AUTHORIZATION_FAILED)
        else:
            self._take(self.story.some(len(self.held)) if turn in ("slow", "breaks") else len(self.held))
        if turn == "breaks":
            self._break(KafkaError._FATAL)
        self._tell(self.story.some(len(self.untold)) if turn == "slow" else len(self.untold), turn == "raises")
        if self.is_fatal_untold and turn != "slow":
            self.is_fatal_untold = False
            raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "x", True))
        return len(self)

    def _take(self, most: int) -> None:
        """Have so many arrive, up to one that is refused with those of its request."""
        for _ in range(most):
            if self.held[0][0] in self.story.unfit:
                self._fail(1 if self.is_single else 1 + self.story.some(3), KafkaError.MSG_SIZE_TOO_LARGE)
                return
            self.story.arrived.append(self.held.pop(0)[0])

    def _fail(self, count: int, error: int) -> None:
        self.untold += [(tell, error) for _, tell in self.held[:count]]
        del self.held[:count]
        if self.is_gapless and self.untold:
            self._break(KafkaError._PURGE_QUEUE)

    def _break(self, error: int) -> None:
        self.is_fatal_untold |= not self.is_broken
        self.is_broken = True
        self.untold += [(tell, error) for _, tell in self.held]
        self.held = []

    def _tell(self, count: int, raises: bool) -> None:
        for _ in range(count):
            tell, error = self.untold.pop(0)
            if raises:
                self.story.may_repeat = True
                raise MemoryError
            tell(KafkaError(error), None)

    def purge(self, *, in_flight: bool = True) -> None:
        """Give all back; what is on its way only when that is meant, and it may be there all the same."""
        self.is_silent = False
        first = self.story.some(len(self.held))
        on_their_way, waiting = self.held[:first], self.held[first:]
        self.held = [] if in_flight else on_their_way
        for seq, tell in on_their_way if in_flight else []:
            if seq not in self.story.unfit and self.story.happens("lost", "there") == "there":
                self.story.arrived.append(seq)
                self.story.may_repeat = True
            self.untold.append((tell, KafkaError._PURGE_INFLIGHT))
        self.untold += [(tell, KafkaError._PURGE_QUEUE) for _, tell in waiting]

    def list_topics(self, topic: str, timeout: float) -> Any:
        self.is_silent = False
        if self.story.happens("here", "away") == "away":
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        del timeout
        found = type("Topic", (), {"error": None, "partitions": {0: None}})
        return type("Topics", (), {"topics": {topic: found}})


def attempt(sink: Sink, batch: list[Shipment]) -> tuple[Delivery, bool]:
    """Send a batch as a lane does; tell what became of it, and whether all went well."""
    try:
        sink.open()
        return sink.send(batch), True
    except SinkUnavailable as exc:
        return exc.delivery, False
    except MemoryError:
        return NOTHING, False


@given(st.integers(0, 2**32))
@hypothesis_settings(max_examples=examples(100), deadline=None)
def test_what_counts_as_taken_has_arrived_in_its_order(seed: int) -> None:
    story, at, end, dead = Story(seed), 0, 0, list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.library(), "Producer", type("Client", (Chancy,), {"story": story}))
        for name, seconds in (("PURGE_S", 0.02), ("SAY_S", 0.0), ("NONE_IS_UP_S", 0.0)):
            patch.setattr(f"indelible.sinks.kafka.{name}", seconds)
        [settings] = parse_sinks([{"type": "kafka", "brokers": "127.0.0.1:1", "topic": "t", "timeout": 0.02}])
        sink = make_sink(settings)
        for _ in range(ATTEMPTS):
            end = max(end, min(at + 1 + story.some(5), COUNT))  # what was under way is sent again, or more
            batch = [Shipment(b"%d" % seq, seq, f"id-{seq}", "k", "origin") for seq in range(at, end)]
            delivery, is_well = attempt(sink, batch)
            refused = {at + index for index, _ in delivery.refused}
            assert refused <= story.unfit
            assert {*range(at, at + delivery.taken)} - refused <= {*story.arrived}
            dead += sorted(refused)
            at += delivery.taken
            if not is_well:
                sink.close()
            if at == COUNT:
                break
        sink.stop()
        sink.close()
    assert at == COUNT
    assert sorted({*story.arrived, *dead}) == list(range(COUNT))
    assert list(dict.fromkeys(story.arrived)) == sorted({*story.arrived})
    assert story.may_repeat or len(story.arrived) == len({*story.arrived})
