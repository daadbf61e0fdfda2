"""A text redacted under observation: the same rules in the same order, and where each of them took something out.

The rule that lives here: **the rules do the work themselves.** Nothing is searched for a second time by other means: a
`Tracer` is `Texts` whose rules tell what they replaced. Places are kept as the text they were found in changes under
them, and given back in the text as it came. The redactor never goes this way, so it may be slow; it stays linear.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from indelible.redact import strategies
from indelible.redact.glued import name_left
from indelible.redact.pairs import MARKER, Pairs
from indelible.redact.patterns import Rule
from indelible.redact.strategies import said
from indelible.redact.texts import RUN, Plan, Step, Texts
from indelible.redaction_settings import Strategy

DUPLICATE: Final = "duplicate-key"
"""JSON in a text has a key twice: only one of its values is kept."""
OTHER: Final = "other"
"""Something was taken out, and no rule said that it was its doing."""
FULL: Final[Strategy] = "full"
PAIR: Final = "pair"
"""The value of a sensitive name in a text: ``password=x``."""

NAMES: Final = {
    **strategies.NAMES,
    "PEM": "private-key",
    "URL": "url-user",
    "PARAMETER": "url-parameter",
    "DATABASE": "url-user",
    "DSN": "url-user",
    "ORACLE": "url-user",
    "PGPASS": "pgpass",
    "SQL": "sql",
    "NETRC": "netrc",
    "SET": "pair",
    "LITERAL": "command",
    "DIRECTIVE": "pair",
    "PIPED": "command",
    "COMMAND": "command",
    "MANIFEST": "manifest",
}
"""What built-in rules are called outside; the others are called as the marker that they leave."""


class Hit(NamedTuple):
    """What one rule took out of one text, never the value itself."""

    rule: str
    inside: tuple[str, ...]
    """What it was wrapped in, outermost first: ``base64``, ``json .path``."""
    begin: int
    """Characters of the text from which it is missing, the end exclusive."""
    end: int
    strategy: Strategy = "full"
    """What became of it."""


Layer = tuple[str, tuple[str, ...], Strategy]
"""A rule that found something, what that was inside of, and what became of it."""

Inner = Callable[[Any, Any, int], Iterator[Layer]]
"""(JSON from a text, the same redacted, level) → what was found in it."""


class _Edit(NamedTuple):
    begin: int
    end: int
    new: bytes
    rule: str
    strategy: Strategy = "full"
    inside: tuple[Layer, ...] = ()
    """Of what is encoded: what is hidden in it."""


class _Scope:
    """One text on its way through the rules. Offsets are bytes of UTF-8."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.original = size
        self.hits: list[Hit] = []
        self.in_json = False
        self._patches: list[tuple[int, int, int, int]] = []
        """(begin, end now, begin, end then) of what was replaced so far, in order."""
        self._ends: list[int] = []

    def whole(self, size: int) -> None:
        """The text was written anew: every place in it is all of it from now on."""
        self.size = size
        self._keep([(0, size, 0, self.original)])

    def apply(self, edits: list[_Edit]) -> None:
        """Note what was replaced; `edits` are in order and do not overlap."""
        old, out, shift, at = self._patches, [], 0, 0
        for begin, end, new, rule, strategy, inside in edits:
            then = self._then(begin, end=False), self._then(end, end=True)
            for name, layers, became in inside or ((rule, (), strategy),):
                self.hits.append(Hit(name, layers, *then, became))
            while at < len(old) and old[at][1] <= begin:
                out.append(_moved(old[at], shift))
                at += 1
            low, high = begin, end
            while at < len(old) and old[at][0] < end:
                low, high = min(low, old[at][0]), max(high, old[at][1])
                at += 1
            grown = len(new) - (end - begin)
            patch = (low + shift, high + shift + grown, *then)
            if out and out[-1][1] > patch[0]:  # both touch what was replaced before
                last = out.pop()
                patch = (last[0], max(last[1] + grown, patch[1]), last[2], max(last[3], patch[3]))
            out.append(patch)
            shift += grown
        out += [_moved(patch, shift) for patch in old[at:]]
        self.size += shift
        self._keep(out)

    def _keep(self, patches: list[tuple[int, int, int, int]]) -> None:
        self._patches = patches
        self._ends = [patch[1] for patch in patches]

    def _then(self, at: int, *, end: bool) -> int:
        """Return where an offset of now stood in the text as it came."""
        index = bisect_right(self._ends, at)
        if index < len(self._patches) and self._patches[index][0] < at:
            return self._patches[index][3 if end else 2]
        if not index:
            return at
        return at - self._patches[index - 1][1] + self._patches[index - 1][3]


