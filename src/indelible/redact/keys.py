"""Is a key's name sensitive? Names are split into words; the tables are in `indelible.redact.words`.

A name's words: Unicode is normalised (NFKC, so full-width letters become plain ones), characters without
width are dropped, then it is split where the case changes (``apiKey``, ``APIKey``), between letters and
digits, and at everything that is neither; each word is case-folded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from indelible.redact import words
from indelible.redact.limits import CACHED_CHARS, DIGEST_HEX, NAME_CACHE

_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
"""``APIKey`` → ``API``, ``Key``."""

_PARTS_ACRONYM = re.compile(r"[A-Z]{2,}|[A-Z]?[a-z]+|[A-Z]|[0-9]+")
"""``APIkey`` → ``API``, ``key``."""

_ACRONYM = re.compile(r"[A-Z]{2}[a-z]")
"""Only after this do the two disagree, and only a person can say which is right: both are tried."""

MARKERS: Final = ("REDACTED", "EMAIL", "CARD", "TOKEN", "SSN", "PHONE", "IBAN", "TRUNCATED")
"""What the built-in rules put in place of values; as a part of a key's name it says nothing of the value."""

KEYED: Final = rf"(?:hmac|tok):[0-9a-f]{{{DIGEST_HEX}}}"
KEPT: Final = r"(?:hmac|tok|last|at):[0-9A-Za-z.-]{1,64}"
"""What a marker may say of the value in whose place it stands."""
IS_KEYED: Final = re.compile(rf"\[[A-Za-z0-9_-]{{1,64}} {KEYED}\]").fullmatch
"""Matches a digest or a token in a value's place (see `indelible.redact.strategies`): no secret, whoever wrote it."""

MAX_KEY_CHARS: Final = 1_000
"""Only so much of a name is split; the rest cannot make it less sensitive."""


def split_words(name: str) -> tuple[str, ...]:
    """Return the words of a key's name, case-folded."""
    name = name[:MAX_KEY_CHARS]
    if name.isascii():
        return tuple(part.lower() for part in _PARTS.findall(name))
    # NFKC first: full-width and mathematical letters become plain ones. Format characters (Cf) have no width.
    plain = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return tuple(_fold(part) for part in _split_unicode(plain))


def _split_unicode(name: str) -> Iterable[str]:
    """Split as `_PARTS` does, for letters of any script."""
    word = ""
    for index, char in enumerate(name):
        follows = name[index + 1 : index + 2]
        starts = (
            not word
            or (char.isupper() and word[-1].islower())
            or (char.isupper() and word[-1].isupper() and follows.islower())
            or (char.isdigit() != word[-1].isdigit())
        )
        if not (char.isalnum() or unicodedata.category(char).startswith("M")):
            if word:
                yield word
            word = ""
        elif starts and word:
            yield word
            word = char
        else:
            word += char
    if word:
        yield word


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word.casefold())


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


