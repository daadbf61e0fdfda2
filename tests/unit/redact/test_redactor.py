"""The redactor: fields, digests, modes, tools that nobody listed, and what happens when something is odd."""

from __future__ import annotations

import hashlib
import hmac
import threading
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import events
from indelible.config import RedactionSettings
from indelible.events import Event, Policy, RecorderId, Request, Source, State, Target, outcome
from indelible.redact import compile_marks, fields
from indelible.redact.digest import Digester
from tests.redacting import KEY, event, make


def body(redactor: Any, given_event: Event) -> dict[str, Any]:
    return dict(orjson.loads(redactor.redact(given_event)))


def keyed(data: bytes) -> str:
    return hmac.new(KEY, data, hashlib.sha256).hexdigest()


@given(st.binary(max_size=200), st.binary(max_size=300))
@settings(deadline=None)
def test_the_digest_is_hmac_sha256(key: bytes, data: bytes) -> None:
    assert Digester(key).hex(data) == hmac.new(key, data, hashlib.sha256).hexdigest()


# --- arguments and results ------------------------------------------------------------------------------


def test_size_and_digest_are_of_the_original(redactor: Any) -> None:
    value = {"b": "hunter2", "a": {"password": "x", "n": 1.5}, "é": [None, True]}
    request = body(redactor, event(value))["request"]
    assert request["args_bytes"] == len(orjson.dumps(value))
    assert request["args_hmac"] == keyed(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    assert request["hmac_key_id"] == "k1"


@pytest.mark.parametrize("value", [{"a": 1, "b": "x"}, {"a": 1, "b": "x@y.zz"}])
def test_bytes_from_the_wire_have_the_digest_of_the_value(redactor: Any, value: dict[str, Any]) -> None:
    wire = msgspec.Raw(b'{ "b" : "' + value["b"].encode() + b'",\n "a": 1}')
    assert body(redactor, event(wire))["request"] | {"args": 0} == body(redactor, event(value))["request"] | {
        "args": 0
    }
    escaped = msgspec.Raw(b'{"p\\u0061ssword":"x","mail":"q"}')
    assert body(redactor, event(escaped))["request"]["args"] == {"password": "[REDACTED]", "mail": "[REDACTED]"}


def test_what_is_not_json_is_digested_as_it_came(redactor: Any) -> None:
    for raw in (b"{bad", b"", b"\xff", b'{"a":1}}', b"[" * 5_000):
        found = body(redactor, event(msgspec.Raw(raw)))
        assert found["request"]["args_hmac"] == keyed(raw)
        assert found["request"]["args_bytes"] == len(raw)
        assert found["metadata"]["args_digest"] == "as received"
    lenient = b'{"password":"x","n":NaN,"i":1e999,"s":"\\ud800"}'
    found = body(redactor, event(msgspec.Raw(lenient)))
    assert found["request"]["args"] == {"password": "[REDACTED]", "n": "NaN", "i": "Infinity", "s": "\ufffd"}
    assert found["metadata"] == {"args_digest": "as received", "replaced_surrogates": True}


def test_python_objects_become_json(redactor: Any) -> None:
    value = {
        "b": b"alice@example.com",
        "x": b"\xff",
        "s": {1},
        5: object(),
        "n": float("inf"),
        "i": 2**80,
        "k": 2**60,
    }
    found = body(redactor, event(value))
    assert found["request"]["args"] == {
        "b": "[EMAIL]", "x": "[1 BYTES]", "s": [1], "5": "[NOT JSON: object]", "n": "Infinity",
        "i": str(2**80), "k": str(2**60),
    }  # fmt: skip
    assert found["metadata"] == {"args_digest": "as converted"}


def test_keys_that_become_the_same_stay_apart(redactor: Any) -> None:
    kept = body(redactor, event({"a@b.co": 1, "c@d.co": 2, "e@f.co": 3}))["request"]["args"]
    assert sorted(kept.values()) == [1, 2, 3]
    assert all(key.startswith("[EMAIL]") for key in kept)


def test_what_a_pattern_leaves_of_a_key_is_a_name_too(redactor: Any) -> None:
    kept = body(redactor, event({"tokeneyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc": "x"}))["request"]["args"]
    assert kept == {"token[TOKEN]": "[REDACTED]"}


def test_long_texts_are_cut_after_redaction(redactor: Any) -> None:
    text = "x" * 195 + " alice@example.com " + "y " * 400
    kept = body(redactor, event({"t": text}))["request"]["args"]["t"]
    assert kept.startswith("x" * 195)
    assert "alice" not in kept
    assert " ... [TRUNCATED]" in kept
    assert f"{len(text)} chars" in kept
    assert keyed(text.encode())[:32] in kept
    assert len(kept) < 300
    assert body(redactor, event({"t": "z" * 500}))["request"]["args"]["t"] == "z" * 500
    assert "z" * 201 not in body(redactor, event({"t": "z" * 501}))["request"]["args"]["t"]
    quotes = '"' * 250 + "\\" * 251
    assert "[TRUNCATED]" in body(redactor, event({"t": quotes}))["request"]["args"]["t"]


@pytest.mark.parametrize("mode", ["full", "digest", "none"])
def test_modes(mode: Any) -> None:
    redactor = make(record_args=mode, record_results=mode)
    found = body(redactor, event({"a": 1}, outcome=outcome("completed", 1.0, result={"text": "q@r.st"})))
    request, result = found["request"], found["outcome"]
    assert ("args" in request) == (mode == "full")
    assert ("result" in result) == (mode == "full")
    assert (
        ("args_hmac" in request) == ("result_hmac" in result) == ("hmac_key_id" in request) == (mode != "none")
    )
    assert request["args_bytes"] == 7
    assert result["result_bytes"] == 17
    assert result.get("result", {"text": "[EMAIL]"}) == {"text": "[EMAIL]"}
    if mode != "none":
        assert result["result_hmac"] == keyed(b'{"text":"q@r.st"}')


def test_results_are_digested_by_default(redactor: Any) -> None:
    found = body(redactor, event({}, outcome=outcome("completed", 1.0, result="x")))["outcome"]
    assert "result" not in found
    assert found["result_hmac"] == keyed(b'"x"')


def test_the_size_of_a_result_that_was_not_handed_over_is_kept(redactor: Any) -> None:
    found = body(redactor, event({}, outcome=outcome("completed", 1.0, result_bytes=7_000_000)))["outcome"]
    assert found["result_bytes"] == 7_000_000


@pytest.mark.parametrize("size", [0, 7_000_000])
def test_the_size_of_arguments_that_were_not_handed_over_is_kept(redactor: Any, size: int) -> None:
    request = Request(request_id="r1", args_bytes=size)
    assert body(redactor, event(request=request))["request"]["args_bytes"] == size
    assert body(redactor, event(request=request, outcome=outcome("tool_error", error="a@b.co")))["request"] == {
        "request_id": "r1", "args_bytes": size,
    }  # fmt: skip


@pytest.mark.parametrize("size", [-1, 2**53, "x@y.zz", True, 1.5, ["a"]])
def test_what_is_no_size_is_not_kept(redactor: Any, size: Any) -> None:
    found = redactor.redact(event(request=Request(request_id="r1", args_bytes=size)))
    assert orjson.loads(found)["request"] == {"request_id": "r1"}
    found = redactor.redact(event({}, outcome=outcome("completed", 1.0, result_bytes=size)))
    assert b"redaction_failed" not in found
    assert b"x@y.zz" not in found


def test_parts_that_come_again_are_not_mixed_up(redactor: Any) -> None:
    for reason in ("for a@b.co", "plain", "for a@b.co", "x" * 2_000):
        given_event = event(
            {}, policy=Policy(decision="deny", reason=reason), state=State(from_="a", reason=reason)
        )
        for _ in range(2):
            found = body(redactor, given_event)
            shown = reason.replace("a@b.co", "[EMAIL]")
            if len(shown) > 500:
                assert found["policy"]["reason"] == found["state"]["reason"] == "x" * 499 + "…"
            else:
                assert found["policy"] == {"decision": "deny", "reason": shown}
                assert found["state"] == {"from": "a", "reason": shown}


# --- tools that nobody listed ---------------------------------------------------------------------------


@pytest.mark.parametrize("caller", ["stdio", "http", "library", "cli"])
def test_texts_of_an_unlisted_tool_become_digests(caller: Any) -> None:
    redactor = make(RedactionSettings())
    args = {"a": "text", "n": 5, "l": ["x", True, None, ""], "password": "p", "card": 4111111111111111}
    given_event = event(args, source=Source(caller=caller))
    kept = body(redactor, given_event)["request"]["args"]
    rest = {"n": 5, "password": "[REDACTED]", "card": "[CARD]"}
    if caller in ("stdio", "http"):
        digest = f"[DIGEST hmac:{keyed(b'text')[:32]}]"
        x = f"[DIGEST hmac:{keyed(b'x')[:32]}]"
        assert kept == {"a": digest, "l": [x, True, None, ""], **rest}
    else:
        assert kept == {"a": "text", "l": ["x", True, None, ""], **rest}
    redactor.learn("files", "read", compile_marks({}))
    assert body(redactor, given_event)["request"]["args"]["a"] == "text"


def test_other_methods_are_not_tools() -> None:
    redactor = make(RedactionSettings())
    target = Target(backend="files", method="prompts/get", type="prompt", capability_name="read")
    assert body(redactor, event({"a": "text"}, target=target))["request"]["args"] == {"a": "text"}


# --- fields ---------------------------------------------------------------------------------------------

TABLES = {
    events.Source: fields.SOURCE,
    events.RecorderId: fields.RECORDER,
    events.Target: fields.TARGET,
    events.Request: fields.REQUEST,
    events.Policy: fields.POLICY,
    events.Outcome: fields.OUTCOME,
    events.Cost: fields.COST,
    events.State: fields.STATE,
    events.Event: fields.EVENT,
}
ELSEWHERE = {
    events.Source: {"recorder"},
    events.Request: {"args", "args_bytes", "args_hmac", "hmac_key_id"},
    events.Outcome: {"result", "result_hmac"},
    events.Event: {"source", "target", "request", "policy", "outcome", "cost", "state", "metadata"},
}


@pytest.mark.parametrize("part", TABLES, ids=lambda part: part.__name__)
def test_no_field_is_forgotten(part: Any) -> None:
    assert {*TABLES[part], *ELSEWHERE.get(part, set())} == set(part.__struct_fields__)


SECRET = "https://bob:s3cr3t@example.com/?token=s3cr3t&to=carol@example.com"


def test_every_free_field_is_redacted(redactor: Any) -> None:
    every = Event(
        timestamp="2026-11-21T05:38:34.123456Z",
        event_type="mcp_operation",
        event_id=SECRET,
        source=Source(caller="http", session_id=SECRET, client=SECRET, client_ip=SECRET, auth_key_id=SECRET,
                      issuer=SECRET),
        target=Target(backend=SECRET, method=SECRET, type=SECRET, capability_name=SECRET, original_name=SECRET,
                      server_version=SECRET, protocol_version=SECRET, tool_sha256=SECRET),
        request=Request(request_id=SECRET, intent=SECRET, rpc_id=SECRET, trace_id=SECRET, span_id=SECRET,
                        continues=SECRET, args=[SECRET]),
        policy=Policy(decision="deny", rule=SECRET, reason=SECRET),
        outcome=outcome("tool_error", 1.0, error=SECRET, error_type=SECRET),
        state=State(from_=SECRET, to=SECRET, reason=SECRET),
        metadata={"ns.x": SECRET, SECRET: 1},
    )  # fmt: skip
    found = redactor.redact(every)
    assert b"s3cr3t" not in found
    assert b"carol" not in found
    assert b"bob" not in found
    assert found.count(b"https://[REDACTED]@example.com/?token=[REDACTED]&to=[EMAIL]") == 28
    assert b"redaction_failed" not in found


def test_the_principal_stays(redactor: Any) -> None:
    source = Source(
        caller="http",
        user_id="alice@example.com",
        tenant="t\n1",
        roles=["admin", "r\x00"],
        on_behalf_of=["b@c.de"],
    )
    found = body(redactor, event({}, source=source))["source"]
    assert found == {
        "caller": "http", "user_id": "alice@example.com", "tenant": "t\ufffd1", "roles": ["admin", "r\ufffd"],
        "on_behalf_of": ["b@c.de"],
    }  # fmt: skip
    long = body(redactor, event({}, source=Source(user_id="u" * 1000, roles=["r"] * 100)))["source"]
    assert len(long["user_id"]) < 256
    assert "1000 chars" in long["user_id"]
    assert len(long["roles"]) == 65


@pytest.mark.parametrize(
    "value", ["0" * 32, "A" * 32, "a" * 31, "a" * 33, "x" * 32, "a" * 31 + "\n", 5, "", ["a"]]
)
def test_only_proper_trace_ids_stay(redactor: Any, value: Any) -> None:
    proper = Request(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
    found = body(redactor, event(request=proper))["request"]
    assert found == {"trace_id": proper.trace_id, "span_id": proper.span_id}
    found = body(redactor, event(request=Request(trace_id=value, span_id=value)))
    assert "trace_id" not in found.get("request", {})
    assert "span_id" not in found.get("request", {})


def test_names_over_their_cap_keep_prefix_size_and_digest(redactor: Any) -> None:
    uri = "file:///" + "a" * 5_000
    found = body(redactor, event({}, target=Target(capability_name=uri)))["target"]["capability_name"]
    assert found.startswith("file:///aaa")
    assert "5008 chars" in found
    assert keyed(uri.encode())[:32] in found


def test_surrogates_are_replaced_everywhere_and_said(redactor: Any) -> None:
    for _ in range(2):  # caches must not lose the note
        found = body(
            redactor,
            event(
                {},
                source=Source(user_id="a\ud800"),
                target=Target(backend="\udfff"),
                request=Request(request_id="\ud83d"),
            ),
        )
        assert found["source"]["user_id"] == "a\ufffd"
        assert found["target"]["backend"] == "\ufffd"
        assert found["request"]["request_id"] == "\ufffd"
        assert found["metadata"] == {"replaced_surrogates": True}


def test_the_recorder_is_stamped() -> None:
    recorder = RecorderId(id="r-1", uid=1000, pid=5)
    redactor = make(recorder=recorder)
    wanted = {"id": "r-1", "uid": 1000, "pid": 5}
    assert body(redactor, event({}, source=None))["source"] == {"recorder": wanted}
    other = Source(caller="stdio", recorder=RecorderId(id="forged"))
    assert body(redactor, event({}, source=other))["source"] == {"caller": "stdio", "recorder": wanted}


def test_sources_and_targets_are_not_mixed_up(redactor: Any) -> None:
    for user in ("a", "b", "a"):
        assert body(redactor, event({}, source=Source(user_id=user)))["source"] == {"user_id": user}
    for tool in ("a", "x@y.zz", "a"):
        shown = body(redactor, event({}, target=Target(capability_name=tool)))["target"]["capability_name"]
        assert shown == tool.replace("x@y.zz", "[EMAIL]")


def test_errors_are_short_and_clean(redactor: Any) -> None:
    error = "failed for password=hunter2 " + "e" * 1_000
    found = body(redactor, event({}, outcome=outcome("tool_error", 1.0, error=error)))["outcome"]["error"]
    assert found.startswith("failed for password=[REDACTED] eee")
    assert len(found) <= 500
    assert redactor.text("x " * 245 + "alice@example.com", 500).count("[EMAIL]") <= 1
    assert "alice" not in redactor.text("x " * 245 + "alice@example.com", 496)
    assert redactor.text("\ud800 password: x", 500) == "\ufffd password: [REDACTED]"
    assert redactor.text("", 5) == ""


def test_the_event_itself_is_untouched(redactor: Any) -> None:
    args = {"password": "x", "l": [{"email": "y"}]}
    given_event = event(args, metadata={"secret": "z"})
    redactor.redact(given_event)
    assert args == {"password": "x", "l": [{"email": "y"}]}
    assert given_event.metadata == {"secret": "z"}


@pytest.mark.parametrize("thing", [None, 5, "x", object(), {}, Source()])
def test_what_is_no_event_becomes_one_without_content(redactor: Any, thing: Any) -> None:
    found = body(redactor, thing)
    assert found["event_type"] == "alert"
    assert found["metadata"]["redaction_failed"]


@pytest.mark.parametrize("kind", get_args(events.SignedEventType))
@pytest.mark.parametrize("args", [None, {"a": 1}])
def test_what_the_trail_alone_says_of_itself_nobody_records(redactor: Any, kind: Any, args: Any) -> None:
    """It would not be signed, and `verify` would find it for ever."""
    given = msgspec.structs.replace(event(args, metadata={"pruned": [[0, 3]]}), event_type=kind)
    found = body(redactor, given)
    assert found["event_type"] == "alert"
    assert found["metadata"] == {"redaction_failed": "EventError"}


def test_an_event_that_breaks_keeps_its_head(redactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_options: Any) -> None:
        raise MemoryError("password=hunter2")

    monkeypatch.setattr(redactor._payloads, "take", broken)
    found = body(redactor, event({"a": 1}))
    assert found == {
        "timestamp": "2026-11-21T05:38:34.123456Z",
        "event_type": "mcp_operation",
        "event_id": "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a",
        "metadata": {"redaction_failed": "MemoryError"},
    }


def test_threads_share_a_redactor() -> None:
    redactor = make()
    wrong: list[Any] = []

    def work(user: str) -> None:
        for number in range(200):
            redactor.learn("b", f"{user}{number}", compile_marks({}))
            found = body(redactor, event({"u": user, f"k{number}": "x@y.zz"}, source=Source(user_id=user)))
            if found["source"]["user_id"] != user or found["request"]["args"] != {
                "u": user,
                f"k{number}": "[EMAIL]",
            }:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(f"user{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(redactor._schemas.learned) == 800