def _moved(patch: tuple[int, int, int, int], shift: int) -> tuple[int, int, int, int]:
    return patch[0] + shift, patch[1] + shift, patch[2], patch[3]


class Tracer(Texts):
    """Redacts as the `Texts` it is made of, and tells what it did; used by one thread."""

    def __init__(self, texts: Texts, inner: Inner) -> None:  # everything that is compiled is shared
        """Watch the rules of `texts`; `inner` explains the JSON that is found inside a text."""
        self.__dict__.update(texts.__dict__)
        self._plans = {}
        self._rules = tuple(map(self._watched, self._rules))
        self._custom = tuple(map(self._watched, self._custom))
        self._pairs = _Pairs(self._pairs, self._replaced)  # type: ignore[assignment]  # all of it that is used
        self._inner = inner
        self._real_json = texts.redact_json
        self.redact_json = self._json
        self._scope = _Scope(0)
        self._groups: list[tuple[bytes, list[_Edit]]] = []
        self._nested: list[Hit] = []
        self._runs: list[tuple[bool, list[Hit]]] = []

    def trace(self, text: str, level: int = 0) -> tuple[str, list[Hit]]:
        """Return a text redacted, and what was taken out of it, by place; empty exactly when it is the same text."""
        outer = self._scope
        self._scope = scope = _Scope(len(text.encode()))
        try:
            result = super().redact(text, level)
        finally:
            self._scope = outer
        if result == text:
            return result, []
        return result, _in_chars(text, scope.hits) or [Hit(OTHER, (), 0, len(text))]

    def redact(self, text: str, level: int = 0, plan: Plan | None = None) -> str:
        """Redact what was found in base64."""
        result, self._nested = self.trace(text, level)
        return result

    # --- the rules, watched -----------------------------------------------------------------------------

    def _watched(self, rule: Rule) -> Rule:
        name, replace, left = NAMES.get(rule.name, rule.name), rule.replace, rule.name_left

        def replaced(match: Any, text: bytes, begin: int, end: int) -> bytes | None:
            new = replace(match, text, begin, end)
            if new is not None:
                self._replaced(text, _Edit(begin, end, new, name, said(new.decode("utf-8", "replace"))))
            return new

        def kept(taken: bytes, text: bytes, end: int) -> bytes:
            said = left(taken, text, end) if left is not None else b""
            edits = self._groups[-1][1]
            edits[-1] = edits[-1]._replace(new=edits[-1].new + said)
            return said

        # Without its quick way, which does the same: there is nothing to watch on that.
        return msgspec.structs.replace(
            rule, replace=replaced, quick=None, name_left=None if left is None else kept
        )

    def _replaced(self, text: bytes, edit: _Edit) -> None:
        if not self._groups or self._groups[-1][0] is not text:
            self._groups.append((text, []))
        edits = self._groups[-1][1]
        if not edits or edits[-1].rule == edit.rule:
            edits.append(edit)
        else:  # the rule before found nothing but what stands there already
            self._groups[-1] = (text, [edit])

    def _steps(self, numbers: set[int]) -> Iterator[Step]:
        for step in super()._steps(numbers):
            yield step._replace(run=partial(self._watch, step.run))

    def _watch(self, run: Callable[[bytes, int], bytes], data: bytes, level: int) -> bytes:
        scope, outer = self._scope, self._groups
        if scope.size != len(data):  # a rule left half a character, which became a whole one
            scope.whole(len(data))
        self._groups = []
        try:
            new = run(data, level)
            groups = self._groups
        finally:
            self._groups = outer
        if new is data:
            return data
        for text, edits in groups:
            scope.apply([_narrow(text, edit) for edit in edits if text[edit.begin : edit.end] != edit.new])
        if scope.size != len(new):
            scope.whole(len(new))
        return new

    # --- what texts are wrapped in ----------------------------------------------------------------------

    def _json(self, value: Any, level: int) -> Any:
        redacted = self._real_json(value, level)
        if redacted is not value:
            scope = self._scope
            found = list(self._inner(value, redacted, level))
            scope.hits += [Hit(rule, inside, 0, scope.original, became) for rule, inside, became in found]
        return redacted

    def _inside_json(self, text: str, level: int) -> str | None:
        scope = self._scope
        if scope.in_json:  # one of several lines
            return super()._inside_json(text, level)
        known, scope.in_json = len(scope.hits), True
        try:
            new = super()._inside_json(text, level)
        finally:
            scope.in_json = False
        if new is not None:
            if len(scope.hits) == known:
                scope.hits.append(Hit(DUPLICATE, ("json",), 0, scope.original))
            scope.whole(len(new.encode()))
        return new

    def _inside_base64(self, data: bytes, level: int) -> bytes:
        outer, self._runs = self._runs, []
        try:
            new = super()._inside_base64(data, level)
            runs = self._runs
        finally:
            self._runs = outer
        if new is data:
            return data
        for match, (hidden, hits) in zip(RUN.finditer(data), runs, strict=True):
            if hidden:
                inside = tuple((hit.rule, ("base64", *hit.inside), FULL) for hit in hits)
                marker = MARKER + name_left(self.names, match[0], data, match.end())
                self._replaced(data, _Edit(match.start(), match.end(), marker, "base64", FULL, inside))
        return new

    def _unescaped(self, data: bytes, match: re.Match[bytes], level: int) -> bytes | None:
        self._nested = []
        new = super()._unescaped(data, match, level)
        if new is not None:
            inside = tuple((hit.rule, ("percent", *hit.inside), hit.strategy) for hit in self._nested)
            self._replaced(data, _Edit(*match.span(), new, "percent", FULL, inside))
        return new

    def _inside_reading(self, data: bytes, level: int) -> bytes:
        self._nested = []
        new = super()._inside_reading(data, level)
        if new is not data:
            inside = tuple((hit.rule, ("reading", *hit.inside), hit.strategy) for hit in self._nested)
            self._replaced(data, _Edit(0, len(data), new, "reading", FULL, inside))
        return new

    def _hidden(self, run: bytes, level: int) -> bool:
        self._nested = []
        hidden = super()._hidden(run, level)
        self._runs.append((hidden, self._nested if hidden else []))
        return hidden


