"""HTTP bodies of MCP, as bytes that come in pieces, to messages; without I/O. Pure.

The rule is that of `frames`: whatever a server might carry out is seen here. A server may read UTF-16 (Python's `json`
does), undo a content coding, or take a key that is spelled with escapes; so all of these are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET

from indelible.capture import frames, meta, methods
from indelible.capture.codings import CodingError, Undoing
from indelible.capture.frames import ABSENT, DoubtfulMessage, Message, Parsed, bounded
from indelible.capture.incoming import Incoming, Wire
from indelible.capture.kept import Kept
from indelible.capture.outcomes import Verdict, judge_error
from indelible.events import Kind

MAX_UNREAD: Final = 64
"""Characters of a content coding's name that are kept."""

UNREAD: Final = "unknown"
"""The method of a call that could not be read."""

MAX_REASON: Final = 2048
"""Bytes of a refusal's body that are read for what it says."""


class Body:
    """A body on its way: kept as `Kept` does, with its content codings undone."""

    came = 0
    """Bytes, as they came."""
    readable = True
    """False: it is coded in a way that is not known here, or wrongly; nothing of it can be said."""
    _undoing: Undoing | None = None

    def __init__(self, coding: str | None) -> None:
        """`coding` is the header ``Content-Encoding``."""
        self.kept = Kept()
        named = _codings(coding) if coding else ()
        self.coding = ", ".join(named) or "identity"
        if named:
            try:
                self._undoing = Undoing(named)
            except CodingError:
                self.readable = False

    @property
    def plain(self) -> bool:
        """Tell whether its bytes are those of the content."""
        return self.coding == "identity"

    @property
    def unread(self) -> str | None:
        """Why nothing can be said of it, for an event's metadata; None when something can, or nothing came."""
        return None if self.readable or not self.came else f"content-encoding {self.coding}"[:MAX_UNREAD]

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._undoing is None and self.readable:
            self.came += len(piece)
            self.kept.add(piece)
            return
        for part in self.parts(piece):
            self.kept.add(part)

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """Yield the next piece with its codings undone, a little at a time."""
        self.came += len(piece)
        if self._undoing is None:
            if self.readable:
                yield piece
            return
        try:
            if self.readable:
                yield from self._undoing.feed(piece)
        except CodingError:
            self.readable = False


def _codings(header: str) -> list[str]:
    named = [name.strip().lower() for name in header.split(",")]
    return [name for name in named if name not in ("", "identity")]


def requests_of(body: Body, *, certainly: bool) -> Parsed:
    """Return the messages of a request's body; empty for one that is not MCP.

    `certainly` it is MCP: else it must have a key ``jsonrpc`` somewhere. Of a body that is too long, what its ends say.
    """
    kept = body.kept
    if not body.readable or kept.size == 0:
        return ()
    whole = kept.whole
    if whole is None:
        head = kept.head.lstrip()
        if head[:1] not in (b"{", b"[") or not (certainly or _may_be(head) or _may_be(kept.tail)):
            return ()
        return ((frames.scan_ends(kept.head, kept.tail), b"{}"),)
    whole = utf8(whole)
    if not (certainly or _may_be(whole)):
        return ()
    if whole.lstrip(b" \t\r\n\0\xef\xbb\xbf")[:1] not in (b"{", b"["):
        return ()
    return frames.parse_request(whole, frames.read(whole))


def answers_of(kept: Kept) -> Parsed:
    """Return the messages of a response's body, or of an event's data."""
    whole = kept.whole
    if whole is None:
        return ((frames.scan_ends(kept.head, kept.tail), b"{}"),)
    return frames.parse_answer(utf8(whole)) if whole else ()


def _may_be(text: bytes) -> bool:
    return b"jsonrpc" in text.lower() or b"\\u" in text


