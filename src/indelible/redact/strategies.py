"""What stands in the place of what was found: the strategies of `redaction.strategies`. Pure.

The rules that live here:

- **What is shown of a value never tells it**: at most its last 4 characters, and of a value without a form of its own
  only when it has 16 or more; of a mail address its domain. Where a part cannot be shown, nothing is.
- **A digest is keyed**, and of another domain than every other digest of the trail (HMAC-SHA256 over ``hash``, NUL and
  the value, under the recorder's key). A token is HMAC-SHA256 of the value under a key that is nothing but the tokens'.
- **What is written is read as what it is**: a marker is no secret when it is looked at again, so redacting twice is
  redacting once. Digests and tokens are always taken for markers, the others where a strategy makes such ones: else
  whoever writes ``[REDACTED last:…]`` himself could hide a little in it.
- **What already lost a part has no digest**: two secrets of which only ``[TOKEN]`` is left would look like one.

A value has the same token wherever it stands, under a key or in a text, so it is normalised first: of numbers only
the digits count, of a mail address not the case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from indelible.redact import jsontext
from indelible.redact.digest import Digester
from indelible.redact.keys import IS_KEYED, KEYED, MARKERS, split_words
from indelible.redact.patterns import Match, Rule
from indelible.redaction_settings import CLASSES, RedactionSettings, Strategy

REDACTED: Final = "[REDACTED]"
DROP: Final = object()
"""Stands for a member that is to be left out."""
DROPPED: Final = "[]"
"""What stands in a text where something was dropped: without it, what stood on both sides might join up."""

ORDER: Final[tuple[Strategy, ...]] = ("keep", "partial", "tokenize", "hash", "full", "drop")
"""From the mildest to the strictest: of two that apply, the stricter counts."""

MAX_SHOWN: Final = 4
"""Characters shown of a value: of a card's number the last 4 (PCI DSS 3.4 allows the first 6 as well)."""
MIN_CHARS: Final = 16
"""A value without a form of its own is shown in part when it is as long as this."""
_SHOWN: Final[Mapping[str, int]] = {"CARD": 4, "IBAN": 4, "PHONE": 2, "SSN": 0}
_MAX_DOMAIN: Final = 64

_PARTLY: Final = rf"last:[0-9A-Za-z]{{1,{MAX_SHOWN}}}|at:[a-z0-9.-]{{1,{_MAX_DOMAIN}}}"
_IS_ANY: Final = re.compile(rf"\[[A-Za-z0-9_-]{{1,64}} (?:{KEYED}|{_PARTLY})\]").fullmatch
_SAID: Final = re.compile(r"\[[A-Za-z0-9_-]{1,64} (hmac|tok|last|at):[0-9A-Za-z.-]{1,64}\]")
_HOST: Final = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}").fullmatch
NAMES: Final[Mapping[str, str]] = {"SHAPE": "TOKEN", "BEARER": "TOKEN", "BASIC": "TOKEN"}
"""Rules whose marker is another's."""
_KEYS: Final[Mapping[str, str]] = {"COMMAND": "password", "MANIFEST": "secret"}
"""Rules whose values are those of a key that is not there: what a flag gives away, what a Secret holds."""
_SAYS: Final[Mapping[str, Strategy]] = {"hmac": "hash", "tok": "tokenize", "last": "partial", "at": "partial"}

Hide = Callable[[Any], Any]
"""A value of JSON → what stands for it; `DROP` when nothing does."""


def hidden(item: Any) -> Any:
    """Hide a value as everything is hidden when nobody says otherwise; the same object when that was done before."""
    if type(item) is str and item[:1] == "[" and (item == REDACTED or IS_KEYED(item)):
        return item
    return REDACTED


def said(marker: str) -> Strategy:
    """Return which strategy has left a text in the place of a value."""
    if marker == DROPPED:
        return "drop"
    found = _SAID.search(marker)
    return "full" if found is None else _SAYS[found[1]]


