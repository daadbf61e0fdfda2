"""Names with their values in forms of their own: markup, form data, pairs in brackets.

The rule that lives here: **the form must say where the value ends**, by an end tag, a boundary, a quote or the end of
a line. ``<password>`` alone is a placeholder of every manual, ``"password", "email"`` a list of columns; without the
rest of the form they stay. An end is looked for no further than `_NEAR`, but for `_FAR_LOOKS` times in a text: so time
grows with the size, whatever is left open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from indelible.redact.keys import KeyNames

Closed = tuple[int, int, bytes]
"""Where a value begins and ends, and its name."""

NEEDLES: Final = ("</", "&lt;/", '",', "',")
"""One of these is in every text that holds a form without any of ``:``, ``=`` and ``%3``."""
_NEEDLE_BYTES: Final = (b"<", b"lt;/", b'",', b"',", b"form-data")
"""One of these is in every text that holds a form at all."""

_NEAR: Final = 16_384
_FAR_LOOKS: Final = 8
"""Bytes in which an end is looked for, and how often in all that follows."""

_LINE_END: Final = r"(?:\r?\n|(?:\\+r)?\\+n)"
_NAME: Final = r"[A-Za-z0-9_.:\-]"
_QUOTE: Final = r"\\*[\"']"

_TAG: Final = re.compile(rb"(?:<|&lt;)([A-Za-z0-9_.:\-]+)")
_ATTRIBUTE: Final = re.compile(rb"([A-Za-z:_-]+)\s*=\s*\\*([\"'])([^\"'\\]*)")
_NAMING: Final = (b"name", b"key", b"id", b"type", b"property")
_VALUES: Final = (b"value", b"content")
_HOLDERS: Final = frozenset(
    b"property entry string param parameter setting item data field variable var env header constant arg".split()
)
"""Elements that hold the value of which an attribute is the name; what others hold is text for people."""
_NAMED_ELEMENT: Final = re.compile(
    rb"<(?:key|name)>\s*([^<>]*?)\s*</(?:key|name)>\s*<([A-Za-z0-9_.:\-]+)[^<>]*>\Z"
)
_FIELD: Final = re.compile(rb"name\*?=\\*\"?([^\"\\;\r\n]*)", re.IGNORECASE)
_NAMED_VALUE: Final = re.compile(rb"\\*[\"'][A-Za-z]+\\*[\"']\s*:\s*\\*[\"']([^\"'\\]*)\\*[\"'],")
_QUOTED_NAME: Final = re.compile(rb"[\"']([^\"'\\]*)\\*[\"'],\s*b?\\*[\"']\Z")


class Forms:
    """Finds values whose form tells their names."""

    def __init__(self, names: KeyNames, sensitive: Callable[[bytes], bool], compiler: Any) -> None:
        """`sensitive` knows names of UTF-8; `compiler` makes a pattern over bytes (`Lazy`)."""
        self._sensitive = sensitive
        self._opened = compiler(lambda: _pattern(names.stems_in_text()))

    def find(self, text: bytes) -> list[Closed]:
        """Return the values, in order of where their forms begin; one may hold another."""
        for needle in _NEEDLE_BYTES:
            if text.find(needle) >= 0:
                return list(self._find(text))
        return []

    def _find(self, text: bytes) -> Iterator[Closed]:
        looks = _Looks(text)
        for begin, end in self._places(text):
            form = text[begin:end]
            sign = form[:1]
            named = _NAMED_VALUE.match(form)
            if named is not None:
                value = (end, looks.quote(end), named[1]) if self._sensitive(named[1]) else None
            elif sign in b"<&":
                value = self._markup(form, begin, end, looks)
            elif form[:4].lower() == b"form":
                value = self._field(form, end, looks)
            else:
                value = self._pair(text, begin, form, end, looks)
            if value is not None and value[0] < value[1]:
                yield value

    def _places(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield where forms begin and where their values may; a tag's attributes may hold others."""
        for match in self._opened.finditer(text):
            begin, end = match.span()
            yield begin, end
            if text[begin] == _TAG_OPENS:
                for inner in self._opened.finditer(text[begin + 1 : end]):
                    yield begin + 1 + inner.start(), begin + 1 + inner.end()

    # --- XML, HTML ----------------------------------------------------------------------------------------

    def _markup(self, form: bytes, begin: int, end: int, looks: _Looks) -> Closed | None:
        named = _NAMED_ELEMENT.match(form)
        if named is not None:
            return looks.content(end, b"</", named[2], named[1]) if self._sensitive(named[1]) else None
        tag = _TAG.match(form)
        if tag is None:
            return None
        closing = b"</" if form[:1] == b"<" else b"&lt;/"
        element = tag[1]
        local = element.rpartition(b":")[2]
        alone = form.rstrip(b">")[-1:] == b"/"
        if self._sensitive(local) and not alone:
            return looks.content(end, closing, element, local)
        attributes = {found[1].lower(): found for found in _ATTRIBUTE.finditer(form)}
        said = [found[3] for name in _NAMING if (found := attributes.get(name)) is not None]
        name = next((one for one in said if self._sensitive(one)), None)
        if name is None:
            return None
        for word in _VALUES:
            if (found := attributes.get(word)) is not None:
                return begin + found.start(3), begin + found.end(3), name
        return None if alone or local.lower() not in _HOLDERS else looks.content(end, closing, element, name)

    # --- form data, pairs --------------------------------------------------------------------------

    def _field(self, form: bytes, end: int, looks: _Looks) -> Closed | None:
        """Return a part of multipart/form-data (RFC 7578); without a boundary it is the rest."""
        found = _FIELD.search(form)
        if found is None or not self._sensitive(found[1]):
            return None
        return end, looks.boundary(end), found[1]

    def _pair(self, text: bytes, begin: int, form: bytes, end: int, looks: _Looks) -> Closed | None:
        """Return the second of two texts in brackets: of a call or a tuple, or of an array in an array."""
        found = _QUOTED_NAME.search(form)
        if found is None or not self._sensitive(found[1]):
            return None
        inner = form[:1] == b"["
        if inner and text[max(0, begin - _GAP) : begin].rstrip()[-1:] not in (b"[", b","):
            return None
        close = looks.quote(end)
        behind = text[close : close + _GAP].lstrip(b"\\\"' \t\r\n,")[:1]
        return (end, close, found[1]) if behind == (b"]" if inner else b")") else None


