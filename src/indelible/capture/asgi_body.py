"""HTTP bodies of MCP, as bytes that come in pieces, to messages; without I/O. Pure.

The rule is that of `frames`: whatever a server might carry out is seen here. A server may read UTF-16 (Python's `json`
does), undo a content coding, or take a key that is spelled with escapes; so all of these are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from indelible.capture import asgi_headers, frames, meta, methods
from indelible.capture.asgi_headers import Fields
from indelible.capture.bodies import Body
from indelible.capture.frames import ABSENT, DoubtfulMessage, Message, Parsed, bounded
from indelible.capture.incoming import Incoming, Wire
from indelible.capture.kept import Kept
from indelible.capture.outcomes import Verdict, judge_error
from indelible.events import Kind

UNREAD: Final = "unknown"
"""The method of a call that could not be read."""

MAX_REASON: Final = 2048
"""Bytes of a refusal's body that are read for what it says."""


def requests_of(body: Body, *, certainly: bool) -> Parsed:
    """Return the messages of a request's body; empty for one that is not MCP.

    `certainly` it is MCP: else it must have a key ``jsonrpc`` somewhere. Of a body that is too long, what its ends say.
    """
    if not body.readable or body.size == 0:
        return ()
    whole = body.whole
    if whole is None:
        head = body.head.lstrip()
        if head[:1] not in (b"{", b"[") or not (certainly or _may_be(head) or _may_be(body.tail)):
            return ()
        return ((frames.scan_ends(body.head, body.tail), b"{}"),)
    if not _is_plain(whole):
        whole = utf8(whole)
        if whole.lstrip(b" \t\r\n\0\xef\xbb\xbf")[:1] not in (b"{", b"["):
            return ()
    if not (certainly or _may_be(whole)):
        return ()
    return frames.parse_request(whole, frames.read(whole))


def answers_of(kept: Kept) -> Parsed:
    """Return the messages of a response's body, or of an event's data."""
    whole = kept.whole
    if whole is None:
        return ((frames.scan_ends(kept.head, kept.tail), b"{}"),)
    if not _is_plain(whole):
        whole = utf8(whole)
    return frames.parse_answer(whole) if whole else ()


def _is_plain(text: bytes) -> bool:
    """Tell whether it is an object in UTF-8: in UTF-16 and UTF-32 every other byte of ASCII is 0, in either order."""
    return text[:1] == b"{" and text[1:2] != b"\0"


def _may_be(text: bytes) -> bool:
    return b"jsonrpc" in text.lower() or b"\\u" in text


