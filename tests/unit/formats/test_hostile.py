"""The hostile table: what each format makes of text that would forge a record, a header or a field, cell by cell.

`PLACES` are fields that a caller or a server controls. In JSON a cell is the text as it stands in the record, between
its quotes; where JSON stands inside a text, its quotes and backslashes are escaped once more.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from indelible.formats.record import Options, Record
from indelible.registry import make_format
from tests.unit.formats import events
from tests.unit.formats.readers import JSON_FORMATS, READERS, strict

FORMATS: Final = {name: make_format(name, Options()) for name in JSON_FORMATS}

JSON_CELLS: Final = {
    "LF": ("a\nb", r"a\nb"),
    "CR": ("a\rb", r"a\rb"),
    "CRLF": ("a\r\nb", r"a\r\nb"),
    "pipe": ("a|b", "a|b"),
    "equals": ("a=b", "a=b"),
    "tab": ("a\tb", r"a\tb"),
    "brackets": ("[a]", "[a]"),
    "quotes": ('a"b', r"a\"b"),
    "backslash": ("a\\b", r"a\\b"),
    "trailing backslash": ("a\\", r"a\\"),
    "NUL": ("a\0b", r"a\u0000b"),
    "ANSI escape": ("\x1b[31mb", r"\u001b[31mb"),
    "DEL": ("a\x7fb", r"a\u007fb"),
    "C1": ("a\x80\x9bb", r"a\u0080\u009bb"),
    "RTL override": ("a\u202eb", "a\u202eb"),
    "BOM": ("\ufeffb", "\ufeffb"),
    "emoji": ("😀", "😀"),
    "ZWJ": ("👩\u200d👧", "👩\u200d👧"),
    "U+2028": ("a\u2028b", "a\u2028b"),
    "U+0085": ("a\x85b", "a\x85b"),
    "empty": ("", ""),
    "JNDI": ("${jndi:ldap://x}", "${jndi:ldap://x}"),
    "formula": ("=cmd()", "=cmd()"),
    "k=v": ("k=v", "k=v"),
    "a syslog header": ("x\n<134>1 2026", r"x\n<134>1 2026"),
    "a CEF header": ("x\nCEF:0|a|b|1|2|3|4|", r"x\nCEF:0|a|b|1|2|3|4|"),
    "a record": ('"}\n{"seq":1}', r"\"}\n{\"seq\":1}"),
}
"""Cell → text, and how JSON has it."""

PLACES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "argus": {
        "user_id": ("source", "user_id"),
        "name": ("target", "capability_name"),
        "error": ("outcome", "error"),
    },
    "mxcp": {"name": ("name",), "error": ("error",), "reason": ("reason",)},
    "alive": {"user_id": ("actor", "id"), "name": ("tool",), "error": ("error",)},
    "hangar": {
        "user_id": ("caller_id",),
        "name": ("tool_name",),
        "error": ("error",),
        "roles": ("caller_roles",),
    },
    "mcpgw": {"name": ("tool",), "method": ("method",), "session": ("session_id",)},
    "cloudevents": {"name": ("subject",), "error": ("data", "outcome", "error")},
    "ecs": {"user_id": ("user", "id"), "name": ("gen_ai", "tool", "name"), "error": ("error", "message")},
    "ocsf": {"user_id": ("actor", "user", "uid"), "name": ("unmapped", "name"), "error": ("status_detail",)},
    "otlp": {},
}
"""Format → field → where it stands; `otlp` has lists of pairs, which its reader finds."""


def rendered(name: str, text: str) -> str:
    return FORMATS[name].render(Record(events.line_of(events.with_text(text)), events.ORIGIN)).decode("utf-8")


def at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("cell", JSON_CELLS)
def test_a_cell_of_the_json_column(cell: str) -> None:
    text, shown = JSON_CELLS[cell]
    for name in JSON_FORMATS:
        is_shown(name, text, shown)


def is_shown(name: str, text: str, shown: str) -> None:
    line = rendered(name, text)
    assert "\n" not in line
    assert "\r" not in line
    assert f'"{shown}"' in line
    value = strict(line.encode())
    for field, path in PLACES[name].items():
        if name == "cloudevents" and field == "name" and text == "":
            assert "subject" not in value  # an attribute of the envelope is never empty
            continue
        if name == "alive" and field == "user_id" and text == "":
            assert value["actor"]["id"] == "anonymous"
            continue
        assert at(value, path) == (f"{text},{text}" if field == "roles" else text), (name, field)


@pytest.mark.parametrize("cell", JSON_CELLS)
def test_nested_json_is_native_or_one_text_of_json(cell: str) -> None:
    text = JSON_CELLS[cell][0]
    for name in ("mxcp", "alive", "cloudevents", "ecs", "otlp"):
        args = READERS[name](strict(rendered(name, text).encode()))["args"]
        assert (name, args) == (name, {text: [text, {"deep": text}]})


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_records_of_forged_text_stay_as_many_as_they_were(name: str) -> None:
    """However a receiver frames lines, it gets each record once, with what identifies it."""
    lines = [rendered(name, text) for text in events.FORGED]
    stream = "".join(f"{line}\n" for line in lines).encode()
    found = [READERS[name](strict(line)) for line in stream.rstrip(b"\n").split(b"\n")]
    assert [record["seq"] for record in found] == [7] * len(events.FORGED)
    assert b"\r" not in stream


def test_what_is_copied_between_tokens_breaks_no_line() -> None:
    """White space in the arguments' JSON is no line of its own, whoever wrote the line."""
    line = events.line_of(events.with_text("x")).replace(b'"args":{', b'"args":{\r\n\t ')
    for name in JSON_FORMATS:
        shown = FORMATS[name].render(Record(line, events.ORIGIN))
        assert b"\n" not in shown
        assert b"\r" not in shown
        strict(shown)


def test_a_value_of_60_kb_is_there_whole_without_a_limit() -> None:
    body = {**events.with_text("x"), "request": {"args": {"q": "y" * 60_000}}}
    record = Record(events.line_of(body), events.ORIGIN)
    for name in ("mxcp", "alive", "cloudevents", "ecs", "otlp", "ocsf"):
        assert "y" * 60_000 in FORMATS[name].render(record).decode(), name
    assert json.loads(record.line)["request"]["args"]["q"] == "y" * 60_000
