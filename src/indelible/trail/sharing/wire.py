"""What a recorder says to the process that holds the trail, and what it is told. Pure.

A message is four bytes of length, big-endian, and so many bytes of JSON: one object whose ``t`` says what it is. The
recorder begins with `Hello` and is answered with `Welcome` or `Refused`; then it sends `Put` after `Put`, numbered
1, 2, 3 … on this connection, at most `Welcome.window` of them ahead of what was acknowledged. `Ack` is cumulative:
every event up to `n` is in the trail, at the trail's durability. `Nack` says that one event is not, and why; those
around it are not touched. Whoever meant to close says `Bye`, so that the other need not think that it died.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw

from indelible.errors import WireError
from indelible.events import MAX_BODY_BYTES, RecorderId
from indelible.trail.entry import BEGIN

VERSION: Final = 1
LENGTH_BYTES: Final = 4

MAX_MESSAGE: Final = MAX_BODY_BYTES + 4096
"""Bytes of one message: the longest event and what stands around it. Who announces more is cut off."""

WINDOW: Final = 256
"""Events of one recorder that may be on their way."""

MAX_RECORDERS: Final = 64
"""Recorders at a time."""

MAX_RECORDER_CHARS: Final = 256

HEAD_BYTES: Final = 400
"""Bytes of an event in which its id stands: a new holder looks no further in each line (see `recent`)."""

REMEMBERED: Final = WINDOW * MAX_RECORDERS
"""Events that a new holder knows again: all that were on their way to the last one, though they are in the trail."""

TOLD_EVERY: Final = REMEMBERED // 8
"""After so many more lines of the trail a recorder is told how many there are."""


class Hello(msgspec.Struct, tag_field="t", tag="hello", frozen=True, omit_defaults=True):
    """The first message: who will record. `pid` is checked against the socket's credentials."""

    v: int
    recorder: str
    pid: int
    own: bool = False
    """Its events were encoded by this package: see `looks_own`."""


class Put(msgspec.Struct, tag_field="t", tag="put", frozen=True, omit_defaults=True, gc=False):
    """One redacted event, without the stamps that the writer gives."""

    n: int
    id: str
    """Its `event_id`."""
    body: Raw
    opens: str = ""
    """The `event_id` of the intent that it is."""
    closes: str = ""
    """That of the intent whose outcome it is."""
    again: bool = False
    """It was on its way to an earlier holder: it may be in the trail already."""
    deaths: int = 0
    """How many holders died while it was on its way to them."""
    since: int = -1
    """The trail had so many lines at least before it was sent first: it is at none of their places."""


class Ask(msgspec.Struct, tag_field="t", tag="ask", frozen=True):
    """Asks how the holder is; instead of `Hello`."""


class Order(msgspec.Struct, tag_field="t", tag="order", frozen=True):
    """Tells the holder to change the trail (see `orders`); instead of `Hello`, or after `Ask`."""

    order: Raw


class Bye(msgspec.Struct, tag_field="t", tag="bye", frozen=True):
    """The sender closes the connection, and means to."""


class Welcome(msgspec.Struct, tag_field="t", tag="welcome", frozen=True):
    """The trail takes this recorder's events."""

    v: int
    origin: str
    durability: str
    window: int
    digest_key: str
    """Hex: the recorder's own, derived from one that it never sees."""
    digest_key_id: str
    service: bool = False
    """The trail is another user's: this recorder never takes it over, but comes back to this socket."""
    uid: int = -1
    """The recorder's user, as the kernel says, and as it stands in its events."""
    pid: int = 0
    """Its process, likewise."""
    life: str = ""
    """Random, and another one for every process that holds the trail: has the holder died?"""
    size: int = 0
    """How many lines the trail has."""
    token_key: str = ""
    """Hex: that of the tokens that stand for secrets, the same for all recorders of this user."""


class Refused(msgspec.Struct, tag_field="t", tag="refused", frozen=True):
    """It does not, and closes; or it does not carry an order out."""

    error: str
    code: int = 3
    """The exit code of the command that gave the order: 1 the answer is "no", 2 a wrong order, 3 it could not."""


class Done(msgspec.Struct, tag_field="t", tag="done", frozen=True):
    """The order was carried out."""

    result: Raw


class Ack(msgspec.Struct, tag_field="t", tag="ack", frozen=True, omit_defaults=True):
    """All events up to `n` for which there was no `Nack` are in the trail."""

    n: int
    size: int = 0
    """How many lines the trail has; said now and then, also to who has sent nothing."""


class Nack(msgspec.Struct, tag_field="t", tag="nack", frozen=True):
    """Event `n` is not in the trail."""

    n: int
    error: str


class RecorderState(msgspec.Struct, frozen=True):
    """One recorder, as `indelible status` shows it."""

    recorder: str
    pid: int
    uid: int
    recorded: int
    waiting: int
    """Events that came and are not acknowledged: what back-pressure is seen by; at most `WINDOW`."""
    open_calls: int


class UserState(msgspec.Struct, frozen=True):
    """One user at a service, as `indelible status` shows him."""

    uid: int
    connections: int
    waiting: int
    held: bool
    """Nothing of his is read just now: he is over a quota."""
    turned_away: int
    """Connections that were one too many, since the service began."""
    held_back: int
    """So often nothing of his was read, for being over a quota."""
    refused: int
    """Events of his that were none, or not his to record."""
    recorders: int = 0
    """How many of his connections have said hello."""
    overtime: int = 0
    """So often of these for the time that his events took."""
    busy_s: float = 0.0
    """CPU time that the service has spent on him, in seconds."""
    open_calls: int = 0
    open_bytes: int = 0
    """What their intents hold, which are kept in memory."""


