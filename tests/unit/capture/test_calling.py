"""What captures inside a server share: one call, one outcome, whoever says it first, and an intent before it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import indelible
from indelible.capture import calling, recorders
from indelible.capture.calling import Audited, Incoming, Peer, inside
from indelible.capture.outcomes import Verdict, judge_exception
from indelible.capture.peers import LastPeer
from indelible.errors import TrailUnavailable
from indelible.opening import open_trail
from indelible.recorder import Recorder
from tests.recording import full_disk

TOOLS = [{"name": "look", "annotations": {"readOnlyHint": True}}, {"name": "wipe"}]
PEER = Peer(caller="http", session_id="s1", client="agent/1.0", user_id="ada", protocol_version="2025-11-25")
SESSION = object()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture(params=["process", "disk"])
def trail(path: Path, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    with open_trail(path, durability=request.param, on_failure="deny") as recorder:
        yield recorder


@pytest.fixture
def audited(trail: Recorder) -> Audited:
    made = Audited(trail, backend="shop", server_version="1.2")
    made.list_tools(TOOLS)
    return made


def call(name: str = "wipe", rpc_id: int = 7, **more: Any) -> Incoming:
    fields = {"method": "tools/call", "args": {"a": 1}, "wire": (SESSION, str(rpc_id)), **more}
    return Incoming(name=name, rpc_id=b"%d" % rpc_id, **fields)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def of_calls(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["event_type"].startswith("mcp_operation")]


def test_a_call_leaves_its_intent_and_its_outcome(audited: Audited, path: Path) -> None:
    opened = audited.begin(call(request_id="r-1", trace_id="a" * 32, span_id="b" * 16), PEER)
    [intent] = of_calls(path)
    opened.finish(Verdict("completed", result={"content": []}))
    _, outcome = of_calls(path)
    assert intent["event_type"] == "mcp_operation_started"
    assert outcome["request"]["intent"] == intent["event_id"]
    assert outcome["request"] == {**intent["request"], "intent": intent["event_id"]}
    assert intent["request"]["args"] == {"a": 1}
    assert (intent["request"]["request_id"], intent["request"]["rpc_id"]) == ("r-1", "7")
    assert (intent["source"]["client"], intent["source"]["user_id"]) == ("agent/1.0", "ada")
    assert intent["target"] == outcome["target"]
    assert outcome["target"]["effects"] == "unknown"
    assert (outcome["target"]["server_version"], outcome["target"]["protocol_version"]) == ("1.2", "2025-11-25")
    assert outcome["outcome"]["result_hmac"]


def test_a_read_only_call_has_no_intent(audited: Audited, path: Path) -> None:
    audited.begin(call("look"), PEER).finish(Verdict("completed"))
    assert [line["event_type"] for line in of_calls(path)] == ["mcp_operation"]


@pytest.mark.parametrize("name", ["look", "wipe"])
def test_what_it_was_called_with_cannot_be_changed_afterwards(audited: Audited, path: Path, name: str) -> None:
    args = {"to": ["a"], "n": {"x": 1}}
    opened = audited.begin(call(name, args=args), PEER)
    args["to"].append("b")  # type: ignore[attr-defined]
    args["n"] = {}
    opened.finish(Verdict("completed"))
    assert [line["request"]["args"] for line in of_calls(path)] == [
        {"to": ["a"], "n": {"x": 1}} for _ in of_calls(path)
    ]


def test_what_is_no_json_is_recorded_all_the_same(audited: Audited, path: Path) -> None:
    for args in ({"a": float("nan")}, {"a": {1, 2}}, {1: "x"}, {"a": 2**70}, {"a": "\ud800"}, b"bytes"):
        audited.begin(call(args=args), PEER).finish(Verdict("completed"))
    assert len(of_calls(path)) == 12


def test_large_arguments_stand_in_the_intent_only(audited: Audited, path: Path) -> None:
    args = {"text": "x" * 300_000}
    audited.begin(call(args=args), PEER).finish(Verdict("completed"))
    intent, outcome = of_calls(path)
    assert "args" in intent["request"]
    assert "args" not in outcome["request"]
    assert intent["request"]["args_bytes"] == outcome["request"]["args_bytes"] > 300_000


def test_the_first_verdict_counts(audited: Audited, path: Path) -> None:
    opened = audited.begin(call("look"), PEER)
    opened.finish(Verdict("completed"))
    opened.finish(Verdict("tool_error"))
    opened.cancelled("late")
    assert opened.closed
    [outcome] = of_calls(path)
    assert outcome["outcome"]["kind"] == "completed"


def test_many_threads_end_many_calls_and_each_once(audited: Audited, path: Path) -> None:
    opened = [audited.begin(call("look", n, args={"n": n}), PEER) for n in range(200)]
    barrier = threading.Barrier(4)

    def end(kind: Any) -> None:
        barrier.wait()
        for each in opened:
            each.finish(Verdict(kind))

    kinds = ("completed", "tool_error", "timed_out", "protocol_error")
    threads = [threading.Thread(target=end, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(line["request"]["args"]["n"] for line in of_calls(path)) == Counter(range(200))


def test_only_the_same_wire_request_is_joined(audited: Audited) -> None:
    assert audited.joined((SESSION, "7")) is None
    opened = audited.begin(call("look"), PEER)
    with inside(opened):
        assert audited.joined((SESSION, "7")) is opened
        assert audited.joined((SESSION, "8")) is None
        assert audited.joined((object(), "7")) is None
        assert audited.joined(None) is None
        opened.finish(Verdict("completed"))
        assert audited.joined((SESSION, "7")) is None
    assert indelible.current_request_id() is None


def test_a_call_of_another_trail_is_not_joined(audited: Audited, tmp_path: Path) -> None:
    with open_trail(tmp_path / "other.jsonl") as recorder:
        other = Audited(recorder, backend="shop")
        with inside(audited.begin(call("look"), PEER)):
            assert other.joined((SESSION, "7")) is None


def test_a_direct_call_is_joined_by_nobody(audited: Audited) -> None:
    with inside(audited.begin(call("look", wire=None), PEER)):
        assert audited.joined(None) is None


def test_an_inner_capture_knows_more_of_an_error(audited: Audited, path: Path) -> None:
    opened = audited.begin(call("look"), PEER)
    opened.learn(original_name="child_look")
    opened.learn(verdict=judge_exception(KeyError("x"), method="tools/call"))
    opened.finish(Verdict("protocol_error", error="Internal error", error_code=-32603))
    [outcome] = of_calls(path)
    assert outcome["outcome"]["kind"] == "tool_error"
    assert (outcome["outcome"]["error_type"], outcome["outcome"]["error_code"]) == ("KeyError", -32603)
    assert outcome["outcome"]["error"] == "Internal error"
    assert (outcome["target"]["original_name"], outcome["target"]["backend"]) == ("child_look", "shop")


def test_a_hint_is_nothing_to_a_call_that_went_well(audited: Audited, path: Path) -> None:
    opened = audited.begin(call("look"), PEER)
    opened.learn(verdict=Verdict("tool_error", error_type="KeyError"))
    opened.finish(Verdict("completed"))
    assert "error_type" not in of_calls(path)[0]["outcome"]


def test_rounds_are_linked_by_state_or_by_name_and_only_for_the_same_caller(
    audited: Audited, path: Path
) -> None:
    grace = Peer(caller="http", user_id="grace")
    audited.begin(call("look", 1, request_id="one"), PEER).finish(Verdict("input_required", request_state="s"))
    audited.begin(call("look", 2, request_state="s", answers_input=True), grace).finish(Verdict("completed"))
    audited.begin(call("look", 3, request_state="s", answers_input=True), PEER).finish(Verdict("completed"))
    audited.begin(call("look", 4, request_id="two"), PEER).finish(Verdict("input_required"))
    audited.begin(call("look", 5, answers_input=True), grace).finish(Verdict("completed"))
    audited.begin(call("look", 6, answers_input=True), PEER).finish(Verdict("completed"))
    found = [line["request"].get("continues") for line in of_calls(path)]
    assert found == [None, None, "one", None, None, "two"]


def test_definitions_are_learned_and_change_what_follows(audited: Audited, path: Path) -> None:
    assert audited.knows("wipe")
    assert not audited.knows("new")
    audited.begin(call("new"), PEER).finish(Verdict("completed"))
    audited.list_tools([{"name": "new", "annotations": {"readOnlyHint": True}}, "no definition", {"x": 1}])
    audited.begin(call("new"), PEER).finish(Verdict("completed"))
    assert audited.knows("new")
    effects = [line["target"]["effects"] for line in of_calls(path)]
    assert effects == ["unknown", "unknown", "read_only"]
    assert "tool_sha256" in of_calls(path)[-1]["target"]


def test_definitions_are_known_after_a_restart(audited: Audited, trail: Recorder) -> None:
    assert Audited(trail, backend="shop").knows("wipe")
    assert not Audited(trail, backend="bank").knows("wipe")


def test_a_call_whose_intent_cannot_be_recorded_is_refused_and_owed(audited: Audited, path: Path) -> None:
    with full_disk(), pytest.raises(TrailUnavailable):
        audited.begin(call(), PEER)
    audited.begin(call("look", 8), PEER).finish(Verdict("completed"))
    owed, outcome = of_calls(path)
    assert (owed["outcome"]["kind"], owed["outcome"]["error_type"]) == ("denied", "audit_unavailable")
    assert "intent" not in owed["request"]
    assert "answer_withheld" not in owed.get("metadata", {})
    assert outcome["outcome"]["kind"] == "completed"


def test_an_answer_whose_outcome_cannot_be_recorded_is_withheld_and_owed(audited: Audited, path: Path) -> None:
    opened = audited.begin(call(), PEER)
    with full_disk(), pytest.raises(TrailUnavailable):
        opened.finish(Verdict("completed"))
    opened.finish(Verdict("completed"))
    audited.begin(call("look", 8), PEER).finish(Verdict("completed"))
    intent, owed, _ = of_calls(path)
    assert owed["request"]["intent"] == intent["event_id"]
    assert owed["metadata"]["answer_withheld"] is True
    assert owed["outcome"]["kind"] == "denied"


def test_a_cancellation_that_cannot_be_recorded_raises_nothing(audited: Audited, path: Path) -> None:
    opened = audited.begin(call(), PEER)
    with full_disk():
        opened.cancelled("gone")
    audited.begin(call("look", 8), PEER).finish(Verdict("completed"))
    assert len(of_calls(path)) == 3


def test_asynchronous_calls_are_recorded_as_the_others_are(audited: Audited, path: Path) -> None:
    async def one(number: int) -> None:
        opened = await audited.abegin(call(rpc_id=number), PEER)
        await asyncio.sleep(0)
        await opened.afinish(Verdict("completed"))

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(main())
    found = of_calls(path)
    outcomes = [line for line in found if line["event_type"] == "mcp_operation"]
    assert len(found) == 200
    assert Counter(line["request"]["rpc_id"] for line in outcomes) == Counter(map(str, range(100)))
    places = {line["event_id"]: index for index, line in enumerate(found)}
    assert all(places[line["request"]["intent"]] < places[line["event_id"]] for line in outcomes)


@pytest.mark.parametrize("at", range(6))
def test_a_task_that_is_cancelled_anywhere_leaves_one_outcome(audited: Audited, path: Path, at: int) -> None:
    """Cancelled again at every await, as anyio does, and its loop ends at once: nothing is left to finish it."""

    async def serve() -> None:
        opened = await audited.abegin(call(), PEER)
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await opened.afinish(Verdict("completed"))
        except asyncio.CancelledError:
            opened.cancelled("the client went away")
            raise

    async def main() -> None:
        task = asyncio.ensure_future(serve())
        for _ in range(at):
            await asyncio.sleep(0)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)

    asyncio.run(main())
    audited.recorder.close()
    found = of_calls(path)
    kinds = [line["outcome"]["kind"] for line in found if line["event_type"] == "mcp_operation"]
    if at == 0:
        assert found == []
    else:
        assert len(kinds) == 1
        assert kinds[0] in ("cancelled", "completed")


def test_the_process_has_one_recorder_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(recorders, "_open", {})
    first = calling.default_recorder()
    assert calling.recorder_of(None)() is first
    assert str(first.path) == str(tmp_path / "indelible" / "audit.jsonl")
    named = calling.recorder_of(tmp_path / "mine.jsonl")()
    assert calling.recorder_of(str(tmp_path / "mine.jsonl"))() is named
    assert calling.recorder_of(named)() is named
    named.close()
    again = calling.recorder_of(tmp_path / "mine.jsonl")()
    assert again is not named
    again.close()
    first.close()


def test_a_forked_child_opens_its_own(tmp_path: Path) -> None:
    """Both write into one trail; the child's events say that they are another recorder's."""
    path = tmp_path / "audit.jsonl"
    audited = Audited(calling.recorder_of(path), backend="shop")
    audited.begin(call("look", 1), PEER).finish(Verdict("completed"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            audited.begin(call("look", 2), PEER).finish(Verdict("completed"))
            audited.recorder.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    audited.recorder.close()
    found = of_calls(path)
    pids = {line["request"]["rpc_id"]: line["source"]["recorder"]["pid"] for line in found}
    assert len(found) == 4
    assert (pids["1"], pids["2"]) == (os.getpid(), child)


users = st.sampled_from(["a", "b", "c"])
names = st.sampled_from(["look", "wipe", "x" * 2000])


@given(st.lists(st.tuples(users, names), max_size=30))
def test_events_name_their_own_caller_and_target_whatever_is_remembered(pairs: list[tuple[str, str]]) -> None:
    """A memory of two callers and two targets forgets at nearly every step."""
    recorder = mock.Mock()
    recorder.settings.audit.intent = "none"
    recorder.recall.return_value = {}
    recorder.waits = False
    recorder.record_outcome.return_value = False
    with mock.patch.object(calling, "MAX_PEERS", 2), mock.patch.object(calling, "MAX_TARGETS", 2):
        audited = Audited(lambda: recorder, backend="shop")
        for user, tool in pairs:
            audited.begin(call(tool), Peer(caller="http", user_id=user)).finish(Verdict("completed"))
    events = [made.args[0] for made in recorder.record.call_args_list]
    assert [(event.source.user_id, event.target.capability_name) for event in events] == pairs


def test_who_calls_again_is_known_again(audited: Audited) -> None:
    """The redactor takes the short way for the same objects only."""
    events: list[Any] = []
    with mock.patch.object(Recorder, "record", lambda self, event: events.append(event)):
        for number in range(3):
            peer = Peer(caller="http", session_id="s1", user_id="ada")
            audited.begin(call("look", number), peer).finish(Verdict("completed"))
    assert len({id(event.source) for event in events}) == 1
    assert len({id(event.target) for event in events}) == 1


def test_who_names_the_same_trail_shares_its_recorder_until_it_is_closed(tmp_path: Path) -> None:
    ask = calling.recorder_of(tmp_path / "audit.jsonl")
    first = ask()
    assert not first.closed
    assert calling.recorder_of(str(tmp_path / "audit.jsonl"))() is first
    first.close()
    assert first.closed
    second = ask()
    assert second is not first
    second.close()


def test_nothing_that_a_call_was_made_with_is_in_a_log_of_it(audited: Audited) -> None:
    opened = audited.begin(call(args={"password": "canary"}), PEER)
    assert "canary" not in repr(opened) + repr(opened._call)
    opened.finish(Verdict("completed"))


def test_a_client_that_is_like_the_last_one_is_another() -> None:
    last, one, other = LastPeer(), {"name": "agent"}, {"name": "agent"}
    assert last.get(one, ("2025-11-25",)) is None
    assert last.put(one, ("2025-11-25",), PEER) is PEER
    assert last.get(one, ("2025-11-25",)) is PEER
    assert last.get(one, ("2026-07-28",)) is None
    assert last.get(other, ("2025-11-25",)) is None
