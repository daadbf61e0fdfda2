"""When a wait looks before it sleeps, and when it does not: with a clock, a poll and company of the test's own."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.looking import LOOK_NS, MAX_PAUSE_NS, MIN_PAUSE_NS, PROBE, Looking, interruptions
from tests.effort import examples

POLL_NS = 1_000
"""What one look costs here."""
STEP_NS = MIN_PAUSE_NS // 20


class World:
    """A clock, and a descriptor on which something comes `after` a wait has begun."""

    def __init__(self) -> None:
        self.now = 0
        self.comes = 0
        self.company = False
        self.interruptions = 0
        self.slept = 0
        self.looked = 0

    def poll(self, timeout: int | None) -> list[tuple[int, int]]:
        if timeout == 0:
            self.looked += 1
            self.now += POLL_NS
            self.interruptions += self.company
            return [(7, 1)] if self.now >= self.comes else []
        self.slept += 1
        limit = self.now + timeout * 1_000_000 if timeout is not None else self.comes
        self.now = max(self.now, min(limit, self.comes))
        return [(7, 1)] if self.now >= self.comes else []

    def looking(self, processors: int = 2, look_ns: int = LOOK_NS) -> Looking:
        return Looking(
            self.poll,
            2,
            processors=processors,
            look_ns=look_ns,
            clock=lambda: self.now,
            interrupted=lambda: self.interruptions,
        )

    def wait(self, looking: Looking, after_ns: int, kind: int = 0, timeout: int | None = None) -> bool:
        """Wait for what comes in `after_ns`; tell whether that was without sleeping."""
        self.comes = self.now + after_ns
        slept = self.slept
        events = looking.wait(timeout, kind)
        assert events == ([(7, 1)] if self.now >= self.comes else [])
        return self.slept == slept


def test_after_a_short_wait_the_next_one_looks() -> None:
    world = World()
    looking = world.looking()
    assert not world.wait(looking, LOOK_NS // 2)
    assert world.wait(looking, LOOK_NS // 2)
    assert world.wait(looking, LOOK_NS // 2)


def test_a_wait_that_was_long_is_looked_for_once_and_then_slept_for() -> None:
    world = World()
    looking = world.looking()
    world.wait(looking, LOOK_NS // 2)
    assert not world.wait(looking, 50 * LOOK_NS)
    looked = world.looked
    assert looked <= LOOK_NS // POLL_NS + 1
    for _ in range(5):
        assert not world.wait(looking, 50 * LOOK_NS)
    assert world.looked == looked


def test_after_many_long_waits_one_looks_all_the_same() -> None:
    """Where both sides sleep, the way takes longer than it would awake: nothing else would wake them again."""
    world = World()
    looking = world.looking()
    for _ in range(PROBE - 1):
        assert not world.wait(looking, 50 * LOOK_NS)
    assert world.looked == 0
    assert world.wait(looking, LOOK_NS // 2)
    assert world.wait(looking, LOOK_NS // 2)


def test_how_long_a_short_wait_is_may_be_said() -> None:
    world = World()
    looking = world.looking(look_ns=3 * LOOK_NS)
    assert not world.wait(looking, 2 * LOOK_NS)
    assert world.wait(looking, 2 * LOOK_NS)
    assert not world.wait(looking, 4 * LOOK_NS)


def test_a_slow_server_does_not_make_the_waits_for_its_client_sleep() -> None:
    world = World()
    looking = world.looking()
    world.wait(looking, LOOK_NS // 2, kind=1)
    for _ in range(5):
        assert not world.wait(looking, 100 * LOOK_NS, kind=0)
        assert world.wait(looking, LOOK_NS // 2, kind=1)


def test_on_a_single_processor_nothing_is_looked_for() -> None:
    world = World()
    looking = world.looking(processors=1)
    for _ in range(5):
        assert not world.wait(looking, POLL_NS)
    assert world.looked == 0


def test_who_is_interrupted_looks_no_more_for_ever_longer() -> None:
    world = World()
    looking = world.looking()
    world.wait(looking, POLL_NS)
    world.company = True
    pauses = []
    assert world.wait(looking, POLL_NS)  # looks, and is interrupted
    for _ in range(12):
        began = world.now
        while not world.wait(looking, POLL_NS * 50):
            world.now += STEP_NS  # the one that ends this looks, and is interrupted
        pauses.append(world.now - began)
    assert pauses[0] >= MIN_PAUSE_NS
    assert all(later >= earlier for earlier, later in itertools.pairwise(pauses))
    assert MAX_PAUSE_NS <= pauses[-1] <= MAX_PAUSE_NS + 2 * STEP_NS


def test_a_look_that_nobody_interrupts_makes_the_next_pause_shorter() -> None:
    world = World()
    looking = world.looking()
    world.wait(looking, POLL_NS)
    world.company = True
    for _ in range(12):
        world.wait(looking, POLL_NS)
        world.now += MAX_PAUSE_NS
    world.company = False
    for _ in range(1_000):
        assert world.wait(looking, POLL_NS)
    world.company = True
    assert world.wait(looking, POLL_NS)
    world.company = False
    began = world.now
    while not world.wait(looking, POLL_NS * 50):
        world.now += STEP_NS
    assert world.now - began < 2 * MIN_PAUSE_NS


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * LOOK_NS),
            st.integers(0, 1),
            st.none() | st.integers(0, 2),
            st.booleans(),
        )
    )
)
@settings(max_examples=examples(200))
def test_nothing_is_missed_and_nobody_is_waited_for_much_longer(
    waits: list[tuple[int, int, int | None, bool]],
) -> None:
    world = World()
    looking = world.looking()
    for after_ns, kind, timeout, company in waits:
        world.company = company
        began = world.now
        world.wait(looking, after_ns, kind, timeout)
        longest = after_ns if timeout is None else min(after_ns, timeout * 1_000_000)
        assert world.now - began <= longest + LOOK_NS + POLL_NS


def test_interruptions_are_counted_by_the_system() -> None:
    assert 0 <= interruptions() <= interruptions()
