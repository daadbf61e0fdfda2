"""Secrets that only a program's own flags give away: ``curl -u ada:x``, ``docker login -p x``, ``mysql -px``.

A short flag says nothing by itself (``-p`` is a port, a path, a parent), so the table says what it is of which
program. Names of flags that tell (``--password x``) are `indelible.redact.pairs`' affair. A command goes on to the
next ``;``, ``|``, ``&`` or end of line that no backslash joins, and to `MAX_WORDS` words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from indelible.redact.spans import Span


class Program(NamedTuple):
    """What the flags of a program mean."""

    secret: tuple[str, ...] = ()
    """Flags whose value is a secret."""
    glued: tuple[str, ...] = ()
    """Flags with the secret right behind them; alone they have none."""
    user: tuple[str, ...] = ()
    """Flags whose value is a secret when `joint` is in it: user and password."""
    joint: str = ":"
    assigned: tuple[str, ...] = ()
    """Flags whose value is a secret when it is ``NAME=x``; else it is a file."""
    only: tuple[str, ...] = ()
    """Words in a row, in front of the flag, without which it is no command with a secret."""


_CURL: Final = Program(
    user=("-u", "--user", "-U", "--proxy-user", "-E", "--cert", "--proxy-cert"), assigned=("-b",)
)
_LOGIN: Final = Program(secret=("-p",), only=("login",))
_MYSQL: Final = Program(glued=("-p",))
_REDIS: Final = Program(secret=("-a",))
_MONGO: Final = Program(secret=("-p",))
_LDAP: Final = Program(secret=("-w",), glued=("-w",))
_ZIP: Final = Program(secret=("-P",))
_SQL: Final = Program(secret=("-P",), glued=("-P",))
_PASSWORD: Final = Program(secret=("-p",))
_PROGRAMS: Final[dict[str, Program]] = {
    "curl": _CURL,
    "http": Program(user=("-a", "--auth")),
    "https": Program(user=("-a", "--auth")),
    "lftp": Program(user=("-u",), joint=","),
    "smbclient": Program(user=("-U", "--user"), joint="%"),
    "sshpass": Program(secret=("-p",), glued=("-p",)),
    **dict.fromkeys(("docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "oras", "az", "oc"), _LOGIN),
    **dict.fromkeys(
        ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mariadb", "mycli"), _MYSQL
    ),
    **dict.fromkeys(("redis-cli", "valkey-cli"), _REDIS),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"), _MONGO),
    **dict.fromkeys(("ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami"), _LDAP),
    **dict.fromkeys(("zip", "unzip", "mosquitto_pub", "mosquitto_sub", "ipmitool"), _ZIP),
    **dict.fromkeys(("sqlcmd", "bcp"), _SQL),
    **dict.fromkeys(("7z", "7za", "7zr", "rar", "unrar"), Program(glued=("-p",))),
    **dict.fromkeys(
        ("cqlsh", "cypher-shell", "useradd", "usermod", "hydra", "evil-winrm", "rdesktop"), _PASSWORD
    ),
    **dict.fromkeys(("crackmapexec", "netexec", "nxc"), _PASSWORD),
    **dict.fromkeys(("snmpget", "snmpset", "snmpwalk", "snmpbulkwalk"), Program(secret=("-c", "-A", "-X"))),
    "ssh-keygen": Program(secret=("-N", "-P")),
    "openssl": Program(secret=("-k",), only=("enc",)),
    "twine": Program(secret=("-p",), only=("upload",)),
    "dotnet": Program(secret=("-k",), only=("push",)),
    "gh": Program(secret=("-b", "--body"), only=("secret", "set")),
    "aws": Program(secret=("--value",), only=("put-parameter",)),
}

MAX_WORDS: Final = 200
"""Words of one command that are looked at."""

_NAMES: Final = "|".join(sorted(_PROGRAMS, key=len, reverse=True))
HINT: Final = (
    rf"(?:[^A-Za-z0-9_.\-]|\\[nrt])(?:{_NAMES})(?:\.exe)?(?:[^A-Za-z0-9_.:/=\-]|\\[nrt])"
    r"(?:(?s:.)*(?:[^A-Za-z0-9_]|\\[nrt]))?"
    r"-(?:[A-Za-z]*[uUpPawbEkNcAX]|-user|-proxy-user|-auth|-cert|-proxy-cert|-body|-value)"
)
"""In encoded JSON: of a text, or of an array of words."""
IN_TEXT: Final = re.compile(rf"(?:{_NAMES})(?:\.exe)?[\s\"'\\]")

_PROGRAM: Final = re.compile(rf"(?<![A-Za-z0-9_.-])({_NAMES})(?:\.exe)?(?=[\s\"'\\])".encode())
_DOUBLED: Final = rb"\"\"[^\s\"][^\"\r\n]*\"\"|''[^\s'][^'\r\n]*''"
"""A word in a text that doubles quotes."""
_WORD: Final = re.compile(
    rb"(?:[ \t,\]()]|\[(?![A-Z]*[\] ])|\\+\r?\n|\\+[rnt](?=[ \t]))*+"
    rb"(\[(?:[A-Z]+(?: [^\[\]]*)?)?\]"
    rb"|" + _DOUBLED + rb"|\\*\"(?:[^\"\\]|\\[^\"])*\\*\"|\\*'[^']*'"
    rb"|(?:[^\s\"';|&,()\[\]]|,(?=[^\s\"']))+(?:" + _DOUBLED + rb"|\"[^\"\s]*\"|'[^']*')?)"
)
"""A word, a quoted text, or what was put in the place of one."""
_QUOTES: Final = b"\\\"'"
_ROW: Final = re.compile(rb"[\"'\\]{0,16}")
"""Quotes and backslashes in a row."""
_SHORT: Final = re.compile(r"-[A-Za-z]{1,8}")


class Commands:
    """Finds what a command's flags give away, as a pattern finds its matches."""

    def finditer(self, text: bytes) -> Iterator[Span]:
        """Yield every secret in order. Each word is looked at once."""
        done = 0
        while (match := _PROGRAM.search(text, done)) is not None:
            places: list[tuple[int, int]] = []
            done = _ROW.match(text, match.end()).end()  # type: ignore[union-attr]  # it matches nothing, too
            while len(places) < MAX_WORDS and (word := _WORD.match(text, done)) is not None:
                begin, done = word.span(1)
                quoted = text[begin:done]
                bare = quoted.lstrip(_QUOTES)
                start = begin + len(quoted) - len(bare)
                places.append((start, start + len(bare.rstrip(_QUOTES))))
            words = [text[begin:end].decode("latin-1") for begin, end in places]
            for index, at in secrets(match[1].decode(), words):
                begin, end = places[index]
                skip = at
                while text[begin + skip : begin + skip + 1] in (b'"', b"'"):
                    skip += 1
                if begin + skip < end and text[begin + skip : end] != b"[REDACTED]":
                    yield Span(begin + skip, end)


