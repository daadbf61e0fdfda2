"""Between the tap and the trail: what happens to a line when an event cannot be recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from indelible.capture.audit import Auditor
from indelible.capture.calls import Session
from indelible.capture.correlate import Correlator
from indelible.capture.lanes import CutLine
from indelible.config import OnFailure
from indelible.definitions import Tool
from indelible.errors import TrailUnavailable
from indelible.events import Event, Source, Target

CALL = b'{"id":1,"method":"tools/call","params":{"name":"wipe"}}\n'
READ = b'{"id":1,"method":"resources/read","params":{"uri":"u"}}\n'
ANSWER = b'{"id":1,"result":{"content":"payload"}}\n'


class Memory:
    """A recorder that keeps events, or fails as it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.owed: list[Event] = []
        self.prepared: list[tuple[Any, Target | None, Source | None]] = []
        self.learned: list[str] = []
        self.counted: list[str] = []
        self.fails: Exception | None = None

    def record(self, event: Event) -> None:
        if self.fails is not None:
            raise self.fails
        self.events.append(event)

    def prepare(self, args: Any, target: Target | None, source: Source | None) -> Any:
        self.prepared.append((args, target, source))
        return args

    def refuse(self, event: Event) -> None:
        self.owed.append(event)

    def lost(self, why: str) -> None:
        self.counted.append(why)

    def learn(self, backend: str, tools: Sequence[Tool]) -> None:
        self.learned += [f"{backend}/{tool.name}" for tool in tools]


def _auditor(on_failure: OnFailure) -> tuple[Auditor, Memory]:
    session = Session(caller="stdio", backend="b")
    memory = Memory()
    return Auditor(memory, Correlator(session), session, Source(caller="stdio"), on_failure), memory


def _kinds(events: list[Event]) -> list[str]:
    return [event.outcome.kind for event in events if event.outcome is not None]


def test_what_is_recorded_goes_on() -> None:
    audit, memory = _auditor("deny")
    assert audit.client(CALL, 0, 0) is None
    assert [event.event_type for event in memory.events] == ["mcp_operation_started"]
    assert audit.outstanding == 1
    assert audit.server(ANSWER, 0, 0) is None
    assert _kinds(memory.events) == ["completed"]
    assert audit.outstanding == 0


def test_a_call_that_cannot_be_recorded_is_answered_by_us() -> None:
    audit, memory = _auditor("deny")
    memory.fails = TrailUnavailable("disk full")
    reply = audit.client(CALL, 0, 0)
    assert reply is not None
    assert json.loads(reply)["error"]["code"] == -32603
    assert reply.endswith(b"\n")
    assert _kinds(memory.owed) == ["denied"]
    assert audit.outstanding == 0


def test_a_result_whose_outcome_cannot_be_recorded_is_withheld() -> None:
    audit, memory = _auditor("deny")
    assert audit.client(READ, 0, 0) is None  # read-only: nothing to record yet
    memory.fails = TrailUnavailable("disk full")
    reply = audit.server(ANSWER, 0, 0)
    assert reply is not None
    assert b"payload" not in reply
    assert json.loads(reply)["id"] == 1
    assert _kinds(memory.owed) == ["denied"]


def test_a_cancellation_goes_on_though_it_cannot_be_recorded_yet() -> None:
    audit, memory = _auditor("deny")
    audit.client(READ, 0, 0)
    memory.fails = TrailUnavailable("disk full")
    cancel = b'{"method":"notifications/cancelled","params":{"requestId":1}}\n'
    assert audit.client(cancel, 0, 0) is None
    assert _kinds(memory.owed) == ["cancelled"]


def test_outcomes_at_the_end_are_owed() -> None:
    audit, memory = _auditor("deny")
    audit.client(CALL, 0, 0)
    memory.fails = TrailUnavailable("disk full")
    audit.server_gone("died", crashed=True)
    assert _kinds(memory.owed) == ["backend_unavailable"]
    audit.ended("exited with code 1")
    assert memory.owed[-1].state is not None
    assert memory.owed[-1].state.to == "Failed"


