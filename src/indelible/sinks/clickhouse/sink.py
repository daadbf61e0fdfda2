"""Records as rows of a ClickHouse table: ``INSERT … FORMAT JSONEachRow`` over its HTTP interface.

What becomes of a request is in `web.carrying`, what an answer means in `answers`. The rules that live here:

- A line travels as one JSON string beside what it does not say itself, its trail's origin, and its seq: nothing in it
  can end a row or name a column, a key that a later version adds is no column that is missing, and the bytes that
  arrive are those that were sealed. Columns are the table's to compute (`schema`).
- A request that is sent again as it was carries the same `insert_deduplication_token`, by which a table that remembers
  its newest inserts takes it once. The token is a digest of the rows: what differs in one byte, such as a line that
  was erased meanwhile, is never taken for the same. After a kill the next request may have other bounds, so that rows
  do come twice: the schema's table counts each (origin, seq) once.
- Settings that would let rows get lost in silence are said in each request, whatever a user's profile has.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import msgspec

from indelible.sink_settings.clickhouse import ClickhouseSettings
from indelible.sink_settings.http import HttpSettings
from indelible.sinks.clickhouse import answers
from indelible.sinks.clickhouse.quoting import identifier
from indelible.sinks.http import HttpTransport
from indelible.sinks.waits import Waits
from indelible.sinks.web import credentials, jsontext
from indelible.sinks.web.carrying import CarryingSink

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.answers import Verdict
    from indelible.sinks.web.client import Answer
    from indelible.sinks.web.credentials import Credentials

COLUMNS: Final = "origin, seq, line"
"""What is sent of a line; all other columns of the schema's table are computed there."""

ALWAYS: Final = {
    "wait_end_of_query": "1",  # so that an exception is the answer, and does not come after a 200
    "async_insert": "0",  # a batch is large enough; `settings` may say otherwise
    "wait_for_async_insert": "1",  # then what is answered is in the table all the same
    "distributed_foreground_insert": "1",  # of a Distributed table: the shard has it, and not this host's own queue
    "input_format_allow_errors_num": "0",
    "input_format_allow_errors_ratio": "0",
}
"""Parameters of every request."""

OTHER_FORMATS: Final = {
    "input_format_skip_unknown_fields": "0",  # what has no column would be lost in silence
    "date_time_input_format": "best_effort",  # RFC 3339
}
"""What `settings` may change, of records that are rows themselves."""


def clickhouse_sink(settings: SinkSettings) -> CarryingSink:
    """Return the sink of ``type: clickhouse``."""
    own, waits = ClickhouseSettings.of(settings.own), Waits(settings.timeout)
    transport = ClickhouseTransport(own, ClickhouseApi(own, settings.format), waits)
    return CarryingSink(transport, waits, own.batch, own.target)


class ClickhouseApi:
    """See `web.apis.Api`."""

    content_type = "application/x-ndjson"
    most = answers.MAX_ANSWER_BYTES
    lines = 0

    def __init__(self, own: ClickhouseSettings, format_name: str) -> None:
        self._is_line = format_name == "indelible"
        columns = f" ({COLUMNS})" if self._is_line else ""
        table = f"{identifier(own.database)}.{identifier(own.table)}"
        parameters = {
            "query": f"INSERT INTO {table}{columns} FORMAT JSONEachRow",
            **ALWAYS,
            **({} if self._is_line else OTHER_FORMATS),
            **own.settings,
        }
        self.query = urlencode(parameters, quote_via=quote)

    def part(self, shipment: Shipment) -> bytes:
        """See `Api`."""
        record = shipment.record
        if self._is_line:
            origin = msgspec.json.encode(shipment.origin)
            return b'{"origin":%b,"seq":%d,"line":%b}\n' % (origin, shipment.seq, jsontext.as_string(record))
        if not jsontext.is_object(record) or b"\n" in record:
            raise ValueError("is no JSON object on one line, and so no row of JSONEachRow")
        return record + b"\n"

    def body(self, parts: Sequence[bytes]) -> bytes:
        """See `Api`."""
        return b"".join(parts)

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """See `Api`."""
        del body, keys
        return []

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """See `Api`."""
        return answers.verdict(answer, count)


class ClickhouseTransport(HttpTransport):
    """See `web.carrying.Transport`."""

    def __init__(self, own: ClickhouseSettings, api: ClickhouseApi, waits: Waits) -> None:
        http = HttpSettings(
            url=own.url,
            gzip=own.gzip,
            headers=own.headers,
            tls=own.tls,
            allow_private=own.allow_private,
            allow_http=own.allow_http,
        )
        super().__init__(http, api, waits)
        self._said = own

    def ask(self, parts: Sequence[bytes]) -> Verdict:
        """See `Transport`."""
        body = self._api.body(parts)
        return self._api.verdict(self._post(self._target(body), body), len(parts))

    def _target(self, body: bytes) -> str:
        """Return path and query of a request, with what it is known by when it comes again.

        A server goes by a token whatever else it is told, so there is none where nothing is to be known again.
        """
        if self._said.settings.get("insert_deduplicate", "").lower() in ("0", "false"):
            return self._path
        return f"{self._path}&insert_deduplication_token=indelible-{sha256(body).hexdigest()[:32]}"

    def _credentials(self) -> Credentials:
        if self._who is None:
            self._who = _who(self._said)
        return self._who


def _who(own: ClickhouseSettings) -> Credentials:
    """Return who we are, in ClickHouse's own headers, since URLs stand in logs. Raises ConfigError."""
    headers: list[tuple[str, str]] = []
    words = [text for text in own.headers.values() if len(text) >= credentials.MIN_HEADER]
    if own.username is not None:
        headers.append(("X-ClickHouse-User", credentials.for_header(own.username, "username")))
    if own.password is not None:
        password = credentials.for_header(own.password, "password")
        headers.append(("X-ClickHouse-Key", password))
        words.append(password)
    return credentials.Credentials(headers, (), sorted(words, key=len, reverse=True))
