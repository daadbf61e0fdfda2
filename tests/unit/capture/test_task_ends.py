"""Tasks of a server that is only looked at: by `wrap`, the tap of SDK 1.x, and in front of an HTTP app."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from indelible.asgi import AuditASGI
from indelible.capture import task_ends
from indelible.capture.audit import Auditor
from indelible.capture.calls import Session
from indelible.capture.correlate import Correlator
from indelible.capture.task_ends import Executions
from indelible.errors import TrailUnavailable
from indelible.events import Event, Source
from indelible.opening import open_trail
from tests.recording import full_disk
from tests.unit.capture.feeding import Feed
from tests.unit.capture.test_asgi import answering, ask, bytes_of, operations, scope
from tests.unit.capture.test_audit import Memory

OLD: dict[str, Any] = {"task": {"taskId": "t-1", "status": "working"}}
NEW: dict[str, Any] = {"resultType": "task", "taskId": "t-1", "status": "working"}
"""How a call is answered with a task: in 2025-11-25, and by SEP-2663."""

ENDS: dict[str, tuple[str, dict[str, Any], tuple[str, str | None, int | None]]] = {
    "completed": ("tasks/get", {"taskId": "t-1", "status": "completed"}, ("completed", None, None)),
    "with its result": (
        "tasks/get",
        {"taskId": "t-1", "status": "completed",
         "result": {"isError": True, "content": [{"type": "text", "text": "sold out"}]}},
        ("tool_error", "sold out", None),
    ),
    "failed": ("tasks/get", {"taskId": "t-1", "status": "failed", "statusMessage": "no"}, ("tool_error", "no", None)),
    "failed with an error": (
        "tasks/get", {"taskId": "t-1", "status": "failed", "error": {"code": -32050, "message": "not now"}},
        ("protocol_error", "not now", -32050),
    ),
    "its result": ("tasks/result", {"content": []}, ("completed", None, None)),
    "cancelled": ("tasks/cancel", {"taskId": "t-1", "status": "cancelled"}, ("cancelled", None, None)),
}  # fmt: skip


def said(event: Event) -> tuple[str, str | None, int | None]:
    assert event.outcome is not None
    return event.outcome.kind, event.outcome.error, event.outcome.error_code


def continued(feed: Feed) -> list[Event]:
    return [event for event in feed.outcomes if event.request is not None and event.request.continues]


def poll(feed: Feed, rpc_id: Any, method: str, result: Any, task: str = "t-1") -> None:
    feed.client({"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": {"taskId": task}})
    feed.answer(rpc_id, result)


@pytest.mark.parametrize("form", [OLD, NEW])
@pytest.mark.parametrize("how", sorted(ENDS))
def test_a_polled_end_is_an_operation_that_continues_the_call(how: str, form: dict[str, Any]) -> None:
    method, result, expected = ENDS[how]
    feed = Feed()
    feed.call(1, "wipe")
    step = feed.answer(1, form)
    [opening] = feed.outcomes
    assert [event.event_type for event in step.events] == ["mcp_operation", "mcp_operation_started"]
    poll(feed, 2, "tasks/get", {"taskId": "t-1", "status": "working"})
    poll(feed, 3, "tasks/get", {"taskId": "t-2", "status": "completed"})
    assert continued(feed) == []
    poll(feed, 4, method, result)
    poll(feed, 5, "tasks/result", {"content": []})
    feed.end()
    [end] = continued(feed)
    assert said(end) == expected
    assert opening.request is not None
    assert end.request is not None
    assert (end.request.continues, end.request.rpc_id) == (opening.request.request_id, None)
    assert end.request.intent == step.events[1].event_id
    assert (end.target, end.metadata) == (opening.target, {"task": "t-1"})


def test_a_read_only_call_has_no_intent_and_an_end_all_the_same() -> None:
    feed = Feed()
    feed.call(1, "look")
    feed.answer(1, NEW)
    poll(feed, 2, "tasks/get", {"taskId": "t-1", "status": "completed"})
    assert feed.of("mcp_operation_started") == []
    assert [said(event)[0] for event in continued(feed)] == ["completed"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("backend_unavailable", "backend_unavailable"), ("cancelled", "interrupted")]
)
def test_a_session_that_ends_ends_its_tasks(kind: Any, expected: str) -> None:
    feed = Feed()
    feed.call(1, "wipe")
    feed.answer(1, OLD)
    feed.events += feed.correlator.end(kind, "gone", feed.mono)
    assert [said(event)[:2] for event in continued(feed)] == [(expected, "gone")]


def test_over_http_a_task_outlives_the_session_that_began_it() -> None:
    shared = Executions()
    first, second = Feed(), Feed()
    for feed in (first, second):
        feed.correlator._executions, feed.correlator._outlived = shared, True
    first.call(1, "wipe")
    first.answer(1, OLD)
    first.end()
    assert continued(first) == []
    poll(second, 7, "tasks/get", {"taskId": "t-1", "status": "completed"})
    assert [said(event)[0] for event in continued(second)] == ["completed"]


def test_of_too_many_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_ends, "MAX_TASKS", 3)
    feed = Feed()
    for number in range(5):
        feed.call(number, "wipe")
        feed.answer(number, {"resultType": "task", "taskId": f"t-{number}"})
    assert [(said(event)[0], event.metadata) for event in continued(feed)] == [
        ("interrupted", {"task": "t-0"}), ("interrupted", {"task": "t-1"}),
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [None, 3, [], {"taskId": 7, "status": "completed"}, {"status": "completed"}])
def test_what_no_server_should_answer_ends_nothing(answer: Any) -> None:
    feed = Feed()
    feed.call(1, "wipe")
    feed.answer(1, OLD)
    poll(feed, 2, "tasks/get", answer)
    feed.client({"jsonrpc": "2.0", "id": 3, "method": "tasks/result", "params": answer})
    feed.answer(3, {})
    assert continued(feed) == []


def test_an_end_that_cannot_be_recorded_is_not_told() -> None:
    session, memory = Session(caller="stdio", backend="b"), Memory()
    audit = Auditor(memory, Correlator(session), session, Source(caller="stdio"), "deny")
    audit.client(b'{"id":1,"method":"tools/call","params":{"name":"wipe"}}\n', 0, 0)
    assert audit.server(json.dumps({"id": 1, "result": OLD}).encode(), 0, 0) is None
    memory.fails = TrailUnavailable("disk full")
    audit.client(b'{"id":2,"method":"tasks/get","params":{"taskId":"t-1"}}\n', 0, 0)
    told = {"id": 2, "result": {"taskId": "t-1", "status": "completed"}}
    reply = audit.server(json.dumps(told).encode(), 0, 0)
    assert reply is not None
    answer = json.loads(reply)
    assert (answer["id"], "withheld" in answer["error"]["message"]) == (2, True)
    [owed] = memory.owed
    assert owed.outcome is not None
    assert (owed.outcome.kind, owed.outcome.error_type) == ("denied", "audit_unavailable")
    assert owed.metadata == {"task": "t-1", "answer_withheld": True}


# --- in front of an app ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", [True, False])
@pytest.mark.parametrize("how", sorted(ENDS))
def test_in_front_of_an_app_too(how: str, sessions: bool, tmp_path: Path) -> None:
    method, result, expected = ENDS[how]
    trail, numbers = tmp_path / "audit.jsonl", itertools.count(1)
    answers: dict[str, Any] = {}

    async def app(asked: Any, receive: Any, send: Any) -> None:
        about: dict[str, Any] = {"mcp_session_id": "s-1"} if sessions else {}
        rpc_id = dict(asked["headers"])[b"x-number"].decode()
        body = bytes_of({"jsonrpc": "2.0", "id": int(rpc_id), "result": answers[rpc_id]})
        await answering([body], **about)(asked, receive, send)

    async def run() -> None:
        with open_trail(trail, on_failure="deny") as recorder:
            front = AuditASGI(app, recorder)

            async def send(method: str, params: Any, result: Any) -> Any:
                number = next(numbers)
                answers[str(number)] = result
                named: dict[str, Any] = {"x_number": str(number)}
                if sessions:
                    named["mcp_session_id"] = "s-1"
                body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                return json.loads((await ask(front, body, scope(**named))).body)

            if sessions:
                await send("initialize", {}, {})
            await send("tools/call", {"name": "wipe", "arguments": {}}, OLD)
            await send("tasks/get", {"taskId": "t-1"}, {"taskId": "t-1", "status": "working"})
            await send(method, {"taskId": "t-1"}, result)
            await send("tasks/get", {"taskId": "t-1"}, {"taskId": "t-1", "status": "completed"})
            await send("tools/call", {"name": "wipe", "arguments": {}}, OLD)
            with full_disk():
                told = await send("tasks/get", {"taskId": "t-1"}, {"taskId": "t-1", "status": "completed"})
            assert "withheld" in told["error"]["message"]

    asyncio.run(run())
    ended = [line for line in operations(trail) if line["request"].get("continues")]
    kinds = [
        (line["outcome"]["kind"], line["outcome"].get("error"), line["outcome"].get("error_code"))
        for line in ended
    ]
    assert kinds[0] == expected
    assert [line["outcome"].get("error_type") for line in ended[1:]] == ["audit_unavailable"]
    opened = {
        line["request"]["request_id"] for line in operations(trail) if not line["request"].get("continues")
    }
    assert all(line["request"]["continues"] in opened for line in ended)
    assert all("intent" in line["request"] and line["metadata"]["task"] == "t-1" for line in ended)
