"""What one user may ask of a service: rates hold over any time, nothing is forgotten, and everything is counted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.trail.sharing.quotas import (
    ASSURED_PLACES,
    BURST_S,
    MAX_WAITING_BYTES,
    REPORT_S,
    RESERVED_PLACES,
    RETRY_S,
    SAY_S,
    TURN_S,
    Accounts,
    Quotas,
)
from indelible.trail.sharing.wire import MAX_RECORDERS

UID = 1001


def accounts(**limits: float) -> Accounts:
    made = {"connections": 2, "events_per_second": 10, "bytes_per_second": 0, "outstanding": 100, **limits}
    return Accounts(Quotas(**made))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), min_size=1, max_size=60))
def test_whoever_reads_only_when_he_may_never_gets_more_than_the_rate(steps: list[tuple[float, int]]) -> None:
    """Over all the time: the rate, a burst, and what was read at once last."""
    account, now, taken, last = accounts().of(UID, 0.0), 0.0, 0, 0
    for pause, events in steps:
        now += pause
        if account.wait_s(now) == 0:
            account.spend(events, 0, now)
            taken, last = taken + events, events
        assert taken - last <= 10 * (now + BURST_S) + 1e-6
        wait = account.wait_s(now)
        assert wait is not None
        assert account.wait_s(now + wait + 1e-6) == 0


@given(
    st.integers(2, 6),
    st.sampled_from([0.05, 0.25, 0.5]),
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 2), st.floats(0, 0.3)), min_size=1, max_size=60),
)
def test_overtime_of_all_together_has_its_share_of_the_time(
    users: int, share: float, steps: list[tuple[int, float, float]]
) -> None:
    """Whatever turns they take when they may: beside a burst and the last turn of each."""
    every = Accounts(Quotas(events_per_second=0, bytes_per_second=0, overtime=share))
    now, over, last = 0.0, dict.fromkeys(range(users - 1), 0.0), dict.fromkeys(range(users - 1), 0.0)
    for who, pause, took in steps:
        now += pause
        uid = who % (users - 1)
        account = every.of(uid, 0.0)
        if account.wait_s(now) == 0:
            now += took
            account.work(took, users, now)
            last[uid] = max(0.0, took - TURN_S)
            over[uid] += last[uid]
    assert sum(over.values()) - sum(last.values()) <= share * (BURST_S + now) + 1e-6


def test_a_turn_within_its_time_costs_nothing_nor_does_overtime_of_one_who_is_alone() -> None:
    account = Accounts(Quotas(overtime=0.01)).of(UID, 0.0)
    for _ in range(10_000):
        account.work(TURN_S, 2, 0.0)
    account.work(1000.0, 1, 0.0)
    assert account.wait_s(0.0) == 0
    assert account.busy_s == pytest.approx(1000 + 10_000 * TURN_S)
    account.work(1.0, 2, 0.0)
    wait = account.wait_s(0.0)
    assert wait is not None
    assert wait > 10
    account.hold_back(0.0)
    assert (account.counts["held_back"], account.counts["overtime"]) == (1, 1)


def test_bytes_that_are_not_acknowledged_are_waited_for() -> None:
    account = accounts().of(UID, 0.0)
    account.waiting_bytes = MAX_WAITING_BYTES
    assert account.wait_s(1e9) is None
    account.waiting_bytes -= 1
    assert account.wait_s(1e9) == 0


@given(st.lists(st.integers(0, 5), max_size=200))
def test_while_places_are_free_who_has_few_gets_one(order: list[int]) -> None:
    """However greedy the others are: as long as no more than the reserve's worth of users want theirs."""
    every = accounts()
    greedy = [every.of(uid, 0.0) for uid in range(3)]
    modest = [every.of(uid, 0.0) for uid in range(10, 10 + RESERVED_PLACES // ASSURED_PLACES - 3)]
    total = 0
    for who in [*order, *[0] * MAX_RECORDERS, *[1] * MAX_RECORDERS, *[2] * MAX_RECORDERS]:
        account = greedy[who % 3]
        if every.refuses(account, total) is None:
            account.recorders += 1
            total += 1
    assert total <= MAX_RECORDERS
    for account in modest * ASSURED_PLACES:
        assert every.refuses(account, total) is None
        account.recorders += 1
        total += 1


def test_a_rate_of_0_is_none() -> None:
    account = accounts(events_per_second=0).of(UID, 0.0)
    account.spend(10**9, 10**12, 0.0)
    assert account.wait_s(0.0) == 0


def test_what_is_not_acknowledged_is_waited_for() -> None:
    every = accounts()
    account = every.of(UID, 0.0)
    account.waiting = 100
    assert account.wait_s(0.0) is None
    account.hold_back(0.0)
    assert every.released(1e9) == []
    account.waiting = 99
    assert every.released(1e9) == [account]
    assert not account.held


def test_going_away_and_coming_again_gives_nothing_more() -> None:
    every = accounts()
    account = every.of(UID, 0.0)
    account.spend(1000, 0, 0.0)
    every.due(0.5)
    assert every.of(UID, 0.5) is account
    assert account.wait_s(0.5)


def test_connections_that_have_ended_do_not_count_but_for_as_many_once_more() -> None:
    every = accounts()
    account = every.of(UID, 0.0)
    for ended, connections, may in [(0, 1, True), (0, 2, False), (1, 2, True), (3, 4, False), (2, 3, True)]:
        account.connections = connections
        assert every.may_connect(account, lambda ended=ended: ended) == may  # type: ignore[misc]
    assert account.counts["turned_away"] == 2


@given(
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from(["turned_away", "held_back", "refused"])), max_size=80)
)
def test_every_count_is_reported_once_and_not_too_often(steps: list[tuple[float, str]]) -> None:
    every, now, told, times = accounts(), 0.0, dict[str, int](), list[float]()
    for pause, what in steps:
        now += pause
        every.of(UID, now).counts[what] += 1
        for account in every.due(now):
            take(account.news(), told)
            account.noted(now)
            times.append(now)
    for account in every.due(now, all_of_them=True):
        take(account.news(), told)
        account.noted(now)
    assert sum(told.values()) == len(steps)
    assert all(later - earlier >= REPORT_S for earlier, later in itertools.pairwise(times))


