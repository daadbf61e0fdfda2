"""How hard the tests try: all in `make test-long`, a seeded sample in `make test`, a part of that in `make check`.

One home for what says so.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from typing import Final, TypeVar

LONG: Final = os.environ.get("INDELIBLE_LONG") == "1"
"""Whether this is the long run: random instead of seeded examples, and many more of them."""

KILLS: Final = int(os.environ.get("INDELIBLE_KILLS", "200"))
"""How many times a process is killed in one test."""

FAULT_STRIDE: Final = int(os.environ.get("INDELIBLE_FAULT_STRIDE", "23"))
"""Every how many-th operation on the disk is made to fail: all of them in the long run."""

T = TypeVar("T")

LONG_FACTOR: Final = 20
"""The long run of a property tries this many times what `make test` does."""

SHARE: Final = float(os.environ.get("INDELIBLE_EXAMPLES", "1"))
"""What part of a property's examples is tried. They are the first ones: what fails here, fails in `make test`."""


def examples(count: int) -> int:
    """Return how many examples a property is shown whose run in `make test` needs `count` of them."""
    return count * LONG_FACTOR if LONG else math.ceil(count * SHARE)


def sample(cases: Sequence[T], count: int, seed: str) -> list[T]:
    """Return what a test goes through: all cases in the long run, else `count` of them, always the same."""
    if LONG or len(cases) <= count:
        return list(cases)
    return random.Random(seed).sample(cases, count)
