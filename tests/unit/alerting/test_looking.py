"""Rules on a trail: nothing past the checkpoint, nothing lost or told twice, whenever they are killed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from indelible.alerting import probes, store
from indelible.alerting.facts import microseconds
from indelible.alerting.looking import Looking, replay
from indelible.alerting.states import alert_states
from indelible.alerting.words import MAX_COMMAND, TOO_LONG, Alert, as_metadata
from indelible.errors import TrailError
from indelible.shipper import route
from indelible.trail.durable import Access
from indelible.trail.upkeep.orders import RecordAlert
from tests.effort import examples
from tests.trails import Maker, at, operation
from tests.unit.alerting.alerting import settings

RULES = settings(
    actor_calls={"over": 2, "window": "4s", "well_after": "2s"}, first_destructive={"well_after": 0}
)


class Holder:
    """Records alerts into a trail as its holder does, or does not."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.answers: Callable[[], bool] = lambda: True
        self.ids: list[str] = []

    def __call__(self, order: RecordAlert) -> bool:
        if not self.answers():
            return False
        self.ids.append(order.id)
        body = {
            "timestamp": order.at, "event_type": "alert", "event_id": order.id,
            "source": {"user_id": order.user}, "metadata": {"alert": order.alert},
        }  # fmt: skip
        self.maker.add(body)
        self.maker.seal()
        return True


def looking(maker: Maker, record: Callable[[RecordAlert], bool], told: list[Alert] | None = None) -> Looking:
    found = [] if told is None else told
    made = Looking(maker.layout, RULES, Access(), record, found.append)
    MADE.append(made)
    return made


MADE: list[Looking] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Have no file stay open."""
    yield
    while MADE:
        MADE.pop().let_go()


def call(number: int, **changes: Any) -> dict[str, Any]:
    return operation(number, **changes)


def look(one: Looking) -> None:
    while one.step():
        pass


def test_what_was_before_is_learnt_and_what_comes_is_told(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add(call(1, target__effects="destructive"))
    maker.add_many(5)
    maker.seal()
    told: list[Alert] = []
    one = looking(maker, Holder(maker), told)
    assert one.load()
    assert one.is_learning
    look(one)
    one.save(at_once=True)
    assert (told, one.is_learning) == ([], False)
    maker.add(call(9, target__effects="destructive"))
    maker.add(call(10, target__effects="destructive", source__user_id="bob"))
    maker.seal()
    look(one)
    assert [(alert.rule, alert.subject and alert.subject.user_id) for alert in told] == [
        ("actor_calls", "ada"), ("first_destructive", "bob"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("state/indelible/audit.jsonl", False),
        ("state/indelible/other.jsonl", True),
        ("it's $HOME/audit.jsonl", True),
    ],
)
def test_a_query_on_record_asks_its_trail_unless_that_is_the_default_one(
    tmp_path: Path, place: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    maker = Maker(path)
    one = looking(maker, Holder(maker))
    maker.seal()
    assert one.load()
    maker.add(call(9, target__effects="destructive"))
    maker.seal()
    look(one)
    lines = map(json.loads, path.read_text().splitlines())
    [alert] = [line["metadata"]["alert"] for line in lines if line["event_type"] == "alert"]
    words = shlex.split(alert["query"])
    assert words[:2] == ["indelible", "log"]
    assert [word for word in words if word.startswith("--trail")] == ([f"--trail={path}"] if named else [])


def test_a_query_whose_trail_makes_it_too_long_is_left_out() -> None:
    """One without its trail would ask another."""
    alert = Alert(
        rule="x", state="firing", severity="info", at=1, key="k", since=1, seq=1, query="q" * (MAX_COMMAND - 9)
    )
    assert as_metadata(alert, "o", " -x")["query"] == f"{alert.query} -x"
    said = as_metadata(alert, "o", " --trail=/x")
    assert ("query" in said, said["query_note"]) == (False, TOO_LONG)


def test_nothing_past_the_checkpoint_is_looked_at(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    one = looking(maker, Holder(maker))
    assert not one.load(), "nothing is sealed"
    maker.seal()
    assert one.load()
    look(one)
    at_first = one.next_seq
    maker.add_many(10)
    look(one)
    assert one.next_seq == at_first
    maker.seal()
    look(one)
    assert (one.next_seq or 0) > (at_first or 0) + 9


def dying(after: int) -> Callable[[], bool]:
    """Return a holder's answer, whose asker dies once so many were given."""
    left = [after]

    def answers() -> bool:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return True

    return answers


