"""Records in a topic: ``kafka://HOST:PORT/TOPIC``, read from its beginning to where it ended when that began.

The rules that live here:

- Nothing of ours stays with the brokers: no group is joined, no offset is committed, no topic is made.
- A topic that goes on while it is read is read to the end that it had. Records of transactions that were given up are
  not there.
- No secret stands in a URL: whoever needs TLS or a password names a sink of the configuration, which says how.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from indelible.errors import ConfigError, SourceError
from indelible.query.sources.base import LIMIT, Block, Unread
from indelible.sink_settings.kafka import KafkaSettings
from indelible.sink_settings.sinks import parse_sinks
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.broker.client import ClientLog, library, security
from indelible.sinks.broker.troubles import NO_ANSWER, Troubles
from indelible.values import shown

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings

TIMEOUT_S: Final = 10.0
"""So long is waited for an answer."""

FETCH_RECORDS: Final = 1_000
FETCH_S: Final = 0.5
"""So long is waited for records before it is looked whether anything is wrong."""

QUEUED_KB: Final = 16_384
"""What the client holds in memory of all partitions."""

SILENCE_S: Final = 30.0
"""After this without a record, and without the end of a partition, nothing more is waited for."""

HANDED_OVER: Final = 100
"""So many of the things that went wrong are looked at before it is asked again."""

ORIGIN: Final = "origin"
"""The header that says which trail a record is of."""


class KafkaSource:
    """One topic."""

    def __init__(self, url: str, sink: SinkSettings | None = None) -> None:
        """`sink` says how to come in, and how long to wait, where that is longer.

        Raises ConfigError for what is no such URL, and a sink of another type.
        """
        self._settings = _settings(url, sink)
        self._timeout = TIMEOUT_S if sink is None else max(TIMEOUT_S, sink.timeout)
        self._troubles = Troubles()
        self.name = f"kafka://{self._settings.brokers[0]}/{self._settings.topic}"
        self.unread: list[Unread] = []
        self.files = 0
        self._empty: dict[int, int] = {}

    def size(self) -> int:
        """See `indelible.query.sources.base.Source`: nobody knows."""
        return 0

    def blocks(self) -> Iterator[Block]:
        """See `indelible.query.sources.base.Source`."""
        kafka = _library()
        consumer = self._consumer(kafka)
        try:
            ends = self._assign(kafka, consumer)
            self.files = len(ends)
            yield from self._read(
                kafka, consumer, {at: end for at, (begin, end) in ends.items() if end > begin}
            )
        except kafka.KafkaException as exc:
            raise self._failed(exc.args[0]) from None
        finally:
            consumer.close()
        for partition, count in sorted(self._empty.items()):
            self.unread.append(Unread(f"{self.name}, partition {partition}", f"{count} messages have no value"))

    def _consumer(self, kafka: Any) -> Any:
        settings = {
            "bootstrap.servers": ",".join(self._settings.brokers),
            "client.id": "indelible",
            "group.id": "indelible-reads",  # the client wants one; it is never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "check.crcs": True,
            "queued.max.messages.kbytes": QUEUED_KB,
            "enable.metrics.push": False,
            **security(self._settings),
        }
        try:
            return kafka.Consumer({**settings, "error_cb": self._note}, logger=ClientLog(self._troubles))
        except kafka.KafkaException as exc:  # it may show a value, and passwords are any
            raise ConfigError(
                f"--from: {self.name}: the client refuses its settings: {exc.args[0].name()}"
            ) from None

    def _note(self, error: Any) -> None:
        self._troubles.note(error.name(), error.str())

    def _failed(self, error: Any) -> SourceError:
        """Return what to raise of an error: what the client said by itself is the cause of what it says when asked."""
        if self._troubles.said() is None and error.name() not in ("_TRANSPORT", "_TIMED_OUT"):
            self._note(error)
        return SourceError(f"{self.name}: cannot be read: {self._troubles.said() or NO_ANSWER}")

    def _assign(self, kafka: Any, consumer: Any) -> dict[int, tuple[int, int]]:
        """Have all partitions read from their beginnings; return (first offset, the one after the last) of each."""
        topic = self._settings.topic
        about = self._wait_for(kafka, consumer, lambda left: consumer.list_topics(topic, timeout=left)).topics[
            topic
        ]
        if about.error is not None:
            self._troubles.clear()  # it has come in, whatever went wrong before
            raise self._failed(about.error)
        ends = {}
        for number in sorted(about.partitions):
            place = kafka.TopicPartition(topic, number)
            ends[number] = consumer.get_watermark_offsets(place, timeout=self._timeout)
        consumer.assign([kafka.TopicPartition(topic, number, begin) for number, (begin, _) in ends.items()])
        return ends

    def _wait_for(self, kafka: Any, consumer: Any, ask: Any) -> Any:
        """Ask until there is an answer, or a cause that waiting does not cure: the client tells that by itself."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return ask(1.0)
            except kafka.KafkaException:
                for _ in range(HANDED_OVER):  # it hands over what went wrong, one thing after the other
                    consumer.poll(0)
                if self._troubles.are_lasting or self._troubles.none_is_up or time.monotonic() > deadline:
                    raise

    def _read(self, kafka: Any, consumer: Any, ends: dict[int, int]) -> Iterator[Block]:
        heard = time.monotonic()
        while ends:
            messages = consumer.consume(FETCH_RECORDS, FETCH_S)
            found: dict[int, list[Any]] = {}
            done: set[int] = set()
            for message in messages:
                partition, error = message.partition(), message.error()
                if error is None and message.offset() < ends.get(partition, 0):
                    found.setdefault(partition, []).append(message)
                elif error is not None and error.code() != kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                    raise self._failed(error)
                if error is not None or message.offset() + 1 >= ends.get(partition, 0):
                    done.add(partition)
                    ends.pop(partition, None)
            if done:  # a topic that goes on would send more and more of them, and nothing of the others
                consumer.pause([kafka.TopicPartition(self._settings.topic, number) for number in done])
            if found or done:
                heard = time.monotonic()
            elif self._troubles.are_lasting or time.monotonic() - heard > SILENCE_S:
                why = self._troubles.said() or f"no record came for {SILENCE_S:g} s"
                raise SourceError(f"{self.name}: cannot be read on: {why}")
            for partition, some in found.items():
                yield self._block(partition, some)

    def _block(self, partition: int, messages: list[Any]) -> Block:
        values = [message.value() for message in messages]
        nothing = sum(not value for value in values)
        if nothing:
            self._empty[partition] = self._empty.get(partition, 0) + nothing
        return Block(
            f"{self.name}, partition {partition}",
            [(value or b"")[: LIMIT + 1] for value in values],
            [message.offset() for message in messages],
            unit="offset",
            origins=[_origin(message) for message in messages],
        )


