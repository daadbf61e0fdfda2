"""Records to a receiver over HTTP: a webhook, Splunk's HTTP Event Collector, Elasticsearch or OpenSearch, Loki.

The rules that live here:

- Records go in order, so many at once as the settings and the receiver allow; the next request begins when the one
  before was answered. What is taken is what the API says is taken (`web.answers`, and each API's own module).
- A request that is refused for what is in it, or for its size, is sent again in halves, down to single records: one
  that is refused alone goes to the dead letters. What is not sure to be about that record (`Refused.sure`) counts only
  of a receiver that takes others: one that refuses all of them is unavailable, and nothing is given up.
- A receiver that found a request too large gets smaller ones from then on.
- Secrets are read when a connection is made, so a new one counts after the first failure; no message shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from indelible._version import __version__
from indelible.errors import ConfigError
from indelible.sink_settings.addresses import is_loopback, is_public
from indelible.sink_settings.http import HttpSettings
from indelible.sink_settings.parts import TlsSettings
from indelible.sinks.base import NOTHING, Delivery, Shipment, SinkUnavailable
from indelible.sinks.waits import Waits
from indelible.sinks.web import apis, credentials, reasons
from indelible.sinks.web.answers import Fewer, NotNow
from indelible.sinks.web.client import Client, split_url
from indelible.sinks.web.progress import DisbelievedError, Part, Progress, fewer, ranges

if TYPE_CHECKING:
    import ssl

    from indelible.sink_settings import SinkSettings
    from indelible.sinks.web.answers import Verdict

GZIP_LEVEL: Final = 1
"""A third of the time of zlib's default, for a sixth more bytes of such records."""


class HttpSink:
    """Sends records to one receiver."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `HttpSettings`."""
        self._own = HttpSettings.of(settings.own)
        self._api = apis.make(self._own, settings.format)
        self._waits = Waits(settings.timeout)
        self._origin, _ = split_url(self._own.url)
        server_name = self._own.tls.server_name if self._own.tls is not None else None
        self._client = Client(
            self._origin,
            self._waits,
            forbidden=self._forbidden,
            tls=self._context,
            server_name=server_name,
        )
        path = self._own.path
        self._target = path + (f"{'&' if '?' in path else '?'}{self._api.query}" if self._api.query else "")
        named = {name.lower(): value for name, value in self._own.headers.items()}
        self._headers = {"user-agent": f"indelible/{__version__}", **named}
        self._who: credentials.Credentials | None = None
        self._most = self._own.batch.bytes
        self._credit = 0
        """See `Progress`."""

    def open(self) -> None:
        """See `Sink`."""
        self._waits.check()
        try:
            self._credentials()
            self._client.open()
        except (ConfigError, OSError) as exc:
            raise self._unavailable(exc) from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        parts, unfit = self._parts(shipments)
        progress = Progress(len(shipments), unfit, self._credit, self._clean)
        try:
            self._waits.check()
            self._carry(parts, progress)
            return progress.end()
        except SinkUnavailable as exc:
            exc.delivery = progress.delivery()
            raise
        except (NotNow, DisbelievedError, ConfigError, OSError) as exc:
            raise self._unavailable(exc, progress.delivery()) from exc
        finally:
            self._credit = progress.credit

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()
        self._waits.close()
        self._who = None

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    # --- requests -----------------------------------------------------------------------------------------------

    def _parts(self, shipments: Sequence[Shipment]) -> tuple[list[Part], list[tuple[int, str]]]:
        """Return the records as they stand in requests, and those that cannot, with the reason."""
        parts: list[Part] = []
        unfit: list[tuple[int, str]] = []
        for index, shipment in enumerate(shipments):
            try:
                parts.append(Part(index, self._api.part(shipment)))
            except ValueError as exc:
                unfit.append((index, str(exc)))
        return parts, unfit

    def _carry(self, parts: Sequence[Part], progress: Progress) -> None:
        """Send everything. Raises what keeps it from being taken."""
        lines = self._api.lines or self._own.batch.lines
        todo = list(ranges(parts, lines, self._most))[::-1]
        while todo:
            start, stop = todo.pop()
            some = parts[start:stop]
            try:
                verdict = self._ask(some)
            except Fewer as exc:
                if len(some) == 1:
                    progress.refuse(some[0], str(exc), sure=exc.sure)
                elif exc.is_size:
                    self._most = max(1, sum(len(part.data) for part in some) // 2)
                    todo = list(ranges(parts, lines, self._most, start))[::-1]
                else:
                    todo += fewer(start, stop, exc.first)
                continue
            progress.took(some, verdict)
            if verdict.later:
                raise NotNow(verdict.later)

    def _ask(self, parts: Sequence[Part]) -> Verdict:
        """Return what a receiver says of some records. Raises Fewer, NotNow, OSError, ConfigError."""
        who = self._credentials()
        body = self._api.body([part.data for part in parts])
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
        answer = self._client.post(self._target, headers, body, self._api.most)
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

    def _clean(self, text: str) -> str:
        return self._who.clean(text) if self._who is not None else text

    def _unavailable(self, exc: Exception, delivery: Delivery = NOTHING) -> SinkUnavailable:
        """Return what a failure is to the shipper; files, secrets and addresses are looked at again after it."""
        self._client.close()
        why, asked = str(exc), None
        if isinstance(exc, OSError):
            why = reasons.of(exc)
        elif isinstance(exc, NotNow):
            asked = exc.retry_after
        said = f"{self._own.target}: {self._clean(why)}"
        self._who = None
        return SinkUnavailable(said, delivery, retry_after=asked, refuses=isinstance(exc, DisbelievedError))
