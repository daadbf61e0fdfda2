"""Splunk's HTTP Event Collector, ``/services/collector/event``.

The rules that live here, after Splunk's "Format events for HTTP Event Collector" and "Troubleshoot HTTP Event
Collector": a request is JSON objects one behind the other, and is taken when the answer says ``"code": 0``; a 400 has a
code, too, and some of them are not about an event but about the token or the index.

Of a token with indexer acknowledgement (``useACK``; "About HTTP Event Collector Indexer Acknowledgment") that answer
says only that the events have come in, and has an ``ackId``: they are taken when ``/ack`` says so of that number. Such
numbers count within a channel, which is this sink's own, and which every request names: other tokens do not mind.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from indelible.sinks.web import jsontext, times
from indelible.sinks.web.answers import Fewer, NotNow, Verdict, about, retry_after, unless_taken

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.client import Answer

ABOUT_EVENTS: Final = frozenset({5, 6, 12, 13, 15})
"""No data; invalid data format; event field required; … blank; error in handling indexed fields."""

HINTS: Final = {
    7: "may the token write to this index?",
    10: "does something on the way take 'X-Splunk-Request-Channel' out?",
    11: "does something on the way change 'X-Splunk-Request-Channel'?",
}
"""Code → what to look at."""


class _Said(msgspec.Struct):
    code: int
    text: str = ""
    first: int | None = msgspec.field(default=None, name="invalid-event-number")
    ack: int | None = msgspec.field(default=None, name="ackId")


class _Acks(msgspec.Struct):
    acks: dict[str, bool]


_decode_acks = msgspec.json.Decoder(_Acks).decode
_decode = msgspec.json.Decoder(_Said).decode


class SplunkApi:
    """See `Api`."""

    content_type = "application/json"
    most = 64 << 10
    lines = 0
    query = ""

    def __init__(self, settings: HttpSettings, format_name: str) -> None:
        del format_name
        known = {
            "host": settings.host or socket.gethostname(),
            "source": settings.source,
            "sourcetype": settings.sourcetype,
        }
        if settings.index is not None:
            known["index"] = settings.index
        self._known = msgspec.json.encode(known)[1:-1]
        self._channel = str(uuid.uuid4())
        path = settings.path.partition("?")[0].rstrip("/")
        self.ack_path = f"{path.rpartition('/')[0]}/ack?channel={self._channel}"
        """Where is asked for an acknowledgement."""

    def part(self, shipment: Shipment) -> bytes:
        """See `Api`. `fields` are indexed: they must be flat, and find an event quickly."""
        event = jsontext.as_json(shipment.record)
        happened = times.of(shipment).event_us
        time = b'"time":%d.%06d,' % divmod(happened, 1_000_000) if happened else b""
        fields = {"seq": str(shipment.seq)}
        if shipment.event_id:
            fields["event_id"] = shipment.event_id
        return b'{%b%b,"fields":%b,"event":%b}' % (time, self._known, msgspec.json.encode(fields), event)

    def body(self, parts: Sequence[bytes]) -> bytes:
        """See `Api`."""
        return b"\n".join(parts)

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """See `Api`."""
        del body, keys
        return [("X-Splunk-Request-Channel", self._channel)]

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """See `Api`."""
        said = _said(answer)
        if answer.status == 400 and said is not None:
            reason = f"it answers 400{about(answer)}"
            if said.code in ABOUT_EVENTS:
                raise Fewer(reason, sure=False, first=said.first)
            raise NotNow("; ".join(filter(None, (reason, HINTS.get(said.code)))), retry_after(answer))
        unless_taken(answer)
        if said is None or said.code != 0:
            raise NotNow(f"it answers {answer.status}, and not as the HTTP Event Collector does{about(answer)}")
        return Verdict(count)


def ack_of(answer: Answer) -> int | None:
    """Return by which number an acknowledgement is to be asked for; None where there is none."""
    said = _said(answer)
    return None if said is None else said.ack


def is_acknowledged(answer: Answer, number: int) -> bool:
    """Tell whether the indexers have what was sent under a number. Raises NotNow for an answer that does not say."""
    if answer.status == 200:
        try:
            return _decode_acks(answer.body).acks.get(str(number), False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    why = f"asked for an acknowledgement, it answers {answer.status}{about(answer)}"
    raise NotNow(why, retry_after(answer))


def _said(answer: Answer) -> _Said | None:
    try:
        return _decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
