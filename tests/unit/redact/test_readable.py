"""Texts with entities, wide letters and signs without width: what they say is looked at, and the rest stays."""

# ruff: noqa: RUF001 - letters that look like others are what is tested

from __future__ import annotations

import html
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.redact import readable
from tests import canaries
from tests.effort import examples
from tests.redacting import stays_linear
from tests.unit.redact.test_properties import TEXTS

Args = Callable[[Any], Any]

FOUND = [
    (
        '<div data-x="{&quot;a&quot;:1,&quot;password&quot;:&quot;hunter2&quot;}" class="b">',
        '<div data-x="{&quot;a&quot;:1,&quot;password&quot;:&quot;[REDACTED]&quot;}" class="b">',
    ),
    ("&#39;token&#39;: &#39;x y&#39; &amp; more", "&#39;token&#39;: &#39;[REDACTED]&#39; &amp; more"),
    ("password&#61;hunter2, caf&eacute;", "password&#61;[REDACTED] caf&eacute;"),
    (
        "{&amp;quot;pin&amp;quot;:&amp;quot;1234&amp;quot;}",
        "{&amp;quot;pin&amp;quot;:&amp;quot;[REDACTED]&amp;quot;}",
    ),
    ("カード４１１１　１１１１　１１１１　１１１１です", "カード[CARD]です"),
    ("4111\u200b1111\u200b1111\u200b1111", "[CARD]"),
    ("4111\u20091111\u20091111\u20091111 ok", "[CARD] ok"),
    ("٤١١١١١١١١١١١١١١١", "[CARD]"),
    ("mail ada＠example.com now", "mail [EMAIL] now"),
    ("（password：hunter2）", "（password：[REDACTED]"),
    ("密码：hunter2", "密码：[REDACTED]"),
    ("パスワード＝hunter2", "パスワード＝[REDACTED]"),
    ("pass\u00adword=hunter2", "pass\u00adword=[REDACTED]"),
    ("pass\u200bword=hunter2 and\u200bmore", "pass\u200bword=[REDACTED] and\u200bmore"),
    ("password\u00a0=\u00a0hunter2", "password\u00a0=\u00a0[REDACTED]"),
    ("x ghp_abcdef\u200bghij0123456789 y", "x [TOKEN] y"),
    ("𝗽𝗮𝘀𝘀𝘄𝗼𝗿𝗱: hunter2", "𝗽𝗮𝘀𝘀𝘄𝗼𝗿𝗱: [REDACTED]"),
]


@pytest.mark.parametrize(("text", "left"), FOUND)
def test_what_it_says_is_looked_at(text: str, left: str, args: Args) -> None:
    assert args({"v": text}) == {"v": left}
    assert args([{"a": [text]}]) == [{"a": [left]}]
    assert args({"v": left}) == {"v": left}
    assert "hunter2" not in json.dumps(args({"v": json.dumps({"inner": text})}))


@pytest.mark.parametrize(
    "text",
    [
        "R&amp;D&nbsp;&copy; 2026 &#8212; caf&#233; &quot;quoted&quot;",
        "これは（テスト）です：１２３、ＡＢＣ！",
        "prix\u00a0: 12\u202f345,00\u00a0€",
        "نص عربي ١٢٣٤",
        "family 👨\u200d👩\u200d👧 and a\u00adlong\u00adword",
        "\ufeffkey,value",
    ],
)
def test_what_is_harmless_stays(text: str, args: Args) -> None:
    assert args({"v": text}) == {"v": text}


@pytest.mark.parametrize("name", sorted(canaries.CLASSES))
def test_every_class_is_found_in_html(name: str, args: Args) -> None:
    for seed in range(3):
        value, fragments = canaries.CLASSES[name](random.Random(seed))
        text = html.escape(json.dumps({"a": 1, "b": value}, ensure_ascii=False))
        kept = args({"v": f'<p data-x="{text}">'})["v"]
        assert canaries.found(fragments, html.unescape(kept).encode()) == [], kept


signs = st.sampled_from(
    ("&quot;", "&amp;", "&#x41;", "\u200b", "\u3000", "１", "：", "\u00a0", "é", "a", "1", " ", "&", ";")
)


@given(
    st.lists(signs, max_size=30),
    st.lists(signs, max_size=30),
    st.lists(signs, max_size=30),
    st.text("ab[]\"'<", max_size=5),
)
@settings(deadline=None, max_examples=examples(400))
def test_both_ends_stay_as_they_came(before: list[str], within: list[str], after: list[str], new: str) -> None:
    head, middle, tail = "".join(before), "".join(within), "".join(after)
    reading = readable.Reading(head + middle + tail)
    assert not reading.said or reading.patched(reading.said) == head + middle + tail
    first, last = readable.Reading(head).said, readable.Reading(tail).said
    if readable.Reading(head + middle).said == first + readable.Reading(middle).said and reading.said.endswith(
        last
    ):
        patched = reading.patched(first + new + last)
        assert readable.Reading(patched).said == first + new + last


@pytest.mark.parametrize(
    "block", ["&quot;password&quot;:&quot;x&quot;,", "\u200b", "&amp;", "１２３４　", "password：x、"]
)
def test_time_grows_with_the_size(block: str) -> None:
    assert stays_linear(TEXTS.redact, block)
