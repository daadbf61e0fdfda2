"""Texts for a model: nothing unseen, nothing without end."""

from __future__ import annotations

import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.inquiry.plain import SHORT, plain, plain_value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode, 漢字 and 🙂", "plain text, ünïcode, 漢字 and 🙂"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("tag\U000e0041\U000e0042", "tag\\U000e0041\\U000e0042"),
        ("selector\U000e0100\ufe0f", "selector\\U000e0100\\ufe0f"),
        ("filler\u3164\u115f", "filler\\u3164\\u115f"),
        ("half \ud800", "half \\ud800"),
        ("null\0", "null\\x00"),
    ],
)
def test_what_is_not_seen_is_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(st.characters(exclude_categories=()), max_size=2 * SHORT))
def test_every_text_is_short_and_all_of_it_is_seen(text: str) -> None:
    found = plain(text)
    assert len(found) <= SHORT * 10 + 40
    assert found.isprintable()
    assert not {unicodedata.category(char) for char in found} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    orjson.dumps(found)
    assert ("more characters" in found) == (len(text) > SHORT) or "more characters" in text


def test_a_list_has_an_end() -> None:
    assert plain_value(["x"] * 60, 500)[-1] == "… (10 more)"
    assert plain_value(["a\n", 1, None]) == ["a\\n", 1, None]