class HolderState(msgspec.Struct, tag_field="t", tag="state", frozen=True):
    """The answer to `Ask`."""

    recorders: list[RecorderState]
    window: int = WINDOW
    orders: list[str] = []
    """The orders that it carries out."""
    users: list[UserState] = []
    """At a service: who may record, and what was kept from whom."""


ToHolder = Hello | Put | Ask | Order | Bye
ToRecorder = Welcome | Refused | Done | Ack | Nack | HolderState | Bye

_length_at: Final = struct.Struct(">I").unpack_from
_encode: Final = msgspec.json.Encoder().encode
decode_to_holder: Final = msgspec.json.Decoder(ToHolder).decode
decode_to_recorder: Final = msgspec.json.Decoder(ToRecorder).decode


def pack(message: ToHolder | ToRecorder) -> bytes:
    """Return a message as it goes over the socket."""
    encoded = _encode(message)
    return len(encoded).to_bytes(LENGTH_BYTES, "big") + encoded


class Messages:
    """Cuts a stream of bytes into messages."""

    def __init__(self, longest: int = MAX_MESSAGE) -> None:
        """Start with nothing; a message of more than `longest` bytes is not taken."""
        self._rest = b""
        self._longest = longest

    @property
    def partial(self) -> bool:
        """Whether the stream stands within a message."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return the messages that are whole now, as JSON. Raises WireError."""
        data = self._rest + data if self._rest else data
        found, at, longest, length = [], 0, self._longest, len(data)
        while length - at >= LENGTH_BYTES:
            size = _length_at(data, at)[0]
            if not 0 < size <= longest:
                msg = f"a message of {size} bytes was announced; at most {longest} are taken"
                raise WireError(msg)
            begin = at + LENGTH_BYTES
            end = begin + size
            if length < end:
                break
            found.append(data[begin:end])
            at = end
        self._rest = data[at:]
        return found


def said_by(recorder: str, uid: int, pid: int) -> bytes:
    """Return how this package encodes in an event who has recorded it."""
    return b'"recorder":' + _encode(RecorderId(id=recorder, uid=uid, pid=pid))


def looks_own(put: Put, said: bytes) -> bool:
    """Tell whether a body is as this package encodes one by the recorder that is `said`, as far as its outside shows.

    That is enough for what a process sends of which it is known that it encodes by this package, and that could write
    the trail's files as well: to parse each event a second time is half of what it costs the holder.
    """
    body = bytes(put.body)
    return (
        len(body) <= MAX_BODY_BYTES
        and body.startswith(BEGIN)
        and body.endswith(b"}}")
        and said in body
        and body.find(b'%b%b"' % (_ID_KEY, put.id.encode()), 0, HEAD_BYTES) > 0
        and _LF not in body
    )


def check_body(put: Put, recorder: str, uid: int, pid: int) -> str | None:
    """Return why an event must not become a line of the trail; None when it may.

    It has to be one object on one line that every reader of the trail takes for the same: a line that `parse_line`
    refuses is where a repair cuts the trail. It has to carry the id under which it was sent, at its head, and the
    recorder that the socket is known to belong to, and none of the writer's stamps.
    """
    body = bytes(put.body)
    if len(body) > MAX_BODY_BYTES or body[:1] != b"{" or _LF in body:
        return "not one JSON object on one line"
    try:
        event = orjson.loads(body)
        is_ours = orjson.dumps(event) == body  # what we encode ourselves comes out the same
    except (ValueError, TypeError):  # no JSON; so deep that nobody could encode it again
        return "not an event"
    if not is_ours and not _is_unambiguous(body):
        return "a key stands in it twice"
    wrong = _check_event(event, put.id, recorder, uid, pid)
    if wrong is not None:
        return wrong
    at = body.find(_ID_KEY, 0, HEAD_BYTES)
    if at < 0 or not body.startswith(b'%b"' % put.id.encode(), at + len(_ID_KEY), HEAD_BYTES):
        return "its id does not stand at its head"
    return None


def _check_event(event: dict[str, Any], event_id: str, recorder: str, uid: int, pid: int) -> str | None:
    if "seq" in event or "schema" in event or "recorded_at" in event:
        return "it carries stamps that only the writer gives"
    source = event.get("source")
    said = source.get("recorder") if type(source) is dict else None
    if (
        type(said) is not dict
        or type(event.get("timestamp")) is not str
        or type(event.get("event_type")) is not str
    ):
        return "not an event"
    its_uid, its_pid = said.get("uid"), said.get("pid")
    if (
        its_uid != uid or its_pid != pid or said.get("id") != recorder
        or type(its_uid) is not int or type(its_pid) is not int
    ):  # True == 1 here, and nowhere else  # fmt: skip
        return "it names another recorder than the socket's"
    return None if event.get("event_id") == event_id else "it was sent under another id"


_ID_KEY: Final = b'"event_id":"'
_LF: Final = 10
"""``b"\n" in body`` takes ten times as long."""


def _is_unambiguous(body: bytes) -> bool:
    def refuse_twins(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError

    try:
        json.loads(body, object_pairs_hook=refuse_twins)
    except (ValueError, RecursionError):
        return False
    return True
