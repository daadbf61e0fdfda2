"""A real Kafka broker (KRaft, one node) on ports of its own; its jars are in .tools/kafka (`make setup`).

Four listeners: without TLS; SASL over TLS with PLAIN and with SCRAM-SHA-512; and mutual TLS. A fifth one stands behind
a relay, which can be cut and held. It is one process, started by whoever has it and ended by its id; what it has
written stands in its folder, so that it can be killed and come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.certificates import Authority
from tests.servers import free_port

ROOT: Final = Path(__file__).parents[1]
LIBS: Final = ROOT / ".tools" / "kafka" / "libs"
PATIENCE_S: Final = 150.0
"""How long a broker may take to come up, or a client to get an answer; a machine may be busy."""

TRIES: Final = 3
"""Somebody else may take a port meanwhile."""

USER: Final = "audit"
PASSWORD: Final = "s3cret of a-broker"
CLUSTER: Final = "aW5kZWxpYmxlLXRlc3RzLg"
LISTENERS: Final = ("plaintext", "plain", "scram", "mtls")
"""What a client is told to connect to by settings of its own."""

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAIN:SASL_SSL,SCRAM:SASL_SSL,MTLS:SSL,RELAYED:PLAINTEXT
listeners=CONTROLLER://127.0.0.1:{controller},PLAINTEXT://127.0.0.1:{plaintext},PLAIN://127.0.0.1:{plain},\
SCRAM://127.0.0.1:{scram},MTLS://127.0.0.1:{mtls},RELAYED://127.0.0.1:{relayed}
advertised.listeners=PLAINTEXT://127.0.0.1:{plaintext},PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},\
MTLS://127.0.0.1:{mtls},RELAYED://127.0.0.1:{relay}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.plain.sasl.enabled.mechanisms=PLAIN
listener.name.plain.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mtls.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
log.dirs={logs}
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.segment.bytes={segment}
log.index.size.max.bytes=16384
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
background.threads=1
log.cleaner.enable=false
"""


class Broker:
    """One broker. `logs` is where its topics are: another file system, where that is to be full."""

    def __init__(self, folder: Path, *, logs: Path | None = None, segment: int = 1 << 30) -> None:
        assert LIBS.is_dir(), "Kafka's jars are missing: make setup"
        self.folder = folder
        self.authority = Authority(folder)
        self.ca = self.authority.file
        certificate, key = self.authority.issue("broker", "localhost", "127.0.0.1")
        keystore = folder / "broker-store.pem"
        keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        self.client = self.authority.issue("client")
        self.ports = {name: free_port() for name in ("controller", "relayed", "relay", *LISTENERS)}
        self.properties = folder / "server.properties"
        self.logs = logs or folder / "logs"
        self.properties.write_text(
            _PROPERTIES.format(
                **self.ports, user=USER, password=PASSWORD, keystore=keystore, ca=self.ca, logs=self.logs,
                segment=segment,
            )
        )  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self._admin: Any = None

    def address(self, listener: str = "plaintext") -> str:
        """Return where a listener is."""
        return f"127.0.0.1:{self.ports[listener]}"

    def format(self) -> None:
        """Make its storage, and the user that SCRAM knows."""
        done = subprocess.run(
            [
                *_java("-Xmx128m"), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self.properties),
                "--add-scram", f'SCRAM-SHA-512=[name={USER},password="{PASSWORD}",iterations=4096]',
            ],
            capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [*_java("-Xmx512m"), "kafka.Kafka", str(self.properties)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.ports["mtls"]), 5).close()
        except OSError:
            time.sleep(0.05)
            return False
        from confluent_kafka import KafkaException

        try:
            return bool(self.admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def kill(self) -> None:
        """End it as a power failure does."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(PATIENCE_S)

    def said(self) -> str:
        """Return the end of what it printed."""
        return (self.folder / "said").read_text()[-4000:]

    def client_settings(self, listener: str) -> dict[str, Any]:
        """Return what a sink's configuration says to come in by a listener; the password is in $KAFKA_PASSWORD."""
        settings: dict[str, Any] = {"brokers": [self.address(listener)]}
        if listener in ("plain", "scram"):
            mechanism = {"plain": "plain", "scram": "scram-sha-512"}[listener]
            names = {"username_env": "KAFKA_USERNAME", "password_env": "KAFKA_PASSWORD"}
            settings |= {"tls": {"ca_file": str(self.ca)}, "sasl": {"mechanism": mechanism, **names}}
        if listener == "mtls":
            certificate, key = map(str, self.client)
            settings |= {"tls": {"ca_file": str(self.ca), "cert_file": certificate, "key_file": key}}
        return settings

    def read(self, topic: str, listener: str = "plaintext") -> list[Message]:
        """Return what a topic has, partition after partition, as another client than ours reads it."""
        return asyncio.run(_read(self, topic, listener))

    def admin(self) -> Any:
        """Return a client that makes topics."""
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.address(), "log_level": 0})
        return self._admin

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set what a topic is configured to."""
        from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource  # type: ignore[attr-defined] # its stubs forget them

        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        place = ConfigResource("topic", topic, incremental_configs=entries)
        self.admin().incremental_alter_configs([place])[place].result()

    def topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make a topic, wait until it is there, and return its name."""
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # its stubs forget it

        made = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        self.admin().create_topics([made], request_timeout=PATIENCE_S)[name].result()
        deadline = time.monotonic() + PATIENCE_S
        while len(self.admin().list_topics(name, timeout=PATIENCE_S).topics[name].partitions) != partitions:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return name


