"""The page about the MCP server has every tool, argument and answer, in the code's words."""

from __future__ import annotations

from typing import Any

import pytest

from indelible.inquiry.roles import BUILT_IN, FIXED
from indelible.inquiry.server import DENIED
from indelible.inquiry.tools import BY_NAME, DATA, TOOLS, Filters, Tool
from indelible.inquiry_settings import ROLE_KEYS, RoleSettings
from tests.unit.docs.pages import DOCS, codes, headings, rows, section

PAGE = DOCS / "reference" / "mcp-server.md"
CONFIGURATION = DOCS / "reference" / "configuration.md"


def described(schema: dict[str, Any]) -> str:
    return str(
        schema.get("description") or next(one["description"] for one in schema["anyOf"] if "description" in one)
    )


def kind(schema: dict[str, Any]) -> str:
    schema = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    if "enum" in schema:
        return f"one of {', '.join(f'`{one}`' for one in schema['enum'])}"
    if schema["type"] == "array":
        inner = kind(schema["items"])
        return "texts" if inner == "text" else f"list, {inner}"
    return {"string": "text", "integer": "whole number"}[schema["type"]]


def wanted(tool: Tool, names: list[str]) -> list[list[str]]:
    schema = tool.input_schema
    required = schema.get("required", ())
    return [
        [f"`{name}`", kind(one) + ", required" * (name in required), described(one).replace("|", "\\|")]
        for name in names
        for one in [schema["properties"][name]]
    ]


def test_there_is_a_section_for_each_tool() -> None:
    found = [text.strip("`") for level, text in headings(PAGE) if level == 2 and "`" in text]
    assert found == [tool.name for tool in TOOLS]


def test_the_filters_are_the_codes() -> None:
    assert rows(section(PAGE, "Filters")) == wanted(BY_NAME["search"], list(Filters.__struct_fields__))


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_is_as_in_the_code(tool: Tool) -> None:
    text = section(PAGE, f"`{tool.name}`")
    takes_filters = issubclass(tool.arguments, Filters)
    filters = Filters.__struct_fields__ if takes_filters else ()
    own = [name for name in tool.input_schema["properties"] if name not in filters]
    assert rows(text) == wanted(tool, own)
    assert ("[filters](#filters)" in text) == takes_filters
    assert tool.description.replace(DATA, "") in text
    answer = text.split("Answer: ")[1]
    assert ["note", *codes(answer)] == list(tool.answer["properties"])


def test_roles_are_the_codes() -> None:
    found = {codes(cells[0])[0]: (codes(cells[1]), codes(cells[2])) for cells in rows(section(PAGE, "Roles"))}
    assert found == {name: (list(role.tools), list(role.hide)) for name, role in BUILT_IN.items()}
    assert codes(section(PAGE, "Roles").split("cannot be hidden: ")[1].split(". A role")[0]) == list(FIXED)
    assert str(DENIED) in PAGE.read_text()


def test_the_keys_of_a_role_are_the_codes() -> None:
    table = rows(section(CONFIGURATION, "Roles"))
    assert [codes(cells[0])[0] for cells in table] == list(ROLE_KEYS)
    assert codes(table[0][2]) == [f"[{', '.join(RoleSettings().tools)}]"]
