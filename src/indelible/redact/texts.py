"""One text: what is in it of secrets, at any level of JSON or base64 inside it.

Two stages. The *prefilter* is one RE2 search over the text as JSON encodes it; when it finds nothing, nothing
is changed. Because it uses no character that JSON escapes, the same search over a whole encoded document is
true whenever it is true of any text in it: that is what lets `indelible.redact.values` look at a document once
instead of at every text. The *engine* then runs the rules, until a pass changes nothing more.
"""

from __future__ import annotations

import binascii
import copy
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson
import re2

from indelible.config import RedactionSettings
from indelible.redact import jsontext, patterns, percent, readable
from indelible.redact.glued import name_left
from indelible.redact.keys import MARKERS, KeyNames
from indelible.redact.limits import MAX_NESTING
from indelible.redact.pairs import FLAG_IN_TEXT, MARKER, NEEDLES, PROSE_HINT, PROSE_IN_TEXT, Pairs
from indelible.redact.strategies import Strategies

_QUAD: Final = "[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_MIN_QUADS: Final = 4
BASE64_TEXT: Final = rf"(?:{_QUAD}){{{_MIN_QUADS}}}"
"""Base64 of twelve or more ASCII characters: their high bits are zero, which leaves each of the first three
digits of four half of the alphabet. Words, paths, digests and UUIDs all but never look so."""

_BASE64_IN_TEXT: Final = re.compile(BASE64_TEXT)
RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
"""Base64, long enough to hide something; its lines belong together."""
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

_ESCAPE_HINT: Final = r"\\\\[u/]"
"""A ``\\u`` or ``\\/`` of JSON inside a text: anything may stand behind it."""
_FOREIGN_KEY_HINT: Final = r"[\x80-\xff](?:[^\"]|\\\")*\"(?:\s|\\+[nrt])*:"
"""A key with letters outside ASCII; normalising it may give any word."""

_NAMED_VALUE_HINT: Final = r"(?i:value)\\*\"(?:\s|\\+[nrt])*:"
"""``{"name": "X-Api-Key", "value": "x"}``: a header, a variable."""

_ANCHORED = re.compile(r"\^|\$|\\A|\\z|\\Q|\(\?[a-zA-Z]*m")
"""With one of these, a pattern may match a text and not the document that holds it."""

settled: Final = re.compile(
    rb"(?:(?![Bb]earer|[Bb]asic)[A-Z]?[a-z]{1,12}+(?![A-Za-z])|[ ,!()']|\.(?= |\Z)"
    rb"|\[(?:REDACTED|EMAIL|CARD|TOKEN|SSN|PHONE|IBAN)\](?![A-Za-z]))*+"
).fullmatch
"""Matches some of the texts in which no built-in rule can find anything: plain words and markers.

No digits, no signs that join a name to a value or make an address, no capitals but the first of a word, and no
word as long as base64. It costs half of a search, and most texts are so when a value has been taken out.
"""

Trigger = Callable[[str], Any]
Conditions = tuple["tuple[str, ...]", "re.Pattern[str] | None"]
"""Needles and trigger of a rule, or of a hint that is no rule's."""


class Step(NamedTuple):
    """One thing that may be done to a text."""

    number: float
    """Its place in the order."""
    needles: tuple[str, ...]
    """What a text must hold one of to be changed, unless `trigger` finds something in it."""
    trigger: Trigger | None
    run: Callable[[bytes, int], bytes]
    """(text, level) → text; the same object when it changes nothing."""


class Plan(NamedTuple):
    """What is worth doing with the texts of a document, by what the prefilter found in all of it."""

    steps: tuple[Step, ...]
    """In order."""
    finds: Trigger
    """All needles and triggers in one: a text in which it finds nothing stays as it is."""
    alone: bool
    """Each text needs a search of its own: an escape may hide anything in one of them."""


_NEVER: Final = r"(?!)"
_OPENED: Final = re.compile(rf"[\"'`\\{{<&]|\[(?!(?:{'|'.join(MARKERS)})\])".encode()).search
"""Finds a quote or a bracket that is no marker's: what such a one holds may go on for another line."""