class _Pairs:
    """`Pairs`, watched."""

    def __init__(self, pairs: Pairs, replaced: Callable[[bytes, _Edit], None]) -> None:
        self._pairs = pairs
        self._replaced = replaced

    def apply(self, text: bytes, *, named: bool = True, prose: bool = False) -> bytes:
        """Do what the pairs do."""
        for begin, end, name in self._pairs.spans(text, named=named, prose=prose):
            new = self._pairs.instead(name, text[begin:end])
            self._replaced(text, _Edit(begin, end, new, PAIR, said(new.decode("utf-8", "replace"))))
        return self._pairs.apply(text, named=named, prose=prose)


def _narrow(text: bytes, edit: _Edit) -> _Edit:
    """Leave out of a replacement what stays as it is at both ends: a scheme, the word ``Bearer``."""
    begin, end, new = edit.begin, edit.end, edit.new
    same = 0
    while same < min(end - begin, len(new)) and text[begin + same] == new[same]:
        same += 1
    begin, new = begin + same, new[same:]
    same = 0
    while same < min(end - begin, len(new)) and text[end - 1 - same] == new[-1 - same]:
        same += 1
    return edit._replace(begin=begin, end=end - same, new=new[: len(new) - same])


def _in_chars(text: str, hits: list[Hit]) -> list[Hit]:
    """Return hits, whose places are bytes, by characters, in order, each once."""
    if not text.isascii():
        data, at, chars = text.encode(), 0, 0
        known: dict[int, int] = {}
        for offset in sorted({place for hit in hits for place in (hit.begin, hit.end)}):
            chars += len(data[at:offset].decode("utf-8", "ignore"))
            known[offset] = chars
            at = offset
        hits = [hit._replace(begin=known[hit.begin], end=known[hit.end]) for hit in hits]
    return sorted(dict.fromkeys(hits), key=lambda hit: (hit.begin, hit.end))
