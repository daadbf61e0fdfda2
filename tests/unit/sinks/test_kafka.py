"""The Kafka sink's parts, and the sink with librdkafka's own mock of a cluster."""

from __future__ import annotations

import contextlib
import importlib
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import NOTHING, Delivery, Shipment, Sink, SinkUnavailable
from indelible.sinks.broker import client
from indelible.sinks.broker.flight import Flight
from indelible.sinks.broker.troubles import Troubles, said

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0
KAFKA = {"type": "kafka", "brokers": "127.0.0.1:1", "topic": "t", "timeout": 30}


def shipments(first: int, end: int) -> list[Shipment]:
    return [Shipment(b"%d" % seq, seq, f"id-{seq}", f"k{seq % 3}", "origin") for seq in range(first, end)]


# --- what is under way ----------------------------------------------------------------------------------------


def test_nothing_counts_as_taken_while_the_client_has_some() -> None:
    flight = Flight()
    assert flight.begin(shipments(0, 3))
    assert list(flight.hand_over()[0]) == [0, 1, 2]
    assert flight.take(3, settled=False) == Delivery(0)
    assert flight.begin(shipments(0, 5))
    assert [one.seq for one in flight.hand_over()[1]] == [3, 4], "what is under way is not handed over again"
    assert flight.take(5, settled=True) == Delivery(5)
    assert not flight.waiting


def test_others_than_those_under_way_are_not_mixed_with_them() -> None:
    flight = Flight()
    flight.begin(shipments(0, 3))
    flight.hand_over()
    assert not flight.begin(shipments(1, 3))
    assert not flight.begin([*shipments(0, 2), Shipment(b"erased", 2, "")])


class Client:
    """Takes, gives back and refuses as hypothesis says; and remembers what has arrived."""

    def __init__(self, choose: Any) -> None:
        self.choose = choose
        self.arrived: list[int] = []

    def work(self, flight: Flight, numbers: Sequence[int], handed: Sequence[Shipment]) -> None:
        back: list[int] = []
        for number, one in zip(numbers, handed, strict=True):
            fate = self.choose(st.sampled_from(["arrives", "arrives", "back", "refused"]))
            if fate == "arrives" and not back:
                self.arrived.append(one.seq)
            elif fate == "refused" and not back:
                flight.refuse(number, "no")
            else:
                back.append(number)
        flight.give_back(back)


@given(st.data())
def test_each_record_arrives_once_in_order_or_is_refused_once(data: st.DataObject) -> None:
    flight, made = Flight(), Client(data.draw)
    at, end, refused = 0, 8, []
    for _ in range(40):
        size = data.draw(st.integers(1, 5))
        batch = shipments(at, min(at + size, end))
        assert flight.begin(batch)
        made.work(flight, *flight.hand_over())
        settled = data.draw(st.booleans())
        delivery = flight.take(len(batch), settled=settled)
        assert settled or not delivery.taken
        refused += [at + index for index, _ in delivery.refused]
        at += delivery.taken
        if at == end:
            break
    assert sorted({*made.arrived} - {*range(at)}) == [seq for seq in made.arrived if seq >= at]
    done = [seq for seq in made.arrived if seq < at]
    assert done == sorted(set(done))
    assert sorted([*done, *refused]) == list(range(at))


# --- what went wrong ------------------------------------------------------------------------------------------

