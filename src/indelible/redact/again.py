"""A second look at events that somebody else has made: what arrives over a service's socket.

The rule that lives here: **nothing of what arrived is written as it came.** A body is decoded to the schema, every
text in it goes through the same rules as an event of one's own, and the line is encoded anew from what that gave. So a
key that stands twice, a type that is none, or a line that every reader takes for something else cannot get in; and what
was redacted already comes out byte for byte.

What a client says that it lost (`audit_gap`) is marked as its claim: the trail's own gaps are what nobody can forge.

Arguments with a digest were redacted by who sent them: they are looked through again, and size and digest stay. Those
without one are originals, and are done as one's own: redacted, measured, digested. The same holds for results.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, get_args

import msgspec
import orjson
from msgspec import UNSET, Raw, UnsetType

from indelible import events
from indelible.config import RecordMode, RecordRules, RedactionSettings
from indelible.errors import EventError
from indelible.events import MAX_BODY_BYTES, STATUS_OF_KIND, ClientEventType, Event, RecorderId
from indelible.redact.limits import MAX_ARGS_BYTES, MAX_RESULT_BYTES, NAME_CACHE
from indelible.redact.payload import Payload
from indelible.redact.redactor import Prepared, Redactor
from indelible.redact.rules import Modes
from indelible.redact.texts import Texts

MAX_REASON_CHARS: Final = 300
"""Characters of what a client is told of an event that is not taken."""

CLAIMED: Final = "claimed"
"""In the metadata of an `audit_gap` that a client has sent."""

_CACHED_BYTES: Final = 512
"""Encoded parts up to this size are known again."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_HMAC: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_NOT_LOCAL: Final = frozenset(get_args(events.EventType)) - frozenset(get_args(ClientEventType))


