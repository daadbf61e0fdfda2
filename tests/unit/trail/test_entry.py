"""What the writer stamps on a line: the quick way, from what is known already, is the plain one."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from indelible import events
from indelible.trail.clock import TrailClock
from indelible.trail.entry import CLAIMED, CLOCK_SLACK, TIME, in_time, line_seq, stamp, stamp_line, unstamp
from tests.effort import examples

RECORDED_AT = "2026-11-21T05:38:34.123456Z"
SEQS = st.integers(0, 1_000) | st.integers(0, events.MAX_INTEGER)


@given(st.lists(SEQS, max_size=20), st.binary(max_size=50))
@example([0, 9, 10, 99, 100, 101, 199, 200, 99, 100, 12_345, 12_399, 12_400, 12_345], b"")
@settings(max_examples=examples(200))
def test_lines_of_any_seqs_in_any_order_are_stamped_alike(seqs: list[int], rest: bytes) -> None:
    body = b"{" + rest
    for seq in seqs:
        line = stamp_line(seq, RECORDED_AT.encode(), body)
        assert line == stamp(seq, RECORDED_AT, body) + b"\n"
        assert line_seq(line) == seq
        assert unstamp(line) == (RECORDED_AT.encode(), body)


@given(st.integers(1000, 4 * 10**18), st.lists(st.integers(0, 3_000_000), max_size=30))
@settings(max_examples=examples(200))
def test_a_clock_that_goes_on_is_written_as_any_time_is(start: int, steps: list[int]) -> None:
    now = start
    clock = TrailClock("", wall=lambda: now, steady=lambda: now)
    for step in steps:
        now += step
        assert clock.tick() == events.format_time(now).encode()
    assert not clock.steps


BODIES = st.fixed_dictionaries(
    {"event_type": st.just("alert")},
    optional={
        "request": st.dictionaries(
            st.text(max_size=3), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
        ),
        "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.none(), max_size=2),
    },
)


@given(BODIES, st.timedeltas(-timedelta(days=9), timedelta(days=3000)), st.booleans())
@example({"event_type": "alert", "request": {"x": 1e22, "y": 2**70}}, timedelta(seconds=3), False)
@example({"event_type": "alert"}, CLOCK_SLACK, False)
@settings(max_examples=examples(200))
def test_no_line_says_that_it_was_received_after_it_was_recorded(
    rest: dict[str, object], ahead: timedelta, escaped: bool
) -> None:
    moment = datetime.fromisoformat(RECORDED_AT) + ahead
    claimed = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = json.dumps({"timestamp": claimed, **rest}, ensure_ascii=escaped, separators=(",", ":")).encode()
    found = in_time(body, RECORDED_AT.encode())
    if ahead <= CLOCK_SLACK:
        assert found == body
        return
    said = json.loads(found)
    assert found[TIME] == RECORDED_AT.encode() == said["timestamp"].encode()
    assert said["metadata"].pop(CLAIMED) == claimed
    assert {"timestamp": claimed, **rest} == {**said, "timestamp": claimed} or not said["metadata"]
    assert len(found) <= len(body) + len(f',"metadata":{{"{CLAIMED}":""}}') + len(claimed)
    assert in_time(found, RECORDED_AT.encode()) == found


def test_what_is_no_time_is_claimed_and_what_is_no_event_stays() -> None:
    for claimed in ('"tomorrow"', '"9"', '"2026-11-21T05:38:34+00:00"'):
        found = in_time(b'{"timestamp":%b,"event_type":"alert"}' % claimed.encode(), RECORDED_AT.encode())
        expected = f'{{"timestamp":"{RECORDED_AT}","event_type":"alert","metadata":{{"{CLAIMED}":{claimed}}}}}'
        assert found == expected.encode()
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"timestamp":7}',
        b'{"timestamp":"x","metadata":[]}',
        b'{"timestamp":"\xff"}',
    ):
        assert in_time(body, RECORDED_AT.encode()) == body