SAID = [
    (
        "_TRANSPORT",
        "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        "h:1: nothing listens there",
    ),
    ("_TRANSPORT", "ssl://h:1/2: Connection setup timed out in state CONNECT (after 5ms in state CONNECT)", "h:1: it"),
    ("_SSL", "ssl://h:1/2: SSL handshake failed: x:certificate verify failed: broker\n certificate (after 3ms in "
             "state SSL_HANDSHAKE)", "h:1: its certificate is not accepted; look at tls: ca_file"),
    ("_SSL", "ssl://h:1/2: x: ssl/tls alert certificate required", "h:1: it refuses our certificate"),
    ("_SSL", "h:1/bootstrap: x: wrong version number", "h:1: it does not speak TLS there"),
    ("_AUTHENTICATION", "sasl_ssl://h:1/bootstrap: SASL authentication error: No (after 3ms in state AUTH_REQ, 4 "
                        "identical error(s) suppressed)", "h:1: it refuses our user name, password or mechanism: No"),
    ("_FAIL", "h:1/1: Disconnected: connection closed by peer (after 1ms in state APIVERSION_QUERY)",
     "h:1: it closed the connection; does it expect TLS"),
    ("_FAIL", "h:1/1: Disconnected (after 90000ms in state UP)", "h:1: it closed the connection"),
    ("_RESOLVE", "h:1/bootstrap: Failed to resolve 'h:1': x (after 3ms in state CONNECT)", "h:1: the name cannot"),
    ("UNKNOWN_TOPIC_OR_PART", "Broker: Unknown topic or partition", "there is no such topic"),
    ("SOMETHING_NEW", "Broker: Something\nnew", "Broker: Something new"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "wanted"), SAID)
def test_an_error_is_said_in_one_line(name: str, text: str, wanted: str) -> None:
    line = said(name, text)
    assert line.startswith(wanted)
    assert line.isprintable()
    assert "after" not in line


@given(st.text(max_size=400), st.sampled_from([name for name, _, _ in SAID]))
def test_whatever_a_broker_says_is_one_line(text: str, name: str) -> None:
    assert said(name, text).isprintable()
    assert len(said(name, text)) <= 300


def test_of_several_causes_the_telling_one_is_told() -> None:
    troubles = Troubles()
    assert troubles.said() is None
    troubles.note("_ALL_BROKERS_DOWN", "1/1 brokers are down")
    assert troubles.none_is_up
    assert troubles.said() == "it does not answer in time"
    troubles.note("_TRANSPORT", "h:1/bootstrap: Connect to x failed: Connection refused")
    assert troubles.said() == "h:1: nothing listens there"
    assert not troubles.are_lasting
    troubles.note("_AUTHENTICATION", "h:1/bootstrap: SASL authentication error: no")
    assert troubles.are_lasting
    assert "refuses our user name" in str(troubles.said())
    troubles.clear()
    assert troubles.said() is None


def test_of_several_brokers_one_is_told_whichever_was_tried_last() -> None:
    lines = set()
    for order in permutations(("a:1", "b:2", "c:3")):
        troubles = Troubles()
        for place in order:
            troubles.note("_TRANSPORT", f"{place}/bootstrap: Connect to x failed: Connection refused")
            troubles.note("_TRANSPORT", f"{place}/bootstrap: Connection setup timed out in state CONNECT")
        lines.add(troubles.said())
    assert lines == {"a:1: nothing listens there"}


def test_what_says_little_of_the_cause_is_not_told_where_something_says_more() -> None:
    troubles, others = Troubles(), Troubles()
    troubles.note("_GAPLESS_GUARANTEE", "ProduceRequest for t [0] failed: unable to satisfy gap-less guarantee")
    others.note("_PURGE_QUEUE", "Local: Purged in queue")
    others.note("UNSUPPORTED_COMPRESSION_TYPE", "Broker: Unsupported compression type")
    troubles.add(others)
    assert troubles.said() == "the brokers do not take this 'compression'"


# --- the package ----------------------------------------------------------------------------------------------


def test_a_package_that_is_installed_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.import_module("confluent_kafka")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    sink = sink_to("127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(SinkUnavailable) as raised:
            sink.open()
        assert str(raised.value) == client.MISSING
        sink.close()
    monkeypatch.setitem(sys.modules, "confluent_kafka", there)
    with pytest.raises(SinkUnavailable, match="nothing listens there"):
        sink.open()
    sink.close()


def test_a_package_that_is_broken_is_told_from_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError(f"{name}: cannot open shared object file")

    sink = sink_to("127.0.0.1:1")
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(SinkUnavailable, match="cannot be loaded: confluent_kafka: cannot open shared object"):
        sink.open()


# --- with a cluster -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Give the address of brokers that librdkafka plays."""
    mock = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 2, "log_level": 0})
    brokers = mock.list_topics(timeout=PATIENCE_S).brokers.values()
    yield ",".join(f"{one.host}:{one.port}" for one in brokers)
    del mock


