"""What the settings of several types of sinks are made of. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

import msgspec

from indelible.named_settings import parse_keys
from indelible.values import (
    MEGABYTE,
    Parser,
    parse_count,
    parse_duration,
    parse_size,
    parse_text,
    parse_text_map,
    user_path,
)

MAX_INTERVAL_S: Final = 3600.0
MAX_BATCH_LINES: Final = 100_000
MIN_BATCH_BYTES: Final = 1024
MAX_BATCH_BYTES: Final = 64 * MEGABYTE
"""A batch is held in memory, as it stands in the trail and as its format renders it."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of one type."""

    @classmethod
    def of(cls, own: Own) -> Self:
        """Return what a sink has of its type. Raises TypeError: it is of another type."""
        if not isinstance(own, cls):
            raise TypeError(f"expected {cls.__name__}, found {type(own).__name__}")
        return own

    @property
    def target(self) -> str:
        """Where it takes events, for people; empty where the type says it all. Never a secret."""
        return ""

    @property
    def words(self) -> str:
        """What a sink is called after when it has no name."""
        return self.target

    @property
    def alone_at(self) -> str:
        """Where no other sink of the same trail may store, since names there would be the same; empty: anywhere."""
        return ""

    @property
    def format(self) -> str:
        """The format when nothing is said; empty: the type's default."""
        return ""

    @property
    def batch(self) -> BatchSettings | None:
        """How much is sent at once, and for how long more is waited for; None: what the shipper reads, at once."""
        return None

    @property
    def batches(self) -> int:
        """How many of them are read at once, where the sink divides them by itself."""
        return 1

    @property
    def max_bytes(self) -> int:
        """What a record is cut to when nothing is said; 0: not at all."""
        return 0

    def check_format(self, name: str) -> None:
        """Raise ValueError, which names the key that is wrong, when these settings do not go with a format."""

    def resolved(self, base: Path) -> Self:
        """Return the same with relative paths taken from the directory of the configuration file."""
        del base
        return self

    def public(self) -> Self:
        """Return the same without what may be a secret: for whoever shows settings."""
        return self


class Kind(NamedTuple):
    """A type of sinks."""

    keys: Mapping[str, Parser]
    """Its own keys and their parsers."""
    make: Callable[[dict[str, Any]], Own]
    """Its settings from the values of its keys. Raises ValueError, which names the key that is wrong."""
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {}
    """What its keys, and those that every type has, are when nothing is said."""
    formats: tuple[str, ...] = ()
    """Which ones it can carry; empty: any."""


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a TLS connection believes, and as whom it comes."""

    ca_file: str | None = None
    """Whom to believe instead of the system's authorities, PEM."""
    cert_file: str | None = None
    """Our certificate, with what is between it and its authority, PEM."""
    key_file: str | None = None
    """Its key; None: it stands in `cert_file`."""
    server_name: str | None = None
    """What the receiver's certificate must name; None: the host of the address."""

    def resolved(self, base: Path) -> Self:
        """Return the same with relative paths taken from the directory of the configuration file."""
        return msgspec.structs.replace(
            self,
            ca_file=absolute(self.ca_file, base),
            cert_file=absolute(self.cert_file, base),
            key_file=absolute(self.key_file, base),
        )


class Secret(msgspec.Struct, frozen=True):
    """Where a secret stands: in an environment variable, or in a file. Settings never hold one."""

    env: str | None = None
    file: str | None = None

    def resolved(self, base: Path) -> Self:
        """Return the same with a relative path taken from the directory of the configuration file."""
        return msgspec.structs.replace(self, file=absolute(self.file, base))


Settings = TypeVar("Settings", bound=msgspec.Struct)


def resolved(settings: Settings, base: Path, *names: str) -> Settings:
    """Return the same with the fields of these names, as far as there is something, resolved."""
    parts = {name: part.resolved(base) for name in names if (part := getattr(settings, name)) is not None}
    return msgspec.structs.replace(settings, **parts)


