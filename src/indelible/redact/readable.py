"""What a text says to people: entities of HTML undone, wide letters as plain ones, without what has no width. Pure.

And to a shell: in a text in single quotes, where nothing escapes one, ``'"'"'`` and ``'\\''`` are one single quote.

``&quot;password&quot;:&quot;x&quot;`` stands in pages that carry data along, wide digits come out of Japanese
keyboards, and zero-width spaces, soft hyphens and no-break spaces come along with whatever is copied from a page. A
text with such signs is read once more without them; where that says something to be redacted, what is left of it is
written back, and all around it stays as it was.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

_ENTITIES: Final = "quot|apos|amp|nbsp|colon|equals|commat|lowbar|period|sol|hyphen|num|Tab|NewLine"
"""What may hide a name, a separator or a quote; ``&lt;`` and ``&gt;`` are read where markup is."""
_DIGITS: Final = "\u0660-\u0669\u06f0-\u06f9\u0966-\u096f"
"""Arabic ones, of two kinds, and Devanagari's."""
_WIDE: Final = "\u3000\uff02-\uff07\uff0a\uff0b\uff0d-\uff1a\uff1c-\uff1e\uff20-\uff5e\U0001d400-\U0001d7ff"
"""Full-width forms without what only structures a sentence, and letters and digits of mathematics."""
_SPACES: Final = "\u00a0\u2000-\u200a\u202f\u205f"
_NO_WIDTH: Final = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"

_SHELL_QUOTE: Final = r"'(?:\\*\"'\\*\"|\\+')'"
_QUOTED_SHELL_QUOTE: Final = r"\\+'(?:\\*\"\\+'\\*\"|\\{3,}')\\+'"
"""As `shlex.quote` and as people write it; whatever quotes them once more puts backslashes in front, Python of all."""

SIGN: Final = re.compile(
    rf"&(?:#[xX]?[0-9A-Fa-f]{{1,6}}|{_ENTITIES});|[{_DIGITS}{_WIDE}{_SPACES}{_NO_WIDTH}]|{_SHELL_QUOTE}"
    rf"|(?<!\\){_QUOTED_SHELL_QUOTE}"
)
HINT: Final = (
    rf"&(?:#[xX]?[0-9A-Fa-f]|{_ENTITIES})"
    r"|\xc2[\xa0\xad]|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0\xa5[\xa6-\xaf]|\xe1\xa0\x8e"
    r"|\xe2\x80[\x80-\x8f\xaa-\xaf]|\xe2\x81[\x9f-\xaf]|\xe3\x80\x80|\xef\xbb\xbf"
    r"|\xef\xbc[\x82-\x87\x8a\x8b\x8d-\x9a\x9c-\x9e\xa0-\xbf]"
    rf"|\xef\xbd[\x80-\x9e]|\xf0\x9d[\x90-\x9f]|{_SHELL_QUOTE}|{_QUOTED_SHELL_QUOTE}"
)
"""The same in UTF-8 as Latin-1; it may match more."""


_MARKER: Final = re.compile(r"(\[[A-Za-z0-9_-]{0,64}(?: [a-z]{2,4}:[0-9A-Za-z.-]{1,64})?\])")
"""What redaction leaves in the place of a value."""
_QUOTING: Final = str.maketrans({"&": "&amp;", '"': "&quot;", "'": "&#39;"})


class _Sign(NamedTuple):
    """Where a sign stands in a text, and where in its reading the character that it says, if it says one."""

    begin: int
    end: int
    said_begin: int
    said_end: int


def said(text: str) -> str:
    """Return what a text says; linear."""
    return SIGN.sub(lambda sign: _said(sign[0]), text)


class Reading:
    """One text, as it is read, and where what it says stands in it."""

    def __init__(self, text: str) -> None:
        """Read it; linear."""
        self._text = text
        self.said = said(text)
        """What it says."""
        self._signs: list[_Sign] = []
        done = size = 0
        for match in SIGN.finditer(text):
            begin, end = match.span()
            size += begin - done
            behind = size + len(_said(match[0]))
            self._signs.append(_Sign(begin, end, size, behind))
            done, size = end, behind

    def patched(self, left: str) -> str:
        """Return the text that says `left`: what stands between the markers in that is spelled as it came.

        Where `left` is more than `said` with markers in it (JSON is written anew), the rest of it is as it is.
        """
        said, at, pieces = self.said, 0, []
        parts = _MARKER.split(left)
        for number, part in enumerate(parts):
            if not part or number % 2:
                pieces.append(part)
                continue
            is_end = number == len(parts) - 1 and len(part) <= len(said) - at and said.endswith(part)
            found = len(said) - len(part) if is_end else said.find(part, at) if at >= 0 else -1
            at = found + len(part) if found >= 0 else -1
            pieces.append(
                self._spelled(part) if found < 0 else self._text[self._before(found) : self._behind(at)]
            )
        return "".join(pieces)

    def _spelled(self, part: str) -> str:
        """Write what is no piece of the text so that a quote in it is none of those around it."""
        return part.translate(_QUOTING) if "&" in self._text else part

    def _before(self, at: int) -> int:
        """Return where in the text what is said at a place begins; what has no width in front of it is left out."""
        if not at:
            return 0
        index = bisect_right(self._signs, at, key=lambda sign: sign.said_begin) - 1
        if index < 0:
            return at
        sign = self._signs[index]
        return sign.begin if at < sign.said_end else at - sign.said_end + sign.end

    def _behind(self, at: int) -> int:
        """Return where it ends; what has no width behind it is left out."""
        if at == len(self.said):
            return len(self._text)
        index = bisect_left(self._signs, at, key=lambda sign: sign.said_end)
        if index < len(self._signs) and self._signs[index].said_begin < at == self._signs[index].said_end:
            return self._signs[index].end
        if not index:
            return at
        sign = self._signs[index - 1]
        return at - sign.said_end + sign.end


@functools.lru_cache(maxsize=4096)
def _said(sign: str) -> str:
    """Return the one character that a sign says, or none."""
    if sign[0] == "&":
        import html  # its tables take a while, and few processes need them

        return html.unescape(sign).replace("\u00a0", " ")[:1]
    if sign[-1] == "'":
        return "'"
    plain = unicodedata.normalize("NFKC", sign)
    if unicodedata.category(sign) == "Cf":
        return ""
    return str(unicodedata.digit(plain)) if plain.isdecimal() else plain[:1]
