"""``type: kafka``. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from indelible.sink_settings.parts import (
    BATCH_KEYS,
    BatchSettings,
    Kind,
    Own,
    Secret,
    TlsSettings,
    mapping_of,
    resolved,
    secret_keys,
    take_batch,
    take_secret,
)
from indelible.sink_settings.syslog import split_address
from indelible.values import one_of, parse_boolean, parse_text, shown

Acks = Literal["all", "1", "0"]
PartitionStrategy = Literal["hash", "round_robin", "sticky"]
PartitionKey = Literal["session_id", "auth_key_id", "tool_name", "method", "request_id"]
Mechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]

PORT: Final = 9092
"""Where brokers listen when nobody told them otherwise."""

BATCHES: Final = 4
"""The brokers are waited for after so many."""

_BATCH: Final = BatchSettings()
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class SaslSettings(msgspec.Struct, frozen=True, kw_only=True):
    """As whom it comes to the brokers."""

    mechanism: Mechanism
    username: Secret
    password: Secret

    def resolved(self, base: Path) -> Self:
        """Return the same with relative paths taken from the directory of the configuration file."""
        return resolved(self, base, "username", "password")


class KafkaSettings(Own, frozen=True, kw_only=True):
    """A topic of a Kafka cluster."""

    brokers: tuple[str, ...]
    """``HOST:PORT`` of some of the brokers; they name the others."""
    topic: str
    partition_strategy: PartitionStrategy = "hash"
    partition_key: PartitionKey = "session_id"
    acks: Acks = "all"
    compression: Literal["zstd", "gzip", "lz4", "snappy", "none"] = "zstd"
    batch: BatchSettings = _BATCH
    tls: TlsSettings | None = None
    sasl: SaslSettings | None = None

    @property
    def target(self) -> str:
        """See `Own`."""
        more = f" and {len(self.brokers) - 1} more" if len(self.brokers) > 1 else ""
        return f"{self.topic} at {self.brokers[0]}{more}"

    @property
    def words(self) -> str:
        """See `Own`."""
        return self.topic

    @property
    def batches(self) -> int:
        """See `Own`: the client divides them, and has several on their way."""
        return BATCHES

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        return resolved(self, base, "tls", "sasl")


def _broker(text: str) -> str:
    try:
        host, port = split_address(text, PORT)
    except ValueError:
        raise ValueError(f"expected HOST:PORT or [IPV6]:PORT, found {shown(text)}") from None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _brokers(value: object) -> tuple[str, ...]:
    """Return the brokers of a list, or of a text with commas, as it comes from ${ENV}."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise ValueError('expected a list of brokers, such as ["kafka-1:9092", "kafka-2:9092"]')
    return tuple(_broker(parse_text(item).strip()) for item in items)


def _topic(value: object) -> str:
    if isinstance(value, str) and _TOPIC.fullmatch(value) and value not in (".", ".."):
        return value
    raise ValueError("expected a topic's name: up to 249 letters, digits, '.', '_' and '-'")


def _acks(value: object) -> str:
    if isinstance(value, bool) or value not in ("all", -1, 1, 0, "-1", "1", "0"):
        raise ValueError("expected all, 1 or 0")
    return "all" if value in (-1, "-1") else str(value)


_TLS_KEYS: Final = {"enabled": parse_boolean, **dict.fromkeys(("ca_file", "cert_file", "key_file"), parse_text)}
_tls_values = mapping_of(_TLS_KEYS)


def _tls(value: object) -> TlsSettings | Literal[False]:
    """Return whom to believe, and as whom to come; False where TLS is off."""
    values = _tls_values(value)
    if not values.pop("enabled", True):
        if values:
            raise ValueError(f"{next(iter(values))}: needs 'enabled: true'")
        return False
    tls = TlsSettings(**values)
    for one, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(tls, one) and not getattr(tls, other):
            raise ValueError(f"{one}: needs {other}")
    return tls


_sasl_values = mapping_of(
    {
        "mechanism": one_of("plain", "scram-sha-256", "scram-sha-512"),
        **secret_keys("username", "password"),
    }
)


def _sasl(value: object) -> SaslSettings:
    if isinstance(value, dict) and isinstance(value.get("mechanism"), str):
        value = {**value, "mechanism": value["mechanism"].lower()}
    values = _sasl_values(value)
    if "mechanism" not in values:
        raise ValueError("needs 'mechanism': plain, scram-sha-256 or scram-sha-512")
    username, password = (take_secret(values, name) for name in ("username", "password"))
    if username is None or password is None:
        missing = "username" if username is None else "password"
        raise ValueError(f"needs '{missing}_env' or '{missing}_file'")
    return SaslSettings(mechanism=values["mechanism"], username=username, password=password)


def _made(values: dict[str, Any]) -> KafkaSettings:
    tls = values.pop("tls", None)
    if values.get("sasl") is not None and tls is None:
        raise ValueError(
            "sasl: needs 'tls: {enabled: true}'; or 'tls: {enabled: false}', where a password may go in the clear"
        )
    batch = take_batch(values)
    return KafkaSettings(**values, batch=batch, tls=tls or None)


KAFKA: Final = Kind(
    {
        "brokers": _brokers,
        "topic": _topic,
        "partition_strategy": one_of("hash", "round_robin", "sticky"),
        "partition_key": one_of("session_id", "auth_key_id", "tool_name", "method", "request_id"),
        "acks": _acks,
        "compression": one_of("zstd", "gzip", "lz4", "snappy", "none"),
        **BATCH_KEYS,
        "tls": _tls,
        "sasl": _sasl,
    },
    _made,
    required=("brokers", "topic"),
    defaults={
        "partition_strategy": "hash",
        "partition_key": "session_id",
        "acks": "all",
        "compression": "zstd",
        "flush_interval": _BATCH.interval,
        "flush_batch_lines": _BATCH.lines,
        "flush_batch_bytes": _BATCH.bytes,
    },
)
