"""One text: what is in it of secrets, at any level of JSON or base64 inside it.

Two stages. The *prefilter* is one RE2 search over the text as JSON encodes it; when it finds nothing, nothing
is changed. Because it uses no character that JSON escapes, the same search over a whole encoded document is
true whenever it is true of any text in it: that is what lets `indelible.redact.values` look at a document once
instead of at every text. The *engine* then runs the rules, until a pass changes nothing more.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import orjson
import re2

from indelible.config import RedactionSettings
from indelible.redact import patterns
from indelible.redact.keys import KeyNames
from indelible.redact.limits import MAX_NESTING
from indelible.redact.pairs import MARKER, NEEDLES, PROSE_HINT, Pairs
from indelible.redact.plain import Plain

_QUAD: Final = "[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_MIN_QUADS: Final = 4
BASE64_TEXT: Final = rf"(?:{_QUAD}){{{_MIN_QUADS}}}"
"""Base64 of twelve or more ASCII characters: their high bits are zero, which leaves each of the first three
digits of four half of the alphabet. Words, paths, digests and UUIDs all but never look so."""

_RUN = re.compile(rb"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

_ESCAPE_HINT: Final = r"\\\\[u/]"
"""A ``\\u`` or ``\\/`` of JSON inside a text: anything may stand behind it."""
_FOREIGN_KEY_HINT: Final = r"[\x80-\xff](?:[^\"]|\\\")*\"(?:\s|\\+[nrt])*:"
"""A key with letters outside ASCII; normalising it may give any word."""

_ANCHORED = re.compile(r"\^|\$|\\A|\\z|\\Q|\(\?[a-zA-Z]*m")
"""With one of these, a pattern may match a text and not the document that holds it."""

settled: Final = re.compile(
    rb"(?:(?![Bb]earer|[Bb]asic)[A-Z]?[a-z]{1,12}(?![A-Za-z])|[ ,!()']|\.(?= |\Z)"
    rb"|\[(?:REDACTED|EMAIL|CARD|TOKEN|SSN|PHONE|IBAN)\](?![A-Za-z]))*"
).fullmatch
"""Matches some of the texts in which no built-in rule can find anything: plain words and markers.

