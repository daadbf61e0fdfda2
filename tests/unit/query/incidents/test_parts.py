"""The parts of an analysis of incidents, one by one: what is read in a line, percentiles, bursts, groups."""

from __future__ import annotations

import math
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.query.incidents import calls
from indelible.query.incidents.calls import Call, call_of, parse, shifted, text_of
from indelible.query.incidents.measures import (
    EXACT,
    LEAST_SAMPLE,
    Histogram,
    Sample,
    Tally,
    burst,
    ceiling,
    floor,
    unusual,
)
from indelible.query.incidents.signs import GROUP_GAP_S, Incident, grouped
from indelible.trail.entry import stamp
from tests.trails import at, encode, operation

TOOL = ("files", "read_file")


def line(number: int = 0, **changes: object) -> bytes:
    return stamp(number, at(number), encode(operation(number, **changes)))


def call(number: int, **changes: object) -> Call:
    read = parse(line(number, **changes))
    assert read is not None
    return call_of("t", read)


def test_what_a_writer_writes_is_read_by_the_quick_reader() -> None:
    with mock.patch.object(calls, "_parse_carefully", side_effect=AssertionError):
        found = call(3, source={"session_id": "s", "recorder": {"id": "r", "uid": 0, "pid": 7}})
    assert found.args == b'{"path":"/srv/3"}'
    assert (found.tool, found.took, found.recorder) == (TOOL, 1250, calls.Recorder("r", 7))


@pytest.mark.parametrize("part", ["source", "target", "request", "outcome"])
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, {"recorder": 5, "args": "\ud800", "latency_ms": "1"}])
def test_a_part_of_another_shape_hides_nothing_else(part: str, value: object) -> None:
    import json

    body = {**operation(1), part: value}
    raw = stamp(1, at(1), json.dumps(body).encode())
    read = parse(raw)
    assert read is not None
    found = call_of("t", read)
    assert found.seq == 1
    assert found.began == at(1)


def test_times_are_kept_within_the_years_there_are() -> None:
    assert shifted("0001-01-01T00:00:00.000000Z", -5) == "0001-01-01T00:00:00.000000Z"
    assert shifted("9999-12-31T23:59:59.999999Z", 5) == "9999-12-31T23:59:59.999999Z"
    assert text_of(0) == "1970-01-01T00:00:00.000000Z"
    assert shifted("nonsense", 5) == "nonsense"


# --- percentiles ------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**53))
def test_a_step_is_narrow_and_holds_its_values(value: int) -> None:
    assert floor(value) <= value <= ceiling(value)
    assert floor(floor(value)) == floor(value)
    assert floor(ceiling(value)) == floor(value)
    assert ceiling(value) - floor(value) <= value / 512
    assert value > EXACT or floor(value) == ceiling(value) == value


@given(st.lists(st.integers(0, 2**40) | st.integers(0, 50), min_size=LEAST_SAMPLE, max_size=300))
def test_the_percentile_is_that_of_the_sorted_values(values: list[int]) -> None:
    counted = Histogram()
    for value in values:
        counted.add(value)
    exact = sorted(values)[math.ceil(len(values) * 0.99) - 1]
    assert counted.p99() == ceiling(exact)
    assert counted.above(ceiling(exact)) == sum(value > ceiling(exact) for value in values)


def test_too_small_a_sample_has_none() -> None:
    counted = Histogram()
    for _ in range(LEAST_SAMPLE - 1):
        counted.add(5)
    assert counted.p99() is None
    counted.add(5)
    assert counted.p99() == 5


def usual(calls: int, errors: int, size: int = 100) -> Sample:
    sample = Sample()
    for number in range(calls):
        sample.add("error" if number < errors else "success", size, 1000)
    return sample


def test_the_largest_are_named_and_all_counted() -> None:
    tally = Tally(2)
    for number, size in enumerate([100, 500, 101, 900, 700]):
        tally.measure(call(number, request__args_bytes=size))
    (found,) = [one for one in unusual(TOOL, tally, usual(200, 0)) if one.measure == "args_bytes"]
    assert (found.p99, found.sample, found.above) == (100, 200, 4)
    assert [one.args_bytes for one in found.calls] == [900, 700]


@pytest.mark.parametrize(
    ("failed", "calls", "before", "is_burst"),
    [
        (5, 10, usual(1000, 10), True),
        (4, 4, usual(1000, 0), False),  # too few
        (5, 51, usual(1000, 0), False),  # below 10 %
        (5, 50, usual(1000, 0), True),
        (10, 50, usual(1000, 41), False),  # 20 % is less than five times 4.1 %
        (10, 50, usual(1000, 40), True),
        (5, 11, usual(99, 0), False),  # what is usual is not known
        (5, 10, usual(99, 0), True),
    ],
)
def test_a_burst(failed: int, calls: int, before: Sample, is_burst: bool) -> None:
    tally = Tally(1)
    for number in range(calls):
        kind = "tool_error" if number < failed else "completed"
        status = "error" if number < failed else "success"
        tally.count(call(number, outcome={"status": status, "kind": kind}))
    found = burst(TOOL, tally, before)
    assert (found is not None) == is_burst
    assert found is None or found.kinds == {"tool_error": failed}


# --- groups -----------------------------------------------------------------------------------------------------


def failure(seconds: float, why: str = "exited with code 1", backend: str = "files") -> Incident:
    return Incident(
        kind="server", at=at(seconds), noticed=at(seconds), trail="t", backend=backend, became="Failed", why=why
    )


def test_a_crash_loop_is_one_and_ends_with_a_pause() -> None:
    times = [0, 5, GROUP_GAP_S + 5, 2 * GROUP_GAP_S + 6]
    found = grouped((failure(time) for time in times), None)
    assert [(one.at, one.count, one.last_at) for one in found] == [
        (at(0), 3, at(GROUP_GAP_S + 5)),
        (at(2 * GROUP_GAP_S + 6), 1, ""),
    ]


def test_numbers_make_no_difference_and_words_and_servers_do() -> None:
    many = [failure(0), failure(1, "exited with code 2"), failure(2, "killed"), failure(3, backend="shop")]
    assert [one.count for one in grouped(many, None)] == [2, 1, 1]


def test_two_that_fail_in_turn_are_two_loops_and_the_newest_are_those_that_failed_last() -> None:
    many = [failure(time, backend="files" if time % 2 else "shop") for time in range(10)]
    assert [(one.backend, one.count) for one in grouped(many, None)] == [("shop", 5), ("files", 5)]
    found = grouped([failure(0), failure(1, "x"), failure(2, "y"), failure(3)], 2)
    assert [one.at for one in found] == [at(0), at(2)]


def test_of_very_many_the_newest_are_kept() -> None:
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(5000)]
    found = grouped((failure(n, word) for n, word in enumerate(words)), 3)
    assert [one.why for one in found] == words[-3:]
