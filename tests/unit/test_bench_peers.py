"""The tables that set our audit beside that of others, from what their processes told."""

from __future__ import annotations

from typing import Any

from bench import bench_peers
from bench.peers import common

COSTS = {"process": 12.34, "thread": 11.0, "process_us": 61.7, "thread_us": 55.0, "dumps_us": 5.0}


def peer(name: str, said: dict[str, list[str]], password: str = "clear") -> dict[str, Any]:
    return {"name": name, "version": "1.2", "said": said, "password": password, "costs": {"any tool": COSTS}}


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_a_cause_that_left_nothing_is_told_from_one_that_was_not_made_to_happen() -> None:
    one = peer("one", {"returned": ["success"], "raised": []})
    two = peer("two", {"raised": ["error"], "cancelled": ["error", "error"]}, "hidden")
    header, _, *rows = cells(bench_peers.causes_table([one, two]))
    assert header == ["cause", "one 1.2", "two 1.2"]
    found = {row[0]: row[1:] for row in rows}
    assert found[common.CAUSES["returned"]] == ["success", "–"]
    assert found[common.CAUSES["raised"]] == ["nothing", "error"]
    assert found[common.CAUSES["cancelled"]] == ["–", "error, error"]
    assert found["a password among the arguments"] == ["in clear", "hidden"]
    assert len(rows) == len(common.CAUSES) + 1


def test_costs_stand_in_the_order_of_their_header() -> None:
    header, _, row = cells(bench_peers.costs_table([peer("one", {})]))
    assert dict(zip(header, row, strict=True)) == {
        "audit": "one",
        "call": "any tool",
        "× `json.dumps`, process": "12.3",
        "× `json.dumps`, thread": "11.0",
        "µs, process": "61.7",
        "µs, thread": "55.0",
    }


def test_what_says_nothing_is_a_dash() -> None:
    one = peer("one", {}) | {"costs": {"any tool": {"process": 12.34, "process_us": 61.7}}}
    assert cells(bench_peers.costs_table([one]))[2] == ["one", "any tool", "12.3", "–", "61.7", "–"]


def test_a_password_is_clear_hidden_or_not_there_at_all() -> None:
    assert common.password_in([{"args": {"password": common.SECRET}}]) == "clear"
    assert common.password_in([{"args": {"password": "[REDACTED]"}}]) == "hidden"
    assert common.password_in([{"tool": "answer"}]) == "absent"
