"""JSON as people keep it in configurations, with the place of every value. Pure: bytes in, spans and edits out.

Read is RFC 8259 with what VS Code's "JSON with comments" adds: ``//`` and ``/* */`` comments, a comma after the last
member or item; and a byte order mark at the front (RFC 8259, section 8.1, lets a parser ignore one).

    text    = [BOM] gap [value gap]             an empty text has no value
    gap     = *( whitespace / comment )
    object  = "{" gap *( member "," gap ) [ member ] "}"      member = string gap ":" gap value gap
    array   = "[" gap *( item "," gap ) [ item ] "]"          item = value gap

The rule that lives here: a change is a list of spans with new bytes, and nothing outside the spans is written anew. So
comments, line ends, indentation, escapes and the digits of numbers stay what they were, to the byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, NoReturn

MAX_DEPTH: Final = 100
"""Levels of nesting; no client's configuration comes near, and a parser that calls itself has to stop somewhere."""
MAX_SHOWN: Final = 20
"""Characters of what was found that a message quotes."""

BOM: Final = b"\xef\xbb\xbf"

_GAP: Final = re.compile(rb"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_GAP_STARTS: Final = frozenset({b" ", b"\t", b"\r", b"\n", b"/"})
_STRING: Final = re.compile(rb'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_SCALAR: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_WORD: Final = re.compile(rb"[^\s\[\]{},:\"/]+|.", re.DOTALL)

Kind = Literal["object", "array", "string", "other"]


class JsonError(ValueError):
    """The bytes are not JSON, or mean different things to different parsers; one line, with line and column."""


class Edit(NamedTuple):
    """The bytes from `start` up to `end` become `new`."""

    start: int
    end: int
    new: bytes


class Node:
    """A value and where it stands: ``data[start:end]``."""

    __slots__ = ("end", "items", "kind", "last_comma", "members", "start", "text")

    def __init__(self, kind: Kind, start: int) -> None:
        self.kind = kind
        self.start = start
        self.end = start
        self.text = ""
        """Of a string what it says; of a number, true, false and null what stands there."""
        self.items: list[Node] = []
        self.members: list[Member] = []
        self.last_comma = -1
        """Where the comma after the last member or item stands, if there is one."""

    @property
    def is_null(self) -> bool:
        """Tell whether it is ``null``."""
        return self.kind == "other" and self.text == "null"

    def get(self, key: str) -> Member | None:
        """Return an object's member; None when there is none, or this is no object."""
        return next((member for member in self.members if member.key.text == key), None)

    def strings(self) -> list[str] | None:
        """Return what the items of an array say; None when it is another thing than an array of strings."""
        if self.kind != "array" or any(item.kind != "string" for item in self.items):
            return None
        return [item.text for item in self.items]


class Member(NamedTuple):
    """A key and its value in an object."""

    key: Node
    value: Node
    comma: int
    """Where the comma before it stands; -1 for the first."""


def parse(data: bytes) -> Node | None:
    """Return what the bytes hold; None when there is nothing but space and comments. Raises JsonError."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise JsonError(f"{_at(data, exc.start)}: not UTF-8") from exc
    return _Parser(data).document()


class _Parser:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = len(BOM) if data.startswith(BOM) else 0

    def document(self) -> Node | None:
        self._gap()
        if self._at == len(self._data):
            return None
        node = self._value(0)
        self._gap()
        if self._at < len(self._data):
            self._fail("the end")
        return node

    def _gap(self) -> None:
        if self._data[self._at : self._at + 1] not in _GAP_STARTS:
            return
        match = _GAP.match(self._data, self._at)
        assert match is not None  # noqa: S101 - it matches the empty gap, too
        self._at = match.end()
        if self._data.startswith(b"/*", self._at):
            raise JsonError(f"{_at(self._data, self._at)}: a comment has no end")

    def _value(self, depth: int) -> Node:
        data, start = self._data, self._at
        first = data[start : start + 1]
        if first == b'"':
            return self._string("a value")
        if first in (b"{", b"["):
            if depth >= MAX_DEPTH:
                raise JsonError(f"{_at(data, start)}: more than {MAX_DEPTH} levels of nesting")
            return self._object(depth + 1) if first == b"{" else self._array(depth + 1)
        match = _SCALAR.match(data, start)
        if match is None:
            self._fail("a value")
        node = Node("other", start)
        node.end = self._at = match.end()
        node.text = match[0].decode()
        return node

    def _string(self, expected: str) -> Node:
        match = _STRING.match(self._data, self._at)
        if match is None:
            if self._data.startswith(b'"', self._at):
                raise JsonError(f"{_at(self._data, self._at)}: a string has no end on its line")
            self._fail(expected)
        node = Node("string", self._at)
        node.end = self._at = match.end()
        text = match[0]
        if b"\\" not in text:
            node.text = text[1:-1].decode()
            return node
        try:
            node.text = json.loads(text)
        except ValueError as exc:
            raise JsonError(f"{_at(self._data, node.start)}: a string with an escape that is none") from exc
        return node

    def _object(self, depth: int) -> Node:
        node = Node("object", self._at)
        comma = self._open()
        while not self._closes(b"}"):
            if node.members and comma < 0:
                self._fail("',' or '}'")
            key = self._string("a key in double quotes, or '}'")
            self._gap()
            if not self._data.startswith(b":", self._at):
                self._fail("':'")
            self._at += 1
            self._gap()
            node.members.append(Member(key, self._value(depth), comma))
            comma = self._comma()
        node.end, node.last_comma = self._at, comma
        return node

    def _array(self, depth: int) -> Node:
        node = Node("array", self._at)
        comma = self._open()
        while not self._closes(b"]"):
            if node.items and comma < 0:
                self._fail("',' or ']'")
            node.items.append(self._value(depth))
            comma = self._comma()
        node.end, node.last_comma = self._at, comma
        return node

    def _open(self) -> int:
        self._at += 1
        self._gap()
        return -1

    def _comma(self) -> int:
        """Go past a comma and what surrounds it; return where it stands, or -1."""
        self._gap()
        if not self._data.startswith(b",", self._at):
            return -1
        found = self._at
        self._at += 1
        self._gap()
        return found

    def _closes(self, sign: bytes) -> bool:
        if not self._data.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def _fail(self, expected: str) -> NoReturn:
        match = _WORD.match(self._data, self._at)
        found = match[0].decode("utf-8", "replace")[:MAX_SHOWN] if match else ""
        what = repr(found) if found else "the end"
        raise JsonError(f"{_at(self._data, self._at)}: expected {expected}, found {what}")


def _at(data: bytes, position: int) -> str:
    """Return where that is, as editors count: from 1, in characters."""
    start = data.rfind(b"\n", 0, position) + 1
    before = data[start:position].removeprefix(BOM if start == 0 else b"")
    column = len(before.decode("utf-8", "replace")) + 1
    line = data.count(b"\n", 0, position) + 1
    return f"line {line}, column {column}"


def check_unique(data: bytes, node: Node) -> None:
    """Raise JsonError for a key that stands twice in this object: which one counts is each parser's own choice."""
    seen: set[str] = set()
    for member in node.members:
        if member.key.text in seen:
            key = json.dumps(member.key.text)[: MAX_SHOWN * 4]
            raise JsonError(f"{_at(data, member.key.start)}: the key {key} stands there twice")
        seen.add(member.key.text)


def is_space(data: bytes) -> bool:
    """Tell whether there is nothing but whitespace, as JSON has it."""
    return not data.strip(b" \t\r\n")


def encode(text: str) -> bytes:
    """Return a string as JSON."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8")


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the bytes with all edits made. They may touch but not overlap; raises ValueError when they do."""
    parts: list[bytes] = []
    done = 0
    for edit in sorted(edits):
        if not done <= edit.start <= edit.end <= len(data):
            raise ValueError("edits overlap")
        parts += (data[done : edit.start], edit.new)
        done = edit.end
    return b"".join((*parts, data[done:]))


def removed(data: bytes, node: Node, member: Member) -> list[Edit]:
    """Return the edits that take a member out of its object, with one comma; comments around it stay."""
    key, value = member.key, member.value
    if member.comma >= 0:
        if is_space(data[member.comma + 1 : key.start]):
            return [Edit(member.comma, value.end, b"")]
        return [Edit(member.comma, member.comma + 1, b""), Edit(key.start, value.end, b"")]
    after = node.members[1].comma if len(node.members) > 1 else node.last_comma
    if after < 0:
        return [Edit(key.start, value.end, b"")]
    return [Edit(key.start, value.end, b""), Edit(after, after + 1, b"")]
