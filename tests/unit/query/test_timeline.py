"""A timeline joins what belongs together, puts it in the order in which it began, and all on one scale."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.query.timeline import Span, Timeline, extent, make_timeline
from indelible.trail.entry import stamp
from tests.effort import examples
from tests.trails import START_NS, at, encode, operation

START = START_NS // 1000


def call(number: int, begin: float, took_ms: float | None, **changes: Any) -> bytes:
    """Return the line of a call that began so many seconds after the start."""
    outcome: dict[str, Any] = {"status": "success", "kind": "completed"}
    if took_ms is not None:
        outcome["latency_ms"] = took_ms
    body = operation(number, timestamp=at(begin), outcome=outcome, **changes)
    return stamp(number, at(begin + (took_ms or 0) / 1000), encode(body))


def intent(number: int, begin: float, event_id: str) -> bytes:
    body = operation(
        number, timestamp=at(begin), event_type="mcp_operation_started", event_id=event_id, outcome=None
    )
    return stamp(number, at(begin), encode(body))


def test_an_intent_and_its_outcome_are_one_call() -> None:
    lines = [intent(0, 1, "i0"), intent(1, 2, "i1"), call(2, 1, 3000, request__intent="i0")]
    timeline = make_timeline(lines)
    assert [(item.at, item.took, item.open) for item in timeline.items] == [
        (START + 1_000_000, 3_000_000, False),
        (START + 2_000_000, None, True),
    ]
    assert timeline.whole == (START + 1_000_000, START + 4_000_000)


def test_what_began_first_comes_first_though_it_ended_last() -> None:
    lines = [call(0, 2, 10), call(1, 1, 20), call(2, 0, 9000)]
    timeline = make_timeline(lines)
    assert [item.at - START for item in timeline.items if item.at is not None] == [0, 1_000_000, 2_000_000]
    assert timeline.folds == []  # something was under way all the time


def test_a_long_silence_is_folded_and_a_steady_rhythm_is_not() -> None:
    paced = make_timeline([call(number, 20 * number, 10) for number in range(60)])
    assert paced.folds == []
    broken = make_timeline([call(0, 0, 1000), call(1, 3600, 1000), call(2, 3601.5, 1000)])
    assert broken.folds == [(START + 1_000_000, START + 3_600_000_000)]
    assert broken.shown == 3_500_000
    assert broken.place(START + 3_600_000_000) == broken.place(START + 1_000_000) == 1_000_000
    assert broken.place(START + 3_601_500_000) == 2_500_000


def test_no_line_decides_the_scale_by_a_latency_that_it_did_not_have() -> None:
    forged = operation(
        1, timestamp=at(1), outcome={"status": "success", "kind": "completed", "latency_ms": 1e15}
    )
    timeline = make_timeline([call(0, 0, 10), stamp(1, at(2), encode(forged))])
    assert timeline.whole.length == 2_000_000
    assert timeline.items[1].took == 10**18


HOSTILE: list[object] = [
    "x",
    "",
    None,
    True,
    -1,
    1e308,
    10**400,
    {},
    [],
    "2026-13-01",
    "2026-11-21T05:38:34",
    "9999-12-31T23:59:59Z",
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(
    "place", ["timestamp", "latency_ms", "outcome", "source", "name", "event_id", "intent"]
)
def test_what_has_no_shape_hides_nothing(place: str, value: object) -> None:
    body = operation(1, timestamp=at(1))
    holder = {"latency_ms": "outcome", "name": "target", "intent": "request"}.get(place)
    key = "capability_name" if place == "name" else place
    (body[holder] if holder else body)[key] = value
    timeline = make_timeline([call(0, 0, 10), stamp(1, at(1), json.dumps(body).encode()), call(2, 2, 10)])
    assert len(timeline.items) == 3
    assert [item.at for item in timeline.items if item.at in (START, START + 2_000_000)]


def test_of_a_line_that_says_nothing_there_is_still_an_item() -> None:
    assert make_timeline([]) == Timeline([], Span(0, 0), [])
    unreadable = stamp(3, at(5), b'{"metadata":' + b"9" * 500 + b"}")
    erased = b'{"seq":7,"erased":"x","leaf":"y"}'
    first, second = make_timeline([erased, unreadable]).items
    assert (first.event_type, first.at) == ("", START + 5_000_000)
    assert (second.event_type, second.at) == ("erased", None)


CALLS = st.lists(st.tuples(st.floats(0, 1e6), st.none() | st.floats(0, 1e7)), min_size=1, max_size=40)


@settings(max_examples=examples(200))
@given(CALLS)
def test_places_on_the_scale_rise_and_nothing_under_way_is_folded(
    calls: list[tuple[float, float | None]],
) -> None:
    timeline = make_timeline(call(number, *one) for number, one in enumerate(calls))
    assert len(timeline.items) == len(calls)
    starts = [item.at for item in timeline.items if item.at is not None]
    assert starts == sorted(starts)
    places = [timeline.place(moment) for moment in starts]
    assert places == sorted(places)
    assert places[0] == 0
    for span in map(extent, timeline.items):
        assert span is not None
        assert 0 <= timeline.place(span.begin) <= timeline.place(span.end) <= timeline.shown
        assert timeline.place(span.end) - timeline.place(span.begin) == span.length  # none of it is folded
    for fold in timeline.folds:
        assert fold.length * 10 > timeline.shown
    quietest = sum(fold.length for fold in timeline.folds)
    assert timeline.shown + quietest == timeline.whole.length
