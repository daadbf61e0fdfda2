"""The explanation agrees with what the redactor does: nothing more, nothing less, at the right place, no value."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.redact import Marks, compile_marks
from indelible.redact.explain import Explainer, Found
from indelible.redact.marks import MarkTree
from indelible.redact.plain import Plain
from tests import canaries
from tests.effort import examples
from tests.redacting import KEY, event, make
from tests.unit.redact.test_properties import secret_texts, texts, values, wrapped

SETTINGS = RedactionSettings(unknown_schema="keep")
OWN = RedactionSettings(
    keys=("patient", "case number"),
    allow_keys=("reset_token",),
    patterns={"EMPLOYEE": "EMP-[0-9]{6}", "NUMBER": "77+"},
    unknown_schema="keep",
)
BOTH = {
    "defaults": (make(SETTINGS), Explainer(SETTINGS, KEY)),
    "configured": (make(OWN), Explainer(OWN, KEY)),
}
_STEP = re.compile(r'\.([A-Za-z_]\w*)|\.?\[(\d+)\]|\.?\[("(?:[^"\\]|\\.)*")\]')
MISSING = object()


def steps(path: str) -> list[str | int]:
    """Return a path's steps."""
    found: list[str | int] = []
    at = 0
    while path != "." and at < len(path):
        match = _STEP.match(path, at)
        assert match, path
        name, position, quoted = match.groups()
        found.append(name if name is not None else int(position) if position else json.loads(quoted))
        at = match.end()
    return found


