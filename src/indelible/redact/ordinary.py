"""The bodies of ordinary events, put together from bytes that are known already. Pure.

Most events of a process differ in their ids, their times, their arguments and one digest. What stands around these
was redacted and encoded before, so it is spliced: that takes a third of the time of the long way through
`Redactor._redacted`, and touches a fraction of the memory, which counts where every call finds cold caches.

The rule that lives here: **a body made here is byte for byte what the long way makes** (a test holds the two
together), and what is unusual about an event is left alone: None means the long way.

There are two ways: of any event (`head`, `request`, `ended`), and of the intent and the outcome of a call that a
capture hands over as it stands (`started`, `concluded`), for which no event is made at all.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec
import orjson

from indelible.events import STATUS_OF_KIND, Event, Kind, Outcome, Request, Source, Target
from indelible.redact import fields
from indelible.redact.limits import SHORT_STRINGS_BYTES
from indelible.redact.payload import Payload

MAX_DIGITS: Final = 12
"""Digits of an id that can be no secret."""

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_HEX: Final = bytes.maketrans(b"123456789abcdef", b"0" * 15)
_TIME: Final = b"0000-00-00T00:00:00.000000Z"
_UUID: Final = b"00000000-0000-0000-0000-000000000000"
_TWO_UUIDS: Final = _UUID + _UUID
"""What a timestamp and ids of ours become when their digits are all made 0: a quarter of what a pattern costs."""

_TYPES: Final = {name: b'","event_type":"%b","event_id":"' % name.encode() for name in sorted(fields.TYPES)}
_OUTCOMES: Final = {
    (status, kind): f',"outcome":{{"status":"{status}","kind":"{kind}","latency_ms":'.encode()
    for status in sorted(fields.STATUSES)
    for kind in sorted(fields.KINDS)
}
_MANY: Final = 1024
_SIZES: Final = tuple(map(b"%d".__mod__, range(_MANY)))
"""How the sizes of most arguments are written: formatting a number costs more than all that is done with it here."""
_number: Final = msgspec.json.Encoder().encode
_dumps: Final = orjson.dumps


def plain(event: Event, request: Request, outcome: Outcome | None) -> bool:
    """Tell whether an event has only those parts and fields that are spliced here."""
    return (
        event.metadata is None
        and event.cost is None
        and event.state is None
        and request.trace_id is None
        and request.span_id is None
        and request.continues is None
        and (request.args is not None or request.args_bytes is None)
        and (
            outcome is None
            or (
                outcome.error is None
                and outcome.error_type is None
                and outcome.error_code is None
                and outcome.result_bytes is None
                and outcome.result_hmac is None
            )
        )
    )


_ODD: Final = "surrogatepass"
"""Half a surrogate pair is nothing usual, and no error: what it makes is told by its bytes."""


def head(event: Event, request: Request) -> tuple[list[bytes], bytes] | None:
    """Return how a body begins, up to its source, and its request; then those strings that the prefilter has to see.

    The last are JSON, and empty when there are none. None when a time, an id or the type is unusual.
    """
    timestamp, event_id, request_id = event.timestamp, event.event_id, request.request_id
    if not (type(timestamp) is type(event_id) is type(request_id) is str) or len(event_id) != len(_UUID):
        return None
    kind = _TYPES.get(event.event_type)
    time, ids = timestamp.encode("utf-8", _ODD), (event_id + request_id).encode("utf-8", _ODD)
    usual = ids.translate(_HEX)
    both = usual == _TWO_UUIDS
    if kind is None or time.translate(_DIGITS) != _TIME or not (both or usual.startswith(_UUID)):
        return None
    named = ids[36:]
    parts = [b'{"timestamp":"', time, kind, ids[:36], b"", b',"request":{"request_id":"', named]
    rpc_id, intent = request.rpc_id, request.intent
    if type(rpc_id) is str and (both or (len(ids) <= _SHORT_IDS and named.isalnum())):
        number = rpc_id.encode("utf-8", _ODD)
        if not number.isdigit() or len(number) > MAX_DIGITS:
            return _escaped(parts, request)
        if intent is not None:
            if type(intent) is not str or (opened := intent.encode("utf-8", _ODD)).translate(_HEX) != _UUID:
                return _escaped(parts, request)
            parts += (b'","intent":"', opened)
        parts += (b'","rpc_id":"', number, b'"')
        if both or len(ids) <= _SECRETLESS_IDS:
            return parts, b""
        return parts, b'"%b\\n%b"' % (named, number)
    return _escaped(parts, request)


_SHORT_IDS: Final = len(_UUID) + 64
_SECRETLESS_IDS: Final = len(_UUID) + MAX_DIGITS
"""An `event_id` and a request's id of so few letters and digits: every built-in rule asks for more, or for a sign."""


