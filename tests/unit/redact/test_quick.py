"""The quick ways against the plain one: whatever is spared must not have changed anything.

The plain way runs every rule on every text by its pattern alone, without a prefilter, needles, triggers, plans or
what does a rule's work without its pattern.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.redact import mails, patterns
from indelible.redact.digest import Digester
from indelible.redact.limits import MAX_NESTING
from indelible.redact.strategies import Strategies
from indelible.redact.texts import Plan, Step, Texts
from indelible.redact.values import Values
from tests import canaries
from tests.effort import examples
from tests.unit.redact.test_forms import TEMPLATES
from tests.unit.redact.test_properties import keys, scalars, texts, wrapped


def by_pattern(rule: patterns.Rule, data: bytes, _level: int) -> bytes:
    return rule.search(data)


class Plain(Texts):
    """Does everything with every text, and again until nothing changes."""

    def search(self, encoded: bytes) -> list[int] | None:
        return [*range(self._escaped), self._percent, self._read]

    def plan(self, may: Any) -> Plan:
        numbers = {*range(self._escaped), self._percent, self._read}
        return Plan(tuple(self._steps(numbers)), lambda _text: True, alone=True)

    def _steps(self, numbers: set[int]) -> Any:
        for step in super()._steps(numbers):
            run = step.run
            if 0 <= step.number < self._base64:
                run = partial(by_pattern, self._rules[int(step.number)])
            yield Step(step.number, (), lambda _text: True, run)

    def redact(self, text: str, level: int = 0, plan: Plan | None = None) -> str:
        """One rule after the other, from the first again after each change, as the quick way promises to."""
        for _ in range(6):
            new = self._once(text, level)
            if new == text:
                break
            text = new
        return text

    def _once(self, text: str, level: int) -> str:
        if level < MAX_NESTING and (inside := self._inside_json(text, level)) is not None:
            return inside
        data = text.encode()
        for step in self.plan(()).steps:
            data = step.run(data, level)
        return data.decode("utf-8", "replace")


QUICK, PLAIN = Texts(RedactionSettings()), Plain(RedactionSettings())
VALUES = Values(QUICK, Digester(b"k"), Strategies(RedactionSettings()), custom=False)
PLAIN_VALUES = Values(PLAIN, Digester(b"k"), Strategies(RedactionSettings()), custom=False)

pieces = st.sampled_from(
    ["bob", "a.b", "x", "@", "@", "@", ".", "-", "_", "/", "=", "?", "&", "|", "'", "`", "{", "*", "^", "~", "%40",
     "&#64;", "\\u0040", '"', " ", "example", "com", ".de", "git@", "@2x.png", "é", "日本", "\u00a0", "40", "64;", "%",
     "\\", "<", ">", ",", ":", "1", "[EMAIL]", "\n", "&quot;", "\u200b", "１", "＠"]  # noqa: RUF001
)  # fmt: skip
addresses = st.lists(pieces, max_size=14).map("".join)
json_values = st.recursive(
    scalars.filter(lambda value: type(value) is not float and not (type(value) is int and abs(value) >= 2**53)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=10,
)


@given(addresses)
@settings(deadline=None, max_examples=examples(1500))
def test_addresses_are_found_as_the_pattern_finds_them(text: str) -> None:
    (rule,) = (rule for rule in patterns.built_in(QUICK.names) if rule.name == "EMAIL")
    data = text.encode()
    found = mails.quick(data)
    assert found is None or found == rule.search(data)


@pytest.mark.parametrize("text", ["bob@example.com", "a@b.cd, 'e'@f.gh/x@y.zz", "x@y", "é@ü.de", "=a@b.cd"])
def test_most_addresses_need_no_pattern(text: str) -> None:
    assert mails.quick(text.encode()) is not None


def clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@given(st.one_of(wrapped, addresses))
@settings(deadline=None, max_examples=examples(600))
def test_a_text_becomes_what_every_rule_makes_of_it(text: str) -> None:
    assert QUICK.redact(clean(text)) == PLAIN.redact(clean(text))


@given(json_values)
@settings(deadline=None, max_examples=examples(300))
def test_a_document_becomes_what_every_rule_makes_of_its_texts(value: Any) -> None:
    encoded = orjson.dumps(value)
    may = QUICK.search(encoded)
    expected = PLAIN_VALUES.redact(orjson.loads(encoded))
    assert VALUES.redact(orjson.loads(encoded), may=may or []) == expected
    assert VALUES.redact(orjson.loads(encoded)) == expected


@pytest.mark.parametrize("blank", [" ", "\t"])
@pytest.mark.parametrize("form", TEMPLATES)
def test_a_form_becomes_what_every_rule_makes_of_it(form: str, blank: str) -> None:
    text = form.replace("{}", "hUnter2x").replace(" ", blank)
    for other in (text, f"\n{text}\t", text.replace("\n", "\r\n")):
        assert QUICK.redact(other) == PLAIN.redact(other)
        value = {"a": [other, "x"], "n": "y"}
        assert VALUES.redact(value, may=QUICK.search(orjson.dumps(value)) or []) == PLAIN_VALUES.redact(value)


@given(st.sampled_from(sorted(canaries.CLASSES)), st.integers(0, 10_000), texts, texts)
@settings(deadline=None, max_examples=examples(200))
def test_secrets_beside_one_another(name: str, seed: int, before: str, after: str) -> None:
    secret, _ = canaries.CLASSES[name](random.Random(seed))
    value = {"a": clean(before), "b": [secret, clean(after)], "c": {"d": clean(before) + secret + clean(after)}}
    may = QUICK.search(orjson.dumps(value))
    assert VALUES.redact(value, may=may or []) == PLAIN_VALUES.redact(value)


ODD = (
    "\npassword: 'pin: [\"]//Bearer",
    'password: "null\npassword: +=\\"`',
    'keyCookie: "+1 415 555 Cookie: \'; \\"',
    'secret="\r\n\u2028password: \npassword: password\\"',
    '--token "}|\n}--token &\\"the password is 7x ',
    ":--x \npassword: `pin: [the password is 7x \npassword: }b",
    '=authorization: "[REDACTED]password: \npassword: Cookie: \\"',
)
"""Pairs with quotes and brackets that are never closed: a second look finds more than the first."""


@pytest.mark.parametrize("text", ODD)
def test_pairs_are_looked_for_again_where_quotes_are_open(text: str) -> None:
    once = QUICK._pairs.apply(text.encode(), prose=True)
    assert QUICK._pairs.apply(once, prose=True) != once
    assert QUICK.redact(text) == PLAIN.redact(text)
    assert QUICK.redact(QUICK.redact(text)) == QUICK.redact(text)


pair_pieces = st.sampled_from(
    ["password: ", "\npassword: ", "token = ", "--token ", "Cookie: ", "secret=", "the password is 7x ", "pin: [", "]",
     "{", "}", '"', "'", "`", '\\"', "bearer ", "Bearer ", "+1 415 555 ", "\r\n", "|\n", "[REDACTED]", "[TOKEN]",
     "none", ", ", "; ", "&", "a", "b", "c1", "#", "--x ", " ", "/", "abcdefgh"]
)  # fmt: skip


@given(st.lists(pair_pieces, max_size=10).map("".join))
@settings(deadline=None, max_examples=examples(800))
def test_pairs_become_what_looking_again_and_again_makes_of_them(text: str) -> None:
    assert QUICK.redact(text) == PLAIN.redact(text)