def utf8(text: bytes) -> bytes:
    """Return JSON in UTF-8 that may be in another of Unicode's encodings (RFC 4627, section 3)."""
    if b"\0" not in text[:4] and text[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return text
    encoding = json.detect_encoding(text)
    return text if encoding.startswith("utf-8") else text.decode(encoding, "replace").encode("utf-8", "replace")


def incoming_of(
    message: Message, text: bytes, carried: meta.Meta | None, fields: Fields, wire: Wire | None
) -> Incoming:
    """Return a call as its request says it; `text` is JSON that holds it, `fields` are the headers.

    `carried` is what its ``_meta`` says.
    """
    method, params = str(message.method), message.params
    incoming = Incoming(method=method, wire=wire, rpc_id=None if message.id is ABSENT else bytes(message.id))
    if carried is not None or not asgi_headers.CORRELATING.isdisjoint(fields):
        said = asgi_headers.correlation(carried, fields)
        incoming.request_id, incoming.trace_id, incoming.span_id = said
    if params is not UNSET:
        how = methods.describe(method)
        if how.name == "name":
            named: object = params.name
        else:
            named = params.uri if how.name == "uri" else meta.completed_ref(text) if how.name == "ref" else None
        if isinstance(named, str):
            incoming.name = bounded(named)
        if how.args == "arguments":
            incoming.args = None if params.arguments is ABSENT else params.arguments
        elif how.args == "params":
            incoming.args = meta.raw_params(text)
        if params.request_state is not UNSET:
            incoming.request_state = params.request_state
        if b"inputResponses" in text:
            given = meta.mapping(meta.raw_params(text) or ABSENT)
            incoming.answers_input = "inputResponses" in given
            incoming.input_responses = given.get("inputResponses")
    if isinstance(message, DoubtfulMessage):
        incoming.metadata = doubts(message)
        if message.ambiguous:
            incoming.effects = "unknown"
    return incoming


def incoming_unread(body: Body, fields: Fields, wire: Wire) -> Incoming:
    """Return what is known of a request whose body cannot be read: what its headers say (2026-07-28), unchecked."""
    headers = asgi_headers.texts_of(fields)
    method, name = meta.short(headers.get("mcp-method")), meta.short(headers.get("mcp-name"))
    incoming = Incoming(method=method or UNREAD, name=name, wire=wire, metadata={"unparsed": body.unread})
    incoming.effects = "unknown"
    incoming.request_id, incoming.trace_id, incoming.span_id = asgi_headers.correlation_of(fields)
    return incoming


def doubts(message: DoubtfulMessage) -> dict[str, Any] | None:
    """Return what was doubtful about a message, for an event's metadata."""
    found: dict[str, Any] = {}
    if message.ambiguous:
        found["ambiguous"] = list(message.ambiguous)
    if message.unparsed:
        found["unparsed"] = message.unparsed
    return found or None


# --- what a response says of requests that it does not answer -------------------------------------------------

_KINDS: Final[Mapping[int, Kind]] = {
    401: "unauthenticated",
    403: "denied",
    408: "timed_out",
    429: "denied",
    502: "backend_unavailable",
    503: "backend_unavailable",
    504: "timed_out",
}
"""What statuses mean for a call that got no answer of its own; others are `protocol_error`."""


def judge_status(status: int, said: Verdict | None, reason: str | None) -> Verdict:
    """Return what an HTTP status says of a call; `said` is an error in its body that names no request."""
    kind = _KINDS.get(status)
    if said is not None and (kind is None or status < 400):
        return said
    error = (said.error if said else None) or reason or f"HTTP status {status}"
    return Verdict(kind or "protocol_error", error=error, error_code=said.error_code if said else None)


def reason_of(kept: Kept, challenge: str | None) -> str | None:
    """Return why a request was refused: its body's or its challenge's word (RFC 6750, section 3); None for no word.

    Bodies that are not JSON are pages, and say nothing.
    """
    whole = kept.whole
    fields = meta.mapping(whole) if whole and kept.size <= MAX_REASON else {}
    error = fields.get("error")
    if isinstance(error, dict):
        return judge_error(error.get("code"), error.get("message")).error
    told = [error, fields.get("error_description") or fields.get("message") or fields.get("detail")]
    texts = [bounded(text) for text in told if isinstance(text, str) and text]
    return _said(texts) or _challenged(challenge or "")


def _challenged(challenge: str) -> str | None:
    found = []
    for name in ("error", "error_description"):
        _, there, rest = challenge[:MAX_REASON].partition(f'{name}="')
        if there:
            found.append(rest.partition('"')[0])
    return _said([text for text in found if text])


def _said(texts: list[str]) -> str | None:
    """Return a word with its explanation; with a colon, "invalid_token: …" would be taken for a token and its value."""
    if not texts:
        return None
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]})"


def said_of(carried: meta.Meta) -> dict[str, Any]:
    """Return what a request's ``_meta`` says of its client (2026-07-28), as fields of a `Peer`."""
    found: dict[str, Any] = {}
    if carried.client_info is not ABSENT:
        found["client"] = meta.name_version(meta.mapping(carried.client_info))
    if carried.protocol_version is not UNSET:
        found["protocol_version"] = meta.short(carried.protocol_version)
    return {field: value for field, value in found.items() if value}