@effort(
    max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_whenever_it_is_killed_each_alert_is_recorded_once(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Killed before a record, after it, or before the place is kept; what is told is what a replay finds."""
    maker = Maker(tmp_path_factory.mktemp("trail") / "audit.jsonl")
    holder = Holder(maker)
    maker.seal()
    first = looking(maker, holder)
    assert first.load()
    look(first)
    first.save(at_once=True)
    one, loaded = looking(maker, holder), False
    for number in range(data.draw(st.integers(3, 25))):
        user = data.draw(st.sampled_from(["ada", "bob"]))
        effects = data.draw(st.sampled_from(["read_only", "destructive"]))
        body = call(
            number, source__user_id=user, target__effects=effects, target__capability_name=f"t{number % 3}"
        )
        maker.add(body, at(maker.clock + 1))
        if data.draw(st.booleans()):
            maker.seal()
        what = data.draw(st.sampled_from(["", "look", "save", "kill", "kill while recording"]))
        if not what:
            continue
        loaded = loaded or one.load()
        left = data.draw(st.integers(0, 2)) if what == "kill while recording" else 99

        holder.answers = dying(left)
        try:
            look(one)
        except KeyboardInterrupt:
            what = "kill"
        holder.answers = lambda: True
        if what == "save":
            one.save(at_once=True)
        if what.startswith("kill"):
            one.let_go()
            one, loaded = looking(maker, holder), False
    maker.seal()
    loaded = loaded or one.load()
    look(one)
    one.save(at_once=True)
    sealed = route.sealed(maker.layout)
    assert sealed is not None
    _, alerts, unreadable, missing = replay(RULES, sealed, 0)
    assert (unreadable, missing) == (0, 0)
    assert sorted(holder.ids) == sorted(alert.event_id(sealed.origin) for alert in alerts)


def test_what_cannot_be_recorded_waits_and_nothing_is_kept_past_it(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.seal()
    holder = Holder(maker)
    told: list[Alert] = []
    one = looking(maker, holder, told)
    one.load()
    look(one)
    one.save(at_once=True)
    before = store.read(maker.layout)
    maker.add_many(5)
    maker.seal()
    holder.answers = lambda: False
    assert one.step()
    one.save(at_once=True)
    assert store.read(maker.layout) == before
    assert told == []
    holder.answers = lambda: True
    look(one)
    assert [alert.rule for alert in told] == ["actor_calls"]
    one.save(at_once=True)
    assert store.read(maker.layout) != before


def test_torn_and_missing_lines_are_counted_and_hide_nothing(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.seal()
    told: list[Alert] = []
    one = looking(maker, Holder(maker), told)
    one.load()
    look(one)
    maker.add(call(1))
    line = maker.add(call(2))
    maker.add(call(3))
    maker.add(call(4))
    maker.seal()
    path = maker.layout.active
    path.write_bytes(path.read_bytes().replace(line, line[:20] + b"#" + line[21:]))
    look(one)
    assert one.unreadable + one.missed == 1
    assert [alert.rule for alert in told] == ["actor_calls"]


def test_what_resolves_after_a_restart_says_whom_it_is_about(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.seal()
    holder = Holder(maker)
    one = looking(maker, holder)
    one.load()
    look(one)
    maker.add_many(4)
    maker.seal()
    look(one)
    one.save(at_once=True)
    told: list[Alert] = []
    again = looking(maker, holder, told)
    again.load()
    again.engine.advance(10**18)
    found = again.engine.advance(10**18)
    assert found == []
    third = looking(maker, holder, told)
    third.load()
    maker.add(call(99, source__user_id="bob"), at(maker.clock + 60))
    maker.seal()
    look(third)
    assert [(alert.state, alert.subject and alert.subject.user_id) for alert in told] == [("resolved", "ada")]


def test_a_state_that_cannot_be_read_is_an_error_and_says_what_to_do(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.seal()
    one = looking(maker, Holder(maker))
    one.load()
    look(one)
    one.save(at_once=True)
    path = store.path_of(maker.layout)
    kept = json.loads(path.read_text())
    for broken in ("{", json.dumps({**kept, "engine": {}}), json.dumps({**kept, "version": 9})):
        path.write_text(broken)
        with pytest.raises(TrailError, match=r"_rules\.windows"):
            looking(maker, Holder(maker)).load()


def test_a_replay_learns_from_what_was_before(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add(call(1, target__effects="destructive"))
    maker.clock += 1000
    maker.add(call(2, target__effects="destructive"))
    maker.add(call(3, target__effects="destructive", source__user_id="bob"))
    maker.seal()
    sealed = route.sealed(maker.layout)
    assert sealed is not None
    everything = replay(RULES, sealed, 0).alerts
    late = replay(RULES, sealed, microseconds(at(500)) or 0).alerts
    assert [one.subject and one.subject.user_id for one in everything] == ["ada", "bob"]
    assert [one.subject and one.subject.user_id for one in late] == ["bob"]


def test_a_replay_says_what_it_could_not_be_asked_about(tmp_path: Path) -> None:
    """Torn, altered and missing lines are counted, and hide none of the others."""
    maker = Maker(tmp_path / "audit.jsonl")
    for number in range(1, 21):
        maker.add(call(number, target__effects="destructive", source__user_id=f"user-{number}"))
    maker.seal()
    lines = maker.layout.active.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:40] + b"\n"
    lines[5] = b"no entry\n"
    lines[7] = lines[7].replace(b'{"seq":', b'{"seq":9', 1)
    del lines[9]
    maker.layout.active.write_bytes(b"".join(lines[:-2]))
    sealed = route.sealed(maker.layout)
    assert sealed is not None
    found = replay(RULES, sealed, 0)
    left = [seq for seq in range(1, sealed.size - 2) if seq not in (3, 5, 7, 9)]
    assert [one.seq for one in found.alerts] == left
    assert (found.unreadable, found.missing) == (3, 1 + 2)


def test_status_says_how_rules_are(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.seal()
    one = looking(maker, Holder(maker))
    one.load()
    look(one)
    maker.add_many(5)
    maker.seal()
    look(one)
    one.show(1, None, at_once=True)
    state = alert_states(maker.layout, RULES)
    assert state["alerts_watched_by"] is None
    [calls] = [rule for rule in state["alert_rules"] if rule["rule"] == "actor_calls"]
    assert (calls["firing"], calls["alerts"]) == (1, 1)


# --- the proofs -----------------------------------------------------------------------------------------------

[CHECK] = settings(verification={"lines": 7}).rules


def checked(maker: Maker, kept: Any = None) -> tuple[str, Any, float]:
    found, kept = probes.trail(maker.layout, CHECK, kept)
    return found.trouble, kept, found.numbers["lines"]


def test_a_whole_trail_verifies_in_turns_of_bounded_looks(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add_many(20)
    maker.rotate()
    maker.add_many(20)
    maker.seal()
    kept, seen = None, 0.0
    for _ in range(12):
        trouble, kept, lines = checked(maker, kept)
        assert (trouble, lines <= 7) == ("", True)
        seen += lines
    assert seen > maker.seq


def test_a_line_that_was_altered_is_found_new_or_old(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add_many(20)
    maker.seal()
    kept = None
    for _ in range(8):
        trouble, kept, _ = checked(maker, kept)
        assert trouble == ""
    path = maker.layout.active
    path.write_bytes(path.read_bytes().replace(b"/srv/5", b"/srv/X"))
    found = []
    for _ in range(8):
        trouble, kept, _ = checked(maker, kept)
        found.append(trouble)
    assert any("does not verify" in trouble for trouble in found)
    path.write_bytes(path.read_bytes().replace(b"/srv/X", b"/srv/5"))
    for _ in range(8):
        trouble, kept, _ = checked(maker, kept)
        assert trouble == ""


def test_a_checkpoint_that_does_not_go_on_from_the_one_before_is_found(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "audit.jsonl")
    maker.add_many(5)
    maker.seal()
    _, kept, _ = checked(maker)
    origin, size, root, old = kept
    trouble, _, _ = checked(maker, [origin, size, "00" * 32, old])
    assert trouble == "", "the whole trail verifies: what was kept is not believed over it"
    maker.layout.checkpoint.write_bytes(b"nonsense\n")
    trouble, _, _ = checked(maker, [origin, size, root, old])
    assert "does not verify" in trouble