def stricter(one: Strategy, other: Strategy) -> Strategy:
    """Return the stricter of two."""
    return max(one, other, key=ORDER.index)


class Strategies:
    """The strategies of a configuration, with a recorder's keys; safe to use from several threads."""

    def __init__(self, settings: RedactionSettings, digest_key: bytes = b"", token_key: bytes = b"") -> None:
        """Compile; without a `token_key` there are no tokens, and ``tokenize`` is ``full``."""
        given = settings.strategies
        self._classes = {name: given.get(name, "full") for name in (*CLASSES, *settings.patterns)}
        self._key: Strategy = given.get("key", "full")
        self.mark: Strategy = given.get("mark", "full")
        keys = ((name[4:], strategy) for name, strategy in given.items() if name.startswith("key:"))
        self._keys = {_plain(name): strategy for name, strategy in keys if strategy != "keep"}
        self.named = self._key != "full" or bool(self._keys)
        """Whether a key's name decides what becomes of its value."""
        used = {*self._classes.values(), self._key, self.mark, *self._keys.values()}
        self.any = not used <= {"full", "keep"}
        """Whether anything is done otherwise than by default."""
        self._marked = _IS_ANY if "partial" in used else IS_KEYED
        self._hash = Digester(digest_key)
        self._token = Digester(token_key) if token_key else None
        names = "|".join(map(re.escape, (*MARKERS, *settings.patterns)))
        self._lost = re.compile(rf"\[(?:{names})\]").search
        self._hides: dict[Strategy, Hide] = {}

    # --- values of JSON -----------------------------------------------------------------------------------

    def of_key(self, name: str) -> Strategy:
        """Return what becomes of the value of a sensitive name: that of the whole name, of its last part, of all."""
        if not self._keys:
            return self._key
        found = self._keys.get(_plain(name))
        if found is None:
            found = self._keys.get(_plain(name.rpartition(".")[2]))
        return self._key if found is None else found

    def hide(self, strategy: Strategy) -> Hide:
        """Return what hides values by a strategy."""
        if strategy not in self._hides:
            if strategy == "full" and self._marked is IS_KEYED:
                return hidden
            self._hides[strategy] = lambda item: self._value(strategy, item)
        return self._hides[strategy]

    def _value(self, strategy: Strategy, item: Any) -> Any:
        if strategy == "drop":
            return DROP
        if type(item) is str:
            return item if item == REDACTED or self._marked(item) else self.instead(strategy, "REDACTED", item)
        if item is None or type(item) is bool:
            return REDACTED
        if strategy == "partial" and type(item) not in (int, float):
            return REDACTED
        text = jsontext.dumped(item, sort=True) if type(item) in (dict, list) else str(item)
        return self.instead(strategy, "REDACTED", text)

    # --- texts --------------------------------------------------------------------------------------------

    def is_marked(self, value: str) -> bool:
        """Tell whether a text is nothing but what a strategy has left."""
        return value == DROPPED or self._marked(value) is not None

    def is_left(self, value: str) -> bool:
        """Tell whether a text is nothing but what was left in the place of a value, by any strategy."""
        return value == REDACTED or self.is_marked(value)

    def of_command(self, item: str, known: Any, at: int) -> Any:
        """Return what stands for a word of a command that is secret from a character on; `known` stands there."""
        if known is None or (type(known) is str and self.is_left(known[at:])):
            return known
        strategy = self.of_key(_KEYS["COMMAND"])
        return (
            None if strategy == "drop" and not at else item[:at] + self.instead(strategy, "REDACTED", item[at:])
        )

    def instead(self, strategy: Strategy, name: str, value: str) -> str:
        """Return what stands in a text for a value of which the marker's name is `name`."""
        if strategy == "drop":
            return DROPPED
        full = f"[{name}]"
        if strategy == "full" or self._lost(value):
            return full
        if strategy == "partial":
            shown = _part(name, value)
            return f"[{name} {shown}]" if shown else full
        same = _normal(name, value)
        if strategy == "hash":
            return f"[{name} hmac:{self._hash.short('hash' + chr(0) + same)}]"
        return full if self._token is None else f"[{name} tok:{self._token.short(same)}]"

    def pair(self, name: bytes, value: bytes) -> bytes:
        """Return what stands for the value of a sensitive name in a text."""
        strategy = self.of_key(name.decode("utf-8", "replace"))
        return self.instead(strategy, "REDACTED", value.decode("utf-8", "replace")).encode()

    def rule(self, rule: Rule) -> Rule:
        """Return a rule that puts in the place of what it finds what its class's strategy says."""
        name, key = NAMES.get(rule.name, rule.name), _KEYS.get(rule.name)
        strategy = self._classes.get(name, "full") if key is None else self.of_key(key)
        if strategy == "full":
            return rule
        name = name if key is None else "REDACTED"

        def instead(value: bytes) -> bytes:
            text = value.decode("utf-8", "replace")
            return value if key and self.is_left(text.strip()) else self.instead(strategy, name, text).encode()

        return msgspec.structs.replace(
            rule, replace=_replacing(rule, f"[{name}]".encode(), instead), quick=None
        )


