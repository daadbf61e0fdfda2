"""What the settings of several types of sinks are made of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from indelible.named_settings import parse_keys
from indelible.values import Parser, parse_text, user_path


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
    def max_bytes(self) -> int:
        """What a record is cut to when nothing is said; 0: not at all."""
        return 0

    def resolved(self, base: Path) -> Self:
        """Return the same with relative paths taken from the directory of the configuration file."""
        del base
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


def parse_tls(value: object) -> TlsSettings:
    """Return whom to believe, and as whom to come."""
    tls = TlsSettings(**_TLS(value))
    if tls.key_file and not tls.cert_file:
        raise ValueError("key_file: needs cert_file")
    return tls
