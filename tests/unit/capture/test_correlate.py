"""The correlator: each cause of section 2 that a tap can see, and the corners around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from indelible.capture import correlate, methods
from indelible.capture.correlate import KEEP_ARGS, Correlator
from indelible.events import Event
from tests.unit.capture.feeding import NOW, TOOLS, Feed


def _error(code: Any, message: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}


def _result(**result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": result}


CAUSES: list[tuple[str, Any, str, str | None, int | None]] = [
    ("returned", _result(content=[]), "completed", None, None),
    ("null result", {"jsonrpc": "2.0", "id": 1, "result": None}, "completed", None, None),
    ("isError false", _result(isError=False), "completed", None, None),
    ("isError", _result(isError=True, content=[{"type": "text", "text": "no"}]), "tool_error", "no", None),
    ("isError, truthy", _result(isError="yes", content=3), "tool_error", None, None),
    ("input", _result(resultType="input_required", requestState="s"), "input_required", None, None),
    ("complete", _result(resultType="complete"), "completed", None, None),
    ("json-rpc error", _error(-32602, "bad"), "protocol_error", "bad", -32602),
    ("unknown name", _error(-32601, "no such tool"), "protocol_error", "no such tool", -32601),
    ("time-out", _error(-32001, "Request timed out"), "timed_out", "Request timed out", -32001),
    ("time-out, old", _error(408, "Timed out while waiting"), "timed_out", "Timed out while waiting", 408),
    ("-32001, other", _error(-32001, "header mismatch"), "protocol_error", "header mismatch", -32001),
    ("silly error", {"jsonrpc": "2.0", "id": 1, "error": "ouch"}, "protocol_error", "ouch", None),
    ("silly code", _error("x", ["y"]), "protocol_error", None, None),
    ("huge code", _error(2**80, "m"), "protocol_error", "m", None),
    ("null error", {"jsonrpc": "2.0", "id": 1, "error": None, "result": {}}, "completed", None, None),
    ("both", {"id": 1, "error": {"code": 1, "message": "e"}, "result": {}}, "protocol_error", "e", 1),
    ("NaN", b'{"id":1,"result":{"isError":true,"x":NaN}}', "tool_error", None, None),
    ("escaped", b'{"id":1,"result":{"is\\u0045rror":true}}', "tool_error", None, None),
    ("surrogate", b'{"id":1,"result":{"isError":true,"t":"\\ud800"}}', "tool_error", None, None),
    ("bad UTF-8", b'{"id":1,"result":{"isError":true,"t":"\xff"}}', "tool_error", None, None),
    ("deep", b'{"result":' + b"[" * 9999 + b"]" * 9999 + b',"id":1}', "completed", None, None),
]


@pytest.mark.parametrize(
    ("answer", "kind", "error", "code"), [c[1:] for c in CAUSES], ids=[c[0] for c in CAUSES]
)
def test_each_cause_has_its_kind(answer: Any, kind: str, error: str | None, code: int | None) -> None:
    feed = Feed()
    feed.call(1)
    feed.server(answer)
    feed.end()
    (operation,) = feed.outcomes
    outcome = operation.outcome
    assert outcome is not None
    assert (outcome.kind, outcome.error, outcome.error_code) == (kind, error, code)
    assert outcome.status == ("success" if kind in ("completed", "input_required") else "error")


@pytest.mark.parametrize("kind", ["cancelled", "backend_unavailable"])
def test_what_waits_at_the_end_and_what_comes_after_it(kind: Any) -> None:
    feed = Feed()
    feed.call(1)
    feed.events += feed.correlator.end(kind, "why", feed.mono)
    feed.call(2, "wipe")
    assert feed.kinds == [kind, kind]
    assert [event.event_type for event in feed.events[-2:]] == ["mcp_operation_started", "mcp_operation"]
    feed.answer(1)
    feed.end()
    assert len(feed.outcomes) == 2


PARTING = [
    (_error(-32000, "Connection closed"), "cancelled"),
    (_error(-32000, "MCP error -32000: Connection closed"), "cancelled"),
    (_error(-32000, "the database is gone"), "protocol_error"),
    (_error(-32000, "Rate limit exceeded for x"), "denied"),
    (_error(-32000, "the query timed out"), "timed_out"),
    (_error(-32603, "Connection closed"), "protocol_error"),
    (_result(content=[]), "completed"),
    (_result(isError=True, content=[{"type": "text", "text": "Connection closed"}]), "tool_error"),
]


@pytest.mark.parametrize(("answer", "kind"), PARTING)
def test_what_a_server_cancels_because_its_client_went_is_cancelled(answer: Any, kind: str) -> None:
    feed = Feed()
    feed.call(1)
    feed.correlator.parting = True
    feed.server(answer)
    feed.end()
    assert feed.kinds == [kind]
    outcome = feed.outcomes[0].outcome
    assert outcome is not None
    said = answer.get("error", {})
    assert outcome.error_code == said.get("code")
    assert outcome.error == said.get("message", outcome.error)


def test_the_same_answer_to_a_client_that_is_there_is_an_error() -> None:
    feed = Feed()
    feed.call(1)
    feed.server(_error(-32000, "Connection closed"))
    assert feed.kinds == ["protocol_error"]


def test_cancellation_is_final() -> None:
    feed = Feed()
    feed.call(7)
    feed.client({"method": "notifications/cancelled", "params": {"requestId": 7.0, "reason": "r"}})
    feed.answer(7)
    feed.client({"method": "notifications/cancelled", "params": {"requestId": 7}})
    feed.client({"method": "notifications/cancelled", "params": {}})
    feed.end()
    assert feed.kinds == ["cancelled"]
    assert feed.correlator.counts == {"unknown_answers": 1}


@pytest.mark.parametrize(
    ("asked", "answered", "matches"),
    [
        ("7", "7", True),
        ("7", '"7"', False),
        ('"7"', "7", False),
        ("7", "7.0", True),
        ("7.0", "7", True),
        ("-1", "-1", True),
        ("null", "null", True),
        ('"a"', '"\\u0061"', True),
        ('"\\ud83d\\ude00"', '"😀"', True),
        ("12345678901234567890123", "12345678901234567890123", True),
        ("1" * 5000, "1" * 5000, True),
        ('"' + "x" * 5000 + '"', '"' + "x" * 5000 + '"', True),
        ("true", "true", True),
        ("[1]", "[1]", True),
    ],
)
def test_ids_are_compared_as_peers_do(asked: str, answered: str, matches: bool) -> None:
    feed = Feed()
    feed.client(b'{"id":%b,"method":"tools/call","params":{"name":"look"}}' % asked.encode())
    feed.server(b'{"id":%b,"result":{}}' % answered.encode())
    feed.end()
    assert feed.kinds == ["completed" if matches else "backend_unavailable"]


def test_an_id_used_twice_gives_each_call_one_outcome() -> None:
    feed = Feed()
    for name in ("look", "plain", "wipe"):
        feed.call(1, name)
    feed.answer(1)
    feed.answer(1)
    feed.end()
    assert feed.kinds == ["completed", "completed", "backend_unavailable"]
    assert [e.target.capability_name for e in feed.outcomes if e.target] == ["look", "plain", "wipe"]


def test_the_spelling_of_an_id_decides_where_it_is_used_twice() -> None:
    feed = Feed()
    feed.client(b'{"id":7,"method":"tools/call","params":{"name":"look"}}')
    feed.client(b'{"id":7.0,"method":"tools/call","params":{"name":"plain"}}')
    feed.server(b'{"id":7.0,"result":{}}')
    assert [e.target.capability_name for e in feed.outcomes if e.target] == ["plain"]


@pytest.mark.parametrize("method", sorted(methods.HOUSEKEEPING))
def test_housekeeping_is_no_call(method: str) -> None:
    feed = Feed()
    feed.client({"id": 1, "method": method, "params": {"name": "look"}})
    feed.answer(1)
    feed.end()
    assert feed.events == []


@pytest.mark.parametrize(
    ("method", "params", "type_", "name", "effects"),
    [
        ("tools/call", {"name": "look"}, "tool", "look", "read_only"),
        ("tools/call", {"name": "never-listed"}, "tool", "never-listed", "unknown"),
        ("tools/call", None, "tool", None, "unknown"),
        ("tools/call", [1, 2], "tool", None, "unknown"),
        ("tools/call", {"name": 5}, "tool", "5", "unknown"),
        ("resources/read", {"uri": "file:///x"}, "resource", "file:///x", "read_only"),
        ("prompts/get", {"name": "p"}, "prompt", "p", "read_only"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}, "completion", "p", "read_only"),
        ("tasks/cancel", {"taskId": "t"}, "tasks", None, "unknown"),
        ("vendor/thing", {}, "vendor", None, "unknown"),
        ("bare", {}, "bare", None, "unknown"),
        ("", {}, "unknown", None, "unknown"),
    ],
)
def test_every_other_request_is_a_call(
    method: str, params: Any, type_: str, name: str | None, effects: str
) -> None:
    feed = Feed()
    feed.client({"id": 1, "method": method, "params": params})
    feed.answer(1)
    (operation,) = feed.outcomes
    target = operation.target
    assert target is not None
    assert (target.method, target.type, target.capability_name, target.effects) == (
        method,
        type_,
        name,
        effects,
    )
    assert len(feed.of("mcp_operation_started")) == (effects != "read_only")


@pytest.mark.parametrize(
    ("mode", "trust", "expected"),
    [("writes", True, ["wipe", "plain"]), ("all", True, ["look", "wipe", "plain"]), ("none", True, []),
     ("writes", False, ["look", "wipe", "plain"])],
)  # fmt: skip
def test_intents(mode: Any, trust: bool, expected: list[str]) -> None:
    feed = Feed(intent=mode, trust=trust)
    for number, name in enumerate(("look", "wipe", "plain")):
        feed.call(number, name)
        feed.answer(number)
    started = feed.of("mcp_operation_started")
    assert [event.target.capability_name for event in started if event.target] == expected
    assert {event.event_id for event in started} == {
        event.request.intent for event in feed.outcomes if event.request and event.request.intent
    }
    for event in started:
        assert event.request
        assert event.request.args is not None


def test_a_call_without_an_id_is_a_call_all_the_same() -> None:
    feed = Feed()
    step = feed.client({"method": "tools/call", "params": {"name": "wipe", "arguments": {}}})
    assert [event.event_type for event in step.events] == ["mcp_operation_started", "mcp_operation"]
    assert feed.kinds == ["protocol_error"]
    feed.client({"method": "notifications/progress", "params": {}})
    feed.client({"method": "vendor/notice"})
    feed.end()
    assert len(feed.outcomes) == 1


def test_versions_and_names_come_from_the_handshake() -> None:
    feed = Feed(listed=False)
    info = {"name": "c", "version": "9"}
    feed.client(
        {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "clientInfo": info}}
    )
    feed.call(1)
    feed.server(
        {"id": 0, "result": {"protocolVersion": "2025-03-26", "serverInfo": {"name": "s", "version": "4"}}}
    )
    feed.call(2)
    feed.answer(1)
    feed.answer(2)
    first, second = feed.outcomes
    assert first.target
    assert second.target
    assert first.source
    assert (first.target.server_version, first.target.protocol_version) == ("0.1", "2025-11-25")
    assert (second.target.server_version, second.target.protocol_version) == ("4", "2025-03-26")
    assert first.source.client == "c/9"
    assert feed.correlator.answered


def test_versions_and_names_come_with_each_request_in_the_stateless_revision() -> None:
    feed = Feed()
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "2"},
        "x-request-id": "req-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    feed.call(1, _meta=meta)
    feed.answer(1, {"_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "5"}}})
    feed.call(2, _meta=meta)
    feed.answer(2)
    first, second = feed.outcomes
    assert first.request
    assert second.target
    assert second.source
    assert (first.request.request_id, first.request.span_id) == ("req-1", "b7ad6b7169203331")
    assert first.request.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert second.source.client == "c/2"
    assert (second.target.protocol_version, second.target.server_version) == ("2026-07-28", "5")


@pytest.mark.parametrize(
    "meta",
    [
        None, 5, [], {"request_id": 5}, {"request_id": "a\nb"}, {"request_id": "x" * 500},
        {"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"}, {"traceparent": 1},
        {"io.modelcontextprotocol/clientInfo": "x", "io.modelcontextprotocol/protocolVersion": {}},
    ],
)  # fmt: skip
def test_hostile_meta_is_as_good_as_none(meta: Any) -> None:
    feed = Feed()
    feed.call(1, _meta=meta)
    feed.answer(1)
    (operation,) = feed.outcomes
    assert operation.request
    assert len(operation.request.request_id or "") == 36
    assert operation.request.trace_id is None


def test_a_retry_continues_its_round() -> None:
    feed = Feed()
    state = "s" * 1000
    feed.call(1)
    feed.answer(1, {"resultType": "input_required", "requestState": state})
    feed.call(2, requestState=state, inputResponses={})
    feed.answer(2, {"resultType": "input_required", "inputRequests": {}})
    feed.call(3, inputResponses={})
    feed.answer(3)
    feed.call(4)
    feed.answer(4)
    ids = [event.request.request_id for event in feed.outcomes if event.request]
    assert [event.request.continues for event in feed.outcomes if event.request] == [None, ids[0], ids[1], None]
    assert feed.kinds == ["input_required", "input_required", "completed", "completed"]


def test_a_task_is_named() -> None:
    feed = Feed()
    feed.call(1, task={"ttl": 5})
    feed.answer(1, {"task": {"taskId": "t-1", "status": "working"}})
    (operation,) = feed.outcomes
    assert operation.metadata == {"task": "t-1"}


@pytest.mark.parametrize(
    ("frame", "keys"),
    [
        (b'{"id":1,"method":"ping","Method":"tools/call","params":{"name":"look"}}', ["method"]),
        (b'{"id":1,"METHOD":"tools/call","params":{"name":"look"}}', ["method"]),
        (b'{"id":1,"method":"tools/call","method":"tools/call","params":{"name":"look"}}', ["method"]),
        (b'{"id":1,"ID":2,"method":"tools/call","params":{"name":"look"}}', ["id"]),
        (b'{"id":1,"method":"tools/call","params":{"name":"look"},"Params":{}}', ["params"]),
        ('{"id":1,"method":"tools/call","params":{"name":"look"},"param\u017f":{}}'.encode(), ["params"]),
        (b'{"id":1,"method":"tools/call","params":{"name":"look","Name":"wipe"}}', ["params.name"]),
        (b'{"id":1,"method":"tools/call","params":{"name":"look","n\\u0061me":"wipe"}}', ["params.name"]),
        (b'{"id":1,"method":"tools/call","params":{"name":"look","arguments":{},"Arguments":{}}}',
         ["params.arguments"]),
    ],
)  # fmt: skip
def test_ambiguous_envelopes_are_flagged_and_their_effects_not_believed(frame: bytes, keys: list[str]) -> None:
    feed = Feed()
    feed.client(frame)
    feed.answer(1)
    (operation,) = feed.outcomes
    assert operation.metadata == {"ambiguous": keys}
    assert operation.target
    assert operation.target.effects == "unknown"
    assert len(feed.of("mcp_operation_started")) == 1


def test_the_same_keys_inside_of_the_arguments_are_nobodys_business() -> None:
    feed = Feed()
    arguments = {"method": 1, "Method": 2, "id": 3, "name": 4, "Name": 5, "params": {"result": 6}}
    feed.call(1, arguments=arguments, _meta={"name": 1, "Id": 2})
    feed.answer(1, {"id": 9, "Id": 8, "error": 1})
    (operation,) = feed.outcomes
    assert operation.metadata is None
    assert operation.request
    assert json.loads(bytes(operation.request.args)) == arguments


HOSTILE = {
    "lone surrogate": b'{"a":"\\ud800"}',
    "NaN": b'{"a":NaN,"b":-Infinity}',
    "huge number": b'{"a":1e999,"b":' + b"9" * 6000 + b"}",
    "bad UTF-8": b'{"a":"\xff\xc3"}',
    "control characters": b'{"a":"\x01\x00"}',
    "duplicate keys": b'{"a":1,"a":2}',
    "BOM inside": b'{"a":"\xef\xbb\xbf"}',
    "list": b"[1]",
}


@pytest.mark.parametrize("arguments", HOSTILE.values(), ids=HOSTILE)
def test_hostile_arguments_make_one_operation_with_valid_json(arguments: bytes) -> None:
    feed = Feed()
    feed.client(b'{"id":1,"method":"tools/call","params":{"name":"look","arguments":%b}}' % arguments)
    feed.answer(1)
    (operation,) = feed.outcomes
    assert operation.request
    json.loads(bytes(operation.request.args).decode(), parse_int=str, parse_constant=pytest.fail)


@pytest.mark.parametrize("depth", [500, 10_000, 200_000])
def test_deep_nesting_makes_one_operation(depth: int) -> None:
    feed = Feed()
    nested = b"[" * depth + b"]" * depth
    feed.client(b'{"params":{"name":"look","arguments":%b},"method":"tools/call","id":"z"}' % nested)
    feed.answer("z")
    (operation,) = feed.outcomes
    assert operation.target
    assert operation.target.method == "tools/call"


def test_several_values_on_one_line_are_several_messages() -> None:
    feed = Feed()
    one = b'{"id":%d,"method":"tools/call","params":{"name":"look"}}'
    feed.client(one % 1 + b" " + one % 2)
    feed.client(b"[" + one % 3 + b"," + one % 4 + b",5,[6]]\n")
    feed.server([{"id": 1, "result": {}}, {"id": 3, "error": {"code": 1, "message": "m"}}])
    feed.end()
    assert sorted(feed.kinds) == ["backend_unavailable", "backend_unavailable", "completed", "protocol_error"]
    assert feed.correlator.counts == {"client_not_jsonrpc": 2}


def test_what_is_not_json_is_counted_and_nothing_else() -> None:
    feed = Feed()
    for line in (b"x\n", b"\n", b"{\n", b"\xff\n", b'{"a":1}\n', b"3\n"):
        feed.client(line)
        feed.server(line)
    assert feed.events == []
    assert feed.correlator.counts == {
        "client_not_json": 3, "server_not_json": 3, "client_not_jsonrpc": 2, "server_not_jsonrpc": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "reply", "kind", "metadata"),
    [
        ("sampling/createMessage", {"result": {"role": "assistant"}}, "completed", None),
        ("sampling/createMessage", {"error": {"code": -1, "message": "no"}}, "protocol_error", None),
        (
            "elicitation/create",
            {"result": {"action": "accept", "content": {}}},
            "completed",
            {"action": "accept"},
        ),
        ("elicitation/create", {"result": {"action": "cancel"}}, "cancelled", {"action": "cancel"}),
    ],
)
def test_requests_of_the_server(method: str, reply: Any, kind: str, metadata: Any) -> None:
    feed = Feed()
    feed.call(1)
    feed.server({"id": 1, "method": method, "params": {"message": "m"}})
    feed.server({"id": 2, "method": "roots/list"})
    feed.client({"id": 1, **reply})
    feed.client({"id": 2, "result": {"roots": []}})
    assert feed.outcomes == []
    (asked,) = feed.of(method.partition("/")[0])
    assert asked.outcome
    assert (asked.outcome.kind, asked.metadata) == (kind, metadata)
    feed.answer(1)
    assert feed.kinds == ["completed"]


def test_a_request_of_the_server_belongs_to_the_only_open_call() -> None:
    """Of several open ones, or of none, nobody can tell which one asks."""
    feed = Feed()
    feed.server({"id": 0, "method": "elicitation/create"})
    feed.client({"id": "l", "method": "tools/list"})  # waits as well, and is no call
    feed.call(1, "look")
    feed.server({"id": 1, "method": "elicitation/create"})
    feed.call(2, "look")
    feed.server({"id": 2, "method": "elicitation/create"})
    feed.answer(1)
    feed.server({"id": 3, "method": "sampling/createMessage"})
    for number in range(4):
        feed.client({"id": number, "result": {}})
    feed.answer(2)
    first, second = (event.request.request_id for event in feed.outcomes if event.request)
    asked = [event.request for event in (*feed.of("elicitation"), *feed.of("sampling"))]
    assert [request.continues for request in asked if request] == [None, first, None, second]


QUESTIONS = {
    "name": {"method": "elicitation/create", "params": {"message": "Who?"}},
    "model": {"method": "sampling/createMessage", "params": {"messages": []}},
    "roots": {"method": "roots/list"},
    "odd": 7,
}


@pytest.mark.parametrize("size", [0, 20_000])
def test_what_a_round_asks_and_the_next_one_answers(size: int) -> None:
    """What was asked at too great a length is known by its answer alone."""
    feed = Feed()
    feed.call(1, "look", _meta={"request_id": "first"})
    questions = {**QUESTIONS, "long": "x" * size}
    feed.answer(1, {"resultType": "input_required", "requestState": "s", "inputRequests": questions})
    said = {
        "name": {"action": "accept", "content": {"name": "Ada"}},
        "model": {"role": "assistant"},
        "roots": {"roots": []},
        "odd": 5,
        "unasked": {"action": "decline"},
    }
    step = feed.call(2, "look", requestState="s", inputResponses=said)
    assert [event.event_type for event in step.events] == ["elicitation", "sampling", "elicitation"]
    name, model, _ = step.events
    assert [event.request.continues for event in step.events if event.request] == ["first"] * 3
    assert [event.metadata for event in step.events] == [{"action": "accept"}, None, {"action": "decline"}]
    assert name.request is not None
    assert model.request is not None
    assert name.request.args == (None if size else {"message": "Who?"})
    assert model.request.args == (None if size else {"messages": []})
    assert name.outcome is not None
    assert name.outcome.result == said["name"]
    odd: list[Any] = [7, [], {"a": None}, {str(n): {"action": 7} for n in range(1000)}]
    for hostile in odd:
        step = feed.call(3, "look", requestState="s", inputResponses=hostile)
        assert len(step.events) <= 64


def test_lists_accumulate_over_pages_and_change() -> None:
    feed = Feed(listed=False)
    for page, tool in enumerate(TOOLS):
        feed.client({"id": page, "method": "tools/list"})
        step = feed.answer(page, {"tools": [tool, None, 7, {"name": 5}], "nextCursor": "x"})
        assert step.learned is not None
        assert len(step.learned) == page + 1
    feed.client({"id": 9, "method": "tools/list"})
    assert feed.answer(9, {"tools": TOOLS}).learned is None
    feed.call(1, "look")
    feed.client({"id": 10, "method": "tools/list"})
    assert feed.answer(10, {"tools": [{"name": "look", "description": "changed"}]}).learned is not None
    feed.answer(1)
    feed.call(2, "look")
    feed.answer(2)
    first, second = feed.outcomes
    assert first.target
    assert second.target
    assert (first.target.effects, second.target.effects) == ("read_only", "unknown")
    assert first.target.tool_sha256 != second.target.tool_sha256


def test_large_arguments_stand_in_the_intent_only() -> None:
    feed = Feed(intent="none")
    feed.call(1, arguments={"x": "y" * KEEP_ARGS})
    feed.answer(1)
    (intent,) = feed.of("mcp_operation_started")
    (operation,) = feed.outcomes
    assert intent.request
    assert operation.request
    assert len(bytes(intent.request.args)) > KEEP_ARGS
    assert (operation.request.args, operation.request.intent) == (None, intent.event_id)
    assert (operation.request.args_bytes or 0) > KEEP_ARGS


def test_the_arguments_of_all_outstanding_calls_are_bounded() -> None:
    feed = Feed()
    for number in range(100):
        feed.call(number, arguments={"x": "y" * (KEEP_ARGS // 2)})
    feed.end()
    kept = sum(
        len(bytes(event.request.args)) for event in feed.outcomes if event.request and event.request.args
    )
    assert kept <= correlate.KEEP_ALL_ARGS
    assert len(feed.outcomes) == 100
    feed.call("again", arguments={"x": "y" * 1000})
    assert feed.outcomes[-1].request
    assert feed.outcomes[-1].request.args is not None  # what has ended counts no more


def test_too_many_outstanding_calls_give_up_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlate, "MAX_CALLS", 10)
    feed = Feed()
    for number in range(25):
        feed.call(number)
    assert feed.kinds == ["interrupted"] * 15
    for number in range(25):
        feed.answer(number)
    assert feed.kinds == ["interrupted"] * 15 + ["completed"] * 10


def test_unanswered_housekeeping_is_forgotten_and_calls_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlate, "MAX_OTHERS", 10)
    feed = Feed()
    feed.call("call")
    for number in range(1000):
        feed.client({"id": number, "method": "ping"})
        feed.server({"id": number, "method": "sampling/createMessage"})
    assert len(feed.correlator._calls) <= 12
    assert len(feed.correlator._asked) <= 11
    feed.answer("call")
    assert feed.kinds == ["completed"]


def test_latency_and_time_are_those_of_the_receipt() -> None:
    correlator = Feed().correlator
    frame = b'{"id":1,"method":"tools/call","params":{"name":"look"}}'
    correlator.from_client(frame, NOW, 5_000_000)
    (event,) = correlator.from_server(b'{"id":1,"result":{}}', NOW + 10**9, 17_345_678).events
    assert event.outcome
    assert event.outcome.latency_ms == 12.345
    assert event.timestamp == "2025-11-21T04:40:00.123456Z"


# --- when it cannot be recorded -------------------------------------------------------------------------


def _refused(step: Any, correlator: Correlator, recorded: list[Event]) -> tuple[Any, list[Event]]:
    reply, events = correlator.refuse(step, [event.event_id for event in recorded], 10**10, "no trail")
    return (json.loads(reply) if reply else None), events


def test_a_refused_call_is_answered_and_denied() -> None:
    feed = Feed()
    step = feed.call("x", "wipe")
    reply, events = _refused(step, feed.correlator, [])
    assert reply["id"] == "x"
    assert reply["error"]["code"] == -32603
    assert "no trail" in reply["error"]["message"]
    (event,) = events
    assert event.outcome
    assert event.request
    assert (event.outcome.kind, event.outcome.error_type) == ("denied", "audit_unavailable")
    assert event.request.intent is None
    assert feed.answer("x").events == []  # it never reached the server


def test_what_is_owed_of_a_call_that_ended_at_once_is_in_the_place_of_its_outcome() -> None:
    """If that is recorded late, the refusal is not: a call has one outcome."""
    feed = Feed()
    step = feed.client({"method": "tools/call", "params": {"name": "wipe"}})
    intent, outcome = step.events
    for recorded in ([], [intent]):
        _, events = feed.correlator.refuse(step, [event.event_id for event in recorded], 10**10, "no trail")
        assert [event.event_id for event in events] == [outcome.event_id]


def test_a_refused_batch_is_refused_as_a_whole() -> None:
    feed = Feed()
    step = feed.client(
        [
            {"id": 1, "method": "tools/call", "params": {"name": "wipe"}},
            {"method": "tools/call", "params": {"name": "wipe"}},
            {"id": 3, "method": "ping"},
        ]
    )
    intent = step.events[0]
    reply, events = _refused(step, feed.correlator, [intent])
    assert [item["id"] for item in reply] == [1, 3]
    kinds = [(e.outcome.kind, e.request.intent) for e in events if e.outcome and e.request]
    assert kinds == [("denied", intent.event_id), ("denied", None)]
    feed.events.clear()
    feed.end()
    assert feed.events == []


def test_an_answer_whose_outcome_cannot_be_recorded_is_withheld() -> None:
    feed = Feed()
    feed.call(1, "wipe")
    step = feed.answer(1, {"content": "secret"})
    reply, events = feed.correlator.withhold(step, [], 10**10, "no trail")
    assert json.loads(reply)["id"] == 1
    assert b"secret" not in reply
    (event,) = events
    assert event.metadata == {"answer_withheld": True}
    assert (
        event.event_id == step.events[-1].event_id
    )  # in whose place it is owed: if that is recorded late, it is not
    assert event.outcome
    assert event.outcome.kind == "denied"


def test_no_text_is_cut_before_redaction() -> None:
    long = "a secret at the end of much text " * 100
    feed = Feed(listed=False)
    feed.client(
        {"id": 0, "method": "initialize", "params": {"clientInfo": {"name": long}, "protocolVersion": long}}
    )
    feed.server({"id": 0, "result": {"serverInfo": {"name": "s", "version": long}}})
    feed.call(long, long)
    feed.server({"id": long, "error": {"code": 1, "message": long}})
    feed.call(2, "x" * 100_000)
    feed.end()
    first, second = feed.outcomes
    assert first.source
    assert first.target
    assert first.outcome
    assert first.request
    assert {first.source.client, first.target.protocol_version, first.target.server_version} == {long}
    assert {first.target.capability_name, first.outcome.error, json.loads(first.request.rpc_id or "")} == {long}
    assert second.target
    assert (second.target.capability_name or "").startswith("[100000 characters, sha256 ")