No digits, no signs that join a name to a value or make an address, no capitals but the first of a word, and no
word as long as base64. It costs half of a search, and most texts are so when a value has been taken out.
"""

Step = tuple[float, "tuple[str, ...] | None", Callable[[bytes, int], bytes]]
"""Its place in the order, what a text must hold one of (None: not known), and what is done (text, level)."""


def _holds(text: str, needles: tuple[str, ...] | None) -> bool:
    """Tell whether a step with these needles may change something in a text."""
    if needles is None:
        return True
    for needle in needles:  # noqa: SIM110 - a generator costs more than what it does
        if needle in text:
            return True
    return False


class Texts:
    """Redacts texts by one configuration; safe to use from several threads."""

    def __init__(self, settings: RedactionSettings) -> None:
        """Compile everything. Raises ConfigError for a pattern that RE2 does not take."""
        self.names = KeyNames(settings.keys, settings.allow_keys, settings.patterns)
        self._rules = patterns.built_in()
        self._custom = patterns.custom(settings.patterns)
        self.custom = bool(self._custom)
        """Whether the configuration has patterns of its own."""
        self._custom_anywhere = any(_ANCHORED.search(pattern) for pattern in settings.patterns.values())
        self._pairs = Pairs(self.names, patterns.Lazy)
        self._quads = patterns.Lazy(BASE64_TEXT)
        self._match = self._compile_hints().Match
        self._own_needles = (None, NEEDLES, None, ("\\",), ('"',))  # of `own` in _compile_hints, in its order
        self._needles: dict[tuple[int, ...], tuple[str, ...] | None] = {}
        self._plans: dict[tuple[int, ...], tuple[Step, ...]] = {}
        self.redact_json: Callable[[Any, int], Any] = lambda value, _level: value
        """Redacts a JSON value found inside a text; `indelible.redact.values` puts itself here."""

    def _compile_hints(self) -> Any:
        """Return the prefilter: a set of hints, whose indices are the rules' own, then those below.

        A set costs half of what a search costs in the binding, and it tells which rules are worth running.
        Its automaton never gives up (RE2 falls back from every other kind of search, so a set's cannot).
        """
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 64 << 20
        prefilter = re2.Set.SearchSet(options)
        own = (BASE64_TEXT, self.names.hint(), PROSE_HINT, _ESCAPE_HINT, _FOREIGN_KEY_HINT)
        for hint in (*(rule.hint for rule in self._rules), *own):
            prefilter.Add(hint.encode("latin-1"))
        prefilter.Compile()
        self._base64 = len(self._rules)
        self._named = self._base64 + 1
        self._prose = self._base64 + 2
        self._escaped = self._base64 + 3
        return prefilter

    def flagged(self, encoded: bytes) -> bool:
        """Tell whether anything in encoded JSON may have to be redacted; False is certain."""
        return self.search(encoded) is not None

    def search(self, encoded: bytes) -> list[int] | None:
        """Return which rules may change something in encoded JSON; None when nothing has to be redacted."""
        may: list[int] | None = self._match(encoded)
        if self._custom and not may:
            return [] if self._custom_may(encoded) else None
        return may

    def needles(self, may: list[int]) -> tuple[str, ...] | None:
        """Return what any text in a document must hold one of to be changed; None when not known.

        `may` is what `search` gave for the document.
        The rules that may match anywhere in the document are few, and looking for their needles in each of
        its texts costs a tenth of a search.
        """
        if self._custom:
            return None
        known = tuple(may)
        if known not in self._needles:
            found = self._find_needles(known)
            if len(self._needles) < _MAX_COMBINATIONS:
                self._needles[known] = found
            return found
        return self._needles[known]

    def _find_needles(self, may: tuple[int, ...]) -> tuple[str, ...] | None:
        found: set[str] = set()
        for index in may:
            needles = (
                self._rules[index].needles if index < self._base64 else self._own_needles[index - self._base64]
            )
            if needles is None:
                return None
            found.update(needles)
        return tuple(sorted(found))

    def _custom_may(self, encoded: bytes) -> bool:
        if self._custom_anywhere or b"\\" in encoded:
            return True
        return any(rule.regex.search(encoded) is not None for rule in self._custom)

    def redact(self, text: str, level: int = 0, may: list[int] | None = None) -> str:
        """Return `text` without its secrets; the same object when it has none. No lone surrogates.

        `may` is what `search` gave for a document that holds the text, when that is known: it saves a search.
        """
        # What an escape hides in one text says nothing of the others; JSON is parsed only where it must be.
        if may is None or self._escaped in may or text[:1] in _JSON_STARTS:
            may = self.search(orjson.dumps(text))
        for _ in range(_MAX_PASSES):
            if may is None:
                break
            text, may = self._pass(text, level, may)
        return text

    def _pass(self, text: str, level: int, may: list[int]) -> tuple[str, list[int] | None]:
        """Run everything that may find something, once; return what may be found after that.

        What a text becomes must not depend on what else the document holds. So the rules run in one order, each
        on what the one before left, and `may` only spares those that would find nothing: after a change it is
        asked for again.
        """
        if level < MAX_NESTING and text[:1] in _JSON_STARTS:
            inside = self._inside_json(text, level)
            if inside is not None:
                return inside, self.search(orjson.dumps(inside))
        data, changed = text.encode(), False
        steps = self._steps(may)
        at = 0
        while at < len(steps):
            number, needles, run = steps[at]
            at += 1
            if not _holds(text, needles):
                continue
            new = run(data, level)
            if new is data:
                continue
            data, changed = new, True
            text = data.decode("utf-8", "replace")
            if settled(data) and not self._custom:
                return text, None
            found = self.search(orjson.dumps(text))
            if found is None:
                return text, None
            may, steps = found, self._steps(found)
            at = sum(step[0] <= number for step in steps)
        if not changed or (text[:1] not in _JSON_STARTS and not any(_holds(text, step[1]) for step in steps)):
            return text, None
        return text, may

    def _steps(self, may: list[int]) -> tuple[Step, ...]:
        """Return what is worth running, in order, when the search found `may`."""
        key = tuple(may)
        known = self._plans.get(key)
        if known is None:
            known = tuple(self._plan(range(self._escaped) if self._escaped in may else sorted(may)))
            if len(self._plans) < _MAX_COMBINATIONS:
                self._plans[key] = known
        return known

    def _plan(self, may: Iterable[int]) -> Iterator[Step]:
        numbers = set(may)
        for number, rule in enumerate(self._rules):
            if number in numbers:
                yield number, rule.needles, lambda data, _level, rule=rule: rule.apply(data)  # type: ignore[misc]
        if self._base64 in numbers:
            yield self._base64, None, self._inside_base64
        if self._custom:
            yield self._base64 + 0.5, None, self._apply_custom
        named, prose = self._named in numbers, self._prose in numbers
        if named or prose:
            yield (
                self._named,
                None if prose else NEEDLES,
                lambda data, _level: self._pairs.apply(data, named=named, prose=prose),
            )

    def _apply_custom(self, data: bytes, _level: int) -> bytes:
        for rule in self._custom:
            data = rule.apply(data)
        return data

    # --- JSON in a text ---------------------------------------------------------------------------------

    def _inside_json(self, text: str, level: int) -> str | None:
        """Return the text with the JSON in it redacted; None when there is none or nothing to redact."""
        stripped = text.strip()
        if len(stripped) < 2 or stripped[0] not in '{["':
            return None
        parsed = _parse(stripped)
        if parsed is _NOTHING:
            return self._json_lines(text, level) if stripped[0] == "{" and "\n" in stripped else None
        redacted = self.redact_json(parsed, level + 1)
        if redacted is parsed and not ("\\u" in stripped and _has_duplicates(stripped)):
            return None
        try:
            return orjson.dumps(redacted).decode()
        except TypeError:  # numbers of more than 64 bits
            return json.dumps(redacted, separators=(",", ":"), ensure_ascii=False)

    def _json_lines(self, text: str, level: int) -> str | None:
        lines = text.split("\n")
        done = [self._inside_json(line, level) if line.lstrip()[:1] == "{" else None for line in lines]
        if all(line is None for line in done):
            return None
        return "\n".join(line if new is None else new for line, new in zip(lines, done, strict=True))

    # --- base64 in a text -------------------------------------------------------------------------------

    def _inside_base64(self, data: bytes, level: int) -> bytes:
        if level >= MAX_NESTING:
            return data
        pieces: list[bytes] = []
        done = 0
        for match in _RUN.finditer(data):
            if self._hidden(match[0], level):
                pieces += (data[done : match.start()], MARKER)
                done = match.end()
        if not pieces:
            return data
        pieces.append(data[done:])
        return b"".join(pieces)

    def _hidden(self, run: bytes, level: int) -> bool:
        """Tell whether a run of base64 digits decodes, at any alignment, to something to be redacted."""
        digits = run.translate(None, b"\r\n=")
        alignments = {match.start() % 4 for match in self._quads.finditer(digits)}
        for alignment in sorted(alignments):
            chunk = digits[alignment:].translate(_STANDARD)
            chunk = chunk[: len(chunk) - (len(chunk) % 4 == 1)]
            decoded = binascii.a2b_base64(chunk + b"=" * (-len(chunk) % 4))
            inner = decoded.decode("utf-8", "replace")
            if self.redact(inner, level + 1) != inner:
                return True
        return False


_MAX_PASSES: Final = 6
"""Each pass replaces something by a shorter or fixed text, so two are the rule; the bound is for the theory."""

_MAX_COMBINATIONS: Final = 256
"""Sets of rules whose needles are remembered."""
_NOTHING: Final = object()
_JSON_STARTS: Final = frozenset('{["\t\n\r ')
"""What JSON may begin with, of those values that can hold a text."""


def _parse(text: str) -> Any:
    """Parse JSON as leniently as any server may (NaN, lone surrogates); `_NOTHING` when it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if text[-1] not in '}]"':
        return _NOTHING
    try:
        return Plain().convert(json.loads(text))
    except (ValueError, RecursionError):
        return _NOTHING


def _has_duplicates(text: str) -> bool:
    """Tell whether an object in JSON text has a key twice: only one of the values was looked at."""
    found = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        result = dict(items)
        found = found or len(result) != len(items)
        return result

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return True
    return found