def _origin(message: Any) -> str:
    for key, value in message.headers() or ():
        if key == ORIGIN and isinstance(value, bytes):
            return value.decode("utf-8", "replace")
    return ""


def _library() -> Any:
    try:
        return library()
    except SinkUnavailable as exc:
        raise SourceError(f"kafka://: {exc}") from None


def _settings(url: str, sink: SinkSettings | None) -> KafkaSettings:
    """Return the settings that a URL and a sink make together."""
    expected = f"--from: {shown(url)}: expected kafka://HOST:PORT[,HOST:PORT]/TOPIC"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(expected if "@" not in url else "--from: kafka://: no such URL") from None
    if "@" in parts.netloc:
        raise ConfigError(
            "--from: kafka://: no user and no password stands in it: name a sink with --sink, which says them"
        )
    if not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(expected)
    item = {"type": "kafka", "brokers": parts.netloc, "topic": parts.path.removeprefix("/")}
    try:
        own = parse_sinks([item])[0].own
    except ValueError as exc:
        raise ConfigError(f"{expected}: {exc}") from None
    if not isinstance(own, KafkaSettings):
        raise ConfigError(expected)
    if sink is None:
        return own
    if not isinstance(sink.own, KafkaSettings):
        raise ConfigError(f"--sink {sink.name}: it is of type {sink.type}, not kafka")
    return msgspec.structs.replace(own, tls=sink.own.tls, sasl=sink.own.sasl)
