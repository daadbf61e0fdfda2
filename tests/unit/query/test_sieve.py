"""A condition lets through what comes as it finds what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.query.engine.asking import ALL, Asked
from indelible.query.engine.connection import Caps
from indelible.query.engine.guard import SqlError
from indelible.query.engine.sieve import Sieve
from indelible.query.follow import Follower
from indelible.query.search import Corrupt
from tests.effort import examples
from tests.trails import Maker, at, operation

CONDITIONS = [
    "true", "status = 'error'", "name LIKE 'rm%' OR user_id IS NULL", "latency_ms > 1 AND origin IS NOT NULL",
    "args->>'path' = '/etc/passwd'", "timestamp >= TIMESTAMPTZ '2020-01-01' AND seq % 2 = 0", "name = 'a''b'",
    "cost_centicents * 2 > 3", "NOT (user_id = 'ada')",
]  # fmt: skip

NAMES = st.sampled_from(
    ["rm", "rm -rf", "a'b", "a\nb", "'; DROP VIEW logs; --", "<b>%", "é\U0001f600", "\u202e", ""]
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    body = operation(draw(st.integers(0, 3)), target__capability_name=draw(NAMES))
    body["source"] = draw(st.sampled_from([{}, {"user_id": "ada"}, {"user_id": 3}, {"user_id": "b"}]))
    body["request"]["args"] = draw(
        st.sampled_from([{}, {"path": "/etc/passwd"}, [1, {"a": None}], "text", 2**70])
    )
    body["outcome"]["latency_ms"] = draw(st.sampled_from([0.5, 1, 2, "no", None, 1e300]))
    body["cost"] = draw(st.sampled_from([{}, {"centicents": 1}, {"centicents": 2}, {"centicents": 2.5}]))
    body["event_type"] = draw(st.sampled_from(["mcp_operation", "mcp_operation", "alert"]))
    return body


def collected(follower: Follower) -> list[Any]:
    return [hit for _ in range(2) for hit in follower.poll()]


@settings(
    max_examples=examples(12), deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.lists(bodies(), min_size=1, max_size=8), st.sampled_from(CONDITIONS))
def test_what_comes_passes_as_what_is_there_is_found(
    tmp_path_factory: pytest.TempPathFactory, some: list[dict[str, Any]], sql: str
) -> None:
    maker = Maker(tmp_path_factory.mktemp("trail") / "audit.jsonl")
    follower, sieve = Follower(maker.layout.active, ALL, Corrupt()), Sieve(sql, Caps())
    try:
        follower.start(1)
        for number, body in enumerate(some):
            maker.add(body, at(number))
            if number == len(some) // 2:
                maker.raw(b'{"seq":torn\n')
                maker.rotate()
        passed = [hit.line for hit in sieve.passing(collected(follower))]
    finally:
        follower.close()
    with Asked([maker.layout.active], ALL) as asked:
        [trail] = asked.trails(sql)
        found = [hit.line for hit in trail.all() if hit.row.seq > 0]
    assert passed == found


def test_what_is_there_is_found_with_what_cannot_be_read(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl").add_many(
        20, lambda seq: operation(seq, source__user_id=f"u{seq % 2}")
    )
    maker.raw(b'{"seq":torn\n')
    maker.add_many(3)
    sieve = Sieve("user_id = 'u1'", Caps())
    for limit, count in ((0, 10), (4, 4)):
        hits, corrupt = sieve.stored(maker.layout.active, ALL, limit)
        assert len(hits) == count
        assert {json.loads(hit.line)["source"]["user_id"] for hit in hits} == {"u1"}
        assert corrupt.count == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("seq = (SELECT max(seq) FROM logs)", "asks other events besides"),
        ("nmae = 'x'", "no column 'nmae'"),
        ("getenv('HOME') = ''", "is not allowed here"),
        ("true; DROP VIEW logs", "syntax error"),
        ("", "there is no query in it"),
    ],
)
def test_what_is_no_condition_on_one_event_is_refused(sql: str, said: str) -> None:
    with pytest.raises(SqlError, match=said):
        Sieve(sql, Caps())
