"""``type: otlp``: an OpenTelemetry Collector, or whatever takes OTLP logs. Pure.

What is not said here, the environment says, of whoever ships: see `indelible.sinks.otlp.environment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from indelible.named_settings import parse_timeout
from indelible.sink_settings.parts import (
    BATCH_KEYS,
    HIDDEN,
    OURS,
    BatchSettings,
    Kind,
    Own,
    Secret,
    TlsSettings,
    parse_headers,
    parse_tls,
    resolved,
    secret_keys,
    take_batch,
    take_secret,
)
from indelible.values import one_of, parse_text, split_url

Protocol = Literal["http/protobuf", "http/json", "grpc"]

PROTOCOLS: Final = ("http/protobuf", "http/json", "grpc")
COMPRESSIONS: Final = ("gzip", "none")

LOGS_PATH: Final = "/v1/logs"
"""Where receivers take logs over HTTP."""


class OtlpSettings(Own, frozen=True, kw_only=True):
    """A receiver of OTLP logs; None is what the environment says, or the default."""

    endpoint: str | None = None
    """Its URL; over HTTP ``/v1/logs`` comes after it, unless it has a path."""
    protocol: Protocol | None = None
    headers: Mapping[str, str] | None = None
    token: Secret | None = None
    """For ``Authorization: Bearer``."""
    compression: Literal["gzip", "none"] | None = None
    tls: TlsSettings | None = None
    timeout: float | None = None
    batch: BatchSettings | None = None

    @property
    def target(self) -> str:
        """See `Own`: without the path, which some receivers give as a secret."""
        from urllib.parse import urlsplit  # 3 ms, which only who has such a sink pays

        parts = urlsplit(self.endpoint or "")
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

    @property
    def words(self) -> str:
        """See `Own`."""
        from urllib.parse import urlsplit

        return str(urlsplit(self.endpoint or "").hostname or "otlp")

    def public(self) -> Self:
        """See `Own`: headers may hold a token, and so may a path that is not the protocol's."""
        hidden = None if self.headers is None else dict.fromkeys(self.headers, HIDDEN)
        endpoint = self.endpoint
        if endpoint is not None and endpoint.rstrip("/") not in (self.target, self.target + LOGS_PATH):
            endpoint = f"{self.target}/{HIDDEN}"
        return msgspec.structs.replace(self, headers=hidden, endpoint=endpoint)

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        return resolved(self, base, "tls", "token")


def parse_endpoint(value: object) -> str:
    """Return the URL of a receiver."""
    text = parse_text(value)
    wanted = "expected http://HOST[:PORT][/PATH] or https://…, without credentials, a query or a fragment"
    if split_url(text, wanted).query:
        raise ValueError(wanted)
    return text


def check_headers(headers: Mapping[str, str], protocol: str) -> None:
    """Raise ValueError for a header that a request of this protocol has by itself, or cannot have."""
    for name in headers:
        low = name.lower()
        if low in OURS - {"authorization"}:
            raise ValueError(f"{name!r} is not to be set here")
        if protocol == "grpc" and (low.startswith("grpc-") or low.endswith("-bin")):
            raise ValueError(f"{name!r} is none that text can be sent in over gRPC")


def _made(values: dict[str, Any]) -> OtlpSettings:
    token = take_secret(values, "token")
    batch = take_batch(values)
    own = OtlpSettings(token=token, batch=batch, **values)
    try:
        check_headers(own.headers or {}, own.protocol or "")
    except ValueError as exc:
        raise ValueError(f"headers: {exc}") from None
    if own.tls is not None and not (own.endpoint or "https:").lower().startswith("https:"):
        raise ValueError("tls: is for endpoints with https://")
    if token is not None and "authorization" in {name.lower() for name in own.headers or ()}:
        raise ValueError("headers: authorization is where the token goes")
    return own


OTLP: Final = Kind(
    {
        "endpoint": parse_endpoint,
        "protocol": one_of(*PROTOCOLS),
        "headers": parse_headers,
        **secret_keys("token"),
        "compression": one_of(*COMPRESSIONS),
        "tls": parse_tls,
        "timeout": parse_timeout,
        **BATCH_KEYS,
    },
    _made,
    defaults={"format": "otlp"},
    formats=("otlp",),
)
