"""Channels: where alerts go. Pure.

A channel is shipped to as a sink is (`indelible.shipper`), from the trail, by a cursor of its own: what is here makes
the sink's settings of a channel's keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from indelible.alert_settings.rules import SEVERITIES, Severity
from indelible.named_settings import parse_keys, parse_list, parse_name, parse_timeout
from indelible.sink_settings import SinkFilter, SinkSettings, TlsSettings
from indelible.sink_settings.http import HTTP, HttpSettings, check_place, parse_url
from indelible.sink_settings.parts import (
    BatchSettings,
    Own,
    Secret,
    parse_tls,
    secret_keys,
    take_secret,
)
from indelible.sink_settings.syslog import SYSLOG, split_address
from indelible.values import Parser, nearest, one_of, parse_boolean, parse_text, parse_texts, shown

MAX_CHANNELS: Final = 16
MAX_RECIPIENTS: Final = 50
TIMEOUT_S: Final = 30.0
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
"""Of the service region US; that of the EU is https://events.eu.pagerduty.com/v2/enqueue."""

PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
"""RFC 6409, RFC 8314 (section 3.3) and RFC 5321: where a server is asked, by how the connection is protected."""

AT_ONCE: Final = BatchSettings(interval=0.0, lines=100, bytes=1_000_000)

_ADDRESS = re.compile(r"[!-?A-~]+@[!-?A-~]+")
"""One mailbox without a name: no spaces, no controls, no brackets that a header would read otherwise."""
_UNFIT_IN_ADDRESS = re.compile(r"[<>,;:\"()\[\]\\]")


class PagerDutySettings(HttpSettings, frozen=True, kw_only=True):
    """PagerDuty's Events API v2."""

    routing_key: Secret = Secret()
    """The integration's key: it goes into the body of each request."""

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        found = super().resolved(base)
        return msgspec.structs.replace(found, routing_key=self.routing_key.resolved(base))


class EmailSettings(Own, frozen=True, kw_only=True):
    """A mail server, and who is written to."""

    host: str
    port: int
    security: str = "starttls"
    sender: str
    to: tuple[str, ...]
    username: Secret | None = None
    password: Secret | None = None
    tls: TlsSettings | None = None
    allow_private: bool = False

    @property
    def target(self) -> str:
        """See `Own`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{', '.join(self.to)} by {host}:{self.port}"

    @property
    def words(self) -> str:
        """See `Own`."""
        return self.host

    @property
    def batch(self) -> BatchSettings | None:
        """See `Own`."""
        return AT_ONCE

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        secrets = {
            name: found.resolved(base)
            for name in ("username", "password")
            if (found := getattr(self, name)) is not None
        }
        return msgspec.structs.replace(self, tls=self.tls and self.tls.resolved(base), **secrets)


class ChannelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts go, and which."""

    sink: SinkSettings
    """How they get there."""
    severity: Severity = "info"
    """Those that are at least so severe."""
    rules: frozenset[str] = frozenset()
    """Those of these rules; empty: of all, and what the trail says of itself."""

    @property
    def name(self) -> str:
        """Names its cursor beside the trail, and stands in `status`."""
        return self.sink.name

    @property
    def type(self) -> str:
        """Which kind of channel it is."""
        return self.sink.format.removeprefix(FORMAT)

    def resolved(self, base: Path) -> Self:
        """Return the same with relative paths taken from the directory of the configuration file."""
        return msgspec.structs.replace(
            self, sink=msgspec.structs.replace(self.sink, own=self.sink.own.resolved(base))
        )


FORMAT: Final = "alert-"
"""What a channel's format is called: this, and the channel's type."""


class Channel(NamedTuple):
    """A type of channels."""

    keys: Mapping[str, Parser]
    make: Callable[[dict[str, Any]], Own]
    """Raises ValueError, which names the key that is wrong."""
    required: tuple[str, ...]
    sink: str
    """The sink's type."""
    timeout: float = TIMEOUT_S


def _http_keys(*names: str) -> dict[str, Parser]:
    return {name: HTTP.keys[name] for name in names}


_TRANSPORT: Final = ("url", "tls", "allow_private", "allow_http")
_WEBHOOK: Final = (
    *_TRANSPORT, "headers", "gzip", "token_header", "token_scheme", "token_env", "token_file", "username_env",
    "username_file", "password_env", "password_file", "secret_env", "secret_file",
)  # fmt: skip


def _http(values: dict[str, Any]) -> Own:
    return HttpSettings.of(HTTP.make({**values, "flavor": "webhook", "body": "single", "flush_interval": 0.0}))


def _pagerduty(values: dict[str, Any]) -> Own:
    key = take_secret(values, "routing_key")
    if key is None:
        raise ValueError("type pagerduty needs 'routing_key_env' or 'routing_key_file'")
    url = values.setdefault("url", PAGERDUTY_URL)
    own = PagerDutySettings(routing_key=key, body="single", batch=AT_ONCE, **values)
    check_place(url, own.tls, allow_private=own.allow_private, allow_http=own.allow_http)
    return own