def utf8(text: bytes) -> bytes:
    """Return JSON in UTF-8 that may be in another of Unicode's encodings (RFC 4627, section 3)."""
    if b"\0" not in text[:4] and text[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return text
    encoding = json.detect_encoding(text)
    return text if encoding.startswith("utf-8") else text.decode(encoding, "replace").encode("utf-8", "replace")


def incoming_of(
    message: Message, text: bytes, carried: meta.Meta | None, headers: Mapping[str, Any], wire: Wire | None
) -> Incoming:
    """Return a call as its request says it; `text` is JSON that holds it, `headers` are by lower-case names.

    `carried` is what its ``_meta`` says.
    """
    method = str(message.method)
    how = methods.describe(method)
    params = message.params
    incoming = Incoming(method=method, wire=wire, rpc_id=None if message.id is ABSENT else bytes(message.id))
    if carried is not None or not _CORRELATING.isdisjoint(headers):
        incoming.request_id, incoming.trace_id, incoming.span_id = _correlation(carried, headers)
    if params is not UNSET:
        named: object = params.name if how.name == "name" else None
        if how.name == "uri":
            named = params.uri
        elif how.name == "ref":
            named = meta.completed_ref(text)
        incoming.name = bounded(named) if isinstance(named, str) else None
        if how.args == "arguments":
            incoming.args = None if params.arguments is ABSENT else params.arguments
        elif how.args == "params":
            incoming.args = meta.raw_params(text)
        incoming.request_state = None if params.request_state is UNSET else params.request_state
        if b"inputResponses" in text:
            fields = meta.mapping(meta.raw_params(text) or ABSENT)
            incoming.answers_input = "inputResponses" in fields
            incoming.input_responses = fields.get("inputResponses")
    if isinstance(message, DoubtfulMessage):
        incoming.metadata = doubts(message)
        if message.ambiguous:
            incoming.effects = "unknown"
    return incoming


def incoming_unread(body: Body, headers: Mapping[str, Any], wire: Wire) -> Incoming:
    """Return what is known of a request whose body cannot be read: what its headers say (2026-07-28), unchecked."""
    method, name = meta.short(headers.get("mcp-method")), meta.short(headers.get("mcp-name"))
    incoming = Incoming(method=method or UNREAD, name=name, wire=wire, metadata={"unparsed": body.unread})
    incoming.effects = "unknown"
    incoming.request_id, incoming.trace_id, incoming.span_id = meta.correlation(meta.of_fields(headers))
    return incoming


_CORRELATING: Final = frozenset({"x-request-id", "traceparent"})


def _correlation(
    carried: meta.Meta | None, headers: Mapping[str, Any]
) -> tuple[str | None, str | None, str | None]:
    said: tuple[str | None, str | None, str | None] = (None, None, None)
    if carried is not None:
        said = meta.correlation(carried)
    if _CORRELATING.isdisjoint(headers):
        return said
    of_headers = meta.correlation(meta.of_fields(headers))
    return (said[0] or of_headers[0], *(said[1:] if said[1] else of_headers[1:]))


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


_LISTS: Final = frozenset({"accept", "content-encoding"})
"""Headers that may stand several times, and are one list then (RFC 9110, section 5.3)."""


_READ: Final = {
    name.encode(): name
    for name in (
        "accept", "content-encoding", "content-type", "mcp-method", "mcp-name", "mcp-protocol-version",
        "mcp-session-id", "www-authenticate", *(name for name in meta.TEXTS if name == name.lower()),
    )
}  # fmt: skip


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return those of ASGI's headers that are read here, by their names in lower case.

    Of several of one name it is the first, but of lists all. So frameworks read them (Starlette's `Headers.get`): a
    second one must not hide a coding, or name another session.
    """
    pairs = tuple(pairs)
    named = dict(pairs)
    if len(named) == len(pairs) and b"".join(named).islower():  # as nearly always: each once, as ASGI has them
        return {_READ[key]: named[key].decode("latin-1") for key in named.keys() & _READ.keys()}
    found: dict[str, str] = {}
    for key, value in pairs:
        name = _READ.get(key.lower())
        if name is not None and name not in found:
            found[name] = value.decode("latin-1")
        elif name in _LISTS:
            found[name] += ", " + value.decode("latin-1")
    return found


def header_correlation(headers: Mapping[str, Any]) -> str | None:
    """Return the request id of a request's headers, when it has a good one."""
    return meta.correlation(meta.of_fields(headers))[0]
