"""Secrets that a name gives away inside a text: ``password=hunter2``, ``--token abc``, ``"pin": "1234"``.

The name must be sensitive as a key of JSON would be (`indelible.redact.keys`); then its value goes: a quoted
text, a bracket with all that is in it, the rest of the line for ``Cookie`` and ``Authorization``, otherwise up
to the next space or the next ``name=`` of a query or connection string. A value of several words without
quotes cannot be told from prose: only its first word goes.
"""

from __future__ import annotations

import re
from typing import Any, Final

from indelible.redact.keys import KeyNames

MARKER: Final = b"[REDACTED]"

_QUOTED: Final = {
    b'"': re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
    b"'": re.compile(rb"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL),
    b"`": re.compile(rb"`([^`]*)`"),
}
_ESCAPED = re.compile(rb"\\+[\"']([^\"'\\]*(?:\\+[^\"'\\]+)*)")
_LINE = re.compile(rb"[^\r\n\"']+")
# The look-ahead ends a value where the next name of a query or connection string begins; without it the value
# would run on to the end of such a text, and again from each of its names.
_BARE = re.compile(
    rb"(?:(?:bearer|basic|digest|negotiate|token|apikey)[ \t]+)?"
    rb"(?:\+?[0-9(][0-9 ().\-/]{4,}[0-9](?![^\s\"'<>])"
    rb"|(?:[^\s\"'<>`&;,]|[&;,](?![ ]?[A-Za-z_][\w.%\[\]-]{0,64}[ ]?[=:]))+)",
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
            lambda: rf"(?:^|[\s\"'=(,])--?([A-Za-z0-9_\-]*{names.stems_in_text()}[A-Za-z0-9_\-]*)[ \t]+[^\s\-]"
        )
        self._prose = compiler(rf"(?i)\b({_PROSE_WORDS})[ \t]+(?:is|was)[ \t]*:?[ \t]+[^\s]")

    def apply(self, text: bytes) -> bytes:
        """Return `text` without the values; the same object when there is none."""
        if b":" in text or b"=" in text or b"%3" in text:  # NEEDLES says the same
            text = self._pass(text, self._assigned, 0, self._sensitive)
        if b"-" in text:
            text = self._pass(text, self._flag, 1, self._sensitive)
        return text

    def apply_prose(self, text: bytes) -> bytes:
        """Return `text` without what is said to be a password or the like, when a digit is in it."""
        return self._pass(text, self._prose, 1, lambda _name: True, digits_only=True)

    def _sensitive(self, name: str) -> bool:
        return self._names.sensitive_in_text(name)

    def _is_marker(self, text: bytes, start: int, end: int, name: str) -> bool:
        """``[EMAIL]: hello`` is what became of an address in front of a colon."""
        bracketed = text[max(0, start - 1) : start] == b"[" and text[end : end + 1] == b"]"
        return bracketed and self._names.is_marker(name)

    def _pass(self, text: bytes, regex: Any, back: int, wanted: Any, *, digits_only: bool = False) -> bytes:
        pieces: list[bytes] = []
        done = 0
        for match in regex.finditer(text):
            if match.start() < done:
                continue
            name = match[1].decode("latin-1")
            if not wanted(name) or self._is_marker(text, match.start(1), match.end(1), name):
                continue
            span = _value(text, match.end() - back, whole_line=name.lower().endswith(_WHOLE_LINE))
            if span is None:
                continue
            value = text[span[0] : span[1]]
            if value.strip(b" )]},;.:").lower() in _NOT_VALUES or value == MARKER:
                continue
            if digits_only and not any(48 <= byte <= 57 for byte in value):
                continue
            pieces += (text[done : span[0]], MARKER)
            done = span[1]
        if not pieces:
            return text
        pieces.append(text[done:])
        return b"".join(pieces)


def _value(text: bytes, start: int, *, whole_line: bool) -> tuple[int, int] | None:
    """Return where the value that begins at `start` stands, without its quotes; None when there is none."""
    sign = text[start : start + 1]
    if sign in _QUOTED:
        match = _QUOTED[sign].match(text, start)
        if match is None:  # never closed: the rest of the line
            match = _LINE.match(text, start + 1)
            return match.span() if match else None
        return match.span(1) if match[1] else None
    if sign == b"\\":
        match = _ESCAPED.match(text, start)
        if match is not None:
            return match.span(1) if match[1] else None
    if sign in (b"[", b"{"):
        return start, _closing(text, start)
    if whole_line:
        match = _LINE.match(text, start)
        return match.span() if match else None
    match = _BARE.match(text, start)
    return match.span() if match else None


def _closing(text: bytes, start: int) -> int:
    """Return where the bracket at `start` is closed; the end of the text when it is not."""
    depth = 0
    for match in _BRACKET.finditer(text, start):
        depth += 1 if match[0] in b"[{" else -1
        if depth == 0:
            return match.end()
    return len(text)