def sink_to(brokers: str, **other: Any) -> Sink:
    [sink] = parse_sinks([{**KAFKA, "brokers": brokers, **other}])
    return make_sink(sink)


def read(cluster: str, topic: str, count: int) -> list[Any]:
    consumer = Consumer({"bootstrap.servers": cluster, "group.id": "g", "log_level": 0})
    numbers = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
    found: list[Any] = []
    while len(found) < count:
        some = consumer.consume(count - len(found), PATIENCE_S)
        assert some, f"{len(found)} of {count} came"
        found += some
    consumer.close()
    return found


def test_records_arrive_with_what_identifies_them(cluster: str) -> None:
    sink = sink_to(cluster)
    sink.open()
    batch = [*shipments(0, 500), Shipment(b"erased", 500, "", "", "origin", 2)]
    assert sink.send(batch) == Delivery(501)
    sink.close()
    found = {int(dict(one.headers())["seq"]): one for one in read(cluster, "t", 501)}
    for one in batch:
        told = found[one.seq]
        assert (told.value(), told.key()) == (one.record, one.key.encode() or None)
        wanted = {"seq": b"%d" % one.seq, "origin": b"origin", "schema": b"%d" % one.schema}
        assert dict(told.headers()) == wanted | ({"event_id": one.event_id.encode()} if one.event_id else {})


def test_nobody_there_is_said_long_before_the_time_is_over() -> None:
    sink = sink_to("127.0.0.1:1", timeout=290)
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1:1: nothing listens there"):
        sink.open()
    sink.close()


class Slow:
    """Stands in front of a broker, and lets what comes through when it is told to."""

    def __init__(self, broker: str) -> None:
        host, _, port = broker.rpartition(":")
        self._there = (host, int(port))
        self._flows = threading.Event()
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def release(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.release()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.accepted += 1
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        self._flows.wait(PATIENCE_S)
        with contextlib.suppress(OSError), client, socket.create_connection(self._there) as server:
            other = {client: server, server: client}
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65_536)
                    if not data:
                        return
                    other[source].sendall(data)


