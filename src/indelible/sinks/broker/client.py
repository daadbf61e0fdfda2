"""The client of Kafka that is an optional package: its configuration, and how it is made.

Whoever has no Kafka pays nothing for it: it is imported when a sink is opened. It sends as an idempotent producer, and
never gives a record up by itself: how long is waited is the sink's to say, and one that is given up may have arrived.
"""

from __future__ import annotations

import importlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.errors import ConfigError
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.secrets import read_secret

if TYPE_CHECKING:
    from indelible.sink_settings.kafka import KafkaSettings
    from indelible.sink_settings.parts import TlsSettings
    from indelible.sinks.broker.troubles import Troubles

MISSING: Final = "needs the package confluent-kafka, which is not installed: pip install 'indelible[kafka]'"

LINGER_MS: Final = 5
"""While a batch is handed over, what comes within this time goes in one request."""

RECONNECT_MS: Final = 2_000
"""Brokers that come back are noticed after this at the latest."""

LARGEST: Final = 64 << 20
"""Bytes: the brokers say what is too large, not the client."""


class Level(NamedTuple):
    """How much goes to a partition in one request."""

    bytes: int
    records: int

    @property
    def is_single(self) -> bool:
        """Whether each record goes alone: then what is refused is it, and nothing else."""
        return self.records == 1


def levels(settings: KafkaSettings) -> tuple[Level, ...]:
    """Return how much is tried, one after the other, when the brokers refuse a whole request."""
    batch = settings.batch
    return (
        Level(batch.bytes, batch.lines),
        Level(min(batch.bytes, 65_536), batch.lines),
        Level(min(batch.bytes, 65_536), 1),
    )


def library() -> Any:
    """Return the package. Raises SinkUnavailable: it is not there, and may be tomorrow."""
    try:
        return importlib.import_module("confluent_kafka")
    except ImportError as exc:
        importlib.invalidate_caches()  # it may be installed while we run
        if isinstance(exc, ModuleNotFoundError) and exc.name == "confluent_kafka":
            raise SinkUnavailable(MISSING) from None
        raise SinkUnavailable(f"the package confluent-kafka cannot be loaded: {exc}") from exc


class ClientLog(logging.Logger):
    """What the client writes, which goes nowhere but for the connections that failed."""

    def __init__(self, troubles: Troubles) -> None:
        super().__init__("confluent_kafka")
        self._troubles = troubles

    def log(self, level: int, msg: object, *args: object, **_other: Any) -> None:
        """See `logging.Logger`; the client calls nothing else."""
        del level
        text = str(msg) % args
        if text.startswith("FAIL "):
            self._troubles.note("_FAIL", text.partition("]: ")[2])


def make(
    settings: KafkaSettings, level: Level, timeout: float, on_error: Callable[[Any], None], troubles: Troubles
) -> Any:
    """Return a producer. `on_error` is called, and `troubles` are noted, by its `poll` and `flush`.

    Raises SinkUnavailable without the package; ConfigError for secrets and certificates that are not there.
    """
    kafka = library()
    try:
        return kafka.Producer(
            {**_configuration(settings, level, timeout), "error_cb": on_error}, logger=ClientLog(troubles)
        )
    except (
        kafka.KafkaException
    ) as exc:  # what it says of a value that it does not take may show it: passwords are any
        raise ConfigError(_unfit(settings, exc)) from None


def _unfit(settings: KafkaSettings, exc: Any) -> str:
    text = " ".join(str(exc.args[0].str()).split())
    return (
        f"tls: {text}"
        if "ssl." in text and settings.tls is not None
        else f"the client refuses its settings: {text}"
    )


def _configuration(settings: KafkaSettings, level: Level, timeout: float) -> dict[str, Any]:
    is_safe = settings.acks == "all"
    return {
        "bootstrap.servers": ",".join(settings.brokers),
        "client.id": "indelible",
        "enable.metrics.push": False,
        "acks": settings.acks,
        "enable.idempotence": is_safe,
        # A request that is refused is looked at before anything that follows it may arrive: or order would be lost.
        "enable.gapless.guarantee": is_safe and not level.is_single,
        "max.in.flight.requests.per.connection": 5 if is_safe else 1,
        "message.timeout.ms": 0,
        "delivery.report.only.error": True,
        "linger.ms": LINGER_MS,
        "batch.size": level.bytes,
        "batch.num.messages": level.records,
        "message.max.bytes": LARGEST,
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": 2_097_151,
        "compression.codec": settings.compression,
        "partitioner": "murmur2_random",
        "socket.keepalive.enable": True,
        "socket.connection.setup.timeout.ms": max(1_000, int(timeout * 1000)),
        "reconnect.backoff.max.ms": RECONNECT_MS,
        "retry.backoff.max.ms": 1_000,
        **security(settings),
    }


def security(settings: KafkaSettings) -> dict[str, str]:
    """Return how to come in: the client's keys of TLS and SASL. Raises ConfigError."""
    protocol = "SSL" if settings.tls is not None else "PLAINTEXT"
    found = _tls(settings.tls) if settings.tls is not None else {}
    if settings.sasl is not None:
        protocol = f"SASL_{protocol}"
        found["sasl.mechanism"] = settings.sasl.mechanism.upper()
        found["sasl.username"] = read_secret(settings.sasl.username, "sasl: username")
        found["sasl.password"] = read_secret(settings.sasl.password, "sasl: password")
    return {"security.protocol": protocol, **found}


def _tls(tls: TlsSettings) -> dict[str, str]:
    """Return the keys of TLS. Raises ConfigError, as the client itself would not say it in one line."""
    found = {"ssl.endpoint.identification.algorithm": "https"}
    files = {
        "ca_file": "ssl.ca.location",
        "cert_file": "ssl.certificate.location",
        "key_file": "ssl.key.location",
    }
    for key, name in files.items():
        path = getattr(tls, key)
        if path is None:
            continue
        try:
            with Path(path).open("rb") as file:
                if b"-----BEGIN" not in file.read(1 << 20):
                    raise ConfigError(f"tls: {key}: {path}: no PEM")
        except OSError as exc:
            raise ConfigError(f"tls: {key}: {path}: {exc.strerror}") from exc
        found[name] = path
    if tls.ca_file is None and (system := ssl.get_default_verify_paths().cafile) and Path(system).exists():
        found["ssl.ca.location"] = system
    if tls.cert_file is not None:
        from indelible.sinks.tls import context

        context(tls)  # says in one line that the key is locked, or another certificate's
    return found
