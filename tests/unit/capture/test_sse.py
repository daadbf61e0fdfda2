"""Event streams: however one is cut into pieces, its events are the same, and are over where a client takes them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.capture import sse
from indelible.capture.frames import SCAN_BYTES
from tests.effort import examples

END = st.sampled_from(["\n", "\r", "\r\n"])
TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=12)
LINE = st.one_of(
    st.builds("data: {}".format, TEXT),
    st.builds("data:{}".format, TEXT),
    st.sampled_from(
        ["data", "event: endpoint", "event", "id: 7", "id", "retry: 10", ": ping", ":", "datax: no"]
    ),
    TEXT,
)
EVENT = st.tuples(st.lists(st.tuples(LINE, END), max_size=5), END)
STREAM = st.builds(
    lambda bom, events: (
        bom + "".join("".join(line + end for line, end in lines) + last for lines, last in events)
    ),
    st.sampled_from(["", "\ufeff"]),
    st.lists(EVENT, max_size=6),
)


def by_the_standard(text: str) -> list[tuple[str, str]]:
    """Read a stream as WHATWG HTML, section 9.2.6 says, line by line and all at once: name and data of its events."""
    found: list[tuple[str, str]] = []
    data: list[str] = []
    name = ""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                found.append((name or "message", "\n".join(data)))
            data, name = [], ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
    return found


def read(pieces: list[bytes]) -> tuple[list[tuple[str, str]], list[tuple[int, int]], list[int]]:
    """Return the events, where each begins and ends, and after how many bytes each was given out."""
    parser, events, places, given_out, at = sse.Parser(), [], [], [], 0
    for piece in pieces:
        at += len(piece)
        for event in parser.feed(piece):
            whole = event.data.whole
            assert whole is not None
            events.append((event.name.decode(), whole.decode()))
            places.append((event.start, event.end))
            given_out.append(at)
    return events, places, given_out


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@settings(deadline=None, max_examples=examples(150))
@given(STREAM, st.lists(st.integers(0, 10_000), max_size=20))
def test_any_pieces_give_the_events_of_the_standard(text: str, at: list[int]) -> None:
    data = text.encode()
    events, places, given_out = read(cut(data, at))
    assert events == by_the_standard(text)
    assert events == read([data[i : i + 1] for i in range(len(data))])[0]
    for (start, end), (event, said), seen in zip(places, events, given_out, strict=True):
        # taken alone, what lies between says the same; a client may take it as soon as its last byte is there
        assert by_the_standard(data[start:end].decode()) == [(event, said)]
        assert seen >= end - 1
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))


def test_an_event_is_over_at_a_cr_whether_or_not_an_lf_follows() -> None:
    parser = sse.Parser()
    assert parser.feed(b"data: 1\r\n") == []
    [event] = parser.feed(b"\r")
    assert event.data.whole == b"1"
    assert parser.feed(b"\n") == []
    assert parser.between
    [event] = parser.feed(b"data: 2\n\n")
    assert (event.start, event.end) == (11, 20)


def test_what_is_between_two_events() -> None:
    parser = sse.Parser()
    assert parser.between
    parser.feed(b": a ping\n")
    assert not parser.between
    parser.feed(b"\n")
    assert parser.between
    parser.feed(b"da")
    assert not parser.between


def test_an_id_makes_a_stream_resumable_and_an_empty_one_does_not() -> None:
    parser = sse.Parser()
    parser.feed(b"id\n\nid:\ndata: x\n\n")
    assert not parser.resumable
    parser.feed(b"id: 4\ndata:\n\n")
    assert parser.resumable


def test_of_a_long_event_only_the_ends_are_kept() -> None:
    limit = 2 * SCAN_BYTES
    parser = sse.Parser(limit)
    parser.feed(b'data: {"jsonrpc":"2.0","id":7,')
    for _ in range(64):
        assert parser.feed(b"x" * SCAN_BYTES) == []
        held = parser._line
        assert held.whole is None or len(held.whole) <= limit
        assert len(held.head) + len(held.tail) <= 2 * SCAN_BYTES
    [event] = parser.feed(b',"last":1}\ndata: more\n\n')
    assert event.data.whole is None
    assert event.data.size == 30 - 6 + 64 * SCAN_BYTES + 10 + 5
    assert event.data.head.startswith(b'{"jsonrpc":"2.0","id":7,x')
    assert event.data.tail.endswith(b',"last":1}\nmore')
    [event] = parser.feed(b"data: short\n\n")
    assert event.data.whole == b"short"


@settings(deadline=None, max_examples=examples(150))
@given(st.lists(EVENT, max_size=6), st.booleans())
def test_events_that_come_each_in_a_piece_are_those_of_the_bytes(
    events: list[tuple[list[tuple[str, str]], str]], bom: bool
) -> None:
    pieces = ["".join(line + end for line, end in lines) + last for lines, last in events]
    if bom:
        pieces.insert(0, "\ufeff")
    data = "".join(pieces).encode()
    found, places, _ = read([piece.encode() for piece in pieces])
    by_bytes, their_places, _ = read([data[i : i + 1] for i in range(len(data))])
    assert found == by_bytes
    assert [start for start, _ in places] == [start for start, _ in their_places]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("event_id", ["", "id: 7", "id:", "id"])
@pytest.mark.parametrize("name", ["", "event: endpoint", "event:x", "event: " + "n" * 65])
@pytest.mark.parametrize("text", ["data: {}", "data:{}", "data:", "data:  two"])
def test_the_usual_event_is_that_of_its_bytes(end: str, event_id: str, name: str, text: str) -> None:
    piece = "".join(line + end for line in (event_id, name, text) if line) + end
    whole, cut_up = sse.Parser(), sse.Parser()
    for number in (1, 2):
        [event] = whole.feed(piece.encode())
        [other] = [event for byte in piece.encode() for event in cut_up.feed(bytes([byte]))]
        assert (event.name, event.data.whole) == (other.name, other.data.whole)
        assert (event.start, event.end) == (other.start, number * len(piece))
        assert whole.between
    assert whole.resumable == cut_up.resumable == (event_id == "id: 7")
