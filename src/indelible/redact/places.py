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
    r"(?i)(jdbc:oracle:[a-z0-9]+:|\b(?:sqlplus|sqlldr|expdp|impdp)(?:[ \t]+-[a-z]+)*[ \t]+)"
    r"([^\s/@\"'<>\\-][^\s/@\"'<>\\]*\\*/[^\s@\"'<>]+)@"
)
_ORACLE_HINT: Final = r"(?i:jdbc:oracle:[a-z0-9]+:|sqlplus|sqlldr|expdp|impdp)[^\"]*/[^\"]+@"

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
_SECURE: Final = r"convertto-securestring[ \t]+(?:-string[ \t]+)?"  # PowerShell
_BEFORE_QUOTE: Final = rf"(?:passwd|password|passphrase)[ \t]+|{_IDENTIFIED}|{_FOR}|{_SECURE}"
# In small letters, a quote behind the word may be the end of a text: what stands between two such has spaces.
# A quote may be doubled or escaped, in a text that is quoted itself.
_SQL: Final = (
    rf"(?:(?i:{_IDENTIFIED}|{_FOR}|{_SECURE})|PASSWORD{_OPENS})"
    rf"(?:\\*'(?:'[^\s',;)\\]|[^'\\\r\n])[^'\\\r\n]{{0,256}}\\*'"
    rf"|\\*\"(?:\"[^\s\",;)\\]|[^\"\\\r\n])[^\"\\\r\n]{{0,256}}\\*\")"
    rf"|(?i:{_BEFORE_QUOTE})(?:\\*'(?:'[^\s',;)\\]|[^\s'\\])[^\s'\\]{{0,256}}\\*'"
    rf"|\\*\"(?:\"[^\s\",;)\\]|[^\s\"\\])[^\s\"\\]{{0,256}}\\*\")"
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

_SET: Final = (
    r"(?:setenv|setx|(?:git|poetry)[ \t]+config(?:[ \t]+--[a-z\-]+)*"
    r"|(?i:config(?:ure)?[ \t]+set)|user-secrets[ \t]+set)[ \t]+"
)
_SET_HINT: Final = (
    rf"(?:ENV|setenv|setx|(?:git|poetry){_BLANK}+config|(?i:config(?:ure)?{_BLANK}+set)"
    rf"|user-secrets{_BLANK}+set){_BLANK}"
)

# One to a line: of Redis, and of routers and switches, where a digit says how the secret behind it is written.
_DIRECTIVE: Final = (
    r"(?m)((?:^|[\"'`]|\\n)[+ \t-]*(?:(?:requirepass|masterauth)[ \t]+|snmp-server[ \t]+community[ \t]+"
    r"|(?:enable|username[ \t]+\S+(?:[ \t]+privilege[ \t]+[0-9]+)?)[ \t]+(?:secret|password)[ \t]+[04-9][ \t]+"
    r"|(?:(?:tacacs|radius)-server[ \t]+key|crypto[ \t]+isakmp[ \t]+key)[ \t]+(?:[0-9][ \t]+)?))[^\s\"'`\\#]+"
)
_DIRECTIVE_HINT: Final = (
    rf"requirepass|masterauth|snmp-server|s-server{_BLANK}+key|isakmp{_BLANK}+key"
    rf"|(?:secret|password){_BLANK}+[0-9]{_BLANK}"
)

# What a program reads: `echo x | sudo -S`, `echo u:x | chpasswd`, `docker login --password-stdin <<< x`.
_SUDO: Final = r"sudo(?:[ \t]+(?:-[CDghpRrTtu][ \t]+[^\s|;&<]+|-[^\s|;&<]+))*?[ \t]+-(?:[A-Za-z]*S|-stdin)"
"""Its own flags, not those of the program that it runs (``sudo pacman -S``)."""
_READS: Final = (
    rf"(?:{_SUDO}(?:[ \t]|$)"
    r"|(?:sudo[ \t]+)?(?:chpasswd|passwd|smbpasswd|kinit|cryptsetup)\b"
    r"|[^|;&\r\n]*?(?:password-stdin|with-token|passphrase-fd|passwd-fd|pass[a-z]*[ \t]+stdin"
    r"|secrets?[ \t]+(?:put|set|create|versions[ \t]+add)\b))"
)
_QUOTED: Final = r"\"[^\"\r\n]*\"|'[^'\r\n]*'"
_PIPED: Final = (
    rf"(?m)((?:echo|printf)[ \t]+(?:-[neE]+[ \t]+)*)(?:{_QUOTED}|[^|;&\"'\r\n])*(?:{_QUOTED}|[^|;&\"'\s])"
    rf"([ \t]*\|[ \t]*{_READS})"
    rf"|((?:{_SUDO}|chpasswd|passwd|password-stdin|with-token)\b[^|;&<\r\n]*<<<[ \t]*)"
    r"(?:\\*\"[^\"\r\n]+\"|\\*'[^'\r\n]+'|[^\s\"';|&]+)"
)
_PIPED_HINT: Final = rf"(?:echo|printf){_BLANK}[^|]*\||<<<"
_VARIABLE: Final = re.compile(
    rb"(?:[\"']%s(?:\\+n)?[\"'][ \t]+)?[\"']?(?:\$(?:env:)?\w+|\$\{\w+\}|\$\{\{[^{}\"']*\}\}|%\w+%)[\"']?"
).fullmatch
"""A shell's, PowerShell's, a workflow's or Windows'; as it is or printed."""

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
    value = text[at : end - 1].rstrip(b"\\")
    if value == b"[REDACTED]" or text[end : end + 1].isalnum():
        return None
    return text[begin:at] + b"[REDACTED]" + text[at + len(value) : end]


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
        one = r"(?:\\*\"[^\"]*\"|\\*'[^']*'|[^\s\"'\\;=:][^\s\"';]*)"
        return rf"(ENV[ \t]+{name}[ \t]+)[^\s=:][^\r\n]*|({_SET}\\*[\"']?{name}\\*[\"']?[ \t]+){one}"

    return "SET", pattern, _SET_HINT, replace


def _literal(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = match[1] + b"[REDACTED]"
    return kept


def _directive(match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    kept: bytes = match[1]
    return None if text[begin + len(kept) : end] == b"[REDACTED]" else kept + b"[REDACTED]"


def _piped(match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    before: bytes = match[1] or match[3]
    behind: bytes = match[2] or b""
    value = text[begin + len(before) : end - len(behind)]
    if value == b"[REDACTED]" or _VARIABLE(value):
        return None
    return before + b"[REDACTED]" + behind


Row = tuple[str, str | Callable[[], str], str, Callable[[Match, bytes, int, int], "bytes | None"]]

TABLE: Final[tuple[tuple[Row, tuple[str, ...]], ...]] = (
    (("DATABASE", _DATABASE, _DATABASE_HINT, _database), ("@",)),
    (("DSN", _GO, _GO_HINT, _go), ("@tcp(", "@unix(")),
    (("ORACLE", _ORACLE, _ORACLE_HINT, _oracle), ("@",)),
    (("PGPASS", _PGPASS, _PGPASS_HINT, _pgpass), (":",)),
    (("SQL", _SQL, _SQL_HINT, _sql), ("'", '"')),
    (("NETRC", _NETRC, _NETRC_HINT, _netrc), ("machine", "default")),
    (("DIRECTIVE", _DIRECTIVE, _DIRECTIVE_HINT, _directive), ("r",)),
    (("PIPED", _PIPED, _PIPED_HINT, _piped), ("|", "<<<")),
    (("LITERAL", _LITERAL, "--from-literal", _literal), ("--from-literal",)),
)
"""(name, pattern, hint, what takes its place), and needles."""

SET_NEEDLES: Final = ("ENV", "setenv", "setx", "onfig", "ONFIG", "user-secrets")