def _replacing(rule: Rule, marker: bytes, instead: Callable[[bytes], bytes]) -> Any:
    if rule.several is not None:
        several = rule.several
        return lambda match, text, begin, end: several(match, text, begin, end, instead)

    def replace(match: Match, text: bytes, begin: int, end: int) -> bytes | None:
        new = rule.replace(match, text, begin, end)
        at = -1 if new is None else new.find(marker)
        if new is None or at < 0:
            return new
        # Of what was found, the rule keeps what stands on both sides of its marker.
        tail = new[at + len(marker) :]
        return new[:at] + instead(text[begin + at : end - len(tail)]) + tail

    return replace


def _plain(name: str) -> str:
    return "".join(split_words(name))


def _normal(name: str, value: str) -> str:
    """Return what a value is, however it is written; what is under a key is looked at for what it may be."""
    bare = value.strip()
    if name in ("CARD", "SSN", "PHONE") or (name == "REDACTED" and _NUMBER(bare)):
        return "".join(filter(str.isdigit, bare))
    if name == "IBAN" or (name == "REDACTED" and _IBAN(bare)):
        return re.sub("[ -]", "", bare)
    if name == "EMAIL" or (name == "REDACTED" and _MAIL(bare)):
        plain = unquote(
            _AT.sub("@", bare)
        ).split()  # what an escaped space joins to an address is no part of it
        return (plain[-1] if plain else bare).lower()
    return value


_NUMBER: Final = re.compile(r"\+?[0-9(][0-9 ()./-]{6,30}[0-9]", re.ASCII).fullmatch
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,36}").fullmatch
_MAIL: Final = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}").fullmatch
_AT: Final = re.compile(r"%40|\\+u0040|&#64;")


def _part(name: str, value: str) -> str:
    """Return what may be shown of a value; empty when nothing may."""
    if name == "EMAIL":
        domain = _AT.sub("@", value).rpartition("@")[2].lower()
        plain = len(domain) <= _MAX_DOMAIN and _HOST(domain) and sum(map(str.isdigit, domain)) < _MAX_DIGITS
        return f"at:{domain}" if plain else ""
    if name in _SHOWN:
        last = re.sub("[^A-Za-z0-9]", "", value)[-_SHOWN[name] :] if _SHOWN[name] else ""
    else:
        last = value[-MAX_SHOWN:] if len(value) >= MIN_CHARS else ""
    return f"last:{last}" if last.isascii() and last.isalnum() else ""


_MAX_DIGITS: Final = 8
"""Digits of a domain from which on it might be a number that tells something."""
