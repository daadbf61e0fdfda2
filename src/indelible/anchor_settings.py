"""Settings of `audit.anchors`: the places that checkpoints are handed to.

No I/O here. Each type has a table of its keys, so that an unknown key can be answered with the nearest known one, and
so that the reference page can be checked against the tables. `indelible.config` hands over the values as they stand in
the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from indelible.named_settings import fitting_name, parse_keys, parse_list, parse_name, parse_timeout
from indelible.values import Parser, is_host, one_of, parse_duration, parse_text, split_url, user_path

AnchorType = Literal["file", "syslog", "http"]
FileMode = Literal["append", "replace"]
Network = Literal["udp", "tcp", "tls", "unix"]

MAX_ANCHORS: Final = 16
"""Each has a thread of its own."""

SYSLOG_PORT: Final = 514
SYSLOG_TLS_PORT: Final = 6514
"""RFC 5425, section 4.1."""

FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
"""RFC 5424, section 6.2.1: the place in the list is the code."""


class AnchorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One anchor. Times are in seconds. What its type does not have is None."""

    type: AnchorType
    name: str
    """Names its files beside the trail, and stands in `status`."""
    every: float = 10.0
    """No checkpoint is handed out sooner after the one before; what is skipped is covered by the next."""
    timeout: float = 5.0
    """How long one attempt may take."""
    path: str | None = None
    mode: FileMode | None = None
    address: str | None = None
    facility: str | None = None
    url: str | None = None
    vkey: str | None = None
    """The witness's key, of type 0x04; `indelible.trail.anchors` parses it."""
    ca_file: str | None = None
    """Whom to believe instead of the system's authorities, for tls and https."""

    @property
    def target(self) -> str:
        """Where it hands checkpoints, for people."""
        return str(self.path or self.address or self.url)


def _url(value: object) -> str:
    text = parse_text(value)
    wanted = "expected http://HOST[:PORT][/PATH] or https://…, without credentials or a query"
    if split_url(text, wanted).query:
        raise ValueError(wanted)
    return text


def parse_address(value: object) -> tuple[Network, str, int]:
    """Return network, host (or path) and port of a syslog receiver; raises ValueError.

    ``udp://HOST[:PORT]``, ``tcp://…``, ``tls://…`` or ``unix:PATH``.
    """
    from urllib.parse import urlsplit

    text = parse_text(value)
    wanted = "expected udp://HOST[:PORT], tcp://HOST[:PORT], tls://HOST[:PORT] or unix:PATH"
    if text.startswith("unix:") and len(text) > len("unix:"):
        return "unix", text.removeprefix("unix:").removeprefix("//"), 0
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(wanted) from None
    if not text.isprintable() or parts.scheme not in ("udp", "tcp", "tls") or not is_host(host) or port == 0:
        raise ValueError(wanted)
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(wanted)
    network: Network = "udp" if parts.scheme == "udp" else "tcp" if parts.scheme == "tcp" else "tls"
    return network, host, port or (SYSLOG_TLS_PORT if network == "tls" else SYSLOG_PORT)


def _address(value: object) -> str:
    parse_address(value)
    return str(value)


TYPE_KEYS: Final[dict[str, dict[str, Parser]]] = {
    "file": {"path": parse_text, "mode": one_of("append", "replace")},
    "syslog": {"address": _address, "facility": one_of(*FACILITIES), "ca_file": parse_text},
    "http": {"url": _url, "vkey": parse_text, "ca_file": parse_text},
}
"""Type → its own keys and their parsers."""

COMMON_KEYS: Final = ("type", "name", "every", "timeout")
REQUIRED: Final = {"file": ("path",), "syslog": ("address",), "http": ("url", "vkey")}
DEFAULTS: Final[dict[str, dict[str, str]]] = {"file": {"mode": "append"}, "syslog": {"facility": "local0"}}


def parse_anchors(value: object) -> tuple[AnchorSettings, ...]:
    """Return the settings of all anchors. Raises ValueError, naming the anchor by its place."""
    return parse_list(value, "anchor", MAX_ANCHORS, _parse_anchor)


def _parse_anchor(item: object) -> AnchorSettings:
    if not isinstance(item, dict):
        raise ValueError("expected a mapping with 'type'")
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in TYPE_KEYS:
        raise ValueError(f"type: expected {', '.join(TYPE_KEYS)}")
    parsers: dict[str, Parser] = {
        "type": one_of(*TYPE_KEYS),
        "name": parse_name,
        "every": parse_duration,
        "timeout": parse_timeout,
        **TYPE_KEYS[kind],
    }
    values = {**DEFAULTS.get(kind, {}), **parse_keys(item, parsers)}
    for key in REQUIRED[kind]:
        if key not in values:
            raise ValueError(f"type {kind} needs {key!r}")
    values.setdefault("name", _default_name(kind, values))
    return AnchorSettings(**values)


def _default_name(kind: str, values: Mapping[str, Any]) -> str:
    """Return a telling name: the host's, or the file's."""
    from urllib.parse import urlsplit

    if kind == "http":
        words = urlsplit(values["url"]).hostname or kind
    elif kind == "syslog":
        network, host, _ = parse_address(values["address"])
        words = Path(host).name if network == "unix" else host
    else:
        words = Path(values["path"]).name
    return fitting_name(words, kind)


def resolved(anchors: tuple[AnchorSettings, ...], base: Path) -> tuple[AnchorSettings, ...]:
    """Return the anchors with relative paths taken from the directory of the configuration file."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(base / user_path(path))

    return tuple(
        msgspec.structs.replace(
            anchor,
            path=absolute(anchor.path),
            ca_file=absolute(anchor.ca_file),
            address=_resolved_address(anchor.address, base),
        )
        for anchor in anchors
    )


def _resolved_address(address: str | None, base: Path) -> str | None:
    if address is None or not address.startswith("unix:"):
        return address
    return f"unix:{base / user_path(parse_address(address)[1])}"
