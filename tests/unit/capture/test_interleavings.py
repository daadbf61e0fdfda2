"""Whatever the order in which lines arrive: one operation a call, and every intent before its outcome."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.effort import examples
from tests.unit.capture.feeding import Feed

IDS = st.one_of(
    st.integers(0, 4), st.sampled_from(["0", "1", "a"]), st.none(), st.just(1.0), st.just(2**70), st.booleans()
)
NAMES = st.sampled_from(["look", "wipe", "plain", "other"])
METHODS = st.sampled_from(["resources/read", "prompts/get", "vendor/x", "tasks/cancel", "completion/complete"])
CALL_METHODS = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})


class Traffic(RuleBasedStateMachine):
    """A client and a server that know no manners; `made` counts the calls by the definition of `methods`."""

    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed()
        self.made = 0
        self.ended = False

    @rule(rpc_id=IDS, name=NAMES)
    def call(self, rpc_id: Any, name: str) -> None:
        self.made += 1
        self.feed.call(rpc_id, name)

    @rule(rpc_id=IDS, method=METHODS)
    def other_call(self, rpc_id: Any, method: str) -> None:
        self.made += 1
        self.feed.client({"id": rpc_id, "method": method, "params": {"name": "x", "uri": "y"}})

    @rule(rpc_id=IDS)
    def housekeeping(self, rpc_id: Any) -> None:
        self.feed.client({"id": rpc_id, "method": "ping"})

    @rule(name=NAMES)
    def call_without_id(self, name: str) -> None:
        self.made += 1
        self.feed.client({"method": "tools/call", "params": {"name": name}})

    @rule(ids=st.lists(IDS, max_size=4))
    def batch(self, ids: list[Any]) -> None:
        self.made += len(ids)
        self.feed.client([{"id": i, "method": "tools/call", "params": {"name": "wipe"}} for i in ids])

    @rule(
        rpc_id=IDS,
        body=st.sampled_from([{"result": {}}, {"result": {"isError": True}}, {"error": {"code": 1}}]),
    )
    def answer(self, rpc_id: Any, body: dict[str, Any]) -> None:
        self.feed.server({"id": rpc_id, **body})

    @rule(ids=st.lists(IDS, max_size=4))
    def answers(self, ids: list[Any]) -> None:
        self.feed.server([{"id": i, "result": {}} for i in ids])

    @rule(rpc_id=IDS)
    def cancel(self, rpc_id: Any) -> None:
        self.feed.client({"method": "notifications/cancelled", "params": {"requestId": rpc_id}})

    @rule(rpc_id=IDS, method=st.sampled_from(["sampling/createMessage", "elicitation/create", "roots/list"]))
    def ask(self, rpc_id: Any, method: str) -> None:
        self.feed.server({"id": rpc_id, "method": method})

    @rule(rpc_id=IDS)
    def reply(self, rpc_id: Any) -> None:
        self.feed.client({"id": rpc_id, "result": {}})

    @rule(data=st.binary(max_size=40), side=st.booleans())
    def noise(self, data: bytes, side: bool) -> None:
        (self.feed.client if side else self.feed.server)(data + b"]}x\n")

    @rule(rpc_id=IDS)
    def refused(self, rpc_id: Any) -> None:
        self.made += 1
        seen = len(self.feed.events)
        step = self.feed.call(rpc_id, "wipe")
        del self.feed.events[seen:]
        _, events = self.feed.correlator.refuse(step, [], self.feed.mono, "no")
        self.feed.events += events

    @precondition(lambda self: not self.ended)
    @rule(kind=st.sampled_from(["cancelled", "backend_unavailable"]))
    def end(self, kind: Any) -> None:
        self.ended = True
        self.feed.events += self.feed.correlator.end(kind, "end", self.feed.mono)

    @invariant()
    def accounts_balance(self) -> None:
        assert len(self.feed.outcomes) + self.feed.correlator.outstanding == self.made

    @invariant()
    def intents_precede(self) -> None:
        open_intents: set[str] = set()
        for event in self.feed.events:
            if event.event_type == "mcp_operation_started":
                open_intents.add(event.event_id)
            elif event.event_type == "mcp_operation" and event.request and event.request.intent:
                assert event.request.intent in open_intents
                open_intents.remove(event.request.intent)

    def teardown(self) -> None:
        self.feed.end()
        assert len(self.feed.outcomes) == self.made
        assert self.feed.correlator.outstanding == 0
        assert self.feed.correlator._kept == 0
        seen = Counter(event.request.request_id for event in self.feed.outcomes if event.request)
        assert all(count == 1 for count in seen.values())


class TestTraffic:
    def test_a_sample(self) -> None:
        few = settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(Traffic, settings=few)

    @pytest.mark.long
    def test_much(self) -> None:
        much = settings(max_examples=3000, stateful_step_count=60, deadline=None)
        run_state_machine_as_test(Traffic, settings=much)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["id", "ID", "method", "params", "name", "result", "error", "_meta", "isError", "tools"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
CALLISH = st.fixed_dictionaries(
    {"method": st.sampled_from(["tools/call", "initialize", "tools/list", "x"]), "id": JSON, "params": JSON}
)


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.booleans(), st.one_of(JSON, CALLISH)), max_size=6))
def test_no_message_whatever_raises(messages: list[tuple[bool, Any]]) -> None:
    feed = Feed()
    for from_client, message in messages:
        (feed.client if from_client else feed.server)(message)
    feed.end()
    assert feed.correlator.outstanding == 0


@settings(max_examples=examples(300))
@given(st.binary(max_size=60), st.integers(0, 90), st.booleans())
def test_no_bytes_whatever_raise(noise: bytes, at: int, cut: bool) -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":{"a":1}}}'
    frame = line[:at] + noise + (b"" if cut else line[at:])
    feed = Feed()
    feed.client(frame)
    feed.server(frame)
    feed.correlator.from_client_cut(frame, frame, 0, 0)
    feed.correlator.from_server_cut(frame, frame, 0, 0)
    feed.end()
    assert feed.correlator.outstanding == 0