def secret_keys(*names: str) -> dict[str, Parser]:
    """Return the keys of secrets, ``NAME_env`` and ``NAME_file``, to their parsers."""
    return {f"{name}_{where}": parse_text for name in names for where in ("env", "file")}


def take_secret(values: dict[str, Any], name: str) -> Secret | None:
    """Take the keys of one secret out of the values; None when there is none. Raises ValueError."""
    env, file = values.pop(f"{name}_env", None), values.pop(f"{name}_file", None)
    if env is not None and file is not None:
        raise ValueError(f"{name}_env: give it or {name}_file, not both")
    return None if env is None and file is None else Secret(env, file)


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When what waits is sent: when it is so many lines, or so many bytes, or when it has waited so long."""

    interval: float = 5.0
    """Seconds from one sending to the next while less than a batch waits; 0: nothing waits for more."""
    lines: int = 5000
    """A batch has at most so many events."""
    bytes: int = 1_000_000
    """A batch is at most so long, before compression, or it is one event."""


def parse_interval(value: object) -> float:
    """Return how long events may wait for others, in seconds."""
    seconds = parse_duration(value)
    if seconds > MAX_INTERVAL_S:
        raise ValueError(f"expected a duration up to {MAX_INTERVAL_S / 60:g}m")
    return seconds


def parse_lines(value: object) -> int:
    """Return how many events a batch may have."""
    count = parse_count(value)
    if not 1 <= count <= MAX_BATCH_LINES:
        raise ValueError(f"expected a whole number from 1 to {MAX_BATCH_LINES}")
    return count


def parse_batch_bytes(value: object) -> int:
    """Return how long a batch may be."""
    size = parse_size(value)
    if not MIN_BATCH_BYTES <= size <= MAX_BATCH_BYTES:
        raise ValueError(f"expected a size from {MIN_BATCH_BYTES} bytes to {MAX_BATCH_BYTES // MEGABYTE}MB")
    return size


BATCH_KEYS: Final[dict[str, Parser]] = {
    "flush_interval": parse_interval,
    "flush_batch_lines": parse_lines,
    "flush_batch_bytes": parse_batch_bytes,
}


def take_batch(values: dict[str, Any]) -> BatchSettings:
    """Take the keys of a batch out of the values."""
    default = BatchSettings()
    return BatchSettings(
        interval=values.pop("flush_interval", default.interval),
        lines=values.pop("flush_batch_lines", default.lines),
        bytes=values.pop("flush_batch_bytes", default.bytes),
    )


def absolute(path: str | None, base: Path) -> str | None:
    """Return a path of the configuration file as it is from everywhere."""
    return None if path is None else str(base / user_path(path))


def mapping_of(keys: Mapping[str, Parser]) -> Parser:
    """Return a parser of a mapping that has these keys."""

    def parse(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"expected a mapping with any of {', '.join(keys)}")
        return parse_keys(value, keys)

    return parse


_TLS = mapping_of(dict.fromkeys(("ca_file", "cert_file", "key_file", "server_name"), parse_text))


HIDDEN: Final = "…"
"""Stands for what is not shown."""

HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_TEXT: Final = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")
"""Of RFC 9110, section 5: what a field's name and value may be, as far as both are ASCII."""


OURS: Final = frozenset(
    {
        "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type",
        "expect", "host", "te", "trailer", "transfer-encoding", "upgrade",
        "webhook-id", "webhook-signature", "webhook-timestamp",
    }
)  # fmt: skip
"""Headers that nobody sets but the sink."""


def parse_headers(value: object) -> dict[str, str]:
    """Return the headers that are sent with each request."""
    found = parse_text_map(value)
    for name, text in found.items():
        if not HEADER.fullmatch(name) or not HEADER_TEXT.fullmatch(text):
            raise ValueError(f"{name!r} is no header of ASCII text")
    return found


def parse_tls(value: object) -> TlsSettings:
    """Return whom to believe, and as whom to come."""
    tls = TlsSettings(**_TLS(value))
    if tls.key_file and not tls.cert_file:
        raise ValueError("key_file: needs cert_file")
    return tls