def _table(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _lines(text: str) -> list[tuple[str, ...]]:
    return [tuple(item.split()) for item in text.replace("\n", ",").split(",") if item.strip()]


class KeyNames:
    """The tables compiled, with what the configuration adds; safe to use from several threads."""

    def __init__(
        self, keys: Iterable[str] = (), allow_keys: Iterable[str] = (), markers: Iterable[str] = ()
    ) -> None:
        """Compile; `keys` are further words or sequences of words, `allow_keys` further whole keys.

        `markers` are what the configuration's patterns put in place of values.
        """
        marks = "|".join(map(re.escape, (*MARKERS, *markers)))
        self._marker = re.compile(rf"\[(?:{marks})(?: [a-z]{{2,4}}:[0-9A-Za-z.-]{{1,64}})?\]")
        self.singles: set[str] = {_singular(_fold(word)) for word in words.WORDS.split()}
        self.sequences: set[tuple[str, ...]] = {tuple(map(_singular, item)) for item in _lines(words.SEQUENCES)}
        self.whole: set[tuple[str, ...]] = {tuple(map(_singular, item)) for item in _lines(words.WHOLE_KEYS)}
        self.stems = tuple(words.STEMS.split())
        self.endings = tuple(words.ENDINGS.split())
        # A listed pair written in one is the same name: `credit card` and `creditcard`.
        self.singles.update("".join(item) for item in self.sequences if len("".join(item)) >= 6)
        for key in keys:
            self._add(key)
        self._longest = max(len(item) for item in self.sequences)
        self._harmless = _table(words.HARMLESS_ENDINGS)
        self._allowed = {"".join(split_words(key)) for key in words.ALLOWED.split()}
        self._allowed.update("".join(split_words(key)) for key in allow_keys)
        self._allowed.discard("")
        self._known: dict[str, bool] = {}

    def _add(self, key: str) -> None:
        sequence = tuple(map(_singular, split_words(key)))
        if len(sequence) == 1:
            self.singles.add(sequence[0])
        elif sequence:
            self.sequences.add(sequence)
            self.singles.add("".join(sequence))

    def sensitive(self, name: str) -> bool:
        """Tell whether a key of this name hides its value."""
        known = self._known.get(name)
        if known is None:
            plain = self._marker.sub(" ", name) if "[" in name else name  # `[EMAIL]` was a value
            known = self._sensitive(split_words(plain))
            if not known and plain.isascii() and _ACRONYM.search(plain):
                known = self._sensitive(tuple(map(str.lower, _PARTS_ACRONYM.findall(plain[:MAX_KEY_CHARS]))))
            if len(name) <= CACHED_CHARS:
                if len(self._known) >= NAME_CACHE:
                    self._known.clear()
                self._known[name] = known
        return known

    def sensitive_in_text(self, name: str) -> bool:
        """As `sensitive`, for a name found in free text: of a dotted path, the last part may be allowed."""
        last = name.rpartition(".")[2]
        if last != name and "".join(split_words(last)) in self._allowed:
            return False
        return self.sensitive(name)

    def is_marker(self, name: str) -> bool:
        """Tell whether a name in brackets is one that redaction itself put there."""
        return self._marker.fullmatch(f"[{name}]") is not None

    def _sensitive(self, parts: tuple[str, ...]) -> bool:
        if not parts or "".join(parts) in self._allowed:
            return False
        singular = tuple(map(_singular, parts))
        letters = tuple(part for part in singular if not part.isdigit())
        if letters in self.whole or singular in self.whole:
            return True
        return any(map(self._word, parts)) or self._sequence(singular)

    def _word(self, word: str) -> bool:
        one = _singular(word)
        if one in self.singles or word in self.singles:
            return True
        if (len(word) < 5 and word.isascii()) or word in self._harmless or one in self._harmless:
            return False
        return one.endswith(self.endings) or any(stem in word for stem in self.stems)

    def _sequence(self, parts: tuple[str, ...]) -> bool:
        for start in range(len(parts) - 1):
            for end in range(start + 2, min(start + self._longest, len(parts)) + 1):
                if parts[start:end] in self.sequences:
                    return True
        return False

    # --- the same tables as a necessary condition on encoded JSON --------------------------------------

    def hint(self) -> str:
        """Return an RE2 pattern that matches the JSON encoding of every sensitive key, if its letters are plain ones.

        It is looked for in Latin-1 bytes, without regard to case, and may match too much: never too little.
        """
        found = self._stems(_PLURAL + _SEPARATORS)
        alone = "|".join(sorted(re.escape(item[0]) for item in self.whole if len(item) == 1))
        found.append(rf"(?:[^a-z]|\\[bfnrt]|\\u[0-9a-f]{{4}})(?:{alone}){_PLURAL}[^a-z]")
        return "(?i:" + "|".join(found) + ")"

    def stems_in_text(self) -> str:
        """Return an RE2 pattern for what a sensitive name in free text holds: ``password``, ``api key``."""
        found = self._stems(r"s?[ _.\-]{0,2}")
        found += [re.escape(item[0]) for item in self.whole if len(item) == 1]
        return "(?i:" + "|".join(sorted(found)) + ")"

    def _stems(self, joint: str) -> list[str]:
        """Return patterns of which one is in every sensitive name, the words of sequences joined by `joint`."""
        candidates = sorted({word for word in (*self.singles, *self.stems) if word.isascii()}, key=len)
        literals: list[str] = []
        for word in candidates:
            if not any(map(word.__contains__, literals)):
                literals.append(word)
        found = sorted(map(re.escape, literals))
        for item in sorted(self.sequences):
            plain = " ".join(item)
            if not any(map(plain.__contains__, literals)):
                found.append(joint.join(map(_in_utf8, item)))
        return found + [_in_utf8(word) for word in sorted(self.singles) if not word.isascii()]


def _in_utf8(word: str) -> str:
    """Return a pattern for a word in UTF-8 seen as Latin-1; what is outside ASCII in both cases, and decomposed too."""
    if word.isascii():
        return re.escape(word)
    found = []
    for char in unicodedata.normalize("NFC", word):
        forms = {unicodedata.normalize(form, each) for form in ("NFC", "NFD") for each in (char, char.upper())}
        found.append("|".join(sorted(re.escape(each.encode().decode("latin-1")) for each in forms)))
    return "".join(f"(?:{each})" for each in found)


_PLURAL: Final = "s?"
_SEPARATORS: Final = r"(?:[^a-z0-9]|\\[bfnrt]|\\u[0-9a-f]{4})*"
"""What stands between two words of a key in encoded JSON: punctuation, or an escaped control character."""
