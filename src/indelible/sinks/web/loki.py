"""Loki's push API, ``/loki/api/v1/push``.

The rules that live here:

- All records are one stream: its labels are the settings', and never an event's, since each combination of values is a
  stream of its own, and callers choose some of them.
- An entry's time is when the event was recorded. That never goes back, as Loki wants it of a stream; when it happened
  is in the record. An entry that comes again is the same to Loki, and is kept once.
- Loki takes what it can of a request and answers 400 for the rest. Which entry that was is found by sending fewer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from indelible.sinks.web import jsontext, times
from indelible.sinks.web.answers import Fewer, NotNow, Verdict, about, unless_taken

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.client import Answer

_ABOUT_ENTRIES = re.compile(rb"timestamp too old|too far behind|timestamp too new|[Mm]ax entry size")
"""What Loki says of an entry (pkg/validation/validate.go); other errors may be about the stream."""


class LokiApi:
    """See `Api`."""

    content_type = "application/json"
    most = 64 << 10
    lines = 0
    query = ""

    def __init__(self, settings: HttpSettings, format_name: str) -> None:
        del format_name
        self._labels = msgspec.json.encode(dict(settings.labels))

    def part(self, shipment: Shipment) -> bytes:
        """See `Api`."""
        recorded = times.of(shipment).recorded_us * 1000 or time.time_ns()
        return b'["%d",%b]' % (recorded, jsontext.as_string(shipment.record))

    def body(self, parts: Sequence[bytes]) -> bytes:
        """See `Api`."""
        return b'{"streams":[{"stream":%b,"values":[%b]}]}' % (self._labels, b",".join(parts))

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """See `Api`."""
        del body, keys
        return []

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """See `Api`."""
        if answer.status == 400 and _ABOUT_ENTRIES.search(answer.body):
            raise Fewer(f"it answers 400{about(answer)}", sure=True)
        unless_taken(answer)
        if answer.status != 204 and answer.body.strip():
            raise NotNow(f"it answers {answer.status}, and not as Loki does{about(answer)}")
        return Verdict(count)
