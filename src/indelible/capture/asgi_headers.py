"""The headers of ASGI's requests and responses: those that are read here, and what they say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from indelible.capture import meta

Fields = Mapping[bytes, bytes]
"""Headers by their names in lower case, as they came."""

CORRELATING: Final = frozenset({b"x-request-id", b"traceparent"})
"""Those that may name a request's id or its trace."""

_LISTS: Final = frozenset({b"accept", b"content-encoding"})
"""Headers that may stand several times, and are one list then (RFC 9110, section 5.3)."""

_READ: Final = {
    name.encode(): name
    for name in (
        "accept", "content-encoding", "content-type", "mcp-method", "mcp-name", "mcp-protocol-version",
        "mcp-session-id", "www-authenticate", *(name for name in meta.TEXTS if name == name.lower()),
    )
}  # fmt: skip


def fields_of(pairs: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return ASGI's headers by name.

    Of several of one name it is the first, but of lists all. So frameworks read them (Starlette's `Headers.get`): a
    second one must not hide a coding, or name another session.
    """
    pairs = tuple(pairs)
    named = dict(pairs)
    if len(named) == len(pairs) and b"".join(named).islower():  # as nearly always: each once, as ASGI has them
        return named
    found: dict[bytes, bytes] = {}
    for key, value in pairs:
        name = key.lower()
        if name not in found:
            found[name] = value
        elif name in _LISTS:
            found[name] += b", " + value
    return found


def text_of(value: bytes | None) -> str | None:
    """Return a header's value as text (RFC 9110, section 5.5); None when it is not there."""
    return None if value is None else value.decode("latin-1")


def texts_of(fields: Fields) -> dict[str, str]:
    """Return those of the headers that are read here, as texts."""
    return {_READ[key]: fields[key].decode("latin-1") for key in fields.keys() & _READ.keys()}


Correlation = tuple[str | None, str | None, str | None]
"""Request id, trace id and span id."""


def correlation(carried: meta.Meta | None, fields: Fields) -> Correlation:
    """Return what a request's ``_meta`` says, and where that says nothing, its headers."""
    said: Correlation = (None, None, None) if carried is None else meta.correlation(carried)
    if CORRELATING.isdisjoint(fields):
        return said
    of_headers = correlation_of(fields)
    return (said[0] or of_headers[0], *(said[1:] if said[1] else of_headers[1:]))


def correlation_of(fields: Fields) -> Correlation:
    """Return what headers alone say."""
    return meta.correlation(meta.of_fields(texts_of(fields)))
