"""A strict reader of LEEF 2.0, after IBM's guide and nothing of ours: no maintained parser was found in any registry.

    LEEF:2.0|Vendor|Product|Version|EventID|DelimiterCharacter|Extension

The delimiter is one character, or its number in hexadecimal after ``x`` or ``0x``. An attribute is ``key=value``, up to
the next delimiter; nothing is unescaped, since the format has no escapes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HEX = re.compile(r"(?:0x|x)([0-9A-Fa-f]{1,4})")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]*")


class NotLeefError(ValueError):
    """The record breaks a rule of the format."""


class Leef(NamedTuple):
    """What a record says."""

    vendor: str
    product: str
    version: str
    event_id: str
    attributes: dict[str, str]


def read(record: bytes) -> Leef:
    """Read one record. Raises NotLeefError."""
    text = record.decode("utf-8", "strict")
    if "\n" in text or "\r" in text:
        raise NotLeefError("a line end in a record")
    begin, *header = text.split("|", 6)
    if begin != "LEEF:2.0" or len(header) != 6:
        raise NotLeefError("not a header of version 2.0")
    vendor, product, version, event_id, delimiter, rest = header
    if any("\t" in field for field in (vendor, product, version, event_id)) or not 0 < len(event_id) <= 255:
        raise NotLeefError("not a header of version 2.0")
    attributes: dict[str, str] = {}
    for attribute in rest.split(_delimiter(delimiter)):
        key, equals, value = attribute.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise NotLeefError(f"no attribute: {attribute[:80]!r}")
        if key in attributes:
            raise NotLeefError(f"twice: {key}")
        if not value or value.endswith("\\"):
            raise NotLeefError(f"empty, or ends in what a reader may take for an escape: {key}")
        attributes[key] = value
    return Leef(vendor, product, version, event_id, attributes)


def _delimiter(field: str) -> str:
    number = _HEX.fullmatch(field)
    if number:
        return chr(int(number[1], 16))
    if len(field) != 1:
        raise NotLeefError(f"not a delimiter: {field!r}")
    return field
