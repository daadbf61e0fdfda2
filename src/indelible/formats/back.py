"""A record's words as an event again, as far as its format has them. Pure.

The rules that live here:

- What a format has no room for is not guessed: `Back.says` names what a record of it can be asked for, so that nobody
  takes "it does not say" for "it is not so".
- Values are those that the record shows. What a format shortens stays short (a time in milliseconds), what it shows
  as an escape stays one.
- Nothing is believed, as in `indelible.formats.found`: these are claims.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from indelible.formats.back_json import READERS
from indelible.formats.back_pairs import FAMILIES, of_pairs
from indelible.formats.back_parts import EVERYTHING, Event, Said
from indelible.formats.found import Found


class Back(NamedTuple):
    """What a record says, in an event's shape."""

    format: str
    event: Event
    """`seq`, `event_type` and whatever else is known, under the keys that a line of a trail has."""
    says: frozenset[str]
    """The filters (`indelible.query.filters.Filter`) that it can answer."""


UNKNOWN_FORMAT: Final = "another package's format"

EXPOSED_NAMES_ONLY: Final = frozenset({"alive", "hangar", "mcpgw", "mxcp", "ecs", "ocsf", "otlp"})
"""Formats in which a capability has one name, the one that it is exposed under."""


def read_back(found: Found) -> Back:
    """Return what a record says; of a format that is not ours no more than which event it is of."""
    if found.family in FAMILIES:
        return _finished(found, FAMILIES[found.family], of_pairs(found))
    value = json.loads(found.body)  # which `read_found` has read before
    for name, key, read in READERS:
        if key in value:
            return _finished(found, name, read(value))
    return Back(UNKNOWN_FORMAT, {"seq": found.seq, "event_id": found.event_id}, frozenset())


def _finished(found: Found, name: str, read: Said) -> Back:
    event, says = read
    event = {"seq": found.seq, "event_id": found.event_id, **event}
    if "erased" in event:
        says = EVERYTHING
    elif "event_type" not in event:  # a type of a later version, under a name of its own
        says -= {"events"}
    return Back(name, event, says)
