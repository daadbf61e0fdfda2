"""Records to a receiver over HTTP: a webhook, Splunk's HTTP Event Collector, Elasticsearch or OpenSearch, Loki.

What becomes of a request is in `web.carrying`; here is how one is made, and how Splunk is asked what became of it. The
rule that lives here: secrets are read when a connection is made, so a new one counts after the first failure; no
message shows them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible._version import __version__
from indelible.sink_settings.addresses import is_loopback, is_public
from indelible.sink_settings.http import HttpSettings
from indelible.sink_settings.parts import TlsSettings
from indelible.sinks.waits import Waits
from indelible.sinks.web import apis, credentials
from indelible.sinks.web.answers import NotNow, Verdict
from indelible.sinks.web.carrying import CarryingSink
from indelible.sinks.web.client import Client, split_url
from indelible.sinks.web.splunk import SplunkApi, ack_of, is_acknowledged

if TYPE_CHECKING:
    import ssl

    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.apis import Api
    from indelible.sinks.web.client import Answer

FIRST_ACK_S: Final = 0.1
MOST_ACK_S: Final = 5.0
"""How soon Splunk is asked for an acknowledgement again: at first, and at the latest."""

ACK_S: Final = 300.0
"""What is not acknowledged after so long is sent again."""

GZIP_LEVEL: Final = 1
"""A third of the time of zlib's default, for a sixth more bytes of such records."""


def http_sink(settings: SinkSettings) -> CarryingSink:
    """Return the sink of ``type: http``."""
    own, waits = HttpSettings.of(settings.own), Waits(settings.timeout)
    api = apis.make(own, settings.format)
    transport = HecTransport(own, api, waits) if isinstance(api, SplunkApi) else HttpTransport(own, api, waits)
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
        return self._api.verdict(self._post(self._path, self._api.body(parts)), len(parts))

    def _post(self, path: str, body: bytes) -> Answer:
        """Return what is answered to a request. Raises OSError, SinkUnavailable, ConfigError."""
        who = self._credentials()
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
        return self._client.post(path, headers, body, self._api.most)

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


class _Sent(NamedTuple):
    """What Splunk has, and its indexers have not acknowledged yet."""

    records: int
    """So many."""
    digest: bytes
    number: int
    """Under which it is asked for."""
    since: float
    """On the monotonic clock."""


class HecTransport(HttpTransport):
    """To Splunk: what a token with indexer acknowledgement takes counts when the indexers have it.

    What was sent and not acknowledged in time is asked for again before it is sent again: slow indexers would else get
    it anew with every attempt. It is sent again when it was waited for longer than `ACK_S`, since a receiver that was
    started anew knows no number of before.
    """

    def __init__(self, own: HttpSettings, api: SplunkApi, waits: Waits) -> None:
        super().__init__(own, api, waits)
        self._waits = waits
        self._ack_path = api.ack_path
        self._sent: _Sent | None = None

    def ask(self, parts: Sequence[bytes]) -> Verdict:
        """See `Transport`."""
        sent = self._sent
        if sent is not None and _digest(parts[: sent.records]) == sent.digest:
            self._wait_for(sent)
            return Verdict(sent.records)
        self._sent = None
        answer = self._post(self._path, self._api.body(parts))
        verdict, number = self._api.verdict(answer, len(parts)), ack_of(answer)
        if number is not None:
            self._sent = _Sent(len(parts), _digest(parts), number, time.monotonic())
            self._wait_for(self._sent)
        return verdict

    def _wait_for(self, sent: _Sent) -> None:
        """Return when it is acknowledged. Raises NotNow when that takes longer than the time-out."""
        body = b'{"acks":[%d]}' % sent.number
        deadline, pause = self._waits.deadline(), FIRST_ACK_S
        while not is_acknowledged(self._post(self._ack_path, body), sent.number):
            now = time.monotonic()
            if now >= deadline:
                if now > sent.since + ACK_S:
                    self._sent = None
                raise NotNow(
                    f"it has the records, and no indexer acknowledges them within {self._waits.timeout:g} s"
                )
            self._waits.pause(min(pause, max(0.0, deadline - now)))
            pause = min(1.5 * pause, MOST_ACK_S)
        self._sent = None


def _digest(parts: Sequence[bytes]) -> bytes:
    return sha256(b"\n".join(parts)).digest()
