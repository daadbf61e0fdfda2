"""JSON as people keep it: read as its other parsers read it, refused in one line, changed in the spans alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.clients.jsonedit import (
    MAX_DEPTH,
    Edit,
    JsonError,
    Node,
    apply,
    check_unique,
    encode,
    parse,
    removed,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
GAPS = st.sampled_from(
    [b"", b" ", b"\r\n", b"\t", b"\n\n", b'// a { "\n', b"/* , } \xe2\x82\xac */", b"/**/ //\r\n"]
)


def value_of(node: Node | None) -> Any:
    assert node is not None
    if node.kind == "object":
        return {member.key.text: value_of(member.value) for member in node.members}
    if node.kind == "array":
        return [value_of(item) for item in node.items]
    return node.text if node.kind == "string" else json.loads(node.text)


def written(draw: st.DrawFn, value: Any) -> bytes:
    """Return a value as somebody writes it who likes comments, and commas at the end."""

    def gap() -> bytes:
        return draw(GAPS)

    def either() -> bool:
        return draw(st.booleans())

    if isinstance(value, dict):
        inner = [
            gap() + json.dumps(key, ensure_ascii=either()).encode("utf-8", "surrogatepass")
            + gap() + b":" + gap() + written(draw, item) + gap()
            for key, item in value.items()
        ]  # fmt: skip
        signs = (b"{", b"}")
    elif isinstance(value, list):
        inner, signs = [gap() + written(draw, item) + gap() for item in value], (b"[", b"]")
    else:
        return json.dumps(value).encode()
    last = b"," + gap() if inner and either() else b""
    return signs[0] + (b",".join(inner) or gap()) + last + signs[1]


@st.composite
def documents(draw: st.DrawFn) -> tuple[bytes, Any]:
    value = draw(JSON)
    front = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    return front + draw(GAPS) + written(draw, value) + draw(GAPS), value


@given(documents())
def test_comments_and_commas_and_marks_change_nothing(document: tuple[bytes, Any]) -> None:
    data, value = document
    assert value_of(parse(data)) == value


@given(JSON, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_strict_json_is_read_as_the_standard_library_reads_it(
    value: Any, indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    data = text.encode("utf-8", "replace")
    assert value_of(parse(data)) == json.loads(data)


SOUP = st.lists(
    st.sampled_from(['{', '}', '[', ']', ',', ':', '"a"', '"\\u00e9"', '"', "\\", "1", "-0", "01", "1e5", "true",
                     "nul", "null", " ", "\n", "//", "/*", "*/", "'", "NaN", "\x00", "é"]),
    max_size=14,
).map("".join)  # fmt: skip


def no_constant(text: str) -> Any:
    raise ValueError(text)


@given(SOUP | st.text(max_size=20))
def test_what_is_not_json_is_refused_and_what_is_is_not(text: str) -> None:
    """Whatever the standard library takes, this does, too; whatever it is, the only way out is one error."""
    data = text.encode("utf-8", "replace")
    try:
        expected = json.loads(data, parse_constant=no_constant)
    except ValueError:
        try:
            node = parse(data)
        except JsonError as exc:
            assert "\n" not in str(exc)  # noqa: PT017
            return
        assert (
            node is None or b"/" in data or b"," in data
        )  # comments and a last comma are all that we take beyond
        return
    assert value_of(parse(data)) == expected


@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except JsonError as exc:
        assert str(exc).startswith("line ")  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{\n  "a": 1\n  "b": 2\n}', "line 3, column 3: expected ',' or '}', found '\"'"),
        (b'\xef\xbb\xbf{"a": }', "line 1, column 7: expected a value, found '}'"),
        ('{"é": x}'.encode(), "line 1, column 7: expected a value, found 'x'"),
        (b"[1, 2", "line 1, column 6: expected ',' or ']', found the end"),
        (b"{a: 1}", "line 1, column 2: expected a key in double quotes, or '}', found 'a'"),
        (b'{"a" 1}', "line 1, column 6: expected ':', found '1'"),
        (b"{} {}", "line 1, column 4: expected the end, found '{'"),
        (b'{"a": "b\n"}', "line 1, column 7: a string has no end on its line"),
        (b'["\\x"]', "line 1, column 2: a string with an escape that is none"),
        (b"{ /* }", "line 1, column 3: a comment has no end"),
        (b'{"a":\n"\xff"}', "line 2, column 2: not UTF-8"),
        (b"[,]", "line 1, column 2: expected a value, found ','"),
        (b"[1,,2]", "line 1, column 4: expected a value, found ','"),
        (b"[" * (MAX_DEPTH + 1), f"line 1, column {MAX_DEPTH + 1}: more than {MAX_DEPTH} levels of nesting"),
    ],
)
def test_a_message_says_where(data: bytes, said: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse(data)
    assert str(caught.value) == said


@pytest.mark.parametrize("data", [b"", b" \r\n", b"\xef\xbb\xbf", b"// nothing yet\n"])
def test_nothing_is_no_value(data: bytes) -> None:
    assert parse(data) is None


def test_a_key_that_stands_twice_is_seen_through_its_escapes() -> None:
    data = b'{"a": 1,\n "\\u0061": 2}'
    node = parse(data)
    assert node is not None
    with pytest.raises(JsonError, match=r'^line 2, column 2: the key "a" stands there twice$'):
        check_unique(data, node)


@given(documents())
def test_every_member_can_be_taken_out(document: tuple[bytes, Any]) -> None:
    data, value = document
    node = parse(data)
    assert node is not None
    for member in node.members:
        after = apply(data, removed(data, node, member))
        assert value_of(parse(after)) == {key: item for key, item in value.items() if key != member.key.text}


def test_edits_may_touch_but_not_overlap() -> None:
    assert apply(b"abcd", [Edit(2, 3, b"x"), Edit(0, 2, b""), Edit(3, 3, b"y")]) == b"xyd"
    with pytest.raises(ValueError, match="overlap"):
        apply(b"abcd", [Edit(0, 2, b""), Edit(1, 3, b"")])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_string_is_written_as_it_is_read(text: str) -> None:
    assert json.loads(encode(text)) == text


def test_a_large_file_takes_no_time_that_grows_faster_than_it() -> None:
    """Claude Code's file holds its history, too: megabytes. Each byte is looked at a bounded number of times."""
    hostile = [
        b'"' + b"\\" * 400_001,
        b"/**/ " * 80_000 + b"x",
        b"{ " * 50 + b"/*" * 200_000,
        b" " * 400_000 + b"x",
    ]
    for data in hostile:
        with pytest.raises(JsonError):
            parse(data)
