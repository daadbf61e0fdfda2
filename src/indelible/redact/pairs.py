"""Secrets that a name gives away inside a text: ``password=hunter2``, ``--token abc``, ``"pin": "1234"``.

The name must be sensitive as a key of JSON would be (`indelible.redact.keys`); then its value goes: a quoted
text, a bracket with all that is in it, the rest of the line for ``Cookie`` and ``Authorization``, otherwise up
to the next space or the next ``name=`` of a query or connection string. Where a value holds a sensitive name of
its own (``password = a/token = b``), the value of that name goes with it.

A value of several words without quotes can be told from prose only where a line begins with ``name: value``, as in
YAML and in headers: there it goes on to the end of the line, a comma, a comment, a flag or the next pair. In 1.7
million lines of code and documentation 217 begin so and are no secret: descriptions of parameters, which lost their
first word before and lose the others now. Everywhere else only the first word goes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, Literal

from indelible.redact import forms
from indelible.redact.glued import CLOSERS, SCHEMES, SEPARATOR
from indelible.redact.keys import IS_KEYED, KeyNames
from indelible.redact.limits import CACHED_CHARS, NAME_CACHE

MARKER: Final = b"[REDACTED]"

_QUOTED: Final = {
    b'"': re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL),
    b"'": re.compile(rb"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL),
    b"`": re.compile(rb"`([^`]*)`"),
}
_TRIPLE: Final = (b'"""', b"'''")
_DOUBLED: Final = re.compile(
    rb"\"\"([^\s\"'\\,;:)\]}>|&+.?=][^\"\r\n]*)\"\"|''([^\s\"'\\,;:)\]}>|&+.?=][^'\r\n]*)''"
).match
"""A quoted text inside one that doubles quotes: of CSV, SQL, PowerShell. What ends a value says that it was empty."""
_ESCAPED = re.compile(rb"\\+[\"'](?:\\+[\"'](?=[^\s\"'\\,;:)\]}>|&+.?=]))?([^\"'\\]*(?:\\+[^\"'\\]+)*)")
_LINE = re.compile(rb"(?i:digest|oauth|hawk|signature|aws4-hmac-sha256)[ \t][^\r\n]+|[^\r\n\"']+")
"""Some schemes have quoted parameters (RFC 9110, section 11.4)."""
_SCHEME: Final = rf"(?:{SCHEMES})[ \t]+".encode()
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
    + rb"|(?:\\ |[^\s\"'<>`&;,]|[&;,](?![ ]?[A-Za-z_][\w.%\[\]-]{0,64}[ ]?[=:]))+)",
    re.IGNORECASE,
)
_BRACKET = re.compile(rb"[\[\]{}]")
_NOT_VALUES: Final = frozenset(
    b"str string text int integer number float bool boolean none null nil undefined any bytes true false optional"
    b" required object array secretstr str|none optional[str] string|null { [ %s %r %d"
    b" varchar citext uuid bytea date timestamp ? $1 $2 $3 $4 $5 $6 $7 $8 $9".split()
)
"""What stands behind a name in code and schemas, and is no secret; nothing closed (``{}``), formats and what SQL and
shells fill in among it."""
_STATEMENT: Final = re.compile(
    rb"[ \t]*+(?:if|elif|while|for|async|with|def|class|case|match|except|when|unless|switch)[ \t(]"
).match
_MAX_LINE: Final = 200
"""Bytes before a name in which a line of code is looked for."""
_PATH: Final = re.compile(rb"([A-Za-z_]\w*)([;:(<>{!]?)").match
"""What follows in a path of Rust, C++, PHP or Ruby; and in a cast of PostgreSQL."""
_HEX_PART: Final = re.compile(rb"[0-9A-Fa-f]{1,4}(?![0-9A-Za-z])").match
_IN_ADDRESS: Final = re.compile(rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{1,4}::?\Z").search
_ADDRESS_CHARS: Final = 6
_WHOLE_LINE: Final = (b"cookie", b"authorization", b"authorisation")
_BEHIND: Final = b"\"'\\])`* \t"
"""What may stand between a name and its separator."""
_ONLY_QUOTES: Final = re.compile(rb"(?:[\"'\\]|%2[27])*+").fullmatch
"""A value of nothing else is where a shell's quote ends and another begins."""
_OPEN_BRACKET: Final = ord("[")
_BLOCK: Final = re.compile(rb"(?<=[: \t])[|>][+-]?[0-9]?$").search
"""What stands in YAML where a value begins on the next line; a ``>`` behind ``=`` is half of a ``=>``."""
_BEFORE: Final = re.compile(rb"[ \t]*+(?:[-*][ \t]++)?[\"'`*_]{0,3}\Z").match
_MAX_INDENT: Final = 80
_MORE: Final = re.compile(
    rb"(?:[ \t]++(?!-|\#|//|/\*|[A-Za-z_][\w.%\[\]-]{0,64}[ \t]?[=:])[^\s\"'<>`&;,(){}\[\]|=]++)++"
).match
"""Further words of a value that stands alone in its line."""
_FIELD: Final = re.compile(rb"(?:[ \t]++(?!-)[^\s\"'<>`;=]++)++(?=[ \t]*+(?:;|\r?\n|\Z))").match
"""Further words of a value in a connection string."""
_LONGER: Final = ("words", "field")
_IN_FIELDS: Final = re.compile(rb"[A-Za-z][\w ]*=[^\s;=\"'][^;=\"'\r\n]*;[ ]?\Z").search
"""Finds the field in front of one of a connection string: ``Server=x;``."""
_MAX_FIELD: Final = 120
_QUOTE_PREFIX: Final = re.compile(rb"(?:[bBfFrRuU]{1,2}|[NnLEe]|\$@?|@\$?)(?=\\*[\"'])").match
"""What may stand before a quote: of Python, C, C# and SQL (``N'x'``)."""
_TYPED: Final = re.compile(
    rb"([A-Za-z_][\w.]*+(?:\[[\w., |\[\]]{0,80}\])?(?:[ ]?\|[ ]?[\w.]++){0,4}+\??)[ ]?=[ ]?"
    rb"(?=(?:[bBfFrRuU]{1,2}|[NnLEe]|\$@?|@\$?)?\\*[\"'`])"
).match
"""A type with what stands behind it as a default: ``password: str = "x"``."""
_IS_PHRASE: Final = re.compile(rb"(?i:phrase|mnemonic)\Z").search
"""Names of values that are words by nature."""
_FLAG_START: Final = r"-(?<![A-Za-z0-9_\-{}]-)[A-Za-z0-9_\-]"
_FLAG_IN_BYTES: Final = re.compile(_FLAG_START.format(r"\x80-\xff").encode()).search


NEEDLES: Final = (":", "=", "%3", *forms.NEEDLES)
"""One of these is in every text that holds a name with its value, but for flags and prose."""
FLAG_IN_TEXT: Final = re.compile(_FLAG_START.format(r"\x80-\U0010ffff"))

_PROSE_WORDS: Final = "password|passcode|passphrase|passwd|pwd|secret|token|pin"
PROSE_HINT: Final = rf"(?i:(?:{_PROSE_WORDS})(?:[ \t]|\\+t)+(?:is|was))"
PROSE_IN_TEXT: Final = re.compile(rf"(?i:(?:{_PROSE_WORDS})[ \t]++(?:is|was))")


Ends = Literal["word", "words", "line", "field"] | int
"""Where a value ends that has neither quotes nor brackets; a number when its form says so (`forms`)."""

Found = tuple[int, Ends, bool, bytes]
"""A name that is sensitive: where its value begins, where it ends, whether it must have a digit, and the name."""

_place: Final = itemgetter(0)

Span = tuple[int, int, bytes]
"""Where a value stands, and its name; empty for what several names share."""

Put = Callable[[bytes, bytes], bytes]
"""(name, value) → what takes the value's place."""


class Pairs:
    """Finds names in texts and takes their values out."""

    def __init__(self, names: KeyNames, compiler: Any) -> None:
        """Compile for the names of a configuration; `compiler` makes a pattern over bytes (`Lazy`).

        The patterns have no groups: with one, RE2 would look at each match a second time, four times as slowly.
        """
        self._names = names
        self._known: dict[bytes, bool] = {}
        self._put: Put | None = None
        self._marked: Callable[[str], object] = IS_KEYED
        self._forms = forms.Forms(names, self._sensitive, compiler)
        self._assigned = compiler(
            lambda: (
                rf"[A-Za-z0-9_.\-]*{names.stems_in_text()}[A-Za-z0-9_.\-]*"
                rf"[{CLOSERS}]*[ \t]*{SEPARATOR}[ \t]*(?:[*_]{{1,3}}[ \t]+)?"
                r"(?:(?:[|>][+-]?[0-9]?[ \t]*)?\r?\n[ \t]*)?"
            )
        )
        self._flag = compiler(
            lambda: (
                r"(?:^|[^A-Za-z0-9_\-\x80-\xff])"
                rf"--?[A-Za-z0-9_\-]*{names.stems_in_text()}[A-Za-z0-9_\-]*"
                r"(?:[ \t]+[^\s\-]|\\*[\"'],[ \t]*\\*[\"'][^\s\-\"'\\])"
            )
        )
        self._prose = compiler(rf"(?i)\b(?:{_PROSE_WORDS})[ \t]+(?:is|was)[ \t]*:?[ \t]+[^\s]")

    def using(self, put: Put | None, marked: Callable[[str], object]) -> Pairs:
        """Return one that leaves what `put` says of a name and its value, and takes what is `marked` for no value."""
        other = copy.copy(self)
        vars(other).update(_put=put, _marked=marked)
        return other

    def instead(self, name: bytes, value: bytes) -> bytes:
        """Return what takes the place of a name's value."""
        return MARKER if self._put is None or not name else self._put(name, value)

    def apply(self, text: bytes, *, named: bool = True, prose: bool = False) -> bytes:
        """Return `text` without the values; the same object when there is none.

        With `prose`, what is said to be a password or the like goes too, when a digit is in it.
        """
        spans = self.spans(text, named=named, prose=prose)
        return self._without(text, spans) if spans else text

    def _without(self, text: bytes, spans: list[Span]) -> bytes:
        """Return `text` with a marker for each value."""
        pieces: list[bytes] = []
        done = 0
        for start, end, name in spans:
            pieces += (text[done:start], self.instead(name, text[start:end]))
            done = end
        pieces.append(text[done:])
        result = b"".join(pieces)
        return text if result == text else result

    def spans(self, text: bytes, *, named: bool, prose: bool) -> list[Span]:
        """Return where the values stand that `apply` takes out, in order, none touching another."""
        found: list[Found] = []
        if named:
            # NEEDLES says the same. For bytes, `in` makes and drops an exception each time: `find` does not.
            if text.find(b":") >= 0 or text.find(b"=") >= 0 or text.find(b"%3") >= 0:
                found += self._find_assigned(text)
            if text.find(b"-") >= 0 and _FLAG_IN_BYTES(text):
                found += self._find_flags(text)
            found += [(at, end, False, name) for at, end, name in self._forms.find(text)]
        if prose:
            for match in self._prose.finditer(text):
                word: bytes = match[0].split(None, 1)[0]
                found.append((match.end() - 1, "word", True, word))
        return self._spans(text, found) if found else []

    def _spans(self, text: bytes, found: list[Found]) -> list[Span]:
        """Return where the values are; those that overlap or touch are one."""
        spans: list[Span] = []
        begun, done, kind, owner = 0, -1, "none", b""
        found.sort(key=_place)
        for at, ends, digits_only, name in found:
            if at <= done and kind == "closed":
                continue
            value = _inside(text, at, ends, kind) if at < done else _value(text, at, ends)
            if value is None:
                continue
            start, end, value_kind = value
            if not self._is_secret(text[start:end], digits_only):
                continue
            if start > done:
                if done >= 0:
                    spans.append((begun, done, owner))
                begun, owner = start, name
            elif owner != name:
                owner = b""
            if end > done:
                done, kind = end, value_kind
        if done >= 0:
            spans.append((begun, done, owner))
        return spans

    def _is_secret(self, value: bytes, digits_only: bool) -> bool:  # noqa: FBT001
        if value == MARKER or _is_no_value(value) or _ONLY_QUOTES(value):
            return False
        if value[:1] == b"[" and self._marked(value.decode("utf-8", "replace")):
            return False
        return not digits_only or any(48 <= byte <= 57 for byte in value)

    def _find_assigned(self, text: bytes) -> list[Found]:
        """Return where the values of names with a separator begin."""
        found: list[Found] = []
        for match in self._assigned.finditer(text):
            begin, end = match.span()
            # Back from the end over what the pattern allows there; a name ends with none of it.
            whole = text[begin:end]
            left = whole.rstrip(b" \t\r\n")
            block = whole.find(b"\n") >= 0 and _BLOCK(left)
            if block:
                left = left[: block.start()].rstrip(b" \t")
            left = left.rstrip(b"*_ \t")  # of emphasis in Markdown: `**Password:** x`
            colon = left[-1:] == b":"
            left = left[:-3] if left[-3:-1] == b"%3" else left.rstrip(b"=>:")
            name = left.rstrip(_BEHIND)
            if self._sensitive(name) and not (
                (begin and text[begin - 1] == _OPEN_BRACKET and self._is_marker(text, begin + len(name), name))
                or (colon and _is_code(text, begin, end, whole, name))
                or text[max(0, begin - 6) : begin] == b"xmlns:"
            ):
                if block:
                    ends: Ends = "line"
                else:
                    ends = _ends(text, begin, whole, name, colon)
                found.append((end, ends, False, name))
        return found

    def _find_flags(self, text: bytes) -> list[Found]:
        """Return where the values of flags with a space behind them begin."""
        found: list[Found] = []
        for match in self._flag.finditer(text):
            begin, end = match.span()
            flag = text[begin : end - 1].rstrip(b" \t\\\"',")  # of a list, too: `['--token', 'abc']`
            name = flag[flag.find(b"-") :]
            if self._sensitive(name):
                ends: Ends = "line" if name.lower().endswith(_WHOLE_LINE) else "word"
                found.append((end - 1, ends, False, name))
        return found

    def _sensitive(self, name: bytes) -> bool:
        known = self._known.get(name)
        if known is None:
            known = self._names.sensitive_in_text(name.decode("utf-8", "replace"))
            if len(name) <= CACHED_CHARS:
                if len(self._known) >= NAME_CACHE:
                    self._known.clear()
                self._known[name] = known
        return known

    def _is_marker(self, text: bytes, end: int, name: bytes) -> bool:
        """``[EMAIL]: hello`` is what became of an address in front of a colon."""
        return text[end : end + 1] == b"]" and self._names.is_marker(name.decode("latin-1"))


Kind = Literal["closed", "line", "bare"]
"""Only a quote or a bracket says for certain where a value ends; what begins inside any other may go on."""

Value = tuple[int, int, Kind]
"""Where a value stands, without its quotes."""


def _is_no_value(value: bytes) -> bool:
    return value.strip(b" )]},;.:").lower() in _NOT_VALUES


def _inside(text: bytes, at: int, ends: Ends, kind: str) -> Value | None:
    """Return a value that begins inside another (``password = a/token = b c``); None when it ends with it.

    Looking only at what can go on keeps this linear where a text is one pair behind the other.
    """
    if type(ends) is int or text[at : at + 1] in (b"[", b"{", b"\\") or (ends == "line" and kind == "bare"):
        return _value(text, at, ends)
    if _QUOTE_PREFIX(text, at) or _TYPED(text, at):
        return _value(text, at, ends)
    return _value(text, at, "word") if _GOES_ON.match(text, at) else None


def _value(text: bytes, start: int, ends: Ends) -> Value | None:
    """Return where the value that begins at `start` stands; None when there is none."""
    if type(ends) is int:
        return start, ends, "closed"
    typed = _TYPED(text, start) if ends != "line" else None
    if typed is not None:
        default = _value(text, typed.end(), "word")
        if default is not None:
            return default if _is_no_value(typed[1]) else (start, *default[1:])
    prefix = _QUOTE_PREFIX(text, start)
    start = start if prefix is None else prefix.end()
    sign = text[start : start + 1]
    if text[start : start + 3] in _TRIPLE:  # of TOML and Python
        end = text.find(text[start : start + 3], start + 3)
        if end > start + 3:
            return start + 3, end, "closed"
    if sign in _QUOTED:
        match = _DOUBLED(text, start) or _QUOTED[sign].match(text, start)
        if match is not None:
            inside = match.span(match.lastindex or 0)
            return (*inside, "closed") if inside[0] < inside[1] else None
        start += 1  # never closed: the rest of the line
        ends = "line"
    elif sign == b"\\" and (match := _ESCAPED.match(text, start)) is not None:
        return (*match.span(1), "closed") if match[1] else None
    elif sign in (b"[", b"{"):
        return start, _closing(text, start), "closed"
    match = (_LINE if ends == "line" else _BARE).match(text, start)
    if match is None:
        return None
    end = match.end()
    if ends in _LONGER and text[end - 1] not in b",;" and not _is_no_value(text[start:end]):
        more = (_MORE if ends == "words" else _FIELD)(text, end)
        end = end if more is None else more.end()
    return start, end, "line" if ends == "line" else "bare"


def _is_code(text: bytes, begin: int, end: int, whole: bytes, name: bytes) -> bool:
    """Tell whether a name and a colon end a statement (``if token:``), or are a part of something longer.

    Of a path (``std::pin::Pin``, ``Token::new()``), an address (``9c:cc:ed:14``), an element (``<cc:Work>``).
    """
    if whole.find(b"\n") >= 0:
        low = max(0, begin - _MAX_LINE)
        start = text.rfind(b"\n", low, begin) + 1
        return (start > 0 or low == 0) and _STATEMENT(text, start, begin) is not None
    if whole == name + b"::" and (path := _PATH(text, end)) is not None:
        if path[2] or text[max(0, begin - 2) : begin] == b"::":
            return True
        return path[1].isalpha() and name[:1].isupper() and not name.isupper()
    if name == b"cc" and text[max(0, begin - 2) : begin].endswith((b"<", b"</")):
        return True
    return (
        len(whole) == len(name) + 1
        and name[-2:].lower() == b"cc"
        and _HEX_PART(text, begin) is not None
        and _HEX_PART(text, end) is not None
        and _IN_ADDRESS(text[max(0, begin - _ADDRESS_CHARS) : begin]) is not None
    )


def _ends(text: bytes, begin: int, whole: bytes, name: bytes, colon: bool) -> Ends:  # noqa: FBT001
    """Return where the value of a name ends whose match at `begin` is `whole`."""
    if name.lower().endswith(_WHOLE_LINE):
        return "line"
    if colon and whole[-1:].isspace() and _begins_line(text, begin):
        return "words"
    # Not of a flag nor of a variable in front of a command: what follows is the command's.
    if (
        _IS_PHRASE(name)
        and name[:1] != b"-"
        and not name.isupper()
        and not whole[len(name) :].lstrip().startswith(b"==")
    ):
        return "words"
    if whole[-1:] == b"=" and _IN_FIELDS(text, max(0, begin - _MAX_FIELD), begin):
        return "field"
    return "word"


def _begins_line(text: bytes, at: int) -> bool:
    """Tell whether only indentation, a dash or a quote stands in front of a place in its line."""
    start = text.rfind(b"\n", max(0, at - _MAX_INDENT), at) + 1
    if not start and at >= _MAX_INDENT:
        return False
    return _BEFORE(text, start, at) is not None


def _closing(text: bytes, start: int) -> int:
    """Return where the bracket at `start` is closed; the end of the text when it is not."""
    depth = 0
    for match in _BRACKET.finditer(text, start):
        depth += 1 if match[0] in b"[{" else -1
        if depth == 0:
            return match.end()
    return len(text)