def _escaped(parts: list[bytes], request: Request) -> tuple[list[bytes], bytes] | None:
    """Do the same for a request whose ids may be any texts."""
    ids = (request.request_id, request.intent, request.rpc_id)
    parts[5:] = [b',"request":{']
    found = []
    for key, value in zip(_ID_KEYS, ids, strict=True):
        if value is not None:
            if type(value) is not str:
                return None
            parts += (key, _dumps(value))
            if value.encode().translate(_HEX) != _UUID:
                found.append(value)
    if not found:
        return parts, b""
    names = _dumps("\n".join(found))
    return (parts, names) if len(names) <= SHORT_STRINGS_BYTES else None


_ID_KEYS: Final = (b'"request_id":', b',"intent":', b',"rpc_id":')
SOURCE_AND_TARGET: Final = 4
"""Where they go in the parts that `head` gives."""


def request(parts: list[bytes], args: Payload, key_id: bytes) -> None:
    """Add arguments to a request's parts; `key_id` is encoded."""
    if args.kept is not None:
        parts += (b',"args":', args.kept)
    if args.size is not None:
        parts += (b',"args_bytes":', _SIZES[args.size] if args.size < _MANY else b"%d" % args.size)
    if args.hmac is not None:
        parts += (b',"args_hmac":"', args.hmac.encode(), b'","hmac_key_id":', key_id)


def ended(parts: list[bytes], outcome: Outcome, result: Payload) -> bool:
    """Add the outcome, which is the last part; False when a word or number of it is not of its vocabulary."""
    begin = _OUTCOMES.get((outcome.status, outcome.kind))
    latency = outcome.latency_ms
    if begin is None or type(latency) is not float or latency - latency != 0.0:
        return False
    parts += (begin, _number(latency))
    _became(parts, result)
    return True


def _became(parts: list[bytes], result: Payload) -> None:
    if result.size is not None:
        parts.append(b',"result_bytes":%d' % result.size)
    if result.hmac is not None:
        parts += (b',"result_hmac":"', result.hmac.encode(), b'"')
    if result.kept is not None:
        parts += (b',"result":', result.kept)
    parts.append(b"}}")


# --- the events of a call, without an event -----------------------------------------------------------------


class Told(Protocol):
    """A call of which nothing is to be said but what stands here: no error, trace, or metadata.

    Its `timestamp` is `events.format_time`'s, its `intent` an `events.new_id`, so neither is looked at.
    """

    timestamp: str
    source: Source
    target: Target
    request_id: str | None
    rpc_id: bytes
    """As JSON text."""
    intent: str | None
    args: Any
    outcome_id: str


def started(call: Told, event_id: str, about: bytes, arguments: bytes) -> bytes | None:
    """Return the body of a call's intent; None when an id is unusual. See `concluded`."""
    return _told(call, _STARTED, event_id, about, _NO_INTENT, arguments, b"}}")


def concluded(
    call: Told, event_id: str, kind: Kind, latency_ms: float, about: bytes, arguments: bytes, result: bytes
) -> bytes | None:
    """Return the body of a call's outcome; None when an id is unusual.

    `about` is its source and target in JSON, `arguments` and `result` come from `asked` and `became`.
    """
    intent = call.intent
    opened = _NO_INTENT if intent is None else b'","intent":"%b","rpc_id":"' % intent.encode()
    return _told(call, _ENDED, event_id, about, opened, arguments, _ENDS[kind], _number(latency_ms), result)


def _told(
    call: Told, event_type: bytes, event_id: str, about: bytes, opened: bytes, *behind: bytes
) -> bytes | None:
    number = call.rpc_id
    named = (call.request_id or "").encode("utf-8", _ODD)
    if named.translate(_HEX) != _UUID or not number.isdigit() or len(number) > MAX_DIGITS:
        return None
    parts = (
        b'{"timestamp":"',
        call.timestamp.encode(),
        event_type,
        event_id.encode(),
        about,
        b',"request":{"request_id":"',
        named,
        opened,
        number,
        *behind,
    )
    return b"".join(parts)


_STARTED: Final = _TYPES["mcp_operation_started"]
_ENDED: Final = _TYPES["mcp_operation"]
_NO_INTENT: Final = b'","rpc_id":"'
_ENDS: Final = {
    kind: f'}},"outcome":{{"status":"{status}","kind":"{kind}","latency_ms":'.encode()
    for kind, status in STATUS_OF_KIND.items()
}


def asked(args: Payload, key_id: bytes) -> bytes:
    """Return arguments as they stand behind a request's ``rpc_id``, whose quotation mark they begin with."""
    size = args.size
    if args.kept is not None and size is not None and args.hmac is not None:  # nearly always
        hmac = args.hmac.encode()
        return b'","args":%b,"args_bytes":%d,"args_hmac":"%b","hmac_key_id":%b' % (
            args.kept,
            size,
            hmac,
            key_id,
        )
    parts = [b'"']
    request(parts, args, key_id)
    return b"".join(parts)


def became(result: Payload) -> bytes:
    """Return a result as it stands behind an outcome's ``latency_ms``, with the ends of outcome and event."""
    size = result.size
    if result.kept is None and size is not None and result.hmac is not None:  # nearly always
        return b',"result_bytes":%d,"result_hmac":"%b"}}' % (size, result.hmac.encode())
    parts: list[bytes] = []
    _became(parts, result)
    return b"".join(parts)
