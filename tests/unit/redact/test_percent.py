"""Percent-encoded text: what it says is looked at, and what is left says the same as before but for the secrets."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl

from indelible.config import RedactionSettings
from indelible.redact import percent
from indelible.redact.texts import Plan, Texts
from tests import canaries
from tests.effort import examples
from tests.unit.redact.test_properties import TEXTS

Args = Callable[[Any], Any]

FOUND = [
    ("file:///srv/ssn%20is%20078-05-1120", "file:///srv/ssn%20is%20[SSN]"),
    ("to=ada%40example.com&x=%20", "to=[EMAIL]&x=%20"),
    ("card%204111%201111%201111%201111%20ok", "card%20[CARD]%20ok"),
    ("password%3A%20hunter2", "password%3A%20[REDACTED]"),
    ("x=%7B%22password%22%3A%22hunter2%22%7D", "x=%7B%22password%22%3A%22[REDACTED]%22%7D"),
    ("ssn%2520is%2520078-05-1120", "ssn%2520is%2520[SSN]"),
    ("na%C3%AFve%20078-05-1120%20caf%C3%A9", "na%C3%AFve%20[SSN]%20caf%C3%A9"),
    ("%zz%20078-05-1120%", "%zz%20[SSN]%"),
    ("q=AKIA%41BCDEFGHIJKL&y=%2F", "q=[TOKEN]&y=%2F"),
    ("%41%4B%49%41%41%42%43%44%45%46%47%48%49%4A%4B%4C", "[TOKEN]"),
    ("%7B%22note%22:%20%22mail%20ada/u0040example.com%22%7D", "%7B%22note%22:%22mail%20[EMAIL]%22%7D"),
    ("%7B/%22apiKey/%22:%20/%22x7x7x7/%22%7D", "%7B/%22apiKey/%22:%20/%22[REDACTED]/%22%7D"),
    ("a%20b 'c%20078-05-1120' d%20e", "a%20b 'c%20[SSN]' d%20e"),
]


@pytest.mark.parametrize(("text", "left"), FOUND)
def test_what_it_says_is_looked_at(text: str, left: str, args: Args) -> None:
    assert args({"v": text}) == {"v": left}
    assert args([{"a": [text]}]) == [{"a": [left]}]
    assert list(args({text: 1})) == [left]
    assert args({"v": left}) == {"v": left}


@pytest.mark.parametrize(
    "text",
    [
        "100% sure, 5%, %zz, %4, %%20, %u0041",
        "https://example.com/a%20b/c%2Fd?q=caf%C3%A9&page=2#%F0%9F%8E%89",
        "file:///srv/My%20Documents/report%20(final)%20v2.docx",
        "%ff%fe%00%80",
        "sha%3D9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "printf '%20d %5.2f %20s'",
        "from%202026-01-01%20to%202026-12-31",
        "LIKE '%25abc%25'",
    ],
)
def test_what_is_harmless_stays(text: str, args: Args) -> None:
    assert args({"v": text}) == {"v": text}


def test_a_key_in_disguise_hides_its_value(args: Args) -> None:
    assert args({"pass%77ord": "x1"}) == {"pass%77ord": "[REDACTED]"}
    assert args({"note": "pass%77ord=x1"}) == {"note": "pass%77ord=[REDACTED]"}


@pytest.mark.parametrize(
    "encode", [quote, quote_plus, lambda text: "".join(f"%{b:02x}" for b in text.encode())]
)
@pytest.mark.parametrize("name", sorted(canaries.CLASSES))
def test_every_class_is_found(name: str, encode: Callable[[str], str], args: Args) -> None:
    for seed in range(3):
        value, fragments = canaries.CLASSES[name](random.Random(seed))
        if "%" not in encode(value):  # `token+is+abc1`: nothing says that this is a form
            continue
        kept = args({"uri": f"https://example.com/{encode(value)}"})["uri"]
        said = unquote(unquote(kept.replace("+", " ")))
        assert not [fragment for fragment in fragments if fragment in said]


@pytest.mark.parametrize(
    "around", ["file:///srv/{}", "https://example.com/x?q={}#{}", "https://example.com/{}/y"]
)
@pytest.mark.parametrize("name", sorted(canaries.CLASSES))
def test_every_class_is_found_behind_a_parser_of_urls(name: str, around: str, args: Args) -> None:
    """Pydantic's, through which URIs of resources come: of JSON in one it makes ``/`` of every backslash."""
    for seed in range(3):
        value, fragments = canaries.CLASSES[name](random.Random(seed))
        uri = str(AnyUrl(around.replace("{}", value)))
        assert canaries.found(fragments, args({"uri": uri})["uri"].encode()) == []


@given(
    st.lists(st.sampled_from(["%41", "%e9", "%C3%A9", "%", "%2", "a", "é", "[", "%25", "+", "/"])).map("".join)
)
@settings(max_examples=examples(300))
def test_what_is_left_is_what_is_said(run: str) -> None:
    data = run.encode()
    said = percent.decode(data)
    assert said == unquote_to_bytes(run)
    for left in (b"[X]" + said, said + b"[X]", b"[X]", said[:3] + b"[X]" + said[4:], b""):
        text = left.decode("utf-8", "replace").encode()
        patched = percent.patch(data, said, text)
        assert percent.decode(patched) == text
        patched.decode()


@pytest.mark.parametrize("block", ["%20", "%", "%25", "a%40", "%2525252540", "x ", "%41%4b ", "%7B%22a%22%3A"])
def test_it_is_linear(block: str) -> None:
    def cost(size: int) -> float:
        text = block * (size // len(block))
        began = time.process_time()
        TEXTS.redact(text)
        return time.process_time() - began

    cost(10_000)
    ratios = sorted(cost(200_000) / max(cost(20_000), 1e-3) for _ in range(3))
    assert ratios[0] < 25


def test_escapes_in_escapes_cost_little() -> None:
    """Of each level there are three readings: all of all levels would be 243 times the text, for whoever sends it."""

    class Counting(Texts):
        looked_at = 0

        def redact(self, text: str, level: int = 0, plan: Plan | None = None) -> str:
            Counting.looked_at += len(text)
            return super().redact(text, level, plan)

    unit = '+/"a%'
    for _ in range(5):
        unit = "".join(f"%{ord(sign):02X}" if sign in '%+/"' else sign for sign in unit) + "+/%22"
    text = (unit + "x") * 50
    assert Counting(RedactionSettings()).redact(text) == text
    assert Counting.looked_at < 15 * len(text)