def test_who_does_not_answer_is_said_before_the_time_is_over_and_may_answer_late(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt says so soon; the connection is not broken off, so that a slow one comes all the same."""
    monkeypatch.setattr("indelible.sinks.kafka.SAY_S", 0.3)
    slow = Slow(cluster.partition(",")[0])
    sink = sink_to(slow.address, timeout=290)
    with pytest.raises(SinkUnavailable, match="it does not answer in time"):
        sink.open()
    sink.close()
    assert slow.accepted == 1
    slow.release()
    sink.open()
    assert slow.accepted == 1
    assert sink.send(shipments(0, 5)) == Delivery(5)
    sink.close()
    slow.close()


def test_a_connection_that_takes_longer_than_its_time_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indelible.sinks.kafka.SAY_S", 0.05)
    slow = Slow("127.0.0.1:1")
    sink = sink_to(slow.address, timeout=0.5)
    deadline = time.monotonic() + PATIENCE_S
    while slow.accepted < 2:
        with pytest.raises(SinkUnavailable):
            sink.open()
        sink.close()
        assert time.monotonic() < deadline
    slow.close()


class Hanging:
    """A client that keeps what it is given, and whose brokers have gone; in the end they answer again."""

    made: ClassVar[list[Hanging]] = []

    def __init__(self, settings: dict[str, Any], **_: object) -> None:
        self._tell = settings["error_cb"]
        self.held: list[Any] = []
        self.is_up, self.asked = False, 0
        self.made.append(self)

    def __len__(self) -> int:
        return len(self.held)

    def produce(self, *given: Any) -> None:
        self.held.append(given[4])

    def flush(self, _seconds: float) -> int:
        if self.is_up:
            self.held = []
        elif self.held and not self.asked:
            self._tell(KafkaError(KafkaError._TRANSPORT, "h:1/1: Connect to x failed: Connection refused"))
            self._tell(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        return len(self.held)

    def list_topics(self, name: str, **_: object) -> Any:
        self.asked += 1
        if not self.is_up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        topic = SimpleNamespace(error=None, partitions={0: None})
        return SimpleNamespace(topics={name: topic})


def test_brokers_that_die_with_records_under_way_are_said_soon_and_get_them_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client.library(), "Producer", Hanging)
    monkeypatch.setattr("indelible.sinks.kafka.NONE_IS_UP_S", 0.01)
    monkeypatch.setattr(Hanging, "made", [])
    sink: Any = sink_to("127.0.0.1:1", timeout=290)
    with pytest.raises(SinkUnavailable, match="h:1: nothing listens there") as raised:
        sink.send(shipments(0, 5))
    assert raised.value.delivery == NOTHING
    sink.close()
    sink._timeout = 0.1
    with pytest.raises(SinkUnavailable, match="h:1: nothing listens there"):  # though the client says it once
        sink.open()
    sink.close()
    [made] = Hanging.made
    made.is_up = True
    sink.open()
    assert sink.send(shipments(0, 5)) == Delivery(5)
    sink.close()
    assert Hanging.made == [made], "it was given them once"


def test_a_look_for_the_topic_ends_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of brokers that take connections and say nothing."""
    monkeypatch.setattr("indelible.sinks.kafka.FIRST_LOOK_S", 200.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = sink_to(f"127.0.0.1:{silent.getsockname()[1]}", timeout=290)
        raised: list[BaseException] = []

        def open_it() -> None:
            try:
                sink.open()
            except SinkUnavailable as exc:
                raised.append(exc)

        thread = threading.Thread(target=open_it, daemon=True)
        thread.start()
        silent.settimeout(PATIENCE_S)
        silent.accept()[0].close()
        sink.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert [str(one) for one in raised] == ["it was stopped"]
        sink.close()


class Refusing:
    """A client whose brokers take no record of more than `MOST` bytes, and refuse a request for one of them."""

    MOST = 100
    down = False

    def __init__(self, settings: dict[str, Any], **_: object) -> None:
        self.records: int = settings["batch.num.messages"]
        self.held: list[tuple[bytes, Any]] = []

    def __len__(self) -> int:
        return len(self.held)

    def produce(self, _topic: str, record: bytes, *given: Any) -> None:
        self.held.append((record, given[2]))

    def flush(self, _seconds: float) -> int:
        while self.held:
            some = self.held[: self.records]
            is_bad = any(len(record) > self.MOST for record, _ in some)
            code = KafkaError.NOT_ENOUGH_REPLICAS if Refusing.down else None
            code = KafkaError.MSG_SIZE_TOO_LARGE if is_bad else code
            del self.held[: len(some)]
            if code is not None:
                for _, tell in some:
                    tell(KafkaError(code), None)
        return 0

    def purge(self, **_in: object) -> None:
        held, self.held = self.held, []
        for _, tell in held:
            tell(KafkaError(KafkaError._PURGE_QUEUE), None)

    def list_topics(self, *_: object, **__: object) -> Any:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_an_outage_behind_a_refused_record_leaves_no_small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What made them small was the record; nobody pays for it once it is with the dead letters."""
    monkeypatch.setattr(client.library(), "Producer", Refusing)
    monkeypatch.setattr(Refusing, "down", True)
    sink: Any = sink_to("127.0.0.1:1")
    batch = [Shipment(b"x" * 101, 0, "id-0"), *shipments(1, 9)]
    with pytest.raises(SinkUnavailable, match="too few replicas"):
        sink.send(batch)
    monkeypatch.setattr(Refusing, "down", False)
    assert sink.send(batch[1:]) == Delivery(8)
    assert sink.send(shipments(9, 12)) == Delivery(3)
    assert sink._producer.records > 1  # of the client that has sent them
    sink.close()


# --- what is said, and what is not ----------------------------------------------------------------------------


class Telling:
    """A client that tells what it fails, and of what arrives nothing; its turns are `flush`, and go as they are set."""

    arrived: ClassVar[list[bytes]] = []
    turns: ClassVar[list[Callable[[Telling], None]]] = []
    """What the next turns do; after them all arrives."""
    refuses: ClassVar[set[bytes]] = set()
    """What it does not even take, once each."""

    def __init__(self, settings: dict[str, Any], **_: object) -> None:
        assert settings["delivery.report.only.error"] is True
        self.held: list[tuple[bytes, Any]] = []

    def __len__(self) -> int:
        return len(self.held)

    def produce(self, _topic: str, record: bytes, *given: Any) -> None:
        if record in self.refuses:
            self.refuses.discard(record)
            raise MemoryError
        self.held.append((record, given[2]))

    def take(self, count: int) -> None:
        """Have so many arrive."""
        self.arrived.extend(record for record, _ in self.held[:count])
        del self.held[:count]

    def fail(self, count: int, error: int) -> None:
        """Fail so many."""
        for _ in range(count):
            self.held.pop(0)[1](KafkaError(error), None)

    def flush(self, seconds: float) -> int:
        assert seconds < 0.2, "it divides such a wait, and goes on after a callback that raised"
        if self.turns:
            self.turns.pop(0)(self)
        else:
            self.take(len(self.held))
        return len(self.held)

    def purge(self, *, in_flight: bool = True) -> None:
        """Have the next turn fail all that it has; but not the first, when that may still arrive."""

        def turn(made: Telling) -> None:
            begin = 0 if in_flight else 1
            back = made.held[begin:]
            del made.held[begin:]
            for _, tell in back:
                tell(KafkaError(KafkaError._PURGE_QUEUE), None)

        self.turns.insert(0, turn)

    def list_topics(self, *_: object, **__: object) -> Any:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> type[Telling]:
    monkeypatch.setattr(client.library(), "Producer", Telling)
    monkeypatch.setattr("indelible.sinks.kafka.PURGE_S", 0.3)
    monkeypatch.setattr("indelible.sinks.kafka.SAY_S", 0.0)
    for name, empty in (("arrived", []), ("turns", []), ("refuses", set())):
        monkeypatch.setattr(Telling, name, empty)
    return Telling


def records(first: int, end: int) -> list[bytes]:
    return [one.record for one in shipments(first, end)]


def broken(made: Telling) -> None:
    """What a client does when it takes nothing any more: `flush` raises it, whatever has arrived."""
    made.take(2)
    raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "x", True))


def kept_from_telling(made: Telling) -> None:
    """A callback raises: what it was to tell is lost."""
    made.take(2)
    made.held.pop(0)
    raise MemoryError


def test_what_a_client_that_breaks_had_not_failed_has_arrived_once(telling: type[Telling]) -> None:
    telling.turns[:] = [broken]
    sink = sink_to("127.0.0.1:1", timeout=0.1)
    with pytest.raises(SinkUnavailable) as raised:
        sink.send(shipments(0, 6))
    assert raised.value.delivery == Delivery(3)
    assert sink.send(shipments(3, 6)) == Delivery(3)
    assert telling.arrived == records(0, 6)
    sink.close()


@pytest.mark.parametrize("left", range(1, 4))
def test_what_a_client_was_kept_from_telling_is_sent_again(telling: type[Telling], left: int) -> None:
    """Also when it has nothing any more, and nobody could ask it again."""
    telling.turns[:] = [kept_from_telling]
    sink = sink_to("127.0.0.1:1", timeout=0.1)
    with pytest.raises(MemoryError):
        sink.send(shipments(0, 2 + left))
    sink.close()
    with contextlib.suppress(SinkUnavailable):
        assert sink.send(shipments(0, 2 + left)) == Delivery(2 + left)
    assert sink.send(shipments(0, 2 + left)) == Delivery(2 + left)
    assert set(telling.arrived) == {*records(0, 2 + left)}, "better twice than not at all"
    sink.close()


def silent(made: Telling) -> None:
    """Nothing happens, turn after turn, as long as it is this client that is asked."""

    def turn(asked: Telling) -> None:
        if asked is made:
            made.turns.append(turn)
        else:
            asked.take(len(asked.held))

    made.turns.append(turn)


def test_what_a_client_does_not_give_back_is_sent_again(
    telling: type[Telling], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_and_is_silent(made: Telling) -> None:
        silent(made)
        broken(made)

    monkeypatch.setattr(telling, "purge", lambda *_, **__: None)
    telling.turns[:] = [breaks_and_is_silent]
    sink = sink_to("127.0.0.1:1", timeout=0.1)
    assert sink.send(shipments(0, 6)) == Delivery(6)
    assert set(telling.arrived) == {*records(0, 6)}
    sink.close()


def test_what_is_not_even_taken_is_handed_over_later(telling: type[Telling]) -> None:
    telling.refuses.add(b"3")
    sink = sink_to("127.0.0.1:1")
    with pytest.raises(MemoryError):
        sink.send(shipments(0, 6))
    sink.close()
    assert sink.send(shipments(0, 6)) == Delivery(6)
    assert telling.arrived == records(0, 6)
    sink.close()


def test_a_record_that_is_refused_while_the_topic_is_asked_for_is_not_taken(
    telling: type[Telling], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last report comes while somebody asks whether the topic is there: it is judged all the same."""

    def refusal(made: Telling) -> None:
        made.take(2)
        made.fail(1, KafkaError.MSG_SIZE_TOO_LARGE)

    def asked(*_: object, **__: object) -> Any:
        telling.turns[:] = [refusal]
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(telling, "list_topics", asked)
    telling.turns[:] = [silent]
    sink: Any = sink_to("127.0.0.1:1", timeout=0.1)
    sink._level = 2  # each record alone
    with pytest.raises(SinkUnavailable) as raised:
        sink.send(shipments(0, 3))
    assert raised.value.delivery == NOTHING
    sink.close()
    delivery = sink.send(shipments(0, 3))
    assert (delivery.taken, [at for at, _ in delivery.refused]) == (3, [2])
    assert telling.arrived == records(0, 2)
    sink.close()


def test_what_came_back_while_the_topic_was_asked_for_goes_before_what_comes_later(
    telling: type[Telling], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though another client sends it, and more has come to the batch."""

    def failure(made: Telling) -> None:
        made.take(2)
        made.fail(1, KafkaError.TOPIC_AUTHORIZATION_FAILED)

    def asked(*_: object, **__: object) -> Any:
        telling.turns[:] = [failure]
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(telling, "list_topics", asked)
    telling.turns[:] = [silent]
    sink = sink_to("127.0.0.1:1", timeout=0.1)
    with pytest.raises(SinkUnavailable):
        sink.send(shipments(0, 3))
    sink.close()
    with pytest.raises(SinkUnavailable, match="we may not write") as raised:
        sink.send(shipments(0, 6))
    assert raised.value.delivery == Delivery(2)
    assert sink.send(shipments(2, 6)) == Delivery(4)
    assert telling.arrived == records(0, 6)
    sink.close()


def test_what_is_in_doubt_goes_before_what_comes_later(telling: type[Telling]) -> None:
    telling.turns[:] = [kept_from_telling]
    sink = sink_to("127.0.0.1:1")
    with pytest.raises(MemoryError):
        sink.send(shipments(0, 3))
    sink.close()
    assert sink.send(shipments(0, 6)) == Delivery(6)
    assert list(dict.fromkeys(telling.arrived)) == records(0, 6)
    sink.close()