def of(words: Sequence[object]) -> tuple[str, int] | None:
    """Return the program that a list of words calls, and which word it is: behind ``sudo`` or a shell, too."""
    for index, word in enumerate(words[:_FIRST]):
        if type(word) is not str:
            continue
        if word in _PROGRAMS:
            return word, index
        if ("/" in word or "." in word) and (name := _PATH.sub("", word).removesuffix(".exe")) in _PROGRAMS:
            return name, index
    return None


_PATH: Final = re.compile(r".*[/\\]", re.DOTALL)
_FIRST: Final = 4
"""Words of a list among which the program is looked for."""


def secrets(program: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield which of a program's arguments are secrets, and from which character on."""
    about = _PROGRAMS[program]
    begin = _behind(about.only, words)
    flag = ""
    for index, word in enumerate(words[begin:], begin):
        before, flag = flag, ""
        if before and word[:1] != "-" and _takes(about, before, word):
            yield index, 0
        if word[:1] != "-":
            continue
        name, equals, value = word.partition("=")
        if equals and name in (*about.secret, *about.user):
            if name in about.secret or about.joint in value:
                yield index, len(name) + 1
        elif (word[:2] in about.glued and len(word) > 2) or (
            word[:2] in about.user and len(word) > 2 and about.joint in word and word[1] != "-"
        ):
            yield index, 2
        else:
            flag = word


def _behind(only: tuple[str, ...], words: Sequence[str]) -> int:
    """Return at which word the flags begin that count: behind some words in a row; at none without these."""
    size = len(only)
    starts = range(len(words) - size + 1)
    return next((at + size for at in starts if tuple(words[at : at + size]) == only), len(words))


def _takes(about: Program, flag: str, word: str) -> bool:
    """Tell whether a word behind a flag is a secret."""
    if _is(about.assigned, flag):
        return "=" in word
    return _is(about.secret, flag) or (_is(about.user, flag) and about.joint in word)


def _is(flags: tuple[str, ...], word: str) -> bool:
    """Tell whether a word is one of some flags, or several short ones of which the last is (``-sSu``)."""
    return word in flags or (_SHORT.fullmatch(word) is not None and f"-{word[-1]}" in flags)
