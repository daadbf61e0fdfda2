"""Value patterns: what a secret looks like, wherever it stands.

Each `Rule` has a *hint*, an RE2 pattern that is necessary for it, and that holds in encoded JSON as well: it
uses no character that JSON escapes, and no boundary on its left, where an escape such as ``\\n`` would put a
letter. The hints together are the prefilter (`indelible.redact.texts`).

Patterns see UTF-8 bytes as Latin-1: bytes from 0x80 on are letters of some script. All of them run in RE2,
in linear time; what RE2 cannot say (check digits, what stands on the left) a function decides afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
import re2

from indelible.config import shown
from indelible.errors import ConfigError
from indelible.redact import cards, tokens, words

Match = Any
Replace = Callable[[Match, bytes], "bytes | None"]
"""(match, the whole text) → what takes its place; None keeps it."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One class of values: where it may be, and what becomes of it."""

    name: str
    regex: Any
    hint: str
    replace: Replace
    needles: tuple[str, ...] | None = None
    """One of these is in every text that the rule changes; None when no few are. Cheaper than any search."""
    needles_in_bytes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Prepare the needles for texts that are encoded."""
        msgspec.structs.force_setattr(self, "needles_in_bytes", tuple(map(str.encode, self.needles or ())))

    def apply(self, text: bytes) -> bytes:
        """Return `text` with every value of this class replaced; the same object when there is none."""
        pieces: list[bytes] = []
        done = 0
        needles = self.needles_in_bytes if len(text) <= _SHORT_BYTES else ()
        for match in self.regex.finditer(text):
            new = self.replace(match, text)
            if new is not None:
                begin, end = match.span()
                pieces += (text[done:begin], new)
                done = end
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
        return text if result == text else result


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
    return lambda _match, _text: new


# --- e-mail ---------------------------------------------------------------------------------------------

_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_AT = r"(?:@|%40|\\+u0040|&#64;)"
_EMAIL = (
    rf"(?:{_LOCAL}+|\"[^\"\s]{{1,64}}\"){_AT}"
    r"(?:[A-Za-z0-9\x80-\xff_-]+\.)+[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff-]+"
)
_RETINA = re.compile(rb"@[1-4]x\.(?:png|jpe?g|gif|svg|webp|avif|ico)$", re.IGNORECASE)


def _email(match: Match, text: bytes) -> bytes | None:
    begin, end = match.span()
    found = text[begin:end]
    if _PLAIN_EMAIL(found):
        return b"[EMAIL]"
    at = max(map(found.rfind, _SIGNS))
    local = found[: at + 1].rstrip(b"@%\\&")
    # What stands in front of a mail's local part in a URL or a path is no part of it.
    start = max(map(local.rfind, _JOINTS)) + 1
    start += len(local) - start - len(local[start:].lstrip(b"'`{*.^~"))
    # `git@github.com:owner/repo` is the address of a repository, `icon@2x.png` a file.
    if start == len(local) or local[start:] == b"git" or _RETINA.search(found[at:]):
        return None
    return local[:start] + b"[EMAIL]"


_PLAIN_EMAIL: Final = re.compile(rb"(?!git@)[A-Za-z0-9][A-Za-z0-9._+-]*@(?![1-4]x\.)[^@%]+").fullmatch
_SIGNS: Final = (b"@", b"%40", b"\\u0040", b"&#64;")
_JOINTS: Final = (b"/", b"=", b"?", b"&", b"|")


# --- URLs -----------------------------------------------------------------------------------------------

_USERINFO = r"(?i)([a-z][a-z0-9+.-]*:(?:\\*/){2})([^\s/?#\"'<>\\]*)@"


def _userinfo(match: Match, _text: bytes) -> bytes | None:
    # The user alone is no secret of `ssh://git@host`; everything else is taken.
    if match[2] in (b"git", b"", b"[REDACTED]"):
        return None
    scheme: bytes = match[1]
    return scheme + b"[REDACTED]@"


_SIGNED = "(?i:(?:[?&;]|%26|%3f)(?:" + "|".join(words.URL_PARAMETERS.split()) + ")=|[?&;]key=[a-z0-9_-]{16})"
_PARAMETER = (
    "(?i)((?:[?&;]|%26|%3f)(?:" + "|".join(words.URL_PARAMETERS.split()) + r")=)[^&\s\"'<>#]+"
    r"|([?&;]key=)[a-z0-9_-]{16,}"
)


def _parameter(match: Match, _text: bytes) -> bytes | None:
    kept: bytes = match[1] or match[2]
    return kept + b"[REDACTED]"


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


def _standalone(match: Match, text: bytes, marker: bytes, joins: bytes) -> bytes | None:
    """Keep what is only a piece of something longer: a word, or a number with more parts."""
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 2]
    if before.isalnum() or (before and before in joins):
        return None
    if after[:1].isalnum() or (after[:1] and after[:1] in joins and after[1:].isalnum()):
        return None
    return marker


def _ssn(match: Match, text: bytes) -> bytes | None:
    return _standalone(match, text, b"[SSN]", b"-.")


def _phone(match: Match, text: bytes) -> bytes | None:
    digits = sum(48 <= byte <= 57 for byte in match[0])
    if not _SHORTEST_PHONE <= digits <= _LONGEST_PHONE:
        return None
    return _standalone(match, text, b"[PHONE]", b"" if match[0][:1] == b"+" else b"-.")


# --- PEM ------------------------------------------------------------------------------------------------

_PEM = (
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)"
)
_PEM_HINT = "PRIVATE KEY"


def built_in() -> tuple[Rule, ...]:
    """Return the rules that need no configuration, in the order in which they run."""
    return (
        Rule(
            name="PEM", regex=Lazy(_PEM), hint=_PEM_HINT, replace=constant("[REDACTED]"), needles=(_PEM_HINT,)
        ),
        Rule(
            name="URL",
            regex=Lazy(_USERINFO),
            hint=r":(?:\\*/){2}[^\s/?#\"'<>\\]*@",
            replace=_userinfo,
            needles=("@",),
        ),
        Rule(name="PARAMETER", regex=Lazy(_PARAMETER), hint=_SIGNED, replace=_parameter, needles=("=",)),
        *(
            Rule(name=name, regex=Lazy(pattern), hint=hint, replace=replace, needles=needles)
            for name, pattern, hint, replace, needles in tokens.TABLE
        ),
        Rule(
            name="EMAIL",
            regex=Lazy(_EMAIL),
            hint=rf"(?:{_LOCAL}|\"){_AT}[A-Za-z0-9\x80-\xff_-]",
            replace=_email,
            needles=("@", "40", "64;"),
        ),
        Rule(name="IBAN", regex=Lazy(cards.IBAN), hint=cards.IBAN_HINT, replace=cards.replace_iban),
        Rule(name="SSN", regex=Lazy(_SSN), hint=_SSN, replace=_ssn, needles=("-",)),
        Rule(name="PHONE", regex=Lazy(_PHONE), hint=_PHONE_HINT, replace=_phone),
        Rule(name="CARD", regex=Lazy(cards.RUN), hint=cards.HINT, replace=cards.replace_cards),
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