class _Source(events.Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Target(events.Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Policy(events.Policy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Cost(events.Cost, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _State(events.State, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Request(events.Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    args: Raw | UnsetType = UNSET


class _Outcome(events.Outcome, frozen=True, kw_only=True, forbid_unknown_fields=True):
    result: Raw | UnsetType = UNSET


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    timestamp: str
    event_type: ClientEventType
    event_id: str
    source: Raw = Raw(b"null")
    target: Raw = Raw(b"null")
    request: _Request | None = None
    policy: Raw = Raw(b"null")
    outcome: _Outcome | None = None
    cost: Raw = Raw(b"null")
    state: Raw = Raw(b"null")
    metadata: Raw = Raw(b"null")


class _Gap(msgspec.Struct):
    lost: int


class _Kind(msgspec.Struct):
    event_type: str = ""


_decode: Final = msgspec.json.Decoder(_Body).decode
_decode_kind: Final = msgspec.json.Decoder(_Kind).decode


class Checked(NamedTuple):
    """An event that may be written: its body, and the intent that it opens or closes (an `event_id`; else empty)."""

    body: bytes
    event_id: str
    opens: str
    closes: str


class Rules:
    """What one service looks for: compiled once for all whose events it takes."""

    def __init__(
        self,
        settings: RedactionSettings,
        *,
        record_args: RecordMode | RecordRules = "full",
        record_results: RecordMode | RecordRules = "digest",
    ) -> None:
        """Compile the configuration. Raises ConfigError, one line, for a pattern that RE2 does not take."""
        self.settings = settings
        self.texts = Texts(settings)
        self.record_args = Modes(record_args)
        self.record_results = Modes(record_results)


class Again(Redactor):
    """Checks and redacts the events of one client. Used by one thread."""

    def __init__(
        self, rules: Rules, recorder: RecorderId, digest_key: tuple[bytes, str], token_key: bytes = b""
    ) -> None:
        """Know a client as `recorder`, which stands in all its events; `digest_key` is key and id."""
        super().__init__(
            rules.settings,
            hmac_key=digest_key[0],
            hmac_key_id=digest_key[1],
            record_args=rules.record_args,
            record_results=rules.record_results,
            recorder=recorder,
            texts=rules.texts,
            token_key=token_key,
        )
        self._who = recorder
        self._names = {recorder.id, "" if self._recorder is None else self._recorder.id}
        """Its name, and what the rules leave of it."""
        self._key_known = digest_key[1]
        self._parts: dict[tuple[type[Any], bytes], Any] = {}
        self._claims = False
        """The event at hand says what somebody lost: nobody here can know that."""

    def check(self, body: bytes) -> Checked:
        """Return an event as it may be written. Raises EventError, one line, saying why it may not."""
        try:
            found = _decode(body)
            event = self._event(found)
        except RecursionError:
            msg = "it is nested too deep"
            raise EventError(msg) from None
        except (
            ValueError
        ) as exc:  # what msgspec raises for JSON that is none, and for what is not of the schema
            raise EventError(_why(body, exc)) from None
        self._claims = event.event_type == "audit_gap"
        line = self.redact(event)
        request = event.request
        opens = event.event_id if event.event_type == "mcp_operation_started" else ""
        closes = (request.intent or "") if request is not None and event.event_type == "mcp_operation" else ""
        return Checked(line, event.event_id, opens, closes)

    def _event(self, found: _Body) -> Event:
        """Return the event that a body holds; raises ValueError, saying what is wrong with it."""
        if not _UUID(found.event_id):
            raise ValueError("event_id: expected a UUID in lower case")
        if found.event_type == "mcp_operation" and found.outcome is None:
            raise ValueError("an mcp_operation has an outcome")
        source = self._source_of(bytes(found.source))
        target = self._part(_Target, bytes(found.target))
        metadata = bytes(found.metadata)
        if found.event_type == "audit_gap" and not _says_how_many(metadata):
            raise ValueError("an audit_gap says in metadata.lost how many events were lost, a number from 1 on")
        if metadata != b"null" and metadata[:1] != b"{":
            raise ValueError("metadata: expected an object")
        return Event(
            timestamp=_time(found.timestamp),
            event_type=found.event_type,
            event_id=found.event_id,
            source=source,
            target=target,
            request=None if found.request is None else self._asked(found.request, target),
            policy=self._part(_Policy, bytes(found.policy)),
            outcome=None if found.outcome is None else self._ended(found.outcome, target),
            cost=self._part(_Cost, bytes(found.cost)),
            state=self._part(_State, bytes(found.state)),
            metadata=None if metadata == b"null" else found.metadata,  # type: ignore[arg-type]  # still encoded
        )

    def _metadata(self, metadata: Any, notes: dict[str, Any]) -> Any:
        """Say of a gap who claims it, whatever stood there: only what the service itself lost stands without that."""
        kept = super()._metadata(metadata, notes)
        if self._claims:
            notes[CLAIMED] = True
        return kept

    def _part(self, kind: type[Any], raw: bytes) -> Any:
        """Decode a part, or find that done: the same object for the same bytes, by which the redactor knows it."""
        if raw == b"null":
            return None
        key = (kind, raw)
        part = self._parts.get(key)
        if part is None:
            part = msgspec.json.decode(raw, type=kind)
            if len(raw) <= _CACHED_BYTES:
                if len(self._parts) >= NAME_CACHE:
                    self._parts.clear()
                self._parts[key] = part
        return part

    def _source_of(self, raw: bytes) -> Any:
        source = self._part(_Source, raw)
        if source is None:
            return self._part(_Source, b"{}")
        said, who = source.recorder, self._who
        if said is not None and (
            said.id not in self._names or said.uid not in (None, who.uid) or said.pid not in (None, who.pid)
        ):
            raise ValueError("it names another recorder than the socket's")
        return source

    def _asked(self, request: _Request, target: Any) -> Any:
        args: Any = _given(request.args)
        if request.args_hmac is not None:
            self._own_digest("request", request.args_hmac, request.hmac_key_id)
            done = self._sealed(
                request.args,
                self._record_args.of(target),
                MAX_ARGS_BYTES,
                request.args_bytes,
                request.args_hmac,
            )
            args = Prepared(None, target, self._schemas.learned, done)
        return events.Request(
            request_id=request.request_id,
            intent=request.intent,
            rpc_id=request.rpc_id,
            trace_id=request.trace_id,
            span_id=request.span_id,
            continues=request.continues,
            args=args,
            args_bytes=request.args_bytes,
        )

    def _ended(self, outcome: _Outcome, target: Any) -> Any:
        if STATUS_OF_KIND[outcome.kind] != outcome.status:
            raise ValueError(f"outcome: of kind {outcome.kind} the status is {STATUS_OF_KIND[outcome.kind]}")
        result: Any = _given(outcome.result)
        if outcome.result_hmac is not None:
            if not _HMAC(outcome.result_hmac):
                raise ValueError("outcome.result_hmac: expected 64 hex digits")
            done = self._sealed(
                outcome.result,
                self._record_results.of(target),
                MAX_RESULT_BYTES,
                outcome.result_bytes,
                outcome.result_hmac,
            )
            result = Prepared(None, None, None, done)
        return events.Outcome(
            status=outcome.status,
            kind=outcome.kind,
            latency_ms=outcome.latency_ms,
            error=outcome.error,
            error_type=outcome.error_type,
            error_code=outcome.error_code,
            result_bytes=None if type(result) is Prepared else outcome.result_bytes,
            result=result,
        )

    def _last_resort(self, event: object, exc: Exception) -> bytes:
        """Say of it, too, who sent it."""
        said = orjson.loads(super()._last_resort(event, exc))
        source = msgspec.to_builtins(events.Source(recorder=self._recorder))
        if self._claims:
            said["metadata"][CLAIMED] = True
        return orjson.dumps({**said, "source": source})

    def _own_digest(self, part: str, digest: str, key_id: str | None) -> None:
        """Refuse a digest that nobody could check: it is not under this client's key."""
        if not _HMAC(digest):
            raise ValueError(f"{part}.args_hmac: expected 64 hex digits")
        if key_id != self._key_known:
            raise ValueError(
                f"{part}.hmac_key_id: expected {self._key_known}, the id that came with the welcome"
            )

    def _sealed(
        self, kept: Raw | UnsetType, mode: RecordMode, cap: int, size: int | None, digest: str
    ) -> Payload:
        """Look through what is left of a payload that was redacted before; its size and digest are the original's."""
        if size is None or not 0 <= size <= events.MAX_INTEGER:
            raise ValueError("a digest stands beside the size of what it is of, in bytes")
        if mode == "full" and kept is not UNSET:
            return Payload(self._payloads.again(kept, cap), size, digest)
        return Payload(None, size, None if mode == "none" else digest)


def _says_how_many(metadata: bytes) -> bool:
    try:
        return 0 < msgspec.json.decode(metadata, type=_Gap).lost <= events.MAX_INTEGER
    except (ValueError, RecursionError):
        return False


def _given(payload: Raw | UnsetType) -> Raw | None:
    """Return an original payload; null is none."""
    return None if payload is UNSET or bytes(payload) == b"null" else payload


def _time(text: str) -> str:
    """Return a time in the trail's form (UTC, microseconds); raises ValueError for what is none."""
    if not _TIME(text):
        raise ValueError("timestamp: expected RFC 3339, such as 2026-11-21T05:38:34.123456Z")
    try:
        when = datetime.fromisoformat(text)
        if len(text) == 27 and text[-1] == "Z":
            return text
        return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise ValueError("timestamp: there is no such time") from None


def _why(body: bytes, exc: ValueError) -> str:
    """Say in one line why a body is not taken."""
    if len(body) > MAX_BODY_BYTES:
        return f"longer than {MAX_BODY_BYTES} bytes"
    try:
        kind = _decode_kind(body).event_type
    except (ValueError, RecursionError):
        kind = ""
    if kind in _NOT_LOCAL:
        return f"{kind} is an event of the trail's own; a client does not record it"
    for stamp in ("seq", "schema", "recorded_at"):
        if f"unknown field `{stamp}`" in str(exc):
            return "it carries stamps that only the writer gives"
    said = " ".join(str(exc).split())
    return f"not an event: {said}"[:MAX_REASON_CHARS]
