"""Settings of `audit.sinks`: where events are shipped, in which format, and which ones; and `audit.max_backlog`.

No I/O here. Each type has a table of its keys, so that an unknown key can be answered with the nearest known one, and
so that the reference page can be checked against the tables. A type that is not ours is another package's (entry point
``indelible.sinks``): `indelible.registry` finds it, and its own keys are handed to it as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from indelible.anchor_settings import FACILITIES, SYSLOG_PORT, SYSLOG_TLS_PORT
from indelible.named_settings import fitting_name, parse_keys, parse_list, parse_name, parse_timeout
from indelible.values import (
    DAY_S,
    MEGABYTE,
    Parser,
    nearest,
    one_of,
    parse_boolean,
    parse_count,
    parse_duration_or_none,
    parse_megabytes,
    parse_size,
    parse_text,
    shown,
    user_path,
)

Protocol = Literal["udp", "tcp", "tls"]
Framing = Literal["octet", "lf"]
Start = Literal["now", "beginning"]
Ship = Literal["process", "thread", "off"]

MAX_SINKS: Final = 16
"""Each has a thread of its own."""

MIN_MESSAGE_BYTES: Final = 480
"""What every syslog receiver takes (RFC 5424, section 6.1)."""

LATER_TYPES: Final = frozenset({"kafka", "http", "otlp", "s3", "clickhouse"})
"""Types of the design that this version does not have: refused by name."""

FILTER_CHOICES: Final[dict[str, tuple[str, ...] | None]] = {
    "events": (
        "mcp_operation", "mcp_operation_started", "mcp_server_state_changed", "tool_definition_changed",
        "auth_rejected", "sampling", "elicitation", "audit_started", "audit_stopped", "audit_heartbeat", "file_opened",
        "entry_erased", "audit_gap", "audit_recovered", "clock_stepped", "config_reloaded", "key_rotated",
        "retention_applied", "hold_placed", "hold_released", "alert",
    ),
    "status": ("success", "error"),
    "kind": (
        "completed", "input_required", "tool_error", "protocol_error", "denied", "unauthenticated", "cancelled",
        "timed_out", "interrupted", "backend_unavailable",
    ),
    "policy": ("allow", "deny", "warn", "n/a"),
    "effects": ("read_only", "destructive", "write", "unknown"),
    "backend": None,
    "tool": None,
}  # fmt: skip
"""What a filter may name, to its vocabulary (`indelible.events` has it); None: any text."""

_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_APP_NAME = re.compile(r"[!-~]{1,48}")


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


class SinkFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a sink gets: of what is named, any; of all that is named, each. An empty set names nothing."""

    events: frozenset[str] | None = None
    """Event types; None: what the sink's format is for. Every type there is: ``all``."""
    status: frozenset[str] = frozenset()
    kind: frozenset[str] = frozenset()
    policy: frozenset[str] = frozenset()
    backend: frozenset[str] = frozenset()
    tool: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One sink. Times are in seconds, sizes in bytes. What its type does not have is None."""

    type: str
    name: str
    """Names its cursor beside the trail, and stands in `status`."""
    format: str = "indelible"
    filter: SinkFilter = SinkFilter()
    intents: bool = False
    """Whether it gets intents, too."""
    start: Start = "now"
    """Where a sink that has no cursor begins."""
    vendor: str = "Indelible"
    product: str = "Indelible"
    dialect: str = "indelible"
    app_name: str = "indelible"
    facility: str = "local0"
    enterprise: int = 32473
    max_bytes: int = 0
    """A record is cut to it; 0: not at all."""
    path: str | None = None
    max_size: int | None = None
    """From which size on a file is rotated; None: never."""
    backup_count: int | None = None
    address: str | None = None
    protocol: Protocol | None = None
    framing: Framing | None = None
    tls: TlsSettings | None = None
    timeout: float = 5.0
    """How long one attempt may take."""
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The keys of a type that another package brings, as they stand in the file."""

    @property
    def target(self) -> str:
        """Where it takes events, for people."""
        return str(self.path or self.address or self.type)


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How much the trail keeps for a sink that has not taken it; None: without a bound."""

    size: int | None = 10 << 30
    """Bytes on the disk."""
    age: float | None = 7 * DAY_S
    """Seconds since it was recorded."""


def _app_name(value: object) -> str:
    if isinstance(value, str) and _APP_NAME.fullmatch(value):
        return value
    raise ValueError("expected up to 48 printable ASCII characters without spaces")  # RFC 5424, section 6.2.5


def _enterprise(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 32:
        return value
    raise ValueError("expected a private enterprise number")


def _max_bytes(value: object) -> int:
    size = parse_size(value)
    if size and size < MIN_MESSAGE_BYTES:
        raise ValueError(f"expected a size of at least {MIN_MESSAGE_BYTES} bytes, or 0 for none")
    return size


def _address(value: object) -> str:
    text = parse_text(value)
    if not text.startswith(("/", "./", "~")):
        split_address(text, SYSLOG_PORT)
    return text


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """Return host and port of ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``; raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:/@]+))(?::([0-9]{1,5}))?", text)
    port = int(match[3]) if match and match[3] else default_port
    if match is None or not 0 < port < 1 << 16:
        raise ValueError("expected HOST:PORT, [IPV6]:PORT or the path of a socket, such as /dev/log")
    return match[1] or match[2], port


