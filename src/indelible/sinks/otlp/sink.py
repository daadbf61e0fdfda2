"""The sink of ``type: otlp``, over HTTP or gRPC; what becomes of a request is in `web.carrying`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from indelible.sink_settings.http import HttpSettings
from indelible.sink_settings.otlp import OtlpSettings
from indelible.sink_settings.parts import BatchSettings
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.http import HttpTransport
from indelible.sinks.otlp import answers, environment, message
from indelible.sinks.secrets import read_secret
from indelible.sinks.waits import Waits
from indelible.sinks.web import credentials
from indelible.sinks.web.answers import unless_taken
from indelible.sinks.web.carrying import CarryingSink

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.otlp.over_grpc import GrpcTransport
    from indelible.sinks.web.answers import Verdict
    from indelible.sinks.web.client import Answer

MISSING: Final = "needs the package opentelemetry-proto, which is not installed: pip install 'indelible[otlp]'"


def otlp_sink(settings: SinkSettings) -> CarryingSink:
    """Return the sink. Raises ConfigError: the environment says what nobody can."""
    own = OtlpSettings.of(settings.own)
    found = environment.exporter(own, os.environ)
    batch = own.batch or BatchSettings()
    if found.protocol != "grpc":
        http = HttpSettings(
            url=found.url,
            gzip=found.gzip,
            headers=found.headers,
            token=own.token,
            tls=found.tls,
            allow_private=True,  # a Collector is a neighbour, as a rule
            allow_http=True,
            batch=batch,
        )
        waits = Waits(found.timeout)
        api = OtlpApi(is_json=found.protocol == "http/json")
        return CarryingSink(OverHttp(http, api, waits), waits, batch, http.target)
    from indelible.sinks.otlp.over_grpc import GrpcTransport

    waits = Waits(found.timeout)
    return CarryingSink(Grpc(GrpcTransport(found, waits), found, own), waits, batch, found.url)


class OtlpApi:
    """See `web.apis.Api`."""

    most = answers.MAX_ANSWER
    lines = 0
    query = ""

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self.content_type = answers.JSON if is_json else answers.PROTOBUF

    def part(self, shipment: Shipment) -> bytes:
        """See `Api`."""
        message.check(shipment.record)
        return shipment.record

    def body(self, parts: Sequence[bytes]) -> bytes:
        """See `Api`."""
        return message.as_json(parts) if self._is_json else _protobuf(parts)

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """See `Api`."""
        del body, keys
        return []

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """See `Api`."""
        if not 200 <= answer.status < 300:
            said = answers.failure(answer.body, answer.headers.get("content-type", ""))
            answer = answer._replace(body=said.encode()) if said else answer
        unless_taken(answer)
        kind = answers.kind(answer.headers.get("content-type", ""))
        is_json = kind == answers.JSON if kind in (answers.JSON, answers.PROTOBUF) else self._is_json
        read = answers.read_json if is_json else answers.read_protobuf
        return answers.verdict(read(answer.body), count)


class OverHttp(HttpTransport):
    """See `web.carrying.Transport`. What is missing here is said before what is missing there."""

    def open(self) -> None:
        """See `Transport`."""
        if self._api.content_type == answers.PROTOBUF:
            _protobuf(())
        super().open()


class Grpc:
    """See `web.carrying.Transport`."""

    lines = 0

    def __init__(self, transport: GrpcTransport, found: environment.Exporter, own: OtlpSettings) -> None:
        self._transport = transport
        self._own = own
        self._said = found.headers
        self._headers: list[tuple[str, str]] | None = None

    def open(self) -> None:
        """See `Transport`."""
        if self._headers is None:
            self._headers = list(self._said.items())
            if self._own.token is not None:
                self._headers.append(("authorization", f"Bearer {read_secret(self._own.token, 'token')}"))
        self._transport.open()

    def close(self) -> None:
        """See `Transport`."""
        self._transport.close()
        self._headers = None

    def part(self, shipment: Shipment) -> bytes:
        """See `Transport`."""
        message.check(shipment.record)
        return shipment.record

    def ask(self, parts: Sequence[bytes]) -> Verdict:
        """See `Transport`."""
        self.open()
        answer = self._transport.post(_protobuf(parts), self._headers or ())
        return answers.verdict(answers.read_protobuf(answer), len(parts))

    def clean(self, text: str) -> str:
        """See `Transport`."""
        said = [secret.removeprefix("Bearer ") for _, secret in self._headers or ()]
        return credentials.cleaned(text, [secret for secret in said if len(secret) >= credentials.MIN_HEADER])


def _protobuf(parts: Sequence[bytes]) -> bytes:
    """Return a request. Raises SinkUnavailable without the package."""
    try:
        encode = message.protobuf()
    except ImportError:
        import importlib

        importlib.invalidate_caches()  # it may be installed while we run
        raise SinkUnavailable(MISSING) from None
    return encode(parts)
