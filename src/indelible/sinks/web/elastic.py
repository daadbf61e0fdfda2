"""Elasticsearch's and OpenSearch's ``_bulk``.

The rules that live here, after Elastic's reference of the bulk API:

- Every record is a ``create`` with an id of its own: the event's, so that a record which comes again is answered with
  409, and counts as taken. An erased line has no event any more: its id is the digest of what is left of it.
- An answer of 200 says nothing: each item has its status. What is refused for good is what is wrong with a document
  (400); too many requests, a missing index or a blocked one are the cluster's, and pass.
- An item that is to be tried again holds up those behind it. They may be there already, which the 409 says then.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.sinks.web import jsontext, times
from indelible.sinks.web.answers import NotNow, Refused, Verdict, printable, unless_taken

if TYPE_CHECKING:
    from indelible.sink_settings.http import HttpSettings
    from indelible.sinks.base import Shipment
    from indelible.sinks.web.client import Answer

MAX_ANSWER_BYTES: Final = 16 << 20
"""Some hundred bytes an item, more with a reason; the settings allow a million of them."""

FILTER: Final = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
"""A fifth of the answer: what is not read is not sent."""

TAKEN: Final = frozenset({200, 201, 409})
ABOUT_DOCUMENTS: Final = frozenset(
    {
        "document_parsing_exception", "mapper_parsing_exception", "strict_dynamic_mapping_exception",
        "max_bytes_length_exceeded_exception", "mapper_exception",
    }
)  # fmt: skip
"""Types of errors that are about one document, whatever else the cluster takes."""

DOCUMENT_STATUS: Final = frozenset({400, 413, 422})


class _Item(msgspec.Struct):
    status: int
    error: Any = None


class _Bulk(msgspec.Struct):
    errors: bool
    items: list[dict[str, _Item]]


_decode = msgspec.json.Decoder(_Bulk).decode


class ElasticApi:
    """See `Api`."""

    content_type = "application/x-ndjson"
    most = MAX_ANSWER_BYTES
    lines = 0
    query = FILTER

    def __init__(self, settings: HttpSettings, format_name: str) -> None:
        del settings, format_name

    def part(self, shipment: Shipment) -> bytes:
        """See `Api`. A record that is no JSON object becomes one, with its text as ``message``."""
        record = shipment.record
        if not jsontext.is_object(record):
            record = _document(shipment)
        if b"\n" in record:
            raise ValueError("holds a line end, which ends a document of a bulk request")
        known_by = shipment.event_id or sha256(shipment.record).hexdigest()
        return b'{"create":{"_id":%b}}\n%b\n' % (msgspec.json.encode(known_by), record)

    def body(self, parts: Sequence[bytes]) -> bytes:
        """See `Api`."""
        return b"".join(parts)

    def headers(self, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
        """See `Api`."""
        del body, keys
        return []

    def verdict(self, answer: Answer, count: int) -> Verdict:
        """See `Api`."""
        unless_taken(answer)
        items = _items(answer, count)
        refused: list[Refused] = []
        for at, item in enumerate(items):
            if item.status in TAKEN:
                continue
            kind, reason = _error(item)
            if item.status in DOCUMENT_STATUS and kind != "invalid_index_name_exception":
                sure = item.status == 413 or kind in ABOUT_DOCUMENTS
                refused.append(Refused(at, reason, sure))
                continue
            return Verdict(at, refused, later=f"of {count} records the one at {at} was not taken: {reason}")
        return Verdict(count, refused)


def _items(answer: Answer, count: int) -> list[_Item]:
    """Return the items of a bulk answer. Raises NotNow for what is none."""
    try:
        if not answer.is_whole:
            raise msgspec.DecodeError
        items = [item for one in _decode(answer.body).items for item in one.values()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotNow(f"it answers {answer.status}, and not as a bulk request is answered") from None
    if len(items) != count:
        raise NotNow(f"it answers for {len(items)} records, and was sent {count}")
    return items


def _error(item: _Item) -> tuple[str, str]:
    """Return an item's type of error, and what is to be said of it."""
    error = item.error if isinstance(item.error, dict) else {"reason": item.error}
    kind, reason = printable(str(error.get("type") or "")), printable(str(error.get("reason") or ""))
    said = ": ".join(word for word in (kind, reason) if word)
    return kind, f"{item.status}{': ' if said else ''}{said}"


def _document(shipment: Shipment) -> bytes:
    """Return a text record as a document, in ECS's words."""
    text = jsontext.as_string(shipment.record)
    time = times.of(shipment).event
    stamp = b'"@timestamp":%b,' % msgspec.json.encode(time) if time else b""
    return b'{%b"message":%b,"event":{"id":%b}}' % (stamp, text, msgspec.json.encode(shipment.event_id))