def default_port(protocol: Protocol | None) -> int:
    """Return the port of syslog over a protocol (RFC 5426, section 3.3; RFC 5425, section 4.1)."""
    return SYSLOG_TLS_PORT if protocol == "tls" else SYSLOG_PORT


def _mapping_of(keys: Mapping[str, Parser]) -> Parser:
    """Return a parser of a mapping that has these keys."""

    def parse(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"expected a mapping with any of {', '.join(keys)}")
        return parse_keys(value, keys)

    return parse


_TLS = _mapping_of(dict.fromkeys(("ca_file", "cert_file", "key_file", "server_name"), parse_text))


def _tls(value: object) -> TlsSettings:
    tls = TlsSettings(**_TLS(value))
    if tls.key_file and not tls.cert_file:
        raise ValueError("key_file: needs cert_file")
    return tls


def _words(name: str) -> Parser:
    """Return a parser of a filter's values: one, or a list of them."""
    known = FILTER_CHOICES[name]

    def parse(value: object) -> frozenset[str]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ValueError("expected a value, or a list of values")
        words = [parse_text(item) for item in items]
        for word in words:
            if known is not None and word not in known:
                raise ValueError(f"no such value {shown(word)}{nearest(word, known)}")
        return frozenset(words)

    return parse


def _events(value: object) -> frozenset[str]:
    known = FILTER_CHOICES["events"] or ()
    return frozenset(known) if value in ("all", ["all"]) else _words("events")(value)


FILTER_KEYS: Final[dict[str, Parser]] = {
    name: _events if name == "events" else _words(name) for name in FILTER_CHOICES
}


def _filter(value: object) -> SinkFilter:
    return SinkFilter(**_mapping_of(FILTER_KEYS)(value))


COMMON_KEYS: Final[dict[str, Parser]] = {
    "type": parse_text,
    "name": parse_name,
    "format": parse_text,
    "filter": _filter,
    "intents": parse_boolean,
    "start": one_of("now", "beginning"),
    "timeout": parse_timeout,
    "max_bytes": _max_bytes,
    "vendor": parse_text,
    "product": parse_text,
    "dialect": one_of("indelible", "hangar"),
    "app_name": _app_name,
    "facility": one_of(*FACILITIES),
    "enterprise": _enterprise,
}
"""What every type takes; the last ones concern formats, and each reads what is its own."""

TYPE_KEYS: Final[dict[str, dict[str, Parser]]] = {
    "file": {"path": parse_text, "max_size_mb": parse_megabytes, "backup_count": parse_count},
    "stdout": {},
    "stderr": {},
    "syslog": {
        "address": _address,
        "protocol": one_of("udp", "tcp", "tls"),
        "framing": one_of("octet", "lf"),
        "tls": _tls,
    },
}
"""Type → its own keys and their parsers."""

