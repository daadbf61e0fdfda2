"""What is made of a piece of the trail, above all where lines are handed on as they stand."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from indelible.events import MAX_LINE_BYTES
from indelible.formats.record import NoEntryError, Options, Record
from indelible.registry import make_format
from indelible.shipper.batch import Renderer
from indelible.shipper.choice import INTENT
from indelible.shipper.feed import Piece
from indelible.sinks.base import Shipment
from tests.effort import examples
from tests.trails import ORIGIN, operation
from tests.unit.shipper.shipping import settings


def line(seq: int, **changes: Any) -> bytes:
    return json.dumps({"seq": seq, **operation(seq), **changes}, separators=(",", ":")).encode()


def odd(seq: int, kind: str) -> bytes:
    """Return a line that is not like the others."""
    whole = line(seq, request={"request_id": "r"})
    return {
        "intent": line(seq, event_type=INTENT),
        "a call": line(seq, source={"session_id": "s2"}, request={"request_id": f"r{seq}"}),
        "without a session": line(seq, source={"caller": "cli"}, request={"request_id": f"r{seq}"}),
        "without any": line(seq, source={}, request={}),
        "not ASCII": json.dumps(
            {"seq": seq, **operation(seq), "metadata": "é€😀"}, ensure_ascii=False
        ).encode(),
        "half a pair": whole.replace(b'"r"', rb'"\ud800 \ud83d\ude00"'),
        "half a pair elsewhere": line(seq, metadata="x").replace(b'"x"', rb'"\udc00"'),
        "erased": b'{"seq":%d,"erased":"2026-11-21T00:00:00Z","leaf":"%s"}' % (seq, b"0" * 64),
        "torn": whole[:-7],
        "no JSON": whole.replace(b'"request_id":', b'"request_id";'),
        "no UTF-8": whole.replace(b'"r"', b'"\xff"'),
        "no UTF-8 elsewhere": line(seq, metadata="x").replace(b'"x"', b'"\xff"'),
        "too long": line(seq, metadata="x" * MAX_LINE_BYTES),
        "deep": line(seq, metadata="x").replace(b'"x"', b"[" * 5_000 + b"]" * 5_000),
    }[kind]


KINDS = (
    "a call", "intent", "without a session", "without any", "not ASCII", "half a pair", "half a pair elsewhere",
    "erased", "torn", "no JSON", "no UTF-8", "no UTF-8 elsewhere", "too long", "deep",
)  # fmt: skip


KAFKA = {"type": "kafka", "brokers": ["x"], "topic": "t"}


@given(
    st.lists(st.sampled_from(KINDS), max_size=8),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "session_id", "request_id"]),
)
@hypothesis_settings(max_examples=examples(150), deadline=None)
def test_lines_that_stay_as_they_are_go_as_if_each_were_read_whole(
    kinds: list[str], intents: bool, by_value: bool, named: str | None
) -> None:
    """Reading them less far changes nothing: neither what is shipped and under which key, nor what is refused."""
    lines = [(seq, odd(seq, kind)) for seq, kind in enumerate(kinds, 5)]
    shipped, refused = [], []
    for seq, data in lines:
        try:
            entry = Record(data, ORIGIN).entry
        except NoEntryError:
            refused.append(seq)
            continue
        if entry.event_type == INTENT and not intents:
            continue
        if by_value and (entry.outcome is None or entry.outcome.status != "success"):
            continue
        session, request = entry.source.session_id, entry.request.request_id
        key = {None: session or request, "session_id": session, "request_id": request}[named] or ""
        shipped.append(Shipment(data, seq, entry.event_id, key, ORIGIN, entry.schema, data))
    kind = {} if named is None else {**KAFKA, "partition_key": named}
    asked = settings(**kind, intents=intents, **({"filter": {"status": "success"}} if by_value else {}))
    batch = Renderer(asked, make_format("indelible", Options())).batch(Piece(lines, 99, []), ORIGIN)
    assert batch.shipments == shipped
    assert [one.seq for one in batch.unfit] == refused
    assert batch.next == 99


def test_what_becomes_of_a_line_does_not_depend_on_its_neighbours() -> None:
    """A part that is not what it should be is not looked at, where the line is handed on as it stands."""
    altered = line(1, target={"backend": 5})
    renderer = Renderer(settings(), make_format("indelible", Options()))
    for lines in ([(1, altered)], [(1, altered), (2, odd(2, "torn"))]):
        assert [one.record for one in renderer.batch(Piece(lines, 3, []), ORIGIN).shipments] == [altered]
    cef = Renderer(settings(format="cef"), make_format("cef", Options()))
    assert [one.seq for one in cef.batch(Piece([(1, altered)], 2, []), ORIGIN).unfit] == [1]


def test_a_format_that_returns_no_bytes_makes_no_record() -> None:
    """A sink would fail at it again and again, and never get further."""

    class Text:
        holds: frozenset[str] | None = None

        def render(self, record: Record) -> bytes:
            return record.leaf if record.entry.seq == 1 else b"fine"  # type: ignore[return-value]

    piece = Piece([(seq, line(seq)) for seq in range(3)], 3, [])
    found = Renderer(settings(format="text"), Text()).batch(piece, ORIGIN)
    assert [one.seq for one in found.shipments] == [0, 2]
    assert [(one.seq, one.reason) for one in found.unfit] == [
        (1, "text: TypeError: its record is str, not bytes")
    ]