def parse_address(value: object) -> str:
    """Return a mail address, and nothing else that a header could hold."""
    text = parse_text(value)
    if (
        len(text) > 254
        or not _ADDRESS.fullmatch(text)
        or _UNFIT_IN_ADDRESS.search(text)
        or text.count("@") != 1
    ):
        raise ValueError("expected an address such as ops@example.com, without a name")
    return text


def _recipients(value: object) -> tuple[str, ...]:
    found = tuple(parse_address(item) for item in (value if isinstance(value, list) else [value]))
    if not 0 < len(found) <= MAX_RECIPIENTS:
        raise ValueError(f"expected 1 to {MAX_RECIPIENTS} addresses")
    return found


def _server(value: object) -> str:
    text = parse_text(value)
    split_address(text, 1, "the host of a mail server, such as mail.example.com or mail.example.com:587")
    return text


def _email(values: dict[str, Any]) -> Own:
    from indelible.sink_settings.addresses import is_local_name, is_private_literal

    security = values.get("security", "starttls")
    host, port = split_address(values.pop("server"), PORTS[security])
    user, password = take_secret(values, "username"), take_secret(values, "password")
    if (user is None) != (password is None):
        raise ValueError("username: needs password, and password a username (…_env or …_file each)")
    if security == "none" and not is_local_name(host):
        raise ValueError(
            "security: none sends alerts in plain text, which only a server on this machine may get"
        )
    if security == "none" and "tls" in values:
        raise ValueError("tls: needs 'security: starttls' or 'security: tls'")
    if not values.get("allow_private") and (host == "localhost" or is_private_literal(host)):
        raise ValueError(f"server: {host} is not a public address; say 'allow_private: true'")
    return EmailSettings(
        host=host, port=port, sender=values.pop("from"), username=user, password=password, **values
    )


SYSLOG_DEFAULTS: Final = {key: SYSLOG.defaults[key] for key in ("protocol", "framing")}

CHANNELS: Final[dict[str, Channel]] = {
    "webhook": Channel(_http_keys(*_WEBHOOK), _http, ("url",), "http"),
    "slack": Channel(_http_keys(*_TRANSPORT), _http, ("url",), "http"),
    "pagerduty": Channel(
        {**_http_keys(*_TRANSPORT), "url": parse_url, **secret_keys("routing_key")}, _pagerduty, (), "pagerduty"
    ),
    "email": Channel(
        {
            "server": _server,
            "security": one_of(*PORTS),
            "from": parse_address,
            "to": _recipients,
            **secret_keys("username", "password"),
            "tls": parse_tls,
            "allow_private": parse_boolean,
        },
        _email,
        ("server", "from", "to"),
        "email",
    ),
    "syslog": Channel(
        {key: parser for key, parser in SYSLOG.keys.items() if key != "header"},
        lambda values: SYSLOG.make({**SYSLOG_DEFAULTS, **values, "header": "rfc5424"}),
        ("address",),
        "syslog",
        5.0,
    ),
}
"""Type → its keys, and what makes its settings."""


def _rule_names(value: object) -> frozenset[str]:
    return frozenset(parse_name(item) for item in parse_texts(value if isinstance(value, list) else [value]))


CHANNEL_KEYS: Final[dict[str, Parser]] = {
    "type": parse_text,
    "name": parse_name,
    "severity": one_of(*SEVERITIES),
    "rules": _rule_names,
    "timeout": parse_timeout,
}
"""What every channel takes."""


def parse_channels(value: object) -> tuple[ChannelSettings, ...]:
    """Return the settings of all channels. Raises ValueError, naming the channel by its place."""
    return parse_list(value, "channel", MAX_CHANNELS, _parse_channel)


def _parse_channel(item: object) -> ChannelSettings:
    if not isinstance(item, dict):
        raise ValueError("expected a mapping with 'type'")
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in CHANNELS:
        raise ValueError(f"type: expected {', '.join(CHANNELS)}, found {shown(kind)}{_near(kind)}")
    channel = CHANNELS[kind]
    values = parse_keys(item, {**CHANNEL_KEYS, **channel.keys})
    for key in channel.required:
        if key not in values:
            raise ValueError(f"type {kind} needs {key!r}")
    own = channel.make({key: values[key] for key in channel.keys if key in values})
    sink = SinkSettings(
        type=channel.sink,
        name=values.get("name", kind),
        own=own,
        format=f"{FORMAT}{kind}",
        filter=SinkFilter(events=frozenset({"alert"})),
        timeout=values.get("timeout", channel.timeout),
        max_bytes=own.max_bytes,
    )
    return ChannelSettings(
        sink=sink, severity=values.get("severity", "info"), rules=values.get("rules", frozenset())
    )


def _near(kind: object) -> str:
    return nearest(kind, CHANNELS) if isinstance(kind, str) else ""
