"""``cloudevents``: CloudEvents 1.0 in the JSON format's structured mode (CNCF, sections 2.2 and 3.1).

`data` is the event as it stands in the trail; what it can be checked with is its last key, since attributes of the
envelope are no objects (section 2.3).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.formats.names import naming
from indelible.formats.record import stamp
from indelible.formats.shapes import JsonFormat, with_stamp
from indelible.formats.times import event_time

if TYPE_CHECKING:
    from indelible.formats.record import Entry, Record

TYPE_PREFIX: Final = "indelible."
_TRACE = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"[0-9a-f]{16}")
_unfit = re.compile(rb"[^A-Za-z0-9._~/-]")


class CloudEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One record. `sequence` and `traceparent` are documented extensions of the specification."""

    specversion: str
    id: str
    source: str
    type: str
    datacontenttype: str
    subject: str | None = None
    time: str | None = None
    sequence: str | None = None
    traceparent: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class CloudeventsFormat(JsonFormat):
    """Holds every event."""

    def copied(self, record: Record) -> tuple[msgspec.Raw, ...]:
        """See `JsonFormat`."""
        return (msgspec.Raw(record.text),)

    def shape(self, record: Record) -> Any:
        """Return the record."""
        entry = record.entry
        return CloudEvent(
            "1.0",
            entry.event_id or f"seq:{entry.seq}",
            source_of(record.origin),
            TYPE_PREFIX + naming(entry).name,
            "application/json",
            entry.target.capability_name or entry.target.backend or None,
            event_time(entry) or None,
            str(entry.seq),
            _traceparent(entry),
            with_stamp(msgspec.Raw(record.text), stamp(record)),
        )


@lru_cache(maxsize=16)
def source_of(origin: str) -> str:
    """Return an origin as a URI reference, in which everything that is not plain is escaped."""
    return _unfit.sub(lambda match: b"%%%02X" % match[0][0], origin.encode()).decode() or "indelible"


def _traceparent(entry: Entry) -> str | None:
    trace, span = entry.request.trace_id or "", entry.request.span_id or ""
    return f"00-{trace}-{span}-00" if _TRACE.fullmatch(trace) and _SPAN.fullmatch(span) else None
