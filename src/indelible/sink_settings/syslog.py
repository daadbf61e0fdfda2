"""``type: syslog``. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from indelible.anchor_settings import SYSLOG_PORT, SYSLOG_TLS_PORT
from indelible.sink_settings.parts import Kind, Own, TlsSettings, absolute, parse_tls
from indelible.values import is_host, one_of, parse_text

Protocol = Literal["udp", "tcp", "tls"]
Framing = Literal["octet", "lf"]
Header = Literal["rfc3164", "rfc5424", "none"]

HEADERS: Final[dict[str, Header]] = {"syslog": "none", "cef": "rfc3164", "leef": "rfc3164"}
"""What stands in front when nothing is said: `syslog` has a header of its own; every other format one of RFC 5424."""

DATAGRAM_BYTES: Final = 2048
"""What receivers over UDP should take (RFC 5426, section 3.2); larger ones are lost more often."""

STREAM_BYTES: Final = 8096
"""What rsyslog takes of one message when nobody told it otherwise: it cuts what is longer."""


class SyslogSettings(Own, frozen=True, kw_only=True):
    """A syslog receiver."""

    address: str
    """``HOST``, ``HOST:PORT``, ``[IPV6]:PORT``, or the path of a local socket."""
    protocol: Protocol = "udp"
    framing: Framing = "octet"
    """How one message is told from the next on a stream (RFC 6587, section 3.4)."""
    tls: TlsSettings | None = None
    header: Header | None = None
    """What stands in front of a record whose format has no syslog header; None: what `header_of` says."""

    def header_of(self, format_: str) -> Header:
        """Return the header of records in a format: for CEF and LEEF the one that their own guides show."""
        if self.header is not None:
            return self.header
        return HEADERS.get(format_, "rfc5424")

    @property
    def is_local(self) -> bool:
        """Whether it is a socket of this machine, such as /dev/log."""
        return "/" in self.address

    @property
    def place(self) -> tuple[str, int]:
        """Host and port, the protocol's own when none is said (RFC 5426, section 3.3; RFC 5425, section 4.1)."""
        return split_address(self.address, SYSLOG_TLS_PORT if self.protocol == "tls" else SYSLOG_PORT)

    @property
    def target(self) -> str:
        """See `Own`."""
        return self.address

    @property
    def words(self) -> str:
        """See `Own`."""
        return Path(self.address).name if self.is_local else self.place[0]

    @property
    def max_bytes(self) -> int:
        """See `Own`."""
        return DATAGRAM_BYTES if self.protocol == "udp" else STREAM_BYTES

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        address = absolute(self.address, base) if self.is_local else self.address
        return msgspec.structs.replace(self, address=address, tls=self.tls and self.tls.resolved(base))


def _address(value: object) -> str:
    text = parse_text(value)
    if not text.startswith(("/", "./", "~")):
        split_address(text, SYSLOG_PORT, "HOST:PORT, [IPV6]:PORT or the path of a socket, such as /dev/log")
    return text


HOST_PORT: Final = "HOST, HOST:PORT or [IPV6]:PORT"


def split_address(text: str, default_port: int, wanted: str = HOST_PORT) -> tuple[str, int]:
    """Return host and port of ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``; raises ValueError, naming what is wanted."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:/@]+))(?::([0-9]{1,5}))?", text)
    port = int(match[3]) if match and match[3] else default_port
    host = (match[1] or match[2]) if match else ""
    if not is_host(host) or not 0 < port < 1 << 16:
        raise ValueError(f"expected {wanted}")
    return host, port


def _made(values: dict[str, Any]) -> SyslogSettings:
    own = SyslogSettings(**values)
    if own.tls is not None and own.protocol != "tls":
        raise ValueError("tls: needs 'protocol: tls'")
    if own.protocol != "udp" and own.is_local:
        raise ValueError(f"protocol: {own.protocol} needs HOST:PORT; a local socket takes datagrams")
    return own


SYSLOG: Final = Kind(
    {
        "address": _address,
        "protocol": one_of("udp", "tcp", "tls"),
        "framing": one_of("octet", "lf"),
        "header": one_of("rfc3164", "rfc5424", "none"),
        "tls": parse_tls,
    },
    _made,
    required=("address",),
    defaults={"format": "syslog", "protocol": "udp", "framing": "octet"},
)