class Message(NamedTuple):
    """What stands in a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]

    @property
    def seq(self) -> int:
        """The event's, as the header has it."""
        return int(self.headers["seq"])


async def _read(broker: Broker, topic: str, listener: str) -> list[Message]:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.helpers import create_ssl_context

    security: dict[str, Any] = {}
    if listener != "plaintext":
        own = (
            {"certfile": str(broker.client[0]), "keyfile": str(broker.client[1])} if listener == "mtls" else {}
        )
        security = {
            "security_protocol": "SSL" if listener == "mtls" else "SASL_SSL",
            "ssl_context": create_ssl_context(cafile=str(broker.ca), **own),
        }
    if listener in ("plain", "scram"):
        mechanism = {"plain": "PLAIN", "scram": "SCRAM-SHA-512"}[listener]
        security |= {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": USER,
            "sasl_plain_password": PASSWORD,
        }
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.address(listener), **security)
    await asyncio.wait_for(consumer.start(), PATIENCE_S)
    found: list[Message] = []
    try:
        numbers = broker.admin().list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        deadline = time.monotonic() + PATIENCE_S
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            assert time.monotonic() < deadline
            for some in (await consumer.getmany(timeout_ms=1000)).values():
                found += [
                    Message(one.partition, one.offset, one.key, one.value, dict(one.headers)) for one in some
                ]
    finally:
        await consumer.stop()
    return sorted(found, key=lambda one: (one.partition, one.offset))


class Relay:
    """Stands in front of a listener: it can be cut, and it can hold what goes through it."""

    def __init__(self, broker: Broker) -> None:
        self._here = ("127.0.0.1", broker.ports["relay"])
        self._there = ("127.0.0.1", broker.ports["relayed"])
        self._flows = threading.Event()
        self._flows.set()
        self._listener: socket.socket | None = None
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.resume()

    @property
    def address(self) -> str:
        """Where clients connect to."""
        return f"{self._here[0]}:{self._here[1]}"

    def resume(self) -> None:
        """Let clients connect."""
        if self._listener is None:
            self._listener = socket.create_server(self._here)
            self._begin(self._accept, self._listener)

    def cut(self) -> None:
        """Break all connections, and let nobody connect."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Let nothing through any more, and break nothing."""
        self._flows.clear()

    def release(self) -> None:
        """End `hold`."""
        self._flows.set()

    def close(self) -> None:
        """End it."""
        self.release()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _begin(self, target: Callable[[socket.socket], None], sock: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=(sock,), daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    self._begin(self._carry, listener.accept()[0])
                except OSError:
                    return

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._there, 10) as server, contextlib.suppress(OSError):
            with self._lock:
                self._sockets |= {client, server}
            other = {client: server, server: client}
            while self._listener is not None:
                for source in select.select([client, server], [], [], 0.5)[0]:
                    self._flows.wait()
                    data = source.recv(65_536)
                    if not data:
                        return
                    other[source].sendall(data)


def _java(*options: str) -> list[str]:
    java = shutil.which("java")
    assert java is not None, "java is missing: scripts/need test"
    return [java, *options, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{LIBS}/*"]


def _started(folder: Path, **options: Any) -> Broker:
    """Return a broker that runs; one that finds a port taken is made anew."""
    for number in itertools.count(1):
        place = folder / f"broker-{number}"
        place.mkdir()
        broker = Broker(place, **options)
        broker.format()
        try:
            broker.start()
        except AssertionError:
            broker.stop(signal.SIGKILL)
            if number == TRIES or "Address already in use" not in (place / "said").read_text():
                raise
        else:
            return broker
    raise AssertionError


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Broker]:
    """Give a broker that runs."""
    broker = _started(folder, **options)
    try:
        yield broker
    finally:
        broker.stop(signal.SIGKILL)


def java_source(path: Path, *args: str, stdin: bytes) -> bytes:
    """Run a Java source file beside Kafka's own classes; return what it prints."""
    done = subprocess.run(
        [*_java("-Xmx128m"), str(path), *args],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
