"""A rule's `where` (CEL over one event) as a condition in SQL, so that an alert's query shows what was counted. Pure.

The rules that live here:

- What is said in SQL means the same of every event; `tests/unit/alerting/test_in_sql.py` asks both. What cannot be
  said so (`args`, `roles`, functions beside the three, escapes in texts) is not guessed at.
- Of conditions that are joined by ``&&`` those that can be said are: the query then shows more than was counted, and
  who asks is told so. Within ``||`` and ``!`` that would be wrong, and all of it is left out.

The grammar, a part of CEL's (https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax)::

    either  = both, {"||", both} ;
    both    = one, {"&&", one} ;
    one     = "!", not | test | not ;
    not     = "!", not | "(", either, ")" | "true" | "false" | call ;
    call    = TEXT, ".", ("startsWith" | "endsWith" | "contains"), "(", STRING, ")" ;
    test    = TEXT, ("==" | "!="), STRING | TEXT, "in", "[", STRING, {",", STRING}, "]"
            | NUMBER, ("==" | "!=" | "<" | "<=" | ">" | ">="), ["-"], DIGITS ;
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indelible.alerting.words import Where

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>'[^'\\\r\n]*'|"[^"\\\r\n]*")|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.])"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[=!<>]=|[^\s'"]))"""
)

_LATENCY: Final = (
    "CASE WHEN latency_ms >= 0 AND latency_ms < 1e12 THEN trunc(latency_ms * 1000) / 1000 ELSE 0 END"
)

TEXTS: Final[dict[str, str]] = {
    **{
        name: f"coalesce({name}, '')"
        for name in (
            "event_type", "client", "client_ip", "caller", "caller_type", "tenant", "auth_key_id", "backend", "method",
            "type", "name", "effects", "status", "kind", "error", "error_type",
        )
    },
    "user": "coalesce(user_id, '')",
    "session": "coalesce(session_id, '')",
    "policy": "coalesce(policy_decision, '')",
    "actor": "coalesce(nullif(user_id, ''), nullif(auth_key_id, ''), client_ip, '')",
}  # fmt: skip
"""What `where` names, and what that is in the view `logs`."""

NUMBERS: Final[dict[str, str]] = {
    "latency_ms": _LATENCY,
    **{name: f"coalesce({name}, 0)" for name in ("args_bytes", "result_bytes", "error_code")},
    "cost_cents": "greatest(coalesce(cost_centicents, 0), 0) / 100",
}

FUNCTIONS: Final = {"startsWith": "starts_with", "endsWith": "ends_with", "contains": "contains"}
_EQUAL: Final = {"==": "=", "!=": "<>"}
_ORDER: Final = {**_EQUAL, **{sign: sign for sign in ("<", "<=", ">", ">=")}}

_FILLED_IN: Final = frozenset({"", "n/a"})
"""Of `policy`: where nobody decided, the view says ``n/a`` and an event nothing."""


class _Unsaid(Exception):  # noqa: N818 - no error: how the parser says no
    """It cannot be said in SQL, or not here."""


def in_sql(source: str) -> Where:
    """Return an expression of CEL, which was judged before, as a condition in SQL."""
    try:
        tokens = _tokens(source)
    except _Unsaid:
        return Where("", is_whole=False)
    parts = _split(tokens)
    said = [sql for part in parts if (sql := _try(part)) is not None]
    return Where(" AND ".join(said), len(said) == len(parts))


def _try(tokens: list[str]) -> str | None:
    """Return what stands between two ``&&``; None for what cannot be said."""
    parser = _Parser(tokens)
    try:
        sql = parser.either()
    except _Unsaid:
        return None
    return sql if parser.is_at_end else None


def _tokens(source: str) -> list[str]:
    found, at = [], 0
    source = source.rstrip()
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None or (match["text"] is not None and _is_odd(source, match)):
            raise _Unsaid
        found.append(match[0].strip() if match["text"] is None else match["text"])
        at = match.end()
    return found


def _is_odd(source: str, match: re.Match[str]) -> bool:
    """Tell whether a text is none of the plain ones: within three quotes, or with what cannot be seen."""
    quote = match["text"][0]
    return source[match.end() : match.end() + 1] == quote or not match["text"].isprintable()


def _split(tokens: list[str]) -> list[list[str]]:
    """Return what ``&&`` joins at the top; all in one where ``||`` or ``?`` stands there, which binds less."""
    parts: list[list[str]] = [[]]
    depth = 0
    for one in tokens:
        depth += (one in ("(", "[")) - (one in (")", "]"))
        if depth == 0 and one in ("||", "?"):
            return [tokens]
        if depth == 0 and one == "&&":
            parts.append([])
        else:
            parts[-1].append(one)
    return parts


class _Parser:
    """Goes through tokens once. Every method returns SQL that can stand beside AND and OR, or raises `_Unsaid`."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._tokens)

    def either(self) -> str:
        return self._joined("||", " OR ", self._both)

    def _both(self) -> str:
        return self._joined("&&", " AND ", self._one)

    def _joined(self, sign: str, word: str, part: Callable[[], str]) -> str:
        parts = [part()]
        while self._peek() == sign:
            self._next()
            parts.append(part())
        return parts[0] if len(parts) == 1 else f"({word.join(parts)})"

    def _one(self) -> str:
        if self._peek(1) == "." or self._peek() in ("!", "(", "true", "false"):
            return self._not()
        name, sign = self._next(), self._next()
        if name in NUMBERS and sign in _ORDER:
            return f"{NUMBERS[name]} {_ORDER[sign]} {self._number()}"
        if name in TEXTS and sign in _EQUAL:
            return f"{TEXTS[name]} {_EQUAL[sign]} {self._text(name)}"
        if name in TEXTS and sign == "in":
            return f"{TEXTS[name]} IN ({self._listed(name)})"
        raise _Unsaid

    def _not(self) -> str:
        """Return what ``!`` may stand before: it binds more than ``==`` does."""
        first = self._next()
        if first == "!":
            return f"(NOT {self._not()})"
        if first == "(":
            found = self.either()
            self._take(")")
            return f"({found})"
        return first if first in ("true", "false") else self._call(first)

    def _listed(self, name: str) -> str:
        self._take("[")
        listed = [self._text(name)]
        while self._peek() == ",":
            self._next()
            listed.append(self._text(name))
        self._take("]")
        return ", ".join(listed)

    def _call(self, name: str) -> str:
        column = None if name == "policy" else TEXTS.get(name)
        self._take(".")
        function = FUNCTIONS.get(self._next())
        if column is None or function is None:
            raise _Unsaid
        self._take("(")
        text = self._text(name)
        self._take(")")
        return f"{function}({column}, {text})"

    def _text(self, name: str) -> str:
        token = self._next()
        if token[0] not in "'\"":
            raise _Unsaid
        text = token[1:-1]
        if name == "policy" and text in _FILLED_IN:
            raise _Unsaid
        return "'" + text.replace("'", "''") + "'"

    def _number(self) -> str:
        sign = self._next() if self._peek() == "-" else ""
        token = self._next()
        if not token[0].isdigit():
            raise _Unsaid
        return f"{sign}{float(token)!r}" + ("" if "e" in repr(float(token)) else "e0")

    def _peek(self, further: int = 0) -> str:
        at = self._at + further
        return self._tokens[at] if at < len(self._tokens) else ""

    def _next(self) -> str:
        if self.is_at_end:
            raise _Unsaid
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, token: str) -> None:
        if self._next() != token:
            raise _Unsaid
