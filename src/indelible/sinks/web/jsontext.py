"""A record inside a JSON document, whatever format it is of. Pure."""

from __future__ import annotations

import msgspec


def is_object(record: bytes) -> bool:
    """Tell whether a record is a JSON object, as all of our formats but the text ones make them."""
    return record.startswith(b"{") and record.endswith(b"}")


def as_json(record: bytes) -> bytes:
    """Return a record as a JSON value: an object stays as it is, anything else becomes a string of its text.

    Raises ValueError for what is no text.
    """
    return record if is_object(record) else as_string(record)


def as_string(record: bytes) -> bytes:
    """Return a record's text as a JSON string. Raises ValueError for what is no text."""
    try:
        return msgspec.json.encode(record.decode())
    except UnicodeError:
        raise ValueError("is no UTF-8 text") from None