def take(news: dict[str, int], told: dict[str, int]) -> None:
    assert news.pop("uid") == UID
    assert all(news.values())
    for key, count in news.items():
        told[key] = told.get(key, 0) + count


def test_the_first_time_is_reported_at_once_and_what_follows_is_looked_at_again() -> None:
    every = accounts()
    account = every.of(UID, 100.0)
    assert every.look_in_s(100.0) is None
    account.counts["refused"] += 1
    assert every.due(100.0) == [account]
    account.noted(100.0)
    account.counts["refused"] += 1
    assert every.due(101.0) == []
    assert every.look_in_s(101.0) == REPORT_S - 1


def test_what_cannot_be_recorded_is_tried_again_after_a_while() -> None:
    every = accounts()
    account = every.of(UID, 0.0)
    account.counts["refused"] += 1
    account.postpone(0.0)
    assert every.due(0.5) == []
    assert every.look_in_s(0.5) == RETRY_S - 0.5
    assert every.due(RETRY_S) == [account]
    assert account.news() == {"uid": UID, "refused": 1}


def test_the_idle_are_forgotten_but_nobody_of_whom_something_is_owed() -> None:
    every = accounts()
    owing, idle, busy = (every.of(uid, 0.0) for uid in (1, 2, 3))
    owing.counts["refused"] += 1
    busy.connections = 1
    every.due(2 * REPORT_S)
    assert set(every) == {owing, busy}
    assert idle not in set(every)


def test_the_log_is_told_once_in_a_while() -> None:
    account = accounts().of(UID, 0.0)
    said = [account.may_say(now / 10) for now in range(10 * int(SAY_S) + 1)]
    assert said.count(True) == 2