def differing(old: Any, new: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the deepest places that are not the same, by what their keys became."""
    if type(old) is type(new) is dict and len(old) == len(new):
        found = []
        for (key, item), (new_key, new_item) in zip(old.items(), new.items(), strict=True):
            numbered = new_key.startswith(f"{key} (")
            found += [(*path, new_key)] if key != new_key and not numbered else []
            found += differing(item, new_item, (*path, new_key))
        return found
    if type(old) is type(new) is list and len(old) == len(new):
        return [
            place for n, pair in enumerate(zip(old, new, strict=True)) for place in differing(*pair, (*path, n))
        ]
    if type(old) in (int, float) and type(new) is str and new == str(old):
        return []  # written otherwise, not taken out
    return [] if old == new and type(old) is type(new) else [path]


def covered(place: tuple[str | int, ...], findings: list[Found]) -> bool:
    return any(tuple(steps(one.path)) == place for one in findings)


@pytest.mark.parametrize("which", BOTH)
@given(value=values)
@settings(deadline=None, max_examples=examples(60))
@example(value={"password": {"deep": [1]}, "a": ["--token", 7, "--token", "x"], "n": 4111111111111111})
@example(value={"ada@example.com": 1, "bob@example.com": {"ada@example.com": "x"}})
@example(value={"x": [[[json.dumps({"token": json.dumps(["ada@example.com"])})]]]})
@example(value={"cut": "word " * 200, "both": "ada@example.com " * 200})
@example(value=json.loads("[" * 70 + "1" + "]" * 70))
def test_there_is_a_finding_exactly_where_something_is_taken_out(which: str, value: Any) -> None:
    redactor, explainer = BOTH[which]
    value = Plain().convert(value)
    try:
        value = orjson.loads(orjson.dumps(value))
    except TypeError:
        value = json.loads(json.dumps(value))
    redacted, findings = explainer.document(value)
    if value is not None and len(json.dumps(redacted)) < 20_000:  # above that, more is cut for want of room
        assert orjson.loads(redactor.redact(event(value)))["request"]["args"] == redacted
    places = differing(value, redacted)
    assert bool(findings) == bool(places)
    assume(not any("…" in one.path for one in findings))
    for place in places:
        assert covered(place, findings), place
    for one in findings:
        assert tuple(steps(one.path)) in places, one


@pytest.mark.parametrize("which", BOTH)
@given(text=st.one_of(texts, wrapped, st.tuples(texts, wrapped, texts).map("\n".join)))
@settings(deadline=None, max_examples=examples(100))
@example(text="é password=Bearer abc/token = ada@example.com b")
@example(text="ü " + base64.b64encode(b"mail ada@example.com if you please").decode() + " 4111 1111 1111 1111")
@example(text='{"token": "a", "token": "b"}\n{"x": "ada@example.com"}')
@example(text="?sig=abc/token = x Bearer abcdef/Bearer defghi")
def test_what_lies_outside_the_places_is_still_there(which: str, text: str) -> None:
    redactor, explainer = BOTH[which]
    text = Plain().text(text)
    redacted, findings = explainer.text(text)
    assert redacted == redactor.text(text, limit=10**6)
    assert bool(findings) == (redacted != text)
    at = done = 0
    for one in findings:
        assert one.begin is not None
        assert one.end is not None
        assert 0 <= one.begin <= one.end <= len(text)
        kept = text[done : one.begin] if one.begin > done else ""
        found = redacted.find(kept, at)
        assert found >= 0, (kept, redacted)
        at = found + len(kept)
        done = max(done, one.end)
    assert redacted.endswith(text[done:])


@pytest.mark.parametrize("name", sorted(canaries.CLASSES))
def test_no_finding_holds_a_value_and_every_class_has_its_place(name: str) -> None:
    explainer = BOTH["defaults"][1]
    for seed in range(5):
        value, fragments = canaries.CLASSES[name](random.Random(seed))
        for findings in (
            explainer.text(value)[1],
            explainer.document({"note": [value], value: 1, "ok": {value: {value: value}}})[1],
            explainer.event({"seq": 1, "event_type": "mcp_operation", "request": {"args": {value: value}}}),
        ):
            assert findings
            assert not canaries.found(fragments, repr(findings).encode())
        for one in explainer.text(value)[1]:
            for fragment in fragments:
                begin = value.find(fragment)
                if begin >= 0 and len(explainer.text(value)[1]) == 1:
                    assert one.begin is not None
                    assert one.end is not None
                    assert one.begin <= begin
                    assert begin + len(fragment) <= one.end


@given(value=values, text=secret_texts)
@settings(deadline=None, max_examples=examples(40))
def test_nothing_is_found_in_what_the_redactor_wrote(value: Any, text: str) -> None:
    redactor, explainer = BOTH["defaults"]
    body = redactor.redact(
        event({"value": value, text: text}, metadata={"m": value, "t": text}, event_type="mcp_operation")
    )
    line = orjson.loads(body)
    assert explainer.event(line) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ada@example.com", [("EMAIL", (), "ada@example.com")]),
        ("see https://ada:hunter2@h.example/", [("url-user", (), "ada:hunter2")]),
        ("password=hunter2x", [("pair", (), "hunter2x")]),
        ("EMP-123456", [("EMPLOYEE", (), "EMP-123456")]),
        ("Bearer abcdefghijkl", [("TOKEN", (), "abcdefghijkl")]),
        ('{"a b": [{"pin": "1234"}]}', [("key", ('json .["a b"][0].pin',), '{"a b": [{"pin": "1234"}]}')]),
        ('{"x": 1, "x": "\\u0041"}', [("duplicate-key", ("json",), '{"x": 1, "x": "\\u0041"}')]),
    ],
)
def test_rules_have_names_and_places(text: str, expected: list[tuple[str, tuple[str, ...], str]]) -> None:
    found = BOTH["configured"][1].text(text)[1]
    assert [(one.rule, one.inside, text[one.begin : one.end]) for one in found] == expected


def test_base64_and_json_say_what_is_in_them() -> None:
    inner = json.dumps({"note": "write to ada@example.com today"})
    packed = base64.b64encode(inner.encode()).decode()
    found = BOTH["defaults"][1].document({"blob": f"see {packed}"})[1]
    assert found == [Found("EMAIL", ".blob", "value", ("base64", "json .note"), 4, 4 + len(packed))]


def test_marks_are_a_reason_of_their_own() -> None:
    schema = {
        "properties": {
            "a": {"sensitive": True},
            "b": {"items": {"writeOnly": True}},
            "c": {"properties": {"d": {"format": "password"}}},
        }
    }
    marks = compile_marks(schema)
    value = {"a": "x", "b": ["y", 2], "c": {"d": {"e": 1}, "f": "ok"}}
    redacted, found = BOTH["defaults"][1].document(value, MarkTree(marks))
    assert redacted == {
        "a": "[REDACTED]",
        "b": ["[REDACTED]"] * 2,
        "c": {"d": "[REDACTED]", "f": "ok"},
    }
    assert [(one.rule, one.path) for one in found] == [
        ("mark", ".a"),
        ("mark", ".b[0]"),
        ("mark", ".b[1]"),
        ("mark", ".c.d"),
    ]
    assert isinstance(marks, Marks)


def test_an_events_fields_are_judged_as_their_kind() -> None:
    line = {
        "seq": 7,
        "schema": 1,
        "recorded_at": "2026-11-21T05:38:34.123456Z",
        "timestamp": "2026-11-21T05:38:34.123456Z",
        "event_type": "mcp_operation",
        "event_id": "0b8f7c1e-6c0e-4d4e-9d5d-3b2d6c1c8f1a",
        "source": {"user_id": "ada@example.com", "client": "bob@example.com/1", "auth_method": "bearer"},
        "target": {"capability_name": "token=abcdefgh", "tool_sha256": "ab" * 32},
        "request": {"args_hmac": "0123456789" * 6 + "abcd", "hmac_key_id": "k1", "args": {"pin": 1234}},
        "outcome": {"error": "no such user carol@example.com", "status": "error"},
        "state": {"from": "dave@example.com"},
        "metadata": {"password": "x", "n": 4111111111111111},
        "strange": {"about": "eve@example.com"},
    }
    found = BOTH["defaults"][1].event(line)
    assert [(one.rule, one.path) for one in found] == [
        ("EMAIL", ".source.client"),
        ("pair", ".target.capability_name"),
        ("key", ".request.args.pin"),
        ("EMAIL", ".outcome.error"),
        ("EMAIL", ".state.from"),
        ("key", ".metadata.password"),
        ("CARD", ".metadata.n"),
        ("EMAIL", ".strange.about"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"source": {"client": 2**70}, "metadata": {"n": 2**80, "s": "\ud800 bob@example.com"}}, [".metadata.s"]),
        ({"target": {"x": 2**70, "method": "a@b.example"}, "request": 5}, [".target.method"]),
        (
            {"outcome": [{"pin": 1}], "source": "ada@example.com", "timestamp": {"pin": 2}},
            [".outcome[0].pin", ".source", ".timestamp.pin"],
        ),
        ({"metadata": ["ada@example.com"], "event_type": "hold_placed"}, [".metadata[0]"]),
        ({"event_type": ["ada@example.com"], "metadata": None}, [".event_type[0]"]),
        ({"metadata": json.loads("[" * 200 + "1" + "]" * 200)}, [".metadata" + "[0]" * 64]),
    ],
)  # fmt: skip
def test_lines_that_no_recorder_writes(line: dict[str, Any], expected: list[str]) -> None:
    found = BOTH["defaults"][1].event({"seq": 1, **line})
    assert sorted(one.path for one in found) == expected
