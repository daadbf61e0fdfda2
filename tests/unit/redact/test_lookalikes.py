"""The rate of false alarms: how many harmless texts that look like secrets do not stay as they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lookalikes import lookalikes

pytestmark = pytest.mark.slow

README = Path(__file__).parents[3] / "README.md"
SAID = re.compile(r"([0-9.]+) % of ([0-9,]+) harmless look-alikes are touched")
PYTHONS_DIFFER = 0.2
"""Percent: a part of the corpus is the standard library, and another Python has another."""

Kept = Callable[[Any], Any]


def test_few_look_alikes_are_touched(args: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two corpora; the rules were mended by what they did to the first, and the second says whether that is all."""
    seen: Counter[str] = Counter()
    touched: Counter[str] = Counter()
    for seed in (0, 1):
        for kind, text in lookalikes(seed):
            seen[kind] += 1
            touched[kind] += args({"value": text}) != {"value": text}
    share = 100 * touched.total() / seen.total()
    with capsys.disabled():
        print(f"\n{share:.1f} % of {seen.total():,} harmless look-alikes are touched:", end=" ")
        print(", ".join(f"{kind} {touched[kind]}/{count}" for kind, count in seen.items()))
    assert len(seen) >= 12
    assert seen.total() >= 5_000
    assert share <= 1
    [(rate, count)] = SAID.findall(" ".join(README.read_text().split()))
    assert int(count.replace(",", "")) == seen.total()
    assert float(rate) == pytest.approx(share, abs=PYTHONS_DIFFER)


def test_the_items_are_what_they_look_like() -> None:
    """A corpus of things that no program writes would say nothing."""
    items = list(lookalikes())
    assert items == list(lookalikes())
    barcodes = [text for kind, text in items if kind == "barcode" and re.fullmatch(r"[0-9]{13}", text)]
    assert len(barcodes) > 20
    assert all(sum(int(d) * (1 + i % 2 * 2) for i, d in enumerate(text)) % 10 == 0 for text in barcodes)
    assert len({text for _, text in items}) > 0.97 * len(items)
