"""What goes over `writer.sock`: messages cut from a stream, and what an event must be to become a line."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import WireError
from indelible.events import MAX_BODY_BYTES, Event, RecorderId, Request, Source, encode_body, new_id, now
from indelible.trail.entry import parse_line, stamp
from indelible.trail.sharing import wire

EVENT_ID = "4a2f9a52-7b1e-4d0e-9d0a-0c8f6f0b7a11"
RECORDER = RecorderId(id="wrap:files", uid=1000, pid=4711)


def event(**more: Any) -> dict[str, Any]:
    return {
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "event_type": "mcp_operation",
        "event_id": EVENT_ID,
        "source": {"caller": "library", "recorder": {"id": "wrap:files", "uid": 1000, "pid": 4711}},
        **more,
    }


def refusal(body: bytes, event_id: str = EVENT_ID) -> str | None:
    return wire.check_body(wire.Put(1, event_id, msgspec.Raw(body)), "wrap:files", 1000, 4711)


PLAIN = orjson.dumps(event())
SAID = wire.said_by("wrap:files", 1000, 4711)

MESSAGES: list[wire.ToHolder | wire.ToRecorder] = [
    wire.Hello(wire.VERSION, "wrap:files", 4711),
    wire.Hello(wire.VERSION, "wrap:files", 4711, own=True),
    wire.Put(1, EVENT_ID, msgspec.Raw(b'{"a":1}')),
    wire.Put(2**53, EVENT_ID, msgspec.Raw(b'{"a":[1,"\\n"]}'), EVENT_ID, "other", again=True, deaths=3),
    wire.Ask(),
    wire.Order(msgspec.Raw(b'{"order":"retain"}')),
    wire.Bye(),
    wire.Welcome(wire.VERSION, "origin", "disk", 256, "00ff", "id"),
    wire.Refused("no"),
    wire.Refused("no such hold", 1),
    wire.Done(msgspec.Raw(b'{"files":[1,2]}')),
    wire.Ack(7),
    wire.Nack(8, "disk full: “quoted” \n"),
    wire.HolderState([wire.RecorderState("r", 1, 2, 3, 4, 5)]),
    wire.HolderState([], orders=["retain"]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_out_as_it_went_in(message: Any) -> None:
    (raw,) = wire.Messages().feed(wire.pack(message))
    sides = [
        (wire.ToHolder, wire.decode_to_holder),
        (wire.ToRecorder, wire.decode_to_recorder),
    ]
    for types, decode in sides:
        if isinstance(message, types):
            found: Any = decode(raw)
            assert msgspec.json.encode(found) == msgspec.json.encode(message)
            assert type(found) is type(message)


def test_no_message_type_is_left_out() -> None:
    everything = {*wire.ToHolder.__args__, *wire.ToRecorder.__args__}
    assert {type(message) for message in MESSAGES} == everything


def test_neither_side_takes_the_other_sides_messages() -> None:
    with pytest.raises(ValueError, match="Invalid value"):
        wire.decode_to_holder(wire.pack(wire.Ack(1))[wire.LENGTH_BYTES :])
    with pytest.raises(ValueError, match="Invalid value"):
        wire.decode_to_recorder(wire.pack(wire.Hello(1, "r", 1))[wire.LENGTH_BYTES :])


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_any_split_of_the_stream_gives_the_same_messages(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    messages, found = wire.Messages(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += messages.feed(stream[start:end])
    assert found == bodies
    assert not messages.partial


@given(st.binary(min_size=1, max_size=100), st.integers(1, 103))
def test_a_stream_that_ends_within_a_message_says_so(body: bytes, missing: int) -> None:
    stream = len(body).to_bytes(4, "big") + body
    messages = wire.Messages()
    assert messages.feed(stream[: max(1, len(stream) - missing)]) == []
    assert messages.partial


@pytest.mark.parametrize("size", [0, wire.MAX_MESSAGE + 1, 2**31, 2**32 - 1])
def test_a_hostile_length_is_refused_before_anything_is_kept(size: int) -> None:
    messages = wire.Messages()
    with pytest.raises(WireError, match=f"{size} bytes"):
        messages.feed(size.to_bytes(4, "big"))


def test_the_longest_event_fits_a_message() -> None:
    body = b'{"x":"' + b"y" * (MAX_BODY_BYTES - 8) + b'"}'
    assert len(body) == MAX_BODY_BYTES
    put = wire.Put(2**53, EVENT_ID, msgspec.Raw(body), EVENT_ID, EVENT_ID, again=True, deaths=2**53)
    (raw,) = wire.Messages().feed(wire.pack(put))
    found = wire.decode_to_holder(raw)
    assert isinstance(found, wire.Put)
    assert bytes(found.body) == body


# --- what may become a line ---------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False,
    allow_infinity=False) | st.text() | st.integers(-(2**53), 2**53), lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8), max_size=5))  # fmt: skip
def test_what_our_own_recorder_encodes_is_taken(args: dict[str, Any]) -> None:
    made = Event(
        timestamp=now(),
        event_type="mcp_operation",
        event_id=new_id(),
        source=Source(caller="library", recorder=RECORDER),
        request=Request(args=args),
    )
    body = encode_body(made)
    assert refusal(body, made.event_id) is None
    assert wire.looks_own(wire.Put(1, made.event_id, msgspec.Raw(body)), SAID)


@pytest.mark.parametrize(
    "body",
    [
        PLAIN.replace(b"wrap:files", b"wrap:other"),
        PLAIN.replace(b"4711", b"4712"),
        PLAIN.replace(b'"uid":1000', b'"uid":0'),
        PLAIN.replace(b"4a2f9a52", b"5a2f9a52"),
        PLAIN.replace(b",", b",\n", 1),
        PLAIN + b"\n" + PLAIN,
        PLAIN[:-2],
        b'{"seq":1,' + PLAIN[1:],
        b" " + PLAIN,
        PLAIN[:-1] + b',"metadata":{"x":"' + b"y" * 66_000 + b'"}}',
        orjson.dumps({"metadata": {"x": "y" * 500}, **event()}),
    ],
)
def test_what_looks_like_nobodys_own_is_parsed(body: bytes) -> None:
    assert not wire.looks_own(wire.Put(1, EVENT_ID, msgspec.Raw(body)), SAID)


@pytest.mark.parametrize("key", ["seq", "schema", "recorded_at"])
def test_the_writers_stamps_are_refused(key: str) -> None:
    assert refusal(orjson.dumps(event(**{key: 1}))) == "it carries stamps that only the writer gives"
    escaped = orjson.dumps(event(**{key: 1})).replace(
        f'"{key}"'.encode(), f'"\\u{ord(key[0]):04x}{key[1:]}"'.encode()
    )
    assert escaped.count(b"\\u00") == 1
    assert refusal(escaped) == "it carries stamps that only the writer gives"


@pytest.mark.parametrize("other", [{"id": "other"}, {"uid": 0}, {"pid": 1}, {"uid": 1000.0}, {"pid": None}])
def test_another_recorder_is_refused(other: dict[str, Any]) -> None:
    body = event()
    body["source"]["recorder"] |= other
    assert refusal(orjson.dumps(body)) == "it names another recorder than the socket's"


def test_another_id_is_refused() -> None:
    assert refusal(orjson.dumps(event()), new_id()) == "it was sent under another id"


DEEP = b"[" * 2000 + b"]" * 2000
AMBIGUOUS = [
    PLAIN[:-1] + b',"event_id":"' + EVENT_ID.encode() + b'"}',
    PLAIN[:-1] + b',"source":' + orjson.dumps(event()["source"]) + b"}",
    PLAIN.replace(b'"recorder":{"id":"wrap:files"', b'"recorder":{"id":"someone","id":"wrap:files"'),
    PLAIN[:-1] + b',"metadata":{"a":1,"\\u0061":2}}',
]


@pytest.mark.parametrize("body", AMBIGUOUS, ids=["id", "source", "recorder", "escaped"])
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    assert refusal(body) == "a key stands in it twice"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b" " + PLAIN,
        PLAIN.replace(b",", b",\n", 1),
        PLAIN + b"\n" + PLAIN,
        PLAIN[:-2],
        PLAIN + b"}",
        PLAIN[:-1] + b',"metadata":{"x":"\xff"}}',
        PLAIN[:-1] + b',"metadata":{"x":"\xed\xa0\x80"}}',
        PLAIN[:-1] + b',"metadata":{"x":"\\ud800"}}',
        PLAIN[:-1] + b',"metadata":{"x":1e999}}',
        PLAIN[:-1] + b',"metadata":{"x":' + b"9" * 400 + b"}}",
        PLAIN[:-1] + b',"metadata":{"x":' + DEEP + b"}}",
        PLAIN[:-1] + b',"metadata":{"x":' + b"[" * 300 + b"]" * 300 + b"}}",  # read by all, written by none of ours
        PLAIN[:-1] + b',"metadata":{"x":"' + b"y" * 66_000 + b'"}}',
        orjson.dumps({key: value for key, value in event().items() if key != "event_type"}),
        orjson.dumps({key: value for key, value in event().items() if key != "source"}),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(body: bytes) -> None:
    assert refusal(body) in {"not one JSON object on one line", "not an event"}


def test_an_id_that_a_new_holder_would_not_find_is_refused() -> None:
    late = {"metadata": {"x": "y" * 500}, **event()}
    hidden = {"metadata": {"event_id": new_id()}, **event()}
    for body in (late, hidden):
        assert refusal(orjson.dumps(body)) == "its id does not stand at its head"


@given(st.binary(max_size=60), st.integers(0, len(PLAIN)))
def test_whatever_is_taken_can_be_read_back(garbage: bytes, at: int) -> None:
    body = PLAIN[:at] + garbage + PLAIN[at:]
    if refusal(body) is None:
        entry = parse_line(stamp(5, "2026-01-01T00:00:00.000000Z", body))
        assert entry is not None
        assert (entry["seq"], entry["event_id"]) == (5, EVENT_ID)