def _either(text: str) -> Any:
    return FLAG_IN_TEXT.search(text) or PROSE_IN_TEXT.search(text)


def _always(_text: str) -> bool:
    return True


class Texts:
    """Redacts texts by one configuration; safe to use from several threads."""

    def __init__(self, settings: RedactionSettings) -> None:
        """Compile everything. Raises ConfigError for a pattern that RE2 does not take."""
        self.names = KeyNames(settings.keys, settings.kept_keys, settings.patterns)
        self._rules = patterns.built_in(self.names, settings.kept_classes)
        self._custom = patterns.custom(settings.patterns)
        self.custom = bool(self._custom)
        """Whether the configuration has patterns of its own."""
        self._custom_anywhere = any(_ANCHORED.search(pattern) for pattern in settings.patterns.values())
        self._pairs = Pairs(self.names, patterns.Lazy)
        self._quads = patterns.Lazy(BASE64_TEXT)
        match = self._compile_hints().Match
        self._match: Callable[[bytes], list[int] | None] = match
        self.search = self._search if self._custom else self._match
        """Given encoded JSON, tells which rules may change something in it; None when nothing has to be redacted."""
        self._plans: dict[tuple[int, ...], Plan] = {}
        self.redact_json: Callable[[Any, int], Any] = lambda value, _level: value
        """Redacts a JSON value found inside a text; `indelible.redact.values` puts itself here."""

    def using(self, strategies: Strategies) -> Texts:
        """Return one that leaves what the strategies say in the place of what is found."""
        if not strategies.any:
            return self
        other = copy.copy(self)  # all that is compiled is shared, but for plans: they hold on to their rules
        pairs = self._pairs.using(strategies.pair if strategies.named else None, strategies.is_marked)
        rules, custom = (tuple(map(strategies.rule, some)) for some in (self._rules, self._custom))
        vars(other).update(_plans={}, _rules=rules, _custom=custom, _pairs=pairs)
        return other

    def _compile_hints(self) -> Any:
        """Return the prefilter: a set of hints, whose indices are the rules' own, then those below.

        A set costs half of what a search costs in the binding, and it tells which rules are worth running.
        Its automaton never gives up (RE2 falls back from every other kind of search, so a set's cannot).
        """
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 64 << 20
        prefilter = re2.Set.SearchSet(options)
        hints = (BASE64_TEXT, self.names.hint(), PROSE_HINT, _ESCAPE_HINT, _FOREIGN_KEY_HINT)
        own = (*hints, percent.ESCAPE, _NAMED_VALUE_HINT, readable.HINT)
        self._own: tuple[Conditions, ...] = (
            ((), _BASE64_IN_TEXT),
            (NEEDLES, FLAG_IN_TEXT),
            ((), PROSE_IN_TEXT),
            (("\\",), None),
            (('"',), None),
            ((), percent.ESCAPE_IN_TEXT),
            (("value",), None),
            ((), readable.SIGN),
        )
        for hint in (*(rule.hint for rule in self._rules), *own):
            prefilter.Add(hint.encode("latin-1"))
        prefilter.Compile()
        self._base64 = len(self._rules)
        self._named = self._base64 + 1
        self._prose = self._base64 + 2
        self._escaped = self._base64 + 3
        self._percent = self._base64 + 5
        self._read = self._base64 + 7
        return prefilter

    def flagged(self, encoded: bytes) -> bool:
        """Tell whether anything in encoded JSON may have to be redacted; False is certain."""
        return self.search(encoded) is not None

    def _search(self, encoded: bytes) -> list[int] | None:
        """Search for what the configuration has of its own, too."""
        may = self._match(encoded)
        if not may:
            return [] if self._custom_may(encoded) else None
        return may

    def _custom_may(self, encoded: bytes) -> bool:
        if self._custom_anywhere or b"\\" in encoded:
            return True
        return any(rule.regex.search(encoded) is not None for rule in self._custom)

    def plan(self, may: Sequence[int]) -> Plan:
        """Return what is worth doing with the texts of a document for which `search` gave `may`.

        The rules that may match anywhere in a document are few, and looking for their needles in each of its texts
        costs a tenth of a search.
        """
        key = tuple(may)
        known = self._plans.get(key)
        if known is None:
            known = self._make_plan(set(key))
            if len(self._plans) < _MAX_COMBINATIONS:
                self._plans[key] = known
        return known

    def _make_plan(self, may: set[int]) -> Plan:
        escaped = self._escaped in may
        steps = tuple(self._steps({*range(self._escaped), self._percent, self._read} if escaped else may))
        found = {index: self._conditions(index) for index in may}
        needles = {needle for mine, _ in found.values() for needle in mine}
        triggers = {trigger.pattern for _, trigger in found.values() if trigger is not None}
        either = [*map(re.escape, sorted(needles)), *sorted(f"(?:{trigger})" for trigger in triggers)]
        # Patterns of the configuration have no needles: what they find, a search of each text tells.
        return Plan(steps, re.compile("|".join(either) or _NEVER).search, escaped or self.custom)

    def _conditions(self, index: int) -> Conditions:
        """Return needles and trigger of one of the prefilter's hints."""
        if index < self._base64:
            return self._rules[index].needles, self._rules[index].trigger
        return self._own[index - self._base64]

    def redact(self, text: str, level: int = 0, plan: Plan | None = None) -> str:
        """Return `text` without its secrets; the same object when it has none. No lone surrogates.

        `plan` is what the document that holds the text needs, when that is known: it saves a search.
        """
        # What an escape hides in one text says nothing of the others; JSON is parsed only where it must be.
        if plan is None or plan.alone or text[:1] in jsontext.STARTS:
            plan = self._look(text)
        for _ in range(_MAX_PASSES):
            if plan is None:
                break
            text, plan = self._pass(text, level, plan)
        return text

    def _look(self, text: str) -> Plan | None:
        """Return what is worth doing with one text; None when nothing is."""
        may = self.search(orjson.dumps(text))
        return None if may is None else self.plan(may)

    def _pass(self, text: str, level: int, plan: Plan) -> tuple[str, Plan | None]:
        """Run everything that may find something, once; return what may be found after that.

        What a text becomes must not depend on what else the document holds. So the rules run in one order, each
        on what the one before left, and the plan only spares those that would find nothing: after a change there
        is a new one.
        """
        if level < MAX_NESTING and text[:1] in jsontext.STARTS:
            inside = self._inside_json(text, level)
            if inside is not None:
                return inside, self._look(inside)
        data, changed = text.encode(), False
        steps = plan.steps
        at = 0
        while at < len(steps):
            number, needles, trigger, run = steps[at]
            at += 1
            for needle in needles:
                if needle in text:
                    break
            else:
                if trigger is None or trigger(text) is None:
                    continue
            new = run(data, level)
            if new is data:
                continue
            data, changed = new, True
            text = data.decode("utf-8", "replace")
            if settled(data) and not self.custom:
                return text, None
            found = self._look(text)
            if found is None:
                return text, None
            plan, steps = found, found.steps
            if number == self._named and self._pairs_are_done(text, data, found):
                return text, None
            at = sum(step.number <= number for step in steps)
        if not changed:
            return text, None
        again = self.custom or text[:1] in jsontext.STARTS or plan.finds(text) is not None
        return text, plan if again else None

    def _pairs_are_done(self, text: str, data: bytes, plan: Plan) -> bool:
        """Tell whether nothing but pairs may be found after pairs were taken out, and no pair would be.

        Without quotes and brackets each value that is left is a marker, and nothing that begins or ends one is new.
        """
        only = len(plan.steps) == 1 and plan.steps[0].number == self._named
        return only and not plan.alone and text[:1] not in jsontext.STARTS and _OPENED(data) is None

    def _steps(self, numbers: set[int]) -> Iterator[Step]:
        # First: of a token with a sign in it a rule would take one half.
        if self._read in numbers:
            yield Step(-1, (), readable.SIGN.search, self._inside_reading)
        for number, rule in enumerate(self._rules):
            if number in numbers:
                yield Step(number, rule.needles, rule.trigger and rule.trigger.search, rule.apply)
        if self._base64 in numbers:
            yield Step(self._base64, (), _BASE64_IN_TEXT.search, self._inside_base64)
        if self.custom:
            yield Step(self._base64 + 0.5, (), _always, self._apply_custom)
        named, prose = self._named in numbers, self._prose in numbers
        if named or prose:
            yield Step(
                self._named,
                NEEDLES if named else (),
                _either if prose and named else (PROSE_IN_TEXT if prose else FLAG_IN_TEXT).search,
                lambda data, _level: self._pairs.apply(data, named=named, prose=prose),
            )
        # Last: a value that is an escaped text (`password=a%20b`) is to go as a whole.
        if self._percent in numbers:
            yield Step(self._percent, (), percent.ESCAPE_IN_TEXT.search, self._inside_percent)

    def _apply_custom(self, data: bytes, _level: int) -> bytes:
        for rule in self._custom:
            data = rule.apply(data)
        return data

    # --- JSON in a text ---------------------------------------------------------------------------------

    def _inside_json(self, text: str, level: int) -> str | None:
        """Return the text with the JSON in it redacted; None when there is none or nothing to redact."""
        stripped = text.strip(jsontext.SPACES)
        if len(stripped) < 2 or stripped[0] not in '{["':
            return None
        parsed = jsontext.parse(stripped)
        if parsed is jsontext.NOTHING:
            return self._json_lines(text, level) if stripped[0] == "{" and "\n" in stripped else None
        redacted = self.redact_json(parsed, level + 1)
        if redacted is parsed and not ("\\u" in stripped and jsontext.has_duplicates(stripped)):
            return None
        return jsontext.dumped(redacted)

    def _json_lines(self, text: str, level: int) -> str | None:
        lines = text.split("\n")
        done = [
            self._inside_json(line, level) if line.lstrip(jsontext.SPACES)[:1] == "{" else None
            for line in lines
        ]
        if all(line is None for line in done):
            return None
        return "\n".join(line if new is None else new for line, new in zip(lines, done, strict=True))

    # --- base64 in a text -------------------------------------------------------------------------------

    def _inside_base64(self, data: bytes, level: int) -> bytes:
        if level >= MAX_NESTING:
            return data
        pieces: list[bytes] = []
        done = 0
        for match in RUN.finditer(data):
            if self._hidden(match[0], level):
                pieces += (
                    data[done : match.start()],
                    MARKER,
                    name_left(self.names, match[0], data, match.end()),
                )
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
            if decoded.count(b"\0") > len(decoded) // 4:  # UTF-16, as PowerShell takes a command
                decoded = decoded.replace(b"\0", b"")
            inner = decoded.decode("utf-8", "replace")
            if self.redact(inner, level + 1) != inner:
                return True
        return False

    # --- percent-encoding in a text ---------------------------------------------------------------------

    def _inside_percent(self, data: bytes, level: int) -> bytes:
        if level >= MAX_NESTING:
            return data
        pieces: list[bytes] = []
        done = 0
        for match in percent.RUN.finditer(data):
            new = self._unescaped(data, match, level)
            if new is not None:
                pieces += (data[done : match.start()], new)
                done = match.end()
        if not pieces:
            return data
        pieces.append(data[done:])
        return b"".join(pieces)

    def _unescaped(self, _data: bytes, match: re.Match[bytes], level: int) -> bytes | None:
        """Return what stays of a run of escapes; None when all of it does."""
        run = match[0]
        readings = percent.readings(run)
        # One in the other there are three times as many with each level: so only the first text is read in all ways.
        for said in readings[: 1 if level else len(readings)]:
            inner = said.decode("utf-8", "replace")
            left = self.redact(inner, level + 1)
            if left != inner:
                return percent.patch(run, said, left.encode())
        return None

    # --- as people read it ------------------------------------------------------------------------------

    def _inside_reading(self, data: bytes, level: int) -> bytes:
        if level >= MAX_NESTING:
            return data
        text = data.decode("utf-8", "replace")
        said = readable.said(text)
        if said == text:
            return data
        left = self.redact(said, level + 1)
        return data if left == said else readable.Reading(text).patched(left).encode()


_MAX_PASSES: Final = 6
"""Each pass replaces something by a shorter or fixed text, so two are the rule; the bound is for the theory."""

_MAX_COMBINATIONS: Final = 256
"""Sets of rules whose plans are remembered."""
