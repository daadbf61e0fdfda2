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
from collections.abc import Callable
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


class Texts:
    """Redacts texts by one configuration; safe to use from several threads."""

    def __init__(self, settings: RedactionSettings) -> None:
        """Compile everything. Raises ConfigError for a pattern that RE2 does not take."""
        self.names = KeyNames(settings.keys, settings.allow_keys, settings.patterns)
        self._rules = patterns.built_in()
        self._custom = patterns.custom(settings.patterns)
        self._custom_anywhere = any(_ANCHORED.search(pattern) for pattern in settings.patterns.values())
        self._pairs = Pairs(self.names, patterns.Lazy)
        self._quads = patterns.Lazy(BASE64_TEXT)
        self._match = self._compile_hints().Match
        self._own_needles = (None, NEEDLES, None, ("\\",), ('"',))  # of `own` in _compile_hints, in its order
        self._needles: dict[tuple[int, ...], tuple[str, ...] | None] = {}
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

    def redact(self, text: str, level: int = 0) -> str:
        """Return `text` without its secrets; the same object when it has none. No lone surrogates."""
        done = False
        for _ in range(_MAX_PASSES):
            encoded = orjson.dumps(text)
            may = self.search(encoded)
            if may is None:
                break
            if done and not self._may_change(text, may):
                break
            before, done = text, True
            text = self._pass(text, level, may)
            if text == before:
                return before
        return text

    def _may_change(self, text: str, may: list[int]) -> bool:
        """Tell whether another pass is worth its cost: most texts are done after one."""
        needles = self.needles(may)
        return needles is None or any(needle in text for needle in needles)

    def _pass(self, text: str, level: int, may: list[int]) -> str:
        """Run everything that may find something, once."""
        if level < MAX_NESTING and text[:1] in _JSON_STARTS:
            found = self._inside_json(text, level)
            if found is not None:
                return found
        if self._escaped in may:  # hints do not see through escapes in the text itself
            may = list(range(self._escaped))
        data = before = text.encode()
        for index in sorted(may):  # the set gives them in no order
            if index < self._base64:
                data = self._rules[index].apply(data)
        if self._base64 in may and level < MAX_NESTING:
            data = self._inside_base64(data, level)
        for rule in self._custom:
            data = rule.apply(data)
        if self._named in may:
            data = self._pairs.apply(data)
        if self._prose in may:
            data = self._pairs.apply_prose(data)
        return text if data is before or data == before else data.decode("utf-8", "replace")

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
