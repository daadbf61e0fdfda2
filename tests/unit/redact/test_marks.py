"""Marks in schemas: every word for them, every place, and schemas that mean harm."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.redact import Marks, Redactor, compile_marks
from indelible.redact.marks import MarkTree
from tests.effort import examples
from tests.redacting import event, make


def redact(schema: object, args: Any) -> Any:
    redactor = make()
    stored = msgspec.json.encode(compile_marks(schema))  # as the cache of definitions does
    redactor.learn("files", "read", msgspec.json.decode(stored, type=Marks))
    return orjson.loads(redactor.redact(event(args)))["request"]["args"]


R = "[REDACTED]"
MARK = {"writeOnly": True}


@pytest.mark.parametrize(
    "mark",
    [
        {"sensitive": True},
        {"x-sensitive": True},
        {"x-sensitive": "true"},
        {"x-sensitive": 1},
        {"x-sensitive": "high"},
        {"sensitive": {"reason": "GDPR, article 9"}},
        {"writeOnly": True},
        {"format": "password"},
        {"type": "string", "format": "Password", "minLength": 3},
    ],
)
def test_every_word_for_it(mark: dict[str, Any]) -> None:
    assert redact({"properties": {"a": mark}}, {"a": {"deep": [1]}, "b": "x"}) == {"a": R, "b": "x"}


@pytest.mark.parametrize(
    "no_mark",
    [
        {"sensitive": False},
        {"x-sensitive": "false"},
        {"x-sensitive": "none"},
        {"sensitive": {}},
        {"writeOnly": 0},
        {"format": "email"},
        {"sensitive": None},
        {},
    ],
)
def test_what_is_no_mark(no_mark: dict[str, Any]) -> None:
    assert redact({"properties": {"a": no_mark}}, {"a": "x"}) == {"a": "x"}
    assert compile_marks({"properties": {"a": no_mark}}) == Marks()


@pytest.mark.parametrize(
    ("schema", "args", "kept"),
    [
        ({"properties": {"sensitive": {"type": "boolean"}}}, {"sensitive": True}, {"sensitive": True}),
        ({"properties": {"properties": MARK}}, {"properties": {"a": 1}}, {"properties": R}),
        (MARK, {"a": 1}, R),
        ({"properties": {"o": {"properties": {"a": MARK}}}}, {"o": {"a": 1, "b": 2}}, {"o": {"a": R, "b": 2}}),
        ({"properties": {"l": {"items": MARK}}}, {"l": [1, {"x": 2}]}, {"l": [R, R]}),
        (
            {"properties": {"l": {"items": {"properties": {"a": MARK}}}}},
            {"l": [{"a": 1}, 2]},
            {"l": [{"a": R}, 2]},
        ),
        ({"properties": {"l": {"prefixItems": [{}, MARK], "items": {}}}}, {"l": [1, 2, 3]}, {"l": [1, R, 3]}),
        ({"properties": {"l": {"prefixItems": [True], "items": MARK}}}, {"l": [1, 2, 3]}, {"l": [1, R, R]}),
        (
            {"properties": {"l": {"items": [{}, MARK], "additionalItems": {}}}},
            {"l": [1, 2, 3]},
            {"l": [1, R, 3]},
        ),
        ({"properties": {"l": {"contains": MARK}}}, {"l": [1, 2]}, {"l": [R, R]}),
        ({"properties": {"a": {}}, "additionalProperties": MARK}, {"a": 1, "b": 2}, {"a": 1, "b": R}),
        ({"properties": {"a": True}, "additionalProperties": MARK}, {"a": 1, "b": 2}, {"a": 1, "b": R}),
        ({"patternProperties": {"^x_": MARK}}, {"x_1": 1, "y": 2}, {"x_1": R, "y": 2}),
        ({"patternProperties": {"^(?!y)": MARK}}, {"x_1": 1, "y": 2}, {"x_1": R, "y": R}),
        ({"unevaluatedProperties": MARK}, {"x": 1}, {"x": R}),
        (
            {"allOf": [{"properties": {"a": MARK}}, {"properties": {"a": {}}}]},
            {"a": 1, "b": 1},
            {"a": R, "b": 1},
        ),
        ({"anyOf": [{}, {"oneOf": [{"properties": {"a": MARK}}]}]}, {"a": 1}, {"a": R}),
        ({"if": {}, "then": {"properties": {"a": MARK}}}, {"a": 1}, {"a": R}),
        ({"dependentSchemas": {"b": {"properties": {"a": MARK}}}}, {"a": 1}, {"a": R}),
        ({"dependencies": {"b": {"properties": {"a": MARK}}, "c": ["d"]}}, {"a": 1}, {"a": R}),
        ({"properties": {"a": {"$ref": "#/$defs/S"}}, "$defs": {"S": MARK}}, {"a": 1}, {"a": R}),
        (
            {"properties": {"a": {"$ref": "#/definitions/a~1b%20c"}}, "definitions": {"a/b c": MARK}},
            {"a": 1},
            {"a": R},
        ),
        ({"properties": {"a": {"$ref": "#s"}}, "$defs": {"x": {"$anchor": "s", **MARK}}}, {"a": 1}, {"a": R}),
        ({"properties": {"a": {"$ref": "#/allOf/0"}}, "allOf": [MARK]}, {"a": 1}, R),
        ({"properties": {"a": {"$ref": "http://x/y"}}}, {"a": 1}, {"a": 1}),
        (
            {"$id": "http://x/y", "properties": {"a": {"$ref": "http://x/y#/$defs/S"}}, "$defs": {"S": MARK}},
            {"a": 1},
            {"a": R},
        ),
        (
            {"$id": "http://x/d/y", "properties": {"a": {"$ref": "y#/$defs/S"}}, "$defs": {"S": MARK}},
            {"a": 1},
            {"a": R},
        ),
        (
            {"$id": "http://x/y", "properties": {"a": {"$ref": "/s"}}, "$defs": {"S": {"$id": "s", **MARK}}},
            {"a": 1},
            {"a": R},
        ),
        # An object as a text: models write it so, and servers read it.
        (
            {"properties": {"o": {"properties": {"a": MARK}}}},
            {"o": ' {"a": "x", "b": 2}'},
            {"o": '{"a":"[REDACTED]","b":2}'},
        ),
        ({"properties": {"o": {"properties": {"a": MARK}}}}, {"o": '{"b": 2}'}, {"o": '{"b": 2}'}),
        (
            {"properties": {"o": {"properties": {"p": {"properties": {"a": MARK}}}}}},
            {"o": '{"p": {"a": "x"}, "p": 1}'},
            {"o": '{"p":1}'},
        ),
        ({"properties": {"l": {"items": MARK}}}, {"l": "[1, 2]"}, {"l": '["[REDACTED]","[REDACTED]"]'}),
        (
            {"properties": {"l": {"items": {"properties": {"a": MARK}}}}},
            {"l": ['{"a": {"b": 1}, "token": "x"}', "{a}"]},
            {"l": ['{"a":"[REDACTED]","token":"[REDACTED]"}', "{a}"]},
        ),
        (
            {"properties": {"o": {"properties": {"p": {"properties": {"a": MARK}}}}}},
            {"o": '{"p": "{\\"a\\": 1}"}'},
            {"o": '{"p":"{\\"a\\":\\"[REDACTED]\\"}"}'},
        ),
        (
            {"properties": {"o": {"type": "string", "contentSchema": {"properties": {"a": MARK}}}}},
            {"o": '{"a": 1}'},
            {"o": '{"a":"[REDACTED]"}'},
        ),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, MARK]}}}, {"a": 1}, {"a": R}),
        (
            {"$ref": "#/$defs/N", "$defs": {"N": {"properties": {"v": MARK, "n": {"$ref": "#/$defs/N"}}}}},
            {"v": 1, "n": {"v": 2, "n": {"v": 3, "x": 4}}},
            {"v": R, "n": {"v": R, "n": {"v": R, "x": 4}}},
        ),
        ({"$ref": "#", "properties": {"a": MARK, "b": {"$ref": "#"}}}, {"b": {"a": 1}}, {"b": {"a": R}}),
        (
            [{"name": "a", "type": "string", "sensitive": True}, {"name": "b"}],
            {"a": 1, "b": 2},
            {"a": R, "b": 2},
        ),
        ({"parameters": [{"name": "a", "sensitive": True}]}, {"a": 1, "b": 2}, {"a": R, "b": 2}),
    ],
)
def test_every_place(schema: object, args: Any, kept: Any) -> None:
    assert redact(schema, args) == kept


def test_nothing_but_names_and_patterns_is_kept() -> None:
    schema = {
        "properties": {"a": {"type": "string", "default": "s3cr3t", "examples": ["s3cr3t"], "const": "s3cr3t",
                             "enum": ["s3cr3t"], "description": "s3cr3t", **MARK}},
        "default": {"a": "s3cr3t"},
        "title": "s3cr3t",
    }  # fmt: skip
    assert b"s3cr3t" not in msgspec.json.encode(compile_marks(schema))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just("#"), st.just("#/$defs/a")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["properties", "items", "prefixItems", "allOf", "anyOf", "$ref", "$defs", "a", "patternProperties",
                 "additionalProperties", "contains", "if", "writeOnly", "$anchor", "parameters", "name", "("]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)  # fmt: skip


@given(json_values, json_values)
@settings(deadline=None, max_examples=examples(60))
def test_no_schema_raises(schema: object, args: Any) -> None:
    marks = compile_marks(schema)
    assert msgspec.json.decode(msgspec.json.encode(marks), type=Marks) == marks
    SHARED.learn("files", "read", marks)
    assert b"redaction_failed" not in SHARED.redact(event(args))


SHARED: Redactor = make()


NAMES = st.sampled_from(["a", "b", "c", "other"])
SCHEMAS = st.recursive(
    st.just({}) | st.just(MARK),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "("]), inner, max_size=1),
            "additionalProperties": inner,
            "propertyNames": st.just({}),
            "items": inner,
            "contains": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "then": inner,
        },
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.lists(NAMES, max_size=3))
@settings(deadline=None, max_examples=examples(400))
def test_only_the_members_that_are_named_lead_to_marks(schema: dict[str, Any], path: list[str]) -> None:
    tree = MarkTree(compile_marks(schema))
    place = tree.root
    for name in path:
        named = tree.named(place)
        assert tree.named(place) == named
        below, marked = tree.member(place, name)
        assert named is None or name in named or (below, marked) == ((), False)
        place = below


def test_schemas_that_mean_harm() -> None:
    deep: dict[str, Any] = {}
    place = deep
    for _ in range(50_000):
        place["properties"] = {"a": {}}
        place = place["properties"]["a"]
    cycle: dict[str, Any] = {"properties": {}}
    cycle["properties"]["a"] = cycle
    wide: dict[str, Any] = {"properties": {f"p{i}": {} for i in range(50_000)}}
    fan = {"allOf": [{"$ref": "#"}] * 5_000, "properties": {"a": MARK}}
    started = time.process_time()
    for schema in (
        deep,
        cycle,
        wide,
        fan,
        {"$ref": "#/" + "a/" * 10_000},
        {"patternProperties": {"(" * 5000: MARK}},
    ):
        assert isinstance(compile_marks(schema), Marks)
    assert time.process_time() - started < 10
    # What lies behind the limit is taken to be sensitive.
    assert redact(wide, {"p1": 1, "p49999": 2})["p49999"] == R
    assert redact(wide, {"p1": 1})["p1"] == 1


def test_damaged_marks_are_survived() -> None:
    damaged = msgspec.json.decode(
        b'{"nodes":[{"properties":{"a":7,"b":-3},"items":99,"also":[0,5,-1]},{"sensitive":true}]}', type=Marks
    )
    redactor = make()
    redactor.learn("files", "read", damaged)
    assert b"redaction_failed" not in redactor.redact(event({"a": [1], "b": {"c": 2}}))


def test_learn_and_forget() -> None:
    redactor = make()
    args = {"a": "x"}

    def kept(backend: str = "files") -> Any:
        ours = event().target
        assert ours
        target = msgspec.structs.replace(ours, backend=backend)
        return orjson.loads(redactor.redact(event(args, target=target)))["request"]["args"]

    redactor.learn("files", "read", compile_marks({"properties": {"a": MARK}}))
    assert kept() == {"a": R}
    assert kept("other") == args
    redactor.forget("other")
    assert kept() == {"a": R}
    redactor.forget("files")
    assert kept() == args


def test_the_backends_own_name_of_a_tool_counts() -> None:
    redactor = make()
    redactor.learn("files", "read", compile_marks({"properties": {"a": MARK}}))
    ours = event().target
    assert ours
    target = msgspec.structs.replace(ours, capability_name="files_read", original_name="read")
    assert b'"a":"[REDACTED]"' in redactor.redact(event({"a": "x"}, target=target))
