"""A line of the trail, as the formats are given it. Pure.

A line is decoded once, whatever it is rendered to. What a format copies as it stands (arguments, results, metadata)
stays JSON text. Text that no receiver can be asked to take is mended here, before any format sees it: half a surrogate
pair becomes U+FFFD, and `Record.mended` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import filterfalse
from typing import Annotated, Final, Protocol

import msgspec

from indelible.events import MAX_INTEGER, MAX_LINE_BYTES, State
from indelible.formats.unique import SURROGATE, Keys, dumps, loads, with_unique_keys

_BACKSLASH = ord("\\")
"""As a number: so it is looked for ten times as fast as bytes are."""

ABSENT: Final = msgspec.Raw()
"""JSON text that is not there: no value has none."""


class NoEntryError(ValueError):
    """A line that is no entry of a trail: torn, altered, or of another program."""


Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | str
"""A number, or its text: redaction writes an integer of 2**53 or more as one, and what is not a number at all."""


class RecorderId(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.RecorderId`."""

    id: str = ""
    uid: Integer | None = None
    pid: Integer | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.Source`, but with words that a later version may add to its vocabularies."""

    caller: str | None = None
    session_id: str | None = None
    client_ip: str | None = None
    client: str | None = None
    user_id: str | None = None
    caller_type: str | None = None
    roles: list[str] | None = None
    tenant: str | None = None
    recorder: RecorderId | None = None
    auth_method: str | None = None
    auth_key_id: str | None = None
    issuer: str | None = None
    on_behalf_of: list[str] | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.Target`."""

    backend: str | None = None
    method: str | None = None
    type: str | None = None
    capability_name: str | None = None
    original_name: str | None = None
    effects: str | None = None
    server_version: str | None = None
    protocol_version: str | None = None
    tool_sha256: str | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.Request`; `args` is the text of a JSON value."""

    request_id: str | None = None
    intent: str | None = None
    rpc_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    continues: str | None = None
    args: msgspec.Raw = ABSENT
    args_bytes: Integer | None = None
    args_hmac: str | None = None
    hmac_key_id: str | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.Policy`."""

    decision: str
    rule: str | None = None
    reason: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.Outcome`; `result` is the text of a JSON value."""

    status: str
    kind: str
    latency_ms: float | str | None = None
    error: str | None = None
    error_type: str | None = None
    error_code: Integer | None = None
    result_bytes: Integer | None = None
    result_hmac: str | None = None
    result: msgspec.Raw = ABSENT


class Cost(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As `indelible.events.Cost`."""

    centicents: Integer | None = None
    model: str | None = None
    input_tokens: Integer | None = None
    output_tokens: Integer | None = None


NO_SOURCE: Final = Source()
NO_TARGET: Final = Target()
NO_REQUEST: Final = Request()
NO_COST: Final = Cost()


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a line says. An erased line has a seq, and what else it has is not known."""

    seq: int
    schema: int = 1
    recorded_at: str = ""
    timestamp: str = ""
    event_type: str = ""
    event_id: str = ""
    source: Source = NO_SOURCE
    target: Target = NO_TARGET
    request: Request = NO_REQUEST
    policy: Policy | None = None
    outcome: Outcome | None = None
    cost: Cost = NO_COST
    state: State | None = None
    metadata: msgspec.Raw = ABSENT
    erased: str | None = None
    leaf: str | None = None


_decode = msgspec.json.Decoder(Entry).decode


class HeadSource(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of `Source`."""

    session_id: str | None = None


class HeadRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Of `Request`."""

    request_id: str | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What says which event a line has, of `Entry`: a quarter of the work, for who hands the line on as it stands."""

    seq: int
    schema: int = 1
    event_type: str = ""
    event_id: str = ""
    source: HeadSource = HeadSource()


class RequestHead(Head, frozen=True, kw_only=True, gc=False):
    """What says of which request the event is, too: a quarter more."""

    request: HeadRequest = HeadRequest()


_decoders: Final = {kind: msgspec.json.Decoder(kind).decode for kind in (Head, RequestHead)}


