"""How much is recorded of which tool: the most specific rule, also where somebody else's events come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import config
from indelible.config import RecordRules, RedactionSettings
from indelible.errors import ConfigError
from indelible.events import Event, Outcome, RecorderId, Request, Source, Target, new_id, now
from indelible.redact import Redactor
from indelible.redact.again import Again, Rules
from indelible.redact.rules import Modes, _matches
from indelible.testing import recorded

WHO = RecorderId(id="library", uid=1, pid=2)
KEY = (b"k" * 32, "0123abcd")
RULES = RecordRules(
    default="digest",
    tools={
        "send_*": "none",
        "send_note": "full",
        "files/*": "full",
        "files/secret_*": "none",
        "*_report": "full",
        "read": "digest",
        "files/read": "none",
    },
)


def tool(name: Any, backend: Any = "mail", original: str | None = None, method: str = "tools/call") -> Target:
    return Target(backend=backend, method=method, type="tool", capability_name=name, original_name=original)


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        (tool("other"), "digest"),
        (tool("send_mail"), "none"),
        (tool("send_note"), "full"),
        (tool("list", "files"), "full"),
        (tool("secret_list", "files"), "none"),
        (tool("send_report"), "full"),  # more characters beside the *
        (tool("send_it", "files"), "full"),
        (tool("read"), "digest"),
        (tool("read", "files"), "none"),  # as exact, and it names the backend
        (tool("alias", "files", "read"), "none"),
        (tool("alias", "mail", "send_mail"), "none"),
        (tool("send_"), "none"),
        (tool("Send_mail"), "digest"),
        (Target(method="resources/read", type="resource", capability_name="send_mail"), "digest"),
        (Target(method="tools/call", type="resource", capability_name="send_mail"), "none"),
        (tool(["send_mail"]), "none"),  # no name at all: the strictest
        (None, "digest"),
    ],
)
def test_the_most_specific_pattern_counts(target: Target | None, mode: str) -> None:
    modes = Modes(RULES)
    assert modes.of(target) == modes.of(target) == mode


NAMES = st.text("ab", max_size=6)


@given(st.lists(NAMES, min_size=1, max_size=4), st.lists(NAMES, max_size=4), NAMES)
def test_a_pattern_matches_what_it_was_made_from(parts: list[str], between: list[str], other: str) -> None:
    import fnmatch

    made = parts[0] + "".join(a + b for a, b in zip([*between, "", "", ""], parts[1:], strict=False))
    assert _matches(parts, made)
    assert _matches(parts, other) == fnmatch.fnmatchcase(other, "*".join(parts))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("some", "record_args: expected full, digest or none"),
        ({"default": "some"}, "expected full, digest or none"),
        ({"tool": {}}, "did you mean 'tools'"),
        ({"tools": ["x"]}, "tools: expected a mapping"),
        ({"tools": {"x": "some"}}, "tools: x: expected full, digest or none"),
        ({"tools": {7: "full"}}, "expected a tool's name"),
        (["full"], "expected full, digest or none"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        config.parse({"audit": {"record_args": value}}, where="f", env={})
    assert "\n" not in str(raised.value)


def test_the_default_of_rules_is_that_of_the_key() -> None:
    parsed = config.parse(
        {"audit": {"record_args": {"tools": {"x": "none"}}, "record_results": {"tools": {"x": "full"}}}},
        where="f",
        env={},
    ).audit
    assert parsed.record_args == RecordRules(default="full", tools={"x": "none"})
    assert parsed.record_results == RecordRules(default="digest", tools={"x": "full"})


@pytest.mark.parametrize("prepared", [False, True])
def test_both_events_of_a_call_hold_no_more_than_the_rule(prepared: bool) -> None:
    redactor = Redactor(
        RedactionSettings(), hmac_key=KEY[0], hmac_key_id=KEY[1], record_args=RULES, record_results=RULES
    )
    source = Source(caller="library")
    seen: dict[str, Any] = {}
    for name in ("send_mail", "send_note", "other"):
        target = tool(name)
        for _ in range(3):  # the first goes the long way, the others the short one
            args: Any = msgspec.Raw(b'{"a":"plain"}')
            if prepared:
                args = redactor.prepare(args, target, source)
            event = Event(
                timestamp=now(),
                event_type="mcp_operation",
                event_id=new_id(),
                source=source,
                target=target,
                request=Request(request_id="r", args=args),
                outcome=Outcome(status="success", kind="completed", latency_ms=1.5, result={"b": "result"}),
            )
            line = json.loads(redactor.redact(event))
            kept = (
                line["request"].get("args"), "args_hmac" in line["request"], line["request"]["args_bytes"],
                line["outcome"].get("result"), "result_hmac" in line["outcome"], line["outcome"]["result_bytes"],
            )  # fmt: skip
            assert seen.setdefault(name, kept) == kept
    assert seen == {
        "send_mail": (None, False, 13, None, False, 14),
        "send_note": ({"a": "plain"}, True, 13, {"b": "result"}, True, 14),
        "other": (None, True, 13, None, True, 14),
    }


@pytest.mark.parametrize("redacted_before", [False, True])
def test_a_service_holds_a_client_to_its_own_rules(redacted_before: bool) -> None:
    again = Again(Rules(RedactionSettings(), record_args=RULES, record_results=RULES), WHO, KEY)
    digests = {"args_hmac": "a" * 64, "hmac_key_id": KEY[1], "args_bytes": 99} if redacted_before else {}
    results = {"result_hmac": "b" * 64, "result_bytes": 99} if redacted_before else {}
    kept = {}
    for name in ("send_mail", "send_note", "other"):
        body = {
            "timestamp": now(),
            "event_type": "mcp_operation",
            "event_id": new_id(),
            "source": {"caller": "library"},
            "target": msgspec.to_builtins(tool(name)),
            "request": {"request_id": "r", "args": {"a": "plain"}, **digests},
            "outcome": {"status": "success", "kind": "completed", "result": {"b": "x"}, **results},
        }
        line = json.loads(again.check(json.dumps(body).encode()).body)
        kept[name] = ("args" in line["request"], "args_hmac" in line["request"], "result" in line["outcome"])
    assert kept == {
        "send_mail": (False, False, False),
        "send_note": (True, True, True),
        "other": (False, True, False),
    }


def test_from_the_file_to_the_line(tmp_path: Path) -> None:
    settings = {
        "audit": {"record_args": {"tools": {"mail/send_*": "none"}}, "record_results": {"default": "full"}}
    }
    with recorded(settings) as trail:
        for backend in ("mail", "post"):
            with trail.recorder.operation("tools/call", "send_it", args={"a": 1}, backend=backend) as op:
                op.result({"b": 2})
        found = [(event["request"].get("args"), event["outcome"]["result"]) for event in trail.events()]
    assert found == [(None, {"b": 2}), ({"a": 1}, {"b": 2})]