@pytest.mark.parametrize(("on_failure", "goes_on"), [("allow", True), ("deny", False)])
def test_a_fault_of_ours_ends_nobodys_session(
    on_failure: OnFailure, goes_on: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    audit, memory = _auditor(on_failure)
    memory.fails = ZeroDivisionError("a secret")
    for _ in range(3):
        assert (audit.client(CALL, 0, 0) is None) == goes_on
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "secret" not in said


def test_marks_are_learned_before_the_list_is_released() -> None:
    audit, memory = _auditor("allow")
    audit.client(b'{"id":1,"method":"tools/list"}\n', 0, 0)
    assert audit.server(b'{"id":1,"result":{"tools":[{"name":"t"}]}}\n', 0, 0) is None
    assert memory.learned == ["b/t"]


def test_the_phases() -> None:
    audit, memory = _auditor("allow")
    audit.started(0)
    audit.client(b'{"id":1,"method":"initialize"}\n', 0, 0)
    audit.server(b'{"id":1,"error":{"code":1,"message":"not today"}}\n', 0, 0)
    audit.client(b'{"id":2,"method":"ping"}\n', 0, 0)
    audit.server(b'{"id":2,"result":{}}\nnot json', 0, 0)
    audit.server(b'{"id":2,"result":{}}\n', 0, 0)
    audit.closing("the client left")
    audit.closing("again")
    audit.ended("exited with code 0")
    changes = [(e.state.from_, e.state.to, e.state.reason) for e in memory.events if e.state is not None]
    assert changes == [
        ("Pending", "Initializing", "started"),
        ("Initializing", "Failed", "not today"),
        ("Failed", "Ready", "answered"),
        ("Ready", "ShuttingDown", "the client left; exited with code 0"),
    ]
    assert memory.events[-1].metadata == {"unknown_answers": 1}


def test_a_client_that_leaves_because_its_server_has_gone_ends_nothing() -> None:
    audit, memory = _auditor("allow")
    audit.started(0)
    audit.client(b'{"id":1,"method":"initialize"}\n', 0, 0)
    audit.server(b'{"id":1,"result":{}}\n', 0, 0)
    audit.server_gone("the server closed its stdout", crashed=True)
    audit.closing("the client closed its side")
    audit.ended("exited with code 3")
    change = memory.events[-1].state
    assert change is not None
    assert (change.from_, change.to, change.reason) == ("Ready", "Failed", "exited with code 3")


def test_a_cut_line_is_recorded_by_its_ends() -> None:
    audit, memory = _auditor("deny")
    assert audit.client_cut(CutLine(CALL[:-5], CALL[-40:], b""), 0, 0) is None
    assert audit.server_cut(CutLine(b'{"result":{"x":"yyy', b'yyy"},"id":1}\n', b""), 0, 0) is None
    assert _kinds(memory.events) == ["completed"]
    memory.fails = TrailUnavailable("disk full")
    assert audit.client_cut(CutLine(CALL[:-5], CALL[-40:], b""), 0, 0) is not None


LISTED = b'{"id":0,"result":{"tools":[{"name":"look","inputSchema":{},"annotations":{"readOnlyHint":true}}]}}\n'


def test_arguments_are_redacted_ahead_of_the_answer_when_no_intent_was() -> None:
    audit, memory = _auditor("deny")
    audit.client(b'{"id":0,"method":"tools/list"}\n', 0, 0)
    audit.server(LISTED, 0, 0)
    assert (
        audit.client(b'{"id":1,"method":"tools/call","params":{"name":"look","arguments":{"a":1}}}\n', 0, 0)
        is None
    )
    audit.ahead()
    audit.ahead()
    audit.server(ANSWER, 0, 0)
    [(args, target, source)] = memory.prepared
    [event] = [event for event in memory.events if event.outcome is not None]
    assert event.request is not None
    assert event.request.args is args
    assert event.target is target
    assert event.source is source
