"""A webhook: records in the body of a request, and any answer of class 2xx takes them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from indelible.sinks.web import signing
from indelible.sinks.web.answers import Verdict, unless_taken
from indelible.sinks.web.jsontext import as_json

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.client import Answer

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
TEXT: Final = "text/plain; charset=utf-8"
TEXT_FORMATS: Final = frozenset({"cef", "leef", "syslog"})


class WebhookApi:
    """See `Api`."""

    most = 64 << 10
    """What it answers is shown when it refuses; nothing hangs on it otherwise."""

    query = ""

    def __init__(self, settings: HttpSettings, format_name: str) -> None:
        self._shape = settings.body
        lines = TEXT if format_name in TEXT_FORMATS else LINES
        self.content_type = lines if self._shape == "lines" else JSON
        self.lines = 1 if self._shape == "single" else 0

    def part(self, shipment: Shipment) -> bytes:
        """See `Api`."""
        record = shipment.record
        if self._shape != "lines":
            return as_json(record)
        if b"\n" in record:
            raise ValueError("holds a line end, which would make two records of it; see 'body: array'")
        return record

    def body(self, parts: Sequence[bytes]) -> bytes:
        """See `Api`."""
        if self._shape == "lines":
            return b"\n".join([*parts, b""])
        return b"[%b]" % b",".join(parts) if self._shape == "array" else parts[0]

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """See `Api`."""
        return signing.headers(keys, signing.message_id(body), int(time.time()), body)

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """See `Api`."""
        unless_taken(answer)
        return Verdict(count)
