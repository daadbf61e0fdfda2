"""Marks of a tool's output schema: they hold for its recorded results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from indelible.capture import changes
from indelible.definitions import DefinitionStore, describe
from indelible.events import Target, outcome
from indelible.redact import Redactor
from indelible.redact.marks import Marks, MarkTree, compile_result_marks
from tests.redacting import event, make

R = "[REDACTED]"
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "salary": {"type": "number", "sensitive": True},
        "people": {"type": "array", "items": {"$ref": "#/$defs/person"}},
    },
    "$defs": {
        "person": {"properties": {"diagnosis": {"x-sensitive": True}, "boss": {"$ref": "#/$defs/person"}}}
    },
}
TOOL = {"name": "find", "inputSchema": {"type": "object"}, "outputSchema": SCHEMA}
DATA = {"name": "Ada", "salary": 5, "people": [{"diagnosis": "flu", "boss": {"diagnosis": "gout", "n": 1}}]}
HIDDEN = {"name": "Ada", "salary": R, "people": [{"diagnosis": R, "boss": {"diagnosis": R, "n": 1}}]}


def kept(made: Redactor, result: Any, tool: str = "find", method: str = "tools/call") -> Any:
    target = Target(backend="hr", method=method, type="tool", capability_name=tool)
    body = made.redact(event({}, target=target, outcome=outcome("completed", 1.0, result=result)))
    return orjson.loads(body)["outcome"]["result"]


def learned(tool: Any) -> Redactor:
    made = make(record_results="full")
    new, _ = changes.learned({}, [tool], None)
    for one in new:
        made.learn("hr", one.name, one.marks, one.results)
    return made


def test_what_is_marked_is_hidden_and_what_repeats_it() -> None:
    result = {
        "structuredContent": DATA,
        "content": [
            {"type": "text", "text": json.dumps(DATA)},
            {"type": "text", "text": "Ada has the flu"},
            {"type": "resource", "resource": {"uri": "x://y", "text": "flu"}},
        ],
        "isError": False,
    }
    done = kept(learned(TOOL), result)
    assert done["structuredContent"] == HIDDEN
    assert [block["type"] for block in done["content"]] == ["text", "text", "resource"]
    assert "flu" not in json.dumps(done)
    assert done["isError"] is False


def test_other_tools_methods_and_what_is_forgotten() -> None:
    made = learned(TOOL)
    result = {"structuredContent": DATA, "content": []}
    assert kept(made, result, tool="other") == result
    assert kept(made, result, method="prompts/get") == result
    made.learn("hr", "find", Marks())  # listed again, without an output schema
    assert kept(made, result) == result
    made = learned(TOOL)
    made.forget("hr")
    assert kept(made, result) == result


@pytest.mark.parametrize("schema", [None, True, [], {}, {"properties": {"a": {"type": "string"}}}])
def test_without_marks_all_is_kept(schema: Any) -> None:
    result = {"structuredContent": DATA, "content": [{"type": "text", "text": "fine"}]}
    assert compile_result_marks(schema) == Marks()
    assert kept(learned({**TOOL, "outputSchema": schema}), result) == result


def test_a_schema_that_cannot_be_read_hides_everything() -> None:
    deep: Any = {"sensitive": "no"}
    for _ in range(20_000):
        deep = {"items": deep}
    tree = MarkTree(compile_result_marks(deep))
    hides, _ = tree.member(tree.root, "structuredContent")
    place = hides
    while place and not tree.sensitive(place):
        place = tree.item(place, 0)
    assert tree.sensitive(place)


def test_they_are_known_after_a_restart(tmp_path: Path) -> None:
    store = DefinitionStore(tmp_path)
    tool = describe(TOOL)
    assert tool is not None
    store.save("hr", [tool])
    assert store.load("hr") == {"find": tool}
    [file] = tmp_path.iterdir()
    old = json.loads(file.read_text())
    results = old["tools"][0].pop("results")
    file.write_text(json.dumps(old))  # as it was kept before results had marks
    assert store.load("hr")["find"].results == Marks()
    old["tools"][0]["results"] = {"nodes": [{"items": 99}]}
    file.write_text(json.dumps(old))
    assert store.load("hr") == {}
    assert results["nodes"]


def test_a_list_again_brings_the_marks_that_an_older_file_lacks() -> None:
    tool = describe(TOOL)
    assert tool is not None
    bare = type(tool)(tool.name, tool.sha256, tool.effects, tool.marks)
    new, pairs = changes.learned({"find": bare}, [TOOL], None)
    assert [one.results for one in new] == [tool.results]
    assert pairs == []  # its definition is the same