_TAG_OPENS: Final = ord("<")
_GAP: Final = 16
"""Bytes at a bracket in which another is looked for."""


class _Looks:
    """Looks for ends in one text."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._far = _FAR_LOOKS
        self._next: dict[bytes, int] = {}

    def _end(self, at: int, what: bytes) -> int:
        found = self._text.find(what, at, at + _NEAR)
        if found < 0 and self._far and len(self._text) > at + _NEAR:
            self._far -= 1
            found = self._text.find(what, at)
        return found

    def content(self, at: int, closing: bytes, element: bytes, name: bytes) -> Closed | None:
        """Return what an element holds, without the space around it; None when it is never closed."""
        end = self._end(at, closing + element)
        if end < 0:
            return None
        held = self._text[at:end]
        return at + len(held) - len(held.lstrip()), at + len(held.rstrip()), name

    def boundary(self, at: int) -> int:
        """Return where the next boundary's line begins."""
        end = min(self._ahead(at, b"\n--"), self._ahead(at, b"\\n--"))
        left = self._text[max(at, end - _GAP) : end].rstrip(b"\\")
        left = left[: -2 if left[-2:] == b"\\r" else -1 if left[-1:] == b"\r" else None]
        return max(at, end - _GAP) + len(left.rstrip(b"\\"))

    def _ahead(self, at: int, what: bytes) -> int:
        """Return where the next of something begins; the text's end when there is none. Places are asked in order."""
        known = self._next.get(what, -1)
        if known < at:
            known = self._text.find(what, at)
            known = self._next[what] = len(self._text) if known < 0 else known
        return known

    def quote(self, at: int) -> int:
        """Return where a quoted text ends whose quote stands in front of `at`; `at` when it does not."""
        text = self._text
        sign = text[at - 1 : at]
        found = text.find(sign, at, at + _NEAR)
        if text[at - 2 : at - 1] == b"\\":  # escaped quotes: the text ends in front of the first backslash
            escape = text.find(b"\\", at, at + _NEAR)
            return at if escape < 0 else escape
        while found > 0 and text[found - 1 : found] == b"\\":
            found = text.find(sign, found + 1, at + _NEAR)
        return max(found, at)


def _pattern(stems: str) -> str:
    """Return what finds where each form begins, up to its value; a name in it may be harmless yet."""
    open_, close, named = "(?:<|&lt;)", "(?:>|&gt;)", rf"{_NAME}*{stems}{_NAME}*"
    return "|".join(
        (
            rf"<(?:key|name)>\s*[^<>]*{stems}[^<>]*</(?:key|name)>\s*<{_NAME}+[^<>]*>",
            rf"{open_}{named}(?:\s[^<>&]*)?{close}",
            rf"<[A-Za-z][^<>]*\s(?i:name|key|id|type|property)\s*=\s*{_QUOTE}[^\"'<>]*{stems}[^<>]*>",
            rf"(?i:form-data;)[^\r\n]*?(?i:name)\*?=\\*\"?[^\"\r\n;]*{stems}[^\r\n]*?"
            rf"(?:{_LINE_END}[A-Za-z\-]+:[^\r\n\\]*)*{_LINE_END}{_LINE_END}",
            rf"[\[(][ \t]*b?{_QUOTE}{named}{_QUOTE},\s*b?{_QUOTE}",
            rf"{_QUOTE}(?i:(?:parameter)?key|name|header|field|label|id){_QUOTE}\s*:\s*{_QUOTE}{named}{_QUOTE},\s*"
            rf"{_QUOTE}(?i:(?:parameter)?value){_QUOTE}\s*:\s*{_QUOTE}",
        )
    )
