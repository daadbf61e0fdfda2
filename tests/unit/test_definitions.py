"""What is kept of a server's tools: digest, effects, marks; nothing that it said."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.definitions import DefinitionStore, Tool, describe, effects_of, file_name

DEFINITION: dict[str, Any] = {
    "name": "send",
    "description": "secret-description",
    "inputSchema": {
        "type": "object",
        "properties": {"pw": {"type": "string", "writeOnly": True, "default": "secret-default"}},
    },
    "annotations": {"readOnlyHint": True},
}


def _tool(**changes: Any) -> Tool:
    tool = describe({**DEFINITION, **changes})
    assert tool is not None
    return tool


def test_the_digest_is_of_compact_json_with_sorted_keys() -> None:
    text = json.dumps(DEFINITION, sort_keys=True, separators=(",", ":"))
    assert _tool().sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert _tool(description="other").sha256 != _tool().sha256


@pytest.mark.parametrize(
    ("annotations", "effects"),
    [
        (None, "unknown"), ({}, "unknown"), ([], "unknown"), ({"title": "x"}, "unknown"),
        ({"readOnlyHint": True}, "read_only"), ({"readOnlyHint": True, "destructiveHint": True}, "read_only"),
        ({"readOnlyHint": False}, "destructive"), ({"destructiveHint": True}, "destructive"),
        ({"destructiveHint": False}, "write"), ({"readOnlyHint": False, "destructiveHint": False}, "write"),
        ({"readOnlyHint": "true"}, "unknown"), ({"readOnlyHint": 1}, "unknown"),
    ],
)  # fmt: skip
def test_effects_follow_the_annotations(annotations: Any, effects: str) -> None:
    assert effects_of(annotations) == effects


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_no_definition_whatever_raises(name: Any, schema: Any, annotations: Any) -> None:
    tool = describe({"name": name, "inputSchema": schema, "annotations": annotations})
    assert (tool is not None) == isinstance(name, str)


@pytest.mark.parametrize(
    "hostile",
    [None, [], "x", {}, {"name": None}, {"name": "x" * 5000}],
)
def test_what_is_no_definition_is_none(hostile: Any) -> None:
    assert describe(hostile) is None


def test_a_lone_surrogate_and_a_huge_integer_still_have_a_digest() -> None:
    assert describe({"name": "\ud800", "x": 2**100}) is not None


def test_tools_come_back_with_their_marks_and_nothing_else(tmp_path: Path) -> None:
    store = DefinitionStore(tmp_path / "definitions")
    tools = [_tool(), _tool(name="other", annotations=None)]
    store.save("server", tools)
    assert DefinitionStore(tmp_path / "definitions").load("server") == {tool.name: tool for tool in tools}
    (file,) = (tmp_path / "definitions").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "secret" not in file.read_text()
    assert store.load("another") == {}


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    store = DefinitionStore(tmp_path)
    store.save("s", [_tool()])
    before = (tmp_path / "s.json").stat()
    store.save("s", [_tool()])
    assert (tmp_path / "s.json").stat() == before
    store.save("s", [_tool(description="x")])
    assert (tmp_path / "s.json").stat().st_ino != before.st_ino


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"version":2,"backend":"s","tools":[]}', b"\xff", b"[" * 100_000,
     b'{"version":1,"backend":"other","tools":[]}',
     b'{"version":1,"backend":"s","tools":[{"name":"a","sha256":"","effects":"read_only","marks":{"nodes":[{"items":9}]}}]}'],
)  # fmt: skip
def test_a_corrupt_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    store = DefinitionStore(tmp_path)
    (tmp_path / "s.json").write_bytes(content)
    assert store.load("s") == {}
    store.save("s", [_tool()])
    assert store.load("s") == {"send": _tool()}


def test_what_is_no_file_is_ignored_too(tmp_path: Path) -> None:
    store = DefinitionStore(tmp_path)
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "dir.json").mkdir()
    assert store.load("fifo") == store.load("dir") == {}
    store.save("dir", [_tool()])
    DefinitionStore(None).save("s", [_tool()])
    assert DefinitionStore(None).load("s") == {}


@given(st.text(), st.text())
def test_every_name_has_a_safe_file_of_its_own(one: str, two: str) -> None:
    for name in (one, two):
        file = file_name(name)
        assert file.endswith(".json")
        assert "/" not in file
        assert not file.startswith(".")
        assert file.isascii()
        assert file == file.lower()
        assert len(file) < 100
    assert (file_name(one) == file_name(two)) == (one == two)
