"""Secrets that a name gives away inside a text: ``password=hunter2``, ``--token abc``, ``"pin": "1234"``.

The name must be sensitive as a key of JSON would be (`indelible.redact.keys`); then its value goes: a quoted
text, a bracket with all that is in it, the rest of the line for ``Cookie`` and ``Authorization``, otherwise up
to the next space or the next ``name=`` of a query or connection string. A value of several words without
quotes cannot be told from prose: only its first word goes. Where a value holds a sensitive name of its own
(``password = a/token = b``), the value of that name goes with it.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, NamedTuple

from indelible.redact.keys import KeyNames

MARKER: Final = b"[REDACTED]"

_QUOTED: Final = {
    b'"': re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
    b"'": re.compile(rb"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL),
    b"`": re.compile(rb"`([^`]*)`"),
}
_ESCAPED = re.compile(rb"\\+[\"']([^\"'\\]*(?:\\+[^\"'\\]+)*)")
_LINE = re.compile(rb"[^\r\n\"']+")
_SCHEME: Final = rb"(?:bearer|basic|digest|negotiate|token|apikey)[ \t]+"
_NUMBER: Final = rb"\+?[0-9(][0-9 ().\-/]{4,}[0-9](?![^\s\"'<>])"
_GOES_ON = re.compile(_SCHEME + rb"|" + _NUMBER, re.IGNORECASE)
"""Values of more than one word."""
# The look-ahead ends a value where the next name of a query or connection string begins; without it the value
# would run on to the end of such a text, and again from each of its names.
_BARE = re.compile(
    rb"(?:"
    + _SCHEME
    + rb")?(?:"
    + _NUMBER
    + rb"|(?:[^\s\"'<>`&;,]|[&;,](?![ ]?[A-Za-z_][\w.%\[\]-]{0,64}[ ]?[=:]))+)",
    re.IGNORECASE,
)
_BRACKET = re.compile(rb"[\[\]{}]")
_NOT_VALUES: Final = frozenset(
    b"str string text int integer number float bool boolean none null nil undefined any bytes true false optional"
    b" required object array secretstr str|none optional[str] string|null".split()
)
"""What stands behind a name in code and schemas, and is no secret."""
_WHOLE_LINE: Final = ("cookie", "authorization", "authorisation")


NEEDLES: Final = (":", "=", "%3", "-")
"""One of these is in every text that holds a name with its value, but for prose."""

_PROSE_WORDS: Final = "password|passcode|passphrase|passwd|pwd|secret|token|pin"
PROSE_HINT: Final = rf"(?i:(?:{_PROSE_WORDS})(?:[ \t]|\\+t)+(?:is|was))"


class Pairs:
    """Finds names in texts and takes their values out."""

    def __init__(self, names: KeyNames, compiler: Any) -> None:
        """Compile for the names of a configuration; `compiler` makes a pattern over bytes (`Lazy`)."""
        self._names = names
        self._assigned = compiler(
            lambda: (
                rf"([A-Za-z0-9_.\-]*{names.stems_in_text()}[A-Za-z0-9_.\-]*)"
                r"[\"'\\\])`*]*[ \t]*(?:=>|:=|={1,3}|:|%3[Dd])[ \t]*(?:\r?\n[ \t]*)?"
            )
        )
        self._flag = compiler(
            lambda: (
                r"(?:^|[^A-Za-z0-9_\-\x80-\xff])"
                rf"--?([A-Za-z0-9_\-]*{names.stems_in_text()}[A-Za-z0-9_\-]*)[ \t]+[^\s\-]"
            )
        )
        self._after_bearer = compiler(
            r"(?i)\bbearer[\s:]+\[TOKEN\][\"'\\\])`*]*[ \t]*(?:=>|:=|={1,3}|:|%3D)[ \t]*(?:\r?\n[ \t]*)?"
        )
        self._prose = compiler(rf"(?i)\b({_PROSE_WORDS})[ \t]+(?:is|was)[ \t]*:?[ \t]+[^\s]")

    def apply(self, text: bytes, *, named: bool = True, prose: bool = False) -> bytes:
        """Return `text` without the values; the same object when there is none.

        With `prose`, what is said to be a password or the like goes too, when a digit is in it.
        """
        found: list[_Found] = []
        if named:
            # NEEDLES says the same. For bytes, `in` makes and drops an exception each time: `find` does not.
            if text.find(b":") >= 0 or text.find(b"=") >= 0 or text.find(b"%3") >= 0:
                found += self._named(text, self._assigned, 0)
                if (
                    text.find(b"[TOKEN]") >= 0
                ):  # what the token took with it may have been a name: `Bearer a/token = b`
                    found += [_Found(match.end(), False, False) for match in self._after_bearer.finditer(text)]  # noqa: FBT003
            if text.find(b"-") >= 0 and (text.find(b" ") >= 0 or text.find(b"\t") >= 0):
                found += self._named(text, self._flag, 1)
        if prose:
            found += [_Found(match.end() - 1, False, True) for match in self._prose.finditer(text)]  # noqa: FBT003
        return _without(text, found) if found else text

    def apply_prose(self, text: bytes) -> bytes:
        """Return `text` without what is said to be a password or the like, when a digit is in it."""
        return self.apply(text, named=False, prose=True)

    def _named(self, text: bytes, regex: Any, back: int) -> list[_Found]:
        """Return where the values of sensitive names begin; `back` is what the pattern takes of a value."""
        found = []
        for match in regex.finditer(text):
            name = match[1].decode("latin-1")
            if self._names.sensitive_in_text(name) and not self._is_marker(text, match, name):
                found.append(_Found(match.end() - back, name.lower().endswith(_WHOLE_LINE), False))  # noqa: FBT003
        return found

    def _is_marker(self, text: bytes, match: Any, name: str) -> bool:
        """``[EMAIL]: hello`` is what became of an address in front of a colon."""
        start, end = match.span(1)
        bracketed = text[max(0, start - 1) : start] == b"[" and text[end : end + 1] == b"]"
        return bracketed and self._names.is_marker(name)


class _Found(NamedTuple):
    """A name that is sensitive: where its value begins, and how it ends."""

    at: int
    whole_line: bool
    digits_only: bool


class _Value(NamedTuple):
    """Where a value stands, without its quotes."""

    start: int
    end: int
    kind: Literal["closed", "line", "bare"]
    """Only a quote or a bracket says for certain where a value ends; what begins inside any other may go on."""


def _without(text: bytes, found: list[_Found]) -> bytes:
    """Return `text` with a marker for each value; values that overlap or touch have one together."""
    pieces: list[bytes] = []
    done, kind = -1, "none"
    for name in sorted(found):
        if name.at <= done and kind == "closed":
            continue
        value = _inside(text, name, kind) if name.at < done else _value(text, name.at, name.whole_line)
        if value is None or not _is_secret(text[value.start : value.end], name.digits_only):
            continue
        if value.start > done:
            pieces += (text[max(done, 0) : value.start], MARKER)
        if value.end > done:
            done, kind = value.end, value.kind
    if not pieces:
        return text
    pieces.append(text[done:])
    result = b"".join(pieces)
    return text if result == text else result


def _is_secret(value: bytes, digits_only: bool) -> bool:  # noqa: FBT001
    if value == MARKER or value.strip(b" )]},;.:").lower() in _NOT_VALUES:
        return False
    return not digits_only or any(48 <= byte <= 57 for byte in value)


def _inside(text: bytes, name: _Found, kind: str) -> _Value | None:
    """Return a value that begins inside another (``password = a/token = b c``); None when it ends with it.

    Looking only at what can go on keeps this linear where a text is one pair behind the other.
    """
    if text[name.at : name.at + 1] in (b"[", b"{", b"\\") or (name.whole_line and kind == "bare"):
        return _value(text, name.at, name.whole_line)
    return _value(text, name.at, whole_line=False) if _GOES_ON.match(text, name.at) else None


def _value(text: bytes, start: int, whole_line: bool) -> _Value | None:  # noqa: FBT001
    """Return where the value that begins at `start` stands; None when there is none."""
    sign = text[start : start + 1]
    if sign in _QUOTED:
        match = _QUOTED[sign].match(text, start)
        if match is not None:
            return _Value(*match.span(1), "closed") if match[1] else None
        start += 1  # never closed: the rest of the line
        whole_line = True
    elif sign == b"\\" and (match := _ESCAPED.match(text, start)) is not None:
        return _Value(*match.span(1), "closed") if match[1] else None
    elif sign in (b"[", b"{"):
        return _Value(start, _closing(text, start), "closed")
    match = (_LINE if whole_line else _BARE).match(text, start)
    return _Value(*match.span(), "line" if whole_line else "bare") if match else None


def _closing(text: bytes, start: int) -> int:
    """Return where the bracket at `start` is closed; the end of the text when it is not."""
    depth = 0
    for match in _BRACKET.finditer(text, start):
        depth += 1 if match[0] in b"[{" else -1
        if depth == 0:
            return match.end()
    return len(text)
