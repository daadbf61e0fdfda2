"""Records to a receiver over HTTP: a webhook, Splunk's HTTP Event Collector, Elasticsearch or OpenSearch, Loki.

What becomes of a request is in `web.carrying`; here is how one is made. The rule that lives here: secrets are read when
a connection is made, so a new one counts after the first failure; no message shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from indelible._version import __version__
from indelible.sink_settings.addresses import is_loopback, is_public
from indelible.sink_settings.http import HttpSettings
from indelible.sink_settings.parts import TlsSettings
from indelible.sinks.waits import Waits
from indelible.sinks.web import apis, credentials
from indelible.sinks.web.carrying import CarryingSink
from indelible.sinks.web.client import Client, split_url

if TYPE_CHECKING:
    import ssl

    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.answers import Verdict
    from indelible.sinks.web.apis import Api

GZIP_LEVEL: Final = 1
"""A third of the time of zlib's default, for a sixth more bytes of such records."""


def http_sink(settings: SinkSettings) -> CarryingSink:
    """Return the sink of ``type: http``."""
    own, waits = HttpSettings.of(settings.own), Waits(settings.timeout)
    transport = HttpTransport(own, apis.make(own, settings.format), waits)
    return CarryingSink(transport, waits, own.batch, own.target)


class HttpTransport:
    """See `web.carrying.Transport`."""

    def __init__(self, own: HttpSettings, api: Api, waits: Waits) -> None:
        self._own = own
        self._api = api
        self._origin, _ = split_url(own.url)
        self._client = Client(
            self._origin,
            waits,
            forbidden=self._forbidden,
            tls=self._context,
            server_name=own.tls.server_name if own.tls is not None else None,
        )
        path = own.path
        self._path = path + (f"{'&' if '?' in path else '?'}{api.query}" if api.query else "")
        named = {name.lower(): value for name, value in own.headers.items()}
        self._headers = {"user-agent": f"indelible/{__version__}", **named}
        self._who: credentials.Credentials | None = None

    @property
    def lines(self) -> int:
        """See `Transport`."""
        return self._api.lines

    def open(self) -> None:
        """See `Transport`."""
        self._credentials()
        self._client.open()

    def close(self) -> None:
        """See `Transport`."""
        self._client.close()
        self._who = None

    def part(self, shipment: Shipment) -> bytes:
        """See `Transport`."""
        return self._api.part(shipment)

    def clean(self, text: str) -> str:
        """See `Transport`."""
        return self._who.clean(text) if self._who is not None else text

    def ask(self, parts: Sequence[bytes]) -> Verdict:
        """See `Transport`."""
        who = self._credentials()
        body = self._api.body(parts)
        headers = [
            ("Host", str(self._origin).partition("://")[2]),
            ("Accept-Encoding", "identity"),
            ("Content-Type", self._api.content_type),
            *self._headers.items(),
            *who.headers,
            *self._api.headers(body, who.keys),
        ]
        if self._own.gzip:
            import gzip

            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
        answer = self._client.post(self._path, headers, body, self._api.most)
        return self._api.verdict(answer, len(parts))

    # --- who is who ---------------------------------------------------------------------------------------------

    def _credentials(self) -> credentials.Credentials:
        if self._who is None:
            self._who = credentials.read(self._own)
        return self._who

    def _context(self) -> ssl.SSLContext:
        from indelible.sinks import tls

        return tls.context(self._own.tls or TlsSettings())

    def _forbidden(self, address: str) -> str:
        """Return why an address may not be connected to; empty when it may."""
        if self._origin.scheme == "http" and not self._own.allow_http and not is_loopback(address):
            return f"{address} is not this machine, and records would go in plain text; see 'allow_http'"
        if not self._own.allow_private and not is_public(address):
            return f"{address} is not a public address; see 'allow_private'"
        return ""