def read_heads(lines: list[bytes], kind: type[Head] = Head) -> list[Head] | None:
    """Return the heads of lines that begin with their seqs; None when one of them has none, and may be no entry."""
    if max(map(len, lines), default=0) > MAX_LINE_BYTES:
        return None
    try:
        for line in filterfalse(bytes.isascii, lines):
            line.decode()
        return list(map(_decoders[kind], lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Record:
    """One line, and where it is from."""

    __slots__ = ("_leaf", "entry", "line", "mended", "origin", "text")

    def __init__(self, line: bytes, origin: str) -> None:
        """`line` is a line of the trail `origin`, without its LF. Raises NoEntryError."""
        self.line = line
        self.text = line
        """The line as UTF-8 has it; the same bytes, unless `mended`."""
        self.origin = origin
        self.mended = False
        """Whether it says something else than the line, whose leaf it has: text that was not Unicode was made so, or
        keys that stood twice have names of their own."""
        self.entry = self._read()
        self._leaf = self.entry.leaf if self.entry.erased else None

    @property
    def leaf(self) -> str:
        """The line's leaf hash in the trail's Merkle tree, 64 hex digits (RFC 9162, section 2.1.1)."""
        if self._leaf is None:
            self._leaf = sha256(b"\0" + self.line).hexdigest()
        return self._leaf

    def _read(self) -> Entry:
        line = self.line
        if len(line) > MAX_LINE_BYTES or not line.startswith(b'{"seq":'):
            msg = "no entry of a trail"
            raise NoEntryError(msg)
        if _BACKSLASH in line and (b"\\ud" in line or b"\\uD" in line):
            self.text = line = self._mend(line)
        try:
            if not line.isascii():
                line.decode()  # what is copied as it stands is not looked at otherwise
            return _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            msg = f"no entry of a trail: {exc}"
            raise NoEntryError(msg) from None

    def _mend(self, line: bytes) -> bytes:
        """Return the line with text that is Unicode; escaped pairs are text as any other."""
        try:
            text, before = (dumps(loads(line, keys)) for keys in (Keys().distinct, dict))
        except (ValueError, RecursionError):
            return line
        whole = SURROGATE.sub("�", text)
        self.mended = whole != before
        return whole.encode()

    def settle_keys(self, copied: Iterable[msgspec.Raw]) -> None:
        """Give keys that stand twice in what is copied from the line names of their own; then in all of the line."""
        if all(with_unique_keys(text) is text for text in map(bytes, copied) if text):
            return
        self.text, self.mended = with_unique_keys(self.text), True
        self.entry = _decode(self.text)


class Stamp(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a record can be checked with against its trail: the last key of every JSON format."""

    event_id: str
    seq: int
    origin: str
    leaf: str
    mended: bool = False
    """Text that was not Unicode was replaced, or a key that stood twice was renamed."""


def stamp(record: Record) -> Stamp:
    """Return the stamp of a record."""
    return Stamp(record.entry.event_id, record.entry.seq, record.origin, record.leaf, record.mended)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may set of a format; each format reads what concerns it."""

    vendor: str = "Indelible"
    product: str = "Indelible"
    version: str = ""
    """The package's."""
    dialect: str = "indelible"
    """``hangar``: with what only that system's own records have."""
    host: str = ""
    """The name of the machine whose events these are; the nil value when it is empty."""
    app_name: str = "indelible"
    facility: int = 16
    """RFC 5424, section 6.2.1; 16 is local0."""
    enterprise: int = 32473
    """The private enterprise number in SD-IDs; 32473 is the one for documentation (RFC 5612)."""
    max_bytes: int = 0
    """The receiver's limit: a record is cut to it, inside its values, what identifies it kept; 0: none."""


OPERATIONS: Final = frozenset({"mcp_operation", "mcp_operation_started"})
"""What formats have a shape for that know calls alone; an intent is one of which the outcome is not known yet."""

SIEM_EVENTS: Final = frozenset({"mcp_operation", "mcp_server_state_changed", "auth_rejected", "alert"})
"""What goes to a SIEM, unless a filter says otherwise."""


class Format(Protocol):
    """Renders events. Made with `Options`; has no state that a record could change."""

    @property
    def holds(self) -> frozenset[str] | None:
        """Event types that it has a shape for; None: every one. A constant of the class will do."""

    def render(self, record: Record) -> bytes:
        """Return the record for an event that it holds, without a line end, and without one in it."""


def json_text(raw: msgspec.Raw) -> str | None:
    """Return a value's JSON text as it stands in the line, None when there is no value."""
    return bytes(raw).decode() or None


def whole(value: float | str | None) -> int | None:
    """Return a number as an integer, a half rounded to even; None for what is none, or more than JSON readers hold."""
    if value is None or isinstance(value, str) or not -MAX_INTEGER <= value <= MAX_INTEGER:
        return None
    return round(value)


def real(value: float | str | None) -> float | None:
    """Return a number; None for what is none."""
    return None if isinstance(value, str) else value
