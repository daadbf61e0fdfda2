"""Value patterns: what a secret looks like, wherever it stands.

Each `Rule` has a *hint*, an RE2 pattern that is necessary for it, and that holds in encoded JSON as well: it
uses no character that JSON escapes, and no boundary on its left, where an escape such as ``\\n`` would put a
letter. The hints together are the prefilter (`indelible.redact.texts`).

Patterns see UTF-8 bytes as Latin-1: bytes from 0x80 on are letters of some script. All of them run in RE2,
in linear time; what RE2 cannot say (check digits, what stands on the left) a function decides afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec
import re2

from indelible.errors import ConfigError
from indelible.redact import cards, commands, glued, mails, manifests, places, tokens, words
from indelible.redact.keys import KeyNames
from indelible.values import shown

Match = Any
Replace = Callable[[Match, bytes, int, int], "bytes | None"]
"""(match, the whole text, where it begins and ends) → what takes its place; None keeps it."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One class of values: where it may be, and what becomes of it."""

    name: str
    regex: Any
    hint: str
    replace: Replace
    needles: tuple[str, ...] = ()
    """One of these is in every text that the rule changes, or `trigger` finds something in it."""
    trigger: re.Pattern[str] | None = None
    """Both are cheaper than any search. With neither, nothing is known."""
    quick: Callable[[bytes], bytes | None] | None = None
    """Does the whole rule's work on most texts without a search; None when it cannot tell."""
    name_left: Callable[[bytes, bytes, int], bytes] | None = None
    """(what was taken, the whole text, where it ends) → the name in it that has to stay."""
    several: Callable[[Match, bytes, int, int, Callable[[bytes], bytes]], bytes | None] | None = None
    """As `replace`, where one match may hold several values; the last is told each, and says what takes its place."""
    needles_in_bytes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Prepare the needles for texts that are encoded."""
        needles = () if self.trigger else tuple(map(str.encode, self.needles))
        msgspec.structs.force_setattr(self, "needles_in_bytes", needles)

    def apply(self, text: bytes, _level: int = 0) -> bytes:
        """Return `text` with every value of this class replaced; the same object when there is none."""
        if self.quick is not None:
            done = self.quick(text)
            if done is not None:
                return done
        return self.search(text)

    def search(self, text: bytes, again: int = 2) -> bytes:
        """Do what `apply` does by the pattern alone; `again` as often where a name is left, which may begin a value."""
        pieces: list[bytes] = []
        done, left = 0, b""
        needles = self.needles_in_bytes if len(text) <= _SHORT_BYTES else ()
        for match in self.regex.finditer(text):
            begin, end = match.span()
            new = self.replace(match, text, begin, end)
            if new is not None:
                pieces += (text[done:begin], new)
                done = end
                if self.name_left is not None and (name := self.name_left(text[begin:end], text, end)):
                    left = name
                    pieces.append(name)
                for needle in needles:
                    if text.find(needle, done) >= 0:
                        break
                else:
                    if needles:
                        break
        if not pieces:
            return text
        pieces.append(text[done:])
        result = b"".join(pieces)
        if result == text:
            return text
        return self.search(result, again - 1) if left and again else result


_SHORT_BYTES: Final = 1_000
"""In a longer text, looking for needles behind every value would cost more than it saves."""


class Lazy:
    """A pattern over bytes as Latin-1, compiled when it is first used: most processes never need most of them."""

    __slots__ = ("_finditer", "_pattern")

    def __init__(self, pattern: str | Callable[[], str]) -> None:
        """Keep the pattern, or what makes it."""
        self._pattern = pattern
        self._finditer: Callable[[bytes], Iterator[Match]] | None = None

    def finditer(self, text: bytes) -> Iterator[Match]:
        """Yield every match, as `re.finditer` does."""
        find = self._finditer
        if find is None:
            pattern = self._pattern if isinstance(self._pattern, str) else self._pattern()
            options = re2.Options()
            options.encoding = re2.Options.Encoding.LATIN1
            options.max_mem = _AUTOMATON_BYTES
            options.log_errors = False
            find = self._finditer = re2.compile(pattern.encode("latin-1"), options).finditer
        return find(text)


_AUTOMATON_BYTES: Final = 32 << 20
"""What RE2 may spend on one automaton; with less it falls back to a slower search on large texts."""


def constant(marker: str) -> Replace:
    """Replace the whole match, whatever it is."""
    new = marker.encode()
    return lambda _match, _text, _begin, _end: new


# --- URLs -----------------------------------------------------------------------------------------------

_USERINFO = r"(?i)([a-z][a-z0-9+.-]*:(?:\\*/){2})([^\s/?#\"'<>\\]*)@"
_USERINFO_HINT = r":(?:\\*/){2}[^\s/?#\"'<>\\]*@"


def _userinfo(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    # The user alone is no secret of `ssh://git@host`; everything else is taken.
    if match[2] in (b"git", b"", b"[REDACTED]"):
        return None
    scheme: bytes = match[1]
    return scheme + b"[REDACTED]@"


_SIGNED = (
    "(?i:(?:[?&;]|%26|%3f)(?:"
    + "|".join(words.URL_PARAMETERS.split())
    + ")=|[?&;](?:key=|code=(?:[0-9](?:/|%2f))?)[a-z0-9_.~-]{16})"
)
_PARAMETER = (
    "(?i)((?:[?&;]|%26|%3f)(?:" + "|".join(words.URL_PARAMETERS.split()) + r")=)[^&\s\"'<>#]+"
    r"|([?&;]key=)[a-z0-9_-]{16,}|([?&;]code=)((?:[0-9](?:/|%2f))?[a-z0-9_.~-]{16,})"
)


def _parameter(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = match[1] or match[2] or match[3]
    if match[3] and (_NAMED(match[4]) or not (_DIGIT(match[4]) and _SMALL(match[4]))):
        return None  # what OAuth and Azure's functions take is random
    return kept + b"[REDACTED]"


_DIGIT: Final = re.compile(rb"[0-9]").search
_SMALL: Final = re.compile(rb"[a-z]").search
_NAMED: Final = re.compile(rb"(?:[A-Za-z]*+[0-9]*+[_.~-])++[A-Za-z]*+[0-9]*+").fullmatch
"""``ERR_CERT_AUTHORITY_INVALID``, ``black-friday-2024``."""


# --- numbers --------------------------------------------------------------------------------------------

_SSN = r"[0-9]{3}-[0-9]{2}-[0-9]{4}"
_PHONE = (
    r"\+[1-9][0-9]{0,3}(?:[ .-]?\(0?[0-9]{0,4}\))?(?:[ .\-/]?[0-9]{1,5}){1,6}"
    r"|\b00[1-9][0-9]{0,2}[ .-](?:\(0?[0-9]{0,4}\)[ .-]?)?[0-9]{1,5}(?:[ .-]?[0-9]{1,5}){1,5}"
    r"|(?:1[ .-])?\([2-9][0-9]{2}\)[ .-]?[2-9][0-9]{2}[ .-][0-9]{4}"
    r"|(?:1[ .-])?[2-9][0-9]{2}[.-][2-9][0-9]{2}[.-][0-9]{4}"
)
_PHONE_HINT = (
    r"\+[1-9][0-9 .\-/()]{6}|00[1-9][0-9]{0,2}[ .-][0-9(][0-9 .()\-]{3}"
    r"|[2-9][0-9]{2}(?:\)[ .-]?|[.-])[2-9][0-9]{2}[ .-][0-9]{4}"
)
_LONGEST_PHONE = 15
_SHORTEST_PHONE = 8


def _standalone(text: bytes, begin: int, end: int, joins: bytes) -> bool:
    """Tell whether a number is not only a piece of something longer: a word, or a number with more parts."""
    before, after = text[max(0, begin - 1) : begin], text[end : end + 2]
    if before.isalnum() or (before and before in joins):
        return False
    if after[:1] == b".":  # `.5` is a part of the number, `.txt` of a file's name
        return not (after[:1] in joins and after[1:].isdigit())
    return not (after[:1].isalnum() or (after[:1] and after[:1] in joins and after[1:].isalnum()))


def _ssn(_match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    return b"[SSN]" if _standalone(text, begin, end, b"-.") else None


def _phone(_match: Match, text: bytes, begin: int, end: int) -> bytes | None:
    digits = sum(48 <= byte <= 57 for byte in text[begin:end])
    if not _SHORTEST_PHONE <= digits <= _LONGEST_PHONE:
        return None
    if text[end : end + 1] == b"/" and _POSITION(text, begin, end):
        return None
    return b"[PHONE]" if _standalone(text, begin, end, b"" if text[begin] == _PLUS else b"-.") else None


_PLUS: Final = ord("+")
_POSITION: Final = re.compile(rb"\+[0-9]{2}\.[0-9]+-[01][0-9]{2}\.[0-9]+").fullmatch
"""Latitude and longitude by ISO 6709, which end with a slash: ``+40.2044-123.9876/``."""


# --- PEM ------------------------------------------------------------------------------------------------

# Four hyphens and a space are SSH2's (RFC 4716 has that form for public keys), the last form is PuTTY's.
_PEM = (
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)"
    r"|---- BEGIN [A-Z0-9 ]*PRIVATE KEY ----(?s:.*?)(?:---- END [A-Z0-9 ]*PRIVATE KEY ----|\z)"
    r"|(Private-Lines: [0-9]+\r?\n)(?:[A-Za-z0-9+/=]+(?:\r?\n|\z))+"
)
_PEM_HINT = r"PRIVATE KEY|Private-Lines: [0-9]"


def _pem(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = match[1] or b""
    return kept + b"[REDACTED]" + (b"\n" if kept and match[0].endswith(b"\n") else b"")


# --- what a validator says it was given ------------------------------------------------------------------

# Pydantic cuts what it shows (``{'password': 'hu...er2'}``), and a field's name stands in another line: what is left
# may be the end of a secret without anything that tells. So all of it goes; type and place of the mistake stay.
_INPUT_HINT = r"\[type=[A-Za-z0-9_.-]{1,80}, input_value="
_INPUT = rf"({_INPUT_HINT})[^\n]*?(, input_type=|\n|\z)"


def _input(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    kept: bytes = match[1] + b"[REDACTED]" + match[2]
    return kept


def built_in(names: KeyNames, kept: Container[str] = ()) -> tuple[Rule, ...]:
    """Return the rules that need no configuration but the names of keys, in the order in which they run.

    Classes that are `kept` are not looked for.
    """
    left = partial(glued.name_left, names)
    rules = (
        _rule("INPUT", _INPUT, _INPUT_HINT, _input, ("input_value=",)),
        _rule("PEM", _PEM, _PEM_HINT, _pem, ("PRIVATE KEY", "Private-Lines")),
        _rule("URL", _USERINFO, _USERINFO_HINT, _userinfo, ("@",)),
        _rule("PARAMETER", _PARAMETER, _SIGNED, _parameter, ("=",), name_left=left),
        *(_rule(*row, needles=needles) for row, needles in places.TABLE),
        _rule(*places.set_row(names), needles=places.SET_NEEDLES),
        Rule(
            name="MANIFEST",
            regex=manifests.Manifests(),
            hint=manifests.HINT,
            replace=manifests.replaced,
            trigger=manifests.IN_TEXT,
        ),
        Rule(
            name="COMMAND",
            regex=commands.Commands(),
            hint=commands.HINT,
            replace=constant("[REDACTED]"),
            trigger=commands.IN_TEXT,
        ),
        *(_rule(*row, name_left=left) for row in tokens.TABLE),
        _rule("EMAIL", mails.PATTERN, mails.HINT, mails.replace, mails.NEEDLES, quick=mails.quick),
        _rule("IBAN", cards.IBAN, cards.IBAN_HINT, cards.replace_iban),
        _rule("SSN", _SSN, _SSN, _ssn),
        _rule("PHONE", _PHONE, _PHONE_HINT, _phone),
        _rule(
            "CARD",
            cards.RUN,
            cards.HINT,
            cards.replace_cards,
            trigger=cards.IN_TEXT,
            several=cards.replace_cards,
        ),
    )
    return tuple(rule for rule in rules if rule.name not in kept)


def _rule(
    name: str,
    pattern: str | Callable[[], str],
    hint: str,
    replace: Replace,
    needles: tuple[str, ...] = (),
    *,
    trigger: str = "",
    **more: Any,
) -> Rule:
    """Return a rule whose pattern is compiled when first used; without needles its trigger is the hint, if no other."""
    found = None if needles else re.compile(trigger or hint)
    return Rule(
        name=name, regex=Lazy(pattern), hint=hint, replace=replace, needles=needles, trigger=found, **more
    )


def custom(patterns: Mapping[str, str]) -> tuple[Rule, ...]:
    """Return the rules of the configuration, each replacing its matches by ``[NAME]``.

    Raises ConfigError, one line, for a pattern that RE2 does not take or that matches the empty text.
    """
    rules = []
    for name, pattern in patterns.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"redaction.patterns: {shown(name)}: expected a name of letters, digits, _ and -")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _AUTOMATON_BYTES
        try:
            regex = re2.compile(pattern.encode(), options)
            empty = regex.search(b"") is not None
        except (re2.error, UnicodeEncodeError) as exc:
            reason = exc.args[0].decode("utf-8", "replace") if isinstance(exc.args[0], bytes) else "not UTF-8"
            raise ConfigError(
                f"redaction.patterns.{name}: RE2 does not take {shown(pattern)}: {reason}"
            ) from None
        if empty:
            raise ConfigError(f"redaction.patterns.{name}: {shown(pattern)} matches the empty text")
        rules.append(Rule(name=name, regex=regex, hint="", replace=constant(f"[{name}]")))
    return tuple(rules)


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