REQUIRED: Final[dict[str, tuple[str, ...]]] = {"file": ("path",), "syslog": ("address",)}
DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "file": {"max_size_mb": 100 * MEGABYTE, "backup_count": 5},
    "syslog": {"format": "syslog", "protocol": "udp", "framing": "octet"},
}
"""Type → what it has when nothing is said."""

DATAGRAM_BYTES: Final = 2048
"""What receivers over UDP should take (RFC 5426, section 3.2); larger ones are lost more often."""

STREAM_BYTES: Final = 8096
"""What rsyslog takes of one message when nobody told it otherwise: it cuts what is longer."""


def parse_sinks(value: object) -> tuple[SinkSettings, ...]:
    """Return the settings of all sinks. Raises ValueError, naming the sink by its place."""
    return parse_list(value, "sink", MAX_SINKS, _parse_sink)


def _parse_sink(item: object) -> SinkSettings:
    if not isinstance(item, dict):
        raise ValueError("expected a mapping with 'type'")
    kind = item.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise ValueError(f"type: expected {', '.join(TYPE_KEYS)}, or a type that another package brings")
    if kind in LATER_TYPES:
        raise ValueError(f"type {kind}: this version of Indelible does not have it yet")
    own = TYPE_KEYS.get(kind)
    given = {key: value for key, value in item.items() if own is not None or key in COMMON_KEYS}
    values = {**DEFAULTS.get(kind, {}), **parse_keys(given, {**COMMON_KEYS, **(own or {})})}
    for key in REQUIRED.get(kind, ()):
        if key not in values:
            raise ValueError(f"type {kind} needs {key!r}")
    if values.get("tls") is not None and values.get("protocol") != "tls":
        raise ValueError("tls: needs 'protocol: tls'")
    if values.get("protocol", "udp") != "udp" and "/" in values["address"]:
        raise ValueError(f"protocol: {values['protocol']} needs HOST:PORT; a local socket takes datagrams")
    values.setdefault("name", _default_name(kind, values))
    if kind == "syslog":
        values.setdefault("max_bytes", DATAGRAM_BYTES if values["protocol"] == "udp" else STREAM_BYTES)
    if "max_size_mb" in values:
        values["max_size"] = values.pop("max_size_mb")
    extra = {str(key): value for key, value in item.items() if key not in given}
    return SinkSettings(**values, extra=extra)


def _default_name(kind: str, values: Mapping[str, Any]) -> str:
    """Return a telling name: the host's, or the file's."""
    words = kind
    if path := values.get("path"):
        words = Path(path).name
    elif address := values.get("address"):
        words = Path(address).name if "/" in address else split_address(address, SYSLOG_PORT)[0]
    return fitting_name(words, kind)


def parse_ship(value: object) -> str:
    """Return who ships; ``off`` without quotes is false in YAML 1.1."""
    return one_of("process", "thread", "off")("off" if value is False else value)


def parse_backlog(value: object) -> Backlog:
    """Return the bounds of ``{size: 10GB, age: 7d}``; what is left out keeps its default, ``none`` is no bound."""
    given = _mapping_of({"size": _size_or_none, "age": parse_duration_or_none})(value)
    return Backlog(**given)


def _size_or_none(value: object) -> int | None:
    return None if value is None or value == "none" else parse_size(value)


def resolved(sinks: tuple[SinkSettings, ...], base: Path) -> tuple[SinkSettings, ...]:
    """Return the sinks with relative paths taken from the directory of the configuration file."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(base / user_path(path))

    def with_paths(sink: SinkSettings) -> SinkSettings:
        tls = sink.tls and msgspec.structs.replace(
            sink.tls,
            ca_file=absolute(sink.tls.ca_file),
            cert_file=absolute(sink.tls.cert_file),
            key_file=absolute(sink.tls.key_file),
        )
        local = sink.address is not None and "/" in sink.address
        address = absolute(sink.address) if local else sink.address
        return msgspec.structs.replace(sink, path=absolute(sink.path), address=address, tls=tls)

    return tuple(map(with_paths, sinks))
