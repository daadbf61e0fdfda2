"""What hostile text becomes in a record that is text, byte by byte: the columns of the page's table, and more."""

from __future__ import annotations

import pytest

from indelible.formats.record import Options, Record
from indelible.registry import make_format
from tests.unit.formats import events

KEPT = (
    "\u202egnp.exe",
    "\ufeffbom",
    "👩\u200d👩",
    "\u2028\u2029",
    "a\x85b",
    "${jndi:ldap://x/y}",
    "\uffff",
    "[x",
)

CELLS: list[tuple[str, str, str, str]] = [
    # the text, and what is written of it in CEF, LEEF, RFC 5424
    ("a\nb", r"a\nb", r"a\nb", r"a\\nb"),
    ("a\rb", r"a\rb", r"a\nb", r"a\\rb"),
    ("a\r\nb", r"a\r\nb", r"a\nb", r"a\\r\\nb"),
    ("a|b", "a|b", "a|b", "a|b"),
    ("k=v", r"k\=v", "k=v", "k=v"),
    ("a\tb", "a\tb", "a b", "a\tb"),
    ('["x"]', '["x"]', '["x"]', r"[\"x\"\]"),
    ("a\\b", r"a\\b", r"a\b", r"a\\b"),
    ("end\\", r"end\\", r"end\u005c", r"end\\"),
    ("a\x00b", r"a\\u0000b", r"a\u0000b", r"a\\u0000b"),
    ("\x1b[31m", r"\\u001b[31m", r"\u001b[31m", r"\\u001b[31m"),
    ("\x7f\x80\x9f", r"\\u007f\\u0080\\u009f", r"\u007f\u0080\u009f", r"\\u007f\\u0080\\u009f"),
    ("=cmd()", r"\=cmd()", "=cmd()", "=cmd()"),
    ("a k=v\n<134>1 x", r"a k\=v\n<134>1 x", r"a k=v\n<134>1 x", r"a k=v\\n<134>1 x"),
    ("\\n", r"\\n", r"\n", r"\\n"),
    *((text, text, text, text) for text in KEPT),
]
FRAMES = {
    "cef": ("suser={} ", "cs2Label=tool_name cs2={} ", "msg={} "),
    "leef": ("\tusrName={}\t", "\taction={}\t", "\terror={}\t"),
    "syslog": (' caller_id="{}" ', ' tool_name="{}" ', ' error="{}" '),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: ascii(cell[0]))
def test_a_cell_of_the_table(name: str, cell: tuple[str, str, str, str]) -> None:
    text, *written = cell
    record = Record(events.line_of(events.with_text(text)), events.ORIGIN)
    data = make_format(name, Options()).render(record).decode()
    if name == "syslog":
        data = data.partition('"] ')[0]  # MSG repeats some of it
    expected = written[list(FRAMES).index(name)]
    for frame in FRAMES[name]:
        assert data.count(frame.format(expected)) == 1


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_empty_is_left_out_with_its_key(name: str) -> None:
    data = make_format(name, Options()).render(Record(events.line_of(events.with_text("")), events.ORIGIN))
    for frame in FRAMES[name]:
        assert frame.split("{}")[0].encode() not in data


@pytest.mark.parametrize("name", FRAMES)
def test_a_nested_value_is_one_escaped_text(name: str) -> None:
    args = {"a": [1, {"b": "c=d]"}]}
    record = Record(events.line_of(events.with_text("x", request={"args": args})), events.ORIGIN)
    data = make_format(name, Options()).render(record).decode()
    written = {
        "cef": r'requestContext={"a":[1,{"b":"c\=d]"}]} ',
        "leef": '\targs={"a":[1,{"b":"c=d]"}]}\t',
        "syslog": r' args="{\"a\":[1,{\"b\":\"c=d\]\"}\]}" ',
    }[name]
    assert written in data


@pytest.mark.parametrize("name", FRAMES)
def test_a_long_value_is_cut_and_its_digest_stands_beside_it(name: str) -> None:
    from hashlib import sha256

    args = {"text": "x" * 60_000}
    record = Record(events.line_of(events.with_text("x", request={"args": args})), events.ORIGIN)
    data = make_format(name, Options()).render(record).decode()
    key, limit = {"cef": ("requestContext=", 2_048), "leef": ("\targs=", 8_192), "syslog": (' args="', 8_192)}[
        name
    ]
    value = data.partition(key)[2].partition({"cef": " Ind", "leef": "\t", "syslog": '" '}[name])[0]
    assert len(value) == limit
    assert f"args:{sha256(bytes(record.entry.request.args)).hexdigest()}" in data
