"""Credentials that stand in a place of their own: connection strings of databases, ``.pgpass``, ``.netrc``, SQL.

Rows are as in `indelible.redact.tokens`; each rule keeps what tells that there was a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from indelible.redact.keys import KeyNames

_SCHEMES: Final = (
    "postgres(?:ql)?|mysql|mariadb|mssql|sqlserver|oracle|mongodb|rediss?|valkey|amqps?|clickhouse"
    "|cockroachdb|nats|smtps?"
)
# A password may be anything but an at sign, where whoever wrote it did not encode it (RFC 3986 asks for that).
_DATABASE: Final = rf"((?i:{_SCHEMES})(?:\+[a-z0-9]+)?:(?:\\*/){{2}})[^\s/:@\"'<>\\]*:([^\s@\"'<>\\]+)@"
_DATABASE_HINT: Final = rf"(?i:{_SCHEMES})(?:\+[a-z0-9]+)?:(?:\\*/){{2}}[^\s/:@\"'<>\\]*:[^\s@\"'<>\\]+@"
_BLANK: Final = r"(?:[ \t]|\\+t)"
"""A blank in encoded JSON."""
_PORT: Final = re.compile(rb"[0-9]{1,5}(?:[/?#]|\Z)").match

_GO: Final = r"([A-Za-z0-9_.\-]+):([^\s@\"'<>]+)(@(?:tcp|unix)\()"
_GO_HINT: Final = r"@(?:tcp|unix)\("

_ORACLE: Final = (
    r"(?i)(jdbc:oracle:[a-z0-9]+:|\bsqlplus(?:[ \t]+-[a-z]+)*[ \t]+)"
    r"([^\s/@\"'<>\\-][^\s/@\"'<>\\]*\\*/[^\s@\"'<>]+)@"
)
_ORACLE_HINT: Final = r"(?i:jdbc:oracle:[a-z0-9]+:|sqlplus)[^\"]*/[^\"]+@"

# host:port:database:user:password, each line (PostgreSQL, "The Password File"). Ports as databases and poolers have
# them: a compiler's `file:line:column: message` looks the same otherwise.
_PGPASS_HOST: Final = r"(?:[A-Za-z0-9_.\-]+|\*|/[^\s:]*)"
_PGPASS_FIELD: Final = r"(?:[^\s:\\\"',]|\\.)+"
_PORTS: Final = r"(?:\*|543[0-9]|6432|5[0-9]{4}|2[0-9]{4})"
_PGPASS: Final = (
    rf"(?m)((?:^|[\s\"'`]){_PGPASS_HOST}:{_PORTS}:{_PGPASS_FIELD}:{_PGPASS_FIELD}:)"
    rf"{_PGPASS_FIELD}(?:$|[\s\"'`])"
)
_PGPASS_HINT: Final = rf":{_PORTS}:[^\s:\"]+:[^\s:\"]+:[^\s:\"]"
_DIGITS: Final = re.compile(rb":[0-9*]+:[0-9]+:").search

# SQL, and what speaks so: `PASSWORD 'x'`, `IDENTIFIED BY 'x'`, `set password "x"`, `SET PASSWORD FOR u@h = 'x'`.
_OPENS: Final = r"(?:[ \t]*\([ \t]*|[ \t]+)"
_IDENTIFIED: Final = r"identified[ \t]+(?:with[ \t]+[\w']+[ \t]+)?(?:by|as)[ \t]+(?:password[ \t]+)?"
_FOR: Final = r"set[ \t]+password[ \t]+for[ \t]+[^=\r\n;]*=[ \t]*"
_BEFORE_QUOTE: Final = rf"(?:passwd|password|passphrase)[ \t]+|{_IDENTIFIED}|{_FOR}"
# In small letters, a quote behind the word may be the end of a text: what stands between two such has spaces.
_SQL: Final = (
    rf"(?:(?i:{_IDENTIFIED}|{_FOR})|PASSWORD{_OPENS})(?:\\*'[^'\\\r\n]{{1,256}}'|\\*\"[^\"\\\r\n]{{1,256}}\")"
    rf"|(?i:{_BEFORE_QUOTE})(?:\\*'[^\s'\\]{{1,256}}'|\\*\"[^\s\"\\]{{1,256}}\")"
)
_SQL_HINT: Final = (
    "(?:PASSWORD"
    + _OPENS.replace(r"[ \t]", _BLANK)
    + "|(?i:"
    + _BEFORE_QUOTE.replace(r"[ \t]", _BLANK)
    + r"))\\*[\"']"
)

_NETRC: Final = (
    r"((?:machine[ \t]+\S+|default)\s+(?:login\s+\S+\s+)?(?:account\s+\S+\s+)?password\s+)[^\s\"',;]+"
)
_NETRC_HINT: Final = r"(?:machine|default)(?:\s|\\+[nrt])(?s:.)*password(?:\s|\\+[nrt])"

_SET: Final = r"(?:setenv|git[ \t]+config(?:[ \t]+--[a-z\-]+)*|config(?:ure)?[ \t]+set)[ \t]+"
_SET_HINT: Final = rf"(?:ENV|setenv|git{_BLANK}+config|config(?:ure)?{_BLANK}+set){_BLANK}"

_LITERAL: Final = r"(--from-literal(?:=|[ \t]+|\\*[\"'],[ \t]*\\*)[\"']?[^\s=\"']+=)[^\s\"'\\]+"

Match = Any


def _database(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    password: bytes = match[2]
    if _PORT(password) or password == b"[REDACTED]":
        return None
    scheme: bytes = match[1]
    return scheme + b"[REDACTED]@"


def _go(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = b"[REDACTED]" + match[3]
    return kept


def _oracle(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = match[1] + b"[REDACTED]@"
    return kept


def _pgpass(match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    kept: bytes = match[1]
    if _DIGITS(kept) or text[begin + len(kept) : end].startswith(b"[REDACTED]"):
        return None
    last = text[end - 1 : end]
    return kept + b"[REDACTED]" + (last if last in _ENDS else b"")


_ENDS: Final = tuple(bytes((sign,)) for sign in b" \t\r\n\"'`")


def _sql(_match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    at = text.rfind(text[end - 1 : end], begin, end - 1) + 1
    # Where text follows at once, the quote was the end of another.
    if text[at : end - 1] == b"[REDACTED]" or text[end : end + 1].isalnum():
        return None
    return text[begin:at] + b"[REDACTED]" + text[end - 1 : end]


def _netrc(match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    kept: bytes = match[1]
    return None if text[begin + len(kept) : end] == b"[REDACTED]" else kept + b"[REDACTED]"


def set_row(names: KeyNames) -> Row:
    """Return the rule of what sets a variable or an option of a sensitive name: ``ENV X_TOKEN x``."""

    def replace(match: Match, text: bytes, begin: int, end: int) -> bytes | None:
        kept: bytes = match[1] or match[2]
        name = kept.split()[-1].decode("utf-8", "replace")
        value = text[begin + len(kept) : end]
        if value == b"[REDACTED]" or not names.sensitive_in_text(name):
            return None
        return kept + b"[REDACTED]"

    def pattern() -> str:
        name = rf"[A-Za-z0-9_.:/\-]*{names.stems_in_text()}[A-Za-z0-9_.\-]*"
        # Of Docker's ENV the value goes on to the end of the line.
        one = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"';=:][^\s\"';]*)"
        return rf"(ENV[ \t]+{name}[ \t]+)[^\s=:][^\r\n]*|({_SET}{name}[ \t]+){one}"

    return "SET", pattern, _SET_HINT, replace


def _literal(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = match[1] + b"[REDACTED]"
    return kept


Row = tuple[str, str | Callable[[], str], str, Callable[[Match, bytes, int, int], "bytes | None"]]

TABLE: Final[tuple[tuple[Row, tuple[str, ...]], ...]] = (
    (("DATABASE", _DATABASE, _DATABASE_HINT, _database), ("@",)),
    (("DSN", _GO, _GO_HINT, _go), ("@tcp(", "@unix(")),
    (("ORACLE", _ORACLE, _ORACLE_HINT, _oracle), ("@",)),
    (("PGPASS", _PGPASS, _PGPASS_HINT, _pgpass), (":",)),
    (("SQL", _SQL, _SQL_HINT, _sql), ("'", '"')),
    (("NETRC", _NETRC, _NETRC_HINT, _netrc), ("machine", "default")),
    (("LITERAL", _LITERAL, "--from-literal", _literal), ("--from-literal",)),
)
"""(name, pattern, hint, what takes its place), and needles."""

SET_NEEDLES: Final = ("ENV", "setenv", "onfig")
